/**
 * How fast and how small, as ratios between contestants of one run.
 *
 *   npm run bench -- [--quick] [--dir DIRECTORY] [--rows ROWS] [--only PART]
 *
 * `--quick` uses small sizes; its ratios are rough. `--dir` says on which disk (default: the
 * system's directory for temporary files); everything is made in a directory of its own there and
 * removed at the end. `--rows` is the size of the largest ledger that is read (100,000; a million
 * takes minutes). `--only` leaves one part: `append`, with what limits it, `reading`,
 * `queries`, `following`, with expectations, `views`, with gates, or `emmett`: another event store,
 * where `npm install --prefix bench/emmett` was run.
 * With `CORTEX_ORACLE=PROGRAM` the original runs beside each. Figures are only the basis of the
 * ratios: they are this machine's, this minute's.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Console, Effect } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { parseArgs } from "node:util"
import * as Chain from "../src/core/Chain.ts"
import * as FastHashes from "../src/platform/FastHashes.ts"
import * as append from "./append.ts"
import * as besideEmmett from "./besideEmmett.ts"
import * as following from "./following.ts"
import * as jobs from "./jobs.ts"
import * as limits from "./limits.ts"
import { whole } from "./measure.ts"
import * as original from "./original.ts"
import { pageRows } from "./queryJobs.ts"
import * as reading from "./reading.ts"
import * as readingJobs from "./readingJobs.ts"
import { branchTip, lines as makeLines, payloadBytes } from "./rows.ts"
import * as views from "./views.ts"
import * as wholeLedgers from "./whole.ts"

const full = { append: { rounds: 5, warmUps: 3, rows: 512 }, rows: 100_000, rounds: 3 }
const quick = { append: { rounds: 3, warmUps: 1, rows: 128 }, rows: 5_000, rounds: 1 }
type Sizes = typeof full

const parts = ["append", "reading", "queries", "following", "views", "emmett"] as const
type Part = (typeof parts)[number]

const title = (text: string) => Console.log(`\n${text}\n`)

const appendAndWhole = Effect.fnUntraced(function* (directory: string, sizes: Sizes) {
  const hashes = yield* FastHashes.make
  const lines = makeLines(sizes.append.rows * 6, Chain.start, hashes)
  yield* Console.log(
    `Payloads of ${payloadBytes} bytes, lines of ${lines[0]?.bytes.byteLength}. The original: ` +
      (original.program ?? "not there: set CORTEX_ORACLE to its program")
  )

  yield* title("Append, rows durable and answered. Ratios say how many times as fast sealog is.")
  const appended = yield* append.run(directory, lines, sizes.append)
  yield* append.print(appended)

  yield* title(`Ledgers of ${whole(sizes.rows)} rows, each job in a process of its own.`)
  const done = yield* wholeLedgers.run(directory, sizes.rows, sizes.rounds)
  yield* wholeLedgers.print(done)

  yield* title("What limits: pieces timed alone, as shares of the job above.")
  const { one, many, fsync } = append.microsOf(appended)
  const totals = {
    verify: wholeLedgers.microsOf(done, "verify"),
    parity: wholeLedgers.microsOf(done, "parity"),
    replay: wholeLedgers.microsOf(done, "replay"),
    appendOne: one,
    appendMany: many,
    fsync
  }
  yield* limits.print(directory, lines, totals, hashes)
})

const program = Effect.fnUntraced(function* (
  parent: string,
  sizes: Sizes,
  readRows: number,
  isDone: (part: Part) => boolean
) {
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => fs.mkdtempSync(path.join(parent, "sealog-bench-"))),
    (made) => Effect.sync(() => fs.rmSync(made, { recursive: true, force: true }))
  )
  yield* Console.log(`Node ${process.version}, ${os.availableParallelism()} cores, in ${parent}.`)
  if (isDone("append")) yield* appendAndWhole(directory, sizes)
  const readSizes = reading.sizesUpTo(readRows)
  if (isDone("reading")) {
    yield* title("Reading, opening and taking back, each job in a process of its own.")
    yield* reading.print(directory, { sizes: readSizes, rounds: sizes.rounds })
  }
  if (isDone("queries")) {
    yield* title(`Pages of ${pageRows} rows that a filter leaves, each in a process of its own.`)
    yield* reading.printQueries(directory, readSizes)
  }
  if (isDone("following")) {
    yield* title("What keys, expectations and followers cost.")
    yield* following.print(directory, sizes.append)
  }
  if (isDone("views")) {
    yield* title("What views and gates cost an append, and to make anew and check one.")
    yield* views.print(directory, sizes.append, readRows)
  }
  if (isDone("emmett")) {
    yield* title("Beside emmett-sqlite, on one connection in WAL mode, synchronous=FULL.")
    yield* besideEmmett.print(directory, sizes.append)
  }
}, Effect.scoped)

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    dir: { type: "string", default: os.tmpdir() },
    rows: { type: "string" },
    only: { type: "string" },
    job: { type: "string" },
    reading: { type: "string" }
  }
})

/** A number of rows that holds a branch. */
const countOf = (text: string): number => {
  const count = Number(text)
  if (Number.isSafeInteger(count) && count > branchTip) return count
  throw new RangeError(`--rows must be a whole number above ${branchTip}, not ${text}`)
}

/** The part that is to be done alone. */
const partOf = (text: string): Part => {
  const part = parts.find((one) => one === text)
  if (part !== undefined) return part
  throw new RangeError(`--only must be one of ${parts.join(", ")}, not ${text}`)
}

const { dir, job, reading: readingJob } = values
if (job !== undefined) {
  await jobs.runHere(jobs.nameOf(job), dir)
} else if (readingJob !== undefined) {
  await readingJobs.runHere(readingJobs.nameOf(readingJob), dir)
} else {
  const sizes = values.quick ? quick : full
  const count = values.rows === undefined ? sizes.rows : countOf(values.rows)
  // So that Ctrl-C removes what was made, too.
  const only = values.only === undefined ? undefined : partOf(values.only)
  NodeRuntime.runMain(program(dir, sizes, count, (part) => part === (only ?? part)))
}
