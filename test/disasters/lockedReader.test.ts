/** A reader never takes a mirror that is locked for a moment for a file that lies still. */
import { DatabaseSync } from "node:sqlite"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import { Reader } from "../../src/store/reading/Reader.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { named, using } from "../store/ledgerFixtures.ts"

describe("a reader that opens while another hand holds the mirror exclusively", () => {
  it.live("waits or is refused, but never reads it as a file that lies still", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory }, (ledger) => ledger.append(named("a")))
      const db = new DatabaseSync(path.join(directory, "mirror.sqlite"))
      db.exec("PRAGMA locking_mode=EXCLUSIVE")
      db.exec("BEGIN EXCLUSIVE; CREATE TABLE lock (x); COMMIT")
      const read = Effect.gen(function* () {
        const reader = yield* Reader
        db.close()
        return yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            yield* ledger.append(named("b"))
            return (yield* reader.head).seq
          })
        )
      }).pipe(Effect.provide(SealogNode.layerReader({ directory })))
      const exit = yield* Effect.exit(read)
      if (db.isOpen) db.close()
      if (Exit.isSuccess(exit)) assert.strictEqual(exit.value, 2)
    })
  )
})
