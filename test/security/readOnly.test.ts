/**
 * Reading changes nothing: no byte, no mode, no time of a change, no new name, whatever state the
 * ledger is in and whoever reads it. The notes beside the mirror (-wal, -shm) are SQLite's own.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Ledger } from "../../src/store/Ledger.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { sealog } from "../cli/sealog.ts"
import { canMount, mounted } from "../store/crashKit.ts"
import { meddle, named, using } from "../store/ledgerFixtures.ts"
import { copyLedger, ledgerOfTwo, segmentOf, tornTail, untouched } from "./kit.ts"
import { ending, readers } from "./ways.ts"

interface State {
  readonly what: string
  readonly make: (directory: string) => void
}

const lastOperation = (directory: string): string => {
  const folder = path.join(directory, "operations")
  return path.join(folder, fs.readdirSync(folder)[0] ?? "none")
}

/** What crashes, disks and hands leave behind; each would make opening write something. */
const states: ReadonlyArray<State> = [
  { what: "closed", make: () => undefined },
  {
    what: "with a torn tail",
    make: (directory) => fs.appendFileSync(segmentOf(directory, 2), tornTail)
  },
  {
    what: "with a last line that lacks its end",
    make: (directory) => {
      const { size } = fs.statSync(segmentOf(directory, 2))
      fs.truncateSync(segmentOf(directory, 2), size - 1)
    }
  },
  {
    what: "with a mirror that is behind",
    make: (directory) =>
      meddle(
        path.join(directory, "mirror.sqlite"),
        "DELETE FROM sealog_keys WHERE seq = 2",
        "DELETE FROM sealog_index WHERE seq = 2",
        "DELETE FROM events WHERE rowid = 2"
      )
  },
  {
    what: "with an unfinished operation",
    make: (directory) => {
      fs.rmSync(path.join(lastOperation(directory), "outcome.json"))
      fs.appendFileSync(segmentOf(directory, 2), tornTail)
    }
  },
  {
    what: "without its guard",
    make: (directory) => fs.rmSync(path.join(directory, "guard"))
  },
  {
    what: "without its mirror",
    make: (directory) => {
      for (const name of fs.readdirSync(directory)) {
        if (name.startsWith("mirror")) fs.rmSync(path.join(directory, name))
      }
    }
  },
  {
    what: "with modes of its owner's own",
    make: (directory) => {
      fs.chmodSync(segmentOf(directory, 1), 0o444)
      fs.chmodSync(path.join(directory, "ledger.json"), 0o644)
      fs.chmodSync(path.join(directory, "segments"), 0o755)
    }
  }
]

describe("Reading changes nothing", () => {
  for (const { make, what } of states) {
    it.effect(`of a ledger ${what}`, () =>
      Effect.gen(function* () {
        const { directory, parent } = yield* ledgerOfTwo
        make(directory)
        const before = untouched(directory)
        const answers: Array<string> = []
        const all = readers({ directory }, path.join(parent, "copy"))
        for (const [how, reader] of Object.entries(all)) {
          answers.push((yield* ending(reader)).tag)
          assert.deepStrictEqual(untouched(directory), before, how)
        }
        if (what === "closed") assert.isTrue(answers.every((tag) => tag === "ok"))
      })
    )
  }

  it.effect(
    "of a ledger whose writer was killed: commits that lie in SQLite's log stay there",
    () =>
      Effect.gen(function* () {
        const { directory, parent } = yield* ledgerOfTwo
        const killed = path.join(parent, "killed")
        yield* using({ directory }, (ledger) =>
          Effect.andThen(
            ledger.append(named("three")),
            // As it lies on the disk while it is open; the guard is left alone.
            Effect.sync(() => {
              fs.mkdirSync(killed)
              for (const name of ["segments", "operations"]) {
                copyLedger(path.join(directory, name), path.join(killed, name))
              }
              for (const name of fs.readdirSync(directory)) {
                if (!/^(?:mirror|ledger)/.test(name)) continue
                fs.copyFileSync(path.join(directory, name), path.join(killed, name))
              }
            })
          )
        )
        assert.isAbove(fs.statSync(path.join(killed, "mirror.sqlite-wal")).size, 0)
        const before = untouched(killed)
        const log = fs.readFileSync(path.join(killed, "mirror.sqlite-wal"))
        for (const [how, reader] of Object.entries(
          readers({ directory: killed }, path.join(parent, "copy"))
        )) {
          assert.strictEqual((yield* ending(reader)).tag, "ok", how)
          assert.deepStrictEqual(untouched(killed), before, how)
        }
        assert.isTrue(fs.readFileSync(path.join(killed, "mirror.sqlite-wal")).equals(log))
      })
  )

  it.effect("in Cortex mode", () =>
    Effect.gen(function* () {
      const parent = yield* TestLedger.directory
      const file = path.join(parent, "log.jsonl")
      const type = "cortex.event.system_note.v1"
      yield* using({ file }, (ledger) =>
        ledger.appendAll([named("one", { type }), named("two", { type })])
      )
      fs.appendFileSync(file, tornTail)
      const elsewhere = path.join(yield* TestLedger.directory, "copy.jsonl")
      const before = untouched(parent)
      for (const [how, reader] of Object.entries(readers({ file }, elsewhere))) {
        yield* ending(reader)
        assert.deepStrictEqual(untouched(parent), before, how)
      }
    })
  )

  it.live("from the command line", () =>
    Effect.gen(function* () {
      const { directory, parent } = yield* ledgerOfTwo
      const before = untouched(directory)
      const commands = [
        ["verify", directory],
        ["parity", directory],
        ["tail", directory],
        ["backup", directory, path.join(parent, "copy")]
      ]
      const all = yield* Effect.forEach(commands, (args) => sealog(args), { concurrency: 2 })
      assert.deepStrictEqual(
        all.map(({ code }) => code),
        commands.map(() => 0)
      )
      assert.deepStrictEqual(untouched(directory), before)
    })
  )

  it.live("by parity from the command line, which asks whether anybody is writing", () =>
    Effect.gen(function* () {
      const { directory } = yield* ledgerOfTwo
      for (const { make, what } of states) {
        if (/without its guard|is behind/.test(what)) make(directory)
      }
      const before = untouched(directory)
      const { code, stderr } = yield* sealog(["parity", directory])
      assert.deepStrictEqual([code, stderr], [1, ""])
      assert.deepStrictEqual(untouched(directory), before)
    })
  )

  it.effect.skipIf(!canMount)("where nothing can be written, though it is opened to write", () =>
    Effect.gen(function* () {
      const { directory } = yield* ledgerOfTwo
      fs.appendFileSync(segmentOf(directory, 2), tornTail)
      const before = untouched(directory)
      yield* mounted(directory, ["--bind", directory], ["-o", "remount,bind,ro"])
      const opened = yield* Effect.flatMap(Ledger, (ledger) =>
        Effect.gen(function* () {
          yield* ending(ledger.append(named("no")))
          yield* ending(ledger.replay)
          yield* ledger.verify()
          return ledger.opened._tag
        })
      ).pipe(Effect.provide(TestLedger.layer({ directory })))
      assert.strictEqual(opened, "ReadOnly")
      assert.deepStrictEqual(untouched(directory), before)
    })
  )
})
