/**
 * `@event-driven-io/emmett-sqlite`, where it is installed: `npm install --prefix bench/emmett`.
 *
 * It is no dependency of the project: it brings some fifty packages and a native module, `sqlite3`,
 * that is fetched from GitHub or compiled. Its peer `@event-driven-io/emmett` is not loaded by it.
 */
import { Effect, Predicate } from "effect"

/** An event as it is handed in. */
interface Message {
  readonly type: string
  readonly data: unknown
  readonly metadata: unknown
}

interface Connection {
  readonly command: (sql: string) => Promise<unknown>
  readonly query: (sql: string) => Promise<ReadonlyArray<unknown>>
  readonly close: () => void
}

interface Store {
  readonly appendToStream: (stream: string, messages: ReadonlyArray<Message>) => Promise<unknown>
  readonly readStream: (
    stream: string
  ) => Promise<{ readonly events: ReadonlyArray<Pick<Message, "data">> }>
}

/** A table that is kept in the transaction of the append: the statements for each event. */
export interface Projection {
  readonly initSQL: string
  readonly canHandle: ReadonlyArray<string>
  readonly evolve: (event: Message) => string
}

/** As much of the module as is used. */
export interface Emmett {
  readonly sqliteConnection: (options: { readonly fileName: string }) => Connection
  readonly getSQLiteEventStore: (options: {
    readonly fileName: string
    readonly connectionOptions: { readonly singleton: true; readonly connection: Connection }
    readonly projections: ReadonlyArray<{ readonly type: "inline"; readonly projection: unknown }>
  }) => Store
  readonly sqliteRawSQLProjection: (options: Projection) => unknown
}

const isEmmett = (loaded: unknown): loaded is Emmett =>
  Predicate.hasProperty(loaded, "getSQLiteEventStore") &&
  Predicate.isFunction(loaded.getSQLiteEventStore) &&
  Predicate.hasProperty(loaded, "sqliteRawSQLProjection") &&
  Predicate.isFunction(loaded.sqliteRawSQLProjection) &&
  Predicate.hasProperty(loaded, "sqliteConnection") &&
  Predicate.isFunction(loaded.sqliteConnection)

// Whether it is there is known at run time only.
const name: string = "@event-driven-io/emmett-sqlite"

/** The module; undefined where it is not installed. One that does not load is a defect. */
export const load: Effect.Effect<Emmett | undefined> = Effect.promise(async () => {
  try {
    import.meta.resolve(name)
  } catch (cause) {
    if (Predicate.hasProperty(cause, "code") && cause.code === "ERR_MODULE_NOT_FOUND") return
    throw cause
  }
  const loaded: unknown = await import(name)
  if (isEmmett(loaded)) return loaded
  throw new Error(`${name} is not the one that is known here`)
})

/**
 * A store on one connection that stays open, which is faster than its default, one for each call. It
 * sets WAL itself; `synchronous=FULL` fsyncs the log at each commit.
 */
export const open = Effect.fnUntraced(function* (
  emmett: Emmett,
  fileName: string,
  projection?: Projection
) {
  const connection = yield* Effect.acquireRelease(
    Effect.sync(() => emmett.sqliteConnection({ fileName })),
    (one) => Effect.sync(() => one.close())
  )
  yield* Effect.promise(() => connection.command("PRAGMA synchronous=FULL"))
  const connectionOptions = { singleton: true, connection } as const
  const inline = projection === undefined ? [] : [emmett.sqliteRawSQLProjection(projection)]
  const projections = inline.map((one) => ({ type: "inline", projection: one }) as const)
  const store = emmett.getSQLiteEventStore({ fileName, connectionOptions, projections })
  return { ...store, query: connection.query }
})
