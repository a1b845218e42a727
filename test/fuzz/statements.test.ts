/** Statements of few sizes: every row once, a placeholder for each parameter, within SQLite's limits. */
import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import { Reactivity } from "effect/reactivity"
import type { SqlClient } from "effect/sql"
import * as SqliteClient from "../../src/platform/SqliteClient.ts"
import * as Statements from "../../src/store/mirror/statements.ts"
import { fuzz, fuzzEffect } from "./choices.ts"
import type { Choices } from "./choices.ts"

// SQLITE_MAX_VARIABLE_NUMBER as every build has it since 3.32.
const parametersMax = 32_766

const count = (c: Choices): number =>
  c.pick([c.below(20), c.below(600), 256, 255, 257, 512, c.below(3_000)])

const idsOf = (size: number): ReadonlyArray<string> =>
  Array.from({ length: size }, (_, nth) => `id ${nth}`)

const isSize = (size: number): boolean => size <= 256 && Number.isInteger(Math.log2(size))

const placeholders = (text: string): number => text.split("?").length - 1

const inMemory = SqliteClient.make({ filename: ":memory:" }).pipe(Effect.provide(Reactivity.layer))

describe("Statements, fuzzed", () => {
  fuzz(
    "any number of rows comes in runs of few sizes, each row once and in its order",
    { cases: 2_000, generate: count, show: String },
    (size) => {
      const rows = idsOf(size)
      const runs = Statements.inSizes(rows)
      assert.deepStrictEqual(runs.flat(), rows)
      for (const run of runs) assert.isTrue(isSize(run.length) || size === 0)
      assert.isAtMost(new Set(runs.map((run) => run.length)).size, 9)
      // The fewest runs of such sizes: as many full ones as there are, and a bit each of the rest.
      const rest = (size % 256).toString(2).replaceAll("0", "").length
      assert.strictEqual(runs.length, Math.floor(size / 256) + rest)
    }
  )

  fuzz(
    "any number of ids comes in runs of few sizes, filled with none but their own",
    { cases: 2_000, generate: count, show: String },
    (size) => {
      const ids = idsOf(size)
      const runs = Statements.filledSizes(ids)
      assert.deepStrictEqual([...new Set(runs.flat())], ids)
      for (const run of runs) assert.isTrue(isSize(run.length))
      if (size > 0) assert.isBelow(runs.flat().length, 2 * size)
    }
  )

  fuzzEffect(
    "a statement has as many placeholders as parameters, and SQLite takes it",
    {
      cases: 150,
      generate: (c) => ({ rows: 2 ** c.below(9), columns: 1 + c.below(14) }),
      show: ({ columns, rows }) => `${rows} rows of ${columns} columns`
    },
    ({ columns, rows }) =>
      Effect.gen(function* () {
        const sql: SqlClient.SqlClient = yield* inMemory
        const names = Array.from({ length: columns }, (_, nth) => `c${nth}`)
        const insert = Statements.remembered(Statements.insertInto("t", names))
        const lookUp = Statements.remembered(
          Statements.withList((list) => `SELECT c0 FROM t WHERE c0 IN (${list})`)
        )
        const text = insert(sql, rows)
        assert.strictEqual(insert(sql, rows), text)
        assert.strictEqual(placeholders(text), rows * columns)
        assert.isAtMost(rows * columns, parametersMax)
        assert.strictEqual(placeholders(lookUp(sql, rows)), rows)
        yield* sql.unsafe(`CREATE TABLE t (${names.join(", ")})`)
        const run = yield* Statements.runOn(sql)
        const values = Array.from({ length: rows * columns }, (_, nth) => `value ${nth}`)
        yield* run(text, values)
        const firsts = values.filter((_, nth) => nth % columns === 0)
        const found = yield* run<{ c0: string }>(lookUp(sql, rows), firsts)
        assert.deepStrictEqual(
          found.map(({ c0 }) => c0),
          firsts
        )
      }).pipe(Effect.scoped)
  )

  fuzz(
    "where placeholders have numbers they count from one, row by row",
    {
      cases: 500,
      generate: (c) => ({ rows: 1 + c.below(256), columns: 1 + c.below(14) }),
      show: ({ columns, rows }) => `${rows} rows of ${columns} columns`
    },
    ({ columns, rows }) => {
      const names = Array.from({ length: columns }, (_, nth) => `c${nth}`)
      const text = Statements.insertInto("t", names)(rows, (nth) => `$${nth}`)
      const numbers = [...text.matchAll(/\$(\d+)/g)].map(([, digits]) => Number(digits))
      assert.deepStrictEqual(
        numbers,
        Array.from({ length: rows * columns }, (_, nth) => nth + 1)
      )
    }
  )
})
