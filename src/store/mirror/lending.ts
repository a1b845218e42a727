/**
 * Internal: the connection of the writer's transaction, lent to code of an application.
 *
 * What it runs is read first: a statement that reads, or writes a table that the borrower has. By
 * SQLite's grammar what begins with SELECT or VALUES only reads, and a statement prepared here ends at
 * its semicolon; elsewhere names behind the words that write are looked at. Savepoints are those of
 * effect's own nested transactions. It is a guard against mistakes: who means harm is in this process.
 */
import { Effect, Exit, Option, Scope, Stream } from "effect"
import type { SqlClient } from "effect/sql"
import type { Connection } from "effect/sql/SqlConnection"
import { SqlError, SqlSyntaxError } from "effect/sql/SqlError"

/**
 * Strings and names in any of SQLite's quotes, comments, words, and what stands alone. A choice for
 * each character of a string would overflow the stack where it is long.
 */
const tokens =
  /'[^']*(?:''[^']*)*'|"[^"]*(?:""[^"]*)*"|`[^`]*(?:``[^`]*)*`|\[[^\]]*\]|--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|\ufeff|[\w$\u0080-\uffff]+|\S/g
const isSpare = (token: string) => /^(?:--|\/\*|\ufeff)/.test(token)
const nested = /^(?:SAVEPOINT|RELEASE SAVEPOINT|ROLLBACK TO SAVEPOINT) effect_sql_\d+$/
const allowed = new Set(["select", "with", "values", "insert", "replace", "update", "delete"])
/** What stands before the name of the table, in each statement that writes. */
const writes: { readonly [word: string]: string | undefined } = {
  insert: "into",
  replace: "into",
  delete: "from",
  update: ""
}

const textsMax = 1000

/** A name without its quotes; SQLite takes those of a string for them too. */
const nameOf = (token: string): string => {
  const quote = token.charAt(0)
  if (quote === "[") return token.slice(1, -1)
  return /['"`]/.test(quote) ? token.slice(1, -1).replaceAll(quote + quote, quote) : token
}

/** What a statement does that who has these tables may not; nothing where it may. */
export const forbidden = (text: string, tables: ReadonlyArray<string>): string | undefined => {
  if (nested.test(text)) return undefined
  const code = (text.match(tokens) ?? []).filter((token) => !isSpare(token))
  const word = (at: number) => code[at]?.toLowerCase() ?? ""
  if (!allowed.has(word(0))) return `a statement that begins with ${code[0] ?? "nothing"}`
  for (let at = 0; at < code.length; at++) {
    const before = Object.hasOwn(writes, word(at)) ? writes[word(at)] : undefined
    if (before === undefined) continue
    const isResolved = word(at + 1) === "or"
    // It would end the transaction of the append.
    if (isResolved && word(at + 2) === "rollback") return "a write that may roll back"
    let place = at + (isResolved ? 3 : 1)
    if (before !== "" && word(place++) !== before) continue
    // The rows of an upsert are those of its own table.
    if (before === "" && word(place) === "set") continue
    const name = (nth: number) => nameOf(code[nth] ?? "").toLowerCase()
    if (name(place) === "main" && code[place + 1] === ".") place += 2
    if (!tables.includes(name(place)) || code[place + 1] === ".") {
      return `a write to ${code.slice(place, place + (code[place + 1] === "." ? 3 : 1)).join("")}`
    }
  }
  return undefined
}

/** The connection of the open transaction, lent for one answer. */
interface Lent {
  readonly connection: Connection
  /** What the borrower has left running can use it no more; streams that are open are closed. */
  readonly end: Effect.Effect<void>
}

/** Runs what a connection is lent to; its answer, once it has it no more. */
export type Lending = <A, E, R>(
  sql: SqlClient.SqlClient,
  transaction: readonly [Connection, depth: number],
  borrower: Effect.Effect<A, E, R>
) => Effect.Effect<Exit.Exit<A, E>, never, R>

/** The transaction that is open, whose connection can be lent. */
export const openOn = (
  sql: SqlClient.SqlClient
): Effect.Effect<readonly [Connection, depth: number]> =>
  Effect.flatMap(
    Effect.serviceOption(sql.transactionService),
    Option.match({
      onNone: () => Effect.die(new Error("no transaction is open")),
      onSome: (open) => Effect.succeed(open)
    })
  )

const refused = (message: string): SqlError =>
  new SqlError({
    reason: new SqlSyntaxError({ cause: new Error(message), message, operation: "run a statement" })
  })

/** Lends the connection of the open transaction to who has these tables; `whom` is for messages. */
export const lending = (whom: string, tables: ReadonlyArray<string>): Lending => {
  const lend = lender(whom, tables)
  return (sql, [connection, depth], borrower) =>
    Effect.suspend(() => {
      const lent = lend(connection)
      return borrower.pipe(
        Effect.provideService(sql.transactionService, [lent.connection, depth]),
        Effect.exit,
        Effect.flatMap((answer) => Effect.as(lent.end, answer))
      )
    })
}

const lender = (
  whom: string,
  tables: ReadonlyArray<string>
): ((connection: Connection) => Lent) => {
  const known = new Map<string, string | undefined>()
  const wrongIn = (text: string): string | undefined => {
    if (known.has(text)) return known.get(text)
    const wrong = forbidden(text, tables)
    // Texts that hold their values are many.
    if (known.size >= textsMax) known.clear()
    known.set(text, wrong)
    return wrong
  }
  return (connection) => {
    let isOver = false
    let streams: Scope.Closeable | undefined
    const checked = <A, E, R>(
      text: string,
      run: () => Effect.Effect<A, E, R>
    ): Effect.Effect<A, E | SqlError, R> =>
      Effect.suspend((): Effect.Effect<A, E | SqlError, R> => {
        const wrong = isOver ? "a statement after its event" : wrongIn(text)
        return wrong === undefined ? run() : Effect.fail(refused(`${wrong} is not for ${whom}`))
      })
    /** A stream in the borrower's scope, which may be open longer than the connection is lent. */
    const opened = Effect.fnUntraced(function* <A>(
      text: string,
      stream: Stream.Stream<A, SqlError>
    ) {
      streams ??= Scope.makeUnsafe()
      const own = yield* Effect.acquireRelease(Scope.fork(streams), Scope.close)
      const pull = yield* Scope.provide(Stream.toPull(stream), own)
      // What was closed under it would look like the end of its rows.
      return Stream.fromPull(Effect.succeed(checked(text, () => pull)))
    })
    const guarded: Connection = {
      execute: (text, params, transform) =>
        checked(text, () => connection.execute(text, params, transform)),
      executeRaw: (text, params) => checked(text, () => connection.executeRaw(text, params)),
      executeStream: (text, params, transform) =>
        Stream.unwrap(
          checked(text, () => opened(text, connection.executeStream(text, params, transform)))
        ),
      executeValues: (text, params) => checked(text, () => connection.executeValues(text, params)),
      executeValuesUnprepared: (text, params) =>
        checked(text, () => connection.executeValuesUnprepared(text, params)),
      executeUnprepared: (text, params, transform) =>
        checked(text, () => connection.executeUnprepared(text, params, transform))
    }
    return {
      connection: guarded,
      end: Effect.suspend(() => {
        isOver = true
        return streams === undefined ? Effect.void : Scope.close(streams, Exit.void)
      })
    }
  }
}
