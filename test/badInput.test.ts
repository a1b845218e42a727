/**
 * What no program should hand in, and what no machine should do: each is a clear typed error or a
 * failure in a report; nothing is written, and nothing that was acknowledged is lost.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Result, Stream } from "effect"
import type { Draft } from "../src/core/Draft.ts"
import { DraftInvalid } from "../src/core/Draft.ts"
import type { VerifyReport } from "../src/core/VerifyReport.ts"
import * as SealogNode from "../src/platform/SealogNode.ts"
import { JournalError, MirrorError } from "../src/store/errors.ts"
import { LockError } from "../src/store/locking/Guard.ts"
import { JournalFinal } from "../src/store/journal/Journal.ts"
import * as LedgerModule from "../src/store/Ledger.ts"
import { LedgerDamaged } from "../src/store/opening/Opening.ts"
import { Reader } from "../src/store/reading/Reader.ts"
import * as TestLedger from "../src/testing/TestLedger.ts"
import {
  canMount,
  image,
  isDeno,
  isRoot,
  keptBytes,
  makeFixture,
  mounted,
  opening,
  refusal,
  said,
  segmentOf,
  small
} from "./store/crashKit.ts"
import { assertSound, named, snapshot, using, vector } from "./store/ledgerFixtures.ts"

const verify = (file: string) =>
  Effect.provide(LedgerModule.verify({ file }), SealogNode.layerPlatform)

const kinds = (report: VerifyReport) =>
  report._tag === "Intact" ? [] : report.failures.map(({ line, reason }) => [line, reason.kind])

/** Two sound rows that the original wrote. */
const sound = vector("log-unsigned.jsonl").toString().split("\n").slice(0, 2)

const [first = "", second = ""] = sound

/** The first row with another payload text; its hashes do not matter where it cannot be read. */
const withPayload = (payload: string): string => {
  const from = first.indexOf('"payload":') + '"payload":'.length
  return `${first.slice(0, from)}${payload}${first.slice(first.indexOf(',"payload_hash"'))}`
}

const bytesOf = (...parts: ReadonlyArray<string | Uint8Array>) =>
  Buffer.concat(parts.map((part) => Buffer.from(part)))

const deep = (levels: number) => "[".repeat(levels) + "]".repeat(levels)

interface BadFile {
  readonly what: string
  readonly bytes: Buffer
  /** Line and kind of what verify finds; nothing where the original reads it and so do we. */
  readonly found: ReadonlyArray<readonly [number, string]>
  /** Whether opening takes it for a sound row and the remains of a write, which it keeps elsewhere. */
  readonly torn?: boolean
}

