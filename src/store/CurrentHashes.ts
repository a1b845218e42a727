/**
 * The hash functions that are used; plain code where nothing faster is given.
 */
import { Context } from "effect"
import * as Hashes from "../core/Hashes.ts"

/** The hash functions that are used; plain code where nothing faster is given. */
export const CurrentHashes: Context.Reference<Hashes.Hashes> = Context.Reference("sealog/Hashes", {
  defaultValue: () => Hashes.noble
})
