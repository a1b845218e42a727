import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Attestation from "../../src/core/Attestation.ts"
import type { Source } from "../../src/core/Event.ts"
import { preimageBytes } from "../../src/core/signingInput.ts"
import * as Timestamp from "../../src/core/Timestamp.ts"
import { now } from "./history.ts"
import { hex, keyOf, timeOf, unhex, vectorLines } from "./signing.ts"

describe("signingInput", () => {
  interface Case {
    readonly name: string
    readonly seed: string
    readonly preimage?: {
      readonly schema_version: number
      readonly source: { readonly type: string; readonly [field: string]: string }
      readonly event_id: string
      readonly payload_hash: string
      readonly session_id: string
      readonly ledger_id: string
      readonly lineage: { readonly previous_hash?: string }
      readonly signed_at: string
      readonly key_id: string
    }
    readonly event?: {
      readonly id: string
      readonly source: Source
      readonly payload_hash: string
      readonly session_id: string | null
    }
    readonly prev_signature: string
    readonly ledger_id: string
    readonly key_id: string
    readonly signed_at: string
    readonly rotation?: {
      readonly schema_version: number
      readonly old_pubkey: string
      readonly new_pubkey: string
      readonly signed_at: string
    }
    readonly expect: {
      readonly signing_input: string
      readonly signature: string
      readonly signature_base64: string
      readonly public_key: string
    }
  }

  const bytesOf = (line: string, golden: Case): Uint8Array => {
    const { preimage, event, rotation } = golden
    if (preimage !== undefined) {
      const { type, agent_id, parent_session_id, delegation_id, ...rest } = preimage.source
      const agent = [agent_id, parent_session_id, delegation_id].filter((id) => id !== undefined)
      // JSON.parse would round it.
      const position = /"chain_position":(\d+)/.exec(line)?.[1]
      return preimageBytes({
        schemaVersion: preimage.schema_version,
        source: [type, ...agent, ...Object.values(rest)],
        eventId: preimage.event_id,
        payloadHash: preimage.payload_hash,
        sessionId: preimage.session_id,
        ledgerId: preimage.ledger_id,
        lineage:
          position === undefined
            ? { previousHash: preimage.lineage.previous_hash ?? "" }
            : { position: BigInt(position) },
        signedAt: timeOf(preimage.signed_at),
        keyId: preimage.key_id
      })
    }
    if (rotation !== undefined) {
      const { old_pubkey: oldPublicKey, new_pubkey: newPublicKey, schema_version } = rotation
      const signedAt = timeOf(rotation.signed_at)
      return Attestation.rotationInput({ oldPublicKey, newPublicKey, signedAt }, schema_version)
    }
    assert.isDefined(event)
    const { id, source, payload_hash: payloadHash, session_id: sessionId } = event
    return Attestation.signingInput(
      { id, source, payloadHash, sessionId },
      {
        prevSignature: golden.prev_signature,
        ledgerId: golden.ledger_id,
        keyId: golden.key_id,
        signedAt: timeOf(golden.signed_at)
      }
    )
  }

  for (const line of vectorLines("signing_input.jsonl")) {
    const golden: Case = JSON.parse(line)
    it(`is the original's, and so is its signature: ${golden.name}`, () => {
      const input = bytesOf(line, golden)
      assert.strictEqual(hex(input), golden.expect.signing_input)
      const key = keyOf(unhex(golden.seed))
      assert.strictEqual(key.publicKey, golden.expect.public_key)
      const signature = key.sign(input)
      assert.strictEqual(hex(signature), golden.expect.signature)
      const row = Result.getOrThrow(Attestation.rowSignature("k", now, signature))
      assert.strictEqual(row.bytes, golden.expect.signature_base64)
    })
  }

  it("takes texts of any length, each behind the length of its UTF-8", () => {
    for (const size of [0, 1, 300, 1_000, 5_000]) {
      for (const char of ["a", "é", "€", "😀"]) {
        const name = char.repeat(size)
        const by = { ledgerId: name, keyId: name, prevSignature: "", signedAt: now }
        const source: Source = { type: "tool", name }
        const event = { id: "evt_x", payloadHash: "", sessionId: name, source }
        const lengthOf = (bytes: Buffer) => {
          const length = Buffer.alloc(8)
          length.writeBigUInt64BE(BigInt(bytes.byteLength))
          return length
        }
        const parts = (...texts: ReadonlyArray<string>) =>
          texts.map((text) => Buffer.from(text)).flatMap((bytes) => [lengthOf(bytes), bytes])
        const expected = Buffer.concat([
          Buffer.of(0x10, 0, 1),
          ...parts("tool", name, "evt_x", "", name, name),
          Buffer.of(2),
          ...parts("", Timestamp.toSigning(now), name)
        ])
        assert.strictEqual(hex(Attestation.signingInput(event, by)), hex(expected))
      }
    }
  })

  it("refuses a text that has no UTF-8, rather than signing another one", () => {
    const by = { ledgerId: "l", keyId: "k", prevSignature: "", signedAt: now }
    const source: Source = { type: "tool", name: "\ud800" }
    const event = { id: "evt_x", payloadHash: "", sessionId: null, source }
    assert.throws(() => Attestation.signingInput(event, by), RangeError)
  })
})
