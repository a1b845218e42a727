/** A child's side of the pipes: lines out at once, lines in one by one. */
import * as fs from "node:fs"
import { createInterface } from "node:readline"
import { Deferred, Effect, Queue } from "effect"
import type { Said } from "./talk.ts"
import { lineOf } from "./talk.ts"

const utf8 = new TextEncoder()

/** When this returns, the line is in the pipe: a kill cannot take it back. */
export const sayNow = (said: Said): void => {
  const bytes = utf8.encode(lineOf(said))
  for (let at = 0; at < bytes.byteLength;) at += fs.writeSync(1, bytes, at)
}

export const say = (said: Said): Effect.Effect<void> => Effect.sync(() => sayNow(said))

/** The lines of the input; `ended` when there will be none: the parent is done, or is gone. */
export interface Ear {
  readonly next: Effect.Effect<string>
  readonly ended: Effect.Effect<void>
}

export const listen: Effect.Effect<Ear> = Effect.gen(function* () {
  const lines = yield* Queue.unbounded<string>()
  const ended = yield* Deferred.make<void>()
  const input = createInterface({ input: process.stdin })
  input.on("line", (line) => void Queue.offerUnsafe(lines, line))
  input.once("close", () => void Deferred.doneUnsafe(ended, Effect.void))
  return { next: Queue.take(lines), ended: Deferred.await(ended) }
})
