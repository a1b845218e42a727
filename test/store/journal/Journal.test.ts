import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Path } from "effect"
import type { Group } from "../../../src/core/Row.ts"
import type { Line } from "../../../src/core/Segment.ts"
import { JournalError, RowDamaged } from "../../../src/store/errors.ts"
import * as Journal from "../../../src/store/journal/Journal.ts"
import * as JournalWriter from "../../../src/store/journal/JournalWriter.ts"
import { JournalFinal } from "../../../src/store/journal/Journal.ts"
import * as Layout from "../../../src/store/journal/Layout.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import {
  child,
  groups,
  makeFixture,
  opening,
  said,
  segmentOf,
  small,
  usingWatched
} from "../crashKit.ts"
import type { Watch } from "../crashKit.ts"
import { assertSound, named, segmentBytes, using } from "../ledgerFixtures.ts"

const inDirectory = Effect.map(TestLedger.directory, (parent) => path.join(parent, "ledger"))

const segments = (directory: string): ReadonlyArray<readonly [string, number]> =>
  fs
    .readdirSync(path.join(directory, "segments"))
    .toSorted()
    .map((name) => [name, fs.statSync(path.join(directory, "segments", name)).size])

const recording =
  (calls: Array<string>): Watch =>
  (call, effect) =>
    Effect.tap(
      effect,
      Effect.sync(() => void calls.push(call))
    )

/** A reader of the lines of one file. */
const readerOf = Effect.fnUntraced(function* (file: string, lineBytesMax: number) {
  const layout = Layout.of(yield* Path.Path, { file })
  return yield* Journal.makeReader(layout, { lineBytesMax })
})

const linesOf = Effect.fnUntraced(function* (file: string, lineBytesMax: number) {
  const reader = yield* readerOf(file, lineBytesMax)
  const seen: Array<Omit<Line, "bytes"> & { readonly text: string }> = []
  for (const one of yield* reader.files) {
    yield* reader.eachLine(one, { offset: 0, number: 1 }, one.bytes, (lines) =>
      Effect.sync(() => {
        for (const { bytes, ...line } of lines)
          seen.push({ ...line, text: Buffer.from(bytes).toString() })
      })
    )
  }
  return seen
})

const provideFiles = Effect.provide(TestLedger.layerPlatform())

const note = (text: string) => named(text, { type: "cortex.event.system_note.v1" })

