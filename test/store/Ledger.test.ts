import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Json from "../../src/core/CanonicalJson.ts"
import * as Chain from "../../src/core/Chain.ts"
import type { Draft } from "../../src/core/Draft.ts"
import * as Event from "../../src/core/Event.ts"
import * as Hashes from "../../src/core/Hashes.ts"
import * as Policy from "../../src/core/Policy.ts"
import * as Row from "../../src/core/Row.ts"
import * as PolicyGate from "../../src/store/writing/PolicyGate.ts"
import * as Arbitraries from "../../src/testing/Arbitraries.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import {
  allowAll,
  assertLike,
  assertSound,
  cortexDraft,
  memberText,
  named,
  query,
  segmentBytes,
  segmentLines,
  snapshot,
  tables,
  using,
  vector,
  vectorLines
} from "./ledgerFixtures.ts"

const utf8 = new TextEncoder()
const leafHash = (line: string) => Row.leafHash(utf8.encode(line), Hashes.noble)

describe("append", () => {
  it.effect("answers with the hashes of the line that it stored", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          const a = yield* ledger.append({ type: "door.opened.v1", payload: { by: "ada" } })
          const b = yield* ledger.append({ type: "door.closed.v1", parentId: a.id })
          const lines = segmentLines(directory)
          assert.strictEqual(lines.length, 2)
          for (const [nth, receipt] of [a, b].entries()) {
            const line = lines[nth] ?? ""
            assert.strictEqual(receipt._tag, "Appended")
            assert.strictEqual(receipt.seq, nth + 1)
            assert.strictEqual(receipt.leafHash, leafHash(line))
            assert.strictEqual(JSON.stringify(receipt.id), memberText(line, "id"))
            assert.strictEqual(JSON.stringify(receipt.eventHash), memberText(line, "event_hash"))
          }
          assert.strictEqual(memberText(lines[0] ?? "", "prev_line_hash"), `"${Row.zeroHash}"`)
          assert.strictEqual(memberText(lines[1] ?? "", "prev_line_hash"), `"${a.leafHash}"`)
          assert.strictEqual(memberText(lines[1] ?? "", "parent_id"), `"${a.id}"`)
          assert.deepInclude(yield* ledger.head, { seq: 2, leafHash: b.leafHash, id: b.id })
          yield* assertSound(ledger)
        })
      )
    })
  )

  it.effect("moves the mirror's log into its file behind an answer, never before it", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const mirror = path.join(directory, "mirror.sqlite")
      const draft = { type: "big.v1", payload: "x".repeat(6_000_000) }
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(draft)
          assert.isAbove(fs.statSync(`${mirror}-wal`).size, 6_000_000)
          assert.isBelow(fs.statSync(mirror).size, 1_000_000)
        })
      )
      assert.isAbove(fs.statSync(mirror).size, 6_000_000)
    })
  )

  it.effect("is durable in both legs when it answers", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          const { id } = yield* ledger.append(named("a", { keys: { door: "north", at: "9" } }))
          const mirror = path.join(directory, "mirror.sqlite")
          assert.strictEqual(segmentLines(directory).length, 1)
          assert.deepStrictEqual(
            query(mirror, "SELECT id FROM events").map((row) => row["id"]),
            [id]
          )
          assert.deepStrictEqual(
            query(mirror, "SELECT name, value, seq FROM sealog_keys ORDER BY name").map(
              ({ name, value, seq }) => [name, value, seq]
            ),
            [
              ["at", "9", 1],
              ["door", "north", 1]
            ]
          )
        })
      )
    })
  )

  it.effect.prop(
    "gives back every draft as it was, also after it was opened again",
    [Arbitraries.history],
    ([drafts]) =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        const receipts = yield* using({ directory }, (ledger) =>
          Effect.forEach(drafts, (draft) => ledger.append(draft))
        )
        yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            const events = yield* Stream.runCollect(ledger.events())
            assert.deepStrictEqual(
              events.map((event) => event.id),
              receipts.map((receipt) => receipt.id)
            )
            for (const [nth, draft] of drafts.entries()) {
              const event = events[nth]
              const receipt = receipts[nth]
              if (event === undefined || receipt === undefined) throw new Error("a row is missing")
              assert.deepStrictEqual(event.position, {
                seq: receipt.seq,
                leafHash: receipt.leafHash
              })
              assert.strictEqual(event.eventHash, receipt.eventHash)
              assert.strictEqual(
                event.payloadText,
                Result.getOrThrow(Json.fromValue(draft.payload))
              )
              assert.deepStrictEqual(event.source, draft.source)
              assert.deepStrictEqual(event.domainTags, draft.domainTags)
              assert.strictEqual(event.sessionId, draft.sessionId)
              assert.deepStrictEqual({ ...event.keys }, { ...draft.keys })
            }
            yield* assertSound(ledger)
            const again = yield* ledger.replay
            assert.strictEqual(again.replayed, 0)
            assert.strictEqual(again.skippedExisting, drafts.length)
            assert.isTrue(again.parity.isConsistent)
          })
        )
      }),
    { arbitrary: { runs: 15 } }
  )

  it.effect("makes the same ledger, bit for bit, from the same clock and seed", () =>
    Effect.gen(function* () {
      const make = Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        yield* TestClock.setTime(1_767_225_600_000)
        yield* using({ directory, seed: 7, segmentBytesMax: 2_000 }, (ledger) =>
          Effect.gen(function* () {
            for (let n = 0; n < 5; n++) {
              const { id } = yield* ledger.append({ type: "tick.v1", payload: n })
              yield* TestClock.adjust("1 second")
              yield* ledger.appendAll([
                { type: "tock.v1", parentId: id },
                { type: "tock.v1", keys: { n: String(n) } }
              ])
            }
          })
        )
        return directory
      })
      const [one, other] = [yield* make, yield* make]
      assert.strictEqual(segmentLines(one).length, 15)
      assert.isAbove(fs.readdirSync(path.join(one, "segments")).length, 1)
      assert.deepStrictEqual(
        fs.readdirSync(path.join(one, "segments")),
        fs.readdirSync(path.join(other, "segments"))
      )
      assert.isTrue(segmentBytes(one).equals(segmentBytes(other)))
      assert.strictEqual(
        tables(path.join(one, "mirror.sqlite")),
        tables(path.join(other, "mirror.sqlite"))
      )
      assert.include(segmentLines(one)[0], '"recorded_at":"2026-01-01T00:00:00Z"')
    })
  )
})

