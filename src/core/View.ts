/**
 * Views: tables folded from events, and the same folds without SQL.
 *
 * `make` keeps one row for each key: `keysOf` says which rows an event is about, `fold` what each of
 * them becomes. `perEvent` adds the rows that an event gives, and never changes them. What a view
 * makes of a history depends on its events alone, so it can be made anew at any time and compared.
 *
 * In SQL each table also has `seq` and `event_id`, of the event that last changed the row (and, in a
 * `perEvent` view, `nth`, the row's number within its event, from 0). `table` is the model of both.
 */
import type { Schema } from "effect"
import { Result } from "effect"
import type { AnyKind } from "./Kind.ts"
import type { Misfit } from "./payloadCodec.ts"
import * as PayloadCodec from "./payloadCodec.ts"
import type { Value } from "./viewColumn.ts"
import { columnOf } from "./viewColumn.ts"
import type { Change, Declared, Fact, Keyed, PerEvent, SealedEvent, SqlRow } from "./viewParts.ts"
import { checkDeclared, keyText, reader, Seen, sees, typesOf, ViewRowInvalid } from "./viewParts.ts"

export type { Value } from "./viewColumn.ts"
export { ViewRowInvalid } from "./viewParts.ts"
export type {
  Change,
  Declared,
  Fact,
  FoldError,
  Keyed,
  PerEvent,
  SealedEvent,
  Seen,
  SqlRow,
  Table
} from "./viewParts.ts"

/** A view of one table whose rows are `Row`. */
export interface View<Row = unknown> extends Declared {
  readonly folding: Keyed | PerEvent
  /** A row that was read through SQL, its other columns passed over. */
  readonly decode: (row: unknown) => Result.Result<Row, Misfit>
}

/** What a column is declared as. A member that SQL does not keep as it is cannot be a column. */
type Declaration<Encoded> = [Encoded] extends [Value]
  ? string
  : "encode this member as a text, a number or null: no other value can be a column"

/** What a view is declared with. */
interface Settings<K extends AnyKind, Row, Encoded> {
  /** Of the table too: letters, digits and `_`, in lower case. */
  readonly name: string
  /** A whole number from 1. Count it up when the fold changes. */
  readonly version: number
  /** The kinds that it sees, which type what it is given. */
  readonly kinds?: ReadonlyArray<K> | undefined
  /** Without kinds: the types that it sees; all where left out. */
  readonly types?: ReadonlyArray<string> | undefined
  /** A row of the table; encoded, it holds texts, finite numbers and nulls. */
  readonly row: Schema.Codec<Row, Encoded>
  /**
   * The SQL type and constraints of each column. Where one has more than its type and `NOT NULL`, SQL
   * is asked after each event, not once for all that come together.
   */
  readonly columns: { readonly [C in keyof Encoded]-?: Declaration<Encoded[C]> }
  /** What queries ask for, each served by an index. */
  readonly indexes?: ReadonlyArray<ReadonlyArray<keyof Encoded & string>> | undefined
}

/** Columns that are told apart by texts or numbers, and stand in SQL as they are. */
type KeyColumn<Row, Encoded> = {
  [C in keyof Row & keyof Encoded & string]: Row[C] extends string | number
    ? Encoded[C] extends string | number
      ? C
      : never
    : never
}[keyof Row & keyof Encoded & string]

const isValue = (value: unknown): value is Value =>
  value === null || typeof value === "number" || typeof value === "string"

const describe = (value: unknown): string =>
  value === undefined
    ? "nothing"
    : value === null
      ? "null"
      : typeof value === "number"
        ? Number.isFinite(value)
          ? "a number"
          : String(value)
        : `a ${typeof value}`

/** Reads facts and writes rows for one view. */
const coder = <K extends AnyKind, Row, Encoded>({
  columns,
  kinds,
  name,
  row
}: Settings<K, Row, Encoded>) => {
  const codec = PayloadCodec.plain(row)
  const names = Object.keys(columns)
  const kept = new Map(
    Object.entries<string>(columns).map(([column, sql]) => [column, columnOf(sql)])
  )
  const unfit = (seq: number, { actual, expected, path }: Misfit) =>
    new ViewRowInvalid({ view: name, seq, path, expected, actual })

  /** The columns of `of`, each a value that SQL keeps as it is. */
  const valuesOf = (given: unknown, of: ReadonlyArray<string>): Result.Result<SqlRow, Misfit> => {
    const values: Record<string, Value> = {}
    for (const column of of) {
      const value: unknown =
        typeof given === "object" && given !== null ? Reflect.get(given, column) : undefined
      const expected = kept.get(column)?.expected(value)
      if (expected !== undefined || !isValue(value)) {
        const text = expected ?? "a text, a number or null"
        return Result.fail({ path: `/${column}`, expected: text, actual: describe(value) })
      }
      // SQL has one zero.
      values[column] = value === 0 ? 0 : value
    }
    return Result.succeed(values)
  }

  return {
    decode: codec.decode,
    encode: (seq: number, given: Row): Result.Result<SqlRow, ViewRowInvalid> =>
      codec.encode(given).pipe(
        Result.flatMap((encoded) => valuesOf(encoded, names)),
        Result.mapError((misfit) => unfit(seq, misfit))
      ),
    key: (seq: number, given: unknown, of: ReadonlyArray<string>) =>
      valuesOf(given, of).pipe(Result.mapError((misfit) => unfit(seq, misfit))),
    read: (seq: number, stored: unknown): Result.Result<Row, ViewRowInvalid> =>
      codec.decode(stored).pipe(Result.mapError((misfit) => unfit(seq, misfit))),
    otherKey: (seq: number) =>
      unfit(seq, { path: "", expected: "a row of the key it was given", actual: "another key" }),
    factOf: reader<K>(kinds)
  }
}

