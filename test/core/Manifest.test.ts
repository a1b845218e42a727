import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Result, Schema } from "effect"
import * as Manifest from "../../src/core/Manifest.ts"

const leaf = "ab".repeat(32)

const holds = Manifest.empty.invariants

/** Rows in files of `fileRows` rows, each of 10 bytes, the types in turn. */
const tallyOf = (after: number, seq: number, fileRows: number): Manifest.Part => {
  const byType: { [type: string]: number } = {}
  const files: Array<Manifest.File> = []
  for (let at = after + 1; at <= seq; at++) {
    const type = `t.v${at % 3}`
    byType[type] = (byType[type] ?? 0) + 1
    const first = at - ((at - 1) % fileRows)
    const name = `${String(first).padStart(16, "0")}.jsonl`
    const last = files.at(-1)
    if (last?.name === name) {
      files[files.length - 1] = { ...last, bytes: last.bytes + 10, rows: last.rows + 1 }
    } else files.push({ name, firstSeq: at, bytes: (at - first + 1) * 10, rows: 1 })
  }
  return { after, seq, rows: seq - after, byType, branches: seq - after, files, invariants: holds }
}

const manifestOf = (tally: Manifest.Tally): Manifest.Manifest =>
  Manifest.make(tally, {
    ledgerId: "l",
    format: "sealog/1",
    at: "2026-01-01T00:00:00Z",
    head: { seq: tally.seq, leafHash: leaf, id: "evt_1", eventHash: leaf },
    root: leaf,
    checkpoint: { number: 2, size: 3, hash: leaf },
    checkpoints: 2,
    operations: 1,
    invariants: {}
  })

const seven = manifestOf(Manifest.extend(Manifest.empty, tallyOf(0, 7, 3)))

const placeOf = (text: string): string | undefined => {
  const decoded = Manifest.decode(text)
  return Result.isFailure(decoded) ? decoded.failure.place : undefined
}

