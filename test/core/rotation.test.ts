import { assert, describe, it } from "@effect/vitest"
import type { Draft } from "../../src/core/Draft.ts"
import * as Attestation from "../../src/core/Attestation.ts"
import { errorOf, now } from "./history.ts"
import {
  alice,
  bob,
  carol,
  eventsIn,
  found,
  genesisOf,
  judge,
  note,
  Signer,
  timeOf,
  unhex
} from "./signing.ts"

describe("rotation", () => {
  const draftOf = (payload: unknown): Draft => ({ type: note, payload })

  /** A signed log whose second row has this payload, and what is found in it. */
  const rotating = (payload: unknown, next = alice, type = note) => {
    const signer = new Signer("r", alice)
    signer.append({ type })
    signer.append({ ...draftOf(payload), type })
    // Whatever our own lineage made of that row: this key goes on, under its own name.
    signer.key = next
    signer.lineage = { ...signer.lineage, keyId: next.publicKey, publicKey: next.publicKey }
    signer.append({ type })
    return judge(eventsIn(signer), "r", genesisOf(alice))
  }

  const envelope = (
    old = alice,
    next = bob,
    by = old,
    version = 1,
    signedAt = "2026-01-01T00:00:00Z"
  ) => ({
    schema_version: version,
    old_pubkey: [...unhex(old.publicKey)],
    new_pubkey: [...unhex(next.publicKey)],
    signed_at: signedAt,
    signature: [
      ...by.sign(
        Attestation.rotationInput(
          {
            oldPublicKey: old.publicKey,
            newPublicKey: next.publicKey,
            signedAt: timeOf(signedAt)
          },
          version
        )
      )
    ]
  })

  const payloadOf = (envelope: unknown) => ({ kind: "identity.rotate", envelope })

  it("an envelope by the key itself hands over, there and only there", () => {
    const { failures, lineage } = rotating(payloadOf(envelope()), bob)
    assert.deepStrictEqual(failures, [])
    assert.deepInclude(lineage, { keyId: bob.publicKey, publicKey: bob.publicKey })
    const late = rotating(payloadOf(envelope()), alice)
    assert.deepStrictEqual(found(late), [[3, "bad_signature"]])
    assert.strictEqual(late.lineage.publicKey, bob.publicKey)
  })

  it("times may be written in any way, further members may be there", () => {
    const more = { ...envelope(alice, bob, alice, 1, "2026-01-01 01:00:00.1234567+01:00"), x: 1 }
    assert.deepStrictEqual(rotating({ ...payloadOf(more), y: null }, bob).failures, [])
  })

  it("what the draft of a rotation holds is what an envelope is read from", () => {
    const signer = new Signer("r", alice)
    signer.append({ type: note })
    const event = signer.rotateTo(bob)
    const { kind, envelope: written } = JSON.parse(event.payloadText)
    assert.strictEqual(kind, "identity.rotate")
    assert.deepStrictEqual(written, envelope(alice, bob, alice, 1, now))
    signer.append({ type: note })
    assert.deepStrictEqual(judge(eventsIn(signer), "r", genesisOf(alice)).failures, [])
  })

  const rejected: ReadonlyArray<readonly [what: string, envelope: unknown, member: string]> = [
    ["of another key", envelope(carol, bob), "old_pubkey"],
    ["signed by the new key", envelope(alice, bob, bob), "signature"],
    ["of an unknown version", envelope(alice, bob, alice, 2), "schema_version"],
    [
      "whose new key was changed",
      { ...envelope(), new_pubkey: [...unhex(carol.publicKey)] },
      "new_pubkey"
    ],
    ["whose time was changed", { ...envelope(), signed_at: "2026-01-01T00:00:01Z" }, "signature"],
    [
      "to a point that is none",
      envelope(alice, { ...bob, publicKey: "02".padEnd(64, "0") }),
      "new_pubkey"
    ],
    // The original accepts this one. After it anybody could sign the rows that follow.
    [
      "to a point of small order",
      envelope(alice, { ...bob, publicKey: "01".padEnd(64, "0") }),
      "new_pubkey"
    ]
  ]

  for (const [what, written, member] of rejected) {
    it(`an envelope ${what} is rejected, and the old key goes on`, () => {
      const { failures, lineage } = rotating(payloadOf(written), alice)
      assert.deepStrictEqual(found({ failures }), [[2, "rotation_envelope_rejected"]])
      // A changed key is found as what it is: a signature that is not of these two keys.
      const place = what.includes("new key was changed") ? "signature" : member
      assert.strictEqual(failures[0]?.place, `/payload/envelope/${place}`)
      assert.deepInclude(lineage, { keyId: alice.publicKey, publicKey: alice.publicKey })
    })
  }

  const bytes = (size: number, last: unknown = 1) => [...Array<unknown>(size - 1).fill(1), last]

  const malformed: ReadonlyArray<readonly [what: string, payload: unknown]> = [
    ["no envelope", { kind: "identity.rotate" }],
    ["a signature of 63 bytes", payloadOf({ ...envelope(), signature: bytes(63) })],
    ["a signature in base64", payloadOf({ ...envelope(), signature: "AAAA" })],
    ["a key of 33 bytes", payloadOf({ ...envelope(), new_pubkey: bytes(33) })],
    ["a byte of 256", payloadOf({ ...envelope(), old_pubkey: bytes(32, 256) })],
    ["a negative byte", payloadOf({ ...envelope(), old_pubkey: bytes(32, -1) })],
    ["a byte that is half", payloadOf({ ...envelope(), old_pubkey: bytes(32, 0.5) })],
    ["a byte that is a text", payloadOf({ ...envelope(), old_pubkey: bytes(32, "1") })],
    ["no version", payloadOf({ ...envelope(), schema_version: null })],
    ["a version beyond 65535", payloadOf({ ...envelope(), schema_version: 65_536 })],
    ["no time", payloadOf({ ...envelope(), signed_at: 0 })],
    ["a time that is none", payloadOf({ ...envelope(), signed_at: "soon" })]
  ]

  for (const [what, payload] of malformed) {
    it(`a rotation with ${what} is none, as in the original, and is remarked on`, () => {
      const { failures, lineage, remarks } = rotating(payload, alice)
      assert.deepStrictEqual(failures, [])
      assert.deepStrictEqual(remarks, [[2, "rotation_ignored"]])
      assert.strictEqual(lineage.publicKey, alice.publicKey)
    })
  }

  it("a byte written as 1.0 is none, though JavaScript sees no difference", () => {
    const signer = new Signer("r", alice)
    const payload = JSON.stringify(payloadOf(envelope()))
    signer.append({ type: note, payloadText: payload.replace(/_version":1/, '_version":1.0') })
    const { failures, remarks } = judge(eventsIn(signer), "r", genesisOf(alice))
    assert.deepStrictEqual([failures, remarks], [[], [[1, "rotation_ignored"]]])
  })

  it("the same payload elsewhere is no rotation, and nothing is said about it", () => {
    const decision = "cortex.event.decision.v1"
    for (const [payload, type] of [
      [payloadOf(envelope()), decision],
      [{ ...payloadOf(envelope()), kind: "identity.rotated" }, note],
      [[payloadOf(envelope())], note],
      ["identity.rotate", note]
    ] as const) {
      const { failures, lineage, remarks } = rotating(payload, alice, type)
      assert.deepStrictEqual([failures, remarks], [[], []])
      assert.strictEqual(lineage.publicKey, alice.publicKey)
    }
  })

  it("a rotation in a row that the key did not sign does not hand over", () => {
    const signer = new Signer("r", alice)
    signer.key = bob
    signer.rotateTo(bob)
    const { failures, lineage } = judge(eventsIn(signer), "r", genesisOf(alice))
    assert.deepStrictEqual(found({ failures }), [[1, "bad_signature"]])
    assert.strictEqual(lineage.publicKey, alice.publicKey)
  })

  it("rotate refuses what is no key before anything is signed", () => {
    for (const key of ["", "01".padEnd(64, "0"), `${bob.publicKey}00`]) {
      const refused = errorOf(Attestation.rotate(genesisOf(alice), key, now))
      assert.strictEqual(refused._tag, "PublicKeyInvalid")
    }
  })
})
