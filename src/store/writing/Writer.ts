/**
 * The writer: one group after another, each through ask, seal, mirror, sign, settle, journal, commit.
 *
 * Appends wait in a queue; the writer takes what waits, up to `groupRowsMax` rows and
 * `groupBytesMax` bytes, and makes it one group in one SQL transaction. What can refuse an append
 * speaks before the journal makes it durable; the commit comes after the fsync; every answer,
 * refusals too, leaves after the commit, as a refusal may rest on a row of the same group. A group
 * cannot be interrupted. An append that was interrupted before it was taken is withdrawn; after
 * that it is written and only its answer is dropped.
 */
import { Cause, Deferred, Effect, Exit, Latch, Result, Semaphore } from "effect"
import { SecureRandom } from "effect/crypto"
import type { SqlClient } from "effect/sql"
import { SqlError } from "effect/sql/SqlError"
import type { Head } from "../../core/Chain.ts"
import type * as Draft from "../../core/Draft.ts"
import type * as Hashes from "../../core/Hashes.ts"
import type * as Merkle from "../../core/Merkle.ts"
import type * as Signing from "../../core/Signing.ts"
import type { Held, Request, Settled } from "./Answers.ts"
import * as Answers from "./Answers.ts"
import { Refused } from "./Answers.ts"
import type { Attestor } from "../signing/Attestor.ts"
import { AttestorMissing, SignError } from "../signing/Attestor.ts"
import { JournalError, MirrorError, mirrorError } from "../errors.ts"
import type * as Expectation from "./Expectation.ts"
import type { Voted } from "./Group.ts"
import * as GateGuard from "./gateGuard.ts"
import * as Group from "./Group.ts"
import * as GroupRun from "./GroupRun.ts"
import { JournalFinal, OutcomeUnknown } from "../journal/Journal.ts"
import type { JournalWriter } from "../journal/JournalWriter.ts"
import * as Mirror from "../mirror/Mirror.ts"
import * as MirrorSigning from "../mirror/MirrorSigning.ts"
import * as MirrorTree from "../mirror/MirrorTree.ts"
import type { PolicyGate } from "./PolicyGate.ts"
import type { AppendError, AppendOptions, ExpectationRefusal, Receipt } from "./Receipt.ts"
import { LedgerClosed } from "./Receipt.ts"
import type { Rows } from "../reading/Rows.ts"
import * as Signer from "../signing/Signer.ts"
import { transacting } from "../mirror/transacting.ts"
import type { ViewKeeper } from "../views/ViewKeeper.ts"
import * as Voting from "./Voting.ts"

/** How groups are made; `signing` says how their rows are signed. */
export interface Settings extends Voting.Settings {
  readonly groupRowsMax: number
  readonly groupBytesMax: number
  readonly signing: Signer.Settings
}

interface Dependencies {
  readonly sql: SqlClient.SqlClient
  readonly journal: JournalWriter
  readonly rows: Rows
  readonly policy: PolicyGate["Service"]
  readonly views: ViewKeeper
  readonly hashes: Hashes.Hashes
  readonly settings: Settings
  readonly head: Head
  /** Over the rows up to the head; undefined where the mirror did not hold it. */
  readonly tree: Merkle.Tree | undefined
  /** The lineage behind the head, and who signs; rows are signed from the first on that has one. */
  readonly standing: Signer.Standing
  /**
   * Counts the mirror's rows, takes in those that it lacks, and says whether both legs have as many
   * then; run before the first group.
   */
  readonly takeStock: (until: Head) => Effect.Effect<boolean, MirrorError>
  /** Brings the mirror up to the journal's head; run before a group if the mirror is behind. */
  readonly catchUp: (until: Head) => Effect.Effect<void, MirrorError>
  /** Run after the answers of a group; told the rows since it last answered 0. */
  readonly afterGroup: (rows: number) => Effect.Effect<number>
}

type GroupError =
  | MirrorError
  | JournalError
  | JournalFinal
  | OutcomeUnknown
  | SignError
  | AttestorMissing

