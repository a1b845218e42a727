/**
 * Export: the rows of a ledger as one file that Cortex reads.
 *
 * The stored lines, byte for byte; what sealog adds to a row Cortex passes over. A row that it would
 * not read, or would read as another one, is refused before the file is there: a type that is not
 * one of its ten, a payload that it would spell and so hash otherwise, a signed row under another
 * name than the ledger's, as its name is signed. Written under a temporary name, fsynced, renamed;
 * what fails leaves nothing behind, what is killed leaves `FILE.sealog-export` at most.
 */
import { Effect, FileSystem, Path, Result, Schema } from "effect"
import * as Json from "../../core/CanonicalJson.ts"
import * as Chain from "../../core/Chain.ts"
import type { Event } from "../../core/Event.ts"
import { cortexTypes } from "../../core/Event.ts"
import * as Hashes from "../../core/Hashes.ts"
import * as Row from "../../core/Row.ts"
import type { Line } from "../../core/Segment.ts"
import { BackupReport, refuseInside, rolledBack } from "./Backup.ts"
import * as durable from "../journal/durable.ts"
import type { MirrorError } from "../errors.ts"
import { JournalError, journalError, RowDamaged } from "../errors.ts"
import type { JournalReader } from "../journal/Journal.ts"
import * as Layout from "../journal/Layout.ts"
import { Progress } from "../Progress.ts"

/** A row that the original could not read, or would read as another one. No file was made. */
export class NotExportable extends Schema.TaggedError<NotExportable>()("NotExportable", {
  seq: Schema.Int,
  reason: Schema.Literals(["event_type", "payload", "file_name"]),
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    const next =
      this.reason === "file_name"
        ? "Export to a file of that name."
        : "Copy the ledger with `backup` instead."
    return (
      `row ${this.seq} cannot be exported for the original (${this.reason}): expected ` +
      `${this.expected}, found ${this.actual}. No file was made. ${next}`
    )
  }
}

/** What is exported, and where to. */
export interface Job {
  readonly journal: JournalReader
  readonly hashes: Hashes.Hashes
  /** The newest row that is exported. */
  readonly head: Chain.Head
  /** What signatures call the ledger. */
  readonly ledgerId: string
  /** Whether no rollback has cut the head. */
  readonly isThere: Effect.Effect<boolean, MirrorError>
}

/** Where a payload has a number that the original would change. */
const changedAt = (payloadText: string): string => {
  const read = Json.fromText(payloadText, { numbers: "cortex" })
  return Result.isFailure(read)
    ? `another one at /payload${read.failure.path}`
    : "another spelling of it"
}

/** Why the original would not read this row as it is; undefined where it would. */
const unreadable = (
  event: Event,
  fileName: string,
  { hashes, ledgerId }: Job
): NotExportable | undefined => {
  const { payloadHash, payloadText, seq, signature, type } = event
  if (!cortexTypes.has(type)) {
    const sides = { expected: "one of Cortex's ten types", actual: type }
    return new NotExportable({ seq, reason: "event_type", ...sides })
  }
  const spelled = Json.ofCortex(payloadText, Json.nestingMax)
  const isSame =
    Result.isSuccess(spelled) &&
    (spelled.success === payloadText || Hashes.payloadHash(hashes, spelled.success) === payloadHash)
  if (!isSame) {
    const sides = { expected: "a payload that reads back the same", actual: changedAt(payloadText) }
    return new NotExportable({ seq, reason: "payload", ...sides })
  }
  const expected = `${ledgerId}.jsonl`
  return signature === undefined || fileName === expected
    ? undefined
    : new NotExportable({ seq, reason: "file_name", expected, actual: fileName })
}

const lf = new Uint8Array([0x0a])

/** Lines with an LF behind each; the memory they came in is used again. */
const joined = (lines: ReadonlyArray<Uint8Array>): Uint8Array => {
  const bytes = new Uint8Array(lines.reduce((sum, line) => sum + line.byteLength + 1, 0))
  let at = 0
  for (const line of lines) {
    bytes.set(line, at)
    bytes.set(lf, at + line.byteLength)
    at += line.byteLength + 1
  }
  return bytes
}

