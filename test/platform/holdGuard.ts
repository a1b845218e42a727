/**
 * A process that takes the guard named by its argument, prints how that went in one line, and
 * holds what it got until its input ends.
 */
import { Effect } from "effect"
import * as OsLock from "../../src/platform/OsLock.ts"
import { Guard } from "../../src/store/locking/Guard.ts"

const inputEnd = Effect.callback<void>((resume) => {
  process.stdin.once("end", () => resume(Effect.void)).resume()
})

const hold = Effect.gen(function* () {
  const guard = yield* Guard
  yield* guard.hold(process.argv[2] ?? "")
  console.log("held")
  yield* inputEnd
}).pipe(
  Effect.catch((error) => Effect.sync(() => console.log(`${error._tag}: ${error.message}`))),
  Effect.scoped,
  Effect.provide(OsLock.layer)
)

await Effect.runPromise(hold)
