import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import * as fs from "node:fs"
import { createHash } from "node:crypto"
import * as Hashes from "../../src/core/Hashes.ts"

interface EventHashCase {
  readonly name: string
  readonly prev: string | null
  readonly payload_hash: string
  readonly event_hash: string
}
interface CanonicalCase {
  readonly name: string
  readonly canonical?: string
  readonly payload_hash?: string
}

const lines = (file: string) =>
  fs
    .readFileSync(new URL(`../vectors/cortex/${file}`, import.meta.url), "utf8")
    .trimEnd()
    .split("\n")
const eventHashes: ReadonlyArray<EventHashCase> = lines("event_hash.jsonl").map((line) =>
  JSON.parse(line)
)
const canonical: ReadonlyArray<CanonicalCase> = lines("canonical.jsonl").map((line) =>
  JSON.parse(line)
)

const { noble } = Hashes
const utf8 = new TextEncoder()

/** From the definition, piece by piece. */
const textbookEventHash = (prev: string | null, payloadHash: string) => {
  const pieces: Array<number> = [1]
  for (const text of [prev ?? "", payloadHash]) {
    const bytes = utf8.encode(text)
    const length = new Uint8Array(8)
    new DataView(length.buffer).setBigUint64(0, BigInt(bytes.length), true)
    pieces.push(...length, ...bytes)
  }
  return noble.blake3Hex(Uint8Array.from(pieces))
}

const wellFormed = Arbitrary.map(Arbitrary.schema(Schema.String), (text) => text.toWellFormed())
/** Around the size where the shared buffer no longer holds a text. */
const long = Arbitrary.map(
  Arbitrary.all([
    Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 21_800, maximum: 21_900 }))),
    Arbitrary.schema(Schema.Literals(["a", "é", "€", "😀"]))
  ]),
  ([size, letter]) => letter.repeat(size / letter.length)
)

describe("Hashes", () => {
  it("eventHash gives the hash of every golden case", () => {
    assert.isAbove(eventHashes.length, 40)
    for (const { name, prev, payload_hash, event_hash } of eventHashes) {
      assert.strictEqual(Hashes.eventHash(noble, prev, payload_hash), event_hash, name)
    }
  })

  it("payloadHash gives the hash of every golden case", () => {
    const good = canonical.filter((golden) => golden.canonical !== undefined)
    assert.isAbove(good.length, 150)
    for (const golden of good) {
      const text = golden.canonical ?? ""
      assert.strictEqual(Hashes.payloadHash(noble, text), golden.payload_hash, golden.name)
    }
  })

  it.prop(
    "eventHash agrees with its definition",
    [wellFormed, wellFormed],
    ([prev, payloadHash]) => {
      const expected = textbookEventHash(prev, payloadHash)
      assert.strictEqual(Hashes.eventHash(noble, prev, payloadHash), expected)
      assert.strictEqual(Hashes.eventHash(noble, null, prev), Hashes.eventHash(noble, "", prev))
    }
  )

  it.prop("texts too long for the shared buffer hash the same", [long], ([text]) => {
    assert.strictEqual(Hashes.payloadHash(noble, text), noble.blake3Hex(utf8.encode(text)))
    assert.strictEqual(Hashes.eventHash(noble, text, "x"), textbookEventHash(text, "x"))
    assert.strictEqual(Hashes.eventHash(noble, "x", text), textbookEventHash("x", text))
  })

  it.prop("leafHash is SHA-256 of a zero byte and the line", [Schema.Uint8Array], ([line]) => {
    const expected = createHash("sha256").update(new Uint8Array(1)).update(line).digest("hex")
    assert.strictEqual(Hashes.leafHash(noble, line), expected)
  })

  it("leafHash takes lines of any length", () => {
    for (const size of [0, 65_534, 65_535, 65_536, 200_000]) {
      const line = new Uint8Array(size).fill(0x61)
      const expected = createHash("sha256").update(new Uint8Array(1)).update(line).digest("hex")
      assert.strictEqual(Hashes.leafHash(noble, line), expected, `${size} bytes`)
    }
  })

  it("a short input after a long one sees nothing of it", () => {
    const before = Hashes.payloadHash(noble, "{}")
    Hashes.leafHash(noble, new Uint8Array(60_000).fill(0xff))
    assert.strictEqual(Hashes.payloadHash(noble, "{}"), before)
    const zeros = "0".repeat(64)
    assert.strictEqual(Hashes.eventHash(noble, null, zeros), textbookEventHash(null, zeros))
  })

  it("a lone surrogate throws instead of being hashed as U+FFFD", () => {
    for (const text of ["\ud800", "a\udc00", "\udc00\ud800"]) {
      assert.throws(() => Hashes.payloadHash(noble, text), RangeError)
      assert.throws(() => Hashes.eventHash(noble, text, ""), RangeError)
      assert.throws(() => Hashes.eventHash(noble, null, text), RangeError)
    }
  })
})
