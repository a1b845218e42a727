/**
 * A ledger of two thousand rows in thirty segments, mutated at random: verified without and with
 * the mirror, and opened with a mirror that is behind, or gone. Seeds are fixed; a finding tells
 * the mutation in words.
 */
import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Segment from "../../src/core/Segment.ts"
import * as LedgerModule from "../../src/store/Ledger.ts"
import { splice } from "../core/history.ts"
import type { Files } from "./fixture.ts"
import { manyRows, withFile } from "./fixture.ts"
import { departs } from "./judge.ts"
import { coreVerdict, departure, Findings, makeLab, provideLab } from "./lab.ts"
import type { Mutation } from "./mutations.ts"
import { damaged, dice } from "./random.ts"
import { knownLines, verdictOf } from "./rules.ts"
import { isExhaustive, isOurs, ours, share, sweepMillisMax } from "./turns.ts"

const made = manyRows(2100, 15)
const known = knownLines(made)
const names = [...made.files.keys()]
const bytesOf = (files: Files, name: string) => files.get(name) ?? Uint8Array.of()

const times = isExhaustive ? 10 : 1

type Below = (max: number) => number

/** The bytes of a file with one of its lines removed, repeated, or swapped with another. */
const reordered = (bytes: Uint8Array, below: Below) => {
  const lines = Buffer.from(bytes)
    .toString("latin1")
    .split(/(?<=\n)/)
  const [a, b] = [below(lines.length), below(lines.length)]
  const [one = "", other = ""] = [lines[a], lines[b]]
  const [what, changed] = [
    [`line ${a + 1} removed`, lines.toSpliced(a, 1)] as const,
    [`line ${a + 1} again before line ${b + 1}`, lines.toSpliced(b, 0, one)] as const,
    [`lines ${a + 1} and ${b + 1} swapped`, lines.with(a, other).with(b, one)] as const
  ][below(3)] ?? ["", lines]
  return { what, bytes: new Uint8Array(Buffer.from(changed.join(""), "latin1")) }
}

/** One mutation; of the last segments more often than not where opening is to look at it. */
const mutationBy = (below: Below, isAtEnd: boolean): Mutation => {
  const nth = isAtEnd && below(4) > 0 ? names.length - 1 - below(3) : below(names.length)
  const name = names[nth] ?? ""
  const bytes = bytesOf(made.files, name)
  const at = below(bytes.byteLength)
  const without = new Map([...made.files].filter(([other]) => other !== name))
  const of = ({ what, bytes }: { readonly what: string; readonly bytes: Uint8Array }) => ({
    what: `${name}: ${what}`,
    files: withFile(made.files, name, bytes)
  })
  switch (below(10)) {
    case 0:
      return of({ what: `a byte dropped at ${at}`, bytes: splice(bytes, at, at + 1) })
    case 1:
      return of({ what: `an LF put in at ${at}`, bytes: splice(bytes, at, at, 0x0a) })
    case 2:
    case 3:
      return of(reordered(bytes, below))
    case 4: {
      const behind = names.slice(nth + 1)
      const { files, what } = of({ what: `cut to ${at}`, bytes: bytes.subarray(0, at) })
      const kept = [...files].filter(([other]) => !behind.includes(other))
      return { what: `${what}, all behind it gone`, files: new Map(kept) }
    }
    case 5: {
      const to = Segment.name(1 + below(2110))
      return { what: `${name} renamed to ${to}`, files: withFile(without, to, bytes) }
    }
    case 6: {
      const other = names[below(names.length)] ?? name
      const swapped = withFile(made.files, name, bytesOf(made.files, other))
      return { what: `${name} and ${other} swapped`, files: withFile(swapped, other, bytes) }
    }
    default:
      return of(damaged(bytes, below))
  }
}

