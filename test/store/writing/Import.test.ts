import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Data, Deferred, Effect, Exit, Fiber, Result, Stream } from "effect"
import type { Draft } from "../../../src/core/Draft.ts"
import * as Complete from "../../../src/core/Draft.ts"
import * as EventId from "../../../src/core/EventId.ts"
import * as Hashes from "../../../src/core/Hashes.ts"
import * as Policy from "../../../src/core/Policy.ts"
import * as Timestamp from "../../../src/core/Timestamp.ts"
import * as Import from "../../../src/store/writing/Import.ts"
import { emptyTally, makeAppend } from "../../../src/store/writing/ImportAppend.ts"
import { Ledger } from "../../../src/store/Ledger.ts"
import * as PolicyGate from "../../../src/store/writing/PolicyGate.ts"
import type { Step } from "../../../src/store/Progress.ts"
import { Progress } from "../../../src/store/Progress.ts"
import { Appended } from "../../../src/store/writing/Receipt.ts"
import type { Rows } from "../../../src/store/reading/Rows.ts"
import * as Arbitraries from "../../../src/testing/Arbitraries.ts"
import { FaultyDisk } from "../../../src/testing/index.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { assertLike, assertSound, named, segmentBytes, using } from "../ledgerFixtures.ts"

type Service = Ledger["Service"]

const utf8 = new TextEncoder()

const digestOf = (bytes: Uint8Array) => {
  const hash = Hashes.sha256Incremental()
  hash.update(bytes)
  return hash.hex()
}

/** A file's bytes, in chunks of some size. */
const bytesOf = (text: string | Uint8Array, chunkBytes = 1_000) => {
  const bytes = typeof text === "string" ? utf8.encode(text) : text
  const chunks = Math.ceil(bytes.byteLength / chunkBytes)
  return Stream.fromIterable(
    Array.from({ length: chunks }, (_, nth) =>
      bytes.slice(nth * chunkBytes, (nth + 1) * chunkBytes)
    )
  )
}

/** An agent's session: a summary without an id, then turns, some of which branch off. */
const session = (turns: number): ReadonlyArray<string> => [
  JSON.stringify({ type: "summary", summary: "what it was about" }),
  ...Array.from({ length: turns }, (_, nth) =>
    JSON.stringify({
      type: ["user", "assistant", "tool-use", "file-history-snapshot"][nth % 4],
      uuid: `turn-${nth}`,
      parentUuid: nth === 0 ? null : `turn-${nth - 1 - (nth % 7 === 3 ? 2 : 0)}`,
      timestamp: `2026-03-04T05:06:${String(nth % 60).padStart(2, "0")}.25Z`,
      message: { text: `turn ${nth}`, tokens: nth * 1.5 }
    })
  )
]

const sessionFields = {
  type: ["type"],
  id: ["uuid"],
  parent: ["parentUuid"],
  time: ["timestamp"]
}

const ofSession = Import.fields(sessionFields)

const rowsOf = (ledger: Service) => Stream.runCollect(ledger.events())

const importsOf = (ledger: Service) =>
  Effect.map(ledger.operations, (all) =>
    all
      .filter(({ kind }) => kind === "import")
      .map(({ counts, errorClass, outcome, state }) => ({ state, outcome, errorClass, counts }))
  )

const inDirectory = <A, E>(body: (ledger: Service, directory: string) => Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const directory = path.join(yield* TestLedger.directory, "l")
    return yield* using({ directory }, (ledger) => body(ledger, directory))
  })

