/**
 * Verification over files: every line through `Chain.Verifier`, then what lies beside the rows.
 *
 * Reads segments or one file with constant memory, changes nothing, needs no guard. With a mirror
 * at hand it also compares index and `events` row by row and looks for rows that only SQL has.
 * Rows beyond the mirror's newest one may be in flight: an unfinished end there is a remark, below
 * it a failure.
 */
import { Effect, Result } from "effect"
import type { SqlClient } from "effect/sql"
import type { FileSystem, Path } from "effect"
import * as Attestation from "../../core/Attestation.ts"
import * as Chain from "../../core/Chain.ts"
import type { Checkpoint } from "../../core/Checkpoint.ts"
import type * as Hashes from "../../core/Hashes.ts"
import * as Segment from "../../core/Segment.ts"
import type { Line } from "../../core/Segment.ts"
import * as Signing from "../../core/Signing.ts"
import * as Checkpoints from "../upkeep/Checkpoints.ts"
import type { Level, VerifyReport } from "../../core/VerifyReport.ts"
import type { JournalError, MirrorError } from "../errors.ts"
import { mirrorError } from "../errors.ts"
import type { JournalFile, JournalReader } from "../journal/Journal.ts"
import * as Manifests from "../upkeep/Manifests.ts"
import * as Mirror from "../mirror/Mirror.ts"
import * as MirrorSigning from "../mirror/MirrorSigning.ts"
import * as MirrorTree from "../mirror/MirrorTree.ts"
import * as VerifyCheckpoints from "./VerifyCheckpoints.ts"
import { checkNul, checkPages, makeCompare, onlyInMirror, reason } from "./VerifyMirror.ts"

export interface VerifyOptions {
  /** The most failures that are listed; all are counted. Default 1,000. */
  readonly failuresMax?: number | undefined
  /** The mirror, where there is one: committed rows only. */
  readonly sql?: SqlClient.SqlClient | undefined
  /** A checkpoint that was kept elsewhere: the ledger must still have what it states. */
  readonly checkpoint?: Checkpoint | undefined
  /** The key that signed the first signed row, in hex; default what the ledger itself states. */
  readonly publicKey?: string | undefined
  /** With `publicKey`: the first row that must be signed. Default 1. */
  readonly signedFrom?: number | undefined
  /** What signatures call the ledger, and how they are verified. */
  readonly ledgerId: string
  readonly verify: Attestation.Verify
}

const withoutMirror: ReadonlyArray<Level> = ["parents", "index", "parity"]

/** What the names of the files and their sizes say. */
const checkFile = (
  verifier: Chain.Verifier,
  { bytes, path, segment }: JournalFile,
  isLast: boolean
): void => {
  const next = verifier.rows + 1
  if (segment !== next) {
    verifier.fail("rows", Segment.wholeFile(path), "", reason("segment_misnamed", next, segment))
  }
  if (bytes === 0 && !isLast) {
    verifier.fail("rows", Segment.wholeFile(path), "", reason("segment_empty", "rows", 0))
  }
}

/** A manifest that does not hold together: nothing is decided by it, and the next one replaces it. */
const checkManifest = Effect.fnUntraced(function* (
  { layout }: JournalReader,
  verifier: Chain.Verifier,
  hashes: Hashes.Hashes
) {
  const found = yield* Manifests.look(layout, hashes)
  if (found._tag !== "Damaged") return
  const { actual, expected } = found
  const place = Segment.wholeFile(layout.manifest)
  verifier.remark("checkpoints", place, "", reason("manifest_damaged", expected, actual))
})

/** Whose signatures the rows must have: the key that was given, or the one that the ledger states. */
const signaturesOf = Effect.fnUntraced(function* (
  { layout }: JournalReader,
  hashes: Hashes.Hashes,
  { ledgerId, publicKey, signedFrom = 1, verify }: VerifyOptions,
  held: Signing.State | undefined
): Effect.fn.Return<
  Chain.Signatures | undefined,
  JournalError | Attestation.PublicKeyInvalid,
  FileSystem.FileSystem | Path.Path
> {
  const how = { ledgerId, verify }
  if (publicKey !== undefined) {
    const lineage = yield* Effect.fromResult(Attestation.genesis(publicKey))
    return { ...how, isGiven: true, signing: Signing.begin(signedFrom, lineage) }
  }
  const stated =
    held?._tag === "Signed"
      ? held.signing
      : (yield* Checkpoints.newestSound(layout, hashes))?.lineage
  if (stated === undefined || stated === null) return undefined
  const lineage = Attestation.genesis(stated.firstPublicKey, stated.firstKeyId)
  return Result.isFailure(lineage)
    ? undefined
    : { ...how, isGiven: false, signing: Signing.begin(stated.firstSeq, lineage.success) }
})

