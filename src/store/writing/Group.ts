/**
 * A group in the making: what each append asks of the ledger, and the rows it puts forward.
 *
 * Per draft, in this order: parity, the id, the parent, what the append expects (once, at its first
 * new row), gates or a ready decision, then the seal on top of the row before. Rows of the same group
 * count: an id or parent may be one of them. What SQL says was read for the whole group at once, so
 * all but gates and known ids is decided without leaving this fiber. No row of a refused append stays
 * in the group.
 */
import { Effect, Result } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import type { Head } from "../../core/Chain.ts"
import type { CompleteDraft } from "../../core/Draft.ts"
import * as Event from "../../core/Event.ts"
import * as Draft from "../../core/Draft.ts"
import type * as Hashes from "../../core/Hashes.ts"
import * as Policy from "../../core/Policy.ts"
import type * as Row from "../../core/Row.ts"
import * as Seal from "../../core/Seal.ts"
import { Seen } from "../../core/viewParts.ts"
import * as Expectation from "./Expectation.ts"
import * as GateGuard from "./gateGuard.ts"
import type { IndexRow, Settled } from "../mirror/Mirror.ts"
import * as Mirror from "../mirror/Mirror.ts"
import type { PolicyGate } from "./PolicyGate.ts"
import type { PositionError } from "../reading/Reader.ts"
import type { Rows } from "../reading/Rows.ts"
import type { AppendOptions, Receipt, Refusal } from "./Receipt.ts"
import type { ViewKeeper } from "../views/ViewKeeper.ts"
import { ViewFailed } from "../views/Views.ts"
import { AlreadyAppended, Appended, UnknownParent } from "./Receipt.ts"

/** A draft on its way, with the votes of the rules that saw it alone. */
export interface Voted {
  readonly draft: CompleteDraft
  readonly index: number
  readonly votes: ReadonlyArray<Policy.Contribution>
  /** Whether its row will be signed, which other rules must have voted on. */
  readonly isSigned: boolean
}

/** What goes with an append, whether it expects something or not. */
type Options = AppendOptions<Expectation.Expectation | undefined>

/** The drafts of one append. */
export interface Append {
  readonly drafts: ReadonlyArray<Voted>
  readonly options: Options
}

/** What is said against one append of a group. */
export type Denied = Refusal | Expectation.Unmet | PositionError

/** A row that the group will write. */
export interface Pending {
  readonly draft: CompleteDraft
  /** Sealed; signed when the group settles. */
  event: Row.Outgoing
  readonly seq: number
  readonly parentSeq: number | null
  /** The draft's number in its append. */
  readonly index: number
}

/** What a draft will answer: a row of the group, the twin of one, or a row that was there before. */
export type Planned =
  | { readonly _tag: "New" | "Twin"; readonly nth: number }
  | { readonly _tag: "Old"; readonly receipt: AlreadyAppended }

/** The state of one group; made anew for each attempt. */
export interface Group {
  readonly before: Head
  readonly rows: Array<Pending>
  readonly byId: Map<string, number>
  /** The index rows of all ids and parents that the group's drafts name. */
  readonly stored: ReadonlyMap<string, IndexRow>
  /** The parity rule's decision, or why it blocks every append of the group. */
  readonly parity: Policy.Decision
  /** How many rows `events` was given already, in this transaction. */
  inserted: number
  /** How many rows the views have taken in, in this transaction. */
  folded: number
}

/**
 * Evidence, not hope: what SQL has settled against what the writer made durable. Both legs are
 * gapless, so the head's seq is the journal's count; the mirror's are counted again whenever
 * another connection has written to it.
 */
const parityOf = (
  head: Head,
  { head: mirror }: Settled,
  counts: Mirror.Counts
): Policy.Decision => {
  const same =
    mirror.seq === head.seq &&
    mirror.leafHash === head.leafHash &&
    mirror.eventHash === head.eventHash &&
    counts.events === head.seq &&
    counts.indexed === head.seq
  const legs =
    `the journal ends at row ${head.seq}, the mirror at row ${mirror.seq} with ` +
    `${counts.indexed} rows in its index and ${counts.events} events`
  const vote: Policy.Contribution = {
    ruleId: Policy.Rules.parityInvariant,
    outcome: same ? "allow" : "reject",
    reason: same ? `both legs end at row ${head.seq} of ${counts.events}, ${head.leafHash}` : legs,
    breakGlassOverrideAllowed: false
  }
  return Result.getOrThrow(Policy.compose([vote]))
}

/** A group on top of `before`, with what SQL says of its ids and its rows. */
export const start = (
  before: Head,
  settled: Settled,
  counts: Mirror.Counts,
  stored: ReadonlyMap<string, IndexRow>
): Group => ({
  before,
  rows: [],
  byId: new Map(),
  stored,
  parity: parityOf(before, settled, counts),
  inserted: 0,
  folded: 0
})

