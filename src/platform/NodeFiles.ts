/**
 * Effect's file system for Node and Deno, with open files that do small work in place.
 *
 * A read, write or stat of a few pages costs a microsecond or two in the page cache, and thirty or
 * more when it is handed to a thread and back, so up to `inPlaceBytesMax` bytes it is done in
 * place. An fsync is done in place only while the device has been answering within
 * `quickMillisMax`; a slow one is waited for on a thread, so that it never holds up the event loop
 * for long. Files for reading are opened in place, too (`readingFile`). Everything else is
 * `@effect/platform-node`'s.
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Effect, FileSystem, Layer, Predicate } from "effect"
import * as PlatformError from "effect/PlatformError"
import * as fs from "node:fs"
import { attempt, infoOf, inPlaceBytesMax } from "./inPlace.ts"
import { canRefuseLinks, openToRead } from "./readingFile.ts"

const quickMillisMax = 1

/** How long the last fsync of any file here took; shared, as they share their device mostly. */
let lastSyncMillis = 0

/** An open file with a cursor of its own; reads may name a position instead. */
class File implements FileSystem.File {
  readonly [FileSystem.FileTypeId]: typeof FileSystem.FileTypeId = FileSystem.FileTypeId
  private readonly inner: FileSystem.File
  private readonly fd: number
  private position = BigInt(0)

  constructor(inner: FileSystem.File, fd: number) {
    this.inner = inner
    this.fd = fd
  }

  get stat(): Effect.Effect<FileSystem.File.Info, PlatformError.PlatformError> {
    return attempt("stat", this.fd, () => infoOf(fs.fstatSync(this.fd, { bigint: true })))
  }

  get sync(): Effect.Effect<void, PlatformError.PlatformError> {
    return Effect.suspend(() => {
      const begun = performance.now()
      const done = Effect.sync(() => {
        lastSyncMillis = performance.now() - begun
      })
      return lastSyncMillis <= quickMillisMax
        ? Effect.andThen(
            attempt("sync", this.fd, () => fs.fsyncSync(this.fd)),
            done
          )
        : Effect.andThen(this.inner.sync, done)
    })
  }

  seek(offset: bigint, from: FileSystem.SeekMode) {
    return Effect.map(this.inner.seek(offset, from), (position) => {
      this.position = position
      return position
    })
  }

  read(buffer: Uint8Array, options?: FileSystem.File.ReadOptions) {
    if (buffer.byteLength > inPlaceBytesMax || options?.position === undefined) {
      return this.inner.read(buffer, options)
    }
    const position = options.position
    return attempt("read", this.fd, () =>
      fs.readSync(this.fd, buffer, 0, buffer.byteLength, position)
    )
  }

  readAlloc(size: number, options?: FileSystem.File.ReadOptions) {
    return this.inner.readAlloc(size, options)
  }

  truncate(length?: number) {
    return Effect.map(this.inner.truncate(length), () => {
      const end = BigInt(length ?? 0)
      if (this.position > end) this.position = end
    })
  }

  write(buffer: Uint8Array) {
    if (buffer.byteLength > inPlaceBytesMax) return this.moved(this.inner.write(buffer))
    return Effect.flatMap(
      attempt("write", this.fd, () =>
        fs.writeSync(this.fd, buffer, 0, buffer.byteLength, Number(this.position))
      ),
      (written) => this.advance(written)
    )
  }

  writeAll(buffer: Uint8Array): Effect.Effect<void, PlatformError.PlatformError> {
    if (buffer.byteLength === 0) return Effect.void
    if (buffer.byteLength > inPlaceBytesMax) {
      return this.moved(Effect.as(this.inner.writeAll(buffer), buffer.byteLength))
    }
    return Effect.flatMap(this.write(buffer), (written) =>
      written === 0
        ? Effect.fail(
            PlatformError.systemError({
              _tag: "WriteZero",
              module: "FileSystem",
              method: "writeAll",
              pathOrDescriptor: this.fd,
              description: "write returned 0 bytes written"
            })
          )
        : this.writeAll(buffer.subarray(written))
    )
  }

  private moved(writing: Effect.Effect<number, PlatformError.PlatformError>) {
    return Effect.tap(writing, (written) => {
      this.position += BigInt(written)
      return Effect.void
    })
  }

  /** Both cursors go on together, as large writes are the inner file's. */
  private advance(written: number) {
    return Effect.as(this.seek(BigInt(written), "current"), written)
  }
}

/** The descriptor that the platform's files carry, though their type does not say so. */
const descriptorOf = (file: FileSystem.File): number | undefined =>
  Predicate.hasProperty(file, "fd") && typeof file.fd === "number" ? file.fd : undefined

/** `FileSystem` as `@effect/platform-node` gives it, small work of open files done in place. */
export const layer: Layer.Layer<FileSystem.FileSystem> = Layer.effect(
  FileSystem.FileSystem,
  Effect.map(FileSystem.FileSystem, (files) => ({
    ...files,
    open: (path, options) =>
      options?.flag === "r" && options.noFollow === true && canRefuseLinks
        ? openToRead(path)
        : Effect.map(files.open(path, options), (file) => {
            const fd = descriptorOf(file)
            // A file opened for appending has no cursor to write at.
            return fd === undefined || options?.flag?.startsWith("a") === true
              ? file
              : new File(file, fd)
          })
  }))
).pipe(Layer.provide(NodeFileSystem.layer))
