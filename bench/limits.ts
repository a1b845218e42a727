/**
 * What limits: the pieces of each job, timed one by one in the same run, as shares of the job.
 *
 * Pieces run in hot loops over the same lines, so their sum is a lower bound: what is left over is
 * the runtime of effects, garbage collection, cold caches and waiting.
 */
import { Console, Effect, Result } from "effect"
import { SqlClient } from "effect/sql"
import * as path from "node:path"
import * as Chain from "../src/core/Chain.ts"
import * as Crc32c from "../src/core/Crc32c.ts"
import type * as Event from "../src/core/Event.ts"
import * as Draft from "../src/core/Draft.ts"
import * as EventId from "../src/core/EventId.ts"
import * as Hashes from "../src/core/Hashes.ts"
import * as Row from "../src/core/Row.ts"
import * as Seal from "../src/core/Seal.ts"
import * as Timestamp from "../src/core/Timestamp.ts"
import { SqliteClient } from "../src/platform/index.ts"
import * as Mirror from "../src/store/mirror/Mirror.ts"
import { median, micros, table } from "./measure.ts"
import * as rows from "./rows.ts"

const repeats = 7

/** The median over some repeats, the first left out, of what one of `count` steps takes. */
const timed = (count: number, step: (nth: number) => unknown): number => {
  const taken: Array<number> = []
  for (let repeat = 0; repeat <= repeats; repeat++) {
    const begun = performance.now()
    for (let nth = 0; nth < count; nth++) step(nth)
    taken.push(((performance.now() - begun) * 1000) / count)
  }
  return median(taken.slice(1))
}

/** Microseconds per row of what reading a row consists of. */
const reading = (lines: ReadonlyArray<rows.Line>, hashes: Hashes.Hashes) => {
  const events = lines.map(({ bytes, seq }) =>
    Result.getOrThrow(Result.map(Row.decode(bytes, seq, "segments", hashes), (row) => row.event))
  )
  const pieces = lines.flatMap(({ bytes }, nth) => {
    const event = events[nth]
    return event === undefined ? [] : [{ bytes, event }]
  })
  const each = (step: (piece: { bytes: Uint8Array; event: Event.Event }) => unknown) =>
    timed(pieces.length, (nth) => {
      const piece = pieces[nth]
      if (piece !== undefined) step(piece)
    })
  const leaf = each(({ bytes }) => Hashes.leafHash(hashes, bytes))
  const seals = each(({ event }) => Seal.check(event, hashes))
  const crc = each(({ bytes }) => Crc32c.of(bytes))
  const decode = each(({ bytes, event }) => Row.decode(bytes, event.seq, "segments", hashes))
  return { hashing: leaf + seals, crc, fields: decode - leaf - crc }
}

/** Microseconds per row of what a writer does besides SQL and the disk. */
const sealing = (lines: ReadonlyArray<rows.Line>, hashes: Hashes.Hashes) => {
  const id = EventId.idFrom("bench")
  const now = Timestamp.fromMillis(0)
  const drafts = rows.drafts(0, lines.length)
  return timed(lines.length, (nth) => {
    const draft = drafts[nth]
    if (draft === undefined) return
    const complete = Result.getOrThrow(Draft.complete(draft, { id, now }))
    const event = Seal.seal(complete, null, hashes)
    Row.encode([event], Chain.start, { format: "segments" }, hashes)
  })
}

/** Microseconds per row of filling a mirror of its own, in transactions of `together` rows. */
const filling = Effect.fnUntraced(function* (
  directory: string,
  lines: ReadonlyArray<rows.Line>,
  together: number
) {
  const filename = path.join(directory, `limits-${together}.sqlite`)
  return yield* Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* Mirror.migrate
    const place = { segment: 1, offset: 0, length: 0 }
    const begun = performance.now()
    for (let at = 0; at + together <= lines.length; at += together) {
      const some = lines.slice(at, at + together)
      const indexed = some.map(({ seq, event }) => {
        return { seq, event, parentSeq: null, leafHash: Row.zeroHash, place }
      })
      yield* Mirror.insertEvents(
        sql,
        some.map(({ event }) => event)
      ).pipe(Effect.andThen(Mirror.insertIndex(sql, indexed)), sql.withTransaction)
    }
    const count = Math.floor(lines.length / together) * together
    return ((performance.now() - begun) * 1000) / count
  }).pipe(Effect.provide(SqliteClient.layer({ filename, autocheckpointPages: 0 })))
})

/** What the jobs took, in microseconds per row, and one fsync. */
export interface Totals {
  readonly verify: number
  readonly parity: number
  readonly replay: number
  readonly appendOne: number
  readonly appendMany: number
  readonly fsync: number
}

type Piece = readonly [name: string, micros: number]

const shares = (job: string, total: number, pieces: ReadonlyArray<Piece>) => {
  const known = pieces.reduce((sum, [, each]) => sum + each, 0)
  const all: ReadonlyArray<Piece> = [...pieces, ["the rest", Math.max(0, total - known)]]
  const text = all.map(([name, each]) => `${name} ${((each / total) * 100).toFixed(0)} %`)
  return [job, `${micros(total)} us/row`, text.join(", ")]
}

const waitingMany = 64
const replayTogether = 256
// Opening reads the rows behind the mirror once to judge the tail and once to take them in.
const replayReads = 2

/** Time the pieces and print them beside the jobs. */
export const print = Effect.fnUntraced(function* (
  directory: string,
  lines: ReadonlyArray<rows.Line>,
  totals: Totals,
  hashes: Hashes.Hashes
) {
  const { hashing, crc, fields } = reading(lines, hashes)
  const sealed = sealing(lines, hashes)
  const one = yield* filling(directory, lines, 1)
  const many = yield* filling(directory, lines, waitingMany)
  const inReplay = yield* filling(directory, lines, replayTogether)
  const read = (times: number): ReadonlyArray<Piece> => [
    ["hashes", hashing * times],
    ["JSON and fields", fields * times],
    ["checksum", crc * times]
  ]
  yield* Console.log(
    table(
      [
        shares("verify", totals.verify, read(1)),
        shares("parity", totals.parity, read(1)),
        shares("replay", totals.replay, [...read(replayReads), ["SQL", inReplay]]),
        shares("append, 1 waiting", totals.appendOne, [
          ["fsync", totals.fsync],
          ["SQL", one],
          ["draft, seal, line", sealed]
        ]),
        shares(`append, ${waitingMany} waiting`, totals.appendMany, [
          ["fsync", totals.fsync / waitingMany],
          ["SQL", many],
          ["draft, seal, line", sealed]
        ])
      ],
      2
    )
  )
})
