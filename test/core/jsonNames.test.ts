import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { compareUtf8, sortUtf8, unquote } from "../../src/core/jsonNames.ts"

const encoder = new TextEncoder()

const textbookCompare = (a: string, b: string): number => {
  const x = encoder.encode(a)
  const y = encoder.encode(b)
  for (let i = 0; i < Math.min(x.length, y.length); i++) {
    if (x[i] !== y[i]) return (x[i] ?? 0) - (y[i] ?? 0)
  }
  return x.length - y.length
}

const edges = [
  "",
  "a",
  "\u007f",
  "\u0080",
  "\u07ff",
  "\u0800",
  "\ud7ff",
  "\ue000",
  "\uffff",
  "😀",
  "\u{10ffff}"
]

/** Names that share beginnings and part at every length of a UTF-8 sequence. */
const name = Arbitrary.map(
  Arbitrary.all([
    Arbitrary.array(Arbitrary.schema(Schema.Literals(edges)), { maxLength: 4 }),
    Arbitrary.schema(Schema.String)
  ]),
  ([parts, rest]) => parts.join("") + (rest.length > 2 ? "" : rest.toWellFormed())
)

describe("jsonNames", () => {
  it.prop("compares as the UTF-8 bytes do", [name, name], ([a, b]) => {
    assert.strictEqual(Math.sign(compareUtf8(a, b)), Math.sign(textbookCompare(a, b)))
    assert.strictEqual(compareUtf8(a, a), 0)
  })

  it("puts U+E000 to U+FFFF before what surrogates stand for", () => {
    const sorted = edges.toReversed().toSorted(compareUtf8)
    assert.deepStrictEqual(sorted, edges)
    assert.notDeepEqual(edges.toReversed().toSorted(), edges)
  })

  it.prop("sorts names by their bytes", [Arbitrary.array(name)], ([names]) => {
    assert.deepStrictEqual([...sortUtf8(names)], names.toSorted(textbookCompare))
  })

  it.prop("unquotes what was quoted", [Schema.String], ([text]) => {
    const quoted = JSON.stringify(text)
    assert.strictEqual(unquote(`x${quoted}x`, 1, quoted.length + 1), text)
  })
})
