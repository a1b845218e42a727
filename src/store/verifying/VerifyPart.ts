/**
 * Verification of rows that were cut from a ledger: a segment file in the folder of an operation.
 *
 * Its name says the seq of its first row. Nothing is known of the row before that, so the first row's
 * links are believed and every later one is checked; the report says what is not proven by it. So it
 * is with signatures, where the key is known alone; with the lineage before the first row, as the
 * checkpoint of the rollback states it, all are checked.
 */
import { Effect, Path, Result } from "effect"
import type { FileSystem } from "effect"
import * as Attestation from "../../core/Attestation.ts"
import * as Chain from "../../core/Chain.ts"
import type * as Hashes from "../../core/Hashes.ts"
import * as Row from "../../core/Row.ts"
import * as Segment from "../../core/Segment.ts"
import * as Signing from "../../core/Signing.ts"
import type { VerifyReport } from "../../core/VerifyReport.ts"
import type { JournalError } from "../errors.ts"
import { eachLineOf, firstLine } from "../journal/lines.ts"

/** How many bytes of a file are looked at to tell how its rows are spelled. */
const looked = 1024 * 1024

/** Whose signatures the rows must have, and what these call the ledger. */
export type Signed = { readonly ledgerId: string } & (
  | {
      /** The key that signed the first row, or its checkpoint's, in hex. */
      readonly publicKey: string
      readonly lineage?: undefined
    }
  | {
      /** What stands before the first row. */
      readonly lineage: Attestation.Lineage
      readonly publicKey?: undefined
    }
)

/** Takes the first signature for right: what else it is asked about is verified. */
const believingFirst = (verify: Attestation.Verify): Attestation.Verify => {
  let isFirst = true
  return (...asked) => {
    if (!isFirst) return verify(...asked)
    isFirst = false
    return true
  }
}

const signaturesOf = (
  { ledgerId, lineage, publicKey }: Signed,
  seq: number,
  verify: Attestation.Verify
): Result.Result<Chain.Signatures, Attestation.PublicKeyInvalid> => {
  const common = { ledgerId, isGiven: true }
  if (lineage !== undefined) {
    return Result.succeed({ ...common, verify, signing: Signing.begin(seq, lineage) })
  }
  return Result.map(Attestation.genesis(publicKey), (before) => ({
    ...common,
    verify: believingFirst(verify),
    signing: Signing.begin(seq, before),
    isFirstBelieved: true
  }))
}

/** Verify the rows of one file that is named by the seq of its first row. */
export const part = Effect.fn("Ledger.verifyPart")(function* (
  path: string,
  hashes: Hashes.Hashes,
  options: {
    readonly lineBytesMax: number
    readonly failuresMax?: number | undefined
    readonly signatures?: Signed | undefined
    readonly verify: Attestation.Verify
  }
): Effect.fn.Return<
  VerifyReport,
  JournalError | Attestation.PublicKeyInvalid,
  FileSystem.FileSystem | Path.Path
> {
  const paths = yield* Path.Path
  const itself = Segment.firstSeq(paths.basename(path)) ?? 1
  const first = yield* firstLine(path, Math.min(looked, options.lineBytesMax))
  const isOurs =
    first !== undefined && Result.isSuccess(Row.decode(first, itself, "segments", hashes))
  const format = isOurs ? "segments" : "cortex"
  const { failuresMax, lineBytesMax, verify } = options
  const signatures =
    options.signatures === undefined
      ? undefined
      : yield* Effect.fromResult(signaturesOf(options.signatures, itself, verify))
  const from = { itself }
  const verifier = new Chain.Verifier({ path, format, hashes, failuresMax, from, signatures })
  yield* eachLineOf(path, lineBytesMax, (line) => void verifier.push(line))
  verifier.end()
  const skipped = ["parents", "index", "parity", "checkpoints"] as const
  return verifier.report(skipped, { isPart: true })
})
