/** What a gate is lent: reading inside the writer's transaction, for as long as it is asked. */
import { assert, describe, it } from "@effect/vitest"
import type { Scope } from "effect"
import { Deferred, Effect, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import * as Policy from "../../../src/core/Policy.ts"
import { Ledger } from "../../../src/store/Ledger.ts"
import { forbidden } from "../../../src/store/mirror/lending.ts"
import * as Views from "../../../src/store/views/Views.ts"
import * as PolicyGate from "../../../src/store/writing/PolicyGate.ts"
import * as FaultyDisk from "../../../src/testing/FaultyDisk.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { balances, deposit, withdraw, Withdrawn } from "../bank.ts"
import { assertLike, assertSound } from "../ledgerFixtures.ts"

type Ask = (
  draft: PolicyGate.RuleDraft,
  sql: SqlClient.SqlClient
) => Effect.Effect<Policy.Vote, SqlError>

/** A ledger whose gate on withdrawals asks this. */
const gated = <A, E>(ask: Ask, use: (ledger: Ledger["Service"]) => Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const directory = yield* TestLedger.directory
    const gate = PolicyGate.gate(
      { id: "g", types: [Withdrawn.type], views: [balances] },
      (draft, sql) => ask(draft, sql)
    )
    return yield* Ledger.use(use).pipe(
      Effect.provide(TestLedger.layer({ directory, views: [balances], rules: [gate] }))
    )
  })

const ok = Policy.allow("ok")

const traces = (ledger: Ledger["Service"]) =>
  Effect.map(
    ledger.query(
      (sql) => sql<{ readonly n: number }>`
      SELECT count(*) AS n FROM events WHERE trace_id IS NOT NULL`
    ),
    ([row]) => row?.n
  )

