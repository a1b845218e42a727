/**
 * JSON texts, valid by the grammar and awkward in every way that it allows: names and strings in
 * all spellings of their units, numbers at and beyond every edge, members named twice in two
 * spellings, white space everywhere; and such texts with a few places broken.
 */
import type { Choices } from "./choices.ts"

const plainTexts = ["a", "b", "", "aa", "ab", "n", "10", "9", "é", "name"]

const awkwardTexts = [
  "__proto__",
  "constructor",
  "toString",
  "\0",
  "\u001f",
  "\b\t\n\f\r",
  "\u007f\u0080",
  '"',
  "\\",
  '\\"',
  "/",
  "\u00a0",
  "\u2028",
  "\u2029",
  "\ufeff",
  "\ud7ff",
  "\ue000",
  "\uffff",
  "😀",
  "\u{10ffff}",
  "\ud83d\ude00a"
]

const loneSurrogates = ["\ud800", "\udbff", "\udc00", "\udfff", "\ude00\ud83d", "a\ud800a"]

/** Text, now and then with a lone surrogate in it. */
export const someText = (c: Choices): string => {
  const kind = c.below(16)
  if (kind < 9) return c.pick(plainTexts)
  if (kind < 14) return c.pick(awkwardTexts)
  if (kind === 14) return c.list(8, () => c.pick([...plainTexts, ...awkwardTexts])).join("")
  return c.once(3)
    ? c.pick(loneSurrogates)
    : String.fromCodePoint(0x20 + c.below(0xd800 - 0x20), 0xe000 + c.below(0x10ffff - 0xe000))
}

export const wellFormed = (c: Choices): string => someText(c).toWellFormed()

const shortEscapes: { readonly [unit: string]: string } = {
  "\b": "\\b",
  "\t": "\\t",
  "\n": "\\n",
  "\f": "\\f",
  "\r": "\\r",
  '"': '\\"',
  "\\": "\\\\",
  "/": "\\/"
}

const long = (unit: string, isUpper: boolean): string => {
  const hex = unit.charCodeAt(0).toString(16).padStart(4, "0")
  return `\\u${isUpper ? hex.toUpperCase() : hex}`
}

/** A JSON string for `text`, each unit in one of its spellings. */
export const spelled = (c: Choices, text: string): string => {
  const style = c.below(8)
  const units = Array.from({ length: text.length }, (_, at) => {
    const unit = text.charAt(at)
    const short = shortEscapes[unit]
    const mustEscape = unit < " " || unit === '"' || unit === "\\"
    const isLone = !unit.isWellFormed() && !text.isWellFormed()
    const isLong = style > 5 || (style === 5 && c.below(2) === 1)
    if (isLone && c.below(4) !== 3) return long(unit, style % 2 === 1)
    if (isLong) return long(unit, c.below(2) === 1)
    if (mustEscape || (short !== undefined && style > 3)) return short ?? long(unit, style === 3)
    return unit
  })
  return `"${units.join("")}"`
}

const edges = [
  "0",
  "-0",
  "0.0",
  "-0.0",
  "1e400",
  "-1e400",
  "1e-400",
  "0e999",
  "9007199254740993",
  "9223372036854775807",
  "-9223372036854775808",
  "-9223372036854775809",
  "18446744073709551615",
  "18446744073709551616",
  "184467440737095516159",
  "1.7976931348623157e308",
  "1.7976931348623159e308",
  "179769313486231580793e288",
  "5e-324",
  "2.4e-324",
  "2.2250738585072014e-308",
  "1e16",
  "1e15",
  "9999999999999999.5",
  "0.00001",
  "0.000009999999999999999",
  "1E+2",
  "1e00002",
  "123456789012345678.9",
  "0.1234567890123456789",
  "18446744073709551615.5e3",
  "3.10e-30",
  "961.1379677072017",
  "1.0000000000000000000000000000000000000000000001"
]

const digits = (c: Choices, max: number): string =>
  Array.from({ length: 1 + c.below(max) }, () => c.pick("0123456789".split(""))).join("")

