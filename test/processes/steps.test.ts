/**
 * A process that dies at one step exactly, step after step: while a ledger is made and its first
 * rows are written, while a torn tail is cut, while the mirror is made anew. Where `kills.test.ts`
 * throws dice, this leaves no step out.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { keptBytes } from "../store/crashKit.ts"
import { assertSound, segmentBytes, using } from "../store/ledgerFixtures.ts"
import { Book } from "./book.ts"
import { callOf } from "./calls.ts"
import type { Child } from "./herd.ts"
import { herd } from "./herd.ts"
import type { Moment } from "./lives.ts"
import { live, reopen } from "./lives.ts"
import { look, mirrored } from "./remains.ts"
import type { Death, Said } from "./talk.ts"

/** How many die side by side. */
const abreast = 3

const dying = (call: string, nth: number, how: Death["how"]): Moment => ({
  at: "itself",
  death: { ledger: 0, call, nth, how }
})

/** Tells every step, and dies at rest. */
const telling: Moment = { at: "step", count: Number.POSITIVE_INFINITY, turns: 0 }

const bookIn = (directory: string): Book => new Book("steps", directory, 900, 1)

const ackedIn = (said: ReadonlyArray<Said>) =>
  said
    .filter((line) => line._tag === "Acked")
    .flatMap(({ receipts }) => receipts.map(([, id]) => id))

/** What was said before each step was made, and the words of the step. */
const steps = (said: ReadonlyArray<Said>) =>
  said.flatMap((line, nth) =>
    line._tag === "Step" ? [{ call: line.call, until: said.slice(0, nth) }] : []
  )

const rowsOf = (nth: number) => callOf("steps", 0, nth).drafts.length

/** How many rows the first `count` calls have. */
const rowsOfCalls = (count: number) =>
  Array.from({ length: count }, (_, nth) => rowsOf(nth)).reduce((sum, rows) => sum + rows, 0)

const isWrite = (call: string) => call.startsWith("write segments")

