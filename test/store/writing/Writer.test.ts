import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import {
  Arbitrary,
  Context,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  Result,
  Schema,
  Scope,
  Stream
} from "effect"
import type { Draft } from "../../../src/core/Draft.ts"
import * as Event from "../../../src/core/Event.ts"
import * as Hashes from "../../../src/core/Hashes.ts"
import * as Policy from "../../../src/core/Policy.ts"
import { Ledger } from "../../../src/store/Ledger.ts"
import * as PolicyGate from "../../../src/store/writing/PolicyGate.ts"
import type { AppendError, Receipt } from "../../../src/store/writing/Receipt.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import * as faults from "../faults.ts"
import {
  assertLike,
  assertSound,
  meddle,
  memberText,
  named,
  query,
  segmentLines,
  snapshot,
  tables,
  using
} from "../ledgerFixtures.ts"

type Open = Ledger["Service"]

const mirrorOf = (directory: string) => path.join(directory, "mirror.sqlite")
const segments = (directory: string) => fs.readdirSync(path.join(directory, "segments"))
const range = (count: number) => Array.from({ length: count }, (_, n) => n)

/** Hand all of them in at once, in this order, and wait for every answer. */
const atOnce = <A, E>(effects: ReadonlyArray<Effect.Effect<A, E>>) =>
  Effect.gen(function* () {
    const fibers: Array<Fiber.Fiber<Result.Result<A, E>>> = []
    for (const effect of effects) {
      fibers.push(yield* Effect.forkChild(Effect.result(effect), { startImmediately: true }))
    }
    return yield* Effect.forEach(fibers, Fiber.join)
  })

/** A fault that holds an operation: `reached` is done when it is there, `go` lets it go on. */
const hold = Effect.gen(function* () {
  const [reached, gone] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
  return {
    until: Effect.andThen(Deferred.succeed(reached, undefined), Deferred.await(gone)),
    reached: Deferred.await(reached),
    go: Deferred.succeed(gone, undefined)
  }
})

const failureOf = <E>(answer: Result.Result<unknown, E> | undefined): E | undefined =>
  answer?._tag === "Failure" ? answer.failure : undefined

const tagOf = (answer: Result.Result<{ readonly _tag: string }, { readonly _tag: string }>) =>
  Result.merge(answer)._tag

/** The ids that are in the journal, in order. */
const idsIn = (directory: string) =>
  segmentLines(directory).map((line) => JSON.parse(memberText(line, "id") ?? "null"))

/** Opens the ledger again and checks that it holds these drafts, in this order, and is sound. */
const assertHolds = (directory: string, drafts: ReadonlyArray<Draft>) =>
  using({ directory }, (ledger) =>
    Effect.gen(function* () {
      const events = yield* Stream.runCollect(ledger.events())
      assert.deepStrictEqual(
        events.map((event) => event.id),
        drafts.map((draft) => draft.id)
      )
      yield* assertSound(ledger)
      return ledger.opened
    })
  )

