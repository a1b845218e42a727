// Ids of events and traces: a prefix and a ULID, as they stand in a row.
//
//     evt_  or  trc_     exactly so, lower case
//     26 characters      128 bits in base 32, alphabet 0-9 A-Z without I L O U, capitals;
//                        the first character is 0 to 7
//
// A ULID's first 48 bits are milliseconds since 1970 and the rest is random; only `idFrom` makes
// other ones. Row bytes and uniqueness rest on this form: neither it, nor what `parse` makes of a
// text, nor what `idFrom` makes of one may ever change.

import { Result, Schema } from "effect"
import * as Hashes from "./Hashes.ts"

const EVENT_PREFIX = "evt_"
const TRACE_PREFIX = "trc_"
const PREFIX_LENGTH = 4
const ULID_LENGTH = 26
const ULID_BYTES = 16
const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
const TEXT_CLIP = 64

/** A text that is no id of the wanted kind. `text` and `actual` are cut to 64 characters. */
export class IdInvalid extends Schema.TaggedError<IdInvalid>()("IdInvalid", {
  text: Schema.String,
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message() {
    return `"${this.text}" is not an id: expected ${this.expected}, found ${this.actual}`
  }
}

/** Whether `text` is exactly what a row holds: true for a text that `parse` maps to itself. */
export const isCanonical = (text: string): text is EventId =>
  text.startsWith(EVENT_PREFIX) && hasCanonicalUlid(text, PREFIX_LENGTH)

/** The same for trace ids and `parseTraceId`. */
export const isCanonicalTraceId = (text: string): text is TraceId =>
  text.startsWith(TRACE_PREFIX) && hasCanonicalUlid(text, PREFIX_LENGTH)

/** The branded texts, checked by the two functions above. */
export const EventId = Schema.String.check(
  Schema.makeFilter(isCanonical, { expected: "evt_ and a ULID in capitals" })
).pipe(Schema.brand("EventId"))
export type EventId = typeof EventId.Type
export const TraceId = Schema.String.check(
  Schema.makeFilter(isCanonicalTraceId, { expected: "trc_ and a ULID in capitals" })
).pipe(Schema.brand("TraceId"))
export type TraceId = typeof TraceId.Type

/**
 * Reads an event id as rows were always read: the ULID in any case. A first character above 7 has
 * bits beyond the 128; they are dropped, so `evt_8…` is read as `evt_0…`.
 */
export const parse = (text: string): Result.Result<EventId, IdInvalid> =>
  isCanonical(text)
    ? Result.succeed(text)
    : Result.map(normalised(text, EVENT_PREFIX), (id) => id as EventId)

/** Reads a trace id in the same way. */
export const parseTraceId = (text: string): Result.Result<TraceId, IdInvalid> =>
  isCanonicalTraceId(text)
    ? Result.succeed(text)
    : Result.map(normalised(text, TRACE_PREFIX), (id) => id as TraceId)

/** The id with this ULID. Throws unless it is 26 capitals of the alphabet, the first 0 to 7. */
export const fromUlid = (ulid: string): EventId => {
  const id = EVENT_PREFIX + ulid
  if (!isCanonical(id)) throw new RangeError(`not a ULID: "${clipped(ulid)}"`)
  return id
}

/** The id with these 128 bits, most significant byte first. Throws unless there are 16 bytes. */
export const fromBytes = (bytes: Uint8Array): EventId => {
  if (bytes.length !== ULID_BYTES) throw new RangeError(`not 16 bytes: ${bytes.length}`)
  let ulid = ""
  // 26 characters are 130 bits: the two in front of the first byte are zero.
  let bits = 0
  let bitCount = 2
  for (const byte of bytes) {
    bits = (bits << 8) | byte
    bitCount += 8
    while (bitCount >= 5) {
      bitCount -= 5
      ulid += ALPHABET.charAt((bits >>> bitCount) & 31)
    }
    bits &= 31
  }
  return fromUlid(ulid)
}

/**
 * The id that stands for `text`: the first 128 bits of its BLAKE3 as the ULID. The same text gives
 * the same id, so the id serves as an idempotency key. Throws on a lone surrogate.
 */
export const idFrom = (text: string, hashes: Hashes.Hashes = Hashes.noble): EventId => {
  // Like a payload's hash: BLAKE3 of the UTF-8 text and nothing else.
  const hex = Hashes.payloadHash(hashes, text)
  return fromBytes(
    Uint8Array.from({ length: ULID_BYTES }, (_, i) =>
      Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16)
    )
  )
}

/** By character code: 1 for the alphabet's capitals and digits. */
const isCapital = new Uint8Array(128)
for (let i = 0; i < ALPHABET.length; i++) isCapital[ALPHABET.charCodeAt(i)] = 1

const hasCanonicalUlid = (text: string, at: number): boolean => {
  if (text.length !== at + ULID_LENGTH || text.charCodeAt(at) > 0x37) return false
  for (let i = at; i < text.length; i++) if (isCapital[text.charCodeAt(i)] !== 1) return false
  return true
}

/** The canonical text: the brand that `parse` and `parseTraceId` put on it is earned here. */
const normalised = (text: string, prefix: string): Result.Result<string, IdInvalid> => {
  const invalid = (expected: string, actual: string) =>
    Result.fail(new IdInvalid({ text: clipped(text), expected, actual: clipped(actual) }))
  if (!text.startsWith(prefix))
    return invalid(`"${prefix}" in front`, `"${text.slice(0, PREFIX_LENGTH)}"`)
  const body = text.slice(PREFIX_LENGTH)
  if (body.length !== ULID_LENGTH)
    return invalid(`${ULID_LENGTH} characters after "${prefix}"`, `${body.length}`)
  const foreign = /[^0-9a-hj-km-np-tv-zA-HJ-KM-NP-TV-Z]/u.exec(body)
  if (foreign !== null) return invalid(`only the characters ${ALPHABET}`, `"${foreign[0]}"`)
  const ulid = body.toUpperCase()
  const first = ALPHABET.charAt(ALPHABET.indexOf(ulid.charAt(0)) & 7)
  return Result.succeed(prefix + first + ulid.slice(1))
}

// A cut through the middle of a character would leave a text that is not UTF-8.
const clipped = (text: string) =>
  (text.length > TEXT_CLIP ? `${text.slice(0, TEXT_CLIP)}…` : text).toWellFormed()
