/** Trees of rows for the tests of reading: kinds, rows as a test knows them, ledgers made of them. */
import { Effect, Schema } from "effect"
import * as Event from "../../src/core/Event.ts"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import type { Location } from "../../src/store/journal/Layout.ts"
import { Ledger } from "../../src/store/Ledger.ts"
import { Reader } from "../../src/store/reading/Reader.ts"
import { named } from "./ledgerFixtures.ts"

export const A1 = Event.define("tree.a.v1", Schema.Struct({ name: Schema.String }))
export const A2 = Event.define(
  "tree.a.v2",
  Schema.Struct({ name: Schema.String, by: Schema.String }),
  {
    upcast: [A1, (old) => ({ ...old, by: "nobody" })]
  }
)
export const B = Event.define("tree.b.v1", Schema.Struct({ name: Schema.String }))

/** A row as the test knows it, without a ledger. */
export interface Known {
  readonly seq: number
  readonly id: string
  readonly type: string
  readonly parent: number | undefined
}

/** A row whose parent is `parent`. */
export const row = (seq: number, parent: number | undefined, type = "tree.a.v1"): Known => ({
  seq,
  id: Event.idFrom(`row ${seq}`),
  type,
  parent
})

/** The draft of a row of a tree. */
export const draftOf = (known: ReadonlyArray<Known>, { parent, seq, type }: Known) => ({
  ...named(`row ${seq}`, { type }),
  payload: { name: `row ${seq}`, ...(type === "tree.a.v2" ? { by: "ada" } : {}) },
  parentId: parent === undefined ? undefined : known[parent - 1]?.id
})

/** Append a tree to the ledger in scope. */
export const append = Effect.fnUntraced(function* (known: ReadonlyArray<Known>) {
  const ledger = yield* Ledger
  for (let at = 0; at < known.length; at += 7) {
    yield* ledger.appendAll(known.slice(at, at + 7).map((row) => draftOf(known, row)))
  }
})

/** Read a ledger as another process would. */
export const asking =
  (location: Location) =>
  <A, E>(body: (reader: Reader["Service"]) => Effect.Effect<A, E>) =>
    Effect.flatMap(Reader, body).pipe(Effect.provide(SealogNode.layerReader(location)))
