import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema, SchemaGetter } from "effect"
import * as Draft from "../../src/core/Draft.ts"
import * as Event from "../../src/core/Event.ts"
import * as EventId from "../../src/core/EventId.ts"
import * as Row from "../../src/core/Row.ts"
import * as Seal from "../../src/core/Seal.ts"
import * as Timestamp from "../../src/core/Timestamp.ts"

const options = {
  id: EventId.idFrom("default"),
  now: Timestamp.fromMillis(0)
}

/** The event that a ledger would hold of a draft. */
const stored = (draft: Draft.Draft): Event.Event => {
  const complete = Result.getOrThrow(Draft.complete(draft, options))
  const before = { seq: 6, leafHash: Row.zeroHash, id: null, eventHash: null }
  const group = Row.encode([Seal.seal(complete, null)], before, { format: "segments" })
  const line = group.bytes.subarray(0, group.rows[0]?.length)
  return Result.getOrThrow(Row.decode(line, 7, "segments")).event
}

const Posting = Schema.Struct({ account: Schema.String, cents: Schema.Int })
const V1 = Event.define("account.deposited.v1", Posting)
const V2 = Event.define(
  "account.deposited.v2",
  Schema.Struct({ ...Posting.fields, currency: Schema.String }),
  { keys: ({ account }) => ({ account }), upcast: [V1, (old) => ({ ...old, currency: "EUR" })] }
)
const V3 = Event.define(
  "account.deposited.v3",
  Schema.Struct({
    account: Schema.String,
    money: Schema.Struct({ cents: Schema.Int, in: Schema.String })
  }),
  { upcast: [V2, ({ account, cents, currency }) => ({ account, money: { cents, in: currency } })] }
)
const Order = Event.define("order.placed.v1", Schema.Struct({ order: Schema.String }), {
  id: ({ order }) => Event.idFrom(order)
})

const sides = (result: Result.Result<unknown, Event.EventUndecodable>) => {
  const { actual, expected, id, path, seq, type } = Result.getOrThrow(Result.flip(result))
  return { actual, expected, id, path, seq, type }
}

