import * as fs from "node:fs"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import * as Checkpoint from "../../../src/core/Checkpoint.ts"
import { Maintenance } from "../../../src/index.ts"
import type { Ledger } from "../../../src/store/Ledger.ts"
import type { Location } from "../../../src/store/journal/Layout.ts"
import { PositionUnknown, RolledBack } from "../../../src/store/reading/Reader.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { using } from "../ledgerFixtures.ts"

type Service = Ledger["Service"]

const by = { operator: "ada", reason: "a wrong turn", correlationId: "ticket 7" }

const type = "cortex.event.system_note.v1"

const append = Effect.fnUntraced(function* (ledger: Service, ...texts: ReadonlyArray<string>) {
  for (const text of texts) yield* ledger.append({ type, payload: { text } })
})

const textsOf = (ledger: Service) =>
  ledger.events().pipe(
    Stream.map(
      ({ payload }) =>
        Schema.decodeUnknownSync(Schema.Struct({ text: Schema.String }))(payload).text
    ),
    Stream.runCollect
  )

const intact = Effect.fnUntraced(function* (ledger: Service) {
  const report = yield* ledger.verify()
  assert.strictEqual(report._tag, "Intact", JSON.stringify(report))
  assert.isTrue((yield* ledger.parity).isConsistent)
})

type Options = Location & { readonly segmentBytesMax?: number }

const places: { readonly [name: string]: (directory: string) => Options } = {
  segments: (directory) => ({ directory }),
  "segments that rotate": (directory) => ({ directory, segmentBytesMax: 1 }),
  "one file": (directory) => ({ file: `${directory}.jsonl` })
}