describe("groups", () => {
  it.effect("take what waits together, in the order in which it came", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const drafts = range(64).map((n) => named(`${n}`))
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          const receipts = yield* Effect.forEach(drafts, (draft) => ledger.append(draft), {
            concurrency: "unbounded"
          })
          assert.deepStrictEqual(
            receipts.map(({ seq, id }) => [seq, id]),
            drafts.map(({ id }, n) => [n + 1, id])
          )
          const groups = segmentLines(directory).filter(
            (line) => memberText(line, "batch")?.startsWith("[0,") ?? true
          )
          assert.isAtMost(groups.length, 4)
          yield* assertSound(ledger)
        })
      )
      yield* assertHolds(directory, drafts)
    })
  )

  it.effect("take no more rows than they may, but never split an appendAll", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const disk = yield* faults.make
      yield* faults.using({ directory, disk, groupRowsMax: 4 }, (ledger) =>
        Effect.gen(function* () {
          const { until, reached, go } = yield* hold
          disk.fail({ operation: "sync", path: ".jsonl", until, times: 1 })
          const first = yield* Effect.forkChild(ledger.append(named("first")))
          yield* reached
          const waiting = yield* Effect.forkChild(
            atOnce(
              [1, 2, 2, 7, 1, 1, 1, 1, 1].map((size, n) =>
                ledger.appendAll(range(size).map((k) => named(`${n} ${k}`)))
              )
            ),
            { startImmediately: true }
          )
          yield* go
          yield* Fiber.join(first)
          assert.isTrue((yield* Fiber.join(waiting)).every(Result.isSuccess))
          assert.deepStrictEqual(
            segmentLines(directory).map((line) => memberText(line, "batch") ?? "alone"),
            [
              ["alone"],
              ["[0,3]", "[1,3]", "[2,3]"],
              ["[0,2]", "[1,2]"],
              range(7).map((n) => `[${n},7]`),
              range(4).map((n) => `[${n},4]`),
              ["alone"]
            ].flat()
          )
          yield* assertSound(ledger)
        })
      )
    })
  )

  it.effect("lie in one segment each, and segments are as long as they may be", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const sizes = [3, 3, 1, 9, 1, 1, 2, 3]
      const drafts = sizes.map((size, n) => range(size).map((k) => named(`${n} ${k}`)))
      yield* using({ directory, segmentBytesMax: 3_000 }, (ledger) =>
        Effect.forEach(drafts, (some) => ledger.appendAll(some))
      )
      const files = segments(directory)
      assert.isAbove(files.length, 3)
      let seq = 1
      for (const name of files) {
        assert.strictEqual(name, `${String(seq).padStart(16, "0")}.jsonl`)
        const text = fs.readFileSync(path.join(directory, "segments", name), "utf8")
        const lines = text.trimEnd().split("\n")
        assert.match(memberText(lines[0] ?? "", "batch") ?? "[0,", /^\[0,/)
        assert.isTrue(text.length <= 3_000 || lines.length === 9, `${text.length} bytes`)
        seq += lines.length
      }
      yield* assertHolds(directory, drafts.flat())
    })
  )

  it.effect("are not disturbed by an append that is refused", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          const parentId = Event.idFrom("nobody")
          const answers = yield* atOnce<ReadonlyArray<Receipt> | Receipt, AppendError>([
            ledger.append(named("a")),
            ledger.append(named("a", { payload: 1 })),
            ledger.appendAll([named("b"), named("c", { parentId })]),
            ledger.append(named("c", { parentId: Event.idFrom("b") })),
            ledger.append(named("d", { parentId: Event.idFrom("a") })),
            ledger.append(named("d", { parentId: Event.idFrom("a") })),
            ledger.appendAll([named("e"), named("a", { type: "other.v1" })]),
            ledger.append(named("e"))
          ])
          assert.deepStrictEqual(
            answers.map((answer) => {
              const said = Result.merge(answer)
              return "_tag" in said ? said._tag : said.map(({ _tag }) => _tag)
            }),
            [
              "Appended",
              "IdConflict",
              "UnknownParent",
              "UnknownParent",
              "Appended",
              "AlreadyAppended",
              "IdConflict",
              "Appended"
            ]
          )
          yield* assertSound(ledger)
        })
      )
      yield* assertHolds(directory, [named("a"), named("d"), named("e")])
    })
  )
})

describe("a refusal", () => {
  it.effect("is told only when the rows that it rests on are durable", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const disk = yield* faults.make
      yield* faults.using({ directory, disk }, (ledger) =>
        Effect.gen(function* () {
          const both = atOnce([
            ledger.append(named("a")),
            ledger.append(named("a", { payload: 1 }))
          ])
          disk.fail({ operation: "write", path: ".jsonl", code: "ENOSPC", times: 1 })
          assert.deepStrictEqual((yield* both).map(tagOf), ["JournalError", "JournalError"])
          const { until, reached, go } = yield* hold
          disk.fail({ operation: "sync", path: ".jsonl", until, times: 1 })
          const waiting = yield* Effect.forkChild(both)
          yield* reached
          for (let turns = 0; turns < 50; turns++) yield* Effect.yieldNow
          assert.isUndefined(waiting.pollUnsafe())
          yield* go
          assert.deepStrictEqual((yield* Fiber.join(waiting)).map(tagOf), [
            "Appended",
            "IdConflict"
          ])
          disk.fail({ operation: "sync", path: ".jsonl", times: 1 })
          const lost = atOnce([
            ledger.append(named("b")),
            ledger.append(named("b", { payload: 1 }))
          ])
          assert.deepStrictEqual((yield* lost).map(tagOf), ["OutcomeUnknown", "OutcomeUnknown"])
        })
      )
      yield* assertHolds(directory, [named("a"), named("b")])
    })
  )
})