/**
 * A view with one row for each key, as `fold` makes it of the row before and an event. A `fold` that
 * answers nothing takes the row away. Both functions must be pure: what they throw, like a row that
 * does not fit, fails the append of that event.
 *
 * Throws a RangeError for names that no table can have.
 */
export const make = <
  Row,
  Encoded,
  const C extends KeyColumn<Row, Encoded>,
  K extends AnyKind = never
>(
  settings: Settings<K, Row, Encoded> & {
    /** The columns that tell rows apart: texts or numbers. */
    readonly key: ReadonlyArray<C>
    /** The keys of the rows that an event is about. */
    readonly keysOf: (fact: Fact<K>) => ReadonlyArray<Pick<Row, C>>
    /** What the row of one key becomes. */
    readonly fold: (row: Row | undefined, fact: Fact<K>, key: Pick<Row, C>) => Row | undefined
  }
): View<Row> => {
  const { columns, fold, indexes = [], key, keysOf, name, version } = settings
  const collated = key.find((column) => columnOf(columns[column]).isCollated)
  // Two keys to the fold would be one row to SQL.
  if (collated !== undefined) {
    throw new RangeError(`the view ${name}: a key has no COLLATE, as ${collated} does`)
  }
  const rows = coder(settings)
  const next =
    (fact: Fact<K>, keyRow: SqlRow, given: Pick<Row, C>): Change["next"] =>
    (stored) => {
      const before = stored === undefined ? undefined : rows.read(fact.seq, stored)
      if (before !== undefined && Result.isFailure(before)) return Result.fail(before.failure)
      const after = fold(before?.success, fact, given)
      if (after === undefined) return Result.succeed(undefined)
      return Result.flatMap(rows.encode(fact.seq, after), (encoded) =>
        key.every((column) => encoded[column] === keyRow[column])
          ? Result.succeed(encoded)
          : Result.fail(rows.otherKey(fact.seq))
      )
    }
  const changes: Keyed["changes"] = (seen) =>
    Result.flatMap(rows.factOf(seen), (fact) => {
      const made: Array<Change> = []
      for (const given of keysOf(fact)) {
        const keyRow = rows.key(fact.seq, given, key)
        if (Result.isFailure(keyRow)) return Result.fail(keyRow.failure)
        made.push({ key: keyRow.success, next: next(fact, keyRow.success, given) })
      }
      return Result.succeed(made)
    })
  const view: View<Row> = {
    name,
    version,
    types: typesOf(settings),
    tables: [{ name, added: ["seq", "event_id"], columns, key, indexes }],
    insertOnly: false,
    folding: { _tag: "Keyed", changes },
    decode: rows.decode
  }
  checkDeclared(view)
  return view
}

/**
 * A view of the rows that each event gives, which stay as they are: its key is the event's `seq` and
 * `nth`, from 0. A rollback cuts it by seq, so it need not be made anew.
 *
 * Throws a RangeError for names that no table can have.
 */
export const perEvent = <Row, Encoded, K extends AnyKind = never>(
  settings: Settings<K, Row, Encoded> & {
    /** The rows that an event gives, none of them in most. */
    readonly rowsOf: (fact: Fact<K>) => ReadonlyArray<NoInfer<Row>>
  }
): View<Row> => {
  const { columns, indexes = [], name, rowsOf, version } = settings
  const rows = coder(settings)
  const made: PerEvent["rows"] = (seen) =>
    Result.flatMap(rows.factOf(seen), (fact) => {
      const encoded: Array<SqlRow> = []
      for (const row of rowsOf(fact)) {
        const one = rows.encode(fact.seq, row)
        if (Result.isFailure(one)) return Result.fail(one.failure)
        encoded.push(one.success)
      }
      return Result.succeed(encoded)
    })
  const view: View<Row> = {
    name,
    version,
    types: typesOf(settings),
    tables: [{ name, added: ["seq", "event_id", "nth"], columns, key: ["seq", "nth"], indexes }],
    insertOnly: true,
    folding: { _tag: "PerEvent", rows: made },
    decode: rows.decode
  }
  checkDeclared(view)
  return view
}

/**
 * The rows that a view makes of a history, without SQL: a model for tests, and for programs that
 * have only events. `perEvent` rows come in their order, others in that of their first event.
 *
 * Throws what the fold throws, and `FoldError` where a row does not fit.
 */
export const table = <Row>(
  view: View<Row>,
  events: Iterable<SealedEvent & { readonly seq: number }>
): ReadonlyArray<Row> => {
  const [{ key = [] } = {}] = view.tables
  const keyed = new Map<string, SqlRow>()
  const rows: Array<SqlRow> = []
  for (const event of events) {
    if (!sees(view, event.type)) continue
    const seen = new Seen(event.seq, event)
    if (view.folding._tag === "PerEvent") {
      rows.push(...Result.getOrThrow(view.folding.rows(seen)))
      continue
    }
    for (const change of Result.getOrThrow(view.folding.changes(seen))) {
      const text = keyText(key, change.key)
      const after = Result.getOrThrow(change.next(keyed.get(text)))
      if (after === undefined) keyed.delete(text)
      else keyed.set(text, after)
    }
  }
  return [...rows, ...keyed.values()].map((row) => Result.getOrThrow(view.decode(row)))
}
