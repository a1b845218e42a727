/** Operations that a repair has closed: they did not happen as planned, and nothing may say they did. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import type { Ledger } from "../../src/store/Ledger.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { assertSound, named, using } from "../store/ledgerFixtures.ts"

const by = { operator: "ada", reason: "the disk was swapped" }

type Service = Ledger["Service"]

const appended = (ledger: Service, names: string) =>
  Effect.forEach(names, (name) => ledger.append(named(name)), { discard: true })

const repaired = (directory: string) =>
  Effect.flatMap(SealogNode.diagnose({ directory }), (plan) => SealogNode.repair(plan, by))

/** A ledger whose rollback has a plan and nothing more, and lost its last row since. */
const stuck = Effect.gen(function* () {
  const directory = path.join(yield* TestLedger.directory, "l")
  yield* using({ directory }, (ledger) =>
    Effect.gen(function* () {
      yield* appended(ledger, "abc")
      yield* ledger.checkpoint("three")
      yield* appended(ledger, "def")
    })
  )
  const before = `${directory}.before`
  fs.cpSync(directory, before, { recursive: true })
  const { id } = yield* using({ directory }, (ledger) => ledger.rollback(1, by))
  const plan = path.join("operations", id, "plan.json")
  fs.mkdirSync(path.dirname(path.join(before, plan)), { recursive: true })
  fs.copyFileSync(path.join(directory, plan), path.join(before, plan))
  const segment = path.join(before, "segments", "0000000000000001.jsonl")
  const lines = fs.readFileSync(segment, "utf8").split("\n")
  fs.writeFileSync(segment, `${lines.slice(0, 5).join("\n")}\n`)
  return before
})

describe("A rollback that a repair has closed", () => {
  it.live("is no rollback: nothing misses what it never cut, no checkpoint names it", () =>
    Effect.gen(function* () {
      const directory = yield* stuck
      const refused = yield* Effect.flip(using({ directory }, (ledger) => ledger.head))
      assert.strictEqual(refused._tag, "OperationUnfinished")
      yield* repaired(directory)
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          assert.strictEqual((yield* ledger.head).seq, 5)
          yield* assertSound(ledger)
          assert.deepStrictEqual((yield* ledger.checkpoint("after")).rollbacks, [])
          const never = { seq: 5, leafHash: "ab".repeat(32) }
          const error = yield* Effect.flip(Stream.runDrain(ledger.events({ after: never })))
          assert.strictEqual(error._tag, "PositionUnknown")
          const told = (yield* ledger.operations).flatMap(({ cut }) => cut.map(({ path }) => path))
          assert.deepStrictEqual(
            told.filter((path) => !fs.existsSync(path)),
            [],
            "only what is there is listed"
          )
        })
      )
    })
  )
})

describe("A link in the place of an operation", () => {
  it.live("is moved away by a repair, and nothing is written where it leads", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "l")
      const elsewhere = `${directory}.elsewhere`
      fs.mkdirSync(elsewhere)
      yield* using({ directory }, (ledger) => appended(ledger, "ab"))
      fs.mkdirSync(path.join(directory, "operations"))
      fs.symlinkSync(elsewhere, path.join(directory, "operations", "op_link"))
      const refused = yield* Effect.flip(using({ directory }, (ledger) => ledger.head))
      assert.strictEqual(refused._tag, "OperationUnfinished")
      yield* repaired(directory)
      assert.deepStrictEqual(fs.readdirSync(elsewhere), [])
      yield* using({ directory }, (ledger) =>
        Effect.andThen(appended(ledger, "c"), assertSound(ledger))
      )
    })
  )
})
