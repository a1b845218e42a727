import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Effect, Fiber, Layer, Result, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Chain from "../../../src/core/Chain.ts"
import * as Event from "../../../src/core/Event.ts"
import * as Policy from "../../../src/core/Policy.ts"
import * as View from "../../../src/core/View.ts"
import * as Ledger from "../../../src/store/Ledger.ts"
import * as PolicyGate from "../../../src/store/writing/PolicyGate.ts"
import * as SealogNode from "../../../src/platform/SealogNode.ts"
import * as Progress from "../../../src/store/Progress.ts"
import { Reader } from "../../../src/store/reading/Reader.ts"
import * as Views from "../../../src/store/views/Views.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import {
  balances,
  balancesOf,
  deposit,
  Deposited,
  kinds,
  postings,
  views as declared,
  withdraw,
  Withdrawn
} from "../bank.ts"
import { assertLike, assertSound } from "../ledgerFixtures.ts"

const rows = (text: string) =>
  Effect.map(
    Ledger.Ledger.use((ledger) => ledger.query((sql) => sql.unsafe<object>(text))),
    (found) => found.map((row) => Object.values(row).join(" "))
  )

const inBalances = rows("SELECT account, cents, seq FROM balances ORDER BY account")

/** Change the mirror by another hand, while the ledger is closed. */
const meddle = (directory: string, sql: string) =>
  Effect.sync(() => {
    const db = new DatabaseSync(path.join(directory, "mirror.sqlite"))
    db.exec("PRAGMA foreign_keys = OFF")
    db.exec(sql)
    db.close()
  })

const by = { operator: "ada", reason: "a wrong turn" }

