/**
 * Internal: Effect's `FileSystem` over the two planes of a disk in memory. Paths are absolute or
 * relative to `/`; links and watching are not to be had, modes are kept and not enforced.
 */
import { ByteSize, Effect, FileSystem, Option, Stream } from "effect"
import * as PlatformError from "effect/PlatformError"
import type { Scope } from "effect"
import type { Failing, Machine, Process } from "./faultyMachine.ts"
import { Caller, Refused } from "./faultyMachine.ts"
import { partsOf, Tree } from "./faultyTree.ts"
import type { Node } from "./planes.ts"

const fileMode = 0o100000
const directoryMode = 0o040000

const infoOf = (node: Node, links: number): FileSystem.File.Info => ({
  type: node.kind,
  mtime: Option.none(),
  atime: Option.none(),
  birthtime: Option.none(),
  dev: BigInt(1),
  ino: Option.some(BigInt(node.ino)),
  mode: node.mode | (node.kind === "File" ? fileMode : directoryMode),
  nlink: Option.some(BigInt(links)),
  uid: Option.none(),
  gid: Option.none(),
  rdev: Option.none(),
  size: ByteSize.bytes(node.kind === "File" ? node.live.length : 0),
  blksize: Option.none(),
  blocks: Option.none()
})

const badArgument = (method: string, description: string) =>
  Effect.fail(PlatformError.badArgument({ module: "FileSystem", method, description }))

const writeZero = (path: string) =>
  PlatformError.systemError({
    _tag: "WriteZero",
    module: "FileSystem",
    method: "writeAll",
    pathOrDescriptor: path,
    description: "write returned 0 bytes written"
  })

/** A file that is open; dead with the machine on which it was opened. */
const openFile = (
  tree: Tree,
  caller: Caller,
  path: string,
  node: Node,
  flag: FileSystem.OpenFlag
): FileSystem.File => {
  const { planes } = caller.machine
  const appends = flag.startsWith("a")
  let cursor = 0
  const content = () => {
    if (node.kind === "Directory") throw new Refused("EISDIR")
    return node
  }
  const forReading = () => {
    if (flag !== "r" && !flag.endsWith("+")) throw new Refused("EBADF")
    return content()
  }
  const forWriting = (code: string) => {
    if (flag === "r") throw new Refused(code)
    return content()
  }
  const readInto = (buffer: Uint8Array, position: bigint | undefined): number => {
    // Nothing is asked of the system for no bytes.
    if (buffer.byteLength === 0) return 0
    const from = position === undefined ? cursor : Number(position)
    const bytes = forReading().live.view(from, from + buffer.byteLength)
    buffer.set(bytes)
    if (position === undefined) cursor += bytes.byteLength
    return bytes.byteLength
  }
  const write = (bytes: Uint8Array) =>
    caller.call(
      "write",
      path,
      (bytesMax) => {
        const file = forWriting("EBADF")
        const taken = bytes.subarray(0, Math.min(bytes.byteLength, bytesMax))
        planes.write(file, appends ? file.live.length : cursor, taken)
        // Where it appends, the cursor is that of the reads.
        if (!appends) cursor += taken.byteLength
        return taken.byteLength
      },
      bytes.byteLength
    )
  const writeAll = (bytes: Uint8Array): Failing<void> =>
    bytes.byteLength === 0
      ? Effect.void
      : Effect.flatMap(write(bytes), (written) =>
          written === 0 ? Effect.fail(writeZero(path)) : writeAll(bytes.subarray(written))
        )
  return {
    [FileSystem.FileTypeId]: FileSystem.FileTypeId,
    stat: caller.call("stat", path, () => infoOf(node, tree.linksOf(node))),
    seek: (offset, from) =>
      Effect.suspend(() => {
        const to = Number(offset) + (from === "start" ? 0 : cursor)
        if (to < 0) return badArgument("seek", `position ${to} is before the start`)
        cursor = to
        return Effect.succeed(BigInt(to))
      }),
    sync: caller.call(
      "sync",
      path,
      () => planes.sync(node),
      undefined,
      () => planes.forget(node)
    ),
    read: (buffer, options) =>
      caller.call("read", path, () => readInto(buffer, options?.position), buffer.byteLength),
    readAlloc: (size, options) =>
      caller.call(
        "read",
        path,
        () => {
          const buffer = new Uint8Array(size)
          const read = readInto(buffer, options?.position)
          return read === 0 ? Option.none() : Option.some(buffer.subarray(0, read))
        },
        size
      ),
    truncate: (length = 0) =>
      caller.call("truncate", path, () => {
        planes.resize(forWriting("EINVAL"), length)
        if (!appends) cursor = Math.min(cursor, length)
      }),
    write,
    writeAll
  }
}

const unsupported = (method: string) =>
  badArgument(method, "a faulty disk has neither links nor watchers")

