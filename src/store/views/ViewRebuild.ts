/**
 * Internal: views made anew, or checked, while the ledger goes on.
 *
 *   1. tables aside, empty
 *   2. the log is folded into them, some rows at a time between two groups, until they are at the head
 *   3. rebuild: in one transaction the rest, then they take the place of the tables that are there
 *      check: page by page of the primary key, both brought to the same row and compared
 *
 * A rollback meanwhile begins it again. What a crash leaves aside is dropped at the next opening.
 */
import { Data, Effect, Semaphore } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import type * as ViewParts from "../../core/viewParts.ts"
import { mirrorError } from "../errors.ts"
import { transacting } from "../mirror/transacting.ts"
import { Progress } from "../Progress.ts"
import type { Bound, Fold, ViewFault } from "./viewFold.ts"
import * as ViewDefinition from "./viewDefinition.ts"
import * as ViewFold from "./viewFold.ts"
import * as ViewKeeper from "./ViewKeeper.ts"
import * as ViewPages from "./viewPages.ts"
import * as ViewPrepare from "./viewPrepare.ts"
import type { ViewError, Views } from "./Views.ts"
import { ViewFailed, ViewReport } from "./Views.ts"
import * as ViewTables from "./viewTables.ts"
import * as ViewWalk from "./viewWalk.ts"
import type { Writer } from "../writing/Writer.ts"

interface Dependencies extends ViewWalk.Source {
  readonly keeper: ViewKeeper.ViewKeeper
  readonly writer: Writer
}

/** So few rows are folded in the turn that ends it. */
const restRows = 256

const differencesMaxDefault = 100

/** A view that is being built aside. */
interface Aside {
  readonly view: Bound
  readonly fold: Fold
  /** The last row that it has taken in. */
  seq: number
  /** See `ViewKeeper.epoch`; a rollback has another one. */
  readonly epoch: number
  readonly generation: number
}

/** Internal: a rollback has taken rows away that were folded already. */
class RolledBackMeanwhile extends Data.TaggedError("RolledBackMeanwhile")<{}> {}

type Building = ViewError | ViewFault | SqlError | RolledBackMeanwhile

