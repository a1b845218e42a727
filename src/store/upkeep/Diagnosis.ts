/**
 * Diagnosis: what stands in the way of opening a ledger, and what a repair would do about it.
 *
 * Reads the whole journal, the mirror and the checkpoints, and changes nothing. What is kept is the
 * longest run of whole groups from the first row on; everything behind it is set aside by the
 * repair, as rows that can be read. Rows of the mirror beyond that, or all of them where it is of
 * another history, are kept as text and taken out. What opening mends by itself is no repair's.
 */
import { Effect, Result } from "effect"
import type { FileSystem, Path } from "effect"
import type { SqlClient } from "effect/sql"
import type { Head } from "../../core/Chain.ts"
import type { Checkpoint } from "../../core/Checkpoint.ts"
import * as Chain from "../../core/Chain.ts"
import type { Position } from "../../core/Event.ts"
import type * as Hashes from "../../core/Hashes.ts"
import * as Parity from "../../core/Parity.ts"
import * as Recovery from "../../core/Recovery.ts"
import * as Anchor from "../opening/Anchor.ts"
import * as Checkpoints from "./Checkpoints.ts"
import * as DiagnosisSignatures from "../signing/DiagnosisSignatures.ts"
import type { JournalError, MirrorError } from "../errors.ts"
import { mirrorError } from "../errors.ts"
import type { JournalFile, JournalReader, Misplaced } from "../journal/Journal.ts"
import type { Layout } from "../journal/Layout.ts"
import * as Mirror from "../mirror/Mirror.ts"
import * as LedgerMarker from "../locking/LedgerMarker.ts"
import * as Finishing from "./finishing.ts"
import * as OperationFolders from "./OperationFolders.ts"
import { pending, RepairPlan } from "./RepairPlan.ts"

export { RepairPlan } from "./RepairPlan.ts"

/** A mirror that can be read, and its newest row. */
interface Looked {
  readonly sql: SqlClient.SqlClient
  readonly settled: Mirror.Settled
}

const mirrorOf = (sql: SqlClient.SqlClient): Effect.Effect<Looked, MirrorError> =>
  Mirror.settled(sql).pipe(
    Effect.mapBoth({
      onSuccess: (settled) => ({ sql, settled }),
      onFailure: mirrorError("read its head")
    })
  )

type Beyond = Parity.Mirrored & Pick<Position, "seq">

/** What a walk over the journal found. */
interface Walked {
  readonly to: Head
  readonly cut: { readonly path: string; readonly offset: number } | undefined
  readonly finding: string | undefined
  readonly leafAt: ReadonlyMap<number, string>
  /** The first row for which `events` holds another content, where the index does not have it. */
  readonly differsAt: number | undefined
}

/** A file that cannot follow the rows before it; where rows are pending, their group tells more. */
const misnamed = (file: JournalFile, isLast: boolean, head: Head): string | undefined => {
  if (file.bytes === 0 && !isLast) return "an empty segment stands before others"
  if (file.segment === head.seq + 1) return undefined
  return `its name says row ${file.segment}, where row ${head.seq + 1} follows`
}

