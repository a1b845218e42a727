/** A backup into the ledger itself is refused. */
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { opening } from "../store/crashKit.ts"
import { named, using } from "../store/ledgerFixtures.ts"

describe("a backup into the ledger itself", () => {
  for (const place of ["segments/copy", "operations/copy", "copy"]) {
    it.effect(`is refused, and changes nothing: ${place}`, () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        const backup = yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            yield* ledger.append(named("a"))
            return yield* Effect.exit(ledger.backup(path.join(directory, place)))
          })
        )
        const again = yield* Effect.exit(opening({ directory }))
        assert.isTrue(Exit.isSuccess(again), String(again))
        assert.isTrue(Exit.isFailure(backup))
      })
    )
  }
})
