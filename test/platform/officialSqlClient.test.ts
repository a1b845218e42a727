/**
 * The newest official client for `node:sqlite` in the place of ours: what the ledger asks of a
 * `SqlClient` is no more than the interface says. It was released for a beta of effect, whose
 * modules under `effect/unstable/` are plain `effect/` now; the hook below maps the names. It has
 * no streams, and no Deno: it calls what Deno's `node:sqlite` does not have.
 */
import { registerHooks } from "node:module"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { SqlClient } from "effect/sql"
import * as Ledger from "../../src/store/Ledger.ts"
import { ReadSql } from "../../src/store/mirror/ReadSql.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { sqlClientSuite } from "./sqlClientSuite.ts"

const isDeno = "deno" in process.versions

// The package's own types name modules that are gone, so its layer is typed here.
type OfficialLayer = (config: {
  readonly filename: string
  readonly readonly?: boolean
  readonly disableWAL?: boolean
}) => Layer.Layer<SqlClient.SqlClient>

const load = async (): Promise<OfficialLayer> => {
  const hooks = registerHooks({
    resolve: (specifier, context, next) =>
      next(specifier.replace(/^effect\/unstable\//, "effect/"), context)
  })
  const { SqliteClient } = await import("@effect/sql-sqlite-node")
  hooks.deregister()
  return SqliteClient.layer
}

if (isDeno) {
  describe("the official client", () => {
    it.skip("is not run: it calls enableLoadExtension, which Deno's node:sqlite lacks", () => {})
  })
} else {
  const official = await load()
  const writer = (filename: string) => official({ filename })
  const reader = (filename: string) =>
    Layer.effect(ReadSql, SqlClient.SqlClient).pipe(
      Layer.provide(official({ filename, readonly: true, disableWAL: true }))
    )
  sqlClientSuite(
    "the official client",
    (filename) => Layer.provideMerge(reader(filename), writer(filename)),
    { streams: false }
  )

  describe("a ledger over the official client", () => {
    it.effect("appends, reads, verifies, replays and opens again", () =>
      Effect.gen(function* () {
        const directory = `${yield* TestLedger.directory}/mirror-elsewhere`
        const filename = `${yield* TestLedger.directory}/mirror.sqlite`
        const ledger = () =>
          Ledger.layer({ directory }).pipe(
            Layer.provide(Layer.fresh(Layer.provideMerge(reader(filename), writer(filename)))),
            Layer.provide(TestLedger.layerPlatform())
          )
        yield* Effect.gen(function* () {
          const { append, appendAll, events, parity, replay, verify } = yield* Ledger.Ledger
          const drafts = Array.from({ length: 20 }, (_, n) => ({ type: "a.b.v1", payload: { n } }))
          yield* Effect.forEach(drafts, (draft) => append(draft), { concurrency: 8 })
          yield* appendAll(drafts)
          assert.lengthOf(yield* Stream.runCollect(events()), 40)
          assert.strictEqual((yield* verify())._tag, "Intact")
          assert.isTrue((yield* parity).isConsistent)
          assert.strictEqual((yield* replay).skippedExisting, 40)
        }).pipe(Effect.provide(ledger()))
        const { opened } = yield* Effect.provide(Ledger.Ledger, ledger())
        assert.strictEqual(opened._tag, "Clean")
        assert.strictEqual(opened.head.seq, 40)
      })
    )
  })
}
