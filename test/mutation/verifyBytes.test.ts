/**
 * Every change of one byte of a small ledger's segments, and every cut of them, verified.
 *
 * Every bit, another change of each byte and every cut through core; through `Ledger.verify` with the mirror one change at each
 * place and the cuts that opening meets too (all with EXHAUSTIVE=1), as the files add their reading
 * alone. The two runtimes share them. Each must be found at the line that was changed, and where the
 * rules say that nothing can be seen, nothing may be.
 */
import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as LedgerModule from "../../src/store/Ledger.ts"
import { directoryLedger as made } from "./fixture.ts"
import { coreVerdict, departure, Findings, makeLab, provideLab } from "./lab.ts"
import type { Mutation } from "./mutations.ts"
import { byteMutations, cuts, eachBit, oneKind, someCuts } from "./mutations.ts"
import { knownLines, verdictOf } from "./rules.ts"
import { isExhaustive, ours, share, sweepMillisMax } from "./turns.ts"

const known = knownLines(made)
const rows = made.lines.length
const bytes = [...made.files.values()].reduce((sum, { byteLength }) => sum + byteLength, 0)

const throughCore = Effect.fnUntraced(function* (mutations: Iterable<Mutation>) {
  const hashes = yield* LedgerModule.CurrentHashes
  const findings = new Findings()
  for (const { files, what } of ours(mutations)) {
    const report = coreVerdict(made, files, hashes)
    const wanted = verdictOf(files, known)
    // Core is not told the names of files, so it finds what is wrong with one by what is in it.
    const isOfFile = typeof wanted.fault === "object" && wanted.fault.line === 0
    const problem = isOfFile && report._tag === "Damaged" ? undefined : departure(report, wanted)
    findings.note(what, problem)
  }
  return findings
})

const throughFiles = Effect.fnUntraced(function* (
  mutations: Iterable<Mutation>,
  mirror: "with mirror" | "without mirror"
) {
  const lab = yield* makeLab(made)
  const findings = new Findings()
  for (const { files, what } of ours(mutations)) {
    yield* lab.put(files)
    const { message, value } = yield* lab.verify(mirror)
    const wanted = verdictOf(files, known, mirror === "with mirror" ? { made, rows } : undefined)
    findings.note(`${what}, ${mirror}`, message || departure(value, wanted))
  }
  return findings
})

describe("a changed byte of a segment", () => {
  it.effect(
    "is found by core wherever it is and whatever was done to it",
    () =>
      Effect.gen(function* () {
        const findings = yield* throughCore(byteMutations(made.files, eachBit))
        findings.assertNone(share(bytes * 8))
      }).pipe(provideLab),
    sweepMillisMax
  )

  it.effect(
    "is found at every place of the files, with the mirror and, at every third, without",
    () =>
      Effect.gen(function* () {
        const each = byteMutations(made.files, oneKind)
        const found = yield* throughFiles(each, "with mirror")
        found.assertNone(share(bytes))
        const third = [...byteMutations(made.files, oneKind)].filter(
          (_, nth) => isExhaustive || nth % 3 === 0
        )
        const foundWithout = yield* throughFiles(third, "without mirror")
        foundWithout.assertNone(share(bytes / 3))
      }).pipe(provideLab),
    sweepMillisMax
  )
})

describe("a cut segment", () => {
  it.effect(
    "is found by core, but for the last one's cut at the end of a group",
    () =>
      Effect.gen(function* () {
        const findings = yield* throughCore(cuts(made.files))
        findings.assertNone(share(bytes))
      }).pipe(provideLab),
    sweepMillisMax
  )

  it.effect(
    "is found with the mirror wherever the last one was cut, and at every third byte of others",
    () =>
      Effect.gen(function* () {
        const findings = yield* throughFiles(someCuts(made.files), "with mirror")
        findings.assertNone(share(bytes / 2))
      }).pipe(provideLab),
    sweepMillisMax
  )
})
