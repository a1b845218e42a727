/**
 * `manifest.json`: made from SQL aggregates, over the rows that came since the last one.
 *
 * The one on disk is gone on from where it holds together, its head is still a row of this ledger and
 * its newest checkpoint is still there; else everything is counted from the first row. Rows are taken
 * in ranges, so that no statement blocks for long. Nothing is decided by a manifest, so one that
 * cannot be written is told by a warning and fails nobody. A reader counts everything and writes
 * nothing; beside a writer it looks again where a rollback came between.
 */
import type { FileSystem } from "effect"
import { Cause, Clock, Effect, Path, Result } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import * as Chain from "../../core/Chain.ts"
import type { Position } from "../../core/Event.ts"
import type * as Hashes from "../../core/Hashes.ts"
import * as Manifest from "../../core/Manifest.ts"
import * as Timestamp from "../../core/Timestamp.ts"
import * as Checkpoints from "./Checkpoints.ts"
import * as durable from "../journal/durable.ts"
import type { JournalError } from "../errors.ts"
import { MirrorError, mirrorError } from "../errors.ts"
import { format } from "../journal/Home.ts"
import type { Layout } from "../journal/Layout.ts"
import { checkFiles, checkHead, checkpointsFrom, isHeld, rootOf } from "./manifestChecks.ts"
import type { Base, Source } from "./manifestChecks.ts"
import * as manifestSql from "./manifestSql.ts"
import * as Mirror from "../mirror/Mirror.ts"
import * as OperationFolders from "./OperationFolders.ts"
import type { ReadError } from "../reading/Reader.ts"

type Files = FileSystem.FileSystem | Path.Path

/** What stands at `manifest.json`. */
export type Found =
  | { readonly _tag: "None" }
  | { readonly _tag: "Sound"; readonly manifest: Manifest.Manifest }
  | { readonly _tag: "Damaged"; readonly expected: string; readonly actual: string }

/** It names every segment: far more than can be. */
const bytesMax = 64 * 1024 * 1024

/** Read a ledger's manifest. */
export const look = Effect.fnUntraced(function* (
  layout: Layout,
  hashes: Hashes.Hashes
): Effect.fn.Return<Found, JournalError, FileSystem.FileSystem> {
  const kind = yield* durable.kindAt(layout.manifest)
  if (kind === undefined) return { _tag: "None" }
  const damaged = (expected: string, actual: string): Found => ({
    _tag: "Damaged",
    expected,
    actual
  })
  if (kind !== "File") return damaged("a regular file", kind)
  const text = yield* durable.readSmall(layout.manifest, bytesMax)
  if (text === undefined) return damaged(`at most ${bytesMax} bytes`, "more")
  const decoded = Manifest.decode(text, hashes)
  if (Result.isSuccess(decoded)) return { _tag: "Sound", manifest: decoded.success }
  const { actual, expected, place } = decoded.failure
  return damaged(`${place}: ${expected}`, actual)
})

const nothing: Base = {
  tally: Manifest.empty,
  leafHash: Chain.start.leafHash,
  checkpoint: null
}

/** What the manifest on disk counted; nothing where it is not to be gone on from. */
const onDisk = Effect.fnUntraced(function* (
  { hashes, journal, ledgerId }: Source,
  onlySound: boolean
) {
  const found = yield* look(journal.layout, hashes)
  if (found._tag !== "Sound") return nothing
  const { manifest } = found
  if (manifest.ledgerId !== ledgerId || manifest.format !== format) return nothing
  // What did not hold may hold again where something was done about it.
  const isAgain =
    onlySound || (yield* OperationFolders.count(journal.layout)) > manifest.counters.operations
  if (isAgain && !Manifest.isSound(manifest)) return nothing
  const { checkpoint, leafHash } = manifest.integrity
  return { tally: Manifest.tallyOf(manifest), leafHash, checkpoint } satisfies Base
})

/** Rows in one statement: some 50 ms of SQLite. */
const rangeRows = 10_000

/** Count on, up to a head; from the first row where what was counted is not there any more. */
const advance = Effect.fnUntraced(function* (
  { journal, sql }: Source,
  base: Base,
  head: Position,
  numbers: ReadonlyArray<number>
) {
  const { checkpoint, leafHash } = base
  const isThere =
    base.tally.seq <= head.seq &&
    (checkpoint === null || numbers.includes(checkpoint.number)) &&
    (yield* isHeld(sql, { seq: base.tally.seq, leafHash }))
  const from = isThere ? base : nothing
  const paths = yield* Path.Path
  const nameOf = (segment: unknown) => manifestSql.fileName(paths, journal.layout, segment)
  let { tally } = from
  while (tally.seq < head.seq) {
    const until = Math.min(tally.seq + rangeRows, head.seq)
    tally = Manifest.extend(tally, yield* manifestSql.part(sql, nameOf, tally.seq, until))
    // SQLite answers at once: whoever waits must get a turn.
    yield* Effect.yieldNow
  }
  return { tally, leafHash: head.leafHash, checkpoint: from.checkpoint } satisfies Base
})

const tries = 3

