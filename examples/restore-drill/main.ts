/**
 * A restore drill: a ledger is backed up, damaged, and restored under its lock; then once more, with
 * a restore that fails and leaves its evidence, until an operator takes over by a signed statement.
 *
 *   node examples/restore-drill/main.ts
 *
 * Nobody can write to the ledger between the failure and the takeover, and nothing that happened is
 * removed. Every step checks what it shows. Exit code 0: all of it was so. 1: something was not.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Clock, Console, Data, Effect, FileSystem, Path, Result } from "effect"
import { Hex } from "effect/encoding"
import { Ledger, StoreLock, Takeover, Timestamp } from "../../src/index.ts"
import type { LockMarker } from "../../src/index.ts"
import { Ed25519Keys, SealogNode } from "../../src/platform/index.ts"

/** What this drill shows did not hold. */
class NotSo extends Data.TaggedError("NotSo")<{ message: string }> {}

const claim = (holds: boolean, otherwise: string) =>
  holds ? Effect.void : Effect.fail(new NotSo({ message: otherwise }))

const title = (text: string) => Console.log(`\n${text}`)
const say = (text: string) => Console.log(`   ${text}`)

const deployment = "books-1"
const rows = 5

interface Places {
  readonly directory: string
  readonly copy: string
}

/** Rows, and a copy of them elsewhere. */
const backUp = Effect.fn("backUp")(function* ({ copy, directory }: Places) {
  const { head } = yield* Ledger.Ledger.use((ledger) =>
    Effect.gen(function* () {
      for (let nth = 1; nth <= rows; nth++) {
        yield* ledger.append({ type: "book.entry.v1", payload: { nth, cents: nth * 100 } })
      }
      return yield* ledger.backup(copy)
    })
  ).pipe(Effect.provide(SealogNode.layer({ directory })))
  yield* say(`backed up ${head.seq} rows; keep their head: ${head.leafHash.slice(0, 16)}…`)
})

const segmentOf = Effect.fn("segmentOf")(function* (directory: string) {
  const paths = yield* Path.Path
  return paths.join(directory, "segments", "0000000000000001.jsonl")
})

/** One byte of one row is changed behind the ledger's back; verification finds it. */
const damage = Effect.fn("damage")(function* ({ directory }: Places) {
  const fs = yield* FileSystem.FileSystem
  const segment = yield* segmentOf(directory)
  const text = yield* fs.readFileString(segment)
  yield* fs.writeFileString(segment, text.replace('"cents":300', '"cents":900'))
  const report = yield* Ledger.verify({ directory })
  if (report._tag === "Intact") return yield* claim(false, "The damage was not found.")
  const [first] = report.failures
  yield* say(`damaged: row ${first?.seq} (${first?.reason.kind})`)
})

/** Put the copy's rows back. The mirror is left to be made anew from them. */
const putBack = Effect.fn("putBack")(function* ({ copy, directory }: Places) {
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  yield* fs.writeFile(yield* segmentOf(directory), yield* fs.readFile(yield* segmentOf(copy)))
  for (const end of ["", "-wal", "-shm"]) {
    yield* fs.remove(paths.join(directory, `mirror.sqlite${end}`), { force: true })
  }
  const report = yield* Ledger.verify({ directory })
  yield* claim(report._tag === "Intact" && report.rows === rows, "What was restored is not intact.")
})

const statusIs = Effect.fn("statusIs")(function* (store: StoreLock.Store, tag: string) {
  const lock = yield* StoreLock.StoreLock
  const status = yield* lock.status(store)
  yield* say(`lock: ${status._tag}`)
  yield* claim(status._tag === tag, `The lock should be ${tag}.`)
  return status
})

/** The drill that goes well. */
const restore = Effect.fn("restore")(function* (places: Places, store: StoreLock.Store) {
  const lock = yield* StoreLock.StoreLock
  const by = { operator: "ada", deployment, intent: "restore of monday" }
  yield* lock.exclusively(store, by, () => putBack(places))
  yield* say("restored and verified under the lock")
  yield* statusIs(store, "Free")
})

