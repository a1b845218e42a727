import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Result, Schema } from "effect"
import type { JsonError } from "../../src/core/jsonError.ts"
import { check, cortex, members, Scanner, strict } from "../../src/core/jsonText.ts"

const natural = (maximum: number) =>
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum })))

const errorOf = <A>(result: Result.Result<A, JsonError>): JsonError => {
  assert.isTrue(Result.isFailure(result))
  return Result.getOrThrow(Result.flip(result))
}

const isParsed = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

const nested = (open: string, close: string, depth: number): string =>
  open.repeat(depth) + close.repeat(depth)

const fragments = ['"', "\\", "{", "}", "[", "]", ",", ":", " ", "\n", "0", "1", ".", "e", "-", "+"]
  .concat(["a", "\\u0041", "\\ud83d\\ude00", "\\uDe00", "\\n", "\\q", "null", "true", "é", "😀"])
  .concat(["\u0001", "\u2028", "\ufeff", "\u0000", '"a":1,', '"a":', "1e400", "\ud83d"])

const fragment = Arbitrary.map(natural(fragments.length - 1), (i) => fragments[i] ?? "")

/** A sound JSON text with up to three places cut or overwritten. */
const damaged = Arbitrary.map(
  Arbitrary.all([
    Arbitrary.schema(Schema.Json),
    Arbitrary.array(Arbitrary.all([natural(10_000), natural(3), fragment]), { maxLength: 3 })
  ]),
  ([value, edits]) =>
    edits.reduce((text, [place, cut, patch]) => {
      const at = place % (text.length + 1)
      return text.slice(0, at) + patch + text.slice(at + cut)
    }, JSON.stringify(value))
)

const names = Arbitrary.array(natural(25), { maxLength: 40 })

