import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestLedger } from "../../src/testing/index.ts"

const main = fileURLToPath(new URL("../../examples/fleet-control-plane/main.ts", import.meta.url))
// Node 22 says on standard error that its SQLite is an experiment.
const quiet = "--disable-warning=ExperimentalWarning"
const runtime = "Deno" in globalThis ? ["run", "-A", main] : [quiet, main]

describe("fleet-control-plane", () => {
  it.effect(
    "refuses, promotes, finds a changed view and goes back, and leaves nothing behind",
    () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        const done = spawnSync(process.execPath, runtime, {
          encoding: "utf8",
          env: { ...process.env, TMPDIR: directory, FORCE_COLOR: undefined }
        })
        assert.strictEqual(done.status, 0, done.stdout + done.stderr)
        const [kinds = "", asked = "", gate = "", race = "", view = "", back = ""] = done.stdout
          .split(/\n\d\. /)
          .slice(1)
        assert.deepStrictEqual(
          [...kinds.matchAll(/refused: (\S+) at (\S+)/g)].map(([, type, path]) => [type, path]),
          [
            ["fleet.reboot.v1", "/type"],
            ["fleet.plan_action.v1", "/payload/wave"],
            ["fleet.agent_event.v1", "/payload/report/results"]
          ]
        )
        assert.include(asked, "rows 3 4 5, then 6 7 8")
        assert.match(
          gate,
          /refused, told in row 9: .*CC6\.1 on web-1\n.*Pass\n.*promoted in row 11/
        )
        // What the agent saw, when it saw it; the second run of the probe came 42 seconds later.
        assert.include(gate, "CC6.1, SOC2, web-1, 2026-05-16T00:59:58Z")
        const [, promoted, refused] = /failure: (\d+), refused after it: (\d+)/.exec(race) ?? []
        assert.strictEqual(Number(promoted) + Number(refused), 20)
        assert.match(view, /not derived, CC6\.1 on web-1 is missing\n.*made anew: .* rows\n/)
        assert.include(view, "check: probe_failures is derived, 21 rows")
        assert.match(
          back,
          /CC6\.1 on db-1, CC6\.7 on db-1\n.*\(ok\): 2 rows cut and kept, 0 failures/
        )
        assert.include(back, "promoted: the gate does not see what was cut")
        assert.include(back, "verified: Intact")
        assert.deepStrictEqual(fs.readdirSync(directory), [])
      }).pipe(Effect.scoped)
  )
})