describe("Manifest", () => {
  it("is spelled like this", () => {
    // What is on disk may never change.
    const { hash } = seven.integrity
    assert.strictEqual(
      Manifest.encode(seven),
      `{"at":"2026-01-01T00:00:00Z","counters":{"branches":7,"by_type":{"t.v0":2,"t.v1":3,"t.v2":2},` +
        `"bytes":70,"checkpoints":2,"operations":1,"rows":7,"segments":3},"files":[` +
        `{"bytes":30,"first_seq":1,"name":"0000000000000001.jsonl","rows":3},` +
        `{"bytes":30,"first_seq":4,"name":"0000000000000004.jsonl","rows":3},` +
        `{"bytes":10,"first_seq":7,"name":"0000000000000007.jsonl","rows":1}],"format":"sealog/1",` +
        `"head":{"event_hash":"${leaf}","id":"evt_1","leaf_hash":"${leaf}","seq":7},"integrity":{` +
        `"checkpoint":{"hash":"${leaf}","number":2,"size":3},"event_hash":"${leaf}","hash":"${hash}",` +
        `"leaf_hash":"${leaf}","root":"${leaf}"},"invariants":{"branch_heads_indexed":true,` +
        `"chain_valid":true,"checkpoints_in_order":true,"index_within_bounds":true,` +
        `"parent_links_closed":true,"segments_in_order":true,"seq_gapless":true},"ledger_id":"l",` +
        `"version":1}\n`
    )
    assert.strictEqual(hash, "0ab3f2baf886943358b6a5df95216e810c18630252b8a112fdc386b2351a4c72")
  })

  it.prop(
    "extend over any cuts says what one run over all rows says",
    [
      Arbitrary.array(
        Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 })))
      ),
      Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5 })))
    ],
    ([steps, fileRows]) => {
      let tally = Manifest.empty
      for (const step of steps) {
        tally = Manifest.extend(tally, tallyOf(tally.seq, tally.seq + step, fileRows))
      }
      assert.deepStrictEqual(
        tally,
        Manifest.extend(Manifest.empty, tallyOf(0, tally.seq, fileRows))
      )
      const manifest = manifestOf(tally)
      assert.deepStrictEqual(
        Result.getOrThrow(Manifest.decode(Manifest.encode(manifest))),
        manifest
      )
      assert.deepStrictEqual(Manifest.tallyOf(manifest), tally)
      assert.isTrue(Manifest.isSound(manifest))
    }
  )

  it("what did not hold once does not hold again", () => {
    for (const name of Object.keys(holds)) {
      const wrong = { ...tallyOf(0, 2, 9), invariants: { ...holds, [name]: false } }
      const later = Manifest.extend(Manifest.extend(Manifest.empty, wrong), tallyOf(2, 4, 9))
      assert.deepStrictEqual(later.invariants, { ...holds, [name]: false })
      assert.isFalse(Manifest.isSound(later))
      const beside = Manifest.both(holds, { [name]: false })
      assert.deepStrictEqual(beside, { ...holds, [name]: false })
    }
  })

  it("sees segments that are not in order", () => {
    const [first, second] = tallyOf(0, 4, 2).files
    assert.isDefined(first)
    assert.isDefined(second)
    const cases: ReadonlyArray<readonly [string, ReadonlyArray<Manifest.File>, boolean]> = [
      ["as they are", [first, second], true],
      ["one is missing", [second], false],
      ["a name of another seq", [first, { ...second, name: first.name.replace("1", "4") }], false],
      ["rows in a file that was left", [first, second, { ...first, firstSeq: 5 }], false],
      ["a file twice", [first, second, { ...first, firstSeq: 5, name: second.name }], true],
      ["a foreign name", [first, { ...second, name: "x.jsonl" }], false],
      ["one file of any name", [{ ...first, name: "x.jsonl", rows: 4 }], true]
    ]
    for (const [what, files, expected] of cases) {
      const part = { ...tallyOf(0, 4, 2), files }
      const { invariants } = Manifest.extend(Manifest.empty, part)
      assert.strictEqual(invariants.segmentsInOrder, expected, what)
    }
  })

  it("refuses parts that do not follow, and a head that is not the tally's", () => {
    assert.throws(() => Manifest.extend(Manifest.empty, tallyOf(1, 2, 3)), RangeError)
    const backwards = { ...tallyOf(0, 2, 3), seq: -1 }
    assert.throws(() => Manifest.extend(Manifest.empty, backwards), RangeError)
    const head = { ...seven.head, seq: 8 }
    const { checkpoint, root } = seven.integrity
    const beside = { ...seven, head, root, checkpoint, checkpoints: 0, operations: 0 }
    assert.throws(() => Manifest.make(Manifest.tallyOf(seven), beside), RangeError)
  })

  it("any flipped bit, and any byte that is left out, is found", () => {
    const bytes = new TextEncoder().encode(Manifest.encode(seven))
    for (let at = 0; at < bytes.length; at++) {
      const flipped = bytes.slice()
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8))
      assert.isDefined(placeOf(new TextDecoder().decode(flipped)), `bit of byte ${at}`)
      const shorter = new Uint8Array([...bytes.subarray(0, at), ...bytes.subarray(at + 1)])
      assert.isDefined(placeOf(new TextDecoder().decode(shorter)), `byte ${at}`)
    }
  })

  it("refuses another spelling, a wrong hash and hashes that are not the head's, with the place", () => {
    const text = Manifest.encode(seven)
    const other = "cd".repeat(32)
    const forged = { ...seven, head: { ...seven.head, leafHash: other } }
    const resealed = Manifest.make(Manifest.tallyOf(seven), {
      ...forged,
      root: null,
      checkpoint: null,
      checkpoints: 0,
      operations: 0
    })
    const cases: ReadonlyArray<readonly [string, string]> = [
      [text.trimEnd(), "text"],
      [`${text}\n`, "text"],
      [text.replace('"version":1', '"version":2'), "text"],
      [text.replace('"rows":7', '"rows":7.0'), "text"],
      [text.replace('"rows":7', '"rows":7,"rows":7'), "text"],
      [text.replace('"rows":7', '"more":1,"rows":7'), "text"],
      ["", "text"],
      ["null\n", "text"],
      [Manifest.encode({ ...seven, at: "later" }), "integrity.hash"],
      [Manifest.encode({ ...seven, head: { ...seven.head, seq: 6 } }), "integrity.hash"],
      [Manifest.encode(forged), "integrity.hash"]
    ]
    for (const [given, place] of cases) assert.strictEqual(placeOf(given), place, given)
    assert.isUndefined(placeOf(Manifest.encode(resealed)))
  })

  it("isSame looks past the time alone", () => {
    const beside = { ledgerId: "l", format: "sealog/1", root: leaf, checkpoints: 2, operations: 1 }
    const { checkpoint } = seven.integrity
    const make = (at: string, more: object = {}) =>
      Manifest.make(Manifest.tallyOf(seven), {
        ...beside,
        checkpoint,
        head: seven.head,
        invariants: {},
        at,
        ...more
      })
    assert.isTrue(Manifest.isSame(seven, make("2027-01-01T00:00:00Z")))
    assert.isFalse(Manifest.isSame(seven, make(seven.at, { operations: 2 })))
    assert.isFalse(Manifest.isSame(seven, make(seven.at, { root: null })))
  })
})
