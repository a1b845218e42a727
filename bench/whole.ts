/**
 * Whole ledgers: verify, replay, parity and open of many rows, and the original beside each.
 *
 * Each side works on its own format: sealog on its segments, whose lines also carry a line hash and
 * a checksum that it checks, the original on its one file. Rows and payload sizes are alike. Both
 * time themselves from inside; the start of their processes is not counted, and told apart.
 */
import { Console, Effect } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { Ledger } from "../src/index.ts"
import { SealogNode } from "../src/platform/index.ts"
import type { Job, Taken } from "./jobs.ts"
import * as jobs from "./jobs.ts"
import { mebibytes, median, perSecond, ratio, table, times, whole } from "./measure.ts"
import * as original from "./original.ts"
import * as rows from "./rows.ts"

const groupRows = 500

/** Make a ledger of so many rows, in groups. */
const build = (directory: string, count: number) =>
  Effect.gen(function* () {
    const ledger = yield* Ledger.Ledger
    for (let first = 0; first < count; first += groupRows) {
      yield* ledger.appendAll(rows.drafts(first, Math.min(groupRows, count - first)))
    }
  }).pipe(Effect.provide(SealogNode.layer({ directory })))

const order: ReadonlyArray<Job> = ["verify", "replay", "parity", "open"]

/** What both sides took for one job, round by round. */
export interface Side {
  readonly own: Array<Taken>
  readonly other: Array<original.Step>
}

export type Results = ReadonlyMap<Job, Side>

interface Files {
  readonly ledger: string
  readonly jsonl: string
  readonly sqlite: string
}

const besideOf = (program: string, { jsonl, sqlite }: Files) => {
  let opened: original.Step | undefined
  return (job: Job): original.Step => {
    switch (job) {
      case "verify": {
        const { open, verify } = original.verify(program, jsonl)
        opened = open
        return verify
      }
      case "replay":
        for (const file of [sqlite, `${sqlite}-wal`, `${sqlite}-shm`]) {
          fs.rmSync(file, { force: true })
        }
        return original.replay(program, jsonl, sqlite)
      case "parity":
        return original.parity(program, jsonl, sqlite)
      case "open":
        return opened ?? original.verify(program, jsonl).open
    }
  }
}

/** Make both ledgers, then do every job as often as there are rounds, one side after the other. */
export const run = Effect.fnUntraced(function* (directory: string, count: number, rounds: number) {
  const files: Files = {
    ledger: path.join(directory, "ledger"),
    jsonl: path.join(directory, "whole.jsonl"),
    sqlite: path.join(directory, "whole.sqlite")
  }
  const { program } = original
  yield* build(files.ledger, count)
  if (program !== undefined) original.build(program, files.jsonl, count)
  const beside = program === undefined ? undefined : besideOf(program, files)
  const results = new Map<Job, Side>(order.map((job) => [job, { own: [], other: [] }]))
  for (let round = 0; round < rounds; round++) {
    for (const [job, side] of results) {
      side.own.push(jobs.run(job, files.ledger))
      if (beside !== undefined) side.other.push(beside(job))
    }
  }
  return results
})

/** Microseconds per row of a job; of replay, its opening alone. */
export const microsOf = (results: Results, job: Job): number =>
  median(
    (results.get(job)?.own ?? []).map(
      ({ rows: count, millis, openMillis }) => ((openMillis ?? millis) * 1000) / count
    )
  )

const besides = {
  verify: "audit of its file",
  replay: "replay, which ends with parity",
  parity: "parity",
  open: "open of its log; SQLite apart"
} satisfies { readonly [job in Job]: string }

const speed = (job: Job, millis: number, count: number): string =>
  job === "open" ? `${millis.toFixed(0)} ms` : `${perSecond((millis * 1000) / count)} rows/s`

const rowOf = (job: Job, { own, other }: Side): ReadonlyArray<string> => {
  const millis = own.map((taken) => taken.millis)
  const peaks = own.map((taken) => taken.peakBytes)
  const count = own[0]?.rows ?? 0
  const ours = [speed(job, median(millis), count), mebibytes(median(peaks))]
  if (other.length === 0) return [job, ...ours]
  const theirs = other.map((step) => step.millis)
  const theirPeaks = other.map((step) => step.peakBytes)
  return [
    job,
    ...ours,
    speed(job, median(theirs), count),
    mebibytes(median(theirPeaks)),
    times(ratio(millis, theirs)),
    times(ratio(peaks, theirPeaks))
  ]
}

/** Print speeds and peaks, and how many times as fast and as small sealog was. */
export const print = Effect.fnUntraced(function* (results: Results) {
  const hasOther = [...results.values()].some(({ other }) => other.length > 0)
  const head = ["", "sealog", "peak", "the original", "peak", "speed is", "peak is smaller by"]
  const body = [...results].map(([job, side]) => rowOf(job, side))
  yield* Console.log(table([hasOther ? head : head.slice(0, 3), ...body]))
  const opened = results.get("replay")?.own ?? []
  const alone = median(opened.map(({ openMillis }) => openMillis ?? Number.NaN))
  const loaded = [...results.values()].flatMap(({ own }) => own.map((taken) => taken.loadMillis))
  yield* Console.log(
    `\n  replay without the parity at its end: ${whole(alone)} ms. Start of Node and loading the ` +
      `library, in no figure: ${whole(median(loaded))} ms.`
  )
  if (!hasOther) return
  const steps = Object.entries(besides).map(([job, what]) => `${job}: ${what}`)
  yield* Console.log(`  Of the original is timed: ${steps.join("; ")}.`)
})
