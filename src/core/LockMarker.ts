/**
 * The marker of a store lock: the file that says who is changing a store, and what for.
 *
 *     cortex-restore-active-store-lock-v1
 *     pid=4711                                      decimal, 1 to 2^32 - 1
 *     host=build-7                                  may be empty
 *     deployment_id=prod-1
 *     operator_principal_id=operator:8f0c…
 *     acquired_at=2026-05-04T12:30:45.120+00:00     a Timestamp in its SQL form
 *     scope=production                              always
 *     restore_intent_blake3=op_01KGE3HBSFNPBSCAJ7DY8FSVA7 rollback to 3
 *
 * UTF-8, LF behind each line, exactly these lines in this order: Cortex's form, byte for byte. It
 * has no escapes, so a value with a line break could add fields; those, and NUL, are refused both
 * ways. `render` and `parse` are inverse to each other: a marker has one text. Never to change.
 */
import { Result, Schema } from "effect"
import { decodeUtf8, quoted, utf8Length } from "./jsonError.ts"
import * as Timestamp from "./Timestamp.ts"

/** The longest marker, in bytes. Whoever reads one from a file need not read more than one more. */
export const bytesMax = 16_384

const pidMax = 4_294_967_295

// What Unicode, Python, JavaScript or an editor takes for the end of a line.
const lineBreaks = "\n\v\f\r\u001c\u001d\u001e\u0085\u2028\u2029"

const lineBreakIn = (text: string) => [...lineBreaks].find((character) => text.includes(character))

const Line = Schema.String.check(
  Schema.makeFilter(
    (text) => text.isWellFormed() && !text.includes("\0") && lineBreakIn(text) === undefined,
    { expected: "one line of text without NUL" }
  )
)

/**
 * Who holds a store, since when, and what for. `intent` is free text, in Cortex the digest of a
 * signed intent; an operation of ours puts its id in front (`intentOf`).
 */
export const LockMarker = Schema.Struct({
  pid: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: pidMax })),
  host: Line,
  deployment: Line,
  operator: Line,
  acquiredAt: Timestamp.Timestamp,
  intent: Line
})
export type LockMarker = typeof LockMarker.Type

/**
 * Why a text is no marker, or a marker has no text. `truncated`: it ends before its last line does,
 * as after a crash; `missing_field`: a later field stands in the place of `place`.
 */
export const Kind = Schema.Literals([
  "too_long",
  "not_utf8",
  "nul",
  "wrong_header",
  "truncated",
  "missing_field",
  "repeated_field",
  "unknown_field",
  "out_of_order",
  "line_break",
  "invalid_value"
])
export type Kind = typeof Kind.Type

/** `place`: the field as it is named in the text, or which line, or which byte. */
export class MarkerInvalid extends Schema.TaggedError<MarkerInvalid>()("MarkerInvalid", {
  kind: Kind,
  place: Schema.String,
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    return (
      `lock marker refused at ${this.place} (${this.kind}): expected ${this.expected}, found ` +
      `${this.actual}`
    )
  }
}

/** The marker's text. Fails where a value would read back as anything but itself. */
export const render = (marker: LockMarker): Result.Result<string, MarkerInvalid> => {
  const { acquiredAt } = marker
  const values: Values = {
    pid: String(marker.pid),
    host: marker.host,
    deployment_id: marker.deployment,
    operator_principal_id: marker.operator,
    acquired_at: Timestamp.isCanonical(acquiredAt) ? Timestamp.toSql(acquiredAt) : acquiredAt,
    scope,
    restore_intent_blake3: marker.intent
  }
  const checked = check(values)
  if (Result.isFailure(checked)) return Result.fail(checked.failure)
  const lines = names.map((name) => `${name}=${values[name]}\n`)
  return withinBounds(`${header}\n${lines.join("")}`)
}

/**
 * Reads a marker, of us or of Cortex; from bytes, as they lie on the disk, or a text of them. The
 * first fault counts: size, UTF-8, NUL, header, the lines in their order, the values in theirs.
 */
export const parse = (source: string | Uint8Array): Result.Result<LockMarker, MarkerInvalid> =>
  textOf(source).pipe(Result.flatMap(valuesOf), Result.flatMap(check))

