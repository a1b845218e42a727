import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as path from "node:path"
import * as Policy from "../../../src/core/Policy.ts"
import * as Ed25519Keys from "../../../src/platform/Ed25519Keys.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { unhex } from "../../core/signing.ts"
import {
  allowAll,
  assertLike,
  cortexDraft,
  decisionOf,
  memberText,
  vectorLines
} from "../ledgerFixtures.ts"
import { using } from "../signedKit.ts"

const decisionIn = (line: string, name: string): Policy.Decision | undefined => {
  const text = memberText(line, name)
  return text === undefined ? undefined : decisionOf(text)
}

/** Which refusal an error text of the original means. */
const refusalOf = (error: string) => {
  const missing = /missing required contributor `([^`]+)`/.exec(error)?.[1]
  const isMirror = missing?.startsWith("mirror.") ?? error.includes("blocks mirrored append")
  const surface = isMirror ? "mirror.append_signed" : "ledger.append_signed"
  const common = { _tag: "PolicyRefused", surface }
  if (missing !== undefined) return { ...common, reason: "missing_contributor", ruleId: missing }
  return error.includes("current-use contributor")
    ? { ...common, reason: "key_state", ruleId: Policy.Rules.keyStateCurrentUse }
    : { ...common, reason: "blocked" }
}

const cases = vectorLines("gates.jsonl")
  .filter((line) => /"surface":"(?:mirror_)?append_signed"/.test(line))
  .map((line) => ({ line, ...JSON.parse(line) }))
  // What SQL alone has, and ids that are there already, are judged alike with and without a key.
  .filter(({ before, before_store, name }) => {
    const isFree = before === undefined || name.endsWith("second-row")
    return before_store === undefined && isFree
  })

describe("ready decisions on a signed append", () => {
  it("are all here", () => assert.isAbove(cases.length, 60))

  for (const { before, expect, line, name, seed } of cases) {
    it.effect(`are judged as the original judges them: ${name}`, () =>
      Effect.gen(function* () {
        const file = path.join(yield* TestLedger.directory, "log.jsonl")
        const attestor = yield* Ed25519Keys.fromSeed(unhex(seed))
        const events: ReadonlyArray<unknown> = before ?? []
        // As the original allows, and its case wants: rows of nobody, then signed ones.
        yield* using({ file }, (ledger) =>
          Effect.forEach(events, (event) =>
            ledger.append(cortexDraft(JSON.stringify(event)), { decisions: allowAll })
          )
        )
        yield* using({ file, attestor }, (ledger) =>
          Effect.gen(function* () {
            const decisions = {
              ledger: decisionIn(line, "ledger_policy"),
              mirror: decisionIn(line, "mirror_policy")
            }
            const draft = cortexDraft(memberText(line, "event") ?? "")
            const answer = yield* Effect.result(ledger.append(draft, { decisions }))
            const head = yield* ledger.head
            assert.strictEqual(Result.isSuccess(answer), expect.ok, expect.error)
            assert.strictEqual(head.seq, events.length + (expect.ok ? 1 : 0))
            if (expect.ok) assert.strictEqual(head.eventHash, expect.head)
            if (Result.isFailure(answer)) assertLike(answer.failure, refusalOf(expect.error))
          })
        )
      })
    )
  }
})
