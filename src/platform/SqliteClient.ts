/**
 * `SqlClient` over `node:sqlite`, the SQLite that Node and Deno carry. `layer` opens two
 * connections to one file: the writer (`SqlClient`; WAL, synchronous=NORMAL, foreign keys, BEGIN
 * IMMEDIATE, one at a time) and, read-only, `ReadSql`, which sees committed rows and waits for
 * nobody. Its streams and transactions have connections of their own: their snapshot is theirs.
 *
 * As in `node:sqlite`, rows have a null prototype, and a number is bound as REAL: columns of
 * INTEGER affinity store an integer, columns of TEXT affinity would store `"5.0"`.
 *
 * What may never change: a new file has mode 0600 whatever the umask, and SQLite gives that mode
 * to -wal and -shm; no link is followed; the reading side is never the writing connection.
 */
import * as fs from "node:fs"
import * as Path from "node:path"
import { pathToFileURL } from "node:url"
import { DatabaseSync } from "node:sqlite"
import { Context, Effect, Layer, Option, Semaphore } from "effect"
import type { Scope } from "effect"
import { Reactivity } from "effect/reactivity"
import { SqlClient, Statement } from "effect/sql"
import type { SqlError } from "effect/sql"
import { ReadSql } from "../store/mirror/ReadSql.ts"
import { create, look, unfit } from "./privateFile.ts"
import { NodeConnection, openError } from "./sqliteConnection.ts"

/** What `layer` and `make` open, and how. */
export interface Options {
  /** Path of the database file. `":memory:"` is a private database in memory, for `make` alone. */
  readonly filename: string
  /**
   * WAL pages after which a commit checkpoints, default 1000, SQLite's own. With 0 the log grows until
   * somebody says `wal_checkpoint`, as sealog does for its mirror.
   */
  readonly autocheckpointPages?: number | undefined
  /**
   * How long a statement waits for another process, default 0. SQLite waits with the event loop
   * stopped, so `Effect.retry` on `LockTimeoutError` is mostly the better wait.
   */
  readonly busyMillis?: number | undefined
  /** Prepared statements kept per connection, default 200. */
  readonly statementsMax?: number | undefined
  readonly spanAttributes?: { readonly [name: string]: unknown } | undefined
}

/** What `layerReadOnly` opens, and how. */
export interface ReadOnlyOptions extends Options {
  /**
   * The file cannot change while it is open and is read as it lies, without locks and without
   * its -wal: for a directory that cannot be written. Commits still in a -wal are not seen.
   */
  readonly immutable?: boolean | undefined
}

/** What carries the statements: `NodeConnection`, or for tests one that fails on demand. */
type ConnectionClass = typeof NodeConnection

type Client = Effect.Effect<
  SqlClient.SqlClient,
  SqlError.SqlError,
  Scope.Scope | Reactivity.Reactivity
>

/**
 * The writing client of a database file, made where it is missing. Statements, streams and
 * transactions take turns on its one connection; while a stream is open, other fibers wait.
 */
export const make: (options: Options, Connection?: ConnectionClass) => Client = Effect.fnUntraced(
  function* (options, Connection = NodeConnection) {
    const connection = yield* Effect.acquireRelease(openWriter(options, Connection), close)
    const acquirers = SqlClient.makeSqliteAcquirers({
      connection: Effect.succeed(connection),
      semaphore: Semaphore.makeUnsafe(1),
      isTransaction: ({ db }) => db.isTransaction
    })
    const client = yield* SqlClient.make({
      ...acquirers,
      // What lends its connection to others does so inside a transaction.
      isTransaction: (lent) => !(lent instanceof NodeConnection) || lent.db.isTransaction,
      transactionAcquirer: Effect.tap(acquirers.transactionAcquirer, () =>
        Effect.addFinalizer(() => Effect.sync(() => connection.leaseEnded()))
      ),
      beginTransaction: "BEGIN IMMEDIATE",
      ...common(options)
    })
    const { reserve, transactionService } = client
    // Who has the one connection would wait for himself.
    return Object.assign(client, {
      reserve: Effect.flatMap(
        Effect.serviceOption(transactionService),
        Option.match({ onNone: () => reserve, onSome: ([open]) => Effect.succeed(open) })
      )
    })
  }
)

/**
 * The reading client of an existing database file. Statements run at once and see the last
 * commit; each stream and each transaction has its own connection and sees one moment throughout.
 */
export const makeReadOnly: (options: ReadOnlyOptions, Connection?: ConnectionClass) => Client =
  Effect.fnUntraced(function* (options, Connection = NodeConnection) {
    const shared = yield* Effect.acquireRelease(openReader(options, Connection), close)
    const idle: Array<NodeConnection> = []
    let closed = false
    yield* Effect.addFinalizer(() => {
      closed = true
      return Effect.forEach(idle, close, { discard: true })
    })
    const acquirer = Effect.acquireRelease(
      Effect.suspend(() => {
        const connection = idle.pop()
        return connection === undefined
          ? openReader(options, Connection)
          : Effect.succeed(connection)
      }),
      (connection) => {
        const reusable = !closed && idle.length < IDLE_READERS_MAX && !connection.db.isTransaction
        return reusable ? Effect.sync(() => void idle.push(connection)) : close(connection)
      }
    )
    return yield* SqlClient.make({
      acquirer,
      borrower: (use) => use(shared),
      isTransaction: (connection) =>
        connection instanceof NodeConnection && connection.db.isTransaction,
      ...common(options)
    })
  })

