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
import {
  Cause,
  Clock,
  Data,
  Deferred,
  Effect,
  Exit,
  Latch,
  Result,
  Schema,
  Semaphore
} from "effect"
import { SecureRandom } from "effect/crypto"
import type { SqlClient } from "effect/sql"
import { SqlError } from "effect/sql/SqlError"
import type { Head } from "../core/Chain.ts"
import * as Json from "../core/CanonicalJson.ts"
import type { CompleteDraft } from "../core/Draft.ts"
import * as Draft from "../core/Draft.ts"
import type { AnyKind } from "../core/Kind.ts"
import * as Kind from "../core/Kind.ts"
import * as EventId from "../core/EventId.ts"
import type * as Hashes from "../core/Hashes.ts"
import * as Merkle from "../core/Merkle.ts"
import * as Policy from "../core/Policy.ts"
import * as Row from "../core/Row.ts"
import type * as Signing from "../core/Signing.ts"
import * as Timestamp from "../core/Timestamp.ts"
import { JournalError, MirrorError, mirrorError } from "./errors.ts"
import * as Expectation from "./Expectation.ts"
import type { Denied, Planned, Voted } from "./Group.ts"
import * as Group from "./Group.ts"
import type { Place } from "./Journal.ts"
import type { JournalWriter } from "./JournalWriter.ts"
import { JournalFinal, OutcomeUnknown } from "./Journal.ts"
import * as Mirror from "./Mirror.ts"
import * as MirrorTree from "./MirrorTree.ts"
import type { PolicyGate } from "./PolicyGate.ts"
import type { Rows } from "./Rows.ts"
import type { AppendError, AppendOptions, ExpectationRefusal, Receipt } from "./Receipt.ts"
import type { Attestor } from "./Attestor.ts"
import { AttestorMissing, SignError } from "./Attestor.ts"
import * as MirrorSigning from "./MirrorSigning.ts"
import * as Signer from "./Signer.ts"
import type { ViewKeeper } from "./ViewKeeper.ts"
import { ViewFailed } from "./Views.ts"
import { LedgerClosed, MirrorBehind } from "./Receipt.ts"

export interface WriterSettings {
  readonly groupRowsMax: number
  readonly groupBytesMax: number
  readonly lineBytesMax: number
  readonly numbers: "lossless" | "cortex"
  readonly kinds: ReadonlyArray<AnyKind> | undefined
  readonly encode: Row.EncodeOptions
  readonly signing: Signer.Settings
}

