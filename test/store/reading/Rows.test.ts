import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Deferred, Effect, Fiber, Schema, Stream } from "effect"
import * as Event from "../../../src/core/Event.ts"
import type { Ledger } from "../../../src/store/Ledger.ts"
import type { Query, Reader } from "../../../src/store/reading/Reader.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import * as faults from "../faults.ts"
import { assertLike, named, query, using } from "../ledgerFixtures.ts"
import type { Known } from "../trees.ts"
import { A1, A2, append, asking, B, draftOf, row } from "../trees.ts"

type Service = Reader["Service"]

const kinds = { a: [A2], b: [B], both: [B, A2], old: [A1], none: [] } as const
const types: { readonly [name in keyof typeof kinds]: ReadonlyArray<string> } = {
  a: ["tree.a.v1", "tree.a.v2"],
  b: ["tree.b.v1"],
  both: ["tree.a.v1", "tree.a.v2", "tree.b.v1"],
  old: ["tree.a.v1"],
  none: []
}

/** What a generated question asks, seqs as parts of the whole so that they fit any tree. */
const Asked = Schema.Struct({
  path: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 99 }))),
  after: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 99 }))),
  until: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 99 }))),
  segment: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 99 }))),
  leaves: Schema.optionalKey(Schema.Boolean),
  kinds: Schema.optionalKey(Schema.Literals(["a", "b", "both", "old", "none"])),
  limit: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 }))),
  last: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 })))
})
type Asked = typeof Asked.Type

/** For each row whether it goes on from the newest, from any earlier row, or begins a tree; a type. */
const Step = Schema.Tuple([
  Schema.Literals(["newest", "newest", "any", "root"]),
  Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 99 })),
  Schema.Literals(["tree.a.v1", "tree.a.v2", "tree.b.v1"])
])

const grow = (steps: ReadonlyArray<typeof Step.Type>): ReadonlyArray<Known> =>
  steps.map(([from, part, type], nth) => ({
    seq: nth + 1,
    id: Event.idFrom(`row ${nth + 1}`),
    type,
    parent:
      nth === 0 || from === "root"
        ? undefined
        : from === "newest"
          ? nth
          : 1 + Math.floor((part * nth) / 100)
  }))

/** The first seq of a segment, or now and then a seq beside it. */
const segmentOf = (segments: ReadonlyArray<number>, n: number): number =>
  (segments[n % segments.length] ?? 0) + (n % 5 === 0 ? 1 : 0)

/** The answer by its definition. `segments` are the first seqs of the segments. */
const expected = (
  known: ReadonlyArray<Known>,
  segments: ReadonlyArray<number>,
  asked: Asked,
  part: (n: number) => number
): ReadonlyArray<number> => {
  const wanted = new Set<number>()
  if (asked.path !== undefined) {
    for (let at: number | undefined = part(asked.path); at !== undefined;) {
      wanted.add(at)
      at = known[at - 1]?.parent
    }
  }
  const segment = asked.segment === undefined ? undefined : segmentOf(segments, asked.segment)
  const next = segments.find((first) => first > (segment ?? 0)) ?? known.length + 1
  const rows = known.filter(
    ({ seq, type }) =>
      (asked.path === undefined || wanted.has(seq)) &&
      (asked.after === undefined || seq > part(asked.after)) &&
      (asked.until === undefined || seq <= part(asked.until)) &&
      (segment === undefined || (segments.includes(segment) && seq >= segment && seq < next)) &&
      (asked.leaves !== true || !known.some(({ parent }) => parent === seq)) &&
      (asked.kinds === undefined || types[asked.kinds].includes(type))
  )
  const first = rows.slice(0, asked.limit ?? rows.length)
  return first
    .slice(asked.last === undefined ? 0 : Math.max(0, first.length - asked.last))
    .map(({ seq }) => seq)
}