describe("Views", () => {
  it.effect("are folded in the transaction of the append, their clock at its event", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* TestClock.adjust("1 hour")
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        yield* ledger.appendAll([deposit("a", 500), deposit("b", 100), withdraw("a", 200)])
        yield* TestClock.adjust("1 hour")
        yield* ledger.append(withdraw("b", 100))
        yield* ledger.append({ type: "other.v1" })
        assert.deepStrictEqual(yield* inBalances, ["a 300 3"])
        assert.deepStrictEqual(
          yield* rows("SELECT seq, nth, account, at IS NULL FROM postings ORDER BY seq, nth"),
          ["1 0 a 0", "2 0 b 0", "3 0 a 1", "3 1 a 0", "4 0 b 1", "4 1 b 0"]
        )
        assert.deepStrictEqual(
          yield* rows("SELECT account, millis, seq FROM last_visit ORDER BY account"),
          ["a 3600000 3", "b 7200000 4"]
        )
        const views = yield* Views.Views
        for (const view of declared) {
          const report = yield* views.check(view)
          assert.isTrue(report.isDerived, JSON.stringify(report))
        }
        const status = yield* views.status
        assert.deepStrictEqual(
          status.map(({ name, seq, stale }) => [name, seq, stale]),
          [
            ["balances", 5, null],
            ["postings", 5, null],
            ["visits", 5, null]
          ]
        )
        assert.deepStrictEqual(yield* ledger.views, status)
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: declared })))
    })
  )

  describe("that cannot take an event fail that append alone:", () => {
    const broken: { readonly [how: string]: View.View | Views.EffectView } = {
      "a fold that throws": balancesOf(1, {
        meet: ({ payload }) => {
          if (payload.account === "bad") throw new Error("never heard of it")
        }
      }),
      "a row that its table does not take": balancesOf(1, { check: "CHECK (cents < 1000000)" }),
      "a row that does not fit its schema": View.make({
        name: "balances",
        version: 1,
        kinds,
        row: Schema.Struct({ account: Schema.String, cents: Schema.Int }),
        columns: { account: "TEXT NOT NULL", cents: "INTEGER NOT NULL" },
        key: ["account"],
        keysOf: ({ payload: { account } }) => [{ account }],
        fold: (row, e, key) => ({
          ...key,
          cents: e.payload.account === "bad" ? 0.5 : (row?.cents ?? 0) + e.payload.cents
        })
      }),
      "a row of another key": View.make({
        name: "balances",
        version: 1,
        kinds,
        row: Schema.Struct({ account: Schema.String, cents: Schema.Int }),
        columns: { account: "TEXT NOT NULL", cents: "INTEGER NOT NULL" },
        key: ["account"],
        keysOf: ({ payload: { account } }) => [{ account }],
        fold: (row, e, key) => ({
          account: e.payload.account === "bad" ? "other" : key.account,
          cents: (row?.cents ?? 0) + e.payload.cents
        })
      }),
      "an effect that fails": Views.effect({
        name: "balances",
        version: 1,
        kinds,
        tables: {
          balances: {
            columns: { account: "TEXT NOT NULL", cents: "INTEGER NOT NULL" },
            key: ["seq"]
          }
        },
        apply: ({ event, payload: { account, cents }, seq }, sql, { balances: table }) =>
          account === "bad"
            ? Effect.fail("no")
            : sql`INSERT INTO ${table} ${sql.insert({ seq, event_id: event.id, account, cents })}`
      })
    }
    for (const [how, view] of Object.entries(broken)) {
      it.effect(how, () =>
        Effect.gen(function* () {
          const directory = yield* TestLedger.directory
          yield* Effect.gen(function* () {
            const ledger = yield* Ledger.Ledger
            // All three wait for one group.
            const answers = yield* Effect.all(
              [
                ledger.append(deposit("a", 1)),
                Effect.flip(ledger.appendAll([deposit("b", 2), deposit("bad", 2_000_000)])),
                ledger.append(deposit("c", 3))
              ],
              { concurrency: "unbounded" }
            )
            assertLike(answers[1], { _tag: "ViewFailed", index: 1, view: "balances" })
            assert.deepStrictEqual([answers[0].seq, answers[2].seq], [1, 2])
            assert.deepStrictEqual(yield* inBalances, ["a 1 1", "c 3 2"])
            assert.strictEqual((yield* ledger.head).seq, 2)
            yield* assertSound(ledger)
            const report = yield* Views.Views.use((views) => views.check(view))
            assert.isTrue(report.isDerived, JSON.stringify(report))
          }).pipe(Effect.provide(TestLedger.layer({ directory, views: [view] })))
        })
      )
    }
  })

  it.effect("fail the append of the event they cannot take, whoever's gate meets that first", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const view = balancesOf(1, {
        meet: ({ payload }) => {
          if (payload.account === "bad") throw new Error("never heard of it")
        }
      })
      const gate = PolicyGate.gate({ id: "g", kinds: [Withdrawn], views: [view] }, () =>
        Effect.succeed(Policy.allow("ok"))
      )
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        const answers = yield* Effect.all(
          [
            Effect.result(ledger.append(deposit("a", 1))),
            Effect.result(ledger.appendAll([deposit("b", 2), deposit("bad", 2)])),
            Effect.result(ledger.append(withdraw("a", 3))),
            Effect.result(ledger.append(withdraw("bad", 4)))
          ],
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          answers.map((answer) =>
            answer._tag === "Success"
              ? "passed"
              : [answer.failure._tag, Reflect.get(answer.failure, "index")]
          ),
          ["passed", ["ViewFailed", 1], "passed", ["ViewFailed", 0]]
        )
        assert.deepStrictEqual(yield* inBalances, ["a -2 2"])
        yield* assertSound(ledger)
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: [view], rules: [gate] })))
    })
  )

  it.effect("take what is imported, and end an import that they cannot take", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const view = balancesOf(1, {
        meet: ({ payload }) => {
          if (payload.account === "bad") throw new Error("never heard of it")
        }
      })
      const line = (account: string, cents: number) =>
        new TextEncoder().encode(`${JSON.stringify({ account, cents })}\n`)
      const imported = Effect.fnUntraced(function* (...lines: ReadonlyArray<Uint8Array>) {
        const ledger = yield* Ledger.Ledger
        return yield* ledger.import(lines, ({ text }) =>
          Effect.succeed({ type: Deposited.type, payloadText: text })
        )
      })
      yield* Effect.gen(function* () {
        const report = yield* imported(line("a", 1), line("b", 2), line("a", 4))
        assert.strictEqual(report.appended, 3)
        assert.deepStrictEqual(yield* inBalances, ["a 5 3", "b 2 2"])
        const failed = yield* Effect.flip(imported(line("c", 1), line("bad", 2)))
        assertLike(failed, { _tag: "ViewFailed", view: "balances" })
        assert.strictEqual(
          String(failed),
          "ViewFailed: the view balances cannot take event 5 (draft 1): never heard of it. Nothing was " +
            "written. Mend the view: it may not refuse, that is for rules and gates."
        )
        assert.deepStrictEqual(yield* inBalances, ["a 5 3", "b 2 2"])
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: [view] })))
    })
  )

  it.effect("that fail in replay are set aside there, and asked no more, until made anew", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* Ledger.Ledger.use((ledger) =>
        ledger.appendAll([deposit("a", 1), deposit("bad", 2), deposit("c", 3)])
      ).pipe(Effect.provide(TestLedger.layer({ directory })))
      let isBroken = true
      const view = balancesOf(1, {
        meet: ({ payload }) => {
          if (isBroken && payload.account === "bad") throw new Error("no such account")
        }
      })
      const gate = PolicyGate.gate(
        { id: "bank.funds", kinds: [Withdrawn], views: [view] },
        ({ payload }, sql) =>
          Effect.map(
            sql<{
              readonly cents: number
            }>`SELECT cents FROM balances WHERE account = ${payload.account}`,
            ([row]) =>
              payload.cents > (row?.cents ?? 0) ? Policy.reject("not covered") : Policy.allow("ok")
          )
      )
      const options = { directory, views: [view, postings], rules: [gate], seed: 2 } as const
      const layer = TestLedger.layer(options)
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        const views = yield* Views.Views
        assert.deepStrictEqual(ledger.opened._tag === "Recovered" && ledger.opened.actions, [
          { _tag: "ViewRebuilt", view: "balances", rows: 1 },
          { _tag: "ViewStale", view: "balances", since: 2, reason: "event 2: no such account" },
          { _tag: "ViewRebuilt", view: "postings", rows: 3 }
        ])
        assert.deepStrictEqual(yield* inBalances, ["a 1 1"])
        // The ledger goes on, but for what asks the view.
        yield* ledger.append(deposit("a", 10))
        assert.deepStrictEqual(yield* inBalances, ["a 1 1"])
        const refused = yield* Effect.flip(ledger.append(withdraw("a", 1)))
        assertLike(refused, { _tag: "PolicyRefused", reason: "view_stale", ruleId: "bank.funds" })
        const failed = yield* Effect.flip(views.rebuild(view))
        assertLike(failed, { _tag: "ViewFailed", index: null, view: "balances", seq: 2 })
        assert.strictEqual(
          failed.message,
          "the view balances cannot take event 2: no such account. It is what it was. Mend " +
            "the view: it may not refuse, that is for rules and gates."
        )
        isBroken = false
        assertLike(yield* views.rebuild(view), { seq: 4, stale: null })
        assert.deepStrictEqual(yield* inBalances, ["a 11 4", "bad 2 2", "c 3 3"])
        yield* ledger.append(withdraw("a", 1))
        assert.deepStrictEqual(yield* inBalances, ["a 10 5", "bad 2 2", "c 3 3"])
      }).pipe(Effect.provide(layer))
    })
  )

  it.effect("of another version are made anew when the ledger opens, or refuse it by option", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const open = (view: View.View, onViewChange?: "rebuild" | "refuse") =>
        Layer.build(TestLedger.layer({ directory, views: [view], onViewChange })).pipe(
          Effect.map((context) => Context.get(context, Ledger.Ledger).opened),
          Effect.scoped
        )
      yield* Ledger.Ledger.use((ledger) =>
        ledger.appendAll([deposit("a", 1), deposit("b", 2)])
      ).pipe(Effect.provide(TestLedger.layer({ directory, views: [balances] })))
      assert.strictEqual((yield* open(balances))._tag, "Clean")
      const inTens = balancesOf(2, { unit: 10 })
      assertLike(yield* Effect.flip(open(inTens, "refuse")), {
        _tag: "ViewOutdated",
        view: "balances",
        stored: 1,
        declared: 2
      })
      assert.strictEqual((yield* open(balances, "refuse"))._tag, "Clean")
      assertLike(yield* open(inTens), {
        actions: [{ _tag: "ViewRebuilt", view: "balances", rows: 2 }]
      })
      // The same version with another table is another view all the same.
      const checked = balancesOf(2, { unit: 10, check: "CHECK (cents <> 0)" })
      assertLike(yield* Effect.flip(open(checked, "refuse")), { stored: 2, declared: 2 })
      yield* Effect.gen(function* () {
        assert.deepStrictEqual(yield* inBalances, ["a 10 1", "b 20 2"])
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: [checked] })))
    })
  )

  it.effect("are for readers what they were, until they have been made anew at opening", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const drafts = Array.from({ length: 300 }, (_, n) => deposit(`a${n % 3}`, 1))
      yield* Ledger.Ledger.use((ledger) =>
        Effect.andThen(ledger.appendAll(drafts), ledger.appendAll(drafts))
      ).pipe(Effect.provide(TestLedger.layer({ directory, views: [balances] })))
      const inTens = balancesOf(2, { unit: 10 })
      const seen: Array<string> = []
      const look = Effect.gen(function* () {
        const reader = yield* Reader
        for (const view of [balances, inTens]) {
          const found = yield* Effect.result(reader.rows(view))
          seen.push(
            Result.match(found, {
              onSuccess: (rows) => rows.map(({ cents }) => cents).join(),
              onFailure: ({ _tag }) => _tag
            })
          )
        }
      }).pipe(Effect.provide(Layer.fresh(SealogNode.layerReader({ directory }))), Effect.orDie)
      const opening = Layer.build(TestLedger.layer({ directory, views: [inTens] })).pipe(
        Effect.scoped
      )
      yield* Effect.provideService(opening, Progress.Progress, () => look)
      assert.isAtLeast(seen.length, 4)
      assert.deepStrictEqual([...new Set(seen)], ["200,200,200", "ViewOutdated"])
      assert.strictEqual(seen[0], "200,200,200")
      yield* look
      assert.deepStrictEqual(seen.slice(-2), ["ViewOutdated", "2000,2000,2000"])
    })
  )

  it.effect("of a version that cannot take an event leave the one before there", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      let isBroken = true
      const broken = balancesOf(2, {
        unit: 10,
        meet: ({ payload }) => {
          if (isBroken && payload.account === "bad") throw new Error("unforeseen")
        }
      })
      const gate = PolicyGate.gate({ id: "g", kinds: [Withdrawn], views: [balances] }, () =>
        Effect.succeed(Policy.allow("ok"))
      )
      const use = <A, E>(
        view: View.View,
        seed: number,
        work: (ledger: Ledger.Ledger["Service"]) => Effect.Effect<A, E, Views.Views>
      ) =>
        Ledger.Ledger.use(work).pipe(
          Effect.provide(
            TestLedger.layer({ directory, views: [view, postings], rules: [gate], seed })
          )
        )
      const seen = Effect.gen(function* () {
        const reader = yield* Reader
        const rows = yield* reader.query(
          (sql) => sql<object>`SELECT account, cents FROM balances ORDER BY account`
        )
        return rows.map((row) => Object.values(row).join(" "))
      }).pipe(Effect.provide(Layer.fresh(SealogNode.layerReader({ directory }))))
      yield* use(balances, 1, (ledger) =>
        ledger.appendAll([deposit("a", 1), deposit("bad", 2), deposit("c", 3)])
      )
      yield* use(broken, 2, (ledger) =>
        Effect.gen(function* () {
          const stale = { since: 2, reason: "event 2: unforeseen" }
          assertLike(ledger.opened, {
            actions: [{ _tag: "ViewStale", view: "balances", ...stale }]
          })
          yield* ledger.append(deposit("d", 4))
          const [status] = yield* ledger.views
          assertLike(status, { name: "balances", version: 1, seq: 3, stale })
          assertLike(yield* Effect.flip(ledger.append(withdraw("a", 1))), { reason: "view_stale" })
          assertLike(yield* Effect.flip(Views.Views.use(({ rebuild }) => rebuild(broken))), {
            _tag: "ViewFailed",
            seq: 2
          })
          yield* assertSound(ledger)
        })
      )
      assert.deepStrictEqual(yield* seen, ["a 1", "bad 2", "c 3"])
      // Whoever goes back to the version before finds it as it was.
      yield* use(balances, 3, (ledger) => ledger.append(withdraw("a", 1)))
      assert.deepStrictEqual(yield* seen, ["bad 2", "c 3", "d 4"])
      yield* use(broken, 4, (ledger) =>
        Effect.gen(function* () {
          isBroken = false
          assertLike(yield* Effect.flip(Views.Views.use(({ check }) => check(broken))), {
            _tag: "ViewOutdated",
            stored: 1,
            declared: 2
          })
          yield* Views.Views.use(({ rebuild }) => rebuild(broken))
          yield* ledger.append(deposit("d", 1))
          assertLike((yield* ledger.views)[0], { version: 2, seq: 6, stale: null })
          const report = yield* Views.Views.use(({ check }) => check(broken))
          assert.isTrue(report.isDerived)
        })
      )
      assert.deepStrictEqual(yield* seen, ["bad 20", "c 30", "d 50"])
      yield* use(broken, 5, (ledger) =>
        Effect.sync(() => assert.strictEqual(ledger.opened._tag, "Clean"))
      )
    })
  )

  it.effect("go back in the moment in which their events are gone", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const drafts = Array.from({ length: 350 }, () => deposit("a", 1))
      const seen: Array<string> = []
      const look = Effect.gen(function* () {
        const reader = yield* Reader
        const found = yield* reader.query(
          (sql) => sql<object>`SELECT (SELECT count(*) FROM events) AS events,
            (SELECT sum(cents) FROM balances) AS cents, (SELECT count(*) FROM postings) AS postings,
            (SELECT seq FROM sealog_views WHERE name = 'balances') AS seq`
        )
        seen.push(found.map((row) => Object.values(row).join(" ")).join())
      }).pipe(Effect.provide(Layer.fresh(SealogNode.layerReader({ directory }))), Effect.orDie)
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        yield* ledger.appendAll(drafts)
        yield* ledger.appendAll(drafts)
        const before = yield* ledger.checkpoint("before")
        yield* ledger.append(deposit("a", 1))
        yield* Effect.provideService(ledger.rollback(before, by), Progress.Progress, () => look)
        assert.isAtLeast(seen.length, 2)
        yield* look
        assert.deepStrictEqual([...new Set(seen)], ["701 701 701 701", "700 700 700 700"])
        yield* assertSound(ledger)
        yield* ledger.append(deposit("b", 1))
        for (const view of [balances, postings]) {
          const report = yield* Views.Views.use(({ check }) => check(view))
          assert.isTrue(report.isDerived, JSON.stringify(report))
        }
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: [balances, postings] })))
    })
  )

  it.effect("catch up with what was written without them", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const append = (...drafts: ReadonlyArray<ReturnType<typeof deposit>>) =>
        Ledger.Ledger.use((ledger) => ledger.appendAll(drafts))
      const [withViews, without] = [
        TestLedger.layer({ directory, views: declared, seed: 1 }),
        TestLedger.layer({ directory, seed: 2 })
      ]
      yield* append(deposit("a", 1)).pipe(Effect.provide(withViews))
      yield* append(deposit("a", 2), deposit("b", 3)).pipe(Effect.provide(without))
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        assert.strictEqual(ledger.opened._tag, "Clean")
        assert.deepStrictEqual(yield* inBalances, ["a 3 2", "b 3 3"])
        const views = yield* Views.Views
        for (const view of declared) assert.isTrue((yield* views.check(view)).isDerived)
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: declared, seed: 3 })))
    })
  )

  it.effect("say what somebody else has changed, row by row", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const drafts = Array.from({ length: 700 }, (_, n) => deposit(`a${n}`, n + 1))
      yield* Ledger.Ledger.use((ledger) => ledger.appendAll(drafts.slice(0, 500))).pipe(
        Effect.provide(TestLedger.layer({ directory, views: declared }))
      )
      yield* meddle(
        directory,
        `UPDATE balances SET cents = 0 WHERE account = 'a7';
         DELETE FROM balances WHERE account = 'a499';
         INSERT INTO balances (seq, event_id, account, cents) VALUES (1, 'evt_x', 'zz', 5);
         UPDATE postings SET seq = 2, nth = 9 WHERE seq = 3`
      )
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        const views = yield* Views.Views
        const report = yield* views.check(balances)
        assert.deepStrictEqual(
          report.differences
            .map(({ actual, expected, key }) => [key, expected?.["cents"], actual?.["cents"]])
            .toSorted(),
          [
            ['["a499"]', 500, undefined],
            ['["a7"]', 8, 0],
            ['["zz"]', undefined, 5]
          ]
        )
        assertLike(report, { isDerived: false, differenceCount: 3, seq: 500, rows: 501 })
        const some = yield* views.check(balances, { differencesMax: 1 })
        assertLike(some, { differenceCount: 3 })
        assert.strictEqual(some.differences.length, 1)
        assertLike(yield* views.check(postings), { differenceCount: 2 })
        yield* views.rebuild(balances)
        yield* views.rebuild(postings)
        for (const view of declared) assert.isTrue((yield* views.check(view)).isDerived)
        yield* ledger.appendAll(drafts.slice(500))
        for (const view of declared) assertLike(yield* views.check(view), { seq: 700, rows: 700 })
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: declared, seed: 2 })))
    })
  )

  it.effect("go back with the ledger, and are made anew with its mirror", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        const views = yield* Views.Views
        const sound = Effect.gen(function* () {
          for (const view of declared) {
            const report = yield* views.check(view)
            assert.isTrue(report.isDerived, JSON.stringify(report))
          }
        })
        yield* ledger.appendAll([deposit("a", 1), deposit("b", 2)])
        const before = yield* ledger.checkpoint("before")
        yield* ledger.appendAll([deposit("a", 10), withdraw("b", 2)])
        yield* ledger.rollback(before, by)
        assert.deepStrictEqual(yield* inBalances, ["a 1 1", "b 2 2"])
        yield* sound
        yield* ledger.append(deposit("c", 3))
        yield* ledger.rebuild(by)
        assert.deepStrictEqual(yield* inBalances, ["a 1 1", "b 2 2", "c 3 3"])
        yield* sound
        const empty = yield* ledger.checkpoint("all of it")
        yield* ledger.rollback(empty, by)
        yield* ledger.append(deposit("d", 4))
        yield* sound
        yield* assertSound(ledger)
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: declared })))
    })
  )

  it.effect("are made anew while appends go on, whatever is rolled back meanwhile", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        const views = yield* Views.Views
        const many = (from: number) =>
          Array.from({ length: 600 }, (_, n) =>
            deposit(`a${(from + n) % 50}`, 1 + ((from + n) % 7))
          )
        yield* ledger.appendAll(many(0))
        yield* ledger.appendAll(many(600))
        const middle = yield* ledger.checkpoint("the middle")
        yield* ledger.appendAll(many(1200))
        const appending = yield* Effect.forkChild(
          Effect.forEach(many(1800).slice(0, 100), (draft) => ledger.append(draft))
        )
        const building = yield* Effect.forkChild(
          Effect.all([views.rebuild(balances), views.check(postings)], { concurrency: 2 })
        )
        yield* Effect.yieldNow
        yield* ledger.rollback(middle, by)
        yield* Fiber.join(appending)
        const [rebuilt, checked] = yield* Fiber.join(building)
        assert.isNull(rebuilt.stale)
        assert.isTrue(checked.isDerived, JSON.stringify(checked))
        for (const view of declared) {
          const report = yield* views.check(view)
          assert.isTrue(report.isDerived, JSON.stringify(report))
          assert.strictEqual(report.seq, (yield* ledger.head).seq)
        }
        assert.deepStrictEqual(
          yield* rows("SELECT name FROM sqlite_schema WHERE name LIKE 'sealog_aside%'"),
          []
        )
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: declared })))
    })
  )

  it.effect(
    "are asked by gates in the writer's transaction, so no two appends pass on one state",
    () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        const funds = PolicyGate.gate(
          { id: "bank.funds", kinds: [Withdrawn], views: [balances] },
          ({ payload: { account, cents } }, sql) =>
            Effect.map(
              sql<{
                readonly cents: number
              }>`SELECT cents FROM balances WHERE account = ${account}`,
              ([row]) => (cents > (row?.cents ?? 0) ? Policy.reject("no") : Policy.allow("covered"))
            )
        )
        const layer = TestLedger.layer({ directory, kinds, views: [balances], rules: [funds] })
        yield* Effect.gen(function* () {
          const ledger = yield* Ledger.Ledger
          yield* ledger.append(deposit("a", 10))
          const answers = yield* Effect.forEach(
            Array.from({ length: 10 }, () => withdraw("a", 3)),
            (draft) => Effect.result(ledger.append(draft)),
            { concurrency: "unbounded" }
          )
          assert.deepStrictEqual(
            answers.map(({ _tag }) => _tag === "Success"),
            Array.from({ length: 10 }, (_, n) => n < 3)
          )
          assert.deepStrictEqual(yield* inBalances, ["a 1 4"])
        }).pipe(Effect.provide(layer))
      })
  )

  it.effect("that are asked for and not declared do not open", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const gate = PolicyGate.gate({ id: "g", views: [balances] }, () =>
        Effect.succeed(Policy.allow("ok"))
      )
      const exit = yield* Effect.exit(
        Effect.scoped(Layer.build(TestLedger.layer({ directory, rules: [gate] })))
      )
      assert.include(String(exit), "a gate asks the view balances")
    })
  )

  describe("that are effects write their own tables, and nothing else:", () => {
    const texts: ReadonlyArray<string> = [
      "DELETE FROM events",
      "UPDATE sealog_index SET leaf_hash = ''",
      'INSERT INTO "balances" SELECT * FROM balances',
      "WITH x AS (SELECT 1) DELETE FROM sealog_keys",
      "REPLACE INTO events SELECT * FROM events",
      "COMMIT",
      "PRAGMA foreign_keys = OFF",
      "/* */ DROP TABLE events",
      "ATTACH 'x' AS y",
      "SAVEPOINT a"
    ]
    for (const text of texts) {
      it.effect(text, () =>
        Effect.gen(function* () {
          const directory = yield* TestLedger.directory
          const view = Views.effect({
            name: "meddling",
            version: 1,
            kinds,
            tables: { meddling: { columns: { a: "TEXT" }, key: ["seq"] } },
            apply: (e, sql, { meddling }) =>
              Effect.gen(function* () {
                const own = { seq: e.seq, event_id: e.event.id, a: "INSERT INTO events" }
                yield* sql`INSERT INTO ${meddling} ${sql.insert(own)}`
                if (e.payload.account === "bad") yield* sql.unsafe(text)
              })
          })
          yield* Effect.gen(function* () {
            const ledger = yield* Ledger.Ledger
            yield* ledger.append(deposit("a", 1))
            const failed = yield* Effect.flip(ledger.append(deposit("bad", 1)))
            assertLike(failed, { _tag: "ViewFailed", view: "meddling", seq: 2 })
            yield* ledger.append(deposit("b", 1))
            assert.deepStrictEqual(yield* rows("SELECT seq FROM meddling"), ["1", "2"])
            yield* assertSound(ledger)
          }).pipe(Effect.provide(TestLedger.layer({ directory, views: [balances, view] })))
        })
      )
    }
  })

  it.effect("ask for services, which the layer is given", () =>
    Effect.gen(function* () {
      class Rates extends Context.Service<Rates, { readonly of: number }>()("test/Rates") {}
      const directory = yield* TestLedger.directory
      const view = Views.effect({
        name: "converted",
        version: 1,
        kinds,
        tables: { converted: { columns: { amount: "INTEGER NOT NULL" }, key: ["seq"] } },
        apply: (e, sql, { converted }) =>
          Rates.use((rates) => {
            const row = { seq: e.seq, event_id: e.event.id, amount: e.payload.cents * rates.of }
            return sql`INSERT INTO ${converted} ${sql.insert(row)}`
          })
      })
      yield* Effect.gen(function* () {
        yield* Ledger.Ledger.use((ledger) => ledger.append(deposit("a", 2)))
        assert.deepStrictEqual(yield* rows("SELECT amount FROM converted"), ["14"])
      }).pipe(
        Effect.provide(
          TestLedger.layer({ directory, views: [view] }).pipe(
            Layer.provide(Layer.succeed(Rates, { of: 7 }))
          )
        )
      )
    })
  )

  it.effect("are read as they type their rows, all or those that are asked for", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        yield* ledger.appendAll([deposit("a", 5), deposit("b", 7), deposit("c", 9)])
        assert.deepStrictEqual(yield* ledger.rows(balances), [
          { account: "a", cents: 5 },
          { account: "b", cents: 7 },
          { account: "c", cents: 9 }
        ])
        const rich = yield* ledger.rows(
          balances,
          (sql, table) => sql`SELECT * FROM ${table} WHERE cents > ${5} ORDER BY cents DESC`
        )
        assert.deepStrictEqual(
          rich.map(({ account, cents }) => `${account} ${cents}`),
          ["c 9", "b 7"]
        )
        const some = yield* Effect.flip(
          ledger.rows(balances, (sql, table) => sql`SELECT account, seq FROM ${table}`)
        )
        assertLike(some, { _tag: "ViewRowInvalid", view: "balances", seq: 1, path: "/cents" })
        const said = "is none that the view can hold"
        assert.strictEqual(
          some.message,
          `a row of the view balances, of event 1, ${said}: its cents is missing`
        )
        const wrong = yield* Effect.flip(
          ledger.rows(balances, (sql, table) => sql`SELECT account, 0.5 AS cents FROM ${table}`)
        )
        assert.strictEqual(
          wrong.message,
          `a row of the view balances ${said}: at /cents expected an integer, found a number`
        )
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: [balances] })))
    })
  )

  it.effect("of one name, or of one table, are not declared together", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const other = Views.effect({
        name: "other",
        version: 1,
        tables: { balances: { columns: { n: "INTEGER" }, key: ["seq"] } },
        apply: () => Effect.void
      })
      for (const [views, said] of [
        [[balances, balancesOf(2)], "two views have the name balances"],
        [[balances, other], "two views have a table balances"]
      ] as const) {
        const opened = Layer.build(TestLedger.layer({ directory, views }))
        const cause = yield* Effect.flip(Effect.sandbox(opened))
        assert.strictEqual(String(Cause.squash(cause)), `RangeError: ${said}`)
      }
    })
  )

  it.effect("hold no row without its event", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* Ledger.Ledger.use((ledger) => ledger.append(deposit("a", 2))).pipe(
        Effect.provide(TestLedger.layer({ directory, views: declared }))
      )
      const db = new DatabaseSync(path.join(directory, "mirror.sqlite"))
      assert.throws(
        () => db.exec("INSERT INTO balances VALUES (2, 'evt_none', 'b', 1)"),
        /FOREIGN KEY/
      )
      assert.throws(() => db.exec("DELETE FROM events"), /FOREIGN KEY/)
      db.close()
    })
  )
})

