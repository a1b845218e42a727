/**
 * Internal: the lines of something that is imported, out of bytes in chunks or out of an array.
 *
 * A line is text without its LF and without one CR before that. What cannot be a line of text is
 * told with its reason and nothing of its content: blank, over-long, not UTF-8. At most one line is
 * held, of at most `bytesMax` bytes. The digest covers every byte that came; of an array, each line
 * with an LF behind it.
 */
import { Effect, Stream } from "effect"
import { decodeUtf8 } from "../../core/jsonError.ts"
import { sha256Incremental } from "../../core/Hashes.ts"
import * as Segment from "../../core/Segment.ts"

/**
 * Where lines come from: the bytes of a file in chunks of any size, or the lines themselves, each
 * without its LF.
 */
export type Lines<E = never, R = never> =
  | Stream.Stream<Uint8Array, E, R>
  | ReadonlyArray<string | Uint8Array>

/** A line of text: its number, from 1, and its text without the line end. */
export interface Line {
  readonly number: number
  readonly text: string
}

/** A line that is no text, and why. */
export interface NoText {
  readonly number: number
  readonly reason: string
}

/** What was seen so far of what is imported. */
export interface Seen {
  bytes: number
  readonly sha256: () => string
}

const cr = 0x0d

const textOf = (line: Segment.Line): Line | NoText => {
  const { number } = line
  if (line.tooLong) {
    return { number, reason: `it has ${line.length} bytes, the limit is ${line.bytesMax}` }
  }
  const bytes = line.bytes.at(-1) === cr ? line.bytes.subarray(0, -1) : line.bytes
  if (bytes.byteLength === 0) return { number, reason: "it is blank" }
  const text = decodeUtf8(bytes)
  return typeof text === "string"
    ? { number, text }
    : { number, reason: `at byte ${text.offset} expected UTF-8, found ${text.actual}` }
}

const utf8 = new TextEncoder()
const lf = new Uint8Array([0x0a])
const sliceLines = 1_000

/** Hand the lines to `take`, in order, some at a time. */
export const each = Effect.fnUntraced(function* <E, R, E2, R2>(
  lines: Lines<E, R>,
  bytesMax: number,
  take: (lines: ReadonlyArray<Line | NoText>, seen: Seen) => Effect.Effect<void, E2, R2>
) {
  const hash = sha256Incremental()
  const seen: Seen = { bytes: 0, sha256: hash.hex }
  const see = (bytes: Uint8Array) => {
    hash.update(bytes)
    seen.bytes += bytes.byteLength
  }
  const splitter = new Segment.LineSplitter("", bytesMax)
  if (!isArray(lines)) {
    yield* Stream.runForEachArray(
      lines,
      Effect.fnUntraced(function* (chunks) {
        for (const chunk of chunks) {
          see(chunk)
          yield* take(splitter.push(chunk).map(textOf), seen)
        }
      })
    )
    const rest = splitter.end()
    if (rest !== undefined) yield* take([textOf(rest)], seen)
    return seen
  }
  for (let from = 0; from < lines.length; from += sliceLines) {
    const some = lines.slice(from, from + sliceLines).map((line, nth): Line | NoText => {
      const number = from + nth + 1
      const isText = typeof line !== "string" || line.isWellFormed()
      const bytes = typeof line === "string" ? utf8.encode(line) : line
      see(bytes)
      see(lf)
      if (!isText) return { number, reason: "expected UTF-8, found a lone surrogate" }
      const length = bytes.byteLength
      const tooLong = length > bytesMax
      const place = { path: "", offset: 0, terminated: true, nul: false, bytesMax }
      return textOf({ ...place, number, bytes, length, tooLong })
    })
    yield* take(some, seen)
  }
  return seen
})

const isArray = <E, R>(lines: Lines<E, R>): lines is ReadonlyArray<string | Uint8Array> =>
  Array.isArray(lines)
