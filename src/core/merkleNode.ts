/**
 * The arithmetic of `Merkle`: rows of nodes, from the leaves (level 0) up, and the hash of a node.
 *
 *   node hash   SHA-256(01 | left | right), left and right as the 32 bytes that their hex spells
 *
 * Sizes and places go up to 2^53 - 1, so they are halved as numbers: bit operators would cut them at
 * 32 bits. Nothing here loops longer than a size has bits.
 */
import type * as Hashes from "./Hashes.ts"

/** A sibling on the way up: `node` counts from the left in its row, `level` from the start's row. */
export interface Step {
  readonly side: "left" | "right"
  readonly level: number
  readonly node: number
}

/** The siblings on the way from `node` to the root, in a row whose last node is `last`. */
export const siblings = (node: number, last: number): ReadonlyArray<Step> => {
  const steps: Array<Step> = []
  // A node at the end of a row without a sibling goes up as it is.
  for (let level = 0; last > 0; level++, node = half(node), last = half(last)) {
    if (node % 2 === 1) steps.push({ side: "left", level, node: node - 1 })
    else if (node < last) steps.push({ side: "right", level, node: node + 1 })
  }
  return steps
}

/** The largest perfect subtree that ends at `fromSize`, and its way up in the tree of `toSize`. */
export const lastPerfect = (fromSize: number, toSize: number) => {
  let node = fromSize - 1
  let last = toSize - 1
  let level = 0
  for (; node % 2 === 1; node = half(node), last = half(last)) level++
  return { level, node, path: siblings(node, last) }
}

const HASH_BYTES = 32
const NODE_PREFIX = 1

// One buffer for all nodes: each fills it and hashes it before it returns.
const scratch = new Uint8Array(1 + 2 * HASH_BYTES)
scratch[0] = NODE_PREFIX

export const nodeHash = (
  left: string | undefined,
  right: string | undefined,
  hashes: Hashes.Hashes
): string => {
  decode(left, 1)
  decode(right, 1 + HASH_BYTES)
  return hashes.sha256Hex(scratch)
}

const decode = (hash: string | undefined, at: number): void => {
  if (hash === undefined) throw new RangeError("a hash of the tree is missing")
  for (let i = 0; i < HASH_BYTES; i++) {
    scratch[at + i] = digit(hash.charCodeAt(2 * i)) * 16 + digit(hash.charCodeAt(2 * i + 1))
  }
}

/** The value of a hex digit that is known to be one. */
const digit = (code: number) => (code < 58 ? code - 48 : code - 87)

export const half = (n: number) => Math.floor(n / 2)

export const bitsSet = (n: number): number => {
  let bits = 0
  for (let rest = n; rest > 0; rest = half(rest)) bits += rest % 2
  return bits
}

export const isSize = (value: number): boolean => Number.isSafeInteger(value) && value >= 0

export const isHash = (value: unknown): boolean =>
  typeof value === "string" && /^[0-9a-f]{64}$/.test(value)
