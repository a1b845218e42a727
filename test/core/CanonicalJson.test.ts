import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Result, Schema } from "effect"
import * as fs from "node:fs"
import * as CanonicalJson from "../../src/core/CanonicalJson.ts"
import * as Hashes from "../../src/core/Hashes.ts"

const { fromText, fromValue, ofCortex } = CanonicalJson

interface Case {
  readonly name: string
  readonly input: string
  readonly canonical?: string
  readonly payload_hash?: string
  readonly canonical_of_canonical?: string
}

const lines = (path: string) =>
  fs
    .readFileSync(new URL(path, import.meta.url), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line))

const cases: ReadonlyArray<Case> = lines("../vectors/cortex/canonical.jsonl")
const library: ReadonlyArray<{ readonly text: string; readonly written?: string }> = lines(
  "../vectors/libs/serde-json.jsonl"
)

const errorOf = <A>(result: Result.Result<A, CanonicalJson.JsonError>): CanonicalJson.JsonError => {
  assert.isTrue(Result.isFailure(result))
  return Result.getOrThrow(Result.flip(result))
}

const encoder = new TextEncoder()

const textbookCompare = (a: string, b: string): number =>
  Buffer.compare(encoder.encode(a), encoder.encode(b))

/** The form from its definition, for values whose numbers JavaScript and Cortex spell alike. */
const textbook = (value: Schema.Json): string => {
  if (Array.isArray(value)) return `[${value.map(textbook).join()}]`
  if (typeof value !== "object" || value === null) return JSON.stringify(value)
  const members = Object.entries(value).toSorted(([a], [b]) => textbookCompare(a, b))
  return `{${members.map(([name, inner]) => `${JSON.stringify(name)}:${textbook(inner)}`).join()}}`
}

const wellFormed = (value: Schema.Json): Schema.Json => JSON.parse(toWellFormed(value))
const toWellFormed = (value: Schema.Json): string =>
  JSON.stringify(value).replaceAll(/\\ud[89a-f]../g, "?")

const json = Arbitrary.map(Arbitrary.schema(Schema.Json), wellFormed)

const double = Arbitrary.map(
  Arbitrary.all([
    Arbitrary.schema(Schema.Finite),
    Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: -330, maximum: 310 })))
  ]),
  ([size, exponent]) => {
    const value = Number(`${Math.abs(size) % 10}e${exponent}`)
    return Number.isFinite(value) ? value : size
  }
)

/** A text of the same value with whitespace, and every other unit of its strings escaped. */
const spreadOut = (value: Schema.Json): string =>
  JSON.stringify(value, null, "\t\r\n ").replaceAll(/"(?:[^"\\]|\\.)*"/g, (quoted) => {
    const text: string = JSON.parse(quoted)
    const units = Array.from({ length: text.length }, (_, i) => {
      const code = text.charCodeAt(i).toString(16).toUpperCase().padStart(4, "0")
      const unit = text.charAt(i)
      return /[a-z]/.test(unit) && i % 2 === 0 ? unit : `\\u${code}`
    })
    return `"${units.join("")}"`
  })