const badFiles: ReadonlyArray<BadFile> = [
  {
    what: "one text without an end",
    bytes: bytesOf("once upon a time"),
    found: [[1, "torn_tail"]]
  },
  {
    what: "one JSON document",
    bytes: bytesOf('{\n  "name": "x"\n}'),
    found: [
      [1, "row_unreadable"],
      [2, "row_unreadable"],
      [3, "torn_tail"]
    ]
  },
  { what: "zeros", bytes: Buffer.alloc(5000), found: [[1, "torn_tail"]] },
  {
    what: "invalid UTF-8",
    bytes: bytesOf(first, "\n", second.slice(0, 300), Uint8Array.of(0xff), second.slice(300), "\n"),
    found: [[2, "row_unreadable"]]
  },
  {
    what: "a surrogate in UTF-8",
    bytes: bytesOf(
      first,
      "\n",
      second.slice(0, 300),
      Uint8Array.of(0xed, 0xa0, 0x80),
      second.slice(300),
      "\n"
    ),
    found: [[2, "row_unreadable"]]
  },
  {
    what: "a BOM",
    bytes: bytesOf("\ufeff", first, "\n", second, "\n"),
    found: [[1, "row_unreadable"]]
  },
  {
    what: "a BOM in the middle",
    bytes: bytesOf(first, "\n\ufeff", second, "\n"),
    found: [[2, "row_unreadable"]]
  },
  {
    what: "UTF-16",
    bytes: Buffer.from(`${first}\n`, "utf16le"),
    found: [
      [1, "row_unreadable"],
      [2, "torn_tail"]
    ]
  },
  { what: "CRLF", bytes: bytesOf(first, "\r\n", second, "\r\n"), found: [] },
  { what: "CR alone", bytes: bytesOf(first, "\r", second, "\n"), found: [[1, "row_unreadable"]] },
  { what: "blank lines", bytes: bytesOf("\n\n", first, "\n \t\n", second, "\n\n"), found: [] },
  {
    what: "a NUL in a row",
    bytes: bytesOf(first, "\n", second.slice(0, 300), "\0", second.slice(300), "\n"),
    found: [[2, "row_unreadable"]],
    torn: true
  },
  {
    what: "a line of NUL",
    bytes: bytesOf(first, "\n\0\0\0\n", second, "\n"),
    found: [[2, "row_unreadable"]]
  },
  {
    what: "200 levels of nesting",
    bytes: bytesOf(withPayload(deep(200)), "\n", second, "\n"),
    found: [[1, "row_unreadable"]]
  },
  {
    what: "a hundred thousand levels of nesting",
    bytes: bytesOf(withPayload(deep(100_000)), "\n"),
    found: [[1, "row_unreadable"]]
  },
  {
    what: "an open end of a million brackets",
    bytes: bytesOf("[".repeat(1_000_000), "\n"),
    found: [[1, "row_unreadable"]]
  },
  { what: "1e400", bytes: bytesOf(withPayload("1e400"), "\n"), found: [[1, "row_unreadable"]] },
  { what: "NaN", bytes: bytesOf(withPayload("NaN"), "\n"), found: [[1, "row_unreadable"]] },
  {
    what: "a leading zero",
    bytes: bytesOf(withPayload("01"), "\n"),
    found: [[1, "row_unreadable"]]
  },
  {
    what: "a member twice in the payload",
    bytes: bytesOf(withPayload('{"a":1,"a":2}'), "\n"),
    found: [[1, "payload_ambiguous"]]
  },
  {
    what: "a member twice, once escaped",
    bytes: bytesOf(withPayload('{"a":1,"\\u0061":2}'), "\n"),
    found: [[1, "payload_ambiguous"]]
  },
  {
    what: "a lone surrogate",
    bytes: bytesOf(withPayload('"\\ud800"'), "\n"),
    found: [[1, "payload_ambiguous"]]
  },
  {
    what: "a member of the row twice",
    bytes: bytesOf(first.replace('{"id"', '{"payload":1,"id"'), "\n"),
    found: [[1, "payload_ambiguous"]]
  },
  {
    what: "a trailing comma",
    bytes: bytesOf(first.replace(/\}$/, ",}"), "\n"),
    found: [[1, "row_unreadable"]]
  },
  {
    what: "no object",
    bytes: bytesOf('[]\nnull\n"row"\n1\n'),
    found: [1, 2, 3, 4].map((line) => [line, "row_unreadable"] as const)
  },
  {
    what: "two rows on one line",
    bytes: bytesOf(first, second, "\n"),
    found: [[1, "row_unreadable"]]
  },
  {
    what: "a text that is no JSON",
    bytes: bytesOf("once upon a time\n"),
    found: [[1, "row_unreadable"]]
  },
  {
    what: "a torn last row",
    bytes: bytesOf(first, "\n", second.slice(0, 200)),
    found: [[2, "torn_tail"]],
    torn: true
  }
]

