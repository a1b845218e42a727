/**
 * Internal: reads JSON text in place, without building anything.
 *
 * One pass checks the grammar (RFC 8259), nesting, numbers and surrogates, finds repeated members,
 * and learns whether the text already is in canonical form: no whitespace, members ascending by
 * UTF-8 bytes, minimal escapes (only `"` `\` and controls; `\b \f \n \r \t`, else `\u00xx` in lower
 * case), numbers as the rules spell them. An index counts UTF-16 units of the text; errors give
 * bytes.
 */
import * as Result from "effect/Result"
import { clip, errorAt, type JsonError, type Reason } from "./jsonError.ts"
import { cortexNumber, exactDigitsMax, isNormal, type Numbers, spellNumber } from "./jsonNumber.ts"
import { Names, unquote } from "./jsonNames.ts"

/**
 * What a value must keep to. `nestingMax`: containers that may be open at once, 127 at most.
 * `numbers`: the spelling that counts as canonical; left out, `isCanonical` says nothing about
 * numbers, and the check is faster.
 */
export interface Rules {
  readonly nestingMax: number
  readonly duplicates: "refused" | "kept"
  readonly numbers?: Numbers
}

/** What a payload must keep to. */
export const strict: Rules = { nestingMax: 126, duplicates: "refused" }

/** What Cortex reads: of a repeated member the last counts. */
export const cortex: Rules = { nestingMax: 127, duplicates: "kept" }

/** One member of an object: its name, and the span of its value in the text. */
export interface Member {
  readonly name: string
  readonly start: number
  readonly end: number
}

interface Fault {
  readonly index: number
  readonly reason: Reason
  readonly expected: string
  readonly actual: string
}

const isDigit = (unit: number): boolean => unit >= 0x30 && unit <= 0x39

const isHigh = (unit: number): boolean => (unit & 0xfc00) === 0xd800
const isLow = (unit: number): boolean => (unit & 0xfc00) === 0xdc00

