/**
 * Internal: folding a run of events into the tables of one view, inside an open transaction.
 *
 * Rows of a keyed view are loaded once, folded in memory in the order of the events, and written once
 * in their last state. What a view throws, fails with or makes that its table does not take is its
 * fault, told with the event that met it; what the disk does is not, and stays a `SqlError`.
 */
import { Cause, Clock, Data, Effect, Exit, Result } from "effect"
import type { SqlClient } from "effect/sql"
import { SqlError } from "effect/sql/SqlError"
import { clip } from "../../core/jsonError.ts"
import * as Timestamp from "../../core/Timestamp.ts"
import * as ViewParts from "../../core/viewParts.ts"
import { isOfDisk } from "../errors.ts"
import { lending, openOn } from "../mirror/lending.ts"
import { limited } from "../mirror/limiting.ts"
import { transacting } from "../mirror/transacting.ts"
import type { Applied } from "./ViewEffect.ts"
import * as ViewEffect from "./ViewEffect.ts"
import type { Naming, Write } from "./viewTables.ts"
import * as ViewTables from "./viewTables.ts"

/** What an effect view does with one event, and how long that may take. */
interface Limited extends Applied<never> {
  readonly millisMax: number
}

/** A view that asks for nothing more. */
export type Bound = ViewParts.Declared & {
  readonly folding: ViewParts.Keyed | ViewParts.PerEvent | Limited
}

/** A view could not take an event. */
export class ViewFault extends Data.TaggedError("ViewFault")<{
  readonly view: string
  readonly seq: number
  readonly cause: unknown
}> {}

/** Folds events, in the order of their seq, that the view sees or not. */
export type Fold = (
  sql: SqlClient.SqlClient,
  events: ReadonlyArray<ViewParts.Seen>
) => Effect.Effect<void, ViewFault | SqlError>

/**
 * What an application's function answers, or its fault where it throws or refuses. Asked twice for
 * each row, so without the runtime, which costs as much as the function.
 */
const asked = <A>(
  view: ViewParts.Declared,
  seq: number,
  answer: () => Result.Result<A, ViewParts.FoldError>
): Result.Result<A, ViewFault> => {
  const fault = (cause: unknown) => new ViewFault({ view: view.name, seq, cause })
  try {
    return Result.mapError(answer(), fault)
  } catch (cause) {
    return Result.fail(fault(cause))
  }
}

/** What the table of a view does not take is the fault of the view, what the disk does is not. */
const blaming = <A>(
  view: ViewParts.Declared,
  seq: number,
  effect: Effect.Effect<A, SqlError>
): Effect.Effect<A, ViewFault | SqlError> =>
  Effect.catchTag(effect, "SqlError", (error) =>
    Effect.fail(isOfDisk(error) ? error : new ViewFault({ view: view.name, seq, cause: error }))
  )

/**
 * All at once where the table takes whatever is put there. Where it has rules of its own, one event
 * after another: else a row that breaks them could be mended by the next event, or not, as the events
 * happen to come together.
 */
const asTableAllows = (table: ViewParts.Table, fold: Fold): Fold =>
  ViewParts.isPlain(table)
    ? fold
    : (sql, events) => Effect.forEach(events, (seen) => fold(sql, [seen]), { discard: true })

interface Held {
  readonly key: ViewParts.SqlRow
  row: ViewParts.SqlRow | undefined
  last: ViewParts.Seen | undefined
}

const keyed = (
  view: ViewParts.Declared,
  table: ViewParts.Table,
  folding: ViewParts.Keyed,
  naming: Naming
): Fold => {
  const statements = ViewTables.on(table, naming)
  const textOf = (row: ViewParts.SqlRow) => ViewParts.keyText(table.key, row)
  return asTableAllows(
    table,
    Effect.fnUntraced(function* (sql, events) {
      const first = events[0]?.seq ?? 0
      const held = new Map<string, Held>()
      const changes: Array<readonly [ViewParts.Seen, string, ViewParts.Change]> = []
      for (const seen of events) {
        const made = asked(view, seen.seq, () => folding.changes(seen))
        if (Result.isFailure(made)) return yield* made.failure
        for (const change of made.success) {
          const text = textOf(change.key)
          changes.push([seen, text, change])
          if (!held.has(text)) held.set(text, { key: change.key, row: undefined, last: undefined })
        }
      }
      if (changes.length === 0) return
      const keys = Array.from(held.values(), ({ key }) => key)
      for (const row of yield* blaming(view, first, statements.load(sql, keys))) {
        const one = held.get(textOf(row))
        if (one !== undefined) one.row = row
      }
      for (const [seen, text, change] of changes) {
        const one = held.get(text)
        if (one === undefined) continue
        const next = asked(view, seen.seq, () => change.next(one.row))
        if (Result.isFailure(next)) return yield* next.failure
        one.row = next.success
        one.last = seen
      }
      const written: Array<Write> = []
      for (const { key, last, row } of held.values()) {
        if (last !== undefined) written.push({ seq: last.seq, eventId: last.id, key, row })
      }
      yield* blaming(view, first, statements.write(sql, written))
    })
  )
}

