import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Schema, Scope } from "effect"
import { JournalError, MirrorError } from "../../../src/store/errors.ts"
import { LockError, StoreBusy } from "../../../src/store/locking/Guard.ts"
import { FormatUnknown, Identity, NotALedger } from "../../../src/store/journal/Home.ts"
import * as SealogNode from "../../../src/platform/SealogNode.ts"
import { hasSidecar, sidecarPath } from "../../../src/store/Ledger.ts"
import { LedgerDamaged, LedgerDiverged } from "../../../src/store/opening/Opening.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import {
  child,
  image,
  makeFixture,
  opening,
  otherRuntime,
  putState,
  refusal,
  segmentOf,
  small,
  usingWatched
} from "../crashKit.ts"
import { named, snapshot, using } from "../ledgerFixtures.ts"

const inDirectory = Effect.map(TestLedger.directory, (parent) => ({
  parent,
  directory: path.join(parent, "ledger"),
  file: path.join(parent, "events.jsonl")
}))

const note = { type: "cortex.event.system_note.v1", payload: { text: "note" } }

const modeOf = (at: string) => (fs.lstatSync(at).mode & 0o777).toString(8)

/** Refused as no ledger, for this reason, and nothing below `within` changed. */
const notALedger = Effect.fnUntraced(function* (
  options: { readonly directory: string } | { readonly file: string },
  within: string,
  reason: RegExp
) {
  const before = image(within)
  const error = yield* refusal(options)
  assert.instanceOf(error, NotALedger)
  assert.match(error.message, reason)
  assert.isAbove(error.hint.length, 10)
  assert.deepStrictEqual(image(within), before)
})

