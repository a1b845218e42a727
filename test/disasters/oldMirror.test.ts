/** A mirror restored from before a rollback: opening takes it back, so there is nothing to repair. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import type { Ledger } from "../../src/store/Ledger.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { assertSound, named, using } from "../store/ledgerFixtures.ts"

const by = { operator: "ada", reason: "the wrong tree" }

type Service = Ledger["Service"]

const appended = (ledger: Service, names: string) =>
  Effect.forEach(names, (name) => ledger.append(named(name)), { discard: true })

describe("A mirror of before a rollback", () => {
  for (const [name, after] of Object.entries({ shorter: "", longer: "defghi" })) {
    it.live(`is nothing to repair where the ledger is ${name} since`, () =>
      Effect.gen(function* () {
        const directory = path.join(yield* TestLedger.directory, "l")
        const mirror = path.join(directory, "mirror.sqlite")
        yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            yield* appended(ledger, "a")
            yield* ledger.checkpoint("one")
            yield* appended(ledger, "bc")
          })
        )
        fs.copyFileSync(mirror, `${directory}.before`)
        yield* using({ directory }, (ledger) =>
          Effect.andThen(ledger.rollback(1, by), appended(ledger, after))
        )
        fs.copyFileSync(`${directory}.before`, mirror)
        const plan = yield* SealogNode.diagnose({ directory })
        assert.isFalse(plan.isNeeded, plan.message)
        yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            assert.strictEqual(ledger.opened._tag, "Recovered")
            yield* assertSound(ledger)
          })
        )
      })
    )
  }
})
