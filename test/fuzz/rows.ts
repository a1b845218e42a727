/**
 * Lines of a journal: members in their places and spelled as they should be, with a few departures.
 *
 * A row is made of members, each a name and the text of its value; departures change values to
 * others that some reader might take, and the row's shape: order, repeats, strangers, white space.
 * Hashes are only text here, as reading a row does not compare them.
 */
import * as Crc32c from "../../src/core/Crc32c.ts"
import { cortexTypes } from "../../src/core/Event.ts"
import type { Format } from "../../src/core/Row.ts"
import { concat, utf8 } from "../core/history.ts"
import type { Choices } from "./choices.ts"
import * as Texts from "./jsonTexts.ts"

type Member = readonly [name: string, value: string]

const hash = "00ff".repeat(16)

const eventIds = ["evt_01KGE3HMFCHXRN13T2E6QT0G4N", "evt_7ZZZZZZZZZZZZZZZZZZZZZZZZZ"]

const oddIds = [
  "evt_01kge3hmfchxrn13t2e6qt0g4n",
  "evt_81KGE3HMFCHXRN13T2E6QT0G4N",
  "evt_01KGE3HMFCHXRN13T2E6QT0G4",
  "evt_01KGE3HMFCHXRN13T2E6QT0G4I",
  "EVT_01KGE3HMFCHXRN13T2E6QT0G4N",
  "trc_01KGE3HMFCHXRN13T2E6QT0G4N",
  "evt_01KGE3HMFCHXRN13T2E6QT0G4\u017f",
  "evt_",
  ""
]

const times = ["2026-04-01T10:00:00Z", "2026-04-01T10:00:00.001Z", "1999-12-31T23:59:60.123456789Z"]

const oddTimes = [
  "2026-04-01T10:00:00.000Z",
  "2026-04-01T10:00:00.1Z",
  "2026-04-01 10:00:00 UTC",
  "2026-4-1T1:2:3z",
  "2026-04-01T10:00:00.1234567891+02:00",
  "\u30002026 - 04 - 01T10 : 00 : 00 \u2212 0200",
  "+10000-01-01T00:00:00Z",
  "-0001-01-01T00:00:00Z",
  "2026-02-30T00:00:00Z",
  "2026-04-01T24:00:00Z",
  "2026-04-01",
  "yesterday",
  ""
]

const sources = ['{"type":"runtime"}', '{"type":"user"}', '{"type":"tool","name":"grep"}'].concat(
  '{"type":"child_agent","model":"m"}',
  '{"type":"external_outcome"}',
  '{"type":"manual_correction"}'
)

const oddSources = [
  '{"name":"grep","type":"tool"}',
  '{"type":"tool"}',
  '{"type":"user","name":"x"}'
].concat(
  ['{ "type" : "user" }', '{"type":"us\\u0065r"}', '{"type":"tool","name":"a\\/b\\u0041"}'],
  ['{"type":"tool","name":""}', '{"type":"child_agent","model":"m\\"\\\\"}', '["user"]', '"user"'],
  ['["tool","grep"]', '{"type":["user"]}', '{"type":1}', '{"type":"god"}', "{}", "null"],
  ['{"type":"user","type":"user"}', '{"type":"tool","name":"a","name":"b"}', '{"type":null}']
)

const types = ["a.v1", "door.opened.v1", "a_b.c9.v999999999"]
const oddTypes = [
  "A.v1",
  "a.v0",
  "a",
  "a.v01",
  "a..v1",
  "a.v1\\u0000",
  "cortex.event.nothing.v1",
  ""
]

const versions = ["2", "1"]
const oddVersions = [
  "9",
  "0",
  "65535",
  "65536",
  "-1",
  "-0",
  "2.0",
  "2e0",
  "02",
  '"2"',
  "null",
  "[2]"
]

const integers = ["-0", "0.0", "1e0", "01", "null", '"0"', "9007199254740993", "-1", "1e400"]

