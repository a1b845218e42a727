/**
 * Before the queue, at the caller's cost: drafts are completed, and the rules that see them alone vote.
 *
 * Where the ledger has kinds, a draft must be what its kind would write, and gets its keys. Without
 * gates the decision is made here, and a draft that is refused never reaches the writer.
 */
import { Clock, Effect, Result, Schema } from "effect"
import type { SecureRandom } from "effect/crypto"
import * as Json from "../../core/CanonicalJson.ts"
import type { CompleteDraft } from "../../core/Draft.ts"
import * as Draft from "../../core/Draft.ts"
import type * as Event from "../../core/Event.ts"
import * as EventId from "../../core/EventId.ts"
import { pointer } from "../../core/jsonError.ts"
import type { AnyKind } from "../../core/Kind.ts"
import * as Kind from "../../core/Kind.ts"
import * as Policy from "../../core/Policy.ts"
import type * as Row from "../../core/Row.ts"
import * as Timestamp from "../../core/Timestamp.ts"
import * as Expectation from "./Expectation.ts"
import type { Voted } from "./Group.ts"
import * as Group from "./Group.ts"
import type { PolicyGate } from "./PolicyGate.ts"
import type { AppendError } from "./Receipt.ts"
import * as Signer from "../signing/Signer.ts"

/** What drafts are completed by. */
export interface Settings {
  readonly lineBytesMax: number
  readonly numbers: "lossless" | "cortex"
  readonly kinds: ReadonlyArray<AnyKind> | undefined
  readonly encode: Row.EncodeOptions
}

/** Completes a draft and lets the rules on it alone vote. */
export const make = (
  policy: PolicyGate["Service"],
  settings: Settings,
  random: SecureRandom.SecureRandom["Service"]
) => {
  return Effect.fnUntraced(function* (
    draft: Draft.Draft,
    index: number,
    options: Group.Append["options"],
    isSigned: boolean
  ): Effect.fn.Return<Voted, AppendError> {
    const complete = (given: Draft.Draft, id: EventId.EventId, now: Timestamp.Timestamp) =>
      Draft.complete(given, {
        id,
        now,
        index,
        mode: settings.encode.format,
        numbers: settings.numbers,
        lineBytesMax: settings.lineBytesMax,
        signatureBytesMax: isSigned ? Signer.signatureBytesMax : 0
      })
    const id = EventId.fromUlid(yield* random.ulid)
    const now = Timestamp.fromMillis(yield* Clock.currentTimeMillis)
    const { kinds } = settings
    const completed = complete(draft, id, now).pipe(
      Result.flatMap((made) =>
        kinds === undefined
          ? Result.succeed(made)
          : Result.flatMap(missingKeys(kinds, made, index), (missing) =>
              missing === undefined
                ? Result.succeed(made)
                : complete({ ...draft, keys: { ...draft.keys, ...missing } }, id, now)
            )
      )
    )
    if (Result.isFailure(completed)) return yield* Effect.fail(completed.failure)
    if (options.decisions?.ledger !== undefined) {
      return { draft: completed.success, index, isSigned, votes: [] } satisfies Voted
    }
    const votes = yield* policy.votes(completed.success, isSigned)
    const voted: Voted = { draft: completed.success, index, isSigned, votes }
    // Without gates nothing that is asked later can change this decision.
    if (!policy.hasGates) yield* Group.decideLedger(policy, voted, [], options)
    return voted
  })
}

const isBreakGlass = Schema.is(Policy.BreakGlass)
const isDecision = Schema.is(Policy.Decision)

/** Options come from JavaScript too, and a malformed one may not reach the writer. */
export const checkOptions = ({ breakGlass, decisions, expect }: Group.Append["options"]) => {
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

/**
 * The keys that a draft lacks and its kind gives; none where it lacks none. Without them, queries and
 * expectations by key would pass over its row.
 */
const missingKeys = (
  kinds: ReadonlyArray<AnyKind>,
  { id, keys, payloadText, type }: CompleteDraft,
  index: number
): Result.Result<Event.Keys | undefined, Draft.DraftInvalid> => {
  const refuse = (path: string, expected: string, actual: string) =>
    Result.fail(new Draft.DraftInvalid({ index, path, expected, actual }))
  const fit = Kind.fit(kinds, { seq: 0, id, type, payload: Json.valueOf(payloadText) })
  if (Result.isFailure(fit)) {
    const { actual, expected, path } = fit.failure
    return refuse(path, expected, actual)
  }
  const missing = Object.entries(fit.success).filter(([name, value]) => keys?.[name] !== value)
  const other = missing.find(([name]) => keys?.[name] !== undefined)
  if (other !== undefined) {
    return refuse(`/keys${pointer([other[0]])}`, "the key that its kind gives", "another")
  }
  return Result.succeed(missing.length === 0 ? undefined : Object.fromEntries(missing))
}
