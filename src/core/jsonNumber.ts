/**
 * Internal: the spelling of numbers in canonical JSON.
 *
 * Reading, as Cortex reads (not exact): the digits before and after the point are taken as one
 * integer while it fits 64 bits, further ones are dropped; that integer becomes the nearest double,
 * which is then multiplied or divided ONCE by a power of ten (below 10^-308 in steps). An infinite
 * product is out of range. Integers from -2^63 to 2^64-1 stay integers, all but `-0`. Writing:
 * shortest digits; plain from 1e-5 up to below 1e16, with `.0` if need be; else `1e-6`, `1.5e+16`.
 *
 * Never to change: these spellings are hashed.
 */

/**
 * How numbers are written. `lossless`: in Cortex's spelling where that has exactly the same value,
 * else as they stand. `cortex`: in Cortex's spelling, refused where the value or a second reading
 * would differ.
 */
export type Numbers = "lossless" | "cortex"

const u64Max = "18446744073709551615"
const i64Min = "9223372036854775808"
const powersOfTen: ReadonlyArray<number> = Array.from({ length: 309 }, (_, n) => Number(`1e${n}`))

interface Parts {
  readonly negative: boolean
  readonly whole: string
  readonly fraction: string
  /** `null`: there is none. */
  readonly exponent: number | null
}

const partsOf = (text: string): Parts => {
  const negative = text.charCodeAt(0) === 0x2d
  const e = text.search(/[eE]/)
  const mantissaEnd = e === -1 ? text.length : e
  const point = text.indexOf(".")
  return {
    negative,
    whole: text.slice(negative ? 1 : 0, point === -1 ? mantissaEnd : point),
    fraction: point === -1 ? "" : text.slice(point + 1, mantissaEnd),
    exponent: e === -1 ? null : Number(text.slice(e + 1))
  }
}

const isInteger = (parts: Parts): boolean => parts.fraction === "" && parts.exponent === null

const fits = (digits: string, greatest: string): boolean =>
  digits.length < greatest.length || (digits.length === greatest.length && digits <= greatest)

const withoutLeadingZeros = (digits: string): string => {
  let at = 0
  while (at < digits.length && digits.charCodeAt(at) === 0x30) at++
  return digits.slice(at)
}

const significandOf = (parts: Parts): { readonly digits: string; readonly exponent: number } => {
  let digits = withoutLeadingZeros(parts.whole)
  let exponent = parts.exponent ?? 0
  if (digits.length + parts.fraction.length < u64Max.length) {
    return { digits: digits + parts.fraction, exponent: exponent - parts.fraction.length }
  }
  if (!fits(digits, u64Max)) {
    const kept = fits(digits.slice(0, u64Max.length), u64Max) ? u64Max.length : u64Max.length - 1
    exponent += digits.length - kept
    digits = digits.slice(0, kept)
  }
  // A digit of the fraction may still fit where a digit of the whole part did not: Cortex takes it.
  for (const digit of parts.fraction) {
    const next = digits === "" && digit === "0" ? "" : digits + digit
    if (!fits(next, u64Max)) break
    digits = next
    exponent--
  }
  return { digits, exponent }
}

const toDouble = (parts: Parts): number => {
  const significand = significandOf(parts)
  let exponent = significand.exponent
  let value = Number(significand.digits)
  while (value !== 0) {
    const power = powersOfTen[Math.abs(exponent)]
    if (power !== undefined) {
      value = exponent >= 0 ? value * power : value / power
      break
    }
    if (exponent >= 0) return Infinity
    value /= 1e308
    exponent += 308
  }
  return parts.negative ? -value : value
}

const print = (value: number): string => {
  if (value === 0) return Object.is(value, -0) ? "-0.0" : "0.0"
  const size = Math.abs(value)
  if (size >= 1e16 || size < 1e-5) return value.toExponential()
  const text = String(value)
  return text.includes(".") ? text : `${text}.0`
}

/**
 * What Cortex writes after reading `text`, a JSON number; `null` if that is out of range.
 */
export const cortexNumber = (text: string): string | null => {
  const parts = partsOf(text)
  if (isInteger(parts)) {
    if (parts.whole === "0") return parts.negative ? "-0.0" : "0"
    if (fits(parts.whole, parts.negative ? i64Min : u64Max)) return text
  }
  const value = toDouble(parts)
  return Number.isFinite(value) ? print(value) : null
}

const exactOf = (text: string): string => {
  const parts = partsOf(text)
  const all = withoutLeadingZeros(parts.whole + parts.fraction)
  let end = all.length
  while (end > 0 && all.charCodeAt(end - 1) === 0x30) end--
  if (end === 0) return parts.negative ? "-0" : "0"
  const exponent = (parts.exponent ?? 0) - parts.fraction.length + (all.length - end)
  return `${parts.negative ? "-" : ""}${all.slice(0, end)}e${exponent}`
}

/**
 * Whether two JSON numbers are the same decimal value, digit for digit; a zero keeps its sign.
 */
export const isSameNumber = (a: string, b: string): boolean => a === b || exactOf(a) === exactOf(b)

/**
 * Decimals of at most so many digits, without an exponent, are read exactly, and are the shortest
 * for what is read.
 */
export const exactDigitsMax = 15

/**
 * Whether a number without exponent, its sign left out, stands in Cortex's spelling of its decimal
 * value. Then it is canonical where numbers are lossless, whatever Cortex reads. May say no where
 * it does.
 */
export const isNormal = (text: string, start: number, wholeEnd: number, end: number): boolean => {
  const wholeDigits = wholeEnd - start
  const isBelowOne = text.charCodeAt(start) === 0x30
  // Of integers: none that could be beyond 64 bits, nor `-0`.
  if (wholeEnd === end) {
    return isBelowOne ? text.charCodeAt(start - 1) !== 0x2d : wholeDigits < i64Min.length
  }
  if (wholeDigits > 16) return false
  if (text.charCodeAt(end - 1) === 0x30) return end - wholeEnd === 2
  return !isBelowOne || !text.startsWith(".0000", wholeEnd)
}

/**
 * The text to write for `text`, a JSON number in range; `null` where the rule `cortex` refuses it.
 */
export const spellNumber = (text: string, numbers: Numbers): string | null => {
  const cortex = cortexNumber(text)
  if (cortex === text) return text
  const same = cortex !== null && isSameNumber(text, cortex)
  if (numbers === "lossless") return same ? cortex : text
  // `3.10e-30` may be read as another double than the `3.1e-30` it is written as.
  return same && cortexNumber(cortex) === cortex ? cortex : null
}