describe("A bad JSONL file", () => {
  for (const { bytes, found, torn = false, what } of badFiles) {
    it.effect(
      `with ${what} is ${found.length === 0 ? "read as the original reads it" : "named by verify"}`,
      () =>
        Effect.gen(function* () {
          const parent = yield* TestLedger.directory
          const file = path.join(parent, "bad.jsonl")
          fs.writeFileSync(file, bytes)
          const before = image(parent)
          const report = yield* verify(file)
          const seen = kinds(report).filter(([, kind]) => kind !== "orphan")
          assert.deepStrictEqual(
            seen,
            found.map(([line, kind]) => [line, kind]),
            JSON.stringify(report).slice(0, 2000)
          )
          if (report._tag === "Damaged") {
            for (const failure of report.failures) {
              assert.strictEqual(failure.path, file)
              assert.isBelow(failure.message.length, 1000)
            }
          }
          assert.deepStrictEqual(image(parent), before)
        })
    )

    it.effect(
      `with ${what} ${found.length === 0 ? "is continued" : "is opened by nobody as if it were whole"}`,
      () =>
        Effect.gen(function* () {
          const file = path.join(yield* TestLedger.directory, "bad.jsonl")
          fs.writeFileSync(file, bytes)
          const opened = yield* Effect.result(
            using({ file }, (ledger) =>
              Effect.gen(function* () {
                const note = named("next", { type: "cortex.event.system_note.v1" })
                const { seq } = yield* ledger.append(note)
                yield* assertSound(ledger)
                return { seq, opened: ledger.opened }
              })
            )
          )
          if (found.length === 0 || torn) {
            const { seq } = Result.getOrThrow(opened)
            assert.strictEqual(seq, torn ? 2 : 3)
            const left = bytes.byteLength - keptBytes(`${file}.sealog`).byteLength
            assert.isTrue(fs.readFileSync(file).subarray(0, left).equals(bytes.subarray(0, left)))
            return
          }
          assert.isTrue(Result.isFailure(opened), JSON.stringify(opened))
          if (Result.isSuccess(opened)) return
          assert.instanceOf(opened.failure, LedgerDamaged)
          assert.include(opened.failure.message, `${file} byte `)
          assert.isBelow(opened.failure.message.length, 1000)
          assert.isTrue(fs.readFileSync(file).equals(bytes))
        })
    )
  }

  it.effect("of 200 MB in one line is named in bounded memory", () =>
    Effect.gen(function* () {
      const file = path.join(yield* TestLedger.directory, "long.jsonl")
      const out = fs.openSync(file, "w")
      fs.writeSync(out, `${first}\n{"id":"`)
      const part = Buffer.alloc(1_000_000, "a")
      for (let nth = 0; nth < 200; nth++) fs.writeSync(out, part)
      fs.writeSync(out, `"}\n${second}\n`)
      fs.closeSync(out)
      const report = yield* said(["read", file])
      assert.deepInclude(report, { tag: "Damaged", rows: 3 })
      assert.include(JSON.stringify(report), '"line_too_long"')
      // The limit is 100 MiB: that much may be held, once joined and once in parts.
      assert.isBelow(Number(Reflect.get(Object(report), "grownBytes")), 320_000_000)
      const error = yield* refusal({ file })
      assert.instanceOf(error, LedgerDamaged)
      assert.match(error.reason, /a line of \d+ bytes, the limit is 104857600/)
    })
  )

  it.effect("that is missing, a directory or a link is refused, and nothing is made", () =>
    Effect.gen(function* () {
      const parent = yield* TestLedger.directory
      const real = path.join(parent, "real.jsonl")
      fs.writeFileSync(real, `${first}\n`)
      fs.mkdirSync(path.join(parent, "directory"))
      fs.symlinkSync(real, path.join(parent, "link"))
      fs.symlinkSync(path.join(parent, "nowhere"), path.join(parent, "dangling"))
      const before = image(parent)
      const cases = [
        ["missing", "ENOENT", /not there/],
        ["directory", "EISDIR", /no regular file|a directory/],
        ["link", "ELOOP", /symbolic link/],
        ["dangling", "ELOOP", /symbolic link/],
        ["real.jsonl/below", "ENOTDIR", /a file stands where a directory should be/]
      ] as const
      for (const [name, code, reason] of cases) {
        const error = yield* Effect.flip(verify(path.join(parent, name)))
        assert.instanceOf(error, JournalError)
        assert.strictEqual(error.code, code)
        assert.match(error.message, reason)
      }
      const error = yield* Effect.flip(
        Effect.provide(
          LedgerModule.verify({ directory: path.join(parent, "missing") }),
          SealogNode.layerPlatform
        )
      )
      assert.instanceOf(error, JournalError)
      assert.deepStrictEqual(image(parent), before)
    })
  )
})

