/**
 * Checkpoints on disk: one file each, written once, moved away by a rollback that goes behind it.
 *
 * The newest sound one is a floor: opening never cuts what it states, and a journal that ends below
 * it has lost acknowledged rows. One that does not hold together counts for nothing and is told by
 * `verify`. A number is used once, by a checkpoint that is here or in an operation's folder.
 */
import { Effect, FileSystem, Result } from "effect"
import type { Path } from "effect"
import * as Checkpoint from "../../core/Checkpoint.ts"
import type * as Hashes from "../../core/Hashes.ts"
import * as durable from "../journal/durable.ts"
import { JournalError, journalError } from "../errors.ts"
import type { Layout } from "../journal/Layout.ts"

/** What stands where the checkpoint of a number should. */
export type Found =
  | { readonly _tag: "Sound"; readonly checkpoint: Checkpoint.Checkpoint }
  | {
      readonly _tag: "Unsound"
      readonly number: number
      readonly path: string
      readonly expected: string
      readonly actual: string
    }
  | { readonly _tag: "None"; readonly number: number; readonly path: string }

type Files = FileSystem.FileSystem | Path.Path

/** Each names every rollback before it: far more than can be. */
export const bytesMax = 16 * 1024 * 1024

const pathIn = (directory: string, number: number): string =>
  `${directory}/${Checkpoint.name(number)}`

/** Read the checkpoint of a number in a directory. */
export const readIn = Effect.fnUntraced(function* (
  directory: string,
  number: number,
  hashes: Hashes.Hashes
): Effect.fn.Return<Found, JournalError, FileSystem.FileSystem> {
  const path = pathIn(directory, number)
  const kind = yield* durable.kindAt(path)
  if (kind === undefined) return { _tag: "None", number, path }
  const unsound = (expected: string, actual: string): Found => ({
    _tag: "Unsound",
    number,
    path,
    expected,
    actual
  })
  if (kind !== "File") return unsound("a regular file", kind)
  const text = yield* durable.readSmall(path, bytesMax)
  if (text === undefined) return unsound(`at most ${bytesMax} bytes`, "more")
  const decoded = Checkpoint.decode(text, hashes)
  if (Result.isFailure(decoded)) {
    const { actual, expected, place } = decoded.failure
    return unsound(`${place}: ${expected}`, actual)
  }
  const checkpoint = decoded.success
  return checkpoint.number === number
    ? { _tag: "Sound", checkpoint }
    : unsound(`number ${number}`, `${checkpoint.number}`)
})

/** Read the checkpoint of a number. */
export const read = (
  layout: Layout,
  number: number,
  hashes: Hashes.Hashes
): Effect.Effect<Found, JournalError, FileSystem.FileSystem> =>
  readIn(layout.checkpoints, number, hashes)

/** The numbers in a directory in their order, and the names that are none. */
export const numbersIn = Effect.fnUntraced(function* (directory: string) {
  const fs = yield* FileSystem.FileSystem
  const kind = yield* durable.kindAt(directory)
  if (kind === undefined) return { numbers: [], foreign: [] }
  if (kind !== "Directory") return { numbers: [], foreign: [directory] }
  const names = yield* Effect.mapError(fs.readDirectory(directory), journalError("list", directory))
  const numbers: Array<number> = []
  const foreign: Array<string> = []
  for (const name of names.toSorted()) {
    const number = Checkpoint.numberOf(name)
    if (number !== undefined) numbers.push(number)
    // What a write that was killed left is no checkpoint yet.
    else if (!name.endsWith(".json.tmp")) foreign.push(`${directory}/${name}`)
  }
  return { numbers, foreign }
})

/** Every checkpoint, sound or not, in the order of their numbers. */
export const list = Effect.fnUntraced(function* (
  layout: Layout,
  hashes: Hashes.Hashes
): Effect.fn.Return<ReadonlyArray<Found>, JournalError, Files> {
  const { numbers } = yield* numbersIn(layout.checkpoints)
  return yield* Effect.forEach(numbers, (number) => read(layout, number, hashes))
})

/** The newest one that holds together; undefined where there is none. */
export const newestSound = Effect.fnUntraced(function* (layout: Layout, hashes: Hashes.Hashes) {
  const { numbers } = yield* numbersIn(layout.checkpoints)
  for (const number of numbers.toReversed()) {
    const found = yield* read(layout, number, hashes)
    if (found._tag === "Sound") return found.checkpoint
  }
  return undefined
})

/** No counting comes here: a file that has such a number was put there. */
const countedMax = 2 ** 52

/**
 * The number of the next checkpoint: none is used twice, those that were `moved` away among them.
 * Junk under a number that nobody counted to is passed by; behind a sound one no other can come.
 */
export const nextNumber = Effect.fnUntraced(function* (
  layout: Layout,
  moved: ReadonlyArray<number>,
  hashes: Hashes.Hashes
): Effect.fn.Return<number, JournalError, Files> {
  const { numbers } = yield* numbersIn(layout.checkpoints)
  for (const number of numbers) {
    if (number < countedMax) continue
    const found = yield* read(layout, number, hashes)
    if (found._tag !== "Sound") continue
    return yield* new JournalError({
      operation: "number a checkpoint behind",
      path: pathIn(layout.checkpoints, number),
      code: null,
      cause: new Error("no number follows"),
      hint: "it is none of this ledger's own; find out who put it there, and move it away"
    })
  }
  const counted = [...numbers, ...moved].filter((number) => number < countedMax)
  return counted.reduce((most, number) => Math.max(most, number), 0) + 1
})

/**
 * Make the names of all checkpoints durable. Whoever wrote one may have been killed or failed before
 * that; it is seen all the same, and what rests on it must not outlive it.
 */
export const settle = Effect.fnUntraced(function* (layout: Layout) {
  if ((yield* durable.kindAt(layout.checkpoints)) !== "Directory") return
  yield* durable.syncDirectory(layout.checkpoints)
})

/** Write a new checkpoint: when this returns, it survives a crash. */
export const place = Effect.fnUntraced(function* (
  layout: Layout,
  checkpoint: Checkpoint.Checkpoint
): Effect.fn.Return<void, JournalError, Files> {
  yield* durable.makeDirectory(layout.checkpoints)
  const bytes = new TextEncoder().encode(Checkpoint.encode(checkpoint))
  yield* durable.writeFile(pathIn(layout.checkpoints, checkpoint.number), bytes)
})
