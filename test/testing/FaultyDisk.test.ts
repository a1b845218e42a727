/** The disk as a whole: programs that die, what is left for the next one, and the same seed again. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer, Logger } from "effect"
import { TestClock } from "effect/testing"
import { codeOf } from "../../src/store/errors.ts"
import { Guard } from "../../src/store/locking/Guard.ts"
import { Ledger } from "../../src/store/Ledger.ts"
import * as FaultyDisk from "../../src/testing/FaultyDisk.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"

const bytesOf = (length: number) => Uint8Array.from({ length }, (_, i) => 1 + (i % 255))

/** Writes and names, some of them durable; the files that were opened are handed on. */
const work = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  yield* fs.makeDirectory("/d/e", { recursive: true })
  const files: Array<FileSystem.File> = []
  for (const name of ["a", "b", "c"]) {
    const file = yield* fs.open(`/d/${name}`, { flag: "w+" })
    yield* file.writeAll(bytesOf(300))
    if (name === "a") yield* file.sync
    yield* file.writeAll(bytesOf(300))
    files.push(file)
  }
  yield* Effect.flatMap(fs.open("/d"), (directory) => directory.sync)
  yield* fs.rename("/d/b", "/d/b2")
  yield* fs.writeFile("/d/e/late", bytesOf(20))
  yield* fs.remove("/d/c")
  return files
})

const treeOf = Effect.fnUntraced(function* ({ fileSystem: fs }: FaultyDisk.FaultyDisk) {
  const names = yield* fs.readDirectory("/", { recursive: true })
  return yield* Effect.forEach(names, (name) =>
    Effect.gen(function* () {
      const { type } = yield* fs.stat(name)
      return [name, type === "File" ? [...(yield* fs.readFile(name))] : []] as const
    })
  )
})

/** What is left of the work when the machine dies. */
const leftBy = (seed: number, death: "kill" | "powerCut") =>
  Effect.gen(function* () {
    const disk = yield* FaultyDisk.make({ seed })
    yield* Effect.provide(work, disk.layer)
    const before = yield* treeOf(disk)
    yield* disk[death]
    return { before, after: yield* treeOf(disk), operations: yield* disk.operations }
  }).pipe(Effect.scoped)

