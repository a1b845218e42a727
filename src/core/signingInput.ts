/**
 * Internal: the bytes that are signed. Signatures on disk rest on them: none of this may change.
 *
 *   row        10 | version | source … | id | payload_hash | session | ledger | lineage | time | key
 *   rotation   11 | version | old key | new key | time
 *   checkpoint 12 | version | ledger | hash | time | key      (sealog's own)
 *
 * The first byte tells them apart, `version` is 2 bytes; every other part is its length as u64
 * and the bytes, all big-endian. `source` is its type, then its fields; a child agent has three
 * empty ones before its model. `lineage` is 01 and a position in 8 bytes, or, in rows always, 02 and
 * the hex of the first 32 bytes of the signature before (zeros at the start). No session is the
 * empty one. `time` has six digits, cut, not rounded. The texts of a row go in as they stand.
 */
import type { EventFields, Source } from "./Event.ts"
import { bytesOf } from "./publicKey.ts"
import * as Timestamp from "./Timestamp.ts"

/** The version of both inputs, and of the signature and envelope that carry it. */
export const schemaVersion = 1

/** What of an event a signature covers. */
export type Signed = Pick<EventFields, "id" | "source" | "payloadHash" | "sessionId">

/** Under which circumstances an event is signed. `prevSignature`: hex of its first 32 bytes. */
export interface By {
  readonly ledgerId: string
  readonly keyId: string
  readonly prevSignature: string
  readonly signedAt: Timestamp.Timestamp
}

/** All that a row's input is made of; `source` is its type and then its fields. */
export interface Preimage {
  readonly schemaVersion: number
  readonly source: ReadonlyArray<string>
  readonly eventId: string
  readonly payloadHash: string
  readonly sessionId: string
  readonly ledgerId: string
  readonly lineage: { readonly previousHash: string } | { readonly position: bigint }
  readonly signedAt: Timestamp.Timestamp
  readonly keyId: string
}

/** The hand-over from one key to the next; both are hex. */
export interface Rotation {
  readonly oldPublicKey: string
  readonly newPublicKey: string
  readonly signedAt: Timestamp.Timestamp
}

/** The bytes to sign for one row. */
export const signingInput = (event: Signed, by: By): Uint8Array =>
  preimageBytes({
    schemaVersion,
    source: sourceFields(event.source),
    eventId: event.id,
    payloadHash: event.payloadHash,
    sessionId: event.sessionId ?? "",
    ledgerId: by.ledgerId,
    lineage: { previousHash: by.prevSignature },
    signedAt: by.signedAt,
    keyId: by.keyId
  })

/**
 * The general form, of which a row is one case.
 * @internal
 */
export const preimageBytes = (preimage: Preimage): Uint8Array => {
  const input = new Input(ROW_TAG, preimage.schemaVersion)
  for (const field of preimage.source) input.text(field)
  input.text(preimage.eventId)
  input.text(preimage.payloadHash)
  input.text(preimage.sessionId)
  input.text(preimage.ledgerId)
  if ("position" in preimage.lineage) {
    input.byte(POSITION_TAG)
    input.part(bigEndian(preimage.lineage.position, 8))
  } else {
    input.byte(PREVIOUS_TAG)
    input.text(preimage.lineage.previousHash)
  }
  input.text(Timestamp.toSigning(preimage.signedAt))
  input.text(preimage.keyId)
  return input.bytes()
}

/** The bytes that the old key signs to hand over to the new one. */
export const rotationInput = (rotation: Rotation, version: number = schemaVersion): Uint8Array => {
  const input = new Input(ROTATION_TAG, version)
  input.part(bytesOf(rotation.oldPublicKey))
  input.part(bytesOf(rotation.newPublicKey))
  input.text(Timestamp.toSigning(rotation.signedAt))
  return input.bytes()
}

/** The bytes that are signed for a checkpoint; `hash` is its own, in hex. */
export const checkpointInput = ({
  hash,
  keyId,
  ledgerId,
  signedAt
}: Omit<By, "prevSignature"> & { readonly hash: string }): Uint8Array => {
  const input = new Input(CHECKPOINT_TAG, schemaVersion)
  input.text(ledgerId)
  input.text(hash)
  input.text(Timestamp.toSigning(signedAt))
  input.text(keyId)
  return input.bytes()
}

const ROW_TAG = 0x10
const ROTATION_TAG = 0x11
const CHECKPOINT_TAG = 0x12
const POSITION_TAG = 0x01
const PREVIOUS_TAG = 0x02

const sourceFields = (source: Source): ReadonlyArray<string> => {
  switch (source.type) {
    case "child_agent":
      // Agent, parent session and delegation: a row does not carry them.
      return [source.type, "", "", "", source.model]
    case "tool":
      return [source.type, source.name]
    default:
      return [source.type]
  }
}

const bigEndian = (value: bigint, size: number): Uint8Array =>
  Uint8Array.from({ length: size }, (_, i) => Number((value >> BigInt(8 * (size - 1 - i))) & 255n))

const encoder = new TextEncoder()

/** Rows with long names or sessions are rare; for them the room is made larger. */
const ROOM_BYTES = 1_024

/** Writes parts, each behind its length. */
class Input {
  private room = new Uint8Array(ROOM_BYTES)
  private size = 0

  constructor(tag: number, version: number) {
    this.byte(tag)
    this.byte(version >>> 8)
    this.byte(version & 255)
  }

  byte(value: number): void {
    this.reserve(1)
    this.room[this.size++] = value
  }

  part(bytes: Uint8Array): void {
    this.reserve(8 + bytes.byteLength)
    this.room.set(bytes, this.size + 8)
    this.measured(bytes.byteLength)
  }

  text(value: string): void {
    // The encoder would write U+FFFD instead: two texts with one signature.
    if (!value.isWellFormed()) throw new RangeError("cannot sign a text with a lone surrogate")
    // UTF-8 takes at most three bytes for one UTF-16 unit.
    this.reserve(8 + value.length * 3)
    this.measured(encoder.encodeInto(value, this.room.subarray(this.size + 8)).written)
  }

  bytes(): Uint8Array {
    return this.room.slice(0, this.size)
  }

  /** The length of the part that stands behind its place already. */
  private measured(length: number): void {
    new DataView(this.room.buffer).setBigUint64(this.size, BigInt(length))
    this.size += 8 + length
  }

  private reserve(more: number): void {
    if (this.size + more <= this.room.byteLength) return
    const larger = new Uint8Array(2 * (this.size + more))
    larger.set(this.room)
    this.room = larger
  }
}
