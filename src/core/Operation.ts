/**
 * What was ever done to a ledger besides appending to it: plans, outcomes, and how they are told.
 *
 *   operations/<id>/plan.json      what will be done, placed by rename; from then on it is only finished
 *   operations/<id>/outcome.json   what came of it; a folder with a plan and no outcome is unfinished
 *   operations/<id>/failure.json   the last try that failed behind its plan, for a reader
 *
 * A plan ends with `hash`, SHA-256 of its canonical JSON without it: one flipped bit could cut what
 * nobody has kept. `cut` are ranges that are copied into the folder and then truncated, `move` whole
 * files that are renamed into it; names never hold a directory. Of the mirror, rows beyond
 * `mirror_until` are deleted; null leaves it alone. All member names are on disk.
 */
import { Result, Schema } from "effect"
import * as Json from "./CanonicalJson.ts"
import * as Checkpoint from "./Checkpoint.ts"
import type { Position } from "./Event.ts"
import * as Hashes from "./Hashes.ts"
import { clip } from "./jsonError.ts"
import * as Segment from "./Segment.ts"

export const Kind = Schema.Literals(["recovery", "rollback", "repair", "rebuild", "import"])
export type Kind = typeof Kind.Type

/** A range of a journal's file: kept as `kept` in the operation's folder, then truncated. */
export const Cut = Schema.Struct({
  file: Schema.String,
  offset: Schema.Natural,
  bytes: Schema.Natural,
  sha256: Schema.String,
  /** Null where the range is no whole rows. */
  rows: Schema.NullOr(Schema.Natural),
  kept: Schema.String
})
export type Cut = typeof Cut.Type

/** A file that is moved into the folder; `sha256` is null for what is no file of ours. */
export const Move = Schema.Struct({
  kind: Schema.Literals(["segment", "checkpoint", "foreign", "mirror"]),
  name: Schema.String,
  bytes: Schema.Natural,
  sha256: Schema.NullOr(Schema.String),
  rows: Schema.NullOr(Schema.Natural)
})
export type Move = typeof Move.Type

const plan = {
  id: Schema.String,
  kind: Kind,
  at: Schema.String,
  operator: Schema.NullOr(Schema.String),
  reason: Schema.String,
  correlationId: Schema.NullOr(Schema.String),
  /** The newest row before it, and the root of that history; null where it was not known. */
  from: Schema.NullOr(Checkpoint.Position),
  root: Schema.NullOr(Schema.String),
  /** The newest row after it. */
  to: Schema.NullOr(Checkpoint.Position),
  checkpoint: Schema.NullOr(Schema.Natural),
  cut: Schema.Array(Cut),
  move: Schema.Array(Move),
  mirrorUntil: Schema.NullOr(Schema.Natural)
}

/** `plan.json`. */
export const Plan = Schema.Struct({ ...plan, hash: Schema.String }).pipe(
  Schema.encodeKeys({ correlationId: "correlation_id", mirrorUntil: "mirror_until" })
)
export type Plan = typeof Plan.Type

/** Who asked for an operation, and why. */
export interface Request {
  /** Who asks for it. */
  readonly operator: string
  readonly reason: string
  /** What ties it to something elsewhere, a ticket or a trace. */
  readonly correlationId?: string | undefined
}

const Ended = Schema.Literals(["ok", "recoverable_error", "fatal_error"])

/** `outcome.json`. What a plan says is repeated here, for operations that came to none. */
export const Outcome = Schema.Struct({
  kind: Kind,
  at: Schema.String,
  operator: Schema.NullOr(Schema.String),
  reason: Schema.String,
  correlationId: Schema.NullOr(Schema.String),
  outcome: Ended,
  errorClass: Schema.NullOr(Schema.String),
  message: Schema.NullOr(Schema.String),
  /** The newest row when it ended. */
  head: Schema.NullOr(Checkpoint.Position),
  /** What was really looked at before or after. */
  verified: Schema.Array(Schema.String),
  /** Whether it was finished by a later open. */
  resumed: Schema.Boolean,
  counts: Schema.Record(Schema.String, Schema.Natural)
}).pipe(Schema.encodeKeys({ correlationId: "correlation_id", errorClass: "error_class" }))
export type Outcome = typeof Outcome.Type

/** One operation, as a ledger tells it. `cut` says where what it cut can be read. */
export class Operation extends Schema.Class<Operation>("sealog/Operation")({
  id: Schema.String,
  /** Null where neither plan nor outcome can be read. */
  kind: Schema.NullOr(Kind),
  at: Schema.NullOr(Schema.String),
  operator: Schema.NullOr(Schema.String),
  reason: Schema.NullOr(Schema.String),
  correlationId: Schema.NullOr(Schema.String),
  /** `abandoned` has no plan and did nothing; `unfinished` is finished by the next open. */
  state: Schema.Literals(["finished", "unfinished", "abandoned"]),
  outcome: Schema.NullOr(Ended),
  errorClass: Schema.NullOr(Schema.String),
  from: Schema.NullOr(Checkpoint.Position),
  head: Schema.NullOr(Checkpoint.Position),
  cut: Schema.Array(
    Schema.Struct({
      path: Schema.String,
      rows: Schema.NullOr(Schema.Natural),
      bytes: Schema.Natural
    })
  ),
  counts: Schema.Record(Schema.String, Schema.Natural)
}) {}

const planToDisk = Schema.encodeSync(Plan)
const outcomeToDisk = Schema.encodeSync(Outcome)

const utf8 = new TextEncoder()