/** Drafts that are no drafts, and where that is said. Types do not protect who has none. */
const loop: Array<unknown> = []
loop.push(loop)

const badDrafts: ReadonlyArray<readonly [string, object, RegExp]> = [
  ["invalid JSON text", { payloadText: "{" }, /^\/payload/],
  ["1e400", { payloadText: "1e400" }, /^\/payload/],
  ["1e400 in an array", { payloadText: '{"a":[0,1e400]}' }, /^\/payload\/a\/1/],
  ["a member twice", { payloadText: '{"a":1,"a":2}' }, /^\/payload\/a/],
  ["a BOM", { payloadText: "\ufeff1" }, /^\/payload/],
  ["a lone surrogate", { payload: { a: "\ud800" } }, /^\/payload\/a/],
  ["a lone surrogate as a name", { payload: { "\ud800": 1 } }, /^\/payload/],
  ["NaN", { payload: [NaN] }, /^\/payload\/0/],
  ["infinity", { payload: { a: [-Infinity] } }, /^\/payload\/a\/0/],
  ["undefined inside", { payload: { a: undefined } }, /^\/payload\/a/],
  ["a function", { payload: { a: () => 1 } }, /^\/payload\/a/],
  ["a bigint", { payload: { a: BigInt(1) } }, /^\/payload\/a/],
  ["a symbol", { payload: Symbol("x") }, /^\/payload/],
  ["a cycle", { payload: loop }, /^\/payload\/0/],
  [
    "a getter that throws",
    {
      payload: {
        get a() {
          throw new Error("no")
        }
      }
    },
    /^\/payload\/a/
  ],
  ["200 levels of nesting", { payload: JSON.parse(deep(200)) }, /^\/payload(?:\/0)+/],
  ["200 levels of nesting as text", { payloadText: deep(200) }, /^\/payload(?:\/0)+/],
  ["payload and text", { payload: 1, payloadText: "1" }, /payloadText/],
  ["no type", { type: undefined }, /type/],
  ["a type with NUL", { type: "a\0.v1" }, /type/],
  ["a type with capitals", { type: "A.v1" }, /type/],
  ["an id that is none", { id: "evt_x" }, /id/],
  ["an id with NUL", { id: "evt_\0" }, /id/],
  ["a time that is none", { observedAt: "yesterday" }, /observedAt/],
  ["a year that SQL cannot hold", { recordedAt: "+10000-01-01T00:00:00Z" }, /recordedAt/],
  ["a source that is none", { source: { type: "god" } }, /source/],
  ["a key that is no string", { keys: { a: 1 } }, /^\/keys\/a/],
  ["a key with NUL", { keys: { "a\0": "b" } }, /keys/],
  ["a session with NUL", { sessionId: "\0" }, /sessionId/],
  ["tags that are no array", { domainTags: "a" }, /domainTags/],
  ["a version that is none", { schemaVersion: 3 }, /schemaVersion/],
  ["an unknown member", { paylaod: 1 }, /^\/paylaod/]
]

