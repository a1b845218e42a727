import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Attestation from "../../src/core/Attestation.ts"
import * as Chain from "../../src/core/Chain.ts"
import * as Checkpoint from "../../src/core/Checkpoint.ts"
import * as Merkle from "../../src/core/Merkle.ts"
import * as Signing from "../../src/core/Signing.ts"
import { linesOf, now, text, vector } from "./history.ts"
import {
  alice,
  bob,
  eventsIn,
  first,
  genesisOf,
  note,
  second,
  Signer,
  timeOf,
  unhex,
  verify
} from "./signing.ts"

interface Case {
  readonly file: string
  readonly kind: string
  readonly expect: {
    readonly signed_chain: {
      readonly active_pubkey: string
      readonly report: {
        readonly failures: ReadonlyArray<{
          readonly line: number
          readonly event_id: string
          readonly reason: { readonly kind: string }
        }>
      }
    }
  }
}

const corrupt: {
  readonly signed_chain_public_key: string
  readonly files: ReadonlyArray<Case>
} = JSON.parse(text(vector("corrupt/expected.json")))

const ofKey = (publicKey: string, ledgerId: string, firstSeq = 1): Chain.Signatures => ({
  ledgerId,
  verify,
  isGiven: true,
  signing: Signing.begin(firstSeq, Result.getOrThrow(Attestation.genesis(publicKey)))
})

const reportOf = (bytes: Uint8Array, signatures: Chain.Signatures) =>
  Chain.verify(linesOf(bytes), { path: "a", format: "cortex", signatures })

const failuresOf = (report: ReturnType<typeof Chain.verify>) =>
  report._tag === "Damaged" ? report.failures : []

describe("Chain.verify of signed rows", () => {
  for (const { expect, file, kind } of corrupt.files) {
    if (kind !== "signed") continue
    const name = file.replace(/^corrupt\/|\.jsonl$/g, "")
    it(`finds in ${name} what the original finds`, () => {
      const key = corrupt.signed_chain_public_key
      const report = reportOf(vector(file), ofKey(key, name))
      const signatures = failuresOf(report).filter(({ level }) => level === "signatures")
      const wanted = expect.signed_chain.report.failures.filter(({ reason }) =>
        /signature|attestation|rotation/.test(reason.kind)
      )
      assert.deepStrictEqual(
        signatures.map(({ eventId, reason, seq }) => [seq, eventId, reason.kind]),
        wanted.map(({ event_id, line, reason }) => [line, event_id, reason.kind])
      )
      assert.strictEqual(report.checks["signatures"], wanted.length === 0 ? "Passed" : "Failed")
    })
  }

  it("follows the key from hand to hand, and says which fields no signature covers", () => {
    const report = reportOf(vector("log-signed.jsonl"), ofKey(first.publicKey, "log-signed"))
    assert.deepStrictEqual([report._tag, report.checks["signatures"]], ["Intact", "Passed"])
    const said = report.notProven.join("\n")
    assert.include(said, "schema version, times, type, trace, tags, parent and keys")
    assert.notInclude(said, "who wrote")
    const late = reportOf(vector("log-signed.jsonl"), ofKey(second.publicKey, "log-signed"))
    assert.strictEqual(late.checks["signatures"], "Failed")
  })

  it("skips the level where no key is known, or no row had to be signed", () => {
    const none = Chain.verify(linesOf(vector("log-signed.jsonl")), { path: "a", format: "cortex" })
    assert.strictEqual(none.checks["signatures"], "Skipped")
    assert.include(none.notProven.join("\n"), "who wrote")
    const later = ofKey(first.publicKey, "log-unsigned", 1_000)
    const report = reportOf(vector("log-unsigned.jsonl"), later)
    assert.strictEqual(report.checks["signatures"], "Skipped")
    assert.include(report.notProven.join("\n"), "who wrote")
  })
})

const follow = (
  signer: Signer,
  state: Signing.State,
  genesis?: Signing.Following["genesis"],
  from = 0
) => {
  const follower = new Signing.Follower(state, { ledgerId: "l", verify, genesis })
  const failures = eventsIn(signer)
    .slice(from)
    .flatMap((event) => follower.take(event)?.failure?.kind ?? [])
  return { failures, state: follower.state, judged: follower.judged }
}

