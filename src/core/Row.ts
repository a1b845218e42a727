/**
 * One journal line: one JSON object, UTF-8, LF, no spaces, members in this order:
 *
 *   id, schema_version, observed_at, recorded_at, source, event_type, trace_id, session_id,
 *   domain_tags, payload, payload_hash, prev_event_hash, event_hash, then where present
 *   parent_id, keys, prev_line_hash, batch, signature, crc32c
 *
 * The thirteen and `signature` are Cortex's, byte for byte. `prev_line_hash` is the leaf hash of
 * the row before (64 zeros in the first), `crc32c` covers the bytes from `{` up to, not including,
 * the comma before it. In segments both are always there and any other spelling is damage; a file
 * in Cortex mode is read as the original reads it. Bytes are on disk: none of this may change.
 */
import { Result, Schema } from "effect"
import * as Json from "./CanonicalJson.ts"
import * as Crc32c from "./Crc32c.ts"
import type { Batch, Keys, Signature } from "./Event.ts"
import { Event, sourceText } from "./Event.ts"
import * as Hashes from "./Hashes.ts"
import { clip } from "./jsonError.ts"
import type { Member } from "./jsonText.ts"
import * as jsonText from "./jsonText.ts"
import * as rowFast from "./rowFast.ts"
import { Fields } from "./rowFields.ts"
import type { Sealed } from "./Seal.ts"

/** How a line is spelled: sealog's own segments, or a file that the original reads and writes. */
export type Format = "segments" | "cortex"

/** The `prev_line_hash` of a first row. */
export const zeroHash = "0".repeat(64)

const crcTailBytes = `,"crc32c":"00000000"}`.length

/** A line as it was read: its event, and its bytes without LF. */
export interface Row {
  readonly event: Event
  readonly line: Uint8Array
}

/** A line that is no row. `place` is a member or `line`; sizes in `expected`/`actual` are bytes. */
export class RowInvalid extends Schema.TaggedError<RowInvalid>()("RowInvalid", {
  seq: Schema.Int,
  kind: Schema.Literals(["row_unreadable", "row_respelled", "crc_mismatch", "payload_ambiguous"]),
  place: Schema.String,
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    return (
      `row ${this.seq} cannot be read (${this.kind}): at ${this.place} expected ` +
      `${this.expected}, found ${this.actual}`
    )
  }
}

/** RFC 6962 leaf hash of a line without its LF: SHA-256 of 0x00 and the bytes, hex. */
export const leafHash = (line: Uint8Array, hashes: Hashes.Hashes = Hashes.noble): string =>
  Hashes.leafHash(hashes, line)

const utf8 = new TextEncoder()
const fromUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

const nullable = (text: string | null): string => (text === null ? "null" : Json.quote(text))

/** The members of a row that sealog adds; absent ones are left out of the line. */
export interface Extensions {
  readonly prevLineHash?: string | undefined
  readonly batch?: Batch | undefined
  readonly signature?: Signature | undefined
  readonly crc32c?: boolean | undefined
}

/** What the text of a line is made of; a sealed draft and an event that was read both have it. */
type Spelled = Omit<
  Event,
  "seq" | "leafHash" | "position" | "payload" | "prevLineHash" | "batch" | "signature"
>

