/** The command line's standard error, and verify's report of a journal, repeat nothing of a row. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { isParagraph, sealog } from "../cli/sealog.ts"
import { using } from "../store/ledgerFixtures.ts"
import { heard, secret } from "./canary.ts"

const line = (members: object): string =>
  JSON.stringify({
    type: "a.v1",
    payload: { CANARYmember: "CANARYpayload" },
    keys: { CANARYname: "CANARYvalue" },
    session_id: "CANARYsession",
    trace_id: "trc_01CANARYTRACE0000000000000",
    domain_tags: ["CANARYtag"],
    source: { type: "tool", name: "CANARYsource" },
    ...members
  })

/** Lines that are refused, each for another reason. */
const badLines: ReadonlyArray<string> = [
  line({ observed_at: "yesterday" }),
  line({ source: { type: "user" } }),
  line({ parent_id: "evt_01JZZZZZZZZZZZZZZZZZZZZZZZ" }),
  line({}).slice(0, -1)
]

describe("The command line's standard error", () => {
  it.live("repeats nothing of a line that it refuses", () =>
    Effect.gen(function* () {
      const parent = yield* TestLedger.directory
      const all = yield* Effect.forEach(
        badLines,
        (bad, nth) => sealog(["append", path.join(parent, `${nth}`)], { stdin: `${bad}\n` }),
        { concurrency: 2 }
      )
      for (const ended of all) {
        assert.deepInclude(ended, { code: 1, stdout: "appended 0 rows\n" })
        assert.isTrue(isParagraph(ended), ended.stderr)
        assert.deepStrictEqual(heard(ended.stderr), [])
      }
    })
  )

  it.live("repeats nothing of a damaged ledger, nor does verify's report of its journal", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "ledger")
      yield* using({ directory }, (ledger) => ledger.append(secret("a")))
      const segment = path.join(directory, "segments/0000000000000001.jsonl")
      const bytes = fs.readFileSync(segment)
      const at = bytes.indexOf("CANARYpayload") + 3
      bytes[at] = (bytes[at] ?? 0) ^ 1
      fs.writeFileSync(segment, bytes)
      const commands = [
        ["verify", directory],
        ["show", directory, "1"],
        ["replay", directory]
      ]
      const all = yield* Effect.forEach(commands, (args) => sealog(args), { concurrency: 2 })
      for (const { code, stderr, stdout } of all) {
        assert.strictEqual(code, 1)
        assert.deepStrictEqual(heard(stderr), [])
        assert.deepStrictEqual(heard(stdout), [])
      }
    })
  )
})
