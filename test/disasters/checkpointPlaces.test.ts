/** What stands where checkpoints should: a link to elsewhere, a pipe, a directory. */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as Checkpoint from "../../src/core/Checkpoint.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { named, using } from "../store/ledgerFixtures.ts"

const by = { operator: "ada", reason: "the wrong tree" }

/** A ledger of two rows, with a checkpoint after the first. */
const made = Effect.gen(function* () {
  const directory = path.join(yield* TestLedger.directory, "l")
  yield* using({ directory }, (ledger) =>
    Effect.gen(function* () {
      yield* ledger.append(named("a"))
      yield* ledger.checkpoint("one")
      yield* ledger.append(named("b"))
    })
  )
  return directory
})

const pipe = (at: string): void => void execFileSync("mkfifo", [at])
const directory = (at: string): void => void fs.mkdirSync(at)
const link = (at: string): void => fs.symlinkSync("/nowhere", at)

describe("The place of checkpoints", () => {
  it.effect("is refused where it is a link, and nothing is written behind it", () =>
    Effect.gen(function* () {
      const ledger = yield* made
      const elsewhere = path.join(path.dirname(ledger), "elsewhere")
      fs.renameSync(path.join(ledger, "checkpoints"), elsewhere)
      fs.symlinkSync(elsewhere, path.join(ledger, "checkpoints"))
      const there = fs.readdirSync(elsewhere)
      const opened = using({ directory: ledger }, (open) => open.checkpoint("two"))
      const error = yield* Effect.flip(opened)
      assert.strictEqual(error._tag, "NotALedger")
      assert.deepStrictEqual(fs.readdirSync(elsewhere), there)
    })
  )

  for (const [what, make] of Object.entries({ pipe, directory, link })) {
    it.live.skipIf(process.platform === "win32")(
      `holds a ${what} under a later number: a rollback moves it away unread`,
      () =>
        Effect.gen(function* () {
          const ledger = yield* made
          make(path.join(ledger, "checkpoints", "0000000000000007.json"))
          const cut = yield* using({ directory: ledger }, (open) =>
            Effect.gen(function* () {
              const { outcome } = yield* open.rollback(1, by)
              assert.isTrue((yield* open.parity).isConsistent)
              return [outcome, (yield* open.head).seq, (yield* open.checkpoint("next")).number]
            })
          )
          assert.deepStrictEqual(cut, ["ok", 1, 8])
        }),
      { timeout: 20_000 }
    )
  }

  const last = Checkpoint.name(Number.MAX_SAFE_INTEGER)

  it.effect(
    "holds junk under the last number there is: the next checkpoint counts on all the same",
    () =>
      Effect.gen(function* () {
        const ledger = yield* made
        const junk = path.join(ledger, "checkpoints", last)
        fs.writeFileSync(junk, "junk")
        fs.writeFileSync(path.join(ledger, "checkpoints", Checkpoint.name(5)), "junk")
        const numbers: Array<number> = []
        for (const _ of [1, 2]) {
          yield* using({ directory: ledger }, (open) =>
            Effect.gen(function* () {
              numbers.push((yield* open.checkpoint("next")).number)
              numbers.push((yield* open.checkpoint("next")).number)
            })
          )
        }
        assert.deepStrictEqual(numbers, [6, 7, 8, 9])
        yield* using({ directory: ledger }, (open) =>
          Effect.gen(function* () {
            yield* open.rollback(1, by)
            assert.isFalse(fs.existsSync(junk))
            assert.strictEqual((yield* open.checkpoint("after")).number, 10)
          })
        )
      })
  )

  it.effect("holds a sound one under the last number: no other can follow, which is told", () =>
    Effect.gen(function* () {
      const ledger = yield* made
      const first = path.join(ledger, "checkpoints", Checkpoint.name(1))
      const one = Result.getOrThrow(Checkpoint.decode(fs.readFileSync(first, "utf8")))
      const number = Number.MAX_SAFE_INTEGER
      const text = Checkpoint.encode(Checkpoint.make({ ...one, tree: one.tree, number }))
      fs.writeFileSync(path.join(ledger, "checkpoints", last), text)
      yield* using({ directory: ledger }, (open) =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(open.checkpoint("next"))
          assert.strictEqual(error._tag, "JournalError")
          assert.include(error.message, last)
          yield* open.append(named("c"))
        })
      )
    })
  )
})
