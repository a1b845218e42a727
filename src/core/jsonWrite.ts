/**
 * Internal: writes canonical JSON, from a text that was checked before (`Writer`) or from a
 * JavaScript value (`Encoder`). The form is stated in CanonicalJson.ts.
 *
 * Both throw `Refused` inside, which never leaves this module's callers in `core`: the writer's
 * position and the encoder's steps, as they stand when it is thrown, are the place.
 */
import * as Result from "effect/Result"
import { clip, JsonError, pointer, type Reason } from "./jsonError.ts"
import { type Numbers, spellNumber } from "./jsonNumber.ts"
import { sortUtf8, unquote } from "./jsonNames.ts"
import { check, strict } from "./jsonText.ts"

/** A value that has no canonical form; caught where the place is known. */
export class Refused {
  readonly reason: Reason
  readonly expected: string
  readonly actual: string

  constructor(reason: Reason, expected: string, actual: string) {
    this.reason = reason
    this.expected = expected
    this.actual = actual
  }
}

/** The canonical text of a number in range. */
export const spell = (number: string, numbers: Numbers): string => {
  const text = spellNumber(number, numbers)
  if (text !== null) return text
  throw new Refused("number_respelled", "a number that Cortex keeps, or a string", clip(number))
}

const isSpace = (unit: number): boolean =>
  unit === 0x20 || unit === 0x0a || unit === 0x0d || unit === 0x09

/** Writes one text that a scanner has passed; so it only looks for where things end. */
export class Writer {
  /** Where it is; after a refusal, the start of the number that was refused. */
  at = 0
  private readonly text: string
  private readonly number: (text: string) => string

  constructor(text: string, number: (text: string) => string) {
    this.text = text
    this.number = number
  }

  write(): string {
    switch (this.next()) {
      case 0x7b:
        return this.object()
      case 0x5b:
        return this.array()
      case 0x22:
        return this.string()
      default:
        return this.word()
    }
  }

  /** The next unit that is not whitespace. */
  private next(): number {
    while (isSpace(this.text.charCodeAt(this.at))) this.at++
    return this.text.charCodeAt(this.at)
  }

  private object(): string {
    // By name; of equal names the last stays.
    const members = new Map<string, string>()
    let isFirst = true
    this.at++
    while (this.next() !== 0x7d) {
      if (!isFirst) this.at++
      isFirst = false
      this.next()
      const quoted = this.string()
      this.next()
      this.at++
      members.set(unquote(quoted, 0, quoted.length), `${quoted}:${this.write()}`)
    }
    this.at++
    let text = "{"
    for (const name of sortUtf8([...members.keys()])) {
      text += `${text.length > 1 ? "," : ""}${members.get(name) ?? ""}`
    }
    return `${text}}`
  }

  private array(): string {
    let text = "["
    this.at++
    while (this.next() !== 0x5d) {
      if (text.length > 1) {
        this.at++
        text += ","
      }
      text += this.write()
    }
    this.at++
    return `${text}]`
  }

  private string(): string {
    const start = this.at
    let unit = this.text.charCodeAt(++this.at)
    let hasEscape = false
    while (unit !== 0x22) {
      if (unit === 0x5c) hasEscape = true
      this.at += unit === 0x5c ? 2 : 1
      unit = this.text.charCodeAt(this.at)
    }
    const string = this.text.slice(start, ++this.at)
    return hasEscape ? JSON.stringify(unquote(string, 0, string.length)) : string
  }

  private word(): string {
    const start = this.at
    let end = start
    while (end < this.text.length && !isWordEnd(this.text.charCodeAt(end))) end++
    const word = this.text.slice(start, end)
    const text = word.charCodeAt(0) > 0x39 ? word : this.number(word)
    this.at = end
    return text
  }
}

const isWordEnd = (unit: number): boolean =>
  unit === 0x2c || unit === 0x5d || unit === 0x7d || isSpace(unit)

/** Writes one JavaScript value as the form of what `JSON.stringify` gives for it. */
export class Encoder {
  private readonly numbers: Numbers
  private readonly steps: Array<string | number> = []
  private readonly open: Array<object> = []

  constructor(numbers: Numbers) {
    this.numbers = numbers
  }

  write(value: unknown): string {
    return this.property(value, "")
  }

  /** The error for what `write` threw. */
  errorOf(cause: unknown): JsonError {
    const { reason, expected, actual } = refusedBy(cause)
    return new JsonError({ reason, path: pointer(this.steps), offset: null, expected, actual })
  }

