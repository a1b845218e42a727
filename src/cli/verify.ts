/**
 * `sealog verify TARGET`: every row, link, seal and checksum of a ledger or of one JSONL file.
 *
 * With --public-key every row must be signed by that key, or by one it was handed to.
 * Takes no guard and changes no row, so it runs beside a writer. Of a ledger the mirror is compared
 * too, where there is one, and what its checkpoints state. Every failure is listed, and in words what
 * was not proven. Rows that an operation has cut are verified by themselves; of these the key is that
 * of the first of them.
 */
import { Effect, Option, Path, Result } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import * as Checkpoint from "../core/Checkpoint.ts"
import * as Segment from "../core/Segment.ts"
import type { VerifyReport } from "../core/VerifyReport.ts"
import * as SealogNode from "../platform/SealogNode.ts"
import * as Checkpoints from "../store/upkeep/Checkpoints.ts"
import * as durable from "../store/journal/durable.ts"
import * as FilePair from "../store/mirror/FilePair.ts"
import * as Home from "../store/journal/Home.ts"
import * as Layout from "../store/journal/Layout.ts"
import * as Ledger from "../store/Ledger.ts"
import { ReadSql } from "../store/mirror/ReadSql.ts"
import { Ending, found, plain } from "./Ending.ts"
import * as Flags from "./flags.ts"
import * as json from "./json.ts"
import { Output } from "./Output.ts"
import * as Target from "./Target.ts"

const all = { failuresMax: Number.MAX_SAFE_INTEGER }

/** A checkpoint that was kept elsewhere. */
const keptIn = Effect.fnUntraced(function* (file: string) {
  yield* durable.existing(file)
  const text = yield* durable.readSmall(file, Checkpoints.bytesMax)
  const decoded = Checkpoint.decode(text ?? "")
  if (Result.isSuccess(decoded)) return decoded.success
  return yield* new Ending({ code: 2, text: `${file}: ${decoded.failure.message}` })
})

const ofDirectory = Effect.fnUntraced(function* (
  directory: string,
  { checkpointFile, journalOnly, publicKey, signedFrom }: Options
) {
  const layout = yield* Target.ledger(directory)
  const checkpoint = checkpointFile === undefined ? undefined : yield* keptIn(checkpointFile)
  const options = { ...all, checkpoint, publicKey, signedFrom }
  const hasMirror = !journalOnly && (yield* durable.kindAt(layout.mirror)) !== undefined
  if (!hasMirror) return yield* Ledger.verify({ directory }, options)
  const verify = Effect.flatMap(ReadSql, (sql) => Ledger.verify({ directory }, { ...options, sql }))
  return yield* Effect.provide(verify, SealogNode.layerMirrorReadOnly(layout.mirror)).pipe(
    Effect.catchTag("MirrorError", (error) => {
      const text = `${error.message} To verify the journal alone: sealog verify --journal-only ${directory}`
      return Effect.fail(new Ending({ code: 2, text }))
    })
  )
})

/** Rows that an operation has cut, in the folder of a ledger whose name their signatures have. */
const ofCut = Effect.fnUntraced(function* (file: string, publicKey: string | undefined) {
  if (publicKey === undefined) return yield* Ledger.verifyPart(file, all)
  const paths = yield* Path.Path
  const root = paths.resolve(file, "../../../..")
  const log = root.replace(/\.sealog$/, "")
  const isLog = log !== root && (yield* durable.kindAt(log)) === "File"
  const layout = Layout.of(paths, isLog ? { file: log } : { directory: root })
  const ledgerId = Home.signedName(paths, layout, yield* Home.readIdentity(layout))
  return yield* Ledger.verifyPart(file, { ...all, signatures: { ledgerId, publicKey } })
})

const ofFile = Effect.fnUntraced(function* (file: string, { publicKey, signedFrom }: Options) {
  const paths = yield* Path.Path
  if (Segment.firstSeq(paths.basename(file)) !== undefined) {
    const isCut = paths.basename(paths.resolve(file, "../../..")) === "operations"
    if (isCut) return yield* ofCut(file, publicKey)
    const text =
      `${file} is one segment of a ledger, whose rows link to those of the segment before. ` +
      `Verify the ledger: sealog verify ${paths.resolve(file, "../..")}`
    return yield* new Ending({ code: 2, text })
  }
  yield* FilePair.existing(file)
  return yield* Ledger.verify({ file }, { ...all, publicKey, signedFrom })
})

