/**
 * Internal: the table of a view and the one that was built aside, compared page by page.
 *
 * A page is the next keys of either table, in the order of the primary key, so a row that only one of
 * them has is met as surely as one that differs.
 */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import { SafeIntegers } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Value } from "../../core/viewColumn.ts"
import * as ViewParts from "../../core/viewParts.ts"
import * as Statements from "../mirror/statements.ts"
import { ViewDifference } from "./Views.ts"
import * as ViewTables from "./viewTables.ts"

/** The values of a primary key. */
export type Key = ReadonlyArray<unknown>

/** Keys of a page. */
const pageRows = 512

/** What comparing has found so far. */
export class Tally {
  rows = 0
  count = 0
  readonly differences: Array<ViewDifference> = []
  readonly #max: number

  constructor(max: number) {
    this.#max = max
  }

  difference(made: ConstructorParameters<typeof ViewDifference>[0]): void {
    this.count++
    if (this.differences.length < this.#max) this.differences.push(new ViewDifference(made))
  }
}

/** A row as SQL has it, whole numbers as bigints. */
interface Raw {
  readonly [column: string]: unknown
}

/** A value as it can be compared and told: bytes, and numbers too large, as texts. */
const toldValue = (value: unknown): Value =>
  typeof value === "string" || typeof value === "number" || value === null
    ? value
    : value instanceof Uint8Array
      ? `x'${Array.from(value, (byte) => byte.toString(16).padStart(2, "0")).join("")}'`
      : typeof value === "bigint" && Number.isSafeInteger(Number(value))
        ? Number(value)
        : String(value)

const told = (row: Raw): ViewParts.SqlRow =>
  Object.fromEntries(Object.entries(row).map(([column, value]) => [column, toldValue(value)]))

/** Compares both tables, page by page. */
export const of = (sql: SqlClient.SqlClient, table: ViewParts.Table) => {
  const { key } = table
  const names = [...table.added, ...Object.keys(table.columns)]
  const columns = ViewTables.list(names)
  const keys = ViewTables.list(key)
  const [there, built] = [ViewTables.inPlace, ViewTables.aside].map((naming) =>
    ViewTables.quoted(naming(table.name))
  )
  const place = sql.onDialectOrElse({
    sqlite: () => () => "?",
    orElse: () => (nth: number) => `$${nth}`
  })
  const placesFrom = (first: number) => key.map((_, nth) => place(first + nth)).join(", ")

  /** The last key of the next page; nothing behind the last one. */
  const lastKey = Effect.fnUntraced(function* (after: Key | undefined) {
    const run = yield* Statements.runOn(sql)
    const next = (name: string | undefined, first: number) => {
      const where = after === undefined ? "" : `WHERE (${keys}) > (${placesFrom(first)})`
      return `SELECT * FROM (SELECT ${keys} FROM ${name} ${where} ORDER BY ${keys} LIMIT ${pageRows})`
    }
    const text = `${next(there, 1)} UNION ${next(built, 1 + key.length)} ORDER BY ${keys} LIMIT ${pageRows}`
    const params = after === undefined ? [] : [...after, ...after]
    const rows = yield* run<Raw>(text, params)
    const last = rows.at(-1)
    return last === undefined
      ? undefined
      : { key: key.map((name) => last[name]), rows: rows.length }
  })

  const page = Effect.fnUntraced(function* (
    name: string | undefined,
    after: Key | undefined,
    last: Key
  ) {
    const run = yield* Statements.runOn(sql)
    const from = after === undefined ? "" : `(${keys}) > (${placesFrom(1 + key.length)}) AND`
    const text = `SELECT ${columns} FROM ${name} WHERE ${from} (${keys}) <= (${placesFrom(1)})`
    // SQLite numbers `?` as they stand.
    const params = sql.onDialectOrElse({
      sqlite: () => [...(after ?? []), ...last],
      orElse: () => [...last, ...(after ?? [])]
    })
    const rows = (yield* run<Raw>(text, params)).map(told)
    return new Map(rows.map((row) => [ViewParts.keyText(key, row), row]))
  })

  const isSame = (a: ViewParts.SqlRow, b: ViewParts.SqlRow) =>
    names.every((name) => a[name] === b[name])

  return {
    /** Compare the page behind a key; its last key, or nothing behind the last page. */
    compare: Effect.fnUntraced(
      function* (
        after: Key | undefined,
        tally: Tally
      ): Effect.fn.Return<Key | undefined, SqlError> {
        const last = yield* lastKey(after)
        if (last === undefined) return undefined
        const [stored, made] = [
          yield* page(there, after, last.key),
          yield* page(built, after, last.key)
        ]
        tally.rows += last.rows
        const difference = (text: string, expected?: ViewParts.SqlRow, actual?: ViewParts.SqlRow) =>
          tally.difference({
            table: table.name,
            key: text,
            expected: expected === undefined ? null : { ...expected },
            actual: actual === undefined ? null : { ...actual }
          })
        for (const [text, row] of stored) {
          const other = made.get(text)
          if (other === undefined || !isSame(row, other)) difference(text, other, row)
        }
        for (const [text, row] of made) if (!stored.has(text)) difference(text, row)
        return last.key
      },
      Effect.provideService(SafeIntegers, true)
    )
  }
}