describe("the same id", () => {
  it.effect("answers where it is when the content is the same, times aside", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const draft = named("a", { observedAt: "2026-01-01T00:00:00Z", keys: { b: "1", a: "2" } })
      const first = yield* using({ directory }, (ledger) => ledger.append(draft))
      yield* TestClock.adjust("1 day")
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          const before = snapshot(directory)
          const later = { observedAt: "2027-01-01T00:00:00Z", keys: { a: "2", b: "1" } }
          const again = yield* ledger.append({ ...draft, ...later })
          assert.strictEqual(again._tag, "AlreadyAppended")
          assert.deepStrictEqual({ ...again }, { ...first, _tag: "AlreadyAppended" })
          assert.deepStrictEqual(snapshot(directory), before)
        })
      )
    })
  )

  it.effect("answers so inside one appendAll, and for a payload given as text", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          const { payload: _, ...rest } = named("a")
          const [a, twin, b] = yield* ledger.appendAll([
            named("a"),
            { ...rest, payloadText: ' {"name" : "a"} ' },
            named("b")
          ])
          assert.deepStrictEqual(
            [a?._tag, twin?._tag, b?._tag],
            ["Appended", "AlreadyAppended", "Appended"]
          )
          assert.deepStrictEqual([a?.seq, twin?.seq, b?.seq], [1, 1, 2])
          assert.strictEqual(twin?.leafHash, leafHash(segmentLines(directory)[0] ?? ""))
          assert.deepStrictEqual(
            segmentLines(directory).map((line) => memberText(line, "batch")),
            ["[0,2]", "[1,2]"]
          )
          yield* assertSound(ledger)
        })
      )
    })
  )

  const changes: { readonly [field: string]: Partial<Draft> } = {
    type: { type: "test.other.v1" },
    schemaVersion: { schemaVersion: 1 },
    source: { source: { type: "tool", name: "grep" } },
    traceId: { traceId: `trc_${"0".repeat(26)}` },
    sessionId: { sessionId: "s" },
    domainTags: { domainTags: ["t"] },
    payload: { payload: { name: "changed" } },
    parentId: { parentId: Event.idFrom("root") },
    keys: { keys: { k: "v" } }
  }

  it.effect("is refused for another content, and names the fields", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(named("root"))
          const { seq } = yield* ledger.append(named("a"))
          const before = [snapshot(directory), tables(path.join(directory, "mirror.sqlite"))]
          for (const [field, change] of Object.entries(changes)) {
            const stored = yield* Effect.flip(ledger.append(named("a", change)))
            const { _tag, ...said } = { ...stored }
            assert.deepInclude(said, { index: 0, id: Event.idFrom("a"), seq, differs: [field] })
            assert.strictEqual(_tag, "IdConflict")
            const pending = yield* Effect.flip(
              ledger.appendAll([named("n"), named("b"), named("b", change)])
            )
            assertLike(pending, { _tag: "IdConflict", index: 2, differs: [field] })
          }
          assert.deepStrictEqual(
            [snapshot(directory), tables(path.join(directory, "mirror.sqlite"))],
            before
          )
        })
      )
    })
  )
})

