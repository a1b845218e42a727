import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Data, Effect, Schema, Stream } from "effect"
import * as Event from "../../../src/core/Event.ts"
import { Ledger } from "../../../src/index.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { Deposited, kinds, signed, Withdrawn } from "../bank.ts"
import { assertLike, assertSound } from "../ledgerFixtures.ts"

class NotCovered extends Data.TaggedError("NotCovered")<{ readonly cents: number }> {}

const withdraw = (account: string, cents: number, more: { id?: string; retries?: number } = {}) =>
  Ledger.decide({
    on: { kinds, keys: { account } },
    initial: 0,
    fold: (balance, event) => balance + signed(event),
    decide: (balance) =>
      balance < cents
        ? Effect.fail(new NotCovered({ cents: balance }))
        : Effect.succeed(Withdrawn.make({ account, cents })),
    ...more
  })

const within = <A, E>(body: Effect.Effect<A, E, Ledger.Ledger>) =>
  Effect.gen(function* () {
    const directory = path.join(yield* TestLedger.directory, "l")
    return yield* Effect.provide(body, TestLedger.layer({ directory, kinds }))
  })

const deposit = (account: string, cents: number) =>
  Ledger.Ledger.use((ledger) => ledger.append(Deposited.make({ account, cents })))

const balances = Effect.gen(function* () {
  const ledger = yield* Ledger.Ledger
  const found = new Map<string, number>()
  yield* ledger.events({ kinds }).pipe(
    Stream.runForEach((event) =>
      Effect.sync(() => {
        const { account } = event.payload
        const balance = (found.get(account) ?? 0) + signed(event)
        assert.isAtLeast(balance, 0, `row ${event.seq}`)
        found.set(account, balance)
      })
    )
  )
  return found
})

const int = (minimum: number, maximum: number) =>
  Schema.Int.check(Schema.isBetween({ minimum, maximum }))

