import * as fs from "node:fs"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Stream } from "effect"
import { Reactivity } from "effect/reactivity"
import { SqlClient } from "effect/sql"
import * as SqliteClient from "../../src/platform/SqliteClient.ts"
import { ReadSql } from "../../src/store/mirror/ReadSql.ts"
import { scratch, sqlClientSuite } from "./sqlClientSuite.ts"

const isRoot = process.getuid?.() === 0

const mode = (file: string) => (fs.statSync(file).mode & 0o777).toString(8)

/** Runs `body` with both clients of `filename`, closed again when it returns. */
const open = <A, E>(
  options: SqliteClient.Options,
  body: (sql: SqlClient.SqlClient, read: SqlClient.SqlClient) => Effect.Effect<A, E>
) =>
  Effect.gen(function* () {
    return yield* body(yield* SqlClient.SqlClient, yield* ReadSql)
  }).pipe(Effect.provide(SqliteClient.layer(options)))

const oneRow = (sql: SqlClient.SqlClient) =>
  Effect.andThen(sql`CREATE TABLE t (n INTEGER)`, sql`INSERT INTO t VALUES (1)`)

const opened = (layer: Layer.Layer<SqlClient.SqlClient | ReadSql, unknown>) =>
  Effect.exit(Effect.scoped(Layer.build(layer)))

