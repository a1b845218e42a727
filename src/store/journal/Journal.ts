/**
 * The journal, read: rows in segment files, or in one file (Cortex mode).
 *
 * The truth and the recovery source. Lines are handed out in chunks with constant memory; a line
 * longer than `lineBytesMax` is passed over and reported. Nothing here opens a file for writing;
 * see `JournalWriter`, whose errors stand here as every reader of an append's type meets them.
 */
import { Effect, FileSystem, Path, Schema } from "effect"
import type { PlatformError } from "effect/PlatformError"
import type { Format } from "../../core/Row.ts"
import type { Line } from "../../core/Segment.ts"
import * as Segment from "../../core/Segment.ts"
import * as durable from "./durable.ts"
import { JournalError, journalError, RowDamaged } from "../errors.ts"
import type { Layout } from "./Layout.ts"
import { eachPart } from "./lines.ts"

/** No more appends until the ledger is opened again; reading goes on. Nothing of this is durable. */
export class JournalFinal extends Schema.TaggedError<JournalFinal>()("JournalFinal", {
  path: Schema.String,
  durable: Schema.Struct({ seq: Schema.Int, leafHash: Schema.String }),
  reason: Schema.Literals([
    "length_changed",
    "unlinked",
    "sync_failed",
    "cut_failed",
    "read_only",
    "operation_unfinished",
    "defect"
  ]),
  cause: Schema.Defect(),
  hint: Schema.String
}) {
  override get message(): string {
    return (
      `the journal at ${this.path} takes no more appends (${this.reason}); rows up to ` +
      `${this.durable.seq} are durable. ${this.hint}`
    )
  }
}

/** A write whose fsync failed: its rows may be there after the next open. */
export class OutcomeUnknown extends Schema.TaggedError<OutcomeUnknown>()("OutcomeUnknown", {
  path: Schema.String,
  ids: Schema.Array(Schema.String),
  cause: Schema.Defect(),
  hint: Schema.String
}) {
  override get message(): string {
    return `whether ${this.ids.length} rows are durable in ${this.path} is unknown. ${this.hint}`
  }
}

/** One file of the journal. `segment` is its first seq, 0 for the one file of Cortex mode. */
export interface JournalFile {
  readonly segment: number
  readonly path: string
  readonly bytes: number
}

/** Bytes from the start of a file. */
interface Range {
  readonly offset: number
  readonly length: number
}

/** Where a line lies: bytes from the start of its file, LF not counted. */
export interface Place extends Range {
  readonly segment: number
}

/** Whether a place can be one: SQLite stores in a column whatever someone puts there. */
export const isPlace = ({ segment, offset, length }: Place): boolean =>
  [segment, offset, length].every((n) => Number.isSafeInteger(n) && n >= 0)

/** What stands where a file of the journal should. */
export interface Misplaced {
  readonly path: string
  readonly expected: string
  readonly actual: string
}

/** Reads one ledger's journal; opens nothing for writing. */
export interface JournalReader {
  readonly layout: Layout
  readonly format: Format
  /** A longer line is passed over and reported. */
  readonly lineBytesMax: number
  /** The files in the order of their rows. A name that is no segment's fails as `RowDamaged`. */
  readonly files: Effect.Effect<ReadonlyArray<JournalFile>, JournalError | RowDamaged>
  /** The files, and whatever else stands in their place. */
  readonly listing: Effect.Effect<
    { readonly files: ReadonlyArray<JournalFile>; readonly misplaced: ReadonlyArray<Misplaced> },
    JournalError
  >
  readonly pathOf: (segment: number) => string
  /**
   * Hand the lines of a file to `each`, some at a time, in constant memory, up to `until` bytes.
   * Lines must not be kept: their memory is used again.
   */
  readonly eachLine: <E, R>(
    file: JournalFile,
    from: { readonly offset: number; readonly number: number },
    until: number,
    each: (lines: ReadonlyArray<Line>) => Effect.Effect<void, E, R>
  ) => Effect.Effect<void, E | JournalError, R>
  /** The bytes of a range of one file; fewer where it ends before. */
  readonly read: (place: Place) => Effect.Effect<Uint8Array, JournalError>
  /** The same of several ranges of one file, which is opened once. */
  readonly readEach: (
    segment: number,
    ranges: ReadonlyArray<Range>
  ) => Effect.Effect<ReadonlyArray<Uint8Array>, JournalError>
}

