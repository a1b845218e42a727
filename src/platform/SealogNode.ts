/**
 * Everything wired, for Node and Deno: one layer from a directory to an open ledger.
 *
 *   home (directories, guard) -> mirror.sqlite (two connections) -> ledger and reader
 *
 * The guard is taken before the mirror is opened and let go after it is closed. Where nothing can
 * be written, the ledger opens for reading, and the mirror as a file that does not change.
 */
import * as NodeFiles from "./NodeFiles.ts"
import * as NodePath from "@effect/platform-node/NodePath"
import * as fs from "node:fs"
import { Context, Effect, FileSystem, Layer, Path, Result } from "effect"
import { SecureRandom, Signature } from "effect/crypto"
import { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import type { Operation, Request } from "../core/Operation.ts"
import { lineBytesMaxDefault } from "../core/Segment.ts"
import * as Diagnosis from "../store/upkeep/Diagnosis.ts"
import type { RepairPlan } from "../store/upkeep/Diagnosis.ts"
import { mirrorError, unwritableBecause } from "../store/errors.ts"
import type { JournalError, MirrorError } from "../store/errors.ts"
import type { Guard } from "../store/locking/Guard.ts"
import type { Process } from "../store/locking/Marker.ts"
import * as HomeModule from "../store/journal/Home.ts"
import { Home } from "../store/journal/Home.ts"
import { Attestor, CurrentVerify } from "../store/signing/Attestor.ts"
import * as Journal from "../store/journal/Journal.ts"
import type { Location } from "../store/journal/Layout.ts"
import * as Layout from "../store/journal/Layout.ts"
import * as Ledger from "../store/Ledger.ts"
import * as Mirror from "../store/mirror/Mirror.ts"
import type { Reader } from "../store/reading/Reader.ts"
import { ReadSql } from "../store/mirror/ReadSql.ts"
import * as Repair from "../store/upkeep/Repair.ts"
import * as StoreLockModule from "../store/locking/StoreLock.ts"
import type { StoreLock } from "../store/locking/StoreLock.ts"
import type { AnyView, Services, Views } from "../store/views/Views.ts"
import * as Ed25519Keys from "./Ed25519Keys.ts"
import { steady } from "../store/verifying/steady.ts"
import * as FastHashes from "./FastHashes.ts"
import * as OsLock from "./OsLock.ts"
import * as OsProcess from "./OsProcess.ts"
import * as SqliteClient from "./SqliteClient.ts"

/** Files, paths, locks, this process, randomness, fast hashes and signatures of the running system. */
export const layerPlatform: Layer.Layer<
  FileSystem.FileSystem | Path.Path | Guard | Process | StoreLock | SecureRandom.SecureRandom
> = Layer.fresh(StoreLockModule.layer).pipe(
  Layer.provide(Signature.layerWebCrypto),
  Layer.provideMerge(
    Layer.mergeAll(
      NodeFiles.layer,
      NodePath.layer,
      OsLock.layer,
      OsProcess.layer,
      SecureRandom.layerWebCrypto,
      Layer.effect(Ledger.CurrentHashes, FastHashes.make),
      Ed25519Keys.layerVerify
    )
  )
)

/** Whether commits lie in a log beside the file, which it would be read without. */
const hasLog = (filename: string): boolean =>
  (fs.statSync(`${filename}-wal`, { throwIfNoEntry: false })?.size ?? 0) > 0

/** A mirror that cannot be written: as others may be changing it, or as a file that lies still. */
const readOnly = (filename: string) => {
  const asItLies = SqliteClient.layerReadOnly({ filename, immutable: true })
  const probe = Layer.effectDiscard(
    Effect.flatMap(ReadSql, (sql) => sql`SELECT count(*) FROM sqlite_schema`)
  )
  return probe.pipe(
    Layer.provideMerge(SqliteClient.layerReadOnly({ filename })),
    Layer.catch((error) =>
      // Someone who holds it for a moment is changing it.
      error.reason._tag === "LockTimeoutError" || hasLog(filename)
        ? Layer.effectContext(Effect.fail(error))
        : asItLies
    )
  )
}

const asMirrorError = <A, R>(layer: Layer.Layer<A, SqlError, R>): Layer.Layer<A, MirrorError, R> =>
  Layer.catch(layer, (error) => Layer.effectContext(Effect.fail(mirrorError("open")(error))))

/**
 * The committed rows of a mirror that someone else may be writing; where its directory cannot be
 * written, the file as it lies. Nothing of it is changed.
 */
export const layerMirrorReadOnly = (
  filename: string
): Layer.Layer<SqlClient.SqlClient | ReadSql, MirrorError> => asMirrorError(readOnly(filename))

/** How the mirror's file is opened, given its path: for writing, or for reading only. */
export interface OpenMirror {
  readonly writing: (path: string) => Layer.Layer<SqlClient.SqlClient | ReadSql, SqlError>
  readonly reading: (path: string) => Layer.Layer<SqlClient.SqlClient | ReadSql, SqlError>
}

const openMirror: OpenMirror = {
  // Its log is moved into the file behind the answers, not before them.
  writing: (filename) => SqliteClient.layer({ filename, autocheckpointPages: 0 }),
  reading: readOnly
}

/** The mirror at home; where it cannot be written, the home is one for reading. */
const layerMirror = (
  open: OpenMirror
): Layer.Layer<SqlClient.SqlClient | ReadSql | Home, MirrorError, Home> =>
  Layer.unwrap(
    Effect.map(Home, (home) => {
      const filename = home.layout.mirror
      const forReading = (mode: HomeModule.Mode) =>
        Layer.merge(asMirrorError(open.reading(filename)), Layer.succeed(Home, { ...home, mode }))
      if (home.mode._tag === "ReadOnly") return forReading(home.mode)
      return Layer.merge(asMirrorError(open.writing(filename)), Layer.succeed(Home, home)).pipe(
        Layer.catch((error) => {
          const reason = home.identity === undefined ? undefined : unwritableBecause(error)
          return reason === undefined
            ? Layer.effectContext(Effect.fail(error))
            : forReading({ _tag: "ReadOnly", reason })
        })
      )
    })
  )

/**
 * As `layer`, over files, guard and randomness that the caller brings: a test's, or another system's.
 * `mirror` says how its file is opened where that is not as `SqliteClient` does it. With an Attestor
 * the ledger is a signed one.
 */
export const layerOver = <
  Rs extends ReadonlyArray<unknown> = readonly [],
  Vs extends ReadonlyArray<AnyView> = readonly []
>(
  options: Ledger.Options<Rs, Vs> & Location,
  mirror: OpenMirror = openMirror,
  attestor?: Attestor["Service"]
): Layer.Layer<
  Ledger.Ledger | Reader | Views,
  Ledger.OpenError,
  | FileSystem.FileSystem
  | Path.Path
  | Guard
  | Process
  | SecureRandom.SecureRandom
  | Rs[number]
  | Services<Vs[number]>
> =>
  Ledger.layerHome(options, attestor).pipe(
    // Each ledger has a mirror of its own; a layer by itself is one for the whole program.
    Layer.provide(Layer.fresh(layerMirror(mirror))),
    Layer.provide(HomeModule.layer(options)),
    Layer.provide(Ledger.layerBrought(options))
  )

/**
 * A ledger in a directory, or in one file that Cortex reads (`{ file }`), open until the scope of
 * the layer closes. Asks for nothing but what its rules ask for. Two layers of one ledger exclude
 * each other, in one process and between processes: the second fails with `StoreBusy`.
 */
export const layer = <
  Rs extends ReadonlyArray<unknown> = readonly [],
  Vs extends ReadonlyArray<AnyView> = readonly []
>(
  options: Ledger.Options<Rs, Vs> & Location
): Layer.Layer<
  Ledger.Ledger | Reader | Views,
  Ledger.OpenError,
  Rs[number] | Services<Vs[number]>
> => Layer.provide(layerOver<Rs, Vs>(options), layerPlatform)

/**
 * As `layer`, of a ledger whose rows are signed by the Attestor in scope: see `Ed25519Keys` for one
 * over a key file, or give the service yourself. Once a row is signed, all that follow must be.
 */
export const layerSigned = <
  Rs extends ReadonlyArray<unknown> = readonly [],
  Vs extends ReadonlyArray<AnyView> = readonly []
>(
  options: Ledger.Options<Rs, Vs> & Location
): Layer.Layer<
  Ledger.Ledger | Reader | Views,
  Ledger.OpenError,
  Attestor | Rs[number] | Services<Vs[number]>
> =>
  Layer.unwrap(
    Effect.map(Attestor, (attestor) => layerOver<Rs, Vs>(options, openMirror, attestor))
  ).pipe(Layer.provide(layerPlatform))

/**
 * Readers of a ledger that someone else may be writing: no guard, no change to any file of it. For
 * them the ledger ends at the newest row that the mirror has committed.
 */
export const layerReader = (
  options: Ledger.Settings & Location
): Layer.Layer<
  Reader,
  JournalError | MirrorError | HomeModule.FormatUnknown | HomeModule.NotALedger
> =>
  Ledger.layerReader(options).pipe(
    Layer.provide(
      Layer.unwrap(
        Effect.gen(function* () {
          const layout = Layout.of(yield* Path.Path, options)
          // Before SQLite makes its notes beside the mirror: what it is must be known.
          yield* HomeModule.readExisting(layout)
          return layerMirrorReadOnly(layout.mirror)
        })
      )
    ),
    Layer.provide(layerPlatform)
  )

/** Where the ledger of a plan lies. */
const locationOf = ({ isFile, ledger }: RepairPlan): Location =>
  isFile ? { file: ledger } : { directory: ledger }

/** Committed rows of a mirror for a diagnosis; one that cannot be read is a finding. */
const lookInto = Effect.fnUntraced(function* (mirror: OpenMirror, layout: Layout.Layout) {
  const fs = yield* FileSystem.FileSystem
  const isThere = yield* Effect.orElseSucceed(fs.exists(layout.mirror), () => false)
  const opened = yield* Effect.result(Layer.build(mirror.reading(layout.mirror)))
  if (Result.isSuccess(opened)) {
    const sql = Context.get(opened.success, ReadSql)
    const settled = yield* Effect.result(Mirror.settled(sql))
    if (Result.isSuccess(settled)) return { sql, isMirrorUnreadable: false }
  }
  return { sql: undefined, isMirrorUnreadable: isThere }
})

/**
 * What opening a ledger is told and a diagnosis has to know: a line that opening would read is no
 * damage, and where neither mirror nor checkpoint says whose the rows are, the key does.
 */
export type LookSettings = Pick<Ledger.Settings, "lineBytesMax" | "publicKey">

/** What is looked at, and through what. */
const groundOf = Effect.fnUntraced(function* (
  layout: Layout.Layout,
  identity: HomeModule.Identity | undefined,
  { lineBytesMax = lineBytesMaxDefault, publicKey }: LookSettings,
  mirror: OpenMirror
) {
  Ledger.checkSizes({ lineBytesMax, publicKey })
  const ledgerId = HomeModule.signedName(yield* Path.Path, layout, identity)
  const verify = yield* CurrentVerify
  return {
    journal: yield* Journal.makeReader(layout, { lineBytesMax }),
    hashes: yield* Ledger.CurrentHashes,
    judging: { ledgerId, verify, publicKey },
    ...(yield* lookInto(mirror, layout))
  } satisfies Diagnosis.Ground
})

/** As `diagnose`, over what the caller brings. */
export const diagnoseOver = Effect.fnUntraced(function* (
  options: LookSettings & Location,
  mirror: OpenMirror = openMirror
) {
  const layout = Layout.of(yield* Path.Path, options)
  const identity = yield* HomeModule.readIdentity(layout)
  const look = Diagnosis.diagnose(yield* groundOf(layout, identity, options, mirror))
  return yield* steady(layout, look, ({ isNeeded }) => !isNeeded)
}, Effect.scoped)

/** What a repair is told: the same as its diagnosis was, and what its marker calls the deployment. */
export type RepairSettings = LookSettings & Pick<Ledger.Settings, "deployment">

/** As `repair`, over what the caller brings. */
export const repairOver = Effect.fnUntraced(function* (
  plan: RepairPlan,
  request: Request,
  mirror: OpenMirror = openMirror,
  settings: RepairSettings = {}
) {
  const { deployment } = settings
  const { identity, layout, marker } = yield* HomeModule.make({ ...locationOf(plan), deployment })
  const ground = yield* groundOf(layout, identity, settings, mirror)
  const writing =
    ground.sql === undefined
      ? undefined
      : Context.get(
          yield* Layer.build(asMirrorError(mirror.writing(layout.mirror))),
          SqlClient.SqlClient
        )
  return yield* Repair.repair({ ...ground, writing, marker }, plan, request)
}, Effect.scoped)

/** Why a ledger cannot be looked at, or repaired. */
export type RepairError = Repair.RepairError | HomeModule.HomeError

/**
 * Why opening refuses a ledger, and what a repair would do about it. Takes no guard and changes
 * nothing; where there is nothing to repair the plan says so. Tell it what opening is told: a limit
 * of lines that is not the default, and the key of a signed ledger.
 */
export const diagnose: (
  options: LookSettings & Location
) => Effect.Effect<
  RepairPlan,
  JournalError | MirrorError | HomeModule.FormatUnknown | HomeModule.NotALedger
> = Effect.fn("SealogNode.diagnose")((options: LookSettings & Location) =>
  Effect.provide(diagnoseOver(options), layerPlatform)
)

/**
 * Carry out a plan that `diagnose` has shown, under the ledger's guard. Everything that is set aside
 * is kept in the folder of the operation that is answered; open the ledger afterwards. The settings
 * are those of the diagnosis: with others the plan is another one, and refused.
 */
export const repair: (
  plan: RepairPlan,
  request: Request,
  settings?: RepairSettings
) => Effect.Effect<Operation, RepairError> = Effect.fn("SealogNode.repair")(
  (plan: RepairPlan, request: Request, settings?: RepairSettings) =>
    Effect.provide(repairOver(plan, request, openMirror, settings), layerPlatform)
)
