/** A mirror that lost a row in its middle is brought up before its id can be written again. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { opening } from "../store/crashKit.ts"
import { allowAll, meddle, named, segmentLines, using } from "../store/ledgerFixtures.ts"

const id = (name: string) => named(name).id ?? ""
const lose = (directory: string, name: string) =>
  meddle(
    path.join(directory, "mirror.sqlite"),
    `DELETE FROM sealog_index WHERE event_id = '${id(name)}'`,
    `DELETE FROM events WHERE id = '${id(name)}'`
  )
const twice = (directory: string, name: string) =>
  segmentLines(directory).filter((line) => line.startsWith(`{"id":"${id(name)}"`)).length
const remake = Effect.fnUntraced(function* (directory: string) {
  for (const file of fs.readdirSync(directory)) {
    if (file.startsWith("mirror.sqlite")) fs.rmSync(path.join(directory, file))
  }
  return yield* Effect.exit(opening({ directory }))
})

describe("a mirror that lost a row", () => {
  it.effect("is refused or brought up, not opened as Clean", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory }, (l) => l.appendAll(["a", "b", "c", "d"].map((n) => named(n))))
      lose(directory, "b")
      yield* Effect.exit(using({ directory }, (ledger) => ledger.append(named("b"))))
      assert.strictEqual(twice(directory, "b"), 1)
      const exit = yield* remake(directory)
      assert.isTrue(Exit.isSuccess(exit), String(exit))
    })
  )

  it.effect("while it was open is noticed whatever the caller has decided", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(named("a"))
          yield* ledger.append(named("b"))
          lose(directory, "b")
          yield* Effect.exit(ledger.append(named("b"), { decisions: allowAll }))
        })
      )
      assert.strictEqual(twice(directory, "b"), 1)
      const exit = yield* remake(directory)
      assert.isTrue(Exit.isSuccess(exit), String(exit))
    })
  )
})
