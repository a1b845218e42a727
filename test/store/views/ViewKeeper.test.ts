import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Schema } from "effect"
import * as View from "../../../src/core/View.ts"
import * as Ledger from "../../../src/store/Ledger.ts"
import * as Views from "../../../src/store/views/Views.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { balances, balancesOf, deposit, kinds, postings, views as declared } from "../bank.ts"
import { assertLike, assertSound } from "../ledgerFixtures.ts"

const append = (...drafts: ReadonlyArray<ReturnType<typeof deposit>>) =>
  Ledger.Ledger.use((ledger) => ledger.appendAll(drafts))
const by = { operator: "ada", reason: "a wrong turn" }

const rows = (text: string) =>
  Effect.map(
    Ledger.Ledger.use((ledger) => ledger.query((sql) => sql.unsafe<object>(text))),
    (found) => found.map((row) => Object.values(row).join(" "))
  )
const inBalances = rows("SELECT account, cents, seq FROM balances ORDER BY account")

const derived = (...views: ReadonlyArray<View.Declared>) =>
  Effect.forEach(views, (view) =>
    Effect.map(
      Views.Views.use((all) => all.check(view)),
      (report) => assert.isTrue(report.isDerived, JSON.stringify(report))
    )
  )

const meddle = (directory: string, sql: string) =>
  Effect.sync(() => {
    const db = new DatabaseSync(path.join(directory, "mirror.sqlite"))
    db.exec(`PRAGMA foreign_keys = OFF; ${sql}`)
    db.close()
  })

/** A view of balances that cannot take an account for as long as it is broken. */
const breakable = (version = 1) => {
  const state = { isBroken: true }
  const view = balancesOf(version, {
    meet: ({ payload }) => {
      if (state.isBroken && payload.account === "bad") throw new Error("no such account")
    }
  })
  return { state, view }
}

