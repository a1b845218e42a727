/**
 * Reading as one would by hand: a prepared SELECT on the ledger's own index, then one positioned
 * read of the line. Synchronous, each segment opened once, nothing hashed, checked or parsed.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import type { StatementSync } from "node:sqlite"
import { DatabaseSync } from "node:sqlite"
import * as Segment from "../src/core/Segment.ts"

interface Found {
  readonly seq: number
  readonly parent: number | null
  readonly segment: number
  readonly offset: number
  readonly length: number
}

/** A row of a statement that is asked for its leaf hash too. */
interface FoundHash extends Found {
  readonly leafHash: string
}

const chunkBytes = 1024 * 1024
const newline = 0x0a

/** Read every segment of a ledger from its first byte to its last; how many lines there are. */
export const journal = (directory: string): number => {
  const buffer = Buffer.allocUnsafe(chunkBytes)
  const segments = path.join(directory, "segments")
  let count = 0
  for (const name of fs.readdirSync(segments)) {
    const fd = fs.openSync(path.join(segments, name), "r")
    for (let size = fs.readSync(fd, buffer); size > 0; size = fs.readSync(fd, buffer)) {
      const read = buffer.subarray(0, size)
      for (let at = read.indexOf(newline); at !== -1; at = read.indexOf(newline, at + 1)) count++
    }
    fs.closeSync(fd)
  }
  return count
}

/** Lines of a ledger through its index, and nothing more. */
export class BareReader {
  readonly #directory: string
  readonly #db: DatabaseSync
  readonly #files = new Map<number, number>()
  readonly #bySeq
  readonly #byId
  readonly #tail
  readonly #leaves
  readonly #head
  readonly #pages = new Map<string, StatementSync>()

  constructor(directory: string) {
    this.#directory = directory
    this.#db = new DatabaseSync(path.join(directory, "mirror.sqlite"), { readOnly: true })
    const select =
      "SELECT seq, parent_seq AS parent, segment, byte_offset AS offset, byte_length AS length " +
      "FROM sealog_index i "
    this.#bySeq = this.#db.prepare(`${select} WHERE seq = ?`)
    this.#byId = this.#db.prepare(`${select} WHERE event_id = ?`)
    this.#tail = this.#db.prepare(`${select} ORDER BY seq DESC LIMIT ?`)
    this.#leaves = this.#db.prepare(
      `${select} WHERE NOT EXISTS (SELECT 1 FROM sealog_index c WHERE c.parent_seq = i.seq)`
    )
    this.#head = this.#db.prepare(
      "SELECT seq, leaf_hash AS leafHash FROM sealog_index ORDER BY seq DESC LIMIT 1"
    )
  }

  #line({ length, offset, segment }: Found): Buffer {
    let fd = this.#files.get(segment)
    if (fd === undefined) {
      fd = fs.openSync(path.join(this.#directory, "segments", Segment.name(segment)), "r")
      this.#files.set(segment, fd)
    }
    const line = Buffer.allocUnsafe(length)
    fs.readSync(fd, line, 0, length, offset)
    return line
  }

  // Of one's own tables the rows' shape is known.
  #one(found: unknown): Found {
    if (found === undefined) throw new Error("no such row")
    return found as Found
  }

  bySeq(seq: number): Buffer {
    return this.#line(this.#one(this.#bySeq.get(seq)))
  }

  byId(id: string): Buffer {
    return this.#line(this.#one(this.#byId.get(id)))
  }

  tail(count: number): ReadonlyArray<Buffer> {
    return this.#tail.all(count).map((row) => this.#line(this.#one(row)))
  }

  leaves(): ReadonlyArray<Buffer> {
    return this.#leaves.all().map((row) => this.#line(this.#one(row)))
  }

  /** The rows of a statement, which selects what a `FoundHash` has, and their lines. */
  page(sql: string, params: ReadonlyArray<string | number>) {
    const statement = this.#pages.get(sql) ?? this.#db.prepare(sql)
    this.#pages.set(sql, statement)
    return statement.all(...params).map((found) => {
      const row = this.#one(found) as FoundHash
      return { row, line: this.#line(row) }
    })
  }

  /** The newest row, unread. */
  head(): FoundHash {
    return this.#one(this.#head.get()) as FoundHash
  }

  /** A row and its ancestors, one look-up and one read for each. */
  path(leaf: number): ReadonlyArray<Buffer> {
    const lines: Array<Buffer> = []
    for (let seq: number | null = leaf; seq !== null;) {
      const found = this.#one(this.#bySeq.get(seq))
      lines.push(this.#line(found))
      seq = found.parent
    }
    return lines.toReversed()
  }

  close(): void {
    for (const fd of this.#files.values()) fs.closeSync(fd)
    this.#db.close()
  }
}