const walk = Effect.fnUntraced(function* (
  journal: JournalReader,
  files: ReadonlyArray<JournalFile>,
  sizes: ReadonlySet<number>,
  mirror: Looked | undefined,
  hashes: Hashes.Hashes
) {
  const sql = mirror?.sql
  const settled = mirror?.settled.head.seq ?? 0
  const tail = new Recovery.TailScan(Chain.start, journal.format, hashes)
  const leafAt = new Map<number, string>()
  let differsAt: number | undefined
  let beyond: Array<Beyond> = []
  const compare = Effect.suspend(() => {
    const events = beyond
    beyond = []
    return sql === undefined || events.length === 0 ? Effect.void : compareWith(sql, events)
  })
  const compareWith = Effect.fnUntraced(function* (
    sql: SqlClient.SqlClient,
    events: ReadonlyArray<Beyond>
  ) {
    const ids = events.map(({ id }) => id)
    const rows = yield* Effect.mapError(Mirror.eventRows(sql, ids), mirrorError("be compared"))
    differsAt ??= events.find((event) => {
      const row = rows.get(event.id)
      return row !== undefined && Parity.differences(event, row).length > 0
    })?.seq
  })
  let finding: string | undefined
  let cut: Walked["cut"]
  let head: Head = Chain.start
  for (const [nth, file] of files.entries()) {
    const isLast = nth === files.length - 1
    const before = tail.plan()
    head = before.head
    const isOpen = before._tag === "Damage" || before.cut !== undefined
    const why = journal.format === "segments" && !isOpen ? misnamed(file, isLast, head) : undefined
    if (why !== undefined) {
      finding = `${file.path}: ${why}`
      cut = { path: file.path, offset: 0 }
      break
    }
    yield* journal.eachLine(file, { offset: 0, number: 1 }, file.bytes, (lines) =>
      Effect.suspend(() => {
        for (const line of lines) {
          const event = tail.push(line)
          if (event === undefined) continue
          if (sizes.has(event.seq)) leafAt.set(event.seq, event.leafHash)
          if (event.seq > settled) beyond.push(event)
        }
        return beyond.length >= 256 ? compare : Effect.void
      })
    )
  }
  yield* compare
  const plan = tail.plan()
  if (cut !== undefined) return { to: head, cut, finding, leafAt, differsAt } satisfies Walked
  const first = files[0]
  const begin = first === undefined ? undefined : { path: first.path, offset: 0 }
  if (plan._tag === "Damage") {
    const place = `${plan.path} byte ${plan.offset} (row ${plan.seq})`
    const why = `${place}: ${plan.reason}`
    return {
      to: plan.head,
      cut: plan.end ?? begin,
      finding: why,
      leafAt,
      differsAt
    } satisfies Walked
  }
  const isTorn = plan.cut !== undefined && plan.cut.path !== files.at(-1)?.path
  return {
    to: plan.head,
    cut: isTorn ? plan.cut : undefined,
    finding: isTorn ? `${plan.cut?.path}: an incomplete group stands before others` : undefined,
    leafAt,
    differsAt
  } satisfies Walked
})

/** What the mirror has beyond what is kept, in one sentence, and how far it is taken back. */
const divergence = Effect.fnUntraced(function* (
  journal: JournalReader,
  files: ReadonlyArray<JournalFile>,
  { settled, sql }: Looked,
  walked: Walked,
  hashes: Hashes.Hashes
) {
  const { to } = walked
  if (settled.head.seq > to.seq) {
    const row =
      to.seq === 0
        ? undefined
        : yield* Effect.mapError(Mirror.at(sql, to.seq), mirrorError("find a row"))
    const isOurs = to.seq > 0 && row?.leaf_hash === to.leafHash
    const finding = `the mirror holds rows up to ${settled.head.seq}, what is kept ends at ${to.seq}`
    return { finding, until: isOurs ? to.seq : 0 }
  }
  const anchored = yield* Effect.result(Anchor.find(sql, journal, settled, files, hashes))
  if (Result.isFailure(anchored)) {
    const error = anchored.failure
    if (error._tag !== "LedgerDiverged") return yield* Effect.fail(error)
    return { finding: error.reason, until: 0 }
  }
  if (walked.differsAt === undefined || walked.differsAt > to.seq) return undefined
  return { finding: "events and journal differ in rows beyond the mirror's newest", until: 0 }
})

/** As `divergence`; a mirror of before a rollback is taken back by opening. */
const judgeMirror = Effect.fnUntraced(function* (
  journal: JournalReader,
  files: ReadonlyArray<JournalFile>,
  mirror: Looked,
  walked: Walked,
  hashes: Hashes.Hashes
) {
  const found = yield* divergence(journal, files, mirror, walked, hashes)
  if (found === undefined) return undefined
  const cutBy = yield* Anchor.cutBy(mirror.sql, journal, mirror.settled.head, hashes)
  return cutBy !== undefined && cutBy.to.seq <= walked.to.seq ? undefined : found
})

/** What is looked at, and through what. */
export interface Ground {
  readonly journal: JournalReader
  /** Committed rows of the mirror; undefined where there is none, or it cannot be read. */
  readonly sql: SqlClient.SqlClient | undefined
  readonly isMirrorUnreadable: boolean
  readonly hashes: Hashes.Hashes
  readonly judging: DiagnosisSignatures.Judging
}

