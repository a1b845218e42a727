/**
 * Policy: votes of rules, the decision composed from them, and the gates that an append must pass.
 *
 * Outcomes, weakest first: allow < warn < break_glass < quarantine < reject. A decision's JSON is
 *   {"final_outcome","contributing":[…],"discarded":[…],"break_glass"}, each contribution
 *   {"rule_id","outcome","reason","break_glass_override_allowed"}, break_glass null or
 *   {"permitted","attested","scope":{"operation_type","artifact_refs","not_before","not_after"},
 *   "reason_code"}: these members in this order, no spaces.
 * Both lists are sorted by outcome, strongest first, then by the UTF-8 bytes of the rule id; equal
 * ones keep the order they came in. Names, member order, sorting and the rule ids in `Rules` are
 * Cortex's (crtx-core and crtx-ledger 0.1.1) and never change.
 */
import { Order, Result, Schema, SchemaTransformation, Struct } from "effect"
import { compareUtf8 } from "./CanonicalJson.ts"
import * as Timestamp from "./Timestamp.ts"

/** What a rule, or a decision, says; `Outcome.literals` lists them from weakest to strongest. */
export const Outcome = Schema.Literals(["allow", "warn", "break_glass", "quarantine", "reject"])
export type Outcome = typeof Outcome.Type

/** Orders outcomes from weakest (allow) to strongest (reject). */
export const outcomeOrder: Order.Order<Outcome> = Order.mapInput(Order.Number, (outcome: Outcome) =>
  Outcome.literals.indexOf(outcome)
)

/** One rule's opinion on one draft. `overridable`: a break-glass may lift it when it blocks. */
export interface Vote {
  readonly outcome: Outcome
  readonly reason: string
  readonly overridable?: boolean | undefined
}

const vote =
  (outcome: Outcome) =>
  (reason: string): Vote => ({ outcome, reason })

/** The draft may go ahead. */
export const allow = vote("allow")
/** The draft may go ahead; the reason is kept in the decision. */
export const warn = vote("warn")
/** The operator's vote to go past overridable rules; without an authorization it lifts nothing. */
export const breakGlass = vote("break_glass")
/** The draft may exist only in isolation: it blocks an append. */
export const quarantine = vote("quarantine")
/** A hard stop. */
export const reject = vote("reject")

/** A vote under the id of the rule that cast it. Decoding does not check for blank texts. */
export class Contribution extends Schema.Opaque<Contribution>()(
  Schema.Struct({
    ruleId: Schema.String,
    outcome: Outcome,
    reason: Schema.String,
    breakGlassOverrideAllowed: Schema.Boolean
  }).pipe(
    Schema.encodeKeys({
      ruleId: "rule_id",
      breakGlassOverrideAllowed: "break_glass_override_allowed"
    })
  )
) {}

/** Why an operator breaks the glass: a closed list. */
export const BreakGlassReason = Schema.Literals([
  "incident_response",
  "restore_recovery",
  "operator_correction",
  "data_migration",
  "diagnostic_only"
])
export type BreakGlassReason = typeof BreakGlassReason.Type

const isTime = (text: string): boolean => Result.isSuccess(Timestamp.parse(text))

const inUtc = (time: string): string => Result.getOrElse(Timestamp.parse(time), () => time)

/** RFC 3339 text with any offset, decoded to a `Timestamp`'s text. */
const Time = Schema.String.pipe(
  Schema.decodeTo(
    Schema.String.check(Schema.makeFilter(isTime, { expected: "an RFC 3339 time" })),
    SchemaTransformation.transform({ decode: inUtc, encode: (text) => text })
  )
)

/** What an authorization covers: an operation, the artifacts, and optionally from when to when. */
export class BreakGlassScope extends Schema.Opaque<BreakGlassScope>()(
  Schema.Struct({
    operationType: Schema.String,
    artifactRefs: Schema.Array(Schema.String),
    notBefore: Schema.NullOr(Time),
    notAfter: Schema.NullOr(Time)
  }).pipe(
    Schema.encodeKeys({
      operationType: "operation_type",
      artifactRefs: "artifact_refs",
      notBefore: "not_before",
      notAfter: "not_after"
    })
  )
) {}

