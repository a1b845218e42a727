/**
 * Internal: the signatures of a group's rows, one after the other, as each rests on the one before.
 *
 * The writer keeps one of these: who signs, and the lineage behind its head. A group is signed on a
 * copy of that, which counts only once the group is durable. Signing takes `millisMax` at most, and
 * the appends that do not fit in are left to the next group; one append is never torn. A signer that
 * is not trusted is awaited as long for each signature, and what it answers is verified.
 */
import { Clock, Effect, Exit, Fiber, Option, Result } from "effect"
import * as Attestation from "../../core/Attestation.ts"
import * as Checkpoint from "../../core/Checkpoint.ts"
import * as Draft from "../../core/Draft.ts"
import * as rotation from "../../core/rotation.ts"
import type * as Row from "../../core/Row.ts"
import * as Signing from "../../core/Signing.ts"
import * as Timestamp from "../../core/Timestamp.ts"
import type { Attestor } from "./Attestor.ts"
import {
  AttestorMissing,
  AttestorRefused,
  checked,
  CurrentVerify,
  lineageOf,
  SignError
} from "./Attestor.ts"

/** What signing is made of. */
export interface Settings {
  readonly ledgerId: string
  readonly verify: Attestation.Verify
  readonly millisMax: number
}

/** Behind a row: its lineage, and who signs the next one. */
export interface Standing {
  readonly state: Signing.State
  readonly attestor: Attestor["Service"] | undefined
}

/** The rows of one append, in their order. */
export interface Part {
  readonly rows: ReadonlyArray<{ event: Row.Outgoing; readonly seq: number }>
  /** The signer that the append hands over to, if it is one that does. */
  readonly rotateTo: Attestor["Service"] | undefined
}

/** How far signing came: the first `parts` are signed. */
export interface Signed {
  readonly parts: number
  readonly standing: Standing
}

/** A part that does not hand over to the signer that it names; no row of it may stay. */
export interface NoHandOver {
  readonly part: number
  readonly refusal: Draft.DraftInvalid
}

/** What a signature takes of a row beside the name of its key, and that name. */
export const signatureBytesMax = 256 + 6 * 256

/** The signature of these bytes, in time, and one that fits. */
export const ask = Effect.fnUntraced(function* (
  attestor: Attestor["Service"],
  message: Uint8Array,
  { millisMax, verify }: Pick<Settings, "millisMax" | "verify">
): Effect.fn.Return<Uint8Array, SignError> {
  const { keyId, publicKey } = attestor
  const failed = (reason: string) => new SignError({ keyId, reason })
  const own = Effect.exit(Effect.suspend(() => attestor.sign(message)))
  let answer: Exit.Exit<Uint8Array, SignError>
  if (attestor.isTrusted === true) answer = yield* own
  else {
    // Not a child: a signer that cannot be interrupted must not hold up the writer.
    const fiber = yield* Effect.forkDetach(Effect.interruptible(own))
    const waited = yield* Effect.timeoutOption(
      Effect.interruptible(Fiber.join(fiber)),
      `${millisMax} millis`
    )
    if (Option.isNone(waited)) {
      yield* Effect.forkDetach(Fiber.interrupt(fiber))
      return yield* failed(`it did not answer within ${millisMax} milliseconds`)
    }
    answer = waited.value
  }
  if (Exit.isFailure(answer)) {
    const error = Exit.findErrorOption(answer)
    // What it died of is not told: nobody knows what it holds.
    return yield* Option.getOrElse(error, () => failed("it died"))
  }
  const signature: unknown = answer.value
  if (!(signature instanceof Uint8Array) || signature.byteLength !== 64) {
    return yield* failed("it answered something that is not 64 bytes")
  }
  if (attestor.isTrusted === true) return signature
  const key = Attestation.publicKeyBytes(publicKey)
  if (verify(key, message, signature)) return signature
  return yield* failed(`its signature does not fit its key ${publicKey}`)
})

/** What a key that is trusted is asked for once: `sealog` and no message of ours. */
const trial = new TextEncoder().encode("sealog: may this key sign?")

