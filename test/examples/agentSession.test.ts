import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestLedger } from "../../src/testing/index.ts"

const main = fileURLToPath(new URL("../../examples/agent-session/main.ts", import.meta.url))
// Node 22 says on standard error that its SQLite is an experiment.
const quiet = "--disable-warning=ExperimentalWarning"
const runtime = "Deno" in globalThis ? ["run", "-A", main] : [quiet, main]

describe("agent-session", () => {
  it.effect("tells its active path and what was cut, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const done = spawnSync(process.execPath, runtime, {
        encoding: "utf8",
        env: { ...process.env, TMPDIR: directory, FORCE_COLOR: undefined }
      })
      assert.strictEqual(done.status, 0, done.stdout + done.stderr)
      const [begun = "", wrong = "", back = "", again = ""] = done.stdout.split(/\n\d\. /).slice(1)
      assert.include(begun, "path to 3: 1 2 3\n   path to 4: 1 2 4")
      assert.include(wrong, "checkpoint 1: 4 rows")
      const seqs = (part: string) => [...part.matchAll(/^ {3}(\d) {2}\S/gm)].map(([, seq]) => seq)
      const [active = "", cut = ""] = back.split("cut, kept and verified (Intact, 2 rows):")
      assert.deepStrictEqual(
        [seqs(active), seqs(cut)],
        [
          ["1", "2", "4"],
          ["5", "6"]
        ]
      )
      assert.include(cut, "a reader at row 6 is told: RolledBack, go on from 4")
      assert.include(again, "Intact: 5 rows, checked against checkpoint 1")
      assert.isBelow(done.stdout.split("\n").length, 30)
      assert.deepStrictEqual(fs.readdirSync(directory), [])
    }).pipe(Effect.scoped)
  )

  it.effect("does not end with 0 where it cannot make its ledger", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const env = { ...process.env, TMPDIR: `${directory}/nowhere` }
      const done = spawnSync(process.execPath, runtime, { encoding: "utf8", env })
      assert.notStrictEqual(done.status, 0, done.stdout)
      assert.include(done.stderr + done.stdout, "nowhere")
    }).pipe(Effect.scoped)
  )
})
