/**
 * Appends that wait, and what each of them is told once its group has settled, or has failed.
 */
import { Data, Deferred, Effect, Result } from "effect"
import type { Head } from "../../core/Chain.ts"
import type * as Hashes from "../../core/Hashes.ts"
import type * as Row from "../../core/Row.ts"
import type { Attestor } from "../signing/Attestor.ts"
import * as Expectation from "./Expectation.ts"
import type { Denied, Planned } from "./Group.ts"
import * as Group from "./Group.ts"
import { OutcomeUnknown } from "../journal/Journal.ts"
import type { AppendError, ExpectationRefusal, Receipt } from "./Receipt.ts"
import { MirrorBehind } from "./Receipt.ts"

/** An append that waits for its answer. */
export interface Request extends Group.Append {
  readonly bytes: number
  readonly rotateTo: Attestor["Service"] | undefined
  readonly answer: Deferred.Deferred<
    ReadonlyArray<Receipt>,
    AppendError | ExpectationRefusal<Expectation.Expectation>
  >
}

/** A group that was asked and encoded: what each of its appends will be told. */
export interface Settled {
  /** Of the first appends; the others were left to the next group. */
  readonly answers: ReadonlyArray<Result.Result<ReadonlyArray<Planned>, Denied>>
  readonly encoded: Row.Group
}

/**
 * Internal: ends a transaction that holds rows of an append which was refused after all. Spans tell what
 * a transaction ends with, so it has the append's number in the group and not the append.
 */
export class Refused extends Data.TaggedError("Refused")<{
  readonly nth: number
  readonly refusal: Denied
}> {}

/** A refusal that is told when the group has settled. */
export interface Held {
  readonly request: Request
  readonly refusal: Denied
}

/** Tells the appends of a group. */
export const make = (format: Row.EncodeOptions["format"], hashes: Hashes.Hashes) => {
  /** What came between is told with its leaf hash, so not before the group is encoded. */
  const denial = (denied: Denied, encoded: Row.Group, head: Head) =>
    denied._tag === "Unmet" ? Expectation.failed(denied, encoded, head, format, hashes) : denied

  const tell = Effect.fnUntraced(function* (
    requests: ReadonlyArray<Request>,
    { answers, encoded }: Settled,
    head: Head,
    behindBy: unknown
  ) {
    for (const [nth, request] of requests.entries()) {
      const answer = answers[nth]
      if (answer === undefined) continue
      if (Result.isFailure(answer)) {
        yield* Deferred.fail(request.answer, denial(answer.failure, encoded, head))
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

  return { denial, tell, failAll }
}
