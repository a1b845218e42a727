import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import * as Hashes from "../../src/core/Hashes.ts"
import * as FastHashes from "../../src/platform/FastHashes.ts"

const int = (minimum: number, maximum: number) =>
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum, maximum })))

/** `size` bytes that repeat with no power of two, so that swapped blocks would show. */
const bytesOf = (size: number, seed: number) =>
  Uint8Array.from({ length: size }, (_, i) => (i * 167 + (i >>> 8) * 31 + seed) % 251)

// BLAKE3 works in blocks of 64 bytes and chunks of 1024, SHA-256 in blocks of 64 with 9 bytes of
// padding, and the WebAssembly's own buffer holds 16384.
const edges = [
  0, 1, 54, 55, 56, 63, 64, 65, 127, 128, 129, 1023, 1024, 1025, 2047, 2048, 2049
].concat([3072, 3073, 4096, 4097, 16_383, 16_384, 16_385, 32_768, 32_769, 100_000])

describe("FastHashes", () => {
  it.effect.prop(
    "equals the plain code on any bytes",
    [int(0, 5000), int(0, 250)],
    ([size, seed]) =>
      Effect.map(FastHashes.make, (fast) => {
        const data = bytesOf(size, seed)
        assert.strictEqual(fast.blake3Hex(data), Hashes.noble.blake3Hex(data))
        assert.strictEqual(fast.sha256Hex(data), Hashes.noble.sha256Hex(data))
      })
  )

  it.effect("equals the plain code at the edges of blocks, chunks and buffers", () =>
    Effect.map(FastHashes.make, (fast) => {
      for (const size of edges) {
        const data = bytesOf(size, size % 251)
        assert.strictEqual(fast.blake3Hex(data), Hashes.noble.blake3Hex(data), `${size} bytes`)
        assert.strictEqual(fast.sha256Hex(data), Hashes.noble.sha256Hex(data), `${size} bytes`)
      }
    })
  )

  it.effect("hashes a view, not the buffer below it", () =>
    Effect.map(FastHashes.make, (fast) => {
      const view = bytesOf(3000, 1).subarray(700, 2100)
      assert.strictEqual(fast.blake3Hex(view), Hashes.noble.blake3Hex(view.slice()))
      assert.strictEqual(fast.sha256Hex(view), Hashes.noble.sha256Hex(view.slice()))
    })
  )

  it.effect("keeps two instances apart", () =>
    Effect.gen(function* () {
      const a = yield* FastHashes.make
      const b = yield* FastHashes.make
      const data = bytesOf(500, 7)
      const expected = Hashes.noble.blake3Hex(data)
      assert.strictEqual(a.blake3Hex(data), expected)
      assert.strictEqual(b.blake3Hex(bytesOf(5000, 8)), Hashes.noble.blake3Hex(bytesOf(5000, 8)))
      assert.strictEqual(a.blake3Hex(data), expected)
    })
  )
})
