import * as fs from "node:fs"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import type { FileSystem, Path } from "effect"
import type { SqlClient } from "effect/sql"
import type { ParityReport } from "../../../src/core/Parity.ts"
import * as SealogNode from "../../../src/platform/SealogNode.ts"
import * as SqliteClient from "../../../src/platform/SqliteClient.ts"
import * as FilePair from "../../../src/store/mirror/FilePair.ts"
import * as Ledger from "../../../src/store/Ledger.ts"
import { ReadSql } from "../../../src/store/mirror/ReadSql.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"

const vectors = fileURLToPath(new URL("../../vectors/cortex/", import.meta.url))

interface Parity {
  readonly consistent: boolean
  readonly jsonl_event_count: number
  readonly sqlite_event_count: number
  readonly missing_in_sqlite: ReadonlyArray<string>
  readonly missing_in_jsonl: ReadonlyArray<string>
  readonly mismatched: ReadonlyArray<{
    readonly id: string
    readonly jsonl_event_hash: string
    readonly sqlite_event_hash: string
  }>
}
interface Replayed {
  readonly replayed: number
  readonly skipped_existing: number
  readonly parity: Parity
}
interface Expected {
  readonly parity: Parity | { readonly error: string }
  readonly replay_into_mirror: Replayed | { readonly error: string }
  readonly replay_into_empty: Replayed | { readonly error: string }
  readonly mirror_rows_after_replay: number
  readonly empty_rows_after_replay: number
}

const read = (name: string) => JSON.parse(fs.readFileSync(path.join(vectors, name), "utf8"))
const corrupt: ReadonlyArray<{
  readonly file: string
  readonly kind: string
  readonly expect: Expected
}> = read("corrupt/expected.json").files

const asWritten = (report: ParityReport): Parity => ({
  consistent: report.isConsistent,
  jsonl_event_count: report.jsonlEventCount,
  sqlite_event_count: report.sqliteEventCount,
  missing_in_sqlite: report.missingInSqlite,
  missing_in_jsonl: report.missingInJsonl,
  mismatched: report.mismatched.map((row) => ({
    id: row.id,
    jsonl_event_hash: row.jsonlEventHash,
    sqlite_event_hash: row.sqliteEventHash
  }))
})

type Needs = FileSystem.FileSystem | Path.Path | SqlClient.SqlClient

const over =
  (filename: string, how: "read" | "write") =>
  <A, E>(effect: Effect.Effect<A, E, Needs>) =>
    effect.pipe(
      Effect.provide(
        Layer.mergeAll(
          SealogNode.layerPlatform,
          how === "read"
            ? SqliteClient.layerReadOnly({ filename })
            : SqliteClient.layer({ filename })
        ),
        { local: true }
      )
    )

const parityOf = (jsonl: string, sqlite: string) =>
  FilePair.parity(jsonl).pipe(Effect.map(asWritten), over(sqlite, "read"))

const replayOf = (jsonl: string, sqlite: string) =>
  FilePair.replay(jsonl).pipe(
    Effect.map(({ replayed, skippedExisting, parity }): Replayed => ({
      replayed,
      skipped_existing: skippedExisting,
      parity: asWritten(parity)
    })),
    over(sqlite, "write")
  )

const query = <A>(filename: string, use: (db: DatabaseSync) => A): A => {
  const db = new DatabaseSync(filename)
  try {
    return use(db)
  } finally {
    db.close()
  }
}

const rowsIn = (filename: string): number =>
  query(filename, (db) => Number(db.prepare("SELECT count(*) AS n FROM events").get()?.["n"]))

/** A copy of a vector's database, and an empty one made from its schema. */
const databases = Effect.fnUntraced(function* (from: string) {
  const directory = yield* TestLedger.directory
  const mirror = path.join(directory, "mirror.sqlite")
  const empty = path.join(directory, "empty.sqlite")
  fs.copyFileSync(path.join(vectors, from), mirror)
  fs.copyFileSync(mirror, empty)
  query(empty, (db) => db.exec("DELETE FROM events"))
  return { directory, mirror, empty }
})

// What the original reads but has two readings, so that no row of it is taken here.
const ambiguous = new Set(["corrupt/payload-duplicate-member.jsonl"])
// What the original refuses by accident: it hashes what it read inexactly, or cannot read back.
const accidents = new Set(["corrupt/self-written-float-drift.jsonl", "corrupt/year-10000.jsonl"])

