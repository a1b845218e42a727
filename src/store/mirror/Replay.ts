/**
 * Walking the journal beside the mirror: replay brings the mirror up, parity compares both.
 *
 * Both read the journal row by row with its chain checked, in batches that fit in memory, and ask
 * SQL about one batch at a time. Replay commits each batch, so it can be stopped and run again; a
 * row that differs, an id used twice or a broken chain ends it with nothing of that batch written.
 */
import { Effect, Result, Schema } from "effect"
import type { SqlClient } from "effect/sql"
import type { Head } from "../../core/Chain.ts"
import * as Chain from "../../core/Chain.ts"
import type { Event } from "../../core/Event.ts"
import type * as Hashes from "../../core/Hashes.ts"
import type { MirrorRow } from "../../core/Parity.ts"
import * as Parity from "../../core/Parity.ts"
import * as Row from "../../core/Row.ts"
import type { Line } from "../../core/Segment.ts"
import type { JournalError, MirrorError } from "../errors.ts"
import { mirrorError, RowDamaged } from "../errors.ts"
import type { JournalReader, Place } from "../journal/Journal.ts"
import * as Mirror from "./Mirror.ts"
import * as MirrorTree from "./MirrorTree.ts"
import { transacting } from "./transacting.ts"

/** What a replay did, and how both legs compare afterwards. */
export class ReplayReport extends Schema.Class<ReplayReport>("sealog/ReplayReport")({
  replayed: Schema.Int,
  skippedExisting: Schema.Int,
  parity: Parity.ParityReport
}) {}

/** Why a walk over the journal ends before its end. */
export type WalkError = RowDamaged | Chain.ChainBroken | JournalError

/** An event of the journal and where its line lies. */
export interface Placed {
  readonly event: Event
  readonly place: Place
}

/** Where a walk begins: a head known to be sound, and the first byte behind its line. */
export interface From {
  readonly head: Head
  readonly segment: number
  readonly offset: number
}

/** Before the first row of any journal. */
export const beginning: From = { head: Chain.start, segment: 0, offset: 0 }

/** The end of a row's line is where a walk behind it begins. */
export const behind = (head: Head, place: Place): From => ({
  head,
  segment: place.segment,
  offset: place.offset + place.length + 1
})

const batchRows = 256
const batchBytes = 8 * 1024 * 1024

const damaged = (line: Line, seq: number, actual: string) =>
  new RowDamaged({
    seq,
    path: line.path,
    offset: line.offset,
    leg: "journal",
    expected: "a row of this ledger",
    actual
  })

/** A group is taken in as a whole, so that the mirror never ends inside one. */
const endsGroup = (batch: ReadonlyArray<Placed>): boolean => {
  const [index, size] = batch.at(-1)?.event.batch ?? [0, 1]
  return index + 1 === size
}

/**
 * Hand the rows after `from` to `each`, in batches, with links and seals checked. Stops after the
 * row `until`. Fails with `RowDamaged` for a line that is no row, `ChainBroken` for one that does
 * not follow. Returns the head it came to.
 */
export const walk = Effect.fnUntraced(function* <E, R>(
  journal: JournalReader,
  hashes: Hashes.Hashes,
  from: From,
  until: number,
  each: (rows: ReadonlyArray<Placed>) => Effect.Effect<void, E, R>
) {
  let head = from.head
  let batch: Array<Placed> = []
  let bytes = 0
  const flush = Effect.suspend(() => {
    const full = batch
    batch = []
    bytes = 0
    return full.length === 0 ? Effect.void : each(full)
  })
  /** Take a line into the batch, or say why it is no next row. An effect for each would cost more. */
  const take = (segment: number, line: Line): RowDamaged | Chain.ChainBroken | undefined => {
    if (journal.format === "cortex" && !line.tooLong && Chain.isBlank(line.bytes)) return undefined
    const seq = head.seq + 1
    if (line.tooLong) return damaged(line, seq, `a line of ${line.length} bytes`)
    const row = Row.decode(line.bytes, seq, journal.format, hashes)
    if (Result.isFailure(row)) return damaged(line, seq, row.failure.message)
    const { event } = row.success
    const next = Chain.extend(head, event, hashes)
    if (Result.isFailure(next)) return next.failure
    head = next.success
    batch.push({ event, place: { segment, offset: line.offset, length: line.length } })
    bytes += line.length
    return undefined
  }
  const takeAll = Effect.fnUntraced(function* (segment: number, lines: ReadonlyArray<Line>) {
    for (const line of lines) {
      if (head.seq >= until) return
      const refusal = take(segment, line)
      if (refusal !== undefined) return yield* Effect.fail(refusal)
      if ((batch.length >= batchRows || bytes >= batchBytes) && endsGroup(batch)) yield* flush
    }
  })
  for (const file of yield* journal.files) {
    if (file.segment < from.segment || head.seq >= until) continue
    const offset = file.segment === from.segment ? from.offset : 0
    yield* journal.eachLine(file, { offset, number: 1 }, file.bytes, (lines) =>
      takeAll(file.segment, lines)
    )
  }
  yield* flush
  return head
})

