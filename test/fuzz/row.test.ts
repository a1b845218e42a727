/** Lines of a journal: one spelling, one reading, and the fast way never differs from the slow. */
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Json from "../../src/core/CanonicalJson.ts"
import * as Chain from "../../src/core/Chain.ts"
import * as Event from "../../src/core/Event.ts"
import * as Parity from "../../src/core/Parity.ts"
import * as Row from "../../src/core/Row.ts"
import * as rowFast from "../../src/core/rowFast.ts"
import * as Seal from "../../src/core/Seal.ts"
import * as Arbitraries from "../../src/testing/Arbitraries.ts"
import { ledgerOf, linesOf, now, text } from "../core/history.ts"
import { fuzz, showBytes } from "./choices.ts"
import type { Choices } from "./choices.ts"
import { goldenLines, goldenRows, mutated, rawBytes } from "./mutations.ts"
import { cortexLine, segmentLine, withCrc } from "./rows.ts"
import { originalLine, ownLine } from "./written.ts"

const seq = 7

const messageMax = 10_000

const seen = { fast: 0, slow: 0, segments: 0, cortex: 0, refused: 0, ambiguous: 0 }

/** What was read holds together, wherever it goes next. */
const assertEvent = (event: Event.Event): void => {
  assert.strictEqual(event.seq, seq)
  assert.isTrue(Result.isResult(Seal.check(event)))
  assert.isTrue(Result.isResult(Chain.extend(Chain.start, event)))
  assert.strictEqual(Json.valueOf(event.payloadText) === undefined, event.payload === undefined)
  assert.deepStrictEqual(Event.differences(event, event), [])
  assert.deepStrictEqual(Parity.differences(event, Parity.rowOf(event)), [])
  const texts = [event.type, event.payloadHash, event.sessionId, ...event.domainTags]
  for (const each of texts) assert.isTrue(each === null || each.isWellFormed())
}

const assertRefusal = (error: Row.RowInvalid): void => {
  seen.refused++
  if (error.kind === "payload_ambiguous") seen.ambiguous++
  assert.strictEqual(error.seq, seq)
  assert.isBelow(error.message.length, messageMax)
  assert.isTrue(error.message.isWellFormed())
}

const asSegments = (line: Uint8Array): void => {
  const read = Row.decode(line, seq, "segments")
  if (Result.isFailure(read)) {
    assertRefusal(read.failure)
    return
  }
  seen.segments++
  const { event } = read.success
  assertEvent(event)
  assert.deepStrictEqual(ownLine(event), line)
  assert.strictEqual(Result.getOrNull(Json.fromText(event.payloadText)), event.payloadText)
  const asCortex = Row.decode(line, seq, "cortex")
  const isCortexType = Event.cortexTypes.has(event.type)
  assert.strictEqual(Result.isSuccess(asCortex), isCortexType)
  if (Result.isSuccess(asCortex)) assert.deepStrictEqual(asCortex.success.event, event)
}

const asCortex = (line: Uint8Array): void => {
  const read = Row.decode(line, seq, "cortex")
  if (Result.isFailure(read)) {
    assertRefusal(read.failure)
    return
  }
  seen.cortex++
  const { event } = read.success
  assertEvent(event)
  const reread = Result.getOrThrow(Row.decode(originalLine(event), seq, "cortex")).event
  const spelling = { leafHash: "", observedAt: "", payloadText: "", recordedAt: "" }
  const kept = (each: Event.Event) => ({
    ...each,
    ...spelling,
    batch: each.batch?.map((n) => n + 0),
    prevLineHash: reread.prevLineHash,
    signature: each.signature && { ...each.signature, signedAt: "" }
  })
  assert.deepStrictEqual(kept(reread), kept(event))
  // Reading a number once more may change it again; all else is settled by the first time.
  const { payloadText } = event
  assert.deepStrictEqual(Parity.differences(event, Parity.rowOf({ ...reread, payloadText })), [])
}

