/**
 * Internal: the lineage of signatures that opening goes on from, and the signatures of the tail.
 *
 * The mirror holds the lineage behind its newest row, and the newest checkpoint may state it. Either
 * counts only if it fits that row: the row's own signature is the lineage's last one. Where neither
 * does, or somebody has come who can say the key of rows that were signed by nobody known, all rows
 * before are verified. A row that does not verify, or lacks a signature behind one that has, is damage.
 */
import type { FileSystem } from "effect"
import { Effect, Result } from "effect"
import type { SqlClient } from "effect/sql"
import * as Attestation from "../../core/Attestation.ts"
import * as base64url from "../../core/base64url.ts"
import type { Head } from "../../core/Chain.ts"
import type { Checkpoint } from "../../core/Checkpoint.ts"
import type { Event } from "../../core/Event.ts"
import type * as Hashes from "../../core/Hashes.ts"
import * as Row from "../../core/Row.ts"
import type { Line } from "../../core/Segment.ts"
import type * as Signing from "../../core/Signing.ts"
import { Follower, isSame, unsigned } from "../../core/Signing.ts"
import type { JournalError, MirrorError } from "../errors.ts"
import { mirrorError } from "../errors.ts"
import type { JournalReader } from "../journal/Journal.ts"
import * as Mirror from "../mirror/Mirror.ts"
import * as MirrorSigning from "../mirror/MirrorSigning.ts"
import type { LedgerDamaged, LedgerDiverged } from "../opening/Refusal.ts"
import { damagedAt, refusals } from "../opening/Refusal.ts"
import * as Replay from "../mirror/Replay.ts"

interface Ground {
  readonly sql: SqlClient.SqlClient
  readonly journal: JournalReader
  readonly hashes: Hashes.Hashes
  readonly following: Signing.Following
}

/** As `following`, with the first key that a checkpoint states. */
export const withStated = (
  following: Signing.Following,
  checkpoint: Checkpoint | undefined
): Signing.Following => {
  const { firstKeyId, firstPublicKey } = checkpoint?.lineage ?? {}
  if (firstPublicKey === undefined) return following
  const genesis = () => Result.getOrUndefined(Attestation.genesis(firstPublicKey, firstKeyId))
  return { ...following, genesis }
}

/** The hex of the first half of a row's signature; undefined where it has none. */
const prefixOf = ({ signature }: Event): string | undefined => {
  if (signature === undefined) return undefined
  const bytes = base64url.decode(signature.bytes) ?? new Uint8Array()
  return Array.from(bytes.subarray(0, 32), (byte) => byte.toString(16).padStart(2, "0")).join("")
}

/** Whether a row may be the last before such a state. */
export const fits = (state: Signing.State, row: Event | undefined): boolean => {
  const prefix = row === undefined ? undefined : prefixOf(row)
  switch (state._tag) {
    case "Unsigned":
      return prefix === undefined
    case "Unknown":
      return true
    case "Signed":
      return prefix === undefined
        ? state.signing.firstSeq === (row?.seq ?? 0) + 1
        : state.signing.prevSignature === prefix
  }
}

/** The mirror's newest row as the journal has it, where it can be read. */
export const newest = Effect.fnUntraced(function* (
  { hashes, journal, sql }: Omit<Ground, "following">,
  seq: number
) {
  if (seq === 0) return undefined
  const row = yield* Effect.mapError(Mirror.at(sql, seq), mirrorError("find its newest row"))
  if (row === undefined) return undefined
  const line = yield* journal.read(Mirror.placeOf(row))
  const decoded = Row.decode(line, seq, journal.format, hashes)
  return Result.isSuccess(decoded) ? decoded.success.event : undefined
})