describe("Kind", () => {
  it("writes what its Schema encodes, and reads it back", () => {
    const At = Event.define(
      "clock.read.v1",
      Schema.Struct({
        at: Schema.Date,
        ticks: Schema.BigInt,
        note: Schema.optionalKey(Schema.String)
      })
    )
    const payload = { at: new Date(1_000), ticks: 12_345_678_901_234_567_890n }
    const draft = At.make(payload)
    assert.deepStrictEqual(draft, {
      type: "clock.read.v1",
      payload: { at: "1970-01-01T00:00:01.000Z", ticks: "12345678901234567890" }
    })
    const event = stored(draft)
    assert.strictEqual(
      event.payloadText,
      '{"at":"1970-01-01T00:00:01.000Z","ticks":"12345678901234567890"}'
    )
    const typed = Result.getOrThrow(Event.decode([At], event))
    assert.deepStrictEqual(typed, {
      type: "clock.read.v1",
      payload,
      seq: 7,
      event,
      position: { seq: 7, leafHash: event.leafHash }
    })
  })

  it("takes the rest of a draft from the envelope, and adds its keys to its own", () => {
    const draft = V2.make(
      { account: "a-1", cents: 5, currency: "EUR" },
      { sessionId: "s", keys: { by: "ada" } }
    )
    assert.deepStrictEqual(
      [draft.sessionId, draft.keys, draft.type],
      ["s", { account: "a-1", by: "ada" }, "account.deposited.v2"]
    )
    assert.notProperty(V1.make({ account: "a-1", cents: 5 }), "keys")
  })

  it("brings any older version up to date, a step at a time; the event stays as it is stored", () => {
    assert.deepStrictEqual(V3.types, [
      "account.deposited.v3",
      "account.deposited.v2",
      "account.deposited.v1"
    ])
    const first = stored(V1.make({ account: "a-1", cents: 5 }))
    const typed = Result.getOrThrow(Event.decode([Order, V3], first))
    assert.deepStrictEqual(
      [typed.type, typed.payload, typed.event.type, typed.event.payloadText],
      [
        "account.deposited.v3",
        { account: "a-1", money: { cents: 5, in: "EUR" } },
        "account.deposited.v1",
        '{"account":"a-1","cents":5}'
      ]
    )
    const second = stored(V2.make({ account: "a-1", cents: 5, currency: "CHF" }))
    assert.deepStrictEqual(Result.getOrThrow(Event.decode([V3], second)).payload, {
      account: "a-1",
      money: { cents: 5, in: "CHF" }
    })
    // The first kind that reads a type is asked.
    assert.strictEqual(Result.getOrThrow(Event.decode([V1, V3], first)).type, V1.type)
  })

  it("a payload that its Schema refuses is refused when the draft is completed, with its path", () => {
    const refused = (draft: Draft.Draft) => {
      const result = Draft.complete(draft, { ...options, index: 3 })
      const failure = Result.getOrThrow(Result.flip(result))
      assert.instanceOf(failure, Draft.DraftInvalid)
      const { actual, expected, index, path } = failure
      return { actual, expected, index, path }
    }
    const bad = V3.make({ account: "a-1", money: { cents: 0.5, in: "EUR" } })
    assert.deepStrictEqual(refused(bad), {
      index: 3,
      path: "/payload/money/cents",
      expected: "an integer",
      actual: "a number"
    })
    // What a Schema does not know would be dropped in silence.
    const more = { account: "a-1", cents: 1, "a/b": "secret" }
    assert.deepStrictEqual(refused(V1.make(more)), {
      index: 3,
      path: "/payload/a~1b",
      expected: "no excess property",
      actual: "a string"
    })
    const mended = { ...bad, payload: null }
    assert.isTrue(Result.isSuccess(Draft.complete(mended, options)))
  })

  it("an id of its own is that of the row, and another one is refused", () => {
    const draft = Order.make({ order: "17" })
    assert.strictEqual(draft.id, Event.idFrom("17"))
    assert.strictEqual(
      Order.make({ order: "17" }, { id: Event.idFrom("17") }).id,
      Event.idFrom("17")
    )
    const other = Draft.complete(Order.make({ order: "17" }, { id: Event.idFrom("18") }), options)
    assert.isTrue(Result.isFailure(other) && Reflect.get(other.failure, "path") === "/id")
    const event = stored(draft)
    assert.strictEqual(Result.getOrThrow(Event.decode([Order], event)).payload.order, "17")
    const forged = stored({ ...draft, id: Event.idFrom("18") })
    assert.deepStrictEqual(sides(Event.decode([Order], forged)), {
      seq: 7,
      id: Event.idFrom("18"),
      type: "order.placed.v1",
      path: "/id",
      expected: Event.idFrom("17"),
      actual: Event.idFrom("18")
    })
  })

  it("tells an event that no kind reads, and a payload that is another, without its content", () => {
    const event = stored({
      type: "account.deposited.v1",
      payload: { account: "a", cents: "secret" }
    })
    const where = { seq: 7, id: options.id, type: "account.deposited.v1" }
    assert.deepStrictEqual(sides(Event.decode([V3], event)), {
      ...where,
      path: "/payload/cents",
      expected: "number",
      actual: "a string"
    })
    assert.deepStrictEqual(sides(Event.decode([Order], event)), {
      ...where,
      path: "/type",
      expected: "order.placed.v1",
      actual: "account.deposited.v1"
    })
    assert.deepStrictEqual(sides(Order.read(event)), sides(Event.decode([Order], event)))
    const missing = stored({ type: "account.deposited.v1", payload: { account: "a" } })
    assert.deepInclude(sides(Event.decode([V3], missing)), {
      path: "/payload/cents",
      expected: "a value",
      actual: "nothing"
    })
    const none = stored({ type: "order.placed.v1" })
    assert.deepInclude(sides(Event.decode([Order], none)), { path: "/payload", actual: "null" })
  })

  it("refuses at once what can never be a kind", () => {
    assert.throws(() => Event.define("Nonsense", Posting), RangeError)
    assert.throws(
      () => Event.define("account.deposited.v1", Posting, { upcast: [V1, (old) => old] }),
      RangeError
    )
    const later = Event.define(
      "a.later.v1",
      Schema.String.pipe(
        Schema.decodeTo(Schema.String, {
          decode: SchemaGetter.transformEffect((text: string) => Effect.promise(async () => text)),
          encode: SchemaGetter.passthrough()
        })
      )
    )
    assert.throws(() => later.read(stored({ type: "a.later.v1", payload: "x" })))
  })
})
