import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Op from "../../../src/core/Operation.ts"
import * as Timestamp from "../../../src/core/Timestamp.ts"
import * as SealogNode from "../../../src/platform/SealogNode.ts"
import { NotALedger } from "../../../src/store/journal/Home.ts"
import * as Operations from "../../../src/store/upkeep/Operations.ts"
import { OperationUnfinished } from "../../../src/store/upkeep/Operations.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import {
  image,
  keptBytes,
  makeFixture,
  opening,
  operations,
  putState,
  refusal,
  segmentOf
} from "../crashKit.ts"
import type { Fixture } from "../crashKit.ts"
import { snapshot, using } from "../ledgerFixtures.ts"
import { planText } from "../plans.ts"

const name = "0000000000000001.jsonl"

/** A ledger of three rows whose mirror knows the first, and whose last group is torn. */
const tornFixture = Effect.gen(function* () {
  const made = yield* makeFixture(path.join(yield* TestLedger.directory, "ledger"), 1, 2)
  const [start = 0] = made.ends
  const tail = made.bytes.subarray(0, -300)
  putState(made, { 1: tail }, made.mirrors[1])
  return { ...made, tail, start, cut: tail.subarray(start) }
})

const sha256 = (bytes: Uint8Array) => crypto.createHash("sha256").update(bytes).digest("hex")

interface CutOf {
  readonly file: unknown
  readonly offset: unknown
  readonly bytes: unknown
  readonly sha256: unknown
  readonly rows?: unknown
  readonly kept?: unknown
}

/** Put an operation's folder there, as a process that died would leave it. */
const putOperation = (made: Fixture, id: string, cut: ReadonlyArray<CutOf>, more: object = {}) => {
  const folder = path.join(made.directory, "operations", id)
  fs.mkdirSync(folder, { recursive: true })
  fs.writeFileSync(path.join(folder, "plan.json"), planText({ id, cut, ...more }))
  return folder
}

const cutOf = (made: { readonly tail: Buffer; readonly start: number }): CutOf => ({
  file: name,
  offset: made.start,
  bytes: made.tail.byteLength - made.start,
  sha256: sha256(made.tail.subarray(made.start)),
  rows: null,
  kept: `${name}.cut`
})

const finished = Effect.fnUntraced(function* (made: Fixture & { cut: Buffer; start: number }) {
  const report = yield* opening({ directory: made.directory })
  const tags = report._tag === "Recovered" ? report.actions.map((action) => action._tag) : []
  assert.deepStrictEqual(tags, ["OperationFinished"])
  assert.strictEqual(fs.statSync(segmentOf(made.directory, 1)).size, made.start)
  assert.isTrue(keptBytes(made.directory).equals(made.cut))
  for (const { files } of operations(made.directory)) assert.property(files, "outcome.json")
  const before = image(path.join(made.directory, "operations"))
  assert.strictEqual((yield* opening({ directory: made.directory }))._tag, "Clean")
  assert.deepStrictEqual(image(path.join(made.directory, "operations")), before)
})

/** Refused, and not a byte changed. */
const refused = Effect.fnUntraced(function* (made: Fixture, expected: RegExp) {
  const before = snapshot(path.dirname(made.directory))
  const error = yield* refusal({ directory: made.directory })
  assert.instanceOf(error, OperationUnfinished)
  assert.match(error.message, expected)
  assert.deepStrictEqual(snapshot(path.dirname(made.directory)), before)
})

