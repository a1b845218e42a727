import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Result, Schema } from "effect"
import * as crypto from "node:crypto"
import * as Attestation from "../../src/core/Attestation.ts"
import * as Chain from "../../src/core/Chain.ts"
import { Event, isType } from "../../src/core/Event.ts"
import type { EventFields, Source } from "../../src/core/Event.ts"
import * as Hashes from "../../src/core/Hashes.ts"
import * as Takeover from "../../src/core/Takeover.ts"
import * as Timestamp from "../../src/core/Timestamp.ts"
import * as Arbitraries from "../../src/testing/Arbitraries.ts"
import { cortexDraft } from "../store/ledgerFixtures.ts"
import { concat, errorOf, linesOf, now, splice, text, vector } from "./history.ts"
import {
  alice,
  bob,
  carol,
  eventsIn,
  eventsOf,
  first,
  found,
  genesisOf,
  hex,
  judge,
  note,
  second,
  Signer,
  smallOrderKeys,
  timeOf,
  unhex,
  vectorLines,
  verify
} from "./signing.ts"

/** An event with some of its fields changed. */
const changed = (event: Event, changes: Partial<EventFields>): Event =>
  new Event({ ...event, ...changes })

describe("Attestation of the original's logs", () => {
  for (const name of ["log-signed", "log-signed-fixed"]) {
    const golden = vectorLines(`${name}.jsonl`)
    const inputs = vectorLines(`${name}.input.jsonl`)
    const expected = JSON.parse(text(vector(`${name}.expected.json`)))

    it(`${name} is written again from its drafts and keys, byte for byte`, () => {
      const signer = new Signer(name, first)
      for (const [nth, line] of inputs.entries()) {
        // The one log has its times in its input, the other took them from its clock.
        const fixed = /^\{"signed_at":"([^"]+)","event":(.*)\}$/.exec(line)
        const clock: string = JSON.parse(golden[nth] ?? "{}").signature.signed_at
        signer.append(cortexDraft(fixed?.[2] ?? line), timeOf(fixed?.[1] ?? clock))
        if (signer.lineage.publicKey === second.publicKey) signer.key = second
      }
      assert.strictEqual(text(signer.bytes), text(vector(`${name}.jsonl`)))
      assert.strictEqual(signer.lineage.prevSignature, expected.open.last_sig_prefix)
    })

    it(`${name} verifies, its rotation included`, () => {
      const events = eventsOf(vector(`${name}.jsonl`))
      const { failures, lineage, remarks } = judge(events, name, genesisOf(first))
      assert.deepStrictEqual([failures, remarks], [[], []])
      assert.strictEqual(events.length, expected.signed_chain.report.rows_scanned)
      assert.strictEqual(lineage.publicKey, expected.signed_chain.active_pubkey)
      assert.strictEqual(lineage.keyId, second.publicKey)
    })
  }

  interface Reason {
    readonly kind: string
    readonly key_id?: string
    readonly message?: string
    readonly observed?: number
  }

  interface Case {
    readonly file: string
    readonly kind: string
    readonly expect: {
      readonly open: { readonly last_sig_prefix: string }
      readonly signed_chain: {
        readonly active_pubkey: string
        readonly report: {
          readonly failures: ReadonlyArray<{
            readonly line: number
            readonly event_id: string
            readonly reason: Reason
          }>
        }
      }
    }
  }

  const corrupt: {
    readonly signed_chain_public_key: string
    readonly files: ReadonlyArray<Case>
  } = JSON.parse(text(vector("corrupt/expected.json")))

  /** Of the original's report only what the signatures say; `Chain` says the rest. */
  const ofSignatures = new Set([
    "missing_signature",
    "bad_signature",
    "unknown_attestation_schema_version",
    "rotation_envelope_rejected"
  ])

  /** Where we point, for what the original tells in a sentence. */
  const places: { readonly [message: string]: string } = {
    "malformed base64 or wrong length": "/signature/bytes",
    "signature did not verify under active key": "/signature/bytes",
    "rotation envelope signature did not verify": "/payload/envelope/signature",
    "envelope.old_pubkey does not match currently-active operator key":
      "/payload/envelope/old_pubkey",
    "rotation envelope unknown schema_version (found 9, expected 1)":
      "/payload/envelope/schema_version"
  }

  /** What we remark on where the original is silent: parts of a row that no signature covers. */
  const remarked: { readonly [file: string]: ReadonlyArray<readonly [number, string]> } = {
    "signed-key-id-changed": [[3, "key_id_changed"]],
    "signed-key-id-empty": [[3, "key_id_changed"]],
    "signed-unused-bits": [[3, "signature_respelled"]],
    "rotate-envelope-malformed": [[3, "rotation_ignored"]]
  }

  const signedCases = corrupt.files.filter(({ kind }) => kind === "signed")
  const nameOf = ({ file }: Case) => file.replace(/^corrupt\/|\.jsonl$/g, "")

  for (const golden of signedCases) {
    const name = nameOf(golden)
    it(`judges ${name} as the original does`, () => {
      const { failures, lineage, remarks } = judge(
        eventsOf(vector(golden.file)),
        name,
        Result.getOrThrow(Attestation.genesis(corrupt.signed_chain_public_key))
      )
      const { report, active_pubkey } = golden.expect.signed_chain
      const expected = report.failures.filter(({ reason }) => ofSignatures.has(reason.kind))
      assert.deepStrictEqual(
        failures.map(({ seq, id, kind }) => [seq, id, kind]),
        expected.map(({ line, event_id, reason }) => [line, event_id, reason.kind])
      )
      for (const [nth, { reason }] of expected.entries()) {
        const failure = failures[nth]
        assert.isDefined(failure)
        if (reason.message !== undefined) {
          assert.strictEqual(failure.place, places[reason.message])
        }
        if (reason.observed !== undefined) assert.strictEqual(failure.actual, reason.observed)
        assert.include(failure.message, failure.place)
        assert.deepInclude(failure.reason, { kind: reason.kind, which: failure.place })
      }
      assert.strictEqual(lineage.publicKey, active_pubkey)
      assert.strictEqual(lineage.prevSignature, golden.expect.open.last_sig_prefix)
      assert.deepStrictEqual(remarks, remarked[name] ?? [])
    })
  }

  it("those exceptions name files that exist", () => {
    assert.isAtLeast(signedCases.length, 50)
    const names = new Set(signedCases.map(nameOf))
    for (const name of Object.keys(remarked)) assert.isTrue(names.has(name))
  })

  it("a failure says which key did not fit, or whose signature it is", () => {
    const of = (name: string) =>
      judge(eventsOf(vector(`corrupt/${name}.jsonl`)), name, genesisOf(first)).failures
    assert.include(String(of("signed-other-key")[0]?.actual), second.publicKey)
    assert.include(String(of("signed-other-key")[0]?.expected), first.publicKey)
    assert.strictEqual(of("signed-lifted")[0]?.actual, "the signature of the row before")
    assert.strictEqual(of("signed-row-repeated")[0]?.actual, "the signature of the row before")
    assert.strictEqual(of("signed-bytes-truncated")[0]?.actual, "30 bytes")
    assert.strictEqual(of("signed-padding")[0]?.actual, "a text that is none")
  })
})

