/**
 * Import: lines of elsewhere become rows, as an operation that can be run again.
 *
 *   1. a plan, durable, that says who asked for it, why, and what is imported
 *   2. lines in groups of a few hundred: each becomes a draft, or is reported with its reason
 *   3. each group is appended, then read back, and its payload hashes compared
 *   4. an outcome, durable, with counts and the SHA-256 of every byte that was read
 *
 * A line that is refused takes no other with it: its group goes on without it. A draft without an id
 * gets `EventId.idFrom` of `import "SOURCE" NUMBER TEXT`, the source as JSON: the same file adds
 * nothing when it is imported again, one that has grown adds what is new, and two equal lines stay
 * two events. This form may never change. Whatever ends an import early is recorded as
 * `recoverable_error`; its rows stay, and running it again goes on.
 */
import { Cause, Clock, Context, Effect, Exit, FileSystem, Path, Result, Schema } from "effect"
import { SecureRandom } from "effect/crypto/SecureRandom"
import * as Json from "../../core/CanonicalJson.ts"
import * as Draft from "../../core/Draft.ts"
import * as EventId from "../../core/EventId.ts"
import * as LineDraft from "../../core/LineDraft.ts"
import * as Op from "../../core/Operation.ts"
import * as Timestamp from "../../core/Timestamp.ts"
import type { AttestorMissing, SignError } from "../signing/Attestor.ts"
import { JournalError, MirrorError, RowDamaged } from "../errors.ts"
import type { Line, Lines, NoText, Seen } from "./ImportLines.ts"
import type { Dependencies, Problem, Ready, Tally } from "./ImportAppend.ts"
import { emptyTally, makeAppend, note, refusal } from "./ImportAppend.ts"
import * as ImportLines from "./ImportLines.ts"
import { JournalFinal, OutcomeUnknown } from "../journal/Journal.ts"
import { checkSaid, OperationFailed } from "../upkeep/requests.ts"
import type { RequestInvalid } from "../upkeep/requests.ts"
import * as Operations from "../upkeep/Operations.ts"
import { Progress } from "../Progress.ts"
import { LedgerClosed, MirrorBehind } from "./Receipt.ts"
import type { ViewFailed } from "../views/Views.ts"

export type { Line, Lines } from "./ImportLines.ts"

/** A line that becomes no event, and why; the reason is reported, so it should tell no content. */
export class LineRefused extends Schema.TaggedError<LineRefused>()("LineRefused", {
  reason: Schema.String
}) {
  override get message(): string {
    return this.reason
  }
}

/** What makes the draft of a line, or refuses it. Any other failure ends the import. */
export type ToDraft<E = never, R = never> = (
  line: Line
) => Result.Result<Draft.Draft, LineRefused> | Effect.Effect<Draft.Draft, E, R>

/** Takes type, id, parent and time from fields of lines of JSON; see `LineDraft`. */
export const fields =
  (places: LineDraft.Places = {}) =>
  ({ text }: Line): Result.Result<Draft.Draft, LineRefused> =>
    Result.mapError(
      LineDraft.read(text, places),
      ({ message: reason }) => new LineRefused({ reason })
    )

/** What goes with an import. */
export interface Options {
  /** What the lines come from, a file's name: part of the ids that are made, and of the record. */
  readonly source?: string | undefined
  readonly operator?: string | undefined
  readonly reason?: string | undefined
  readonly correlationId?: string | undefined
  /** The id of a line whose draft has none. */
  readonly id?: ((line: Line) => string) | undefined
  /** A longer line is refused. Default: the ledger's own limit. */
  readonly lineBytesMax?: number | undefined
  /** How many bytes will come, for whoever is told of the progress. */
  readonly bytesTotal?: number | undefined
}

/** What an import did. Every line is one of `appended`, `existing` and `refused`. */
export class ImportReport extends Schema.Class<ImportReport>("sealog/ImportReport")({
  operation: Schema.String,
  lines: Schema.Natural,
  appended: Schema.Natural,
  /** Lines whose event was there already, with the same content. */
  existing: Schema.Natural,
  refused: Schema.Natural,
  /** The first 1,000 lines that were refused. */
  problems: Schema.Array(Schema.Struct({ line: Schema.Natural, reason: Schema.String })),
  bytes: Schema.Natural,
  /** Of every byte that was read. */
  sha256: Schema.String,
  /** The ledger's newest row when it ended. */
  head: Schema.Struct({ seq: Schema.Natural, leafHash: Schema.String })
}) {}