describe("CanonicalJson", () => {
  it("reads and prints as Cortex does", () => {
    for (const { name, input, canonical, canonical_of_canonical } of cases) {
      assert.strictEqual(Result.getOrNull(ofCortex(input)), canonical ?? null, name)
      if (canonical === undefined) continue
      const again = canonical_of_canonical ?? canonical
      assert.strictEqual(Result.getOrNull(ofCortex(canonical)), again, name)
    }
    for (const { text, written } of library) {
      assert.strictEqual(Result.getOrNull(ofCortex(text)), written ?? null, text)
    }
  })

  it("has Cortex's payload hashes", () => {
    for (const { name, input, payload_hash } of cases) {
      if (payload_hash === undefined) continue
      const text = Result.getOrThrow(ofCortex(input))
      assert.strictEqual(Hashes.payloadHash(Hashes.noble, text), payload_hash, name)
    }
  })

  it("gives Cortex's form where Cortex keeps every number", () => {
    let count = 0
    for (const { name, input, canonical } of cases) {
      const forCortex = fromText(input, { numbers: "cortex" })
      if (canonical === undefined) assert.isTrue(Result.isFailure(fromText(input)), name)
      if (Result.isFailure(forCortex)) continue
      count++
      assert.strictEqual(forCortex.success, canonical, name)
      assert.strictEqual(Result.getOrNull(fromText(input)), canonical, name)
      assert.strictEqual(Result.getOrNull(ofCortex(forCortex.success)), canonical, name)
    }
    assert.isAbove(count, 130)
  })

  it("refuses for Cortex only what Cortex changes, and what is refused anyway", () => {
    for (const { input, canonical } of cases) {
      const result = fromText(input, { numbers: "cortex" })
      if (Result.isSuccess(result) || canonical === undefined) continue
      const { reason } = result.failure
      assert.oneOf(reason, ["number_respelled", "duplicate_member", "too_deep"], input)
      if (reason === "number_respelled") assert.isTrue(Result.isSuccess(fromText(input)))
    }
  })

  it("keeps what Cortex would change, and names the number that must not go to Cortex", () => {
    const text = '{ "b" : [ 1e2, {"c": 961.1379677072017} ], "a" : 18446744073709551616 }'
    const kept = '{"a":18446744073709551616,"b":[100.0,{"c":961.1379677072017}]}'
    assert.strictEqual(Result.getOrNull(fromText(text)), kept)
    const error = errorOf(fromText(text, { numbers: "cortex" }))
    assert.deepStrictEqual(
      [error.reason, error.path, error.offset],
      ["number_respelled", "/b/1/c", 21]
    )
    const value = errorOf(fromValue({ b: [1, { c: 961.1379677072017 }] }, { numbers: "cortex" }))
    assert.deepStrictEqual(
      [value.reason, value.path, value.offset],
      ["number_respelled", "/b/1/c", null]
    )
  })

  it.prop("gives a form that is its own form, and means the same", [json], ([value]) => {
    for (const numbers of ["lossless", "cortex"] as const) {
      const result = fromText(spreadOut(value), { numbers })
      if (Result.isFailure(result)) {
        assert.strictEqual(`${numbers} ${result.failure.reason}`, "cortex number_respelled")
        continue
      }
      const text = result.success
      assert.strictEqual(Result.getOrNull(fromText(text, { numbers })), text)
      assert.strictEqual(Result.getOrNull(fromText(encoder.encode(text), { numbers })), text)
      assert.deepStrictEqual(JSON.parse(text), JSON.parse(JSON.stringify(value)))
      if (numbers === "cortex") assert.strictEqual(Result.getOrNull(ofCortex(text)), text)
    }
  })

  const respelled: ReadonlyArray<readonly [string, string]> = [
    ['"\\u001F"', '"\\u001f"'],
    ['"\\u0009\\u000B"', '"\\t\\u000b"'],
    ['"\\/\\u0041\\u007f"', '"/A\u007f"'],
    ['"\\ud83d\\ude00\\u2028"', '"😀\u2028"'],
    ['{"\\u0062":1,"a":2}', '{"a":2,"b":1}'],
    ['{"\\"":1,"!":2}', '{"!":2,"\\"":1}'],
    ['{"😀":1,"\uffff":2}', '{"\uffff":2,"😀":1}'],
    ["[1 ]", "[1]"],
    ["[1.50]", "[1.5]"]
  ]
  for (const [text, form] of respelled) {
    it(`writes ${text} as ${form}`, () => {
      assert.strictEqual(Result.getOrNull(fromText(text)), form)
      assert.strictEqual(Result.getOrNull(fromText(form)), form)
      assert.strictEqual(Result.getOrNull(ofCortex(text)), form)
    })
  }

  it.prop(
    "answers every damaged text, and throws at none",
    [json, Arbitrary.schema(Schema.Natural), Arbitrary.schema(Schema.String)],
    ([value, place, patch]) => {
      const sound = spreadOut(value)
      const at = place % sound.length
      const text = sound.slice(0, at) + patch.slice(0, 1) + sound.slice(at + 1)
      const form = fromText(text)
      if (Result.isFailure(form)) assert.isNotEmpty(form.failure.message)
      else assert.strictEqual(Result.getOrNull(fromText(form.success)), form.success)
      if (Result.isSuccess(form)) assert.isTrue(Result.isSuccess(ofCortex(text)))
      assert.isTrue(Result.isResult(fromText(text, { numbers: "cortex" })))
    },
    { arbitrary: { runs: 1000 } }
  )

  it.prop("is the form of what JSON.stringify gives", [json, double], ([value, number]) => {
    for (const numbers of ["lossless", "cortex"] as const) {
      for (const each of [value, number, { value, number }]) {
        const ofText = fromText(JSON.stringify(each), { numbers })
        const ofValue = fromValue(each, { numbers })
        assert.strictEqual(Result.getOrNull(ofValue), Result.getOrNull(ofText))
        if (Result.isSuccess(ofValue) || Result.isSuccess(ofText)) continue
        assert.strictEqual(ofValue.failure.reason, ofText.failure.reason)
      }
    }
  })

  it.prop("agrees with the definition on whole numbers", [json], ([value]) => {
    const whole: Schema.Json = JSON.parse(JSON.stringify(value), (_, inner) =>
      typeof inner === "number" ? Math.round(inner) % 2 ** 53 || 0 : inner
    )
    assert.strictEqual(Result.getOrNull(fromValue(whole)), textbook(whole))
    assert.strictEqual(Result.getOrNull(fromText(spreadOut(whole))), textbook(whole))
    assert.strictEqual(Result.getOrNull(ofCortex(spreadOut(whole))), textbook(whole))
  })

  it.prop("quotes as JSON.stringify, and no lone surrogate", [Schema.String], ([text]) => {
    if (text.isWellFormed()) assert.strictEqual(CanonicalJson.quote(text), JSON.stringify(text))
    else assert.throws(() => CanonicalJson.quote(text))
    assert.strictEqual(CanonicalJson.quote("\u007f\u2028\u2029/"), '"\u007f\u2028\u2029/"')
  })

  it("writes __proto__ and other names of Object's own as ordinary members", () => {
    const text = '{"toString":1,"__proto__":{"x":1},"constructor":2}'
    const form = '{"__proto__":{"x":1},"constructor":2,"toString":1}'
    assert.strictEqual(Result.getOrNull(fromText(text)), form)
    assert.strictEqual(Result.getOrNull(fromValue(JSON.parse(text))), form)
  })

  it("writes very wide and very deep values", () => {
    const count = 100_000
    const wide = Object.fromEntries(
      Array.from({ length: count }, (_, i) => [`k${(i * 7919) % count}`, i])
    )
    const names = Object.keys(wide).toSorted()
    const form = `{${names.map((name) => `"${name}":${wide[name]}`).join()}}`
    assert.strictEqual(Result.getOrNull(fromValue(wide)), form)
    assert.strictEqual(Result.getOrNull(fromText(JSON.stringify(wide))), form)
    let deep: Schema.Json = 0
    for (let depth = 0; depth < CanonicalJson.nestingMax; depth++) deep = { a: deep }
    assert.strictEqual(Result.getOrNull(fromValue(deep)), JSON.stringify(deep))
    const error = errorOf(fromValue({ a: deep }))
    assert.strictEqual(error.reason, "too_deep")
    assert.strictEqual(error.path, "/a".repeat(CanonicalJson.nestingMax))
  })

  it("refuses bytes that are not UTF-8, and a byte order mark", () => {
    const invalid = errorOf(fromText(Uint8Array.of(0x22, 0xc3, 0xa9, 0xff, 0x22)))
    assert.deepStrictEqual([invalid.reason, invalid.offset], ["invalid_utf8", 3])
    const marked = errorOf(fromText(encoder.encode("\ufeff{}")))
    assert.deepStrictEqual([marked.reason, marked.offset], ["bom", 0])
  })
})

