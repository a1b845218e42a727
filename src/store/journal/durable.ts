/**
 * Making files and directories that survive a power cut, over Effect's `FileSystem`.
 *
 * Bytes count only after an fsync of their file, names only after an fsync of their directory.
 * Modes are 0600 and 0700 whatever the umask, and a symbolic link is never followed. No effect here
 * can be interrupted: a write that returns early would go on behind a closed file.
 */
import { Context, Effect, FileSystem, Path } from "effect"
import type { PlatformError } from "effect/PlatformError"
import { codeOf, journalError, JournalError } from "../errors.ts"

/** What stands at a path, links not followed; undefined where nothing does. */
export const kindAt = Effect.fnUntraced(function* (path: string) {
  const fs = yield* FileSystem.FileSystem
  return yield* fs.lstat(path).pipe(
    Effect.map((info): FileSystem.File.Type | undefined => info.type),
    Effect.catch((error) =>
      codeOf(error) === "ENOENT" ? Effect.succeed(undefined) : Effect.fail(error)
    ),
    Effect.mapError(journalError("look", path))
  )
})

/** Fails with `JournalError` unless a regular file is at the path; links are not followed. */
export const existing = Effect.fnUntraced(function* (
  path: string
): Effect.fn.Return<void, JournalError, FileSystem.FileSystem> {
  const kind = yield* kindAt(path)
  if (kind === "File") return
  const [code, hint] =
    kind === undefined
      ? ["ENOENT", "it is not there; check the path. Nothing was made"]
      : kind === "SymbolicLink"
        ? ["ELOOP", "it is a symbolic link; give the real path"]
        : ["EISDIR", "it is no regular file; check the path"]
  const cause = new Error(kind === undefined ? "nothing is there" : `it is a ${kind}`)
  return yield* new JournalError({ operation: "open", path, code, cause, hint })
})

/** Open a file without following a link; closed with the scope. */
export const open = Effect.fnUntraced(function* (path: string, flag: FileSystem.OpenFlag) {
  const fs = yield* FileSystem.FileSystem
  return yield* fs.open(path, { flag, mode: 0o600, noFollow: true })
})

/** Make the names in a directory durable. */
export const syncDirectory = Effect.fnUntraced(
  function* (path: string) {
    const fs = yield* FileSystem.FileSystem
    const directory = yield* fs.open(path, { flag: "r" })
    yield* directory.sync
  },
  (effect, path) =>
    effect.pipe(
      Effect.scoped,
      Effect.uninterruptible,
      Effect.mapError(journalError("sync the directory", path))
    )
)

/**
 * Make a directory and every missing one above it, each durable in its parent. One that is there
 * may be what a process left that was killed before its name was durable, so that is made sure of.
 */
export const makeDirectory: (
  path: string
) => Effect.Effect<void, JournalError, FileSystem.FileSystem | Path.Path> = Effect.fnUntraced(
  function* (path: string) {
    const fs = yield* FileSystem.FileSystem
    const paths = yield* Path.Path
    const parent = paths.dirname(paths.resolve(path))
    if ((yield* kindAt(path)) !== undefined) return yield* syncNameIn(parent)
    if (parent !== path) yield* makeDirectory(parent)
    yield* fs.makeDirectory(path, { mode: 0o700 }).pipe(
      Effect.andThen(fs.chmod(path, 0o700)),
      // Another process may make the same directory at the same moment.
      Effect.catchIf(
        (error) => codeOf(error) === "EEXIST",
        () => Effect.void
      ),
      Effect.uninterruptible,
      Effect.mapError(journalError("make the directory", path))
    )
    yield* syncDirectory(parent)
  }
)

const forbidden: ReadonlySet<unknown> = new Set(["EACCES", "EPERM", "NotCapable"])

/** Whoever may not even read a directory has made nothing in it. */
const syncNameIn = (parent: string) =>
  Effect.catchIf(
    syncDirectory(parent),
    ({ code }) => forbidden.has(code),
    () => Effect.void
  )

/**
 * Fails with `JournalError` unless nothing is at the path, or a regular file that an earlier try
 * left: opening a pipe to write waits for whoever reads it, which cannot be interrupted.
 */
export const refuseOther = Effect.fnUntraced(function* (
  path: string
): Effect.fn.Return<void, JournalError, FileSystem.FileSystem> {
  const kind = yield* kindAt(path)
  if (kind === undefined || kind === "File") return
  const isLink = kind === "SymbolicLink"
  const code = isLink ? "ELOOP" : "EEXIST"
  const what = isLink ? "it is a symbolic link" : "it is no regular file"
  const hint = `${what}; find out who put it there, and move it away`
  return yield* new JournalError({
    operation: "write",
    path,
    code,
    cause: new Error(`it is a ${kind}`),
    hint
  })
})

/** The longest file that is read as a whole; `ledger.json` and plans are far shorter. */
export const wholeFileBytesMax = 64 * 1024

/** The text of a small regular file; undefined where it is longer than any that is ours. */
export const readSmall = Effect.fnUntraced(
  function* (path: string, bytesMax: number = wholeFileBytesMax) {
    const file = yield* open(path, "r")
    const bytes = yield* readRange(file, 0, bytesMax + 1)
    return bytes.byteLength > bytesMax ? undefined : new TextDecoder().decode(bytes)
  },
  (effect, path, _bytesMax?) =>
    effect.pipe(Effect.scoped, Effect.mapError(journalError("read", path)))
)

/** Write a whole new file: bytes, fsync, rename into place, fsync of its directory. */
export const writeFile = Effect.fnUntraced(function* (path: string, bytes: Uint8Array) {
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const temporary = `${path}.tmp`
  yield* refuseOther(temporary)
  yield* Effect.scoped(
    Effect.gen(function* () {
      const file = yield* open(temporary, "w")
      yield* fs.chmod(temporary, 0o600)
      yield* file.writeAll(bytes)
      yield* file.sync
    })
  ).pipe(
    Effect.andThen(fs.rename(temporary, path)),
    Effect.uninterruptible,
    Effect.mapError(journalError("write", path))
  )
  yield* syncDirectory(paths.dirname(path))
})

/** A longer range gets memory only as far as the file goes. */
const wholeBytes = 1024 * 1024

/** The bytes of a range, fewer where the file ends before. */
export const readRange = Effect.fnUntraced(function* (
  file: FileSystem.File,
  offset: number,
  length: number
): Effect.fn.Return<Uint8Array, PlatformError> {
  const { size } = length > wholeBytes ? yield* file.stat : { size: offset + length }
  const bytes = new Uint8Array(Math.max(0, Math.min(length, Number(size) - offset)))
  let filled = 0
  while (filled < bytes.byteLength) {
    const read = yield* file.read(bytes.subarray(filled), { position: BigInt(offset + filled) })
    if (read === 0) return bytes.subarray(0, filled)
    filled += read
  }
  return bytes
})

const lf = 0x0a

/** How many LFs there are. */
export const linesIn = (bytes: Uint8Array): number => {
  let lines = 0
  for (let at = bytes.indexOf(lf); at !== -1; at = bytes.indexOf(lf, at + 1)) lines++
  return lines
}

/**
 * Gives effects the file system that is in scope now, so that methods ask for nothing. Only that: the
 * whole context would bring the ledger's scope along, and keep open what is opened for one read.
 */
export const withFiles = Effect.map(
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
