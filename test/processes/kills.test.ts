/**
 * Processes that append and are killed, again and again: what was acknowledged is there, in its
 * order and once, groups are whole or absent, and nothing else is there.
 *
 *   SEALOG_KILLS=5000 SEALOG_SEED=7 npx vitest run test/processes/kills.test.ts
 *
 * runs many more, or others, and says what they came to. A failure names seed and life: with both
 * it repeats, as far as a kill from outside can.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { otherRuntime } from "../store/crashKit.ts"
import { Book } from "./book.ts"
import { dice } from "./dice.ts"
import type { Herd } from "./herd.ts"
import { herd } from "./herd.ts"
import { live, momentOf, reopen } from "./lives.ts"

const kills = Number(process.env["SEALOG_KILLS"] ?? 70)
const seed = process.env["SEALOG_SEED"] ?? "1"

/** Kills of a ledger that both runtimes take turns with, for each that stays with one. */
const mixedShare = 0.2

/** Tracks run side by side, each one child after another on ledgers of its own. */
const tracks = 2
/** After so many lives a track goes on with new ledgers, so that none grows too large. */
const livesPerLedger = 10
const ledgersPerChild = 3
const appenders = 3
const segmentBytesMaxes = [700, 6_000, 100_000]

const noTally = { kills: 0, crashes: 0, acked: 0, silent: 0, torn: 0, unfinished: 0, behind: 0 }
type Tally = typeof noTally

const newBooks = (parent: string, name: string): ReadonlyArray<Book> =>
  Array.from({ length: ledgersPerChild }, (_, at) => {
    const label = `k${name}-${at}`
    const bytes = segmentBytesMaxes[at % segmentBytesMaxes.length] ?? 700
    return new Book(label, path.join(parent, label), bytes, appenders)
  })

/** The lives of one track; they take their children from these herds in turn. */
const runTrack = Effect.fnUntraced(function* (
  parent: string,
  track: string,
  lives: number,
  herds: ReadonlyArray<Herd>,
  tally: Tally
) {
  let books: ReadonlyArray<Book> = []
  for (let nth = 0; nth < lives; nth++) {
    const name = `${seed}-${track}-${nth}`
    const chance = dice(`life ${name}`)
    if (nth % livesPerLedger === 0) books = newBooks(parent, name)
    const moment = momentOf(chance, books.length)
    const isLast = nth === lives - 1 || (nth + 1) % livesPerLedger === 0
    yield* Effect.gen(function* () {
      const [children] = herds.slice(nth % herds.length)
      if (children === undefined) return
      yield* live(yield* children.take, books, moment, { passOn: chance.once(3) })
      tally.kills++
      tally.crashes += books.length
      // The others are opened by the next child.
      for (const book of isLast ? books : books.filter(() => chance.once(3))) {
        if ((yield* reopen(book)) > 0) tally.behind++
      }
    }).pipe(
      Effect.catchCause((cause) =>
        Effect.die(new Error(`life ${name}, ${JSON.stringify(moment)}: ${String(cause)}`))
      )
    )
    if (!isLast) continue
    for (const book of books) {
      for (const [what, count] of Object.entries(book.tally)) {
        Object.assign(tally, { [what]: Reflect.get(tally, what) + count })
      }
      fs.rmSync(book.directory, { recursive: true, force: true })
    }
  }
})

const runTracks = Effect.fnUntraced(function* (lives: number, ...runtimes: ReadonlyArray<string>) {
  const parent = yield* TestLedger.directory
  const ahead = Math.ceil(tracks / runtimes.length)
  const herds = yield* Effect.forEach(runtimes, (runtime) => herd(runtime, ahead))
  const tally = { ...noTally }
  yield* Effect.forEach(
    Array.from({ length: tracks }, (_, nth) => `${runtimes.length}${nth}`),
    (track) => runTrack(parent, track, Math.ceil(lives / tracks), herds, tally),
    { concurrency: tracks, discard: true }
  )
  assert.isAtLeast(tally.kills, lives)
  assert.isAbove(tally.acked, tally.kills, "the lives were too short to show anything")
  if ("SEALOG_KILLS" in process.env) console.log(JSON.stringify(tally))
}, Effect.scoped)

const timeoutMillis = 120_000 + kills * 2_000

describe("a process that is killed", () => {
  it.effect(
    "loses nothing that it acknowledged, and leaves whole groups",
    () => runTracks(kills, process.execPath),
    timeoutMillis
  )

  it.effect.skipIf(!fs.existsSync(otherRuntime))(
    "leaves to the other runtime what that would have left to it",
    () => runTracks(Math.ceil(kills * mixedShare), process.execPath, otherRuntime),
    timeoutMillis
  )
})