describe("Journal", () => {
  it.effect("names segments by their first seq, and begins one when the last is full", () =>
    Effect.gen(function* () {
      const directory = yield* inDirectory
      const options = { directory, segmentBytesMax: 1300 }
      // Two rows of a little more than 500 bytes fit into one segment.
      yield* using(options, (ledger) =>
        Effect.gen(function* () {
          for (const [draft] of groups(1, 1, 1, 1, 1))
            if (draft !== undefined) yield* ledger.append(draft)
          yield* assertSound(ledger)
        })
      )
      const names = segments(directory)
      assert.deepStrictEqual(
        names.map(([name]) => name),
        ["0000000000000001.jsonl", "0000000000000003.jsonl", "0000000000000005.jsonl"]
      )
      for (const [, size] of names) assert.isAtMost(size, 1300)
      // The last one is filled up by the next session, and only then left.
      yield* using(options, (ledger) =>
        Effect.andThen(ledger.append(small("x")), ledger.append(small("y")))
      )
      assert.deepStrictEqual(
        segments(directory)
          .map(([name]) => name)
          .slice(2),
        ["0000000000000005.jsonl", "0000000000000007.jsonl"]
      )
      assert.strictEqual((yield* opening(options))._tag, "Clean")
    })
  )

  it.effect("keeps a group in one segment, even one that is longer than a segment may be", () =>
    Effect.gen(function* () {
      const directory = yield* inDirectory
      yield* using({ directory, segmentBytesMax: 700 }, (ledger) =>
        Effect.gen(function* () {
          for (const group of groups(1, 4, 2, 1)) yield* ledger.appendAll(group)
          yield* assertSound(ledger)
        })
      )
      const names = segments(directory).map(([name]) => Number.parseInt(name))
      assert.deepStrictEqual(names, [1, 2, 6, 8])
      assert.isAbove(fs.statSync(segmentOf(directory, 2)).size, 2000)
    })
  )

  it.effect("writes one file in Cortex mode, however long", () =>
    Effect.gen(function* () {
      const file = path.join(yield* TestLedger.directory, "events.jsonl")
      for (const text of ["one", "two"]) {
        yield* using({ file, segmentBytesMax: 10 }, (ledger) =>
          ledger.appendAll([note(text), note(`${text} again`)])
        )
      }
      assert.deepStrictEqual(fs.readFileSync(file, "utf8").split("\n").length, 5)
      assert.deepStrictEqual(fs.readdirSync(path.dirname(file)).toSorted(), [
        "events.jsonl",
        "events.jsonl.sealog"
      ])
    })
  )

  it.effect("goes on behind white space that lacks its LF, as behind a row that does", () =>
    Effect.gen(function* () {
      const file = path.join(yield* TestLedger.directory, "events.jsonl")
      for (const [nth, tail] of [
        "",
        " ",
        "\t\r",
        "\u0085",
        "\u00a0\u2028",
        "\n\n \u3000"
      ].entries()) {
        yield* using({ file }, (ledger) => ledger.append(note(String(nth))))
        fs.appendFileSync(file, tail)
        if (tail === "") fs.truncateSync(file, fs.statSync(file).size - 1)
        fs.rmSync(`${file}.sealog`, { recursive: true })
        const report = yield* using({ file }, (ledger) =>
          Effect.as(assertSound(ledger), ledger.opened)
        )
        assert.strictEqual(report.head.seq, nth + 1)
        if (report._tag === "Recovered") {
          assert.includeMembers(
            report.actions.map(({ _tag }) => _tag),
            ["LineCompleted"]
          )
        }
        assert.strictEqual(fs.readFileSync(file).at(-1), 0x0a)
        assert.strictEqual((yield* opening({ file }))._tag, "Clean")
      }
      yield* using({ file }, assertSound)
    })
  )

  it.effect("finds the head from the tail, whatever lies before", () =>
    Effect.gen(function* () {
      const directory = yield* inDirectory
      const options = { directory, segmentBytesMax: 1300 }
      const drafts = Array.from({ length: 25 }, (_, nth) => small(String(nth)))
      yield* using(options, (ledger) =>
        Effect.forEach(drafts, (draft) => ledger.append(draft), { discard: true })
      )
      const read: Array<string> = []
      yield* usingWatched(options, recording(read), (ledger) =>
        Effect.sync(() => assert.strictEqual(ledger.opened.head.seq, 25))
      )
      const bytes = read
        .filter((call) => call.startsWith("read segments"))
        .reduce((sum, call) => sum + Number(call.split(" ").at(-1)), 0)
      // Its last row, for both legs and for its signature.
      assert.isAtMost(bytes, 1_400, read.join("\n"))
      assert.isAbove(segmentBytes(directory).byteLength, 12_000)
    })
  )

  it.effect("refuses a line over the limit when it reads, and a draft over it when it writes", () =>
    Effect.gen(function* () {
      const directory = yield* inDirectory
      const payload = "x".repeat(5000)
      const long = { ...small("long"), payload }
      yield* using({ directory }, (ledger) => ledger.append(long))
      const rows = yield* using({ directory, lineBytesMax: 3000 }, (ledger) =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(ledger.append({ ...small("longer"), payload }))
          assert.strictEqual(error._tag, "PayloadTooLarge")
          const report = yield* ledger.verify()
          assert.strictEqual(
            report._tag === "Damaged" && report.failures[0]?.reason.kind,
            "line_too_long"
          )
          return report.rows
        })
      )
      assert.strictEqual(rows, 1)
      for (const name of fs.readdirSync(directory)) {
        if (name.startsWith("mirror")) fs.rmSync(path.join(directory, name))
      }
      const refused = yield* Effect.flip(opening({ directory, lineBytesMax: 3000 }))
      assert.match(refused.message, /a line of \d+ bytes, the limit is 3000/)
      assert.strictEqual((yield* opening({ directory }))._tag, "Recovered")
    })
  )

  it.effect("ends a line at LF and nowhere else, and says where each lies", () =>
    Effect.gen(function* () {
      const file = path.join(yield* TestLedger.directory, "lines")
      const texts = [
        "a",
        "",
        "b\rc",
        "d\u2028e\u0085f",
        "g\r",
        "\ufeffh",
        "x".repeat(2_500_000),
        "last"
      ]
      fs.writeFileSync(file, texts.join("\n"))
      const seen = yield* linesOf(file, 1_000_000)
      assert.deepStrictEqual(
        seen.map(({ text }) => text.slice(0, 10)),
        texts.map((text) => text.slice(0, 10))
      )
      assert.deepStrictEqual(
        seen.map(({ length }) => length),
        texts.map((text) => Buffer.byteLength(text))
      )
      let offset = 0
      for (const [nth, line] of seen.entries()) {
        assert.deepStrictEqual([line.number, line.offset], [nth + 1, offset])
        assert.strictEqual(line.tooLong, line.length > 1_000_000)
        assert.strictEqual(line.terminated, nth < texts.length - 1)
        offset += line.length + 1
      }
    }).pipe(provideFiles)
  )

  it.effect("reads ranges beyond the end short, whatever is asked", () =>
    Effect.gen(function* () {
      const file = path.join(yield* TestLedger.directory, "lines")
      fs.writeFileSync(file, "0123456789")
      const reader = yield* readerOf(file, 100)
      const at = (offset: number, length: number) =>
        Effect.map(reader.read({ segment: 0, offset, length }), (bytes) =>
          Buffer.from(bytes).toString()
        )
      assert.strictEqual(yield* at(2, 3), "234")
      assert.strictEqual(yield* at(8, 5), "89")
      assert.strictEqual(yield* at(20, 5), "")
      // As a damaged index may ask: no memory is taken for what is not there.
      assert.strictEqual(yield* at(3, 2 ** 50), "3456789")
      assert.strictEqual(yield* at(2 ** 50, 2 ** 50), "")
    }).pipe(provideFiles)
  )

  it.effect("refuses what is no regular file", () =>
    Effect.gen(function* () {
      const parent = yield* TestLedger.directory
      fs.mkdirSync(path.join(parent, "directory"))
      fs.writeFileSync(path.join(parent, "file"), "")
      fs.symlinkSync(path.join(parent, "file"), path.join(parent, "link"))
      for (const [name, actual] of [
        ["directory", "a directory"],
        ["link", "a symbolic link"]
      ] as const) {
        const reader = yield* readerOf(path.join(parent, name), 100)
        const error = yield* Effect.flip(reader.files)
        assert.instanceOf(error, RowDamaged)
        assert.deepStrictEqual([error.path, error.actual], [path.join(parent, name), actual])
        const unread = yield* Effect.flip(reader.read({ segment: 0, offset: 0, length: 1 }))
        assert.instanceOf(unread, JournalError)
        assert.include(["EISDIR", "ELOOP", "EMLINK"], unread.code)
      }
    }).pipe(provideFiles)
  )

  for (const [what, lineBytes, rows] of [
    ["of many lines", 100_000, 2000],
    ["of one line", 200_000_000, 1]
  ] as const) {
    it.effect(`reads a file of 200 MB ${what} in bounded memory`, () =>
      Effect.gen(function* () {
        const file = path.join(yield* TestLedger.directory, "long.jsonl")
        const part = Buffer.alloc(1_000_000, "a")
        for (let at = lineBytes; at <= part.byteLength; at += lineBytes) part[at - 1] = 0x0a
        const out = fs.openSync(file, "w")
        for (let nth = 0; nth < 200; nth++) fs.writeSync(out, part)
        fs.closeSync(out)
        const limit = 4 * 1024 * 1024
        const report = yield* said(["read", file, String(limit)])
        assert.deepInclude(report, { tag: "Damaged", rows })
        const grown = Number(Reflect.get(Object(report), "grownBytes"))
        assert.isBelow(grown, 140_000_000)
      })
    )
  }
})

