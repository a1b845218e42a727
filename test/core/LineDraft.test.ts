import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { idFrom, isType } from "../../src/core/Event.ts"
import type { Places } from "../../src/core/LineDraft.ts"
import * as LineDraft from "../../src/core/LineDraft.ts"
import * as Arbitraries from "../../src/testing/Arbitraries.ts"

const place = (text: string) => Result.getOrThrow(LineDraft.place(text))

const read = (line: unknown, places: Places = {}) =>
  LineDraft.read(typeof line === "string" ? line : JSON.stringify(line), places)

const messageOf = (result: Result.Result<unknown, LineDraft.FieldInvalid>): string =>
  Result.isFailure(result) ? result.failure.message : "it was read"

describe("LineDraft", () => {
  it("place reads JSON pointers and names between dots, and refuses what names nothing", () => {
    const places: { readonly [text: string]: ReadonlyArray<string> } = {
      "/a": ["a"],
      "/a/b": ["a", "b"],
      "/": [""],
      "/a.b/0": ["a.b", "0"],
      "/~1~0~01": ["/~~1"],
      a: ["a"],
      "a.b.0": ["a", "b", "0"],
      ["__proto__"]: ["__proto__"]
    }
    for (const [text, steps] of Object.entries(places)) {
      assert.deepStrictEqual(place(text), steps, text)
    }
    for (const text of ["", ".", "a.", ".a", "a..b", "/~", "/a~2"]) {
      assert.isTrue(Result.isFailure(LineDraft.place(text)), text)
    }
  })

  it("typeOf keeps types, maps other names by its rule, and refuses the rest", () => {
    const types: { readonly [name: string]: string | undefined } = {
      "door.opened.v1": "door.opened.v1",
      "cortex.event.user_message.v1": "cortex.event.user_message.v1",
      assistant: "imported.assistant.v1",
      "file-history-snapshot": "imported.file_history_snapshot.v1",
      "Tool Use": "imported.tool_use.v1",
      "user.login": "imported.user.login.v1",
      "a:b/c": "imported.a_b_c.v1",
      "door.opened.v0": "imported.door.opened.v0.v1",
      "": undefined,
      "1": undefined,
      "a..b": undefined,
      été: undefined,
      "\u212a": undefined,
      ["a".repeat(65)]: undefined
    }
    for (const [name, type] of Object.entries(types)) {
      assert.strictEqual(LineDraft.typeOf(name), type, name)
      assert.isTrue(type === undefined || isType(type))
    }
  })

  it("idOf keeps event ids, and makes one of any other text, as applications can", () => {
    const id = idFrom("x")
    assert.strictEqual(LineDraft.idOf(id), id)
    assert.strictEqual(LineDraft.idOf(`evt_${id.slice(4).toLowerCase()}`), id)
    assert.strictEqual(LineDraft.idOf("order 17"), idFrom("order 17"))
    assert.strictEqual(LineDraft.idOf(17), idFrom("17"))
  })

  it("read takes the fields that are named, and the whole line as payload, digit by digit", () => {
    const line =
      '{"k":"Hit","m":{"ids":["a",7]},"at":"2026-01-02 03:04:05Z","n":12345678901234567890.10}'
    assert.deepStrictEqual(
      Result.getOrThrow(
        read(line, {
          type: place("k"),
          id: place("m.ids.0"),
          parent: place("/m/ids/1"),
          time: place("at")
        })
      ),
      {
        type: "imported.hit.v1",
        payloadText:
          '{"at":"2026-01-02 03:04:05Z","k":"Hit","m":{"ids":["a",7]},"n":12345678901234567890.10}',
        id: idFrom("a"),
        parentId: idFrom("7"),
        observedAt: "2026-01-02 03:04:05Z"
      }
    )
    const bare = { id: undefined, parentId: undefined, observedAt: undefined }
    assert.deepStrictEqual(Result.getOrThrow(read("[1, 2]")), {
      type: "imported.line.v1",
      payloadText: "[1,2]",
      ...bare
    })
  })

  it("read leaves out id, parent and time that are absent or null, and refuses other kinds", () => {
    const places = { id: place("id"), parent: place("parent"), time: place("time") }
    for (const line of [{}, { id: null, parent: null, time: null }, [], "7", '"text"', "null"]) {
      const draft = Result.getOrThrow(read(line, places))
      assert.deepStrictEqual(
        [draft.id, draft.parentId, draft.observedAt],
        [undefined, undefined, undefined]
      )
    }
    const bad: ReadonlyArray<readonly [object, RegExp]> = [
      [{ id: "" }, /^at \/id expected a text or a whole number, found an empty one$/],
      [{ id: 1.5 }, /^at \/id .*found a number$/],
      [{ id: 2 ** 53 }, /^at \/id .*found a number$/],
      [{ id: true }, /^at \/id .*found a boolean$/],
      [{ parent: {} }, /^at \/parent .*found an object$/],
      [{ parent: ["a"] }, /^at \/parent .*found an array$/],
      [{ time: 1_767_225_600 }, /^at \/time expected an RFC 3339 time, found a number$/]
    ]
    for (const [line, message] of bad) assert.match(messageOf(read(line, places)), message)
  })

  it("read refuses a line without the type that was asked for, and tells no content", () => {
    const places = { type: place("a.b") }
    for (const line of [{}, { a: null }, { a: { b: null } }, { a: { b: 1 } }, { a: [] }, "1"]) {
      assert.match(messageOf(read(line, places)), /^at \/a\/b expected a string, found /)
    }
    assert.match(messageOf(read({ a: { b: "?!" } }, places)), /^at \/a\/b expected a type, or/)
    for (const line of ["", "{", '{"secret":}', '{"a":1,"a":2}', '{"a":"\\ud800"}', "\ufeff{}"]) {
      const message = messageOf(read(line))
      assert.match(message, /^at .* expected .*, found [a-z_]+ at byte \d+$/)
      assert.notInclude(message, "ud800")
    }
  })

  it("read finds a line's own members only, whatever they are called", () => {
    for (const hostile of [
      "__proto__",
      "constructor",
      "constructor.name",
      "toString",
      "__proto__.polluted",
      "a.length",
      "/a/-1",
      "/a/01",
      "/a/-",
      "text.0",
      "text.length"
    ]) {
      const line = { a: ["x"], text: "words" }
      assert.match(messageOf(read(line, { type: place(hostile) })), /found nothing$/, hostile)
    }
    const own = '{"__proto__":{"constructor":"hit"},"toString":"to"}'
    assert.strictEqual(
      Result.getOrThrow(read(own, { type: place("__proto__.constructor") })).type,
      "imported.hit.v1"
    )
    assert.strictEqual(Result.getOrThrow(read(own, { id: place("toString") })).id, idFrom("to"))
  })

  it.prop(
    "read finds what a pointer names, in any object",
    [Arbitraries.text, Arbitraries.text],
    ([name, value]) => {
      const escaped = name.replaceAll("~", "~0").replaceAll("/", "~1")
      const line = `{"in":[0,{${JSON.stringify(name)}:${JSON.stringify(value)}}]}`
      const draft = read(line, { id: place(`/in/1/${escaped}`) })
      if (value === "") assert.isTrue(Result.isFailure(draft))
      else assert.strictEqual(Result.getOrThrow(draft).id, LineDraft.idOf(value))
    }
  )
})
