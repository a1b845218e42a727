/**
 * Views against their model: whatever was done to a ledger, each table holds what the same fold makes
 * of the events that are there, in memory, without SQL.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as View from "../../../src/core/View.ts"
import { Ledger } from "../../../src/store/Ledger.ts"
import { Views } from "../../../src/store/views/Views.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { balances, Balance, Deposited, postings, views, visits, Withdrawn } from "../bank.ts"

const by = { operator: "ada", reason: "a wrong turn" }

const int = (minimum: number, maximum: number) =>
  Schema.Int.check(Schema.isBetween({ minimum, maximum }))

const Posting = Schema.Struct({
  account: Schema.Literals(["a", "b", "c"]),
  cents: int(1, 4),
  isDeposit: Schema.Boolean
})

const Change = Schema.Union([
  Schema.TaggedStruct("Append", {
    postings: Schema.Array(Posting).check(Schema.isMinLength(1), Schema.isMaxLength(4))
  }),
  Schema.TaggedStruct("Together", {
    postings: Schema.Array(Posting).check(Schema.isMinLength(2), Schema.isMaxLength(4))
  }),
  Schema.TaggedStruct("Other", {}),
  Schema.TaggedStruct("Checkpoint", {}),
  Schema.TaggedStruct("Rollback", { back: int(0, 2) }),
  Schema.TaggedStruct("Rebuild", {}),
  Schema.TaggedStruct("RebuildView", { view: int(0, 2) }),
  Schema.TaggedStruct("Replay", {})
])

/** The ledger is opened with all views but one, changed, and closed; its mirror may be lost then. */
const Session = Schema.Struct({
  without: int(0, 5),
  changes: Schema.Array(Change).check(Schema.isMaxLength(6)),
  losesMirror: int(0, 5)
})

const draftOf = ({ account, cents, isDeposit }: typeof Posting.Type) =>
  (isDeposit ? Deposited : Withdrawn).make({ account, cents })

const change = Effect.fnUntraced(function* (
  one: typeof Change.Type,
  declared: ReadonlyArray<View.Declared>
) {
  const ledger = yield* Ledger
  yield* TestClock.adjust("1 second")
  switch (one._tag) {
    case "Append":
      return yield* ledger.appendAll(one.postings.map(draftOf))
    case "Together":
      return yield* Effect.forEach(one.postings, (each) => ledger.append(draftOf(each)), {
        concurrency: "unbounded"
      })
    case "Other":
      return yield* ledger.append({ type: "other.v1" })
    case "Checkpoint":
      return yield* ledger.checkpoint("so far")
    case "Rollback": {
      const found = (yield* ledger.checkpoints).at(-1 - one.back)
      return found === undefined ? undefined : yield* ledger.rollback(found, by)
    }
    case "Rebuild":
      return yield* ledger.rebuild(by)
    case "RebuildView": {
      const view = declared[one.view]
      return view === undefined ? undefined : yield* Views.use((all) => all.rebuild(view))
    }
    case "Replay":
      return yield* ledger.replay
  }
})

const Rows = {
  balances: Schema.decodeUnknownSync(Schema.Array(Balance)),
  visits: Schema.decodeUnknownSync(
    Schema.Array(Schema.Struct({ account: Schema.String, millis: Schema.Int, seq: Schema.Int }))
  )
}

/** Every table holds what its model does, and says so when it is asked. */
const check = Effect.fnUntraced(function* (declared: ReadonlyArray<View.Declared>) {
  const ledger = yield* Ledger
  const events = yield* Stream.runCollect(ledger.events())
  const ask = (text: string) => ledger.query((sql) => sql.unsafe<object>(text))
  const isOf = (view: View.Declared) => declared.includes(view)
  if (isOf(balances)) {
    const model = View.table(balances, events).toSorted((a, b) => (a.account < b.account ? -1 : 1))
    const found = yield* ask("SELECT account, cents FROM balances ORDER BY account")
    assert.deepStrictEqual(Rows.balances(found), model)
  }
  if (isOf(postings)) {
    const found = yield* ask("SELECT account, at FROM postings ORDER BY seq, nth")
    assert.deepStrictEqual(
      found.map((row) => ({ ...row })),
      View.table(postings, events).map((row) => ({ ...row }))
    )
  }
  if (isOf(visits)) {
    const last = new Map<string, { account: string; millis: number; seq: number }>()
    for (const { keys, recordedAt, seq } of events) {
      const account = keys?.["account"]
      if (account !== undefined) last.set(account, { account, millis: Date.parse(recordedAt), seq })
    }
    const found = yield* ask("SELECT account, millis, seq FROM last_visit ORDER BY account")
    const model = [...last.values()].toSorted((a, b) => (a.account < b.account ? -1 : 1))
    assert.deepStrictEqual(Rows.visits(found), model)
  }
  const all = yield* Views
  for (const view of declared) {
    const report = yield* all.check(view)
    assert.isTrue(report.isDerived, JSON.stringify(report))
    assert.strictEqual(report.seq, events.length)
  }
})

describe("Views, after any history,", () => {
  it.effect.prop(
    "hold what their model makes of the events that are there",
    [Arbitrary.array(Arbitrary.schema(Session), { minLength: 1, maxLength: 4 })],
    ([sessions]) =>
      Effect.gen(function* () {
        const directory = path.join(yield* TestLedger.directory, "l")
        for (const [nth, { changes, losesMirror, without }] of sessions.entries()) {
          const declared = views.filter((_, at) => at !== without)
          yield* Effect.gen(function* () {
            for (const one of changes) {
              yield* change(one, declared)
              yield* check(declared)
            }
            yield* check(declared)
          }).pipe(Effect.provide(TestLedger.layer({ directory, views: declared, seed: nth + 1 })))
          if (losesMirror === 0) {
            for (const name of ["mirror.sqlite", "mirror.sqlite-wal", "mirror.sqlite-shm"]) {
              fs.rmSync(path.join(directory, name), { force: true })
            }
          }
        }
      }),
    { arbitrary: { runs: 25 } }
  )
})