const answer = Effect.fnUntraced(function* (
  reader: Service,
  segments: ReadonlyArray<number>,
  asked: Asked,
  part: (n: number) => number
) {
  const { after, until, segment, leaves, limit, last } = asked
  const plain = {
    after: after === undefined ? undefined : (yield* reader.get(part(after))).position,
    until: until === undefined ? undefined : part(until),
    segment: segment === undefined ? undefined : segmentOf(segments, segment),
    leaves,
    limit,
    last
  } satisfies Query
  const { path: leaf } = asked
  if (asked.kinds === undefined) {
    const events = leaf === undefined ? reader.events(plain) : reader.path(part(leaf), plain)
    return (yield* Stream.runCollect(events)).map(({ seq }) => seq)
  }
  const some: Query<typeof A1 | typeof A2 | typeof B> = { ...plain, kinds: kinds[asked.kinds] }
  const typed = leaf === undefined ? reader.events(some) : reader.path(part(leaf), some)
  const found = yield* Stream.runCollect(typed)
  for (const { event, payload, position, seq, type } of found) {
    assert.strictEqual(payload.name, `row ${seq}`)
    assert.deepStrictEqual([position, event.seq], [event.position, seq])
    if (type === "tree.a.v2") assert.isDefined(Reflect.get(payload, "by"))
    else assert.strictEqual(type, event.type)
  }
  return found.map(({ seq }) => seq)
})

const firstSeqs = (mirror: string): ReadonlyArray<number> =>
  query(
    mirror,
    "SELECT DISTINCT min(seq) AS first FROM sealog_index GROUP BY segment ORDER BY 1"
  ).map(({ first }) => Number(first))

