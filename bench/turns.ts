/**
 * Turns of contestants in one process, one right after the other, and what they took.
 */
import { Effect, Schema } from "effect"
import { Reader } from "../src/index.ts"
import { SealogNode } from "../src/platform/index.ts"
import * as bare from "./bare.ts"

/** What some turns took: by the clock, and of the processors, which others cannot slow down. */
const Turns = Schema.Struct({
  millis: Schema.Array(Schema.Finite),
  cpuMillis: Schema.Array(Schema.Finite)
})
export type Turns = typeof Turns.Type

/** What a job took. */
const Taken = Schema.Struct({
  /** How many things were done in each turn. */
  count: Schema.Int,
  own: Turns,
  /** Of its counterpart, right after each turn; null where it has none. */
  bare: Schema.NullOr(Turns),
  /** Of the counterpart with each row hashed, checked and decoded; null where there is none. */
  checked: Schema.NullOr(Turns),
  /** Of the process, all its life. */
  peakBytes: Schema.Finite
})
export type Taken = typeof Taken.Type
export const TakenText = Schema.fromJsonString(Taken)

export type Done = Omit<Taken, "peakBytes">

export const sure = (holds: boolean, what: string) =>
  holds ? Effect.void : Effect.die(new Error(`not what was expected: ${what}`))

const cpuMillis = (): number => {
  const { system, user } = process.cpuUsage()
  return (system + user) / 1000
}

/** Measures turns one after the other. */
export class Watch {
  readonly #millis: Array<number> = []
  readonly #cpuMillis: Array<number> = []

  turn<A, E, R>(step: Effect.Effect<A, E, R>) {
    return Effect.suspend(() => {
      const begun = performance.now()
      const begunCpu = cpuMillis()
      return Effect.tap(step, () =>
        Effect.sync(() => {
          this.#millis.push(performance.now() - begun)
          this.#cpuMillis.push(cpuMillis() - begunCpu)
        })
      )
    })
  }

  /** Without the first turns, which only warm up. */
  turns(warmUps: number): Turns {
    return { millis: this.#millis.slice(warmUps), cpuMillis: this.#cpuMillis.slice(warmUps) }
  }
}

export interface Asked {
  readonly reader: Reader.Reader["Service"]
  readonly byHand: bare.BareReader
  readonly rows: number
}

// Until the code of either is as fast as it gets.
const warmUps = 5
const turns = 10

/** Ask a reader and the bare one in turns; all answer how many lines they have read. */
export const inTurns = <E>(
  directory: string,
  own: (asked: Asked) => Effect.Effect<number, E>,
  byHand: (asked: Asked) => number,
  checked?: (asked: Asked) => number
) =>
  Effect.gen(function* () {
    const reader = yield* Reader.Reader
    const { count: size } = yield* reader.summary
    const hand = yield* Effect.acquireRelease(
      Effect.sync(() => new bare.BareReader(directory)),
      (one) => Effect.sync(() => one.close())
    )
    const asked: Asked = { reader, byHand: hand, rows: size }
    const watch = new Watch()
    const others = [byHand, ...(checked === undefined ? [] : [checked])].map((read) => ({
      read,
      watch: new Watch()
    }))
    let count = 0
    for (let turn = -warmUps; turn < turns; turn++) {
      globalThis.gc?.()
      count = yield* watch.turn(own(asked))
      for (const other of others) {
        const found = yield* other.watch.turn(Effect.sync(() => other.read(asked)))
        yield* sure(count === found, `${found} rows, not ${count}`)
      }
    }
    const [bareTurns, checkedTurns] = others.map((other) => other.watch.turns(warmUps))
    return {
      count,
      own: watch.turns(warmUps),
      bare: bareTurns ?? null,
      checked: checkedTurns ?? null
    } satisfies Done
  }).pipe(Effect.scoped, Effect.provide(SealogNode.layerReader({ directory })))
