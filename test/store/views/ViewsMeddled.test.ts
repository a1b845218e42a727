/** Views whose tables, or what the mirror knows of them, were changed by another hand. */
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type * as View from "../../../src/core/View.ts"
import * as Ledger from "../../../src/store/Ledger.ts"
import * as Views from "../../../src/store/views/Views.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { balances, balancesOf, deposit, kinds, views as declared } from "../bank.ts"
import { assertLike, assertSound, query } from "../ledgerFixtures.ts"

const meddle = (directory: string, sql: string) =>
  Effect.sync(() => {
    const db = new DatabaseSync(path.join(directory, "mirror.sqlite"))
    db.exec("PRAGMA foreign_keys = OFF")
    db.exec(sql)
    db.close()
  })

const by = { operator: "ada", reason: "a wrong turn" }

const inBalances = Effect.map(
  Ledger.Ledger.use((ledger) =>
    ledger.query((sql) => sql<object>`SELECT account, cents, seq FROM balances ORDER BY account`)
  ),
  (found) => found.map((row) => Object.values(row).join(" "))
)

const sound = (views: ReadonlyArray<View.Declared>) =>
  Effect.gen(function* () {
    const ledger = yield* Ledger.Ledger
    yield* assertSound(ledger)
    const { seq } = yield* ledger.head
    for (const view of views) {
      const report = yield* Views.Views.use((all) => all.check(view))
      assert.isTrue(report.isDerived, JSON.stringify(report))
    }
    for (const status of yield* ledger.views) {
      assert.deepStrictEqual([status.name, status.seq, status.stale], [status.name, seq, null])
    }
  })

/** What is changed while the ledger is closed, and must be as if it had not been. */
const changes: ReadonlyArray<string> = [
  "UPDATE sealog_views SET tables = '[\"events\"]'",
  "UPDATE sealog_views SET tables = '[\"events\"]', version = 9",
  'UPDATE sealog_views SET tables = \'["sealog_index","sealog_views"]\', version = 9',
  "UPDATE sealog_views SET tables = 'nonsense', version = 9",
  "UPDATE sealog_views SET tables = x'00ff', version = 9",
  'UPDATE sealog_views SET tables = \'["a\\"; DROP TABLE events; --"]\', version = 9',
  "UPDATE sealog_views SET tables = '[]'",
  `UPDATE sealog_views SET tables = '["postings"]', version = 9 WHERE name = 'balances'`,
  "UPDATE sealog_views SET version = 'one'",
  "UPDATE sealog_views SET version = x'00'",
  "UPDATE sealog_views SET version = 9223372036854775807",
  "UPDATE sealog_views SET definition = x'00'",
  "UPDATE sealog_views SET insert_only = 1",
  "UPDATE sealog_views SET insert_only = 'yes', generation = 'first', version = 9",
  "UPDATE sealog_views SET generation = 9223372036854775807, version = 9",
  "UPDATE sealog_views SET generation = -1, version = 9",
  "UPDATE sealog_views SET seq = 'two'",
  "UPDATE sealog_views SET seq = 1.5",
  "UPDATE sealog_views SET seq = -1",
  "UPDATE sealog_views SET seq = 3",
  "UPDATE sealog_views SET seq = 9; DELETE FROM balances",
  "UPDATE sealog_views SET seq = 9223372036854775807",
  "UPDATE sealog_views SET stale_since = 'long ago'",
  "UPDATE sealog_views SET stale_since = 1.5",
  "UPDATE sealog_views SET stale_since = x'00', stale_reason = x'00'",
  "UPDATE sealog_views SET name = NULL WHERE name = 'balances'",
  "UPDATE sealog_views SET name = x'00' WHERE name = 'balances'",
  "UPDATE sealog_views SET name = 'Robert' WHERE name = 'balances'",
  "DELETE FROM sealog_views",
  "DROP TABLE balances",
  "ALTER TABLE balances RENAME TO other",
  "ALTER TABLE balances RENAME COLUMN cents TO euros",
  "ALTER TABLE balances DROP COLUMN seq",
  "DROP TABLE balances; CREATE TABLE balances (account TEXT)",
  "DROP TABLE last_visit",
  "DROP TABLE postings; ALTER TABLE balances RENAME TO postings",
  "CREATE TABLE sealog_aside_balances (a)"
]

