/**
 * Operations: what was ever done to a ledger besides appending, each in a folder of its own.
 *
 * Once its plan is durable an operation is only ever finished, never undone, by the next open if need
 * be: the mirror first, so that it is never ahead of the journal, then the files, then the outcome.
 * A folder without a plan did nothing. An import is not finished but closed: its rows stay, and
 * running it again goes on. What an operation refused before it planned leaves an outcome alone.
 */
import { Clock, Effect, Exit, FileSystem, Path, Result } from "effect"
import type { SqlClient } from "effect/sql"
import { SecureRandom } from "effect/crypto"
import type { Position } from "../../core/Event.ts"
import type * as Hashes from "../../core/Hashes.ts"
import type { Cut, Kind, Outcome, Plan } from "../../core/Operation.ts"
import * as Op from "../../core/Operation.ts"
import type { Range } from "../../core/Recovery.ts"
import * as Segment from "../../core/Segment.ts"
import * as Timestamp from "../../core/Timestamp.ts"
import {
  canCarryOut,
  carryOutFiles,
  cutPath,
  digest,
  keptPlaces,
  OperationUnfinished
} from "./carryOut.ts"
import * as Checkpoints from "./Checkpoints.ts"
import * as durable from "../journal/durable.ts"
import type { MirrorError } from "../errors.ts"
import { JournalError, journalError } from "../errors.ts"
import type { Layout } from "../journal/Layout.ts"
import * as MirrorCut from "../mirror/MirrorCut.ts"

export { OperationUnfinished } from "./carryOut.ts"

/** The last file of a journal, and the first byte of it that opening may cut by itself. */
export interface Floor {
  readonly path: string
  readonly offset: number
}

const utf8 = new TextEncoder()

const write = (path: string, text: string) => durable.writeFile(path, utf8.encode(text))

/** A folder for a new operation; its id. */
export const begin = Effect.fnUntraced(function* (layout: Layout) {
  const paths = yield* Path.Path
  const random = yield* SecureRandom.SecureRandom
  const last = (yield* names(layout)).findLast(Op.isId)
  let id = Op.idAfter(`op_${yield* random.ulid}`, last)
  // A folder belongs to one operation, also where no id is behind the last.
  while ((yield* durable.kindAt(paths.join(layout.operations, id))) !== undefined) {
    id = `op_${yield* random.ulid}`
  }
  const folder = paths.join(layout.operations, id)
  yield* durable.makeDirectory(folder)
  return { id, folder }
})

/** The text of a plan, refused where no later open could read it: it would never be finished. */
export const textOf = Effect.fnUntraced(function* (
  folder: string,
  plan: Plan
): Effect.fn.Return<string, JournalError> {
  const text = Op.planText(plan)
  if (Result.isSuccess(text)) return text.success
  const { actual, expected } = text.failure
  return yield* new JournalError({
    operation: `plan a ${plan.kind} in`,
    path: folder,
    code: null,
    cause: new Error(`expected ${expected}, found ${actual}`),
    hint: `Expected ${expected}, found ${actual}; rename or move it away. Nothing was changed`
  })
})

/** Place a plan: from here on it is only ever finished. */
export const place = Effect.fnUntraced(function* (folder: string, plan: Plan) {
  const paths = yield* Path.Path
  const text = yield* textOf(folder, plan)
  yield* write(paths.join(folder, "plan.json"), text)
})

/** What an outcome says besides what its plan says. */
export interface Ending {
  readonly outcome: Outcome["outcome"]
  readonly errorClass?: string | undefined
  readonly message?: string | undefined
  readonly head?: Position | undefined
  readonly verified?: ReadonlyArray<string> | undefined
  readonly resumed?: boolean | undefined
  readonly counts?: { readonly [name: string]: number } | undefined
}

type Asked = Pick<Plan, "kind" | "operator" | "reason" | "correlationId">

