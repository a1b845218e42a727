/**
 * Segment names, and lines out of bytes.
 *
 * A segment is named by the seq of its first row: sixteen digits and `.jsonl`. A line ends at LF
 * and nowhere else: not at CR, U+2028 or U+0085. `LineSplitter` is fed chunks of any size and holds
 * at most one line, of at most `lineBytesMax` bytes; the rest of a longer one is passed over.
 */

/** The longest line that is written or read where nothing else is said: 100 MiB. */
export const lineBytesMaxDefault = 100 * 1024 * 1024

/** Sixteen digits and `.jsonl`. Throws a RangeError where `firstSeq` is not a seq. */
export const name = (firstSeq: number): string => {
  if (!Number.isSafeInteger(firstSeq) || firstSeq < 1) throw new RangeError(`seq ${firstSeq}`)
  return `${String(firstSeq).padStart(16, "0")}.jsonl`
}

const pattern = /^(\d{16})\.jsonl$/

/** The first seq that a segment's name states; undefined for any other name. */
export const firstSeq = (fileName: string): number | undefined => {
  const digits = pattern.exec(fileName)?.[1]
  const seq = Number(digits)
  return digits === undefined || !Number.isSafeInteger(seq) || seq < 1 ? undefined : seq
}

/** A line without its LF, and where it stands in its file. */
export interface Line {
  readonly path: string
  /** Physical line, from 1. */
  readonly number: number
  /** Bytes from the start of the file. */
  readonly offset: number
  readonly bytes: Uint8Array
  /** Bytes that the line takes in its file, LF not counted; more than `bytes` has if too long. */
  readonly length: number
  /** Whether an LF follows. */
  readonly terminated: boolean
  /** Longer than `bytesMax`: `bytes` is its first `bytesMax` bytes. */
  readonly tooLong: boolean
  readonly bytesMax: number
  /** Whether a NUL byte stands anywhere in it, the part passed over included. */
  readonly nul: boolean
}

/** Stands for a whole file, where a finding is about no line of it. */
export const wholeFile = (path: string): Line => ({
  path,
  number: 0,
  offset: 0,
  bytes: new Uint8Array(),
  length: 0,
  terminated: true,
  tooLong: false,
  bytesMax: 0,
  nul: false
})

const lf = 0x0a

/** Cuts chunks into lines. Lines may share memory with the chunk they came in. */
export class LineSplitter {
  readonly path: string
  readonly bytesMax: number
  private offset: number
  private number: number
  private held: Array<Uint8Array> = []
  private heldBytes = 0
  private passedOver = 0
  private nul = false

  /** `offset` and `number` are those of the first line that will come. */
  constructor(path: string, bytesMax: number, offset = 0, number = 1) {
    this.path = path
    this.bytesMax = bytesMax
    this.offset = offset
    this.number = number
  }

  /** The whole lines that end in this chunk. */
  push(chunk: Uint8Array): Array<Line> {
    const lines: Array<Line> = []
    let from = 0
    for (let at = chunk.indexOf(lf); at !== -1; at = chunk.indexOf(lf, from)) {
      this.hold(chunk.subarray(from, at), false)
      lines.push(this.take(true))
      from = at + 1
    }
    // The caller may use the chunk's memory again, so what outlives this call is copied.
    if (from < chunk.byteLength) this.hold(chunk.subarray(from), true)
    return lines
  }

  /** What follows the last LF, if anything. */
  end(): Line | undefined {
    return this.heldBytes + this.passedOver > 0 ? this.take(false) : undefined
  }

  private hold(part: Uint8Array, isCopied: boolean): void {
    const room = this.bytesMax - this.heldBytes
    const kept = part.byteLength <= room ? part : part.subarray(0, room)
    if (kept.byteLength > 0) this.held.push(isCopied ? kept.slice() : kept)
    this.heldBytes += kept.byteLength
    if (kept.byteLength < part.byteLength) {
      this.passedOver += part.byteLength - room
      this.nul ||= part.includes(0, room)
    }
  }

  private take(terminated: boolean): Line {
    const bytes = this.join()
    const length = this.heldBytes + this.passedOver
    const line: Line = {
      path: this.path,
      number: this.number,
      offset: this.offset,
      bytes,
      length,
      terminated,
      tooLong: this.passedOver > 0,
      bytesMax: this.bytesMax,
      nul: this.nul || bytes.includes(0)
    }
    this.number++
    this.offset += length + (terminated ? 1 : 0)
    this.held = []
    this.heldBytes = 0
    this.passedOver = 0
    this.nul = false
    return line
  }

  private join(): Uint8Array {
    const [only] = this.held
    if (only !== undefined && this.held.length === 1) return only
    const bytes = new Uint8Array(this.heldBytes)
    let at = 0
    for (const part of this.held) {
      bytes.set(part, at)
      at += part.byteLength
    }
    return bytes
  }
}

/** The lines of a whole file's bytes. */
export const lines = (path: string, bytes: Uint8Array, bytesMax: number): ReadonlyArray<Line> => {
  const splitter = new LineSplitter(path, bytesMax)
  const whole = splitter.push(bytes)
  const rest = splitter.end()
  return rest === undefined ? whole : [...whole, rest]
}
