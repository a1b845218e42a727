/** Mirrors that another hand was at: opening, reading and appending answer with typed errors only. */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Stream } from "effect"
import * as Event from "../../src/core/Event.ts"
import * as FilePair from "../../src/store/mirror/FilePair.ts"
import type { Ledger } from "../../src/store/Ledger.ts"
import { Reader } from "../../src/store/reading/Reader.ts"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import * as SqliteClient from "../../src/platform/SqliteClient.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { meddle, named, query, segmentBytes, using, vector } from "../store/ledgerFixtures.ts"
import { fuzzEffect, showBytes, timeoutMillis } from "./choices.ts"
import type { Choices } from "./choices.ts"
import { eventColumns, hostileStatements, loosened } from "./hostileSql.ts"
import { mutated } from "./mutations.ts"

const root = fs.mkdtempSync(path.join(os.tmpdir(), "sealog-fuzz-"))
const fixture = path.join(root, "fixture")
const pair = path.join(root, "pair")
afterAll(() => fs.rmSync(root, { recursive: true }))

const head = 7

const make = Effect.gen(function* () {
  yield* using({ directory: fixture, segmentBytesMax: 2_500 }, (ledger) =>
    Effect.gen(function* () {
      yield* ledger.append(named("row 1", { keys: { k: "v", l: "" }, sessionId: "s" }))
      yield* ledger.appendAll(["row 2", "row 3", "row 4"].map((name) => named(name)))
      yield* ledger.append(named("row 5", { parentId: Event.idFrom("row 1"), keys: { k: "w" } }))
      yield* ledger.appendAll([named("row 6"), named("row 7", { domainTags: ["a", "b"] })])
    })
  )
  fs.mkdirSync(pair)
  fs.writeFileSync(path.join(pair, "log.jsonl"), vector("log-unsigned.jsonl"))
  const filename = path.join(pair, "mirror.sqlite")
  yield* FilePair.replay(path.join(pair, "log.jsonl")).pipe(
    Effect.provide(SqliteClient.layer({ filename })),
    Effect.provide(TestLedger.layerPlatform())
  )
})

beforeAll(() => Effect.runPromise(make), timeoutMillis)

let copies = 0

/** A copy of what was made, gone when the body is done. */
const onCopy = <A, E>(
  from: string,
  body: (directory: string) => Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  Effect.acquireUseRelease(
    Effect.sync(() => {
      const directory = path.join(root, `copy ${copies++}`)
      fs.cpSync(from, directory, { recursive: true })
      return directory
    }),
    body,
    (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true }))
  )

/** Run what SQLite takes of the statements; what it refuses changes nothing. */
const harm = (filename: string, statements: ReadonlyArray<string>): void => {
  const db = new DatabaseSync(filename)
  for (const statement of statements) {
    try {
      db.exec(statement)
    } catch (error) {
      assert.instanceOf(error, Error)
    }
  }
  db.close()
}

const seen = { opened: 0, refused: 0, Intact: 0, Damaged: 0, appended: 0, typed: 0 }

/** The answer or the typed error of an effect; a defect fails the test. */
const answer = Effect.fnUntraced(function* <A, E, R>(what: string, effect: Effect.Effect<A, E, R>) {
  const exit = yield* Effect.exit(effect)
  if (Exit.isSuccess(exit)) return exit.value
  const { cause } = exit
  assert.isFalse(Cause.hasDies(cause), `${what}: ${Cause.pretty(cause).slice(0, 1_000)}`)
  const error = Cause.squash(cause)
  assert.instanceOf(error, Error, what)
  if (error instanceof Error) assert.isString(error.message)
  seen.typed++
  return undefined
})

const read = Effect.fnUntraced(function* (reader: Reader["Service"]) {
  yield* answer("head", reader.head)
  for (const ref of [0, 1, head, head + 1, Event.idFrom("row 5"), "evt_", "\0"]) {
    yield* answer(`get ${ref}`, reader.get(ref))
    yield* answer(`line ${ref}`, reader.line(ref))
  }
  yield* answer("events", Stream.runDrain(reader.events()))
  yield* answer("newest events", Stream.runDrain(reader.events({ last: 2 })))
  const after = { seq: 3, leafHash: "00" }
  yield* answer("events after", Stream.runDrain(reader.events({ after, limit: 2 })))
  const parity = yield* answer("parity", reader.parity)
  const report = yield* answer("verify", reader.verify())
  if (report !== undefined) {
    seen[report._tag]++
    assert.isString(JSON.stringify(report))
  }
  return { parity, report }
})

