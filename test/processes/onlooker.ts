/**
 * A child that reads a ledger while others write it, are killed, and open it again.
 *
 * Each look takes the rows behind the last one it has seen: should that row be gone, or be another
 * one, the position is refused. Now and then it reads everything from the first row on and compares
 * it with what it saw before, through a reader that it keeps or through a new one.
 */
import { Effect, Predicate, Schedule, Stream } from "effect"
import type { Event, Position } from "../../src/core/Event.ts"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import { MirrorError } from "../../src/store/errors.ts"
import { Reader } from "../../src/store/reading/Reader.ts"
import { say, sayNow } from "./mouth.ts"
import type { Seen } from "./talk.ts"

const looksPerReader = 12
const looksPerReview = 4

const seenOf = ({ batch: [index, size] = [0, 1], id, leafHash, seq }: Event): Seen => [
  seq,
  id,
  leafHash,
  index,
  size
]

const turn = Effect.callback<void>((resume) => {
  setImmediate(() => resume(Effect.void))
})

/** Whether SQLite was locked for a moment, as by another process that takes up its log. */
const isHeld = (error: unknown): boolean =>
  error instanceof MirrorError &&
  Predicate.hasProperty(error.cause, "_tag") &&
  error.cause._tag === "LockTimeoutError"

export const watch = Effect.fnUntraced(function* (directory: string) {
  const seen: Array<Seen> = []
  let last: Position | undefined

  const look = Effect.gen(function* () {
    const reader = yield* Reader
    const rows = yield* Stream.runCollect(reader.events(last === undefined ? {} : { after: last }))
    const newest = rows.at(-1)
    if (newest === undefined) return
    last = newest.position
    const found = [...rows].map(seenOf)
    seen.push(...found)
    sayNow({ _tag: "Saw", rows: found })
  })

  const review = Effect.gen(function* () {
    const reader = yield* Reader
    const rows = [...(yield* Stream.runCollect(reader.events()))].map(seenOf)
    const at = seen.findIndex((row, nth) => row.join() !== rows[nth]?.join())
    if (at === -1) return
    const message = `row ${at + 1} was ${seen[at]?.join()}, is ${rows[at]?.join()}`
    yield* say({ _tag: "Failed", ledger: 0, tag: "Changed", message })
  })

  const session = Effect.gen(function* () {
    for (let nth = 1; nth <= looksPerReader; nth++) {
      yield* look
      if (nth % looksPerReview === 0) yield* review
      yield* turn
    }
  }).pipe(Effect.provide(SealogNode.layerReader({ directory })))

  yield* session.pipe(
    Effect.catchIf(isHeld, (error) => say({ _tag: "Held", message: String(error) })),
    Effect.repeat(Schedule.forever),
    Effect.catch(({ _tag: tag, message }) => say({ _tag: "Failed", ledger: 0, tag, message })),
    Effect.andThen(Effect.never)
  )
})
