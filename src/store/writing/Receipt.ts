/**
 * What an append answers: a receipt that is a position, or the one reason why there is none.
 *
 * A receipt says that its row is durable in both legs. Each error says what is durable instead:
 * nothing, but for `OutcomeUnknown` (perhaps) and `MirrorBehind` (everything).
 */
import { Schema } from "effect"
import type { DraftInvalid, PayloadTooLarge } from "../../core/Draft.ts"
import type { Event, Position } from "../../core/Event.ts"
import type * as Policy from "../../core/Policy.ts"
import type { AttestorMissing, SignError } from "../signing/Attestor.ts"
import type { JournalError, MirrorError, RowDamaged } from "../errors.ts"
import type { Expectation } from "./Expectation.ts"
import type { JournalFinal, OutcomeUnknown } from "../journal/Journal.ts"
import type { IdConflict } from "../mirror/Mirror.ts"
import type { Decisions } from "./PolicyGate.ts"
import type { PositionError } from "../reading/Reader.ts"
import type { ViewFailed } from "../views/Views.ts"

const fields = {
  seq: Schema.Int,
  leafHash: Schema.String,
  id: Schema.String,
  eventHash: Schema.String
}

/** The row was written by this append; a position. */
export class Appended extends Schema.TaggedClass<Appended>()("Appended", fields) {}

/** The same id with the same content was there already, times aside; its position. */
export class AlreadyAppended extends Schema.TaggedClass<AlreadyAppended>()(
  "AlreadyAppended",
  fields
) {}

/** What an append answers: durable in both legs. */
export type Receipt = Appended | AlreadyAppended

/** A parent that is no earlier row of this ledger. */
export class UnknownParent extends Schema.TaggedError<UnknownParent>()("UnknownParent", {
  index: Schema.Int,
  parentId: Schema.String
}) {
  override get message(): string {
    return (
      `draft ${this.index} names the parent ${this.parentId}, which is no earlier row of this ` +
      `ledger. Nothing was written; append the parent first.`
    )
  }
}

/** The ledger was closed before this append was taken. Nothing of it was written. */
export class LedgerClosed extends Schema.TaggedError<LedgerClosed>()("LedgerClosed", {}) {
  override get message(): string {
    return "the ledger was closed before this append was taken: nothing of it was written"
  }
}

/** The rows are durable in the journal, but SQL did not commit them. Never append them again. */
export class MirrorBehind extends Schema.TaggedError<MirrorBehind>()("MirrorBehind", {
  receipts: Schema.Array(Schema.Union([Appended, AlreadyAppended])),
  cause: Schema.Defect()
}) {
  override get message(): string {
    return (
      `${this.receipts.length} rows ARE durable in the journal, but the mirror did not take them ` +
      `in. It catches up before the next append, or when the ledger is opened again.`
    )
  }
}

/**
 * What an append expected is not so; nothing of it was written. `events` are the first that came
 * between: they are there for whoever asks, and told in no message and no log.
 */
export class ExpectationFailed extends Schema.TaggedError<ExpectationFailed>()(
  "ExpectationFailed",
  {
    /** Where the ledger stands now: read up to there, decide and try again. */
    head: Schema.Struct({ seq: Schema.Int, leafHash: Schema.String }),
    /** The seqs of `events`. */
    seqs: Schema.Array(Schema.Int),
    /** Whether more than these came between. */
    more: Schema.Boolean
  }
) {
  #events: ReadonlyArray<Event> = []

  /** The refusal of an append at this head, by these events. */
  static since(
    { leafHash, seq }: Position,
    events: ReadonlyArray<Event>,
    more: boolean
  ): ExpectationFailed {
    const seqs = events.map((event) => event.seq)
    const failed = new ExpectationFailed({ head: { seq, leafHash }, seqs, more })
    failed.#events = events
    return failed
  }

  /** The first 100 events that came between, in the order of their seq. */
  get events(): ReadonlyArray<Event> {
    return this.#events
  }

  override get message(): string {
    const { length } = this.seqs
    const which = `${this.more ? "more than " : ""}${length} ${length === 1 ? "row" : "rows"}`
    return (
      `what this append expected is not so: ${which} came between, the first is row ` +
      `${this.seqs[0] ?? 0}. Nothing was written; read up to row ${this.head.seq}, decide again.`
    )
  }
}

/** What an append may fail with that expects something, and only then. */
export type ExpectationRefusal<X> = [X] extends [undefined]
  ? never
  : ExpectationFailed | PositionError

/** What the ledger itself says against an append, whatever becomes of its group. */
export type Refusal =
  | Policy.PolicyRefused
  | IdConflict
  | UnknownParent
  | DraftInvalid
  | ViewFailed
  | RowDamaged
  | JournalError
  | MirrorError

/** Why an append answers no receipt. */
export type AppendError =
  | Refusal
  | PayloadTooLarge
  | AttestorMissing
  | SignError
  | JournalFinal
  | LedgerClosed
  | OutcomeUnknown
  | MirrorBehind

/** What goes with an append. */
export interface AppendOptions<out X extends Expectation | undefined = undefined> {
  /** What must be so, or nothing is written; see `Ledger.headAt` and `Ledger.noneSince`. */
  readonly expect?: X | undefined
  /** An authorization to go past overridable rules; see `Policy.compose`. */
  readonly breakGlass?: Policy.BreakGlass | undefined
  /** Ready decisions in place of the votes of rules and gates. */
  readonly decisions?: Decisions | undefined
}
