import { assert, describe, it } from "@effect/vitest"
import { Arbitrary } from "effect"
import * as base64url from "../../src/core/base64url.ts"
import { natural } from "./history.ts"

describe("base64url", () => {
  it.prop(
    "says bytes as the platform does, and reads them back",
    [Arbitrary.array(natural(255), { maxLength: 70 })],
    ([values]) => {
      const bytes = Uint8Array.from(values)
      const written = base64url.encode(bytes)
      assert.strictEqual(written, Buffer.from(bytes).toString("base64url"))
      assert.deepStrictEqual(base64url.decode(written), bytes)
    }
  )

  it("reads its alphabet and nothing else", () => {
    for (let unit = 0; unit < 300; unit++) {
      const char = String.fromCharCode(unit)
      const isRead = base64url.decode(`AA${char}A`) !== undefined
      assert.strictEqual(isRead, /[A-Za-z0-9_-]/.test(char), char)
    }
    for (const text of ["A", "AAAAA", "AA==", "AA=", "AA A", "AA\n", "AA+A", "ＡＡ"]) {
      assert.isUndefined(base64url.decode(text), text)
    }
    // The last bits of these belong to no byte.
    assert.deepStrictEqual(base64url.decode("AP"), Uint8Array.of(0))
    assert.deepStrictEqual(base64url.decode("AAD"), Uint8Array.of(0, 0))
  })
})
