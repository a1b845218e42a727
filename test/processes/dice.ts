/**
 * Chance that can be had again: the same seed throws the same numbers, on every runtime.
 *
 * The seed is text, so that each life of each process has dice of its own by name, and a failure
 * in the hundredth repeats without the ninety-nine before it (FNV-1a, then mulberry32).
 */

export interface Dice {
  /** A whole number from 0 up to, not including, `size`. */
  readonly below: (size: number) => number
  /** True once in `size` throws. */
  readonly once: (size: number) => boolean
}

const stateOf = (seed: string): number => {
  let state = 0x811c9dc5
  for (let at = 0; at < seed.length; at++) {
    state = Math.imul(state ^ seed.charCodeAt(at), 0x01000193)
  }
  return state >>> 0
}

export const dice = (seed: string): Dice => {
  let state = stateOf(seed)
  const below = (size: number) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * size)
  }
  return { below, once: (size) => below(size) === 0 }
}
