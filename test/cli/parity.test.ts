import * as fs from "node:fs"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Ledger from "../../src/store/Ledger.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { isParagraph, jsonLines, sealog } from "./sealog.ts"

const vectors = fileURLToPath(new URL("../vectors/cortex/", import.meta.url))

const counted = (rows: number) =>
  Array.from({ length: rows }, (_, n) => ({ type: "n.counted.v1", payload: { n } }))

const append = (ledger: string, rows: number, seed: number) =>
  Ledger.Ledger.use((opened) => opened.appendAll(counted(rows))).pipe(
    Effect.provide(TestLedger.layer({ directory: ledger, seed }), { local: true })
  )

/** A closed ledger of six rows. */
const ledgerOfSix = Effect.gen(function* () {
  const ledger = path.join(yield* TestLedger.directory, "ledger")
  yield* append(ledger, 6, 1)
  return ledger
})

const mirrorOf = (ledger: string): string => path.join(ledger, "mirror.sqlite")

const removeMirror = (ledger: string): void => {
  for (const end of ["", "-wal", "-shm"]) fs.rmSync(mirrorOf(ledger) + end, { force: true })
}

const query = (filename: string, sql: string): void => {
  const db = new DatabaseSync(filename)
  try {
    db.exec(sql)
  } finally {
    db.close()
  }
}

