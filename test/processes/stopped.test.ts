/**
 * A process that is stopped in the middle of appending: the ledger stays its own, readers go on,
 * and when it goes on it has lost nothing; unless another hand wrote to its journal meanwhile,
 * which it must not write behind.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import { StoreBusy } from "../../src/store/locking/Guard.ts"
import { LedgerDamaged } from "../../src/store/opening/Opening.ts"
import { Reader } from "../../src/store/reading/Reader.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { otherRuntime, refusal } from "../store/crashKit.ts"
import { snapshot } from "../store/ledgerFixtures.ts"
import { Book } from "./book.ts"
import { dice } from "./dice.ts"
import type { Child } from "./herd.ts"
import { canSeeStops, herd, stopped } from "./herd.ts"
import { reopen } from "./lives.ts"
import { look, segmentsOf } from "./remains.ts"
import type { Said } from "./talk.ts"

const seed = process.env["SEALOG_SEED"] ?? "1"
const stops = 8

/** A child that appends without end, and what it said so far. */
const appending = (child: Child, book: Book) => {
  const said: Array<Said> = []
  const listeners = new Set<() => void>()
  child.onSaid((line) => {
    said.push(line)
    for (const listener of listeners) listener()
  })
  child.order({
    _tag: "Append",
    ledgers: [book.assignment(100_000, false)],
    isTelling: false,
    death: null
  })
  const count = (tag: Said["_tag"]) => said.filter(({ _tag }) => _tag === tag).length
  /** When so many lines of a kind were read, counted from the start. */
  const until = (tag: Said["_tag"], wanted: number) =>
    Effect.callback<void>((resume) => {
      const listener = () => {
        if (count(tag) >= wanted) resume(Effect.void)
      }
      listeners.add(listener)
      listener()
      return Effect.sync(() => listeners.delete(listener))
    })
  const stop = Effect.suspend(() => {
    child.signal("SIGSTOP")
    return stopped(child.pid)
  })
  return { said, count, until, stop }
}

/** What it has said of rows that were acknowledged. */
const ackedIn = (said: ReadonlyArray<Said>) =>
  said.flatMap((line) => (line._tag === "Acked" ? line.receipts : []))

/** A reader sees whole groups, and all that was acknowledged. */
const readAll = Effect.fnUntraced(function* (
  said: ReadonlyArray<Said>,
  verdict: "Intact" | "Damaged" = "Intact"
) {
  const reader = yield* Reader
  const acked = ackedIn(said)
  const rows = yield* Stream.runCollect(reader.events())
  for (const [, id, seq, leafHash] of acked) {
    const row = rows[seq - 1]
    assert.deepStrictEqual([row?.id, row?.leafHash], [id, leafHash])
  }
  const [index, size] = rows.at(-1)?.batch ?? [0, 1]
  assert.strictEqual(index + 1, size, "a reader saw a part of a group")
  assert.strictEqual((yield* reader.verify())._tag, verdict)
})

/** A process that tries to open the ledger is refused, twice. */
const contenderIsRefused = Effect.fnUntraced(function* (
  child: Child,
  directory: string,
  log: string
) {
  const said: Array<Said["_tag"]> = []
  child.onSaid(({ _tag }) => {
    said.push(_tag)
    if (said.length === 2) child.signal("SIGKILL")
  })
  const life = { life: "late", from: 0, tenures: 1 }
  child.order({ _tag: "Contend", label: "late", appender: 0, directory, log, ...life })
  yield* Effect.promise(() => child.ended)
  assert.deepStrictEqual(said.slice(0, 2), ["Busy", "Busy"])
})

