/**
 * What the holder of an open ledger may do to it between two groups: checkpoints and operations.
 *
 * A rollback takes the ledger back to a checkpoint, `rebuild` makes its mirror anew. Each operation is
 * recorded, failures too, with who asked for it and why.
 */
import type { FileSystem } from "effect"
import { Cause, Clock, Effect, Exit, Path, Result } from "effect"
import type { SecureRandom } from "effect/crypto"
import type * as Chain from "../../core/Chain.ts"
import type * as Checkpoint from "../../core/Checkpoint.ts"
import * as Op from "../../core/Operation.ts"
import type * as Signing from "../../core/Signing.ts"
import * as Timestamp from "../../core/Timestamp.ts"
import type { RowDamaged } from "../errors.ts"
import * as durable from "../journal/durable.ts"
import type { JournalWriter } from "../journal/JournalWriter.ts"
import type { LockError } from "../locking/Guard.ts"
import type { LedgerMarker } from "../locking/LedgerMarker.ts"
import type { MarkerStale } from "../locking/Marker.ts"
import * as Rebuild from "../mirror/Rebuild.ts"
import * as OpeningSignatures from "../signing/OpeningSignatures.ts"
import type { ViewKeeper } from "../views/ViewKeeper.ts"
import type { CheckpointError } from "./Checkpointing.ts"
import * as Checkpointing from "./Checkpointing.ts"
import * as Finishing from "./finishing.ts"
import * as Operations from "./Operations.ts"
import { checkOperator, checkSaid, OperationFailed } from "./requests.ts"
import * as Rollback from "./Rollback.ts"

export type { CheckpointError } from "./Checkpointing.ts"
export { OperationFailed, RequestInvalid } from "./requests.ts"

/** Why an operation does not end well, or does not begin. */
export type OperationError =
  | CheckpointError
  | OperationFailed
  | RowDamaged
  | MarkerStale
  | LockError

/** Why the mirror is not made anew; it is then what it was. */
export type RebuildError = CheckpointError | Rebuild.RebuildError

interface Dependencies extends Checkpointing.Dependencies {
  readonly journalWriter: JournalWriter
  readonly marker: LedgerMarker
  readonly views: ViewKeeper
  /** How signatures are followed. */
  readonly following: Signing.Following
}

type Needs = FileSystem.FileSystem | Path.Path | SecureRandom.SecureRandom