const idsOf = (ledger: string): ReadonlyArray<string> =>
  fs
    .readFileSync(path.join(ledger, "segments", "0000000000000001.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line): string => JSON.parse(line).id)

const consistent = (rows: number) => ({
  consistent: true,
  jsonl_event_count: rows,
  sqlite_event_count: rows,
  missing_in_sqlite: [],
  missing_in_jsonl: [],
  mismatched: []
})

describe("sealog parity and replay", () => {
  it.live("parity finds rows that SQL lost, and replay brings back these alone", () =>
    Effect.gen(function* () {
      const ledger = yield* ledgerOfSix
      const ids = idsOf(ledger)
      query(mirrorOf(ledger), `DELETE FROM events WHERE id IN ('${ids[1]}', '${ids[3]}')`)
      const lost = yield* sealog(["parity", ledger, "--json"])
      assert.deepInclude(lost, { code: 1, stderr: "" })
      assert.deepStrictEqual(jsonLines(lost), [
        {
          ...consistent(6),
          consistent: false,
          sqlite_event_count: 4,
          missing_in_sqlite: [ids[1], ids[3]].toSorted()
        }
      ])
      const human = yield* sealog(["parity", ledger])
      assert.match(
        human.stdout,
        /^NOT CONSISTENT: 6 rows in the journal, 4 in SQL\nmissing in SQL: 2\n/
      )
      const replay = yield* sealog(["replay", ledger, "--json"])
      assert.deepInclude(replay, { code: 0, stderr: "" })
      assert.deepStrictEqual(jsonLines(replay), [
        { replayed: 2, skipped_existing: 4, parity: consistent(6) }
      ])
      const after = yield* sealog(["parity", ledger, "--json"])
      assert.deepInclude(after, { code: 0, stderr: "" })
      assert.deepStrictEqual(jsonLines(after), [consistent(6)])
    })
  )

  it.live("replay makes a mirror that was deleted, and counts what opening replayed", () =>
    Effect.gen(function* () {
      const ledger = yield* ledgerOfSix
      removeMirror(ledger)
      const parity = yield* sealog(["parity", ledger, "--json"])
      assert.deepInclude(parity, { code: 2, stdout: "" })
      assert.isTrue(isParagraph(parity), parity.stderr)
      assert.include(parity.stderr, `sealog replay ${ledger}`)
      assert.isFalse(fs.existsSync(mirrorOf(ledger)))
      const replay = yield* sealog(["replay", ledger, "--json"])
      assert.strictEqual(replay.code, 0)
      assert.isTrue(isParagraph(replay), replay.stderr)
      assert.deepStrictEqual(jsonLines(replay), [
        { replayed: 6, skipped_existing: 0, parity: consistent(6) }
      ])
    })
  )

  it.live("parity counts rows behind the mirror as missing once nobody is writing", () =>
    Effect.gen(function* () {
      const ledger = yield* ledgerOfSix
      const old = fs.readFileSync(mirrorOf(ledger))
      yield* append(ledger, 3, 2)
      removeMirror(ledger)
      fs.writeFileSync(mirrorOf(ledger), old, { mode: 0o600 })
      const parity = yield* sealog(["parity", ledger, "--json"])
      assert.strictEqual(parity.code, 1, parity.stderr)
      const [report] = jsonLines(parity)
      assert.deepInclude(report, { jsonl_event_count: 9, sqlite_event_count: 6 })
      assert.isTrue(old.equals(fs.readFileSync(mirrorOf(ledger))))
      const [replay] = jsonLines(yield* sealog(["replay", ledger, "--json"]))
      assert.deepInclude(replay, { replayed: 3, skipped_existing: 6, parity: consistent(9) })
    })
  )

  it.live("beside a writer parity works and replay is refused as busy", () =>
    Effect.gen(function* () {
      const ledger = path.join(yield* TestLedger.directory, "ledger")
      const [parity, replay] = yield* Ledger.Ledger.use((opened) =>
        Effect.andThen(
          opened.appendAll(counted(4)),
          Effect.all([sealog(["parity", ledger, "--json"]), sealog(["replay", ledger])], {
            concurrency: 2
          })
        )
      ).pipe(Effect.provide(TestLedger.layer({ directory: ledger })))
      assert.deepStrictEqual(jsonLines(parity), [consistent(4)])
      assert.deepInclude(replay, { code: 2, stdout: "" })
      assert.isTrue(isParagraph(replay), replay.stderr)
    })
  )

  it.live("both take a JSONL file and a database, and answer what the original answers", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const sqlite = path.join(directory, "mirror.sqlite")
      fs.copyFileSync(path.join(vectors, "mirror.sqlite"), sqlite)
      const expected = JSON.parse(
        fs.readFileSync(path.join(vectors, "log-unsigned.expected.json"), "utf8")
      )
      const jsonl = path.join(vectors, "log-unsigned.jsonl")
      const pair = ["--json", "--jsonl", jsonl, "--sqlite", sqlite]
      const parity = yield* sealog(["parity", ...pair])
      assert.deepInclude(parity, { code: 0, stderr: "" })
      assert.deepStrictEqual(jsonLines(parity), [expected.parity])
      query(sqlite, "DELETE FROM events")
      const replay = yield* sealog(["replay", ...pair])
      assert.deepInclude(replay, { code: 0, stderr: "" })
      assert.deepStrictEqual(jsonLines(replay), [expected.replay_into_empty])
      const other = path.join(vectors, "corrupt/chain-rewritten.jsonl")
      const base = path.join(directory, "base.sqlite")
      fs.copyFileSync(path.join(vectors, "corrupt/mirror.sqlite"), base)
      const differs = yield* sealog(["replay", "--jsonl", other, "--sqlite", base])
      assert.deepInclude(differs, { code: 1, stdout: "" })
      assert.isTrue(isParagraph(differs), differs.stderr)
      const foreign = path.join(vectors, "corrupt/id-changed.jsonl")
      const unique = yield* sealog(["replay", "--jsonl", foreign, "--sqlite", base])
      assert.deepInclude(unique, { code: 1, stdout: "" })
      assert.isTrue(isParagraph(unique), unique.stderr)
    })
  )

  it.live("holds the rows of a file to the key that is named, and asks for none of a ledger", () =>
    Effect.gen(function* () {
      const sqlite = path.join(yield* TestLedger.directory, "mirror.sqlite")
      fs.copyFileSync(path.join(vectors, "corrupt/mirror.sqlite"), sqlite)
      query(sqlite, "DELETE FROM events")
      const keys = JSON.parse(fs.readFileSync(path.join(vectors, "keys.json"), "utf8"))
      const pair = ["--jsonl", path.join(vectors, "log-signed.jsonl"), "--sqlite", sqlite]
      const wrong = yield* sealog(["replay", ...pair, "--public-key", keys.second.public_key])
      assert.deepInclude(wrong, { code: 1, stdout: "" })
      assert.include(wrong.stderr, "bad_signature")
      const none = yield* sealog(["parity", ...pair, "--public-key", "ada"])
      assert.deepInclude(none, { code: 2, stdout: "" })
      const right = yield* sealog(["replay", ...pair, "--public-key", keys.first.public_key])
      assert.deepInclude(right, { code: 0, stderr: "" })
      const ledger = yield* sealog(["parity", sqlite, "--public-key", keys.first.public_key])
      assert.deepInclude(ledger, { code: 2, stdout: "" })
      assert.include(ledger.stderr, "sealog verify --public-key")
    })
  )

  it.live("missing files are never made, and half a pair is a usage error", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const jsonl = path.join(vectors, "corrupt/clean.jsonl")
      const missing = path.join(directory, "missing")
      const text = path.join(directory, "text.sqlite")
      fs.writeFileSync(text, "this is no database at all, only some text that is long enough")
      const runs = [
        ["replay", "--jsonl", jsonl, "--sqlite", missing],
        ["parity", "--jsonl", missing, "--sqlite", text],
        ["replay", "--jsonl", jsonl, "--sqlite", text],
        ["replay", missing],
        ["parity", "--jsonl", jsonl],
        ["replay", directory, "--jsonl", jsonl, "--sqlite", text]
      ]
      yield* Effect.forEach(
        runs,
        Effect.fnUntraced(function* (args) {
          const ended = yield* sealog(args)
          assert.deepInclude(ended, { code: 2, stdout: "" }, args.join(" "))
          assert.isTrue(isParagraph(ended), ended.stderr)
        }),
        { concurrency: 2 }
      )
      assert.deepStrictEqual(fs.readdirSync(directory), ["text.sqlite"])
    })
  )
})
