/**
 * Internal: the statements that run once per group or batch, compiled once.
 *
 * A statement through the client's template is compiled and traced each time, which costs several
 * times what SQLite needs to run it. These texts are made once per client and number of rows, in
 * few sizes so that prepared statements are found again, and run on the connection of the open
 * transaction. Values are bound parameters, always.
 */
import { Effect, Option } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"

/** Runs one statement on the transaction's connection, or through the client where none is open. */
export type Run = <A extends object>(
  text: string,
  params: ReadonlyArray<unknown>
) => Effect.Effect<ReadonlyArray<A>, SqlError>

/** How to run statements of this client from here. */
export const runOn = (sql: SqlClient.SqlClient): Effect.Effect<Run> =>
  Effect.map(Effect.serviceOption(sql.transactionService), (transaction): Run => {
    if (Option.isNone(transaction)) return (text, params) => sql.unsafe(text, params)
    const [connection] = transaction.value
    return (text, params) => connection.execute(text, params, undefined)
  })

/** Powers of two up to 256. */
const sizes = [256, 128, 64, 32, 16, 8, 4, 2, 1]
const sizeMax = 256

/** More parameters than this SQLite binds to no statement. */
const parametersMax = 32_766

/** Cut rows into runs of few sizes, each row of so many parameters. */
export const inSizes = <A>(
  rows: ReadonlyArray<A>,
  parameters = 1
): ReadonlyArray<ReadonlyArray<A>> => {
  if (rows.length === 1) return [rows]
  const runs: Array<ReadonlyArray<A>> = []
  let at = 0
  for (const size of sizes) {
    if (size > 1 && size * parameters > parametersMax) continue
    for (; rows.length - at >= size; at += size) runs.push(rows.slice(at, at + size))
  }
  return runs
}

/** Cut ids into runs of few sizes, the last one filled up with its own last id. */
export const filledSizes = (ids: ReadonlyArray<string>): ReadonlyArray<ReadonlyArray<string>> => {
  const runs: Array<ReadonlyArray<string>> = []
  for (let at = 0; at < ids.length; at += sizeMax) {
    const run = ids.slice(at, at + sizeMax)
    const last = run.at(-1)
    const size = sizes.findLast((size) => size >= run.length) ?? sizeMax
    const missing = last === undefined ? 0 : size - run.length
    runs.push(run.concat(Array.from({ length: missing }, () => last ?? "")))
  }
  return runs
}

/** Makes the text of a statement for `rows` rows; `place(n)` is the nth placeholder, from 1. */
export type MakeText = (rows: number, place: (nth: number) => string) => string

/** Remembers, for each client, the texts that were made for it. */
export const remembered = (
  make: MakeText
): ((sql: SqlClient.SqlClient, rows: number) => string) => {
  const byClient = new WeakMap<SqlClient.SqlClient, Map<number, string>>()
  return (sql, rows) => {
    const texts = byClient.get(sql) ?? new Map<number, string>()
    byClient.set(sql, texts)
    const known = texts.get(rows)
    if (known !== undefined) return known
    const place = sql.onDialectOrElse({
      orElse: () => (nth: number) => `$${nth}`,
      sqlite: () => () => "?"
    })
    const text = make(rows, place)
    texts.set(rows, text)
    return text
  }
}

/** `INSERT INTO table (columns) VALUES (…), (…)`. */
export const insertInto =
  (table: string, columns: ReadonlyArray<string>, onConflict = ""): MakeText =>
  (rows, place) => {
    const values: Array<string> = []
    for (let row = 0; row < rows; row++) {
      const places = columns.map((_, column) => place(row * columns.length + column + 1))
      values.push(`(${places.join(", ")})`)
    }
    return `INSERT INTO ${table} (${columns.join(", ")}) VALUES ${values.join(", ")}${onConflict}`
  }

/** `text(list)` with as many placeholders in its list. */
export const withList =
  (text: (list: string) => string): MakeText =>
  (rows, place) =>
    text(Array.from({ length: rows }, (_, nth) => place(nth + 1)).join(", "))