describe("Views that somebody meddled with", () => {
  for (const change of changes) {
    it.effect(`are made anew at opening, and nothing else is harmed: ${change}`, () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        yield* Effect.gen(function* () {
          const ledger = yield* Ledger.Ledger
          yield* ledger.checkpoint("nothing yet")
          yield* ledger.append(deposit("a", 1))
          yield* ledger.checkpoint("one")
          yield* ledger.append(deposit("b", 2))
        }).pipe(Effect.provide(TestLedger.layer({ directory, views: declared })))
        yield* meddle(directory, change)
        yield* Effect.gen(function* () {
          const ledger = yield* Ledger.Ledger
          yield* ledger.append(deposit("a", 10))
          yield* sound(declared)
          assert.deepStrictEqual(yield* inBalances, ["a 11 3", "b 2 2"])
          yield* ledger.rollback(2, by)
          yield* sound(declared)
          assert.deepStrictEqual(yield* inBalances, ["a 1 1"])
        }).pipe(Effect.provide(TestLedger.layer({ directory, views: declared, seed: 2 })))
      })
    )

    it.effect(`while nobody declares them, hold up nothing: ${change}`, () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        yield* Effect.gen(function* () {
          const ledger = yield* Ledger.Ledger
          yield* ledger.append(deposit("a", 1))
          yield* ledger.checkpoint("one")
          yield* ledger.append(deposit("b", 2))
        }).pipe(Effect.provide(TestLedger.layer({ directory, views: declared })))
        yield* meddle(directory, change)
        yield* Effect.gen(function* () {
          const ledger = yield* Ledger.Ledger
          yield* ledger.views
          yield* ledger.append(deposit("a", 10))
          yield* ledger.rollback(1, by)
          yield* ledger.views
          yield* assertSound(ledger)
          yield* ledger.rebuild(by)
          yield* assertSound(ledger)
        }).pipe(Effect.provide(TestLedger.layer({ directory, seed: 2 })))
        yield* Effect.gen(function* () {
          yield* sound(declared)
          assert.deepStrictEqual(yield* inBalances, ["a 1 1"])
        }).pipe(Effect.provide(TestLedger.layer({ directory, views: declared, seed: 3 })))
      })
    )
  }

  it.effect("have their indexes again after the next opening", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const layer = () => TestLedger.layer({ directory, views: declared })
      const indexes = Ledger.Ledger.use((ledger) =>
        ledger.query(
          (sql) => sql<{ readonly table: string; readonly column: string }>`
            SELECT s.tbl_name AS "table", i.name AS "column"
            FROM sqlite_schema s, pragma_index_info(s.name) i
            WHERE s.type = 'index' AND s.name LIKE 'sealog_balances_%'`
        )
      ).pipe(Effect.map((rows) => rows.map((row) => ({ ...row }))))
      const made = [{ table: "balances", column: "cents" }]
      const [name] = yield* Ledger.Ledger.use((ledger) =>
        Effect.andThen(
          ledger.append(deposit("a", 1)),
          ledger.query(
            (sql) => sql<{ readonly name: string }>`
              SELECT name FROM sqlite_schema WHERE name LIKE 'sealog_balances_%'`
          )
        )
      ).pipe(Effect.provide(layer()))
      assert.deepStrictEqual(yield* Effect.provide(indexes, layer()), made)
      yield* meddle(directory, `DROP INDEX ${name?.name}`)
      assert.deepStrictEqual(yield* Effect.provide(indexes, layer()), made)
      yield* meddle(directory, "CREATE TABLE other AS SELECT * FROM balances")
      yield* meddle(directory, "DROP TABLE balances; ALTER TABLE other RENAME TO balances")
      assert.deepStrictEqual(yield* Effect.provide(indexes, layer()), made)
    })
  )

  for (const made of [
    "CREATE VIEW rich AS SELECT account FROM balances WHERE cents > 1",
    "CREATE TRIGGER seen AFTER DELETE ON events BEGIN DELETE FROM balances WHERE cents = 9; END"
  ]) {
    it.effect(`are made anew under what somebody has made on top of them: ${made}`, () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        const open = (version: number) =>
          Effect.gen(function* () {
            yield* Ledger.Ledger.use((ledger) => ledger.append(deposit("a", 1)))
            yield* Views.Views.use((views) => views.rebuild(balancesOf(version)))
            yield* sound([balancesOf(version)])
          }).pipe(
            Effect.provide(
              TestLedger.layer({ directory, views: [balancesOf(version)], seed: version })
            )
          )
        yield* open(1)
        yield* meddle(directory, made)
        yield* open(2)
        yield* open(3)
        const kept = `SELECT sql FROM sqlite_schema WHERE sql = '${made}'`
        assert.strictEqual(query(path.join(directory, "mirror.sqlite"), kept).length, 1)
      })
    )
  }

  it.effect("give their table to another view that is declared in their place", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const named = (name: string, table: string) =>
        Views.effect({
          name,
          version: 1,
          kinds,
          tables: { [table]: { columns: { cents: "INTEGER NOT NULL" }, key: ["seq"] } },
          apply: ({ event: { id }, payload: { cents }, seq }, sql, tables) =>
            sql`INSERT INTO ${tables[table] ?? sql("none")} ${sql.insert({ seq, event_id: id, cents })}`
        })
      const open = (views: ReadonlyArray<View.View | Views.EffectView>, seed: number) =>
        Effect.gen(function* () {
          const ledger = yield* Ledger.Ledger
          yield* ledger.append(deposit("a", seed))
          for (const view of views) {
            assert.isTrue((yield* Views.Views.use((all) => all.check(view))).isDerived)
          }
          return (yield* ledger.views).map(({ name }) => name)
        }).pipe(Effect.provide(TestLedger.layer({ directory, views, seed })))
      assert.deepStrictEqual(yield* open([named("one", "t"), named("two", "u")], 1), ["one", "two"])
      // One is no more; two has its table, and three that of two.
      assert.deepStrictEqual(yield* open([named("two", "t"), named("three", "u")], 2), [
        "three",
        "two"
      ])
      assert.deepStrictEqual(yield* open([named("three", "t"), named("two", "u")], 3), [
        "three",
        "two"
      ])
      assert.deepStrictEqual(yield* open([balancesOf(), named("four", "t")], 4), [
        "balances",
        "four",
        "two"
      ])
    })
  )

  it.effect(
    "while the ledger is open, are said to be so, and are made anew at the next opening",
    () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        yield* Effect.gen(function* () {
          const ledger = yield* Ledger.Ledger
          yield* ledger.append(deposit("a", 1))
          yield* meddle(directory, "DROP TABLE balances")
          const failed = yield* Effect.flip(ledger.append(deposit("b", 1)))
          assertLike(failed, { _tag: "ViewFailed", view: "balances" })
          yield* ledger.append({ type: "other.v1" })
        }).pipe(Effect.provide(TestLedger.layer({ directory, views: [balances] })))
        yield* Effect.gen(function* () {
          const ledger = yield* Ledger.Ledger
          yield* ledger.append(deposit("b", 1))
          yield* sound([balances])
        }).pipe(Effect.provide(TestLedger.layer({ directory, views: [balances], seed: 2 })))
      })
  )
})
