/** A ledger that is rolled back or written while somebody looks through it: no finding is made of it. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, FileSystem } from "effect"
import * as Checkpoint from "../../src/core/Checkpoint.ts"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import * as Ledger from "../../src/store/Ledger.ts"
import { Reader } from "../../src/store/reading/Reader.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { named, using } from "../store/ledgerFixtures.ts"

const by = { operator: "ada", reason: "the wrong tree" }

type Service = Ledger.Ledger["Service"]

/** Run `work` while the ledger is open, and change the ledger when `work` first comes to a place. */
const meanwhile = <A, E, R>(
  place: (directory: string) => string,
  change: (ledger: Service) => Effect.Effect<unknown, unknown>,
  work: (directory: string) => Effect.Effect<A, E, R>
) =>
  Effect.gen(function* () {
    const directory = path.join(yield* TestLedger.directory, "l")
    const there = place(directory)
    return yield* using({ directory, segmentBytesMax: 700 }, (ledger) =>
      Effect.gen(function* () {
        for (const name of "ab") yield* ledger.append(named(name))
        yield* ledger.checkpoint("two")
        for (const name of "cdef") yield* ledger.append(named(name))
        yield* ledger.checkpoint("six")
        const files = yield* FileSystem.FileSystem
        let isDone = false
        const changed = Effect.suspend(() => {
          const isFirst = !isDone
          isDone = true
          return isFirst ? Effect.orDie(change(ledger)) : Effect.void
        })
        const watched = FileSystem.FileSystem.of({
          ...files,
          open: (at, options) =>
            at === there
              ? Effect.andThen(changed, files.open(at, options))
              : files.open(at, options),
          readDirectory: (at, options) =>
            at === there
              ? Effect.tap(files.readDirectory(at, options), changed)
              : files.readDirectory(at, options)
        })
        const answer = yield* Effect.provideService(work(directory), FileSystem.FileSystem, watched)
        assert.isTrue(isDone)
        return answer
      })
    )
  }).pipe(Effect.provide(SealogNode.layerPlatform))

const third = (directory: string) => path.join(directory, "segments", "0000000000000003.jsonl")
const segments = (directory: string) => path.join(directory, "segments")
const rollback = (ledger: Service) => ledger.rollback(1, by)
const append = (ledger: Service) => ledger.append(named("g"))

describe("A rollback beside", () => {
  for (const [name, place] of Object.entries({ third, segments })) {
    it.live(`a verification that has come to ${name} is no damage`, () =>
      Effect.gen(function* () {
        const report = yield* meanwhile(place, rollback, (directory) =>
          Ledger.verify({ directory })
        )
        assert.deepStrictEqual([report._tag, report.rows], ["Intact", 2], JSON.stringify(report))
      })
    )

    it.live(`a diagnosis that has come to ${name} is nothing to repair`, () =>
      Effect.gen(function* () {
        const plan = yield* meanwhile(place, rollback, (directory) =>
          SealogNode.diagnoseOver({ directory })
        )
        assert.isFalse(plan.isNeeded, plan.message)
      })
    )
  }
})

describe("A rollback that is under way all the while", () => {
  it.live("is named by a verification that sees what it has done so far", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "l")
      const id = yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(named("a"))
          yield* ledger.checkpoint("one")
          yield* ledger.append(named("b"))
          yield* ledger.checkpoint("two")
          return (yield* ledger.rollback(1, by)).id
        })
      )
      // Its rows are cut, its checkpoint is not moved yet, and it has not ended.
      const folder = path.join(directory, "operations", id)
      const name = Checkpoint.name(2)
      fs.renameSync(
        path.join(folder, "checkpoints", name),
        path.join(directory, "checkpoints", name)
      )
      fs.rmSync(path.join(folder, "outcome.json"))
      const seen = yield* Ledger.verify({ directory })
      assert.strictEqual(seen._tag, "Damaged")
      assert.deepStrictEqual(
        seen.remarks.map(({ path: at, reason }) => [at, reason.kind]),
        [[folder, "operation_unfinished"]]
      )
      assert.include(seen.remarks[0]?.message, "rollback")
      const plan = yield* SealogNode.diagnoseOver({ directory })
      assert.deepStrictEqual([plan.isNeeded, plan.pending], [false, id])
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          const report = yield* ledger.verify()
          assert.deepStrictEqual([report._tag, report.remarks], ["Intact", []])
        })
      )
    }).pipe(Effect.provide(SealogNode.layerPlatform))
  )
})

describe("A rollback of rows that came since, beside", () => {
  it.live("a backup ends it, or is not in it", () =>
    Effect.gen(function* () {
      const onward = (ledger: Service) =>
        Effect.gen(function* () {
          yield* ledger.append(named("g"))
          const seven = yield* ledger.checkpoint("seven")
          yield* ledger.append(named("h"))
          yield* ledger.rollback(seven, by)
        })
      const to = path.join(yield* TestLedger.directory, "copy")
      const copied = yield* meanwhile(third, onward, (directory) =>
        Effect.exit(Reader.use((reader) => reader.backup(to))).pipe(
          Effect.provide(Ledger.layerReader({ directory })),
          Effect.provide(SealogNode.layerMirrorReadOnly(path.join(directory, "mirror.sqlite")))
        )
      )
      if (Exit.isFailure(copied)) {
        assert.match(String(copied.cause), /rolled back meanwhile/)
        return
      }
      const report = yield* Ledger.verify({ directory: to })
      assert.strictEqual(report._tag, "Intact", JSON.stringify(report))
    }).pipe(Effect.provide(SealogNode.layerPlatform))
  )
})

describe("An append beside", () => {
  for (const [name, place] of Object.entries({ segments, third })) {
    it.live(`a diagnosis that has come to ${name} is nothing to repair`, () =>
      Effect.gen(function* () {
        const change = (ledger: Service) =>
          Effect.andThen(append(ledger), ledger.checkpoint("seven"))
        const plan = yield* meanwhile(place, change, (directory) =>
          SealogNode.diagnoseOver({ directory })
        )
        assert.isFalse(plan.isNeeded, plan.message)
      })
    )
  }
})
