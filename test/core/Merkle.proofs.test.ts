/** What `Merkle` must not take for a proof. */
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Result } from "effect"
import * as Merkle from "../../src/core/Merkle.ts"
import * as Textbook from "./merkleTextbook.ts"
import { SIZE_MAX, consistency, hash, inclusion, int, leavesOf, rootAt } from "./merkleTrees.ts"

/** Any size or place, as often small as huge. */
const upTo53Bits = Arbitrary.map(
  Arbitrary.all([int(1, 53), int(0, Number.MAX_SAFE_INTEGER)]),
  ([bits, n]) => n % 2 ** bits
)

const refused = (checked: Result.Result<void, Merkle.ProofInvalid>, what: string) => {
  assert.isTrue(Result.isFailure(checked), `accepted: ${what}`)
}

/** The bit changed, in hex. */
const flip = (hex: string, bit: number): string => {
  const bytes = Buffer.from(hex, "hex")
  const at = bit % (bytes.length * 8)
  bytes[at >> 3] = (bytes[at >> 3] ?? 0) ^ (1 << (at & 7))
  return bytes.toString("hex")
}

/** The proof with something done to it at `at`, each way that changes it. */
const mutatedProofs = (proof: ReadonlyArray<string>, at: number, bit: number) => {
  const place = at % (proof.length + 1)
  const [first = ""] = proof
  const here = proof[place] ?? ""
  const swapped = proof.map((hash, nth) => (nth === 0 ? here : nth === place ? first : hash))
  const all: ReadonlyArray<readonly [what: string, proof: ReadonlyArray<string>]> = [
    ["bit", proof.map((hash, nth) => (nth === place ? flip(hash, bit) : hash))],
    ["missing", proof.toSpliced(place, 1)],
    ["twice", proof.toSpliced(place, 0, here)],
    ["extra", proof.toSpliced(place, 0, hash("extra"))],
    ["swapped", place < proof.length ? swapped : proof],
    ["reversed", proof.toReversed()],
    [
      "replaced by root",
      proof.length === 0 ? [rootAt(1)] : proof.with(place % proof.length, rootAt(9))
    ],
    ["capitals", proof.map((hash) => hash.toUpperCase())],
    ["digit for digit look-alike", proof.map((hash) => `${hash.slice(0, 63)}g`)],
    ["empty", []]
  ]
  return all.filter(([, changed]) => changed.join() !== proof.join())
}

