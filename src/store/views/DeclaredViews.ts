/**
 * Internal: the views that a ledger is opened with, with all that they ask for.
 */
import { Context, Effect, Layer } from "effect"
import { askMillisMaxDefault } from "../mirror/limiting.ts"
import type { Bound } from "./viewFold.ts"
import type { AnyView, Services } from "./Views.ts"

/** The views that are declared; none by default. */
export const DeclaredViews: Context.Reference<ReadonlyArray<Bound>> = Context.Reference(
  "sealog/DeclaredViews",
  { defaultValue: (): ReadonlyArray<Bound> => [] }
)

const bind = <R>(
  { folding, ...view }: AnyView,
  context: Context.Context<R>,
  millisMax: number
): Bound => {
  if (folding._tag !== "Applied") return { ...view, folding }
  const { _tag, apply } = folding
  return {
    ...view,
    folding: {
      _tag,
      millisMax,
      apply: (seen, sql, tables) =>
        // Under what is there: the clock of the event, and its transaction. The context has what all
        // the views ask for, and so what this one does.
        Effect.updateContext(
          apply(seen, sql, tables) as Effect.Effect<unknown, unknown, R>,
          (now: Context.Context<never>) => Context.merge(context, now)
        )
    }
  }
}

const repeated = (names: ReadonlyArray<string>): string | undefined =>
  names.find((name, at) => names.indexOf(name) !== at)

const checkNames = (views: ReadonlyArray<AnyView>): void => {
  const name = repeated(views.map((view) => view.name))
  if (name !== undefined) throw new RangeError(`two views have the name ${name}`)
  const table = repeated(
    views.flatMap((view) => [...new Set([view.name, ...view.tables.map((one) => one.name)])])
  )
  if (table !== undefined) throw new RangeError(`two views have a table ${table}`)
}

/**
 * Declares views, each of which may take so long for an event; asks for what they ask for. Throws a
 * RangeError where two have one name or table.
 */
export const layer = <Vs extends ReadonlyArray<AnyView>>(
  views: Vs | undefined,
  millisMax = askMillisMaxDefault
): Layer.Layer<never, never, Services<Vs[number]>> =>
  Layer.effect(
    DeclaredViews,
    Effect.map(Effect.context<Services<Vs[number]>>(), (context) => {
      checkNames(views ?? [])
      return (views ?? []).map((view) => bind(view, context, millisMax))
    })
  )
