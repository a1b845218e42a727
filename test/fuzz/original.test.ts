/**
 * The original and this library, asked the same: they agree on every text, row, time and id, but
 * for what is refused on purpose. Runs only where `CORTEX_ORACLE` names the program.
 */
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Json from "../../src/core/CanonicalJson.ts"
import * as EventId from "../../src/core/EventId.ts"
import * as Hashes from "../../src/core/Hashes.ts"
import * as Row from "../../src/core/Row.ts"
import * as Timestamp from "../../src/core/Timestamp.ts"
import { text, utf8 } from "../core/history.ts"
import { timeoutMillis } from "./choices.ts"
import type { Choices } from "./choices.ts"
import * as Texts from "./jsonTexts.ts"
import { goldenLines, goldenRows, goldenTexts, inputsOf, mutated } from "./mutations.ts"
import type { Answer } from "./original.ts"
import { compare, count, isRefused, program, show } from "./original.ts"
import { cortexLine, segmentLine } from "./rows.ts"
import { brokenTime, timeText } from "./timestamps.ts"
import { originalRow } from "./written.ts"

/** Bytes as text, lone surrogates and all else that is no UTF-8 replaced: both are asked for text. */
const asText = (bytes: Uint8Array): string => text(bytes).toWellFormed()

const jsonOf = (c: Choices): string => {
  const kind = c.below(6)
  if (kind === 0) return Texts.broken(c, Texts.jsonText(c)).toWellFormed()
  if (kind === 1) return asText(mutated(c, c.pick(goldenTexts), goldenTexts))
  if (kind === 2) return Texts.numberText(c)
  return (kind === 3 ? Texts.tidyText(c) : Texts.jsonText(c)).toWellFormed()
}

const rowOf = (c: Choices): string => {
  const kind = c.below(4)
  if (kind === 0) return asText(segmentLine(c))
  if (kind === 1) return asText(mutated(c, c.pick(goldenRows), goldenRows))
  if (kind === 2) return asText(mutated(c, c.pick(goldenLines), goldenLines))
  return asText(cortexLine(c))
}

const judgeJson = (json: string, answer: Answer): void => {
  const ours = Json.ofCortex(json)
  assert.strictEqual(Result.isFailure(ours), isRefused(answer), String(ours))
  const kept = Json.fromText(json, { numbers: "cortex" })
  if (Result.isFailure(ours)) {
    count("texts that both refuse")
    assert.isTrue(Result.isFailure(kept))
    return
  }
  count("texts that both read")
  assert.strictEqual(ours.success, answer["canonical"])
  assert.strictEqual(Hashes.payloadHash(Hashes.noble, ours.success), answer["payload_hash"])
  if (Result.isSuccess(kept)) assert.strictEqual(kept.success, ours.success)
  else {
    const { reason } = kept.failure
    assert.oneOf(reason, ["duplicate_member", "number_respelled", "too_deep"])
    count(`texts that the original reads and we do not write for it: ${reason}`)
  }
}

const own = /^\/?(?:parent_id|keys|prev_line_hash|batch|crc32c)\b/
const accident = /^\/?(?:source|event_type|signature)$/
const strange = /^\/signature\/(?!(?:schema_version|key_id|signed_at|bytes)\b)/

/** Why a row that the original reads is refused here; undefined where nothing says why it should. */
const deviation = ({ actual, expected, kind, place }: Row.RowInvalid): string | undefined => {
  if (kind === "payload_ambiguous") return "it has two readings"
  if (kind === "crc_mismatch" || own.test(place)) return "a member of ours holds what it never does"
  if (accident.test(place) && /^(?:an array|an object|\d+)$/.test(actual)) {
    return "an accident of the original's decoder"
  }
  const isStrict = /^a number in the range of a double$|nested arrays and objects$/.test(expected)
  // The original passes such members over without reading them.
  return isStrict && strange.test(place) ? "a stranger in the signature is not strict" : undefined
}

const judgeRow = (row: string, answer: Answer): void => {
  const ours = Row.decode(utf8.encode(row), 1, "cortex")
  if (Result.isSuccess(ours)) {
    assert.isFalse(isRefused(answer), "read here, refused by the original")
    count("rows that both read")
    assert.strictEqual(text(originalRow(ours.success.event)), answer["row"])
    return
  }
  if (isRefused(answer)) {
    count("rows that both refuse")
    return
  }
  const why = deviation(ours.failure)
  assert.isDefined(why, ours.failure.message)
  count(`rows that the original reads and we do not: ${why}`)
}

const judgeTime = (time: string, answer: Answer): void => {
  const ours = Timestamp.parse(time)
  assert.strictEqual(Result.isFailure(ours), isRefused(answer), String(ours))
  count(isRefused(answer) ? "times that both refuse" : "times that both read")
  if (Result.isFailure(ours)) return
  assert.strictEqual(ours.success, answer["json"])
  assert.strictEqual(Timestamp.toSigning(ours.success), answer["signing"])
  const sql = Timestamp.toSql(ours.success)
  assert.strictEqual(sql, answer["sqlite"])
  const isBack = Result.getOrNull(Timestamp.fromSql(sql)) === ours.success
  assert.strictEqual(isBack, answer["sqlite_read_back"] === "same")
}

const judgeId = (id: string, answer: Answer): void => {
  const ours = id.startsWith("t") ? EventId.parseTraceId(id) : EventId.parse(id)
  assert.strictEqual(Result.getOrNull<string, unknown>(ours), answer["id"] ?? null)
  count(isRefused(answer) ? "ids that both refuse" : "ids that both read")
}

const timeOf = (c: Choices): string =>
  (c.below(3) === 0 ? brokenTime(c) : timeText(c)).toWellFormed()

const golden = [...inputsOf("ids.jsonl"), "evt_01KGE3HMFCHXRN13T2E6QT0G4N"]

const idOf = (c: Choices): string => {
  const id = c.pick(golden)
  const at = c.below(id.length + 1)
  const changed = id.slice(0, at) + Texts.someText(c) + id.slice(at + 1)
  const upper = c.below(2) === 0 ? changed : changed.toLowerCase()
  return (c.below(3) === 0 ? upper : id.replace(/[0-9A-Z]{3}$/, upper.slice(-3))).toWellFormed()
}

const wrapped = (input: string): string => JSON.stringify({ input })

describe.skipIf(program === undefined)("The original, fuzzed", () => {
  it(
    "reads, prints and hashes every JSON text as ofCortex does",
    { timeout: timeoutMillis },
    () => {
      compare(
        "texts",
        20_000,
        jsonOf,
        { args: ["canonical", "--wrapped"], question: wrapped },
        judgeJson
      )
      show()
    }
  )

  it("reads and writes every row as decode does", { timeout: timeoutMillis }, () => {
    compare("rows", 20_000, rowOf, { args: ["rows"], question: JSON.stringify }, judgeRow)
    show()
  })

  it("reads and writes every time as parse does", { timeout: timeoutMillis }, () => {
    compare("times", 20_000, timeOf, { args: ["timestamps"], question: JSON.stringify }, judgeTime)
    show()
  })

  it("reads and writes every id as parse does", { timeout: timeoutMillis }, () => {
    compare("ids", 10_000, idOf, { args: ["ids"], question: JSON.stringify }, judgeId)
    show()
  })
})