/**
 * An operator's authorization. It counts only if permitted and attested, with an operation and at
 * least one artifact, none blank, and `notBefore` not after `notAfter`. Whether the present lies
 * between the two is for the caller, who has a clock, to check.
 */
export class BreakGlass extends Schema.Opaque<BreakGlass>()(
  Schema.Struct({
    permitted: Schema.Boolean,
    attested: Schema.Boolean,
    scope: BreakGlassScope,
    reasonCode: BreakGlassReason
  }).pipe(Schema.encodeKeys({ reasonCode: "reason_code" }))
) {}

/**
 * All votes on one draft and what follows from them: `contributing` are the votes that carry
 * `finalOutcome`, `discarded` the others. `breakGlass` is the authorization handed in if it counts,
 * used or not, else null.
 */
export class Decision extends Schema.Opaque<Decision>()(
  Schema.Struct({
    finalOutcome: Outcome,
    contributing: Schema.Array(Contribution),
    discarded: Schema.Array(Contribution),
    breakGlass: Schema.NullOr(BreakGlass)
  }).pipe(Schema.encodeKeys({ finalOutcome: "final_outcome", breakGlass: "break_glass" }))
) {}

/** What must be kept of a decision that a break-glass made; `expiresAt` is the scope's end. */
export class BreakGlassAudit extends Schema.Opaque<BreakGlassAudit>()(
  Schema.Struct({
    scope: BreakGlassScope,
    reasonCode: BreakGlassReason,
    contributingOutcomes: Schema.Array(Contribution),
    expiresAt: Schema.NullOr(Time)
  }).pipe(
    Schema.encodeKeys({
      reasonCode: "reason_code",
      contributingOutcomes: "contributing_outcomes",
      expiresAt: "expires_at"
    })
  )
) {}

/** The strongest claim that may rest on what a decision let through. */
export type ClaimCeiling = "authority_grade" | "dev_only"

const mends = {
  empty_reason: "its reason is blank; say why it votes as it does",
  empty_rule_id: "a rule id is blank; give the rule an id",
  lone_surrogate: "it holds a lone surrogate, which UTF-8 cannot carry; mend the text",
  unknown_outcome: `its outcome is not one of ${Outcome.literals.join(", ")}`,
  no_contributions: "no rule voted though rules are registered; ask them before composing",
  unknown_rule: "the rule is not registered; register it or leave its vote out",
  unknown_reason_code: `the break-glass reason is not one of ${BreakGlassReason.literals.join(", ")}`,
  invalid_time: "a time of the break-glass scope is not RFC 3339; write 2026-05-01T00:00:00Z"
} as const

/**
 * A vote, a registration or an authorization that cannot be composed. `index` is the place among
 * the contributions handed to `compose`, else null; `ruleId` is the rule concerned, if there is one.
 */
export class RuleInvalid extends Schema.TaggedError<RuleInvalid>()("RuleInvalid", {
  reason: Schema.Literals(Struct.keys(mends)),
  ruleId: Schema.NullOr(Schema.String),
  index: Schema.NullOr(Schema.Natural)
}) {
  override get message(): string {
    const where = this.index === null ? "" : `, contribution ${this.index}`
    const rule = this.ruleId === null ? "" : ` of rule ${JSON.stringify(this.ruleId)}`
    return `policy${rule}${where}: ${mends[this.reason]}`
  }
}

/** The places that ask for a decision. */
export const Surface = Schema.Literals([
  "ledger.append",
  "ledger.append_signed",
  "mirror.append",
  "mirror.append_signed"
])
export type Surface = typeof Surface.Type

