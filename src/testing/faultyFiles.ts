/**
 * Internal: Effect's `FileSystem` over the two planes of a disk in memory. Paths are absolute or
 * relative to `/`; links and watching are not to be had, modes are kept and not enforced.
 */
import { ByteSize, Effect, FileSystem, Option, Stream } from "effect"
import * as PlatformError from "effect/PlatformError"
import type { Scope } from "effect"
import type { Machine, OperationName, Process } from "./faultyMachine.ts"
import { deadCode, failure } from "./faultyMachine.ts"
import type { DirectoryNode, FileNode, Node } from "./planes.ts"

/** Thrown inside a call, with the code it fails with. */
class Refused extends Error {
  readonly code: string

  constructor(code: string) {
    super(code)
    this.code = code
  }
}

type Failing<A> = Effect.Effect<A, PlatformError.PlatformError>

const partsOf = (path: string): ReadonlyArray<string> => {
  const parts: Array<string> = []
  for (const part of path.split("/")) {
    if (part === "..") parts.pop()
    else if (part !== "" && part !== ".") parts.push(part)
  }
  return parts
}

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

/** Looking up and changing names, synchronously; what cannot be is thrown as `Refused`. */
class Tree {
  readonly machine: Machine

  constructor(machine: Machine) {
    this.machine = machine
  }

  find(path: string): Node {
    let node: Node = this.machine.planes.root
    for (const part of partsOf(path)) {
      if (node.kind !== "Directory") throw new Refused("ENOTDIR")
      const next = node.live.get(part)
      if (next === undefined) throw new Refused("ENOENT")
      node = next
    }
    return node
  }

  directory(path: string): DirectoryNode {
    const node = this.find(path)
    if (node.kind !== "Directory") throw new Refused("ENOTDIR")
    return node
  }

  file(path: string): FileNode {
    const node = this.find(path)
    if (node.kind !== "File") throw new Refused("EISDIR")
    return node
  }

  /** The directory of a path and its last name; the name itself may be free. */
  place(path: string): { readonly at: DirectoryNode; readonly name: string } {
    const parts = partsOf(path)
    const name = parts.at(-1)
    if (name === undefined) throw new Refused("EBUSY")
    return { at: this.directory(parts.slice(0, -1).join("/")), name }
  }

  makeDirectory(path: string, mode: number, recursive: boolean): void {
    const parts = partsOf(path)
    if (recursive) {
      for (let depth = 1; depth < parts.length; depth++) {
        const above = parts.slice(0, depth).join("/")
        const { at, name } = this.place(above)
        if (!at.live.has(name)) this.machine.planes.makeDirectory(at, name, mode)
      }
    }
    const { at, name } = this.place(path)
    const there = at.live.get(name)
    if (there === undefined) this.machine.planes.makeDirectory(at, name, mode)
    else if (!recursive || there.kind === "File") throw new Refused("EEXIST")
  }

  rename(from: string, to: string): void {
    const source = this.place(from)
    const target = this.place(to)
    const node = source.at.live.get(source.name)
    if (node === undefined) throw new Refused("ENOENT")
    const there = target.at.live.get(target.name)
    if (there === node) return
    if (there?.kind === "Directory") {
      if (node.kind === "File") throw new Refused("EISDIR")
      if (there.live.size > 0) throw new Refused("ENOTEMPTY")
    } else if (there !== undefined && node.kind === "Directory") throw new Refused("ENOTDIR")
    this.machine.planes.rename(source, target)
  }

  remove(path: string, recursive: boolean, force: boolean): void {
    const { at, name } = this.place(path)
    const node = at.live.get(name)
    if (node === undefined) {
      if (force) return
      throw new Refused("ENOENT")
    }
    if (node.kind === "Directory") {
      if (!recursive && node.live.size > 0) throw new Refused("ENOTEMPTY")
      for (const child of node.live.keys()) this.remove(`${path}/${child}`, true, true)
    }
    this.machine.planes.remove(at, name)
  }

  list(path: string, recursive: boolean): Array<string> {
    const names: Array<string> = []
    const walk = (at: DirectoryNode, before: string) => {
      for (const [name, node] of [...at.live].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
        names.push(before + name)
        if (recursive && node.kind === "Directory") walk(node, `${before}${name}/`)
      }
    }
    walk(this.directory(path), "")
    return names
  }