/** The checkpoints and operations of an open ledger. */
export const make = Effect.fnUntraced(function* (deps: Dependencies) {
  const { following, hashes, journal, journalWriter, marker, sql, views, writer } = deps
  const { layout } = journal
  const context = yield* Effect.context<Needs>()
  const ground: Rollback.Ground = { journal, sql, hashes }
  const { checkpoint, checkpointAfter, wentBackTo } = yield* Checkpointing.make(deps)

  /** Record a refusal that came before any plan. */
  const refuse = Effect.fnUntraced(function* (
    request: Op.Request,
    kind: Op.Kind,
    { actual, errorClass, expected }: Rollback.Misfit
  ) {
    const { folder, id } = yield* Operations.begin(layout)
    const failed = new OperationFailed({
      operation: id,
      kind,
      outcome: "recoverable_error",
      errorClass,
      expected,
      actual
    })
    yield* Operations.end(folder, asked(request, kind), {
      outcome: "recoverable_error",
      errorClass,
      message: failed.message,
      head: writer.head()
    })
    return yield* failed
  })

  const asked = ({ correlationId, operator, reason }: Op.Request, kind: Op.Kind) => ({
    kind,
    operator,
    reason,
    correlationId: correlationId ?? null
  })

  const fatal = Effect.fnUntraced(function* (
    folder: string,
    plan: Op.Plan,
    cause: Cause.Cause<unknown>
  ) {
    const error = Cause.squash(cause)
    journalWriter.finish("operation_unfinished", error)
    const isForeign = error instanceof Operations.OperationUnfinished
    const failed = new OperationFailed({
      operation: plan.id,
      kind: plan.kind,
      outcome: "fatal_error",
      errorClass: isForeign ? "foreign_change" : "io_error",
      expected: isForeign ? error.expected : "every step to be done",
      actual: isForeign ? error.actual : error instanceof Error ? error.message : String(error)
    })
    const { errorClass, message, outcome } = failed
    // A note for readers: what must be done stands in the plan.
    yield* Effect.ignore(
      Operations.noteFailure(folder, plan, { outcome, errorClass, message, head: writer.head() })
    )
    return yield* failed
  })

  /** A plan that fails to become durable, but has its name, is one that a later open would finish. */
  const placePlan = Effect.fnUntraced(function* (folder: string, plan: Op.Plan) {
    const placed = yield* Effect.exit(Operations.place(folder, plan))
    if (Exit.isSuccess(placed)) return
    const there = yield* Effect.exit(durable.kindAt(`${folder}/plan.json`))
    const isGone = Exit.isSuccess(there) && there.value === undefined
    if (!isGone) return yield* fatal(folder, plan, placed.cause)
    yield* clearMarker
    return yield* placed
  })

  /** One that stays names an operation that is done with: the next one, or the next open, clears. */
  const clearMarker = Effect.ignore(marker.clear)

  const rollbackNow = Effect.fnUntraced(function* (
    asked: Checkpoint.Checkpoint | number,
    request: Op.Request
  ) {
    const head = writer.head()
    const checked = yield* Effect.result(
      Effect.tap(Rollback.target(ground, asked), (found) => Rollback.check(ground, found, head))
    )
    if (checked._tag === "Failure") {
      const failure = checked.failure
      return yield* "_tag" in failure ? Effect.fail(failure) : refuse(request, "rollback", failure)
    }
    const target = checked.success
    const tree = yield* writer.currentTree
    const cutViews = yield* writer.asking(views.goingBack(target.head.seq))
    const { folder, id } = yield* Operations.begin(layout)
    const plan = yield* Rollback.plan(ground, id, target, head, tree, request)
    yield* marker.place(id, `rollback to checkpoint ${target.number}`, request.operator)
    yield* placePlan(folder, plan)
    const work = Effect.gen(function* () {
      yield* Finishing.carryOut(layout, folder, plan, sql, cutViews)
      const to: Chain.Head = target.head
      yield* journalWriter.resume((yield* journal.files).at(-1), to)
      const where = { sql, journal, hashes, following }
      const state = yield* OpeningSignatures.behind(where, to, target)
      yield* OpeningSignatures.settle(sql, to.seq, state)
      writer.goOnFrom(to, target.tree, state)
      wentBackTo(target)
      const verified = ["checkpoint", "head", "root", "kept"]
      return yield* Operations.end(folder, plan, { outcome: "ok", head: target.position, verified })
    })
    const outcome = yield* Effect.catchCause(work, (cause) => fatal(folder, plan, cause))
    yield* clearMarker
    // Where this fails the next group does it, before anything is asked of them.
    yield* Effect.exit(writer.asking(views.bringUp(target.head.seq)))
    return Operations.toldOf(yield* Path.Path, folder, plan, outcome)
  })

  const rebuildNow = Effect.fnUntraced(function* (request: Op.Request) {
    const head = writer.head()
    const { folder, id } = yield* Operations.begin(layout)
    const { leafHash, seq } = head
    const at = Timestamp.fromMillis(yield* Clock.currentTimeMillis)
    const position = { seq, leafHash }
    const plan = Op.makePlan(
      { ...Operations.nothing, ...asked(request, "rebuild"), id, at, from: position, to: position },
      hashes
    )
    yield* Operations.place(folder, plan)
    const rebuilding = Rebuild.rebuild(ground, head, writer.standing().state, views)
    const made = yield* Effect.result(writer.asking(rebuilding))
    if (Result.isFailure(made)) {
      const { _tag: errorClass, message } = made.failure
      yield* Operations.end(folder, plan, { outcome: "recoverable_error", errorClass, message })
      return yield* Effect.fail(made.failure)
    }
    writer.goOnFrom(head, made.success)
    const counts = { rows: seq }
    const verified = ["rows", "seal", "lines", "head"]
    const ending = { outcome: "ok", head: position, verified, counts } as const
    const outcome = yield* Operations.end(folder, plan, ending)
    return Operations.toldOf(yield* Path.Path, folder, plan, outcome)
  })

  const rollback = Effect.fn("Ledger.rollback")(
    function* (
      to: Checkpoint.Checkpoint | number,
      request: Op.Request
    ): Effect.fn.Return<Op.Operation, OperationError, Needs> {
      const { correlationId, operator, reason } = request
      yield* checkSaid({ operator, reason, correlationId })
      yield* checkOperator(operator)
      return yield* writer.exclusively(rollbackNow(to, request))
    },
    (effect) => Effect.provideContext(effect, context)
  )

  const rebuild = Effect.fn("Ledger.rebuild")(
    function* (request: Op.Request): Effect.fn.Return<Op.Operation, RebuildError, Needs> {
      const { correlationId, operator, reason } = request
      yield* checkSaid({ operator, reason, correlationId })
      return yield* writer.alone(rebuildNow(request))
    },
    (effect) => Effect.provideContext(effect, context)
  )

  return { checkpoint, rollback, rebuild, checkpointAfter }
})
