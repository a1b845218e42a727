/**
 * Internal: an operation whose plan is durable, carried out from wherever it was left.
 *
 * The mirror first, so that it is never ahead of the journal, then the files, then the outcome. What
 * a plan may not be, as no version makes such a one, is refused before anything of it is done.
 */
import { Effect, Exit, Path } from "effect"
import type { FileSystem } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import type * as Hashes from "../../core/Hashes.ts"
import type { Kind, Plan } from "../../core/Operation.ts"
import * as Op from "../../core/Operation.ts"
import * as Segment from "../../core/Segment.ts"
import { canCarryOut, carryOutFiles, cutPath, OperationUnfinished } from "./carryOut.ts"
import * as Checkpoints from "./Checkpoints.ts"
import type { JournalError, MirrorError } from "../errors.ts"
import * as durable from "../journal/durable.ts"
import type { Layout } from "../journal/Layout.ts"
import * as MirrorCut from "../mirror/MirrorCut.ts"
import * as OperationFolders from "./OperationFolders.ts"
import * as Operations from "./Operations.ts"

/** The last file of a journal, and the first byte of it that opening may cut by itself. */
export interface Floor {
  readonly path: string
  readonly offset: number
}

/** Refuses a plan of a recovery that would cut what opening never cuts by itself. */
const checkFloor = Effect.fnUntraced(function* (
  layout: Layout,
  { folder, plan }: OperationFolders.Found & { readonly plan: Plan },
  floor: Floor | undefined
) {
  const paths = yield* Path.Path
  for (const { file, offset } of plan.cut) {
    const own = layout.format === "cortex" ? paths.basename(layout.journal) : undefined
    const named = own === undefined ? Segment.firstSeq(file) !== undefined : file === own
    const path = named ? cutPath(paths, layout, file) : undefined
    if (plan.kind !== "recovery" && path !== undefined) continue
    if (path !== undefined && path === floor?.path && offset >= floor.offset) continue
    const expected =
      floor === undefined ? "a journal with rows" : `${floor.path} from byte ${floor.offset} on`
    const actual = `${file.slice(0, 80)} from byte ${offset} on`
    return yield* new OperationUnfinished({ operation: plan.id, path: folder, expected, actual })
  }
})

/** A rollback's plan stands on its checkpoint: without that one it was made by somebody else. */
const checkTarget = Effect.fnUntraced(function* (
  layout: Layout,
  { folder, plan }: OperationFolders.Found & { readonly plan: Plan },
  hashes: Hashes.Hashes
) {
  if (plan.kind !== "rollback") return
  const number = plan.checkpoint ?? 0
  const found = number < 1 ? undefined : yield* Checkpoints.read(layout, number, hashes)
  const seq = found?._tag === "Sound" ? found.checkpoint.head.seq : undefined
  const leafHash = found?._tag === "Sound" ? found.checkpoint.head.leafHash : undefined
  if (plan.to !== null && seq === plan.to.seq && leafHash === plan.to.leafHash) return
  const expected = `checkpoint ${number} at row ${plan.to?.seq}`
  const actual = seq === undefined ? "no sound one" : `one at row ${seq}`
  return yield* new OperationUnfinished({ operation: plan.id, path: folder, expected, actual })
})

/**
 * Carry out a plan from wherever it was left: mirror, files; the outcome is the caller's. `cutViews`
 * takes views back that are known here, with the mirror.
 */
export const carryOut = Effect.fnUntraced(function* (
  layout: Layout,
  folder: string,
  plan: Plan,
  sql: SqlClient.SqlClient | undefined,
  cutViews?: Effect.Effect<void, SqlError>
): Effect.fn.Return<
  void,
  JournalError | MirrorError | OperationUnfinished,
  FileSystem.FileSystem | Path.Path
> {
  if (plan.mirrorUntil !== null && sql !== undefined) {
    const paths = yield* Path.Path
    const evidence = plan.kind === "repair" ? paths.join(folder, "mirror.jsonl") : undefined
    yield* MirrorCut.cut(sql, plan.mirrorUntil, evidence, cutViews)
  }
  yield* carryOutFiles(layout, folder, plan)
})