const levels = (
  title: string,
  { checks }: VerifyReport,
  outcome: string
): ReadonlyArray<string> => {
  const names = Object.keys(checks).filter((level) => checks[level] === outcome)
  return names.length === 0 ? [] : [`${title}: ${names.join(", ")}`]
}

const human = (report: VerifyReport): ReadonlyArray<string> => {
  const { rows, path, head, remarks } = report
  const verdict =
    report._tag === "Intact"
      ? `intact: ${rows} rows of ${path}`
      : `DAMAGED: ${report.failureCount} failures in ${rows} rows of ${path}`
  const failures = report._tag === "Intact" ? [] : report.failures.map((found) => found.message)
  return [
    verdict,
    ...failures,
    `head: ${head.seq === 0 ? "none, there is no row" : `${head.seq}:${head.leafHash}`}`,
    ...levels("passed", report, "Passed"),
    ...levels("failed", report, "Failed"),
    ...levels("not checked", report, "Skipped"),
    ...remarks.map((remark) => `remark: ${remark.message}`),
    ...report.notProven.map((what) => `not proven: ${what}`)
  ]
}

interface Options {
  readonly journalOnly: boolean
  readonly checkpointFile: string | undefined
  readonly publicKey: string | undefined
  readonly signedFrom: number | undefined
}

const run = Effect.fnUntraced(function* (target: string, options: Options, asJson: boolean) {
  const output = yield* Output
  if (options.publicKey === undefined && options.signedFrom !== undefined) {
    return yield* new Ending({ code: 2, text: "--signed-from goes with --public-key" })
  }
  const isDirectory = (yield* durable.kindAt(target)) !== "File"
  if (!isDirectory && options.checkpointFile !== undefined) {
    return yield* new Ending({ code: 2, text: "--checkpoint is for a ledger, not for one file" })
  }
  const report = isDirectory ? yield* ofDirectory(target, options) : yield* ofFile(target, options)
  if (asJson) {
    yield* output.json(isDirectory ? json.verification(report, target) : json.audit(report, target))
  } else {
    yield* Effect.forEach(human(report), (text) => output.line(plain(text)), { discard: true })
  }
  if (report._tag === "Damaged") return yield* found
})

export const command = Command.make(
  "verify",
  {
    target: Argument.String("TARGET").pipe(
      Argument.withDescription("The directory of a ledger, or a JSONL file")
    ),
    journalOnly: Flags.on("journal-only", "Of a ledger: leave its mirror alone"),
    checkpoint: Flag.String("checkpoint").pipe(
      Flag.withMetavar("FILE"),
      Flag.withDescription("Of a ledger: a checkpoint's file that was kept elsewhere"),
      Flag.optional
    ),
    publicKey: Flag.String("public-key").pipe(
      Flag.withMetavar("HEX"),
      Flag.withDescription("Whose signatures the rows must have: the key of the first signed row"),
      Flag.optional
    ),
    signedFrom: Flags.count(
      "signed-from",
      "rows",
      "With --public-key: the first row that must be signed, where others came before signing"
    ).pipe(Flag.optional),
    json: Flags.json
  },
  ({ checkpoint, journalOnly, json, publicKey, signedFrom, target }) =>
    run(
      target,
      {
        journalOnly,
        checkpointFile: Option.getOrUndefined(checkpoint),
        publicKey: Option.getOrUndefined(publicKey),
        signedFrom: Option.getOrUndefined(signedFrom)
      },
      json
    )
).pipe(
  Command.withDescription(
    "Check every row, link, seal and checksum, the mirror of a ledger, and signatures where a key " +
      "is named or the ledger states one; changes nothing. " +
      "Exit code 0: intact; 1: something was found, all of which is listed; 2: it could not run."
  ),
  Command.withShortDescription("Check every row of a ledger or a JSONL file")
)
