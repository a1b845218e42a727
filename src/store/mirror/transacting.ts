/**
 * Internal: `sql.withTransaction`, with every failure of SQL as one.
 *
 * Effect makes a rollback that fails, and a savepoint that is not released, a defect, and with it
 * what they were to undo; the disk does that as it does everything else.
 */
import { Cause, Effect } from "effect"
import type { SqlClient } from "effect/sql"
import { SqlError } from "effect/sql/SqlError"

/** With a failure of SQL where it died of one. */
export const failing = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | SqlError, R> =>
  Effect.catchCause(effect, (cause): Effect.Effect<never, E | SqlError> => {
    const failures = cause.reasons.flatMap((reason) =>
      Cause.isDieReason(reason) && reason.defect instanceof SqlError ? [reason.defect] : []
    )
    const [failure] = failures
    return failure === undefined ? Effect.failCause(cause) : Effect.fail(failure)
  })

/** Runs in a transaction of `sql`, or in a savepoint of the one that is open. */
export const transacting =
  (sql: SqlClient.SqlClient) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> =>
    failing(sql.withTransaction(effect))
