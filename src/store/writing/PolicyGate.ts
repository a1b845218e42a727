/**
 * Rules as effects: what votes on a draft, before the queue or inside the writer.
 *
 * A rule sees the draft alone and votes at the caller's cost. A gate asks the ledger: it votes
 * inside the writer's transaction, where it sees every row before its own, so two appends cannot
 * both pass on the same state. The contributions that Cortex requires of an unsigned and of a signed
 * append are cast here where no rule of the same id is given; the parity rule votes from what the
 * writer saw.
 * A rule that dies has voted reject, and so has a gate whose statement is wrong, or that takes longer
 * than `askMillisMax`: a broken rule never lets anything pass.
 */
import { Cause, Clock, Context, Effect, Layer, Result } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import * as Json from "../../core/CanonicalJson.ts"
import type { CompleteDraft } from "../../core/Draft.ts"
import type { AnyKind, Kind } from "../../core/Kind.ts"
import { readBy, typesOf } from "../../core/Kind.ts"
import * as Policy from "../../core/Policy.ts"
import * as Timestamp from "../../core/Timestamp.ts"
import { isOfDisk } from "../errors.ts"
import type { TookTooLong } from "../mirror/limiting.ts"
import { askMillisMaxDefault, limited } from "../mirror/limiting.ts"
import { failing } from "../mirror/transacting.ts"

/** What a rule looks at: the draft with every default filled in, and its payload as a value. */
export interface RuleDraft extends CompleteDraft {
  readonly payload: unknown
}

/** A draft as one of the kinds reads it, or as it is where none is named. */
export type Typed<K> = [K] extends [never]
  ? RuleDraft
  : K extends Kind<infer T, infer P>
    ? Omit<RuleDraft, "type" | "payload"> & {
        readonly type: T
        /** The payload, brought up to date. */
        readonly payload: P
      }
    : never

/** When a rule votes, and whether a break-glass may lift what it says. */
export interface RuleOptions<K extends AnyKind = never> {
  readonly id: string
  /** The kinds it votes on, which type the draft; one that its kind does not read is rejected. */
  readonly kinds?: ReadonlyArray<K> | undefined
  /** Without kinds: the event types it votes on; all where left out. */
  readonly types?: ReadonlyArray<string> | undefined
  readonly overridable?: boolean | undefined
}

/** Also, which views a gate asks. */
export interface GateOptions<K extends AnyKind = never> extends RuleOptions<K> {
  /** Views that it asks. While one of them is set aside, it refuses: `view_stale`. */
  readonly views?: ReadonlyArray<{ readonly name: string }> | undefined
}

/** A rule or gate. `R` is what it asks for; the layer that is given it then asks for it too. */
export interface Rule<R = never> extends Omit<GateOptions, "kinds"> {
  readonly vote:
    | {
        readonly _tag: "Draft"
        readonly on: (draft: RuleDraft) => Effect.Effect<Policy.Vote, never, R>
      }
    | {
        readonly _tag: "Gate"
        readonly on: (
          draft: RuleDraft,
          sql: SqlClient.SqlClient
        ) => Effect.Effect<Policy.Vote, SqlError, R>
      }
}

/** Rules of any number of kinds: what each asks for stands at its place in `Rs`. */
export type Rules<Rs extends ReadonlyArray<unknown>> = { readonly [K in keyof Rs]: Rule<Rs[K]> }

/** A rule that looks at the draft alone, before the queue. */
export const rule = <R = never, K extends AnyKind = never>(
  { kinds, ...options }: RuleOptions<K>,
  on: (draft: Typed<K>) => Effect.Effect<Policy.Vote, never, R>
): Rule<R> => ({
  ...options,
  types: kinds === undefined ? options.types : typesOf(kinds),
  vote: { _tag: "Draft", on: (draft) => typed(kinds, draft, on) }
})

/**
 * A rule that reads the ledger, inside the writer's transaction: through `sql` it sees every row
 * before the draft's own, those of the same group included. It must not write.
 */
export const gate = <R = never, K extends AnyKind = never>(
  { kinds, ...options }: GateOptions<K>,
  on: (draft: Typed<K>, sql: SqlClient.SqlClient) => Effect.Effect<Policy.Vote, SqlError, R>
): Rule<R> => ({
  ...options,
  types: kinds === undefined ? options.types : typesOf(kinds),
  vote: { _tag: "Gate", on: (draft, sql) => typed(kinds, draft, (read) => on(read, sql)) }
})

