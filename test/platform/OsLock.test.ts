import { spawn } from "node:child_process"
import type { SpawnOptions } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { createInterface } from "node:readline"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Scope } from "effect"
import { vi } from "vitest"
import * as OsLock from "../../src/platform/OsLock.ts"
import { Guard, LockError, StoreBusy } from "../../src/store/locking/Guard.ts"
import { scratch } from "./sqlClientSuite.ts"

// Runs before the look at a path's state, to change it under the eyes of the code.
const disturb = vi.hoisted(() => ({ beforeLook: (_path: string): void => undefined }))
vi.mock(import("node:fs"), async (original) => {
  const real = await original()
  const lstatSync = new Proxy(real.lstatSync, {
    apply: (target, self, args: Parameters<typeof real.lstatSync>) => {
      disturb.beforeLook(String(args[0]))
      return Reflect.apply(target, self, args)
    }
  })
  return { ...real, lstatSync, default: { ...real.default, lstatSync } }
})

const script = fileURLToPath(new URL("./holdGuard.ts", import.meta.url))
const isDeno = "deno" in process.versions
const isRoot = process.getuid?.() === 0
const other = fileURLToPath(
  new URL(`../../node_modules/.bin/${isDeno ? "node" : "deno"}`, import.meta.url)
)

/** A process of its own that tries for the guard: `first` is its answer, `died` its end. */
const contender = (guard: string, executable = process.execPath, options: SpawnOptions = {}) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const args = /deno(\.exe)?$/.test(executable) ? ["run", "-A", script] : [script]
      const child = spawn(executable, [...args, guard], {
        ...options,
        stdio: ["pipe", "pipe", "ignore"]
      })
      const died = new Promise<void>((resolve) => child.once("close", () => resolve()))
      const { stdin, stdout } = child
      if (stdin === null || stdout === null) throw new Error("no pipes")
      const lines = createInterface({ input: stdout })
      const first = await new Promise<string>((resolve) => {
        lines.once("line", resolve)
        lines.once("close", () => resolve(""))
      })
      return { child, died, first, stdin }
    }),
    ({ child, died }) =>
      Effect.promise(() => {
        child.kill("SIGKILL")
        return died
      })
  )

const hold = (path: string) =>
  Effect.flatMap(Guard, (guard) => guard.hold(path)).pipe(Effect.provide(OsLock.layer))

const refusal = (path: string) => Effect.flip(Effect.scoped(hold(path)))

const lockError = (path: string) =>
  Effect.map(refusal(path), (error) => {
    assert.instanceOf(error, LockError)
    assert.strictEqual(error.path, path)
    assert.include(error.message, path)
    return error
  })

