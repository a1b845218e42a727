import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestLedger } from "../../src/testing/index.ts"

const main = fileURLToPath(new URL("../../examples/restore-drill/main.ts", import.meta.url))
// Node 22 says on standard error that its SQLite is an experiment.
const quiet = "--disable-warning=ExperimentalWarning"
const runtime = "Deno" in globalThis ? ["run", "-A", main] : [quiet, main]

describe("restore-drill", () => {
  it.effect("restores, fails, refuses and takes over, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const done = spawnSync(process.execPath, runtime, {
        encoding: "utf8",
        env: { ...process.env, TMPDIR: directory, FORCE_COLOR: undefined }
      })
      assert.strictEqual(done.status, 0, done.stdout + done.stderr)
      const [first = "", restored = "", failed = "", taken = ""] = done.stdout
        .split(/\n\d\. /)
        .slice(1)
      assert.include(first, "damaged: row 3")
      assert.include(restored, "lock: Free")
      assert.match(failed, /lock: Stale\n +opening for writing: MarkerStale/)
      assert.match(taken, /MarkerStale\n.*takeover refused \(operator\)\n.*bob.*\n +lock: Free/)
      assert.include(taken, "Opened again: Intact, 5 rows")
      assert.deepStrictEqual(fs.readdirSync(directory), [])
    }).pipe(Effect.scoped)
  )
})
