import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Draft from "../../src/core/Draft.ts"
import * as Event from "../../src/core/Event.ts"
import * as Row from "../../src/core/Row.ts"
import * as Timestamp from "../../src/core/Timestamp.ts"
import * as Arbitraries from "../../src/testing/Arbitraries.ts"
import { ledgerOf, linesOf, now } from "./history.ts"

const id = Event.idFrom("event")
const parentId = Event.idFrom("parent")
const traceId = "trc_01KGE3HWGSVGR373D9ST0BDJ94"

const completed = (draft: Draft.Draft, options: Partial<Draft.CompleteOptions> = {}) =>
  Result.getOrThrow(Draft.complete(draft, { id, now, ...options }))

const withProto = Object.defineProperty({}, "__proto__", { value: "p", enumerable: true })

const awkwardKeys = Object.assign(withProto, {
  "10": "ten",
  "9": "nine",
  "\u{10000}": "astral",
  "\ue000": "private",
  constructor: "c",
  "": "empty"
}) as Event.Keys

describe("Event", () => {
  it("differences names each field but id and times, and nothing where all agree", () => {
    const one = completed({ type: "a.v1", keys: awkwardKeys })
    const other: ReadonlyArray<readonly [field: string, draft: Draft.Draft]> = [
      ["type", { type: "b.v1" }],
      ["schemaVersion", { type: "a.v1", schemaVersion: 1 }],
      ["source", { type: "a.v1", source: { type: "tool", name: "runtime" } }],
      ["traceId", { type: "a.v1", traceId }],
      ["sessionId", { type: "a.v1", sessionId: "" }],
      ["domainTags", { type: "a.v1", domainTags: ["a,b"] }],
      ["payload", { type: "a.v1", payload: false }],
      ["parentId", { type: "a.v1", parentId }],
      ["keys", { type: "a.v1", keys: { ...awkwardKeys, more: "x" } }],
      ["keys", { type: "a.v1", keys: { a: "b" } }]
    ]
    for (const [field, draft] of other) {
      assert.deepStrictEqual(Event.differences(one, completed({ keys: awkwardKeys, ...draft })), [
        field
      ])
    }
    const later = Timestamp.fromMillis(0)
    const same = completed({ type: "a.v1", keys: awkwardKeys }, { id: parentId, now: later })
    assert.deepStrictEqual(Event.differences(one, same), [])
    const empty = completed({ type: "a.v1" })
    assert.deepStrictEqual(Event.differences(empty, { ...empty, keys: {} }), [])
  })

  it.prop(
    "differences sees none between a draft and its stored row",
    [Arbitraries.draft],
    ([draft]) => {
      const [line] = linesOf(ledgerOf([[draft]]).bytes)
      assert.isDefined(line)
      const { event } = Result.getOrThrow(Row.decode(line.bytes, 1, "segments"))
      assert.deepStrictEqual(Event.differences(completed(draft), event), [])
    }
  )

  it("idFrom never changes", () => {
    assert.strictEqual(Event.idFrom(""), "evt_5F2D4VKXFSM6KA0G2DX8VDSJA9")
    assert.strictEqual(Event.idFrom("payment 1"), Event.idFrom("payment 1"))
    assert.notStrictEqual(Event.idFrom("payment 1"), Event.idFrom("payment 2"))
  })
})
