/**
 * Opening: from what is on disk to a ledger whose legs agree, or a refusal with a name.
 *
 *   1. finish every operation that was begun
 *   2. the mirror's newest row must lie in the journal where the index says, else `diverged`; one
 *      that a rollback has cut is taken back first
 *   3. scan what follows it (`Recovery.TailScan`): a torn last group is cut into its operation's
 *      folder, damage is refused; the newest sound checkpoint must be met on the way
 *   4. the last whole group is written again in place and fsynced, its last LF completed
 *   5. the mirror catches up
 *
 * Signed rows of the tail are verified in step 3, from the lineage behind the mirror's newest row on;
 * where that is not known, or not that row's, all rows are.
 *
 * Nothing at or below the mirror's newest row or that checkpoint, or before the last segment, is
 * ever cut. No step reads what lies before, but for a mirror that is behind or not there.
 */
import type { FileSystem, Path } from "effect"
import { Effect, Result } from "effect"
import type { SecureRandom } from "effect/crypto"
import type { SqlClient } from "effect/sql"
import type { Head } from "../../core/Chain.ts"
import type { Checkpoint } from "../../core/Checkpoint.ts"
import type * as Hashes from "../../core/Hashes.ts"
import * as Merkle from "../../core/Merkle.ts"
import type * as Recovery from "../../core/Recovery.ts"
import type * as Signing from "../../core/Signing.ts"
import { Follower } from "../../core/Signing.ts"
import * as durable from "../journal/durable.ts"
import * as Anchor from "./Anchor.ts"
import * as CatchingUp from "./catchingUp.ts"
import * as Checkpoints from "../upkeep/Checkpoints.ts"
import type { JournalError, MirrorError } from "../errors.ts"
import { journalError, mirrorError } from "../errors.ts"
import type { JournalFile, JournalReader } from "../journal/Journal.ts"
import * as Mirror from "../mirror/Mirror.ts"
import * as MirrorCut from "../mirror/MirrorCut.ts"
import * as MirrorTree from "../mirror/MirrorTree.ts"
import * as Finishing from "../upkeep/finishing.ts"
import * as Operations from "../upkeep/Operations.ts"
import { diverged, damagedAt, LedgerDamaged, LedgerDiverged, refusals } from "./Refusal.ts"
import type * as Replay from "../mirror/Replay.ts"
import * as OpeningSignatures from "../signing/OpeningSignatures.ts"
import { scanTail } from "./scanTail.ts"
import type { ViewAction } from "../views/ViewKeeper.ts"

export { LedgerDamaged, LedgerDiverged }

/** What opening did besides opening. */
export type Action =
  | { readonly _tag: "CaughtUp"; readonly rows: number }
  | { readonly _tag: "LineCompleted"; readonly seq: number }
  | { readonly _tag: "TailCut"; readonly bytes: number; readonly path: string }
  | { readonly _tag: "MirrorRemade"; readonly rows: number }
  | { readonly _tag: "OperationFinished"; readonly id: string }
  /** A marker that a crash cut short, before anything was begun, was renamed to this path. */
  | { readonly _tag: "MarkerSetAside"; readonly path: string }
  | ViewAction
  /** The mirror was one of before a rollback, and was taken back to where that went. */
  | { readonly _tag: "MirrorTakenBack"; readonly rows: number; readonly operationId: string }

/** How a ledger opened. */
export type OpenReport =
  | { readonly _tag: "Clean"; readonly head: Head }
  | { readonly _tag: "Recovered"; readonly head: Head; readonly actions: ReadonlyArray<Action> }
  | { readonly _tag: "ReadOnly"; readonly head: Head; readonly reason: string }

/** Where writing goes on, and what was done. */
export interface Opened {
  readonly head: Head
  readonly last: JournalFile | undefined
  /** Over the rows up to the head, where the mirror holds it. */
  readonly tree: Merkle.Tree | undefined
  /** The lineage of the signatures behind the head. */
  readonly state: Signing.State
  readonly actions: ReadonlyArray<Action>
}