/** What fails a whole group before any of it is durable. */
const isGroupError = (error: unknown): error is GroupError =>
  error instanceof SignError ||
  error instanceof AttestorMissing ||
  error instanceof MirrorError ||
  error instanceof JournalError ||
  error instanceof JournalFinal ||
  error instanceof OutcomeUnknown

/** The writer of one open ledger; `run` is its loop, to be forked under the ledger's scope. */
export const make = Effect.fnUntraced(function* (deps: Dependencies) {
  const { sql, journal, policy, views, hashes, settings } = deps
  const random = yield* SecureRandom.SecureRandom
  /** Tells this writer from others; see `GateGuard.Asking`. */
  const own = {}
  const ask = Group.makeAsk({ ...deps, own })
  const waiting: Array<Request> = []
  const wake = Latch.makeUnsafe(false)
  /** Held by a group, and by whatever must run between groups. */
  const turn = Semaphore.makeUnsafe(1)
  const state: GroupRun.State = {
    head: deps.head,
    tree: deps.tree,
    standing: deps.standing,
    version: undefined,
    durable: undefined
  }
  const vote = Voting.make(policy, settings, random)
  const answers = Answers.make(settings.encode.format, hashes)
  const { failAll } = answers
  const { encode, signing } = settings
  const transact = GroupRun.make({ own, sql, journal, views, hashes, encode, signing, ask }, state)
  let behind = false
  let counted = false
  let rollbacks = 0
  let closed = false
  let unchecked = 0

  /**
   * Run one group and answer it. `held` are refusals from an earlier attempt at the same group:
   * they may rest on rows of it, so they are told only when those are durable.
   */
  const group: (
    requests: ReadonlyArray<Request>,
    held: ReadonlyArray<Held>
  ) => Effect.Effect<void> = Effect.fnUntraced(function* (
    requests: ReadonlyArray<Request>,
    held: ReadonlyArray<Held>
  ) {
    // Before the transaction: where it cannot even begin, the group before this one is not this one.
    state.durable = undefined
    const exit = yield* Effect.exit(transacting(sql)(transact(requests)))
    const tellHeld = ({ encoded }: Settled) =>
      Effect.forEach(
        held,
        ({ request, refusal }) =>
          Deferred.fail(request.answer, answers.denial(refusal, encoded, state.head)),
        { discard: true }
      )
    /** Those that did not fit in go first next time, and whatever may rest on rows of theirs. */
    const leave = (settled: Settled) => {
      const left = requests.slice(settled.answers.length)
      if (left.length === 0) return tellHeld(settled)
      return Effect.sync(() => waiting.unshift(...left, ...held.map(({ request }) => request)))
    }
    if (Exit.isSuccess(exit)) {
      views.committed(state.head.seq)
      yield* leave(exit.value)
      return yield* answers.tell(requests, exit.value, state.head, undefined)
    }
    const error = Cause.squash(exit.cause)
    const { durable } = state
    if (durable !== undefined) {
      behind = true
      yield* leave(durable)
      return yield* answers.tell(requests, durable, state.head, error)
    }
    if (error instanceof GroupRun.Crowded) {
      waiting.unshift(...requests.slice(error.count), ...held.map(({ request }) => request))
      return yield* group(requests.slice(0, error.count), [])
    }
    if (error instanceof Refused) {
      const { nth, refusal } = error
      const request = requests[nth]
      if (request === undefined) return yield* Effect.die(new Error("a refusal of no append"))
      return yield* group(requests.toSpliced(nth, 1), [...held, { request, refusal }])
    }
    const all = [...requests, ...held.map(({ request }) => request)]
    if (error instanceof SqlError && all.length > 1) {
      // Which append met it is not known, so each gets a group of its own.
      return yield* Effect.forEach(all, (request) => serveReady([request]), { discard: true })
    }
    if (error instanceof SqlError) return yield* failAll(all, mirrorError("take in a group")(error))
    yield* isGroupError(error)
      ? failAll(all, error)
      : failAll([...all, ...waiting.splice(0)], journal.finish("defect", error))
  })

  // ---- the queue --------------------------------------------------------------------------------

  const take = (): ReadonlyArray<Request> => {
    let rows = 0
    let bytes = 0
    let count = 0
    for (const request of waiting) {
      rows += request.drafts.length
      bytes += request.bytes
      if (count > 0 && (rows > settings.groupRowsMax || bytes > settings.groupBytesMax)) break
      count++
    }
    return waiting.splice(0, count)
  }

  /** Nothing is final, and the mirror is at the head: so it must be before anything is changed. */
  const ready = Effect.gen(function* () {
    const final = journal.final()
    if (final !== undefined) return yield* final
    if (!counted) {
      const now = yield* Effect.mapError(Mirror.dataVersion(sql), mirrorError("be counted"))
      // More rows than the journal has refuse every append, as parity does not hold.
      if (yield* deps.takeStock(state.head)) state.version = now
    }
    counted = true
    if (behind) {
      // Before the rows: a mirror that has them and no lineage would say that none is signed.
      if (state.standing.state._tag !== "Unsigned") {
        yield* Effect.mapError(
          MirrorSigning.store(sql, state.head.seq, state.standing.state),
          mirrorError("take in a lineage")
        )
      }
      yield* deps.catchUp(state.head)
    }
    behind = false
    if (!views.isAt(state.head.seq)) yield* asking(views.bringUp(state.head.seq))
  })

  /** Run a group, unless nothing may be written or the mirror has to catch up first and cannot. */
  const serveReady: (requests: ReadonlyArray<Request>) => Effect.Effect<void> = Effect.fnUntraced(
    function* (requests: ReadonlyArray<Request>) {
      const done = yield* Effect.result(ready)
      if (Result.isFailure(done)) return yield* failAll(requests, done.failure)
      yield* group(requests, [])
    }
  )

  const serve = Effect.fnUntraced(function* (requests: ReadonlyArray<Request>) {
    const before = state.head.seq
    yield* serveReady(requests)
    unchecked = yield* deps.afterGroup(unchecked + state.head.seq - before)
  })

  const next = Effect.suspend(() => {
    const requests = take()
    if (requests.length === 0) return Effect.void
    // Whatever goes wrong, nobody may wait for an answer that nobody will give.
    return Effect.catchCause(serve(requests), (cause) => {
      const final = journal.finish("defect", Cause.squash(cause))
      return failAll([...requests, ...waiting.splice(0)], final)
    })
  }).pipe(turn.withPermits(1), Effect.uninterruptible)

  /** Serves the queue until it is interrupted, which happens between groups only. */
  const run: Effect.Effect<never> = Effect.gen(function* () {
    yield* wake.await
    yield* next
    if (waiting.length === 0) wake.closeUnsafe()
    else yield* Effect.yieldNow
  }).pipe(Effect.forever)

  /** Once a row is signed, none that is not may follow. */
  const checkSigner = Effect.suspend(() => {
    const missing = Signer.missing(state.standing)
    return missing === undefined ? Effect.void : Effect.fail(missing)
  })

  const submitAny = Effect.fnUntraced(function* (
    drafts: ReadonlyArray<Draft.Draft>,
    options: Group.Append["options"],
    rotateTo?: Attestor["Service"]
  ): Effect.fn.Return<
    ReadonlyArray<Receipt>,
    AppendError | ExpectationRefusal<Expectation.Expectation>
  > {
    if ((yield* GateGuard.Asking) === own) {
      return yield* Effect.die(
        new Error("a gate or view that appends to its own ledger waits for itself")
      )
    }
    yield* Voting.checkOptions(options)
    yield* checkSigner
    const voted: Array<Voted> = []
    for (const [index, draft] of drafts.entries()) {
      const one = yield* vote(draft, index, options, state.standing.attestor !== undefined)
      const handsOver = one.isSigned && rotateTo === undefined
      const refused = handsOver ? Signer.refuseHandOver(one.draft, index) : undefined
      if (refused !== undefined) return yield* refused
      voted.push(one)
    }
    if (voted.length === 0) return []
    const answer: Request["answer"] = Deferred.makeUnsafe()
    const bytes = voted.reduce((sum, { draft }) => sum + draft.payloadText.length, 0)
    const request: Request = { drafts: voted, options, bytes, answer, rotateTo }
    return yield* Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        if (closed) return Effect.fail(new LedgerClosed())
        waiting.push(request)
        wake.openUnsafe()
        return Effect.onInterrupt(restore(Deferred.await(answer)), () =>
          Effect.sync(() => {
            const at = waiting.indexOf(request)
            if (at !== -1) waiting.splice(at, 1)
          })
        )
      })
    )
  })

  const submit = <X extends Expectation.Expectation | undefined = undefined>(
    drafts: ReadonlyArray<Draft.Draft>,
    options: AppendOptions<X>,
    rotateTo?: Attestor["Service"]
  ) =>
    // Only where something is expected can it fail as that is not so, which TypeScript cannot follow.
    submitAny(drafts, options, rotateTo) as Effect.Effect<
      ReadonlyArray<Receipt>,
      AppendError | ExpectationRefusal<X>
    >

  /** Hand the ledger over to another signer, in a row that the one until now signs. */
  const rotate = Effect.fnUntraced(function* (
    next: Attestor["Service"],
    given: Omit<Draft.Draft, "type">,
    options: AppendOptions
  ) {
    const made = yield* Signer.handOver(
      state.standing,
      state.head.seq + 1,
      next,
      given,
      settings.signing
    )
    return yield* submit([made], options, next)
  })

  /** Let the group under way settle, fail what waits, take nothing more. */
  const close = Effect.suspend(() => {
    closed = true
    return turn.withPermits(1)(Effect.suspend(() => failAll(waiting.splice(0), new LedgerClosed())))
  })

  /** Ask a view between two groups. */
  const asking = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(effect, GateGuard.Asking, own)

  /** Run something between two groups; a gate is asked within one, and would wait for itself. */
  const between = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.flatMap(GateGuard.Asking, (asking) =>
      asking === own
        ? Effect.die(new Error("a gate or view that changes its own ledger waits for itself"))
        : turn.withPermits(1)(effect)
    )

  /** The tree over the rows up to the head. Between two groups only. */
  const currentTree = Effect.gen(function* () {
    if (state.tree !== undefined) return state.tree
    const made = Effect.tap(MirrorTree.upTo(sql, state.head.seq, hashes), (whole) =>
      // So that it is made once, whether or not anything is appended before the ledger is closed.
      whole === undefined ? Effect.void : MirrorTree.store(sql, whole)
    )
    state.tree = yield* Effect.mapError(made, mirrorError("hold the tree over its rows"))
    if (state.tree !== undefined) return state.tree
    return yield* new MirrorError({
      operation: "hold what the journal holds",
      cause: new Error("its index lacks rows"),
      hint: "Nothing was written. Replay the ledger with `rebuild`."
    })
  })

  /** Nothing is final and nobody has closed the ledger. */
  const open = Effect.gen(function* () {
    if (closed) return yield* new LedgerClosed()
    const final = journal.final()
    if (final !== undefined) return yield* final
  })

  /** Change the mirror between two groups, whatever its state; not to be interrupted. */
  const alone = <A, E, R>(change: Effect.Effect<A, E, R>) =>
    between(Effect.uninterruptible(Effect.andThen(open, change)))

  /** Change the ledger between two groups, its mirror at the head; not to be interrupted. */
  const exclusively = <A, E, R>(change: Effect.Effect<A, E, R>) =>
    alone(Effect.andThen(ready, change))

  /** Whether both legs are known to end at the head. */
  const isSettled = (): boolean => journal.final() === undefined && !behind

  /** Go on from here, where journal and mirror now end, and the signatures with them. */
  const goOnFrom = (
    to: Head,
    grown: Merkle.Tree | undefined,
    signed: Signing.State = state.standing.state
  ): void => {
    if (to.seq < state.head.seq) rollbacks++
    state.head = to
    state.tree = grown
    state.standing = { ...state.standing, state: signed }
    behind = false
  }

  return {
    submit,
    run,
    asking,
    close,
    between,
    alone,
    exclusively,
    ready,
    isSettled,
    goOnFrom,
    currentTree,
    rotate,
    standing: () => state.standing,
    head: () => state.head,
    /** How often the end of the journal went back: what was read of it before may be gone. */
    rollbacks: () => rollbacks
  }
})

/** The writer of one open ledger. */
export type Writer = Effect.Success<ReturnType<typeof make>>