/** This runtime's half of so many mutations by a seed. */
function* mutationsBy(seed: number, count: number, isAtEnd: boolean): Generator<Mutation> {
  const below = dice(seed)
  for (let nth = 0; nth < count * times; nth++) {
    const mutation = mutationBy(below, isAtEnd)
    if (isOurs(nth)) yield mutation
  }
}

describe("a large ledger mutated at random", () => {
  it.effect(
    "is found damaged at the place by core (seed 11)",
    () =>
      Effect.gen(function* () {
        const hashes = yield* LedgerModule.CurrentHashes
        const findings = new Findings()
        for (const { files, what } of mutationsBy(11, 40, false)) {
          const sorted = new Map([...files].toSorted(([a], [b]) => (a < b ? -1 : 1)))
          const wanted = verdictOf(files, known)
          const isOfFile = typeof wanted.fault === "object" && wanted.fault.line === 0
          const report = coreVerdict(made, sorted, hashes)
          // Core is not told the names of files.
          findings.note(what, isOfFile ? undefined : departure(report, wanted))
        }
        findings.assertNone(share(40))
      }).pipe(provideLab),
    sweepMillisMax
  )

  for (const [mirror, seed, count] of [
    ["without mirror", 21, 40],
    ["with mirror", 22, 20]
  ] as const) {
    it.effect(
      `is found damaged at the place ${mirror} (seed ${seed})`,
      () =>
        Effect.gen(function* () {
          const lab = yield* makeLab(made)
          const findings = new Findings()
          const held = mirror === "with mirror" ? { made, rows: made.lines.length } : undefined
          for (const { files, what } of mutationsBy(seed, count, false)) {
            yield* lab.put(files)
            const { message, value } = yield* lab.verify(mirror)
            findings.note(what, message || departure(value, verdictOf(files, known, held)))
          }
          findings.assertNone(share(count))
        }).pipe(provideLab),
      sweepMillisMax
    )
  }

  it.effect(
    "opens, or is refused, as the rules say (seeds 31 to 36)",
    () =>
      Effect.gen(function* () {
        const lab = yield* makeLab(made)
        const findings = new Findings()
        const ends = made.lines.filter(({ index, size }) => index + 1 === size)
        const held = [1, 2, 9, 17].map((back) => ends.at(-back)?.seq ?? 0)
        for (const [nth, mirrored] of [...held, made.lines.length, 0].entries()) {
          let one = 0
          for (const { files, what } of mutationsBy(31 + nth, mirrored === 0 ? 6 : 24, true)) {
            const opened = { made, known, files, mirrored }
            const problem = yield* departs(lab, opened, one++ % 10 === 0)
            findings.note(`${what}, ${mirrored} rows mirrored`, problem)
          }
        }
        findings.assertNone(share(120))
      }).pipe(provideLab),
    sweepMillisMax
  )

  it.effect(
    "names the row whose mirror was changed, at the ends of what is compared at once",
    () =>
      Effect.gen(function* () {
        const lab = yield* makeLab(made)
        const findings = new Findings()
        // Rows are compared 256 at a time, up to the end of a batch; strays are read 1,000 at a time.
        const rows = [1, 255, 256, 257, 512, 1000, 1001, 2000, 2100]
        for (const [nth, seq] of ours(rows.entries())) {
          const statement = [
            `UPDATE events SET session_id = 'x' WHERE rowid = ${seq}`,
            `UPDATE sealog_index SET leaf_hash = 'x' WHERE seq = ${seq}`,
            `DELETE FROM events WHERE rowid = ${seq}`
          ][nth % 3]
          yield* lab.put(made.files)
          yield* lab.meddle(statement ?? "")
          const { message, value } = yield* lab.verify("with mirror")
          const found = value?._tag === "Damaged" ? value.failures.map((one) => one.seq) : []
          const isNamed = found.length === 1 && found[0] === seq
          findings.note(statement ?? "", isNamed ? undefined : `${message} ${found.join()}`)
        }
        findings.assertNone(share(9))
      }).pipe(provideLab),
    sweepMillisMax
  )
})
