import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Result, Schema, Stream } from "effect"
import type { Draft } from "../../../src/core/Draft.ts"
import { cortexTypes } from "../../../src/core/Event.ts"
import * as SealogNode from "../../../src/platform/SealogNode.ts"
import * as LedgerModule from "../../../src/store/Ledger.ts"
import { Ledger } from "../../../src/store/Ledger.ts"
import type { Step } from "../../../src/store/Progress.ts"
import { Progress } from "../../../src/store/Progress.ts"
import { Reader } from "../../../src/store/reading/Reader.ts"
import * as Arbitraries from "../../../src/testing/Arbitraries.ts"
import { FaultyDisk } from "../../../src/testing/index.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import * as faults from "../faults.ts"
import {
  assertLike,
  assertSound,
  named,
  segmentBytes,
  snapshot,
  using,
  vector
} from "../ledgerFixtures.ts"

const note = "cortex.event.system_note.v1"

const rows = (count: number): ReadonlyArray<Draft> =>
  Array.from({ length: count }, (_, nth) => named(`row ${nth}`, { type: note }))

const verified = (file: string) =>
  Effect.provide(LedgerModule.verify({ file }), SealogNode.layerPlatform)

/** The original's program, which reads the files itself where it is there. */
const oracle = process.env["CORTEX_ORACLE"]

const Verdict = Schema.fromJsonString(
  Schema.Struct({
    audit: Schema.Struct({ rows_scanned: Schema.Int, failures: Schema.Array(Schema.Unknown) }),
    verify_chain: Schema.Unknown
  })
)

/** How many rows the original reads in a file without a complaint; undefined where it complains. */
const readByOriginal = (program: string, file: string): number | undefined => {
  const { stdout } = spawnSync(program, ["verify-jsonl", file], { encoding: "utf8" })
  const verdict = Schema.decodeUnknownResult(Verdict)(stdout)
  if (Result.isFailure(verdict)) return undefined
  const { audit, verify_chain } = verdict.success
  return audit.failures.length === 0 && verify_chain === "ok" ? audit.rows_scanned : undefined
}

const outside = Effect.map(TestLedger.directory, (directory) => path.join(directory, "out.jsonl"))

