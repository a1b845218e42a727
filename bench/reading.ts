/**
 * Reading, opening and taking back: ledgers of ten times as many rows each, made once.
 *
 * What should not depend on how many rows there are is compared with the same on a ledger without
 * rows. What reads rows is compared with one who reads them by hand, and what reads all of them with
 * a bare read of the journal, which finds the ends of its lines and nothing more.
 */
import { Console, Effect } from "effect"
import * as path from "node:path"
import { Ledger } from "../src/index.ts"
import { SealogNode } from "../src/platform/index.ts"
import { mebibytes, median, micros, perSecond, ratio, table, times, whole } from "./measure.ts"
import type { Job } from "./readingJobs.ts"
import * as jobs from "./readingJobs.ts"
import * as rows from "./rows.ts"
import type { Taken, Turns } from "./turns.ts"

const groupRows = 500

/** Make a ledger of so many rows, in groups. */
const build = (directory: string, count: number, drafts: typeof rows.drafts) =>
  Effect.gen(function* () {
    const ledger = yield* Ledger.Ledger
    for (let first = 0; first < count; first += groupRows) {
      yield* ledger.appendAll(drafts(first, Math.min(groupRows, count - first)))
    }
  }).pipe(Effect.provide(SealogNode.layer({ directory })))

/** Compared with reading by hand, and what is counted. */
const read: ReadonlyArray<readonly [Job, string]> = [
  ["bySeq", "look-up by seq"],
  ["byId", "look-up by id"],
  ["tail", "row of the last 10"],
  ["path", `row of a path of ${whole(rows.branchRows)}`],
  ["leaves", "leaf"]
]

/** Compared with a bare read of the journal. */
const readAll: ReadonlyArray<readonly [Job, string]> = [
  ["verify", "verify"],
  ["rebuild", "rebuild"],
  ["remake", "mirror remade on open"]
]

/** Compared with a ledger without rows; the last of them leave rows behind. */
const flat: ReadonlyArray<readonly [Job, string]> = [
  ["open", "open"],
  ["checkpoint", "first checkpoint after it"],
  ["rollback", "rollback of 1,000 rows"],
  ["firstAppend", "first append after it"]
]

interface Sized {
  readonly directory: string
  readonly count: number
}

const head = ["", "rows", "took", "by hand", "times by hand", "of CPU", "peak"]

/** How many times as long as another, by the clock and of the processors. */
const against = (one: Turns, other: Turns) => [
  times(ratio(other.millis, one.millis)),
  times(ratio(other.cpuMillis, one.cpuMillis))
]

const besideHand = (what: string, size: number, taken: Taken, isWhole: boolean) => {
  const each = ({ millis }: Turns) => (median(millis) * 1000) / taken.count
  const spell = (one: number) => (isWhole ? `${perSecond(one)} rows/s` : `${micros(one)} us`)
  const { bare, own, peakBytes } = taken
  if (bare === null) throw new Error(`${what} has no counterpart`)
  return [
    what,
    whole(size),
    spell(each(own)),
    spell(each(bare)),
    ...against(own, bare),
    mebibytes(peakBytes)
  ]
}

const printBeside = Effect.fnUntraced(function* (
  sized: ReadonlyArray<Sized>,
  all: ReadonlyArray<readonly [Job, string]>,
  isWhole: boolean
) {
  const lines = all.flatMap(([job, what]) =>
    sized.map(({ count, directory }) => besideHand(what, count, jobs.run(job, directory), isWhole))
  )
  yield* Console.log(table([head, ...lines]))
})

/** Each round runs a job on every ledger, so that its ratios are of one minute. */
const printFlat = Effect.fnUntraced(function* (
  empty: Sized,
  sized: ReadonlyArray<Sized>,
  rounds: number
) {
  const lines: Array<ReadonlyArray<string>> = []
  for (const [job, what] of flat) {
    const of = new Map<Sized, Array<Taken>>([empty, ...sized].map((one) => [one, []]))
    for (let round = 0; round < rounds; round++) {
      for (const [one, taken] of of) taken.push(jobs.run(job, one.directory))
    }
    const turnsOf = (one: Sized): Turns => ({
      millis: (of.get(one) ?? []).map(({ own }) => median(own.millis)),
      cpuMillis: (of.get(one) ?? []).map(({ own }) => median(own.cpuMillis))
    })
    for (const [one, taken] of of) {
      const peak = median(taken.map(({ peakBytes }) => peakBytes))
      const took = `${median(turnsOf(one).millis).toFixed(1)} ms`
      const ratios = one === empty ? ["-", "-"] : against(turnsOf(one), turnsOf(empty))
      lines.push([what, whole(one.count), took, ...ratios, mebibytes(peak)])
    }
  }
  yield* Console.log(table([["", "rows", "took", "times no rows", "of CPU", "peak"], ...lines]))
})

/** Compared with SQL by hand, and that with the reader's checks. */
const asked: ReadonlyArray<readonly [Job, string]> = [
  ["byType", "by type, a tenth of all"],
  ["byKey", "by key, one of 97"],
  ["bySession", "by session, in one piece"],
  ["byTrace", "by trace, one of 8 in turns"],
  ["byTime", "by time range"],
  ["byTypeAndKey", "by type and key"],
  ["newest", "the newest"],
  ["newestOfKey", "the newest of a key"],
  ["head", "head, each"]
]

/** Make ledgers of rows with all that a query asks for, and print what a row of a page takes. */
export const printQueries = Effect.fnUntraced(function* (
  directory: string,
  sizes: ReadonlyArray<number>
) {
  const sized = sizes.map((count): Sized => ({
    directory: path.join(directory, `asked-${count}`),
    count
  }))
  for (const one of sized) yield* build(one.directory, one.count, rows.asked)
  const lines = asked.flatMap(([job, what]) =>
    sized.map(({ count, directory: of }) => {
      const taken = jobs.run(job, of)
      const checked = taken.checked === null ? ["-", "-"] : against(taken.own, taken.checked)
      return [...besideHand(what, count, taken, false).slice(0, -1), ...checked]
    })
  )
  const first = ["", "rows", "a row", "by hand", "times by hand", "of CPU"]
  yield* Console.log(table([[...first, "by hand, checked", "of CPU"], ...lines]))
})

/** How large the ledgers are, and how often what is compared between them is done. */
export interface Settings {
  readonly sizes: ReadonlyArray<number>
  readonly rounds: number
}

/** The sizes up to a number of rows: powers of ten from 10,000, and the number itself. */
export const sizesUpTo = (count: number): ReadonlyArray<number> => {
  const sizes: Array<number> = []
  for (let size = 10_000; size < count; size *= 10) sizes.push(size)
  return [...sizes, count]
}

/** Make the ledgers and print what each job takes. */
export const print = Effect.fnUntraced(function* (directory: string, settings: Settings) {
  const at = (count: number): Sized => ({ directory: path.join(directory, `read-${count}`), count })
  const empty = at(0)
  const sized = settings.sizes.map(at)
  for (const one of [empty, ...sized]) yield* build(one.directory, one.count, rows.branching)
  yield* printBeside(sized, read, false)
  yield* Console.log("")
  yield* printFlat(empty, sized, settings.rounds)
  yield* Console.log("")
  // Last, as each rebuild is an operation that a checkpoint looks at.
  yield* printBeside(sized, readAll, true)
})