describe("Kinds of a ledger", () => {
  it.effect("refuse what none of them is, with the place, before anything is written", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        const drafts = [
          [{ type: "other.v1" }, "/type"],
          [{ type: Deposited.type, payload: { account: "a" } }, "/payload/cents"],
          [{ type: Deposited.type, payload: { account: 1, cents: 1 } }, "/payload/account"],
          [{ type: Deposited.type }, "/payload"],
          [Deposited.make({ account: "a", cents: 0.5 }), "/payload/cents"]
        ] as const
        for (const [draft, place] of drafts) {
          const error = yield* Effect.flip(ledger.appendAll([deposit("a", 1), draft]))
          assertLike(error, { _tag: "DraftInvalid", index: 1, path: place })
        }
        assert.strictEqual((yield* ledger.head).seq, 0)
        yield* ledger.append({ type: Deposited.type, payload: { account: "a", cents: 5 } })
        const read = yield* Stream.runCollect(ledger.events({ kinds }))
        assert.deepStrictEqual(
          read.map(({ payload }) => payload.cents),
          [5]
        )
      }).pipe(Effect.provide(TestLedger.layer({ directory, kinds })))
    })
  )

  it.effect("give a draft the keys that its kind does, and refuse it with others", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const Seen = Event.define(
        "host.seen.v1",
        Schema.Struct({ host: Schema.String, rollout: Schema.NullOr(Schema.String) }),
        { keys: ({ host, rollout }) => ({ host, rollout }) }
      )
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        const plain = (payload: object, more: object = {}) =>
          ledger.append({ type: Seen.type, payload, ...more })
        yield* ledger.append(Seen.make({ host: "a", rollout: null }))
        yield* plain({ host: "a", rollout: "r" })
        yield* plain({ host: "a", rollout: "r" }, { keys: { rollout: "r", zone: "z" } })
        const refusals = [
          [plain({ host: "a", rollout: null }, { keys: { host: "b" } }), "/keys/host"],
          [plain({ host: "a", rollout: null, extra: 1 }), "/payload/extra"]
        ] as const
        for (const [appended, place] of refusals) {
          assertLike(yield* Effect.flip(appended), { _tag: "DraftInvalid", path: place })
        }
        const found = yield* Stream.runCollect(ledger.events({ keys: { host: "a" } }))
        assert.deepStrictEqual(
          found.map((event) => event.keys),
          [{ host: "a" }, { host: "a", rollout: "r" }, { host: "a", rollout: "r", zone: "z" }]
        )
        const unchanged = Ledger.noneSince(
          { keys: { rollout: "r" } },
          found[0]?.position ?? Chain.start
        )
        const refused = yield* Effect.flip(
          ledger.append(Seen.make({ host: "b", rollout: null }), { expect: unchanged })
        )
        assertLike(refused, { _tag: "ExpectationFailed", seqs: [2, 3] })
      }).pipe(Effect.provide(TestLedger.layer({ directory, kinds: [Seen] })))
    })
  )

  it.effect("take older versions too, as they are read", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const V1 = Event.define("a.v1", Schema.Struct({ n: Schema.Int }))
      const V2 = Event.define("a.v2", Schema.Struct({ n: Schema.Int, unit: Schema.String }), {
        upcast: [V1, (old) => ({ ...old, unit: "m" })]
      })
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        yield* ledger.append(V1.make({ n: 1 }))
        yield* ledger.append(V2.make({ n: 2, unit: "km" }))
        const read = yield* Stream.runCollect(ledger.events({ kinds: [V2] }))
        assert.deepStrictEqual(
          read.map(({ payload }) => payload.unit),
          ["m", "km"]
        )
      }).pipe(Effect.provide(TestLedger.layer({ directory, kinds: [V2] })))
    })
  )
})
