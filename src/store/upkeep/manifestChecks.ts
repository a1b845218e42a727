/**
 * Internal: what a manifest says besides its aggregates: files, checkpoints, the newest line, the root.
 *
 * Each looks at what came since the last manifest, and at the list of files. Beside a writer something
 * may have changed between two looks; whoever asks looks again then.
 */
import { Effect, Path } from "effect"
import type { SqlClient } from "effect/sql"
import * as Chain from "../../core/Chain.ts"
import type { Event, Position } from "../../core/Event.ts"
import type * as Hashes from "../../core/Hashes.ts"
import type * as Manifest from "../../core/Manifest.ts"
import * as Merkle from "../../core/Merkle.ts"
import * as Checkpoints from "./Checkpoints.ts"
import type { JournalReader } from "../journal/Journal.ts"
import * as Mirror from "../mirror/Mirror.ts"
import * as MirrorTree from "../mirror/MirrorTree.ts"
import type { EventNotFound, ReadError } from "../reading/Reader.ts"

/** What manifests are made from: committed rows, and what lies beside them. */
export interface Source {
  readonly journal: JournalReader
  readonly sql: SqlClient.SqlClient
  readonly rows: {
    readonly get: (
      seq: number
    ) => Effect.Effect<{ readonly event: Event }, EventNotFound | ReadError>
  }
  readonly hashes: Hashes.Hashes
  readonly ledgerId: string | null
}

/** The rows that were counted already. */
export interface Base {
  readonly tally: Manifest.Tally
  readonly leafHash: string
  readonly checkpoint: Manifest.Manifest["integrity"]["checkpoint"]
}

/** Whether a position is one of the ledger's. */
export const isHeld = (sql: SqlClient.SqlClient, { leafHash, seq }: Position) =>
  seq === 0
    ? Effect.succeed(leafHash === Chain.start.leafHash)
    : Effect.map(Mirror.at(sql, seq), (row) => row?.leaf_hash === leafHash)

/** The checkpoints that were not looked at yet: the newest, and whether they are in their order. */
export const checkpointsFrom = Effect.fnUntraced(function* (
  { hashes, journal, sql }: Source,
  { checkpoint, tally }: Base,
  numbers: ReadonlyArray<number>
) {
  let newest = checkpoint
  let checkpointsInOrder = true
  for (const number of numbers.filter((number) => number > (checkpoint?.number ?? 0))) {
    const found = yield* Checkpoints.read(journal.layout, number, hashes)
    if (found._tag !== "Sound") {
      checkpointsInOrder = false
      continue
    }
    const { hash, position, size } = found.checkpoint
    const isInPlace = size >= (newest?.size ?? 0) && size <= tally.seq
    if (!isInPlace || !(yield* isHeld(sql, position))) checkpointsInOrder = false
    newest = { number, size, hash }
  }
  return { newest, checkpointsInOrder }
})

/** Whether the files on disk are those that the rows lie in, and hold them. */
export const checkFiles = Effect.fnUntraced(function* (
  { journal }: Source,
  { files, seq }: Manifest.Tally
) {
  const paths = yield* Path.Path
  const { files: listed, misplaced } = yield* journal.listing
  const sizes = new Map(listed.map(({ bytes, path }) => [paths.basename(path), bytes]))
  const named = new Set(files.map(({ name }) => name))
  const others = listed.filter(({ path }) => !named.has(paths.basename(path)))
  // What the newest file holds beyond the newest row, and a file behind it, may be a write under way.
  const isFull = files.every(
    ({ bytes, name }, nth) => nth === files.length - 1 || sizes.get(name) === bytes
  )
  const segmentsInOrder =
    misplaced.length === 0 &&
    isFull &&
    others.every(({ segment }) => segment > seq || (journal.format === "cortex" && seq === 0))
  const indexWithinBounds = files.every(({ bytes, name }) => (sizes.get(name) ?? -1) >= bytes)
  return { segmentsInOrder, indexWithinBounds }
})

/** Whether the head's line says what SQL says of it. */
export const checkHead = ({ rows }: Source, head: Chain.Head) =>
  head.seq === 0
    ? Effect.succeed(true)
    : rows.get(head.seq).pipe(
        Effect.map(
          ({ event: { eventHash, id, leafHash } }) =>
            `${id} ${eventHash} ${leafHash}` === `${head.id} ${head.eventHash} ${head.leafHash}`
        ),
        Effect.catchTag(["EventNotFound", "RowDamaged"], () => Effect.succeed(false))
      )

/** The Merkle root over the first `size` rows; null where the index lacks one of them. */
export const rootOf = Effect.fnUntraced(function* ({ hashes, sql }: Source, size: number) {
  const stored = yield* MirrorTree.stored(sql)
  const tree = stored?.size === size ? stored : yield* MirrorTree.upTo(sql, size, hashes, stored)
  return tree === undefined ? null : Merkle.root(tree, hashes)
})
