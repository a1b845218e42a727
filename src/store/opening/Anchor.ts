/**
 * Anchor: where the mirror's newest row lies in the journal, the place from which opening looks on.
 *
 * It counts only if the line there has the leaf hash that the index holds and the event hash that
 * `events` holds, ends with its LF, ends a group, and is counted by the row before it. Anything else
 * is a mirror of another history, or a journal that lost acknowledged rows: diverged.
 */
import { Effect, Result } from "effect"
import type { SqlClient } from "effect/sql"
import type { Position } from "../../core/Event.ts"
import type * as Hashes from "../../core/Hashes.ts"
import * as Row from "../../core/Row.ts"
import * as CutHistory from "../reading/CutHistory.ts"
import { mirrorError } from "../errors.ts"
import type { JournalFile, JournalReader } from "../journal/Journal.ts"
import * as Journal from "../journal/Journal.ts"
import type { Settled } from "../mirror/Mirror.ts"
import * as Mirror from "../mirror/Mirror.ts"
import type { Floor } from "../upkeep/finishing.ts"
import { diverged } from "./Refusal.ts"
import * as Replay from "../mirror/Replay.ts"

/** Whether the index counts as the journal does: rows lie behind each other, from the first on. */
const counts = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  { head: { seq }, place }: Settled,
  format: JournalReader["format"]
) {
  if (place === undefined) return true
  const before = yield* Effect.mapError(Mirror.at(sql, seq - 1), mirrorError("read its head"))
  if (format === "segments" && place.offset === 0) return seq === place.segment
  if (before === undefined) return format === "cortex" && seq === 1
  const { segment, offset, length } = Mirror.placeOf(before)
  const end = offset + length + 1
  // Blank lines may lie between the rows of a file that Cortex reads.
  return (
    segment === place.segment && (format === "cortex" ? end <= place.offset : end === place.offset)
  )
})

/** The head and place behind the mirror's newest row, or `LedgerDiverged`. */
export const find = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  journal: JournalReader,
  settled: Settled,
  files: ReadonlyArray<JournalFile>,
  hashes: Hashes.Hashes
) {
  const { head, place } = settled
  if (place === undefined) return { ...Replay.beginning, segment: files[0]?.segment ?? 0 }
  const { seq, leafHash } = head
  if (!Journal.isPlace(place)) {
    const reason = "the index does not say where the mirror's newest row lies"
    const actual = `${place.segment} ${place.offset} ${place.length}`
    return yield* diverged(journal, seq, reason, "segment, offset and length", actual)
  }
  const file = files.find((file) => file.segment === place.segment)
  const end = place.offset + place.length + 1
  if (file === undefined || file.bytes < end) {
    const found = file === undefined ? "no such segment" : `${file.bytes} bytes`
    const reason = "the journal ends before the mirror's newest row"
    return yield* diverged(journal, seq, reason, `at least ${end} bytes`, found)
  }
  const bytes = yield* journal.read({ ...place, length: place.length + 1 })
  const line = bytes.subarray(0, place.length)
  const actual = Row.leafHash(line, hashes)
  if (actual !== leafHash || bytes.at(-1) !== 0x0a) {
    const reason = "the mirror's newest row is not what the journal holds there"
    return yield* diverged(journal, seq, reason, `leaf hash ${leafHash}`, actual)
  }
  const row = Row.decode(line, seq, journal.format, hashes)
  const eventHash = Result.isSuccess(row) ? row.success.event.eventHash : undefined
  if (eventHash !== head.eventHash) {
    const reason = "events and journal do not hold the same newest row"
    return yield* diverged(journal, seq, reason, `event hash ${eventHash}`, `${head.eventHash}`)
  }
  const [index, size] = Result.isSuccess(row) ? (row.success.event.batch ?? [0, 1]) : [0, 1]
  if (journal.format === "segments" && index + 1 < size) {
    const reason = "the mirror ends inside a group, which it takes in as a whole"
    return yield* diverged(journal, seq, reason, `row ${size - 1} of ${size}`, `row ${index}`)
  }
  if (!(yield* counts(sql, settled, journal.format))) {
    const reason = "the index does not count the rows before its newest one"
    return yield* diverged(journal, seq, reason, `row ${seq - 1} right before it`, "another place")
  }
  return Replay.behind(head, place)
})

/** Which rollback or repair cut the mirror's newest row, and to where the mirror is taken back then. */
export const cutBy = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  { layout, lineBytesMax }: JournalReader,
  newest: Position,
  hashes: Hashes.Hashes
) {
  const isHeld = ({ leafHash, seq }: Position) =>
    Effect.map(
      Effect.mapError(Mirror.at(sql, seq), mirrorError("find a position")),
      (row) => row?.leaf_hash === leafHash
    )
  return yield* CutHistory.find({ layout, hashes, lineBytesMax }, newest, isHeld)
})

/** Where cutting may begin: in the last file, and behind the mirror's newest row. */
export const floorOf = (
  files: ReadonlyArray<JournalFile>,
  { place }: Settled
): Floor | undefined => {
  const last = files.at(-1)
  if (last === undefined || (place !== undefined && place.segment > last.segment)) return undefined
  const inLast = place !== undefined && place.segment === last.segment
  return { path: last.path, offset: inLast ? place.offset + place.length + 1 : 0 }
}
