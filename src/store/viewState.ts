/**
 * Internal: what the mirror knows of each view, declared now or once.
 *
 *   sealog_views   (name, version, definition, tables, insert_only, generation, seq, stale_since,
 *                  stale_reason): how far the view is, and since which event it has been set aside
 *
 * A view is behind where the ledger was written without it; it catches up when it is declared again.
 */
import { Effect, Schema } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import * as Statements from "./statements.ts"
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

/** What is known of one view. */
export interface ViewRow {
  readonly name: string
  readonly version: number
  readonly definition: string
  /** The names of its tables, as JSON. */
  readonly tables: string
  readonly insert_only: number
  /** How often its tables were made. */
  readonly generation: number
  /** The last row that it has taken in. */
  readonly seq: number
  readonly stale_since: number | null
  readonly stale_reason: string | null
}

/** All views, in the order of their names. */
export const all = (sql: SqlClient.SqlClient): Effect.Effect<ReadonlyArray<ViewRow>, SqlError> =>
  sql<ViewRow>`SELECT * FROM sealog_views ORDER BY name`

const Names = Schema.fromJsonString(Schema.Array(Schema.String))

/** The names of a view's tables; none where someone has spoilt them. */
export const tablesOf = ({ tables }: ViewRow): ReadonlyArray<string> => {
  const names = Schema.decodeUnknownOption(Names)(tables)
  return names._tag === "Some" ? names.value : []
}

/** Put in what is known of a view, in place of what was. */
export const put = (sql: SqlClient.SqlClient, row: ViewRow): Effect.Effect<void, SqlError> =>
  Effect.andThen(
    sql`DELETE FROM sealog_views WHERE name = ${row.name}`,
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

/**
 * Take every view back to `until`: those that only insert are cut there, all others emptied. What set
 * one aside is met again where it is still there.
 */
export const cut = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  until: number
): Effect.fn.Return<void, SqlError> {
  for (const row of yield* all(sql)) {
    if (row.seq <= until && row.stale_since === null) continue
    const to = row.insert_only === 1 && row.stale_since === null ? until : 0
    for (const name of tablesOf(row)) yield* ViewTables.empty(sql, name, to)
    yield* sql`UPDATE sealog_views SET seq = ${to}, stale_since = NULL, stale_reason = NULL
      WHERE name = ${row.name}`
  }
})
