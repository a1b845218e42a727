/**
 * What the ledger asks of any `SqlClient` and `ReadSql` over one SQLite file. Every layer that is
 * to stand in that place runs it: `sqlClientSuite(name, layer)`, where `layer(filename)` gives
 * both clients of a file that does not exist yet.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import {
  Arbitrary,
  Array as Arr,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Option,
  Ref,
  Schema,
  Stream
} from "effect"
import type { Layer } from "effect"
import { Migrator, SqlClient, SqlError, SqlSchema } from "effect/sql"
import { ReadSql } from "../../src/store/mirror/ReadSql.ts"

/** A directory for one test, removed with its scope. */
export const scratch = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "sealog "))),
  (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true }))
)

type Clients = SqlClient.SqlClient | ReadSql
type MakeLayer = (filename: string) => Layer.Layer<Clients, SqlError.SqlError>

const create = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE t (n INTEGER PRIMARY KEY, v TEXT UNIQUE) STRICT`
  return { sql, read: yield* ReadSql }
})

const numbers = (sql: SqlClient.SqlClient) =>
  Effect.map(sql<{ n: number }>`SELECT n FROM t ORDER BY n`, (rows) => rows.map((row) => row.n))

const reasonOf = <A, R>(effect: Effect.Effect<A, SqlError.SqlError, R>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason)

export const sqlClientSuite = (
  name: string,
  layer: MakeLayer,
  { streams = true }: { readonly streams?: boolean } = {}
): void => {
  const check = (sentence: string, body: Effect.Effect<void, unknown, Clients>) =>
    it.effect(sentence, () =>
      Effect.flatMap(scratch, (directory) =>
        Effect.provide(body, layer(path.join(directory, "a mirror.sqlite")))
      )
    )
  describe(name, () => {
    it.effect.prop(
      "gives back what was inserted in one batch",
      [Content],
      ([values]) =>
        Effect.flatMap(scratch, (directory) =>
          Effect.provide(roundTrip(values), layer(path.join(directory, "a mirror.sqlite")))
        ),
      { arbitrary: { runs: 30 } }
    )
    statements(check)
    transactions(check)
    isolation(check)
    errors(check)
    if (streams) streaming(check)
  })
}

type Check = (sentence: string, body: Effect.Effect<void, unknown, Clients>) => void

// The strings SQLite keeps as they are: any but a NUL and lone surrogates.
const Kept = Schema.String.check(
  Schema.makeFilter((text) => text.isWellFormed() && !text.includes("\0"))
)
const Content = Arbitrary.array(Arbitrary.schema(Schema.NullOr(Kept)), { maxLength: 20 })

const roundTrip = Effect.fn(function* (values: ReadonlyArray<string | null>) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE s (n INTEGER PRIMARY KEY, v TEXT)`
  const all = SqlSchema.findAll({
    Request: Schema.Void,
    Result: Schema.Struct({ n: Schema.Int, v: Schema.NullOr(Schema.String) }),
    execute: () => sql`SELECT n, v FROM s ORDER BY n`
  })
  const rows = values.map((v, n) => ({ n, v }))
  if (Arr.isArrayNonEmpty(rows)) yield* sql`INSERT INTO s ${sql.insert(rows)}`
  assert.deepStrictEqual(yield* all(undefined), rows)
})

const statements = (check: Check) => {
  check(
    "gives values as arrays, also where two columns share a name",
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const query = sql`SELECT 1 AS x, 'a' AS x, NULL AS y`
      assert.deepStrictEqual(yield* query.values, [[1, "a", null]])
      assert.deepStrictEqual(yield* query.valuesUnprepared, [[1, "a", null]])
      assert.deepStrictEqual({ ...(yield* query)[0] }, { x: "a", y: null })
    })
  )
  check(
    "tells how many rows a raw statement changed",
    Effect.gen(function* () {
      const { sql } = yield* create
      const raw = yield* sql`INSERT INTO t ${sql.insert([{ n: 1 }, { n: 2 }])}`.raw
      assert.deepStrictEqual({ ...(raw as object) }, { changes: 2, lastInsertRowid: 2 })
    })
  )
  check(
    "reads integers beyond 2^53 as bigint when asked to, and refuses them otherwise",
    Effect.gen(function* () {
      const { sql } = yield* create
      yield* sql`INSERT INTO t ${sql.insert({ n: 9007199254740993n })}`
      const query = sql<{ n: bigint }>`SELECT n FROM t`
      const [row] = yield* query.pipe(Effect.provideService(SqlClient.SafeIntegers, true))
      assert.strictEqual(row?.n, 9007199254740993n)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(query)))
    })
  )
  check(
    "runs migrations once",
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const loader = Migrator.fromRecord({ "0001_t": sql`CREATE TABLE t (n INTEGER)` })
      const migrate = Migrator.make({})({ loader })
      assert.strictEqual((yield* migrate).length, 1)
      assert.strictEqual((yield* migrate).length, 0)
    })
  )
}

