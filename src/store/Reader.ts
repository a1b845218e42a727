/**
 * Reading a ledger: what was acknowledged, and nothing else.
 *
 * For a reader the ledger ends at the mirror's committed seq; what follows in the journal is in
 * flight. Rows are found through the index and answered from the journal. A line that does not
 * match its index row is read again, then reported: it is never believed. Streams page by seq and
 * hold one page at a time. A position of another history is told apart from a seq that is merely
 * the same number.
 */
import { Context, Data, Effect, Option, Result, Schema, Stream } from "effect"
import type { FileSystem, Path } from "effect"
import type { SqlClient } from "effect/sql"
import type { PublicKeyInvalid } from "../core/Attestation.ts"
import type { Head } from "../core/Chain.ts"
import type { Position, Event } from "../core/Event.ts"
import type * as Hashes from "../core/Hashes.ts"
import type { ParityReport } from "../core/Parity.ts"
import * as Parity from "../core/Parity.ts"
import * as EventId from "../core/EventId.ts"
import * as Row from "../core/Row.ts"
import type { VerifyReport } from "../core/VerifyReport.ts"
import type { BackupReport } from "./Backup.ts"
import type { JournalError, MirrorError } from "./errors.ts"
import { mirrorError, RowDamaged } from "./errors.ts"
import type { JournalReader, Place } from "./Journal.ts"
import { isPlace } from "./Journal.ts"
import type { IndexRow, IdConflict } from "./Mirror.ts"
import * as Mirror from "./Mirror.ts"
import type { ChainBroken } from "../core/Chain.ts"
import type { Checkpoint } from "../core/Checkpoint.ts"
import type { Operation } from "../core/Operation.ts"
import * as CutHistory from "./CutHistory.ts"
import type { RolledBack } from "./CutHistory.ts"
import * as durable from "./durable.ts"

/** No acknowledged row has this id or seq. */
export class EventNotFound extends Schema.TaggedError<EventNotFound>()("EventNotFound", {
  ref: Schema.Union([Schema.String, Schema.Number])
}) {
  override get message(): string {
    return `no row of the ledger has the ${typeof this.ref === "number" ? "seq" : "id"} ${this.ref}`
  }
}

/** A position that this ledger's history never had. `actual` is the leaf hash at that seq, if any. */
export class PositionUnknown extends Schema.TaggedError<PositionUnknown>()("PositionUnknown", {
  seq: Schema.Int,
  expected: Schema.String,
  actual: Schema.NullOr(Schema.String)
}) {
  override get message(): string {
    return (
      `this ledger was never at seq ${this.seq} with the leaf hash ${this.expected} ` +
      `(there it has ${this.actual ?? "no row"}): the position is of another ledger or history.`
    )
  }
}

export { RolledBack } from "./CutHistory.ts"

/** What is wrong with a position that reading is to go on from. */
export type PositionError = PositionUnknown | RolledBack

/** What can go wrong while acknowledged rows are read. */
export type ReadError = JournalError | MirrorError | RowDamaged

/** Which rows, in the order of their seq. `after` is exclusive, `until` inclusive. */
export interface Query {
  readonly after?: Position | undefined
  readonly until?: number | undefined
  /** The most rows. */
  readonly limit?: number | undefined
  /** Only the newest n of what would be answered otherwise. */
  readonly last?: number | undefined
}

/** Reads; whoever asks for this service alone cannot write. */
export class Reader extends Context.Service<
  Reader,
  {
    /** The newest acknowledged row; seq 0 where there is none. */
    readonly head: Effect.Effect<Head, MirrorError>
    /** One event by its id or seq. */
    readonly get: (ref: string | number) => Effect.Effect<Event, EventNotFound | ReadError>
    /** The stored line of one event, byte for byte, without LF. */
    readonly line: (ref: string | number) => Effect.Effect<Uint8Array, EventNotFound | ReadError>
    /** Events in the order of their seq, in constant memory, up to the head at the start. */
    readonly events: (query?: Query) => Stream.Stream<Event, PositionError | ReadError>
    /** Every checkpoint that holds together, in the order of their numbers. */
    readonly checkpoints: Effect.Effect<ReadonlyArray<Checkpoint>, JournalError>
    /** What was ever done to the ledger besides appending, the oldest first. */
    readonly operations: Effect.Effect<ReadonlyArray<Operation>, JournalError>
    /** Check every row, link, checksum and the mirror. Damage is an answer, not an error. */
    readonly verify: (options?: {
      readonly failuresMax?: number | undefined
      /** One that was kept elsewhere: the ledger must still have what it states. */
      readonly checkpoint?: Checkpoint | undefined
      /** The key that signed the first signed row, in hex; default what the ledger itself states. */
      readonly publicKey?: string | undefined
      /** With `publicKey`: the first row that must be signed. Default 1. */
      readonly signedFrom?: number | undefined
    }) => Effect.Effect<VerifyReport, JournalError | MirrorError | PublicKeyInvalid>
    /** Compare both legs, in both directions, in constant memory. */
    readonly parity: Effect.Effect<ParityReport, ChainBroken | IdConflict | ReadError>
    /** Copy segments and identity up to the head into a new directory; durable when it returns. */
    readonly backup: (directory: string) => Effect.Effect<BackupReport, ReadError>
  }
