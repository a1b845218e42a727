/**
 * Internal: one `node:sqlite` connection as effect/sql's `Connection`.
 *
 * Each statement runs to its end in one synchronous call, so none interleave; only a stream stays
 * open between pulls. Where a runtime takes an error amid an iteration for the end of the rows
 * (Deno 2.9), a stream reads all its rows when it opens: no constant memory, but no silent cut.
 *
 * What may never change: a store must not bend what it is given, so what `node:sqlite` would bend
 * is refused: a leading object (bound as NAMED parameters, so a Date becomes NULL), NaN (NULL), a
 * lone surrogate (U+FFFD), a NUL (Deno cuts there when reading). What comes under the names of a
 * table that has been made anew since (Deno again) is read once more. When an error made SQLite roll
 * back (full disk, RAISE(ROLLBACK)), what follows would commit one by one: refused, too.
 */
import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from "node:sqlite"
import { Array as Arr, Cause, Effect, Stream } from "effect"
import { hasProperty } from "effect/Predicate"
import type * as Pull from "effect/Pull"
import { SqlClient, SqlError } from "effect/sql"
import type { SqlConnection } from "effect/sql"
import { iterationTellsErrors, namesFollowTables } from "./sqliteRuntime.ts"

type TransformRows = Parameters<SqlConnection.Connection["execute"]>[2]
type Row = Record<string, SQLOutputValue>
type Rows = Arr.NonEmptyReadonlyArray<Row>

interface Prepared {
  readonly statement: StatementSync
  readonly returnsRows: boolean
  /** The names of its columns when it ran, where they have to be compared. */
  names: string | undefined
}

// The statement is held as long as its rows are: runtimes have collected it under an iterator.
interface Iteration {
  readonly statement: StatementSync
  readonly rows: Iterator<Row>
}

const STREAM_ROWS = 256
const SQL_SHOWN_CHARS = 200

/** A connection, which takes over `db`; `filename` is for messages. */
export class NodeConnection implements SqlConnection.Connection {
  readonly db: DatabaseSync
  readonly #filename: string
  readonly #statementsMax: number
  readonly #statements = new Map<string, Prepared>()
  #rolledBackBy: unknown
  #wasInTransaction = false

  constructor(db: DatabaseSync, filename: string, statementsMax: number) {
    this.db = db
    this.#filename = filename
    this.#statementsMax = statementsMax
  }

  /** Whoever comes next begins a new transaction: one that was left open or lost is forgotten. */
  leaseEnded(): void {
    if (this.db.isOpen && this.db.isTransaction) this.db.exec("ROLLBACK")
    this.#rolledBackBy = undefined
    this.#wasInTransaction = false
  }

  execute(sql: string, params: ReadonlyArray<unknown>, transformRows: TransformRows) {
    const rows = this.#run(sql, () => this.#kept(sql), params, allRows)
    return transformRows === undefined ? rows : Effect.map(rows, transformRows)
  }

  executeUnprepared(sql: string, params: ReadonlyArray<unknown>, transformRows: TransformRows) {
    const rows = this.#run(sql, () => this.#prepare(sql), params, allRows)
    return transformRows === undefined ? rows : Effect.map(rows, transformRows)
  }

  executeRaw(sql: string, params: ReadonlyArray<unknown>) {
    return this.#run(sql, () => this.#kept(sql), params, rawResult)
  }

  executeValues(sql: string, params: ReadonlyArray<unknown>) {
    return this.#run(sql, () => this.#kept(sql), params, allValues)
  }

  executeValuesUnprepared(sql: string, params: ReadonlyArray<unknown>) {
    return this.#run(sql, () => this.#prepare(sql), params, allValues)
  }

