/**
 * Internal: what views are made of, before they are declared and after.
 *
 * A view folds what is `Seen` of an event, alone or with the rows that its table has, into rows as SQL
 * has them; whoever keeps the tables asks for `changes` or `rows` and need not know their types.
 */
import { Result, Schema } from "effect"
import * as Json from "./CanonicalJson.ts"
import type { Keys } from "./Event.ts"
import type { AnyKind, EventUndecodable, Kind } from "./Kind.ts"
import * as KindModule from "./Kind.ts"
import type { Mirrored } from "./Parity.ts"
import type { Value } from "./viewColumn.ts"
import { columnOf } from "./viewColumn.ts"

/** A row as SQL has it, without `seq`, `event_id` and `nth`. */
export interface SqlRow {
  readonly [column: string]: Value
}

/** A table of a view: what SQL is told of it. */
export interface Table {
  readonly name: string
  /** The columns before its own. */
  readonly added: ReadonlyArray<"seq" | "event_id" | "nth">
  /** The type and constraints of each column, such as `INTEGER NOT NULL`. */
  readonly columns: { readonly [name: string]: string }
  /** The columns of its primary key. */
  readonly key: ReadonlyArray<string>
  readonly indexes: ReadonlyArray<ReadonlyArray<string>>
}

/** What an event says by itself: its line and its signature come later. */
export type SealedEvent = Mirrored & {
  readonly parentId?: string | undefined
  readonly keys?: Keys | undefined
}

/** An event as a view sees it. */
export class Seen {
  readonly seq: number
  readonly event: SealedEvent

  constructor(seq: number, event: SealedEvent) {
    this.seq = seq
    this.event = event
  }

  get id(): string {
    return this.event.id
  }

  get type(): string {
    return this.event.type
  }

  /** Read anew on each access. */
  get payload(): unknown {
    return Json.valueOf(this.event.payloadText)
  }
}

/** What a fold is given: an event as one of the view's kinds reads it, or as it is stored. */
export type Fact<K> = [K] extends [never]
  ? {
      readonly type: string
      readonly payload: unknown
      readonly seq: number
      readonly event: SealedEvent
    }
  : K extends Kind<infer T, infer P>
    ? {
        readonly type: T
        /** The payload, brought up to date. */
        readonly payload: P
        readonly seq: number
        /** The event as it is stored. */
        readonly event: SealedEvent
      }
    : never

/** A row that cannot stand in the view's table; `seq` is 0 where it does not tell its event. */
export class ViewRowInvalid extends Schema.TaggedError<ViewRowInvalid>()("ViewRowInvalid", {
  view: Schema.String,
  seq: Schema.Int,
  path: Schema.String,
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    const { actual, expected, path, seq, view } = this
    const of = seq === 0 ? "" : `, of event ${seq},`
    const wrong =
      actual === "nothing" && path !== ""
        ? `its ${path.slice(1)} is missing`
        : `at ${path || "/"} expected ${expected}, found ${actual}`
    return `a row of the view ${view}${of} is none that the view can hold: ${wrong}`
  }
}

/** Why an event cannot be folded. */
export type FoldError = EventUndecodable | ViewRowInvalid

/** What becomes of the row of one key. Nothing given: there is none. Nothing answered: none is left. */
export interface Change {
  readonly key: SqlRow
  readonly next: (row: SqlRow | undefined) => Result.Result<SqlRow | undefined, FoldError>
}

/** A fold of one row for each key. */
export interface Keyed {
  readonly _tag: "Keyed"
  readonly changes: (seen: Seen) => Result.Result<ReadonlyArray<Change>, FoldError>
}

/** The rows that one event gives. */
export interface PerEvent {
  readonly _tag: "PerEvent"
  readonly rows: (seen: Seen) => Result.Result<ReadonlyArray<SqlRow>, FoldError>
}

