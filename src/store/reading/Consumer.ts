/**
 * Consumers: an effect for each event, and a position kept where the effect is.
 *
 *   inSql    in the transaction of the effect, in the table sealog_consumers (name, seq, leaf_hash) of
 *            the application's own database: what the effect does there is done exactly once
 *   inFile   in a file {"seq":…,"leaf_hash":"…"}, durable after the effect: at least once
 *
 * Neither ever ends by itself. The position never lies in the ledger's mirror, which can be made anew.
 */
import { Effect, Path, Schedule, Schema, Stream } from "effect"
import type { FileSystem } from "effect"
import { SqlClient } from "effect/sql"
import { SqlError } from "effect/sql/SqlError"
import * as Chain from "../../core/Chain.ts"
import type { Position } from "../../core/Event.ts"
import type { AnyKind } from "../../core/Kind.ts"
import { RolledBack } from "./CutHistory.ts"
import * as durable from "../journal/durable.ts"
import { JournalError } from "../errors.ts"
import type { Changes, PositionError, Read, ReadError, ReadUndecodable } from "./Reader.ts"
import { Reader } from "./Reader.ts"

/** Which events a consumer is given, and what it does when some of them were cut. */
export interface Which<out K extends AnyKind = never, E = never, R = never> extends Omit<
  Changes<K>,
  "after"
> {
  /**
   * Where a consumer begins that has no position yet: with the first row, with what comes after the
   * head as it is then, or behind a position. Whoever has one goes on from there. Default `start`.
   */
  readonly from?: "start" | "head" | Position | undefined
  /**
   * Forget what was derived beyond `to`; then the consumer goes on from there. In SQL it runs in the
   * transaction that takes the position back. Without it the consumer ends with `RolledBack`.
   */
  readonly onRolledBack?: ((rolledBack: RolledBack) => Effect.Effect<unknown, E, R>) | undefined
}

/** Why following ends, whatever is done with the events. */
type FollowError<K> = PositionError | ReadError | ReadUndecodable<K>

/** What comes: some events, or the news that some were cut. */
type Come<K> =
  | { readonly _tag: "Events"; readonly events: ReadonlyArray<Read<K>> }
  | { readonly _tag: "Cut"; readonly error: RolledBack }

/** Events of both forms have a position; TypeScript does not look into a condition on `K`. */
const positionOf = <K>(event: Read<K>): Position =>
  (event as { readonly position: Position }).position

/** What comes behind a position, up to the next rollback, which is the last that comes. */
const coming = <K extends AnyKind, E, R>(
  reader: Reader["Service"],
  which: Which<K, E, R>,
  after: Position
) =>
  reader.changes<K>({ ...which, after }).pipe(
    Stream.mapArray((events): readonly [Come<K>] => [{ _tag: "Events", events }]),
    Stream.catchIf(
      (error): error is RolledBack => error instanceof RolledBack,
      (error) => Stream.succeed<Come<K>>({ _tag: "Cut", error })
    )
  )

/** Forget what was cut, where the application says how. */
const forget = <K extends AnyKind, E, R>(
  { onRolledBack }: Which<K, E, R>,
  error: RolledBack
): Effect.Effect<unknown, E | RolledBack, R> =>
  onRolledBack === undefined ? Effect.fail(error) : onRolledBack(error)

/** The position of a consumer that has none yet; one that never was is told before it is kept. */
const firstPosition = Effect.fnUntraced(function* <K extends AnyKind, E, R>(
  reader: Reader["Service"],
  { from = "start" }: Which<K, E, R>
) {
  if (from === "start") return Chain.start
  if (from === "head") return yield* reader.head
  // One that was cut is for `onRolledBack`, as with every consumer that has it.
  yield* Effect.catchTag(reader.page({ after: from, limit: 1 }), "RolledBack", () => Effect.void)
  return from
})

interface Row {
  readonly seq: unknown
  readonly leaf_hash: unknown
}

/** What is no position was never one of any ledger: whoever follows from there is told so. */
const positionIn = ({ leaf_hash, seq }: Row): Position => {
  const number = Number(seq)
  return { seq: Number.isSafeInteger(number) ? number : -1, leafHash: String(leaf_hash) }
}

/** The position of a consumer, and how to move it: false where another one of its name has. */
const makeTable = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, name: string) {
  yield* sql`CREATE TABLE IF NOT EXISTS sealog_consumers (
    name TEXT PRIMARY KEY, seq BIGINT NOT NULL, leaf_hash TEXT NOT NULL)`
  const kept = Effect.map(
    sql<Row>`SELECT seq, leaf_hash FROM sealog_consumers WHERE name = ${name}`,
    ([row]) => (row === undefined ? undefined : positionIn(row))
  )
  /** Keep the first position, where nobody has meanwhile. */
  const begin = ({ leafHash, seq }: Position) =>
    sql`INSERT INTO sealog_consumers (name, seq, leaf_hash)
      VALUES (${name}, ${seq}, ${leafHash}) ON CONFLICT (name) DO NOTHING`
  const move = (from: Position, to: Position) =>
    Effect.map(
      sql<{ readonly name: string }>`UPDATE sealog_consumers
        SET seq = ${to.seq}, leaf_hash = ${to.leafHash}
        WHERE name = ${name} AND seq = ${from.seq} AND leaf_hash = ${from.leafHash} RETURNING name`,
      ({ length }) => length === 1
    )
  return { kept, begin, move }
})

/** Somebody else has the database: as soon as he is done, at most so long after. */
const untilFree = Schedule.min([Schedule.exponential("5 millis"), Schedule.spaced("100 millis")])

