// The hashes of a row, each as lower-case hex. Changing any of them would orphan every row on disk:
//
//     payload_hash   BLAKE3(payload text)
//     event_hash     BLAKE3(01 | u64 LE length of prev | prev | u64 LE length of ph | ph)
//     leaf hash      SHA-256(00 | line without LF), the leaf of RFC 6962
//
// All texts go in as UTF-8. `prev` and `ph` (the payload_hash) are the hex TEXTS as they stand in
// the row, never the bytes they spell, and never checked to be hex; no prev is hashed like "".

import { blake3 } from "@noble/hashes/blake3.js"
import { sha256 } from "@noble/hashes/sha2.js"
import { bytesToHex } from "@noble/hashes/utils.js"

/**
 * The two hash functions, 32 bytes each, as 64 lower-case hex digits. `data` may be a view of a
 * buffer that is used again for the next call: an implementation must not keep it.
 */
export interface Hashes {
  readonly blake3Hex: (data: Uint8Array) => string
  readonly sha256Hex: (data: Uint8Array) => string
}

/** Plain code, runs anywhere. */
export const noble: Hashes = {
  blake3Hex: (data) => bytesToHex(blake3(data)),
  sha256Hex: (data) => bytesToHex(sha256(data))
}

/** SHA-256 of bytes that come in parts; `hex` ends it. */
export const sha256Incremental = (): {
  readonly update: (part: Uint8Array) => void
  readonly hex: () => string
} => {
  const hash = sha256.create()
  return { update: (part) => void hash.update(part), hex: () => bytesToHex(hash.digest()) }
}

/** `payload_hash`: of the stored payload text. Throws on a lone surrogate, which has no UTF-8. */
export const payloadHash = (hashes: Hashes, text: string): string => {
  const room = scratchFor(bytesMax(text))
  const end = write(text, room, 0)
  return hashes.blake3Hex(room.subarray(0, end))
}

/**
 * `event_hash`: of the previous row's `event_hash` (null in the first row) and this row's
 * `payload_hash`. Any text is accepted, as it stands. Throws on a lone surrogate.
 */
export const eventHash = (hashes: Hashes, prev: string | null, payloadHash: string): string => {
  const before = prev ?? ""
  const room = scratchFor(1 + 8 + bytesMax(before) + 8 + bytesMax(payloadHash))
  room[0] = EVENT_HASH_VERSION
  const middle = writeWithLength(before, room, 1)
  return hashes.blake3Hex(room.subarray(0, writeWithLength(payloadHash, room, middle)))
}

/** The leaf hash of a journal line, given without its LF. */
export const leafHash = (hashes: Hashes, line: Uint8Array): string => {
  const room = scratchFor(1 + line.length)
  room[0] = LEAF_PREFIX
  room.set(line, 1)
  return hashes.sha256Hex(room.subarray(0, 1 + line.length))
}

const EVENT_HASH_VERSION = 1
const LEAF_PREFIX = 0
const SCRATCH_BYTES = 65_536

// One buffer for all calls: each fills it and hashes it before it returns, and nothing runs in
// between. Longer inputs get their own, so that one large payload does not stay in memory.
const scratch = new Uint8Array(SCRATCH_BYTES)
const scratchFor = (bytes: number) => (bytes <= SCRATCH_BYTES ? scratch : new Uint8Array(bytes))

/** UTF-8 takes at most three bytes for one UTF-16 unit. */
const bytesMax = (text: string) => text.length * 3

const encoder = new TextEncoder()

/** Returns where the text ends in `room`. */
const write = (text: string, room: Uint8Array, at: number): number => {
  // The encoder would write U+FFFD instead: two texts with one hash.
  if (!text.isWellFormed()) throw new RangeError("cannot hash a text with a lone surrogate")
  return at + encoder.encodeInto(text, room.subarray(at)).written
}

const writeWithLength = (text: string, room: Uint8Array, at: number): number => {
  const end = write(text, room, at + 8)
  let length = end - at - 8
  for (let i = 0; i < 8; i++) {
    room[at + i] = length % 256
    length = Math.floor(length / 256)
  }
  return end
}
