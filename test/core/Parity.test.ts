import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Result } from "effect"
import type { MirrorRow } from "../../src/core/Parity.ts"
import * as Parity from "../../src/core/Parity.ts"
import type * as Event from "../../src/core/Event.ts"
import * as Row from "../../src/core/Row.ts"
import * as Arbitraries from "../../src/testing/Arbitraries.ts"
import { ledgerOf, linesOf, natural, text, vector } from "./history.ts"

const eventsOf = (bytes: Uint8Array, format: Row.Format): ReadonlyArray<Event.Event> =>
  linesOf(bytes).map(
    (line, nth) => Result.getOrThrow(Row.decode(line.bytes, nth + 1, format)).event
  )

const golden = eventsOf(vector("log-unsigned.jsonl"), "cortex")

const goldenRows: ReadonlyArray<{ readonly [column: string]: string | null }> = JSON.parse(
  text(vector("mirror-rows.json"))
).rows

/** An event whose columns have something to respell, and its row. */
const [event] = eventsOf(
  ledgerOf([
    [
      {
        type: "cortex.event.tool_call.v1",
        payloadText: '{"a":[1,2.5],"b":"é"}',
        source: { type: "tool", name: "x" },
        domainTags: ["a", "b"],
        traceId: "trc_01KGE3HWGSVGR373D9ST0BDJ94",
        sessionId: "s",
        observedAt: "2026-04-01T10:00:00.123456789Z"
      }
    ]
  ]).bytes,
  "segments"
)
if (event === undefined) throw new Error("no event")
const row = Parity.rowOf(event)

/** Other spellings of the same row, as the original reads them. */
const same: ReadonlyArray<readonly [why: string, changes: Partial<MirrorRow>]> = [
  ["the row itself", {}],
  ["Z for +00:00", { observed_at: "2026-04-01T10:00:00.123456789Z" }],
  ["another offset", { observed_at: "2026-04-01T12:00:00.123456789+02:00" }],
  ["a space for T", { recorded_at: row.recorded_at.replace("T", " ") }],
  ["spacing in a payload", { payload_json: ' {"a" : [1, 2.5],"b":"é"}\n' }],
  ["member order in a payload", { payload_json: '{"b":"é","a":[1,2.5]}' }],
  ["escapes in a payload", { payload_json: '{"\\u0061":[1,2.5],"b":"\\u00e9"}' }],
  ["another spelling of a double", { payload_json: '{"a":[1,25e-1],"b":"é"}' }],
  ["spacing and order in a source", { source_json: '{ "name":"x", "type":"tool" }' }],
  ["spacing in tags", { domain_tags_json: '[ "a", "b" ]' }],
  ["a trace in lower case", { trace_id: "trc_01kge3hwgsvgr373d9st0bdj94" }]
]

/** Rows that say something else. */
const other: ReadonlyArray<readonly [column: keyof MirrorRow, value: string | number | null]> = [
  ["schema_version", 1],
  ["observed_at", "2026-04-01T10:00:00.123456788+00:00"],
  ["observed_at", "2026-04-01T10:00:00.123456+00:00"],
  ["observed_at", "not a time"],
  ["recorded_at", "2026-04-01"],
  ["source_json", '{"type":"tool","name":"y"}'],
  ["source_json", '{"type":"user"}'],
  ["source_json", "{"],
  ["event_type", "cortex.event.tool_result.v1"],
  ["event_type", "CORTEX.event.tool_call.v1"],
  ["trace_id", "trc_01KGE3HWGSVGR373D9ST0BDJ95"],
  ["trace_id", null],
  ["session_id", "S"],
  ["session_id", ""],
  ["session_id", null],
  ["domain_tags_json", '["b","a"]'],
  ["domain_tags_json", '["a"]'],
  ["domain_tags_json", "[]"],
  ["payload_json", '{"a":[1,2.5],"b":"e"}'],
  ["payload_json", '{"a":[1.0,2.5],"b":"é"}'],
  ["payload_json", '{"a":[2.5,1],"b":"é"}'],
  ["payload_json", '{"a":[1,2.5],"b":"é"} x'],
  ["payload_json", ""],
  // Two readings: SQLite takes the first member of a name, the original the last.
  ["payload_json", '{"a":[0],"a":[1,2.5],"b":"é"}'],
  ["payload_json", '{"a":[0],"\\u0061":[1,2.5],"b":"é"}'],
  ["source_json", '{"type":"user","type":"tool","name":"x"}'],
  // The original takes no notice of it; no event here ever says it.
  ["source_json", '{"type":"tool","name":"x","more":1}'],
  ["payload_hash", row.payload_hash.toUpperCase()],
  ["prev_event_hash", ""],
  ["event_hash", row.event_hash.toUpperCase()]
]

