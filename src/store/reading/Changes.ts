/**
 * Internal: following a ledger: what is there, then what comes, without gap or duplicate.
 *
 * A follower remembers the position of the last row that it has handed out, and how far it has looked
 * since. It goes on when the head has moved: told by the writer of its own process, found by looking
 * now and then in any other. It holds neither a transaction nor a place in a queue between two pages,
 * so a slow one holds up nobody. A rollback behind what was handed out ends it; one that cut only what
 * it had looked at and not handed out does not.
 */
import { Duration, Effect, Latch, Stream } from "effect"
import * as Chain from "../../core/Chain.ts"
import type { Event, Position } from "../../core/Event.ts"
import type { AnyKind } from "../../core/Kind.ts"
import type { Changes, PositionError, ReadError } from "./Reader.ts"
import type { Rows } from "./Rows.ts"

const everyDefault: Duration.Input = "200 millis"

/** Wakes those who wait for rows, in the process that writes them. */
export interface Pulse {
  /** Rows were committed. */
  readonly beat: () => void
  /** Waits for the next beat after this call. */
  readonly next: () => Effect.Effect<void>
}

/** A pulse that nobody waits for yet. */
export const pulse = (): Pulse => {
  let latch = Latch.makeUnsafe(false)
  return {
    beat: () => {
      latch.openUnsafe()
      latch = Latch.makeUnsafe(false)
    },
    next: () => latch.await
  }
}

/** Rows of a ledger as they come. */
export const make = (
  rows: Rows,
  { after = Chain.start, every = everyDefault, ...filter }: Changes<AnyKind>,
  pulse: Pulse | undefined
): Stream.Stream<Event, PositionError | ReadError> =>
  Stream.suspend(() => {
    const interval = Duration.fromInputUnsafe(every)
    let given: Position = after
    let looked: Position = after
    // What a caller brings along may never have been; what was read here was.
    let isKnown = false

    const checkGiven = Effect.suspend(() => rows.checkPosition(given, isKnown))

    /** Nothing that was handed out was cut, so it is looked at again from there. */
    const goBack = Effect.map(checkGiven, () => {
      looked = given
    })

    const moved: Effect.Effect<Position, PositionError | ReadError> = Effect.gen(function* () {
      for (;;) {
        // Listen first: what is committed from here on is either seen below, or heard.
        const sleep = Effect.sleep(interval)
        const next = pulse === undefined ? sleep : Effect.raceFirst(pulse.next(), sleep)
        yield* Effect.catchTag(rows.checkPosition(looked, isKnown), "RolledBack", () => goBack)
        isKnown = true
        const { leafHash, seq } = yield* rows.head
        if (seq > looked.seq) return { seq, leafHash }
        yield* next
      }
    })

    const upTo = (head: Position) =>
      rows.events({ ...filter, after: looked, until: head.seq }).pipe(
        Stream.mapArray((events) => {
          given = events.at(-1)?.position ?? given
          return events
        }),
        Stream.concat(
          Stream.suspend(() => {
            looked = head
            return Stream.empty
          })
        ),
        Stream.catchTag("RolledBack", () => Stream.fromEffectDrain(goBack))
      )

    return Stream.fromEffect(moved).pipe(Stream.forever, Stream.flatMap(upTo))
  })
