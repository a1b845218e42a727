/**
 * A manifest: a report about a whole ledger, in one file. Nothing is ever decided by it.
 *
 *   manifest.json    one canonical JSON object and LF
 *   integrity.hash   SHA-256, hex, of the canonical JSON without this member
 *
 * What rows say is a fold: counters of rows, types and branches add, invariants hold where they held
 * before and hold now; so a manifest costs what came since the last one. What lies beside the rows is
 * counted anew. A branch is one head of a tree of parents: a row that names a parent and that no row
 * names as its own. `bytes` ends behind the LF of the newest row. Member names are on disk.
 */
import { Result, Schema } from "effect"
import * as Json from "./CanonicalJson.ts"
import type { Head } from "./Chain.ts"
import * as Checkpoint from "./Checkpoint.ts"
import * as Hashes from "./Hashes.ts"
import * as Segment from "./Segment.ts"

const Count = Schema.Natural

/** A file of the journal, up to the newest row. */
export const File = Schema.Struct({
  name: Schema.String,
  firstSeq: Count,
  bytes: Count,
  rows: Count
}).pipe(Schema.encodeKeys({ firstSeq: "first_seq" }))
export type File = typeof File.Type

/** What was looked at and found to hold. Of contents `verify` speaks. */
export const Invariants = Schema.Struct({
  /** Every parent that the index names is an earlier row of it. */
  parentLinksClosed: Schema.Boolean,
  /** The index has every seq from 1 to the head's, and no other. */
  seqGapless: Schema.Boolean,
  /** Each file is named by its first seq and begins where the one before ends; no other is there. */
  segmentsInOrder: Schema.Boolean,
  /** Every line lies in its file, behind the line before it. */
  indexWithinBounds: Schema.Boolean,
  /** Every row that names a parent, so each that ever was a branch's head, has its event in SQL. */
  branchHeadsIndexed: Schema.Boolean,
  /** Each checkpoint is sound, of this history, and not before the one of a smaller number. */
  checkpointsInOrder: Schema.Boolean,
  /** Each event in SQL links to the one before; the head's line is what SQL says of it. */
  chainValid: Schema.Boolean
}).pipe(
  Schema.encodeKeys({
    parentLinksClosed: "parent_links_closed",
    seqGapless: "seq_gapless",
    segmentsInOrder: "segments_in_order",
    indexWithinBounds: "index_within_bounds",
    branchHeadsIndexed: "branch_heads_indexed",
    checkpointsInOrder: "checkpoints_in_order",
    chainValid: "chain_valid"
  })
)
export type Invariants = typeof Invariants.Type

const Counters = Schema.Struct({
  rows: Count,
  byType: Schema.Record(Schema.String, Count),
  branches: Count,
  bytes: Count,
  segments: Count,
  checkpoints: Count,
  operations: Count
}).pipe(Schema.encodeKeys({ byType: "by_type" }))

const Integrity = Schema.Struct({
  eventHash: Schema.NullOr(Schema.String),
  leafHash: Schema.String,
  /** Over the leaf hashes of all rows; null where the index lacks one of them. */
  root: Schema.NullOr(Schema.String),
  /** The newest checkpoint that was looked at. */
  checkpoint: Schema.NullOr(Schema.Struct({ number: Count, size: Count, hash: Schema.String })),
  hash: Schema.String
}).pipe(Schema.encodeKeys({ eventHash: "event_hash", leafHash: "leaf_hash" }))

/** `manifest.json`. */
export const Manifest = Schema.Struct({
  version: Schema.Literal(1),
  ledgerId: Schema.NullOr(Schema.String),
  format: Schema.String,
  at: Schema.String,
  head: Checkpoint.Head,
  counters: Counters,
  files: Schema.Array(File),
  integrity: Integrity,
  invariants: Invariants
}).pipe(Schema.encodeKeys({ ledgerId: "ledger_id" }))
export type Manifest = typeof Manifest.Type

