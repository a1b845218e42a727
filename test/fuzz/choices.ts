/**
 * Generated cases from fixed seeds, and the shrinking of one that fails.
 *
 * A generator draws numbers from `Choices`; what it drew is a tape. A failing case is shrunk by
 * cutting and lowering its tape and generating again, so whatever can be generated shrinks. Small
 * draws must make plain input.
 *
 *   FUZZ       how many times as many cases as usual; default 1
 *   FUZZ_SEED  run only the case of this seed, which a failure named; with -t and its test
 */
import { it } from "@effect/vitest"
import { Cause, Effect, Exit } from "effect"

/** What a generator draws from; the same tape makes the same input. */
export class Choices {
  readonly tape: Array<number> = []
  private readonly draw: (nth: number) => number

  constructor(draw: (nth: number) => number) {
    this.draw = draw
  }

  /** A whole number from 0 up to, not including, `size`. */
  below(size: number): number {
    const value = this.draw(this.tape.length) % size
    this.tape.push(value)
    return value
  }

  /** True once in `of` draws. */
  once(of: number): boolean {
    return this.below(of) === of - 1
  }

  pick<A>(items: ReadonlyArray<A>): A {
    const [first] = items.slice(this.below(items.length))
    if (first === undefined) throw new Error("nothing to pick from")
    return first
  }

  /** At most `max` of what `make` makes; one more is as likely as none. */
  list<A>(max: number, make: (nth: number) => A): Array<A> {
    const items: Array<A> = []
    while (items.length < max && this.below(4) !== 0) items.push(make(items.length))
    return items
  }

  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.below(256))
  }
}

/** Mulberry32: 32 bits at a time, the same for the same seed. */
const randomOf = (seed: number): (() => number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
}

const fromSeed = (seed: number): Choices => new Choices(randomOf(seed))

const fromTape = (tape: Tape): Choices => new Choices((nth) => tape[nth] ?? 0)

/** FNV-1a, so that each property has seeds of its own. */
const hashOf = (text: string): number => {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at++) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  }
  return hash >>> 0
}

const numberIn = (name: string): number | undefined => {
  const text = process.env[name]
  if (text === undefined || text === "") return undefined
  // What is no number would run nothing, and pass.
  if (!(Number(text) > 0)) throw new Error(`${name} must be a number above 0, not ${text}`)
  return Number(text)
}

/** How many times as many cases as usual. */
export const rounds = numberIn("FUZZ") ?? 1

/** The seeds of a property's cases; those of a short run are the first of a long one. */
const seedsOf = (name: string, cases: number): ReadonlyArray<number> => {
  const only = numberIn("FUZZ_SEED")
  if (only !== undefined) return [only]
  const first = hashOf(name)
  const count = Math.max(1, Math.floor(cases * rounds))
  return Array.from({ length: count }, (_, nth) => (first + Math.imul(nth, 0x9e3779b9)) >>> 0)
}

/** The cases of a property that looks at many at once, with the seed of each. */
export function* casesOf<A>(
  name: string,
  cases: number,
  generate: (choices: Choices) => A
): Generator<{ readonly input: A; readonly seed: number }> {
  for (const seed of seedsOf(name, cases)) yield { input: generate(fromSeed(seed)), seed }
}

type Tape = ReadonlyArray<number>

/**
 * Asks of shorter and lower tapes whether they fail too, and gives the least that did. A coroutine,
 * as some properties answer at once and others are effects.
 */
function* shrinking(failing: Tape, attemptsMax: number): Generator<Tape, Tape, boolean> {
  let best = failing
  let attempts = 0
  function* attempt(tape: Tape): Generator<Tape, boolean, boolean> {
    if (attempts++ >= attemptsMax || !(yield tape)) return false
    best = tape
    return true
  }
  for (let seen: Tape = []; seen !== best;) {
    seen = best
    for (let size = 2 ** Math.floor(Math.log2(best.length + 1)); size >= 1; size /= 2) {
      for (let at = 0; at < best.length;) {
        if (!(yield* attempt(best.toSpliced(at, size)))) at += size
      }
    }
    for (let at = 0; at < best.length; at++) {
      const value = best[at] ?? 0
      for (const lower of [0, value >> 1, value - 1]) {
        if (lower < value && lower >= 0 && (yield* attempt(best.with(at, lower)))) break
      }
    }
  }
  return best
}

