/**
 * What the holder of an open ledger may do to it between two groups: checkpoints and operations.
 *
 * A checkpoint states the head at the end of a group; it is durable when it is answered. A rollback
 * takes the ledger back to one. Each is recorded, failures too, with who asked for it and why.
 */
import type { FileSystem } from "effect"
import { Cause, Clock, Effect, Exit, Path, Result, Schema } from "effect"
import type { SecureRandom } from "effect/crypto"
import type { SqlClient } from "effect/sql"
import type * as Chain from "../../core/Chain.ts"
import * as Checkpoint from "../../core/Checkpoint.ts"
import type * as Hashes from "../../core/Hashes.ts"
import type * as Merkle from "../../core/Merkle.ts"
import * as Op from "../../core/Operation.ts"
import type * as Signing from "../../core/Signing.ts"
import * as Timestamp from "../../core/Timestamp.ts"
import { LockMarker } from "../../core/LockMarker.ts"
import type { SignError } from "../signing/Attestor.ts"
import * as Checkpoints from "./Checkpoints.ts"
import * as durable from "../journal/durable.ts"
import type { JournalError, MirrorError, RowDamaged } from "../errors.ts"
import { mirrorError } from "../errors.ts"
import type { LockError } from "../locking/Guard.ts"
import type { JournalFinal, JournalReader } from "../journal/Journal.ts"
import type { JournalWriter } from "../journal/JournalWriter.ts"
import type { LedgerMarker } from "../locking/LedgerMarker.ts"
import type { MarkerStale } from "../locking/Marker.ts"
import * as Mirror from "../mirror/Mirror.ts"
import * as MirrorSigning from "../mirror/MirrorSigning.ts"
import * as OpeningSignatures from "../signing/OpeningSignatures.ts"
import * as Finishing from "./finishing.ts"
import * as OperationFolders from "./OperationFolders.ts"
import * as Operations from "./Operations.ts"
import type { LedgerClosed } from "../writing/Receipt.ts"
import * as Rebuild from "../mirror/Rebuild.ts"
import * as Rollback from "./Rollback.ts"
import * as Signer from "../signing/Signer.ts"
import type { ViewKeeper } from "../views/ViewKeeper.ts"
import type * as Writer from "../writing/Writer.ts"

/** What an operator or a caller says about a checkpoint or operation cannot be kept. */
export class RequestInvalid extends Schema.TaggedError<RequestInvalid>()("RequestInvalid", {
  member: Schema.String,
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    return `${this.member} must be ${this.expected}, not ${this.actual}. Nothing was changed.`
  }
}

/**
 * An operation that did not come to its end. `recoverable_error`: nothing was changed, but for the
 * rows of an import, which stay.
 * `fatal_error`: it was begun, and the next open finishes it; until then nothing is appended.
 */
export class OperationFailed extends Schema.TaggedError<OperationFailed>()("OperationFailed", {
  operation: Schema.String,
  kind: Op.Kind,
  outcome: Schema.Literals(["recoverable_error", "fatal_error"]),
  errorClass: Schema.String,
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    const next =
      this.kind === "import"
        ? "Run it again: it adds what is missing."
        : this.outcome === "recoverable_error"
          ? "Nothing was changed."
          : "It was begun: close the ledger and open it again, which finishes it."
    return (
      `the ${this.kind} ${this.operation} failed (${this.errorClass}): expected ${this.expected}, ` +
      `found ${this.actual}. ${next}`
    )
  }
}

/** Why a checkpoint is not made. Nothing of it is there. */
export type CheckpointError =
  | RequestInvalid
  | LedgerClosed
  | JournalFinal
  | JournalError
  | MirrorError
  | SignError

/** Why an operation does not end well, or does not begin. */
export type OperationError =
  | CheckpointError
  | OperationFailed
  | RowDamaged
  | MarkerStale
  | LockError

/** Why the mirror is not made anew; it is then what it was. */
export type RebuildError = CheckpointError | Rebuild.RebuildError

interface Dependencies {
  readonly journal: JournalReader
  readonly journalWriter: JournalWriter
  readonly writer: Effect.Success<ReturnType<typeof Writer.make>>
  readonly sql: SqlClient.SqlClient
  readonly hashes: Hashes.Hashes
  readonly marker: LedgerMarker
  readonly views: ViewKeeper
  /** How signatures are followed, and made. */
  readonly following: Signing.Following
  readonly signer: Signer.Settings
}

type Needs = FileSystem.FileSystem | Path.Path | SecureRandom.SecureRandom

/** What a plan that was carried out is to later checkpoints. */
const rolledBack = (plan: Op.Plan | undefined): ReadonlyArray<Checkpoint.Rollback> =>
  plan === undefined || !Op.isRollback(plan) || plan.root === null
    ? []
    : [{ operation: plan.id, from: plan.from, root: plan.root, to: plan.to }]

/** Refuses what cannot be kept as text. */
export const checkSaid = Effect.fnUntraced(function* (said: {
  readonly [member: string]: string | undefined
}) {
  for (const [member, text] of Object.entries(said)) {
    const actual = text === undefined ? undefined : Op.unfit(text)
    if (actual === undefined) continue
    const expected = `a text of 1 to ${Op.saidMax} characters`
    return yield* new RequestInvalid({ member, expected, actual })
  }
})

const isOneLine = Schema.is(LockMarker.fields.operator)

/** Refuses an operator whom no marker can name. */
export const checkOperator = Effect.fnUntraced(function* (operator: string) {
  if (isOneLine(operator)) return
  const sides = { expected: "one line of text", actual: "more than one" }
  return yield* new RequestInvalid({ member: "operator", ...sides })
})

/** The checkpoints and operations of an open ledger. */
export const make = Effect.fnUntraced(function* (deps: Dependencies) {
  const { following, hashes, journal, journalWriter, marker, signer, sql, views, writer } = deps
  const { layout } = journal
  const context = yield* Effect.context<Needs>()
  const ground: Rollback.Ground = { journal, sql, hashes }
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
    const { folder, id } = yield* Operations.begin(layout)
    const plan = yield* Rollback.plan(ground, id, target, head, tree, request)
    yield* marker.place(id, `rollback to checkpoint ${target.number}`, request.operator)
    yield* placePlan(folder, plan)
    const work = Effect.gen(function* () {
      yield* Finishing.carryOut(layout, folder, plan, sql)
      const to: Chain.Head = target.head
      yield* journalWriter.resume((yield* journal.files).at(-1), to)
      const where = { sql, journal, hashes, following }
      const state = yield* OpeningSignatures.behind(where, to, target)
      yield* OpeningSignatures.settle(sql, to.seq, state)
      writer.goOnFrom(to, target.tree, state)
      newestSize = target.size
      past = undefined
      const verified = ["checkpoint", "head", "root", "kept"]
      return yield* Operations.end(folder, plan, { outcome: "ok", head: target.position, verified })
    })
    const outcome = yield* Effect.catchCause(work, (cause) => fatal(folder, plan, cause))
    yield* clearMarker
    // Where this fails the next group does it, before anything is asked of them.
    yield* Effect.exit(views.bringUp(target.head.seq))
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
    const made = yield* Effect.result(Rebuild.rebuild(ground, head, writer.standing().state, views))
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