describe("Journal, call by call", () => {
  const first = "segments/0000000000000001.jsonl"
  const second = "segments/0000000000000002.jsonl"

  it.effect("asks of the first append for a file, its fsync and that of its directory", () =>
    Effect.gen(function* () {
      const directory = yield* inDirectory
      const calls: Array<string> = []
      yield* usingWatched({ directory, segmentBytesMax: 700 }, recording(calls), (ledger) =>
        Effect.gen(function* () {
          calls.length = 0
          yield* ledger.append(small("a"))
          const size = fs.statSync(segmentOf(directory, 1)).size
          assert.deepStrictEqual(calls.splice(0), [
            `open ${first} wx+`,
            `chmod ${first}`,
            `stat ${first}`,
            `writeAll ${first} ${size}`,
            `sync ${first}`,
            "open segments r",
            "sync segments"
          ])
        })
      )
    })
  )

  it.effect("asks of a later append for a look, a write and an fsync", () =>
    Effect.gen(function* () {
      const directory = yield* inDirectory
      const calls: Array<string> = []
      const options = { directory, segmentBytesMax: 1300 }
      yield* using(options, (ledger) => ledger.append(small("a")))
      yield* usingWatched(options, recording(calls), (ledger) =>
        Effect.gen(function* () {
          calls.length = 0
          const before = fs.statSync(segmentOf(directory, 1)).size
          yield* ledger.append(small("b"))
          const size = fs.statSync(segmentOf(directory, 1)).size - before
          const write = [`stat ${first}`, `writeAll ${first} ${size}`, `sync ${first}`]
          assert.deepStrictEqual(calls.splice(0), write)
          // What is there already asks for no write at all.
          yield* ledger.append(small("b"))
          assert.deepStrictEqual(
            calls.splice(0).filter((call) => !/^(?:open \S+ r$|read )/.test(call)),
            []
          )
          yield* ledger.append(small("c"))
          const third = second.replace("2.jsonl", "3.jsonl")
          assert.deepStrictEqual(
            calls.splice(0).map((call) => call.replace(/ \d+$/, "")),
            [
              `open ${third} wx+`,
              `chmod ${third}`,
              `stat ${third}`,
              `writeAll ${third}`,
              `sync ${third}`,
              "open segments r",
              "sync segments"
            ]
          )
        })
      )
    })
  )
})

