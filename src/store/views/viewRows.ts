/**
 * Internal: rows of a view's table, as the view types them.
 */
import { Effect, Result } from "effect"
import type { SqlClient, Statement } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import type { View } from "../../core/View.ts"
import { ViewRowInvalid } from "../../core/View.ts"

const seqOf = (row: object): number => {
  const seq: unknown = Reflect.get(row, "seq")
  return typeof seq === "number" && Number.isSafeInteger(seq) ? seq : 0
}

/** Rows that `ask` selects of the view's table, all of them where nothing is asked. */
export const read = <Row, E = never, R = never>(
  sql: SqlClient.SqlClient,
  view: View<Row>,
  ask?: (
    sql: SqlClient.SqlClient,
    table: Statement.Identifier
  ) => Effect.Effect<ReadonlyArray<object>, E, R>
): Effect.Effect<ReadonlyArray<Row>, E | SqlError | ViewRowInvalid, R> => {
  const table = sql(view.name)
  const asked: Effect.Effect<ReadonlyArray<object>, E | SqlError, R> = ask === undefined
    ? sql<object>`SELECT * FROM ${table}`
    : ask(sql, table)
  return Effect.flatMap(
    asked,
    Effect.forEach((row) =>
      Effect.fromResult(
        Result.mapError(
          view.decode(row),
          (misfit) => new ViewRowInvalid({ view: view.name, seq: seqOf(row), ...misfit })
        )
      )
    )
  )
}
