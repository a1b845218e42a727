/**
 * Damage done to a ledger that lies still, and the rows that are whole before it. It is there in both
 * planes of the disk: no power cut takes it back.
 */
import { Effect } from "effect"
import type { FileSystem } from "effect"
import * as Checkpoint from "../../src/core/Checkpoint.ts"
import type { Damage } from "./history.ts"
import type { JournalText, Paper } from "./Paper.ts"

/** What was damaged. */
export interface Done {
  /** The rows that are whole, to the end of a group; undefined where all of them are. */
  readonly rows: number | undefined
  /** The checkpoint that does not hold together any more. */
  readonly checkpoint: number | undefined
}

const flip = (files: FileSystem.FileSystem, path: string, offset: number, bit: number) =>
  Effect.gen(function* () {
    const file = yield* files.open(path, { flag: "r+" })
    const byte = new Uint8Array(1)
    yield* file.read(byte, { position: BigInt(offset) })
    yield* file.seek(BigInt(offset), "start")
    yield* file.writeAll(byte.map((value) => value ^ (1 << bit)))
    yield* file.sync
  }).pipe(Effect.scoped, Effect.orDie)

const lose = (files: FileSystem.FileSystem, path: string) =>
  Effect.gen(function* () {
    yield* files.remove(path)
    const folder = yield* files.open(path.slice(0, path.lastIndexOf("/")), { flag: "r" })
    yield* folder.sync
  }).pipe(Effect.scoped, Effect.orDie)

const batch = /"batch":\[(\d+),\d+\]/

/** How many rows lie before the group that this byte is of. */
const rowsBefore = (files: ReadonlyArray<JournalText>, path: string, offset: number): number => {
  let rows = 0
  for (const { path: at, text } of files) {
    let end = 0
    for (const line of text.split("\n").slice(0, -1)) {
      end += line.length + 1
      if (at === path && offset < end) return rows - Number(batch.exec(line)?.[1] ?? 0)
      rows++
    }
    if (at === path) return rows
  }
  return rows
}

/** Do it; undefined where there is nothing to be damaged. */
export const damageAt = Effect.fnUntraced(function* (
  files: FileSystem.FileSystem,
  paper: Paper,
  { at, of }: Damage
): Effect.fn.Return<Done | undefined> {
  if (of === "checkpoint") {
    const found = [...(yield* paper.checkpoints)]
    const [name, text] = found[at % Math.max(1, found.length)] ?? []
    if (name === undefined || text === undefined) return undefined
    const path = `/ledger/checkpoints/${name}`
    yield* flip(files, path, at % text.length, at % 7)
    return { rows: undefined, checkpoint: Checkpoint.numberOf(name) }
  }
  const segments = yield* paper.segments
  if (of === "segment") {
    const segment = segments[at % Math.max(1, segments.length)]
    if (segment === undefined) return undefined
    yield* lose(files, segment.path)
    return { rows: rowsBefore(segments, segment.path, 0), checkpoint: undefined }
  }
  const bytes = segments.reduce((sum, { text }) => sum + text.length, 0)
  let offset = at % Math.max(1, bytes)
  for (const { path, text } of segments) {
    if (offset < text.length) {
      yield* flip(files, path, offset, at % 7)
      return { rows: rowsBefore(segments, path, offset), checkpoint: undefined }
    }
    offset -= text.length
  }
  return undefined
})
