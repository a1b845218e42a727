import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Ledger from "../../src/store/Ledger.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { balancesOf, Deposited, postings } from "../store/bank.ts"
import { jsonLines, sealog } from "./sealog.ts"

const append = Ledger.Ledger.use((ledger) =>
  ledger.append(Deposited.make({ account: "a", cents: 1 }))
)

describe("sealog views", () => {
  it.live("tells how far each view is, and ends with 1 where one was set aside", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "ledger")
      yield* Effect.provide(append, TestLedger.layer({ directory, seed: 1 }))
      const none = yield* sealog(["views", directory])
      assert.deepStrictEqual(none, { code: 0, stdout: "", stderr: "" })
      const ill = balancesOf(3, {
        meet: () => {
          throw new Error("not \u001b[2Jtoday")
        }
      })
      yield* Effect.provide(
        append,
        TestLedger.layer({ directory, views: [ill, postings], seed: 2 })
      )
      const some = yield* sealog(["views", directory])
      assert.deepStrictEqual(some, {
        code: 1,
        stdout:
          "balances  version 3  row 0  set aside at row 1: event 1: not \\u001b[2Jtoday\n" +
          "postings  version 1  row 2\n",
        stderr: ""
      })
      const told = yield* sealog(["views", directory, "--json"])
      const reason = "event 1: not \u001b[2Jtoday"
      assert.deepStrictEqual(jsonLines(told), [
        [
          { name: "balances", version: 3, seq: 0, stale: { since: 1, reason } },
          { name: "postings", version: 1, seq: 2, stale: null }
        ]
      ])
    })
  )
})
