/**
 * Internal: which rows of the index answer a question, found in statements of bounded work.
 *
 * The next rows that a lead has are looked up in the order of their seq and asked for the rest. Where
 * nothing leads, neighbouring rows are looked at; a question that names times passes over the blocks
 * of rows that lie outside. No statement looks at more than a few thousand rows, as SQLite runs each
 * with the event loop stopped.
 *
 * Rows that are passed over are counted, so that a row which the index has lost is not passed over in
 * silence, unless something leads further than that. Everything that is found is checked against its
 * line when it is read.
 */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import * as Filter from "../../core/Filter.ts"
import type { End, Lead, Plan, Question, Range } from "./Leads.ts"
import { isLeaf, ledTo, rest } from "./Leads.ts"
import type { IndexRow } from "../mirror/Mirror.ts"
import * as Statements from "../mirror/statements.ts"
import * as TimeBlocks from "../mirror/TimeBlocks.ts"

/** Rows that one statement looks at. */
const windowRows = 4_096

/** A row that was found; without `event_id` the index lacks it, though something leads there. */
export interface Found extends IndexRow {
  readonly led_to: number
}

/** Rows that were found, from the end that was asked for, and what was not looked at yet. */
export interface Look<A> {
  readonly rows: ReadonlyArray<A>
  readonly left: Range
  /** Part of what was looked at in which the index lacks a row. */
  readonly gapIn: Range | undefined
}

const nothing: Range = { after: 0, until: 0 }

/** Look at some rows of a range, which is not empty, from one end: at most `limit` are found. */
export const look = Effect.fnUntraced(function* <A extends { readonly led_to: number } = Found>(
  sql: SqlClient.SqlClient,
  plan: Plan,
  range: Range,
  limit: number,
  end: End = "first",
  columns: "i.*" | "1" = "i.*"
): Effect.fn.Return<Look<A>, SqlError> {
  if (Filter.isEmpty(plan.question)) return { rows: [], left: nothing, gapIn: undefined }
  const { before, from } = plan.question
  const isTimed = from !== undefined || before !== undefined
  const part = isTimed ? yield* TimeBlocks.next(sql, plan.question, range, end) : range
  if (part === undefined) return { rows: [], left: nothing, gapIn: undefined }
  const { looked, rows } =
    plan.lead === undefined
      ? yield* neighbours<A>(sql, plan.question, part, limit, end, columns)
      : yield* led<A>(sql, plan.question, plan.lead, part, limit, end, columns)
  const left: Range =
    end === "first"
      ? { after: looked.until, until: range.until }
      : { after: range.after, until: looked.after }
  // What a lead has passed over may be the whole ledger, and is not counted then.
  const isCounted = looked.until - looked.after <= windowRows
  const gapIn = !isCounted || (yield* isWhole(sql, looked)) ? undefined : looked
  return { rows, left, gapIn }
})

/** What a statement found, and the range that it looked at. */
interface Seen<A> {
  readonly rows: ReadonlyArray<A>
  readonly looked: Range
}

/** The part of a range from one end up to a seq, itself included. */
const upTo = ({ after, until }: Range, seq: number, end: End): Range =>
  end === "first" ? { after, until: seq } : { after: seq - 1, until }

const led = Effect.fnUntraced(function* <A extends { readonly led_to: number }>(
  sql: SqlClient.SqlClient,
  question: Question,
  lead: Lead,
  range: Range,
  limit: number,
  end: End,
  columns: "i.*" | "1"
): Effect.fn.Return<Seen<A>, SqlError> {
  const asked = rest(sql, question, lead)
  const count = asked.length === 0 ? limit : windowRows
  const seqs = ledTo(sql, lead, range, count, end)
  const order = end === "first" ? sql`ORDER BY led.seq` : sql`ORDER BY led.seq DESC`
  const where = asked.length === 0 ? sql`` : sql`WHERE i.seq IS NULL OR ${sql.and(asked)}`
  const rows = yield* sql<A>`SELECT led.seq AS led_to, ${sql.literal(columns)}
    FROM (${seqs}) AS led LEFT JOIN sealog_index i ON i.seq = led.seq
    ${where} ${order} LIMIT ${limit}`
  const last = rows.at(-1)
  if (last !== undefined && rows.length === limit) {
    return { rows, looked: upTo(range, last.led_to, end) }
  }
  // Of a short range, each row of which each value may lead to once, there was no more to look at.
  const isShort = (range.until - range.after) * lead.values.length < count
  if (asked.length === 0 || isShort) return { rows, looked: range }
  const [far] = yield* sql<{ readonly size: number; readonly low: number; readonly high: number }>`
    SELECT count(*) AS size, min(seq) AS low, max(seq) AS high FROM (${seqs}) AS led`
  if (far === undefined || far.size < count) return { rows, looked: range }
  return { rows, looked: upTo(range, end === "first" ? far.high : far.low, end) }
})

