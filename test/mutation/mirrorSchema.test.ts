/**
 * A mirror whose tables, not rows, someone changed: dropped, renamed, made views, given triggers or
 * other columns; emptied, made something else. On real files, through the whole ledger.
 *
 * It is reported or refused by name, the journal is not touched, and what opens holds every row.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Ledger } from "../../src/store/Ledger.ts"
import { Reader } from "../../src/store/reading/Reader.ts"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { opening } from "../store/crashKit.ts"
import { meddle, snapshot } from "../store/ledgerFixtures.ts"
import { directoryLedger as made, identity } from "./fixture.ts"
import { Findings, outcomeOf } from "./lab.ts"
import { ours, share, sweepMillisMax } from "./turns.ts"

const tables = ["events", "sealog_index", "sealog_keys", "sealog_times", "sealog_migrations"]

const lost = "SELECT RAISE(ABORT, 'no')"

const changes: ReadonlyArray<string> = [
  ...tables.flatMap((table) => [
    `DROP TABLE ${table}`,
    `DELETE FROM ${table}`,
    `ALTER TABLE ${table} RENAME TO other`,
    `ALTER TABLE ${table} ADD COLUMN more TEXT DEFAULT 'x'`,
    `ALTER TABLE ${table} RENAME TO kept; CREATE VIEW ${table} AS SELECT * FROM kept`,
    `ALTER TABLE ${table} RENAME TO kept; CREATE VIEW ${table} AS SELECT * FROM kept LIMIT 2`,
    `CREATE TRIGGER t BEFORE INSERT ON ${table} BEGIN ${lost}; END`,
    `CREATE TRIGGER t AFTER INSERT ON ${table} BEGIN DELETE FROM ${table}; END`
  ]),
  ...["session_id", "source_attestation_json", "trace_id"].map(
    (column) => `ALTER TABLE events DROP COLUMN ${column}`
  ),
  ...["leaf_hash", "observed_at"].map((column) => `ALTER TABLE sealog_index DROP COLUMN ${column}`),
  // SQLite drops no column that an index names.
  ...[
    ["type", "event_type"],
    ["parent", "parent_seq"],
    ["session", "session_id"]
  ].map(
    ([index, column]) =>
      `DROP INDEX sealog_index_${index}; ALTER TABLE sealog_index DROP COLUMN ${column}`
  ),
  "ALTER TABLE events RENAME COLUMN event_hash TO other",
  "ALTER TABLE sealog_index RENAME COLUMN leaf_hash TO other",
  "ALTER TABLE sealog_keys RENAME COLUMN value TO other",
  "UPDATE sealog_migrations SET migration_id = migration_id + 5",
  "UPDATE sealog_migrations SET name = 'other'",
  "INSERT INTO sealog_migrations (migration_id, name) VALUES (99, 'later')",
  "CREATE TABLE strange (x)",
  "PRAGMA user_version = 7",
  "PRAGMA application_id = 7",
  "PRAGMA journal_mode = DELETE",
  "PRAGMA journal_mode = DELETE; PRAGMA auto_vacuum = FULL; VACUUM",
  "PRAGMA journal_mode = DELETE; PRAGMA encoding = 'UTF-16'; PRAGMA page_size = 512; VACUUM"
]

const files: ReadonlyArray<readonly [string, (mirror: string) => void]> = [
  ["empty", (mirror) => fs.writeFileSync(mirror, "")],
  ["garbage", (mirror) => fs.writeFileSync(mirror, "no database at all\n".repeat(50))],
  ["a directory", (mirror) => (fs.rmSync(mirror), fs.mkdirSync(mirror))],
  ["its log alone", (mirror) => fs.renameSync(mirror, `${mirror}-wal`)],
  ["beside a log of garbage", (mirror) => fs.writeFileSync(`${mirror}-wal`, "x".repeat(9000))],
  ["beside a rollback log of garbage", (mirror) => fs.writeFileSync(`${mirror}-journal`, "x")]
]

const arranged = Effect.fnUntraced(function* (change: (mirror: string) => void) {
  const directory = path.join(yield* TestLedger.directory, "ledger")
  const mirror = path.join(directory, "mirror.sqlite")
  fs.mkdirSync(path.join(directory, "segments"), { recursive: true })
  fs.writeFileSync(path.join(directory, "ledger.json"), identity)
  for (const [name, bytes] of made.files) {
    fs.writeFileSync(path.join(directory, "segments", name), bytes)
  }
  yield* opening({ directory })
  change(mirror)
  return directory
})

/** Verified as it lies, opened, verified again, appended to: all of it named, no row lost. */
const holds = Effect.fnUntraced(function* (change: (mirror: string) => void) {
  const directory = yield* arranged(change)
  const before = snapshot(directory)
  const named = (tag: string, message: string) =>
    assert.include(["Success", "MirrorError", "LedgerDiverged", "MirrorBehind"], tag, message)
  const verify = Effect.flatMap(Reader, (reader) => reader.verify())
  const verified = yield* outcomeOf(Effect.provide(verify, SealogNode.layerReader({ directory })))
  named(verified.tag, verified.message)
  const opened = yield* outcomeOf(
    Effect.flatMap(Ledger, (ledger) =>
      Effect.gen(function* () {
        assert.strictEqual(ledger.opened.head.seq, made.lines.length)
        assert.deepStrictEqual(snapshot(directory), before)
        const again = yield* outcomeOf(ledger.verify())
        named(again.tag, again.message)
        const appended = yield* outcomeOf(ledger.append({ type: "after.v1" }))
        assert.notStrictEqual(appended.tag, "Defect", appended.message)
        const last = yield* outcomeOf(ledger.verify())
        named(last.tag, last.message)
      })
    ).pipe(Effect.provide(TestLedger.layer({ directory })))
  )
  named(opened.tag, opened.message)
  if (opened.tag !== "Success") assert.deepStrictEqual(snapshot(directory), before)
  // The journal is whole whatever became of the mirror: without it, everything is there again.
  for (const name of fs.readdirSync(directory)) {
    if (name.startsWith("mirror")) fs.rmSync(path.join(directory, name), { recursive: true })
  }
  const rebuilt = yield* Effect.flatMap(Ledger, (ledger) => ledger.verify()).pipe(
    Effect.provide(TestLedger.layer({ directory }))
  )
  assert.strictEqual(rebuilt._tag, "Intact")
  assert.isAtLeast(rebuilt.rows, made.lines.length)
})

describe("a mirror whose tables were changed", () => {
  it.effect(
    "is reported or refused by its name, and costs no row",
    () =>
      Effect.gen(function* () {
        const findings = new Findings()
        for (const change of ours(changes)) {
          const { message } = yield* outcomeOf(holds((mirror) => meddle(mirror, change)))
          findings.note(change, message || undefined)
        }
        findings.assertNone(share(changes.length))
      }),
    sweepMillisMax
  )

  it.effect(
    "is reported or refused by its name where the file is no database of ours",
    () =>
      Effect.gen(function* () {
        const findings = new Findings()
        for (const [what, change] of ours(files)) {
          const { message } = yield* outcomeOf(holds(change))
          findings.note(what, message || undefined)
        }
        findings.assertNone(share(files.length))
      }),
    sweepMillisMax
  )
})
