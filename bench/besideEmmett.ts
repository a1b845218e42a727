/**
 * sealog beside another event store on SQLite, `@event-driven-io/emmett-sqlite`, with the same events
 * and the same durability: each answer of either follows an fsync. sealog chains and hashes every row,
 * keeps it twice and checks what it reads; emmett counts the versions of its streams.
 *
 * A stream of emmett's is a key of sealog's, and a raw SQL projection of emmett's, one statement for
 * each event, a keyed view of sealog's: the sum of the amounts of each stream.
 */
import { Console, Context, Effect, Layer, Schema, Stream } from "effect"
import * as path from "node:path"
import { Event, Ledger, Reader, View } from "../src/index.ts"
import { SealogNode } from "../src/platform/index.ts"
import type { Contest, Contestant, Rounds } from "./contest.ts"
import * as contest from "./contest.ts"
import * as emmett from "./emmett/emmett.ts"
import * as rows from "./rows.ts"
import { sure } from "./turns.ts"

/** Events of one append, where they go together. */
const together = 64

/** Streams to read: so many, each of so many events, written some at a time in turns. */
const streams = 20
const streamRows = 1_000
const runRows = 10

const keyName = "stream"
const streamOf = (n: number): string => `account-${n % streams}`

type Drafts = ReturnType<typeof rows.drafts>

// Of each event: where it belongs, and the number that is summed up there.
const Amount = Schema.Struct({ stream: Schema.String, seq: Schema.Int })
const Sum = Schema.Struct({ stream: Schema.String, total: Schema.Int })
const amountOf = Schema.decodeUnknownSync(Amount)

const sums = View.make({
  name: "sums",
  version: 1,
  row: Sum,
  columns: { stream: "TEXT NOT NULL", total: "INTEGER NOT NULL" },
  key: ["stream"],
  keysOf: ({ payload }) => [{ stream: amountOf(payload).stream }],
  fold: (row, { payload }, { stream }) => ({
    stream,
    total: (row?.total ?? 0) + amountOf(payload).seq
  })
})

const sumsOfEmmett: emmett.Projection = {
  initSQL: "CREATE TABLE IF NOT EXISTS sums (stream TEXT PRIMARY KEY, total INTEGER NOT NULL)",
  canHandle: [...Event.cortexTypes],
  evolve: ({ data }) => {
    const { seq, stream } = amountOf(data)
    return (
      `INSERT INTO sums (stream, total) VALUES ('${stream}', ${seq}) ` +
      "ON CONFLICT (stream) DO UPDATE SET total = total + excluded.total"
    )
  }
}

const totalText = "SELECT sum(total) AS total FROM sums"
const totalOf = Schema.decodeUnknownSync(Schema.Tuple([Schema.Struct({ total: Schema.Int })]))

/** Both stores alike. */
interface Store {
  readonly name: string
  /** Append events to a stream, together. */
  readonly append: (stream: string, drafts: Drafts) => Effect.Effect<unknown>
  /** The payloads of a stream. */
  readonly read: (stream: string) => Effect.Effect<ReadonlyArray<unknown>>
  /** What the sums come to, where they are kept. */
  readonly total: Effect.Effect<number>
}

const sealogStore = Effect.fnUntraced(function* (directory: string, isSumming: boolean) {
  const views = isSumming ? [sums] : []
  const context = yield* Layer.build(SealogNode.layer({ directory, views }))
  const ledger = Context.get(context, Ledger.Ledger)
  const reader = Context.get(context, Reader.Reader)
  return {
    name: "sealog",
    append: (stream, drafts) => {
      const keyed = drafts.map((one) => ({ ...one, keys: { [keyName]: stream } }))
      return Effect.orDie(ledger.appendAll(keyed))
    },
    read: (stream) =>
      Stream.runCollect(reader.events({ keys: { [keyName]: stream } })).pipe(
        Effect.map((events) => events.map(({ payload }) => payload)),
        Effect.orDie
      ),
    total: reader
      .query((sql) => sql.unsafe(totalText))
      .pipe(
        Effect.map((found) => totalOf(found)[0].total),
        Effect.orDie
      )
  } satisfies Store
})

/** What a draft says, as emmett takes it. */
const messageOf = ({ domainTags, id, payload, sessionId, source, type }: Drafts[number]) => ({
  type,
  data: payload,
  metadata: { id, sessionId, source, domainTags }
})