const invalidGlass = (index: number, actual: string) => {
  const place = { index, path: "/breakGlass", expected: "a valid authorization" }
  return new Draft.DraftInvalid({ ...place, actual })
}

/** The votes on one draft as a decision that lets it pass, or the refusal. */
export const decideLedger = (
  policy: PolicyGate["Service"],
  { draft, index, isSigned, votes }: Voted,
  asked: ReadonlyArray<Policy.Contribution>,
  { breakGlass, decisions }: Options
): Effect.Effect<unknown, Policy.PolicyRefused | Draft.DraftInvalid> => {
  const pass = (decision: Policy.Decision) =>
    Effect.fromResult(
      Policy.pass(
        isSigned ? "ledger.append_signed" : "ledger.append",
        decision,
        draft.source.type,
        index
      )
    )
  if (decisions?.ledger !== undefined) return pass(decisions.ledger)
  return policy.compose(asked.length === 0 ? votes : [...votes, ...asked], breakGlass).pipe(
    Effect.mapError(({ reason: actual }) => invalidGlass(index, actual)),
    Effect.flatMap(pass)
  )
}

/** A gate that asks a view which is set aside lets nothing pass, whoever breaks the glass. */
const staleView = (
  policy: PolicyGate["Service"],
  { index, isSigned, votes }: Voted,
  ruleId: string
) =>
  policy
    .compose(
      [
        ...votes,
        {
          ruleId,
          ...Policy.reject("a view it asks is set aside"),
          breakGlassOverrideAllowed: false
        }
      ],
      undefined
    )
    .pipe(
      Effect.mapError(({ reason: actual }) => invalidGlass(index, actual)),
      Effect.flatMap((decision) => {
        const surface = isSigned ? "ledger.append_signed" : "ledger.append"
        const refused = { index, surface, ruleId, reason: "view_stale", decision } as const
        return Effect.fail(new Policy.PolicyRefused(refused))
      })
    )

/**
 * Views take the rows that they have not taken yet; those of the group must be in `events`. One that
 * cannot says so with the number of the draft.
 */
export const foldPending = (
  own: object,
  views: ViewKeeper,
  group: Group
): Effect.Effect<void, ViewFailed | SqlError> => {
  const missing = group.rows.slice(group.folded)
  if (missing.length === 0 || views.views.length === 0) return Effect.void
  group.folded = group.rows.length
  // What is written to the journal is this event, whatever a view tries to make of it.
  return views.take(missing.map(({ event, seq }) => new Seen(seq, Object.freeze(event)))).pipe(
    Effect.provideService(GateGuard.Asking, own),
    Effect.catchTag("ViewFault", ({ cause, seq, view }) => {
      const index = group.rows[seq - group.before.seq - 1]?.index ?? 0
      return Effect.fail(new ViewFailed({ index, view, seq, cause }))
    })
  )
}

interface Dependencies {
  /** The writer that asks. */
  readonly own: object
  readonly sql: SqlClient.SqlClient
  readonly rows: Rows
  readonly policy: PolicyGate["Service"]
  readonly views: ViewKeeper
  readonly hashes: Hashes.Hashes
}

/** A gate sees the rows before its own, so they are inserted before it is asked. */
export const insertPending = (
  sql: SqlClient.SqlClient,
  group: Group
): Effect.Effect<void, SqlError> => {
  const missing = group.rows.slice(group.inserted).map((row) => row.event)
  if (missing.length === 0) return Effect.void
  group.inserted = group.rows.length
  return Mirror.insertEvents(sql, missing)
}

