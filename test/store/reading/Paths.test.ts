import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { assertLike, meddle } from "../ledgerFixtures.ts"
import { append, asking, B, row } from "../trees.ts"

describe("an index that lies about parents and types", () => {
  const mirrorOf = (directory: string) => path.join(directory, "mirror.sqlite")

  /** 1 - 2 - 3 - 4 - 5, and 6 beside them, a child of 2. */
  const branched = Effect.gen(function* () {
    const directory = yield* TestLedger.directory
    const parents = [undefined, 1, 2, 3, 4, 2]
    const known = parents.map((parent, nth) =>
      row(nth + 1, parent, nth === 2 ? "tree.b.v1" : "tree.a.v1")
    )
    yield* append(known).pipe(Effect.provide(TestLedger.layer({ directory })))
    return directory
  })

  const cases: ReadonlyArray<readonly [what: string, sql: string, seq: number]> = [
    ["names another parent", "UPDATE sealog_index SET parent_seq = 2 WHERE seq = 4", 4],
    ["skips to the root", "UPDATE sealog_index SET parent_seq = 1 WHERE seq = 5", 5],
    ["ends a path early", "UPDATE sealog_index SET parent_seq = NULL WHERE seq = 3", 3],
    ["gives the root a parent", "UPDATE sealog_index SET parent_seq = 0 WHERE seq = 1", 1],
    ["makes a cycle", "UPDATE sealog_index SET parent_seq = 5 WHERE seq = 1", 1],
    ["makes a row its own parent", "UPDATE sealog_index SET parent_seq = 4 WHERE seq = 4", 4],
    ["names a row far beyond", "UPDATE sealog_index SET parent_seq = 999999 WHERE seq = 4", 4],
    ["names a negative row", "UPDATE sealog_index SET parent_seq = -1 WHERE seq = 4", 4],
    ["names no number", "UPDATE sealog_index SET parent_seq = 'x' WHERE seq = 4", 4],
    ["names part of a row", "UPDATE sealog_index SET parent_seq = 2.5 WHERE seq = 4", 4],
    ["has lost an ancestor", "DELETE FROM sealog_index WHERE seq = 2", 2],
    ["says another type", "UPDATE sealog_index SET event_type = 'tree.c.v1' WHERE seq = 3", 3],
    ["says another id", "UPDATE sealog_index SET event_id = 'evt_other' WHERE seq = 2", 2]
  ]

  for (const [what, sql, seq] of cases) {
    it.effect(`that ${what} is found on a path`, () =>
      Effect.gen(function* () {
        const directory = yield* branched
        meddle(mirrorOf(directory), sql)
        yield* asking({ directory })(
          Effect.fnUntraced(function* (reader) {
            const error = yield* Effect.flip(Stream.runDrain(reader.path(5)))
            assertLike(error, { _tag: "RowDamaged", seq, leg: "index" }, String(error))
            assert.notInclude(["", undefined], Reflect.get(error, "actual"))
          })
        )
      })
    )
  }

  it.effect("that skips an ancestor between two pages is found too", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const known = Array.from({ length: 300 }, (_, nth) => row(nth + 1, nth || undefined))
      yield* append(known).pipe(Effect.provide(TestLedger.layer({ directory })))
      meddle(mirrorOf(directory), "UPDATE sealog_index SET parent_seq = 256 WHERE seq = 258")
      yield* asking({ directory })(
        Effect.fnUntraced(function* (reader) {
          for (const query of [{}, { last: 43 }, { last: 60, until: 300 }]) {
            const error = yield* Effect.flip(Stream.runDrain(reader.path(300, query)))
            assertLike(error, { _tag: "RowDamaged", seq: 258, leg: "index" }, String(error))
          }
          // Where it is not on the way, nobody looks.
          assert.strictEqual((yield* Stream.runCollect(reader.path(300, { last: 42 }))).length, 42)
        })
      )
    })
  )

  for (const column of ["leaf_hash", "event_id", "event_type"]) {
    it.effect(
      `that holds bytes as the ${column} of the newest row is damage, and no other end`,
      () =>
        Effect.gen(function* () {
          const directory = yield* branched
          meddle(mirrorOf(directory), `UPDATE sealog_index SET ${column} = x'00ff' WHERE seq = 6`)
          yield* asking({ directory })(
            Effect.fnUntraced(function* (reader) {
              const streams = [reader.events(), reader.events({ leaves: true }), reader.path(6)]
              for (const stream of streams) {
                const error = yield* Effect.flip(Stream.runDrain(stream))
                assertLike(error, { _tag: "RowDamaged", seq: 6, leg: "index" }, String(error))
              }
            })
          )
        })
    )
  }

  it.effect("that has lost a row does not pass it over when it looks for others", () =>
    Effect.gen(function* () {
      const directory = yield* branched
      meddle(mirrorOf(directory), "DELETE FROM sealog_index WHERE seq = 4")
      yield* asking({ directory })(
        Effect.fnUntraced(function* (reader) {
          for (const asked of [{ leaves: true }, { kinds: [B] }, { kinds: [B], last: 1 }, {}]) {
            const error = yield* Effect.flip(Stream.runDrain(reader.events(asked)))
            assertLike(error, { _tag: "RowDamaged", seq: 4, leg: "index" }, String(error))
          }
        })
      )
    })
  )

  it.effect("that says another type is found where the row is read for it", () =>
    Effect.gen(function* () {
      const directory = yield* branched
      meddle(mirrorOf(directory), "UPDATE sealog_index SET event_type = 'tree.b.v1' WHERE seq = 2")
      yield* asking({ directory })(
        Effect.fnUntraced(function* (reader) {
          const error = yield* Effect.flip(Stream.runDrain(reader.events({ kinds: [B] })))
          assertLike(error, {
            _tag: "RowDamaged",
            seq: 2,
            leg: "index",
            expected: "the type tree.b.v1",
            actual: "tree.a.v1"
          })
          assert.strictEqual((yield* reader.verify())._tag, "Damaged")
        })
      )
    })
  )

  it.effect("that counts a row as a parent of itself or of an earlier one hides no leaf", () =>
    Effect.gen(function* () {
      const directory = yield* branched
      meddle(mirrorOf(directory), "UPDATE sealog_index SET parent_seq = 6 WHERE seq = 3")
      meddle(mirrorOf(directory), "UPDATE sealog_index SET parent_seq = 6 WHERE seq = 6")
      yield* asking({ directory })(
        Effect.fnUntraced(function* (reader) {
          const leaves = yield* Stream.runCollect(reader.events({ leaves: true }))
          assert.includeMembers(
            leaves.map(({ seq }) => seq),
            [5, 6]
          )
        })
      )
    })
  )
})