/**
 * Both clients of one database file, made where it is missing. Fails with `SqlError`:
 * `ConnectionError` where the file cannot be opened or is none; a file that is no database
 * is an `UnknownError` whose `cause.errcode` is 26.
 */
export const layer = (
  options: Options,
  Connection: ConnectionClass = NodeConnection
): Layer.Layer<SqlClient.SqlClient | ReadSql, SqlError.SqlError> =>
  Layer.effectContext(
    Effect.gen(function* () {
      if (options.filename === MEMORY) {
        return yield* openError(options.filename, new Error("two connections need a file"))
      }
      const writer = yield* make(options, Connection)
      const reader = yield* makeReadOnly(options, Connection)
      return Context.make(SqlClient.SqlClient, writer).pipe(Context.add(ReadSql, reader))
    })
  ).pipe(Layer.provide(Reactivity.layer))

/**
 * The reading client of an existing database file, in both places; nothing can be written. SQLite
 * may leave an empty -wal and a -shm beside the file; `immutable` leaves nothing.
 */
export const layerReadOnly = (
  options: ReadOnlyOptions,
  Connection: ConnectionClass = NodeConnection
): Layer.Layer<SqlClient.SqlClient | ReadSql, SqlError.SqlError> =>
  Layer.effectContext(
    Effect.map(makeReadOnly(options, Connection), (reader) =>
      Context.make(SqlClient.SqlClient, reader).pipe(Context.add(ReadSql, reader))
    )
  ).pipe(Layer.provide(Reactivity.layer))

const MEMORY = ":memory:"
const IDLE_READERS_MAX = 4
const STATEMENTS_MAX = 200
const AUTOCHECKPOINT_PAGES = 1000

// Another process that closes the last connection empties the WAL under an exclusive lock: a
// moment that only opening runs into.
const OPEN_BUSY_MILLIS = 1000

const common = (options: Options) => ({
  compiler: Statement.makeCompilerSqlite(),
  driver: "sealog-sqlite",
  prepareTransactionControls: true,
  releaseSavepoint: (name: string) => `RELEASE SAVEPOINT ${name}`,
  spanAttributes: Object.entries({ ...options.spanAttributes, "db.system.name": "sqlite" })
})

const close = (connection: NodeConnection) => Effect.sync(() => connection.db.close())

const openWriter = (options: Options, Connection: ConnectionClass) =>
  opening(options, () => {
    const inMemory = options.filename === MEMORY
    if (!inMemory) prepareFile(options.filename)
    return connect(Connection, options, inMemory ? MEMORY : Path.resolve(options.filename), false, [
      "PRAGMA synchronous=NORMAL",
      "PRAGMA foreign_keys=ON",
      `PRAGMA wal_autocheckpoint=${options.autocheckpointPages ?? AUTOCHECKPOINT_PAGES}`
    ])
  })

const openReader = (options: ReadOnlyOptions, Connection: ConnectionClass) =>
  opening(options, () => {
    refuseUnfit(options.filename)
    const path = Path.resolve(options.filename)
    const url = pathToFileURL(path)
    url.searchParams.set("immutable", "1")
    // A path wherever it will do: Deno takes a URL for a path unless all permissions are granted.
    const location = options.immutable === true ? url : path
    return connect(Connection, options, location, true, ["PRAGMA query_only=ON"])
  })

const opening = (options: Options, open: () => NodeConnection) =>
  Effect.try({ try: open, catch: (cause) => openError(options.filename, cause) })

const prepareFile = (filename: string): void => {
  refuseUnfit(filename)
  const created = create(filename)
  if (created !== undefined) fs.closeSync(created)
  // SQLite opens a file it may not write for reading, and would say so at the first write only.
  fs.accessSync(filename, fs.constants.W_OK)
}

const refuseUnfit = (filename: string): void => {
  for (const path of [filename, `${filename}-wal`, `${filename}-shm`, `${filename}-journal`]) {
    const found = look(path)
    const reason = found === undefined ? undefined : unfit(found)
    if (reason !== undefined) throw new Error(`${path} ${reason}`)
  }
}

const connect = (
  Connection: ConnectionClass,
  options: Options,
  location: string | URL,
  readOnly: boolean,
  pragmas: ReadonlyArray<string>
): NodeConnection => {
  const db = new DatabaseSync(location, { readOnly, timeout: OPEN_BUSY_MILLIS })
  try {
    const read = (sql: string) => Object.values(db.prepare(sql).get() ?? {})[0]
    if (!readOnly) {
      const mode = read("PRAGMA journal_mode=WAL")
      if (mode !== "wal" && location !== MEMORY) throw new Error(`no WAL mode here, only ${mode}`)
    }
    for (const pragma of pragmas) read(pragma)
    read("SELECT count(*) FROM sqlite_schema")
    read(`PRAGMA busy_timeout=${options.busyMillis ?? 0}`)
    return new Connection(db, options.filename, options.statementsMax ?? STATEMENTS_MAX)
  } catch (cause) {
    db.close()
    throw cause
  }
}
