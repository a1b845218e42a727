/**
 * Short histories, cut at every operation they consist of: the machine dies before and during each,
 * or the operation fails, with and without having been done. Afterwards the power goes, once more.
 * Each runtime takes half of the ways, by turns; with EXHAUSTIVE=1 it takes all of them.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { FaultyDisk } from "../../src/testing/index.ts"
import type { Config, History, Request, Step } from "./history.ts"
import { explain, run, runOn } from "./run.ts"

const plain: Config = { cortex: false, gated: false, segmentBytesMax: 100_000, groupRowsMax: 512 }

const rows = (...names: ReadonlyArray<string>): Request => ({ _tag: "Rows", names })

const append = (...requests: ReadonlyArray<Request>): Step => ({
  _tag: "Append",
  requests,
  reading: true
})

const powerCut: Step = { _tag: "Die", by: "powerCut" }

/** A row that lies in the page cache alone when the ledger is opened again. */
const unsynced: ReadonlyArray<Step> = [
  { _tag: "Fault", fault: { on: "sync", path: "jsonl", crash: "kill" } },
  append(rows("k1", "k2"))
]

/** Half a row at the end of the journal when the ledger is opened again. */
const torn: ReadonlyArray<Step> = [
  { _tag: "Fault", fault: { on: "write", path: "jsonl", code: "EIO", bytes: 200 } },
  { _tag: "Fault", fault: { on: "truncate", crash: "kill" } },
  append(rows("t1"))
]

const histories: { readonly [name: string]: History } = {
  "a ledger made, a row, a group": {
    config: plain,
    faults: [],
    steps: [append(rows("a")), append(rows("b", "c"))]
  },
  "groups that rotate, refusals, gates": {
    config: { ...plain, gated: true, segmentBytesMax: 600 },
    faults: [],
    steps: [
      append(rows("a"), { _tag: "Gate", name: "g" }, rows("b", "c")),
      append({ _tag: "Conflict", nth: 0, name: "x" }, { _tag: "Again", nth: 1, name: "d" })
    ]
  },
  "a torn tail, cut": { config: plain, faults: [], steps: [append(rows("a")), ...torn] },
  "a row in the page cache alone": {
    config: plain,
    faults: [],
    steps: [append(rows("a")), ...unsynced, { _tag: "Read" }]
  },
  "one file, as Cortex has it": {
    config: { ...plain, cortex: true },
    faults: [],
    steps: [append(rows("a", "b")), ...torn, append(rows("c"))]
  },
  "replay and backup": {
    config: plain,
    faults: [],
    steps: [append(rows("a", "b")), { _tag: "Replay" }, { _tag: "Backup", name: "copy" }]
  }
}

/** The operations that a history consists of. */
const operationsOf = (history: History) =>
  Effect.scoped(
    Effect.gen(function* () {
      const disk = yield* FaultyDisk.make()
      assert.isUndefined(yield* runOn(disk, history))
      return yield* disk.operations
    })
  )

const changing: ReadonlySet<FaultyDisk.OperationName> = new Set([
  "open",
  "write",
  "truncate",
  "sync",
  "mkdir",
  "rename",
  "commit"
])

/** What may become of an operation: where it changes nothing, less. */
const waysOf = ({ name, nth }: FaultyDisk.Operation): ReadonlyArray<FaultyDisk.Fault> => [
  { nth, crash: "kill" },
  { nth, crash: "powerCut" },
  { nth, code: "EIO" },
  ...(changing.has(name)
    ? ([
        { nth, crash: "kill", during: true },
        { nth, crash: "powerCut", during: true },
        { nth, code: "EIO", persists: true }
      ] as const)
    : []),
  ...(name === "write" ? [{ nth, code: "ENOSPC", bytes: 100 }] : [])
]

const check = Effect.fnUntraced(function* (seed: number, history: History) {
  const failure = yield* run(seed, history)
  if (failure !== undefined) assert.fail(yield* explain(seed, history, failure))
})

describe("a crash at every operation", () => {
  for (const [name, history] of Object.entries(histories)) {
    it.live(
      `loses nothing: ${name}`,
      () =>
        Effect.gen(function* () {
          const turn = "deno" in process.versions ? 1 : 0
          let nth = 0
          for (const operation of yield* operationsOf(history)) {
            for (const way of waysOf(operation)) {
              if (nth++ % 2 !== turn && process.env["EXHAUSTIVE"] === undefined) continue
              const faults = [...history.faults, way]
              const steps = [...history.steps, powerCut]
              yield* check(operation.nth, { ...history, faults, steps })
            }
          }
        }),
      300_000
    )
  }
})