/** The text of a line up to, not including, its `crc32c` member or closing brace. */
const body = (event: Spelled, extensions: Extensions): string => {
  let text =
    `{"id":"${event.id}","schema_version":${event.schemaVersion},` +
    `"observed_at":"${event.observedAt}","recorded_at":"${event.recordedAt}",` +
    `"source":${sourceText(event.source)},"event_type":"${event.type}",` +
    `"trace_id":${nullable(event.traceId)},"session_id":${nullable(event.sessionId)},` +
    `"domain_tags":[${event.domainTags.map(Json.quote).join(",")}],` +
    `"payload":${event.payloadText},"payload_hash":${Json.quote(event.payloadHash)},` +
    `"prev_event_hash":${nullable(event.prevEventHash)},` +
    `"event_hash":${Json.quote(event.eventHash)}`
  if (event.parentId !== undefined) text += `,"parent_id":"${event.parentId}"`
  if (event.keys !== undefined) text += `,"keys":${keysText(event.keys)}`
  if (extensions.prevLineHash !== undefined)
    text += `,"prev_line_hash":"${extensions.prevLineHash}"`
  if (extensions.batch !== undefined) text += `,"batch":[${extensions.batch.join(",")}]`
  if (extensions.signature !== undefined)
    text += `,"signature":${signatureText(extensions.signature)}`
  return text
}

/** Keys in their wire spelling, members sorted by UTF-8 bytes. */
export const keysText = (keys: Keys): string =>
  // An object's own order puts integer-like names first, so the names are sorted again here.
  `{${Object.keys(keys)
    .toSorted(Json.compareUtf8)
    .map((name) => `${Json.quote(name)}:${Json.quote(keys[name] ?? "")}`)
    .join(",")}}`

const signatureText = (signature: Signature): string =>
  `{"schema_version":${signature.schemaVersion},"key_id":${Json.quote(signature.keyId)},` +
  `"signed_at":${Json.quote(signature.signedAt)},"bytes":${Json.quote(signature.bytes)}}`

/** The bytes of one line, LF included. */
export const encodeLine = (event: Sealed, extensions: Extensions): Uint8Array => {
  const text = body(event, extensions)
  if (extensions.crc32c !== true) return utf8.encode(`${text}}\n`)
  const bytes = utf8.encode(`${text},"crc32c":"00000000"}\n`)
  const covered = bytes.byteLength - crcTailBytes - 1
  const hex = Crc32c.hex8(Crc32c.of(bytes, 0, covered))
  for (let i = 0; i < 8; i++) bytes[covered + 11 + i] = hex.charCodeAt(i)
  return bytes
}

/** A sealed event and, in a signed ledger, its signature. */
export interface Outgoing extends Sealed {
  readonly signature?: Signature | undefined
}

/** One row of a group: its event, and where its line lies in the group's bytes, LF not counted. */
export interface GroupRow {
  readonly event: Outgoing
  readonly seq: number
  readonly leafHash: string
  readonly offset: number
  readonly length: number
}

/** What one write and fsync make durable: all rows or none. */
export interface Group {
  readonly firstSeq: number
  readonly rows: ReadonlyArray<GroupRow>
  readonly bytes: Uint8Array
}

/** How `encode` writes: segments carry everything, Cortex mode only what its options ask for. */
export interface EncodeOptions {
  readonly format: Format
  /** Cortex mode only: carry `prev_line_hash`. */
  readonly lineHashes?: boolean | undefined
  /** Cortex mode only: carry `crc32c`. */
  readonly crc?: boolean | undefined
}

/**
 * Encode sealed events as one group on top of a position (seq and leaf hash of the row before).
 *
 * Throws where a Cortex-mode event carries `parentId` or `keys`: `Event.complete` refuses those.
 */
export const encode = (
  events: ReadonlyArray<Outgoing>,
  after: { readonly seq: number; readonly leafHash: string },
  options: EncodeOptions,
  hashes: Hashes.Hashes = Hashes.noble
): Group => {
  const segments = options.format === "segments"
  const lines: Array<Uint8Array> = []
  const rows: Array<GroupRow> = []
  let prevLineHash = after.leafHash
  let offset = 0
  for (const event of events) {
    const line = encodeLine(event, {
      prevLineHash: segments || options.lineHashes === true ? prevLineHash : undefined,
      batch: segments && events.length > 1 ? [rows.length, events.length] : undefined,
      signature: event.signature,
      crc32c: segments || options.crc === true
    })
    const length = line.byteLength - 1
    prevLineHash = Hashes.leafHash(hashes, line.subarray(0, length))
    const seq = after.seq + rows.length + 1
    rows.push({ event, seq, leafHash: prevLineHash, offset, length })
    lines.push(line)
    offset += line.byteLength
  }
  return { firstSeq: after.seq + 1, rows, bytes: concat(lines, offset) }
}

