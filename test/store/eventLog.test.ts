/**
 * What a control plane asks of its log, as its own tests had it, for any entries: seqs that only grow,
 * queries by host, rollout and kind in their order, entries of neither, times as they were given, and
 * nothing of what is no JSON.
 */
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Result, Schema } from "effect"
import type { Draft } from "../../src/core/Draft.ts"
import type { Event } from "../../src/core/Event.ts"
import type { Ledger } from "../../src/store/Ledger.ts"
import type { Query } from "../../src/store/reading/Reader.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { assertSound, using } from "./ledgerFixtures.ts"

const kinds = ["agent", "plan", "effect", "gate", "verify", "poll", "rollout"] as const

const int = (minimum: number, maximum: number) =>
  Schema.Int.check(Schema.isBetween({ minimum, maximum }))

const Entry = Schema.Struct({
  kind: Schema.Literals(kinds),
  /** Seconds; they need not be in the order of the entries. */
  at: int(0, 9),
  host: Schema.NullOr(Schema.Literals(["h1", "h2"])),
  rollout: Schema.NullOr(Schema.Literals(["r1", "r2"])),
  payload: Schema.Literals([
    '{"k":"a"}',
    "{}",
    "null",
    '{"outcome":"304"}',
    "not-json{",
    '{"k":',
    ""
  ])
})
type Entry = typeof Entry.Type

const timeOf = ({ at }: Entry) => `2026-05-16T01:00:0${at}.000000001Z`

const draftOf = (entry: Entry): Draft => ({
  type: `fleet.${entry.kind}.v1`,
  observedAt: timeOf(entry),
  payloadText: entry.payload,
  keys: {
    ...(entry.host === null ? {} : { host_id: entry.host }),
    ...(entry.rollout === null ? {} : { rollout_id: entry.rollout })
  }
})

const isJson = ({ payload }: Entry): boolean => {
  try {
    JSON.parse(payload)
    return true
  } catch {
    return false
  }
}

const said = ({ keys, observedAt, payloadText, seq, type }: Event) => [
  seq,
  type,
  observedAt,
  keys?.["host_id"] ?? null,
  keys?.["rollout_id"] ?? null,
  payloadText
]

/** Every page of a query, one after the other. */
const pages = Effect.fnUntraced(function* (ledger: Ledger["Service"], query: Query) {
  const found: Array<Event> = []
  let after = query.after
  for (;;) {
    const { events, next } = yield* ledger.page({ ...query, after })
    assert.isAtMost(events.length, query.limit ?? 100)
    found.push(...events)
    if (next === undefined) return found
    assert.strictEqual(events.length, query.limit ?? 100)
    after = next
  }
})

describe("a control plane's log", () => {
  it.effect.prop(
    "answers as a list of its entries would",
    [Arbitrary.array(Arbitrary.schema(Entry), { maxLength: 30 }), Arbitrary.schema(int(1, 7))],
    ([entries, limit]) =>
      Effect.gen(function* () {
        const directory = path.join(yield* TestLedger.directory, "l")
        yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            const kept: Array<Entry> = []
            assert.strictEqual((yield* ledger.head).seq, 0)
            for (const entry of entries) {
              const answer = yield* Effect.result(ledger.append(draftOf(entry)))
              if (isJson(entry)) {
                kept.push(entry)
                assert.strictEqual(Result.getOrThrow(answer).seq, kept.length)
              } else {
                assert(Result.isFailure(answer))
                assert.strictEqual(answer.failure._tag, "DraftInvalid")
              }
              assert.strictEqual((yield* ledger.head).seq, kept.length)
            }
            const rows = kept.map((entry, nth) => ({ entry, seq: nth + 1 }))
            const check = Effect.fnUntraced(function* (
              query: Query,
              holds: (entry: Entry) => boolean
            ) {
              const wanted = rows.flatMap(({ entry, seq }) =>
                holds(entry)
                  ? [
                      [
                        seq,
                        `fleet.${entry.kind}.v1`,
                        timeOf(entry),
                        entry.host,
                        entry.rollout,
                        entry.payload
                      ]
                    ]
                  : []
              )
              const all = yield* pages(ledger, { ...query, limit })
              assert.deepStrictEqual(all.map(said), wanted)
              const { events, next } = yield* ledger.page({ ...query, last: limit })
              assert.deepStrictEqual(events.map(said), wanted.slice(-limit))
              assert.isUndefined(next)
            })
            yield* check({}, () => true)
            for (const host of ["h1", "h2"]) {
              yield* check({ keys: { host_id: host } }, (entry) => entry.host === host)
            }
            for (const rollout of ["r1", "r2"]) {
              yield* check({ keys: { rollout_id: rollout } }, (entry) => entry.rollout === rollout)
            }
            for (const kind of kinds) {
              yield* check({ types: [`fleet.${kind}.v1`] }, (entry) => entry.kind === kind)
            }
            const [from, before] = ["2026-05-16T01:00:03Z", "2026-05-16T01:00:06.000000001Z"]
            yield* check(
              { observedFrom: from, observedBefore: before },
              ({ at }) => at >= 3 && at < 6
            )
            yield* assertSound(ledger)
          })
        )
      }),
    { arbitrary: { runs: 20 } }
  )
})
