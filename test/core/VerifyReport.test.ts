import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import type { Level } from "../../src/core/VerifyReport.ts"
import { Damaged, Failure, Intact, notProven } from "../../src/core/VerifyReport.ts"

const failure = new Failure({
  level: "seal",
  seq: 4,
  line: 6,
  eventId: "evt_1",
  path: "a.jsonl",
  offset: 812,
  reason: { kind: "hash_break", which: "payload_hash_mismatch", expected: "aa", actual: "bb" }
})

const common = {
  path: "a.jsonl",
  rows: 10,
  head: { seq: 10, leafHash: "cc", id: "evt_2", eventHash: null },
  checks: { rows: "Passed" as const, seal: "Failed" as const },
  remarks: [],
  notProven: ["x"]
}

describe("VerifyReport", () => {
  it("a failure's message names row, id, file, line, byte and both sides", () => {
    assert.strictEqual(
      failure.message,
      "row 4 (evt_1), a.jsonl:6 at byte 812: hash_break: payload_hash_mismatch, expected aa, found bb"
    )
    const reason = { kind: "orphan", expected: null, actual: 7 }
    assert.strictEqual(
      new Failure({ ...failure, eventId: "", reason }).message,
      "row 4, a.jsonl:6 at byte 812: orphan, expected null, found 7"
    )
  })

  it("reports go through JSON and come back", () => {
    const damaged = new Damaged({ ...common, failures: [failure], failureCount: 3 })
    const codec = Schema.toCodecJson(Schema.Union([Intact, Damaged]))
    for (const report of [damaged, new Intact(common)]) {
      const json = JSON.parse(JSON.stringify(Schema.encodeSync(codec)(report)))
      assert.deepStrictEqual(Schema.decodeUnknownSync(codec)(json), report)
    }
  })

  it("notProven says less the more was checked, and never that nothing is left", () => {
    const passed = (...levels: ReadonlyArray<Level>) =>
      notProven(new Map(levels.map((level) => [level, "Passed" as const])))
    assert.strictEqual(passed().length, 4)
    assert.strictEqual(passed("lines").length, 3)
    assert.strictEqual(passed("lines", "parity").length, 2)
    assert.strictEqual(
      notProven(
        new Map([
          ["lines", "Failed"],
          ["parity", "Skipped"]
        ])
      ).length,
      4
    )
    assert.include(passed("lines", "parity").join(), "cut off the end")
  })
})
