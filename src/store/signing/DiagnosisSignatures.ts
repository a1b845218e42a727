/**
 * Internal: the first row whose signature does not hold, for a diagnosis.
 *
 * Whose the rows have to be says, as for opening, the newest checkpoint of this history that states a
 * lineage; else the mirror, where its newest row is the journal's and fits; else the key that was
 * given. What is of another ledger says nothing about these rows, and where nobody says a key none
 * is judged. The rows were found to be whole and linked before.
 */
import { Effect, Result } from "effect"
import type { FileSystem } from "effect"
import type { SqlClient } from "effect/sql"
import * as Attestation from "../../core/Attestation.ts"
import type { Head } from "../../core/Chain.ts"
import * as Chain from "../../core/Chain.ts"
import type { Checkpoint } from "../../core/Checkpoint.ts"
import type * as Hashes from "../../core/Hashes.ts"
import * as Recovery from "../../core/Recovery.ts"
import * as Signing from "../../core/Signing.ts"
import * as Anchor from "../opening/Anchor.ts"
import { mirrorError } from "../errors.ts"
import type { JournalError, MirrorError } from "../errors.ts"
import type { JournalFile, JournalReader } from "../journal/Journal.ts"
import type { Settled } from "../mirror/Mirror.ts"
import * as MirrorSigning from "../mirror/MirrorSigning.ts"
import { fits, newest } from "./OpeningSignatures.ts"

/** How signatures are verified, and the key of the first signed row where it is known. */
export interface Judging {
  readonly ledgerId: string
  readonly verify: Attestation.Verify
  readonly publicKey?: string | undefined
}

/** What is looked through. */
export interface Ground {
  readonly journal: JournalReader
  readonly files: ReadonlyArray<JournalFile>
  readonly hashes: Hashes.Hashes
  /** The mirror and its newest row, where there is one. */
  readonly mirror: { readonly sql: SqlClient.SqlClient; readonly settled: Settled } | undefined
  /** The sound checkpoints that are of this history, in their order. */
  readonly checkpoints: ReadonlyArray<Checkpoint>
  readonly judging: Judging
}

/** Who says whose the rows are. */
interface Source {
  readonly by: string
  readonly follower: Signing.Follower
}

/** The lineage behind the mirror's newest row, where that is a row of this journal. */
const heldBy = Effect.fnUntraced(function* ({ files, hashes, journal, mirror }: Ground) {
  if (mirror === undefined) return undefined
  const { settled, sql } = mirror
  const { seq } = settled.head
  const anchored = yield* Effect.result(Anchor.find(sql, journal, settled, files, hashes))
  if (Result.isFailure(anchored)) {
    const error = anchored.failure
    return error._tag === "LedgerDiverged" ? undefined : yield* Effect.fail(error)
  }
  const held = yield* Effect.mapError(MirrorSigning.at(sql, seq), mirrorError("read its lineage"))
  if (held?._tag !== "Signed") return undefined
  return fits(held, yield* newest({ sql, journal, hashes }, seq)) ? held.signing : undefined
})

const sourceOf = Effect.fnUntraced(function* (ground: Ground) {
  const { ledgerId, publicKey, verify } = ground.judging
  const how = { ledgerId, verify }
  const statedBy = (by: string, stated: Signing.Signing): Source | undefined => {
    const first = Attestation.genesis(stated.firstPublicKey, stated.firstKeyId)
    if (Result.isFailure(first)) return undefined
    const signing = Signing.begin(stated.firstSeq, first.success)
    return { by, follower: new Signing.Follower({ _tag: "Signed", signing }, how) }
  }
  const checkpoint = ground.checkpoints.findLast(({ lineage }) => lineage !== null)
  if (checkpoint?.lineage !== undefined && checkpoint.lineage !== null) {
    return statedBy(`checkpoint ${checkpoint.number}`, checkpoint.lineage)
  }
  const held = yield* heldBy(ground)
  if (held !== undefined) return statedBy("the mirror", held)
  if (publicKey === undefined) return undefined
  const genesis = Signing.genesisFrom(publicKey.toLowerCase())
  const follower = new Signing.Follower(Signing.unsigned, { ...how, genesis })
  return { by: "whoever asked", follower } satisfies Source
})

/** A row that nobody vouches for, and what of the journal stands before its group. */
export interface Forged {
  readonly to: Head
  readonly cut: { readonly path: string; readonly offset: number }
  readonly finding: string
}

/** The first row up to `until` whose signature does not hold; undefined where all that are judged do. */
export const find = Effect.fnUntraced(function* (
  ground: Ground,
  until: number
): Effect.fn.Return<Forged | undefined, JournalError | MirrorError, FileSystem.FileSystem> {
  const { files, hashes, journal } = ground
  const source = until === 0 ? undefined : yield* sourceOf(ground)
  if (source === undefined) return undefined
  const { by, follower } = source
  const tail = new Recovery.TailScan(Chain.start, journal.format, hashes)
  let before: Head = Chain.start
  let head: Head = Chain.start
  let group: Forged["cut"] | undefined
  let forged: Forged | undefined
  for (const file of files) {
    if (forged !== undefined || head.seq >= until) break
    yield* journal.eachLine(file, { offset: 0, number: 1 }, file.bytes, (lines) =>
      Effect.sync(() => {
        for (const line of lines) {
          if (forged !== undefined || head.seq >= until) return
          const event = tail.push(line)
          if (event === undefined) continue
          const [index] = (journal.format === "segments" ? event.batch : undefined) ?? [0]
          if (group === undefined || index === 0) {
            group = { path: line.path, offset: line.offset }
            before = head
          }
          head = Chain.headOf(event)
          const failure = follower.take(event)?.failure
          if (failure === undefined) continue
          const place = `${line.path} byte ${line.offset} (row ${event.seq})`
          const finding =
            `${place}: ${failure.message}, by the key that ${by} names (where that key is wrong, or ` +
            "the ledger was given another name, mend that instead)"
          forged = { to: before, cut: group, finding }
        }
      })
    )
  }
  return forged
})
