/** What the tests of locks share: stores, claims, keys, statements and processes that are not ours. */
import * as crypto from "node:crypto"
import * as path from "node:path"
import { Effect, Layer, Result } from "effect"
import { Signature } from "effect/crypto"
import type { LockMarker } from "../../src/core/LockMarker.ts"
import * as Takeover from "../../src/core/Takeover.ts"
import * as Timestamp from "../../src/core/Timestamp.ts"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import * as StoreLock from "../../src/store/locking/StoreLock.ts"

/** A process that never was. */
export const somebody = { pid: 4711, host: "build-7" }

/** Locks of a process of its own making, on the disk of this one; each call is a layer of its own. */
export const locks = (process: StoreLock.Process["Service"] = somebody) =>
  Layer.fresh(
    StoreLock.layer.pipe(
      Layer.provide(Signature.layerWebCrypto),
      Layer.provide(Layer.succeed(StoreLock.Process, process)),
      Layer.provide(SealogNode.layerPlatform)
    )
  )

export const inDirectory = (directory: string) => StoreLock.store({ directory, name: "books.lock" })

export const claim: StoreLock.Claim = {
  operator: "operator:ada",
  deployment: "prod-1",
  intent: "restore of monday"
}

/** An Ed25519 key from a seed: the DER around the bytes is always the same. */
export const keyOf = (seed: number) => {
  const pkcs8 = Buffer.from("302e020100300506032b657004220420", "hex")
  const der = Buffer.concat([pkcs8, Buffer.alloc(32, seed)])
  const privateKey = crypto.createPrivateKey({ key: der, format: "der", type: "pkcs8" })
  const spki = crypto.createPublicKey(privateKey).export({ format: "der", type: "spki" })
  return { privateKey, publicKey: new Uint8Array(spki.subarray(-32)) }
}

export const ada = keyOf(1)
export const adaId = Takeover.operatorId(ada.publicKey)

/** A statement about a marker, good for all times that a test may have, but for the changes. */
export const statementOf = (
  marker: LockMarker,
  changes: Partial<Takeover.Claims> = {},
  key = ada
): Takeover.Statement => {
  const claims = {
    ...Takeover.claimsFor(marker, {
      publicKey: key.publicKey,
      notBefore: Timestamp.fromMillis(-8_000_000_000_000),
      notAfter: Timestamp.fromMillis(8_000_000_000_000),
      unknownHolderAccepted: false
    }),
    ...changes
  }
  const input = Result.getOrThrow(Takeover.signingInput(claims))
  return { ...claims, signature: crypto.sign(null, input, key.privateKey).toString("hex") }
}

export const takeoverClaim = {
  deployment: "prod-1",
  operators: [adaId],
  intent: "restore of monday, again"
}

/** Leave a stale marker behind, as a holder does that keeps it as evidence. */
export const leave = (store: StoreLock.Store, by: Partial<StoreLock.Claim> = {}) =>
  StoreLock.StoreLock.use((lock) =>
    lock.exclusively(store, { ...claim, ...by }, (held) => Effect.as(held.keepAsEvidence, held))
  ).pipe(
    Effect.map(({ marker }) => marker),
    Effect.provide(locks())
  )

export const markerIn = (directory: string) => path.join(directory, "books.lock")