describe("Rows", () => {
  it.effect.prop(
    "answers what a model in memory answers, whatever is asked of whatever tree",
    [
      Arbitrary.array(Arbitrary.schema(Step), { minLength: 1, maxLength: 40 }),
      Arbitrary.array(Arbitrary.schema(Asked), { minLength: 20, maxLength: 40 })
    ],
    ([steps, questions]) =>
      Effect.gen(function* () {
        const directory = path.join(yield* TestLedger.directory, "l")
        const known = grow(steps)
        yield* append(known).pipe(
          Effect.provide(TestLedger.layer({ directory, segmentBytesMax: 1_500 }))
        )
        const segments = firstSeqs(path.join(directory, "mirror.sqlite"))
        const part = (n: number) => 1 + Math.floor((n * known.length) / 100)
        yield* asking({ directory })(
          Effect.fnUntraced(function* (reader) {
            for (const asked of questions) {
              const found = yield* answer(reader, segments, asked, part)
              assert.deepStrictEqual(
                found,
                expected(known, segments, asked, part),
                JSON.stringify(asked)
              )
            }
            assert.deepStrictEqual(yield* reader.summary, {
              count: known.length,
              firstSeq: 1,
              lastSeq: known.length,
              lastId: known.at(-1)?.id ?? null,
              segments: segments.length
            })
          })
        )
      }).pipe(Effect.scoped),
    { arbitrary: { runs: 12 } }
  )

  it.effect("of an empty ledger answers nothing, and says so", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          for (const asked of [{}, { leaves: true }, { segment: 1 }, { kinds: [B] }, { last: 3 }]) {
            assert.deepStrictEqual(yield* Stream.runCollect(ledger.events(asked)), [])
          }
          const nobody = yield* Effect.flip(Stream.runCollect(ledger.path(Event.idFrom("x"))))
          assertLike(nobody, { _tag: "EventNotFound", ref: Event.idFrom("x") })
          assert.deepStrictEqual(yield* ledger.summary, {
            count: 0,
            firstSeq: 0,
            lastSeq: 0,
            lastId: null,
            segments: 0
          })
        })
      )
    })
  )

  it.effect("one file in Cortex mode is segment 0, and no other", () =>
    Effect.gen(function* () {
      const file = path.join(yield* TestLedger.directory, "log.jsonl")
      const type = "cortex.event.system_note.v1"
      yield* using({ file }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.appendAll([
            named("a", { type }),
            named("b", { type }),
            named("c", { type })
          ])
          const seqs = (segment: number) =>
            Effect.map(Stream.runCollect(ledger.events({ segment })), (rows) =>
              rows.map(({ seq }) => seq)
            )
          assert.deepStrictEqual(yield* seqs(0), [1, 2, 3])
          assert.deepStrictEqual(yield* seqs(1), [])
          assertLike(yield* ledger.summary, { count: 3, segments: 1 })
        })
      )
    })
  )

  it.effect("leaves are those of the moment when the stream begins", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          const known = Array.from({ length: 300 }, (_, nth) => row(nth + 1, undefined))
          yield* ledger.appendAll(known.map((one) => draftOf(known, one)))
          const child = ledger.append(named("child", { parentId: known[299]?.id }))
          const heard: Array<number> = []
          yield* ledger.events({ leaves: true }).pipe(
            Stream.runForEach(({ seq }) => {
              heard.push(seq)
              return seq === 1 ? child : Effect.void
            })
          )
          assert.strictEqual(heard.length, 300)
          const later = yield* Stream.runCollect(ledger.events({ leaves: true, last: 2 }))
          assert.deepStrictEqual(
            later.map(({ seq }) => seq),
            [299, 301]
          )
        })
      )
    })
  )

  it.effect("hands out what can be decoded before it tells what cannot", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(B.make({ name: "one" }))
          const more = { name: "", more: 1 }
          yield* ledger.append({ type: B.type, payload: { name: 2 } })
          const refused = yield* Effect.flip(ledger.append(B.make(more)))
          assertLike(refused, { _tag: "DraftInvalid", path: "/payload/more" })
          const heard: Array<string> = []
          const error = yield* ledger.events({ kinds: [B] }).pipe(
            Stream.runForEach(({ payload }) => Effect.sync(() => heard.push(payload.name))),
            Effect.flip
          )
          assert.deepStrictEqual(heard, ["one"])
          assertLike(error, { _tag: "EventUndecodable", seq: 2, path: "/payload/name" })
        })
      )
    })
  )

  it.effect("a number that is none is a broken precondition", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(named("a"))
          for (const asked of [
            { limit: -1 },
            { last: 0.5 },
            { until: Number.NaN },
            { segment: -1 }
          ]) {
            for (const stream of [ledger.events(asked), ledger.path(1, asked)]) {
              const cause = yield* Effect.flip(Effect.sandbox(Stream.runDrain(stream)))
              assert.match(String(cause), /must be a whole number/)
            }
          }
        })
      )
    })
  )

  it.effect("long paths, many leaves and rare types are found over many pages", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const count = 5_000
      const isSpur = (seq: number) => seq % 1_000 === 0
      const known = Array.from({ length: count }, (_, nth): Known => {
        const seq = nth + 1
        const before = isSpur(seq - 1) ? seq - 2 : seq - 1
        return {
          seq,
          id: Event.idFrom(`row ${seq}`),
          type: isSpur(seq) ? "tree.b.v1" : "tree.a.v1",
          parent: seq === 1 ? undefined : before
        }
      })
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.appendAll(known.map((row) => draftOf(known, row)))
          const tip = count - 1
          const seqs = <E>(stream: Stream.Stream<{ readonly seq: number }, E>) =>
            Effect.map(Stream.runCollect(stream), (rows) => rows.map(({ seq }) => seq))
          const trunk = known.flatMap(({ seq }) => (isSpur(seq) ? [] : [seq]))
          const leaf = known[tip - 1]?.id ?? ""
          assert.deepStrictEqual(yield* seqs(ledger.path(leaf)), trunk)
          assert.deepStrictEqual(yield* seqs(ledger.path(tip, { last: 3 })), trunk.slice(-3))
          const spurs = [1_000, 2_000, 3_000, 4_000, 5_000]
          assert.deepStrictEqual(yield* seqs(ledger.events({ leaves: true })), spurs)
          const newest = ledger.events({ leaves: true, last: 3 })
          assert.deepStrictEqual(yield* seqs(newest), spurs.slice(-3))
          const rare = ledger.events({ kinds: [B], limit: 4, last: 3 })
          assert.deepStrictEqual(yield* seqs(rare), [2_000, 3_000, 4_000])
        })
      )
    })
  )
})

