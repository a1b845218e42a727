/**
 * What an event holds is told to nobody but those who ask for the event: no error, cause, stack or
 * span repeats a payload, a key, a session, a trace, a tag or a source. Every tag that the README
 * lists is provoked over drafts that are full of words which nobody else says.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Schema, Scope, Stream, Tracer } from "effect"
import { Event, FilePair, Import } from "../../src/index.ts"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import * as SqliteClient from "../../src/platform/SqliteClient.ts"
import * as Chain from "../../src/core/Chain.ts"
import * as View from "../../src/core/View.ts"
import * as LedgerModule from "../../src/store/Ledger.ts"
import { Ledger } from "../../src/store/Ledger.ts"
import * as StoreLock from "../../src/store/locking/StoreLock.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import * as faults from "../store/faults.ts"
import { meddle, using } from "../store/ledgerFixtures.ts"
import { leave, locks, statementOf, takeoverClaim } from "../store/locking.ts"
import * as Ed25519Keys from "../../src/platform/Ed25519Keys.ts"
import type { Signer } from "../store/signedKit.ts"
import { next, own, remote, using as signed } from "../store/signedKit.ts"
import { failureOf, heard, recorder, said, secret } from "./canary.ts"
import { tagOf } from "./ways.ts"

const readme = fileURLToPath(new URL("../../README.md", import.meta.url))

/** The tags that the README lists under Errors. */
const listed = (): ReadonlyArray<string> => {
  const [, section = ""] = fs.readFileSync(readme, "utf8").split("\n## Errors\n")
  const [table = ""] = section.split("\n## ")
  return [...table.matchAll(/^\| ((?:`\w+`(?:, )?)+) \|/gm)].flatMap(([, cell = ""]) =>
    [...cell.matchAll(/`(\w+)`/g)].map(([, tag = ""]) => tag)
  )
}

type Opened = Ledger["Service"]

/** An open ledger with one secret row, and where it lies. */
type Provoke = (ledger: Opened, directory: string) => Effect.Effect<unknown, unknown, Scope.Scope>

const mirrorOf = (directory: string) => path.join(directory, "mirror.sqlite")

const segmentOf = (directory: string) => path.join(directory, "segments/0000000000000001.jsonl")

const failing = `CREATE TRIGGER fail BEFORE INSERT ON events
  BEGIN SELECT RAISE(ABORT, 'on demand'); END`

/** Makes every COMMIT after an insert into the index fail, in the database itself. */
const commitFails = [
  "CREATE TABLE owed (seq INTEGER REFERENCES sealog_index(seq) DEFERRABLE INITIALLY DEFERRED)",
  "CREATE TRIGGER owe AFTER INSERT ON sealog_index BEGIN INSERT INTO owed VALUES (-1); END"
]

/** Change one byte of a file behind the first place where a text stands. */
const damage = (file: string, needle: string): void => {
  const bytes = fs.readFileSync(file)
  const at = bytes.indexOf(needle)
  assert.isAbove(at, 0, `${needle} in ${file}`)
  bytes[at] = (bytes[at] ?? 0) ^ 1
  fs.writeFileSync(file, bytes)
}

