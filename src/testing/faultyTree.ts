/**
 * Internal: the names of a disk in memory, looked up and changed as Linux does it, synchronously.
 *
 * What cannot be done is thrown as `Refused`, with the code that a real call gives (Node's own for
 * `remove`). There are no links, so a path has one reading. A directory is not moved into another
 * one: what a power cut leaves of that differs too much between file systems (`EXDEV`).
 */
import type { FileSystem } from "effect"
import type { Machine } from "./faultyMachine.ts"
import { Refused } from "./faultyMachine.ts"
import type { DirectoryNode, FileNode, Node } from "./planes.ts"

export const partsOf = (path: string): ReadonlyArray<string> => {
  const parts: Array<string> = []
  for (const part of path.split("/")) {
    if (part === "..") parts.pop()
    else if (part !== "" && part !== ".") parts.push(part)
  }
  return parts
}

const isWithin = (parts: ReadonlyArray<string>, above: ReadonlyArray<string>): boolean =>
  parts.length > above.length && above.every((part, depth) => part === parts[depth])

/** The live names of a machine's disk. */
export class Tree {
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
    if (isWithin(partsOf(to), partsOf(from))) {
      throw new Refused(node.kind === "Directory" ? "EINVAL" : "ENOTDIR")
    }
    if (isWithin(partsOf(from), partsOf(to))) throw new Refused("ENOTEMPTY")
    const there = target.at.live.get(target.name)
    if (there === node) return
    if (there?.kind === "Directory") {
      if (node.kind === "File") throw new Refused("EISDIR")
      if (there.live.size > 0) throw new Refused("ENOTEMPTY")
    } else if (there !== undefined && node.kind === "Directory") throw new Refused("ENOTDIR")
    if (node.kind === "Directory" && source.at !== target.at) throw new Refused("EXDEV")
    this.machine.planes.rename(source, target)
  }

  remove(path: string, recursive: boolean, force: boolean): void {
    if (force && !this.#isThere(path)) return
    const { at, name } = this.place(path)
    const node = at.live.get(name)
    if (node === undefined) throw new Refused("ENOENT")
    if (node.kind === "Directory") {
      if (!recursive) throw new Refused("ERR_FS_EISDIR")
      for (const child of node.live.keys()) this.remove(`${path}/${child}`, true, true)
    }
    this.machine.planes.remove(at, name)
  }

  #isThere(path: string): boolean {
    try {
      this.find(path)
      return true
    } catch (error) {
      if (error instanceof Refused && error.code === "ENOENT") return false
      throw error
    }
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
