/** A group that is split after an SQL error waits for the mirror where that fell behind. */
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Result } from "effect"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { opening } from "../store/crashKit.ts"
import {
  allowAll,
  assertSound,
  meddle,
  named,
  segmentLines,
  using
} from "../store/ledgerFixtures.ts"

const id = (name: string) => named(name).id ?? ""

describe("a split group whose first part was not committed", () => {
  for (const options of [{}, { decisions: allowAll }]) {
    it.effect(`leaves no gap in the mirror ${JSON.stringify(Object.keys(options))}`, () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        const mirror = path.join(directory, "mirror.sqlite")
        const exit = yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            yield* ledger.append(named("a"))
            meddle(
              mirror,
              "CREATE TABLE owed (seq INTEGER REFERENCES sealog_index(seq) DEFERRABLE INITIALLY DEFERRED)",
              `CREATE TRIGGER owe AFTER INSERT ON sealog_index WHEN NEW.event_id = '${id("b")}'
                 AND (SELECT count(*) FROM sealog_index) < 3 AND NOT EXISTS (SELECT 1 FROM sealog_index WHERE seq > 2)
               BEGIN INSERT INTO owed VALUES (-1); END`,
              `CREATE TRIGGER fail BEFORE INSERT ON events WHEN NEW.id = '${id("x")}'
               BEGIN SELECT RAISE(ABORT, 'on demand'); END`
            )
            const answers = yield* Effect.all(
              ["b", "x", "c"].map((name) => Effect.result(ledger.append(named(name), options))),
              { concurrency: "unbounded" }
            )
            meddle(mirror, "DROP TRIGGER owe", "DROP TRIGGER fail", "DROP TABLE owed")
            const said = answers.map((a) => (Result.isFailure(a) ? a.failure._tag : a.success._tag))
            const again = yield* Effect.exit(ledger.append(named("b"), options))
            const lines = segmentLines(directory).filter((line) => line.includes(id("b"))).length
            assert.strictEqual(lines, 1, `${said.join()} then ${String(again)}`)
            assert.notInclude(said, "PolicyRefused")
            yield* ledger.append(named("e"))
            yield* assertSound(ledger)
          })
        ).pipe(Effect.exit)
        assert.isTrue(Exit.isSuccess(exit), String(exit))
        assert.isTrue(Exit.isSuccess(yield* Effect.exit(opening({ directory }))))
      })
    )
  }
})
