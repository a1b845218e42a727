/**
 * Rollback: back to a checkpoint, redo only, without losing what is cut.
 *
 *   1. check the checkpoint: its hash, the row and the root that the ledger has there
 *   2. plan, durable with its directory: ranges, lengths, hashes; from here it is only finished
 *   3. mirror: delete beyond the target, commit at FULL; so it is never ahead of the journal
 *   4. copy the target segment's tail into the folder, fsync; truncate, fsync
 *   5. move later segments, then later checkpoints, last first; fsync the directories
 *   6. outcome, durable
 *
 * Refused before 2 nothing is changed, and the refusal is recorded (`recoverable_error`). After it
 * the ledger takes no more appends until it is opened again, which finishes what was begun.
 */
import { Clock, Effect, Path, Result } from "effect"
import type { SqlClient } from "effect/sql"
import * as Chain from "../../core/Chain.ts"
import * as Checkpoint from "../../core/Checkpoint.ts"
import type { Position } from "../../core/Event.ts"
import type * as Hashes from "../../core/Hashes.ts"
import * as Merkle from "../../core/Merkle.ts"
import type { Cut, Move, Plan, Request } from "../../core/Operation.ts"
import * as Op from "../../core/Operation.ts"
import * as Row from "../../core/Row.ts"
import type { Line } from "../../core/Segment.ts"
import * as Segment from "../../core/Segment.ts"
import * as Timestamp from "../../core/Timestamp.ts"
import { digest } from "./carryOut.ts"
import * as Checkpoints from "./Checkpoints.ts"
import * as durable from "../journal/durable.ts"
import { mirrorError } from "../errors.ts"
import type { JournalFile, JournalReader } from "../journal/Journal.ts"
import * as Mirror from "../mirror/Mirror.ts"
import * as MirrorTree from "../mirror/MirrorTree.ts"
import * as Operations from "./Operations.ts"

/** What a rollback works on: a ledger whose writer stands still, its mirror at the head. */
export interface Ground {
  readonly journal: JournalReader
  /** The writer's client. */
  readonly sql: SqlClient.SqlClient
  readonly hashes: Hashes.Hashes
}

/** Why the checkpoint cannot be gone back to. */
export interface Misfit {
  readonly errorClass: "checkpoint_not_found" | "integrity_mismatch" | "index_corruption"
  readonly expected: string
  readonly actual: string
}

const misfit = (errorClass: Misfit["errorClass"], expected: string, actual: string) =>
  Effect.fail({ errorClass, expected, actual } satisfies Misfit as Misfit)

/** The sound checkpoint that is asked for. */
export const target = Effect.fnUntraced(function* (
  { hashes, journal }: Ground,
  asked: Checkpoint.Checkpoint | number
) {
  const number = typeof asked === "number" ? asked : asked.number
  const isNumber = Number.isSafeInteger(number) && number > 0
  if (!isNumber) return yield* misfit("checkpoint_not_found", "a checkpoint's number", `${number}`)
  const found = yield* Checkpoints.read(journal.layout, number, hashes)
  switch (found._tag) {
    case "None":
      return yield* misfit("checkpoint_not_found", `checkpoint ${number}`, "none of this number")
    case "Unsound":
      return yield* misfit("integrity_mismatch", found.expected, found.actual)
    case "Sound": {
      const { checkpoint } = found
      if (typeof asked === "number" || asked.hash === checkpoint.hash) return checkpoint
      const sides = [`checkpoint ${number} of hash ${asked.hash}`, checkpoint.hash] as const
      return yield* misfit("integrity_mismatch", ...sides)
    }
  }
})

/** Whether the ledger has what the checkpoint states; the rows before it are hashed again. */
export const check = Effect.fnUntraced(function* (
  { hashes, journal, sql }: Ground,
  checkpoint: Checkpoint.Checkpoint,
  head: Position
) {
  const { head: at, offset, segment, size } = checkpoint
  const failed = mirrorError("find a checkpoint")
  if (size > head.seq) {
    return yield* misfit("integrity_mismatch", `a ledger of ${size} rows`, `${head.seq} rows`)
  }
  if (size > 0) {
    const row = yield* Effect.mapError(Mirror.at(sql, size), failed)
    if (row === undefined) {
      return yield* misfit("index_corruption", `an index row of seq ${size}`, "none")
    }
    const place = Mirror.placeOf(row)
    const end = `${place.segment} byte ${place.offset + place.length + 1}`
    if (end !== `${segment} byte ${offset}`) {
      return yield* misfit("index_corruption", `${segment} byte ${offset}`, end)
    }
    const line = yield* journal.read(place)
    const leafHash = Row.leafHash(line, hashes)
    const wrong = Checkpoint.check(checkpoint, { leafHash })
    if (Result.isFailure(wrong)) {
      return yield* misfit("integrity_mismatch", `leaf hash ${at.leafHash}`, leafHash)
    }
    if (row.leaf_hash !== at.leafHash) {
      return yield* misfit("index_corruption", at.leafHash, String(row.leaf_hash))
    }
  }
  const tree = yield* Effect.mapError(MirrorTree.upTo(sql, size, hashes), failed)
  if (tree === undefined) return yield* misfit("index_corruption", `${size} index rows`, "fewer")
  const root = Merkle.root(tree, hashes)
  if (root !== checkpoint.root) return yield* misfit("index_corruption", checkpoint.root, root)
})