const useAll = Effect.fnUntraced(function* (ledger: Ledger["Service"], directory: string) {
  const first = yield* read(ledger)
  yield* answer("backup", ledger.backup(`${directory} kept`))
  fs.rmSync(`${directory} kept`, { recursive: true, force: true })
  yield* answer("append the same", ledger.append(named("row 6")))
  const parentId = Event.idFrom("row 5")
  const appended = yield* answer("append", ledger.append(named("row 8", { parentId })))
  if (appended?._tag === "Appended") seen.appended++
  yield* answer("replay", ledger.replay)
  yield* read(ledger)
  return first
})

/** All that the mirror holds, with its types: what reads alike here is the same. */
const dump = (directory: string): string => {
  const tables = ["events", "sealog_index", "sealog_keys", "sealog_times"]
  try {
    const file = path.join(directory, "mirror.sqlite")
    const quoted = tables.map((table) => query(file, `SELECT * FROM ${table} ORDER BY 1, 2, 3`))
    return JSON.stringify(quoted, (_, value: unknown) =>
      typeof value === "object" && !(value instanceof Uint8Array)
        ? value
        : `${typeof value} ${value}`
    )
  } catch (error) {
    return String(error)
  }
}

const judge = Effect.fnUntraced(function* (directory: string) {
  const journal = segmentBytes(directory)
  const untouched = dump(directory) === dump(fixture)
  const readable = Effect.provide(
    Effect.flatMap(Reader, read),
    SealogNode.layerReader({ directory })
  )
  const found = yield* answer("reader", readable)
  const used = yield* answer(
    "open",
    using({ directory }, (ledger) => useAll(ledger, directory))
  )
  if (used === undefined) seen.refused++
  else seen.opened++
  // Whatever SQL holds, the journal is the truth: it is added to, and nothing of it is ever cut.
  assert.isTrue(segmentBytes(directory).subarray(0, journal.byteLength).equals(journal))
  if (untouched && used !== undefined) {
    assert.isTrue(used.parity?.isConsistent)
    // A damaged page is told, though its rows can be read.
    const failures = used.report?._tag === "Damaged" ? used.report.failures : []
    for (const { reason } of failures) assert.strictEqual(reason.kind, "mirror_damaged")
    assert.isDefined(used.report)
  }
  yield* answer("open again", using({ directory }, read))
  return found?.report
})

const statements = (c: Choices) => hostileStatements(c)

const anyType = (table: string, change: string): ReadonlyArray<string> => [
  "PRAGMA ignore_check_constraints = ON",
  ...loosened(table),
  change
]

/** What once led to a defect, or to no end at all. */
const harms: { readonly [what: string]: ReadonlyArray<string> } = {
  "an event hash that is a blob": ["UPDATE events SET event_hash = x'00' WHERE rowid = 1"],
  "an id that is a blob": ["UPDATE events SET id = x'00' WHERE rowid = 1"],
  "an id that is no UTF-8": ["UPDATE events SET id = CAST(x'ff' AS TEXT) WHERE rowid = 1"],
  "an id with a NUL": ["UPDATE events SET id = 'a' || char(0) || 'b' WHERE rowid = 1"],
  "an id that is NULL": ["UPDATE events SET id = NULL WHERE rowid = 1"],
  "an id that is empty": ["UPDATE events SET id = '' WHERE rowid = 1"],
  "leaf hashes that are blobs": ["UPDATE sealog_index SET leaf_hash = x'00'"],
  "seqs that are NULL": anyType("sealog_index", "UPDATE sealog_index SET seq = NULL"),
  "a newest seq that is text": anyType(
    "sealog_index",
    "UPDATE sealog_index SET seq = 'x' WHERE seq = 7"
  ),
  "a newest seq that is infinite": anyType(
    "sealog_index",
    "UPDATE sealog_index SET seq = 9e999 WHERE seq = 7"
  ),
  "a seq with a fraction": anyType(
    "sealog_index",
    "UPDATE sealog_index SET seq = 1.5 WHERE seq = 2"
  ),
  "parents that are infinite": ["UPDATE sealog_index SET parent_seq = 9e999"]
}

describe("A mirror that holds", () => {
  for (const [what, all] of Object.entries(harms)) {
    it.effect(
      `${what} is never found intact, and costs the journal nothing`,
      () =>
        onCopy(fixture, (directory) => {
          harm(path.join(directory, "mirror.sqlite"), all)
          return Effect.map(judge(directory), (report) => {
            assert.notStrictEqual(report?._tag, "Intact")
          })
        }),
      20_000
    )
  }
})

