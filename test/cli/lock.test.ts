import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import * as StoreLock from "../../src/store/locking/StoreLock.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { opening, refusal } from "../store/crashKit.ts"
import { ada, claim, inDirectory, keyOf, leave } from "../store/locking.ts"
import { isParagraph, jsonLines, sealog } from "./sealog.ts"

const hexOf = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")

describe("sealog lock", () => {
  it.live("tells a stale marker, and gets past it by the statement of a listed operator", () =>
    Effect.gen(function* () {
      const parent = yield* TestLedger.directory
      const directory = path.join(parent, "l")
      const [key, statement] = [path.join(parent, "key"), path.join(parent, "statement.json")]
      fs.writeFileSync(key, Buffer.alloc(32, 1), { mode: 0o600 })
      yield* opening({ directory })
      yield* leave(StoreLock.ledger({ directory }))
      const text = fs.readFileSync(path.join(directory, "marker"), "utf8")

      const [told, append, quarantined, signed] = yield* Effect.all(
        [
          sealog(["lock", "status", directory, "--json"]),
          sealog(["append", directory], { stdin: '{"type":"a.v1"}' }),
          sealog(["lock", "quarantine", directory]),
          sealog(["lock", "statement", directory, "--key", key])
        ],
        { concurrency: 2 }
      )
      const [status] = jsonLines(told)
      assert.strictEqual(told.code, 1)
      assert.deepInclude(status, { state: "stale", marker: text })
      assert.strictEqual(append.code, 2)
      assert.isTrue(isParagraph(append), append.stderr)
      assert.include(append.stderr, "sealog lock takeover")
      assert.strictEqual(quarantined.code, 2)
      assert.include(quarantined.stderr, "is the marker of a ledger")
      assert.deepInclude(signed, { code: 0, stderr: "" })
      fs.writeFileSync(statement, signed.stdout)
      const made = path.join(parent, "made")
      const [generated] = jsonLines(yield* sealog(["keygen", made, "--json"]))
      const [theirs] = jsonLines(yield* sealog(["lock", "statement", directory, "--key", made]))
      assert.isDefined(generated)
      assert.strictEqual(
        Reflect.get(Object(theirs), "public_key"),
        Reflect.get(Object(generated), "public_key")
      )

      const takeover = (keyHex: string, ...more: ReadonlyArray<string>) =>
        sealog(
          [
            "lock",
            "takeover",
            directory,
            "--statement",
            statement,
            "--operator-key",
            keyHex
          ].concat(more)
        )
      // One after the other: each holds the guard.
      const refused = yield* Effect.all([
        takeover(hexOf(keyOf(2).publicKey), "--deployment", "prod-1"),
        takeover(hexOf(ada.publicKey))
      ])
      assert.deepStrictEqual(
        refused.map(({ code, stderr }) => [code, /refused \((\w+)\)/.exec(stderr)?.[1]]),
        [
          [1, "operator"],
          [1, "deployment"]
        ]
      )
      yield* refusal({ directory })

      const both = ["--operator-key", hexOf(ada.publicKey).toUpperCase()]
      const done = yield* takeover(
        hexOf(keyOf(2).publicKey),
        ...both,
        "--deployment",
        "prod-1",
        "--json"
      )
      assert.deepInclude(done, { code: 0, stderr: "" })
      const [answer] = jsonLines(done)
      const kept = String(Reflect.get(Object(answer), "set_aside"))
      const free = { state: "free", marker: null, age_ms: null }
      assert.deepStrictEqual(answer, { ...free, set_aside: kept })
      assert.strictEqual(fs.readFileSync(kept, "utf8"), text)
      yield* opening({ directory })
    })
  )

  it.live("tells what is hot or free, and quarantines the marker of another store", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const store = inDirectory(directory)
      const run = (...args: ReadonlyArray<string>) =>
        sealog(["lock", ...args, directory, "--name", "books.lock"])
      const hot = yield* StoreLock.StoreLock.use((lock) =>
        lock.exclusively(store, claim, () => run("status"))
      ).pipe(Effect.provide(SealogNode.layerPlatform))
      assert.strictEqual(hot.code, 1)
      assert.match(hot.stdout, /^hot, since \d+ s\n {2}cortex-restore.*\n {2}pid=\d+\n/)
      yield* leave(store)
      const [quarantined] = jsonLines(yield* run("quarantine", "--json"))
      assert.deepInclude(quarantined, { state: "free" })
      const open = path.join(directory, "key")
      fs.writeFileSync(open, Buffer.alloc(32, 1), { mode: 0o644 })
      yield* leave(store)
      const [badKey, notALedger, badName] = yield* Effect.all(
        [
          run("statement", "--key", open),
          sealog(["lock", "status", directory]),
          sealog(["lock", "status", directory, "--name", "../x"])
        ],
        { concurrency: 2 }
      )
      assert.strictEqual(badKey.code, 2)
      assert.match(badKey.stderr, /its mode is 0644, so others can read it/)
      assert.strictEqual(notALedger.code, 2)
      assert.strictEqual(badName.code, 2)
      for (const ended of [badKey, notALedger, badName]) {
        assert.isTrue(isParagraph(ended), ended.stderr)
        assert.strictEqual(ended.stdout, "")
      }
    })
  )
})