describe("jsonText", () => {
  it.prop(
    "accepts what JSON.parse accepts, and refuses more only for a reason",
    [damaged],
    ([text]) => {
      const result = check(text, cortex)
      if (Result.isSuccess(result)) {
        assert.isTrue(isParsed(text), text)
        return
      }
      const { reason, message, offset } = result.failure
      assert.isNotEmpty(message)
      assert.isAtMost(offset ?? Infinity, new TextEncoder().encode(text).length)
      const isOnlyOurs = reason === "lone_surrogate" || reason === "number_out_of_range"
      assert.strictEqual(isParsed(text) && !isOnlyOurs, false, `${text} ${message}`)
    },
    { arbitrary: { runs: 3000 } }
  )

  it.prop("finds a member that is there twice, however it is spelled", [names], ([names]) => {
    for (const spell of [
      (n: number) => `"n${n}"`,
      (n: number) => (n % 3 === 0 ? `"\\u006e${n}"` : `"n${n}"`)
    ]) {
      const text = `[{"x":{${names.map((n) => `${spell(n)}:{"n1":0}`).join()}},"y":{"n1":1}}]`
      const repeated = names.find((n, i) => names.indexOf(n) !== i)
      const result = check(text, strict)
      assert.strictEqual(Result.isFailure(result), repeated !== undefined, text)
      if (Result.isFailure(result)) {
        const again = names.find((n, i) => names.indexOf(n) < i)
        assert.strictEqual(result.failure.reason, "duplicate_member")
        assert.strictEqual(result.failure.path, `/0/x/n${again}`)
      }
      assert.isTrue(Result.isSuccess(check(text, cortex)))
    }
  })

  it("takes no more than linear time for very many members", () => {
    const count = 100_000
    const up = Array.from({ length: count }, (_, i) => `"${String(i).padStart(6, "0")}":0`)
    const start = performance.now()
    for (const list of [up, up.toReversed(), [...up.slice(1), up[0]]]) {
      assert.isTrue(Result.isSuccess(check(`{${list.join()}}`, strict)))
      const error = errorOf(check(`{${list.join()},${up[7]}}`, strict))
      assert.strictEqual(error.path, "/000007")
    }
    assert.isBelow(performance.now() - start, 10_000)
  })

  it("allows so much nesting and no more", () => {
    for (const [open, close] of [
      ["[", "]"],
      ['{"a":', "}"]
    ] as const) {
      const inner = open === "[" ? "" : "0"
      const text = (depth: number) => open.repeat(depth) + inner + close.repeat(depth)
      assert.isTrue(Result.isSuccess(check(text(126), strict)))
      assert.strictEqual(errorOf(check(text(127), strict)).reason, "too_deep")
      assert.isTrue(Result.isSuccess(check(text(127), cortex)))
      assert.strictEqual(errorOf(check(text(128), cortex)).reason, "too_deep")
      assert.isTrue(Result.isSuccess(members(`{"a":${text(126)}}`, strict)))
      assert.strictEqual(errorOf(members(`{"a":${text(127)}}`, strict)).reason, "too_deep")
    }
    assert.strictEqual(errorOf(check("[".repeat(1_000_000), cortex)).offset, 127)
    assert.throws(() => new Scanner(nested("[", "]", 1), { ...cortex, nestingMax: 128 }))
  })

  it("tells the members of an object and where their values lie", () => {
    const text = ' {"b" : [1, 2] ,"a":{"x":"}"},"b":null, "\\u0062":-1.5e3\n} '
    const found = Result.getOrThrow(members(text))
    assert.deepStrictEqual(
      found.map(({ name, start, end }) => [name, text.slice(start, end)]),
      [
        ["b", "[1, 2]"],
        ["a", '{"x":"}"}'],
        ["b", "null"],
        ["b", "-1.5e3"]
      ]
    )
    assert.deepStrictEqual(Result.getOrThrow(members("{}")), [])
    for (const other of ["[]", "1", '"{}"', "", "{} {}", "{", '{"a":1,}']) {
      assert.isTrue(Result.isFailure(members(other)), other)
    }
  })

  it("judges values, not the object itself, when it tells its members", () => {
    const text = '{"a":1,"a":{"b":1,"b":2}}'
    assert.strictEqual(errorOf(members(text)).path, "/a/b")
    assert.isTrue(Result.isSuccess(members(text, cortex)))
  })

  it("walks a text value by value", () => {
    const text = '["a\\u0041",{"b":1}]'
    const scanner = new Scanner(text, { ...strict, numbers: "lossless" })
    assert.strictEqual(scanner.endOfString(1), 10)
    assert.isTrue(scanner.hasEscape)
    assert.isFalse(scanner.isCanonical)
    assert.strictEqual(scanner.endOfValue(11), 18)
    assert.strictEqual(scanner.endOfValue(18), -1)
    assert.strictEqual(scanner.error().path, "/1")
    assert.strictEqual(scanner.error().offset, 18)
  })

  const refused: ReadonlyArray<readonly [string, string, string, number]> = [
    ["", "syntax", "", 0],
    ["nul", "syntax", "", 0],
    ["[1,]", "syntax", "/1", 3],
    ['{"a":1,}', "syntax", "", 7],
    ['{"a" 1}', "syntax", "/a", 5],
    ["[01]", "syntax", "/0", 2],
    ["[1.]", "syntax", "/0", 3],
    ["[-]", "syntax", "/0", 1],
    ["1 2", "syntax", "", 2],
    ['"é\t"', "syntax", "", 3],
    ['"abc', "syntax", "", 4],
    ['"\\u12', "syntax", "", 5],
    ['"\\', "syntax", "", 2],
    ['["x\\x"]', "syntax", "/0", 4],
    ["\ufeff{}", "bom", "", 0],
    ['{"é":["\ud800"]}', "lone_surrogate", "/é/0", 8],
    ['{"a":"\\ud800\\u0041"}', "lone_surrogate", "/a", 6],
    ['{"a":"\\ud83d\ude00"}', "lone_surrogate", "/a", 6],
    ['{"a":{"\\ude00":1}}', "lone_surrogate", "/a", 7],
    ['{"a":[0,{"b":1e400}]}', "number_out_of_range", "/a/1/b", 13],
    [`[${"9".repeat(400)}]`, "number_out_of_range", "/0", 1],
    ['{"a":[{"b":1,"c":2,"b":3}]}', "duplicate_member", "/a/0/b", 19]
  ]
  for (const [text, reason, path, offset] of refused) {
    it(`refuses ${JSON.stringify(text).slice(0, 40)} as ${reason}`, () => {
      const error = errorOf(check(text, strict))
      assert.deepStrictEqual([error.reason, error.path, error.offset], [reason, path, offset])
      assert.isBelow(error.message.length, 300)
    })
  }
})
