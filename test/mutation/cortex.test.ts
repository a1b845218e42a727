/**
 * Every change of one byte, every cut and every move of a line of one file in Cortex mode, its rows
 * with and without line hashes and checksums.
 *
 * The reader is lenient there, and the seal covers payload and order alone, so much cannot be seen
 * without the mirror. What may be missed is told by a twin that knows JSON and nothing else: it
 * says which members of which rows read otherwise now. The sealed ones never may; for each other
 * one the report must have a word.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as LedgerModule from "../../src/store/Ledger.ts"
import type { VerifyReport } from "../../src/core/VerifyReport.ts"
import type { CortexKind, Files, Made } from "./fixture.ts"
import { cortexKinds, cortexLedger } from "./fixture.ts"
import { coreVerdict, Findings, makeLab, provideLab, summaryOf } from "./lab.ts"
import type { Mutation } from "./mutations.ts"
import { byteMutations, cuts, eachBit, lineMutations, oneKind, someKinds } from "./mutations.ts"
import { isExhaustive, ours, share, sweepMillisMax } from "./turns.ts"

const sealed = ["payload", "payload_hash", "prev_event_hash", "event_hash"]

/** What each other member is called where a report says what was not proven. */
const words: { readonly [member: string]: RegExp } = {
  id: /\bid\b/,
  schema_version: /schema version/,
  observed_at: /times/,
  recorded_at: /times/,
  source: /source/,
  event_type: /\btype/,
  trace_id: /trace/,
  session_id: /session/,
  domain_tags: /tags/,
  parent_id: /parent/,
  keys: /keys/
}

interface Read {
  readonly [member: string]: unknown
}

/** What a file's rows say, as any reader of JSON would find it; undefined where it finds none. */
const readRows = (files: Files): ReadonlyArray<Read> | undefined => {
  const text = [...files.values()].map((bytes) => Buffer.from(bytes).toString()).join("")
  try {
    return text
      .split("\n")
      .filter((line) => line.trim() !== "")
      .map((line): Read => JSON.parse(line))
  } catch {
    return undefined
  }
}

/** The rows that say something else than the rows of the ledger, as `row: member`. */
const changesOf = (now: ReadonlyArray<Read>, was: ReadonlyArray<Read>): ReadonlyArray<string> =>
  now.flatMap((row, nth) =>
    [...sealed, ...Object.keys(words)].flatMap((member) => {
      const [a, b] = [row[member] ?? null, was[nth]?.[member] ?? null]
      return JSON.stringify(a) === JSON.stringify(b) ? [] : [`${nth + 1}: ${member}`]
    })
  )

/** Why a report may not call this intact; undefined if it may. */
const overlooked = (
  report: VerifyReport,
  files: Files,
  was: ReadonlyArray<Read>
): string | undefined => {
  const now = readRows(files)
  if (now === undefined || now.length !== report.rows || now.length > was.length) {
    return `intact with ${report.rows} rows, but JSON reads ${now?.length}`
  }
  const change = changesOf(now, was).find((one) => sealed.includes(one.split(": ")[1] ?? ""))
  return change === undefined ? undefined : `intact, but row ${change} was changed`
}

/** The changes that a report says nothing of where it says what is not proven. */
const unsaid = (
  { notProven }: VerifyReport,
  changes: ReadonlyArray<string>
): ReadonlyArray<string> => {
  const own = notProven.filter((said) => !/used twice|cut off|who wrote/.test(said)).join()
  return changes.filter((change) => words[change.split(": ")[1] ?? ""]?.test(own) !== true)
}

const lineAt = ({ lines }: Made, at: number): number =>
  lines.filter(({ bytes, offset }) => offset + bytes.byteLength < at).length + 1

/** Whether the first failure stands on the line that was changed, or on the one behind it. */
const misplaced = (report: VerifyReport, made: Made, what: string): string | undefined => {
  if (report._tag === "Intact") return undefined
  const line = lineAt(made, Number(/(?:at byte|cut to) (\d+)/.exec(what)?.[1]))
  const found = report.failures.flatMap((failure) => (failure.line > 0 ? [failure.line] : []))
  const first = Math.min(...found)
  // A line that no checksum covers is found by the next one, and a blank line is none.
  const isThere = first >= line && first <= line + (what.startsWith("insert 10 ") ? 2 : 1)
  return isThere || found.length === 0 ? undefined : `line ${line} expected: ${summaryOf(report)}`
}

const always = ["id", "observed_at", "recorded_at"]

/** What a row holds besides, in the ledgers of this test. */
const besides: ReadonlyArray<ReadonlyArray<string>> = [
  ["source", "session_id", "domain_tags", "keys"],
  ["session_id", "parent_id", "keys"],
  ["source", "trace_id"]
]

const membersOf = (row: number) =>
  [...always, ...(besides[row - 1] ?? [])].map((member) => `${row}: ${member}`)

/** Which members of which rows one changed byte changes unseen, where there is no mirror. */
const unseen: { readonly [kind in CortexKind]: ReadonlyArray<string> } = {
  bare: [...membersOf(1), ...membersOf(2), ...membersOf(3)],
  hashed: membersOf(3),
  summed: [],
  both: [],
  mixed: membersOf(1)
}

const rowsOf = (made: Made): ReadonlyArray<Read> => readRows(made.files) ?? []

