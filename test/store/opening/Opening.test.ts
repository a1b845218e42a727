import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Path, Ref, Result } from "effect"
import { Reactivity } from "effect/reactivity"
import { SqlClient } from "effect/sql"
import * as Chain from "../../../src/core/Chain.ts"
import * as Draft from "../../../src/core/Draft.ts"
import * as EventId from "../../../src/core/EventId.ts"
import * as Recovery from "../../../src/core/Recovery.ts"
import * as Row from "../../../src/core/Row.ts"
import * as Seal from "../../../src/core/Seal.ts"
import * as Segment from "../../../src/core/Segment.ts"
import * as Timestamp from "../../../src/core/Timestamp.ts"
import * as SqliteClient from "../../../src/platform/SqliteClient.ts"
import * as Journal from "../../../src/store/journal/Journal.ts"
import * as Layout from "../../../src/store/journal/Layout.ts"
import { CurrentHashes } from "../../../src/store/Ledger.ts"
import * as Mirror from "../../../src/store/mirror/Mirror.ts"
import { MirrorError } from "../../../src/store/errors.ts"
import * as Opening from "../../../src/store/opening/Opening.ts"
import * as TimeBlocks from "../../../src/store/mirror/TimeBlocks.ts"
import { LedgerDamaged, LedgerDiverged } from "../../../src/store/opening/Opening.ts"
import * as Op from "../../../src/core/Operation.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import {
  dead,
  image,
  keptBytes,
  lineOf,
  makeFixture,
  opening,
  operations,
  overwritten,
  platformOver,
  putState,
  refusal,
  segmentOf,
  small,
  unsyncedFiles,
  usingWatched
} from "../crashKit.ts"
import type { Fixture, Watch } from "../crashKit.ts"
import { assertSound, meddle, query, snapshot, tables, using } from "../ledgerFixtures.ts"

/** A closed ledger of groups of these sizes. */
const fixture = (...sizes: ReadonlyArray<number>) =>
  Effect.flatMap(TestLedger.directory, (parent) =>
    makeFixture(path.join(parent, "ledger"), ...sizes)
  )

const fixture123 = fixture(1, 2, 3)

const mirrorOf = ({ directory }: Fixture) => path.join(directory, "mirror.sqlite")

const endOf = ({ ends }: Fixture, rows: number): number => ends[rows - 1] ?? 0

/** Tags of what opening did, in its order; empty where it was clean. */
const deeds = (report: Opening.OpenReport): ReadonlyArray<string> =>
  report._tag === "Recovered" ? report.actions.map((action) => action._tag) : []

/** Refused with this error, and not a byte of the ledger's files changed. */
const refusedUntouched = Effect.fnUntraced(function* (made: Fixture) {
  const before = snapshot(made.directory)
  const mirror = fs.existsSync(mirrorOf(made)) ? tables(mirrorOf(made)) : ""
  const error = yield* refusal({ directory: made.directory })
  assert.deepStrictEqual(snapshot(made.directory), before)
  if (mirror !== "") assert.strictEqual(tables(mirrorOf(made)), mirror)
  return error
})

const damagedAt = Effect.fnUntraced(function* (
  made: Fixture,
  offset: number,
  reason: RegExp,
  segment = 1
) {
  const error = yield* refusedUntouched(made)
  assert.instanceOf(error, LedgerDamaged)
  assert.deepStrictEqual([error.path, error.offset], [segmentOf(made.directory, segment), offset])
  assert.match(error.reason, reason)
  assert.include(error.message, `byte ${offset}`)
  return error
})

const diverged = Effect.fnUntraced(function* (made: Fixture, seq: number, reason: RegExp) {
  const error = yield* refusedUntouched(made)
  assert.instanceOf(error, LedgerDiverged)
  assert.strictEqual(error.seq, seq)
  assert.match(error.reason, reason)
})

/** After recovery: what is there, what was cut, a sound ledger, and nothing left to do. */
const recoveredTo = Effect.fnUntraced(function* (made: Fixture, rows: number, cut: Uint8Array) {
  const { bytes, directory } = made
  assert.isTrue(
    fs.readFileSync(segmentOf(directory, 1)).equals(bytes.subarray(0, endOf(made, rows)))
  )
  assert.isTrue(keptBytes(directory).equals(cut))
  const before = snapshot(directory)
  const report = yield* using({ directory }, (ledger) =>
    Effect.as(assertSound(ledger), ledger.opened)
  )
  assert.deepStrictEqual([report._tag, report.head.seq], ["Clean", rows])
  assert.deepStrictEqual(snapshot(directory), before)
})