const sources: ReadonlyArray<Source> = [
  { type: "user" },
  { type: "tool", name: "grep" },
  { type: "child_agent", model: "m" },
  { type: "runtime" }
]

/** Rows of several sources, sessions and times; the last but one hands over to the second key. */
const small = (): Signer => {
  const signer = new Signer("small", alice)
  for (const [nth, source] of sources.entries()) {
    const sessionId = nth === 0 ? null : `s-${nth}`
    const draft = { type: note, source, sessionId, payload: { nth }, traceId: null }
    signer.append(draft, timeOf(`2026-01-02T03:04:05.00000${nth}Z`))
  }
  signer.rotateTo(bob)
  signer.append({ type: "cortex.event.decision.v1" })
  return signer
}

/** `text` with one bit of one of its characters changed, for each of them. */
const flips = (text: string): ReadonlyArray<string> =>
  Array.from({ length: text.length * 7 }, (_, nth) => {
    const at = Math.floor(nth / 7)
    const unit = text.charCodeAt(at) ^ (1 << (nth % 7))
    return text.slice(0, at) + String.fromCharCode(unit) + text.slice(at + 1)
  })

describe("Attestation", () => {
  it.prop(
    "any drafts that are signed verify, and under another key, ledger or start none does",
    [Arbitraries.history, Arbitrary.schema(Schema.Literals(["", "k", "ключ"]))],
    ([drafts, keyId]) => {
      const signer = new Signer("l", alice, keyId)
      for (const [nth, draft] of drafts.entries()) {
        const { domainTags, payload, sessionId, source } = draft
        signer.append({ type: note, domainTags, payload: repaired(payload), sessionId, source })
        if (nth === 1) signer.rotateTo(carol)
      }
      const events = eventsIn(signer)
      const start = { ...genesisOf(alice), keyId }
      const { failures, lineage } = judge(events, "l", start)
      assert.deepStrictEqual(failures, [])
      assert.deepStrictEqual(lineage, signer.lineage)
      const all = events.map(({ seq }) => [seq, "bad_signature"] as const)
      assert.deepStrictEqual(found(judge(events, "m", start)), all)
      assert.deepStrictEqual(found(judge(events, "l", genesisOf(bob))), all)
      const elsewhere = judge(events, "l", { ...start, prevSignature: "1".repeat(64) })
      assert.deepStrictEqual(found(elsewhere), [[1, "bad_signature"]])
    },
    { arbitrary: { runs: 40 } }
  )

  it("any bit flip of a signed field of any row is found, and only that row is accused", () => {
    const events = eventsIn(small())
    let lineage = genesisOf(alice)
    for (const event of events) {
      const { signature } = event
      assert.isDefined(signature)
      const inTime = (written: string) => {
        const time = Timestamp.parse(written)
        return Result.isSuccess(time) ? Timestamp.toSigning(time.success) : undefined
      }
      const name = event.source.type === "tool" ? event.source.name : undefined
      const model = event.source.type === "child_agent" ? event.source.model : undefined
      const forged: ReadonlyArray<Event> = [
        ...flips(event.id).map((id) => changed(event, { id })),
        ...flips(event.payloadHash).map((payloadHash) => changed(event, { payloadHash })),
        ...flips(event.sessionId ?? "").map((sessionId) => changed(event, { sessionId })),
        ...flips(name ?? "").map((name) => changed(event, { source: { type: "tool", name } })),
        ...flips(model ?? "").map((m) =>
          changed(event, { source: { type: "child_agent", model: m } })
        ),
        ...sources
          .filter(({ type }) => type !== event.source.type)
          .map((source) => changed(event, { source })),
        ...flips(signature.signedAt)
          // In some bits one and the same time is only written otherwise: `z` for `Z`.
          .filter((written) => inTime(written) !== inTime(signature.signedAt))
          .map((signedAt) => changed(event, { signature: { ...signature, signedAt } })),
        ...Array.from({ length: 512 }, (_, bit) => {
          const bytes = Buffer.from(signature.bytes, "base64url")
          bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
          return changed(event, { signature: { ...signature, bytes: bytes.toString("base64url") } })
        })
      ]
      for (const one of forged) {
        const { failure } = Attestation.advance(lineage, one, "small", verify)
        assert.strictEqual(failure?.kind, "bad_signature", JSON.stringify(one))
      }
      const next = Attestation.advance(lineage, event, "small", verify)
      assert.isUndefined(next.failure)
      // The signature stands as it is, so the rows after a forged one are judged as before.
      const [other] = forged
      assert.isDefined(other)
      const past = Attestation.advance(lineage, other, "small", verify)
      assert.strictEqual(past.lineage.prevSignature, next.lineage.prevSignature)
      lineage = next.lineage
    }
  })

  /** What no signature covers. The seal covers two of them, the line chain all but none. */
  const unsigned: { readonly [field: string]: Partial<EventFields> } = {
    schemaVersion: { schemaVersion: 1 },
    observedAt: { observedAt: "1999-01-01T00:00:00Z" },
    recordedAt: { recordedAt: "1999-01-01T00:00:00Z" },
    type: { type: "cortex.event.outcome.v1" },
    traceId: { traceId: "trc_00000000000000000000000000" },
    domainTags: { domainTags: ["x"] },
    payloadText: { payloadText: "false" },
    prevEventHash: { prevEventHash: "x" },
    eventHash: { eventHash: "x" },
    parentId: { parentId: "evt_00000000000000000000000000" },
    keys: { keys: { k: "v" } },
    prevLineHash: { prevLineHash: "x" },
    batch: { batch: [0, 2] }
  }

  const signedFields = new Set(["id", "source", "sessionId", "payloadHash", "signature"])

  it("unsigned fields are these, and no others", () => {
    const [event] = eventsIn(small())
    assert.isDefined(event)
    assert.isTrue(isType("cortex.event.outcome.v1"))
    for (const [field, changes] of Object.entries(unsigned)) {
      const other = changed(event, changes)
      assert.notDeepEqual(other, event, field)
      const { failure } = Attestation.advance(genesisOf(alice), other, "small", verify)
      assert.isUndefined(failure, field)
    }
    const others = new Set(["seq", "leafHash", ...Object.keys(unsigned)])
    for (const field of Object.keys(event)) {
      assert.isTrue(signedFields.has(field) || others.has(field), field)
    }
    // An empty session for none; another key's name; in the second row the nanoseconds of the time.
    const { failures } = judge(
      eventsIn(small()).map((event) => {
        const { signature } = event
        assert.isDefined(signature)
        const nanoseconds = signature.signedAt.replace(/(\.\d{6})Z/, "$1999Z")
        assert.strictEqual(nanoseconds !== signature.signedAt, event.seq > 1 && event.seq < 5)
        return changed(event, {
          sessionId: event.sessionId ?? "",
          signature: { ...signature, keyId: "", signedAt: nanoseconds }
        })
      }),
      "small",
      genesisOf(alice)
    )
    assert.deepStrictEqual(failures, [])
  })

  /** The fields in which two events differ, as far as a signature is told apart by what it says. */
  const differing = (a: Event, b: Event): ReadonlyArray<string> => {
    const fieldsOf = ({ signature, ...fields }: Event) => ({
      ...fields,
      leafHash: undefined,
      keyId: signature?.keyId,
      signedAt: Timestamp.toSigning(timeOf(signature?.signedAt ?? "")),
      bytes: Buffer.from(signature?.bytes ?? "", "base64url").toString("hex")
    })
    const others = new Map<string, unknown>(Object.entries(fieldsOf(b)))
    return Object.entries(fieldsOf(a))
      .filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(others.get(name)))
      .map(([name]) => name)
  }

  it("any flipped bit of a signed line is found, or changes what no signature covers", () => {
    const [row] = small().lines
    assert.isDefined(row)
    const unnoticed = new Set<string>()
    for (let at = 0; at < row.bytes.byteLength - 1; at++) {
      const bytes = splice(row.bytes, at, at + 1, (row.bytes[at] ?? 0) ^ (at % 2 === 0 ? 1 : 32))
      const verifier = new Chain.Verifier({ path: "a", format: "cortex" })
      const [event] = linesOf(bytes).flatMap((line) => verifier.push(line) ?? [])
      if (event === undefined || verifier.report([])._tag !== "Intact") continue
      const { failure } = Attestation.advance(genesisOf(alice), event, "small", verify)
      if (failure === undefined) for (const name of differing(row.event, event)) unnoticed.add(name)
    }
    const known = [...Object.keys(unsigned), "keyId"]
    for (const name of unnoticed) assert.include(known, name)
    assert.includeMembers([...unnoticed], ["observedAt", "recordedAt", "keyId"])
  })

  it("a missing signature is missed in its row, and breaks the next one's lineage", () => {
    const events = eventsIn(small())
    const cut = events.map((event) =>
      event.seq === 2 ? changed(event, { signature: undefined }) : event
    )
    const { failures } = judge(cut, "small", genesisOf(alice))
    assert.deepStrictEqual(found({ failures }), [
      [2, "missing_signature"],
      [3, "bad_signature"]
    ])
    assert.deepInclude(failures[0], { place: "/signature", actual: null })
  })

  it("only 64 bytes are a signature, and only by them the lineage goes on", () => {
    const [event] = eventsIn(small())
    assert.isDefined(event)
    const { signature } = event
    assert.isDefined(signature)
    const whole = [...Buffer.from(signature.bytes, "base64url")]
    for (const size of [0, 1, 31, 32, 63, 65, 66, 128]) {
      const bytes = Buffer.from(whole.concat(whole).slice(0, size)).toString("base64url")
      const other = changed(event, { signature: { ...signature, bytes } })
      const { failure, lineage } = Attestation.advance(genesisOf(alice), other, "small", verify)
      assert.deepInclude(failure, { kind: "bad_signature", actual: `${size} bytes` })
      assert.deepStrictEqual(lineage, genesisOf(alice))
    }
  })

  it("a lineage survives JSON, is checked when it is read, and goes on where it stood", () => {
    const events = eventsIn(small())
    const json = Schema.fromJsonString(Attestation.Lineage)
    for (const cut of events.keys()) {
      const before = judge(events.slice(0, cut), "small", genesisOf(alice)).lineage
      const read = Schema.decodeUnknownSync(json)(Schema.encodeUnknownSync(json)(before))
      assert.deepStrictEqual(read, before)
      assert.deepStrictEqual(judge(events.slice(cut), "small", read).failures, [])
    }
    const good = genesisOf(alice)
    for (const bad of [{ publicKey: "00" }, { prevSignature: "Z" }, { keyId: "\ud800" }]) {
      const decoded = Schema.decodeUnknownResult(Attestation.Lineage)({ ...good, ...bad })
      assert.isTrue(Result.isFailure(decoded), JSON.stringify(bad))
    }
  })

  it("a signer that gives no 64 bytes is told so, and nothing is made of them", () => {
    const handOver = Result.getOrThrow(Attestation.rotate(genesisOf(alice), bob.publicKey, now))
    for (const size of [0, 32, 63, 65]) {
      const bytes = new Uint8Array(size)
      const row = errorOf(Attestation.rowSignature("k", now, bytes))
      assert.deepInclude(row, { keyId: "k", expected: "64 bytes", actual: `${size} bytes` })
      assert.include(row.message, `${size} bytes`)
      const draft = errorOf(Attestation.rotationDraft(handOver, bytes))
      assert.strictEqual(draft.keyId, alice.publicKey)
    }
  })

  it("an operator is named by the hash of the key's bytes", () => {
    const expected = `operator:${Hashes.noble.blake3Hex(unhex(alice.publicKey))}`
    const upper = alice.publicKey.toUpperCase()
    for (const key of [alice.publicKey, upper]) {
      assert.strictEqual(Result.getOrThrow(Attestation.operatorId(key)), expected)
    }
    assert.strictEqual(Takeover.operatorId(unhex(alice.publicKey)), expected)
    assert.match(expected, /^operator:[0-9a-f]{64}$/)
    assert.strictEqual(errorOf(Attestation.operatorId("ada"))._tag, "PublicKeyInvalid")
  })
})

