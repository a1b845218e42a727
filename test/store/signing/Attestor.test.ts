import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Result, Schema } from "effect"
import type { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Policy from "../../../src/core/Policy.ts"
import * as View from "../../../src/core/View.ts"
import * as Ed25519Keys from "../../../src/platform/Ed25519Keys.ts"
import * as SealogNode from "../../../src/platform/SealogNode.ts"
import * as Ledger from "../../../src/store/Ledger.ts"
import * as PolicyGate from "../../../src/store/writing/PolicyGate.ts"
import { Reader } from "../../../src/store/reading/Reader.ts"
import * as Views from "../../../src/store/views/Views.ts"
import { SignError } from "../../../src/store/signing/Attestor.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { alice, bob, unhex } from "../../core/signing.ts"
import {
  assertLike,
  cortexDraft,
  meddle,
  named,
  segmentLines,
  vector,
  vectorLines
} from "../ledgerFixtures.ts"
import type { Signer } from "../signedKit.ts"
import { assertSigned, makeClock, next, other, own, place, remote, using } from "../signedKit.ts"

const failureOf = <A, E>(effect: Effect.Effect<A, E>) => Effect.flip(effect)

describe("a signed ledger in Cortex mode", () => {
  const keys: {
    readonly [name in "first" | "second"]: { readonly seed: string; readonly public_key: string }
  } = JSON.parse(vector("keys.json").toString())
  const signerOf = (name: "first" | "second") => Ed25519Keys.fromSeed(unhex(keys[name].seed))

  for (const name of ["log-signed", "log-signed-fixed"]) {
    it.effect(`writes ${name} again, byte for byte, its rotation included`, () =>
      Effect.gen(function* () {
        const file = path.join(yield* TestLedger.directory, `${name}.jsonl`)
        const golden = vectorLines(`${name}.jsonl`)
        const [attestor, second] = [yield* signerOf("first"), yield* signerOf("second")]
        const clock = makeClock()
        yield* using({ file, attestor }, (ledger) =>
          Effect.gen(function* () {
            for (const [nth, line] of vectorLines(`${name}.input.jsonl`).entries()) {
              const fixed = /^\{"signed_at":"([^"]+)","event":(.*)\}$/.exec(line)
              clock.set(fixed?.[1] ?? JSON.parse(golden[nth] ?? "{}").signature.signed_at)
              const { type, ...draft } = cortexDraft(fixed?.[2] ?? line)
              yield* draft.payloadText?.includes('"kind":"identity.rotate"')
                ? ledger.rotateKey(second, { draft })
                : ledger.append({ type, ...draft })
            }
            yield* assertSigned(ledger, keys.first.public_key)
          })
        ).pipe(Effect.provideService(Clock.Clock, clock))
        const written = fs.readFileSync(file, "utf8").split("\n")
        for (const [nth, line] of golden.entries()) assert.strictEqual(written[nth], line)
        assert.isTrue(fs.readFileSync(file).equals(vector(`${name}.jsonl`)))
      })
    )

    it.effect(`opens ${name} as the original wrote it, and goes on with it`, () =>
      Effect.gen(function* () {
        const file = path.join(yield* TestLedger.directory, `${name}.jsonl`)
        fs.writeFileSync(file, vector(`${name}.jsonl`))
        const [first, second] = [yield* signerOf("first"), yield* signerOf("second")]
        assertLike(yield* failureOf(using({ file, attestor: first }, () => Effect.void)), {
          _tag: "AttestorRefused",
          expected: `key ${second.publicKey}`,
          actual: `key ${first.publicKey}`
        })
        for (const id of ["a", "b"]) {
          yield* using({ file, attestor: second }, (ledger) =>
            Effect.gen(function* () {
              yield* ledger.append(named(id, { type: "cortex.event.decision.v1" }))
              yield* assertSigned(ledger, first.publicKey)
            })
          )
        }
      })
    )
  }

  it.effect("is refused under another name, as its signatures name it", () =>
    Effect.gen(function* () {
      const file = path.join(yield* TestLedger.directory, "renamed.jsonl")
      fs.writeFileSync(file, vector("log-signed.jsonl"))
      const attestor = yield* signerOf("second")
      const error = yield* failureOf(using({ file, attestor }, () => Effect.void))
      assertLike(error, { _tag: "LedgerDamaged", seq: 1 })
      assert.include(String(error), "bad_signature")
    })
  )

  it.effect("carries the signatures of somebody unknown, and appends nothing unsigned", () =>
    Effect.gen(function* () {
      const file = path.join(yield* TestLedger.directory, "renamed.jsonl")
      fs.writeFileSync(file, vector("log-signed.jsonl"))
      for (const _ of [1, 2]) {
        yield* using({ file }, (ledger) =>
          Effect.gen(function* () {
            const error = yield* failureOf(ledger.append({ type: "cortex.event.decision.v1" }))
            assertLike(error, { _tag: "AttestorMissing", firstSeq: 1, publicKey: null })
            const report = yield* ledger.verify()
            assert.deepStrictEqual(
              [report._tag, report.checks["signatures"]],
              ["Intact", "Skipped"]
            )
          })
        )
      }
    })
  )
})

