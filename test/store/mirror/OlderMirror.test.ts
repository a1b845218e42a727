import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as path from "node:path"
import * as SealogNode from "../../../src/platform/SealogNode.ts"
import * as Ledger from "../../../src/store/Ledger.ts"
import { ReadSql } from "../../../src/store/mirror/ReadSql.ts"
import { Reader } from "../../../src/store/reading/Reader.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { assertSound, meddle, named, using } from "../ledgerFixtures.ts"

const by = { operator: "ada", reason: "a test" }

/** A ledger of two rows whose mirror is as the version before queries by index left it. */
const old = Effect.gen(function* () {
  const directory = path.join(yield* TestLedger.directory, "l")
  yield* using({ directory }, (ledger) =>
    Effect.gen(function* () {
      yield* ledger.append(named("a"))
      yield* ledger.checkpoint("one")
      yield* ledger.append(named("b"))
    })
  )
  meddle(
    path.join(directory, "mirror.sqlite"),
    ...["type", "session", "trace"].map((name) => `DROP INDEX sealog_index_${name}`),
    "ALTER TABLE sealog_index DROP COLUMN observed_at",
    "DROP TABLE sealog_times",
    "DROP TABLE sealog_views",
    "DELETE FROM sealog_migrations WHERE migration_id > 3"
  )
  return directory
})

const told = /the SQL mirror failed to .*older version.*for writing once/

describe("A mirror of an older version", () => {
  it.effect("is told by a reader that needs what it lacks, until a writer has brought it up", () =>
    Effect.gen(function* () {
      const directory = yield* old
      const layer = SealogNode.layerReader({ directory })
      const since = { observedFrom: "1970-01-01T00:00:00Z" }
      yield* Reader.use((reader) =>
        Effect.gen(function* () {
          assert.strictEqual((yield* reader.head).seq, 2)
          assert.strictEqual(yield* Stream.runCount(reader.events()), 2)
          for (const asked of [
            Effect.asVoid(reader.verify()),
            Stream.runDrain(reader.events(since)),
            Stream.runDrain(reader.changes(since))
          ]) {
            const error = yield* Effect.flip<
              void,
              { readonly _tag: string; readonly message: string },
              never
            >(asked)
            assert.strictEqual(error._tag, "MirrorError")
            assert.match(error.message, told)
          }
        })
      ).pipe(Effect.provide(layer))
      const beside = Effect.flatMap(ReadSql, (sql) => Ledger.verify({ directory }, { sql })).pipe(
        Effect.provide(SealogNode.layerMirrorReadOnly(path.join(directory, "mirror.sqlite"))),
        Effect.provide(SealogNode.layerPlatform)
      )
      assert.match((yield* Effect.flip(beside)).message, told)
      yield* using({ directory }, assertSound)
      assert.strictEqual((yield* beside)._tag, "Intact")
      yield* Reader.use((reader) =>
        Effect.gen(function* () {
          assert.strictEqual((yield* reader.verify())._tag, "Intact")
          assert.strictEqual(yield* Stream.runCount(reader.events(since)), 2)
        })
      ).pipe(Effect.provide(layer))
    })
  )

  it.effect("is diagnosed and repaired as it lies", () =>
    Effect.gen(function* () {
      const directory = yield* old
      assert.isFalse((yield* SealogNode.diagnose({ directory })).isNeeded)
      meddle(
        path.join(directory, "mirror.sqlite"),
        `UPDATE sealog_index SET leaf_hash = '${"0".repeat(64)}' WHERE seq = 2`
      )
      const plan = yield* SealogNode.diagnose({ directory })
      assert.strictEqual(plan.mirrorUntil, 0)
      assert.strictEqual((yield* SealogNode.repair(plan, by)).outcome, "ok")
      yield* using({ directory }, assertSound)
    })
  )
})
