/** What of a mirror a death leaves, over seeds, and what faults of SQL do. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Predicate, Result } from "effect"
import { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import * as FaultyDisk from "../../src/testing/FaultyDisk.ts"

/** One program's work on the mirror of a disk; none of its connections outlives it. */
const onMirror = <A, E>(
  disk: FaultyDisk.FaultyDisk,
  work: (sql: SqlClient.SqlClient) => Effect.Effect<A, E>
) =>
  Effect.flatMap(SqlClient.SqlClient, work).pipe(
    Effect.provide(Layer.fresh(disk.openMirror.writing("/mirror.sqlite")))
  )

const makeTable = (sql: SqlClient.SqlClient) =>
  sql`CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY)`

const insert = (sql: SqlClient.SqlClient, n: number) => sql`INSERT INTO t (n) VALUES (${n})`

const rowsOf = (sql: SqlClient.SqlClient) =>
  Effect.gen(function* () {
    const [found] = yield* sql<{ n: number }>`SELECT count(*) AS n FROM sqlite_schema`
    if (found?.n === 0) return undefined
    return (yield* sql<{ n: number }>`SELECT n FROM t ORDER BY n`).map(({ n }) => n)
  })

const IOERR = 10
const FULL = 13

/** SQLite's result code. */
const codeOf = ({ reason }: SqlError): unknown =>
  Predicate.hasProperty(reason.cause, "errcode") ? reason.cause.errcode : undefined

/**
 * Rows 1 and 2 and a kill; in the second life rows 3 and 4, a checkpoint, rows 5, 6 and 7, and a
 * power cut. The rows that are left, or undefined where the database is gone.
 */
const lifeOf = (seed: number) =>
  Effect.gen(function* () {
    const disk = yield* FaultyDisk.make({ seed })
    const fill = (sql: SqlClient.SqlClient, from: number, to: number) =>
      Effect.forEach(range(from, to), (n) => insert(sql, n), { discard: true })
    yield* onMirror(disk, (sql) =>
      makeTable(sql).pipe(Effect.andThen(fill(sql, 1, 2)), Effect.andThen(disk.kill))
    )
    yield* onMirror(disk, (sql) =>
      fill(sql, 3, 4).pipe(
        Effect.andThen(sql.unsafe("PRAGMA wal_checkpoint(PASSIVE)")),
        Effect.andThen(fill(sql, 5, 7)),
        Effect.andThen(disk.powerCut)
      )
    )
    return yield* onMirror(disk, (sql) =>
      Effect.gen(function* () {
        const [check] = yield* sql.unsafe<{ integrity_check: string }>("PRAGMA integrity_check")
        assert.strictEqual(check?.integrity_check, "ok")
        return yield* rowsOf(sql)
      })
    )
  }).pipe(Effect.scoped)

const range = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, nth) => from + nth)