describe("Ledger.decide", () => {
  it.effect.prop(
    "lets no decision stand on what has changed, however many decide at once",
    [
      Arbitrary.array(
        Arbitrary.schema(Schema.Struct({ account: Schema.Literals(["a", "b"]), cents: int(1, 9) })),
        { minLength: 2, maxLength: 25 }
      )
    ],
    ([wanted]) =>
      within(
        Effect.gen(function* () {
          yield* deposit("a", 30)
          yield* deposit("b", 10)
          const answers = yield* Effect.forEach(
            wanted,
            ({ account, cents }) => Effect.result(withdraw(account, cents)),
            { concurrency: "unbounded" }
          )
          const left = yield* balances
          for (const [account, had] of [
            ["a", 30],
            ["b", 10]
          ] as const) {
            let taken = 0
            for (const [nth, answer] of answers.entries()) {
              const one = wanted[nth]
              if (one?.account !== account) continue
              if (answer._tag === "Success") taken += one.cents
              else assert.strictEqual(answer.failure._tag, "NotCovered")
            }
            assert.strictEqual(left.get(account), had - taken)
            // What is refused at the end was refused for what was left then, or less.
            for (const [nth, answer] of answers.entries()) {
              const one = wanted[nth]
              if (one?.account === account && answer._tag === "Failure") {
                assert.isAbove(one.cents, left.get(account) ?? 0)
              }
            }
          }
          yield* assertSound(yield* Ledger.Ledger)
        })
      ),
    { arbitrary: { runs: 20 } }
  )

  it.effect("with an id decides once, and tells who asks again of its row", () =>
    within(
      Effect.gen(function* () {
        yield* deposit("a", 10)
        const id = Event.idFrom("payment 7")
        const answers = yield* Effect.forEach([1, 2, 3, 4, 5], () => withdraw("a", 8, { id }), {
          concurrency: "unbounded"
        })
        const told = answers.map((all) => all.map(({ _tag, seq }) => `${_tag} ${seq}`).join())
        const others = ["AlreadyAppended 2", "AlreadyAppended 2", "AlreadyAppended 2"]
        assert.deepStrictEqual(told.toSorted(), ["AlreadyAppended 2", ...others, "Appended 2"])
        // Decided anew it would not be covered.
        const [again] = yield* withdraw("a", 8, { id })
        assertLike(again, { _tag: "AlreadyAppended", seq: 2 })
        assertLike(yield* Effect.flip(withdraw("a", 8)), { _tag: "NotCovered", cents: 2 })
      })
    )
  )

  it.effect("with an id refuses a draft of another id, as its kind could not read the row", () =>
    within(
      Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        const decision = Event.idFrom("payment 8")
        const paid = (id: string) =>
          Ledger.decide({
            on: { kinds, keys: { account: "a" } },
            initial: null,
            fold: () => null,
            decide: () => Effect.succeed(Deposited.make({ account: "a", cents: 1 }, { id })),
            id: decision
          })
        const other = Event.idFrom("a.1")
        assertLike(yield* Effect.flip(paid(other)), {
          _tag: "DraftInvalid",
          index: 0,
          path: "/id",
          expected: decision,
          actual: other
        })
        assert.strictEqual((yield* ledger.head).seq, 0)
        assertLike((yield* paid(decision))[0], { _tag: "Appended", id: decision })
      })
    )
  )

  it.effect("decides again on what came between, reading that alone, as often as it may", () =>
    within(
      Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        yield* deposit("a", 1)
        const folded: Array<number> = []
        let asked = 0
        const deciding = (retries: number) =>
          Ledger.decide({
            on: { kinds: [Deposited], keys: { account: "a" } },
            initial: 0,
            fold: (sum, { payload, seq }) => {
              folded.push(seq)
              return sum + payload.cents
            },
            // Somebody is always faster, but for the third time.
            decide: (sum) =>
              Effect.as(
                ++asked % 3 === 0 ? Effect.void : deposit("a", 1),
                Withdrawn.make({ account: "a", cents: sum })
              ),
            retries
          })
        assertLike(yield* Effect.flip(deciding(1)), { _tag: "ExpectationFailed", seqs: [3] })
        assert.deepStrictEqual(folded.splice(0), [1, 2])
        asked = 0
        const [appended] = yield* deciding(2)
        assertLike(appended, { _tag: "Appended", seq: 6 })
        assert.deepStrictEqual(folded.splice(0), [1, 2, 3, 4, 5])
        const last = yield* ledger.get(6)
        assert.deepStrictEqual(last.payload, { account: "a", cents: 5 })
      })
    )
  )

  it.effect("begins again where what it had read was rolled back", () =>
    within(
      Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        yield* deposit("a", 1)
        const checkpoint = yield* ledger.checkpoint("one")
        yield* deposit("a", 5)
        let asked = 0
        const sums: Array<number> = []
        const receipts = yield* Ledger.decide({
          on: { kinds, keys: { account: "a" } },
          initial: 0,
          fold: (sum, event) => sum + signed(event),
          decide: (sum) =>
            Effect.gen(function* () {
              sums.push(sum)
              if (asked++ === 0) {
                yield* Effect.orDie(
                  ledger.rollback(checkpoint, { operator: "ada", reason: "wrong" })
                )
              }
              return [
                Withdrawn.make({ account: "a", cents: sum }),
                Deposited.make({ account: "b", cents: 1 })
              ]
            })
        })
        assert.deepStrictEqual(sums, [6, 1])
        assert.deepStrictEqual(
          receipts.map(({ seq }) => seq),
          [2, 3]
        )
      })
    )
  )

  it.effect("appends nothing where nothing is decided", () =>
    within(
      Effect.gen(function* () {
        const decided = yield* Ledger.decide({
          on: {},
          initial: 0,
          fold: (n: number) => n + 1,
          decide: () => Effect.succeed(undefined)
        })
        assert.deepStrictEqual(decided, [])
        assert.strictEqual((yield* Ledger.Ledger.use(({ head }) => head)).seq, 0)
      })
    )
  )
})
