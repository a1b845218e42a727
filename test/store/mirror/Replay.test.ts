import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import * as EventId from "../../../src/core/EventId.ts"
import type { ParityReport } from "../../../src/core/Parity.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import {
  assertLike,
  assertSound,
  meddle,
  memberText,
  named,
  query,
  tables,
  using,
  vectorLines
} from "../ledgerFixtures.ts"

const mirrorOf = (directory: string) => path.join(directory, "mirror.sqlite")
const idOf = (n: number) => EventId.idFrom(`row ${n}`)
const drafts = (count: number) =>
  Array.from({ length: count }, (_, n) =>
    named(`row ${n + 1}`, {
      keys: { n: String(n + 1) },
      parentId: n % 7 === 3 ? idOf(n - 2) : undefined
    })
  )

/** A ledger of `count` rows in a directory of its own, `id` made of the row's seq. */
const ledgerOf = Effect.fnUntraced(function* (count: number) {
  const directory = yield* TestLedger.directory
  const all = drafts(count)
  // In groups of at most 64, as a batch of a replay is some whole groups.
  const starts = Array.from({ length: Math.ceil(count / 64) }, (_, nth) => nth * 64)
  yield* using({ directory, segmentBytesMax: 100_000 }, (ledger) =>
    Effect.forEach(starts, (from) => ledger.appendAll(all.slice(from, from + 64)))
  )
  return directory
})

/** Parity and replay as a ledger that is open sees them, after `meddling` with its mirror. */
const after = <A, E>(
  directory: string,
  meddling: ReadonlyArray<string>,
  look: (ledger: Parameters<Parameters<typeof using>[1]>[0]) => Effect.Effect<A, E>
) =>
  using({ directory }, (ledger) =>
    Effect.suspend(() => {
      meddle(mirrorOf(directory), ...meddling)
      return look(ledger)
    })
  )

const lists = ({ missingInSqlite, missingInJsonl, mismatched }: ParityReport) => ({
  missingInSqlite: [...missingInSqlite],
  missingInJsonl: [...missingInJsonl],
  mismatched: mismatched.map(({ id }) => id)
})

/** A row of `events` that no journal has, made from another; its id is any SQL. */
const strayAs = (id: string, hash: string, from: string) =>
  `INSERT INTO events SELECT ${id}, schema_version, observed_at, recorded_at, source_json,
   event_type, trace_id, session_id, domain_tags_json, payload_json, payload_hash,
   prev_event_hash, 'hash of ${hash}', source_attestation_json FROM events WHERE id = '${from}'`

const stray = (id: string, from: string) => strayAs(`'${id}'`, id, from)

