/**
 * Hours of work on ledgers, to see whether memory and open files stay flat and nothing is lost.
 *
 *   npm run soak -- --minutes 60 [--seed TEXT] [--rounds N] [--dir DIRECTORY]
 *   deno run -A test/soak/main.ts --minutes 60
 *
 * `--minutes` or `--rounds`, whichever ends first, says how long (default: 8 minutes); Ctrl-C ends
 * it earlier, after the round under way, with the same checks. `--dir` says on which disk (default:
 * the system's directory for temporary files). Exit 0 where memory and open files are flat, every
 * ledger verified and every acknowledged row found; else 1, with the reasons.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { parseArgs } from "node:util"
import { mebibytes, table, whole } from "../../bench/measure.ts"
import type { Verdict } from "./judge.ts"
import { judge, samplesMin } from "./judge.ts"
import type { Sample } from "./samples.ts"
import { seriesOf } from "./samples.ts"
import type { Progress, Result } from "./soak.ts"
import { soak } from "./soak.ts"

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "8" },
    rounds: { type: "string", default: "Infinity" },
    seed: { type: "string", default: "1" },
    dir: { type: "string", default: os.tmpdir() }
  }
})

const numberOf = (name: "minutes" | "rounds"): number => {
  const number = Number(values[name])
  if (number > 0) return number
  console.error(`--${name} must be a number above 0, not ${values[name]}`)
  process.exit(2)
}

const millisMax = numberOf("minutes") * 60_000
const roundsMax = numberOf("rounds")
const progressMillis = 5_000

const clock = (millis: number): string => {
  const seconds = Math.floor(millis / 1000)
  const parts = [seconds / 3600, (seconds / 60) % 60, seconds % 60]
  return parts.map((part) => String(Math.floor(part)).padStart(2, "0")).join(":")
}

const memoryOf = ({ heapBytes, openFiles, rssBytes }: Sample): string =>
  `${mebibytes(rssBytes)} resident, ${mebibytes(heapBytes)} heap, ${openFiles ?? "?"} open files`

const lineOf = ({ kills, ledgers, rounds, rows, sample }: Progress): string =>
  `${clock(sample.atMillis)}  round ${rounds}: ${whole(rows)} rows in ${ledgers} ledgers, ` +
  `${kills} kills; ${memoryOf(sample)}`

const amount = (name: string, value: number): string =>
  name === "open files" ? value.toFixed(0) : `${(value / 2 ** 20).toFixed(1)} MiB`

const cellsOf = ({ allowed, early, grown, isFlat, late, name, slope, start }: Verdict) => [
  name,
  ...[start, early, late, grown, allowed].map((value) => amount(name, value)),
  name === "open files" ? slope.toFixed(4) : `${(slope / 1024).toFixed(1)} KiB`,
  isFlat === undefined ? "too short to say" : isFlat ? "flat" : "GROWS"
]

const heads = ["", "start", "2nd quarter", "last", "grown", "allowed", "slope/sample", ""]

/** Print what came of it; the reasons against it. */
const report = ({ progress, samples, trouble }: Result): ReadonlyArray<string> => {
  const verdicts = seriesOf(samples).map(judge)
  const { backups, kills, ledgers, opens, rotations, rounds, rows, rowsRead, verifications } =
    progress
  console.log(
    `\n${clock(progress.sample.atMillis)}, ${rounds} rounds: ${whole(rows)} rows appended and ` +
      `${whole(rowsRead)} read in ${ledgers} ledgers; ${opens} opens, ${rotations} new segments, ` +
      `${backups} backups, ${verifications} verifications, ${kills} kills of a child.\n`
  )
  console.log(table([heads, ...verdicts.map(cellsOf)], heads.length - 1))
  if (samples.length < samplesMin) {
    console.log(`\nMemory is judged from ${samplesMin} samples on; there are ${samples.length}.`)
  }
  const growing = verdicts.filter(({ isFlat }) => isFlat === false)
  return [
    ...trouble,
    ...growing.map(
      ({ allowed, grown, name }) =>
        `${name} grew by ${amount(name, grown)}, where ${amount(name, allowed)} are allowed`
    )
  ]
}

const parent = fs.mkdtempSync(path.join(values.dir, "sealog-soak-"))
let isInterrupted = false
// A second Ctrl-C ends it at once, as there is no handler any more.
process.once("SIGINT", () => {
  isInterrupted = true
  console.log("\ninterrupted: ends after this round, with all checks")
})
let saidMillis = Number.NEGATIVE_INFINITY
const result = await soak({
  seed: values.seed,
  parent,
  isOver: (millis, rounds) => isInterrupted || millis >= millisMax || rounds >= roundsMax,
  onProgress: (progress) => {
    if (progress.sample.atMillis - saidMillis < progressMillis) return
    saidMillis = progress.sample.atMillis
    console.log(lineOf(progress))
  }
})
const reasons = report(result)
if (reasons.length === 0) {
  fs.rmSync(parent, { recursive: true })
  console.log("\nEvery ledger was intact, both legs agreed, every acknowledged row was there.")
} else {
  console.error(`\nNot passed; the ledgers are kept in ${parent}:`)
  for (const reason of reasons) console.error(`- ${reason}`)
}
process.exit(reasons.length === 0 ? 0 : 1)
