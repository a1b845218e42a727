import * as fs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect } from "effect"
import * as Ending from "../../src/cli/Ending.ts"
import { version } from "../../src/cli/program.ts"
import { isParagraph, sealog } from "./sealog.ts"

describe("sealog", () => {
  it.live("help that was asked for goes to standard output, with every command", () =>
    Effect.gen(function* () {
      const [help, none, wrong, release] = yield* Effect.all(
        [sealog(["--help"]), sealog([]), sealog(["verifi", "x"]), sealog(["--version"])],
        { concurrency: 2 }
      )
      assert.deepInclude(help, { code: 0, stderr: "" })
      for (const command of [
        "append",
        "verify",
        "replay",
        "parity",
        "tail",
        "show",
        "path",
        "backup",
        "checkpoint",
        "checkpoints",
        "rollback",
        "operations",
        "manifest",
        "views",
        "doctor",
        "lock"
      ]) {
        assert.match(help.stdout, new RegExp(`\\n  ${command} `))
      }
      assert.deepInclude(none, { code: 2, stdout: "" })
      assert.include(none.stderr, "verify")
      assert.deepInclude(wrong, { code: 2, stdout: "" })
      assert.isTrue(isParagraph(wrong), wrong.stderr)
      assert.deepStrictEqual(release, { code: 0, stdout: `${version}\n`, stderr: "" })
    })
  )

  it("version is that of the package", () => {
    const text = fs.readFileSync(new URL("../../package.json", import.meta.url), "utf8")
    assert.strictEqual(JSON.parse(text).version, version)
  })

  it("a defect becomes one paragraph and exit code 2", () => {
    const ending = Ending.of(Cause.die(new TypeError("x is undefined")))
    assert.strictEqual(ending.code, 2)
    assert.match(ending.text ?? "", /^it met a defect: x is undefined\. Please report it/)
  })

  it("text from a damaged file cannot steer the terminal", () => {
    assert.strictEqual(Ending.plain("a\u001b[2Jb\nc\u0085\u202e"), "a\\u001b[2Jb c\\u0085\\u202e")
  })
})
