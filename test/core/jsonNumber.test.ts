import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import * as fs from "node:fs"
import {
  cortexNumber,
  exactDigitsMax,
  isNormal,
  isSameNumber,
  spellNumber
} from "../../src/core/jsonNumber.ts"

interface Case {
  readonly input: string
  readonly canonical?: string
}

const cases: ReadonlyArray<Case> = fs
  .readFileSync(new URL("../vectors/cortex/canonical.jsonl", import.meta.url), "utf8")
  .trimEnd()
  .split("\n")
  .map((line) => JSON.parse(line))

const isNumber = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/

const natural = (maximum: number) =>
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum })))

const digits = (maxLength: number) =>
  Arbitrary.map(Arbitrary.array(natural(9), { maxLength }), (list) => list.join(""))

const pick = <A>(list: ReadonlyArray<A>) =>
  Arbitrary.map(natural(list.length - 1), (i) => list[i] ?? list[0])

/** Long integers, long fractions, exponents at both ends, and the edges of 64 bits. */
const numberText = Arbitrary.map(
  Arbitrary.all([
    pick(["", "", "-"]),
    pick(["", "", "", "18446744073709551615", "1844674407370955161", "9223372036854775808"]),
    digits(24),
    pick(["", "", "0000", "000000000000000000000"]),
    digits(24),
    pick(["", "", "e", "E+", "e-"]),
    Arbitrary.all([natural(40), natural(340), natural(2)])
  ]),
  ([sign, edge, whole, zeros, fraction, e, [small, large, which]]) => {
    const all = (edge ?? "") + whole
    const start = all.replace(/^0+/, "") === "" ? "0" : all.replace(/^0+/, "")
    const point = fraction === "" ? "" : `.${zeros}${fraction}`
    return `${sign}${start}${point}${e === "" ? "" : `${e}${which === 0 ? large : small}`}`
  }
)

const u64Max = 2n ** 64n - 1n

