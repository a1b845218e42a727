import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Result, Schema } from "effect"
import * as LockMarker from "../../src/core/LockMarker.ts"
import * as Timestamp from "../../src/core/Timestamp.ts"
import * as Arbitraries from "../../src/testing/Arbitraries.ts"
import { natural, text as textOf, utf8, vector } from "./history.ts"

/** What the original's own code wrote, and what it was given. */
interface Golden {
  readonly case: string
  readonly pid: number
  readonly host: string
  readonly deployment: string
  readonly operator: string
  readonly acquired_at: string
  readonly intent: string
  readonly text: string
  readonly stale: string
}

const golden: ReadonlyArray<Golden> = textOf(vector("markers.jsonl"))
  .trimEnd()
  .split("\n")
  .map((line) => JSON.parse(line))

const time = (text: string) => Result.getOrThrow(Timestamp.parse(text))

const markerOf = (given: Golden): LockMarker.LockMarker => {
  const { pid, host, deployment, operator, intent } = given
  return { pid, host, deployment, operator, acquiredAt: time(given.acquired_at), intent }
}

const marker: LockMarker.LockMarker = {
  pid: 4711,
  host: "build-7",
  deployment: "prod-1",
  operator: "operator:ada",
  acquiredAt: time("2026-05-04T12:30:45.120Z"),
  intent: "restore of monday"
}

const lines = [
  "cortex-restore-active-store-lock-v1",
  "pid=4711",
  "host=build-7",
  "deployment_id=prod-1",
  "operator_principal_id=operator:ada",
  "acquired_at=2026-05-04T12:30:45.120+00:00",
  "scope=production",
  "restore_intent_blake3=restore of monday"
]
const written = `${lines.join("\n")}\n`

/** The text with some lines, counted from 1, replaced; null takes a line out. */
const changed = (changes: { readonly [line: number]: string | null }): string =>
  lines
    .map((line, nth) => (changes[nth + 1] === undefined ? line : changes[nth + 1]))
    .filter((line) => line !== null)
    .map((line) => `${line}\n`)
    .join("")

const refused = <A>(result: Result.Result<A, LockMarker.MarkerInvalid>) =>
  Result.getOrThrow(Result.flip(result))

/** From the format's description, without any care. */
const naive = (m: LockMarker.LockMarker): string =>
  `${lines[0]}\npid=${m.pid}\nhost=${m.host}\ndeployment_id=${m.deployment}\n` +
  `operator_principal_id=${m.operator}\nacquired_at=${Timestamp.toSql(m.acquiredAt)}\n` +
  `scope=production\nrestore_intent_blake3=${m.intent}\n`

const breaks = ["\n", "\r", "\v", "\f", "\u001c", "\u001d", "\u001e", "\u0085"].concat([
  "\u2028",
  "\u2029",
  "\0"
])
const evil = breaks
  .concat(["\r\n", "\npid=1", "\nscope=production\n", "\ndeployment_id=x"])
  .concat(["pid=1", "=", "\ufeff", "\t"])
const fragment = Arbitrary.map(natural(evil.length - 1), (nth) => evil[nth] ?? "")

/** Texts that sometimes try to be more than one field. */
const value = Arbitrary.map(
  Arbitrary.all([Arbitraries.text, fragment, Arbitraries.text, natural(3)]),
  ([before, one, after, dice]) => (dice === 0 ? `${before}${one}${after}` : before)
)
const isOneLine = (text: string) => !breaks.some((character) => text.includes(character))

const millis = Arbitrary.schema(
  Schema.Int.check(Schema.isBetween({ minimum: -8_334_601_228_800_000, maximum: 8e15 }))
)
const any: Arbitrary.Arbitrary<LockMarker.LockMarker> = Arbitrary.map(
  Arbitrary.all([natural(4_294_967_294), value, value, value, millis, value]),
  ([pid, host, deployment, operator, at, intent]) => ({
    pid: pid + 1,
    host,
    deployment,
    operator,
    acquiredAt: Timestamp.fromMillis(at),
    intent
  })
)
const freeTexts = (m: LockMarker.LockMarker) => [m.host, m.deployment, m.operator, m.intent]