describe("a rollback behind a stream that is read", () => {
  const by = { operator: "ada", reason: "a wrong turn" }
  const count = 600

  /** A chain of rows with a checkpoint after row `at`. */
  const chained = Effect.fnUntraced(function* (ledger: Ledger["Service"], at: number) {
    const known = Array.from({ length: count }, (_, nth) =>
      row(nth + 1, nth === 0 ? undefined : nth, "tree.b.v1")
    )
    yield* ledger.appendAll(known.slice(0, at).map((row) => draftOf(known, row)))
    const checkpoint = yield* ledger.checkpoint("here")
    yield* ledger.appendAll(known.slice(at).map((row) => draftOf(known, row)))
    return checkpoint
  })

  /** What was heard until the stream ended, and how it ended; at row 2 something happens. */
  const hearing = Effect.fnUntraced(function* <A extends { readonly seq: number }, E, E2>(
    stream: Stream.Stream<A, E>,
    happens: Effect.Effect<unknown, E2>
  ) {
    const heard: Array<number> = []
    const error = yield* Effect.flip(
      Stream.runForEach(stream, ({ seq }) => {
        heard.push(seq)
        return seq === 2 ? happens : Effect.void
      })
    )
    return { heard, error }
  })

  type Heard = Stream.Stream<{ readonly seq: number }, { readonly _tag: string }>
  const streams: { readonly [name: string]: (reader: Service) => Heard } = {
    events: (reader) => reader.events(),
    "events by kind": (reader) => reader.events({ kinds: [B] }),
    path: (reader) => reader.path(count)
  }

  for (const [name, stream] of Object.entries(streams)) {
    for (const [at, grown] of [
      [100, 0],
      [400, count]
    ] as const) {
      it.effect(`ends ${name}: back to row ${at}, then ${grown} other rows`, () =>
        Effect.gen(function* () {
          const directory = yield* TestLedger.directory
          yield* using({ directory }, (ledger) =>
            Effect.gen(function* () {
              const checkpoint = yield* chained(ledger, at)
              const happens = Effect.gen(function* () {
                yield* ledger.rollback(checkpoint, by)
                const others = Array.from({ length: grown }, (_, n) => named(`other ${n}`))
                if (grown > 0) yield* ledger.appendAll(others)
              })
              const from = (yield* ledger.head).leafHash
              const page = (yield* ledger.get(256)).position
              yield* asking({ directory })(
                Effect.fnUntraced(function* (reader) {
                  const { error, heard } = yield* hearing(stream(reader), happens)
                  assert.deepStrictEqual(
                    heard,
                    Array.from({ length: 256 }, (_, nth) => nth + 1)
                  )
                  // What was heard beyond the checkpoint is to be forgotten; nothing unheard is skipped.
                  const to = at < 256 ? checkpoint.position : page
                  assertLike(error, {
                    _tag: "RolledBack",
                    from: { seq: count, leafHash: from },
                    to: { seq: to.seq, leafHash: to.leafHash }
                  })
                })
              )
            })
          )
        })
      )
    }
  }

  it.effect("ends it by name while the rollback is still on its way", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const disk = yield* faults.make
      const [reached, gone] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      yield* faults.using({ directory, disk }, (ledger) =>
        Effect.gen(function* () {
          const checkpoint = yield* chained(ledger, 100)
          const until = Effect.andThen(Deferred.succeed(reached, undefined), Deferred.await(gone))
          disk.fail({ operation: "open", path: "0000000000000101.jsonl", until, times: 1 })
          yield* asking({ directory })(
            Effect.fnUntraced(function* (reader) {
              const rolling = yield* Effect.forkChild(
                Effect.andThen(Deferred.await(reached), reader.head).pipe(
                  Effect.tap(({ seq }) => Effect.sync(() => assert.strictEqual(seq, 100)))
                )
              )
              const happens = Effect.andThen(
                Effect.forkDetach(ledger.rollback(checkpoint, by)),
                Fiber.join(rolling)
              )
              const { error } = yield* hearing(reader.events(), happens)
              assertLike(error, { _tag: "RolledBack" }, String(error))
            })
          ).pipe(Effect.ensuring(Deferred.succeed(gone, undefined)))
          // The next group waits for the rollback.
          assertLike(yield* ledger.append(named("after it")), { seq: 101 })
        })
      )
    })
  )
})
