import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import * as crypto from "node:crypto"
import * as Ed25519 from "../../src/core/Ed25519.ts"
import { alice, bob, smallOrderKeys, unhex, verify, vectorLines } from "./signing.ts"

const L = 2n ** 252n + 27742317777372353535851937790883648493n

const bytesOf = (value: bigint): Uint8Array =>
  Uint8Array.from({ length: 32 }, (_, i) => Number((value >> BigInt(8 * i)) & 255n))

const numberOf = (bytes: Uint8Array): bigint =>
  bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n)

const messages = Arbitrary.map(Arbitrary.schema(Schema.String), (text) =>
  new TextEncoder().encode(text)
)

describe("Ed25519", () => {
  it("agrees with the original about every golden signature", () => {
    let count = 0
    for (const line of vectorLines("signing_input.jsonl")) {
      const { expect } = JSON.parse(line)
      const { public_key, signature, signing_input, bytes } = expect
      const input = signing_input ?? bytes
      if (public_key === undefined || signature === undefined || input === undefined) continue
      count++
      assert.isTrue(Ed25519.verify(unhex(public_key), unhex(input), unhex(signature)), line)
    }
    assert.isAbove(count, 10)
  })

  it.prop(
    "agrees with the runtime's about any message, and about any bit that is flipped",
    [messages, Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 767 })))],
    ([message, bit]) => {
      const key = unhex(alice.publicKey)
      const signature = alice.sign(message)
      assert.isTrue(Ed25519.verify(key, message, signature))
      assert.isFalse(Ed25519.verify(unhex(bob.publicKey), message, signature))
      const both = new Uint8Array([...key, ...signature])
      both[bit >> 3] = (both[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      const [otherKey, other] = [both.subarray(0, 32), both.subarray(32)]
      let runtime = false
      try {
        runtime = verify(otherKey, message, other)
      } catch {
        // Deno refuses a key that is no point by throwing.
      }
      assert.strictEqual(Ed25519.verify(otherKey, message, other), runtime)
    },
    { arbitrary: { runs: 60 } }
  )

  it("refuses a second spelling of a signature, and what is none", () => {
    const message = crypto.randomBytes(40)
    const signature = alice.sign(message)
    const key = unhex(alice.publicKey)
    const s = numberOf(signature.subarray(32))
    const respelled = new Uint8Array([...signature.subarray(0, 32), ...bytesOf(s + L)])
    assert.isFalse(Ed25519.verify(key, message, respelled))
    assert.isFalse(Ed25519.verify(key, message, signature.subarray(0, 63)))
    assert.isFalse(Ed25519.verify(key.subarray(1), message, signature))
    assert.isFalse(Ed25519.verify(new Uint8Array(32).fill(255), message, signature))
    for (const small of smallOrderKeys) {
      assert.isFalse(Ed25519.verify(unhex(small), message, signature))
    }
  })
})
