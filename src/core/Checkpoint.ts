/**
 * A checkpoint: a durable statement of where a ledger stood, at the end of a group.
 *
 *   checkpoints/<number, 16 digits>.json   one canonical JSON object and LF
 *   hash   SHA-256, hex, of the canonical JSON without `hash` and `signature`
 *   root   RFC 6962 root over the leaf hashes of the first `size` rows; `frontier` is that tree
 *   lineage    of the signatures behind the head; null where no row is signed
 *   signature  by that lineage's key: 12 | version | ledger id | hash | time | key id, spelled as a
 *              row's input is (`signingInput`); null where nobody signed
 *
 * `segment` and `offset` are the first byte behind the head's LF, and its file's first seq (0 in
 * Cortex mode). `rollbacks` names all that were carried out before, each with the head and root of
 * the history it cut. Numbers count from 1 and are never used again. Member names are on disk.
 */
import { Result, Schema } from "effect"
import * as Attestation from "./Attestation.ts"
import * as base64url from "./base64url.ts"
import * as Json from "./CanonicalJson.ts"
import * as Chain from "./Chain.ts"
import * as Hashes from "./Hashes.ts"
import { clip } from "./jsonError.ts"
import * as Merkle from "./Merkle.ts"
import { Signature } from "./Event.ts"
import * as PublicKey from "./publicKey.ts"
import { Signing } from "./Signing.ts"
import * as input from "./signingInput.ts"
import * as Timestamp from "./Timestamp.ts"
import type { Reason } from "./VerifyReport.ts"

const Count = Schema.Natural

/** A position, on disk with `leaf_hash`. */
export const Position = Schema.Struct({ seq: Count, leafHash: Schema.String }).pipe(
  Schema.encodeKeys({ leafHash: "leaf_hash" })
)

/** A head, on disk in snake_case. */
export const Head = Schema.Struct({
  seq: Count,
  id: Schema.NullOr(Schema.String),
  eventHash: Schema.NullOr(Schema.String),
  leafHash: Schema.String
}).pipe(Schema.encodeKeys({ eventHash: "event_hash", leafHash: "leaf_hash" }))

/** A rollback: from where, with which root, and back to where. */
export const Rollback = Schema.Struct({
  operation: Schema.String,
  from: Position,
  root: Schema.String,
  to: Position
})
export type Rollback = typeof Rollback.Type

const SignatureOnDisk = Signature.pipe(
  Schema.encodeKeys({ schemaVersion: "schema_version", keyId: "key_id", signedAt: "signed_at" })
)

/** What a checkpoint says; `size` is the seq of its head, the number of leaves under `root`. */
export class Checkpoint extends Schema.Class<Checkpoint>("sealog/Checkpoint")({
  number: Count,
  at: Schema.String,
  size: Count,
  head: Head,
  root: Schema.String,
  frontier: Schema.Array(Schema.String),
  segment: Count,
  offset: Count,
  rollbacks: Schema.Array(Rollback),
  lineage: Schema.NullOr(Signing),
  reason: Schema.String,
  hash: Schema.String,
  signature: Schema.NullOr(SignatureOnDisk)
}) {
  /** Where the ledger stood. */
  get position(): { readonly seq: number; readonly leafHash: string } {
    return { seq: this.head.seq, leafHash: this.head.leafHash }
  }

  /** The tree over the leaf hashes of its rows. */
  get tree(): Merkle.Tree {
    return { size: this.size, frontier: this.frontier }
  }
}

/** A text that is no checkpoint, or does not hold together. `place` is a member or `text`. */
export class CheckpointInvalid extends Schema.TaggedError<CheckpointInvalid>()(
  "CheckpointInvalid",
  { place: Schema.String, expected: Schema.String, actual: Schema.String }
) {
  override get message(): string {
    return `no sound checkpoint: at ${this.place} expected ${this.expected}, found ${this.actual}`
  }
}

/** A sound checkpoint of another ledger or history. */
export class CheckpointMismatch extends Schema.TaggedError<CheckpointMismatch>()(
  "CheckpointMismatch",
  {
    number: Schema.Int,
    seq: Schema.Int,
    which: Schema.Literals(["head", "root"]),
    expected: Schema.String,
    actual: Schema.String
  }
) {
  override get message(): string {
    return (
      `checkpoint ${this.number} says that row ${this.seq} has the ${this.which} ` +
      `${this.expected}, but it is ${this.actual}: it is of another history`
    )
  }
}

/** What a checkpoint is made of; its root and hash are computed. */
export type Fields = Omit<
  ConstructorParameters<typeof Checkpoint>[0],
  "size" | "root" | "frontier" | "hash" | "signature"
> & { readonly tree: Merkle.Tree }

const toDisk = Schema.encodeSync(Checkpoint)
const fromDisk = Schema.decodeUnknownResult(Schema.fromJsonString(Checkpoint), {
  onExcessProperty: "error"
})

const utf8 = new TextEncoder()

/** The text that is hashed. Every string of it came from JSON or is ours, so it can be written. */
const hashed = (checkpoint: Checkpoint): string => {
  const { hash: _hash, signature: _signature, ...rest } = toDisk(checkpoint)
  return Result.getOrThrow(Json.fromValue(rest))
}

const hashOf = (checkpoint: Checkpoint, hashes: Hashes.Hashes): string =>
  hashes.sha256Hex(utf8.encode(hashed(checkpoint)))

/** Make the checkpoint of a head; `tree` must be over exactly the rows up to it. */
export const make = (
  { tree, ...fields }: Fields,
  hashes: Hashes.Hashes = Hashes.noble
): Checkpoint => {
  if (tree.size !== fields.head.seq) throw new RangeError("a tree over other rows than the head's")
  const root = Merkle.root(tree, hashes)
  const { size, frontier } = tree
  const unhashed = new Checkpoint({ ...fields, size, root, frontier, hash: "", signature: null })
  return new Checkpoint({ ...unhashed, hash: hashOf(unhashed, hashes) })
}