/** The manifest of the newest committed row, going on from what was counted. */
const complete = Effect.fnUntraced(function* (source: Source, from: Base) {
  const { hashes, journal, ledgerId, sql } = source
  const { layout } = journal
  let base = from
  for (let left = tries - 1; left >= 0; left--) {
    // First: a checkpoint is of rows that were there before it.
    const { numbers } = yield* Checkpoints.numbersIn(layout.checkpoints)
    const operations = yield* OperationFolders.count(layout)
    const head = manifestSql.headOf((yield* Mirror.settled(sql)).head)
    base = yield* advance(source, base, head, numbers)
    const { checkpointsInOrder, newest } = yield* checkpointsFrom(source, base, numbers)
    const invariants = {
      ...(yield* checkFiles(source, base.tally)),
      checkpointsInOrder,
      chainValid: yield* checkHead(source, head),
      seqGapless: !(yield* manifestSql.hasStrays(sql))
    }
    const root = yield* rootOf(source, head.seq)
    const at = Timestamp.fromMillis(yield* Clock.currentTimeMillis)
    const counts = { checkpoints: numbers.length, operations }
    const beside = { ledgerId, format, at, head, root, checkpoint: newest, ...counts, invariants }
    // Beside a writer something may have changed between two looks.
    const isStill = yield* isHeld(sql, head)
    const isSure = isStill && Object.values(invariants).every(Boolean)
    if (isSure || (isStill && left === 0)) return Manifest.make(base.tally, beside, hashes)
  }
  return yield* new MirrorError({
    operation: "be counted",
    cause: new Error("rows were rolled back while they were counted"),
    hint: "Try again."
  })
})

const notCounted = (error: SqlError) => Effect.fail(mirrorError("be counted")(error))

/** The manifest as it is now, counted from the first row; nothing is written. */
export const compute = Effect.fn("Ledger.manifest")(function* (
  source: Source
): Effect.fn.Return<Manifest.Manifest, ReadError, Files> {
  return yield* Effect.catchTag(complete(source, nothing), "SqlError", notCounted)
})

const utf8 = new TextEncoder()

/** Put a manifest there, unless the same one is; the one that is there then. */
const place = Effect.fnUntraced(function* (
  { hashes, journal }: Source,
  manifest: Manifest.Manifest
) {
  const { layout } = journal
  const found = yield* look(layout, hashes)
  if (found._tag === "Sound" && Manifest.isSame(found.manifest, manifest)) return found.manifest
  yield* durable.writeFile(layout.manifest, utf8.encode(Manifest.encode(manifest)))
  return manifest
})

/** Tell what did not go well, and fail nobody. */
export const warn = (what: string) => (cause: Cause.Cause<unknown>) => {
  // Whoever interrupts knows.
  if (Cause.hasInterruptsOnly(cause)) return Effect.void
  const error = Cause.squash(cause)
  const why = error instanceof Error ? error.message : String(error)
  return Effect.logWarning(`${what}: ${why}`)
}

const notWritten = warn("manifest.json was not written")

/** What an open ledger makes its manifest with. */
export interface Keeping extends Source {
  /** Runs something between two groups. */
  readonly between: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Whether the files are in a state that may be written down. */
  readonly mayWrite: () => boolean
}

/** Make the manifest, going on from what was counted, and put it there where that may be. */
const settle = Effect.fnUntraced(function* (keeping: Keeping, base: Base) {
  const manifest = yield* complete(keeping, base)
  if (!keeping.mayWrite()) return manifest
  return yield* Effect.catchCause(place(keeping, manifest), (cause) =>
    Effect.as(notWritten(cause), manifest)
  )
})

/** Count up to the newest row while others append. */
const counted = Effect.fnUntraced(function* (keeping: Keeping, onlySound: boolean) {
  const { journal, sql } = keeping
  const { numbers } = yield* Checkpoints.numbersIn(journal.layout.checkpoints)
  const head = manifestSql.headOf((yield* Mirror.settled(sql)).head)
  return yield* advance(keeping, yield* onDisk(keeping, onlySound), head, numbers)
})

/**
 * The manifest as it is now, written too unless that fails, which is told by a warning. One in which
 * something did not hold is counted from the first row.
 */
export const current = Effect.fn("Ledger.manifest")(function* (
  keeping: Keeping
): Effect.fn.Return<Manifest.Manifest, ReadError, Files> {
  return yield* Effect.flatMap(counted(keeping, true), (base) =>
    keeping.between(settle(keeping, base))
  ).pipe(Effect.catchTag("SqlError", notCounted))
})

/** Write the manifest anew after a checkpoint. Not to be called between two groups. */
export const renew = (keeping: Keeping): Effect.Effect<void, never, Files> =>
  Effect.flatMap(counted(keeping, false), (base) => keeping.between(settle(keeping, base))).pipe(
    Effect.catchCause(notWritten)
  )

/** Whether the manifest on disk is of the newest row, and nothing came beside the rows. */
const isUpToDate = Effect.fnUntraced(function* ({ hashes, journal, ledgerId, sql }: Source) {
  const { layout } = journal
  const found = yield* look(layout, hashes)
  if (found._tag !== "Sound" || found.manifest.ledgerId !== ledgerId) return false
  const { counters, head } = found.manifest
  const newest = manifestSql.headOf((yield* Mirror.settled(sql)).head)
  return (
    head.seq === newest.seq &&
    head.leafHash === newest.leafHash &&
    counters.checkpoints === (yield* Checkpoints.numbersIn(layout.checkpoints)).numbers.length &&
    counters.operations === (yield* OperationFolders.count(layout))
  )
})

/** As `renew`, for whoever stands between two groups; nothing is done where nothing came. */
export const renewNow = Effect.fnUntraced(function* (
  keeping: Keeping
): Effect.fn.Return<void, ReadError | SqlError, Files> {
  if (yield* isUpToDate(keeping)) return
  yield* settle(keeping, yield* onDisk(keeping, false))
}, Effect.catchCause(notWritten))