/** The same recovery again and again: one mirror in memory, put back by SQL. */
const recoveries = Effect.fnUntraced(function* (made: Fixture) {
  const { directory } = made
  const sql = yield* SqliteClient.make({ filename: ":memory:" })
  const layout = Layout.of(yield* Path.Path, { directory })
  const journal = yield* Journal.makeReader(layout, { lineBytesMax: 10_000 })
  const hashes = yield* CurrentHashes
  yield* Effect.provideService(Mirror.migrate, SqlClient.SqlClient, sql)
  const recover = Opening.recover(journal, sql, hashes)
  yield* recover
  yield* sql`CREATE TABLE e AS SELECT * FROM events`
  yield* sql`CREATE TABLE i AS SELECT * FROM sealog_index`
  const put = Effect.fnUntraced(function* (length: number, rows: number) {
    fs.rmSync(layout.operations, { recursive: true, force: true })
    fs.writeFileSync(segmentOf(directory, 1), made.bytes.subarray(0, length))
    yield* sql`DELETE FROM events`
    yield* sql`DELETE FROM sealog_index`
    yield* sql`INSERT INTO events SELECT e.* FROM e JOIN i ON e.id = i.event_id WHERE seq <= ${rows}`
    yield* sql`INSERT INTO sealog_index SELECT * FROM i WHERE seq <= ${rows}`
    yield* TimeBlocks.cut(sql, rows)
  })
  const mirrored = Effect.map(
    sql<{ n: number }>`SELECT count(*) AS n FROM sealog_index`,
    ([row]) => row?.n
  )
  return { recover, put, mirrored }
})

/** What must become of a ledger that is cut at this byte. */
const expected = (made: Fixture, length: number, mirrored: number) => {
  // A group is whole where its last LF alone is missing.
  const rows =
    [0, 1, 3, 6].findLast((end) => end <= made.ends.length && length >= endOf(made, end) - 1) ?? 0
  const end = endOf(made, rows)
  const tags: Array<string> = []
  if (length > end) tags.push("TailCut")
  if (length === end - 1) tags.push("LineCompleted")
  if (rows > mirrored) tags.push(mirrored === 0 ? "MirrorRemade" : "CaughtUp")
  return { rows, end, tags, cut: made.bytes.subarray(end, Math.max(end, length)) }
}

const checkCut = Effect.fnUntraced(function* (
  made: Fixture,
  run: Effect.Success<ReturnType<typeof recoveries>>,
  length: number,
  mirrored: number
) {
  const want = expected(made, length, mirrored)
  const where = `cut at byte ${length}, ${mirrored} rows mirrored`
  yield* run.put(length, mirrored)
  const first = yield* run.recover
  assert.deepStrictEqual(
    first.actions.map((action) => action._tag),
    want.tags,
    where
  )
  assert.deepStrictEqual([first.head.seq, yield* run.mirrored], [want.rows, want.rows], where)
  for (const action of first.actions) {
    if (action._tag === "TailCut") assert.strictEqual(action.bytes, want.cut.byteLength, where)
    if ("rows" in action) assert.strictEqual(action.rows, want.rows - mirrored, where)
  }
  const segment = fs.readFileSync(segmentOf(made.directory, 1))
  assert.isTrue(segment.equals(made.bytes.subarray(0, want.end)), where)
  const done = operations(made.directory)
  assert.strictEqual(done.length, want.cut.byteLength === 0 ? 0 : 1, where)
  for (const { files, id } of done) {
    const plan = Op.decodePlan(String(files["plan.json"]))
    const name = "0000000000000001.jsonl"
    assert.deepStrictEqual(
      [plan?.id, plan?.cut.map((cut) => [cut.file, cut.offset])],
      [id, [[name, want.end]]]
    )
    assert.isTrue(files[`${name}.cut`]?.equals(want.cut), where)
    assert.include(String(files["outcome.json"]), '"outcome":"ok"')
  }
  const before = image(made.directory)
  const second = yield* run.recover
  assert.deepStrictEqual([second.actions, second.head], [[], first.head], where)
  assert.deepStrictEqual(image(made.directory), before, where)
})

const nearEnd = ({ ends }: Fixture, length: number): boolean =>
  [0, ...ends].some((end) => Math.abs(end - length) <= 20)

const provideRecovery = Effect.provide([platformOver(unsyncedFiles), Reactivity.layer])

