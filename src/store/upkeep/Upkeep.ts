/**
 * Internal: what an open ledger does by itself: checkpoints by option, and its manifest.
 *
 * A checkpoint that is due is made after the answers of a group, before the next one. One that fails
 * fails no append and no close: it is told by a warning, and tried again when more rows have come.
 */
import type { FileSystem, Path } from "effect"
import { Effect } from "effect"
import type * as Maintenance from "./Maintenance.ts"
import * as Manifests from "./Manifests.ts"
import type * as Writer from "../writing/Writer.ts"

/** When checkpoints are made that nobody asks for. */
export interface Settings {
  /** After a group, where at least so many rows came since the newest checkpoint. Default: never. */
  readonly checkpointEveryRows?: number | undefined
  /** When the ledger closes, where rows came since the newest checkpoint. Default false. */
  readonly checkpointAtClose?: boolean | undefined
}

interface Dependencies {
  readonly keeping: Manifests.Keeping
  readonly writer: Effect.Success<ReturnType<typeof Writer.make>>
  readonly maintenance: Effect.Success<ReturnType<typeof Maintenance.make>>
  readonly settings: Settings
}

/** After a failure: so many rows must come before the next try, if as many make one due. */
const retryRowsMax = 1_000

/** The upkeep of one open ledger. */
export const make = Effect.fnUntraced(function* (deps: Dependencies) {
  const { keeping, maintenance, settings, writer } = deps
  const { checkpointAtClose = false, checkpointEveryRows: every } = settings
  const files = yield* Effect.context<FileSystem.FileSystem | Path.Path>()
  let failedAt: number | undefined

  const isTooSoon = (): boolean => {
    if (failedAt === undefined || every === undefined) return false
    const came = writer.head().seq - failedAt
    return came >= 0 && came < Math.min(every, retryRowsMax)
  }

  /** Run after each group, between it and the next. */
  const afterGroup = Effect.suspend(() => {
    if (every === undefined || isTooSoon() || !writer.isSettled()) return Effect.void
    const made = Effect.gen(function* () {
      const checkpoint = yield* maintenance.checkpointAfter(every, `every ${every} rows`)
      failedAt = undefined
      if (checkpoint !== undefined) yield* Manifests.renewNow(keeping)
    })
    return Effect.catchCause(made, (cause) => {
      failedAt = writer.head().seq
      return Manifests.warn("a checkpoint that was due was not made")(cause)
    })
  }).pipe(Effect.provideContext(files))

  /** Run once, after the last group. */
  const atClose = Effect.gen(function* () {
    // What was not settled is for the next open to say.
    if (!writer.isSettled()) return
    if (checkpointAtClose) {
      const warn = Manifests.warn("the checkpoint at close was not made")
      yield* Effect.catchCause(maintenance.checkpointAfter(1, "close"), warn)
    }
    yield* Manifests.renewNow(keeping)
  }).pipe(Effect.provideContext(files))

  /** Write the manifest anew after a checkpoint that was asked for. */
  const renew = Effect.provideContext(Manifests.renew(keeping), files)

  /** The manifest as it is now, and on disk. */
  const manifest = Effect.provideContext(Manifests.current(keeping), files)

  return { afterGroup, atClose, renew, manifest }
})
