/**
 * Internal: what the mirror knows of each view, declared now or once.
 *
 *   sealog_views   (name, version, definition, tables, insert_only, generation, seq, stale_since,
 *                  stale_reason): how far the view is, and since which event it has been set aside
 *
 * A view is behind where the ledger was written without it; it catches up when it is declared again.
 */
import { Effect, Option, Result, Schema } from "effect"
import type { SqlClient } from "effect/sql"
import { SafeIntegers } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as ViewParts from "../../core/viewParts.ts"
import { isOfDisk } from "../errors.ts"
import * as Statements from "../mirror/statements.ts"
import { transacting } from "../mirror/transacting.ts"
import * as ViewTables from "./viewTables.ts"

const table = `CREATE TABLE sealog_views (
    name TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    definition TEXT NOT NULL,
    tables TEXT NOT NULL,
    insert_only INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    stale_since INTEGER NULL,
    stale_reason TEXT NULL
)`

/** Make the table. */
export const create = (sql: SqlClient.SqlClient): Effect.Effect<void, SqlError> =>
  Effect.asVoid(sql.unsafe(table))

const Stored = Schema.Struct({
  name: Schema.String,
  version: Schema.Int,
  definition: Schema.String,
  /** The names of its tables, as JSON. */
  tables: Schema.String,
  insert_only: Schema.Literals([0, 1]),
  /** How often its tables were made. */
  generation: Schema.Natural,
  /** The last row that it has taken in. */
  seq: Schema.Natural,
  stale_since: Schema.NullOr(Schema.Natural),
  stale_reason: Schema.NullOr(Schema.String)
})

/** What is known of one view. */
export type ViewRow = typeof Stored.Type

const decode = Schema.decodeUnknownOption(Stored)
const Names = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Array(Schema.String)))

/** The names of a view's tables. */
export const tablesOf = ({ tables }: ViewRow): ReadonlyArray<string> =>
  Option.getOrElse(Names(tables), () => [])

/** Nothing is known of it but that it was there: its tables are made anew when it is declared. */
const spoilt = (name: string): ViewRow => ({
  name,
  version: 0,
  definition: "",
  tables: "[]",
  insert_only: 0,
  generation: 0,
  seq: 0,
  stale_since: 1,
  stale_reason: "what the mirror knows of it, or a table of it, was changed by another hand"
})

/** Whether another hand has changed what is known of a view. */
export const isSpoilt = ({ version }: ViewRow): boolean => version === 0

const isSound = (row: ViewRow): boolean => {
  const names = Names(row.tables)
  return row.version > 0 && names._tag === "Some" && names.value.every(ViewParts.isTableName)
}

/** SQL holds in a column whatever someone puts there. A view of no name is none. */
const rowsOf = ({ name, ...columns }: { readonly [column: string]: unknown }): Array<ViewRow> => {
  if (typeof name !== "string" || !ViewParts.isTableName(name)) return []
  const plain = Object.entries(columns).map(([column, value]) => {
    const number = typeof value === "bigint" ? Number(value) : value
    return [column, number] as const
  })
  const row = decode({ ...Object.fromEntries(plain), name })
  return [row._tag === "Some" && isSound(row.value) ? row.value : spoilt(name)]
}

/** All views, in the order of their names. */
export const all = (sql: SqlClient.SqlClient): Effect.Effect<ReadonlyArray<ViewRow>, SqlError> =>
  sql<{ readonly [column: string]: unknown }>`SELECT * FROM sealog_views ORDER BY name`.pipe(
    Effect.provideService(SafeIntegers, true),
    Effect.map((rows) => rows.flatMap(rowsOf))
  )

/** Know a view no more. */
export const forget = (sql: SqlClient.SqlClient, name: string): Effect.Effect<void, SqlError> =>
  Effect.asVoid(sql`DELETE FROM sealog_views WHERE name = ${name}`)

/** Put in what is known of a view, in place of what was. */
export const put = (sql: SqlClient.SqlClient, row: ViewRow): Effect.Effect<void, SqlError> =>
  Effect.andThen(
    forget(sql, row.name),
    Effect.asVoid(sql`INSERT INTO sealog_views ${sql.insert({ ...row })}`)
  )

/** These views have taken in all rows up to `seq`. */
export const moveTo = (
  sql: SqlClient.SqlClient,
  names: ReadonlyArray<string>,
  seq: number
): Effect.Effect<void, SqlError> =>
  names.length === 0
    ? Effect.void
    : Effect.flatMap(Statements.runOn(sql), (run) =>
        Effect.asVoid(run(moving(sql, names.length), [seq, ...names]))
      )

const moving = Statements.remembered((names, place) => {
  const places = Array.from({ length: names }, (_, nth) => place(nth + 2)).join(", ")
  return `UPDATE sealog_views SET seq = ${place(1)} WHERE name IN (${places})`
})

/** Set a view aside: it takes in nothing from this event on. */
export const setAside = (
  sql: SqlClient.SqlClient,
  name: string,
  since: number,
  reason: string
): Effect.Effect<void, SqlError> =>
  Effect.asVoid(sql`UPDATE sealog_views SET stale_since = ${since}, stale_reason = ${reason},
    seq = ${since - 1} WHERE name = ${name}`)

/** Take a view back to a row: 0 empties it. */
const goBack = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  row: ViewRow,
  to: number
): Effect.fn.Return<void, SqlError> {
  const emptied = yield* Effect.forEach(tablesOf(row), (name) => ViewTables.empty(sql, name, to), {
    discard: true
  }).pipe(transacting(sql), Effect.result)
  if (Result.isSuccess(emptied)) {
    return yield* put(sql, { ...row, seq: to, stale_since: null, stale_reason: null })
  }
  // A table that another hand has changed holds up nothing.
  if (isOfDisk(emptied.failure)) return yield* emptied.failure
  yield* put(sql, spoilt(row.name))
})

/** Whether going back to a row leaves nothing of a view: those that only insert are cut there. */
export const isEmptied = (row: ViewRow, until: number): boolean =>
  row.stale_since !== null || (row.seq > until && row.insert_only === 0)

/**
 * Take every view back to `until`, but for those that are named. What set one aside is met again where
 * it is still there.
 */
export const cut = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  until: number,
  except: ReadonlyArray<string> = []
): Effect.fn.Return<void, SqlError> {
  for (const row of yield* all(sql)) {
    if (except.includes(row.name)) continue
    if (isEmptied(row, until)) yield* goBack(sql, row, 0)
    else if (row.seq > until) yield* goBack(sql, row, until)
  }
})
