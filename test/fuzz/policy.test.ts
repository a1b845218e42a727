/** Decisions and authorizations out of JSON, and what is composed of them. */
import { assert, describe } from "@effect/vitest"
import { Option, Result, Schema } from "effect"
import * as Policy from "../../src/core/Policy.ts"
import * as Timestamp from "../../src/core/Timestamp.ts"
import { text, utf8, vector } from "../core/history.ts"
import { fuzz, showBytes, showText } from "./choices.ts"
import type { Choices } from "./choices.ts"
import * as Texts from "./jsonTexts.ts"
import { mutated, rawBytes } from "./mutations.ts"
import * as Textbook from "./textbook.ts"
import { brokenTime, timeText } from "./timestamps.ts"

const decodeDecision = Schema.decodeUnknownOption(Schema.fromJsonString(Policy.Decision))
const decodeBreakGlass = Schema.decodeUnknownOption(Schema.fromJsonString(Policy.BreakGlass))

const surfaces = Policy.Surface.literals
const ruleIds = [
  ...new Set(Object.values(Policy.requiredRules).flat()),
  "a",
  "z",
  "é",
  "😀",
  "\uffff"
]

const sources = ["user", "runtime", "tool"]

const seen = { decided: 0, composed: 0, passed: 0, refused: 0, lifted: 0 }

/** The names of members in the order of the text, at every depth. */
const namesOf = (json: Textbook.Json): unknown =>
  json.kind === "object"
    ? json.members.map(([name, value]) => [name, namesOf(value)])
    : json.kind === "array"
      ? json.items.map(namesOf)
      : ""

const votes = (count: number) => Array.from({ length: count }, () => voteNames)
const voteNames = ["rule_id", "outcome", "reason", "break_glass_override_allowed"].map((name) => [
  name,
  ""
])

const scopeNames = ["operation_type", "artifact_refs", "not_before", "not_after"]

const breakGlassNames = (glass: Policy.BreakGlass | null): unknown =>
  glass === null
    ? ""
    : [
        ["permitted", ""],
        ["attested", ""],
        [
          "scope",
          scopeNames.map((name) => [
            name,
            name === "artifact_refs" ? glass.scope.artifactRefs.map(() => "") : ""
          ])
        ],
        ["reason_code", ""]
      ]

const blank = /^\p{White_Space}*$/u

const counts = ({ attested, permitted, scope }: Policy.BreakGlass): boolean => {
  const times = [scope.notBefore, scope.notAfter].map((time) =>
    time === null ? null : Result.getOrThrow(Timestamp.parse(time))
  )
  const [from, to] = times
  const isWindow = !from || !to || Timestamp.compare(from, to) <= 0
  const texts = [scope.operationType, ...scope.artifactRefs]
  const isTold = scope.artifactRefs.length > 0 && !texts.some((text) => blank.test(text))
  return permitted && attested && isTold && isWindow
}

/** The outcome by its definition. */
const outcomeOf = (
  votes: ReadonlyArray<Policy.Contribution>,
  glass: Policy.BreakGlass | null
): Policy.Outcome => {
  const has = (outcome: Policy.Outcome) => votes.some((vote) => vote.outcome === outcome)
  const blocking = votes.filter(({ outcome }) => outcome === "reject" || outcome === "quarantine")
  const isLifted =
    has("break_glass") &&
    blocking.every((vote) => vote.breakGlassOverrideAllowed) &&
    glass !== null &&
    counts(glass)
  if (isLifted) return "break_glass"
  for (const outcome of ["reject", "quarantine", "break_glass", "warn"] as const) {
    if (has(outcome)) return outcome
  }
  return "allow"
}

/** What every decision must hold to, wherever it came from. */
const assertDecision = (decision: Policy.Decision): void => {
  const encoded = Policy.encodeDecision(decision)
  assert.deepStrictEqual(Option.getOrNull(decodeDecision(encoded)), decision)
  const json = Textbook.parse(encoded)?.json
  assert.deepStrictEqual(json && namesOf(json), [
    ["final_outcome", ""],
    ["contributing", votes(decision.contributing.length)],
    ["discarded", votes(decision.discarded.length)],
    ["break_glass", breakGlassNames(decision.breakGlass)]
  ])
  for (const surface of surfaces) {
    for (const source of sources) {
      const passed = Policy.pass(surface, decision, source)
      if (Result.isSuccess(passed)) {
        seen.passed++
        assert.include(["allow", "warn", "break_glass"], decision.finalOutcome)
        assert.strictEqual(passed.success, decision)
      } else {
        seen.refused++
        assert.isNotEmpty(passed.failure.message)
      }
    }
  }
  const audit = Policy.breakGlassAudit(decision)
  assert.isTrue(audit === null || decision.finalOutcome === "break_glass")
  assert.include(["authority_grade", "dev_only"], Policy.claimCeiling(decision))
}

