/**
 * One group, in its transaction: ask, seal, mirror, sign, settle, journal; the commit comes after it.
 *
 * Fails as a whole. What refuses one append is in its answer, unless its rows have been shown to SQL:
 * then the transaction ends with `Refused`, and the group is run again without it.
 */
import { Data, Effect, Result } from "effect"
import type { SqlClient } from "effect/sql"
import { SqlError } from "effect/sql/SqlError"
import type { Head } from "../../core/Chain.ts"
import type * as Hashes from "../../core/Hashes.ts"
import * as Merkle from "../../core/Merkle.ts"
import type * as Policy from "../../core/Policy.ts"
import * as Row from "../../core/Row.ts"
import type { Request, Settled } from "./Answers.ts"
import { Refused } from "./Answers.ts"
import { MirrorError } from "../errors.ts"
import * as Group from "./Group.ts"
import type { Place } from "../journal/Journal.ts"
import type { JournalWriter } from "../journal/JournalWriter.ts"
import * as Mirror from "../mirror/Mirror.ts"
import * as MirrorSigning from "../mirror/MirrorSigning.ts"
import * as MirrorTree from "../mirror/MirrorTree.ts"
import * as Signer from "../signing/Signer.ts"
import type { ViewKeeper } from "../views/ViewKeeper.ts"
import { ViewFailed } from "../views/Views.ts"

/** Where the writer stands; a group moves it once it is durable. */
export interface State {
  head: Head
  /** Over the rows up to the head; undefined where the mirror did not hold it. */
  tree: Merkle.Tree | undefined
  /** The lineage behind the head, and who signs. */
  standing: Signer.Standing
  /** SQL's data version when its rows were last counted to be as many as the journal's. */
  version: number | undefined
  /** What the group under way made durable, whatever becomes of its commit. */
  durable: Settled | undefined
}

/** Internal: ends a transaction whose views hold rows of appends that the group has no time for. */
export class Crowded extends Data.TaggedError("Crowded")<{
  /** How many of its appends fit in. */
  readonly count: number
}> {}

interface Dependencies {
  /** The writer that asks; see `GateGuard.Asking`. */
  readonly own: object
  readonly sql: SqlClient.SqlClient
  readonly journal: JournalWriter
  readonly views: ViewKeeper
  readonly hashes: Hashes.Hashes
  readonly encode: Row.EncodeOptions
  readonly signing: Signer.Settings
  readonly ask: ReturnType<typeof Group.makeAsk>
}