describe("FaultyDisk", () => {
  it.effect("keeps what a ledger acknowledged through a power cut", () =>
    Effect.gen(function* () {
      const disk = yield* FaultyDisk.make({ seed: 7 })
      const ledger = TestLedger.layer({ disk })
      yield* TestClock.adjust("1 hour")
      const draft = { id: "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV", type: "a.v1" }
      const append = Ledger.use((ledger) => ledger.append(draft))
      const first = yield* append.pipe(
        Effect.tap(() => disk.powerCut),
        Effect.provide(ledger)
      )
      const again = yield* append.pipe(Effect.provide(ledger))
      assert.deepStrictEqual(
        [first._tag, again._tag, again.seq],
        ["Appended", "AlreadyAppended", 1]
      )
    })
  )

  it.effect("a kill loses nothing", () =>
    Effect.gen(function* () {
      for (let seed = 1; seed <= 10; seed++) {
        const { after, before } = yield* leftBy(seed, "kill")
        assert.deepStrictEqual(after, before)
      }
    })
  )

  it.effect("the same seed and the same calls make the same losses, other seeds others", () =>
    Effect.gen(function* () {
      const losses = new Set<string>()
      for (let seed = 1; seed <= 30; seed++) {
        const [once, again] = [yield* leftBy(seed, "powerCut"), yield* leftBy(seed, "powerCut")]
        assert.deepStrictEqual(again, once, `seed ${seed}`)
        losses.add(JSON.stringify(once.after))
      }
      assert.isAbove(losses.size, 10)
    })
  )

  it.effect("what is left of a power cut is durable: the next one takes nothing more of it", () =>
    Effect.gen(function* () {
      for (let seed = 1; seed <= 20; seed++) {
        const disk = yield* FaultyDisk.make({ seed })
        yield* Effect.provide(work, disk.layer)
        yield* disk.powerCut
        const left = yield* treeOf(disk)
        yield* disk.powerCut
        assert.deepStrictEqual(yield* treeOf(disk), left)
      }
    })
  )

  for (const death of ["kill", "powerCut"] as const) {
    it.effect(`a program is dead after a ${death}: all its calls fail and do nothing`, () =>
      Effect.gen(function* () {
        const disk = yield* FaultyDisk.make({ seed: 3 })
        yield* Effect.gen(function* () {
          const fs = yield* FileSystem.FileSystem
          const [file] = yield* work
          assert.isDefined(file)
          yield* disk[death]
          const before = yield* treeOf(disk)
          const calls = [
            fs.open("/d/a"),
            fs.open("/new", { flag: "w" }),
            fs.readDirectory("/"),
            fs.makeDirectory("/new"),
            fs.rename("/d", "/d2"),
            fs.remove("/d", { recursive: true }),
            fs.stat("/d"),
            fs.chmod("/d", 0o700),
            fs.truncate("/d/a"),
            fs.readFile("/d/a"),
            fs.writeFile("/new", bytesOf(1)),
            file.read(new Uint8Array(1)),
            file.write(bytesOf(1)),
            file.truncate(),
            file.stat,
            file.sync
          ]
          const counted = (yield* disk.operations).length
          for (const call of calls) {
            assert.strictEqual(codeOf(yield* Effect.flip(Effect.scoped(call))), "EIO")
          }
          assert.deepStrictEqual(yield* treeOf(disk), before)
          assert.strictEqual((yield* disk.operations).length, counted, "and are not counted")
        }).pipe(Effect.provide(disk.layer))
        // The next program is another one, though its layer is the same.
        const fs = yield* Effect.provide(FileSystem.FileSystem, disk.layer)
        yield* fs.writeFile("/new", bytesOf(1))
        assert.deepStrictEqual(yield* disk.deaths, [death])
      })
    )
  }

  it.effect("whoever looks on is never struck, never dead and not counted", () =>
    Effect.gen(function* () {
      const disk = yield* FaultyDisk.make()
      yield* disk.fail({ code: "EIO", times: 100 })
      yield* disk.kill
      yield* disk.fileSystem.writeFile("/seen", bytesOf(3))
      assert.deepStrictEqual([...(yield* disk.fileSystem.readFile("/seen"))], [1, 2, 3])
      assert.deepStrictEqual([yield* disk.struck, yield* disk.operations], [0, []])
    })
  )

  it.effect("counts each call in the order in which it was begun", () =>
    Effect.gen(function* () {
      const disk = yield* FaultyDisk.make()
      yield* Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const file = yield* fs.open("/a", { flag: "w+" })
        yield* file.writeAll(bytesOf(5))
        yield* file.sync
        yield* fs.rename("/a", "/b")
      }).pipe(Effect.provide(disk.layer))
      assert.deepStrictEqual(yield* disk.operations, [
        { nth: 1, name: "open", path: "/a", bytes: undefined },
        { nth: 2, name: "write", path: "/a", bytes: 5 },
        { nth: 3, name: "sync", path: "/a", bytes: undefined },
        { nth: 4, name: "rename", path: "/a /b", bytes: undefined }
      ])
    })
  )

  it.effect("one program holds a guard, until it lets go or dies", () =>
    Effect.gen(function* () {
      const disk = yield* FaultyDisk.make()
      const hold = Effect.flatMap(Guard, (guard) => guard.hold("/ledger/guard")).pipe(
        Effect.provide(Layer.fresh(disk.platform))
      )
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* hold
          assert.strictEqual((yield* Effect.flip(hold))._tag, "StoreBusy")
          yield* disk.kill
          yield* hold
        })
      )
      yield* Effect.scoped(hold)
    })
  )

  it.effect("hears what a living program logs, and nothing of a dead one", () =>
    Effect.gen(function* () {
      for (const [end, count] of [
        ["full", 1],
        ["kill", 0],
        ["powerCut", 0]
      ] as const) {
        const disk = yield* FaultyDisk.make({ seed: 3 })
        const told: Array<unknown> = []
        const logger = Logger.layer([Logger.make(({ message }) => told.push(message))])
        const full = disk.fail({ on: "write", path: "manifest.json", code: "ENOSPC" })
        yield* Ledger.use((ledger) =>
          Effect.andThen(
            ledger.append({ type: "door.opened.v1" }),
            end === "full" ? full : disk[end]
          )
        ).pipe(Effect.provide(TestLedger.layer({ disk })), Effect.provide(logger))
        assert.strictEqual(told.length, count, end)
      }
    })
  )
})
