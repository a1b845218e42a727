import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Result, Schema } from "effect"
import * as Event from "../../src/core/Event.ts"
import * as Draft from "../../src/core/Draft.ts"
import * as Row from "../../src/core/Row.ts"
import * as Seal from "../../src/core/Seal.ts"
import * as Arbitraries from "../../src/testing/Arbitraries.ts"
import { errorOf, ledgerOf, linesOf, now, text } from "./history.ts"

const id = Event.idFrom("event")
const parentId = Event.idFrom("parent")
const traceId = "trc_01KGE3HWGSVGR373D9ST0BDJ94"
const userMessage = "cortex.event.user_message.v1"

const completed = (draft: Draft.Draft, options: Partial<Draft.CompleteOptions> = {}) =>
  Result.getOrThrow(Draft.complete(draft, { id, now, ...options }))

/** `complete` as JavaScript may call it: with anything at all. */
const refused = (draft: object, options: Partial<Draft.CompleteOptions> = {}) => {
  const error = errorOf(Draft.complete(draft as Draft.Draft, { id, now, index: 7, ...options }))
  assert.instanceOf(error, Draft.DraftInvalid)
  assert.strictEqual(error.index, 7)
  return error.path
}

const draft = (members: object): object => ({ type: "a.v1", ...members })

/** An object whose own member `__proto__` is the value, as JSON text makes it. */
const withProto = (value: unknown): object =>
  Object.defineProperty({}, "__proto__", { value, enumerable: true })

