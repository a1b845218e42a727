/**
 * Verification of what states the rows: checkpoints, the roots of histories that were cut, the tree.
 *
 * What is stated, by a checkpoint here, one that was kept elsewhere, or the mirror's tree, is held
 * against the rows as they go by. What a rollback cut is verified as rows that go on from its
 * checkpoint, up to the head and root that its plan names.
 * Where the rows' signatures are judged, so are the lineage that a checkpoint states and its signature.
 */
import { Effect, Path } from "effect"
import type { FileSystem } from "effect"
import * as Chain from "../../core/Chain.ts"
import * as Checkpoint from "../../core/Checkpoint.ts"
import type * as Hashes from "../../core/Hashes.ts"
import * as Merkle from "../../core/Merkle.ts"
import * as Op from "../../core/Operation.ts"
import * as Segment from "../../core/Segment.ts"
import type { Reason } from "../../core/VerifyReport.ts"
import { digest, folderOf } from "../upkeep/carryOut.ts"
import * as Checkpoints from "../upkeep/Checkpoints.ts"
import { cutFiles } from "../reading/CutHistory.ts"
import * as durable from "../journal/durable.ts"
import type { JournalError } from "../errors.ts"
import type { JournalReader } from "../journal/Journal.ts"
import { eachLineOf } from "../journal/lines.ts"
import * as OperationFolders from "../upkeep/OperationFolders.ts"
import type { Found } from "../upkeep/OperationFolders.ts"
import type { Stated } from "./StatedRows.ts"
import { reason, stated, StatedRows } from "./StatedRows.ts"

/** What is told to verification besides the files. */
export interface Given {
  /** A checkpoint that was kept elsewhere. */
  readonly checkpoint?: Checkpoint.Checkpoint | undefined
  /** The tree that the mirror holds. */
  readonly tree?: Merkle.Tree | undefined
  /** How the rows' signatures are judged, if they are. */
  readonly signatures?: Chain.Signatures | undefined
}

type Files = FileSystem.FileSystem | Path.Path

/** Whether what a rollback moved is what it found, sound or not; what is no file was never read. */
const isAsMoved = Effect.fnUntraced(function* (path: string, move: Op.Move | undefined) {
  if (move === undefined) return false
  const kind = yield* durable.kindAt(path)
  if (move.sha256 === null) return kind !== undefined && kind !== "File"
  return kind === "File" && (yield* digest(path, 0, move.bytes + 1)).sha256 === move.sha256
})

/**
 * The sound checkpoints of a directory as they are stated; what is unsound is a failure, unless it
 * was so when a rollback moved it there.
 */
const statedIn = Effect.fnUntraced(function* (
  directory: string,
  hashes: Hashes.Hashes,
  verifier: Chain.Verifier,
  numbers: ReadonlyArray<number>,
  moved: ReadonlyArray<Op.Move> = []
) {
  const all: Array<Stated> = []
  for (const number of numbers) {
    const found = yield* Checkpoints.readIn(directory, number, hashes)
    if (found._tag === "Sound") {
      all.push(stated(found.checkpoint, `${directory}/${number}`, "checkpoint"))
      continue
    }
    const { path } = found
    const sides = found._tag === "Unsound" ? [found.expected, found.actual] : ["a file", "none"]
    const why = reason("checkpoint_unsound", `${sides[0]}`, `${sides[1]}`)
    const name = Checkpoint.name(number)
    if (
      yield* isAsMoved(
        path,
        moved.find((move) => move.name === name)
      )
    ) {
      verifier.remark("checkpoints", Segment.wholeFile(path), "", why)
    } else verifier.fail("checkpoints", Segment.wholeFile(path), "", why, 0)
  }
  return all
})