/** What ends an import early. Rows that were appended stay. */
export type ImportError =
  | RequestInvalid
  | OperationFailed
  | LedgerClosed
  | JournalFinal
  | JournalError
  | MirrorError
  | MirrorBehind
  | OutcomeUnknown
  | RowDamaged
  | ViewFailed
  | SignError
  | AttestorMissing

const groupLinesMax = 256
const groupUnitsMax = 4 * 1024 * 1024

const isOther = <E>(error: E): error is Exclude<E, LineRefused> => !(error instanceof LineRefused)

/** The draft of a line, or why there is none. */
const draftOf = Effect.fnUntraced(function* <E, R>(
  toDraft: ToDraft<E, R>,
  line: Line
): Effect.fn.Return<Result.Result<Draft.Draft, string>, Exclude<E, LineRefused>, R> {
  const made = toDraft(line)
  const answer: Result.Result<Draft.Draft, E | LineRefused> = Result.isResult(made)
    ? made
    : yield* Effect.result(made)
  if (Result.isSuccess(answer)) return Result.succeed(answer.success)
  const error = answer.failure
  if (error instanceof LineRefused) return Result.fail(error.reason)
  return yield* isOther<E | LineRefused>(error) ? Effect.fail(error) : Effect.die(error)
})

/** What was counted is no longer there. */
const rolledBack = (operation: string) =>
  new OperationFailed({
    operation,
    kind: "import",
    outcome: "recoverable_error",
    errorClass: "rolled_back",
    expected: "a ledger that only grows",
    actual: "a rollback meanwhile"
  })

/** Every line of the source, a group at a time. */
const takeAll = Effect.fnUntraced(function* <E, R, E2, R2>(
  deps: Dependencies,
  operation: string,
  lines: Lines<E, R>,
  toDraft: ToDraft<E2, R2>,
  options: Options,
  tally: Tally
) {
  const { hashes, journal, numbers, rows, writer } = deps
  const append = makeAppend({ hashes, rows, submit: writer.submit }, operation)
  const tell = yield* Progress
  const source = Result.getOrThrow(Json.fromValue(options.source ?? ""))
  let ready: Array<Ready> = []
  let bad: Array<Problem> = []
  let units = 0
  const rollbacks = writer.rollbacks()
  const isSame = () => writer.rollbacks() === rollbacks

  const flush = Effect.fnUntraced(function* (seen: Seen) {
    const [drafts, problems] = [ready, bad]
    ready = []
    bad = []
    units = 0
    const noted = Effect.sync(() => note(tally, problems))
    yield* append(drafts, tally, problems).pipe(
      Effect.catchTag("OperationFailed", (error) => (isSame() ? Effect.fail(error) : Effect.void)),
      Effect.ensuring(noted)
    )
    if (!isSame()) return yield* rolledBack(operation)
    const { bytesTotal: total } = options
    const known = total !== undefined
    const done = known ? seen.bytes : tally.lines
    yield* tell({ task: "import", done, total, unit: known ? "bytes" : "lines" })
  })

  const read = Effect.fnUntraced(function* (line: Line) {
    const made = yield* draftOf(toDraft, line)
    if (Result.isFailure(made)) return bad.push({ line: line.number, reason: made.failure })
    const id = made.success.id ?? options.id?.(line)
    const completed = Draft.complete(id === undefined ? made.success : { ...made.success, id }, {
      id: EventId.idFrom(`import ${source} ${line.number} ${line.text}`, hashes),
      now: Timestamp.fromMillis(yield* Clock.currentTimeMillis),
      mode: journal.format,
      numbers,
      lineBytesMax: journal.lineBytesMax
    })
    return Result.isSuccess(completed)
      ? ready.push({ line: line.number, draft: completed.success })
      : bad.push({ line: line.number, reason: refusal(completed.failure)?.why ?? "" })
  })

  const take = Effect.fnUntraced(function* (some: ReadonlyArray<Line | NoText>, seen: Seen) {
    for (const line of some) {
      tally.lines++
      if ("reason" in line) bad.push({ line: line.number, reason: line.reason })
      else {
        units += line.text.length
        yield* read(line)
      }
      if (ready.length + bad.length >= groupLinesMax || units >= groupUnitsMax) yield* flush(seen)
    }
  })

  const lineBytesMax = options.lineBytesMax ?? journal.lineBytesMax
  const seen = yield* ImportLines.each(lines, lineBytesMax, take)
  yield* flush(seen)
  return { bytes: seen.bytes, sha256: seen.sha256() }
})

