import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { using } from "../store/ledgerFixtures.ts"
import { isParagraph, jsonLines, sealog } from "./sealog.ts"

const by = ["--operator", "ada", "--reason", "a bad sector"]

/** A ledger of three rows whose second is damaged, its mirror gone. */
const damaged = Effect.gen(function* () {
  const directory = path.join(yield* TestLedger.directory, "ledger")
  yield* using({ directory }, (ledger) =>
    Effect.forEach([1, 2, 3], (n) => ledger.append({ type: "row.added.v1", payload: n }), {
      discard: true
    })
  )
  const segment = path.join(directory, "segments", "0000000000000001.jsonl")
  const bytes = fs.readFileSync(segment)
  bytes[bytes.indexOf('"payload":2') + 10] = 0x37
  fs.writeFileSync(segment, bytes)
  for (const end of ["", "-wal", "-shm"]) {
    fs.rmSync(path.join(directory, `mirror.sqlite${end}`), { force: true })
  }
  return { directory, segment, bytes }
})

describe("sealog repair", () => {
  it.live("shows its plan first, carries it out when told to, and says what it kept", () =>
    Effect.gen(function* () {
      const { bytes, directory, segment } = yield* damaged
      const refused = yield* sealog(["replay", directory])
      assert.deepInclude(refused, { code: 1, stdout: "" })
      const typo = yield* sealog(["repair", directory, ...by, "--public-key", "ada"])
      assert.deepInclude(typo, { code: 2, stdout: "" })
      assert.include(typo.stderr, "not a public key")
      const shown = yield* sealog(["repair", directory, ...by])
      assert.strictEqual(shown.code, 1)
      assert.match(shown.stdout, /row 2.*would keep rows 1 to 1, and set aside .*from byte \d+ on/)
      assert.match(shown.stderr, /--yes/)
      assert.isTrue(fs.readFileSync(segment).equals(bytes))
      const done = yield* sealog(["repair", directory, ...by, "--yes", "--json"])
      assert.deepInclude(done, { code: 0, stderr: "" })
      const [report] = jsonLines(done)
      assert.deepInclude(Reflect.get(Object(report), "operation"), {
        kind: "repair",
        operator: "ada",
        reason: "a bad sector",
        state: "finished",
        outcome: "ok"
      })
      const again = yield* sealog(["repair", directory, ...by])
      assert.strictEqual(again.code, 0)
      assert.match(again.stdout, /nothing to repair/)
      const verified = yield* sealog(["verify", directory])
      assert.match(verified.stdout, /^intact: 1 rows/)
    })
  )

  it.live("makes a mirror anew, and says where it cannot", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "ledger")
      yield* using({ directory }, (ledger) => ledger.append({ type: "row.added.v1" }))
      const done = yield* sealog(["rebuild", directory, ...by])
      assert.deepInclude(done, { code: 0, stderr: "" })
      assert.match(done.stdout, /^made the mirror anew from 1 rows; operation op_/)
      fs.writeFileSync(path.join(directory, "mirror.sqlite"), "x".repeat(5_000))
      const garbage = yield* sealog(["rebuild", directory, ...by])
      assert.deepInclude(garbage, { code: 2, stdout: "" })
      assert.isTrue(isParagraph(garbage), garbage.stderr)
      const repaired = yield* sealog(["repair", directory, ...by, "--yes"])
      assert.deepInclude(repaired, { code: 0, stderr: "" })
      const verified = yield* sealog(["replay", directory])
      assert.strictEqual(verified.code, 0)
    })
  )
})
