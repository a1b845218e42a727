import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Ledger from "../../src/store/Ledger.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { isParagraph, jsonLines, sealog } from "./sealog.ts"

const drafts = Array.from({ length: 12 }, (_, n) => ({
  type: "n.counted.v1",
  payload: { n, text: "\u2028 é 😀" }
}))

/** Run beside a writer that has appended twelve rows. */
const besideWriter = <A, E, R>(use: (ledger: string) => Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const ledger = path.join(yield* TestLedger.directory, "ledger")
    return yield* Ledger.Ledger.use((opened) =>
      Effect.andThen(opened.appendAll(drafts), use(ledger))
    ).pipe(Effect.provide(TestLedger.layer({ directory: ledger })))
  })

const textOf = (ledger: string): string =>
  fs.readFileSync(path.join(ledger, "segments", "0000000000000001.jsonl"), "utf8")

describe("sealog tail, show, path and backup", () => {
  it.live("tail prints the newest rows byte for byte, beside a writer", () =>
    besideWriter(
      Effect.fnUntraced(function* (ledger) {
        const stored = textOf(ledger).split("\n")
        for (const [args, from] of [
          [[], 2],
          [["-n", "3"], 9],
          [["-n", "100", "--json"], 0]
        ] as const) {
          const ended = yield* sealog(["tail", ledger, ...args])
          assert.deepStrictEqual(ended, {
            code: 0,
            stdout: stored.slice(from).join("\n"),
            stderr: ""
          })
        }
      })
    )
  )

  it.live("show prints one row by its number or id, and says which one is not there", () =>
    besideWriter(
      Effect.fnUntraced(function* (ledger) {
        const line = textOf(ledger).split("\n")[4] ?? ""
        const id: string = JSON.parse(line).id
        for (const ref of ["5", id.toLowerCase()]) {
          const ended = yield* sealog(["show", ledger, ref])
          assert.deepStrictEqual(ended, { code: 0, stdout: `${line}\n`, stderr: "" })
        }
        for (const [ref, code] of [
          ["13", 1],
          ["evt_01ARZ3NDEKTSV4RRFFQ69G5FAV", 1],
          ["five", 2]
        ] as const) {
          const ended = yield* sealog(["show", ledger, ref])
          assert.deepInclude(ended, { code, stdout: "" })
          assert.isTrue(isParagraph(ended), ended.stderr)
        }
      })
    )
  )

  it.live("path prints a row and its ancestors, root first, byte for byte, beside a writer", () =>
    besideWriter(
      Effect.fnUntraced(function* (ledger) {
        const opened = yield* Ledger.Ledger
        const root = yield* opened.get(3)
        const child = yield* opened.append({ type: "n.counted.v1", parentId: root.id })
        yield* opened.append({ type: "n.counted.v1", parentId: root.id })
        const leaf = yield* opened.append({ type: "n.counted.v1", parentId: child.id })
        const stored = textOf(ledger).split("\n")
        const lines = [3, 13, 15].map((seq) => `${stored[seq - 1]}\n`).join("")
        for (const args of [["15"], [leaf.id.toLowerCase(), "--json"]]) {
          const ended = yield* sealog(["path", ledger, ...args])
          assert.deepStrictEqual(ended, { code: 0, stdout: lines, stderr: "" })
        }
        for (const [ref, code] of [
          ["16", 1],
          ["evt_01ARZ3NDEKTSV4RRFFQ69G5FAV", 1],
          ["five", 2]
        ] as const) {
          const ended = yield* sealog(["path", ledger, ref])
          assert.deepInclude(ended, { code, stdout: "" })
          assert.isTrue(isParagraph(ended), ended.stderr)
        }
      })
    )
  )

  it.live("backup copies what was acknowledged; its copy verifies, and is never overwritten", () =>
    besideWriter(
      Effect.fnUntraced(function* (ledger) {
        const to = `${ledger}-copy`
        const ended = yield* sealog(["backup", ledger, to, "--json"])
        assert.deepInclude(ended, { code: 0, stderr: "" })
        const [report] = jsonLines(ended)
        const bytes = Buffer.byteLength(textOf(ledger))
        assert.deepInclude(report, { path: to, rows: 12, bytes })
        assert.hasAllKeys(Reflect.get(report ?? {}, "head"), ["seq", "leaf_hash"])
        assert.strictEqual(textOf(to), textOf(ledger))
        const verified = yield* sealog(["verify", to])
        assert.match(verified.stdout, /^intact: 12 rows/)
        const again = yield* sealog(["backup", ledger, to])
        assert.deepInclude(again, { code: 2, stdout: "" })
        assert.isTrue(isParagraph(again), again.stderr)
      })
    )
  )

  it.live("a reader that goes away ends the program without a word", () =>
    besideWriter(
      Effect.fnUntraced(function* (ledger) {
        const ended = yield* sealog(["tail", ledger], {
          drive: (child) => {
            child.stdout.destroy()
            child.stdin.end()
          }
        })
        assert.deepStrictEqual(ended, { code: 2, stdout: "", stderr: "" })
      })
    )
  )

  it.live.skipIf(!fs.existsSync("/dev/full"))("a full disk behind standard output is told", () =>
    besideWriter(
      Effect.fnUntraced(function* (ledger) {
        for (const args of [["tail", ledger], ["--help"]]) {
          const ended = yield* sealog(args, { stdout: "/dev/full" })
          assert.strictEqual(ended.code, 2)
          assert.isTrue(isParagraph(ended), ended.stderr)
          assert.include(ended.stderr, "ENOSPC")
        }
      })
    )
  )
})
