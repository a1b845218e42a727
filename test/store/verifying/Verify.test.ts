import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as Row from "../../../src/core/Row.ts"
import type { Failure, Level, VerifyReport } from "../../../src/core/VerifyReport.ts"
import * as SealogNode from "../../../src/platform/SealogNode.ts"
import * as LedgerModule from "../../../src/store/Ledger.ts"
import { Reader } from "../../../src/store/reading/Reader.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { groups, image, lineEnds, overwritten, segmentOf, small } from "../crashKit.ts"
import { meddle, named, using } from "../ledgerFixtures.ts"

/** A closed ledger: two segments, keys, a parent, groups of one, two and three rows. */
const fixture = Effect.gen(function* () {
  const directory = path.join(yield* TestLedger.directory, "ledger")
  const payload = "x".repeat(1500)
  const parent = named("parent", { payload, keys: { door: "1", "": "x" } })
  const linked = named("child", { parentId: parent.id, keys: { door: "1" }, sessionId: "s" })
  yield* using({ directory, segmentBytesMax: 3300 }, (ledger) =>
    Effect.gen(function* () {
      yield* ledger.append(parent)
      yield* ledger.append(linked)
      yield* Effect.forEach(groups(2, 3), (group) => ledger.appendAll(group), { discard: true })
    })
  )
  const mirror = path.join(directory, "mirror.sqlite")
  const second = segmentOf(directory, 3)
  return { directory, mirror, first: segmentOf(directory, 1), second, ids: [parent.id, linked.id] }
})

type Made = Effect.Success<typeof fixture>

/** As someone who reads beside a writer would verify, the mirror included. */
const withMirror = ({ directory }: Made, failuresMax?: number) =>
  Effect.flatMap(Reader, (reader) => reader.verify({ failuresMax })).pipe(
    Effect.provide(SealogNode.layerReader({ directory }))
  )

const withoutMirror = ({ directory }: Made, failuresMax?: number) =>
  Effect.provide(LedgerModule.verify({ directory }, { failuresMax }), SealogNode.layerPlatform)

const failuresOf = (report: VerifyReport): ReadonlyArray<Failure> =>
  report._tag === "Damaged" ? report.failures : []

/** What was found, without its sides. */
const found = (report: VerifyReport) =>
  failuresOf(report).map(({ level, reason, seq }) => [level, seq, reason.which ?? reason.kind])

const failedLevels = (report: VerifyReport) =>
  Object.entries(report.checks).flatMap(([level, check]) => (check === "Failed" ? [level] : []))

/** Every failure names a line that is really there, by its number and by its offset. */
const placesHold = (report: VerifyReport) => {
  for (const failure of failuresOf(report)) {
    assert.isTrue(fs.existsSync(failure.path), failure.message)
    if (failure.line === 0) continue
    const ends = [0, ...lineEnds(fs.readFileSync(failure.path))]
    assert.strictEqual(failure.offset, ends[failure.line - 1], failure.message)
    assert.include(failure.message, `${failure.path}:${failure.line} at byte ${failure.offset}`)
  }
}