describe("FilePair", () => {
  it.effect("parity and replay of an untouched log answer what the original answers", () =>
    Effect.gen(function* () {
      const { mirror, empty } = yield* databases("mirror.sqlite")
      const jsonl = path.join(vectors, "log-unsigned.jsonl")
      const expected: Expected = read("log-unsigned.expected.json")
      assert.deepStrictEqual(yield* parityOf(jsonl, mirror), expected.parity)
      assert.deepStrictEqual(yield* replayOf(jsonl, mirror), expected.replay_into_mirror)
      assert.deepStrictEqual(yield* replayOf(jsonl, empty), expected.replay_into_empty)
      assert.deepStrictEqual(yield* replayOf(jsonl, empty), expected.replay_into_mirror)
      const dump = (file: string) =>
        query(file, (db) =>
          db
            .prepare("SELECT * FROM events ORDER BY id")
            .all()
            .map((r) => ({ ...r }))
        )
      assert.deepStrictEqual(dump(empty), dump(mirror))
    })
  )

  it.effect("verdicts on every damaged file are those of the original", () =>
    Effect.gen(function* () {
      const { directory, mirror, empty } = yield* databases("corrupt/mirror.sqlite")
      const unsigned = corrupt.filter(({ kind }) => kind === "unsigned")
      assert.isAbove(unsigned.length, 90)
      for (const { file, expect } of unsigned) {
        if (ambiguous.has(file) || accidents.has(file)) continue
        const jsonl = path.join(vectors, file)
        for (const [name, from, rows] of [
          ["replay_into_mirror", mirror, expect.mirror_rows_after_replay],
          ["replay_into_empty", empty, expect.empty_rows_after_replay]
        ] as const) {
          const copy = path.join(directory, "copy.sqlite")
          fs.copyFileSync(from, copy)
          if (name === "replay_into_mirror") {
            const parity = yield* Effect.result(parityOf(jsonl, copy))
            const wanted = expect.parity
            if ("error" in wanted) assert.isTrue(parity._tag === "Failure", `${file}: parity`)
            else {
              assert.deepStrictEqual(
                parity._tag === "Success" ? parity.success : parity.failure.message,
                wanted,
                file
              )
            }
          }
          const wanted = expect[name]
          const replay = yield* Effect.result(replayOf(jsonl, copy))
          if ("error" in wanted) assert.isTrue(replay._tag === "Failure", `${file}: ${name}`)
          else {
            assert.deepStrictEqual(
              replay._tag === "Success" ? replay.success : replay.failure.message,
              wanted,
              `${file}: ${name}`
            )
          }
          assert.strictEqual(rowsIn(copy), rows, `${file}: rows after ${name}`)
          for (const end of ["", "-wal", "-shm"]) fs.rmSync(copy + end, { force: true })
        }
      }
    })
  )

  it.effect("a payload with two readings is refused, an inexact reading is not", () =>
    Effect.gen(function* () {
      const { empty } = yield* databases("corrupt/mirror.sqlite")
      for (const file of ambiguous) {
        const error = yield* Effect.flip(replayOf(path.join(vectors, file), empty))
        assert.strictEqual(error._tag, "RowDamaged")
        assert.strictEqual(rowsIn(empty), 0)
      }
      for (const file of accidents) {
        query(empty, (db) => db.exec("DELETE FROM events"))
        const { replayed, parity } = yield* replayOf(path.join(vectors, file), empty)
        assert.deepStrictEqual(
          [replayed, parity.consistent],
          [parity.jsonl_event_count, true],
          file
        )
      }
    })
  )

  it.effect("an id that stands twice is refused by name, within a batch and across batches", () =>
    Effect.gen(function* () {
      const { directory, mirror } = yield* databases("corrupt/mirror.sqlite")
      const near = path.join(vectors, "corrupt/self-written-same-id.jsonl")
      const error = yield* Effect.flip(parityOf(near, mirror))
      assert.strictEqual(error._tag, "IdConflict")
      const far = path.join(directory, "far.jsonl")
      yield* writeCortexFile(far, 400, false)
      const lines = fs.readFileSync(far, "utf8").trimEnd().split("\n")
      const idOf = (line: string | undefined): string => JSON.parse(line ?? "").id
      const [first, last] = [idOf(lines[0]), idOf(lines.at(-1))]
      fs.writeFileSync(far, fs.readFileSync(far, "utf8").replace(last, first))
      const twice = yield* Effect.flip(parityOf(far, mirror))
      assert.deepInclude(twice, { _tag: "IdConflict", id: first, seq: 1 })
    })
  )

  it.effect("a file that this project wrote, with line hashes, is replayed in batches", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const jsonl = path.join(directory, "own.jsonl")
      yield* writeCortexFile(jsonl, 600)
      const sqlite = path.join(directory, "bare.sqlite")
      query(sqlite, (db) => db.exec("CREATE TABLE other (a)"))
      const missing = yield* Effect.flip(parityOf(jsonl, sqlite))
      assert.include(missing.message, "its table events")
      assert.deepInclude(yield* replayOf(jsonl, sqlite), { replayed: 600, skipped_existing: 0 })
      assert.deepInclude(yield* replayOf(jsonl, sqlite), { replayed: 0, skipped_existing: 600 })
      query(sqlite, (db) => db.exec("DELETE FROM events WHERE rowid % 3 = 0"))
      const { missing_in_sqlite, consistent } = yield* parityOf(jsonl, sqlite)
      assert.deepStrictEqual([missing_in_sqlite.length, consistent], [200, false])
      assert.deepInclude(yield* replayOf(jsonl, sqlite), { replayed: 200, skipped_existing: 400 })
      const tables = query(sqlite, (db) =>
        db
          .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
          .all()
          .map((r) => r["name"])
      )
      assert.sameMembers(tables, ["other", "events"])
    })
  )

  it.effect("parity changes not one byte of the database", () =>
    Effect.gen(function* () {
      const { mirror } = yield* databases("corrupt/mirror.sqlite")
      const before = fs.readFileSync(mirror)
      yield* parityOf(path.join(vectors, "corrupt/several.jsonl"), mirror).pipe(Effect.flip)
      yield* parityOf(path.join(vectors, "corrupt/last-rows-deleted.jsonl"), mirror)
      assert.isTrue(before.equals(fs.readFileSync(mirror)))
    })
  )

  it.effect("signatures are checked where the key is named, before anything is written", () =>
    Effect.gen(function* () {
      const { mirror } = yield* databases("corrupt/mirror.sqlite")
      const keys: { readonly [name: string]: { readonly public_key: string } } = read("keys.json")
      const [key = "", another = ""] = ["first", "second"].map((name) => keys[name]?.public_key)
      const log = path.join(vectors, "log-signed.jsonl")
      const ask = (options: FilePair.Options) =>
        FilePair.replay(log, options).pipe(
          Effect.provide(
            Layer.merge(SealogNode.layerPlatform, SqliteClient.layer({ filename: mirror }))
          )
        )
      for (const [options, tag] of [
        [{ publicKey: another }, "RowDamaged"],
        [{ publicKey: key, ledgerId: "renamed" }, "RowDamaged"],
        [{ publicKey: "ada" }, "PublicKeyInvalid"]
      ] as const) {
        const error = yield* Effect.flip(ask(options))
        assert.strictEqual(error._tag, tag)
        if (tag === "RowDamaged") assert.include(error.message, "bad_signature")
      }
      const { replayed } = yield* ask({ publicKey: key })
      assert.strictEqual(replayed, fs.readFileSync(log, "utf8").trimEnd().split("\n").length)
    })
  )

  it.effect("a connection that reads only does so again afterwards", () =>
    Effect.gen(function* () {
      const { mirror } = yield* databases("corrupt/mirror.sqlite")
      const [pragma] = yield* Effect.gen(function* () {
        const sql = yield* ReadSql
        yield* FilePair.parity(path.join(vectors, "corrupt/clean.jsonl"))
        yield* FilePair.parity(path.join(vectors, "corrupt/clean.jsonl"))
        return yield* sql.unsafe<{ query_only: number }>("PRAGMA query_only")
      }).pipe(
        Effect.provide(
          Layer.merge(SealogNode.layerPlatform, SqliteClient.layerReadOnly({ filename: mirror }))
        )
      )
      assert.strictEqual(pragma?.query_only, 1)
    })
  )

  it.effect("a missing file, a directory and a link are refused, and nothing is made", () =>
    Effect.gen(function* () {
      const { directory, mirror } = yield* databases("corrupt/mirror.sqlite")
      const missing = path.join(directory, "no.jsonl")
      const link = path.join(directory, "link.jsonl")
      fs.symlinkSync(path.join(vectors, "corrupt/clean.jsonl"), link)
      for (const [at, code] of [
        [missing, "ENOENT"],
        [directory, "EISDIR"],
        [link, "ELOOP"]
      ] as const) {
        assert.deepInclude(yield* Effect.flip(parityOf(at, mirror)), { _tag: "JournalError", code })
        assert.deepInclude(yield* Effect.flip(replayOf(at, mirror)), { _tag: "JournalError", code })
      }
      assert.isFalse(fs.existsSync(missing))
    })
  )
})

/** A ledger in Cortex mode, closed again; its file alone is what the tests use. */
const writeCortexFile = Effect.fnUntraced(function* (file: string, rows: number, crc = true) {
  yield* Effect.gen(function* () {
    const ledger = yield* Ledger.Ledger
    const drafts = Array.from({ length: rows }, (_, n) => ({
      type: "cortex.event.system_note.v1",
      payload: { n }
    }))
    yield* ledger.appendAll(drafts)
    assert.strictEqual(yield* Stream.runCount(ledger.events()), rows)
  }).pipe(Effect.provide(TestLedger.layer({ file, lineHashes: true, crc }), { local: true }))
})
