/**
 * Repair: the explicit way past a refusal. It carries out what a diagnosis showed, and nothing else.
 *
 * The ledger must be closed: whoever repairs holds its guard. The diagnosis is made again, and one
 * that differs from the plan that was shown is refused. Then as for a rollback: plan, mirror, files,
 * outcome, redo only; killed at any point it is finished by the next open. All that it takes out of
 * journal and mirror is kept in its folder, with who asked for it and why.
 */
import { Clock, Effect, FileSystem, Path, Schema } from "effect"
import type { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import type { Move, Operation, Request } from "../../core/Operation.ts"
import * as Checkpoint from "../../core/Checkpoint.ts"
import * as Op from "../../core/Operation.ts"
import * as Segment from "../../core/Segment.ts"
import * as Timestamp from "../../core/Timestamp.ts"
import { digest, folderOf } from "./carryOut.ts"
import type * as Diagnosis from "./Diagnosis.ts"
import { diagnose } from "./Diagnosis.ts"
import * as durable from "../journal/durable.ts"
import type { MirrorError } from "../errors.ts"
import { JournalError, journalError } from "../errors.ts"
import type { JournalReader } from "../journal/Journal.ts"
import type { LockError } from "../locking/Guard.ts"
import type { LedgerMarker } from "../locking/LedgerMarker.ts"
import type { RequestInvalid } from "./requests.ts"
import { checkOperator, checkSaid, OperationFailed } from "./requests.ts"
import type { MarkerStale } from "../locking/Marker.ts"
import * as Mirror from "../mirror/Mirror.ts"
import * as Finishing from "./finishing.ts"
import * as OperationFolders from "./OperationFolders.ts"
import * as Operations from "./Operations.ts"
import type { RepairPlan } from "./RepairPlan.ts"
import { isSame } from "./RepairPlan.ts"
import * as Rollback from "./Rollback.ts"

/** The ledger is not any more what the diagnosis saw. Nothing was changed. */
export class PlanOutdated extends Schema.TaggedError<PlanOutdated>()("PlanOutdated", {
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    return (
      `the ledger has changed since it was diagnosed. Then: ${this.expected} Now: ${this.actual} ` +
      `Nothing was changed; look at the new plan first.`
    )
  }
}

/** Why a repair is not carried out, or not to its end. */
export type RepairError =
  | PlanOutdated
  | OperationFailed
  | Operations.OperationUnfinished
  | RequestInvalid
  | MarkerStale
  | LockError
  | JournalError
  | MirrorError

type Needs = FileSystem.FileSystem | Path.Path | SecureRandom.SecureRandom

/** What a repair works on: a closed ledger whose guard is held. */
export interface Ground extends Diagnosis.Ground {
  /** The writing client of its mirror; undefined where that cannot be read. */
  readonly writing: SqlClient.SqlClient | undefined
  readonly marker: LedgerMarker
}

/** What stands at a place where something foreign does, to be moved as it is. */
const foreignMove = (paths: Path.Path, path: string): Move => ({
  kind: "foreign",
  name: paths.basename(path),
  bytes: 0,
  sha256: null,
  rows: null
})

const mirrorFiles = Effect.fnUntraced(function* (mirror: string) {
  const paths = yield* Path.Path
  const moves: Array<Move> = []
  for (const path of [`${mirror}-wal`, `${mirror}-shm`, mirror]) {
    if ((yield* durable.kindAt(path)) === undefined) continue
    const name = paths.basename(path)
    moves.push({ kind: "mirror", name, bytes: 0, sha256: null, rows: null })
  }
  return moves
})

const checkpointMoves = Effect.fnUntraced(function* (
  { layout }: JournalReader,
  numbers: ReadonlyArray<number>
) {
  return yield* Effect.forEach(
    numbers.toReversed(),
    Effect.fnUntraced(function* (number) {
      const name = Checkpoint.name(number)
      const path = `${layout.checkpoints}/${name}`
      const isFile = (yield* durable.kindAt(path)) === "File"
      const found = isFile ? yield* digest(path, 0, Number.MAX_SAFE_INTEGER) : undefined
      const { bytes = 0, sha256 = null } = found ?? {}
      return { kind: "checkpoint", name, bytes, sha256, rows: null } satisfies Move
    })
  )
})

/** The ranges and files of the journal that are set aside. */
const cutsOf = Effect.fnUntraced(function* (ground: Ground, { cut, to }: RepairPlan) {
  const { journal } = ground
  if (cut === null) return { cut: [], move: [] }
  const { files } = yield* journal.listing
  const file = files.find(({ path }) => path === cut.path)
  if (file === undefined) return { cut: [], move: [] }
  // A segment of which nothing is kept is moved as a whole, name and all.
  const isWhole = cut.offset === 0 && journal.format === "segments"
  const firstSeq = isWhole ? file.segment : to.seq + 1
  const place = { segment: file.segment, offset: isWhole ? file.bytes : cut.offset, firstSeq }
  const behind = yield* Rollback.behind(ground, files, place)
  if (!isWhole) return behind
  const { bytes, lines, sha256 } = yield* digest(file.path, 0, file.bytes)
  const name = Segment.name(file.segment)
  const own: Move = { kind: "segment", name, bytes, sha256, rows: lines }
  return { cut: behind.cut, move: [...behind.move, own] }
})

const planOf = Effect.fnUntraced(function* (
  ground: Ground,
  id: string,
  plan: RepairPlan,
  { correlationId, operator, reason }: Request
) {
  const { hashes, journal } = ground
  const paths = yield* Path.Path
  const { cut, move } = yield* cutsOf(ground, plan)
  const { layout } = journal
  return Op.makePlan(
    {
      ...Operations.nothing,
      id,
      kind: "repair",
      at: Timestamp.fromMillis(yield* Clock.currentTimeMillis),
      operator,
      reason,
      correlationId: correlationId ?? null,
      from: plan.from,
      to: plan.to,
      cut,
      move: [
        ...move,
        ...plan.foreign.map((path) => foreignMove(paths, path)),
        ...(yield* checkpointMoves(journal, plan.checkpoints)),
        ...(plan.isMirrorUnreadable ? yield* mirrorFiles(layout.mirror) : [])
      ],
      mirrorUntil: plan.mirrorUntil
    },
    hashes
  )
})

/**
 * A folder that can never be finished gets an outcome, so that it is not looked at any more. A link in
 * place of one is moved into `into` as it is: what is written there would go wherever it leads.
 */
const close = Effect.fnUntraced(function* (
  ground: Ground,
  id: string,
  request: Request,
  into: string
) {
  const { hashes, journal } = ground
  const { folder, plan, trouble } = yield* OperationFolders.look(journal.layout, id, hashes)
  if ((yield* durable.kindAt(folder)) !== "Directory") {
    const fs = yield* FileSystem.FileSystem
    const paths = yield* Path.Path
    const foreign = paths.join(into, folderOf("foreign"))
    yield* durable.makeDirectory(foreign)
    const moving = fs.rename(folder, paths.join(foreign, id))
    yield* Effect.mapError(moving, journalError("move", folder))
    yield* durable.syncDirectory(foreign)
    return yield* durable.syncDirectory(journal.layout.operations)
  }
  const { correlationId, operator, reason } = request
  const asked = plan ?? { kind: "repair", operator, reason, correlationId: correlationId ?? null }
  const message = trouble === undefined ? "" : `expected ${trouble.expected} at ${trouble.path}`
  yield* Operations.end(folder, asked, {
    outcome: "fatal_error",
    errorClass: "closed_by_repair",
    message,
    resumed: true
  })
})

/**
 * Refuses names that a plan cannot say, or that lead nowhere: a name that is no UTF-8 is read as
 * another one, and a plan that moves it could never be finished.
 */
const checkForeign = Effect.fnUntraced(function* ({ foreign }: RepairPlan) {
  const paths = yield* Path.Path
  for (const path of foreign) {
    const isThere = Op.isName(paths.basename(path)) && (yield* durable.kindAt(path)) !== undefined
    if (isThere) continue
    return yield* new JournalError({
      operation: "set aside",
      path,
      code: null,
      cause: new Error("its name cannot be kept in a plan"),
      hint: "Rename it, or move it away yourself, then diagnose again. Nothing was changed"
    })
  }
})

/** Carry out a plan that a diagnosis has shown; the operation that it became. */
export const repair = Effect.fn("Ledger.repair")(function* (
  ground: Ground,
  shown: RepairPlan,
  request: Request
): Effect.fn.Return<Operation, RepairError, Needs> {
  const { correlationId, operator, reason } = request
  yield* checkSaid({ operator, reason, correlationId })
  yield* checkOperator(operator)
  const { journal, marker, writing } = ground
  const { layout } = journal
  const now = yield* diagnose(ground)
  if (!isSame(now, shown)) {
    return yield* new PlanOutdated({ expected: shown.message, actual: now.message })
  }
  if (!now.hasSteps) {
    return yield* new OperationFailed({
      operation: "",
      kind: "repair",
      outcome: "recoverable_error",
      errorClass: "nothing_to_repair",
      expected: "a ledger that opening refuses",
      actual: now.message
    })
  }
  yield* checkForeign(now)
  // Rows are taken out of the tables of this version, as opening would have them.
  if (writing !== undefined && now.mirrorUntil !== null) {
    yield* Effect.provideService(Mirror.migrate, SqlClient.SqlClient, writing)
  }
  const { folder, id } = yield* Operations.begin(layout)
  const plan = yield* planOf(ground, id, now, request)
  // Before anything is done: once placed, it is only ever finished.
  yield* Operations.textOf(folder, plan)
  for (const closed of now.closes) yield* close(ground, closed, request, folder)
  yield* marker.place(id, "repair", operator)
  yield* Operations.place(folder, plan)
  yield* Finishing.carryOut(layout, folder, plan, writing)
  const verified = ["journal", ...(now.isMirrorUnreadable ? [] : ["mirror"]), "kept"]
  const outcome = yield* Operations.end(folder, plan, { outcome: "ok", head: now.to, verified })
  // It is done; a marker that stays names it, and the next open clears it.
  yield* Effect.ignore(marker.clear)
  return Operations.toldOf(yield* Path.Path, folder, plan, outcome)
})
