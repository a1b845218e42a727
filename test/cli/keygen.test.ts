import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { sealog } from "./sealog.ts"

const vectors = path.join(import.meta.dirname, "..", "vectors", "cortex")

describe("sealog with keys", () => {
  it.effect(
    "makes one, signs with it, verifies by it, and tells nobody what it is",
    () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        const [key, ledger] = [path.join(directory, "ada.key"), path.join(directory, "doors")]
        const made = yield* sealog(["keygen", key, "--json"])
        assert.strictEqual(made.code, 0, made.stderr)
        const { key_id, public_key } = JSON.parse(made.stdout)
        assert.strictEqual(key_id, public_key)
        const seed = fs.readFileSync(key, "utf8").trim()
        assert.match(seed, /^[0-9a-f]{64}$/)
        assert.strictEqual(fs.statSync(key).mode & 0o777, 0o600)
        const stdin = `{"type":"door.opened.v1","source":{"type":"user"}}\n{"type":"a.v1"}\n`
        const answers = [
          yield* sealog(["keygen", key]),
          yield* sealog(["append", ledger, "--key", key], { stdin }),
          yield* sealog(["verify", ledger]),
          yield* sealog(["verify", ledger, "--public-key", public_key]),
          yield* sealog(["verify", ledger, "--public-key", `${"0".repeat(63)}1`]),
          yield* sealog(["append", ledger], { stdin })
        ]
        assert.deepStrictEqual(
          answers.map(({ code }) => code),
          [2, 0, 0, 0, 2, 2]
        )
        assert.include(answers[0]?.stderr, "something is there already")
        assert.include(answers[2]?.stdout, "the ledger states it")
        assert.notInclude(answers[3]?.stdout, "the ledger states it")
        assert.include(answers[3]?.stdout, "signatures")
        assert.include(answers[5]?.stderr, public_key)
        assert.notInclude(JSON.stringify([made, answers]), seed)
        fs.chmodSync(key, 0o644)
        const open = yield* sealog(["append", ledger, "--key", key], { stdin })
        assert.strictEqual(open.code, 2)
        assert.include(open.stderr, "chmod 600")
        assert.notInclude(JSON.stringify(open), seed)
      }),
    60_000
  )

  it.effect(
    "verifies the original's signed logs",
    () =>
      Effect.gen(function* () {
        const keys = JSON.parse(fs.readFileSync(path.join(vectors, "keys.json"), "utf8"))
        const { public_key } = keys.first
        const clean = path.join(vectors, "log-signed.jsonl")
        const good = yield* sealog(["verify", clean, "--public-key", public_key, "--json"])
        assert.deepStrictEqual([good.code, JSON.parse(good.stdout).failures], [0, []])
        const other = ["verify", clean, "--public-key", keys.second.public_key, "--json"]
        const bad = yield* sealog(other)
        assert.strictEqual(bad.code, 1)
        assert.strictEqual(JSON.parse(bad.stdout).failures[0].reason.kind, "bad_signature")
      }),
    60_000
  )
})