/** A text that is no manifest, or does not hold together. `place` is a member or `text`. */
export class ManifestInvalid extends Schema.TaggedError<ManifestInvalid>()("ManifestInvalid", {
  place: Schema.String,
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    return `no sound manifest: at ${this.place} expected ${this.expected}, found ${this.actual}`
  }
}

/** What rows say, whether of all up to `seq` or of those that follow others. */
interface Rows {
  readonly seq: number
  readonly rows: number
  readonly byType: { readonly [type: string]: number }
  readonly files: ReadonlyArray<File>
  readonly invariants: Invariants
}

/** What all rows up to `seq` say. */
export interface Tally extends Rows {
  readonly branches: number
}

/** What the rows behind `after`, up to `seq`, say. */
export interface Part extends Rows {
  readonly after: number
  /** Branches that these rows begin, less those that they go on from. */
  readonly branches: number
}

const holds: Invariants = {
  parentLinksClosed: true,
  seqGapless: true,
  segmentsInOrder: true,
  indexWithinBounds: true,
  branchHeadsIndexed: true,
  checkpointsInOrder: true,
  chainValid: true
}

/** What no rows say. */
export const empty: Tally = {
  seq: 0,
  rows: 0,
  byType: {},
  branches: 0,
  files: [],
  invariants: holds
}

/** What the rows of a manifest say. */
export const tallyOf = ({ counters, files, head, invariants }: Manifest): Tally => {
  const { branches, byType, rows } = counters
  return { seq: head.seq, rows, byType, branches, files, invariants }
}

/** Whether all that was looked at held. */
export const isSound = ({ invariants }: Pick<Manifest, "invariants">): boolean =>
  Object.values(invariants).every(Boolean)

/** What held before and holds now; what is not said holds. */
export const both = (a: Invariants, b: Partial<Invariants>): Invariants => {
  const now = { ...holds, ...b }
  return {
    parentLinksClosed: a.parentLinksClosed && now.parentLinksClosed,
    seqGapless: a.seqGapless && now.seqGapless,
    segmentsInOrder: a.segmentsInOrder && now.segmentsInOrder,
    indexWithinBounds: a.indexWithinBounds && now.indexWithinBounds,
    branchHeadsIndexed: a.branchHeadsIndexed && now.branchHeadsIndexed,
    checkpointsInOrder: a.checkpointsInOrder && now.checkpointsInOrder,
    chainValid: a.chainValid && now.chainValid
  }
}

/** The tally of all rows, with those that follow. Throws a RangeError where they do not follow. */
export const extend = (previous: Tally, part: Part): Tally => {
  if (part.after !== previous.seq || part.seq < part.after) {
    throw new RangeError(`rows ${part.after} to ${part.seq} do not follow row ${previous.seq}`)
  }
  const byType = new Map(Object.entries(previous.byType))
  for (const [type, rows] of Object.entries(part.byType)) {
    byType.set(type, (byType.get(type) ?? 0) + rows)
  }
  const { files, segmentsInOrder } = joined(previous.files, part.files)
  return {
    seq: part.seq,
    rows: previous.rows + part.rows,
    byType: Object.fromEntries(byType),
    // Fewer than none is what an index says that is wrong about parents.
    branches: Math.max(0, previous.branches + part.branches),
    files,
    invariants: both(both(previous.invariants, part.invariants), { segmentsInOrder })
  }
}

/** Files and what is added to the last of them and behind it, and whether they are in order. */
const joined = (before: ReadonlyArray<File>, added: ReadonlyArray<File>) => {
  const files = [...before]
  let segmentsInOrder = true
  for (const file of added) {
    const last = files.at(-1)
    const next = last === undefined ? 1 : last.firstSeq + last.rows
    if (file.firstSeq !== next) segmentsInOrder = false
    if (last?.name === file.name) {
      files[files.length - 1] = { ...last, bytes: file.bytes, rows: last.rows + file.rows }
      continue
    }
    // A single file has whatever name it has.
    const named = Segment.firstSeq(file.name)
    if (named === undefined ? last !== undefined : named !== file.firstSeq) segmentsInOrder = false
    files.push(file)
  }
  return { files, segmentsInOrder }
}

