/**
 * Operations: what was ever done to a ledger besides appending, each in a folder of its own.
 *
 * Once its plan is durable an operation is only ever finished, never undone, by the next open if need
 * be: the mirror first, so that it is never ahead of the journal, then the files, then the outcome.
 * A folder without a plan did nothing. An import is not finished but closed: its rows stay, and
 * running it again goes on. What an operation refused before it planned leaves an outcome alone.
 */
import { Clock, Effect, Path, Result } from "effect"
import type { FileSystem } from "effect"
import { SecureRandom } from "effect/crypto"
import type { Position } from "../../core/Event.ts"
import type * as Hashes from "../../core/Hashes.ts"
import type { Cut, Outcome, Plan } from "../../core/Operation.ts"
import * as Op from "../../core/Operation.ts"
import type { Range } from "../../core/Recovery.ts"
import * as Timestamp from "../../core/Timestamp.ts"
import { carryOutFiles, digest, keptPlaces } from "./carryOut.ts"
import { JournalError } from "../errors.ts"
import * as durable from "../journal/durable.ts"
import type { Layout } from "../journal/Layout.ts"
import * as OperationFolders from "./OperationFolders.ts"

export { OperationUnfinished } from "./carryOut.ts"

const utf8 = new TextEncoder()

const write = (path: string, text: string) => durable.writeFile(path, utf8.encode(text))

/** A folder for a new operation; its id. */
export const begin = Effect.fnUntraced(function* (layout: Layout) {
  const paths = yield* Path.Path
  const random = yield* SecureRandom.SecureRandom
  const last = (yield* OperationFolders.names(layout)).findLast(Op.isId)
  let id = Op.idAfter(`op_${yield* random.ulid}`, last)
  // A folder belongs to one operation, also where no id is behind the last.
  while ((yield* durable.kindAt(paths.join(layout.operations, id))) !== undefined) {
    id = `op_${yield* random.ulid}`
  }
  const folder = paths.join(layout.operations, id)
  yield* durable.makeDirectory(folder)
  return { id, folder }
})

/** The text of a plan, refused where no later open could read it: it would never be finished. */
export const textOf = Effect.fnUntraced(function* (
  folder: string,
  plan: Plan
): Effect.fn.Return<string, JournalError> {
  const text = Op.planText(plan)
  if (Result.isSuccess(text)) return text.success
  const { actual, expected } = text.failure
  return yield* new JournalError({
    operation: `plan a ${plan.kind} in`,
    path: folder,
    code: null,
    cause: new Error(`expected ${expected}, found ${actual}`),
    hint: `Expected ${expected}, found ${actual}; rename or move it away. Nothing was changed`
  })
})

/** Place a plan: from here on it is only ever finished. */
export const place = Effect.fnUntraced(function* (folder: string, plan: Plan) {
  const paths = yield* Path.Path
  const text = yield* textOf(folder, plan)
  yield* write(paths.join(folder, "plan.json"), text)
})

/** What an outcome says besides what its plan says. */
export interface Ending {
  readonly outcome: Outcome["outcome"]
  readonly errorClass?: string | undefined
  readonly message?: string | undefined
  readonly head?: Position | undefined
  readonly verified?: ReadonlyArray<string> | undefined
  readonly resumed?: boolean | undefined
  readonly counts?: { readonly [name: string]: number } | undefined
}

type Asked = Pick<Plan, "kind" | "operator" | "reason" | "correlationId">

const outcomeOf = Effect.fnUntraced(function* (asked: Asked, ending: Ending) {
  const { correlationId, kind, operator, reason } = asked
  return {
    kind,
    at: Timestamp.fromMillis(yield* Clock.currentTimeMillis),
    operator,
    reason,
    correlationId,
    outcome: ending.outcome,
    errorClass: ending.errorClass ?? null,
    // It repeats what an error says, of whatever length.
    message: ending.message?.slice(0, Op.saidMax).toWellFormed() ?? null,
    head: ending.head ?? null,
    verified: ending.verified ?? [],
    resumed: ending.resumed ?? false,
    counts: ending.counts ?? {}
  } satisfies Outcome
})

/** Say what came of an operation, durable. */
export const end = Effect.fnUntraced(function* (folder: string, asked: Asked, ending: Ending) {
  const paths = yield* Path.Path
  const outcome = yield* outcomeOf(asked, ending)
  yield* write(paths.join(folder, "outcome.json"), Op.encodeOutcome(outcome))
  return outcome
})