describe("replay", () => {
  it.effect("brings back what the mirror lost, and nothing twice", () =>
    Effect.gen(function* () {
      const directory = yield* ledgerOf(700)
      const before = tables(mirrorOf(directory))
      const sorted = () =>
        JSON.stringify([
          query(mirrorOf(directory), "SELECT * FROM events ORDER BY id"),
          query(mirrorOf(directory), "SELECT * FROM sealog_index ORDER BY seq"),
          query(mirrorOf(directory), "SELECT * FROM sealog_keys ORDER BY seq, name")
        ])
      const whole = sorted()
      const losses = [
        [`DELETE FROM events WHERE id = '${idOf(300)}'`],
        ["DELETE FROM events WHERE rowid % 3 = 0"],
        ["DELETE FROM sealog_index WHERE seq % 5 = 0", "DELETE FROM sealog_keys WHERE seq % 5 = 0"],
        ["DELETE FROM sealog_keys WHERE seq > 650"],
        ["DELETE FROM events", "DELETE FROM sealog_index", "DELETE FROM sealog_keys"]
      ]
      for (const loss of losses) {
        yield* after(directory, loss, (ledger) =>
          Effect.gen(function* () {
            const missing = 700 - query(mirrorOf(directory), "SELECT id FROM events").length
            const report = yield* ledger.replay
            assert.strictEqual(report.replayed, missing, loss[0])
            assert.strictEqual(report.skippedExisting, 700 - missing)
            assert.isTrue(report.parity.isConsistent)
            assert.strictEqual(sorted(), whole, loss[0])
            assert.strictEqual((yield* ledger.replay).replayed, 0)
            yield* assertSound(ledger)
          })
        )
      }
      assert.strictEqual(tables(mirrorOf(directory)), before)
    })
  )

  it.effect("makes a mirror anew that is exactly what appending made", () =>
    Effect.gen(function* () {
      const directory = yield* ledgerOf(600)
      const before = tables(mirrorOf(directory))
      for (const suffix of ["", "-wal", "-shm"]) {
        fs.rmSync(`${mirrorOf(directory)}${suffix}`, { force: true })
      }
      yield* using({ directory }, (ledger) => {
        assertLike(ledger.opened, { actions: [{ _tag: "MirrorRemade", rows: 600 }] })
        return assertSound(ledger)
      })
      assert.strictEqual(tables(mirrorOf(directory)), before)
    })
  )

  it.effect("ends at a row that differs, with nothing of its batch written", () =>
    Effect.gen(function* () {
      const directory = yield* ledgerOf(1_100)
      const database = mirrorOf(directory)
      const meddling = [
        "DELETE FROM events WHERE rowid IN (5, 600, 700, 1090)",
        `UPDATE events SET payload_json = '{"name":"row 650"}' WHERE id = '${idOf(650)}'`,
        `UPDATE events SET session_id = 'other' WHERE id = '${idOf(650)}'`
      ]
      yield* after(directory, meddling, (ledger) =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(ledger.replay)
          assertLike(error, {
            _tag: "RowDiffers",
            seq: 650,
            id: idOf(650),
            columns: ["session_id"]
          })
          const there = query(database, "SELECT id FROM events").map((row) => row["id"])
          // A batch has at most 256 rows: those before it are in, none of it or after it is.
          assert.include(there, idOf(5))
          for (const seq of [600, 700, 1_090]) assert.notInclude(there, idOf(seq), `row ${seq}`)
          const [row] = query(database, `SELECT session_id FROM events WHERE id = '${idOf(650)}'`)
          assert.strictEqual(row?.["session_id"], "other")
          meddle(database, `UPDATE events SET session_id = NULL WHERE id = '${idOf(650)}'`)
          assert.strictEqual((yield* ledger.replay).replayed, 3)
          yield* assertSound(ledger)
        })
      )
    })
  )

  it.effect("refuses an index of another history", () =>
    Effect.gen(function* () {
      const directory = yield* ledgerOf(10)
      const meddling = [`UPDATE sealog_index SET leaf_hash = '${"0".repeat(64)}' WHERE seq = 4`]
      yield* after(directory, meddling, (ledger) =>
        Effect.gen(function* () {
          const before = tables(mirrorOf(directory))
          assertLike(yield* Effect.flip(ledger.replay), {
            _tag: "RowDamaged",
            seq: 4,
            leg: "index"
          })
          assert.strictEqual(tables(mirrorOf(directory)), before)
        })
      )
    })
  )

  it.effect("ends where the chain is broken, or a line is no row", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const file = path.join(directory, "log.jsonl")
      const lines = vectorLines("log-unsigned.jsonl")
      fs.writeFileSync(file, lines.map((line) => `${line}\n`).join(""))
      yield* using({ file }, (ledger) =>
        Effect.gen(function* () {
          const write = (changed: ReadonlyArray<string>) =>
            fs.writeFileSync(file, changed.map((line) => `${line}\n`).join(""))
          const swapped = [...lines]
          swapped.splice(20, 2, lines[21] ?? "", lines[20] ?? "")
          const cases: ReadonlyArray<readonly [ReadonlyArray<string>, object]> = [
            [swapped, { _tag: "ChainBroken", seq: 21, link: "prev_event_hash" }],
            [
              lines.with(30, (lines[30] ?? "").replace(/"event_hash":"./, '"event_hash":"x')),
              { _tag: "ChainBroken", seq: 31, link: "event_hash" }
            ],
            [lines.with(40, "{}"), { _tag: "RowDamaged", seq: 41, leg: "journal" }]
          ]
          for (const [changed, expected] of cases) {
            write(changed)
            assertLike(yield* Effect.flip(ledger.replay), { ...expected })
            assertLike(yield* Effect.flip(ledger.parity), { ...expected })
          }
          write(lines)
          yield* assertSound(ledger)
        })
      )
    })
  )

  it.effect("refuses an id that stands for two rows", () =>
    Effect.gen(function* () {
      for (const name of ["id-used-twice", "id-used-twice-same-payload", "self-written-same-id"]) {
        const directory = yield* TestLedger.directory
        const file = path.join(directory, "log.jsonl")
        const lines = vectorLines(`corrupt/${name}.jsonl`)
        fs.writeFileSync(file, lines.map((line) => `${line}\n`).join(""))
        const ids = lines.map((line) => memberText(line, "id"))
        const twice = ids.find((id, n) => ids.indexOf(id) !== n)
        const error = yield* Effect.flip(using({ file }, () => Effect.void))
        assertLike(error, { _tag: "LedgerDamaged" }, name)
        assert.include(error.message, JSON.parse(twice ?? '""'))
      }
    })
  )
})

