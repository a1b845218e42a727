import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Manifest from "../../../src/core/Manifest.ts"
import type { Ledger } from "../../../src/store/Ledger.ts"
import { Ledger as LedgerService } from "../../../src/store/Ledger.ts"
import type { Fault } from "../../../src/testing/FaultyDisk.ts"
import * as FaultyDisk from "../../../src/testing/FaultyDisk.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { assertSound, named, using } from "../ledgerFixtures.ts"

type Service = Ledger["Service"]

const inDirectory = Effect.map(TestLedger.directory, (directory) => path.join(directory, "l"))

let serial = 0

/** Append groups of so many rows; what a group makes due is made before this returns. */
const append = Effect.fnUntraced(function* (ledger: Service, ...groups: ReadonlyArray<number>) {
  for (const rows of groups) {
    yield* ledger.appendAll(Array.from({ length: rows }, () => named(`upkeep ${serial++}`)))
    // A refused append is a group too: it waits until the one before is done with.
    yield* Effect.flip(ledger.append(named("late", { parentId: named("nobody").id ?? "" })))
  }
})

const made = (ledger: Service) =>
  Effect.map(ledger.checkpoints, (all) =>
    all.map(({ number, reason, size }) => [number, size, reason])
  )

/** What is logged while an effect runs. */
const logged = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
  const told: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    told.push(`${logLevel} ${String(message)}`)
  })
  yield* Effect.provide(effect, Logger.layer([logger]))
  return told
})

const every = "every 3 rows"