/** Both ways of reading a line whose checksum is right. */
const compareWays = (line: Uint8Array): void => {
  const leaf = Row.leafHash(line)
  const fast = rowFast.read(text(line), seq, leaf)
  const slow = Row.decodeMembers(line, text(line), seq, "segments", leaf)
  if (Result.isSuccess(slow)) seen.slow++
  if (fast === undefined) return
  seen.fast++
  assert.isTrue(Result.isSuccess(slow), `accepted: ${String(slow)}`)
  if (Result.isSuccess(slow)) assert.deepStrictEqual(fast, slow.success.event)
}

const tailBytes = `,"crc32c":"00000000"}`.length

/** The line with a checksum that fits what became of it. */
const recalculated = (line: Uint8Array): Uint8Array => withCrc(line.subarray(0, -tailBytes))

const full = ledgerOf([
  [
    {
      type: "door.opened.v1",
      payload: { é: [1, 2.5, "x"], n: null, s: "\u2028\u007f\n" },
      source: { type: "child_agent", model: 'm"\\' },
      traceId: "trc_01KGE3HWGSVGR373D9ST0BDJ94",
      sessionId: "s",
      domainTags: ["a", "\u0085"],
      keys: { "9": "nine", "10": "ten", é: "" },
      observedAt: now
    },
    { type: "door.closed.v1", parentId: Event.idFrom("row 1"), keys: { a: "b" } }
  ],
  [{ type: "cortex.event.outcome.v1", payload: "text", domainTags: [], sessionId: null }]
])

const ownLines = linesOf(full.bytes).map((line) => line.bytes)

const readable = [...goldenRows, ...goldenLines]

const golden = (c: Choices): Uint8Array => mutated(c, c.pick(readable), readable)

describe("Row, fuzzed", () => {
  fuzz(
    "a line of a segment has one spelling, which both ways read alike",
    { cases: 3_000, generate: segmentLine, show: showBytes },
    (line) => {
      compareWays(line)
      asSegments(line)
      asCortex(line)
    },
    () => {
      assert.isAbove(seen.fast, 250)
      assert.isAbove(seen.slow - seen.fast, 100)
      assert.isAbove(seen.segments, 250)
      assert.isAbove(seen.refused, 500)
      assert.isAbove(seen.ambiguous, 10)
    }
  )

  fuzz(
    "a line of our own with a few bytes changed is read alike by both ways, whatever its checksum",
    {
      cases: 3_000,
      generate: (c) => mutated(c, c.pick(ownLines), c.once(4) ? readable : ownLines),
      show: showBytes
    },
    (line) => {
      asSegments(line)
      asCortex(line)
      const checked = recalculated(line)
      if (!text(checked).includes("\ufffd")) compareWays(checked)
      asSegments(checked)
    }
  )

  fuzz(
    "a line that the original may have written means the same when it is written again",
    { cases: 2_500, generate: cortexLine, show: showBytes },
    (line) => {
      asCortex(line)
      asSegments(line)
    },
    () => assert.isAbove(seen.cortex, 500)
  )

  fuzz(
    "a golden line with a few bytes changed is read or refused",
    { cases: 2_000, generate: golden, show: showBytes },
    (line) => {
      asCortex(line)
      asSegments(line)
    }
  )

  fuzz(
    "raw bytes are refused, as blank lines and as rows",
    { cases: 2_000, generate: rawBytes, show: showBytes },
    (line) => {
      assert.isTrue(Result.isFailure(Row.decode(line, seq, "cortex")))
      assert.isTrue(Result.isFailure(Row.decode(line, seq, "segments")))
      assert.isTrue(Result.isFailure(Row.decode(withCrc(line), seq, "segments")))
      assert.isBoolean(Chain.isBlank(line))
    }
  )

  it("every golden line is read or refused", () => {
    for (const line of readable) {
      asCortex(line)
      asSegments(line)
    }
    for (const line of ownLines) compareWays(line)
  })

  it.prop(
    "whatever is written is read by the fast way where it holds no escape",
    [Arbitraries.history],
    ([drafts]) => {
      for (const { bytes } of linesOf(ledgerOf([drafts]).bytes)) {
        compareWays(bytes)
        if (text(bytes).includes("\\")) continue
        assert.isDefined(rowFast.read(text(bytes), seq, Row.leafHash(bytes)))
      }
    }
  )
})
