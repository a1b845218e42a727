/**
 * Lines and files of a small ledger removed, repeated, moved, swapped, joined, split, taken from a
 * fork or another ledger: verified without and with the mirror, by the rules, and on real files.
 *
 * What a verification cannot see stands here, class by class, with the words that tell of it.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { VerifyReport } from "../../src/core/VerifyReport.ts"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import * as LedgerModule from "../../src/store/Ledger.ts"
import { ReadSql } from "../../src/store/mirror/ReadSql.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { opening } from "../store/crashKit.ts"
import type { Files } from "./fixture.ts"
import { alien, directoryLedger as made, forkAfter, identity } from "./fixture.ts"
import { departure, Findings, makeLab, provideLab } from "./lab.ts"
import type { Mutation } from "./mutations.ts"
import { fileMutations, lineEndMutations, lineMutations } from "./mutations.ts"
import { knownLines, verdictOf } from "./rules.ts"
import { isOurs, ours, share, sweepMillisMax } from "./turns.ts"

const others = [
  ["a fork behind row 1", forkAfter(1)],
  ["a fork behind row 4", forkAfter(4)],
  ["a fork behind row 7", forkAfter(7)],
  ["another ledger", alien]
] as const

const known = knownLines(made, ...others.map(([, other]) => other))
const rows = made.lines.length

function* mutations(): Generator<Mutation> {
  yield* lineMutations(made, others)
  yield* lineEndMutations(made)
  yield* fileMutations(made, others)
}

const linesOf = (files: Files): ReadonlyArray<string> =>
  [...files]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([, bytes]) =>
      Buffer.from(bytes)
        .toString("latin1")
        .split(/(?<=\n)/)
    )
    .filter((line) => line !== "")

const own = linesOf(made.files)

/** What a verification may call intact although something was changed, and where it says so. */
const unseen = [
  {
    what: "no row was changed: an empty segment at the end, or the same lines in other files",
    is: (now: ReadonlyArray<string>) => now.join("") === own.join(""),
    says: undefined
  },
  {
    what: "rows were cut off the end, at the end of a group",
    is: (now: ReadonlyArray<string>) =>
      now.length < own.length && own.join("").startsWith(now.join("")),
    says: /no rows were cut off the end/
  },
  {
    what: "bytes behind the newest row, as of a write under way",
    is: (now: ReadonlyArray<string>, report: VerifyReport) =>
      report.remarks.some(({ reason }) => reason.kind === "in_flight") &&
      now.join("").startsWith(own.slice(0, 4).join("")),
    says: /in_flight/
  },
  {
    what: "rows of another history behind a shared head, or from the start on",
    is: (now: ReadonlyArray<string>) => now.some((line) => !own.includes(line)),
    says: /can write an unsigned history anew/
  }
]

/** Which rows the mirror holds: all, those up to the end of an earlier group, or there is none. */
const mirrors = [
  { name: "without the mirror", held: undefined, unseen: [0, 1, 3] },
  { name: "with the mirror", held: rows, unseen: [0, 2, 3] },
  { name: "with a mirror that is behind", held: 4, unseen: [0, 1, 2, 3] }
]

describe("a line or file that was removed, repeated, moved or put in", () => {
  for (const { held, name, unseen: classes } of mirrors) {
    it.effect(
      `is found ${name}, but for what the report says it cannot see`,
      () =>
        Effect.gen(function* () {
          const lab = yield* makeLab(made)
          const findings = new Findings()
          const met = new Set<number>()
          let nth = 0
          const mirrored = held === undefined ? undefined : { made, rows: held }
          for (const { files, what } of mutations()) {
            const wanted = verdictOf(files, known, mirrored)
            // Both runtimes meet the few that cannot be seen, so both meet each class of them.
            if (!isOurs(nth++) && wanted.fault !== undefined) continue
            yield* lab.put(files, held)
            const mirror = held === undefined ? "without mirror" : "with mirror"
            const { message, value } = yield* lab.verify(mirror)
            findings.note(what, message || departure(value, wanted))
            if (value?._tag !== "Intact") continue
            const now = linesOf(files)
            const which = unseen.findIndex(({ is }) => is(now, value))
            const { says } = unseen[which] ?? {}
            const words = [...value.notProven, ...value.remarks.map(({ message }) => message)]
            findings.note(what, classes.includes(which) ? undefined : `intact as of class ${which}`)
            if (says !== undefined)
              assert.isTrue(
                words.some((word) => says.test(word)),
                what
              )
            met.add(which)
          }
          assert.deepStrictEqual([...met].toSorted(), classes)
          findings.assertNone(share(800))
        }).pipe(provideLab),
      sweepMillisMax
    )
  }

  it.effect(
    "is found on real files just as on the disk in memory",
    () =>
      Effect.gen(function* () {
        const lab = yield* makeLab(made)
        const directory = path.join(yield* TestLedger.directory, "ledger")
        const segments = path.join(directory, "segments")
        const write = (files: Files) => {
          fs.rmSync(segments, { recursive: true, force: true })
          fs.mkdirSync(segments, { recursive: true })
          for (const [name, bytes] of files) fs.writeFileSync(path.join(segments, name), bytes)
        }
        write(made.files)
        fs.writeFileSync(path.join(directory, "ledger.json"), identity)
        yield* opening({ directory })
        const short = (report: VerifyReport | undefined) =>
          JSON.stringify(report).replaceAll(directory, "/m/ledger")
        yield* Effect.gen(function* () {
          const sql = yield* ReadSql
          for (const [nth, { files, what }] of [...ours(mutations())].entries()) {
            if (nth % 6 !== 0) continue
            write(files)
            yield* lab.put(files)
            for (const mirror of ["with mirror", "without mirror"] as const) {
              const options = mirror === "with mirror" ? { sql } : {}
              const report = yield* LedgerModule.verify({ directory }, options)
              const { value } = yield* lab.verify(mirror)
              assert.strictEqual(short(report), short(value), `${what}, ${mirror}`)
            }
          }
        }).pipe(
          Effect.provide(SealogNode.layerMirrorReadOnly(path.join(directory, "mirror.sqlite")))
        )
      }).pipe(provideLab),
    sweepMillisMax
  )
})
