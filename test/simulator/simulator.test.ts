/**
 * Long histories from seeds. The two runtimes take different seeds, so that a run of the suite on
 * both covers twice as many.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { fromSeed } from "./history.ts"
import { FaultyDisk } from "../../src/testing/index.ts"
import { explain, run, runOn } from "./run.ts"

const seeds = 1_000
const from = "deno" in process.versions ? seeds + 1 : 1

/** Every operation that the history of a seed came to, and what was left at its end. */
const traceOf = (seed: number) =>
  Effect.scoped(
    Effect.gen(function* () {
      const disk = yield* FaultyDisk.make({ seed })
      assert.isUndefined(yield* runOn(disk, fromSeed(seed)))
      const names = yield* disk.fileSystem.readDirectory("/", { recursive: true })
      return [yield* disk.operations, yield* disk.deaths, names]
    })
  )

describe("simulated histories", () => {
  it.live("are the same again from the same seed", () =>
    Effect.gen(function* () {
      for (let seed = 1; seed <= 6; seed++) {
        assert.deepStrictEqual(yield* traceOf(seed), yield* traceOf(seed), `seed ${seed}`)
      }
    })
  )

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