describe("SqliteClient", () => {
  sqlClientSuite("as a SqlClient", (filename) => SqliteClient.layer({ filename }))

  it.effect("makes all its files private whatever the umask, and takes none away", () =>
    Effect.gen(function* () {
      const filename = path.join(yield* scratch, "m.sqlite")
      for (const umask of [0o000, 0o777]) {
        const before = process.umask(umask)
        yield* open({ filename }, (sql) =>
          Effect.andThen(
            oneRow(sql),
            Effect.sync(() => {
              for (const suffix of ["", "-wal", "-shm"]) {
                assert.strictEqual(mode(`${filename}${suffix}`), "600", suffix)
              }
            })
          )
        ).pipe(Effect.ensuring(Effect.sync(() => process.umask(before))))
        fs.rmSync(filename)
      }
      fs.writeFileSync(filename, "", { mode: 0o640 })
      yield* open({ filename }, oneRow)
      assert.strictEqual(mode(filename), "640")
    })
  )

  it.effect("sets up durability as promised, per connection", () =>
    Effect.gen(function* () {
      const filename = path.join(yield* scratch, "m.sqlite")
      yield* open({ filename, autocheckpointPages: 7 }, (sql, read) =>
        Effect.gen(function* () {
          const pragma = (client: SqlClient.SqlClient, name: string) =>
            Effect.map(client.unsafe(`PRAGMA ${name}`).values, (rows) => rows[0]?.[0])
          assert.strictEqual(yield* pragma(sql, "journal_mode"), "wal")
          assert.strictEqual(yield* pragma(sql, "synchronous"), 1)
          assert.strictEqual(yield* pragma(sql, "foreign_keys"), 1)
          assert.strictEqual(yield* pragma(sql, "wal_autocheckpoint"), 7)
          assert.strictEqual(yield* pragma(sql, "busy_timeout"), 0)
          assert.strictEqual(yield* pragma(read, "query_only"), 1)
          yield* sql`PRAGMA synchronous=FULL`
          assert.strictEqual(yield* pragma(sql, "synchronous"), 2)
        })
      )
    })
  )

  it.effect("begins a transaction with the right to write, before its first statement", () =>
    Effect.gen(function* () {
      const filename = path.join(yield* scratch, "m.sqlite")
      yield* open({ filename }, (sql) =>
        Effect.gen(function* () {
          const other = new DatabaseSync(filename, { timeout: 0 })
          const begin = Effect.sync(() => other.prepare("BEGIN IMMEDIATE").run())
          assert.isTrue(Exit.isFailure(yield* Effect.exit(sql.withTransaction(begin))))
          yield* begin
          const error = yield* Effect.flip(sql.withTransaction(Effect.void))
          assert.strictEqual(error.reason._tag, "LockTimeoutError")
          other.close()
          yield* sql.withTransaction(Effect.void)
        })
      )
    })
  )

  it.effect("keeps its WAL short where nobody says otherwise", () =>
    Effect.gen(function* () {
      const filename = path.join(yield* scratch, "m.sqlite")
      yield* open({ filename }, (sql) =>
        Effect.gen(function* () {
          yield* sql`CREATE TABLE t (b BLOB)`
          for (let i = 0; i < 20; i++) yield* sql`INSERT INTO t VALUES (zeroblob(1000000))`
          assert.isBelow(fs.statSync(`${filename}-wal`).size, 10_000_000)
        })
      )
    })
  )

  it.effect("leaves the WAL alone until it is told to checkpoint, with no pages", () =>
    Effect.gen(function* () {
      const filename = path.join(yield* scratch, "m.sqlite")
      yield* open({ filename, autocheckpointPages: 0 }, (sql, read) =>
        Effect.gen(function* () {
          yield* sql`CREATE TABLE t (b BLOB)`
          const size = fs.statSync(filename).size
          for (let i = 0; i < 3; i++) yield* sql`INSERT INTO t VALUES (zeroblob(4000000))`
          assert.strictEqual(fs.statSync(filename).size, size)
          const [row] = yield* sql<{ busy: number }>`PRAGMA wal_checkpoint(PASSIVE)`
          assert.strictEqual(row?.busy, 0)
          assert.isAbove(fs.statSync(filename).size, 12_000_000)
          assert.deepStrictEqual(yield* read`SELECT count(*) FROM t`.values, [[3]])
        })
      )
    })
  )

  it.effect("refuses a link, a directory and a place that does not exist", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const at = (name: string) => path.join(directory, name)
      yield* open({ filename: at("real.sqlite") }, oneRow)
      fs.symlinkSync(at("real.sqlite"), at("link.sqlite"))
      fs.symlinkSync(at("nowhere"), at("dangling.sqlite"))
      fs.writeFileSync(at("wal.sqlite"), "")
      fs.symlinkSync(at("real.sqlite"), at("wal.sqlite-wal"))
      fs.mkdirSync(at("directory.sqlite"))
      const names = ["link", "dangling", "wal", "directory", "missing/m"]
      for (const name of names) {
        const filename = at(`${name}.sqlite`)
        for (const layer of [SqliteClient.layer, SqliteClient.layerReadOnly]) {
          const error = yield* Effect.flip(Effect.scoped(Layer.build(layer({ filename }))))
          assert.strictEqual(error.reason._tag, "ConnectionError", name)
          assert.include(error.message, filename)
        }
      }
      assert.isFalse(fs.existsSync(at("nowhere")))
    })
  )

  it.effect("refuses a file that is no database, with SQLite's code", () =>
    Effect.gen(function* () {
      const filename = path.join(yield* scratch, "m.sqlite")
      fs.writeFileSync(filename, "not a database".repeat(100))
      for (const layer of [SqliteClient.layer, SqliteClient.layerReadOnly]) {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(layer({ filename }))))
        assert.propertyVal(error.reason.cause, "errcode", 26)
      }
    })
  )

  // No mode binds root.
  it.effect.skipIf(isRoot)("refuses to write a file that may only be read (not as root)", () =>
    Effect.gen(function* () {
      const filename = path.join(yield* scratch, "m.sqlite")
      yield* open({ filename }, oneRow)
      fs.chmodSync(filename, 0o400)
      const error = yield* Effect.flip(Effect.scoped(Layer.build(SqliteClient.layer({ filename }))))
      assert.strictEqual(error.reason._tag, "ConnectionError")
      assert.isTrue(Exit.isSuccess(yield* opened(SqliteClient.layerReadOnly({ filename }))))
    })
  )

  it.effect("refuses two clients of one database in memory, where one works", () =>
    Effect.gen(function* () {
      assert.isTrue(Exit.isFailure(yield* opened(SqliteClient.layer({ filename: ":memory:" }))))
      assert.isFalse(fs.existsSync(":memory:"))
      const sql = yield* SqliteClient.make({ filename: ":memory:" })
      yield* oneRow(sql)
      assert.deepStrictEqual(yield* sql`SELECT n FROM t`.values, [[1]])
    }).pipe(Effect.provide(Reactivity.layer))
  )

  it.effect("opens any name a file can have, also as immutable", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      for (const name of ["a b", "50%25 off", "what?mode=memory", "#1", "ü", "file:x", "a'b"]) {
        const filename = path.join(directory, name)
        yield* open({ filename }, oneRow)
        for (const immutable of [true, false]) {
          const rows = yield* Effect.flatMap(ReadSql, (sql) => sql`SELECT n FROM t`.values).pipe(
            Effect.provide(SqliteClient.layerReadOnly({ filename, immutable }))
          )
          assert.deepStrictEqual(rows, [[1]], name)
          if (immutable) assert.deepStrictEqual(fs.readdirSync(directory), [name])
        }
        for (const file of fs.readdirSync(directory)) fs.rmSync(path.join(directory, file))
      }
    })
  )

  it.effect("layerReadOnly writes through neither client, and makes no file", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const filename = path.join(directory, "m.sqlite")
      assert.isTrue(Exit.isFailure(yield* opened(SqliteClient.layerReadOnly({ filename }))))
      assert.deepStrictEqual(fs.readdirSync(directory), [])
      yield* open({ filename }, oneRow)
      for (const immutable of [false, true]) {
        yield* Effect.gen(function* () {
          const insert = (sql: SqlClient.SqlClient) => sql`INSERT INTO t VALUES (2)`
          for (const sql of [yield* SqlClient.SqlClient, yield* ReadSql]) {
            assert.isTrue(Exit.isFailure(yield* Effect.exit(insert(sql))))
            assert.isTrue(Exit.isFailure(yield* Effect.exit(sql.withTransaction(insert(sql)))))
            assert.deepStrictEqual(yield* sql`SELECT n FROM t`.values, [[1]])
          }
        }).pipe(Effect.provide(SqliteClient.layerReadOnly({ filename, immutable })))
      }
    })
  )

  it.effect("a transaction of ReadSql sees one moment, others see the newest", () =>
    Effect.gen(function* () {
      const filename = path.join(yield* scratch, "m.sqlite")
      yield* open({ filename }, (sql, read) =>
        Effect.gen(function* () {
          yield* oneRow(sql)
          const count = Effect.map(read`SELECT n FROM t`.values, (rows) => rows.length)
          const looked = yield* Deferred.make<void>()
          const written = yield* Deferred.make<void>()
          const twice = yield* count.pipe(
            Effect.tap(Deferred.succeed(looked, undefined)),
            Effect.tap(Deferred.await(written)),
            Effect.zip(count),
            read.withTransaction,
            Effect.forkChild
          )
          yield* Deferred.await(looked)
          yield* sql`INSERT INTO t VALUES (2)`
          assert.strictEqual(yield* count, 2)
          yield* Deferred.succeed(written, undefined)
          assert.deepStrictEqual(yield* Fiber.join(twice), [1, 1])
        })
      )
    })
  )

  it.effect("ReadSql names each value rightly when a table has been made anew since", () =>
    Effect.gen(function* () {
      const filename = path.join(yield* scratch, "m.sqlite")
      yield* open({ filename }, (sql, read) =>
        Effect.gen(function* () {
          const make = (columns: string, row: { readonly [column: string]: unknown }) =>
            Effect.gen(function* () {
              yield* sql`DROP TABLE IF EXISTS t`
              yield* sql.unsafe(`CREATE TABLE t (${columns})`)
              yield* sql`INSERT INTO t ${sql.insert(row)}`
            }).pipe(sql.withTransaction)
          const all = read<object>`SELECT * FROM t`
          const shown = Effect.map(all, (rows) => rows.map((row) => ({ ...row })))
          const streamed = Effect.map(Stream.runCollect(all.stream), (rows) =>
            rows.map((row) => ({ ...row }))
          )
          yield* make("account, cents", { account: "a", cents: 5 })
          assert.deepStrictEqual<unknown>(yield* shown, [{ account: "a", cents: 5 }])
          yield* make("account, fee, cents", { account: "a", fee: 1, cents: 5 })
          assert.deepStrictEqual<unknown>(yield* shown, [{ account: "a", fee: 1, cents: 5 }])
          yield* make("cents", { cents: 5 })
          assert.deepStrictEqual<unknown>(yield* all.values, [[5]])
          yield* make("fee, cents", { fee: 1, cents: 5 })
          assert.deepStrictEqual<unknown>(yield* all.values, [[1, 5]])
          yield* make("cents, fee", { fee: 1, cents: 5 })
          assert.deepStrictEqual<unknown>(yield* streamed, [{ cents: 5, fee: 1 }])
        })
      )
    }).pipe(Effect.scoped)
  )

  it.effect("takes streams of ReadSql inside streams of ReadSql", () =>
    Effect.gen(function* () {
      const filename = path.join(yield* scratch, "m.sqlite")
      yield* open({ filename }, (sql, read) =>
        Effect.gen(function* () {
          yield* sql`CREATE TABLE t (n INTEGER)`
          yield* sql`INSERT INTO t VALUES (1), (2), (3)`
          const rows = read<{ n: number }>`SELECT n FROM t`.stream
          const nested = (depth: number): typeof rows =>
            depth === 0 ? rows : Stream.flatMap(rows, () => nested(depth - 1))
          assert.strictEqual(yield* Stream.runCount(nested(6)), 3 ** 7)
        })
      )
    })
  )

  it.effect("runs nothing more in a transaction that SQLite has rolled back", () =>
    Effect.gen(function* () {
      const filename = path.join(yield* scratch, "m.sqlite")
      yield* open({ filename }, (sql) =>
        Effect.gen(function* () {
          yield* oneRow(sql)
          yield* sql`CREATE TRIGGER stop BEFORE INSERT ON t WHEN new.n = 13
            BEGIN SELECT RAISE(ROLLBACK, 'thirteen'); END`
          const insert = (n: number) => sql`INSERT INTO t VALUES (${n})`
          const lost = yield* insert(2).pipe(
            Effect.andThen(Effect.ignore(sql.withTransaction(insert(13)))),
            Effect.andThen(Effect.exit(insert(3))),
            Effect.tap((exit) => Effect.sync(() => assert.isTrue(Exit.isFailure(exit)))),
            sql.withTransaction,
            Effect.exit
          )
          assert.isTrue(Exit.isFailure(lost))
          yield* sql.withTransaction(insert(4))
          assert.deepStrictEqual(yield* sql`SELECT n FROM t`.values, [[1], [4]])
        })
      )
    })
  )

  it.effect("refuses what SQLite would bend, and says which parameter", () =>
    Effect.gen(function* () {
      const sql = yield* SqliteClient.make({ filename: ":memory:" })
      yield* sql`CREATE TABLE t (v)`
      const bent = [new Date(0), NaN, "a\0b", "\ud800", undefined, {}, new Int8Array(1), 2n ** 64n]
      for (const value of bent) {
        const error = yield* Effect.flip(sql.unsafe("INSERT INTO t VALUES (?)", [value]))
        assert.match(error.message, /parameter 1|BigInt/)
      }
      assert.deepStrictEqual(yield* sql`SELECT v FROM t`.values, [])
      const kept = [null, 1.5, Infinity, -0, 2n ** 62n, "é\u{1f600}", "", new Uint8Array([0, 255])]
      for (const value of [...kept, true, false]) {
        const rows = yield* sql
          .unsafe("SELECT ?", [value])
          .values.pipe(Effect.provideService(SqlClient.SafeIntegers, true))
        const expected = typeof value === "boolean" ? Number(value) : value
        assert.deepStrictEqual(rows, [[expected]])
      }
    }).pipe(Effect.provide(Reactivity.layer))
  )

  it.effect("runs statements beyond the number it keeps prepared", () =>
    Effect.gen(function* () {
      const sql = yield* SqliteClient.make({ filename: ":memory:", statementsMax: 2 })
      for (const n of [1, 2, 3, 1, 2, 3, 3, 1]) {
        assert.deepStrictEqual(yield* sql.unsafe(`SELECT ${n}, ?`, [n]).values, [[n, n]])
      }
    }).pipe(Effect.provide(Reactivity.layer))
  )
})