describe("a draft that is refused", () => {
  const bad: ReadonlyArray<readonly [string, string, Draft]> = [
    ["a type that is no wire string", "/type", { type: "Door Opened" }],
    [
      "a payload with a number beyond all doubles",
      "/payload/0",
      { type: "a.v1", payload: [Infinity] }
    ],
    ["a function in the payload", "/payload/a/1", { type: "a.v1", payload: { a: [0, () => 0] } }],
    ["a duplicate member", "/payload/a", { type: "a.v1", payloadText: '{"a":1,"a":2}' }],
    ["an id that is none", "/id", { type: "a.v1", id: "evt_1" }],
    ["a time that is none", "/observedAt", { type: "a.v1", observedAt: "yesterday" }],
    ["a NUL in a key", "/keys/a", { type: "a.v1", keys: { a: "\0" } }],
    ["a lone surrogate", "/sessionId", { type: "a.v1", sessionId: "\ud800" }]
  ]

  for (const [name, at, draft] of bad) {
    it.effect(`names its place: ${name}`, () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            yield* ledger.append(named("a"))
            const before = [snapshot(directory), tables(path.join(directory, "mirror.sqlite"))]
            const alone = yield* Effect.flip(ledger.append(draft))
            assertLike(alone, { _tag: "DraftInvalid", index: 0, path: at })
            const among = yield* Effect.flip(ledger.appendAll([named("b"), named("c"), draft]))
            assertLike(among, { _tag: "DraftInvalid", index: 2, path: at })
            assert.deepStrictEqual(
              [snapshot(directory), tables(path.join(directory, "mirror.sqlite"))],
              before
            )
          })
        )
      })
    )
  }

  it.effect("is refused for a parent that is no earlier row", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          const parentId = Event.idFrom("parent")
          const alone = yield* Effect.flip(ledger.append(named("child", { parentId })))
          assertLike(alone, { _tag: "UnknownParent", index: 0, parentId })
          const own = yield* Effect.flip(
            ledger.append(named("child", { parentId: Event.idFrom("child") }))
          )
          assert.strictEqual(own._tag, "UnknownParent")
          const later = yield* Effect.flip(
            ledger.appendAll([named("child", { parentId }), named("parent")])
          )
          assertLike(later, { _tag: "UnknownParent", index: 0, parentId })
          assert.strictEqual((yield* ledger.head).seq, 0)
          yield* ledger.appendAll([named("parent"), named("child", { parentId })])
          const rows = query(
            path.join(directory, "mirror.sqlite"),
            "SELECT parent_seq FROM sealog_index ORDER BY seq"
          )
          assert.deepStrictEqual(
            rows.map((row) => row["parent_seq"]),
            [null, 1]
          )
          yield* assertSound(ledger)
        })
      )
    })
  )

  it.effect("is refused when its row could be longer than a line may be", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory, lineBytesMax: 4_096 }, (ledger) =>
        Effect.gen(function* () {
          const big = { type: "a.v1", payload: "é".repeat(2_000) }
          const refused = yield* Effect.flip(ledger.appendAll([named("a"), big]))
          assertLike(refused, { _tag: "PayloadTooLarge", index: 1, bytesMax: 4_096 })
          yield* ledger.append({ type: "a.v1", payload: "é".repeat(1_000) })
          yield* assertSound(ledger)
        })
      )
    })
  )

  it.effect("keeps what it was when the caller changes it after handing it in", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const domainTags = ["kept"]
      const source = { type: "tool" as const, name: "kept" }
      const keys = { k: "kept" }
      const payload = { p: "kept" }
      const meddling = PolicyGate.rule({ id: "test.meddling" }, () =>
        Effect.sync(() => {
          domainTags.push("changed")
          source.name = keys.k = payload.p = "changed"
          return Policy.allow("the draft is a copy")
        })
      )
      yield* using({ directory, rules: [meddling] }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append({ type: "a.v1", domainTags, source, keys, payload })
          const event = yield* ledger.get(1)
          assert.deepStrictEqual(event.domainTags, ["kept"])
          assert.deepStrictEqual(event.source, { type: "tool", name: "kept" })
          assert.deepStrictEqual({ ...event.keys }, { k: "kept" })
          assert.deepStrictEqual(event.payload, { p: "kept" })
        })
      )
    })
  )
})

