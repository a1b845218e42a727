/**
 * Internal: the rows of the journal as views see them, for those that lack them.
 */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type * as Hashes from "../../core/Hashes.ts"
import * as ViewParts from "../../core/viewParts.ts"
import { mirrorError } from "../errors.ts"
import type { JournalReader } from "../journal/Journal.ts"
import * as Mirror from "../mirror/Mirror.ts"
import * as Replay from "../mirror/Replay.ts"
import { Progress } from "../Progress.ts"

/** Where rows are read, and places looked up. */
export interface Source {
  /** The writer's client. */
  readonly sql: SqlClient.SqlClient
  readonly journal: JournalReader
  readonly hashes: Hashes.Hashes
}

/** Where the walk behind a row begins; at the beginning where the index does not know it. */
const behindRow = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, seq: number) {
  if (seq === 0) return Replay.beginning
  const row = yield* Mirror.at(sql, seq)
  if (row === undefined) return Replay.beginning
  const event = (yield* Mirror.eventRows(sql, [row.event_id])).get(row.event_id)
  if (event === undefined) return Replay.beginning
  const { event_id: id, leaf_hash: leafHash } = row
  return Replay.behind({ seq, leafHash, id, eventHash: event.event_hash }, Mirror.placeOf(row))
})

/** The rows after `seq`, up to `until`, as views see them, batch by batch. */
export const eachBatch = Effect.fnUntraced(function* <E, R>(
  { hashes, journal, sql }: Source,
  seq: number,
  until: number,
  each: (rows: ReadonlyArray<ViewParts.Seen>) => Effect.Effect<void, E, R>
) {
  if (seq >= until) return
  const from = yield* Effect.mapError(behindRow(sql, seq), mirrorError("find a row"))
  yield* Replay.walk(journal, hashes, from, until, (rows) => {
    const seen = rows.flatMap(({ event }) =>
      event.seq > seq ? [new ViewParts.Seen(event.seq, event)] : []
    )
    return seen.length === 0 ? Effect.void : each(seen)
  })
})

/** Tell that these rows were taken in. */
export const told = (rows: ReadonlyArray<ViewParts.Seen>, total: number): Effect.Effect<void> =>
  Effect.flatMap(Progress, (tell) =>
    tell({ task: "views", done: rows.at(-1)?.seq ?? 0, total, unit: "rows" })
  )