const transactions = (check: Check) => {
  check(
    "rolls back on failure, defect and interruption",
    Effect.gen(function* () {
      const { sql } = yield* create
      const attempt = <E>(n: number, end: Effect.Effect<never, E>) =>
        sql`INSERT INTO t (n) VALUES (${n})`.pipe(
          Effect.andThen(end),
          sql.withTransaction,
          Effect.exit
        )
      assert.isTrue(Exit.isFailure(yield* attempt(1, Effect.fail("no"))))
      assert.isTrue(Exit.isFailure(yield* attempt(2, Effect.die("no"))))
      const reached = yield* Deferred.make<void>()
      const waiting = Effect.andThen(Deferred.succeed(reached, undefined), Effect.never)
      const fiber = yield* Effect.forkChild(attempt(3, waiting))
      yield* Deferred.await(reached)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* numbers(sql), [])
    })
  )
  check(
    "undoes a failed savepoint alone",
    Effect.gen(function* () {
      const { sql } = yield* create
      yield* sql.withTransaction(
        Effect.gen(function* () {
          yield* sql`INSERT INTO t (n) VALUES (1)`
          yield* sql`INSERT INTO t (n) VALUES (2)`.pipe(
            Effect.andThen(Effect.fail("no")),
            sql.withTransaction,
            Effect.ignore
          )
          yield* sql.withTransaction(sql`INSERT INTO t (n) VALUES (3)`)
        })
      )
      assert.deepStrictEqual(yield* numbers(sql), [1, 3])
    })
  )
  check(
    "lets concurrent transactions take turns",
    Effect.gen(function* () {
      const { sql } = yield* create
      yield* sql`INSERT INTO t (n, v) VALUES (1, '0')`
      const increment = sql.withTransaction(
        Effect.gen(function* () {
          const [row] = yield* sql<{ v: string }>`SELECT v FROM t`
          yield* Effect.yieldNow
          yield* sql`UPDATE t SET v = ${String(Number(row?.v) + 1)}`
        })
      )
      yield* Effect.all(
        Array.from({ length: 30 }, () => increment),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(yield* sql`SELECT v FROM t`.values, [["30"]])
    })
  )
  check(
    "runs afterCommit callbacks after a commit only",
    Effect.gen(function* () {
      const { read, sql } = yield* create
      const seen = yield* Ref.make<ReadonlyArray<number>>([])
      const look = Effect.orDie(Effect.flatMap(numbers(read), (ns) => Ref.set(seen, ns)))
      const insert = Effect.andThen(sql`INSERT INTO t (n) VALUES (7)`, sql.afterCommit(look))
      yield* insert.pipe(Effect.andThen(Effect.fail("no")), sql.withTransaction, Effect.ignore)
      assert.deepStrictEqual(yield* Ref.get(seen), [])
      yield* sql.withTransaction(insert)
      assert.deepStrictEqual(yield* Ref.get(seen), [7])
    })
  )
  check(
    "lends the transaction's connection for direct use",
    Effect.gen(function* () {
      const { read, sql } = yield* create
      yield* sql.withTransaction(
        Effect.gen(function* () {
          const [connection] = Option.getOrThrow(
            yield* Effect.serviceOption(sql.transactionService)
          )
          yield* connection.execute("INSERT INTO t (n, v) VALUES (?, ?)", [1, "a"], undefined)
          assert.deepStrictEqual(yield* numbers(sql), [1])
          assert.deepStrictEqual(yield* numbers(read), [])
        })
      )
      assert.deepStrictEqual(yield* numbers(read), [1])
    })
  )
}

const isolation = (check: Check) => {
  check(
    "ReadSql sees committed rows only, and waits for no transaction",
    Effect.gen(function* () {
      const { read, sql } = yield* create
      const inserted = yield* Deferred.make<void>()
      const goOn = yield* Deferred.make<void>()
      const writer = yield* sql`INSERT INTO t (n) VALUES (1)`.pipe(
        Effect.andThen(numbers(read)),
        Effect.tap(Deferred.succeed(inserted, undefined)),
        Effect.tap(Deferred.await(goOn)),
        sql.withTransaction,
        Effect.forkChild
      )
      yield* Deferred.await(inserted)
      assert.deepStrictEqual(yield* numbers(read), [])
      yield* Deferred.succeed(goOn, undefined)
      assert.deepStrictEqual(yield* Fiber.join(writer), [])
      assert.deepStrictEqual(yield* numbers(read), [1])
    })
  )
  check(
    "ReadSql cannot write",
    Effect.gen(function* () {
      const { read, sql } = yield* create
      for (const write of [read`INSERT INTO t (n) VALUES (1)`, read`DROP TABLE t`]) {
        assert.isTrue(Exit.isFailure(yield* Effect.exit(write)))
      }
      assert.deepStrictEqual(yield* numbers(sql), [])
    })
  )
}

