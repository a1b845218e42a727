/**
 * Internal: a group of drafts that are imported, appended and read back.
 *
 * Where the ledger refuses one, that one is reported and the rest goes on without it: what stands
 * before it first, as what follows may name its rows as parents. Groups are small, so that asking
 * again for what follows costs little.
 */
import { Effect, Result, Stream } from "effect"
import type * as Draft from "../../core/Draft.ts"
import * as Hashes from "../../core/Hashes.ts"
import type { JournalReader } from "../journal/Journal.ts"
import { OperationFailed } from "../upkeep/requests.ts"
import type { Rows } from "../reading/Rows.ts"
import type { AppendError, Receipt } from "./Receipt.ts"
import type { ViewFailed } from "../views/Views.ts"
import type * as Writer from "./Writer.ts"

const problemsMax = 1_000

/** What an import works on. */
export interface Dependencies {
  readonly journal: JournalReader
  readonly rows: Pick<Rows, "events">
  readonly writer: Pick<
    Effect.Success<ReturnType<typeof Writer.make>>,
    "submit" | "exclusively" | "head" | "rollbacks"
  >
  readonly numbers: "lossless" | "cortex"
  readonly hashes: Hashes.Hashes
}

/** A line that was refused. */
export interface Problem {
  readonly line: number
  readonly reason: string
}

/** A draft that may be appended, and the line that it came from. */
export interface Ready {
  readonly line: number
  readonly draft: Draft.CompleteDraft
}

/** How far an import came. */
export interface Tally {
  lines: number
  appended: number
  existing: number
  refused: number
  /** Rows that were read back and have the payload that was handed in. */
  checked: number
  readonly problems: Array<Problem>
}

/** Before the first line. */
export const emptyTally = (): Tally => ({
  lines: 0,
  appended: 0,
  existing: 0,
  refused: 0,
  checked: 0,
  problems: []
})

/** Why one draft is refused, with its index; undefined for what is wrong with the ledger. */
export const refusal = (
  error: AppendError
): { readonly index: number; readonly why: string } | undefined => {
  switch (error._tag) {
    case "DraftInvalid": {
      const { actual, expected, index, path } = error
      // Of a payload only the place is told.
      const found = path.startsWith("/payload") ? "" : `, found ${actual}`
      return { index, why: `DraftInvalid: at ${path || "its root"} expected ${expected}${found}` }
    }
    case "PayloadTooLarge": {
      const { bytes, bytesMax, index } = error
      return { index, why: `PayloadTooLarge: a row of ${bytes} bytes, the limit is ${bytesMax}` }
    }
    case "IdConflict": {
      const { differs, id, index, seq } = error
      const why = `IdConflict: ${id} is that of row ${seq}, with another ${differs.join(", ")}`
      return { index, why }
    }
    case "UnknownParent": {
      const { index, parentId } = error
      return { index, why: `UnknownParent: ${parentId} is no earlier row of this ledger` }
    }
    case "PolicyRefused": {
      const { index, message } = error
      return { index, why: `PolicyRefused: ${message.replace(` draft ${index}`, " it")}` }
    }
    default:
      return undefined
  }
}

/** Appends a group and finds the lines to blame where it is refused; these join `problems`. */
export const makeAppend = (
  {
    hashes,
    rows,
    submit
  }: Pick<Dependencies, "hashes" | "rows"> & Pick<Dependencies["writer"], "submit">,
  operation: string
) => {
  const payloadHashOf = (text: string) => Hashes.payloadHash(hashes, text)

  /** Fails unless the newest rows of this import hold the payloads that were handed in. */
  const check = Effect.fnUntraced(function* (
    drafts: ReadonlyArray<Ready>,
    receipts: ReadonlyArray<Receipt>
  ) {
    const own = drafts.flatMap((ready, nth) => {
      const receipt = receipts[nth]
      return receipt?._tag === "Appended" ? [{ ...ready, receipt }] : []
    })
    const until = own.at(-1)?.receipt.seq
    if (until === undefined) return 0
    const events = yield* Stream.runCollect(rows.events({ until, last: own.length })).pipe(
      // Only a rollback meanwhile can take them away.
      Effect.catchTag(["PositionUnknown", "RolledBack"], () => Effect.succeed([]))
    )
    for (const [nth, { draft, line, receipt }] of own.entries()) {
      const event = events[nth]
      const handedIn = payloadHashOf(draft.payloadText)
      const isThere = event?.seq === receipt.seq && event.id === draft.id
      // The line is as it was written; its payload need not be what its hash says.
      const stored = isThere ? [event.payloadHash, payloadHashOf(event.payloadText)] : []
      if (isThere && stored.every((hash) => hash === handedIn)) continue
      return yield* new OperationFailed({
        operation,
        kind: "import",
        outcome: "recoverable_error",
        errorClass: "integrity_mismatch",
        expected: `line ${line} as row ${receipt.seq}, ${draft.id} with payload hash ${handedIn}`,
        actual: event === undefined ? "no such row" : `${event.id} with ${event.payloadHash}`
      })
    }
    return own.length
  })

  return Effect.fnUntraced(function* (
    ready: ReadonlyArray<Ready>,
    tally: Tally,
    problems: Array<Problem>
  ) {
    const waiting = ready.length === 0 ? [] : [ready]
    for (let some = waiting.shift(); some !== undefined; some = waiting.shift()) {
      const drafts = some
      const answer = yield* Effect.result(
        submit(
          drafts.map(({ draft }) => draft),
          {}
        )
      ).pipe(
        Effect.tap((answer) => Effect.sync(() => count(tally, answer))),
        Effect.uninterruptible
      )
      if (Result.isSuccess(answer)) {
        tally.checked += yield* check(drafts, answer.success)
        continue
      }
      const refused = refusal(answer.failure)
      const blamed = refused === undefined ? undefined : drafts[refused.index]
      if (refused === undefined || blamed === undefined) return yield* stopped(answer.failure)
      problems.push({ line: blamed.line, reason: refused.why })
      // What stands before it goes first, as the rest may name its rows as parents.
      const parts = [drafts.slice(0, refused.index), drafts.slice(refused.index + 1)]
      waiting.unshift(...parts.filter((part) => part.length > 0))
    }
  })
}

/** A view that cannot take a line is what must be mended, not the line. */
type Stop = Exclude<AppendError, { readonly index: number }> | ViewFailed

const stopped = (error: AppendError): Effect.Effect<never, Stop> =>
  "index" in error && error._tag !== "ViewFailed" ? Effect.die(error) : Effect.fail(error)

const count = (tally: Tally, answer: Result.Result<ReadonlyArray<Receipt>, AppendError>): void => {
  // Durable, whatever SQL said.
  const behind = Result.isFailure(answer) && answer.failure._tag === "MirrorBehind"
  const receipts = Result.isSuccess(answer) ? answer.success : behind ? answer.failure.receipts : []
  for (const { _tag } of receipts) {
    if (_tag === "Appended") tally.appended++
    else tally.existing++
  }
}

export const note = (tally: Tally, problems: ReadonlyArray<Problem>): void => {
  tally.refused += problems.length
  const room = problemsMax - tally.problems.length
  tally.problems.push(...problems.toSorted((a, b) => a.line - b.line).slice(0, Math.max(0, room)))
}
