/**
 * The journal, written: one group after another, each durable before the next.
 *
 * One write is one group: length check, write, fsync, and for a new segment the fsync of its
 * directory. A group lies in one segment; a segment that has grown past `segmentBytesMax` is not
 * written any more. What fails is cut back, or else nothing is written any more.
 *
 *   happy path of a write   fstat, write, fsync             (one descriptor, kept open)
 *   of the first in a file  open O_CREAT|O_EXCL, fstat, write, fsync, fsync(directory)
 */
import { Cause, Effect, Exit, FileSystem, Option, Path, Scope } from "effect"
import { PlatformError } from "effect/PlatformError"
import type { Position } from "../../core/Event.ts"
import type { Group } from "../../core/Row.ts"
import * as durable from "./durable.ts"
import type { JournalError } from "../errors.ts"
import { codeOf, journalError } from "../errors.ts"
import type { JournalFile, JournalReader, Place } from "./Journal.ts"
import { JournalFinal, OutcomeUnknown } from "./Journal.ts"

/** Writes one ledger's journal. Only one at a time, under the guard. */
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

const reopen = "Nothing of this append is durable; open the ledger again."

const finalHints: { readonly [reason in JournalFinal["reason"]]: string } = {
  length_changed: `Another program wrote to it: find out which, then verify. ${reopen}`,
  unlinked: `Another program removed it: find out which, then verify. ${reopen}`,
  sync_failed: `An fsync failed, so the disk may have lost what it showed. ${reopen}`,
  cut_failed: `A failed write could not be cut back. ${reopen}`,
  operation_unfinished: "A rollback is under way: open the ledger again, which finishes it.",
  read_only: "It was opened for reading only, as nothing can be written there.",
  defect: `The writer met a defect; please report it. ${reopen}`
}

/**
 * A new file of mode 0600. One that is there and empty is what an earlier try left whose mode could
 * not be set: it is taken, as nothing can be lost in it.
 */
const makeFile = Effect.fnUntraced(function* (path: string) {
  const fs = yield* FileSystem.FileSystem
  const file = yield* Effect.catchIf(
    durable.open(path, "wx+"),
    (error) => codeOf(error) === "EEXIST",
    (error) =>
      Effect.flatMap(fs.stat(path), ({ size }) =>
        Number(size) === 0 ? durable.open(path, "r+") : Effect.fail(error)
      )
  )
  yield* fs.chmod(path, 0o600)
  return file
})

/** A writer over the files of a layout; nothing is opened before `resume`. */
export const makeWriter = Effect.fnUntraced(function* (
  reader: JournalReader,
  settings: JournalSettings
) {
  const { layout } = reader
  const paths = yield* Path.Path
  // Closed after all that was begun later on this scope: whoever writes settles first.
  const scope = yield* Scope.fork(yield* Effect.scope)
  const provided = yield* durable.withFiles
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

  /** Open a file to write at its end, in place of the one before. */
  const openEnd = Effect.fnUntraced(function* (segment: number, bytes: number, isNew: boolean) {
    const path = reader.pathOf(segment)
    const own = yield* Scope.fork(scope)
    const opened = isNew ? makeFile(path) : durable.open(path, "r+")
    const file = yield* provided(Scope.provide(opened, own)).pipe(
      Effect.onError(() => Scope.close(own, Exit.void)),
      Effect.mapError(journalError(isNew ? "make" : "open", path))
    )
    const old = end
    end = { file, scope: own, segment, path, bytes, named: !isNew }
    if (old !== undefined) yield* Scope.close(old.scope, Exit.void)
    return end
  })

  const resume: JournalWriter["resume"] = Effect.fnUntraced(function* (last, position) {
    durableAt = position
    if (last !== undefined) yield* openEnd(last.segment, last.bytes, false)
  })

  /** The file that takes the group: the last one, or a new segment. */
  const target = Effect.fnUntraced(function* (group: Group) {
    const bytes = group.bytes.byteLength
    if (layout.format === "cortex") return end ?? (yield* openEnd(0, 0, true))
    if (end === undefined) return yield* openEnd(group.firstSeq, 0, true)
    const full = end.bytes > 0 && end.bytes + bytes > settings.segmentBytesMax
    return full ? yield* openEnd(group.firstSeq, 0, true) : end
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