/** Asks for appends: adds the rows of one to the group, or none where it is refused. */
export const makeAsk = ({ own, sql, rows, policy, views, hashes }: Dependencies) => {
  /** The same id in this group: its twin where the content is the same. */
  const askGroup = ({ draft, index }: Voted, group: Group) => {
    const nth = group.byId.get(draft.id)
    const pending = nth === undefined ? undefined : group.rows[nth]
    if (nth === undefined || pending === undefined) return undefined
    const differs = Event.differences(draft, pending.draft)
    return differs.length === 0
      ? Effect.succeed<Planned>({ _tag: "Twin", nth })
      : Effect.fail(new Mirror.IdConflict({ index, id: draft.id, seq: pending.seq, differs }))
  }

  /** The same id in an earlier row, which is read to compare contents. */
  const askStored = Effect.fnUntraced(function* ({ draft, index }: Voted, row: IndexRow) {
    const event = yield* rows.event(row)
    const { id } = draft
    const { seq, leafHash, eventHash } = event
    const differs = Event.differences(draft, event)
    if (differs.length > 0) return yield* new Mirror.IdConflict({ index, id, seq, differs })
    const receipt = new AlreadyAppended({ seq, leafHash, id, eventHash })
    return { _tag: "Old", receipt } satisfies Planned
  })

  const parentSeqOf = (parentId: string, group: Group): number | undefined => {
    const nth = group.byId.get(parentId)
    return nth === undefined ? group.stored.get(parentId)?.seq : group.rows[nth]?.seq
  }

  const admit = ({ draft, index }: Voted, parentSeq: number | null, group: Group): Planned => {
    const nth = group.rows.length
    const prev = group.rows.at(-1)?.event.eventHash ?? group.before.eventHash
    const event = Seal.seal(draft, prev, hashes)
    group.rows.push({ draft, event, seq: group.before.seq + nth + 1, parentSeq, index })
    group.byId.set(event.id, nth)
    return { _tag: "New", nth }
  }

  const guarded = GateGuard.make(sql, own)

  const askGates = Effect.fnUntraced(function* (voted: Voted, options: Options, group: Group) {
    const gates = policy.ask(voted.draft, sql)
    // Where none is asked the group goes on in memory.
    if (gates.length === 0) return yield* decideLedger(policy, voted, [], options)
    const blind = policy.blind(voted.draft, views.isStale)
    if (blind !== undefined) return yield* staleView(policy, voted, blind)
    yield* insertPending(sql, group)
    yield* foldPending(own, views, group)
    const asked = yield* guarded(gates)
    return yield* decideLedger(policy, voted, asked, options)
  })

  const askOne = (
    voted: Voted,
    options: Options,
    group: Group,
    expected: Effect.Effect<void, Denied | SqlError> | undefined
  ): Effect.Effect<Planned, Denied | SqlError> => {
    const { draft, index, isSigned } = voted
    const parity = options.decisions?.mirror ?? group.parity
    const surface = isSigned ? "mirror.append_signed" : "mirror.append"
    const passed = Policy.pass(surface, parity, draft.source.type, index)
    if (Result.isFailure(passed)) return Effect.fail(passed.failure)
    const twin = askGroup(voted, group)
    if (twin !== undefined) return twin
    const row = group.stored.get(draft.id)
    if (row !== undefined) return askStored(voted, row)
    const { parentId } = draft
    const parentSeq = parentId === undefined ? null : parentSeqOf(parentId, group)
    if (parentId !== undefined && parentSeq === undefined) {
      return Effect.fail(new UnknownParent({ index, parentId }))
    }
    const admitted = () => admit(voted, parentSeq ?? null, group)
    const decided =
      options.decisions?.ledger !== undefined
        ? decideLedger(policy, voted, [], options)
        : policy.hasGates
          ? askGates(voted, options, group)
          : undefined
    if (expected === undefined) {
      return decided === undefined ? Effect.succeed(admitted()) : Effect.map(decided, admitted)
    }
    return Effect.map(Effect.andThen(expected, decided ?? Effect.void), admitted)
  }

  return Effect.fnUntraced(function* (
    { drafts, options }: Append,
    group: Group
  ): Effect.fn.Return<ReadonlyArray<Planned>, Denied | SqlError> {
    const planned: Array<Planned> = []
    const size = group.rows.length
    const { expect } = options
    // Rows of this append do not count against it: those that are new come after the first.
    const expected = (): Effect.Effect<void, Denied | SqlError> | undefined =>
      expect === undefined || group.rows.length > size
        ? undefined
        : Expectation.check({ sql, rows }, expect, group.before, group.rows)
    const withdraw = Effect.sync(() => {
      for (const { event } of group.rows.splice(size)) group.byId.delete(event.id)
    })
    for (const voted of drafts) {
      const asked = askOne(voted, options, group, expected())
      planned.push(yield* Effect.tapError(asked, () => withdraw))
    }
    return planned
  })
}

/** Take the rows behind the first `count` out of the group again, and out of SQL. */
export const withdrawBehind = (
  sql: SqlClient.SqlClient,
  group: Group,
  count: number
): Effect.Effect<void, SqlError> =>
  Effect.suspend(() => {
    const shown = group.rows.slice(count, group.inserted).map(({ event }) => event.id)
    for (const { event } of group.rows.splice(count)) group.byId.delete(event.id)
    group.inserted = Math.min(group.inserted, count)
    return shown.length === 0
      ? Effect.void
      : Effect.asVoid(sql`DELETE FROM events WHERE ${sql.in("id", shown)}`)
  })

/** What an append answers once its group is durable. */
export const receiptsOf = (
  planned: ReadonlyArray<Planned>,
  encoded: Row.Group
): ReadonlyArray<Receipt> =>
  planned.map((plan): Receipt => {
    if (plan._tag === "Old") return plan.receipt
    const row = encoded.rows[plan.nth]
    if (row === undefined) throw new Error("a planned row is not in its group")
    const { seq, leafHash, event } = row
    const fields = { seq, leafHash, id: event.id, eventHash: event.eventHash }
    return plan._tag === "New" ? new Appended(fields) : new AlreadyAppended(fields)
  })
