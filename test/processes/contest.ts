/**
 * Two children that want one ledger, some of them killed, and a third that reads it meanwhile.
 *
 * A contender that says it holds on is let go on once the other one was refused, so that refusals
 * are certain; otherwise each comes and goes as it can. Who is killed is followed by a child of the
 * same runtime, which asks again for what was not answered.
 */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import type { Dice } from "./dice.ts"
import type { Child, Herd } from "./herd.ts"
import type { Said } from "./talk.ts"

type Acked = Extract<Said, { readonly _tag: "Acked" }>

export interface Place {
  readonly label: string
  readonly directory: string
  readonly log: string
}

/** How long a contest is: each contender is killed so often, and rests after so many tenures. */
export interface Size {
  readonly kills: number
  readonly tenures: number
}

type Who = 0 | 1

interface Contender {
  child: Child | undefined
  /** Whether it was killed, and may be dead already. */
  isDoomed: boolean
  isHolding: boolean
  hasRested: boolean
  /** The call that it makes next. */
  next: number
  /** How often it was refused, and held on until the other was. */
  refusals: number
  holds: number
}

const newContender = (): Contender => ({
  child: undefined,
  isDoomed: false,
  isHolding: false,
  hasRested: false,
  next: 0,
  refusals: 0,
  holds: 0
})

const goOn = (one: Contender): void => {
  if (!one.isHolding) return
  one.isHolding = false
  one.child?.goOn()
}

/** What becomes of a contest. */
export class Contest {
  readonly contenders: readonly [Contender, Contender] = [newContender(), newContender()]
  /** Every answer, in the order in which it was read; of one contender that is its own order. */
  readonly answers: Array<Acked> = []
  /** The lives that were killed. */
  readonly killed = new Set<string>()
  private readonly entered: () => void

  /** `entered` runs whenever somebody is in: the ledger is there. */
  constructor(entered: () => void) {
    this.entered = entered
  }

  /** Takes in what a contender says; answers what must not be. */
  hear(who: Who, said: Said): string | undefined {
    const [own, other] = [this.contenders[who], this.contenders[who === 0 ? 1 : 0]]
    switch (said._tag) {
      case "Busy":
        own.refusals++
        goOn(other)
        return
      case "Entered":
        this.entered()
        return other.isHolding && !other.isDoomed ? "two are in at once" : undefined
      case "Holding":
        own.holds++
        own.isHolding = true
        if (other.hasRested) goOn(own)
        return
      case "Acked":
        this.answers.push(said)
        own.next = said.nth + 1
        return
      case "Rested":
        own.hasRested = true
        goOn(other)
        return
      case "Failed":
        return `${said.tag}: ${said.message}`
    }
    return
  }
}

/** One life of a contender, until it is killed or, in the last one, sent home. */
const live = Effect.fnUntraced(function* (
  contest: Contest,
  { directory, label, log }: Place,
  who: Who,
  nth: number,
  child: Child,
  killAt: number,
  tenures: number
) {
  const own = contest.contenders[who]
  const life = `${label}-${who}-${nth}`
  const wrong: Array<string> = []
  let lines = 0
  Object.assign(own, { child, isDoomed: false, isHolding: false, hasRested: false })
  const kill = () => {
    own.isDoomed = true
    child.signal("SIGKILL")
  }
  child.onSaid((said) => {
    const found = contest.hear(who, said)
    if (found !== undefined) wrong.push(found)
    // Refusals come as fast as they can, and are not what a kill should meet.
    if (said._tag !== "Busy") lines++
    const isAtRest = said._tag === "Rested"
    if (isAtRest && !Number.isFinite(killAt)) child.dismiss()
    else if (isAtRest || lines === killAt || found !== undefined) kill()
  })
  const place = { label, directory, log, appender: who, from: own.next }
  child.order({ _tag: "Contend", ...place, life, tenures })
  const { errors, signal } = yield* Effect.promise(() => child.ended)
  assert.deepStrictEqual([wrong, errors], [[], ""], life)
  assert.strictEqual(signal, Number.isFinite(killAt) ? "SIGKILL" : null, life)
  if (signal !== null) contest.killed.add(life)
  Object.assign(own, { child: undefined, isHolding: false })
})

/**
 * Let two contenders, one of each herd, want a ledger until both had their tenures after their last
 * death. `entered` runs when the ledger is there.
 */
export const contend = Effect.fnUntraced(function* (
  place: Place,
  herds: readonly [Herd, Herd],
  chance: Dice,
  { kills, tenures }: Size,
  entered: () => void
) {
  const contest = new Contest(entered)
  const career = Effect.fnUntraced(function* (who: Who) {
    for (let nth = 0; nth <= kills; nth++) {
      const killAt = nth < kills ? 1 + chance.below(12) : Number.POSITIVE_INFINITY
      yield* live(contest, place, who, nth, yield* herds[who].take, killAt, tenures)
    }
  })
  yield* Effect.all([career(0), career(1)], { concurrency: 2, discard: true })
  return contest
})
