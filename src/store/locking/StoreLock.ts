/**
 * The lock of any store of an application: one process changes it, and says who and what for.
 *
 *   guard    held by whoever changes the store; the kernel frees it with the process (`Guard`)
 *   marker   placed by the guard's holder while it does what a crash must not leave unsaid
 *
 * Guard refused: somebody is at it, the lock is hot. Guard in hand and a marker there: whoever placed
 * it did not end, the marker is stale. Guard first, then marker; let go in the other order. A stale
 * marker is never removed, but renamed: by a takeover, which takes an operator's signed statement,
 * or, for stores that are no ledgers, by whoever may.
 *
 * A store of Cortex has the lock `name` and its own lock `name.flock`, which cannot be asked.
 */
import { Clock, Context, Effect, Layer, Path, Result } from "effect"
import type { FileSystem, Scope } from "effect"
import { Signature } from "effect/crypto"
import type { CryptoError } from "effect/crypto/CryptoError"
import * as LockMarker from "../../core/LockMarker.ts"
import type { MarkerInvalid } from "../../core/LockMarker.ts"
import * as Takeover from "../../core/Takeover.ts"
import type { TakeoverRefused } from "../../core/Takeover.ts"
import * as Timestamp from "../../core/Timestamp.ts"
import * as durable from "../journal/durable.ts"
import { Guard, LockError } from "./Guard.ts"
import type { StoreBusy } from "./Guard.ts"
import type { Location } from "../journal/Layout.ts"
import * as Marker from "./Marker.ts"
import { MarkerStale, Process } from "./Marker.ts"

export { MarkerStale, Process }

/** Where the lock of a store lies. Its directory must exist before it is locked. */
export interface Store {
  readonly guard: string
  readonly marker: string
  readonly isLedger: boolean
}

/** The lock of a ledger: `guard` and `marker` in its directory, or beside its file. */
export const ledger = (location: Location): Store => {
  const root = "file" in location ? `${location.file}.sealog` : location.directory
  return { guard: `${root}/guard`, marker: `${root}/marker`, isLedger: true }
}

const reserved: ReadonlySet<string> = new Set(["", ".", "..", "guard", "marker"])

/** Whether a lock may have this name: no directory in it, and none of a ledger's. */
export const isName = (name: string): boolean => !reserved.has(name) && !/[/\\\0]/.test(name)

/** The lock of any other store: the marker has this name, the guard `.guard` behind it. */
export const store = ({
  directory,
  name
}: {
  readonly directory: string
  readonly name: string
}): Store => {
  if (!isName(name)) throw new RangeError("not the name of a lock")
  return { guard: `${directory}/${name}.guard`, marker: `${directory}/${name}`, isLedger: false }
}

/** Who takes a store, in whose name, and what for. Each is one line of text. */
export interface Claim {
  readonly operator: string
  readonly deployment: string
  readonly intent: string
}

/** A store that is held. */
export interface Held {
  readonly marker: LockMarker.LockMarker
  /** Leave the marker when the store is let go: what was begun did not end well. */
  readonly keepAsEvidence: Effect.Effect<void>
}

/** Who may take over, in which deployment; the new marker's operator is the statement's. */
export interface TakeoverClaim {
  readonly deployment: string
  /** Ids of those who may (`Takeover.operatorId`); an empty list refuses everybody. */
  readonly operators: ReadonlyArray<string>
  readonly intent: string
}

/** How a lock stands. `parsed` is undefined where the marker is no marker. */
export type Status =
  | { readonly _tag: "Free" }
  | {
      readonly _tag: "Hot"
      readonly marker: string | null
      readonly ageMillis: number | null
    }
  | {
      readonly _tag: "Stale"
      readonly marker: string
      readonly parsed: LockMarker.LockMarker | undefined
      readonly ageMillis: number | null
    }

