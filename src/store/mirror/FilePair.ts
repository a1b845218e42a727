/**
 * Replay and parity of two files that are no ledger: a JSONL file that Cortex or a ledger in Cortex
 * mode wrote, and a database with Cortex's table `events`.
 *
 * Such a database does not say which seq a row has, so a scratch table does, gone with its
 * connection: `temp.sealog_parity (seq INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE)`. It is
 * filled by a first walk over the file, which checks every link and seal and refuses an id that
 * stands twice; only then is anything compared or written. Nothing but missing rows is ever added
 * to `events`, nothing else of the database changes, and no missing file is ever made. Signatures are
 * checked by that walk where the key is named, and otherwise not at all.
 */
import { Effect, Path } from "effect"
import type { FileSystem } from "effect"
import { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import * as Attestation from "../../core/Attestation.ts"
import type { ChainBroken } from "../../core/Chain.ts"
import { lineBytesMaxDefault } from "../../core/Segment.ts"
import type * as Hashes from "../../core/Hashes.ts"
import type { ParityReport } from "../../core/Parity.ts"
import * as Signing from "../../core/Signing.ts"
import { CurrentVerify } from "../signing/Attestor.ts"
import * as durable from "../journal/durable.ts"
import { MirrorError, mirrorError } from "../errors.ts"
import { RowDamaged } from "../errors.ts"
import type { JournalError } from "../errors.ts"
import { signedName } from "../journal/Home.ts"
import * as Journal from "../journal/Journal.ts"
import type { JournalReader } from "../journal/Journal.ts"
import * as Layout from "../journal/Layout.ts"
import { CurrentHashes } from "../Ledger.ts"
import * as Mirror from "./Mirror.ts"
import * as Replay from "./Replay.ts"

/** What both take besides the file; sizes are bytes, counts are rows. */
export interface Options {
  /** A longer line is refused. Default 100 MiB. */
  readonly lineBytesMax?: number | undefined
  /** The most ids and hashes that each list of a parity report holds. Default 1,000. */
  readonly listMax?: number | undefined
  /** The key of the first signed row, in hex: a row that its lineage did not sign is refused. */
  readonly publicKey?: string | undefined
  /** With `publicKey`: the first row that must be signed. Default 1. */
  readonly signedFrom?: number | undefined
  /** What signatures call the log. Default the file's name without its last extension. */
  readonly ledgerId?: string | undefined
}

/** Every way in which parity of two files refuses or fails. */
export type PairError =
  | ChainBroken
  | Mirror.IdConflict
  | RowDamaged
  | Attestation.PublicKeyInvalid
  | JournalError
  | MirrorError

type Needs = FileSystem.FileSystem | Path.Path | SqlClient.SqlClient

/** Fails with `JournalError` unless a regular file is at the path; links are not followed. */
export const existing = durable.existing

interface Walked {
  readonly sql: SqlClient.SqlClient
  readonly journal: JournalReader
  readonly hashes: Hashes.Hashes
  /** The rows of the file at the first walk; what is appended later is left out. */
  readonly rows: number
}

/**
 * Compare a JSONL file with the `events` of the database that `SqlClient` has open, in both
 * directions and in constant memory. A client that reads only will do.
 */
export const parity: (
  jsonl: string,
  options?: Options
) => Effect.Effect<ParityReport, PairError, Needs> = Effect.fn("FilePair.parity")(function* (
  jsonl: string,
  options: Options = {}
) {
  return yield* compare(yield* firstWalk(jsonl, options), options)
})

/**
 * Insert into `events` what a JSONL file holds and the database does not, in transactions of
 * bounded size, then compare both. May be stopped and run again. Fails with `RowDiffers` where an
 * id stands for another content: immutable rows are never overwritten.
 */
export const replay: (
  jsonl: string,
  options?: Options
) => Effect.Effect<Replay.ReplayReport, PairError | Mirror.RowDiffers, Needs> = Effect.fn(
  "FilePair.replay"
)(function* (jsonl: string, options: Options = {}) {
  const walked = yield* firstWalk(jsonl, options)
  const { sql, journal, hashes, rows } = walked
  yield* refuseLedgers(sql)
  yield* Mirror.prepareEvents
  let replayed = 0
  yield* Replay.walk(journal, hashes, Replay.beginning, rows, (batch) =>
    Effect.map(Replay.putBatch(sql, batch), (inserted) => {
      replayed += inserted
    })
  )
  const report = yield* compare(walked, options)
  return new Replay.ReplayReport({ replayed, skippedExisting: rows - replayed, parity: report })
})

/** A ledger's mirror takes its rows from its own journal, under its guard. */
const refuseLedgers = Effect.fnUntraced(function* (sql: SqlClient.SqlClient) {
  const tables = sql.onDialectOrElse({
    sqlite: () => sql`SELECT name FROM sqlite_schema WHERE name = 'sealog_index'`,
    orElse: () => sql`SELECT table_name FROM information_schema.tables
      WHERE table_name = 'sealog_index'`
  })
  const found = yield* Effect.mapError(tables, mirrorError("look for tables"))
  if (found.length === 0) return
  return yield* new MirrorError({
    operation: "take in another file's rows",
    cause: new Error("it is the mirror of a ledger"),
    hint: "Nothing was written. Replay that ledger itself, or name another database."
  })
})

const compare = Effect.fnUntraced(function* (walked: Walked, options: Options) {
  const { sql, journal, hashes, rows } = walked
  yield* Effect.mapError(
    sql`SELECT id FROM events LIMIT 1`,
    (error) =>
      new MirrorError({
        operation: "find its table events",
        cause: error.reason,
        hint: "Name a database that Cortex or a ledger wrote; replay makes the table."
      })
  )
  return yield* Replay.parity(sql, journal, hashes, "temp.sealog_parity", rows, options.listMax)
})

/** Judges the rows' signatures where the key was named; the first that does not hold is refused. */
const judgeBy = Effect.fnUntraced(function* (
  journal: JournalReader,
  { ledgerId, publicKey, signedFrom = 1 }: Options
) {
  if (publicKey === undefined) return () => Effect.void
  const paths = yield* Path.Path
  const signing = Signing.begin(
    signedFrom,
    yield* Effect.fromResult(Attestation.genesis(publicKey))
  )
  const follower = new Signing.Follower(
    { _tag: "Signed", signing },
    {
      ledgerId: ledgerId ?? signedName(paths, journal.layout, undefined),
      verify: yield* CurrentVerify
    }
  )
  return (rows: ReadonlyArray<Replay.Placed>) =>
    Effect.suspend(() => {
      for (const { event, place } of rows) {
        const failure = follower.take(event)?.failure
        if (failure === undefined) continue
        const { message: actual, seq } = failure
        const path = journal.pathOf(place.segment)
        const expected = "a row that is signed by its key"
        const { offset } = place
        return Effect.fail(new RowDamaged({ seq, path, offset, leg: "journal", expected, actual }))
      }
      return Effect.void
    })
})

/** Check the whole file, and note in the scratch table which id has which seq. */
const firstWalk = Effect.fnUntraced(function* (jsonl: string, options: Options) {
  const paths = yield* Path.Path
  const sql = yield* SqlClient.SqlClient
  const hashes = yield* CurrentHashes
  yield* existing(jsonl)
  const lineBytesMax = options.lineBytesMax ?? lineBytesMaxDefault
  const journal = yield* Journal.makeReader(Layout.of(paths, { file: jsonl }), { lineBytesMax })
  const judge = yield* judgeBy(journal, options)
  const head = yield* Effect.gen(function* () {
    yield* Effect.mapError(sql.unsafe("DROP TABLE IF EXISTS temp.sealog_parity"), failed)
    yield* Effect.mapError(sql.unsafe(scratchTable), failed)
    return yield* Replay.walk(
      journal,
      hashes,
      Replay.beginning,
      Number.MAX_SAFE_INTEGER,
      Effect.fnUntraced(function* (rows: ReadonlyArray<Replay.Placed>) {
        yield* judge(rows)
        yield* note(sql, rows).pipe(
          Effect.catchIf(isUniqueViolation, () => twice(sql, rows)),
          Effect.mapError((error) => (error._tag === "SqlError" ? failed(error) : error))
        )
      })
    )
  }).pipe(withScratch(sql))
  return { sql, journal, hashes, rows: head.seq } satisfies Walked
})

const failed = (error: SqlError) =>
  new MirrorError({
    operation: "keep ids in a scratch table",
    cause: error.reason,
    hint: "Nothing was written; look for a full disk where temporary files lie."
  })

interface Pragma {
  readonly query_only: number
}

const scratchTable = `CREATE TEMP TABLE sealog_parity (
    seq INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE
)`

/**
 * Let a connection that reads only write to its temporary tables meanwhile. SQLite's `query_only`
 * refuses these too; the database stays unwritable all the same, as it was opened so.
 */
const withScratch =
  (sql: SqlClient.SqlClient) =>
  <A, E, R>(use: Effect.Effect<A, E, R>): Effect.Effect<A, E | MirrorError, R> => {
    const pragma = (value: string) =>
      Effect.mapError(sql.unsafe<Pragma>(`PRAGMA query_only${value}`), failed)
    return Effect.acquireUseRelease(
      Effect.tap(pragma(""), () => pragma("=OFF")),
      () => use,
      ([before]) => Effect.ignore(pragma(`=${Number(before?.query_only ?? 0)}`))
    )
  }

const note = (sql: SqlClient.SqlClient, rows: ReadonlyArray<Replay.Placed>) => {
  const [first, ...rest] = rows.map(({ event }) => ({ seq: event.seq, event_id: event.id }))
  return first === undefined
    ? Effect.void
    : Effect.asVoid(sql`INSERT INTO temp.sealog_parity ${sql.insert([first, ...rest])}`)
}

const isUniqueViolation = (error: SqlError): boolean => error.reason._tag === "UniqueViolation"

/** The first id of a batch that was there before. */
const twice = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  rows: ReadonlyArray<Replay.Placed>
) {
  const seen = new Map<string, number>()
  for (const { event } of rows) {
    const [noted] = yield* sql<{ readonly seq: number }>`
      SELECT seq FROM temp.sealog_parity WHERE event_id = ${event.id}`
    const seq = noted?.seq ?? seen.get(event.id)
    if (seq !== undefined) {
      return yield* new Mirror.IdConflict({ index: 0, id: event.id, seq, differs: ["seq"] })
    }
    seen.set(event.id, event.seq)
  }
  return yield* Effect.die(new Error("a unique id was found to be there twice"))
})
