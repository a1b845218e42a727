import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Cause, Effect, Result, Schema, Stream } from "effect"
import * as Event from "../../../src/core/Event.ts"
import * as Timestamp from "../../../src/core/Timestamp.ts"
import type { Ledger } from "../../../src/store/Ledger.ts"
import type { Query, Reader } from "../../../src/store/reading/Reader.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { assertLike, meddle, named, query, using } from "../ledgerFixtures.ts"
import { asking } from "../trees.ts"

const int = (minimum: number, maximum: number) =>
  Schema.Int.check(Schema.isBetween({ minimum, maximum }))

const Type = Schema.Literals(["a.x.v1", "a.y.v1", "a.z.v1"])
const Session = Schema.Literals(["s-1", "s-2", "é\u{1f600}"])
const Value = Schema.Literals(["1", "2", "", "__proto__"])
const Name = Schema.Literals(["host", "rollout", "__proto__"])

/** Times that lie close together, before and after each other, some out of reach of a `Date`. */
const Time = Schema.Literals([
  "0000-01-01T00:00:00Z",
  "2026-03-17T09:41:07Z",
  "2026-03-17T09:41:07.000000001Z",
  "2026-03-17T09:41:07.1Z",
  "2026-03-17T10:41:07.100000002+01:00",
  "2026-03-17T09:41:08Z",
  "9999-12-31T23:59:59.999999999Z"
])

const Keys = Schema.Array(Schema.Tuple([Name, Value]))

const Row = Schema.Struct({
  type: Type,
  session: Schema.NullOr(Session),
  trace: Schema.NullOr(int(1, 3)),
  at: Time,
  keys: Keys
})

/** A row, or a rollback to a part of what is there. */
const Step = Schema.Struct({ row: Row, back: int(0, 30), part: int(0, 99) })

const Asked = Schema.Struct({
  types: Schema.optionalKey(Schema.Array(Type)),
  sessions: Schema.optionalKey(Schema.Array(Session)),
  traces: Schema.optionalKey(Schema.Array(int(1, 4))),
  keys: Schema.optionalKey(Schema.Array(Schema.Tuple([Name, Schema.Array(Value)]))),
  from: Schema.optionalKey(Time),
  before: Schema.optionalKey(Time),
  after: Schema.optionalKey(int(0, 99)),
  until: Schema.optionalKey(int(0, 99)),
  limit: Schema.optionalKey(int(0, 9)),
  last: Schema.optionalKey(int(0, 9)),
  path: Schema.optionalKey(int(0, 99))
})

type Row = typeof Row.Type
type Asked = typeof Asked.Type

const traceOf = (n: number) => `trc_0000000000000000000000000${n}`
const objectOf = <V>(entries: ReadonlyArray<readonly [string, V]>): { readonly [x: string]: V } =>
  Object.fromEntries(entries)

const draftOf = ({ at, keys, session, trace, type }: Row, name: string, parentId?: string) => ({
  ...named(name, { type, observedAt: at, sessionId: session, keys: objectOf(keys), parentId }),
  traceId: trace === null ? null : traceOf(trace)
})

const instant = (text: string) => Result.getOrThrow(Timestamp.parse(text))

const passes = (row: Row, asked: Asked): boolean => {
  const { before, from, keys = [], sessions, traces, types } = asked
  return (
    (types === undefined || types.includes(row.type)) &&
    (sessions === undefined || (row.session !== null && sessions.includes(row.session))) &&
    (traces === undefined || (row.trace !== null && traces.includes(row.trace))) &&
    [...new Map(keys)].every(([name, values]) => {
      const own = new Map(row.keys).get(name)
      return own !== undefined && values.includes(own)
    }) &&
    (from === undefined || Timestamp.compare(instant(row.at), instant(from)) >= 0) &&
    (before === undefined || Timestamp.compare(instant(row.at), instant(before)) < 0)
  )
}

/** A row as the test knows it; every third one goes on from the row two before it. */
interface Known {
  readonly seq: number
  readonly row: Row
  readonly parent: number | undefined
}