describe("a changed byte of a file in Cortex mode", () => {
  for (const kind of cortexKinds) {
    it.effect(
      `is found by core, or told of in words and nothing that is sealed was changed (${kind})`,
      () =>
        Effect.gen(function* () {
          const made = cortexLedger(kind)
          const was = rowsOf(made)
          const hashes = yield* LedgerModule.CurrentHashes
          const findings = new Findings()
          const missed = new Set<string>()
          const kinds = kind === "bare" || kind === "hashed" ? eachBit : someKinds(3)
          for (const { files, what } of ours(byteMutations(made.files, kinds))) {
            const report = coreVerdict(made, files, hashes)
            if (report._tag === "Intact") {
              findings.note(what, overlooked(report, files, was))
              const changes = changesOf(readRows(files) ?? [], was)
              for (const change of changes) missed.add(change)
              const silent = unsaid(report, changes)
              findings.note(what, silent.length === 0 ? undefined : `no word of ${silent.join()}`)
            } else findings.note(what, misplaced(report, made, what))
          }
          assert.deepStrictEqual([...missed].toSorted(), [...unseen[kind]].toSorted())
          findings.assertNone(share(1500))
        }).pipe(provideLab),
      sweepMillisMax
    )
  }

  // The index holds a hash of each line, so two kinds stand for all.
  for (const kind of ["bare", "both"] as const) {
    it.effect(
      `is found with the mirror wherever it changes a row (${kind})`,
      () =>
        Effect.gen(function* () {
          const made = cortexLedger(kind)
          const was = rowsOf(made)
          const lab = yield* makeLab(made)
          const findings = new Findings()
          const text = (files: Files) =>
            [...files.values()].map((bytes) => Buffer.from(bytes).toString("latin1")).join("")
          const whole = text(made.files)
          for (const { files, what } of ours(byteMutations(made.files, oneKind))) {
            yield* lab.put(files)
            const { message, value } = yield* lab.verify("with mirror")
            if (value === undefined) findings.note(what, message)
            else if (value._tag === "Damaged") findings.note(what, misplaced(value, made, what))
            else {
              const isWhole = text(files).trimEnd() === whole.trimEnd()
              const isInFlight = value.remarks.length > 0 && text(files).startsWith(whole)
              const problem = changesOf(readRows(files) ?? was, was)[0]
              findings.note(
                what,
                isWhole || isInFlight ? problem : "intact, but bytes were changed"
              )
              const opened = yield* lab.open
              findings.note(`${what}, then opened`, opened.value ? undefined : opened.message)
            }
          }
          findings.assertNone(share(1500))
        }).pipe(provideLab),
      sweepMillisMax
    )
  }
})

describe("a cut file in Cortex mode", () => {
  for (const [turn, kind] of cortexKinds.entries()) {
    it.effect(
      `is found but at the end of a row, and there with the mirror (${kind})`,
      () =>
        Effect.gen(function* () {
          const made = cortexLedger(kind)
          const lab = yield* makeLab(made)
          const findings = new Findings()
          const ends = made.lines.map(({ bytes, offset }) => offset + bytes.byteLength)
          for (const { files, what } of ours(cuts(made.files))) {
            const at = Number(/cut to (\d+)/.exec(what)?.[1])
            const rows = ends.filter((end) => end <= at).length
            const isAtRow = at === 0 || ends.includes(at) || ends.includes(at - 1)
            const report = coreVerdict(made, files, lab.hashes)
            const isRight = report._tag === (isAtRow ? "Intact" : "Damaged")
            findings.note(what, isRight ? misplaced(report, made, what) : summaryOf(report))
            if (isAtRow) assert.match(report.notProven.join(), /no rows were cut off the end/)
            // What is cut from a row is found alike in all kinds: they take turns.
            if (!isAtRow && !isExhaustive && at % cortexKinds.length !== turn) continue
            yield* lab.put(files)
            const { value, message } = yield* lab.verify("with mirror")
            const isSeen = value?._tag === "Damaged" || rows === made.lines.length
            findings.note(`${what}, with mirror`, isSeen ? undefined : message || summaryOf(value))
            if (value?._tag !== "Intact") continue
            const opened = yield* lab.open
            findings.note(`${what}, intact with mirror, opened`, opened.message || undefined)
          }
          findings.assertNone(share(1000))
        }).pipe(provideLab),
      sweepMillisMax
    )
  }
})

describe("a moved line of a file in Cortex mode", () => {
  for (const kind of cortexKinds) {
    it.effect(
      `is found, or the rows are the first ones of the ledger (${kind})`,
      () =>
        Effect.gen(function* () {
          const made = cortexLedger(kind)
          const was = rowsOf(made)
          const lab = yield* makeLab(made)
          const findings = new Findings()
          const others = cortexKinds
            .filter((other) => other !== kind)
            .map((other) => [`the same rows, ${other},`, cortexLedger(other)] as const)
          const mutations: ReadonlyArray<Mutation> = [...lineMutations(made, others)]
          for (const { files, what } of ours(mutations)) {
            yield* lab.put(files)
            for (const mirror of ["with mirror", "without mirror"] as const) {
              const { message, value } = yield* lab.verify(mirror)
              const problem =
                value === undefined
                  ? message
                  : value._tag === "Intact"
                    ? overlooked(value, files, was)
                    : undefined
              findings.note(`${what}, ${mirror}`, problem)
              if (mirror === "without mirror" || value?._tag !== "Intact") continue
              const isWhole =
                files.get("log.jsonl")?.toString() === made.files.get("log.jsonl")?.toString()
              findings.note(what, isWhole ? undefined : "intact with the mirror, but lines differ")
            }
          }
          findings.assertNone(share(100))
        }).pipe(provideLab),
      sweepMillisMax
    )
  }
})
