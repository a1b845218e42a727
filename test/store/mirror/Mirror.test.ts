import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Result, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { Event } from "../../../src/core/Event.ts"
import * as EventId from "../../../src/core/EventId.ts"
import * as Parity from "../../../src/core/Parity.ts"
import * as Row from "../../../src/core/Row.ts"
import * as Mirror from "../../../src/store/mirror/Mirror.ts"
import * as SqliteClient from "../../../src/platform/SqliteClient.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import {
  assertLike,
  assertSound,
  meddle,
  named,
  query,
  tables,
  using,
  vector,
  vectorLines
} from "../ledgerFixtures.ts"

const utf8 = new TextEncoder()

const golden: ReadonlyArray<Event> = vectorLines("log-unsigned.jsonl").map(
  (line, n) => Result.getOrThrow(Row.decode(utf8.encode(line), n + 1, "cortex")).event
)
const [first, second, third] = golden as readonly [Event, Event, Event]

/** Runs a body on a new mirror, with its tables made. */
const withMirror = <A, E>(
  body: (sql: SqlClient.SqlClient, filename: string) => Effect.Effect<A, E, SqlClient.SqlClient>
) =>
  Effect.gen(function* () {
    const filename = path.join(yield* TestLedger.directory, "mirror.sqlite")
    return yield* Effect.gen(function* () {
      yield* Mirror.migrate
      return yield* body(yield* SqlClient.SqlClient, filename)
    }).pipe(Effect.provide(SqliteClient.layer({ filename })))
  })

const changed = (event: Event, change: Partial<Event>): Event => new Event({ ...event, ...change })

const count = (sql: SqlClient.SqlClient) =>
  Effect.map(sql<{ n: number }>`SELECT count(*) AS n FROM events`, ([row]) => row?.n)

describe("insert", () => {
  it.effect("puts an event in once, and says so", () =>
    withMirror((sql, filename) =>
      Effect.gen(function* () {
        assert.strictEqual(yield* Mirror.insert(first), "inserted")
        const before = tables(filename)
        assert.strictEqual(yield* Mirror.insert(first), "present")
        assert.strictEqual(tables(filename), before)
        const [row] = yield* sql<Parity.MirrorRow>`SELECT * FROM events`
        assert.deepStrictEqual(row && Parity.differences(first, row), [])
      })
    )
  )

  const changes: { readonly [column: string]: Partial<Event> } = {
    schema_version: { schemaVersion: 1 },
    observed_at: { observedAt: "2030-01-01T00:00:00Z" },
    recorded_at: { recordedAt: "2030-01-01T00:00:00.000000001Z" },
    source_json: { source: { type: "tool", name: "other" } },
    event_type: { type: "cortex.event.outcome.v1" },
    trace_id: { traceId: `trc_${"0".repeat(26)}` },
    session_id: { sessionId: "other" },
    domain_tags_json: { domainTags: ["other"] },
    payload_json: { payloadText: '{"other":1}' },
    payload_hash: { payloadHash: "0".repeat(64) },
    prev_event_hash: { prevEventHash: "0".repeat(64) },
    event_hash: { eventHash: "0".repeat(64) }
  }

  for (const [column, change] of Object.entries(changes)) {
    it.effect(`never overwrites a row that differs in ${column}`, () =>
      withMirror((_sql, filename) =>
        Effect.gen(function* () {
          yield* Mirror.insert(first)
          const before = tables(filename)
          const other = changed(first, change)
          const error = yield* Effect.flip(Mirror.insert(other))
          assertLike(error, {
            _tag: "RowDiffers",
            id: first.id,
            columns: [column],
            jsonlEventHash: other.eventHash,
            sqliteEventHash: first.eventHash
          })
          assert.strictEqual(tables(filename), before)
        })
      )
    )
  }

  it.effect("refuses an event hash that is there under another id", () =>
    withMirror((sql) =>
      Effect.gen(function* () {
        yield* Mirror.insert(first)
        const twin = changed(first, { id: EventId.idFrom("twin") })
        assert.strictEqual((yield* Effect.flip(Mirror.insert(twin)))._tag, "MirrorError")
        assert.strictEqual(yield* count(sql), 1)
      })
    )
  )

  it.effect("takes part in the transaction of its caller", () =>
    withMirror((sql) =>
      Effect.gen(function* () {
        const both = Effect.andThen(Mirror.insert(first), Mirror.insert(second))
        const failed = yield* Effect.flip(
          sql.withTransaction(Effect.andThen(both, Effect.fail("no")))
        )
        assert.strictEqual(failed, "no")
        assert.strictEqual(yield* count(sql), 0)
        yield* sql.withTransaction(
          Effect.gen(function* () {
            yield* both
            const other = changed(first, { sessionId: "other" })
            assert.strictEqual((yield* Effect.flip(Mirror.insert(other)))._tag, "RowDiffers")
            assert.strictEqual(yield* Mirror.insert(third), "inserted")
          })
        )
        assert.strictEqual(yield* count(sql), 3)
      })
    )
  )
})