const outcomeOf = Effect.fnUntraced(function* (asked: Asked, ending: Ending) {
  const { correlationId, kind, operator, reason } = asked
  return {
    kind,
    at: Timestamp.fromMillis(yield* Clock.currentTimeMillis),
    operator,
    reason,
    correlationId,
    outcome: ending.outcome,
    errorClass: ending.errorClass ?? null,
    // It repeats what an error says, of whatever length.
    message: ending.message?.slice(0, Op.saidMax).toWellFormed() ?? null,
    head: ending.head ?? null,
    verified: ending.verified ?? [],
    resumed: ending.resumed ?? false,
    counts: ending.counts ?? {}
  } satisfies Outcome
})

/** Say what came of an operation, durable. */
export const end = Effect.fnUntraced(function* (folder: string, asked: Asked, ending: Ending) {
  const paths = yield* Path.Path
  const outcome = yield* outcomeOf(asked, ending)
  yield* write(paths.join(folder, "outcome.json"), Op.encodeOutcome(outcome))
  return outcome
})

/** Note that a try failed behind its plan; the operation stays unfinished. */
export const noteFailure = Effect.fnUntraced(function* (
  folder: string,
  asked: Asked,
  ending: Ending
) {
  const paths = yield* Path.Path
  const outcome = yield* outcomeOf(asked, ending)
  yield* write(paths.join(folder, "failure.json"), Op.encodeOutcome(outcome))
})

/** A range as a plan names it; its bytes are read. `kept` is its name in the folder. */
export const cutOf = Effect.fnUntraced(function* (
  range: Range,
  kept: string,
  isRows: boolean
): Effect.fn.Return<Cut, JournalError, FileSystem.FileSystem | Path.Path> {
  const paths = yield* Path.Path
  const { bytes, lines, sha256 } = yield* digest(range.path, range.offset, range.length)
  const file = paths.basename(range.path)
  return { file, offset: range.offset, bytes, sha256, rows: isRows ? lines : null, kept }
})

/** Plan the cut of a torn tail and carry it out. Returns the folder that holds what was cut. */
export const cutTail = Effect.fn("Operations.cutTail")(function* (
  layout: Layout,
  range: Range,
  reason: string,
  hashes: Hashes.Hashes
) {
  const paths = yield* Path.Path
  const { folder, id } = yield* begin(layout)
  const own = paths.basename(range.path)
  const cut = yield* cutOf(range, `${Op.isName(own) ? own : "journal"}.cut`, false)
  const at = Timestamp.fromMillis(yield* Clock.currentTimeMillis)
  const plan = Op.makePlan({ ...nothing, id, kind: "recovery", at, reason, cut: [cut] }, hashes)
  yield* place(folder, plan)
  yield* carryOutFiles(layout, folder, plan)
  yield* end(folder, plan, { outcome: "ok", verified: ["kept"] })
  return folder
})

/** A plan that does nothing and says nothing but what is added to it. */
export const nothing = {
  operator: null,
  correlationId: null,
  from: null,
  root: null,
  to: null,
  checkpoint: null,
  cut: [],
  move: [],
  mirrorUntil: null
} as const

/** A folder of `operations/` and what is in it. */
export interface Found {
  readonly id: string
  readonly folder: string
  readonly plan: Plan | undefined
  readonly outcome: Outcome | undefined
  readonly failure: Outcome | undefined
  /** Whether there is an `outcome.json`, readable or not. */
  readonly isEnded: boolean
  /** Why the folder cannot be read; undefined where it can. */
  readonly trouble:
    | { readonly path: string; readonly expected: string; readonly actual: string }
    | undefined
}

/** Whether an operation did all that it planned, as far as its outcome says: a repair may have closed it. */
export const isCarriedOut = ({ isEnded, outcome }: Found): boolean =>
  isEnded && outcome?.outcome !== "fatal_error"

/** Whether a name in `operations/` is nobody's: it is no id, and holds nothing that would be read. */
export const isForeign = ({ id, outcome, plan, trouble }: Found): boolean =>
  !Op.isId(id) && plan === undefined && outcome === undefined && trouble === undefined

const textAt = Effect.fnUntraced(function* (path: string) {
  const isFile = (yield* durable.kindAt(path)) === "File"
  return isFile ? yield* durable.readSmall(path, Op.outcomeBytesMax) : undefined
})