describe("interruption", () => {
  it.effect("withdraws what was not taken yet, and drops the answer of what was", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const disk = yield* faults.make
      yield* faults.using({ directory, disk }, (ledger) =>
        Effect.gen(function* () {
          const { until, reached, go } = yield* hold
          disk.fail({ operation: "sync", path: ".jsonl", until, times: 1 })
          const taken = yield* Effect.forkChild(ledger.append(named("taken")))
          yield* reached
          const waiting = yield* Effect.forkChild(ledger.append(named("waiting")), {
            startImmediately: true
          })
          const next = yield* Effect.forkChild(ledger.append(named("next")), {
            startImmediately: true
          })
          yield* Fiber.interrupt(waiting)
          yield* Fiber.interrupt(taken)
          assert.strictEqual((yield* ledger.head).seq, 0)
          yield* go
          assert.strictEqual((yield* Fiber.join(next)).seq, 2)
          assertLike(yield* ledger.append(named("taken")), { _tag: "AlreadyAppended", seq: 1 })
          assertLike(yield* ledger.append(named("waiting")), { _tag: "Appended", seq: 3 })
          yield* assertSound(ledger)
        })
      )
      yield* assertHolds(directory, [named("taken"), named("next"), named("waiting")])
    })
  )

  it.effect("by closing lets the group settle and fails the queue", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const disk = yield* faults.make
      const scope = yield* Scope.make()
      const built = yield* Layer.buildWithScope(
        faults.layer({ directory, disk, groupRowsMax: 1 }),
        scope
      )
      const ledger = Context.get(built, Ledger)
      const { until, reached, go } = yield* hold
      disk.fail({ operation: "sync", path: ".jsonl", until, times: 1 })
      const taken = yield* Effect.forkChild(ledger.append(named("taken")))
      yield* reached
      const waiting = yield* Effect.forkChild(
        atOnce([ledger.append(named("b")), ledger.append(named("c"))]),
        { startImmediately: true }
      )
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), {
        startImmediately: true
      })
      // Closing goes through the scopes of several layers before it comes to the writer.
      for (let turns = 0; turns < 50; turns++) yield* Effect.yieldNow
      const late = yield* Effect.flip(ledger.append(named("d")))
      assert.strictEqual(late._tag, "LedgerClosed")
      yield* go
      assertLike(yield* Fiber.join(taken), { _tag: "Appended", seq: 1 })
      yield* Fiber.join(closing)
      assert.deepStrictEqual((yield* Fiber.join(waiting)).map(tagOf), [
        "LedgerClosed",
        "LedgerClosed"
      ])
      assert.strictEqual((yield* Effect.flip(ledger.append(named("e"))))._tag, "LedgerClosed")
      assert.strictEqual((yield* assertHolds(directory, [named("taken")]))._tag, "Clean")
    })
  )
})

