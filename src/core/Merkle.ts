/**
 * The Merkle tree of RFC 6962, section 2.1, over the leaf hashes that the rows already have.
 *
 *   node hash   SHA-256(01 | left | right), the 32 bytes of each        root of nothing   SHA-256()
 *
 * All hashes are 64 lower-case hex digits; `index` counts from 0: the row of seq n is index n - 1.
 * A root does not tell its size, and some proofs fit two sizes: take both from one checkpoint. Size 0
 * is as in transparency-dev/merkle and the RFC: no consistency proof starts there (one is not made,
 * and not accepted), as the empty tree says nothing about a later root. Between equal sizes the
 * proof is empty and the roots must be the same.
 */
import { Result, Schema } from "effect"
import * as Hashes from "./Hashes.ts"
import { clip } from "./jsonError.ts"
import type { Step } from "./merkleNode.ts"
import { bitsSet, half, isHash, isSize, lastPerfect, nodeHash, siblings } from "./merkleNode.ts"

/**
 * What it takes to go on appending: the roots of the perfect subtrees, from the largest (left) to
 * the smallest, one for each bit that is set in `size`. Plain data; it may be stored.
 */
export interface Tree {
  readonly size: number
  readonly frontier: ReadonlyArray<string>
}

/** The tree of no leaves. */
export const empty: Tree = { size: 0, frontier: [] }

/** Is this a tree? Ask it of one that was stored; all others here throw if it is not. */
export const isTree = ({ size, frontier }: Tree): boolean =>
  isSize(size) &&
  Array.isArray(frontier) &&
  frontier.length === bitsSet(size) &&
  Array.from(frontier).every(isHash)

/** The tree with one leaf more; one node hash on average. */
export const append = (tree: Tree, leafHash: string, hashes: Hashes.Hashes = Hashes.noble): Tree =>
  appendAll(tree, [leafHash], hashes)

/** The tree with all these leaves more. */
export const appendAll = (
  tree: Tree,
  leafHashes: Iterable<string>,
  hashes: Hashes.Hashes = Hashes.noble
): Tree => {
  mustBeTree(tree)
  let size = tree.size
  const frontier = [...tree.frontier]
  for (const leafHash of leafHashes) {
    if (!isHash(leafHash)) throw new RangeError(`leaf ${size}: ${show(leafHash)} is not a hash`)
    if (size === Number.MAX_SAFE_INTEGER) throw new RangeError("the tree is full")
    let hash = leafHash
    // Each set bit at the end of the size is a perfect subtree that is now doubled.
    for (let rest = size; rest % 2 === 1; rest = half(rest)) {
      hash = nodeHash(frontier.pop(), hash, hashes)
    }
    frontier.push(hash)
    size++
  }
  return { size, frontier }
}

/** The root of the tree (MTH). */
export const root = (tree: Tree, hashes: Hashes.Hashes = Hashes.noble): string => {
  mustBeTree(tree)
  if (tree.size === 0) return hashes.sha256Hex(nothing)
  return tree.frontier.reduceRight((right, left) => nodeHash(left, right, hashes))
}

/**
 * The proof that the leaf at `index` is in the tree of the first `size` leaves (PATH): siblings from
 * the leaf up. Hashes all of those leaves. Throws RangeError unless index < size <= leaves given.
 */
export const inclusionProof = (
  leafHashes: ReadonlyArray<string>,
  index: number,
  size: number = leafHashes.length,
  hashes: Hashes.Hashes = Hashes.noble
): ReadonlyArray<string> => {
  mustBeWithin("size", size, 1, leafHashes.length)
  mustBeWithin("index", index, 0, size - 1)
  return siblings(index, size - 1).map(({ level, node }) =>
    subtreeRoot(leafHashes, size, level, node, hashes)
  )
}

/**
 * The proof that the tree of the first `toSize` leaves extends that of the first `fromSize` (PROOF).
 * Hashes all of those leaves. Throws RangeError unless 0 < fromSize <= toSize <= leaves given.
 */
