/** Catch-up takes groups in whole, so that it can end anywhere and go on at the next open. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import * as Hashes from "../../src/core/Hashes.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { opening, small } from "../store/crashKit.ts"
import * as faults from "../store/faults.ts"
import { query, using } from "../store/ledgerFixtures.ts"

const remove = (directory: string) => {
  for (const name of fs.readdirSync(directory)) {
    if (name.startsWith("mirror.sqlite")) fs.rmSync(path.join(directory, name))
  }
}

describe("a catch-up that ends inside a group of more than 256 rows", () => {
  it.effect("goes on at the next open", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const drafts = Array.from({ length: 600 }, (_, nth) => small(`d${nth}`))
      yield* using({ directory }, (ledger) => ledger.appendAll(drafts))
      remove(directory)
      // What a kill -9, a power cut or a full disk does between two batches, at a place of choice.
      let left = 2_000
      const hashes: Hashes.Hashes = {
        ...Hashes.noble,
        blake3Hex: (bytes) => {
          if (left-- === 0) throw new Error("the process ends here")
          return Hashes.noble.blake3Hex(bytes)
        }
      }
      const died = yield* Effect.exit(faults.using({ directory, hashes }, () => Effect.void))
      assert.isTrue(Exit.isFailure(died))
      const [{ n } = { n: -1 }] = query(
        path.join(directory, "mirror.sqlite"),
        "SELECT count(*) AS n FROM sealog_index"
      )
      assert.include([0, 256], n)
      const again = yield* Effect.exit(opening({ directory }))
      assert.isTrue(Exit.isSuccess(again), String(again))
    })
  )
})
