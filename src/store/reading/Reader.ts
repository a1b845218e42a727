/**
 * Reading a ledger: what was acknowledged, and nothing else.
 *
 * For a reader the ledger ends at the mirror's committed seq; what follows in the journal is in
 * flight. Rows are found through the index and answered from the journal. A line that does not
 * match its index row is read again, then reported: it is never believed. Streams page by seq and
 * hold one page at a time. A position of another history is told apart from a seq that is merely
 * the same number.
 */
import type { Duration, Effect, Stream } from "effect"
import { Context, Schema } from "effect"
import type { SqlClient, Statement } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import type { PublicKeyInvalid } from "../../core/Attestation.ts"
import type { ChainBroken, Head } from "../../core/Chain.ts"
import type { Checkpoint } from "../../core/Checkpoint.ts"
import type { Event, EventUndecodable, Position, Typed } from "../../core/Event.ts"
import type { Filter, Times } from "../../core/Filter.ts"
import type { AnyKind } from "../../core/Kind.ts"
import type { Operation } from "../../core/Operation.ts"
import type { ParityReport } from "../../core/Parity.ts"
import type { View, ViewRowInvalid } from "../../core/View.ts"
import type { VerifyReport } from "../../core/VerifyReport.ts"
import type { BackupReport } from "../upkeep/Backup.ts"
import type { Manifest } from "../../core/Manifest.ts"
import type { NotExportable } from "../upkeep/Export.ts"
import type { RolledBack } from "./CutHistory.ts"
import type { JournalError, MirrorError, RowDamaged } from "../errors.ts"
import type { IdConflict } from "../mirror/Mirror.ts"
import type { ViewOutdated, ViewStatus } from "../views/Views.ts"

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

export type { Filter, Times } from "../../core/Filter.ts"
export { RolledBack } from "./CutHistory.ts"

/** What is wrong with a position that reading is to go on from. */
export type PositionError = PositionUnknown | RolledBack

/** What can go wrong while acknowledged rows are read. */
export type ReadError = JournalError | MirrorError | RowDamaged

/**
 * Which rows, in the order of their seq: those for which all of it holds. Of these `limit` leaves the
 * first, and `last` the newest of what is left then. Every number is a whole one.
 *
 * What no row is read for is believed of the index: a row of which it has type, parent, keys, session,
 * trace or time wrong may be left out, and one that it has lost between rows that lie thousands apart,
 * which `verify` finds. What is read is checked.
 */
export interface Query<out K extends AnyKind = never> extends Filter<K>, Times {
  /** Rows after this position; one that was cut, or never was, is an error. */
  readonly after?: Position | undefined
  /** Rows up to this seq, itself included. */
  readonly until?: number | undefined
  /** Rows of this segment, named by its first seq; 0 in Cortex mode. None where there is none. */
  readonly segment?: number | undefined
  /** Only rows that no row names as its parent, when the stream begins. */
  readonly leaves?: boolean | undefined
  /** The most rows. */
  readonly limit?: number | undefined
  /** Only the newest n of what would be answered otherwise. */
  readonly last?: number | undefined
}

/** Which rows to follow, from where, and how often to look for new ones. */
export interface Changes<out K extends AnyKind = never> extends Filter<K>, Times {
  /** Rows after this position; by default all. */
  readonly after?: Position | undefined
  /** How often to look where nobody tells: in other processes than the writer's. Default 200 ms. */
  readonly every?: Duration.Input | undefined
}

/** What a query answers: events as they are stored, or as its kinds read them. */
export type Read<K> = [K] extends [never] ? Event : Typed<K>

/** What a query with kinds may fail with besides. */
export type ReadUndecodable<K> = [K] extends [never] ? never : EventUndecodable

/** What the index knows of the whole ledger; seqs are 0 and `lastId` is null where it is empty. */
export interface IndexSummary {
  /** How many rows there are. */
  readonly count: number
  readonly firstSeq: number
  readonly lastSeq: number
  readonly lastId: string | null
  /** How many files hold rows. */
  readonly segments: number
}

