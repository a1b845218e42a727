import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Checkpoint from "../../../src/core/Checkpoint.ts"
import type { Ledger } from "../../../src/store/Ledger.ts"
import * as LedgerModule from "../../../src/store/Ledger.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import * as SealogNode from "../../../src/platform/SealogNode.ts"
import { using } from "../ledgerFixtures.ts"

type Service = Ledger["Service"]

const by = { operator: "ada", reason: "a wrong turn" }

const append = Effect.fnUntraced(function* (ledger: Service, count: number) {
  for (let nth = 0; nth < count; nth++) {
    yield* ledger.append({ type: "row.added.v1", payload: nth })
  }
})

const kindsOf = (directory: string, checkpoint?: Checkpoint.Checkpoint) =>
  LedgerModule.verify({ directory }, { checkpoint }).pipe(
    Effect.provide(SealogNode.layerPlatform),
    Effect.map((report) =>
      report._tag === "Intact"
        ? []
        : report.failures.map(({ level, reason }) => `${level}/${reason.kind}`)
    )
  )

/** Two rollbacks, one behind the other, in segments that rotate; the checkpoint that is newest. */
const history = Effect.gen(function* () {
  const directory = path.join(yield* TestLedger.directory, "l")
  const options = { directory, segmentBytesMax: 1_200 }
  const kept = yield* using(options, (ledger) =>
    Effect.gen(function* () {
      yield* append(ledger, 5)
      const one = yield* ledger.checkpoint("one")
      yield* append(ledger, 5)
      const two = yield* ledger.checkpoint("two")
      yield* append(ledger, 5)
      yield* ledger.checkpoint("three")
      yield* append(ledger, 1)
      const first = yield* ledger.rollback(two, by)
      yield* append(ledger, 4)
      yield* ledger.checkpoint("four")
      const second = yield* ledger.rollback(one, by)
      yield* append(ledger, 3)
      const five = yield* ledger.checkpoint("five")
      return { one, two, five, first: first.id, second: second.id }
    })
  )
  return { directory, ...kept }
})

const checkpointFile = (directory: string, number: number) =>
  path.join(directory, "checkpoints", Checkpoint.name(number))

