/**
 * The lab: one journal on a disk in memory and one mirror in SQLite's memory, put into any state.
 *
 * Verification and recovery are the real ones, over `Disk` in place of the running system's files.
 * How each ends is a value here, a defect too, so that one sweep can tell of all that is wrong.
 */
import * as path from "node:path"
import { assert } from "@effect/vitest"
import { Cause, Effect, Exit, FileSystem, Path, flow } from "effect"
import { Reactivity } from "effect/reactivity"
import { SqlClient } from "effect/sql"
import * as Chain from "../../src/core/Chain.ts"
import * as Segment from "../../src/core/Segment.ts"
import type { VerifyReport } from "../../src/core/VerifyReport.ts"
import * as SqliteClient from "../../src/platform/SqliteClient.ts"
import * as Journal from "../../src/store/journal/Journal.ts"
import * as Layout from "../../src/store/journal/Layout.ts"
import * as LedgerModule from "../../src/store/Ledger.ts"
import * as Mirror from "../../src/store/mirror/Mirror.ts"
import * as TimeBlocks from "../../src/store/mirror/TimeBlocks.ts"
import * as Opening from "../../src/store/opening/Opening.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { Disk } from "./disk.ts"
import type { Files, Made } from "./fixture.ts"
import { identity } from "./fixture.ts"
import type { Verdict } from "./rules.ts"

/** The running system's hashes and paths, ids from a seed, and what the mirror's client needs. */
// Without spans: one for each statement of SQL takes a good part of a sweep's time, unseen.
export const provideLab = flow(
  Effect.provide([TestLedger.layerPlatform(), Reactivity.layer]),
  Effect.withTracerEnabled(false)
)

const lineBytesMax = 1_000_000

/** What is wrong in a sweep, told at its end: all of it, with how to make it again. */
export class Findings {
  private readonly all: Array<string> = []
  count = 0

  note(what: string, problem: string | undefined): void {
    this.count++
    if (problem !== undefined)
      this.all.push(`${what}: ${problem}`.replace(/\s+/g, " ").slice(0, 300))
  }

  /** Fails if anything is wrong, or if the sweep was smaller than it says it is. */
  assertNone(atLeast: number): void {
    assert.isAtLeast(this.count, atLeast)
    const most = 30
    assert.deepStrictEqual(this.all.slice(0, most), [], `${this.all.length} of ${this.count}`)
  }
}

/** How an effect ended: with a value, an error that has a name, or a defect, which has none. */
export interface Outcome<A> {
  /** "Success", the error's tag, or "Defect". */
  readonly tag: string
  readonly value: A | undefined
  readonly message: string
}

/** Without the stacks of errors, which take a tenth of a sweep's time and are never shown. */
const withoutStacks = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const most = Error.stackTraceLimit
    Error.stackTraceLimit = 0
    return Effect.ensuring(
      effect,
      Effect.sync(() => (Error.stackTraceLimit = most))
    )
  })

export const outcomeOf = <A, E extends { readonly _tag: string }, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<Outcome<A>, never, R> =>
  Effect.map(Effect.exit(effect), (exit) => {
    if (Exit.isSuccess(exit)) return { tag: "Success", value: exit.value, message: "" }
    const reason = exit.cause.reasons[0]
    return reason !== undefined && Cause.isFailReason(reason)
      ? { tag: reason.error._tag, value: undefined, message: String(reason.error) }
      : { tag: "Defect", value: undefined, message: Cause.pretty(exit.cause) }
  })

/** The verdict of core alone, without a file or an effect: rows, links, groups. */
export const coreVerdict = (
  { format }: Made,
  files: Files,
  hashes: Chain.VerifierOptions["hashes"]
): VerifyReport => {
  const verifier = new Chain.Verifier({ path: "journal", format, hashes })
  for (const [name, bytes] of files) {
    for (const line of Segment.lines(name, bytes, lineBytesMax)) verifier.push(line)
    verifier.end()
  }
  return verifier.report(["signatures", "parents", "index", "parity", "checkpoints"])
}

const tables = ["events", "sealog_index", "sealog_keys", "sealog_times"] as const

