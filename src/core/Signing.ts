/**
 * Signing: since when a ledger's rows are signed, by whom first, and where its lineage stands now.
 *
 *   {"first_key_id":…,"first_public_key":…,"first_seq":…,"key_id":…,"prev_signature":…,
 *    "public_key":…}   as a checkpoint's `lineage` states it, and the mirror holds it
 *
 * A history begins unsigned or signed. From its first signed row on every row must be signed: the
 * rows before stay what they are, rows of nobody. `Follower` goes along with the rows and judges
 * each. Where no key is known the rows' signatures are carried, and only their being there counts.
 */
import { Result, Schema } from "effect"
import type { Advanced } from "./Attestation.ts"
import * as Attestation from "./Attestation.ts"
import type { Event } from "./Event.ts"

const { keyId, prevSignature, publicKey } = Attestation.Lineage.fields

/** The lineage behind a row, and where it came from. Member names are on disk. */
export const Signing = Schema.Struct({
  firstSeq: Schema.Natural.check(Schema.isGreaterThan(0)),
  firstKeyId: keyId,
  firstPublicKey: publicKey,
  keyId,
  publicKey,
  prevSignature
}).pipe(
  Schema.encodeKeys({
    firstSeq: "first_seq",
    firstKeyId: "first_key_id",
    firstPublicKey: "first_public_key",
    keyId: "key_id",
    publicKey: "public_key",
    prevSignature: "prev_signature"
  })
)
export type Signing = typeof Signing.Type

/** Before row `firstSeq`, the first that is signed. */
export const begin = (firstSeq: number, lineage: Attestation.Lineage): Signing => ({
  ...lineage,
  firstSeq,
  firstKeyId: lineage.keyId,
  firstPublicKey: lineage.publicKey
})

/**
 * Behind a row: nothing was signed so far; rows from `firstSeq` on are, by a key that nobody has
 * told; or by this lineage.
 */
export type State =
  | { readonly _tag: "Unsigned" }
  | { readonly _tag: "Unknown"; readonly firstSeq: number }
  | { readonly _tag: "Signed"; readonly signing: Signing }

export const unsigned: State = { _tag: "Unsigned" }

/** Whether two lineages are the same, whatever members an object has besides. */
export const isSame = (a: Signing | undefined, b: Signing | undefined): boolean =>
  textOf(a) === textOf(b)

const textOf = (signing: Signing | undefined): string =>
  signing === undefined
    ? "none"
    : JSON.stringify([
        signing.firstSeq,
        signing.firstKeyId,
        signing.firstPublicKey,
        signing.keyId,
        signing.publicKey,
        signing.prevSignature
      ])

/** Where a lineage stands, in one line: who signs next, and behind what. */
export const describeLineage = (signing: Signing | undefined): string =>
  signing === undefined
    ? "no lineage"
    : `key ${signing.publicKey} (${signing.keyId}) behind signature ${signing.prevSignature}`

/** How a follower judges. */
export interface Following {
  readonly ledgerId: string
  readonly verify: Attestation.Verify
  /** The lineage before the first signed row; undefined where its key is not known. */
  readonly genesis?: ((event: Event) => Attestation.Lineage | undefined) | undefined
}

/**
 * The key of a first signed row where nobody has told it: a key id that is a public key is meant as
 * one, as the original's are; any other is the name of the key that is at hand.
 */
export const genesisFrom =
  (atHand: string | undefined) =>
  ({ signature }: Event): Attestation.Lineage | undefined => {
    if (signature === undefined) return undefined
    const stated = Attestation.genesis(signature.keyId)
    if (Result.isSuccess(stated)) return stated.success
    const named = Attestation.genesis(atHand ?? "", signature.keyId)
    return Result.isSuccess(named) ? named.success : undefined
  }

/**
 * The first signed row may call its key by a name, which its signature covers: a key that was given
 * without one is then called so.
 */
const named = (signing: Signing, { signature }: Event): Signing => {
  const name = signature?.keyId ?? ""
  const isUnnamed = signing.keyId === signing.publicKey && /^0+$/.test(signing.prevSignature)
  if (!isUnnamed || name === "" || Result.isSuccess(Attestation.genesis(name))) return signing
  return { ...signing, keyId: name, firstKeyId: name }
}

/** Goes along with the rows of a history, in their order, and judges each. */
export class Follower {
  readonly #how: Following
  #state: State
  /** How many rows were judged. */
  judged = 0

  constructor(state: State, how: Following) {
    this.#state = state
    this.#how = how
  }

  /** Behind the last row that was taken. */
  get state(): State {
    return this.#state
  }

  /** Judge the next row; undefined where nothing is to be judged. */
  take(event: Event): Pick<Advanced, "failure" | "remarks"> | undefined {
    const state = this.#state
    if (state._tag === "Unknown") return undefined
    if (state._tag === "Signed") return this.#advance(state.signing, event)
    if (event.signature === undefined) return undefined
    const lineage = this.#how.genesis?.(event)
    if (lineage !== undefined) return this.#advance(begin(event.seq, lineage), event)
    this.#state = { _tag: "Unknown", firstSeq: event.seq }
    return undefined
  }

  #advance(signing: Signing, event: Event): Pick<Advanced, "failure" | "remarks"> | undefined {
    // A row before the first signed one is nobody's; one that claims a signature is judged by it.
    if (event.seq < signing.firstSeq && event.signature === undefined) return undefined
    const { ledgerId, verify } = this.#how
    signing = this.judged === 0 ? named(signing, event) : signing
    const { lineage, failure, remarks } = Attestation.advance(signing, event, ledgerId, verify)
    this.judged++
    this.#state = { _tag: "Signed", signing: { ...signing, ...lineage } }
    return { failure, remarks }
  }
}
