/**
 * Histories: what a ledger and its disk go through, as data, made from a seed.
 *
 * A step never depends on what became of an earlier one, so that any of them can be left out when a
 * history that fails is shrunk. What refers to an earlier row says which of those that are known by
 * then, counted around.
 */
import { Effect, Random } from "effect"
import type { FaultyDisk } from "../../src/testing/index.ts"

/** One append or appendAll. */
export type Request =
  /** New rows, one group. `child`: the first names a known row as its parent. */
  | { readonly _tag: "Rows"; readonly names: ReadonlyArray<string>; readonly child?: number }
  /** A row that is known already, with a new one behind it or alone. */
  | { readonly _tag: "Again"; readonly nth: number; readonly name: string | undefined }
  /** A row that was cut by a rollback, with the same content. */
  | { readonly _tag: "Forgotten"; readonly nth: number }
  /** Refused: by a rule, by a gate, as a draft, for its id, for its parent. */
  | { readonly _tag: "Rule"; readonly name: string }
  | { readonly _tag: "Gate"; readonly name: string }
  | { readonly _tag: "Invalid"; readonly name: string }
  | { readonly _tag: "Conflict"; readonly nth: number; readonly name: string }
  | { readonly _tag: "Orphan"; readonly names: ReadonlyArray<string> }

export type Step =
  /** Appenders at the same time; `reading`: a reader runs beside them. */
  | {
      readonly _tag: "Append"
      readonly requests: ReadonlyArray<Request>
      readonly reading: boolean
    }
  /** An append that is interrupted after some turns of the scheduler. */
  | { readonly _tag: "Interrupt"; readonly request: Request; readonly turns: number }
  | { readonly _tag: "Read" }
  | { readonly _tag: "Verify" }
  | { readonly _tag: "Replay" }
  | { readonly _tag: "Backup"; readonly name: string }
  | { readonly _tag: "Checkpoint" }
  | { readonly _tag: "Rebuild" }
  /** Lines of elsewhere, each the name of a row. */
  | { readonly _tag: "Import"; readonly names: ReadonlyArray<string> }
  /** Back to one of the checkpoints that are there, or one that is gone or never was: refused. */
  | { readonly _tag: "Rollback"; readonly nth: number; readonly reading: boolean }
  /** The ledger is closed, damaged where it lies, diagnosed and repaired. */
  | { readonly _tag: "Repair"; readonly damage: Damage }
  | { readonly _tag: "Reopen" }
  /** The ledger is closed, and opened with views of the next version. */
  | { readonly _tag: "Redeclare" }
  | { readonly _tag: "Fault"; readonly fault: FaultyDisk.Fault }
  | { readonly _tag: "Mend" }
  /** The machine dies at once. */
  | { readonly _tag: "Die"; readonly by: "kill" | "powerCut" }

/** What is damaged, counted around: a byte of the journal, a whole segment, a checkpoint's byte. */
export interface Damage {
  readonly of: "byte" | "segment" | "checkpoint"
  readonly at: number
}

/** How the ledger is kept. */
export interface Config {
  readonly cortex: boolean
  readonly gated: boolean
  readonly segmentBytesMax: number
  readonly groupRowsMax: number
}

export interface History {
  readonly config: Config
  /** Set before the ledger is opened for the first time. */
  readonly faults: ReadonlyArray<FaultyDisk.Fault>
  readonly steps: ReadonlyArray<Step>
}

/** Numbers from a seed. */
export class Dice {
  readonly #next: () => number

  constructor(seed: number) {
    const random = Effect.runSync(Random.withSeed(Random.Random, `history ${seed}`))
    this.#next = () => random.nextDoubleUnsafe()
  }

