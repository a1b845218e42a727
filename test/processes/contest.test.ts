/**
 * Two processes want one ledger, are killed, and want it again, while a third reads it: never two
 * writers at once, nothing acknowledged is lost, and the reader's past never changes.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { otherRuntime } from "../store/crashKit.ts"
import { assertSound, using } from "../store/ledgerFixtures.ts"
import { Book } from "./book.ts"
import { LogLine } from "./contender.ts"
import type { Contest, Place } from "./contest.ts"
import { contend } from "./contest.ts"
import { dice } from "./dice.ts"
import type { Child, Herd } from "./herd.ts"
import { herd } from "./herd.ts"
import type { RawRow } from "./remains.ts"
import { look } from "./remains.ts"
import type { Seen } from "./talk.ts"

const seed = process.env["SEALOG_SEED"] ?? "1"
const size = { kills: 2, tenures: 8 }

const decodeLog = Schema.decodeUnknownSync(Schema.Array(Schema.fromJsonString(LogLine)))

/** The log's order is that of the kernel: tenures must not overlap, and rows only be added. */
const checkLog = (log: string, { answers, killed }: Contest): void => {
  const lines = decodeLog(fs.readFileSync(log, "utf8").trimEnd().split("\n"))
  const gone = new Set<string>()
  let holder: string | undefined
  let newest = 0
  for (const { did, life, receipts } of lines) {
    assert.isFalse(gone.has(life), `${life} wrote after another one was in`)
    if (did === "enter") {
      if (holder !== undefined) {
        assert.isTrue(killed.has(holder), `${life} came in while ${holder} was in`)
        gone.add(holder)
      }
      holder = life
    } else assert.strictEqual(holder, life, "it did something, and was not in")
    if (did === "leave") holder = undefined
    for (const [tag, , seq] of receipts) {
      if (tag === "AlreadyAppended") continue
      assert.isAbove(seq, newest, "a row was put before another one's")
      newest = seq
    }
  }
  // A kill may fall between the log and the pipe, never the other way round.
  const logged = new Set(lines.flatMap(({ receipts }) => receipts.map(([, id]) => id)))
  for (const [, id] of answers.flatMap(({ receipts }) => receipts)) assert.isTrue(logged.has(id))
}

/** Every acknowledged row is there once, in its order, and no other one. */
const checkRows = Effect.fnUntraced(function* ({ directory, label }: Place, { answers }: Contest) {
  const book = new Book(label, directory, 3_000, 2)
  const nothing = { how: "Clean", seq: 0, leafHash: "", actions: [] }
  book.hear({ _tag: "Opened", ledger: 0, ...nothing })
  for (const answer of answers) {
    // Who followed a killed one asked again, and may have found what was asked for.
    const receipts = answer.receipts.map(([, ...rest]) => ["Appended", ...rest] as const)
    book.hear({ ...answer, receipts })
  }
  const remains = look(directory)
  assert.strictEqual(remains.torn.length, 0)
  book.settle(remains)
  yield* using({ directory }, assertSound)
  return remains.rows
})

const nameOfCall = ({ payload }: RawRow) => payload.name.slice(0, payload.name.lastIndexOf("."))

/** What a reader saw is what there is, row by row, and each look ended with a whole call. */
const checkLooks = (
  looks: ReadonlyArray<ReadonlyArray<Seen>>,
  rows: ReadonlyArray<RawRow>
): void => {
  let newest = 0
  for (const look of looks) {
    for (const [seq, id, leafHash, index, size] of look) {
      assert.strictEqual(seq, newest + 1, "a reader skipped rows, or went back")
      newest = seq
      const row = rows[seq - 1]
      assert.deepStrictEqual(
        [id, leafHash, index, size],
        [row?.id, row?.leafHash, ...(row?.batch ?? [])]
      )
    }
    const [last, next] = [rows[newest - 1], rows[newest]]
    assert.strictEqual((last?.batch[0] ?? 0) + 1, last?.batch[1], "a look ended inside a group")
    if (last !== undefined && next !== undefined) {
      assert.notStrictEqual(nameOfCall(last), nameOfCall(next), "a look ended inside a call")
    }
  }
  assert.strictEqual(newest, rows.length)
}

/** A child that reads; `until` waits for a row, and ends it. */
const reading = (child: Child, directory: string) => {
  const looks: Array<ReadonlyArray<Seen>> = []
  const failures: Array<string> = []
  let newest = 0
  let onNewest = () => undefined as void
  child.onSaid((said) => {
    if (said._tag === "Failed") {
      failures.push(`${said.tag}: ${said.message}`)
      child.signal("SIGKILL")
    }
    if (said._tag !== "Saw") return
    looks.push(said.rows)
    newest = said.rows.at(-1)?.[0] ?? newest
    onNewest()
  })
  child.order({ _tag: "Watch", directory })
  const until = (seq: number) =>
    Effect.promise(async () => {
      onNewest = () => {
        if (newest >= seq) child.dismiss()
      }
      onNewest()
      const { errors } = await child.ended
      assert.deepStrictEqual([failures, errors], [[], ""], "the reader failed")
      return looks
    })
  return { until }
}

const fight = Effect.fnUntraced(function* (name: string, ...runtimes: readonly [string, string]) {
  const parent = yield* TestLedger.directory
  const label = `${name}${seed}`
  const place = { label, directory: path.join(parent, "ledger"), log: path.join(parent, "log") }
  const first = yield* herd(runtimes[0], 2)
  const herds: readonly [Herd, Herd] = [
    first,
    runtimes[0] === runtimes[1] ? first : yield* herd(runtimes[1], 1)
  ]
  const onlooker = yield* first.take
  let reader: ReturnType<typeof reading> | undefined
  const contest = yield* contend(place, herds, dice(`contest ${label}`), size, () => {
    reader ??= reading(onlooker, place.directory)
  })
  assert.isAtLeast(contest.killed.size, 2 * size.kills)
  for (const { holds, refusals } of contest.contenders) assert.isTrue(holds > 0 && refusals > 0)
  checkLog(place.log, contest)
  const rows = yield* checkRows(place, contest)
  assert.isAbove(rows.length, 4 * size.tenures)
  if (reader === undefined) return assert.fail("nobody ever came in")
  checkLooks(yield* reader.until(rows.length), rows)
}, Effect.scoped)

describe("two processes that want one ledger", () => {
  it.effect(
    "take turns, are killed and lose nothing, and a reader's past never changes",
    () => fight("same", process.execPath, process.execPath),
    120_000
  )

  it.effect.skipIf(!fs.existsSync(otherRuntime))(
    "take turns on two runtimes",
    () => fight("mixed", process.execPath, otherRuntime),
    120_000
  )
})
