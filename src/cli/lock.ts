/**
 * `sealog lock status|quarantine|takeover|statement DIR`: the lock of a ledger, or of another store.
 *
 * Hot: somebody holds it. Stale: nobody does, and a marker says that somebody did not end. The
 * marker of a ledger is set aside by a takeover alone, for which a listed operator signs a statement
 * about that very marker: `statement` makes one, on whatever machine has the key and the store.
 */
import { Clock, Effect, Option, Result } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import * as Hex from "effect/encoding/Hex"
import type { LockMarker } from "../core/LockMarker.ts"
import * as Takeover from "../core/Takeover.ts"
import * as Timestamp from "../core/Timestamp.ts"
import * as Ed25519Keys from "../platform/Ed25519Keys.ts"
import * as durable from "../store/journal/durable.ts"
import { journalError } from "../store/errors.ts"
import { deploymentDefault } from "../store/locking/LedgerMarker.ts"
import * as StoreLock from "../store/locking/StoreLock.ts"
import { Ending, found, plain } from "./Ending.ts"
import * as Flags from "./flags.ts"
import { Output } from "./Output.ts"
import * as Target from "./Target.ts"

const place = {
  directory: Argument.String("DIR").pipe(
    Argument.withDescription("A ledger, or with --name the directory of another store's lock")
  ),
  name: Flag.String("name").pipe(
    Flag.withDescription("The name of another store's marker in DIR"),
    Flag.filter(StoreLock.isName, () => "a file's name, and none of a ledger's"),
    Flag.optional
  )
}

const deployment = Flag.String("deployment").pipe(
  Flag.withMetavar("NAME"),
  Flag.withDescription("What the marker must call the deployment"),
  Flag.withDefault(deploymentDefault)
)

interface Place {
  readonly directory: string
  readonly name: Option.Option<string>
}

const storeAt = Effect.fnUntraced(function* ({ directory, name }: Place) {
  if (Option.isSome(name)) return StoreLock.store({ directory, name: name.value })
  if ((yield* durable.kindAt(directory)) === "File") return StoreLock.ledger({ file: directory })
  yield* Target.ledger(directory)
  return StoreLock.ledger({ directory })
})

type State = Partial<Record<"marker" | "setAside", string | null | undefined>> & {
  readonly state: "free" | "hot" | "stale"
  readonly ageMillis?: number | null | undefined
}

const tell = Effect.fnUntraced(function* (isJson: boolean, told: State) {
  const { ageMillis = null, marker = null, setAside, state } = told
  const output = yield* Output
  if (isJson) {
    const kept = setAside === undefined ? {} : { set_aside: setAside }
    return yield* output.json({ state, marker, age_ms: ageMillis, ...kept })
  }
  const age = ageMillis === null ? "" : `, since ${Math.round(ageMillis / 1000)} s`
  yield* output.line(`${state}${age}`)
  if (typeof setAside === "string") yield* output.line(plain(`the marker is kept as ${setAside}`))
  const lines = marker === null ? [] : marker.trimEnd().split("\n")
  yield* Effect.forEach(lines, (line) => output.line(`  ${plain(line)}`))
})

const status = Command.make(
  "status",
  { ...place, json: Flags.json },
  Effect.fnUntraced(function* (input) {
    const lock = yield* StoreLock.StoreLock
    const now = yield* lock.status(yield* storeAt(input))
    switch (now._tag) {
      case "Free":
        return yield* tell(input.json, { state: "free" })
      case "Hot":
        yield* tell(input.json, { ...now, state: "hot" })
        return yield* found
      case "Stale":
        yield* tell(input.json, { ...now, state: "stale" })
        return yield* found
    }
  })
).pipe(
  Command.withDescription(
    "Whether somebody holds the lock, and what its marker says. Exit code 0: it is free; 1: it is " +
      "hot or stale; 2: it could not run."
  )
)

const quarantine = Command.make(
  "quarantine",
  { ...place, json: Flags.json },
  Effect.fnUntraced(function* (input) {
    const lock = yield* StoreLock.StoreLock
    const setAside = yield* lock.quarantineStale(yield* storeAt(input))
    yield* tell(input.json, { state: "free", setAside: setAside ?? null })
  })
).pipe(
  Command.withDescription(
    "Rename the stale marker of a store that is no ledger, so that it is free."
  )
)

/** The bytes of a small file. */
const bytesOf = Effect.fnUntraced(
  function* (path: string, bytesMax: number) {
    const file = yield* durable.open(path, "r")
    return yield* durable.readRange(file, 0, bytesMax + 1)
  },
  (effect, path) => effect.pipe(Effect.scoped, Effect.mapError(journalError("read", path)))
)

