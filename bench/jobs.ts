/**
 * Verify, parity, replay and open of one ledger, each in a process of its own so that its peak
 * memory is its own. The process answers one line of JSON on standard output.
 *
 *   open     from nothing to a ledger that takes appends, guard and recovery included
 *   verify   every row of the segments read, hashed and its links checked; no mirror
 *   parity   both legs compared row by row, in both directions
 *   replay   the mirror deleted before: opening remakes it; then parity, as the original's replay
 */
import { Effect, Schema } from "effect"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { Ledger, Reader } from "../src/index.ts"
import { SealogNode } from "../src/platform/index.ts"

/** The jobs by name. */
export const Job = Schema.Literals(["open", "verify", "parity", "replay"])
export type Job = typeof Job.Type

/** The job of that name; throws where there is none. */
export const nameOf: (text: string) => Job = Schema.decodeUnknownSync(Job)

/** What a job took. */
export const Taken = Schema.Struct({
  rows: Schema.Int,
  /** From before anything is opened until the job is done; closing is not in it. */
  millis: Schema.Finite,
  /** Until the ledger took appends, where the job opens it for writing. */
  openMillis: Schema.NullOr(Schema.Finite),
  /** From the start of the process until the library was loaded; no part of `millis`. */
  loadMillis: Schema.Finite,
  /** Of the process, all its life. */
  peakBytes: Schema.Finite
})
export type Taken = typeof Taken.Type

const TakenText = Schema.fromJsonString(Taken)

type Done = Pick<Taken, "rows" | "millis" | "openMillis">

const sure = (holds: boolean, what: string) =>
  holds ? Effect.void : Effect.die(new Error(`not what was expected: ${what}`))

const verify = (directory: string) =>
  Effect.gen(function* () {
    const begun = performance.now()
    const report = yield* Ledger.verify({ directory })
    const millis = performance.now() - begun
    yield* sure(report._tag === "Intact", "a ledger that verifies")
    return { rows: report.rows, millis, openMillis: null } satisfies Done
  }).pipe(Effect.provide(SealogNode.layerPlatform))

const parity = (directory: string) =>
  Effect.suspend(() => {
    const begun = performance.now()
    return Effect.gen(function* () {
      const reader = yield* Reader.Reader
      const report = yield* reader.parity
      const millis = performance.now() - begun
      yield* sure(report.isConsistent, "two legs with the same rows")
      return { rows: report.jsonlEventCount, millis, openMillis: null } satisfies Done
    }).pipe(Effect.provide(SealogNode.layerReader({ directory })))
  })

const open = (directory: string) =>
  Effect.suspend(() => {
    const begun = performance.now()
    return Effect.gen(function* () {
      const { opened } = yield* Ledger.Ledger
      const millis = performance.now() - begun
      yield* sure(opened._tag === "Clean", "a ledger that opens clean")
      return { rows: opened.head.seq, millis, openMillis: millis } satisfies Done
    }).pipe(Effect.provide(SealogNode.layer({ directory })))
  })

const replay = (directory: string) =>
  Effect.suspend(() => {
    for (const file of ["mirror.sqlite", "mirror.sqlite-wal", "mirror.sqlite-shm"]) {
      fs.rmSync(path.join(directory, file), { force: true })
    }
    const begun = performance.now()
    return Effect.gen(function* () {
      const ledger = yield* Ledger.Ledger
      const openMillis = performance.now() - begun
      const report = yield* ledger.parity
      const millis = performance.now() - begun
      yield* sure(report.isConsistent, "two legs with the same rows")
      return { rows: report.sqliteEventCount, millis, openMillis } satisfies Done
    }).pipe(Effect.provide(SealogNode.layer({ directory })))
  })

const jobs = { open, verify, parity, replay }

/** Do a job in this process and print what it took. */
export const runHere = async (job: Job, directory: string): Promise<void> => {
  const loadMillis = performance.now()
  const done = await Effect.runPromise(Effect.orDie<Done, unknown, never>(jobs[job](directory)))
  const peakBytes = process.resourceUsage().maxRSS * 1024
  process.stdout.write(`${Schema.encodeSync(TakenText)({ ...done, loadMillis, peakBytes })}\n`)
}

/** Do a job in a process of its own. */
export const run = (job: Job, directory: string): Taken => {
  const main = path.join(import.meta.dirname, "main.ts")
  const said = execFileSync(process.execPath, [main, "--job", job, "--dir", directory], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"]
  })
  return Schema.decodeSync(TakenText)(said.trim())
}
