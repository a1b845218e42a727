import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Result, Schema } from "effect"
import * as fs from "node:fs"
import * as Policy from "../../src/core/Policy.ts"

const Vector = Schema.Struct({
  name: Schema.String,
  contributions: Schema.Array(Schema.Json),
  break_glass: Schema.Json,
  registered: Schema.optionalKey(Schema.Array(Schema.String)),
  expect: Schema.Union([
    Schema.Struct({ error: Schema.String, rule_id: Schema.optionalKey(Schema.String) }),
    Schema.Struct({
      decision_text: Schema.String,
      claim_ceiling: Schema.String,
      break_glass_audit: Schema.Json
    })
  ])
})

const Gate = Schema.Struct({
  name: Schema.String,
  surface: Schema.Literals(["append", "append_signed", "mirror_append", "mirror_append_signed"]),
  event: Schema.Struct({ source: Schema.Struct({ type: Schema.String }) }),
  ledger_policy: Policy.Decision,
  mirror_policy: Schema.optionalKey(Policy.Decision),
  expect: Schema.Struct({ ok: Schema.Boolean, error: Schema.optionalKey(Schema.String) })
})

const lines = (name: string): ReadonlyArray<unknown> =>
  fs
    .readFileSync(new URL(`../vectors/cortex/${name}`, import.meta.url), "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line))

const policyVectors = Schema.decodeUnknownSync(Schema.Array(Vector))(lines("policy.jsonl"))
const gateVectors = Schema.decodeUnknownSync(Schema.Array(Gate))(lines("gates.jsonl"))

const cortexError: Partial<Record<Policy.RuleInvalid["reason"], string>> = {
  empty_reason: "EmptyReason",
  empty_rule_id: "EmptyRuleId",
  no_contributions: "NoContributions",
  unknown_rule: "UnregisteredRule"
}

/** Builds a vector's input as its program did, the contributions one by one, and composes it. */
const composeVector = (vector: typeof Vector.Type) =>
  Result.gen(function* () {
    const contributions = []
    for (const json of vector.contributions) {
      const read = yield* Schema.decodeUnknownResult(Policy.Contribution)(json)
      contributions.push(
        yield* Policy.contribution(read.ruleId, {
          outcome: read.outcome,
          reason: read.reason,
          overridable: read.breakGlassOverrideAllowed
        })
      )
    }
    const breakGlass = yield* Schema.decodeUnknownResult(Schema.NullOr(Policy.BreakGlass))(
      vector.break_glass
    )
    return yield* Policy.compose(contributions, { breakGlass, registered: vector.registered })
  })

const checkVector = (vector: typeof Vector.Type) => {
  const result = composeVector(vector)
  if ("error" in vector.expect) {
    const failure = Result.getOrThrow(Result.flip(result))
    if (failure instanceof Policy.RuleInvalid) {
      assert.strictEqual(cortexError[failure.reason], vector.expect.error, vector.name)
      if (vector.expect.rule_id !== undefined) {
        assert.strictEqual(failure.ruleId, vector.expect.rule_id, vector.name)
      }
    } else {
      assert.match(vector.expect.error, /^unknown variant /, vector.name)
    }
    return
  }
  const decision = Result.getOrThrow(result)
  assert.strictEqual(Policy.encodeDecision(decision), vector.expect.decision_text, vector.name)
  assert.strictEqual(Policy.claimCeiling(decision), vector.expect.claim_ceiling, vector.name)
  assert.deepStrictEqual(
    Schema.encodeSync(Schema.NullOr(Policy.BreakGlassAudit))(Policy.breakGlassAudit(decision)),
    vector.expect.break_glass_audit,
    vector.name
  )
}

const ledgerSurface = { append: "ledger.append", append_signed: "ledger.append_signed" } as const
const mirrorSurface = { append: "mirror.append", append_signed: "mirror.append_signed" } as const

const refusal = (gate: typeof Gate.Type): Policy.PolicyRefused | null => {
  const kind = gate.surface.endsWith("signed") ? "append_signed" : "append"
  const source = gate.event.source.type
  const asked = [
    ...(gate.mirror_policy === undefined
      ? []
      : [Policy.pass(mirrorSurface[kind], gate.mirror_policy, source)]),
    Policy.pass(ledgerSurface[kind], gate.ledger_policy, source)
  ]
  return asked.find(Result.isFailure)?.failure ?? null
}

const cortexName: Record<Policy.Outcome, string> = {
  allow: "Allow",
  warn: "Warn",
  break_glass: "BreakGlass",
  quarantine: "Quarantine",
  reject: "Reject"
}

/** What the refusal is called in Cortex: without its remarks, which name documents of its own. */
const cortexRefusal = ({ surface, reason, ruleId, decision }: Policy.PolicyRefused): string => {
  const all = [...decision.contributing, ...decision.discarded]
  const first = all.find((each) => each.ruleId === ruleId)
  const voted = first === undefined ? "nothing" : cortexName[first.outcome]
  const append = surface.startsWith("mirror") ? "mirrored append" : "ledger append"
  switch (reason) {
    case "missing_contributor":
      return `policy decision missing required contributor \`${ruleId}\``
    case "attestation":
      return `${surface} preflight: attestation contributor \`${ruleId}\` returned ${voted} for EventSource::User`
    case "key_state":
      return `${surface} preflight: current-use contributor \`${ruleId}\` returned ${voted}`
    case "blocked":
      return `${surface} preflight: composed policy outcome ${cortexName[decision.finalOutcome]} blocks ${append}`
    case "view_stale":
      return "unknown to Cortex"
  }
}

/** The two refusals of a gate vector that come from the store and not from a policy. */
const isStoreError = (error: string) =>
  error.includes("already exists in SQLite") || error.startsWith("sqlite error")

const ruleIds = ["-", "~", "\u{ffff}", "\u{e000}", "\u{10000}", "\u{1f600}b", "B", "a.b", "a", "á"]

const votes = Arbitrary.array(
  Arbitrary.schema(
    Schema.Struct({
      ruleId: Schema.Literals(ruleIds),
      outcome: Policy.Outcome,
      reason: Schema.Literals(["because", "so", "\u{feff}", "é"]),
      breakGlassOverrideAllowed: Schema.Boolean
    })
  ),
  { maxLength: 8 }
)

const time = Schema.NullOr(
  Schema.Literals([
    "2026-05-01T00:00:00Z",
    "2026-05-01T02:00:00+02:00",
    "2026-05-01T00:00:00.5Z",
    "2026-04-30T23:59:59.999999999Z"
  ])
)
const milliseconds = (text: string) => Number(new Date(text))

const authorizations = Arbitrary.schema(
  Schema.NullOr(
    Schema.Struct({
      permitted: Schema.Boolean,
      attested: Schema.Boolean,
      scope: Schema.Struct({
        operationType: Schema.Literals(["override", " ", "\u{85}", "\u{feff}"]),
        artifactRefs: Schema.Array(Schema.Literals(["mem_01", "b", "\u{3000}"])),
        notBefore: time,
        notAfter: time
      }),
      reasonCode: Policy.BreakGlassReason
    })
  )
)

const shuffles = Arbitrary.array(Arbitrary.schema(Schema.Natural), { minLength: 8, maxLength: 8 })
const permute = <A>(items: ReadonlyArray<A>, keys: ReadonlyArray<number>): ReadonlyArray<A> =>
  items
    .map((item, at) => ({ item, key: keys[at] ?? 0 }))
    .toSorted((left, right) => left.key - right.key)
    .map(({ item }) => item)

const composed = (
  contributions: ReadonlyArray<Policy.Contribution>,
  breakGlass: Policy.BreakGlass | null = null
) => Result.getOrThrow(Policy.compose(contributions, { breakGlass }))

const strengths: ReadonlyArray<Policy.Outcome> = [
  "allow",
  "warn",
  "break_glass",
  "quarantine",
  "reject"
]
const strength = (outcome: Policy.Outcome) => strengths.indexOf(outcome)
const rustBlank = (text: string) => [" ", "\u{85}", "\u{3000}"].includes(text)

/** The rule for break-glass, condition by condition as it is written in the definition. */
const countsByDefinition = (authorization: Policy.BreakGlass | null): boolean => {
  if (authorization === null) return false
  const { operationType, artifactRefs, notBefore, notAfter } = authorization.scope
  const conditions = [
    authorization.permitted,
    authorization.attested,
    !rustBlank(operationType),
    artifactRefs.length !== 0,
    artifactRefs.filter(rustBlank).length === 0,
    notBefore === null ||
      notAfter === null ||
      // Only one of the times has more than milliseconds, and it is the earliest.
      milliseconds(notBefore) <= milliseconds(notAfter)
  ]
  return conditions.every((holds) => holds)
}

const finalByDefinition = (
  contributions: ReadonlyArray<Policy.Contribution>,
  authorization: Policy.BreakGlass | null
): Policy.Outcome => {
  const strongest = Math.max(0, ...contributions.map(({ outcome }) => strength(outcome)))
  const blockers = contributions.filter(
    ({ outcome }) => strength(outcome) > strength("break_glass")
  )
  const isLifted =
    blockers.length > 0 &&
    blockers.every((each) => each.breakGlassOverrideAllowed) &&
    contributions.some(({ outcome }) => outcome === "break_glass") &&
    countsByDefinition(authorization)
  return isLifted ? "break_glass" : (strengths[strongest] ?? "allow")
}

/** Insertion by pairwise comparison of outcome, then UTF-8 bytes: slow, stable, obvious. */
const sortedByDefinition = (contributions: ReadonlyArray<Policy.Contribution>) => {
  const sorted: Array<Policy.Contribution> = []
  const isAfter = (left: Policy.Contribution, right: Policy.Contribution) =>
    left.outcome === right.outcome
      ? Buffer.compare(Buffer.from(left.ruleId), Buffer.from(right.ruleId)) > 0
      : strength(left.outcome) < strength(right.outcome)
  for (const each of contributions) {
    const at = sorted.findIndex((placed) => isAfter(placed, each))
    sorted.splice(at === -1 ? sorted.length : at, 0, each)
  }
  return sorted
}

const multiset = (contributions: ReadonlyArray<Policy.Contribution>) =>
  contributions.map((each) => JSON.stringify(each)).toSorted()

const requiredAllow = (surface: Policy.Surface) =>
  Policy.requiredRules[surface].map((ruleId) => ({
    ruleId,
    outcome: "allow" as const,
    reason: "fine",
    breakGlassOverrideAllowed: false
  }))

describe("Policy vectors", () => {
  it("has the vectors it is measured by", () => {
    assert.strictEqual(policyVectors.length, 266)
    assert.strictEqual(gateVectors.length, 208)
  })

  for (const vector of policyVectors) {
    it(`composes ${vector.name} as Cortex does`, () => checkVector(vector))
  }

  for (const gate of gateVectors) {
    it(`gates ${gate.name} as Cortex does`, () => {
      const refused = refusal(gate)
      const error = gate.expect.error
      if (error === undefined) {
        assert.isTrue(gate.expect.ok)
        assert.isNull(refused)
      } else if (isStoreError(error)) {
        // The mirror's gate comes before the look for the id, the ledger's after it.
        assert.notStrictEqual(refused?.surface.startsWith("mirror"), true)
      } else {
        assert.isNotNull(refused)
        const text = error.replaceAll("validation failed: ", "")
        assert.isTrue(
          text.startsWith(cortexRefusal(refused)),
          `${text} / ${cortexRefusal(refused)}`
        )
      }
    })
  }
})

describe("Policy.compose", () => {
  it.prop("agrees with the definition", [votes, authorizations], ([contributions, glass]) => {
    const decision = composed(contributions, glass)
    const finalOutcome = finalByDefinition(contributions, glass)
    const sorted = sortedByDefinition(contributions)
    assert.strictEqual(decision.finalOutcome, finalOutcome)
    assert.deepStrictEqual(
      decision.contributing,
      sorted.filter(({ outcome }) => outcome === finalOutcome)
    )
    assert.deepStrictEqual(
      decision.discarded,
      sorted.filter(({ outcome }) => outcome !== finalOutcome)
    )
    assert.strictEqual(decision.breakGlass !== null, countsByDefinition(glass))
  })

  it.prop(
    "gives the same decision in any order of the votes of distinct rules",
    [votes, authorizations, shuffles],
    ([contributions, glass, keys]) => {
      const distinct = [
        ...new Map(contributions.map((each) => [`${each.outcome} ${each.ruleId}`, each])).values()
      ]
      assert.deepStrictEqual(composed(permute(distinct, keys), glass), composed(distinct, glass))
    }
  )

  it.prop(
    "decides, contributes and discards the same in any order, whichever rules vote twice",
    [votes, authorizations, shuffles],
    ([contributions, glass, keys]) => {
      const left = composed(contributions, glass)
      const right = composed(permute(contributions, keys), glass)
      assert.strictEqual(left.finalOutcome, right.finalOutcome)
      assert.deepStrictEqual(left.breakGlass, right.breakGlass)
      assert.deepStrictEqual(multiset(left.contributing), multiset(right.contributing))
      assert.deepStrictEqual(multiset(left.discarded), multiset(right.discarded))
    }
  )

  it.prop("is idempotent", [votes, authorizations], ([contributions, glass]) => {
    const decision = composed(contributions, glass)
    const again = composed([...decision.contributing, ...decision.discarded], decision.breakGlass)
    assert.deepStrictEqual(again, decision)
  })

  it.prop("leaves its input alone", [votes, authorizations], ([contributions, glass]) => {
    const before = JSON.stringify([contributions, glass])
    composed(Object.freeze([...contributions]), glass)
    assert.strictEqual(JSON.stringify([contributions, glass]), before)
  })

  it.prop("is read back from its JSON", [votes, authorizations], ([contributions, glass]) => {
    const decision = composed(contributions, glass)
    const read = Schema.decodeUnknownSync(Schema.fromJsonString(Policy.Decision))
    assert.deepStrictEqual(read(Policy.encodeDecision(decision)), decision)
  })

  it("writes members in their order, whatever order the object has", () => {
    const { breakGlass, contributing, discarded, finalOutcome } = composed(
      requiredAllow("mirror.append")
    )
    assert.strictEqual(
      Policy.encodeDecision({ breakGlass, discarded, contributing, finalOutcome }),
      '{"final_outcome":"allow","contributing":[{"rule_id":"mirror.append.parity_invariant",' +
        '"outcome":"allow","reason":"fine","break_glass_override_allowed":false}],' +
        '"discarded":[],"break_glass":null}'
    )
  })

  const glass = (notBefore: string | null, notAfter: string | null): Policy.BreakGlass => ({
    permitted: true,
    attested: true,
    scope: { operationType: "override", artifactRefs: ["a"], notBefore, notAfter },
    reasonCode: "incident_response"
  })

  for (const [given, utc] of [
    ["2026-01-01T00:30:00+01:00", "2025-12-31T23:30:00Z"],
    ["2028-03-01T00:00:00.1200+00:01", "2028-02-29T23:59:00.120Z"],
    ["2016-12-31T23:59:60.000Z", "2016-12-31T23:59:60Z"]
  ] as const) {
    it(`keeps the time ${given} in UTC`, () => {
      assert.strictEqual(composed([], glass(given, null)).breakGlass?.scope.notBefore, utc)
      assert.strictEqual(
        Schema.decodeUnknownSync(Policy.BreakGlass)(
          Schema.encodeSync(Policy.BreakGlass)(glass(null, given))
        ).scope.notAfter,
        utc
      )
    })
  }

  it("compares the window's ends to the nanosecond", () => {
    const counts = (notBefore: string, notAfter: string) =>
      composed([], glass(notBefore, notAfter)).breakGlass !== null
    assert.isTrue(counts("2026-05-01T00:00:00Z", "2026-05-01T00:00:00.000000001Z"))
    assert.isFalse(counts("2026-05-01T00:00:00.000000001Z", "2026-05-01T00:00:00Z"))
    assert.isFalse(counts("2026-05-01T00:00:00.5Z", "2026-05-01T00:00:00.499999999Z"))
    assert.isTrue(counts("2026-05-01T00:00:00.500Z", "2026-05-01T00:00:00.5Z"))
    assert.isTrue(counts("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"))
  })

  for (const bad of ["tomorrow", "2026-02-29T00:00:00Z", "2026-05-01T00:00:00", ""]) {
    it(`refuses the time ${JSON.stringify(bad)}`, () => {
      for (const breakGlass of [glass(bad, null), glass(null, bad)]) {
        const error = Result.getOrThrow(Result.flip(Policy.compose([], { breakGlass })))
        assert.strictEqual(error.reason, "invalid_time")
        assert.isTrue(
          Result.isFailure(
            Schema.decodeUnknownResult(Policy.BreakGlass)({
              permitted: true,
              attested: true,
              scope: {
                operation_type: "o",
                artifact_refs: ["a"],
                not_before: breakGlass.scope.notBefore,
                not_after: breakGlass.scope.notAfter
              },
              reason_code: "incident_response"
            })
          )
        )
      }
    })
  }

  it("audits no break-glass of a decision made by hand whose authorization does not count", () => {
    const valid = glass("2026-05-01T00:00:00Z", "2026-05-02T00:00:00Z")
    const audit = (breakGlass: Policy.BreakGlass | null) =>
      Policy.breakGlassAudit({
        finalOutcome: "break_glass",
        contributing: [],
        discarded: [],
        breakGlass
      })
    assert.strictEqual(audit(valid)?.expiresAt, "2026-05-02T00:00:00Z")
    assert.isNull(audit(null))
    assert.isNull(audit({ ...valid, attested: false }))
    assert.isNull(audit(glass("tomorrow", "2026-05-02T00:00:00Z")))
  })

  it("refuses what the types forbid instead of ranking it", () => {
    const vote = { ruleId: "r", reason: "x", breakGlassOverrideAllowed: true }
    // @ts-expect-error an outcome that does not exist
    const outcome = Policy.compose([{ ...vote, outcome: "deny" }])
    assert.strictEqual(Result.getOrThrow(Result.flip(outcome)).reason, "unknown_outcome")
    const breakGlass = { ...glass(null, null), reasonCode: "because" }
    // @ts-expect-error a reason code that does not exist
    const code = Policy.compose([], { breakGlass })
    assert.strictEqual(Result.getOrThrow(Result.flip(code)).reason, "unknown_reason_code")
  })

  it("refuses a lone surrogate in a rule id, a reason and a scope", () => {
    const lone = "\u{d800}"
    const reasonOf = (result: Result.Result<unknown, Policy.RuleInvalid>) =>
      Result.getOrThrow(Result.flip(result)).reason
    assert.strictEqual(reasonOf(Policy.contribution(lone, Policy.allow("x"))), "lone_surrogate")
    assert.strictEqual(reasonOf(Policy.contribution("r", Policy.allow(lone))), "lone_surrogate")
    const base = glass(null, null)
    const breakGlass = { ...base, scope: { ...base.scope, artifactRefs: ["a", lone] } }
    assert.strictEqual(reasonOf(Policy.compose([], { breakGlass })), "lone_surrogate")
  })

  it("names the contribution that is invalid, the place of it, and what to do", () => {
    const [good] = requiredAllow("mirror.append")
    assert.isDefined(good)
    const error = Result.getOrThrow(
      Result.flip(Policy.compose([good, { ...good, ruleId: "b", reason: "\u{85}" }]))
    )
    assert.strictEqual(error._tag, "RuleInvalid")
    assert.deepStrictEqual([error.index, error.ruleId], [1, "b"])
    assert.strictEqual(
      error.message,
      'policy of rule "b", contribution 1: its reason is blank; say why it votes as it does'
    )
  })
})

describe("Policy.pass", () => {
  const surfaces = Schema.Literals(Policy.Surface.literals)
  const sources = Schema.Literals(["user", "runtime", "tool"])
  const someRequired = Arbitrary.flatMap(Arbitrary.schema(surfaces), (surface) =>
    Arbitrary.all({
      surface: Arbitrary.Constant(surface),
      contributions: Arbitrary.map(
        Arbitrary.all([votes, Arbitrary.array(Arbitrary.schema(Schema.Boolean), { minLength: 3 })]),
        ([others, present]) => [
          ...others.filter(({ outcome }) => outcome === "allow" || outcome === "warn"),
          ...requiredAllow(surface).filter((_, at) => present[at] === true)
        ]
      )
    })
  )

  it.prop(
    "reports the first required rule that has not voted, else lets a mild decision through",
    [someRequired, sources],
    ([{ surface, contributions }, source]) => {
      const decision = composed(contributions)
      const missing = Policy.requiredRules[surface].find((ruleId) =>
        contributions.every((each) => each.ruleId !== ruleId)
      )
      const result = Policy.pass(surface, decision, source)
      if (missing === undefined) {
        assert.strictEqual(Result.getOrThrow(result), decision)
      } else {
        const error = Result.getOrThrow(Result.flip(result))
        assert.deepStrictEqual([error.reason, error.ruleId], ["missing_contributor", missing])
        assert.include(error.message, missing)
      }
    }
  )

  it.prop(
    "lets nothing through whose strongest vote blocks and was not lifted",
    [surfaces, sources, votes, authorizations],
    ([surface, source, others, glass]) => {
      const decision = composed([...requiredAllow(surface), ...others], glass)
      const result = Policy.pass(surface, decision, source)
      assert.strictEqual(
        Result.isSuccess(result),
        ["allow", "warn", "break_glass"].includes(finalByDefinition(others, glass))
      )
      if (Result.isSuccess(result)) return
      assert.strictEqual(result.failure.reason, "blocked")
      assert.strictEqual(result.failure.ruleId, decision.contributing[0]?.ruleId)
      assert.include(result.failure.message, decision.finalOutcome)
    }
  )

  it("puts the draft's place, the surface and the rule's reason into the message", () => {
    const contributions = [
      ...requiredAllow("ledger.append"),
      Result.getOrThrow(Policy.contribution("bank.limit", Policy.reject("above 500")))
    ]
    const refused = Result.getOrThrow(
      Result.flip(Policy.pass("ledger.append", composed(contributions), "runtime", 3))
    )
    assert.strictEqual(
      refused.message,
      'ledger.append refused draft 3: the outcome is reject, carried by rule "bank.limit", ' +
        "because: above 500; change the draft, or break the glass if every blocking rule may be " +
        "overridden"
    )
    assert.strictEqual(refused._tag, "PolicyRefused")
  })

  it("says who must vote allow where no break-glass helps", () => {
    const withVote = (surface: Policy.Surface, ruleId: string) =>
      composed(
        requiredAllow(surface).map((each) =>
          each.ruleId === ruleId ? { ...each, ...Policy.warn("unsure") } : each
        )
      )
    const refused = (surface: Policy.Surface, ruleId: string) =>
      Result.getOrThrow(Result.flip(Policy.pass(surface, withVote(surface, ruleId), "user")))

    const attestation = refused("ledger.append", Policy.Rules.attestationRequired)
    assert.strictEqual(attestation.reason, "attestation")
    assert.include(attestation.message, "voted warn, because: unsure")
    const keyState = refused("ledger.append_signed", Policy.Rules.keyStateCurrentUse)
    assert.strictEqual(keyState.reason, "key_state")
    assert.include(keyState.message, Policy.Rules.keyStateCurrentUse)
  })

  it("names no rule for a blocking decision made by hand that has none", () => {
    const decision: Policy.Decision = {
      finalOutcome: "reject",
      contributing: [],
      discarded: requiredAllow("mirror.append"),
      breakGlass: null
    }
    const refused = Result.getOrThrow(Result.flip(Policy.pass("mirror.append", decision, "tool")))
    assert.deepStrictEqual([refused.reason, refused.ruleId], ["blocked", null])
  })
})
