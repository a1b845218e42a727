/**
 * Internal: a disk as two planes. What programs see is the live plane; what a power cut cannot take
 * is the durable one. Bytes pass from the one to the other by an fsync of their file, names by an
 * fsync of their directory, and by nothing else.
 *
 *   write, truncate            live, and pending on the file
 *   create, mkdir, rename, rm  live, and pending on the directories they touch
 *   fsync                      what is pending there becomes durable, in order
 *   failed fsync               pending bytes are forgotten: they stay live, and never become durable
 *   power cut                  of what is pending any part survives; live becomes what is durable
 *
 * A write that survives in part leaves each byte old or new. Where a file had grown, its length may
 * survive without the data: zeros, which never stand where durable bytes had been that no truncation
 * took. A rename within one directory survives whole or not at all; between two, the new name may
 * come without the loss of the old one, never the loss alone. Directories are renamed within one
 * directory only. Modes are not lost.
 */

/** Bytes that grow. */
export class Content {
  #bytes = new Uint8Array(256)
  #length = 0

  get length(): number {
    return this.#length
  }

  /** A view, good until the next change. */
  view(from = 0, to = this.#length): Uint8Array {
    return this.#bytes.subarray(Math.min(from, this.#length), Math.min(to, this.#length))
  }

  copy(): Uint8Array {
    return this.#bytes.slice(0, this.#length)
  }