const cyclic: Array<unknown> = [1]
cyclic.push({ again: cyclic })

const thrower = {
  get inner(): unknown {
    throw new Error("no such table")
  }
}

describe("CanonicalJson.fromValue", () => {
  const refused: ReadonlyArray<readonly [string, unknown, string, string]> = [
    ["nothing", undefined, "not_json_value", ""],
    ["an undefined member", { a: [{ b: undefined }] }, "not_json_value", "/a/0/b"],
    ["a hole in an array", { a: Array(3) }, "not_json_value", "/a/0"],
    ["a function", [() => 1], "not_json_value", "/0"],
    ["a symbol", { "a/b": Symbol("x") }, "not_json_value", "/a~1b"],
    ["NaN", [1, Number.NaN], "not_json_value", "/1"],
    ["an infinity", { a: -Infinity }, "not_json_value", "/a"],
    ["a boxed NaN", { a: Object(Number.NaN) }, "not_json_value", "/a"],
    ["a bigint", { a: 1n }, "not_json_value", "/a"],
    ["a boxed bigint", { a: Object(1n) }, "not_json_value", "/a"],
    ["a lone surrogate", { a: ["\ud800"] }, "lone_surrogate", "/a/0"],
    ["a lone surrogate in a name", { a: { "\udc00": 1 } }, "lone_surrogate", "/a/\ufffd"],
    ["a cycle", { a: cyclic }, "cycle", "/a/1/again"],
    ["a getter that throws", { a: thrower }, "threw", "/a/inner"],
    ["a toJSON that throws", { a: { toJSON: () => thrower.inner } }, "threw", "/a"],
    ["a toJSON that gives nothing", { a: { toJSON: () => undefined } }, "not_json_value", "/a"]
  ]
  for (const [name, value, reason, path] of refused) {
    it(`refuses ${name} with its path`, () => {
      const error = errorOf(fromValue(value))
      assert.deepStrictEqual([error.reason, error.path, error.offset], [reason, path, null])
    })
  }

  it("refuses whatever was thrown, also what throws when it is looked at", () => {
    const thrown = [
      Object.defineProperty(new Error("x"), "message", { get: () => thrower.inner }),
      Object.defineProperty(new Error("x"), "message", { value: 5 }),
      new Proxy({}, { getPrototypeOf: () => Object(thrower.inner) }),
      Object.create(null),
      undefined
    ]
    for (const cause of thrown) {
      const toJSON = () => {
        throw cause
      }
      const { actual, path, reason } = errorOf(fromValue([{ toJSON }]))
      assert.deepStrictEqual([reason, path, actual], ["threw", "/0", "something thrown"])
    }
  })

  class Named {
    readonly a = 1
    get [Symbol.toStringTag](): string {
      return "Number"
    }
  }

  const shared = { z: 1 }
  const stringified: ReadonlyArray<readonly [string, unknown]> = [
    ["a date", { at: new Date(86_400_000) }],
    ["an invalid date", [new Date(Number.NaN)]],
    ["boxed primitives", [Object(1), Object("a"), Object(false)]],
    ["a toJSON that sees its key", { a: [{ toJSON: (key: string) => ({ key }) }] }],
    ["a function with toJSON", [Object.assign(() => 1, { toJSON: () => "f" })]],
    ["an object that calls itself Number", new Named()],
    ["the same object twice", [shared, shared]],
    ["members named by symbols", { [Symbol("s")]: 1, a: 2 }],
    ["members not enumerable", Object.defineProperty({ a: 1 }, "b", { value: 2 })],
    ["a map", { a: new Map([[1, 2]]) }],
    ["bytes", Uint8Array.of(1, 2)],
    ["negative zero", [-0]],
    ["great and small numbers", [1e21, 1e20, 2 ** 53, 1.5e300, 1.2e-6, 1e-7, 5e-324, 0.1]],
    ["no members and no elements", [{}, [], Object.create(null)]]
  ]
  for (const [name, value] of stringified) {
    it(`writes ${name} as JSON.stringify does`, () => {
      const text = Result.getOrThrow(fromText(JSON.stringify(value)))
      assert.strictEqual(Result.getOrThrow(fromValue(value)), text)
    })
  }

  it("writes raw JSON where the engine has it", () => {
    const rawJson: unknown = Reflect.get(JSON, "rawJSON")
    if (typeof rawJson !== "function") return
    const value = { a: rawJson("12345678901234567890123"), b: rawJson("1e2"), c: rawJson('"\\/"') }
    const form = '{"a":12345678901234567890123,"b":100.0,"c":"/"}'
    assert.strictEqual(Result.getOrNull(fromValue(value)), form)
    assert.strictEqual(errorOf(fromValue(value, { numbers: "cortex" })).path, "/a")
    assert.strictEqual(errorOf(fromValue([rawJson("1e400")])).reason, "number_out_of_range")
  })
})
