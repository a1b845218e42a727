/**
 * Internal: what a reader is asked for, as streams of checked rows.
 *
 * A stream takes the head when it begins and reads up to there, a page at a time: index rows first,
 * then their lines. A rollback behind that head ends it, so no stream mixes two histories.
 */
import { Effect, Option, Stream } from "effect"
import type { SqlClient } from "effect/sql"
import * as Chain from "../core/Chain.ts"
import type { Event, Position } from "../core/Event.ts"
import type * as Hashes from "../core/Hashes.ts"
import type { AnyKind } from "../core/Kind.ts"
import * as Kind from "../core/Kind.ts"
import { mirrorError } from "./errors.ts"
import type { IndexedRows } from "./IndexedRows.ts"
import * as Indexed from "./IndexedRows.ts"
import type { Filter } from "./IndexScan.ts"
import * as IndexScan from "./IndexScan.ts"
import type { JournalReader } from "./Journal.ts"
import * as Mirror from "./Mirror.ts"
import * as Paths from "./Paths.ts"
import type {
  EventNotFound,
  IndexSummary,
  PositionError,
  Query,
  Read,
  ReadError,
  ReadUndecodable
} from "./Reader.ts"
import * as Selection from "./Selection.ts"

const pageRows = 256

/** The part of the reader that finds rows through the index. */
export interface Rows extends Pick<IndexedRows, "head" | "get" | "event"> {
  readonly events: (query?: Query<AnyKind>) => Stream.Stream<Event, PositionError | ReadError>
  readonly path: (
    leaf: string | number,
    query?: Query<AnyKind>
  ) => Stream.Stream<Event, EventNotFound | PositionError | ReadError>
  readonly summary: Effect.Effect<IndexSummary, ReadError>
}

/** Rows of `journal` through the index that `sql` sees. */
export const make = Effect.fnUntraced(function* (
  journal: JournalReader,
  sql: SqlClient.SqlClient,
  hashes: Hashes.Hashes
) {
  const rows = yield* Indexed.make(journal, sql, hashes)
  const { event, get, head } = rows
  return {
    head,
    get,
    event,
    events: (query = {}) => Stream.unwrap(eventsOf(rows, query)),
    path: (leaf, query = {}) => Stream.unwrap(Paths.make(rows, leaf, query)),
    summary: summaryOf(rows)
  } satisfies Rows
})

/** The rows of a query as its kinds read them; as they are where it names none. */
export const typed = <K extends AnyKind, E>(
  kinds: ReadonlyArray<K> | undefined,
  events: Stream.Stream<Event, E>
): Stream.Stream<Read<K>, E | ReadUndecodable<K>> =>
  // Whether `kinds` is there is what the type asks of K; TypeScript cannot follow that.
  (kinds === undefined
    ? events
    : Stream.mapEffect(events, (event) =>
        Effect.fromResult(Kind.decode(kinds, event))
      )) as Stream.Stream<Read<K>, E | ReadUndecodable<K>>

/** Index rows after a seq, and how far all were looked at; the first one that the index lacks. */
const pageOf = Effect.fnUntraced(function* (
  { sql }: IndexedRows,
  filter: Filter,
  { after, until }: Selection.Range,
  limit: number
) {
  if (!IndexScan.isOpen(filter)) {
    const found = yield* IndexScan.window(sql, filter, after, until, limit)
    const gap = found.isWhole ? undefined : yield* IndexScan.firstGap(sql, after, found.upTo)
    return { rows: found.rows, upTo: found.upTo, gap }
  }
  const rows = yield* Mirror.page(sql, after, until, limit)
  const upTo = Math.min(until, after + limit)
  const nth = rows.findIndex(({ seq }, nth) => seq !== after + nth + 1)
  const whole = nth === -1 ? rows.length : nth
  return { rows, upTo, gap: after + whole < upTo ? after + whole + 1 : undefined }
})

const eventsOf = Effect.fnUntraced(function* (rows: IndexedRows, query: Query<AnyKind>) {
  Selection.check(query)
  const began = yield* rows.head
  const filter = Selection.filterOf(query, began)
  const range = yield* Selection.rangeOf(rows, query, began)
  const isOpen = IndexScan.isOpen(filter)
  const { after, until } = isOpen
    ? Selection.counted(query, range)
    : yield* Selection.filteredRange(rows, query, filter, range)
  const left = isOpen ? Number.MAX_SAFE_INTEGER : (query.limit ?? Number.MAX_SAFE_INTEGER)
  if (after >= until) return Stream.empty
  interface State {
    readonly after: number
    readonly left: number
    readonly last: Position
  }
  const begin: State = { after, left, last: query.after ?? Chain.start }
  return Stream.paginate(
    begin,
    Effect.fnUntraced(function* ({ after, last, left }: State) {
      const limit = Math.min(pageRows, left)
      const found = yield* Effect.mapError(
        pageOf(rows, filter, { after, until }, limit),
        mirrorError("page through its index")
      )
      yield* rows.checkStill(began, last)
      if (found.gap !== undefined) return yield* rows.indexGap(found.gap)
      const some = Indexed.upToBytes(found.rows)
      const events = yield* rows.readPage(some, began, last)
      const next: State = {
        after: some.length < found.rows.length ? (some.at(-1)?.seq ?? after) : found.upTo,
        left: left - events.length,
        last: events.at(-1)?.position ?? last
      }
      const goesOn = next.after < until && next.left > 0
      return [events, goesOn ? Option.some(next) : Option.none<State>()] as const
    })
  )
})

const summaryOf = (rows: IndexedRows): Effect.Effect<IndexSummary, ReadError> =>
  Effect.gen(function* () {
    const { seq } = yield* rows.head
    if (seq === 0) return { count: 0, firstSeq: 0, lastSeq: 0, lastId: null, segments: 0 }
    const last = yield* rows.get(seq)
    const first = yield* rows.find(1)
    const { files } = yield* rows.journal.listing
    return {
      // Seqs have no gaps: `verify` counts what this takes from both ends.
      count: seq - first.seq + 1,
      firstSeq: first.seq,
      lastSeq: seq,
      lastId: last.event.id,
      segments: files.filter(({ segment }) => segment <= seq).length
    }
  }).pipe(
    // Rolled back between two looks.
    Effect.retry({ while: (error) => error._tag === "EventNotFound" })
  )
