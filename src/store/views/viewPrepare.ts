/**
 * Internal: the tables of the declared views, made ready when a ledger opens.
 *
 * A view stands as it is where the mirror knows it as it is declared, and its tables are there as they
 * would be made. All else is made anew: a view of another version or shape, and one whose tables, or
 * what the mirror knows of it, another hand has changed. It is built aside, so that readers have what
 * was there until one transaction puts the new one in its place; one that cannot take an event leaves
 * another version there that could. The names of the tables belong to the declared views: whatever
 * else had them gives them up then.
 */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import type * as ViewParts from "../../core/viewParts.ts"
import { mirrorError } from "../errors.ts"
import { transacting } from "../mirror/transacting.ts"
import type { Bound, Fold, ViewFault } from "./viewFold.ts"
import * as ViewFold from "./viewFold.ts"
import * as ViewDefinition from "./viewDefinition.ts"
import type { ViewOutdated } from "./Views.ts"
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

/** Why a view stands in another version, or with other tables; undefined where it does not. */
export const otherOf = (view: Bound, row: ViewRow): ViewOutdated | undefined =>
  ViewState.isSpoilt(row) ? undefined : ViewDefinition.outdated(view, row)

/** Whether what the mirror knows of a view can be so. One that was emptied has to take in everything. */
const isPossible = (view: Bound, row: ViewRow, head: number): boolean => {
  const { insert_only, tables } = rowOf(view, row.generation, row.seq)
  const isSame = row.tables === tables && row.insert_only === insert_only
  const isEmptied = row.seq === 0 && head > 0 && row.stale_since === null
  return !ViewState.isSpoilt(row) && isSame && row.seq <= head && !isEmptied
}

/** What is to be done so that every declared view stands. */
export interface Plan {
  readonly views: ReadonlyArray<Bound>
  /** What the mirror knows of each view, declared or not. */
  readonly stored: ReadonlyMap<string, ViewRow>
  /** To be made anew from the first row on. */
  readonly changed: ReadonlyArray<Bound>
}

/** Find what is to be done; nothing is written. */
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
    const other = row === undefined ? undefined : otherOf(view, row)
    if (other !== undefined) {
      if (onChange === "rebuild") changed.push(view)
      else return yield* other
    } else if (row === undefined || !isPossible(view, row, head)) changed.push(view)
    else if (!(yield* ViewTables.areThere(sql, view.tables, row.generation))) changed.push(view)
  }
  return { views, stored, changed }
})

/** A view that was built aside, and what is to be known of it. */
export interface Built {
  readonly view: Bound
  readonly row: ViewRow
  /** What ended it. */
  readonly fault: ViewFault | undefined
}

interface Building {
  readonly view: Bound
  readonly fold: Fold
  fault: ViewFault | undefined
}

/** One that no table that stands has indexes of. */
export const nextGeneration = (stored: ReadonlyMap<string, ViewRow>): number =>
  1 + Math.max(0, ...Array.from(stored.values(), (row) => row.generation))

/** Build the changed views aside, up to `head`; what a crash has left there of any is dropped. */
export const build = Effect.fnUntraced(function* (
  source: ViewWalk.Source,
  { changed, stored, views }: Plan,
  head: number
) {
  const { sql } = source
  const failed = mirrorError("build its views aside")
  const generation = nextGeneration(stored)
  const building = changed.map((view): Building => ({
    view,
    fold: ViewFold.into(view, ViewTables.aside),
    fault: undefined
  }))
  const begin = Effect.gen(function* () {
    yield* ViewTables.clearAside(sql, views.flatMap(ViewTables.namesOf))
    for (const { tables } of changed) {
      yield* ViewTables.create(sql, tables, ViewTables.aside, generation)
    }
  })
  yield* Effect.mapError(transacting(sql)(begin), failed)
  const take = Effect.fnUntraced(function* (rows: ReadonlyArray<ViewParts.Seen>) {
    for (const one of building) one.fault ??= yield* ViewFold.upToFault(sql, one.fold, rows)
  })
  yield* ViewWalk.eachBatch(source, 0, changed.length === 0 ? 0 : head, (rows) =>
    take(rows).pipe(
      transacting(sql),
      Effect.mapError(failed),
      Effect.andThen(ViewWalk.told(rows, head))
    )
  )
  return building.map(({ fault, view }): Built => {
    const row = rowOf(view, generation, fault === undefined ? head : fault.seq - 1)
    const reason = fault === undefined ? null : ViewFold.reasonOf(fault)
    return { view, fault, row: { ...row, stale_since: fault?.seq ?? null, stale_reason: reason } }
  })
})

/** Whether what was built has failed, and gives way to what is there of another version. */
export const givesWay = (
  { stored }: Plan,
  all: ReadonlyArray<Built>,
  { fault, view }: Built
): boolean => {
  const before = stored.get(view.name)
  if (fault === undefined || before === undefined || otherOf(view, before) === undefined)
    return false
  const others = all
    .filter((one) => one.view !== view)
    .flatMap((one) => ViewTables.namesOf(one.view))
  return !ViewState.tablesOf(before).some((table) => others.includes(table))
}

/** Put what was built in the place of what was there, in the transaction that is open. */
export const place = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  { stored, views }: Plan,
  built: ReadonlyArray<Built>
): Effect.fn.Return<void, SqlError> {
  const names = built.flatMap(({ view }) => ViewTables.namesOf(view))
  const others = views.filter((view) => !built.some((one) => one.view === view))
  const standing = others.flatMap(({ name }) => {
    const row = stored.get(name)
    return row === undefined ? [] : ViewState.tablesOf(row)
  })
  const claimed = new Set([...names, ...standing])
  const isDeclared = ({ name }: ViewRow) => views.some((view) => view.name === name)
  const gone = [...stored.values()].filter(
    (row) => !isDeclared(row) && ViewState.tablesOf(row).some((table) => claimed.has(table))
  )
  const remade = built.flatMap(({ view }) => stored.get(view.name) ?? [])
  const old = [...gone, ...remade].flatMap(ViewState.tablesOf)
  const ended = new Set([...old.filter((table) => !standing.includes(table)), ...names])
  yield* ViewTables.drop(sql, [...ended], ViewTables.inPlace)
  yield* ViewTables.settle(sql, names)
  for (const { name } of gone) yield* ViewState.forget(sql, name)
  for (const { row } of built) yield* ViewState.put(sql, row)
})

/** As `place`, but for those that leave another version there. */
export const placeAll = (
  sql: SqlClient.SqlClient,
  plan: Plan,
  all: ReadonlyArray<Built>,
  left: ReadonlyArray<Built>
): Effect.Effect<void, SqlError> => {
  const built = all.filter((one) => !left.includes(one))
  const aside = left.flatMap(({ view }) => ViewTables.namesOf(view))
  return Effect.andThen(place(sql, plan, built), ViewTables.drop(sql, aside, ViewTables.aside))
}

/** Build what has changed, and put it in its place all at once; those that leave another version there. */
export const makeAnew = Effect.fnUntraced(function* (
  source: ViewWalk.Source,
  plan: Plan,
  head: number
) {
  const { sql } = source
  const all = yield* build(source, plan, head)
  const left = all.filter((one) => givesWay(plan, all, one))
  yield* placeAll(sql, plan, all, left).pipe(
    transacting(sql),
    Effect.mapError(mirrorError("make its views anew"))
  )
  return left
})
