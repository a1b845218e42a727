import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Result, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as Policy from "../../../src/core/Policy.ts"
import * as View from "../../../src/core/View.ts"
import * as Ledger from "../../../src/store/Ledger.ts"
import * as PolicyGate from "../../../src/store/writing/PolicyGate.ts"
import * as Views from "../../../src/store/views/Views.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { balances, balancesOf, deposit, kinds, postings, withdraw, Withdrawn } from "../bank.ts"
import { assertLike, assertSound } from "../ledgerFixtures.ts"

const inTable = (table: string) =>
  Effect.map(
    Ledger.Ledger.use((ledger) =>
      ledger.query((sql) => sql.unsafe<object>(`SELECT * FROM ${table} ORDER BY 1, 2, 3`))
    ),
    (found) => found.map((row) => Object.values(row))
  )

const inBalances = Effect.map(inTable("balances"), (rows) =>
  rows.map(([seq, , account, cents]) => [seq, account, cents])
)

const derived = (...views: ReadonlyArray<View.Declared>) =>
  Effect.forEach(views, (view) =>
    Effect.map(
      Views.Views.use((all) => all.check(view)),
      (report) => assert.isTrue(report.isDerived, JSON.stringify(report))
    )
  )

/** A view of one value for each event, given by `valueOf`. */
const valued = (column: string, valueOf: (cents: number) => unknown, keyed = true) =>
  keyed
    ? View.make({
        name: "valued",
        version: 1,
        kinds,
        row: Schema.Struct({ k: Schema.String, v: Schema.Any }),
        columns: { k: "TEXT NOT NULL", v: column },
        key: ["k"],
        keysOf: ({ payload: { account: k } }) => [{ k }],
        fold: (_row, { payload: { cents } }, key) => ({ ...key, v: valueOf(cents) })
      })
    : View.perEvent({
        name: "valued",
        version: 1,
        kinds,
        row: Schema.Struct({ v: Schema.Any }),
        columns: { v: column },
        rowsOf: ({ payload: { cents } }) => [{ v: valueOf(cents) }]
      })

