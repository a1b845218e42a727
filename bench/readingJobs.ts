/**
 * What a ledger is asked for besides appending, each job in a process of its own so that its peak
 * memory is its own. The process answers one line of JSON on standard output.
 *
 * A job that has a bare counterpart takes turns with it, in the same process. The others are timed
 * alone, and compared with the same job on a ledger without rows.
 */
import { Context, Effect, Layer, Schema, Stream } from "effect"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { Ledger } from "../src/index.ts"
import { SealogNode } from "../src/platform/index.ts"
import * as bare from "./bare.ts"
import * as queryJobs from "./queryJobs.ts"
import * as rows from "./rows.ts"
import type { Done, Taken, Turns } from "./turns.ts"
import { inTurns, sure, TakenText, Watch } from "./turns.ts"

const alone = (own: Turns): Done => ({ count: 1, own, bare: null, checked: null })

// ---- compared with the same on a ledger without rows ---------------------------------------------

const turnsOpen = 8

/** Open anew each time, do something once, close; of the opening, and of what was done then. */
const opened = <E>(
  directory: string,
  then: (ledger: Ledger.Ledger["Service"]) => Effect.Effect<unknown, E>
) =>
  Effect.gen(function* () {
    const openings = new Watch()
    const done = new Watch()
    for (let turn = 0; turn <= turnsOpen; turn++) {
      globalThis.gc?.()
      yield* Effect.gen(function* () {
        const layer = SealogNode.layer({ directory })
        const ledger = Context.get(yield* openings.turn(Layer.build(layer)), Ledger.Ledger)
        yield* sure(ledger.opened._tag === "Clean", "a ledger that opens clean")
        yield* done.turn(then(ledger))
      }).pipe(Effect.scoped)
    }
    return { openings: openings.turns(1), done: done.turns(1) }
  })

const open = (directory: string) =>
  Effect.map(
    opened(directory, () => Effect.void),
    ({ openings }) => alone(openings)
  )

const firstAppend = (directory: string) =>
  Effect.map(
    opened(directory, (ledger) => ledger.append({ type: "bench.appended.v1", payload: 1 })),
    ({ done }) => alone(done)
  )

const checkpoint = (directory: string) =>
  Effect.map(
    opened(directory, (ledger) => ledger.checkpoint("bench")),
    ({ done }) => alone(done)
  )

const cutRows = 1_000
// Ids that no ledger here has.
const firstCut = 100_000_000

const rollback = (directory: string) =>
  Effect.gen(function* () {
    const ledger = yield* Ledger.Ledger
    const watch = new Watch()
    for (let turn = 0; turn < 3; turn++) {
      const before = yield* ledger.checkpoint("bench")
      yield* ledger.appendAll(rows.drafts(firstCut, cutRows))
      const back = ledger.rollback(before, { operator: "bench", reason: "bench" })
      const { cut } = yield* watch.turn(back)
      yield* sure(cut[0]?.rows === cutRows, "a thousand rows that are cut")
    }
    return alone(watch.turns(0))
  }).pipe(Effect.provide(SealogNode.layer({ directory })))

// ---- compared with reading by hand ---------------------------------------------------------------

const lookUps = 1_000

/** Row numbers from 0 all over a ledger, each time the same. */
const scattered = (size: number): ReadonlyArray<number> =>
  Array.from({ length: lookUps }, (_, nth) => Number((BigInt(nth) * 2654435761n) % BigInt(size)))

const bySeq = (directory: string) =>
  inTurns(
    directory,
    ({ reader, rows: size }) =>
      Effect.forEach(scattered(size), (n) => reader.get(n + 1)).pipe(
        Effect.map((events) => events.length)
      ),
    ({ byHand, rows: size }) => scattered(size).map((n) => byHand.bySeq(n + 1)).length
  )

const byId = (directory: string) =>
  inTurns(
    directory,
    ({ reader, rows: size }) =>
      Effect.forEach(scattered(size), (n) => reader.get(rows.idOf(n))).pipe(
        Effect.map((events) => events.length)
      ),
    ({ byHand, rows: size }) => scattered(size).map((n) => byHand.byId(rows.idOf(n))).length
  )

const many = 100