describe("LockMarker", () => {
  for (const given of golden) {
    const isSound = freeTexts(markerOf(given)).every(isOneLine)
    it(`${isSound ? "writes and reads" : "refuses"} what the original wrote: ${given.case}`, () => {
      const { text } = given
      assert.strictEqual(naive(markerOf(given)), text)
      const rendered = LockMarker.render(markerOf(given))
      const parsed = LockMarker.parse(text)
      if (isSound) {
        assert.strictEqual(Result.getOrThrow(rendered), text)
        assert.deepStrictEqual(Result.getOrThrow(parsed), markerOf(given))
      } else {
        assert.include(["line_break", "nul"], refused(rendered).kind)
        assert.include(
          ["line_break", "nul", "repeated_field", "unknown_field"],
          refused(parsed).kind
        )
      }
    })

    it(`gives a stale marker the original's name: ${given.case}`, () => {
      const name = LockMarker.staleName("marker", time(given.acquired_at), new Set())
      assert.strictEqual(name, `marker.stale-${given.stale}`)
    })
  }

  it.prop("parse reads what render wrote, as text and as bytes", [any], ([one]) => {
    const rendered = LockMarker.render(one)
    assert.strictEqual(Result.isSuccess(rendered), freeTexts(one).every(isOneLine))
    if (Result.isFailure(rendered)) return
    assert.deepStrictEqual(Result.getOrThrow(LockMarker.parse(rendered.success)), one)
    const bytes = new TextEncoder().encode(rendered.success)
    assert.deepStrictEqual(Result.getOrThrow(LockMarker.parse(bytes)), one)
  })

  it.prop("no value forges a field: a text reads as what was put in, or not", [any], ([one]) => {
    const parsed = LockMarker.parse(naive(one))
    assert.strictEqual(Result.isSuccess(parsed), freeTexts(one).every(isOneLine))
    if (Result.isSuccess(parsed)) assert.deepStrictEqual(parsed.success, one)
  })

  it.prop(
    "a text that is changed anywhere is refused, or is the one text of what it says",
    [any, natural(1_000_000), natural(20), fragment, Schema.Boolean],
    ([one, place, cut, patch, isInLines]) => {
      const text = naive(one)
      const at = place % text.length
      const edited = isInLines
        ? swapped(text, place, cut)
        : text.slice(0, at) + patch + text.slice(at + cut)
      const parsed = LockMarker.parse(edited)
      if (Result.isSuccess(parsed)) {
        assert.strictEqual(Result.getOrThrow(LockMarker.render(parsed.success)), edited)
      } else assert.isTrue(parsed.failure.message.isWellFormed())
    },
    { arbitrary: { runs: 300 } }
  )

  it.prop("parse never throws, whatever the bytes", [Schema.Uint8Array], ([bytes]) => {
    refused(LockMarker.parse(bytes))
    refused(LockMarker.parse(new Uint8Array([...new TextEncoder().encode(written), ...bytes, 0])))
  })

  it("a marker that was cut anywhere is truncated", () => {
    for (let end = 0; end < written.length; end++) {
      assert.strictEqual(
        refused(LockMarker.parse(written.slice(0, end))).kind,
        "truncated",
        `${end}`
      )
    }
    assert.isTrue(Result.isSuccess(LockMarker.parse(written)))
  })

  const faults: ReadonlyArray<
    readonly [why: string, text: string, kind: LockMarker.Kind, place: string]
  > = [
    [
      "another header",
      changed({ 1: "cortex-restore-active-store-lock-v2" }),
      "wrong_header",
      "line 1"
    ],
    ["a byte order mark", `\ufeff${written}`, "wrong_header", "line 1"],
    ["CRLF", written.replaceAll("\n", "\r\n"), "wrong_header", "line 1"],
    ["nothing of it", "not a marker", "wrong_header", "line 1"],
    ["a line taken out", changed({ 4: null }), "missing_field", "deployment_id"],
    ["the first field taken out", changed({ 2: null }), "missing_field", "pid"],
    ["the last field taken out", changed({ 8: null }), "truncated", "restore_intent_blake3"],
    [
      "two lines exchanged",
      changed({ 3: lines[3] ?? "", 4: lines[2] ?? "" }),
      "out_of_order",
      "line 3"
    ],
    ["a field twice", changed({ 3: "pid=4711" }), "repeated_field", "line 3"],
    ["a field more", `${written}pid=4711\n`, "repeated_field", "line 9"],
    ["the start of one more", `${written}host=`, "repeated_field", "line 9"],
    ["an unknown field", changed({ 5: "operator=ada" }), "unknown_field", "line 5"],
    ["an unknown field behind", `${written}more=1\n`, "unknown_field", "line 9"],
    [
      "an unknown field at a cut",
      `${lines.slice(0, 3).join("\n")}\nmore`,
      "unknown_field",
      "line 4"
    ],
    ["no equals sign", changed({ 2: "pid" }), "unknown_field", "line 2"],
    ["a name in capitals", changed({ 2: "PID=4711" }), "unknown_field", "line 2"],
    ["a space in front", changed({ 2: " pid=4711" }), "unknown_field", "line 2"],
    ["a blank line", `${written}\n`, "unknown_field", "line 9"],
    ["a NUL", changed({ 3: "host=a\0b" }), "nul", "byte 51"],
    ["a block never written", "\0".repeat(512), "nul", "byte 0"],
    ["CR in a value", changed({ 3: "host=a\rpid=1" }), "line_break", "host"],
    ["NEL in a value", changed({ 4: "deployment_id=a\u0085" }), "line_break", "deployment_id"],
    ["a lone surrogate", changed({ 3: "host=\ud800" }), "not_utf8", "its text"],
    ["another scope", changed({ 7: "scope=test" }), "invalid_value", "scope"],
    ["pid 0", changed({ 2: "pid=0" }), "invalid_value", "pid"],
    ["pid 2^32", changed({ 2: "pid=4294967296" }), "invalid_value", "pid"],
    ["a pid with a zero in front", changed({ 2: "pid=04711" }), "invalid_value", "pid"],
    ["a pid below zero", changed({ 2: "pid=-1" }), "invalid_value", "pid"],
    ["a pid in Arabic digits", changed({ 2: "pid=\u0664" }), "invalid_value", "pid"],
    ["no pid", changed({ 2: "pid=" }), "invalid_value", "pid"],
    [
      "Z for +00:00",
      changed({ 6: "acquired_at=2026-05-04T12:30:45Z" }),
      "invalid_value",
      "acquired_at"
    ],
    [
      "another offset",
      changed({ 6: "acquired_at=2026-05-04T14:30:45+02:00" }),
      "invalid_value",
      "acquired_at"
    ],
    [
      "two digits of a second",
      changed({ 6: "acquired_at=2026-05-04T12:30:45.12+00:00" }),
      "invalid_value",
      "acquired_at"
    ],
    ["no time", changed({ 6: "acquired_at=+00:00" }), "invalid_value", "acquired_at"]
  ]
  for (const [why, text, kind, place] of faults) {
    it(`parse refuses ${why}`, () => {
      const fault = refused(LockMarker.parse(text))
      assert.deepInclude(fault, { kind, place })
      assert.notStrictEqual(fault.expected, fault.actual)
      assert.include(fault.message, kind)
    })
  }

  it("parse names the first byte that is not UTF-8", () => {
    const bytes = new TextEncoder().encode(written)
    bytes[50] = 0xff
    const fault = refused(LockMarker.parse(bytes))
    assert.deepInclude(fault, { kind: "not_utf8", place: "byte 50", actual: "byte 0xff" })
    const elf = Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0xf7, 0x80)
    assert.strictEqual(refused(LockMarker.parse(elf)).kind, "not_utf8")
  })

  it("a marker of 1 GB is refused by its size", () => {
    assert.strictEqual(refused(LockMarker.parse(new Uint8Array(2 ** 30))).kind, "too_long")
    assert.strictEqual(refused(LockMarker.parse("\ud800".repeat(2 ** 28))).kind, "too_long")
  })

  it("bytes are what is counted, in both directions", () => {
    const spare =
      LockMarker.bytesMax - new TextEncoder().encode(naive({ ...marker, host: "" })).length
    const full = { ...marker, host: "é".repeat(spare / 2) + "x".repeat(spare % 2) }
    const text = Result.getOrThrow(LockMarker.render(full))
    assert.strictEqual(new TextEncoder().encode(text).length, LockMarker.bytesMax)
    assert.deepStrictEqual(Result.getOrThrow(LockMarker.parse(text)), full)
    const more = { ...full, host: `${full.host}x` }
    assert.strictEqual(refused(LockMarker.render(more)).kind, "too_long")
    assert.strictEqual(refused(LockMarker.parse(naive(more))).kind, "too_long")
    const bytes = new TextEncoder().encode(naive(more))
    assert.strictEqual(refused(LockMarker.parse(bytes)).kind, "too_long")
  })

  it("render refuses what no marker may hold, and says which field", () => {
    const places = [
      [{ pid: 0 }, "pid", "invalid_value"],
      [{ pid: 1.5 }, "pid", "invalid_value"],
      [{ pid: Number.NaN }, "pid", "invalid_value"],
      [{ pid: 2 ** 32 }, "pid", "invalid_value"],
      [{ host: "a\nb" }, "host", "line_break"],
      [{ deployment: "\u2029" }, "deployment_id", "line_break"],
      [{ operator: "\0" }, "operator_principal_id", "nul"],
      [{ intent: "\ud800" }, "restore_intent_blake3", "not_utf8"]
    ] as const
    for (const [change, place, kind] of places) {
      assert.deepInclude(refused(LockMarker.render({ ...marker, ...change })), { place, kind })
    }
  })

  it("a refusal steers no terminal and is not long", () => {
    const { message } = refused(LockMarker.parse(changed({ 3: "\u001b[2J\u009b2J\u202e\u007f=" })))
    assert.match(message, /^[\x20-\x7e]*$/)
    const long = { ...marker, host: "\n".repeat(100_000) }
    assert.isBelow(refused(LockMarker.render(long)).message.length, 500)
  })

  it("two stale markers of one second have two names", () => {
    const taken = new Set<string>()
    const at = time("2026-05-04T12:30:45.999Z")
    for (let nth = 0; nth < 12; nth++) {
      const name = LockMarker.staleName("marker", at, taken)
      assert.isFalse(taken.has(name))
      taken.add(name)
    }
    const names = [...taken]
    assert.strictEqual(names[0], "marker.stale-20260504T123045Z")
    assert.strictEqual(names[1], "marker.stale-20260504T123045Z-2")
    assert.strictEqual(names[11], "marker.stale-20260504T123045Z-12")
  })

  it.prop("a stale name is a file's name, whatever the clock says", [millis], ([at]) => {
    const name = LockMarker.staleName("m", Timestamp.fromMillis(at), new Set())
    assert.match(name, /^m\.stale-(?:\d{4}|[+-]\d{4,6})\d{4}T\d{6}Z$/)
  })

  it("an operation's id goes into an intent and comes out again", () => {
    const id = "op_01KGE3HBSFNPBSCAJ7DY8FSVA7"
    assert.strictEqual(LockMarker.intentOf(id, "rollback to 3"), `${id} rollback to 3`)
    for (const purpose of ["rollback to 3", "", " ", id, "é"]) {
      const rendered = LockMarker.render({ ...marker, intent: LockMarker.intentOf(id, purpose) })
      const read = Result.getOrThrow(LockMarker.parse(Result.getOrThrow(rendered)))
      assert.strictEqual(LockMarker.operationOf(read.intent), id)
    }
  })

  it("other intents have no operation in them", () => {
    const id = "op_01KGE3HBSFNPBSCAJ7DY8FSVA7"
    const others = [
      "",
      "restore of monday",
      ` ${id}`,
      `${id}7`,
      `${id}\t`,
      `x${id}`,
      id.toLowerCase()
    ]
    for (const other of [
      ...others,
      id.slice(0, -1),
      `op_8${id.slice(4)}`,
      `blake3:${"0".repeat(64)}`
    ]) {
      assert.isUndefined(LockMarker.operationOf(other), other)
      assert.throws(() => LockMarker.intentOf(other, "rollback"), RangeError)
    }
    assert.throws(() => LockMarker.intentOf(`${id} x`, "rollback"), RangeError)
  })

  it("whatever a crash leaves of a marker being written is torn; a whole one is not", () => {
    const bytes = utf8.encode(changed({ 3: "host=b\u00fcro-7" }))
    assert.isFalse(LockMarker.isTorn(bytes))
    for (let end = 0; end < bytes.length; end++) {
      assert.isTrue(LockMarker.isTorn(bytes.subarray(0, end)), `${end} bytes`)
      // Blocks from here on, or up to here, were never written.
      const zeros = bytes.map((byte, at) => (at < end ? byte : 0))
      assert.isTrue(LockMarker.isTorn(zeros), `zeros from ${end}`)
      const before = bytes.map((byte, at) => (at <= end ? 0 : byte))
      assert.isTrue(LockMarker.isTorn(before), `zeros up to ${end}`)
    }
  })

  it("what is no marker, whole or in part, is not torn", () => {
    const long = new Uint8Array(LockMarker.bytesMax + 1)
    const others = ["do not touch", "cortex\n", `${written}x`, `${lines[0]}\nhost=a\n`]
    for (const other of others) assert.isFalse(LockMarker.isTorn(utf8.encode(other)), other)
    assert.isFalse(LockMarker.isTorn(long))
    assert.isFalse(LockMarker.isTorn(Uint8Array.of(0xff, 0xfe)))
  })

  it("the schema takes what the text takes", () => {
    const isMarker = Schema.is(LockMarker.LockMarker)
    assert.isTrue(isMarker(marker))
    assert.isFalse(isMarker({ ...marker, pid: 0 }))
    for (const character of [...breaks, "\ud800"]) {
      assert.isFalse(isMarker({ ...marker, host: `a${character}b` }), JSON.stringify(character))
    }
    assert.isFalse(isMarker({ ...marker, acquiredAt: "2026-05-04T12:30:45+00:00" }))
  })
})

const swapped = (text: string, a: number, b: number): string => {
  const all = text.split("\n")
  const one = a % all.length
  const two = b % all.length
  return all.map((line, nth) => (nth === one ? all[two] : nth === two ? all[one] : line)).join("\n")
}
