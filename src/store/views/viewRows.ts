/**
 * Internal: rows of a view's table, as the view types them.
 */
import { Effect, Result } from "effect"
import type { SqlClient, Statement } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import type { View } from "../../core/View.ts"
import { ViewRowInvalid } from "../../core/View.ts"
import { transacting } from "../mirror/transacting.ts"
import type { Reader } from "../reading/Reader.ts"
import * as ViewDefinition from "./viewDefinition.ts"
import type { ViewOutdated } from "./Views.ts"

const seqOf = (row: object): number => {
  const seq: unknown = Reflect.get(row, "seq")
  return typeof seq === "number" && Number.isSafeInteger(seq) ? seq : 0
}

/** What is asked of the table of a view. */
type Ask<E, R> = (
  sql: SqlClient.SqlClient,
  table: Statement.Identifier
) => Effect.Effect<ReadonlyArray<object>, E, R>

const rowsOf = <Row, E, R>(
  sql: SqlClient.SqlClient,
  view: View<Row>,
  ask: Ask<E, R> | undefined
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

/** Fails where the mirror has another view of this name; of none the table itself tells. */
const checkSame = (
  sql: SqlClient.SqlClient,
  view: View
): Effect.Effect<void, ViewOutdated | SqlError> =>
  Effect.flatMap(
    sql<ViewDefinition.Known>`
      SELECT version, definition FROM sealog_views WHERE name = ${view.name}`,
    ([known]) => {
      const other = known === undefined ? undefined : ViewDefinition.outdated(view, known)
      return other === undefined ? Effect.void : Effect.fail(other)
    }
  )

/**
 * Reads rows that `ask` selects of a view's table, all of them where nothing is asked, in one moment
 * with what the mirror knows of the view. One that is kept here, while nobody else can open the
 * ledger, is replaced by no other, and looked up once.
 */
export const reader = (
  sql: SqlClient.SqlClient,
  isKept: (view: View) => boolean
): Reader["Service"]["rows"] => {
  const same = new WeakSet<View>()
  return (view, ask) =>
    Effect.suspend(() => {
      const rows = rowsOf(sql, view, ask)
      if (same.has(view)) return rows
      const checked = Effect.tap(checkSame(sql, view), () =>
        Effect.sync(() => isKept(view) && same.add(view))
      )
      return transacting(sql)(Effect.andThen(checked, rows))
    })
}
