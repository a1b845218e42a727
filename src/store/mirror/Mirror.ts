/**
 * The SQL leg: Cortex's `events` table and sealog's own tables (`mirrorTables`), all of it rebuildable.
 *
 * Every statement takes part in the caller's transaction if one is open. Only bound parameters
 * reach SQL.
 */
import { Effect, Schema } from "effect"
import { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import type { Head } from "../../core/Chain.ts"
import * as Chain from "../../core/Chain.ts"
import type { Event } from "../../core/Event.ts"
import type { Mirrored, MirrorRow } from "../../core/Parity.ts"
import * as Filter from "../../core/Filter.ts"
import * as Parity from "../../core/Parity.ts"
import type { Place } from "../journal/Journal.ts"
import type { MirrorError } from "../errors.ts"
import { mirrorError } from "../errors.ts"
import * as Statements from "./statements.ts"
import * as TimeBlocks from "./TimeBlocks.ts"
import { transacting } from "./transacting.ts"

export { migrate, prepareEvents, version } from "./mirrorTables.ts"

/** The mirror holds another content under an id that the journal holds too. */
export class RowDiffers extends Schema.TaggedError<RowDiffers>()("RowDiffers", {
  seq: Schema.Int,
  id: Schema.String,
  columns: Schema.Array(Schema.String),
  jsonlEventHash: Schema.String,
  sqliteEventHash: Schema.String
}) {
  override get message(): string {
    return (
      `row ${this.seq} (${this.id}) differs between the legs in ${this.columns.join(", ")}: event ` +
      `hash ${this.jsonlEventHash} in the journal, ${this.sqliteEventHash} in SQL. Nothing was ` +
      `overwritten; treat it as tampering until it is explained.`
    )
  }
}

/** One id stands for two contents. `differs` names the fields. */
export class IdConflict extends Schema.TaggedError<IdConflict>()("IdConflict", {
  index: Schema.Int,
  id: Schema.String,
  seq: Schema.Int,
  differs: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return (
      `the id ${this.id} is already that of row ${this.seq}, with another ` +
      `${this.differs.join(", ")}. Nothing was written; one id can stand for one content only.`
    )
  }
}

/** An index row. */
export interface IndexRow {
  readonly seq: number
  readonly event_id: string
  readonly parent_seq: number | null
  readonly event_type: string
  readonly session_id: string | null
  readonly trace_id: string | null
  readonly segment: number
  readonly byte_offset: number
  readonly byte_length: number
  readonly leaf_hash: string
  readonly observed_at: string
}

/** What the index says of an event, whether it was sealed just now or read from the journal. */
export interface Indexed {
  readonly seq: number
  readonly event: Pick<Event, "id" | "type" | "sessionId" | "traceId" | "keys" | "observedAt">
  readonly parentSeq: number | null
  readonly leafHash: string
  readonly place: Place
}

/** Where an index row says its line lies. */
export const placeOf = (row: IndexRow): Place => ({
  segment: row.segment,
  offset: row.byte_offset,
  length: row.byte_length
})

/** What one key of an event is in SQL. */
export interface KeyRow {
  readonly name: string
  readonly value: string
  readonly seq: number
}

/** The newest row that the mirror has, with the event hash that `events` has for it. */
export interface Settled {
  readonly head: Head
  readonly place: Place | undefined
}

const eventsInsert = Statements.remembered(Statements.insertInto("events", Parity.columns))

/** Insert events into `events`, many at a time. Fails where an id or event hash is there already. */
export const insertEvents = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  events: ReadonlyArray<Mirrored>
): Effect.fn.Return<void, SqlError> {
  const run = yield* Statements.runOn(sql)
  for (const rows of Statements.inSizes(events)) {
    const params: Array<unknown> = []
    for (const event of rows) {
      const row = Parity.rowOf(event)
      for (const column of Parity.columns) params.push(row[column])
    }
    yield* run(eventsInsert(sql, rows.length), params)
  }
})

const indexColumns = [
  "seq",
  "event_id",
  "parent_seq",
  "event_type",
  "session_id",
  "trace_id",
  "segment",
  "byte_offset",
  "byte_length",
  "leaf_hash",
  "observed_at"
] as const satisfies ReadonlyArray<keyof IndexRow>

const indexInsert = Statements.remembered(Statements.insertInto("sealog_index", indexColumns))
const keysInsert = Statements.remembered(
  // Where an index row was lost its keys may be there still.
  Statements.insertInto("sealog_keys", ["name", "value", "seq"], " ON CONFLICT DO NOTHING")
)