const concat = (parts: ReadonlyArray<Uint8Array>, size: number): Uint8Array => {
  const [only] = parts
  if (parts.length === 1 && only !== undefined) return only
  const bytes = new Uint8Array(size)
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.byteLength
  }
  return bytes
}

/**
 * Read one line (without LF) as the row with this `seq`.
 *
 * In `segments` exactly the spelling of `encode` is accepted, its crc32c included. In `cortex` the
 * original's lenience holds: any member order, spaces, unknown members, other spellings of times
 * and ids; members of ours must hold what ours hold, and a crc32c must fit where there is one. In
 * both, a row with two readings is refused: no member twice, a strict payload.
 * Hashes are not compared here; see `Seal` and `Chain`.
 */
export const decode = (
  line: Uint8Array,
  seq: number,
  format: Format,
  hashes: Hashes.Hashes = Hashes.noble
): Result.Result<Row, RowInvalid> => {
  const invalid = refuse(seq)
  if (format === "segments") {
    const crc = checkCrc(line, seq)
    if (crc !== undefined) return Result.fail(crc)
  }
  let text: string
  try {
    text = fromUtf8.decode(line)
  } catch {
    return invalid("row_unreadable", "line", "UTF-8", "bytes that are not UTF-8")
  }
  const leaf = Hashes.leafHash(hashes, line)
  if (format === "segments") {
    const usual = rowFast.read(text, seq, leaf)
    if (usual !== undefined) return Result.succeed({ event: usual, line })
  }
  return decodeMembers(line, text, seq, format, leaf)
}

/**
 * The slow way, which decides what a line is: member by member.
 * @internal
 */
export const decodeMembers = (
  line: Uint8Array,
  text: string,
  seq: number,
  format: Format,
  leaf: string
): Result.Result<Row, RowInvalid> => {
  const invalid = refuse(seq)
  const members = jsonText.members(text, jsonText.strict)
  if (Result.isFailure(members)) return unreadable(seq, members.failure)
  if (format === "cortex" && members.success.some(({ name }) => name === "crc32c")) {
    const crc = checkCrc(line, seq)
    if (crc !== undefined) return Result.fail(crc)
  }
  const event = assemble(text, members.success, seq, leaf, format)
  if (Result.isFailure(event)) return Result.fail(event.failure)
  if (format === "segments" && !isOwnSpelling(event.success, text)) {
    return invalid("row_respelled", "line", "the spelling that sealog writes", "another one")
  }
  return Result.succeed({ event: event.success, line })
}

const refuse =
  (seq: number) =>
  (
    kind: RowInvalid["kind"],
    place: string,
    expected: string,
    actual: string
  ): Result.Result<never, RowInvalid> =>
    Result.fail(new RowInvalid({ seq, kind, place, expected, actual }))

const unreadable = (seq: number, error: Json.JsonError): Result.Result<never, RowInvalid> =>
  refuse(seq)(
    error.reason === "duplicate_member" || error.reason === "lone_surrogate"
      ? "payload_ambiguous"
      : "row_unreadable",
    error.path === "" ? "line" : error.path,
    error.expected,
    error.actual
  )

const crcHead = utf8.encode(',"crc32c":"')

/** The value of an upper-case hex digit; -1 for any other byte. */
const hexValue = (byte: number): number =>
  byte >= 0x30 && byte <= 0x39 ? byte - 0x30 : byte >= 0x41 && byte <= 0x46 ? byte - 0x37 : -1

