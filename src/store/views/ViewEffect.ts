/**
 * Views that are effects: SQL of your own for each event, in the transaction of its append.
 *
 * `apply` is given the event, the writer's client and the names of its tables; its Clock stands at the
 * event's `recorded_at`. Where it reads the event and those tables only, it makes the same of the same
 * history at any time. To read others is not refused, but makes the view depend on more than the log:
 * made anew, it may be another. Tables are made by sealog: to each it adds `seq` and `event_id`, which
 * `apply` fills with those of the event. A statement that writes elsewhere, or would end the
 * transaction, is refused; it fails the append, as whatever else `apply` fails with.
 */
import type { Clock } from "effect"
import { Effect } from "effect"
import type { SqlClient, Statement } from "effect/sql"
import type { AnyKind } from "../../core/Kind.ts"
import * as Timestamp from "../../core/Timestamp.ts"
import * as ViewParts from "../../core/viewParts.ts"

/** The names of a view's tables, to be used in its SQL: they are not always called the same. */
export type Tables<Name extends string = string> = {
  readonly [name in Name]: Statement.Identifier
}

/** What an effect view does with one event. */
export interface Applied<R> {
  readonly _tag: "Applied"
  readonly apply: (
    seen: ViewParts.Seen,
    sql: SqlClient.SqlClient,
    tables: Tables
  ) => Effect.Effect<unknown, unknown, R>
}

/** A view that is an effect. `R` is what it asks for; the layer that is given it asks for it too. */
export interface EffectView<out R = never> extends ViewParts.Declared {
  readonly folding: Applied<R>
}

/** A table of an effect view. */
export interface TableOptions<Column extends string> {
  /** The SQL type and constraints of each column. */
  readonly columns: { readonly [column in Column]: string }
  /** The columns of its primary key; `seq` may be among them. */
  readonly key: ReadonlyArray<NoInfer<Column> | "seq">
  readonly indexes?: ReadonlyArray<ReadonlyArray<NoInfer<Column> | "seq">> | undefined
}

/** A view that is an effect. Throws a RangeError for names that no table can have. */
export const effect = <
  Shapes extends { readonly [table: string]: TableOptions<string> },
  R = never,
  K extends AnyKind = never
>(settings: {
  readonly name: string
  /** A whole number from 1. Count it up when what it does changes. */
  readonly version: number
  readonly kinds?: ReadonlyArray<K> | undefined
  readonly types?: ReadonlyArray<string> | undefined
  readonly tables: Shapes
  /** Whether `apply` only ever inserts: then a rollback cuts its tables by seq. Default false. */
  readonly insertOnly?: boolean | undefined
  readonly apply: (
    fact: ViewParts.Fact<K>,
    sql: SqlClient.SqlClient,
    tables: Tables<keyof Shapes & string>
  ) => Effect.Effect<unknown, unknown, R>
}): EffectView<R> => {
  const { apply, insertOnly = false, kinds, name, tables, version } = settings
  const factOf = ViewParts.reader<K>(kinds)
  const view: EffectView<R> = {
    name,
    version,
    types: ViewParts.typesOf(settings),
    insertOnly,
    tables: Object.entries<TableOptions<string>>(tables).map(
      ([table, { columns, indexes = [], key }]) => ({
        name: table,
        added: ["seq", "event_id"],
        columns,
        key,
        indexes
      })
    ),
    folding: {
      _tag: "Applied",
      apply: (seen, sql, named) =>
        Effect.flatMap(Effect.fromResult(factOf(seen)), (fact) =>
          // `named` has a name for each of the tables above.
          apply(fact, sql, named as Tables<keyof Shapes & string>)
        )
    }
  }
  if (view.tables.length === 0) throw new RangeError(`the view ${name} has no tables`)
  ViewParts.checkDeclared(view)
  return view
}

/** A clock that stands still. */
export const clockAt = (time: Timestamp.Timestamp): Clock.Clock => {
  const millis = Timestamp.toMillis(time)
  const nanos = Timestamp.toNanos(time)
  return {
    currentTimeMillisUnsafe: () => millis,
    currentTimeMillis: Effect.succeed(millis),
    currentTimeNanosUnsafe: () => nanos,
    currentTimeNanos: Effect.succeed(nanos),
    monotonicTimeNanosUnsafe: () => nanos,
    monotonicTimeNanos: Effect.succeed(nanos),
    // It would wait for ever, in the middle of an append.
    sleep: () => Effect.die(new Error("a view cannot wait: its clock stands at its event"))
  }
}