describe("A gate", () => {
  it.effect("costs no statement where it is not asked", () =>
    Effect.gen(function* () {
      const gate = PolicyGate.gate({ id: "g", kinds: [Withdrawn], views: [balances] }, () =>
        Effect.succeed(ok)
      )
      const statements = Effect.fnUntraced(function* (
        rules: ReadonlyArray<PolicyGate.Rule>,
        drafts: ReadonlyArray<ReturnType<typeof deposit> | ReturnType<typeof withdraw>>
      ) {
        const disk = yield* FaultyDisk.make({ seed: 1 })
        return yield* Effect.gen(function* () {
          const ledger = yield* Ledger
          yield* ledger.append(deposit("a", 1))
          const before = (yield* disk.operations).length
          yield* ledger.appendAll(drafts)
          return (yield* disk.operations).slice(before).map(({ name, path }) => [name, path])
        }).pipe(Effect.provide(TestLedger.layer({ disk, views: [balances], rules })))
      })
      const deposits = [deposit("a", 1), deposit("b", 2), deposit("a", 3)]
      const alone = yield* statements([], deposits)
      assert.deepStrictEqual(yield* statements([gate], deposits), alone)
      const asked = yield* statements([gate], [...deposits, withdraw("a", 1)])
      assert.isAbove(asked.length, alone.length)
    }).pipe(Effect.scoped)
  )

  it.effect("reads in transactions of its own", () =>
    gated(
      (_, sql) =>
        sql<{ readonly cents: number }>`SELECT cents FROM balances`.pipe(
          sql.withTransaction,
          Effect.map(([row]) => (row?.cents === 5 ? ok : Policy.reject("not 5")))
        ),
      (ledger) => ledger.appendAll([deposit("a", 5), withdraw("a", 5)])
    )
  )

  for (const text of ["COMMIT", "ROLLBACK", "PRAGMA foreign_keys = OFF", "DELETE FROM events"]) {
    it.effect(`is refused ${text}, and the ledger goes on`, () =>
      gated(
        (_, sql) => Effect.as(sql.unsafe(text), ok),
        (ledger) =>
          Effect.gen(function* () {
            const [first, refused, last] = yield* Effect.all(
              [deposit("a", 5), withdraw("a", 1), deposit("b", 5)].map((draft) =>
                Effect.result(ledger.append(draft))
              ),
              { concurrency: "unbounded" }
            )
            assert.deepStrictEqual([first?._tag, last?._tag], ["Success", "Success"])
            assert.include(String(refused), "is not for a gate, which only reads")
            assert.strictEqual((yield* ledger.head).seq, 2)
            yield* assertSound(ledger)
          })
      )
    )
  }

  it.effect("that hides a write where it is not read keeps nothing of it", () => {
    // A name in SQLite may hold whatever stands between parentheses.
    const text = `WITH a AS (SELECT $x(')) UPDATE events SET trace_id = id WHERE ''=''`
    assert.isUndefined(forbidden(text, []))
    return gated(
      (_, sql) => Effect.as(sql.unsafe(text), ok),
      (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(deposit("a", 5))
          const refused = yield* Effect.flip(ledger.append(withdraw("a", 1)))
          assertLike(refused, { _tag: "MirrorError" })
          assert.include(String(refused.cause), "has written")
          assert.strictEqual(yield* traces(ledger), 0)
          yield* ledger.append(deposit("b", 5))
          yield* assertSound(ledger)
        })
    )
  })

  it.effect(
    "that reserves a connection gets its own, and the ledger does not wait for itself",
    () => {
      const reserved = (sql: SqlClient.SqlClient, text: string) =>
        Effect.scoped(
          Effect.flatMap(sql.reserve, (connection) => connection.execute(text, [], undefined))
        )
      return gated(
        ({ payload }, sql) =>
          Effect.map(
            reserved(sql, payload === null ? "DELETE FROM events" : "SELECT id FROM events"),
            (rows) => (rows.length === 1 ? ok : Policy.reject("not one"))
          ),
        (ledger) =>
          Effect.gen(function* () {
            yield* ledger.append(deposit("a", 5))
            assert.strictEqual((yield* ledger.append(withdraw("a", 1))).seq, 2)
            const refused = yield* Effect.flip(
              ledger.append({ type: Withdrawn.type, payload: null })
            )
            assert.include(String(refused), "is not for a gate")
          })
      )
    }
  )

  it.effect("leaves nobody behind who could write later", () =>
    Effect.gen(function* () {
      const asked = yield* Deferred.make<void>()
      let left: Fiber.Fiber<unknown, unknown> | undefined
      const later = (sql: SqlClient.SqlClient) =>
        Effect.andThen(Deferred.await(asked), sql`SELECT id FROM events`)
      yield* gated(
        (_, sql) =>
          Effect.map(Effect.forkDetach(later(sql)), (fiber) => {
            left = fiber
            return ok
          }),
        (ledger) =>
          Effect.gen(function* () {
            yield* ledger.append(withdraw("a", 1))
            yield* Deferred.succeed(asked, undefined)
            assert.isDefined(left)
            if (left === undefined) return
            assert.include(String(yield* Effect.flip(Fiber.join(left))), "after its event")
          })
      )
    })
  )

  it.effect("that leaves a stream open keeps no table from being made anew", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const left: Array<Effect.Effect<unknown, unknown>> = []
      // Its scope is that of the layer: the stream is not closed before the ledger is.
      const gate = PolicyGate.gate<Scope.Scope, typeof Withdrawn>(
        { id: "g", kinds: [Withdrawn], views: [balances] },
        (_, sql) =>
          Effect.gen(function* () {
            const pull = yield* Stream.toPull(
              sql`SELECT a.id FROM events a, events b, events c`.stream
            )
            yield* Effect.ignore(pull)
            left.push(pull)
            return ok
          })
      )
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger
        yield* ledger.appendAll(Array.from({ length: 9 }, (_, n) => deposit(`a${n}`, 1)))
        yield* ledger.append(withdraw("a1", 1))
        assert.strictEqual((yield* Views.Views.use((views) => views.rebuild(balances))).seq, 10)
        const [pull] = left
        assert.isDefined(pull)
        if (pull !== undefined) {
          assert.include(String(yield* Effect.exit(pull)), "after its event")
        }
        yield* assertSound(ledger)
      }).pipe(Effect.provide(TestLedger.layer({ directory, views: [balances], rules: [gate] })))
    }).pipe(Effect.scoped)
  )

  /** Ways to hang, inside the transaction of the writer. */
  const hanging: { readonly [what: string]: (sql: SqlClient.SqlClient) => Effect.Effect<unknown> } =
    {
      "waits for ever": () => Effect.never,
      "waits in a transaction of its own": (sql) =>
        Effect.orDie(sql.withTransaction(Effect.andThen(sql`SELECT 1`, Effect.never))),
      "waits in a stream": (sql) =>
        Effect.orDie(
          sql`SELECT id FROM events`.stream.pipe(
            Stream.mapEffect(() => Effect.never),
            Stream.runDrain
          )
        ),
      "is not to be interrupted": () => Effect.uninterruptible(Effect.never),
      "is not to be interrupted in a transaction of its own": (sql) =>
        Effect.orDie(sql.withTransaction(Effect.uninterruptible(Effect.never)))
    }

  for (const [what, hang] of Object.entries(hanging)) {
    it.effect(`that ${what} has voted reject, and holds up nobody for longer`, () =>
      Effect.gen(function* () {
        const asked = yield* Deferred.make<void>()
        yield* gated(
          (_, sql) => Effect.andThen(Deferred.succeed(asked, undefined), Effect.as(hang(sql), ok)),
          (ledger) =>
            Effect.gen(function* () {
              yield* ledger.append(deposit("a", 5))
              const drafts = [withdraw("a", 1), deposit("b", 5)]
              const answers = yield* Effect.forkChild(
                Effect.forEach(drafts, (draft) => Effect.result(ledger.append(draft)), {
                  concurrency: "unbounded"
                })
              )
              yield* Deferred.await(asked)
              yield* TestClock.adjust("5 seconds")
              const [refused, passed] = yield* Fiber.join(answers)
              assert.include(String(refused), "the rule failed: it took more than 5000 ms")
              assert.include(String(refused), "PolicyRefused")
              assert.strictEqual(passed?._tag, "Success")
              assert.strictEqual((yield* ledger.append(deposit("c", 5))).seq, 3)
              yield* assertSound(ledger)
            })
        )
      })
    )
  }

  it.effect("that hangs is interrupted when its time is over, and not before", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const asked = yield* Deferred.make<void>()
      let isInterrupted = false
      const gate = PolicyGate.gate({ id: "g" }, () =>
        Effect.andThen(Deferred.succeed(asked, undefined), Effect.never).pipe(
          Effect.onInterrupt(() => Effect.sync(() => (isInterrupted = true)))
        )
      )
      // The ledger is closed while its gate hangs.
      const closing = yield* Ledger.use((ledger) =>
        Effect.andThen(Effect.forkDetach(ledger.append(deposit("a", 5))), Deferred.await(asked))
      ).pipe(
        Effect.provide(TestLedger.layer({ directory, rules: [gate], askMillisMax: 300 })),
        Effect.forkChild
      )
      yield* Deferred.await(asked)
      yield* TestClock.adjust("299 millis")
      assert.isFalse(isInterrupted)
      yield* TestClock.adjust("1 millis")
      assert.isTrue(isInterrupted)
      yield* Fiber.join(closing)
    })
  )

  it.effect(
    "that was left behind can neither read nor come between the next one's statements",
    () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        const [asked, next, later] = yield* Effect.all([
          Deferred.make<void>(),
          Deferred.make<void>(),
          Deferred.make<void>()
        ])
        const left = yield* Deferred.make<unknown>()
        const deaf = PolicyGate.gate({ id: "deaf" }, (_, sql) =>
          Effect.andThen(Deferred.succeed(asked, undefined), Deferred.await(later)).pipe(
            Effect.andThen(Effect.exit(sql`SELECT id FROM events`)),
            Effect.flatMap((exit) => Deferred.succeed(left, exit)),
            Effect.as(ok),
            Effect.uninterruptible
          )
        )
        const patient = PolicyGate.gate({ id: "patient" }, (_, sql) =>
          Deferred.succeed(next, undefined).pipe(
            Effect.andThen(Deferred.await(left)),
            Effect.andThen(sql`SELECT id FROM events`),
            Effect.as(ok)
          )
        )
        yield* Effect.gen(function* () {
          const ledger = yield* Ledger
          const append = yield* Effect.forkChild(Effect.flip(ledger.append(deposit("a", 5))))
          yield* Deferred.await(asked)
          yield* TestClock.adjust("5 seconds")
          yield* Deferred.await(next)
          yield* Deferred.succeed(later, undefined)
          assert.include(String(yield* Deferred.await(left)), "after its event")
          assertLike(yield* Fiber.join(append), { _tag: "PolicyRefused", ruleId: "deaf" })
        }).pipe(Effect.provide(TestLedger.layer({ directory, rules: [deaf, patient] })))
      })
  )

  it.effect("that takes too long is past any break-glass", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const asked = yield* Deferred.make<void>()
      const gate = PolicyGate.gate({ id: "g", overridable: true }, () =>
        Effect.andThen(Deferred.succeed(asked, undefined), Effect.never)
      )
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger
        const append = yield* Effect.forkChild(Effect.flip(ledger.append(deposit("a", 5))))
        yield* Deferred.await(asked)
        yield* TestClock.adjust("5 seconds")
        const refused = yield* Fiber.join(append)
        assertLike(refused, { _tag: "PolicyRefused", ruleId: "g" })
        assert.match(JSON.stringify(refused), /"breakGlassOverrideAllowed":false/)
        assert.notMatch(JSON.stringify(refused), /"breakGlassOverrideAllowed":true/)
      }).pipe(Effect.provide(TestLedger.layer({ directory, rules: [gate] })))
    })
  )

  const nested = (sql: SqlClient.SqlClient) => sql.withTransaction(sql`SELECT 77`)

  /** What the disk does to a gate, and a gate that makes a defect of it, or whose transaction does. */
  const struck: { readonly [what: string]: readonly [path: string, ask: Ask] } = {
    "a statement that dies": ["SELECT 77", (_, sql) => Effect.as(Effect.orDie(nested(sql)), ok)],
    "a transaction of its own that cannot end": [
      "RELEASE SAVEPOINT",
      (_, sql) => Effect.as(nested(sql), ok)
    ],
    "a transaction of its own that cannot be undone": [
      "ROLLBACK TO",
      (_, sql) =>
        sql.withTransaction(Effect.andThen(sql`SELECT 77`, Effect.die("no"))).pipe(Effect.as(ok))
    ]
  }
  for (const [what, [path, ask]] of Object.entries(struck)) {
    it.effect(`has not voted where the disk fails it: ${what}`, () =>
      Effect.gen(function* () {
        const disk = yield* FaultyDisk.make({ seed: 1 })
        const gate = PolicyGate.gate({ id: "g", types: [Withdrawn.type] }, ask)
        yield* Effect.gen(function* () {
          const ledger = yield* Ledger
          yield* ledger.append(deposit("a", 5))
          yield* disk.fail({ code: "SQLITE_IOERR", on: "statement", path })
          const failed = yield* Effect.flip(ledger.append(withdraw("a", 1)))
          assert.strictEqual(yield* disk.struck, 1)
          assertLike(failed, { _tag: "MirrorError", operation: "take in a group" })
          yield* disk.mend
          yield* ledger.append(deposit("a", 5))
          yield* assertSound(ledger)
        }).pipe(Effect.provide(TestLedger.layer({ disk, rules: [gate] })))
      }).pipe(Effect.scoped)
    )
  }
})