const emmettStore = Effect.fnUntraced(function* (
  fileName: string,
  loaded: emmett.Emmett,
  isSumming: boolean
) {
  const store = yield* emmett.open(loaded, fileName, isSumming ? sumsOfEmmett : undefined)
  return {
    name: "emmett-sqlite",
    append: (stream, drafts) =>
      Effect.promise(() => store.appendToStream(stream, drafts.map(messageOf))),
    read: (stream) =>
      Effect.map(
        Effect.promise(() => store.readStream(stream)),
        ({ events }) => events.map(({ data }) => data)
      ),
    total: Effect.map(
      Effect.promise(() => store.query(totalText)),
      (found) => totalOf(found)[0].total
    )
  } satisfies Store
})

const text = "x".repeat(rows.payloadBytes - 50)

/** Drafts that count in the sum of a stream. */
const amounts = (stream: string, first: number, count: number): Drafts =>
  rows.drafts(first, count).map((draft, nth) => ({
    ...draft,
    payload: { stream, seq: first + nth, text }
  }))

/** Appends all over the streams, `size` events each; where sums are kept, they hold all of them. */
const appending = (
  { append, name, total }: Store,
  size: number,
  count: number,
  isSumming = false
): Contestant => {
  let first = 0
  const turn: Contestant["turn"] = (watch) =>
    Effect.gen(function* () {
      const groups = Array.from({ length: count / size }, (_, nth) => {
        const [stream, from] = [streamOf(nth), first + nth * size]
        const drafts = isSumming ? amounts(stream, from, size) : rows.drafts(from, size)
        return { stream, drafts }
      })
      first += count
      yield* watch.turn(
        Effect.forEach(groups, (group) => append(group.stream, group.drafts), { discard: true })
      )
      const sum = isSumming ? yield* total : undefined
      yield* sure(sum === undefined || sum === (first * (first - 1)) / 2, `the sum of ${first}`)
    })
  return { name, count, turn }
}

/** Reads whole streams, one after the other, which are written first. */
const reading = Effect.fnUntraced(function* ({ append, name, read }: Store) {
  for (let run = 0; run < (streams * streamRows) / runRows; run++) {
    yield* append(streamOf(run), rows.drafts(run * runRows, runRows))
  }
  const all = Array.from({ length: streams }, (_, nth) => streamOf(nth))
  const count = streams * streamRows
  const turn: Contestant["turn"] = (watch) =>
    Effect.flatMap(watch.turn(Effect.forEach(all, read)), (found) =>
      sure(found.flat().length === count, `${count} events`)
    )
  return { name, count, turn } satisfies Contestant
})

/** What is measured; each contest has ledgers and stores of its own. */
const contests = Effect.fnUntraced(function* (
  directory: string,
  loaded: emmett.Emmett,
  count: number
) {
  const open = (name: string, isSumming = false) =>
    Effect.all([
      sealogStore(path.join(directory, `beside-${name}`), isSumming),
      emmettStore(path.join(directory, `beside-${name}.sqlite`), loaded, isSumming)
    ])
  const one = yield* open("one")
  const many = yield* open("many")
  const summedOne = yield* open("summed-one", true)
  const summedMany = yield* open("summed-many", true)
  const read = yield* open("read")
  return [
    { what: "append, 1 event", contestants: one.map((store) => appending(store, 1, count)) },
    {
      what: `append, ${together} events at once`,
      contestants: many.map((store) => appending(store, together, count * 6))
    },
    {
      what: "append, 1 event, and its stream's sum",
      contestants: summedOne.map((store) => appending(store, 1, count, true))
    },
    {
      what: `append, ${together} events, and a sum`,
      contestants: summedMany.map((store) => appending(store, together, count * 6, true))
    },
    {
      what: `read a stream of ${streamRows}`,
      contestants: yield* Effect.forEach(read, reading)
    }
  ] satisfies ReadonlyArray<Contest>
})

/** Hold the contests where emmett is installed, and say so where it is not. */
export const print = Effect.fnUntraced(function* (
  directory: string,
  { rows: count, ...rounds }: Rounds & { readonly rows: number }
) {
  const loaded = yield* emmett.load
  if (loaded === undefined) {
    return yield* Console.log("  not installed: npm install --prefix bench/emmett")
  }
  yield* contest.print(yield* contests(directory, loaded, count), rounds, "sealog")
}, Effect.scoped)
