/**
 * Internal: why a JSON text or a value was refused, and where.
 *
 * A place is a JSON pointer (RFC 6901; "" is the whole text; names above 64 characters are cut with
 * "…") and a byte offset: UTF-8 bytes from the start of the text, also where the text came as a
 * JavaScript string. Both are worked out only when something fails, by a second walk over the text
 * before the fault.
 */
import * as Schema from "effect/Schema"

export const Reason = Schema.Literals([
  "syntax",
  "duplicate_member",
  "lone_surrogate",
  "number_out_of_range",
  "number_respelled",
  "too_deep",
  "not_json_value",
  "cycle",
  "threw",
  "invalid_utf8",
  "bom"
])

/**
 * Why a text or value is not JSON as this project writes it. `number_respelled`: Cortex would read
 * or write another number. `threw`: a `toJSON`, a getter or a conversion to a primitive threw.
 */
export type Reason = typeof Reason.Type

/**
 * A JSON text or value that was refused. `path`: JSON pointer to the value (for `duplicate_member`
 * with the name that is there twice). `offset`: UTF-8 bytes from the start of the text; `null` if a
 * value, not a text, was given.
 */
export class JsonError extends Schema.TaggedError<JsonError>()("JsonError", {
  reason: Reason,
  path: Schema.String,
  offset: Schema.NullOr(Schema.Natural),
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    const where = this.path === "" ? "the top level" : this.path
    const at = this.offset === null ? "" : `, byte ${this.offset}`
    const why = `(${this.reason}): expected ${this.expected}, got ${this.actual}`
    return `JSON refused at ${where}${at} ${why}`
  }
}

/** At most `max` characters of `text`. */
export const clip = (text: string, max = 64): string =>
  (text.length <= max ? text : `${text.slice(0, max)}…`).toWellFormed()

/** For errors that go to a terminal: nothing in it steers one, or is unseen. */
export const printable = (text: string): string =>
  text.replace(
    /[\p{C}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`
  )

/** At most `max` characters of `text`, printable, in quotes. */
export const quoted = (text: string, max = 64): string => printable(JSON.stringify(clip(text, max)))

/** A JSON pointer from member names and array indexes. */
export const pointer = (steps: ReadonlyArray<string | number>): string =>
  steps.map((step) => `/${clip(String(step).replaceAll("~", "~0").replaceAll("/", "~1"))}`).join("")

/** The UTF-8 bytes of the first `end` units of `text`; a lone surrogate counts 3. */
export const utf8Length = (text: string, end = text.length): number => {
  let bytes = 0
  for (let at = 0; at < end; at++) {
    const unit = text.charCodeAt(at)
    if (unit < 0x80) bytes += 1
    else if (unit < 0x800) bytes += 2
    else if (unit < 0xd800 || unit > 0xdbff || at + 1 === end) bytes += 3
    else if ((text.charCodeAt(at + 1) & 0xfc00) === 0xdc00) {
      bytes += 4
      at++
    } else bytes += 3
  }
  return bytes
}

/** Where the string that opens at `open` ends; beyond the text if it does not. */
const stringEnd = (text: string, open: number): number => {
  let at = open + 1
  while (at < text.length && text.charCodeAt(at) !== 0x22)
    at += text.charCodeAt(at) === 0x5c ? 2 : 1
  return at + 1
}

/**
 * The steps that lead to the unit at `index`, where all of `text` before it is sound JSON. A name
 * that starts at `index` is the last step.
 */
const stepsTo = (text: string, index: number): ReadonlyArray<string | number> => {
  // One step per open container: an index, or a member's name, null until it was read.
  const steps: Array<string | number | null> = []
  let at = 0
  while (at <= index && at < text.length) {
    const unit = text.charCodeAt(at)
    const top = steps.length - 1
    const end = unit === 0x22 ? stringEnd(text, at) : at + 1
    if (unit === 0x22) {
      const isName = steps[top] === null && end <= text.length
      if (isName && (end <= index || at === index)) {
        steps[top] = String(JSON.parse(text.slice(at, end)))
      }
    } else if (at < index) {
      const step = steps[top]
      if (unit === 0x7b) steps.push(null)
      else if (unit === 0x5b) steps.push(0)
      else if (unit === 0x7d || unit === 0x5d) steps.pop()
      else if (unit === 0x2c) steps[top] = typeof step === "number" ? step + 1 : null
    }
    at = end
  }
  return steps.filter((step) => step !== null)
}

/** The error for a fault at `index` of `text`, all of which before it is sound JSON. */
export const errorAt = (
  text: string,
  index: number,
  reason: Reason,
  expected: string,
  actual: string
): JsonError =>
  new JsonError({
    reason,
    path: pointer(stepsTo(text, index)),
    offset: utf8Length(text, index),
    expected,
    actual
  })

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/**
 * Offset of the first byte that is not UTF-8, if there is one: there a lenient reading has a U+FFFD
 * not in the bytes.
 */
const firstInvalid = (bytes: Uint8Array): number => {
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes)
  let offset = 0
  for (const character of text) {
    const genuine =
      bytes[offset] === 0xef && bytes[offset + 1] === 0xbf && bytes[offset + 2] === 0xbd
    if (character === "\ufffd" && !genuine) return offset
    offset += utf8Length(character)
  }
  return offset
}

/** The text in `bytes`, or the error that names the first byte that is not UTF-8. */
export const decodeUtf8 = (bytes: Uint8Array): string | JsonError => {
  try {
    return decoder.decode(bytes)
  } catch {
    const offset = firstInvalid(bytes)
    return new JsonError({
      reason: "invalid_utf8",
      path: "",
      offset,
      expected: "UTF-8",
      actual: `byte 0x${(bytes[offset] ?? 0).toString(16).padStart(2, "0")}`
    })
  }
}