const expected = (known: ReadonlyArray<Known>, asked: Asked, part: (n: number) => number) => {
  const wanted = new Set<number>()
  if (asked.path !== undefined) {
    for (let at: number | undefined = part(asked.path); at !== undefined;) {
      wanted.add(at)
      at = known[at - 1]?.parent
    }
  }
  const rows = known.filter(
    ({ row, seq }) =>
      passes(row, asked) &&
      (asked.path === undefined || wanted.has(seq)) &&
      (asked.after === undefined || seq > part(asked.after)) &&
      (asked.until === undefined || seq <= part(asked.until))
  )
  const first = rows.slice(0, asked.limit ?? rows.length)
  return first.slice(Math.max(0, first.length - (asked.last ?? first.length))).map(({ seq }) => seq)
}

const queryOf = (asked: Asked): Query => ({
  types: asked.types,
  sessionId: asked.sessions?.length === 1 ? asked.sessions[0] : asked.sessions,
  traceId: asked.traces?.map((n) => traceOf(n).toLowerCase()),
  keys: asked.keys === undefined ? undefined : objectOf(asked.keys),
  observedFrom: asked.from,
  observedBefore: asked.before,
  limit: asked.limit,
  last: asked.last
})

const answer = Effect.fnUntraced(function* (
  reader: Reader["Service"],
  asked: Asked,
  part: (n: number) => number
) {
  const plain: Query = {
    ...queryOf(asked),
    after: asked.after === undefined ? undefined : (yield* reader.get(part(asked.after))).position,
    until: asked.until === undefined ? undefined : part(asked.until)
  }
  const events =
    asked.path === undefined ? reader.events(plain) : reader.path(part(asked.path), plain)
  return (yield* Stream.runCollect(events)).map(({ seq }) => seq)
})

const by = { operator: "ada", reason: "a wrong turn" }

/** Append rows in groups of two, now and then going back to a checkpoint; what is there then. */
const live = Effect.fnUntraced(function* (
  ledger: Ledger["Service"],
  steps: ReadonlyArray<typeof Step.Type>
) {
  let known: Array<Known & { readonly id: string }> = []
  const checkpoints: Array<{ readonly number: number; readonly size: number }> = []
  for (const [nth, { back, part, row }] of steps.entries()) {
    const to = checkpoints[Math.floor((part * checkpoints.length) / 100)]
    if (back === 0 && to !== undefined && to.size < known.length) {
      yield* ledger.rollback(to.number, by)
      known = known.slice(0, to.size)
      checkpoints.splice(checkpoints.findIndex(({ size }) => size > to.size) >>> 0)
    }
    const parent = nth % 3 === 0 ? known.at(-2) : undefined
    const draft = draftOf(row, `row ${nth}`, parent?.id)
    yield* ledger.append(draft)
    known.push({ seq: known.length + 1, row, parent: parent?.seq, id: draft.id ?? "" })
    if (part < 15) {
      const { number } = yield* ledger.checkpoint("here")
      checkpoints.push({ number, size: known.length })
    }
  }
  return known
})

