/** The marker of a ledger: there while a rollback or repair is under way, and after a crash in it. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Result } from "effect"
import * as LockMarker from "../../../src/core/LockMarker.ts"
import * as SealogNode from "../../../src/platform/SealogNode.ts"
import { LockError } from "../../../src/store/locking/Guard.ts"
import { verify } from "../../../src/store/Ledger.ts"
import * as Ledger from "../../../src/store/Ledger.ts"
import * as Maintenance from "../../../src/store/upkeep/Maintenance.ts"
import { Reader } from "../../../src/store/reading/Reader.ts"
import * as StoreLock from "../../../src/store/locking/StoreLock.ts"
import * as FaultyDisk from "../../../src/testing/FaultyDisk.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { dead, image, opening, refusal, segmentOf, small, usingWatched } from "../crashKit.ts"
import { snapshot, using } from "../ledgerFixtures.ts"
import { claim, leave, locks, statementOf, takeoverClaim } from "../locking.ts"

const by = { operator: "ada", reason: "a drill\nof two lines" }

/** A ledger of two rows, the first of which has a checkpoint. */
const made = Effect.gen(function* () {
  const directory = path.join(yield* TestLedger.directory, "l")
  yield* using({ directory }, twoRows)
  return { directory, marker: path.join(directory, "marker") }
})

const twoRows = Effect.fnUntraced(function* (ledger: Ledger.Ledger["Service"]) {
  yield* ledger.append(small("a"))
  yield* ledger.checkpoint("one")
  yield* ledger.append(small("b"))
})

const written = (intent: string) =>
  Result.getOrThrow(
    LockMarker.render({
      pid: 4711,
      host: "build-7",
      deployment: "local",
      operator: "ada",
      acquiredAt: "2026-05-04T12:30:45.120Z" as LockMarker.LockMarker["acquiredAt"],
      intent
    })
  )

