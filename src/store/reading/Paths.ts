/**
 * Internal: a row and its ancestors, root first, each read against the one before it.
 *
 * The seqs are collected from the leaf on by recursive SQL, a few thousand to a statement, and only as
 * far back as they are wanted: parents are earlier than their children, so it ends, whatever SQL
 * holds. Rows are then read from the root on, a page at a time.
 */
import { Effect, Option, Stream } from "effect"
import type { Head } from "../../core/Chain.ts"
import * as Chain from "../../core/Chain.ts"
import type { Event, Position } from "../../core/Event.ts"
import * as Filter from "../../core/Filter.ts"
import type { AnyKind } from "../../core/Kind.ts"
import type { MirrorError, RowDamaged } from "../errors.ts"
import { mirrorError } from "../errors.ts"
import type { IndexedRows } from "./IndexedRows.ts"
import * as IndexScan from "./IndexScan.ts"
import type { Question, Range } from "./Leads.ts"
import * as Leads from "./Leads.ts"
import { upToBytes } from "./neighbours.ts"
import type { Query } from "./Reader.ts"
import { EventNotFound } from "./Reader.ts"
import * as Selection from "./Selection.ts"

const pageRows = 256

/** A row and its ancestors, the first one first; `isRooted` where the first has no parent. */
interface Lineage {
  readonly seqs: ReadonlyArray<number>
  readonly isRooted: boolean
}

/** Collect a lineage back to the first row that is not wanted, 8 bytes a row. */
const lineageOf = Effect.fnUntraced(function* (
  { indexGap, sql, wrongIndex }: IndexedRows,
  leaf: number,
  isEnough: (seqs: ReadonlyArray<number>) => boolean,
  after: number
): Effect.fn.Return<Lineage, MirrorError | RowDamaged> {
  const seqs: Array<number> = []
  let at = leaf
  for (;;) {
    const links = yield* Effect.mapError(
      IndexScan.ancestors(sql, at, after),
      mirrorError("follow a path")
    )
    const last = links.at(-1)
    if (last === undefined || links[0]?.seq !== at) return yield* indexGap(at)
    for (const { seq } of links) seqs.push(seq)
    const { parent_seq: parent, seq } = last
    const isRooted = parent === null
    if (isRooted || seq <= after || isEnough(seqs)) {
      return { seqs: seqs.toReversed(), isRooted }
    }
    if (!(Number.isSafeInteger(parent) && parent > 0 && parent < seq)) {
      return yield* wrongIndex(seq, `the parent in row ${parent}`, "a parent in an earlier row")
    }
    at = parent
  }
})

/** Places of a lineage, counted from 0; `after` is the one before the first. */
interface Wanted extends Range {
  /** The seqs that pass as the index has it, where they were asked for. */
  readonly passing: ReadonlySet<number> | undefined
}

const nothing: Wanted = { ...Selection.nothing, passing: undefined }

/** Which places of a lineage a query wants. */
const wantedOf = Effect.fnUntraced(function* (
  { sql }: IndexedRows,
  { seqs }: Lineage,
  query: Query<AnyKind>,
  question: Question,
  { after, until }: Range
): Effect.fn.Return<Wanted, MirrorError> {
  const failed = mirrorError("follow a path")
  const { leavesUpTo } = question
  const tip = seqs.at(-1) ?? 0
  let start = seqs.findIndex((seq) => seq > after)
  const end = seqs.findLastIndex((seq) => seq <= until)
  if (start === -1) return nothing
  if (leavesUpTo !== undefined) {
    // Every other row of a path is the parent of the next.
    if (!(yield* Effect.mapError(IndexScan.isLeafAt(sql, tip, leavesUpTo), failed))) return nothing
    start = seqs.length - 1
  }
  if (Filter.isOpen(question) || (query.limit === undefined && query.last === undefined)) {
    const range = Selection.counted(query, { after: start - 1, until: end })
    return { ...range, passing: undefined }
  }
  const places: Array<number> = []
  const passing = new Set<number>()
  for (let at = start; at <= end; at += pageRows) {
    const some = seqs.slice(at, Math.min(end + 1, at + pageRows))
    const asked = { ...question, leavesUpTo: undefined }
    const found = yield* Effect.mapError(IndexScan.passing(sql, asked, some), failed)
    for (const [nth, seq] of some.entries()) {
      if (!found.has(seq)) continue
      passing.add(seq)
      places.push(at + nth)
    }
  }
  const { after: before, until: last } = Selection.counted(query, {
    after: -1,
    until: places.length - 1
  })
  const first = places[before + 1]
  return first === undefined
    ? nothing
    : { after: first - 1, until: places[last] ?? first - 1, passing }
})