describe("appendAll", () => {
  it.effect("answers nothing for nothing, and writes nothing", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          assert.deepStrictEqual(yield* ledger.appendAll([]), [])
          assert.deepStrictEqual(yield* ledger.head, Chain.start)
          assert.deepStrictEqual(fs.readdirSync(path.join(directory, "segments")), [])
        })
      )
    })
  )

  it.effect("writes all its rows as one group in one segment, or none of them", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory, segmentBytesMax: 1_500, groupRowsMax: 2 }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(named("first"))
          const drafts = Array.from({ length: 9 }, (_, n) => named(`row ${n}`))
          const before = [snapshot(directory), tables(path.join(directory, "mirror.sqlite"))]
          const conflict = named("first", { type: "test.other.v1" })
          const refused = yield* Effect.flip(ledger.appendAll([...drafts, conflict]))
          assertLike(refused, { _tag: "IdConflict", index: 9, seq: 1 })
          assert.deepStrictEqual(
            [snapshot(directory), tables(path.join(directory, "mirror.sqlite"))],
            before
          )
          const receipts = yield* ledger.appendAll(drafts)
          assert.deepStrictEqual(
            receipts.map((receipt) => receipt.seq),
            drafts.map((_, n) => n + 2)
          )
          assert.deepStrictEqual(fs.readdirSync(path.join(directory, "segments")), [
            "0000000000000001.jsonl",
            "0000000000000002.jsonl"
          ])
          assert.deepStrictEqual(
            segmentLines(directory).map((line) => memberText(line, "batch")),
            [undefined, ...drafts.map((_, n) => `[${n},9]`)]
          )
          yield* assertSound(ledger)
        })
      )
    })
  )
})