/** Whether a checkpoint states what is kept. */
const isOf = ({ leafAt, to }: Walked, { head, size }: Checkpoint): boolean =>
  size <= to.seq && (size === 0 || leafAt.get(size) === head.leafHash)

const place = ({ leafHash, seq }: Position) => ({ seq, leafHash })

const misplacedPath = ({ path }: Misplaced) => path

/** What is told of the checkpoints, and keeps no ledger from opening. */
const remarksOf = (layout: Layout, unsound: ReadonlyArray<number>) =>
  Effect.map(Checkpoints.numbersIn(layout.checkpoints), ({ foreign }) => [
    ...unsound.map((number) => `Checkpoint ${number} does not hold together`),
    ...foreign.map((path) => `${path} is no checkpoint; move it away`)
  ])

/** Look at everything, change nothing. */
export const diagnose = Effect.fn("Ledger.diagnose")(function* ({
  hashes,
  isMirrorUnreadable,
  journal,
  judging,
  sql
}: Ground): Effect.fn.Return<
  RepairPlan,
  JournalError | MirrorError,
  FileSystem.FileSystem | Path.Path
> {
  const { layout } = journal
  const closes: Array<string> = []
  for (const found of yield* OperationFolders.list(layout, hashes)) {
    const standing = yield* Finishing.standing(layout, found, hashes)
    // What stands half done is not to be judged: opening finishes it first.
    if (standing === "finishable") return pending(layout, found.id)
    if (standing === "stuck") closes.push(found.id)
  }
  const mirror = sql === undefined ? undefined : yield* mirrorOf(sql)
  const stated = yield* Checkpoints.list(layout, hashes)
  // Last: beside a writer the journal has at least what the others have stated before.
  const { files, misplaced } = yield* journal.listing
  const sizes = new Set(
    stated.flatMap((one) => (one._tag === "Sound" ? [one.checkpoint.size] : []))
  )
  const whole = yield* walk(journal, files, sizes, mirror, hashes)
  const forged = yield* DiagnosisSignatures.find(
    {
      journal,
      files,
      hashes,
      judging,
      mirror,
      checkpoints: stated.flatMap((one) =>
        one._tag === "Sound" && isOf(whole, one.checkpoint) ? [one.checkpoint] : []
      )
    },
    whole.to.seq
  )
  const walked = { ...whole, ...forged }
  const { cut, to } = walked
  const findings: Array<string> = walked.finding === undefined ? [] : [walked.finding]
  findings.push(...misplaced.map(({ actual, path }) => `${path} is ${actual}`))
  if (isMirrorUnreadable) findings.push("the mirror cannot be read")
  const judged =
    mirror === undefined ? undefined : yield* judgeMirror(journal, files, mirror, walked, hashes)
  if (judged !== undefined) findings.push(judged.finding)
  const foreign = stated.flatMap((one) =>
    one._tag === "Sound" && !isOf(walked, one.checkpoint) ? [one.checkpoint.number] : []
  )
  findings.push(...foreign.map((number) => `checkpoint ${number} states another history`))
  // Opening passes them by; verification does not, and says so until they are set aside.
  const unsound = stated.flatMap((one) => (one._tag === "Unsound" ? [one.number] : []))
  const marker = yield* LedgerMarker.foreign(layout)
  findings.push(...closes.map((id) => `the operation ${id} can never be finished`))
  return new RepairPlan({
    ledger: layout.name,
    isFile: layout.format === "cortex",
    findings,
    remarks: [...(yield* remarksOf(layout, unsound)), ...marker.remarks],
    marker: marker.text,
    to: place(to),
    from: mirror === undefined || mirror.settled.head.seq === 0 ? null : place(mirror.settled.head),
    cut: cut === undefined ? null : { path: cut.path, offset: cut.offset },
    foreign: misplaced.map(misplacedPath),
    checkpoints: [...foreign, ...unsound].toSorted((a, b) => a - b),
    mirrorUntil: judged?.until ?? null,
    isMirrorUnreadable,
    closes,
    pending: null
  })
})