/** What fails in an open ledger of one row. */
const inOpen: { readonly [tag: string]: Provoke } = {
  DraftInvalid: (ledger) => ledger.append(secret("b", { observedAt: "yesterday" })),
  PayloadTooLarge: (ledger) => ledger.append(secret("b", { payload: "CANARYlong".repeat(2_000) })),
  PolicyRefused: (ledger) => ledger.append(secret("b", { source: { type: "user" } })),
  IdConflict: (ledger) => ledger.append(secret("a", { payload: "CANARYother" })),
  UnknownParent: (ledger) =>
    ledger.append(secret("b", { parentId: "evt_01JZZZZZZZZZZZZZZZZZZZZZZZ" })),
  ExpectationFailed: (ledger) =>
    ledger.append(secret("b"), { expect: LedgerModule.headAt(Chain.start) }),
  MirrorError: (ledger, directory) => {
    meddle(mirrorOf(directory), failing)
    return ledger.append(secret("b"))
  },
  MirrorBehind: (ledger, directory) => {
    meddle(mirrorOf(directory), ...commitFails)
    return ledger.append(secret("b"))
  },
  JournalFinal: (ledger, directory) => {
    fs.appendFileSync(segmentOf(directory), "CANARYforeign")
    return ledger.append(secret("b"))
  },
  EventNotFound: (ledger) => ledger.get("evt_01JZZZZZZZZZZZZZZZZZZZZZZZ"),
  PositionUnknown: (ledger) =>
    Stream.runDrain(ledger.events({ after: { seq: 1, leafHash: "0".repeat(64) } })),
  NotExportable: (ledger, directory) => ledger.export(`${directory}.jsonl`),
  LineRefused: () =>
    Effect.fromResult(
      Import.fields({ time: ["at"] })({
        number: 1,
        text: '{"at":{"CANARYmember":"CANARYpayload"}}'
      })
    ),
  EventUndecodable: (ledger) => {
    const kinds = [Event.define("a.v1", Schema.Array(Schema.Int))]
    return Stream.runDrain(ledger.events({ kinds }))
  },
  RowDamaged: (ledger, directory) => {
    damage(segmentOf(directory), "ANARYpayload")
    return ledger.get(1)
  },
  RowDiffers: (ledger, directory) => {
    meddle(mirrorOf(directory), `UPDATE events SET payload_json = '"CANARYinSql"'`)
    return ledger.replay
  },
  StoreBusy: (_, directory) => using({ directory }, () => Effect.void),
  RequestInvalid: (ledger) => ledger.checkpoint("CANARYreason\0"),
  OperationFailed: (ledger) => ledger.rollback(9, { operator: "ada", reason: "CANARYreason" }),
  RolledBack: (ledger) =>
    Effect.gen(function* () {
      const before = yield* ledger.checkpoint("CANARYreason")
      const cut = yield* ledger.append(secret("b"))
      yield* ledger.rollback(before, { operator: "ada", reason: "CANARYreason" })
      yield* Stream.runDrain(ledger.events({ after: cut }))
    })
}

/** What opening says to a directory that was closed with one secret row, and then changed. */
const onOpening: { readonly [tag: string]: (directory: string) => void } = {
  NotALedger: (directory) => fs.writeFileSync(path.join(directory, "ledger.json"), "CANARY"),
  FormatUnknown: (directory) =>
    fs.writeFileSync(path.join(directory, "ledger.json"), '{"format":"sealog/2","x":"CANARY"}'),
  LockError: (directory) => fs.writeFileSync(path.join(directory, "guard"), "CANARY"),
  // What a marker says is told on purpose; it holds nothing of an event.
  MarkerStale: (directory) => fs.writeFileSync(path.join(directory, "marker"), "not one of ours"),
  LedgerDamaged: (directory) => {
    fs.rmSync(mirrorOf(directory))
    damage(segmentOf(directory), "ANARYpayload")
  },
  LedgerDiverged: (directory) => damage(segmentOf(directory), "ANARYpayload"),
  OperationUnfinished: (directory) => {
    const folder = path.join(directory, "operations", "op_1")
    fs.mkdirSync(folder, { recursive: true })
    fs.writeFileSync(path.join(folder, "plan.json"), '{"reason":"CANARY"}')
  }
}

const withDisk = (fault: faults.Fault) =>
  Effect.gen(function* () {
    const directory = path.join(yield* TestLedger.directory, "ledger")
    const disk = yield* faults.make
    return yield* faults.using({ directory, disk }, (ledger) => {
      disk.fail(fault)
      return failureOf(ledger.append(secret("b")))
    })
  })

const planOutdated = Effect.gen(function* () {
  const directory = path.join(yield* TestLedger.directory, "ledger")
  yield* using({ directory }, (ledger) => ledger.appendAll([secret("a"), secret("b")]))
  damage(segmentOf(directory), "ANARYpayload")
  const plan = yield* SealogNode.diagnose({ directory })
  fs.appendFileSync(segmentOf(directory), "CANARYforeign\n")
  fs.writeFileSync(path.join(directory, "segments", "foreign"), "CANARY")
  return yield* failureOf(SealogNode.repair(plan, { operator: "ada", reason: "CANARYreason" }))
})

/** A lock that somebody left with a marker, in the directory of a ledger with one secret row. */
const leftBehind = Effect.gen(function* () {
  const directory = path.join(yield* TestLedger.directory, "ledger")
  yield* using({ directory }, (ledger) => ledger.append(secret("a")))
  const store = StoreLock.ledger({ directory })
  return { store, marker: yield* leave(store) }
})

