import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Event from "../../src/core/Event.ts"
import * as View from "../../src/core/View.ts"
import * as ViewParts from "../../src/core/viewParts.ts"

const Item = Schema.Struct({ name: Schema.String, count: Schema.Int })
const Added = Event.define("item.added.v1", Item)

const declare = (more: object) => () =>
  View.make({
    name: "items",
    version: 1,
    kinds: [Added],
    row: Item,
    columns: { name: "TEXT NOT NULL", count: "INTEGER NOT NULL" },
    key: ["name"],
    keysOf: ({ payload: { name } }) => [{ name }],
    fold: (row, { payload }, key) => ({ ...key, count: (row?.count ?? 0) + payload.count }),
    ...more
  })

describe("View", () => {
  it("refuses names and columns that no table can have", () => {
    const wrong: ReadonlyArray<object> = [
      { name: "Items" },
      { name: "events" },
      { name: "sealog_items" },
      { name: "sqlite_items" },
      { name: 'a"b' },
      { name: "" },
      { version: 0 },
      { version: 1.5 },
      { columns: { name: "TEXT", seq: "INTEGER" } },
      { columns: { name: "TEXT; DROP TABLE events", count: "INTEGER" } },
      { columns: { name: "", count: "INTEGER" } },
      { columns: { count: "INTEGER" } },
      { columns: {} },
      { key: [] },
      { indexes: [["other"]] },
      { indexes: [[]] }
    ]
    for (const more of wrong) assert.throws(declare(more), RangeError)
    assert.doesNotThrow(declare({ indexes: [["count", "name"]] }))
  })

  const event = (seq: number, payload: object, type: string = Added.type) => ({
    seq,
    id: `evt_${seq}`,
    schemaVersion: 2,
    observedAt: "2026-01-01T00:00:00Z",
    recordedAt: "2026-01-01T00:00:00Z",
    source: { type: "runtime" } as const,
    type,
    traceId: null,
    sessionId: null,
    domainTags: [],
    payloadText: JSON.stringify(payload),
    payloadHash: "",
    prevEventHash: null,
    eventHash: ""
  })

  it("folds a history without SQL, and passes over what it does not see", () => {
    const rows = View.table(declare({})(), [
      event(1, { name: "a", count: 1 }),
      event(2, { name: "b", count: 2 }),
      event(3, { name: "a", count: 9 }, "other.v1"),
      event(4, { name: "a", count: 3 })
    ])
    assert.deepStrictEqual(rows, [
      { name: "a", count: 4 },
      { name: "b", count: 2 }
    ])
  })

  it("reads older versions as its kind does", () => {
    const V2 = Event.define(
      "item.added.v2",
      Schema.Struct({ ...Item.fields, unit: Schema.String }),
      {
        upcast: [Added, (old) => ({ ...old, unit: "piece" })]
      }
    )
    const units = View.perEvent({
      name: "units",
      version: 1,
      kinds: [V2],
      row: Schema.Struct({ unit: Schema.String }),
      columns: { unit: "TEXT NOT NULL" },
      rowsOf: ({ payload: { unit } }) => [{ unit }]
    })
    const old = event(1, { name: "a", count: 1 })
    const young = event(2, { name: "a", count: 1, unit: "kg" }, V2.type)
    assert.deepStrictEqual(View.table(units, [old, young]), [{ unit: "piece" }, { unit: "kg" }])
  })

  it("names the row, its column and both sides where a value is none that SQL keeps", () => {
    const values: ReadonlyArray<unknown> = [
      Number.NaN,
      Infinity,
      2 ** 53,
      "nul\0",
      "\ud800",
      undefined,
      true
    ]
    for (const value of values) {
      const view = View.make({
        name: "odd",
        version: 1,
        kinds: [Added],
        row: Schema.Struct({ name: Schema.String, value: Schema.Any }),
        columns: { name: "TEXT NOT NULL", value: "INTEGER" },
        key: ["name"],
        keysOf: ({ payload: { name } }) => [{ name }],
        fold: (_row, _fact, key) => ({ ...key, value })
      })
      const { folding } = view
      assert(folding._tag === "Keyed")
      const seen = new ViewParts.Seen(7, event(7, { name: "a", count: 1 }))
      const [change] = Result.getOrThrow(folding.changes(seen))
      const failed = change?.next(undefined)
      assert(failed !== undefined && Result.isFailure(failed), String(value))
      const { failure } = failed
      assert(failure._tag === "ViewRowInvalid")
      assert.deepStrictEqual([failure.view, failure.seq, failure.path], ["odd", 7, "/value"])
    }
  })
})