describe.skipIf(!canSeeStops)("a process that is stopped", () => {
  it.effect(
    "keeps its ledger to itself while readers go on, and goes on itself",
    () =>
      Effect.gen(function* () {
        const parent = yield* TestLedger.directory
        const directory = path.join(parent, "ledger")
        const children = yield* herd(process.execPath, 2)
        const others = fs.existsSync(otherRuntime) ? yield* herd(otherRuntime, 1) : children
        const book = new Book("stopped", directory, 20_000, 3)
        const { below } = dice(`stopped ${seed}`)
        const child = yield* children.take
        const { count, said, stop, until } = appending(child, book)
        yield* until("Acked", 1)
        yield* Effect.gen(function* () {
          for (let nth = 0; nth < stops; nth++) {
            yield* until("Acked", count("Acked") + 1 + below(12))
            yield* stop
            assert.instanceOf(yield* refusal({ directory }), StoreBusy)
            const rival = nth === 0 ? children : nth === 1 ? others : undefined
            if (rival !== undefined) {
              yield* contenderIsRefused(yield* rival.take, directory, path.join(parent, "log"))
            }
            yield* readAll(said)
            child.signal("SIGCONT")
          }
        }).pipe(Effect.provide(SealogNode.layerReader({ directory })))
        yield* until("Acked", count("Acked") + 10)
        child.dismiss()
        const { code, errors } = yield* Effect.promise(() => child.ended)
        assert.deepStrictEqual([code, errors], [0, ""])
        for (const line of said) book.hear(line)
        book.settle(look(directory))
        assert.strictEqual(yield* reopen(book), 0)
        assert.isFalse(fs.existsSync(path.join(parent, "log")))
      }).pipe(Effect.scoped),
    60_000
  )

  for (const [name, foreign] of [
    ["bytes", "x".repeat(4_000_000)],
    ["lines", `{"not":"${"x".repeat(39_989)}"}\n`.repeat(100)]
  ] as const) {
    it.effect(
      `appends nothing behind foreign ${name} once it goes on, and loses nothing`,
      () => foreignHand(name, foreign),
      60_000
    )
  }
})

/** More bytes than any group that may be under way, so that none can cover them. */
const foreignHand = Effect.fnUntraced(function* (name: "bytes" | "lines", foreign: string) {
  const directory = path.join(yield* TestLedger.directory, "ledger")
  const children = yield* herd(process.execPath, 0)
  const book = new Book(`foreign-${name}`, directory, 1_000_000_000, 3)
  const child = yield* children.take
  const { count, said, stop, until } = appending(child, book)
  yield* until("Acked", 1 + dice(`foreign ${name} ${seed}`).below(20))
  yield* stop
  for (const { path: file } of segmentsOf(directory)) fs.appendFileSync(file, foreign)
  child.signal("SIGCONT")
  // Of what was under way one group may be answered, and nothing after it.
  yield* Effect.raceFirst(until("Failed", 3), until("Acked", count("Acked") + 50))
  assert.strictEqual(count("Failed"), 3, "it wrote on")
  for (const line of said) {
    if (line._tag !== "Failed") continue
    assert.strictEqual(line.tag, "JournalFinal length_changed")
    assert.match(line.message, /Another program wrote to it.*open the ledger again/)
  }
  // Bytes without LF may be what a write under way has left so far; whole lines may not.
  yield* readAll(said, name === "lines" ? "Damaged" : "Intact").pipe(
    Effect.provide(SealogNode.layerReader({ directory }))
  )
  child.dismiss()
  assert.strictEqual((yield* Effect.promise(() => child.ended)).code, 0)
  for (const line of said) if (line._tag !== "Failed") book.hear(line)
  book.settle(look(directory))
  const { kept, torn } = book.last
  assert.isAbove(torn.length, foreign.length / 2, "the foreign hand was covered")
  if (name === "lines") {
    const before = snapshot(directory)
    const error = yield* refusal({ directory })
    assert.instanceOf(error, LedgerDamaged)
    assert.strictEqual(error.offset, kept.length)
    assert.deepStrictEqual(snapshot(directory), before)
    for (const { path: file } of segmentsOf(directory)) fs.truncateSync(file, kept.length)
    book.settle({ ...look(directory), cuts: [torn] })
  }
  assert.strictEqual(yield* reopen(book), 0)
}, Effect.scoped)
