import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Ledger from "../../../src/store/Ledger.ts"
import type * as View from "../../../src/core/View.ts"
import * as SealogNode from "../../../src/platform/SealogNode.ts"
import { Reader } from "../../../src/store/reading/Reader.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { balances, balancesOf, Deposited, postings } from "../bank.ts"
import { assertLike } from "../ledgerFixtures.ts"

const [tens, nonZero] = [
  balancesOf(2, { unit: 10 }),
  balancesOf(1, { check: "CHECK (cents <> 0)" })
]

const opened = (directory: string, view: View.View) =>
  TestLedger.layer({ directory, views: [view] })

const filled = Effect.gen(function* () {
  const directory = yield* TestLedger.directory
  yield* Ledger.Ledger.use((ledger) =>
    ledger.append(Deposited.make({ account: "a", cents: 5 }))
  ).pipe(Effect.provide(opened(directory, balances)))
  return directory
})

const reading = <A, E, R>(
  directory: string,
  use: (reader: Reader["Service"]) => Effect.Effect<A, E, R>
) => Effect.provide(Reader.use(use), Layer.fresh(SealogNode.layerReader({ directory })))

const reopened = (directory: string, view: View.View) =>
  Effect.scoped(Layer.build(Layer.fresh(opened(directory, view))))

describe("Rows of a view", () => {
  it.effect("are read by no view of another version or definition, in any process", () =>
    Effect.gen(function* () {
      const directory = yield* filled
      const look = Effect.fnUntraced(function* ({ rows }: Reader["Service"]) {
        assert.deepStrictEqual(yield* rows(balances), [{ account: "a", cents: 5 }])
        const other = { _tag: "ViewOutdated", view: "balances", stored: 1 }
        assertLike(yield* Effect.flip(rows(tens)), { ...other, declared: 2 })
        const asked = yield* Effect.flip(rows(nonZero, (sql, table) => sql`SELECT * FROM ${table}`))
        assertLike(asked, { ...other, declared: 1, differs: ["columns"] })
        assertLike(yield* Effect.flip(rows(postings)), { _tag: "SqlError" })
        assert.deepStrictEqual(yield* rows(balances), [{ account: "a", cents: 5 }])
      })
      yield* reading(directory, look)
      yield* Effect.provide(Effect.flatMap(Ledger.Ledger, look), opened(directory, balances))
    })
  )

  it.effect("are of one moment with the view, though it is made anew amid asking", () =>
    Effect.gen(function* () {
      const directory = yield* filled
      yield* reading(directory, ({ rows }) =>
        Effect.gen(function* () {
          const found = yield* rows(balances, (sql, table) =>
            Effect.andThen(reopened(directory, tens), sql`SELECT * FROM ${table}`)
          )
          assert.deepStrictEqual(found, [{ account: "a", cents: 5 }])
          assertLike(yield* Effect.flip(rows(balances)), { stored: 2, declared: 1 })
          assert.deepStrictEqual(yield* rows(tens), [{ account: "a", cents: 50 }])
        })
      )
    })
  )

  it.effect("are of the moment of a transaction that asks for them", () =>
    Effect.gen(function* () {
      const directory = yield* filled
      yield* reading(directory, ({ query, rows }) =>
        query((sql) =>
          Effect.gen(function* () {
            assert.deepStrictEqual(yield* rows(balances), [{ account: "a", cents: 5 }])
            yield* reopened(directory, tens)
            assertLike(yield* Effect.flip(rows(tens)), { stored: 1, declared: 2 })
            assert.deepStrictEqual(yield* rows(balances), [{ account: "a", cents: 5 }])
          }).pipe(sql.withTransaction)
        )
      )
    })
  )

  it.effect("are not read where another hand has changed what is known of the view", () =>
    Effect.gen(function* () {
      const directory = yield* filled
      const db = new DatabaseSync(path.join(directory, "mirror.sqlite"))
      db.exec("UPDATE sealog_views SET version = 'x', definition = x'00'")
      db.close()
      const failed = yield* reading(directory, ({ rows }) => Effect.flip(rows(balances)))
      assertLike(failed, { _tag: "ViewOutdated", stored: 0, declared: 1, differs: [] })
    })
  )

  it.effect("are not read by a view that gave way, though it was read here before", () =>
    Effect.gen(function* () {
      const meet = ({
        payload: { account }
      }: {
        readonly payload: { readonly account: string }
      }) => {
        if (account === "bad") throw new Error("no such account")
      }
      const next = balancesOf(2, { unit: 10, meet })
      const directory = yield* filled
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        yield* ledger.checkpoint("one")
        yield* ledger.append(Deposited.make({ account: "bad", cents: 5 }))
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: [balances], seed: 2 })))
      yield* Effect.gen(function* () {
        const { rollback, rows } = yield* Ledger.Ledger
        assert.strictEqual((yield* rows(balances)).length, 2)
        assertLike(yield* Effect.flip(rows(next)), { stored: 1, declared: 2 })
        yield* rollback(1, { operator: "ada", reason: "a wrong turn" })
        assertLike(yield* Effect.flip(rows(balances)), { stored: 2, declared: 1 })
        assert.deepStrictEqual(yield* rows(next), [{ account: "a", cents: 50 }])
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: [next], seed: 3 })))
    })
  )
})