/** A value that no member expects, in any spelling. */
const anyValue = (c: Choices): string => {
  const kind = c.below(4)
  if (kind === 0) return c.pick(["null", "1", "[]", "{}", '""', "true", "1.5"])
  return kind === 1 ? c.pick(integers) : Texts.jsonText(c)
}

interface Way {
  readonly format: Format
  /** One value in so many departs from what is usual. */
  readonly odd: number
}

const makeMember = (c: Choices, { format, odd }: Way) => {
  const isOdd = () => c.once(odd)
  const quote = (text: string) => (isOdd() ? Texts.spelled(c, text) : JSON.stringify(text))
  const one = (usual: ReadonlyArray<string>, others: ReadonlyArray<string>): string => {
    if (!isOdd()) return c.pick(usual)
    return c.once(4) ? anyValue(c) : c.pick(others)
  }
  const quoted = (usual: ReadonlyArray<string>, others: ReadonlyArray<string>): string => {
    if (isOdd() && c.once(6)) return anyValue(c)
    return quote(isOdd() ? c.pick(others) : c.pick(usual))
  }
  const free = () => (isOdd() && c.once(6) ? anyValue(c) : quote(Texts.wellFormed(c)))
  const orNull = (value: string) => (c.below(2) === 0 ? "null" : value)
  const trace = () => quoted(eventIds.map(asTrace), oddIds.map(asTrace))
  const usualTypes = format === "cortex" ? [...cortexTypes] : [...types, ...cortexTypes]
  const payload = (): string => {
    if (isOdd()) return Texts.jsonText(c)
    return Texts.tidyText(c)
  }
  return {
    anyValue: () => anyValue(c),
    free,
    isOdd,
    one,
    orNull,
    payload,
    quote,
    quoted,
    trace,
    usualTypes
  }
}

const asTrace = (id: string): string => id.replace("evt", "trc")

const ordinary = (c: Choices, way: Way): Array<Member> => {
  const make = makeMember(c, way)
  const hashOrAny = () => (make.isOdd() ? make.free() : `"${hash}"`)
  const tags = () => `[${c.list(3, make.free).join(",")}]`
  return [
    ["id", make.quoted(eventIds, oddIds)],
    ["schema_version", make.one(versions, oddVersions)],
    ["observed_at", make.quoted(times, oddTimes)],
    ["recorded_at", make.quoted(times, oddTimes)],
    ["source", make.one(sources, oddSources)],
    ["event_type", make.quoted(make.usualTypes, [...oddTypes, ...types])],
    ["trace_id", make.orNull(make.trace())],
    ["session_id", make.orNull(make.free())],
    ["domain_tags", make.isOdd() ? make.anyValue() : tags()],
    ["payload", make.payload()],
    ["payload_hash", hashOrAny()],
    ["prev_event_hash", make.orNull(hashOrAny())],
    ["event_hash", hashOrAny()]
  ]
}

const batches = ["[0,2]", "[1,2]", "[998,999]"]
const oddBatches = [
  "[2,2]",
  "[0,1]",
  "[0,2,0]",
  "[-0,2]",
  "[0.0,2]",
  "[0, 2]",
  "[00,2]",
  "{}"
].concat(
  ["[9007199254740991,9007199254740992]", "[0,9007199254740991]", "[1000000000,1000000001]"],
  ['["0","2"]', "[0]", "[]", "null", "[0,1e9]"]
)

const keysText = (c: Choices, way: Way): string => {
  const make = makeMember(c, way)
  const names = [...new Set(c.list(5, () => Texts.wellFormed(c).replaceAll("\0", "")))]
  const sorted = make.isOdd()
    ? names
    : names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  const pairs = sorted.map((name) => `${make.quote(name)}:${make.free()}`)
  return pairs.length === 0 && !make.isOdd() ? '{"a":""}' : `{${pairs.join(",")}}`
}