/** A mirror in SQLite's memory that can be put back to any number of rows, once it was kept. */
const makeMirror = Effect.gen(function* () {
  const sql = yield* SqliteClient.make({ filename: ":memory:" })
  yield* Effect.provideService(Mirror.migrate, SqlClient.SqlClient, sql)
  // Undefined where it is not known, as after a change by SQL.
  let mirrored: number | undefined

  /** Keep what it holds now as what it is put back from. */
  const keep = Effect.forEach(
    [...tables, "sealog_state"],
    (table) => sql`CREATE TEMP TABLE ${sql(`was_${table}`)} AS SELECT * FROM ${sql(table)}`
  )

  /** Put the first rows there and no others. */
  const put = Effect.fnUntraced(function* (rows: number) {
    if (rows === mirrored) return
    for (const table of tables) yield* sql`DELETE FROM ${sql(table)}`
    // A tree of more rows than these would be of a history that the mirror never met.
    yield* sql`DELETE FROM sealog_state WHERE name = 'tree'`
    yield* sql`INSERT INTO sealog_state SELECT * FROM was_sealog_state
      WHERE name = 'tree' AND seq <= ${rows}`
    yield* sql`INSERT INTO events SELECT e.* FROM was_events e JOIN was_sealog_index i
      ON e.id = i.event_id WHERE seq <= ${rows}`
    yield* sql`INSERT INTO sealog_index SELECT * FROM was_sealog_index WHERE seq <= ${rows}`
    yield* sql`INSERT INTO sealog_keys SELECT * FROM was_sealog_keys WHERE seq <= ${rows}`
    yield* sql`INSERT INTO sealog_times SELECT * FROM was_sealog_times`
    yield* TimeBlocks.cut(sql, rows)
    mirrored = rows
  }, Effect.orDie)

  /** Change it by SQL; false where SQLite refuses that. */
  const meddle = (statement: string) => {
    mirrored = undefined
    return Effect.map(Effect.exit(sql.unsafe(statement)), Exit.isSuccess)
  }

  const indexRows = Effect.orDie(
    Effect.map(sql<{ n: number }>`SELECT count(*) AS n FROM sealog_index`, ([row]) => row?.n)
  )

  /** Run what may change it. */
  const noticing = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      const before = yield* indexRows
      const done = yield* effect
      if ((yield* indexRows) !== before) mirrored = undefined
      return done
    })

  return { keep, meddle, noticing, put, sql }
})

export type Lab = Effect.Success<ReturnType<typeof makeLab>>

/** A lab whose mirror holds all rows of a ledger. */
export const makeLab = Effect.fnUntraced(function* (made: Made) {
  const disk = new Disk()
  const layout = Layout.of(yield* Path.Path, made.location)
  const { keep, meddle, noticing, put: putMirror, sql } = yield* makeMirror
  const onDisk = Effect.provideService(FileSystem.FileSystem, disk.fileSystem)
  const hashes = yield* LedgerModule.CurrentHashes
  const reader = yield* onDisk(Journal.makeReader(layout, { lineBytesMax }))
  const recover = onDisk(Opening.recover(reader, sql, hashes))

  const putFiles = (files: Files): void => {
    disk.put(path.dirname(layout.root), new Map())
    disk.write(layout.ledgerJson, identity)
    disk.directories.add(made.root)
    for (const [name, bytes] of files) disk.write(path.join(made.root, name), bytes)
  }

  /** Put these files there and nothing else, and the mirror's first rows. */
  const put = (files: Files, rows: number = made.lines.length): Effect.Effect<void> => {
    putFiles(files)
    return putMirror(rows)
  }

  const verify = (mirror: "with mirror" | "without mirror") =>
    LedgerModule.verify(made.location, mirror === "with mirror" ? { sql } : {}).pipe(
      onDisk,
      outcomeOf,
      withoutStacks
    )

  /** Open what is there; how many changes of the disk that took. */
  const open = Effect.gen(function* () {
    disk.changes = 0
    const opened = yield* noticing(withoutStacks(outcomeOf(recover)))
    return { ...opened, changes: disk.changes }
  })

  /** The files of the journal as they lie now. */
  const journal = (): Files =>
    new Map([...disk.below(made.root)].filter(([name]) => path.dirname(name) === "."))

  /** What operations have cut. */
  const kept = (): ReadonlyArray<Uint8Array> =>
    [...disk.below(layout.operations)].flatMap(([name, b]) => (name.endsWith(".cut") ? [b] : []))

  putFiles(made.files)
  yield* recover
  yield* keep
  return { disk, hashes, journal, kept, layout, meddle, open, put, sql, verify }
})

const isBefore = (failure: { path: string; line: number }, file: string, line: number): boolean => {
  const name = path.basename(failure.path)
  return failure.line > 0 && (name < file || (name === file && failure.line < line))
}

/** A report in one line: its verdict and what it found first. */
export const summaryOf = (report: VerifyReport | undefined): string => {
  const found = report?._tag === "Damaged" ? report.failures : (report?.remarks ?? [])
  const said = found.slice(0, 3).map(({ level, message }) => `${level}: ${message.slice(0, 200)}`)
  return `${report?._tag} with ${report?.rows} rows (${said.join("; ")})`
}

/** How a report departs from what the rules say, its first place included; undefined if not. */
export const departure = (
  report: VerifyReport | undefined,
  { fault, rows }: Verdict
): string | undefined => {
  const wanted = fault === undefined ? `Intact with ${rows} rows` : JSON.stringify(fault)
  const problem = `${wanted} expected, found ${summaryOf(report)}`
  if (report === undefined || fault === undefined || report._tag === "Intact") {
    return report?._tag === "Intact" && fault === undefined && report.rows === rows
      ? undefined
      : problem
  }
  if (fault === "short") {
    const isSaid = report.failures.some(({ reason }) => reason.kind === "journal_short")
    return isSaid ? undefined : problem
  }
  const { file, line, offset, seq } = fault
  const isThere = report.failures.some(
    (failure) =>
      path.basename(failure.path) === file &&
      failure.line === line &&
      failure.offset === offset &&
      (seq === undefined || failure.seq === seq)
  )
  const isFirst = !report.failures.some((failure) => isBefore(failure, file, line))
  return isThere && isFirst ? undefined : problem
}
