import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Result } from "effect"
import * as fs from "node:fs"
import * as Hashes from "../../src/core/Hashes.ts"
import * as Merkle from "../../src/core/Merkle.ts"
import * as Textbook from "./merkleTextbook.ts"
import {
  SIZE_MAX,
  consistency,
  hash,
  inclusion,
  int,
  leaves,
  rootAt,
  textbook,
  trees
} from "./merkleTrees.ts"

const kindOf = (checked: Result.Result<void, Merkle.ProofInvalid>) =>
  Result.isFailure(checked) ? checked.failure.kind : "proven"

const accepted = (checked: Result.Result<void, Merkle.ProofInvalid>) => Result.getOrThrow(checked)

describe("Merkle", () => {
  it("root and frontier are the textbook's at every size, however the leaves came", () => {
    let tree = Merkle.empty
    for (let size = 0; size <= SIZE_MAX; size++) {
      assert.deepStrictEqual(trees[size], tree)
      assert.isTrue(Merkle.isTree(tree))
      assert.strictEqual(Merkle.root(tree), rootAt(size))
      assert.deepStrictEqual(Merkle.appendAll(tree, new Set(leaves.slice(size))), trees[SIZE_MAX])
      tree = Merkle.append(tree, leaves[size] ?? hash("one more"))
    }
  })

  it("inclusionProof is the textbook's for every leaf of every tree, and is accepted", () => {
    for (let size = 1; size <= SIZE_MAX; size++) {
      for (let index = 0; index < size; index++) {
        const claim = inclusion(index, size)
        assert.deepStrictEqual(claim.proof, textbook.inclusion(index, size))
        accepted(Merkle.checkInclusion(claim))
      }
    }
  })

  it("consistencyProof is the textbook's for every pair of sizes, and is accepted", () => {
    for (let toSize = 1; toSize <= SIZE_MAX; toSize++) {
      for (let fromSize = 1; fromSize <= toSize; fromSize++) {
        const claim = consistency(fromSize, toSize)
        assert.deepStrictEqual(claim.proof, textbook.consistency(fromSize, toSize))
        accepted(Merkle.checkConsistency(claim))
      }
    }
  })

  it.prop("agrees with the textbook where leaves repeat", [Arbitrary.array(int(0, 2))], ([ids]) => {
    const list = ids.map((id) => hash(`${id}`))
    const twin = Textbook.textbook(list)
    assert.strictEqual(Merkle.root(Merkle.appendAll(Merkle.empty, list)), twin.root(list.length))
    for (const index of list.keys()) {
      const proof = Merkle.inclusionProof(list, index)
      assert.deepStrictEqual(proof, twin.inclusion(index, list.length))
      const from = Merkle.consistencyProof(list, index + 1)
      assert.deepStrictEqual(from, twin.consistency(index + 1, list.length))
    }
  })

  it("append hashes no more than one node per leaf, a proof no more than its leaves", () => {
    let calls = 0
    const counting: Hashes.Hashes = {
      ...Hashes.noble,
      sha256Hex: (data) => (calls++, Hashes.noble.sha256Hex(data))
    }
    const callsOf = (work: () => unknown) => {
      calls = 0
      work()
      return calls
    }
    // A perfect tree of n leaves has n - 1 nodes; 70 is 64 + 4 + 2.
    assert.strictEqual(
      callsOf(() => Merkle.appendAll(Merkle.empty, leaves, counting)),
      70 - 3
    )
    assert.strictEqual(
      callsOf(() => Merkle.root(trees[70] ?? Merkle.empty, counting)),
      2
    )
    for (const n of [1, 33, 64, 70]) {
      assert.isAtMost(
        callsOf(() => Merkle.inclusionProof(leaves, n - 1, 70, counting)),
        70
      )
      assert.isAtMost(
        callsOf(() => Merkle.consistencyProof(leaves, n, 70, counting)),
        70
      )
    }
    assert.strictEqual(
      callsOf(() => Merkle.checkInclusion(inclusion(0, 70), counting)),
      7
    )
  })

  it("append leaves the tree before it as it was", () => {
    const before = Object.freeze({ size: 3, frontier: Object.freeze([hash("a"), hash("b")]) })
    Merkle.append(before, hash("c"))
    assert.deepStrictEqual(before, { size: 3, frontier: [hash("a"), hash("b")] })
    assert.deepStrictEqual(Merkle.empty, { size: 0, frontier: [] })
  })

  it("append counts beyond 32 bits", () => {
    for (let bits = 1; bits <= 53; bits++) {
      const frontier = Array.from({ length: bits }, (_, n) => hash(`${n}`))
      const tree = { size: 2 ** bits - 1, frontier }
      assert.isTrue(Merkle.isTree(tree))
      assert.isFalse(Merkle.isTree({ size: tree.size - 1, frontier }))
      const whole = [...frontier, hash("last")].reduceRight((right, left) =>
        Textbook.node(left, right)
      )
      if (bits < 53) {
        const doubled = Merkle.append(tree, hash("last"))
        assert.deepStrictEqual(doubled, { size: 2 ** bits, frontier: [whole] })
      } else assert.throws(() => Merkle.append(tree, hash("last")), RangeError, "full")
    }
  })

  it("isTree refuses what no append has made", () => {
    const [a, b] = [hash("a"), hash("b")]
    const wrong: ReadonlyArray<Merkle.Tree> = [
      { size: 1, frontier: [] },
      { size: 2, frontier: [a, b] },
      { size: 3, frontier: [a] },
      { size: 0, frontier: [a] },
      { size: -1, frontier: [a] },
      { size: 1.5, frontier: [a] },
      { size: 2 ** 53, frontier: [a] },
      { size: Number.NaN, frontier: [] },
      { size: Number.POSITIVE_INFINITY, frontier: [a] },
      { size: 1, frontier: [a.toUpperCase()] },
      { size: 1, frontier: [a.slice(1)] },
      { size: 1, frontier: [`${a}\n`] },
      { size: 3, frontier: JSON.parse(`[null,"${a}"]`) },
      { size: 3, frontier: Object.assign(Array(2), { 1: a }) },
      JSON.parse(`{"size":"1","frontier":["${a}"]}`),
      JSON.parse(`{"size":1,"frontier":{"length":1,"0":"${a}"}}`),
      JSON.parse(`{"size":1}`)
    ]
    for (const tree of wrong) {
      assert.isFalse(Merkle.isTree(tree), JSON.stringify(tree))
      assert.throws(() => Merkle.root(tree), RangeError)
      assert.throws(() => Merkle.append(tree, b), RangeError)
    }
  })

  it("throws on a broken precondition", () => {
    for (const bad of ["", "ab", hash("a").toUpperCase(), `${hash("a")}0`]) {
      assert.throws(() => Merkle.append(Merkle.empty, bad), RangeError, "leaf 0")
      assert.throws(() => Merkle.inclusionProof([hash("a"), bad], 0), RangeError)
      assert.throws(() => Merkle.consistencyProof([hash("a"), bad], 1), RangeError)
    }
    for (const bad of [-1, 3, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(() => Merkle.inclusionProof(leaves, bad, 3), RangeError, "index")
      const from = bad === 3 ? 4 : bad
      assert.throws(() => Merkle.consistencyProof(leaves, from, 3), RangeError, "fromSize")
      const size = bad === 3 ? SIZE_MAX + 1 : bad
      assert.throws(() => Merkle.inclusionProof(leaves, 0, size), RangeError, "size")
      assert.throws(() => Merkle.consistencyProof(leaves, 1, size), RangeError, "toSize")
    }
    assert.throws(() => Merkle.inclusionProof([], 0), RangeError)
    assert.throws(() => Merkle.consistencyProof(leaves, 0, 3), RangeError, "fromSize 0")
  })
})

interface TreeCase extends Merkle.Tree {
  readonly root: string
  readonly leafInput?: string
  readonly leafHash?: string
}
interface ProofCase {
  readonly file: string
  readonly proof: ReadonlyArray<string> | null
  readonly wantErr: boolean
}
interface InclusionCase extends ProofCase {
  readonly leafIdx: number
  readonly treeSize: number
  readonly root: string
  readonly leafHash: string
}
interface ConsistencyCase extends ProofCase {
  readonly size1: number
  readonly size2: number
  readonly root1: string
  readonly root2: string
}

const vectors = (file: string) =>
  fs
    .readFileSync(new URL(`../vectors/merkle/${file}`, import.meta.url), "utf8")
    .trimEnd()
    .split("\n")
const treeCases: ReadonlyArray<TreeCase> = vectors("trees.jsonl").map((line) => JSON.parse(line))
const inclusionCases: ReadonlyArray<InclusionCase> = vectors("inclusion.jsonl").map((line) =>
  JSON.parse(line)
)
const consistencyCases: ReadonlyArray<ConsistencyCase> = vectors("consistency.jsonl").map((line) =>
  JSON.parse(line)
)

const hexOf = (base64: string) => Buffer.from(base64, "base64").toString("hex")

/** What a mutation of a true proof must be refused for, where its name settles it. */
const wanted = (file: string): string | undefined => {
  if (!/^\w+\/\d\//.test(file)) return undefined
  if (/happy/.test(file)) return "proven"
  if (/wrong/.test(file)) return "malformed_hash"
  if (/modified|random-root|empty-root|swapped/.test(file)) return "root_mismatch"
  if (/trailing|preceding|removed|inserted|truncated|empty-proof/.test(file)) return "proof_length"
  return undefined
}

describe("Merkle: vectors of transparency-dev/merkle", () => {
  it("append and root give its trees of eight leaves", () => {
    let tree = Merkle.empty
    for (const { root, leafInput, leafHash, ...expected } of treeCases) {
      if (leafInput !== undefined && leafHash !== undefined) {
        const bytes = new Uint8Array(Buffer.from(leafInput, "hex"))
        assert.strictEqual(Hashes.leafHash(Hashes.noble, bytes), leafHash)
        tree = Merkle.append(tree, leafHash)
      }
      assert.deepStrictEqual(tree, expected)
      assert.strictEqual(Merkle.root(tree), root)
    }
    assert.strictEqual(tree.size, 8)
  })

  it("checkInclusion accepts and refuses what it does", () => {
    assert.strictEqual(inclusionCases.length, 98)
    for (const { file, leafIdx, treeSize, leafHash, proof, root, wantErr } of inclusionCases) {
      const kind = kindOf(
        Merkle.checkInclusion({
          index: leafIdx,
          size: treeSize,
          leafHash: hexOf(leafHash),
          proof: (proof ?? []).map(hexOf),
          root: hexOf(root)
        })
      )
      assert.strictEqual(kind !== "proven", wantErr, file)
      assert.strictEqual(kind, wanted(file) ?? kind, file)
    }
  })

  it("checkConsistency accepts and refuses what it does, but takes hashes only", () => {
    assert.strictEqual(consistencyCases.length, 98)
    for (const { file, size1, size2, root1, root2, proof, wantErr } of consistencyCases) {
      const kind = kindOf(
        Merkle.checkConsistency({
          fromSize: size1,
          toSize: size2,
          fromRoot: hexOf(root1),
          toRoot: hexOf(root2),
          proof: (proof ?? []).map(hexOf)
        })
      )
      // Its roots are any bytes; between equal sizes it compares two that are no hashes.
      const noHash = file === "consistency/additional/sizes-are-equal-one-and-proof-is-empty.json"
      if (noHash) assert.strictEqual(kind, "malformed_hash")
      else assert.strictEqual(kind !== "proven", wantErr, file)
      if (size1 === 0) assert.strictEqual(kind, "from_empty", file)
      assert.strictEqual(kind, wanted(file) ?? kind, file)
    }
  })
})