/** A checkpoint at or before the mirror's newest row: the index must have met it. */
const checkBehind = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  journal: JournalReader,
  settled: Head,
  checkpoint: Checkpoint | undefined
) {
  if (checkpoint === undefined || checkpoint.head.seq > settled.seq) return
  const { head, number } = checkpoint
  if (head.seq === 0) return
  const row = yield* Effect.mapError(Mirror.at(sql, head.seq), mirrorError("find a checkpoint"))
  // A row that the index has lost is told, and found again, before the next append.
  if (row === undefined || row.leaf_hash === head.leafHash) return
  const reason = `checkpoint ${number} is of another history`
  const expected = `leaf hash ${head.leafHash}`
  return yield* diverged(journal, head.seq, reason, expected, String(row.leaf_hash))
})

const chunkBytes = 1024 * 1024

/** Write a range again in place, byte for byte, with the LF that may lack, and fsync it. */
const rewrite = Effect.fnUntraced(
  function* (range: Recovery.Range, lineIncomplete: boolean) {
    const file = yield* durable.open(range.path, "r+")
    for (let done = 0; done < range.length; done += chunkBytes) {
      const offset = range.offset + done
      const size = Math.min(chunkBytes, range.length - done)
      const bytes = yield* durable.readRange(file, offset, size)
      yield* file.seek(BigInt(offset), "start")
      yield* file.writeAll(bytes)
    }
    if (lineIncomplete) {
      yield* file.seek(BigInt(range.offset + range.length), "start")
      yield* file.writeAll(new Uint8Array([0x0a]))
    }
    yield* file.sync
  },
  (effect, range) =>
    effect.pipe(
      Effect.scoped,
      Effect.uninterruptible,
      Effect.mapError(journalError("write again", range.path))
    )
)

/** Every way in which opening refuses or fails. */
export type OpenError =
  | LedgerDamaged
  | LedgerDiverged
  | Operations.OperationUnfinished
  | JournalError
  | MirrorError

/** Catch up while opening, where every refusal has a name of its own. */
const takeIn = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  journal: JournalReader,
  hashes: Hashes.Hashes,
  from: Replay.From,
  until: number
) {
  const to = refusals(journal)
  yield* CatchingUp.catchUp(sql, journal, hashes, from, until).pipe(
    Effect.catchTags({
      RowDiffers: (error) => Effect.fail(to.RowDiffers(error)),
      RowDamaged: (error) => Effect.fail(to.RowDamaged(error)),
      ChainBroken: (error) => Effect.fail(to.ChainBroken(error))
    })
  )
})

/** The place from which opening looks on; a mirror that a rollback left behind is taken back. */
const anchor = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  journal: JournalReader,
  files: ReadonlyArray<JournalFile>,
  hashes: Hashes.Hashes,
  actions: Array<Action>
) {
  const settled = yield* Effect.mapError(Mirror.settled(sql), mirrorError("read its head"))
  const found = yield* Effect.result(Anchor.find(sql, journal, settled, files, hashes))
  if (Result.isSuccess(found)) return { from: found.success, settled: settled.head }
  const refusal = found.failure
  if (refusal._tag !== "LedgerDiverged") return yield* Effect.fail(refusal)
  const cut = yield* Anchor.cutBy(sql, journal, settled.head, hashes)
  if (cut === undefined) return yield* refusal
  yield* MirrorCut.cut(sql, cut.to.seq, undefined)
  const rows = settled.head.seq - cut.to.seq
  actions.push({ _tag: "MirrorTakenBack", rows, operationId: cut.operationId })
  const again = yield* Effect.mapError(Mirror.settled(sql), mirrorError("read its head"))
  return { from: yield* Anchor.find(sql, journal, again, files, hashes), settled: again.head }
})