describe("a write that fails", () => {
  for (const bytes of [0, 1, 300]) {
    it.effect(`is cut back after ${bytes} bytes, and the next append goes on`, () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        const disk = yield* faults.make
        yield* faults.using({ directory, disk }, (ledger) =>
          Effect.gen(function* () {
            yield* ledger.append(named("a"))
            const before = [snapshot(directory), tables(mirrorOf(directory))]
            disk.fail({ operation: "write", path: ".jsonl", code: "ENOSPC", bytes, times: 1 })
            const answers = yield* atOnce<ReadonlyArray<Receipt>, AppendError>([
              ledger.appendAll([named("b"), named("c")]),
              ledger.appendAll([named("d")])
            ])
            for (const answer of answers) {
              assertLike(failureOf(answer), { _tag: "JournalError", code: "ENOSPC" })
            }
            assert.deepStrictEqual([snapshot(directory), tables(mirrorOf(directory))], before)
            assertLike(yield* ledger.append(named("d")), { _tag: "Appended", seq: 2 })
            yield* assertSound(ledger)
          })
        )
        assert.strictEqual((yield* assertHolds(directory, [named("a"), named("d")]))._tag, "Clean")
      })
    )
  }

  for (const operation of ["truncate", "sync"] as const) {
    it.effect(`and cannot be cut back (${operation}) has an unknown outcome, and is final`, () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        const disk = yield* faults.make
        yield* faults.using({ directory, disk }, (ledger) =>
          Effect.gen(function* () {
            const { seq, leafHash } = yield* ledger.append(named("a"))
            disk.fail({ operation: "write", path: ".jsonl", bytes: 100 })
            disk.fail({ operation, path: ".jsonl" })
            const error = yield* Effect.flip(ledger.appendAll([named("b"), named("c")]))
            assertLike(error, { _tag: "OutcomeUnknown", ids: [named("b").id, named("c").id] })
            disk.mend()
            const final = yield* Effect.flip(ledger.append(named("d")))
            assertLike(final, {
              _tag: "JournalFinal",
              reason: "cut_failed",
              durable: { seq, leafHash }
            })
            assert.strictEqual((yield* ledger.get(1)).id, named("a").id)
          })
        )
        const opened = yield* assertHolds(directory, [named("a")])
        assert.strictEqual(opened._tag, operation === "truncate" ? "Recovered" : "Clean")
      })
    )
  }

  it.effect("to make a new segment fails that append alone", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const disk = yield* faults.make
      yield* faults.using({ directory, disk, segmentBytesMax: 600 }, (ledger) =>
        Effect.gen(function* () {
          disk.fail({ operation: "open", path: "0000000000000001.jsonl", code: "EMFILE", times: 1 })
          disk.fail({ operation: "open", path: "0000000000000002.jsonl", code: "ENOSPC", times: 1 })
          disk.fail({ operation: "stat", path: "0000000000000002.jsonl", times: 1 })
          disk.fail({ operation: "write", path: "0000000000000002.jsonl", bytes: 10, times: 1 })
          const answers = []
          for (const name of ["a", "a", "b", "b", "b", "b"]) {
            answers.push(yield* Effect.result(ledger.append(named(name))))
          }
          assert.deepStrictEqual(
            answers.map((answer) =>
              Result.isSuccess(answer) ? answer.success.seq : tagOf(answer)
            ),
            ["JournalError", 1, "JournalError", "JournalError", "JournalError", 2]
          )
          assert.strictEqual(disk.struck(), 4)
          yield* assertSound(ledger)
        })
      )
      assert.deepStrictEqual(segments(directory), [
        "0000000000000001.jsonl",
        "0000000000000002.jsonl"
      ])
      assert.strictEqual((yield* assertHolds(directory, [named("a"), named("b")]))._tag, "Clean")
    })
  )
})

