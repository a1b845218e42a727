/**
 * Mutated files in Cortex mode, opened, with a mirror that holds all rows, some, or none.
 *
 * The lenient reader has no simple twin, so what is asked is what may never be: a byte at or below
 * the mirror's newest row that is gone, a cut that is not the torn end of the file, a cut byte that
 * is not kept, a refusal that changed something; of every third, which is verified and opened once
 * more, damage that verification misses, and a ledger that opens otherwise the second time.
 */
import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { concat } from "../core/history.ts"
import type { CortexKind, Made } from "./fixture.ts"
import { cortexKinds, cortexLedger } from "./fixture.ts"
import type { Lab } from "./lab.ts"
import { Findings, makeLab, provideLab, summaryOf } from "./lab.ts"
import type { Mutation } from "./mutations.ts"
import { byteMutations, cuts, lineMutations, oneKind } from "./mutations.ts"
import { isExhaustive, isOurs, share, sweepMillisMax } from "./turns.ts"

const name = "log.jsonl"

const isSame = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0

/** Where the mirror's newest row ends, its LF counted. */
const floorOf = ({ lines }: Made, mirrored: number): number => {
  const line = lines[mirrored - 1]
  return line === undefined ? 0 : line.offset + line.bytes.byteLength + 1
}

/** Of a journal that opened: whether what was done to it is allowed. */
const changed = (before: Uint8Array, now: Uint8Array, kept: Uint8Array, floor: number) => {
  if (isSame(now, before)) return kept.byteLength === 0 ? undefined : "kept what was not cut"
  if (isSame(now, concat([before, Uint8Array.of(0x0a)]))) return undefined
  const end = now.byteLength
  if (end < floor) return `cut to ${end} bytes, below the mirror's ${floor}`
  if (!isSame(now, before.subarray(0, end))) return "what is left is not what was there"
  const cut = before.subarray(end)
  if (cut.at(-1) === 0x0a && !cut.includes(0)) return "cut a line that was whole"
  return isSame(kept, cut) ? undefined : "what was cut is not kept"
}

const problemOf = Effect.fnUntraced(function* (
  lab: Lab,
  made: Made,
  { files }: Mutation,
  mirrored: number,
  isVerified: boolean
) {
  const before = files.get(name) ?? Uint8Array.of()
  const floor = floorOf(made, mirrored)
  yield* lab.put(files, mirrored)
  const { changes, message, tag, value } = yield* lab.open
  const now = lab.journal().get(name) ?? Uint8Array.of()
  if (value === undefined) {
    if (changes > 0 || !isSame(now, before)) return `refused as ${tag}, but the disk was changed`
    return tag === "LedgerDamaged" || tag === "LedgerDiverged" ? undefined : message
  }
  if (value.head.seq < mirrored) return `opened at row ${value.head.seq}`
  const problem = changed(before, now, concat(lab.kept()), floor)
  if (problem !== undefined || !isVerified) return problem
  const whole = made.files.get(name) ?? Uint8Array.of()
  const isLowerSame = isSame(now.subarray(0, floor), whole.subarray(0, floor))
  const verified = yield* lab.verify("with mirror")
  // Below the mirror's newest row opening does not look, and verification must. Replay asks nobody,
  // so where an id that no hash covers was changed, verification misses a row's parent.
  const failures = verified.value?._tag === "Damaged" ? verified.value.failures : []
  const isIntact =
    verified.value !== undefined && failures.every(({ level }) => level === "parents")
  const isRight = isLowerSame ? isIntact : failures.length > 0
  if (!isRight) return `opened, then ${verified.message || summaryOf(verified.value)}`
  const again = yield* lab.open
  const isClean = again.value?.actions.length === 0 && again.value.head.seq === value.head.seq
  return isClean ? undefined : `opened a second time: ${again.message || "not clean"}`
})

const mutationsOf = function* (kind: CortexKind, made: Made): Generator<Mutation> {
  yield* byteMutations(made.files, oneKind)
  // What is cut from a row is the same in all kinds.
  if (kind === "bare" || kind === "both") yield* cuts(made.files)
  const other = kind === "both" ? "bare" : "both"
  yield* lineMutations(made, [[`the same rows, ${other},`, cortexLedger(other)]])
}

describe("opening a mutated file in Cortex mode", () => {
  for (const kind of cortexKinds) {
    it.effect(
      `takes nothing that the mirror holds and keeps what it cuts (${kind})`,
      () =>
        Effect.gen(function* () {
          const made = cortexLedger(kind)
          const lab = yield* makeLab(made)
          const findings = new Findings()
          // The mirror outside, as putting it back costs more than making the mutations again.
          for (const mirrored of [0, 1, 2, 3]) {
            let nth = 0
            for (const mutation of mutationsOf(kind, made)) {
              const isHeld = isExhaustive || nth % 4 === mirrored
              const isVerified = isExhaustive || nth % 3 === 0
              if (!isOurs(nth++) || !isHeld) continue
              const problem = yield* problemOf(lab, made, mutation, mirrored, isVerified)
              findings.note(`${mutation.what}, ${mirrored} rows mirrored`, problem)
            }
          }
          findings.assertNone(share(1500))
        }).pipe(provideLab),
      sweepMillisMax
    )
  }
})
