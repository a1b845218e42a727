/**
 * Internal: the steps of a plan, each of which may be run again after a crash at any call.
 *
 *   cut    copy the range into the folder, fsync; truncate the file, fsync
 *   move   rename the file into the folder, fsync both directories
 *
 * What is there already is left alone where its hash is the planned one. Anything else that is
 * found means that somebody else wrote to the ledger, and ends the operation where it stands.
 */
import { Effect, FileSystem, Path, Schema } from "effect"
import { sha256Incremental } from "../../core/Hashes.ts"
import type { Cut, Move, Plan } from "../../core/Operation.ts"
import * as durable from "../journal/durable.ts"
import { journalError } from "../errors.ts"
import type { Layout } from "../journal/Layout.ts"

/** A plan that can be neither finished nor undone: what it meant to cut is not there. */
export class OperationUnfinished extends Schema.TaggedError<OperationUnfinished>()(
  "OperationUnfinished",
  {
    operation: Schema.String,
    path: Schema.String,
    expected: Schema.String,
    actual: Schema.String
  }
) {
  override get message(): string {
    return (
      `the operation ${this.operation} was begun and cannot be finished: at ${this.path} expected ` +
      `${this.expected}, found ${this.actual}. Nothing more was changed. Find out who wrote to the ` +
      `ledger; moved out of operations, its folder is not looked at any more.`
    )
  }
}

const chunkBytes = 1024 * 1024

/** SHA-256 of a range of a file, hex, how many bytes there were, and how many LFs among them. */
export const digest = Effect.fnUntraced(
  function* (path: string, offset: number, length: number) {
    const file = yield* durable.open(path, "r")
    const hash = sha256Incremental()
    let done = 0
    let lines = 0
    while (done < length) {
      const part = yield* durable.readRange(
        file,
        offset + done,
        Math.min(chunkBytes, length - done)
      )
      if (part.byteLength === 0) break
      hash.update(part)
      lines += durable.linesIn(part)
      done += part.byteLength
    }
    return { bytes: done, sha256: hash.hex(), lines }
  },
  (effect, path) => effect.pipe(Effect.scoped, Effect.mapError(journalError("read", path)))
)

/** Copy a range into a new file, durable when this returns. */
const copyRange = Effect.fnUntraced(function* (
  from: string,
  offset: number,
  length: number,
  to: string
) {
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const temporary = `${to}.tmp`
  yield* durable.refuseOther(temporary)
  yield* Effect.gen(function* () {
    const source = yield* durable.open(from, "r")
    const target = yield* durable.open(temporary, "w")
    yield* fs.chmod(temporary, 0o600)
    for (let done = 0; done < length; done += chunkBytes) {
      const size = Math.min(chunkBytes, length - done)
      yield* target.writeAll(yield* durable.readRange(source, offset + done, size))
    }
    yield* target.sync
  }).pipe(
    Effect.scoped,
    Effect.andThen(fs.rename(temporary, to)),
    Effect.uninterruptible,
    Effect.mapError(journalError("copy", to))
  )
  yield* durable.syncDirectory(paths.dirname(to))
})

const keep = Effect.fnUntraced(function* (plan: Plan, cut: Cut, source: string, kept: string) {
  const paths = yield* Path.Path
  if ((yield* durable.kindAt(kept)) === "File") {
    const there = yield* digest(kept, 0, cut.bytes + 1)
    // Its content was fsynced before it got this name; the name may not have been.
    if (there.sha256 === cut.sha256) return yield* durable.syncDirectory(paths.dirname(kept))
  }
  const found = yield* digest(source, cut.offset, cut.bytes)
  if (found.sha256 !== cut.sha256 || found.bytes !== cut.bytes) {
    const expected = `${cut.bytes} bytes, SHA-256 ${cut.sha256}`
    const sides = { expected, actual: `${found.bytes} bytes, ${found.sha256}` }
    return yield* new OperationUnfinished({ operation: plan.id, path: source, ...sides })
  }
  yield* copyRange(source, cut.offset, cut.bytes, kept)
})

const truncate = Effect.fnUntraced(function* (plan: Plan, cut: Cut, source: string) {
  const failed = journalError("truncate", source)
  yield* Effect.gen(function* () {
    const file = yield* Effect.mapError(durable.open(source, "r+"), failed)
    const { size } = yield* Effect.mapError(file.stat, failed)
    const bytes = Number(size)
    if (bytes !== cut.offset && bytes !== cut.offset + cut.bytes) {
      const expected = `${cut.offset} or ${cut.offset + cut.bytes} bytes`
      const sides = { expected, actual: `${bytes} bytes` }
      return yield* new OperationUnfinished({ operation: plan.id, path: source, ...sides })
    }
    if (bytes > cut.offset) {
      // What was kept is not what lies here where the plan was changed since.
      const found = yield* digest(source, cut.offset, cut.bytes)
      if (found.sha256 !== cut.sha256) {
        const sides = { expected: `SHA-256 ${cut.sha256}`, actual: found.sha256 }
        return yield* new OperationUnfinished({ operation: plan.id, path: source, ...sides })
      }
    }
    yield* Effect.mapError(Effect.andThen(file.truncate(cut.offset), file.sync), failed)
  }).pipe(Effect.scoped, Effect.uninterruptible)
})

