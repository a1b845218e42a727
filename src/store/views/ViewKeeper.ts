/**
 * Internal: the declared views of one open ledger, kept at its head.
 *
 * In the writer's transaction every view that is not set aside takes each row of the group; with the
 * group its position moves. At opening, and wherever the mirror has caught up or was cut, each takes
 * what it lacks from the journal, from its own position on; one that has changed is built aside at
 * opening. There nobody can be refused: a view that fails is set aside at that event, and the others
 * go on.
 */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import type * as ViewParts from "../../core/viewParts.ts"
import { MirrorError, mirrorError } from "../errors.ts"
import { transacting } from "../mirror/transacting.ts"
import * as ViewDefinition from "./viewDefinition.ts"
import type { Bound, Fold, ViewFault } from "./viewFold.ts"
import * as ViewFold from "./viewFold.ts"
import { ViewStatus } from "./Views.ts"
import * as ViewPrepare from "./viewPrepare.ts"
import type { ViewRow } from "./viewState.ts"
import * as ViewState from "./viewState.ts"
import * as ViewTables from "./viewTables.ts"
import * as ViewWalk from "./viewWalk.ts"

/** What opening did to a view. */
export type ViewAction =
  /** Made anew, or for the first time; `rows` is the last seq that it has taken in. */
  | { readonly _tag: "ViewRebuilt"; readonly view: string; readonly rows: number }
  | {
      readonly _tag: "ViewStale"
      readonly view: string
      readonly since: number
      readonly reason: string
    }

interface Dependencies extends ViewWalk.Source {
  readonly views: ReadonlyArray<Bound>
}

/** A declared view, and how to fold into it. */
interface Kept {
  readonly view: Bound
  readonly fold: Fold
}

/** What is told of a view. */
export const statusOf = ({ name, seq, stale_reason, stale_since, version }: ViewRow): ViewStatus =>
  new ViewStatus({
    name,
    version,
    seq,
    stale: stale_since === null ? null : { since: stale_since, reason: stale_reason ?? "" }
  })

/** Every view that a mirror holds. */
export const statuses = (
  sql: SqlClient.SqlClient
): Effect.Effect<ReadonlyArray<ViewStatus>, MirrorError> =>
  Effect.map(Effect.mapError(ViewState.all(sql), mirrorError("tell of its views")), (rows) =>
    rows.map(statusOf)
  )

