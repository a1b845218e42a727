/**
 * A real ledger for tests: real files and real SQLite, while time and ids are the test's.
 *
 * Time comes from Effect's Clock, so under `TestClock` it stands still until it is adjusted. Ids
 * come from a generator with a seed: the same test makes the same ledger, bit for bit.
 */
import type { Path } from "effect"
import { Effect, FileSystem, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import type { Guard } from "../store/Guard.ts"
import type { Location } from "../store/Layout.ts"
import type * as Ledger from "../store/Ledger.ts"
import type { Reader } from "../store/Reader.ts"
import * as SealogNode from "../platform/SealogNode.ts"

/** Bytes from a seed (xorshift32): the same seed, the same ids. Never for secrets. */
export const seededRandom = (seed: number): SecureRandom.SecureRandom["Service"] => {
  let state = seed >>> 0 || 0x9e3779b9
  return SecureRandom.make((size) => {
    const bytes = new Uint8Array(size)
    for (let i = 0; i < size; i++) {
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
      bytes[i] = state & 0xff
    }
    return bytes
  })
}

/** What `SealogNode.layerPlatform` gives, with ids from a seed. */
export const layerPlatform = (
  seed = 1
): Layer.Layer<FileSystem.FileSystem | Path.Path | Guard | SecureRandom.SecureRandom> =>
  Layer.merge(
    SealogNode.layerPlatform,
    Layer.effect(
      SecureRandom.SecureRandom,
      Effect.sync(() => seededRandom(seed))
    )
  )

/** A ledger whose ids come from a seed; otherwise as `SealogNode.layer`. */
export const layer = <Rs extends ReadonlyArray<unknown> = readonly []>(
  options: Ledger.Options<Rs> & Location & { readonly seed?: number | undefined }
): Layer.Layer<Ledger.Ledger | Reader, Ledger.OpenError, Rs[number]> =>
  Layer.provide(SealogNode.layerOver<Rs>(options), Layer.fresh(layerPlatform(options.seed)))

/** A directory of its own, removed with the scope. */
export const directory = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  return yield* fs.makeTempDirectoryScoped({ prefix: "sealog-" })
}).pipe(Effect.provide(SealogNode.layerPlatform))
