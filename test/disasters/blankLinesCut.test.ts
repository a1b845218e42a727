/** Blank lines, which Cortex reads over, among the rows that a rollback cuts. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { named, using } from "../store/ledgerFixtures.ts"

const draft = (name: string) => named(name, { type: "cortex.event.user_message.v1" })

describe("A rollback in Cortex mode", () => {
  it.effect("counts rows and finds positions, whatever blank lines lie between", () =>
    Effect.gen(function* () {
      const file = path.join(yield* TestLedger.directory, "log.jsonl")
      const other = path.join(yield* TestLedger.directory, "log.jsonl")
      yield* using({ file: other }, (ledger) => ledger.appendAll([..."abcdef"].map(draft)))
      const lines = fs.readFileSync(other, "utf8").trimEnd().split("\n")
      fs.writeFileSync(file, `\n${lines.slice(0, 2).join("\n \n")}\n`)
      yield* using({ file }, (ledger) => ledger.checkpoint("two"))
      fs.appendFileSync(file, `\n \t\n${lines.slice(2).join("\n  \n")}\n \n\n`)
      yield* using({ file }, (ledger) =>
        Effect.gen(function* () {
          const events = yield* Stream.runCollect(ledger.events())
          const undone = yield* ledger.rollback(1, { operator: "ada", reason: "wrong" })
          assert.deepStrictEqual(
            undone.cut.map(({ rows }) => rows),
            [4]
          )
          for (const { position } of events.slice(2)) {
            const error = yield* Effect.flip(Stream.runDrain(ledger.events({ after: position })))
            assert.strictEqual(error._tag, "RolledBack", `row ${position.seq}`)
          }
        })
      )
    })
  )
})