/** Whether a key that is trusted from now on is what it says to be. */
const tryOut = (attestor: Attestor["Service"], ledger: string, settings: Settings) =>
  Effect.mapError(ask({ ...attestor, isTrusted: false }, trial, settings), ({ reason: actual }) => {
    const expected = `a signer that holds the key ${attestor.publicKey}`
    return new AttestorRefused({ ledger, expected, actual })
  })

const millisMaxDefault = 1_000

/** How the rows of a ledger are signed, followed from the first signed row on, and who signs. */
export const make = Effect.fnUntraced(function* (
  settings: {
    readonly ledgerId: string
    readonly publicKey?: string | undefined
    readonly signMillisMax?: number | undefined
    /** What a message calls the ledger. */
    readonly name: string
  },
  given: Attestor["Service"] | undefined
) {
  const verify = yield* CurrentVerify
  const { ledgerId } = settings
  const signer: Settings = {
    ledgerId,
    verify,
    millisMax: settings.signMillisMax ?? millisMaxDefault
  }
  const attestor =
    given === undefined ? undefined : yield* Effect.fromResult(checked(given, settings.name))
  if (attestor?.isTrusted === true) yield* tryOut(attestor, settings.name, signer)
  const pin = settings.publicKey?.toLowerCase()
  const key = pin ?? attestor?.publicKey
  const genesis = key === undefined ? undefined : Signing.genesisFrom(key)
  /** Refuses a ledger that another key signed first, or signs now. */
  const standingOf = (state: Signing.State): Result.Result<Standing, AttestorRefused> => {
    const refuse = (expected: string, actual: string) =>
      Result.fail(new AttestorRefused({ ledger: settings.name, expected, actual }))
    const signing = state._tag === "Signed" ? state.signing : undefined
    const first = signing?.firstPublicKey ?? attestor?.publicKey ?? pin
    if (pin !== undefined && first !== pin) return refuse(`rows first signed by ${pin}`, `${first}`)
    return signing === undefined ||
      attestor === undefined ||
      signing.publicKey === attestor.publicKey
      ? Result.succeed({ state, attestor })
      : refuse(`key ${signing.publicKey}`, `key ${attestor.publicKey}`)
  }
  return { signer, following: { ledgerId, verify, genesis }, standingOf }
})

/** Why no row can be appended, if so: those before are signed, and nobody here can go on. */
export const missing = ({ attestor, state }: Standing): AttestorMissing | undefined => {
  if (state._tag === "Unsigned") return undefined
  if (state._tag === "Unknown") {
    return new AttestorMissing({ firstSeq: state.firstSeq, publicKey: null })
  }
  const { firstSeq, publicKey } = state.signing
  return attestor?.publicKey === publicKey
    ? undefined
    : new AttestorMissing({ firstSeq, publicKey })
}

/** The lineage that the next row is signed under; it begins with row `seq` where none did before. */
export const lineageAt = (
  standing: Standing,
  seq: number
): Result.Result<Signing.Signing, AttestorMissing> => {
  const { attestor, state } = standing
  const refusal = missing(standing)
  if (refusal !== undefined) return Result.fail(refusal)
  if (state._tag === "Signed") return Result.succeed(state.signing)
  return attestor === undefined
    ? Result.fail(new AttestorMissing({ firstSeq: seq, publicKey: null }))
    : Result.succeed(beginning(attestor, seq))
}

/** Before row `seq`, the first that this Attestor signs. */
export const beginning = (attestor: Attestor["Service"], seq: number): Signing.Signing =>
  Signing.begin(seq, lineageOf(attestor))

const now = Effect.map(Clock.currentTimeNanos, Timestamp.fromNanos)

/** A draft that would hand over, or be taken for it, where no handing over was asked for. */
export const refuseHandOver = (
  { payloadText, type }: Pick<Draft.CompleteDraft, "type" | "payloadText">,
  index: number
): Draft.DraftInvalid | undefined => {
  const read = rotation.envelopeOf({ type, payloadText })
  if (read === undefined || Result.isFailure(read)) return undefined
  const sides = { expected: "no envelope of a rotation: use rotateKey", actual: "one" }
  return new Draft.DraftInvalid({ index, path: "/payload/envelope", ...sides })
}

