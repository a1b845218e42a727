/**
 * Internal: the rows behind the place from which opening looks on, read to the end of the journal.
 *
 * What is found is a plan (`Recovery`), or damage: of a row, of a signature, of the names and order of
 * segments, or of rows that a checkpoint states and that are not there.
 */
import { Effect } from "effect"
import type { Head } from "../../core/Chain.ts"
import type { Checkpoint } from "../../core/Checkpoint.ts"
import type * as Hashes from "../../core/Hashes.ts"
import * as Recovery from "../../core/Recovery.ts"
import type { Follower } from "../../core/Signing.ts"
import type { JournalFile, JournalReader } from "../journal/Journal.ts"
import type * as Replay from "../mirror/Replay.ts"
import * as OpeningSignatures from "../signing/OpeningSignatures.ts"
import { damagedAt, diverged } from "./Refusal.ts"

/** Segments must follow each other: no empty one but the last, each named by its first seq. */
const checkNames = Effect.fnUntraced(function* (
  journal: JournalReader,
  files: ReadonlyArray<JournalFile>,
  firstSeqOf: ReadonlyMap<number, number>,
  { cut, head }: Recovery.Plan
) {
  if (journal.format === "cortex") return
  for (const [nth, file] of files.entries()) {
    const isLast = nth === files.length - 1
    const holdsNone = file.bytes === 0 || (cut?.path === file.path && cut.offset === 0)
    const first = holdsNone && isLast ? head.seq + 1 : firstSeqOf.get(file.segment)
    if (first === undefined || first === file.segment) continue
    return yield* damagedAt(journal, {
      path: file.path,
      offset: 0,
      seq: first,
      reason: `its name says that it begins with row ${file.segment}, but it begins with ${first}`,
      follows: !isLast
    })
  }
})

/** Rows up to the newest sound checkpoint were acknowledged: all of them must be there. */
const checkPassed = Effect.fnUntraced(function* (
  journal: JournalReader,
  from: Head,
  to: Head,
  checkpoint: Checkpoint | undefined,
  passed: string | undefined
) {
  if (checkpoint === undefined || checkpoint.head.seq <= from.seq) return
  const { head, number } = checkpoint
  if (to.seq < head.seq) {
    const reason = `the journal ends before checkpoint ${number}`
    return yield* diverged(journal, to.seq, reason, `${head.seq} rows`, `${to.seq} rows`)
  }
  if (passed === head.leafHash) return
  const reason = `checkpoint ${number} is of another history`
  return yield* diverged(journal, head.seq, reason, `leaf hash ${head.leafHash}`, `${passed}`)
})

/** Read the tail from a place on; the plan of what to do about its end, and the signatures there. */
export const scanTail = Effect.fnUntraced(function* (
  journal: JournalReader,
  files: ReadonlyArray<JournalFile>,
  from: Replay.From,
  checkpoint: Checkpoint | undefined,
  hashes: Hashes.Hashes,
  follower: Follower
) {
  const signatures = new OpeningSignatures.Tail(follower, journal.format)
  const tail = new Recovery.TailScan(from.head, journal.format, hashes)
  const firstSeqOf = new Map<number, number>()
  let passed: string | undefined
  for (const [nth, file] of files.entries()) {
    if (file.segment < from.segment) continue
    if (file.bytes === 0 && nth < files.length - 1) {
      const reason = "an empty segment stands before others"
      const place = { path: file.path, offset: 0, seq: file.segment, reason, follows: true }
      return yield* damagedAt(journal, place)
    }
    const offset = file.segment === from.segment ? from.offset : 0
    yield* journal.eachLine(file, { offset, number: 1 }, file.bytes, (lines) =>
      Effect.sync(() => {
        for (const line of lines) {
          const event = tail.push(line)
          if (event === undefined) continue
          signatures.take(line, event)
          if (line.offset === 0) firstSeqOf.set(file.segment, event.seq)
          if (event.seq === checkpoint?.head.seq) passed = event.leafHash
        }
      })
    )
  }
  const plan = tail.plan()
  const lastPath = files.at(-1)?.path
  if (plan._tag === "Damage") return yield* damagedAt(journal, plan)
  const forged = signatures.failureUpTo(plan.head.seq)
  if (forged !== undefined) return yield* damagedAt(journal, forged)
  yield* checkPassed(journal, from.head, plan.head, checkpoint, passed)
  if (plan.cut !== undefined && plan.cut.path !== lastPath) {
    const { path, offset } = plan.cut
    const reason = "an incomplete group stands before the last segment"
    const seq = plan.head.seq + 1
    return yield* damagedAt(journal, { path, offset, seq, reason, follows: true })
  }
  yield* checkNames(journal, files, firstSeqOf, plan)
  return { plan, state: signatures.settled }
})