describe("VerifyCheckpoints", () => {
  it.effect("finds nothing where checkpoints and cut histories are as they were", () =>
    Effect.gen(function* () {
      const { directory, five, one, two } = yield* history
      assert.deepStrictEqual(yield* kindsOf(directory), [])
      assert.deepStrictEqual(yield* kindsOf(directory, five), [])
      assert.deepStrictEqual(yield* kindsOf(directory, one), [])
      assert.deepStrictEqual(yield* kindsOf(directory, two), ["checkpoints/kept_checkpoint_beyond"])
    })
  )

  it.effect("says what a checkpoint that was kept proves, and what it does not", () =>
    Effect.gen(function* () {
      const { directory, five } = yield* history
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* append(ledger, 2)
          const report = yield* ledger.verify({ checkpoint: five })
          assert.deepStrictEqual([report._tag, report.checks["checkpoints"]], ["Intact", "Passed"])
          assert.match(report.notProven.join("\n"), /no rows behind row 8 were cut off/)
          const without = yield* ledger.verify()
          assert.match(without.notProven.join("\n"), /no rows were cut off the end/)
        })
      )
    })
  )

  it.effect("finds a tail that was cut at a row, by the checkpoint alone", () =>
    Effect.gen(function* () {
      const { directory, five } = yield* history
      const names = fs.readdirSync(path.join(directory, "segments")).toSorted()
      const last = path.join(directory, "segments", names.at(-1) ?? "")
      const lines = fs.readFileSync(last, "utf8").trimEnd().split("\n")
      fs.writeFileSync(
        last,
        lines
          .slice(0, -1)
          .map((line) => `${line}\n`)
          .join("")
      )
      if (lines.length === 1) fs.rmSync(last)
      assert.deepStrictEqual(yield* kindsOf(directory), ["checkpoints/checkpoint_beyond"])
      fs.rmSync(checkpointFile(directory, 5))
      assert.deepStrictEqual(yield* kindsOf(directory), [])
      assert.deepStrictEqual(yield* kindsOf(directory, five), [
        "checkpoints/kept_checkpoint_beyond"
      ])
    })
  )

  it.effect("finds checkpoints that do not hold together, and names what is wrong", () =>
    Effect.gen(function* () {
      const { directory, five, one } = yield* history
      const file = checkpointFile(directory, 5)
      const remade = (fields: Partial<Checkpoint.Fields>) =>
        Checkpoint.encode(Checkpoint.make({ ...five, tree: five.tree, ...fields }))
      const zeros = "0".repeat(64)
      const cases: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
        [Checkpoint.encode(five).replace("five", "fife"), ["checkpoints/checkpoint_unsound"]],
        ["{}", ["checkpoints/checkpoint_unsound"]],
        [remade({ number: 6 }), ["checkpoints/checkpoint_unsound"]],
        [remade({ offset: five.offset + 1 }), ["checkpoints/checkpoint_place"]],
        [remade({ segment: 1 }), ["checkpoints/checkpoint_place"]],
        [remade({ head: { ...five.head, eventHash: zeros } }), ["checkpoints/checkpoint_head"]],
        [remade({ tree: { size: 8, frontier: [zeros] } }), ["checkpoints/checkpoint_root"]],
        [
          remade({
            rollbacks: [
              ...five.rollbacks,
              { ...(five.rollbacks[0] ?? assert.fail()), operation: "op_x" }
            ]
          }),
          ["checkpoints/operation_missing"]
        ],
        [remade({ head: one.head, tree: one.tree, segment: one.segment, offset: one.offset }), []]
      ]
      for (const [text, expected] of cases) {
        fs.writeFileSync(file, text)
        assert.deepStrictEqual(yield* kindsOf(directory), expected, text)
      }
      fs.writeFileSync(path.join(directory, "checkpoints", "notes"), "mine")
      assert.deepStrictEqual(yield* kindsOf(directory), ["checkpoints/foreign_file"])
    })
  )

  it.effect(
    "remarks a checkpoint that was junk when a rollback moved it, unless it changed since",
    () =>
      Effect.gen(function* () {
        const { directory, five } = yield* history
        const name = Checkpoint.name(7)
        fs.writeFileSync(path.join(directory, "checkpoints", name), "junk")
        const id = yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            yield* append(ledger, 1)
            const done = yield* ledger.rollback(five, by)
            const report = yield* ledger.verify()
            assert.strictEqual(report._tag, "Intact", JSON.stringify(report))
            const remarks = report.remarks.map(({ reason }) => reason.kind)
            assert.deepStrictEqual(remarks, ["checkpoint_unsound"])
            return done.id
          })
        )
        fs.writeFileSync(path.join(directory, "operations", id, "checkpoints", name), "other")
        assert.deepStrictEqual(yield* kindsOf(directory), ["checkpoints/checkpoint_unsound"])
      })
  )

  it.effect("finds every change of what a rollback cut", () =>
    Effect.gen(function* () {
      const { directory, first, second } = yield* history
      for (const id of [first, second]) {
        const folder = path.join(directory, "operations", id, "segments")
        const names = fs.readdirSync(folder)
        assert.isNotEmpty(names)
        for (const name of names) {
          const file = path.join(folder, name)
          const bytes = fs.readFileSync(file)
          const flipped = Buffer.from(bytes)
          flipped[Math.floor(bytes.length / 2)] = (bytes[Math.floor(bytes.length / 2)] ?? 0) ^ 1
          fs.writeFileSync(file, flipped)
          assert.isNotEmpty(yield* kindsOf(directory), name)
          fs.writeFileSync(file, bytes.subarray(0, bytes.indexOf(0x0a) + 1).subarray(0, -1))
          assert.isNotEmpty(yield* kindsOf(directory), name)
          fs.rmSync(file)
          assert.include(yield* kindsOf(directory), "checkpoints/cut_missing")
          fs.writeFileSync(file, bytes)
        }
      }
      assert.deepStrictEqual(yield* kindsOf(directory), [])
      fs.rmSync(path.join(directory, "operations", second), { recursive: true })
      assert.include(yield* kindsOf(directory), "checkpoints/operation_missing")
    })
  )
})