describe("a signed ledger", () => {
  it.effect("signs every row, across groups and opens, one after the other", () =>
    Effect.gen(function* () {
      const directory = yield* place
      for (const round of ["a", "b", "c"]) {
        yield* using({ directory, attestor: own }, (ledger) =>
          Effect.gen(function* () {
            yield* ledger.append(named(`${round}1`))
            yield* ledger.appendAll([named(`${round}2`), named(`${round}3`)])
            yield* assertSigned(ledger)
          })
        )
      }
      const versions = segmentLines(directory).map((line) => JSON.parse(line).signature.key_id)
      assert.deepStrictEqual(versions, Array(9).fill(own.publicKey))
    })
  )

  it.effect("takes events of a user, which an unsigned one refuses", () =>
    Effect.gen(function* () {
      const draft = named("u", { source: { type: "user" } })
      const directory = yield* place
      assertLike(yield* failureOf(using({ directory }, (ledger) => ledger.append(draft))), {
        _tag: "PolicyRefused",
        reason: "attestation"
      })
      yield* using({ directory, attestor: own }, (ledger) => ledger.append(draft))
    })
  )

  it.effect("takes no row that is not signed, and no other key", () =>
    Effect.gen(function* () {
      const directory = yield* place
      yield* using({ directory, attestor: own }, (ledger) => ledger.append(named("a")))
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          const { publicKey } = own
          const expected = { _tag: "AttestorMissing", firstSeq: 1, publicKey }
          assertLike(yield* failureOf(ledger.append(named("b"))), expected)
          yield* assertSigned(ledger)
        })
      )
      const refused = using({ directory, attestor: other }, () => Effect.void)
      assertLike(yield* failureOf(refused), {
        _tag: "AttestorRefused",
        expected: `key ${own.publicKey}`,
        actual: `key ${other.publicKey}`
      })
      const pinned = using(
        { directory, attestor: own, publicKey: other.publicKey },
        () => Effect.void
      )
      assertLike(yield* failureOf(pinned), { _tag: "AttestorRefused" })
    })
  )

  it.effect("may begin as an unsigned one: the rows before stay nobody's", () =>
    Effect.gen(function* () {
      const directory = yield* place
      yield* using({ directory }, (ledger) => ledger.appendAll([named("a"), named("b")]))
      yield* using({ directory, attestor: own }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(named("c"))
          const stated = yield* ledger.verify()
          assert.deepStrictEqual([stated._tag, stated.checks["signatures"]], ["Intact", "Passed"])
          assert.include(stated.notProven.join("\n"), "before row 3: they are not signed")
          const { publicKey } = own
          const strict = yield* ledger.verify({ publicKey })
          assert.deepStrictEqual(
            strict._tag === "Damaged" &&
              strict.failures.map(({ reason, seq }) => [seq, reason.kind]),
            [
              [1, "missing_signature"],
              [2, "missing_signature"]
            ]
          )
          const from = yield* ledger.verify({ publicKey, signedFrom: 3 })
          assert.strictEqual(from._tag, "Intact")
        })
      )
    })
  )

  for (const lost of ["mirror.sqlite", "nothing"]) {
    it.effect(`finds its lineage again where ${lost} was lost`, () =>
      Effect.gen(function* () {
        const directory = yield* place
        yield* using({ directory, attestor: own }, (ledger) =>
          Effect.gen(function* () {
            yield* ledger.appendAll([named("a"), named("b")])
            yield* ledger.rotateKey(next)
            yield* ledger.append(named("c"))
          })
        )
        for (const suffix of ["", "-wal", "-shm"]) {
          fs.rmSync(path.join(directory, `${lost}${suffix}`), { force: true })
        }
        yield* using({ directory, attestor: next }, (ledger) =>
          Effect.gen(function* () {
            yield* ledger.append(named("d"))
            yield* assertSigned(ledger)
          })
        )
      })
    )
  }

  it.effect("that was changed behind the mirror's back is damaged, and nothing is changed", () =>
    Effect.gen(function* () {
      const directory = yield* place
      yield* using({ directory, attestor: own }, (ledger) => ledger.append(named("a")))
      const segment = path.join(directory, "segments", "0000000000000001.jsonl")
      const bytes = fs.readFileSync(segment)
      fs.rmSync(path.join(directory, "mirror.sqlite"))
      // The same row in another ledger: everything but the signature is as it was.
      const identity = path.join(directory, "ledger.json")
      fs.writeFileSync(identity, fs.readFileSync(identity, "utf8").replace('"led"', '"other"'))
      const error = yield* failureOf(using({ directory, attestor: own }, () => Effect.void))
      assertLike(error, { _tag: "LedgerDamaged", seq: 1, offset: 0 })
      assert.isTrue(fs.readFileSync(segment).equals(bytes))
    })
  )

  it.effect("states its lineage in checkpoints, signs them, and goes back to one", () =>
    Effect.gen(function* () {
      const directory = yield* place
      const by = { operator: "ada", reason: "a test" }
      yield* using({ directory, attestor: own }, (ledger) =>
        Effect.gen(function* () {
          const first = yield* ledger.checkpoint("before any row")
          assertLike(first.lineage ?? undefined, { firstSeq: 1, publicKey: own.publicKey })
          yield* ledger.append(named("a"))
          const kept = yield* ledger.checkpoint("one row")
          assert.isNotNull(kept.signature)
          yield* ledger.appendAll([named("b"), named("c")])
          yield* ledger.rollback(kept, by)
          yield* ledger.append(named("d"))
          yield* assertSigned(ledger)
          const report = yield* ledger.verify({ checkpoint: kept, publicKey: own.publicKey })
          assert.strictEqual(report._tag, "Intact", JSON.stringify(report))
          yield* ledger.rollback(first, by)
        })
      )
      yield* using({ directory, attestor: own }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(named("e"))
          yield* ledger.rebuild(by)
          yield* ledger.append(named("f"))
          yield* assertSigned(ledger)
        })
      )
    })
  )

  it.effect("is refused to a key whose name is too long for a row", () =>
    Effect.gen(function* () {
      const directory = yield* place
      const attestor = remote(undefined, "k".repeat(257))
      const error = yield* failureOf(using({ directory, attestor }, () => Effect.void))
      assertLike(error, { _tag: "AttestorRefused", actual: "257 bytes" })
    })
  )

  it.effect("whose mirror states another lineage is found out", () =>
    Effect.gen(function* () {
      const directory = yield* place
      yield* using({ directory, attestor: own }, (ledger) => ledger.append(named("a")))
      const mirror = path.join(directory, "mirror.sqlite")
      for (const change of [
        'UPDATE sealog_state SET value = replace(value, \'"prev_signature":"\', \'"prev_signature":"0\')',
        "DELETE FROM sealog_state WHERE name = 'lineage'"
      ]) {
        meddle(mirror, change)
        const { publicKey } = own
        const layer = SealogNode.layerReader({ directory })
        const report = yield* Reader.use((reader) => reader.verify({ publicKey })).pipe(
          Effect.provide(layer)
        )
        assert.deepStrictEqual(
          report._tag === "Damaged" &&
            report.failures.map(({ level, reason }) => [level, reason.kind]),
          [["index", "lineage_differs"]],
          change
        )
        // Opening looks at the newest row too, and verifies all rows where the mirror does not fit.
        yield* using({ directory, attestor: own }, (ledger) =>
          Effect.andThen(ledger.append(named(change)), assertSigned(ledger))
        )
      }
    })
  )

  it.effect("whose checkpoint was forged is damaged", () =>
    Effect.gen(function* () {
      const directory = yield* place
      yield* using({ directory, attestor: own }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(named("a"))
          const kept = yield* ledger.checkpoint("one row")
          const at = path.join(directory, "checkpoints", "0000000000000001.json")
          const bytes = kept.signature?.bytes ?? ""
          const forged = `${bytes.startsWith("A") ? "B" : "A"}${bytes.slice(1)}`
          fs.writeFileSync(at, fs.readFileSync(at, "utf8").replace(bytes, forged))
          const report = yield* ledger.verify()
          assert.deepStrictEqual(
            report._tag === "Damaged" && report.failures.map(({ reason }) => reason.kind),
            ["checkpoint_signature_bad"]
          )
        })
      )
    })
  )
})

