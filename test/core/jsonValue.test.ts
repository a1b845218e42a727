import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { valueOf } from "../../src/core/jsonValue.ts"
import * as Arbitraries from "../../src/testing/Arbitraries.ts"

/** From the grammar, one character after the other; names and strings by their escapes. */
const textbook = (text: string): unknown => {
  let at = 0
  const escapes = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" }
  const space = () => {
    while (" \t\r\n".includes(text.charAt(at)) && at < text.length) at++
  }
  const string = (): string => {
    let read = ""
    for (at++; text.charAt(at) !== '"'; at++) {
      if (text.charAt(at) !== "\\") {
        read += text.charAt(at)
        continue
      }
      const kind = text.charAt(++at)
      if (kind === "u") {
        read += String.fromCharCode(Number.parseInt(text.slice(at + 1, at + 5), 16))
        at += 4
      } else read += Reflect.get(escapes, kind)
    }
    at++
    return read
  }
  const value = (): unknown => {
    space()
    const first = text.charAt(at)
    if (first === '"') return string()
    if (first === "[") {
      const items: Array<unknown> = []
      at++
      space()
      while (text.charAt(at) !== "]") {
        items.push(value())
        space()
        if (text.charAt(at) === ",") at++
        space()
      }
      at++
      return items
    }
    if (first === "{") {
      const entries = new Map<string, unknown>()
      at++
      space()
      while (text.charAt(at) !== "}") {
        const name = string()
        space()
        at++
        entries.set(name, value())
        space()
        if (text.charAt(at) === ",") at++
        space()
      }
      at++
      return Object.fromEntries(entries)
    }
    const start = at
    while (at < text.length && !" \t\r\n,]}".includes(text.charAt(at))) at++
    const word = text.slice(start, at)
    return word === "true" ? true : word === "false" ? false : word === "null" ? null : Number(word)
  }
  return value()
}

/** What a value is, member order and `__proto__` included. */
const shape = (value: unknown): unknown =>
  Array.isArray(value)
    ? ["array", ...value.map(shape)]
    : typeof value === "object" && value !== null
      ? ["object", ...Object.keys(value).map((name) => [name, shape(Reflect.get(value, name))])]
      : Object.is(value, -0)
        ? "-0"
        : value

/** The same text with white space wherever it may stand, and letters of strings escaped. */
const spread = (text: string, gap: string, isEscaped: boolean): string =>
  text.replaceAll(/"(?:[^"\\]|\\.)*"|[[\]{},:]/g, (token) =>
    token.length > 1
      ? isEscaped
        ? token.replaceAll(
            /(?<!\\)[a-z](?=[^"]*"$)/g,
            (c) => `\\u00${c.charCodeAt(0).toString(16)}`
          )
        : token
      : `${gap}${token}${gap}`
  )

const gaps = ["", " ", "\n", "\r\n", "\t \r"]

describe("jsonValue", () => {
  it("reads names with escapes after similar ones were parsed", () => {
    // V8 13 takes the name that another object had at this place for the one that stands here.
    const names = [
      ["\\\\", "\\"],
      ['\\"', '"'],
      ["\\n", "\n"],
      ["\\/", "/"],
      ["\\u0062", "b"]
    ] as const
    for (const [escaped, name] of names) {
      for (const [other] of names) {
        JSON.parse(`[{"${other}":1},{"a":0,"${other}":1}]`)
        valueOf(`[{"${other}":1},{"a":0,"${other}":1}]`)
        const read = shape(valueOf(`[{"${escaped}":1},{"a":0,"${escaped}":[{"${escaped}":2}]}]`))
        const inner = ["array", ["object", [name, 2]]]
        const members = ["object", ["a", 0], [name, inner]]
        assert.deepStrictEqual(read, ["array", ["object", [name, 1]], members])
      }
    }
  })

  it("takes __proto__ for a member like any other", () => {
    for (const text of ['{"__proto__":{"x":1},"a":2}', '{"\\u005f_proto__":{"x":1},"a":"\\n"}']) {
      const value = Object(valueOf(text))
      assert.deepStrictEqual(Object.keys(value), ["__proto__", "a"])
      assert.strictEqual(Object.getPrototypeOf(value), Object.prototype)
      assert.strictEqual(value.x, undefined)
    }
  })

  it("reads 126 levels, in arrays and in objects", () => {
    for (const [open, close] of [
      ["[", "]"],
      ['{"\\t":', "}"]
    ] as const) {
      let value = valueOf(`${open.repeat(126)}"\\\\"${close.repeat(126)}`)
      for (let level = 0; level < 126; level++) value = Object.values(Object(value))[0]
      assert.strictEqual(value, "\\")
    }
  })

  it("reads every scalar and every empty container, with a backslash beside them", () => {
    for (const text of ["null", "true", "false", "0", "-0", "1.5e3", "[]", "{}", '""', "[[],{}]"]) {
      for (const gap of gaps) {
        const both = `${gap}[${gap}${text}${gap},${gap}"\\\\\\""${gap}]${gap}`
        assert.deepStrictEqual(shape(valueOf(both)), ["array", shape(JSON.parse(text)), '\\"'])
        assert.deepStrictEqual(shape(valueOf(`${gap}${text}${gap}`)), shape(JSON.parse(text)))
      }
    }
    assert.strictEqual(valueOf('"\\ud83d\\ude00"'), "😀")
  })

  it.prop(
    "agrees with a reader from the grammar, however the text is spelled",
    [Arbitraries.json, Schema.Literals(gaps), Schema.Boolean],
    ([value, gap, isEscaped]) => {
      const text = spread(JSON.stringify(value), gap, isEscaped)
      assert.deepStrictEqual(shape(valueOf(text)), shape(textbook(text)))
    },
    { arbitrary: { runs: 300 } }
  )

  it.prop(
    "equals JSON.parse where no name has an escape",
    [Arbitrary.array(Arbitraries.text, { maxLength: 5 }), Schema.Finite],
    ([texts, number]) => {
      const text = JSON.stringify([texts, { number, texts }])
      assert.deepStrictEqual(shape(valueOf(text)), shape(JSON.parse(text)))
    }
  )
})
