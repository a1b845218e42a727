/**
 * Mutated journals of small ledgers, opened: what opening does is what the rules say, to the byte.
 *
 * All moves of lines and files with each state of the mirror; every cut of the last segment, every
 * third of the others, and a change of one byte at each place with one state in turn (all of each
 * with each where EXHAUSTIVE=1); the two runtimes share them. A part of it runs through the whole
 * ledger, guard and SQLite files included.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { concat } from "../core/history.ts"
import { opening } from "../store/crashKit.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import type { Files } from "./fixture.ts"
import { alien, directoryLedger as made, forkAfter, identity } from "./fixture.ts"
import { departs, filesAfter, isSame } from "./judge.ts"
import { Findings, makeLab, outcomeOf, provideLab } from "./lab.ts"
import type { Mutation } from "./mutations.ts"
import {
  byteMutations,
  cuts,
  fileMutations,
  lineEndMutations,
  lineMutations,
  oneKind,
  someCuts
} from "./mutations.ts"
import { knownLines, openingOf } from "./rules.ts"
import { isExhaustive, isOurs, share, sweepMillisMax } from "./turns.ts"

const others = [
  ["a fork behind row 1", forkAfter(1)],
  ["a fork behind row 4", forkAfter(4)],
  ["a fork behind row 7", forkAfter(7)],
  ["another ledger", alien]
] as const

const known = knownLines(made, ...others.map(([, other]) => other))

/** How many rows the mirror holds: none, or those up to the end of a group. */
const held = [0, 1, 3, 4, 7]

function* moves(): Generator<Mutation> {
  yield* lineMutations(made, others)
  yield* lineEndMutations(made)
  yield* fileMutations(made, others)
}

const sweep = Effect.fnUntraced(function* (
  mutations: () => Iterable<Mutation>,
  isHeld: (nth: number, at: number) => boolean
) {
  const lab = yield* makeLab(made)
  const findings = new Findings()
  // The mirror outside, as putting it back costs more than making the mutations again.
  for (const [at, rows] of held.entries()) {
    let nth = 0
    for (const { files, what } of mutations()) {
      const isAsked = isOurs(nth * held.length + at) && isHeld(nth, at)
      nth++
      if (!isAsked) continue
      const opened = { made, known, files, mirrored: rows }
      const problem = yield* departs(lab, opened, isExhaustive || nth % 3 === 0)
      findings.note(`${what}, ${rows} rows mirrored`, problem)
    }
  }
  // The directory that holds the ledger is asked to make the ledger's name durable.
  for (const at of lab.disk.asked) assert.match(at, /^\/m(?:$|\/ledger(?:$|\/))/)
  return findings
})

const inTurn = (nth: number, at: number) => isExhaustive || nth % held.length === at

describe("opening a mutated journal", () => {
  it.effect(
    "does as the rules say wherever lines and files were moved",
    () =>
      Effect.gen(function* () {
        const findings = yield* sweep(moves, () => true)
        findings.assertNone(share(4000))
      }).pipe(provideLab),
    sweepMillisMax
  )

  it.effect(
    "does as the rules say wherever it was cut",
    () =>
      Effect.gen(function* () {
        const findings = yield* sweep(() => someCuts(made.files), inTurn)
        findings.assertNone(share(3000))
      }).pipe(provideLab),
    sweepMillisMax
  )

  it.effect(
    "does as the rules say wherever a byte was changed",
    () =>
      Effect.gen(function* () {
        const findings = yield* sweep(() => byteMutations(made.files, oneKind), inTurn)
        findings.assertNone(share(4000))
      }).pipe(provideLab),
    sweepMillisMax
  )
})

/** A ledger on real files, and its mirror as it was after each group. */
const realLedger = Effect.gen(function* () {
  const directory = path.join(yield* TestLedger.directory, "ledger")
  const mirror = path.join(directory, "mirror.sqlite")
  const put = (files: Files, held: Uint8Array | undefined) => {
    fs.rmSync(directory, { recursive: true, force: true })
    fs.mkdirSync(path.join(directory, "segments"), { recursive: true })
    fs.writeFileSync(path.join(directory, "ledger.json"), identity)
    for (const [name, bytes] of files) {
      fs.writeFileSync(path.join(directory, "segments", name), bytes)
    }
    if (held !== undefined) fs.writeFileSync(mirror, held)
  }
  const mirrors: Array<readonly [number, Uint8Array | undefined]> = []
  for (const rows of held) {
    const some = made.lines.slice(0, rows)
    const files = new Map<string, Uint8Array>()
    for (const { file, bytes } of some) {
      files.set(file, concat([files.get(file) ?? Uint8Array.of(), bytes, Uint8Array.of(0x0a)]))
    }
    put(files, undefined)
    yield* opening({ directory })
    mirrors.push([rows, rows === 0 ? undefined : fs.readFileSync(mirror)])
  }
  const journal = (): Files => {
    const segments = path.join(directory, "segments")
    const names = fs.readdirSync(segments)
    return new Map(names.map((name) => [name, fs.readFileSync(path.join(segments, name))]))
  }
  return { directory, journal, mirrors, put }
})

describe("opening a mutated ledger as a whole", () => {
  it.effect(
    "does on real files what the rules say, and says it when it is opened again",
    () =>
      Effect.gen(function* () {
        const { directory, journal, mirrors, put } = yield* realLedger
        const findings = new Findings()
        const all = [...moves(), ...cuts(made.files), ...byteMutations(made.files, oneKind)]
        const step = isExhaustive ? 1 : 53
        for (let nth = 0; nth < all.length; nth += step) {
          if (!isOurs(nth / step)) continue
          const { files, what } = all[nth] ?? { files: made.files, what: "nothing" }
          const [rows = 0, mirror] = mirrors[nth % mirrors.length] ?? []
          const want = openingOf(files, known, { made, rows })
          put(files, mirror)
          const { message, tag, value } = yield* outcomeOf(opening({ directory }))
          const found = value === undefined ? tag : "Opens"
          const says = `${JSON.stringify(want)} expected, found ${found} ${message}`
          const isRight =
            found === want._tag && (want._tag !== "Opens" || value?.head.seq === want.rows)
          findings.note(`${what}, ${rows} rows mirrored`, isRight ? undefined : says)
          if (!isRight) continue
          const isKept = isSame(journal(), filesAfter(files, want))
          findings.note(what, isKept ? undefined : `${found}, but the journal is another one now`)
          if (value === undefined) continue
          const again = yield* outcomeOf(opening({ directory }))
          findings.note(what, again.value?._tag === "Clean" ? undefined : `then ${again.message}`)
        }
        findings.assertNone(share(400))
      }).pipe(provideLab),
    sweepMillisMax
  )
})