const judge = (given: string): void => {
  const glass = decodeBreakGlass(given)
  if (Option.isSome(glass))
    assert.isTrue(Result.isResult(Policy.compose([], { breakGlass: glass.value })))
  const decided = decodeDecision(given)
  if (Option.isNone(decided)) return
  seen.decided++
  const { breakGlass, contributing, discarded } = decided.value
  assertDecision(decided.value)
  const composed = Policy.compose([...contributing, ...discarded], { breakGlass })
  if (Result.isFailure(composed)) {
    assert.isNotEmpty(composed.failure.message)
    return
  }
  seen.composed++
  const { success: decision } = composed
  if (decision.finalOutcome === "break_glass") seen.lifted++
  assertDecision(decision)
  assert.strictEqual(decision.finalOutcome, outcomeOf([...contributing, ...discarded], breakGlass))
  assert.strictEqual(decision.breakGlass !== null, breakGlass !== null && counts(breakGlass))
  for (const vote of decision.contributing) assert.strictEqual(vote.outcome, decision.finalOutcome)
  for (const vote of decision.discarded) assert.notStrictEqual(vote.outcome, decision.finalOutcome)
  const all = [...decision.contributing, ...decision.discarded]
  assert.strictEqual(all.length, contributing.length + discarded.length)
  // Votes of one rule with one outcome keep their order, so reversing twice changes nothing.
  const again = Policy.compose(all, { breakGlass: decision.breakGlass })
  assert.deepStrictEqual(Result.getOrThrow(again), decision)
}

const odd = (c: Choices, usual: () => string): string =>
  c.once(60) ? (c.below(2) === 0 ? Texts.jsonText(c) : "null") : usual()

const object = (c: Choices, members: ReadonlyArray<readonly [string, () => string]>): string => {
  const texts = members.map(([name, make]) => `${JSON.stringify(name)}:${odd(c, make)}`)
  if (c.once(30)) texts.push(`${Texts.spelled(c, c.pick(["more", "rule_id"]))}:1`)
  if (c.once(30)) texts.reverse()
  if (c.once(90)) texts.shift()
  return `{${texts.join(",")}}`
}

const bool = (c: Choices) => () => c.pick(["false", "true"])

const free = (c: Choices) => () => Texts.spelled(c, c.once(10) ? Texts.someText(c) : "because")

const vote = (c: Choices) => () =>
  object(c, [
    ["rule_id", () => Texts.spelled(c, c.once(12) ? Texts.someText(c) : c.pick(ruleIds))],
    ["outcome", () => JSON.stringify(c.pick(Policy.Outcome.literals))],
    ["reason", free(c)],
    ["break_glass_override_allowed", bool(c)]
  ])

const list = (c: Choices, make: () => string) => () => `[${c.list(6, make).join(",")}]`

const time = (c: Choices) => () =>
  c.below(2) === 0 ? "null" : Texts.spelled(c, c.once(4) ? brokenTime(c) : timeText(c))

const glassText = (c: Choices): string =>
  object(c, [
    ["permitted", () => (c.once(4) ? "false" : "true")],
    ["attested", () => (c.once(4) ? "false" : "true")],
    [
      "scope",
      () =>
        object(c, [
          ["operation_type", free(c)],
          ["artifact_refs", list(c, free(c))],
          ["not_before", time(c)],
          ["not_after", time(c)]
        ])
    ],
    ["reason_code", () => JSON.stringify(c.pick(Policy.BreakGlassReason.literals))]
  ])

const decisionText = (c: Choices): string =>
  object(c, [
    ["final_outcome", () => JSON.stringify(c.pick(Policy.Outcome.literals))],
    ["contributing", list(c, vote(c))],
    ["discarded", list(c, vote(c))],
    ["break_glass", () => (c.below(2) === 0 ? "null" : glassText(c))]
  ])

const golden = text(vector("policy.jsonl"))
  .trimEnd()
  .split("\n")
  .flatMap((line) => JSON.parse(line).expect.decision_text ?? [])
  .map((decision) => utf8.encode(String(decision)))

describe("Policy, fuzzed", () => {
  fuzz(
    "a decision of JSON is refused, or decides, composes and is written in one way",
    {
      cases: 3_000,
      generate: (c) => (c.once(8) ? glassText(c) : decisionText(c)),
      show: showText
    },
    judge,
    () => Object.entries(seen).forEach(([name, count]) => assert.isAbove(count, 50, name))
  )

  fuzz(
    "a golden decision with a few bytes changed is refused or decides",
    { cases: 2_000, generate: (c) => mutated(c, c.pick(golden), golden), show: showBytes },
    (bytes) => judge(text(bytes))
  )

  fuzz(
    "raw bytes decide nothing",
    { cases: 1_000, generate: rawBytes, show: showBytes },
    (bytes) => {
      assert.isTrue(Option.isNone(decodeDecision(text(bytes))))
      assert.isTrue(Option.isNone(decodeBreakGlass(text(bytes))))
    }
  )
})