const neighbours = Effect.fnUntraced(function* <A extends { readonly led_to: number }>(
  sql: SqlClient.SqlClient,
  question: Question,
  { after, until }: Range,
  limit: number,
  end: End,
  columns: "i.*" | "1"
): Effect.fn.Return<Seen<A>, SqlError> {
  const part: Range =
    end === "first"
      ? { after, until: Math.min(until, after + windowRows) }
      : { after: Math.max(after, until - windowRows), until }
  const where = sql.and([
    sql`i.seq > ${part.after}`,
    sql`i.seq <= ${part.until}`,
    ...rest(sql, question, undefined)
  ])
  const order = end === "first" ? sql`ORDER BY i.seq` : sql`ORDER BY i.seq DESC`
  const rows = yield* sql<A>`SELECT i.seq AS led_to, ${sql.literal(columns)} FROM sealog_index i
    WHERE ${where} ${order} LIMIT ${limit}`
  const last = rows.at(-1)
  const isFull = last !== undefined && rows.length === limit
  return { rows, looked: isFull ? upTo(part, last.led_to, end) : part }
})

const isWhole = (sql: SqlClient.SqlClient, { after, until }: Range) =>
  Effect.map(
    sql<{ readonly size: number }>`SELECT count(*) AS size FROM sealog_index
      WHERE seq > ${after} AND seq <= ${until}`,
    ([row]) => row?.size === until - after
  )

/** The first seq in a range that the index lacks. */
export const firstGap = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  { after, until }: Range
): Effect.fn.Return<number, SqlError> {
  const rows = yield* sql<{ readonly seq: number }>`SELECT seq FROM sealog_index
    WHERE seq > ${after} AND seq <= ${until} ORDER BY seq LIMIT ${windowRows}`
  const gap = rows.findIndex(({ seq }, nth) => seq !== after + nth + 1)
  return after + 1 + (gap === -1 ? rows.length : gap)
})

/** The seq of the n-th matching row from one end of a range; undefined where there are fewer. */
export const nth = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  plan: Plan,
  range: Range,
  n: number,
  end: End
): Effect.fn.Return<number | undefined, SqlError> {
  let rest = n
  for (let left = range; left.after < left.until;) {
    const limit = Math.min(rest, windowRows)
    const found = yield* look<{ readonly led_to: number }>(sql, plan, left, limit, end, "1")
    const wanted = found.rows[rest - 1]
    if (wanted !== undefined) return wanted.led_to
    rest -= found.rows.length
    left = found.left
  }
  return undefined
})

/** Which of these rows pass, as far as the index can tell. */
export const passing = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  question: Question,
  seqs: ReadonlyArray<number>
): Effect.fn.Return<ReadonlySet<number>, SqlError> {
  const passed = new Set<number>()
  for (const some of Statements.inSizes(seqs)) {
    if (some.length === 0) continue
    const rows = yield* sql<{ readonly seq: number }>`SELECT i.seq FROM sealog_index i
      WHERE ${sql.and([sql.in("i.seq", some), ...rest(sql, question, undefined)])}`
    for (const { seq } of rows) passed.add(seq)
  }
  return passed
})

/** A row's seq and its parent's, as the index has them. */
export type Link = Pick<IndexRow, "seq" | "parent_seq">

/**
 * A row and its ancestors above `after`, leaf first, a few thousand at most: to be asked again from
 * the parent of the last. Ends where a parent is not earlier than its child.
 */
export const ancestors = (
  sql: SqlClient.SqlClient,
  seq: number,
  after: number
): Effect.Effect<ReadonlyArray<Link>, SqlError> =>
  sql<Link>`WITH RECURSIVE up (seq, parent_seq, depth) AS (
      SELECT seq, parent_seq, 1 FROM sealog_index WHERE seq = ${seq}
      UNION ALL
      SELECT i.seq, i.parent_seq, up.depth + 1 FROM up JOIN sealog_index i ON i.seq = up.parent_seq
      WHERE up.parent_seq < up.seq AND up.seq > ${after} AND up.depth < ${windowRows}
    ) SELECT seq, parent_seq FROM up ORDER BY seq DESC`

/** Whether no row up to `newest` names this row as its parent. */
export const isLeafAt = (
  sql: SqlClient.SqlClient,
  seq: number,
  newest: number
): Effect.Effect<boolean, SqlError> =>
  Effect.map(
    sql<{ readonly seq: number }>`SELECT i.seq FROM sealog_index i
      WHERE i.seq = ${seq} AND ${isLeaf(sql, newest)}`,
    (rows) => rows.length === 1
  )

const lookUp = Statements.remembered(
  Statements.withList((seqs) => `SELECT * FROM sealog_index WHERE seq IN (${seqs})`)
)

/** The index rows of these seqs, which ascend, in their order; fewer where some are not there. */
export const rowsAt = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  seqs: ReadonlyArray<number>
): Effect.fn.Return<ReadonlyArray<IndexRow>, SqlError> {
  const run = yield* Statements.runOn(sql)
  const found: Array<IndexRow> = []
  for (const some of Statements.inSizes(seqs)) {
    if (some.length === 0) continue
    const rows = yield* run<IndexRow>(lookUp(sql, some.length), some)
    found.push(...rows.toSorted((a, b) => a.seq - b.seq))
  }
  return found
})