describe("A mirror, fuzzed", () => {
  fuzzEffect(
    "with values of any type in it answers, and costs the journal nothing",
    { cases: 30, generate: statements, show: (all) => all.join(";\n") },
    (all) =>
      onCopy(fixture, (directory) => {
        harm(path.join(directory, "mirror.sqlite"), all)
        return judge(directory)
      }),
    () => Object.entries(seen).forEach(([name, count]) => assert.isAbove(count, 0, name))
  )

  fuzzEffect(
    "with a few bytes of its file changed answers, and costs the journal nothing",
    {
      cases: 10,
      generate: (c) => {
        const bytes = fs.readFileSync(path.join(fixture, "mirror.sqlite"))
        return mutated(c, bytes, [bytes])
      },
      show: (bytes) => `${bytes.byteLength} bytes, ${showBytes(bytes.subarray(0, 100))}`
    },
    (bytes) =>
      onCopy(fixture, (directory) => {
        fs.writeFileSync(path.join(directory, "mirror.sqlite"), bytes)
        return judge(directory)
      })
  )
})

const compared = { consistent: 0, different: 0 }

/** A row like the first one, of another id and event hash. */
const copied = (id: string, eventHash: string, from: string): string => {
  const selected = eventColumns.map((name) =>
    name === "id" ? id : name === "event_hash" ? eventHash : `e.${name}`
  )
  return `INSERT INTO events SELECT ${selected.join(", ")} FROM ${from}`
}

const onlyInSql = (rows: number, insert: string) =>
  onCopy(pair, (directory) => {
    const filename = path.join(directory, "mirror.sqlite")
    meddle(filename, insert)
    return FilePair.parity(path.join(directory, "log.jsonl")).pipe(
      Effect.map((report) => {
        assert.deepInclude(report, { missingInJsonlCount: rows, missingInSqliteCount: 0 })
      }),
      Effect.provide(SqliteClient.layer({ filename })),
      Effect.provide(TestLedger.layerPlatform())
    )
  })

describe("A table of Cortex with rows of odd ids", () => {
  const one = "(SELECT * FROM events LIMIT 1) e"
  const ids = ["x'ff'", "CAST(x'ff' AS TEXT)", "'a' || char(0) || 'b'", "NULL", "''", "'evt_'", "5"]
  for (const id of ids) {
    it.effect(
      `is compared to its end, and the row is told: ${id}`,
      () => onlyInSql(1, copied(id, "'another'", one)),
      20_000
    )
  }

  it.effect(
    "is compared to its end where they are more than are asked for at once",
    () => {
      const usual = "printf('evt_%026d', n)"
      // A page ends with an id that Deno reads up to its NUL, so one more NULL than else.
      const id = `CASE WHEN n = 2 OR n % 4 = 3 THEN NULL WHEN n % 4 = 0 THEN ${usual}
        WHEN n % 4 = 1 THEN ${usual} || char(0) || 'x' ELSE CAST(x'ff' AS TEXT) || n END`
      const numbers =
        "(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 6000) SELECT n FROM c)"
      return onlyInSql(6_000, copied(id, "'another ' || n", `${one}, ${numbers}`))
    },
    20_000
  )
})

describe("A table of Cortex, fuzzed", () => {
  fuzzEffect(
    "with values of any type in it is compared and replayed into, or refused",
    {
      cases: 30,
      generate: (c) => hostileStatements(c, () => "events"),
      show: (all) => all.join(";\n")
    },
    (all) =>
      onCopy(pair, (directory) => {
        const filename = path.join(directory, "mirror.sqlite")
        const jsonl = path.join(directory, "log.jsonl")
        harm(filename, all)
        return Effect.gen(function* () {
          const before = yield* answer("parity", FilePair.parity(jsonl))
          if (before !== undefined) compared[before.isConsistent ? "consistent" : "different"]++
          yield* answer("replay", FilePair.replay(jsonl))
          yield* answer("parity again", FilePair.parity(jsonl, { listMax: 1 }))
        }).pipe(
          Effect.provide(SqliteClient.layer({ filename })),
          Effect.provide(TestLedger.layerPlatform())
        )
      }),
    () => Object.entries(compared).forEach(([name, count]) => assert.isAbove(count, 0, name))
  )
})