describe("Operations", () => {
  it.effect("finishes a plan of which nothing was carried out", () =>
    Effect.gen(function* () {
      const made = yield* tornFixture
      putOperation(made, "op_1", [cutOf(made)])
      yield* finished(made)
    })
  )

  it.effect("finishes a plan whose bytes were kept, in part, in full or after the cut", () =>
    Effect.gen(function* () {
      const made = yield* tornFixture
      const states = [
        { kept: made.cut, truncated: false },
        { kept: made.cut, truncated: true },
        { kept: made.cut.subarray(0, 10), truncated: false },
        { kept: Buffer.concat([made.cut, Buffer.from("x")]), truncated: false }
      ]
      for (const { kept, truncated } of states) {
        putState(
          made,
          { 1: truncated ? made.tail.subarray(0, made.start) : made.tail },
          made.mirrors[1]
        )
        const folder = putOperation(made, "op_1", [cutOf(made)])
        fs.writeFileSync(path.join(folder, `${name}.cut`), kept)
        fs.writeFileSync(path.join(folder, `${name}.cut.tmp`), "left over")
        yield* finished(made)
      }
    })
  )

  it.effect("finishes one plan after another, and leaves finished ones alone", () =>
    Effect.gen(function* () {
      const made = yield* tornFixture
      // A plan of an earlier recovery, whose bytes are long gone from the journal.
      const old = putOperation(made, "op_0", [{ ...cutOf(made), sha256: sha256(Buffer.from("x")) }])
      fs.writeFileSync(path.join(old, "outcome.json"), "{}")
      putOperation(made, "op_1", [cutOf(made)])
      yield* finished(made)
      assert.deepStrictEqual(fs.readFileSync(path.join(old, "outcome.json"), "utf8"), "{}")
    })
  )

  it.effect("ignores a folder without a plan, and what is no folder", () =>
    Effect.gen(function* () {
      const made = yield* tornFixture
      const folder = path.join(made.directory, "operations", "op_1")
      fs.mkdirSync(folder, { recursive: true })
      fs.writeFileSync(path.join(folder, "plan.json.tmp"), '{"id":')
      fs.writeFileSync(path.join(made.directory, "operations", "notes"), "nothing of ours")
      const report = yield* opening({ directory: made.directory })
      assert.deepStrictEqual(
        report._tag === "Recovered" && report.actions.map(({ _tag }) => _tag),
        ["TailCut"]
      )
      assert.deepStrictEqual(fs.readdirSync(folder), ["plan.json.tmp"])
    })
  )

  it.effect("gives every recovery a folder of its own, even where randomness repeats itself", () =>
    Effect.gen(function* () {
      const made = yield* tornFixture
      const { directory } = made
      for (const count of [1, 2, 3]) {
        fs.appendFileSync(segmentOf(directory, 1), `{"id":"torn ${count}`)
        yield* opening({ directory, seed: 7 })
        assert.strictEqual(operations(directory).length, count)
      }
      const kept = keptBytes(directory).toString()
      assert.match(kept, /torn 1.*torn 2.*torn 3/s)
    })
  )

  it.effect("refuses a plan whose bytes are neither in the journal nor kept", () =>
    Effect.gen(function* () {
      const made = yield* tornFixture
      putOperation(made, "op_1", [{ ...cutOf(made), sha256: sha256(Buffer.from("x")) }])
      yield* refused(made, /op_1 was begun and cannot be finished.*SHA-256/)
      putOperation(made, "op_1", [{ ...cutOf(made), bytes: 1 }])
      yield* refused(made, /SHA-256/)
      // The file goes on behind what was planned: somebody wrote to it since.
      putOperation(made, "op_1", [
        { ...cutOf(made), bytes: 5, sha256: sha256(made.cut.subarray(0, 5)) }
      ])
      const error = yield* refusal({ directory: made.directory })
      assert.instanceOf(error, OperationUnfinished)
      assert.match(error.message, /expected \d+ or \d+ bytes/)
      assert.isTrue(fs.readFileSync(segmentOf(made.directory, 1)).equals(made.tail))
    })
  )

  it.effect("refuses a plan with a hostile file name, and touches nothing outside", () =>
    Effect.gen(function* () {
      const made = yield* tornFixture
      const victim = path.join(path.dirname(made.directory), "x")
      fs.writeFileSync(victim, made.tail)
      const names = [
        "../../x",
        victim,
        `../segments/${name}`,
        `./${name}`,
        "",
        ".",
        "..",
        `${name}\0`,
        "ledger.json"
      ]
      for (const file of names) {
        putState(made, { 1: made.tail }, made.mirrors[1])
        putOperation(made, "op_1", [{ ...cutOf(made), file }])
        yield* refused(made, /cannot be finished/)
        assert.isTrue(fs.readFileSync(victim).equals(made.tail))
      }
    })
  )

  it.effect("refuses a plan that cuts what the mirror holds, or another segment", () =>
    Effect.gen(function* () {
      const made = yield* tornFixture
      const { bytes, start } = made
      const first = {
        file: name,
        offset: 0,
        bytes: start,
        sha256: sha256(bytes.subarray(0, start)),
        rows: null,
        kept: `${name}.cut`
      }
      putState(made, { 1: bytes.subarray(0, start) }, made.mirrors[1])
      putOperation(made, "op_1", [first])
      yield* refused(made, /cannot be finished.*from byte \d+ on/)
      putState(made, { 1: bytes.subarray(0, start), 2: bytes.subarray(start) }, undefined)
      putOperation(made, "op_1", [first])
      yield* refused(made, /cannot be finished/)
      putState(made, {}, undefined)
      putOperation(made, "op_1", [first])
      yield* refused(made, /cannot be finished/)
    })
  )

  it.effect("refuses a plan that cannot be read, and says which", () =>
    Effect.gen(function* () {
      const made = yield* tornFixture
      const plans: ReadonlyArray<string | object> = [
        "",
        "{",
        "null",
        "[]",
        { cut: "all" },
        { kind: "demolition" },
        { mirror_until: -1 },
        { operator: 5 },
        { more: null },
        { cut: [{ ...cutOf(made), kept: "../x" }] },
        { cut: [{ ...cutOf(made), kept: "" }] },
        { move: [{ kind: "segment", name: "../x", bytes: 0, sha256: null, rows: null }] },
        { cut: [{ ...cutOf(made), offset: -1 }] },
        { cut: [{ ...cutOf(made), offset: 0.5 }] },
        { cut: [{ ...cutOf(made), offset: 2 ** 60 }] },
        { cut: [{ ...cutOf(made), bytes: -1 }] },
        { cut: [{ ...cutOf(made), bytes: "1" }] }
      ]
      for (const plan of plans) {
        putState(made, { 1: made.tail }, made.mirrors[1])
        const folder = putOperation(
          made,
          "op_1",
          [cutOf(made)],
          typeof plan === "string" ? {} : plan
        )
        if (typeof plan === "string") fs.writeFileSync(path.join(folder, "plan.json"), plan)
        yield* refused(made, /op_1.*plan\.json expected a plan of this version/)
      }
    })
  )

  it.effect("refuses links among the operations, and leaves what they point at alone", () =>
    Effect.gen(function* () {
      const made = yield* tornFixture
      const elsewhere = path.join(path.dirname(made.directory), "elsewhere")
      const folder = path.join(made.directory, "operations", "op_1")
      putOperation(made, "op_1", [cutOf(made)])
      fs.renameSync(folder, elsewhere)
      fs.symlinkSync(elsewhere, folder)
      yield* refused(made, /a symbolic link/)
      fs.rmSync(folder)
      fs.mkdirSync(folder)
      fs.symlinkSync(path.join(elsewhere, "plan.json"), path.join(folder, "plan.json"))
      yield* refused(made, /plan\.json expected a regular file/)
      fs.rmSync(path.join(made.directory, "operations"), { recursive: true })
      fs.symlinkSync(elsewhere, path.join(made.directory, "operations"))
      const error = yield* refusal({ directory: made.directory })
      assert.instanceOf(error, NotALedger)
      assert.match(error.message, /operations is not a ledger: it is a symbolic link/)
      assert.deepStrictEqual(fs.readdirSync(elsewhere), ["plan.json"])
      assert.isTrue(fs.readFileSync(segmentOf(made.directory, 1)).equals(made.tail))
    })
  )

  it.effect("replaces links in the place of what it writes instead of following them", () =>
    Effect.gen(function* () {
      const made = yield* tornFixture
      const victim = path.join(path.dirname(made.directory), "victim")
      fs.writeFileSync(victim, "mine")
      for (const link of ["outcome.json", `${name}.cut`]) {
        putState(made, { 1: made.tail }, made.mirrors[1])
        fs.symlinkSync(victim, path.join(putOperation(made, "op_1", [cutOf(made)]), link))
        yield* finished(made)
        assert.strictEqual(fs.readFileSync(victim, "utf8"), "mine")
      }
      for (const link of ["outcome.json.tmp", `${name}.cut.tmp`]) {
        putState(made, { 1: made.tail }, made.mirrors[1])
        fs.symlinkSync(victim, path.join(putOperation(made, "op_1", [cutOf(made)]), link))
        const error = yield* refusal({ directory: made.directory })
        assert.match(error.message, /symbolic link/)
        assert.strictEqual(fs.readFileSync(victim, "utf8"), "mine")
      }
    })
  )

  it.effect("keeps what it cut from a file that Cortex reads beside that file", () =>
    Effect.gen(function* () {
      const file = path.join(yield* TestLedger.directory, "events.jsonl")
      yield* using({ file }, (ledger) =>
        ledger.append({ type: "cortex.event.system_note.v1", payload: { text: "one" } })
      )
      const whole = fs.readFileSync(file)
      for (const count of [1, 2]) {
        fs.appendFileSync(file, '{"id":"evt_')
        const report = yield* opening({ file, seed: count })
        assert.deepStrictEqual(
          report._tag === "Recovered" && report.actions.map(({ _tag }) => _tag),
          ["TailCut"]
        )
        assert.isTrue(fs.readFileSync(file).equals(whole))
      }
      const kept = operations(`${file}.sealog`)
      assert.deepStrictEqual(
        kept.map(({ files }) => [Object.keys(files).toSorted(), String(files["events.jsonl.cut"])]),
        [1, 2].map(() => [["events.jsonl.cut", "outcome.json", "plan.json"], '{"id":"evt_'])
      )
      const cut = {
        file: "other.jsonl",
        offset: 0,
        bytes: whole.byteLength,
        sha256: sha256(whole),
        rows: null,
        kept: "x"
      }
      fs.mkdirSync(`${file}.sealog/operations/op_x`)
      const text = planText({ id: "op_x", cut: [cut] })
      fs.writeFileSync(`${file}.sealog/operations/op_x/plan.json`, text)
      assert.instanceOf(yield* refusal({ file }), OperationUnfinished)
      assert.isTrue(fs.readFileSync(file).equals(whole))
    })
  )

  it.effect("keeps what it cut from a file whose name no plan can say under another one", () =>
    Effect.gen(function* () {
      const file = path.join(yield* TestLedger.directory, "back\\slash.jsonl")
      yield* using({ file }, (ledger) => ledger.append({ type: "cortex.event.system_note.v1" }))
      fs.appendFileSync(file, '{"id":"evt_')
      assert.strictEqual((yield* opening({ file }))._tag, "Recovered")
      const [cut] = yield* using({ file }, (ledger) => ledger.operations)
      assert.deepStrictEqual(
        [cut?.state, cut?.outcome, cut?.cut.map(({ path: at }) => path.basename(at))],
        ["finished", "ok", ["journal.cut"]]
      )
    })
  )

  it.effect("places no plan that could not be read back", () =>
    Effect.gen(function* () {
      const folder = yield* TestLedger.directory
      const move = (name: string): Op.Move => ({
        kind: "foreign",
        name,
        bytes: 0,
        sha256: null,
        rows: null
      })
      const long = Array.from({ length: 65_536 }, (_, nth) => move(`${nth} ${"x".repeat(200)}`))
      for (const [moves, why] of [
        [[move("back\\slash")], /a name that it cannot keep/],
        [long, /at most 16777216 bytes/]
      ] as const) {
        const plan = Op.makePlan({
          ...Operations.nothing,
          id: "op_1",
          kind: "repair",
          at: Timestamp.fromMillis(0),
          reason: "a test",
          move: moves
        })
        const error = yield* Effect.flip(
          Effect.provide(Operations.place(folder, plan), SealogNode.layerPlatform)
        )
        assert.strictEqual(error._tag, "JournalError")
        assert.match(error.message, why)
        assert.deepStrictEqual(fs.readdirSync(folder), [])
      }
    })
  )

  it.effect("reads back the longest outcome that can be said", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "l")
      const said = "\u0001".repeat(4_096)
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append({ type: "row.added.v1" })
          yield* ledger.checkpoint("one")
          const by = { operator: "\u0002".repeat(4_000), reason: said, correlationId: said }
          yield* ledger.rollback(1, by)
          yield* Effect.flip(ledger.rollback(7, by))
          const told = (yield* ledger.operations).map(
            ({ correlationId, outcome, reason, state }) => [
              state,
              outcome,
              reason === said,
              correlationId === said
            ]
          )
          assert.deepStrictEqual(told, [
            ["finished", "ok", true, true],
            ["finished", "recoverable_error", true, true]
          ])
        })
      )
    })
  )

  it.effect("lists no name that is no operation's, and verification remarks it", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "l")
      const at = path.join(directory, "operations")
      yield* using({ directory }, (ledger) => ledger.append({ type: "row.added.v1" }))
      const abandoned = "op_01KGE3HBSFNPBSCAJ7DY8FSVA7"
      for (const name of ["notes", "op_x", abandoned]) {
        fs.mkdirSync(path.join(at, name), { recursive: true })
      }
      fs.writeFileSync(path.join(at, "op_y"), "")
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          const told = (yield* ledger.operations).map(({ id, state }) => [id, state])
          assert.deepStrictEqual(told, [[abandoned, "abandoned"]])
          const report = yield* ledger.verify()
          assert.strictEqual(report._tag, "Intact")
          assert.deepStrictEqual(
            report.remarks.map(({ path: found, reason }) => [path.basename(found), reason.kind]),
            ["notes", "op_x", "op_y"].map((name) => [name, "foreign_file"])
          )
        })
      )
    })
  )
})
