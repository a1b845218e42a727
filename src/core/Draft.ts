/**
 * The draft: what an application hands in, before it is sealed.
 *
 * A `Draft` is a plain object; `complete` fills in every default, checks every field and turns the
 * payload into JSON text, which is carried as text from then on. `fromJson` reads a draft from a
 * JSON line, its members in snake_case as on disk. Nothing is dropped or changed silently: what
 * does not fit is refused with its path.
 */
import { Option, Predicate, Result, Schema } from "effect"
import type { CanonicalJson } from "./CanonicalJson.ts"
import * as Json from "./CanonicalJson.ts"
import type { Keys } from "./Event.ts"
import { cortexTypes, isType, Source } from "./Event.ts"
import * as EventId from "./EventId.ts"
import { clip, pointer } from "./jsonError.ts"
import * as jsonText from "./jsonText.ts"
import { RefusedPayload } from "./payloadCodec.ts"
import { lineBytesMaxDefault } from "./Segment.ts"
import * as Timestamp from "./Timestamp.ts"

/**
 * What an application hands in. Only `type` is required.
 *
 * `payload` is any JSON value (default null); `payloadText` is JSON text instead, so that no digit
 * of a number is lost. Times are RFC 3339 text and default to now. `id` is the idempotency key. At
 * most `keysMax` keys and `domainTagsMax` tags.
 */
export interface Draft {
  readonly type: string
  readonly payload?: unknown
  readonly payloadText?: string | undefined
  readonly id?: string | undefined
  readonly observedAt?: string | undefined
  readonly recordedAt?: string | undefined
  readonly source?: Source | undefined
  readonly traceId?: string | null | undefined
  readonly sessionId?: string | null | undefined
  readonly domainTags?: ReadonlyArray<string> | undefined
  readonly parentId?: string | undefined
  readonly keys?: Keys | undefined
  readonly schemaVersion?: number | undefined
}

/** A draft with every default filled in and its payload as the text that will be hashed. */
export interface CompleteDraft {
  readonly id: EventId.EventId
  readonly schemaVersion: number
  readonly observedAt: Timestamp.Timestamp
  readonly recordedAt: Timestamp.Timestamp
  readonly source: Source
  readonly type: string
  readonly traceId: string | null
  readonly sessionId: string | null
  readonly domainTags: ReadonlyArray<string>
  readonly payloadText: CanonicalJson
  readonly parentId: string | undefined
  readonly keys: Keys | undefined
}

/** A draft that cannot become an event: `index` in its append, `path` a JSON pointer into it. */
export class DraftInvalid extends Schema.TaggedError<DraftInvalid>()("DraftInvalid", {
  index: Schema.Int,
  path: Schema.String,
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    return (
      `draft ${this.index} cannot be appended: at ${this.path || "its root"} expected ` +
      `${this.expected}, found ${this.actual}. Nothing was written; mend the draft.`
    )
  }
}

/** A draft whose row could be longer than the ledger reads back. Both sizes are the row's bytes. */
export class PayloadTooLarge extends Schema.TaggedError<PayloadTooLarge>()("PayloadTooLarge", {
  index: Schema.Int,
  bytes: Schema.Int,
  bytesMax: Schema.Int
}) {
  override get message(): string {
    return (
      `draft ${this.index} would make a row of ${this.bytes} bytes, the limit is ` +
      `${this.bytesMax}. Nothing was written; keep large content elsewhere and append its digest.`
    )
  }
}

/** What `complete` needs besides the draft: the id and time it takes where the draft has none. */
export interface CompleteOptions {
  readonly id: EventId.EventId
  readonly now: Timestamp.Timestamp
  readonly index?: number | undefined
  /** `cortex` refuses what the original would read back differently, and any type but its ten. */
  readonly mode?: "segments" | "cortex" | undefined
  readonly numbers?: "lossless" | "cortex" | undefined
  readonly lineBytesMax?: number | undefined
  /** How many bytes of its row a signature may take. Default 0. */
  readonly signatureBytesMax?: number | undefined
}

