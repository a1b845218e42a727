// Points in time, as text. A Timestamp is the text that stands in a row: RFC 3339 in UTC with
// capital `T` and `Z`, and a fraction of 0, 3, 6 or 9 digits, as few as lose nothing:
//
//     YYYY-MM-DDTHH:MM:SS[.fff[fff[fff]]]Z       row
//     the same with +00:00 for Z                 column of the mirror
//     the same with 6 digits, cut not rounded    signing input
//
// Years 0 to 9999 have four digits; all others a sign and at least four (-0001, +10000), from
// -262143 to +262142. Second 60 (a leap second) may stand in any minute and is kept. Rows are
// hashed and signed over these texts, so neither the form nor what `parse` makes of a text may
// ever change. No Date here: it holds neither nanoseconds nor leap seconds.

import { Result, Schema } from "effect"

const YEAR_MIN = -262_143
const YEAR_MAX = 262_142
const MILLIS_PER_DAY = 86_400_000
const NANOS_PER_MILLI = 1_000_000n
const MINUTES_PER_DAY = 1_440
const TEXT_CLIP = 64

/**
 * A text that is no point in time. `text` is cut to 64 characters; `expected` names the part that
 * is missing or out of range, `actual` shows the text from there on.
 */
export class TimestampInvalid extends Schema.TaggedError<TimestampInvalid>()("TimestampInvalid", {
  text: Schema.String,
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message() {
    return (
      `"${this.text}" is not a timestamp: expected ${this.expected}, found "${this.actual}"; ` +
      "write it like 2026-03-17T09:41:07.123Z"
    )
  }
}

/**
 * Whether `text` is exactly what a row holds: true for a text that `parse` maps to itself and for
 * no other. Made for one call per row: constant time, no allocation for years of four digits.
 */
export const isCanonical = (text: string): text is Timestamp => {
  const dateAt = yearEnd(text)
  const year = canonicalYear(text, dateAt)
  const month = twoDigits(text, dateAt + 1)
  const day = twoDigits(text, dateAt + 4)
  return (
    year !== undefined &&
    text.charCodeAt(dateAt) === MINUS &&
    text.charCodeAt(dateAt + 3) === MINUS &&
    month >= 1 &&
    month <= 12 &&
    day >= 1 &&
    (day <= 28 || day <= daysIn(year, month)) &&
    isCanonicalTime(text, dateAt + 6)
  )
}

/** The branded text, checked by `isCanonical`. */
export const Timestamp = Schema.String.check(
  Schema.makeFilter(isCanonical, { expected: "an RFC 3339 time in UTC with 0, 3, 6 or 9 digits" })
).pipe(Schema.brand("Timestamp"))
export type Timestamp = typeof Timestamp.Type

/**
 * Reads a time as rows were always read, leniently: any offset, `UTC` or `z`; space or `t` for
 * `T`; fields of one digit; white space between the parts; digits beyond the ninth cut.
 */
export const parse = (text: string): Result.Result<Timestamp, TimestampInvalid> =>
  isCanonical(text) ? Result.succeed(text) : new Scanner(text, false).dateTime()

/** The text for the mirror's column: `+00:00` instead of `Z`. */
export const toSql = (time: Timestamp): string => time.slice(0, -1) + SQL_ZONE

/**
 * Reads a mirror column: RFC 3339 to the letter, so four-digit years without a sign only, fields
 * of two digits, no spaces but one for `T`. What `toSql` writes for other years is refused.
 */
export const fromSql = (text: string): Result.Result<Timestamp, TimestampInvalid> => {
  if (text.endsWith(SQL_ZONE)) {
    const inUtc = text.slice(0, -SQL_ZONE.length) + "Z"
    if (isDigit(text.charCodeAt(0)) && isCanonical(inUtc)) return Result.succeed(inUtc)
  }
  return new Scanner(text, true).dateTime()
}

/**
 * The text without its zone, which orders as the instants do in the years 0000 to 9999; years before
 * sort before them, years after behind them (`:` stands for the sign, as it follows the digits).
 */
export const toOrdered = (time: Timestamp): string => time.slice(0, -1).replace(/^\+/, ":")

/** The text for signing inputs: always six digits, further ones cut. */
export const toSigning = (time: Timestamp): string => {
  const dot = time.indexOf(".")
  const fraction = dot < 0 ? "" : time.slice(dot + 1, -1)
  const whole = time.slice(0, dot < 0 ? -1 : dot)
  return `${whole}.${fraction.slice(0, 6).padEnd(6, "0")}Z`
}

/** `millis` milliseconds after 1970-01-01T00:00:00Z. Throws unless whole and in range. */
export const fromMillis = (millis: number): Timestamp => {
  if (!Number.isSafeInteger(millis)) throw new RangeError(`not whole milliseconds: ${millis}`)
  const days = Math.floor(millis / MILLIS_PER_DAY)
  const rest = millis - days * MILLIS_PER_DAY
  const { year, month, day } = civilFromDays(days)
  if (year < YEAR_MIN || year > YEAR_MAX) throw new RangeError(`no such year: ${year}`)
  const seconds = Math.floor(rest / 1_000)
  const minutes = Math.floor(seconds / 60)
  const fraction = padded(rest % 1_000, 3) + "000000"
  return format(year, month, day, minutes, seconds % 60, fraction)
}

/** Milliseconds after 1970-01-01T00:00:00Z, further digits cut; second 60 is the next minute's. */
export const toMillis = (time: Timestamp): number => {
  const end = yearEnd(time)
  const at = (offset: number) => twoDigits(time, end + offset)
  const days = daysFromCivil(Number(time.slice(0, end)), at(1), at(4))
  const seconds = (at(7) * 60 + at(10)) * 60 + at(13)
  return days * MILLIS_PER_DAY + seconds * 1_000 + Number(time.slice(end + 16, end + 19))
}

/** Nanoseconds after 1970-01-01T00:00:00Z; second 60 is the next minute's. */
export const toNanos = (time: Timestamp): bigint => {
  const beyond = time.slice(yearEnd(time) + 19, -1).padEnd(6, "0")
  return BigInt(toMillis(time)) * NANOS_PER_MILLI + BigInt(beyond)
}

/** `nanos` nanoseconds after 1970-01-01T00:00:00Z, as few digits as they need. */
export const fromNanos = (nanos: bigint): Timestamp => {
  const rest = ((nanos % NANOS_PER_MILLI) + NANOS_PER_MILLI) % NANOS_PER_MILLI
  const time = fromMillis(Number((nanos - rest) / NANOS_PER_MILLI))
  if (rest === 0n) return time
  const whole = toSigning(time).slice(0, -4)
  const digits = String(rest).padStart(6, "0")
  return Result.getOrThrow(
    parse(`${whole}${digits.endsWith("000") ? digits.slice(0, 3) : digits}Z`)
  )
}

/** Orders by instant: -1, 0 or 1. A leap second lies between its minute and the next. */
export const compare = (a: Timestamp, b: Timestamp): -1 | 0 | 1 => {
  const aEnd = yearEnd(a)
  const bEnd = yearEnd(b)
  const years = Number(a.slice(0, aEnd)) - Number(b.slice(0, bEnd))
  if (years !== 0) return years < 0 ? -1 : 1
  // Within a year text order is time order, once the Z is gone: it sorts after the point.
  const aText = a.slice(aEnd, -1)
  const bText = b.slice(bEnd, -1)
  return aText < bText ? -1 : aText > bText ? 1 : 0
}

const SQL_ZONE = "+00:00"
const ZERO = 0x30
const MINUS = 0x2d
const PLUS = 0x2b
const COLON = 0x3a
const POINT = 0x2e

const isDigit = (code: number) => code >= ZERO && code <= ZERO + 9

const padded = (value: number, digits: number) => value.toString().padStart(digits, "0")

// Unicode White_Space: with U+0085 and without U+FEFF, the reverse of what \s and trim take.
const SPACES =
  "\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009" +
  "\u200a\u2028\u2029\u202f\u205f\u3000"

const isLeapYear = (year: number) => year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)

