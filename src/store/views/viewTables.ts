/**
 * Internal: the tables of views in SQL, and the statements on them.
 *
 *   <table>   (seq, event_id, [nth,] columns …): the event that last changed the row, its own columns
 *
 * `event_id` is a foreign key to `events`, checked at once: a row without its event cannot be. A
 * table that is built aside has another name until it is put in the place of the one before it; its
 * indexes carry a generation, as SQL does not rename them.
 */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import type * as View from "../../core/View.ts"
import * as ViewParts from "../../core/viewParts.ts"
import * as Statements from "../mirror/statements.ts"

/** What one event makes of a row: gone where `row` is undefined. */
export interface Write {
  readonly seq: number
  readonly eventId: string
  readonly key: View.SqlRow
  readonly row: View.SqlRow | undefined
}

/** One of the rows that an event gives. */
export interface Insert {
  readonly seq: number
  readonly eventId: string
  readonly nth: number
  readonly row: View.SqlRow
}

/** Where the tables of a view are: in their place, or aside. */
export type Naming = (table: string) => string

/** In their place. */
export const inPlace: Naming = (table) => table

/** Aside, for views that are made anew or checked. */
export const aside: Naming = (table) => `sealog_aside_${table}`

/** A name as SQL has it. */
export const quoted = (name: string): string => `"${name}"`
/** Names as SQL lists them. */
export const list = (names: ReadonlyArray<string>): string => names.map(quoted).join(", ")

/** What a view's tables are, for telling whether a stored one is this one. */
export const definitionOf = ({ folding, insertOnly, tables, types }: View.Declared): string =>
  JSON.stringify([
    folding._tag,
    insertOnly,
    types === undefined ? null : types.toSorted(),
    tables.map(({ added, columns, indexes, key, name }) => [name, added, columns, key, indexes])
  ])

const addedTypes = {
  seq: "seq INTEGER NOT NULL",
  event_id: "event_id TEXT NOT NULL REFERENCES events (id)",
  nth: "nth INTEGER NOT NULL"
}

const creation = (
  sql: SqlClient.SqlClient,
  { added, columns, key, name }: View.Table,
  naming: Naming
): string => {
  const own = Object.entries(columns).map(([column, type]) => `${quoted(column)} ${type}`)
  const parts = [...added.map((column) => addedTypes[column]), ...own, `PRIMARY KEY (${list(key)})`]
  const strict = sql.onDialectOrElse({ sqlite: () => " STRICT", orElse: () => "" })
  return `CREATE TABLE ${quoted(naming(name))} (${parts.join(", ")})${strict}`
}

const indexName = (table: string, nth: number, generation: number): string =>
  `sealog_${table}_${nth}_g${generation}`

/** Whether the tables of a view are in their place as they were made, with their indexes. */
export const areThere = (
  sql: SqlClient.SqlClient,
  tables: ReadonlyArray<View.Table>,
  generation: number
): Effect.Effect<boolean, SqlError> =>
  sql.onDialectOrElse({
    // SQLite keeps the text that a table was made by.
    sqlite: () =>
      Effect.map(
        sql<{ readonly table: string; readonly text: string | null }>`
          SELECT tbl_name AS "table", iif(type = 'index', name, sql) AS text
          FROM sqlite_schema WHERE type IN ('table', 'index')`,
        (found) => {
          const known = new Set(found.map(({ table, text }) => `${table} ${text}`))
          return tables.every((table) => {
            const indexes = table.indexes.map((_, nth) => indexName(table.name, nth, generation))
            const texts = [creation(sql, table, inPlace), ...indexes]
            return texts.every((text) => known.has(`${table.name} ${text}`))
          })
        }
      ),
    orElse: () => Effect.succeed(true)
  })

/** The names of a view's tables, in their place. */
export const namesOf = ({ tables }: View.Declared): ReadonlyArray<string> =>
  tables.map(({ name }) => name)

/** Make the tables of a view, empty. */
export const create = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  tables: ReadonlyArray<View.Table>,
  naming: Naming,
  generation: number
): Effect.fn.Return<void, SqlError> {
  for (const table of tables) {
    const { indexes, name } = table
    yield* sql.unsafe(creation(sql, table, naming))
    for (const [number, index] of indexes.entries()) {
      const called = quoted(indexName(name, number, generation))
      // It stays where somebody has renamed the table that it is of.
      yield* sql.unsafe(`DROP INDEX IF EXISTS ${called}`)
      yield* sql.unsafe(`CREATE INDEX ${called} ON ${quoted(naming(name))} (${list(index)})`)
    }
  }
})

/** Drop tables where they are there. */
export const drop = (
  sql: SqlClient.SqlClient,
  tables: ReadonlyArray<string>,
  naming: Naming
): Effect.Effect<void, SqlError> =>
  Effect.forEach(tables, (name) => sql.unsafe(`DROP TABLE IF EXISTS ${quoted(naming(name))}`), {
    discard: true
  })

/** Drop whatever stands aside, also of views that nobody declares any more. */
export const clearAside = (
  sql: SqlClient.SqlClient,
  tables: ReadonlyArray<string>
): Effect.Effect<void, SqlError> => {
  const left = sql.onDialectOrElse({
    sqlite: () =>
      Effect.map(
        sql<{ readonly name: string }>`SELECT name FROM sqlite_schema WHERE type = 'table'`,
        (found) => {
          const prefix = aside("")
          const names = found.flatMap(({ name }) =>
            name.startsWith(prefix) ? [name.slice(prefix.length)] : []
          )
          return names.filter(ViewParts.isTableName)
        }
      ),
    orElse: () => Effect.succeed(tables)
  })
  return Effect.flatMap(left, (names) => drop(sql, names, aside))
}