describe("Opening", () => {
  it.effect("decides at every byte of a cut which groups are whole", () =>
    Effect.gen(function* () {
      const made = yield* fixture123
      const hashes = yield* CurrentHashes
      for (let length = 0; length <= made.bytes.byteLength; length++) {
        const want = expected(made, length, 0)
        const tail = new Recovery.TailScan(Chain.start, "segments", hashes)
        for (const line of Segment.lines("p", made.bytes.subarray(0, length), 10_000))
          tail.push(line)
        const plan = tail.plan()
        assert.isTrue(plan._tag === "Plan", `cut at byte ${length}`)
        if (plan._tag !== "Plan") continue
        const cut =
          want.cut.byteLength === 0
            ? undefined
            : { path: "p", offset: want.end, length: length - want.end }
        assert.deepStrictEqual([plan.head.seq, plan.cut], [want.rows, cut], `cut at byte ${length}`)
        assert.strictEqual(plan.lineIncomplete, want.tags.includes("LineCompleted"))
      }
    }).pipe(provideRecovery)
  )

  it.effect(
    "recovers to whole groups from cuts near and far from line ends, the mirror deleted",
    () =>
      Effect.gen(function* () {
        const made = yield* fixture(1, 2)
        const run = yield* recoveries(made)
        for (let length = 0; length <= made.bytes.byteLength; length++) {
          if (nearEnd(made, length) || length % 7 === 0) yield* checkCut(made, run, length, 0)
        }
      }).pipe(provideRecovery)
  )

  it.effect("recovers to whole groups from cuts beyond the mirror", () =>
    Effect.gen(function* () {
      const made = yield* fixture(1, 2)
      const run = yield* recoveries(made)
      for (let length = endOf(made, 1); length <= made.bytes.byteLength; length++) {
        if (nearEnd(made, length) || length % 3 === 0) yield* checkCut(made, run, length, 1)
      }
    }).pipe(provideRecovery)
  )

  it.effect("refuses any cut of what the mirror holds, and changes nothing", () =>
    Effect.gen(function* () {
      const made = yield* fixture123
      const run = yield* recoveries(made)
      for (let length = 0; length < made.bytes.byteLength; length += length < 3000 ? 11 : 1) {
        yield* run.put(length, 6)
        const error = yield* Effect.flip(run.recover)
        assert.instanceOf(error, LedgerDiverged)
        assert.deepStrictEqual([error.seq, operations(made.directory)], [6, []])
        const segment = fs.readFileSync(segmentOf(made.directory, 1))
        assert.isTrue(segment.equals(made.bytes.subarray(0, length)))
        assert.strictEqual(yield* run.mirrored, 6)
      }
    }).pipe(provideRecovery)
  )

  it.effect("reports what it did, and does it through the whole ledger", () =>
    Effect.gen(function* () {
      const made = yield* fixture123
      const { bytes, directory, mirrors } = made
      const lengths = [3, 6].flatMap((rows) =>
        [-700, -2, -1, 0].map((by) => endOf(made, rows) + by)
      )
      for (const length of lengths) {
        for (const [group, mirrored] of [0, 1, 3].entries()) {
          if (length < endOf(made, mirrored)) continue
          const want = expected(made, length, mirrored)
          putState(made, { 1: bytes.subarray(0, length) }, group === 0 ? undefined : mirrors[group])
          const report = yield* opening({ directory })
          assert.deepStrictEqual([deeds(report), report.head.seq], [want.tags, want.rows])
          yield* recoveredTo(made, want.rows, want.cut)
        }
      }
    })
  )

  it.effect("goes on behind what it recovered", () =>
    Effect.gen(function* () {
      const made = yield* fixture123
      const { bytes, directory, mirrors } = made
      putState(made, { 1: bytes.subarray(0, -5) }, mirrors[1])
      const seqs = yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          const again = yield* ledger.append(small("b1"))
          const next = yield* ledger.append(small("c0"))
          yield* assertSound(ledger)
          return [again._tag, again.seq, next._tag, next.seq]
        })
      )
      assert.deepStrictEqual(seqs, ["AlreadyAppended", 3, "Appended", 4])
      assert.strictEqual((yield* opening({ directory }))._tag, "Clean")
    })
  )

  it.effect("cuts a tail of zeros, and blocks of zeros inside the last group", () =>
    Effect.gen(function* () {
      const made = yield* fixture123
      const { bytes, directory, ends, mirrors } = made
      const last = endOf(made, 3)
      const zeros = (length: number) => new Uint8Array(length)
      const tails = [
        Buffer.concat([bytes.subarray(0, last), zeros(1)]),
        Buffer.concat([bytes.subarray(0, last), zeros(5000)]),
        overwritten(bytes, last, zeros(bytes.byteLength - last)),
        // The block that holds the end of one line and the beginning of the next was not written.
        overwritten(bytes, last + 100, zeros(200)),
        overwritten(bytes, endOf(made, 4) - 50, zeros(100)),
        overwritten(bytes, endOf(made, 5) - 50, zeros(100)),
        overwritten(bytes, (ends[5] ?? 0) - 100, zeros(100)),
        overwritten(bytes, (ends[5] ?? 0) - 1, zeros(1))
      ]
      for (const [nth, tail] of tails.entries()) {
        for (const mirror of [undefined, mirrors[2]]) {
          putState(made, { 1: tail }, mirror)
          const report = yield* opening({ directory })
          assert.include(deeds(report), "TailCut", `tail ${nth}`)
          yield* recoveredTo(made, 3, tail.subarray(last))
        }
      }
    })
  )

  it.effect("refuses a whole line that is no row, wherever it stands", () =>
    Effect.gen(function* () {
      const made = yield* fixture123
      const { bytes, mirrors } = made
      const garbage = Buffer.from("this was never a row\n")
      for (const rows of [0, 1, 3, 4, 5, 6]) {
        const at = endOf(made, rows)
        const tail = Buffer.concat([bytes.subarray(0, at), garbage, bytes.subarray(at)])
        putState(made, { 1: tail }, undefined)
        yield* damagedAt(made, at, /row_unreadable/)
        if (rows < 3) continue
        putState(made, { 1: tail }, mirrors[2])
        yield* damagedAt(made, at, /row_unreadable/)
      }
    })
  )

  it.effect("refuses a blank line, a changed byte and a row that does not link", () =>
    Effect.gen(function* () {
      const made = yield* fixture123
      const { bytes, mirrors } = made
      const last = endOf(made, 3)
      putState(made, { 1: Buffer.concat([bytes, Buffer.from("\n")]) }, mirrors[2])
      yield* damagedAt(made, bytes.byteLength, /blank line/)
      putState(made, { 1: overwritten(bytes, last + 20, Buffer.from("~")) }, mirrors[2])
      yield* damagedAt(made, last, /crc_mismatch/)
      const twice = Buffer.concat([bytes.subarray(0, last), bytes.subarray(endOf(made, 1), last)])
      putState(made, { 1: twice }, mirrors[2])
      yield* damagedAt(made, last, /breaks the chain/)
    })
  )

  it.effect("refuses a whole row that does not link, though it lacks its LF", () =>
    Effect.gen(function* () {
      const made = yield* fixture123
      const { bytes, mirrors } = made
      const end = endOf(made, 3)
      const strange = Buffer.concat([bytes.subarray(0, end), lineOf(made, 0).subarray(0, -1)])
      for (const mirror of [undefined, mirrors[2]]) {
        putState(made, { 1: strange }, mirror)
        yield* damagedAt(made, end, /breaks the chain/)
      }
    })
  )

  it.effect("refuses an incomplete group that is followed by a row of a later one", () =>
    Effect.gen(function* () {
      const made = yield* fixture(2, 1, 2)
      const { bytes, directory } = made
      const cut = Buffer.concat([lineOf(made, 0), bytes.subarray(endOf(made, 2), endOf(made, 3))])
      putState(made, { 1: cut }, undefined)
      yield* damagedAt(made, endOf(made, 1), /./)
      // Even where that row lacks its LF, or is the newest: it was written after the group's fsync.
      putState(made, { 1: cut.subarray(0, -1) }, undefined)
      yield* damagedAt(made, endOf(made, 1), /./)
      // A block of zeros that is followed by a later group lay below an fsync.
      putState(made, { 1: overwritten(bytes, 100, new Uint8Array(50)) }, undefined)
      yield* damagedAt(made, 0, /NUL/)
      assert.deepStrictEqual(operations(directory), [])
    })
  )

  it.effect("refuses segments that are missing, empty, foreign, misnamed or out of place", () =>
    Effect.gen(function* () {
      const made = yield* fixture123
      const { bytes, directory } = made
      const [a, b, c] = [
        bytes.subarray(0, endOf(made, 1)),
        bytes.subarray(endOf(made, 1), endOf(made, 3)),
        bytes.subarray(endOf(made, 3))
      ]
      const states: ReadonlyArray<readonly [{ [seq: number]: Buffer }, number, number, RegExp]> = [
        [{ 1: a, 4: c }, 4, 0, /breaks the chain/],
        [{ 2: b, 4: c }, 2, 0, /breaks the chain/],
        [{ 1: a, 2: Buffer.alloc(0), 4: c }, 2, 0, /empty segment/],
        [{ 1: Buffer.alloc(0), 2: b }, 1, 0, /empty segment/],
        [{ 1: a, 3: b, 4: c }, 3, 0, /begins with row 3, but it begins with 2/],
        [{ 1: a, 2: b, 5: c }, 5, 0, /begins with row 5, but it begins with 4/],
        [{ 1: a, 2: b, 9: Buffer.alloc(0) }, 9, 0, /begins with row 9, but it begins with 4/],
        [{ 1: a, 2: b, 9: c.subarray(0, 100) }, 9, 0, /begins with row 9, but it begins with 4/],
        [{ 1: a, 2: b.subarray(0, -10), 4: c }, 2, lineOf(made, 1).byteLength, /./],
        [{ 1: a, 2: b.subarray(0, lineOf(made, 1).byteLength), 4: c }, 4, 0, /./],
        [
          { 1: a, 2: Buffer.concat([b, c.subarray(0, lineOf(made, 3).byteLength)]), 5: c },
          5,
          0,
          /./
        ]
      ]
      for (const [segments, segment, offset, reason] of states) {
        putState(made, segments, undefined)
        yield* damagedAt(made, offset, reason, segment)
      }
      putState(made, { 1: bytes }, undefined)
      for (const name of ["notes.txt", "0000000000000000.jsonl", "2.jsonl"]) {
        const foreign = path.join(directory, "segments", name)
        fs.writeFileSync(foreign, "")
        const error = yield* refusedUntouched(made)
        assert.instanceOf(error, LedgerDamaged)
        assert.deepStrictEqual(
          [error.path, error.reason],
          [foreign, "expected a segment, found a foreign file"]
        )
        fs.rmSync(foreign)
      }
    })
  )

  it.effect("opens segments that follow each other, an empty last one too", () =>
    Effect.gen(function* () {
      const made = yield* fixture123
      const { bytes, directory } = made
      const [a, b] = [
        bytes.subarray(0, endOf(made, 1)),
        bytes.subarray(endOf(made, 1), endOf(made, 3))
      ]
      putState(made, { 1: a, 2: b, 4: Buffer.alloc(0) }, undefined)
      assert.deepStrictEqual(deeds(yield* opening({ directory })), ["MirrorRemade"])
      const seq = yield* using({ directory }, (ledger) =>
        Effect.tap(
          Effect.map(ledger.append(small("d")), (receipt) => receipt.seq),
          assertSound(ledger)
        )
      )
      assert.strictEqual(seq, 4)
      assert.deepStrictEqual(fs.readdirSync(path.join(directory, "segments")).length, 3)
      // A group that a power cut tore lies alone in its segment: the segment stays, empty.
      const c = bytes.subarray(endOf(made, 3), -1000)
      putState(made, { 1: a, 2: b, 4: c }, undefined)
      assert.deepStrictEqual(deeds(yield* opening({ directory })), ["TailCut", "MirrorRemade"])
      assert.strictEqual(fs.statSync(segmentOf(directory, 4)).size, 0)
      assert.strictEqual((yield* opening({ directory }))._tag, "Clean")
    })
  )

  it.effect(
    "catches up an older copy of the mirror, and refuses an older copy of the journal",
    () =>
      Effect.gen(function* () {
        const made = yield* fixture123
        const { bytes, directory, mirrors } = made
        putState(made, { 1: bytes }, mirrors[1])
        assert.deepStrictEqual(deeds(yield* opening({ directory })), ["CaughtUp"])
        yield* recoveredTo(made, 6, new Uint8Array())
        putState(made, { 1: bytes.subarray(0, endOf(made, 3)) }, mirrors[3])
        yield* diverged(made, 6, /ends before the mirror/)
        putState(made, {}, mirrors[3])
        yield* diverged(made, 6, /ends before the mirror/)
      })
  )

  it.effect("refuses the mirror of another ledger, and of another history of this one", () =>
    Effect.gen(function* () {
      const made = yield* fixture123
      const other = yield* fixture(3, 1)
      putState(made, { 1: made.bytes }, other.mirrors[2])
      yield* diverged(made, 4, /not what the journal holds/)
      putState(made, { 1: made.bytes }, made.mirrors[3])
      meddle(mirrorOf(made), "DELETE FROM sealog_index WHERE seq = 6")
      yield* diverged(made, 5, /inside a group/)
      // What `events` holds already is compared before it counts as replayed.
      putState(made, { 1: made.bytes }, made.mirrors[3])
      meddle(mirrorOf(made), "DELETE FROM sealog_index WHERE seq > 3")
      assert.deepStrictEqual(deeds(yield* opening({ directory: made.directory })), ["CaughtUp"])
      yield* recoveredTo(made, 6, new Uint8Array())
      putState(made, { 1: made.bytes }, made.mirrors[3])
      meddle(
        mirrorOf(made),
        "DELETE FROM sealog_index WHERE seq > 3",
        "UPDATE events SET trace_id = 'x' WHERE rowid = 5"
      )
      yield* diverged(made, 5, /events differs in trace_id/)
    })
  )

  it.effect("refuses a mirror whose newest row was changed, moved or deleted", () =>
    Effect.gen(function* () {
      const made = yield* fixture123
      const changes: ReadonlyArray<readonly [string, RegExp]> = [
        ["UPDATE events SET event_hash = 'x' WHERE rowid = 6", /events and journal/],
        ["DELETE FROM events WHERE rowid = 6", /events and journal/],
        ["UPDATE sealog_index SET leaf_hash = 'x' WHERE seq = 6", /not what the journal holds/],
        ["UPDATE sealog_index SET byte_offset = 0 WHERE seq = 6", /not what the journal holds/],
        ["UPDATE sealog_index SET byte_offset = -1 WHERE seq = 6", /./],
        ["UPDATE sealog_index SET byte_offset = 'x' WHERE seq = 6", /./],
        ["UPDATE sealog_index SET byte_offset = 1e300 WHERE seq = 6", /./],
        ["UPDATE sealog_index SET byte_length = -7 WHERE seq = 6", /./],
        ["UPDATE sealog_index SET byte_length = 4000000000000000 WHERE seq = 6", /ends before/],
        ["UPDATE sealog_index SET byte_length = 0.5 WHERE seq = 6", /./],
        ["UPDATE sealog_index SET segment = 2 WHERE seq = 6", /ends before/]
      ]
      for (const [change, reason] of changes) {
        putState(made, { 1: made.bytes }, made.mirrors[3])
        meddle(mirrorOf(made), change)
        yield* diverged(made, 6, reason)
      }
      // A row that is not the newest by its number, but by its place.
      putState(made, { 1: made.bytes }, made.mirrors[3])
      meddle(mirrorOf(made), "UPDATE sealog_index SET seq = 7 WHERE seq = 6")
      yield* diverged(made, 7, /not what the journal holds|row/)
    })
  )

  it.effect("says what to do with a mirror that is no database", () =>
    Effect.gen(function* () {
      const made = yield* fixture123
      const half = (made.mirrors[3] ?? Buffer.alloc(0)).subarray(0, 5000)
      for (const mirror of [
        Buffer.from("not a database, but long enough to be one ".repeat(100)),
        half
      ]) {
        putState(made, { 1: made.bytes }, mirror)
        const before = snapshot(made.directory)
        const error = yield* refusal({ directory: made.directory })
        assert.instanceOf(error, MirrorError)
        assert.match(error.message, /move mirror\.sqlite away and open again/)
        assert.deepStrictEqual(snapshot(made.directory), before)
        assert.isTrue(fs.readFileSync(mirrorOf(made)).equals(mirror))
        fs.renameSync(mirrorOf(made), `${made.directory}.aside`)
        const report = yield* opening({ directory: made.directory })
        assert.deepStrictEqual(deeds(report), ["MirrorRemade"])
      }
    })
  )

  it.effect("remakes a mirror of which only the write-ahead log is left", () =>
    Effect.gen(function* () {
      const made = yield* fixture123
      const { directory } = made
      const log = yield* using({ directory }, (ledger) =>
        Effect.map(ledger.append(small("d")), () => fs.readFileSync(`${mirrorOf(made)}-wal`))
      )
      assert.isAbove(log.byteLength, 0)
      fs.rmSync(mirrorOf(made))
      fs.writeFileSync(`${mirrorOf(made)}-wal`, log)
      const report = yield* opening({ directory })
      assert.deepStrictEqual([deeds(report), report.head.seq], [["MirrorRemade"], 7])
    })
  )

  it.effect("refuses a journal that uses an id twice, and says where", () =>
    Effect.gen(function* () {
      const made = yield* fixture(1, 1)
      const hashes = yield* CurrentHashes
      const { bytes, directory } = made
      const id = EventId.idFrom("a0")
      const draft = Draft.complete({ ...small("again"), id }, { id, now: Timestamp.fromMillis(0) })
      const [before] = Segment.lines("", bytes, 10_000).slice(-1)
      const head = Row.decode(before?.bytes ?? bytes, 2, "segments", hashes)
      const { eventHash, leafHash } = Result.getOrThrow(head).event
      const again = Seal.seal(Result.getOrThrow(draft), eventHash, hashes)
      const group = Row.encode([again], { seq: 2, leafHash }, { format: "segments" }, hashes)
      for (const mirror of [undefined, made.mirrors[1], made.mirrors[2]]) {
        putState(made, { 1: Buffer.concat([bytes, group.bytes]) }, mirror)
        const error = yield* refusal({ directory })
        assert.instanceOf(error, LedgerDamaged)
        assert.deepStrictEqual(
          [error.path, error.offset, error.seq],
          [segmentOf(directory, 1), bytes.byteLength, 3]
        )
        assert.match(error.reason, /the id evt_\w+, which is that of row 1/)
      }
    }).pipe(Effect.provide(TestLedger.layerPlatform()))
  )
})