/** A reader over the files of a layout. */
export const makeReader = Effect.fnUntraced(function* (
  layout: Layout,
  settings: { readonly lineBytesMax: number }
) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const provided = yield* durable.withFiles

  const pathOf = (segment: number) =>
    layout.format === "cortex" ? layout.journal : path.join(layout.journal, Segment.name(segment))

  const fileAt = Effect.fnUntraced(function* (at: string, segment: number) {
    const info = yield* provided(durable.kindAt(at))
    if (info === undefined) return undefined
    if (info !== "File") return misplaced(at, "a regular file", kinds[info] ?? "no regular file")
    const { size } = yield* Effect.mapError(fs.lstat(at), journalError("look", at))
    return { segment, path: at, bytes: Number(size) } satisfies JournalFile
  })

  const listing = Effect.gen(function* () {
    const files: Array<JournalFile> = []
    const others: Array<Misplaced> = []
    const add = (found: JournalFile | Misplaced | undefined) => {
      if (found === undefined) return
      if ("bytes" in found) files.push(found)
      else others.push(found)
    }
    if (layout.format === "cortex") {
      add(yield* fileAt(layout.journal, 0))
    } else if ((yield* provided(durable.kindAt(layout.journal))) === "SymbolicLink") {
      add(misplaced(layout.journal, "a directory", "a symbolic link"))
    } else {
      const failed = journalError("list", layout.journal)
      for (const name of (yield* Effect.mapError(
        fs.readDirectory(layout.journal),
        failed
      )).toSorted()) {
        const at = path.join(layout.journal, name)
        const segment = Segment.firstSeq(name)
        add(
          segment === undefined
            ? misplaced(at, "a segment", "a foreign file")
            : yield* fileAt(at, segment)
        )
      }
    }
    return { files, misplaced: others }
  })

  const files = Effect.flatMap(listing, ({ files, misplaced: [first] }) =>
    first === undefined
      ? Effect.succeed(files)
      : Effect.fail(new RowDamaged({ seq: 0, offset: 0, leg: "journal", ...first }))
  )

  const eachLine: JournalReader["eachLine"] = (file, { number, offset }, until, each) =>
    provided(eachPart({ path: file.path, offset, number, until }, settings.lineBytesMax, each))

  const looked = new Set<number>()

  /** Once for each file: a pipe in its place would be waited for, a link above it followed. */
  const look = Effect.fnUntraced(function* (segment: number, at: string) {
    if (looked.has(segment)) return
    if (layout.format === "segments" && (yield* durable.kindAt(layout.journal)) !== "Directory") {
      const cause = new Error("it is no directory")
      const hint = "it is no directory, or a symbolic link; restore the segments from a backup"
      const code = "ENOTDIR"
      return yield* new JournalError({ operation: "read", path: layout.journal, code, cause, hint })
    }
    yield* durable.existing(at)
    looked.add(segment)
  })

  const opened = <A>(
    segment: number,
    use: (file: FileSystem.File) => Effect.Effect<A, PlatformError>
  ) =>
    Effect.suspend(() => {
      const at = pathOf(segment)
      const reading = Effect.flatMap(durable.open(at, "r"), use).pipe(
        Effect.scoped,
        Effect.mapError(journalError("read", at))
      )
      return provided(looked.has(segment) ? reading : Effect.andThen(look(segment, at), reading))
    })

  const read: JournalReader["read"] = ({ length, offset, segment }) =>
    opened(segment, (file) => durable.readRange(file, offset, length))

  const readEach: JournalReader["readEach"] = (segment, ranges) =>
    opened(segment, (file) =>
      Effect.forEach(ranges, ({ length, offset }) => durable.readRange(file, offset, length))
    )

  return {
    layout,
    format: layout.format,
    lineBytesMax: settings.lineBytesMax,
    files,
    listing,
    pathOf,
    eachLine,
    read,
    readEach
  } satisfies JournalReader
})

const misplaced = (path: string, expected: string, actual: string): Misplaced => ({
  path,
  expected,
  actual
})

const kinds: { readonly [type: string]: string } = {
  Directory: "a directory",
  SymbolicLink: "a symbolic link"
}
