/** Gates that do what they must not harm nothing. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Option } from "effect"
import * as path from "node:path"
import * as PolicyGate from "../../src/store/writing/PolicyGate.ts"
import type { Ledger } from "../../src/store/Ledger.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { assertSound, named, query, segmentLines, using } from "../store/ledgerFixtures.ts"
import { opening } from "../store/crashKit.ts"

const ok = { outcome: "allow", reason: "ok" } as const
const type = "test.broken.v1"

describe("a gate", () => {
  it.live(
    "that appends does not stop the ledger for good",
    () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        let own: Ledger["Service"] | undefined
        const gate = PolicyGate.gate({ id: "test.gate", types: [type] }, () =>
          Effect.as(Effect.exit(own?.append(named("inner")) ?? Effect.void), ok)
        )
        const done = yield* using({ directory, rules: [gate] }, (ledger) =>
          Effect.gen(function* () {
            own = ledger
            yield* Effect.timeoutOption(ledger.append(named("a", { type })), "1 second")
            return yield* Effect.timeoutOption(Effect.exit(ledger.append(named("b"))), "1 second")
          })
        ).pipe(Effect.timeoutOption("4 seconds"))
        assert.isTrue(Option.isSome(done))
      }),
    10_000
  )

  for (const statement of [
    "COMMIT",
    "ROLLBACK",
    "DELETE FROM sealog_index WHERE seq = 1",
    "UPDATE events SET event_type = 'x'",
    "DELETE FROM events"
  ]) {
    it.effect(`that runs ${statement} harms nothing`, () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        const gate = PolicyGate.gate({ id: "test.gate", types: [type] }, (_, sql) =>
          Effect.as(
            Effect.ignore(sql.unsafe(statement)),
            statement === "COMMIT" ? ({ outcome: "reject", reason: "no" } as const) : ok
          )
        )
        const exit = yield* using({ directory, rules: [gate] }, (ledger) =>
          Effect.gen(function* () {
            yield* ledger.append(named("first"))
            const answer = yield* Effect.exit(ledger.appendAll([named("a"), named("b", { type })]))
            yield* Effect.exit(ledger.append(named("c")))
            const lines = segmentLines(directory).length
            const rows = query(path.join(directory, "mirror.sqlite"), "SELECT * FROM events").length
            assert.strictEqual(rows, lines, String(answer))
            yield* assertSound(ledger)
          })
        ).pipe(Effect.exit)
        const again = yield* Effect.exit(opening({ directory }))
        assert.isTrue(
          Exit.isSuccess(exit) && Exit.isSuccess(again),
          `${String(exit)} ${String(again)}`
        )
      })
    )
  }
})