// ---- what the file system is asked ----------------------------------------------------------------

/** The calls of one opening, without looks and reads. */
const changing = (calls: ReadonlyArray<string>) =>
  calls.filter(
    (call) => !/^(?:lstat|stat|readDirectory|readFile|readFileString|read|open \S+ r$)/.test(call)
  )

const recording =
  (calls: Array<string>): Watch =>
  (call, effect) =>
    Effect.tap(
      effect,
      Effect.sync(() => void calls.push(call))
    )

const first = "segments/0000000000000001.jsonl"

describe("Opening, call by call", () => {
  it.effect("asks for nothing but fsyncs of directories where all is well", () =>
    Effect.gen(function* () {
      const { directory } = yield* fixture123
      const calls: Array<string> = []
      yield* usingWatched({ directory }, recording(calls), () => Effect.void)
      assert.deepStrictEqual(
        changing(calls).filter((call) => !call.startsWith("sync ")),
        [`open ${first} r+`]
      )
      // A directory whose names were seen but not fsynced must not be built upon.
      assert.includeMembers(calls, ["sync .", "sync segments"])
    })
  )

  it.effect("writes the last whole group again and fsyncs it before it is replayed", () =>
    Effect.gen(function* () {
      const made = yield* fixture123
      const { bytes, directory, mirrors } = made
      putState(made, { 1: bytes }, mirrors[1])
      const calls: Array<string> = []
      yield* usingWatched({ directory }, recording(calls), () => Effect.void)
      const size = bytes.byteLength - endOf(made, 3)
      const from = calls.indexOf(`open ${first} r+`)
      assert.deepStrictEqual(calls.slice(from, from + 4), [
        `open ${first} r+`,
        `read ${first} ${size}`,
        `writeAll ${first} ${size}`,
        `sync ${first}`
      ])
      // The replay reads the journal behind that, and the writer opens it last.
      const after = calls.slice(from + 4)
      assert.isAbove(after.indexOf(`open ${first} r`), -1)
      assert.isFalse(after.some((call) => call.startsWith("writeAll")))
    })
  )

  it.effect("completes a line in the same write and fsync", () =>
    Effect.gen(function* () {
      const made = yield* fixture123
      putState(made, { 1: made.bytes.subarray(0, -1) }, made.mirrors[2])
      const calls: Array<string> = []
      yield* usingWatched({ directory: made.directory }, recording(calls), () => Effect.void)
      const size = made.bytes.byteLength - endOf(made, 3) - 1
      assert.deepStrictEqual(
        changing(calls).filter((call) => !/^(?:sync (?:\.|segments)$|open)/.test(call)),
        [`writeAll ${first} ${size}`, `writeAll ${first} 1`, `sync ${first}`]
      )
    })
  )

  it.effect("plans durably, keeps the bytes durably, and only then cuts", () =>
    Effect.gen(function* () {
      const made = yield* fixture123
      putState(made, { 1: made.bytes.subarray(0, -1500) }, made.mirrors[2])
      const calls: Array<string> = []
      let opened = 0
      yield* usingWatched({ directory: made.directory }, recording(calls), () =>
        Effect.sync(() => (opened = calls.length))
      )
      const [{ id } = { id: "" }] = operations(made.directory)
      const folder = `operations/${id}`
      const steps = changing(calls.slice(0, opened))
        .filter((call) => call.includes("operations") || call.includes(first) || call === "sync .")
        .map((call) => call.replaceAll(folder, "op").replace(/ \d+$/, ""))
      assert.deepStrictEqual(steps.slice(steps.lastIndexOf("makeDirectory operations") + 0), [
        "makeDirectory operations",
        "chmod operations",
        "sync .",
        "makeDirectory op",
        "chmod op",
        "sync operations",
        "open op/plan.json.tmp w",
        "chmod op/plan.json.tmp",
        "writeAll op/plan.json.tmp",
        "sync op/plan.json.tmp",
        "rename op/plan.json.tmp op/plan.json",
        "sync op",
        "open op/0000000000000001.jsonl.cut.tmp w",
        "chmod op/0000000000000001.jsonl.cut.tmp",
        "writeAll op/0000000000000001.jsonl.cut.tmp",
        "sync op/0000000000000001.jsonl.cut.tmp",
        "rename op/0000000000000001.jsonl.cut.tmp op/0000000000000001.jsonl.cut",
        "sync op",
        `open ${first} r+`,
        `truncate ${first}`,
        `sync ${first}`,
        "open op/outcome.json.tmp w",
        "chmod op/outcome.json.tmp",
        "writeAll op/outcome.json.tmp",
        "sync op/outcome.json.tmp",
        "rename op/outcome.json.tmp op/outcome.json",
        "sync op",
        `open ${first} r+`
      ])
    })
  )
})