describe("Home", () => {
  it.effect("makes a new ledger in a new directory, private, with ledger.json", () =>
    Effect.gen(function* () {
      const { directory } = yield* inDirectory
      const report = yield* opening({ directory })
      assert.deepStrictEqual([report._tag, report.head.seq], ["Clean", 0])
      const names = ["guard", "ledger.json", "manifest.json", "mirror.sqlite", "segments"]
      assert.deepStrictEqual(fs.readdirSync(directory).toSorted(), names)
      assert.deepStrictEqual(
        names.map((name) => modeOf(path.join(directory, name))),
        ["600", "600", "600", "600", "700"]
      )
      assert.strictEqual(modeOf(directory), "700")
      const text = fs.readFileSync(path.join(directory, "ledger.json"), "utf8")
      const identity = Schema.decodeUnknownSync(Schema.fromJsonString(Identity))(text)
      assert.deepStrictEqual(identity, {
        id: "ledger",
        format: "sealog/1",
        created: "1970-01-01T00:00:00Z"
      })
    })
  )

  it.effect("writes ledger.json once, and last", () =>
    Effect.gen(function* () {
      const { directory } = yield* inDirectory
      const calls: Array<string> = []
      yield* usingWatched(
        { directory, ledgerId: "mine" },
        (call, effect) =>
          Effect.tap(
            effect,
            Effect.sync(() => void calls.push(call))
          ),
        (ledger) => ledger.append(small("a"))
      )
      const placed = calls.indexOf("rename ledger.json.tmp ledger.json")
      assert.deepStrictEqual(calls[placed + 2], "sync .")
      const made = calls
        .slice(0, placed)
        .filter((call) => /^(?:makeDirectory|rename|open \S+ wx)/.test(call))
      assert.deepStrictEqual(made, ["makeDirectory .", "makeDirectory segments"])
      const before = fs.readFileSync(path.join(directory, "ledger.json"), "utf8")
      yield* opening({ directory, ledgerId: "another" })
      assert.strictEqual(fs.readFileSync(path.join(directory, "ledger.json"), "utf8"), before)
      assert.include(before, '"id":"mine"')
    })
  )

  it.effect("makes nested directories, each durable in the one above it", () =>
    Effect.gen(function* () {
      const { parent } = yield* inDirectory
      const directory = path.join(parent, "a", "b", "ledger")
      const calls: Array<string> = []
      yield* usingWatched(
        { directory },
        (call, effect) =>
          Effect.tap(
            effect,
            Effect.sync(() => void calls.push(call))
          ),
        () => Effect.void
      )
      const relevant = calls.filter((call) =>
        /^(?:makeDirectory|chmod|sync) (?!ledger|guard)/.test(call)
      )
      assert.deepStrictEqual(relevant.slice(0, 10), [
        // The name of the one that is there: whoever made it may have been killed at once.
        "sync ../../../..",
        "makeDirectory ../..",
        "chmod ../..",
        "sync ../../..",
        "makeDirectory ..",
        "chmod ..",
        "sync ../..",
        "makeDirectory .",
        "chmod .",
        "sync .."
      ])
      assert.deepStrictEqual(
        ["a", "a/b", "a/b/ledger"].map((at) => modeOf(path.join(parent, at))),
        ["700", "700", "700"]
      )
    })
  )

  it.effect("takes an empty directory as it is", () =>
    Effect.gen(function* () {
      const { directory } = yield* inDirectory
      fs.mkdirSync(directory, { mode: 0o750 })
      assert.strictEqual((yield* opening({ directory }))._tag, "Clean")
      assert.strictEqual((yield* opening({ directory }))._tag, "Clean")
    })
  )

  it.effect("makes an unfinished beginning anew, whatever of it is there", () =>
    Effect.gen(function* () {
      const { directory } = yield* inDirectory
      yield* opening({ directory })
      const parts = ["guard", "mirror.sqlite", "segments", "operations", "ledger.json.tmp"]
      for (let mask = 0; mask < 1 << parts.length; mask += 3) {
        fs.rmSync(path.join(directory, "ledger.json"))
        fs.writeFileSync(path.join(directory, "ledger.json.tmp"), '{"id":"x","for')
        fs.mkdirSync(path.join(directory, "operations"), { recursive: true })
        if (mask % 2 === 0) fs.writeFileSync(segmentOf(directory, 1), "")
        for (const [nth, part] of parts.entries()) {
          if ((mask & (1 << nth)) === 0) continue
          fs.rmSync(path.join(directory, part), { recursive: true })
        }
        const report = yield* opening({ directory })
        assert.deepStrictEqual([report._tag, report.head.seq], ["Clean", 0])
        assert.isTrue(fs.existsSync(path.join(directory, "ledger.json")))
      }
    })
  )

  it.effect("refuses a foreign directory that is not empty, and leaves it alone", () =>
    Effect.gen(function* () {
      const { directory, parent } = yield* inDirectory
      fs.mkdirSync(directory)
      for (const name of ["notes.txt", ".hidden", "segments.old", "mirror"]) {
        fs.writeFileSync(path.join(directory, name), "mine")
        yield* notALedger({ directory }, parent, new RegExp(`no ledger.json, and holds "${name}"`))
        fs.rmSync(path.join(directory, name))
      }
      assert.deepStrictEqual(fs.readdirSync(directory), [])
    })
  )

  it.effect("refuses a directory that has rows but no ledger.json", () =>
    Effect.gen(function* () {
      const { directory, parent } = yield* inDirectory
      const made = yield* makeFixture(directory, 1, 2)
      fs.rmSync(path.join(directory, "ledger.json"))
      yield* notALedger(
        { directory },
        parent,
        /no ledger.json, but "0000000000000001.jsonl" among its segments/
      )
      fs.rmSync(segmentOf(directory, 1))
      fs.writeFileSync(path.join(directory, "segments", "notes"), "")
      yield* notALedger({ directory }, parent, /"notes" among its segments/)
      fs.rmSync(path.join(directory, "segments", "notes"))
      // Its rows are gone from the journal, but the mirror still has them: nothing new begins here.
      const error = yield* refusal({ directory })
      assert.instanceOf(error, LedgerDiverged)
      assert.isFalse(fs.existsSync(path.join(directory, "ledger.json")))
      assert.strictEqual(made.ends.length, 3)
    })
  )

  it.effect("refuses another format, and says which version reads what", () =>
    Effect.gen(function* () {
      const { directory } = yield* inDirectory
      yield* makeFixture(directory, 1)
      const json = path.join(directory, "ledger.json")
      const texts = [
        '{"id":"x","format":"sealog/2","created":"2030-01-01T00:00:00Z"}',
        '{"format":"sealog/2"}',
        '{"id":{"new":true},"format":"sealog/2","made":1}'
      ]
      for (const text of texts) {
        fs.writeFileSync(json, text)
        const before = snapshot(directory)
        const error = yield* refusal({ directory })
        assert.instanceOf(error, FormatUnknown, text)
        assert.deepStrictEqual(
          [error.expected, error.actual, error.path],
          ["sealog/1", "sealog/2", json]
        )
        assert.deepStrictEqual(snapshot(directory), before)
      }
    })
  )

  it.effect("refuses a broken ledger.json", () =>
    Effect.gen(function* () {
      const { directory, parent } = yield* inDirectory
      yield* makeFixture(directory, 1)
      const json = path.join(directory, "ledger.json")
      const texts = [
        "",
        "{",
        "null",
        "[]",
        '"sealog/1"',
        '{"format":1}',
        '{"id":"x"}',
        '{"format":"sealog/1"}',
        "\0\0\0\0",
        '{"id":7,"format":"sealog/1","created":""}'
      ]
      for (const text of texts) {
        fs.writeFileSync(json, text)
        yield* notALedger({ directory }, parent, /its ledger.json cannot be read\. Restore it/)
      }
    })
  )

  it.effect("refuses a file where a directory should be, and the reverse", () =>
    Effect.gen(function* () {
      const { directory, file, parent } = yield* inDirectory
      fs.writeFileSync(directory, "a file")
      yield* notALedger({ directory }, parent, /it is a file.*say `file` instead/)
      const error = yield* refusal({ directory: path.join(directory, "below") })
      assert.instanceOf(error, JournalError)
      assert.strictEqual(error.code, "ENOTDIR")
      assert.match(error.message, /a file stands where a directory should be/)
      fs.mkdirSync(file)
      yield* notALedger({ file }, parent, /it is not a file.*say `directory` instead/)
      fs.rmdirSync(file)
      fs.writeFileSync(`${file}.sealog`, "a file")
      yield* notALedger({ file }, parent, /it is a file/)
    })
  )

  it.effect("refuses a directory where one of its files should be, and the reverse", () =>
    Effect.gen(function* () {
      const { directory } = yield* inDirectory
      const made = yield* makeFixture(directory, 1)
      const cases: ReadonlyArray<readonly [string, "directory" | "file", ReadonlyArray<unknown>]> =
        [
          ["ledger.json", "directory", [JournalError, NotALedger]],
          ["guard", "directory", [LockError]],
          ["mirror.sqlite", "directory", [MirrorError]],
          ["segments", "file", [JournalError, NotALedger]],
          ["segments/0000000000000001.jsonl", "directory", [LedgerDamaged]]
        ]
      for (const [name, kind, errors] of cases) {
        const at = path.join(directory, name)
        const aside = path.join(path.dirname(directory), "aside")
        fs.renameSync(at, aside)
        if (kind === "file") fs.writeFileSync(at, "")
        else fs.mkdirSync(at)
        const before = snapshot(directory)
        const error = yield* refusal({ directory })
        assert.include(errors, error.constructor, `${name}: ${error.message}`)
        assert.include(error.message, at)
        assert.deepStrictEqual(snapshot(directory), before)
        fs.rmSync(at, { recursive: true })
        fs.renameSync(aside, at)
        assert.strictEqual((yield* opening({ directory }))._tag, "Clean", name)
      }
      assert.strictEqual(made.ends.length, 1)
    })
  )

  it.effect("refuses links in any of its places, and leaves what they point at alone", () =>
    Effect.gen(function* () {
      const { directory, parent } = yield* inDirectory
      const made = yield* makeFixture(directory, 1, 1)
      const real = path.join(parent, "real")
      const names = [
        ["", /it is a symbolic link\. Give the real path/],
        ["ledger.json", /symbolic link/],
        ["segments", /symbolic link/],
        ["segments/0000000000000001.jsonl", /symbolic link/],
        ["mirror.sqlite", /symbolic link/],
        ["guard", /symbolic link/]
      ] as const
      for (const [name, reason] of names) {
        putState(made, { 1: made.bytes }, made.mirrors[1])
        const at = path.join(directory, name)
        fs.renameSync(at, real)
        fs.symlinkSync(real, at)
        const before = fs.statSync(real).isFile()
          ? fs.readFileSync(real, "latin1")
          : image(real).join("\n")
        const error = yield* refusal({ directory })
        assert.match(error.message, reason, name)
        assert.include(error.message, at)
        const after = fs.statSync(real).isFile()
          ? fs.readFileSync(real, "latin1")
          : image(real).join("\n")
        assert.strictEqual(after, before, name)
        fs.rmSync(at)
        fs.renameSync(real, at)
      }
      putState(made, { 1: made.bytes }, made.mirrors[2])
      for (const name of ["mirror.sqlite-wal", "mirror.sqlite-shm", "mirror.sqlite-journal"]) {
        fs.writeFileSync(real, "mine")
        fs.symlinkSync(real, path.join(directory, name))
        const error = yield* refusal({ directory })
        assert.instanceOf(error, MirrorError)
        assert.match(error.message, new RegExp(`${name} is a symbolic link`))
        assert.strictEqual(fs.readFileSync(real, "utf8"), "mine")
        fs.rmSync(path.join(directory, name))
      }
      // A dangling link is a link too: nothing is made where it points.
      fs.rmSync(real)
      for (const name of ["new", "ledger/operations"]) {
        fs.symlinkSync(real, path.join(parent, name))
        assert.instanceOf(
          yield* refusal({ directory: path.join(parent, name.split("/")[0] ?? "") }),
          NotALedger
        )
        assert.isFalse(fs.existsSync(real))
        fs.rmSync(path.join(parent, name))
      }
    })
  )

  it.effect("refuses links in Cortex mode: the file, and the directory beside it", () =>
    Effect.gen(function* () {
      const { file, parent } = yield* inDirectory
      yield* using({ file }, (ledger) => ledger.append(note))
      for (const name of [file, `${file}.sealog`]) {
        const real = path.join(parent, "real")
        fs.renameSync(name, real)
        fs.symlinkSync(real, name)
        yield* notALedger({ file }, parent, /it is a symbolic link/)
        fs.rmSync(name)
        fs.renameSync(real, name)
      }
      fs.renameSync(file, path.join(parent, "real"))
      fs.symlinkSync(path.join(parent, "nowhere"), file)
      yield* notALedger({ file }, parent, /it is a symbolic link/)
    })
  )

  it.effect("puts everything beside the file in Cortex mode, and continues what Cortex wrote", () =>
    Effect.gen(function* () {
      const { file, parent } = yield* inDirectory
      const nested = path.join(path.dirname(file), "deep", "events.jsonl")
      yield* using({ file: nested }, (ledger) => ledger.append(note))
      assert.deepStrictEqual(fs.readdirSync(path.dirname(nested)).toSorted(), [
        "events.jsonl",
        "events.jsonl.sealog"
      ])
      const names = fs.readdirSync(`${nested}.sealog`).toSorted()
      assert.deepStrictEqual(names, ["guard", "ledger.json", "manifest.json", "mirror.sqlite"])
      assert.include(fs.readFileSync(`${nested}.sealog/ledger.json`, "utf8"), '"id":"events"')
      assert.deepStrictEqual([modeOf(nested), modeOf(`${nested}.sealog`)], ["600", "700"])
      fs.cpSync(nested, file)
      const report = yield* opening({ file })
      assert.deepStrictEqual([report._tag, report.head.seq], ["Recovered", 1])
      assert.isAbove(parent.length, 0)
    })
  )
})

