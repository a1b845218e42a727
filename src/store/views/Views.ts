/**
 * Views of an open ledger: how far each is, made anew on request, and proved to be what the log says.
 *
 * Views are folded in the transaction of the append (`View.make`, `View.perEvent`), or are effects in
 * it (`Views.effect`). They never refuse: one that cannot take an event fails that append alone, and
 * in replay, where nobody can be refused, it is set aside until it is made anew. Everything in a view
 * can be made from the journal, so `check` can say of each that it was.
 */
import { Context, Effect, Schema } from "effect"
import type * as View from "../../core/View.ts"
import type { MirrorError } from "../errors.ts"
import { lineOf } from "../errors.ts"
import type { JournalFinal } from "../journal/Journal.ts"
import type { ReadError } from "../reading/Reader.ts"
import type { LedgerClosed } from "../writing/Receipt.ts"
import type { ChainBroken } from "../../core/Chain.ts"
import type { EffectView } from "./ViewEffect.ts"

export { effect } from "./ViewEffect.ts"
export type { EffectView, TableOptions, Tables } from "./ViewEffect.ts"

/**
 * A view could not take an event. Of an append: nothing of it was written, and `index` is the draft's
 * number in it; null where the view was made anew or checked. `seq` is the row's, `cause` what the
 * view threw or failed with.
 */
export class ViewFailed extends Schema.TaggedError<ViewFailed>()("ViewFailed", {
  index: Schema.NullOr(Schema.Int),
  view: Schema.String,
  seq: Schema.Int,
  cause: Schema.Defect()
}) {
  override get message(): string {
    const { cause, index, seq, view } = this
    const [draft, became] =
      index === null ? ["", "It is what it was"] : [` (draft ${index})`, "Nothing was written"]
    return (
      `the view ${view} cannot take event ${seq}${draft}: ${lineOf(cause)}. ${became}. Mend the ` +
      `view: it may not refuse, that is for rules and gates.`
    )
  }
}

/** What views of one name and version may differ in; `form` is how they are made. */
export const ViewPart = Schema.Literals([
  "form",
  "insertOnly",
  "types",
  "tables",
  "columns",
  "key",
  "indexes"
])
export type ViewPart = typeof ViewPart.Type

/**
 * The mirror holds a view in another version, or otherwise declared: where it shall stay so, or where
 * its rows are asked for as they are not. `stored` is 0 where another hand has changed what is known
 * of it.
 */
export class ViewOutdated extends Schema.TaggedError<ViewOutdated>()("ViewOutdated", {
  view: Schema.String,
  stored: Schema.Int,
  declared: Schema.Int,
  /** In what, as far as that is known. */
  differs: Schema.Array(ViewPart).pipe(Schema.withConstructorDefault(Effect.succeed([])))
}) {
  override get message(): string {
    const { declared, stored, view } = this
    const differs = this.differs.length === 0 ? "tables or types" : this.differs.join(", ")
    const how =
      stored === declared
        ? `the mirror holds the view ${view} in version ${stored} with other ${differs}`
        : `the mirror holds the view ${view} in version ${stored}, not ${declared}`
    return (
      `${how}. Nothing was changed; declare the one that is there, or open with ` +
      `\`onViewChange: "rebuild"\` to make it anew.`
    )
  }
}

/** How far a view is. */
export class ViewStatus extends Schema.Class<ViewStatus>("sealog/ViewStatus")({
  name: Schema.String,
  version: Schema.Int,
  /** The last row that it has taken in. */
  seq: Schema.Int,
  /** The event that it could not take in replay, and why; it takes none until it is made anew. */
  stale: Schema.NullOr(Schema.Struct({ since: Schema.Int, reason: Schema.String }))
}) {}

const Row = Schema.NullOr(
  Schema.Record(Schema.String, Schema.Union([Schema.String, Schema.Number, Schema.Null]))
)

/** A row that is not what the log makes of it. `expected` is the log's, null where it makes none. */
export class ViewDifference extends Schema.Class<ViewDifference>("sealog/ViewDifference")({
  table: Schema.String,
  /** Its primary key, as JSON. */
  key: Schema.String,
  expected: Row,
  actual: Row
}) {}

/** A view, compared with what the log makes of it. */
export class ViewReport extends Schema.Class<ViewReport>("sealog/ViewReport")({
  view: Schema.String,
  version: Schema.Int,
  /** Up to this row of the ledger. */
  seq: Schema.Int,
  /** How many rows were compared. */
  rows: Schema.Int,
  /** Whether the view is what the log makes of it, and nothing else. */
  isDerived: Schema.Boolean,
  differenceCount: Schema.Int,
  /** The first of them. */
  differences: Schema.Array(ViewDifference)
}) {}

/** What is to be declared to a ledger. */
export type AnyView = View.View | EffectView<unknown>

/** What views ask for. */
export type Services<V> = V extends EffectView<infer R> ? R : never

/** Why a view is not made anew, or not checked; it is then what it was. */
export type ViewError =
  | ViewFailed
  | ViewOutdated
  | ChainBroken
  | ReadError
  | LedgerClosed
  | JournalFinal

/**
 * The views of an open ledger. Each method takes one that was declared to it, and throws a RangeError
 * for others: for one of another version or definition, too.
 */
export class Views extends Context.Service<
  Views,
  {
    /** Every view that the mirror holds, those too that are not declared now. */
    readonly status: Effect.Effect<ReadonlyArray<ViewStatus>, MirrorError>
    /**
     * Make a view anew from the log, aside and between groups, while appends and readers go on; put
     * in its place in one transaction. One that was set aside takes events again.
     */
    readonly rebuild: (view: View.Declared) => Effect.Effect<ViewStatus, ViewError>
    /**
     * Make a view aside and compare it row by row with what is there: a view that is not stale and
     * `isDerived` is proved to be what the log says, up to `seq` at least. Changes nothing.
     */
    readonly check: (
      view: View.Declared,
      options?: { readonly differencesMax?: number | undefined }
    ) => Effect.Effect<ViewReport, ViewError>
  }
>()("sealog/Views") {}
