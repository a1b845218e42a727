import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import * as SqliteClient from "../../../src/platform/SqliteClient.ts"
import * as Filter from "../../../src/core/Filter.ts"
import * as IndexScan from "../../../src/store/reading/IndexScan.ts"
import type { End, Question } from "../../../src/store/reading/Leads.ts"
import * as Leads from "../../../src/store/reading/Leads.ts"
import type { Query } from "../../../src/store/reading/Reader.ts"
import * as Mirror from "../../../src/store/mirror/Mirror.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"

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

/** What a filter asks, in a range of a thousand rows. */
const asking = (query: Query, leavesUpTo?: number): Question => ({
  ...Filter.criteriaOf(query),
  leavesUpTo
})

const looking =
  (question: Question, end: End = "first", until = 900): Ask =>
  (sql) =>
    Effect.gen(function* () {
      const range = { after: 10, until }
      const plan = yield* Leads.plan(sql, question, range)
      return yield* IndexScan.look(sql, plan, range, 256, end)
    })

const byKey =
  /SEARCH sealog_keys USING (?:COVERING INDEX|PRIMARY KEY).* \(name=\? AND value=\? AND seq>\? AND seq<\?\)/
const by = (index: string) =>
  new RegExp(
    `SEARCH sealog_index USING COVERING INDEX sealog_index_${index} \\(\\w+=\\? AND rowid>\\? AND rowid<\\?\\)`
  )

/** Each row that was led to is looked up once, by its seq. */
const once = /SEARCH i USING INTEGER PRIMARY KEY \(rowid=\?\) LEFT-JOIN/

const questions: { readonly [what: string]: readonly [ask: Ask, ...plan: ReadonlyArray<RegExp>] } =
  {
    "leaves of a range": [
      looking(asking({}, 900)),
      /SEARCH i USING INTEGER PRIMARY KEY \(rowid>\? AND rowid<\?\).*SEARCH c USING (?:COVERING )?INDEX sealog_index_parent \(parent_seq=\?/
    ],
    "the last leaves": [
      looking(asking({}, 900), "last"),
      /SEARCH i USING INTEGER PRIMARY KEY \(rowid>\? AND rowid<\?\).*SEARCH c USING (?:COVERING )?INDEX sealog_index_parent/
    ],
    "a type": [looking(asking({ types: ["a.b.v1"] })), by("type"), once],
    "one of two types": [looking(asking({ types: ["a.b.v1", "a.c.v1"] })), by("type"), once],
    "a session": [looking(asking({ sessionId: "s" })), by("session"), once],
    "the last of a session": [looking(asking({ sessionId: "s" }), "last"), by("session"), once],
    "a trace": [looking(asking({ traceId: "trc_1" })), by("trace"), once],
    "a key": [looking(asking({ keys: { host: "a" } })), byKey, once],
    "a key with one of two values": [looking(asking({ keys: { host: ["a", "b"] } })), byKey, once],
    "two keys and a type": [
      looking(asking({ keys: { host: "a", rollout: "r" }, types: ["a.b.v1"] })),
      byKey,
      once
    ],
    "a range of time": [
      looking(asking({ observedFrom: "2026-01-01T00:00:00Z" })),
      /SEARCH sealog_times USING INTEGER PRIMARY KEY \(rowid>\? AND rowid<\?\)/
    ],
    "the ancestors of a row": [
      (sql) => IndexScan.ancestors(sql, 900, 0),
      /SEARCH sealog_index USING INTEGER PRIMARY KEY \(rowid=\?\).*SEARCH i USING INTEGER PRIMARY KEY \(rowid=\?\)/
    ]
  }

describe("IndexScan", () => {
  for (const [what, [ask, ...expected]] of Object.entries(questions)) {
    it.effect(`asks for ${what} by an index, and never reads the whole table`, () =>
      within(
        Effect.fnUntraced(function* (sql) {
          const plans = yield* plansOf(sql, ask)
          for (const plan of expected) {
            assert.isTrue(
              plans.some((each) => plan.test(each)),
              plans.join("\n")
            )
          }
          for (const each of plans) {
            assert.notMatch(each, /SCAN (?:i|c|k|sealog_\w+)\b/)
          }
        })
      )
    )
  }

  it.effect("asks what an append expects of a few rows in two statements, however many keys", () =>
    within((sql) =>
      Effect.gen(function* () {
        const question = asking({ keys: { host: "a", rollout: "r" }, types: ["a.b.v1"] })
        // The rows, the seqs that lead to them inside of it, and whether any row is missing.
        assert.lengthOf(yield* plansOf(sql, looking(question, "first", 100)), 3)
      })
    )
  )

  it.effect("looks at a bounded number of rows in a statement, however many match", () =>
    within(
      Effect.fnUntraced(function* (sql) {
        const count = 10_000
        // A chain: row n is the parent of row n + 1.
        yield* sql`WITH RECURSIVE n (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n WHERE seq < ${count})
          INSERT INTO sealog_index SELECT seq, 'e' || seq, nullif(seq - 1, 0), 'a.b.v1', NULL, NULL, 1, 0, 1, '', ''
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
        const range = { after: 100, until: count }
        const other = { question: asking({}, count), lead: undefined }
        const rare = yield* IndexScan.look(
          sql,
          { ...other, question: asking({ types: ["x.y.v1"] }, count) },
          range,
          256
        )
        const left = { after: 100 + 4_096, until: count }
        assert.deepStrictEqual(rare, { rows: [], left, gapIn: undefined })
        // Every row has the type that leads, and none the session that is asked for then.
        const led = yield* Leads.plan(sql, asking({ types: ["a.b.v1"] }), range)
        const none = { ...led, question: asking({ types: ["a.b.v1"], sessionId: "x" }) }
        const looked = yield* IndexScan.look(sql, none, range, 256)
        assert.deepStrictEqual(looked, { rows: [], left, gapIn: undefined })
        const nth = (n: number, end: End) =>
          IndexScan.nth(sql, led, { after: 0, until: count }, n, end)
        assert.strictEqual(yield* nth(5_000, "first"), 5_000)
        assert.strictEqual(yield* nth(5_000, "last"), 5_001)
        assert.strictEqual(yield* nth(count + 1, "last"), undefined)
        yield* sql`DELETE FROM sealog_index WHERE seq = 7000`
        const gap = yield* IndexScan.look(
          sql,
          { ...other, question: asking({ types: ["x.y.v1"] }, count) },
          { after: 5_000, until: count },
          256
        )
        assert.deepStrictEqual(gap.gapIn, { after: 5_000, until: 9_096 })
        assert.strictEqual(yield* IndexScan.firstGap(sql, { after: 5_000, until: 9_096 }), 7_000)
      })
    )
  )
})