/** The ids of the rules that a surface requires. */
export const Rules = {
  /** Unsigned append: may this source write at its trust tier? */
  eventSourceTierGate: "ledger.append.event_source_tier_gate",
  /** Unsigned append: is what the source says attested? For source "user" it must vote allow. */
  attestationRequired: "ledger.append.attestation_required",
  /** Unsigned append: does the runtime's mode admit unsigned rows? */
  runtimeMode: "ledger.append.runtime_mode",
  /** Signed append: is the key in use now? It must vote allow. */
  keyStateCurrentUse: "ledger.append_signed.key_state_current_use",
  /** Signed append: is the signer's trust tier high enough? */
  trustTierMinimum: "ledger.append_signed.trust_tier_minimum",
  /** Both mirrored appends: do journal and mirror hold the same rows? */
  parityInvariant: "mirror.append.parity_invariant"
} as const

/** The rules that must have voted, in the order in which a missing one is reported. */
export const requiredRules: { readonly [S in Surface]: ReadonlyArray<string> } = {
  "ledger.append": [Rules.eventSourceTierGate, Rules.attestationRequired, Rules.runtimeMode],
  "ledger.append_signed": [Rules.keyStateCurrentUse, Rules.trustTierMinimum],
  "mirror.append": [Rules.parityInvariant],
  "mirror.append_signed": [Rules.parityInvariant]
}

/**
 * A gate that did not open. `index` is the draft's place in its append, from 0; `ruleId` the rule
 * that is missing, that did not vote allow where it must, or the first that carries the blocking
 * outcome (null if a decision made by hand names none).
 */
export class PolicyRefused extends Schema.TaggedError<PolicyRefused>()("PolicyRefused", {
  index: Schema.Natural,
  surface: Surface,
  ruleId: Schema.NullOr(Schema.String),
  reason: Schema.Literals([
    "missing_contributor",
    "blocked",
    "attestation",
    "key_state",
    "view_stale"
  ]),
  decision: Decision
}) {
  override get message(): string {
    return `${this.surface} refused draft ${this.index}: ${refusalText(this)}`
  }

  /** What the rule that refused has said; null where none has voted. */
  get why(): string | null {
    return this.ruleId === null ? null : (voteOf(this.decision, this.ruleId)?.reason ?? null)
  }
}

/** Puts a vote under a rule's id. Fails on a blank reason first, then on a blank id. */
export const contribution = (
  ruleId: string,
  { outcome, reason, overridable }: Vote
): Result.Result<Contribution, RuleInvalid> => {
  const made = { ruleId, outcome, reason, breakGlassOverrideAllowed: overridable ?? false }
  const wrong = contributionFault(made)
  return wrong === null
    ? Result.succeed(made)
    : Result.fail(new RuleInvalid({ reason: wrong, ruleId, index: null }))
}

/**
 * Composes the votes on one draft. The strongest outcome is final, but when it blocks (quarantine,
 * reject) and some rule votes break_glass, every blocking vote may be overridden, and `breakGlass`
 * counts, then break_glass is final. No votes make an allow, which no gate lets pass.
 *
 * With `registered`, at least one rule must have voted, and only those named there.
 *
 * The final outcome, what contributes and what is discarded do not depend on the order of the
 * votes; the order of the lists does only between votes of the same rule with the same outcome.
 * Composing a decision's own votes and authorization gives the same decision.
 *
 * Fails with the first fault, in this order: votes (each: reason, rule id, encoding, outcome),
 * registrations, no votes, unregistered rules, authorization.
 */
export const compose = (
  contributions: ReadonlyArray<Contribution>,
  options: {
    readonly breakGlass?: BreakGlass | null | undefined
    readonly registered?: Iterable<string> | undefined
  } = {}
): Result.Result<Decision, RuleInvalid> => {
  const invalid =
    contributionsInvalid(contributions) ??
    (options.registered ? registrationInvalid(contributions, new Set(options.registered)) : null) ??
    (options.breakGlass ? authorizationInvalid(options.breakGlass) : null)
  if (invalid !== null) return Result.fail(invalid)

  const counting =
    options.breakGlass && counts(options.breakGlass) ? withTimesInUtc(options.breakGlass) : null

  const sorted = contributions.toSorted(strongestThenRuleId)
  const strongest = sorted[0]?.outcome ?? "allow"
  const lifted =
    blocks(strongest) &&
    counting !== null &&
    sorted.some((each) => each.outcome === "break_glass") &&
    sorted.every((each) => !blocks(each.outcome) || each.breakGlassOverrideAllowed)
  const finalOutcome = lifted ? "break_glass" : strongest

  return Result.succeed({
    finalOutcome,
    contributing: sorted.filter((each) => each.outcome === finalOutcome),
    discarded: sorted.filter((each) => each.outcome !== finalOutcome),
    breakGlass: counting
  })
}