describe("Import", () => {
  it.effect("makes a ledger of an agent's session, and records it", () =>
    inDirectory((ledger, directory) =>
      Effect.gen(function* () {
        const text = `${session(600).join("\n")}\n`
        const report = yield* ledger.import(bytesOf(text), ofSession, {
          source: "session.jsonl",
          operator: "ada",
          reason: "moving in",
          correlationId: "ticket 7"
        })
        const { leafHash, seq } = yield* ledger.head
        assert.deepStrictEqual(
          { ...report },
          {
            operation: report.operation,
            lines: 601,
            appended: 601,
            existing: 0,
            refused: 0,
            problems: [],
            bytes: utf8.encode(text).byteLength,
            sha256: digestOf(utf8.encode(text)),
            head: { seq, leafHash }
          }
        )
        const rows = yield* rowsOf(ledger)
        assert.strictEqual(rows[0]?.type, "imported.summary.v1")
        const [turn, before] = [rows[11], rows[8]]
        assertLike(
          { ...turn },
          {
            id: EventId.idFrom("turn-10"),
            type: "imported.tool_use.v1",
            parentId: EventId.idFrom("turn-7"),
            observedAt: "2026-03-04T05:06:10.250Z",
            recordedAt: "1970-01-01T00:00:00Z"
          }
        )
        assert.strictEqual(before?.id, EventId.idFrom("turn-7"))
        assertLike(Object(turn?.payload), { uuid: "turn-10", type: "tool-use" })
        yield* assertSound(ledger)
        const [done, ...more] = yield* ledger.operations
        assert.lengthOf(more, 0)
        assertLike(done, {
          id: report.operation,
          kind: "import",
          state: "finished",
          outcome: "ok",
          operator: "ada",
          reason: "import of session.jsonl: moving in",
          correlationId: "ticket 7"
        })
        assert.strictEqual(done?.from?.seq, 0)
        assert.deepStrictEqual(done?.head, { seq, leafHash })
        assert.deepStrictEqual(done?.counts, {
          appended: 601,
          checked: 601,
          existing: 0,
          lines: 601,
          refused: 0
        })
        const folder = path.join(directory, "operations", report.operation)
        const outcome: unknown = JSON.parse(
          fs.readFileSync(path.join(folder, "outcome.json"), "utf8")
        )
        assertLike(Object(outcome), {
          verified: ["payload_hash"],
          message: `read ${report.bytes} bytes, SHA-256 ${report.sha256}`
        })
      })
    )
  )

  it.effect("adds nothing when it is run again, and what is new of a file that has grown", () =>
    inDirectory((ledger, directory) =>
      Effect.gen(function* () {
        const lines = [...session(20), "[1]", "[1]", '{"b":1, "a":2}']
        const source = "s"
        const run = (text: string, toDraft = ofSession) =>
          ledger.import(bytesOf(text, 64), toDraft, { source })
        assertLike(yield* run(lines.join("\n"), Import.fields({ id: ["uuid"] })), {
          appended: 24,
          existing: 0
        })
        const before = segmentBytes(directory)
        const withCr = `${lines.join("\r\n")}\r\n`
        const again = yield* run(withCr, Import.fields({ id: ["uuid"] }))
        assertLike(again, { lines: 24, appended: 0, existing: 24, refused: 0 })
        assert.isTrue(segmentBytes(directory).equals(before))
        const grown = yield* run(`${lines.join("\n")}\n[1]\n`, Import.fields({ id: ["uuid"] }))
        assertLike(grown, { lines: 25, appended: 1, existing: 24 })
        // Another source has other lines, but for those that have ids of their own.
        const other = yield* ledger.import(lines, Import.fields({ id: ["uuid"] }), { source: "t" })
        assertLike(other, { lines: 24, appended: 4, existing: 20 })
        const kept = (yield* rowsOf(ledger)).filter(({ payloadText }) => payloadText === "[1]")
        assert.strictEqual(kept.length, 5)
        assert.strictEqual(kept[0]?.id, EventId.idFrom('import "s" 22 [1]'))
        // The same lines as other events: one id stands for one content.
        const turned = yield* run(lines.join("\n"))
        assertLike(turned, { appended: 0, existing: 0, refused: 24 })
        assert.match(turned.problems[0]?.reason ?? "", /^IdConflict: evt_.* is that of row 1, with/)
        yield* assertSound(ledger)
      })
    )
  )

  it.effect("takes ids from drafts first, then from its options", () =>
    inDirectory((ledger) =>
      Effect.gen(function* () {
        const toDraft = ({ text }: Import.Line): Result.Result<Draft, never> =>
          Result.succeed(text === "own" ? named(text) : { type: "a.v1", payload: text })
        const id = ({ number, text }: Import.Line) => EventId.idFrom(`${text} ${number}`)
        yield* ledger.import(["own", "other"], toDraft, { id })
        assert.deepStrictEqual(
          (yield* rowsOf(ledger)).map((event) => event.id),
          [EventId.idFrom("own"), EventId.idFrom("other 2")]
        )
        const bad = yield* ledger.import(["x"], toDraft, { id: () => "no id" })
        assert.match(bad.problems[0]?.reason ?? "", /^DraftInvalid: at \/id expected "evt_"/)
      })
    )
  )

  const badBytes = new Uint8Array([
    ...utf8.encode('{"n":1}\n\n{"n":3}\r\n\r\n{"n":'),
    0xff,
    ...utf8.encode("}\n\ufeff{}\n{\n"),
    ...utf8.encode(`"${"x".repeat(100)}"\n[9]\r\n{"a":1,"a":2}\n1e400\n"\\ud800"\n[13]`)
  ])

  const badReasons: ReadonlyArray<readonly [number, RegExp]> = [
    [2, /^it is blank$/],
    [4, /^it is blank$/],
    [5, /^at byte 5 expected UTF-8, found byte 0xff$/],
    [6, /found bom at byte 0$/],
    [7, /found syntax at byte 1$/],
    [8, /^it has 102 bytes, the limit is 50$/],
    [10, /found duplicate_member at byte 7$/],
    [11, /found number_out_of_range at byte 0$/],
    [12, /found lone_surrogate at byte 1$/]
  ]

  it.effect("reports every kind of bad line by its number, however the bytes arrive", () =>
    inDirectory((ledger) =>
      Effect.gen(function* () {
        for (const chunkBytes of [1, 2, 7, 1_000]) {
          const source = String(chunkBytes)
          const report = yield* ledger.import(bytesOf(badBytes, chunkBytes), Import.fields(), {
            lineBytesMax: 50,
            source
          })
          assertLike(report, { lines: 13, appended: 4, refused: 9, bytes: badBytes.byteLength })
          assert.strictEqual(report.sha256, digestOf(badBytes))
          assert.deepStrictEqual(
            report.problems.map(({ line }) => line),
            badReasons.map(([line]) => line)
          )
          for (const [nth, [, reason]] of badReasons.entries()) {
            assert.match(report.problems[nth]?.reason ?? "", reason)
          }
        }
        const texts = (yield* rowsOf(ledger)).map(({ payloadText }) => payloadText)
        assert.deepStrictEqual(texts.slice(0, 4), ['{"n":1}', '{"n":3}', "[9]", "[13]"])
      })
    )
  )

  it.effect("takes lines as they are given, the same whether text or bytes", () =>
    inDirectory((ledger) =>
      Effect.gen(function* () {
        const lines = ['"a"', utf8.encode('"b"\r'), "", '"\ud800"', new Uint8Array([0xff]), '"é"']
        const report = yield* ledger.import(lines, Import.fields(), {
          source: "x",
          lineBytesMax: 4
        })
        assert.deepStrictEqual(report.problems, [
          { line: 3, reason: "it is blank" },
          { line: 4, reason: "expected UTF-8, found a lone surrogate" },
          { line: 5, reason: "at byte 0 expected UTF-8, found byte 0xff" }
        ])
        const same = yield* ledger.import(bytesOf('"a"\n"b"\r\n\n\n\n"é"'), Import.fields(), {
          source: "x"
        })
        assertLike(same, { appended: 0, existing: 3, refused: 3 })
      })
    )
  )

  it.effect("blames the line that the ledger refuses, and takes in the rest of its group", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "l")
      const rule = PolicyGate.rule({ id: "no.secrets" }, (draft) =>
        Effect.succeed(
          draft.payloadText.includes("secret") ? Policy.reject("a secret") : Policy.allow("none")
        )
      )
      const gate = PolicyGate.gate({ id: "no.third" }, (draft, sql) =>
        Effect.map(sql`SELECT count(*) AS n FROM events`, ([row]) =>
          draft.payloadText.includes("third") && Number(row?.["n"]) >= 2
            ? Policy.reject("there are two")
            : Policy.allow("ok")
        )
      )
      const lines = [
        '{"id":"a"}',
        '{"id":"b","parent":"z"}',
        '{"id":"c","parent":"a"}',
        '{"id":"d","parent":"b"}',
        '{"id":"e","say":"secret"}',
        '{"id":"f","parent":"c","say":"third"}',
        '{"id":"g","at":"yesterday"}',
        `{"id":"h","say":"${"x".repeat(3_000)}"}`,
        '{"id":"a","say":"again"}',
        '{"id":"a"}',
        '{"id":"z"}',
        '{"id":"i","parent":"z"}'
      ]
      const places = { id: ["id"], parent: ["parent"], time: ["at"] }
      const rules = [rule, gate]
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger
        const report = yield* ledger.import(bytesOf(lines.join("\n")), Import.fields(places), {
          lineBytesMax: 10_000
        })
        assertLike(report, { lines: 12, appended: 4, existing: 1, refused: 7 })
        const reasons: ReadonlyArray<readonly [number, RegExp]> = [
          [2, new RegExp(`^UnknownParent: ${EventId.idFrom("z")} is no earlier row`)],
          [4, new RegExp(`^UnknownParent: ${EventId.idFrom("b")} is no earlier row`)],
          [5, /^PolicyRefused: ledger.append refused it: .*no.secrets/],
          [6, /^PolicyRefused: .*no.third/],
          [7, /^DraftInvalid: at \/observedAt expected an RFC 3339 time/],
          [8, /^PayloadTooLarge: a row of \d+ bytes, the limit is 2000$/],
          [9, /^IdConflict: .* is that of row 1, with another payload$/]
        ]
        assert.deepStrictEqual(
          report.problems.map(({ line }) => line),
          reasons.map(([line]) => line)
        )
        for (const [nth, [, reason]] of reasons.entries()) {
          assert.match(report.problems[nth]?.reason ?? "", reason)
        }
        const ids = (yield* rowsOf(ledger)).map((event) => event.id)
        assert.deepStrictEqual(
          ids,
          ["a", "c", "z", "i"].map((text) => EventId.idFrom(text))
        )
        assert.strictEqual((yield* importsOf(ledger))[0]?.counts["refused"], 7)
        yield* assertSound(ledger)
      }).pipe(Effect.provide(TestLedger.layer({ directory, rules, lineBytesMax: 2_000 })))
    })
  )

  it.effect("lists the first thousand bad lines, and counts all", () =>
    inDirectory((ledger) =>
      Effect.gen(function* () {
        const lines = Array.from({ length: 2_222 }, (_, nth) => (nth % 2 === 0 ? "{" : "[]"))
        const report = yield* ledger.import(lines, Import.fields())
        assertLike(report, { lines: 2_222, appended: 1_111, refused: 1_111 })
        assert.deepStrictEqual(
          report.problems.map(({ line }) => line),
          Array.from({ length: 1_000 }, (_, nth) => nth * 2 + 1)
        )
      })
    )
  )

  it.effect("of nothing is an import of nothing", () =>
    inDirectory((ledger) =>
      Effect.gen(function* () {
        for (const lines of [[], bytesOf(""), Stream.make(new Uint8Array())]) {
          const report = yield* ledger.import(lines, Import.fields())
          assertLike(report, {
            lines: 0,
            appended: 0,
            bytes: 0,
            sha256: digestOf(new Uint8Array())
          })
        }
        assert.lengthOf(yield* ledger.operations, 3)
      })
    )
  )

  class Elsewhere extends Data.TaggedError("Elsewhere") {}

  /** Drafts that an effect makes: the text says what becomes of it. */
  const made = ({ text }: Import.Line): Effect.Effect<Draft, Import.LineRefused | Elsewhere> =>
    Effect.suspend((): Effect.Effect<Draft, Import.LineRefused | Elsewhere> => {
      if (text === "die") return Effect.die("a bug")
      if (text === "fail") return Effect.fail(new Elsewhere())
      return text === "refuse"
        ? Effect.fail(new Import.LineRefused({ reason: "not wanted" }))
        : Effect.succeed(named(text))
    })

  const enough = Array.from({ length: 300 }, (_, nth) => `row ${nth}`)

  const last = (ledger: Service) => Effect.map(importsOf(ledger), (all) => all.at(-1))

  const stopped = (errorClass: string, counts: { readonly [name: string]: number }) => ({
    state: "finished" as const,
    outcome: "recoverable_error" as const,
    errorClass,
    counts
  })

  const group = { lines: 301, appended: 256, checked: 256, existing: 0, refused: 0 }

  it.effect("reports what an effect refuses, and ends where an effect or the source fails", () =>
    inDirectory((ledger) =>
      Effect.gen(function* () {
        const report = yield* ledger.import(["a", "refuse", "b"], made)
        assertLike(report, { appended: 2, problems: [{ line: 2, reason: "not wanted" }] })
        assert.instanceOf(yield* Effect.flip(ledger.import([...enough, "fail"], made)), Elsewhere)
        assert.deepStrictEqual(yield* last(ledger), stopped("source_error", group))
        assert.strictEqual((yield* ledger.head).seq, 258)
        const died = yield* Effect.exit(ledger.import([...enough, "die"], made))
        assert.isTrue(Exit.hasDies(died))
        assert.deepStrictEqual(
          yield* last(ledger),
          stopped("defect", { ...group, appended: 0, existing: 256, checked: 0 })
        )
        const source = Stream.concat(
          bytesOf(`${enough.join("\n")}\n`),
          Stream.fail(new Elsewhere())
        )
        assert.instanceOf(yield* Effect.flip(ledger.import(source, made)), Elsewhere)
        assertLike(yield* last(ledger), {
          errorClass: "source_error",
          outcome: "recoverable_error"
        })
        assertLike(yield* ledger.import(enough, made), { appended: 44, existing: 256 })
      })
    )
  )

  it.effect("that is interrupted keeps whole groups, says so, and goes on", () =>
    inDirectory((ledger) =>
      Effect.gen(function* () {
        const reached = yield* Deferred.make<void>()
        const source = Stream.concat(
          bytesOf(`${enough.join("\n")}\n`),
          Stream.fromEffect(Effect.andThen(Deferred.succeed(reached, undefined), Effect.never))
        )
        const fiber = yield* Effect.forkChild(ledger.import(source, made))
        yield* Deferred.await(reached)
        yield* Fiber.interrupt(fiber)
        const counts = { ...group, lines: 300 }
        assert.deepStrictEqual(yield* last(ledger), stopped("interrupted", counts))
        assertLike(yield* ledger.import(enough, made), { appended: 44, existing: 256 })
      })
    )
  )

  it.effect("ends where the ledger is rolled back meanwhile, and adds it all again", () =>
    inDirectory((ledger) =>
      Effect.gen(function* () {
        yield* ledger.append(named("before"))
        const { number } = yield* ledger.checkpoint("before")
        const by = { operator: "ada", reason: "a wrong turn" }
        const back = (line: Import.Line) =>
          line.number === 280 ? Effect.andThen(ledger.rollback(number, by), made(line)) : made(line)
        assertLike(yield* Effect.flip(ledger.import(enough, back)), {
          _tag: "OperationFailed",
          errorClass: "rolled_back"
        })
        assertLike(yield* last(ledger), { outcome: "recoverable_error", errorClass: "rolled_back" })
        const again = yield* ledger.import(enough, made)
        assert.strictEqual(again.appended + again.existing, 300)
        assert.strictEqual((yield* ledger.head).seq, 301)
        yield* assertSound(ledger)
      })
    )
  )

  it.effect("tells how far it is, in bytes where their number is known", () =>
    inDirectory((ledger) =>
      Effect.gen(function* () {
        const told: Array<Step> = []
        const hear = (step: Step) => Effect.sync(() => void told.push(step))
        const text = enough.join("\n")
        const bytesTotal = utf8.encode(text).byteLength
        yield* ledger
          .import(bytesOf(text, 50), made, { bytesTotal })
          .pipe(Effect.provideService(Progress, hear))
        yield* ledger.import(enough, made).pipe(Effect.provideService(Progress, hear))
        assert.deepStrictEqual(
          told.map(({ task, total, unit }) => [task, total, unit]),
          [
            ["import", bytesTotal, "bytes"],
            ["import", bytesTotal, "bytes"],
            ["import", undefined, "lines"],
            ["import", undefined, "lines"]
          ]
        )
        assert.deepStrictEqual(
          told.slice(1).map(({ done }) => done),
          [bytesTotal, 256, 300]
        )
        assert.isBelow(told[0]?.done ?? 0, bytesTotal)
      })
    )
  )

  it.effect(
    "refuses what cannot be recorded, and a ledger that is closed, and writes nothing",
    () =>
      Effect.gen(function* () {
        const directory = path.join(yield* TestLedger.directory, "l")
        const kept = yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            for (const options of [
              { source: " " },
              { operator: "" },
              { reason: "\0" },
              { correlationId: "\ud800" },
              { source: "x".repeat(5_000) }
            ]) {
              assertLike(yield* Effect.flip(ledger.import(["[]"], Import.fields(), options)), {
                _tag: "RequestInvalid",
                member: Object.keys(options)[0]
              })
            }
            return ledger
          })
        )
        assertLike(yield* Effect.flip(kept.import(["[]"], Import.fields())), {
          _tag: "LedgerClosed"
        })
        assert.isFalse(fs.existsSync(path.join(directory, "operations")))
        assert.lengthOf(segmentBytes(directory), 0)
      })
  )

  it.effect("works in one file that Cortex reads, by its rules", () =>
    Effect.gen(function* () {
      const file = path.join(yield* TestLedger.directory, "log.jsonl")
      yield* using({ file }, (ledger) =>
        Effect.gen(function* () {
          const lines = [
            '{"type":"cortex.event.user_message.v1","n":1.5}',
            '{"type":"user"}',
            '{"type":"cortex.event.user_message.v1","n":90.28571428571429}'
          ]
          const report = yield* ledger.import(lines, Import.fields({ type: ["type"] }))
          assertLike(report, { appended: 1, refused: 2 })
          assert.match(report.problems[0]?.reason ?? "", /Cortex's ten types/)
          assert.match(report.problems[1]?.reason ?? "", /^DraftInvalid: at \/payload\/n expected/)
          yield* assertSound(ledger)
        })
      )
    })
  )

  it.effect("fails where a row that is read back is not what was handed in", () =>
    inDirectory((ledger) =>
      Effect.gen(function* () {
        const { eventHash, id, leafHash, seq } = yield* ledger.append(named("a"))
        const now = Timestamp.fromMillis(0)
        const [same, other] = [named("a"), { ...named("a"), payload: "other" }].map((draft) =>
          Result.getOrThrow(Complete.complete(draft, { id: EventId.idFrom("a"), now }))
        )
        if (same === undefined || other === undefined) return assert.fail()
        const appended = (seq: number) =>
          Effect.succeed([new Appended({ id, seq, leafHash, eventHash })])
        const append = (draft: Complete.CompleteDraft, at: number) => {
          const rows: Pick<Rows, "events"> = {
            events: ({ last, until } = {}) => ledger.events({ last, until })
          }
          const submit = () => appended(at)
          const tally = emptyTally()
          const work = makeAppend({ hashes: Hashes.noble, rows, submit }, "op_1")
          return Effect.as(work([{ line: 7, draft }], tally, []), tally)
        }
        assertLike(yield* append(same, seq), { appended: 1, checked: 1 })
        for (const wrong of [append(other, seq), append(same, seq + 1)]) {
          const error = yield* Effect.flip(wrong)
          assertLike(error, { _tag: "OperationFailed", errorClass: "integrity_mismatch" })
          assert.match(error.message, /line 7 as row \d.*Run it again: it adds what is missing/)
        }
      })
    )
  )

  it.effect.prop(
    "makes the rows that appends of the same drafts make, byte for byte",
    [Arbitraries.history],
    ([history]) =>
      Effect.gen(function* () {
        const drafts = history.map((draft, nth) => ({ ...draft, id: EventId.idFrom(`${nth}`) }))
        const one = path.join(yield* TestLedger.directory, "l")
        const two = path.join(yield* TestLedger.directory, "l")
        yield* using({ directory: one }, (ledger) => ledger.appendAll(drafts))
        yield* using({ directory: two }, (ledger) =>
          Effect.gen(function* () {
            const toDraft = ({ text }: Import.Line) =>
              Result.succeed(drafts[Number(text)] ?? named("x"))
            const report = yield* ledger.import(
              bytesOf(drafts.map((_, nth) => `${nth}`).join("\n"), 3),
              toDraft
            )
            assertLike(report, { appended: drafts.length, refused: 0 })
          })
        )
        assert.isTrue(segmentBytes(one).equals(segmentBytes(two)))
      }),
    { arbitrary: { runs: 6 } }
  )
})

