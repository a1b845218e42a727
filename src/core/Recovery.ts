/**
 * What to do about the rows beyond the mirror when a ledger opens: a pure decision.
 *
 * `TailScan` is shown the lines that follow a head known to be sound. Its `plan` says which whole
 * groups follow, where the last of them lies (the page cache may be its only copy, so it is written
 * again), whether a last group is torn and must be cut, or which line is damage:
 *
 *   torn    the last group runs into the end of the last file, or has a NUL byte in it (a block
 *           that was never written); it was never acknowledged
 *   damage  a whole line whose hashes are wrong or that does not link, or an incomplete group that
 *           is followed by a row which begins a later one; only an explicit repair goes past it
 *
 * A whole row that only lacks its LF, its group complete, is kept and gets the LF.
 */
import { Result } from "effect"
import * as Chain from "./Chain.ts"
import type { Event } from "./Event.ts"
import * as Hashes from "./Hashes.ts"
import * as Row from "./Row.ts"
import type { Line } from "./Segment.ts"

/** A range of bytes of one journal file. */
export interface Range {
  readonly path: string
  readonly offset: number
  readonly length: number
}

/** Where and why a line is neither sound nor torn. `follows`: rows stand behind it. */
export interface Damage {
  readonly _tag: "Damage"
  readonly path: string
  readonly offset: number
  readonly line: number
  readonly seq: number
  readonly reason: string
  readonly follows: boolean
  /** After the last whole group before it, and where that ends; undefined before the first. */
  readonly head: Chain.Head
  readonly end: { readonly path: string; readonly offset: number } | undefined
}

/** What opening may do by itself. All of it is idempotent. */
export interface Plan {
  readonly _tag: "Plan"
  /** After the last whole group. */
  readonly head: Chain.Head
  /** The bytes of the last whole group that was seen, its final LF not counted if missing. */
  readonly rewrite: Range | undefined
  /** Whether the last line lacks its LF. */
  readonly lineIncomplete: boolean
  /** What is cut: from the start of a torn group to the end of its file. */
  readonly cut: Range | undefined
}

interface Trouble {
  readonly line: Line
  readonly seq: number
  readonly reason: string
  /** Whether this line may be the remains of a write that was never acknowledged. */
  readonly torn: boolean
  follows: boolean
}

/** Why a line is no sound row; `whole` where it cannot be what a torn write left of one. */
interface Unsound {
  readonly reason: string
  readonly whole: boolean
}

/** Fed the lines beyond a sound head, file by file, in order. */
export class TailScan {
  private readonly format: Row.Format
  private readonly hashes: Hashes.Hashes
  /** After the last row that was sound, whole group or not. */
  private running: Chain.Head
  /** After the last whole group. */
  private head: Chain.Head
  private groupStart: { path: string; offset: number } | undefined
  private pending: { next: number; size: number } | undefined
  private rewrite: Range | undefined
  private lineIncomplete = false
  private trouble: Trouble | undefined
  private last: Line | undefined

  constructor(head: Chain.Head, format: Row.Format, hashes: Hashes.Hashes = Hashes.noble) {
    this.head = head
    this.running = head
    this.format = format
    this.hashes = hashes
  }

  /** Take the next line; the event of a sound row. */
  push(line: Line): Event | undefined {
    const before = this.last
    this.last = line
    if (this.trouble !== undefined) {
      this.afterTrouble(this.trouble, line)
      return undefined
    }
    if (this.lineIncomplete && before?.path !== line.path) {
      // A row may lack its LF where the journal ends, and nowhere else.
      const reason = "a segment behind a row without its LF"
      this.trouble = { line, seq: this.running.seq + 1, reason, torn: false, follows: true }
      return undefined
    }
    if (this.format === "cortex" && !line.nul && !line.tooLong && Chain.isBlank(line.bytes)) {
      this.passBlank(line)
      return undefined
    }
    if (this.groupStart === undefined || this.pending === undefined) {
      this.groupStart = { path: line.path, offset: line.offset }
    }
    const read = this.read(line)
    if (Result.isFailure(read)) {
      const { reason, whole } = read.failure
      const torn = !whole && (line.nul || !line.terminated)
      this.trouble = { line, seq: this.running.seq + 1, reason, torn, follows: false }
      return undefined
    }
    this.accept(line, read.success)
    return read.success
  }

