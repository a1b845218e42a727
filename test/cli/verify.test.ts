import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Ledger from "../../src/store/Ledger.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { other, own, using } from "../store/signedKit.ts"
import { isParagraph, jsonLines, sealog } from "./sealog.ts"

const vectors = fileURLToPath(new URL("../vectors/cortex/", import.meta.url))

const drafts = Array.from({ length: 6 }, (_, n) => ({ type: "n.counted.v1", payload: { n } }))

/** A closed ledger of six rows. */
const ledgerOfSix = Effect.gen(function* () {
  const ledger = path.join(yield* TestLedger.directory, "ledger")
  yield* Ledger.Ledger.use((opened) => opened.appendAll(drafts)).pipe(
    Effect.provide(TestLedger.layer({ directory: ledger }), { local: true })
  )
  return ledger
})

const segmentOf = (ledger: string): string =>
  path.join(ledger, "segments", "0000000000000001.jsonl")

/** Every file of a directory but SQLite's own notes, with its bytes. */
const contents = (directory: string): ReadonlyArray<readonly [string, string]> =>
  fs
    .readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/-(wal|shm)$/.test(entry.name))
    .map((entry) => path.join(entry.parentPath, entry.name))
    .toSorted()
    .map((file) => [file, fs.readFileSync(file, "hex")])

const flipByte = (file: string, needle: string): number => {
  const bytes = fs.readFileSync(file)
  const at = bytes.indexOf(needle)
  bytes[at] = (bytes[at] ?? 0) ^ 1
  fs.writeFileSync(file, bytes)
  return at
}