/** Locks stores. Every path in an error is absolute. */
export class StoreLock extends Context.Service<
  StoreLock,
  {
    /** Hold the guard alone until the scope closes. When this answers, nobody else has it. */
    readonly guard: (store: Store) => Effect.Effect<void, StoreBusy | LockError, Scope.Scope>
    /**
     * Hold guard and marker until the scope closes, however it does. When this answers, the marker
     * survives a crash. Values that a marker cannot say are refused before anything is touched.
     */
    readonly exclusive: (
      store: Store,
      claim: Claim
    ) => Effect.Effect<Held, StoreBusy | MarkerStale | LockError | MarkerInvalid, Scope.Scope>
    /** As `exclusive`, for one effect. */
    readonly exclusively: <A, E, R>(
      store: Store,
      claim: Claim,
      use: (held: Held) => Effect.Effect<A, E, R>
    ) => Effect.Effect<
      A,
      E | StoreBusy | MarkerStale | LockError | MarkerInvalid,
      Exclude<R, Scope.Scope>
    >
    /** How the lock stands. Nobody who holds it notices; who tries just then may be refused. */
    readonly status: (store: Store) => Effect.Effect<Status, LockError>
    /**
     * Rename a stale marker, where it is kept; undefined where there was none. Not for ledgers. When
     * this answers, the store can be taken.
     */
    readonly quarantineStale: (
      store: Store
    ) => Effect.Effect<string | undefined, StoreBusy | LockError>
    /**
     * Take the store from whom a stale marker names, by a signed statement that names that marker:
     * it is renamed to `setAside`, ours is placed, and all is held as by `exclusive`. Refused, the
     * marker stays as it is.
     */
    readonly takeover: (
      store: Store,
      statement: Takeover.Statement,
      claim: TakeoverClaim
    ) => Effect.Effect<
      Held & { readonly setAside: string },
      TakeoverRefused | StoreBusy | MarkerStale | LockError | MarkerInvalid,
      Scope.Scope
    >
  }
>()("sealog/StoreLock") {}

const staleHint =
  "Nobody holds it. Find out how far it came, then take over with a signed statement, or " +
  "quarantine the marker of a store that is no ledger."

const verifying = "verifying the statement"

/** A key that is none confirms nothing; a system that cannot verify is an error. */
const confirmed =
  (path: string) =>
  (error: CryptoError): Effect.Effect<boolean, LockError> =>
    error.reason._tag === "InvalidKey"
      ? Effect.succeed(false)
      : Effect.fail(
          new LockError({
            path,
            operation: verifying,
            reason: "was not reached, as this system cannot verify Ed25519",
            cause: error,
            hint: "Use a runtime that can."
          })
        )

