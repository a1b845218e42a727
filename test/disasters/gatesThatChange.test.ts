/** A gate that changes its own ledger: it would wait for the group that it is asked in. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Option } from "effect"
import type { Ledger } from "../../src/store/Ledger.ts"
import * as PolicyGate from "../../src/store/writing/PolicyGate.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { named, using } from "../store/ledgerFixtures.ts"

const by = { operator: "ada", reason: "from a gate" }
const type = "test.gated.v1"

type Service = Ledger["Service"]

const changes: { readonly [name: string]: (ledger: Service) => Effect.Effect<unknown, unknown> } = {
  checkpoint: (ledger) => ledger.checkpoint("inside"),
  rollback: (ledger) => ledger.rollback(1, by),
  rebuild: (ledger) => ledger.rebuild(by),
  import: (ledger) =>
    ledger.import<never, never, never, never>([], () => Effect.succeed(named("x"))),
  replay: (ledger) => ledger.replay,
  manifest: (ledger) => ledger.manifest
}

describe("A gate", () => {
  for (const [name, change] of Object.entries(changes)) {
    it.live(
      `that asks its own ledger for a ${name} does not stop it for good`,
      () =>
        Effect.gen(function* () {
          const directory = yield* TestLedger.directory
          let own: Service | undefined
          const gate = PolicyGate.gate({ id: "test.gate", types: [type] }, () =>
            Effect.as(Effect.exit(own === undefined ? Effect.void : change(own)), {
              outcome: "allow",
              reason: "ok"
            })
          )
          const work = using({ directory, rules: [gate] }, (ledger) =>
            Effect.gen(function* () {
              yield* ledger.append(named("first"))
              yield* ledger.checkpoint("one")
              own = ledger
              yield* Effect.exit(ledger.append(named("a", { type })))
              return (yield* ledger.append(named("b"))).seq
            })
          )
          // The wait could not be interrupted: whoever waits for it here waits beside it.
          const fiber = yield* Effect.forkDetach(work)
          const done = yield* Effect.timeoutOption(Fiber.join(fiber), "4 seconds")
          assert.isTrue(Option.isSome(done))
        }),
      10_000
    )
  }
})