describe("Rollback", () => {
  for (const [name, place] of Object.entries(places)) {
    it.effect(`goes back, keeps what it cuts, and goes on: ${name}`, () =>
      Effect.gen(function* () {
        const options = place(path.join(yield* TestLedger.directory, "l"))
        yield* using(options, (ledger) =>
          Effect.gen(function* () {
            yield* append(ledger, "a", "b")
            const first = yield* ledger.checkpoint("before the turn")
            yield* append(ledger, "c", "d", "e")
            const before = yield* ledger.head
            yield* ledger.checkpoint("after it")
            const done = yield* ledger.rollback(first, by)
            assert.deepStrictEqual(
              [done.state, done.outcome, done.kind, done.operator, done.reason, done.correlationId],
              ["finished", "ok", "rollback", "ada", "a wrong turn", "ticket 7"]
            )
            assert.deepStrictEqual(done.from, { seq: before.seq, leafHash: before.leafHash })
            assert.deepStrictEqual(done.head, first.position)
            const kept = done.cut.map((cut) => fs.readFileSync(cut.path, "utf8")).join("")
            assert.deepStrictEqual(
              kept
                .match(/"text":"(.)"/g)
                ?.toSorted()
                .join(),
              '"text":"c","text":"d","text":"e"'
            )
            assert.strictEqual(
              done.cut.reduce((sum, { rows }) => sum + (rows ?? 0), 0),
              3
            )
            assert.deepStrictEqual(yield* textsOf(ledger), ["a", "b"])
            yield* intact(ledger)
            yield* append(ledger, "x")
            const third = yield* ledger.checkpoint("another way")
            assert.strictEqual(third.number, 3)
            assert.deepStrictEqual(
              third.rollbacks.map(({ from, operation, to }) => [operation, from.seq, to.seq]),
              [[done.id, 5, 2]]
            )
            assert.deepStrictEqual(
              (yield* ledger.checkpoints).map(({ number }) => number),
              [1, 3]
            )
            yield* intact(ledger)
          })
        )
        yield* using(options, (ledger) =>
          Effect.gen(function* () {
            assert.strictEqual(ledger.opened._tag, "Clean")
            assert.deepStrictEqual(yield* textsOf(ledger), ["a", "b", "x"])
            yield* intact(ledger)
            assert.deepStrictEqual(
              (yield* ledger.operations).map(({ kind, state }) => [kind, state]),
              [["rollback", "finished"]]
            )
          })
        )
      })
    )
  }

  it.effect("goes back to before the first row", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "l")
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          const empty = yield* ledger.checkpoint("nothing yet")
          yield* append(ledger, "a", "b")
          yield* ledger.rollback(empty.number, by)
          assert.strictEqual((yield* ledger.head).seq, 0)
          yield* append(ledger, "c")
          yield* intact(ledger)
        })
      )
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          assert.deepStrictEqual(yield* textsOf(ledger), ["c"])
          assert.strictEqual(ledger.opened._tag, "Clean")
        })
      )
    })
  )

  it.effect("tells a position that was cut from one that never was", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "l")
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* append(ledger, "a")
          const one = yield* ledger.checkpoint("one")
          yield* append(ledger, "b")
          const two = yield* ledger.checkpoint("two")
          yield* append(ledger, "c", "d")
          const cut = (yield* ledger.get(4)).position
          const first = yield* ledger.rollback(two, by)
          yield* append(ledger, "e")
          const after = (position: typeof cut) =>
            Effect.flip(Stream.runCollect(ledger.events({ after: position })))
          const once = yield* after(cut)
          assert.instanceOf(once, RolledBack)
          assert.deepStrictEqual([once.from, once.to], [cut, two.position])
          assert.strictEqual(once.operationId, first.id)
          yield* ledger.rollback(one, by)
          const twice = yield* after(cut)
          assert.instanceOf(twice, RolledBack)
          assert.deepStrictEqual([twice.to, twice.operationId], [one.position, first.id])
          const never = yield* after({ seq: 2, leafHash: "0".repeat(64) })
          assert.instanceOf(never, PositionUnknown)
          assert.instanceOf(yield* after({ seq: 99, leafHash: cut.leafHash }), PositionUnknown)
        })
      )
    })
  )

  it.effect(
    "refuses a checkpoint that is not the ledger's, records that, and changes nothing",
    () =>
      Effect.gen(function* () {
        const directory = path.join(yield* TestLedger.directory, "l")
        yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            yield* append(ledger, "a")
            const one = yield* ledger.checkpoint("one")
            yield* append(ledger, "b")
            yield* ledger.checkpoint("two")
            const segment = fs.readFileSync(
              path.join(directory, "segments", "0000000000000001.jsonl")
            )
            const file = path.join(directory, "checkpoints", "0000000000000001.json")
            const good = fs.readFileSync(file, "utf8")
            const other = Checkpoint.make({ ...one, reason: "other", tree: one.tree })
            const cases: ReadonlyArray<
              readonly [Checkpoint.Checkpoint | number, string, string | undefined]
            > = [
              [9, "checkpoint_not_found", undefined],
              [0, "checkpoint_not_found", undefined],
              [1.5, "checkpoint_not_found", undefined],
              [other, "integrity_mismatch", undefined],
              [1, "integrity_mismatch", good.replace("one", "eno")],
              [1, "integrity_mismatch", ""],
              [
                1,
                "integrity_mismatch",
                Checkpoint.encode(
                  Checkpoint.make({
                    ...one,
                    head: { ...one.head, leafHash: "0".repeat(64) },
                    tree: one.tree
                  })
                )
              ],
              [
                1,
                "index_corruption",
                Checkpoint.encode(
                  Checkpoint.make({ ...one, offset: one.offset + 1, tree: one.tree })
                )
              ],
              [
                1,
                "index_corruption",
                Checkpoint.encode(
                  Checkpoint.make({ ...one, tree: { size: 1, frontier: ["0".repeat(64)] } })
                )
              ]
            ]
            for (const [asked, errorClass, text] of cases) {
              fs.writeFileSync(file, text ?? good)
              const error = yield* Effect.flip(ledger.rollback(asked, by))
              assert.instanceOf(error, Maintenance.OperationFailed, errorClass)
              assert.deepStrictEqual(
                [error.outcome, error.errorClass],
                ["recoverable_error", errorClass]
              )
              const last = (yield* ledger.operations).at(-1)
              assert.deepStrictEqual(
                [last?.id, last?.outcome, last?.errorClass, last?.operator, last?.cut],
                [error.operation, "recoverable_error", errorClass, "ada", []]
              )
            }
            fs.writeFileSync(file, good)
            assert.isTrue(
              fs
                .readFileSync(path.join(directory, "segments", "0000000000000001.jsonl"))
                .equals(segment)
            )
            for (const bad of [{ operator: "" }, { reason: "a\0b" }, { correlationId: "\ud800" }]) {
              const error = yield* Effect.flip(ledger.rollback(1, { ...by, ...bad }))
              assert.instanceOf(error, Maintenance.RequestInvalid)
            }
            yield* append(ledger, "c")
            yield* intact(ledger)
          })
        )
      })
  )

  it.effect("leaves the tree over the rows to be made once, however often it is opened", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "l")
      const stored = () => {
        const db = new DatabaseSync(path.join(directory, "mirror.sqlite"), { readOnly: true })
        const row = db.prepare("SELECT seq, value FROM sealog_state WHERE name = 'tree'").get()
        db.close()
        return row === undefined ? undefined : { ...row }
      }
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* append(ledger, "a", "b", "c")
          const before = yield* ledger.checkpoint("before")
          yield* append(ledger, "d")
          yield* ledger.rollback(before, by)
        })
      )
      const again = yield* using({ directory }, (ledger) => ledger.checkpoint("again"))
      assert.deepStrictEqual(stored(), { seq: 3, value: again.frontier.join(" ") })
    }).pipe(Effect.scoped)
  )
})

describe("Backup of a ledger that was rolled back", () => {
  it.effect("holds its checkpoints and what was cut, and verifies", () =>
    Effect.gen(function* () {
      const root = yield* TestLedger.directory
      const [directory, copy] = [path.join(root, "l"), path.join(root, "copy")]
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* append(ledger, "a")
          const one = yield* ledger.checkpoint("one")
          yield* append(ledger, "b")
          yield* ledger.rollback(one, by)
          yield* append(ledger, "c")
          yield* ledger.checkpoint("two")
          yield* ledger.backup(copy)
        })
      )
      yield* using({ directory: copy }, (ledger) =>
        Effect.gen(function* () {
          yield* intact(ledger)
          const report = yield* ledger.verify()
          assert.strictEqual(report.checks["checkpoints"], "Passed")
          assert.deepStrictEqual(
            (yield* ledger.operations).map(({ kind, outcome }) => [kind, outcome]),
            [["rollback", "ok"]]
          )
          assert.strictEqual((yield* ledger.checkpoint("three")).number, 3)
        })
      )
    })
  )
})