const make = Effect.gen(function* () {
  const guards = yield* Guard
  const process = yield* Process
  const signatures = yield* Signature.Signature
  const paths = yield* Path.Path
  const withFiles = yield* durable.withFiles

  const absolute = ({ guard, isLedger, marker }: Store): Store => ({
    guard: paths.resolve(guard),
    marker: paths.resolve(marker),
    isLedger
  })

  const guardOf = ({ guard, marker }: Store) => Marker.tellHolder(marker, guards.hold(guard))

  /** The marker of a claim and its text. An operation's id is for the ledger's own alone. */
  const markerOf = Effect.fnUntraced(function* ({ deployment, intent, operator }: Claim) {
    if (LockMarker.operationOf(intent) !== undefined) {
      return yield* new LockMarker.MarkerInvalid({
        kind: "invalid_value",
        place: "restore_intent_blake3",
        expected: "an intent that does not begin with an operation's id",
        actual: "one that does"
      })
    }
    const acquiredAt = Timestamp.fromMillis(yield* Clock.currentTimeMillis)
    const { host, pid } = process
    const marker = { pid, host, deployment, operator, acquiredAt, intent }
    return { marker, text: yield* Effect.fromResult(LockMarker.render(marker)) }
  })

  /** Place the marker, the guard in hand; removed with the scope unless it is kept. */
  const hold = Effect.fnUntraced(function* (
    { marker: path }: Store,
    { marker, text }: Effect.Success<ReturnType<typeof markerOf>>
  ) {
    let isKept = false
    yield* Effect.acquireRelease(Marker.place(path, text, staleHint), () =>
      // Where it cannot be removed it stays, and is seen to be stale; the scope's exit tells why.
      isKept ? Effect.void : Effect.orDie(Marker.clear(path, text))
    )
    const keepAsEvidence = Effect.sync(() => void (isKept = true))
    return { marker, keepAsEvidence } satisfies Held
  })

  const exclusive = Effect.fn("StoreLock.exclusive")(
    function* (asked: Store, claim: Claim) {
      const store = absolute(asked)
      const marker = yield* markerOf(claim)
      yield* guardOf(store)
      return yield* hold(store, marker)
    },
    (effect) => withFiles(effect)
  )

  const status = Effect.fn("StoreLock.status")(
    function* (asked: Store): Effect.fn.Return<Status, LockError, Files | Scope.Scope> {
      const store = absolute(asked)
      const failed = Marker.lockError("looking at the lock", store.guard)
      const directory = durable.kindAt(paths.dirname(store.guard))
      if ((yield* Effect.mapError(directory, failed)) !== "Directory") {
        return yield* Marker.noDirectory("looking at the lock", store.guard)
      }
      // Where no guard was ever made nobody holds it, and looking must not make one.
      const isMade = (yield* Effect.mapError(durable.kindAt(store.guard), failed)) !== undefined
      const held = isMade ? yield* Effect.result(guardOf(store)) : Result.void
      if (Result.isFailure(held)) {
        if (held.failure._tag === "LockError") return yield* held.failure
        const { ageMillis, marker } = held.failure
        return { _tag: "Hot", marker, ageMillis }
      }
      const found = yield* Marker.read(store.marker)
      if (found === undefined) return { _tag: "Free" }
      const parsed = Result.getOrUndefined(found.parsed)
      return { _tag: "Stale", marker: found.text, parsed, ageMillis: found.ageMillis }
    },
    Effect.scoped,
    (effect) => withFiles(effect)
  )

  const quarantineStale = Effect.fn("StoreLock.quarantineStale")(
    function* (asked: Store) {
      const store = absolute(asked)
      const path = store.marker
      if (store.isLedger) {
        return yield* new LockError({
          path,
          operation: "setting the marker aside",
          reason: "is the marker of a ledger",
          cause: undefined,
          hint: "Take over with a signed statement: a ledger may be half changed."
        })
      }
      yield* guardOf(store)
      return (yield* Marker.read(path)) === undefined ? undefined : yield* Marker.setAside(path)
    },
    Effect.scoped,
    (effect) => withFiles(effect)
  )

  /** Whether the signature is that of the key over the claims; the shape is judged elsewhere. */
  const isSigned = Effect.fnUntraced(function* (path: string, statement: Takeover.Statement) {
    const parts = Takeover.toVerify(statement)
    if (Result.isFailure(parts)) return false
    const { message, publicKey, signature } = parts.success
    return yield* Signature.publicKey(Signature.ed25519, publicKey).pipe(
      Effect.flatMap((key) => signatures.verify(key, signature, message)),
      Effect.catchTag("CryptoError", confirmed(path))
    )
  })

  /** The stale marker that is to be taken over. */
  const staleMarker = Effect.fnUntraced(function* (path: string) {
    const found = yield* Marker.read(path)
    if (found !== undefined && Result.isSuccess(found.parsed)) return found.parsed.success
    const isThere = found !== undefined && Result.isFailure(found.parsed)
    return yield* new LockError({
      path,
      operation: "taking over",
      reason: isThere ? "is no marker that can be read" : "is not there",
      cause: isThere ? found.parsed.failure : undefined,
      hint: isThere
        ? "No statement can name it. Find out who put it there, then move it aside by hand."
        : "There is nothing to take over: the store is free."
    })
  })

  const takeover = Effect.fn("StoreLock.takeover")(
    function* (
      asked: Store,
      statement: Takeover.Statement,
      { deployment, intent, operators }: TakeoverClaim
    ) {
      const store = absolute(asked)
      const path = store.marker
      const ours = yield* markerOf({ deployment, intent, operator: String(statement.operator) })
      yield* guardOf(store)
      const marker = yield* staleMarker(path)
      const flock = durable.kindAt(`${path}.flock`)
      const look = Marker.lockError("looking for another lock", `${path}.flock`)
      const flockPresent = (yield* Effect.mapError(flock, look)) !== undefined
      const signed = yield* isSigned(path, statement)
      const now = Timestamp.fromMillis(yield* Clock.currentTimeMillis)
      const given = { marker, deployment, operators, now, flockPresent, verify: () => signed }
      yield* Effect.fromResult(Takeover.checkTakeover(statement, given))
      const setAside = yield* Marker.setAside(path)
      return { ...(yield* hold(store, ours)), setAside }
    },
    (effect) => withFiles(effect)
  )

  return StoreLock.of({
    guard: Effect.fn("StoreLock.guard")((asked: Store) =>
      Effect.suspend(() => withFiles(guardOf(absolute(asked))))
    ),
    exclusive,
    exclusively: (store, claim, use) => Effect.scoped(Effect.flatMap(exclusive(store, claim), use)),
    status,
    quarantineStale,
    takeover
  })
})

type Files = FileSystem.FileSystem | Path.Path

/** Locks over the guard and the files in scope. */
export const layer: Layer.Layer<StoreLock, never, Guard | Process | Files | Signature.Signature> =
  Layer.effect(StoreLock, make)