describe("Verify", () => {
  it.effect(
    "finds an untouched ledger intact at every level there is, and says what is not proven",
    () =>
      Effect.gen(function* () {
        const made = yield* fixture
        const before = image(made.directory)
        const report = yield* withoutMirror(made)
        assert.deepStrictEqual(report.checks, {
          rows: "Passed",
          seal: "Passed",
          lines: "Passed",
          signatures: "Skipped",
          parents: "Skipped",
          index: "Skipped",
          parity: "Skipped",
          checkpoints: "Skipped"
        })
        assert.deepStrictEqual(
          [report._tag, report.rows, report.head.seq, report.path],
          ["Intact", 7, 7, made.directory]
        )
        assert.isTrue(report.notProven.some((what) => what.includes("cut off the end")))
        assert.isTrue(report.notProven.some((what) => what.includes("no id is used twice")))
        assert.deepStrictEqual(image(made.directory), before)
        const all = yield* withMirror(made)
        assert.deepInclude(all.checks, { parents: "Passed", index: "Passed", parity: "Passed" })
        assert.deepStrictEqual([all._tag, all.remarks, all.rows], ["Intact", [], 7])
      })
  )

  it.effect("works without a mirror, guard, ledger.json or operations", () =>
    Effect.gen(function* () {
      const made = yield* fixture
      for (const name of fs.readdirSync(made.directory)) {
        if (name !== "segments") fs.rmSync(path.join(made.directory, name), { recursive: true })
      }
      assert.strictEqual((yield* withoutMirror(made))._tag, "Intact")
      assert.deepStrictEqual(fs.readdirSync(made.directory), ["segments"])
    })
  )

  it.effect("lists every failure, counts those beyond the most, and goes on behind each", () =>
    Effect.gen(function* () {
      const made = yield* fixture
      const bytes = fs.readFileSync(made.second)
      const [a = 0, , c = 0] = lineEnds(bytes)
      fs.writeFileSync(
        made.second,
        overwritten(overwritten(bytes, a + 30, Buffer.from("#")), c + 30, Buffer.from("#"))
      )
      const report = yield* withoutMirror(made)
      assert.deepStrictEqual(found(report), [
        ["rows", 4, "crc_mismatch"],
        ["rows", 6, "crc_mismatch"]
      ])
      placesHold(report)
      const few = yield* withoutMirror(made, 1)
      assert.strictEqual(failuresOf(few).length, 1)
      assert.strictEqual(few._tag === "Damaged" && few.failureCount, 2)
    })
  )

  it.effect("finds rows that were removed, swapped, doubled or taken from elsewhere", () =>
    Effect.gen(function* () {
      const made = yield* fixture
      const bytes = fs.readFileSync(made.second)
      const ends = [0, ...lineEnds(bytes)]
      const line = (nth: number) => bytes.subarray(ends[nth], ends[nth + 1])
      const [a, b, c, d, e] = [line(0), line(1), line(2), line(3), line(4)]
      const [alien] = lineEnds(fs.readFileSync(made.first))
      const foreign = fs.readFileSync(made.first).subarray(0, alien)
      for (const lines of [
        [a, c, d, e],
        [b, a, c, d, e],
        [a, b, b, c, d, e],
        [foreign, a, b, c, d, e],
        [b, c, d, e]
      ]) {
        fs.writeFileSync(made.second, Buffer.concat(lines))
        const report = yield* withoutMirror(made)
        assert.includeMembers(failedLevels(report), ["seal", "lines"])
        placesHold(report)
      }
      // A tail cut at a row is invisible to the chain, though not to the mirror; a cut group is seen.
      fs.writeFileSync(made.second, Buffer.concat([a, b]))
      assert.strictEqual((yield* withoutMirror(made))._tag, "Intact")
      assert.deepStrictEqual(found(yield* withMirror(made)).at(-1), ["parity", 4, "journal_short"])
      fs.writeFileSync(made.second, Buffer.concat([a, b, c, d]))
      const cut = yield* withoutMirror(made)
      assert.deepStrictEqual(found(cut), [["rows", 6, "group_incomplete"]])
      placesHold(cut)
    })
  )

  it.effect("finds segments that are missing, empty, misnamed or foreign, and reads the rest", () =>
    Effect.gen(function* () {
      const made = yield* fixture
      const segments = path.join(made.directory, "segments")
      fs.writeFileSync(path.join(segments, "notes.txt"), "")
      fs.symlinkSync(made.first, path.join(segments, "0000000000000009.jsonl"))
      const foreign = yield* withMirror(made)
      assert.deepStrictEqual(found(foreign), [
        ["rows", 0, "foreign_file"],
        ["rows", 0, "foreign_file"]
      ])
      assert.deepStrictEqual(
        failuresOf(foreign).map((failure) => [path.basename(failure.path), failure.reason.actual]),
        [
          ["0000000000000009.jsonl", "a symbolic link"],
          ["notes.txt", "a foreign file"]
        ]
      )
      assert.strictEqual(foreign.rows, 7)
      for (const name of ["notes.txt", "0000000000000009.jsonl"])
        fs.rmSync(path.join(segments, name))
      fs.renameSync(made.second, segmentOf(made.directory, 4))
      const misnamed = yield* withoutMirror(made)
      assert.deepStrictEqual(found(misnamed), [["rows", 2, "segment_misnamed"]])
      assert.deepInclude(failuresOf(misnamed)[0], { path: segmentOf(made.directory, 4) })
      fs.renameSync(segmentOf(made.directory, 4), made.second)
      fs.writeFileSync(segmentOf(made.directory, 2), "")
      const empty = yield* withoutMirror(made)
      assert.deepStrictEqual(found(empty), [
        ["rows", 2, "segment_misnamed"],
        ["rows", 2, "segment_empty"]
      ])
      fs.rmSync(segmentOf(made.directory, 2))
      fs.rmSync(made.first)
      const missing = yield* withoutMirror(made)
      assert.includeDeepMembers(found(missing).slice(), [
        ["rows", 0, "segment_misnamed"],
        ["seal", 1, "orphan"]
      ])
    })
  )

  const tampered: ReadonlyArray<readonly [string, ReadonlyArray<string>, Level, number, RegExp]> = [
    [
      "an index row's leaf hash",
      ["UPDATE sealog_index SET leaf_hash = 'x' WHERE seq = 3"],
      "index",
      3,
      /index_differs/
    ],
    [
      "an index row's offset",
      ["UPDATE sealog_index SET byte_offset = byte_offset + 1 WHERE seq = 3"],
      "index",
      3,
      /index_differs/
    ],
    [
      "an index row's offset to a text",
      ["UPDATE sealog_index SET byte_offset = 'x' WHERE seq = 3"],
      "index",
      3,
      /index_differs/
    ],
    [
      "an index row's length to a blob",
      ["UPDATE sealog_index SET byte_length = x'00' WHERE seq = 3"],
      "index",
      3,
      /index_differs/
    ],
    [
      "an index row's segment",
      ["UPDATE sealog_index SET segment = 1 WHERE seq = 3"],
      "index",
      3,
      /index_differs/
    ],
    [
      "an index row's id",
      ["UPDATE sealog_index SET event_id = 'x' WHERE seq = 3"],
      "index",
      3,
      /index_differs/
    ],
    [
      "an index row's type",
      ["UPDATE sealog_index SET event_type = 'x.v1' WHERE seq = 3"],
      "index",
      3,
      /index_differs/
    ],
    [
      "an index row's session",
      ["UPDATE sealog_index SET session_id = NULL WHERE seq = 2"],
      "index",
      2,
      /index_differs/
    ],
    [
      "an index row's trace",
      ["UPDATE sealog_index SET trace_id = 'x' WHERE seq = 2"],
      "index",
      2,
      /index_differs/
    ],
    [
      "an index row's parent",
      ["UPDATE sealog_index SET parent_seq = NULL WHERE seq = 2"],
      "index",
      2,
      /index_parent/
    ],
    [
      "an index row into one with a parent",
      ["UPDATE sealog_index SET parent_seq = 1 WHERE seq = 3"],
      "index",
      3,
      /index_parent/
    ],
    [
      "which row an index row is, by taking it away",
      ["DELETE FROM sealog_index WHERE seq = 3"],
      "index",
      3,
      /index_missing/
    ],
    [
      "a key's value",
      ["UPDATE sealog_keys SET value = '2' WHERE name = 'door' AND seq = 2"],
      "index",
      2,
      /key_missing/
    ],
    [
      "a key's row",
      ["UPDATE sealog_keys SET seq = 3 WHERE name = 'door' AND seq = 2"],
      "index",
      2,
      /key_missing/
    ],
    [
      "which keys there are",
      ["INSERT INTO sealog_keys VALUES ('door', '1', 5)"],
      "index",
      0,
      /key_stray/
    ],
    [
      "an event's payload",
      ["UPDATE events SET payload_json = '1' WHERE rowid = 3"],
      "parity",
      3,
      /mismatched: payload/
    ],
    [
      "an event's time",
      ["UPDATE events SET recorded_at = '2000-01-01T00:00:00+00:00' WHERE rowid = 3"],
      "parity",
      3,
      /mismatched: recorded_at/
    ],
    [
      "an event's hash to a blob",
      ["UPDATE events SET event_hash = x'00ff' WHERE rowid = 3"],
      "parity",
      3,
      /mismatched: event_hash/
    ],
    [
      "which event it is, by taking it away",
      ["DELETE FROM events WHERE rowid = 3"],
      "parity",
      3,
      /missing_in_sqlite/
    ],
    [
      "events by one more",
      [
        "INSERT INTO events SELECT 'evt_x', schema_version, observed_at, recorded_at, source_json, event_type, trace_id, session_id, domain_tags_json, payload_json, payload_hash, prev_event_hash, 'x', NULL FROM events WHERE rowid = 1"
      ],
      "parity",
      0,
      /missing_in_jsonl/
    ],
    [
      "events by one that has no id",
      [
        "INSERT INTO events SELECT NULL, schema_version, observed_at, recorded_at, source_json, event_type, trace_id, session_id, domain_tags_json, payload_json, payload_hash, prev_event_hash, 'x', NULL FROM events WHERE rowid = 1"
      ],
      "parity",
      0,
      /missing_in_jsonl/
    ],
    [
      "events by one whose id is no text",
      [
        "INSERT INTO events SELECT x'00', schema_version, observed_at, recorded_at, source_json, event_type, trace_id, session_id, domain_tags_json, payload_json, payload_hash, prev_event_hash, 'x', NULL FROM events WHERE rowid = 1"
      ],
      "parity",
      0,
      /missing_in_jsonl/
    ],
    [
      "the index by a row before all others",
      ["INSERT INTO sealog_index VALUES (-5, 'evt_x', NULL, 'a.v1', NULL, NULL, 1, 0, 5, 'x', '')"],
      "index",
      0,
      /index_stray/
    ],
    [
      "the index by a row behind all others",
      ["INSERT INTO sealog_index VALUES (9, 'evt_x', NULL, 'a.v1', NULL, NULL, 1, 0, 5, 'x', '')"],
      "index",
      0,
      /index_stray/
    ]
  ]
  for (const [what, statements, level, seq, message] of tampered) {
    it.effect(`finds that someone changed ${what}`, () =>
      Effect.gen(function* () {
        const made = yield* fixture
        meddle(made.mirror, "PRAGMA foreign_keys = OFF", ...statements)
        const report = yield* withMirror(made)
        const failure = failuresOf(report).find(
          (one) => one.level === level && message.test(one.message)
        )
        assert.isDefined(failure, JSON.stringify(report))
        if (seq > 0) assert.strictEqual(failure?.seq, seq)
        assert.include(failedLevels(report), level)
        assert.strictEqual(report.checks["rows"], "Passed")
        placesHold(report)
        // The journal itself is not blamed.
        assert.strictEqual((yield* withoutMirror(made))._tag, "Intact")
      })
    )
  }

  it.effect("finds every stray event, however many", () =>
    Effect.gen(function* () {
      const made = yield* fixture
      meddle(
        made.mirror,
        `WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2500)
         INSERT INTO events SELECT 'evt_' || n, 1, '', '', '{}', '', NULL, NULL, '[]', '1', '', NULL, 'h' || n, NULL FROM n`
      )
      const report = yield* withMirror(made, 10)
      assert.strictEqual(report._tag === "Damaged" && report.failureCount, 2500)
      assert.strictEqual(failuresOf(report).length, 10)
    })
  )

  it.effect("finds a parent that is no earlier row", () =>
    Effect.gen(function* () {
      const made = yield* fixture
      // Written by a hand that seals and links rightly but asks nobody for the parent.
      const lines = fs.readFileSync(made.second, "utf8").split("\n").slice(0, 1)
      assert.include(lines[0], '"event_type":"a.v1"')
      meddle(made.mirror, "UPDATE sealog_index SET event_id = 'x' WHERE seq = 1")
      const report = yield* withMirror(made)
      assert.includeDeepMembers(found(report).slice(), [["parents", 2, "parent_unknown"]])
      const [parent, child] = made.ids
      meddle(
        made.mirror,
        "UPDATE sealog_index SET event_id = 'y' WHERE seq = 7",
        `UPDATE sealog_index SET event_id = '${String(parent)}' WHERE seq = 7`
      )
      const later = yield* withMirror(made)
      const failure = failuresOf(later).find(({ level }) => level === "parents")
      assert.deepStrictEqual([failure?.seq, failure?.eventId], [2, child])
      assert.strictEqual(failure?.reason.actual, "row 7")
    })
  )

  it.effect("calls an unfinished end a remark beyond the mirror, and a failure below it", () =>
    Effect.gen(function* () {
      const made = yield* fixture
      const bytes = fs.readFileSync(made.second)
      const ends = lineEnds(bytes)
      const tails = [
        bytes.subarray(0, 100),
        bytes.subarray(ends[1], ends[2]),
        Buffer.from('{"id":')
      ]
      const flight = (tail: Buffer) => fs.writeFileSync(made.second, Buffer.concat([bytes, tail]))
      for (const tail of [tails[0], tails[2]]) {
        flight(tail ?? Buffer.alloc(0))
        const report = yield* withMirror(made)
        assert.deepStrictEqual([report._tag, report.rows], ["Intact", 7])
        assert.deepStrictEqual(
          report.remarks.map(({ reason }) => reason.kind),
          ["in_flight"]
        )
        assert.deepStrictEqual(
          report.remarks.map(({ offset, path }) => [offset, path]),
          [[bytes.byteLength, made.second]]
        )
        // Without a mirror nobody knows what was acknowledged.
        assert.strictEqual(found(yield* withoutMirror(made))[0]?.[0], "rows")
      }
      // The same bytes, but of rows that the mirror has acknowledged.
      for (const by of [1, 40, 700]) {
        fs.writeFileSync(made.second, bytes.subarray(0, -by))
        const report = yield* withMirror(made)
        assert.strictEqual(report._tag, "Damaged", `${by} bytes short`)
        assert.deepStrictEqual(report.remarks, [])
      }
      // An unfinished line that rows of another segment follow is not in flight.
      fs.writeFileSync(made.second, bytes)
      meddle(
        made.mirror,
        "DELETE FROM sealog_index WHERE seq > 2",
        "DELETE FROM events WHERE rowid > 2"
      )
      fs.appendFileSync(made.first, '{"id":')
      const between = yield* withMirror(made)
      assert.strictEqual(between._tag, "Damaged")
      assert.deepInclude(failuresOf(between)[0], { path: made.first })
    })
  )

  it.effect("calls a group in flight a remark, and one that the mirror holds a failure", () =>
    Effect.gen(function* () {
      const made = yield* fixture
      const bytes = fs.readFileSync(made.second)
      const [, b = 0, c = 0] = lineEnds(bytes)
      fs.writeFileSync(made.second, bytes.subarray(0, c))
      meddle(
        made.mirror,
        "DELETE FROM sealog_index WHERE seq > 4",
        "DELETE FROM events WHERE rowid > 4"
      )
      const report = yield* withMirror(made)
      assert.deepStrictEqual([report._tag, report.rows], ["Intact", 5])
      const [remark] = report.remarks
      assert.deepInclude(remark, { path: made.second, offset: b, line: 3 })
      assert.strictEqual(remark?.reason.kind, "in_flight")
    })
  )

  it.effect("verifies beside a writer", () =>
    Effect.gen(function* () {
      const made = yield* fixture
      yield* using({ directory: made.directory }, (ledger) =>
        Effect.gen(function* () {
          for (let nth = 0; nth < 5; nth++) {
            const [report] = yield* Effect.all(
              [withMirror(made), ledger.append(small(`w${nth}`))],
              { concurrency: 2 }
            )
            assert.strictEqual(report._tag, "Intact", JSON.stringify(report))
          }
        })
      )
    })
  )

  it.effect("tells a place in the index that is none from damage to the journal", () =>
    Effect.gen(function* () {
      const made = yield* fixture
      const places = [
        "byte_offset = 'x'",
        "byte_offset = -1",
        "byte_length = x'00'",
        "segment = 0.5",
        "segment = 0",
        "byte_length = 9007199254740000"
      ]
      for (const [nth, place] of places.entries()) {
        meddle(made.mirror, `UPDATE sealog_index SET ${place} WHERE seq = 3`)
        yield* Effect.gen(function* () {
          const reader = yield* Reader
          const one = yield* Effect.flip(reader.get(3))
          assert.strictEqual(one._tag, "RowDamaged", `${nth}`)
          const all = yield* Effect.flip(Stream.runDrain(reader.events()))
          assert.strictEqual(all._tag, "RowDamaged", `${nth}`)
          assert.strictEqual((yield* reader.get(2)).seq, 2)
        }).pipe(Effect.provide(SealogNode.layerReader({ directory: made.directory })))
        meddle(
          made.mirror,
          "UPDATE sealog_index SET segment = 3, byte_offset = 0, byte_length = (SELECT byte_offset - 1 FROM sealog_index WHERE seq = 4) WHERE seq = 3"
        )
      }
      assert.strictEqual((yield* withMirror(made))._tag, "Intact")
    })
  )

  it.effect("verifies one file as Cortex reads it, with rows of both", () =>
    Effect.gen(function* () {
      const file = path.join(yield* TestLedger.directory, "events.jsonl")
      const note = (name: string) => named(name, { type: "cortex.event.system_note.v1" })
      yield* using({ file }, (ledger) => ledger.append(note("one")))
      yield* using({ file, lineHashes: true, crc: true }, (ledger) => ledger.append(note("two")))
      const verify = Effect.provide(LedgerModule.verify({ file }), SealogNode.layerPlatform)
      const report = yield* verify
      assert.deepStrictEqual(
        [report._tag, report.rows, report.checks["lines"]],
        ["Intact", 2, "Skipped"]
      )
      assert.isTrue(report.notProven.some((what) => what.includes("without a line hash")))
      const bytes = fs.readFileSync(file)
      const [end = 0] = lineEnds(bytes)
      assert.strictEqual(report.head.leafHash, Row.leafHash(bytes.subarray(end, -1)))
      const names = ['"one"', '"two"'].map((name) => bytes.indexOf(name) + 1)
      const changed = Buffer.from(bytes)
      for (const at of names) changed.write("?", at)
      fs.writeFileSync(file, changed)
      const damaged = yield* verify
      assert.deepStrictEqual(found(damaged), [
        ["seal", 1, "payload_hash_mismatch"],
        ["rows", 2, "crc_mismatch"]
      ])
      placesHold(damaged)
    })
  )
})
