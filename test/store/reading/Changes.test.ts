import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import type { Duration } from "effect"
import { Arbitrary, Clock, Deferred, Effect, Fiber, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Chain from "../../../src/core/Chain.ts"
import type { Position } from "../../../src/core/Event.ts"
import * as Event from "../../../src/core/Event.ts"
import type { Ledger } from "../../../src/store/Ledger.ts"
import type { Changes, Reader } from "../../../src/store/reading/Reader.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { assertLike, named, using } from "../ledgerFixtures.ts"
import { asking } from "../trees.ts"

type Open = Ledger["Service"]
type Service = Reader["Service"]

const by = { operator: "ada", reason: "a wrong turn" }

const within = <A, E>(body: (ledger: Open, directory: string) => Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const directory = path.join(yield* TestLedger.directory, "l")
    return yield* using({ directory }, (ledger) => body(ledger, directory))
  })

const drafts = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, nth) =>
    named(`row ${from + nth}`, { keys: { odd: String((from + nth) % 2) } })
  )

/** Let other fibers run, and time pass, until something holds. */
const until = (holds: () => boolean) =>
  Effect.gen(function* () {
    for (let turns = 0; !holds(); turns++) {
      assert.isBelow(turns, 10_000, "it never came")
      yield* TestClock.adjust("200 millis")
      yield* Effect.yieldNow
    }
  })

/**
 * One who follows as an application does: keeps what it was given and its position, and after a
 * rollback forgets what lies beyond and goes on.
 */
const follower = (reader: Service, which: Changes) => {
  const kept: Array<Position & { readonly id: string }> = []
  let position: Position = which.after ?? Chain.start
  let rollbacks = 0
  const run = Effect.suspend(() =>
    reader.changes({ ...which, after: position }).pipe(
      Stream.runForEach(({ id, leafHash, seq }) =>
        Effect.sync(() => {
          assert.isAbove(seq, kept.at(-1)?.seq ?? 0)
          kept.push({ id, leafHash, seq })
          position = { seq, leafHash }
        })
      ),
      Effect.catchTag("RolledBack", ({ from, to }) =>
        Effect.sync(() => {
          assert.isBelow(to.seq, position.seq)
          assert.deepStrictEqual(from, position)
          while ((kept.at(-1)?.seq ?? 0) > to.seq) kept.pop()
          position = to
          rollbacks++
        })
      )
    )
  ).pipe(Effect.forever)
  return { kept, rollbacks: () => rollbacks, run }
}

const int = (minimum: number, maximum: number) =>
  Schema.Int.check(Schema.isBetween({ minimum, maximum }))

/** So many rows in groups, a pause for followers or none, or back to the checkpoint before. */
const Step = Schema.Struct({
  rows: int(0, 9),
  what: Schema.Literals(["grow", "grow", "grow", "checkpoint", "back"]),
  turns: int(0, 20)
})

