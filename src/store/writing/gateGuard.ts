/**
 * Internal: a gate is asked inside the writer's transaction, where it may read, and nothing else.
 *
 * Each is lent the connection for its answer, and its statements are read first. Telling SQLite to
 * change nothing meanwhile would have every statement of the writer prepared anew for each gate; that
 * nothing was changed is counted instead.
 */
import { Context, Effect, Exit } from "effect"
import type { SqlClient } from "effect/sql"
import { SqlError, UnknownError } from "effect/sql/SqlError"
import { lending, openOn } from "../mirror/lending.ts"
import * as Statements from "../mirror/statements.ts"

/**
 * Which writer is asking a gate or a view right now, in whose transaction this fiber runs: it cannot
 * append to that ledger, as it would wait for itself.
 */
export const Asking = Context.Reference<object | undefined>("sealog/Asking", {
  defaultValue: () => undefined
})

const wrote = (): SqlError => {
  const message = "a gate has written through the writer's connection"
  return new SqlError({
    reason: new UnknownError({ cause: new Error(message), message, operation: "ask a gate" })
  })
}

/** Asks gates of one writer. */
export const make = (sql: SqlClient.SqlClient, own: object) => {
  const lend = lending("a gate, which only reads", [])

  /** Rows that the connection has changed so far. */
  const changes = sql.onDialectOrElse({
    sqlite: () =>
      Effect.flatMap(Statements.runOn(sql), (run) =>
        Effect.map(
          run<{ readonly n: number }>("SELECT total_changes() AS n", []),
          ([row]) => row?.n
        )
      ),
    orElse: () => Effect.succeed(undefined)
  })

  /** Ask inside the open transaction, one after the other; one that has written fails them all. */
  return Effect.fnUntraced(function* <A>(gates: ReadonlyArray<Effect.Effect<A, SqlError>>) {
    const transaction = yield* openOn(sql)
    const before = yield* changes
    const answers: Array<A> = []
    let failed: Exit.Exit<never, SqlError> | undefined
    for (const asking of gates) {
      // Each its own: one that was left behind may not come between the statements of the next.
      const answer = yield* lend(sql, transaction, Effect.provideService(asking, Asking, own))
      if (Exit.isFailure(answer)) {
        failed = Exit.failCause(answer.cause)
        break
      }
      answers.push(answer.value)
    }
    if ((yield* changes) !== before) return yield* wrote()
    return failed === undefined ? answers : yield* failed
  })
}