const isLocked = (error: unknown): boolean =>
  error instanceof SqlError && error.reason._tag === "LockTimeoutError"

/** Again, where the database is held by another client of it, as long as nothing was done yet. */
const retrying = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  isUndone: () => boolean = () => true
): Effect.Effect<A, E, R> =>
  Effect.retry(effect, { schedule: untilFree, while: (error) => isLocked(error) && isUndone() })

/**
 * Run an effect for each event, in a transaction of the `SqlClient` in scope that also moves the
 * consumer's position: what the effect does through that client is done exactly once, whatever
 * crashes, also where two consumers of one name run at once. Of two names each gets every event.
 * While another client of that database holds it, the consumer tries again before each event; what
 * the effect itself runs into is the effect's.
 */
export const inSql = <E, R, K extends AnyKind = never, E2 = never, R2 = never>(
  name: string,
  handler: (event: Read<K>) => Effect.Effect<unknown, E, R>,
  which: Which<K, E2, R2> = {}
): Effect.Effect<
  never,
  E | E2 | FollowError<K> | SqlError,
  R | R2 | Reader | SqlClient.SqlClient
> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const reader = yield* Reader
    const { begin, kept, move } = yield* retrying(makeTable(sql, name))
    // The position moves first: whoever else has this name waits for it, and then finds it moved.
    const moving = <A, E, R>(from: Position, to: Position, then: Effect.Effect<A, E, R>) =>
      Effect.suspend(() => {
        let isUndone = true
        const own = Effect.suspend(() => {
          isUndone = false
          return Effect.as(then, true)
        })
        return retrying(
          sql.withTransaction(Effect.flatMap(move(from, to), (isOurs) => (isOurs ? own : isMoved))),
          () => isUndone
        )
      })
    const isMoved = Effect.succeed(false)
    // Each time: one that somebody has removed could be moved no more.
    const load = Effect.gen(function* () {
      const found = yield* kept
      if (found !== undefined) return found
      const first = yield* firstPosition(reader, which)
      yield* begin(first)
      return (yield* kept) ?? first
    })
    return yield* Effect.gen(function* () {
      let at = yield* retrying(load)
      const take = Effect.fnUntraced(function* (come: Come<K>) {
        if (come._tag === "Cut") {
          yield* moving(at, come.error.to, forget(which, come.error))
          return false
        }
        for (const event of come.events) {
          const to = positionOf<K>(event)
          if (!(yield* moving(at, to, handler(event)))) return false
          at = to
        }
        return true
      })
      yield* coming(reader, which, at).pipe(
        Stream.mapEffect(take),
        Stream.takeWhile((goesOn) => goesOn),
        Stream.runDrain
      )
    }).pipe(Effect.forever)
  }).pipe(Effect.withSpan("Consumer.inSql"))

const Stored = Schema.fromJsonString(
  Schema.Struct({ seq: Schema.Natural, leaf_hash: Schema.String })
)
const decode = Schema.decodeUnknownOption(Stored, { onExcessProperty: "error" })

/** The position that a file holds, where there is one. */
const read = Effect.fnUntraced(function* (path: string) {
  if ((yield* durable.kindAt(path)) === undefined) return undefined
  const text = yield* durable.readSmall(path)
  const stored = decode(text)
  if (stored._tag === "Some") return { seq: stored.value.seq, leafHash: stored.value.leaf_hash }
  return yield* new JournalError({
    operation: "read the position of a consumer",
    path,
    code: null,
    cause: new Error("it holds no position"),
    hint: "It is none of a consumer, or was changed: find out, then remove it to begin anew."
  })
})

const write = (path: string, { leafHash, seq }: Position) =>
  durable.writeFile(
    path,
    new TextEncoder().encode(`${JSON.stringify({ seq, leaf_hash: leafHash })}\n`)
  )

/**
 * Run an effect for each event, and keep the position in a file once it is done, durable before the
 * next page: each event is handled at least once. After a crash some are handled again, a page of
 * 256 at most; so the effect should be one that may be done twice. One consumer to a file.
 */
export const inFile = <E, R, K extends AnyKind = never, E2 = never, R2 = never>(
  path: string,
  handler: (event: Read<K>) => Effect.Effect<unknown, E, R>,
  which: Which<K, E2, R2> = {}
): Effect.Effect<
  never,
  E | E2 | FollowError<K>,
  R | R2 | Reader | FileSystem.FileSystem | Path.Path
> =>
  Effect.gen(function* () {
    const reader = yield* Reader
    const file = (yield* Path.Path).resolve(path)
    const load = Effect.gen(function* () {
      const found = yield* read(file)
      if (found !== undefined) return found
      const first = yield* firstPosition(reader, which)
      // Else the head would be another one when it is run again.
      yield* write(file, first)
      return first
    })
    return yield* Effect.gen(function* () {
      const take = Effect.fnUntraced(function* (come: Come<K>) {
        if (come._tag === "Cut") {
          yield* forget(which, come.error)
          yield* write(file, come.error.to)
          return
        }
        let done: Position | undefined
        const all = Effect.gen(function* () {
          for (const event of come.events) {
            yield* handler(event)
            done = positionOf<K>(event)
          }
        })
        // What was handled before one failed is not handled again.
        yield* Effect.onExit(all, () => (done === undefined ? Effect.void : write(file, done)))
      })
      yield* Stream.runForEach(coming(reader, which, yield* load), take)
    }).pipe(Effect.forever)
  }).pipe(Effect.withSpan("Consumer.inFile"))