/** Sign the rows of a group from `standing` on; each row's event is given its signature. */
export const signAll = Effect.fnUntraced(function* (
  standing: Standing,
  all: ReadonlyArray<Part>,
  settings: Settings
): Effect.fn.Return<Signed | NoHandOver, AttestorMissing | SignError> {
  const { ledgerId, millisMax, verify } = settings
  const until = (yield* Clock.currentTimeMillis) + millisMax
  let { attestor, state } = standing
  let isFirst = true
  for (const [part, { rotateTo, rows }] of all.entries()) {
    if (rows.length === 0) continue
    if (!isFirst && (yield* Clock.currentTimeMillis) >= until) {
      return { parts: part, standing: { attestor, state } }
    }
    isFirst = false
    for (const row of rows) {
      const signing = yield* Effect.fromResult(lineageAt({ attestor, state }, row.seq))
      if (attestor === undefined) continue
      const signedAt = yield* now
      const message = Attestation.signingInput(row.event, { ...signing, ledgerId, signedAt })
      const bytes = yield* ask(attestor, message, settings)
      const made = Attestation.rowSignature(signing.keyId, signedAt, bytes)
      const signature = yield* Effect.mapError(
        Effect.fromResult(made),
        ({ actual }) => new SignError({ keyId: signing.keyId, reason: `it gave ${actual}` })
      )
      const event = { ...row.event, signature }
      const believed = rotateTo === undefined ? () => true : verify
      const next = Attestation.advance(signing, { ...event, seq: row.seq }, ledgerId, believed)
      state = { _tag: "Signed", signing: { ...signing, ...next.lineage } }
      row.event = event
      if (rotateTo === undefined) {
        if (next.failure === undefined) continue
        return yield* new SignError({ keyId: signing.keyId, reason: next.failure.message })
      }
      const expected = `an envelope from ${signing.publicKey} to ${rotateTo.publicKey}`
      if (next.failure !== undefined || next.lineage.publicKey !== rotateTo.publicKey) {
        const actual = next.failure?.message ?? "another one"
        const sides = { expected, actual }
        const path = "/payload/envelope"
        return { part, refusal: new Draft.DraftInvalid({ index: 0, path, ...sides }) }
      }
      attestor = rotateTo
    }
  }
  return { parts: all.length, standing: { attestor, state } }
})

/** The draft that hands over to another key; its envelope, unless given, signed by the one now. */
export const handOver = Effect.fnUntraced(function* (
  standing: Standing,
  seq: number,
  next: Attestor["Service"],
  given: Omit<Draft.Draft, "type">,
  settings: Settings
): Effect.fn.Return<Draft.Draft, AttestorMissing | SignError> {
  const lineage = yield* Effect.fromResult(lineageAt(standing, seq))
  const { attestor } = standing
  if (given.payload !== undefined || given.payloadText !== undefined || attestor === undefined) {
    return { ...given, type: rotation.rotationType }
  }
  const failed = ({ message: reason }: { readonly message: string }) =>
    new SignError({ keyId: lineage.keyId, reason })
  const rotated = Attestation.rotate(lineage, next.publicKey, yield* now)
  const envelope = yield* Effect.mapError(Effect.fromResult(rotated), failed)
  const bytes = yield* ask(attestor, Attestation.rotationInput(envelope), settings)
  const draft = Attestation.rotationDraft(envelope, bytes)
  return { ...given, ...(yield* Effect.mapError(Effect.fromResult(draft), failed)) }
})

/** Sign a checkpoint of the head, where somebody can. */
export const signCheckpoint = Effect.fnUntraced(function* (
  { attestor }: Standing,
  checkpoint: Checkpoint.Checkpoint,
  settings: Settings
): Effect.fn.Return<Checkpoint.Checkpoint, SignError> {
  const { lineage } = checkpoint
  if (attestor === undefined || lineage?.publicKey !== attestor.publicKey) return checkpoint
  const { keyId } = lineage
  const by = { ledgerId: settings.ledgerId, keyId, signedAt: yield* now }
  const bytes = yield* ask(attestor, Checkpoint.signingInput(checkpoint, by), settings)
  return yield* Effect.mapError(
    Effect.fromResult(Checkpoint.signed(checkpoint, by, bytes)),
    ({ message: reason }) => new SignError({ keyId, reason })
  )
})
