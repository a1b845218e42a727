/**
 * Ed25519 keys of the running system: Attestors over a seed, a key file or a WebCrypto key, and the
 * runtime's own verification, which is a hundred times as fast as the plain one.
 *
 *   key file   mode 0600 or stricter, its owner's own, no link; 64 hex digits and LF as `keygen`
 *              writes it, or 32 raw bytes: the seed of RFC 8032
 *
 * A seed goes into the runtime's key object and nowhere else: no error, log, span or stack holds any
 * of it, and what this module made of a file's bytes is overwritten.
 */
import { Effect, Layer } from "effect"
import { SecureRandom, Signature } from "effect/crypto"
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import type { Verify } from "../core/Attestation.ts"
import * as AttestorModule from "../store/signing/Attestor.ts"
import { Attestor, KeyInvalid, SignError } from "../store/signing/Attestor.ts"
import * as privateFile from "./privateFile.ts"

const seedBytes = 32
const spkiHead = Buffer.from("302a300506032b6570032100", "hex")
const pkcs8Head = Buffer.from("302e020100300506032b657004220420", "hex")

/** Rows of one ledger have one key, or one after the other. */
const keysMax = 64

const publicKeys = new Map<string, crypto.KeyObject>()

const publicKeyOf = (bytes: Uint8Array): crypto.KeyObject => {
  const hex = Buffer.from(bytes).toString("hex")
  const known = publicKeys.get(hex)
  if (known !== undefined) return known
  const key = crypto.createPublicKey({
    key: Buffer.concat([spkiHead, bytes]),
    format: "der",
    type: "spki"
  })
  if (publicKeys.size >= keysMax) publicKeys.clear()
  publicKeys.set(hex, key)
  return key
}

/** Whether a signature is right, by the runtime; false for whatever is not, and never throws. */
export const verify: Verify = (publicKey, message, signature) => {
  if (publicKey.byteLength !== 32 || signature.byteLength !== 64) return false
  try {
    return crypto.verify(null, message, publicKeyOf(publicKey), signature)
  } catch {
    // Deno throws where a key is no point of the curve.
    return false
  }
}

/** The runtime's verification for whoever verifies. */
export const layerVerify = Layer.succeed(AttestorModule.CurrentVerify, verify)

const unusable = (path: string, reason: string, hint: string) =>
  new KeyInvalid({ path, reason, hint })

/** The Attestor of a seed that is 32 bytes. */
const attestorOf = (seed: Uint8Array, name: string | undefined): Attestor["Service"] => {
  const der = Buffer.concat([pkcs8Head, seed])
  const key = crypto.createPrivateKey({ key: der, format: "der", type: "pkcs8" })
  der.fill(0)
  const spki = crypto.createPublicKey(key).export({ format: "der", type: "spki" })
  const publicKey = spki.subarray(spkiHead.byteLength).toString("hex")
  const keyId = name ?? publicKey
  return Attestor.of({
    keyId,
    publicKey,
    isTrusted: true,
    sign: (bytes) =>
      Effect.try({
        try: () => new Uint8Array(crypto.sign(null, bytes, key)),
        catch: () => new SignError({ keyId, reason: "the runtime refused to sign" })
      })
  })
}

/** The Attestor of a seed; `keyId` is what its first row calls the key, by default its own hex. */
export const fromSeed = (
  seed: Uint8Array,
  keyId?: string
): Effect.Effect<Attestor["Service"], KeyInvalid> =>
  Effect.suspend(() =>
    seed.byteLength === seedBytes
      ? Effect.succeed(attestorOf(seed, keyId))
      : Effect.fail(
          unusable("of a seed", `it has ${seed.byteLength} bytes`, "A seed has 32 bytes.")
        )
  )

/** As `fromSeed`, in scope. */
export const layerSeed = (seed: Uint8Array, keyId?: string): Layer.Layer<Attestor, KeyInvalid> =>
  Layer.effect(Attestor, fromSeed(seed, keyId))

const hexSeed = /^[0-9a-fA-F]{64}\r?\n?$/

const makeHint = "Make one with `sealog keygen`, or mend the path."

