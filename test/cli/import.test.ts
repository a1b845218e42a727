import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { idFrom } from "../../src/core/Event.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { segmentLines } from "../store/ledgerFixtures.ts"
import { isParagraph, jsonLines, sealog } from "./sealog.ts"

const Row = Schema.fromJsonString(
  Schema.Struct({
    id: Schema.String,
    event_type: Schema.String,
    observed_at: Schema.String,
    payload: Schema.Unknown,
    parent_id: Schema.optionalKey(Schema.String)
  })
)

const rowsOf = (ledger: string) => segmentLines(ledger).map((line) => Schema.decodeSync(Row)(line))

const session = [
  '{"type":"summary","text":"all of it"}',
  '{"type":"user","uuid":"a","parentUuid":null,"timestamp":"2026-01-02T03:04:05Z"}',
  '{"type":"tool-use","uuid":"b","parentUuid":"a","timestamp":"2026-01-02T03:04:06Z"}',
  '{"type":"user","uuid":"c","parentUuid":"nowhere","timestamp":"2026-01-02T03:04:07Z"}',
  "this is \u001b[31mno JSON",
  '{"type":"assistant","uuid":"d","parentUuid":"b","timestamp":"2026-01-02T03:04:08Z"}'
].join("\n")

const flags = ["--type", "type", "--id", "/uuid", "--parent", "parentUuid", "--time", "timestamp"]

const places = Effect.map(TestLedger.directory, (directory) => {
  const file = path.join(directory, "session.jsonl")
  fs.writeFileSync(file, session)
  return { directory, file, ledger: `${file}.ledger` }
})

describe("sealog import", () => {
  it.live("makes a ledger of a session, lists what it refuses, and adds nothing again", () =>
    Effect.gen(function* () {
      const { file, ledger } = yield* places
      const by = ["--operator", "ada", "--reason", "moving in"]
      const first = yield* sealog(["import", file, ledger, ...flags, ...by])
      assert.deepInclude(first, { code: 1, stderr: "" })
      const [title, ...rest] = first.stdout.trimEnd().split("\n")
      assert.match(
        title ?? "",
        /^imported 6 lines of session.jsonl: 4 appended, 0 there already, 2 refused; operation op_/
      )
      assert.match(rest[0] ?? "", /^ {2}line 4: UnknownParent: evt_\S+ is no earlier row/)
      assert.match(
        rest[1] ?? "",
        /^ {2}line 5: at its root expected a value, found syntax at byte 0$/
      )
      assert.match(rest[2] ?? "", /^head: 4:[0-9a-f]{64}$/)
      const rows = rowsOf(ledger)
      assert.deepStrictEqual(
        rows.map(({ event_type, id, parent_id }) => [event_type, id, parent_id]),
        [
          ["imported.summary.v1", rows[0]?.id, undefined],
          ["imported.user.v1", idFrom("a"), undefined],
          ["imported.tool_use.v1", idFrom("b"), idFrom("a")],
          ["imported.assistant.v1", idFrom("d"), idFrom("b")]
        ]
      )
      assert.strictEqual(rows[2]?.observed_at, "2026-01-02T03:04:06Z")
      const again = yield* sealog(["import", file, ledger, ...flags, "--json"])
      assert.deepInclude(again, { code: 1, stderr: "" })
      const [report, ...more] = jsonLines(again)
      assert.lengthOf(more, 0)
      assert.hasAllKeys(report, [
        "operation",
        "lines",
        "appended",
        "existing",
        "refused",
        "problems",
        "bytes",
        "sha256",
        "head"
      ])
      assert.deepInclude(report, { lines: 6, appended: 0, existing: 4, refused: 2 })
      assert.deepStrictEqual(segmentLines(ledger).length, 4)
      const plans = fs.readdirSync(path.join(ledger, "operations"))
      assert.lengthOf(plans, 2)
      const plan: unknown = JSON.parse(
        fs.readFileSync(path.join(ledger, "operations", plans[0] ?? "", "plan.json"), "utf8")
      )
      assert.deepInclude(plan, {
        kind: "import",
        operator: "ada",
        reason: "import of session.jsonl: moving in"
      })
    })
  )

  it.live(
    "reads standard input, whole lines as payloads, and doubts a field that no line has",
    () =>
      Effect.gen(function* () {
        const { ledger } = yield* places
        const stdin = '{"n":12345678901234567890.10}\r\n[2]\n[2]'
        const ended = yield* sealog(["import", "-", ledger, "--id", "uuid", "--source", "s"], {
          stdin
        })
        assert.strictEqual(ended.code, 0)
        assert.match(ended.stdout, /^imported 3 lines of s: 3 appended/)
        assert.strictEqual(
          ended.stderr,
          "sealog: no line has the field that --id names; look whether it is right\n"
        )
        assert.include(segmentLines(ledger)[0] ?? "", '"payload":{"n":12345678901234567890.10},')
        assert.deepStrictEqual(
          rowsOf(ledger).map(({ id }) => id),
          ['{"n":12345678901234567890.10}', "[2]", "[2]"].map((text, nth) =>
            idFrom(`import "s" ${nth + 1} ${text}`)
          )
        )
      })
  )

  it.live("ends with 2, and makes no ledger, where it cannot run", () =>
    Effect.gen(function* () {
      const { directory, file, ledger } = yield* places
      const ways: ReadonlyArray<readonly [ReadonlyArray<string>, RegExp]> = [
        [[path.join(directory, "nothing"), ledger], /ENOENT/],
        [[directory, ledger], /EISDIR/],
        [[file, ledger, "--id", "a..b"], /--id a\.\.b: expected a JSON pointer/],
        [[file, ledger, "--type", "/~2"], /--type \/~2: expected ~0 for ~/]
      ]
      for (const [args, text] of ways) {
        const ended = yield* sealog(["import", ...args])
        assert.deepInclude(ended, { code: 2, stdout: "" })
        assert.isTrue(isParagraph(ended), ended.stderr)
        assert.match(ended.stderr, text)
        assert.isFalse(fs.existsSync(ledger))
      }
    })
  )
})

describe("sealog export", () => {
  it.live("writes one file that verifies, and refuses what the original does not read", () =>
    Effect.gen(function* () {
      const { directory, ledger } = yield* places
      const to = path.join(directory, "out.jsonl")
      const line = (payload: string) =>
        `{"type":"cortex.event.system_note.v1","payload":${payload}}\n`
      yield* sealog(["append", ledger], { stdin: line("1") + line("[2]") })
      const ended = yield* sealog(["export", ledger, to, "--json"])
      assert.deepInclude(ended, { code: 0, stderr: "" })
      const [report] = jsonLines(ended)
      assert.hasAllKeys(report, ["path", "rows", "bytes", "head"])
      assert.deepInclude(report, { path: to, rows: 2, bytes: fs.statSync(to).size })
      assert.deepInclude(yield* sealog(["verify", to]), { code: 0 })
      const taken = yield* sealog(["export", ledger, to])
      assert.deepInclude(taken, { code: 2, stdout: "" })
      yield* sealog(["append", ledger], { stdin: '{"type":"door.opened.v1"}\n' })
      const refused = yield* sealog(["export", ledger, path.join(directory, "more.jsonl")])
      assert.deepInclude(refused, { code: 1, stdout: "" })
      assert.isTrue(isParagraph(refused), refused.stderr)
      assert.match(refused.stderr, /row 3 cannot be exported .*found door\.opened\.v1/)
      assert.isFalse(fs.existsSync(path.join(directory, "more.jsonl")))
    })
  )
})
