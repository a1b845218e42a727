/**
 * A ledger asks for its files and its user, and nothing else: where a runtime can withhold the rest
 * (Deno), no network, no environment, no other program, no native code and no other file to write is
 * ever missed.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { isDeno } from "../store/crashKit.ts"

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url))

/** Run the program with these permissions alone; what it would have to ask for is refused. */
const withOnly = (permissions: ReadonlyArray<string>, args: ReadonlyArray<string>, input = "") =>
  spawnSync(process.execPath, ["run", "--no-prompt", ...permissions, main, ...args], {
    encoding: "utf8",
    input
  })

describe("Permissions", () => {
  it.effect.skipIf(!isDeno)(
    "to read, and to write its own directory, are enough for a ledger",
    () =>
      Effect.gen(function* () {
        const parent = yield* TestLedger.directory
        const directory = path.join(parent, "ledger")
        fs.mkdirSync(directory)
        // Whether a file may be written is asked of the system by user.
        const user = ["--allow-sys=uid,gid"]
        const permissions = ["--allow-read", `--allow-write=${directory}`, ...user]
        const appended = withOnly(permissions, ["append", directory], '{"type":"a.v1"}\n')
        assert.strictEqual(appended.stderr, "")
        assert.deepStrictEqual([appended.status, appended.stdout], [0, "appended 1 row\n"])
        const verified = withOnly(["--allow-read"], ["verify", directory])
        assert.strictEqual(verified.stderr, "")
        assert.match(verified.stdout, /^intact: 1 rows/)
      })
  )

  it("of the network are asked for by no module", () => {
    const source = fileURLToPath(new URL("../../src/", import.meta.url))
    const modules =
      /"(?:node:(?:net|http|https|http2|dgram|tls|dns|cluster|inspector)|effect\/http)/
    for (const name of fs.readdirSync(source, { recursive: true, encoding: "utf8" })) {
      if (!name.endsWith(".ts")) continue
      const code = fs.readFileSync(path.join(source, name), "utf8")
      assert.notMatch(code, modules, name)
      assert.notMatch(code, /\bfetch\(|\bWebSocket\(|\bnew Function\(|\beval\(/, name)
      if (name.endsWith("doctorTrials.ts")) continue
      assert.notMatch(code, /node:child_process|effect\/process/, name)
    }
  })
})