  executeStream(sql: string, params: ReadonlyArray<unknown>, transformRows: TransformRows) {
    // A statement of its own: a kept one would be reset by whoever runs the same text meanwhile.
    const begun = this.#run(sql, () => this.#prepare(sql), params, iterate)
    const opened = Effect.acquireRelease(begun, ({ rows }) =>
      Effect.sync(() => {
        if (this.db.isOpen) rows.return?.()
      })
    )
    return Stream.unwrap(
      Effect.map(opened, (iteration) => {
        const pull = this.#pull(sql, iteration)
        return Stream.fromPull(
          Effect.succeed(
            transformRows === undefined ? pull : Effect.map(pull, nonEmpty(transformRows))
          )
        )
      })
    )
  }

  #pull(sql: string, iteration: Iteration): Pull.Pull<Rows, SqlError.SqlError> {
    // Node 22 starts the query again when it is asked once more after the end.
    let ended = false
    return Effect.suspend((): Pull.Pull<Rows, SqlError.SqlError> => {
      const chunk: Array<Row> = []
      try {
        while (!ended && chunk.length < STREAM_ROWS) {
          const next = iteration.rows.next()
          if (next.done === true) ended = true
          else chunk.push(next.value)
        }
      } catch (cause) {
        return Effect.fail(this.#failure("read from a stream", sql, cause))
      }
      return Arr.isArrayNonEmpty(chunk) ? Effect.succeed(chunk) : Cause.done()
    })
  }

  #run<A>(
    sql: string,
    prepared: () => Prepared,
    params: ReadonlyArray<unknown>,
    use: (prepared: Prepared, values: ReadonlyArray<SQLInputValue>) => A
  ): Effect.Effect<A, SqlError.SqlError> {
    return Effect.withFiber((fiber) => {
      const inTransaction = this.db.isOpen && this.db.isTransaction
      try {
        if (this.#wasInTransaction && !inTransaction) this.#rolledBackBy ??= vanished()
        if (this.#rolledBackBy !== undefined) throw rolledBack(this.#rolledBackBy)
        const found = prepared()
        found.statement.setReadBigInts(fiber.getRef(SqlClient.SafeIntegers))
        const used = use(found, bindable(params))
        this.#wasInTransaction = this.db.isTransaction
        return Effect.succeed(used)
      } catch (cause) {
        if (inTransaction && !this.db.isTransaction) this.#rolledBackBy = cause
        return Effect.fail(this.#failure("run a statement", sql, cause))
      }
    })
  }

  #prepare(sql: string): Prepared {
    const statement = this.db.prepare(sql)
    const returnsRows = statement.columns().length > 0
    const names = mayBeMisnamed(sql) ? namesOf(statement) : undefined
    return { statement, returnsRows, names }
  }

  #kept(sql: string): Prepared {
    const found = this.#statements.get(sql)
    if (found !== undefined) {
      this.#statements.delete(sql)
      this.#statements.set(sql, found)
      return found
    }
    const prepared = this.#prepare(sql)
    this.#statements.set(sql, prepared)
    if (this.#statements.size > this.#statementsMax) {
      for (const oldest of this.#statements.keys()) {
        this.#statements.delete(oldest)
        break
      }
    }
    return prepared
  }

  #failure(operation: string, sql: string, cause: unknown): SqlError.SqlError {
    const shown = sql.length > SQL_SHOWN_CHARS ? `${sql.slice(0, SQL_SHOWN_CHARS)}...` : sql
    const where = `${operation} on ${this.#filename}`
    const message = `SQLite could not ${where}: ${text(cause)}; in: ${shown}`
    return new SqlError.SqlError({
      reason: SqlError.classifySqliteError(withErrno(cause), { message, operation })
    })
  }
}

/**
 * The error of a database that cannot be opened. What has no SQLite code is a `ConnectionError`:
 * Deno gives none to a failed open, and the checks before it have none.
 */
export const openError = (filename: string, cause: unknown): SqlError.SqlError => {
  const operation = "open"
  const message = `SQLite could not open ${filename}: ${text(cause)}`
  return new SqlError.SqlError({
    reason: hasProperty(cause, "errcode")
      ? SqlError.classifySqliteError(withErrno(cause), { message, operation })
      : new SqlError.ConnectionError({ cause, message, operation })
  })
}

