/**
 * Internal: between which times the rows of each block of the index were observed.
 *
 *   sealog_times   (block, first, last): the earliest and latest time, as `Timestamp.toOrdered`
 *                  gives it, of rows block * 1024 + 1 to (block + 1) * 1024
 *
 * Rows are asked for in the order of their seq, and times are nearly in that order but never surely.
 * So a range of time leaves some blocks, one small row for a thousand, and costs a group one
 * statement, where an index on the time would cost each row an entry and each question a sort.
 */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import type { Criteria } from "../../core/Filter.ts"
import * as Statements from "./statements.ts"

/** Rows of a block. In the SQL of the migration too: it may change by another migration alone. */
const blockRows = 1_024

/** Blocks that one statement answers. */
const blocksMax = 1_024

const table = `CREATE TABLE sealog_times (
    block INTEGER PRIMARY KEY,
    first TEXT NOT NULL,
    last TEXT NOT NULL
)`

const fill = `INSERT INTO sealog_times (block, first, last)
  SELECT (seq - 1) / ${blockRows}, min(observed_at), max(observed_at) FROM sealog_index
  WHERE seq > 0 GROUP BY (seq - 1) / ${blockRows}`

/** Make the table and fill it from the index. */
export const create = (sql: SqlClient.SqlClient): Effect.Effect<void, SqlError> =>
  Effect.andThen(sql.unsafe(table), Effect.asVoid(sql.unsafe(fill)))

/** What a block holds. */
export interface Block {
  readonly block: number
  readonly first: string
  readonly last: string
}

/** The block of a row. */
const blockOf = (seq: number): number => Math.floor((seq - 1) / blockRows)

/** The blocks of rows, each with their earliest and latest time. */
export const blocksOf = (
  rows: Iterable<{ readonly seq: number; readonly observed_at: string }>
): ReadonlyMap<number, Block> => {
  const blocks = new Map<number, Block>()
  for (const { observed_at: at, seq } of rows) {
    const block = blockOf(seq)
    const known = blocks.get(block) ?? { block, first: at, last: at }
    const first = at < known.first ? at : known.first
    blocks.set(block, { block, first, last: at > known.last ? at : known.last })
  }
  return blocks
}

/** Widen the blocks of rows that are put into the index. */
export const widen = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  rows: Iterable<{ readonly seq: number; readonly observed_at: string }>
): Effect.fn.Return<void, SqlError> {
  const run = yield* Statements.runOn(sql)
  for (const { block, first, last } of blocksOf(rows).values()) {
    yield* run(upsert(sql, 1), [block, first, last])
  }
})

const upsert = Statements.remembered(
  Statements.insertInto(
    "sealog_times",
    ["block", "first", "last"],
    ` ON CONFLICT (block) DO UPDATE SET
      first = CASE WHEN excluded.first < sealog_times.first
        THEN excluded.first ELSE sealog_times.first END,
      last = CASE WHEN excluded.last > sealog_times.last
        THEN excluded.last ELSE sealog_times.last END`
  )
)

/** Take the blocks back to what the index holds once it was cut behind the row `until`. */
export const cut = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  until: number
): Effect.fn.Return<void, SqlError> {
  const block = blockOf(until)
  yield* sql`DELETE FROM sealog_times WHERE block >= ${block}`
  const rows = yield* sql<{ readonly seq: number; readonly observed_at: string }>`
    SELECT seq, observed_at FROM sealog_index
    WHERE seq > ${block * blockRows} AND seq <= ${until} AND seq > 0`
  yield* widen(sql, rows)
})

/** A block that does not say what the index does; `seq` is that of its first row. */
export interface Wrong {
  readonly seq: number
  readonly expected: string
  readonly actual: string
}

/** SQLite keeps to no column's type. */
const isSeq = (seq: unknown): seq is number => Number.isSafeInteger(seq)

/** Blocks that one statement compares with their rows. */
const comparedBlocks = 16

/** Blocks that do not say what the rows of the index do, and those that have no rows. */
export const differing = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient
): Effect.fn.Return<ReadonlyArray<Wrong>, SqlError> {
  const wrong: Array<Wrong> = []
  for (let after = 0; ;) {
    // Rows that nobody wrote may have any seq: what lies between is not walked through, and what is
    // no seq at all is told of elsewhere.
    const [next] = yield* sql<{ readonly seq: number | null }>`SELECT min(seq) AS seq
      FROM sealog_index WHERE seq > ${after}`
    if (next === undefined || !isSeq(next.seq)) break
    const block = blockOf(next.seq)
    after = (block + comparedBlocks) * blockRows
    // A number is bound as a float, and must divide as an integer. One statement sees one moment: rows
    // that are appended meanwhile are in both tables or none.
    const rows = yield* sql<{ [K in keyof Block | "first_said" | "last_said"]: unknown }>`
      SELECT i.*, t.first AS first_said, t.last AS last_said FROM (
        SELECT (seq - 1) / CAST(${blockRows} AS INTEGER) AS block, min(observed_at) AS first,
          max(observed_at) AS last FROM sealog_index
        WHERE seq > ${block * blockRows} AND seq <= ${after}
        GROUP BY 1
      ) AS i LEFT JOIN sealog_times t ON t.block = i.block
      WHERE t.first IS DISTINCT FROM i.first OR t.last IS DISTINCT FROM i.last`
    for (const row of rows) {
      const first = Number(row.block) * blockRows + 1
      const seq = isSeq(first) ? first : 0
      const actual = `${String(row.first_said)} to ${String(row.last_said)}`
      wrong.push({ seq, expected: `${String(row.first)} to ${String(row.last)}`, actual })
    }
  }
  const strays = yield* sql<{ readonly block: unknown }>`SELECT block FROM sealog_times t
    WHERE NOT EXISTS (SELECT 1 FROM sealog_index i
      WHERE i.seq > t.block * ${blockRows} AND i.seq <= (t.block + 1) * ${blockRows})
    ORDER BY block LIMIT ${blocksMax}`
  for (const { block } of strays) {
    wrong.push({ seq: 0, expected: "no such block", actual: `a block ${String(block)}` })
  }
  return wrong
})

/** A part of a range of seqs: after the one, up to the other. */
interface Range {
  readonly after: number
  readonly until: number
}

/**
 * The next rows of a range, from one end, that may lie between the times: those of neighbouring
 * blocks. Undefined where there are none any more.
 */
export const next = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  { before, from }: Pick<Criteria, "before" | "from">,
  { after, until }: Range,
  end: "first" | "last"
): Effect.fn.Return<Range | undefined, SqlError> {
  const where = sql.and([
    sql`block >= ${blockOf(after + 1)}`,
    sql`block <= ${blockOf(until)}`,
    ...(from === undefined ? [] : [sql`last >= ${from}`]),
    ...(before === undefined ? [] : [sql`first < ${before}`])
  ])
  const order = end === "first" ? sql`ORDER BY block` : sql`ORDER BY block DESC`
  const rows = yield* sql<{ readonly block: number }>`SELECT block FROM sealog_times
    WHERE ${where} ${order} LIMIT ${blocksMax}`
  const begins = rows[0]?.block
  if (begins === undefined) return undefined
  const step = end === "first" ? 1 : -1
  const gap = rows.findIndex(({ block }, nth) => block !== begins + nth * step)
  const ends = begins + ((gap === -1 ? rows.length : gap) - 1) * step
  const [low, high] = end === "first" ? [begins, ends] : [ends, begins]
  return {
    after: Math.max(after, low * blockRows),
    until: Math.min(until, (high + 1) * blockRows)
  }
})
