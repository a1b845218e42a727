/**
 * Internal: positions that a rollback or repair has cut, told apart from those that never were.
 *
 * What was cut lies in its operation's folder as rows. A position is of a cut history when the row of
 * its seq there has its leaf hash; the position to go on from is then the newest one before it that
 * the ledger still has, however many rollbacks lie between.
 */
import { Effect, Path, Schema } from "effect"
import type { FileSystem } from "effect"
import * as Chain from "../../core/Chain.ts"
import type { Position } from "../../core/Event.ts"
import type * as Hashes from "../../core/Hashes.ts"
import type { Plan } from "../../core/Operation.ts"
import * as Op from "../../core/Operation.ts"
import * as Row from "../../core/Row.ts"
import type { Line } from "../../core/Segment.ts"
import * as Segment from "../../core/Segment.ts"
import { folderOf } from "../upkeep/carryOut.ts"
import * as durable from "../journal/durable.ts"
import type { JournalError } from "../errors.ts"
import type { Layout } from "../journal/Layout.ts"
import { eachLineOf } from "../journal/lines.ts"
import * as OperationFolders from "../upkeep/OperationFolders.ts"

/** A position that was, and was cut by an operation. Nothing beyond `to` counts any more. */
export class RolledBack extends Schema.TaggedError<RolledBack>()("RolledBack", {
  from: Schema.Struct({ seq: Schema.Int, leafHash: Schema.String }),
  to: Schema.Struct({ seq: Schema.Int, leafHash: Schema.String }),
  operationId: Schema.String
}) {
  override get message(): string {
    return (
      `row ${this.from.seq} (leaf hash ${this.from.leafHash}) was cut by ${this.operationId}: forget ` +
      `what was derived beyond row ${this.to.seq}, and go on from there.`
    )
  }
}

type Files = FileSystem.FileSystem | Path.Path

/** A file of rows that an operation has cut: the seq of its first row and where it lies. */
export interface CutFile {
  readonly firstSeq: number
  readonly path: string
}

/** The files of rows that a plan cuts, in the order of their rows. */
export const cutFiles = (paths: Path.Path, folder: string, plan: Plan): ReadonlyArray<CutFile> => {
  const names = [
    ...plan.cut.flatMap(({ kept, rows }) => (rows === null ? [] : [kept])),
    ...plan.move.flatMap(({ kind, name }) => (kind === "segment" ? [name] : []))
  ]
  return names
    .flatMap((name): ReadonlyArray<CutFile> => {
      const firstSeq = Segment.firstSeq(name)
      const path = paths.join(folder, folderOf("segment"), name)
      return firstSeq === undefined ? [] : [{ firstSeq, path }]
    })
    .toSorted((a, b) => a.firstSeq - b.firstSeq)
}

const isBlankLine = ({ bytes, tooLong }: Line): boolean => !tooLong && Chain.isBlank(bytes)

/** The leaf hash of the row `seq` in what an operation has cut. */
const leafIn = Effect.fnUntraced(function* (
  files: ReadonlyArray<CutFile>,
  seq: number,
  { hashes, layout, lineBytesMax }: Where,
  isEnded: boolean
) {
  const file = files.findLast(({ firstSeq }) => firstSeq <= seq)
  if (file === undefined) return undefined
  // What a repair has closed may never have cut it.
  if (isEnded && (yield* durable.kindAt(file.path)) === undefined) return undefined
  let next = file.firstSeq
  let leafHash: string | undefined
  yield* eachLineOf(file.path, lineBytesMax, (line) => {
    // Blank lines of a Cortex file are no rows; what is no row at all is not of this seq either.
    if (line.length === 0 || (layout.format === "cortex" && isBlankLine(line))) return
    if (next === seq && !line.tooLong) leafHash = Row.leafHash(line.bytes, hashes)
    next++
  })
  return leafHash
})

/** What it takes to look into cut histories. */
export interface Where {
  readonly layout: Layout
  readonly hashes: Hashes.Hashes
  readonly lineBytesMax: number
  /** The ledger had the position a moment ago: an operation under way may not have copied it yet. */
  readonly wasHeld?: boolean | undefined
}

/**
 * The operation that cut this position, and where to go on; undefined where no history of this
 * ledger had it. `isHeld` says whether the ledger has a position now.
 */
export const find = Effect.fnUntraced(function* <E, R>(
  where: Where,
  position: Position,
  isHeld: (position: Position) => Effect.Effect<boolean, E, R>
): Effect.fn.Return<RolledBack | undefined, JournalError | E, Files | R> {
  const { hashes, layout, wasHeld } = where
  const paths = yield* Path.Path
  const cuts = (yield* OperationFolders.list(layout, hashes)).flatMap(({ folder, isEnded, plan }) =>
    plan !== undefined && Op.isRollback(plan) ? [{ folder, isEnded, plan }] : []
  )
  let at = position
  let first: string | undefined
  // Each step goes to an earlier row, as no operation goes back to one that it cuts.
  for (;;) {
    let step: { readonly id: string; readonly to: Position } | undefined
    for (const { folder, isEnded, plan } of cuts) {
      if (plan.to.seq >= at.seq || plan.from.seq < at.seq) continue
      if (wasHeld === true && !isEnded && at === position) {
        step = { id: plan.id, to: plan.to }
        continue
      }
      const files = cutFiles(paths, folder, plan)
      const leafHash = yield* leafIn(files, at.seq, where, isEnded)
      if (leafHash === at.leafHash) step = { id: plan.id, to: plan.to }
    }
    if (step === undefined) return undefined
    first ??= step.id
    at = step.to
    const isThere = at.seq === 0 || (yield* isHeld(at))
    if (isThere) {
      const { leafHash, seq } = position
      const to = { seq: at.seq, leafHash: at.leafHash }
      return new RolledBack({ from: { seq, leafHash }, to, operationId: first })
    }
  }
})
