/**
 * Verification of rows that were cut from a ledger: a segment file in the folder of an operation.
 *
 * Its name says the seq of its first row. Nothing is known of the row before that, so the first row's
 * links are believed and every later one is checked; the report says what is not proven by it.
 */
import { Effect, Path, Result } from "effect"
import type { FileSystem } from "effect"
import * as Chain from "../core/Chain.ts"
import type * as Hashes from "../core/Hashes.ts"
import * as Row from "../core/Row.ts"
import * as Segment from "../core/Segment.ts"
import type { VerifyReport } from "../core/VerifyReport.ts"
import type { JournalError } from "./errors.ts"
import { eachLineOf, firstLine } from "./lines.ts"

/** How many bytes of a file are looked at to tell how its rows are spelled. */
const looked = 1024 * 1024

/** Verify the rows of one file that is named by the seq of its first row. */
export const part = Effect.fn("Ledger.verifyPart")(function* (
  path: string,
  hashes: Hashes.Hashes,
  options: {
    readonly lineBytesMax: number
    readonly failuresMax?: number | undefined
  }
): Effect.fn.Return<VerifyReport, JournalError, FileSystem.FileSystem | Path.Path> {
  const paths = yield* Path.Path
  const itself = Segment.firstSeq(paths.basename(path)) ?? 1
  const first = yield* firstLine(path, Math.min(looked, options.lineBytesMax))
  const isOurs =
    first !== undefined && Result.isSuccess(Row.decode(first, itself, "segments", hashes))
  const format = isOurs ? "segments" : "cortex"
  const { failuresMax, lineBytesMax } = options
  const verifier = new Chain.Verifier({ path, format, hashes, failuresMax, from: { itself } })
  yield* eachLineOf(path, lineBytesMax, (line) => void verifier.push(line))
  verifier.end()
  const skipped = ["parents", "index", "parity", "checkpoints"] as const
  return verifier.report(skipped, { isPart: true })
})