  write(offset: number, bytes: Uint8Array): void {
    if (bytes.byteLength === 0) return
    const end = offset + bytes.byteLength
    if (end > this.#length) this.resize(end)
    this.#bytes.set(bytes, offset)
  }

  /** Cut, or grow by zeros. */
  resize(length: number): void {
    if (length > this.#bytes.byteLength) {
      const larger = new Uint8Array(Math.max(length, this.#bytes.byteLength * 2))
      larger.set(this.view())
      this.#bytes = larger
    }
    if (length < this.#length) this.#bytes.fill(0, length, this.#length)
    this.#length = length
  }
}

type Change =
  | { readonly _tag: "Write"; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly _tag: "Resize"; readonly length: number }

export interface FileNode {
  readonly kind: "File"
  readonly ino: number
  mode: number
  readonly live: Content
  durable: Content
  pending: Array<Change>
}

export interface DirectoryNode {
  readonly kind: "Directory"
  readonly ino: number
  mode: number
  readonly live: Map<string, Node>
  durable: Map<string, Node>
}

export type Node = FileNode | DirectoryNode

interface Add {
  readonly at: DirectoryNode
  readonly name: string
  readonly node: Node
}

interface Remove {
  readonly at: DirectoryNode
  readonly name: string
}

/** A name that comes, goes, or both at once. */
interface NameChange {
  add: Add | undefined
  remove: Remove | undefined
}

/** A number from 0 up to, not including, 1. */
export type Random = () => number

/** How much of what is pending survives, where it is not drawn for each change. */
type Survival = "none" | "all" | "each"

const below = (random: Random, end: number): number => Math.floor(random() * end)

const applyChange = (content: Content, change: Change): void => {
  if (change._tag === "Write") content.write(change.offset, change.bytes)
  else content.resize(change.length)
}

/** A part of a write: from its start, up to its end, or here and there in blocks. */
const tear = (content: Content, offset: number, bytes: Uint8Array, random: Random): void => {
  const cut = below(random, bytes.byteLength + 1)
  const way = random()
  if (way < 0.4) return content.write(offset, bytes.subarray(0, cut))
  if (way < 0.7) return content.write(offset + cut, bytes.subarray(cut))
  const block = 1 + below(random, 64)
  for (let at = 0; at < bytes.byteLength; at += block) {
    if (random() < 0.5) content.write(offset + at, bytes.subarray(at, at + block))
  }
}

const survivingContent = (file: FileNode, survival: Survival, random: Random): Content => {
  const content = file.durable
  for (const change of file.pending) {
    const drawn = random()
    if (survival === "all" || (survival === "each" && drawn < 0.35)) applyChange(content, change)
    else if (survival === "none" || change._tag === "Resize") continue
    else if (drawn < 0.75) tear(content, change.offset, change.bytes, random)
    const end = change._tag === "Write" ? change.offset + change.bytes.byteLength : 0
    if (survival === "each" && end > content.length && random() < 0.4) {
      content.resize(content.length + below(random, end - content.length + 1))
    }
  }
  return content
}

/** A name becomes durable. Files may be left with two names, a directory never. */
const settle = ({ at, name, node }: Add): void => {
  if (node.kind === "Directory") {
    for (const [other, there] of at.durable) if (there === node) at.durable.delete(other)
  }
  at.durable.set(name, node)
}

/** Both planes of one disk. */
export class Planes {
  #inodes = 1
  readonly root: DirectoryNode = this.#directory(0o755)
  #names: Array<NameChange> = []

  #directory(mode: number): DirectoryNode {
    return { kind: "Directory", ino: this.#inodes++, mode, live: new Map(), durable: new Map() }
  }

  makeFile(at: DirectoryNode, name: string, mode: number): FileNode {
    const live = new Content()
    const durable = new Content()
    const ino = this.#inodes++
    const node: FileNode = { kind: "File", ino, mode, live, durable, pending: [] }
    this.#add(at, name, node)
    return node
  }

  makeDirectory(at: DirectoryNode, name: string, mode: number): DirectoryNode {
    const node = this.#directory(mode)
    this.#add(at, name, node)
    return node
  }

  #add(at: DirectoryNode, name: string, node: Node): void {
    at.live.set(name, node)
    this.#names.push({ add: { at, name, node }, remove: undefined })
  }

  remove(at: DirectoryNode, name: string): void {
    at.live.delete(name)
    this.#names.push({ add: undefined, remove: { at, name } })
  }

  rename(from: Remove, to: Remove): void {
    const node = from.at.live.get(from.name)
    if (node === undefined) return
    from.at.live.delete(from.name)
    to.at.live.set(to.name, node)
    this.#names.push({ add: { ...to, node }, remove: from })
  }

  write(file: FileNode, offset: number, bytes: Uint8Array): void {
    if (bytes.byteLength === 0) return
    const own = bytes.slice()
    file.live.write(offset, own)
    file.pending.push({ _tag: "Write", offset, bytes: own })
  }

  resize(file: FileNode, length: number): void {
    file.live.resize(length)
    file.pending.push({ _tag: "Resize", length })
  }

  /** What is pending at this file or directory becomes durable. */
  sync(node: Node): void {
    if (node.kind === "File") {
      for (const change of node.pending) applyChange(node.durable, change)
      node.pending = []
      return
    }
    for (const change of this.#names) {
      const { add, remove } = change
      if (remove?.at === node) {
        // A name that is known to have gone has not gone without the one that took its place.
        if (add !== undefined) {
          settle(add)
          this.#overtake(add, change)
        }
        node.durable.delete(remove.name)
        change.add = undefined
        change.remove = undefined
      } else if (add?.at === node) {
        settle(add)
        change.add = undefined
      }
    }
    this.#names = this.#names.filter(({ add, remove }) => add !== undefined || remove !== undefined)
  }

  /** What was pending at a name before what is durable there now is never done any more. */
  #overtake({ at, name }: Add, by: NameChange): void {
    for (const before of this.#names) {
      if (before === by) return
      if (before.add?.at === at && before.add.name === name) before.add = undefined
      if (before.remove?.at === at && before.remove.name === name) before.remove = undefined
    }
  }

  /** What is pending at this file is believed to be durable, and is not. Names stay pending. */
  forget(node: Node): void {
    if (node.kind === "File") node.pending = []
  }

  /** The power goes: what survives is all there is. */
  cut(random: Random): void {
    this.#cutNames(random)
    const seen = new Set<Node>()
    const restart = (node: Node): void => {
      if (seen.has(node)) return
      seen.add(node)
      if (node.kind === "File") {
        node.durable = survivingContent(node, drawn(random), random)
        node.pending = []
        node.live.resize(0)
        node.live.write(0, node.durable.view())
        return
      }
      node.live.clear()
      for (const [name, child] of node.durable) {
        node.live.set(name, child)
        restart(child)
      }
    }
    restart(this.root)
  }

  #cutNames(random: Random): void {
    const survival = drawn(random)
    for (const { add, remove } of this.#names) {
      if (survival === "none" || (survival === "each" && random() < 0.5)) continue
      if (add !== undefined) settle(add)
      if (remove === undefined) continue
      const alone = add !== undefined && add.at !== remove.at && random() < 0.5
      if (!alone) remove.at.durable.delete(remove.name)
    }
    this.#names = []
  }
}

const drawn = (random: Random): Survival => {
  const one = random()
  return one < 0.2 ? "none" : one < 0.4 ? "all" : "each"
}