/** Where the files of a kind lie that an operation may move. */
export const placeOf = (layout: Layout, kind: Move["kind"]): string =>
  kind === "checkpoint" ? layout.checkpoints : kind === "mirror" ? layout.root : layout.journal

/** The folder of an operation's folder that takes the files of a kind. */
export const folderOf = (kind: Move["kind"]): string =>
  kind === "foreign" ? "foreign" : `${kind}s`

const moveOne = Effect.fnUntraced(function* (
  plan: Plan,
  { bytes, kind, name, sha256 }: Move,
  layout: Layout,
  folder: string
) {
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const source = paths.join(placeOf(layout, kind), name)
  const target = paths.join(folder, folderOf(kind), name)
  const refuse = (path: string, expected: string, actual: string) =>
    new OperationUnfinished({ operation: plan.id, path, expected, actual })
  if ((yield* durable.kindAt(source)) === undefined) {
    if ((yield* durable.kindAt(target)) !== undefined) return
    return yield* refuse(source, `${name}, here or in ${target}`, "neither")
  }
  if (sha256 !== null) {
    const found = yield* digest(source, 0, bytes + 1)
    if (found.sha256 !== sha256) return yield* refuse(source, `SHA-256 ${sha256}`, found.sha256)
  }
  // A power cut may leave both names of one file, which a rename would then leave as they are.
  const isThere = sha256 !== null && (yield* durable.kindAt(target)) === "File"
  const isSame = isThere && (yield* digest(target, 0, bytes + 1)).sha256 === sha256
  const moving = isSame ? fs.remove(source) : fs.rename(source, target)
  yield* Effect.mapError(moving, journalError("move", source))
})

/** Every range kept and truncated, then every file moved, in the plan's order. */
export const carryOutFiles = Effect.fnUntraced(function* (
  layout: Layout,
  folder: string,
  plan: Plan
) {
  const paths = yield* Path.Path
  const sources = plan.cut.map((cut) => ({ cut, source: cutPath(paths, layout, cut.file) }))
  const keptAt = (cut: Cut) => keptPath(paths, folder, cut)
  for (const kind of new Set(plan.move.map((move) => move.kind))) {
    yield* durable.makeDirectory(paths.join(folder, folderOf(kind)))
  }
  for (const { cut, source } of sources) {
    if (cut.rows !== null) yield* durable.makeDirectory(paths.dirname(keptAt(cut)))
    yield* keep(plan, cut, source, keptAt(cut))
  }
  for (const { cut, source } of sources) yield* truncate(plan, cut, source)
  for (const move of plan.move) yield* moveOne(plan, move, layout, folder)
  for (const kind of new Set(plan.move.map((move) => move.kind))) {
    yield* durable.syncDirectory(paths.join(folder, folderOf(kind)))
    yield* durable.syncDirectory(placeOf(layout, kind))
  }
})

const canCut = Effect.fnUntraced(function* (cut: Cut, source: string, kept: string) {
  const fs = yield* FileSystem.FileSystem
  if ((yield* durable.kindAt(source)) !== "File") return false
  const { size } = yield* Effect.mapError(fs.stat(source), journalError("look", source))
  const isKept =
    (yield* durable.kindAt(kept)) === "File" &&
    (yield* digest(kept, 0, cut.bytes + 1)).sha256 === cut.sha256
  if (Number(size) === cut.offset) return isKept
  if (Number(size) !== cut.offset + cut.bytes) return false
  return (yield* digest(source, cut.offset, cut.bytes)).sha256 === cut.sha256
})

/** Whether every step of a plan is done already or can still be done. Changes nothing. */
export const canCarryOut = Effect.fnUntraced(function* (
  layout: Layout,
  folder: string,
  plan: Plan
) {
  const paths = yield* Path.Path
  for (const cut of plan.cut) {
    const kept = keptPath(paths, folder, cut)
    if (!(yield* canCut(cut, cutPath(paths, layout, cut.file), kept))) return false
  }
  for (const { bytes, kind, name, sha256 } of plan.move) {
    const source = paths.join(placeOf(layout, kind), name)
    const target = paths.join(folder, folderOf(kind), name)
    const isThere = (yield* durable.kindAt(source)) !== undefined
    if (!isThere && (yield* durable.kindAt(target)) === undefined) return false
    if (!isThere || sha256 === null) continue
    if ((yield* digest(source, 0, bytes + 1)).sha256 !== sha256) return false
  }
  return true
})

const keptPath = (paths: Path.Path, folder: string, { kept, rows }: Cut): string =>
  paths.join(folder, rows === null ? kept : paths.join(folderOf("segment"), kept))

/** The path of a journal's file by its name in a plan. */
export const cutPath = (paths: Path.Path, layout: Layout, file: string): string =>
  layout.format === "cortex" ? layout.journal : paths.join(layout.journal, file)

/** Where what a finished plan cut can be read. */
export const keptPlaces = (
  paths: Path.Path,
  folder: string,
  { cut, move }: Plan
): ReadonlyArray<{
  readonly path: string
  readonly rows: number | null
  readonly bytes: number
}> => [
  ...cut.map((one) => ({
    path: keptPath(paths, folder, one),
    rows: one.rows,
    bytes: one.bytes
  })),
  ...move
    .filter(({ kind }) => kind !== "checkpoint")
    .map(({ bytes, kind, name, rows }) => ({
      path: paths.join(folder, folderOf(kind), name),
      rows,
      bytes
    }))
]