describe("reading", () => {
  const seqs = (events: Stream.Stream<Event.Event, unknown>) =>
    Effect.map(Stream.runCollect(events), (all) => all.map((event) => event.seq))

  const range = (first: number, last: number) =>
    Array.from({ length: Math.max(0, last - first + 1) }, (_, n) => first + n)

  it.effect("events answers what its query says, over pages and segments", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory, segmentBytesMax: 20_000 }, (ledger) =>
        Effect.gen(function* () {
          assert.deepStrictEqual(yield* seqs(ledger.events()), [])
          assert.deepStrictEqual(yield* seqs(ledger.events({ last: 3 })), [])
          const receipts = [...(yield* ledger.appendAll(range(1, 300).map((n) => named(`a${n}`))))]
          receipts.push(...(yield* ledger.appendAll(range(301, 600).map((n) => named(`a${n}`)))))
          const at = (seq: number) => (seq === 0 ? Chain.start : receipts[seq - 1])
          for (const after of [undefined, 0, 1, 256, 599, 600]) {
            for (const until of [undefined, 0, 1, 255, 257, 600, 10_000]) {
              for (const [limit, last] of [[], [0], [1], [257], [undefined, 2], [300, 257]]) {
                const first = (after ?? 0) + 1
                const end = Math.min(
                  until ?? 600,
                  600,
                  limit === undefined ? 600 : first + limit - 1
                )
                const expected = range(first, end)
                const position = after === undefined ? undefined : at(after)
                assert.deepStrictEqual(
                  yield* seqs(ledger.events({ after: position, until, limit, last })),
                  last === undefined ? expected : expected.slice(-last),
                  JSON.stringify({ after, until, limit, last })
                )
              }
            }
          }
          const event = yield* ledger.get(300)
          assert.deepStrictEqual(yield* ledger.get(event.id), event)
          assert.strictEqual(
            Buffer.from(yield* ledger.line(300)).toString(),
            segmentLines(directory)[299]
          )
        })
      )
    })
  )

  it.effect("tells a position of another history from one of its own", () =>
    Effect.gen(function* () {
      const [directory, elsewhere] = [yield* TestLedger.directory, yield* TestLedger.directory]
      const foreign = yield* using({ directory: elsewhere }, (ledger) => ledger.append(named("b")))
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          const own = yield* ledger.append(named("a"))
          const refused = (after: Event.Position) =>
            Effect.flip(Stream.runDrain(ledger.events({ after })))
          assertLike(yield* refused(foreign), {
            _tag: "PositionUnknown",
            seq: 1,
            expected: foreign.leafHash,
            actual: own.leafHash
          })
          assertLike(yield* refused({ seq: 2, leafHash: own.leafHash }), {
            _tag: "PositionUnknown",
            seq: 2,
            actual: null
          })
          assertLike(yield* refused({ seq: 0, leafHash: own.leafHash }), {
            _tag: "PositionUnknown",
            seq: 0
          })
          assert.deepStrictEqual(yield* seqs(ledger.events({ after: own })), [])
          assert.deepStrictEqual(yield* seqs(ledger.events({ after: Chain.start })), [1])
        })
      )
    })
  )

  it.effect("get says what is not there", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(named("a"))
          for (const ref of [0, 2, -1, "evt_none", Event.idFrom("b")]) {
            const error = yield* Effect.flip(ledger.get(ref))
            assertLike(error, { _tag: "EventNotFound", ref })
          }
        })
      )
    })
  )
})

