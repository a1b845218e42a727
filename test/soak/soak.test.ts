import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { isDeno } from "../store/crashKit.ts"
import { dice } from "../processes/dice.ts"
import { judge, samplesMin, slopeOf } from "./judge.ts"
import { makeSamples, seriesOf } from "./samples.ts"
import type { Sample } from "./samples.ts"

const mebibyte = 2 ** 20

/** Samples whose figures are a made-up course each, of a run with so many. */
const course = (
  count: number,
  of: (nth: number) => {
    readonly heap?: number
    readonly resident?: number
    readonly files?: number
  }
): ReadonlyArray<Sample> => {
  const { below } = dice("noise")
  return Array.from({ length: count }, (_, nth) => {
    const { files = 30, heap = 40, resident = 200 } = of(nth)
    return {
      atMillis: nth * 1_000,
      rssBytes: resident * mebibyte + below(8 * mebibyte),
      heapBytes: heap * mebibyte + below(mebibyte),
      externalBytes: 9 * mebibyte,
      openFiles: files
    }
  })
}

/** The names of the figures that are found to grow. */
const growing = (samples: ReadonlyArray<Sample>): ReadonlyArray<string> =>
  seriesOf(samples).flatMap((series) => (judge(series).isFlat === false ? [series.name] : []))

describe("the judge of a soak", () => {
  it("passes what is flat, and what is flat after it has warmed up", () => {
    assert.deepStrictEqual(growing(course(400, () => ({}))), [])
    const warming = (nth: number) => 1 - Math.exp(-nth / 20)
    const warm = (nth: number) => ({ heap: 40 * warming(nth), resident: 300 * warming(nth) })
    assert.deepStrictEqual(growing(course(400, warm)), [])
  })

  it("passes a saw whose teeth keep their height", () => {
    const saw = (nth: number) => ({ heap: 30 + (nth % 25), resident: 200 + 2 * (nth % 40) })
    assert.deepStrictEqual(growing(course(400, saw)), [])
  })

  it("finds a steady leak of memory, however slow beside the noise", () => {
    assert.deepStrictEqual(growing(course(400, (nth) => ({ heap: 40 + nth / 40 }))), [
      "heap after collection"
    ])
    assert.deepStrictEqual(growing(course(400, (nth) => ({ resident: 200 + nth / 4 }))), [
      "resident memory"
    ])
  })

  it("finds a leak that shows in steps, and under a saw", () => {
    const steps = (nth: number) => ({ heap: 40 + 4 * Math.floor(nth / 90) })
    assert.deepStrictEqual(growing(course(400, steps)), ["heap after collection"])
    const saw = (nth: number) => ({ heap: 30 + (nth % 25) + nth / 30 })
    assert.deepStrictEqual(growing(course(400, saw)), ["heap after collection"])
  })

  it("finds a file that stays open now and then", () => {
    const files = (nth: number) => ({ files: 30 + Math.floor(nth / 150) })
    assert.deepStrictEqual(growing(course(400, files)), ["open files"])
  })

  it("says nothing of a run that was too short", () => {
    const short = seriesOf(course(samplesMin - 1, (nth) => ({ heap: 40 + nth, files: nth })))
    assert.deepStrictEqual(
      short.map((series) => judge(series).isFlat),
      short.map(() => undefined)
    )
    assert.deepStrictEqual(
      growing(course(samplesMin, (nth) => ({ heap: 40 + nth, files: nth }))).toSorted(),
      ["heap after collection", "open files"]
    )
  })

  it("measures a slope as the least squares do", () => {
    assert.strictEqual(slopeOf([5]), 0)
    assert.strictEqual(slopeOf([3, 3, 3, 3]), 0)
    assert.closeTo(slopeOf([1, 3, 5, 7]), 2, 1e-12)
    assert.closeTo(slopeOf([0, 1, 0, 1]), 0.2, 1e-12)
  })

  it("keeps a bounded number of samples of the whole run", () => {
    const samples = makeSamples()
    for (const sample of course(50_000, () => ({}))) samples.add(sample)
    const kept = samples.all()
    assert.isBelow(kept.length, 1_000)
    assert.isAbove(kept.length, 400)
    assert.isBelow(kept[0]?.atMillis ?? 0, 1_000_000)
    assert.isAbove(kept.at(-1)?.atMillis ?? 0, 49_000_000)
    const apart = kept.slice(1).map(({ atMillis }, nth) => atMillis - (kept[nth]?.atMillis ?? 0))
    assert.strictEqual(new Set(apart).size, 1, "they lie equally far apart")
  })
})

const main = fileURLToPath(new URL("./main.ts", import.meta.url))
const before = isDeno
  ? ["run", "-A", main]
  : ["--disable-warning=ExperimentalWarning", "--expose-gc", main]

/** Run the program; `onLine` may talk back to it. */
const run = async (
  args: ReadonlyArray<string>,
  onLine: (line: string, pid: number) => void = () => undefined
) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "sealog-soak-test-"))
  const child = spawn(process.execPath, [...before, ...args, "--dir", dir])
  let [stdout, stderr] = ["", ""]
  child.stdout.on("data", (part: Buffer) => {
    stdout += part.toString()
    onLine(part.toString(), child.pid ?? -1)
  })
  child.stderr.on("data", (part: Buffer) => {
    stderr += part.toString()
  })
  const code = await new Promise((resolve) => child.once("close", resolve))
  const left = fs.readdirSync(dir)
  fs.rmSync(dir, { recursive: true })
  return { code, stdout, stderr, left }
}

describe("a soak", () => {
  it("works through its rounds, checks its ledgers and leaves nothing behind", async () => {
    const { code, left, stderr, stdout } = await run(["--rounds", "5", "--seed", "a"])
    assert.deepStrictEqual([code, stderr, left], [0, "", []], stdout)
    assert.match(stdout, /round 1: \d+ rows in 1 ledgers, 1 kills; \d+ MiB resident, \d+ MiB heap/)
    assert.match(stdout, /, 5 rounds: [\d,]+ rows appended .* 1 backups, .* 2 kills of a child/)
    assert.match(stdout, /heap after collection .* too short to say/)
    assert.match(stdout, /every acknowledged row was there/)
  }, 60_000)

  it("ends after the round under way when it is interrupted, with the same checks", async () => {
    let isInterrupted = false
    const { code, left, stderr, stdout } = await run(["--minutes", "60"], (line, pid) => {
      if (isInterrupted || !line.includes("round 1:")) return
      isInterrupted = true
      process.kill(pid, "SIGINT")
    })
    assert.deepStrictEqual([code, stderr, left], [0, "", []], stdout)
    assert.match(stdout, /interrupted: ends after this round/)
    assert.match(stdout, /every acknowledged row was there/)
  }, 60_000)

  it("refuses a length that is none", async () => {
    const { code, left, stderr } = await run(["--minutes", "soon"])
    assert.deepStrictEqual([code, left], [2, []])
    assert.match(stderr, /--minutes must be a number above 0, not soon/)
  }, 60_000)
})
