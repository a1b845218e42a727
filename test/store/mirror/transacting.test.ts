/** A transaction whose end fails: all that SQL says comes back as a failure, and nothing is kept. */
import { assert, describe, it } from "@effect/vitest"
import { Data, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { transacting } from "../../../src/store/mirror/transacting.ts"
import * as FaultyDisk from "../../../src/testing/FaultyDisk.ts"

class Refused extends Data.TaggedError("Refused")<{}> {}

/** What ends the inner transaction, what is struck then, and the failure of the outer one. */
const ends: ReadonlyArray<readonly [string, Effect.Effect<void, Refused>, string, string]> = [
  ["a savepoint that is not released", Effect.void, "RELEASE", "SqlError"],
  ["a savepoint that is not gone back to", new Refused(), "ROLLBACK TO", "SqlError"],
  ["a rollback that fails", new Refused(), "ROLLBACK", "SqlError"],
  ["a refusal", new Refused(), "nothing", "Refused"]
]

describe("transacting", () => {
  for (const [what, end, path, tag] of ends) {
    it.effect(`tells ${what} as a failure, and keeps nothing`, () =>
      Effect.gen(function* () {
        const disk = yield* FaultyDisk.make()
        yield* Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* sql`CREATE TABLE t (n INTEGER)`
          yield* disk.fail({ on: "statement", path, code: "SQLITE_IOERR" })
          const inner = Effect.andThen(sql`INSERT INTO t VALUES (2)`, end)
          const outer = Effect.andThen(sql`INSERT INTO t VALUES (1)`, transacting(sql)(inner))
          const exit = yield* Effect.flip(transacting(sql)(outer))
          assert.strictEqual(exit._tag, tag)
          yield* disk.mend
          assert.deepStrictEqual(yield* sql`SELECT n FROM t`, [])
          yield* transacting(sql)(sql`INSERT INTO t VALUES (3)`)
          assert.strictEqual((yield* sql`SELECT n FROM t`).length, 1)
        }).pipe(Effect.provide(Layer.fresh(disk.openMirror.writing("/mirror.sqlite"))))
      }).pipe(Effect.scoped)
    )
  }

  it.effect("leaves what an application died of a defect", () =>
    Effect.gen(function* () {
      const disk = yield* FaultyDisk.make()
      yield* Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const exit = yield* Effect.exit(transacting(sql)(Effect.die("mine")))
        assert.isTrue(exit._tag === "Failure" && String(exit.cause).includes("mine"))
      }).pipe(Effect.provide(disk.openMirror.writing("/mirror.sqlite")))
    }).pipe(Effect.scoped)
  )
})
