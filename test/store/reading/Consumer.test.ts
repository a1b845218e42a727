import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Data, Deferred, Effect, Exit, Fiber, Schema, Stream } from "effect"
import { Reactivity } from "effect/reactivity"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import * as Event from "../../../src/core/Event.ts"
import * as SealogNode from "../../../src/platform/SealogNode.ts"
import * as SqliteClient from "../../../src/platform/SqliteClient.ts"
import * as Consumer from "../../../src/store/reading/Consumer.ts"
import type { Ledger } from "../../../src/store/Ledger.ts"
import { Reader } from "../../../src/store/reading/Reader.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { assertLike, named, query, using } from "../ledgerFixtures.ts"

type Open = Ledger["Service"]

const by = { operator: "ada", reason: "a wrong turn" }

class Crash extends Data.TaggedError("Crash") {}

const within = <A, E>(body: (ledger: Open, directory: string) => Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const directory = yield* TestLedger.directory
    return yield* using({ directory: path.join(directory, "l") }, (ledger) =>
      body(ledger, directory)
    )
  })

/** With a database of the application's own, which is closed again at the end. */
const withSql =
  (directory: string, ledger: Open) =>
  <A, E>(effect: Effect.Effect<A, E, Reader | SqlClient.SqlClient>) =>
    effect.pipe(
      Effect.provideService(Reader, Reader.of(ledger)),
      Effect.provide(SqliteClient.layer({ filename: path.join(directory, "own.sqlite") }))
    )

const withFiles =
  (ledger: Open) =>
  <A, E>(effect: Effect.Effect<A, E, Reader | Effect.Services<typeof files>>) =>
    effect.pipe(
      Effect.provideService(Reader, Reader.of(ledger)),
      Effect.provide(SealogNode.layerPlatform)
    )

const files = Consumer.inFile("", () => Effect.void).pipe(
  Effect.provideService(Reader, Object.create(null))
)

const seen = (directory: string) =>
  query(path.join(directory, "own.sqlite"), "SELECT id FROM seen ORDER BY rowid").map(
    ({ id }) => id
  )

const idsOf = (ledger: Open) =>
  Effect.map(Stream.runCollect(ledger.events()), (rows) => rows.map(({ id }) => id))

const until = (holds: () => boolean) =>
  Effect.gen(function* () {
    for (let turns = 0; !holds(); turns++) {
      assert.isBelow(turns, 10_000, "it never came")
      yield* TestClock.adjust("200 millis")
      yield* Effect.yieldNow
    }
  })

const prepare = Effect.flatMap(
  SqlClient.SqlClient,
  (sql) => sql`CREATE TABLE IF NOT EXISTS seen (seq INTEGER, id TEXT UNIQUE)`
)

/** Puts each event into a table; every so often it fails, or stops for good, once it has. */
const intoTable = (crashes: () => number) => (event: Event.Event) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`INSERT INTO seen (seq, id) VALUES (${event.seq}, ${event.id})`
    const way = crashes()
    if (way === 0) return yield* new Crash()
    if (way === 1) return yield* Effect.die(new Error("a bug"))
    if (way === 2) yield* Effect.interrupt
  })

const int = (minimum: number, maximum: number) =>
  Schema.Int.check(Schema.isBetween({ minimum, maximum }))

const Step = Schema.Struct({ rows: int(0, 8), back: int(0, 3), turns: int(0, 30) })