/** The bytes of a file that only its owner can read; or why it is none. */
const readPrivate = (path: string): Buffer | KeyInvalid => {
  const refuse = (reason: string, hint: string) => unusable(path, reason, hint)
  const found = privateFile.look(path)
  if (found === undefined) return refuse("nothing is there", makeHint)
  const unfit = privateFile.unfit(found)
  if (unfit !== undefined) return refuse(`it ${unfit}`, "Name the file itself.")
  const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = fs.constants
  const fd = fs.openSync(path, O_RDONLY | (O_NOFOLLOW ?? 0) | (O_NONBLOCK ?? 0))
  try {
    const { mode, size, uid } = fs.fstatSync(fd)
    if ((mode & 0o077) !== 0) {
      const octal = (mode & 0o777).toString(8).padStart(4, "0")
      return refuse(`its mode is ${octal}, so others can read it`, `chmod 600 ${path}`)
    }
    const own = process.getuid?.()
    if (own !== undefined && own !== 0 && uid !== own) {
      return refuse("it belongs to another user", "Use a key file of your own.")
    }
    if (size > 2 * seedBytes + 2) return refuse(`it has ${size} bytes`, makeHint)
    const bytes = Buffer.alloc(size)
    return bytes.subarray(0, fs.readSync(fd, bytes, 0, size, 0))
  } finally {
    fs.closeSync(fd)
  }
}

const seedIn = (path: string, bytes: Buffer): Buffer | KeyInvalid => {
  if (bytes.byteLength === seedBytes) return Buffer.from(bytes)
  const text = bytes.toString("latin1")
  if (hexSeed.test(text)) return Buffer.from(text.slice(0, 2 * seedBytes), "hex")
  const reason = "it holds neither 32 bytes nor 64 hex digits"
  return unusable(path, reason, makeHint)
}

/** A system's error by its code alone: its message may repeat what it was given. */
const asInvalid = (path: string) => (cause: unknown) => {
  const code = privateFile.errorCode(cause)
  const reason = typeof code === "string" ? `the system says ${code}` : "it cannot be read"
  return unusable(path, reason, "Look at the path and its modes.")
}

/** The Attestor of a key file. */
export const fromFile = (
  path: string,
  keyId?: string
): Effect.Effect<Attestor["Service"], KeyInvalid> =>
  Effect.try({ try: () => readPrivate(path), catch: asInvalid(path) }).pipe(
    Effect.flatMap((bytes) => {
      if (bytes instanceof KeyInvalid) return Effect.fail(bytes)
      const seed = seedIn(path, bytes)
      bytes.fill(0)
      if (seed instanceof KeyInvalid) return Effect.fail(seed)
      const made = attestorOf(seed, keyId)
      seed.fill(0)
      return Effect.succeed(made)
    }),
    Effect.withSpan("Attestor.fromFile", { attributes: { path } })
  )

/** As `fromFile`, in scope. */
export const layerFile = (path: string, keyId?: string): Layer.Layer<Attestor, KeyInvalid> =>
  Layer.effect(Attestor, fromFile(path, keyId))

/** An Attestor over a key pair of WebCrypto; its private key need not be extractable. */
export const layerCryptoKey = (
  keys: Parameters<typeof AttestorModule.layerCryptoKey>[0]
): Layer.Layer<Attestor, KeyInvalid> =>
  AttestorModule.layerCryptoKey(keys).pipe(
    Layer.provide(Signature.layerWebCrypto),
    Layer.provide(SecureRandom.layerWebCrypto)
  )

/** Make a new key file and answer its Attestor; a name that is taken is refused, never replaced. */
export const generate = (path: string): Effect.Effect<Attestor["Service"], KeyInvalid> =>
  Effect.try({
    try: () => {
      const fd = privateFile.create(path)
      if (fd === undefined) {
        return unusable(path, "something is there already", "Name a file that does not exist.")
      }
      const seed = crypto.randomBytes(seedBytes)
      try {
        fs.writeSync(fd, `${seed.toString("hex")}\n`)
        fs.fsyncSync(fd)
        return attestorOf(seed, undefined)
      } finally {
        seed.fill(0)
        fs.closeSync(fd)
      }
    },
    catch: asInvalid(path)
  }).pipe(
    Effect.flatMap((made) =>
      made instanceof KeyInvalid ? Effect.fail(made) : Effect.succeed(made)
    ),
    Effect.withSpan("Attestor.generate", { attributes: { path } })
  )
