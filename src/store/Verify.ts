/**
 * Verification over files: every line through `Chain.Verifier`, then what lies beside the rows.
 *
 * Reads segments or one file with constant memory, changes nothing, needs no guard. With a mirror
 * at hand it also compares index and `events` row by row and looks for rows that only SQL has.
 * Rows beyond the mirror's newest one may be in flight: an unfinished end there is a remark, below
 * it a failure.
 */
import type { FileSystem } from "effect"
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import * as Chain from "../core/Chain.ts"
import type { Event } from "../core/Event.ts"
import type * as Hashes from "../core/Hashes.ts"
import * as Parity from "../core/Parity.ts"
import type { Line } from "../core/Segment.ts"
import type { Level, Reason, VerifyReport } from "../core/VerifyReport.ts"
import type { JournalError, MirrorError } from "./errors.ts"
import { mirrorError } from "./errors.ts"
import type { JournalFile, JournalReader } from "./Journal.ts"
import * as Manifests from "./Manifests.ts"
import type { IndexRow } from "./Mirror.ts"
import * as Mirror from "./Mirror.ts"

type Files = FileSystem.FileSystem

export interface VerifyOptions {
  /** The most failures that are listed; all are counted. Default 1,000. */
  readonly failuresMax?: number | undefined
  /** The mirror, where there is one: committed rows only. */
  readonly sql?: SqlClient.SqlClient | undefined
}

const batchRows = 256
const batchBytes = 8 * 1024 * 1024

const reason = (kind: string, expected: string | number, actual: string | number): Reason => ({
  kind,
  expected,
  actual
})

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
    row.leaf_hash
  ])

/** Compares rows with index, keys and `events`, a batch at a time. */
const makeCompare = (sql: SqlClient.SqlClient, verifier: Chain.Verifier) => {
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
const onlyInMirror = Effect.fnUntraced(function* (
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
})

const damageMax = 20

/** Tables and their indexes may say two things where a page was damaged: SQL reads either. */
const checkPages = Effect.fnUntraced(function* (
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
     WHERE ${hasNul(["event_id", "event_type", "session_id", "trace_id", "leaf_hash"])}`
  ],
  ["index", `SELECT seq FROM sealog_keys WHERE ${hasNul(["name", "value"])}`]
]

/** No text of a row holds a NUL, and a runtime may read text only up to one (Deno 2.9). */
const checkNul = Effect.fnUntraced(function* (
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

const withoutMirror: ReadonlyArray<Level> = [
  "signatures",
  "parents",
  "index",
  "parity",
  "checkpoints"
]

/** The place of a finding that is about a whole file. */
const wholeFile = (path: string): Line => ({
  path,
  number: 0,
  offset: 0,
  bytes: new Uint8Array(),
  length: 0,
  terminated: true,
  tooLong: false,
  bytesMax: 0,
  nul: false
})

/** What the names of the files and their sizes say. */
const checkFile = (
  verifier: Chain.Verifier,
  { bytes, path, segment }: JournalFile,
  isLast: boolean
): void => {
  const next = verifier.rows + 1
  if (segment !== next) {
    verifier.fail("rows", wholeFile(path), "", reason("segment_misnamed", next, segment))
  }
  if (bytes === 0 && !isLast) {
    verifier.fail("rows", wholeFile(path), "", reason("segment_empty", "rows", 0))
  }
}

/** A manifest that does not hold together: nothing is decided by it, and the next one replaces it. */
const checkManifest = Effect.fnUntraced(function* (
  { layout }: JournalReader,
  verifier: Chain.Verifier,
  hashes: Hashes.Hashes
) {
  const found = yield* Manifests.look(layout, hashes)
  if (found._tag !== "Damaged") return
  const { actual, expected } = found
  const place = wholeFile(layout.manifest)
  verifier.remark("checkpoints", place, "", reason("manifest_damaged", expected, actual))
})

/** Verify a journal, and its mirror where one is given. Damage is an answer, not an error. */
export const journal: (
  reader: JournalReader,
  hashes: Hashes.Hashes,
  options: VerifyOptions
) => Effect.Effect<VerifyReport, JournalError | MirrorError, Files> = Effect.fn("Ledger.verify")(
  function* (reader: JournalReader, hashes: Hashes.Hashes, options: VerifyOptions) {
    const { format, layout } = reader
    const { sql, failuresMax } = options
    const verifier = new Chain.Verifier({ path: layout.name, format, failuresMax, hashes })
    const failed = mirrorError("be verified")
    const committed =
      sql === undefined ? undefined : (yield* Effect.mapError(Mirror.settled(sql), failed)).head.seq
    const compare = sql === undefined ? undefined : makeCompare(sql, verifier)
    const { files, misplaced } = yield* reader.listing
    for (const { actual, expected, path } of misplaced) {
      verifier.fail("rows", wholeFile(path), "", reason("foreign_file", expected, actual))
    }
    for (const [nth, file] of files.entries()) {
      const isLast = nth === files.length - 1
      if (format === "segments") checkFile(verifier, file, isLast)
      yield* reader.eachLine(file, { offset: 0, number: 1 }, file.bytes, (lines) =>
        Effect.gen(function* () {
          for (const line of lines) {
            if (isLast && isInFlight(line, verifier, committed)) continue
            const event = verifier.push(line)
            if (event === undefined || compare === undefined) continue
            if (event.seq > (committed ?? 0)) continue
            if (format === "cortex" && !line.terminated) {
              // Cortex reads such a row, but the mirror's rows all had their LF.
              const found = reason("line_unterminated", "LF", "the end of the file")
              verifier.fail("rows", line, event.id, found)
            }
            const isFull = compare.take({ event, line: kept(line), segment: file.segment })
            if (isFull) yield* Effect.mapError(compare.flush(), failed)
          }
        })
      )
      verifier.end(isLast && committed !== undefined && verifier.rows > committed)
    }
    if (sql !== undefined && compare !== undefined) {
      const until = committed ?? 0
      yield* Effect.mapError(compare.flush(), failed)
      yield* Effect.mapError(onlyInMirror(sql, verifier, until, compare.keyCount()), failed)
      yield* Effect.mapError(checkNul(sql, verifier, until), failed)
      yield* Effect.mapError(checkPages(sql, verifier), failed)
      if (verifier.rows < until) {
        verifier.fail("parity", undefined, "", reason("journal_short", until, verifier.rows))
      }
    }
    yield* checkManifest(reader, verifier, hashes)
    return verifier.report(sql === undefined ? withoutMirror : ["signatures", "checkpoints"])
  }
)

// A line's bytes are overwritten by the next chunk; what a failure tells of it is not.
const kept = (line: Line): Line => ({ ...line, bytes: new Uint8Array() })

/** A last line without LF beyond what was committed may be a write under way. */
const isInFlight = (
  line: Line,
  verifier: Chain.Verifier,
  committed: number | undefined
): boolean => {
  if (committed === undefined || line.terminated || verifier.rows < committed) return false
  const expected = `nothing beyond row ${committed}, or whole rows`
  verifier.remark("rows", line, "", reason("in_flight", expected, `${line.length} bytes`))
  return true
}