describe("LedgerMarker", () => {
  it.effect("stands, durable, from before the plan until after the outcome", () =>
    Effect.gen(function* () {
      const { directory, marker } = yield* made
      const calls: Array<string> = []
      const texts = new Set<string>()
      yield* usingWatched(
        { directory, deployment: "prod-1" },
        (call, effect) => {
          calls.push(call)
          if (fs.existsSync(marker)) texts.add(fs.readFileSync(marker, "utf8"))
          return effect
        },
        (ledger) =>
          Effect.andThen(
            Effect.sync(() => calls.splice(0)),
            ledger.rollback(1, by)
          )
      )
      const at = (pattern: RegExp) => {
        const found = calls.findIndex((call) => pattern.test(call))
        assert.isAtLeast(found, 0, String(pattern))
        return found
      }
      const begun = at(/^open marker wx/)
      const order = [
        begun,
        at(/^sync marker/),
        calls.findIndex((call, nth) => nth > begun && call === "sync ."),
        at(/^rename .*plan\.json$/),
        at(/^truncate/),
        at(/^rename .*outcome\.json$/),
        at(/^remove marker/)
      ]
      assert.deepStrictEqual(
        order,
        order.toSorted((a, b) => a - b)
      )
      const [text = ""] = [...texts].filter((one) => one !== "")
      const parsed = Result.getOrThrow(LockMarker.parse(text))
      const [folder = ""] = fs.readdirSync(path.join(directory, "operations"))
      assert.strictEqual(LockMarker.operationOf(parsed.intent), folder)
      const { deployment, operator, pid } = parsed
      assert.deepStrictEqual([deployment, operator, pid], ["prod-1", "ada", process.pid])
      assert.match(parsed.intent, /rollback to checkpoint 1$/)
      assert.isFalse(fs.existsSync(marker))
    })
  )

  for (const crash of ["kill", "powerCut"] as const) {
    it.effect(`is gone after the next open, whenever the ${crash} came in a rollback`, () =>
      Effect.gen(function* () {
        let found = 0
        for (let nth = 1, isOver = false; !isOver; nth += 5) {
          const disk = yield* FaultyDisk.make({ seed: nth })
          const layer = TestLedger.layer({ disk })
          const work = Effect.gen(function* () {
            const ledger = yield* Ledger.Ledger
            yield* twoRows(ledger)
            yield* disk.fail({ nth, crash, during: nth % 2 === 0 })
            yield* ledger.rollback(1, by)
            yield* disk.mend
          })
          yield* Effect.exit(Effect.provide(work, layer))
          isOver = (yield* disk.deaths).length === 0
          const isThere = Effect.orDie(disk.fileSystem.exists("/ledger/marker"))
          if (yield* isThere) found++
          const ledger = yield* Effect.provide(Ledger.Ledger, layer)
          assert.include([1, 2], ledger.opened.head.seq, `${nth}`)
          assert.isFalse(yield* isThere, `${nth}`)
        }
        assert.isAbove(found, 3)
      }).pipe(Effect.scoped)
    )
  }

  it.effect("stays after a failure behind the plan until the next open has finished it", () =>
    Effect.gen(function* () {
      const { directory, marker } = yield* made
      const error = yield* usingWatched(
        { directory },
        (call, effect) => (call.startsWith("truncate") ? Effect.fail(dead(call)) : effect),
        (ledger) => Effect.flip(ledger.rollback(1, by))
      )
      assert.isTrue(error._tag === "OperationFailed" && error.outcome === "fatal_error")
      assert.isTrue(fs.existsSync(marker))
      const opened = yield* opening({ directory })
      assert.deepStrictEqual([opened._tag, opened.head.seq], ["Recovered", 1])
      assert.isFalse(fs.existsSync(marker))
    })
  )

  it.effect("of somebody else stops writing, not reading, until it was taken over", () =>
    Effect.gen(function* () {
      const { directory, marker } = yield* made
      const store = StoreLock.ledger({ directory })
      const theirs = yield* leave(store)
      fs.appendFileSync(segmentOf(directory, 1), "torn")
      const before = image(directory)
      const plan = yield* SealogNode.diagnose({ directory })
      assert.isFalse(plan.isNeeded)
      assert.match(plan.message, /restore of monday.*take over.*sealog lock takeover/)
      for (let nth = 0; nth < 2; nth++) {
        const error = yield* refusal({ directory })
        assert.instanceOf(error, StoreLock.MarkerStale)
        assert.strictEqual(error.path, marker)
        assert.match(error.message, /restore of monday.*Reading works/)
      }
      assert.instanceOf(
        yield* Effect.flip(SealogNode.repair(plan, { ...by })),
        StoreLock.MarkerStale
      )
      const { head } = yield* Reader.use((reader) =>
        Effect.all({ head: reader.head, rows: reader.verify() })
      ).pipe(Effect.provide(SealogNode.layerReader({ directory })))
      assert.strictEqual(head.seq, 2)
      yield* Effect.provide(verify({ directory }), SealogNode.layerPlatform)
      assert.deepStrictEqual(
        image(directory).filter((line) => !line.startsWith("mirror")),
        before.filter((line) => !line.startsWith("mirror"))
      )
      const { setAside } = yield* StoreLock.StoreLock.use((lock) =>
        Effect.scoped(lock.takeover(store, statementOf(theirs), takeoverClaim))
      ).pipe(Effect.provide(locks()))
      assert.strictEqual((yield* opening({ directory })).head.seq, 2)
      assert.isTrue(fs.existsSync(setAside))
      yield* leave(store)
      yield* refusal({ directory })
    })
  )

  it.effect("of an operation of ours is removed, whether it was finished or never begun", () =>
    Effect.gen(function* () {
      const { directory, marker } = yield* made
      const done = yield* using({ directory }, (ledger) => ledger.rollback(1, by))
      const abandoned = "op_01KGE3HBSFNPBSCAJ7DY8FSVA7"
      fs.mkdirSync(path.join(directory, "operations", abandoned))
      for (const id of [done.id, abandoned]) {
        fs.writeFileSync(marker, written(`${id} rollback to checkpoint 1`))
        assert.strictEqual((yield* opening({ directory }))._tag, "Clean")
        assert.isFalse(fs.existsSync(marker))
      }
      fs.writeFileSync(marker, written("op_01KGE3HBSFNPBSCAJ7DY8FSVA8 rollback to checkpoint 1"))
      assert.instanceOf(yield* refusal({ directory }), StoreLock.MarkerStale)
    })
  )

  it.effect("that a crash cut short is set aside, and opening says so", () =>
    Effect.gen(function* () {
      const { directory, marker } = yield* made
      const text = written("op_01KGE3HBSFNPBSCAJ7DY8FSVA8 rollback to checkpoint 1")
      for (const left of ["", text.slice(0, 100), text.slice(0, 60) + "\0".repeat(200)]) {
        fs.writeFileSync(marker, left)
        const opened = yield* opening({ directory })
        const [action] = opened._tag === "Recovered" ? opened.actions : []
        assert.strictEqual(action?._tag, "MarkerSetAside")
        if (action?._tag === "MarkerSetAside") {
          assert.strictEqual(fs.readFileSync(action.path, "utf8"), left)
        }
        assert.strictEqual((yield* opening({ directory }))._tag, "Clean")
      }
    })
  )

  it.effect("that is no file is refused, and nothing is changed", () =>
    Effect.gen(function* () {
      const { directory, marker } = yield* made
      const puts = [() => fs.mkdirSync(marker), () => fs.symlinkSync("ledger.json", marker)]
      for (const put of puts) {
        put()
        const before = snapshot(directory)
        const error = yield* refusal({ directory })
        assert.instanceOf(error, LockError)
        assert.strictEqual(error.path, marker)
        assert.deepStrictEqual(snapshot(directory), before)
        fs.rmSync(marker, { recursive: true })
      }
    })
  )

  it.effect("that comes while the ledger is open stops the rollback before its plan", () =>
    Effect.gen(function* () {
      const { directory, marker } = yield* made
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          fs.writeFileSync(marker, written("restore of monday"))
          const error = yield* Effect.flip(ledger.rollback(1, by))
          assert.instanceOf(error, StoreLock.MarkerStale)
          yield* ledger.append(small("c"))
          fs.rmSync(marker)
          yield* ledger.rollback(1, by)
        })
      )
      assert.strictEqual((yield* opening({ directory })).head.seq, 1)
    })
  )

  it.effect("cannot name an operator of two lines, or a host of two", () =>
    Effect.gen(function* () {
      const { directory, marker } = yield* made
      const evil = Layer.succeed(StoreLock.Process, { pid: 1, host: "a\nb" })
      const platform = Layer.merge(Layer.fresh(TestLedger.layerPlatform()), evil)
      const layer = Layer.provide(SealogNode.layerOver({ directory }), platform)
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        const said = yield* Effect.flip(ledger.rollback(1, { ...by, operator: "ada\npid=1" }))
        assert.instanceOf(said, Maintenance.RequestInvalid)
        const error = yield* Effect.flip(ledger.rollback(1, by))
        assert.instanceOf(error, LockError)
        assert.match(error.message, /host.*Nothing was changed/)
        yield* ledger.append(small("c"))
      }).pipe(Effect.provide(layer))
      assert.isFalse(fs.existsSync(marker))
      const open = Effect.exit(opening({ directory, deployment: "a\nb" }))
      assert.isTrue(Exit.hasDies(yield* open))
      assert.strictEqual((yield* opening({ directory })).head.seq, 3)
    })
  )

  it.effect("of a repair is gone when it is done, one of ours that was left included", () =>
    Effect.gen(function* () {
      const { directory, marker } = yield* made
      const { id } = yield* using({ directory }, (ledger) => ledger.rollback(1, by))
      yield* using({ directory }, (ledger) => ledger.append(small("c")))
      fs.writeFileSync(marker, written(`${id} rollback to checkpoint 1`))
      const file = segmentOf(directory, 1)
      const bytes = fs.readFileSync(file)
      bytes[bytes.length - 40] = 0x21
      fs.writeFileSync(file, bytes)
      const plan = yield* SealogNode.diagnose({ directory })
      assert.isTrue(plan.isNeeded)
      assert.isNull(plan.marker, "it stops no repair")
      yield* SealogNode.repair(plan, by, { deployment: "prod-1" })
      assert.isFalse(fs.existsSync(marker))
      yield* opening({ directory })
    })
  )

  it.effect("of somebody else is told by the plan of a repair, which holds once it is gone", () =>
    Effect.gen(function* () {
      const { directory, marker } = yield* made
      const file = segmentOf(directory, 1)
      const bytes = fs.readFileSync(file)
      bytes[bytes.length - 40] = 0x21
      fs.writeFileSync(file, bytes)
      yield* leave(StoreLock.ledger({ directory }))
      const plan = yield* SealogNode.diagnose({ directory })
      assert.isTrue(plan.isNeeded)
      assert.strictEqual(plan.marker, fs.readFileSync(marker, "utf8"))
      assert.match(plan.message, /A repair would.*restore of monday.*take over/)
      fs.rmSync(marker)
      assert.strictEqual((yield* SealogNode.repair(plan, by)).outcome, "ok")
    })
  )

  it.effect("that is no file is told by the plan of a repair", () =>
    Effect.gen(function* () {
      const { directory, marker } = yield* made
      fs.mkdirSync(marker)
      const plan = yield* SealogNode.diagnose({ directory })
      assert.match(plan.message, /nothing to repair.*marker.* is a directory/)
    })
  )

  it.effect("lies beside the file in Cortex mode, and before a ledger is made", () =>
    Effect.gen(function* () {
      const file = path.join(yield* TestLedger.directory, "log.jsonl")
      fs.mkdirSync(`${file}.sealog`)
      yield* leave(StoreLock.ledger({ file }), claim)
      const error = yield* refusal({ file })
      assert.isTrue(error instanceof StoreLock.MarkerStale)
      assert.isFalse(fs.existsSync(file))
      fs.rmSync(`${file}.sealog/marker`)
      yield* opening({ file })
    })
  )
})