const text = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

// effect/sql classifies by `errno`, as other drivers name it.
const withErrno = (cause: unknown): unknown => {
  const errcode = hasProperty(cause, "errcode") ? cause.errcode : undefined
  return typeof errcode === "number" && cause instanceof Error
    ? Object.assign(cause, { errno: errcode })
    : cause
}

const vanished = (): Error => new Error("it ended by itself")

const rolledBack = (cause: unknown): Error =>
  new Error("the transaction was rolled back by an earlier error, begin a new one", { cause })

/** Whether a table that is made anew could change what its columns are; what writes runs once. */
const mayBeMisnamed = (sql: string): boolean =>
  sql.includes("*") && !/\breturning\b/i.test(sql) && !namesFollowTables()

const namesOf = (statement: StatementSync): string =>
  JSON.stringify(statement.columns().map(({ name }) => name))

/** Its rows, read again where they have come under the names of before. */
const read = (prepared: Prepared, values: ReadonlyArray<SQLInputValue>): Array<Row> => {
  const { names, statement } = prepared
  const rows = statement.all(...values)
  if (names === undefined) return rows
  prepared.names = namesOf(statement)
  return prepared.names === names ? rows : read(prepared, values)
}

const allRows = (prepared: Prepared, values: ReadonlyArray<SQLInputValue>): ReadonlyArray<Row> => {
  if (prepared.returnsRows) return read(prepared, values)
  prepared.statement.run(...values)
  return []
}

const rawResult = (prepared: Prepared, values: ReadonlyArray<SQLInputValue>): unknown =>
  prepared.returnsRows ? read(prepared, values) : prepared.statement.run(...values)

const allValues = (
  prepared: Prepared,
  values: ReadonlyArray<SQLInputValue>
): ReadonlyArray<ReadonlyArray<unknown>> => {
  prepared.statement.setReturnArrays(true)
  try {
    // `all` is typed for objects whatever `setReturnArrays` says; its rows are arrays here.
    const rows: unknown = allRows(prepared, values)
    return rows as ReadonlyArray<ReadonlyArray<unknown>>
  } finally {
    prepared.statement.setReturnArrays(false)
  }
}

const iterate = (prepared: Prepared, values: ReadonlyArray<SQLInputValue>): Iteration => ({
  statement: prepared.statement,
  rows: iterationTellsErrors()
    ? prepared.statement.iterate(...values)
    : read(prepared, values)[Symbol.iterator]()
})

const nonEmpty =
  (transformRows: NonNullable<TransformRows>) =>
  (rows: Rows): Rows => {
    const transformed = transformRows(rows)
    if (Arr.isReadonlyArrayNonEmpty(transformed)) return transformed
    throw new Error("a row transformation must keep every row")
  }

const bindable = (params: ReadonlyArray<unknown>): ReadonlyArray<SQLInputValue> =>
  params.map(bindableValue)

const bindableValue = (value: unknown, index: number): SQLInputValue => {
  switch (typeof value) {
    case "string": {
      if (value.includes("\0")) throw unbindable(index, "a string with a NUL")
      if (!value.isWellFormed()) throw unbindable(index, "a string with a lone surrogate")
      return value
    }
    case "number": {
      if (Number.isNaN(value)) throw unbindable(index, "NaN")
      return value
    }
    case "bigint":
      return value
    case "boolean":
      return value ? 1 : 0
    default: {
      if (value === null || value instanceof Uint8Array) return value
      throw unbindable(index, value instanceof Date ? "a Date" : `of type ${typeof value}`)
    }
  }
}

const unbindable = (index: number, found: string): TypeError =>
  new TypeError(
    `parameter ${index + 1} is ${found}, which SQLite would not give back as it is; ` +
      `give a well-formed string, a number, a bigint, a boolean, a Uint8Array or null`
  )