describe("A bad draft", () => {
  it.effect("is refused with its path, writes nothing, and stops nothing", () =>
    Effect.gen(function* () {
      const made = yield* makeFixture(path.join(yield* TestLedger.directory, "ledger"), 1)
      const { directory } = made
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          const before = snapshot(directory)
          for (const [what, fields, at] of badDrafts) {
            const bad: Draft = {
              ...small("bad"),
              ...("payloadText" in fields ? { payload: undefined } : {}),
              ...fields
            }
            const alone = yield* Effect.flip(ledger.append(bad))
            assert.instanceOf(alone, DraftInvalid, what)
            assert.match(alone.path, at, what)
            assert.isBelow(alone.message.length, 1500)
            // Nor is anything of the group it was handed in with.
            const group = yield* Effect.flip(ledger.appendAll([small("x"), bad, small("y")]))
            assert.instanceOf(group, DraftInvalid, what)
            assert.strictEqual(group.index, 1, what)
          }
          assert.deepStrictEqual(snapshot(directory), before)
          assert.strictEqual((yield* ledger.append(small("good"))).seq, 2)
          yield* assertSound(ledger)
        })
      )
    })
  )

  it.effect("of any kind but an object is refused", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "ledger")
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          for (const text of ["null", "1", '"a"', "[]", "true"]) {
            const draft: Draft = JSON.parse(text)
            assert.instanceOf(yield* Effect.flip(ledger.append(draft)), DraftInvalid, text)
          }
          assert.strictEqual((yield* ledger.head).seq, 0)
        })
      )
    })
  )
})

/** What still works where nothing can be written, and what says why it does not. */
const readsOnly = Effect.fnUntraced(function* (directory: string, rows: number) {
  const before = image(directory)
  yield* using({ directory }, (ledger) =>
    Effect.gen(function* () {
      assert.strictEqual(ledger.opened._tag, "ReadOnly", JSON.stringify(ledger.opened))
      assert.strictEqual(ledger.opened.head.seq, rows)
      const events = yield* Stream.runCollect(ledger.events())
      assert.deepStrictEqual(
        events.map(({ seq }) => seq),
        Array.from({ length: rows }, (_, nth) => nth + 1)
      )
      assert.strictEqual((yield* ledger.get(1)).seq, 1)
      yield* assertSound(ledger)
      const error = yield* Effect.flip(ledger.append(small("no")))
      assert.instanceOf(error, JournalFinal)
      assert.strictEqual(error.reason, "read_only")
      assert.match(error.message, /opened for reading only/)
      assert.strictEqual((yield* Effect.flip(ledger.appendAll([small("no")])))._tag, "JournalFinal")
      assert.strictEqual((yield* Effect.flip(ledger.replay))._tag, "MirrorError")
    })
  )
  assert.deepStrictEqual(image(directory), before)
})

const readOnlyDisk = (directory: string) =>
  mounted(directory, ["--bind", directory], ["-o", "remount,bind,ro"])

