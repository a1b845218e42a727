/**
 * Internal: which rows of the index answer a question, found in statements of bounded work.
 *
 * No statement looks at more than a few thousand rows, as SQLite runs each with the event loop
 * stopped. What the index leaves out cannot be seen from here: a window also counts its rows, and
 * everything that is found is checked against its line when it is read.
 */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import type { IndexRow } from "./Mirror.ts"
import * as Statements from "./statements.ts"

/** Rows that one statement looks at. */
const windowRows = 4_096

/** Which rows, as far as the index can tell. */
export interface Filter {
  /** Any of these types. */
  readonly types?: ReadonlyArray<string> | undefined
  /** Only rows that no row up to this seq names as its parent. */
  readonly leavesUpTo?: number | undefined
}

/** Whether a filter passes every row. */
export const isOpen = ({ leavesUpTo, types }: Filter): boolean =>
  types === undefined && leavesUpTo === undefined

/** A child is later than its parent, whatever SQL holds. */
const isLeaf = (sql: SqlClient.SqlClient, newest: number) =>
  sql`NOT EXISTS (SELECT 1 FROM sealog_index c
    WHERE c.parent_seq = i.seq AND c.seq > i.seq AND c.seq <= ${newest})`

const where = (sql: SqlClient.SqlClient, filter: Filter, after: number, until: number) => {
  const { leavesUpTo, types } = filter
  return sql.and([
    sql`i.seq > ${after}`,
    sql`i.seq <= ${until}`,
    ...(types === undefined ? [] : [sql.in("event_type", types)]),
    ...(leavesUpTo === undefined ? [] : [isLeaf(sql, leavesUpTo)])
  ])
}

/** Rows that were found, and the seq up to which all were looked at. */
export interface Window {
  readonly rows: ReadonlyArray<IndexRow>
  readonly upTo: number
  /** Whether the index has every seq of the window. */
  readonly isWhole: boolean
}

/** The first matching rows after a seq, at most `limit`, in order. */
export const window = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  filter: Filter,
  after: number,
  until: number,
  limit: number
): Effect.fn.Return<Window, SqlError> {
  const end = Math.min(until, after + windowRows)
  const rows = yield* sql<IndexRow>`SELECT i.* FROM sealog_index i
    WHERE ${where(sql, filter, after, end)} ORDER BY i.seq LIMIT ${limit}`
  const last = rows.at(-1)
  const upTo = last !== undefined && rows.length === limit ? last.seq : end
  return { rows, upTo, isWhole: yield* isWhole(sql, after, upTo) }
})

const isWhole = (sql: SqlClient.SqlClient, after: number, until: number) =>
  Effect.map(
    sql<{ readonly size: number }>`SELECT count(*) AS size FROM sealog_index
      WHERE seq > ${after} AND seq <= ${until}`,
    ([row]) => row?.size === until - after
  )

/** The first seq in a range that the index lacks. */
export const firstGap = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  after: number,
  until: number
): Effect.fn.Return<number, SqlError> {
  const rows = yield* sql<{ readonly seq: number }>`SELECT seq FROM sealog_index
    WHERE seq > ${after} AND seq <= ${until} ORDER BY seq LIMIT ${windowRows}`
  const gap = rows.findIndex(({ seq }, nth) => seq !== after + nth + 1)
  return after + 1 + (gap === -1 ? rows.length : gap)
})

/** The seq of the n-th matching row from one end of a range; undefined where there are fewer. */
export const nth = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  filter: Filter,
  range: { readonly after: number; readonly until: number },
  n: number,
  from: "first" | "last"
): Effect.fn.Return<number | undefined, SqlError> {
  const order = from === "first" ? sql`ORDER BY i.seq` : sql`ORDER BY i.seq DESC`
  let { after, until } = range
  let left = n
  while (after < until) {
    const start = from === "first" ? after : Math.max(after, until - windowRows)
    const end = from === "first" ? Math.min(until, after + windowRows) : until
    const rows = yield* sql<{ readonly seq: number }>`SELECT i.seq FROM sealog_index i
      WHERE ${where(sql, filter, start, end)} ${order}`
    const found = rows[left - 1]
    if (found !== undefined) return found.seq
    left -= rows.length
    if (from === "first") after = end
    else until = start
  }
  return undefined
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
      WHERE ${where(sql, { leavesUpTo: newest }, seq - 1, seq)}`,
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