const members: ReadonlySet<string> = new Set([
  "type",
  "payload",
  "payloadText",
  "id",
  "observedAt",
  "recordedAt",
  "source",
  "traceId",
  "sessionId",
  "domainTags",
  "parentId",
  "keys",
  "schemaVersion"
])

/** The most keys of a draft. Each is a row of the mirror's, written while all other appends wait. */
export const keysMax = 64

/** The most domain tags of a draft. */
export const domainTagsMax = 1_024

/** Hashes, links, ids, batch and member names of a row never take more bytes than this. */
const rowOverheadBytes = 1024

const describe = (value: unknown): string =>
  Array.isArray(value) ? "an array" : value === null ? "null" : typeof value

const isWellFormed = (text: string): boolean => text.isWellFormed()

/**
 * Fill in every default of a draft and check every field; nothing is dropped or changed silently.
 *
 * Fails with `DraftInvalid` (the path of the first field that does not fit) or `PayloadTooLarge`.
 */
export const complete = (
  draft: Draft,
  options: CompleteOptions
): Result.Result<CompleteDraft, DraftInvalid | PayloadTooLarge> => {
  const index = options.index ?? 0
  const bad = (path: string, expected: string, actual: string) =>
    Result.fail(new DraftInvalid({ index, path, expected, actual }))
  const shape = checkShape(draft)
  if (Option.isSome(shape)) return bad(...shape.value)
  if (draft.payload instanceof RefusedPayload) {
    const { actual, expected, path } = draft.payload
    return bad(path, expected, actual)
  }
  const cortex = options.mode === "cortex"
  if (cortex ? !cortexTypes.has(draft.type) : !isType(draft.type)) {
    const expected = cortex ? "one of Cortex's ten types" : "a type like lower.case.name.v1"
    return bad("/type", expected, clip(draft.type))
  }
  const id = draft.id === undefined ? Result.succeed(options.id) : EventId.parse(draft.id)
  if (Result.isFailure(id)) return bad("/id", id.failure.expected, clip(draft.id ?? ""))
  const trace =
    draft.traceId === undefined || draft.traceId === null
      ? Result.succeed(null)
      : EventId.parseTraceId(draft.traceId)
  if (Result.isFailure(trace))
    return bad("/traceId", trace.failure.expected, clip(draft.traceId ?? ""))
  const parent =
    draft.parentId === undefined ? Result.succeed(undefined) : EventId.parse(draft.parentId)
  if (Result.isFailure(parent))
    return bad("/parentId", parent.failure.expected, clip(draft.parentId ?? ""))
  const observedAt = time(draft.observedAt, options.now)
  if (Result.isFailure(observedAt))
    return bad("/observedAt", observedAt.failure, clip(draft.observedAt ?? ""))
  const recordedAt = time(draft.recordedAt, options.now)
  if (Result.isFailure(recordedAt))
    return bad("/recordedAt", recordedAt.failure, clip(draft.recordedAt ?? ""))
  const numbers = cortex ? "cortex" : (options.numbers ?? "lossless")
  const payload =
    draft.payloadText === undefined
      ? Json.fromValue(draft.payload === undefined ? null : draft.payload, { numbers })
      : Json.fromText(draft.payloadText, { numbers })
  if (Result.isFailure(payload)) {
    return bad(`/payload${payload.failure.path}`, payload.failure.expected, payload.failure.actual)
  }
  const done: CompleteDraft = {
    id: id.success,
    schemaVersion: draft.schemaVersion ?? 2,
    observedAt: observedAt.success,
    recordedAt: recordedAt.success,
    // Frozen, as rules are shown them: what was checked is what is written.
    source: Object.freeze({ ...(draft.source ?? { type: "runtime" }) }),
    type: draft.type,
    traceId: trace.success,
    sessionId: draft.sessionId ?? null,
    domainTags: Object.freeze([...(draft.domainTags ?? [])]),
    payloadText: payload.success,
    parentId: parent.success,
    keys: sortedKeys(draft.keys)
  }
  const bytesMax = options.lineBytesMax ?? lineBytesMaxDefault
  const bytes = rowBytesBound(done) + (options.signatureBytesMax ?? 0)
  return bytes > bytesMax
    ? Result.fail(new PayloadTooLarge({ index, bytes, bytesMax }))
    : Result.succeed(done)
}