// Mounts need root on Linux; elsewhere these cannot be shown, and are named as skipped.
describe(`A read-only disk${canMount ? "" : " (skipped: this user cannot mount)"}`, () => {
  it.effect.skipIf(!canMount)(
    "is read from: an existing ledger opens for reading, and no byte changes",
    () =>
      Effect.gen(function* () {
        const parent = yield* TestLedger.directory
        const directory = path.join(parent, "ledger")
        yield* makeFixture(directory, 1, 2)
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* readOnlyDisk(directory)
            yield* readsOnly(directory, 3)
            // Two readers do not disturb each other.
            yield* using({ directory }, () => readsOnly(directory, 3))
            const reader = yield* Effect.flatMap(Reader, (reader) => reader.head).pipe(
              Effect.provide(SealogNode.layerReader({ directory }))
            )
            assert.strictEqual(reader.seq, 3)
          })
        )
        assert.strictEqual((yield* opening({ directory }))._tag, "Clean")
      })
  )

  it.effect.skipIf(!canMount)(
    "a ledger of which the guard is missing there opens for reading too",
    () =>
      Effect.gen(function* () {
        const directory = path.join(yield* TestLedger.directory, "ledger")
        yield* makeFixture(directory, 1)
        fs.rmSync(path.join(directory, "guard"))
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* readOnlyDisk(directory)
            yield* readsOnly(directory, 1)
          })
        )
      })
  )

  it.effect.skipIf(!canMount)(
    "a torn tail there is left alone: readers end at what was acknowledged",
    () =>
      Effect.gen(function* () {
        const directory = path.join(yield* TestLedger.directory, "ledger")
        yield* makeFixture(directory, 1, 1)
        fs.appendFileSync(segmentOf(directory, 1), '{"id":"evt_')
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* readOnlyDisk(directory)
            yield* readsOnly(directory, 2)
          })
        )
        const report = yield* opening({ directory })
        assert.deepStrictEqual(
          report._tag === "Recovered" && report.actions.map(({ _tag }) => _tag),
          ["TailCut"]
        )
      })
  )

  it.effect.skipIf(!canMount)("makes no ledger there, and says why", () =>
    Effect.gen(function* () {
      const parent = yield* TestLedger.directory
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* mounted(parent, ["-t", "tmpfs", "-o", "ro", "tmpfs"])
          const error = yield* refusal({ directory: path.join(parent, "ledger") })
          assert.instanceOf(error, JournalError)
          assert.strictEqual(error.code, "EROFS")
          assert.match(error.message, /read-only/)
        })
      )
    })
  )

  it.effect.skipIf(!isRoot || isDeno)(
    "and one that belongs to somebody else says so, to a user who is not root",
    () =>
      Effect.gen(function* () {
        const parent = yield* TestLedger.directory
        const directory = path.join(parent, "ledger")
        yield* makeFixture(directory, 1)
        fs.chmodSync(parent, 0o755)
        // Nothing can be seen.
        const blind = yield* said(["as-nobody", directory])
        assert.match(JSON.stringify(blind), /EACCES.*permission is denied/)
        // All of it can be read, nothing written.
        for (const name of [
          "",
          ...fs.readdirSync(directory, { recursive: true, encoding: "utf8" })
        ]) {
          const at = path.join(directory, name)
          fs.chmodSync(at, fs.statSync(at).isDirectory() ? 0o755 : 0o644)
        }
        const before = image(directory)
        const report = yield* said(["as-nobody", directory])
        assert.deepInclude(report, { opened: "ReadOnly", verify: "Intact" })
        assert.include(JSON.stringify(report), '"read_only"')
        assert.deepStrictEqual(image(directory), before)
      })
  )
})

const mebibyte = 1024 * 1024

