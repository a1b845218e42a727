/**
 * A process of its own that opens and reads ledgers which somebody else has made, one after
 * another, and says of each how that ended, a line of JSON each. Whoever started it kills it where
 * it says nothing more: a call that waits for a pipe without a writer cannot be interrupted.
 *
 *   [{"how": "append" | …, "directory": "…"}, …] on standard input
 */
import * as fs from "node:fs"
import { Effect } from "effect"
import { appending, ending, readers } from "./ways.ts"

interface Case {
  readonly how: string
  readonly directory: string
}

const cases: ReadonlyArray<Case> = JSON.parse(fs.readFileSync(0, "utf8"))

const run = Effect.fnUntraced(function* ({ directory, how }: Case) {
  const before = process.memoryUsage.rss()
  const all = readers({ directory }, `${directory}-copy`)
  const reader = how === "append" ? appending({ directory }) : all[how]
  if (reader === undefined) return yield* Effect.die(new Error(`no way to ${how}`))
  const { message, tag } = yield* ending(Effect.asVoid(reader))
  const grownBytes = process.memoryUsage.rss() - before
  console.log(JSON.stringify({ tag, message: message.slice(0, 4000), grownBytes }))
})

await Effect.runPromise(Effect.forEach(cases, run, { discard: true }))