describe("Journal, under another hand", () => {
  const hands: ReadonlyArray<readonly [string, JournalFinal["reason"], (segment: string) => void]> =
    [
      ["appends to it", "length_changed", (segment) => fs.appendFileSync(segment, "x")],
      ["cuts it", "length_changed", (segment) => fs.truncateSync(segment, 10)],
      ["empties it", "length_changed", (segment) => fs.truncateSync(segment, 0)],
      ["removes it", "unlinked", (segment) => fs.rmSync(segment)]
    ]
  for (const [what, reason, act] of hands) {
    it.effect(`takes no more appends once another program ${what}`, () =>
      Effect.gen(function* () {
        const directory = yield* inDirectory
        yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            yield* ledger.append(small("a"))
            act(segmentOf(directory, 1))
            const left = fs.existsSync(segmentOf(directory, 1))
              ? fs.readFileSync(segmentOf(directory, 1))
              : undefined
            for (const name of ["b", "c"]) {
              const error = yield* Effect.flip(ledger.append(small(name)))
              assert.instanceOf(error, JournalFinal)
              assert.deepStrictEqual([error.reason, error.durable.seq], [reason, 1])
              assert.match(error.message, /Another program.*Nothing of this append is durable/)
            }
            const now = fs.existsSync(segmentOf(directory, 1))
              ? fs.readFileSync(segmentOf(directory, 1))
              : undefined
            assert.deepStrictEqual(now, left)
            assert.strictEqual((yield* ledger.head).seq, 1)
          })
        )
      })
    )
  }

  it.effect("a foreign file in the place of the next segment is left alone", () =>
    Effect.gen(function* () {
      const directory = yield* inDirectory
      yield* using({ directory, segmentBytesMax: 10 }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(small("a"))
          fs.writeFileSync(segmentOf(directory, 2), "mine")
          const error = yield* Effect.flip(ledger.append(small("b")))
          assert.instanceOf(error, JournalError)
          assert.strictEqual(error.code, "EEXIST")
          assert.strictEqual(fs.readFileSync(segmentOf(directory, 2), "utf8"), "mine")
          fs.rmSync(segmentOf(directory, 2))
          assert.strictEqual((yield* ledger.append(small("b"))).seq, 2)
          yield* assertSound(ledger)
        })
      )
    })
  )

  it.effect("a writer that was told of an end writes nowhere else", () =>
    Effect.gen(function* () {
      const made = yield* makeFixture(yield* inDirectory, 1)
      const layout = Layout.of(yield* Path.Path, { directory: made.directory })
      const reader = yield* Journal.makeReader(layout, { lineBytesMax: 10_000 })
      const writer = yield* JournalWriter.makeWriter(reader, {
        lineBytesMax: 10_000,
        segmentBytesMax: 10_000
      })
      const [last] = yield* reader.files
      const bytes = made.bytes.byteLength
      yield* writer.resume(last, { seq: 1, leafHash: "" })
      const group: Group = { firstSeq: 2, rows: [], bytes: new TextEncoder().encode("group\n") }
      yield* writer.write(group)
      assert.strictEqual(
        fs.readFileSync(segmentOf(made.directory, 1), "utf8").slice(bytes),
        "group\n"
      )
      const final = writer.finish("defect", new Error("x"))
      assert.strictEqual(yield* Effect.flip(writer.write(group)), final)
      assert.strictEqual(yield* Effect.flip(writer.reserve(group)), final)
      assert.strictEqual(fs.statSync(segmentOf(made.directory, 1)).size, bytes + 6)
      assert.strictEqual(writer.final(), final)
    }).pipe(provideFiles, Effect.scoped)
  )
})