/** Runs groups on this state. */
export const make = (deps: Dependencies, state: State) => {
  const { ask, encode, hashes, journal, own, signing, sql, views } = deps

  // ---- ask, seal, mirror ------------------------------------------------------------------------

  /** The mirror's rows, counted only where another connection has written since. */
  const countAgain = Effect.gen(function* () {
    const { head } = state
    const now = yield* Mirror.dataVersion(sql)
    if (now === state.version) return { events: head.seq, indexed: head.seq }
    const counts = yield* Mirror.counts(sql)
    if (counts.events === head.seq && counts.indexed === head.seq) state.version = now
    return counts
  })

  /** One group in one transaction. Fails as a whole; what refuses one append is in its answer. */
  const transact = Effect.fnUntraced(function* (requests: ReadonlyArray<Request>) {
    const { head } = state
    const counts = yield* countAgain
    const group = Group.start(
      head,
      yield* Mirror.settled(sql),
      counts,
      yield* Mirror.findByIds(sql, namedIds(requests))
    )
    if (counts.events < head.seq || counts.indexed < head.seq) {
      const ready = requests.some(({ options }) => options.decisions?.mirror !== undefined)
      // An id whose row the mirror lost would be written twice, whatever a caller has decided.
      if (ready) return yield* mirrorLost(group.parity)
    }
    const answers: Array<Settled["answers"][number]> = []
    const ends: Array<number> = []
    for (const [nth, request] of requests.entries()) {
      const answer = yield* Effect.result(ask(request, group))
      ends.push(group.rows.length)
      if (Result.isSuccess(answer)) {
        answers.push(Result.succeed(answer.success))
        continue
      }
      if (answer.failure instanceof SqlError) return yield* Effect.fail(answer.failure)
      if (answer.failure instanceof ViewFailed) {
        return yield* viewRefused(ends, group, answer.failure)
      }
      // Rows of a refused append that a gate was shown are in SQL; only a new transaction is clean.
      if (group.inserted > group.rows.length) {
        return yield* new Refused({ nth, refusal: answer.failure })
      }
      answers.push(Result.fail(answer.failure))
    }
    const signed = yield* sign(group, requests, ends)
    yield* Group.insertPending(sql, group)
    yield* Effect.catchTag(Group.foldPending(own, views, group), "ViewFailed", (failed) =>
      viewRefused(ends, group, failed)
    )
    return yield* settle(group, answers.slice(0, signed.parts), signed.standing)
  })

  /** The append whose row a view cannot take is refused, and the group run again without it. */
  const viewRefused = (
    ends: ReadonlyArray<number>,
    { before }: Group.Group,
    failed: ViewFailed
  ) => {
    const rows = failed.seq - before.seq
    const found = ends.findIndex((end) => end >= rows)
    // Rows behind all ends are those of the append that is being asked.
    const nth = found === -1 ? ends.length - 1 : found
    return Effect.fail(new Refused({ nth, refusal: failed }))
  }

  // ---- sign -------------------------------------------------------------------------------------

  /** Sign the group's rows; those of appends that do not fit into the time leave it. */
  const sign = Effect.fnUntraced(function* (
    group: Group.Group,
    requests: ReadonlyArray<Request>,
    ends: ReadonlyArray<number>
  ) {
    const { standing } = state
    if (standing.attestor === undefined) return { parts: requests.length, standing }
    // What SQL has against a row is told before anyone is asked to sign it.
    yield* Group.insertPending(sql, group)
    const parts = requests.map(({ rotateTo }, nth) => ({
      rows: group.rows.slice(ends[nth - 1] ?? 0, ends[nth]),
      rotateTo
    }))
    const signed = yield* Signer.signAll(standing, parts, signing)
    if ("refusal" in signed) {
      return yield* new Refused({ nth: signed.part, refusal: signed.refusal })
    }
    const kept = ends[signed.parts - 1] ?? 0
    // What a view has folded of a row can only be undone with the whole transaction.
    if (group.folded > kept) return yield* new Crowded({ count: signed.parts })
    yield* Group.withdrawBehind(sql, group, kept)
    return signed
  })

  // ---- settle, journal; the commit follows when the transaction ends ----------------------------

  const settle = Effect.fnUntraced(function* (
    group: Group.Group,
    answers: Settled["answers"],
    signed: Signer.Standing
  ) {
    const { tree } = state
    const events = group.rows.map((row) => row.event)
    const encoded = Row.encode(events, group.before, encode, hashes)
    const settled = { answers, encoded }
    const last = encoded.rows.at(-1)
    if (last === undefined) return settled
    const places = yield* journal.reserve(encoded)
    yield* Mirror.insertIndex(sql, indexRows(group, encoded, places))
    yield* views.settle(last.seq)
    const leaves = encoded.rows.map(({ leafHash }) => leafHash)
    const grown = tree === undefined ? undefined : Merkle.appendAll(tree, leaves, hashes)
    if (grown !== undefined) yield* MirrorTree.store(sql, grown)
    if (signed.state._tag !== "Unsigned") yield* MirrorSigning.store(sql, last.seq, signed.state)
    yield* checkOpen(group)
    yield* journal.write(encoded)
    state.durable = settled
    state.tree = grown
    state.standing = signed
    const { seq, leafHash, event } = last
    state.head = { seq, leafHash, id: event.id, eventHash: event.eventHash }
    return settled
  })

  /** SQLite ends a transaction by itself on some errors; rows written after that would be lost. */
  const checkOpen = Effect.fnUntraced(function* ({ rows: [first] }: Group.Group) {
    if (first === undefined) return
    const there = yield* Mirror.eventRows(sql, [first.event.id])
    if (there.size === 1) return
    return yield* new MirrorError({
      operation: "keep the transaction of a group",
      cause: new Error("the transaction ended by itself"),
      hint: "Nothing was written; look for a full disk, then try again."
    })
  })

  return transact
}

const mirrorLost = ({ contributing: [vote] }: Policy.Decision) =>
  new MirrorError({
    operation: "hold what the journal holds",
    cause: new Error(vote?.reason ?? "it lost rows"),
    hint: "Nothing was written. Close the ledger and open it again: it takes in what is missing."
  })

/** Every id that the drafts name, theirs and their parents', once. */
const namedIds = (requests: ReadonlyArray<Request>): ReadonlyArray<string> => {
  const ids = new Set<string>()
  for (const { drafts } of requests) {
    for (const { draft } of drafts) {
      ids.add(draft.id)
      if (draft.parentId !== undefined) ids.add(draft.parentId)
    }
  }
  return [...ids]
}

const indexRows = (
  group: Group.Group,
  encoded: Row.Group,
  places: ReadonlyArray<Place>
): ReadonlyArray<Mirror.Indexed> =>
  group.rows.map(({ seq, event, parentSeq }, nth) => {
    const [row, place] = [encoded.rows[nth], places[nth]]
    if (row === undefined || place === undefined) throw new Error("a row of a group has no place")
    return { seq, event, parentSeq, leafHash: row.leafHash, place }
  })
