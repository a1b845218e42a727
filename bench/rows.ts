/**
 * The rows that every contestant writes: the same drafts, and the lines that a ledger makes of them.
 *
 * Payloads are `payloadBytes` of canonical JSON, ids are ULIDs 37 ms apart with random tails, the
 * rest varies as in an agent's log. All of it follows from the row's number alone.
 */
import { Result } from "effect"
import type * as Chain from "../src/core/Chain.ts"
import * as Event from "../src/core/Event.ts"
import * as Draft from "../src/core/Draft.ts"
import * as EventId from "../src/core/EventId.ts"
import * as Hashes from "../src/core/Hashes.ts"
import * as Row from "../src/core/Row.ts"
import * as Seal from "../src/core/Seal.ts"
import * as Timestamp from "../src/core/Timestamp.ts"

/** Bytes of each row's payload, as canonical JSON. */
export const payloadBytes = 200

const startMillis = 1_767_225_600_000
const stepMillis = 37
const types = [...Event.cortexTypes]
const letters = "abcdefghijklmnopqrstuvwxyz".repeat(1 + Math.ceil(payloadBytes / 26))

const sources: ReadonlyArray<Event.Source> = [
  { type: "runtime" },
  { type: "child_agent", model: "model-a" },
  { type: "tool", name: "grep" },
  { type: "external_outcome" },
  { type: "manual_correction" }
]

/** The id of row `n`, from 0. */
export const idOf = (n: number): EventId.EventId => {
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  const millis = startMillis + n * stepMillis
  view.setUint16(0, Math.floor(millis / 2 ** 32))
  view.setUint32(2, millis % 2 ** 32)
  let state = Math.imul(n + 1, 0x9e3779b1)
  for (let at = 6; at < 16; at++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    view.setUint8(at, state & 0xff)
  }
  return EventId.fromBytes(bytes)
}

/** The draft of row `n`, from 0. */
const draft = (n: number): Draft.Draft => {
  const fixed = `{"seq":${n},"text":""}`.length
  const text = letters.slice(n % 26, (n % 26) + payloadBytes - fixed)
  return {
    type: typeOf(n),
    id: idOf(n),
    source: sources[n % sources.length],
    sessionId: n % 4 === 0 ? null : `session-${Math.floor(n / 100)}`,
    domainTags: ["bench", `t${n % 5}`],
    payload: { seq: n, text }
  }
}

/** The drafts of `count` rows from row `first`. */
export const drafts = (first: number, count: number): ReadonlyArray<Draft.Draft> =>
  Array.from({ length: count }, (_, i) => draft(first + i))

/** How many rows a branch has. */
export const branchRows = 1_000

/** The seq of the last row of the first branch. */
export const branchTip = 2 * branchRows - 1

/**
 * The same drafts in branches, two at a time and row by row in turns: each goes on from the last but
 * one, so that no path lies in one piece.
 */
export const branching = (first: number, count: number): ReadonlyArray<Draft.Draft> =>
  Array.from({ length: count }, (_, i) => {
    const n = first + i
    return n % (2 * branchRows) < 2 ? draft(n) : { ...draft(n), parentId: idOf(n - 2) }
  })

/** The key that rows are asked for by. */
export const keyName = "account"

/** The key of row `n`, from 0: so many that a page of one lies far apart. */
export const keyOf = (n: number): string => `account-${n % 97}`

/** The type of row `n`, from 0. */
export const typeOf = (n: number): string => types[n % types.length] ?? "bench.row.v1"

/** The session of row `n`, from 0. */
export const sessionOf = (n: number): string => `session-${Math.floor(n / 1_000)}`

/** The trace of row `n`, from 0: eight at a time, in turns. */
export const traceOf = (n: number): string =>
  idOf(8 * Math.floor(n / 1_000) + (n % 8)).replace("evt_", "trc_")

/** When row `n` was observed, from 0. */
export const timeOf = (n: number): Timestamp.Timestamp =>
  Timestamp.fromMillis(startMillis + n * stepMillis)

/** Rows that have all that a query can ask for. */
export const asked = (first: number, count: number): ReadonlyArray<Draft.Draft> =>
  drafts(first, count).map((one, i) => {
    const n = first + i
    return {
      ...one,
      observedAt: timeOf(n),
      sessionId: sessionOf(n),
      traceId: traceOf(n),
      keys: { [keyName]: keyOf(n) }
    }
  })

/** A line without its LF, and what it was made of. */
export interface Line {
  readonly seq: number
  readonly event: Seal.Sealed
  readonly bytes: Uint8Array
}

/** The lines of the first `count` rows, linked as a ledger links them, each a group of its own. */
export const lines = (count: number, before: Chain.Head, hashes: Hashes.Hashes) => {
  const made: Array<Line> = []
  let { seq, leafHash, eventHash } = before
  for (let n = 0; n < count; n++) {
    const complete = Result.getOrThrow(
      Draft.complete(draft(n), { id: idOf(n), now: Timestamp.fromMillis(startMillis) })
    )
    const event = Seal.seal(complete, eventHash, hashes)
    const group = Row.encode([event], { seq, leafHash }, { format: "segments" }, hashes)
    const bytes = group.bytes.subarray(0, group.bytes.byteLength - 1)
    leafHash = Hashes.leafHash(hashes, bytes)
    eventHash = event.eventHash
    seq++
    made.push({ seq, event, bytes })
  }
  return made
}
