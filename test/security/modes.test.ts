/** Every file a ledger makes is its owner's alone: 0600, and 0700 for directories. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { sealog } from "../cli/sealog.ts"
import { named, using } from "../store/ledgerFixtures.ts"
import { ledgerOfTwo, pathsIn, segmentOf } from "./kit.ts"

const withUmask = <A, E, R>(umask: number, effect: Effect.Effect<A, E, R>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => process.umask(umask)),
    () => effect,
    (before) => Effect.sync(() => process.umask(before))
  )

/** The names of all that was made, numbers left out, once each of it is private. */
const privates = (parent: string): ReadonlySet<string> => {
  const names = new Set<string>()
  for (const name of pathsIn(parent)) {
    const info = fs.lstatSync(path.join(parent, name))
    const mode = (info.mode & 0o777).toString(8)
    assert.strictEqual(mode, info.isDirectory() ? "700" : "600", name)
    names.add(name.replace(/op_[0-9A-Z]{26}/, "OP").replace(/\d{16}/, "N"))
  }
  return names
}

const note = (name: string) => named(name, { type: "cortex.event.system_note.v1" })

/** Each step that makes a file; what is there is looked at while it is open and afterwards. */
const session = Effect.fnUntraced(function* (parent: string) {
  const directory = path.join(parent, "deep", "ledger")
  const options = { directory, segmentBytesMax: 600 }
  const open = yield* using(options, (ledger) =>
    Effect.gen(function* () {
      yield* ledger.append(named("one"))
      yield* ledger.append(named("two"))
      yield* ledger.backup(path.join(parent, "copies", "copy"))
      return privates(parent)
    })
  )
  // Deno sets the mode of a file that it appends to.
  fs.appendFileSync(segmentOf(directory, 2), '{"id":', { mode: 0o600 })
  for (const name of fs.readdirSync(directory)) {
    if (name.startsWith("mirror")) fs.rmSync(path.join(directory, name))
  }
  const again = yield* using(options, (ledger) =>
    Effect.gen(function* () {
      assert.strictEqual(ledger.opened._tag, "Recovered")
      yield* ledger.append(named("three"))
      assert.strictEqual((yield* ledger.replay).skippedExisting, 3)
      return privates(parent)
    })
  )
  const file = path.join(parent, "cortex", "log.jsonl")
  yield* using({ file }, (ledger) => ledger.append(note("a")))
  fs.appendFileSync(file, '{"id":', { mode: 0o600 })
  const cortex = yield* using({ file }, (ledger) =>
    Effect.gen(function* () {
      assert.strictEqual(ledger.opened._tag, "Recovered")
      yield* ledger.append(note("b"))
      yield* ledger.backup(path.join(parent, "copies", "copy.jsonl"))
      return privates(parent)
    })
  )
  return { open, again, cortex }
})

const own = [
  "guard",
  "ledger.json",
  "mirror.sqlite",
  "mirror.sqlite-shm",
  "mirror.sqlite-wal",
  "segments",
  "segments/N.jsonl"
].map((name) => `deep/ledger/${name}`)

const kept = ["OP", "OP/N.jsonl.cut", "OP/outcome.json", "OP/plan.json"].map(
  (name) => `deep/ledger/operations/${name}`
)

const cortexOwn = ["guard", "ledger.json", "mirror.sqlite", "operations/OP/log.jsonl.cut"].map(
  (name) => `cortex/log.jsonl.sealog/${name}`
)

describe("Files are private", () => {
  for (const umask of [0o000, 0o022, 0o077, 0o777]) {
    it.effect(`under umask ${umask.toString(8).padStart(4, "0")}, whatever makes them`, () =>
      Effect.gen(function* () {
        const parent = yield* TestLedger.directory
        const { again, cortex, open } = yield* withUmask(umask, session(parent))
        const copy = ["ledger.json", "segments", "segments/N.jsonl"].map((n) => `copies/copy/${n}`)
        // What was looked at must have been there, or nothing was shown.
        assert.includeMembers([...open], [...own, ...copy])
        assert.includeMembers([...again], [...own, ...kept])
        assert.includeMembers([...cortex], [...cortexOwn, "cortex/log.jsonl", "copies/copy.jsonl"])
        privates(parent)
      })
    )
  }

  it.live("also where the command line makes them", () =>
    Effect.gen(function* () {
      const parent = yield* TestLedger.directory
      const directory = path.join(parent, "made", "ledger")
      const ended = yield* withUmask(
        0,
        sealog(["append", directory], { stdin: '{"type":"a.v1"}\n' })
      )
      assert.strictEqual(ended.code, 0, ended.stderr)
      assert.includeMembers(
        [...privates(parent)],
        ["made/ledger/mirror.sqlite", "made/ledger/guard", "made/ledger/segments/N.jsonl"]
      )
    })
  )

  it.effect("and a directory that was there keeps the mode that its owner gave it", () =>
    Effect.gen(function* () {
      const { directory } = yield* ledgerOfTwo
      fs.chmodSync(directory, 0o750)
      yield* using({ directory }, (ledger) => ledger.append(named("three")))
      assert.strictEqual(fs.statSync(directory).mode & 0o777, 0o750)
    })
  )
})
