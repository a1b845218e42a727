/**
 * Internal: which rows a query leaves: a range of seqs, and a filter on them.
 *
 * Where a query has no filter everything is arithmetic, as seqs have no gaps; with one, the seq of the
 * n-th row that passes is looked for in the index.
 */
import { Effect } from "effect"
import type { Head } from "../../core/Chain.ts"
import * as Filter from "../../core/Filter.ts"
import type { AnyKind } from "../../core/Kind.ts"
import { mirrorError } from "../errors.ts"
import type { IndexedRows } from "./IndexedRows.ts"
import * as IndexScan from "./IndexScan.ts"
import type { Plan, Question, Range } from "./Leads.ts"
import * as Mirror from "../mirror/Mirror.ts"
import type { Query } from "./Reader.ts"

/** A number of rows or a seq that is none is a broken precondition. */
export const check = ({ last, limit, segment, until }: Query<AnyKind>): void => {
  for (const [name, n] of Object.entries({ last, limit, segment, until })) {
    if (n !== undefined && !(Number.isSafeInteger(n) && n >= 0)) {
      throw new RangeError(`${name} must be a whole number, not ${n}`)
    }
  }
}

/** As `check`; a page of no rows would be the last one, or begin where the next one does. */
export const checkPage = (query: Query<AnyKind>): void => {
  const { limit } = query
  if (limit !== undefined && !(Number.isSafeInteger(limit) && limit > 0)) {
    throw new RangeError(`limit must be a whole number above 0, not ${limit}`)
  }
  check(query)
}

/** What a query asks of a row besides its seq, when the stream begins at a head. */
export const questionOf = (query: Query<AnyKind>, { seq }: Head): Question => ({
  ...Filter.criteriaOf(query),
  leavesUpTo: query.leaves === true ? seq : undefined
})

/** No row at all. */
export const nothing: Range = { after: 0, until: 0 }

/** The seqs of a segment: up to the next file, as the names of the files are no matter of SQL. */
const segmentRange = Effect.fnUntraced(function* ({ journal, sql }: IndexedRows, segment: number) {
  const all: Range = { after: 0, until: Number.MAX_SAFE_INTEGER }
  if (journal.format === "cortex") return segment === 0 ? all : nothing
  if (segment === 0) return nothing
  const { files } = yield* journal.listing
  if (!files.some((file) => file.segment === segment)) {
    const row = yield* Effect.mapError(Mirror.at(sql, segment), mirrorError("find a segment"))
    // Where the index knows of it, reading says that the file is missing.
    if (row?.segment !== segment) return nothing
  }
  const next = files.find((file) => file.segment > segment)
  return { after: segment - 1, until: next === undefined ? all.until : next.segment - 1 }
})

/** The seqs that a query leaves, its filters and counts aside. */
export const rangeOf = Effect.fnUntraced(function* (
  rows: IndexedRows,
  { after, segment, until }: Query<AnyKind>,
  began: Head
) {
  if (after !== undefined) yield* rows.checkPosition(after)
  const own = segment === undefined ? undefined : yield* segmentRange(rows, segment)
  return {
    after: Math.max(after?.seq ?? 0, own?.after ?? 0),
    until: Math.min(began.seq, until ?? began.seq, own?.until ?? began.seq)
  } satisfies Range
})

/** A part of a list by what a query says of numbers: the first `limit`, and of these the `last`. */
export const counted = ({ last, limit }: Query<AnyKind>, { after, until }: Range): Range => {
  const end = Math.min(until, after + (limit ?? Number.MAX_SAFE_INTEGER))
  return { after: Math.max(after, end - (last ?? Number.MAX_SAFE_INTEGER)), until: end }
}

/** The range that holds what `limit` and `last` leave of the rows that pass a filter. */
export const filteredRange = Effect.fnUntraced(function* (
  { sql }: IndexedRows,
  { last, limit }: Query<AnyKind>,
  plan: Plan,
  range: Range
) {
  if (last === 0 || limit === 0) return nothing
  // Without `last` the stream itself counts up to the limit.
  if (last === undefined) return range
  const failed = mirrorError("look through its index")
  const end =
    limit === undefined
      ? undefined
      : yield* Effect.mapError(IndexScan.nth(sql, plan, range, limit, "first"), failed)
  const until = end ?? range.until
  const within = { after: range.after, until }
  const start = yield* Effect.mapError(IndexScan.nth(sql, plan, within, last, "last"), failed)
  return { after: start === undefined ? range.after : start - 1, until }
})
