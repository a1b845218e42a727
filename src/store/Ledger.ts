/**
 * The ledger: one open history, written by one writer, read by any number of readers.
 *
 * `append` takes a draft through the whole pipeline: policy, then as part of a group ask, seal,
 * mirror, settle, journal, commit, answer. What it answers is durable in both legs. Opening
 * recovers what may be recovered and refuses the rest by name; closing lets the group under way
 * settle. The guard is held as long as the ledger is open: two writers never share one.
 */
import type { FileSystem } from "effect"
import { Context, Effect, Layer, Path, Result } from "effect"
import type { SecureRandom } from "effect/crypto"
import type { SqlClient } from "effect/sql"
import * as Attestation from "../core/Attestation.ts"
import * as Segment from "../core/Segment.ts"
import type { VerifyReport } from "../core/VerifyReport.ts"
import { Attestor, CurrentVerify } from "./signing/Attestor.ts"
import { CurrentHashes } from "./CurrentHashes.ts"
import * as DeclaredViews from "./views/DeclaredViews.ts"
import * as durable from "./journal/durable.ts"
import type { JournalError, MirrorError } from "./errors.ts"
import { unwritableBecause } from "./errors.ts"
import type { Guard } from "./locking/Guard.ts"
import * as HomeModule from "./journal/Home.ts"
import { Home } from "./journal/Home.ts"
import * as Journal from "./journal/Journal.ts"
import type { Location } from "./journal/Layout.ts"
import * as Layout from "./journal/Layout.ts"
import type { OpenError, Settings } from "./LedgerService.ts"
import { Ledger } from "./LedgerService.ts"
import type { Process } from "./locking/Marker.ts"
import * as OlderMirror from "./mirror/OlderMirror.ts"
import { open, openReadOnly } from "./opening/openLedger.ts"
import * as PolicyGate from "./writing/PolicyGate.ts"
import { Reader } from "./reading/Reader.ts"
import * as Reading from "./reading/Reading.ts"
import { isIntact } from "./reading/Reading.ts"
import { ReadSql } from "./mirror/ReadSql.ts"
import { steady } from "./verifying/steady.ts"
import * as Verify from "./verifying/Verify.ts"
import * as VerifyPart from "./verifying/VerifyPart.ts"
import type { AnyView, Services } from "./views/Views.ts"
import { Views } from "./views/Views.ts"

export { CurrentHashes } from "./CurrentHashes.ts"
export { decide } from "./writing/Deciding.ts"
export type { Decision } from "./writing/Deciding.ts"
export type { Expectation } from "./writing/Expectation.ts"
export { headAt, noneSince } from "./writing/Expectation.ts"
export { hasSidecar, sidecarPath } from "./journal/Home.ts"
export { Ledger } from "./LedgerService.ts"
export type { OpenError, Settings } from "./LedgerService.ts"

type Files = FileSystem.FileSystem | Path.Path

/**
 * Open the ledger of the `Home` in scope, for writing or, where it says so, for reading only. With an
 * Attestor its rows are signed.
 */
export const make = Effect.fnUntraced(function* (
  settings: Settings,
  attestor?: Attestor["Service"]
) {
  checkSizes(settings)
  const { identity, mode } = yield* Home
  if (mode._tag === "ReadOnly") return yield* openReadOnly(settings, mode.reason)
  return yield* open(settings, attestor).pipe(
    Effect.catchTag(["JournalError", "MirrorError", "LockError"], (error) => {
      const reason = identity === undefined ? undefined : unwritableBecause(error)
      return reason === undefined ? Effect.fail(error) : openReadOnly(settings, reason)
    })
  )
})

/** All services over a `Home` that was prepared already; with an Attestor, of a signed ledger. */
export const layerHome = (
  settings: Settings,
  attestor?: Attestor["Service"]
): Layer.Layer<
  Ledger | Reader | Views,
  OpenError,
  Home | Files | SecureRandom.SecureRandom | SqlClient.SqlClient | ReadSql | PolicyGate.PolicyGate
> =>
  Layer.effectContext(
    Effect.map(make(settings, attestor), ({ ledger, views }) =>
      Context.make(Ledger, ledger).pipe(
        Context.add(Reader, Reader.of(ledger)),
        Context.add(Views, views)
      )
    )
  )

/** A reader of the ledger at a location, over the committed rows that `ReadSql` sees. */
export const layerReader = (
  options: Settings & Location
): Layer.Layer<
  Reader,
  JournalError | HomeModule.FormatUnknown | HomeModule.NotALedger,
  Files | ReadSql
> =>
  Layer.effect(
    Reader,
    Effect.gen(function* () {
      const paths = yield* Path.Path
      const sql = yield* ReadSql
      const hashes = yield* CurrentHashes
      const lineBytesMax = options.lineBytesMax ?? Segment.lineBytesMaxDefault
      const layout = Layout.of(paths, options)
      const identity = yield* HomeModule.readIdentity(layout)
      const journal = yield* Journal.makeReader(layout, { lineBytesMax })
      const ledgerId = HomeModule.signedName(paths, layout, identity)
      const { reading } = yield* Reading.make(journal, sql, hashes, ledgerId)
      return Reader.of(OlderMirror.reader(reading, sql))
    })
  )