const daysIn = (year: number, month: number) =>
  month === 2 ? (isLeapYear(year) ? 29 : 28) : 30 + ((month + (month >> 3)) & 1)

/** Days from 1970-01-01, counted in years that begin in March: the leap day is then the last. */
const daysFromCivil = (year: number, month: number, day: number) => {
  const y = month > 2 ? year : year - 1
  const era = Math.floor(y / 400)
  const yearOfEra = y - era * 400
  const dayOfYear = Math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1
  const dayOfEra =
    yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear
  return era * 146_097 + dayOfEra - 719_468
}

const civilFromDays = (days: number) => {
  const shifted = days + 719_468
  const era = Math.floor(shifted / 146_097)
  const dayOfEra = shifted - era * 146_097
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1_460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365
  )
  const dayOfYear =
    dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const fromMarch = Math.floor((5 * dayOfYear + 2) / 153)
  const month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  return { year, month, day: dayOfYear - Math.floor((153 * fromMarch + 2) / 5) + 1 }
}

/** `fraction` has nine digits. The only place, beside `isCanonical`, that gives out the brand. */
const format = (
  year: number,
  month: number,
  day: number,
  minuteOfDay: number,
  second: number,
  fraction: string
) => {
  const digits = padded(Math.abs(year), 4)
  const sign = year < 0 ? "-" : year > 9999 ? "+" : ""
  const hour = Math.floor(minuteOfDay / 60)
  const date = `${sign}${digits}-${padded(month, 2)}-${padded(day, 2)}`
  const time = `${padded(hour, 2)}:${padded(minuteOfDay % 60, 2)}:${padded(second, 2)}`
  let length = 9
  while (length > 0 && fraction.startsWith("000", length - 3)) length -= 3
  return `${date}T${time}${length > 0 ? "." : ""}${fraction.slice(0, length)}Z` as Timestamp
}

