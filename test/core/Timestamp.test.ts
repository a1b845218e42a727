import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Result, Schema } from "effect"
import * as fs from "node:fs"
import * as Timestamp from "../../src/core/Timestamp.ts"

interface Case {
  readonly input: string
  readonly json?: string
  readonly sqlite: string
  readonly signing: string
  readonly sqlite_read_back: unknown
}

const cases: ReadonlyArray<Case> = fs
  .readFileSync(new URL("../vectors/cortex/timestamps.jsonl", import.meta.url), "utf8")
  .trimEnd()
  .split("\n")
  .map((line) => JSON.parse(line))

const read = (text: string) => Result.getOrThrow(Timestamp.parse(text))
const readOrNull = (text: string): string | null => Result.getOrNull(Timestamp.parse(text))

const whole = (minimum: number, maximum: number) =>
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum, maximum })))
const two = (n: number) => n.toString().padStart(2, "0")

/** Every year there is, and those of today more often. */
const millis = Arbitrary.flatMap(whole(0, 2), (range) => {
  if (range === 0) return whole(-8_334_601_228_800_000, 8_210_266_876_799_999)
  return range === 1 ? whole(-62_167_219_200_000, 253_402_300_799_999) : whole(0, 4e12)
})
const nanos = Arbitrary.map(
  Arbitrary.all([whole(0, 999), whole(0, 2)]),
  ([digits, groups]) => ["", `.${digits}`, `.000${two(digits)}`][groups] ?? ""
)
const times = Arbitrary.map(
  Arbitrary.all([millis, whole(0, 999_999_999), whole(0, 3)]),
  ([ms, fraction, groups]) => {
    const start = Timestamp.fromMillis(ms - (((ms % 1000) + 1000) % 1000)).slice(0, -1)
    const digits = fraction
      .toString()
      .padStart(9, "0")
      .slice(0, groups * 3)
    return read(`${start}${digits === "" ? "" : "."}${digits}Z`)
  }
)
/** One character of a good text replaced, put in or taken out. */
const spoilt = Arbitrary.map(
  Arbitrary.all([times, whole(0, 35), whole(0, 21), whole(0, 1)]),
  ([time, at, character, taken]) =>
    time.slice(0, at) +
    "0123456789+-:.TZtz \u0085é".slice(character, character + 1) +
    time.slice(at + taken)
)

/** Reads without the fast path: white space at the end is allowed but never canonical. */
const slowly = (text: string) => readOrNull(`${text} `)

