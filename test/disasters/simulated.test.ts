/**
 * What the simulator found, each as the shortest history that shows it, over many disks: the seed
 * decides what a power cut leaves.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { FaultyDisk } from "../../src/testing/index.ts"
import type { Config, History, Request, Step } from "../simulator/history.ts"
import { explain, run } from "../simulator/run.ts"

const config: Config = { cortex: false, gated: false, segmentBytesMax: 100_000, groupRowsMax: 512 }

const append = (...names: ReadonlyArray<string>): Step => ({
  _tag: "Append",
  requests: names.map((name): Request => ({ _tag: "Rows", names: [name] })),
  reading: true
})

const fault = (fault: FaultyDisk.Fault): Step => ({ _tag: "Fault", fault })

const powerCut: Step = { _tag: "Die", by: "powerCut" }

const checkpoint: Step = { _tag: "Checkpoint" }

const rollback: Step = { _tag: "Rollback", nth: 0, reading: false }

/** The machine dies while half a row lies at the end of the journal. */
const tear: ReadonlyArray<Step> = [
  fault({ on: "write", path: "jsonl", code: "EIO", bytes: 200 }),
  fault({ on: "truncate", crash: "kill" }),
  append("torn")
]

const disks = 24

const survives = (name: string, history: Partial<History>) =>
  it.live(name, () =>
    Effect.gen(function* () {
      const whole: History = { config, faults: [], steps: [], ...history }
      for (let seed = 1; seed <= disks; seed++) {
        const failure = yield* run(seed, whole)
        if (failure !== undefined) assert.fail(yield* explain(seed, whole, failure))
      }
    })
  )

describe("a simulated disaster", () => {
  survives("takes the outcome of a recovery that was killed, after rows were appended behind it", {
    faults: [{ on: "rename", path: "outcome.json", crash: "kill", during: true }],
    steps: [append("a"), ...tear, append("b"), powerCut]
  })

  survives("takes the torn tail that a recovery has planned to cut", {
    faults: [{ on: "open", path: ".cut", crash: "powerCut" }],
    steps: [append("a"), ...tear, append("b"), powerCut]
  })

  survives("takes the ledger's directory, made by a process that was killed at once", {
    faults: [{ on: "sync", crash: "kill" }],
    steps: [append("a"), powerCut]
  })

  survives("takes a backup whose directories a killed process had made", {
    steps: [
      append("a"),
      fault({ on: "mkdir", path: "/backups", crash: "kill", during: true }),
      { _tag: "Backup", name: "one" },
      { _tag: "Backup", name: "two" },
      powerCut
    ]
  })

  for (const nth of [1, 2, 3]) {
    survives(`ends the transaction of a group at statement ${nth} of those that write`, {
      steps: [
        append("a"),
        fault({ on: "statement", path: "INSERT", nth, vanishes: true }),
        append("b", "c"),
        append("d"),
        append("e")
      ]
    })
  }

  survives("fails the beginning of a transaction that began all the same", {
    steps: [
      append("a"),
      fault({ on: "statement", path: "BEGIN", code: "SQLITE_IOERR", persists: true }),
      append("b"),
      append("c")
    ]
  })

  survives("states the head when the segment that was to follow has no row", {
    config: { ...config, segmentBytesMax: 600 },
    steps: [
      append("a"),
      fault({ on: "write", path: "jsonl", code: "EIO" }),
      append("b"),
      checkpoint,
      append("c"),
      rollback,
      append("d")
    ]
  })

  survives("loses the checkpoint that an earlier rollback went back to", {
    steps: [
      checkpoint,
      append("a"),
      rollback,
      { _tag: "Repair", damage: { of: "checkpoint", at: 200 } },
      append("b")
    ]
  })

  for (const way of ["crash", "code"] as const) {
    const how = way === "crash" ? { crash: "kill" as const } : { code: "EIO" }
    survives(`goes back to a checkpoint whose name was not durable: ${way}`, {
      steps: [
        append("a"),
        fault({ on: "sync", path: "/checkpoints", nth: 2, ...how }),
        checkpoint,
        append("b"),
        fault({ on: "rename", path: "outcome.json", crash: "powerCut" }),
        rollback,
        append("c")
      ]
    })
  }

  survives("makes a checkpoint after one that failed and is to be seen", {
    steps: [
      append("a"),
      checkpoint,
      fault({ on: "sync", path: "/checkpoints", nth: 2, code: "EIO" }),
      checkpoint,
      { _tag: "Rollback", nth: 1, reading: false },
      checkpoint,
      append("b")
    ]
  })

  survives("reads nothing back of a rollback that has happened", {
    steps: [
      append("a"),
      checkpoint,
      append("b"),
      fault({ on: "read", path: "outcome.json", code: "EIO" }),
      rollback,
      append("c")
    ]
  })

  survives("asks for a backup of one file before it has rows", {
    config: { ...config, cortex: true },
    steps: [{ _tag: "Backup", name: "none" }]
  })
})
