import * as fs from "node:fs"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import type { Ledger } from "../../../src/store/Ledger.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { using } from "../ledgerFixtures.ts"

const by = { operator: "ada", reason: "the index lies" }

const append = Effect.fnUntraced(function* (ledger: Ledger["Service"], count: number) {
  for (let nth = 0; nth < count; nth++) {
    yield* ledger.append({ type: "row.added.v1", payload: nth, keys: { nth: `${nth}` } })
  }
})

/** All that the mirror holds, apart from SQLite's own notes. */
const contents = (directory: string): string => {
  const db = new DatabaseSync(path.join(directory, "mirror.sqlite"), { readOnly: true })
  const tables = [
    "events ORDER BY id",
    "sealog_index ORDER BY seq",
    "sealog_keys ORDER BY seq, name",
    "sealog_state ORDER BY name"
  ]
  const all = tables.map((table) => db.prepare(`SELECT * FROM ${table}`).all())
  db.close()
  return JSON.stringify(all)
}

const change = (directory: string, text: string) => {
  const db = new DatabaseSync(path.join(directory, "mirror.sqlite"))
  db.exec(text)
  db.close()
}

const wrongs = [
  "UPDATE sealog_index SET byte_offset = byte_offset + 1 WHERE seq = 2",
  "UPDATE sealog_index SET parent_seq = 3 WHERE seq = 2",
  "DELETE FROM sealog_index WHERE seq = 3",
  "DELETE FROM sealog_keys",
  "INSERT INTO sealog_keys VALUES ('a', 'b', 2)",
  "UPDATE events SET payload_json = '99' WHERE payload_json = '1'",
  "DELETE FROM events WHERE payload_json = '1'",
  "UPDATE sealog_state SET value = ''"
]

describe("Rebuild", () => {
  it.effect("makes the mirror of the journal, whatever it held before", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "l")
      yield* using({ directory }, (ledger) => append(ledger, 5))
      const sound = contents(directory)
      for (const wrong of wrongs) {
        yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            change(directory, wrong)
            assert.notStrictEqual(contents(directory), sound)
            const done = yield* ledger.rebuild(by)
            assert.deepStrictEqual(
              [done.kind, done.outcome, done.operator, done.counts["rows"]],
              ["rebuild", "ok", "ada", 5]
            )
            assert.deepStrictEqual(JSON.parse(contents(directory)), JSON.parse(sound), wrong)
            const report = yield* ledger.verify()
            assert.strictEqual(report._tag, "Intact", JSON.stringify(report))
          })
        )
      }
      yield* using({ directory, seed: 9 }, (ledger) =>
        Effect.gen(function* () {
          yield* append(ledger, 1)
          yield* ledger.rebuild(by)
          yield* append(ledger, 1)
          assert.strictEqual((yield* ledger.head).seq, 7)
          assert.isTrue((yield* ledger.parity).isConsistent)
        })
      )
    })
  )

  it.effect("changes nothing where the journal does not hold together, and records that", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "l")
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* append(ledger, 5)
          const file = path.join(directory, "segments", "0000000000000001.jsonl")
          const bytes = fs.readFileSync(file)
          bytes[700] = (bytes[700] ?? 0) ^ 1
          fs.writeFileSync(file, bytes)
          const before = contents(directory)
          const error = yield* Effect.flip(ledger.rebuild(by))
          assert.strictEqual(error._tag, "RowDamaged")
          assert.strictEqual(contents(directory), before)
          const [last] = yield* ledger.operations
          assert.deepStrictEqual(
            [last?.kind, last?.outcome, last?.errorClass],
            ["rebuild", "recoverable_error", "RowDamaged"]
          )
          yield* append(ledger, 1)
        })
      )
    })
  )

  it.effect("keeps readers on what was there before until it is done", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "l")
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* append(ledger, 600)
          const read = Effect.map(Stream.runCollect(ledger.events()), (events) => events.length)
          const counts = yield* Effect.all(
            [
              ledger.rebuild(by),
              ...Array.from({ length: 20 }, () => Effect.andThen(Effect.yieldNow, read))
            ],
            { concurrency: "unbounded" }
          )
          for (const count of counts.slice(1)) assert.strictEqual(count, 600)
        })
      )
    })
  )
})