  open(path: string, flag: FileSystem.OpenFlag, mode: number): Node {
    const { planes } = this.machine
    if (flag === "r" && partsOf(path).length === 0) return planes.root
    const { at, name } = this.place(path)
    const there = at.live.get(name)
    if (there === undefined) {
      if (flag.startsWith("r")) throw new Refused("ENOENT")
      return planes.makeFile(at, name, mode)
    }
    if (flag.includes("x")) throw new Refused("EEXIST")
    if (there.kind === "Directory") {
      if (flag !== "r") throw new Refused("EISDIR")
      return there
    }
    if (flag.startsWith("w") && there.live.length > 0) planes.resize(there, 0)
    return there
  }

  linksOf(node: Node): number {
    const holds = (at: DirectoryNode): boolean => {
      for (const child of at.live.values()) {
        if (child === node || (child.kind === "Directory" && holds(child))) return true
      }
      return false
    }
    return node === this.machine.planes.root || holds(this.machine.planes.root) ? 1 : 0
  }
}

/** Runs calls as one program's: counted, struck, and refused once the program is dead. */
class Caller {
  readonly machine: Machine
  readonly process: Process

  constructor(machine: Machine, process: Process) {
    this.machine = machine
    this.process = process
  }

  /** `cut` says what is done of a write that is struck: so many bytes, or all. */
  call<A>(
    name: OperationName,
    path: string,
    run: (bytesMax: number) => A,
    bytes?: number,
    undone?: () => void
  ): Failing<A> {
    const dead = Effect.suspend(() => Effect.fail(failure(deadCode, name, path)))
    const attempt = (bytesMax: number) =>
      Effect.try({
        try: () => run(bytesMax),
        catch: (cause) => {
          if (cause instanceof Refused) return failure(cause.code, name, path)
          throw cause
        }
      })
    const all = Number.POSITIVE_INFINITY
    if (this.process.generation === undefined) return attempt(all)
    return Effect.suspend((): Failing<A> => {
      if (this.machine.isDead(this.process)) return dead
      const fault = this.machine.begin(name, path, bytes)
      if (fault === undefined || "vanishes" in fault) return attempt(all)
      if ("short" in fault) return attempt(fault.short)
      if ("code" in fault) {
        const failed = Effect.fail(failure(fault.code, name, path))
        if (fault.persists === true) return Effect.andThen(attempt(all), failed)
        if (name === "write" && fault.bytes !== undefined) {
          return Effect.andThen(attempt(fault.bytes), failed)
        }
        undone?.()
        return failed
      }
      const done = Math.floor(this.machine.random() * ((bytes ?? 0) + 1))
      const before =
        fault.during === true
          ? Effect.ignore(attempt(bytes === undefined ? all : done))
          : Effect.void
      return before.pipe(Effect.andThen(this.machine.die(fault.crash)), Effect.andThen(dead))
    }).pipe(Effect.tap(() => this.machine.pause))
  }
}

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
  const forWriting = () => {
    if (flag === "r") throw new Refused("EBADF")
    return content()
  }
  const readInto = (buffer: Uint8Array, position: bigint | undefined): number => {
    const from = position === undefined ? cursor : Number(position)
    const bytes = content().live.view(from, from + buffer.byteLength)
    buffer.set(bytes)
    if (position === undefined) cursor += bytes.byteLength
    return bytes.byteLength
  }
  const write = (bytes: Uint8Array) =>
    caller.call(
      "write",
      path,
      (bytesMax) => {
        const file = forWriting()
        if (appends) cursor = file.live.length
        const taken = bytes.subarray(0, Math.min(bytes.byteLength, bytesMax))
        planes.write(file, cursor, taken)
        cursor += taken.byteLength
        return taken.byteLength
      },
      bytes.byteLength
    )
  const writeAll = (bytes: Uint8Array): Failing<void> =>
    bytes.byteLength === 0
      ? Effect.void
      : Effect.flatMap(write(bytes), (written) => writeAll(bytes.subarray(written)))
  return {
    [FileSystem.FileTypeId]: FileSystem.FileTypeId,
    stat: caller.call("stat", path, () => infoOf(node, tree.linksOf(node))),
    seek: (offset, from) => {
      const to = Number(offset) + (from === "start" ? 0 : cursor)
      if (to < 0) {
        const description = `position ${to} is before the start`
        const place = { module: "FileSystem", method: "seek", description }
        return Effect.fail(PlatformError.badArgument(place))
      }
      return Effect.sync(() => BigInt((cursor = to)))
    },
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
        planes.resize(forWriting(), length)
        cursor = Math.min(cursor, length)
      }),
    write,
    writeAll
  }
}

const unsupported = (method: string) =>
  Effect.fail(
    PlatformError.badArgument({
      module: "FileSystem",
      method,
      description: "a faulty disk has neither links nor watchers"
    })
  )

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
