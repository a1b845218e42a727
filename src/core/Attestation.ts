/**
 * Signed rows: what a row's signature covers, the lineage from one signature to the next, and the
 * hand-over of a ledger to another key. Cortex's scheme, byte for byte.
 *
 *   signature   {"schema_version":1,"key_id":…,"signed_at":…,"bytes":base64url of 64 bytes}
 *   lineage     who signs the next row, and the first 32 bytes of the signature before it
 *
 * Signed are id, source, payload_hash, session_id, the ledger's id, the lineage and the time (µs).
 * NOT signed: type, schema version, times, trace, tags, keys, parent, prev_event_hash, event_hash,
 * the row's own key_id, the nanoseconds of signed_at. The payload is signed by its hash only: what
 * `Seal` checks belongs to the proof. Ed25519 itself is an argument, so this runs anywhere.
 */
import { Result, Schema } from "effect"
import * as base64url from "./base64url.ts"
import type { Draft } from "./Draft.ts"
import type { EventFields, Signature } from "./Event.ts"
import * as Hashes from "./Hashes.ts"
import { clip } from "./jsonError.ts"
import * as PublicKey from "./publicKey.ts"
import * as rotation from "./rotation.ts"
import type { Rotation, Signed } from "./signingInput.ts"
import * as input from "./signingInput.ts"
import * as Timestamp from "./Timestamp.ts"
import type { Reason } from "./VerifyReport.ts"

export { bytesOf as publicKeyBytes, PublicKeyInvalid } from "./publicKey.ts"
export { rotationInput, signingInput } from "./signingInput.ts"
export type { By, Rotation, Signed } from "./signingInput.ts"

/** Whether an Ed25519 signature is right: false for whatever is not, and it never throws. */
export type Verify = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean

const hex32 = Schema.String.check(Schema.isPattern(/^[0-9a-f]{64}$/))

/** Between two rows: the key that signs the next one, and what of the signature before it counts. */
export const Lineage = Schema.Struct({
  keyId: Schema.String.check(
    Schema.makeFilter((text: string) => text.isWellFormed(), { expected: "well-formed Unicode" })
  ),
  publicKey: hex32,
  prevSignature: hex32
})
export type Lineage = typeof Lineage.Type

/** What a signer gave that is no signature. */
export class SignatureInvalid extends Schema.TaggedError<SignatureInvalid>()("SignatureInvalid", {
  keyId: Schema.String,
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    const { keyId, expected, actual } = this
    return `the signer of key ${clip(keyId)} gave no signature: expected ${expected}, found ${actual}`
  }
}

const side = Schema.Union([Schema.String, Schema.Finite, Schema.Null])

/** A row that its ledger's key does not vouch for. `place` is a pointer into the row. */
export class AttestationInvalid extends Schema.TaggedError<AttestationInvalid>()(
  "AttestationInvalid",
  {
    seq: Schema.Int,
    id: Schema.String,
    kind: Schema.Literals([
      "missing_signature",
      "unknown_attestation_schema_version",
      "bad_signature",
      "rotation_envelope_rejected"
    ]),
    place: Schema.String,
    expected: side,
    actual: side
  }
) {
  override get message(): string {
    const { seq, id, kind, place, expected, actual } = this
    return `row ${seq} (${id}): ${kind} at ${place}: expected ${expected}, found ${actual}`
  }

  /** As it stands in a report. */
  get reason(): Reason {
    const { kind, place, expected, actual } = this
    return { kind, which: place, expected, actual }
  }
}

/** What one row did to the lineage. Remarks are oddities that no signature speaks against. */
export interface Advanced {
  readonly lineage: Lineage
  readonly failure: AttestationInvalid | undefined
  readonly remarks: ReadonlyArray<Reason>
}

