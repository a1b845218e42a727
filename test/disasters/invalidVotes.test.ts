/** What comes from plain JavaScript into a vote or an option fails its own append alone. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as PolicyGate from "../../src/store/writing/PolicyGate.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { named, using } from "../store/ledgerFixtures.ts"

const any = (value: unknown) => value as never

describe("a gate whose vote is no vote", () => {
  for (const [name, vote] of [
    ["undefined", undefined],
    ["null", null],
    ["a boolean", true],
    ["no reason", { outcome: "allow" }],
    ["a reason that is no text", { outcome: "allow", reason: 5 }],
    [
      "a getter that throws",
      {
        get outcome() {
          throw new Error("x")
        }
      }
    ]
  ] as const) {
    for (const kind of ["rule", "gate"] as const) {
      it.effect(`rejects (${kind}): ${name}`, () =>
        Effect.gen(function* () {
          const directory = yield* TestLedger.directory
          const options = { id: "test.broken", types: ["test.broken.v1"] }
          const rule = PolicyGate[kind](options, () => Effect.succeed(any(vote)))
          yield* using({ directory, rules: [rule] }, (ledger) =>
            Effect.gen(function* () {
              yield* Effect.exit(ledger.append(named("b", { type: "test.broken.v1" })))
              const next = yield* Effect.exit(ledger.append(named("c")))
              assert.strictEqual(next._tag, "Success", String(next))
            })
          )
        })
      )
    }
  }
})

describe("options of an append that are not what their type says", () => {
  const gate = PolicyGate.gate({ id: "test.gate" }, () =>
    Effect.succeed({ outcome: "allow", reason: "ok" } as const)
  )
  for (const [name, options, gates] of [
    ["a break-glass without scope", { breakGlass: {} }, true],
    [
      "a break-glass without artifacts",
      {
        breakGlass: {
          permitted: true,
          attested: true,
          reasonCode: "operator_correction",
          scope: { operationType: "x", notBefore: null, notAfter: null }
        }
      },
      true
    ],
    [
      "a decision without lists (mirror)",
      { decisions: { mirror: { finalOutcome: "allow" } } },
      false
    ],
    [
      "a decision without lists (ledger)",
      { decisions: { ledger: { finalOutcome: "allow" } } },
      false
    ],
    ["a decision that is null", { decisions: { mirror: null } }, false]
  ] as const) {
    it.effect(`fail their own append alone: ${name}`, () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        yield* using({ directory, rules: gates ? [gate] : [] }, (ledger) =>
          Effect.gen(function* () {
            yield* ledger.append(named("a"))
            const exit = yield* Effect.exit(ledger.append(named("b"), any(options)))
            const next = yield* Effect.exit(ledger.append(named("c")))
            assert.strictEqual(next._tag, "Success", `${String(exit)} THEN ${String(next)}`)
          })
        )
      })
    )
  }
})