/** What every view says of itself. */
export interface Declared {
  readonly name: string
  /** Another version, or other tables, and the view is made anew. */
  readonly version: number
  /** The types of the events that it sees; all where undefined. */
  readonly types: ReadonlyArray<string> | undefined
  readonly tables: ReadonlyArray<Table>
  /** Whether rows are only ever put in: then a rollback cuts them by seq. */
  readonly insertOnly: boolean
  readonly folding: { readonly _tag: string }
}

const nameFormat = /^[a-z][a-z0-9_]{0,47}$/
const own = /^(events|sealog_.*|sqlite_.*)$/

const foreign = /\breferences\b(?!\s*["[`']?events\b)/i

/** Whether a view, or a table of one, can be called so. */
export const isTableName = (text: string): boolean => nameFormat.test(text) && !own.test(text)

/**
 * Refuses what no table can be: a broken precondition. Throws a RangeError that says which.
 */
export const checkDeclared = ({ name, tables, version }: Declared): void => {
  const wrong = (what: string) => new RangeError(`the view ${JSON.stringify(name)}: ${what}`)
  if (!isTableName(name)) throw wrong("its name is none that a view can have")
  if (!(Number.isSafeInteger(version) && version > 0)) throw wrong("its version is none from 1 on")
  for (const table of tables) {
    const columns = Object.entries(table.columns)
    if (!isTableName(table.name)) throw wrong(`no table is called ${table.name}`)
    if (columns.length === 0) throw wrong(`${table.name} has no columns`)
    for (const [column, sql] of columns) {
      if (!nameFormat.test(column) || table.added.some((own) => own === column)) {
        throw wrong(`${table.name} cannot have a column ${column}`)
      }
      if (sql.trim() === "" || sql.includes(";")) throw wrong(`${column} has no type`)
      // Made aside, it would refer to the table that is in its place.
      if (foreign.test(sql)) throw wrong(`${column} cannot refer to a table other than events`)
    }
    const known: ReadonlyArray<string> = [...table.added, ...Object.keys(table.columns)]
    const named = [...table.key, ...table.indexes.flat()]
    const unknown = named.find((column) => !known.includes(column))
    if (unknown !== undefined) throw wrong(`${table.name} has no column ${unknown}`)
    if (table.key.length === 0) throw wrong(`${table.name} has no key`)
    if (table.indexes.some((index) => index.length === 0)) throw wrong("an index has no columns")
  }
}

/**
 * Whether a table has no rule but the types of its columns, and which of them are not null: then
 * nothing that `make` or `perEvent` lets pass is refused by SQL.
 */
export const isPlain = ({ columns }: Table): boolean =>
  Object.values(columns).every((sql) => columnOf(sql).isPlain)

/** How an event is read as one of the kinds, or as it is stored where none is named. */
export const reader =
  <K extends AnyKind>(kinds: ReadonlyArray<K> | undefined) =>
  (seen: Seen): Result.Result<Fact<K>, EventUndecodable> => {
    const { event, seq, type } = seen
    // Type and payload come from one kind, or no kind is named: `Fact` says so, TypeScript cannot.
    const fact = (of: string, payload: unknown) => ({ type: of, payload, seq, event }) as Fact<K>
    if (kinds === undefined) return Result.succeed(fact(type, seen.payload))
    return Result.map(KindModule.readBy(kinds, seen), (read) => fact(read.type, read.payload))
  }

/** The types that a view sees; all where undefined. */
export const typesOf = ({
  kinds,
  types
}: {
  readonly kinds?: ReadonlyArray<AnyKind> | undefined
  readonly types?: ReadonlyArray<string> | undefined
}): ReadonlyArray<string> | undefined => (kinds === undefined ? types : KindModule.typesOf(kinds))

/** Whether a view sees events of this type. */
export const sees = ({ types }: Declared, type: string): boolean =>
  types === undefined || types.includes(type)

/** What tells rows of a table apart, as text. */
export const keyText = (key: ReadonlyArray<string>, row: { readonly [column: string]: unknown }) =>
  JSON.stringify(key.map((column) => row[column]))