describe("sealog verify", () => {
  it.live("reports on a file what the original's audit reports, and exits 1 on a finding", () =>
    Effect.gen(function* () {
      const expected: { files: ReadonlyArray<{ file: string; expect: { audit: object } }> } =
        JSON.parse(fs.readFileSync(path.join(vectors, "corrupt/expected.json"), "utf8"))
      for (const [name, code] of [
        ["corrupt/several.jsonl", 1],
        ["corrupt/blank-lines-and-damage.jsonl", 1],
        ["corrupt/clean.jsonl", 0]
      ] as const) {
        const file = path.join(vectors, name)
        const ended = yield* sealog(["verify", file, "--json"])
        assert.deepInclude(ended, { code, stderr: "" })
        const audit = expected.files.find((one) => one.file === name)?.expect.audit
        assert.deepStrictEqual(jsonLines(ended), [{ ...audit, path: file }], name)
      }
    })
  )

  it.live("reports on a ledger its head, checks and what is not proven, and changes nothing", () =>
    Effect.gen(function* () {
      const ledger = yield* ledgerOfSix
      const before = contents(ledger)
      const ended = yield* sealog(["verify", ledger, "--json"])
      assert.deepInclude(ended, { code: 0, stderr: "" })
      const [report] = jsonLines(ended)
      assert.isObject(report)
      assert.hasAllKeys(report, [
        "path",
        "rows_scanned",
        "failures",
        "head",
        "checks",
        "remarks",
        "not_proven"
      ])
      const last = JSON.parse(
        fs.readFileSync(segmentOf(ledger), "utf8").trim().split("\n")[5] ?? ""
      )
      assert.deepInclude(report, { path: ledger, rows_scanned: 6, failures: [], remarks: [] })
      const { head, checks, not_proven } = Object.assign(
        { head: {}, checks: {}, not_proven: [] },
        report
      )
      assert.deepInclude(head, { seq: 6, id: last.id, event_hash: last.event_hash })
      assert.hasAllKeys(head, ["seq", "leaf_hash", "id", "event_hash"])
      assert.deepInclude(checks, { lines: "Passed", parity: "Passed", signatures: "Skipped" })
      assert.isNotEmpty(not_proven)
      assert.deepStrictEqual(contents(ledger), before)
      const alone = yield* sealog(["verify", ledger, "--journal-only"])
      assert.strictEqual(alone.code, 0)
      assert.match(alone.stdout, /^intact: 6 rows of .*\nhead: 6:[0-9a-f]{64}\n/)
      assert.match(alone.stdout, /\nnot checked: .*parity/)
      assert.match(alone.stdout, /\nnot proven: that no rows were cut off the end/)
    })
  )

  it.live("names every damaged row, whichever leg was changed", () =>
    Effect.gen(function* () {
      const ledger = yield* ledgerOfSix
      flipByte(segmentOf(ledger), '"n":1')
      const at = flipByte(segmentOf(ledger), '"n":4')
      const human = yield* sealog(["verify", ledger])
      assert.deepInclude(human, { code: 1, stderr: "" })
      assert.match(human.stdout, /^DAMAGED: \d+ failures in 6 rows of /)
      assert.match(human.stdout, /\nrow 2[ ,(]/)
      assert.match(human.stdout, /\nrow 5[ ,(]/)
      const [report] = jsonLines(yield* sealog(["verify", ledger, "--json"]))
      const failures: ReadonlyArray<{ line: number; seq: number; offset: number }> = Reflect.get(
        report ?? {},
        "failures"
      )
      assert.sameMembers([...new Set(failures.map(({ line }) => line))], [2, 5])
      const fifth = failures.find(({ seq }) => seq === 5)
      assert.isTrue(fifth !== undefined && fifth.offset < at)
    })
  )

  it.live("works beside a writer", () =>
    Effect.gen(function* () {
      const ledger = path.join(yield* TestLedger.directory, "ledger")
      const ended = yield* Ledger.Ledger.use((opened) =>
        Effect.andThen(opened.appendAll(drafts), sealog(["verify", ledger]))
      ).pipe(Effect.provide(TestLedger.layer({ directory: ledger })))
      assert.strictEqual(ended.code, 0, ended.stderr)
      assert.match(ended.stdout, /^intact: 6 rows/)
    })
  )

  it.live("holds rows that were cut to the key that is named", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      for (const place of [
        { directory: path.join(directory, "ledger") },
        { file: path.join(directory, "log.jsonl") }
      ]) {
        const [cut] = yield* using({ ...place, attestor: own }, (ledger) =>
          Effect.gen(function* () {
            const checkpoint = yield* ledger.checkpoint("no row")
            for (const _ of [1, 2]) yield* ledger.append({ type: "cortex.event.decision.v1" })
            return (yield* ledger.rollback(checkpoint, { operator: "ada", reason: "no" })).cut
          })
        )
        const signed = ["verify", cut?.path ?? "", "--public-key"]
        const right = yield* sealog([...signed, own.publicKey])
        assert.deepInclude(right, { code: 0, stderr: "" })
        assert.match(right.stdout, /\npassed: .*signatures/)
        const wrong = yield* sealog([...signed, other.publicKey])
        assert.deepInclude(wrong, { code: 1, stderr: "" })
        assert.match(wrong.stdout, /row 2.*bad_signature/)
      }
    })
  )

  it.live("holds a ledger against a checkpoint that was kept, and verifies what was cut", () =>
    Effect.gen(function* () {
      const ledger = path.join(yield* TestLedger.directory, "ledger")
      const kept = path.join(path.dirname(ledger), "kept.json")
      const [cut] = yield* Ledger.Ledger.use((opened) =>
        Effect.gen(function* () {
          yield* opened.appendAll(drafts)
          const checkpoint = yield* opened.checkpoint("to keep")
          fs.copyFileSync(path.join(ledger, "checkpoints", "0000000000000001.json"), kept)
          yield* opened.append({ type: "row.added.v1" })
          const done = yield* opened.rollback(checkpoint, { operator: "ada", reason: "no" })
          return done.cut
        })
      ).pipe(Effect.provide(TestLedger.layer({ directory: ledger })))
      const ended = yield* sealog(["verify", ledger, "--checkpoint", kept])
      assert.deepInclude(ended, { code: 0, stderr: "" })
      assert.match(ended.stdout, /not proven: that no rows behind row 6 were cut off/)
      const part = yield* sealog(["verify", cut?.path ?? ""])
      assert.deepInclude(part, { code: 0, stderr: "" })
      assert.match(part.stdout, /^intact: 1 rows/)
      assert.match(part.stdout, /not proven: what came before the first row/)
      fs.truncateSync(segmentOf(ledger), 0)
      const gone = yield* sealog(["verify", ledger, "--journal-only", "--checkpoint", kept])
      assert.strictEqual(gone.code, 1)
      assert.match(gone.stdout, /kept_checkpoint_beyond/)
      const none = yield* sealog(["verify", ledger, "--checkpoint", segmentOf(ledger)])
      assert.strictEqual(none.code, 2)
      assert.isTrue(isParagraph(none), none.stderr)
    })
  )

  it.live("refuses what is neither a ledger nor a file, in one paragraph", () =>
    Effect.gen(function* () {
      const ledger = yield* ledgerOfSix
      const directory = path.dirname(ledger)
      const link = path.join(directory, "link.jsonl")
      fs.symlinkSync(path.join(vectors, "corrupt/clean.jsonl"), link)
      for (const [target, said] of [
        [path.join(directory, "missing"), "nothing is there"],
        [directory, "neither ledger.json nor segments"],
        [link, "symbolic link"],
        [segmentOf(ledger), `sealog verify ${ledger}`]
      ] as const) {
        const ended = yield* sealog(["verify", target, "--json"])
        assert.deepInclude(ended, { code: 2, stdout: "" }, target)
        assert.isTrue(isParagraph(ended), ended.stderr)
        assert.include(ended.stderr, said)
      }
      assert.deepStrictEqual(fs.readdirSync(directory).toSorted(), ["ledger", "link.jsonl"])
    })
  )
})