/** A size that is none is a broken precondition: found when the ledger opens, not when it fills. */
export const checkSizes = (settings: Settings): void => {
  const { askMillisMax, checkpointEveryRows, groupRowsMax, lineBytesMax } = settings
  const { segmentBytesMax, signMillisMax } = settings
  const sizes = {
    askMillisMax,
    checkpointEveryRows,
    groupRowsMax,
    lineBytesMax,
    segmentBytesMax,
    signMillisMax
  }
  for (const [name, size] of Object.entries(sizes)) {
    if (size !== undefined && !(Number.isSafeInteger(size) && size > 0)) {
      throw new RangeError(`${name} must be a whole number above 0, not ${size}`)
    }
  }
  if (settings.publicKey !== undefined) {
    Result.getOrThrow(Attestation.genesis(settings.publicKey))
  }
}

/** Settings, the place, the rules that vote, and the views. */
export interface Options<
  Rs extends ReadonlyArray<unknown> = readonly [],
  Vs extends ReadonlyArray<AnyView> = readonly []
> extends Settings {
  readonly rules?: PolicyGate.Rules<Rs> | undefined
  /** Tables folded from the events: see `View` and `Views.effect`. */
  readonly views?: Vs | undefined
}

/** What the application brings to a ledger, as services of its own. */
export const layerBrought = <Rs extends ReadonlyArray<unknown>, Vs extends ReadonlyArray<AnyView>>({
  askMillisMax,
  rules,
  views
}: Options<Rs, Vs>): Layer.Layer<PolicyGate.PolicyGate, never, Rs[number] | Services<Vs[number]>> =>
  Layer.merge(
    PolicyGate.layer<Rs[number]>(rules ?? [], askMillisMax),
    DeclaredViews.layer(views, askMillisMax)
  )

/**
 * The ledger at a location, over whatever SQL client is in scope: `SqlClient` for the writer,
 * `ReadSql` for everyone else. `SealogNode.layer` brings both, and the rest.
 */
export const layer = <
  Rs extends ReadonlyArray<unknown> = readonly [],
  Vs extends ReadonlyArray<AnyView> = readonly []
>(
  options: Options<Rs, Vs> & Location
): Layer.Layer<
  Ledger | Reader | Views,
  OpenError,
  | Files
  | Guard
  | Process
  | SecureRandom.SecureRandom
  | SqlClient.SqlClient
  | ReadSql
  | Rs[number]
  | Services<Vs[number]>
> =>
  layerHome(options).pipe(
    Layer.provide(HomeModule.layer(options)),
    Layer.provide(layerBrought(options))
  )

/**
 * Verify the rows of a file that an operation has cut, by itself. Damage is an answer. Signatures are
 * checked where `signatures` says whose they have to be.
 */
export const verifyPart = Effect.fnUntraced(function* (
  file: string,
  options: Pick<Verify.VerifyOptions, "failuresMax"> & {
    readonly lineBytesMax?: number
    readonly signatures?: VerifyPart.Signed | undefined
  } = {}
) {
  const hashes = yield* CurrentHashes
  const lineBytesMax = options.lineBytesMax ?? Segment.lineBytesMaxDefault
  const verify = yield* CurrentVerify
  return yield* VerifyPart.part(file, hashes, { ...options, lineBytesMax, verify })
})

/**
 * As `layer`, of a ledger whose rows are signed by the Attestor in scope. From its first signed row
 * on every row must be; rows that were there before stay unsigned.
 */
export const layerSigned = <
  Rs extends ReadonlyArray<unknown> = readonly [],
  Vs extends ReadonlyArray<AnyView> = readonly []
>(
  options: Options<Rs, Vs> & Location
) =>
  Layer.unwrap(Effect.map(Attestor, (attestor) => layerHome(options, attestor))).pipe(
    Layer.provide(HomeModule.layer(options)),
    Layer.provide(layerBrought(options))
  )

/** Why files could not be verified at all; damage is an answer instead. */
export type VerifyError =
  | JournalError
  | MirrorError
  | HomeModule.FormatUnknown
  | HomeModule.NotALedger
  | Attestation.PublicKeyInvalid

/** Verify a ledger's files, or one JSONL file, without opening: no guard, no mirror, no change. */
export const verify = Effect.fnUntraced(function* (
  location: Location,
  options: Omit<Verify.VerifyOptions, "ledgerId" | "verify"> & {
    readonly lineBytesMax?: number | undefined
  } = {}
): Effect.fn.Return<VerifyReport, VerifyError, Files> {
  const paths = yield* Path.Path
  const hashes = yield* CurrentHashes
  const lineBytesMax = options.lineBytesMax ?? Segment.lineBytesMaxDefault
  // A file that is not there has no rows, and would be found intact.
  if ("file" in location) yield* durable.existing(location.file)
  const layout = Layout.of(paths, location)
  const identity = yield* HomeModule.readIdentity(layout)
  const journal = yield* Journal.makeReader(layout, { lineBytesMax })
  const ledgerId = HomeModule.signedName(paths, layout, identity)
  const verify = yield* CurrentVerify
  const look = Verify.journal(journal, hashes, { ...options, ledgerId, verify })
  const verified = steady(layout, look, isIntact)
  return yield* options.sql === undefined ? verified : OlderMirror.explained(options.sql)(verified)
})