describe("parity", () => {
  const cases: ReadonlyArray<
    readonly [string, ReadonlyArray<string>, Partial<ReturnType<typeof lists>>]
  > = [
    [
      "a row that was deleted",
      [`DELETE FROM events WHERE id = '${idOf(7)}'`],
      { missingInSqlite: [idOf(7)] }
    ],
    [
      "the newest row deleted",
      [`DELETE FROM events WHERE id = '${idOf(20)}'`],
      { missingInSqlite: [idOf(20)] }
    ],
    [
      "a row and its index row deleted",
      [`DELETE FROM events WHERE id = '${idOf(7)}'`, "DELETE FROM sealog_index WHERE seq = 7"],
      { missingInSqlite: [idOf(7)] }
    ],
    ["a row that was added", [stray("evt_stray", idOf(3))], { missingInJsonl: ["evt_stray"] }],
    [
      "rows without an id, or with an empty one",
      [
        strayAs("NULL", "one", idOf(3)),
        strayAs("NULL", "two", idOf(3)),
        strayAs("''", "three", idOf(3))
      ],
      { missingInJsonl: ["", "null", "null"] }
    ],
    [
      "an id that a runtime may read only in part",
      [strayAs("'a' || char(0) || 'b'", "one", idOf(3))],
      { missingInJsonl: ["a\0b"] }
    ],
    [
      "an id of bytes that are no text",
      [strayAs("x'ff00'", "one", idOf(3)), strayAs("x'ff01'", "two", idOf(3))],
      { missingInJsonl: ["\u{fffd}\0", "\u{fffd}\u0001"] }
    ],
    [
      "a row whose index row is that of no row",
      [
        stray("evt_zero", idOf(3)),
        `INSERT INTO sealog_index SELECT 0, 'evt_zero', parent_seq, event_type, session_id, trace_id,
         segment, byte_offset, byte_length, 'none', observed_at FROM sealog_index WHERE seq = 3`
      ],
      { missingInJsonl: ["evt_zero"] }
    ],
    [
      "a row that was renamed",
      [`UPDATE events SET id = 'evt_renamed' WHERE id = '${idOf(3)}'`],
      { missingInSqlite: [idOf(3)], missingInJsonl: ["evt_renamed"] }
    ],
    [
      "a row that was changed",
      [`UPDATE events SET domain_tags_json = '["x"]' WHERE id = '${idOf(3)}'`],
      { mismatched: [idOf(3)] }
    ],
    [
      "hashes that were swapped",
      [
        `UPDATE events SET event_hash = 'x' WHERE id = '${idOf(3)}'`,
        `UPDATE events SET payload_hash = 'x' WHERE id = '${idOf(4)}'`
      ],
      { mismatched: [idOf(3), idOf(4)].toSorted() }
    ],
    [
      "all rows deleted",
      ["DELETE FROM events"],
      { missingInSqlite: Array.from({ length: 20 }, (_, n) => idOf(n + 1)).toSorted() }
    ],
    [
      "an index row that is lost, while the row is there",
      ["DELETE FROM sealog_index WHERE seq = 5"],
      {}
    ],
    [
      "two index rows that are exchanged, while the rows are there",
      [
        "UPDATE sealog_index SET event_id = 'x' WHERE seq = 5",
        `UPDATE sealog_index SET event_id = '${idOf(5)}' WHERE seq = 6`,
        `UPDATE sealog_index SET event_id = '${idOf(6)}' WHERE seq = 5`
      ],
      {}
    ],
    [
      "other spellings of the same row",
      [
        `UPDATE events SET payload_json = ' {"name" : "row 3"} ' WHERE id = '${idOf(3)}'`,
        `UPDATE events SET recorded_at = replace(recorded_at, '+00:00', 'Z') WHERE id = '${idOf(4)}'`
      ],
      {}
    ]
  ]

  for (const [name, meddling, expected] of cases) {
    it.effect(`is exact about ${name}`, () =>
      Effect.gen(function* () {
        const directory = yield* ledgerOf(20)
        yield* after(directory, meddling, (ledger) =>
          Effect.gen(function* () {
            const report = yield* ledger.parity
            const none = { missingInSqlite: [], missingInJsonl: [], mismatched: [] }
            assert.deepStrictEqual(lists(report), { ...none, ...expected })
            assert.strictEqual(report.jsonlEventCount, 20)
            assert.strictEqual(
              report.sqliteEventCount,
              query(mirrorOf(directory), "SELECT id FROM events").length
            )
          })
        )
      })
    )
  }

  it.effect("counts thousands that only SQL has, and lists the first of them", () =>
    Effect.gen(function* () {
      const directory = yield* ledgerOf(20)
      const many = (count: number, id: string) =>
        `WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT ${count})
         ${strayAs(id, `${id.replaceAll("'", "")} ' || n || '`, idOf(3)).replace(
           "FROM events",
           "FROM numbers, events"
         )}`
      const meddling = [
        many(2_500, "printf('a%04d', n) || char(0)"),
        many(1_200, "CAST(printf('b%04d', n) AS BLOB)"),
        many(1_100, "NULL")
      ]
      yield* after(directory, meddling, (ledger) =>
        Effect.gen(function* () {
          const report = yield* ledger.parity
          assert.strictEqual(report.missingInJsonlCount, 4_800)
          assert.strictEqual(report.sqliteEventCount, 4_820)
          assert.deepStrictEqual(
            report.missingInJsonl,
            Array.from({ length: 1_000 }, () => "null")
          )
        })
      )
    })
  )

  const Damage = Arbitrary.array(
    Arbitrary.all([
      Arbitrary.schema(Schema.Literals(["delete", "change", "rename", "add"])),
      Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 300 })))
    ]),
    { maxLength: 12 }
  )

  it.effect.prop(
    "is exact about any damage, in both directions",
    [Damage],
    ([damage]) =>
      Effect.gen(function* () {
        const directory = yield* ledgerOf(300)
        const state = new Map(drafts(300).map((_, n) => [idOf(n + 1), "same"]))
        const added = new Set<string>()
        const meddling = damage.flatMap(([kind, n]): ReadonlyArray<string> => {
          const id = idOf(n)
          const other = `evt_${kind}_${n}`
          if (!state.has(id) || added.has(other)) return []
          if (kind === "add") {
            added.add(other)
            return [stray(other, id)]
          }
          if (kind === "change") {
            state.set(id, "changed")
            return [`UPDATE events SET session_id = 'changed' WHERE id = '${id}'`]
          }
          state.delete(id)
          if (kind === "delete") return [`DELETE FROM events WHERE id = '${id}'`]
          added.add(other)
          return [`UPDATE events SET id = '${other}' WHERE id = '${id}'`]
        })
        yield* after(directory, meddling, (ledger) =>
          Effect.gen(function* () {
            const report = yield* ledger.parity
            assert.deepStrictEqual(lists(report), {
              missingInSqlite: drafts(300)
                .map((_, n) => idOf(n + 1))
                .filter((id) => !state.has(id))
                .toSorted(),
              missingInJsonl: [...added].toSorted(),
              mismatched: [...state.keys()].filter((id) => state.get(id) === "changed").toSorted()
            })
            assert.strictEqual(report.sqliteEventCount, state.size + added.size)
          })
        )
      }),
    { arbitrary: { runs: 15 } }
  )
})
