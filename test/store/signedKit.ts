/** What the tests of signed ledgers share: signers, a clock that is told the time, and sound looks. */
import { assert } from "@effect/vitest"
import { Clock, Effect } from "effect"
import * as path from "node:path"
import * as Ed25519Keys from "../../src/platform/Ed25519Keys.ts"
import type { Attestor } from "../../src/store/signing/Attestor.ts"
import type { Ledger } from "../../src/store/Ledger.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { alice } from "../core/signing.ts"
import type { LedgerOptions } from "./ledgerFixtures.ts"
import * as Fixtures from "./ledgerFixtures.ts"

export type Signer = Attestor["Service"]

/** A key of this process. */
export const keyOf = (fill: number): Signer =>
  Effect.runSync(Ed25519Keys.fromSeed(new Uint8Array(32).fill(fill)))

/** The keys of alice, bob and carol. */
export const [own, next, other] = [keyOf(1), keyOf(2), keyOf(3)]

/** A signer far away, who signs as alice or as it is told, and has a name for her key. */
export const remote = (
  sign: Signer["sign"] = (bytes) => Effect.sync(() => alice.sign(bytes)),
  keyId = "kms://alice"
): Signer => ({ keyId, publicKey: alice.publicKey, sign })

/** Run a body on a ledger that is signed where an Attestor is named. */
export const using = <A, E, R>(
  options: LedgerOptions & { readonly attestor?: Signer | undefined },
  body: (ledger: Ledger["Service"]) => Effect.Effect<A, E, R>
) => Fixtures.using(options, body)

/** A place for one ledger, whose name is its id. */
export const place = Effect.map(TestLedger.directory, (directory) => path.join(directory, "led"))

/** Fails unless a ledger is sound, its signatures too, by its own word and by the first key. */
export const assertSigned = Effect.fnUntraced(function* (
  ledger: Ledger["Service"],
  publicKey = own.publicKey
) {
  for (const options of [{}, { publicKey }]) {
    const report = yield* ledger.verify(options)
    assert.strictEqual(report._tag, "Intact", JSON.stringify(report))
    assert.strictEqual(report.checks["signatures"], "Passed")
    assert.deepStrictEqual(report.remarks, [])
  }
})

/** The nanoseconds of a time, whose digits a Date would lose. */
const nanosOf = (time: string): bigint => {
  const [, whole = "", digits = ""] = /^([^.]+?)(?:\.(\d+))?Z$/.exec(time) ?? []
  return BigInt(Date.parse(`${whole}Z`)) * 1_000_000n + BigInt(digits.padEnd(9, "0"))
}

/** A clock that stands where it was set last. */
export const makeClock = (): Clock.Clock & { readonly set: (time: string) => void } => {
  let nanos = 0n
  const real = Effect.runSync(Clock.clockWith(Effect.succeed))
  return {
    ...real,
    sleep: (duration) => real.sleep(duration),
    monotonicTimeNanosUnsafe: () => real.monotonicTimeNanosUnsafe(),
    currentTimeMillisUnsafe: () => Number(nanos / 1_000_000n),
    currentTimeMillis: Effect.sync(() => Number(nanos / 1_000_000n)),
    currentTimeNanosUnsafe: () => nanos,
    currentTimeNanos: Effect.sync(() => nanos),
    set: (time) => {
      nanos = nanosOf(time)
    }
  }
}
