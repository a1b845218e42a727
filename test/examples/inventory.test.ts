import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestLedger } from "../../src/testing/index.ts"

const main = fileURLToPath(new URL("../../examples/inventory/main.ts", import.meta.url))
// Node 22 says on standard error that its SQLite is an experiment.
const quiet = "--disable-warning=ExperimentalWarning"
const runtime = "Deno" in globalThis ? ["run", "-A", main] : [quiet, main]

/** The numbers of each line that begins with such a name. */
const table = (text: string, name: string): ReadonlyArray<ReadonlyArray<number>> =>
  [...text.matchAll(new RegExp(`^ {3}(?:${name}) +(.*)$`, "gm"))].map(([, cells = ""]) =>
    cells.split(/ +/).map(Number)
  )

const sum = (rows: ReadonlyArray<ReadonlyArray<number>>, column: number): number =>
  rows.reduce((total, row) => total + (row[column] ?? 0), 0)

describe("inventory", () => {
  it.effect("sells what is there and no more, ships it once, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const done = spawnSync(process.execPath, runtime, {
        encoding: "utf8",
        env: { ...process.env, TMPDIR: directory, FORCE_COLOR: undefined }
      })
      assert.strictEqual(done.status, 0, done.stdout + done.stderr)
      // Where nobody looks at it, the table is drawn once.
      assert.notInclude(done.stdout, "\u001b")
      const [sold = "", negative = "", days = "", again = ""] = done.stdout
        .split(/\n\d\. /)
        .slice(1)
      const stock = table(sold, "anvil|bellows|chisel")
      const moved = table(days, "2026-03-0\\d")
      assert.deepStrictEqual([stock.length, moved.length], [3, 4])
      for (const [onHand = -1, reserved = -1, free = -1] of stock) {
        assert.isTrue(onHand >= 0 && reserved === 0 && free === onHand, sold)
      }
      assert.strictEqual(sum(moved, 0), 60)
      assert.strictEqual(sum(moved, 1), sum(moved, 2))
      assert.strictEqual(sum(stock, 0), 60 - sum(moved, 2))
      const [, reserved, soldOut] = /(\d+) orders reserved, (\d+) sold out/.exec(sold) ?? []
      assert.strictEqual(Number(reserved) + Number(soldOut), 60)
      assert.isAbove(Number(soldOut), 0)
      assert.match(sold, /[1-9]\d* decisions were made again/)
      // Three deliveries, two who closed, and each order reserved and shipped.
      assert.include(negative, `in none of ${3 + 2 + 2 * Number(reserved)} rows`)
      assert.include(again, `${reserved} reservations packed again, 0 shipped twice`)
      assert.deepStrictEqual(fs.readdirSync(directory), [])
    }).pipe(Effect.scoped)
  )
})
