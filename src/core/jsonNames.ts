/**
 * Internal: names of members: their order, and whether one is there twice.
 *
 * The order is that of the names' UTF-8 bytes. It differs from JavaScript's own, by UTF-16 units,
 * in one point: what surrogates stand for, U+10000 and above, comes after U+E000 to U+FFFF.
 */

// So many names of an object are compared one by one; for more that would be quadratic.
const comparedMax = 16

/**
 * A unit's rank in the order of UTF-8 bytes: surrogates, which stand for U+10000 and above, come
 * last.
 */
const rank = (unit: number): number =>
  unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800

/** Compares two spans of a text by the UTF-8 bytes of what they hold; 0 if equal. */
const compareSpans = (
  a: string,
  aStart: number,
  aEnd: number,
  b: string,
  bStart: number,
  bEnd: number
): number => {
  const shared = Math.min(aEnd - aStart, bEnd - bStart)
  for (let i = 0; i < shared; i++) {
    const x = a.charCodeAt(aStart + i)
    const y = b.charCodeAt(bStart + i)
    if (x !== y) return rank(x) - rank(y)
  }
  return aEnd - aStart - (bEnd - bStart)
}

/**
 * The order of two well-formed strings by their UTF-8 bytes: negative, 0 or positive.
 */
export const compareUtf8 = (a: string, b: string): number =>
  a === b ? 0 : compareSpans(a, 0, a.length, b, 0, b.length)

const isAscending = (names: ReadonlyArray<string>): boolean => {
  for (let i = 1; i < names.length; i++) {
    if (compareUtf8(names[i - 1] ?? "", names[i] ?? "") >= 0) return false
  }
  return true
}

/** `names` in order. JavaScript's own order is nearly always the same, and quicker to reach. */
export const sortUtf8 = (names: ReadonlyArray<string>): ReadonlyArray<string> => {
  if (isAscending(names)) return names
  const sorted = names.toSorted()
  return isAscending(sorted) ? sorted : sorted.toSorted(compareUtf8)
}

/**
 * The string that the JSON string from `start` (its quote) to `end` (behind its quote) stands for.
 */
export const unquote = (text: string, start: number, end: number): string => {
  const inner = text.slice(start + 1, end - 1)
  return inner.includes("\\") ? String(JSON.parse(text.slice(start, end))) : inner
}

/**
 * The names of one open object, as spans of the text; they lie on a stack that all open objects
 * share.
 */
export class Names {
  readonly first: number
  end: number
  isAscending = true
  private seen: Set<string> | null = null
  private readonly text: string
  private readonly spans: Array<number>

  constructor(text: string, spans: Array<number>, first: number) {
    this.text = text
    this.spans = spans
    this.first = first
    this.end = first
  }

  /** Adds the name from `start` to `end`, its quotes included; false if it is there already. */
  add(start: number, end: number, hasEscape: boolean): boolean {
    if (hasEscape && this.seen === null) this.seen = this.decoded()
    const isNew = this.seen === null ? this.isNewSpan(start, end) : this.isNewName(start, end)
    if (!isNew) return false
    this.spans[this.end] = start
    this.spans[this.end + 1] = end
    this.end += 2
    return true
  }

  private isNewSpan(start: number, end: number): boolean {
    if (this.end === this.first) return true
    const order = this.compare(this.end - 2, start, end)
    if (order < 0 && this.isAscending) return true
    this.isAscending = false
    if (order === 0) return false
    if (this.end - this.first > 2 * comparedMax) {
      this.seen = this.decoded()
      return this.isNewName(start, end)
    }
    for (let at = this.first; at < this.end; at += 2) {
      if (this.compare(at, start, end) === 0) return false
    }
    return true
  }

  private compare(at: number, start: number, end: number): number {
    const { spans, text } = this
    return compareSpans(
      text,
      (spans[at] ?? 0) + 1,
      (spans[at + 1] ?? 0) - 1,
      text,
      start + 1,
      end - 1
    )
  }

  private isNewName(start: number, end: number): boolean {
    const seen = this.seen ?? this.decoded()
    const name = unquote(this.text, start, end)
    if (this.isAscending && this.end > this.first) {
      const last = unquote(this.text, this.spans[this.end - 2] ?? 0, this.spans[this.end - 1] ?? 0)
      this.isAscending = compareUtf8(last, name) < 0
    }
    return seen.size < seen.add(name).size
  }

  private decoded(): Set<string> {
    const seen = new Set<string>()
    for (let at = this.first; at < this.end; at += 2) {
      seen.add(unquote(this.text, this.spans[at] ?? 0, this.spans[at + 1] ?? 0))
    }
    return seen
  }
}
