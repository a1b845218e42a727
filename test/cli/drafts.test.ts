import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Drafts from "../../src/cli/drafts.ts"
import { DraftInvalid } from "../../src/core/Draft.ts"
import * as Segment from "../../src/core/Segment.ts"

const lineOf = (bytes: Uint8Array, bytesMax = 1_000_000): Segment.Line => {
  const [, line] = Segment.lines("in", new Uint8Array([0x31, 0x0a, ...bytes]), bytesMax)
  if (line === undefined) throw new Error("no second line")
  return line
}

const utf8 = (text: string) => new TextEncoder().encode(text)

const reasonOf = (bytes: Uint8Array, type?: string, bytesMax?: number): string => {
  const read = Drafts.read(lineOf(bytes, bytesMax), type)
  assert.isTrue(Result.isFailure(read))
  return Result.isFailure(read) ? read.failure.reason : ""
}

describe("drafts", () => {
  it("read takes a draft in the spelling of the disk, its payload as text", () => {
    const text =
      ' {"payload": {"b": 1.0, "a": 1e2},"type":"a.v1","session_id":null,"keys":{"k":"v"}} \r'
    assert.deepStrictEqual(Result.getOrThrow(Drafts.read(lineOf(utf8(text)), undefined)), {
      line: 2,
      draft: {
        type: "a.v1",
        payloadText: '{"b": 1.0, "a": 1e2}',
        sessionId: null,
        keys: { k: "v" }
      }
    })
  })

  it("read takes a line as the payload where a type is given", () => {
    const read = Drafts.read(lineOf(utf8("12345678901234567890")), "a.v1")
    assert.deepStrictEqual(Result.getOrThrow(read).draft, {
      type: "a.v1",
      payloadText: "12345678901234567890"
    })
  })

  it("refusal names a member as it stands on the line, a payload's as it is", () => {
    const sides = { index: 0, expected: "x", actual: "y" }
    const said = (path: string) => Drafts.refusal(new DraftInvalid({ ...sides, path }), 1)
    assert.include(said("/observedAt"), "/observed_at ")
    assert.include(said("/keys/aKey"), "/keys/aKey ")
    assert.include(said("/payload/aKey"), "/payload/aKey ")
  })

  const deep = `{"type":"a.v1","payload":${"[".repeat(200)}${"]".repeat(200)}}`
  for (const [name, bytes, expected] of [
    ["invalid UTF-8", new Uint8Array([0x7b, 0xff]), "at byte 1 expected UTF-8, found byte 0xff"],
    ["a byte order mark", new Uint8Array([0xef, 0xbb, 0xbf, 0x7b, 0x7d]), "a byte order mark"],
    ["a NUL", utf8('{"type":\0}'), "at /type expected"],
    ["no object", utf8("[1]"), "at its root expected"],
    [
      "an unknown member",
      utf8('{"type":"a.v1","Payload":1}'),
      "at /Payload expected no such member"
    ],
    ["a member twice", utf8('{"type":"a.v1","type":"a.v1"}'), "at /type expected"],
    ["a torn line", utf8('{"type":"a.v1","pay'), "expected"],
    ["200 levels", utf8(deep), "nested arrays and objects"]
  ] as const) {
    it(`read refuses ${name}, with its line`, () => {
      const reason = reasonOf(bytes)
      assert.match(reason, /^line 2 cannot be appended: /)
      assert.include(reason, expected)
    })
  }

  it("read refuses a blank line and an over-long one in both modes", () => {
    const [blank] = Segment.lines("in", utf8("\n"), 10)
    for (const type of [undefined, "a.v1"]) {
      assert.include(reasonOf(utf8("1234567890123456"), type, 8), "it has 16 bytes, the limit is 8")
      const read = blank === undefined ? undefined : Drafts.read(blank, type)
      assert.deepStrictEqual(
        read,
        Result.fail({
          line: 1,
          reason: "line 1 cannot be appended: it is blank; every line must hold a draft"
        })
      )
    }
  })

  it("read never repeats what a payload holds", () => {
    const reason = reasonOf(utf8('{"type":"a.v1","payload":{"card":"4111","n":1e999}}'))
    assert.include(reason, "/payload/n")
    assert.notInclude(reason, "1e999")
    assert.notInclude(reason, "4111")
  })
})