  /** A whole number from 0 up to, not including, `end`. */
  below(end: number): number {
    return Math.floor(this.#next() * end)
  }

  chance(probability: number): boolean {
    return this.#next() < probability
  }

  pick<A>(first: A, ...others: ReadonlyArray<A>): A {
    return [first, ...others][this.below(others.length + 1)] ?? first
  }
}

const fileOperations = ["open", "write", "sync", "truncate", "stat", "read", "rename"] as const

/** Where an operation is struck: the calls that it is made of. */
const places: ReadonlyArray<Pick<FaultyDisk.Fault, "on" | "path">> = [
  { on: "rename", path: "plan.json" },
  { on: "rename", path: "outcome.json" },
  { on: "rename", path: "/segments/" },
  { on: "sync", path: "/operations" },
  { on: "sync", path: "/checkpoints" },
  { on: "rename", path: "/checkpoints" },
  { on: "sync", path: "segments" },
  { on: "sync", path: "jsonl" },
  { on: "truncate", path: "jsonl" },
  { on: "write", path: "/operations" },
  { on: "read", path: "/operations" },
  { on: "open", path: "jsonl" },
  { on: "statement", path: "DELETE" },
  { on: "commit" }
]

const faultOfOperation = (dice: Dice): FaultyDisk.Fault => {
  const where = { ...places[dice.below(places.length)], nth: dice.pick(1, 1, 2) }
  if (dice.chance(0.7)) {
    const crash = dice.pick<"kill" | "powerCut">("kill", "powerCut")
    return { ...where, crash, during: dice.chance(0.6) }
  }
  const isSql = where.on === "statement" || where.on === "commit"
  return { ...where, code: isSql ? "SQLITE_IOERR" : "EIO", persists: dice.chance(0.4) }
}

const faultFrom = (dice: Dice): FaultyDisk.Fault => {
  const nth = 1 + dice.below(dice.pick(2, 8, 30))
  const way = dice.below(10)
  if (way < 3) {
    const crash = dice.pick<"kill" | "powerCut">("kill", "powerCut", "powerCut")
    return { nth: 1 + dice.below(60), crash, during: dice.chance(0.5) }
  }
  if (way === 3) return { on: "write", path: "jsonl", nth, short: 1 + dice.below(300) }
  if (way === 4) {
    const times = dice.pick(1, 3, Number.POSITIVE_INFINITY)
    return { on: "write", nth, times, code: "ENOSPC", bytes: dice.below(400) }
  }
  if (way === 5)
    return { on: "open", nth, times: dice.pick(1, 4), code: dice.pick("EMFILE", "EACCES") }
  if (way === 6) return { on: "sync", nth, code: "EIO", persists: dice.chance(0.4) }
  if (way === 7) {
    const code = dice.pick("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_BUSY")
    return { on: "commit", nth: 1 + dice.below(6), code, persists: dice.chance(0.3) }
  }
  if (way === 8) {
    return dice.chance(0.4)
      ? { on: "statement", path: dice.pick("INSERT", "SELECT"), nth, vanishes: true }
      : { on: "statement", nth, code: dice.pick("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_BUSY") }
  }
  return { on: dice.pick(...fileOperations), nth, code: "EIO", persists: dice.chance(0.2) }
}

/** Makes the steps of one history. */
class Steps {
  readonly #dice: Dice
  readonly #troubled: boolean
  /** Whether it is checkpointed, rolled back and repaired more than now and then. */
  readonly #kept: boolean
  #names = 0

  constructor(dice: Dice, troubled: boolean, kept: boolean) {
    this.#dice = dice
    this.#troubled = troubled
    this.#kept = kept
  }

  #name(): string {
    return `r${++this.#names}`
  }

  #group(): ReadonlyArray<string> {
    const size = this.#dice.pick(1, 1, 1, 2, 3, 5)
    return Array.from({ length: size }, () => this.#name())
  }