/** A ledger on a file system of two mebibytes, with something beside it that can be taken away. */
const onSmallDisk = <A, E>(body: (parent: string, directory: string) => Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const parent = yield* TestLedger.directory
    yield* mounted(parent, ["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
    fs.writeFileSync(path.join(parent, "ballast"), Buffer.alloc(mebibyte / 2))
    yield* body(parent, path.join(parent, "ledger"))
  }).pipe(Effect.scoped)

const fill = (parent: string) => {
  const out = fs.openSync(path.join(parent, "filler"), "a")
  try {
    for (let size = 65536; size >= 1; size /= 4) {
      try {
        for (;;) fs.writeSync(out, Buffer.alloc(size))
      } catch (error) {
        assert.strictEqual(Reflect.get(Object(error), "code"), "ENOSPC")
      }
    }
  } finally {
    fs.closeSync(out)
  }
}

describe(`A full disk${canMount ? "" : " (skipped: this user cannot mount)"}`, () => {
  it.effect.skipIf(!canMount)(
    "refuses an append, loses nothing, and is appended to again once there is space",
    () =>
      onSmallDisk((parent, directory) =>
        Effect.gen(function* () {
          const acknowledged = yield* using({ directory, segmentBytesMax: 65536 }, (ledger) =>
            Effect.gen(function* () {
              let seq = 0
              const error = yield* Effect.gen(function* () {
                for (let nth = 0; ; nth++) {
                  const draft = named(`row ${nth}`, { payload: "x".repeat(4000) })
                  const exit = yield* Effect.exit(ledger.append(draft))
                  if (Exit.isFailure(exit)) return Cause.squash(exit.cause)
                  seq = exit.value.seq
                }
              })
              const tag = String(Reflect.get(Object(error), "_tag"))
              assert.include(["JournalError", "MirrorError", "MirrorBehind"], tag, String(error))
              if (error instanceof JournalError) assert.strictEqual(error.code, "ENOSPC")
              // It stays refused, and reading goes on.
              assert.isTrue(
                Exit.isFailure(
                  yield* Effect.exit(ledger.append(named("more", { payload: "x".repeat(4000) })))
                )
              )
              const { seq: head } = yield* ledger.head
              assert.isAtLeast(head, seq)
              assert.strictEqual((yield* ledger.get(seq)).seq, seq)
              fs.rmSync(path.join(parent, "ballast"))
              const after = yield* ledger.append(named("after", { payload: "x".repeat(4000) }))
              assert.strictEqual(after._tag, "Appended")
              assert.isAbove(after.seq, seq)
              yield* assertSound(ledger)
              return after.seq
            })
          )
          const report = yield* using({ directory }, (ledger) =>
            Effect.as(assertSound(ledger), ledger.opened)
          )
          assert.deepStrictEqual([report._tag, report.head.seq], ["Clean", acknowledged])
        })
      )
  )

  it.effect.skipIf(!canMount)(
    "lets an existing ledger open for reading, and for writing once there is space",
    () =>
      onSmallDisk((parent, directory) =>
        Effect.gen(function* () {
          yield* makeFixture(directory, 1, 2)
          fill(parent)
          const before = snapshot(directory)
          yield* using({ directory }, (ledger) =>
            Effect.gen(function* () {
              assert.strictEqual(ledger.opened.head.seq, 3)
              yield* assertSound(ledger)
              const exit = yield* Effect.exit(
                ledger.append(named("no", { payload: "x".repeat(9000) }))
              )
              assert.isTrue(Exit.isFailure(exit))
            })
          )
          assert.deepStrictEqual(snapshot(directory), before)
          fs.rmSync(path.join(parent, "filler"))
          const receipt = yield* using({ directory }, (ledger) => ledger.append(small("again")))
          assert.strictEqual(receipt.seq, 4)
        })
      )
  )

  it.effect.skipIf(!canMount)(
    "opens nothing that must be recovered first, changes nothing, and recovers later",
    () =>
      onSmallDisk((parent, directory) =>
        Effect.gen(function* () {
          const made = yield* makeFixture(directory, 1, 2)
          const torn = Buffer.alloc(50_000, "x")
          fs.appendFileSync(segmentOf(directory, 1), torn)
          fill(parent)
          const exit = yield* Effect.exit(opening({ directory }))
          if (Exit.isSuccess(exit))
            assert.deepStrictEqual([exit.value._tag, exit.value.head.seq], ["ReadOnly", 3])
          const journal = fs.readFileSync(segmentOf(directory, 1))
          assert.isTrue(journal.equals(Buffer.concat([made.bytes, torn])))
          fs.rmSync(path.join(parent, "filler"))
          const report = yield* opening({ directory, seed: 2 })
          assert.strictEqual(report._tag, "Recovered")
          assert.isTrue(fs.readFileSync(segmentOf(directory, 1)).equals(made.bytes))
          assert.isTrue(keptBytes(directory).equals(torn))
        })
      )
  )

  it.effect.skipIf(!canMount)(
    "makes no new ledger, says why, and makes it once there is space",
    () =>
      onSmallDisk((parent, directory) =>
        Effect.gen(function* () {
          fill(parent)
          const error = yield* refusal({ directory })
          const isKnown =
            error instanceof JournalError ||
            error instanceof LockError ||
            error instanceof MirrorError
          assert.isTrue(isKnown, String(error))
          fs.rmSync(path.join(parent, "filler"))
          assert.deepStrictEqual((yield* opening({ directory }))._tag, "Clean")
        })
      )
  )
})