/** The lineage that the mirror holds behind its newest row, against that of the rows. */
const checkHeld = (
  verifier: Chain.Verifier,
  path: string,
  held: MirrorSigning.Stored | undefined,
  committed: number
): void => {
  const rows = verifier.signing
  if (verifier.rows !== (held?.seq ?? committed) || rows === undefined) return
  // Signatures by a key that nobody had told when they were taken in.
  if (held?.state?._tag === "Unknown") return
  const isUnsigned = held === undefined && /^0+$/.test(rows.prevSignature)
  const signing = held?.state?._tag === "Signed" ? held.state.signing : undefined
  const [expected, actual] = [rows, signing].map(Signing.describeLineage)
  if (isUnsigned || expected === actual) return
  verifier.fail(
    "index",
    Segment.wholeFile(path),
    "",
    reason("lineage_differs", `${expected}`, `${actual}`)
  )
}

/** Verify a journal, and its mirror where one is given. Damage is an answer, not an error. */
export const journal: (
  reader: JournalReader,
  hashes: Hashes.Hashes,
  options: VerifyOptions
) => Effect.Effect<
  VerifyReport,
  JournalError | MirrorError | Attestation.PublicKeyInvalid,
  FileSystem.FileSystem | Path.Path
> = Effect.fn("Ledger.verify")(function* (
  reader: JournalReader,
  hashes: Hashes.Hashes,
  options: VerifyOptions
) {
  const { format, layout } = reader
  const { checkpoint, sql, failuresMax } = options
  const failed = mirrorError("be verified")
  const held =
    sql === undefined ? undefined : yield* Effect.mapError(MirrorSigning.stored(sql), failed)
  const signatures = yield* signaturesOf(reader, hashes, options, held?.state)
  const path = layout.name
  const verifier = new Chain.Verifier({ path, format, failuresMax, hashes, signatures })
  const committed =
    sql === undefined ? undefined : (yield* Effect.mapError(Mirror.settled(sql), failed)).head.seq
  const compare = sql === undefined ? undefined : makeCompare(sql, verifier)
  const tree =
    sql === undefined ? undefined : yield* Effect.mapError(MirrorTree.stored(sql), failed)
  const statements = yield* VerifyCheckpoints.begin(reader, hashes, verifier, {
    checkpoint,
    tree,
    signatures
  })
  const { files, misplaced } = yield* reader.listing
  for (const { actual, expected, path } of misplaced) {
    verifier.fail("rows", Segment.wholeFile(path), "", reason("foreign_file", expected, actual))
  }
  for (const [nth, file] of files.entries()) {
    const isLast = nth === files.length - 1
    if (format === "segments") checkFile(verifier, file, isLast)
    yield* reader.eachLine(file, { offset: 0, number: 1 }, file.bytes, (lines) =>
      Effect.gen(function* () {
        for (const line of lines) {
          if (isLast && isInFlight(line, verifier, committed)) continue
          const { rows } = verifier
          const event = verifier.push(line)
          if (verifier.rows > rows) {
            statements.take(line, event, file.segment)
            if (committed !== undefined) checkHeld(verifier, layout.mirror, held, committed)
          }
          if (event === undefined || compare === undefined) continue
          if (event.seq > (committed ?? 0)) continue
          if (format === "cortex" && !line.terminated) {
            // Cortex reads such a row, but the mirror's rows all had their LF.
            const found = reason("line_unterminated", "LF", "the end of the file")
            verifier.fail("rows", line, event.id, found)
          }
          const isFull = compare.take({ event, line: kept(line), segment: file.segment })
          if (isFull) yield* Effect.mapError(compare.flush(), failed)
        }
      })
    )
    verifier.end(isLast && committed !== undefined && verifier.rows > committed)
  }
  if (sql !== undefined && compare !== undefined) {
    const until = committed ?? 0
    yield* Effect.mapError(compare.flush(), failed)
    yield* Effect.mapError(onlyInMirror(sql, verifier, until, compare.keyCount()), failed)
    yield* Effect.mapError(checkNul(sql, verifier, until), failed)
    yield* Effect.mapError(checkPages(sql, verifier), failed)
    if (verifier.rows < until) {
      verifier.fail("parity", undefined, "", reason("journal_short", until, verifier.rows))
    }
  }
  yield* statements.end
  yield* checkManifest(reader, verifier, hashes)
  const skipped: ReadonlyArray<Level> = sql === undefined ? withoutMirror : []
  const isKept = checkpoint !== undefined && !verifier.hasFailed("checkpoints")
  return verifier.report(statements.isStated ? skipped : [...skipped, "checkpoints"], {
    keptSeq: isKept ? checkpoint.size : undefined,
    signedSeq: statements.signedSeq()
  })
})

// A line's bytes are overwritten by the next chunk; what a failure tells of it is not.
const kept = (line: Line): Line => ({ ...line, bytes: new Uint8Array() })

/** A last line without LF beyond what was committed may be a write under way. */
const isInFlight = (
  line: Line,
  verifier: Chain.Verifier,
  committed: number | undefined
): boolean => {
  if (committed === undefined || line.terminated || verifier.rows < committed) return false
  const expected = `nothing beyond row ${committed}, or whole rows`
  verifier.remark("rows", line, "", reason("in_flight", expected, `${line.length} bytes`))
  return true
}
