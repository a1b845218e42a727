/**
 * No link inside a ledger is followed: what it points at stays as it is, nothing is made where it
 * points at nothing, and whoever meets it is told its name.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Location } from "../../src/store/journal/Layout.ts"
import { sealog } from "../cli/sealog.ts"
import { operations } from "../store/crashKit.ts"
import { named, using } from "../store/ledgerFixtures.ts"
import { ledgerOfTwo, segmentOf, stateOf, tornTail, untouched, victim } from "./kit.ts"
import { appending, ending, readers } from "./ways.ts"

const outside = (parent: string) => path.join(parent, "outside")

/** A directory that is somebody else's, with files named as a ledger names its own. */
const foreignDirectory = (parent: string): string => {
  const at = path.join(outside(parent), "directory")
  fs.mkdirSync(at, { recursive: true })
  for (const name of ["plan.json", "ledger.json", "0000000000000001.jsonl", "guard"]) {
    fs.writeFileSync(path.join(at, name), "{}\n")
  }
  return at
}

interface Place {
  readonly name: string
  /** What has to be moved away first, so that the place is used. */
  readonly prepare?: (directory: string) => void
  readonly isDirectory?: true
  /** What opening for writing answers: a tag of these. */
  readonly opens: ReadonlyArray<string>
}

const operationOf = (directory: string): string =>
  path.join(directory, "operations", operations(directory)[0]?.id ?? "none")

/** As a crash leaves it behind the plan: nothing copied, nothing cut, no outcome. */
const unfinished = (directory: string): void => {
  const folder = operationOf(directory)
  fs.appendFileSync(segmentOf(directory, 2), tornTail)
  for (const name of fs.readdirSync(folder)) {
    if (name !== "plan.json") fs.rmSync(path.join(folder, name))
  }
}

/** As a crash leaves a ledger before its first row, `ledger.json` still to be written. */
const unborn = (directory: string): void => {
  for (const name of fs.readdirSync(directory)) {
    fs.rmSync(path.join(directory, name), { recursive: true })
  }
  fs.mkdirSync(path.join(directory, "segments"))
}

const places: ReadonlyArray<Place> = [
  { name: "", isDirectory: true, opens: ["NotALedger"] },
  { name: "ledger.json", opens: ["NotALedger"] },
  { name: "ledger.json.tmp", prepare: unborn, opens: ["JournalError"] },
  { name: "segments", isDirectory: true, opens: ["NotALedger"] },
  { name: "segments/0000000000000001.jsonl", opens: ["LedgerDamaged"] },
  { name: "segments/0000000000000002.jsonl", opens: ["LedgerDamaged"] },
  { name: "segments/0000000000000003.jsonl", opens: ["LedgerDamaged"] },
  { name: "operations", isDirectory: true, opens: ["NotALedger"] },
  { name: "operations/OP", isDirectory: true, prepare: unfinished, opens: ["OperationUnfinished"] },
  { name: "operations/OP/plan.json", prepare: unfinished, opens: ["OperationUnfinished"] },
  // A rename puts the ledger's own file in the link's place: it replaces it and follows nothing.
  { name: "operations/OP/CUT", prepare: unfinished, opens: ["ok"] },
  { name: "operations/OP/CUT.tmp", prepare: unfinished, opens: ["JournalError"] },
  { name: "operations/OP/outcome.json", prepare: unfinished, opens: ["ok"] },
  { name: "operations/OP/outcome.json.tmp", prepare: unfinished, opens: ["JournalError"] },
  { name: "mirror.sqlite", opens: ["MirrorError"] },
  { name: "mirror.sqlite-wal", opens: ["MirrorError"] },
  { name: "mirror.sqlite-shm", opens: ["MirrorError"] },
  { name: "mirror.sqlite-journal", opens: ["MirrorError"] },
  { name: "guard", opens: ["LockError"] }
]

const pathOf = (directory: string, { name }: Place): string => {
  if (!name.startsWith("operations/")) return path.join(directory, name)
  const kept = `${path.basename(segmentOf(directory, 2))}.cut`
  const operation = path.basename(operationOf(directory))
  return path.join(directory, name.replace("OP", operation).replace("CUT", kept))
}

type Target = "what was there" | "what is somebody else's" | "nothing"

/** Put a link in a place; what tells that nothing behind it was changed. */
const linked = (parent: string, at: string, place: Place, to: Target) => {
  const aside = path.join(outside(parent), "aside")
  const nowhere = path.join(outside(parent), "nowhere")
  fs.mkdirSync(outside(parent), { recursive: true })
  const isThere = fs.existsSync(at)
  if (isThere) fs.renameSync(at, aside)
  const other =
    place.isDirectory === true
      ? foreignDirectory(parent)
      : victim(path.join(outside(parent), "victim")).at
  const target = to === "nothing" ? nowhere : to === "what was there" && isThere ? aside : other
  fs.symlinkSync(target, at)
  const before = untouched(outside(parent))
  const state = stateOf(target === nowhere ? outside(parent) : target)
  return () => {
    assert.isFalse(fs.existsSync(nowhere), "something was made where the link points")
    assert.deepStrictEqual(untouched(outside(parent)), before)
    assert.strictEqual(stateOf(target === nowhere ? outside(parent) : target), state)
  }
}

/** What a reader may answer where a link stands; what it must refuse is told further below. */
const byName = /^(?:ok|NotALedger|JournalError|MirrorError|RowDamaged|Damaged|EventNotFound)$/