const interrupted: ReadonlySet<Kind> = new Set(["import", "rebuild"])

/** An import keeps its rows and a rebuild changes nothing before it commits: both may be asked again. */
const close = (found: OperationFolders.Found & { readonly plan: Plan }) =>
  Operations.end(found.folder, found.plan, {
    outcome: "recoverable_error",
    errorClass: "interrupted",
    message: "the process ended before it was done",
    resumed: true
  })

/** Whether a folder has an outcome, whatever else it holds. */
const isDone = Effect.fnUntraced(function* (layout: Layout, name: string, isLast: boolean) {
  const paths = yield* Path.Path
  const folder = paths.join(layout.operations, name)
  if ((yield* durable.kindAt(folder)) !== "Directory") return false
  if ((yield* durable.kindAt(paths.join(folder, "outcome.json"))) !== "File") return false
  // Whoever wrote it may have been killed before its name was durable. Were it lost after rows were
  // appended, the plan could not be finished any more. All that came before was made sure of then.
  if (isLast) yield* durable.syncDirectory(folder)
  return true
})

/** Whether an unfinished operation is closed, not finished, by opening. */
const isInterrupted = ({ kind }: Plan): boolean => interrupted.has(kind)

/** How an operation without an outcome stands: the next open finishes it, or nobody ever can. */
export const standing = Effect.fnUntraced(function* (
  layout: Layout,
  found: OperationFolders.Found,
  hashes: Hashes.Hashes
): Effect.fn.Return<
  "ended" | "finishable" | "stuck",
  JournalError,
  FileSystem.FileSystem | Path.Path
> {
  const { folder, isEnded, plan, trouble } = found
  if (isEnded || (plan === undefined && trouble === undefined)) return "ended"
  if (plan === undefined) return "stuck"
  if (isInterrupted(plan)) return "finishable"
  const target = yield* Effect.exit(checkTarget(layout, { ...found, plan }, hashes))
  if (Exit.isFailure(target)) return "stuck"
  return (yield* canCarryOut(layout, folder, plan)) ? "finishable" : "stuck"
})

/** What is known of a ledger before its unfinished operations are. */
export interface Known {
  readonly floor: Floor | undefined
  readonly sql: SqlClient.SqlClient
  readonly hashes: Hashes.Hashes
}

/**
 * Finish every operation that has a plan and no outcome; the ids of those that were finished. A
 * recovery that cuts anything below the floor was not made by opening, and is refused.
 */
export const finishAll: (
  layout: Layout,
  known: Known
) => Effect.Effect<
  ReadonlyArray<string>,
  JournalError | MirrorError | OperationUnfinished,
  FileSystem.FileSystem | Path.Path
> = Effect.fn("Operations.finishAll")(function* (layout: Layout, { floor, hashes, sql }: Known) {
  const finished: Array<string> = []
  const all = yield* OperationFolders.names(layout)
  const last = all.findLast(Op.isId)
  for (const name of all) {
    if (yield* isDone(layout, name, name === last)) continue
    const found = yield* OperationFolders.look(layout, name, hashes)
    const { folder, id, plan, trouble } = found
    if (trouble !== undefined) return yield* new OperationUnfinished({ operation: id, ...trouble })
    if (plan === undefined) continue
    const planned = { ...found, plan }
    if (isInterrupted(plan)) {
      yield* close(planned)
      finished.push(id)
      continue
    }
    yield* checkFloor(layout, planned, floor)
    yield* checkTarget(layout, planned, hashes)
    yield* carryOut(layout, folder, plan, sql)
    const head = plan.to ?? undefined
    yield* Operations.end(folder, plan, { outcome: "ok", head, verified: ["kept"], resumed: true })
    finished.push(id)
  }
  return finished
})
