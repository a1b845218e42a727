/**
 * Contests: contestants that do the same in turns, round after round; the first is what the others are compared with.
 */
import { Console, Effect } from "effect"
import { median, micros, ratio, table, times } from "./measure.ts"
import { Watch } from "./turns.ts"

/** One who does something `count` times a turn, and times nothing else. */
export interface Contestant {
  readonly name: string
  readonly count: number
  readonly turn: (watch: Watch) => Effect.Effect<void>
}

/** What is done, and by whom. */
export interface Contest {
  readonly what: string
  readonly contestants: ReadonlyArray<Contestant>
}

/** How often each contest is held; the first rounds only warm up. */
export interface Rounds {
  readonly rounds: number
  readonly warmUps: number
}

/** What a contestant took: microseconds each, in each counted round. */
export interface Taken {
  readonly name: string
  readonly clock: ReadonlyArray<number>
  readonly cpu: ReadonlyArray<number>
}

/** Hold a contest; what each took. */
export const hold = Effect.fnUntraced(function* (
  { contestants }: Contest,
  { rounds, warmUps }: Rounds
) {
  const all = contestants.map((one) => ({ ...one, watch: new Watch() }))
  for (let round = 0; round < warmUps + rounds; round++) {
    for (const { turn, watch } of all) {
      globalThis.gc?.()
      yield* turn(watch)
    }
  }
  // Each may do more in a turn than another.
  return all.map(({ count, name, watch }): Taken => {
    const { cpuMillis, millis } = watch.turns(warmUps)
    const each = (list: ReadonlyArray<number>) => list.map((one) => (one * 1000) / count)
    return { name, clock: each(millis), cpu: each(cpuMillis) }
  })
})

/** How many times another's a contestant took, by the clock and of the processors. */
export const against = (one: Taken, other: Taken): ReadonlyArray<string> => [
  times(ratio(other.clock, one.clock)),
  times(ratio(other.cpu, one.cpu))
]

const linesOf = (what: string, taken: ReadonlyArray<Taken>) => {
  const [first] = taken
  if (first === undefined) return []
  return taken.map((one, at) => [
    at === 0 ? what : "",
    one.name,
    micros(median(one.clock)),
    ...against(one, first)
  ])
}

/** Hold all contests and print them. */
export const print = Effect.fnUntraced(function* (
  contests: ReadonlyArray<Contest>,
  rounds: Rounds,
  first: string
) {
  const lines: Array<ReadonlyArray<string>> = [["", "", "us each", `times ${first}`, "of CPU"]]
  for (const contest of contests) {
    lines.push(...linesOf(contest.what, yield* hold(contest, rounds)))
  }
  yield* Console.log(table(lines))
})