describe("a consumer in SQL", () => {
  it.effect.prop(
    "does each event once, whatever crashes, and forgets what was cut",
    [
      Arbitrary.array(Arbitrary.schema(Step), { minLength: 1, maxLength: 8 }),
      Arbitrary.array(Arbitrary.schema(int(0, 12)), { minLength: 30, maxLength: 30 })
    ],
    ([steps, crashes]) =>
      within((ledger, directory) =>
        withSql(
          directory,
          ledger
        )(
          Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            yield* prepare
            let turn = 0
            const crash = () => crashes[turn++] ?? 9
            const onRolledBack = ({ to }: { readonly to: { readonly seq: number } }) =>
              Effect.gen(function* () {
                yield* sql`DELETE FROM seen WHERE seq > ${to.seq}`
                if (crash() === 0) return yield* new Crash()
              })
            const consumer = Consumer.inSql("test", intoTable(crash), { onRolledBack }).pipe(
              Effect.exit,
              Effect.forever
            )
            // Two of one name: what one has done the other does not.
            const both = yield* Effect.forEach([consumer, consumer], (one) => Effect.forkChild(one))
            const checkpoint = yield* ledger.checkpoint("the beginning")
            let count = 0
            for (const { back, rows, turns } of steps) {
              if (back === 0) yield* ledger.rollback(checkpoint, by)
              const drafts = Array.from({ length: rows }, () => named(`row ${count++}`))
              yield* ledger.appendAll(drafts)
              for (let n = 0; n < turns; n++) yield* Effect.yieldNow
            }
            const last = yield* ledger.append(named("the last"))
            yield* until(() => seen(directory).includes(last.id))
            yield* Fiber.interruptAll(both)
            assert.deepStrictEqual(seen(directory), yield* idsOf(ledger))
          })
        )
      ).pipe(Effect.scoped),
    { arbitrary: { runs: 10 } }
  )

  const spoilt: ReadonlyArray<readonly [string, string | undefined]> = [
    ["DELETE FROM sealog_consumers", undefined],
    ["UPDATE sealog_consumers SET seq = 'x'", "PositionUnknown"],
    ["UPDATE sealog_consumers SET seq = -1", "PositionUnknown"],
    ["UPDATE sealog_consumers SET seq = 1.5", "PositionUnknown"],
    ["UPDATE sealog_consumers SET seq = 9223372036854775807", "SqlError"],
    ["UPDATE sealog_consumers SET leaf_hash = x'00'", "PositionUnknown"],
    ["UPDATE sealog_consumers SET leaf_hash = 'abc'", "PositionUnknown"]
  ]
  for (const [change, tag] of spoilt) {
    for (const isRunning of [true, false]) {
      const when = isRunning ? "while it runs" : "before it is run again"
      it.effect(
        `${tag === undefined ? "begins anew" : `ends with ${tag}`}: ${change}, ${when}`,
        () =>
          within((ledger, directory) =>
            withSql(
              directory,
              ledger
            )(
              Effect.gen(function* () {
                const sql = yield* SqlClient.SqlClient
                let count = 0
                const consume = Consumer.inSql("c", () => Effect.sync(() => void count++))
                yield* ledger.append(named("a"))
                yield* ledger.append(named("b"))
                const first = yield* Effect.forkChild(consume)
                yield* until(() => count === 2)
                if (!isRunning) yield* Fiber.interrupt(first)
                yield* sql.unsafe(change)
                yield* ledger.append(named("c"))
                const last = isRunning ? first : yield* Effect.forkChild(consume)
                if (tag === undefined) {
                  yield* until(() => count >= 5)
                  return yield* Fiber.interrupt(last)
                }
                assertLike(yield* Effect.flip(Fiber.join(last)), { _tag: tag })
              })
            )
          )
      )
    }
  }

  it.effect("writes nothing of an event that it fails at, and does it again", () =>
    within((ledger, directory) =>
      withSql(
        directory,
        ledger
      )(
        Effect.gen(function* () {
          yield* prepare
          yield* ledger.appendAll([named("a"), named("b"), named("c")])
          let n = 0
          const run = Consumer.inSql(
            "test",
            intoTable(() => (++n === 2 ? 0 : 9))
          )
          assertLike(yield* Effect.flip(run), { _tag: "Crash" })
          const ids = yield* idsOf(ledger)
          assert.deepStrictEqual(seen(directory), ids.slice(0, 1))
          const again = yield* Effect.forkChild(run)
          yield* until(() => seen(directory).length === 3)
          assert.deepStrictEqual(seen(directory), ids)
          // Another name has a position of its own.
          const heard: Array<string> = []
          const other = yield* Effect.forkChild(
            Consumer.inSql("other", ({ id }) => Effect.sync(() => heard.push(id)))
          )
          yield* until(() => heard.length === 3)
          yield* Fiber.interruptAll([again, other])
        })
      )
    )
  )

  /** Somebody else has the database for as long as this runs. */
  const whileHeld =
    (directory: string, filename = "own.sqlite") =>
    <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.gen(function* () {
        const other = yield* SqliteClient.make({ filename: path.join(directory, filename) })
        return yield* other.withTransaction(effect)
      }).pipe(Effect.provide(Reactivity.layer), Effect.scoped)

  it.effect("waits for another client that holds its database, and then does each event once", () =>
    within((ledger, directory) =>
      withSql(
        directory,
        ledger
      )(
        Effect.gen(function* () {
          yield* prepare
          yield* ledger.appendAll([named("a"), named("b")])
          const run = Effect.forkChild(
            Consumer.inSql(
              "test",
              intoTable(() => 9)
            )
          )
          const stillThere = (fiber: Fiber.Fiber<unknown, unknown>) =>
            Effect.gen(function* () {
              for (let turns = 0; turns < 200; turns++) {
                yield* TestClock.adjust("100 millis")
                yield* Effect.yieldNow
              }
              assert.isUndefined(fiber.pollUnsafe())
            })
          // Before it has a table, and before an event.
          const fiber = yield* whileHeld(directory)(Effect.tap(run, stillThere))
          yield* until(() => seen(directory).length === 2)
          yield* whileHeld(directory)(
            Effect.andThen(
              ledger.append(named("c")),
              Effect.suspend(() => stillThere(fiber))
            )
          )
          assert.strictEqual(seen(directory).length, 2)
          yield* until(() => seen(directory).length === 3)
          assert.deepStrictEqual(seen(directory), yield* idsOf(ledger))
          yield* Fiber.interrupt(fiber)
        })
      )
    )
  )

  it.effect("does not do an event again that runs into a lock itself", () =>
    within((ledger, directory) =>
      withSql(
        directory,
        ledger
      )(
        Effect.gen(function* () {
          yield* ledger.append(named("a"))
          const filename = path.join(directory, "third.sqlite")
          const third = yield* SqliteClient.make({ filename })
          let asked = 0
          const run = Consumer.inSql("test", () =>
            Effect.andThen(
              Effect.sync(() => asked++),
              third`CREATE TABLE t (n)`
            )
          )
          const error = yield* whileHeld(directory, "third.sqlite")(Effect.flip(run))
          assertLike(error, { _tag: "SqlError" })
          assert.strictEqual(asked, 1)
        }).pipe(Effect.provide(Reactivity.layer), Effect.scoped)
      )
    )
  )

  it.effect("begins at the head or behind a position where it has none, and nowhere else", () =>
    within((ledger, directory) =>
      withSql(
        directory,
        ledger
      )(
        Effect.gen(function* () {
          const second = (yield* ledger.appendAll([named("a"), named("b"), named("c")]))[1]
          assert.isDefined(second)
          if (second === undefined) return
          const heard = (name: string, which: Consumer.Which, seqs: ReadonlyArray<number>) =>
            Effect.gen(function* () {
              const got: Array<number> = []
              const fiber = yield* Effect.forkChild(
                Consumer.inSql(name, ({ seq }) => Effect.sync(() => got.push(seq)), which)
              )
              yield* until(() => got.length === seqs.length && keptBy(name) !== undefined)
              yield* Fiber.interrupt(fiber)
              assert.deepStrictEqual(got, seqs)
            })
          const keptBy = (name: string) =>
            query(
              path.join(directory, "own.sqlite"),
              "SELECT name, seq FROM sealog_consumers"
            ).find((row) => row["name"] === name)?.["seq"]
          const never = { seq: 2, leafHash: "0".repeat(64) }
          const refused = Consumer.inSql("unknown", () => Effect.void, { from: never })
          assertLike(yield* Effect.flip(refused), { _tag: "PositionUnknown" })
          assert.isUndefined(keptBy("unknown"))
          yield* heard("unknown", { from: second }, [3])
          yield* heard("head", { from: "head" }, [])
          assert.strictEqual(keptBy("head"), 3)
          yield* ledger.append(named("d"))
          yield* heard("head", { from: "head" }, [4])
          yield* heard("unknown", { from: "start" }, [4])
          yield* heard("start", { from: "start" }, [1, 2, 3, 4])
        })
      )
    )
  )

  it.effect("that begins behind a position that was cut is told so", () =>
    within((ledger, directory) =>
      withSql(
        directory,
        ledger
      )(
        Effect.gen(function* () {
          const checkpoint = yield* ledger.checkpoint("here")
          const from = yield* ledger.append(named("a"))
          yield* ledger.rollback(checkpoint, by)
          yield* ledger.append(named("b"))
          const heard: Array<number> = []
          const fiber = yield* Effect.forkChild(
            Consumer.inSql("cut", ({ seq }) => Effect.sync(() => heard.push(seq)), {
              from,
              onRolledBack: ({ to }) => Effect.sync(() => heard.push(to.seq))
            })
          )
          yield* until(() => heard.length === 2)
          assert.deepStrictEqual(heard, [0, 1])
          yield* Fiber.interrupt(fiber)
        })
      )
    )
  )

  it.effect("ends at a rollback behind it where nobody says how to forget", () =>
    within((ledger, directory) =>
      withSql(
        directory,
        ledger
      )(
        Effect.gen(function* () {
          yield* prepare
          const checkpoint = yield* ledger.checkpoint("here")
          yield* ledger.append(named("a"))
          const ending = yield* Effect.forkChild(
            Effect.exit(
              Consumer.inSql(
                "test",
                intoTable(() => 9)
              )
            )
          )
          yield* until(() => seen(directory).length === 1)
          yield* ledger.rollback(checkpoint, by)
          yield* TestClock.adjust("1 second")
          const exit = yield* Fiber.join(ending)
          const again = yield* Effect.exit(
            Consumer.inSql(
              "test",
              intoTable(() => 9)
            )
          )
          for (const one of [exit, again]) {
            assert(Exit.isFailure(one))
            assert.match(String(one.cause), /RolledBack/)
          }
        })
      )
    )
  )

  it.effect("is given what its filter passes, read by kinds", () =>
    within((ledger, directory) =>
      withSql(
        directory,
        ledger
      )(
        Effect.gen(function* () {
          const Named = Event.define("test.named.v1", Schema.Struct({ name: Schema.String }))
          yield* ledger.appendAll([
            named("a", { sessionId: "s" }),
            named("b"),
            { type: "other.v1", sessionId: "s" },
            named("c", { sessionId: "s" })
          ])
          const heard: Array<string> = []
          const fiber = yield* Effect.forkChild(
            Consumer.inSql(
              "test",
              ({ payload }: Event.Typed<typeof Named>) =>
                Effect.sync(() => heard.push(payload.name)),
              { kinds: [Named], sessionId: "s" }
            )
          )
          yield* until(() => heard.length === 2)
          assert.deepStrictEqual(heard, ["a", "c"])
          yield* Fiber.interrupt(fiber)
        })
      )
    )
  )
})