const statementIn = Effect.fnUntraced(function* (path: string) {
  yield* durable.existing(path)
  const bytes = yield* bytesOf(path, Takeover.bytesMax)
  const decoded = Takeover.decode(bytes)
  if (Result.isSuccess(decoded)) return decoded.success
  return yield* new Ending({ code: 1, text: `${path}: ${decoded.failure.message}` })
})

const operatorKey = Flag.String("operator-key").pipe(
  Flag.withMetavar("HEX"),
  Flag.withDescription("The public key of an operator who may take over; as often as need be"),
  Flag.filter(
    (text) => /^[0-9a-f]{64}$/i.test(text),
    () => "64 hex digits"
  ),
  Flag.atLeast(1)
)

/** A key of 64 hex digits as the id of its operator. */
const operatorOf = (key: string): string =>
  Takeover.operatorId(Result.getOrThrow(Hex.decode(key.toLowerCase())))

const takeover = Command.make(
  "takeover",
  {
    ...place,
    statement: Flag.String("statement").pipe(
      Flag.withMetavar("FILE"),
      Flag.withDescription("The signed statement (sealog lock statement)")
    ),
    operatorKey,
    deployment,
    json: Flags.json
  },
  Effect.fnUntraced(function* (input) {
    const lock = yield* StoreLock.StoreLock
    const store = yield* storeAt(input)
    const statement = yield* statementIn(input.statement)
    const operators = input.operatorKey.map(operatorOf)
    const intent = "takeover on the command line"
    const claim = { deployment: input.deployment, operators, intent }
    const { setAside } = yield* Effect.scoped(lock.takeover(store, statement, claim))
    yield* tell(input.json, { state: "free", setAside })
  })
).pipe(
  Command.withDescription(
    "Set a stale marker aside by an operator's signed statement that names it, and free the lock. " +
      "Exit code 0: it is free; 1: the statement is refused, and the marker stays; 2: it could not run."
  )
)

/** The stale marker that a statement would be about. */
const staleMarker = Effect.fnUntraced(function* (input: Place) {
  const lock = yield* StoreLock.StoreLock
  const now = yield* lock.status(yield* storeAt(input))
  if (now._tag === "Stale" && now.parsed !== undefined) return now.parsed
  const text = {
    Free: "the lock is free: there is no marker to take over",
    Hot: "the lock is held: there is no takeover from whoever holds it",
    Stale: "the marker cannot be read: no statement can name it"
  }[now._tag]
  return yield* new Ending({ code: 1, text })
})

const signed = Effect.fnUntraced(function* (
  marker: LockMarker,
  input: { readonly key: string; readonly minutes: number; readonly acceptUnknownHolder: boolean }
) {
  const { publicKey, sign } = yield* Ed25519Keys.fromFile(input.key)
  const now = yield* Clock.currentTimeMillis
  const claims = Takeover.claimsFor(marker, {
    publicKey: yield* Effect.fromResult(Hex.decode(publicKey)),
    notBefore: Timestamp.fromMillis(now),
    notAfter: Timestamp.fromMillis(now + input.minutes * 60_000),
    unknownHolderAccepted: input.acceptUnknownHolder
  })
  const signature = yield* sign(yield* Effect.fromResult(Takeover.signingInput(claims)))
  return yield* Effect.fromResult(Takeover.encode({ ...claims, signature: Hex.encode(signature) }))
})

const statement = Command.make(
  "statement",
  {
    ...place,
    key: Flag.String("key").pipe(
      Flag.withMetavar("FILE"),
      Flag.withDescription("Your private key, as keygen makes it: an Ed25519 seed, mode 0600")
    ),
    minutes: Flags.count("minutes", "minutes", "How long it may be used").pipe(
      Flag.withDefault(60)
    ),
    acceptUnknownHolder: Flags.on(
      "accept-unknown-holder",
      "Go on where a .flock of the original lies beside the marker, held or not"
    )
  },
  Effect.fnUntraced(function* (input) {
    const output = yield* Output
    yield* output.line(yield* signed(yield* staleMarker(input), input))
  })
).pipe(
  Command.withDescription(
    "Sign that the holder a stale marker names is gone, and print the statement. Look first: the " +
      "process must have ended, and what it began must be understood."
  )
)

export const command = Command.make("lock").pipe(
  Command.withDescription("Look at the lock of a store, and get past a stale one"),
  Command.withSubcommands([status, quarantine, takeover, statement])
)
