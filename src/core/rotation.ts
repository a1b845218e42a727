/**
 * Internal: the hand-over of a ledger from one key to the next, as it stands in a row.
 *
 *   event_type   cortex.event.system_note.v1
 *   payload      {"envelope":{"new_pubkey":[32 bytes],"old_pubkey":[32 bytes],"schema_version":1,
 *                "signature":[64 bytes],"signed_at":"…"},"kind":"identity.rotate"}
 *
 * Bytes are arrays of numbers. The signature is the OLD key's, of the rotation input; the row is
 * signed by the old key like any row before it. Other members are allowed, at both levels.
 */
import { Result } from "effect"
import type { Draft } from "./Draft.ts"
import type { EventFields } from "./Event.ts"
import * as jsonText from "./jsonText.ts"
import { bytesOf, hexOf } from "./publicKey.ts"
import type { Rotation } from "./signingInput.ts"
import { schemaVersion } from "./signingInput.ts"
import * as Timestamp from "./Timestamp.ts"

/** A rotation as it was read; nothing of it is verified yet. */
export interface Envelope extends Rotation {
  readonly schemaVersion: number
  readonly signature: Uint8Array
}

/** Where an envelope does not have the form above. */
export interface Malformed {
  readonly place: string
  readonly expected: string
}

/** The type of the rows that may hand over. */
export const rotationType = "cortex.event.system_note.v1"
const rotationKind = "identity.rotate"

/** The draft of the row that hands over, with the old key's signature of the rotation input. */
export const draftOf = (rotation: Rotation, signature: Uint8Array): Draft => ({
  type: rotationType,
  payload: {
    kind: rotationKind,
    envelope: {
      schema_version: schemaVersion,
      old_pubkey: [...bytesOf(rotation.oldPublicKey)],
      new_pubkey: [...bytesOf(rotation.newPublicKey)],
      signed_at: rotation.signedAt,
      signature: [...signature]
    }
  }
})

type Spans = ReadonlyMap<string, string>

const spansOf = (text: string | undefined): Spans => {
  const members = text === undefined ? Result.fail(undefined) : jsonText.members(text)
  return new Map(
    Result.isSuccess(members) && text !== undefined
      ? members.success.map(({ name, start, end }) => [name, text.slice(start, end)])
      : []
  )
}

/** The envelope of an event that claims to be a rotation; undefined for any other event. */
export const envelopeOf = (
  event: Pick<EventFields, "type" | "payloadText">
): Result.Result<Envelope, Malformed> | undefined => {
  if (event.type !== rotationType) return undefined
  const payload = spansOf(event.payloadText)
  if (stringOf(payload.get("kind")) !== rotationKind) return undefined
  const envelope = spansOf(payload.get("envelope"))
  const version = Number(envelope.get("schema_version"))
  const oldKey = bytesIn(envelope, "old_pubkey", 32)
  const newKey = bytesIn(envelope, "new_pubkey", 32)
  const signature = bytesIn(envelope, "signature", 64)
  const time = Timestamp.parse(stringOf(envelope.get("signed_at")) ?? "")
  const malformed = (name: string, expected: string) =>
    Result.fail({ place: `/payload/envelope/${name}`, expected })
  if (!/^\d{1,5}$/.test(envelope.get("schema_version") ?? "") || version > 65_535) {
    return malformed("schema_version", "an integer from 0 to 65535")
  }
  if (oldKey === undefined) return malformed("old_pubkey", "an array of 32 bytes")
  if (newKey === undefined) return malformed("new_pubkey", "an array of 32 bytes")
  if (signature === undefined) return malformed("signature", "an array of 64 bytes")
  if (Result.isFailure(time)) return malformed("signed_at", "an RFC 3339 time")
  return Result.succeed({
    schemaVersion: version,
    oldPublicKey: hexOf(oldKey),
    newPublicKey: hexOf(newKey),
    signedAt: time.success,
    signature
  })
}

/** The text of a member that is a string. Its span was scanned, so it is JSON. */
const stringOf = (span: string | undefined): string | undefined =>
  span?.startsWith('"') === true ? String(JSON.parse(span)) : undefined

/** Only integers are bytes: `1.0` and `1e0` are none. */
const byteArray = /^\[\s*\d{1,3}(?:\s*,\s*\d{1,3})*\s*\]$/

const bytesIn = (spans: Spans, name: string, size: number): Uint8Array | undefined => {
  const span = spans.get(name) ?? ""
  if (!byteArray.test(span)) return undefined
  const values = span.slice(1, -1).split(",").map(Number)
  return values.length === size && values.every((value) => value <= 255)
    ? Uint8Array.from(values)
    : undefined
}
