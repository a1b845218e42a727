/**
 * The original and this library, given the same votes and the same files: they decide alike, and
 * name the same rows. Runs only where `CORTEX_ORACLE` names the program.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Json from "../../src/core/CanonicalJson.ts"
import * as Chain from "../../src/core/Chain.ts"
import * as Hashes from "../../src/core/Hashes.ts"
import * as Policy from "../../src/core/Policy.ts"
import type { Failure, VerifyReport } from "../../src/core/VerifyReport.ts"
import * as cliJson from "../../src/cli/json.ts"
import { linesOf } from "../core/history.ts"
import { casesOf, showBytes, timeoutMillis } from "./choices.ts"
import type { Choices } from "./choices.ts"
import * as Texts from "./jsonTexts.ts"
import { goldenFiles, mutated } from "./mutations.ts"
import type { Answer } from "./original.ts"
import { audit, compare, count, isRefused, program, show } from "./original.ts"
import { brokenTime, timeText } from "./timestamps.ts"

interface Asked {
  readonly contributions: ReadonlyArray<typeof Policy.Contribution.Encoded>
  readonly break_glass: typeof Policy.BreakGlass.Encoded | null
  readonly registered?: ReadonlyArray<string>
}

const ruleIds = ["a.tier", "z.mode", "m", "é", "😀", "\uffff", "", " ", "\u0085", "\ufeff"]
const reasons = ["because", "", " ", "\u00a0\u3000", "\ufeff", "r"]

const votes = (c: Choices): Asked => {
  const text = (usual: ReadonlyArray<string>) => (c.once(12) ? c.pick(usual) : (usual[0] ?? ""))
  const time = () =>
    c.below(2) === 0 ? null : c.once(4) ? brokenTime(c).toWellFormed() : timeText(c)
  const contributions = c.list(7, () => ({
    rule_id: c.once(12) ? c.pick(ruleIds) : c.pick(ruleIds.slice(0, 6)),
    outcome: c.pick(Policy.Outcome.literals),
    reason: text(reasons),
    break_glass_override_allowed: c.below(3) > 0
  }))
  const glass = {
    permitted: !c.once(6),
    attested: !c.once(6),
    scope: {
      operation_type: text(reasons),
      artifact_refs: c.list(3, () => text(reasons)),
      not_before: time(),
      not_after: time()
    },
    reason_code: c.pick(Policy.BreakGlassReason.literals)
  }
  const asked = { contributions, break_glass: c.below(3) === 0 ? null : glass }
  return c.once(4) ? { ...asked, registered: c.list(7, () => c.pick(ruleIds)) } : asked
}

const errors: { readonly [reason in Policy.RuleInvalid["reason"]]?: string } = {
  empty_reason: "EmptyReason",
  empty_rule_id: "EmptyRuleId",
  no_contributions: "NoContributions",
  unknown_rule: "UnregisteredRule"
}

const judgeVotes = ({ break_glass, contributions, registered }: Asked, answer: Answer): void => {
  const glass = Schema.decodeUnknownResult(Schema.NullOr(Policy.BreakGlass))(break_glass)
  const cast = contributions.map((one) => Schema.decodeSync(Policy.Contribution)(one))
  // The original takes votes one by one before it looks at anything else.
  const valid = Policy.compose(cast)
  if (Result.isSuccess(valid) && Result.isFailure(glass)) {
    assert.isTrue(isRefused(answer))
    count("authorizations that both refuse")
    return
  }
  const breakGlass = Result.getOrNull(glass)
  const ours = Policy.compose(cast, { breakGlass, ...(registered && { registered }) })
  if (Result.isFailure(ours)) {
    assert.strictEqual(errors[ours.failure.reason], answer["error"])
    count("votes that both refuse")
    return
  }
  count("votes that both compose")
  const decision = JSON.parse(Policy.encodeDecision(ours.success))
  assert.deepStrictEqual(decision, answer["decision"])
  assert.strictEqual(Policy.claimCeiling(ours.success), answer["claim_ceiling"])
  const kept = Policy.breakGlassAudit(ours.success)
  const shown = kept && Schema.encodeSync(Policy.BreakGlassAudit)(kept)
  assert.deepStrictEqual(shown, answer["break_glass_audit"])
}

const hashesOf = (c: Choices) => ({
  prev: c.below(4) === 0 ? null : Texts.wellFormed(c),
  payload_hash: Texts.wellFormed(c)
})

/** What only a row that cannot be read is told by; the original then says nothing of the file. */
const unreadable = ["row_unreadable", "torn_tail", "payload_ambiguous", "crc_mismatch"]

