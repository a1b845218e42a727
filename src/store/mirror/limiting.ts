/**
 * Internal: code of an application inside the writer's transaction, for so long and no longer.
 *
 * What answers at once costs no timer. Whatever else waits is waited for, by the Clock around it, then
 * interrupted; what does not let itself be interrupted is left behind, and the connection that it was
 * lent ends: see `lending`. Code that never yields, as a loop in JavaScript or one statement of SQL
 * that goes on and on, cannot be limited: while it runs nothing else does in its process.
 */
import { Data, Effect, Fiber, Option } from "effect"

/** It did not answer in time. */
export class TookTooLong extends Data.TaggedError("TookTooLong")<{ readonly millisMax: number }> {
  override get message(): string {
    return `it took more than ${this.millisMax} ms`
  }
}

/** How long a gate, or an effect view one event, may take where nothing is said. */
export const askMillisMaxDefault = 5_000

/** What an effect answers, if it does within this time. It is not a child: it may hang for ever. */
export const limited = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  millisMax: number
): Effect.Effect<A, E | TookTooLong, R> =>
  Effect.flatMap(
    Effect.forkDetach(effect, { startImmediately: true }),
    (fiber): Effect.Effect<A, E | TookTooLong> => fiber.pollUnsafe() ?? waited(fiber, millisMax)
  )

const waited = <A, E>(
  fiber: Fiber.Fiber<A, E>,
  millisMax: number
): Effect.Effect<A, E | TookTooLong> =>
  Effect.gen(function* () {
    const exit = yield* Effect.timeoutOption(Fiber.await(fiber), `${millisMax} millis`)
    if (Option.isSome(exit)) return yield* exit.value
    // Told at once, so that what it has to undo is undone while it may; and not waited for.
    yield* Effect.forkDetach(Fiber.interrupt(fiber), { startImmediately: true })
    return yield* new TookTooLong({ millisMax })
  }).pipe(
    // Who goes on would leave it the connection.
    Effect.uninterruptible
  )