describe("a query", () => {
  it.effect.prop(
    "answers what a model in memory answers, whatever is asked of whatever history",
    [
      Arbitrary.array(Arbitrary.schema(Step), { minLength: 1, maxLength: 50 }),
      Arbitrary.array(Arbitrary.schema(Asked), { minLength: 30, maxLength: 60 })
    ],
    ([steps, questions]) =>
      Effect.gen(function* () {
        const directory = path.join(yield* TestLedger.directory, "l")
        yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            const known = yield* live(ledger, steps)
            const part = (n: number) => 1 + Math.floor((n * known.length) / 100)
            yield* asking({ directory })(
              Effect.fnUntraced(function* (reader) {
                for (const asked of questions) {
                  const found = yield* answer(reader, asked, part)
                  const wanted = expected(known, asked, part)
                  assert.deepStrictEqual(found, wanted, JSON.stringify(asked))
                }
                const report = yield* reader.verify()
                assert.strictEqual(report._tag, "Intact", JSON.stringify(report))
              })
            )
          })
        )
      }).pipe(Effect.scoped),
    { arbitrary: { runs: 10 } }
  )

  it.effect("finds what is rare over many pages, forwards and backwards", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const count = 9_000
      const isRare = (seq: number) => seq % 1_000 === 7
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          const drafts = Array.from({ length: count }, (_, nth) =>
            named(`row ${nth + 1}`, {
              sessionId: "s",
              keys: { all: "1", ...(isRare(nth + 1) ? { rare: "1" } : {}) },
              // An hour of late rows in the middle.
              observedAt: Timestamp.fromMillis(
                1_767_225_600_000 + 1_000 * (nth > 5_000 && nth < 5_010 ? 4_000 : nth)
              )
            })
          )
          yield* ledger.appendAll(drafts)
          const seqs = (asked: Query) =>
            Effect.map(Stream.runCollect(ledger.events(asked)), (rows) =>
              rows.map(({ seq }) => seq)
            )
          const rare = Array.from({ length: 9 }, (_, n) => n * 1_000 + 7)
          const both = { keys: { all: "1", rare: ["1", "2"] }, sessionId: ["s", "t"] }
          assert.deepStrictEqual(yield* seqs(both), rare)
          assert.deepStrictEqual(yield* seqs({ ...both, last: 2 }), rare.slice(-2))
          assert.deepStrictEqual(yield* seqs({ ...both, limit: 4, last: 2 }), rare.slice(2, 4))
          const many = Array.from({ length: 50 }, (_, n) => `a.t${n}.v1`)
          assert.deepStrictEqual(yield* seqs({ types: many }), [])
          assert.strictEqual((yield* seqs({ types: [...many, "test.named.v1"] })).length, count)
          const late = {
            observedFrom: Timestamp.fromMillis(1_767_225_600_000 + 3_999_000),
            observedBefore: Timestamp.fromMillis(1_767_225_600_000 + 4_001_000)
          }
          const found = [4_000, 4_001, ...Array.from({ length: 9 }, (_, n) => 5_002 + n)]
          assert.deepStrictEqual(yield* seqs(late), found)
          assert.deepStrictEqual(yield* seqs({ ...late, last: 3 }), found.slice(-3))
          assert.deepStrictEqual(
            yield* seqs({ ...late, sessionId: "s", limit: 3 }),
            found.slice(0, 3)
          )
        })
      )
    })
  )

  it.effect(
    "of what no row can be answers nothing, and of what is no text or time is refused",
    () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            yield* ledger.append(named("a", { keys: { k: "\ufffd" }, sessionId: "\ufffd" }))
            const nobody: ReadonlyArray<Query<Event.AnyKind>> = [
              { keys: { k: "\ud800" } },
              { keys: { "\ud800": "x" } },
              { sessionId: "\udfff" },
              { sessionId: "a\0" },
              { sessionId: [] },
              { types: [] },
              { types: ["test.named.v1"], kinds: [Event.define("b.c.v1", Schema.Null)] },
              { traceId: "no trace" },
              { keys: { toString: "x" } }
            ]
            for (const asked of nobody) {
              assert.deepStrictEqual(yield* Stream.runCollect(ledger.events(asked)), [])
            }
            const refused: ReadonlyArray<Query> = [
              { observedFrom: "yesterday" },
              { observedBefore: "+10000-01-01T00:00:00Z" },
              { observedBefore: Object(5) },
              { sessionId: Object(5) },
              { keys: { k: [Object(5)] } }
            ]
            for (const asked of refused) {
              for (const stream of [ledger.events(asked), ledger.path(1, asked)]) {
                const cause = yield* Effect.flip(Effect.sandbox(Stream.runDrain(stream)))
                assert.match(String(cause), /RangeError: .* must be /)
              }
            }
          })
        )
      })
  )
})