/** An object literal, as JSON text makes one; the members of a Map would be lost in silence. */
const isPlain = (value: unknown): value is object => {
  if (!Predicate.isObject(value) || Array.isArray(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

type Misfit = readonly [path: string, expected: string, actual: string]

/** Drafts come from JSON and from JavaScript, so their shape is checked whatever the types say. */
const checkShape = (draft: unknown): Option.Option<Misfit> => {
  if (!Predicate.isObject(draft)) return Option.some(["", "a draft object", describe(draft)])
  for (const name of Object.keys(draft)) {
    if (!members.has(name)) return Option.some([pointer([name]), "no such member", "a value"])
  }
  const d: { readonly [K in keyof Draft]?: unknown } = draft
  const tags = Array.isArray(d.domainTags) ? d.domainTags.length : 0
  if (tags > domainTagsMax) {
    return Option.some(["/domainTags", `at most ${domainTagsMax} tags`, `${tags} tags`])
  }
  const keys = Predicate.isObject(d.keys) ? Object.keys(d.keys).length : 0
  if (keys > keysMax) return Option.some(["/keys", `at most ${keysMax} keys`, `${keys} keys`])
  for (const [path, value, nul] of strings(d)) {
    if (typeof value !== "string") return Option.some([path, "a string", describe(value)])
    if (!isWellFormed(value)) return Option.some([path, "well-formed Unicode", "a lone surrogate"])
    if (!nul && value.includes("\0")) return Option.some([path, "text without NUL", "a NUL"])
  }
  if (d.payload !== undefined && d.payloadText !== undefined) {
    return Option.some(["/payloadText", "either payload or payloadText", "both"])
  }
  if (d.source !== undefined && !isSource(d.source)) {
    return Option.some(["/source", 'a source like {type: "runtime"}', describe(d.source)])
  }
  if (d.domainTags !== undefined && !Array.isArray(d.domainTags)) {
    return Option.some(["/domainTags", "an array of strings", describe(d.domainTags)])
  }
  if (d.keys !== undefined && !isPlain(d.keys)) {
    return Option.some(["/keys", "a flat object of strings", describe(d.keys)])
  }
  if (d.schemaVersion !== undefined && d.schemaVersion !== 1 && d.schemaVersion !== 2) {
    const { schemaVersion } = d
    const actual = typeof schemaVersion === "number" ? `${schemaVersion}` : describe(schemaVersion)
    return Option.some(["/schemaVersion", "1 or 2", actual])
  }
  return Option.none()
}

const decodeSource = Schema.decodeUnknownOption(Source, { onExcessProperty: "error" })

/** Judged by its own members, as only these are written. */
const isSource = (value: unknown): boolean =>
  Predicate.isObject(value) && Option.isSome(decodeSource({ ...value }))

/** Every place of a draft that must hold a string, and whether NUL is allowed there. */
function* strings(d: { readonly [K in keyof Draft]?: unknown }): Generator<
  readonly [path: string, value: unknown, nul: boolean]
> {
  yield ["/type", d.type, false]
  for (const name of ["id", "observedAt", "recordedAt", "parentId", "payloadText"] as const) {
    if (d[name] !== undefined) yield [`/${name}`, d[name], name === "payloadText"]
  }
  for (const name of ["traceId", "sessionId"] as const) {
    if (d[name] !== undefined && d[name] !== null) yield [`/${name}`, d[name], false]
  }
  if (Array.isArray(d.domainTags)) {
    for (let i = 0; i < d.domainTags.length; i++) yield [`/domainTags/${i}`, d.domainTags[i], true]
  }
  if (Predicate.isObject(d.keys) && !Array.isArray(d.keys)) {
    for (const [name, value] of Object.entries(d.keys)) {
      yield ["/keys", name, false]
      yield [pointer(["keys", name]), value, false]
    }
  }
  if (Predicate.isObject(d.source)) {
    for (const [name, value] of Object.entries(d.source))
      yield [pointer(["source", name]), value, true]
  }
}

const time = (
  text: string | undefined,
  now: Timestamp.Timestamp
): Result.Result<Timestamp.Timestamp, string> => {
  if (text === undefined) return Result.succeed(now)
  const parsed = Timestamp.parse(text)
  if (Result.isFailure(parsed)) return Result.fail("an RFC 3339 time")
  // A year outside 0000..9999 can be stored in SQL but not read back from there.
  return /^\d{4}-/.test(parsed.success)
    ? Result.succeed(parsed.success)
    : Result.fail("an RFC 3339 time in the years 0000 to 9999")
}

const sortedKeys = (keys: Keys | undefined): Keys | undefined => {
  const names = keys === undefined ? [] : Object.keys(keys)
  if (keys === undefined || names.length === 0) return undefined
  names.sort(Json.compareUtf8)
  return Object.freeze(Object.fromEntries(names.map((name) => [name, keys[name] ?? ""])))
}

const utf8 = new TextEncoder()

/** An upper bound of the bytes of a row, exact but for the parts of fixed length. */
const rowBytesBound = (draft: CompleteDraft): number =>
  rowOverheadBytes +
  utf8.encode(
    draft.payloadText +
      draft.type +
      Json.quote(draft.sessionId ?? "") +
      JSON.stringify([draft.source, draft.domainTags, draft.keys])
  ).byteLength

const draftNames: { readonly [name: string]: keyof Draft } = {
  type: "type",
  id: "id",
  observed_at: "observedAt",
  recorded_at: "recordedAt",
  source: "source",
  trace_id: "traceId",
  session_id: "sessionId",
  domain_tags: "domainTags",
  parent_id: "parentId",
  keys: "keys",
  schema_version: "schemaVersion"
}

/**
 * The draft that a JSON object says, its members in snake_case as on disk. `payload` is taken as
 * text, so no digit is lost. Fails with `DraftInvalid` for text that is no strict JSON object and
 * for members that no draft has; what the members hold is checked by `complete`.
 */
export const fromJson = (text: string, index = 0): Result.Result<Draft, DraftInvalid> => {
  const members = jsonText.members(text)
  if (Result.isFailure(members)) {
    const { path, expected, actual } = members.failure
    return Result.fail(new DraftInvalid({ index, path, expected, actual }))
  }
  const draft: { [name: string]: unknown } = {}
  const seen = new Set<string>()
  for (const { name, start, end } of members.success) {
    const known = name === "payload" ? "payloadText" : draftNames[name]
    if (!Object.hasOwn(draftNames, name) && name !== "payload") {
      const sides = { expected: "no such member", actual: "a value" }
      return Result.fail(new DraftInvalid({ index, path: pointer([name]), ...sides }))
    }
    if (seen.has(name) || known === undefined) {
      const sides = { expected: "the member once", actual: "it twice" }
      return Result.fail(new DraftInvalid({ index, path: pointer([name]), ...sides }))
    }
    seen.add(name)
    const value = text.slice(start, end)
    draft[known] = name === "payload" ? value : Json.valueOf(value)
  }
  const { type, ...rest } = draft
  // `complete` checks the shape of every member at run time, whatever the type says.
  return Result.succeed({ type: type as string, ...rest })
}
