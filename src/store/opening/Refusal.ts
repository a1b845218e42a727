/**
 * Refusal: the two names under which a ledger that must not be touched is refused.
 *
 * `LedgerDamaged` is about the journal alone, `LedgerDiverged` about both legs. Each says where, and
 * holds what was expected and what is there. Whoever raises one has changed nothing.
 */
import { Schema } from "effect"
import type * as Chain from "../../core/Chain.ts"
import type * as Recovery from "../../core/Recovery.ts"
import type { RowDamaged } from "../errors.ts"
import type { JournalReader } from "../journal/Journal.ts"
import type * as Mirror from "../mirror/Mirror.ts"

/** The journal holds a line that is neither sound nor the remains of a write. Nothing was changed. */
export class LedgerDamaged extends Schema.TaggedError<LedgerDamaged>()("LedgerDamaged", {
  directory: Schema.String,
  path: Schema.String,
  offset: Schema.Int,
  seq: Schema.Int,
  reason: Schema.String,
  /** Whether rows stand behind the damage. */
  follows: Schema.Boolean
}) {
  override get message(): string {
    return (
      `the ledger ${this.directory} is damaged at row ${this.seq}, ${this.path} byte ` +
      `${this.offset}: ${this.reason}. Nothing was changed. Verify it, then restore a backup or ` +
      `repair it, which shows its plan first.`
    )
  }
}

/** Journal and mirror are not of one history. Nothing was changed. */
export class LedgerDiverged extends Schema.TaggedError<LedgerDiverged>()("LedgerDiverged", {
  directory: Schema.String,
  seq: Schema.Int,
  reason: Schema.String,
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    return (
      `journal and mirror of ${this.directory} have diverged at row ${this.seq}, ${this.reason}: ` +
      `expected ${this.expected}, found ${this.actual}. Nothing was changed. If the journal is ` +
      `right, repair it, which sets the mirror aside; if rows are missing from it, restore them.`
    )
  }
}

/** The two legs of this journal are of different histories. */
export const diverged = (
  journal: JournalReader,
  seq: number,
  reason: string,
  expected: string,
  actual: string
) =>
  new LedgerDiverged({
    directory: journal.layout.name,
    // The mirror's newest row may be anything that someone put there.
    seq: Number.isSafeInteger(seq) ? seq : 0,
    reason,
    expected,
    actual
  })

/** This journal is damaged at a place. */
export const damagedAt = (
  journal: JournalReader,
  damage: Pick<Recovery.Damage, "path" | "offset" | "seq" | "reason" | "follows">
) =>
  new LedgerDamaged({
    directory: journal.layout.name,
    path: damage.path,
    offset: damage.offset,
    seq: damage.seq,
    reason: damage.reason,
    follows: damage.follows
  })

/** What replay cannot explain, as a refusal. */
export const refusals = (journal: JournalReader) => ({
  RowDiffers: (error: Mirror.RowDiffers) =>
    diverged(
      journal,
      error.seq,
      `events differs in ${error.columns.join(", ")}`,
      `event hash ${error.jsonlEventHash}`,
      error.sqliteEventHash
    ),
  RowDamaged: (error: RowDamaged) =>
    error.leg === "index"
      ? diverged(
          journal,
          error.seq,
          "the index is of another history",
          error.expected,
          error.actual
        )
      : damagedAt(journal, { ...error, reason: error.actual, follows: false }),
  ChainBroken: (error: Chain.ChainBroken) =>
    damagedAt(journal, {
      path: journal.layout.journal,
      offset: 0,
      seq: error.seq,
      reason: error.message,
      follows: false
    })
})
