/**
 * A real ledger for tests: real files and real SQLite, while time and ids are the test's.
 *
 * Time comes from Effect's Clock, so under `TestClock` it stands still until it is adjusted. Ids
 * come from a generator with a seed: the same test makes the same ledger, bit for bit.
 */
import type { Path } from "effect"
import { Effect, FileSystem, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import type { Attestor } from "../store/signing/Attestor.ts"
import type { Guard } from "../store/locking/Guard.ts"
import type { Location } from "../store/journal/Layout.ts"
import type * as Ledger from "../store/Ledger.ts"
import type { Process } from "../store/locking/Marker.ts"
import type { Reader } from "../store/reading/Reader.ts"
import type { AnyView, Services, Views } from "../store/views/Views.ts"
import * as SealogNode from "../platform/SealogNode.ts"
import type { FaultyDisk } from "./FaultyDisk.ts"
import { seededRandom } from "./seededRandom.ts"

/** What `SealogNode.layerPlatform` gives, with ids from a seed. */
export const layerPlatform = (
  seed = 1
): Layer.Layer<FileSystem.FileSystem | Path.Path | Guard | Process | SecureRandom.SecureRandom> =>
  Layer.merge(
    SealogNode.layerPlatform,
    Layer.effect(
      SecureRandom.SecureRandom,
      Effect.sync(() => seededRandom(seed))
    )
  )

/** Where the ledger of a disk lies unless its options say otherwise. */
const directoryOfDisk = "/ledger"

/** What a test's ledger may be given. */
export type Options<
  Rs extends ReadonlyArray<unknown> = readonly [],
  Vs extends ReadonlyArray<AnyView> = readonly []
> = Ledger.Options<Rs, Vs> & {
  /** What ids are made from; a disk has its own. */
  readonly seed?: number | undefined
  /** Who signs its rows; a ledger without one is unsigned. */
  readonly attestor?: Attestor["Service"] | undefined
} & (
    | (Location & { readonly disk?: undefined })
    | (Partial<Location> & {
        /** The disk it lies on, at `/ledger` where no place is named. */
        readonly disk: FaultyDisk
      })
  )

/** A ledger whose ids come from a seed; otherwise as `SealogNode.layer`. */
export const layer = <
  Rs extends ReadonlyArray<unknown> = readonly [],
  Vs extends ReadonlyArray<AnyView> = readonly []
>(
  options: Options<Rs, Vs>
): Layer.Layer<
  Ledger.Ledger | Reader | Views,
  Ledger.OpenError,
  Rs[number] | Services<Vs[number]>
> => {
  const { attestor, disk } = options
  if (disk === undefined) {
    return Layer.provide(
      SealogNode.layerOver<Rs, Vs>(options, undefined, attestor),
      Layer.fresh(layerPlatform(options.seed))
    )
  }
  const location: Location =
    "file" in options && options.file !== undefined
      ? { file: options.file }
      : { directory: ("directory" in options ? options.directory : undefined) ?? directoryOfDisk }
  return Layer.provide(
    SealogNode.layerOver<Rs, Vs>({ ...options, ...location }, disk.openMirror, attestor),
    Layer.fresh(Layer.merge(SealogNode.layerPlatform, disk.platform))
  )
}

/** A directory of its own, removed with the scope. */
export const directory = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  return yield* fs.makeTempDirectoryScoped({ prefix: "sealog-" })
}).pipe(Effect.provide(SealogNode.layerPlatform))