/** The content of a checkpoint's file: canonical JSON and LF. */
export const encode = (checkpoint: Checkpoint): string =>
  `${Result.getOrThrow(Json.fromValue(toDisk(checkpoint)))}\n`

/** Read a checkpoint's file. Any other spelling, a wrong hash or root are refused. */
export const decode = (
  text: string,
  hashes: Hashes.Hashes = Hashes.noble
): Result.Result<Checkpoint, CheckpointInvalid> => {
  const refuse = (place: string, expected: string, actual: string) =>
    Result.fail(new CheckpointInvalid({ place, expected, actual }))
  const decoded = fromDisk(text)
  if (Result.isFailure(decoded)) return refuse("text", "a checkpoint", "something else")
  const checkpoint = decoded.success
  // A text that says it otherwise may say it twice.
  const again = Json.fromValue(toDisk(checkpoint))
  if (Result.isFailure(again) || `${again.success}\n` !== text) {
    return refuse("text", "the spelling that sealog writes", "another one")
  }
  const hash = hashOf(checkpoint, hashes)
  if (hash !== checkpoint.hash) return refuse("hash", hash, checkpoint.hash)
  const { frontier, head, root, size, tree } = checkpoint
  if (size !== head.seq) return refuse("size", `${head.seq}`, `${size}`)
  if (!Merkle.isTree(tree)) return refuse("frontier", `a tree of ${size}`, `${frontier.length}`)
  const computed = Merkle.root(tree, hashes)
  return computed === root ? Result.succeed(checkpoint) : refuse("root", computed, root)
}

/** Compare a sound checkpoint with what the ledger has at its size. */
export const check = (
  { head, number, root }: Checkpoint,
  found: { readonly leafHash: string; readonly root?: string | undefined }
): Result.Result<void, CheckpointMismatch> => {
  const place = { number, seq: head.seq }
  if (found.leafHash !== head.leafHash) {
    const sides = { expected: head.leafHash, actual: found.leafHash }
    return Result.fail(new CheckpointMismatch({ ...place, which: "head", ...sides }))
  }
  if (found.root !== undefined && found.root !== root) {
    const sides = { expected: root, actual: found.root }
    return Result.fail(new CheckpointMismatch({ ...place, which: "root", ...sides }))
  }
  return Result.succeed(undefined)
}

/** What a checkpoint's signature is made of besides the checkpoint. */
export interface SignedBy {
  readonly ledgerId: string
  readonly keyId: string
  readonly signedAt: Timestamp.Timestamp
}

/** The bytes that the lineage's key signs. */
export const signingInput = ({ hash }: Checkpoint, by: SignedBy): Uint8Array =>
  input.checkpointInput({ hash, ...by })

/** The checkpoint with what the signer gave for its `signingInput`. */
export const signed = (
  checkpoint: Checkpoint,
  { keyId, signedAt }: SignedBy,
  signature: Uint8Array
): Result.Result<Checkpoint, Attestation.SignatureInvalid> =>
  Result.map(
    Attestation.rowSignature(keyId, signedAt, signature),
    (signature) => new Checkpoint({ ...checkpoint, signature })
  )

/** Whether the checkpoint's signature is its lineage's, or what of it is not; undefined if it is. */
export const checkSignature = (
  checkpoint: Checkpoint,
  ledgerId: string,
  verify: Attestation.Verify
): Reason | undefined => {
  const { lineage, signature } = checkpoint
  const wrong = (kind: string, expected: string | number, actual: string | number): Reason => ({
    kind: `checkpoint_${kind}`,
    expected,
    actual
  })
  if (signature === null) return wrong("signature_missing", "a signature", "none")
  if (lineage === null) return wrong("signature_bad", "no signature without a lineage", "one")
  const { keyId, publicKey } = lineage
  if (signature.schemaVersion !== input.schemaVersion) {
    return wrong("signature_version", input.schemaVersion, signature.schemaVersion)
  }
  const bytes = base64url.decode(signature.bytes)
  const signedAt = Timestamp.parse(signature.signedAt)
  const isSpelled = bytes !== undefined && base64url.encode(bytes) === signature.bytes
  if (!isSpelled || bytes.byteLength !== 64 || Result.isFailure(signedAt)) {
    return wrong("signature_bad", "64 bytes in base64url, and a time", "something else")
  }
  const by = { ledgerId, keyId: signature.keyId, signedAt: signedAt.success }
  const isSmall = PublicKey.isSmallOrder(PublicKey.hexOf(bytes.subarray(0, 32)))
  const message = signingInput(checkpoint, by)
  if (!isSmall && verify(PublicKey.bytesOf(publicKey), message, bytes)) return undefined
  return wrong("signature_bad", `one by key ${clip(keyId)}`, "one that does not fit")
}

/** Sixteen digits and `.json`. Throws a RangeError where `number` is none. */
export const name = (number: number): string => {
  if (!Number.isSafeInteger(number) || number < 1) throw new RangeError(`checkpoint ${number}`)
  return `${String(number).padStart(16, "0")}.json`
}

const pattern = /^(\d{16})\.json$/

/** The number that a file's name states; undefined for any other name. */
export const numberOf = (fileName: string): number | undefined => {
  const digits = pattern.exec(fileName)?.[1]
  const number = Number(digits)
  return digits === undefined || !Number.isSafeInteger(number) || number < 1 ? undefined : number
}

/** The head of an empty ledger is a head too. */
export const isStart = ({ head }: Checkpoint): boolean =>
  head.seq === 0 && head.leafHash === Chain.start.leafHash