export const consistencyProof = (
  leafHashes: ReadonlyArray<string>,
  fromSize: number,
  toSize: number = leafHashes.length,
  hashes: Hashes.Hashes = Hashes.noble
): ReadonlyArray<string> => {
  mustBeWithin("toSize", toSize, 1, leafHashes.length)
  mustBeWithin("fromSize", fromSize, 1, toSize)
  if (fromSize === toSize) return []
  const { level, node, path } = lastPerfect(fromSize, toSize)
  const above = path.map((step) =>
    subtreeRoot(leafHashes, toSize, level + step.level, step.node, hashes)
  )
  // At node 0 it is the whole earlier tree, whose root the reader has.
  return node === 0 ? above : [subtreeRoot(leafHashes, toSize, level, node, hashes), ...above]
}

/** That a leaf is in a tree: the claim and its proof. */
export interface Inclusion {
  readonly index: number
  readonly size: number
  readonly leafHash: string
  readonly proof: ReadonlyArray<string>
  readonly root: string
}

/** That one tree extends another: the claim and its proof. */
export interface Consistency {
  readonly fromSize: number
  readonly toSize: number
  readonly fromRoot: string
  readonly toRoot: string
  readonly proof: ReadonlyArray<string>
}

const means = {
  size_invalid: "A size is a count of leaves.",
  index_out_of_range: "The index counts from 0: the row of seq n is index n - 1.",
  size_order: "A ledger only grows: one that is shorter than it was has lost rows.",
  from_empty: "Every tree extends the empty one; it says nothing about a later root.",
  proof_length: "The proof was cut, extended, or made for other sizes.",
  malformed_hash: "A hash is 64 lower-case hex digits.",
  root_mismatch: "The leaf, the history before that root, or the proof was changed."
} as const

/**
 * A proof that does not prove its claim. `claim` says what was to be proven, `where` names the part
 * that is at fault. For `root_mismatch`, `expected` is the root given, `actual` what the proof gives.
 */
export class ProofInvalid extends Schema.TaggedError<ProofInvalid>()("ProofInvalid", {
  kind: Schema.Literals([
    "size_invalid",
    "index_out_of_range",
    "size_order",
    "from_empty",
    "proof_length",
    "malformed_hash",
    "root_mismatch"
  ]),
  claim: Schema.String,
  where: Schema.String,
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    const { actual, claim, expected, kind, where } = this
    return `${claim}: ${where} is to be ${expected}, and is ${actual}. ${means[kind]}`
  }
}

/** Does the proof lead from the leaf to the root? Input may be anything: it is refused, never thrown. */
export const checkInclusion = (
  { index, size, leafHash, proof, root }: Inclusion,
  hashes: Hashes.Hashes = Hashes.noble
): Result.Result<void, ProofInvalid> => {
  const refuse = refuser(`inclusion of index ${show(index)} in size ${show(size)}`)
  if (!isSize(size)) return refuse("size_invalid", "size", aSize, show(size))
  if (!isSize(index) || index >= size) {
    return refuse("index_out_of_range", "index", `less than ${size}`, show(index))
  }
  const path = siblings(index, size - 1)
  if (countOf(proof) !== path.length) {
    return refuse("proof_length", "the length of proof", `${path.length}`, show(countOf(proof)))
  }
  const malformed = firstMalformed({ leafHash, root }, proof)
  if (malformed !== undefined) return refuse("malformed_hash", malformed.where, aHash, malformed.is)
  const actual = climb(path, leafHash, proof, hashes).whole
  if (actual !== root) return refuse("root_mismatch", `root (size ${size})`, root, actual)
  return Result.succeed(undefined)
}

