/**
 * Operations: what cuts bytes from a journal, redo only, each in a folder of its own.
 *
 *   operations/<id>/plan.json      what will be cut: file, offset, bytes, SHA-256; placed by rename
 *   operations/<id>/<name>.cut     the bytes that were cut
 *   operations/<id>/outcome.json   what came of it; without one the operation is finished at open
 *
 * Once the plan is durable the operation is only ever finished, never undone: copy what will be cut
 * unless the planned bytes are there already, truncate and fsync, say the outcome. Each step may be
 * run again. A folder without plan.json did nothing.
 */
import { Clock, Effect, FileSystem, Path, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import type { Range } from "../core/Recovery.ts"
import { sha256Incremental } from "../core/Hashes.ts"
import * as Segment from "../core/Segment.ts"
import * as Timestamp from "../core/Timestamp.ts"
import * as durable from "./durable.ts"
import type { JournalError } from "./errors.ts"
import { journalError } from "./errors.ts"
import type { Layout } from "./Layout.ts"

/** One range that an operation cuts. `file` is relative to the ledger's journal. */
export const Cut = Schema.Struct({
  file: Schema.String,
  offset: Schema.Natural,
  bytes: Schema.Natural,
  sha256: Schema.String
})
export type Cut = typeof Cut.Type

/** `plan.json`. */
export const Plan = Schema.Struct({
  id: Schema.String,
  kind: Schema.Literal("recovery"),
  at: Schema.String,
  reason: Schema.String,
  cut: Schema.Array(Cut)
})
export type Plan = typeof Plan.Type

/** The last file of a journal, and the first byte of it that may be cut. */
export interface Floor {
  readonly path: string
  readonly offset: number
}

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

/** SHA-256 of a range of a file, hex, and how many bytes there were. */
const digest = Effect.fnUntraced(
  function* (path: string, offset: number, length: number) {
    const file = yield* durable.open(path, "r")
    const hash = sha256Incremental()
    let done = 0
    while (done < length) {
      const part = yield* durable.readRange(
        file,
        offset + done,
        Math.min(chunkBytes, length - done)
      )
      if (part.byteLength === 0) break
      hash.update(part)
      done += part.byteLength
    }
    return { bytes: done, sha256: hash.hex() }
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

const utf8 = new TextEncoder()

const writeJson = (path: string, value: unknown) =>
  durable.writeFile(path, utf8.encode(`${JSON.stringify(value)}\n`))

const nameOf = (paths: Path.Path, layout: Layout, path: string): string =>
  layout.format === "cortex" ? paths.basename(path) : paths.relative(layout.journal, path)

const pathOf = (paths: Path.Path, layout: Layout, file: string): string =>
  layout.format === "cortex" ? layout.journal : paths.join(layout.journal, file)

/** Plan the cut of a torn tail and carry it out. Returns the folder that holds what was cut. */
export const cutTail = Effect.fn("Operations.cutTail")(function* (
  layout: Layout,
  range: Range,
  reason: string
) {
  const paths = yield* Path.Path
  const random = yield* SecureRandom.SecureRandom
  let id = `op_${yield* random.ulid}`
  // Randomness with a seed says the same again, and a folder belongs to one operation.
  while ((yield* durable.kindAt(paths.join(layout.operations, id))) !== undefined) {
    id = `op_${yield* random.ulid}`
  }
  const at = Timestamp.fromMillis(yield* Clock.currentTimeMillis)
  const { bytes, sha256 } = yield* digest(range.path, range.offset, range.length)
  const file = nameOf(paths, layout, range.path)
  const plan: Plan = {
    id,
    kind: "recovery",
    at,
    reason,
    cut: [{ file, offset: range.offset, bytes, sha256 }]
  }
  const folder = paths.join(layout.operations, id)
  yield* durable.makeDirectory(folder)
  yield* writeJson(paths.join(folder, "plan.json"), plan)
  yield* carryOut(layout, folder, plan)
  return folder
})

const carryOut = Effect.fnUntraced(function* (layout: Layout, folder: string, plan: Plan) {
  const paths = yield* Path.Path
  for (const cut of plan.cut) {
    const source = pathOf(paths, layout, cut.file)
    const kept = paths.join(folder, `${paths.basename(cut.file)}.cut`)
    yield* keep(plan, cut, source, kept)
    yield* truncate(plan, cut, source)
  }
  yield* writeJson(paths.join(folder, "outcome.json"), {
    outcome: "ok",
    error_class: null,
    at: Timestamp.fromMillis(yield* Clock.currentTimeMillis)
  })
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

/** The plan of a folder that has one and no outcome. */
const unfinished = Effect.fnUntraced(function* (layout: Layout, name: string) {
  const paths = yield* Path.Path
  const folder = paths.join(layout.operations, name)
  const refuse = (path: string, expected: string, actual: string) =>
    new OperationUnfinished({ operation: name, path, expected, actual })
  const kind = yield* durable.kindAt(folder)
  if (kind === "SymbolicLink") return yield* refuse(folder, "a folder", "a symbolic link")
  if (kind !== "Directory") return undefined
  const path = paths.join(folder, "plan.json")
  const planned = yield* durable.kindAt(path)
  if (planned === undefined) return undefined
  if (planned !== "File") return yield* refuse(path, "a regular file", planned)
  if ((yield* durable.kindAt(paths.join(folder, "outcome.json"))) === "File") {
    // Whoever wrote it may have been killed before its name was durable. Were it lost after rows
    // were appended, the plan could not be finished any more.
    yield* durable.syncDirectory(folder)
    return undefined
  }
  const text = yield* durable.readSmall(path)
  const plan = Schema.decodeUnknownOption(Schema.fromJsonString(Plan))(text)
  if (plan._tag === "None") return yield* refuse(path, "a plan of this version", "something else")
  return { folder, plan: plan.value }
})

/** Refuses a plan that would cut what opening never cuts by itself. */
const checkFloor = Effect.fnUntraced(function* (
  layout: Layout,
  folder: string,
  plan: Plan,
  floor: Floor | undefined
) {
  const paths = yield* Path.Path
  for (const { file, offset } of plan.cut) {
    const own = layout.format === "cortex" ? paths.basename(layout.journal) : undefined
    const named = own === undefined ? Segment.firstSeq(file) !== undefined : file === own
    const path = named ? pathOf(paths, layout, file) : undefined
    if (path !== undefined && path === floor?.path && offset >= floor.offset) continue
    const expected =
      floor === undefined ? "a journal with rows" : `${floor.path} from byte ${floor.offset} on`
    const actual = `${file.slice(0, 80)} from byte ${offset} on`
    return yield* new OperationUnfinished({ operation: plan.id, path: folder, expected, actual })
  }
})

/**
 * Finish every operation that has a plan and no outcome; the ids of those that were finished. A
 * plan that cuts anything below `floor` was not made by opening, and is refused.
 */
export const finishAll: (
  layout: Layout,
  floor: Floor | undefined
) => Effect.Effect<
  ReadonlyArray<string>,
  JournalError | OperationUnfinished,
  FileSystem.FileSystem | Path.Path
> = Effect.fn("Operations.finishAll")(function* (layout: Layout, floor: Floor | undefined) {
  const fs = yield* FileSystem.FileSystem
  if ((yield* durable.kindAt(layout.operations)) !== "Directory") return []
  const names = yield* Effect.mapError(
    fs.readDirectory(layout.operations),
    journalError("list", layout.operations)
  )
  const finished: Array<string> = []
  for (const name of names.toSorted()) {
    const found = yield* unfinished(layout, name)
    if (found === undefined) continue
    yield* checkFloor(layout, found.folder, found.plan, floor)
    yield* carryOut(layout, found.folder, found.plan)
    finished.push(name)
  }
  return finished
})