/** Verify every row up to the mirror's newest one; the state behind it. */
const walked = Effect.fnUntraced(function* (
  { hashes, journal, following }: Ground,
  { seq }: Head
): Effect.fn.Return<
  Signing.State,
  LedgerDamaged | LedgerDiverged | JournalError,
  FileSystem.FileSystem
> {
  const follower = new Follower(unsigned, following)
  const to = refusals(journal)
  yield* Replay.walk(journal, hashes, Replay.beginning, seq, (rows) =>
    Effect.suspend(() => {
      for (const { event, place } of rows) {
        const failure = follower.take(event)?.failure
        if (failure === undefined) continue
        const at = { path: journal.pathOf(place.segment), offset: place.offset, seq: event.seq }
        return Effect.fail(damagedAt(journal, { ...at, reason: failure.message, follows: true }))
      }
      return Effect.void
    })
  ).pipe(
    Effect.catchTags({
      RowDamaged: (error) => Effect.fail(to.RowDamaged(error)),
      ChainBroken: (error) => Effect.fail(to.ChainBroken(error))
    })
  )
  return follower.state
})

/** The state behind the mirror's newest row. */
export const behind = Effect.fnUntraced(function* (
  ground: Ground,
  settled: Head,
  checkpoint: Checkpoint | undefined
): Effect.fn.Return<
  Signing.State,
  LedgerDamaged | LedgerDiverged | JournalError | MirrorError,
  FileSystem.FileSystem
> {
  const { seq } = settled
  if (seq === 0) return stateOf(checkpoint, 0) ?? unsigned
  const row = yield* newest(ground, seq)
  const held = yield* Effect.mapError(
    MirrorSigning.at(ground.sql, seq),
    mirrorError("read its lineage")
  )
  // One that nobody could name before may have a name now.
  const isNamed = ground.following.genesis !== undefined
  const isUsable = (state: Signing.State | undefined): state is Signing.State =>
    state !== undefined && fits(state, row) && !(state._tag === "Unknown" && isNamed)
  if (isUsable(held)) return held
  const stated = stateOf(checkpoint, seq)
  return isUsable(stated) ? stated : yield* walked(ground, settled)
})

/** What a checkpoint of this very row says. */
const stateOf = (checkpoint: Checkpoint | undefined, seq: number): Signing.State | undefined =>
  checkpoint?.size === seq && checkpoint.lineage !== null
    ? { _tag: "Signed", signing: checkpoint.lineage }
    : undefined

/** Have the mirror hold the state behind row `seq`, where it does not. */
export const settle = Effect.fnUntraced(
  function* (sql: SqlClient.SqlClient, seq: number, state: Signing.State) {
    const held = yield* MirrorSigning.stored(sql)
    const isHeld =
      held === undefined
        ? state._tag === "Unsigned"
        : held.seq === seq &&
          held.state?._tag === state._tag &&
          (state._tag !== "Signed" ||
            (held.state._tag === "Signed" && isSame(held.state.signing, state.signing)))
    if (!isHeld) yield* MirrorSigning.store(sql, seq, state)
  },
  Effect.mapError(mirrorError("hold its lineage"))
)

/** The signatures of the rows that opening scans; what is wrong counts only up to where it keeps. */
export class Tail {
  readonly #follower: Follower
  readonly #isGrouped: boolean
  #failure: { path: string; offset: number; seq: number; reason: string } | undefined
  /** The state behind the last whole group. */
  settled: Signing.State

  constructor(follower: Follower, format: Row.Format) {
    this.#follower = follower
    this.#isGrouped = format === "segments"
    this.settled = follower.state
  }

  take({ offset, path }: Line, event: Event): void {
    const { seq } = event
    const failure = this.#follower.take(event)?.failure
    if (failure !== undefined) this.#failure ??= { path, offset, seq, reason: failure.message }
    const [index, size] = (this.#isGrouped ? event.batch : undefined) ?? [0, 1]
    if (index + 1 === size) this.settled = this.#follower.state
  }

  /** The first row up to `seq` whose signature does not hold. */
  failureUpTo(seq: number) {
    return this.#failure === undefined || this.#failure.seq > seq
      ? undefined
      : { ...this.#failure, follows: true }
  }
}
