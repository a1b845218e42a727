/** Ledgers for the tests of core: the bytes of groups of drafts, by public functions only. */
import { Arbitrary, Result, Schema } from "effect"
import * as fs from "node:fs"
import type { Head } from "../../src/core/Chain.ts"
import * as Chain from "../../src/core/Chain.ts"
import * as Event from "../../src/core/Event.ts"
import * as Draft from "../../src/core/Draft.ts"
import * as Row from "../../src/core/Row.ts"
import type { Sealed } from "../../src/core/Seal.ts"
import * as Seal from "../../src/core/Seal.ts"
import type { Line } from "../../src/core/Segment.ts"
import * as Segment from "../../src/core/Segment.ts"
import * as Timestamp from "../../src/core/Timestamp.ts"

export interface Ledger {
  readonly bytes: Uint8Array
  readonly rows: ReadonlyArray<Row.GroupRow>
  /** Where each group begins in `bytes`, and the head before it. */
  readonly groups: ReadonlyArray<{ readonly offset: number; readonly before: Head }>
  readonly head: Head
}

export const segments: Row.EncodeOptions = { format: "segments" }

export const now = Timestamp.fromMillis(1_776_000_000_000)

export const utf8 = new TextEncoder()

export const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

export const lineBytesMax = 1_000_000

export const linesOf = (bytes: Uint8Array, path = "a"): ReadonlyArray<Line> =>
  Segment.lines(path, bytes, lineBytesMax)

export const headAfter = ({ event, seq, leafHash }: Row.GroupRow): Head => ({
  seq,
  leafHash,
  id: event.id,
  eventHash: event.eventHash
})

/** A ledger of these groups; ids and times depend on nothing but the place of the row. */
export const ledgerOf = (
  groups: ReadonlyArray<ReadonlyArray<Draft.Draft>>,
  options: Row.EncodeOptions = segments
): Ledger => {
  let head = Chain.start
  const parts: Array<Uint8Array> = []
  const rows: Array<Row.GroupRow> = []
  const places: Array<{ offset: number; before: Head }> = []
  let offset = 0
  for (const drafts of groups) {
    const sealed: Array<Sealed> = []
    for (const draft of drafts) {
      const id = Event.idFrom(`row ${head.seq + sealed.length + 1}`)
      const mode = options.format
      const complete = Result.getOrThrow(Draft.complete(draft, { id, now, mode }))
      sealed.push(Seal.seal(complete, sealed.at(-1)?.eventHash ?? head.eventHash))
    }
    const group = Row.encode(sealed, head, options)
    places.push({ offset, before: head })
    parts.push(group.bytes)
    for (const row of group.rows) rows.push({ ...row, offset: row.offset + offset })
    offset += group.bytes.byteLength
    const last = group.rows.at(-1)
    if (last !== undefined) head = headAfter(last)
  }
  return { bytes: concat(parts), rows, groups: places, head }
}

export const concat = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const bytes = new Uint8Array(parts.reduce((size, part) => size + part.byteLength, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.byteLength
  }
  return bytes
}

/** `bytes` with the range from `from` to `to` replaced. */
export const splice = (
  bytes: Uint8Array,
  from: number,
  to: number,
  ...middle: ReadonlyArray<number>
): Uint8Array => concat([bytes.subarray(0, from), Uint8Array.from(middle), bytes.subarray(to)])

/** The file of golden vectors with this name. */
export const vector = (name: string): Uint8Array =>
  new Uint8Array(fs.readFileSync(new URL(`../vectors/cortex/${name}`, import.meta.url)))

/** A whole number from 0 to `max`. */
export const natural = (max: number): Arbitrary.Arbitrary<number> =>
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: max })))

/** The error of a result that must be one. */
export const errorOf = <A, E>(result: Result.Result<A, E>): E =>
  Result.getOrThrow(Result.flip(result))
