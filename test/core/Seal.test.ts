import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Event from "../../src/core/Event.ts"
import * as Draft from "../../src/core/Draft.ts"
import * as Hashes from "../../src/core/Hashes.ts"
import * as Row from "../../src/core/Row.ts"
import * as Seal from "../../src/core/Seal.ts"
import * as Arbitraries from "../../src/testing/Arbitraries.ts"
import { errorOf, ledgerOf, linesOf, now, text, utf8, vector } from "./history.ts"

const id = Event.idFrom("seal")

/** The event of a line, with some of its fields replaced. */
const eventOf = (
  line: Uint8Array,
  format: Row.Format,
  changes: Partial<Event.Event> = {}
): Event.Event => {
  const { event } = Result.getOrThrow(Row.decode(line, 1, format))
  return new Event.Event({ ...event, ...changes })
}

const cases: ReadonlyArray<{ prev: string | null; payload_hash: string; event_hash: string }> =
  text(vector("event_hash.jsonl"))
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line))

describe("Seal", () => {
  it.prop(
    "seal gives hashes of the payload's text and of the link, and check finds them right",
    [Arbitraries.draft, Schema.NullOr(Schema.Literals(["", "ab".repeat(32)]))],
    ([draft, prev]) => {
      const complete = Result.getOrThrow(Draft.complete(draft, { id, now }))
      const sealed = Seal.seal(complete, prev)
      assert.strictEqual(
        sealed.payloadHash,
        Hashes.noble.blake3Hex(utf8.encode(complete.payloadText))
      )
      assert.strictEqual(sealed.eventHash, Hashes.eventHash(Hashes.noble, prev, sealed.payloadHash))
      assert.strictEqual(sealed.prevEventHash, prev)
      const { payloadHash: _, eventHash: __, prevEventHash: ___, ...rest } = sealed
      assert.deepStrictEqual(rest, complete)
      const line = Row.encodeLine(sealed, {}).subarray(0, -1)
      if (!Event.cortexTypes.has(draft.type)) return
      assert.deepStrictEqual(Seal.check(eventOf(line, "cortex")), Result.succeed("exact"))
    }
  )

  it("checkEventHash recomputes from what the event itself states, hex or not", () => {
    const [row] = linesOf(ledgerOf([[{ type: "a.v1" }]]).bytes)
    assert.isDefined(row)
    for (const { prev: prevEventHash, payload_hash: payloadHash, event_hash } of cases) {
      const changes = { prevEventHash, payloadHash, eventHash: event_hash }
      assert.isTrue(Result.isSuccess(Seal.checkEventHash(eventOf(row.bytes, "segments", changes))))
      const upper = { ...changes, eventHash: event_hash.toUpperCase() }
      const error = errorOf(Seal.checkEventHash(eventOf(row.bytes, "segments", upper)))
      const { expected, actual, which } = error
      assert.deepStrictEqual(
        { expected, actual, which },
        { expected: event_hash, actual: event_hash.toUpperCase(), which: "event_hash" }
      )
      assert.include(error.message, event_hash)
    }
  })

  it("checkPayload takes the original's spelling only in rows without a line hash", () => {
    const payloadText = '{ "b": 1e0, "a": "\\u0061" }'
    const payloadHash = Hashes.payloadHash(Hashes.noble, '{"a":"a","b":1.0}')
    const [row] = linesOf(ledgerOf([[{ type: "a.v1" }]]).bytes)
    assert.isDefined(row)
    const changes = { payloadText, payloadHash }
    const theirs = eventOf(row.bytes, "segments", { ...changes, prevLineHash: undefined })
    assert.deepStrictEqual(Seal.checkPayload(theirs), Result.succeed("respelled"))
    const ours = errorOf(Seal.checkPayload(eventOf(row.bytes, "segments", changes)))
    assert.strictEqual(ours.expected, Hashes.payloadHash(Hashes.noble, payloadText))
    assert.strictEqual(ours.actual, payloadHash)
  })

  it("checkPayload names the original's own hash as expected in rows without a line hash", () => {
    const [row] = linesOf(ledgerOf([[{ type: "a.v1" }]]).bytes)
    assert.isDefined(row)
    const payloadText = '{"b":1,"a":2}'
    const changes = { payloadText, payloadHash: "00", prevLineHash: undefined }
    const error = errorOf(Seal.check(eventOf(row.bytes, "segments", changes)))
    assert.strictEqual(error.expected, Hashes.payloadHash(Hashes.noble, '{"a":2,"b":1}'))
    assert.strictEqual(error.which, "payload_hash")
  })

  it("check looks at the payload first, then at the link", () => {
    const [row] = linesOf(ledgerOf([[{ type: "a.v1" }]]).bytes)
    assert.isDefined(row)
    const which = (changes: Partial<Event.Event>) =>
      errorOf(Seal.check(eventOf(row.bytes, "segments", changes))).which
    assert.strictEqual(which({ payloadHash: "00", eventHash: "00" }), "payload_hash")
    assert.strictEqual(which({ eventHash: "00" }), "event_hash")
    assert.strictEqual(which({ prevEventHash: "00" }), "event_hash")
  })
})
