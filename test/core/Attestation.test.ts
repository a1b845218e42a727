import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Result, Schema } from "effect"
import * as crypto from "node:crypto"
import * as Attestation from "../../src/core/Attestation.ts"
import * as base64url from "../../src/core/base64url.ts"
import * as Chain from "../../src/core/Chain.ts"
import type { Draft } from "../../src/core/Draft.ts"
import { Event, isType } from "../../src/core/Event.ts"
import type { EventFields, Source } from "../../src/core/Event.ts"
import * as Hashes from "../../src/core/Hashes.ts"
import * as Row from "../../src/core/Row.ts"
import { preimageBytes } from "../../src/core/signingInput.ts"
import * as Timestamp from "../../src/core/Timestamp.ts"
import * as Arbitraries from "../../src/testing/Arbitraries.ts"
import { cortexDraft } from "../store/ledgerFixtures.ts"
import { concat, errorOf, linesOf, natural, now, splice, text, vector } from "./history.ts"
import {
  alice,
  bob,
  carol,
  genesisOf,
  hex,
  judge,
  keyOf,
  Signer,
  unhex,
  verify
} from "./signing.ts"

const note = "cortex.event.system_note.v1"

const timeOf = (written: string): Timestamp.Timestamp => Result.getOrThrow(Timestamp.parse(written))

const vectorLines = (name: string): ReadonlyArray<string> =>
  text(vector(name))
    .split("\n")
    .filter((line) => line !== "")

/** The rows of a log in the original's format. */
const eventsOf = (bytes: Uint8Array): ReadonlyArray<Event> =>
  linesOf(bytes)
    .filter((line) => line.length > 0)
    .map((line, nth) => Result.getOrThrow(Row.decode(line.bytes, nth + 1, "cortex")).event)

/** An event with some of its fields changed. */
const changed = (event: Event, changes: Partial<EventFields>): Event =>
  new Event({ ...event, ...changes })

const found = ({
  failures
}: {
  readonly failures: ReadonlyArray<Attestation.AttestationInvalid>
}) => failures.map(({ seq, kind }) => [seq, kind] as const)

const keyFile: {
  readonly [name in "first" | "second"]: { readonly seed: string; readonly public_key: string }
} = JSON.parse(text(vector("keys.json")))

const first = keyOf(unhex(keyFile.first.seed))
const second = keyOf(unhex(keyFile.second.seed))

describe("Attestation signing input", () => {
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

  it("refuses a text that has no UTF-8, rather than signing another one", () => {
    const by = { ledgerId: "l", keyId: "k", prevSignature: "", signedAt: now }
    const source: Source = { type: "tool", name: "\ud800" }
    const event = { id: "evt_x", payloadHash: "", sessionId: null, source }
    assert.throws(() => Attestation.signingInput(event, by), RangeError)
  })
})

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

const eventsIn = (signer: Signer): ReadonlyArray<Event> => signer.lines.map(({ event }) => event)

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

const P = 2n ** 255n - 19n

const inverse = (value: bigint): bigint => {
  let [result, base] = [1n, value % P]
  for (let rest = P - 2n; rest > 0n; rest >>= 1n) {
    if (rest % 2n === 1n) result = (result * base) % P
    base = (base * base) % P
  }
  return result
}

const D = (P - ((121665n * inverse(121666n)) % P)) % P

/** The y of twice the point with this y: x is needed in its square only. */
const doubled = (y: bigint): bigint => {
  const yy = (y * y) % P
  const xx = ((yy - 1n + P) * inverse(D * yy + 1n)) % P
  return ((yy + xx) * inverse(1n + P - ((((D * xx) % P) * yy) % P))) % P
}

const keyText = (y: bigint): string => hex(unhex(y.toString(16).padStart(64, "0")).toReversed())

/** From the definition: a y whose point is the neutral one, y = 1, after three doublings. */
const isSmallOrder = (y: bigint): boolean => doubled(doubled(doubled(y))) === 1n