describe("a process that dies at one step", () => {
  it.effect(
    "of making a ledger or appending to it leaves just what was written by then",
    () =>
      Effect.gen(function* () {
        const parent = yield* TestLedger.directory
        const children = yield* herd(process.execPath, abreast)
        const calls = { calls: 4 }
        const first = bookIn(path.join(parent, "whole"))
        const healthy = steps(yield* live(yield* children.take, [first], telling, calls))
        assert.isAtLeast(healthy.filter(({ call }) => call.startsWith("open segments")).length, 3)
        yield* Effect.forEach(
          healthy,
          Effect.fnUntraced(function* ({ until }, nth) {
            const book = bookIn(path.join(parent, `step-${nth}`))
            const said = yield* live(
              yield* children.take,
              [book],
              dying("", nth + 1, "after"),
              calls
            )
            assert.deepStrictEqual(ackedIn(said), ackedIn(until), `step ${nth + 1}`)
            const written = healthy.slice(0, nth + 1).filter(({ call }) => isWrite(call)).length
            const { rows, torn } = book.last
            assert.deepStrictEqual([rows.length, torn.length], [rowsOfCalls(written), 0])
            assert.strictEqual(yield* reopen(book), rows.length - ackedIn(said).length)
          }),
          { concurrency: abreast, discard: true }
        )
      }).pipe(Effect.scoped),
    240_000
  )

  it.effect(
    "with all but the last byte of a group written leaves a whole group, which the next open ends",
    () =>
      Effect.gen(function* () {
        const children = yield* herd(process.execPath, 0)
        const book = bookIn(path.join(yield* TestLedger.directory, "ledger"))
        const said = yield* live(
          yield* children.take,
          [book],
          dying("write segments", 4, "unended")
        )
        const { bytes, kept, rows, torn } = book.last
        assert.deepStrictEqual([rows.length, torn.length], [rowsOfCalls(4), 0])
        assert.strictEqual(kept.length, bytes.length + 1)
        assert.strictEqual(yield* reopen(book), rows.length - ackedIn(said).length)
      }).pipe(Effect.scoped),
    60_000
  )

  it.effect(
    "of cutting a torn group leaves the cut to the next open, which finishes it",
    () =>
      Effect.gen(function* () {
        const parent = yield* TestLedger.directory
        const children = yield* herd(process.execPath, abreast)
        const torn = bookIn(path.join(parent, "torn"))
        const groupAt = [2, 3, 4, 5].find((nth) => rowsOf(nth) > 1) ?? 0
        const tear = dying("write segments", groupAt + 1, "torn")
        const before = yield* live(yield* children.take, [torn], tear)
        const tornBytes = torn.last.torn
        assert.isAbove(tornBytes.length, 0)
        assert.strictEqual(torn.last.rows.length, rowsOfCalls(groupAt))
        const copy = (name: string) => {
          const directory = path.join(parent, name)
          fs.cpSync(torn.directory, directory, { recursive: true })
          const book = bookIn(directory)
          for (const line of before) book.hear(line)
          book.settle(look(directory))
          return book
        }
        const said = yield* live(yield* children.take, [copy("whole")], telling, { calls: 0 })
        const recovery = steps(said)
        for (const call of ["truncate segments", "rename operations", "sync operations"]) {
          assert.isDefined(
            recovery.find((step) => step.call.startsWith(call)),
            call
          )
        }
        yield* Effect.forEach(
          recovery,
          Effect.fnUntraced(function* (_, nth) {
            const book = copy(`step-${nth}`)
            yield* live(yield* children.take, [book], dying("", nth + 1, "after"), { calls: 0 })
            yield* reopen(book)
            assert.isTrue(keptBytes(book.directory).equals(tornBytes), `step ${nth + 1}`)
          }),
          { concurrency: abreast, discard: true }
        )
      }).pipe(Effect.scoped),
    240_000
  )

  it.effect(
    "of making the mirror anew leaves it for the next open to go on with",
    () =>
      Effect.gen(function* () {
        const parent = yield* TestLedger.directory
        const directory = path.join(parent, "ledger")
        const children = yield* herd(process.execPath, 1)
        const drafts = Array.from({ length: 500 }, (_, nth) => callOf("many", 0, nth)).flatMap(
          (call) => call.drafts.map((draft) => ({ ...draft, payload: null }))
        )
        // Groups that end where no batch of a replay would end by itself.
        const groups = Array.from({ length: Math.ceil(drafts.length / 100) }, (_, nth) =>
          drafts.slice(100 * nth, 100 * (nth + 1))
        )
        yield* using({ directory }, (ledger) =>
          Effect.forEach(groups, (group) => ledger.appendAll(group))
        )
        const bytes = segmentBytes(directory)
        for (const name of ["mirror.sqlite", "mirror.sqlite-wal", "mirror.sqlite-shm"]) {
          fs.rmSync(path.join(directory, name), { force: true })
        }
        let before = 0
        for (const rows of [1, 257, 513, 769]) {
          yield* killAtRows(yield* children.take, directory, rows)
          const there = mirrored(directory)
          assert.isAtLeast(there, Math.max(rows, before))
          assert.isTrue(there % 100 === 0 || there === drafts.length, `it ends at row ${there}`)
          before = there
        }
        const opened = yield* using({ directory }, (ledger) =>
          Effect.as(assertSound(ledger), ledger.opened)
        )
        assert.strictEqual(opened.head.seq, drafts.length)
        const actions = opened._tag === "Recovered" ? opened.actions : []
        const rest = drafts.length - before
        assert.deepStrictEqual(actions, rest === 0 ? [] : [{ _tag: "CaughtUp", rows: rest }])
        assert.isTrue(segmentBytes(directory).equals(bytes))
      }).pipe(Effect.scoped),
    120_000
  )
})

/** Let a child open a ledger, and kill it once its mirror has committed so many rows. */
const killAtRows = (child: Child, directory: string, rows: number) =>
  Effect.promise(async () => {
    const label = "many"
    child.order({
      _tag: "Append",
      ledgers: [{ label, directory, segmentBytesMax: 1_000_000, from: [], calls: 0 }],
      isTelling: false,
      death: null
    })
    const at = path.join(directory, "mirror.sqlite")
    let isOver = false
    const ended = child.ended.then((how) => {
      isOver = true
      return how
    })
    const look = () => {
      if (isOver) return
      if (committed(at) >= rows) child.signal("SIGKILL")
      else setImmediate(look)
    }
    look()
    assert.strictEqual((await ended).signal, "SIGKILL", "it ended by itself")
  })

/** Rows that a mirror has committed while it is being made. */
const committed = (at: string): number => {
  try {
    const db = new DatabaseSync(at, { readOnly: true })
    try {
      return Number(Object.values(db.prepare("SELECT count(*) FROM sealog_index").get() ?? {})[0])
    } finally {
      db.close()
    }
  } catch {
    // Not there yet, or held for a moment: whoever asks will ask again.
    return 0
  }
}
