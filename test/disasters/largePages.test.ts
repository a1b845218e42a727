/** A page of a stream is bounded in bytes too: large rows come one by one. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { named, using } from "../store/ledgerFixtures.ts"

describe("a stream of large rows", () => {
  it.effect("holds no more than a few megabytes of them at once", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const names = ["a", "b", "c", "d"]
      const drafts = names.map((name) => named(name, { payload: name + "z".repeat(3_000_000) }))
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.appendAll(drafts)
          const sizes: Array<number> = []
          yield* Stream.runForEachArray(ledger.events(), (events) =>
            Effect.sync(() => void sizes.push(events.length))
          )
          assert.deepStrictEqual(sizes, [1, 1, 1, 1])
        })
      )
    })
  )
})