/** Insert index rows and keys. */
export const insertIndex = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  indexed: ReadonlyArray<Indexed>
): Effect.fn.Return<void, SqlError> {
  const run = yield* Statements.runOn(sql)
  const keys: Array<readonly [name: string, value: string, seq: number]> = []
  const inserted: Array<IndexRow> = []
  for (const rows of Statements.inSizes(indexed)) {
    const params: Array<unknown> = []
    for (const one of rows) {
      const row = indexRow(one)
      inserted.push(row)
      for (const column of indexColumns) params.push(row[column])
      for (const [name, value] of Object.entries(one.event.keys ?? {})) {
        keys.push([name, value, one.seq])
      }
    }
    yield* run(indexInsert(sql, rows.length), params)
  }
  yield* TimeBlocks.widen(sql, inserted)
  for (const rows of Statements.inSizes(keys)) {
    if (rows.length > 0) yield* run(keysInsert(sql, rows.length), rows.flat())
  }
})

/** Insert keys. */
export const insertKeys = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  keys: ReadonlyArray<KeyRow>
): Effect.fn.Return<void, SqlError> {
  const run = yield* Statements.runOn(sql)
  for (const rows of Statements.inSizes(keys)) {
    const params = rows.flatMap(({ name, seq, value }) => [name, value, seq])
    if (rows.length > 0) yield* run(keysInsert(sql, rows.length), params)
  }
})

/** Those of the keys that are not there. */
export const missingKeys = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  keys: ReadonlyArray<KeyRow>
): Effect.fn.Return<ReadonlyArray<KeyRow>, SqlError> {
  const run = yield* Statements.runOn(sql)
  const missing: Array<KeyRow> = []
  for (const some of Statements.inSizes(keys)) {
    const params = some.flatMap(({ name, seq, value }) => [name, value, seq])
    const found = new Set((yield* run<KeyRow>(keysLookUp(sql, some.length), params)).map(textOf))
    missing.push(...some.filter((key) => !found.has(textOf(key))))
  }
  return missing
})

const keysLookUp = Statements.remembered((rows, place) => {
  const one = (row: number) =>
    `(name = ${place(row * 3 + 1)} AND value = ${place(row * 3 + 2)} AND seq = ${place(row * 3 + 3)})`
  const all = Array.from({ length: rows }, (_, row) => one(row)).join(" OR ")
  return `SELECT name, value, seq FROM sealog_keys WHERE ${all || "1 = 0"}`
})

const textOf = ({ name, seq, value }: KeyRow): string => JSON.stringify([seq, name, value])

/** What the index says of an event. */
export const indexRow = (row: Indexed): IndexRow => ({
  seq: row.seq,
  event_id: row.event.id,
  parent_seq: row.parentSeq,
  event_type: row.event.type,
  session_id: row.event.sessionId,
  trace_id: row.event.traceId,
  segment: row.place.segment,
  byte_offset: row.place.offset,
  byte_length: row.place.length,
  leaf_hash: row.leafHash,
  observed_at: Filter.orderedTime(row.event.observedAt)
})

type Newest = IndexRow & { readonly event_hash: string | null }

const settledOf = (row: Newest | undefined): Settled =>
  row === undefined
    ? { head: Chain.start, place: undefined }
    : {
        head: {
          seq: row.seq,
          // SQLite holds in a column whatever someone puts there.
          leafHash: String(row.leaf_hash),
          id: String(row.event_id),
          eventHash: row.event_hash
        },
        place: placeOf(row)
      }

const newest = `SELECT i.*, e.event_hash FROM sealog_index i LEFT JOIN events e ON e.id = i.event_id
  ORDER BY i.seq DESC LIMIT 1`

/** The newest index row and its event hash; the start where the mirror is empty. */
export const settled = (sql: SqlClient.SqlClient): Effect.Effect<Settled, SqlError> =>
  Effect.flatMap(Statements.runOn(sql), (run) =>
    Effect.map(run<Newest>(newest, []), ([row]) => settledOf(row))
  )

/** How many rows `events` and the index hold. Reads every page of an index of each: O(rows). */
export interface Counts {
  readonly events: number
  readonly indexed: number
}

