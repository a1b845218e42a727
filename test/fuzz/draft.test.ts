/** Drafts from JSON and from JavaScript: refused by name, or written as a row that is read back. */
import { assert, describe } from "@effect/vitest"
import { Result } from "effect"
import * as Json from "../../src/core/CanonicalJson.ts"
import * as Chain from "../../src/core/Chain.ts"
import * as Draft from "../../src/core/Draft.ts"
import * as Event from "../../src/core/Event.ts"
import * as Row from "../../src/core/Row.ts"
import * as Seal from "../../src/core/Seal.ts"
import * as Drafts from "../../src/cli/drafts.ts"
import * as Segment from "../../src/core/Segment.ts"
import { now, utf8 } from "../core/history.ts"
import { fuzz, showBytes, showText } from "./choices.ts"
import type { Choices } from "./choices.ts"
import * as Texts from "./jsonTexts.ts"
import { mutated, rawBytes } from "./mutations.ts"
import { brokenTime, timeText } from "./timestamps.ts"
import { anyValue, showValue } from "./values.ts"

const id = Event.idFrom("the next id")

const messageMax = 10_000

const accepted = { segments: 0, cortex: 0 }

type Refusal = Draft.DraftInvalid | Draft.PayloadTooLarge

const assertRefusal = (error: Refusal): void => {
  assert.isBelow(error.message.length, messageMax)
  assert.isTrue(error.message.isWellFormed())
}

/** A draft that is complete becomes a row that says what the draft says. */
const assertWritten = (complete: Draft.CompleteDraft, format: Row.Format): void => {
  accepted[format]++
  const sealed = Seal.seal(complete, null)
  const group = Row.encode([sealed], Chain.start, { format })
  const [line, ...rest] = Segment.lines("a", group.bytes, Infinity)
  assert.deepStrictEqual([line?.terminated, rest.length], [true, 0])
  const { event } = Result.getOrThrow(Row.decode(line?.bytes ?? new Uint8Array(), 1, format))
  assert.deepStrictEqual(Event.differences(complete, event), [])
  assert.deepStrictEqual(Result.getOrThrow(Chain.extend(Chain.start, event)), Chain.headOf(event))
  assert.strictEqual(event.observedAt, complete.observedAt)
  assert.strictEqual(event.recordedAt, complete.recordedAt)
}

const judge = (draft: Draft.Draft): void => {
  for (const mode of ["segments", "cortex"] as const) {
    const complete = Draft.complete(draft, { id, now, mode })
    if (Result.isSuccess(complete)) assertWritten(complete.success, mode)
    else assertRefusal(complete.failure)
  }
}

const judgeText = (text: string): void => {
  const draft = Draft.fromJson(text)
  if (Result.isSuccess(draft)) judge(draft.success)
  else assertRefusal(draft.failure)
}

const lineOf = (bytes: Uint8Array): Segment.Line => {
  const [line] = Segment.lines("standard input", bytes, 10_000)
  return line ?? { ...emptyLine, bytes }
}

const emptyLine = {
  path: "standard input",
  number: 1,
  offset: 0,
  length: 0,
  terminated: false,
  tooLong: false,
  bytesMax: 10_000,
  nul: false
}

const judgeLine = (bytes: Uint8Array): void => {
  const line = lineOf(bytes)
  for (const type of [undefined, "a.v1"]) {
    const read = Drafts.read(line, type)
    if (Result.isFailure(read)) {
      assert.match(read.failure.reason, /^line 1 cannot be appended: /)
      assert.isBelow(read.failure.reason.length, messageMax)
      continue
    }
    const complete = Draft.complete(read.success.draft, { id, now })
    if (Result.isSuccess(complete)) assertWritten(complete.success, "segments")
    else assert.isBelow(Drafts.refusal(complete.failure, 1).length, messageMax)
  }
}

const oddJson = ['{"toString":1,"valueOf":1}', "[]", "{}", "null", "1", '""', "[[]]", "1e400", "-0"]

/** Members of a draft as JSON, each mostly what it should be. */
const members = (c: Choices): ReadonlyArray<readonly [string, string]> => {
  const quote = (text: string) => Texts.spelled(c, text)
  const odd = (usual: () => string): string => {
    if (!c.once(25)) return usual()
    return c.below(2) === 0 ? c.pick(oddJson) : Texts.jsonText(c)
  }
  const ids = ["evt_01KGE3HMFCHXRN13T2E6QT0G4N", "evt_01kge3hmfchxrn13t2e6qt0g4n", "evt_x"]
  const free = () => quote(Texts.wellFormed(c).replaceAll("\0", c.once(30) ? "\0" : ""))
  const pairs = () => c.list(4, () => `${free()}:${odd(free)}`).join(",")
  const sources = [
    '{"type":"runtime"}',
    `{"type":"tool","name":${free()}}`,
    `{"model":${free()},"type":"child_agent"}`,
    '{"type":"user","name":"x"}',
    '{"type":"god"}'
  ]
  const types = ["cortex.event.outcome.v1", "door.opened.v1", "Door.v1"]
  const time = () => quote(c.once(3) ? brokenTime(c) : timeText(c))
  const some: ReadonlyArray<readonly [string, () => string]> = [
    ["payload", () => (c.below(2) === 0 ? Texts.tidyText(c) : Texts.jsonText(c))],
    ["id", () => quote(c.pick(ids))],
    ["observed_at", time],
    ["recorded_at", time],
    ["source", () => c.pick(sources)],
    ["trace_id", () => (c.once(3) ? "null" : quote(c.pick(ids).replace("evt", "trc")))],
    ["session_id", () => (c.once(3) ? "null" : free())],
    ["domain_tags", () => `[${c.list(4, () => odd(free)).join(",")}]`],
    ["parent_id", () => quote(c.pick(ids))],
    ["keys", () => `{${pairs()}}`],
    ["schema_version", () => c.pick(["2", "1", "2.0", "3", '{"toString":1,"valueOf":1}'])]
  ]
  const chosen = some.filter(() => c.below(3) === 2)
  const type = odd(() => quote(c.pick(types)))
  return [["type", type], ...chosen.map(([name, make]) => [name, odd(make)] as const)]
}