/** A file that is moved as a whole. */
const moveOf = Effect.fnUntraced(function* (kind: Move["kind"], path: string, bytesMax: number) {
  const paths = yield* Path.Path
  const { bytes, lines, sha256 } = yield* digest(path, 0, bytesMax)
  const rows = kind === "segment" ? lines : null
  return { kind, name: paths.basename(path), bytes, sha256, rows } satisfies Move
})

/** How many lines of the one file of Cortex mode are rows from an offset on: blank ones are none. */
const rowsBehind = Effect.fnUntraced(function* (
  journal: JournalReader,
  file: JournalFile,
  offset: number
) {
  let rows = 0
  const count = (line: Line) => {
    if (line.tooLong || !Chain.isBlank(line.bytes)) rows++
  }
  yield* journal.eachLine(file, { offset, number: 1 }, file.bytes, (lines) =>
    Effect.sync(() => lines.forEach(count))
  )
  return rows
})

/** What lies behind a place of the journal: the tail of its file, and the files after it. */
export const behind = Effect.fnUntraced(function* (
  { journal }: Pick<Ground, "journal">,
  files: ReadonlyArray<JournalFile>,
  from: { readonly segment: number; readonly offset: number; readonly firstSeq: number }
) {
  const file = files.find(({ segment }) => segment === from.segment)
  const { offset } = from
  const cut: Array<Cut> = []
  if (file !== undefined && file.bytes > offset) {
    const range = { path: file.path, offset, length: file.bytes - offset }
    const tail = yield* Operations.cutOf(range, Segment.name(from.firstSeq), true)
    const isCortex = journal.format === "cortex"
    cut.push(isCortex ? { ...tail, rows: yield* rowsBehind(journal, file, offset) } : tail)
  }
  const later = files.filter(({ segment }) => segment > from.segment).toReversed()
  const move = yield* Effect.forEach(later, ({ bytes, path }) => moveOf("segment", path, bytes))
  return { cut, move }
})

/** Checkpoints with a larger number, last first; what is no file is moved as it is, unread. */
const laterCheckpoints = Effect.fnUntraced(function* (
  { journal: { layout } }: Ground,
  number: number
) {
  const { numbers } = yield* Checkpoints.numbersIn(layout.checkpoints)
  const later = numbers.filter((other) => other > number).toReversed()
  return yield* Effect.forEach(
    later,
    Effect.fnUntraced(function* (other) {
      const name = Checkpoint.name(other)
      const path = `${layout.checkpoints}/${name}`
      // Opening a pipe to read waits for whoever writes it.
      return (yield* durable.kindAt(path)) === "File"
        ? yield* moveOf("checkpoint", path, Number.MAX_SAFE_INTEGER)
        : ({ kind: "checkpoint", name, bytes: 0, sha256: null, rows: null } satisfies Move)
    })
  )
})

/** The plan of a rollback from `head`, whose tree is `tree`, to a checkpoint that was checked. */
export const plan = Effect.fnUntraced(function* (
  ground: Ground,
  id: string,
  checkpoint: Checkpoint.Checkpoint,
  head: Position,
  tree: Merkle.Tree,
  { correlationId, operator, reason }: Request
) {
  const { hashes, journal } = ground
  const { number, offset, position: to, segment } = checkpoint
  // The plan is finished only while its checkpoint is there.
  yield* Checkpoints.settle(journal.layout)
  const files = yield* journal.files
  const { cut, move } = yield* behind(ground, files, { segment, offset, firstSeq: to.seq + 1 })
  return Op.makePlan(
    {
      id,
      kind: "rollback",
      at: Timestamp.fromMillis(yield* Clock.currentTimeMillis),
      operator,
      reason,
      correlationId: correlationId ?? null,
      from: { seq: head.seq, leafHash: head.leafHash },
      root: Merkle.root(tree, hashes),
      to,
      checkpoint: number,
      cut,
      move: [...move, ...(yield* laterCheckpoints(ground, number))],
      mirrorUntil: to.seq
    } satisfies Omit<Plan, "hash">,
    hashes
  )
})
