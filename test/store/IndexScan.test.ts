import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import * as SqliteClient from "../../src/platform/SqliteClient.ts"
import * as IndexScan from "../../src/store/IndexScan.ts"
import * as Mirror from "../../src/store/Mirror.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"

type Ask = (sql: SqlClient.SqlClient) => Effect.Effect<unknown, SqlError>

/** What SQLite says of how it runs every statement that a question sends. */
const plansOf = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, ask: Ask) {
  const texts: Array<readonly [string, ReadonlyArray<unknown>]> = []
  const spy: SqlClient.SqlClient = new Proxy(sql, {
    apply: (target, self, args) => {
      const statement = Reflect.apply(target, self, args)
      if (Array.isArray(args[0]) && typeof statement?.compile === "function") {
        const text = args[0].join("?")
        if (/^\s*(?:SELECT|WITH)/.test(text)) texts.push(statement.compile())
      }
      return statement
    }
  })
  yield* ask(spy)
  const plans: Array<string> = []
  for (const [text, params] of texts) {
    const rows = yield* sql.unsafe<{ readonly detail: string }>(
      `EXPLAIN QUERY PLAN ${text}`,
      params
    )
    plans.push(rows.map(({ detail }) => detail).join("; "))
  }
  return plans
})

const within = <A, E>(body: (sql: SqlClient.SqlClient) => Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const filename = path.join(yield* TestLedger.directory, "mirror.sqlite")
    return yield* Effect.gen(function* () {
      yield* Mirror.migrate
      return yield* body(yield* SqlClient.SqlClient)
    }).pipe(Effect.provide(SqliteClient.layer({ filename })))
  })

const questions: { readonly [what: string]: readonly [ask: Ask, plan: RegExp] } = {
  "leaves of a range": [
    (sql) => IndexScan.window(sql, { leavesUpTo: 900 }, 10, 800, 256),
    /SEARCH i USING INTEGER PRIMARY KEY \(rowid>\? AND rowid<\?\).*SEARCH c USING (?:COVERING )?INDEX sealog_index_parent \(parent_seq=\?/
  ],
  "the last leaves": [
    (sql) => IndexScan.nth(sql, { leavesUpTo: 900 }, { after: 0, until: 900 }, 3, "last"),
    /SEARCH i USING INTEGER PRIMARY KEY \(rowid>\? AND rowid<\?\).*SEARCH c USING (?:COVERING )?INDEX sealog_index_parent/
  ],
  "types of a range": [
    (sql) => IndexScan.window(sql, { types: ["a.b.v1"] }, 10, 800, 256),
    /SEARCH i USING INTEGER PRIMARY KEY \(rowid>\? AND rowid<\?\)/
  ],
  "the ancestors of a row": [
    (sql) => IndexScan.ancestors(sql, 900, 0),
    /SEARCH sealog_index USING INTEGER PRIMARY KEY \(rowid=\?\).*SEARCH i USING INTEGER PRIMARY KEY \(rowid=\?\)/
  ]
}

describe("IndexScan", () => {
  for (const [what, [ask, plan]] of Object.entries(questions)) {
    it.effect(`asks for ${what} by an index, and never reads the whole table`, () =>
      within(
        Effect.fnUntraced(function* (sql) {
          const plans = yield* plansOf(sql, ask)
          assert.match(plans[0] ?? "", plan)
          for (const each of plans) assert.notMatch(each, /SCAN (?:i|c|sealog_index)\b/)
        })
      )
    )
  }

  it.effect("looks at a bounded number of rows in a statement, however many match", () =>
    within(
      Effect.fnUntraced(function* (sql) {
        const count = 10_000
        // A chain: row n is the parent of row n + 1.
        yield* sql`WITH RECURSIVE n (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n WHERE seq < ${count})
          INSERT INTO sealog_index SELECT seq, 'e' || seq, nullif(seq - 1, 0), 'a.b.v1', NULL, NULL, 1, 0, 1, ''
          FROM n`
        const up = yield* IndexScan.ancestors(sql, count, 0)
        assert.deepStrictEqual(
          [up.length, up[0]?.seq, up.at(-1)?.seq],
          [4_096, count, count - 4_095]
        )
        const short = yield* IndexScan.ancestors(sql, count, count - 3)
        assert.deepStrictEqual(
          short.map(({ seq }) => seq),
          [10_000, 9_999, 9_998, 9_997]
        )
        const none = yield* IndexScan.window(sql, { types: ["x.y.v1"] }, 100, count, 256)
        assert.deepStrictEqual(none, { rows: [], upTo: 100 + 4_096, isWhole: true })
        const nth = (n: number, from: "first" | "last") =>
          IndexScan.nth(sql, { types: ["a.b.v1"] }, { after: 0, until: count }, n, from)
        assert.strictEqual(yield* nth(5_000, "first"), 5_000)
        assert.strictEqual(yield* nth(5_000, "last"), 5_001)
        assert.strictEqual(yield* nth(count + 1, "last"), undefined)
        yield* sql`DELETE FROM sealog_index WHERE seq = 7000`
        const gap = yield* IndexScan.window(sql, { types: ["x.y.v1"] }, 5_000, count, 256)
        assert.isFalse(gap.isWhole)
        assert.strictEqual(yield* IndexScan.firstGap(sql, 5_000, gap.upTo), 7_000)
      })
    )
  )
})