/** The copy turns out to be torn half way: the marker stays, and says who, what and when. */
const failToRestore = Effect.fn("failToRestore")(function* (
  { directory }: Places,
  store: StoreLock.Store
) {
  const fs = yield* FileSystem.FileSystem
  const lock = yield* StoreLock.StoreLock
  const by = { operator: "ada", deployment, intent: "restore of tuesday" }
  const torn = new NotSo({ message: "the copy is torn" })
  const segment = yield* segmentOf(directory)
  const failed = yield* Effect.flip(
    lock.exclusively(store, by, (held) =>
      fs.truncate(segment, 100).pipe(
        Effect.andThen(Effect.fail(torn)),
        Effect.onError(() => held.keepAsEvidence)
      )
    )
  )
  yield* say(`ada's restore fails: ${failed.message}`)
  const status = yield* statusIs(store, "Stale")
  const opened = yield* Effect.flip(Effect.provide(Ledger.Ledger, SealogNode.layer({ directory })))
  yield* say(`opening for writing: ${opened._tag}`)
  yield* claim(opened._tag === "MarkerStale", "It opened over the evidence.")
  if (status._tag === "Stale" && status.parsed !== undefined) return status.parsed
  return yield* new NotSo({ message: "The evidence cannot be read." })
})

type Key = Effect.Success<ReturnType<typeof Ed25519Keys.fromSeed>>

const bytesOf = ({ publicKey }: Key) => Effect.fromResult(Hex.decode(publicKey))

/** A statement, signed: this operator takes over from what that marker says, within the hour. */
const signed = Effect.fn("signed")(function* (marker: LockMarker.LockMarker, key: Key) {
  const now = yield* Clock.currentTimeMillis
  const claims = Takeover.claimsFor(marker, {
    publicKey: yield* bytesOf(key),
    notBefore: Timestamp.fromMillis(now),
    notAfter: Timestamp.fromMillis(now + 3_600_000),
    unknownHolderAccepted: false
  })
  const signature = yield* key.sign(yield* Effect.fromResult(Takeover.signingInput(claims)))
  return { ...claims, signature: Hex.encode(signature) }
})

/** Who may is on the application's list; everybody else is refused, and the marker stays. */
const takeOver = Effect.fn("takeOver")(function* (
  places: Places,
  store: StoreLock.Store,
  marker: LockMarker.LockMarker
) {
  const lock = yield* StoreLock.StoreLock
  const [bob, eve] = [yield* key(2), yield* key(3)]
  const operators = [Takeover.operatorId(yield* bytesOf(bob))]
  const by = { deployment, operators, intent: "restore of tuesday, again" }
  const again = yield* Effect.result(
    Effect.scoped(lock.exclusive(store, { operator: "eve", deployment, intent: "just go on" }))
  )
  const plain = Result.isFailure(again) ? again.failure._tag : "held"
  yield* say(`eve tries to just go on: ${plain}`)
  yield* claim(plain === "MarkerStale", "A second operator got past the evidence.")
  const refused = yield* Effect.flip(
    Effect.scoped(lock.takeover(store, yield* signed(marker, eve), by))
  )
  yield* say(`eve signs a statement: ${refused.message.split(":")[0]}`)
  yield* claim(refused._tag === "TakeoverRefused", "Somebody who is not listed took over.")
  const setAside = yield* Effect.scoped(
    Effect.gen(function* () {
      const held = yield* lock.takeover(store, yield* signed(marker, bob), by)
      yield* Effect.onError(putBack(places), () => held.keepAsEvidence)
      return held.setAside
    })
  )
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  yield* claim(yield* fs.exists(setAside), "The evidence is gone.")
  const name = paths.basename(setAside).replace(/\d{8}T\d{6}Z/, "…")
  yield* say(`bob, who is listed, takes over, restores and verifies; kept: ${name}`)
  yield* statusIs(store, "Free")
})

const key = (byte: number) => Ed25519Keys.fromSeed(new Uint8Array(32).fill(byte))

const drill = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const root = yield* fs.makeTempDirectoryScoped({ prefix: "sealog-restore-drill-" })
  const places = { directory: `${root}/books`, copy: `${root}/copy` }
  const store = StoreLock.ledger({ directory: places.directory })
  yield* Console.log("A restore drill")
  yield* title("1. Backed up, and damaged")
  yield* backUp(places)
  yield* damage(places)
  yield* title("2. Restored under the lock")
  yield* restore(places, store)
  yield* title("3. Damaged again; the restore fails and leaves its evidence")
  yield* damage(places)
  const marker = yield* failToRestore(places, store)
  yield* title("4. Taken over by a signed statement")
  yield* takeOver(places, store, marker)
  const report = yield* Ledger.Ledger.use((ledger) => ledger.verify()).pipe(
    Effect.provide(SealogNode.layer({ directory: places.directory }))
  )
  yield* claim(report._tag === "Intact", "The ledger did not come back.")
  yield* title(`Opened again: ${report._tag}, ${report.rows} rows`)
}).pipe(Effect.scoped, Effect.provide(SealogNode.layerPlatform))

NodeRuntime.runMain(Effect.provide(drill, NodeServices.layer))