describe("Parity", () => {
  it("rowOf is the row that the original inserts, for every golden event", () => {
    assert.strictEqual(golden.length, goldenRows.length)
    for (const [nth, event] of golden.entries()) {
      const { source_attestation_json: _, schema_version, ...columns } = goldenRows[nth] ?? {}
      const wanted = { ...columns, schema_version: Number(schema_version) }
      assert.deepStrictEqual({ ...Parity.rowOf(event) }, wanted)
      assert.deepStrictEqual(Object.keys(Parity.rowOf(event)), [...Parity.columns])
    }
  })

  for (const [why, changes] of same) {
    it(`differences sees none in ${why}`, () => {
      assert.deepStrictEqual(Parity.differences(event, { ...row, ...changes }), [])
    })
  }

  for (const [column, value] of other) {
    it(`differences names ${column} ${JSON.stringify(value)}`, () => {
      assert.deepStrictEqual(Parity.differences(event, { ...row, [column]: value }), [column])
    })
  }

  it("differences names every column that differs, in the table's order", () => {
    const row: MirrorRow = { ...Parity.rowOf(event), event_hash: "", event_type: "", id: "" }
    assert.deepStrictEqual(Parity.differences(event, row), ["id", "event_type", "event_hash"])
  })

  it("differences compares a payload as text first, so no number is rounded away", () => {
    const payloads = (a: string, b: string) =>
      Parity.differences(Object.assign(Object.create(event), { payloadText: a }), {
        ...row,
        payload_json: b
      })
    const drifting = "2.2250738585072014e-308"
    assert.deepStrictEqual(payloads(drifting, drifting), [])
    assert.deepStrictEqual(payloads("[9007199254740993]", "[9007199254740992]"), ["payload_json"])
  })

  it.prop("a set has parity with itself", [Arbitraries.history], ([drafts]) => {
    const events = eventsOf(ledgerOf([drafts]).bytes, "segments")
    const report = Parity.diff(events, events.map(Parity.rowOf).toReversed())
    assert.isTrue(report.isConsistent)
    assert.deepInclude(report, {
      jsonlEventCount: drafts.length,
      sqliteEventCount: drafts.length,
      missingInSqlite: [],
      missingInJsonl: [],
      mismatched: []
    })
  })

  // Per event: in both, only in the journal, only in the mirror, different.
  const fates = Arbitrary.array(natural(3), { maxLength: 12 })

  it.prop(
    "diff is exact, whatever is missing on either side or differs, and counts beyond its lists",
    [fates, natural(4)],
    ([fates, listMax]) => {
      const events = eventsOf(ledgerOf([fates.map(() => ({ type: "a.v1" }))]).bytes, "segments")
      const fated = (fate: number) => events.filter((_, nth) => fates[nth] === fate)
      const ids = (fate: number) => fated(fate).map(({ id }) => id)
      const mirror = events.flatMap((event, nth) => {
        const changed = { ...Parity.rowOf(event), event_hash: "00" }
        return fates[nth] === 1 ? [] : [fates[nth] === 3 ? changed : Parity.rowOf(event)]
      })
      const journal = events.filter((_, nth) => fates[nth] !== 2)
      const mismatched = fated(3)
        .map(({ id, eventHash }) => ({ id, jsonlEventHash: eventHash, sqliteEventHash: "00" }))
        .toSorted((a, b) => (a.id < b.id ? -1 : 1))
      const counts = {
        jsonlEventCount: journal.length,
        sqliteEventCount: mirror.length,
        missingInSqliteCount: ids(1).length,
        missingInJsonlCount: ids(2).length,
        mismatchedCount: mismatched.length,
        isConsistent: fates.every((fate) => fate === 0)
      }
      const whole = Parity.diff(journal, mirror)
      assert.deepInclude(whole, {
        ...counts,
        missingInSqlite: ids(1).toSorted(),
        missingInJsonl: ids(2).toSorted(),
        mismatched
      })
      const short = Parity.diff(journal, mirror, listMax)
      assert.deepInclude(short, counts)
      assert.deepStrictEqual(short.missingInSqlite, ids(1).slice(0, listMax).toSorted())
      assert.isAtMost(short.mismatched.length, listMax)
      assert.isAtMost(short.missingInJsonl.length, listMax)
    }
  )
})
