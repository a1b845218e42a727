/** A group that cannot begin is told so, and never gets the receipts of the group before it. */
import { DatabaseSync } from "node:sqlite"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { named, segmentLines, using } from "../store/ledgerFixtures.ts"

const locked = (directory: string) => {
  const db = new DatabaseSync(path.join(directory, "mirror.sqlite"))
  db.exec("BEGIN IMMEDIATE")
  return () => {
    db.exec("ROLLBACK")
    db.close()
  }
}

describe("a group that cannot begin, as another hand holds the mirror's write lock", () => {
  it.effect("is told that nothing of it was written", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(named("a"))
          const unlock = locked(directory)
          const error = yield* Effect.flip(ledger.append(named("b")))
          unlock()
          assert.strictEqual(segmentLines(directory).length, 1)
          assert.strictEqual(error._tag, "MirrorError", error.message)
        })
      )
    })
  )

  it.live("is answered at all", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(named("a"))
          const unlock = locked(directory)
          const answers = yield* Effect.all(
            [ledger.append(named("b")), ledger.append(named("c"))].map((append) =>
              Effect.timeoutOption(Effect.exit(append), "2 seconds")
            ),
            { concurrency: "unbounded" }
          )
          unlock()
          assert.deepStrictEqual(answers.map(Option.isSome), [true, true])
        })
      )
    })
  )
})
