/**
 * Opening a ledger to change it, and what that did besides, in words: nobody should learn of it from
 * a file listing.
 */
import { Effect } from "effect"
import * as SealogNode from "../platform/SealogNode.ts"
import { Ledger } from "../store/Ledger.ts"
import type { Action, OpenReport } from "../store/opening/Opening.ts"
import { Output } from "./Output.ts"
import * as Target from "./Target.ts"

const said = (action: Action): string => {
  switch (action._tag) {
    case "CaughtUp":
      return `the mirror was ${action.rows} rows behind the journal and was brought up`
    case "MirrorRemade":
      return `the mirror was made from the ${action.rows} rows of the journal`
    case "LineCompleted":
      return `row ${action.seq} lacked its line end and was completed`
    case "TailCut":
      return `a torn tail of ${action.bytes} bytes, never acknowledged, was moved to ${action.path}`
    case "MirrorTakenBack":
      return (
        `the mirror was of before the rollback ${action.operationId}, and was taken back by ` +
        `${action.rows} rows`
      )
    case "OperationFinished":
      return `the unfinished operation ${action.id} was finished`
    case "ViewRebuilt":
      return `the view ${action.view} was made from ${action.rows} rows`
    case "ViewStale":
      return (
        `the view ${action.view} was set aside: ${action.reason}. It takes no event from ` +
        `${action.since} on until it is made anew`
      )
    case "MarkerSetAside":
      return `a marker that a crash cut short was moved to ${action.path}`
  }
}

/** One line for each thing that opening did. */
export const notes = (opened: OpenReport): ReadonlyArray<string> => {
  switch (opened._tag) {
    case "Clean":
      return []
    case "Recovered":
      return opened.actions.map((action) => `sealog: opening: ${said(action)}`)
    case "ReadOnly":
      return [`sealog: opened for reading only: ${opened.reason}`]
  }
}

/** The rows that opening itself brought into the mirror. */
export const replayed = (opened: OpenReport): number =>
  opened._tag === "Recovered"
    ? opened.actions.reduce(
        (sum, action) =>
          action._tag === "CaughtUp" || action._tag === "MirrorRemade" ? sum + action.rows : sum,
        0
      )
    : 0

/** Change a ledger that is there, under its guard. */
export const writing = Effect.fnUntraced(function* <A, E>(
  directory: string,
  change: (ledger: Ledger["Service"]) => Effect.Effect<A, E>
) {
  yield* Target.ledger(directory)
  const output = yield* Output
  return yield* Ledger.use((ledger) =>
    Effect.andThen(
      Effect.forEach(notes(ledger.opened), output.note, { discard: true }),
      change(ledger)
    )
  ).pipe(Effect.provide(SealogNode.layer({ directory })))
})