/** Cortex's reading, digit by digit with 64-bit integers; `null` is out of range. */
const textbookRead = (text: string): bigint | number | null => {
  const [, sign = "", whole = "", , fraction = "", e] =
    /^(-?)([0-9]+)(\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?$/.exec(text) ?? []
  let significand = 0n
  let exponent = 0n
  let isFull = false
  for (const digit of whole) {
    const next = significand * 10n + BigInt(digit)
    isFull ||= next > u64Max
    if (isFull) exponent++
    else significand = next
  }
  if (fraction === "" && e === undefined && !isFull) {
    const value = sign === "-" ? -significand : significand
    if (value >= -(2n ** 63n) && !(sign === "-" && significand === 0n)) return value
  }
  isFull = false
  for (const digit of fraction) {
    const next = significand * 10n + BigInt(digit)
    isFull ||= next > u64Max
    if (isFull) continue
    significand = next
    exponent--
  }
  exponent += BigInt(e ?? 0)
  let value = Number(significand)
  while (value !== 0 && exponent < -308n) {
    value /= 1e308
    exponent += 308n
  }
  if (value !== 0 && exponent > 308n) return null
  if (value !== 0) {
    const power = Number(`1e${exponent < 0n ? -exponent : exponent}`)
    value = exponent < 0n ? value / power : value * power
  }
  if (value === Infinity) return null
  return sign === "-" ? -value : value
}

/** The decimal value as a fraction of two integers, which side by side can be compared exactly. */
const textbookValue = (text: string): readonly [bigint, bigint] => {
  const [, sign = "", whole = "", , fraction = "", e = "0"] =
    /^(-?)([0-9]+)(\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?$/.exec(text) ?? []
  const exponent = BigInt(e) - BigInt(fraction.length)
  const digits = BigInt(`${whole}${fraction}`) * (sign === "-" ? -1n : 1n)
  return exponent >= 0n ? [digits * 10n ** exponent, 1n] : [digits, 10n ** -exponent]
}

const isSameTextbook = (a: string, b: string): boolean => {
  const [p, q] = textbookValue(a)
  const [r, s] = textbookValue(b)
  return p * s === r * q && a.startsWith("-") === b.startsWith("-")
}

const isNormalText = (text: string): boolean => {
  if (/e/i.test(text)) return false
  const start = text.startsWith("-") ? 1 : 0
  const point = text.indexOf(".")
  return isNormal(text, start, point === -1 ? text.length : point, text.length)
}

describe("jsonNumber", () => {
  it("prints every number as Cortex does", () => {
    const numbers = cases.filter(({ input }) => isNumber.test(input))
    assert.isAbove(numbers.length, 100)
    for (const { input, canonical } of numbers) {
      assert.strictEqual(cortexNumber(input), canonical ?? null, input)
    }
  })

  it.prop(
    "reads as Cortex does, with its inexact decimals",
    [numberText],
    ([text]) => {
      const value = textbookRead(text)
      const printed = cortexNumber(text)
      if (value === null || typeof value === "bigint") {
        assert.strictEqual(printed, value === null ? null : String(value))
      } else {
        assert.isTrue(printed !== null && Object.is(Number(printed), value), `${text} ${printed}`)
        assert.match(printed ?? "", /[.e]/)
      }
    },
    { arbitrary: { runs: 3000 } }
  )

  it.prop("compares decimals exactly", [numberText], ([text]) => {
    const printed = cortexNumber(text) ?? text
    assert.strictEqual(isSameNumber(text, printed), isSameTextbook(text, printed))
    assert.isTrue(isSameNumber(text, `${text.replace(/[eE].*/, "")}${/[eE].*/.exec(text) ?? "e0"}`))
  })

  it.prop(
    "respells only to exactly the same value, and only once",
    [numberText],
    ([text]) => {
      if (cortexNumber(text) === null) return
      const lossless = spellNumber(text, "lossless") ?? ""
      assert.isTrue(lossless === text || isSameTextbook(lossless, text))
      assert.strictEqual(spellNumber(lossless, "lossless"), lossless)
      const cortex = spellNumber(text, "cortex")
      if (cortex === null) return
      assert.isTrue(isSameTextbook(cortex, text))
      assert.strictEqual(cortexNumber(cortex), cortex)
      assert.strictEqual(spellNumber(cortex, "cortex"), cortex)
      assert.strictEqual(lossless, cortex)
    },
    { arbitrary: { runs: 3000 } }
  )

  it.prop("finds no number normal that would be respelled", [numberText], ([text]) => {
    if (!isNormalText(text)) return
    assert.strictEqual(spellNumber(text, "lossless"), text)
    if (text.length <= exactDigitsMax) assert.strictEqual(spellNumber(text, "cortex"), text)
  })

  it("finds the usual numbers normal", () => {
    for (const text of ["0", "7", "-12", "0.5", "-0.0", "1.0", "0.0001", "1234567890123456.5"]) {
      assert.isTrue(isNormalText(text), text)
    }
    for (const text of ["-0", "1.10", "1.00", "0.00001", "12345678901234567.5", "1e2"]) {
      assert.isFalse(isNormalText(text), text)
    }
  })

  const spelled: ReadonlyArray<readonly [string, string, string | null]> = [
    ["1", "1", "1"],
    ["1.0", "1.0", "1.0"],
    ["1.10", "1.1", "1.1"],
    ["1e2", "100.0", "100.0"],
    ["-0", "-0.0", "-0.0"],
    ["0e5", "0.0", "0.0"],
    ["0.0000012", "1.2e-6", "1.2e-6"],
    ["100000000000000000000", "1e+20", "1e+20"],
    ["18446744073709551615", "18446744073709551615", "18446744073709551615"],
    ["18446744073709551616", "18446744073709551616", null],
    ["0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827", null],
    ["1e-400", "1e-400", null],
    // Cortex reads another double from each of these.
    ["961.1379677072017", "961.1379677072017", null],
    ["1.3830379104639265e0", "1.3830379104639265e0", null],
    // It would read the first one right, but not what it prints for it.
    ["6.080824448835453000e-14", "6.080824448835453e-14", null]
  ]
  for (const [text, lossless, cortex] of spelled) {
    it(`spells ${text} as ${lossless}, for Cortex ${cortex ?? "not at all"}`, () => {
      assert.strictEqual(spellNumber(text, "lossless"), lossless)
      assert.strictEqual(spellNumber(text, "cortex"), cortex)
    })
  }
})