const taking = (operators: ReadonlyArray<string>, intent: string) =>
  Effect.gen(function* () {
    const { marker, store } = yield* leftBehind
    const claim = { ...takeoverClaim, operators, intent }
    const lock = yield* StoreLock.StoreLock
    return yield* failureOf(lock.takeover(store, statementOf(marker), claim))
  }).pipe(Effect.provide(locks()))

/** What an append says in a ledger that the first signs, and who comes then. */
const signing = (first: Signer, ...then: ReadonlyArray<Signer | undefined>) =>
  Effect.gen(function* () {
    const directory = path.join(yield* TestLedger.directory, "ledger")
    const opened = (attestor: Signer | undefined, name: string) =>
      Effect.flip(signed({ directory, attestor }, (ledger) => ledger.append(secret(name))))
    if (then.length === 0) return yield* opened(first, "a")
    yield* signed({ directory, attestor: first }, (ledger) => ledger.append(secret("a")))
    return yield* opened(then[0], "b")
  })

/** What fails elsewhere. */
/** A view that holds what rows hold, where its table or its row takes nothing. */
const viewOf = (version: number, unfit: boolean, check = "CHECK (said = 'nothing')") =>
  View.make({
    name: "held",
    version,
    row: Schema.Struct({ id: Schema.String, said: Schema.String }),
    columns: { id: "TEXT NOT NULL", said: `TEXT NOT NULL ${check}` },
    key: ["id"],
    keysOf: ({ event: { keys } }) => [{ id: `${keys?.["CANARYname"]}` }],
    fold: (_row, { event: { payloadText, sessionId } }, { id }) => ({
      id,
      said: `${payloadText}${sessionId}${unfit ? "\0" : ""}`
    })
  })

const others: { readonly [tag: string]: Effect.Effect<unknown, unknown, Scope.Scope> } = {
  JournalError: withDisk({ operation: "write", path: ".jsonl", code: "ENOSPC", bytes: 40 }),
  PlanOutdated: planOutdated,
  TakeoverRefused: taking([], "takeover"),
  MarkerInvalid: taking([], "two\nlines"),
  OutcomeUnknown: withDisk({ operation: "sync", path: ".jsonl" }),
  ViewFailed: Effect.gen(function* () {
    const failing = Effect.fnUntraced(function* (unfit: boolean) {
      const directory = path.join(yield* TestLedger.directory, "ledger")
      const appending = Ledger.use((ledger) => failureOf(ledger.append(secret("a"))))
      const layer = TestLedger.layer({ directory, views: [viewOf(1, unfit)] })
      return yield* Effect.provide(appending, layer)
    })
    assert.deepStrictEqual(heard(said(yield* failing(true))), [])
    return yield* failing(false)
  }),
  ViewRowInvalid: Effect.gen(function* () {
    const directory = path.join(yield* TestLedger.directory, "ledger")
    const view = viewOf(1, false, "")
    const reading = Ledger.use((ledger) =>
      Effect.andThen(
        ledger.append(secret("a")),
        failureOf(
          ledger.rows(view, (sql, table) => sql`SELECT said AS id, 7 AS said FROM ${table}`)
        )
      )
    )
    return yield* Effect.provide(reading, TestLedger.layer({ directory, views: [view] }))
  }),
  ViewOutdated: Effect.gen(function* () {
    const directory = path.join(yield* TestLedger.directory, "ledger")
    yield* using({ directory }, (ledger) => ledger.append(secret("a")))
    const open = (version: number) =>
      Layer.build(
        TestLedger.layer({ directory, views: [viewOf(version, true)], onViewChange: "refuse" })
      ).pipe(Effect.scoped)
    yield* open(1)
    return yield* failureOf(open(2))
  }),
  SignError: signing(remote(() => Effect.die(new Error("CANARYseed")))),
  AttestorMissing: signing(own, undefined),
  AttestorRefused: signing(own, next),
  KeyInvalid: Effect.gen(function* () {
    const at = path.join(yield* TestLedger.directory, "key")
    fs.writeFileSync(at, "CANARYseed", { mode: 0o600 })
    return yield* failureOf(Ed25519Keys.fromFile(at))
  }),
  PublicKeyInvalid: Effect.gen(function* () {
    const directory = path.join(yield* TestLedger.directory, "ledger")
    const verify = (ledger: Opened) => failureOf(ledger.verify({ publicKey: "00" }))
    return yield* using({ directory }, verify)
  }),
  LedgerClosed: Effect.gen(function* () {
    const directory = path.join(yield* TestLedger.directory, "ledger")
    const scope = yield* Scope.make()
    const layer = Layer.fresh(TestLedger.layer({ directory }))
    const services = yield* Scope.provide(Layer.build(layer), scope)
    const ledger = yield* Effect.provide(Ledger, services)
    yield* Scope.close(scope, Exit.void)
    return yield* failureOf(ledger.append(secret("b")))
  }),
  ChainBroken: Effect.gen(function* () {
    const parent = yield* TestLedger.directory
    const file = path.join(parent, "log.jsonl")
    const type = "cortex.event.system_note.v1"
    yield* using({ file }, (ledger) =>
      ledger.appendAll([secret("a", { type }), secret("b", { type }), secret("c", { type })])
    )
    const lines = fs.readFileSync(file, "utf8").split("\n")
    fs.writeFileSync(file, lines.filter((_, nth) => nth !== 1).join("\n"))
    const sql = SqliteClient.layer({ filename: path.join(parent, "other.sqlite") })
    return yield* failureOf(
      Effect.provide(FilePair.replay(file), Layer.merge(sql, SealogNode.layerPlatform))
    )
  })
}