/** What may be done to the views of an open ledger. */
export const make = (deps: Dependencies): Views["Service"] => {
  const { keeper, sql, writer } = deps
  // One view is built at a time.
  const turn = Semaphore.makeUnsafe(1)

  const declared = (asked: ViewParts.Declared): Bound => {
    const view = keeper.views.find(({ name }) => name === asked.name)
    if (view === undefined) throw new RangeError(`the view ${asked.name} was not declared`)
    const other = ViewDefinition.outdated(asked, ViewDefinition.knownOf(view))
    if (other === undefined) return view
    const { declared: version, differs, stored } = other
    const how = stored === version ? `with other ${differs.join(", ")}` : `not ${version}`
    throw new RangeError(`the view ${asked.name} was declared in version ${stored}, ${how}`)
  }

  /** Tables aside, empty, of a generation that their indexes are named by. */
  const begin = (view: Bound) =>
    writer.exclusively(
      Effect.gen(function* () {
        const generation = ViewPrepare.nextGeneration(keeper.stored())
        yield* ViewTables.drop(sql, ViewTables.namesOf(view), ViewTables.aside)
        yield* ViewTables.create(sql, view.tables, ViewTables.aside, generation)
        const fold = ViewFold.into(view, ViewTables.aside)
        return { view, fold, seq: 0, epoch: keeper.epoch(), generation } as Aside
      }).pipe(transacting(sql))
    )

  /** Fold rows into it, in one transaction, unless some that it has are gone. */
  const take = (aside: Aside, rows: ReadonlyArray<ViewParts.Seen>) =>
    Effect.suspend((): Effect.Effect<void, Building> => {
      if (keeper.epoch() !== aside.epoch) return Effect.fail(new RolledBackMeanwhile())
      return Effect.map(transacting(sql)(writer.asking(aside.fold(sql, rows))), () => {
        aside.seq = rows.at(-1)?.seq ?? aside.seq
      })
    })

  /** Fold what it lacks, now that the writer stands still. */
  const catchUp = (aside: Aside) =>
    Effect.suspend((): Effect.Effect<void, Building> => {
      const { seq } = writer.head()
      if (keeper.epoch() !== aside.epoch) return Effect.fail(new RolledBackMeanwhile())
      return ViewWalk.eachBatch(deps, aside.seq, seq, (rows) => take(aside, rows))
    })

  /** Fold the log until few rows are left, between the groups that go on meanwhile. */
  const reach = Effect.fnUntraced(function* (aside: Aside): Effect.fn.Return<void, Building> {
    const tell = yield* Progress
    const task = `view ${aside.view.name}`
    for (;;) {
      const { seq: total } = writer.head()
      if (total - aside.seq <= restRows) return
      yield* ViewWalk.eachBatch(deps, aside.seq, total, (rows) =>
        Effect.andThen(
          writer.exclusively(take(aside, rows)),
          Effect.suspend(() => tell({ task, done: aside.seq, total, unit: "rows" }))
        )
      )
    }
  })

  /** A walk that a rollback has cut the rows from under meets files that are gone, or end midway. */
  const unlessRolledBack = (aside: Aside) =>
    Effect.catch((error: Building) =>
      writer.alone(
        Effect.suspend(() => {
          const isSo = keeper.epoch() !== aside.epoch
          return Effect.fail<Building>(isSo ? new RolledBackMeanwhile() : error)
        })
      )
    )

  /** Build a view aside, then `end`; again from the beginning where the ledger was rolled back. */
  const building = <A>(
    view: Bound,
    end: (aside: Aside) => Effect.Effect<A, Building>
  ): Effect.Effect<A, ViewError> => {
    const drop = ViewTables.drop(sql, ViewTables.namesOf(view), ViewTables.aside)
    // Where it cannot be dropped now, the next opening does it.
    const clear = Effect.ignore(writer.alone(drop))
    return Effect.gen(function* () {
      const aside = yield* begin(view)
      yield* unlessRolledBack(aside)(reach(aside))
      return yield* end(aside)
    }).pipe(
      Effect.retry({ while: (error) => error instanceof RolledBackMeanwhile }),
      Effect.ensuring(clear),
      Effect.catchTags({
        SqlError: (error) => Effect.fail(mirrorError(`build ${view.name} aside`)(error)),
        ViewFault: ({ cause, seq, view: name }) =>
          Effect.fail(new ViewFailed({ index: null, view: name, seq, cause }))
      }),
      turn.withPermits(1)
    )
  }

  /** Put what was built aside in its place. */
  const settle = (aside: Aside) =>
    Effect.gen(function* () {
      const { generation, view } = aside
      const tell = yield* Progress
      yield* catchUp(aside)
      const { seq: done } = aside
      yield* tell({ task: `view ${view.name}`, done, total: done, unit: "rows" })
      const row = ViewPrepare.rowOf(view, generation, aside.seq)
      const plan = { views: keeper.views, stored: keeper.stored(), changed: [view] }
      yield* ViewPrepare.place(sql, plan, [{ view, row, fault: undefined }])
      return ViewKeeper.statusOf(row)
    }).pipe(
      transacting(sql),
      Effect.tap(() => keeper.reload)
    )

  const rebuild = (asked: ViewParts.Declared) =>
    building(declared(asked), (aside) => writer.exclusively(settle(aside)))

  /** Another version that still stands is not what this one would make. */
  const standing = (view: Bound) => {
    const there = keeper.rowOf(view.name)
    const other = there === undefined ? undefined : ViewPrepare.otherOf(view, there)
    return other === undefined ? Effect.succeed(view) : Effect.fail(other)
  }

  const check = Effect.fnUntraced(function* (
    asked: ViewParts.Declared,
    options: { readonly differencesMax?: number | undefined } = {}
  ) {
    return yield* building(
      yield* standing(declared(asked)),
      Effect.fnUntraced(function* (aside: Aside): Effect.fn.Return<ViewReport, Building> {
        const { view } = aside
        const tally = new ViewPages.Tally(options.differencesMax ?? differencesMaxDefault)
        for (const table of view.tables) {
          const pages = ViewPages.of(sql, table)
          let after: ViewPages.Key | undefined
          do {
            after = yield* writer.exclusively(
              Effect.andThen(
                catchUp(aside),
                Effect.suspend(() => pages.compare(after, tally))
              )
            )
          } while (after !== undefined)
        }
        const { count: differenceCount, differences, rows } = tally
        const isDerived = differenceCount === 0
        const { name, version } = view
        const { seq } = aside
        return new ViewReport({
          view: name,
          version,
          seq,
          rows,
          isDerived,
          differenceCount,
          differences
        })
      })
    )
  })

  return {
    status: Effect.map(ViewKeeper.statuses(sql), keeper.told),
    rebuild: (view) =>
      Effect.withSpan(
        Effect.suspend(() => rebuild(view)),
        "Views.rebuild"
      ),
    check: (view, options) =>
      Effect.withSpan(
        Effect.suspend(() => check(view, options)),
        "Views.check"
      )
  }
}
