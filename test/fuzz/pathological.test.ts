/** Very much in every bad shape comes to an end, as an answer, in every reader. */
import { assert, describe, it } from "@effect/vitest"
import { Option, Result, Schema } from "effect"
import * as Drafts from "../../src/cli/drafts.ts"
import * as Json from "../../src/core/CanonicalJson.ts"
import * as Chain from "../../src/core/Chain.ts"
import * as Draft from "../../src/core/Draft.ts"
import * as Event from "../../src/core/Event.ts"
import * as EventId from "../../src/core/EventId.ts"
import * as jsonText from "../../src/core/jsonText.ts"
import * as Policy from "../../src/core/Policy.ts"
import * as Recovery from "../../src/core/Recovery.ts"
import * as Row from "../../src/core/Row.ts"
import * as Seal from "../../src/core/Seal.ts"
import * as Segment from "../../src/core/Segment.ts"
import * as Timestamp from "../../src/core/Timestamp.ts"
import { ledgerOf, now, text, utf8 } from "../core/history.ts"
import { rounds } from "./choices.ts"
import { withCrc } from "./rows.ts"
import { byteShapes, filled, jsonShapes } from "./shapes.ts"

const messageMax = 10_000

/** An answer, and none that repeats all of it to whoever asked. */
const assertAnswer = (
  answer: Result.Result<unknown, { readonly message: string }>,
  reader: string
): void => {
  assert.isTrue(Result.isResult(answer), reader)
  if (Result.isFailure(answer)) assert.isBelow(answer.failure.message.length, messageMax, reader)
}

const readJson = (json: string): void => {
  const form = Json.fromText(json)
  assertAnswer(form, "fromText")
  assertAnswer(Json.fromText(json, { numbers: "cortex" }), "fromText for the original")
  assertAnswer(Json.ofCortex(json), "ofCortex")
  assertAnswer(jsonText.members(json), "members")
  assertAnswer(Draft.fromJson(json), "fromJson")
  if (Result.isSuccess(form)) {
    assertAnswer(Json.fromText(form.success), "fromText of a form")
    assertAnswer(Json.fromValue(Json.valueOf(json)), "fromValue")
  }
}

const complete = { id: Event.idFrom("x"), now }

/** One of the places after the other; all of them where more than the usual is run. */
const some = <A>(places: ReadonlyArray<A>, nth: number): ReadonlyArray<A> =>
  rounds > 1 ? places : places.slice(Math.floor(nth / 3) % places.length).slice(0, 1)

/** Whether this one of three has its turn. */
const turn = (of: number, nth: number): boolean => rounds > 1 || nth % 3 === of

const draftNames = ["id", "observed_at", "source", "trace_id", "session_id", "domain_tags"].concat([
  "keys",
  "schema_version"
])

/** Drafts that have the value as one of their members. */
const readDrafts = (json: string, nth: number): void => {
  for (const name of turn(0, nth) ? ["payload", ...some(draftNames, nth)] : []) {
    const draft = Draft.fromJson(`{"type":"a.v1","${name}":${json}}`)
    if (Result.isFailure(draft)) assertAnswer(draft, name)
    else assertAnswer(Draft.complete(draft.success, complete), name)
  }
}

const [ordinary] = Segment.lines("a", ledgerOf([[{ type: "a.v1", payload: "PAYLOAD" }]]).bytes, 1e6)
const body = text(ordinary?.bytes ?? new Uint8Array()).slice(0, -`,"crc32c":"00000000"}`.length)

const both = ["segments", "cortex"] as const

// What they give is of no matter here, and they take longer than the reading.
const hashes = { blake3Hex: () => "00", sha256Hex: () => "00" }

const readLine = (line: Uint8Array, formats: ReadonlyArray<Row.Format> = both): void => {
  for (const format of formats) {
    const row = Row.decode(line, 1, format, hashes)
    assertAnswer(row, format)
    if (Result.isFailure(row)) continue
    const { event } = row.success
    assert.isTrue(Result.isResult(Seal.check(event, hashes)))
    assert.isTrue(Result.isResult(Chain.extend(Chain.start, event, hashes)))
    assert.notStrictEqual(event.payload, undefined)
  }
}

const replaced = [
  /"id":"[^"]*"/,
  /"schema_version":2/,
  /"observed_at":"[^"]*"/,
  /"source":\{[^}]*\}/,
  /"event_type":"[^"]*"/,
  /"trace_id":null/,
  /"session_id":null/,
  /"domain_tags":\[\]/,
  /"prev_line_hash":"[^"]*"/
]

const added = ["keys", "batch", "signature", "more", "parent_id"]

