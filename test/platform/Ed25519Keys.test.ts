import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Logger, References, Tracer } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { inspect } from "node:util"
import * as Ed25519Keys from "../../src/platform/Ed25519Keys.ts"
import { Attestor, KeyInvalid } from "../../src/store/signing/Attestor.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { alice, keyText, smallOrderKeys, unhex } from "../core/signing.ts"

const seed = "1f".repeat(32)
const message = new TextEncoder().encode("a message")

const write = (at: string, bytes: string | Uint8Array, mode = 0o600) => {
  fs.writeFileSync(at, bytes)
  fs.chmodSync(at, mode)
}

const refused = (at: string) =>
  Effect.map(Effect.flip(Ed25519Keys.fromFile(at)), (error) => {
    assert.instanceOf(error, KeyInvalid)
    assert.strictEqual(error.path, at)
    return error.message
  })

describe("a key file", () => {
  it.effect("is 32 bytes, or their hex with or without a line end", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const keys: Array<string> = []
      for (const bytes of [unhex(seed), seed, `${seed}\n`, `${seed.toUpperCase()}\r\n`]) {
        const at = path.join(directory, `key-${keys.length}`)
        write(at, bytes)
        const attestor = yield* Ed25519Keys.fromFile(at)
        const signature = yield* attestor.sign(message)
        assert.isTrue(Ed25519Keys.verify(unhex(attestor.publicKey), message, signature))
        keys.push(attestor.publicKey)
      }
      assert.strictEqual(new Set(keys).size, 1)
      const made = yield* Ed25519Keys.fromSeed(unhex(seed))
      assert.strictEqual(keys[0], made.publicKey)
    })
  )

  it.effect("of another length, mode or kind is refused, and never told", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const at = (name: string) => path.join(directory, name)
      write(at("short"), seed.slice(2))
      write(at("long"), `${seed}${seed}`)
      write(at("spaced"), ` ${seed}`)
      write(at("empty"), "")
      write(at("group"), seed, 0o640)
      write(at("all"), seed, 0o604)
      write(at("good"), seed)
      fs.symlinkSync(at("good"), at("link"))
      fs.mkdirSync(at("folder"))
      const reasons: { readonly [name: string]: string } = {
        short: "neither 32 bytes nor 64 hex digits",
        long: "it has 128 bytes",
        spaced: "neither 32 bytes nor 64 hex digits",
        empty: "neither 32 bytes nor 64 hex digits",
        group: "its mode is 0640",
        all: "its mode is 0604",
        link: "symbolic link",
        folder: "is a directory",
        none: "nothing is there"
      }
      for (const [name, reason] of Object.entries(reasons)) {
        const told = yield* refused(at(name))
        assert.include(told, reason, name)
        assert.notInclude(told, "1f1f", name)
      }
    })
  )

  it.effect("that is made is private, new, and replaces nothing", () =>
    Effect.gen(function* () {
      const at = path.join(yield* TestLedger.directory, "key")
      const made = yield* Ed25519Keys.generate(at)
      assert.strictEqual(fs.statSync(at).mode & 0o777, 0o600)
      const read = yield* Ed25519Keys.fromFile(at)
      assert.strictEqual(read.publicKey, made.publicKey)
      const bytes = fs.readFileSync(at)
      const error = yield* Effect.flip(Ed25519Keys.generate(at))
      assert.include(error.message, "something is there already")
      assert.isTrue(fs.readFileSync(at).equals(bytes))
    })
  )
})

describe("a private key", () => {
  it.effect("stands in no error, cause, stack, log line, span or printed value", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const heard: Array<unknown> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          heard.push(span)
          return span
        }
      })
      const logger = Logger.make((entry) => void heard.push([entry.message, entry.cause]))
      write(path.join(directory, "bad"), `${seed}zz`)
      write(path.join(directory, "good"), seed)
      const good = yield* Ed25519Keys.fromFile(path.join(directory, "good"))
      const work = Effect.gen(function* () {
        for (const name of ["bad", "good", "none"]) {
          const exit = yield* Effect.exit(Ed25519Keys.fromFile(path.join(directory, name)))
          heard.push(exit, Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "")
          yield* Effect.log(exit)
        }
        heard.push(yield* Effect.exit(Ed25519Keys.fromSeed(unhex(`${seed}1f`))))
        heard.push(good, yield* Effect.provide(Attestor, Ed25519Keys.layerSeed(unhex(seed))))
      })
      yield* work.pipe(
        Effect.provideService(Tracer.Tracer, tracer),
        Effect.provide(Logger.layer([logger])),
        Effect.provideService(References.MinimumLogLevel, "All")
      )
      assert.isAbove(heard.length, 8)
      const told = heard.map((each) => inspect(each, { depth: 12, showHidden: true })).join("\n")
      const bytes = Array(8).fill(31).join(", ")
      for (const secret of ["1f1f1f", "1F1F1F", bytes, bytes.replaceAll(" ", ""), "1f 1f 1f"]) {
        assert.notInclude(told, secret)
      }
    })
  )
})

describe("Ed25519Keys", () => {
  it("verify answers false for whatever is no key or signature, and never throws", () => {
    const signature = alice.sign(message)
    const key = unhex(alice.publicKey)
    assert.isTrue(Ed25519Keys.verify(key, message, signature))
    const keys = [...smallOrderKeys, keyText(2n), keyText(2n ** 256n - 1n), "00"].map(unhex)
    for (const other of keys) assert.isFalse(Ed25519Keys.verify(other, message, signature))
    for (const size of [0, 63, 65]) {
      assert.isFalse(Ed25519Keys.verify(key, message, new Uint8Array(size)))
    }
  })

  it.effect("signs with a WebCrypto key that cannot be exported, and with no other", () =>
    Effect.gen(function* () {
      const pair = yield* Effect.promise(() =>
        globalThis.crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"])
      )
      if (!("privateKey" in pair)) throw new Error("no pair")
      const attestor = yield* Effect.provide(Attestor, Ed25519Keys.layerCryptoKey(pair))
      const signature = yield* attestor.sign(message)
      assert.isTrue(Ed25519Keys.verify(unhex(attestor.publicKey), message, signature))
      const ecdsa = yield* Effect.promise(() =>
        globalThis.crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, [
          "sign"
        ])
      )
      if (!("privateKey" in ecdsa)) throw new Error("no pair")
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(Ed25519Keys.layerCryptoKey(ecdsa))))
      assert.isTrue(Exit.isFailure(exit))
    })
  )
})
