import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Result, Schema, Stream } from "effect"
import * as Chain from "../../../src/core/Chain.ts"
import type { Draft } from "../../../src/core/Draft.ts"
import type { Event, Position } from "../../../src/core/Event.ts"
import * as Policy from "../../../src/core/Policy.ts"
import type { Ledger } from "../../../src/store/Ledger.ts"
import * as LedgerModule from "../../../src/store/Ledger.ts"
import * as PolicyGate from "../../../src/store/writing/PolicyGate.ts"
import type { Query } from "../../../src/store/reading/Reader.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { assertLike, assertSound, named, using } from "../ledgerFixtures.ts"

const { headAt, noneSince } = LedgerModule
type Open = Ledger["Service"]

const by = { operator: "ada", reason: "a wrong turn" }

const all = (ledger: Open, query: Query = {}) => Stream.runCollect(ledger.events(query))

const within = <A, E>(body: (ledger: Open) => Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const directory = path.join(yield* TestLedger.directory, "l")
    return yield* using({ directory }, body)
  })

const int = (minimum: number, maximum: number) =>
  Schema.Int.check(Schema.isBetween({ minimum, maximum }))

const Host = Schema.Literals(["a", "b"])
const Kind = Schema.Literals(["t.x.v1", "t.y.v1"])

const Asked = Schema.Struct({
  types: Schema.optionalKey(Schema.Array(Kind)),
  host: Schema.optionalKey(Host),
  session: Schema.optionalKey(Host)
})

/** An append of one or two rows that expects something, of a position as old as `age` per cent. */
const Try = Schema.Struct({
  rows: Schema.Array(Schema.Struct({ type: Kind, host: Host, session: Host })).check(
    Schema.isMinLength(1),
    Schema.isMaxLength(2)
  ),
  expects: Schema.Literals(["head", "none", "several", "nothing"]),
  asked: Schema.Tuple([Asked, Asked]),
  age: int(0, 99)
})
type Try = typeof Try.Type

/** Appends that are handed in at once, and then perhaps a rollback. */
const Batch = Schema.Struct({ tries: Schema.Array(Try), back: int(0, 5) })

const filterOf = ({ host, session, types }: typeof Asked.Type) => ({
  types,
  sessionId: session,
  keys: host === undefined ? undefined : { host }
})

const passes = (event: Event, { host, session, types }: typeof Asked.Type): boolean =>
  (types === undefined || types.some((type) => type === event.type)) &&
  (host === undefined || event.keys?.["host"] === host) &&
  (session === undefined || event.sessionId === session)

const expectationOf = ({ asked: [one, other], expects }: Try, position: Position) =>
  expects === "head"
    ? headAt(position)
    : expects === "none"
      ? noneSince(filterOf(one), position)
      : expects === "several"
        ? noneSince([filterOf(one), filterOf(other)], position)
        : undefined

/** Whether a row is one that a try did not expect. */
const isAgainst =
  ({ asked: [one, other], expects }: Try, { seq }: Position) =>
  (event: Event): boolean =>
    event.seq > seq &&
    (expects === "head" || passes(event, one) || (expects === "several" && passes(event, other)))