/** One folder of `operations/`, and what is in it. */
export const look = Effect.fnUntraced(function* (
  layout: Layout,
  id: string,
  hashes: Hashes.Hashes
) {
  const paths = yield* Path.Path
  const folder = paths.join(layout.operations, id)
  const found = { id, folder, plan: undefined, outcome: undefined, failure: undefined }
  const kind = yield* durable.kindAt(folder)
  if (kind !== "Directory") {
    const isLink = kind === "SymbolicLink"
    const sides = { path: folder, expected: "a folder", actual: "a symbolic link" }
    return { ...found, isEnded: !isLink, trouble: isLink ? sides : undefined } satisfies Found
  }
  const path = paths.join(folder, "plan.json")
  const outcomeText = yield* textAt(paths.join(folder, "outcome.json"))
  const isEnded = (yield* durable.kindAt(paths.join(folder, "outcome.json"))) === "File"
  const outcome = outcomeText === undefined ? undefined : Op.decodeOutcome(outcomeText)
  const failureText = yield* textAt(paths.join(folder, "failure.json"))
  const failure = failureText === undefined ? undefined : Op.decodeOutcome(failureText)
  const planned = yield* durable.kindAt(path)
  const rest = { ...found, outcome, failure, isEnded }
  if (planned === undefined) return { ...rest, trouble: undefined } satisfies Found
  if (planned !== "File") {
    const trouble = { path, expected: "a regular file", actual: planned }
    return { ...rest, trouble } satisfies Found
  }
  const text = yield* durable.readSmall(path, Op.planBytesMax)
  const plan = text === undefined ? undefined : Op.decodePlan(text, hashes)
  const trouble = { path, expected: "a plan of this version", actual: "something else" }
  return { ...rest, plan, trouble: plan === undefined ? trouble : undefined } satisfies Found
})

/** The names in `operations/`, in the order of ids, which is that of time. */
const names = Effect.fnUntraced(function* (layout: Layout) {
  const fs = yield* FileSystem.FileSystem
  if ((yield* durable.kindAt(layout.operations)) !== "Directory") return []
  const failed = journalError("list", layout.operations)
  return (yield* Effect.mapError(fs.readDirectory(layout.operations), failed)).toSorted()
})

/** How many operations were ever begun. */
export const count = (
  layout: Layout
): Effect.Effect<number, JournalError, FileSystem.FileSystem | Path.Path> =>
  Effect.map(names(layout), (all) => all.filter(Op.isId).length)

/** Which operations there are and which of them have ended, as one text to be compared. */
export const state = Effect.fnUntraced(function* (
  layout: Layout
): Effect.fn.Return<string, JournalError, FileSystem.FileSystem | Path.Path> {
  const paths = yield* Path.Path
  const all = yield* Effect.forEach(
    yield* names(layout),
    Effect.fnUntraced(function* (name) {
      const folder = paths.join(layout.operations, name)
      const isFolder = (yield* durable.kindAt(folder)) === "Directory"
      const kind = isFolder ? yield* durable.kindAt(paths.join(folder, "outcome.json")) : "none"
      return `${name} ${kind}`
    })
  )
  return all.join("\n")
})

/** Every folder of `operations/`, the oldest first. */
export const list = Effect.fnUntraced(function* (
  layout: Layout,
  hashes: Hashes.Hashes
): Effect.fn.Return<ReadonlyArray<Found>, JournalError, FileSystem.FileSystem | Path.Path> {
  return yield* Effect.forEach(yield* names(layout), (name) => look(layout, name, hashes))
})

/** Which rollbacks and repairs have ended, as one text to be compared. */
export const taken = (
  layout: Layout,
  hashes: Hashes.Hashes
): Effect.Effect<string, JournalError, FileSystem.FileSystem | Path.Path> =>
  Effect.map(list(layout, hashes), (all) =>
    all
      .filter(({ isEnded, plan }) => isEnded && plan !== undefined && Op.isRollback(plan))
      .map(({ id }) => id)
      .join(" ")
  )

