import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, Fiber, Layer, Scope } from "effect"
import * as Ledger from "../../../src/store/Ledger.ts"
import { Progress } from "../../../src/store/Progress.ts"
import * as Views from "../../../src/store/views/Views.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import {
  balances,
  balancesOf,
  Deposited,
  kinds,
  postings,
  views as declared,
  visits
} from "../bank.ts"
import { assertLike, assertSound } from "../ledgerFixtures.ts"

const by = { operator: "ada", reason: "a wrong turn" }

const many = (count: number) =>
  Array.from({ length: count }, (_, n) => Deposited.make({ account: `a${n % 50}`, cents: 1 + n }))

const fill = Effect.fnUntraced(function* (groups: number) {
  const ledger = yield* Ledger.Ledger
  yield* ledger.appendAll(many(10))
  const first = yield* ledger.checkpoint("ten")
  for (let nth = 0; nth < groups; nth++) yield* ledger.appendAll(many(500))
  return first
})

const isLeftAside = Effect.map(
  Ledger.Ledger.use((ledger) =>
    ledger.query((sql) => sql`SELECT name FROM sqlite_schema WHERE name LIKE 'sealog_aside%'`)
  ),
  (found) => found.length > 0
)

const allDerived = Effect.gen(function* () {
  for (const view of declared) {
    const report = yield* Views.Views.use((all) => all.check(view))
    assert.isTrue(report.isDerived, JSON.stringify(report))
  }
  yield* assertSound(yield* Ledger.Ledger)
  assert.isFalse(yield* isLeftAside)
})

/** Do something once, when a view that is being built has taken some rows, or the last ones. */
const amid =
  <E, R>(what: Effect.Effect<unknown, E, R>, isLast = false) =>
  <A, E2, R2>(building: Effect.Effect<A, E2, R2>) =>
    Effect.gen(function* () {
      const context = yield* Effect.context<R>()
      let isDone = false
      const told = yield* Effect.provideService(building, Progress, ({ done, task, total }) => {
        if (isDone || !task.startsWith("view ") || done === 0) return Effect.void
        if (isLast && done !== total) return Effect.void
        isDone = true
        return Effect.orDie(Effect.provideContext(what, context))
      }).pipe(Effect.exit)
      assert.isTrue(isDone, "nothing was done amid")
      return yield* told
    })

