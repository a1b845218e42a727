/**
 * Internal: what SQL says of a range of rows, for a manifest.
 *
 * A few aggregates over the primary keys, so that a range costs what its rows cost, whatever lies
 * before it. SQLite holds in a column whatever someone puts there: what is no number counts as none,
 * and as something that does not hold.
 */
import { Effect } from "effect"
import type { Path } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import type { Head } from "../../core/Chain.ts"
import * as Chain from "../../core/Chain.ts"
import type { File, Part } from "../../core/Manifest.ts"
import * as Segment from "../../core/Segment.ts"
import type { Layout } from "../journal/Layout.ts"

interface Sums {
  readonly rows: number
  readonly parents: number
  /** Rows whose parent is no earlier row. */
  readonly unclosed: number
  /** Rows that name a parent and have no event. */
  readonly headless: number
  /** Rows whose event is not there, or does not link to the one before. */
  readonly unlinked: number
  /** Rows whose place is none, or begins within the line before. */
  readonly astray: number
}

const sums = (sql: SqlClient.SqlClient, after: number, until: number) =>
  Effect.map(
    sql<Sums>`SELECT count(*) AS rows, count(i.parent_seq) AS parents,
      count(CASE WHEN i.parent_seq IS NOT NULL
        AND (a.seq IS NULL OR a.seq < 1 OR a.seq >= i.seq) THEN 1 END) AS unclosed,
      count(CASE WHEN i.parent_seq IS NOT NULL AND e.id IS NULL THEN 1 END) AS headless,
      count(CASE WHEN e.event_hash IS NULL
        OR (i.seq = 1 AND e.prev_event_hash IS NOT NULL)
        OR (i.seq > 1 AND (e.prev_event_hash IS NULL OR b.event_hash IS NULL
          OR b.event_hash <> e.prev_event_hash)) THEN 1 END) AS unlinked,
      count(CASE WHEN i.byte_offset < 0 OR i.byte_length < 1
        OR i.byte_offset + 0 <> i.byte_offset OR i.byte_length + 0 <> i.byte_length
        OR (p.segment = i.segment AND i.byte_offset <= p.byte_offset + p.byte_length)
        THEN 1 END) AS astray
      FROM sealog_index i
      LEFT JOIN sealog_index p ON p.seq = i.seq - 1
      LEFT JOIN sealog_index a ON a.seq = i.parent_seq
      LEFT JOIN events e ON e.id = i.event_id
      LEFT JOIN events b ON b.id = p.event_id
      WHERE i.seq > ${after} AND i.seq <= ${until}`,
    ([row]) => row ?? { rows: 0, parents: 0, unclosed: 0, headless: 0, unlinked: 0, astray: 0 }
  )

/** How many branches, of these rows or of rows before, go on in these rows. */
const branchesGoneOn = (sql: SqlClient.SqlClient, after: number, until: number) =>
  Effect.map(
    sql<{ readonly n: number }>`SELECT count(*) AS n FROM
      (SELECT DISTINCT parent_seq AS seq FROM sealog_index
        WHERE seq > ${after} AND seq <= ${until} AND parent_seq IS NOT NULL) d
      JOIN sealog_index p ON p.seq = d.seq
      WHERE p.parent_seq IS NOT NULL AND p.seq <= ${until} AND NOT EXISTS
        (SELECT 1 FROM sealog_index c WHERE c.parent_seq = d.seq AND c.seq <= ${after})`,
    ([row]) => row?.n ?? 0
  )

const types = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, after: number, until: number) {
  const found = yield* sql<{ readonly event_type: unknown; readonly n: number }>`
    SELECT event_type, count(*) AS n FROM sealog_index
    WHERE seq > ${after} AND seq <= ${until} GROUP BY event_type`
  return Object.fromEntries(found.map(({ event_type, n }) => [String(event_type), n]))
})

interface Run {
  readonly segment: unknown
  readonly first: number
  readonly n: number
  readonly bytes: unknown
}

const natural = (value: unknown): number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : 0

const files = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  nameOf: (segment: unknown) => string,
  after: number,
  until: number
) {
  const runs = yield* sql<Run>`SELECT segment, min(seq) AS first, count(*) AS n,
    max(byte_offset + byte_length + 1) AS bytes FROM sealog_index
    WHERE seq > ${after} AND seq <= ${until} GROUP BY segment ORDER BY min(seq)`
  return runs.map(({ bytes, first, n, segment }): File => ({
    name: nameOf(segment),
    firstSeq: first,
    bytes: natural(bytes),
    rows: n
  }))
})

/** What the rows behind `after`, up to `until`, say. */
export const part = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  nameOf: (segment: unknown) => string,
  after: number,
  until: number
): Effect.fn.Return<Part, SqlError> {
  const { astray, headless, parents, rows, unclosed, unlinked } = yield* sums(sql, after, until)
  const goneOn = parents === 0 ? 0 : yield* branchesGoneOn(sql, after, until)
  return {
    after,
    seq: until,
    rows,
    byType: yield* types(sql, after, until),
    branches: parents - goneOn,
    files: yield* files(sql, nameOf, after, until),
    invariants: {
      parentLinksClosed: unclosed === 0,
      seqGapless: rows === until - after,
      segmentsInOrder: true,
      indexWithinBounds: astray === 0,
      branchHeadsIndexed: headless === 0,
      checkpointsInOrder: true,
      chainValid: unlinked === 0
    }
  }
})

/** Whether the index has rows before the first. */
export const hasStrays = (sql: SqlClient.SqlClient) =>
  Effect.map(sql`SELECT seq FROM sealog_index WHERE seq < 1 LIMIT 1`, (rows) => rows.length > 0)

/** The name of a segment's file. */
export const fileName = (paths: Path.Path, layout: Layout, segment: unknown): string => {
  if (layout.format === "cortex") return paths.basename(layout.journal)
  return natural(segment) > 0 ? Segment.name(natural(segment)) : String(segment)
}

const text = (value: unknown): string | null => (typeof value === "string" ? value : null)

/** A head whose members are what their types say. */
export const headOf = ({ eventHash, id, leafHash, seq }: Head): Head =>
  seq < 1 ? Chain.start : { seq, leafHash, id: text(id), eventHash: text(eventHash) }