// ---- dying in the middle --------------------------------------------------------------------------

/** Everything fails from the nth call on; that one is done before it fails, or is not. */
const dying =
  (calls: Ref.Ref<number>, nth: number, done: boolean): Watch =>
  (call, effect) =>
    Effect.flatMap(
      Ref.getAndUpdate(calls, (n) => n + 1),
      (at) => {
        if (at < nth) return effect
        const failure = Effect.fail(dead(call))
        return at === nth && done ? Effect.andThen(effect, failure) : failure
      }
    )

const diesEverywhere = (made: Fixture, put: () => void, rows: number, cut: Uint8Array) =>
  Effect.gen(function* () {
    const { directory } = made
    put()
    const calls: Array<string> = []
    yield* usingWatched({ directory }, recording(calls), () => Effect.void)
    for (const done of [false, true]) {
      for (let nth = 0; nth < calls.length; nth++) {
        // To die around a look is to die around the call before or behind it.
        if (changing(calls.slice(nth, nth + 1)).length === 0) continue
        put()
        const counter = yield* Ref.make(0)
        let reached = false
        const died = yield* Effect.exit(
          usingWatched({ directory }, dying(counter, nth, done), () =>
            Effect.sync(() => (reached = true))
          )
        )
        const where = `died ${done ? "after" : "before"} call ${nth}, ${calls[nth]}`
        // Closing fails nobody.
        assert.strictEqual(Exit.isFailure(died), !reached, where)
        const again = yield* Effect.exit(opening({ directory, seed: nth + 2 }))
        assert.isTrue(Exit.isSuccess(again), `${where}: ${String(again)}`)
        yield* recoveredTo(made, rows, cut)
        for (const { files } of operations(directory)) {
          assert.strictEqual("plan.json" in files, "outcome.json" in files, where)
        }
      }
    }
  })