describe("migrate", () => {
  it.effect("may be run again, and changes nothing then", () =>
    withMirror((_sql, filename) =>
      Effect.gen(function* () {
        yield* Mirror.insert(first)
        const schema = () => JSON.stringify(query(filename, "SELECT * FROM sqlite_schema"))
        const before = [schema(), tables(filename)]
        yield* Mirror.migrate
        yield* Mirror.migrate
        assert.deepStrictEqual([schema(), tables(filename)], before)
      })
    )
  )

  it.effect("makes the columns and constraints of the original's table", () =>
    withMirror((sql, filename) =>
      Effect.gen(function* () {
        const file: { readonly columns: ReadonlyArray<{ readonly [name: string]: unknown }> } =
          JSON.parse(vector("mirror-rows.json").toString())
        assert.deepStrictEqual(
          query(filename, "PRAGMA table_info(events)").map((column) => ({
            name: column["name"],
            not_null: column["notnull"] === 1,
            primary_key: column["pk"] === 1,
            type: column["type"]
          })),
          [...file.columns]
        )
        yield* Mirror.insert(first)
        for (const column of ["source_json", "domain_tags_json", "payload_json"]) {
          const error = yield* Effect.flip(
            sql`UPDATE events SET ${sql.literal(column)} = ${"{"} WHERE id = ${first.id}`
          )
          assert.include(String(error.reason.cause), "CHECK constraint failed")
        }
        for (const column of ["event_type", "payload_hash", "event_hash", "observed_at"]) {
          const error = yield* Effect.flip(
            sql`UPDATE events SET ${sql.literal(column)} = NULL WHERE id = ${first.id}`
          )
          assert.include(String(error.reason.cause), "NOT NULL constraint failed")
        }
        yield* Mirror.insert(second)
        const error = yield* Effect.flip(sql`UPDATE events SET event_hash = ${first.eventHash}`)
        assert.include(String(error.reason.cause), "UNIQUE constraint failed: events.event_hash")
      })
    )
  )

  it.effect("refuses a file that is no database, and leaves it as it is", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory }, (ledger) => ledger.append(named("a")))
      const mirror = path.join(directory, "mirror.sqlite")
      fs.rmSync(`${mirror}-wal`, { force: true })
      fs.writeFileSync(
        mirror,
        "this is no database, but it is long enough to look like one".repeat(40)
      )
      const before = fs.readFileSync(mirror)
      const error = yield* Effect.flip(using({ directory }, () => Effect.void))
      assert.strictEqual(error._tag, "MirrorError")
      assert.isTrue(fs.readFileSync(mirror).equals(before))
    })
  )
})