/** Does the proof lead to both roots? Input may be anything: it is refused, never thrown. */
export const checkConsistency = (
  { fromSize, toSize, fromRoot, toRoot, proof }: Consistency,
  hashes: Hashes.Hashes = Hashes.noble
): Result.Result<void, ProofInvalid> => {
  const refuse = refuser(`consistency of size ${show(fromSize)} with size ${show(toSize)}`)
  if (!isSize(fromSize)) return refuse("size_invalid", "fromSize", aSize, show(fromSize))
  if (!isSize(toSize)) return refuse("size_invalid", "toSize", aSize, show(toSize))
  if (toSize < fromSize) {
    return refuse("size_order", "toSize", `at least ${fromSize}`, show(toSize))
  }
  if (fromSize === 0) return refuse("from_empty", "fromSize", "more than 0", "0")
  const { node, path } = lastPerfect(fromSize, toSize)
  const seeds = node === 0 ? 0 : 1
  const length = fromSize === toSize ? 0 : seeds + path.length
  if (countOf(proof) !== length) {
    return refuse("proof_length", "the length of proof", `${length}`, show(countOf(proof)))
  }
  const malformed = firstMalformed({ fromRoot, toRoot }, proof)
  if (malformed !== undefined) return refuse("malformed_hash", malformed.where, aHash, malformed.is)
  const [first = fromRoot] = proof
  const { before, whole } =
    fromSize === toSize
      ? { before: fromRoot, whole: fromRoot }
      : climb(path, seeds === 0 ? fromRoot : first, proof.slice(seeds), hashes)
  if (before !== fromRoot) {
    return refuse("root_mismatch", `fromRoot (size ${fromSize})`, fromRoot, before)
  }
  if (whole !== toRoot) return refuse("root_mismatch", `toRoot (size ${toSize})`, toRoot, whole)
  return Result.succeed(undefined)
}

/** From `start` up: the root of all, and `before`, of what is not to the right of the start. */
const climb = (
  path: ReadonlyArray<Step>,
  start: string,
  proof: ReadonlyArray<string>,
  hashes: Hashes.Hashes
) => {
  let before = start
  let whole = start
  for (const [nth, { side }] of path.entries()) {
    const sibling = proof[nth]
    if (side === "left") {
      const same = before === whole
      whole = nodeHash(sibling, whole, hashes)
      before = same ? whole : nodeHash(sibling, before, hashes)
    } else whole = nodeHash(whole, sibling, hashes)
  }
  return { before, whole }
}

/** The root of a node's leaves; at the right edge they may be fewer than 2 ** level. */
const subtreeRoot = (
  leafHashes: ReadonlyArray<string>,
  size: number,
  level: number,
  node: number,
  hashes: Hashes.Hashes
): string => {
  const width = 2 ** level
  const leaves = leafHashes.slice(node * width, Math.min((node + 1) * width, size))
  return root(appendAll(empty, leaves, hashes), hashes)
}

const nothing = new Uint8Array(0)

const mustBeTree = (tree: Tree): void => {
  if (!isTree(tree)) throw new RangeError(`not a tree: size ${show(tree.size)}`)
}

const mustBeWithin = (name: string, value: number, min: number, max: number): void => {
  if (isSize(value) && value >= min && value <= max) return
  throw new RangeError(`${name} ${show(value)} is not within ${min} and ${max}`)
}

const aSize = `a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`
const aHash = "a hash"

/** In messages: short, and safe for what a type did not promise. */
const show = (value: unknown): string => {
  if (typeof value === "string") return JSON.stringify(clip(value))
  return typeof value === "number" ? `${value}` : typeof value
}

/** NaN for what is no list: equal to no length. */
const countOf = (proof: ReadonlyArray<string>): number =>
  Array.isArray(proof) ? proof.length : Number.NaN

const firstMalformed = (
  named: { readonly [where: string]: string },
  proof: ReadonlyArray<string>
): { readonly where: string; readonly is: string } | undefined => {
  const listed = Array.from(proof, (hash, nth) => [`proof[${nth}]`, hash] as const)
  const found = [...Object.entries(named), ...listed].find(([, hash]) => !isHash(hash))
  return found === undefined ? undefined : { where: found[0], is: show(found[1]) }
}

const refuser =
  (claim: string) =>
  (kind: ProofInvalid["kind"], where: string, expected: string, actual: string) =>
    Result.fail(new ProofInvalid({ kind, claim, where, expected, actual }))
