/**
 * Internal: the file that says who changes a store, and what for (`LockMarker` has its text).
 *
 * Only who holds the store's guard makes, renames or removes one; reading needs nothing. It is made
 * with O_EXCL and 0600, and fsynced with its directory, before what it announces is begun. One that
 * is stale is renamed, never removed, to a name that was free: reserved with O_EXCL first, as a
 * rename by itself would take the place of whatever is there.
 *
 * A crash while it is written may leave a part of it (`isTorn`): then nothing was begun.
 */
import { Clock, Context, Effect, FileSystem, Option, Path, Result, Schema } from "effect"
import type { PlatformError } from "effect/PlatformError"
import * as LockMarker from "../../core/LockMarker.ts"
import * as Timestamp from "../../core/Timestamp.ts"
import * as durable from "../journal/durable.ts"
import { codeOf, JournalError } from "../errors.ts"
import { LockError, markerSaid, StoreBusy, unwritable } from "./Guard.ts"

/** Who this process is, as a marker tells it. The host may be empty, where it is not known. */
export class Process extends Context.Service<
  Process,
  { readonly pid: number; readonly host: string }
>()("sealog/Process") {}

/**
 * Nobody holds the store, and a marker says that somebody began to change it and did not end.
 * `marker` is its text, or the beginning of one that is too long; `ageMillis` is null where neither
 * it nor its file says since when.
 */
export class MarkerStale extends Schema.TaggedError<MarkerStale>()("MarkerStale", {
  path: Schema.String,
  marker: Schema.String,
  ageMillis: Schema.NullOr(Schema.Number),
  hint: Schema.String
}) {
  override get message(): string {
    return `the store has a stale marker at ${this.path}.${markerSaid(this)} ${this.hint}`
  }
}

/** A marker that was found. */
export interface Found {
  readonly path: string
  /** As text, or the beginning of what is too long for a marker. */
  readonly text: string
  readonly parsed: Result.Result<LockMarker.LockMarker, LockMarker.MarkerInvalid>
  readonly isTorn: boolean
  /** Below 0 where the clock was set back since. */
  readonly ageMillis: number | null
}

type Files = FileSystem.FileSystem | Path.Path

const missing = "lies in no directory that exists"

const reasons: { readonly [code: string]: string } = {
  ENOENT: missing,
  ENOTDIR: missing,
  ENOSPC: "cannot be written, as the disk is full",
  EDQUOT: "cannot be written, as the quota is used up",
  EACCES: unwritable,
  EPERM: unwritable,
  EROFS: unwritable,
  NotCapable: unwritable
}

const hints: { readonly [reason: string]: string } = {
  [unwritable]: "Mend the modes, or open the store for reading only.",
  [missing]: "Make the directory first, or mend the path."
}

/** An error of the files as a `LockError` of this operation. */
export const lockError =
  (operation: string, path: string) =>
  (error: PlatformError | JournalError): LockError => {
    const isJournal = error instanceof JournalError
    const code = isJournal ? error.code : codeOf(error)
    const reason = (code === null ? undefined : reasons[code]) ?? "cannot be used"
    const cause: unknown = isJournal ? error.cause : error.reason.cause
    const hint = hints[reason] ?? "See the cause, then try again."
    return new LockError({ path, operation, reason, cause, hint })
  }

/** The refusal of a lock whose directory is not there. */
export const noDirectory = (operation: string, path: string): LockError =>
  new LockError({
    path,
    operation,
    reason: missing,
    cause: undefined,
    hint: "Make the directory first, or mend the path."
  })

const kinds: { readonly [kind: string]: string } = {
  SymbolicLink: "is a symbolic link",
  Directory: "is a directory"
}

const moveAside = "Find out who put it there; move it aside while no process uses the store."

/** The marker at a path; undefined where nothing is. What is no regular file is refused. */
export const read = Effect.fnUntraced(function* (
  path: string
): Effect.fn.Return<Found | undefined, LockError, Files> {
  const operation = "reading the marker"
  const failed = lockError(operation, path)
  const kind = yield* Effect.mapError(durable.kindAt(path), failed)
  if (kind === undefined) return undefined
  if (kind !== "File") {
    const reason = kinds[kind] ?? "is not a regular file"
    return yield* new LockError({ path, operation, reason, cause: undefined, hint: moveAside })
  }
  const { bytes, mtime } = yield* Effect.gen(function* () {
    const file = yield* durable.open(path, "r")
    const bytes = yield* durable.readRange(file, 0, LockMarker.bytesMax + 1)
    return { bytes, mtime: (yield* file.stat).mtime }
  }).pipe(Effect.scoped, Effect.mapError(failed))
  const now = yield* Clock.currentTimeMillis
  const parsed = LockMarker.parse(bytes)
  const since = Result.isSuccess(parsed)
    ? Timestamp.toMillis(parsed.success.acquiredAt)
    : Option.getOrUndefined(mtime)?.getTime()
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(
    bytes.subarray(0, LockMarker.bytesMax)
  )
  const ageMillis = since === undefined ? null : now - since
  return { path, text, parsed, isTorn: LockMarker.isTorn(bytes), ageMillis }
})

