/**
 * Internal: the Merkle frontier in the mirror, so that no checkpoint and no open hashes old rows.
 *
 * One row of `sealog_state`, `tree`: its seq is the tree's size, its value the frontier's hashes with
 * spaces between. It is written in the transaction that brings its rows. Where it is missing, or is
 * not of the newest row, the tree is made from the leaf hashes of the index.
 */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import type * as Hashes from "../../core/Hashes.ts"
import * as Merkle from "../../core/Merkle.ts"
import * as Statements from "./statements.ts"

interface State {
  readonly seq: number
  readonly value: string
}

/** The tree that the mirror holds, of whatever size; undefined where it holds none. */
export const stored = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient
): Effect.fn.Return<Merkle.Tree | undefined, SqlError> {
  const run = yield* Statements.runOn(sql)
  const [row] = yield* run<State>("SELECT seq, value FROM sealog_state WHERE name = 'tree'", [])
  if (row === undefined) return undefined
  const value = String(row.value)
  const tree = { size: row.seq, frontier: value === "" ? [] : value.split(" ") }
  return Merkle.isTree(tree) ? tree : undefined
})

/** The stored tree; one of more rows than there are is of another history, and forgotten. */
export const atMost = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  size: number
): Effect.fn.Return<Merkle.Tree | undefined, SqlError> {
  const tree = yield* stored(sql)
  if (tree === undefined || tree.size <= size) return tree
  yield* sql`DELETE FROM sealog_state WHERE name = 'tree'`
  return undefined
})

const upsert = Statements.remembered(
  (_rows, place) =>
    `INSERT INTO sealog_state (name, seq, value) VALUES ('tree', ${place(1)}, ${place(2)})
     ON CONFLICT (name) DO UPDATE SET seq = excluded.seq, value = excluded.value`
)

/** Hold this tree from now on. */
export const store = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  { frontier, size }: Merkle.Tree
): Effect.fn.Return<void, SqlError> {
  const run = yield* Statements.runOn(sql)
  yield* run(upsert(sql, 1), [size, frontier.join(" ")])
})

const pageRows = 4_096

// SQLite holds in a column whatever someone puts there.
const isHash = /^[0-9a-f]{64}$/

/**
 * The tree over the first `size` rows, from the stored one where it is not larger, else from the
 * first row on; undefined where the index lacks one of them.
 */
export const upTo = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  size: number,
  hashes: Hashes.Hashes,
  from: Merkle.Tree = Merkle.empty
): Effect.fn.Return<Merkle.Tree | undefined, SqlError> {
  let tree = from.size <= size ? from : Merkle.empty
  while (tree.size < size) {
    const rows = yield* sql<{ seq: number; leaf_hash: string }>`
      SELECT seq, leaf_hash FROM sealog_index WHERE seq > ${tree.size} AND seq <= ${size}
      ORDER BY seq LIMIT ${pageRows}`
    const first = tree.size
    const isRun = rows.every(
      ({ leaf_hash, seq }, nth) => seq === first + nth + 1 && isHash.test(String(leaf_hash))
    )
    if (rows.length === 0 || !isRun) return undefined
    tree = Merkle.appendAll(
      tree,
      rows.map(({ leaf_hash }) => leaf_hash),
      hashes
    )
  }
  return tree
})

/** Extend the stored tree by rows that follow each other, where it ends right before one of them. */
export const extend = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  rows: ReadonlyArray<{ readonly seq: number; readonly leafHash: string }>,
  hashes: Hashes.Hashes
): Effect.fn.Return<void, SqlError> {
  const tree = (yield* stored(sql)) ?? (rows[0]?.seq === 1 ? Merkle.empty : undefined)
  if (tree === undefined) return
  const next = rows.filter(({ seq }) => seq > tree.size)
  if (next[0]?.seq !== tree.size + 1) return
  const leaves = next.map(({ leafHash }) => leafHash)
  yield* store(sql, Merkle.appendAll(tree, leaves, hashes))
})
