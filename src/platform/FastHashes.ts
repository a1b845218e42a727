// The hashes of `core/Hashes` from faster hands: SHA-256 from the runtime's own crypto, BLAKE3
// from WebAssembly that lies inside the package hash-wasm. Digests are the same, byte for byte;
// a row does not tell which of the two made it.

import { Effect } from "effect"
import { createBLAKE3 } from "hash-wasm"
import { hash } from "node:crypto"
import type { Hashes } from "../core/Hashes.ts"

/**
 * Compiles the WebAssembly, a few milliseconds, once per process; after that all calls are
 * synchronous. Dies where the runtime was started without WebAssembly: use `Hashes.noble` there.
 */
export const make: Effect.Effect<Hashes> = Effect.map(
  Effect.promise(() => createBLAKE3()),
  (blake3) => ({
    // One hasher serves all: each call starts it anew and is done before it returns.
    blake3Hex: (data) => blake3.init().update(data).digest("hex"),
    sha256Hex: (data) => hash("sha256", data, "hex")
  })
)
