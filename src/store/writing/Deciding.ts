/**
 * Decide on what the ledger says, and append that; again where something came between.
 *
 *   head -> fold what the filter leaves, up to it -> decide -> append, expecting none of it since
 *
 * Nobody holds a lock. Where what a decision appends is among what it is made on, of two on the same
 * state one is written, and the other is made again on what that has changed, read from where it had
 * come to; where it is not, neither sees the other, and both are written. A decision with an id is made
 * once: whoever asks again, after a crash or a lost answer, is told its row, and does not meet its own
 * effect.
 */
import { Effect, Result, Stream } from "effect"
import type { Head } from "../../core/Chain.ts"
import type { Draft } from "../../core/Draft.ts"
import { DraftInvalid } from "../../core/Draft.ts"
import type { Filter } from "../../core/Filter.ts"
import type { AnyKind } from "../../core/Kind.ts"
import { noneSince } from "./Expectation.ts"
import { Ledger } from "../LedgerService.ts"
import type { PositionError, Read, ReadError, ReadUndecodable } from "../reading/Reader.ts"
import type { AppendError, ExpectationFailed, Receipt } from "./Receipt.ts"
import { AlreadyAppended } from "./Receipt.ts"

/** What is decided on, and how. */
export interface Decision<S, E, R, K extends AnyKind> {
  /**
   * What the decision rests on: nothing of it may come between reading and appending. What is
   * appended must be among it where two decisions on the same state shall not both be written.
   */
  readonly on: Filter<K>
  /** The state before the first event. */
  readonly initial: S
  /** What an event makes of the state. Must not change the one it is given. */
  readonly fold: (state: S, event: Read<K>) => S
  /** What is to be appended: nothing, one event, or several as one group. May be asked again. */
  readonly decide: (state: S) => Effect.Effect<Draft | ReadonlyArray<Draft> | undefined, E, R>
  /**
   * The id of the decision's first event, which makes it once: see `Event.idFrom`. A draft that has
   * another id already, as its kind gives it, is refused.
   */
  readonly id?: string | undefined
  /** How often it is decided again where something came between. Default 100. */
  readonly retries?: number | undefined
}

/** Why nothing was decided, or nothing appended. */
export type DecideError<E, K> =
  | E
  | AppendError
  | ExpectationFailed
  | PositionError
  | ReadError
  | ReadUndecodable<K>

const retriesDefault = 100

const listOf = (decided: Draft | ReadonlyArray<Draft> | undefined): ReadonlyArray<Draft> =>
  decided === undefined ? [] : isList(decided) ? decided : [decided]

const isList = (decided: Draft | ReadonlyArray<Draft>): decided is ReadonlyArray<Draft> =>
  Array.isArray(decided)

/**
 * The drafts of a decision, the first with its id. One that it has already is not written over: the
 * row of a kind that gives ids could not be read with another.
 */
const withId = (
  drafts: ReadonlyArray<Draft>,
  id: string | undefined
): Result.Result<ReadonlyArray<Draft>, DraftInvalid> => {
  const [first, ...others] = drafts
  if (id === undefined || first === undefined) return Result.succeed(drafts)
  const { id: actual = id } = first
  return actual === id
    ? Result.succeed([{ ...first, id }, ...others])
    : Result.fail(new DraftInvalid({ index: 0, path: "/id", expected: id, actual }))
}

/** The row that this id stands for, if there is one. */
const known = Effect.fnUntraced(function* (id: string | undefined) {
  if (id === undefined) return undefined
  const ledger = yield* Ledger
  const event = yield* Effect.catchTag(ledger.get(id), "EventNotFound", () =>
    Effect.succeed(undefined)
  )
  if (event === undefined) return undefined
  const { eventHash, leafHash, seq } = event
  return new AlreadyAppended({ seq, leafHash, id: event.id, eventHash })
})

/**
 * Read, decide and append what was decided, until nothing came between. Answers the receipts of what
 * was appended, none where nothing was decided; with an id that is there already, the receipt of its
 * row, and nothing is decided. Each try reads only what came since the one before.
 */
export const decide = Effect.fn("Ledger.decide")(function* <
  S,
  E = never,
  R = never,
  K extends AnyKind = never
>({
  decide: decideOn,
  fold,
  id,
  initial,
  on,
  retries = retriesDefault
}: Decision<S, E, R, K>): Effect.fn.Return<ReadonlyArray<Receipt>, DecideError<E, K>, Ledger | R> {
  const ledger = yield* Ledger
  let read: { readonly state: S; readonly at: Head } | undefined

  /** Fold what came since the last try; from the beginning where that was rolled back. */
  const catchUp = Effect.gen(function* () {
    const at = yield* ledger.head
    const query = { ...on, until: at.seq, after: read?.at }
    const state = yield* ledger
      .events(query)
      .pipe(Stream.runFold(() => (read === undefined ? initial : read.state), fold))
    read = { state, at }
    return read
  })

  const attempt = Effect.gen(function* () {
    const before = yield* known(id)
    if (before !== undefined) return Result.succeed([before])
    const { at, state } = yield* catchUp
    // What deciding fails with is never tried again, whatever it is called.
    const decided = yield* Effect.result(decideOn(state))
    if (Result.isFailure(decided)) return Result.fail(decided.failure)
    const drafts = yield* Effect.fromResult(withId(listOf(decided.success), id))
    if (drafts.length === 0) return Result.succeed([])
    return Result.succeed(yield* ledger.appendAll(drafts, { expect: noneSince(on, at) }))
  })

  const answer = yield* attempt.pipe(
    Effect.tapErrorTag("RolledBack", () => Effect.sync(() => (read = undefined))),
    Effect.catchTag("IdConflict", (error) =>
      // Somebody else has decided it meanwhile, and otherwise.
      Effect.flatMap(known(id), (row) =>
        row === undefined ? Effect.fail(error) : Effect.succeed(Result.succeed([row]))
      )
    ),
    Effect.retry({
      times: retries,
      while: ({ _tag }) => _tag === "ExpectationFailed" || _tag === "RolledBack"
    })
  )
  return yield* Effect.fromResult(answer)
})
