/**
 * Verification of the mirror: what SQL holds against the lines that were verified.
 *
 * Rows are compared with index, keys and `events` a batch at a time, in the order of the journal;
 * then whatever only SQL has is looked for, with texts that hold a NUL and pages that are damaged.
 * What is found is told to the verifier; nothing is changed.
 */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type * as Chain from "../../core/Chain.ts"
import type { Event } from "../../core/Event.ts"
import * as Parity from "../../core/Parity.ts"
import type { Line } from "../../core/Segment.ts"
import type { Level, Reason } from "../../core/VerifyReport.ts"
import type { IndexRow } from "../mirror/Mirror.ts"
import * as Mirror from "../mirror/Mirror.ts"
import * as TimeBlocks from "../mirror/TimeBlocks.ts"

const batchRows = 256
const batchBytes = 8 * 1024 * 1024

/** What a finding says: its kind and both sides. */
export const reason = (
  kind: string,
  expected: string | number,
  actual: string | number
): Reason => ({
  kind,
  expected: side(expected),
  actual: side(actual)
})

/** What SQL gives for a number may be none. */
const side = (value: string | number): string | number =>
  Number.isFinite(value) ? value : String(value)

/** A row that was verified, and where it lies. */
interface Seen {
  readonly event: Event
  readonly line: Line
  readonly segment: number
}

/** What an index row says, in one text; `parent_seq` is told by the level of parents. */
const indexText = (row: Omit<IndexRow, "parent_seq">): string =>
  JSON.stringify([
    row.event_id,
    row.event_type,
    row.session_id,
    row.trace_id,
    row.segment,
    row.byte_offset,
    row.byte_length,
    row.leaf_hash,
    row.observed_at
  ])

/** Compares rows with index, keys and `events`, a batch at a time. */
export const makeCompare = (sql: SqlClient.SqlClient, verifier: Chain.Verifier) => {
  let batch: Array<Seen> = []
  let bytes = 0
  let keyCount = 0

  const fail = (level: Level, { event, line }: Seen, reason: Reason) =>
    verifier.fail(level, line, event.id, reason, event.seq)

  const compareIndex = (seen: Seen, row: IndexRow | undefined) => {
    const { event, line, segment } = seen
    if (row === undefined) {
      fail("index", seen, reason("index_missing", "an index row", "none"))
      return
    }
    const { leafHash, seq } = event
    const place = { segment, offset: line.offset, length: line.length }
    const journal = indexText(Mirror.indexRow({ seq, event, parentSeq: null, leafHash, place }))
    const index = indexText(row)
    if (journal === index) return
    fail("index", seen, reason("index_differs", journal, index))
  }

  const compareEvents = (seen: Seen, row: Parity.MirrorRow | undefined) => {
    const { event } = seen
    if (row === undefined) {
      fail("parity", seen, reason("missing_in_sqlite", event.eventHash, "no row"))
      return
    }
    const columns = Parity.differences(event, row)
    if (columns.length === 0) return
    const which = columns.join(", ")
    fail("parity", seen, {
      ...reason("mismatched", event.eventHash, String(row.event_hash)),
      which
    })
  }

  const compareParents = Effect.fnUntraced(function* (
    rows: ReadonlyArray<Seen>,
    bySeq: ReadonlyMap<number, IndexRow>
  ) {
    const ids = rows.flatMap(({ event }) => event.parentId ?? [])
    const parents = yield* Mirror.findByIds(sql, ids)
    for (const seen of rows) {
      const { parentId, seq } = seen.event
      const parent = parentId === undefined ? undefined : parents.get(parentId)
      const expected = parent?.seq ?? null
      const row = bySeq.get(seq)
      if (parentId !== undefined && (parent === undefined || parent.seq >= seq)) {
        const actual = parent === undefined ? "no row" : `row ${parent.seq}`
        fail("parents", seen, reason("parent_unknown", "an earlier row", actual))
      } else if (row !== undefined && row.parent_seq !== expected) {
        fail("index", seen, reason("index_parent", String(expected), String(row.parent_seq)))
      }
    }
  })

  const compareKeys = Effect.fnUntraced(function* (rows: ReadonlyArray<Seen>) {
    const keys = rows.flatMap(({ event: { keys = {}, seq } }) =>
      Object.entries(keys).map(([name, value]) => ({ name, value, seq }))
    )
    keyCount += keys.length
    const bySeq = new Map(rows.map((seen) => [seen.event.seq, seen]))
    for (const { name, seq } of yield* Mirror.missingKeys(sql, keys)) {
      const seen = bySeq.get(seq)
      if (seen !== undefined) fail("index", seen, reason("key_missing", name, "none"))
    }
  })

  const flush = Effect.fnUntraced(function* () {
    const [first, last] = [batch[0], batch.at(-1)]
    if (first === undefined || last === undefined) return
    const rows = batch
    batch = []
    bytes = 0
    const ids = rows.map(({ event }) => event.id)
    const events = yield* Mirror.eventRows(sql, ids)
    const page = yield* Mirror.page(sql, first.event.seq - 1, last.event.seq, batchRows)
    const bySeq = new Map(page.map((row) => [row.seq, row]))
    for (const seen of rows) {
      compareIndex(seen, bySeq.get(seen.event.seq))
      compareEvents(seen, events.get(seen.event.id))
    }
    yield* compareParents(rows, bySeq)
    yield* compareKeys(rows)
  })

  /** Takes a row to compare; whether it is time to flush. */
  const take = (seen: Seen): boolean => {
    batch.push(seen)
    bytes += seen.line.length
    return batch.length >= batchRows || bytes >= batchBytes
  }

  return { take, flush, keyCount: () => keyCount }
}

