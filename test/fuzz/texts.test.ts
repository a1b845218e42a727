/** Times, ids and the names of segments. */
import { assert, describe } from "@effect/vitest"
import { Result } from "effect"
import * as EventId from "../../src/core/EventId.ts"
import * as Segment from "../../src/core/Segment.ts"
import * as Timestamp from "../../src/core/Timestamp.ts"
import { fuzz, showText } from "./choices.ts"
import type { Choices } from "./choices.ts"
import * as Texts from "./jsonTexts.ts"
import { inputsOf } from "./mutations.ts"
import { brokenTime, timeText } from "./timestamps.ts"

const messageMax = 500

const times = inputsOf("timestamps.jsonl")
const ids = inputsOf("ids.jsonl")

const someTime = (c: Choices): string => {
  const kind = c.below(4)
  if (kind === 0) return brokenTime(c)
  if (kind === 1) return Texts.broken(c, c.pick(times))
  return timeText(c)
}

let read = 0

const ordinary = /^\d{4}-\d\d-\d\dT\d\d:\d\d:[0-5]\dZ$/

/** Whether the calendar has this time; `Date` rolls a day over that no month has. */
const isReal = (text: string): boolean => {
  const date = new Date(text)
  return !Number.isNaN(date.getTime()) && date.toISOString() === text.replace("Z", ".000Z")
}

const compareTime = (text: string): void => {
  const parsed = Timestamp.parse(text)
  if (ordinary.test(text)) assert.strictEqual(Result.isSuccess(parsed), isReal(text))
  const strict = Timestamp.fromSql(text)
  assert.strictEqual(Timestamp.isCanonical(text), Result.getOrNull(parsed) === text)
  if (Result.isFailure(parsed)) {
    assert.isBelow(parsed.failure.message.length, messageMax)
    assert.isTrue(parsed.failure.message.isWellFormed())
    assert.isTrue(Result.isFailure(strict), "the strict reader takes what the lenient one refuses")
    return
  }
  read++
  const time = parsed.success
  assert.isTrue(Timestamp.isCanonical(time))
  if (Result.isSuccess(strict)) assert.strictEqual(strict.success, time)
  // The column is read back strictly where the year has four digits, and not at all elsewhere.
  const back = Timestamp.fromSql(Timestamp.toSql(time))
  assert.strictEqual(Result.getOrNull(back), /^\d/.test(time) ? time : null)
  assert.match(Timestamp.toSigning(time), /^[+-]?\d{4,6}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
  assert.strictEqual(Timestamp.compare(time, time), 0)
  const start = Timestamp.fromMillis(0)
  const order = Timestamp.compare(time, start)
  assert.strictEqual(Timestamp.compare(start, time), order === 0 ? 0 : -order)
}

const letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZilouILOU_-é\u017f\u212a😀\0 ".split("")

const someId = (c: Choices): string => {
  if (c.below(3) === 0) return Texts.broken(c, c.pick(ids))
  const ulid = Array.from({ length: 25 + c.pick([1, 1, 1, 1, 0, 2]) }, () =>
    c.pick(c.once(60) ? letters : letters.slice(0, 32))
  )
  const text = ulid.join("")
  return `${c.pick(["evt_", "trc_", "EVT_", "evt", ""])}${c.once(4) ? text.toLowerCase() : text}`
}

describe("Timestamp, fuzzed", () => {
  fuzz(
    "reads a time to what it reads as itself, leniently and strictly, or refuses it",
    { cases: 8_000, generate: someTime, show: showText },
    compareTime,
    () => assert.isAbove(read, 800)
  )

  fuzz("answers any text", { cases: 4_000, generate: Texts.someText, show: showText }, compareTime)
})

let idsRead = 0

const compareId = (
  text: string,
  parsed: Result.Result<string, EventId.IdInvalid>,
  isCanonical: (text: string) => boolean
): void => {
  assert.strictEqual(isCanonical(text), Result.getOrNull(parsed) === text)
  if (Result.isFailure(parsed)) {
    assert.isBelow(parsed.failure.message.length, messageMax)
    assert.isTrue(parsed.failure.message.isWellFormed())
    return
  }
  idsRead++
  assert.isTrue(isCanonical(parsed.success))
  // Only its case and what goes beyond 128 bits may have changed.
  const first = letters.indexOf(text.charAt(4).toUpperCase()) % 8
  assert.strictEqual(parsed.success.charAt(4), String(first))
  assert.strictEqual(parsed.success.slice(5), text.slice(5).toUpperCase())
  assert.strictEqual(parsed.success.slice(0, 4), text.slice(0, 4))
}

describe("EventId, fuzzed", () => {
  fuzz(
    "reads an id to what it reads as itself, or refuses it",
    { cases: 4_000, generate: someId, show: showText },
    (text) => {
      compareId(text, EventId.parse(text), EventId.isCanonical)
      compareId(text, EventId.parseTraceId(text), EventId.isCanonicalTraceId)
    },
    () => assert.isAbove(idsRead, 250)
  )
})

describe("Segment, fuzzed", () => {
  fuzz(
    "a name is that of one seq, and no other text is a name",
    {
      cases: 5_000,
      generate: (c) => {
        const digits = String(c.below(2) === 0 ? c.below(10) : c.below(2 ** 32) * c.below(2 ** 22))
        const usual = `${digits.padStart(16, "0")}.jsonl`
        return c.below(3) === 0 ? usual : Texts.broken(c, usual)
      },
      show: showText
    },
    (text) => {
      const seq = Segment.firstSeq(text)
      if (seq === undefined) {
        const digits = /^(\d{16})\.jsonl$/.exec(text)?.[1]
        assert.isTrue(digits === undefined || !(Number.isSafeInteger(+digits) && +digits > 0))
      } else assert.strictEqual(Segment.name(seq), text)
    }
  )
})