/** Before the first row that this key signs; its id is its hex where nothing else is said. */
export const genesis = (
  publicKey: string,
  keyId?: string
): Result.Result<Lineage, PublicKey.PublicKeyInvalid> => {
  if (keyId !== undefined && !keyId.isWellFormed()) {
    const sides = { expected: "a key id of well-formed Unicode", actual: "a lone surrogate" }
    return Result.fail(new PublicKey.PublicKeyInvalid(sides))
  }
  return Result.map(PublicKey.parse(publicKey), (hex) => ({
    keyId: keyId ?? hex,
    publicKey: hex,
    prevSignature: "0".repeat(64)
  }))
}

/** The `signature` member of a row: what the signer gave for `signingInput` under this lineage. */
export const rowSignature = (
  keyId: string,
  signedAt: Timestamp.Timestamp,
  signature: Uint8Array
): Result.Result<Signature, SignatureInvalid> =>
  Result.map(checkSize(keyId, signature), (whole) => ({
    schemaVersion: input.schemaVersion,
    keyId,
    signedAt,
    bytes: base64url.encode(whole)
  }))

/** The hand-over from the lineage's key to a new one, for `rotationInput` and `rotationDraft`. */
export const rotate = (
  lineage: Lineage,
  newPublicKey: string,
  signedAt: Timestamp.Timestamp
): Result.Result<Rotation, PublicKey.PublicKeyInvalid> =>
  Result.map(PublicKey.parse(newPublicKey), (hex) => ({
    oldPublicKey: lineage.publicKey,
    newPublicKey: hex,
    signedAt
  }))

/** The row to append for a hand-over, given the old key's signature of its `rotationInput`. */
export const rotationDraft = (
  handOver: Rotation,
  signature: Uint8Array
): Result.Result<Draft, SignatureInvalid> =>
  Result.map(checkSize(handOver.oldPublicKey, signature), (whole) =>
    rotation.draftOf(handOver, whole)
  )

/** `Takeover.operatorId` of a key in hex, which is refused where it is no key to sign under. */
export const operatorId = (
  publicKey: string,
  hashes: Hashes.Hashes = Hashes.noble
): Result.Result<string, PublicKey.PublicKeyInvalid> =>
  Result.map(PublicKey.parse(publicKey), (hex) =>
    PublicKey.operatorId(PublicKey.bytesOf(hex), hashes)
  )

type Row = Signed &
  Pick<EventFields, "seq" | "schemaVersion" | "type" | "payloadText" | "signature">

/**
 * Judge the next row, in the order of the rows. The lineage goes on whatever is found: with 64
 * bytes of signature, right or wrong, the next row is judged by them; without, by those before.
 *
 * The key changes only by an accepted rotation in a row that the old key signed. Rows of an unknown
 * schema version are not looked into, as in the original; `Chain` names them.
 */
export const advance = (
  lineage: Lineage,
  event: Row,
  ledgerId: string,
  verify: Verify
): Advanced => {
  const { signature } = event
  const fail = failing(lineage, event)
  if (event.schemaVersion !== 1 && event.schemaVersion !== 2) return passing(lineage)
  if (signature === undefined) return fail("missing_signature", "/signature", "a signature", null)
  if (signature.schemaVersion !== input.schemaVersion) {
    const sides = [input.schemaVersion, signature.schemaVersion] as const
    return fail("unknown_attestation_schema_version", "/signature/schema_version", ...sides)
  }
  const bytes = base64url.decode(signature.bytes)
  if (bytes?.byteLength !== 64) {
    const actual = bytes === undefined ? "a text that is none" : `${bytes.byteLength} bytes`
    return fail("bad_signature", "/signature/bytes", "64 bytes in base64url", actual)
  }
  const signedAt = Timestamp.parse(signature.signedAt)
  if (Result.isFailure(signedAt)) {
    const { expected, actual } = signedAt.failure
    return fail("bad_signature", "/signature/signed_at", expected, actual)
  }
  const prevSignature = PublicKey.hexOf(bytes.subarray(0, 32))
  const next = { ...lineage, prevSignature }
  const message = input.signingInput(event, { ...lineage, ledgerId, signedAt: signedAt.success })
  if (!holds(verify, lineage.publicKey, message, bytes)) {
    const actual =
      prevSignature === lineage.prevSignature
        ? "the signature of the row before"
        : `one under key ${clip(signature.keyId)} that does not fit`
    const expected = `a signature of this row by key ${clip(lineage.keyId)}`
    return failing(next, event)("bad_signature", "/signature/bytes", expected, actual)
  }
  return handOver(next, event, verify, oddities(lineage, signature, bytes))
}