/** Numbers and rows go up together, and every rollback that is named has its folder. */
const checkOrder = (
  all: ReadonlyArray<Stated>,
  operations: ReadonlyArray<Found>,
  verifier: Chain.Verifier
): void => {
  const known = new Set(operations.map(({ id }) => id))
  let before: Checkpoint.Checkpoint | undefined
  for (const { checkpoint, path } of all) {
    if (checkpoint === undefined) continue
    const { size } = checkpoint
    if (before !== undefined && size < before.size) {
      const why = reason("checkpoint_order", `at least ${before.size} rows`, `${size} rows`)
      verifier.fail("checkpoints", Segment.wholeFile(path), "", why, size)
    }
    before = checkpoint
    for (const { operation } of checkpoint.rollbacks) {
      if (known.has(operation)) continue
      const why = reason("operation_missing", `the folder of ${operation}`, "none")
      verifier.fail("checkpoints", Segment.wholeFile(path), "", why, size)
    }
  }
}

/** The checkpoint of a number, here or in the folder of a rollback that went behind it. */
const findCheckpoint = Effect.fnUntraced(function* (
  reader: JournalReader,
  operations: ReadonlyArray<Found>,
  number: number,
  hashes: Hashes.Hashes
) {
  const folders = operations.map(({ folder }) => `${folder}/${folderOf("checkpoint")}`)
  for (const directory of [reader.layout.checkpoints, ...folders]) {
    const found = yield* Checkpoints.readIn(directory, number, hashes)
    if (found._tag === "Sound") return found.checkpoint
  }
  return undefined
})

/** Whether a repair has taken the checkpoint of a number away. */
const isSetAside = (operations: ReadonlyArray<Found>, number: number): boolean =>
  operations.some(({ plan }) =>
    plan?.kind === "repair"
      ? plan.move.some((one) => one.kind === "checkpoint" && one.name === Checkpoint.name(number))
      : false
  )

/** What one rollback cut: rows that go on from its checkpoint to the head and root it names. */
const cutHistory = Effect.fnUntraced(function* (
  reader: JournalReader,
  operations: ReadonlyArray<Found>,
  { folder, plan }: { readonly folder: string; readonly plan: Op.Plan },
  hashes: Hashes.Hashes,
  verifier: Chain.Verifier,
  judged: Chain.Signatures | undefined
) {
  const paths = yield* Path.Path
  if (!Op.isRollback(plan) || plan.checkpoint === null || plan.root === null) return
  const { from, root } = plan
  const fail = (why: Reason, path = folder, seq = from.seq) =>
    verifier.fail("checkpoints", Segment.wholeFile(path), "", why, seq)
  const to = yield* findCheckpoint(reader, operations, plan.checkpoint, hashes)
  if (to === undefined) {
    const why = reason("checkpoint_missing", `checkpoint ${plan.checkpoint}`, "none")
    // One that was damaged was set aside with what it said: what it began with cannot be known.
    if (!isSetAside(operations, plan.checkpoint)) return fail(why)
    return verifier.remark("checkpoints", Segment.wholeFile(folder), "", why)
  }
  // Its rows go on from the checkpoint's lineage, whose key the rows before it have confirmed.
  const signatures =
    judged === undefined || to.lineage === null ? undefined : { ...judged, signing: to.lineage }
  const { format } = reader
  const own = new Chain.Verifier({ path: folder, format, from: to.head, hashes, signatures })
  const moves = plan.move.filter(({ kind }) => kind === "checkpoint")
  const moved = moves.map(({ name }) => Number.parseInt(name, 10))
  const directory = `${folder}/${folderOf("checkpoint")}`
  const whole = { level: "checkpoints", name: "cut", path: folder } as const
  const all = [
    ...(yield* statedIn(directory, hashes, verifier, moved.toReversed(), moves)),
    { ...whole, size: from.seq, root, checkpoint: undefined }
  ]
  const rows = new StatedRows(
    to.tree,
    all,
    hashes,
    ({ path }, why, seq) => fail(why, path, seq),
    signatures && { signatures, signing: () => own.signing }
  )
  for (const file of cutFiles(paths, folder, plan)) {
    if ((yield* durable.kindAt(file.path)) !== "File") {
      fail(reason("cut_missing", "the rows that were cut", "no file"), file.path, file.firstSeq)
      continue
    }
    yield* eachLineOf(file.path, reader.lineBytesMax, (line) => {
      const count = own.rows
      const event = own.push(line)
      if (own.rows > count) rows.take(line, event, undefined)
    })
  }
  own.end()
  rows.end(own.last.seq)
  const report = own.report([])
  for (const { line, offset, path, reason: why, seq } of report._tag === "Damaged"
    ? report.failures
    : []) {
    verifier.fail("checkpoints", { ...Segment.wholeFile(path), number: line, offset }, "", why, seq)
  }
  if (own.last.leafHash !== from.leafHash) {
    fail(reason("cut_head", from.leafHash, own.last.leafHash))
  }
})

