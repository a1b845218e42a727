import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as Json from "../../src/core/CanonicalJson.ts"
import * as Manifest from "../../src/core/Manifest.ts"
import * as Ledger from "../../src/store/Ledger.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { meddle } from "../store/ledgerFixtures.ts"
import { isParagraph, jsonLines, sealog } from "./sealog.ts"

const drafts = (...names: ReadonlyArray<string>) =>
  names.map((name) => ({ type: "n.counted.v1", payload: name }))

const append = (directory: string, ...names: ReadonlyArray<string>) =>
  Ledger.Ledger.use((ledger) => ledger.appendAll(drafts(...names))).pipe(
    Effect.provide(TestLedger.layer({ directory, seed: names.join().length }))
  )

const place = Effect.map(TestLedger.directory, (directory) => path.join(directory, "ledger"))

const hex = /^[0-9a-f]{64}$/

const by = ["--operator", "ada", "--reason", "a wrong\u001b turn", "--correlation-id", "7"]

describe("sealog checkpoint, checkpoints, rollback and operations", () => {
  it.live("makes checkpoints, goes back to one, and lists both", () =>
    Effect.gen(function* () {
      const ledger = yield* place
      yield* append(ledger, "a", "b")
      const one = yield* sealog(["checkpoint", ledger, "--reason", "before", "--json"])
      assert.deepInclude(one, { code: 0, stderr: "" })
      const file = path.join(ledger, "checkpoints", "0000000000000001.json")
      const onDisk: unknown = JSON.parse(fs.readFileSync(file, "utf8"))
      assert.deepStrictEqual(jsonLines(one), [onDisk])
      yield* append(ledger, "c", "d", "e")
      const two = yield* sealog(["checkpoint", ledger, "--reason", "after"])
      assert.match(two.stdout, /^checkpoint 2 at row 5:[0-9a-f]{64}, root [0-9a-f]{64}\n$/)

      const listed = yield* sealog(["checkpoints", ledger])
      assert.deepInclude(listed, { code: 0, stderr: "" })
      const lines = listed.stdout.trimEnd().split("\n")
      assert.strictEqual(lines.length, 2)
      assert.match(lines[0] ?? "", /^1 {2}\S+ +2 rows {2}root [0-9a-f]{64} {2}before$/)
      assert.match(lines[1] ?? "", /^2 {2}\S+ +5 rows {2}root [0-9a-f]{64} {2}after$/)

      const back = yield* sealog(["rollback", ledger, "1", ...by])
      assert.deepInclude(back, { code: 0, stderr: "" })
      const [said = "", operation = "", kept = ""] = back.stdout.split("\n")
      assert.match(
        said,
        /^rolled back to checkpoint 1 at row 2:[0-9a-f]{64}; cut 3 rows, \d+ bytes$/
      )
      assert.match(operation, /^operation op_[0-9A-Z]{26}$/)
      const keptAt = kept.replace("kept ", "")
      assert.strictEqual(fs.readFileSync(keptAt, "utf8").split("\n").length - 1, 3)

      const done = yield* sealog(["operations", ledger])
      assert.deepInclude(done, { code: 0, stderr: "" })
      assert.match(
        done.stdout,
        /^op_\S+ {2}\S+Z {2}rollback {2}ok {2}5 -> row 2 {2}cut 3 rows, \d+ bytes {2}ada {2}a wrong\\u001b turn\n$/
      )
      const [all] = jsonLines(yield* sealog(["operations", ledger, "--json"]))
      assert.isArray(all)
      assert.strictEqual(Reflect.get(Object(all), "length"), 1)
      const [first] = Array.isArray(all) ? all : []
      assert.deepInclude(first, {
        id: operation.replace("operation ", ""),
        kind: "rollback",
        operator: "ada",
        reason: "a wrong\u001b turn",
        correlation_id: "7",
        state: "finished",
        outcome: "ok",
        error_class: null
      })
      assert.hasAllKeys(Reflect.get(Object(first), "head"), ["seq", "leaf_hash"])
      assert.nestedPropertyVal(first, "cut[0].path", keptAt)
      assert.deepStrictEqual(jsonLines(yield* sealog(["checkpoints", ledger, "--json"])), [
        [onDisk]
      ])
    })
  )

  it.live("ends with 1 where a checkpoint does not fit, and records that", () =>
    Effect.gen(function* () {
      const ledger = yield* place
      yield* append(ledger, "a")
      yield* sealog(["checkpoint", ledger, "--reason", "one"])
      const missing = yield* sealog(["rollback", ledger, "7", ...by])
      assert.deepInclude(missing, { code: 1, stdout: "" })
      assert.include(missing.stderr, "checkpoint_not_found")
      fs.writeFileSync(path.join(ledger, "checkpoints", "0000000000000001.json"), "{}")
      const damaged = yield* sealog(["rollback", ledger, "1", ...by, "--json"])
      assert.deepInclude(damaged, { code: 1, stdout: "" })
      assert.include(damaged.stderr, "integrity_mismatch")
      for (const ended of [missing, damaged]) assert.isTrue(isParagraph(ended), ended.stderr)
      const { stdout } = yield* sealog(["operations", ledger])
      const lines = stdout.trimEnd().split("\n")
      assert.deepStrictEqual(
        lines.map((line) => /checkpoint_not_found|integrity_mismatch/.exec(line)?.[0]),
        ["checkpoint_not_found", "integrity_mismatch"]
      )
      assert.match(
        lines[0] ?? "",
        /rollback {2}checkpoint_not_found {2}row 1 {2}cut nothing {2}ada/
      )
    })
  )

  it.live("lists beside a writer, and cannot change what is in use", () =>
    Effect.gen(function* () {
      const directory = yield* place
      const use = Ledger.Ledger.use((ledger) =>
        Effect.gen(function* () {
          yield* ledger.appendAll(drafts("a", "b"))
          yield* ledger.checkpoint("one")
          const listed = yield* sealog(["checkpoints", directory, "--json"])
          const [all] = jsonLines(listed)
          assert.nestedPropertyVal(all, "[0].size", 2)
          const operations = yield* sealog(["operations", directory, "--json"])
          assert.deepStrictEqual(operations, { code: 0, stdout: "[]\n", stderr: "" })
          for (const args of [
            ["checkpoint", directory, "--reason", "two"],
            ["rollback", directory, "1", ...by]
          ]) {
            const ended = yield* sealog(args)
            assert.deepInclude(ended, { code: 2, stdout: "" })
            assert.isTrue(isParagraph(ended), ended.stderr)
          }
          assert.strictEqual((yield* ledger.checkpoints).length, 1)
        })
      )
      yield* use.pipe(Effect.provide(TestLedger.layer({ directory })))
    })
  )

  it.live("cannot run without a ledger, a reason or a number, and makes nothing", () =>
    Effect.gen(function* () {
      const ledger = yield* place
      const ran = yield* Effect.forEach(
        [
          ["checkpoint", ledger, "--reason", "r"],
          ["checkpoints", ledger],
          ["operations", ledger],
          ["manifest", ledger],
          ["rollback", ledger, "1", ...by],
          ["checkpoint", ledger],
          ["rollback", ledger, "one", ...by],
          ["rollback", ledger, "1", "--operator", "ada"]
        ],
        (args) => sealog(args),
        { concurrency: 2 }
      )
      for (const ended of ran) {
        assert.deepInclude(ended, { code: 2, stdout: "" })
        assert.match(ended.stderr, /^sealog: /)
      }
      assert.isFalse(fs.existsSync(ledger))
      yield* append(ledger, "a")
      const empty = yield* sealog(["checkpoint", ledger, "--reason", " "])
      assert.deepInclude(empty, { code: 2, stdout: "" })
      assert.isTrue(isParagraph(empty), empty.stderr)
    })
  )
})

