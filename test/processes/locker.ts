/**
 * A process that takes the store lock of its argument, says how that went in one line of JSON, and
 * holds what it got until its input ends.
 */
import * as NodePath from "@effect/platform-node/NodePath"
import { Effect, Layer } from "effect"
import { SecureRandom, Signature } from "effect/crypto"
import * as NodeFiles from "../../src/platform/NodeFiles.ts"
import * as OsLock from "../../src/platform/OsLock.ts"
import * as OsProcess from "../../src/platform/OsProcess.ts"
import * as StoreLock from "../../src/store/locking/StoreLock.ts"

const [directory = "", name = ""] = process.argv.slice(2)

const inputEnd = Effect.callback<void>((resume) => {
  process.stdin.once("end", () => resume(Effect.void)).resume()
})

const say = (value: unknown) => Effect.sync(() => console.log(JSON.stringify(value)))

// Not all of the platform, which takes longer to load.
const locks = StoreLock.layer.pipe(
  Layer.provide(Layer.provide(Signature.layerWebCrypto, SecureRandom.layerWebCrypto)),
  Layer.provide(Layer.mergeAll(NodeFiles.layer, NodePath.layer, OsLock.layer, OsProcess.layer))
)

const claim = { operator: "operator:child", deployment: "prod-1", intent: "restore of monday" }

await Effect.runPromise(
  StoreLock.StoreLock.use((lock) =>
    lock.exclusively(StoreLock.store({ directory, name }), claim, ({ marker }) =>
      Effect.andThen(say({ _tag: "Held", marker }), inputEnd)
    )
  ).pipe(
    Effect.catch((error) => say({ ...error, _tag: error._tag })),
    Effect.provide(locks)
  )
)