/** The vote on a draft as one of the kinds reads it; what none reads is rejected. */
const typed = <K extends AnyKind, E, R>(
  kinds: ReadonlyArray<K> | undefined,
  draft: RuleDraft,
  on: (draft: Typed<K>) => Effect.Effect<Policy.Vote, E, R>
): Effect.Effect<Policy.Vote, E, R> => {
  // Type and payload come from one kind, or no kind is named: `Typed` says so, TypeScript cannot.
  if (kinds === undefined) return on(draft as Typed<K>)
  const { id, payload, type } = draft
  const read = readBy(kinds, { seq: 0, id, type, payload })
  if (Result.isSuccess(read)) return on({ ...draft, ...read.success } as Typed<K>)
  const { actual, expected, path } = read.failure
  return Effect.succeed(Policy.reject(`at ${path} expected ${expected}, found ${actual}`))
}

/** Decisions made by the caller, as the original's callers do, in place of composing votes. */
export interface Decisions {
  readonly ledger?: Policy.Decision | undefined
  readonly mirror?: Policy.Decision | undefined
}

/** Collects votes on drafts. */
export class PolicyGate extends Context.Service<
  PolicyGate,
  {
    /** The votes of the rules that look at the draft alone, and of the built-in ones. */
    readonly votes: (
      draft: CompleteDraft,
      isSigned: boolean
    ) => Effect.Effect<ReadonlyArray<Policy.Contribution>>
    /**
     * What asks each gate that votes on a draft, to be run in turn; `sql` is the writer's client, with
     * its transaction open.
     */
    readonly ask: (
      draft: CompleteDraft,
      sql: SqlClient.SqlClient
    ) => ReadonlyArray<Effect.Effect<Policy.Contribution, SqlError>>
    /** Whether there is any gate to ask. */
    readonly hasGates: boolean
    /** The views that gates ask. */
    readonly views: ReadonlyArray<string>
    /** The gate that cannot be asked about a draft, as a view of its is set aside. */
    readonly blind: (draft: CompleteDraft, isStale: (view: string) => boolean) => string | undefined
    /** One decision from these votes; an authorization outside its time does not count. */
    readonly compose: (
      votes: ReadonlyArray<Policy.Contribution>,
      breakGlass: Policy.BreakGlass | undefined
    ) => Effect.Effect<Policy.Decision, Policy.RuleInvalid>
  }
>()("sealog/PolicyGate") {}

const builtIn = (draft: CompleteDraft): ReadonlyArray<readonly [string, Policy.Vote]> => [
  [
    Policy.Rules.attestationRequired,
    draft.source.type === "user"
      ? Policy.reject("events of a user must be signed, and this ledger is not")
      : Policy.allow(`events of ${draft.source.type} need no attestation`)
  ],
  [Policy.Rules.eventSourceTierGate, Policy.allow("every source may write to this ledger")],
  [Policy.Rules.runtimeMode, Policy.allow("the ledger is open for writing")]
]

const builtInSigned: ReadonlyArray<readonly [string, Policy.Vote]> = [
  [Policy.Rules.keyStateCurrentUse, Policy.allow("the key is the one that signs this ledger now")],
  [Policy.Rules.trustTierMinimum, Policy.allow("whoever holds the key may sign every source")]
]

const contribution = (id: string, vote: Policy.Vote): Policy.Contribution =>
  Result.match(Policy.contribution(id, vote), {
    onSuccess: (made) => made,
    onFailure: (wrong) => ({
      ruleId: id,
      outcome: "reject",
      reason: `the rule cast an invalid vote: ${wrong.reason}`,
      breakGlassOverrideAllowed: false
    })
  })

const broken = ({ id }: RuleOptions, why: string | undefined): Policy.Contribution =>
  contribution(id, Policy.reject(`the rule failed: ${why}`))

const isDisk = <E extends SqlError | TookTooLong>(error: E): error is Extract<E, SqlError> =>
  error._tag === "SqlError" && isOfDisk(error)

/**
 * The vote of one rule. A rule that throws, dies or interrupts itself has voted reject; an
 * interruption from outside stays one, and what the disk does a failure.
 */