describe("rotateKey", () => {
  it.effect("hands over in one row, and only its new signer goes on", () =>
    Effect.gen(function* () {
      const directory = yield* place
      yield* using({ directory, attestor: own }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(named("a"))
          const [, receipt] = yield* Effect.all(
            [ledger.append(named("b")), ledger.rotateKey(next), ledger.append(named("c"))],
            { concurrency: "unbounded" }
          )
          assert.strictEqual(receipt._tag, "Appended")
          yield* ledger.append(named("d"))
          yield* assertSigned(ledger)
        })
      )
      const back = using({ directory, attestor: own }, () => Effect.void)
      assertLike(yield* failureOf(back), { _tag: "AttestorRefused" })
      yield* using({ directory, attestor: next }, (ledger) =>
        Effect.andThen(ledger.rotateKey(own), ledger.append(named("e")))
      )
      yield* using({ directory, attestor: own }, (ledger) => assertSigned(ledger))
    })
  )

  it.effect("is the only way: an envelope in any other draft is refused, a replayed one too", () =>
    Effect.gen(function* () {
      const directory = yield* place
      yield* using({ directory, attestor: own }, (ledger) =>
        Effect.gen(function* () {
          const { seq } = yield* ledger.rotateKey(next)
          yield* ledger.rotateKey(own)
          const { payloadText, type } = yield* ledger.get(seq)
          const error = yield* failureOf(ledger.append({ type, payloadText }))
          assertLike(error, { _tag: "DraftInvalid", path: "/payload/envelope" })
          const wrong = yield* failureOf(ledger.rotateKey(other, { draft: { payloadText } }))
          assertLike(wrong, { _tag: "DraftInvalid", path: "/payload/envelope" })
          yield* ledger.append(named("a"))
          yield* assertSigned(ledger)
        })
      )
    })
  )

  it.effect("back to a checkpoint before it leaves the ledger to the old key", () =>
    Effect.gen(function* () {
      const directory = yield* place
      yield* using({ directory, attestor: own }, (ledger) =>
        Effect.gen(function* () {
          const before = yield* ledger.checkpoint("before")
          yield* ledger.rotateKey(next)
          yield* ledger.rollback(before, { operator: "ada", reason: "a test" })
          const error = yield* failureOf(ledger.append(named("a")))
          assertLike(error, { _tag: "AttestorMissing", publicKey: own.publicKey })
        })
      )
      yield* using({ directory, attestor: own }, (ledger) => ledger.append(named("a")))
    })
  )
})

