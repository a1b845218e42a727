/**
 * Internal: what a reader is asked for, as streams of checked rows.
 *
 * A stream takes the head when it begins and reads up to there, a page at a time: index rows first,
 * then their lines. A rollback behind that head ends it, so no stream mixes two histories.
 */
import { Array as Arr, Effect, Option, Result, Stream } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import * as Chain from "../../core/Chain.ts"
import type { Event, Position } from "../../core/Event.ts"
import * as Filter from "../../core/Filter.ts"
import type * as Hashes from "../../core/Hashes.ts"
import type { AnyKind } from "../../core/Kind.ts"
import * as Kind from "../../core/Kind.ts"
import { mirrorError } from "../errors.ts"
import type { IndexedRows } from "./IndexedRows.ts"
import * as Indexed from "./IndexedRows.ts"
import * as IndexScan from "./IndexScan.ts"
import type { JournalReader } from "../journal/Journal.ts"
import type { Plan, Range } from "./Leads.ts"
import * as Leads from "./Leads.ts"
import type { IndexRow } from "../mirror/Mirror.ts"
import * as Mirror from "../mirror/Mirror.ts"
import { upToBytes } from "./neighbours.ts"
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
export interface Rows extends Pick<
  IndexedRows,
  "head" | "get" | "event" | "checkPosition" | "wrongKeys" | "indexGap"
> {
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
  const { checkPosition, event, get, head, indexGap, wrongKeys } = rows
  return {
    head,
    get,
    event,
    checkPosition,
    wrongKeys,
    indexGap,
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
  (kinds === undefined ? events : decoded(kinds, events)) as Stream.Stream<
    Read<K>,
    E | ReadUndecodable<K>
  >

/** Page by page, as they come; those before one that cannot be decoded are given before it fails. */
const decoded = <K extends AnyKind, E>(
  kinds: ReadonlyArray<K>,
  events: Stream.Stream<Event, E>
): Stream.Stream<Kind.Typed<K>, E | Kind.EventUndecodable> =>
  Stream.transformPull(events, (pull) =>
    Effect.sync(() => {
      let failure: Kind.EventUndecodable | undefined
      return Effect.suspend(() => {
        if (failure !== undefined) return Effect.fail(failure)
        return Effect.flatMap(pull, (page) => {
          const read: Array<Kind.Typed<K>> = []
          for (const event of page) {
            const one = Kind.decode(kinds, event)
            if (Result.isSuccess(one)) read.push(one.success)
            else failure = one.failure
            if (failure !== undefined) break
          }
          if (Arr.isReadonlyArrayNonEmpty(read)) return Effect.succeed(read)
          return failure === undefined
            ? Effect.die(new Error("an empty page"))
            : Effect.fail(failure)
        })
      })
    })
  )

/** Index rows of a range, from its first, what is left of it, and a seq that the index lacks. */
interface Page {
  readonly rows: ReadonlyArray<IndexRow>
  readonly left: Range
  readonly gap: number | undefined
}

/** Every row of a range, as seqs have no gaps. */
const wholePage = Effect.fnUntraced(function* (
  { sql }: IndexedRows,
  { after, until }: Range,
  limit: number
): Effect.fn.Return<Page, SqlError> {
  const rows = yield* Mirror.page(sql, after, until, limit)
  const upTo = Math.min(until, after + limit)
  const nth = rows.findIndex(({ seq }, nth) => seq !== after + nth + 1)
  const whole = nth === -1 ? rows.length : nth
  const gap = after + whole < upTo ? after + whole + 1 : undefined
  return { rows, left: { after: upTo, until }, gap }
})

/** The rows of a range that answer a question. */
const someOf = Effect.fnUntraced(function* (
  { sql }: IndexedRows,
  plan: Plan,
  range: Range,
  limit: number
): Effect.fn.Return<Page, SqlError> {
  const { gapIn, left, rows } = yield* IndexScan.look(sql, plan, range, limit)
  const lost = rows.find(({ seq }) => seq === null)
  const gap = gapIn === undefined ? lost?.led_to : yield* IndexScan.firstGap(sql, gapIn)
  return { rows, left, gap }
})

const eventsOf = Effect.fnUntraced(function* (rows: IndexedRows, query: Query<AnyKind>) {
  Selection.check(query)
  const began = yield* rows.head
  const question = Selection.questionOf(query, began)
  const whole = yield* Selection.rangeOf(rows, query, began)
  const isOpen = Leads.isOpen(question)
  const failed = mirrorError("look through its index")
  const plan = yield* Effect.mapError(Leads.plan(rows.sql, question, whole), failed)
  const range = isOpen
    ? Selection.counted(query, whole)
    : yield* Selection.filteredRange(rows, query, plan, whole)
  const limit = isOpen ? Number.MAX_SAFE_INTEGER : (query.limit ?? Number.MAX_SAFE_INTEGER)
  if (range.after >= range.until) return Stream.empty
  interface State {
    readonly range: Range
    readonly limit: number
    readonly last: Position
  }
  const begin: State = { range, limit, last: query.after ?? Chain.start }
  return Stream.paginate(
    begin,
    Effect.fnUntraced(function* ({ last, limit, range }: State) {
      const most = Math.min(pageRows, limit)
      const page = isOpen ? wholePage(rows, range, most) : someOf(rows, plan, range, most)
      const found = yield* Effect.mapError(page, mirrorError("page through its index"))
      yield* rows.checkStill(began, last)
      if (found.gap !== undefined) return yield* rows.indexGap(found.gap)
      const some = upToBytes(found.rows)
      const events = yield* rows.readPage(some, began, last)
      const wrong = events.find((event) => !Filter.matches(question, event))
      // Its index row was compared already, so it is its keys that SQL has wrong.
      if (wrong !== undefined) return yield* rows.wrongKeys(wrong.seq)
      const isCut = some.length < found.rows.length
      const next: State = {
        range: isCut ? { ...range, after: some.at(-1)?.seq ?? range.after } : found.left,
        limit: limit - events.length,
        last: events.at(-1)?.position ?? last
      }
      const goesOn = next.range.after < next.range.until && next.limit > 0
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