describe("Signing.Follower", () => {
  const signed = (keyId?: string) => {
    const signer = new Signer("l", alice, keyId)
    signer.append({ type: note })
    signer.rotateTo(bob)
    signer.append({ type: note })
    return signer
  }

  it("begins with the first signed row, whose key says itself, or is at hand", () => {
    const own = follow(signed(), Signing.unsigned, Signing.genesisFrom(bob.publicKey))
    assert.deepStrictEqual([own.failures, own.judged], [[], 3])
    const named = follow(signed("kms://a"), Signing.unsigned, Signing.genesisFrom(alice.publicKey))
    assert.deepStrictEqual(named.failures, [])
    const wrong = follow(signed("kms://a"), Signing.unsigned, Signing.genesisFrom(bob.publicKey))
    assert.deepStrictEqual(wrong.failures.length, 3)
    const nobody = follow(signed(), Signing.unsigned)
    assert.deepStrictEqual(nobody.state, { _tag: "Unknown", firstSeq: 1 })
  })

  it("takes the name that the first row gives to a key which was told without one", () => {
    const state = { _tag: "Signed", signing: Signing.begin(1, genesisOf(alice)) } as const
    assert.deepStrictEqual(follow(signed("kms://a"), state).failures, [])
    const other = { _tag: "Signed", signing: Signing.begin(1, genesisOf(bob)) } as const
    assert.deepStrictEqual(follow(signed("kms://a"), other).failures.length, 3)
  })

  it("lets rows before the first signed one pass, and none behind it", () => {
    const signer = signed()
    const before = { _tag: "Signed", signing: Signing.begin(3, genesisOf(bob)) } as const
    // Rows 1 and 2 are signed though none had to be: they are held to the same key.
    assert.deepStrictEqual(follow(signer, before).failures.slice(0, 2), [
      "bad_signature",
      "bad_signature"
    ])
  })
})

describe("Checkpoint.checkSignature", () => {
  const lineage = Signing.begin(1, genesisOf(alice))
  const made = Checkpoint.make({
    number: 1,
    at: now,
    head: Chain.start,
    tree: Merkle.empty,
    segment: 1,
    offset: 0,
    rollbacks: [],
    lineage,
    reason: "a test"
  })
  const by = { ledgerId: "l", keyId: lineage.keyId, signedAt: timeOf("2026-01-02T03:04:05.123Z") }
  const signature = alice.sign(Checkpoint.signingInput(made, by))
  const signed = Result.getOrThrow(Checkpoint.signed(made, by, signature))
  const kindOf = (checkpoint: Checkpoint.Checkpoint, ledgerId = "l") =>
    Checkpoint.checkSignature(checkpoint, ledgerId, verify)?.kind

  it("accepts the key's own, read back from its file", () => {
    const read = Result.getOrThrow(Checkpoint.decode(Checkpoint.encode(signed)))
    assert.isUndefined(kindOf(read))
    assert.strictEqual(read.hash, made.hash)
    assert.deepStrictEqual(read.lineage, { ...lineage })
  })

  it("refuses none, another key's, another ledger's, and any of its fields changed", () => {
    assert.strictEqual(kindOf(made), "checkpoint_signature_missing")
    assert.strictEqual(kindOf(signed, "m"), "checkpoint_signature_bad")
    const own = signed.signature
    assert.isNotNull(own)
    const others: ReadonlyArray<Partial<typeof own>> = [
      { keyId: "" },
      { signedAt: "2026-01-02T03:04:05.124Z" },
      { signedAt: "never" },
      { bytes: `${own.bytes}=` },
      { bytes: own.bytes.slice(2) }
    ]
    for (const other of others) {
      const changed = new Checkpoint.Checkpoint({ ...signed, signature: { ...own, ...other } })
      assert.strictEqual(kindOf(changed), "checkpoint_signature_bad", JSON.stringify(other))
    }
    const version = new Checkpoint.Checkpoint({
      ...signed,
      signature: { ...own, schemaVersion: 2 }
    })
    assert.strictEqual(kindOf(version), "checkpoint_signature_version")
    const ofBob = { ...lineage, publicKey: bob.publicKey }
    assert.strictEqual(
      kindOf(new Checkpoint.Checkpoint({ ...signed, lineage: ofBob })),
      "checkpoint_signature_bad"
    )
    assert.strictEqual(
      kindOf(new Checkpoint.Checkpoint({ ...signed, lineage: null })),
      "checkpoint_signature_bad"
    )
  })

  it("signs these bytes, which no row and no rotation has", () => {
    assert.deepStrictEqual([...Checkpoint.signingInput(made, by).subarray(0, 3)], [0x12, 0, 1])
    const rest = "00000000000000016c0000000000000040"
    const input = Buffer.from(Checkpoint.signingInput(made, by)).toString("hex")
    assert.strictEqual(input.slice(6, 6 + rest.length), rest)
    assert.isTrue(unhex(input).byteLength > 100)
  })
})
