/**
 * RFC 6962, section 2.1, as it is written: MTH, PATH and SUBPROOF, recursive, over ranges of one list
 * of leaf hashes; and the two algorithms of RFC 9162 that check proofs, on big integers.
 */
import { createHash } from "node:crypto"

const bytes = (hex: string) => Buffer.from(hex, "hex")

export const sha256 = (...parts: ReadonlyArray<Uint8Array>): string => {
  const hash = createHash("sha256")
  for (const part of parts) hash.update(part)
  return hash.digest("hex")
}

export const node = (left: string, right: string): string =>
  sha256(Uint8Array.of(1), bytes(left), bytes(right))

/** The largest power of two smaller than n. */
const split = (n: number): number => {
  let k = 1
  while (k * 2 < n) k *= 2
  return k
}

export const textbook = (leaves: ReadonlyArray<string>) => {
  const known = new Map<string, string>()

  const mth = (from: number, to: number): string => {
    const range = `${from}-${to}`
    const hash = known.get(range) ?? compute(from, to)
    known.set(range, hash)
    return hash
  }

  const compute = (from: number, to: number): string => {
    const [leaf] = leaves.slice(from, to)
    if (leaf === undefined) return sha256()
    if (to - from === 1) return leaf
    const middle = from + split(to - from)
    return node(mth(from, middle), mth(middle, to))
  }

  const path = (m: number, from: number, to: number): ReadonlyArray<string> => {
    if (to - from === 1) return []
    const k = split(to - from)
    const middle = from + k
    return m < k
      ? [...path(m, from, middle), mth(middle, to)]
      : [...path(m - k, middle, to), mth(from, middle)]
  }

  const subproof = (m: number, from: number, to: number, b: boolean): ReadonlyArray<string> => {
    if (m === to - from) return b ? [] : [mth(from, to)]
    const k = split(to - from)
    const middle = from + k
    return m <= k
      ? [...subproof(m, from, middle, b), mth(middle, to)]
      : [...subproof(m - k, middle, to, false), mth(from, middle)]
  }

  return {
    root: (size: number) => mth(0, size),
    inclusion: (index: number, size: number) => path(index, 0, size),
    consistency: (fromSize: number, toSize: number) => subproof(fromSize, 0, toSize, true)
  }
}

/** On which side each hash of PATH stands. */
export const inclusionShape = (m: number, n: number): string => {
  if (n === 1) return ""
  const k = split(n)
  return m < k ? `${inclusionShape(m, k)}>` : `${inclusionShape(m - k, n - k)}<`
}

/** The same of SUBPROOF; `=` is the subtree that both trees share, `.` the whole earlier tree. */
export const consistencyShape = (m: number, n: number, b = true): string => {
  if (m === n) return b ? "." : "="
  const k = split(n)
  return m <= k ? `${consistencyShape(m, k, b)}>` : `${consistencyShape(m - k, n - k, false)}<`
}

/** RFC 9162, 2.1.3.2: the root that an inclusion proof gives, or undefined if it does not fit. */
export const inclusionRoot = (
  index: number,
  size: number,
  leafHash: string,
  proof: ReadonlyArray<string>
): string | undefined => {
  let fn = BigInt(index)
  let sn = BigInt(size) - 1n
  let r = leafHash
  for (const p of proof) {
    if (sn === 0n) return undefined
    if ((fn & 1n) === 1n || fn === sn) {
      r = node(p, r)
      while ((fn & 1n) === 0n && fn !== 0n) [fn, sn] = [fn >> 1n, sn >> 1n]
    } else r = node(r, p)
    ;[fn, sn] = [fn >> 1n, sn >> 1n]
  }
  return sn === 0n ? r : undefined
}

/** RFC 9162, 2.1.4.2, for 0 < fromSize < toSize: both roots, or undefined if it does not fit. */
export const consistencyRoots = (
  fromSize: number,
  toSize: number,
  fromRoot: string,
  proof: ReadonlyArray<string>
): { readonly fromRoot: string; readonly toRoot: string } | undefined => {
  const from = BigInt(fromSize)
  const [first, ...rest] = (from & (from - 1n)) === 0n ? [fromRoot, ...proof] : proof
  if (first === undefined || proof.length === 0) return undefined
  let [fn, sn] = [from - 1n, BigInt(toSize) - 1n]
  while ((fn & 1n) === 1n) [fn, sn] = [fn >> 1n, sn >> 1n]
  let [fr, sr] = [first, first]
  for (const c of rest) {
    if (sn === 0n) return undefined
    if ((fn & 1n) === 1n || fn === sn) {
      ;[fr, sr] = [node(c, fr), node(c, sr)]
      while ((fn & 1n) === 0n && fn !== 0n) [fn, sn] = [fn >> 1n, sn >> 1n]
    } else sr = node(sr, c)
    ;[fn, sn] = [fn >> 1n, sn >> 1n]
  }
  return sn === 0n ? { fromRoot: fr, toRoot: sr } : undefined
}