  /** The decision, once every line was shown. */
  plan(): Plan | Damage {
    const { head, rewrite, trouble } = this
    if (trouble !== undefined) {
      // A line of the torn group without NUL must be the one that runs into the end of the file.
      if (!trouble.torn || trouble.follows) return this.damage(trouble)
      return this.cutFrom(trouble.line)
    }
    if (this.pending !== undefined && this.last !== undefined) return this.cutFrom(this.last)
    const lineIncomplete = this.lineIncomplete
    return { _tag: "Plan", head, rewrite, lineIncomplete, cut: undefined }
  }

  private cutFrom(line: Line): Plan {
    const from = this.groupStart ?? { path: line.path, offset: line.offset }
    const end = this.last === undefined ? from.offset : endOf(this.last)
    return {
      _tag: "Plan",
      head: this.head,
      rewrite: this.rewrite,
      lineIncomplete: false,
      cut: { ...from, length: end - from.offset }
    }
  }

  private damage({ line, seq, reason, follows }: Trouble): Damage {
    const { path, offset, number } = line
    const { head, rewrite } = this
    const end =
      rewrite === undefined
        ? undefined
        : { path: rewrite.path, offset: rewrite.offset + rewrite.length }
    return { _tag: "Damage", path, offset, line: number, seq, reason, follows, head, end }
  }

  /** The event of a sound line, or why it is none. */
  private read(line: Line): Result.Result<Event, Unsound> {
    const unsound = (reason: string, whole: boolean) => Result.fail({ reason, whole })
    if (this.pending !== undefined && this.groupStart?.path !== line.path) {
      return unsound("a group that does not end in the segment where it begins", true)
    }
    if (line.length === 0) return unsound("a blank line", false)
    if (line.nul) return unsound("a NUL byte, as of a block that was never written", false)
    if (line.tooLong) {
      return unsound(`a line of ${line.length} bytes, the limit is ${line.bytesMax}`, false)
    }
    const row = Row.decode(line.bytes, this.running.seq + 1, this.format, this.hashes)
    if (Result.isFailure(row)) return unsound(row.failure.message, false)
    const event = row.success.event
    const head = Chain.extend(this.running, event, this.hashes)
    if (Result.isFailure(head)) return unsound(head.failure.message, true)
    const version = event.schemaVersion
    if (this.format === "segments" && version !== 1 && version !== 2) {
      return unsound(`schema version ${version}, which no row of a segment has`, true)
    }
    const [index, size] = event.batch ?? [0, 1]
    const { next, size: of } = this.pending ?? { next: 0, size }
    if (this.format === "segments" && (index !== next || size !== of)) {
      const wanted = `where row ${next} of ${of} was to come`
      return unsound(`row ${index} of a group of ${size}, ${wanted}`, true)
    }
    return Result.succeed(event)
  }

  /** White space at the end of a file is no row, but the next one must not be glued to it. */
  private passBlank(line: Line): void {
    if (line.terminated) return
    const offset = this.rewrite?.offset ?? line.offset
    this.rewrite = { path: line.path, offset, length: endOf(line) - offset }
    this.lineIncomplete = true
  }

  private accept(line: Line, event: Event): void {
    this.running = Chain.headOf(event)
    const [index, size] = this.format === "segments" ? (event.batch ?? [0, 1]) : [0, 1]
    if (index + 1 < size) {
      this.pending = { next: index + 1, size }
      return
    }
    const from = this.groupStart ?? { path: line.path, offset: line.offset }
    this.pending = undefined
    this.groupStart = undefined
    this.head = this.running
    this.lineIncomplete = !line.terminated
    this.rewrite = { ...from, length: endOf(line) - from.offset }
  }

  /** Whether what follows a bad line proves that it was not the last write. */
  private afterTrouble(trouble: Trouble, line: Line): void {
    if (line.path !== trouble.line.path) trouble.follows = true
    if (line.tooLong) return
    const row = Row.decode(line.bytes, trouble.seq + 1, this.format, this.hashes)
    if (Result.isSuccess(row) && (row.success.event.batch ?? [0])[0] === 0) trouble.follows = true
  }
}

const endOf = (line: Line): number => line.offset + line.length + (line.terminated ? 1 : 0)