const strangers = ["payloadText", "Payload", "__proto__", "constructor", "type", "event_type", ""]

const draftText = (c: Choices): string => {
  const texts = members(c).map(([name, value]) => `${JSON.stringify(name)}:${value}`)
  if (c.once(20)) texts.push(`${Texts.spelled(c, c.pick(strangers))}:${Texts.jsonText(c)}`)
  const text = `{${texts.join(",")}}`
  return c.once(20) ? Texts.broken(c, text) : text
}

const names = [
  "payload",
  "id",
  "observedAt",
  "recordedAt",
  "source",
  "traceId",
  "sessionId"
].concat(["domainTags", "parentId", "keys", "schemaVersion", "payloadText", "type", "more"])

// U+10000 and above come last by UTF-8 bytes, and first by UTF-16 units.
const keyNames = ["a", "10", "9", "é", "\ue000", "\uffff", "😀", "\u{10ffff}", "\ud800"]

/** Members that hold text, with any text in them. */
const textual = (c: Choices): { readonly [name: string]: unknown } => ({
  sessionId: Texts.someText(c),
  domainTags: c.list(4, () => Texts.someText(c)),
  keys: Object.fromEntries(c.list(5, () => [c.pick(keyNames), Texts.someText(c)])),
  source: c.pick([
    { type: "tool", name: Texts.someText(c) },
    { type: "child_agent", model: Texts.someText(c) }
  ])
})

/** A draft of JavaScript, one or two of its members of any kind. */
const draftValue = (c: Choices): unknown => {
  const draft: { [name: string]: unknown } = { type: "cortex.event.outcome.v1" }
  if (c.below(2) === 1) Object.assign(draft, textual(c))
  for (let times = c.below(3); times > 0; times--) {
    draft[c.pick(names)] = anyValue(c, { traps: false })
  }
  return c.once(40) ? anyValue(c, { traps: false }) : draft
}

// Whatever the types say, drafts come from JavaScript too.
const asDraft = (value: unknown): Draft.Draft => value as Draft.Draft

const payloadValue = (c: Choices): unknown => anyValue(c, { traps: true })

const stringified = (value: unknown): { readonly text: string | undefined } | undefined => {
  try {
    return { text: JSON.stringify(value) }
  } catch {
    return undefined
  }
}

describe("Draft, fuzzed", () => {
  fuzz(
    "a line of JSON is refused, or becomes a row that says the same",
    { cases: 1_500, generate: draftText, show: showText },
    (text) => {
      judgeText(text)
      judgeLine(utf8.encode(text))
    },
    () => {
      assert.isAbove(accepted.segments, 200)
      assert.isAbove(accepted.cortex, 30)
    }
  )

  fuzz(
    "a line with a few bytes changed is refused, or becomes a row",
    {
      cases: 2_000,
      generate: (c) => mutated(c, utf8.encode(draftText(c)), [utf8.encode(draftText(c))]),
      show: showBytes
    },
    judgeLine
  )

  fuzz("raw bytes are no draft", { cases: 2_000, generate: rawBytes, show: showBytes }, judgeLine)

  fuzz(
    "members of any kind are refused, or become a row that says the same",
    { cases: 3_000, generate: draftValue, show: showValue },
    (value) => judge(asDraft(value))
  )
})

let same = 0

describe("CanonicalJson.fromValue, fuzzed", () => {
  fuzz(
    "gives the form of what JSON.stringify gives, and refuses what that drops or throws at",
    { cases: 4_000, generate: payloadValue, show: showValue },
    (value) => {
      const form = Json.fromValue(value)
      const json = stringified(value)
      if (Result.isFailure(form)) {
        assert.isBelow(form.failure.message.length, messageMax)
        assert.isTrue(form.failure.message.isWellFormed())
        return
      }
      assert.isDefined(json, "JSON.stringify throws")
      assert.strictEqual(Result.getOrNull(Json.fromText(json?.text ?? "")), form.success)
      same++
    },
    () => assert.isAbove(same, 700)
  )
})
