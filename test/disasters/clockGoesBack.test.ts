/** A clock that goes back between operations: their order is that in which they were begun. */
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Op from "../../src/core/Operation.ts"
import type { Ledger } from "../../src/store/Ledger.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { assertSound, named, using } from "../store/ledgerFixtures.ts"

const by = { operator: "ada", reason: "again" }

type Service = Ledger["Service"]

const appended = (ledger: Service, names: string) =>
  Effect.forEach(names, (name) => ledger.append(named(name)), { discard: true })

const at = (seconds: number) => TestClock.setTime(seconds * 1_000)

describe("A clock that goes back", () => {
  it.effect("leaves operations and rollbacks in the order in which they came", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "l")
      const made: Array<string> = []
      for (const [nth, seconds] of [900, 600, 600, 300].entries()) {
        yield* at(seconds)
        yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            if (nth === 0) yield* ledger.checkpoint("none")
            yield* appended(ledger, "ab")
            const { position } = (yield* Stream.runCollect(ledger.events({ last: 1 })))[0] ?? {}
            made.push((yield* ledger.rollback(1, { ...by, reason: `${nth}` })).id)
            const { rollbacks } = yield* ledger.checkpoint(`${nth}`)
            assert.deepStrictEqual(
              rollbacks.map(({ operation }) => operation),
              made
            )
            const all = yield* ledger.operations
            assert.deepStrictEqual(
              all.map(({ id }) => id),
              made
            )
            const again = ledger.events({ after: position })
            assert.strictEqual((yield* Effect.flip(Stream.runDrain(again)))._tag, "RolledBack")
            yield* assertSound(ledger)
          })
        )
      }
      assert.strictEqual(new Set(made).size, 4)
    })
  )

  it("gives the id behind the last, and a fresh one where there is none behind", () => {
    const [low, high] = [`op_${"0".repeat(26)}`, `op_7${"Z".repeat(25)}`]
    assert.strictEqual(Op.idAfter(low, undefined), low)
    assert.strictEqual(Op.idAfter(high, low), high)
    assert.strictEqual(Op.idAfter(low, low), `op_${"0".repeat(25)}1`)
    assert.strictEqual(Op.idAfter(low, `op_01${"Z".repeat(24)}`), `op_02${"0".repeat(24)}`)
    assert.strictEqual(Op.idAfter(low, high), low)
  })
})