describe("the mirror of a faulty disk", () => {
  it.effect("loses its last commits, all since the last start, or itself to a power cut", () =>
    Effect.gen(function* () {
      const seen = new Map<string, number>()
      for (let seed = 1; seed <= 80; seed++) {
        const left = yield* lifeOf(seed)
        const key = left === undefined ? "missing" : String(left.length)
        seen.set(key, (seen.get(key) ?? 0) + 1)
        // Whole commits, in order, whatever is lost of them.
        if (left !== undefined) assert.deepStrictEqual(left, range(1, left.length))
      }
      // Rows 3 and 4 were checkpointed: they are lost with the whole of this life or not at all.
      assert.sameMembers([...seen.keys()], ["missing", "2", "4", "5", "6", "7"])
    })
  )

  it.effect("loses the same from the same seed", () =>
    Effect.gen(function* () {
      for (let seed = 1; seed <= 10; seed++) {
        assert.deepStrictEqual(yield* lifeOf(seed), yield* lifeOf(seed), `seed ${seed}`)
      }
    })
  )

  it.effect("loses nothing committed to a kill, and what no commit closed", () =>
    Effect.gen(function* () {
      const disk = yield* FaultyDisk.make()
      yield* Effect.ignore(
        onMirror(disk, (sql) =>
          Effect.gen(function* () {
            yield* makeTable(sql)
            yield* insert(sql, 1)
            yield* sql.withTransaction(Effect.andThen(insert(sql, 2), disk.kill))
          })
        )
      )
      assert.deepStrictEqual(yield* onMirror(disk, rowsOf), [1])
    })
  )

  it.effect(
    "may lose to a power cut what a kill before it left, as that made nothing durable",
    () =>
      Effect.gen(function* () {
        const seen = new Set<number | undefined>()
        for (let seed = 1; seed <= 40; seed++) {
          const disk = yield* FaultyDisk.make({ seed })
          yield* onMirror(disk, (sql) =>
            makeTable(sql).pipe(
              Effect.andThen(Effect.forEach(range(1, 3), (n) => insert(sql, n))),
              Effect.andThen(disk.kill)
            )
          )
          yield* onMirror(disk, (sql) => Effect.andThen(rowsOf(sql), disk.powerCut))
          seen.add((yield* onMirror(disk, rowsOf))?.length)
        }
        assert.sameMembers([...seen], [undefined, 0, 1, 2, 3])
      }).pipe(Effect.scoped)
  )

  it.effect("answers a dead program nothing, and hides its writes from the next", () =>
    Effect.gen(function* () {
      const disk = yield* FaultyDisk.make()
      yield* onMirror(disk, (sql) =>
        Effect.gen(function* () {
          yield* makeTable(sql)
          yield* disk.kill
          assert.strictEqual(codeOf(yield* Effect.flip(insert(sql, 1))), IOERR)
          assert.strictEqual(codeOf(yield* Effect.flip(rowsOf(sql))), IOERR)
        })
      )
      assert.deepStrictEqual(yield* onMirror(disk, rowsOf), [])
    })
  )

  const struck = (
    name: string,
    fault: FaultyDisk.Fault,
    code: unknown,
    rows: ReadonlyArray<number>
  ) =>
    it.effect(name, () =>
      Effect.gen(function* () {
        const disk = yield* FaultyDisk.make()
        yield* onMirror(disk, makeTable)
        yield* disk.fail(fault)
        const said = yield* onMirror(disk, (sql) =>
          Effect.andThen(
            insert(sql, 1),
            Effect.result(sql.withTransaction(Effect.andThen(insert(sql, 2), insert(sql, 3))))
          )
        )
        assert.strictEqual(Result.isFailure(said) ? codeOf(said.failure) : "done", code)
        assert.strictEqual(yield* disk.struck, 1)
        assert.deepStrictEqual(yield* onMirror(disk, rowsOf), rows)
      })
    )

  const third = { on: "statement", path: "INSERT", nth: 3 } as const
  struck("is full", { ...third, code: "SQLITE_FULL" }, FULL, [1])
  struck("cannot be written", { ...third, code: "SQLITE_IOERR" }, IOERR, [1])
  struck("fails to commit", { on: "commit", code: "SQLITE_FULL" }, FULL, [1])
  struck(
    "fails to commit, and has committed",
    { on: "commit", code: "SQLITE_IOERR", persists: true },
    IOERR,
    [1, 2, 3]
  )
  struck(
    "loses its transaction on the way, which the client finds out",
    { ...third, vanishes: true },
    undefined,
    [1]
  )
  struck("dies instead of its commit", { on: "commit", crash: "kill" }, IOERR, [1])
  struck(
    "dies with its commit done",
    { on: "commit", crash: "kill", during: true },
    IOERR,
    [1, 2, 3]
  )

  it.effect("strikes the nth statement that holds a text", () =>
    Effect.gen(function* () {
      const disk = yield* FaultyDisk.make()
      const said = yield* onMirror(disk, (sql) =>
        Effect.gen(function* () {
          yield* makeTable(sql)
          yield* disk.fail({ path: "INSERT", nth: 2, times: 2, code: "SQLITE_FULL" })
          return yield* Effect.forEach(range(1, 4), (n) => Effect.isSuccess(insert(sql, n)))
        })
      )
      assert.deepStrictEqual(said, [true, false, false, true])
      assert.deepStrictEqual(yield* onMirror(disk, rowsOf), [1, 4])
      const statements = (yield* disk.operations).filter(({ path }) => path.includes("INSERT"))
      assert.strictEqual(statements.length, 4)
    })
  )
})