/** Where the year ends if `text` is a Timestamp; some number below 8 otherwise. */
const yearEnd = (text: string) => {
  const first = text.charCodeAt(0)
  if (first !== PLUS && first !== MINUS) return 4
  let end = 1
  while (end < 7 && isDigit(text.charCodeAt(end))) end++
  return end
}

const canonicalYear = (text: string, end: number): number | undefined => {
  const first = text.charCodeAt(0)
  if (first !== PLUS && first !== MINUS) {
    const high = twoDigits(text, 0)
    const low = twoDigits(text, 2)
    return high < 0 || low < 0 ? undefined : high * 100 + low
  }
  const digits = text.slice(1, end)
  if (digits.length < 4 || (digits.length > 4 && digits.startsWith("0"))) return undefined
  const year = first === PLUS ? Number(digits) : -Number(digits)
  return (year > 9999 && year <= YEAR_MAX) || (year < 0 && year >= YEAR_MIN) ? year : undefined
}

/** -1 where there are no two digits. */
const twoDigits = (text: string, at: number) => {
  const high = text.charCodeAt(at)
  const low = text.charCodeAt(at + 1)
  return isDigit(high) && isDigit(low) ? (high - ZERO) * 10 + (low - ZERO) : -1
}

/** `at` is the place of the T. */
const isCanonicalTime = (text: string, at: number) => {
  const hour = twoDigits(text, at + 1)
  const minute = twoDigits(text, at + 4)
  const second = twoDigits(text, at + 7)
  const fractionAt = at + 9
  return (
    text.charCodeAt(at) === 0x54 &&
    text.charCodeAt(at + 3) === COLON &&
    text.charCodeAt(at + 6) === COLON &&
    hour >= 0 &&
    hour <= 23 &&
    minute >= 0 &&
    minute <= 59 &&
    second >= 0 &&
    second <= 60 &&
    text.charCodeAt(text.length - 1) === 0x5a &&
    (text.length === fractionAt + 1 || isCanonicalFraction(text, fractionAt))
  )
}

/** The point is at `at`, the Z at the end. The last group of three must say something. */
const isCanonicalFraction = (text: string, at: number) => {
  const digits = text.length - at - 2
  if (text.charCodeAt(at) !== POINT || (digits !== 3 && digits !== 6 && digits !== 9)) return false
  for (let i = at + 1; i <= at + digits; i++) if (!isDigit(text.charCodeAt(i))) return false
  return !text.startsWith("000", at + digits - 2)
}

/**
 * One grammar, read from left to right, strictly or leniently. The first part that is not there
 * stops it: no later step moves on or reports anything.
 */
class Scanner {
  private readonly text: string
  private readonly strict: boolean
  private at = 0
  private missing: string | undefined = undefined

  constructor(text: string, strict: boolean) {
    this.text = text
    this.strict = strict
  }