describe("a database that Cortex made", () => {
  const prepare = Effect.map(TestLedger.directory, (directory) => {
    const file = path.join(directory, "log.jsonl")
    const mirror = path.join(`${file}.sealog`, "mirror.sqlite")
    fs.mkdirSync(`${file}.sealog`)
    fs.writeFileSync(file, vector("log-unsigned.jsonl"))
    fs.writeFileSync(mirror, vector("mirror.sqlite"))
    return { file, mirror }
  })

  it.effect("is taken over as the mirror of its file, row for row", () =>
    Effect.gen(function* () {
      const { file, mirror } = yield* prepare
      const before = JSON.stringify(query(mirror, "SELECT * FROM events ORDER BY rowid"))
      yield* using({ file }, (ledger) =>
        Effect.gen(function* () {
          yield* assertSound(ledger)
          const { replayed, skippedExisting, parity } = yield* ledger.replay
          assert.deepStrictEqual([replayed, skippedExisting], [0, 72])
          assertLike(parity, { jsonlEventCount: 72, sqliteEventCount: 72 })
          const draft = named("next", { type: "cortex.event.system_note.v1" })
          assert.strictEqual((yield* ledger.append(draft)).seq, 73)
          yield* assertSound(ledger)
        })
      )
      const after = query(mirror, "SELECT * FROM events ORDER BY rowid")
      assert.strictEqual(JSON.stringify(after.slice(0, 72)), before)
      assert.strictEqual(after.length, 73)
    })
  )

  it.effect("is refused where a row differs from its file, and nothing is changed", () =>
    Effect.gen(function* () {
      const { file, mirror } = yield* prepare
      meddle(mirror, `UPDATE events SET session_id = 'other' WHERE id = '${golden[40]?.id}'`)
      const before = JSON.stringify(query(mirror, "SELECT * FROM events ORDER BY rowid"))
      const error = yield* Effect.flip(using({ file }, () => Effect.void))
      assertLike(error, { _tag: "LedgerDiverged", seq: 41 })
      assert.strictEqual(
        JSON.stringify(query(mirror, "SELECT * FROM events ORDER BY rowid")),
        before
      )
      assert.isTrue(fs.readFileSync(file).equals(vector("log-unsigned.jsonl")))
    })
  )
})

describe("look-ups", () => {
  const int = (minimum: number, maximum: number) =>
    Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum, maximum })))

  it.effect("find exactly the rows that were asked for, however many", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const ids = Array.from({ length: 600 }, (_, n) => named(`${n}`).id ?? "")
      yield* using({ directory }, (ledger) =>
        ledger.appendAll(ids.map((_, n) => named(`${n}`, { keys: { n: String(n), k: "v" } })))
      )
      const filename = path.join(directory, "mirror.sqlite")
      yield* Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        for (const size of [0, 1, 2, 3, 255, 256, 257, 511, 512, 513, 600]) {
          const asked = [
            ...ids.slice(600 - size),
            EventId.idFrom("nobody"),
            ...ids.slice(600 - size)
          ]
          const index = yield* Mirror.findByIds(sql, asked)
          assert.deepStrictEqual(
            [...index.values()].map((row) => row.seq).toSorted((a, b) => a - b),
            Array.from({ length: size }, (_, n) => 601 - size + n)
          )
          assert.isTrue([...index].every(([id, row]) => row.event_id === id))
          const events = yield* Mirror.eventRows(sql, asked)
          assert.deepStrictEqual([...events.keys()].toSorted(), ids.slice(600 - size).toSorted())
        }
        assertLike((yield* Mirror.settled(sql)).head, { seq: 600, id: ids[599] })
      }).pipe(Effect.provide(SqliteClient.layer({ filename })))
      assert.deepStrictEqual(
        query(filename, "SELECT seq FROM sealog_keys WHERE name = 'n' AND value = '321'").map(
          (row) => row["seq"]
        ),
        [322]
      )
    })
  )

  it.effect.prop(
    "insert as many rows as there are, in their order",
    [int(0, 72)],
    ([size]) =>
      withMirror((sql) =>
        Effect.gen(function* () {
          yield* Mirror.insertEvents(sql, golden.slice(0, size))
          const rows = yield* sql<Parity.MirrorRow>`SELECT * FROM events ORDER BY rowid`
          assert.strictEqual(rows.length, size)
          for (const [n, row] of rows.entries()) {
            const event = golden[n]
            assert.deepStrictEqual(event && Parity.differences(event, row), [])
          }
        })
      ),
    { arbitrary: { runs: 15 } }
  )
})