describe("an index that says of a row what is not so", () => {
  const changes: {
    readonly [what: string]: readonly [statement: string, asked: Query<Event.AnyKind>]
  } = {
    type: ["UPDATE sealog_index SET event_type = 'b.b.v1'", { types: ["b.b.v1"] }],
    session: ["UPDATE sealog_index SET session_id = 'other'", { sessionId: "other" }],
    trace: ["UPDATE sealog_index SET trace_id = 'trc_1'", { traceId: "trc_1" }],
    "time observed": [
      "UPDATE sealog_index SET observed_at = '1971-01-01T00:00:00'; UPDATE sealog_times SET last = '1972'",
      { observedFrom: "1971-01-01T00:00:00Z" }
    ],
    "keys by a value": ["UPDATE sealog_keys SET value = 'other'", { keys: { k: "other" } }],
    "keys by a name": ["UPDATE sealog_keys SET name = 'other'", { keys: { other: "v" } }],
    "keys on a path": [
      "UPDATE sealog_keys SET value = 'other'",
      { keys: { k: "other" }, limit: 1 }
    ],
    "index row of": ["DELETE FROM sealog_index", { keys: { k: "v" } }],
    "type that kinds read": [
      "UPDATE sealog_index SET event_type = 'c.c.v1'",
      { kinds: [Event.define("c.c.v1", Schema.Null)] }
    ]
  }
  for (const [what, [statement, asked]] of Object.entries(changes)) {
    it.effect(`is told: the ${what} a row`, () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        const mirror = path.join(directory, "mirror.sqlite")
        yield* using({ directory }, (ledger) =>
          ledger.appendAll([named("a", { keys: { k: "v" }, sessionId: "s" }), named("b")])
        )
        const where = statement.includes("DELETE") ? " WHERE seq = 1" : ""
        meddle(mirror, ...statement.split("; ").map((one) => one + where))
        yield* asking({ directory })((reader) =>
          Effect.gen(function* () {
            const stream = what === "keys on a path" ? reader.path(1, asked) : reader.events(asked)
            const error = yield* Effect.flip(Stream.runDrain(stream))
            assertLike(error, { _tag: "RowDamaged", seq: 1, leg: "index" }, String(error))
            assert.strictEqual((yield* reader.verify())._tag, "Damaged")
          })
        )
      })
    )
  }

  it.effect(
    "typed reads come in pages too, and give what is before the event they cannot read",
    () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        const Count = Event.define("count.v1", Schema.Struct({ n: Schema.Int }))
        yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            yield* ledger.appendAll(Array.from({ length: 400 }, (_, n) => Count.make({ n })))
            yield* ledger.append({ type: Count.type, payload: { n: "many" } })
            yield* ledger.appendAll(Array.from({ length: 10 }, (_, n) => Count.make({ n })))
            const pages: Array<ReadonlyArray<number>> = []
            const failed = yield* ledger.events({ kinds: [Count] }).pipe(
              Stream.runForEachArray((page) =>
                Effect.sync(() => pages.push(page.map(({ payload }) => payload.n)))
              ),
              Effect.flip
            )
            assertLike(failed, { _tag: "EventUndecodable", seq: 401 })
            assert.deepStrictEqual(
              pages.flat(),
              Array.from({ length: 400 }, (_, n) => n)
            )
            assert.isBelow(pages.length, 5)
          })
        )
      })
  )

  it.effect("a page may have any limit that a query has", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.appendAll([named("a"), named("b")])
          for (const limit of [2, 3, Number.MAX_SAFE_INTEGER]) {
            const { events, next } = yield* ledger.page({ limit })
            assert.deepStrictEqual([events.length, next], [2, undefined])
          }
          // Of none it would answer that they are the last ones, or itself as what comes next.
          for (const limit of [0, -1, 1.5, Number.NaN, Infinity]) {
            for (const asked of [{ limit }, { limit, last: 1 }]) {
              const refused = yield* Effect.flip(Effect.sandbox(ledger.page(asked)))
              const said = `RangeError: limit must be a whole number above 0, not ${limit}`
              assert.strictEqual(String(Cause.squash(refused)), said)
            }
          }
          const refused = yield* Effect.flip(Effect.sandbox(ledger.page({ last: -1 })))
          assert.match(String(Cause.squash(refused)), /last must be a whole number, not -1/)
        })
      )
    })
  )

  it.effect("a mirror of before is brought up to what is asked now", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const mirror = path.join(directory, "mirror.sqlite")
      const at = ["2026-03-17T09:41:07Z", "2026-03-17T09:41:07.000000001Z"]
      yield* using({ directory }, (ledger) =>
        ledger.appendAll(at.map((observedAt, n) => named(`${n}`, { observedAt })))
      )
      const look = () => [
        query(mirror, "SELECT * FROM sealog_index"),
        query(mirror, "SELECT * FROM sealog_times")
      ]
      const before = look()
      meddle(
        mirror,
        "DROP TABLE sealog_times",
        "DROP INDEX sealog_index_type",
        "DROP INDEX sealog_index_session",
        "DROP INDEX sealog_index_trace",
        "ALTER TABLE sealog_index DROP COLUMN observed_at",
        "DROP TABLE sealog_views",
        "DELETE FROM sealog_migrations WHERE migration_id >= 4"
      )
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          const asked = { observedFrom: at[1] }
          assert.strictEqual(yield* Stream.runCount(ledger.events(asked)), 1)
          assert.strictEqual((yield* ledger.verify())._tag, "Intact")
        })
      )
      assert.deepStrictEqual(look(), before)
    })
  )
})
