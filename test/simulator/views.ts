/**
 * Two views of what the simulator appends, in as many versions as are asked for, and whether their
 * tables hold what the same folds make of the events that are there.
 */
import { Effect, Schema, Stream } from "effect"
import * as View from "../../src/core/View.ts"
import type { Ledger } from "../../src/store/Ledger.ts"
import { contradiction } from "./Model.ts"

/** How many events of each length were seen; so many as the version says take the row away. */
const lengths = (version: number) =>
  View.make({
    name: "lengths",
    version,
    row: Schema.Struct({ length: Schema.Int, events: Schema.Int }),
    columns: { length: "INTEGER NOT NULL", events: "INTEGER NOT NULL" },
    key: ["length"],
    keysOf: ({ event: { payloadText } }) => [{ length: payloadText.length % 5 }],
    fold: (row, _fact, { length }) =>
      row?.events === 1 + version ? undefined : { length, events: (row?.events ?? 0) + 1 }
  })

const names = (version: number) =>
  View.perEvent({
    name: "names",
    version,
    row: Schema.Struct({ id: Schema.String, payload: Schema.String }),
    columns: { id: "TEXT NOT NULL", payload: "TEXT NOT NULL" },
    rowsOf: ({ event: { id, payloadText: payload } }) =>
      payload.length % 2 === version % 2 ? [{ id, payload }] : []
  })

export const viewsOf = (version: number) => [lengths(version), names(version)] as const

const text = (rows: ReadonlyArray<object>) =>
  rows.map((row) => JSON.stringify({ ...row })).toSorted()

/** Both tables against their model. */
export const checkViews = Effect.fnUntraced(function* (
  ledger: Ledger["Service"],
  [lengths, names]: ReturnType<typeof viewsOf>
) {
  const events = yield* Stream.runCollect(ledger.events())
  const held = [
    yield* ledger.query((sql) => sql<object>`SELECT length, events FROM lengths`),
    yield* ledger.query((sql) => sql<object>`SELECT id, payload FROM names`)
  ]
  for (const status of yield* ledger.views) {
    if (status.stale !== null || status.seq !== events.length) {
      contradiction(`of ${events.length} rows a view has ${JSON.stringify(status)}`)
    }
  }
  const models = [View.table(lengths, events), View.table(names, events)]
  for (const [nth, rows] of held.entries()) {
    const [found, wanted] = [text(rows).join("\n"), text(models[nth] ?? []).join("\n")]
    if (found !== wanted) contradiction(`a view holds\n${found}\nbut its events make\n${wanted}`)
  }
})