>()("sealog/Reader") {}

/** Internal: a row whose index row is there no more. */
class RowGone extends Data.TaggedError("RowGone")<{ readonly row: IndexRow }> {}

const pageRows = 256
const pageBytes = 4 * 1024 * 1024

/** The part of the reader that finds rows through the index. */
export interface Rows {
  readonly head: Effect.Effect<Head, MirrorError>
  /** A row by its id or seq, and its line. */
  readonly get: (
    ref: string | number
  ) => Effect.Effect<
    { readonly event: Event; readonly bytes: Uint8Array },
    EventNotFound | ReadError
  >
  readonly event: (row: IndexRow) => Effect.Effect<Event, ReadError>
  readonly events: (query?: Query) => Stream.Stream<Event, PositionError | ReadError>
}

/** Rows of `journal` through the index that `sql` sees. */
export const makeRows = Effect.fnUntraced(function* (
  journal: JournalReader,
  sql: SqlClient.SqlClient,
  hashes: Hashes.Hashes
): Effect.fn.Return<Rows, never, FileSystem.FileSystem | Path.Path> {
  const provided = yield* durable.withFiles
  const head = Mirror.settled(sql).pipe(
    Effect.map((settled) => settled.head),
    Effect.mapError(mirrorError("read its head"))
  )

  const find = Effect.fnUntraced(function* (given: string | number) {
    const parsed = typeof given === "string" ? EventId.parse(given) : undefined
    const ref = parsed === undefined ? given : Result.getOrElse(parsed, () => given)
    const row =
      typeof ref === "number"
        ? yield* Effect.mapError(Mirror.at(sql, ref), mirrorError("find a row"))
        : (yield* Effect.mapError(Mirror.findByIds(sql, [ref]), mirrorError("find a row"))).get(ref)
    if (row !== undefined) return row
    if (
      typeof ref === "number" &&
      Number.isSafeInteger(ref) &&
      ref > 0 &&
      ref <= (yield* head).seq
    ) {
      yield* checkGaps([], ref - 1, ref)
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

  const damaged = Effect.fnUntraced(function* (row: IndexRow, bytes: Uint8Array) {
    const now = yield* Effect.mapError(Mirror.at(sql, row.seq), mirrorError("find a row"))
    // A rollback went behind it since its index row was read: it is gone, not damaged.
    if (now?.leaf_hash !== row.leaf_hash) return yield* new RowGone({ row })
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
    const sides = { expected: "segment, offset and length", actual }
    const path = journal.layout.mirror
    return Effect.fail(new RowDamaged({ seq: row.seq, path, offset: 0, leg: "index", ...sides }))
  }

  const isSegment = (segment: number) => journal.format === "cortex" || segment > 0

  const matches = (row: IndexRow, bytes: Uint8Array): boolean =>
    bytes.byteLength === row.byte_length && Row.leafHash(bytes, hashes) === row.leaf_hash

  const bytesOf = Effect.fnUntraced(function* (row: IndexRow) {
    yield* checkPlace(row)
    const place = Mirror.placeOf(row)
    const bytes = yield* journal.read(place)
    if (matches(row, bytes)) return bytes
    const again = yield* journal.read(place)
    return matches(row, again) ? again : yield* damaged(row, again)
  })

  const decode = (
    row: IndexRow,
    bytes: Uint8Array
  ): Effect.Effect<Event, RowDamaged | RowGone | MirrorError> => {
    const decoded = Row.decode(bytes, row.seq, journal.format, hashes)
    if (Result.isFailure(decoded)) return damaged(row, bytes)
    const { event } = decoded.success
    return event.id === row.event_id ? Effect.succeed(event) : damaged(row, bytes)
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

  /** Read neighbouring rows with one read, then look at each as if it had been read alone. */
  const run = Effect.fnUntraced(function* (rows: ReadonlyArray<IndexRow>) {
    const events: Array<Event> = []
    for (const row of rows) yield* checkPlace(row)
    for (const part of neighbours(rows)) {
      const bytes = yield* journal.read(part.place)
      for (const row of part.rows) {
        const start = row.byte_offset - part.place.offset
        const cut = bytes.subarray(start, start + row.byte_length)
        events.push(matches(row, cut) ? yield* decode(row, cut) : (yield* read(row)).event)
      }
    }
    return events
  })

  const isHeld = ({ leafHash, seq }: Position) =>
    Effect.map(
      Effect.mapError(Mirror.at(sql, seq), mirrorError("find a position")),
      (row) => row?.leaf_hash === leafHash
    )

  const checkPosition = Effect.fnUntraced(function* ({ seq, leafHash }: Position) {
    const row =
      seq === 0
        ? { leaf_hash: Row.zeroHash }
        : yield* Effect.mapError(Mirror.at(sql, seq), mirrorError("find a position"))
    if (row?.leaf_hash === leafHash) return
    const where = { layout: journal.layout, hashes, lineBytesMax: journal.lineBytesMax }
    const cut = yield* provided(CutHistory.find(where, { seq, leafHash }, isHeld))
    if (cut !== undefined) return yield* cut
    return yield* new PositionUnknown({
      seq,
      expected: leafHash,
      actual: row === undefined ? null : String(row.leaf_hash)
    })
  })

  /** A row that the index has lost must not be passed over as if it had never been. */
  const checkGaps = (rows: ReadonlyArray<IndexRow>, from: number, until: number) => {
    const count = Math.min(pageRows, Math.max(0, until - from))
    const gap = Array.from({ length: count }, (_, nth) => from + nth + 1).find(
      (seq, nth) => rows[nth]?.seq !== seq
    )
    return gap === undefined ? Effect.void : Effect.fail(indexGap(gap))
  }

  const indexGap = (seq: number) => {
    const sides = { expected: `an index row of seq ${seq}`, actual: "none" }
    const path = journal.layout.mirror
    return new RowDamaged({ seq, path, offset: 0, leg: "index", ...sides })
  }

  /** The rollback that a row fell to while it was read. */
  const rolledBack = Effect.fnUntraced(function* ({ row }: RowGone) {
    yield* checkPosition({ seq: row.seq, leafHash: row.leaf_hash })
    return yield* indexGap(row.seq)
  })

  const events: Rows["events"] = (query = {}) =>
    Stream.unwrap(
      Effect.gen(function* () {
        const { seq: newest } = yield* head
        if (query.after !== undefined) yield* checkPosition(query.after)
        let after = query.after?.seq ?? 0
        let until = Math.min(newest, query.until ?? newest)
        if (query.limit !== undefined) until = Math.min(until, after + query.limit)
        if (query.last !== undefined) after = Math.max(after, until - query.last)
        return Stream.paginate(
          after,
          Effect.fnUntraced(function* (from: number) {
            const rows = yield* Effect.mapError(
              Mirror.page(sql, from, until, pageRows),
              mirrorError("page through its index")
            )
            yield* checkGaps(rows, from, until)
            const some = upToBytes(rows)
            const events = yield* Effect.catchTag(run(some), "RowGone", rolledBack)
            const last = some.at(-1)?.seq ?? until
            return [events, last < until ? Option.some(last) : Option.none<number>()] as const
          })
        )
      })
    )

  return { head, get, event, events }
})

/** As many rows from the first as `pageBytes` hold, one at least: a page is bounded in memory too. */
const upToBytes = (rows: ReadonlyArray<IndexRow>): ReadonlyArray<IndexRow> => {
  let bytes = 0
  const over = rows.findIndex((row) => (bytes += row.byte_length) > pageBytes)
  return over === -1 ? rows : rows.slice(0, Math.max(1, over))
}

interface Part {
  readonly place: Place
  readonly rows: ReadonlyArray<IndexRow>
}

/** Index rows whose lines follow each other in one file, in parts of at most `pageBytes`. */
const neighbours = (rows: ReadonlyArray<IndexRow>): ReadonlyArray<Part> => {
  const parts: Array<Part> = []
  let rest = rows
  while (rest.length > 0) {
    const [first] = rest
    if (first === undefined) break
    let length = first.byte_length
    let count = 1
    for (let next = rest[1]; next !== undefined; next = rest[count]) {
      const end = next.byte_offset + next.byte_length - first.byte_offset
      // Blank lines of a Cortex file may lie between; anything else is told by the leaf hash.
      if (next.segment !== first.segment || end <= length || end > pageBytes) break
      length = end
      count++
    }
    const place = { segment: first.segment, offset: first.byte_offset, length }
    parts.push({ place, rows: rest.slice(0, count) })
    rest = rest.slice(count)
  }
  return parts
}
