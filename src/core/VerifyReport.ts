/**
 * What a verification says: a verdict, each level by itself, every failure with its place and both
 * sides, and in words what was not proven.
 *
 * `line` is the physical line of its file, from 1; `seq` counts rows; `offset` is bytes from the
 * start of the file. The `kind` strings of failures are printed by `verify --json` and are stable;
 * `hash_break`, `orphan` and `unknown_event_schema_version` are those of the original's audit.
 */
import { Schema } from "effect"

/** What was looked at, from the rows themselves to what lies beside them. */
export const Level = Schema.Literals([
  "rows",
  "seal",
  "lines",
  "signatures",
  "parents",
  "index",
  "parity",
  "checkpoints"
])
export type Level = typeof Level.Type

const side = Schema.Union([Schema.String, Schema.Finite, Schema.Null])

/** Why: what should be there and what is. `which`: the hash of a `hash_break`, or the place. */
export const Reason = Schema.Struct({
  kind: Schema.String,
  which: Schema.optionalKey(Schema.String),
  expected: side,
  actual: side
})
export type Reason = typeof Reason.Type

/** One finding. */
export class Failure extends Schema.Class<Failure>("sealog/Failure")({
  level: Level,
  seq: Schema.Int,
  line: Schema.Int,
  eventId: Schema.String,
  path: Schema.String,
  offset: Schema.Int,
  reason: Reason
}) {
  get message(): string {
    const { kind, which, expected, actual } = this.reason
    const id = this.eventId === "" ? "" : ` (${this.eventId})`
    const name = which === undefined ? kind : `${kind}: ${which}`
    return (
      `row ${this.seq}${id}, ${this.path}:${this.line} at byte ${this.offset}: ${name}, ` +
      `expected ${expected}, found ${actual}`
    )
  }
}

const Check = Schema.Literals(["Passed", "Failed", "Skipped"])

const common = {
  path: Schema.String,
  rows: Schema.Int,
  head: Schema.Struct({
    seq: Schema.Int,
    leafHash: Schema.String,
    id: Schema.NullOr(Schema.String),
    eventHash: Schema.NullOr(Schema.String)
  }),
  checks: Schema.Record(Schema.String, Check),
  remarks: Schema.Array(Failure),
  notProven: Schema.Array(Schema.String)
}

/** Nothing was found. What that does not prove stands in `notProven`. */
export class Intact extends Schema.TaggedClass<Intact>()("Intact", common) {}

/** Something was found: the first failures in order, and how many there are in all. */
export class Damaged extends Schema.TaggedClass<Damaged>()("Damaged", {
  ...common,
  failures: Schema.Array(Failure),
  failureCount: Schema.Int
}) {}

export type VerifyReport = Intact | Damaged

/** What is known besides the rows. */
export interface Proven {
  /** The newest row that a checkpoint states which was kept elsewhere, and agreed. */
  readonly keptSeq?: number | undefined
  /** Whether the row before the first was not at hand. */
  readonly isPart?: boolean | undefined
  /** The newest row that a checkpoint states which the rows' own key has signed. */
  readonly signedSeq?: number | undefined
  /** Whether rows carry signatures that nobody looked at. */
  readonly isUnchecked?: boolean | undefined
  /** The first signed row, where what its signature rests on was not at hand. */
  readonly believedSeq?: number | undefined
  /** Whose signatures the rows were held to. */
  readonly signer?:
    | { readonly key: string; readonly isGiven: boolean; readonly firstSeq: number }
    | undefined
}

type Checks = ReadonlyMap<Level, "Passed" | "Failed" | "Skipped">

const uncovered = "schema version, times, type, trace, tags, parent and keys"

/** What of the rows' origin is open. */
const unsaid = (checks: Checks, proven: Proven): ReadonlyArray<string> => {
  const { believedSeq, isPart = false, isUnchecked = false, keptSeq, signedSeq, signer } = proven
  if (isUnchecked) {
    return ["who wrote the rows: their signatures were not checked; name the key that signed them"]
  }
  if (signer === undefined || checks.get("signatures") !== "Passed") {
    return keptSeq === undefined
      ? ["who wrote the rows: whoever owns the disk can write an unsigned history anew"]
      : ["who wrote the rows: what was kept says what they are, not whose"]
  }
  const said: Array<string> = []
  const { firstSeq, isGiven, key } = signer
  if (!isGiven) {
    said.push(`that ${key} is the key of whom you trust: the ledger states it; name it yourself`)
  }
  if (believedSeq !== undefined) {
    const why = "its signature rests on that of the row before, which is not here"
    said.push(`that row ${believedSeq} is signed by that key: ${why}`)
  }
  if (firstSeq > 1 && !isPart)
    said.push(`who wrote the rows before row ${firstSeq}: they are not signed`)
  const whole = Math.max(keptSeq ?? 0, signedSeq ?? 0)
  said.push(
    `${uncovered} of rows ${whole === 0 ? "" : `behind row ${whole} `}that were written anew: row ` +
      "signatures cover id, source, session and payload; a signed checkpoint covers all before it"
  )
  return said
}

/** What someone without keys could still have changed unnoticed, given what was checked. */
export const notProven = (
  checks: Checks,
  format: "segments" | "cortex" = "segments",
  proven: Proven = {}
): ReadonlyArray<string> => {
  const { isPart = false, keptSeq } = proven
  const passed = (level: Level) => checks.get(level) === "Passed"
  const said = [
    keptSeq === undefined
      ? "that no rows were cut off the end: keep the head, or a checkpoint, somewhere else"
      : `that no rows behind row ${keptSeq} were cut off the end, or written anew: the checkpoint ` +
        "that was kept says nothing about them",
    ...unsaid(checks, proven)
  ]
  if (isPart) said.push("what came before the first row: it is not here")
  const isSigned = passed("signatures")
  const unlinked = isSigned ? uncovered : `id, source, session, ${uncovered}`
  if (!passed("lines")) said.push(`${unlinked} of rows without a line hash`)
  else if (format === "cortex" && !passed("index")) {
    said.push(`${unlinked} of the newest row, unless it has a checksum`)
  }
  if (!passed("parity")) {
    said.push("that no id is used twice, and that the mirror holds the same rows")
  }
  return said
}
