import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import * as fs from "node:fs"
import * as Crc32c from "../../src/core/Crc32c.ts"

interface Case {
  readonly name: string
  readonly crc32c: string
  readonly hex?: string
  readonly byte?: number
  readonly count?: number
}

const cases: ReadonlyArray<Case> = fs
  .readFileSync(new URL("../vectors/libs/crc32c.jsonl", import.meta.url), "utf8")
  .trimEnd()
  .split("\n")
  .map((line) => JSON.parse(line))

const bytesOf = ({ hex, byte, count }: Case) =>
  hex === undefined
    ? new Uint8Array(count ?? 0).fill(byte ?? 0)
    : new Uint8Array(Buffer.from(hex, "hex"))

/** From the definition: divide by the polynomial, one bit at a time. */
const textbook = (bytes: Uint8Array) => {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  }
  return (crc ^ 0xffffffff) >>> 0
}

const bytes = Arbitrary.map(
  Arbitrary.array(
    Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))),
    { maxLength: 100 }
  ),
  (list) => Uint8Array.from(list)
)
const place = Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 100 })))

describe("Crc32c", () => {
  it("of gives the checksums of every golden case", () => {
    assert.isAbove(cases.length, 40)
    for (const golden of cases) {
      assert.strictEqual(Crc32c.hex8(Crc32c.of(bytesOf(golden))), golden.crc32c, golden.name)
    }
  })

  it.prop("of agrees with the bitwise definition, in any range", [bytes, place, place], (drawn) => {
    const [all, a, b] = drawn
    const start = Math.min(a, b, all.length)
    const end = Math.min(Math.max(a, b), all.length)
    assert.strictEqual(Crc32c.of(all), textbook(all))
    assert.strictEqual(Crc32c.of(all, start), textbook(all.subarray(start)))
    assert.strictEqual(Crc32c.of(all, start, end), textbook(all.subarray(start, end)))
    // A view that does not begin at its buffer's first byte.
    assert.strictEqual(
      Crc32c.of(all.subarray(start), 0, end - start),
      textbook(all.slice(start, end))
    )
  })

  it.prop("of finds every single changed bit", [bytes, place, place], ([all, at, bit]) => {
    if (all.length === 0) return
    const changed = all.slice()
    const index = at % all.length
    changed[index] = (changed[index] ?? 0) ^ (1 << (bit % 8))
    assert.notStrictEqual(Crc32c.of(changed), Crc32c.of(all))
  })

  it("of throws on a range outside the bytes", () => {
    const eight = new Uint8Array(8)
    for (const [start, end] of [
      [-1, 8],
      [0, 9],
      [5, 4],
      [Number.NaN, 8],
      [0, Number.NaN]
    ] as const) {
      assert.throws(() => Crc32c.of(eight, start, end), RangeError)
    }
  })

  it("hex8 keeps leading zeros and writes capitals", () => {
    assert.strictEqual(Crc32c.hex8(0), "00000000")
    assert.strictEqual(Crc32c.hex8(0xabc), "00000ABC")
    assert.strictEqual(Crc32c.hex8(0xffffffff), "FFFFFFFF")
  })
})