/** The index rows of events; parents are looked up among the batch and in the index. */
export const indexed = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  rows: ReadonlyArray<Placed>
) {
  const own = new Map(rows.map(({ event }) => [event.id, event.seq]))
  const elsewhere = rows.flatMap(({ event: { parentId } }) =>
    parentId === undefined || own.has(parentId) ? [] : [parentId]
  )
  const found = yield* Mirror.findByIds(sql, [...new Set(elsewhere)])
  return rows.map(({ event, place }): Mirror.Indexed => {
    const { parentId } = event
    const parentSeq =
      parentId === undefined ? null : (own.get(parentId) ?? found.get(parentId)?.seq ?? null)
    return { seq: event.seq, event, parentSeq, leafHash: event.leafHash, place }
  })
})

/** The first id of a batch that stands for two rows, whether in the batch or in the index. */
const checkIds = Effect.fnUntraced(function* (
  journal: JournalReader,
  rows: ReadonlyArray<Placed>,
  index: ReadonlyMap<string, Mirror.IndexRow>
) {
  const seen = new Map<string, number>()
  for (const { event, place } of rows) {
    const row = index.get(event.id)
    if (row !== undefined && !(Number.isSafeInteger(row.seq) && row.seq > 0)) {
      return yield* new RowDamaged({
        seq: event.seq,
        path: journal.pathOf(place.segment),
        offset: place.offset,
        leg: "index",
        expected: `row ${event.seq}`,
        actual: `row ${row.seq}`
      })
    }
    const seq = seen.get(event.id) ?? index.get(event.id)?.seq
    if (seq !== undefined && seq !== event.seq) {
      return yield* new Mirror.IdConflict({ index: 0, id: event.id, seq, differs: ["seq"] })
    }
    seen.set(event.id, event.seq)
  }
})

const says = ({ leafHash, length, offset, segment }: Place & { readonly leafHash: string }) =>
  `leaf hash ${leafHash}, ${length} bytes at byte ${offset} of segment ${segment}`

const said = (row: Mirror.IndexRow) => says({ ...Mirror.placeOf(row), leafHash: row.leaf_hash })

const keysOf = ({ event: { keys, seq } }: Placed): ReadonlyArray<Mirror.KeyRow> =>
  Object.entries(keys ?? {}).map(([name, value]) => ({ name, value, seq }))

/**
 * Bring one batch of rows into `events` and the index, in one transaction; how many were inserted.
 * An index row that does not say what the journal says is a mirror of another history: `RowDamaged`.
 */
export const replayBatch = (
  sql: SqlClient.SqlClient,
  journal: JournalReader,
  hashes: Hashes.Hashes,
  rows: ReadonlyArray<Placed>
): Effect.Effect<number, Mirror.RowDiffers | Mirror.IdConflict | RowDamaged | MirrorError> =>
  Effect.gen(function* () {
    const index = yield* Mirror.findByIds(
      sql,
      rows.map(({ event }) => event.id)
    )
    yield* checkIds(journal, rows, index)
    for (const { event, place } of rows) {
      const row = index.get(event.id)
      if (row === undefined || said(row) === says({ ...place, leafHash: event.leafHash })) continue
      return yield* new RowDamaged({
        seq: event.seq,
        path: journal.pathOf(place.segment),
        offset: place.offset,
        leg: "index",
        expected: says({ ...place, leafHash: event.leafHash }),
        actual: said(row)
      })
    }
    const inserted = yield* Mirror.put(
      sql,
      rows.map(({ event }) => event)
    )
    const missing = rows.filter(({ event }) => !index.has(event.id))
    yield* Mirror.insertIndex(sql, yield* indexed(sql, missing))
    const known = rows.filter(({ event }) => index.has(event.id)).flatMap(keysOf)
    yield* Mirror.insertKeys(sql, yield* Mirror.missingKeys(sql, known))
    yield* MirrorTree.extend(
      sql,
      missing.map(({ event }) => event),
      hashes
    )
    return inserted
  }).pipe(
    transacting(sql),
    Effect.catchTag("SqlError", (error) => Effect.fail(mirrorError("take in rows")(error)))
  )

/** Replay into `events` alone, for a database that is not a ledger's mirror. */
export const putBatch = (
  sql: SqlClient.SqlClient,
  rows: ReadonlyArray<Placed>
): Effect.Effect<number, Mirror.RowDiffers | MirrorError> =>
  Mirror.put(
    sql,
    rows.map(({ event }) => event)
  ).pipe(
    transacting(sql),
    Effect.catchTag("SqlError", (error) => Effect.fail(mirrorError("take in rows")(error)))
  )

