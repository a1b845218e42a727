/**
 * Views whose work is struck at any of its statements: whatever fails, or dies, there is no moment
 * after which a view holds anything but what its events make.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer } from "effect"
import type * as View from "../../../src/core/View.ts"
import * as Ledger from "../../../src/store/Ledger.ts"
import { ReadSql } from "../../../src/store/mirror/ReadSql.ts"
import * as Views from "../../../src/store/views/Views.ts"
import type { Fault } from "../../../src/testing/FaultyDisk.ts"
import * as FaultyDisk from "../../../src/testing/FaultyDisk.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { balancesOf, deposit, postings, visits, Withdrawn } from "../bank.ts"
import { assertLike, assertSound } from "../ledgerFixtures.ts"

const by = { operator: "ada", reason: "a wrong turn" }
const viewsOf = (version: number) => [balancesOf(version), postings, visits] as const

const fill = Effect.gen(function* () {
  const ledger = yield* Ledger.Ledger
  yield* ledger.appendAll([deposit("a", 1), deposit("b", 2)])
  yield* ledger.checkpoint("two")
  yield* ledger.appendAll([deposit("a", 3), Withdrawn.make({ account: "b", cents: 2 })])
})

/** Views that take events are what their events make, and say that they are at the head. */
const check = (version: number) =>
  Effect.gen(function* () {
    const ledger = yield* Ledger.Ledger
    const views = yield* Views.Views
    const { seq } = yield* ledger.head
    for (const status of yield* ledger.views) {
      if (status.stale === null) assert.strictEqual(status.seq, seq, JSON.stringify(status))
      const view = viewsOf(version).find(({ name }) => name === status.name)
      if (view === undefined || status.stale !== null) continue
      const report = yield* views.check(view)
      assert.isTrue(report.isDerived, JSON.stringify(report))
    }
    return seq
  })

const works: {
  readonly [what: string]: {
    /** The version of `balances` that it is done with. */
    readonly version: number
    readonly work: Effect.Effect<unknown, unknown, Ledger.Ledger | Views.Views>
    /** What readers may see of `a`, whose balance no later append changes; anything where left out. */
    readonly balances?: ReadonlyArray<number>
  }
} = {
  "an append": {
    version: 1,
    work: Ledger.Ledger.use((ledger) => ledger.append(deposit("a", 7)))
  },
  "making one anew": {
    version: 1,
    balances: [4],
    work: Views.Views.use((views) => views.rebuild(viewsOf(1)[0]))
  },
  "opening after a change": { version: 2, balances: [4], work: Effect.void },
  "a rollback": {
    version: 1,
    balances: [4, 1],
    work: Ledger.Ledger.use((ledger) => ledger.rollback(1, by))
  },
  "making the mirror anew": { version: 1, work: Ledger.Ledger.use((ledger) => ledger.rebuild(by)) }
}

const hows: ReadonlyArray<Fault> = [
  { code: "SQLITE_FULL" },
  { code: "SQLITE_IOERR" },
  { vanishes: true },
  { crash: "kill" },
  { crash: "powerCut", during: true }
]

const on = ["statement", "commit"] as const

/** What readers of another process see of `a`. */
const seen = (disk: FaultyDisk.FaultyDisk) =>
  ReadSql.use(
    (sql) => sql<{ readonly cents: number }>`SELECT cents FROM balances WHERE account = 'a'`
  ).pipe(Effect.provide(Layer.fresh(disk.openMirror.reading("/ledger/mirror.sqlite"))))

/** Do the work with a fault at its nth statement; whether the fault struck. */
const struckAt = ({ balances, version, work }: (typeof works)[string], how: Fault, nth: number) =>
  Effect.gen(function* () {
    const disk = yield* FaultyDisk.make({ seed: nth })
    yield* Effect.exit(fill).pipe(Effect.provide(TestLedger.layer({ disk, views: viewsOf(1) })))
    yield* disk.fail({ ...how, on, nth })
    const body = Effect.gen(function* () {
      yield* Effect.exit(work)
      yield* disk.mend
      // What goes on goes on with sound views.
      const went = yield* Ledger.Ledger.use((ledger) => Effect.exit(ledger.append(deposit("c", 1))))
      if (Exit.isSuccess(went)) yield* check(version)
    })
    const ran = yield* Effect.exit(
      Effect.provide(body, TestLedger.layer({ disk, views: viewsOf(version) }))
    )
    const struck = yield* disk.struck
    const isDead = (yield* disk.deaths).length > 0
    yield* disk.mend
    // Of a mirror that is lost nothing stands.
    const isLost = "crash" in how && how.crash === "powerCut"
    if (balances !== undefined && !isLost) {
      const rows = yield* seen(disk)
      assert.strictEqual(rows.length, 1, `nth ${nth}`)
      assert.include(balances, rows[0]?.cents, `nth ${nth}`)
    }
    yield* Effect.gen(function* () {
      const ledger = yield* Ledger.Ledger
      yield* check(version)
      yield* ledger.append(deposit("d", 1))
      yield* check(version)
      yield* assertSound(ledger)
      assert.deepStrictEqual(
        (yield* ledger.views).filter(({ stale }) => stale !== null),
        []
      )
    }).pipe(Effect.provide(TestLedger.layer({ disk, views: viewsOf(version) })))
    const isAssertion = Exit.isFailure(ran) && String(ran.cause).includes("AssertionError")
    if (isAssertion && !isDead) assert.fail(`nth ${nth}: ${String(ran.cause)}`)
    return struck > 0
  }).pipe(Effect.scoped)