interface Dependencies {
  readonly sql: SqlClient.SqlClient
  readonly journal: JournalWriter
  readonly rows: Rows
  readonly policy: PolicyGate["Service"]
  readonly views: ViewKeeper
  readonly hashes: Hashes.Hashes
  readonly settings: WriterSettings
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

interface Request extends Group.Append {
  readonly bytes: number
  readonly rotateTo: Attestor["Service"] | undefined
  readonly answer: Deferred.Deferred<
    ReadonlyArray<Receipt>,
    AppendError | ExpectationRefusal<Expectation.Expectation>
  >
}

/** Internal: ends a transaction that holds rows of an append which was refused after all. */
class Refused extends Data.TaggedError("Refused")<{
  readonly request: Request
  readonly refusal: Denied
}> {}

/** Internal: ends a transaction whose views hold rows of appends that the group has no time for. */
class Crowded extends Data.TaggedError("Crowded")<{
  /** How many of its appends fit in. */
  readonly count: number
}> {}

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

/** A group that was asked and encoded: what each of its appends will be told. */
interface Settled {
  /** Of the first appends; the others were left to the next group. */
  readonly answers: ReadonlyArray<Result.Result<ReadonlyArray<Planned>, Denied>>
  readonly encoded: Row.Group
}

/** The writer of one open ledger; `run` is its loop, to be forked under the ledger's scope. */
export const make = Effect.fnUntraced(function* (deps: Dependencies) {
  const { sql, journal, policy, views, hashes, settings } = deps
  const random = yield* SecureRandom.SecureRandom
  /** Tells this writer from others; see `Group.Asking`. */
  const own = {}
  const { ask, unlock } = Group.makeAsk({ ...deps, own })
  const waiting: Array<Request> = []
  const wake = Latch.makeUnsafe(false)
  /** Held by a group, and by whatever must run between groups. */
  const turn = Semaphore.makeUnsafe(1)
  let head = deps.head
  let tree = deps.tree
  let standing = deps.standing
  let behind = false
  let counted = false
  let rollbacks = 0
  let closed = false
  let unchecked = 0
  /** SQL's data version when its rows were last counted to be as many as the journal's. */
  let version: number | undefined
  /** What the group under way made durable, whatever becomes of its commit. */
  let durable: Settled | undefined

  // ---- before the queue: complete the drafts, let the rules on the draft alone vote -------------

  const vote = Effect.fnUntraced(function* (
    draft: Draft.Draft,
    index: number,
    options: Group.Append["options"]
  ) {
    const isSigned = standing.attestor !== undefined
    const completed = Draft.complete(draft, {
      id: EventId.fromUlid(yield* random.ulid),
      now: Timestamp.fromMillis(yield* Clock.currentTimeMillis),
      index,
      mode: settings.encode.format,
      numbers: settings.numbers,
      lineBytesMax: settings.lineBytesMax,
      signatureBytesMax: isSigned ? Signer.signatureBytesMax : 0
    })
    if (Result.isFailure(completed)) return yield* Effect.fail(completed.failure)
    const misfit = misfitOf(settings.kinds, completed.success, index)
    if (misfit !== undefined) return yield* misfit
    if (options.decisions?.ledger !== undefined) {
      return { draft: completed.success, index, isSigned, votes: [] } satisfies Voted
    }
    const votes = yield* policy.votes(completed.success, isSigned)
    const voted: Voted = { draft: completed.success, index, isSigned, votes }
    // Without gates nothing that is asked later can change this decision.
    if (!policy.hasGates) yield* Group.decideLedger(policy, voted, [], options)
    return voted
  })

  // ---- ask, seal, mirror ------------------------------------------------------------------------

  /** The mirror's rows, counted only where another connection has written since. */
  const countAgain = Effect.gen(function* () {
    const now = yield* Mirror.dataVersion(sql)
    if (now === version) return { events: head.seq, indexed: head.seq }
    const counts = yield* Mirror.counts(sql)
    if (counts.events === head.seq && counts.indexed === head.seq) version = now
    return counts
  })

  /** One group in one transaction. Fails as a whole; what refuses one append is in its answer. */
  const transact = Effect.fnUntraced(function* (requests: ReadonlyArray<Request>) {
    const counts = yield* countAgain
    const group = Group.start(
      head,
      yield* Mirror.settled(sql),
      counts,
      yield* Mirror.findByIds(sql, namedIds(requests))
    )
    if (counts.events < head.seq || counts.indexed < head.seq) {
      const ready = requests.some(({ options }) => options.decisions?.mirror !== undefined)
      // An id whose row the mirror lost would be written twice, whatever a caller has decided.
      if (ready) return yield* mirrorLost(group.parity)
    }
    const answers: Array<Settled["answers"][number]> = []
    const ends: Array<number> = []
    for (const request of requests) {
      const answer = yield* Effect.result(ask(request, group))
      ends.push(group.rows.length)
      if (Result.isSuccess(answer)) {
        answers.push(Result.succeed(answer.success))
        continue
      }
      if (answer.failure instanceof SqlError) return yield* Effect.fail(answer.failure)
      if (answer.failure instanceof ViewFailed) {
        return yield* viewRefused(requests, ends, group, answer.failure)
      }
      // Rows of a refused append that a gate was shown are in SQL; only a new transaction is clean.
      if (group.inserted > group.rows.length) {
        return yield* new Refused({ request, refusal: answer.failure })
      }
      answers.push(Result.fail(answer.failure))
    }
    const signed = yield* sign(group, requests, ends)
    yield* Group.insertPending(sql, group)
    yield* Effect.catchTag(Group.foldPending(own, views, group), "ViewFailed", (failed) =>
      viewRefused(requests, ends, group, failed)
    )
    return yield* settle(group, answers.slice(0, signed.parts), signed.standing)
  })

  /** The append whose row a view cannot take is refused, and the group run again without it. */
  const viewRefused = (
    requests: ReadonlyArray<Request>,
    ends: ReadonlyArray<number>,
    { before }: Group.Group,
    failed: ViewFailed
  ) => {
    const rows = failed.seq - before.seq
    const request = requests[ends.findIndex((end) => end >= rows)] ?? requests[ends.length - 1]
    if (request === undefined) throw new Error("a view took a row of no append")
    return Effect.fail(new Refused({ request, refusal: failed }))
  }

  // ---- sign -------------------------------------------------------------------------------------

  /** Sign the group's rows; those of appends that do not fit into the time leave it. */
  const sign = Effect.fnUntraced(function* (
    group: Group.Group,
    requests: ReadonlyArray<Request>,
    ends: ReadonlyArray<number>
  ) {
    if (standing.attestor === undefined) return { parts: requests.length, standing }
    // What SQL has against a row is told before anyone is asked to sign it.
    yield* Group.insertPending(sql, group)
    const parts = requests.map(({ rotateTo }, nth) => ({
      rows: group.rows.slice(ends[nth - 1] ?? 0, ends[nth]),
      rotateTo
    }))
    const signed = yield* Signer.signAll(standing, parts, settings.signing)
    if ("refusal" in signed) {
      const request = requests[signed.part]
      if (request === undefined) throw new Error("a refusal of no append")
      return yield* new Refused({ request, refusal: signed.refusal })
    }
    const kept = ends[signed.parts - 1] ?? 0
    // What a view has folded of a row can only be undone with the whole transaction.
    if (group.folded > kept) return yield* new Crowded({ count: signed.parts })
    yield* Group.withdrawBehind(sql, group, kept)
    return signed
  })

  // ---- settle, journal; the commit follows when the transaction ends ----------------------------

  const settle = Effect.fnUntraced(function* (
    group: Group.Group,
    answers: Settled["answers"],
    signed: Signer.Standing
  ) {
    const events = group.rows.map((row) => row.event)
    const encoded = Row.encode(events, group.before, settings.encode, hashes)
    const settled = { answers, encoded }
    const last = encoded.rows.at(-1)
    if (last === undefined) return settled
    const places = yield* journal.reserve(encoded)
    yield* Mirror.insertIndex(sql, indexRows(group, encoded, places))
    yield* views.settle(last.seq)
    const leaves = encoded.rows.map(({ leafHash }) => leafHash)
    const grown = tree === undefined ? undefined : Merkle.appendAll(tree, leaves, hashes)
    if (grown !== undefined) yield* MirrorTree.store(sql, grown)
    if (signed.state._tag !== "Unsigned") yield* MirrorSigning.store(sql, last.seq, signed.state)
    yield* checkOpen(group)
    yield* journal.write(encoded)
    durable = settled
    tree = grown
    standing = signed
    const { seq, leafHash, event } = last
    head = { seq, leafHash, id: event.id, eventHash: event.eventHash }
    return settled
  })

  /** SQLite ends a transaction by itself on some errors; rows written after that would be lost. */
  const checkOpen = Effect.fnUntraced(function* ({ rows: [first] }: Group.Group) {
    if (first === undefined) return
    const there = yield* Mirror.eventRows(sql, [first.event.id])
    if (there.size === 1) return
    return yield* new MirrorError({
      operation: "keep the transaction of a group",
      cause: new Error("the transaction ended by itself"),
      hint: "Nothing was written; look for a full disk, then try again."
    })
  })

  // ---- answers ----------------------------------------------------------------------------------

  /** What came between is told with its leaf hash, so not before the group is encoded. */
  const denial = (denied: Denied, encoded: Row.Group) =>
    denied._tag === "Unmet"
      ? Expectation.failed(denied, encoded, head, settings.encode.format, hashes)
      : denied

  const tell = Effect.fnUntraced(function* (
    requests: ReadonlyArray<Request>,
    { answers, encoded }: Settled,
    behindBy: unknown
  ) {
    for (const [nth, request] of requests.entries()) {
      const answer = answers[nth]
      if (answer === undefined) continue
      if (Result.isFailure(answer)) {
        yield* Deferred.fail(request.answer, denial(answer.failure, encoded))
        continue
      }
      const receipts = Group.receiptsOf(answer.success, encoded)
      // Rows that were there before the group do not wait for its commit.
      const isOld = answer.success.every((plan) => plan._tag === "Old")
      yield* behindBy === undefined || isOld
        ? Deferred.succeed(request.answer, receipts)
        : Deferred.fail(request.answer, new MirrorBehind({ receipts, cause: behindBy }))
    }
  })

  const failAll = (requests: ReadonlyArray<Request>, error: AppendError) =>
    Effect.forEach(
      requests,
      (request) => {
        if (!(error instanceof OutcomeUnknown)) return Deferred.fail(request.answer, error)
        const { path, cause, hint } = error
        const ids = request.drafts.map(({ draft }) => draft.id)
        return Deferred.fail(request.answer, new OutcomeUnknown({ path, ids, cause, hint }))
      },
      { discard: true }
    )

  /**
   * Run one group and answer it. `held` are refusals from an earlier attempt at the same group:
   * they may rest on rows of it, so they are told only when those are durable.
   */
  const group: (
    requests: ReadonlyArray<Request>,
    held: ReadonlyArray<Refused>
  ) => Effect.Effect<void> = Effect.fnUntraced(function* (
    requests: ReadonlyArray<Request>,
    held: ReadonlyArray<Refused>
  ) {
    // Before the transaction: where it cannot even begin, the group before this one is not this one.
    durable = undefined
    const exit = yield* Effect.exit(Effect.andThen(unlock, sql.withTransaction(transact(requests))))
    const tellHeld = ({ encoded }: Settled) =>
      Effect.forEach(
        held,
        ({ request, refusal }) => Deferred.fail(request.answer, denial(refusal, encoded)),
        { discard: true }
      )
    /** Those that did not fit in go first next time, and whatever may rest on rows of theirs. */
    const leave = (settled: Settled) => {
      const left = requests.slice(settled.answers.length)
      if (left.length === 0) return tellHeld(settled)
      return Effect.sync(() => waiting.unshift(...left, ...held.map(({ request }) => request)))
    }
    if (Exit.isSuccess(exit)) {
      views.committed(head.seq)
      yield* leave(exit.value)
      return yield* tell(requests, exit.value, undefined)
    }
    const error = Cause.squash(exit.cause)
    if (durable !== undefined) {
      behind = true
      yield* leave(durable)
      return yield* tell(requests, durable, error)
    }
    if (error instanceof Crowded) {
      waiting.unshift(...requests.slice(error.count), ...held.map(({ request }) => request))
      return yield* group(requests.slice(0, error.count), [])
    }
    if (error instanceof Refused) {
      const others = requests.filter((request) => request !== error.request)
      return yield* group(others, [...held, error])
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

  /** A gate that failed may have left the connection so that nothing can be written through it. */
  const unlocked = Effect.mapError(unlock, mirrorError("be unlocked"))

  /** Nothing is final, and the mirror is at the head: so it must be before anything is changed. */
  const ready = Effect.gen(function* () {
    const final = journal.final()
    if (final !== undefined) return yield* final
    yield* unlocked
    if (!counted) {
      const now = yield* Effect.mapError(Mirror.dataVersion(sql), mirrorError("be counted"))
      // More rows than the journal has refuse every append, as parity does not hold.
      if (yield* deps.takeStock(head)) version = now
    }
    counted = true
    if (behind) {
      // Before the rows: a mirror that has them and no lineage would say that none is signed.
      if (standing.state._tag !== "Unsigned") {
        yield* Effect.mapError(
          MirrorSigning.store(sql, head.seq, standing.state),
          mirrorError("take in a lineage")
        )
      }
      yield* deps.catchUp(head)
    }
    behind = false
    if (!views.isAt(head.seq)) yield* asking(views.bringUp(head.seq))
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
    const before = head.seq
    yield* serveReady(requests)
    unchecked = yield* deps.afterGroup(unchecked + head.seq - before)
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
    const missing = Signer.missing(standing)
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
    if ((yield* Group.Asking) === own) {
      return yield* Effect.die(
        new Error("a gate or view that appends to its own ledger waits for itself")
      )
    }
    yield* checkOptions(options)
    yield* checkSigner
    const voted: Array<Voted> = []
    for (const [index, draft] of drafts.entries()) {
      const one = yield* vote(draft, index, options)
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
    const made = yield* Signer.handOver(standing, head.seq + 1, next, given, settings.signing)
    return yield* submit([made], options, next)
  })

  /** Let the group under way settle, fail what waits, take nothing more. */
  const close = Effect.suspend(() => {
    closed = true
    return turn.withPermits(1)(Effect.suspend(() => failAll(waiting.splice(0), new LedgerClosed())))
  })

  /** Ask a view between two groups. */
  const asking = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(effect, Group.Asking, own)

  /** Run something between two groups; a gate is asked within one, and would wait for itself. */
  const between = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.flatMap(Group.Asking, (asking) =>
      asking === own
        ? Effect.die(new Error("a gate or view that changes its own ledger waits for itself"))
        : turn.withPermits(1)(effect)
    )

  /** The tree over the rows up to the head. Between two groups only. */
  const currentTree = Effect.gen(function* () {
    if (tree !== undefined) return tree
    const made = Effect.tap(MirrorTree.upTo(sql, head.seq, hashes), (whole) =>
      // So that it is made once, whether or not anything is appended before the ledger is closed.
      whole === undefined ? Effect.void : MirrorTree.store(sql, whole)
    )
    tree = yield* Effect.mapError(made, mirrorError("hold the tree over its rows"))
    if (tree !== undefined) return tree
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
    between(Effect.uninterruptible(Effect.andThen(Effect.andThen(open, unlocked), change)))

  /** Change the ledger between two groups, its mirror at the head; not to be interrupted. */
  const exclusively = <A, E, R>(change: Effect.Effect<A, E, R>) =>
    alone(Effect.andThen(ready, change))

  /** Whether both legs are known to end at the head. */
  const isSettled = (): boolean => journal.final() === undefined && !behind

  /** Go on from here, where journal and mirror now end, and the signatures with them. */
  const goOnFrom = (
    to: Head,
    grown: Merkle.Tree | undefined,
    state: Signing.State = standing.state
  ): void => {
    if (to.seq < head.seq) rollbacks++
    head = to
    tree = grown
    standing = { ...standing, state }
    behind = false
  }

  return {
    submit,
    run,
    asking,
    close,
    between,
    alone,
    unlocked,
    exclusively,
    ready,
    isSettled,
    goOnFrom,
    currentTree,
    rotate,
    standing: () => standing,
    head: () => head,
    /** How often the end of the journal went back: what was read of it before may be gone. */
    rollbacks: () => rollbacks
  }
})

/** The writer of one open ledger. */
export type Writer = Effect.Success<ReturnType<typeof make>>

const mirrorLost = ({ contributing: [vote] }: Policy.Decision) =>
  new MirrorError({
    operation: "hold what the journal holds",
    cause: new Error(vote?.reason ?? "it lost rows"),
    hint: "Nothing was written. Close the ledger and open it again: it takes in what is missing."
  })

const isBreakGlass = Schema.is(Policy.BreakGlass)
const isDecision = Schema.is(Policy.Decision)

/** Options come from JavaScript too, and a malformed one may not reach the writer. */
const checkOptions = ({ breakGlass, decisions, expect }: Group.Append["options"]) => {
  const wrong =
    breakGlass !== undefined && !isBreakGlass(breakGlass)
      ? "/breakGlass"
      : expect !== undefined && !(expect instanceof Expectation.Expectation)
        ? "/expect"
        : [decisions?.ledger, decisions?.mirror].every(
              (one) => one === undefined || isDecision(one)
            )
          ? undefined
          : "/decisions"
  const sides = { expected: "what its type says", actual: "something else" }
  return wrong === undefined
    ? Effect.void
    : Effect.fail(new Draft.DraftInvalid({ index: 0, path: wrong, ...sides }))
}

/** What the ledger's kinds have against a draft. */
const misfitOf = (
  kinds: ReadonlyArray<AnyKind> | undefined,
  { id, payloadText, type }: CompleteDraft,
  index: number
): Draft.DraftInvalid | undefined => {
  if (kinds === undefined) return undefined
  const payload = Json.valueOf(payloadText)
  const fits = Kind.fits(kinds, { seq: 0, id, type, payload })
  if (Result.isSuccess(fits)) return undefined
  const { actual, expected, path } = fits.failure
  return new Draft.DraftInvalid({ index, path, expected, actual })
}

/** Every id that the drafts name, theirs and their parents', once. */
const namedIds = (requests: ReadonlyArray<Request>): ReadonlyArray<string> => {
  const ids = new Set<string>()
  for (const { drafts } of requests) {
    for (const { draft } of drafts) {
      ids.add(draft.id)
      if (draft.parentId !== undefined) ids.add(draft.parentId)
    }
  }
  return [...ids]
}

const indexRows = (
  group: Group.Group,
  encoded: Row.Group,
  places: ReadonlyArray<Place>
): ReadonlyArray<Mirror.Indexed> =>
  group.rows.map(({ seq, event, parentSeq }, nth) => {
    const [row, place] = [encoded.rows[nth], places[nth]]
    if (row === undefined || place === undefined) throw new Error("a row of a group has no place")
    return { seq, event, parentSeq, leafHash: row.leafHash, place }
  })
