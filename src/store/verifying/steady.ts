/**
 * Internal: answers about a whole ledger that an operation beside them would spoil.
 *
 * Verification, parity and diagnosis read files and SQL for a while, and hold no lock. A rollback in
 * another process moves what they have listed already, and what they find then is no finding. So
 * one that is not clean counts only where no operation was begun or ended meanwhile.
 */
import { Effect, Exit } from "effect"
import type { FileSystem, Path } from "effect"
import { JournalError } from "../errors.ts"
import type { Layout } from "../journal/Layout.ts"
import * as OperationFolders from "../upkeep/OperationFolders.ts"

const tries = 8

/** Look until nothing is found, or nothing has changed meanwhile. */
export const steady = Effect.fnUntraced(function* <A, E, R>(
  layout: Layout,
  look: Effect.Effect<A, E, R>,
  isClean: (answer: A) => boolean
): Effect.fn.Return<A, E | JournalError, R | FileSystem.FileSystem | Path.Path> {
  for (let nth = 0; nth < tries; nth++) {
    const before = yield* OperationFolders.state(layout)
    const answer = yield* Effect.exit(look)
    if (Exit.isSuccess(answer) && isClean(answer.value)) return answer.value
    if ((yield* OperationFolders.state(layout)) === before) return yield* answer
  }
  return yield* new JournalError({
    operation: "look through",
    path: layout.operations,
    code: null,
    cause: new Error("the ledger was rolled back again and again meanwhile"),
    hint: "nothing is said about it; try again when its writer is done"
  })
})