/** The views of one open ledger. */
export const make = ({ views, ...deps }: Dependencies) => {
  const { sql } = deps
  const kept = views.map((view): Kept => ({
    view,
    fold: ViewFold.into(view, ViewTables.inPlace)
  }))
  /** What SQL has of the declared views, as of the last commit. */
  let stored: ReadonlyMap<string, ViewRow> = new Map()
  /** Those that stand as they are declared, and take events. */
  let fresh: ReadonlyArray<Kept> = []
  /** Whether both are so still: what was put in its place may not have been looked at. */
  let isKnown = true
  /** Views whose new version cannot take an event, so that another one still stands, and why. */
  const left = new Map<string, { readonly since: number; readonly reason: string }>()

  const load = Effect.map(ViewState.all(sql), (rows) => {
    isKnown = true
    stored = new Map(rows.map((row) => [row.name, row]))
    for (const name of left.keys()) if (!standsOther(name)) left.delete(name)
    fresh = kept.filter(({ view }) => {
      const row = stored.get(view.name)
      return row?.stale_since === null && ViewPrepare.otherOf(view, row) === undefined
    })
  })

  const isFresh = (name: string): boolean => fresh.some(({ view }) => view.name === name)

  /** Whether a declared view stands in another version. */
  const standsOther = (name: string): boolean => {
    const view = views.find((one) => one.name === name)
    const row = stored.get(name)
    return view !== undefined && row !== undefined && ViewPrepare.otherOf(view, row) !== undefined
  }

  const leave = (built: ReadonlyArray<ViewPrepare.Built>): void => {
    for (const { fault, view } of built) {
      if (fault === undefined) continue
      left.set(view.name, { since: fault.seq, reason: ViewFold.reasonOf(fault) })
    }
  }

  /** How often tables aside were begun here: whoever else had some there has to begin again. */
  let epoch = 0

  /** Whether every view that takes events has taken all up to `seq`. */
  const isAt = (seq: number): boolean =>
    isKnown && fresh.every(({ view }) => stored.get(view.name)?.seq === seq)

  /** Take rows of a group, in its transaction. */
  const take = (events: ReadonlyArray<ViewParts.Seen>): Effect.Effect<void, ViewFault | SqlError> =>
    Effect.forEach(fresh, ({ fold }) => fold(sql, events), { discard: true })

  /** Move with the group, in its transaction. */
  const settle = (seq: number) =>
    ViewState.moveTo(
      sql,
      fresh.map(({ view }) => view.name),
      seq
    )

  /** The group was committed. */
  const committed = (seq: number): void => {
    stored = new Map(
      Array.from(stored, ([name, row]) => [name, isFresh(name) ? { ...row, seq } : row])
    )
  }

  const takeOne = Effect.fnUntraced(function* (one: Kept, rows: ReadonlyArray<ViewParts.Seen>) {
    const { name } = one.view
    const row = stored.get(name)
    const last = rows.at(-1)?.seq ?? 0
    if (row === undefined || !isFresh(name) || row.seq >= last) return
    const missing = rows.filter(({ seq }) => seq > row.seq)
    const fault = yield* ViewFold.upToFault(sql, one.fold, missing)
    yield* fault === undefined
      ? ViewState.moveTo(sql, [name], last)
      : ViewState.setAside(sql, name, fault.seq, ViewFold.reasonOf(fault))
  })

  /** Bring every view up to `until`, from the journal; those that fail are set aside. */
  const catchUp = Effect.fnUntraced(function* (until: number) {
    const failed = mirrorError("bring its views up")
    yield* Effect.mapError(load, failed)
    if (isAt(until)) return
    const from = Math.min(...fresh.map(({ view }) => stored.get(view.name)?.seq ?? 0))
    yield* ViewWalk.eachBatch(deps, from, until, (rows) =>
      Effect.gen(function* () {
        for (const one of kept) yield* takeOne(one, rows)
      }).pipe(
        transacting(sql),
        Effect.andThen(load),
        Effect.mapError(failed),
        Effect.andThen(ViewWalk.told(rows, until))
      )
    )
  })

  /** In the middle of writing every refusal means that the mirror is not usable. */
  const usable = <A, E extends { readonly _tag: string }, R>(
    effect: Effect.Effect<A, E | MirrorError, R>
  ): Effect.Effect<A, MirrorError, R> =>
    Effect.mapError(effect, (error) =>
      error instanceof MirrorError
        ? error
        : new MirrorError({
            operation: "bring its views up",
            cause: error,
            hint: "Nothing was written; close the ledger and verify it."
          })
    )

  /** As `catchUp`, in the middle of writing. */
  const bringUp = (until: number): Effect.Effect<void, MirrorError> => usable(catchUp(until))

  /** Bring the declared views to the head of a ledger that is being opened. */
  const open = Effect.fnUntraced(function* (head: number, onChange: "rebuild" | "refuse") {
    if (kept.length === 0) return []
    const failed = mirrorError("prepare its views")
    yield* Effect.mapError(load, failed)
    const before = stored
    const plan = yield* ViewPrepare.plan(sql, views, before, head, onChange).pipe(
      Effect.catchTag("SqlError", (error) => Effect.fail(failed(error)))
    )
    leave(yield* ViewPrepare.makeAnew(deps, plan, head))
    yield* catchUp(head)
    return kept.flatMap(({ view }): ReadonlyArray<ViewAction> => {
      const { name } = view
      const failure = left.get(name)
      if (failure !== undefined) return [{ _tag: "ViewStale", view: name, ...failure }]
      const row = stored.get(name)
      const isNew = plan.changed.includes(view)
      const rebuilt: ReadonlyArray<ViewAction> =
        isNew && head > 0 ? [{ _tag: "ViewRebuilt", view: name, rows: row?.seq ?? 0 }] : []
      const since = row?.stale_since ?? null
      const wasStale = before.get(name)?.stale_since === since && !isNew
      return since === null || wasStale
        ? rebuilt
        : [...rebuilt, { _tag: "ViewStale", view: name, since, reason: row?.stale_reason ?? "" }]
    })
  })

  /**
   * Build aside what a rollback to a row has to take from views, while readers have what is there;
   * what then takes all views back, in the transaction that takes the rows. A version that could not
   * take an event is tried again: it may be among those that go.
   */
  const goingBack = Effect.fnUntraced(function* (until: number) {
    yield* Effect.mapError(load, mirrorError("take its views back"))
    epoch++
    const isEmptied = (name: string): boolean => {
      const row = stored.get(name)
      return row !== undefined && ViewState.isEmptied(row, until)
    }
    const changed = views.filter(({ name }) => standsOther(name) || (until > 0 && isEmptied(name)))
    const plan = { views, stored, changed }
    const all = changed.length === 0 ? [] : yield* usable(ViewPrepare.build(deps, plan, until))
    const staying = all.filter(
      (one) => ViewPrepare.givesWay(plan, all, one) && !isEmptied(one.view.name)
    )
    leave(staying)
    const placed = all.filter((one) => !staying.includes(one)).map(({ view }) => view.name)
    return Effect.suspend(() => {
      isKnown = false
      const cut = ViewState.cut(sql, until, placed)
      return all.length === 0
        ? cut
        : Effect.andThen(cut, ViewPrepare.placeAll(sql, plan, all, staying))
    })
  })

  /** What is told of the views, as the one that keeps them knows it. */
  const told = (statuses: ReadonlyArray<ViewStatus>): ReadonlyArray<ViewStatus> =>
    statuses.map((status) => {
      const failure = left.get(status.name)
      return failure === undefined ? status : new ViewStatus({ ...status, stale: failure })
    })

  return {
    views: kept.map(({ view }) => view),
    open,
    take,
    settle,
    committed,
    isAt,
    catchUp,
    bringUp,
    goingBack,
    told,
    epoch: () => epoch,
    /** What SQL has of them is another now. */
    reload: Effect.suspend(() => {
      isKnown = false
      return load
    }),
    /** What SQL has of all views, as of the last commit. */
    stored: () => stored,
    /** Whether it is a declared view: one that stands is replaced by no other then. */
    isKept: (view: ViewParts.Declared): boolean => {
      const own = views.find(({ name }) => name === view.name)
      return (
        own !== undefined &&
        ViewDefinition.outdated(view, ViewDefinition.knownOf(own)) === undefined
      )
    },
    /** What SQL has of a declared view, as of the last commit. */
    rowOf: (name: string) => stored.get(name),
    /** Whether a view has been set aside, or is none of this version: nothing may be asked of it. */
    isStale: (name: string): boolean => !isFresh(name)
  }
}

export type ViewKeeper = ReturnType<typeof make>
