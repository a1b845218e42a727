/**
 * sealog beside another event store on SQLite, `@event-driven-io/emmett-sqlite`, with the same events
 * and the same durability: each answer of either follows an fsync. sealog chains and hashes every row,
 * keeps it twice and checks what it reads; emmett counts the versions of its streams.
 *
 * A stream of emmett's is a key of sealog's.
 */
import { Console, Context, Effect, Layer, Stream } from "effect"
import * as path from "node:path"
import { Ledger, Reader } from "../src/index.ts"
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

/** Both stores alike. */
interface Store {
  readonly name: string
  /** Append events to a stream, together. */
  readonly append: (stream: string, drafts: Drafts) => Effect.Effect<unknown>
  /** The payloads of a stream. */
  readonly read: (stream: string) => Effect.Effect<ReadonlyArray<unknown>>
}

const sealogStore = Effect.fnUntraced(function* (directory: string) {
  const context = yield* Layer.build(SealogNode.layer({ directory }))
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
      )
  } satisfies Store
})

/** What a draft says, as emmett takes it. */
const messageOf = ({ domainTags, id, payload, sessionId, source, type }: Drafts[number]) => ({
  type,
  data: payload,
  metadata: { id, sessionId, source, domainTags }
})

const emmettStore = Effect.fnUntraced(function* (fileName: string, loaded: emmett.Emmett) {
  const store = yield* emmett.open(loaded, fileName)
  return {
    name: "emmett-sqlite",
    append: (stream, drafts) =>
      Effect.promise(() => store.appendToStream(stream, drafts.map(messageOf))),
    read: (stream) =>
      Effect.map(
        Effect.promise(() => store.readStream(stream)),
        ({ events }) => events.map(({ data }) => data)
      )
  } satisfies Store
})

/** Appends all over the streams, `size` events each. */
const appending = ({ append, name }: Store, size: number, count: number): Contestant => {
  let first = 0
  const turn: Contestant["turn"] = (watch) =>
    Effect.suspend(() => {
      const groups = Array.from({ length: count / size }, (_, nth) => ({
        stream: streamOf(nth),
        drafts: rows.drafts(first + nth * size, size)
      }))
      first += count
      return watch.turn(
        Effect.forEach(groups, (group) => append(group.stream, group.drafts), { discard: true })
      )
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
  const open = (name: string) =>
    Effect.all([
      sealogStore(path.join(directory, `beside-${name}`)),
      emmettStore(path.join(directory, `beside-${name}.sqlite`), loaded)
    ])
  const one = yield* open("one")
  const many = yield* open("many")
  const read = yield* open("read")
  return [
    { what: "append, 1 event", contestants: one.map((store) => appending(store, 1, count)) },
    {
      what: `append, ${together} events at once`,
      contestants: many.map((store) => appending(store, together, count * 6))
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
