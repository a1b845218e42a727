/**
 * Long histories from seeds. The two runtimes take different seeds, so that a run of the suite on
 * both covers twice as many.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { fromSeed } from "./history.ts"
import { explain, run } from "./run.ts"

const seeds = 1500
const from = "deno" in process.versions ? seeds + 1 : 1

describe("simulated histories", () => {
  it.live(
    `hold what was acknowledged: seeds ${from} to ${from + seeds - 1}`,
    () =>
      Effect.gen(function* () {
        for (let seed = from; seed < from + seeds; seed++) {
          const history = fromSeed(seed)
          const failure = yield* run(seed, history)
          if (failure !== undefined) assert.fail(yield* explain(seed, history, failure))
        }
      }),
    900_000
  )
})
