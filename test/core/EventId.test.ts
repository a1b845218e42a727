import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Result, Schema } from "effect"
import * as fs from "node:fs"
import * as EventId from "../../src/core/EventId.ts"
import * as Hashes from "../../src/core/Hashes.ts"

const cases: ReadonlyArray<{ readonly input: string; readonly id?: string }> = fs
  .readFileSync(new URL("../vectors/cortex/ids.jsonl", import.meta.url), "utf8")
  .trimEnd()
  .split("\n")
  .map((line) => JSON.parse(line))

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
const byte = Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 })))
const bytes16 = Arbitrary.map(Arbitrary.array(byte, { minLength: 16, maxLength: 16 }), (bytes) =>
  Uint8Array.from(bytes)
)

/** From the definition: one number of 128 bits, written in base 32. */
const textbookUlid = (bytes: Uint8Array) => {
  let value = bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n)
  let text = ""
  for (let i = 0; i < 26; i++) {
    text = ALPHABET.charAt(Number(value % 32n)) + text
    value /= 32n
  }
  return text
}

describe("EventId", () => {
  for (const { input, id } of cases) {
    it(`parse ${id === undefined ? "refuses" : "reads"} ${JSON.stringify(input)}`, () => {
      const isTrace = input.startsWith("t")
      const parsed = isTrace ? EventId.parseTraceId(input) : EventId.parse(input)
      const isCanonical = isTrace ? EventId.isCanonicalTraceId(input) : EventId.isCanonical(input)
      assert.strictEqual(Result.getOrNull<string, unknown>(parsed), id ?? null)
      assert.strictEqual(isCanonical, id === input)
    })
  }

  it("an event id is no trace id, nor the other way round", () => {
    const body = "01KGE3HBSFNPBSCAJ7DY8FSVA7"
    assert.isTrue(Result.isFailure(EventId.parse(`trc_${body}`)))
    assert.isTrue(Result.isFailure(EventId.parseTraceId(`evt_${body}`)))
    assert.isFalse(EventId.isCanonical(`trc_${body}`))
    assert.isFalse(EventId.isCanonicalTraceId(`evt_${body}`))
  })

  it("parse refuses letters that only upper-casing would let in", () => {
    for (const letter of ["\u0131", "\u017f", "\u212a"]) {
      const text = `evt_01KGE3HBSFNPBSCAJ7DY8FSVA${letter}`
      assert.isTrue(Result.isFailure(EventId.parse(text)), text)
      assert.isFalse(EventId.isCanonical(text))
    }
  })

  it.prop("fromBytes writes the 128 bits in base 32", [bytes16], ([bytes]) => {
    const id = EventId.fromBytes(bytes)
    assert.strictEqual(id, `evt_${textbookUlid(bytes)}`)
    assert.strictEqual(EventId.fromUlid(id.slice(4)), id)
    assert.strictEqual(Result.getOrThrow(EventId.parse(`evt_${id.slice(4).toLowerCase()}`)), id)
  })

  it.prop(
    "isCanonical holds for what parse maps to itself and nothing else",
    [bytes16, byte, byte],
    ([bytes, at, code]) => {
      const id = EventId.fromBytes(bytes)
      const text = id.slice(0, at % 31) + String.fromCharCode(code) + id.slice((at % 31) + 1)
      const parsed = Result.getOrNull(EventId.parse(text))
      // Upper case and the lost bits, from the definition.
      const isKept = /^evt_[0-7][0-9A-HJKMNP-TV-Z]{25}$/.test(text)
      assert.strictEqual(EventId.isCanonical(text), isKept)
      assert.strictEqual(parsed === text, isKept)
    }
  )

  it.prop("idFrom takes the first 128 bits of BLAKE3 of the text", [Schema.String], ([text]) => {
    if (!text.isWellFormed()) return assert.throws(() => EventId.idFrom(text), RangeError)
    const hex = Hashes.noble.blake3Hex(new TextEncoder().encode(text))
    const bytes = Uint8Array.from(hex.slice(0, 32).match(/../g) ?? [], (pair) => parseInt(pair, 16))
    assert.strictEqual(EventId.idFrom(text), `evt_${textbookUlid(bytes)}`)
  })

  it("idFrom never changes: these ids are in ledgers", () => {
    // BLAKE3 of the empty text begins af1349b9f5f9a1a6a0404dea36dcc949.
    assert.strictEqual(EventId.idFrom(""), "evt_5F2D4VKXFSM6KA0G2DX8VDSJA9")
    assert.strictEqual(EventId.idFrom("{}"), "evt_3E8VEH1QQWKDBC56KERNNN1311")
  })

  it("broken preconditions throw", () => {
    assert.throws(() => EventId.fromBytes(new Uint8Array(15)), RangeError)
    assert.throws(() => EventId.fromUlid("81KGE3HBSFNPBSCAJ7DY8FSVA7"), RangeError)
    assert.throws(() => EventId.fromUlid("01kge3hbsfnpbscaj7dy8fsva7"), RangeError)
    assert.throws(() => EventId.fromUlid("01KGE3HBSFNPBSCAJ7DY8FSVA"), RangeError)
  })

  it("a refusal says what is wrong, in a text that is not too long", () => {
    const reason = (text: string) => Result.getOrThrow(Result.flip(EventId.parse(text)))
    assert.strictEqual(reason("mem_01KGE3HBSFNPBSCAJ7DY8FSVA7").actual, '"mem_"')
    assert.strictEqual(reason("evt_01KGE3HBSFNPBSCAJ7DY8FSVA").actual, "25")
    assert.strictEqual(reason("evt_01KGE3HBSFNPBSCAJ7DY8FSVAU").actual, '"U"')
    assert.isBelow(reason("😀".repeat(1000)).message.length, 300)
    assert.isTrue(reason("evt😀".repeat(1000)).message.isWellFormed())
  })

  it("the schemas take canonical texts only", () => {
    const isEventId = Schema.is(EventId.EventId)
    const isTraceId = Schema.is(EventId.TraceId)
    assert.isTrue(isEventId("evt_01KGE3HBSFNPBSCAJ7DY8FSVA7"))
    assert.isFalse(isEventId("evt_01kge3hbsfnpbscaj7dy8fsva7"))
    assert.isTrue(isTraceId("trc_01KGE3HBSFNPBSCAJ7DY8FSVA7"))
    assert.isFalse(isTraceId("evt_01KGE3HBSFNPBSCAJ7DY8FSVA7"))
  })
})
