/** Internal: bytes from a seed, for ids that a test can foretell. */
import { SecureRandom } from "effect/crypto"

/** Bytes from a seed (xorshift32): the same seed, the same ids. Never for secrets. */
export const seededRandom = (seed: number): SecureRandom.SecureRandom["Service"] => {
  let state = seed >>> 0 || 0x9e3779b9
  return SecureRandom.make((size) => {
    const bytes = new Uint8Array(size)
    for (let i = 0; i < size; i++) {
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
      bytes[i] = state & 0xff
    }
    return bytes
  })
}
