/**
 * Internal: the folders of operations, read: plan, outcome, and whether either is what it should be.
 */
import { Effect, FileSystem, Path } from "effect"
import type * as Hashes from "../../core/Hashes.ts"
import type { Outcome, Plan } from "../../core/Operation.ts"
import * as Op from "../../core/Operation.ts"
import type { JournalError } from "../errors.ts"
import { journalError } from "../errors.ts"
import * as durable from "../journal/durable.ts"
import type { Layout } from "../journal/Layout.ts"

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
export const names = Effect.fnUntraced(function* (layout: Layout) {
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
