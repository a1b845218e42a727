import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Ledger } from "../../../src/store/Ledger.ts"
import type { FaultyDisk as Disk, Fault } from "../../../src/testing/FaultyDisk.ts"
import * as FaultyDisk from "../../../src/testing/FaultyDisk.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { named } from "../ledgerFixtures.ts"
import type { Signer } from "../signedKit.ts"
import { assertSigned, next, own } from "../signedKit.ts"

const withLedger = <A, E>(
  disk: Disk,
  attestor: Signer,
  body: (ledger: Ledger["Service"]) => Effect.Effect<A, E>
) => Effect.flatMap(Ledger, body).pipe(Effect.provide(TestLedger.layer({ disk, attestor })))

/** Rows of both keys, with a checkpoint; what was acknowledged. */
const history = (disk: Disk, acknowledged: Array<string>) =>
  withLedger(disk, own, (ledger) =>
    Effect.gen(function* () {
      const append = (name: string) =>
        Effect.map(ledger.append(named(name)), ({ id }) => void acknowledged.push(id))
      yield* append("a")
      yield* ledger.checkpoint("one row")
      yield* append("b")
      const { id } = yield* ledger.rotateKey(next)
      acknowledged.push(id)
      yield* append("c")
      yield* append("d")
    })
  )

/** The ledger after the crash, opened by whoever signs now: all that was heard is there and signed. */
const check = (disk: Disk, acknowledged: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const body = (ledger: Ledger["Service"]) =>
      Effect.gen(function* () {
        for (const id of acknowledged) yield* ledger.get(id)
        yield* ledger.append(named("after"))
        yield* assertSigned(ledger)
        return (yield* ledger.head).seq
      })
    const first = yield* Effect.result(withLedger(disk, own, body))
    if (first._tag === "Success") return "own"
    assert.strictEqual(first.failure._tag, "AttestorRefused", String(first.failure))
    yield* withLedger(disk, next, body)
    return "next"
  })

describe("a signed ledger that crashes", () => {
  it.effect("is all signed by whoever signs it then, wherever that was", () =>
    Effect.gen(function* () {
      const quiet = yield* FaultyDisk.make({ seed: 1 })
      yield* history(quiet, [])
      const counts = new Map<string, number>()
      for (const { name } of yield* quiet.operations) counts.set(name, (counts.get(name) ?? 0) + 1)
      const signers = new Set<string>()
      let crashes = 0
      for (const on of ["commit", "sync", "write"] as const) {
        for (let nth = 1; nth <= (counts.get(on) ?? 0); nth += on === "sync" ? 2 : 1) {
          const disk = yield* FaultyDisk.make({ seed: nth })
          const fault: Fault = { on, nth, crash: nth % 2 === 0 ? "kill" : "powerCut" }
          yield* disk.fail(fault)
          const acknowledged: Array<string> = []
          yield* Effect.exit(history(disk, acknowledged))
          crashes += (yield* disk.deaths).length
          yield* disk.mend
          signers.add(yield* check(disk, acknowledged))
        }
      }
      assert.isAbove(crashes, 10)
      assert.deepStrictEqual([...signers].toSorted(), ["next", "own"])
    })
  )

  it.effect("in the middle of a rollback goes on from the lineage of one of both ends", () =>
    Effect.gen(function* () {
      const signers = new Set<string>()
      for (let nth = 1; nth <= 12; nth++) {
        const disk = yield* FaultyDisk.make({ seed: nth })
        const acknowledged: Array<string> = []
        yield* history(disk, acknowledged)
        const back = withLedger(disk, next, (ledger) =>
          Effect.andThen(
            disk.fail({ on: ["sync", "commit", "rename"], nth, crash: "powerCut" }),
            ledger.rollback(1, { operator: "ada", reason: "a test" })
          )
        )
        yield* Effect.exit(back)
        yield* disk.mend
        signers.add(yield* check(disk, acknowledged.slice(0, 1)))
      }
      // Before its plan was durable nothing was changed; after it the next open finishes it.
      assert.deepStrictEqual([...signers].toSorted(), ["next", "own"])
    })
  )
})