  dateTime(): Result.Result<Timestamp, TimestampInvalid> {
    this.gap()
    const year = this.year()
    this.separator("-")
    const month = this.number("a month", 2, 1, 12)
    this.separator("-")
    const day = this.number("a day of this month", 2, 1, daysIn(year, month))
    this.oneOf("Tt ", "T")
    this.gap()
    const hour = this.number("an hour", 2, 0, 23)
    this.separator(":")
    const minute = this.number("a minute", 2, 0, 59)
    this.separator(":")
    const second = this.number("a second", 2, 0, 60)
    const fraction = this.fraction()
    this.gap()
    const minutes = hour * 60 + minute - this.offsetMinutes()
    this.gap()
    if (this.at < this.text.length) this.miss("the end")

    const dayShift = Math.floor(minutes / MINUTES_PER_DAY)
    const utc = civilFromDays(daysFromCivil(year, month, day) + dayShift)
    if (utc.year < YEAR_MIN || utc.year > YEAR_MAX) this.miss("a year that is in range in UTC too")
    if (this.missing !== undefined) return this.invalid(this.missing)
    const minuteOfDay = minutes - dayShift * MINUTES_PER_DAY
    return Result.succeed(format(utc.year, utc.month, utc.day, minuteOfDay, second, fraction))
  }

  /** NaN at the end of the text and once something was missing: no comparison with it holds. */
  private code(): number {
    return this.missing === undefined ? this.text.charCodeAt(this.at) : Number.NaN
  }

  private miss(expected: string): void {
    this.missing ??= expected
  }

  private isAtOneOf(characters: string): boolean {
    const code = this.code()
    return code >= 0 && characters.includes(String.fromCharCode(code))
  }

  private gap(): void {
    if (!this.strict) while (this.isAtOneOf(SPACES)) this.at++
  }

  private oneOf(characters: string, expected: string): void {
    if (this.isAtOneOf(characters)) this.at++
    else this.miss(expected)
  }

  private separator(character: string): void {
    this.gap()
    this.oneOf(character, `"${character}"`)
    this.gap()
  }

  private number(
    what: string,
    digitsMax: number,
    min: number,
    max: number,
    digitsMin = this.strict ? digitsMax : 1
  ): number {
    const start = this.at
    let value = 0
    while (this.at - start < digitsMax && isDigit(this.code())) {
      value = value * 10 + (this.code() - ZERO)
      this.at++
    }
    const digits = this.at - start
    if (digits < digitsMin || value < min || value > max) {
      if (this.missing === undefined) this.at = start
      this.miss(`${what} from ${min} to ${max}`)
    }
    return value
  }

  /** Four digits; leniently, or a sign and any number of digits. */
  private year(): number {
    const sign = this.code()
    if (this.strict || (sign !== PLUS && sign !== MINUS)) return this.number("a year", 4, 0, 9999)
    this.at++
    if (sign === PLUS) return this.number("a year", Number.POSITIVE_INFINITY, 0, YEAR_MAX)
    return -this.number("a year", Number.POSITIVE_INFINITY, 0, -YEAR_MIN)
  }

  /** Nine digits; zeros where there is no fraction. */
  private fraction(): string {
    if (this.code() !== POINT) return "000000000"
    const start = ++this.at
    while (isDigit(this.code())) this.at++
    if (this.at === start) this.miss("a digit")
    return this.text.slice(start, Math.min(this.at, start + 9)).padEnd(9, "0")
  }

  /** Between hours and minutes: one colon; leniently, any number of colons and spaces, or none. */
  private offsetMinutes(): number {
    const sign = this.code()
    const word = this.strict ? "" : this.text.slice(this.at, this.at + 3)
    if (sign >= 0 && word.toUpperCase() === "UTC") {
      this.at += 3
      return 0
    }
    this.oneOf("Zz+-\u2212", "Z or an offset")
    if (sign === 0x5a || sign === 0x7a) return 0
    const hours = this.number("hours of the offset", 2, 0, 23, 2)
    if (this.strict) this.oneOf(":", '":"')
    else while (this.isAtOneOf(`:${SPACES}`)) this.at++
    const minutes = this.number("minutes of the offset", 2, 0, 59, 2)
    return sign === PLUS ? hours * 60 + minutes : -(hours * 60 + minutes)
  }

  private invalid(expected: string): Result.Result<never, TimestampInvalid> {
    const { text, at } = this
    return Result.fail(
      new TimestampInvalid({ text: clipped(text), expected, actual: clipped(text.slice(at)) })
    )
  }
}

// A cut through the middle of a character would leave a text that is not UTF-8.
const clipped = (text: string) =>
  (text.length > TEXT_CLIP ? `${text.slice(0, TEXT_CLIP)}…` : text).toWellFormed()