describe("Views of a ledger", () => {
  it.effect("each take what they lack, from where they are", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const open = (views: ReadonlyArray<View.View>, seed: number) =>
        append(deposit("a", seed)).pipe(
          Effect.provide(TestLedger.layer({ directory, views, seed }))
        )
      yield* open([balances, postings], 1)
      yield* open([balances], 2)
      yield* open([], 3)
      yield* Effect.gen(function* () {
        assert.deepStrictEqual(yield* inBalances, ["a 6 3"])
        yield* derived(balances, postings)
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: [balances, postings], seed: 4 })))
    })
  )

  it.effect("that are set aside stay so while others catch up, and it is told once", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const { state, view } = breakable()
      const open = <A, E>(
        views: ReadonlyArray<View.View>,
        seed: number,
        use: Effect.Effect<A, E, Ledger.Ledger | Views.Views>
      ) => Effect.provide(use, TestLedger.layer({ directory, views, seed }))
      yield* open([], 1, append(deposit("a", 1), deposit("bad", 2), deposit("c", 3)))
      yield* open([view, postings], 2, Effect.void)
      yield* open([], 3, append(deposit("a", 10)))
      state.isBroken = false
      yield* open(
        [view, postings],
        4,
        Effect.gen(function* () {
          const ledger = yield* Ledger.Ledger
          assert.strictEqual(ledger.opened._tag, "Clean")
          yield* append(deposit("a", 20))
          assert.deepStrictEqual(yield* inBalances, ["a 1 1"])
          assert.deepStrictEqual(
            (yield* ledger.views).map(({ name, seq, stale }) => [name, seq, stale?.since]),
            [
              ["balances", 1, 2],
              ["postings", 5, undefined]
            ]
          )
          yield* derived(postings)
        })
      )
    })
  )

  it.effect("that are set aside are tried again by a rollback, wherever it goes back to", () =>
    Effect.gen(function* () {
      const state = { isBroken: true }
      const perEvent = View.perEvent({
        name: "each",
        version: 1,
        kinds,
        row: Schema.Struct({ account: Schema.String }),
        columns: { account: "TEXT NOT NULL" },
        rowsOf: ({ payload: { account } }) => {
          if (state.isBroken && account === "bad") throw new Error("no such account")
          return [{ account }]
        }
      })
      const keyed = balancesOf(1, {
        meet: ({ payload }) => {
          if (state.isBroken && payload.account === "bad") throw new Error("no such account")
        }
      })
      for (const isMended of [true, false]) {
        const directory = yield* TestLedger.directory
        state.isBroken = true
        const checkpoint = yield* Effect.gen(function* () {
          yield* append(deposit("a", 1), deposit("bad", 2), deposit("c", 3))
          const made = yield* Ledger.Ledger.use((ledger) => ledger.checkpoint("three"))
          yield* append(deposit("d", 4))
          return made
        }).pipe(Effect.provide(TestLedger.layer({ directory })))
        yield* Effect.gen(function* () {
          const ledger = yield* Ledger.Ledger
          state.isBroken = !isMended
          yield* ledger.rollback(checkpoint, by)
          yield* append(deposit("e", 5))
          const status = yield* ledger.views
          assert.deepStrictEqual(
            status.map(({ name, seq, stale }) => [name, seq, stale?.since]),
            ["balances", "each"].map((name) => (isMended ? [name, 4, undefined] : [name, 1, 2]))
          )
          assert.deepStrictEqual(
            yield* rows("SELECT account FROM each ORDER BY seq"),
            isMended ? ["a", "bad", "c", "e"] : ["a"]
          )
          if (isMended) yield* derived(keyed, perEvent)
        }).pipe(Effect.provide(TestLedger.layer({ directory, views: [keyed, perEvent], seed: 2 })))
      }
    })
  )

  it.effect("whose new version could not take an event are tried again by a rollback", () =>
    Effect.gen(function* () {
      // The version before is at row 1, the new one fails at row 3.
      for (const [to, isTaken] of [
        [0, true],
        [1, true],
        [2, true],
        [3, false]
      ] as const) {
        const { view: first } = breakable()
        const { view } = breakable(2)
        const directory = yield* TestLedger.directory
        const stands = (seq: number) =>
          Ledger.Ledger.use((ledger) =>
            Effect.andThen(append(deposit(`a${seq}`, 1)), ledger.checkpoint(`${seq}`))
          )
        yield* Effect.gen(function* () {
          const ledger = yield* Ledger.Ledger
          yield* ledger.checkpoint("0")
          yield* stands(1)
        }).pipe(Effect.provide(TestLedger.layer({ directory, views: [first] })))
        yield* Effect.gen(function* () {
          const ledger = yield* Ledger.Ledger
          yield* stands(2)
          yield* append(deposit("bad", 1))
          yield* ledger.checkpoint("3")
          yield* append(deposit("c", 1))
        }).pipe(Effect.provide(TestLedger.layer({ directory, seed: 2 })))
        yield* Effect.gen(function* () {
          const ledger = yield* Ledger.Ledger
          const stale = { since: 3, reason: "event 3: no such account" }
          assertLike(ledger.opened, {
            actions: [{ _tag: "ViewStale", view: "balances", ...stale }]
          })
          yield* ledger.rollback(to + 1, by)
          yield* append(deposit("e", 1))
          const [status] = yield* ledger.views
          assertLike(
            status,
            isTaken ? { version: 2, seq: to + 1, stale: null } : { version: 1, seq: 1, stale }
          )
          if (isTaken) yield* derived(view)
          else assert.deepStrictEqual(yield* inBalances, ["a1 1 1"])
          assert.deepStrictEqual(
            yield* rows("SELECT name FROM sqlite_schema WHERE name LIKE 'sealog_aside%'"),
            []
          )
          yield* assertSound(ledger)
        }).pipe(Effect.provide(TestLedger.layer({ directory, views: [view], seed: 3 })))
      }
    })
  )

  it.effect("that would change the ledger are told so while it is rolled back or made anew", () =>
    Effect.gen(function* () {
      let own: Ledger.Ledger["Service"] | undefined
      const told: Array<string> = []
      const meddling = Views.effect({
        name: "meddling",
        version: 1,
        kinds,
        tables: { meddling: { columns: { a: "TEXT NULL" }, key: ["seq"] } },
        apply: () =>
          own === undefined
            ? Effect.void
            : Effect.sandbox(own.append(deposit("b", 1))).pipe(
                Effect.flip,
                Effect.map((cause) => told.push(Cause.pretty(cause)))
              )
      })
      const directory = yield* TestLedger.directory
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        yield* append(deposit("a", 1))
        const first = yield* ledger.checkpoint("one")
        yield* append(deposit("a", 1))
        own = ledger
        yield* ledger.rebuild(by)
        yield* ledger.rollback(first, by)
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: [meddling] })))
      assert.strictEqual(told.length, 3)
      for (const one of told) assert.include(one, "waits for itself")
    })
  )

  it.effect("cannot hold a row of another event, after a rollback neither", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const view = Views.effect({
        name: "mistaken",
        version: 1,
        kinds,
        tables: { mistaken: { columns: { a: "TEXT NOT NULL" }, key: ["seq"] } },
        apply: ({ event: { id }, payload: { account: a }, seq }, sql, { mistaken }) => {
          const row = { seq, event_id: a === "bad" ? "evt_none" : id, a }
          return sql`INSERT INTO ${mistaken} ${sql.insert(row)}`
        }
      })
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        const refused = { _tag: "ViewFailed", view: "mistaken" }
        const empty = yield* ledger.checkpoint("empty")
        assertLike(yield* Effect.flip(append(deposit("bad", 1))), refused)
        yield* append(deposit("a", 1))
        yield* ledger.rollback(empty, by)
        assertLike(yield* Effect.flip(append(deposit("bad", 1))), refused)
        yield* append(deposit("b", 1))
        yield* ledger.rebuild(by)
        assertLike(yield* Effect.flip(append(deposit("bad", 1))), refused)
        yield* derived(view)
        yield* assertSound(ledger)
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: [view] })))
    })
  )

  it.effect("are made anew with the mirror, whatever they held", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* append(deposit("a", 1), deposit("b", 2)).pipe(
        Effect.provide(TestLedger.layer({ directory, views: declared }))
      )
      yield* meddle(
        directory,
        `UPDATE balances SET cents = 9 WHERE account = 'a';
         UPDATE balances SET seq = 1 WHERE account = 'b';
         DELETE FROM postings; UPDATE last_visit SET event_id = ''`
      )
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        const counts = yield* Effect.forEach(declared, (view) =>
          Effect.map(
            Views.Views.use((all) => all.check(view)),
            ({ differenceCount }) => differenceCount
          )
        )
        assert.deepStrictEqual(counts, [2, 2, 2])
        yield* ledger.rebuild(by)
        yield* derived(...declared)
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: declared, seed: 2 })))
    })
  )

  it.effect("that were made anew on request stand so when the ledger opens again", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* Effect.gen(function* () {
        yield* append(deposit("a", 1))
        const views = yield* Views.Views
        for (const view of declared) yield* views.rebuild(view)
        for (const view of declared) yield* views.rebuild(view)
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: declared })))
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        assert.strictEqual(ledger.opened._tag, "Clean")
        yield* append(deposit("b", 1))
        yield* derived(...declared)
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: declared, seed: 2 })))
    })
  )

  it.effect("take whole groups into tables of many columns", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const names = Array.from({ length: 150 }, (_, n) => `c${n}`)
      const fields: Record<string, typeof Schema.Int> = Object.fromEntries(
        names.map((name) => [name, Schema.Int])
      )
      const columns = Object.fromEntries(names.map((name) => [name, "INTEGER NOT NULL"]))
      const row = Schema.Struct(fields)
      const same = { version: 1, kinds, row, columns }
      const filled = (cents: number) => Object.fromEntries(names.map((name) => [name, cents]))
      const views = [
        View.make({
          ...same,
          name: "wide",
          key: names,
          keysOf: ({ payload: { cents } }) => [filled(cents)],
          fold: (_row, { payload: { cents } }) => (cents > 900 ? undefined : filled(cents))
        }),
        View.perEvent({
          ...same,
          name: "wide_too",
          rowsOf: ({ payload: { cents } }) => [filled(cents)]
        })
      ] as const
      yield* Effect.gen(function* () {
        yield* append(...Array.from({ length: 400 }, (_, n) => deposit("a", n)))
        yield* append(...Array.from({ length: 400 }, (_, n) => deposit("a", n + 901)))
        assert.deepStrictEqual(yield* rows("SELECT count(*) FROM wide"), ["400"])
        yield* derived(...views)
      }).pipe(Effect.provide(TestLedger.layer({ directory, views })))
    })
  )

  it.effect("may be declared to two ledgers at once", () =>
    Effect.gen(function* () {
      const [one, two] = [yield* TestLedger.directory, yield* TestLedger.directory]
      const use = (directory: string, cents: number) =>
        Effect.gen(function* () {
          for (let n = 0; n < 20; n++) yield* append(deposit("a", cents))
          yield* derived(...declared)
          return yield* inBalances
        }).pipe(Effect.provide(TestLedger.layer({ directory, views: declared }), { local: true }))
      const held = yield* Effect.all([use(one, 1), use(two, 100)], { concurrency: 2 })
      assert.deepStrictEqual(held, [["a 20 20"], ["a 2000 20"]])
    })
  )

  it.effect("are seen as of one moment by a reader that looks while they are swapped", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        yield* append(deposit("a", 1))
        const reader = new DatabaseSync(path.join(directory, "mirror.sqlite"), { readOnly: true })
        const held = () => reader.prepare("SELECT account, cents, seq FROM balances").all().length
        reader.exec("BEGIN")
        assert.strictEqual(held(), 1)
        yield* append(deposit("b", 1))
        yield* Views.Views.use((views) => views.rebuild(balances))
        yield* append(deposit("c", 1))
        assert.strictEqual(held(), 1)
        reader.exec("COMMIT")
        assert.strictEqual(held(), 3)
        reader.close()
        yield* derived(...declared)
        yield* assertSound(ledger)
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: declared })))
    })
  )
})
