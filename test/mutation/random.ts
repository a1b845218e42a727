/**
 * Random mutations from a seed: the same seed, the same mutations, in the same order.
 */

/** Numbers from a seed (xorshift32): at least 0, below `max`. */
export const dice = (seed: number): ((max: number) => number) => {
  let state = seed >>> 0 || 0x9e3779b9
  return (max) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return Math.floor(((state >>> 0) / 2 ** 32) * max)
  }
}

/** Bytes with a bit flipped, a stretch of zeros or of other bytes of theirs, or cut; and how. */
export const damaged = (
  bytes: Uint8Array,
  below: (max: number) => number
): { readonly what: string; readonly bytes: Uint8Array } => {
  const at = below(bytes.byteLength)
  const length = 1 + below(below(8) === 0 ? 600 : 12)
  const end = Math.min(bytes.byteLength, at + length)
  const copy = Uint8Array.from(bytes)
  switch (below(6)) {
    case 0:
      copy.fill(0, at, end)
      return { what: `zeros from ${at} to ${end}`, bytes: copy }
    case 1: {
      const from = below(bytes.byteLength)
      copy.set(bytes.subarray(from, Math.min(from + end - at, bytes.byteLength - at + from)), at)
      return { what: `bytes from ${from} on at ${at} to ${end}`, bytes: copy }
    }
    case 2:
      return { what: `cut to ${at} bytes`, bytes: bytes.subarray(0, at) }
    default: {
      const bit = below(8)
      copy[at] = (bytes[at] ?? 0) ^ (1 << bit)
      return { what: `bit ${bit} of byte ${at}`, bytes: copy }
    }
  }
}
