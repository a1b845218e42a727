/** Trees of 0 to 70 leaves for the tests of `Merkle`, and true claims about them. */
import { Arbitrary, Schema } from "effect"
import * as Hashes from "../../src/core/Hashes.ts"
import * as Merkle from "../../src/core/Merkle.ts"
import * as Textbook from "./merkleTextbook.ts"

const utf8 = new TextEncoder()
export const hash = (seed: string) => Textbook.sha256(utf8.encode(seed))
export const leavesOf = (count: number, seed = "leaf") =>
  Array.from({ length: count }, (_, n) => Hashes.leafHash(Hashes.noble, utf8.encode(seed + n)))

export const SIZE_MAX = 70
export const leaves = leavesOf(SIZE_MAX)
export const textbook = Textbook.textbook(leaves)
export const trees = Array.from({ length: SIZE_MAX + 1 }, (_, size) =>
  Merkle.appendAll(Merkle.empty, leaves.slice(0, size))
)
export const rootAt = (size: number) => textbook.root(size)

export const inclusion = (index: number, size: number): Merkle.Inclusion => ({
  index,
  size,
  leafHash: leaves[index] ?? "",
  proof: Merkle.inclusionProof(leaves, index, size),
  root: rootAt(size)
})
export const consistency = (fromSize: number, toSize: number): Merkle.Consistency => ({
  fromSize,
  toSize,
  fromRoot: rootAt(fromSize),
  toRoot: rootAt(toSize),
  proof: Merkle.consistencyProof(leaves, fromSize, toSize)
})

export const int = (minimum: number, maximum: number) =>
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum, maximum })))
