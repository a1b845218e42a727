import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Result } from "effect"
import * as Attestation from "../../src/core/Attestation.ts"
import { errorOf, natural } from "./history.ts"
import {
  alice,
  bob,
  carol,
  first,
  hex,
  keyOf,
  keyText,
  P,
  second,
  smallOrderKeys,
  unhex,
  yOfOrder8
} from "./signing.ts"

const inverse = (value: bigint): bigint => {
  let [result, base] = [1n, value % P]
  for (let rest = P - 2n; rest > 0n; rest >>= 1n) {
    if (rest % 2n === 1n) result = (result * base) % P
    base = (base * base) % P
  }
  return result
}

const D = (P - ((121665n * inverse(121666n)) % P)) % P

/** The y of twice the point with this y: x is needed in its square only. */
const doubled = (y: bigint): bigint => {
  const yy = (y * y) % P
  const xx = ((yy - 1n + P) * inverse(D * yy + 1n)) % P
  return ((yy + xx) * inverse(1n + P - ((((D * xx) % P) * yy) % P))) % P
}

/** From the definition: a y whose point is the neutral one, y = 1, after three doublings. */
const isSmallOrder = (y: bigint): boolean => doubled(doubled(doubled(y))) === 1n

describe("publicKey", () => {
  it("those of small order are the ones of the definition", () => {
    for (const y of [0n, 1n, P - 1n, yOfOrder8, P - yOfOrder8]) assert.isTrue(isSmallOrder(y))
    for (const key of [alice, bob, carol, first, second]) {
      assert.isFalse(
        isSmallOrder(BigInt(`0x${hex(unhex(key.publicKey).toReversed())}`) % 2n ** 255n)
      )
    }
    for (const key of smallOrderKeys) {
      assert.include(errorOf(Attestation.genesis(key)).expected, "full order")
    }
  })

  it.prop(
    "every key that has a seed is one",
    [Arbitrary.array(natural(255), { minLength: 32, maxLength: 32 })],
    ([seed]) => {
      const { publicKey } = keyOf(Uint8Array.from(seed))
      const lineage = Result.getOrThrow(Attestation.genesis(publicKey.toUpperCase()))
      assert.deepStrictEqual(lineage, {
        keyId: publicKey,
        publicKey,
        prevSignature: "0".repeat(64)
      })
    },
    { arbitrary: { runs: 50 } }
  )

  it("about half of all numbers are no y of the curve, none above p is one", () => {
    const refused = Array.from({ length: 100 }, (_, nth) => keyText(BigInt(nth + 2))).filter(
      (key) => Result.isFailure(Attestation.genesis(key))
    )
    assert.isAtLeast(refused.length, 30)
    assert.isAtMost(refused.length, 70)
    assert.include(refused, keyText(2n))
    for (let y = P; y < 2n ** 255n; y++) {
      assert.strictEqual(errorOf(Attestation.genesis(keyText(y)))._tag, "PublicKeyInvalid")
    }
  })

  it("what is no hex of 32 bytes is told so, and a key id must be a text", () => {
    for (const text of ["", "0", "g".repeat(64), "0".repeat(63), ` ${"0".repeat(63)}`]) {
      const { expected, message } = errorOf(Attestation.genesis(text))
      assert.strictEqual(expected, "64 hex digits")
      assert.include(message, "64 hex digits")
    }
    assert.include(errorOf(Attestation.genesis(alice.publicKey, "\ud800")).actual, "surrogate")
  })
})