/**
 * Whether a crash may have left these bytes of a marker that was being written, and was never made
 * durable: it ends before its last line does, or goes on with a block that was never written. Of
 * anything else that is no marker this cannot be said.
 */
export const isTorn = (bytes: Uint8Array): boolean => {
  if (bytes.byteLength > bytesMax) return false
  const nul = bytes.indexOf(0)
  const written = nul === -1 ? bytes : bytes.subarray(0, nul)
  // The last line may be cut within a character.
  const lines = written.lastIndexOf(0x0a) + 1
  const read = parse(lines === 0 ? written : written.subarray(0, lines))
  return Result.isFailure(read) && read.failure.kind === "truncated"
}

/**
 * Where a stale marker is kept: `NAME.stale-YYYYMMDDTHHMMSSZ`, the fraction of the second cut.
 * Years outside of 0 to 9999 have a sign and at least four digits, as in a Timestamp. If that name
 * is `taken` it gets `-2` behind it, or the next number that is free.
 */
export const staleName = (
  name: string,
  at: Timestamp.Timestamp,
  taken: ReadonlySet<string>
): string => {
  const second = at.replace(/^(.\d+)-(..)-(..)T(..):(..):(..).*$/, "$1$2$3T$4$5$6Z")
  const first = `${name}.stale-${second}`
  let free = first
  for (let nth = 2; taken.has(free); nth++) free = `${first}-${nth}`
  return free
}

/**
 * The intent of an operation: its id, then what for. Throws unless the id is `op_` and a ULID in
 * capitals, as only our own operations have one.
 */
export const intentOf = (operation: string, purpose: string): string => {
  const intent = purpose === "" ? operation : `${operation} ${purpose}`
  if (operationOf(intent) !== operation) {
    throw new RangeError(`not an operation's id: ${quoted(operation)}`)
  }
  return intent
}

/**
 * The operation that an intent begins with, if it does. Anybody can write such an intent: whoever
 * takes one from an application must refuse it if this finds an operation in it.
 */
export const operationOf = (intent: string): string | undefined =>
  /^(op_[0-7][0-9A-HJKMNP-TV-Z]{25})(?: |$)/.exec(intent)?.[1]

const header = "cortex-restore-active-store-lock-v1"
const scope = "production"

const names = [
  "pid",
  "host",
  "deployment_id",
  "operator_principal_id",
  "acquired_at",
  "scope",
  "restore_intent_blake3"
] as const
type Name = (typeof names)[number]
type Values = { readonly [name in Name]: string }

const invalid = (
  kind: Kind,
  place: string,
  expected: string,
  actual: string
): Result.Result<never, MarkerInvalid> =>
  Result.fail(new MarkerInvalid({ kind, place, expected, actual }))

/** The length in units is looked at first: it is known without a walk over the text. */
const withinBounds = (text: string): Result.Result<string, MarkerInvalid> => {
  const bytes = text.length > bytesMax ? text.length : utf8Length(text)
  return bytes > bytesMax ? tooLong(bytes) : Result.succeed(text)
}

const tooLong = (bytes: number) =>
  invalid("too_long", "its end", `at most ${bytesMax} bytes`, `${bytes} or more`)

const textOf = (source: string | Uint8Array): Result.Result<string, MarkerInvalid> => {
  if (typeof source === "string") {
    if (source.length <= bytesMax && !source.isWellFormed()) {
      return invalid("not_utf8", "its text", "surrogates in pairs", "one alone")
    }
    return withinBounds(source)
  }
  if (source.byteLength > bytesMax) return tooLong(source.byteLength)
  const text = decodeUtf8(source)
  return typeof text === "string"
    ? Result.succeed(text)
    : invalid("not_utf8", `byte ${text.offset}`, text.expected, text.actual)
}