/** The decision as JSON text, member for member as in the header; no spaces, no line end. */
export const encodeDecision = (decision: Decision): string =>
  JSON.stringify(Schema.encodeSync(Decision)(decision))

/** `dev_only` where the final outcome blocks, else `authority_grade`. */
export const claimCeiling = (decision: Decision): ClaimCeiling =>
  blocks(decision.finalOutcome) ? "dev_only" : "authority_grade"

/** What to keep of a break-glass; null unless break_glass is final and the authorization counts. */
export const breakGlassAudit = (decision: Decision): BreakGlassAudit | null => {
  const authorization = decision.breakGlass
  if (decision.finalOutcome !== "break_glass" || authorization === null) return null
  if (!counts(authorization)) return null
  return {
    scope: authorization.scope,
    reasonCode: authorization.reasonCode,
    contributingOutcomes: decision.contributing,
    expiresAt: authorization.scope.notAfter
  }
}

/**
 * Lets a decision through a surface's gate, or says what refuses it. Checked in this order: every
 * required rule has voted (contributing or discarded); the vote that no break-glass can stand in
 * for is allow (`attestationRequired` for source "user" at ledger.append, `keyStateCurrentUse` at
 * ledger.append_signed); the final outcome is allow, warn or break_glass. `source` is the event
 * source's type ("user", "runtime", …), `index` the draft's place in its append. A mirrored append
 * asks the mirror's gate first, then the ledger's.
 */
export const pass = (
  surface: Surface,
  decision: Decision,
  source: string,
  index = 0
): Result.Result<Decision, PolicyRefused> => {
  const refuse = (reason: PolicyRefused["reason"], ruleId: string | null) =>
    Result.fail(new PolicyRefused({ index, surface, ruleId, reason, decision }))

  const missing = requiredRules[surface].find((ruleId) => !voteOf(decision, ruleId))
  if (missing !== undefined) return refuse("missing_contributor", missing)

  if (surface === "ledger.append" && source === "user") {
    const attestation = voteOf(decision, Rules.attestationRequired)
    if (attestation?.outcome !== "allow") return refuse("attestation", Rules.attestationRequired)
  }
  if (surface === "ledger.append_signed") {
    const keyState = voteOf(decision, Rules.keyStateCurrentUse)
    if (keyState?.outcome !== "allow") return refuse("key_state", Rules.keyStateCurrentUse)
  }
  if (!opens(decision.finalOutcome)) {
    return refuse("blocked", decision.contributing[0]?.ruleId ?? null)
  }
  return Result.succeed(decision)
}

const opens = (outcome: Outcome): boolean =>
  outcome === "allow" || outcome === "warn" || outcome === "break_glass"

const blocks = (outcome: Outcome): boolean => !opens(outcome)

/** The first vote under this id counts: those that contribute come before the discarded ones. */
const voteOf = (decision: Decision, ruleId: string): Contribution | undefined =>
  decision.contributing.find((each) => each.ruleId === ruleId) ??
  decision.discarded.find((each) => each.ruleId === ruleId)

const refusalText = ({ reason, ruleId, decision }: PolicyRefused): string => {
  const rule = ruleId === null ? "no rule" : `rule ${JSON.stringify(ruleId)}`
  const found = ruleId === null ? undefined : voteOf(decision, ruleId)
  const said = found === undefined ? "" : `, because: ${found.reason}`
  switch (reason) {
    case "missing_contributor":
      return `required ${rule} has not voted; register it and compose its vote into the decision`
    case "blocked":
      return (
        `the outcome is ${decision.finalOutcome}, carried by ${rule}${said}; ` +
        "change the draft, or break the glass if every blocking rule may be overridden"
      )
    case "attestation":
      return (
        `${rule} must vote allow for source "user" but voted ${found?.outcome}${said}; ` +
        "attest it, no break-glass stands in for that"
      )
    case "key_state":
      return (
        `${rule} must vote allow but voted ${found?.outcome}${said}; ` +
        "sign with a key in current use, no break-glass stands in for that"
      )
    case "view_stale":
      return `${rule} asks a view that is stale; rebuild the view and append again`
  }
}