/** Run with every span recorded; the error, and what all spans said. */
const recorded = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const { spans, text, tracer } = recorder()
    const error = yield* Effect.provideService(effect, Tracer.Tracer, tracer)
    return { error, spans: spans.map(({ name }) => name), text: text() }
  })

const checkSilent = (tag: string, told: { readonly error: unknown; readonly text: string }) => {
  assert.strictEqual(tagOf(told.error), tag, said(told.error).slice(0, 500))
  assert.deepStrictEqual(heard(said(told.error)), [], "the error tells")
  assert.deepStrictEqual(heard(told.text), [], "a span tells")
}

describe("No error repeats what an event holds", () => {
  it.effect("and whoever repeats it would be heard", () =>
    Effect.gen(function* () {
      const cause = Object.assign(new Error("outer"), { cause: { deep: [{ text: "CANARYdeep" }] } })
      assert.deepStrictEqual(heard(said(cause)), ["CANARYdeep"])
      assert.deepStrictEqual(heard(said(new Error("CANARYmessage"))), ["CANARYmessage"])
      const told = yield* recorded(
        Effect.fail(new Error("CANARYcause")).pipe(
          Effect.withSpan("CANARYname", { attributes: { at: { CANARYkey: "CANARYvalue" } } }),
          Effect.flip
        )
      )
      const words = ["CANARYcause", "CANARYkey", "CANARYname", "CANARYvalue"]
      assert.deepStrictEqual(heard(told.text), words)
    })
  )

  it("and every tag that the README lists is provoked here", () => {
    const provoked = [inOpen, onOpening, others].flatMap((some) => Object.keys(some))
    assert.isAtLeast(listed().length, 20)
    assert.sameMembers([...listed()], provoked)
  })

  for (const [tag, provoke] of Object.entries(inOpen)) {
    it.effect(`${tag}, in an open ledger`, () =>
      Effect.gen(function* () {
        const directory = path.join(yield* TestLedger.directory, "ledger")
        const told = yield* recorded(
          using({ directory, lineBytesMax: 10_000 }, (ledger) =>
            Effect.andThen(
              ledger.append(secret("a")),
              Effect.suspend(() => failureOf(provoke(ledger, directory)))
            )
          )
        )
        checkSilent(tag, told)
        assert.include(told.spans, "Ledger.append")
      })
    )
  }

  for (const [tag, change] of Object.entries(onOpening)) {
    it.effect(`${tag}, on opening`, () =>
      Effect.gen(function* () {
        const directory = path.join(yield* TestLedger.directory, "ledger")
        yield* using({ directory }, (ledger) => ledger.append(secret("a")))
        change(directory)
        checkSilent(tag, yield* recorded(failureOf(using({ directory }, () => Effect.void))))
      })
    )
  }

  for (const [tag, provoke] of Object.entries(others)) {
    it.effect(tag, () =>
      Effect.gen(function* () {
        checkSilent(tag, yield* recorded(provoke))
      })
    )
  }
})