const refusals: ReadonlyArray<readonly [path: string, draft: object]> = [
  ["", []],
  ["/type", {}],
  ["/type", { type: null }],
  ["/type", { type: "" }],
  ["/type", { type: "a" }],
  ["/type", { type: "a.v0" }],
  ["/type", { type: "a.v01" }],
  ["/type", { type: "A.v1" }],
  ["/type", { type: "a..v1" }],
  ["/type", { type: ".v1" }],
  ["/type", { type: "a.v1\n" }],
  ["/type", { type: "a.v1\0" }],
  ["/type", { type: "é.v1" }],
  ["/type", { type: `${"a.".repeat(17)}v1` }],
  ["/type", { type: `${"a".repeat(65)}.v1` }],
  ["/seq", draft({ seq: 1 })],
  ["/event_hash", draft({ event_hash: "" })],
  ["/constructor", draft({ constructor: "x" })],
  ["/__proto__", Object.assign(withProto("x"), { type: "a.v1" })],
  ["/a~1b~0", draft({ "a/b~": 1 })],
  ["/payloadText", draft({ payload: 1, payloadText: "1" })],
  ["/payloadText", draft({ payload: null, payloadText: "null" })],
  ["/payloadText", draft({ payloadText: null })],
  ["/payloadText", draft({ payloadText: '"\ud800"' })],
  ["/payload", draft({ payloadText: "" })],
  ["/payload", draft({ payloadText: "1 2" })],
  ["/payload", draft({ payloadText: "\ufeff1" })],
  ["/payload/a", draft({ payloadText: '{"a":1,"\\u0061":2}' })],
  ["/payload/0", draft({ payloadText: "[1e400]" })],
  ["/payload", draft({ payload: () => 1 })],
  ["/payload/a", draft({ payload: { a: undefined } })],
  ["/payload/a/0", draft({ payload: { a: [Number.NaN] } })],
  ["/payload/a", draft({ payload: { a: 1n } })],
  ["/payload/a", draft({ payload: { a: "\ud800" } })],
  [`/payload${"/0".repeat(126)}`, draft({ payloadText: "[".repeat(127) + "]".repeat(127) })],
  ["/id", draft({ id: null })],
  ["/id", draft({ id: "" })],
  ["/id", draft({ id: traceId })],
  ["/id", draft({ id: `${id}0` })],
  ["/id", draft({ id: id.replace(/.$/, "U") })],
  ["/traceId", draft({ traceId: id })],
  ["/traceId", draft({ traceId: "" })],
  ["/traceId", draft({ traceId: 1 })],
  ["/parentId", draft({ parentId: null })],
  ["/parentId", draft({ parentId: "evt_" })],
  ["/observedAt", draft({ observedAt: "" })],
  ["/observedAt", draft({ observedAt: "yesterday" })],
  ["/observedAt", draft({ observedAt: new Date(0) })],
  ["/observedAt", draft({ observedAt: "2026-02-30T00:00:00Z" })],
  ["/observedAt", draft({ observedAt: "+10000-01-01T00:00:00Z" })],
  ["/observedAt", draft({ observedAt: "9999-12-31T23:59:59-00:01" })],
  ["/recordedAt", draft({ recordedAt: "-0001-01-01T00:00:00Z" })],
  ["/recordedAt", draft({ recordedAt: null })],
  ["/source", draft({ source: null })],
  ["/source", draft({ source: "user" })],
  ["/source", draft({ source: ["user"] })],
  ["/source", draft({ source: {} })],
  ["/source/type", draft({ source: { type: 0 } })],
  ["/source", draft({ source: { type: "constructor" } })],
  ["/source", draft({ source: { type: "tool" } })],
  ["/source", draft({ source: { type: "user", name: "x" } })],
  ["/source", draft({ source: { type: "tool", name: "x", model: "y" } })],
  ["/source/name", draft({ source: { type: "tool", name: 1 } })],
  ["/source/model", draft({ source: { type: "child_agent", model: "\udc00" } })],
  ["/sessionId", draft({ sessionId: 1 })],
  ["/sessionId", draft({ sessionId: "a\0" })],
  ["/sessionId", draft({ sessionId: "\udc00" })],
  ["/domainTags", draft({ domainTags: null })],
  ["/domainTags", draft({ domainTags: "a" })],
  ["/domainTags", draft({ domainTags: { length: 0 } })],
  ["/domainTags/1", draft({ domainTags: ["a", 1] })],
  ["/domainTags/0", draft({ domainTags: Array.from({ length: 1 }) })],
  ["/domainTags/2", draft({ domainTags: ["a", "b", "\ud800"] })],
  ["/keys", draft({ keys: null })],
  ["/keys", draft({ keys: [] })],
  ["/keys", draft({ keys: ["a"] })],
  ["/keys/a", draft({ keys: { a: 1 } })],
  ["/keys/a", draft({ keys: { a: undefined } })],
  ["/keys/a", draft({ keys: { a: "x\0" } })],
  ["/keys/a", draft({ keys: { a: "\ud800" } })],
  ["/keys/a~1b", draft({ keys: { "a/b": 1 } })],
  ["/keys", draft({ keys: { "\0": "x" } })],
  ["/keys", draft({ keys: { "\ud800": "x" } })],
  ["/keys/__proto__", draft({ keys: withProto({ a: "x" }) })],
  ["/schemaVersion", draft({ schemaVersion: 0 })],
  ["/schemaVersion", draft({ schemaVersion: 3 })],
  ["/schemaVersion", draft({ schemaVersion: "2" })],
  ["/schemaVersion", draft({ schemaVersion: Number.NaN })],
  ["/schemaVersion", draft({ schemaVersion: null })],
  ["/schemaVersion", draft({ schemaVersion: { toString: 1, valueOf: 1 } })],
  // Only own members are written, so only they count.
  ["/source", draft({ source: Object.create({ type: "runtime" }) })],
  ["/source", draft({ source: Object.assign(Object.create({ name: "grep" }), { type: "tool" }) })]
]

const cortexRefusals: ReadonlyArray<readonly [path: string, draft: object]> = [
  ["/type", { type: "a.v1" }],
  ["/type", { type: "cortex.event.dream.v1" }],
  ["/payload/x", { type: userMessage, payloadText: '{"x":9007199254740993.5}' }],
  ["/payload/0", { type: userMessage, payloadText: "[18446744073709551616]" }]
]