/** Every so many statements: with 1 it takes minutes. */
const step = 11

describe("Views are sound after a fault in", () => {
  for (const [what, work] of Object.entries(works)) {
    for (const [place, how] of hows.entries()) {
      it.effect(`${what}: ${JSON.stringify(how)}`, () =>
        Effect.gen(function* () {
          for (let nth = 1 + (place % step); ; nth += step) {
            const isStruck = yield* Effect.mapError(struckAt(work, how, nth), (error) => ({
              nth,
              error
            }))
            if (!isStruck) return
          }
        })
      )
    }
  }
})

describe("A rollback that cannot take a view back", () => {
  it.effect("for the disk's sake is finished by the next opening, and sets no view aside", () =>
    Effect.gen(function* () {
      const disk = yield* FaultyDisk.make({ seed: 1 })
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        yield* fill
        yield* disk.fail({ code: "SQLITE_FULL", on: "statement", path: 'EXISTS "balances"' })
        const failed = yield* Effect.flip(ledger.rollback(1, by))
        assert.strictEqual(failed._tag, "OperationFailed")
        yield* disk.mend
      }).pipe(Effect.provide(TestLedger.layer({ disk, views: viewsOf(1) })))
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        assert.strictEqual(yield* check(1), 2)
        assert.isTrue((yield* ledger.views).every(({ stale }) => stale === null))
      }).pipe(Effect.provide(TestLedger.layer({ disk, views: viewsOf(1) })))
    })
  )
})

describe("Views that were put in their place", () => {
  const state = { isBroken: false }
  const meet = ({ payload }: { readonly payload: { readonly account: string } }) => {
    if (state.isBroken && payload.account === "bad") throw new Error("no such account")
  }
  const [view, next] = [balancesOf(1, { meet }), balancesOf(2, { meet })]
  const works: {
    readonly [what: string]: {
      readonly declared: readonly [ReadonlyArray<View.View>, ReadonlyArray<View.View>]
      readonly work: Effect.Effect<unknown, unknown, Ledger.Ledger | Views.Views>
      readonly isMended: boolean
    }
  } = {
    "on request": {
      declared: [[], [view]],
      work: Views.Views.use((all) => all.rebuild(view)),
      isMended: true
    },
    "by a rollback": {
      declared: [[balancesOf(1)], [next]],
      work: Ledger.Ledger.use((ledger) => ledger.rollback(1, by)),
      isMended: false
    }
  }
  for (const [what, { declared, isMended, work }] of Object.entries(works)) {
    it.effect(`${what} take events, though nobody could look at them then`, () =>
      Effect.gen(function* () {
        const [before, after] = declared
        for (let nth = 1; ; nth++) {
          const disk = yield* FaultyDisk.make({ seed: nth })
          state.isBroken = false
          yield* Effect.gen(function* () {
            const ledger = yield* Ledger.Ledger
            yield* ledger.append(deposit("a", 1))
            yield* ledger.checkpoint("one")
            yield* ledger.append(deposit("bad", 1))
          }).pipe(Effect.provide(TestLedger.layer({ disk, views: before })))
          state.isBroken = true
          yield* Effect.gen(function* () {
            const ledger = yield* Ledger.Ledger
            assert.include(JSON.stringify(ledger.opened), "no such account")
            if (isMended) state.isBroken = false
            const path = "FROM sealog_views"
            yield* disk.fail({ code: "SQLITE_IOERR", on: "statement", path, nth })
            yield* Effect.exit(work)
            yield* disk.mend
            const went = yield* Effect.exit(ledger.append(deposit("b", 1)))
            if (Exit.isFailure(went)) return
            const { seq } = yield* ledger.head
            const [known] = yield* ledger.query(
              (sql) => sql<{ readonly [column: string]: unknown }>`
                SELECT version, seq, stale_since FROM sealog_views`
            )
            const [only] = after
            if (known?.["version"] !== only?.version || known?.["stale_since"] !== null) return
            assert.strictEqual(known["seq"], seq, `nth ${nth}`)
            assertLike((yield* ledger.views)[0], { seq, stale: null })
          }).pipe(Effect.provide(TestLedger.layer({ disk, views: after, seed: 2 })))
          if ((yield* disk.struck) === 0) return
        }
      })
    )
  }
})