describe("Timestamp", () => {
  for (const { input, json, sqlite, signing, sqlite_read_back } of cases) {
    it(`parse ${json === undefined ? "refuses" : "reads"} ${JSON.stringify(input)}`, () => {
      const parsed = Timestamp.parse(input)
      assert.strictEqual(Timestamp.isCanonical(input), input === json)
      if (json === undefined) {
        assert.isTrue(Result.isFailure(parsed))
        return
      }
      const time = Result.getOrThrow(parsed)
      assert.strictEqual(time, json)
      assert.strictEqual(Timestamp.toSql(time), sqlite)
      assert.strictEqual(Timestamp.toSigning(time), signing)
      const back = Result.getOrNull(Timestamp.fromSql(sqlite))
      assert.strictEqual(back, sqlite_read_back === "same" ? time : null)
    })
  }

  it.prop(
    "isCanonical holds for what parse maps to itself and nothing else",
    [spoilt],
    ([text]) => {
      const parsed = slowly(text)
      assert.strictEqual(Timestamp.isCanonical(text), parsed === text)
      assert.strictEqual(readOrNull(text), parsed)
      if (parsed !== null) assert.isTrue(Timestamp.isCanonical(parsed))
    }
  )

  it.prop(
    "every canonical text is recognised, and read the same the slow way",
    [times],
    ([time]) => {
      assert.isTrue(Timestamp.isCanonical(time))
      assert.strictEqual(slowly(time), time)
    }
  )

  it("isCanonical knows the ends of years and months", () => {
    for (const good of [
      "2028-02-29T00:00:00Z",
      "2000-02-29T23:59:60.001Z",
      "-0004-02-29T00:00:00Z",
      "+262142-12-31T23:59:59.999999999Z",
      "-262143-01-01T00:00:00Z"
    ]) {
      assert.isTrue(Timestamp.isCanonical(good), good)
      assert.strictEqual(slowly(good), good)
    }
    for (const bad of [
      "2026-02-29T00:00:00Z",
      "1900-02-29T00:00:00Z",
      "2026-04-31T00:00:00Z",
      "2026-03-17T00:00:00.100000Z",
      "2026-03-17T00:00:00.1Z",
      "+9999-01-01T00:00:00Z",
      "-0000-01-01T00:00:00Z",
      "+012026-01-01T00:00:00Z",
      "-00001-01-01T00:00:00Z",
      "+262143-01-01T00:00:00Z",
      "-262144-12-31T00:00:00Z",
      "2026-03-17T00:00:00Z\n",
      ""
    ]) {
      assert.isFalse(Timestamp.isCanonical(bad), bad)
      assert.notStrictEqual(slowly(bad), bad)
    }
  })

  it.prop("fromMillis agrees with the calendar of Date", [millis], ([ms]) => {
    assert.strictEqual(Timestamp.fromMillis(ms), read(new Date(ms).toISOString()))
  })

  it.prop(
    "toMillis takes fromMillis back, and cuts what is finer",
    [times, millis],
    ([one, ms]) => {
      assert.strictEqual(Timestamp.toMillis(Timestamp.fromMillis(ms)), ms)
      if (!one.includes(":60")) assert.strictEqual(Timestamp.toMillis(one), millisOf(one))
    }
  )

  it("toMillis takes a leap second for the first of the next minute", () => {
    const [leap, next] = [read("2016-12-31T23:59:60.5Z"), read("2017-01-01T00:00:00.5Z")]
    assert.strictEqual(Timestamp.toMillis(leap), Timestamp.toMillis(next))
  })

  it("parse takes as white space what Unicode does, U+0085 too and U+FEFF not", () => {
    for (const code of [...Array(0x3100).keys(), 0xfeff]) {
      const character = String.fromCharCode(code)
      const parsed = readOrNull(`2026-03-17T09:41:07${character}Z`)
      assert.strictEqual(parsed !== null, /\p{White_Space}/u.test(character), code.toString(16))
    }
  })

  it("parse wants offsets in two digits each, and a year that is in range in UTC too", () => {
    for (const text of [
      "2026-03-17T09:41:07+02:3",
      "2026-03-17T09:41:07+2:30",
      "+262142-12-31T23:59:59-00:01",
      "-262143-01-01T00:00:00+00:01"
    ]) {
      assert.isNull(readOrNull(text), text)
    }
    assert.strictEqual(read("+262142-12-31T23:59:59+00:01"), "+262142-12-31T23:58:59Z")
    assert.strictEqual(read("-262143-01-01T00:00:00-00:01"), "-262143-01-01T00:01:00Z")
  })

  it("fromMillis throws on what is no time", () => {
    for (const ms of [
      0.5,
      Number.NaN,
      Number.MAX_SAFE_INTEGER,
      -8_334_601_228_800_001,
      8_210_266_876_800_000
    ]) {
      assert.throws(() => Timestamp.fromMillis(ms), RangeError)
    }
  })

  it.prop(
    "parse takes the offset off, across days and years",
    [whole(-62_000_000_000, 253_000_000_000), whole(-1439, 1439), nanos],
    ([seconds, offset, fraction]) => {
      const local = Timestamp.fromMillis((seconds + offset * 60) * 1000).slice(0, -1) + fraction
      const zone = `${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`
      const text = `${local}${offset < 0 ? "-" : "+"}${zone}`
      const expected = read(`${Timestamp.fromMillis(seconds * 1000).slice(0, -1)}${fraction}Z`)
      assert.strictEqual(read(text), expected)
      assert.strictEqual(Result.getOrThrow(Timestamp.fromSql(text)), expected)
    }
  )

  it.prop("fromSql reads back what toSql wrote, years of four digits only", [times], ([time]) => {
    const back = Result.getOrNull(Timestamp.fromSql(Timestamp.toSql(time)))
    assert.strictEqual(back, /^\d/.test(time) ? time : null)
  })

  it("fromSql is strict where parse is not", () => {
    for (const text of [
      "2026-3-17T09:41:07+00:00",
      "2026-03-17T09:41:7+00:00",
      " 2026-03-17T09:41:07+00:00",
      "2026-03-17T09:41:07+00:00 ",
      "2026-03-17T09:41:07 +00:00",
      "2026-03-17T09:41:07+0000",
      "2026-03-17T09:41:07+00 00",
      "2026-03-17T09:41:07UTC",
      "+2026-03-17T09:41:07+00:00"
    ]) {
      assert.isNotNull(readOrNull(text), text)
      assert.isTrue(Result.isFailure(Timestamp.fromSql(text)), text)
    }
    for (const text of ["2026-03-17 09:41:07z", "2026-03-17t10:41:07.0000+01:00"]) {
      assert.strictEqual(Result.getOrNull(Timestamp.fromSql(text)), "2026-03-17T09:41:07Z", text)
    }
  })

  it.prop("compare orders by instant", [times, times], ([a, b]) => {
    const order = Timestamp.compare(a, b)
    assert.strictEqual(Timestamp.compare(b, a) + order, 0)
    assert.strictEqual(order === 0, a === b)
    const shorter = [millisOf(a), millisOf(b)] as const
    if (shorter[0] !== shorter[1]) assert.strictEqual(order, shorter[0] < shorter[1] ? -1 : 1)
  })

  it("compare orders what Date cannot tell apart", () => {
    const ascending = [
      "-10000-06-01T00:00:00Z",
      "-9999-06-01T00:00:00Z",
      "-0001-01-01T00:00:00Z",
      "0000-01-01T00:00:00Z",
      "2016-12-31T23:59:59.999999999Z",
      "2016-12-31T23:59:60Z",
      "2016-12-31T23:59:60.000000001Z",
      "2016-12-31T23:59:60.100Z",
      "2016-12-31T23:59:60.100001Z",
      "2017-01-01T00:00:00Z",
      "9999-12-31T23:59:59Z",
      "+10000-01-01T00:00:00Z",
      "+100000-01-01T00:00:00Z"
    ].map(read)
    assert.deepStrictEqual(ascending.toReversed().toSorted(Timestamp.compare), ascending)
  })

  it.prop("toOrdered orders as compare does, as text", [times, times], ([a, b]) => {
    const [x, y] = [Timestamp.toOrdered(a), Timestamp.toOrdered(b)]
    const isUsual = (time: string) => /^\d/.test(time)
    if (isUsual(a) && isUsual(b)) {
      assert.strictEqual(x < y ? -1 : x > y ? 1 : 0, Timestamp.compare(a, b))
    } else if (isUsual(a)) {
      // The bounds of a query are in the years that have four digits.
      assert.strictEqual(x < y, b.startsWith("+"), `${a} ${b}`)
    }
  })

  it("a refusal shows the place, what was expected, and a text that is not too long", () => {
    const error = Result.getOrThrow(Result.flip(Timestamp.parse("2026-13-01T09:41:07Z")))
    assert.strictEqual(error.expected, "a month from 1 to 12")
    assert.strictEqual(error.actual, "13-01T09:41:07Z")
    const long = Result.getOrThrow(Result.flip(Timestamp.parse(`x${"😀".repeat(1000)}`)))
    assert.isBelow(long.message.length, 300)
    assert.isTrue(long.message.isWellFormed())
  })

  it.prop(
    "fromNanos keeps every digit, and no more than it needs",
    [
      Schema.Int.check(Schema.isBetween({ minimum: -1e13, maximum: 1e14 })),
      Schema.Literals([0n, 1n, 999n, 1_000n, 120_000n, 999_000n, 999_999n])
    ],
    ([millis, nanos]) => {
      const time = Timestamp.fromNanos(BigInt(millis) * 1_000_000n + nanos)
      assert.isTrue(Timestamp.isCanonical(time))
      assert.strictEqual(millisOf(time), millis)
      const digits = Timestamp.toSigning(time).slice(-4, -1)
      assert.strictEqual(digits, String(nanos / 1_000n).padStart(3, "0"))
      const rest = nanos % 1_000n
      assert.strictEqual(
        rest !== 0n,
        time.endsWith(`${String(rest).padStart(3, "0")}Z`) && rest > 0n
      )
    }
  )

  it("the schema takes canonical texts only", () => {
    const decode = Schema.decodeUnknownResult(Timestamp.Timestamp)
    assert.isTrue(Result.isSuccess(decode("2026-03-17T09:41:07Z")))
    assert.isTrue(Result.isFailure(decode("2026-03-17T09:41:07.0Z")))
  })
})

const millisOf = (time: string) =>
  Date.parse(time.replace(/^([+-])(\d+)/, (_, sign, year) => sign + year.padStart(6, "0")))