describe("Home, held", () => {
  it.effect("two layers in one process exclude each other until the first is closed", () =>
    Effect.gen(function* () {
      const { directory } = yield* inDirectory
      const scope = yield* Scope.make()
      yield* Layer.build(Layer.fresh(TestLedger.layer({ directory }))).pipe(Scope.provide(scope))
      const before = snapshot(directory)
      const error = yield* refusal({ directory })
      assert.instanceOf(error, StoreBusy)
      assert.match(error.message, /in use.*open the store for reading only/)
      // The same ledger by another spelling of its path.
      assert.instanceOf(yield* refusal({ directory: `${directory}/../ledger/` }), StoreBusy)
      assert.deepStrictEqual(snapshot(directory), before)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* opening({ directory }))._tag, "Clean")
    })
  )

  it.effect("lets the guard go when opening fails", () =>
    Effect.gen(function* () {
      const { directory } = yield* inDirectory
      const made = yield* makeFixture(directory, 1)
      putState(made, { 1: Buffer.from("garbage\n") }, undefined)
      for (const _ of [1, 2, 3]) assert.instanceOf(yield* refusal({ directory }), LedgerDamaged)
      putState(made, { 1: made.bytes }, undefined)
      assert.strictEqual((yield* opening({ directory }))._tag, "Recovered")
    })
  )

  for (const [runtime, executable] of [
    ["of this runtime", process.execPath],
    ["of the other runtime", otherRuntime]
  ] as const) {
    it.effect.skipIf(!fs.existsSync(executable))(
      `a process ${runtime} excludes this one until it is killed`,
      () =>
        Effect.gen(function* () {
          const { directory } = yield* inDirectory
          const { died, first, kill } = yield* child(["hold", directory], executable)
          assert.deepStrictEqual(JSON.parse(first), { opened: "Clean", seq: 1 })
          assert.instanceOf(yield* refusal({ directory }), StoreBusy)
          kill()
          yield* Effect.promise(() => died)
          // What it had acknowledged is there, and a reader of the mirror sees it at once.
          const report = yield* opening({ directory })
          assert.deepStrictEqual([report._tag, report.head.seq], ["Clean", 1])
          const receipt = yield* using({ directory }, (ledger) => ledger.append(named("next")))
          assert.strictEqual(receipt.seq, 2)
        })
    )
  }

  it.effect("this process excludes another, which says so", () =>
    Effect.gen(function* () {
      const { directory } = yield* inDirectory
      yield* using({ directory }, () =>
        Effect.scoped(
          Effect.gen(function* () {
            const { first } = yield* child(["hold", directory])
            assert.match(first, /"tag":"StoreBusy"/)
          })
        )
      )
      const { first, stdin } = yield* child(["hold", directory])
      assert.match(first, /"opened":"Clean"/)
      stdin.end()
    })
  )
})

describe("a sidecar", () => {
  it.effect("is the ledger beside a file, once it is made", () =>
    Effect.gen(function* () {
      const { parent } = yield* inDirectory
      const file = path.join(parent, "session.jsonl")
      const isThere = Effect.provide(hasSidecar(file), SealogNode.layerPlatform)
      assert.strictEqual(sidecarPath(file), path.join(parent, "session.jsonl.ledger"))
      assert.isFalse(yield* isThere)
      fs.writeFileSync(sidecarPath(file), "")
      assert.isFalse(yield* isThere)
      fs.rmSync(sidecarPath(file))
      fs.mkdirSync(sidecarPath(file))
      assert.isFalse(yield* isThere)
      yield* using({ directory: sidecarPath(file) }, () => Effect.void)
      assert.isTrue(yield* isThere)
      fs.renameSync(sidecarPath(file), path.join(parent, "elsewhere"))
      fs.symlinkSync(path.join(parent, "elsewhere"), sidecarPath(file))
      assert.isFalse(yield* isThere)
    })
  )
})