/** The checksum that a line ends with, undefined where it does not end with one. */
const statedCrc = (line: Uint8Array, covered: number): number | undefined => {
  if (covered < 0 || line[line.byteLength - 1] !== 0x7d || line[line.byteLength - 2] !== 0x22) {
    return undefined
  }
  for (const [i, byte] of crcHead.entries()) {
    if (line[covered + i] !== byte) return undefined
  }
  let stated = 0
  for (let i = 0; i < 8; i++) {
    const digit = hexValue(line[covered + crcHead.byteLength + i] ?? 0)
    if (digit < 0) return undefined
    stated = stated * 16 + digit
  }
  return stated
}

const checkCrc = (line: Uint8Array, seq: number): RowInvalid | undefined => {
  const covered = line.byteLength - crcTailBytes
  const stated = statedCrc(line, covered)
  if (stated === undefined) {
    const expected = "a crc32c as the last member"
    return new RowInvalid({
      seq,
      kind: "row_unreadable",
      place: "crc32c",
      expected,
      actual: "none"
    })
  }
  const crc = Crc32c.of(line, 0, covered) >>> 0
  if (crc === stated) return undefined
  const sides = { expected: Crc32c.hex8(crc), actual: Crc32c.hex8(stated) }
  return new RowInvalid({ seq, kind: "crc_mismatch", place: "crc32c", ...sides })
}

/** In segments a line has one spelling, so writing what was read must give the line again. */
const isOwnSpelling = (event: Event, text: string): boolean => {
  const { prevLineHash, batch, signature, payloadText } = event
  const payload = Json.fromText(payloadText)
  return (
    Result.isSuccess(payload) &&
    payload.success === payloadText &&
    text.slice(0, text.length - crcTailBytes) === body(event, { prevLineHash, batch, signature })
  )
}

const required = [
  "id",
  "schema_version",
  "observed_at",
  "recorded_at",
  "source",
  "event_type",
  "domain_tags",
  "payload",
  "payload_hash",
  "event_hash"
] as const

/** Build the event from the spans of the line's members. */
const assemble = (
  text: string,
  members: ReadonlyArray<Member>,
  seq: number,
  leaf: string,
  format: Format
): Result.Result<Event, RowInvalid> => {
  const invalid = refuse(seq)
  const found = new Map<string, string>()
  for (const { name, start, end } of members) {
    if (found.has(name)) {
      return invalid("payload_ambiguous", clip(name), "the member once", "it twice")
    }
    found.set(name, text.slice(start, end))
  }
  for (const name of required) {
    if (!found.has(name)) return invalid("row_unreadable", name, "the member", "nothing")
  }
  const read = new Fields(found, format)
  const event = {
    seq,
    id: read.id("id"),
    schemaVersion: read.u16("schema_version"),
    observedAt: read.time("observed_at"),
    recordedAt: read.time("recorded_at"),
    source: read.source("source"),
    type: read.type("event_type"),
    traceId: read.traceId("trace_id"),
    sessionId: read.session("session_id"),
    domainTags: read.strings("domain_tags"),
    payloadText: found.get("payload") ?? "null",
    payloadHash: read.hash("payload_hash"),
    prevEventHash: read.hashOrNull("prev_event_hash"),
    eventHash: read.hash("event_hash"),
    parentId: read.optional("parent_id", (name) => read.id(name)),
    keys: read.optional("keys", (name) => read.keys(name)),
    prevLineHash: read.optional("prev_line_hash", (name) => read.hash(name)),
    batch: read.optional("batch", (name) => read.batch(name)),
    signature: read.optional("signature", (name) => read.signature(name)),
    leafHash: leaf
  }
  if (read.failure !== undefined) {
    return invalid("row_unreadable", read.failure.name, read.failure.expected, read.failure.actual)
  }
  if (format === "segments" && event.prevLineHash === undefined) {
    return invalid("row_unreadable", "prev_line_hash", "the member", "nothing")
  }
  return Result.succeed(new Event(event))
}
