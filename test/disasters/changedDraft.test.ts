/** What was checked of a draft is what is written: nothing of it is dropped or changed after. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import * as PolicyGate from "../../src/store/writing/PolicyGate.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { opening } from "../store/crashKit.ts"
import { assertSound, named, using } from "../store/ledgerFixtures.ts"

const any = (value: unknown) => value as never

describe("keys", () => {
  it.effect("that are a Map are refused instead of being dropped", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          const exit = yield* Effect.exit(
            ledger.append(named("a", { keys: any(new Map([["order", "7"]])) }))
          )
          assert.isTrue(Exit.isFailure(exit))
        })
      )
    })
  )
})

describe("a rule or gate that changes what it is shown", () => {
  const changes: {
    readonly [name: string]: (draft: Record<string, Record<string, unknown>>) => void
  } = {
    "a key": ({ keys }) => Object.assign(keys ?? {}, { k: "changed" }),
    "a key to a number": ({ keys }) => Object.assign(keys ?? {}, { k: 5 }),
    "a tag": ({ domainTags }) => Reflect.set(domainTags ?? {}, 0, "changed"),
    "a tag to a lone surrogate": ({ domainTags }) => Reflect.set(domainTags ?? {}, 0, "\ud800"),
    "a tag to a number": ({ domainTags }) => Reflect.set(domainTags ?? {}, 0, 5)
  }
  for (const [name, change] of Object.entries(changes))
    for (const kind of ["rule", "gate"] as const) {
      it.effect(`changes nothing of what is written: ${name}, ${kind}`, () =>
        Effect.gen(function* () {
          const directory = yield* TestLedger.directory
          const rule = PolicyGate[kind]({ id: "test.change", types: ["test.named.v1"] }, (draft) =>
            Effect.sync(() => {
              change(any(draft))
              return { outcome: "allow", reason: "ok" } as const
            })
          )
          const exit = yield* Effect.exit(
            using({ directory, rules: [rule] }, (ledger) =>
              Effect.gen(function* () {
                yield* Effect.exit(
                  ledger.append(named("a", { keys: { k: "v" }, domainTags: ["t"] }))
                )
                yield* assertSound(ledger)
                const { seq } = yield* ledger.append(named("z", { type: "test.other.v1" }))
                if (seq === 1) return
                const event = yield* ledger.get(1)
                assert.deepStrictEqual([event.keys, event.domainTags], [{ k: "v" }, ["t"]])
              })
            )
          )
          assert.isTrue(Exit.isSuccess(exit), String(exit))
          const again = yield* Effect.exit(opening({ directory }))
          assert.isTrue(Exit.isSuccess(again), String(again))
        })
      )
    }
})
