/** The store lock between processes of both runtimes: refused, killed, stopped, taken over. */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import { StoreBusy } from "../../src/store/locking/Guard.ts"
import * as StoreLock from "../../src/store/locking/StoreLock.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { otherRuntime } from "../store/crashKit.ts"
import { claim, inDirectory, statementOf, takeoverClaim } from "../store/locking.ts"
import { canSeeStops, stopped } from "./herd.ts"

const script = fileURLToPath(new URL("./locker.ts", import.meta.url))

const Answer = Schema.fromJsonString(
  Schema.Struct({
    _tag: Schema.String,
    marker: Schema.optionalKey(Schema.Unknown)
  })
)

/** A process that tries for the lock of a directory; killed with the scope, if it lives still. */
const locker = (directory: string, executable: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const run = /deno(\.exe)?$/.test(executable) ? ["run", "-A", script] : [script]
      const child = spawn(executable, [...run, directory, "books.lock"], {
        stdio: ["pipe", "pipe", "ignore"]
      })
      const ended = new Promise<void>((resolve) => child.once("close", () => resolve()))
      const lines = createInterface({ input: child.stdout })
      const first = await new Promise<string>((resolve) => {
        lines.once("line", resolve)
        lines.once("close", () => resolve(`{"_tag":"Nothing"}`))
      })
      let isRunning = true
      child.once("exit", () => {
        isRunning = false
      })
      // Deno's `kill` sends one signal to a child, and no second one.
      const signal = (name: "SIGKILL" | "SIGSTOP") => {
        if (isRunning && child.pid !== undefined) process.kill(child.pid, name)
      }
      return { child, ended, signal, first: Schema.decodeUnknownSync(Answer)(first) }
    }),
    ({ ended, signal }) => {
      signal("SIGKILL")
      return Effect.promise(() => ended)
    }
  )

const runtimes = [process.execPath, otherRuntime].filter((file) => fs.existsSync(file))

const locking = <E>(
  body: (
    lock: StoreLock.StoreLock["Service"],
    store: StoreLock.Store,
    directory: string
  ) => Effect.Effect<void, E>
) =>
  Effect.gen(function* () {
    const directory = yield* TestLedger.directory
    yield* body(yield* StoreLock.StoreLock, inDirectory(directory), directory)
  }).pipe(Effect.scoped, Effect.provide(SealogNode.layerPlatform))

const refused = (lock: StoreLock.StoreLock["Service"], store: StoreLock.Store) =>
  Effect.flip(Effect.scoped(lock.exclusive(store, claim)))

describe("the store lock between processes", () => {
  for (const executable of runtimes) {
    const name = /deno(\.exe)?$/.test(executable) ? "Deno" : "Node"

    it.effect(
      `one of ${name} is hot while it lives, stopped too, and stale when it was killed`,
      () =>
        locking(
          Effect.fnUntraced(function* (lock, store, directory) {
            yield* Effect.scoped(
              Effect.gen(function* () {
                const { child, ended, first, signal } = yield* locker(directory, executable)
                assert.strictEqual(first._tag, "Held")
                const text = fs.readFileSync(store.marker, "utf8")
                const isHot = Effect.gen(function* () {
                  const error = yield* refused(lock, store)
                  assert.instanceOf(error, StoreBusy)
                  assert.strictEqual(error.marker, text)
                  const status = yield* lock.status(store)
                  assert.strictEqual(status._tag === "Hot" && status.marker, text)
                })
                yield* isHot
                if (canSeeStops && child.pid !== undefined) {
                  signal("SIGSTOP")
                  yield* stopped(child.pid)
                  yield* isHot
                }
                signal("SIGKILL")
                yield* Effect.promise(() => ended)
                assert.instanceOf(yield* refused(lock, store), StoreLock.MarkerStale)
                const status = yield* lock.status(store)
                assert.strictEqual(status._tag, "Stale")
                const marker = status._tag === "Stale" ? status.parsed : undefined
                assert.strictEqual(marker?.pid, child.pid)
                if (marker === undefined) return
                const taking = lock.takeover(store, statementOf(marker), takeoverClaim)
                const held = yield* Effect.scoped(taking)
                assert.strictEqual(fs.readFileSync(held.setAside, "utf8"), text)
              })
            )
            assert.deepStrictEqual(yield* lock.status(store), { _tag: "Free" })
          })
        )
    )

    it.effect(`one of ${name} is refused while this one holds, and lets go when it ends`, () =>
      locking(
        Effect.fnUntraced(function* (lock, store, directory) {
          yield* lock.exclusively(store, claim, () =>
            Effect.scoped(
              Effect.gen(function* () {
                const { first } = yield* locker(directory, executable)
                assert.strictEqual(first._tag, "StoreBusy")
                assert.strictEqual(first.marker, fs.readFileSync(store.marker, "utf8"))
              })
            )
          )
          yield* Effect.scoped(
            Effect.gen(function* () {
              const { child, ended, first } = yield* locker(directory, executable)
              assert.strictEqual(first._tag, "Held")
              child.stdin.end()
              yield* Effect.promise(() => ended)
            })
          )
          assert.deepStrictEqual(fs.readdirSync(directory), ["books.lock.guard"])
        })
      )
    )
  }

  it.effect("a copy that this process makes of the directory lets nobody in", () =>
    locking(
      Effect.fnUntraced(function* (lock, store, directory) {
        yield* lock.exclusively(store, claim, () =>
          Effect.gen(function* () {
            const to = `${yield* TestLedger.directory}/copy`
            // Reading the guard's file drops the kernel's lock: then the marker is in the way.
            fs.cpSync(directory, to, { recursive: true })
            const { first } = yield* locker(directory, process.execPath)
            assert.include(["StoreBusy", "MarkerStale"], first._tag)
          }).pipe(Effect.scoped)
        )
        assert.deepStrictEqual(yield* lock.status(store), { _tag: "Free" })
      })
    )
  )
})