/** The file system of a machine as one program sees it. */
export const make = (machine: Machine, process: Process): FileSystem.FileSystem => {
  const tree = new Tree(machine)
  const caller = new Caller(machine, process)

  const open = (
    path: string,
    options: {
      readonly flag?: FileSystem.OpenFlag | undefined
      readonly mode?: number | undefined
    } = {}
  ): Effect.Effect<FileSystem.File, PlatformError.PlatformError, Scope.Scope> => {
    const { flag = "r", mode = 0o666 } = options
    return Effect.map(
      caller.call("open", path, () => tree.open(path, flag, mode)),
      (node) => openFile(tree, caller, path, node, flag)
    )
  }

  const readFile = (path: string) => caller.call("read", path, () => tree.file(path).live.copy())

  const writeFile: FileSystem.FileSystem["writeFile"] = (path, data, options) =>
    Effect.scoped(
      Effect.flatMap(open(path, { flag: "w", ...options }), (file) => file.writeAll(data))
    )

  const makeDirectory: FileSystem.FileSystem["makeDirectory"] = (path, options) =>
    caller.call("mkdir", path, () =>
      tree.makeDirectory(path, options?.mode ?? 0o777, options?.recursive ?? false)
    )

  const temporary = (
    options: { readonly directory?: string | undefined; readonly prefix?: string | undefined } = {}
  ) => {
    const name = Math.floor(machine.random() * 2 ** 32).toString(36)
    return `${options.directory ?? "/tmp"}/${options.prefix ?? ""}${name}`
  }

  const remove: FileSystem.FileSystem["remove"] = (path, options) =>
    caller.call("remove", path, () =>
      tree.remove(path, options?.recursive ?? false, options?.force ?? false)
    )

  const makeTempDirectory: FileSystem.FileSystem["makeTempDirectory"] = (options) =>
    Effect.suspend(() => {
      const path = temporary(options)
      return Effect.as(makeDirectory(path, { recursive: true, mode: 0o700 }), path)
    })

  const makeTempFile: FileSystem.FileSystem["makeTempFile"] = (options) =>
    Effect.flatMap(makeTempDirectory(options), (directory) => {
      const path = `${directory}/file${options?.suffix ?? ""}`
      return Effect.as(writeFile(path, new Uint8Array()), path)
    })

  const scoped = (path: Failing<string>) =>
    Effect.acquireRelease(path, (path) =>
      Effect.ignore(remove(path, { recursive: true, force: true }))
    )

  const stat = (path: string) => caller.call("stat", path, () => infoOf(tree.find(path), 1))

  const copyFile: FileSystem.FileSystem["copyFile"] = (from, to) =>
    Effect.flatMap(readFile(from), (bytes) => writeFile(to, bytes))

  const copy: FileSystem.FileSystem["copy"] = Effect.fnUntraced(function* (from, to, options) {
    if ((yield* stat(from)).type === "File") {
      const flag = options?.overwrite === true ? "w" : "wx"
      return yield* writeFile(to, yield* readFile(from), { flag })
    }
    yield* makeDirectory(to, { recursive: true })
    for (const name of yield* readDirectory(from)) {
      yield* copy(`${from}/${name}`, `${to}/${name}`, options)
    }
  })

  const readDirectory: FileSystem.FileSystem["readDirectory"] = (path, options) =>
    caller.call("list", path, () => tree.list(path, options?.recursive ?? false))

  return FileSystem.make({
    access: (path) => Effect.asVoid(stat(path)),
    chmod: (path, mode) =>
      caller.call("chmod", path, () => void (tree.find(path).mode = mode & 0o7777)),
    chown: (path) => Effect.asVoid(stat(path)),
    copy,
    copyFile,
    link: () => unsupported("link"),
    lstat: stat,
    makeDirectory,
    makeTempDirectory,
    makeTempDirectoryScoped: (options) => scoped(makeTempDirectory(options)),
    makeTempFile,
    makeTempFileScoped: (options) => scoped(makeTempFile(options)),
    open,
    readDirectory,
    readDirectoryEntries: (path) =>
      caller.call("list", path, () =>
        [...tree.directory(path).live].map(([name, node]) => ({ name, type: node.kind }))
      ),
    readFile,
    readLink: () => unsupported("readLink"),
    realPath: (path) =>
      caller.call("stat", path, () => {
        tree.find(path)
        return `/${partsOf(path).join("/")}`
      }),
    remove,
    rename: (from, to) => caller.call("rename", `${from} ${to}`, () => tree.rename(from, to)),
    stat,
    symlink: () => unsupported("symlink"),
    truncate: (path, length) =>
      caller.call("truncate", path, () => machine.planes.resize(tree.file(path), length ?? 0)),
    utimes: (path) => Effect.asVoid(stat(path)),
    watch: () => Stream.fromEffect(unsupported("watch")),
    writeFile
  })
}
