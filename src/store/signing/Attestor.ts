/**
 * Attestor: who signs the rows of a ledger.
 *
 * A ledger that is opened with one signs each row, and each checkpoint; sealog never sees a private
 * key, only `sign`. Anything can stand behind it: a key of this process, a token, a service far
 * away. Where it fails, hangs or answers a signature that does not fit, the appends of its group
 * fail with `SignError` before anything is written. Nothing here holds, prints or compares secrets.
 */
import { Context, Effect, Layer, Result, Schema } from "effect"
import { Signature } from "effect/crypto"
import * as Attestation from "../../core/Attestation.ts"
import * as Ed25519 from "../../core/Ed25519.ts"

/** The signer gave no signature, or none in time, or one that does not fit. Nothing was written. */
export class SignError extends Schema.TaggedError<SignError>()("SignError", {
  keyId: Schema.String,
  reason: Schema.String,
  cause: Schema.optionalKey(Schema.Defect())
}) {
  override get message(): string {
    return (
      `the signer of key ${this.keyId} gave no signature: ${this.reason}. Nothing was written; ` +
      `try again when it is back.`
    )
  }
}

/** A key that cannot be used. `reason` never holds any of what the file or key holds. */
export class KeyInvalid extends Schema.TaggedError<KeyInvalid>()("KeyInvalid", {
  path: Schema.String,
  reason: Schema.String,
  hint: Schema.String
}) {
  override get message(): string {
    return `the key ${this.path} cannot be used: ${this.reason}. ${this.hint}`
  }
}

/** The ledger's rows are signed, and it was opened without an Attestor: nothing can be appended. */
export class AttestorMissing extends Schema.TaggedError<AttestorMissing>()("AttestorMissing", {
  /** The first row that is signed. */
  firstSeq: Schema.Int,
  /** The key that has to sign; null where it is not known. */
  publicKey: Schema.NullOr(Schema.String)
}) {
  override get message(): string {
    const by = this.publicKey === null ? "its signer" : `the key ${this.publicKey}`
    return (
      `the rows of this ledger are signed, from row ${this.firstSeq} on, and this one would not ` +
      `be. Nothing was written; open the ledger with ${by} as its Attestor.`
    )
  }
}

/** The Attestor does not hold the key that signs this ledger now. Nothing was appended. */
export class AttestorRefused extends Schema.TaggedError<AttestorRefused>()("AttestorRefused", {
  ledger: Schema.String,
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    return (
      `the Attestor cannot sign for the ledger ${this.ledger}: expected ${this.expected}, found ` +
      `${this.actual}. Nothing was appended; open it with the key that its rows were handed to.`
    )
  }
}

/** Signs for one key. Give this service to put any other signer behind a ledger. */
export class Attestor extends Context.Service<
  Attestor,
  {
    /** What the first row that it signs calls the key; after a rotation that is the key's hex. */
    readonly keyId: string
    /** The Ed25519 public key, 64 hex digits. */
    readonly publicKey: string
    /** The Ed25519 signature of these bytes, 64 bytes. Asked for one row after the other. */
    readonly sign: (bytes: Uint8Array) => Effect.Effect<Uint8Array, SignError>
    /**
     * What it answers is written as it is: for a key in this process. Otherwise each signature is
     * awaited `signMillisMax` at most, and verified before it is written.
     */
    readonly isTrusted?: boolean | undefined
  }
>()("sealog/Attestor") {}

/** How Ed25519 signatures are verified; plain code where nothing faster is given. */
export const CurrentVerify: Context.Reference<Attestation.Verify> = Context.Reference(
  "sealog/Verify",
  { defaultValue: () => Ed25519.verify }
)

/** No row has to hold a longer one. */
const keyIdBytesMax = 256

/** The Attestor with its key in lower case, or why the ledger cannot be signed by it. */
export const checked = (
  attestor: Attestor["Service"],
  ledger: string
): Result.Result<Attestor["Service"], AttestorRefused> => {
  const { isTrusted, keyId, publicKey } = attestor
  const bytes = new TextEncoder().encode(keyId).byteLength
  if (bytes > keyIdBytesMax) {
    const expected = `a key id of at most ${keyIdBytesMax} bytes`
    return Result.fail(new AttestorRefused({ ledger, expected, actual: `${bytes} bytes` }))
  }
  return Result.mapBoth(Attestation.genesis(publicKey, keyId), {
    onSuccess: (lineage) => ({
      keyId,
      publicKey: lineage.publicKey,
      isTrusted,
      sign: (message) => attestor.sign(message)
    }),
    onFailure: ({ actual, expected }) => new AttestorRefused({ ledger, expected, actual })
  })
}

/** The lineage before the first row that a checked Attestor signs. */
export const lineageOf = ({
  keyId,
  publicKey
}: Pick<Attestor["Service"], "keyId" | "publicKey">): Attestation.Lineage =>
  Result.getOrThrow(Attestation.genesis(publicKey, keyId))

/** An Attestor over a key pair of WebCrypto, which need not be extractable. */
export const layerCryptoKey = (keys: {
  readonly privateKey: Parameters<typeof Signature.privateKeyFromCryptoKey>[1]
  readonly publicKey: Parameters<typeof Signature.publicKeyFromCryptoKey>[1]
  readonly keyId?: string | undefined
}): Layer.Layer<Attestor, KeyInvalid, Signature.Signature> =>
  Layer.effect(
    Attestor,
    Effect.gen(function* () {
      const { sign } = yield* Signature.Signature
      const privateKey = yield* Signature.privateKeyFromCryptoKey(
        Signature.ed25519,
        keys.privateKey
      )
      const key = yield* Signature.publicKeyFromCryptoKey(Signature.ed25519, keys.publicKey)
      const bytes = yield* Signature.toBytes(key)
      const publicKey = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")
      const keyId = keys.keyId ?? publicKey
      return Attestor.of({
        keyId,
        publicKey,
        isTrusted: true,
        sign: (message) =>
          Effect.mapError(
            sign(privateKey, message),
            () => new SignError({ keyId, reason: "WebCrypto refused to sign" })
          )
      })
    }).pipe(
      Effect.catchTag("CryptoError", () =>
        Effect.fail(
          new KeyInvalid({
            path: "of WebCrypto",
            reason: "it is no Ed25519 key pair, or its public key cannot be read",
            hint: "Give a private key that may sign, and its extractable public key."
          })
        )
      )
    )
  )