describe("an fsync that fails", () => {
  it.effect("has an unknown outcome, is final, and is answered after the next open", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const disk = yield* faults.make
      yield* faults.using({ directory, disk }, (ledger) =>
        Effect.gen(function* () {
          const { seq, leafHash } = yield* ledger.append(named("a"))
          disk.fail({ operation: "sync", path: ".jsonl", times: 1 })
          const answers = yield* atOnce<ReadonlyArray<Receipt>, AppendError>([
            ledger.appendAll([named("b"), named("c")]),
            ledger.appendAll([named("d")])
          ])
          assertLike(failureOf(answers[0]), {
            _tag: "OutcomeUnknown",
            ids: [named("b").id, named("c").id]
          })
          assertLike(failureOf(answers[1]), { _tag: "OutcomeUnknown", ids: [named("d").id] })
          const final = yield* Effect.flip(ledger.append(named("e")))
          assertLike(final, {
            _tag: "JournalFinal",
            reason: "sync_failed",
            durable: { seq, leafHash }
          })
          assert.strictEqual((yield* Stream.runCollect(ledger.events())).length, 1)
          assert.strictEqual((yield* ledger.head).seq, 1)
          assert.deepStrictEqual(idsIn(directory).length, 4)
        })
      )
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          assertLike(ledger.opened, {
            _tag: "Recovered",
            actions: [{ _tag: "CaughtUp", rows: 3 }]
          })
          const again = yield* ledger.appendAll([named("b"), named("c"), named("d"), named("e")])
          assert.deepStrictEqual(
            again.map(({ _tag, seq }) => [_tag, seq]),
            [
              ["AlreadyAppended", 2],
              ["AlreadyAppended", 3],
              ["AlreadyAppended", 4],
              ["Appended", 5]
            ]
          )
          yield* assertSound(ledger)
        })
      )
    })
  )

  it.effect("of a new segment's directory has an unknown outcome, too", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const disk = yield* faults.make
      yield* faults.using({ directory, disk }, (ledger) =>
        Effect.gen(function* () {
          disk.fail({ operation: "sync", path: "segments", nth: 2 })
          const error = yield* Effect.flip(ledger.append(named("a")))
          assertLike(error, { _tag: "OutcomeUnknown", ids: [named("a").id] })
          assert.strictEqual(disk.struck(), 1)
          assert.strictEqual((yield* Effect.flip(ledger.append(named("b"))))._tag, "JournalFinal")
        })
      )
      yield* assertHolds(directory, [named("a")])
    })
  )
})

describe("another hand", () => {
  const meddling: ReadonlyArray<readonly [string, string, (file: string) => void]> = [
    ["made longer", "length_changed", (file) => fs.appendFileSync(file, "\n")],
    ["made shorter", "length_changed", (file) => fs.truncateSync(file, 10)],
    ["removed", "unlinked", (file) => fs.rmSync(file)]
  ]

  for (const [name, reason, change] of meddling) {
    it.effect(`that ${name.replace("made", "has made")} the journal ends all appends`, () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        const file = path.join(directory, "segments", "0000000000000001.jsonl")
        yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            yield* ledger.append(named("a"))
            change(file)
            const before = [snapshot(directory), tables(mirrorOf(directory))]
            for (const draft of [named("b"), named("c")]) {
              const error = yield* Effect.flip(ledger.append(draft))
              assertLike(error, { _tag: "JournalFinal", reason })
            }
            assert.deepStrictEqual([snapshot(directory), tables(mirrorOf(directory))], before)
          })
        )
      })
    )
  }
})

/** Makes every COMMIT that follows an insert into the index fail, in the database itself. */
const commitFails = [
  "CREATE TABLE owed (seq INTEGER REFERENCES sealog_index(seq) DEFERRABLE INITIALLY DEFERRED)",
  "CREATE TRIGGER owe AFTER INSERT ON sealog_index BEGIN INSERT INTO owed VALUES (-1); END"
]