/** Write every row up to the head to an open file; how many bytes it has then. */
const writeRows = Effect.fnUntraced(function* (job: Job, file: FileSystem.File, path: string) {
  const { hashes, journal } = job
  const paths = yield* Path.Path
  const tell = yield* Progress
  const fileName = paths.basename(path)
  let head = Chain.start
  let bytes = 0
  const damaged = (line: Line, actual: string) => {
    const where = { seq: head.seq + 1, path: line.path, offset: line.offset }
    const expected = "the next row of this ledger"
    return new RowDamaged({ ...where, leg: "journal", expected, actual })
  }
  /** Why a line is no row to export; the head moves on where it is one. */
  const take = (line: Line): RowDamaged | NotExportable | undefined => {
    if (line.tooLong) return damaged(line, `a line of ${line.length} bytes`)
    const row = Row.decode(line.bytes, head.seq + 1, journal.format, hashes)
    if (Result.isFailure(row)) return damaged(line, row.failure.message)
    const next = Chain.extend(head, row.success.event, hashes)
    if (Result.isFailure(next)) return damaged(line, next.failure.message)
    head = next.success
    return unreadable(row.success.event, fileName, job)
  }
  const each = Effect.fnUntraced(function* (lines: ReadonlyArray<Line>) {
    const taken: Array<Uint8Array> = []
    for (const line of lines) {
      if (head.seq >= job.head.seq) break
      if (journal.format === "cortex" && !line.tooLong && Chain.isBlank(line.bytes)) continue
      const refusal = take(line)
      if (refusal !== undefined) return yield* refusal
      taken.push(line.bytes)
    }
    if (taken.length === 0) return
    const part = joined(taken)
    bytes += part.byteLength
    // An interrupted write would go on behind the file's closing.
    yield* Effect.uninterruptible(
      Effect.mapError(file.writeAll(part), journalError("export", path))
    )
    yield* tell({ task: "export", done: head.seq, total: job.head.seq, unit: "rows" })
  })
  for (const from of yield* journal.files) {
    if (head.seq >= job.head.seq) break
    yield* journal.eachLine(from, { offset: 0, number: 1 }, from.bytes, each)
  }
  if (head.leafHash === job.head.leafHash) return bytes
  return yield* new RowDamaged({
    seq: job.head.seq,
    path: journal.layout.journal,
    offset: 0,
    leg: "journal",
    expected: `row ${job.head.seq} with leaf hash ${job.head.leafHash}`,
    actual: `row ${head.seq} with leaf hash ${head.leafHash}`
  })
})

const refuseTaken = Effect.fnUntraced(function* (path: string) {
  if ((yield* durable.kindAt(path)) === undefined) return
  return yield* new JournalError({
    operation: "export",
    path,
    code: "EEXIST",
    cause: new Error("the place is taken"),
    hint: "name a file that does not exist"
  })
})

/** Write the rows up to the head to a new file; when this answers, it survives a crash. */
export const make = Effect.fn("Ledger.export")(function* (job: Job, file: string) {
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const to = Layout.of(paths, { file })
  const path = to.journal
  const failed = journalError("export", path)
  yield* refuseInside(to, job.journal.layout, "export")
  yield* refuseTaken(path)
  yield* durable.makeDirectory(paths.dirname(path))
  const temporary = `${path}.sealog-export`
  yield* durable.refuseOther(temporary)
  const write = Effect.gen(function* () {
    const handle = yield* Effect.mapError(durable.open(temporary, "w"), failed)
    yield* Effect.mapError(fs.chmod(temporary, 0o600), failed)
    const written = yield* writeRows(job, handle, path)
    yield* Effect.uninterruptible(Effect.mapError(handle.sync, failed))
    return written
  }).pipe(Effect.scoped)
  const place = Effect.gen(function* () {
    if (!(yield* job.isThere)) return yield* rolledBack("export", path)
    yield* refuseTaken(path)
    yield* Effect.mapError(fs.rename(temporary, path), failed)
    yield* durable.syncDirectory(paths.dirname(path))
  })
  const bytes = yield* Effect.tap(write, () => Effect.uninterruptible(place)).pipe(
    // Where even this fails, a leftover is no export, and the next one writes over it.
    Effect.onError(() => Effect.ignore(fs.remove(temporary, { force: true })))
  )
  const { leafHash, seq } = job.head
  return new BackupReport({ path, rows: seq, bytes, head: { seq, leafHash } })
})