/** The first half of a signature is a point too, and libraries disagree about small ones. */
const holds = (
  verify: Verify,
  publicKey: string,
  message: Uint8Array,
  signature: Uint8Array
): boolean =>
  !PublicKey.isSmallOrder(PublicKey.hexOf(signature.subarray(0, 32))) &&
  verify(PublicKey.bytesOf(publicKey), message, signature)

const passing = (lineage: Lineage, remarks: ReadonlyArray<Reason> = []): Advanced => ({
  lineage,
  failure: undefined,
  remarks
})

const failing =
  (lineage: Lineage, { seq, id }: Row, remarks: ReadonlyArray<Reason> = []) =>
  (
    kind: AttestationInvalid["kind"],
    place: string,
    expected: AttestationInvalid["expected"],
    actual: AttestationInvalid["actual"]
  ): Advanced => ({
    lineage,
    failure: new AttestationInvalid({ seq, id, kind, place, expected, actual }),
    remarks
  })

/** What is wrong about a signature that holds: no key vouches for the text it stands in. */
const oddities = (
  { keyId }: Lineage,
  signature: Signature,
  bytes: Uint8Array
): ReadonlyArray<Reason> => {
  const found: Array<Reason> = []
  if (signature.keyId !== keyId) {
    found.push({ kind: "key_id_changed", expected: clip(keyId), actual: clip(signature.keyId) })
  }
  const written = base64url.encode(bytes)
  if (signature.bytes !== written) {
    found.push({ kind: "signature_respelled", expected: written, actual: signature.bytes })
  }
  return found
}

/** The lineage after a row whose signature holds: another key's, if the row hands over to it. */
const handOver = (
  lineage: Lineage,
  event: Row,
  verify: Verify,
  remarks: ReadonlyArray<Reason>
): Advanced => {
  const read = rotation.envelopeOf(event)
  if (read === undefined) return passing(lineage, remarks)
  if (Result.isFailure(read)) {
    const { place: which, expected } = read.failure
    const ignored = { kind: "rotation_ignored", which, expected, actual: "something else" }
    return passing(lineage, [...remarks, ignored])
  }
  const envelope = read.success
  const reject = (member: string, expected: string | number, actual: string | number) => {
    const place = `/payload/envelope/${member}`
    return failing(lineage, event, remarks)("rotation_envelope_rejected", place, expected, actual)
  }
  const { oldPublicKey, newPublicKey, schemaVersion } = envelope
  if (oldPublicKey !== lineage.publicKey) {
    return reject("old_pubkey", lineage.publicKey, oldPublicKey)
  }
  if (schemaVersion !== input.schemaVersion) {
    return reject("schema_version", input.schemaVersion, schemaVersion)
  }
  const message = input.rotationInput(envelope, schemaVersion)
  if (!holds(verify, oldPublicKey, message, envelope.signature)) {
    return reject("signature", `one by key ${oldPublicKey}`, "one that does not fit")
  }
  const key = PublicKey.parse(newPublicKey)
  if (Result.isFailure(key)) return reject("new_pubkey", key.failure.expected, key.failure.actual)
  return passing({ ...lineage, publicKey: newPublicKey, keyId: newPublicKey }, remarks)
}

const checkSize = (
  keyId: string,
  signature: Uint8Array
): Result.Result<Uint8Array, SignatureInvalid> =>
  signature.byteLength === 64
    ? Result.succeed(signature)
    : Result.fail(
        new SignatureInvalid({
          keyId,
          expected: "64 bytes",
          actual: `${signature.byteLength} bytes`
        })
      )