describe("a commit that fails", () => {
  const broken = (directory: string, body: (ledger: Open) => Effect.Effect<void, unknown>) =>
    using({ directory }, (ledger) =>
      Effect.gen(function* () {
        yield* ledger.append(named("a"))
        meddle(mirrorOf(directory), ...commitFails)
        const answers = yield* atOnce<ReadonlyArray<Receipt>, AppendError>([
          ledger.appendAll([named("b"), named("c"), named("a")]),
          ledger.appendAll([named("d", { payload: 1 })]),
          ledger.appendAll([named("a", { payload: 1 })]),
          ledger.appendAll([named("a")])
        ])
        const [bc, d, refused, known] = answers
        assertLike(failureOf(bc), { _tag: "MirrorBehind" })
        assertLike(failureOf(d), { _tag: "MirrorBehind" })
        assertLike(failureOf(refused), { _tag: "IdConflict" })
        assert.deepStrictEqual(known?._tag, "Success")
        const behind = failureOf(bc)
        const receipts = behind?._tag === "MirrorBehind" ? behind.receipts : []
        assert.deepStrictEqual(
          receipts.map(({ _tag, seq, id }) => [_tag, seq, id]),
          [
            ["Appended", 2, named("b").id],
            ["Appended", 3, named("c").id],
            ["AlreadyAppended", 1, named("a").id]
          ]
        )
        assert.strictEqual(segmentLines(directory).length, 4)
        assert.strictEqual((yield* ledger.head).seq, 1)
        yield* body(ledger)
      })
    )

  const mend = (directory: string) =>
    meddle(mirrorOf(directory), "DROP TRIGGER owe", "DROP TABLE owed")

  it.effect("says what is durable, and the mirror catches up before the next append", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* broken(directory, (ledger) =>
        Effect.gen(function* () {
          const still = yield* Effect.flip(ledger.append(named("e")))
          assert.strictEqual(still._tag, "MirrorError")
          assert.strictEqual(segmentLines(directory).length, 4)
          mend(directory)
          assertLike(yield* ledger.append(named("e")), { _tag: "Appended", seq: 5 })
          assertLike(yield* ledger.append(named("b")), { _tag: "AlreadyAppended", seq: 2 })
          yield* assertSound(ledger)
        })
      )
      yield* assertHolds(
        directory,
        ["a", "b", "c", "d", "e"].map((name) => named(name))
      )
    })
  )

  it.effect("is made good by the next open", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* broken(directory, () => Effect.void)
      mend(directory)
      const opened = yield* assertHolds(
        directory,
        ["a", "b", "c", "d"].map((name) => named(name))
      )
      assertLike(opened, { actions: [{ _tag: "CaughtUp", rows: 3 }] })
    })
  )
})

describe("a statement that fails", () => {
  const failing = (table: string, how: string, id: string) =>
    `CREATE TRIGGER fail BEFORE INSERT ON ${table} WHEN NEW.${table === "events" ? "id" : "event_id"} = '${id}'
     BEGIN SELECT RAISE(${how}, 'on demand'); END`

  for (const table of ["events", "sealog_index"]) {
    for (const how of ["ABORT", "ROLLBACK", "FAIL"]) {
      it.effect(`fails its own append alone: ${how} in ${table}`, () =>
        Effect.gen(function* () {
          const directory = yield* TestLedger.directory
          yield* using({ directory }, (ledger) =>
            Effect.gen(function* () {
              yield* ledger.append(named("first"))
              meddle(mirrorOf(directory), failing(table, how, named("c").id ?? ""))
              const answers = yield* atOnce<ReadonlyArray<Receipt>, AppendError>([
                ledger.appendAll([named("a")]),
                ledger.appendAll([named("b"), named("c")]),
                ledger.appendAll([named("d")]),
                ledger.appendAll([named("a", { payload: 1 })])
              ])
              assert.deepStrictEqual(
                answers.map((answer) => failureOf(answer)?._tag ?? "Appended"),
                ["Appended", "MirrorError", "Appended", "IdConflict"]
              )
              assert.deepStrictEqual(
                query(mirrorOf(directory), "SELECT id FROM events ORDER BY rowid").map(
                  ({ id }) => id
                ),
                idsIn(directory)
              )
              yield* assertSound(ledger)
            })
          )
          meddle(mirrorOf(directory), "DROP TRIGGER fail")
          const drafts = ["first", "a", "d"].map((name) => named(name))
          assert.strictEqual((yield* assertHolds(directory, drafts))._tag, "Clean")
        })
      )
    }
  }
})

