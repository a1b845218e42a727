/**
 * Internal: the mirror brought up to the journal, at opening and in the middle of writing.
 */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type * as Hashes from "../../core/Hashes.ts"
import { MirrorError, mirrorError, RowDamaged } from "../errors.ts"
import type { JournalReader } from "../journal/Journal.ts"
import * as Mirror from "../mirror/Mirror.ts"
import * as Replay from "../mirror/Replay.ts"
import { Progress } from "../Progress.ts"

/** The row that uses the id of an earlier one. */
const usedAgain = (
  journal: JournalReader,
  rows: ReadonlyArray<Replay.Placed>,
  { id, seq: earlier }: Mirror.IdConflict
): RowDamaged => {
  const row = rows.find(({ event }) => event.id === id && event.seq !== earlier)
  return new RowDamaged({
    seq: row?.event.seq ?? earlier,
    path: journal.pathOf(row?.place.segment ?? 1),
    offset: row?.place.offset ?? 0,
    leg: "journal",
    expected: "an id of its own",
    actual: `the id ${id}, which is that of row ${earlier}`
  })
}

/** Replay rows beyond the mirror; what the journal cannot explain becomes a refusal by name. */
export const catchUp = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  journal: JournalReader,
  hashes: Hashes.Hashes,
  from: Replay.From,
  until: number
) {
  const tell = yield* Progress
  yield* Replay.walk(journal, hashes, from, until, (rows) =>
    Replay.replayBatch(sql, journal, hashes, rows).pipe(
      Effect.catchTag("IdConflict", (error) => Effect.fail(usedAgain(journal, rows, error))),
      Effect.andThen(
        tell({ task: "catch up", done: rows.at(-1)?.event.seq ?? 0, total: until, unit: "rows" })
      )
    )
  )
})

/** Catch up in the middle of writing, where every refusal means that the mirror is not usable. */
export const catchUpOpen = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  journal: JournalReader,
  hashes: Hashes.Hashes,
  until: number
) {
  const { head, place } = yield* Effect.mapError(Mirror.settled(sql), mirrorError("read its head"))
  const from = place === undefined ? Replay.beginning : Replay.behind(head, place)
  yield* unusable(catchUp(sql, journal, hashes, from, until))
})

/** In the middle of writing every refusal means that the mirror is not usable. */
const unusable = <A, R>(
  catching: Effect.Effect<A, Replay.WalkError | Mirror.RowDiffers | MirrorError, R>
): Effect.Effect<A, MirrorError, R> =>
  Effect.mapError(catching, (error) =>
    error instanceof MirrorError
      ? error
      : new MirrorError({
          operation: "catch up with the journal",
          cause: error,
          hint: "Nothing was written; close the ledger and verify it."
        })
  )

/**
 * Count the mirror's rows, and take in those that the journal has and it lacks below its newest;
 * whether it then has as many. Reads an index of each table: it is not done by opening, but before
 * anything is appended.
 */
export const takeStock = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  journal: JournalReader,
  hashes: Hashes.Hashes,
  seq: number
) {
  const failed = mirrorError("be counted")
  const before = yield* Effect.mapError(Mirror.counts(sql), failed)
  if (before.events === seq && before.indexed === seq) return true
  if (before.events < seq || before.indexed < seq) {
    yield* unusable(catchUp(sql, journal, hashes, Replay.beginning, seq))
  }
  const after = yield* Effect.mapError(Mirror.counts(sql), failed)
  return after.events === seq && after.indexed === seq
})
