import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Crc32c from "../../src/core/Crc32c.ts"
import * as Row from "../../src/core/Row.ts"
import * as rowFast from "../../src/core/rowFast.ts"
import * as Arbitraries from "../../src/testing/Arbitraries.ts"
import { ledgerOf, linesOf, natural, text, utf8 } from "./history.ts"

const tail = `,"crc32c":"00000000"}`.length

/** The line with the checksum of what it says now, so that only its spelling is judged. */
const withCrc = (body: string): Uint8Array => {
  const covered = utf8.encode(body)
  const crc = Crc32c.hex8(Crc32c.of(covered, 0, covered.byteLength))
  return utf8.encode(`${body},"crc32c":"${crc}"}`)
}

const slowly = (line: Uint8Array) =>
  Row.decodeMembers(line, text(line), 1, "segments", Row.leafHash(line))

const bodies = (bytes: Uint8Array): ReadonlyArray<string> =>
  linesOf(bytes).map((line) => text(line.bytes).slice(0, -tail))

describe("rowFast", () => {
  it.prop("reads what is written as the slow way does", [Arbitraries.history], ([drafts]) => {
    for (const body of bodies(ledgerOf([drafts]).bytes)) {
      const line = withCrc(body)
      const fast = rowFast.read(text(line), 1, Row.leafHash(line))
      const slow = Result.getOrThrow(slowly(line)).event
      if (fast !== undefined) assert.deepStrictEqual(fast, slow)
    }
  })

  it.prop(
    "never accepts what the slow way refuses, nor reads it differently",
    [Arbitraries.draft, natural(10_000), natural(3), Arbitraries.text],
    ([draft, place, removed, inserted]) => {
      for (const body of bodies(ledgerOf([[draft, draft]]).bytes)) {
        const at = place % body.length
        const changed =
          `${body.slice(0, at)}${inserted.slice(0, 4)}${body.slice(at + removed)}`.toWellFormed()
        const line = withCrc(changed)
        const fast = rowFast.read(text(line), 1, Row.leafHash(line))
        if (fast === undefined) continue
        const slow = slowly(line)
        assert.isTrue(Result.isSuccess(slow), `accepted: ${changed}`)
        if (Result.isSuccess(slow)) assert.deepStrictEqual(fast, slow.success.event)
      }
    },
    { arbitrary: { runs: 1_000 } }
  )

  it("reads an ordinary row by itself", () => {
    const [body = ""] = bodies(
      ledgerOf([[{ type: "door.opened.v1", payload: { by: "ada" }, keys: { door: "north" } }]])
        .bytes
    )
    const line = withCrc(body)
    assert.isDefined(rowFast.read(text(line), 1, Row.leafHash(line)))
  })
})