/** What a reader should know of a folder of `operations/`; what it cut is not looked into here. */
const oddityOf = (found: Found): Reason | undefined => {
  const { isEnded, plan, trouble } = found
  if (OperationFolders.isForeign(found))
    return reason("foreign_file", "an operation", "a foreign name")
  if (!isEnded && (plan !== undefined || trouble !== undefined)) {
    // Whoever is at it now, or opens the ledger next, changes what was found here.
    const expected = `the ${plan?.kind ?? "operation"} to have ended`
    return reason("operation_unfinished", expected, "it is under way, or was cut short")
  }
  // What one that was closed has kept may be any part of what it planned.
  return plan === undefined || !isEnded || OperationFolders.isCarriedOut(found)
    ? undefined
    : reason("operation_closed", `the ${plan.kind} as planned`, "closed by a repair")
}

/** Begin: reads what states the rows, and answers what is to be shown them. */
export const begin = Effect.fnUntraced(function* (
  reader: JournalReader,
  hashes: Hashes.Hashes,
  verifier: Chain.Verifier,
  given: Given
): Effect.fn.Return<
  {
    readonly take: StatedRows["take"]
    readonly end: Effect.Effect<void, JournalError, Files>
    readonly isStated: boolean
    readonly signedSeq: () => number
  },
  JournalError,
  Files
> {
  const { layout } = reader
  const { foreign, numbers } = yield* Checkpoints.numbersIn(layout.checkpoints)
  for (const path of foreign) {
    const why = reason("foreign_file", "a checkpoint", "a foreign file")
    verifier.fail("checkpoints", Segment.wholeFile(path), "", why, 0)
  }
  const own = yield* statedIn(layout.checkpoints, hashes, verifier, numbers)
  const operations = yield* OperationFolders.list(layout, hashes)
  checkOrder(own, operations, verifier)
  const { checkpoint, signatures, tree } = given
  const all = [...own]
  if (checkpoint !== undefined) all.push(stated(checkpoint, layout.name, "kept_checkpoint"))
  if (tree !== undefined) {
    const root = Merkle.root(tree, hashes)
    const place = { level: "index", name: "tree", path: layout.mirror } as const
    all.push({ ...place, size: tree.size, root, checkpoint: undefined })
  }
  let wrongTree: Reason | undefined
  const rows = new StatedRows(
    Merkle.empty,
    all,
    hashes,
    ({ level, path }, why, seq) => {
      if (level === "index") wrongTree = why
      else if (why.kind.endsWith("signature_missing")) {
        // Made while nobody could sign: it states what it states, and nobody vouches for it.
        verifier.remark(level, Segment.wholeFile(path), "", why)
      } else verifier.fail(level, Segment.wholeFile(path), "", why, seq)
    },
    signatures && { signatures, signing: () => verifier.signing }
  )
  const end = Effect.gen(function* () {
    rows.end(verifier.rows)
    // Where rows were changed the tree over what they were is not at fault.
    const isSound = !(["rows", "seal", "lines"] as const).some((level) => verifier.hasFailed(level))
    if (wrongTree !== undefined && isSound) {
      verifier.fail("index", Segment.wholeFile(layout.mirror), "", wrongTree, 0)
    }
    for (const found of operations) {
      const { folder, plan } = found
      const oddity = oddityOf(found)
      if (oddity !== undefined)
        verifier.remark("checkpoints", Segment.wholeFile(folder), "", oddity)
      if (plan === undefined || !OperationFolders.isCarriedOut(found)) continue
      yield* cutHistory(reader, operations, { folder, plan }, hashes, verifier, signatures)
    }
  })
  return {
    take: (line, event, segment) => rows.take(line, event, segment),
    end,
    signedSeq: () => rows.signedSeq,
    isStated: all.length > 0 || operations.some(({ plan }) => plan?.kind === "rollback")
  }
})
