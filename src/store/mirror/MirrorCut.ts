/**
 * Internal: rows taken out of the mirror, which nothing else ever does.
 *
 * Whatever removes rows is committed at FULL: with NORMAL a power cut could bring them back, and the
 * mirror would be ahead of its journal. The log is emptied afterwards where no reader holds it up.
 */
import { Effect, FileSystem } from "effect"
import type { SqlClient } from "effect/sql"
import { SafeIntegers } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as durable from "../journal/durable.ts"
import type { JournalError, MirrorError } from "../errors.ts"
import { journalError, mirrorError } from "../errors.ts"
import * as TimeBlocks from "./TimeBlocks.ts"
import { transacting } from "./transacting.ts"
import * as ViewState from "../views/viewState.ts"

const pageRows = 500

interface Beyond {
  readonly at: unknown
  readonly [column: string]: unknown
}

/**
 * Some events of rows beyond `until` or without a row. SQLite holds in a column whatever someone puts
 * there, and in an id nothing or what cannot be bound again, so there they are told apart by place.
 */
const beyond = (sql: SqlClient.SqlClient, until: number, after: unknown) => {
  const place = sql.onDialectOrElse({ sqlite: () => sql`e.rowid`, orElse: () => sql`e.id` })
  const behind = after === undefined ? sql`1 = 1` : sql`${place} > ${after}`
  return sql<Beyond>`SELECT e.*, i.seq, i.parent_seq, i.leaf_hash, ${place} AS at FROM events e
    LEFT JOIN sealog_index i ON i.event_id = e.id
    WHERE (i.seq IS NULL OR i.seq > ${until}) AND ${behind}
    ORDER BY ${place} LIMIT ${pageRows}`.pipe(Effect.provideService(SafeIntegers, true))
}

const spelled = (_name: string, value: unknown): unknown =>
  typeof value === "bigint"
    ? Number.isSafeInteger(Number(value))
      ? Number(value)
      : `${value}`
    : value

/** The events of rows beyond `until`, and those that have no row, one JSON object a line. */
const keepEvidence = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  until: number,
  path: string
) {
  const fs = yield* FileSystem.FileSystem
  if ((yield* durable.kindAt(path)) === "File") return
  const temporary = `${path}.tmp`
  yield* durable.refuseOther(temporary)
  const failed = journalError("keep what the mirror held", path)
  yield* Effect.gen(function* () {
    const file = yield* Effect.mapError(durable.open(temporary, "w"), failed)
    yield* Effect.mapError(fs.chmod(temporary, 0o600), failed)
    let after: unknown = undefined
    for (;;) {
      const rows = yield* Effect.mapError(beyond(sql, until, after), mirrorError("be kept"))
      const last = rows.at(-1)
      if (last === undefined) break
      const text = rows.map(({ at: _at, ...row }) => `${JSON.stringify(row, spelled)}\n`).join("")
      yield* Effect.mapError(file.writeAll(new TextEncoder().encode(text)), failed)
      after = last.at
    }
    yield* Effect.mapError(Effect.andThen(file.sync, fs.rename(temporary, path)), failed)
  }).pipe(Effect.scoped)
  yield* durable.syncDirectory(path.slice(0, path.lastIndexOf("/")))
})

const synchronous = (sql: SqlClient.SqlClient, mode: "FULL" | "NORMAL") =>
  sql.onDialectOrElse({
    sqlite: () => Effect.asVoid(sql.unsafe(`PRAGMA synchronous = ${mode}`)),
    orElse: () => Effect.void
  })

/** For each event that is removed SQLite would look through all rows of all views for its id. */
const foreignKeys = (sql: SqlClient.SqlClient, isOn: boolean) =>
  sql.onDialectOrElse({
    sqlite: () => Effect.asVoid(sql.unsafe(`PRAGMA foreign_keys = ${isOn ? "ON" : "OFF"}`)),
    orElse: () => Effect.void
  })

/** Run a change that removes rows, durable when it returns. */
export const removing = <A, E, R>(
  sql: SqlClient.SqlClient,
  change: Effect.Effect<A, E, R>
): Effect.Effect<A, E | MirrorError, R> => {
  const failed = mirrorError("remove rows")
  return Effect.acquireUseRelease(
    Effect.mapError(Effect.andThen(synchronous(sql, "FULL"), foreignKeys(sql, false)), failed),
    () => change,
    // Slower is all that it is where the first fails; the second guards against mistakes of views.
    () =>
      Effect.andThen(
        Effect.ignore(synchronous(sql, "NORMAL")),
        Effect.ignore(foreignKeys(sql, true))
      )
  ).pipe(Effect.tap(() => emptyLog(sql)))
}

const emptyLog = (sql: SqlClient.SqlClient) =>
  sql.onDialectOrElse({
    // A reader may hold it up: the commit is durable in the log all the same.
    sqlite: () => Effect.ignore(sql.unsafe("PRAGMA wal_checkpoint(TRUNCATE)")),
    orElse: () => Effect.void
  })

/**
 * Delete every row beyond `until`; with 0 all that the mirror holds. Where a file `evidence` is named,
 * events that have no row are deleted too, and all that is deleted is kept there. May be run again.
 * `cutViews` takes the views back, in the same transaction.
 */
export const cut = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  until: number,
  evidence: string | undefined,
  cutViews: Effect.Effect<void, SqlError> = ViewState.cut(sql, until)
): Effect.fn.Return<void, JournalError | MirrorError, FileSystem.FileSystem> {
  if (evidence !== undefined) yield* keepEvidence(sql, until, evidence)
  const change = Effect.gen(function* () {
    yield* until === 0
      ? sql`DELETE FROM events`
      : evidence === undefined
        ? sql`DELETE FROM events WHERE id IN
            (SELECT event_id FROM sealog_index WHERE seq > ${until})`
        : sql`DELETE FROM events WHERE NOT EXISTS
            (SELECT 1 FROM sealog_index i WHERE i.event_id = events.id AND i.seq <= ${until})`
    yield* sql`DELETE FROM sealog_keys WHERE seq > ${until}`
    yield* sql`DELETE FROM sealog_index WHERE seq > ${until}`
    yield* TimeBlocks.cut(sql, until)
    // A lineage that is not taken out says that one must be looked for: see `MirrorSigning`.
    yield* sql`DELETE FROM sealog_state WHERE seq > ${until} AND name <> 'lineage'`
    yield* cutViews
  }).pipe(
    transacting(sql),
    Effect.catchTag("SqlError", (error) => Effect.fail(mirrorError("remove rows")(error)))
  )
  yield* removing(sql, change)
})