const isUnreadable = ({ reason }: Failure): boolean => unreadable.includes(reason.kind)

/** Rows whose payload the original reads as another one than stands there, so that it accuses them. */
const drifting = (bytes: Uint8Array): ReadonlySet<string> => {
  const verifier = new Chain.Verifier({ path: "a", format: "cortex" })
  const ids = new Set<string>()
  for (const line of linesOf(bytes)) {
    const event = verifier.push(line)
    if (event === undefined) continue
    if (Result.getOrNull(Json.ofCortex(event.payloadText)) !== event.payloadText) ids.add(event.id)
  }
  return ids
}

const judgeFile = (bytes: Uint8Array, report: VerifyReport, answer: Answer): void => {
  const failures = report._tag === "Damaged" ? report.failures : []
  if (failures.some(({ reason }) => reason.kind === "payload_ambiguous")) {
    count("files with a row that has two readings")
    return
  }
  if (isRefused(answer)) {
    count("files that both cannot read")
    assert.isTrue(failures.some(isUnreadable), String(answer["error"]))
    return
  }
  count(failures.length === 0 ? "files that both find sound" : "files that both find damaged")
  const drift = drifting(bytes)
  const said = (given: unknown) =>
    (Array.isArray(given) ? given : []).filter(
      ({ event_id, reason }) => reason.which !== "payload_hash_mismatch" || !drift.has(event_id)
    )
  assert.deepStrictEqual(said(cliJson.audit(report, "a").failures), said(answer["failures"]))
  assert.strictEqual(report.rows, answer["rows_scanned"])
}

const unsigned = goldenFiles.filter((bytes) => bytes.byteLength < 20_000)

const fileOf = (c: Choices): Uint8Array =>
  c.once(4) ? c.pick(unsigned) : mutated(c, c.pick(unsigned), unsigned)

const root = fs.mkdtempSync(path.join(os.tmpdir(), "sealog-fuzz-"))
afterAll(() => fs.rmSync(root, { recursive: true }))

describe.skipIf(program === undefined)("The original, fuzzed", () => {
  it("composes every vote as compose does", { timeout: timeoutMillis }, () => {
    compare("votes", 3_000, votes, { args: ["compose"], question: JSON.stringify }, judgeVotes)
    show()
  })

  it("hashes every link as eventHash does", { timeout: timeoutMillis }, () => {
    const asked = { args: ["event-hash"], question: JSON.stringify }
    compare("hashes", 5_000, hashesOf, asked, ({ payload_hash, prev }, answer) => {
      assert.strictEqual(Hashes.eventHash(Hashes.noble, prev, payload_hash), answer["event_hash"])
    })
  })

  it("finds in every file what verify finds", { timeout: timeoutMillis }, () => {
    const file = path.join(root, "log.jsonl")
    for (const { input, seed } of casesOf("files", 150, fileOf)) {
      fs.writeFileSync(file, input)
      const report = Chain.verify(linesOf(input, file), { path: file, format: "cortex" })
      const answer = audit(file)
      try {
        judgeFile(input, report, answer)
      } catch (cause) {
        const said = `${showBytes(input)}\nof which the original says ${JSON.stringify(answer)}`
        throw new Error(`${String(cause)}\nFUZZ_SEED=${seed}, ${said}`, { cause })
      }
    }
    show()
  })
})
