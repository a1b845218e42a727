/**
 * Internal: the tables of the declared views, made ready when a ledger opens.
 *
 * A view stands as it is where the mirror knows it as it is declared, and its tables are there as they
 * would be made. All else is made anew: a view of another version or shape, and one whose tables, or
 * what the mirror knows of it, another hand has changed. It is built aside, so that readers have what
 * was there until one transaction puts the new one in its place. The names of the tables belong to the
 * declared views: whatever else had them gives them up then.
 */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import type * as ViewParts from "../../core/viewParts.ts"
import { mirrorError } from "../errors.ts"
import { transacting } from "../mirror/transacting.ts"
import type { Bound, Fold, ViewFault } from "./viewFold.ts"
import * as ViewFold from "./viewFold.ts"
import { ViewOutdated } from "./Views.ts"
import type { ViewRow } from "./viewState.ts"
import * as ViewState from "./viewState.ts"
import * as ViewTables from "./viewTables.ts"
import * as ViewWalk from "./viewWalk.ts"

/** What is to be known of a view that was made anew, up to a row. */
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

/** What is to be done so that every declared view stands. */
export interface Plan {
  /** To be made anew from the first row on. */
  readonly changed: ReadonlyArray<Bound>
  /** What their indexes are named by: no table that stands has this one. */
  readonly generation: number
  /** Views of before whose tables have names of declared ones. */
  readonly gone: ReadonlyArray<string>
  /** Tables that end with them, or with what the changed ones were. */
  readonly old: ReadonlyArray<string>
}

/** Find what is to be done, from what the mirror knows of each view; nothing is written. */
export const plan = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  views: ReadonlyArray<Bound>,
  stored: ReadonlyMap<string, ViewRow>,
  head: number,
  onChange: "rebuild" | "refuse"
): Effect.fn.Return<Plan, ViewOutdated | SqlError> {
  const changed: Array<Bound> = []
  for (const view of views) {
    const row = stored.get(view.name)
    const { name, version } = view
    if (row !== undefined && isOther(view, row)) {
      if (onChange === "rebuild") changed.push(view)
      else return yield* new ViewOutdated({ view: name, stored: row.version, declared: version })
    } else if (row === undefined || !isPossible(view, row, head)) changed.push(view)
    else if (!(yield* ViewTables.areThere(sql, view.tables, row.generation))) changed.push(view)
  }
  const claimed = new Set(views.flatMap(ViewTables.namesOf))
  const standing = new Set(
    views.filter((view) => !changed.includes(view)).flatMap(ViewTables.namesOf)
  )
  const known = [...stored.values()]
  const isNamed = ({ name }: ViewRow) => views.some((view) => view.name === name)
  const gone = known.filter(
    (row) => !isNamed(row) && ViewState.tablesOf(row).some((table) => claimed.has(table))
  )
  const remade = changed.flatMap(({ name }) => stored.get(name) ?? [])
  const old = new Set([...gone, ...remade].flatMap(ViewState.tablesOf))
  return {
    changed,
    generation: 1 + Math.max(0, ...known.map(({ generation }) => generation)),
    gone: gone.map(({ name }) => name),
    old: [...old].filter((table) => !standing.has(table))
  }
})

/** Begin the changed views aside, empty, and drop what a crash has left there of any. */
const begin = (
  sql: SqlClient.SqlClient,
  views: ReadonlyArray<Bound>,
  { changed, generation }: Plan
): Effect.Effect<void, SqlError> =>
  Effect.gen(function* () {
    yield* ViewTables.clearAside(sql, views.flatMap(ViewTables.namesOf))
    for (const { tables } of changed) {
      yield* ViewTables.create(sql, tables, ViewTables.aside, generation)
    }
  }).pipe(transacting(sql))

/** Put the changed views, of which this is known, in the place of what was there. */
const settle = (
  sql: SqlClient.SqlClient,
  { changed, gone, old }: Plan,
  rows: ReadonlyArray<ViewRow>
): Effect.Effect<void, SqlError> =>
  Effect.gen(function* () {
    yield* ViewTables.drop(sql, old, ViewTables.inPlace)
    yield* ViewTables.swap(sql, changed.flatMap(ViewTables.namesOf))
    for (const name of gone) yield* ViewState.forget(sql, name)
    for (const row of rows) yield* ViewState.put(sql, row)
  }).pipe(transacting(sql))

/** A changed view that is being built aside, and what ended that. */
interface Building {
  readonly view: Bound
  readonly fold: Fold
  fault: ViewFault | undefined
}

/** Build the changed views aside, up to `head`, then put them all in their place at once. */
export const makeAnew = Effect.fnUntraced(function* (
  source: ViewWalk.Source,
  views: ReadonlyArray<Bound>,
  plan: Plan,
  head: number
) {
  const { sql } = source
  const failed = mirrorError("make its views anew")
  yield* Effect.mapError(begin(sql, views, plan), failed)
  if (plan.changed.length + plan.gone.length === 0) return
  const building = plan.changed.map((view): Building => ({
    view,
    fold: ViewFold.into(view, ViewTables.aside),
    fault: undefined
  }))
  const take = Effect.fnUntraced(function* (rows: ReadonlyArray<ViewParts.Seen>) {
    for (const one of building) one.fault ??= yield* ViewFold.upToFault(sql, one.fold, rows)
  })
  yield* ViewWalk.eachBatch(source, 0, head, (rows) =>
    take(rows).pipe(
      transacting(sql),
      Effect.mapError(failed),
      Effect.andThen(ViewWalk.told(rows, head))
    )
  )
  const rows = building.map(({ fault, view }): ViewRow => {
    const row = rowOf(view, plan.generation, fault === undefined ? head : fault.seq - 1)
    return fault === undefined
      ? row
      : { ...row, stale_since: fault.seq, stale_reason: ViewFold.reasonOf(fault) }
  })
  yield* Effect.mapError(settle(sql, plan, rows), failed)
})
