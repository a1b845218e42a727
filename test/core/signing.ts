/** Ed25519 for the tests of core, and whole signed logs in the original's format. */
import { Result } from "effect"
import * as crypto from "node:crypto"
import * as Attestation from "../../src/core/Attestation.ts"
import type { Draft } from "../../src/core/Draft.ts"
import * as Drafts from "../../src/core/Draft.ts"
import * as EventModule from "../../src/core/Event.ts"
import type { Event } from "../../src/core/Event.ts"
import * as Row from "../../src/core/Row.ts"
import * as Seal from "../../src/core/Seal.ts"
import * as Timestamp from "../../src/core/Timestamp.ts"
import { concat, linesOf, now, text, vector } from "./history.ts"

const spkiHead = Buffer.from("302a300506032b6570032100", "hex")
const pkcs8Head = Buffer.from("302e020100300506032b657004220420", "hex")

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

export const unhex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "hex"))

export interface Key {
  readonly publicKey: string
  readonly sign: (message: Uint8Array) => Uint8Array
}

/** The key with this seed of 32 bytes. */
export const keyOf = (seed: Uint8Array): Key => {
  const key = crypto.createPrivateKey({
    key: Buffer.concat([pkcs8Head, seed]),
    format: "der",
    type: "pkcs8"
  })
  const spki = crypto.createPublicKey(key).export({ format: "der", type: "spki" })
  return {
    publicKey: spki.subarray(spkiHead.length).toString("hex"),
    sign: (message) => new Uint8Array(crypto.sign(null, message, key))
  }
}

const keys = new Map<string, crypto.KeyObject>()

export const verify: Attestation.Verify = (publicKey, message, signature) => {
  const name = hex(publicKey)
  let key = keys.get(name)
  if (key === undefined) {
    const der = Buffer.concat([spkiHead, publicKey])
    key = crypto.createPublicKey({ key: der, format: "der", type: "spki" })
    keys.set(name, key)
  }
  return crypto.verify(null, message, key, signature)
}

export const [alice, bob, carol] = [
  keyOf(new Uint8Array(32).fill(1)),
  keyOf(new Uint8Array(32).fill(2)),
  keyOf(new Uint8Array(32).fill(3))
]

const keyFile: {
  readonly [name in "first" | "second"]: { readonly seed: string }
} = JSON.parse(text(vector("keys.json")))

/** The keys of the golden logs. */
export const first = keyOf(unhex(keyFile.first.seed))
export const second = keyOf(unhex(keyFile.second.seed))

/** The prime of the curve's field. */
export const P = 2n ** 255n - 19n

/** The key whose bytes are this number. */
export const keyText = (y: bigint): string =>
  hex(unhex(y.toString(16).padStart(64, "0")).toReversed())

export const yOfOrder8 = 0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n

export const smallOrderKeys = [0n, 1n, P - 1n, yOfOrder8, P - yOfOrder8, P, P + 1n].flatMap((y) => [
  keyText(y),
  keyText(y + 2n ** 255n)
])

/** The type of rows that may hand over to another key. */
export const note = "cortex.event.system_note.v1"

export const timeOf = (written: string): Timestamp.Timestamp =>
  Result.getOrThrow(Timestamp.parse(written))

export const vectorLines = (name: string): ReadonlyArray<string> =>
  text(vector(name))
    .split("\n")
    .filter((line) => line !== "")

/** The rows of a log in the original's format. */
export const eventsOf = (bytes: Uint8Array): ReadonlyArray<Event> =>
  linesOf(bytes)
    .filter((line) => line.length > 0)
    .map((line, nth) => Result.getOrThrow(Row.decode(line.bytes, nth + 1, "cortex")).event)

export const genesisOf = (key: Key): Attestation.Lineage =>
  Result.getOrThrow(Attestation.genesis(key.publicKey))

export interface Line {
  readonly bytes: Uint8Array
  readonly event: Event
}

/** Signs rows one after another, as the original's log does. */
export class Signer {
  readonly ledgerId: string
  key: Key
  lineage: Attestation.Lineage
  prevEventHash: string | null = null
  readonly lines: Array<Line> = []

  constructor(ledgerId: string, key: Key, keyId?: string) {
    this.ledgerId = ledgerId
    this.key = key
    this.lineage = Result.getOrThrow(Attestation.genesis(key.publicKey, keyId))
  }

  get bytes(): Uint8Array {
    return concat(this.lines.map((line) => line.bytes))
  }

  append(draft: Draft, signedAt: Timestamp.Timestamp = now): Event {
    const seq = this.lines.length + 1
    const id = EventModule.idFrom(`row ${seq}`)
    const complete = Drafts.complete(draft, { id, now, mode: "cortex" })
    const sealed = Seal.seal(Result.getOrThrow(complete), this.prevEventHash)
    const { ledgerId, lineage } = this
    const message = Attestation.signingInput(sealed, { ...lineage, ledgerId, signedAt })
    const bytes = this.key.sign(message)
    const signature = Result.getOrThrow(Attestation.rowSignature(lineage.keyId, signedAt, bytes))
    const line = Row.encodeLine(sealed, { signature })
    const { event } = Result.getOrThrow(Row.decode(line.subarray(0, -1), seq, "cortex"))
    this.lines.push({ bytes: line, event })
    this.prevEventHash = event.eventHash
    // Its own signature is right; whether that is found is for the tests.
    this.lineage = Attestation.advance(lineage, event, ledgerId, () => true).lineage
    return event
  }

  /** Hand over to another key, in a row that the key until now signs. */
  rotateTo(key: Key): Event {
    const handOver = Result.getOrThrow(Attestation.rotate(this.lineage, key.publicKey, now))
    const signature = this.key.sign(Attestation.rotationInput(handOver))
    const event = this.append(Result.getOrThrow(Attestation.rotationDraft(handOver, signature)))
    this.key = key
    return event
  }
}

export interface Judged {
  readonly lineage: Attestation.Lineage
  readonly failures: ReadonlyArray<Attestation.AttestationInvalid>
  readonly remarks: ReadonlyArray<readonly [seq: number, kind: string]>
}

/** All rows, judged one by one. */
export const judge = (
  events: Iterable<Event>,
  ledgerId: string,
  start: Attestation.Lineage
): Judged => {
  let lineage = start
  const failures: Array<Attestation.AttestationInvalid> = []
  const remarks: Array<readonly [number, string]> = []
  for (const event of events) {
    const row = Attestation.advance(lineage, event, ledgerId, verify)
    lineage = row.lineage
    if (row.failure !== undefined) failures.push(row.failure)
    for (const remark of row.remarks) remarks.push([event.seq, remark.kind])
  }
  return { lineage, failures, remarks }
}

export const eventsIn = (signer: Signer): ReadonlyArray<Event> =>
  signer.lines.map(({ event }) => event)

export const found = ({
  failures
}: Pick<Judged, "failures">): ReadonlyArray<readonly [seq: number, kind: string]> =>
  failures.map(({ seq, kind }) => [seq, kind])
