/**
 * Internal: a mirror of an older version, for whoever only reads it.
 *
 * A writer brings the tables up when it opens the ledger; a reader changes nothing, and asks in vain
 * for what came later. What does not need that goes on as it did. Only once something has failed is
 * the version looked up, and told with what to do about it.
 */
import { Effect, Schema, Stream } from "effect"
import type { SqlClient } from "effect/sql"
import { MirrorError } from "../errors.ts"
import * as Mirror from "./Mirror.ts"
import type { Reader } from "../reading/Reader.ts"

/** The cause of a `MirrorError`: the mirror's tables lack what this version reads. */
export class MirrorOlder extends Schema.TaggedError<MirrorOlder>()("MirrorOlder", {
  expected: Schema.Int,
  actual: Schema.Int
}) {
  override get message(): string {
    return `it is of an older version, ${this.actual} where ${this.expected} is read`
  }
}

interface Migrated {
  readonly newest: number | null
}

const isMirrorError = (error: unknown): error is MirrorError => error instanceof MirrorError

/** The error as it is told: a statement that failed on an older mirror failed for that reason. */
const told = (sql: SqlClient.SqlClient, error: MirrorError): Effect.Effect<MirrorError> =>
  sql<Migrated>`SELECT max(migration_id) AS newest FROM sealog_migrations`.pipe(
    Effect.map(([row]) => {
      const actual = row?.newest ?? 0
      const { version: expected } = Mirror
      if (!Number.isSafeInteger(actual) || actual >= expected) return error
      return new MirrorError({
        operation: error.operation,
        cause: new MirrorOlder({ expected, actual }),
        hint: "Open the ledger for writing once, which brings it up."
      })
    }),
    Effect.orElseSucceed(() => error)
  )

/** An effect that reads the mirror, its failures told by `told`. */
export const explained =
  (sql: SqlClient.SqlClient) =>
  <A, E, R>(reading: Effect.Effect<A, E | MirrorError, R>): Effect.Effect<A, E | MirrorError, R> =>
    Effect.catchIf(reading, isMirrorError, (error) => Effect.flatMap(told(sql, error), Effect.fail))

const explainedStream =
  (sql: SqlClient.SqlClient) =>
  <A, E, R>(reading: Stream.Stream<A, E | MirrorError, R>): Stream.Stream<A, E | MirrorError, R> =>
    Stream.catchIf(reading, isMirrorError, (error) =>
      Stream.unwrap(Effect.map(told(sql, error), Stream.fail))
    )

/** The methods of a reader that ask for what an older mirror may lack. */
export const reader = (reading: Reader["Service"], sql: SqlClient.SqlClient): Reader["Service"] => {
  const effect = explained(sql)
  const stream = explainedStream(sql)
  return {
    ...reading,
    events: (query) => stream(reading.events(query)),
    page: (query) => effect(reading.page(query)),
    path: (leaf, query) => stream(reading.path(leaf, query)),
    changes: (which) => stream(reading.changes(which)),
    views: effect(reading.views),
    manifest: effect(reading.manifest),
    verify: (options) => effect(reading.verify(options)),
    parity: effect(reading.parity)
  }
}