/** Note that a try failed behind its plan; the operation stays unfinished. */
export const noteFailure = Effect.fnUntraced(function* (
  folder: string,
  asked: Asked,
  ending: Ending
) {
  const paths = yield* Path.Path
  const outcome = yield* outcomeOf(asked, ending)
  yield* write(paths.join(folder, "failure.json"), Op.encodeOutcome(outcome))
})

/** A range as a plan names it; its bytes are read. `kept` is its name in the folder. */
export const cutOf = Effect.fnUntraced(function* (
  range: Range,
  kept: string,
  isRows: boolean
): Effect.fn.Return<Cut, JournalError, FileSystem.FileSystem | Path.Path> {
  const paths = yield* Path.Path
  const { bytes, lines, sha256 } = yield* digest(range.path, range.offset, range.length)
  const file = paths.basename(range.path)
  return { file, offset: range.offset, bytes, sha256, rows: isRows ? lines : null, kept }
})

/** Plan the cut of a torn tail and carry it out. Returns the folder that holds what was cut. */
export const cutTail = Effect.fn("Operations.cutTail")(function* (
  layout: Layout,
  range: Range,
  reason: string,
  hashes: Hashes.Hashes
) {
  const paths = yield* Path.Path
  const { folder, id } = yield* begin(layout)
  const own = paths.basename(range.path)
  const cut = yield* cutOf(range, `${Op.isName(own) ? own : "journal"}.cut`, false)
  const at = Timestamp.fromMillis(yield* Clock.currentTimeMillis)
  const plan = Op.makePlan({ ...nothing, id, kind: "recovery", at, reason, cut: [cut] }, hashes)
  yield* place(folder, plan)
  yield* carryOutFiles(layout, folder, plan)
  yield* end(folder, plan, { outcome: "ok", verified: ["kept"] })
  return folder
})

/** A plan that does nothing and says nothing but what is added to it. */
export const nothing = {
  operator: null,
  correlationId: null,
  from: null,
  root: null,
  to: null,
  checkpoint: null,
  cut: [],
  move: [],
  mirrorUntil: null
} as const

/** An operation as it is told. */
const told = (paths: Path.Path, found: OperationFolders.Found): Op.Operation => {
  const { failure, folder, id, isEnded, outcome, plan, trouble } = found
  const asked = plan ?? outcome
  const isFinished = isEnded && (outcome !== undefined || plan !== undefined)
  const isUnfinished = !isEnded && (plan !== undefined || trouble !== undefined)
  return new Op.Operation({
    id,
    kind: asked?.kind ?? null,
    at: asked?.at ?? null,
    operator: asked?.operator ?? null,
    reason: asked?.reason ?? null,
    correlationId: asked?.correlationId ?? null,
    state: isFinished ? "finished" : isUnfinished ? "unfinished" : "abandoned",
    outcome: outcome?.outcome ?? failure?.outcome ?? null,
    errorClass: outcome?.errorClass ?? (isFinished ? null : (failure?.errorClass ?? null)),
    from: plan?.from ?? null,
    head: outcome?.head ?? null,
    cut: plan === undefined || !isEnded ? [] : [...keptPlaces(paths, folder, plan)],
    counts: outcome?.counts ?? {}
  })
}

/** An operation that has just ended. Nothing is read again: it has happened, whatever fails now. */
export const toldOf = (
  paths: Path.Path,
  folder: string,
  plan: Plan,
  outcome: Outcome
): Op.Operation => {
  const ended = { plan, outcome, failure: undefined, isEnded: true, trouble: undefined }
  return told(paths, { id: plan.id, folder, ...ended })
}

/** Every operation that was ever begun, the oldest first. */
export const all = Effect.fn("Ledger.operations")(function* (
  layout: Layout,
  hashes: Hashes.Hashes
) {
  const paths = yield* Path.Path
  const ours = (yield* OperationFolders.list(layout, hashes)).filter(
    (found) => !OperationFolders.isForeign(found)
  )
  return yield* Effect.forEach(
    ours,
    Effect.fnUntraced(function* (found) {
      const operation = told(paths, found)
      if (!found.isEnded || OperationFolders.isCarriedOut(found)) return operation
      // What a repair closed as it stood has kept any part of what it planned.
      const cut = yield* Effect.filter(operation.cut, ({ path }) =>
        Effect.map(durable.kindAt(path), (kind) => kind !== undefined)
      )
      return new Op.Operation({ ...operation, cut })
    })
  )
})