/** The counts of both tables. */
export const counts = (sql: SqlClient.SqlClient): Effect.Effect<Counts, SqlError> =>
  Effect.map(
    sql<Counts>`SELECT (SELECT count(*) FROM events) AS events,
      (SELECT count(*) FROM sealog_index) AS indexed`,
    ([row]) => row ?? { events: 0, indexed: 0 }
  )

/** A number that changes when another connection has written; always 0 where SQL has none. */
export const dataVersion = (sql: SqlClient.SqlClient): Effect.Effect<number, SqlError> =>
  sql.onDialectOrElse({
    sqlite: () =>
      Effect.flatMap(Statements.runOn(sql), (run) =>
        Effect.map(
          run<{ readonly data_version: number }>("PRAGMA data_version", []),
          ([row]) => row?.data_version ?? 0
        )
      ),
    orElse: () => Effect.succeed(0)
  })

const indexLookUp = Statements.remembered(
  Statements.withList((ids) => `SELECT * FROM sealog_index WHERE event_id IN (${ids})`)
)

/** The index rows of these ids, by id. */
export const findByIds = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  ids: ReadonlyArray<string>
): Effect.fn.Return<ReadonlyMap<string, IndexRow>, SqlError> {
  const found = new Map<string, IndexRow>()
  const run = yield* Statements.runOn(sql)
  for (const some of Statements.filledSizes(ids)) {
    const rows = yield* run<IndexRow>(indexLookUp(sql, some.length), some)
    for (const row of rows) found.set(row.event_id, row)
  }
  return found
})

/** Index rows after `seq`, up to and including `until`, in order, at most `limit`. */
export const page = (
  sql: SqlClient.SqlClient,
  after: number,
  until: number,
  limit: number
): Effect.Effect<ReadonlyArray<IndexRow>, SqlError> =>
  sql<IndexRow>`SELECT * FROM sealog_index WHERE seq > ${after} AND seq <= ${until}
    ORDER BY seq LIMIT ${limit}`

/** The index row of one seq. */
export const at = (
  sql: SqlClient.SqlClient,
  seq: number
): Effect.Effect<IndexRow | undefined, SqlError> =>
  Effect.map(sql<IndexRow>`SELECT * FROM sealog_index WHERE seq = ${seq}`, ([row]) => row)

const eventLookUp = Statements.remembered(
  Statements.withList((ids) => `SELECT * FROM events WHERE id IN (${ids})`)
)

/** The rows of `events` with these ids, by id. */
export const eventRows = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  ids: ReadonlyArray<string>
): Effect.fn.Return<ReadonlyMap<string, MirrorRow>, SqlError> {
  const found = new Map<string, MirrorRow>()
  const run = yield* Statements.runOn(sql)
  for (const some of Statements.filledSizes(ids)) {
    const rows = yield* run<MirrorRow>(eventLookUp(sql, some.length), some)
    for (const row of rows) found.set(row.id, row)
  }
  return found
})

/**
 * Put one sealed event into `events`, alone or inside the caller's transaction.
 *
 * Answers `present` where the same event is there already. Fails with `RowDiffers` where its id
 * stands for another content: immutable rows are never overwritten.
 */
export const insert = Effect.fn("Mirror.insert")(function* (
  event: Event
): Effect.fn.Return<"inserted" | "present", RowDiffers | MirrorError, SqlClient.SqlClient> {
  const sql = yield* SqlClient.SqlClient
  return yield* put(sql, [event]).pipe(
    Effect.map((inserted): "inserted" | "present" => (inserted === 1 ? "inserted" : "present")),
    transacting(sql),
    Effect.catchTag("SqlError", (error) => Effect.fail(mirrorError("insert an event")(error)))
  )
})

/** Insert those of the events that are not there; how many that were. */
export const put = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  events: ReadonlyArray<Event>
): Effect.fn.Return<number, RowDiffers | SqlError> {
  const present = yield* eventRows(
    sql,
    events.map((event) => event.id)
  )
  const missing: Array<Event> = []
  for (const event of events) {
    const row = present.get(event.id)
    if (row === undefined) {
      missing.push(event)
      continue
    }
    const differing = Parity.differences(event, row)
    if (differing.length > 0) {
      return yield* new RowDiffers({
        seq: event.seq,
        id: event.id,
        columns: differing,
        jsonlEventHash: event.eventHash,
        sqliteEventHash: String(row.event_hash)
      })
    }
  }
  yield* insertEvents(sql, missing)
  return missing.length
})
