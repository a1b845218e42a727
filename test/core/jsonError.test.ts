import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { decodeUtf8, errorAt, JsonError, pointer, utf8Length } from "../../src/core/jsonError.ts"

const encoder = new TextEncoder()

describe("jsonError", () => {
  it.prop("counts UTF-8 bytes as the encoder does", [Schema.String], ([text]) => {
    assert.strictEqual(utf8Length(text), encoder.encode(text).length)
  })

  it.prop("reads back what was encoded, byte order mark and all", [Schema.String], ([text]) => {
    const wellFormed = `\ufeff${text.toWellFormed()}`
    assert.strictEqual(decodeUtf8(encoder.encode(wellFormed)), wellFormed)
  })

  const invalid: ReadonlyArray<readonly [string, ReadonlyArray<number>, number]> = [
    ["a lone continuation", [0x22, 0x80], 1],
    ["a cut sequence", [0x22, 0xe2, 0x82, 0x22], 1],
    ["a cut sequence at the end", [0x22, 0xf0, 0x9f, 0x98], 1],
    ["an overlong form", [0xc0, 0xaf], 0],
    ["a surrogate", [0x22, 0xed, 0xa0, 0x80], 1],
    ["a byte that never occurs", [0xc3, 0xa9, 0xf0, 0x9f, 0x98, 0x80, 0xff], 6],
    ["a byte after a genuine U+FFFD", [0xef, 0xbf, 0xbd, 0xfe], 3]
  ]
  for (const [name, bytes, offset] of invalid) {
    it(`names the offset of ${name}`, () => {
      const error = decodeUtf8(Uint8Array.from(bytes))
      assert.instanceOf(error, JsonError)
      assert.strictEqual(error.reason, "invalid_utf8")
      assert.strictEqual(error.offset, offset)
    })
  }

  it("escapes and cuts the names in a pointer", () => {
    assert.strictEqual(pointer([]), "")
    assert.strictEqual(pointer(["a/b", 0, "m~n", ""]), "/a~1b/0/m~0n/")
    assert.strictEqual(pointer(["x".repeat(100)]), `/${"x".repeat(64)}…`)
  })

  it("finds the path and the byte offset of any place", () => {
    const text = ' {"é":[1,{"a":"]}","b\\"":[[],[2]]}],"c":{}}'
    const at = (index: number) => errorAt(text, index, "syntax", "x", "y")
    assert.strictEqual(at(text.indexOf("1")).path, "/é/0")
    assert.strictEqual(at(text.indexOf("]}")).path, "/é/1/a")
    assert.strictEqual(at(text.indexOf("2")).path, '/é/1/b"/1/0')
    assert.strictEqual(at(text.indexOf("2")).offset, encoder.encode(text.split("2")[0]).length)
    assert.strictEqual(at(text.indexOf("{}")).path, "/c")
    assert.strictEqual(at(text.length).path, "")
  })

  it("says what, where and what was expected", () => {
    const error = errorAt('{"a":[tru]}', 6, "syntax", "a value", "'t'")
    assert.strictEqual(
      error.message,
      "JSON refused at /a/0, byte 6 (syntax): expected a value, got 't'"
    )
  })
})
