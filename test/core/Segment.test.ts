import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import type { Line } from "../../src/core/Segment.ts"
import * as Segment from "../../src/core/Segment.ts"
import { concat, natural, utf8 } from "./history.ts"

/** The whole buffer split at once, by the definition of a line. */
const textbook = (path: string, bytes: Uint8Array, bytesMax: number): ReadonlyArray<Line> => {
  const lines: Array<Line> = []
  for (let offset = 0; offset < bytes.byteLength;) {
    const lf = bytes.indexOf(0x0a, offset)
    const end = lf === -1 ? bytes.byteLength : lf
    const whole = bytes.slice(offset, end)
    lines.push({
      path,
      number: lines.length + 1,
      offset,
      bytes: whole.slice(0, bytesMax),
      length: whole.byteLength,
      terminated: lf !== -1,
      tooLong: whole.byteLength > bytesMax,
      bytesMax,
      nul: whole.includes(0)
    })
    offset = end + 1
  }
  return lines
}

// Mostly line ends, NUL, CR and what Unicode calls line ends, so that short texts have all of them.
const piece = Arbitrary.map(
  Arbitrary.schema(Schema.Literals(["\n", "\n\n", "\0", "\r", "\u2028", "\u0085", "row", "{}"])),
  (text) => utf8.encode(text)
)
const content = Arbitrary.map(Arbitrary.array(piece, { maxLength: 30 }), concat)

/** Lines whose bytes were copied when they came: the splitter's caller may reuse its memory. */
const copied = (lines: ReadonlyArray<Line>): ReadonlyArray<Line> =>
  lines.map((line) => ({ ...line, bytes: line.bytes.slice() }))

describe("Segment", () => {
  it("name is the first seq in sixteen digits, and firstSeq reads it back", () => {
    assert.strictEqual(Segment.name(1), "0000000000000001.jsonl")
    for (const seq of [1, 9, 1_000_000, Number.MAX_SAFE_INTEGER]) {
      assert.strictEqual(Segment.firstSeq(Segment.name(seq)), seq)
    }
    for (const seq of [0, -1, 1.5, Number.NaN, Number.MAX_SAFE_INTEGER + 1]) {
      assert.throws(() => Segment.name(seq), RangeError)
    }
  })

  it("firstSeq knows no other name", () => {
    for (const name of [
      "0000000000000000.jsonl",
      "1.jsonl",
      "00000000000000001.jsonl",
      "0000000000000001.jsonl.tmp",
      " 0000000000000001.jsonl",
      "0000000000000001.JSONL",
      "٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠١.jsonl",
      "9999999999999999.jsonl",
      "0000000000000001.jsonl\n",
      ""
    ]) {
      assert.strictEqual(Segment.firstSeq(name), undefined, name)
    }
  })

  it.prop(
    "LineSplitter agrees with the whole buffer split at once, in whatever chunks it comes",
    [content, Arbitrary.array(natural(7), { minLength: 1, maxLength: 8 }), natural(9)],
    ([bytes, sizes, bytesMax]) => {
      const splitter = new Segment.LineSplitter("a", bytesMax)
      const lines: Array<Line> = []
      const shared = new Uint8Array(8)
      for (let at = 0, nth = 0; at < bytes.byteLength; nth++) {
        // One buffer for every chunk, as a reader of files has it.
        const part = bytes.subarray(at, at + Math.max(1, sizes[nth % sizes.length] ?? 1))
        shared.set(part)
        lines.push(...copied(splitter.push(shared.subarray(0, part.byteLength))))
        shared.fill(0x58)
        at += part.byteLength
      }
      const rest = splitter.end()
      if (rest !== undefined) lines.push(rest)
      assert.deepStrictEqual(lines, textbook("a", bytes, bytesMax))
      assert.strictEqual(splitter.end(), undefined)
    },
    { arbitrary: { runs: 500 } }
  )

  it.prop("lines agrees too", [content, natural(9)], ([bytes, bytesMax]) => {
    const lines = Segment.lines("b", bytes, bytesMax)
    assert.deepStrictEqual(copied(lines), textbook("b", bytes, bytesMax))
  })

  it("LineSplitter goes on from the place it is given", () => {
    const splitter = new Segment.LineSplitter("a", 10, 700, 8)
    const [line] = splitter.push(utf8.encode("ab\ncd"))
    assert.deepInclude(line, { number: 8, offset: 700, length: 2 })
    assert.deepInclude(splitter.end(), { number: 9, offset: 703, length: 2, terminated: false })
  })

  it("LineSplitter keeps the beginning of an over-long line and nothing else of it", () => {
    const splitter = new Segment.LineSplitter("a", 1_000)
    const chunk = new Uint8Array(65_536).fill(0x78)
    for (let i = 0; i < 100; i++) assert.deepStrictEqual(splitter.push(chunk), [])
    chunk.fill(0)
    splitter.push(chunk)
    const [line] = splitter.push(utf8.encode("\n"))
    assert.deepInclude(line, { length: 101 * 65_536, tooLong: true, nul: true, terminated: true })
    assert.strictEqual(line?.bytes.byteLength, 1_000)
    assert.isBelow(line?.bytes.buffer.byteLength ?? Infinity, 2_000)
    const [next] = splitter.push(utf8.encode("ok\n"))
    assert.deepInclude(next, { offset: 101 * 65_536 + 1, length: 2, tooLong: false, nul: false })
  })

  it("LineSplitter takes a line of exactly the limit, and refuses one byte more", () => {
    const [exact, more] = Segment.lines("a", utf8.encode("12345\n123456\n"), 5)
    assert.deepInclude(exact, { length: 5, tooLong: false })
    assert.deepInclude(more, { length: 6, tooLong: true })
  })
})