/** Rows that have the value in one place or another. */
const readRows = (json: string, nth: number): void => {
  const formats = some(both, nth)
  readLine(withCrc(utf8.encode(body.replace('"PAYLOAD"', () => json))), formats)
  for (const place of turn(1, nth) ? some(replaced, nth) : []) {
    const name = /"\w+"/.exec(place.source)?.[0] ?? ""
    const changed = body.replace(place, () => `${name}:${json}`)
    assert.notStrictEqual(changed, body)
    readLine(withCrc(utf8.encode(changed)), formats)
  }
  for (const name of turn(2, nth) ? some(added, nth) : []) {
    const changed = body.replace(/,"prev_line/, () => `,"${name}":${json},"prev_line`)
    readLine(withCrc(utf8.encode(changed)), formats)
  }
}

const decodeDecision = Schema.decodeUnknownOption(Schema.fromJsonString(Policy.Decision))

describe("Very much JSON", () => {
  for (const [nth, [shape, make]] of Object.entries(jsonShapes).entries()) {
    it(`of ${shape} is read or refused, wherever it stands`, () => {
      const json = make()
      readJson(json)
      readDrafts(json, nth)
      readRows(json, nth)
      assert.isTrue(Option.isNone(decodeDecision(json)))
      assert.isTrue(Option.isNone(decodeDecision(`{"final_outcome":${json}}`)))
    })
  }
})

describe("Very many bytes", () => {
  for (const [shape, make] of Object.entries(byteShapes)) {
    it(`of ${shape} is refused by every reader of lines`, () => {
      const bytes = make()
      assertAnswer(Json.fromText(bytes), "fromText")
      readLine(bytes)
      readLine(withCrc(bytes))
      for (const bytesMax of bytes.includes(0x0a) ? [1_000] : [1e9, 1_000]) {
        const lines = Segment.lines("a", bytes, bytesMax)
        const verifier = new Chain.Verifier({ path: "a", format: "segments", failuresMax: 3 })
        const scan = new Recovery.TailScan(Chain.start, "segments")
        assert.isAtMost(Math.max(...lines.slice(0, 10).map((line) => line.bytes.length)), bytesMax)
        for (const line of lines.slice(0, 5_000)) {
          verifier.push(line)
          scan.push(line)
          if (line.number > 10) continue
          const read = Drafts.read(line, undefined)
          if (Result.isFailure(read)) assert.isBelow(read.failure.reason.length, messageMax)
        }
        assert.strictEqual(verifier.report([])._tag, "Damaged")
        assert.include(["Plan", "Damage"], scan.plan()._tag)
      }
    })
  }
})

describe("Very long text", () => {
  const units = [
    "0",
    "9",
    " ",
    "\u3000",
    "-",
    ":",
    "T",
    "Z",
    "+",
    "a.",
    "a",
    "_",
    "evt_",
    "\ud800",
    "é"
  ]
  for (const unit of units) {
    it(`of ${JSON.stringify(unit)} is no time, no id, no type and no name`, () => {
      const long = filled(unit)
      for (const time of [
        long,
        `2026-01-01T00:00:00.${long}Z`,
        `+${long}-01-01T00:00:00Z`,
        `${long}2026-01-01T00:00:00Z${long}`,
        `2026-01-01T00:00:00+00${long}00`
      ]) {
        assertAnswer(Timestamp.parse(time), "parse")
        assertAnswer(Timestamp.fromSql(time), "fromSql")
        assert.isFalse(Timestamp.isCanonical(time))
      }
      for (const id of [long, `evt_${long}`, `trc_${long}`]) {
        assertAnswer(EventId.parse(id), "parse")
        assertAnswer(EventId.parseTraceId(id), "parseTraceId")
      }
      assert.isFalse(Event.isType(long))
      assert.isFalse(Event.isType(`${long}.v1`))
      assert.isFalse(Event.isType(`a.v${long}`))
      assert.isUndefined(Segment.firstSeq(`${long}.jsonl`))
      assert.isFalse(Chain.isBlank(utf8.encode(`${long}x`)))
    })
  }
})

const deepValue = (levels: number): unknown => {
  let value: unknown = 0
  for (let level = 0; level < levels; level++) value = level % 2 === 0 ? [value] : { a: value }
  return value
}

describe("A large value", () => {
  const values: { readonly [shape: string]: () => unknown } = {
    "very deep": () => deepValue(1_000_000),
    "very wide": () => Array.from({ length: 300_000 }, (_, nth) => nth / 7),
    "of very many members": () =>
      Object.fromEntries(
        Array.from({ length: 100_000 }, (_, nth) => [`n${(nth * 7919) % 100_000}`, 0])
      ),
    "of bytes": () => new Uint8Array(100_000),
    "with as many holes as there can be": () => Array(2 ** 32 - 1),
    "of one long text": () => filled("é"),
    "of one long text that ends in a lone surrogate": () => `${filled("é")}\ud800`,
    "that grows as it is read": () => {
      const grow = () => ({ toJSON: grow, next: { toJSON: grow } })
      return grow()
    }
  }
  for (const [shape, make] of Object.entries(values)) {
    it(`${shape} is written or refused`, () => {
      const value = make()
      assertAnswer(Json.fromValue(value), "fromValue")
      assertAnswer(Json.fromValue({ value }, { numbers: "cortex" }), "fromValue for the original")
    })
  }
})