// A string's first units are looked at one by one; from here on the regular expression is faster.
const runMax = 24
// Quotes, backslashes, controls, surrogates: all but these.
const notable = /[^ !#-[\]-\ud7ff\ue000-\uffff]/g

const nextNotable = (text: string, index: number): number => {
  notable.lastIndex = index
  return notable.test(text) ? notable.lastIndex - 1 : text.length
}

/**
 * Walks one text. Every method that answers an index answers -1 where the text breaks a rule: then
 * `error()` says how and where, and the scanner is of no further use. What lies before the index
 * given must already have been walked.
 */
export class Scanner {
  readonly text: string
  readonly rules: Rules
  /** Whether everything walked so far is in canonical form. Means nothing after a fault. */
  isCanonical = true
  /**
   * Whether the string walked last has an escape; if not, what lies between its quotes is the
   * string itself.
   */
  hasEscape = false
  private fault: Fault | null = null
  // The spans of the names read so far in all open objects, start and end in turn.
  private readonly spans: Array<number> = []
  private spansEnd = 0

  constructor(text: string, rules: Rules) {
    if (rules.nestingMax > 127) throw new RangeError("nestingMax above 127")
    this.text = text
    this.rules = rules
  }

  /** The error of the walk that answered -1. */
  error(): JsonError {
    if (this.fault === null) throw new Error("no rule is broken")
    const { index, reason, expected, actual } = this.fault
    return errorAt(this.text, index, reason, expected, actual)
  }

  /** The index of the next unit that is not whitespace. */
  skipSpace(index: number): number {
    let at = index
    while (at < this.text.length) {
      const unit = this.text.charCodeAt(at)
      if (unit > 0x20 || (unit !== 0x20 && unit !== 0x0a && unit !== 0x0d && unit !== 0x09)) break
      at++
    }
    if (at !== index) this.isCanonical = false
    return at
  }

  /** Checks that only whitespace follows; the text's end. */
  endOfText(index: number): number {
    const at = this.skipSpace(index)
    return at === this.text.length ? at : this.wrong(at, "the end of the text")
  }

  /** Checks the value that starts at `index`, which may be whitespace before it; where it ends. */
  endOfValue(index: number, nesting = 0): number {
    const at = this.skipSpace(index)
    if (at >= this.text.length) return this.wrong(at, "a value")
    switch (this.text.charCodeAt(at)) {
      case 0x22:
        return this.endOfString(at)
      case 0x7b:
        return this.endOfObject(at, nesting + 1, null)
      case 0x5b:
        return this.endOfArray(at, nesting + 1)
      case 0x74:
        return this.endOfWord(at, "true")
      case 0x66:
        return this.endOfWord(at, "false")
      case 0x6e:
        return this.endOfWord(at, "null")
      default:
        return this.endOfNumber(at)
    }
  }

  /**
   * Checks the string whose opening quote must be at `index`; where it ends, behind the closing
   * quote.
   */
  endOfString(index: number): number {
    const text = this.text
    this.hasEscape = false
    if (text.charCodeAt(index) !== 0x22) return this.wrong(index, "a string")
    let at = index + 1
    let runEnd = at + runMax
    while (at < text.length) {
      const unit = text.charCodeAt(at)
      if (unit === 0x22) return at + 1
      if (unit < 0x20) return this.wrong(at, "an escape for this control character")
      if (unit === 0x5c) {
        this.hasEscape = true
        at = this.endOfEscape(at)
        if (at === -1) return -1
        runEnd = at + runMax
      } else if ((unit & 0xf800) === 0xd800) {
        if (isLow(unit) || !isLow(text.charCodeAt(at + 1))) return this.lone(at, unit)
        at += 2
        runEnd = at + runMax
      } else if (++at === runEnd) at = nextNotable(text, at)
    }
    return this.wrong(at, "the string's closing quote")
  }

  /**
   * Checks the object that starts at `index`, which may be whitespace before it, and adds its
   * members to `found`. Their names may repeat, and each value's nesting is its own.
   */
  endOfMembers(index: number, found: Array<Member>): number {
    const at = this.skipSpace(index)
    return this.text.charCodeAt(at) === 0x7b
      ? this.endOfObject(at, 0, found)
      : this.wrong(at, "an object")
  }

  private endOfEscape(index: number): number {
    switch (this.text.charCodeAt(index + 1)) {
      case 0x2f:
        this.isCanonical = false
        return index + 2
      case 0x22:
      case 0x5c:
      case 0x62:
      case 0x66:
      case 0x6e:
      case 0x72:
      case 0x74:
        return index + 2
      case 0x75:
        return this.endOfUnicode(index)
      default:
        return this.wrong(Math.min(index + 1, this.text.length), 'one of " \\ / b f n r t u')
    }
  }

  private endOfUnicode(index: number): number {
    const unit = this.hex(index + 2)
    if (unit === -1) return -1
    // \b \t \n \f \r have escapes of their own.
    const hasShort = unit >= 0x08 && unit <= 0x0d && unit !== 0x0b
    const isLower = !/[A-F]/.test(this.text.slice(index + 2, index + 6))
    if (unit >= 0x20 || hasShort || !isLower) this.isCanonical = false
    if ((unit & 0xf800) !== 0xd800) return index + 6
    if (!isHigh(unit) || !this.text.startsWith("\\u", index + 6)) return this.lone(index, unit)
    const low = this.hex(index + 8)
    if (low === -1) return -1
    return isLow(low) ? index + 12 : this.lone(index, unit)
  }

  private hex(index: number): number {
    let value = 0
    for (let at = index; at < index + 4; at++) {
      const unit = at < this.text.length ? this.text.charCodeAt(at) : 0
      const letter = unit | 0x20
      if (isDigit(unit)) value = value * 16 + unit - 0x30
      else if (letter >= 0x61 && letter <= 0x66) value = value * 16 + letter - 0x57
      else return this.wrong(Math.min(at, this.text.length), "a hex digit")
    }
    return value
  }

  private endOfWord(index: number, word: string): number {
    return this.text.startsWith(word, index) ? index + word.length : this.wrong(index, "a value")
  }

  private endOfArray(index: number, nesting: number): number {
    const text = this.text
    if (nesting > this.rules.nestingMax) return this.tooDeep(index)
    let at = this.skipSpace(index + 1)
    if (text.charCodeAt(at) === 0x5d) return at + 1
    for (;;) {
      at = this.endOfValue(at, nesting)
      if (at === -1) return -1
      at = this.skipSpace(at)
      const unit = text.charCodeAt(at)
      if (unit === 0x5d) return at + 1
      if (unit !== 0x2c) return this.wrong(at, "',' or ']'")
      at++
    }
  }

  private endOfObject(index: number, nesting: number, found: Array<Member> | null): number {
    const text = this.text
    if (nesting > this.rules.nestingMax) return this.tooDeep(index)
    let at = this.skipSpace(index + 1)
    if (text.charCodeAt(at) === 0x7d) return at + 1
    const isWatched = found === null && this.rules.duplicates === "refused"
    const names = isWatched ? new Names(text, this.spans, this.spansEnd) : null
    for (;;) {
      const open = this.skipSpace(at)
      const close = this.endOfString(open)
      if (close === -1) return -1
      if (names !== null) {
        if (!names.add(open, close, this.hasEscape)) return this.repeated(open, close)
        this.spansEnd = names.end
      }
      at = this.skipSpace(close)
      if (text.charCodeAt(at) !== 0x3a) return this.wrong(at, "':'")
      const start = this.skipSpace(at + 1)
      at = this.endOfValue(start, nesting)
      if (at === -1) return -1
      found?.push({ name: unquote(text, open, close), start, end: at })
      at = this.skipSpace(at)
      const unit = text.charCodeAt(at)
      if (unit === 0x7d) break
      if (unit !== 0x2c) return this.wrong(at, "',' or '}'")
      at++
    }
    if (names !== null) {
      this.spansEnd = names.first
      if (!names.isAscending) this.isCanonical = false
    }
    return at + 1
  }

  private endOfNumber(index: number): number {
    const text = this.text
    const whole = text.charCodeAt(index) === 0x2d ? index + 1 : index
    let at = this.endOfDigits(whole)
    if (at === whole) return this.wrong(index, at === index ? "a value" : "a number")
    if (text.charCodeAt(whole) === 0x30 && at > whole + 1) {
      return this.wrong(whole + 1, "no digit after a leading 0")
    }
    const wholeEnd = at
    let fractionEnd = at
    if (text.charCodeAt(at) === 0x2e) {
      fractionEnd = this.endOfDigits(at + 1)
      if (fractionEnd === at + 1) return this.wrong(fractionEnd, "a digit")
      at = fractionEnd
    }
    const hasExponent = (text.charCodeAt(at) | 0x20) === 0x65
    if (hasExponent) {
      const sign = text.charCodeAt(at + 1)
      const exponent = sign === 0x2b || sign === 0x2d ? at + 2 : at + 1
      at = this.endOfDigits(exponent)
      if (at === exponent) return this.wrong(at, "a digit")
      // Fewer digits than these cannot leave the range of a double.
      if (at - exponent > 2 && !this.isInRange(index, at)) return -1
    }
    if (wholeEnd - whole > 200 && !this.isInRange(index, at)) return -1
    const { numbers } = this.rules
    if (this.isCanonical && numbers !== undefined) {
      const isSure = !hasExponent && isNormal(text, whole, wholeEnd, fractionEnd)
      if (!isSure || (numbers === "cortex" && fractionEnd - whole > exactDigitsMax)) {
        const number = text.slice(index, at)
        this.isCanonical = spellNumber(number, numbers) === number
      }
    }
    return at
  }

  private endOfDigits(index: number): number {
    let at = index
    while (at < this.text.length && isDigit(this.text.charCodeAt(at))) at++
    return at
  }

  private isInRange(start: number, end: number): boolean {
    const number = this.text.slice(start, end)
    if (cortexNumber(number) !== null) return true
    this.fail(start, "number_out_of_range", "a number in the range of a double", clip(number))
    return false
  }

  private wrong(index: number, expected: string): -1 {
    const unit = index < this.text.length ? this.text.charCodeAt(index) : -1
    if (unit === 0xfeff && index === 0) return this.fail(0, "bom", expected, "a byte order mark")
    const actual = unit === -1 ? "the end of the text" : describe(this.text, index)
    return this.fail(index, "syntax", expected, actual)
  }

  private tooDeep(index: number): -1 {
    const expected = `at most ${this.rules.nestingMax} nested arrays and objects`
    return this.fail(index, "too_deep", expected, "one more")
  }

  private lone(index: number, unit: number): -1 {
    const actual = `U+${unit.toString(16).toUpperCase()} alone`
    return this.fail(index, "lone_surrogate", "surrogates in pairs", actual)
  }

  private repeated(start: number, end: number): -1 {
    const name = clip(unquote(this.text, start, end))
    return this.fail(start, "duplicate_member", "each name once in an object", `${name} again`)
  }

  private fail(index: number, reason: Reason, expected: string, actual: string): -1 {
    this.fault = { index, reason, expected, actual }
    return -1
  }
}

/**
 * The unit at `index`, for an error: the character in quotes, or its number if it cannot be seen.
 */
const describe = (text: string, index: number): string => {
  const point = text.codePointAt(index) ?? 0
  if (point > 0x20 && point < 0x7f) return `'${String.fromCodePoint(point)}'`
  return `U+${point.toString(16).toUpperCase().padStart(4, "0")}`
}

/** Checks that `text` is one JSON value by `rules`, whitespace around it allowed. */
export const check = (text: string, rules: Rules): Result.Result<void, JsonError> => {
  const scanner = new Scanner(text, rules)
  const end = scanner.endOfValue(0)
  return end === -1 || scanner.endOfText(end) === -1
    ? Result.fail(scanner.error())
    : Result.succeed(undefined)
}

/**
 * The members of the one object that `text` is, in its order, each value checked by `rules` (their
 * nesting is that of the value). A name may be there twice on this level, the caller judges; inside
 * the values the rules do.
 */
export const members = (
  text: string,
  rules: Rules = strict
): Result.Result<ReadonlyArray<Member>, JsonError> => {
  const scanner = new Scanner(text, rules)
  const found: Array<Member> = []
  const end = scanner.endOfMembers(0, found)
  return end === -1 || scanner.endOfText(end) === -1
    ? Result.fail(scanner.error())
    : Result.succeed(found)
}