describe("OsLock", () => {
  it.effect("makes an empty private file whatever the umask, and leaves it there", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      for (const umask of [0o000, 0o777]) {
        const guard = path.join(directory, `guard-${umask}`)
        const before = process.umask(umask)
        yield* Effect.scoped(hold(guard)).pipe(
          Effect.ensuring(Effect.sync(() => process.umask(before)))
        )
        const { ino, mode, size } = fs.statSync(guard)
        assert.deepStrictEqual([mode & 0o777, size], [0o600, 0])
        yield* Effect.scoped(hold(guard))
        assert.strictEqual(fs.statSync(guard).ino, ino)
      }
      assert.deepStrictEqual(fs.readdirSync(directory).length, 2)
    })
  )

  it.effect("two layers in one process exclude each other", () =>
    Effect.gen(function* () {
      const guard = path.join(yield* scratch, "guard")
      const services = yield* Layer.build(Layer.fresh(OsLock.layer))
      const scope = yield* Scope.make()
      yield* Effect.flatMap(Guard, (first) => first.hold(guard)).pipe(
        Scope.provide(scope),
        Effect.provide(services)
      )
      const error = yield* refusal(guard)
      assert.instanceOf(error, StoreBusy)
      assert.deepStrictEqual([error.path, error.marker, error.ageMillis], [guard, null, null])
      assert.match(error.message, /is in use.*open the store for reading/)
      yield* Scope.close(scope, Exit.void)
      yield* Effect.scoped(hold(guard))
    })
  )

  it.effect("a refused try in the holder's process frees nothing for other processes", () =>
    Effect.gen(function* () {
      const guard = path.join(yield* scratch, "guard")
      for (const _state of ["made by this hold", "there before"]) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* hold(guard)
            for (let i = 0; i < 3; i++) assert.instanceOf(yield* refusal(guard), StoreBusy)
            assert.match((yield* contender(guard)).first, /^StoreBusy/)
          })
        )
      }
      assert.strictEqual((yield* contender(guard)).first, "held")
    })
  )

  it.effect("is free at once when its holder was killed, with nothing left beside it", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const guard = path.join(directory, "guard")
      for (let round = 0; round < 2; round++) {
        const holder = yield* contender(guard)
        assert.strictEqual(holder.first, "held")
        assert.instanceOf(yield* refusal(guard), StoreBusy)
        assert.match((yield* contender(guard)).first, /^StoreBusy/)
        assert.deepStrictEqual(fs.readdirSync(directory), ["guard"])
        holder.child.kill("SIGKILL")
        yield* Effect.promise(() => holder.died)
        yield* Effect.scoped(hold(guard))
        assert.deepStrictEqual(fs.readdirSync(directory), ["guard"])
      }
    })
  )

  it.effect("a thread that was faster keeps the guard that this one has made", () =>
    Effect.gen(function* () {
      const guard = path.join(yield* scratch, "guard")
      const faster: Array<DatabaseSync> = []
      disturb.beforeLook = (looked) => {
        if (looked !== guard || faster.length > 0) return
        faster.push(new DatabaseSync(guard, { timeout: 0 }))
        faster[0]?.prepare("BEGIN EXCLUSIVE").run()
      }
      const error = yield* refusal(guard)
      disturb.beforeLook = () => undefined
      assert.instanceOf(error, StoreBusy)
      assert.match((yield* contender(guard)).first, /^StoreBusy/)
      for (const db of faster) db.close()
      assert.strictEqual((yield* contender(guard)).first, "held")
    })
  )

  it.effect("is free when its holder's scope has closed", () =>
    Effect.gen(function* () {
      const guard = path.join(yield* scratch, "guard")
      yield* Effect.scoped(hold(guard))
      const holder = yield* contender(guard)
      assert.strictEqual(holder.first, "held")
      holder.stdin.end()
      yield* Effect.promise(() => holder.died)
      yield* Effect.scoped(hold(guard))
    })
  )

  it.effect.skipIf(!fs.existsSync(other))("excludes the other runtime, and is excluded by it", () =>
    Effect.gen(function* () {
      const guard = path.join(yield* scratch, "guard")
      const holder = yield* contender(guard, other)
      assert.strictEqual(holder.first, "held")
      assert.instanceOf(yield* refusal(guard), StoreBusy)
      holder.stdin.end()
      yield* Effect.promise(() => holder.died)
      yield* hold(guard)
      assert.match((yield* contender(guard, other)).first, /^StoreBusy/)
    })
  )

  it.effect("refuses links, directories, foreign files and missing places, and changes none", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const at = (name: string) => path.join(directory, name)
      fs.writeFileSync(at("foreign"), "something")
      fs.writeFileSync(at("target"), "")
      fs.symlinkSync(at("target"), at("link"))
      fs.symlinkSync(at("nowhere"), at("dangling"))
      fs.mkdirSync(at("directory"))
      const before = fs.readdirSync(directory)
      assert.match((yield* lockError(at("link"))).reason, /symbolic link/)
      assert.match((yield* lockError(at("dangling"))).reason, /symbolic link/)
      assert.match((yield* lockError(at("directory"))).reason, /directory/)
      assert.match((yield* lockError(at("foreign"))).reason, /has content/)
      assert.match((yield* lockError(at("missing/guard"))).hint, /Make the directory/)
      assert.match((yield* lockError(at("foreign/guard"))).reason, /no directory/)
      assert.deepStrictEqual(fs.readdirSync(directory), before)
      assert.strictEqual(fs.readFileSync(at("foreign"), "utf8"), "something")
    })
  )

  it.effect("refuses a place that cannot be written", ({ skip }) =>
    Effect.gen(function* () {
      // No mode binds root; the kernel's own directory does.
      if (isRoot && !fs.existsSync("/sys/kernel")) return skip("root may write everywhere here")
      const directory = isRoot ? "/sys" : yield* scratch
      if (!isRoot) fs.chmodSync(directory, 0o500)
      const error = yield* lockError(path.join(directory, "guard"))
      assert.match(error.reason, /cannot be made or written/)
      assert.include(["EACCES", "EPERM", "EROFS"], Object(error.cause).code)
    })
  )

  it.effect("refuses a guard that may only be read, which SQLite would share out", ({ skip }) =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const guard = path.join(directory, "guard")
      fs.writeFileSync(guard, "")
      fs.chmodSync(guard, 0o444)
      fs.chmodSync(directory, 0o755)
      // No mode binds root, so it sends somebody else.
      const nobody = { uid: 65534, gid: 65534, env: { ...process.env, HOME: directory } }
      const { first } = yield* contender(guard, process.execPath, isRoot ? nobody : {})
      if (isRoot && first === "") return skip("no other user can run this runtime from here")
      assert.match(first, /^LockError: .*cannot be made or written/)
    })
  )

  it.effect("refuses a guard that was replaced or removed while it was being locked", () =>
    Effect.gen(function* () {
      const guard = path.join(yield* scratch, "guard")
      const changes = {
        "was replaced": () => {
          fs.renameSync(guard, `${guard}.moved`)
          fs.writeFileSync(guard, "")
        },
        "was removed": () => fs.rmSync(guard),
        "symbolic link": () => {
          fs.renameSync(guard, `${guard}.moved`)
          fs.symlinkSync(`${guard}.moved`, guard)
        }
      }
      for (const [reason, change] of Object.entries(changes)) {
        let looks = 0
        disturb.beforeLook = (looked) => {
          if (looked === guard && ++looks === 2) change()
        }
        const error = yield* lockError(guard)
        disturb.beforeLook = () => undefined
        assert.include(error.reason, reason)
        fs.rmSync(guard, { force: true })
        yield* Effect.scoped(hold(guard))
      }
    })
  )
})
