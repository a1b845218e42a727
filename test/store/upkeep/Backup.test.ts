import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Stream } from "effect"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import * as faults from "../faults.ts"
import {
  assertLike,
  assertSound,
  named,
  segmentBytes,
  segmentLines,
  snapshot,
  using,
  vector
} from "../ledgerFixtures.ts"

const rows = (count: number) => Array.from({ length: count }, (_, n) => named(`row ${n + 1}`))

describe("backup", () => {
  it.effect("is a ledger of its own with the same rows and the same identity", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const to = path.join(yield* TestLedger.directory, "copies", "monday")
      yield* using({ directory, segmentBytesMax: 3_000 }, (ledger) =>
        Effect.gen(function* () {
          for (const draft of rows(20)) yield* ledger.append(draft)
          const before = snapshot(directory)
          const report = yield* ledger.backup(to)
          const { seq, leafHash } = yield* ledger.head
          assertLike(report, {
            path: to,
            rows: 20,
            bytes: segmentBytes(directory).length,
            head: { seq, leafHash }
          })
          assert.deepStrictEqual(snapshot(directory), before)
          assert.deepStrictEqual(fs.readdirSync(to).toSorted(), ["ledger.json", "segments"])
          assert.isTrue(segmentBytes(to).equals(segmentBytes(directory)))
          yield* ledger.append(named("only in the original"))
        })
      )
      assert.strictEqual(
        fs.readFileSync(path.join(to, "ledger.json"), "utf8"),
        fs.readFileSync(path.join(directory, "ledger.json"), "utf8")
      )
      for (const name of fs.readdirSync(path.join(to, "segments"))) {
        const { mode } = fs.statSync(path.join(to, "segments", name))
        assert.strictEqual((mode & 0o777).toString(8), "600")
      }
      yield* using({ directory: to }, (copy) =>
        Effect.gen(function* () {
          assertLike(copy.opened, { actions: [{ _tag: "MirrorRemade", rows: 20 }] })
          assert.strictEqual((yield* copy.append(named("only in the copy"))).seq, 21)
          yield* assertSound(copy)
        })
      )
    })
  )

  it.effect("holds whole groups up to the head, while the next group is on its way", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const to = path.join(yield* TestLedger.directory, "copy")
      const disk = yield* faults.make
      const [reached, gone] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      yield* faults.using({ directory, disk }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.appendAll(rows(3))
          const until = Effect.andThen(Deferred.succeed(reached, undefined), Deferred.await(gone))
          disk.fail({ operation: "sync", path: directory, until, times: 1 })
          const appending = yield* Effect.forkChild(ledger.appendAll([named("b"), named("c")]))
          yield* Deferred.await(reached)
          assert.strictEqual(segmentLines(directory).length, 5)
          assertLike(yield* ledger.backup(to), { rows: 3 })
          yield* Deferred.succeed(gone, undefined)
          yield* Fiber.join(appending)
        })
      )
      assert.deepStrictEqual(segmentLines(to), segmentLines(directory).slice(0, 3))
      yield* using({ directory: to }, (copy) => assertSound(copy))
    })
  )

  it.effect("of a ledger without rows is a ledger without rows", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const to = yield* TestLedger.directory
      yield* using({ directory }, (ledger) =>
        Effect.flatMap(ledger.backup(to), (report) =>
          Effect.sync(() => assertLike(report, { rows: 0, bytes: 0 }))
        )
      )
      yield* using({ directory: to }, (copy) =>
        Effect.gen(function* () {
          assert.strictEqual((yield* copy.append(named("a"))).seq, 1)
          yield* assertSound(copy)
        })
      )
    })
  )

  it.effect("of a file in Cortex mode is that file", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const file = path.join(directory, "log.jsonl")
      const to = path.join(directory, "copy.jsonl")
      fs.writeFileSync(file, vector("log-unsigned.jsonl"))
      yield* using({ file }, (ledger) =>
        Effect.gen(function* () {
          assertLike(yield* ledger.backup(to), { rows: 72, path: to })
          yield* ledger.append(named("later", { type: "cortex.event.system_note.v1" }))
        })
      )
      assert.isTrue(fs.readFileSync(to).equals(vector("log-unsigned.jsonl")))
      yield* using({ file: to }, (copy) => assertSound(copy))
    })
  )

  const taken: ReadonlyArray<readonly [string, (at: string) => void]> = [
    ["a file", (at) => fs.writeFileSync(at, "mine")],
    [
      "a directory that is not empty",
      (at) => {
        fs.mkdirSync(at)
        fs.writeFileSync(path.join(at, "mine"), "mine")
      }
    ],
    ["a symbolic link", (at) => fs.symlinkSync("/nowhere", at)]
  ]

  for (const [name, take] of taken) {
    it.effect(`refuses a place that is taken: ${name}`, () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        const outside = yield* TestLedger.directory
        const to = path.join(outside, "copy")
        take(to)
        const before = fs.readdirSync(outside, { recursive: true })
        yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            yield* ledger.append(named("a"))
            const error = yield* Effect.flip(ledger.backup(to))
            assertLike(error, { _tag: "JournalError", path: to, code: "EEXIST" })
          })
        )
        assert.deepStrictEqual(fs.readdirSync(outside, { recursive: true }), before)
      })
    )
  }

  it.effect("refuses the ledger's own directory", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(named("a"))
          const before = snapshot(directory)
          assertLike(yield* Effect.flip(ledger.backup(directory)), { _tag: "JournalError" })
          assert.deepStrictEqual(snapshot(directory), before)
        })
      )
    })
  )

  for (const operation of ["open", "write", "sync"] as const) {
    it.effect(`that fails (${operation}) leaves no ledger behind`, () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        const to = path.join(yield* TestLedger.directory, "copy")
        const disk = yield* faults.make
        yield* faults.using({ directory, disk, segmentBytesMax: 2_000 }, (ledger) =>
          Effect.gen(function* () {
            for (const draft of rows(10)) yield* ledger.append(draft)
            disk.fail({
              operation,
              path: path.join(to, "segments", "0000"),
              nth: 2,
              code: "ENOSPC"
            })
            const error = yield* Effect.flip(ledger.backup(to))
            assertLike(error, { _tag: "JournalError", code: "ENOSPC" })
            assert.strictEqual((yield* Stream.runCollect(ledger.events())).length, 10)
          })
        )
        assert.isFalse(fs.existsSync(path.join(to, "ledger.json")))
        const refused = yield* Effect.flip(using({ directory: to }, () => Effect.void))
        assert.strictEqual(refused._tag, "NotALedger")
      })
    )
  }

  const losses: ReadonlyArray<readonly [string, (segments: string) => void]> = [
    [
      "the end of a segment",
      (at) => fs.truncateSync(path.join(at, fs.readdirSync(at)[1] ?? ""), 9)
    ],
    ["a segment", (at) => fs.rmSync(path.join(at, fs.readdirSync(at)[1] ?? ""))],
    ["the newest rows", (at) => fs.truncateSync(path.join(at, fs.readdirSync(at).at(-1) ?? ""), 9)]
  ]

  for (const [name, lose] of losses) {
    it.effect(`never says that it holds what the journal has lost: ${name}`, () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        const to = path.join(yield* TestLedger.directory, "copy")
        yield* using({ directory, segmentBytesMax: 2_000 }, (ledger) =>
          Effect.gen(function* () {
            for (const draft of rows(10)) yield* ledger.append(draft)
            lose(path.join(directory, "segments"))
            const error = yield* Effect.flip(ledger.backup(to))
            assertLike(error, { _tag: "RowDamaged", leg: "journal" })
          })
        )
        assert.isFalse(fs.existsSync(path.join(to, "ledger.json")))
      })
    )
  }
})