/** Some events, and where to go on. */
export interface Page<A> {
  readonly events: ReadonlyArray<A>
  /** The position to read after; undefined where these are the last ones, for now. */
  readonly next: Position | undefined
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
    /**
     * Events in the order of their seq, in constant memory, up to the head at the start. A rollback
     * behind that head ends the stream with `RolledBack`.
     */
    readonly events: <K extends AnyKind = never>(
      query?: Query<K>
    ) => Stream.Stream<Read<K>, PositionError | ReadError | ReadUndecodable<K>>
    /**
     * The first events that a query leaves, 100 where it has no `limit`, and where to go on: `after`
     * of the next one. A page of `last` has no next, and one has a `limit` of at least 1.
     */
    readonly page: <K extends AnyKind = never>(
      query?: Query<K>
    ) => Effect.Effect<Page<Read<K>>, PositionError | ReadError | ReadUndecodable<K>>
    /**
     * An event, by its id or seq, and its ancestors, root first; otherwise as `events`. Holds 8 bytes
     * for each row of the path. Each row must name the one before it as its parent.
     */
    readonly path: <K extends AnyKind = never>(
      leaf: string | number,
      query?: Query<K>
    ) => Stream.Stream<Read<K>, EventNotFound | PositionError | ReadError | ReadUndecodable<K>>
    /**
     * Events that are there, then those that come, in the order of their seq, without gap or
     * duplicate; never ends. Asks for the next page when it was taken, and holds up nobody until
     * then. A rollback behind what it gave ends it with `RolledBack`: forget what lies beyond `to`.
     */
    readonly changes: <K extends AnyKind = never>(
      which?: Changes<K>
    ) => Stream.Stream<Read<K>, PositionError | ReadError | ReadUndecodable<K>>
    /**
     * SQL on the mirror and its views, as of the last commit. Writes nothing: the client it is given
     * reads only. Several statements see one moment inside `sql.withTransaction`.
     */
    readonly query: <A, E, R>(
      ask: (sql: SqlClient.SqlClient) => Effect.Effect<A, E, R>
    ) => Effect.Effect<A, E, R>
    /**
     * Rows of a view as it types them, all of them or those that `ask` selects: every column of each,
     * all of one moment. Fails with `ViewOutdated` where the mirror has the view in another version,
     * or otherwise declared, then, and with `ViewRowInvalid` where a row is not what the view says.
     */
    readonly rows: <Row, E = never, R = never>(
      view: View<Row>,
      ask?: (
        sql: SqlClient.SqlClient,
        table: Statement.Identifier
      ) => Effect.Effect<ReadonlyArray<object>, E, R>
    ) => Effect.Effect<ReadonlyArray<Row>, E | SqlError | ViewOutdated | ViewRowInvalid, R>
    /** Every view that the mirror holds: how far it is, and whether it was set aside. */
    readonly views: Effect.Effect<ReadonlyArray<ViewStatus>, MirrorError>
    /** How many rows there are, the first and the last, in the time of a few look-ups. */
    readonly summary: Effect.Effect<IndexSummary, ReadError>
    /** Every checkpoint that holds together, in the order of their numbers. */
    readonly checkpoints: Effect.Effect<ReadonlyArray<Checkpoint>, JournalError>
    /** What was ever done to the ledger besides appending, the oldest first. */
    readonly operations: Effect.Effect<ReadonlyArray<Operation>, JournalError>
    /**
     * Counters, files, hashes and invariants of the ledger as it is now. A reader counts every row
     * and writes nothing; whoever has the ledger open for writing keeps it in `manifest.json`.
     */
    readonly manifest: Effect.Effect<Manifest, ReadError>
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
    /** Write the rows up to the head to one new file that the original reads; durable likewise. */
    readonly export: (file: string) => Effect.Effect<BackupReport, NotExportable | ReadError>
  }
>()("sealog/Reader") {}
