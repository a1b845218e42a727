import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { isDeno, isRoot } from "../store/crashKit.ts"
import { using } from "../store/ledgerFixtures.ts"
import { isParagraph, jsonLines, sealog } from "./sealog.ts"

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url))

/** Nobody may write here, root included. */
const unwritable = Effect.gen(function* () {
  if (isRoot) return "/sys"
  const directory = yield* TestLedger.directory
  fs.chmodSync(directory, 0o500)
  return directory
})

const pointNames = [
  "runtime",
  "platform",
  "file_system",
  "writable",
  "free_space",
  "modes",
  "links",
  "rename",
  "fsync",
  "directory_fsync",
  "full_fsync",
  "wal",
  "guard"
]

describe("sealog doctor", () => {
  it.live("reports every point in JSON, in the shape that scripts rely on", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const ended = yield* sealog(["doctor", directory, "--json"])
      assert.deepInclude(ended, { code: 0, stderr: "" })
      const [report, ...more] = jsonLines(ended)
      assert.deepStrictEqual(more, [])
      assert.isObject(report)
      const others = ["directory", "tried_in", "versions", "free_bytes", "fsync_median_ms", "unmet"]
      assert.hasAllKeys(report, [...others, ...pointNames])
      assert.deepInclude(report, { directory, tried_in: directory, unmet: [] })
      for (const name of pointNames) {
        const point: unknown = Reflect.get(Object(report), name)
        assert.hasAllKeys(point, ["verdict", "found", "asked", "hint"], name)
      }
      assert.hasAllKeys(Reflect.get(Object(report), "versions"), ["runtime", "effect", "sqlite"])
      assert.deepStrictEqual(fs.readdirSync(directory), [])
    })
  )

  it.live(
    "tells a person on one screen what a ledger in use can rely on, and leaves it alone",
    () =>
      Effect.gen(function* () {
        const parent = yield* TestLedger.directory
        const directory = path.join(parent, "ledger")
        const ended = yield* using({ directory }, (ledger) =>
          Effect.andThen(ledger.append({ type: "a.v1" }), sealog(["doctor", directory]))
        )
        assert.deepInclude(ended, { code: 0, stderr: "" })
        const lines = ended.stdout.trimEnd().split("\n")
        assert.isAtMost(lines.length, 24)
        assert.include(lines[0] ?? "", `${directory}, tried in ${parent}`)
        assert.match(lines[1] ?? "", /^(?:Node|Deno) \d.*, effect 4\..*, SQLite 3\./)
        for (const name of pointNames) {
          assert.match(ended.stdout, new RegExp(`\\n(?:ok|warning) +${name} `))
        }
        assert.match(lines.at(-1) ?? "", /^all that the contract asks is there/)
        assert.deepStrictEqual(fs.readdirSync(parent), ["ledger"])
      })
  )

  it.live("looks at the current directory where none is named", () =>
    Effect.gen(function* () {
      const cwd = fs.realpathSync(yield* TestLedger.directory)
      const args = isDeno ? ["run", "-A", main, "doctor"] : [main, "doctor"]
      const { status, stdout } = spawnSync(process.execPath, args, { cwd, encoding: "utf8" })
      assert.strictEqual(status, 0)
      assert.strictEqual(stdout.split("\n")[0], cwd)
      assert.deepStrictEqual(fs.readdirSync(cwd), [])
    })
  )

  it.live("exits 1 where something is missing, and says what", ({ skip }) =>
    Effect.gen(function* () {
      if (isRoot && !fs.existsSync("/sys/kernel")) return skip("root may write everywhere here")
      const directory = yield* unwritable
      const ended = yield* sealog(["doctor", directory])
      assert.deepInclude(ended, { code: 1, stderr: "" })
      assert.match(ended.stdout, /\nmissing +writable +.*permission is denied/)
      assert.match(ended.stdout, /\nuntried +guard +not tried\n/)
      assert.match(ended.stdout, /\nNOT what the contract asks: writable, modes, .*, guard\n$/)
      const json = yield* sealog(["doctor", directory, "--json"])
      assert.deepInclude(json, { code: 1, stderr: "" })
      const unmet: unknown = Reflect.get(Object(jsonLines(json)[0]), "unmet")
      assert.include(unmet, "directory_fsync")
    })
  )

  it.live("exits 2 where there is nothing to examine, in one paragraph", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      fs.writeFileSync(path.join(directory, "file"), "")
      for (const [name, said] of [
        ["missing", "nothing is there"],
        ["file", "it is no directory"]
      ] as const) {
        const ended = yield* sealog(["doctor", path.join(directory, name), "--json"])
        assert.deepInclude(ended, { code: 2, stdout: "" })
        assert.isTrue(isParagraph(ended), ended.stderr)
        assert.include(ended.stderr, said)
      }
      const wrong = yield* sealog(["doctor", "a", "b"])
      assert.deepInclude(wrong, { code: 2, stdout: "" })
    })
  )
})
