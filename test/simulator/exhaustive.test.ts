/**
 * Short histories, cut at every operation they consist of: the machine dies between and during them,
 * or the operation fails, with and without having been done. Afterwards the power goes, once more.
 * Each runtime takes a third of the ways, by turns; with EXHAUSTIVE=1 it takes all of them.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { FaultyDisk } from "../../src/testing/index.ts"
import type { Config, History, Request, Step } from "./history.ts"
import type { Marks } from "./run.ts"
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

const checkpoint: Step = { _tag: "Checkpoint" }

const rollback: Step = { _tag: "Rollback", nth: 0, reading: false }

/** A history, and the first of its steps that is struck; those before are struck in others. */
type Struck = History & { readonly from?: number }

const histories: { readonly [name: string]: Struck } = {
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
  "views of another version": {
    config: { ...plain, gated: true },
    faults: [],
    from: 2,
    steps: [append(rows("a", "b")), append(rows("cc")), { _tag: "Redeclare" }, append(rows("d"))]
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
  },
  "a checkpoint": {
    config: plain,
    faults: [],
    from: 1,
    steps: [append(rows("a")), checkpoint, checkpoint]
  },
  "a rollback over segments and a later checkpoint": {
    config: { ...plain, segmentBytesMax: 600 },
    faults: [],
    from: 5,
    steps: [
      append(rows("a")),
      checkpoint,
      append(rows("b")),
      append(rows("c")),
      checkpoint,
      rollback
    ]
  },
  "a rollback of one group in the segment of its checkpoint": {
    config: { ...plain, gated: true },
    faults: [],
    from: 3,
    steps: [append(rows("a")), checkpoint, append(rows("b", "c")), rollback, append(rows("d"))]
  },
  "an opening that finishes a rollback": {
    config: { ...plain, segmentBytesMax: 600 },
    faults: [],
    from: 4,
    steps: [
      append(rows("a")),
      checkpoint,
      append(rows("b")),
      { _tag: "Fault", fault: { on: "rename", path: "/segments/", crash: "kill" } },
      rollback
    ]
  },
  "a rollback in one file": {
    config: { ...plain, cortex: true },
    faults: [],
    from: 3,
    steps: [append(rows("a")), checkpoint, append(rows("b", "c")), rollback]
  },
  "a repair": {
    config: { ...plain, segmentBytesMax: 600 },
    faults: [],
    from: 5,
    steps: [
      append(rows("a")),
      append(rows("b")),
      checkpoint,
      append(rows("c")),
      { _tag: "Repair", damage: { of: "byte", at: 900 } }
    ]
  }
}

/**
 * The operations that a history consists of, from the step on that is struck first to the opening
 * behind its last one.
 */
const operationsOf = ({ from, ...history }: Struck) =>
  Effect.scoped(
    Effect.gen(function* () {
      const disk = yield* FaultyDisk.make()
      const marks: Marks = { steps: [], opened: [] }
      assert.isUndefined(yield* runOn(disk, history, marks))
      const operations = yield* disk.operations
      // Between an opening and the first step behind it the simulator reads what there is.
      const isCompared = (at: number) =>
        marks.opened.some((opened) => {
          const next = marks.steps.find((step) => step >= opened)
          return at >= opened && (next === undefined || at < next)
        })
      const begin = from === undefined ? 0 : (marks.steps[from] ?? 0)
      return operations.filter((_, at) => at >= begin && !isCompared(at))
    })
  )

const changing: ReadonlySet<FaultyDisk.OperationName> = new Set([
  "write",
  "truncate",
  "sync",
  "mkdir",
  "rename",
  "commit"
])

/**
 * What may become of each operation. One that changes nothing may fail; to die before it is to die
 * behind the one before. A file may be made by the first that opens it.
 */
const waysOf = (
  operations: ReadonlyArray<FaultyDisk.Operation>
): ReadonlyArray<FaultyDisk.Fault> => {
  const opened = new Set<string>()
  return operations.flatMap(({ name, nth, path }, at): ReadonlyArray<FaultyDisk.Fault> => {
    const isMade = name === "open" && !opened.has(path)
    if (name === "open") opened.add(path)
    const failing = { nth, code: "EIO" } as const
    if (!isMade && !changing.has(name) && !path.includes("wal_checkpoint")) return [failing]
    // A write is put down in part: all of it is there before the next one.
    const before = at === 0 || operations[at - 1]?.name === "write"
    return [
      failing,
      { ...failing, persists: true },
      { nth, crash: "kill", during: true },
      { nth, crash: "powerCut", during: true },
      ...(before
        ? ([
            { nth, crash: "kill" },
            { nth, crash: "powerCut" }
          ] as const)
        : []),
      ...(name === "write" ? [{ nth, code: "ENOSPC", bytes: 100 }] : [])
    ]
  })
}

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
          const ways = waysOf(yield* operationsOf(history))
          for (const [nth, way] of ways.entries()) {
            if (nth % 3 !== turn && process.env["EXHAUSTIVE"] === undefined) continue
            const faults = [...history.faults, way]
            const steps = [...history.steps, powerCut]
            yield* check(nth, { ...history, faults, steps })
          }
        }),
      300_000
    )
  }
})
