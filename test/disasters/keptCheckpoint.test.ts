/** A checkpoint that somebody keeps elsewhere, by whatever way it was got, is what `verify` takes. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as Checkpoint from "../../src/core/Checkpoint.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { sealog } from "../cli/sealog.ts"
import { named, using } from "../store/ledgerFixtures.ts"

const made = Effect.gen(function* () {
  const directory = path.join(yield* TestLedger.directory, "l")
  yield* using({ directory }, (ledger) => ledger.appendAll(["a", "b"].map((name) => named(name))))
  return { directory, kept: `${directory}.checkpoint` }
})

describe("A checkpoint kept elsewhere", () => {
  it.live("may be what the command line printed", () =>
    Effect.gen(function* () {
      const { directory, kept } = yield* made
      const printed = yield* sealog(["checkpoint", directory, "--reason", "keep", "--json"])
      fs.writeFileSync(kept, printed.stdout)
      const verified = yield* sealog(["verify", directory, "--checkpoint", kept])
      assert.deepInclude(verified, { code: 0, stderr: "" })
    })
  )

  it.live("may name hundreds of rollbacks", () =>
    Effect.gen(function* () {
      const { directory, kept } = yield* made
      const { hash: _hash, ...one } = yield* using({ directory }, (l) => l.checkpoint("keep"))
      const { leafHash, seq } = one.head
      const rollback = (nth: number) => ({
        operation: `op_${`${nth}`.padStart(26, "0")}`,
        from: { seq: seq + nth, leafHash },
        root: one.root,
        to: { seq, leafHash }
      })
      const rollbacks = Array.from({ length: 400 }, (_, nth) => rollback(nth))
      const tree = { size: one.size, frontier: one.frontier }
      const many = Checkpoint.encode(Checkpoint.make({ ...one, rollbacks, tree }))
      assert.isTrue(many.length > 64 * 1024 && Result.isSuccess(Checkpoint.decode(many)))
      fs.writeFileSync(kept, many)
      const verified = yield* sealog(["verify", directory, "--checkpoint", kept])
      assert.deepInclude(verified, { code: 0, stderr: "" })
    })
  )
})