describe("changes", () => {
  it.effect.prop(
    "give each follower what the ledger holds in the end, whatever it held meanwhile",
    [Arbitrary.array(Arbitrary.schema(Step), { minLength: 1, maxLength: 15 })],
    ([steps]) =>
      within((ledger, directory) =>
        asking({ directory })(
          Effect.fnUntraced(function* (reader) {
            const odd: Changes = { keys: { odd: "1" } }
            const followers = [
              follower(ledger, {}),
              follower(ledger, odd),
              follower(reader, {}),
              follower(reader, { ...odd, every: "1 second" })
            ]
            const fibers = yield* Effect.forEach(followers, ({ run }) => Effect.forkChild(run))
            let checkpoint = yield* ledger.checkpoint("the beginning")
            let count = 0
            for (const { rows, turns, what } of steps) {
              if (what === "back") yield* ledger.rollback(checkpoint, by)
              else if (what === "checkpoint") checkpoint = yield* ledger.checkpoint("here")
              else yield* ledger.appendAll(drafts(count + 1, (count += rows)))
              for (let n = 0; n < turns; n++) yield* Effect.yieldNow
              if (turns % 5 === 0) yield* TestClock.adjust("300 millis")
            }
            // An odd row, so that each of them has a last one.
            yield* ledger.append(named("the last", { keys: { odd: "1" } }))
            const head = yield* ledger.head
            yield* until(() =>
              followers.every(({ kept }) => kept.at(-1)?.leafHash === head.leafHash)
            )
            const all = yield* Stream.runCollect(ledger.events())
            for (const [nth, { kept }] of followers.entries()) {
              const wanted = nth % 2 === 0 ? all : all.filter(({ keys }) => keys?.["odd"] === "1")
              assert.deepStrictEqual(
                kept.map(({ id }) => id),
                wanted.map(({ id }) => id)
              )
            }
            yield* Fiber.interruptAll(fibers)
          })
        )
      ).pipe(Effect.scoped),
    { arbitrary: { runs: 15 } }
  )

  it.effect("come at once in the process that writes, while its clock stands still", () =>
    within((ledger) =>
      Effect.gen(function* () {
        const taken = yield* Effect.forkChild(
          ledger.changes().pipe(Stream.take(40), Stream.runCollect)
        )
        yield* Effect.yieldNow
        yield* Effect.forEach(drafts(1, 40), (draft) => ledger.append(draft), {
          concurrency: 8
        })
        const events = yield* Fiber.join(taken)
        assert.deepStrictEqual(
          events.map(({ seq }) => seq),
          Array.from({ length: 40 }, (_, nth) => nth + 1)
        )
      })
    )
  )

  it.effect("come elsewhere as often as is looked, and not before", () =>
    within((ledger, directory) =>
      asking({ directory })(
        Effect.fnUntraced(function* (reader) {
          const heard: Array<number> = []
          const clock = yield* Clock.Clock
          const slept: Array<Duration.Duration> = []
          const counting: Clock.Clock = Object.create(clock, {
            sleep: {
              value: (duration: Duration.Duration) => {
                slept.push(duration)
                return clock.sleep(duration)
              }
            }
          })
          const fiber = yield* reader.changes({ every: "1 minute" }).pipe(
            Stream.runForEach(({ seq }) => Effect.sync(() => heard.push(seq))),
            Effect.provideService(Clock.Clock, counting),
            Effect.forkChild
          )
          const asleep = (times: number) =>
            // Whoever has asked to sleep sleeps a turn later.
            Effect.andThen(
              Effect.repeat(Effect.yieldNow, { until: () => slept.length >= times }),
              Effect.yieldNow
            )
          yield* asleep(1)
          yield* ledger.appendAll(drafts(1, 3))
          yield* TestClock.adjust("59 seconds")
          assert.deepStrictEqual([heard, slept.length], [[], 1])
          yield* TestClock.adjust("1 second")
          yield* asleep(2)
          assert.deepStrictEqual(heard, [1, 2, 3])
          yield* Fiber.interrupt(fiber)
        })
      )
    )
  )

  it.effect("wait for who takes them, and hold up no append and no rollback", () =>
    within((ledger) =>
      Effect.gen(function* () {
        const [begun, gone] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        const heard: Array<number> = []
        yield* ledger.appendAll(drafts(1, 10))
        const checkpoint = yield* ledger.checkpoint("here")
        const slow = yield* Effect.forkChild(
          ledger.changes().pipe(
            Stream.runForEach(({ seq }) => {
              heard.push(seq)
              return Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(gone))
            })
          )
        )
        yield* Deferred.await(begun)
        for (let at = 0; at < 5; at++) {
          yield* ledger.appendAll(drafts(11 + at * 200, 210 + at * 200))
        }
        assert.strictEqual((yield* ledger.head).seq, 1_010)
        yield* ledger.rollback(checkpoint, by)
        yield* ledger.append(named("after it"))
        assert.deepStrictEqual(heard, [1])
        yield* Deferred.succeed(gone, undefined)
        yield* until(() => heard.length === 11)
        assert.deepStrictEqual(
          heard,
          Array.from({ length: 11 }, (_, nth) => nth + 1)
        )
        yield* Fiber.interrupt(slow)
      })
    )
  )

  it.effect("go on where a rollback cut only what they had left out", () =>
    within((ledger) =>
      Effect.gen(function* () {
        const odd = follower(ledger, { keys: { odd: "1" } })
        const all = follower(ledger, {})
        const fibers = [yield* Effect.forkChild(odd.run), yield* Effect.forkChild(all.run)]
        yield* ledger.append(named("one", { keys: { odd: "1" } }))
        const checkpoint = yield* ledger.checkpoint("here")
        yield* ledger.append(named("two", { keys: { odd: "0" } }))
        yield* until(() => all.kept.length === 2 && odd.kept.length === 1)
        yield* ledger.rollback(checkpoint, by)
        yield* until(() => all.rollbacks() === 1)
        yield* ledger.append(named("three", { keys: { odd: "1" } }))
        yield* until(() => all.kept.length === 2 && odd.kept.length === 2)
        assert.strictEqual(odd.rollbacks(), 0)
        assert.deepStrictEqual(odd.kept, all.kept)
        yield* Fiber.interruptAll(fibers)
      })
    )
  )

  it.effect("begin behind a position, which must be one of this ledger", () =>
    within((ledger) =>
      Effect.gen(function* () {
        const [, second] = yield* ledger.appendAll(drafts(1, 3))
        assert.isDefined(second)
        const rows = yield* ledger
          .changes({ after: second })
          .pipe(Stream.take(1), Stream.runCollect)
        assert.deepStrictEqual(
          rows.map(({ seq }) => seq),
          [3]
        )
        for (const seq of [2, 99]) {
          const never = ledger.changes({ after: { seq, leafHash: "0".repeat(64) } })
          const error = yield* Effect.flip(Stream.runDrain(never))
          assertLike(error, { _tag: "PositionUnknown", seq })
        }
      })
    )
  )

  it.effect("are read by kinds, and end at what they cannot decode", () =>
    within((ledger) =>
      Effect.gen(function* () {
        const Named = Event.define("test.named.v1", Schema.Struct({ name: Schema.String }))
        yield* ledger.append(named("a"))
        yield* ledger.append({ type: "other.v1" })
        yield* ledger.append(named("b", { payload: { name: 5 } }))
        const names: Array<string> = []
        const error = yield* ledger.changes({ kinds: [Named] }).pipe(
          Stream.runForEach(({ payload }) => Effect.sync(() => names.push(payload.name))),
          Effect.flip
        )
        assert.deepStrictEqual(names, ["a"])
        assertLike(error, { _tag: "EventUndecodable", seq: 3 })
      })
    )
  )
})
