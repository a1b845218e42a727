/**
 * What the design says must become of a mutated journal, written down a second time.
 *
 * It knows nothing of hashes: a line is a row if it is, byte for byte, a line that some ledger of
 * the test once wrote, and follows another if that ledger wrote it behind the same line. From this
 * alone follow the verdict of a verification and its first place, and what opening does. Only for
 * segments; the reader of Cortex's files is lenient, and has rules of its own.
 */
import * as Segment from "../../src/core/Segment.ts"
import type { Files, Made } from "./fixture.ts"

interface Known {
  /** The text of the line before it; "" for a first row. */
  readonly before: string
  readonly index: number
  readonly size: number
}

/** Every line that the ledgers of a test wrote, by its bytes. */
export type KnownLines = ReadonlyMap<string, Known>

const textOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1")

export const knownLines = (...all: ReadonlyArray<Made>): KnownLines => {
  const known = new Map<string, Known>()
  for (const { lines } of all) {
    let before = ""
    for (const { bytes, index, size } of lines) {
      const text = textOf(bytes)
      known.set(text, { before, index, size })
      before = text
    }
  }
  return known
}

interface Token {
  readonly number: number
  readonly offset: number
  readonly text: string
  readonly isTerminated: boolean
}

function* tokensOf(bytes: Uint8Array, from = 0): Generator<Token> {
  const text = textOf(bytes)
  for (let offset = from, number = 1; offset < text.length; number++) {
    const lf = text.indexOf("\n", offset)
    const end = lf === -1 ? text.length : lf
    yield { number, offset, text: text.slice(offset, end), isTerminated: lf !== -1 }
    offset = end + 1
  }
}

const sorted = (files: Files): ReadonlyArray<readonly [string, Uint8Array]> =>
  [...files].toSorted(([a], [b]) => (a < b ? -1 : 1))

/** Rows taken one after the other: the line before, and the group that is open. */
class Run {
  rows: number
  before: string
  open: { readonly next: number; readonly size: number } | undefined
  readonly known: KnownLines

  constructor(known: KnownLines, rows = 0, before = "") {
    this.known = known
    this.rows = rows
    this.before = before
  }

  /** Whether this line is the next row; then it is taken. */
  takes(text: string): boolean {
    const row = this.known.get(text)
    if (row === undefined || row.before !== this.before) return false
    const { next, size } = this.open ?? { next: 0, size: row.size }
    if (row.index !== next || row.size !== size) return false
    this.open = next + 1 < size ? { next: next + 1, size } : undefined
    this.rows++
    this.before = text
    return true
  }
}

/** Where a verification must find the first fault; `line` 0 for a file as a whole. */
export interface Fault {
  readonly file: string
  readonly line: number
  readonly offset: number
  /** Undefined where it has no row: a blank line, a file. */
  readonly seq: number | undefined
}

export interface Verdict {
  readonly rows: number
  readonly fault: Fault | "short" | undefined
}

/** What the mirror holds: the first rows of a ledger, at their places. */
export interface Mirrored {
  readonly made: Made
  readonly rows: number
}

/** What verification must say; with a mirror, of which all rows at hand are the first. */
export const verdictOf = (files: Files, known: KnownLines, mirror?: Mirrored): Verdict => {
  const run = new Run(known)
  const all = sorted(files)
  for (const [name] of all) {
    if (Segment.firstSeq(name) === undefined)
      return { rows: 0, fault: { file: name, line: 0, offset: 0, seq: undefined } }
  }
  for (const [nth, [file, bytes]] of all.entries()) {
    const isLast = nth === all.length - 1
    const at = (token: Token, seq: number | undefined): Verdict => ({
      rows: run.rows,
      fault: { file, line: token.number, offset: token.offset, seq }
    })
    if (Segment.firstSeq(file) !== run.rows + 1 || (bytes.byteLength === 0 && !isLast)) {
      return { rows: run.rows, fault: { file, line: 0, offset: 0, seq: undefined } }
    }
    let last: Token | undefined
    for (const token of tokensOf(bytes)) {
      const committed = mirror?.rows ?? Number.POSITIVE_INFINITY
      if (isLast && !token.isTerminated && run.rows >= committed) break
      last = token
      if (token.text === "") return at(token, undefined)
      const seq = run.rows + 1
      if (!run.takes(token.text) || !token.isTerminated) return at(token, seq)
      const own = seq <= committed ? mirror?.made.lines[seq - 1] : undefined
      if (own === undefined) continue
      if (own.file !== file || own.offset !== token.offset || textOf(own.bytes) !== token.text) {
        return at(token, seq)
      }
    }
    const isInFlight = isLast && mirror !== undefined && run.rows > mirror.rows
    if (run.open !== undefined && last !== undefined && !isInFlight) return at(last, run.rows)
  }
  const isShort = mirror !== undefined && run.rows < mirror.rows
  return { rows: run.rows, fault: isShort ? "short" : undefined }
}