describe("a consumer in a file", () => {
  it.effect("does each event at least once, in order, whatever it fails at", () =>
    within((ledger, directory) =>
      withFiles(ledger)(
        Effect.gen(function* () {
          const file = path.join(directory, "position.json")
          yield* ledger.appendAll(Array.from({ length: 20 }, (_, n) => named(`${n}`)))
          const heard: Array<number> = []
          let n = 0
          const run = Consumer.inFile(file, ({ seq }) =>
            ++n % 7 === 0 ? new Crash() : Effect.sync(() => heard.push(seq))
          )
          const fiber = yield* Effect.forkChild(Effect.forever(Effect.ignore(run)))
          yield* until(() => heard.length === 20)
          assert.deepStrictEqual(
            heard,
            Array.from({ length: 20 }, (_, n) => n + 1)
          )
          const head = yield* ledger.head
          yield* until(() => fs.readFileSync(file, "utf8").includes(head.leafHash))
          assert.strictEqual(
            fs.readFileSync(file, "utf8"),
            `{"seq":20,"leaf_hash":"${head.leafHash}"}\n`
          )
          assert.strictEqual(fs.statSync(file).mode & 0o777, 0o600)
          yield* Fiber.interrupt(fiber)
        })
      )
    )
  )

  it.effect("keeps what was done when it is interrupted, and forgets what was cut", () =>
    within((ledger, directory) =>
      withFiles(ledger)(
        Effect.gen(function* () {
          const file = path.join(directory, "position.json")
          yield* ledger.append(named("a"))
          const checkpoint = yield* ledger.checkpoint("here")
          yield* ledger.appendAll([named("b"), named("c")])
          const heard: Array<number> = []
          const third = yield* Deferred.make<void>()
          const interrupted = yield* Effect.forkChild(
            Consumer.inFile(file, ({ seq }) => {
              if (seq === 3) return Effect.andThen(Deferred.succeed(third, undefined), Effect.never)
              return Effect.sync(() => heard.push(seq))
            })
          )
          yield* Deferred.await(third)
          yield* Fiber.interrupt(interrupted)
          assert.include(fs.readFileSync(file, "utf8"), '"seq":2')
          yield* ledger.rollback(checkpoint, by)
          yield* ledger.append(named("d"))
          const cut: Array<number> = []
          const onRolledBack = ({ to }: { readonly to: { readonly seq: number } }) =>
            Effect.sync(() => cut.push(to.seq))
          const fiber = yield* Effect.forkChild(
            Consumer.inFile(file, ({ seq }) => Effect.sync(() => heard.push(seq)), { onRolledBack })
          )
          yield* until(() => heard.length === 3)
          assert.deepStrictEqual([heard, cut], [[1, 2, 2], [1]])
          yield* Fiber.interrupt(fiber)
        })
      )
    )
  )

  it.effect(
    "begins at the head or behind a position where there is no file, and nowhere else",
    () =>
      within((ledger, directory) =>
        withFiles(ledger)(
          Effect.gen(function* () {
            const heard = (name: string, which: Consumer.Which, seqs: ReadonlyArray<number>) =>
              Effect.gen(function* () {
                const file = path.join(directory, name)
                const got: Array<number> = []
                const fiber = yield* Effect.forkChild(
                  Consumer.inFile(file, ({ seq }) => Effect.sync(() => got.push(seq)), which)
                )
                yield* until(() => got.length === seqs.length && fs.existsSync(file))
                yield* Fiber.interrupt(fiber)
                assert.deepStrictEqual(got, seqs)
              })
            yield* heard("head", { from: "head" }, [])
            const first = yield* ledger.append(named("a"))
            yield* ledger.append(named("b"))
            // The head was that of the empty ledger.
            yield* heard("head", { from: "head" }, [1, 2])
            const never = { ...first, leafHash: "0".repeat(64) }
            const file = path.join(directory, "given")
            const refused = Consumer.inFile(file, () => Effect.void, { from: never })
            assertLike(yield* Effect.flip(refused), { _tag: "PositionUnknown" })
            assert.isFalse(fs.existsSync(file))
            yield* heard("given", { from: first }, [2])
          })
        )
      )
  )

  it.effect("refuses a file that holds no position, or that is a link", () =>
    within((ledger, directory) =>
      withFiles(ledger)(
        Effect.gen(function* () {
          const file = path.join(directory, "position.json")
          const run = Consumer.inFile(file, () => Effect.void)
          for (const text of [
            "",
            "{}",
            '{"seq":-1,"leaf_hash":""}',
            '{"seq":1}',
            "x".repeat(99_999)
          ]) {
            fs.writeFileSync(file, text)
            assertLike(yield* Effect.flip(run), { _tag: "JournalError", path: file })
            assert.strictEqual(fs.readFileSync(file, "utf8"), text)
          }
          fs.rmSync(file)
          fs.symlinkSync(path.join(directory, "elsewhere"), file)
          assertLike(yield* Effect.flip(run), { _tag: "JournalError", path: file })
        })
      )
    )
  )
})