const errors = (check: Check) => {
  check(
    "names the unique constraint that a row violates, and goes on",
    Effect.gen(function* () {
      const { sql } = yield* create
      const insert = (n: number) => sql`INSERT INTO t (n, v) VALUES (${n}, 'a')`
      yield* insert(1)
      const reason = yield* reasonOf(insert(2))
      if (reason._tag !== "UniqueViolation") return assert.fail(reason._tag)
      assert.strictEqual(reason.constraint, "t.v")
      assert.strictEqual(
        (yield* reasonOf(sql`INSERT INTO t (n) VALUES (1)`))._tag,
        "ConstraintError"
      )
      assert.deepStrictEqual(yield* numbers(sql), [1])
    })
  )
  check(
    "keeps SQLite's code where effect/sql has no reason for it",
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const reason = yield* reasonOf(sql.unsafe("SELEC 1"))
      assert.strictEqual(reason._tag, "UnknownError")
      assert.propertyVal(reason.cause, "errcode", 1)
    })
  )
  check(
    "tells that the database is locked by another connection, without waiting",
    Effect.gen(function* () {
      const { sql } = yield* create
      const [main] = yield* sql<{ file: string }>`PRAGMA database_list`
      const { DatabaseSync } = yield* Effect.promise(() => import("node:sqlite"))
      const other = new DatabaseSync(main?.file ?? "", { timeout: 0 })
      other.prepare("BEGIN IMMEDIATE").run()
      const reason = yield* reasonOf(sql`INSERT INTO t (n) VALUES (1)`)
      other.close()
      assert.strictEqual(reason._tag, "LockTimeoutError")
      assert.isTrue(reason.isRetryable)
      yield* sql`INSERT INTO t (n) VALUES (1)`
    })
  )
}

const streaming = (check: Check) => {
  const count = 1024 // a whole number of chunks: the end must not start the query again
  const fill = (sql: SqlClient.SqlClient) =>
    sql`INSERT INTO t (n) WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s
      WHERE n < ${count}) SELECT n FROM s`
  check(
    "streams each row once, in order, with either client",
    Effect.gen(function* () {
      const { read, sql } = yield* create
      yield* fill(sql)
      for (const client of [sql, read]) {
        const rows = yield* Stream.runCollect(
          client<{ n: number }>`SELECT n FROM t ORDER BY n`.stream
        )
        assert.deepStrictEqual(
          rows.map((row) => row.n),
          Array.from({ length: count }, (_, i) => i + 1)
        )
      }
    })
  )
  check(
    "lets go of a stream that is left early",
    Effect.gen(function* () {
      const { sql } = yield* create
      yield* fill(sql)
      const first = yield* Stream.runHead(sql<{ n: number }>`SELECT n FROM t ORDER BY n`.stream)
      assert.strictEqual(Option.getOrThrow(first).n, 1)
      yield* sql`DROP TABLE t`
    })
  )
  check(
    "fails a stream with the error of the row that cannot be read",
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const rows = sql<{ n: number }>`SELECT 1 AS n UNION ALL SELECT 9007199254740993`.stream
      const error = yield* Effect.flip(Stream.runDrain(rows))
      assert.instanceOf(error, SqlError.SqlError)
      const safe = Stream.runCollect(rows).pipe(Effect.provideService(SqlClient.SafeIntegers, true))
      assert.deepStrictEqual(
        (yield* safe).map((row) => String(row.n)),
        ["1", "9007199254740993"]
      )
    })
  )
  check(
    "a stream of ReadSql keeps its moment and holds up nobody",
    Effect.gen(function* () {
      const { read, sql } = yield* create
      yield* fill(sql)
      const seen = yield* read<{ n: number }>`SELECT n FROM t ORDER BY n`.stream.pipe(
        Stream.mapEffect((row) =>
          row.n > 1
            ? Effect.succeed(row.n)
            : Effect.andThen(sql`DELETE FROM t WHERE n > 10`, numbers(read)).pipe(
                Effect.map((now) => now.length)
              )
        ),
        Stream.runCollect
      )
      assert.strictEqual(seen[0], 10)
      assert.strictEqual(seen.length, count)
    })
  )
}
