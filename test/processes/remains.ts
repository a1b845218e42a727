/**
 * What lies in a ledger's directory, read without sealog: the model that its files are held to.
 *
 * Lines are JSON objects that end with LF; the leaf hash of a row is SHA-256 of a zero byte and its
 * line, and stands in the next row as `prev_line_hash`; a group's rows say `batch: [index, size]` and
 * lie in one file. Rows of whole groups are `rows`; what follows the last of them is torn.
 */
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert } from "@effect/vitest"
import { Schema } from "effect"
import { operations } from "../store/crashKit.ts"

/** A row as a reader with nothing but JSON and SHA-256 sees it. */
export interface RawRow {
  readonly seq: number
  readonly leafHash: string
  readonly id: string
  readonly event_type: string
  readonly payload: { readonly name: string; readonly fill: string }
  readonly keys: { readonly appender: string }
  readonly parent_id?: string
  readonly batch: readonly [number, number]
  /** The first seq that the name of its file tells. */
  readonly segment: number
}

export interface Remains {
  /** The rows of whole groups. */
  readonly rows: ReadonlyArray<RawRow>
  /** Their bytes, with the last LF where it alone is missing. */
  readonly kept: Buffer
  /** What follows them. */
  readonly torn: Buffer
  /** Every byte of the journal as it lies. */
  readonly bytes: Buffer
  /** What each operation has cut. */
  readonly cuts: ReadonlyArray<Buffer>
  /** The operations that were planned and not finished. */
  readonly unfinished: ReadonlyArray<string>
}

const Line = Schema.Struct({
  id: Schema.String,
  event_type: Schema.String,
  payload: Schema.Struct({ name: Schema.String, fill: Schema.String }),
  keys: Schema.Struct({ appender: Schema.String }),
  parent_id: Schema.optionalKey(Schema.String),
  prev_line_hash: Schema.String,
  batch: Schema.optionalKey(Schema.Tuple([Schema.Int, Schema.Int])),
  crc32c: Schema.String
})

const decodeLine = Schema.decodeUnknownOption(Schema.fromJsonString(Line))

/** RFC 6962's leaf hash of a line. */
export const leafHashOf = (line: Uint8Array): string =>
  crypto
    .createHash("sha256")
    .update(new Uint8Array([0]))
    .update(line)
    .digest("hex")

/** The segments, in the order of their rows. */
export const segmentsOf = (
  directory: string
): ReadonlyArray<{ readonly path: string; readonly firstSeq: number; readonly bytes: Buffer }> => {
  const folder = path.join(directory, "segments")
  if (!fs.existsSync(folder)) return []
  return fs
    .readdirSync(folder)
    .toSorted()
    .map((name) => {
      const at = path.join(folder, name)
      return { path: at, firstSeq: Number(name.slice(0, 16)), bytes: fs.readFileSync(at) }
    })
}

const zeroHash = "0".repeat(64)

/** The rows of whole groups in one segment, and how many of its bytes they are, LF counted. */
const wholeGroups = (bytes: Buffer, firstSeq: number, before: string) => {
  const rows: Array<RawRow> = []
  let group: Array<RawRow> = []
  let end = 0
  let leaf = before
  for (let from = 0; from < bytes.length;) {
    const lf = bytes.indexOf(0x0a, from)
    const line = bytes.subarray(from, lf === -1 ? bytes.length : lf)
    const found = decodeLine(line.toString("utf8"))
    if (found._tag === "None") break
    const { batch = [0, 1], prev_line_hash, crc32c: _, ...row } = found.value
    assert.strictEqual(prev_line_hash, leaf, `row ${firstSeq + rows.length + group.length}`)
    leaf = leafHashOf(line)
    const seq = firstSeq + rows.length + group.length
    assert.strictEqual(batch[0], group.length, `the place of row ${seq} in its group`)
    group.push({ ...row, batch, seq, leafHash: leaf, segment: firstSeq })
    from += line.length + 1
    if (batch[0] + 1 < batch[1]) continue
    rows.push(...group)
    group = []
    end = from
  }
  return { rows, end }
}

/** Look at a ledger. Fails where its files cannot be what kills leave of one. */
export const look = (directory: string): Remains => {
  const rows: Array<RawRow> = []
  const kept: Array<Buffer> = []
  let torn: Buffer = Buffer.alloc(0)
  const segments = segmentsOf(directory)
  for (const [nth, { bytes, firstSeq }] of segments.entries()) {
    assert.strictEqual(torn.length, 0, `torn bytes before segment ${firstSeq}`)
    assert.strictEqual(firstSeq, rows.length + 1, "the first row of a segment is in its name")
    const before = rows.at(-1)?.leafHash ?? zeroHash
    const { end, rows: found } = wholeGroups(bytes, firstSeq, before)
    rows.push(...found)
    // Only the last segment may be empty, or end with a line that is not whole.
    if (nth < segments.length - 1) assert.isTrue(end > 0 && end === bytes.length)
    kept.push(bytes.subarray(0, end), Buffer.from(end > bytes.length ? "\n" : ""))
    torn = bytes.subarray(end)
  }
  const folders = operations(directory)
  return {
    rows,
    kept: Buffer.concat(kept),
    torn,
    bytes: Buffer.concat(segments.map((segment) => segment.bytes)),
    cuts: folders.flatMap(({ files }) =>
      Object.entries(files).flatMap(([name, bytes]) => (name.endsWith(".cut") ? [bytes] : []))
    ),
    unfinished: folders.flatMap(({ files, id }) =>
      "plan.json" in files && !("outcome.json" in files) ? [id] : []
    )
  }
}

/** How many rows a ledger's mirror has committed, looked at in a copy. */
export const mirrored = (directory: string): number => {
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "sealog-mirror-"))
  try {
    for (const name of ["mirror.sqlite", "mirror.sqlite-wal"]) {
      const from = path.join(directory, name)
      if (fs.existsSync(from)) fs.copyFileSync(from, path.join(scratch, name))
    }
    const db = new DatabaseSync(path.join(scratch, "mirror.sqlite"))
    try {
      const isMade =
        db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'sealog_index'").get() !== undefined
      if (!isMade) return 0
      return Number(Object.values(db.prepare("SELECT count(*) FROM sealog_index").get() ?? {})[0])
    } finally {
      db.close()
    }
  } finally {
    fs.rmSync(scratch, { recursive: true })
  }
}
