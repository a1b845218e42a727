/**
 * What keys, expectations and followers cost an append, and what following costs a reader.
 *
 * Each contestant has a ledger of its own, so that all meet the same disk and none the others' rows.
 */
import { Context, Effect, Layer, Stream } from "effect"
import * as path from "node:path"
import type { Event } from "../src/index.ts"
import { Ledger } from "../src/index.ts"
import { SealogNode } from "../src/platform/index.ts"
import type { Contest, Contestant, Rounds } from "./contest.ts"
import * as contest from "./contest.ts"
import * as rows from "./rows.ts"
import { sure } from "./turns.ts"

type Opened = Ledger.Ledger["Service"]

const open = (directory: string) =>
  Effect.map(Layer.build(SealogNode.layer({ directory })), (context) =>
    Context.get(context, Ledger.Ledger)
  )

const waitingMany = 64
const readRows = 20_000
const groupRows = 500

/** Two keys of an appender that nobody else has. */
const keysOf = (appender: number) => ({ account: `account-${appender}`, host: `host-${appender}` })

/** How an appender appends one row after the other: what it expects of the row before. */
interface Manner {
  readonly isKeyed?: boolean
  readonly expecting?: (appender: number, last: Event.Position) => Ledger.Expectation
  /** Whether a follower in the same process must have had the last row, too. */
  readonly isFollowed?: boolean
}

/** Appenders that wait each for its own rows, all at the same time. */
const appending = (
  name: string,
  ledger: Opened,
  waiting: number,
  count: number,
  { expecting, isFollowed = false, isKeyed = false }: Manner = {}
): Contestant => {
  let first = 0
  const turn: Contestant["turn"] = (watch) =>
    Effect.gen(function* () {
      const drafts = rows.drafts(first, count)
      first += count
      const begun = yield* ledger.head
      const appender = (nth: number) =>
        Effect.gen(function* () {
          let last: Event.Position = begun
          for (let at = nth; at < count; at += waiting) {
            const draft = drafts[at]
            if (draft === undefined) break
            const keyed = isKeyed ? { ...draft, keys: keysOf(nth) } : draft
            const expect = expecting?.(nth, last)
            last = yield* ledger.append(keyed, expect === undefined ? {} : { expect })
          }
        })
      const all = Array.from({ length: waiting }, (_, nth) => appender(nth))
      const follower = ledger
        .changes({ after: begun })
        .pipe(Stream.take(isFollowed ? count : 0), Stream.runDrain)
      yield* watch.turn(Effect.all([follower, ...all], { concurrency: "unbounded", discard: true }))
    }).pipe(Effect.orDie)
  return { name, count, turn }
}

const reading = (name: string, stream: Stream.Stream<unknown, unknown>): Contestant => ({
  name,
  count: readRows,
  turn: (watch) =>
    watch.turn(Stream.runCount(stream)).pipe(
      Effect.flatMap((count) => sure(count === readRows, `${readRows} rows, not ${count}`)),
      Effect.orDie
    )
})

/** What is measured; in each contest the first is the plain way. */
const contests = Effect.fnUntraced(function* (directory: string, count: number) {
  let made = 0
  const appender = (name: string, waiting: number, manner?: Manner) =>
    Effect.map(open(path.join(directory, `own-${made++}`)), (ledger) =>
      appending(name, ledger, waiting, waiting === 1 ? count : count * 6, manner)
    )
  const ownKeys = (nth: number, last: Event.Position) =>
    Ledger.noneSince({ keys: keysOf(nth) }, last)
  const read = yield* open(path.join(directory, "own-read"))
  for (let first = 0; first < readRows; first += groupRows) {
    yield* read.appendAll(rows.drafts(first, groupRows))
  }
  return [
    {
      what: "append, 1 waiting",
      contestants: [
        yield* appender("plain", 1),
        yield* appender("2 keys", 1, { isKeyed: true }),
        yield* appender("expecting the head", 1, { expecting: (_, last) => Ledger.headAt(last) }),
        yield* appender("2 keys, none since", 1, { isKeyed: true, expecting: ownKeys })
      ]
    },
    {
      what: `append, ${waitingMany} waiting`,
      contestants: [
        yield* appender("plain", waitingMany),
        yield* appender("2 keys", waitingMany, { isKeyed: true }),
        yield* appender("2 keys, none since", waitingMany, { isKeyed: true, expecting: ownKeys }),
        yield* appender("and followed", waitingMany, { isFollowed: true })
      ]
    },
    {
      what: `read ${readRows} rows`,
      contestants: [
        reading("events", read.events()),
        reading("changes", Stream.take(read.changes(), readRows))
      ]
    }
  ] satisfies ReadonlyArray<Contest>
})

/** Hold the contests and print them. */
export const print = Effect.fnUntraced(function* (
  directory: string,
  { rows: count, ...rounds }: Rounds & { readonly rows: number }
) {
  yield* contest.print(yield* contests(directory, count), rounds, "plain")
}, Effect.scoped)