const ioErrors = [JournalError, JournalFinal, OutcomeUnknown] as const

/** What ended an import, in the words of an outcome; of a foreign error nothing is told. */
const classOf = (cause: Cause.Cause<unknown>): readonly [errorClass: string, message: string] => {
  if (Cause.hasInterruptsOnly(cause)) return ["interrupted", "it was interrupted"]
  const error = Cause.squash(cause)
  if (error instanceof OperationFailed) return [error.errorClass, error.message]
  if (error instanceof MirrorError || error instanceof MirrorBehind) {
    return ["mirror_error", error.message]
  }
  if (error instanceof RowDamaged) return ["row_damaged", error.message]
  const own = ioErrors.find((one) => error instanceof one)
  if (own !== undefined && error instanceof Error) return ["io_error", error.message]
  return Cause.hasDies(cause)
    ? ["defect", "it met a defect"]
    : ["source_error", "its source, or what makes drafts of its lines, failed"]
}

/** The import of an open ledger. */
export const make = Effect.fnUntraced(function* (deps: Dependencies) {
  const { hashes, journal, writer } = deps
  const { layout } = journal
  const context = yield* Effect.context<FileSystem.FileSystem | Path.Path | SecureRandom>()
  // Only these: the caller's own services are for his lines and drafts.
  const own = Context.pick(FileSystem.FileSystem, Path.Path, SecureRandom)(context)

  const begin = Effect.fnUntraced(function* ({ correlationId, operator, ...options }: Options) {
    const { folder, id } = yield* Operations.begin(layout)
    const source = options.source === undefined ? "import" : `import of ${options.source}`
    const { leafHash, seq } = writer.head()
    const plan = Op.makePlan(
      {
        ...Operations.nothing,
        id,
        kind: "import",
        at: Timestamp.fromMillis(yield* Clock.currentTimeMillis),
        operator: operator ?? null,
        reason: options.reason === undefined ? source : `${source}: ${options.reason}`,
        correlationId: correlationId ?? null,
        from: { seq, leafHash }
      },
      hashes
    )
    yield* Operations.place(folder, plan)
    return { folder, plan }
  })

  const end = (
    folder: string,
    plan: Op.Plan,
    tally: Tally,
    ending: Omit<Operations.Ending, "counts">
  ) => {
    const { problems: _problems, ...counts } = tally
    const { leafHash, seq } = writer.head()
    const verified = tally.checked > 0 ? ["payload_hash"] : []
    const said = { ...ending, head: { seq, leafHash }, verified, counts }
    return Effect.provideContext(Operations.end(folder, plan, said), own)
  }

  return Effect.fn("Ledger.import")(function* <E = never, R = never, E2 = never, R2 = never>(
    lines: Lines<E, R>,
    toDraft: ToDraft<E2, R2>,
    options: Options = {}
  ) {
    const { correlationId, operator, reason, source } = options
    yield* checkSaid({ source, operator, reason, correlationId })
    return yield* Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const began = writer.exclusively(Effect.provideContext(begin(options), own))
        const { folder, plan } = yield* began
        const tally = emptyTally()
        const work = restore(takeAll(deps, plan.id, lines, toDraft, options, tally))
        const exit = yield* Effect.exit(work)
        if (Exit.isFailure(exit)) {
          const [errorClass, message] = classOf(exit.cause)
          const outcome = "recoverable_error"
          // A ledger that is closed may be somebody else's by now: its next open ends the record. So
          // it does where the record cannot be written; what ended the import is told either way.
          if (!(Cause.squash(exit.cause) instanceof LedgerClosed)) {
            yield* Effect.ignore(end(folder, plan, tally, { outcome, errorClass, message }))
          }
          return yield* Effect.failCause(exit.cause)
        }
        const { bytes, sha256 } = exit.value
        const message = `read ${bytes} bytes, SHA-256 ${sha256}`
        yield* end(folder, plan, tally, { outcome: "ok", message })
        const { checked: _checked, ...counts } = tally
        const { leafHash, seq } = writer.head()
        const head = { seq, leafHash }
        return new ImportReport({ operation: plan.id, ...counts, bytes, sha256, head })
      })
    )
  })
})
