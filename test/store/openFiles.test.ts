import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer, Stream } from "effect"
import { Ledger } from "../../src/index.ts"
import { SealogNode } from "../../src/platform/index.ts"
import { TestLedger } from "../../src/testing/index.ts"

/** The platform, and how many files are open that were opened through it, or ever were. */
const counting = () => {
  const open = { now: 0, ever: 0 }
  const platform = TestLedger.layerPlatform()
  const files = Layer.effect(
    FileSystem.FileSystem,
    Effect.map(FileSystem.FileSystem, (fs) => ({
      ...fs,
      open: (path: string, options?: Parameters<FileSystem.FileSystem["open"]>[1]) =>
        Effect.tap(fs.open(path, options), () =>
          Effect.acquireRelease(
            Effect.sync(() => {
              open.now++
              open.ever++
            }),
            () => Effect.sync(() => open.now--)
          )
        )
    }))
  )
  return { open, platform: Layer.merge(platform, Layer.provide(files, platform)) }
}

describe("open files", () => {
  it.effect("reads and appends leave no file open but the one that is written", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const { open, platform } = counting()
      const drafts = Array.from({ length: 4 }, (_, nth) => ({
        id: `evt_${"0".repeat(25)}${nth}`,
        type: "door.opened.v1"
      }))
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        yield* ledger.appendAll(drafts)
        const atRest = open.now
        yield* ledger.appendAll(drafts)
        yield* ledger.get(1)
        yield* ledger.line(2)
        yield* Stream.runDrain(ledger.events())
        yield* ledger.verify()
        yield* ledger.parity
        yield* ledger.replay
        assert.strictEqual(open.now, atRest)
        assert.strictEqual(atRest, 1)
      }).pipe(Effect.provide(Layer.provide(SealogNode.layerOver({ directory }), platform)))
      assert.strictEqual(open.now, 0)
    }).pipe(Effect.scoped)
  )

  it.effect("a page opens each file once, however far apart its rows lie", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const { open, platform } = counting()
      const text = "x".repeat(40_000)
      const drafts = Array.from({ length: 12 }, (_, nth) => ({
        type: nth % 2 === 0 ? "door.opened.v1" : "door.described.v1",
        payload: nth % 2 === 0 ? nth : text
      }))
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        for (const half of [drafts.slice(0, 6), drafts.slice(6)]) yield* ledger.appendAll(half)
        const { segments } = yield* ledger.summary
        assert.strictEqual(segments, 2)
        const before = open.ever
        const found = yield* Stream.runCollect(ledger.events({ types: ["door.opened.v1"] }))
        assert.deepStrictEqual(
          found.map(({ payload }) => payload),
          [0, 2, 4, 6, 8, 10]
        )
        assert.strictEqual(open.ever - before, segments)
      }).pipe(
        Effect.provide(
          Layer.provide(SealogNode.layerOver({ directory, segmentBytesMax: 100_000 }), platform)
        )
      )
    }).pipe(Effect.scoped)
  )
})
