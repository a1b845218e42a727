/** Every reader of JSON text against the grammar, on awkward, broken and raw texts. */
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Json from "../../src/core/CanonicalJson.ts"
import { decodeUtf8 } from "../../src/core/jsonError.ts"
import * as jsonText from "../../src/core/jsonText.ts"
import { utf8 } from "../core/history.ts"
import { fuzz, showBytes, showText, timeoutMillis } from "./choices.ts"
import * as Texts from "./jsonTexts.ts"
import { goldenRows, goldenTexts, mutated, rawBytes } from "./mutations.ts"
import * as Textbook from "./textbook.ts"

/** Longer than any message needs to be: a path has 126 steps of at most 66 characters. */
const messageMax = 10_000

const assertError = (error: Json.JsonError, text: string): void => {
  assert.isBelow(error.message.length, messageMax)
  assert.isTrue(error.message.isWellFormed())
  assert.isAtLeast(error.offset ?? -1, 0)
  assert.isAtMost(error.offset ?? Infinity, utf8.encode(text).byteLength)
}

const wanted = { duplicate_member: 0, lone_surrogate: 0, number_out_of_range: 0, too_deep: 0 }
const seen = { accepted: 0, syntax: 0, bom: 0, ...wanted }

const parsed = (text: string): { readonly value: unknown } | undefined => {
  try {
    return { value: JSON.parse(text) }
  } catch {
    return undefined
  }
}

const spell = (number: string): string => Result.getOrThrow(Json.fromText(number))

/** What the strict reader must say of a text that follows the grammar. */
const compareStrict = (text: string, { faults, hasEscapedName, json }: Textbook.Parsed): void => {
  const form = Json.fromText(text)
  if (Result.isFailure(form)) {
    const { reason } = form.failure
    assertError(form.failure, text)
    assert.include(wanted, { [reason]: Reflect.get(wanted, reason) }, reason)
    const places = [reason, "perhaps_out_of_range", "deeper_than_126"]
    assert.isTrue(
      places.some((fault) => [...faults].some((found) => found === fault)),
      form.failure.message
    )
    Reflect.set(seen, reason, Number(Reflect.get(seen, reason)) + 1)
    return
  }
  seen.accepted++
  faults.forEach((fault) => assert.strictEqual(fault, "perhaps_out_of_range"))
  assert.strictEqual(form.success, Textbook.formOf(json, spell))
  assert.strictEqual(Result.getOrNull(Json.fromText(form.success)), form.success)
  assert.strictEqual(Result.getOrNull(Json.fromText(utf8.encode(text))), form.success)
  const shape = Textbook.shapeOf(json)
  assert.deepStrictEqual(Textbook.shapeOfValue(Json.valueOf(text)), shape)
  assert.deepStrictEqual(Textbook.shapeOfValue(Json.valueOf(form.success)), shape)
  // V8 13 may misread a name that is written with an escape.
  if (!hasEscapedName) assert.deepStrictEqual(Textbook.shapeOfValue(JSON.parse(text)), shape)
}

/** The form for the original, and the original's own reading, beside the strict one. */
const compareCortex = (text: string, { faults }: Textbook.Parsed): void => {
  const theirs = Json.ofCortex(text)
  const isRead =
    !faults.has("lone_surrogate") &&
    !faults.has("number_out_of_range") &&
    !faults.has("deeper_than_127")
  if (!faults.has("perhaps_out_of_range")) assert.strictEqual(Result.isSuccess(theirs), isRead)
  if (Result.isFailure(theirs)) assertError(theirs.failure, text)
  const form = Json.fromText(text, { numbers: "cortex" })
  const strict = Json.fromText(text)
  if (Result.isFailure(form)) {
    assertError(form.failure, text)
    const isOwn = form.failure.reason === "number_respelled"
    assert.strictEqual(Result.isSuccess(strict), isOwn, form.failure.message)
    return
  }
  // What is written for the original is what it reads, prints and reads again.
  assert.strictEqual(Result.getOrNull(theirs), form.success)
  assert.strictEqual(Result.getOrNull(Json.ofCortex(form.success)), form.success)
  assert.strictEqual(Result.getOrNull(strict), form.success)
}

