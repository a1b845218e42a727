/**
 * Internal: the tables of the declared views, made ready when a ledger opens.
 *
 * A view stands as it is where the mirror knows it as it is declared, and its tables are there as they
 * would be made. All else is made anew, empty: a view of another version or shape, and one whose
 * tables, or what the mirror knows of it, another hand has changed. The names of the tables belong to
 * the declared views: whatever else had them gives them up.
 */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import type { Bound } from "./viewFold.ts"
import { ViewOutdated } from "./Views.ts"
import type { ViewRow } from "./viewState.ts"
import * as ViewState from "./viewState.ts"
import * as ViewTables from "./viewTables.ts"

/** What is to be known of a view whose tables were made just now. */
export const rowOf = (view: Bound, generation: number, seq: number): ViewRow => ({
  name: view.name,
  version: view.version,
  definition: ViewTables.definitionOf(view),
  tables: JSON.stringify(ViewTables.namesOf(view)),
  insert_only: view.insertOnly ? 1 : 0,
  generation,
  seq,
  stale_since: null,
  stale_reason: null
})

/** Whether a view is declared otherwise than it was. */
const isOther = (view: Bound, row: ViewRow): boolean =>
  !ViewState.isSpoilt(row) &&
  (row.version !== view.version || row.definition !== ViewTables.definitionOf(view))

/** Whether what the mirror knows of a view can be so. */
const isPossible = (view: Bound, row: ViewRow, head: number): boolean => {
  const { insert_only, tables } = rowOf(view, row.generation, row.seq)
  const isSame = row.tables === tables && row.insert_only === insert_only
  return !ViewState.isSpoilt(row) && isSame && row.seq <= head
}

/** Make the views ready that are not, as the mirror knows them; the names of those that have to take in everything again. */
export const prepare = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  views: ReadonlyArray<Bound>,
  stored: ReadonlyMap<string, ViewRow>,
  head: number,
  onChange: "rebuild" | "refuse"
): Effect.fn.Return<ReadonlySet<string>, ViewOutdated | SqlError> {
  const changed: Array<Bound> = []
  for (const view of views) {
    const row = stored.get(view.name)
    const { name, version } = view
    if (row !== undefined && isOther(view, row)) {
      if (onChange === "rebuild") changed.push(view)
      else return yield* new ViewOutdated({ view: name, stored: row.version, declared: version })
    } else if (row === undefined || !isPossible(view, row, head)) changed.push(view)
    else if (!(yield* ViewTables.areThere(sql, view.tables))) changed.push(view)
  }
  const claimed = new Set(views.flatMap(ViewTables.namesOf))
  const standing = new Set(
    views.filter((view) => !changed.includes(view)).flatMap(ViewTables.namesOf)
  )
  const isNamed = ({ name }: ViewRow) => views.some((view) => view.name === name)
  const gone = [...stored.values()].filter(
    (row) => !isNamed(row) && ViewState.tablesOf(row).some((table) => claimed.has(table))
  )
  const remade = changed.flatMap(({ name }) => stored.get(name) ?? [])
  const old = [...gone, ...remade].flatMap(ViewState.tablesOf)
  const dropped = new Set([...old, ...changed.flatMap(ViewTables.namesOf)])
  yield* Effect.gen(function* () {
    // What a crash has left of a view that was being made anew.
    yield* ViewTables.drop(sql, [...claimed], ViewTables.aside)
    const ours = [...dropped].filter((table) => !standing.has(table))
    yield* ViewTables.drop(sql, ours, ViewTables.inPlace)
    for (const { name } of gone) yield* ViewState.forget(sql, name)
    for (const view of changed) {
      const generation = (stored.get(view.name)?.generation ?? 0) + 1
      yield* ViewTables.create(sql, view.tables, ViewTables.inPlace, generation)
      yield* ViewState.put(sql, rowOf(view, generation, 0))
    }
  }).pipe(sql.withTransaction)
  return new Set(changed.map(({ name }) => name))
})