const hashOf = (plan: Plan, hashes: Hashes.Hashes): string => {
  const { hash: _hash, ...rest } = planToDisk(plan)
  return hashes.sha256Hex(utf8.encode(Result.getOrThrow(Json.fromValue(rest))))
}

const textOf = (value: unknown): string => `${Result.getOrThrow(Json.fromValue(value))}\n`

/** A plan with its hash. */
export const makePlan = (
  fields: Omit<Plan, "hash">,
  hashes: Hashes.Hashes = Hashes.noble
): Plan => {
  const unhashed = { ...fields, hash: "" }
  return { ...unhashed, hash: hashOf(unhashed, hashes) }
}

export const encodePlan = (plan: Plan): string => textOf(planToDisk(plan))

export const encodeOutcome = (outcome: Outcome): string => textOf(outcomeToDisk(outcome))

const planFromDisk = Schema.decodeUnknownResult(Schema.fromJsonString(Plan), {
  onExcessProperty: "error"
})
const outcomeFromDisk = Schema.decodeUnknownResult(Schema.fromJsonString(Outcome))

/** The plan that a text holds; undefined for any other, one with a wrong hash among them. */
export const decodePlan = (
  text: string,
  hashes: Hashes.Hashes = Hashes.noble
): Plan | undefined => {
  const decoded = planFromDisk(text)
  if (Result.isFailure(decoded)) return undefined
  const plan = decoded.success
  if (!plan.cut.every(isCutName) || !plan.move.every(isMoveName)) return undefined
  return encodePlan(plan) === text && hashOf(plan, hashes) === plan.hash ? plan : undefined
}

/** The longest `plan.json`: it names every file that it moves, more than one ledger in use has. */
export const planBytesMax = 16 * 1024 * 1024

/** The longest `outcome.json`: four texts of `saidMax`, however they are spelled. */
export const outcomeBytesMax = 256 * 1024

/** The text of a plan, or why it could not be read back. */
export const planText = (
  plan: Plan,
  hashes: Hashes.Hashes = Hashes.noble
): Result.Result<string, { readonly expected: string; readonly actual: string }> => {
  const names = [...plan.cut.map(({ kept }) => kept), ...plan.move.map(({ name }) => name)]
  const odd = names.find((name) => !isName(name))
  if (odd !== undefined) {
    const actual = `a name that it cannot keep, ${JSON.stringify(clip(odd))}`
    return Result.fail({ expected: "names of one directory", actual })
  }
  const text = encodePlan(plan)
  const { byteLength } = utf8.encode(text)
  if (byteLength > planBytesMax) {
    return Result.fail({
      expected: `a plan of at most ${planBytesMax} bytes`,
      actual: `one of ${byteLength}, which names ${names.length} files`
    })
  }
  return decodePlan(text, hashes) === undefined
    ? Result.fail({ expected: "a plan that can be read back", actual: "one that cannot" })
    : Result.succeed(text)
}

/** The outcome that a text holds; undefined for any other. */
export const decodeOutcome = (text: string): Outcome | undefined =>
  Result.getOrUndefined(outcomeFromDisk(text))

/** Whether a text names an entry of one directory, and nothing elsewhere. */
export const isName = (text: string): boolean =>
  text !== "" && text !== "." && text !== ".." && text.isWellFormed() && !/[/\\\0]/.test(text)

/** Nothing that is kept takes the place of a plan or an outcome. */
const isCutName = ({ kept, rows }: Cut): boolean =>
  rows === null ? isName(kept) && kept.endsWith(".cut") : Segment.firstSeq(kept) !== undefined

const isMoveName = ({ kind, name }: Move): boolean => {
  switch (kind) {
    case "segment":
      return Segment.firstSeq(name) !== undefined
    case "checkpoint":
      return Checkpoint.numberOf(name) !== undefined
    case "foreign":
      return isName(name)
    case "mirror":
      return isName(name) && name.startsWith("mirror.sqlite")
  }
}

/** How long what an operator says may be, in UTF-16 units. */
export const saidMax = 4_096

/** Why a text cannot be kept as what an operator said; undefined where it can. */
export const unfit = (text: string): string | undefined =>
  typeof text !== "string"
    ? "no text"
    : text.trim() === ""
      ? "nothing"
      : text.length > saidMax
        ? `${text.length} characters`
        : !text.isWellFormed()
          ? "a lone surrogate"
          : text.includes("\0")
            ? "a NUL"
            : undefined

const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
const idPattern = /^op_[0-7][0-9A-HJKMNP-TV-Z]{25}$/

/** Whether a name in `operations/` is an operation's id; what else lies there is somebody else's. */
export const isId = (name: string): boolean => idPattern.test(name)

/** The least id behind another, by adding one; undefined where there is none. */
const successor = (id: string): string | undefined => {
  const end = id.replace(/Z+$/, "")
  const next = digits[digits.indexOf(end.at(-1) ?? "") + 1]
  const after = `${end.slice(0, -1)}${next}`.padEnd(id.length, "0")
  return next !== undefined && isId(after) ? after : undefined
}

/**
 * The id of the operation that follows `last`: `fresh`, unless the clock went back. Ids are then in
 * the order of time whatever it says.
 */
export const idAfter = (fresh: string, last: string | undefined): string =>
  last === undefined || fresh > last ? fresh : (successor(last) ?? fresh)

/** Whether an operation that ended well took a ledger back, so that positions may have been cut. */
export const isRollback = (plan: Plan): plan is Plan & { from: Position; to: Position } =>
  (plan.kind === "rollback" || plan.kind === "repair") && plan.from !== null && plan.to !== null