describe("Views that are built aside", () => {
  for (const segmentBytesMax of [undefined, 100_000]) {
    const where = segmentBytesMax === undefined ? "one segment" : "many segments"
    it.effect(`begin again where rows they have not read yet are rolled back, of ${where}`, () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        yield* Effect.gen(function* () {
          const ledger = yield* Ledger.Ledger
          const views = yield* Views.Views
          const first = yield* fill(8)
          const rebuilt = yield* views
            .rebuild(balances)
            .pipe(amid(Effect.andThen(ledger.rollback(first, by), ledger.appendAll(many(3)))))
          assertLike(rebuilt, { seq: 13, stale: null })
          yield* allDerived
          yield* ledger.appendAll(many(500))
          yield* ledger.appendAll(many(500))
          const checked = yield* views.check(postings).pipe(amid(ledger.rollback(first, by)))
          assertLike(checked, { isDerived: true, seq: 10 })
          yield* allDerived
        }).pipe(Effect.provide(TestLedger.layer({ directory, views: declared, segmentBytesMax })))
      })
    )
  }

  it.effect("begin again where the last rows they have taken are rolled back", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        const views = yield* Views.Views
        const first = yield* fill(2)
        const rebuilt = yield* views.rebuild(balances).pipe(amid(ledger.rollback(first, by), true))
        assertLike(rebuilt, { seq: 10, stale: null })
        yield* allDerived
        yield* ledger.appendAll(many(500))
        const checked = yield* views.check(visits).pipe(amid(ledger.rollback(first, by), true))
        assertLike(checked, { isDerived: true, seq: 10 })
        yield* ledger.appendAll(many(5))
        yield* allDerived
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: declared })))
    })
  )

  it.effect("do not take a replay with them that is rolled back meanwhile", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        const first = yield* fill(8)
        const [replayed] = yield* Effect.all(
          [Effect.flip(ledger.replay), ledger.rollback(first, by)],
          { concurrency: "unbounded" }
        )
        assertLike(replayed, { _tag: "MirrorError", operation: "replay" })
        yield* allDerived
      }).pipe(
        Effect.provide(TestLedger.layer({ directory, views: declared, segmentBytesMax: 100_000 }))
      )
    })
  )

  it.effect("leave nothing behind when they are interrupted", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* Effect.gen(function* () {
        const views = yield* Views.Views
        yield* fill(3)
        const reached = yield* Deferred.make<void>()
        const building = yield* Effect.forkChild(
          views
            .rebuild(visits)
            .pipe(amid(Effect.andThen(Deferred.succeed(reached, undefined), Effect.never)))
        )
        yield* Deferred.await(reached)
        yield* Fiber.interrupt(building)
        yield* allDerived
        assertLike(yield* views.rebuild(visits), { seq: 1510 })
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: declared })))
    })
  )

  it.effect("end with the ledger, and the next opening clears what they left", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(
        TestLedger.layer({ directory, views: declared }),
        scope
      )
      const failed = yield* Effect.gen(function* () {
        yield* fill(3)
        return yield* Context.get(context, Views.Views)
          .rebuild(balances)
          .pipe(amid(Scope.close(scope, Exit.void)), Effect.flip)
      }).pipe(Effect.provideContext(context))
      assert.include(["LedgerClosed", "MirrorError"], failed._tag)
      yield* Effect.map(isLeftAside, assert.isFalse).pipe(
        Effect.andThen(allDerived),
        Effect.provide(TestLedger.layer({ directory, views: declared, seed: 2 }))
      )
    })
  )

  it.effect("at an opening that ended amid leave nothing, though nobody declares them again", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* fill(2).pipe(Effect.provide(TestLedger.layer({ directory })))
      const opening = Effect.scoped(Layer.build(TestLedger.layer({ directory, views: declared })))
      const ended = yield* Effect.provideService(opening, Progress, () => Effect.die("gone")).pipe(
        Effect.exit
      )
      assert.isTrue(Exit.isFailure(ended))
      const look = Effect.provide(isLeftAside, Layer.fresh(TestLedger.layer({ directory })))
      assert.isTrue(yield* look)
      yield* Effect.provide(Ledger.Ledger, TestLedger.layer({ directory, views: [balances] }))
      assert.isFalse(yield* look)
    })
  )

  it.effect("take tables over for good from a view that nobody declares any more", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const columns = { account: "TEXT NOT NULL" }
      let isBroken = true
      const wide = Views.effect({
        name: "balances",
        version: 2,
        kinds,
        insertOnly: true,
        tables: { last_visit: { columns, key: ["seq"] } },
        apply: ({ event, payload: { account }, seq }, sql, { last_visit }) =>
          isBroken
            ? Effect.fail("unforeseen")
            : sql`INSERT INTO ${last_visit} ${sql.insert({ seq, event_id: event.id, account })}`
      })
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        yield* ledger.appendAll(many(2))
        yield* ledger.checkpoint("two")
        yield* ledger.appendAll(many(1))
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: [balances, visits] })))
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        const views = yield* Views.Views
        const names = Effect.map(ledger.views, (all) => all.map(({ name }) => name))
        assert.deepStrictEqual(yield* names, ["balances", "visits"])
        isBroken = false
        yield* views.rebuild(wide)
        assert.deepStrictEqual(yield* names, ["balances"])
        yield* ledger.rollback(1, by)
        const report = yield* views.check(wide)
        assert.isTrue(report.isDerived, JSON.stringify(report))
        assert.strictEqual(report.rows, 2)
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: [wide], seed: 2 })))
    })
  )

  it.effect("take no index from a view that stands, where they cannot be built", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const broken = Views.effect({
        name: "balances",
        version: 2,
        kinds,
        tables: {
          postings: { columns: { account: "TEXT" }, key: ["seq"], indexes: [["account"]] }
        },
        apply: () => Effect.fail("unforeseen")
      })
      const open = <A, E>(
        views: ReadonlyArray<(typeof declared)[number] | typeof broken>,
        work: Effect.Effect<A, E, Ledger.Ledger | Views.Views>
      ) => Effect.provide(work, TestLedger.layer({ directory, views, seed: views.length }))
      const opened = Ledger.Ledger.use((ledger) => Effect.succeed(ledger.opened._tag))
      yield* open([balances], fill(0))
      yield* open([balances, postings], opened)
      const failed = yield* open(
        [broken],
        Effect.flip(Views.Views.use((all) => all.rebuild(broken)))
      )
      assertLike(failed, { _tag: "ViewFailed", view: "balances" })
      assert.strictEqual(yield* open([balances, postings], opened), "Clean")
    })
  )

  it.effect("are built one at a time", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* Effect.gen(function* () {
        const views = yield* Views.Views
        yield* fill(2)
        // Both would make the same tables aside.
        const both = yield* Effect.all(
          [views.rebuild(balances), views.check(balances), views.rebuild(balances)],
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          both.map(({ seq }) => seq),
          [1010, 1010, 1010]
        )
        yield* allDerived
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: declared })))
    })
  )

  it.effect("are those that were declared, and no others of their name", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* Effect.gen(function* () {
        const views = yield* Views.Views
        yield* fill(1)
        const refusal = (building: Effect.Effect<unknown, unknown>) =>
          Effect.map(Effect.exit(building), (exit) =>
            Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : "not refused"
          )
        const other = balancesOf(1, { check: "CHECK (cents <> 0)" })
        const said = (how: string) =>
          `RangeError: the view balances was declared in version 1, ${how}`
        assert.strictEqual(yield* refusal(views.check(balancesOf(3))), said("not 3"))
        assert.strictEqual(yield* refusal(views.check(other)), said("with other columns"))
        assert.strictEqual(yield* refusal(views.rebuild(other)), said("with other columns"))
        assertLike(yield* views.check(balancesOf()), { isDerived: true })
        yield* allDerived
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: declared })))
    })
  )
})