describe("a defect", () => {
  it.effect("fails all that wait, and is final", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const disk = yield* faults.make
      let broken = false
      const hashes: Hashes.Hashes = {
        ...Hashes.noble,
        blake3Hex: (bytes) => {
          if (broken) throw new Error("broken on demand")
          return Hashes.noble.blake3Hex(bytes)
        }
      }
      yield* faults.using({ directory, disk, hashes, groupRowsMax: 1 }, (ledger) =>
        Effect.gen(function* () {
          const { seq, leafHash } = yield* ledger.append(named("a"))
          const { until, reached, go } = yield* hold
          disk.fail({ operation: "sync", path: ".jsonl", until, times: 1 })
          const taken = yield* Effect.forkChild(ledger.append(named("b")))
          yield* reached
          const waiting = yield* Effect.forkChild(
            atOnce(["c", "d", "e"].map((name) => ledger.append(named(name)))),
            { startImmediately: true }
          )
          broken = true
          yield* go
          yield* Fiber.join(taken)
          const answers = yield* Fiber.join(waiting)
          broken = false
          for (const answer of [...answers, yield* Effect.result(ledger.append(named("f")))]) {
            assertLike(failureOf(answer), { _tag: "JournalFinal", reason: "defect" })
          }
          assertLike(failureOf(answers[0]), {
            durable: { seq: seq + 1, leafHash: (yield* ledger.head).leafHash }
          })
          assert.notStrictEqual((yield* ledger.head).leafHash, leafHash)
          yield* assertSound(ledger)
        })
      )
      yield* assertHolds(directory, [named("a"), named("b")])
    })
  )

  it.effect("outside of any group fails all that wait, too", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      let broken = false
      const hashes: Hashes.Hashes = {
        ...Hashes.noble,
        blake3Hex: (bytes) => {
          if (broken) throw new Error("broken on demand")
          return Hashes.noble.blake3Hex(bytes)
        }
      }
      yield* faults.using({ directory, hashes }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(named("a"))
          meddle(mirrorOf(directory), ...commitFails)
          yield* Effect.flip(ledger.append(named("b")))
          meddle(mirrorOf(directory), "DROP TRIGGER owe", "DROP TABLE owed")
          const waiting = yield* Effect.forkChild(
            atOnce(["c", "d", "e"].map((name) => ledger.append(named(name)))),
            { startImmediately: true }
          )
          // The drafts were handed in; what fails now is the catching up before their group.
          broken = true
          const answers = yield* Fiber.join(waiting)
          broken = false
          assert.deepStrictEqual(answers.map(tagOf), Array(3).fill("JournalFinal"))
          assert.strictEqual((yield* Effect.flip(ledger.append(named("f"))))._tag, "JournalFinal")
        })
      )
      yield* assertHolds(directory, [named("a"), named("b")])
    })
  )
})

// ---- random histories, against a model ------------------------------------------------------------

const int = (minimum: number, maximum: number) =>
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum, maximum })))

/** Few names, so that ids, contents and parents meet. */
const anyDraft: Arbitrary.Arbitrary<Draft> = Arbitrary.map(
  Arbitrary.all([int(0, 14), int(0, 9), int(0, 14), int(0, 9)]),
  ([name, content, parent, kind]) =>
    named(`${name}`, {
      payload: content === 0 ? "other" : "one",
      type: kind === 0 ? "never.v1" : kind === 1 ? "seat.v1" : "plain.v1",
      parentId: content > 6 ? Event.idFrom(`${parent}`) : undefined
    })
)

const anyAppend = Arbitrary.array(anyDraft, { minLength: 1, maxLength: 4 })
const anyHistory = Arbitrary.array(anyAppend, { minLength: 1, maxLength: 40 })

const seatsMax = 3

const rules = [
  PolicyGate.rule({ id: "test.never", types: ["never.v1"] }, () =>
    Effect.succeed(Policy.reject("never"))
  ),
  PolicyGate.gate({ id: "test.seats", types: ["seat.v1"] }, (_draft, sql) =>
    Effect.map(
      sql<{ n: number }>`SELECT count(*) AS n FROM events WHERE event_type = 'seat.v1'`,
      ([row]) =>
        (row?.n ?? 0) < seatsMax ? Policy.allow("a seat is free") : Policy.reject("all taken")
    )
  )
]