describe("an import on a disk that fails", () => {
  const lines = session(260)

  const run = Effect.flatMap(Ledger, (ledger) =>
    ledger.import(bytesOf(lines.join("\n"), 4_096), ofSession, { source: "s" })
  )

  const whole = Effect.flatMap(Ledger, (ledger) =>
    Effect.gen(function* () {
      yield* assertSound(ledger)
      const rows = yield* rowsOf(ledger)
      assert.lengthOf(rows, 261)
      assert.deepStrictEqual(
        rows.slice(1).map((event) => event.id),
        Array.from({ length: 260 }, (_, nth) => EventId.idFrom(`turn-${nth}`))
      )
      return yield* importsOf(ledger)
    })
  )

  it.live("says what failed, keeps its rows, and goes on when it is run again", () =>
    Effect.gen(function* () {
      const disk = yield* FaultyDisk.make({ seed: 3 })
      yield* Effect.gen(function* () {
        yield* disk.fail({ on: "write", path: "segments", nth: 2, code: "ENOSPC" })
        assertLike(yield* Effect.flip(run), { _tag: "JournalError", code: "ENOSPC" })
        assertLike(yield* run, { appended: 5, existing: 256 })
        const [failed, done] = yield* whole
        assertLike(failed, { outcome: "recoverable_error", errorClass: "io_error" })
        assertLike(failed?.counts, { appended: 256, checked: 256 })
        assertLike(done, { outcome: "ok" })
      }).pipe(Effect.provide(TestLedger.layer({ disk })))
    })
  )

  it.live("killed or powered off at any operation, adds what is missing and nothing twice", () =>
    Effect.gen(function* () {
      const counting = yield* FaultyDisk.make({ seed: 1 })
      const shop = TestLedger.layer({ disk: counting })
      yield* Effect.asVoid(Ledger).pipe(Effect.provide(shop))
      const before = (yield* counting.operations).length
      yield* Effect.asVoid(run).pipe(Effect.provide(shop))
      const during = (yield* counting.operations).length - before
      assert.isAbove(during, 40)
      const crashes = process.env["EXHAUSTIVE"] === "1" ? during : 6
      let interrupted = 0
      for (let nth = 0; nth < crashes; nth++) {
        const disk = yield* FaultyDisk.make({ seed: nth + 1 })
        const layer = TestLedger.layer({ disk })
        yield* Effect.asVoid(Ledger).pipe(Effect.provide(layer))
        const crash = nth % 2 === 0 ? "kill" : "powerCut"
        const at = 1 + Math.floor((nth * during) / crashes)
        yield* disk.fail({ nth: at, crash, during: nth % 3 === 0 })
        yield* Effect.exit(Effect.provide(run, layer))
        assert.lengthOf(yield* disk.deaths, 1)
        const again = yield* Effect.provide(run, layer)
        assert.strictEqual(again.appended + again.existing, 261)
        const all = yield* Effect.provide(whole, layer)
        assertLike(all.at(-1), { state: "finished", outcome: "ok" })
        for (const { errorClass, outcome, state } of all.slice(0, -1)) {
          assert.strictEqual(state, "finished")
          assert.isTrue(outcome === "ok" || errorClass === "interrupted")
          if (errorClass === "interrupted") interrupted++
        }
      }
      assert.isAbove(interrupted, crashes / 4)
    })
  )
})