/**
 * Rename tables and look at nothing else: else SQLite refuses where somebody's view or trigger names
 * a table that has just been dropped.
 */
const renaming = <A, E, R>(
  sql: SqlClient.SqlClient,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | SqlError, R> =>
  sql.onDialectOrElse({
    // Nothing else is renamed on this connection, so that it does no harm where it stays.
    sqlite: () =>
      Effect.acquireUseRelease(
        sql`PRAGMA legacy_alter_table = ON`,
        () => effect,
        () => Effect.ignore(sql`PRAGMA legacy_alter_table = OFF`)
      ),
    orElse: () => effect
  })

/** Put tables that were built aside in their place, where none is. */
export const settle = (
  sql: SqlClient.SqlClient,
  tables: ReadonlyArray<string>
): Effect.Effect<void, SqlError> => {
  const rename = (name: string) =>
    sql.unsafe(`ALTER TABLE ${quoted(aside(name))} RENAME TO ${quoted(name)}`)
  // Each opening comes here, mostly with none; the pragma has every statement prepared anew.
  return tables.length === 0
    ? Effect.void
    : renaming(sql, Effect.forEach(tables, rename, { discard: true }))
}

/** Take out the rows of events beyond `until`; with 0 all of them. */
export const empty = (
  sql: SqlClient.SqlClient,
  table: string,
  until: number
): Effect.Effect<void, SqlError> =>
  Effect.asVoid(
    until === 0
      ? sql`DELETE FROM ${sql(table)}`
      : sql`DELETE FROM ${sql(table)} WHERE seq > ${until}`
  )

/** The statements on one table of a view, under the name that it has now. */
export const on = (table: View.Table, naming: Naming) => {
  const name = quoted(naming(table.name))
  const own = Object.keys(table.columns)
  const { key } = table
  const width = table.added.length + own.length
  const others = ["seq", "event_id", ...own].filter((column) => !key.includes(column))
  const set = others.map((column) => `${quoted(column)} = excluded.${quoted(column)}`).join(", ")
  const keysAre = Statements.remembered((rows, place) => {
    const places = Array.from({ length: rows }, (_, row) =>
      key.map((_column, nth) => place(row * key.length + nth + 1)).join(", ")
    )
    return key.length === 1
      ? `${list(key)} IN (${places.join(", ")})`
      : `(${list(key)}) IN (VALUES ${places.map((one) => `(${one})`).join(", ")})`
  })
  const insert = Statements.insertInto(name, [...table.added, ...own].map(quoted))
  const inserts = Statements.remembered(insert)
  const upserts = Statements.remembered(
    (rows, place) => `${insert(rows, place)} ON CONFLICT (${list(key)}) DO UPDATE SET ${set}`
  )
  const keyOf = (row: { readonly [column: string]: unknown }) => key.map((column) => row[column])
  const valuesOf = (row: View.SqlRow) => own.map((column) => row[column])

  return {
    /** The rows of these keys that are there, as SQL has them. */
    load: Effect.fnUntraced(function* (
      sql: SqlClient.SqlClient,
      keys: ReadonlyArray<View.SqlRow>
    ): Effect.fn.Return<ReadonlyArray<View.SqlRow>, SqlError> {
      const run = yield* Statements.runOn(sql)
      const found: Array<View.SqlRow> = []
      for (const some of Statements.inSizes(keys, key.length)) {
        if (some.length === 0) continue
        const text = `SELECT ${list(own)} FROM ${name} WHERE ${keysAre(sql, some.length)}`
        found.push(...(yield* run<View.SqlRow>(text, some.flatMap(keyOf))))
      }
      return found
    }),
    /** Put or take away rows, each key once. */
    write: Effect.fnUntraced(function* (
      sql: SqlClient.SqlClient,
      writes: ReadonlyArray<Write>
    ): Effect.fn.Return<void, SqlError> {
      const run = yield* Statements.runOn(sql)
      const gone = writes.filter(({ row }) => row === undefined)
      for (const some of Statements.inSizes(gone, key.length)) {
        if (some.length === 0) continue
        const params = some.flatMap((write) => keyOf(write.key))
        yield* run(`DELETE FROM ${name} WHERE ${keysAre(sql, some.length)}`, params)
      }
      const kept = writes.flatMap(({ eventId, row, seq }) =>
        row === undefined ? [] : [[seq, eventId, ...valuesOf(row)]]
      )
      for (const some of Statements.inSizes(kept, width)) {
        if (some.length > 0) yield* run(upserts(sql, some.length), some.flat())
      }
    }),
    /** Put in rows of events that gave none before. */
    insert: Effect.fnUntraced(function* (
      sql: SqlClient.SqlClient,
      writes: ReadonlyArray<Insert>
    ): Effect.fn.Return<void, SqlError> {
      const run = yield* Statements.runOn(sql)
      for (const some of Statements.inSizes(writes, width)) {
        if (some.length === 0) continue
        const params = some.flatMap(({ eventId, nth, row, seq }) => [
          seq,
          eventId,
          nth,
          ...valuesOf(row)
        ])
        yield* run(inserts(sql, some.length), params)
      }
    })
  }
}