const contributionFault = (made: Contribution): RuleInvalid["reason"] | null => {
  if (isBlank(made.reason)) return "empty_reason"
  if (isBlank(made.ruleId)) return "empty_rule_id"
  if (!made.reason.isWellFormed() || !made.ruleId.isWellFormed()) return "lone_surrogate"
  // Plain JavaScript is not held by the types, and indexOf would rank an unknown outcome lowest.
  if (!Outcome.literals.includes(made.outcome)) return "unknown_outcome"
  return null
}

const contributionsInvalid = (contributions: ReadonlyArray<Contribution>): RuleInvalid | null => {
  for (const [index, made] of contributions.entries()) {
    const reason = contributionFault(made)
    if (reason !== null) return new RuleInvalid({ reason, ruleId: made.ruleId, index })
  }
  return null
}

const registrationInvalid = (
  contributions: ReadonlyArray<Contribution>,
  registered: ReadonlySet<string>
): RuleInvalid | null => {
  for (const ruleId of registered) {
    if (isBlank(ruleId)) return new RuleInvalid({ reason: "empty_rule_id", ruleId, index: null })
  }
  if (contributions.length === 0) {
    return new RuleInvalid({ reason: "no_contributions", ruleId: null, index: null })
  }
  const index = contributions.findIndex(({ ruleId }) => !registered.has(ruleId))
  const unknown = contributions[index]
  return unknown === undefined
    ? null
    : new RuleInvalid({ reason: "unknown_rule", ruleId: unknown.ruleId, index })
}

const authorizationInvalid = ({ scope, reasonCode }: BreakGlass): RuleInvalid | null => {
  const invalid = (reason: RuleInvalid["reason"]) =>
    new RuleInvalid({ reason, ruleId: null, index: null })
  if (!BreakGlassReason.literals.includes(reasonCode)) return invalid("unknown_reason_code")
  if (![scope.operationType, ...scope.artifactRefs].every((text) => text.isWellFormed())) {
    return invalid("lone_surrogate")
  }
  const times = [scope.notBefore, scope.notAfter].filter((time) => time !== null)
  return times.every(isTime) ? null : invalid("invalid_time")
}

const withTimesInUtc = (authorization: BreakGlass): BreakGlass => {
  const { scope } = authorization
  const notBefore = scope.notBefore === null ? null : inUtc(scope.notBefore)
  const notAfter = scope.notAfter === null ? null : inUtc(scope.notAfter)
  return { ...authorization, scope: { ...scope, notBefore, notAfter } }
}

const counts = ({ permitted, attested, scope }: BreakGlass): boolean =>
  permitted &&
  attested &&
  !isBlank(scope.operationType) &&
  scope.artifactRefs.length > 0 &&
  !scope.artifactRefs.some(isBlank) &&
  isWindow(scope.notBefore, scope.notAfter)

const isWindow = (notBefore: string | null, notAfter: string | null): boolean => {
  if (notBefore === null || notAfter === null) return true
  const from = Timestamp.parse(notBefore)
  const to = Timestamp.parse(notAfter)
  if (Result.isFailure(from) || Result.isFailure(to)) return false
  return Timestamp.compare(from.success, to.success) <= 0
}

/** Unicode White_Space, as Cortex trims: with U+0085, without U+FEFF, unlike String.trim. */
const isBlank = (text: string): boolean => /^\p{White_Space}*$/u.test(text)

const strongestThenRuleId: Order.Order<Contribution> = Order.combine(
  Order.mapInput(Order.flip(outcomeOrder), ({ outcome }: Contribution) => outcome),
  Order.make((left, right) => Order.Number(compareUtf8(left.ruleId, right.ruleId), 0))
)
