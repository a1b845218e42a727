/**
 * The original beside us: a program around its crates, named by the variable `CORTEX_ORACLE`.
 *
 * It times its steps itself, from inside, and says so in JSON lines on standard error:
 * `{"step": "audit", "elapsed_s": 0.6, "peak_rss": "3728 kB"}`. Its own start is in no figure.
 */
import { Schema } from "effect"
import { execFileSync, spawnSync } from "node:child_process"

const Step = Schema.fromJsonString(
  Schema.Struct({ step: Schema.String, elapsed_s: Schema.Finite, peak_rss: Schema.String })
)
const Appended = Schema.fromJsonString(Schema.Struct({ elapsed_s: Schema.Finite }))

/** What one step took. `peakBytes` is that of the whole process up to its end. */
export interface Step {
  readonly millis: number
  readonly peakBytes: number
}

/** The program's path, where there is one. */
export const program = process.env["CORTEX_ORACLE"]

const stepsOf = (path: string, args: ReadonlyArray<string>): ReadonlyMap<string, Step> => {
  const run = spawnSync(path, args, { encoding: "utf8", maxBuffer: 2 ** 30 })
  if (run.error !== undefined) throw run.error
  if (run.status !== 0) throw new Error(`${path} ${args.join(" ")}: ${run.stdout}${run.stderr}`)
  const steps = new Map<string, Step>()
  for (const line of run.stderr.split("\n")) {
    if (!line.startsWith("{")) continue
    const { step, elapsed_s, peak_rss } = Schema.decodeSync(Step)(line)
    steps.set(step, { millis: elapsed_s * 1000, peakBytes: Number.parseInt(peak_rss, 10) * 1024 })
  }
  return steps
}

const stepOf = (steps: ReadonlyMap<string, Step>, name: string): Step => {
  const step = steps.get(name)
  if (step === undefined) throw new Error(`the original did not time ${name}`)
  return step
}

/** Append rows to both of its legs, policy and parity included; microseconds per row. */
export const append = (path: string, jsonl: string, sqlite: string, rows: number): number => {
  const args = ["append-mirror", "--jsonl", jsonl, "--sqlite", sqlite, "--n", String(rows)]
  const said = execFileSync(path, args, { encoding: "utf8" })
  return (Schema.decodeSync(Appended)(said.trim()).elapsed_s * 1_000_000) / rows
}

/** Make a JSONL file of so many sealed rows. */
export const build = (path: string, jsonl: string, rows: number): void => {
  execFileSync(path, ["bulk-log", "--jsonl", jsonl, "--n", String(rows)])
}

/** Its open, and its audit from the path on: every row read, hashed and its links checked. */
export const verify = (path: string, jsonl: string): { open: Step; verify: Step } => {
  const steps = stepsOf(path, ["verify-jsonl", jsonl])
  return { open: stepOf(steps, "open"), verify: stepOf(steps, "audit") }
}

/** Its replay: open, bring all rows in, then parity of both. */
export const replay = (path: string, jsonl: string, sqlite: string): Step =>
  stepOf(stepsOf(path, ["replay", "--jsonl", jsonl, "--sqlite", sqlite]), "replay")

export const parity = (path: string, jsonl: string, sqlite: string): Step =>
  stepOf(stepsOf(path, ["parity", "--jsonl", jsonl, "--sqlite", sqlite]), "parity")
