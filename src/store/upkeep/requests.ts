/**
 * Internal: what is asked of a ledger besides appending: what may be said with it, and what is
 * answered where it does not end well.
 */
import { Effect, Schema } from "effect"
import { LockMarker } from "../../core/LockMarker.ts"
import * as Op from "../../core/Operation.ts"

/** What an operator or a caller says about a checkpoint or operation cannot be kept. */
export class RequestInvalid extends Schema.TaggedError<RequestInvalid>()("RequestInvalid", {
  member: Schema.String,
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    return `${this.member} must be ${this.expected}, not ${this.actual}. Nothing was changed.`
  }
}

/**
 * An operation that did not come to its end. `recoverable_error`: nothing was changed, but for the
 * rows of an import, which stay. `fatal_error`: it was begun, and the next open finishes it; until
 * then nothing is appended.
 */
export class OperationFailed extends Schema.TaggedError<OperationFailed>()("OperationFailed", {
  operation: Schema.String,
  kind: Op.Kind,
  outcome: Schema.Literals(["recoverable_error", "fatal_error"]),
  errorClass: Schema.String,
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    const next =
      this.kind === "import"
        ? "Run it again: it adds what is missing."
        : this.outcome === "recoverable_error"
          ? "Nothing was changed."
          : "It was begun: close the ledger and open it again, which finishes it."
    return (
      `the ${this.kind} ${this.operation} failed (${this.errorClass}): expected ${this.expected}, ` +
      `found ${this.actual}. ${next}`
    )
  }
}

/** Refuses what cannot be kept as text. */
export const checkSaid = Effect.fnUntraced(function* (said: {
  readonly [member: string]: string | undefined
}) {
  for (const [member, text] of Object.entries(said)) {
    const actual = text === undefined ? undefined : Op.unfit(text)
    if (actual === undefined) continue
    const expected = `a text of 1 to ${Op.saidMax} characters`
    return yield* new RequestInvalid({ member, expected, actual })
  }
})

const isOneLine = Schema.is(LockMarker.fields.operator)

/** Refuses an operator whom no marker can name. */
export const checkOperator = Effect.fnUntraced(function* (operator: string) {
  if (isOneLine(operator)) return
  const sides = { expected: "one line of text", actual: "more than one" }
  return yield* new RequestInvalid({ member: "operator", ...sides })
})