const cast = <E extends SqlError | TookTooLong, R>(
  rule: RuleOptions,
  vote: () => Effect.Effect<Policy.Vote, E, R>
): Effect.Effect<Policy.Contribution, Extract<E, SqlError>, R> =>
  Effect.suspend(vote).pipe(
    Effect.map((said) => contribution(rule.id, { overridable: rule.overridable, ...said })),
    Effect.catch((error) =>
      isDisk(error) ? Effect.fail(error) : Effect.succeed(broken(rule, error.message))
    ),
    Effect.result,
    Effect.catchCause((cause) =>
      Effect.succeed(Result.succeed(broken(rule, Cause.pretty(cause).split("\n")[0])))
    ),
    Effect.flatMap(Effect.fromResult)
  )

const applies = (rule: RuleOptions, draft: CompleteDraft): boolean =>
  rule.types === undefined || rule.types.includes(draft.type)

const viewOf = (draft: CompleteDraft): RuleDraft => ({
  ...draft,
  get payload(): unknown {
    return Json.valueOf(draft.payloadText)
  }
})

/** The service over these rules. Throws a RangeError where two rules have one id. */
export const make = Effect.fnUntraced(function* <R = never>(
  rules: ReadonlyArray<Rule<R>>,
  askMillisMax = askMillisMaxDefault
) {
  const context = yield* Effect.context<R>()
  const ids = rules.map((rule) => rule.id)
  const twice = ids.find((id, at) => ids.indexOf(id) !== at)
  if (twice !== undefined) throw new RangeError(`two rules have the id ${JSON.stringify(twice)}`)
  const hasGates = rules.some((rule) => rule.vote._tag === "Gate")

  const ownBuiltIn = (draft: CompleteDraft, isSigned: boolean): Array<Policy.Contribution> =>
    (isSigned ? builtInSigned : builtIn(draft))
      .filter(([id]) => !ids.includes(id))
      .map(([id, vote]) => contribution(id, vote))

  const askRules = Effect.fnUntraced(function* (draft: CompleteDraft, isSigned: boolean) {
    const votes = ownBuiltIn(draft, isSigned)
    const view = viewOf(draft)
    for (const rule of rules) {
      const { vote } = rule
      if (vote._tag !== "Draft" || !applies(rule, draft)) continue
      votes.push(yield* cast(rule, () => Effect.provideContext(vote.on(view), context)))
    }
    return votes
  })

  const votes: PolicyGate["Service"]["votes"] = (draft, isSigned) =>
    rules.length === 0 ? Effect.succeed(ownBuiltIn(draft, isSigned)) : askRules(draft, isSigned)

  const ask: PolicyGate["Service"]["ask"] = (draft, sql) => {
    const view = viewOf(draft)
    return rules.flatMap((rule) => {
      const { vote } = rule
      if (vote._tag !== "Gate" || !applies(rule, draft)) return []
      const voting = Effect.suspend(() => Effect.provideContext(vote.on(view, sql), context))
      // Its own transactions die of what the disk does to their end.
      return [cast(rule, () => failing(limited(voting, askMillisMax)))]
    })
  }

  const compose: PolicyGate["Service"]["compose"] = (votes, breakGlass) =>
    breakGlass === undefined
      ? Effect.fromResult(Policy.compose(votes))
      : Effect.flatMap(Clock.currentTimeMillis, (millis) => {
          const counts = isInTime(breakGlass, Timestamp.fromMillis(millis))
          const authorization = counts ? breakGlass : undefined
          return Effect.fromResult(Policy.compose(votes, { breakGlass: authorization }))
        })

  const namesOf = (rule: GateOptions) => (rule.views ?? []).map(({ name }) => name)

  const blind: PolicyGate["Service"]["blind"] = (draft, isStale) =>
    rules.find((rule) => applies(rule, draft) && namesOf(rule).some(isStale))?.id

  return { votes, ask, hasGates, views: rules.flatMap(namesOf), blind, compose }
})

/** Whether the present lies in an authorization's time; what is no time is left to `compose`. */
const isInTime = ({ scope }: Policy.BreakGlass, now: Timestamp.Timestamp): boolean => {
  const order = (text: string | null): number =>
    text === null
      ? 0
      : Result.match(Timestamp.parse(text), {
          onSuccess: (at) => Timestamp.compare(at, now),
          onFailure: () => 0
        })
  return order(scope.notBefore) <= 0 && order(scope.notAfter) >= 0
}

/** The service as a layer; it asks for what its rules ask for. */
export const layer = <R = never>(
  rules: ReadonlyArray<Rule<R>>,
  askMillisMax?: number
): Layer.Layer<PolicyGate, never, R> => Layer.effect(PolicyGate, make(rules, askMillisMax))
