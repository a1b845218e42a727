/**
 * A disk in memory: the calls of a file system that ledgers make, over a map from paths to bytes.
 *
 * Sweeps of ten thousand mutations run on it, as a real disk takes most of their time; the same
 * verdicts are asked of real files for a part of them. Every path that any call names is noted, so
 * that a test can say what was never touched. Bytes that were put are never written to: a write
 * makes a copy, so one fixture serves all mutations.
 */
import * as path from "node:path"
import { ByteSize, Effect, FileSystem, Option } from "effect"
import * as PlatformError from "effect/PlatformError"

const failure = (method: string, at: string, code: string) =>
  PlatformError.systemError({
    _tag: code === "ENOENT" ? "NotFound" : "Unknown",
    module: "FileSystem",
    method,
    pathOrDescriptor: at,
    cause: Object.assign(new Error(`${code}: ${at}`), { code })
  })

const infoOf = (type: FileSystem.File.Type, size: number): FileSystem.File.Info => ({
  type,
  mtime: Option.none(),
  atime: Option.none(),
  birthtime: Option.none(),
  dev: 0n,
  ino: Option.none(),
  mode: type === "File" ? 0o600 : 0o700,
  nlink: Option.none(),
  uid: Option.none(),
  gid: Option.none(),
  rdev: Option.none(),
  size: ByteSize.bytes(size),
  blksize: Option.none(),
  blocks: Option.none()
})

export class Disk {
  readonly files = new Map<string, Uint8Array>()
  readonly directories = new Set<string>()
  /** Every path that a call has named. */
  readonly asked = new Set<string>()
  /** How many calls have changed something. */
  changes = 0
  readonly fileSystem: FileSystem.FileSystem = this.makeFileSystem()

  /** Put files below a directory, and nothing else: what was there is gone. */
  put(directory: string, files: ReadonlyMap<string, Uint8Array>): void {
    this.remove(directory)
    this.directories.add(directory)
    for (const [name, bytes] of files) this.write(path.join(directory, name), bytes)
  }

  write(at: string, bytes: Uint8Array): void {
    for (let up = path.dirname(at); !this.directories.has(up); up = path.dirname(up)) {
      this.directories.add(up)
    }
    this.files.set(at, bytes)
  }

  remove(at: string): void {
    const below = `${at}${path.sep}`
    for (const name of this.files.keys())
      if (name === at || name.startsWith(below)) this.files.delete(name)
    for (const name of this.directories)
      if (name === at || name.startsWith(below)) this.directories.delete(name)
  }

  /** The files below a directory, by their paths from there. */
  below(directory: string): ReadonlyMap<string, Uint8Array> {
    const prefix = `${directory}${path.sep}`
    return new Map(
      [...this.files]
        .filter(([name]) => name.startsWith(prefix))
        .map(([name, bytes]) => [name.slice(prefix.length), bytes])
    )
  }

  /** A call on a path, noted. */
  private on<A>(at: string, run: () => A | PlatformError.PlatformError) {
    return Effect.suspend(() => {
      this.asked.add(at)
      const done = run()
      return done instanceof PlatformError.PlatformError
        ? Effect.fail(done)
        : Effect.succeed<A>(done)
    })
  }

  private look(method: string, at: string) {
    return this.on(at, () => {
      const bytes = this.files.get(at)
      if (bytes !== undefined) return infoOf("File", bytes.byteLength)
      return this.directories.has(at) ? infoOf("Directory", 0) : failure(method, at, "ENOENT")
    })
  }

  private bytes(method: string, at: string) {
    return this.on(at, () => this.files.get(at) ?? failure(method, at, "ENOENT"))
  }

  private changed<A>(at: string, run: () => A | PlatformError.PlatformError) {
    return this.on(at, () => {
      this.changes++
      return run()
    })
  }

  private makeFileSystem(): FileSystem.FileSystem {
    return FileSystem.makeNoop({
      lstat: (at) => this.look("lstat", at),
      stat: (at) => this.look("stat", at),
      readFile: (at) => this.bytes("readFile", at),
      readFileString: (at) =>
        Effect.map(this.bytes("readFileString", at), (bytes) => new TextDecoder().decode(bytes)),
      readDirectory: (at) =>
        this.on(at, () => {
          if (!this.directories.has(at)) return failure("readDirectory", at, "ENOENT")
          const all = [...this.files.keys(), ...this.directories]
          return all
            .filter((name) => name !== at && path.dirname(name) === at)
            .map((name) => path.basename(name))
        }),
      makeDirectory: (at) => this.changed(at, () => void this.directories.add(at)),
      chmod: (at) => this.on(at, () => undefined),
      rename: (from, to) =>
        this.changed(from, () => {
          const bytes = this.files.get(from)
          if (bytes === undefined) return failure("rename", from, "ENOENT")
          this.asked.add(to)
          this.files.delete(from)
          this.write(to, bytes)
          return undefined
        }),
      open: (at, options = {}) => this.open(at, options.flag ?? "r")
    })
  }

  private open(at: string, flag: string) {
    return this.on(at, (): FileSystem.File | PlatformError.PlatformError => {
      const isThere = this.files.has(at)
      if (flag.includes("x") && isThere) return failure("open", at, "EEXIST")
      if (!flag.startsWith("w") && !isThere && !this.directories.has(at))
        return failure("open", at, "ENOENT")
      if (flag.startsWith("w")) {
        this.changes++
        this.write(at, new Uint8Array())
      }
      return this.file(at)
    })
  }

  private file(at: string): FileSystem.File {
    const now = () => this.files.get(at) ?? new Uint8Array()
    let cursor = 0
    const write = (bytes: Uint8Array) =>
      this.changed(at, () => {
        const before = now()
        const after = new Uint8Array(Math.max(before.byteLength, cursor + bytes.byteLength))
        after.set(before)
        after.set(bytes, cursor)
        cursor += bytes.byteLength
        this.files.set(at, after)
        return bytes.byteLength
      })
    return {
      [FileSystem.FileTypeId]: FileSystem.FileTypeId,
      stat: Effect.suspend(() => this.look("stat", at)),
      sync: Effect.void,
      seek: (offset, from) =>
        this.on(at, () => {
          cursor = Number(offset) + (from === "start" ? 0 : cursor)
          return BigInt(cursor)
        }),
      read: (buffer, options) =>
        this.on(at, () => {
          const from = options?.position === undefined ? cursor : Number(options.position)
          const part = now().subarray(from, from + buffer.byteLength)
          buffer.set(part)
          if (options?.position === undefined) cursor += part.byteLength
          return part.byteLength
        }),
      readAlloc: () => Effect.die("never asked for by a ledger"),
      truncate: (length = 0) =>
        this.changed(at, () => {
          const after = new Uint8Array(length)
          after.set(now().subarray(0, length))
          this.files.set(at, after)
          cursor = Math.min(cursor, length)
        }),
      write,
      writeAll: (bytes) => Effect.asVoid(write(bytes))
    }
  }
}
