/**
 * What an append expects of the ledger, and whether it is so, asked inside the writer's transaction.
 *
 * `headAt`: the head is still this position. `noneSince`: nothing that matches has come since. Rows of
 * the same group that are in memory only count as well, so of two appends that expect the same one
 * passes. What came between is told once it is durable: until then it has no leaf hash.
 */
import { Data, Effect, Result } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import type { Head } from "../../core/Chain.ts"
import type { Event, Position } from "../../core/Event.ts"
import type { Criteria } from "../../core/Filter.ts"
import * as Filter from "../../core/Filter.ts"
import type * as Hashes from "../../core/Hashes.ts"
import type { AnyKind } from "../../core/Kind.ts"
import * as Row from "../../core/Row.ts"
import type { JournalError, MirrorError, RowDamaged } from "../errors.ts"
import type { Pending } from "./Group.ts"
import type { Found } from "../reading/IndexScan.ts"
import * as IndexScan from "../reading/IndexScan.ts"
import * as Leads from "../reading/Leads.ts"
import * as Mirror from "../mirror/Mirror.ts"
import type { PositionError } from "../reading/Reader.ts"
import { ExpectationFailed } from "./Receipt.ts"
import type { Rows } from "../reading/Rows.ts"

/** The most events that a refusal tells. */
const toldMax = 100

const open: Criteria = Filter.criteriaOf({})

/** What an append expects; made by `headAt` and `noneSince`. */
export class Expectation extends Data.Class<{
  readonly position: Position
  /** None of which may have come since; undefined where the head itself must not have moved. */
  readonly none: ReadonlyArray<Criteria> | undefined
}> {}

const positionOf = ({ leafHash, seq }: Position): Position => {
  if (!Number.isSafeInteger(seq) || seq < 0 || typeof leafHash !== "string") {
    throw new RangeError("a position has a seq and a leaf hash")
  }
  return { seq, leafHash }
}

/** The head is still this position: nothing was appended since. */
export const headAt = (position: Position): Expectation =>
  new Expectation({ position: positionOf(position), none: undefined })

/** Nothing that matches the filter, or one of the filters, was appended since this position. */
export const noneSince = (
  filters: Filter.Filter<AnyKind> | ReadonlyArray<Filter.Filter<AnyKind>>,
  position: Position
): Expectation => {
  const list = isList(filters) ? filters : [filters]
  // Only what the type has: a time, which a filter cannot name, would be left out in silence.
  const none = list.map(({ keys, kinds, sessionId, traceId, types }) =>
    Filter.criteriaOf({ keys, kinds, sessionId, traceId, types })
  )
  return new Expectation({ position: positionOf(position), none })
}

const isList = (
  filters: Filter.Filter<AnyKind> | ReadonlyArray<Filter.Filter<AnyKind>>
): filters is ReadonlyArray<Filter.Filter<AnyKind>> => Array.isArray(filters)

/** Internal: what came between, rows of the group under way by their place in it. */
export class Unmet extends Data.TaggedError("Unmet")<{
  readonly stored: ReadonlyArray<Event>
  readonly pending: ReadonlyArray<number>
  readonly more: boolean
}> {}

interface Dependencies {
  readonly sql: SqlClient.SqlClient
  readonly rows: Rows
}

/** Fails unless what an append expects is so, behind `before` and the rows that the group has. */
export const check = Effect.fnUntraced(function* (
  deps: Dependencies,
  { none, position }: Expectation,
  before: Head,
  rows: ReadonlyArray<Pending>
): Effect.fn.Return<
  void,
  Unmet | PositionError | RowDamaged | JournalError | MirrorError | SqlError
> {
  yield* checkPosition(deps, position, before)
  const asked = none ?? [open]
  const stored = yield* storedSince(deps, asked, position, before)
  const pending = rows.flatMap(({ event }, nth) =>
    asked.some((criteria) => Filter.matches(criteria, event)) ? [nth] : []
  )
  const count = stored.length + pending.length
  if (count === 0) return
  const events: Array<Event> = []
  for (const { criteria, row } of stored.slice(0, toldMax)) {
    const event = yield* deps.rows.event(row)
    if (!Filter.matches(criteria, event)) return yield* deps.rows.wrongKeys(row.seq)
    events.push(event)
  }
  return yield* new Unmet({
    stored: events,
    pending: pending.slice(0, toldMax - events.length),
    more: count > toldMax
  })
})

const checkPosition = Effect.fnUntraced(function* (
  { rows, sql }: Dependencies,
  position: Position,
  before: Head
) {
  const { leafHash, seq } = position
  if (seq === before.seq && leafHash === before.leafHash) return
  const row = seq === 0 ? { leaf_hash: Row.zeroHash } : yield* Mirror.at(sql, seq)
  if (row?.leaf_hash !== leafHash) yield* rows.checkPosition(position)
})

/** The first index rows since a position that one of the criteria passes, one more than are told. */
const storedSince = Effect.fnUntraced(function* (
  { rows, sql }: Dependencies,
  asked: ReadonlyArray<Criteria>,
  { seq }: Position,
  before: Head
) {
  const found = new Map<number, { readonly row: Found; readonly criteria: Criteria }>()
  for (const criteria of asked) {
    let left: Leads.Range = { after: seq, until: before.seq }
    if (left.after >= left.until) continue
    const plan = yield* Leads.plan(sql, { ...criteria, leavesUpTo: undefined }, left)
    let missing = toldMax + 1
    while (missing > 0 && left.after < left.until) {
      const look: IndexScan.Look<Found> = yield* IndexScan.look(sql, plan, left, missing)
      const gap =
        look.gapIn === undefined
          ? look.rows.find((row) => row.seq === null)?.led_to
          : yield* IndexScan.firstGap(sql, look.gapIn)
      if (gap !== undefined) return yield* rows.indexGap(gap)
      for (const row of look.rows) found.set(row.seq, { row, criteria })
      missing -= look.rows.length
      left = look.left
    }
  }
  return [...found.values()].toSorted((a, b) => a.row.seq - b.row.seq).slice(0, toldMax + 1)
})

/** What an append is told whose expectation was not met, now that the group is durable. */
export const failed = (
  { more, pending, stored }: Unmet,
  { bytes, rows }: Row.Group,
  head: Head,
  format: Row.Format,
  hashes: Hashes.Hashes
): ExpectationFailed => {
  const events = pending.map((nth) => {
    const row = rows[nth]
    if (row === undefined) throw new Error("a row that was not expected is not in its group")
    const line = bytes.subarray(row.offset, row.offset + row.length)
    return Result.getOrThrow(Row.decode(line, row.seq, format, hashes)).event
  })
  return ExpectationFailed.since(head, [...stored, ...events], more)
}
