/**
 * Internal: the lines of a file, some at a time, in constant memory.
 *
 * Lines are handed out as they come, with their place; their bytes must not be kept, as the memory
 * is used again for the next chunk. What follows the last LF comes last, marked as unterminated.
 */
import { Effect } from "effect"
import type { FileSystem } from "effect"
import * as Segment from "../../core/Segment.ts"
import type { Line } from "../../core/Segment.ts"
import * as durable from "./durable.ts"
import type { JournalError } from "../errors.ts"
import { journalError } from "../errors.ts"

const chunkBytes = 1024 * 1024

/** Which part of a file: from the first byte of line `number`, up to `until` bytes. */
export interface Part {
  readonly path: string
  readonly offset: number
  readonly number: number
  readonly until: number
}

/** Hand the lines of a part of a file to `each`, some at a time. */
export const eachPart = <E, R>(
  { number, offset, path, until }: Part,
  lineBytesMax: number,
  each: (lines: ReadonlyArray<Line>) => Effect.Effect<void, E, R>
): Effect.Effect<void, E | JournalError, R | FileSystem.FileSystem> =>
  Effect.scoped(
    Effect.gen(function* () {
      const failed = journalError("read", path)
      const handle = yield* Effect.mapError(durable.open(path, "r"), failed)
      const splitter = new Segment.LineSplitter(path, lineBytesMax, offset, number)
      const buffer = new Uint8Array(Math.min(chunkBytes, Math.max(1, until - offset)))
      let at = offset
      while (at < until) {
        const window = buffer.subarray(0, Math.min(buffer.byteLength, until - at))
        const read = yield* Effect.mapError(handle.read(window, { position: BigInt(at) }), failed)
        if (read === 0) break
        at += read
        const lines = splitter.push(window.subarray(0, read))
        if (lines.length > 0) yield* each(lines)
      }
      const rest = splitter.end()
      if (rest !== undefined) yield* each([rest])
    })
  )

/** The first line of a regular file; undefined where it has none. */
export const firstLine = Effect.fnUntraced(function* (
  path: string,
  lineBytesMax: number
): Effect.fn.Return<Uint8Array | undefined, JournalError, FileSystem.FileSystem> {
  yield* durable.existing(path)
  const reading = Effect.flatMap(durable.open(path, "r"), (file) =>
    durable.readRange(file, 0, lineBytesMax)
  )
  const bytes = yield* Effect.mapError(Effect.scoped(reading), journalError("read", path))
  const [line] = Segment.lines(path, bytes, lineBytesMax)
  return line?.bytes
})

/** Hand every line of a regular file to `each`. */
export const eachLineOf = Effect.fnUntraced(function* (
  path: string,
  lineBytesMax: number,
  each: (line: Line) => void
): Effect.fn.Return<void, JournalError, FileSystem.FileSystem> {
  yield* durable.existing(path)
  const whole = { path, offset: 0, number: 1, until: Number.MAX_SAFE_INTEGER }
  yield* eachPart(whole, lineBytesMax, (lines) => Effect.sync(() => lines.forEach(each)))
})
