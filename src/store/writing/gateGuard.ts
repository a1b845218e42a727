/**
 * Internal: a gate is asked inside the writer's transaction, where it may read, and nothing else.
 *
 * SQLite is told to change nothing meanwhile, and a savepoint tells whether the transaction was ended:
 * what was in it is taken out again, and the writer takes no more.
 */
import { Context, Effect, Exit } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import * as Statements from "../mirror/statements.ts"
import * as ViewState from "../views/viewState.ts"
import type { Group } from "./Group.ts"

/**
 * Which writer is asking a gate or a view right now, in whose transaction this fiber runs: it cannot
 * append to that ledger, as it would wait for itself.
 */
export const Asking = Context.Reference<object | undefined>("sealog/Asking", {
  defaultValue: () => undefined
})

/** Asks gates of one writer. */
export const make = (sql: SqlClient.SqlClient, own: object) => {
  // Four of them for each gate: the client's template would cost more than what they do.
  const run = (text: string): Effect.Effect<void, SqlError> =>
    Effect.flatMap(Statements.runOn(sql), (on) => Effect.asVoid(on(text, [])))

  const queryOnly = (on: boolean) =>
    sql.onDialectOrElse({
      sqlite: () => Effect.asVoid(run(on ? "PRAGMA query_only = ON" : "PRAGMA query_only = OFF")),
      orElse: () => Effect.void
    })

  let isLocked = false

  const lock = Effect.suspend(() => {
    isLocked = true
    return queryOnly(true)
  })

  // A connection that stays locked cannot even begin a group, so this is tried again before each.
  const unlock = Effect.suspend(() =>
    isLocked
      ? Effect.map(queryOnly(false), () => {
          isLocked = false
        })
      : Effect.void
  )

  /** A gate may read only, and may not end the transaction: a savepoint tells whether it did. */
  const guarded = Effect.fnUntraced(function* <A>(
    asking: Effect.Effect<A, SqlError>,
    group: Group
  ) {
    yield* run("SAVEPOINT sealog_gate")
    const asked = Effect.andThen(lock, Effect.provideService(asking, Asking, own))
    const answer = yield* Effect.exit(asked)
    yield* unlock
    const still = yield* Effect.exit(run("RELEASE SAVEPOINT sealog_gate"))
    if (Exit.isFailure(still)) {
      // Rows of this group that a COMMIT of the gate has left are in no journal, nor may views have
      // them; a transaction that it began would take back that they are removed.
      yield* Effect.exit(run("ROLLBACK"))
      if (group.folded > 0) yield* ViewState.emptyAll(sql)
      const ids = group.rows.slice(0, group.inserted).map(({ event }) => event.id)
      if (ids.length > 0) yield* sql`DELETE FROM events WHERE ${sql.in("id", ids)}`
      return yield* Effect.die(new Error("a gate ended the writer's transaction"))
    }
    return yield* answer
  })

  return { guarded, unlock }
}
