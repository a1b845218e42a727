/**
 * Internal: rows of the journal, found through the index and believed only as their bytes agree.
 *
 * A line that does not match its index row is read again, then reported with both sides. A row whose
 * index row is gone or another by then fell to a rollback: that is told apart from damage.
 */
import { Data, Effect, Result } from "effect"
import type { SqlClient } from "effect/sql"
import type { Head } from "../../core/Chain.ts"
import type { Event, Position } from "../../core/Event.ts"
import * as EventId from "../../core/EventId.ts"
import * as Filter from "../../core/Filter.ts"
import type * as Hashes from "../../core/Hashes.ts"
import { clip } from "../../core/jsonError.ts"
import * as Parity from "../../core/Parity.ts"
import * as Row from "../../core/Row.ts"
import * as CutHistory from "./CutHistory.ts"
import { RolledBack } from "./CutHistory.ts"
import * as durable from "../journal/durable.ts"
import type { JournalError, MirrorError } from "../errors.ts"
import { mirrorError, RowDamaged } from "../errors.ts"
import type { JournalReader, Place } from "../journal/Journal.ts"
import { isPlace } from "../journal/Journal.ts"
import type { IndexRow } from "../mirror/Mirror.ts"
import * as Mirror from "../mirror/Mirror.ts"
import type { Part } from "./neighbours.ts"
import { neighbours } from "./neighbours.ts"
import { EventNotFound, PositionUnknown } from "./Reader.ts"

/** A row whose index row is there no more. */
export class RowGone extends Data.TaggedError("RowGone")<{ readonly row: IndexRow }> {}

const nothing = new Uint8Array()

