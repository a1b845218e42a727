/** Rows from SQL beside events: any value in any column is a difference, and respellings are none. */
import { assert, describe } from "@effect/vitest"
import { Result } from "effect"
import type { Event } from "../../src/core/Event.ts"
import type { MirrorRow } from "../../src/core/Parity.ts"
import * as Parity from "../../src/core/Parity.ts"
import * as Row from "../../src/core/Row.ts"
import { linesOf, utf8, vector } from "../core/history.ts"
import { fuzz, showText } from "./choices.ts"
import type { Choices } from "./choices.ts"
import * as Texts from "./jsonTexts.ts"
import { brokenTime } from "./timestamps.ts"

const events: ReadonlyArray<Event> = linesOf(vector("log-unsigned.jsonl")).map(
  ({ bytes, number }) => Result.getOrThrow(Row.decode(bytes, number, "cortex")).event
)

const withMembers = events.filter(({ payloadText }) => payloadText.startsWith('{"'))

type Column = (typeof Parity.columns)[number]

interface Changed {
  readonly event: Event
  readonly column: Column
  readonly value: unknown
}

/** What `node:sqlite` may give for a column, whatever type it was made with. */
const sqlValue = (c: Choices): unknown =>
  c.pick<() => unknown>([
    () => null,
    () => c.below(10),
    () => 1.5,
    () => Infinity,
    () => 2n ** 63n - 1n,
    () => c.bytes(c.below(4)),
    () => utf8.encode(Texts.someText(c).toWellFormed()),
    () => Texts.someText(c),
    () => Texts.jsonText(c),
    () => Texts.broken(c, Texts.jsonText(c)),
    () => brokenTime(c)
  ])()

const changed = (c: Choices): Changed => ({
  event: c.pick(events),
  column: c.pick(Parity.columns),
  value: sqlValue(c)
})

// A row comes from SQL, which keeps to no type that is stated here.
const withValue = (row: MirrorRow, column: Column, value: unknown): MirrorRow =>
  Object.assign(Object.create(null), row, { [column]: value })

const show = ({ column, event, value }: Changed): string =>
  `${event.id} with ${column} ${typeof value} ${showText(String(value))}`

/** The same JSON in another spelling. */
const respelled = (c: Choices, json: string): string =>
  json.replaceAll(/"(?:[^"\\]|\\.)*"|[[\]{},:]/g, (token) => {
    const gap = () => (c.once(3) ? c.pick([" ", "\n", "\t "]) : "")
    if (token.length === 1) return `${gap()}${token}${gap()}`
    const again = c.below(2) === 0 ? token : Texts.spelled(c, String(JSON.parse(token)))
    // Half a pair raw and half of it escaped: SQL would not hold it.
    return again.isWellFormed() ? again : token
  })

const jsonObjects = ["source_json", "payload_json"] as const
const jsonColumns = ["source_json", "domain_tags_json", "payload_json"] as const

const found = { same: 0, different: 0 }

describe("Parity, fuzzed", () => {
  fuzz(
    "any value in any column is told, and counted in a report",
    { cases: 4_000, generate: changed, show },
    ({ column, event, value }) => {
      const row = Parity.rowOf(event)
      const other = withValue(row, column, value)
      const differs = Parity.differences(event, other)
      found[differs.length === 0 ? "same" : "different"]++
      if (typeof value !== typeof row[column]) assert.deepStrictEqual(differs, [column])
      for (const name of differs) assert.strictEqual(name, column)
      const report = Parity.diff([event], [other])
      const isOwn = other.id === event.id
      assert.strictEqual(report.mismatchedCount, isOwn ? differs.length : 0)
      assert.strictEqual(report.missingInSqliteCount, isOwn ? 0 : 1)
      assert.strictEqual(report.missingInJsonlCount, isOwn ? 0 : 1)
      assert.strictEqual(report.isConsistent, differs.length === 0)
      assert.isString(JSON.stringify(report))
    },
    () => Object.entries(found).forEach(([name, count]) => assert.isAbove(count, 20, name))
  )

  fuzz(
    "JSON with a member twice has two readings, so it is never the same",
    {
      cases: 200,
      generate: (c) => {
        const [event, column] = [c.pick(withMembers), c.pick(jsonObjects)]
        const value = Parity.rowOf(event)[column].replace(/^\{(.+)\}$/, "{$1,$1}")
        return { event, column, value }
      },
      show
    },
    ({ column, event, value }) => {
      const other = withValue(Parity.rowOf(event), column, value)
      assert.deepStrictEqual(Parity.differences(event, other), [column])
    }
  )

  fuzz(
    "JSON in another spelling is the same, whatever the spelling",
    {
      cases: 3_000,
      generate: (c) => {
        const [event, column] = [c.pick(events), c.pick(jsonColumns)]
        return { event, column, value: respelled(c, Parity.rowOf(event)[column]) }
      },
      show
    },
    ({ column, event, value }) => {
      const other = withValue(Parity.rowOf(event), column, value)
      assert.deepStrictEqual(Parity.differences(event, other), [])
    }
  )
})