describe("sealog manifest", () => {
  it.live(
    "says what the ledger's own says, writes nothing, and ends with 1 where it is broken",
    () =>
      Effect.gen(function* () {
        const ledger = yield* place
        yield* append(ledger, "a", "b")
        const file = path.join(ledger, "manifest.json")
        const own = Result.getOrThrow(Manifest.decode(fs.readFileSync(file, "utf8")))
        fs.rmSync(file)
        const ended = yield* sealog(["manifest", ledger, "--json"])
        assert.deepInclude(ended, { code: 0, stderr: "" })
        const [printed] = jsonLines(ended)
        const text = `${Result.getOrThrow(Json.fromValue(printed))}\n`
        assert.isTrue(Manifest.isSame(Result.getOrThrow(Manifest.decode(text)), own))
        const human = yield* sealog(["manifest", ledger])
        assert.match(
          human.stdout,
          /^ledger +ledger, at \S+\nhead +2:[0-9a-f]{64}\nroot +[0-9a-f]{64}\nrows +2, \d+ bytes in 1 files\n +2 n\.counted\.v1\n/
        )
        assert.notInclude(human.stdout, "BROKEN")
        assert.isFalse(fs.existsSync(file))
        meddle(path.join(ledger, "mirror.sqlite"), "UPDATE events SET prev_event_hash = 'x'")
        const broken = yield* sealog(["manifest", ledger])
        assert.strictEqual(broken.code, 1)
        assert.match(broken.stdout, /\nBROKEN +chain_valid\n$/)
        assert.match(own.integrity.hash, hex)
      })
  )
})
