import * as child from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Result } from "effect"
import type { Scope } from "effect"
import { TestClock } from "effect/testing"
import * as LockMarker from "../../../src/core/LockMarker.ts"
import * as Takeover from "../../../src/core/Takeover.ts"
import { LockError, StoreBusy } from "../../../src/store/locking/Guard.ts"
import * as StoreLock from "../../../src/store/locking/StoreLock.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { isRoot } from "../crashKit.ts"
import {
  ada,
  claim,
  inDirectory,
  keyOf,
  leave,
  locks,
  markerIn,
  somebody,
  statementOf,
  takeoverClaim
} from "../locking.ts"

const read = (file: string) => fs.readFileSync(file, "utf8")
const parsed = (file: string) => Result.getOrThrow(LockMarker.parse(fs.readFileSync(file)))

/** A test in a directory of its own, with locks of one layer. */
const locking = <E>(
  body: (
    lock: StoreLock.StoreLock["Service"],
    store: StoreLock.Store,
    directory: string
  ) => Effect.Effect<void, E, Scope.Scope>
) =>
  Effect.gen(function* () {
    const directory = yield* TestLedger.directory
    yield* TestClock.setTime(1_777_897_845_120)
    const lock = yield* StoreLock.StoreLock
    yield* body(lock, inDirectory(directory), directory)
  }).pipe(Effect.scoped, Effect.provide(locks()))

/** What `exclusive` of another layer of this process answers. */
const rival = (store: StoreLock.Store) =>
  StoreLock.StoreLock.use((lock) => Effect.flip(Effect.scoped(lock.exclusive(store, claim)))).pipe(
    Effect.provide(locks({ pid: 2, host: "" }))
  )

const lockError = <A>(effect: Effect.Effect<A, unknown>, reason: RegExp, path: string) =>
  Effect.map(Effect.flip(effect), (error) => {
    assert.instanceOf(error, LockError)
    assert.match(error.reason, reason)
    assert.strictEqual(error.path, path)
    assert.isAbove(error.hint.length, 10)
  })

