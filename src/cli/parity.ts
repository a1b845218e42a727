/**
 * `sealog parity`: whether journal and SQL hold the same rows. Changes nothing.
 *
 * Of a ledger it compares what the mirror has committed, beside a writer if need be. Where the
 * journal goes on behind that and nobody is writing, those rows are not in flight but missing, and
 * so are counted: `sealog replay` or the next open brings them in.
 */
import { Effect } from "effect"
import { Command } from "effect/cli"
import { lineBytesMaxDefault } from "../core/Segment.ts"
import * as SealogNode from "../platform/SealogNode.ts"
import { mirrorError } from "../store/errors.ts"
import * as durable from "../store/journal/durable.ts"
import * as FilePair from "../store/mirror/FilePair.ts"
import { Guard } from "../store/locking/Guard.ts"
import * as Journal from "../store/journal/Journal.ts"
import type { Layout } from "../store/journal/Layout.ts"
import { CurrentHashes } from "../store/Ledger.ts"
import * as Mirror from "../store/mirror/Mirror.ts"
import { ReadSql } from "../store/mirror/ReadSql.ts"
import * as Replay from "../store/mirror/Replay.ts"
import { found, plain } from "./Ending.ts"
import * as json from "./json.ts"
import { Output } from "./Output.ts"
import * as Pair from "./pair.ts"
import * as Target from "./Target.ts"

const listMax = Number.MAX_SAFE_INTEGER

/** Whether the journal has bytes behind the newest row that the mirror has. */
const goesOn = (files: ReadonlyArray<Journal.JournalFile>, place: Journal.Place | undefined) =>
  files.some(({ segment, bytes }) => {
    if (place === undefined || segment > place.segment) return bytes > 0
    return segment === place.segment && bytes > place.offset + place.length + 1
  })

/** Whether nobody holds the ledger; it is let go at once. */
const isIdle = Effect.fnUntraced(function* (layout: Layout) {
  // Where no guard was ever made nobody holds it, and looking must not make one.
  if ((yield* durable.kindAt(layout.guard)) === undefined) return true
  const guard = yield* Guard
  return yield* guard.hold(layout.guard).pipe(
    Effect.scoped,
    Effect.as(true),
    // Where the guard cannot be tried, nothing is claimed about rows in flight.
    Effect.catchTag(["StoreBusy", "LockError"], () => Effect.succeed(false))
  )
})

const ofLedger = Effect.fnUntraced(function* (layout: Layout) {
  const sql = yield* ReadSql
  const hashes = yield* CurrentHashes
  const journal = yield* Journal.makeReader(layout, { lineBytesMax: lineBytesMaxDefault })
  const settled = Effect.mapError(Mirror.settled(sql), mirrorError("read its head"))
  const { head, place } = yield* settled
  const toTheEnd = goesOn(yield* journal.files, place) && (yield* isIdle(layout))
  const until = toTheEnd ? Number.MAX_SAFE_INTEGER : head.seq
  return yield* Replay.parity(sql, journal, hashes, "sealog_index", until, listMax)
})

const reportOf = Effect.fnUntraced(function* (work: Pair.Work) {
  if (work._tag === "Files") {
    const layer = Pair.layerSqlite(work.sqlite, "read")
    return yield* Effect.provide(
      FilePair.parity(work.jsonl, { listMax, publicKey: work.publicKey }),
      layer
    )
  }
  const layout = yield* Target.mirrored(work.directory)
  return yield* Effect.provide(ofLedger(layout), SealogNode.layerMirrorReadOnly(layout.mirror))
})

export const command = Command.make(
  "parity",
  Pair.config,
  Effect.fnUntraced(function* (input) {
    const output = yield* Output
    const report = yield* reportOf(yield* Pair.workOf(input))
    if (input.json) yield* output.json(json.parity(report))
    else yield* Effect.forEach(Pair.human(report), (text) => output.line(plain(text)))
    if (!report.isConsistent) return yield* found
  })
).pipe(
  Command.withDescription(
    "Compare the journal of a ledger with its mirror, or a JSONL file with a database, in both " +
      "directions; changes nothing. Exit code 0: the same rows; 1: they differ, or the journal is " +
      "damaged; 2: it could not run."
  ),
  Command.withShortDescription("Compare the journal with SQL")
)
