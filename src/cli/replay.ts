/**
 * `sealog replay`: bring SQL up to the journal, row by row, and compare both afterwards.
 *
 * A ledger is opened for that, under its guard; what opening itself brought up counts as replayed.
 * Nothing is overwritten or deleted, and it may be stopped and run again.
 */
import { Effect } from "effect"
import { Command } from "effect/cli"
import * as SealogNode from "../platform/SealogNode.ts"
import * as FilePair from "../store/mirror/FilePair.ts"
import * as Ledger from "../store/Ledger.ts"
import { ReplayReport } from "../store/mirror/Replay.ts"
import { found, plain } from "./Ending.ts"
import * as json from "./json.ts"
import * as Opening from "./opening.ts"
import { Output } from "./Output.ts"
import * as Pair from "./pair.ts"
import * as Target from "./Target.ts"

const ofLedger = Effect.gen(function* () {
  const ledger = yield* Ledger.Ledger
  const output = yield* Output
  yield* Effect.forEach(Opening.notes(ledger.opened), output.note, { discard: true })
  const { replayed, skippedExisting, parity } = yield* ledger.replay
  const before = Opening.replayed(ledger.opened)
  return new ReplayReport({
    replayed: replayed + before,
    skippedExisting: skippedExisting - before,
    parity
  })
})

const reportOf = Effect.fnUntraced(function* (work: Pair.Work) {
  if (work._tag === "Files") {
    const layer = Pair.layerSqlite(work.sqlite, "write")
    return yield* Effect.provide(
      FilePair.replay(work.jsonl, {
        listMax: Number.POSITIVE_INFINITY,
        publicKey: work.publicKey
      }),
      layer
    )
  }
  yield* Target.ledger(work.directory)
  return yield* Effect.provide(ofLedger, SealogNode.layer({ directory: work.directory }))
})

const rows = (count: number): string => `${count} row${count === 1 ? "" : "s"}`

export const command = Command.make(
  "replay",
  Pair.config,
  Effect.fnUntraced(function* (input) {
    const output = yield* Output
    const report = yield* reportOf(yield* Pair.workOf(input))
    const { replayed, skippedExisting, parity } = report
    if (input.json) yield* output.json(json.replay(report))
    else {
      yield* output.line(`replayed ${rows(replayed)}, ${skippedExisting} were there already`)
      yield* Effect.forEach(Pair.human(parity), (text) => output.line(plain(text)))
    }
    if (!parity.isConsistent) return yield* found
  })
).pipe(
  Command.withDescription(
    "Insert into SQL what the journal holds and SQL does not, then compare both. Never overwrites " +
      "a row: one that differs is refused. Exit code 0: the same rows; 1: they differ, or the " +
      "journal is damaged; 2: it could not run."
  ),
  Command.withShortDescription("Bring SQL up to the journal")
)