describe("StoreLock", () => {
  it.effect("exclusive holds guard and marker, and leaves nothing but the guard", () =>
    locking(
      Effect.fnUntraced(function* (lock, store, directory) {
        const before = process.umask(0o777)
        yield* lock
          .exclusively(store, claim, ({ marker }) =>
            Effect.sync(() => {
              assert.deepStrictEqual(parsed(store.marker), marker)
              const { deployment, intent, operator } = claim
              const acquiredAt = "2026-05-04T12:30:45.120Z"
              const expected = { ...somebody, deployment, operator, intent, acquiredAt }
              assert.deepStrictEqual({ ...marker }, expected)
              assert.strictEqual(fs.statSync(store.marker).mode & 0o777, 0o600)
            })
          )
          .pipe(Effect.ensuring(Effect.sync(() => process.umask(before))))
        assert.deepStrictEqual(fs.readdirSync(directory), ["books.lock.guard"])
      })
    )
  )

  it.effect("lets go on success, failure, defect and interruption alike", () =>
    locking(
      Effect.fnUntraced(function* (lock, store, directory) {
        const begun = yield* Deferred.make<void>()
        const waits = Effect.andThen(Deferred.succeed(begun, undefined), Effect.never)
        const ends = [Effect.void, Effect.fail("no"), Effect.die("broken"), waits] as const
        for (const end of ends) {
          const fiber = yield* Effect.forkChild(
            lock.exclusively(store, claim, () => {
              assert.isTrue(fs.existsSync(store.marker))
              return end
            })
          )
          if (end === waits) {
            yield* Deferred.await(begun)
            assert.instanceOf(yield* rival(store), StoreBusy)
            yield* Fiber.interrupt(fiber)
          }
          yield* Fiber.await(fiber)
          assert.deepStrictEqual(fs.readdirSync(directory), ["books.lock.guard"])
        }
        yield* Effect.scoped(lock.exclusive(store, claim))
      })
    )
  )

  it.effect("a marker that is kept as evidence is stale, its age told, and stops the next", () =>
    locking(
      Effect.fnUntraced(function* (lock, store) {
        const marker = yield* leave(store)
        const text = read(store.marker)
        yield* TestClock.adjust("90 seconds")
        const error = yield* rival(store)
        assert.instanceOf(error, StoreLock.MarkerStale)
        assert.deepStrictEqual([error.path, error.marker], [store.marker, text])
        assert.strictEqual(error.ageMillis, 90_000)
        assert.match(error.message, /90 s old.*operator:ada.*signed statement/)
        const status = yield* lock.status(store)
        const told = { marker: text, parsed: marker, ageMillis: 90_000 }
        assert.deepStrictEqual(status, { _tag: "Stale", ...told })
        assert.strictEqual(read(store.marker), text)
        // Appending needs the guard alone, and whether a marker stops it is the store's to say.
        yield* Effect.scoped(lock.guard(store))
      })
    )
  )

  it.effect("a store that is held is hot, its marker and age told, and is not disturbed", () =>
    locking(
      Effect.fnUntraced(function* (lock, store) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* lock.exclusive(store, claim)
            const text = read(store.marker)
            yield* TestClock.adjust("5 seconds")
            for (let nth = 0; nth < 2; nth++) {
              const status = yield* lock.status(store)
              assert.deepStrictEqual(status, { _tag: "Hot", marker: text, ageMillis: 5_000 })
              const error = yield* rival(store)
              assert.instanceOf(error, StoreBusy)
              assert.deepStrictEqual([error.marker, error.ageMillis], [text, 5_000])
            }
            assert.instanceOf(yield* Effect.flip(lock.quarantineStale(store)), StoreBusy)
            const taking = lock.takeover(store, statementOf(parsed(store.marker)), takeoverClaim)
            assert.instanceOf(yield* Effect.flip(Effect.scoped(taking)), StoreBusy)
            assert.strictEqual(read(store.marker), text)
          })
        )
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* lock.guard(store)
            const hot = yield* lock.status(store)
            assert.deepStrictEqual(hot, { _tag: "Hot", marker: null, ageMillis: null })
          })
        )
        assert.deepStrictEqual(yield* lock.status(store), { _tag: "Free" })
      })
    )
  )

  it.effect("status of a store that was never locked makes nothing", () =>
    locking(
      Effect.fnUntraced(function* (lock, store, directory) {
        assert.deepStrictEqual(yield* lock.status(store), { _tag: "Free" })
        assert.deepStrictEqual(fs.readdirSync(directory), [])
        const missing = inDirectory(path.join(directory, "nowhere"))
        yield* lockError(lock.status(missing), /no directory/, missing.guard)
        yield* lockError(
          Effect.scoped(lock.exclusive(missing, claim)),
          /no directory/,
          missing.guard
        )
      })
    )
  )

  it.effect("quarantine renames, twice in one second too, and never a ledger's", () =>
    locking(
      Effect.fnUntraced(function* (lock, store, directory) {
        assert.isUndefined(yield* lock.quarantineStale(store))
        const texts: Array<string> = []
        const kept: Array<string | undefined> = []
        for (const intent of ["one", "two", "three"]) {
          yield* leave(store, { intent })
          texts.push(read(store.marker))
          kept.push(yield* lock.quarantineStale(store))
        }
        const first = `${store.marker}.stale-20260504T123045Z`
        assert.deepStrictEqual(kept, [first, `${first}-2`, `${first}-3`])
        assert.deepStrictEqual(
          kept.map((file) => read(file ?? "")),
          texts
        )
        const ledger = StoreLock.ledger({ directory })
        yield* leave(ledger)
        yield* lockError(lock.quarantineStale(ledger), /marker of a ledger/, ledger.marker)
        assert.isTrue(fs.existsSync(ledger.marker))
      })
    )
  )

  it.effect("values that no marker can say are refused before anything is touched", () =>
    locking(
      Effect.fnUntraced(function* (lock, store, directory) {
        const id = "op_01KGE3HBSFNPBSCAJ7DY8FSVA7"
        const wrong: ReadonlyArray<readonly [Partial<StoreLock.Claim>, string]> = [
          [{ operator: "a\nscope=production" }, "operator_principal_id"],
          [{ deployment: "a\0" }, "deployment_id"],
          [{ intent: "a\u2028b" }, "restore_intent_blake3"],
          [{ intent: id }, "restore_intent_blake3"],
          [{ intent: `${id} rollback to 3` }, "restore_intent_blake3"]
        ]
        for (const [change, place] of wrong) {
          const asked = { ...claim, ...change }
          const error = yield* Effect.flip(Effect.scoped(lock.exclusive(store, asked)))
          assert.instanceOf(error, LockMarker.MarkerInvalid)
          assert.strictEqual(error.place, place)
        }
        const evil = locks({ pid: 1, host: "build\npid=2" })
        const error = yield* StoreLock.StoreLock.use((other) =>
          Effect.flip(Effect.scoped(other.exclusive(store, claim)))
        ).pipe(Effect.provide(evil))
        assert.instanceOf(error, LockMarker.MarkerInvalid)
        assert.strictEqual(error.place, "host")
        assert.deepStrictEqual(fs.readdirSync(directory), [])
      })
    )
  )

  const strange: ReadonlyArray<readonly [why: string, put: (file: string) => void, RegExp]> = [
    ["a directory", (file) => fs.mkdirSync(file), /is a directory/],
    ["a link to a file", (file) => fs.symlinkSync("/etc/hostname", file), /is a symbolic link/],
    ["a dangling link", (file) => fs.symlinkSync("nowhere", file), /is a symbolic link/],
    ["a pipe", (file) => child.execFileSync("mkfifo", [file]), /is not a regular file/]
  ]
  for (const [why, put, reason] of strange) {
    it.effect(`a marker that is ${why} is refused, and stays`, () =>
      locking(
        Effect.fnUntraced(function* (lock, store) {
          put(store.marker)
          const { ino } = fs.lstatSync(store.marker)
          for (const trying of [
            Effect.asVoid(Effect.scoped(lock.exclusive(store, claim))),
            Effect.asVoid(lock.quarantineStale(store)),
            Effect.asVoid(lock.status(store))
          ]) {
            // Nobody ever had the guard, but for the tries that fail.
            yield* lockError(trying, reason, store.marker)
          }
          assert.strictEqual(fs.lstatSync(store.marker).ino, ino)
        })
      )
    )
  }

  const foreign: ReadonlyArray<readonly [why: string, put: (file: string) => void]> = [
    [
      "of 1 GB",
      (file) => {
        fs.writeFileSync(file, "cortex-restore-active-store-lock-v1\npid=")
        fs.truncateSync(file, 2 ** 30)
      }
    ],
    ["of bytes", (file) => fs.writeFileSync(file, Buffer.from([0xff, 0xfe, 0, 27, 91]))],
    ["of nothing", (file) => fs.writeFileSync(file, "")]
  ]
  for (const [why, put] of foreign) {
    it.effect(`a marker ${why} is stale, cannot be taken over, and can be set aside`, () =>
      locking(
        Effect.fnUntraced(function* (lock, store) {
          put(store.marker)
          const { ino, size } = fs.statSync(store.marker)
          const error = yield* rival(store)
          assert.instanceOf(error, StoreLock.MarkerStale)
          assert.isAtMost(error.marker.length, LockMarker.bytesMax)
          assert.isAtMost(error.message.length, 4_000)
          assert.match(error.message, /^[\x20-\x7e\ufffd…]*$/)
          const status = yield* lock.status(store)
          assert.strictEqual(status._tag, "Stale")
          assert.isTrue(status._tag === "Stale" && status.parsed === undefined)
          const statement = statementOf({ ...somebody, ...claim, acquiredAt: takenAt })
          const taking = Effect.scoped(lock.takeover(store, statement, takeoverClaim))
          yield* lockError(taking, /no marker that can be read/, store.marker)
          const kept = yield* lock.quarantineStale(store)
          const after = fs.statSync(kept ?? "")
          assert.deepStrictEqual([after.ino, after.size], [ino, size])
          yield* Effect.scoped(lock.exclusive(store, claim))
        })
      )
    )
  }

  it.effect("a clock before the epoch, and one that was set back, are no obstacle", () =>
    locking(
      Effect.fnUntraced(function* (lock, store) {
        yield* TestClock.setTime(-86_400_000)
        const marker = yield* leave(store)
        assert.strictEqual(marker.acquiredAt, "1969-12-31T00:00:00Z")
        yield* TestClock.setTime(-86_460_000)
        const status = yield* lock.status(store)
        assert.strictEqual(status._tag === "Stale" && status.ageMillis, -60_000)
        const kept = yield* lock.quarantineStale(store)
        assert.match(kept ?? "", /stale-19691230T235900Z$/)
      })
    )
  )

  it.effect("a marker with the pid of a process that lives is stale all the same", () =>
    locking(
      Effect.fnUntraced(function* (lock, store) {
        yield* StoreLock.StoreLock.use((other) =>
          other.exclusively(store, claim, ({ keepAsEvidence }) => keepAsEvidence)
        ).pipe(Effect.provide(locks({ pid: process.pid, host: "here" })))
        const status = yield* lock.status(store)
        assert.strictEqual(status._tag === "Stale" && status.parsed?.pid, process.pid)
      })
    )
  )

  it.effect("a directory that cannot be written is refused, and nothing is made", ({ skip }) =>
    locking(
      Effect.fnUntraced(function* (lock, _store, directory) {
        // No mode binds root; the kernel's own directory does.
        if (isRoot && !fs.existsSync("/sys/kernel")) return skip("root may write everywhere here")
        const place = isRoot ? "/sys" : directory
        if (!isRoot) fs.chmodSync(directory, 0o500)
        const store = inDirectory(place)
        const taking = Effect.scoped(lock.exclusive(store, claim))
        yield* lockError(taking, /cannot be made or written/, store.guard)
        assert.isFalse(fs.existsSync(store.marker))
      })
    )
  )

  it.effect("another's marker that stands in the place of ours is not removed", () =>
    locking(
      Effect.fnUntraced(function* (lock, store) {
        yield* lock.exclusively(store, claim, () =>
          Effect.sync(() => {
            fs.rmSync(store.marker)
            fs.writeFileSync(store.marker, "somebody else's")
          })
        )
        assert.strictEqual(read(store.marker), "somebody else's")
        assert.strictEqual((yield* lock.status(store))._tag, "Stale")
      })
    )
  )

  it.effect("a marker that cannot be removed is told, and the guard is free all the same", () =>
    locking(
      Effect.fnUntraced(function* (lock, store) {
        const exit = yield* Effect.exit(
          lock.exclusively(store, claim, () =>
            Effect.sync(() => {
              fs.rmSync(store.marker)
              fs.mkdirSync(store.marker)
            })
          )
        )
        assert.isTrue(Exit.isFailure(exit))
        if (Exit.isFailure(exit)) assert.instanceOf(Cause.squash(exit.cause), LockError)
        yield* Effect.scoped(lock.guard(store))
      })
    )
  )

  it("a name with a directory in it, or a ledger's, is no lock of another store", () => {
    for (const name of ["", ".", "..", "../x", "a/b", "a\\b", "a\0", "marker", "guard"]) {
      assert.throws(() => StoreLock.store({ directory: "/tmp", name }), RangeError)
    }
  })

  describe("takeover", () => {
    it.effect("by a listed operator's statement renames the marker and places ours", () =>
      locking(
        Effect.fnUntraced(function* (lock, store) {
          const marker = yield* leave(store)
          const text = read(store.marker)
          const statement = statementOf(marker)
          const held = yield* Effect.scoped(
            Effect.gen(function* () {
              const held = yield* lock.takeover(store, statement, takeoverClaim)
              assert.deepStrictEqual(parsed(store.marker), held.marker)
              assert.instanceOf(yield* rival(store), StoreBusy)
              return held
            })
          )
          assert.strictEqual(held.marker.operator, statement.operator)
          assert.strictEqual(held.marker.intent, takeoverClaim.intent)
          assert.strictEqual(read(held.setAside), text)
          assert.isFalse(fs.existsSync(store.marker))
          // The statement is used up: there is nothing that it fits.
          const again = Effect.scoped(lock.takeover(store, statement, takeoverClaim))
          yield* lockError(again, /is not there/, store.marker)
        })
      )
    )

    const wrong: ReadonlyArray<
      readonly [Takeover.Claim, Partial<Takeover.Claims>, Partial<StoreLock.TakeoverClaim>?]
    > = [
      ["kind", { kind: "other" }],
      ["version", { schemaVersion: 2 }],
      ["window", { notAfter: "2026-05-04T12:30:45Z" as LockMarker.LockMarker["acquiredAt"] }],
      ["deployment", { deployment: "prod-2" }],
      ["deployment", {}, { deployment: "prod-2" }],
      ["operator", {}, { operators: [] }],
      ["public_key", { publicKey: Buffer.from(keyOf(2).publicKey).toString("hex") }],
      ["pid", { pid: 1 }],
      [
        "acquired_at",
        { acquiredAt: "2026-05-04T12:30:45Z" as LockMarker.LockMarker["acquiredAt"] }
      ],
      ["marker_sha256", { markerSha256: "0".repeat(64) }]
    ]
    for (const [expected, claims, change] of wrong) {
      it.effect(`is refused for its ${expected} (${Object.keys({ ...claims, ...change })})`, () =>
        locking(
          Effect.fnUntraced(function* (lock, store, directory) {
            const statement = statementOf(yield* leave(store), claims)
            const text = read(store.marker)
            const asked = { ...takeoverClaim, ...change }
            const error = yield* Effect.flip(Effect.scoped(lock.takeover(store, statement, asked)))
            assert.instanceOf(error, Takeover.TakeoverRefused)
            assert.strictEqual(error.claim, expected)
            assert.strictEqual(read(store.marker), text)
            assert.deepStrictEqual(fs.readdirSync(directory), ["books.lock", "books.lock.guard"])
          })
        )
      )
    }

    it.effect("is refused where the signature is not over these claims, or of another key", () =>
      locking(
        Effect.fnUntraced(function* (lock, store) {
          const marker = yield* leave(store)
          const good = statementOf(marker)
          const { signature } = statementOf(marker, { unknownHolderAccepted: true })
          const noPoint = "00".repeat(31) + "80"
          const bad: ReadonlyArray<readonly [string, unknown]> = [
            ["signature", { ...good, signature }],
            ["signature", { ...good, signature: "0".repeat(128) }],
            ["public_key", { ...good, publicKey: noPoint }],
            ["form", { ...good, publicKey: "x" }],
            ["form", { operator: "x" }],
            ["form", {}]
          ]
          for (const [expected, statement] of bad) {
            const error = yield* lock
              .takeover(store, statement as Takeover.Statement, takeoverClaim)
              .pipe(Effect.scoped, Effect.flip)
            assert.instanceOf(error, Takeover.TakeoverRefused)
            assert.strictEqual(error.claim, expected)
          }
          yield* Effect.scoped(lock.takeover(store, good, takeoverClaim))
        })
      )
    )

    it.effect("of two markers of one process and millisecond takes the one that was signed", () =>
      locking(
        Effect.fnUntraced(function* (lock, store, directory) {
          const other = StoreLock.store({ directory, name: "other.lock" })
          const marker = yield* leave(store)
          yield* leave(other, { intent: "something else" })
          const taking = (of: StoreLock.Store) =>
            Effect.scoped(lock.takeover(of, statementOf(marker), takeoverClaim))
          const error = yield* Effect.flip(taking(other))
          assert.strictEqual(error._tag === "TakeoverRefused" && error.claim, "marker_sha256")
          yield* taking(store)
        })
      )
    )

    it.effect("beside a .flock of the original needs a statement that says so", () =>
      locking(
        Effect.fnUntraced(function* (lock, store, directory) {
          const marker = yield* leave(store)
          fs.writeFileSync(`${markerIn(directory)}.flock`, "")
          const taking = (statement: Takeover.Statement) =>
            Effect.scoped(lock.takeover(store, statement, takeoverClaim))
          const error = yield* Effect.flip(taking(statementOf(marker)))
          assert.strictEqual(error._tag === "TakeoverRefused" && error.claim, "flock")
          yield* taking(statementOf(marker, { unknownHolderAccepted: true }))
          assert.isTrue(fs.existsSync(`${markerIn(directory)}.flock`))
        })
      )
    )

    it.effect("with an intent that no marker can say leaves the stale one", () =>
      locking(
        Effect.fnUntraced(function* (lock, store) {
          const statement = statementOf(yield* leave(store), {}, ada)
          const asked = { ...takeoverClaim, intent: "a\nb" }
          const error = yield* Effect.flip(Effect.scoped(lock.takeover(store, statement, asked)))
          assert.instanceOf(error, LockMarker.MarkerInvalid)
          assert.isTrue(fs.existsSync(store.marker))
        })
      )
    )
  })
})

const takenAt = "2026-05-04T12:30:45.120Z" as LockMarker.LockMarker["acquiredAt"]