describe("Journal, where a segment's file is there already", () => {
  const appendBehind = (left: string) =>
    Effect.gen(function* () {
      const directory = yield* inDirectory
      yield* using({ directory, segmentBytesMax: 1 }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(named("first"))
          const next = path.join(directory, "segments", "0000000000000002.jsonl")
          fs.writeFileSync(next, left, { mode: 0o644 })
          const second = yield* Effect.result(ledger.append(named("second")))
          assert.strictEqual(second._tag, left === "" ? "Success" : "Failure")
          assert.strictEqual(fs.statSync(next).mode & 0o777, left === "" ? 0o600 : 0o644)
        })
      )
    })

  it.effect("takes an empty one, which an earlier try may have left", () => appendBehind(""))

  it.effect("refuses one with anything in it", () => appendBehind("x"))
})

describe("Journal, whatever the umask", () => {
  for (const umask of ["0", "777"]) {
    it.effect(`makes private files and directories under umask ${umask}`, () =>
      Effect.gen(function* () {
        const directory = path.join(yield* inDirectory, "nested", "ledger")
        assert.strictEqual(
          yield* Effect.map(child(["append", directory, umask]), ({ first }) => first),
          '"Recovered"'
        )
        const names = fs.readdirSync(path.dirname(path.dirname(directory)), {
          recursive: true,
          encoding: "utf8"
        })
        const modes = names.map((name) => {
          const info = fs.lstatSync(path.join(path.dirname(path.dirname(directory)), name))
          return [(info.mode & 0o777).toString(8), info.isDirectory()] as const
        })
        assert.isTrue(names.some((name) => name.endsWith("outcome.json")))
        assert.isTrue(names.some((name) => name.endsWith("0000000000000003.jsonl")))
        for (const [nth, [mode, isDirectory]] of modes.entries()) {
          assert.strictEqual(mode, isDirectory ? "700" : "600", names[nth])
        }
      })
    )
  }
})