const repaired = (payload: unknown): unknown =>
  // Cortex refuses some numbers, and that is not what is tested here.
  JSON.parse(JSON.stringify(payload), (_, value) => (typeof value === "number" ? 1 : value))

/** R is the neutral point, S the key's secret times the hash: only the key's holder can make it. */
const smallOrderSignature = (seed: Uint8Array, publicKey: string, message: Uint8Array) => {
  const order = 2n ** 252n + 27742317777372353535851937790883648493n
  const sha512 = (...parts: ReadonlyArray<Uint8Array>) =>
    parts.reduce((hash, part) => hash.update(part), crypto.createHash("sha512")).digest()
  const number = (bytes: Uint8Array) => BigInt(`0x${hex(bytes.toReversed())}`)
  const secret = sha512(seed).subarray(0, 32)
  secret[0] = (secret[0] ?? 0) & 248
  secret[31] = ((secret[31] ?? 0) & 127) | 64
  const point = unhex("01".padEnd(64, "0"))
  const s = (number(sha512(point, unhex(publicKey), message)) * number(secret)) % order
  return concat([point, unhex(s.toString(16).padStart(64, "0")).toReversed()])
}

describe("Attestation where it is not the original", () => {
  /** What the original does by accident, what is done here, and why. */
  const deviations: ReadonlyArray<readonly [original: string, here: string, check: () => void]> = [
    [
      // It verifies by one rule and continues by another: on opening a log it takes the first 32
      // of any 32 bytes or more for a signature, so what it signs next can never verify.
      "goes on from a signature of 32 to 63 bytes, and its next row is bad for ever",
      "goes on from the signature before it, and the next row is right",
      () => {
        const name = "signed-45-bytes-then-appended"
        const events = eventsOf(vector(`corrupt/${name}.jsonl`))
        const four = judge(events.slice(0, 4), name, genesisOf(first))
        assert.deepStrictEqual(found(four), [[4, "bad_signature"]])
        assert.strictEqual(four.failures[0]?.actual, "45 bytes")
        const signer = new Signer(name, first)
        signer.lineage = four.lineage
        const event = signer.append({ type: note })
        assert.isUndefined(Attestation.advance(four.lineage, event, name, verify).failure)
      }
    ],
    [
      // Under such a key one signature fits every row: rows would verify that nobody signed.
      "takes keys of small order, of a y above p too",
      "refuses them, as keys to begin with and as keys to rotate to",
      () => {
        for (const key of smallOrderKeys) {
          assert.strictEqual(errorOf(Attestation.genesis(key))._tag, "PublicKeyInvalid", key)
        }
      }
    ],
    [
      // Whether it is right depends on the library: Node's says no, Deno's yes. No signer makes it.
      "takes a signature whose R is a point of small order",
      "refuses it whatever the verifier says",
      () => {
        const seed = new Uint8Array(32).fill(1)
        const signer = new Signer("l", {
          publicKey: alice.publicKey,
          sign: (message) => smallOrderSignature(seed, alice.publicKey, message)
        })
        const event = signer.append({ type: note })
        const judged = Attestation.advance(genesisOf(alice), event, "l", () => true)
        assert.strictEqual(judged.failure?.kind, "bad_signature")
      }
    ],
    [
      // What its decoder does with any structure; nobody writes it so.
      "takes an array for a rotation's envelope",
      "wants the object that is written, and else lets the old key go on",
      () => {
        const signer = new Signer("l", alice)
        const handOver = {
          ...Result.getOrThrow(Attestation.rotate(signer.lineage, bob.publicKey, now))
        }
        const signature = [...alice.sign(Attestation.rotationInput(handOver))]
        const keys = [handOver.oldPublicKey, handOver.newPublicKey].map((key) => [...unhex(key)])
        const envelope = [1, ...keys, now, signature]
        signer.append({ type: note, payload: { kind: "identity.rotate", envelope } })
        const { failures, lineage, remarks } = judge(eventsIn(signer), "l", genesisOf(alice))
        assert.deepStrictEqual([failures, remarks], [[], [[1, "rotation_ignored"]]])
        assert.strictEqual(lineage.publicKey, alice.publicKey)
      }
    ]
  ]

  for (const [original, here, check] of deviations) {
    it(`where the original ${original}: ${here}`, check)
  }
})