/** What a ledger says, one append after the other, kept in a list. */
const model = (history: ReadonlyArray<ReadonlyArray<Draft>>) => {
  let rows: ReadonlyArray<Draft> = []
  const answers = history.map((drafts): string => {
    const said: Array<string> = []
    const next = [...rows]
    for (const draft of drafts) {
      const at = next.findIndex(({ id }) => id === draft.id)
      const there = next[at]
      if (there !== undefined) {
        const same = (["type", "payload", "parentId"] as const).every((k) => draft[k] === there[k])
        if (!same) return "IdConflict"
        said.push(`AlreadyAppended ${at + 1}`)
        continue
      }
      const { parentId, type } = draft
      if (parentId !== undefined && !next.some(({ id }) => id === parentId)) return "UnknownParent"
      const seats = next.filter((row) => row.type === "seat.v1").length
      if (type === "never.v1" || (type === "seat.v1" && seats >= seatsMax)) return "PolicyRefused"
      next.push(draft)
      said.push(`Appended ${next.length}`)
    }
    rows = next
    return said.join(", ")
  })
  return { answers, rows }
}

const spoken = (answer: Result.Result<ReadonlyArray<Receipt>, AppendError>): string =>
  Result.isFailure(answer)
    ? answer.failure._tag
    : answer.success.map(({ _tag, seq }) => `${_tag} ${seq}`).join(", ")

describe("any history", () => {
  it.effect.prop(
    "of many fibers is answered as if it had come one by one",
    [anyHistory, int(1, 12)],
    ([history, groupRowsMax]) =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        const options = { directory, rules, groupRowsMax, segmentBytesMax: 4_000 }
        const expected = model(history)
        yield* using(options, (ledger) =>
          Effect.gen(function* () {
            const answers = yield* atOnce(history.map((drafts) => ledger.appendAll(drafts)))
            assert.deepStrictEqual(answers.map(spoken), expected.answers)
            yield* assertSound(ledger)
          })
        )
        yield* assertHolds(directory, expected.rows)
        yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            const { replayed, skippedExisting } = yield* ledger.replay
            assert.deepStrictEqual([replayed, skippedExisting], [0, expected.rows.length])
          })
        )
      }),
    { arbitrary: { runs: 25 } }
  )

  const anyFault = Arbitrary.map(
    Arbitrary.all([
      Arbitrary.schema(Schema.Literals(["write", "sync", "truncate", "open", "stat"])),
      int(1, 12),
      int(1, 3),
      int(0, 900)
    ]),
    ([operation, nth, times, bytes]): faults.Fault => ({
      operation,
      path: ".jsonl",
      nth,
      times,
      bytes
    })
  )

  it.effect.prop(
    "on a disk that fails loses nothing acknowledged and keeps nothing refused",
    [Arbitrary.array(anyFault, { maxLength: 4 }), int(1, 5), int(1, 25), int(1, 5)],
    ([planned, groupRowsMax, count, size]) =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        const disk = yield* faults.make
        const appends = range(count).map((n) =>
          range((n % size) + 1).map((k) => named(`${n} ${k}`))
        )
        const options = { directory, disk, groupRowsMax, segmentBytesMax: 3_000 }
        const answers = yield* faults.using(options, (ledger) =>
          Effect.gen(function* () {
            for (const fault of planned) disk.fail(fault)
            const said = yield* atOnce(appends.map((drafts) => ledger.appendAll(drafts)))
            disk.mend()
            return said
          })
        )
        const fate = (tag: string) =>
          appends
            .filter((_, n) => (failureOf(answers[n])?._tag ?? "Appended") === tag)
            .flat()
            .map((draft) => draft.id)
        const [kept, unknown] = [fate("Appended"), fate("OutcomeUnknown")]
        yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            yield* assertSound(ledger)
            const ids = (yield* Stream.runCollect(ledger.events())).map((event) => event.id)
            assert.deepStrictEqual(
              ids.filter((id) => !unknown.includes(id)),
              kept
            )
            const again = yield* Effect.forEach(appends, (drafts) => ledger.appendAll(drafts))
            assert.isTrue(again.flat().every(({ seq }, n) => seq > 0 && n < 200))
            assert.strictEqual((yield* ledger.head).seq, appends.flat().length)
            yield* assertSound(ledger)
          })
        )
      }),
    { arbitrary: { runs: 30 } }
  )
})
