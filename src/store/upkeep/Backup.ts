/**
 * Backup: a copy of a ledger's rows and identity, taken while it is in use.
 *
 * Segments are copied up to a position that was acknowledged when the copy began, then checkpoints
 * up to it and finished operations, then `ledger.json`, each durable, in this order: an unfinished
 * copy is not a ledger. Guard and mirror are never copied; the copy's mirror is made when it is
 * opened. A rollback meanwhile ends the copy.
 */
import { Effect, FileSystem, Path, Schema } from "effect"
import type { Head } from "../../core/Chain.ts"
import type * as Hashes from "../../core/Hashes.ts"
import * as Checkpoints from "./Checkpoints.ts"
import * as durable from "../journal/durable.ts"
import type { MirrorError } from "../errors.ts"
import { JournalError, journalError, RowDamaged } from "../errors.ts"
import type { JournalReader, Place } from "../journal/Journal.ts"
import * as Layout from "../journal/Layout.ts"
import * as OperationFolders from "./OperationFolders.ts"

/** What a backup holds: rows up to `head`, bytes of its journal. */
export class BackupReport extends Schema.Class<BackupReport>("sealog/BackupReport")({
  path: Schema.String,
  rows: Schema.Int,
  bytes: Schema.Int,
  head: Schema.Struct({ seq: Schema.Int, leafHash: Schema.String })
}) {}

const chunkBytes = 1024 * 1024

const lost = (path: string, offset: number, seq: number, expected: string, actual: string) =>
  new RowDamaged({ seq, path, offset, leg: "journal", expected, actual })

/** Copy the first `length` bytes of a file into a new one, durable; the lines that were copied. */
const copyPrefix = Effect.fnUntraced(
  function* (from: string, length: number, to: string) {
    const fs = yield* FileSystem.FileSystem
    const source = yield* durable.open(from, "r")
    const target = yield* durable.open(to, "wx")
    yield* fs.chmod(to, 0o600)
    let lines = 0
    for (let done = 0; done < length; done += chunkBytes) {
      const size = Math.min(chunkBytes, length - done)
      const part = yield* durable.readRange(source, done, size)
      const end = done + part.byteLength
      if (part.byteLength < size) {
        return yield* lost(from, end, 0, `${length} bytes`, `${end} bytes`)
      }
      yield* target.writeAll(part)
      lines += durable.linesIn(part)
    }
    yield* target.sync
    return lines
  },
  (effect, _from, _length, to) =>
    effect.pipe(
      Effect.scoped,
      Effect.uninterruptible,
      Effect.catchTag("PlatformError", (error) => Effect.fail(journalError("copy", to)(error)))
    )
)

/** Copy rows up to `head`, whose line lies at `last`, to a directory that is empty or not there. */
export const make = Effect.fn("Backup.make")(function* (
  journal: JournalReader,
  hashes: Hashes.Hashes,
  head: Head,
  last: Place | undefined,
  directory: string,
  isStill: Effect.Effect<boolean, MirrorError | JournalError>
) {
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const to = Layout.of(paths, journal.format === "cortex" ? { file: directory } : { directory })
  yield* refuseInside(to, journal.layout, "back up")
  yield* refuseTaken(to)
  const parent = journal.format === "cortex" ? paths.dirname(to.journal) : to.journal
  yield* durable.makeDirectory(parent)
  let bytes = 0
  let lines = 0
  for (const file of yield* journal.files) {
    if (last === undefined || file.segment > last.segment) continue
    const length = file.segment === last.segment ? last.offset + last.length + 1 : file.bytes
    const name = paths.basename(file.path)
    const target = journal.format === "cortex" ? to.journal : paths.join(to.journal, name)
    lines += yield* copyPrefix(file.path, length, target)
    bytes += length
  }
  // A ledger of one file is that file, rows or none.
  if (journal.format === "cortex" && last === undefined) {
    yield* durable.writeFile(to.journal, new Uint8Array())
  }
  if (journal.format === "segments" && lines !== head.seq) {
    return yield* lost(journal.layout.journal, 0, lines, `${head.seq} rows`, `${lines} rows`)
  }
  yield* durable.syncDirectory(parent)
  yield* copyStated(journal.layout, to, head, hashes)
  if (!(yield* isStill)) return yield* rolledBack("back up", to.name)
  if (journal.format === "segments") {
    const identity = journal.layout.ledgerJson
    const text = yield* Effect.mapError(fs.readFile(identity), journalError("read", identity))
    yield* durable.writeFile(to.ledgerJson, text)
  }
  const { seq, leafHash } = head
  return new BackupReport({ path: to.name, rows: seq, bytes, head: { seq, leafHash } })
})