const messageOf = (error: unknown): string =>
  error instanceof Error ? `${error.name}: ${error.message}` : String(error)

export interface Property<A> {
  /** How many cases are run, times `FUZZ`. */
  readonly cases: number
  readonly generate: (choices: Choices) => A
  readonly show: (input: A) => string
}

const errorOf = <A>(input: A, property: (input: A) => void): { error: unknown } | undefined => {
  try {
    property(input)
    return undefined
  } catch (error) {
    return { error }
  }
}

const failure = <A>(seed: number, input: A, show: (input: A) => string, cause: unknown): Error => {
  const text = `FUZZ_SEED=${seed}, input shrunk to ${show(input).slice(0, 4_000)}`
  return new Error(`${messageOf(cause).slice(0, 2_000)}\n${text}`, { cause })
}

/** Run a property on all of its cases; a failure says its seed and the shrunk input. */
const forAll = <A>(
  name: string,
  { cases, generate, show }: Property<A>,
  property: (input: A) => void
): void => {
  for (const seed of seedsOf(name, cases)) {
    const choices = fromSeed(seed)
    let failed = errorOf(generate(choices), property)
    if (failed === undefined) continue
    const search = shrinking(choices.tape, 2_000)
    let step = search.next()
    while (step.done !== true) {
      const again = errorOf(generate(fromTape(step.value)), property)
      failed = again ?? failed
      step = search.next(again !== undefined)
    }
    throw failure(seed, generate(fromTape(step.value)), show, failed.error)
  }
}

export const timeoutMillis = 60_000 * Math.max(1, rounds)

const isWhole = process.env["FUZZ_SEED"] === undefined

/** A test of one property; `after` looks at what its cases came to. */
export const fuzz = <A>(
  name: string,
  options: Property<A>,
  property: (input: A) => void,
  after: () => void = () => undefined
): void =>
  it(
    name,
    () => {
      forAll(name, options, property)
      if (isWhole) after()
    },
    timeoutMillis
  )

/** The same of a property that is an effect, which must not fail in any way. */
export const fuzzEffect = <A, E>(
  name: string,
  { cases, generate, show }: Property<A>,
  property: (input: A) => Effect.Effect<void, E>,
  after: () => void = () => undefined
): void =>
  it.effect(
    name,
    Effect.fnUntraced(function* () {
      for (const seed of seedsOf(name, cases)) {
        const choices = fromSeed(seed)
        const input = generate(choices)
        let failed = yield* Effect.exit(property(input)).pipe(
          // What does not come to an end is ended by the runner, which knows no seed.
          Effect.onInterrupt(() =>
            Effect.sync(() => console.error(`never ended: FUZZ_SEED=${seed}, ${show(input)}`))
          )
        )
        if (Exit.isSuccess(failed)) continue
        const search = shrinking(choices.tape, 60)
        let step = search.next()
        while (step.done !== true) {
          const again = yield* Effect.exit(property(generate(fromTape(step.value))))
          if (Exit.isFailure(again)) failed = again
          step = search.next(Exit.isFailure(again))
        }
        const cause = Cause.squash(failed.cause)
        return yield* Effect.die(failure(seed, generate(fromTape(step.value)), show, cause))
      }
      if (isWhole) after()
    }),
    timeoutMillis
  )

/** Text for a failure: quoted, whatever is in it. */
export const showText = (text: string): string => JSON.stringify(text)

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** Bytes for a failure: as text where they are UTF-8, else in hex. */
export const showBytes = (bytes: Uint8Array): string => {
  try {
    return JSON.stringify(strictUtf8.decode(bytes))
  } catch {
    return `hex ${Buffer.from(bytes).toString("hex")}`
  }
}
