/**
 * Internal: the checkpoints that the holder of an open ledger makes, between two groups.
 *
 * A checkpoint states the head at the end of a group; it is durable when it is answered.
 */
import type { FileSystem, Path } from "effect"
import { Clock, Effect } from "effect"
import type { SqlClient } from "effect/sql"
import * as Checkpoint from "../../core/Checkpoint.ts"
import type * as Hashes from "../../core/Hashes.ts"
import type * as Merkle from "../../core/Merkle.ts"
import * as Op from "../../core/Operation.ts"
import type * as Signing from "../../core/Signing.ts"
import * as Timestamp from "../../core/Timestamp.ts"
import type { JournalError, MirrorError } from "../errors.ts"
import { mirrorError } from "../errors.ts"
import type { JournalFinal, JournalReader } from "../journal/Journal.ts"
import * as Mirror from "../mirror/Mirror.ts"
import * as MirrorSigning from "../mirror/MirrorSigning.ts"
import type { SignError } from "../signing/Attestor.ts"
import * as Signer from "../signing/Signer.ts"
import type { LedgerClosed } from "../writing/Receipt.ts"
import type { Writer } from "../writing/Writer.ts"
import * as Checkpoints from "./Checkpoints.ts"
import * as OperationFolders from "./OperationFolders.ts"
import type { RequestInvalid } from "./requests.ts"
import { checkSaid } from "./requests.ts"

/** Why a checkpoint is not made. Nothing of it is there. */
export type CheckpointError =
  | RequestInvalid
  | LedgerClosed
  | JournalFinal
  | JournalError
  | MirrorError
  | SignError

/** What checkpoints are made of. */
export interface Dependencies {
  readonly journal: JournalReader
  readonly writer: Writer
  readonly sql: SqlClient.SqlClient
  readonly hashes: Hashes.Hashes
  /** How signatures are made. */
  readonly signer: Signer.Settings
}

type Needs = FileSystem.FileSystem | Path.Path

/** What a plan that was carried out is to later checkpoints. */
const rolledBack = (plan: Op.Plan | undefined): ReadonlyArray<Checkpoint.Rollback> =>
  plan === undefined || !Op.isRollback(plan) || plan.root === null
    ? []
    : [{ operation: plan.id, from: plan.from, root: plan.root, to: plan.to }]

/** Makes the checkpoints of an open ledger. */
export const make = Effect.fnUntraced(function* (deps: Dependencies) {
  const { hashes, journal, signer, sql, writer } = deps
  const { layout } = journal
  const context = yield* Effect.context<Needs>()
  /** The number of the next checkpoint, once it is known. */
  let number: number | undefined
  let past:
    | {
        readonly rollbacks: ReadonlyArray<Checkpoint.Rollback>
        readonly moved: ReadonlyArray<number>
      }
    | undefined
  /** The size of the newest sound checkpoint, once it is known. */
  let newestSize: number | undefined

  /**
   * What operations so far have left: every rollback, the oldest first, and the numbers of the
   * checkpoints that were moved away. Read once after each rollback: nothing else adds to it.
   */
  const pastNow = Effect.gen(function* () {
    if (past !== undefined) return past
    const rollbacks: Array<Checkpoint.Rollback> = []
    const moved: Array<number> = []
    for (const found of yield* OperationFolders.list(layout, hashes)) {
      const { plan } = found
      for (const { kind, name } of plan?.move ?? []) {
        if (kind === "checkpoint") moved.push(Checkpoint.numberOf(name) ?? 0)
      }
      if (OperationFolders.isCarriedOut(found)) rollbacks.push(...rolledBack(plan))
    }
    past = { rollbacks, moved }
    return past
  })

  const nextNumber = Effect.gen(function* () {
    if (number !== undefined) return number
    return yield* Checkpoints.nextNumber(layout, (yield* pastNow).moved, hashes)
  })

  /** Where the head's line ends, whatever file comes next; without rows the first one begins. */
  const behindHead = Effect.gen(function* () {
    const { place } = yield* Effect.mapError(Mirror.settled(sql), mirrorError("read its head"))
    if (place === undefined) return { segment: journal.format === "cortex" ? 0 : 1, offset: 0 }
    return { segment: place.segment, offset: place.offset + place.length + 1 }
  })

  /**
   * The lineage behind the head. A ledger with a signer that has signed no row yet begins here: from
   * the next row on all must be signed.
   */
  const lineage = Effect.gen(function* () {
    const { attestor, state } = writer.standing()
    if (state._tag === "Signed") return state.signing
    if (state._tag === "Unknown" || attestor === undefined) return null
    const head = writer.head()
    const signing = Signer.beginning(attestor, head.seq + 1)
    const begun: Signing.State = { _tag: "Signed", signing }
    yield* Effect.mapError(
      MirrorSigning.store(sql, head.seq, begun),
      mirrorError("hold its lineage")
    )
    writer.goOnFrom(head, yield* writer.currentTree, begun)
    return signing
  })

  const checkpointNow = Effect.fnUntraced(function* (reason: string, tree: Merkle.Tree) {
    const next = yield* nextNumber
    const head = writer.head()
    const unsigned = Checkpoint.make(
      {
        number: next,
        at: Timestamp.fromMillis(yield* Clock.currentTimeMillis),
        head,
        tree,
        ...(yield* behindHead),
        rollbacks: (yield* pastNow).rollbacks,
        lineage: yield* lineage,
        reason
      },
      hashes
    )
    const checkpoint = yield* Signer.signCheckpoint(writer.standing(), unsigned, signer)
    // Even one that fails may have been seen under its number.
    number = next + 1
    yield* Checkpoints.place(layout, checkpoint)
    newestSize = checkpoint.size
    return checkpoint
  })

  /** How many rows came since the newest checkpoint. */
  const rowsSince = Effect.gen(function* () {
    newestSize ??= (yield* Checkpoints.newestSound(layout, hashes))?.size ?? 0
    return writer.head().seq - newestSize
  })

  /** A checkpoint where at least so many rows came since the newest. Between two groups only. */
  const checkpointAfter = Effect.fnUntraced(
    function* (rows: number, reason: string) {
      if ((yield* rowsSince) < rows) return undefined
      yield* writer.ready
      return yield* checkpointNow(reason, yield* writer.currentTree)
    },
    (effect) => Effect.provideContext(effect, context)
  )

  const checkpoint = Effect.fn("Ledger.checkpoint")(
    function* (reason: string): Effect.fn.Return<Checkpoint.Checkpoint, CheckpointError, Needs> {
      yield* checkSaid({ reason })
      return yield* writer.exclusively(
        Effect.flatMap(writer.currentTree, (tree) => checkpointNow(reason, tree))
      )
    },
    (effect) => Effect.provideContext(effect, context)
  )

  /** The ledger stands at this checkpoint again; what was cut counts from now on. */
  const wentBackTo = ({ size }: Checkpoint.Checkpoint): void => {
    newestSize = size
    past = undefined
  }

  return { checkpoint, checkpointAfter, wentBackTo }
})