const perEvent = (
  view: ViewParts.Declared,
  table: ViewParts.Table,
  folding: ViewParts.PerEvent,
  naming: Naming
): Fold => {
  const statements = ViewTables.on(table, naming)
  return asTableAllows(
    table,
    Effect.fnUntraced(function* (sql, events) {
      const rows: Array<ViewTables.Insert> = []
      for (const seen of events) {
        const made = asked(view, seen.seq, () => folding.rows(seen))
        if (Result.isFailure(made)) return yield* made.failure
        made.success.forEach((row, nth) => rows.push({ seq: seen.seq, eventId: seen.id, nth, row }))
      }
      const [first] = rows
      if (first !== undefined) yield* blaming(view, first.seq, statements.insert(sql, rows))
    })
  )
}

const applied = (view: ViewParts.Declared, folding: Limited, naming: Naming): Fold => {
  const names = view.tables.map(({ name }) => naming(name))
  const lend = lending(`a view, whose tables are ${names.join(", ")}`, names)
  return Effect.fnUntraced(function* (sql, events) {
    const transaction = yield* openOn(sql)
    const tables = Object.fromEntries(view.tables.map(({ name }) => [name, sql(naming(name))]))
    for (const seen of events) {
      const time = Result.getOrThrow(Timestamp.parse(seen.event.recordedAt))
      const applying = Effect.suspend(() => folding.apply(seen, sql, tables)).pipe(
        Effect.provideService(Clock.Clock, ViewEffect.clockAt(time))
      )
      // By the clock outside: that of the view stands still.
      const exit = yield* lend(sql, transaction, limited(applying, folding.millisMax))
      if (Exit.isSuccess(exit)) continue
      const cause = Cause.squash(exit.cause)
      if (cause instanceof SqlError && isOfDisk(cause)) return yield* cause
      return yield* new ViewFault({ view: view.name, seq: seen.seq, cause })
    }
  })
}

/**
 * Fold the rows that the view takes, up to the fault that ends it, if any: those behind it leave
 * nothing.
 */
export const upToFault: (
  sql: SqlClient.SqlClient,
  fold: Fold,
  rows: ReadonlyArray<ViewParts.Seen>
) => Effect.Effect<ViewFault | undefined, SqlError> = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  fold: Fold,
  rows: ReadonlyArray<ViewParts.Seen>
) {
  const folded = yield* Effect.result(transacting(sql)(fold(sql, rows)))
  if (Result.isSuccess(folded)) return undefined
  const fault = folded.failure
  if (fault._tag === "SqlError") return yield* fault
  const before = rows.filter(({ seq }) => seq < fault.seq)
  return before.length === 0 ? fault : ((yield* upToFault(sql, fold, before)) ?? fault)
})

/** Why a view failed, in a line. */
export const reasonOf = ({ cause, seq }: ViewFault): string =>
  clip(`event ${seq}: ${cause instanceof Error ? cause.message : String(cause)}`, 500)

/** How to fold into the tables of a view under these names. */
export const into = (view: Bound, naming: Naming): Fold => {
  const fold = foldOf(view, naming)
  return (sql, events) => {
    const seen = events.filter(({ type }) => ViewParts.sees(view, type))
    return seen.length === 0 ? Effect.void : fold(sql, seen)
  }
}

const foldOf = (view: Bound, naming: Naming): Fold => {
  const { folding } = view
  const [table] = view.tables
  if (folding._tag === "Applied") return applied(view, folding, naming)
  if (table === undefined) throw new RangeError(`the view ${view.name} has no table`)
  return folding._tag === "Keyed"
    ? keyed(view, table, folding, naming)
    : perEvent(view, table, folding, naming)
}