export type Opening =
  | { readonly _tag: "LedgerDiverged" }
  | {
      readonly _tag: "LedgerDamaged"
      /** Where, if it is a line. */
      readonly at: { readonly file: string; readonly offset: number } | undefined
    }
  | {
      readonly _tag: "Opens"
      readonly rows: number
      readonly cut: { readonly file: string; readonly offset: number } | undefined
      readonly completes: boolean
    }

const damaged = (file?: string, offset = 0): Opening => ({
  _tag: "LedgerDamaged",
  at: file === undefined ? undefined : { file, offset }
})

/** Whether the mirror's newest row lies where it says, its LF behind it. */
const isAnchored = (files: Files, { made, rows }: Mirrored): boolean => {
  const line = made.lines[rows - 1]
  if (line === undefined) return true
  const bytes = files.get(line.file) ?? new Uint8Array()
  const found = bytes.subarray(line.offset, line.offset + line.bytes.byteLength + 1)
  return textOf(found) === `${textOf(line.bytes)}\n`
}

/** What opening must do, given how many rows of `made` the mirror holds (0: it was deleted). */
export const openingOf = (files: Files, known: KnownLines, mirror: Mirrored): Opening => {
  const all = sorted(files)
  if (all.some(([name]) => Segment.firstSeq(name) === undefined)) return damaged()
  if (!isAnchored(files, mirror)) return { _tag: "LedgerDiverged" }
  const anchor = mirror.made.lines[mirror.rows - 1]
  const run = new Run(known, mirror.rows, anchor === undefined ? "" : textOf(anchor.bytes))
  let whole = run.rows
  let lacksLf: Token | undefined
  for (const [nth, [file, bytes]] of all.entries()) {
    if (anchor !== undefined && file < anchor.file) continue
    const isLast = nth === all.length - 1
    // A row without its LF is complete only where the journal ends with it.
    if (lacksLf !== undefined && bytes.byteLength > 0) return damaged()
    const from = file === anchor?.file ? anchor.offset + anchor.bytes.byteLength + 1 : 0
    const isNamed = Segment.firstSeq(file) === run.rows + 1
    if (from === 0 && (!isNamed || (bytes.byteLength === 0 && !isLast))) return damaged()
    let groupStart = from
    for (const token of tokensOf(bytes, from)) {
      if (run.open === undefined) groupStart = token.offset
      if (run.takes(token.text)) {
        if (run.open === undefined) whole = run.rows
        lacksLf = token.isTerminated ? undefined : token
        continue
      }
      const isTorn = !token.isTerminated || token.text.includes("\0")
      if (!isLast || !isTorn || known.has(token.text) || hasGroupBehind(bytes, token, known)) {
        return damaged(file, token.offset)
      }
      return { _tag: "Opens", rows: whole, cut: { file, offset: groupStart }, completes: false }
    }
    if (run.open === undefined) continue
    if (!isLast) return damaged()
    return { _tag: "Opens", rows: whole, cut: { file, offset: groupStart }, completes: false }
  }
  return { _tag: "Opens", rows: whole, cut: undefined, completes: lacksLf !== undefined }
}

/** Whether a row that begins a group stands behind a line: then the line was not the last write. */
const hasGroupBehind = (bytes: Uint8Array, { offset, text }: Token, known: KnownLines): boolean => {
  for (const token of tokensOf(bytes, offset + text.length + 1)) {
    if (known.get(token.text)?.index === 0) return true
  }
  return false
}