describe("a signer that is not trusted", () => {
  const failing: ReadonlyArray<readonly [string, Signer["sign"], string]> = [
    ["fails", () => Effect.fail(new SignError({ keyId: "k", reason: "no network" })), "no network"],
    ["dies", () => Effect.die(new Error("seed 0101")), "it died"],
    ["interrupts itself", () => Effect.interrupt, "it died"],
    ["gives too little", () => Effect.succeed(new Uint8Array(63)), "not 64 bytes"],
    ["lies", (bytes) => Effect.sync(() => bob.sign(bytes)), "does not fit"],
    ["hangs", () => Effect.never, "within 1000 milliseconds"],
    [
      "cannot be interrupted",
      () => Effect.uninterruptible(Effect.never),
      "within 1000 milliseconds"
    ]
  ]
  for (const [name, sign, reason] of failing) {
    it.effect(`that ${name} fails its group before anything is written`, () =>
      Effect.gen(function* () {
        const directory = yield* place
        let isBack = false
        const attestor = remote((bytes) =>
          isBack ? Effect.sync(() => alice.sign(bytes)) : Effect.suspend(() => sign(bytes))
        )
        yield* using({ directory, attestor }, (ledger) =>
          Effect.gen(function* () {
            const waiting = yield* Effect.forkChild(failureOf(ledger.append(named("a"))))
            yield* TestClock.adjust("1 second")
            yield* TestClock.adjust("1 second")
            const error = yield* Fiber.join(waiting)
            assertLike(error, { _tag: "SignError" })
            assert.include(String(error), reason)
            assert.notInclude(JSON.stringify(error), "0101")
            assert.deepStrictEqual(segmentLines(directory), [])
            isBack = true
            yield* ledger.append(named("a"))
            yield* assertSigned(ledger, alice.publicKey)
          })
        )
      })
    )
  }

  it.effect("is trusted with no pair that does not fit", () =>
    Effect.gen(function* () {
      const directory = yield* place
      const attestor: Signer = { ...own, publicKey: bob.publicKey }
      const error = yield* failureOf(using({ directory, attestor }, () => Effect.void))
      assertLike(error, { _tag: "AttestorRefused" })
    })
  )

  it.effect("that is slow leaves what does not fit to the next group, and tears no append", () =>
    Effect.gen(function* () {
      const directory = yield* place
      const clock = makeClock()
      let signed = 0
      const attestor = remote((bytes) =>
        Effect.sync(() => {
          signed++
          clock.set(`2026-01-01T00:00:${String(signed).padStart(2, "0")}Z`)
          return alice.sign(bytes)
        })
      )
      yield* using({ directory, attestor, signMillisMax: 2_500 }, (ledger) =>
        Effect.gen(function* () {
          const many = ["a", "b", "c", "d", "e"].map((name) => ledger.append(named(name)))
          const all = ledger.appendAll(["f", "g", "h", "i"].map((name) => named(name)))
          const receipts = yield* Effect.all([...many, all], { concurrency: "unbounded" })
          assert.deepStrictEqual(
            receipts.flat().map(({ seq }) => seq),
            [1, 2, 3, 4, 5, 6, 7, 8, 9]
          )
          yield* assertSigned(ledger, alice.publicKey)
        })
      ).pipe(Effect.provideService(Clock.Clock, clock))
      const batches = segmentLines(directory).map((line) => JSON.parse(line).batch ?? null)
      const size = (of: number) => Array.from({ length: of }, (_, nth) => [nth, of])
      assert.deepStrictEqual(batches, [null, ...size(3), ...size(5)])
    })
  )

  it.effect("that is slow leaves in no view what it leaves to the next group", () =>
    Effect.gen(function* () {
      const directory = yield* place
      const clock = makeClock()
      let signed = 0
      const attestor = remote((bytes) =>
        Effect.sync(() => {
          signed++
          clock.set(`2026-01-01T00:${String(signed).padStart(2, "0")}:00Z`)
          return alice.sign(bytes)
        })
      )
      const rows = View.perEvent({
        name: "rows",
        version: 1,
        row: Schema.Struct({ id: Schema.String }),
        columns: { id: "TEXT NOT NULL" },
        rowsOf: ({ event: { id } }) => [{ id }]
      })
      const inView = (sql: SqlClient.SqlClient) =>
        Effect.map(sql<{ readonly n: number }>`SELECT count(*) AS n FROM rows`, ([row]) => row?.n)
      const asked: Array<number | undefined> = []
      const gate = PolicyGate.gate({ id: "seen", views: [rows] }, (_draft, sql) =>
        Effect.map(inView(sql), (n) => {
          asked.push(n)
          return Policy.allow("ok")
        })
      )
      const options = { directory, attestor, signMillisMax: 150_000, rules: [gate], views: [rows] }
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger.Ledger
        const many = ["a", "b", "c", "d", "e", "f"].map((name) => ledger.append(named(name)))
        const receipts = yield* Effect.all(many, { concurrency: "unbounded" })
        assert.deepStrictEqual(
          receipts.map(({ seq }) => seq),
          [1, 2, 3, 4, 5, 6]
        )
        // The gate of each saw the rows of all before it, and of no other.
        assert.deepStrictEqual([...new Set(asked)], [0, 1, 2, 3, 4, 5])
        assert.strictEqual(yield* ledger.query(inView), 6)
        assert.isTrue((yield* Views.Views.use(({ check }) => check(rows))).isDerived)
        yield* assertSigned(ledger, alice.publicKey)
      }).pipe(Effect.provide(TestLedger.layer(options)), Effect.provideService(Clock.Clock, clock))
    })
  )
})