/** The values of a text whose lines are what and where they must be. */
const valuesOf = (text: string): Result.Result<Values, MarkerInvalid> => {
  const nul = text.indexOf("\0")
  if (nul !== -1) return invalid("nul", `byte ${utf8Length(text, nul)}`, "text", "a NUL byte")
  const [first = "", ...lines] = text.split("\n")
  if (first !== header || lines.length === 0) {
    const isCut = lines.length === 0 && header.startsWith(first)
    return invalid(isCut ? "truncated" : "wrong_header", "line 1", quoted(header), quoted(first))
  }
  // Behind the last LF there is nothing, or a line that was cut.
  const rest = lines.pop() ?? ""
  const values: Array<string> = []
  for (const line of lines) {
    const name = names[values.length]
    if (name === undefined || !line.startsWith(`${name}=`)) return misplaced(line, values, lines)
    values.push(line.slice(name.length + 1))
  }
  const next = names[values.length]
  if (next !== undefined) {
    const isCut = rest.startsWith(`${next}=`) || `${next}=`.startsWith(rest)
    if (!isCut) return misplaced(rest, values, lines)
    const actual = rest === "" ? "the end" : `${quoted(rest)} and the end`
    return invalid("truncated", next, "its line and LF", actual)
  }
  if (rest !== "") return misplaced(rest, values, lines)
  const [pid = "", host = "", deployment_id = "", operator_principal_id = "", ...last] = values
  const [acquired_at = "", written = "", restore_intent_blake3 = ""] = last
  return Result.succeed({
    pid,
    host,
    deployment_id,
    operator_principal_id,
    acquired_at,
    scope: written,
    restore_intent_blake3
  })
}

/** Why a line that follows those with `values` is not the next one. */
const misplaced = (
  line: string,
  values: ReadonlyArray<string>,
  lines: ReadonlyArray<string>
): Result.Result<never, MarkerInvalid> => {
  const wanted = names[values.length]
  const place = `line ${values.length + 2}`
  const expected = wanted === undefined ? "the end" : quoted(`${wanted}=`)
  const at = names.findIndex((name) => line.startsWith(`${name}=`))
  if (at === -1) return invalid("unknown_field", place, expected, quoted(line))
  if (wanted === undefined || at < values.length) {
    return invalid("repeated_field", place, expected, quoted(line))
  }
  const isLater = lines.some((other) => other.startsWith(`${wanted}=`))
  return isLater
    ? invalid("out_of_order", place, expected, quoted(line))
    : invalid("missing_field", wanted, expected, quoted(line))
}

/** The marker with these values, each of which must be what it is in one line of text. */
const check = (values: Values): Result.Result<LockMarker, MarkerInvalid> => {
  for (const name of names) {
    const fault = faultIn(name, values[name])
    if (fault !== undefined) return fault
  }
  const acquiredAt = timeOf(values.acquired_at)
  if (acquiredAt === undefined) {
    const expected = "a time in UTC, written like 2026-03-17T09:41:07.123+00:00"
    return invalid("invalid_value", "acquired_at", expected, quoted(values.acquired_at))
  }
  return Result.succeed({
    pid: Number(values.pid),
    host: values.host,
    deployment: values.deployment_id,
    operator: values.operator_principal_id,
    acquiredAt,
    intent: values.restore_intent_blake3
  })
}

const faultIn = (name: Name, value: string) => {
  if (!value.isWellFormed()) {
    return invalid("not_utf8", name, "surrogates in pairs", quoted(value))
  }
  if (value.includes("\0")) return invalid("nul", name, "text without NUL", quoted(value))
  const found = lineBreakIn(value)
  if (found !== undefined) {
    return invalid("line_break", name, "one line", `${quoted(found)} in ${quoted(value)}`)
  }
  // No leading zeros, and no 0, which a signal would take for all processes of a group.
  if (name === "pid" && !(/^[1-9]\d{0,9}$/.test(value) && Number(value) <= pidMax)) {
    return invalid("invalid_value", name, `a number from 1 to ${pidMax}`, quoted(value))
  }
  if (name === "scope" && value !== scope) {
    return invalid("invalid_value", name, quoted(scope), quoted(value))
  }
  return undefined
}

const timeOf = (value: string): Timestamp.Timestamp | undefined => {
  const time = value.endsWith("+00:00") ? `${value.slice(0, -6)}Z` : ""
  return Timestamp.isCanonical(time) ? time : undefined
}