/** Rows of `journal` through the index that `sql` sees. */
export const make = Effect.fnUntraced(function* (
  journal: JournalReader,
  sql: SqlClient.SqlClient,
  hashes: Hashes.Hashes
) {
  const provided = yield* durable.withFiles
  const head = Mirror.settled(sql).pipe(
    Effect.map((settled) => settled.head),
    Effect.mapError(mirrorError("read its head"))
  )
  const at = (seq: number) => Effect.mapError(Mirror.at(sql, seq), mirrorError("find a row"))

  /** What the index says that cannot be so; `expected` is its side. */
  const wrongIndex = (seq: number, expected: string, actual: string) =>
    new RowDamaged({ seq, path: journal.layout.mirror, offset: 0, leg: "index", expected, actual })

  const indexGap = (seq: number) => wrongIndex(seq, `an index row of seq ${seq}`, "none")

  const wrongKeys = (seq: number) => wrongIndex(seq, "the keys that SQL has for it", "others")

  const find = Effect.fnUntraced(function* (given: string | number) {
    const parsed = typeof given === "string" ? EventId.parse(given) : undefined
    const ref = parsed === undefined ? given : Result.getOrElse(parsed, () => given)
    const row =
      typeof ref === "number"
        ? yield* at(ref)
        : (yield* Effect.mapError(Mirror.findByIds(sql, [ref]), mirrorError("find a row"))).get(ref)
    if (row !== undefined) return row
    // A row that the index has lost must not be passed over as if it had never been.
    if (typeof ref === "number" && Number.isSafeInteger(ref) && ref > 0) {
      if (ref <= (yield* head).seq && (yield* at(ref)) === undefined) return yield* indexGap(ref)
    }
    return yield* new EventNotFound({ ref })
  })

  /** Whether `events` says the same of this row: then it is the index that is wrong about it. */
  const isInEvents = (event: Event): Effect.Effect<boolean> =>
    Mirror.eventRows(sql, [event.id]).pipe(
      Effect.map((rows) => {
        const row = rows.get(event.id)
        return row !== undefined && Parity.differences(event, row).length === 0
      }),
      // It only tells which leg to look at first; that the row is damaged is certain without it.
      Effect.orElseSucceed(() => false)
    )

  /** A rollback went behind the row since its index row was read: it is gone, not damaged. */
  const checkThere = Effect.fnUntraced(function* (row: IndexRow) {
    if (!isAt(yield* at(row.seq), row.leaf_hash)) return yield* new RowGone({ row })
  })

  /** A file that a rollback has moved away cannot be read either. */
  const orGone = <A>(row: IndexRow, reading: Effect.Effect<A, JournalError>) =>
    Effect.catchTag(reading, "JournalError", (error) =>
      Effect.andThen(checkThere(row), Effect.fail(error))
    )

  const readAt = (row: IndexRow, place: Place) => orGone(row, journal.read(place))

  const damaged = Effect.fnUntraced(function* (row: IndexRow, bytes: Uint8Array) {
    yield* checkThere(row)
    const decoded = Row.decode(bytes, row.seq, journal.format, hashes)
    const found = Result.isSuccess(decoded) ? decoded.success.event : undefined
    const leg = found !== undefined && (yield* isInEvents(found)) ? "index" : "journal"
    return yield* new RowDamaged({
      seq: row.seq,
      path: journal.pathOf(row.segment),
      offset: row.byte_offset,
      leg,
      expected: `${row.event_id} with leaf hash ${row.leaf_hash}`,
      actual: `${found?.id ?? "no row"} with leaf hash ${Row.leafHash(bytes, hashes)}`
    })
  })

  /** Whatever SQL holds, only a place in the journal is read. */
  const checkPlace = (row: IndexRow): Effect.Effect<void, RowDamaged> => {
    if (isPlace(Mirror.placeOf(row)) && isSegment(row.segment)) return Effect.void
    const actual = `${row.segment} ${row.byte_offset} ${row.byte_length}`
    return Effect.fail(wrongIndex(row.seq, "segment, offset and length", actual))
  }

  const isSegment = (segment: number) => journal.format === "cortex" || segment > 0

  const matches = (row: IndexRow, bytes: Uint8Array): boolean =>
    bytes.byteLength === row.byte_length && Row.leafHash(bytes, hashes) === row.leaf_hash

  const bytesOf = Effect.fnUntraced(function* (row: IndexRow) {
    yield* checkPlace(row)
    const place = Mirror.placeOf(row)
    const bytes = yield* readAt(row, place)
    if (matches(row, bytes)) return bytes
    const again = yield* readAt(row, place)
    return matches(row, again) ? again : yield* damaged(row, again)
  })

  const decode = (
    row: IndexRow,
    bytes: Uint8Array
  ): Effect.Effect<Event, RowDamaged | RowGone | MirrorError> => {
    const decoded = Row.decode(bytes, row.seq, journal.format, hashes)
    if (Result.isFailure(decoded)) return damaged(row, bytes)
    const { event } = decoded.success
    if (event.id !== row.event_id) return damaged(row, bytes)
    const lie = lieOf(row, event)
    if (lie === undefined) return Effect.succeed(event)
    return Effect.andThen(checkThere(row), Effect.fail(wrongIndex(row.seq, ...lie)))
  }

  const read = Effect.fnUntraced(function* (row: IndexRow) {
    const bytes = yield* bytesOf(row)
    return { bytes, event: yield* decode(row, bytes) }
  })

  /** For whoever holds the ledger still: a row that is gone while it is read is damage. */
  const event = (row: IndexRow) =>
    read(row).pipe(
      Effect.map(({ event }) => event),
      Effect.catchTag("RowGone", () => Effect.fail(indexGap(row.seq)))
    )

  const get = (ref: string | number) =>
    Effect.flatMap(find(ref), read).pipe(
      Effect.retry({ times: 1, while: (error) => error._tag === "RowGone" }),
      Effect.catchTag("RowGone", () => Effect.fail(new EventNotFound({ ref })))
    )

  /** The bytes of parts, each file opened once: opening one costs more than a read. */
  const bytesOfParts = Effect.fnUntraced(function* (parts: ReadonlyArray<Part>) {
    const bytes = new Map<Part, Uint8Array>()
    for (const [segment, some] of Map.groupBy(parts, ({ place }) => place.segment)) {
      const [first] = some[0]?.rows ?? []
      if (first === undefined) continue
      const places = some.map(({ place }) => place)
      const read = yield* orGone(first, journal.readEach(segment, places))
      for (const [at, part] of some.entries()) bytes.set(part, read[at] ?? nothing)
    }
    return bytes
  })

  /** Read neighbouring rows with one read, then look at each as if it had been read alone. */
  const run = Effect.fnUntraced(function* (rows: ReadonlyArray<IndexRow>) {
    const events: Array<Event> = []
    for (const row of rows) yield* checkPlace(row)
    const parts = neighbours(rows)
    const bytes = yield* bytesOfParts(parts)
    // In the order of their seqs, whatever the index says of their files.
    for (const part of parts) {
      for (const row of part.rows) {
        const start = row.byte_offset - part.place.offset
        const cut = bytes.get(part)?.subarray(start, start + row.byte_length) ?? nothing
        events.push(matches(row, cut) ? yield* decode(row, cut) : (yield* read(row)).event)
      }
    }
    return events
  })

  const isHeld = ({ leafHash, seq }: Position) =>
    Effect.map(Effect.mapError(Mirror.at(sql, seq), mirrorError("find a position")), (row) =>
      isAt(row, leafHash)
    )

  /** Fails unless the ledger has this position; `wasHeld` where it had it a moment ago. */
  const checkPosition = Effect.fnUntraced(function* (
    { leafHash, seq }: Position,
    wasHeld: boolean = false
  ) {
    const row =
      seq === 0
        ? { leaf_hash: Row.zeroHash }
        : yield* Effect.mapError(Mirror.at(sql, seq), mirrorError("find a position"))
    if (isAt(row, leafHash)) return
    const where = { layout: journal.layout, hashes, lineBytesMax: journal.lineBytesMax, wasHeld }
    const cut = yield* provided(CutHistory.find(where, { seq, leafHash }, isHeld))
    if (cut !== undefined) return yield* cut
    return yield* new PositionUnknown({
      seq,
      expected: leafHash,
      actual: row === undefined ? null : String(row.leaf_hash)
    })
  })

  /**
   * Fails where a rollback went behind the head that a stream began with. Whoever has read up to
   * `last` goes on from there at the latest: what is beyond was never handed out.
   */
  const checkStill = (began: Head, { leafHash, seq }: Position) =>
    Effect.catchTag(checkPosition(began, true), "RolledBack", ({ from, operationId, to }) =>
      Effect.fail(new RolledBack({ from, to: to.seq > seq ? { seq, leafHash } : to, operationId }))
    )

  /** Read a page; a row that is gone fell to a rollback, or was taken out of the index by hand. */
  const readPage = (some: ReadonlyArray<IndexRow>, began: Head, last: Position) =>
    Effect.catchTag(run(some), "RowGone", ({ row }) =>
      Effect.andThen(checkStill(began, last), Effect.fail(indexGap(row.seq)))
    )

  return {
    journal,
    sql,
    head,
    find,
    get,
    event,
    readPage,
    checkThere,
    checkPosition,
    checkStill,
    wrongIndex,
    wrongKeys,
    indexGap
  }
})

export type IndexedRows = Effect.Success<ReturnType<typeof make>>

/** What an index row says of an event that is not so, and what is; whose they are is not told. */
const lieOf = (
  row: IndexRow,
  event: Event
): readonly [expected: string, actual: string] | undefined => {
  if (event.type !== row.event_type) return [`the type ${clip(String(row.event_type))}`, event.type]
  if (event.sessionId !== row.session_id) return ["the session of its index row", "another"]
  if (event.traceId !== row.trace_id) return ["the trace of its index row", "another"]
  // A mirror of an older version does not say it; nothing that was asked for rests on it then.
  if (!Object.hasOwn(row, "observed_at")) return undefined
  const isThen = Filter.orderedTime(event.observedAt) === row.observed_at
  return isThen ? undefined : ["the time observed of its index row", "another"]
}

/** Whether an index row has a leaf hash; SQLite holds in a column whatever someone puts there. */
const isAt = (row: Pick<IndexRow, "leaf_hash"> | undefined, leafHash: string): boolean =>
  row !== undefined && String(row.leaf_hash) === String(leafHash)