const signatureText = (c: Choices, way: Way): string => {
  const make = makeMember(c, way)
  const members: Array<Member> = [
    ["schema_version", make.one(versions, oddVersions)],
    ["key_id", make.free()],
    ["signed_at", make.quoted(times, oddTimes)],
    ["bytes", make.free()]
  ]
  if (make.isOdd()) members.push(["more", make.anyValue()])
  if (make.isOdd()) members.splice(c.below(members.length), 1)
  return `{${members.map(([name, value]) => `"${name}":${value}`).join(",")}}`
}

/** The members that sealog adds, some of them. */
const added = (c: Choices, way: Way): Array<Member> => {
  const make = makeMember(c, way)
  const members: Array<Member> = []
  if (c.below(3) === 2) members.push(["parent_id", make.quoted(eventIds, oddIds)])
  if (c.below(3) === 2) members.push(["keys", keysText(c, way)])
  const isLinked = way.format === "segments" ? !make.isOdd() : make.isOdd()
  if (isLinked) members.push(["prev_line_hash", make.isOdd() ? make.free() : `"${hash}"`])
  if (c.below(3) === 2) {
    // Whether a batch can be one is not told by its spelling alone, so odd ones are frequent.
    const batch = c.once(8) ? c.pick(oddBatches) : c.pick(batches)
    members.push(["batch", make.isOdd() ? make.anyValue() : batch])
  }
  const isSigned = c.below(way.format === "cortex" ? 3 : 8) === 2
  if (isSigned) members.push(["signature", make.isOdd() ? make.anyValue() : signatureText(c, way)])
  return members
}

const strangers = [
  "more",
  "",
  "ID",
  "i\u0130d",
  "payload_hash ",
  "__proto__",
  "constructor",
  "\0",
  "évt"
]

/** Repeats, strangers, gaps and another order. */
const reshaped = (c: Choices, members: Array<Member>, odd: number): Array<Member> => {
  const shaped = members.slice()
  const place = () => c.below(shaped.length + 1)
  if (c.once(odd)) shaped.splice(place(), 1)
  if (c.once(odd)) {
    const [name, value] = c.pick(members)
    shaped.splice(place(), 0, [name, c.below(2) === 0 ? value : anyValue(c)])
  }
  if (c.once(odd)) shaped.splice(place(), 0, [c.pick(strangers), anyValue(c)])
  if (c.once(odd)) {
    const from = place()
    shaped.splice(place(), 0, ...shaped.splice(from, 1 + c.below(3)))
  }
  return shaped
}

const gaps = ["", "", " ", "\t", "\r", "  "]

/** The text of a row up to, not including, its `crc32c` member or closing brace. */
const bodyOf = (c: Choices, way: Way): string => {
  const members = reshaped(c, [...ordinary(c, way), ...added(c, way)], way.odd)
  const isSpaced = c.once(way.odd)
  const gap = () => (isSpaced ? c.pick(gaps) : "")
  const name = (text: string) =>
    c.once(way.odd * 8) ? Texts.spelled(c, text) : JSON.stringify(text)
  const texts = members.map(
    ([member, value]) => `${gap()}${name(member)}${gap()}:${gap()}${value}${gap()}`
  )
  return `{${texts.join(",")}`
}

/** The line with the checksum of what it says, so that only its spelling is judged. */
export const withCrc = (body: Uint8Array): Uint8Array => {
  const crc = Crc32c.hex8(Crc32c.of(body))
  return concat([body, utf8.encode(`,"crc32c":"${crc}"}`)])
}

/** A line of a segment, its checksum right. */
export const segmentLine = (c: Choices): Uint8Array => {
  const odd = c.pick([400, 100, 40])
  return withCrc(utf8.encode(bodyOf(c, { format: "segments", odd }).toWellFormed()))
}

/** A line of a file that the original reads. */
export const cortexLine = (c: Choices): Uint8Array => {
  const odd = c.pick([100, 40, 12])
  const body = bodyOf(c, { format: "cortex", odd }).toWellFormed()
  if (c.once(8)) return withCrc(utf8.encode(body))
  return utf8.encode(`${body}}${c.once(30) ? c.pick([" ", "\r", "\u00a0", "}"]) : ""}`)
}
