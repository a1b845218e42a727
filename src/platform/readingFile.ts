/**
 * Internal: files that are open for reading only, opened and closed in place.
 *
 * Finding one row opens its file, reads a few hundred bytes and closes it; handed to a thread and back,
 * opening and closing cost many times that. Only a read of more than `inPlaceBytesMax` bytes goes to
 * a thread. No link is followed, and a pipe in a file's place is not waited for.
 */
import { Effect, FileSystem, Option } from "effect"
import * as PlatformError from "effect/PlatformError"
import * as fs from "node:fs"
import { attempt, infoOf, inPlaceBytesMax, systemError } from "./inPlace.ts"

/** A file that is open for reading, on a descriptor of its own. */
class ReadingFile implements FileSystem.File {
  readonly [FileSystem.FileTypeId]: typeof FileSystem.FileTypeId = FileSystem.FileTypeId
  private readonly fd: number
  private position = BigInt(0)

  constructor(fd: number) {
    this.fd = fd
  }

  get stat(): Effect.Effect<FileSystem.File.Info, PlatformError.PlatformError> {
    return attempt("stat", this.fd, () => infoOf(fs.fstatSync(this.fd, { bigint: true })))
  }

  get sync(): Effect.Effect<void, PlatformError.PlatformError> {
    return attempt("sync", this.fd, () => fs.fsyncSync(this.fd))
  }

  seek(offset: bigint, from: FileSystem.SeekMode) {
    return Effect.suspend(() => {
      const position = from === "start" ? offset : this.position + offset
      if (position < BigInt(0)) return Effect.fail(beforeStart("seek"))
      this.position = position
      return Effect.succeed(position)
    })
  }

  read(buffer: Uint8Array, options?: FileSystem.File.ReadOptions) {
    return Effect.suspend(() => {
      const { position } = options ?? {}
      if (position !== undefined) return this.readAt("read", buffer, position)
      return Effect.tap(this.readAt("read", buffer, this.position), (size) => {
        this.position += BigInt(size)
        return Effect.void
      })
    })
  }

  readAlloc(size: number, options?: FileSystem.File.ReadOptions) {
    return Effect.suspend(() => {
      const buffer = new Uint8Array(size)
      return Effect.map(this.read(buffer, options), (found) =>
        found === 0 ? Option.none() : Option.some(buffer.subarray(0, found))
      )
    })
  }

  truncate(length?: number) {
    return attempt("truncate", this.fd, () => fs.ftruncateSync(this.fd, length))
  }

  write(buffer: Uint8Array) {
    return attempt("write", this.fd, () => fs.writeSync(this.fd, buffer))
  }

  writeAll(buffer: Uint8Array) {
    return Effect.asVoid(this.write(buffer))
  }

  private readAt(
    method: string,
    buffer: Uint8Array,
    position: bigint
  ): Effect.Effect<number, PlatformError.PlatformError> {
    if (position < BigInt(0)) return Effect.fail(beforeStart(method))
    if (buffer.byteLength <= inPlaceBytesMax) {
      return attempt(method, this.fd, () =>
        fs.readSync(this.fd, buffer, 0, buffer.byteLength, position)
      )
    }
    const handedOver = Effect.callback<number, PlatformError.PlatformError>((resume) => {
      fs.read(this.fd, buffer, 0, buffer.byteLength, position, (cause, size) => {
        resume(
          cause === null ? Effect.succeed(size) : Effect.fail(systemError(method, this.fd, cause))
        )
      })
    })
    // A thread that reads on from a descriptor that was closed may read another file.
    return Effect.uninterruptible(handedOver)
  }
}

const beforeStart = (method: string): PlatformError.PlatformError =>
  PlatformError.badArgument({
    module: "FileSystem",
    method,
    description: "before the start of the file"
  })

const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = fs.constants

/** Whether no link is followed here when it is asked for; Windows ignores flags that it has not. */
export const canRefuseLinks =
  process.platform !== "win32" && typeof O_NOFOLLOW === "number" && O_NOFOLLOW !== 0

/** Open a file to read it; closed with the scope. A link in its place is `ELOOP`. */
export const openToRead = (path: string) =>
  Effect.acquireRelease(
    attempt("open", path, () => fs.openSync(path, O_RDONLY | O_NOFOLLOW | (O_NONBLOCK ?? 0))),
    (fd) => Effect.sync(() => fs.closeSync(fd))
  ).pipe(Effect.map((fd): FileSystem.File => new ReadingFile(fd)))