/** What a manifest says besides what the rows say. */
export interface Beside {
  readonly ledgerId: string | null
  readonly format: string
  readonly at: string
  readonly head: Head
  readonly root: string | null
  readonly checkpoint: Manifest["integrity"]["checkpoint"]
  readonly checkpoints: number
  readonly operations: number
  /** What was found to hold or not besides. */
  readonly invariants: Partial<Invariants>
}

const toDisk = Schema.encodeSync(Manifest)

const utf8 = new TextEncoder()

const hashOf = (manifest: Manifest, hashes: Hashes.Hashes): string => {
  const { integrity, ...rest } = toDisk(manifest)
  const { hash: _hash, ...unhashed } = integrity
  const text = Result.getOrThrow(Json.fromValue({ ...rest, integrity: unhashed }))
  return hashes.sha256Hex(utf8.encode(text))
}

/** Make the manifest of a head; the tally must be of exactly the rows up to it. */
export const make = (
  { branches, byType, files, invariants, rows, seq }: Tally,
  beside: Beside,
  hashes: Hashes.Hashes = Hashes.noble
): Manifest => {
  const { at, checkpoint, checkpoints, format, ledgerId, operations, root } = beside
  const { eventHash, id, leafHash } = beside.head
  if (seq !== beside.head.seq) throw new RangeError("a tally of other rows than the head's")
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0)
  const segments = files.length
  const unhashed: Manifest = {
    version: 1,
    ledgerId,
    format,
    at,
    head: { seq, id, eventHash, leafHash },
    counters: { rows, byType, branches, bytes, segments, checkpoints, operations },
    files,
    integrity: { eventHash, leafHash, root, checkpoint, hash: "" },
    invariants: both(invariants, beside.invariants)
  }
  const hash = hashOf(unhashed, hashes)
  return { ...unhashed, integrity: { ...unhashed.integrity, hash } }
}

/** The content of `manifest.json`: canonical JSON and LF. */
export const encode = (manifest: Manifest): string =>
  `${Result.getOrThrow(Json.fromValue(toDisk(manifest)))}\n`

const fromDisk = Schema.decodeUnknownResult(Schema.fromJsonString(Manifest), {
  onExcessProperty: "error"
})

/** Read a `manifest.json`. Any other spelling and a wrong hash are refused. */
export const decode = (
  text: string,
  hashes: Hashes.Hashes = Hashes.noble
): Result.Result<Manifest, ManifestInvalid> => {
  const refuse = (place: string, expected: string, actual: string) =>
    Result.fail(new ManifestInvalid({ place, expected, actual }))
  const decoded = fromDisk(text)
  if (Result.isFailure(decoded)) return refuse("text", "a manifest", "something else")
  const manifest = decoded.success
  // A text that says it otherwise may say it twice.
  const again = Json.fromValue(toDisk(manifest))
  if (Result.isFailure(again) || `${again.success}\n` !== text) {
    return refuse("text", "the spelling that sealog writes", "another one")
  }
  const { head, integrity } = manifest
  const hash = hashOf(manifest, hashes)
  if (hash !== integrity.hash) return refuse("integrity.hash", hash, integrity.hash)
  const [stated, repeated] = [head, integrity].map((one) => `${one.leafHash} ${one.eventHash}`)
  return stated === repeated
    ? Result.succeed(manifest)
    : refuse("integrity", `${stated}`, `${repeated}`)
}

/** Whether two manifests say the same, whenever they were made. */
export const isSame = (a: Manifest, b: Manifest): boolean =>
  encode({ ...a, at: "", integrity: { ...a.integrity, hash: "" } }) ===
  encode({ ...b, at: "", integrity: { ...b.integrity, hash: "" } })