  private property(input: unknown, key: string | number): string {
    const value = isObject(input) ? unboxed(converted(input, key)) : input
    switch (typeof value) {
      case "string":
        return this.string(value)
      case "number":
        return this.number(value)
      case "boolean":
        return value ? "true" : "false"
      case "object":
        return isObject(value) ? this.container(value) : "null"
      default:
        throw new Refused("not_json_value", "a JSON value", `a value of type ${typeof value}`)
    }
  }

  private string(text: string): string {
    if (text.isWellFormed()) return JSON.stringify(text)
    throw new Refused("lone_surrogate", "surrogates in pairs", "a surrogate alone")
  }

  private number(value: number): string {
    if (Number.isSafeInteger(value)) return String(value)
    // What JavaScript prints with a fraction and without exponent is in the form.
    const isNormal = !Number.isInteger(value) && Math.abs(value) >= 1e-5
    if (Number.isFinite(value)) {
      const text = String(value)
      return isNormal && this.numbers === "lossless" ? text : spell(text, this.numbers)
    }
    throw new Refused("not_json_value", "a finite number", String(value))
  }

  private container(value: Readable): string {
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype === null && isRawJson(value)) return this.raw(JSON.stringify(value))
    if (this.open.includes(value)) {
      throw new Refused("cycle", "a value without cycles", "a value that contains itself")
    }
    if (this.open.length >= strict.nestingMax) {
      const expected = `at most ${strict.nestingMax} nested arrays and objects`
      throw new Refused("too_deep", expected, "one more")
    }
    this.open.push(value)
    const text = Array.isArray(value) ? this.array(value) : this.object(value)
    this.open.pop()
    return text
  }

  private array(values: ReadonlyArray<unknown>): string {
    const length = values.length
    let text = "["
    for (let i = 0; i < length; i++) {
      this.steps.push(i)
      text += `${i === 0 ? "" : ","}${this.property(values[i], i)}`
      this.steps.pop()
    }
    return `${text}]`
  }

  private object(value: Readable): string {
    const names = sortUtf8(Object.keys(value))
    let text = "{"
    for (const name of names) {
      this.steps.push(name)
      if (text.length > 1) text += ","
      text += `${this.string(name)}:${this.property(value[name], name)}`
      this.steps.pop()
    }
    return `${text}}`
  }

  /** `JSON.rawJSON`: the text of one primitive. */
  private raw(text: string): string {
    const checked = check(text, strict)
    if (Result.isFailure(checked)) {
      const { reason, expected, actual } = checked.failure
      throw new Refused(reason, expected, actual)
    }
    return new Writer(text, (number) => spell(number, this.numbers)).write()
  }
}

/** What any object is to its reader. */
interface Readable {
  readonly [name: string]: unknown
}

const isObject = (value: unknown): value is Readable =>
  (typeof value === "object" && value !== null) || typeof value === "function"

const converted = (value: Readable, key: string | number): unknown => {
  const toJson = value["toJSON"]
  return typeof toJson === "function" ? Reflect.apply(toJson, value, [String(key)]) : value
}

const isPlain = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null || Array.isArray(value)
}

const unboxed = (value: unknown): unknown => {
  if (!isObject(value) || isPlain(value)) return value
  switch (Object.prototype.toString.call(value)) {
    case "[object Number]":
      return holds(Number.prototype.valueOf, value) ? Number(value) : value
    case "[object String]":
      return holds(String.prototype.valueOf, value) ? String(value) : value
    case "[object Boolean]":
      return holds(Boolean.prototype.valueOf, value) ? Boolean.prototype.valueOf.call(value) : value
    case "[object BigInt]":
      return holds(BigInt.prototype.valueOf, value) ? BigInt.prototype.valueOf.call(value) : value
    default:
      return value
  }
}

/**
 * Whether the primitive that this `valueOf` reads really is inside: a class may call itself
 * "Number".
 */
const holds = (valueOf: () => unknown, value: object): boolean => {
  try {
    Reflect.apply(valueOf, value, [])
    return true
  } catch {
    return false
  }
}

// Not in every engine yet.
const rawJsonTest: unknown = Reflect.get(JSON, "isRawJSON")

const isRawJson = (value: object): boolean =>
  typeof rawJsonTest === "function" && rawJsonTest(value) === true

const refusedBy = (cause: unknown): Refused => {
  let message = ""
  try {
    if (cause instanceof Refused) return cause
    if (cause instanceof Error && typeof cause.message === "string") message = clip(cause.message)
  } catch {
    // What was thrown may throw, too, when it is looked at; it has no message then.
  }
  const actual = message === "" ? "something thrown" : `thrown: ${message}`
  return new Refused("threw", "a value that can be read", actual)
}