describe("Merkle: proofs", () => {
  const drawn = Arbitrary.all([
    int(1, SIZE_MAX),
    int(0, 1000),
    int(0, 1000),
    int(0, 255),
    int(1, 200)
  ])

  it.prop("checkInclusion refuses what is not proven", [drawn], ([[size, n, at, bit, other]]) => {
    const index = n % size
    const claim = inclusion(index, size)
    for (const [what, proof] of mutatedProofs(claim.proof, at, bit)) {
      refused(Merkle.checkInclusion({ ...claim, proof }), what)
    }
    const { leafHash, root } = claim
    refused(Merkle.checkInclusion({ ...claim, leafHash: flip(leafHash, bit) }), "leaf")
    refused(Merkle.checkInclusion({ ...claim, root: flip(root, bit) }), "root")
    for (let wrong = 0; wrong < size + 2; wrong++) {
      if (wrong !== index) refused(Merkle.checkInclusion({ ...claim, index: wrong }), "index")
    }
    // A root does not tell its size: a proof of the same shape means the same.
    const fits =
      index < other &&
      Textbook.inclusionShape(index, other) === Textbook.inclusionShape(index, size)
    const checked = Merkle.checkInclusion({ ...claim, size: other })
    assert.strictEqual(Result.isSuccess(checked), fits, `size ${other}`)
  })

  it.prop(
    "checkConsistency refuses what is not proven",
    [drawn],
    ([[toSize, n, at, bit, other]]) => {
      const fromSize = 1 + (n % toSize)
      const claim = consistency(fromSize, toSize)
      for (const [what, proof] of mutatedProofs(claim.proof, at, bit)) {
        refused(Merkle.checkConsistency({ ...claim, proof }), what)
      }
      const { fromRoot, toRoot } = claim
      refused(Merkle.checkConsistency({ ...claim, fromRoot: flip(fromRoot, bit) }), "fromRoot")
      refused(Merkle.checkConsistency({ ...claim, toRoot: flip(toRoot, bit) }), "toRoot")
      if (fromSize < toSize) {
        const swapped = { ...claim, fromRoot: toRoot, toRoot: fromRoot }
        refused(Merkle.checkConsistency(swapped), "swapped roots")
      }
      const shape = Textbook.consistencyShape(fromSize, toSize)
      for (let wrong = 0; wrong < toSize + 2; wrong++) {
        if (wrong === fromSize) continue
        refused(Merkle.checkConsistency({ ...claim, fromSize: wrong }), `fromSize ${wrong}`)
      }
      const fits = fromSize <= other && Textbook.consistencyShape(fromSize, other) === shape
      const checked = Merkle.checkConsistency({ ...claim, toSize: other })
      assert.strictEqual(Result.isSuccess(checked), fits, `toSize ${other}`)
    }
  )

  it("refuse every bit flipped in every hash of a proof", () => {
    const [leaf, history] = [inclusion(4, 7), consistency(6, 7)]
    assert.deepStrictEqual([leaf.proof.length, history.proof.length], [3, 3])
    for (let at = 0; at < 3; at++) {
      for (let bit = 0; bit < 256; bit++) {
        const flipped = (proof: ReadonlyArray<string>) => proof.with(at, flip(proof[at] ?? "", bit))
        refused(Merkle.checkInclusion({ ...leaf, proof: flipped(leaf.proof) }), `bit ${bit}`)
        const changed = { ...history, proof: flipped(history.proof) }
        refused(Merkle.checkConsistency(changed), `bit ${bit}`)
      }
    }
  })

  it.prop(
    "agree with the algorithms of RFC 9162 up to 53 bits",
    [upTo53Bits, upTo53Bits],
    ([a, b]) => {
      const index = Math.min(a, b)
      const size = Math.max(a, b, index + 1)
      if (!Number.isSafeInteger(size)) return
      const leafHash = hash("leaf")
      let fitting = 0
      const hashes = leavesOf(54)
      for (let length = 0; length <= 54; length++) {
        const proof = hashes.slice(0, length)
        const root = Textbook.inclusionRoot(index, size, leafHash, proof)
        const claim = { index, size, leafHash, proof, root: root ?? leafHash }
        assert.strictEqual(Result.isSuccess(Merkle.checkInclusion(claim)), root !== undefined)
        if (root !== undefined) fitting++
        if (index === 0) continue
        // A power of two stands for its own root; the other sizes' roots come out of the proof.
        const claimed = Textbook.consistencyRoots(index, size, leafHash, proof)
        const between = { fromSize: index, toSize: size, proof }
        const roots = claimed ?? { fromRoot: leafHash, toRoot: leafHash }
        const checked = Merkle.checkConsistency({ ...between, ...roots })
        assert.strictEqual(Result.isSuccess(checked), claimed !== undefined, `${index} ${size}`)
      }
      assert.strictEqual(fitting, 1)
    },
    { arbitrary: { runs: 40 } }
  )

  it("take whole numbers only, even where a fraction would lead to the same root", () => {
    const kindOf = (checked: Result.Result<void, Merkle.ProofInvalid>) =>
      Result.isFailure(checked) ? checked.failure.kind : "proven"
    const [first, way] = [inclusion(0, 7), consistency(4, 7)]
    const numbers = [-1, 0.5, 4.5, 6.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]
    for (const wrong of [...numbers, JSON.parse('"4"'), JSON.parse("null")]) {
      const at = Merkle.checkInclusion({ ...first, index: wrong })
      assert.strictEqual(kindOf(at), "index_out_of_range")
      const sizes = [
        Merkle.checkInclusion({ ...first, size: wrong }),
        Merkle.checkConsistency({ ...way, fromSize: wrong }),
        Merkle.checkConsistency({ ...way, toSize: wrong })
      ]
      for (const checked of sizes) assert.strictEqual(kindOf(checked), "size_invalid")
    }
  })

  it("refuse, and never throw on, what is no number, list or hash", () => {
    const [good, way] = [inclusion(2, 7), consistency(3, 7)]
    const long = JSON.stringify("f".repeat(1_000_000))
    const texts = ["null", "true", '"0"', '"x"', "{}", "[]", "[[]]", "[null,null,null]", "1e400"]
    const more = ["-1", "0.5", "9007199254740992", '{"length":3}', "[1,2,3,4]", long, `[${long}]`]
    for (const text of [...texts, ...more]) {
      const value = JSON.parse(text)
      for (const name of Object.keys(good)) {
        const checked = Merkle.checkInclusion({ ...good, [name]: value })
        refused(checked, `${name} ${text}`)
        assert.isBelow(JSON.stringify(checked).length, 1000)
      }
      for (const name of Object.keys(way)) {
        const checked = Merkle.checkConsistency({ ...way, [name]: value })
        refused(checked, `${name} ${text}`)
        assert.isBelow(JSON.stringify(checked).length, 1000)
      }
    }
    refused(Merkle.checkInclusion(JSON.parse("{}")), "nothing")
    refused(Merkle.checkConsistency(JSON.parse("{}")), "nothing")
  })

  it("say what is wrong, and where", () => {
    const [good, way] = [inclusion(4, 7), consistency(3, 7)]
    const [bad, root] = [hash("bad"), rootAt(7)]
    const cases: ReadonlyArray<readonly [Result.Result<void, Merkle.ProofInvalid>, string]> = [
      [
        Merkle.checkInclusion({ ...good, index: 7 }),
        "inclusion of index 7 in size 7: index is to be less than 7, and is 7. " +
          "The index counts from 0: the row of seq n is index n - 1."
      ],
      [
        Merkle.checkInclusion({ ...good, proof: [] }),
        "inclusion of index 4 in size 7: the length of proof is to be 3, and is 0. " +
          "The proof was cut, extended, or made for other sizes."
      ],
      [
        Merkle.checkInclusion({ ...good, proof: good.proof.with(1, "no") }),
        'inclusion of index 4 in size 7: proof[1] is to be a hash, and is "no". ' +
          "A hash is 64 lower-case hex digits."
      ],
      [
        Merkle.checkInclusion({ ...good, root: bad }),
        `inclusion of index 4 in size 7: root (size 7) is to be ${bad}, and is ${root}. ` +
          "The leaf, the history before that root, or the proof was changed."
      ],
      [
        Merkle.checkConsistency({ ...way, fromSize: 8 }),
        "consistency of size 8 with size 7: toSize is to be at least 8, and is 7. " +
          "A ledger only grows: one that is shorter than it was has lost rows."
      ],
      [
        Merkle.checkConsistency({ ...way, fromSize: 0, proof: [] }),
        "consistency of size 0 with size 7: fromSize is to be more than 0, and is 0. " +
          "Every tree extends the empty one; it says nothing about a later root."
      ],
      [
        Merkle.checkConsistency({ ...way, toSize: -1 }),
        "consistency of size 3 with size -1: toSize is to be a whole number from 0 to " +
          "9007199254740991, and is -1. A size is a count of leaves."
      ]
    ]
    for (const [checked, message] of cases) {
      assert.strictEqual(Result.isFailure(checked) ? checked.failure.message : "", message)
    }
    const other = Merkle.checkConsistency({ ...way, fromRoot: bad })
    assert.include(Result.isFailure(other) ? other.failure : {}, {
      kind: "root_mismatch",
      where: "fromRoot (size 3)",
      expected: bad,
      actual: rootAt(3)
    })
  })
})