const strayRows = 1_000

/** Rows that SQL holds and the journal does not, up to the row `until` of the index. */
export const onlyInMirror = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  verifier: Chain.Verifier,
  until: number,
  keyCount: number
) {
  for (let from = 0; ; from += strayRows) {
    const strays = yield* sql<{ id: unknown }>`
      SELECT e.id FROM events e LEFT JOIN sealog_index i ON i.event_id = e.id
      WHERE i.seq IS NULL OR i.seq < 1 OR (i.seq > ${verifier.rows} AND i.seq <= ${until})
      ORDER BY e.id LIMIT ${strayRows} OFFSET ${from}`
    for (const { id } of strays) {
      verifier.fail("parity", undefined, String(id), reason("missing_in_jsonl", "a row", "none"))
    }
    if (strays.length < strayRows) break
  }
  const between = sql`(seq < 1 OR (seq > ${verifier.rows} AND seq <= ${until}))`
  const rows = yield* sql<{ event_id: unknown; seq: number }>`
    SELECT event_id, seq FROM sealog_index WHERE ${between} ORDER BY seq LIMIT ${strayRows}`
  for (const { event_id, seq } of rows) {
    const found = `an index row for row ${seq}`
    verifier.fail("index", undefined, String(event_id), reason("index_stray", "no such row", found))
  }
  const [keys] = yield* sql<{
    n: number
  }>`SELECT count(*) AS n FROM sealog_keys k LEFT JOIN sealog_index i ON i.seq = k.seq
    WHERE i.seq IS NULL OR i.seq <= ${until}`
  const count = keys?.n ?? 0
  if (count > keyCount) verifier.fail("index", undefined, "", reason("key_stray", keyCount, count))
  for (const { actual, expected, seq } of yield* TimeBlocks.differing(sql)) {
    verifier.fail("index", undefined, "", reason("times_differ", expected, actual), seq)
  }
})

const damageMax = 20

/** Tables and their indexes may say two things where a page was damaged: SQL reads either. */
export const checkPages = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  verifier: Chain.Verifier
) {
  const found = yield* sql.onDialectOrElse({
    sqlite: () =>
      sql.unsafe<{ integrity_check: string }>(`PRAGMA main.integrity_check(${damageMax})`),
    orElse: () => Effect.succeed([])
  })
  for (const { integrity_check: says } of found) {
    if (says !== "ok")
      verifier.fail("index", undefined, "", reason("mirror_damaged", "ok", says), 0)
  }
})

const hasNul = (columns: ReadonlyArray<string>): string =>
  columns.map((column) => `instr(CAST(${column} AS BLOB), x'00') > 0`).join(" OR ")

const withNul: ReadonlyArray<readonly [Level, string]> = [
  [
    "parity",
    `SELECT coalesce(i.seq, 0) AS seq FROM events e LEFT JOIN sealog_index i ON i.event_id = e.id
     WHERE ${hasNul(Parity.columns.map((column) => `e.${column}`))}`
  ],
  [
    "index",
    `SELECT seq FROM sealog_index
     WHERE ${hasNul(["event_id", "event_type", "session_id", "trace_id", "leaf_hash", "observed_at"])}`
  ],
  ["index", `SELECT seq FROM sealog_keys WHERE ${hasNul(["name", "value"])}`]
]

/** No text of a row holds a NUL, and a runtime may read text only up to one (Deno 2.9). */
export const checkNul = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  verifier: Chain.Verifier,
  until: number
) {
  for (const [level, text] of withNul) {
    const found = yield* sql.onDialectOrElse({
      sqlite: () => sql.unsafe<{ seq: number }>(text),
      orElse: () => Effect.succeed([])
    })
    for (const { seq } of found) {
      const isSeq = Number.isSafeInteger(seq)
      if (isSeq && seq > until) continue
      const found = reason("mirror_nul", "text without NUL", "a NUL")
      verifier.fail(level, undefined, "", found, isSeq ? seq : 0)
    }
  }
})