describe("Folding", () => {
  it.effect("blames the append whose row its table does not take, not one that mends it", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const view = balancesOf(1, { check: "CHECK (cents >= 0)" })
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        const answers = yield* Effect.all(
          [withdraw("a", 5), deposit("b", 1), deposit("a", 10)].map((draft) =>
            Effect.result(ledger.append(draft))
          ),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          answers.map(({ _tag }) => _tag),
          ["Failure", "Success", "Success"]
        )
        assert.deepStrictEqual(yield* inBalances, [
          [1, "b", 1],
          [2, "a", 10]
        ])
        // One append is all or nothing, and its first row is the one to blame.
        const failed = yield* Effect.flip(
          ledger.appendAll([deposit("c", 1), withdraw("c", 5), deposit("c", 10)])
        )
        assertLike(failed, { _tag: "ViewFailed", index: 1, seq: 4 })
        yield* derived(view)
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: [view] })))
    })
  )

  it.effect("takes the same of a history however its events are grouped", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const view = balancesOf(1, { check: "CHECK (cents >= 0)" })
      const drafts = [deposit("a", 1), withdraw("a", 5), deposit("a", 10)]
      yield* Ledger.Ledger.use((ledger) => ledger.appendAll(drafts)).pipe(
        Effect.provide(TestLedger.layer({ directory }))
      )
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        assertLike((yield* ledger.views)[0]?.stale ?? {}, { since: 2 })
        assert.deepStrictEqual(yield* inBalances, [[1, "a", 1]])
        const failed = yield* Effect.flip(Views.Views.use((all) => all.rebuild(view)))
        assertLike(failed, { _tag: "ViewFailed", seq: 2 })
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: [view], seed: 2 })))
    })
  )

  const unfit: ReadonlyArray<readonly [column: string, value: unknown]> = [
    ["TEXT", 5],
    ["TEXT NOT NULL", null],
    ["text", 5],
    ["INTEGER", "5"],
    ["INT", "5"],
    ["INTEGER", 0.5],
    ["INTEGER NOT NULL", null],
    ["REAL", "5"],
    ["REAL NOT NULL", null],
    ["REAL", Number.POSITIVE_INFINITY],
    ["TEXT CHECK (true)", 5],
    ["INTEGER CHECK (v IS NOT NULL)", "5"],
    ["BLOB", "5"],
    ["TEXT", "a\0b"],
    ["TEXT", "\ud800"],
    ["TEXT", true],
    ["ANY NOT NULL", null],
    ["INTEGER", 2 ** 53]
  ]
  for (const [column, value] of unfit) {
    for (const keyed of [true, false]) {
      const of = keyed ? "key" : "event"
      it.effect(`refuses ${JSON.stringify(value)} in ${column}, in a row of each ${of}`, () =>
        Effect.gen(function* () {
          const directory = yield* TestLedger.directory
          const view = valued(column, (cents) => (cents === 0 ? value : cents), keyed)
          const fits = /int|real|any/i.test(column)
          yield* Effect.gen(function* () {
            const ledger = yield* Ledger.Ledger
            // What comes after it in the group does not hide it.
            const failed = yield* Effect.flip(
              ledger.appendAll([deposit("a", 0), ...(fits ? [deposit("a", 7)] : [])])
            )
            assertLike(failed, { _tag: "ViewFailed", index: 0, seq: 1 })
            if (failed._tag === "ViewFailed") {
              assert.instanceOf(failed.cause, View.ViewRowInvalid)
            }
          }).pipe(Effect.provide(TestLedger.layer({ directory, views: [view] })))
        })
      )
    }
  }

  const kept: ReadonlyArray<readonly [column: string, value: string | number | null]> = [
    ["TEXT", ""],
    ["TEXT", `it's "quoted" \u{1f600} -- \\ ; \u0001`],
    ["TEXT", "5.0"],
    ["TEXT NULL", null],
    ["INTEGER NOT NULL", 2 ** 53 - 1],
    ["INTEGER", -(2 ** 53 - 1)],
    ["REAL", 5],
    ["REAL", 5e-324],
    ["REAL", 2 ** 60],
    ["ANY", 1],
    ["ANY", "1"],
    ["INTEGER DEFAULT 3", null],
    ["TEXT COLLATE NOCASE", "A"],
    ["TEXT CHECK (v <> 'a,b')", "b"]
  ]
  for (const [column, value] of kept) {
    it.effect(`keeps ${JSON.stringify(value)} in ${column} as it is`, () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        const view = valued(column, () => value)
        yield* Effect.gen(function* () {
          yield* Ledger.Ledger.use((ledger) => ledger.append(deposit("a", 1)))
          assert.deepStrictEqual(
            (yield* inTable("valued")).map((row) => row[3]),
            [value]
          )
          yield* derived(view)
        }).pipe(Effect.provide(TestLedger.layer({ directory, views: [view] })))
      })
    )
  }

  it.effect("has one zero, whichever group a row comes from", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const view = View.make({
        name: "zeros",
        version: 1,
        kinds,
        row: Schema.Struct({ k: Schema.Finite, v: Schema.String }),
        columns: { k: "REAL NOT NULL", v: "TEXT NOT NULL" },
        key: ["k"],
        keysOf: ({ payload: { cents } }) => [{ k: cents === 0 ? -0 : cents }],
        fold: (row, _e, { k }) => ({ k, v: row === undefined ? "" : String(1 / row.k) })
      })
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        yield* ledger.appendAll([deposit("a", 0), deposit("b", 0)])
        assert.deepStrictEqual(
          (yield* inTable("zeros")).map((row) => row.slice(2)),
          [[0, "Infinity"]]
        )
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: [view] })))
    })
  )

  it.effect("tells keys apart as SQL does, or is not declared", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const of = (column: string) =>
        View.make({
          name: "told",
          version: 1,
          kinds,
          row: Schema.Struct({ k: Schema.Union([Schema.String, Schema.Number]), n: Schema.Int }),
          columns: { k: column, n: "INTEGER NOT NULL" },
          key: ["k"],
          keysOf: ({ payload: { account, cents } }) => [{ k: cents }, { k: account }],
          fold: (row, _e, { k }) => ({ k, n: (row?.n ?? 0) + 1 })
        })
      for (const column of [
        "TEXT COLLATE NOCASE",
        "TEXT NOT NULL collate RTRIM",
        'ANY COLLATE "nocase"'
      ]) {
        assert.throws(() => of(column), RangeError, "COLLATE")
      }
      const view = of("ANY")
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        yield* ledger.append(deposit("1", 1))
        yield* ledger.appendAll([deposit("1", 2), deposit("1.0", 1)])
        assert.deepStrictEqual(
          (yield* inTable("told")).map((row) => JSON.stringify(row.slice(2))).toSorted(),
          ['["1",2]', '["1.0",1]', "[1,2]", "[2,1]"]
        )
        yield* derived(view)
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: [view] })))
    })
  )

  it("has no table that refers to another one of a view, which is made anew by itself", () => {
    const of = (column: string) =>
      Views.effect({
        name: "family",
        version: 1,
        kinds,
        tables: {
          parents: { columns: { id: "TEXT NOT NULL" }, key: ["id"] },
          children: { columns: { parent: column }, key: ["seq"] }
        },
        apply: () => Effect.void
      })
    for (const column of ["TEXT REFERENCES parents (id)", 'TEXT references "parents"']) {
      assert.throws(() => of(column), RangeError, "refer")
    }
    of("TEXT NULL REFERENCES events (id)")
    of('TEXT NULL REFERENCES "events" (id)')
  })

  it.effect("cannot change the event that is written", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      for (const what of ["recordedAt", "source", "keys"]) {
        const view = View.perEvent({
          name: "changing",
          version: 1,
          kinds,
          row: Schema.Struct({ a: Schema.String }),
          columns: { a: "TEXT NOT NULL" },
          rowsOf: ({ event }) => {
            if (event.payloadText.includes("bad")) {
              Object.assign(what === "recordedAt" ? event : (Reflect.get(event, what) ?? {}), {
                recordedAt: "1970-01-01T00:00:09Z"
              })
            }
            return [{ a: event.recordedAt }]
          }
        })
        yield* Effect.gen(function* () {
          const ledger = yield* Ledger.Ledger
          yield* ledger.append(deposit("a", 1))
          const failed = yield* Effect.flip(ledger.append(deposit("bad", 1)))
          assertLike(failed, { _tag: "ViewFailed", view: "changing" })
          yield* ledger.append(deposit("b", 1))
          yield* assertSound(ledger)
        }).pipe(
          Effect.provide(TestLedger.layer({ directory: `${directory}/${what}`, views: [view] }))
        )
      }
    })
  )

  it.effect("folds a key twice that an event names twice, and hundreds of them", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const view = View.make({
        name: "many",
        version: 1,
        kinds,
        row: Schema.Struct({ a: Schema.String, b: Schema.Int, n: Schema.Int }),
        columns: { a: "TEXT NOT NULL", b: "INTEGER NOT NULL", n: "INTEGER NOT NULL" },
        key: ["a", "b"],
        keysOf: ({ payload: { account: a, cents } }) =>
          Array.from({ length: cents }, (_, b) => [
            { a, b },
            { a, b }
          ]).flat(),
        fold: (row, _e, key) => ({ ...key, n: (row?.n ?? 0) + 1 })
      })
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        yield* ledger.append(deposit("a", 777))
        yield* ledger.append(deposit("a", 1))
        const counts = (yield* inTable("many")).map((row) => row[4])
        assert.deepStrictEqual([counts.length, Math.min(...counts.map(Number))], [777, 2])
        assert.strictEqual(Math.max(...counts.map(Number)), 4)
        yield* derived(view)
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: [view] })))
    })
  )

  it.effect("of an effect is checked whatever its columns hold", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      let isOther = false
      const view = Views.effect({
        name: "raw",
        version: 1,
        kinds,
        tables: {
          raw: { columns: { b: "BLOB NOT NULL", n: "INTEGER NOT NULL" }, key: ["b", "n"] }
        },
        apply: ({ event: { id }, seq }, sql, { raw }) =>
          sql`INSERT INTO ${raw} (seq, event_id, b, n)
            VALUES (${seq}, ${id}, ${new Uint8Array([seq, isOther ? 1 : 0])}, 9007199254740993)`
      })
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        yield* ledger.append(deposit("a", 777))
        yield* ledger.append(deposit("a", 1))
        yield* derived(view)
        isOther = true
        const report = yield* Views.Views.use((all) => all.check(view))
        assertLike(report, { isDerived: false, differenceCount: 4, rows: 4 })
        assertLike(report.differences.find(({ actual }) => actual !== null)?.actual ?? {}, {
          b: "x'0100'",
          n: "9007199254740993"
        })
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: [view] })))
    })
  )

  it.effect("of an effect that reads a number too large for JavaScript fails that view alone", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* Ledger.Ledger.use((ledger) => ledger.append(deposit("a", 1))).pipe(
        Effect.provide(TestLedger.layer({ directory }))
      )
      const view = Views.effect({
        name: "large",
        version: 1,
        kinds,
        tables: { large: { columns: { n: "INTEGER NOT NULL" }, key: ["seq"] } },
        apply: (_e, sql) => sql`SELECT 9007199254740993 AS n`
      })
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        assertLike((yield* ledger.views)[0]?.stale ?? {}, { since: 1 })
        yield* ledger.append(deposit("a", 1))
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: [view], seed: 2 })))
    })
  )

  it.effect("of an effect ends with its event, whatever it leaves running", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const late = yield* Deferred.make<void>()
      const view = Views.effect({
        name: "late",
        version: 1,
        kinds,
        tables: { late: { columns: { n: "INTEGER NOT NULL" }, key: ["seq", "n"] } },
        apply: ({ event: { id }, seq }, sql, tables) => {
          const insert = (n: number) =>
            sql`INSERT INTO ${tables.late} ${sql.insert({ seq, event_id: id, n })}`
          const after = Effect.andThen(Deferred.await(late), insert(2))
          return Effect.gen(function* () {
            yield* insert(1)
            running.push(yield* Effect.forkDetach(after))
          })
        }
      })
      const running: Array<Fiber.Fiber<unknown, unknown>> = []
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        yield* ledger.appendAll([deposit("a", 1), deposit("b", 1)])
        yield* Deferred.succeed(late, undefined)
        const ends = yield* Effect.forEach(running, (fiber) => Effect.exit(Fiber.join(fiber)))
        assert.deepStrictEqual(
          ends.map(({ _tag }) => _tag),
          ["Failure", "Failure"]
        )
        assert.strictEqual((yield* inTable("late")).length, 2)
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: [view] })))
    })
  )

  it.effect("of an effect may take back a part of what it did", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const view = Views.effect({
        name: "careful",
        version: 1,
        kinds,
        tables: { careful: { columns: { part: "TEXT" }, key: ["part", "seq"] } },
        apply: ({ event, payload: { cents }, seq }, sql, { careful }) => {
          const put = (part: string) =>
            sql`INSERT INTO ${careful} ${sql.insert({ seq, event_id: event.id, part })}`
          const doubted = cents > 1 ? Effect.fail("too much" as const) : Effect.void
          return Effect.andThen(
            put("all"),
            sql.withTransaction(Effect.andThen(put("some"), doubted)).pipe(
              Effect.catchIf(
                (error) => error === "too much",
                () => Effect.void
              )
            )
          )
        }
      })
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        yield* ledger.appendAll([deposit("a", 1), deposit("b", 2)])
        assert.deepStrictEqual(
          (yield* inTable("careful")).map(([seq, , part]) => [seq, part]),
          [
            [1, "all"],
            [1, "some"],
            [2, "all"]
          ]
        )
        yield* derived(view)
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: [view] })))
    })
  )

  it.effect("of an effect that appends to its own ledger fails, and does not wait for itself", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      let own: Ledger.Ledger["Service"] | undefined
      const view = Views.effect({
        name: "selfish",
        version: 1,
        kinds,
        tables: { selfish: { columns: { a: "TEXT" }, key: ["seq"] } },
        apply: () => (own === undefined ? Effect.void : own.append({ type: "other.v1" }))
      })
      yield* Ledger.Ledger.use((ledger) => ledger.append(deposit("a", 1))).pipe(
        Effect.provide(TestLedger.layer({ directory }))
      )
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        own = ledger
        const refused = { _tag: "ViewFailed", view: "selfish" }
        assertLike(yield* Effect.flip(ledger.append(deposit("a", 1))), refused)
        const views = yield* Views.Views
        assertLike(yield* Effect.flip(views.rebuild(view)), { ...refused, seq: 1 })
        yield* ledger.append({ type: "other.v1" })
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: [view], seed: 2 })))
    })
  )

  for (const isDeaf of [false, true]) {
    const how = isDeaf ? "and is not to be interrupted" : "for ever"
    it.effect(`of an effect that waits ${how} has failed at its event, wherever it is asked`, () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        let hangsAt = 2
        let asked = yield* Deferred.make<void>()
        const view = Views.effect({
          name: "idle",
          version: 1,
          kinds,
          tables: { idle: { columns: { n: "INTEGER NOT NULL" }, key: ["seq", "n"] } },
          apply: ({ event: { id }, seq }, sql, tables) => {
            const insert = sql`INSERT INTO ${tables.idle} ${sql.insert({ seq, event_id: id, n: 1 })}`
            if (seq !== hangsAt) return insert
            // In a transaction of its own, which it leaves open.
            const hangs = Effect.andThen(insert, Deferred.succeed(asked, undefined)).pipe(
              Effect.andThen(Effect.never),
              sql.withTransaction
            )
            return isDeaf ? Effect.uninterruptible(hangs) : hangs
          }
        })
        /** Let the time pass that the view has. */
        const outlasting = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
          Effect.gen(function* () {
            asked = yield* Deferred.make<void>()
            const fiber = yield* Effect.forkChild(effect)
            yield* Deferred.await(asked)
            yield* TestClock.adjust("5 seconds")
            return yield* Fiber.join(fiber)
          })
        const reason = "it took more than 5000 ms"
        yield* Effect.gen(function* () {
          const ledger = yield* Ledger.Ledger
          yield* ledger.append(deposit("a", 1))
          const all = Effect.forEach(
            [deposit("a", 2), { type: "other.v1" }],
            (draft) => Effect.result(ledger.append(draft)),
            { concurrency: "unbounded" }
          )
          const [failed, passed] = yield* outlasting(all)
          assert(failed !== undefined && Result.isFailure(failed))
          assertLike(failed.failure, { _tag: "ViewFailed", view: "idle", seq: 2 })
          assert.include(String(failed.failure.cause), reason)
          assert.strictEqual(passed?._tag, "Success")
          // What it hangs at lies two rows further on, so that the log can hold it.
          yield* ledger.append(deposit("a", 3))
          const { rebuild } = yield* Views.Views
          hangsAt = 3
          const refused = yield* outlasting(Effect.flip(rebuild(view)))
          assertLike(refused, { _tag: "ViewFailed", view: "idle", seq: 3 })
          assert.include(String(refused.cause), reason)
          yield* ledger.append(deposit("a", 4))
          hangsAt = 0
          yield* rebuild(view)
          assert.deepStrictEqual(
            (yield* inTable("idle")).map(([seq]) => seq),
            [1, 3, 4]
          )
          yield* assertSound(ledger)
        }).pipe(Effect.provide(TestLedger.layer({ directory, views: [view] })))
        hangsAt = 3
        const other = { ...view, version: 2 }
        const opened = Ledger.Ledger.use((ledger) =>
          Effect.gen(function* () {
            assertLike((yield* ledger.views)[0]?.stale ?? {}, { since: 3 })
            assert.include((yield* ledger.views)[0]?.stale?.reason ?? "", reason)
            yield* ledger.append(deposit("a", 5))
            yield* assertSound(ledger)
          })
        )
        yield* outlasting(
          Effect.provide(opened, TestLedger.layer({ directory, views: [other], seed: 2 }))
        )
      })
    )
  }

  for (const sql of ["COMMIT", "ROLLBACK", "COMMIT; BEGIN", "COMMIT; BEGIN IMMEDIATE"]) {
    it.effect(`leaves nothing behind of a group whose gate says ${sql}`, () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        const gate = PolicyGate.gate({ id: "g", kinds: [Withdrawn], views: [balances] }, (_d, db) =>
          Effect.as(
            Effect.forEach(sql.split("; "), (text) => db.unsafe(text), { discard: true }),
            Policy.allow("ok")
          )
        )
        const views = [balances, postings]
        yield* Effect.gen(function* () {
          const ledger = yield* Ledger.Ledger
          yield* ledger.append(deposit("a", 1))
          yield* Effect.all(
            [deposit("a", 10), withdraw("a", 1)].map((draft) => Effect.exit(ledger.append(draft))),
            { concurrency: "unbounded" }
          )
        }).pipe(Effect.provide(TestLedger.layer({ directory, views, rules: [gate] })))
        yield* Effect.gen(function* () {
          const ledger = yield* Ledger.Ledger
          yield* ledger.append(deposit("b", 5))
          yield* derived(...views)
          yield* assertSound(ledger)
          yield* derived(...views)
        }).pipe(Effect.provide(TestLedger.layer({ directory, views, seed: 2 })))
      })
    )
  }
})
