/**
 * Internal: the lineage of the signatures in the mirror, so that no open verifies old rows again.
 *
 * One row of `sealog_state`, `lineage`: its seq is that of the row it stands behind, its value the
 * JSON that a checkpoint states too, or `{"first_seq":n}` where the key is not known. It is written
 * in the transaction that brings its rows, or before it. Where it is missing no row of the mirror is
 * signed; so it is never taken out, and one beyond the newest row says that some are.
 */
import { Effect, Option, Schema } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import type * as Signing from "../../core/Signing.ts"
import { Signing as SigningSchema, unsigned } from "../../core/Signing.ts"
import * as Statements from "./statements.ts"

/** What the mirror says of the rows up to `seq`; a lineage that cannot be read is undefined. */
export interface Stored {
  readonly seq: number
  readonly state: Signing.State | undefined
}

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(SigningSchema))

const decodeUnknown = Schema.decodeUnknownOption(
  Schema.fromJsonString(Schema.Struct({ first_seq: Schema.Natural }))
)

const encode = Schema.encodeSync(SigningSchema)

const stateOf = (text: string): Signing.State | undefined => {
  const signing = decode(text)
  if (Option.isSome(signing)) return { _tag: "Signed", signing: signing.value }
  const unknown = decodeUnknown(text)
  const isWhole = Option.isSome(unknown) && text === `{"first_seq":${unknown.value.first_seq}}`
  return isWhole ? { _tag: "Unknown", firstSeq: unknown.value.first_seq } : undefined
}

/** What the mirror holds; undefined where it holds nothing. */
export const stored = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient
): Effect.fn.Return<Stored | undefined, SqlError> {
  const run = yield* Statements.runOn(sql)
  const [row] = yield* run<{ readonly seq: number; readonly value: unknown }>(
    "SELECT seq, value FROM sealog_state WHERE name = 'lineage'",
    []
  )
  return row === undefined ? undefined : { seq: row.seq, state: stateOf(String(row.value)) }
})

/** What the mirror says of the rows up to `seq`: undefined where it does not know. */
export const at = (
  sql: SqlClient.SqlClient,
  seq: number
): Effect.Effect<Signing.State | undefined, SqlError> =>
  Effect.map(stored(sql), (found) => {
    if (found === undefined) return unsigned
    return found.seq === seq ? found.state : undefined
  })

const upsert = Statements.remembered(
  (_rows, place) =>
    `INSERT INTO sealog_state (name, seq, value) VALUES ('lineage', ${place(1)}, ${place(2)})
     ON CONFLICT (name) DO UPDATE SET seq = excluded.seq, value = excluded.value`
)

/** Hold this from now on. */
export const store = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  seq: number,
  state: Signing.State
): Effect.fn.Return<void, SqlError> {
  const run = yield* Statements.runOn(sql)
  switch (state._tag) {
    case "Unsigned":
      yield* run("DELETE FROM sealog_state WHERE name = 'lineage'", [])
      return
    case "Unknown":
      yield* run(upsert(sql, 1), [seq, `{"first_seq":${state.firstSeq}}`])
      return
    case "Signed":
      yield* run(upsert(sql, 1), [seq, JSON.stringify(encode(state.signing))])
  }
})
