/**
 * What a command is pointed at: looks only, makes nothing, follows no link.
 *
 * Opening a ledger makes one where nothing is. Of all commands only `append` and `import` may do
 * that, so the others look first, and a path with a slip of the pen is an error and not a new ledger.
 */
import { Effect, Path } from "effect"
import type { FileSystem } from "effect"
import type { JournalError } from "../store/errors.ts"
import * as durable from "../store/journal/durable.ts"
import { NotALedger } from "../store/journal/Home.ts"
import * as Layout from "../store/journal/Layout.ts"
import { Ending } from "./Ending.ts"

type Files = FileSystem.FileSystem | Path.Path

/** The places of the ledger in a directory; fails with `NotALedger` where there is none. */
export const ledger = Effect.fnUntraced(function* (
  directory: string
): Effect.fn.Return<Layout.Layout, NotALedger | JournalError, Files> {
  const paths = yield* Path.Path
  const layout = Layout.of(paths, { directory })
  const kind = yield* durable.kindAt(layout.root)
  const refuse = (reason: string, hint: string) =>
    new NotALedger({ path: layout.root, reason, hint })
  if (kind === undefined) {
    return yield* refuse("nothing is there", "Check the path; `sealog append` makes a new ledger.")
  }
  if (kind === "SymbolicLink") {
    return yield* refuse("it is a symbolic link", "Give the real path: links are not followed.")
  }
  if (kind !== "Directory") {
    return yield* refuse("it is a file", "Name the directory of a ledger.")
  }
  const known = [layout.ledgerJson, layout.journal]
  const kinds = yield* Effect.forEach(known, durable.kindAt)
  if (kinds.every((kind) => kind === undefined)) {
    const reason = "it has neither ledger.json nor segments"
    return yield* refuse(reason, "Name the directory of a ledger.")
  }
  return layout
})

/** As `ledger`, for commands that find rows through the mirror. */
export const mirrored = Effect.fnUntraced(function* (
  directory: string
): Effect.fn.Return<Layout.Layout, NotALedger | JournalError | Ending, Files> {
  const layout = yield* ledger(directory)
  if ((yield* durable.kindAt(layout.mirror)) !== undefined) return layout
  return yield* new Ending({
    code: 2,
    text:
      `the ledger ${layout.root} has no mirror.sqlite to find rows through. ` +
      `Make it from the journal: sealog replay ${directory}`
  })
})