/** Names whose own order in an object, in UTF-16 and in UTF-8 all differ. */
const awkwardKeys = Object.assign(withProto("p"), {
  "10": "ten",
  "9": "nine",
  "\u{10000}": "astral",
  "\ue000": "private",
  constructor: "c",
  "": "empty"
}) as Event.Keys

describe("Draft", () => {
  it("complete fills in every default", () => {
    assert.deepStrictEqual(completed({ type: "a.v1" }), {
      id,
      schemaVersion: 2,
      observedAt: now,
      recordedAt: now,
      source: { type: "runtime" },
      type: "a.v1",
      traceId: null,
      sessionId: null,
      domainTags: [],
      payloadText: completed({ type: "a.v1", payloadText: "null" }).payloadText,
      parentId: undefined,
      keys: undefined
    })
    const undefinedEverywhere = {
      type: "a.v1",
      payload: undefined,
      payloadText: undefined,
      id: undefined,
      observedAt: undefined,
      recordedAt: undefined,
      source: undefined,
      traceId: undefined,
      sessionId: undefined,
      domainTags: undefined,
      parentId: undefined,
      keys: undefined,
      schemaVersion: undefined
    }
    assert.deepStrictEqual(completed(undefinedEverywhere), completed({ type: "a.v1" }))
    assert.deepStrictEqual(completed({ type: "a.v1", keys: {} }), completed({ type: "a.v1" }))
    assert.strictEqual(completed({ type: "a.v1", payload: null }).payloadText, "null")
  })

  it("complete takes what the draft says, ids and times in their one spelling", () => {
    const full: object = completed({
      type: "a.b_c.d9.v12",
      payloadText: ' {"b": 1.50, "a": 12345678901234567890123} ',
      id: parentId.toLowerCase(),
      observedAt: "2026-04-01 12:00:00.123456789+02:00",
      recordedAt: "2026-04-01T10:00:60Z",
      source: { type: "child_agent", model: "m" },
      traceId: "trc_01kge3hwgsvgr373d9st0bdj94",
      sessionId: "",
      domainTags: ["b", "a", "b", "\0"],
      parentId: parentId.toLowerCase(),
      keys: { b: "2", a: "1" },
      schemaVersion: 1
    })
    assert.deepInclude(full, {
      id: parentId,
      observedAt: "2026-04-01T10:00:00.123456789Z",
      recordedAt: "2026-04-01T10:00:60Z",
      source: { type: "child_agent", model: "m" },
      type: "a.b_c.d9.v12",
      traceId,
      sessionId: "",
      domainTags: ["b", "a", "b", "\0"],
      payloadText: '{"a":12345678901234567890123,"b":1.5}',
      parentId,
      schemaVersion: 1
    })
    assert.deepInclude(full, { keys: { a: "1", b: "2" } })
  })

  for (const [nth, [path, bad]] of refusals.entries()) {
    it(`complete refuses ${nth}: ${path || "no object"}`, () => {
      assert.strictEqual(refused(bad), path)
    })
  }

  for (const [nth, [path, bad]] of cortexRefusals.entries()) {
    it(`complete refuses in Cortex mode ${nth}: ${path}`, () => {
      assert.strictEqual(refused(bad, { mode: "cortex" }), path)
    })
  }

  it("complete takes Cortex's ten types in both modes, numbers only as the mode keeps them", () => {
    for (const type of Event.cortexTypes) {
      assert.strictEqual(completed({ type }, { mode: "cortex" }).type, type)
      assert.strictEqual(completed({ type }).type, type)
    }
    assert.strictEqual(Event.cortexTypes.size, 10)
    const long = { type: userMessage, payloadText: "9007199254740993.5" }
    assert.strictEqual(completed(long).payloadText, "9007199254740993.5")
    assert.strictEqual(refused(long, { numbers: "cortex" }), "/payload")
    assert.strictEqual(refused(long, { numbers: "lossless", mode: "cortex" }), "/payload")
  })

  it("complete names a long or broken value without breaking the message", () => {
    const error = errorOf(Draft.complete({ type: "😀".repeat(1000) }, { id, now }))
    assert.instanceOf(error, Draft.DraftInvalid)
    assert.isTrue(error.message.isWellFormed())
    assert.isBelow(error.message.length, 300)
    assert.include(error.message, "draft 0")
    const unknown = errorOf(Draft.complete({ type: "a.v1", ["\ud800"]: 1 } as never, { id, now }))
    assert.isTrue(unknown.message.isWellFormed())
  })

  it("complete is not changed by what happens to the draft afterwards", () => {
    const domainTags = ["a"]
    const keys = { a: "b" }
    const source = { type: "tool" as const, name: "x" }
    const payload = { a: [1] }
    const full = completed({ type: "a.v1", domainTags, keys, source, payload })
    domainTags.push("b")
    keys.a = "c"
    source.name = "y"
    payload.a.push(2)
    const again = completed({
      type: "a.v1",
      domainTags: ["a"],
      keys: { a: "b" },
      source: { type: "tool", name: "x" },
      payload: { a: [1] }
    })
    assert.deepStrictEqual(full, again)
  })

  it("keys of any name reach the row, sorted by UTF-8 bytes", () => {
    const { keys } = completed({ type: "a.v1", keys: awkwardKeys })
    const wanted =
      '{"":"empty","10":"ten","9":"nine","__proto__":"p","constructor":"c",' +
      '"\ue000":"private","\u{10000}":"astral"}'
    assert.strictEqual(Row.keysText(keys ?? {}), wanted)
    const order = ["9", "10", "", "__proto__", "constructor", "\ue000", "\u{10000}"]
    assert.deepStrictEqual(Object.keys(keys ?? {}), order)
    const { bytes } = ledgerOf([[{ type: "a.v1", keys: awkwardKeys }]])
    assert.include(text(bytes), `"keys":${wanted}`)
    const [line] = linesOf(bytes)
    assert.isDefined(line)
    const { event } = Result.getOrThrow(Row.decode(line.bytes, 1, "segments"))
    assert.strictEqual(Row.keysText(event.keys ?? {}), wanted)
    assert.strictEqual(Object.getPrototypeOf(event.keys), Object.prototype)
  })

  const manyBytes = Arbitrary.map(Arbitraries.text, (text) => text.repeat(20))

  it.prop(
    "the size that PayloadTooLarge states is never less than that of the row",
    [Arbitraries.draft, manyBytes, Schema.Boolean],
    ([drawn, long, isLong]) => {
      const draft: Draft.Draft = {
        ...drawn,
        parentId,
        traceId,
        observedAt: "2026-04-01T10:00:00.123456789Z",
        recordedAt: "2026-04-01T10:00:00.123456789Z",
        ...(isLong ? { sessionId: long.replaceAll("\0", ""), domainTags: [long, long] } : {})
      }
      const error = errorOf(Draft.complete(draft, { id, now, lineBytesMax: 0, index: 3 }))
      assert.instanceOf(error, Draft.PayloadTooLarge)
      assert.deepInclude(error, { index: 3, bytesMax: 0 })
      const signature = {
        schemaVersion: 65_535,
        keyId: "f".repeat(64),
        signedAt: "2026-04-01T10:00:00.123456789Z",
        bytes: "A".repeat(86)
      }
      const max = Number.MAX_SAFE_INTEGER
      const line = Row.encodeLine(Seal.seal(completed(draft), "f".repeat(64)), {
        prevLineHash: "f".repeat(64),
        batch: [max - 1, max],
        signature,
        crc32c: true
      })
      assert.isAtMost(line.byteLength, error.bytes)
      assert.isAtLeast(line.byteLength, error.bytes - 1_024)
      const exact = Draft.complete(draft, { id, now, lineBytesMax: error.bytes })
      assert.isTrue(Result.isSuccess(exact))
      assert.instanceOf(
        errorOf(Draft.complete(draft, { id, now, lineBytesMax: error.bytes - 1 })),
        Draft.PayloadTooLarge
      )
    }
  )

  it("fromJson reads every member by its name on disk, the payload as text", () => {
    const draft = Draft.fromJson(`{
      "type": "a.v1", "id": "i", "observed_at": "o", "recorded_at": "r",
      "source": {"type": "user"}, "trace_id": null, "session_id": "s", "domain_tags": ["t"],
      "parent_id": "p", "keys": {"__proto__": "k", "\\u0061": "b"}, "schema_version": 1,
      "payload": {"n": 12345678901234567890.50, "a": [1 , 2]}
    }`)
    const { keys, ...rest } = Result.getOrThrow(draft)
    assert.deepStrictEqual(rest, {
      type: "a.v1",
      id: "i",
      observedAt: "o",
      recordedAt: "r",
      source: { type: "user" },
      traceId: null,
      sessionId: "s",
      domainTags: ["t"],
      parentId: "p",
      schemaVersion: 1,
      payloadText: '{"n": 12345678901234567890.50, "a": [1 , 2]}'
    })
    assert.strictEqual(Row.keysText(keys ?? {}), '{"__proto__":"k","a":"b"}')
  })

  const badTexts: ReadonlyArray<readonly [path: string, text: string]> = [
    ["", ""],
    ["", "null"],
    ["", "[]"],
    ["", '"a"'],
    ["", "{"],
    ["", '{"type":"a.v1"} x'],
    ["", '\ufeff{"type":"a.v1"}'],
    ["", '{"type":"a.v1",}'],
    ["/type", '{"type":"a.v1","type":"a.v1"}'],
    ["/type", '{"type":"a.v1","\\u0074ype":"b.v1"}'],
    ["/payload", '{"payload":1,"type":"a.v1","payload":1}'],
    ["/constructor", '{"type":"a.v1","constructor":1}'],
    ["/__proto__", '{"type":"a.v1","__proto__":{"type":"b.v1"}}'],
    ["/toString", '{"type":"a.v1","toString":1}'],
    ["/hasOwnProperty", '{"hasOwnProperty":1}'],
    ["/payloadText", '{"type":"a.v1","payloadText":"1"}'],
    ["/observedAt", '{"type":"a.v1","observedAt":"x"}'],
    ["/event_type", '{"event_type":"a.v1"}'],
    ["/payload_hash", '{"type":"a.v1","payload_hash":""}'],
    ["/Type", '{"Type":"a.v1"}'],
    ["/a~1b", '{"a/b":1}'],
    ["/payload/a", '{"type":"a.v1","payload":{"a":1,"a":1}}'],
    ["/payload/0", '{"type":"a.v1","payload":[1e999]}'],
    ["/keys/a", '{"type":"a.v1","keys":{"a":"1","\\u0061":"2"}}'],
    ["/source/type", '{"type":"a.v1","source":{"type":"user","type":"tool"}}'],
    ["/session_id", '{"type":"a.v1","session_id":"\\ud800"}']
  ]

  for (const [path, bad] of badTexts) {
    it(`fromJson refuses ${JSON.stringify(bad)}`, () => {
      const error = errorOf(Draft.fromJson(bad, 4))
      assert.deepInclude(error, { _tag: "DraftInvalid", index: 4, path })
    })
  }

  it.prop("fromJson reads what a draft says, as complete does", [Arbitraries.draft], ([draft]) => {
    const { payloadText, keys } = completed(draft)
    const json = JSON.stringify({
      type: draft.type,
      source: draft.source,
      domain_tags: draft.domainTags,
      session_id: draft.sessionId
    })
    const wire = `${json.slice(0, -1)},"keys":${Row.keysText(keys ?? {})},"payload":${payloadText}}`
    assert.deepStrictEqual(completed(Result.getOrThrow(Draft.fromJson(wire))), completed(draft))
  })
})
