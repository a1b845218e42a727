/**
 * The journal: rows in segment files, or in one file (Cortex mode). The truth and recovery source.
 *
 * One write is one group: length check, write, fsync, and for a new segment the fsync of its
 * directory. A group lies in one segment; a segment that has grown past `segmentBytesMax` is not
 * written any more. Lines are read in chunks with constant memory; a line longer than
 * `lineBytesMax` is passed over and reported.
 *
 *   happy path of a write   fstat, write, fsync             (one descriptor, kept open)
 *   of the first in a file  open O_CREAT|O_EXCL, fstat, write, fsync, fsync(directory)
 */
import { Cause, Context, Effect, Exit, FileSystem, Option, Path, Schema, Scope } from "effect"
import { PlatformError } from "effect/PlatformError"
import type { Position } from "../core/Event.ts"
import type { Format, Group } from "../core/Row.ts"
import type { Line } from "../core/Segment.ts"
import * as Segment from "../core/Segment.ts"
import * as durable from "./durable.ts"
import type { JournalError } from "./errors.ts"
import { journalError, RowDamaged } from "./errors.ts"
import type { Layout } from "./Layout.ts"

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

/** Where a line lies: bytes from the start of its file, LF not counted. */
export interface Place {
  readonly segment: number
  readonly offset: number
  readonly length: number
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

/** The end of the journal as the writer left it. */
interface WriteEnd {
  file: FileSystem.File
  scope: Scope.Closeable
  segment: number
  path: string
  bytes: number
  /** Whether the file's name is durable. */
  named: boolean
}

export interface JournalSettings {
  readonly segmentBytesMax: number
  readonly lineBytesMax: number
}

const chunkBytes = 1024 * 1024

const reopen = "Nothing of this append is durable; open the ledger again."

const finalHints: { readonly [reason in JournalFinal["reason"]]: string } = {
  length_changed: `Another program wrote to it: find out which, then verify. ${reopen}`,
  unlinked: `Another program removed it: find out which, then verify. ${reopen}`,
  sync_failed: `An fsync failed, so the disk may have lost what it showed. ${reopen}`,
  cut_failed: `A failed write could not be cut back. ${reopen}`,
  read_only: "It was opened for reading only, as nothing can be written there.",
  defect: `The writer met a defect; please report it. ${reopen}`
}

/** Reads one ledger's journal; opens nothing for writing. */
export interface JournalReader {
  readonly layout: Layout
  readonly format: Format
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
}

/** What the writer has besides. Only one at a time, under the guard. */
export interface JournalWriter {
  /** Take up writing at an end that was found sound. Opens the last file, or makes none yet. */
  readonly resume: (
    last: JournalFile | undefined,
    durable: Position
  ) => Effect.Effect<void, JournalError>
  /** Where the rows of this group will lie. Makes the file of a new segment, writes nothing. */
  readonly reserve: (
    group: Group
  ) => Effect.Effect<ReadonlyArray<Place>, JournalError | JournalFinal>
  /** When this returns, all rows of the group survive a crash. Cannot be interrupted. */
  readonly write: (
    group: Group
  ) => Effect.Effect<void, JournalError | JournalFinal | OutcomeUnknown>
  /** Refuse every later write for this reason. */
  readonly finish: (reason: JournalFinal["reason"], cause: unknown) => JournalFinal
  /** Why nothing can be written any more, if so. */
  readonly final: () => JournalFinal | undefined
}

/**
 * Gives effects the file system that is in scope now, so that methods ask for nothing. Only that: the
 * whole context would bring the ledger's scope along, and keep open what is opened for one read.
 */
const withFiles = Effect.map(
  Effect.context<FileSystem.FileSystem | Path.Path>(),
  Context.pick(FileSystem.FileSystem, Path.Path)
).pipe(
  Effect.map(
    (context) =>
      <A, E, R>(
        effect: Effect.Effect<A, E, R>
      ): Effect.Effect<A, E, Exclude<R, FileSystem.FileSystem | Path.Path>> =>
        Effect.provideContext(effect, context)
  )
)

/** A reader over the files of a layout. */
export const makeReader = Effect.fnUntraced(function* (
  layout: Layout,
  settings: { readonly lineBytesMax: number }
) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const provided = yield* withFiles

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

  const eachLine: JournalReader["eachLine"] = (file, from, until, each) =>
    Effect.scoped(
      Effect.gen(function* () {
        const failed = journalError("read", file.path)
        const handle = yield* Effect.mapError(provided(durable.open(file.path, "r")), failed)
        const splitter = new Segment.LineSplitter(
          file.path,
          settings.lineBytesMax,
          from.offset,
          from.number
        )
        const buffer = new Uint8Array(Math.min(chunkBytes, Math.max(1, until - from.offset)))
        let at = from.offset
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

  const read: JournalReader["read"] = (place) => {
    const at = pathOf(place.segment)
    return Effect.scoped(
      Effect.flatMap(provided(durable.open(at, "r")), (file) =>
        durable.readRange(file, place.offset, place.length)
      )
    ).pipe(Effect.mapError(journalError("read", at)))
  }

  return {
    layout,
    format: layout.format,
    files,
    listing,
    pathOf,
    eachLine,
    read
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

/** A writer over the files of a layout; nothing is opened before `resume`. */
export const makeWriter = Effect.fnUntraced(function* (
  reader: JournalReader,
  settings: JournalSettings
) {
  const { layout } = reader
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  // Closed after all that was begun later on this scope: whoever writes settles first.
  const scope = yield* Scope.fork(yield* Effect.scope)
  const provided = yield* withFiles
  let end: WriteEnd | undefined
  let durableAt: Position = { seq: 0, leafHash: "" }
  let final: JournalFinal | undefined

  const finish = (reason: JournalFinal["reason"], cause: unknown) => {
    final ??= new JournalFinal({
      path: end?.path ?? layout.journal,
      durable: { seq: durableAt.seq, leafHash: durableAt.leafHash },
      reason,
      cause,
      hint: finalHints[reason]
    })
    return final
  }

  const openEnd = Effect.fnUntraced(function* (segment: number, flag: "r+" | "wx+", bytes: number) {
    const path = reader.pathOf(segment)
    const own = yield* Scope.fork(scope)
    const file = yield* provided(
      durable.open(path, flag).pipe(
        Effect.tap(() => (flag === "wx+" ? fs.chmod(path, 0o600) : Effect.void)),
        Scope.provide(own)
      )
    ).pipe(
      Effect.onError(() => Scope.close(own, Exit.void)),
      Effect.mapError(journalError(flag === "r+" ? "open" : "make", path))
    )
    const old = end
    end = { file, scope: own, segment, path, bytes, named: flag === "r+" }
    if (old !== undefined) yield* Scope.close(old.scope, Exit.void)
    return end
  })

  const resume: JournalWriter["resume"] = Effect.fnUntraced(function* (last, position) {
    durableAt = position
    if (last !== undefined) yield* openEnd(last.segment, "r+", last.bytes)
  })

  /** The file that takes the group: the last one, or a new segment. */
  const target = Effect.fnUntraced(function* (group: Group) {
    const bytes = group.bytes.byteLength
    if (layout.format === "cortex") return end ?? (yield* openEnd(0, "wx+", 0))
    if (end === undefined) return yield* openEnd(group.firstSeq, "wx+", 0)
    const full = end.bytes > 0 && end.bytes + bytes > settings.segmentBytesMax
    return full ? yield* openEnd(group.firstSeq, "wx+", 0) : end
  })

  /** After a failed write: back to the last durable length, and that made durable. */
  const cutBack = Effect.fnUntraced(function* (to: WriteEnd) {
    yield* to.file.truncate(to.bytes)
    yield* to.file.sync
  })

  const unknown = (
    group: Group,
    to: WriteEnd,
    reason: "sync_failed" | "cut_failed",
    cause: unknown
  ) => {
    finish(reason, cause)
    return new OutcomeUnknown({
      path: to.path,
      ids: group.rows.map((row) => row.event.id),
      cause,
      hint: "Open the ledger again and append with the same ids: what is there answers so."
    })
  }

  const checkLength = Effect.fnUntraced(function* (to: WriteEnd) {
    const info = yield* Effect.mapError(to.file.stat, journalError("look", to.path))
    if (Number(info.size) !== to.bytes) {
      const cause = new Error(`${info.size} bytes where ${to.bytes} were left`)
      return yield* finish("length_changed", cause)
    }
    if (Option.getOrElse(info.nlink, () => BigInt(1)) === BigInt(0)) {
      return yield* finish("unlinked", new Error("the file was removed while it was open"))
    }
  })

  // Rows of a single file carry no batch: were several lost in one write, the remains could not be
  // told from damage. So there each row has an fsync of its own.
  const partsOf = (group: Group) =>
    layout.format === "segments"
      ? [{ offset: 0, bytes: group.bytes }]
      : group.rows.map(({ offset, length }) => ({
          offset,
          bytes: group.bytes.subarray(offset, offset + length + 1)
        }))

  const write: JournalWriter["write"] = Effect.fnUntraced(function* (group: Group) {
    if (final !== undefined) return yield* final
    const to = yield* target(group)
    yield* checkLength(to)
    for (const { offset, bytes } of partsOf(group)) {
      const at = BigInt(to.bytes + offset)
      const written = yield* Effect.exit(
        Effect.andThen(to.file.seek(at, "start"), to.file.writeAll(bytes))
      )
      if (Exit.isFailure(written)) {
        const error = Cause.squash(written.cause)
        const cut = yield* Effect.exit(cutBack(to))
        if (Exit.isFailure(cut)) return yield* unknown(group, to, "cut_failed", error)
        return yield* error instanceof PlatformError
          ? journalError("write", to.path)(error)
          : finish("defect", error)
      }
      const synced = yield* Effect.exit(
        to.named
          ? to.file.sync
          : Effect.andThen(to.file.sync, provided(durable.syncDirectory(paths.dirname(to.path))))
      )
      if (Exit.isFailure(synced)) {
        return yield* unknown(group, to, "sync_failed", Cause.squash(synced.cause))
      }
    }
    to.named = true
    to.bytes += group.bytes.byteLength
    const last = group.rows.at(-1)
    if (last !== undefined) durableAt = { seq: last.seq, leafHash: last.leafHash }
  }, Effect.uninterruptible)

  const reserve: JournalWriter["reserve"] = Effect.fnUntraced(function* (group: Group) {
    if (final !== undefined) return yield* final
    const to = yield* target(group)
    return group.rows.map((row) => ({
      segment: to.segment,
      offset: to.bytes + row.offset,
      length: row.length
    }))
  }, Effect.uninterruptible)

  return { resume, reserve, write, finish, final: () => final } satisfies JournalWriter
})
