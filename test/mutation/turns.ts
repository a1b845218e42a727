/**
 * Who makes which mutation: Node one half of every sweep, Deno the other, all of them between the
 * two. With EXHAUSTIVE=1 each makes all, and many more where a sweep says so.
 *
 * The halves follow no simple rhythm, as sweeps do: by plain turns one runtime would meet all the
 * lines that were put in and the other all those that were replaced.
 */

/** Whether nothing is left out and nothing is shared. */
export const isExhaustive: boolean = process.env["EXHAUSTIVE"] !== undefined

/** How long a sweep may take on a busy machine before it counts as one that hangs. */
export const sweepMillisMax: number = isExhaustive ? 3_600_000 : 300_000

const turn = "deno" in process.versions ? 1 : 0

/** Whether the case with this number falls to this runtime: by how many of its bits are set. */
export const isOurs = (nth: number): boolean => {
  let odd = turn
  for (let bits = nth; bits > 0; bits = Math.floor(bits / 2)) odd ^= bits & 1
  return isExhaustive || odd === 0
}

/** This runtime's half of a sweep. */
export function* ours<A>(all: Iterable<A>): Generator<A> {
  let nth = 0
  for (const one of all) if (isOurs(nth++)) yield one
}

/** How many of so many cases this runtime makes at least. */
export const share = (count: number): number =>
  isExhaustive ? count : Math.max(0, Math.floor(count / 2) - 1)