describe("Export", () => {
  it.effect("is every stored line, byte for byte, in one file that verifies and goes on", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "l")
      const file = path.join(yield* TestLedger.directory, "new", "out.jsonl")
      yield* using({ directory, segmentBytesMax: 2_000 }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.appendAll(rows(3))
          for (const draft of rows(20)) yield* ledger.append(draft)
          yield* ledger.append({ type: note, parentId: named("row 1").id ?? "", keys: { a: "b" } })
          const before = snapshot(directory)
          const report = yield* ledger.export(file)
          const { leafHash, seq } = yield* ledger.head
          assert.deepStrictEqual(
            { ...report },
            { path: file, rows: 21, bytes: segmentBytes(directory).length, head: { seq, leafHash } }
          )
          assert.deepStrictEqual(snapshot(directory), before)
        })
      )
      assert.isAbove(fs.readdirSync(path.join(directory, "segments")).length, 2)
      assert.isTrue(fs.readFileSync(file).equals(segmentBytes(directory)))
      assert.deepStrictEqual(fs.readdirSync(path.dirname(file)), ["out.jsonl"])
      assert.strictEqual((fs.statSync(file).mode & 0o777).toString(8), "600")
      assertLike(yield* verified(file), { _tag: "Intact", rows: 21 })
      if (oracle !== undefined) assert.strictEqual(readByOriginal(oracle, file), 21)
      yield* using({ file }, (ledger) =>
        Effect.gen(function* () {
          assertLike(yield* ledger.append({ type: note, payload: "more" }), { seq: 22 })
          assertLike(yield* ledger.append(rows(1)[0] ?? named("none")), {
            _tag: "AlreadyAppended",
            seq: 1
          })
          yield* assertSound(ledger)
        })
      )
      if (oracle !== undefined) assert.strictEqual(readByOriginal(oracle, file), 22)
    })
  )

  it.effect("of a file in Cortex mode is its rows, without blank lines", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const [file, to] = [path.join(directory, "log.jsonl"), path.join(directory, "out.jsonl")]
      const original = vector("log-unsigned.jsonl").toString()
      fs.writeFileSync(file, original.replace("\n", "\n \n\n"))
      yield* using({ file }, (ledger) =>
        Effect.gen(function* () {
          assertLike(yield* ledger.export(to), { rows: 72, path: to })
          assertLike(yield* Effect.flip(ledger.export(file)), { code: "EEXIST" })
          assertLike(yield* Effect.flip(ledger.export(path.join(`${file}.sealog`, "x"))), {
            _tag: "JournalError",
            operation: "export",
            code: "EINVAL"
          })
        })
      )
      assert.strictEqual(fs.readFileSync(to, "utf8"), original)
      assertLike(yield* verified(to), { _tag: "Intact", rows: 72 })
    })
  )

  it.effect("of a ledger without rows is an empty file", () =>
    Effect.gen(function* () {
      const to = yield* outside
      yield* using({ directory: path.dirname(to) + "/l" }, (ledger) =>
        Effect.map(ledger.export(to), (report) => assertLike(report, { rows: 0, bytes: 0 }))
      )
      assert.strictEqual(fs.readFileSync(to, "utf8"), "")
    })
  )

  const unreadable: ReadonlyArray<readonly [string, Draft, object]> = [
    [
      "another type",
      { type: "door.opened.v1" },
      { reason: "event_type", expected: "one of Cortex's ten types", actual: "door.opened.v1" }
    ],
    [
      "a number that it reads inexactly",
      { type: note, payloadText: '{"a":[0,{"b":90.28571428571429}]}' },
      { reason: "payload", actual: "another one at /payload/a/1/b" }
    ],
    [
      "a number with more digits than it keeps",
      { type: note, payloadText: "12345678901234567890123" },
      { reason: "payload", actual: "another one at /payload" }
    ]
  ]

  for (const [name, draft, expected] of unreadable) {
    it.effect(`refuses a row that the original does not read as it is: ${name}`, () =>
      Effect.gen(function* () {
        const to = yield* outside
        const directory = path.join(path.dirname(to), "l")
        yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            yield* ledger.append(named("sound", { type: note }))
            yield* ledger.append(draft)
            const error = yield* Effect.flip(ledger.export(to))
            assertLike(error, { _tag: "NotExportable", seq: 2, ...expected })
            assert.notInclude(error.message, "90.28")
          })
        )
        assert.deepStrictEqual(fs.readdirSync(path.dirname(to)), ["l"])
        const segment = path.join(directory, "segments", "0000000000000001.jsonl")
        if (oracle !== undefined) assert.isUndefined(readByOriginal(oracle, segment))
      })
    )
  }

  it.effect("asks for the ledger's name where a row is signed, as its name is signed", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const file = path.join(directory, "log-signed.jsonl")
      fs.writeFileSync(file, vector("log-signed.jsonl"))
      yield* using({ file }, (ledger) =>
        Effect.gen(function* () {
          const first = (yield* Stream.runCollect(ledger.events())).find(
            ({ signature }) => signature !== undefined
          )
          const other = path.join(directory, "other.jsonl")
          assertLike(yield* Effect.flip(ledger.export(other)), {
            _tag: "NotExportable",
            seq: first?.seq,
            reason: "file_name",
            expected: "log-signed.jsonl",
            actual: "other.jsonl"
          })
          assert.isFalse(fs.existsSync(other))
          const to = path.join(directory, "elsewhere", "log-signed.jsonl")
          yield* ledger.export(to)
          assert.isTrue(fs.readFileSync(to).equals(vector("log-signed.jsonl")))
        })
      )
    })
  )

  const taken: ReadonlyArray<readonly [string, (at: string) => void]> = [
    ["a file", (at) => fs.writeFileSync(at, "mine")],
    ["a directory", (at) => fs.mkdirSync(at)],
    ["a symbolic link", (at) => fs.symlinkSync("/nowhere", at)]
  ]

  for (const [name, take] of taken) {
    it.effect(`refuses a place that is taken: ${name}`, () =>
      Effect.gen(function* () {
        const to = yield* outside
        take(to)
        const before = fs.readdirSync(path.dirname(to), { recursive: true })
        const directory = yield* TestLedger.directory
        yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            yield* ledger.appendAll(rows(2))
            assertLike(yield* Effect.flip(ledger.export(to)), {
              _tag: "JournalError",
              path: to,
              code: "EEXIST"
            })
            const inside = path.join(directory, "segments", "out.jsonl")
            assertLike(yield* Effect.flip(ledger.export(inside)), { code: "EINVAL" })
          })
        )
        assert.deepStrictEqual(fs.readdirSync(path.dirname(to), { recursive: true }), before)
      })
    )
  }

  it.effect("ends where the temporary name is taken by what is no file", () =>
    Effect.gen(function* () {
      const to = yield* outside
      fs.symlinkSync("/nowhere", `${to}.sealog-export`)
      yield* using({ directory: yield* TestLedger.directory }, (ledger) =>
        Effect.map(Effect.flip(ledger.export(to)), (error) => assertLike(error, { code: "ELOOP" }))
      )
      fs.rmSync(`${to}.sealog-export`)
      fs.writeFileSync(`${to}.sealog-export`, "what a killed export left, longer than what comes")
      yield* using({ directory: yield* TestLedger.directory }, (ledger) => ledger.export(to))
      assert.deepStrictEqual(fs.readdirSync(path.dirname(to)), ["out.jsonl"])
      assert.strictEqual(fs.readFileSync(to, "utf8"), "")
    })
  )

  for (const operation of ["open", "write", "sync"] as const) {
    it.effect(`that fails (${operation}) leaves nothing behind`, () =>
      Effect.gen(function* () {
        const to = yield* outside
        const disk = yield* faults.make
        yield* faults.using({ directory: yield* TestLedger.directory, disk }, (ledger) =>
          Effect.gen(function* () {
            yield* ledger.appendAll(rows(3))
            disk.fail({ operation, path: "sealog-export", code: "ENOSPC", times: 1 })
            assertLike(yield* Effect.flip(ledger.export(to)), {
              _tag: "JournalError",
              code: "ENOSPC"
            })
            assert.deepStrictEqual(fs.readdirSync(path.dirname(to)), [])
            yield* ledger.export(to)
          })
        )
        assert.deepStrictEqual(fs.readdirSync(path.dirname(to)), ["out.jsonl"])
      })
    )
  }

  it.effect("that a rollback overtakes leaves nothing behind", () =>
    Effect.gen(function* () {
      const to = yield* outside
      yield* using({ directory: yield* TestLedger.directory }, (ledger) =>
        Effect.gen(function* () {
          const { number } = yield* ledger.checkpoint("before")
          yield* ledger.appendAll(rows(3))
          const back = ledger.rollback(number, { operator: "ada", reason: "a wrong turn" })
          const error = yield* Effect.flip(ledger.export(to)).pipe(
            Effect.provideService(Progress, () => Effect.orDie(back))
          )
          assertLike(error, { _tag: "JournalError", operation: "export" })
          assert.match(error.message, /remove it where it is there, and try again/)
        })
      )
      assert.deepStrictEqual(fs.readdirSync(path.dirname(to)), [])
    })
  )

  it.effect("that is interrupted leaves nothing behind", () =>
    Effect.gen(function* () {
      const to = yield* outside
      yield* using({ directory: yield* TestLedger.directory }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.appendAll(rows(3))
          const fiber = yield* ledger.export(to).pipe(
            Effect.provideService(Progress, () => Effect.never),
            Effect.forkChild
          )
          while (!fs.existsSync(`${to}.sealog-export`)) yield* Effect.yieldNow
          yield* Fiber.interrupt(fiber)
        })
      )
      assert.deepStrictEqual(fs.readdirSync(path.dirname(to)), [])
    })
  )

  const losses: ReadonlyArray<readonly [string, (segment: string) => void]> = [
    ["a byte", (at) => fs.writeFileSync(at, fs.readFileSync(at, "utf8").replace("row 1", "row 7"))],
    ["the last row", (at) => fs.truncateSync(at, fs.readFileSync(at).lastIndexOf(0x7b, -3))],
    [
      "a row in the middle",
      (at) =>
        fs.writeFileSync(at, fs.readFileSync(at, "utf8").split("\n").toSpliced(1, 1).join("\n"))
    ],
    ["every row", (at) => fs.truncateSync(at, 0)]
  ]

  for (const [name, lose] of losses) {
    it.effect(`never makes a file of what the journal has lost: ${name}`, () =>
      Effect.gen(function* () {
        const to = yield* outside
        const directory = yield* TestLedger.directory
        yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            for (const draft of rows(3)) yield* ledger.append(draft)
            lose(path.join(directory, "segments", "0000000000000001.jsonl"))
            assertLike(yield* Effect.flip(ledger.export(to)), {
              _tag: "RowDamaged",
              leg: "journal"
            })
          })
        )
        assert.deepStrictEqual(fs.readdirSync(path.dirname(to)), [])
      })
    )
  }

  it.effect("is what a reader sees, and tells how far it is", () =>
    Effect.gen(function* () {
      const to = yield* outside
      const directory = yield* TestLedger.directory
      yield* using({ directory }, (ledger) => ledger.appendAll(rows(5)))
      const told: Array<Step> = []
      const report = yield* Effect.flatMap(Reader, (reader) => reader.export(to)).pipe(
        Effect.provideService(Progress, (step) => Effect.sync(() => void told.push(step))),
        Effect.provide(SealogNode.layerReader({ directory }))
      )
      assertLike(report, { rows: 5 })
      assert.deepStrictEqual(told, [{ task: "export", done: 5, total: 5, unit: "rows" }])
    })
  )

  it.live("survives a power cut once it is answered, and is whole or not there before", () =>
    Effect.gen(function* () {
      for (const crash of ["kill", "powerCut"] as const) {
        for (let nth = 1; ; nth++) {
          const disk = yield* FaultyDisk.make({ seed: nth })
          const layer = TestLedger.layer({ disk })
          const answered = yield* Effect.gen(function* () {
            const ledger = yield* Ledger
            yield* ledger.appendAll(rows(2))
            yield* disk.fail({ nth, crash, path: "out" })
            return yield* Effect.option(ledger.export("/out/out.jsonl"))
          }).pipe(Effect.provide(layer))
          const struck = yield* disk.struck
          if (struck === 0) yield* disk.powerCut
          const files = disk.fileSystem
          const isThere = yield* files.exists("/out/out.jsonl")
          if (answered._tag === "Some") assert.isTrue(isThere)
          if (isThere) {
            const text = yield* files.readFileString("/out/out.jsonl")
            assert.lengthOf(text.split("\n"), 3)
          }
          yield* disk.mend
          const again = Effect.flatMap(Ledger, (ledger) => ledger.export("/out/again.jsonl"))
          assertLike(yield* Effect.provide(again, layer), { rows: 2 })
          if (struck === 0) break
          assert.isBelow(nth, 40)
        }
      }
    })
  )

  it.effect.prop(
    "is read by the original, or refused, whatever the rows hold",
    [Arbitraries.history, Schema.Literals([...cortexTypes])],
    ([history, type]) =>
      Effect.gen(function* () {
        const to = yield* outside
        const directory = path.join(path.dirname(to), "l")
        const drafts = history.map((draft) => ({ ...draft, type }))
        const error = yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            yield* ledger.appendAll(drafts)
            return yield* Effect.result(ledger.export(to))
          })
        )
        const program = oracle
        if (Result.isFailure(error)) {
          assertLike(error.failure, { _tag: "NotExportable", reason: "payload" })
          assert.isFalse(fs.existsSync(to))
          const segment = path.join(directory, "segments", "0000000000000001.jsonl")
          if (program !== undefined) assert.isUndefined(readByOriginal(program, segment))
          return
        }
        assertLike(yield* verified(to), { _tag: "Intact", rows: drafts.length })
        if (program !== undefined) assert.strictEqual(readByOriginal(program, to), drafts.length)
      }),
    { arbitrary: { runs: oracle === undefined ? 10 : 200 } }
  )
})