/** The copy's position was cut while it was made. */
export const rolledBack = (operation: string, path: string): JournalError =>
  new JournalError({
    operation,
    path,
    code: null,
    cause: new Error("the ledger was rolled back meanwhile"),
    hint: "what was copied by then is of no use; remove it where it is there, and try again"
  })

/** Copy a directory of regular files, and those in it, durable. */
const copyTree: (
  from: string,
  to: string
) => Effect.Effect<void, JournalError | RowDamaged, FileSystem.FileSystem | Path.Path> =
  Effect.fnUntraced(function* (from: string, to: string) {
    const fs = yield* FileSystem.FileSystem
    const paths = yield* Path.Path
    yield* durable.makeDirectory(to)
    for (const name of yield* Effect.mapError(fs.readDirectory(from), journalError("list", from))) {
      const [source, target] = [paths.join(from, name), paths.join(to, name)]
      const kind = yield* durable.kindAt(source)
      if (kind === "Directory") yield* copyTree(source, target)
      if (kind !== "File") continue
      const { size } = yield* Effect.mapError(fs.stat(source), journalError("look", source))
      yield* copyPrefix(source, Number(size), target)
    }
    yield* durable.syncDirectory(to)
  })

/** What states the rows up to the head, and what was cut before. */
const copyStated = Effect.fnUntraced(function* (
  from: Layout.Layout,
  to: Layout.Layout,
  head: Head,
  hashes: Hashes.Hashes
) {
  const paths = yield* Path.Path
  for (const found of yield* Checkpoints.list(from, hashes)) {
    if (found._tag !== "Sound" || found.checkpoint.size > head.seq) continue
    yield* Checkpoints.place(to, found.checkpoint)
  }
  for (const { folder, id, isEnded, plan } of yield* OperationFolders.list(from, hashes)) {
    if (isEnded && plan !== undefined) yield* copyTree(folder, paths.join(to.operations, id))
  }
})

/** A copy inside the ledger would be a foreign file among its own. */
export const refuseInside = Effect.fnUntraced(function* (
  to: Layout.Layout,
  own: Layout.Layout,
  operation: string
) {
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const real = (path: string) => Effect.orElseSucceed(fs.realPath(path), () => path)
  const root = yield* real(own.root)
  for (let at = to.name; ; at = paths.dirname(at)) {
    if (at === own.root || (yield* real(at)) === root) {
      return yield* new JournalError({
        operation,
        path: to.name,
        code: "EINVAL",
        cause: new Error("the place lies inside the ledger"),
        hint: "name a place outside the ledger"
      })
    }
    if (paths.dirname(at) === at) return
  }
})

const refuseTaken = Effect.fnUntraced(function* (to: Layout.Layout) {
  const fs = yield* FileSystem.FileSystem
  const kind = yield* durable.kindAt(to.name)
  const free =
    kind === undefined ||
    (kind === "Directory" &&
      (yield* Effect.mapError(fs.readDirectory(to.name), journalError("list", to.name))).length ===
        0)
  if (free && !(kind === "Directory" && to.format === "cortex")) return
  return yield* new JournalError({
    operation: "back up",
    path: to.name,
    code: "EEXIST",
    cause: new Error("the place is taken"),
    hint: "name a place that is empty or does not exist"
  })
})