/** The refusal for a marker that was found with the guard in hand. */
export const stale = ({ ageMillis, path, text }: Found, hint: string): MarkerStale =>
  new MarkerStale({ path, marker: text, ageMillis, hint })

/** Whoever holds the guard may have left word in the marker: then the refusal repeats it. */
export const tellHolder = <A, R>(
  path: string,
  holding: Effect.Effect<A, StoreBusy | LockError, R>
): Effect.Effect<A, StoreBusy | LockError, R | Files> =>
  Effect.catchTag(holding, "StoreBusy", (busy) =>
    Effect.flatMap(Effect.result(read(path)), (found) => {
      // A marker that cannot be read, or is gone by now, does not change the answer.
      const marker = Result.isSuccess(found) ? found.success : undefined
      if (marker === undefined) return Effect.fail(busy)
      const { ageMillis, text } = marker
      return Effect.fail(new StoreBusy({ path, marker: text, ageMillis, hint: busy.hint }))
    })
  )

const syncNames = Effect.fnUntraced(function* (operation: string, path: string) {
  const paths = yield* Path.Path
  const directory = paths.dirname(path)
  yield* Effect.mapError(durable.syncDirectory(directory), lockError(operation, path))
})

/** Make a new file of these bytes, durable; undefined where the name is taken. */
const create = Effect.fnUntraced(
  function* (path: string, bytes: Uint8Array) {
    const fs = yield* FileSystem.FileSystem
    const opened = yield* Effect.result(durable.open(path, "wx"))
    if (Result.isFailure(opened)) {
      return codeOf(opened.failure) === "EEXIST" ? undefined : yield* Effect.fail(opened.failure)
    }
    const file = opened.success
    return yield* fs.chmod(path, 0o600).pipe(
      Effect.andThen(file.writeAll(bytes)),
      Effect.andThen(file.sync),
      Effect.as(true),
      // A part of a file is none. What cannot be removed either is seen to be torn.
      Effect.tapError(() => Effect.ignore(fs.remove(path)))
    )
  },
  (effect) => Effect.uninterruptible(Effect.scoped(effect))
)

/** Place a marker, its text given; durable with its name when this answers. */
export const place = Effect.fnUntraced(
  function* (path: string, text: string, hint: string) {
    const fs = yield* FileSystem.FileSystem
    const operation = "placing the marker"
    const before = yield* read(path)
    if (before !== undefined) return yield* stale(before, hint)
    const made = yield* create(path, new TextEncoder().encode(text)).pipe(
      Effect.mapError(lockError(operation, path))
    )
    if (made === undefined) {
      // Somebody who does not ask for the guard was faster.
      const found = yield* read(path)
      if (found !== undefined) return yield* stale(found, hint)
      const reason = "was there, and is gone"
      const again = "Somebody does not ask for the guard. Find out who, then try again."
      return yield* new LockError({ path, operation, reason, cause: undefined, hint: again })
    }
    yield* syncNames(operation, path).pipe(Effect.tapError(() => Effect.ignore(fs.remove(path))))
  },
  (effect) => Effect.uninterruptible(effect)
)

/** Remove the marker of this text, durable; any other one stays, as it is somebody else's. */
export const clear = Effect.fnUntraced(function* (path: string, text: string) {
  const fs = yield* FileSystem.FileSystem
  const operation = "removing the marker"
  const found = yield* read(path)
  if (found !== undefined && found.text !== text) return
  if (found !== undefined) yield* Effect.mapError(fs.remove(path), lockError(operation, path))
  yield* syncNames(operation, path)
}, Effect.uninterruptible)

/** Rename a stale marker to a name of its own, durable; where it is kept. */
export const setAside = Effect.fnUntraced(function* (path: string) {
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const operation = "setting the marker aside"
  const failed = lockError(operation, path)
  const directory = paths.dirname(path)
  const at = Timestamp.fromMillis(yield* Clock.currentTimeMillis)
  const taken = new Set(yield* Effect.mapError(fs.readDirectory(directory), failed))
  for (;;) {
    const name = LockMarker.staleName(paths.basename(path), at, taken)
    const kept = paths.join(directory, name)
    const reserved = yield* Effect.mapError(create(kept, new Uint8Array()), failed)
    if (reserved === undefined) {
      taken.add(name)
      continue
    }
    yield* fs.rename(path, kept).pipe(
      Effect.tapError(() => Effect.ignore(fs.remove(kept))),
      Effect.mapError(failed)
    )
    yield* syncNames(operation, path)
    return kept
  }
}, Effect.uninterruptible)
