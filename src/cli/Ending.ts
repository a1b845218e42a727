/**
 * How the program ends: exit codes, and one paragraph for everything that went wrong.
 *
 *   0    done, and nothing was found
 *   1    something was found or refused: damage, a difference, a draft that no ledger takes, a
 *        checkpoint that does not fit
 *   2    it could not run: usage, files, a ledger in use
 *   130  interrupted
 *
 * The codes are relied on by scripts and may never change. A paragraph says what, where and what to
 * do now; it holds no stack trace, nothing of a payload, and no control character.
 */
import { Cause, Data, Predicate, Runtime } from "effect"
import { OperationFailed } from "../store/upkeep/requests.ts"

/** Ends the program with this code. `text` is what standard error is told, if anything. */
export class Ending extends Data.TaggedError("Ending")<{
  readonly code: 1 | 2
  readonly text?: string | undefined
}> {
  override readonly [Runtime.errorExitCode] = this.code
}

/** What was asked could be done, and this was found; the report was printed already. */
export const found = new Ending({ code: 1 })

const findings: ReadonlySet<string> = new Set([
  "ChainBroken",
  "DraftInvalid",
  "EventNotFound",
  "IdConflict",
  "LedgerDamaged",
  "LedgerDiverged",
  "NotExportable",
  "OperationUnfinished",
  "PayloadTooLarge",
  "PlanOutdated",
  "PolicyRefused",
  "PositionUnknown",
  "RolledBack",
  "RowDamaged",
  "RowDiffers",
  "TakeoverRefused",
  "UnknownParent"
])

/** SQL refused a row because another one has its event hash: the database holds another history. */
const isForeignRow = (error: unknown): boolean =>
  Predicate.hasProperty(error, "cause") && Predicate.isTagged(error.cause, "UniqueViolation")

/** The exit code that an error ends the program with. */
export const codeOf = (error: unknown): 1 | 2 => {
  if (error instanceof Ending) return error.code
  // One that was begun is finished by the next open: it could not be done now.
  if (error instanceof OperationFailed) return error.outcome === "recoverable_error" ? 1 : 2
  const tag = Predicate.hasProperty(error, "_tag") ? String(error._tag) : ""
  return findings.has(tag) || isForeignRow(error) ? 1 : 2
}

/** Text for a terminal: what could move its cursor or end its line is spelled out. */
export const plain = (text: string): string =>
  // oxlint-disable-next-line no-control-regex
  text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (unit) =>
    unit === "\n" ? " " : `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`
  )

/** How a failed program ends. */
export const of = (cause: Cause.Cause<unknown>): Ending => {
  const error = Cause.squash(cause)
  if (error instanceof Ending) return error
  // Whoever closed the pipe knows.
  if (Predicate.isTagged(error, "OutputClosed") && Predicate.hasProperty(error, "code")) {
    if (error.code === "EPIPE") return new Ending({ code: 2 })
  }
  const message = Predicate.isError(error) ? error.message : String(error)
  return Cause.hasDies(cause)
    ? new Ending({ code: 2, text: `it met a defect: ${message}. Please report it.` })
    : new Ending({ code: codeOf(error), text: message })
}
