/**
 * Runs histories from seeds until it has run as many as it was told to, or one fails: then it prints
 * the seed, the history shrunk, and what was wrong with it, and ends with 1.
 *
 *   npm run simulate -- --seeds 1000 --from 1
 */
import { parseArgs } from "node:util"
import { Effect } from "effect"
import { fromSeed } from "./history.ts"
import { explain, run } from "./run.ts"

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" }
  }
})

const natural = (name: string, text: string): number => {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= 0) return value
  console.error(`--${name} must be a whole number, not ${text}`)
  return process.exit(2)
}

const seeds = natural("seeds", values.seeds)
const from = natural("from", values.from)
let current = from

// A run that waits for what never comes leaves the event loop empty, and the process would end well.
process.on("exit", (code) => {
  if (code === 0 && current < from + seeds) {
    console.error(`seed ${current} never ends`)
    process.exitCode = 1
  }
})

for (; current < from + seeds; current++) {
  const failure = await Effect.runPromise(run(current, fromSeed(current)))
  if (failure !== undefined) {
    console.error(await Effect.runPromise(explain(current, fromSeed(current), failure)))
    process.exit(1)
  }
  const done = current - from + 1
  if (done % 250 === 0) console.log(`${done} of ${seeds} histories`)
}
console.log(`${seeds} histories from seed ${from}, nothing found`)