/** So often that it can be timed. */
const tail = (directory: string) =>
  inTurns(
    directory,
    ({ reader }) =>
      Effect.forEach(Array.from({ length: many }), () =>
        Stream.runCollect(reader.events({ last: 10 }))
      ).pipe(Effect.map((tails) => tails.flat().length)),
    ({ byHand }) => Array.from({ length: many }, () => byHand.tail(10)).flat().length
  )

const pathTo = (directory: string) =>
  inTurns(
    directory,
    ({ reader }) =>
      Effect.map(Stream.runCollect(reader.path(rows.branchTip)), (events) => events.length),
    ({ byHand }) => byHand.path(rows.branchTip).length
  )

const leaves = (directory: string) =>
  inTurns(
    directory,
    ({ reader }) =>
      Effect.map(Stream.runCollect(reader.events({ leaves: true })), (events) => events.length),
    ({ byHand }) => byHand.leaves().length
  )

// ---- compared with a bare read of the whole journal ----------------------------------------------

const isLong = 200_000

/**
 * Do something with every row, and read the journal by hand right after. It is timed from inside the
 * layers that it needs, or around them.
 */
const whole = <E>(directory: string, own: (watch: Watch) => Effect.Effect<number, E>) =>
  Effect.gen(function* () {
    const watch = new Watch()
    const bareWatch = new Watch()
    // Read once before, so that both find the files in memory.
    const count = bare.journal(directory)
    for (let turn = 0; turn < (count > isLong ? 1 : 3); turn++) {
      const found = yield* own(watch)
      yield* bareWatch.turn(Effect.sync(() => bare.journal(directory)))
      yield* sure(found === count, `${count} rows, not ${found}`)
    }
    return { ...alone(watch.turns(0)), count, bare: bareWatch.turns(0) } satisfies Done
  })

const verify = (directory: string) =>
  whole(directory, (watch) =>
    Effect.map(watch.turn(Ledger.verify({ directory })), (report) =>
      report._tag === "Intact" ? report.rows : 0
    ).pipe(Effect.provide(SealogNode.layerPlatform))
  )

const rebuild = (directory: string) =>
  Ledger.Ledger.use((ledger) =>
    whole(directory, (watch) =>
      Effect.map(
        watch.turn(ledger.rebuild({ operator: "bench", reason: "bench" })),
        ({ counts }) => counts["rows"] ?? 0
      )
    )
  ).pipe(Effect.provide(SealogNode.layer({ directory })))

const removeMirror = (directory: string) => {
  for (const file of ["mirror.sqlite", "mirror.sqlite-wal", "mirror.sqlite-shm"]) {
    fs.rmSync(path.join(directory, file), { force: true })
  }
}

const remake = (directory: string) =>
  whole(directory, (watch) =>
    Effect.suspend(() => {
      removeMirror(directory)
      const opening = watch.turn(Layer.build(SealogNode.layer({ directory })))
      return Effect.map(opening, (context) => {
        const { opened: report } = Context.get(context, Ledger.Ledger)
        return report._tag === "Recovered" ? report.head.seq : 0
      })
    }).pipe(Effect.scoped)
  )

const jobs = {
  open,
  firstAppend,
  checkpoint,
  rollback,
  bySeq,
  byId,
  tail,
  path: pathTo,
  leaves,
  verify,
  rebuild,
  remake,
  ...queryJobs.jobs
}

export type Job = keyof typeof jobs

const isJob = (text: string): text is Job => Object.hasOwn(jobs, text)

/** The job of that name; throws where there is none. */
export const nameOf = (text: string): Job => {
  if (isJob(text)) return text
  throw new RangeError(`no job is called ${text}`)
}

/** Do a job in this process and print what it took. */
export const runHere = async (job: Job, directory: string): Promise<void> => {
  const done = await Effect.runPromise(Effect.orDie<Done, unknown, never>(jobs[job](directory)))
  const peakBytes = process.resourceUsage().maxRSS * 1024
  process.stdout.write(`${Schema.encodeSync(TakenText)({ ...done, peakBytes })}\n`)
}

/** Do a job in a process of its own. */
export const run = (job: Job, directory: string): Taken => {
  const main = path.join(import.meta.dirname, "main.ts")
  const args = ["--expose-gc", main, "--reading", job, "--dir", directory]
  const said = execFileSync(process.execPath, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"]
  })
  return Schema.decodeSync(TakenText)(said.trim())
}