const yOfOrder8 = 0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n

const smallOrderKeys = [0n, 1n, P - 1n, yOfOrder8, P - yOfOrder8, P, P + 1n].flatMap((y) => [
  keyText(y),
  keyText(y + 2n ** 255n)
])

describe("Attestation public keys", () => {
  it("those of small order are the ones of the definition", () => {
    for (const y of [0n, 1n, P - 1n, yOfOrder8, P - yOfOrder8]) assert.isTrue(isSmallOrder(y))
    for (const key of [alice, bob, carol, first, second]) {
      assert.isFalse(
        isSmallOrder(BigInt(`0x${hex(unhex(key.publicKey).toReversed())}`) % 2n ** 255n)
      )
    }
    for (const key of smallOrderKeys) {
      assert.include(errorOf(Attestation.genesis(key)).expected, "full order")
    }
  })

  it.prop(
    "every key that has a seed is one",
    [Arbitrary.array(natural(255), { minLength: 32, maxLength: 32 })],
    ([seed]) => {
      const { publicKey } = keyOf(Uint8Array.from(seed))
      const lineage = Result.getOrThrow(Attestation.genesis(publicKey.toUpperCase()))
      assert.deepStrictEqual(lineage, {
        keyId: publicKey,
        publicKey,
        prevSignature: "0".repeat(64)
      })
    },
    { arbitrary: { runs: 50 } }
  )

  it("about half of all numbers are no y of the curve, none above p is one", () => {
    const refused = Array.from({ length: 100 }, (_, nth) => keyText(BigInt(nth + 2))).filter(
      (key) => Result.isFailure(Attestation.genesis(key))
    )
    assert.isAtLeast(refused.length, 30)
    assert.isAtMost(refused.length, 70)
    assert.include(refused, keyText(2n))
    for (let y = P; y < 2n ** 255n; y++) {
      assert.strictEqual(errorOf(Attestation.genesis(keyText(y)))._tag, "PublicKeyInvalid")
    }
  })

  it("what is no hex of 32 bytes is told so, and a key id must be a text", () => {
    for (const text of ["", "0", "g".repeat(64), "0".repeat(63), ` ${"0".repeat(63)}`]) {
      const { expected, message } = errorOf(Attestation.genesis(text))
      assert.strictEqual(expected, "64 hex digits")
      assert.include(message, "64 hex digits")
    }
    assert.include(errorOf(Attestation.genesis(alice.publicKey, "\ud800")).actual, "surrogate")
  })
})

describe("base64url", () => {
  it.prop(
    "says bytes as the platform does, and reads them back",
    [Arbitrary.array(natural(255), { maxLength: 70 })],
    ([values]) => {
      const bytes = Uint8Array.from(values)
      const written = base64url.encode(bytes)
      assert.strictEqual(written, Buffer.from(bytes).toString("base64url"))
      assert.deepStrictEqual(base64url.decode(written), bytes)
    }
  )

  it("reads its alphabet and nothing else", () => {
    for (let unit = 0; unit < 300; unit++) {
      const char = String.fromCharCode(unit)
      const isRead = base64url.decode(`AA${char}A`) !== undefined
      assert.strictEqual(isRead, /[A-Za-z0-9_-]/.test(char), char)
    }
    for (const text of ["A", "AAAAA", "AA==", "AA=", "AA A", "AA\n", "AA+A", "ＡＡ"]) {
      assert.isUndefined(base64url.decode(text), text)
    }
    // The last bits of these belong to no byte.
    assert.deepStrictEqual(base64url.decode("AP"), Uint8Array.of(0))
    assert.deepStrictEqual(base64url.decode("AAD"), Uint8Array.of(0, 0))
  })
})

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
    ]
  ]

  for (const [original, here, check] of deviations) {
    it(`where the original ${original}: ${here}`, check)
  }
})

describe("Attestation rotation", () => {
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
    ["an array for an envelope", payloadOf(Object.values(envelope()))],
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