describe("the gates of a signed append", () => {
  const revoked = (outcome: "reject" | "warn" | "break_glass" | "quarantine") =>
    PolicyGate.rule({ id: Policy.Rules.keyStateCurrentUse, overridable: true }, () =>
      Effect.succeed({ outcome, reason: "the key was retired" })
    )
  const glass = PolicyGate.rule({ id: "operator" }, () =>
    Effect.succeed(Policy.breakGlass("an incident"))
  )
  const breakGlass: Policy.BreakGlass = {
    permitted: true,
    attested: true,
    scope: { operationType: "override", artifactRefs: ["a"], notBefore: null, notAfter: null },
    reasonCode: "incident_response"
  }

  for (const outcome of ["reject", "warn", "quarantine", "break_glass"] as const) {
    it.effect(`let no break-glass talk past a key whose state is ${outcome}`, () =>
      Effect.gen(function* () {
        const directory = yield* place
        const rules = [revoked(outcome), glass]
        yield* using({ directory, attestor: own, rules }, (ledger) =>
          Effect.gen(function* () {
            const error = yield* failureOf(ledger.append(named("a"), { breakGlass }))
            const ruleId = Policy.Rules.keyStateCurrentUse
            const surface = "ledger.append_signed"
            assertLike(error, { _tag: "PolicyRefused", reason: "key_state", ruleId, surface })
          })
        )
      })
    )
  }

  it.effect("break the glass over the trust tier, where its rule allows that", () =>
    Effect.gen(function* () {
      const tier = PolicyGate.rule({ id: Policy.Rules.trustTierMinimum, overridable: true }, () =>
        Effect.succeed(Policy.reject("too low"))
      )
      const directory = yield* place
      yield* using({ directory, attestor: own, rules: [tier, glass] }, (ledger) =>
        Effect.gen(function* () {
          const refused = yield* Effect.result(ledger.append(named("a")))
          assert.isTrue(Result.isFailure(refused))
          yield* ledger.append(named("a"), { breakGlass })
        })
      )
    })
  )
})