/** An operation as it is told. */
const told = (paths: Path.Path, found: Found): Op.Operation => {
  const { failure, folder, id, isEnded, outcome, plan, trouble } = found
  const asked = plan ?? outcome
  const isFinished = isEnded && (outcome !== undefined || plan !== undefined)
  const isUnfinished = !isEnded && (plan !== undefined || trouble !== undefined)
  return new Op.Operation({
    id,
    kind: asked?.kind ?? null,
    at: asked?.at ?? null,
    operator: asked?.operator ?? null,
    reason: asked?.reason ?? null,
    correlationId: asked?.correlationId ?? null,
    state: isFinished ? "finished" : isUnfinished ? "unfinished" : "abandoned",
    outcome: outcome?.outcome ?? failure?.outcome ?? null,
    errorClass: outcome?.errorClass ?? (isFinished ? null : (failure?.errorClass ?? null)),
    from: plan?.from ?? null,
    head: outcome?.head ?? null,
    cut: plan === undefined || !isEnded ? [] : [...keptPlaces(paths, folder, plan)],
    counts: outcome?.counts ?? {}
  })
}

/** An operation that has just ended. Nothing is read again: it has happened, whatever fails now. */
export const toldOf = (
  paths: Path.Path,
  folder: string,
  plan: Plan,
  outcome: Outcome
): Op.Operation => {
  const ended = { plan, outcome, failure: undefined, isEnded: true, trouble: undefined }
  return told(paths, { id: plan.id, folder, ...ended })
}

/** Every operation that was ever begun, the oldest first. */
export const all = Effect.fn("Ledger.operations")(function* (
  layout: Layout,
  hashes: Hashes.Hashes
) {
  const paths = yield* Path.Path
  const ours = (yield* list(layout, hashes)).filter((found) => !isForeign(found))
  return yield* Effect.forEach(
    ours,
    Effect.fnUntraced(function* (found) {
      const operation = told(paths, found)
      if (!found.isEnded || isCarriedOut(found)) return operation
      // What a repair closed as it stood has kept any part of what it planned.
      const cut = yield* Effect.filter(operation.cut, ({ path }) =>
        Effect.map(durable.kindAt(path), (kind) => kind !== undefined)
      )
      return new Op.Operation({ ...operation, cut })
    })
  )
})

/** Refuses a plan of a recovery that would cut what opening never cuts by itself. */
const checkFloor = Effect.fnUntraced(function* (
  layout: Layout,
  { folder, plan }: Found & { readonly plan: Plan },
  floor: Floor | undefined
) {
  const paths = yield* Path.Path
  for (const { file, offset } of plan.cut) {
    const own = layout.format === "cortex" ? paths.basename(layout.journal) : undefined
    const named = own === undefined ? Segment.firstSeq(file) !== undefined : file === own
    const path = named ? cutPath(paths, layout, file) : undefined
    if (plan.kind !== "recovery" && path !== undefined) continue
    if (path !== undefined && path === floor?.path && offset >= floor.offset) continue
    const expected =
      floor === undefined ? "a journal with rows" : `${floor.path} from byte ${floor.offset} on`
    const actual = `${file.slice(0, 80)} from byte ${offset} on`
    return yield* new OperationUnfinished({ operation: plan.id, path: folder, expected, actual })
  }
})

/** A rollback's plan stands on its checkpoint: without that one it was made by somebody else. */
const checkTarget = Effect.fnUntraced(function* (
  layout: Layout,
  { folder, plan }: Found & { readonly plan: Plan },
  hashes: Hashes.Hashes
) {
  if (plan.kind !== "rollback") return
  const number = plan.checkpoint ?? 0
  const found = number < 1 ? undefined : yield* Checkpoints.read(layout, number, hashes)
  const seq = found?._tag === "Sound" ? found.checkpoint.head.seq : undefined
  const leafHash = found?._tag === "Sound" ? found.checkpoint.head.leafHash : undefined
  if (plan.to !== null && seq === plan.to.seq && leafHash === plan.to.leafHash) return
  const expected = `checkpoint ${number} at row ${plan.to?.seq}`
  const actual = seq === undefined ? "no sound one" : `one at row ${seq}`
  return yield* new OperationUnfinished({ operation: plan.id, path: folder, expected, actual })
})

