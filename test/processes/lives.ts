/**
 * Lives of child processes: what each is ordered, when it dies, and what is checked afterwards.
 *
 * A child opens several ledgers side by side, and its death is a crash of each. It is killed from
 * outside, at a moment that comes from a seed as far as a moment of another process can (an answer
 * or a step was read, so many bytes arrived), or it kills itself at one step of one ledger exactly.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { assertSound, snapshot, using } from "../store/ledgerFixtures.ts"
import type { Book } from "./book.ts"
import { assertFollows } from "./book.ts"
import type { Dice } from "./dice.ts"
import type { Child } from "./herd.ts"
import { canSeeStops, stopped } from "./herd.ts"
import { look, mirrored } from "./remains.ts"
import type { Death, Said } from "./talk.ts"

/** When a child is killed. Turns are of the parent's event loop, and spread the moment. */
export type Moment =
  | {
      /**
       * When so many answers or steps were read or so many bytes have arrived. `stop`: as `answer`,
       * but it is stopped first. `close`: as `answer`, but while it closes, if it is still there.
       */
      readonly at: "answer" | "step" | "byte" | "stop" | "close"
      readonly count: number
      readonly turns: number
    }
  | { readonly at: "itself"; readonly death: Death }

const hows = ["before", "during", "after", "torn", "unended"] as const
const calls = ["write segments", "sync segments", "open segments", ""]

/** A moment by chance: some while the ledgers are being opened, most while they are written. */
export const momentOf = ({ below, once }: Dice, ledgers: number): Moment => {
  const turns = below(6)
  switch (below(12)) {
    case 0:
    case 1:
    case 2:
      return { at: "answer", count: 1 + below(60), turns }
    case 3:
    case 4:
      return { at: "byte", count: 1 + below(once(3) ? 600 : 12_000), turns }
    case 5:
    case 6:
      return { at: "step", count: 1 + below(once(2) ? 30 : 240), turns }
    case 7:
      return { at: canSeeStops ? "stop" : "answer", count: 1 + below(30), turns }
    case 8:
      return { at: "close", count: 1 + below(20), turns: below(200) }
    default: {
      const how = hows[below(hows.length)] ?? "before"
      const isPart = how === "torn" || how === "unended"
      const call = isPart ? "write segments" : (calls[below(calls.length)] ?? "")
      const nth = 1 + below(call === "" ? 20 : 8)
      return { at: "itself", death: { ledger: below(ledgers), call, nth, how } }
    }
  }
}

const afterTurns = (turns: number, then: () => void): void => {
  if (turns <= 0) then()
  else setImmediate(() => afterTurns(turns - 1, then))
}

/** What a child says; calls `doom` when its moment has come, or nothing more will. */
const listenFor = (
  child: Child,
  moment: Moment,
  ledgers: number,
  doom: () => void
): ReadonlyArray<Said> => {
  const said: Array<Said> = []
  const counted = moment.at === "step" ? "Step" : "Acked"
  let [count, atRest] = [0, 0]
  child.onSaid(
    (line) => {
      said.push(line)
      if (line._tag === counted) count++
      if (line._tag === "Rested" || line._tag === "Failed") atRest++
      const isDue = "count" in moment && moment.at !== "byte" && count === moment.count
      if (isDue || atRest === ledgers) doom()
    },
    (bytes) => {
      if (moment.at === "byte" && bytes >= moment.count) doom()
    }
  )
  return said
}

/** Let a child live on its orders until its moment has come; when this returns, it is dead. */
export const live = Effect.fnUntraced(function* (
  child: Child,
  books: ReadonlyArray<Book>,
  moment: Moment,
  { calls = 40, passOn = false } = {}
) {
  const kill = () => child.signal("SIGKILL")
  let isDoomed = false
  const said = listenFor(child, moment, books.length, () => {
    if (isDoomed) return
    isDoomed = true
    if (moment.at === "close") child.dismiss()
    if (moment.at !== "stop") return afterTurns("turns" in moment ? moment.turns : 0, kill)
    child.signal("SIGSTOP")
    Effect.runFork(Effect.andThen(stopped(child.pid), Effect.sync(kill)))
  })
  const ledgers = books.map((book) => book.assignment(calls, passOn))
  const death = moment.at === "itself" ? moment.death : null
  child.order({ _tag: "Append", ledgers, isTelling: moment.at === "step", death })
  const { code, errors, signal } = yield* Effect.promise(() => child.ended)
  assert.strictEqual(errors, "", "a child said something on standard error")
  const isClosed = moment.at === "close" && code === 0
  assert.isTrue(signal === "SIGKILL" || isClosed, `the child ended by itself: ${code} ${signal}`)
  for (const line of said) if ("ledger" in line) books[line.ledger]?.hear(line)
  for (const book of books) book.settle(look(book.directory))
  return said
})

/**
 * Open a ledger that was killed, here: what it says it did is what had to be done, and no more.
 * Answers how many rows its mirror had to catch up with.
 */
export const reopen = Effect.fnUntraced(function* (book: Book) {
  const { directory, label } = book
  const before = book.last
  const there = fs.existsSync(path.join(directory, "mirror.sqlite")) ? mirrored(directory) : 0
  const behindRows = before.rows.length - there
  assert.isAtLeast(behindRows, 0, `the mirror of ${label} is ahead`)
  const opened = yield* using({ directory }, (ledger) =>
    Effect.as(assertSound(ledger), ledger.opened)
  )
  assert.strictEqual(opened.head.seq, before.rows.length, label)
  const tags = opened._tag === "Recovered" ? opened.actions.map((action) => action._tag) : []
  const isUnfinished = before.unfinished.length > 0
  const tornBytes = before.torn.length
  const lacksLf = before.kept.length > before.bytes.length - tornBytes
  const caughtUp = there === 0 ? "MirrorRemade" : "CaughtUp"
  assert.deepStrictEqual(
    tags,
    [
      ...(isUnfinished ? ["OperationFinished" as const] : []),
      ...(tornBytes > 0 && !isUnfinished ? ["TailCut" as const] : []),
      ...(lacksLf ? ["LineCompleted" as const] : []),
      ...(behindRows > 0 ? [caughtUp as typeof caughtUp] : [])
    ],
    label
  )
  const after = look(directory)
  assertFollows(before, after, label)
  assert.isTrue(after.bytes.equals(before.kept), `${label}: the journal is its whole groups`)
  assert.deepStrictEqual(after.unfinished, [], label)
  const files = snapshot(directory)
  const again = yield* using({ directory }, (ledger) => Effect.succeed(ledger.opened))
  assert.deepStrictEqual([again._tag, again.head.seq], ["Clean", before.rows.length], label)
  assert.deepStrictEqual(snapshot(directory), files, `${label}: a second open changed something`)
  book.settle(after)
  return behindRows
})