/** The members of an object by their spans, each of which is a text of its own. */
const compareMembers = (text: string, { faults, json }: Textbook.Parsed): void => {
  const members = jsonText.members(text, jsonText.cortex)
  if (Result.isFailure(members)) {
    const isFlawed = [...faults].some((fault) => fault !== "duplicate_member")
    assert.isTrue(json.kind !== "object" || isFlawed, members.failure.message)
    return
  }
  assert.strictEqual(json.kind, "object")
  if (json.kind !== "object") return
  assert.deepStrictEqual(
    members.success.map(({ name, start, end }) => [
      name,
      Textbook.parse(text.slice(start, end))?.json
    ]),
    json.members.map(([name, value]) => [name, value])
  )
}

const compare = (text: string): void => {
  const byBook = Textbook.parse(text)
  assert.strictEqual(parsed(text) !== undefined, byBook !== undefined, "JSON.parse and the grammar")
  if (byBook !== undefined) {
    compareStrict(text, byBook)
    compareCortex(text, byBook)
    compareMembers(text, byBook)
    return
  }
  const form = Json.fromText(text)
  assert.isTrue(Result.isFailure(form), "accepted, but no JSON")
  if (Result.isFailure(form)) {
    assertError(form.failure, text)
    if (form.failure.reason === "syntax") seen.syntax++
    if (form.failure.reason === "bom") seen.bom++
  }
  assert.isTrue(Result.isFailure(Json.ofCortex(text)))
  assert.isTrue(Result.isFailure(Json.fromText(text, { numbers: "cortex" })))
  assert.isTrue(Result.isFailure(jsonText.members(text)))
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

const isUtf8 = (bytes: Uint8Array): boolean => {
  try {
    strictUtf8.decode(bytes)
    return true
  } catch {
    return false
  }
}

const compareBytes = (bytes: Uint8Array): void => {
  const text = decodeUtf8(bytes)
  if (typeof text === "string") {
    assert.deepStrictEqual(utf8.encode(text), bytes)
    compare(text)
    return
  }
  assert.isFalse(isUtf8(bytes))
  assert.isTrue(isUtf8(bytes.subarray(0, text.offset ?? 0)), text.message)
  const form = Json.fromText(bytes)
  assert.strictEqual(Result.isFailure(form) && form.failure.reason, "invalid_utf8")
}

const corpus = [...goldenTexts, ...goldenRows]

describe("CanonicalJson, fuzzed", () => {
  fuzz(
    "reads awkward texts as the grammar does, and refuses only on purpose",
    { cases: 4_000, generate: Texts.jsonText, show: showText },
    compare,
    () => {
      // A generator that makes nothing but refusals, or none, would show nothing.
      assert.isAbove(seen.accepted, 700)
      for (const reason of Object.keys(wanted))
        assert.isAbove(Reflect.get(seen, reason), 10, reason)
    }
  )

  fuzz(
    "takes tidy texts as they stand, but for their numbers",
    { cases: 2_000, generate: Texts.tidyText, show: showText },
    compare
  )

  fuzz(
    "refuses broken texts, and no others",
    { cases: 4_000, generate: (c) => Texts.broken(c, Texts.jsonText(c)), show: showText },
    compare,
    () => {
      assert.isAbove(seen.syntax, 500)
      assert.isAbove(seen.bom, 3)
    }
  )

  fuzz(
    "answers mutated golden texts and rows, bytes that are no UTF-8 among them",
    {
      cases: 2_500,
      generate: (c) => mutated(c, c.pick(corpus), corpus),
      show: showBytes
    },
    compareBytes
  )

  fuzz("answers raw bytes", { cases: 2_000, generate: rawBytes, show: showBytes }, compareBytes)

  it("reads every golden text and row as the grammar does", { timeout: timeoutMillis }, () => {
    for (const bytes of corpus) compareBytes(bytes)
  })
})