  request(): Request {
    const dice = this.#dice
    const name = this.#name()
    if (dice.chance(0.65)) {
      const names = this.#group()
      return dice.chance(0.2)
        ? { _tag: "Rows", names, child: dice.below(100) }
        : { _tag: "Rows", names }
    }
    const nth = dice.below(100)
    switch (dice.below(this.#kept ? 8 : 6)) {
      case 0:
        return { _tag: "Again", nth, name: dice.chance(0.4) ? name : undefined }
      case 1:
        return { _tag: "Rule", name }
      case 2:
        return { _tag: "Gate", name }
      case 3:
        return { _tag: "Invalid", name }
      case 4:
        return { _tag: "Conflict", nth, name }
      case 6:
      case 7:
        return { _tag: "Forgotten", nth }
      default:
        return { _tag: "Orphan", names: this.#group() }
    }
  }

  /** What is known to go wrong together: a row in the page cache alone, and then no power. */
  #sequence(): ReadonlyArray<Step> {
    const dice = this.#dice
    const nth = dice.pick(1, 1, 2, 3)
    const on = dice.pick("write", "sync", "commit")
    const fault: FaultyDisk.Fault = dice.chance(0.5)
      ? { on, nth, crash: "kill", during: dice.chance(0.7) }
      : {
          on,
          nth,
          code: on === "commit" ? "SQLITE_IOERR" : "EIO",
          ...(on === "write" ? { bytes: dice.below(2000) } : {})
        }
    const append = {
      _tag: "Append",
      requests: [this.request(), this.request()],
      reading: true
    } as const
    return [{ _tag: "Fault", fault }, append, { _tag: "Read" }, { _tag: "Die", by: "powerCut" }]
  }

  /** Back over some rows, and struck on the way. */
  #turn(): ReadonlyArray<Step> {
    const dice = this.#dice
    const append = (): Step => ({ _tag: "Append", requests: [this.request()], reading: false })
    const fault = { _tag: "Fault", fault: faultOfOperation(dice) } as const
    return [
      ...(this.#troubled && dice.chance(0.3) ? [fault] : []),
      { _tag: "Checkpoint" },
      append(),
      ...(dice.chance(0.5) ? [append(), { _tag: "Checkpoint" } as const] : []),
      append(),
      ...(this.#troubled ? [{ ...fault, fault: faultOfOperation(dice) }] : []),
      this.#rollback()
    ]
  }

  #rollback(): Step {
    return { _tag: "Rollback", nth: this.#dice.below(100), reading: this.#dice.chance(0.3) }
  }

  #repair(): ReadonlyArray<Step> {
    const dice = this.#dice
    const of = dice.pick("byte", "byte", "segment", "checkpoint")
    const fault = { _tag: "Fault", fault: faultOfOperation(dice) } as const
    const repair = { _tag: "Repair", damage: { of, at: dice.below(100_000) } } as const
    return this.#troubled && dice.chance(0.7) ? [fault, repair] : [repair]
  }

  steps(): ReadonlyArray<Step> {
    if (this.#kept && this.#dice.chance(0.08)) return this.#turn()
    if (this.#dice.chance(this.#kept ? 0.04 : 0.01)) return this.#repair()
    return this.#troubled && this.#dice.chance(0.06) ? this.#sequence() : [this.#step()]
  }

  #step(): Step {
    const dice = this.#dice
    if (this.#troubled && dice.chance(0.25)) {
      if (dice.chance(0.25)) return { _tag: "Mend" }
      return { _tag: "Fault", fault: faultFrom(dice) }
    }
    if (dice.chance(0.1)) return { _tag: "Die", by: dice.pick("kill", "powerCut") }
    if (dice.chance(this.#kept ? 0.5 : 0.65)) {
      const requests = Array.from({ length: dice.pick(1, 1, 2, 4, 7) }, () => this.request())
      return { _tag: "Append", requests, reading: dice.chance(0.3) }
    }
    switch (dice.below(this.#kept ? 14 : 8)) {
      case 0:
        return { _tag: "Interrupt", request: this.request(), turns: dice.below(12) }
      case 1:
        return { _tag: "Read" }
      case 2:
        return { _tag: "Verify" }
      case 3:
        return { _tag: "Replay" }
      case 4:
        return { _tag: "Backup", name: this.#name() }
      case 5:
        return { _tag: dice.pick("Reopen", "Redeclare") }
      case 6:
      case 8:
      case 9:
      case 10:
        return { _tag: "Checkpoint" }
      case 7:
        return dice.chance(0.5) ? { _tag: "Rebuild" } : { _tag: "Import", names: this.#group() }
      default:
        return this.#rollback()
    }
  }
}

/** The history of a seed. */
export const fromSeed = (seed: number): History => {
  const dice = new Dice(seed)
  const config: Config = {
    cortex: dice.chance(0.2),
    gated: dice.chance(0.3),
    segmentBytesMax: dice.pick(600, 1500, 4000, 1_000_000),
    groupRowsMax: dice.pick(2, 8, 512)
  }
  const steps = new Steps(dice, dice.chance(0.7), dice.chance(0.5))
  const length = 2 + dice.below(dice.pick(6, 14, 30))
  return { config, faults: [], steps: Array.from({ length }, () => steps.steps()).flat() }
}

/** A history as its reader wants it: one step a line. */
export const show = ({ config, faults, steps }: History): string =>
  [
    JSON.stringify(config),
    JSON.stringify(faults),
    ...steps.map((step, nth) => `${nth}  ${JSON.stringify(step)}`)
  ].join("\n")