describe("Opening that dies at any call", () => {
  it.effect("loses nothing of a torn tail, and is finished by the next", () =>
    Effect.gen(function* () {
      const made = yield* fixture123
      const tail = made.bytes.subarray(0, -700)
      const put = () => putState(made, { 1: tail }, made.mirrors[1])
      yield* diesEverywhere(made, put, 3, tail.subarray(endOf(made, 3)))
    })
  )

  it.effect("loses nothing of a line without LF and a mirror that is gone", () =>
    Effect.gen(function* () {
      const made = yield* fixture123
      const put = () => putState(made, { 1: made.bytes.subarray(0, -1) }, undefined)
      yield* diesEverywhere(made, put, 6, new Uint8Array())
    })
  )

  it.effect("makes a new ledger anew", () =>
    Effect.gen(function* () {
      const parent = yield* TestLedger.directory
      const calls: Array<string> = []
      const directory = path.join(parent, "new", "ledger")
      let reached = false
      const open = (watch: Watch) =>
        usingWatched({ directory }, watch, () => Effect.sync(() => (reached = true)))
      yield* open(recording(calls))
      for (const done of [false, true]) {
        for (let nth = 0; nth < calls.length; nth++) {
          if (changing(calls.slice(nth, nth + 1)).length === 0) continue
          fs.rmSync(path.join(parent, "new"), { recursive: true, force: true })
          const counter = yield* Ref.make(0)
          reached = false
          const died = yield* Effect.exit(open(dying(counter, nth, done)))
          assert.strictEqual(Exit.isFailure(died), !reached, calls[nth])
          const report = yield* opening({ directory })
          assert.deepStrictEqual([report._tag, report.head.seq], ["Clean", 0], calls[nth])
        }
      }
      assert.strictEqual(
        query(path.join(directory, "mirror.sqlite"), "SELECT * FROM events").length,
        0
      )
    })
  )
})