/** Carry out a plan from wherever it was left: mirror, files; the outcome is the caller's. */
export const carryOut = Effect.fnUntraced(function* (
  layout: Layout,
  folder: string,
  plan: Plan,
  sql: SqlClient.SqlClient | undefined
): Effect.fn.Return<
  void,
  JournalError | MirrorError | OperationUnfinished,
  FileSystem.FileSystem | Path.Path
> {
  if (plan.mirrorUntil !== null && sql !== undefined) {
    const paths = yield* Path.Path
    const evidence = plan.kind === "repair" ? paths.join(folder, "mirror.jsonl") : undefined
    yield* MirrorCut.cut(sql, plan.mirrorUntil, evidence)
  }
  yield* carryOutFiles(layout, folder, plan)
})

const interrupted: ReadonlySet<Kind> = new Set(["import", "rebuild"])

/** An import keeps its rows and a rebuild changes nothing before it commits: both may be asked again. */
const close = (found: Found & { readonly plan: Plan }) =>
  end(found.folder, found.plan, {
    outcome: "recoverable_error",
    errorClass: "interrupted",
    message: "the process ended before it was done",
    resumed: true
  })

/** Whether a folder has an outcome, whatever else it holds. */
const isDone = Effect.fnUntraced(function* (layout: Layout, name: string, isLast: boolean) {
  const paths = yield* Path.Path
  const folder = paths.join(layout.operations, name)
  if ((yield* durable.kindAt(folder)) !== "Directory") return false
  if ((yield* durable.kindAt(paths.join(folder, "outcome.json"))) !== "File") return false
  // Whoever wrote it may have been killed before its name was durable. Were it lost after rows were
  // appended, the plan could not be finished any more. All that came before was made sure of then.
  if (isLast) yield* durable.syncDirectory(folder)
  return true
})

/** Whether an unfinished operation is closed, not finished, by opening. */
const isInterrupted = ({ kind }: Plan): boolean => interrupted.has(kind)

/** How an operation without an outcome stands: the next open finishes it, or nobody ever can. */
export const standing = Effect.fnUntraced(function* (
  layout: Layout,
  found: Found,
  hashes: Hashes.Hashes
): Effect.fn.Return<
  "ended" | "finishable" | "stuck",
  JournalError,
  FileSystem.FileSystem | Path.Path
> {
  const { folder, isEnded, plan, trouble } = found
  if (isEnded || (plan === undefined && trouble === undefined)) return "ended"
  if (plan === undefined) return "stuck"
  if (isInterrupted(plan)) return "finishable"
  const target = yield* Effect.exit(checkTarget(layout, { ...found, plan }, hashes))
  if (Exit.isFailure(target)) return "stuck"
  return (yield* canCarryOut(layout, folder, plan)) ? "finishable" : "stuck"
})

/** What is known of a ledger before its unfinished operations are. */
export interface Known {
  readonly floor: Floor | undefined
  readonly sql: SqlClient.SqlClient
  readonly hashes: Hashes.Hashes
}

/**
 * Finish every operation that has a plan and no outcome; the ids of those that were finished. A
 * recovery that cuts anything below the floor was not made by opening, and is refused.
 */
export const finishAll: (
  layout: Layout,
  known: Known
) => Effect.Effect<
  ReadonlyArray<string>,
  JournalError | MirrorError | OperationUnfinished,
  FileSystem.FileSystem | Path.Path
> = Effect.fn("Operations.finishAll")(function* (layout: Layout, { floor, hashes, sql }: Known) {
  const finished: Array<string> = []
  const all = yield* names(layout)
  const last = all.findLast(Op.isId)
  for (const name of all) {
    if (yield* isDone(layout, name, name === last)) continue
    const found = yield* look(layout, name, hashes)
    const { folder, id, plan, trouble } = found
    if (trouble !== undefined) return yield* new OperationUnfinished({ operation: id, ...trouble })
    if (plan === undefined) continue
    const planned = { ...found, plan }
    if (isInterrupted(plan)) {
      yield* close(planned)
      finished.push(id)
      continue
    }
    yield* checkFloor(layout, planned, floor)
    yield* checkTarget(layout, planned, hashes)
    yield* carryOut(layout, folder, plan, sql)
    const head = plan.to ?? undefined
    yield* end(folder, plan, { outcome: "ok", head, verified: ["kept"], resumed: true })
    finished.push(id)
  }
  return finished
})