/** A number by the grammar. */
export const numberText = (c: Choices): string => {
  const kind = c.below(8)
  if (kind < 2) return String(c.below(100))
  if (kind < 4) return c.pick(edges)
  const whole = digits(c, kind === 4 ? 26 : 5).replace(/^0+(?=\d)/, "")
  const fraction = c.below(3) === 0 ? "" : `.${digits(c, kind === 5 ? 26 : 6)}`
  const sign = c.pick(["", "+", "-"])
  const exponent = c.below(2) === 0 ? "" : `${c.pick(["e", "E"])}${sign}${digits(c, 3)}`
  return `${c.pick(["", "-"])}${whole}${fraction}${exponent}`
}

const spaces = [" ", "\n", "\t", "\r\n", "  \t", "\r"]

interface Style {
  readonly spaced: boolean
  readonly sorted: boolean
}

const space = (c: Choices, { spaced }: Style): string => (spaced && c.once(3) ? c.pick(spaces) : "")

const value = (c: Choices, depth: number, style: Style): string => {
  const kind = c.below(depth > 0 ? 8 : 4)
  if (kind === 0) return c.pick(["null", "true", "false"])
  if (kind === 1) return numberText(c)
  if (kind < 4) return style.sorted ? JSON.stringify(wellFormed(c)) : spelled(c, someText(c))
  const gap = () => space(c, style)
  const inner = () => `${gap()}${value(c, depth - 1, style)}${gap()}`
  if (kind < 6) return `[${c.list(4, inner).join(",") || gap()}]`
  if (style.sorted) {
    const names = new Set(c.list(6, () => wellFormed(c)))
    const sorted = [...names].toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    return `{${sorted.map((name) => `${JSON.stringify(name)}:${inner()}`).join(",")}}`
  }
  const member = () => `${gap()}${spelled(c, someText(c))}${gap()}:${inner()}`
  return `{${c.list(6, member).join(",") || gap()}}`
}

const nested = (c: Choices, inner: string): string => {
  const levels = 120 + c.below(12)
  const [open, close] = c.pick([
    ["[", "]"],
    ['{"a":', "}"],
    [' [ {"\\u0061" :', "} ]"]
  ])
  const times = open.length > 6 ? Math.ceil(levels / 2) : levels
  return `${open.repeat(times)}${inner}${close.repeat(times)}`
}

/** A text that follows the grammar; what the library refuses on purpose may be in it. */
export const jsonText = (c: Choices): string => {
  const style = { spaced: c.below(3) === 2, sorted: c.below(3) === 2 }
  const text = value(c, 4, style)
  const whole = c.once(40) ? nested(c, text) : text
  return `${space(c, style)}${whole}${space(c, style)}`
}

/** Nearly canonical text: what the fast ways must take, with few departures. */
export const tidyText = (c: Choices): string => value(c, 3, { spaced: false, sorted: true })

const fragments = [
  '"',
  "\\",
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  "0",
  "1",
  ".",
  "e",
  "-",
  "+",
  "\n"
].concat(
  [" ", "\u00a0", "\u2028", "\ufeff", "\u0085", "\v", "\f", "\0", "\u001f", "\u3000", "\u200b"],
  ["\\u0041", "\\uD83D", "\\ude00", "\\n", "\\q", "\\u12", "\\U0041", "\\x41", "\\'", "'"],
  ["null", "true", "nul", "NaN", "Infinity", "-Infinity", "undefined", "01", "1.", ".5", "+1"],
  ["0x1", "1_0", "1e", "1e+", "-", "--1", "1n", "//", "/**/", ",}", ",]", "{,", '"a":', "a:1"],
  ['"a":1,', "[[[[", "]]]]", "1e400", "\ud83d", "\ude00", "😀", "é"]
)

/** Overwrite, insert or cut at a few places of a text. */
export const broken = (c: Choices, text: string): string => {
  let edited = text
  for (let edits = 1 + c.below(3); edits > 0; edits--) {
    const at = c.below(edited.length + 1)
    const patch = c.below(4) === 0 ? "" : c.pick(fragments)
    edited = edited.slice(0, at) + patch + edited.slice(at + c.below(4))
  }
  return edited
}
