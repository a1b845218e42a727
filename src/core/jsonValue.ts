/**
 * Internal: the JavaScript value of a JSON text that was checked before.
 *
 * V8 13 (Node 24) may read a member name that is written with an escape as another name, when an
 * object with a similar one was parsed before (nodejs/node#63785): `{"\"":1}` comes back as
 * `{"\\":1}`. A reader that changes names is no reader of a ledger, so text with a backslash in it
 * is read here, and only its strings and numbers, one by one, by `JSON.parse`.
 */
import { unquote } from "./jsonNames.ts"

const space = /[\t\n\r ]*/y
const scalar = /[^\t\n\r ,\]}]*/y

const after = (pattern: RegExp, text: string, index: number): number => {
  pattern.lastIndex = index
  pattern.test(text)
  return pattern.lastIndex
}

/** Reads one checked text; nesting is bounded by that check. */
class Reader {
  private index = 0
  private readonly text: string

  constructor(text: string) {
    this.text = text
  }

  value(): unknown {
    this.index = after(space, this.text, this.index)
    const unit = this.text.charCodeAt(this.index)
    const read =
      unit === 0x7b
        ? this.object()
        : unit === 0x5b
          ? this.array()
          : unit === 0x22
            ? this.string()
            : this.scalar()
    this.index = after(space, this.text, this.index)
    return read
  }

  private string(): string {
    const start = this.index
    let end = this.text.indexOf('"', start + 1)
    // A quote ends the string unless an odd number of backslashes stands before it.
    while (this.isEscaped(end)) end = this.text.indexOf('"', end + 1)
    this.index = end + 1
    return unquote(this.text, start, end + 1)
  }

  private isEscaped(quote: number): boolean {
    let at = quote
    while (this.text.charCodeAt(at - 1) === 0x5c) at--
    return (quote - at) % 2 === 1
  }

  private scalar(): unknown {
    const start = this.index
    this.index = after(scalar, this.text, start)
    return JSON.parse(this.text.slice(start, this.index))
  }

  private array(): ReadonlyArray<unknown> {
    const items: Array<unknown> = []
    while (this.enter(0x5d)) items.push(this.value())
    return items
  }

  private object(): object {
    const made: object = {}
    while (this.enter(0x7d)) {
      this.index = after(space, this.text, this.index)
      const name = this.string()
      this.index = after(space, this.text, this.index) + 1
      // Defined, not assigned: `__proto__` is a member like any other.
      const value = this.value()
      Object.defineProperty(made, name, {
        value,
        enumerable: true,
        configurable: true,
        writable: true
      })
    }
    return made
  }

  /** Step over `[`, `{` or `,`; false at the closing bracket, which is stepped over too. */
  private enter(close: number): boolean {
    const unit = this.text.charCodeAt(this.index)
    this.index = after(space, this.text, this.index + 1)
    if (unit === close) return false
    const isEmpty = unit !== 0x2c && this.text.charCodeAt(this.index) === close
    if (isEmpty) this.index++
    return !isEmpty
  }
}

/** The value of a text that is known to be JSON. Throws, or answers nonsense, for any other. */
export const valueOf = (text: string): unknown =>
  text.includes("\\") ? new Reader(text).value() : JSON.parse(text)
