import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { Ledger } from "../../src/store/Ledger.ts"
import * as FaultyDisk from "../../src/testing/FaultyDisk.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"

describe("FaultyDisk", () => {
  it.effect("keeps what a ledger acknowledged through a power cut", () =>
    Effect.gen(function* () {
      const disk = yield* FaultyDisk.make({ seed: 7 })
      const ledger = TestLedger.layer({ disk })
      yield* TestClock.adjust("1 hour")
      const draft = { id: "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV", type: "a.v1" }
      const append = Ledger.use((ledger) => ledger.append(draft))
      const first = yield* append.pipe(
        Effect.tap(() => disk.powerCut),
        Effect.provide(ledger)
      )
      for (const o of yield* disk.operations)
        console.log(o.nth, o.name, o.path.slice(0, 80), o.bytes)
      const again = yield* append.pipe(Effect.provide(ledger))
      assert.deepStrictEqual(
        [first._tag, again._tag, again.seq],
        ["Appended", "AlreadyAppended", 1]
      )
    })
  )
})