describe("No link is followed", () => {
  for (const place of places) {
    it.effect(`at ${place.name === "" ? "the ledger itself" : place.name}`, () =>
      Effect.gen(function* () {
        for (const to of ["what was there", "what is somebody else's", "nothing"] as const) {
          const { directory, parent } = yield* ledgerOfTwo
          place.prepare?.(directory)
          const at = pathOf(directory, place)
          const check = linked(parent, at, place, to)
          const opened = yield* ending(appending({ directory }))
          assert.include(place.opens, opened.tag, `${to}: ${opened.message}`)
          if (opened.tag !== "ok")
            assert.match(opened.message, /symbolic link|SymbolicLink|ELOOP/, to)
          check()
          // What readers do elsewhere is told below.
          if (!place.name.startsWith("mirror.sqlite")) continue
          const all = readers({ directory }, path.join(parent, "copy"))
          for (const [how, reader] of Object.entries(all)) {
            const { message, tag } = yield* ending(reader)
            assert.match(tag, byName, `${how}, ${to}: ${message}`)
            check()
          }
        }
      })
    )
  }

  it.effect("at the segment that the writer is about to make", () =>
    Effect.gen(function* () {
      for (const to of ["what is somebody else's", "nothing"] as const) {
        const { directory, parent } = yield* ledgerOfTwo
        yield* using({ directory, segmentBytesMax: 600 }, (ledger) =>
          Effect.gen(function* () {
            const place: Place = { name: "segments/0000000000000003.jsonl", opens: [] }
            const check = linked(parent, segmentOf(directory, 3), place, to)
            const { message, tag } = yield* ending(ledger.append(named("three")))
            assert.strictEqual(tag, "JournalError", message)
            check()
            assert.strictEqual((yield* ledger.get(2)).seq, 2)
          })
        )
      }
    })
  )

  const cortexPlaces: ReadonlyArray<Place> = [
    { name: "log.jsonl", opens: ["NotALedger"] },
    { name: "log.jsonl.sealog", isDirectory: true, opens: ["NotALedger"] },
    { name: "log.jsonl.sealog/ledger.json", opens: ["NotALedger"] },
    { name: "log.jsonl.sealog/guard", opens: ["LockError"] },
    { name: "log.jsonl.sealog/mirror.sqlite", opens: ["MirrorError"] }
  ]

  for (const place of cortexPlaces) {
    it.effect(`in Cortex mode at ${place.name}`, () =>
      Effect.gen(function* () {
        for (const to of ["what was there", "what is somebody else's", "nothing"] as const) {
          const { parent } = yield* ledgerOfTwo
          const location: Location = { file: path.join(parent, "log.jsonl") }
          yield* appending(location, "cortex.event.system_note.v1")
          const check = linked(parent, path.join(parent, place.name), place, to)
          const { message, tag } = yield* ending(appending(location, "cortex.event.decision.v1"))
          assert.include(place.opens, tag, `${to}: ${message}`)
          assert.match(message, /symbolic link/)
          check()
        }
      })
    )
  }
})

const everyReader = Object.keys(readers({ directory: "" }, ""))

/** Places through which a reader would leave the ledger, and who must refuse them by name. */
const readPlaces: ReadonlyArray<readonly [name: string, refused: ReadonlyArray<string>]> = [
  ["ledger", everyReader],
  ["ledger/ledger.json", everyReader],
  ["ledger/segments", everyReader.filter((how) => how !== "head")],
  ["ledger/segments/0000000000000001.jsonl", ["verify", "get", "events", "parity", "backup"]],
  ["ledger/mirror.sqlite", everyReader.filter((how) => how !== "verify")],
  ["log.jsonl", everyReader.filter((how) => how !== "head")],
  ["log.jsonl.sealog", everyReader]
]

describe("A reader follows no link", () => {
  for (const [name, refused] of readPlaces) {
    it.effect(`at ${name}, though all behind it is sound`, () =>
      Effect.gen(function* () {
        const { directory, parent } = yield* ledgerOfTwo
        const file = path.join(parent, "log.jsonl")
        const isCortex = name.startsWith("log")
        const location: Location = isCortex ? { file } : { directory }
        if (isCortex) {
          yield* appending(location, "cortex.event.system_note.v1")
          yield* using(location, (ledger) =>
            ledger.append(named("two", { type: "cortex.event.decision.v1" }))
          )
        }
        const at = path.join(parent, name)
        const check = linked(parent, at, { name, opens: [] }, "what was there")
        const followed: Array<string> = []
        const to = path.join(parent, "copy")
        for (const [how, reader] of Object.entries(readers(location, to))) {
          const { message, tag } = yield* ending(reader)
          if (tag === "ok") followed.push(how)
          else assert.match(message, /symbolic link|does not match|ENOENT/, how)
        }
        const wrongly = followed.filter((how) => refused.includes(how))
        assert.deepStrictEqual(wrongly, [], "these followed it")
        check()
      })
    )
  }

  it.live("nor does the command line at the ledger itself", () =>
    Effect.gen(function* () {
      const { directory, parent } = yield* ledgerOfTwo
      const link = path.join(parent, "link")
      fs.symlinkSync(directory, link)
      const before = untouched(directory)
      for (const args of [
        ["append", link],
        ["verify", link],
        ["tail", link],
        ["doctor", link]
      ]) {
        const ended = yield* sealog(args)
        assert.deepInclude(ended, { code: 2, stdout: "" })
        assert.match(ended.stderr, /symbolic link/)
      }
      assert.deepStrictEqual(untouched(directory), before)
    })
  )
})