interface Joined extends MirrorRow {
  readonly seq: number
  readonly event_id: string
}

/** Where parity finds which seq an event of the mirror has: the ledger's index, or a scratch one. */
export type IndexTable = "sealog_index" | "temp.sealog_parity"

const joined = (sql: SqlClient.SqlClient, table: IndexTable, first: number, last: number) =>
  sql<Joined | { readonly seq: number; readonly event_id: string; readonly id: null }>`
    SELECT i.seq, i.event_id, e.* FROM ${sql.literal(table)} i LEFT JOIN events e ON e.id = i.event_id
    WHERE i.seq >= ${first} AND i.seq <= ${last} ORDER BY i.seq`

const strayRows = 1_000
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true })

/**
 * The ids in `events` that no row up to `last` has, in their order; those of rows that are in flight
 * left out. Ids are told and compared as bytes: a text may hold a NUL, which cannot be bound, and up
 * to which alone a runtime may read it.
 */
const eachStray = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  table: IndexTable,
  last: number,
  until: number,
  each: (id: string | null) => void
) {
  const columns = sql.onDialectOrElse({
    sqlite: () => sql`CAST(e.id AS BLOB) AS bytes, typeof(e.id) = 'blob' AS is_blob`,
    orElse: () => sql`e.id AS bytes, 0 AS is_blob`
  })
  const strays = sql`events e LEFT JOIN ${sql.literal(table)} i ON i.event_id = e.id
    WHERE (i.seq IS NULL OR i.seq < 1 OR (i.seq > ${last} AND i.seq <= ${until}))`
  const [nameless] = yield* sql<{ readonly n: number }>`
    SELECT count(*) AS n FROM ${strays} AND e.id IS NULL`
  for (let n = nameless?.n ?? 0; n > 0; n--) each(null)
  let after = sql`e.id IS NOT NULL`
  for (;;) {
    const rows = yield* sql<{ readonly bytes: Uint8Array | string; readonly is_blob: number }>`
      SELECT ${columns} FROM ${strays} AND ${after} ORDER BY e.id LIMIT ${strayRows}`
    for (const { bytes } of rows) each(typeof bytes === "string" ? bytes : utf8.decode(bytes))
    const end = rows.at(-1)
    if (end === undefined) return
    after = end.is_blob === 1 ? sql`e.id > ${end.bytes}` : sql`e.id > CAST(${end.bytes} AS TEXT)`
  }
})

/**
 * Compare both legs up to the row `until` of the journal, in both directions. Only committed rows
 * may be seen through `sql`. Neither side is held in memory: rows are compared batch by batch, and
 * what only the mirror has is found by an anti-join.
 */
export const parity = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  journal: JournalReader,
  hashes: Hashes.Hashes,
  table: IndexTable,
  until: number,
  listMax?: number
): Effect.fn.Return<
  Parity.ParityReport,
  Chain.ChainBroken | Mirror.IdConflict | RowDamaged | JournalError | MirrorError
> {
  const failed = mirrorError("compare its rows")
  const tally = new Parity.Tally(listMax)
  // Empty as long as the index is sound: rows that only a look-up by id found, and rows that the
  // index has at a seq which is another event's.
  const found = new Set<string>()
  const suspects = new Set<string>()
  const compare = Effect.fnUntraced(function* (rows: ReadonlyArray<Placed>) {
    const [first, last] = [rows[0]?.event.seq ?? 0, rows.at(-1)?.event.seq ?? 0]
    const bySeq = new Map(
      (yield* Effect.mapError(joined(sql, table, first, last), failed)).map((row) => [row.seq, row])
    )
    const others: Array<Event> = []
    for (const { event } of rows) {
      const row = bySeq.get(event.seq)
      const isOwn = row?.event_id === event.id
      if (isOwn) tally.journalEvent(event, row.id === null ? undefined : row)
      else others.push(event)
      if (!isOwn && row !== undefined && row.id !== null) suspects.add(row.id)
    }
    const ids = others.map((event) => event.id)
    const byId = yield* Effect.mapError(Mirror.eventRows(sql, ids), failed)
    for (const event of others) tally.journalEvent(event, byId.get(event.id))
    for (const id of byId.keys()) found.add(id)
  })
  const head = yield* walk(journal, hashes, beginning, until, compare)
  yield* Effect.mapError(
    eachStray(sql, table, head.seq, until, (id) => {
      if (id === null || !found.has(id)) tally.mirrorOnly(id ?? "null")
    }),
    failed
  )
  for (const id of suspects) if (!found.has(id)) tally.mirrorOnly(id)
  return tally.report()
})