describe("Cortex mode", () => {
  const file = (directory: string) => path.join(directory, "log.jsonl")
  const mirrorOf = (directory: string) => path.join(directory, "log.jsonl.sealog", "mirror.sqlite")
  const input = vectorLines("log-unsigned.input.jsonl")
  const golden = vector("log-unsigned.jsonl")

  it.effect("writes what the original writes, byte for byte, in both legs", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ file: file(directory) }, (ledger) =>
        Effect.gen(function* () {
          for (const line of input) {
            yield* ledger.append(cortexDraft(line), { decisions: allowAll })
          }
          yield* assertSound(ledger)
        })
      )
      assert.strictEqual(fs.readFileSync(file(directory)).toString(), golden.toString())
      assertGoldenMirror(mirrorOf(directory))
    })
  )

  it.effect("writes the same with appendAll, and no batch", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ file: file(directory) }, (ledger) =>
        ledger.appendAll(input.map(cortexDraft), { decisions: allowAll })
      )
      assert.strictEqual(fs.readFileSync(file(directory)).toString(), golden.toString())
      assertGoldenMirror(mirrorOf(directory))
    })
  )

  for (const name of ["log-unsigned.jsonl", "corrupt/clean.jsonl", "corrupt/blank-lines.jsonl"]) {
    it.effect(`opens a file that the original wrote, and goes on with it: ${name}`, () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        const before = vector(name)
        const rows = before
          .toString()
          .split("\n")
          .filter((line) => line.trim() !== "")
        fs.writeFileSync(file(directory), before)
        const draft = { ...named("next"), type: "cortex.event.system_note.v1" }
        yield* using({ file: file(directory) }, (ledger) =>
          Effect.gen(function* () {
            assert.strictEqual((yield* ledger.head).seq, rows.length)
            assert.deepStrictEqual(ledger.opened, {
              _tag: "Recovered",
              head: yield* ledger.head,
              actions: [{ _tag: "MirrorRemade", rows: rows.length }]
            })
            yield* assertSound(ledger)
            const known = yield* ledger.append(cortexDraft(rows[0] ?? ""), { decisions: allowAll })
            assertLike(known, { _tag: "AlreadyAppended", seq: 1 })
            const next = yield* ledger.append(draft)
            assert.strictEqual(next.seq, rows.length + 1)
            yield* assertSound(ledger)
          })
        )
        const after = fs.readFileSync(file(directory))
        assert.isTrue(after.subarray(0, before.length).equals(before))
        const added = after.subarray(before.length).toString()
        assert.strictEqual(
          memberText(added.trim(), "prev_event_hash"),
          memberText(rows.at(-1) ?? "", "event_hash")
        )
        assert.notMatch(added, /prev_line_hash|crc32c|batch/)
        yield* using({ file: file(directory) }, (ledger) => assertSound(ledger))
      })
    )
  }

  it.effect("carries line hashes and checksums where its options say so", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      fs.writeFileSync(file(directory), golden)
      const options = { file: file(directory), lineHashes: true, crc: true }
      yield* using(options, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(named("next", { type: "cortex.event.system_note.v1" }))
          yield* assertSound(ledger)
        })
      )
      const [last, before] = fs
        .readFileSync(file(directory))
        .toString()
        .trim()
        .split("\n")
        .toReversed()
      assert.strictEqual(memberText(last ?? "", "prev_line_hash"), `"${leafHash(before ?? "")}"`)
      assert.match(last ?? "", /,"crc32c":"[0-9A-F]{8}"\}$/)
    })
  )

  const refused: ReadonlyArray<readonly [string, string, Draft]> = [
    ["a type of its own", "/type", { type: "door.opened.v1" }],
    [
      "a number that the original would read back as another",
      "/payload/a/1",
      { type: "cortex.event.outcome.v1", payloadText: '{"a":[0.5,4.354498403560581e-58]}' }
    ],
    [
      "a number that a double cannot hold",
      "/payload",
      { type: "cortex.event.outcome.v1", payloadText: "123456789012345678901234567890" }
    ]
  ]

  it.effect("keeps parents and keys, which the original passes over", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const type = "cortex.event.outcome.v1"
      yield* using({ file: file(directory) }, (ledger) =>
        Effect.gen(function* () {
          const parent = yield* ledger.append({ type })
          const { id } = yield* ledger.append({ type, parentId: parent.id, keys: { a: "b" } })
          const { keys, parentId } = yield* ledger.get(id)
          assert.deepStrictEqual([parentId, keys], [parent.id, { a: "b" }])
          yield* assertSound(ledger)
        })
      )
    })
  )

  for (const [name, at, draft] of refused) {
    it.effect(`refuses with its place what the original could not keep: ${name}`, () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        yield* using({ file: file(directory) }, (ledger) =>
          Effect.gen(function* () {
            const error = yield* Effect.flip(ledger.append(draft))
            assertLike(error, { _tag: "DraftInvalid", path: at })
          })
        )
        assert.isFalse(fs.existsSync(file(directory)))
      })
    )
  }
})

/** The rows in the order they were inserted, every value as text or null. */
const assertGoldenMirror = (database: string): void => {
  const golden: {
    readonly columns: ReadonlyArray<{ readonly name: string }>
    readonly rows: ReadonlyArray<{ readonly [column: string]: string | null }>
  } = JSON.parse(vector("mirror-rows.json").toString())
  const rows = query(database, "SELECT * FROM events ORDER BY rowid")
  assert.deepStrictEqual(
    Object.keys(rows[0] ?? {}),
    golden.columns.map((column) => column.name)
  )
  for (const [nth, expected] of golden.rows.entries()) {
    const actual = Object.entries(rows[nth] ?? {}).map(([name, value]) => [
      name,
      value === null ? null : String(value)
    ])
    assert.deepStrictEqual(Object.fromEntries(actual), expected)
  }
  assert.strictEqual(rows.length, golden.rows.length)
}