describe("Upkeep", () => {
  it.effect(
    "makes a checkpoint after a group, at least every n rows, also where segments rotate",
    () =>
      Effect.gen(function* () {
        for (const segmentBytesMax of [undefined, 1]) {
          const directory = yield* inDirectory
          const options = { directory, checkpointEveryRows: 3, segmentBytesMax }
          yield* using(options, (ledger) =>
            Effect.gen(function* () {
              yield* append(ledger, 1, 1)
              assert.deepStrictEqual(yield* made(ledger), [])
              yield* TestClock.adjust("1 minute")
              yield* append(ledger, 1)
              yield* append(ledger, 2, 6, 1, 1)
              const expected = [
                [1, 3, every],
                [2, 11, every]
              ]
              assert.deepStrictEqual(yield* made(ledger), expected)
              const [first] = yield* ledger.checkpoints
              assert.match(first?.at ?? "", /^1970-01-01T00:0\d:00Z$/)
              yield* assertSound(ledger)
            })
          )
          // Two rows came since, before the ledger was opened again.
          yield* using(options, (ledger) =>
            Effect.gen(function* () {
              yield* append(ledger, 1)
              assert.deepStrictEqual((yield* made(ledger)).at(-1), [3, 14, every])
              const manifest: unknown = JSON.parse(
                fs.readFileSync(path.join(directory, "manifest.json"), "utf8")
              )
              assert.nestedPropertyVal(manifest, "counters.rows", 14)
              assert.nestedPropertyVal(manifest, "counters.checkpoints", 3)
            })
          )
        }
      })
  )

  it.effect("counts from a checkpoint that was asked for, and from where a rollback went", () =>
    Effect.gen(function* () {
      const directory = yield* inDirectory
      yield* using({ directory, checkpointEveryRows: 3 }, (ledger) =>
        Effect.gen(function* () {
          yield* append(ledger, 2)
          const asked = yield* ledger.checkpoint("asked")
          yield* append(ledger, 2)
          assert.deepStrictEqual(yield* made(ledger), [[1, 2, "asked"]])
          yield* append(ledger, 1, 1)
          yield* ledger.rollback(asked, { operator: "ada", reason: "back" })
          yield* append(ledger, 2)
          assert.deepStrictEqual(yield* made(ledger), [[1, 2, "asked"]])
          yield* append(ledger, 1)
          assert.deepStrictEqual((yield* made(ledger)).at(-1), [3, 5, every])
          yield* assertSound(ledger)
        })
      )
    })
  )

  it.effect("makes one at close where rows came, and none where none did", () =>
    Effect.gen(function* () {
      const directory = yield* inDirectory
      const options = { directory, checkpointAtClose: true }
      const expected: Array<ReadonlyArray<unknown>> = []
      const opened = (rows: ReadonlyArray<number>) =>
        using(options, (ledger) =>
          Effect.gen(function* () {
            assert.deepStrictEqual<unknown>(yield* made(ledger), expected)
            yield* append(ledger, ...rows)
          })
        )
      yield* opened([])
      yield* opened([2, 1])
      expected.push([1, 3, "close"])
      yield* opened([])
      yield* opened([1])
      expected.push([2, 4, "close"])
      yield* opened([])
      yield* using({ directory }, (ledger) => append(ledger, 1))
      yield* opened([])
      expected.push([3, 5, "close"])
      yield* opened([])
    })
  )

  it.effect("tells of a checkpoint that cannot be made, fails no append, and tries again", () =>
    Effect.gen(function* () {
      const directory = yield* inDirectory
      const place = path.join(directory, "checkpoints")
      const options = { directory, checkpointAtClose: true, checkpointEveryRows: 2 }
      const told = yield* logged(
        using(options, (ledger) =>
          Effect.gen(function* () {
            fs.writeFileSync(place, "in the way")
            yield* append(ledger, 1, 1, 1)
            assert.deepStrictEqual(yield* made(ledger), [])
            fs.rmSync(place)
            yield* append(ledger, 1)
            assert.deepStrictEqual(yield* made(ledger), [[2, 4, "every 2 rows"]])
            fs.rmSync(place, { recursive: true })
            fs.writeFileSync(place, "in the way")
            yield* append(ledger, 1)
          })
        )
      )
      assert.strictEqual(told.length, 2, told.join("\n"))
      assert.match(told[0] ?? "", /^Warn a checkpoint that was due was not made: .*checkpoints/)
      assert.match(told[1] ?? "", /^Warn the checkpoint at close was not made: .*checkpoints/)
      fs.rmSync(place)
      yield* using(options, (ledger) => assertSound(ledger))
    })
  )

  it.effect("a size that is none is refused when the ledger opens", () =>
    Effect.gen(function* () {
      const directory = yield* inDirectory
      for (const checkpointEveryRows of [0, -1, 1.5, Number.NaN]) {
        const exit = yield* Effect.exit(
          using({ directory, checkpointEveryRows }, () => Effect.void)
        )
        assert.match(String(exit), /checkpointEveryRows must be a whole number above 0/)
      }
    })
  )

  it.effect("dies at any step of a checkpoint or manifest, and loses nothing", () =>
    Effect.gen(function* () {
      const options = { checkpointAtClose: true, checkpointEveryRows: 2, segmentBytesMax: 1 }
      const ids = ["a", "b", "c", "d", "e"].map((name) => named(name).id)
      const work = Effect.gen(function* () {
        const ledger = yield* LedgerService
        const heard: Array<string> = []
        for (const id of ids) {
          const answer = yield* Effect.result(ledger.append({ type: "test.named.v1", id }))
          if (answer._tag === "Success") heard.push(answer.success.id)
        }
        return heard
      })
      const onCheckpoints = {
        on: ["open", "write", "sync", "rename", "mkdir"],
        path: "checkpoints"
      } as const
      const onManifest = { on: ["open", "write", "sync", "rename"], path: "manifest.json" } as const
      let struck = 0
      for (const where of [onCheckpoints, onManifest]) {
        for (const crash of ["kill", "powerCut"] as const) {
          for (let nth = 1; nth < 30; nth++) {
            const disk = yield* FaultyDisk.make({ seed: nth })
            const layer = TestLedger.layer({ ...options, disk })
            const fault: Fault = { ...where, nth, crash, during: nth % 2 === 0 }
            yield* disk.fail(fault)
            const heard = yield* work.pipe(Effect.provide(layer))
            if ((yield* disk.struck) === 0) break
            struck++
            const again = Effect.gen(function* () {
              const ledger = yield* LedgerService
              const rows = yield* Stream.runCollect(ledger.events())
              const what = `${where.path} ${crash} ${nth}`
              assert.includeMembers(
                rows.map(({ id }) => id),
                heard,
                what
              )
              const report = yield* ledger.verify()
              assert.deepStrictEqual([report._tag, report.remarks], ["Intact", []], what)
              const sizes = (yield* ledger.checkpoints).map(({ size }) => size)
              assert.deepStrictEqual(
                sizes,
                sizes.toSorted((a, b) => a - b),
                what
              )
              const manifest = yield* ledger.manifest
              assert.isTrue(Manifest.isSound(manifest), what)
              assert.strictEqual(manifest.counters.rows, rows.length, what)
            })
            yield* again.pipe(Effect.provide(layer))
          }
        }
      }
      assert.isAbove(struck, 40)
    })
  )
})