describe("an append that expects something", () => {
  it.effect.prop(
    "is written if it is so when it is written, and else told what came between",
    [Arbitrary.array(Arbitrary.schema(Batch), { minLength: 1, maxLength: 8 })],
    ([batches]) =>
      within((ledger) =>
        Effect.gen(function* () {
          const known: Array<Position> = [Chain.start]
          const cut: Array<Position> = []
          const kept = yield* ledger.checkpoint("the beginning")
          let count = 0
          for (const { back, tries } of batches) {
            const made = tries.map((one) => {
              const position = known[Math.floor((one.age * known.length) / 100)] ?? Chain.start
              const drafts = one.rows.map(({ host, session, type }): Draft =>
                named(`row ${count++}`, { type, sessionId: session, keys: { host } })
              )
              return { one, position, drafts }
            })
            const answers = yield* Effect.all(
              made.map(({ drafts, one, position }) =>
                Effect.result(ledger.appendAll(drafts, { expect: expectationOf(one, position) }))
              ),
              { concurrency: "unbounded" }
            )
            const rows = yield* all(ledger)
            for (const [nth, { drafts, one, position }] of made.entries()) {
              const answer = answers[nth]
              if (answer === undefined) continue
              const against = rows.filter(isAgainst(one, position))
              if (Result.isSuccess(answer)) {
                const [first] = answer.success
                const isThere = answer.success.map(({ seq }) => rows[seq - 1]?.id)
                assert.deepStrictEqual(
                  isThere,
                  drafts.map(({ id }) => id)
                )
                if (one.expects === "nothing") continue
                assert.isUndefined(against.find(({ seq }) => seq < (first?.seq ?? 0)))
                continue
              }
              const error = answer.failure
              if (cut.includes(position)) {
                assert.include(["RolledBack", "ExpectationFailed"], error._tag)
              }
              if (error._tag === "RolledBack") continue
              assert(error._tag === "ExpectationFailed", String(error))
              assert.isAbove(error.events.length, 0)
              const told = against.slice(0, error.events.length)
              assert.deepStrictEqual(error.events, told)
              assert.strictEqual(error.head.leafHash, rows[error.head.seq - 1]?.leafHash)
              assert.isFalse(rows.some(({ id }) => drafts.some((draft) => draft.id === id)))
            }
            known.push(...rows.slice(-2).map(({ position }) => position))
            if (back === 0 && rows.length > 0) {
              yield* ledger.rollback(kept, by)
              cut.push(...known.slice(1))
            }
          }
          yield* assertSound(ledger)
        })
      ).pipe(Effect.scoped),
    { arbitrary: { runs: 15 } }
  )

  it.effect("keeps a counter for each key without a gap, whoever counts at once", () =>
    within((ledger) =>
      Effect.gen(function* () {
        const count = Effect.fnUntraced(
          function* (key: string) {
            const [last] = yield* all(ledger, { keys: { key }, last: 1 })
            const { leafHash, seq } = last ?? Chain.start
            const n = Number(Object(last?.payload)["n"] ?? 0) + 1
            const expect = noneSince({ keys: { key } }, { seq, leafHash })
            yield* ledger.append({ type: "counted.v1", payload: { n }, keys: { key } }, { expect })
          },
          Effect.retry({ while: (error) => error._tag === "ExpectationFailed" })
        )
        const keys = ["a", "b", "c"]
        const counting = Array.from({ length: 60 }, (_, n) => count(keys[n % 3] ?? "a"))
        yield* Effect.all(counting, { concurrency: 12 })
        for (const key of keys) {
          const rows = yield* all(ledger, { keys: { key } })
          assert.deepStrictEqual(
            rows.map(({ payload }) => Object(payload)["n"]),
            Array.from({ length: 20 }, (_, n) => n + 1)
          )
        }
      })
    )
  )

  it.effect("passes for one of all who saw the same head, and the others see its row", () =>
    within((ledger) =>
      Effect.gen(function* () {
        const answers = yield* Effect.all(
          ["a", "b", "c"].map((name) =>
            Effect.result(ledger.append(named(name), { expect: headAt(Chain.start) }))
          ),
          { concurrency: "unbounded" }
        )
        const passed = answers.filter(Result.isSuccess)
        assert.strictEqual(passed.length, 1)
        const head = yield* ledger.head
        const row = yield* ledger.get(1)
        for (const answer of answers) {
          if (Result.isSuccess(answer)) continue
          const error = answer.failure
          assert(error._tag === "ExpectationFailed")
          assert.deepStrictEqual(error.events, [row])
          assert.deepStrictEqual(
            { ...error.head, more: error.more },
            { seq: 1, leafHash: head.leafHash, more: false }
          )
          assert.match(error.message, /1 row came between, the first is row 1/)
        }
      })
    )
  )

  it.effect("is told a hundred rows at most, and that there are more", () =>
    within((ledger) =>
      Effect.gen(function* () {
        const drafts = Array.from({ length: 300 }, (_, n) =>
          named(`${n}`, { keys: { even: String(n % 2 === 0) } })
        )
        yield* ledger.appendAll(drafts)
        const told = Effect.fnUntraced(function* (expect: LedgerModule.Expectation) {
          const error = yield* Effect.flip(ledger.append(named("next"), { expect }))
          assert(error._tag === "ExpectationFailed", String(error))
          return [error.seqs.length, error.seqs[0], error.seqs.at(-1), error.more]
        })
        const { position } = yield* ledger.get(100)
        assert.deepStrictEqual(yield* told(headAt(position)), [100, 101, 200, true])
        const even = noneSince({ keys: { even: "true" } }, position)
        assert.deepStrictEqual(yield* told(even), [100, 101, 299, false])
        assert.deepStrictEqual(yield* told(noneSince({}, (yield* ledger.get(200)).position)), [
          100,
          201,
          300,
          false
        ])
        const none = noneSince([{ types: ["other.v1"] }, { types: [] }], position)
        assertLike(yield* ledger.append(named("next"), { expect: none }), { seq: 301 })
      })
    )
  )

  it.effect("is told a hundred rows of its own group too, and that there are more", () =>
    within((ledger) =>
      Effect.gen(function* () {
        const rows = Array.from({ length: 60 }, (_, n) => named(`row ${n}`))
        const { head } = ledger
        yield* ledger.appendAll(rows)
        const more = Array.from({ length: 60 }, (_, n) => named(`more ${n}`))
        const [, error] = yield* Effect.all(
          [
            ledger.appendAll(more),
            Effect.flip(ledger.append(named("late"), { expect: headAt(Chain.start) }))
          ],
          { concurrency: "unbounded" }
        )
        assert.strictEqual((yield* head).seq, 120)
        assert(error._tag === "ExpectationFailed")
        assert.deepStrictEqual(
          error.seqs,
          Array.from({ length: 100 }, (_, n) => n + 1)
        )
        assertLike(error, { more: true })
      })
    )
  )

  it.effect("answers what it answered before, whatever has come since", () =>
    within((ledger) =>
      Effect.gen(function* () {
        const expect = headAt(Chain.start)
        const drafts = [named("a"), named("b")]
        const receipts = yield* ledger.appendAll(drafts, { expect })
        yield* ledger.append(named("c"))
        const again = yield* ledger.appendAll(drafts, { expect })
        assert.deepStrictEqual(
          again.map(({ _tag, seq }) => [_tag, seq]),
          receipts.map(({ seq }) => ["AlreadyAppended", seq])
        )
        const conflict = ledger.append(named("a", { payload: 1 }), { expect })
        assertLike(yield* Effect.flip(conflict), { _tag: "IdConflict" })
        // One new row among known ones expects what it says.
        const grown = ledger.appendAll([...drafts, named("d")], { expect })
        assertLike(yield* Effect.flip(grown), { _tag: "ExpectationFailed", seqs: [1, 2, 3] })
        // Rows of its own are none that came between.
        const now = headAt(yield* ledger.head)
        const more = yield* ledger.appendAll([named("d"), named("e")], { expect: now })
        assert.deepStrictEqual(
          more.map(({ seq }) => seq),
          [4, 5]
        )
      })
    )
  )

  it.effect(
    "from a position that was cut is told where to go on, from another that it never was",
    () =>
      within((ledger) =>
        Effect.gen(function* () {
          const kept = yield* ledger.append(named("a"))
          const checkpoint = yield* ledger.checkpoint("here")
          const gone = yield* ledger.append(named("b"))
          yield* ledger.rollback(checkpoint, by)
          const { leafHash } = kept
          const grow = ledger.append(named("c"))
          for (const before of [Effect.void, grow]) {
            yield* before
            for (const expect of [headAt(gone), noneSince({ types: ["other.v1"] }, gone)]) {
              const error = yield* Effect.flip(ledger.append(named("d"), { expect }))
              const from = { seq: 2, leafHash: gone.leafHash }
              assertLike(error, { _tag: "RolledBack", from, to: { seq: 1, leafHash } })
            }
            const never = { seq: 1, leafHash: "0".repeat(64) }
            const beyond = { seq: 99, leafHash }
            for (const position of [never, beyond, { seq: 0, leafHash }]) {
              const error = yield* Effect.flip(
                ledger.append(named("d"), { expect: headAt(position) })
              )
              assertLike(error, { _tag: "PositionUnknown", seq: position.seq })
            }
          }
          assert.strictEqual((yield* ledger.head).seq, 2)
        })
      )
  )

  it.effect(
    "is asked before any gate, and counts the rows of a group that a gate refuses in no way",
    () =>
      Effect.gen(function* () {
        const directory = path.join(yield* TestLedger.directory, "l")
        const asked: Array<string> = []
        const gate = PolicyGate.gate({ id: "no.b" }, (draft) =>
          Effect.sync(() => {
            asked.push(draft.type)
            return draft.type === "b.v1" ? Policy.reject("no b") : Policy.allow("no b")
          })
        )
        yield* using({ directory, rules: [gate] }, (ledger) =>
          Effect.gen(function* () {
            const none = (name: string) => ({ expect: noneSince({ types: [name] }, Chain.start) })
            const answers = yield* Effect.all(
              [
                ledger.appendAll([{ type: "a.v1" }, { type: "b.v1" }]),
                ledger.appendAll([{ type: "c.v1" }], none("a.v1")),
                ledger.appendAll([{ type: "d.v1" }], none("c.v1")),
                ledger.appendAll([{ type: "e.v1" }], none("c.v1"))
              ].map((one) => Effect.result(one)),
              { concurrency: "unbounded" }
            )
            const tags = answers.map((one) =>
              Result.isSuccess(one) ? "written" : one.failure._tag
            )
            assert.deepStrictEqual(tags, [
              "PolicyRefused",
              "written",
              "ExpectationFailed",
              "ExpectationFailed"
            ])
            assert.notInclude(asked, "d.v1")
            const [, , third] = answers
            assert(third !== undefined && Result.isFailure(third))
            assertLike(third.failure, { seqs: [1] })
            yield* assertSound(ledger)
          })
        )
      })
  )

  it.effect("that is none is refused, and a position or filter that is none cannot be made", () =>
    within((ledger) =>
      Effect.gen(function* () {
        const expect = Object(Chain.start)
        const error = yield* Effect.flip(ledger.append(named("a"), { expect }))
        assertLike(error, { _tag: "DraftInvalid", path: "/expect" })
        assert.throws(() => headAt({ seq: 0.5, leafHash: "" }), RangeError)
        assert.throws(() => noneSince({ sessionId: Object(5) }, Chain.start), RangeError)
        assert.strictEqual((yield* ledger.head).seq, 0)
      })
    )
  )
})