/** A row and its ancestors, the first one first, as far as a query wants them. */
export const make = Effect.fnUntraced(function* (
  rows: IndexedRows,
  ref: string | number,
  query: Query<AnyKind>
) {
  Selection.check(query)
  const tip = yield* rows.find(ref)
  const began = yield* rows.head
  // Cut, and perhaps another row in its place, before the head was taken.
  yield* Effect.catchTag(rows.checkThere(tip), "RowGone", () =>
    Effect.fail(new EventNotFound({ ref }))
  )
  const range = yield* Selection.rangeOf(rows, query, began)
  const question = Selection.questionOf(query, began)
  const { last, limit } = query
  const isEnough = (seqs: ReadonlyArray<number>) =>
    last !== undefined &&
    limit === undefined &&
    Leads.isOpen(question) &&
    // The row that is one further back than the last n is there, and they descend.
    (seqs[seqs.length - 1 - last] ?? Infinity) <= range.until
  const from = query.after ?? Chain.start
  const lineage = yield* Effect.catchTag(
    lineageOf(rows, tip.seq, isEnough, range.after),
    "RowDamaged",
    // Rows that were rolled back meanwhile are missing for a good reason.
    (error) => Effect.andThen(rows.checkStill(began, from), Effect.fail(error))
  )
  const wanted = yield* wantedOf(rows, lineage, query, question, range)
  yield* rows.checkStill(began, from)
  return readPath(rows, lineage, wanted, question, began, from)
})

/** Read a lineage from the root on; the row before the first that is wanted is read for its id. */
const readPath = (
  rows: IndexedRows,
  { isRooted, seqs }: Lineage,
  { after, passing, until }: Wanted,
  question: Question,
  began: Head,
  from: Position
) => {
  interface State {
    readonly at: number
    readonly before: Event | undefined
    readonly last: Position
  }
  const begin: State = { at: Math.max(0, after), before: undefined, last: from }
  if (after >= until) return Stream.empty
  return Stream.paginate(
    begin,
    Effect.fnUntraced(function* ({ at, before, last }: State) {
      const some = seqs.slice(at, Math.min(until + 1, at + pageRows))
      const found = yield* Effect.mapError(
        IndexScan.rowsAt(rows.sql, some),
        mirrorError("follow a path")
      )
      yield* rows.checkStill(began, last)
      const gap = some.find((seq, nth) => found[nth]?.seq !== seq)
      if (gap !== undefined) return yield* rows.indexGap(gap)
      const events = yield* rows.readPage(upToBytes(found), began, last)
      for (const [nth, event] of events.entries()) {
        const parent = nth === 0 ? before : events[nth - 1]
        const isKnown = parent !== undefined || (isRooted && at + nth === 0)
        if (isKnown && event.parentId !== parent?.id) return yield* unlinked(rows, event, parent)
      }
      const inside = events.filter((_, nth) => at + nth > after)
      const wanted = inside.filter((event) => Filter.matches(question, event))
      const wrong = inside.find(
        (event) => passing !== undefined && passing.has(event.seq) !== wanted.includes(event)
      )
      if (wrong !== undefined) return yield* rows.wrongKeys(wrong.seq)
      const next: State = {
        at: at + events.length,
        before: events.at(-1),
        last: wanted.at(-1)?.position ?? last
      }
      return [wanted, next.at <= until ? Option.some(next) : Option.none<State>()] as const
    })
  )
}

const unlinked = (rows: IndexedRows, event: Event, parent: Event | undefined) =>
  rows.wrongIndex(
    event.seq,
    parent === undefined ? "no parent" : `the parent ${parent.id} in row ${parent.seq}`,
    event.parentId === undefined ? "no parent" : `the parent ${event.parentId}`
  )
