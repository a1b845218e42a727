import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { isParagraph, jsonLines, sealog } from "./sealog.ts"

const ledgerIn = Effect.map(TestLedger.directory, (directory) => path.join(directory, "ledger"))

/** The rows that the journal holds, as values. */
const rowsOf = (ledger: string): ReadonlyArray<{ readonly payload: unknown }> => {
  const segments = path.join(ledger, "segments")
  return fs
    .readdirSync(segments)
    .toSorted()
    .flatMap((name) => fs.readFileSync(path.join(segments, name), "utf8").split("\n"))
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line))
}

const payloads = (ledger: string) => rowsOf(ledger).map(({ payload }) => payload)

const draft = (payload: unknown, rest: object = {}) =>
  JSON.stringify({ type: "n.counted.v1", payload, ...rest })

const hash = /^[0-9a-f]{64}$/

describe("sealog append", () => {
  it.live("answers each draft with its position and at last with the count", () =>
    Effect.gen(function* () {
      const ledger = yield* ledgerIn
      const digits = '{"type":"n.counted.v1","payload":12345678901234567890.10,"keys":{"a":"b"}}'
      const ended = yield* sealog(["append", ledger, "--json"], {
        stdin: `${draft(1)}\r\n${digits}\n${draft({ "\u2028": "\u0085" })}`
      })
      assert.deepInclude(ended, { code: 0, stderr: "" })
      const lines = jsonLines(ended)
      assert.lengthOf(lines, 4)
      for (const [nth, line] of lines.slice(0, 3).entries()) {
        assert.isObject(line)
        assert.hasAllKeys(line, ["tag", "seq", "id", "event_hash", "leaf_hash"])
        assert.deepInclude(line, { tag: "Appended", seq: nth + 1 })
        assert.match(Reflect.get(line ?? {}, "leaf_hash"), hash)
        assert.match(Reflect.get(line ?? {}, "event_hash"), hash)
      }
      assert.deepStrictEqual(lines[3], { appended: 3, stopped_at: null })
      const [segment] = fs.readdirSync(path.join(ledger, "segments"))
      const text = fs.readFileSync(path.join(ledger, "segments", segment ?? ""), "utf8")
      assert.include(text, '"payload":12345678901234567890.10,')
      const plain = yield* sealog(["append", ledger, "--type", "n.counted.v1", "--payload"], {
        stdin: '[1,\t2]\n"text"\n'
      })
      assert.deepStrictEqual(plain, { code: 0, stdout: "appended 2 rows\n", stderr: "" })
      assert.deepStrictEqual(payloads(ledger).slice(3), [[1, 2], "text"])
    })
  )

  it.live("stops at the first bad line, keeps the rest before it, and goes on with --skip", () =>
    Effect.gen(function* () {
      const ledger = yield* ledgerIn
      const stdin = `${draft(1)}\n${draft(2)}\n{"type":"n.counted.v1","payload":1e400}\n${draft(4)}\n`
      const ended = yield* sealog(["append", ledger, "--json"], { stdin })
      assert.strictEqual(ended.code, 1)
      assert.isTrue(isParagraph(ended), ended.stderr)
      assert.include(ended.stderr, "line 3 cannot be appended: at /payload")
      assert.include(ended.stderr, "--skip 2, or leave it out with --skip 3")
      assert.notInclude(ended.stderr, "1e400")
      const last = jsonLines(ended).at(-1)
      assert.deepInclude(last, { appended: 2 })
      const stop: unknown = Reflect.get(last ?? {}, "stopped_at")
      assert.deepInclude(stop, { line: 3 })
      assert.deepStrictEqual(payloads(ledger), [1, 2])
      const rest = yield* sealog(["append", ledger, "--skip", "3"], { stdin })
      assert.deepStrictEqual(rest, { code: 0, stdout: "appended 1 row\n", stderr: "" })
      assert.deepStrictEqual(payloads(ledger), [1, 2, 4])
    })
  )

  it.live("writes nothing behind a line that only the ledger can refuse", () =>
    Effect.gen(function* () {
      const ledger = yield* ledgerIn
      const id = "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV"
      const stdin = [
        draft("first", { id }),
        draft("first", { id }),
        draft("child", { parent_id: id }),
        draft("other", { id }),
        draft("orphan", { parent_id: "evt_01ARZ3NDEKTSV4RRFFQ69G5FAW" }),
        draft("behind")
      ].join("\n")
      const conflict = yield* sealog(["append", ledger, "--json"], { stdin })
      assert.strictEqual(conflict.code, 1)
      assert.isTrue(isParagraph(conflict), conflict.stderr)
      assert.include(conflict.stderr, "line 4")
      const tags = jsonLines(conflict).map((line) => Reflect.get(line ?? {}, "tag"))
      assert.deepStrictEqual(tags, ["Appended", "AlreadyAppended", "Appended", undefined])
      assert.deepInclude(jsonLines(conflict).at(-1), { appended: 2 })
      assert.deepStrictEqual(payloads(ledger), ["first", "child"])
      const orphan = yield* sealog(["append", ledger, "--skip", "4"], { stdin })
      assert.deepInclude(orphan, { code: 1, stdout: "appended 0 rows\n" })
      assert.include(orphan.stderr, "line 5 names the parent")
      assert.include(orphan.stderr, "Nothing was appended")
      const user = draft(1, { source: { type: "user" } })
      const refused = yield* sealog(["append", ledger], { stdin: user })
      assert.strictEqual(refused.code, 1)
      assert.include(refused.stderr, "refused line 1:")
      assert.deepStrictEqual(payloads(ledger), ["first", "child"])
    })
  )

  it.live("answers as lines come, and an interruption leaves what was acknowledged", () =>
    Effect.gen(function* () {
      const ledger = yield* ledgerIn
      let answers = 0
      const ended = yield* sealog(["append", ledger, "--json"], {
        drive: (child) => {
          child.stdin.write(`${draft(0)}\n`)
          child.stdout.on("data", (part: Buffer) => {
            const more = part.toString("utf8").split('"tag":"Appended"').length - 1
            answers += more
            // The report that follows comes by itself, and a second signal would kill.
            if (more === 0) return
            // Not `child.kill`: on Deno its caller is then told of the signal, not of the code.
            if (answers === 3) process.kill(child.pid, "SIGINT")
            else child.stdin.write(`${draft(answers)}\n`)
          })
        }
      })
      assert.strictEqual(ended.code, 130)
      assert.include(ended.stderr, "Go on with --skip 3")
      assert.deepStrictEqual(jsonLines(ended).at(-1), {
        appended: 3,
        stopped_at: { line: 4, reason: "interrupted" }
      })
      assert.deepStrictEqual(payloads(ledger), [0, 1, 2])
    })
  )

  it.live("ends without a stack trace when its answers are not read any more", () =>
    Effect.gen(function* () {
      const ledger = yield* ledgerIn
      const ended = yield* sealog(["append", ledger, "--json"], {
        drive: (child) => {
          child.stdin.write(`${draft(0)}\n`)
          child.stdout.once("data", () => {
            child.stdout.destroy()
            for (let n = 1; n < 5_000; n++) child.stdin.write(`${draft(n)}\n`)
            child.stdin.end()
          })
        }
      })
      assert.strictEqual(ended.code, 2)
      assert.isTrue(isParagraph(ended), ended.stderr)
      const [, done] = /Go on with --skip (\d+)/.exec(ended.stderr) ?? []
      assert.lengthOf(payloads(ledger), Number(done))
      assert.isBelow(Number(done), 5_000)
    })
  )

  it.live("refuses a ledger in use and a directory of another kind, and writes nothing", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const ledger = path.join(directory, "ledger")
      const busy = yield* Effect.provide(
        sealog(["append", ledger], { stdin: draft(1) }),
        TestLedger.layer({ directory: ledger })
      )
      assert.deepInclude(busy, { code: 2, stdout: "" })
      assert.isTrue(isParagraph(busy), busy.stderr)
      assert.include(busy.stderr, "is in use")
      const foreign = yield* sealog(["append", directory], { stdin: draft(1) })
      assert.deepInclude(foreign, { code: 2, stdout: "" })
      assert.isTrue(isParagraph(foreign), foreign.stderr)
      assert.deepStrictEqual(fs.readdirSync(directory), ["ledger"])
      assert.deepStrictEqual(payloads(ledger), [])
      const noFile = yield* sealog(["append", ledger], { stdinPath: directory })
      assert.strictEqual(noFile.code, 2)
      assert.isTrue(isParagraph(noFile), noFile.stderr)
      assert.include(noFile.stderr, "it is a directory")
      const usage = yield* sealog(["append", ledger, "--payload"])
      assert.deepInclude(usage, { code: 2, stdout: "" })
      assert.isTrue(isParagraph(usage), usage.stderr)
    })
  )
})