/**
 * Recover what may be recovered, bring the mirror up, and say where writing goes on. Of a place that
 * `isNew`, never a ledger before, nothing is cut unless it begins with a row: it may be anything.
 */
export const recover: (
  journal: JournalReader,
  sql: SqlClient.SqlClient,
  hashes: Hashes.Hashes,
  isNew?: boolean,
  following?: Signing.Following
) => Effect.Effect<
  Opened,
  OpenError,
  FileSystem.FileSystem | Path.Path | SecureRandom.SecureRandom
> = Effect.fn("Ledger.recover")(function* (
  journal: JournalReader,
  sql: SqlClient.SqlClient,
  hashes: Hashes.Hashes,
  isNew = false,
  given: Signing.Following = carried
) {
  const { layout } = journal
  const actions: Array<Action> = []
  const before = yield* Effect.mapError(Mirror.settled(sql), mirrorError("read its head"))
  const floor = Anchor.floorOf(yield* listed(journal), before)
  for (const id of yield* Finishing.finishAll(layout, { floor, sql, hashes })) {
    actions.push({ _tag: "OperationFinished", id })
  }
  const files = yield* listed(journal)
  yield* Checkpoints.settle(layout)
  const checkpoint = yield* Checkpoints.newestSound(layout, hashes)
  const { from, settled } = yield* anchor(sql, journal, files, hashes, actions)
  yield* checkBehind(sql, journal, settled, checkpoint)
  const following = OpeningSignatures.withStated(given, checkpoint)
  const known = yield* OpeningSignatures.behind(
    { sql, journal, hashes, following },
    settled,
    checkpoint
  )
  const follower = new Follower(known, following)
  const { plan, state } = yield* scanTail(journal, files, from, checkpoint, hashes, follower)
  if (plan.cut !== undefined) {
    if (isNew && plan.head.seq === 0) {
      const reason = "it does not begin with a row, and was no ledger before"
      return yield* damagedAt(journal, { ...plan.cut, seq: 1, reason, follows: false })
    }
    // What a power cut could still change, no plan can name.
    yield* rewrite(plan.cut, false)
    const path = yield* Operations.cutTail(layout, plan.cut, "a torn last group", hashes)
    actions.push({ _tag: "TailCut", bytes: plan.cut.length, path })
  }
  if (plan.rewrite !== undefined) yield* rewrite(plan.rewrite, plan.lineIncomplete)
  if (plan.lineIncomplete) actions.push({ _tag: "LineCompleted", seq: plan.head.seq })
  const rows = plan.head.seq - from.head.seq
  // Before the rows: a mirror that has them and no lineage would say that none is signed.
  yield* OpeningSignatures.settle(sql, plan.head.seq, state)
  if (rows > 0) {
    yield* takeIn(sql, journal, hashes, from, plan.head.seq)
    actions.push({ _tag: from.head.seq === 0 ? "MirrorRemade" : "CaughtUp", rows })
  }
  const tree = yield* Effect.mapError(
    MirrorTree.atMost(sql, plan.head.seq),
    mirrorError("read its tree")
  )
  const last = (yield* listed(journal)).at(-1)
  const grown = plan.head.seq === 0 ? Merkle.empty : tree
  const whole = grown?.size === plan.head.seq ? grown : undefined
  return { head: plan.head, last, tree: whole, state, actions }
})

/** Signatures are there or not: nobody says whose they have to be. */
const carried: Signing.Following = { ledgerId: "", verify: () => false }

/** The files of the journal; a foreign one among them is damage. */
const listed = (journal: JournalReader) =>
  Effect.catchTag(journal.files, "RowDamaged", (error) =>
    Effect.fail(
      damagedAt(journal, {
        path: error.path,
        offset: 0,
        seq: 0,
        reason: `expected ${error.expected}, found ${error.actual}`,
        follows: false
      })
    )
  )
