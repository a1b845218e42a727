/**
 * The errors that several services share, each with the facts needed to act.
 *
 * `hint` always says what to do now. `code` is the operating system's (`ENOSPC`, `EIO`, …) where
 * there is one. What was durable when an error was raised stands in its name: a `JournalError` of
 * an append says that nothing of it is.
 */
import { Predicate, Schema } from "effect"
import { clip } from "../core/jsonError.ts"
import type { LockError } from "./locking/Guard.ts"
import { unwritable } from "./locking/Guard.ts"
import type { PlatformError } from "effect/PlatformError"
import type { SqlError } from "effect/sql/SqlError"

/** A file operation of the journal failed. Nothing of the append that met it is durable. */
export class JournalError extends Schema.TaggedError<JournalError>()("JournalError", {
  operation: Schema.String,
  path: Schema.String,
  code: Schema.NullOr(Schema.String),
  cause: Schema.Defect(),
  hint: Schema.String
}) {
  override get message(): string {
    const code = this.code === null ? "" : ` (${this.code})`
    return `${this.operation} failed at ${this.path}${code}: ${this.hint}`
  }
}

/** A statement of the mirror failed. Nothing of the append that met it is durable. */
export class MirrorError extends Schema.TaggedError<MirrorError>()("MirrorError", {
  operation: Schema.String,
  cause: Schema.Defect(),
  hint: Schema.String
}) {
  override get message(): string {
    return `the SQL mirror failed to ${this.operation}: ${messageOf(this.cause)}. ${this.hint}`
  }
}

const messageOf = (cause: unknown): string => {
  if (Predicate.hasProperty(cause, "message") && typeof cause.message === "string")
    return cause.message
  return typeof cause === "string" ? cause : "for no reason that it tells"
}

/** Why somebody's own code failed, in one line: what its error says, else what it is called. */
export const lineOf = (cause: unknown): string => {
  const [line = ""] = messageOf(cause).split("\n")
  const isNamed = line === "" && Predicate.hasProperty(cause, "_tag")
  return clip(isNamed ? String(cause._tag) : line, 300)
}

/** A row that does not match what is known of it. `offset` is bytes from the start of the file. */
export class RowDamaged extends Schema.TaggedError<RowDamaged>()("RowDamaged", {
  seq: Schema.Int,
  path: Schema.String,
  offset: Schema.Int,
  leg: Schema.Literals(["journal", "index"]),
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    const remedy =
      this.leg === "journal"
        ? "Verify the ledger, then restore a backup."
        : "Delete the mirror and open the ledger again: it is rebuilt from the journal."
    return (
      `row ${this.seq} at ${this.path} byte ${this.offset} does not match its ${this.leg}: expected ` +
      `${this.expected}, found ${this.actual}. ${remedy}`
    )
  }
}

const cannotWrite: ReadonlySet<unknown> = new Set([
  "EROFS",
  "EACCES",
  "EPERM",
  "ENOSPC",
  "EDQUOT",
  "NotCapable"
])

/** SQLite's codes for a full disk, a file that is read-only, and no room for its shared memory. */
const sqliteCannotWrite = (errcode: unknown): boolean =>
  typeof errcode === "number" && ([8, 13].includes(errcode & 0xff) || errcode === 4874)

/**
 * Why nothing can be written at this place, for this user or now, where an error says no more than
 * that: the disk is full or read-only, or the modes forbid it.
 */
export const unwritableBecause = (
  error: JournalError | MirrorError | LockError
): string | undefined => {
  if (error._tag === "JournalError") return cannotWrite.has(error.code) ? error.message : undefined
  if (error._tag === "LockError") return error.reason === unwritable ? error.message : undefined
  const cause = Predicate.hasProperty(error.cause, "cause") ? error.cause.cause : undefined
  const says =
    (Predicate.hasProperty(cause, "code") && cannotWrite.has(cause.code)) ||
    (Predicate.hasProperty(cause, "errcode") && sqliteCannotWrite(cause.errcode))
  return says ? error.message : undefined
}

/** SQLite's codes for what a statement itself does wrong: its text, its values, a constraint. */
const ofStatement: ReadonlySet<number> = new Set([1, 18, 19, 20, 25])

/** Whether the statement is not to blame, but the disk, a lock, or what became of the transaction. */
export const isOfDisk = ({ reason }: SqlError): boolean => {
  if (["ConstraintError", "UniqueViolation", "SqlSyntaxError"].includes(reason._tag)) return false
  const { cause } = reason
  const code = Predicate.hasProperty(cause, "errcode") ? cause.errcode : undefined
  if (typeof code === "number") return !ofStatement.has(code & 0xff)
  // A value that cannot be bound, or a number too large to be read, has the code of no statement.
  return !(cause instanceof TypeError || cause instanceof RangeError)
}

const hints: { readonly [code: string]: string } = {
  ENOSPC: "the disk is full; free some space and try again",
  EEXIST: "something is there already; find out what, and move it away",
  EDQUOT: "the quota is used up; free some space and try again",
  EROFS: "the file system is read-only; open the ledger for reading only, or remount it",
  EACCES: "permission is denied; run as the ledger's owner or mend the modes",
  EPERM: "permission is denied; run as the ledger's owner or mend the modes",
  NotCapable: "Deno was not given the permission; allow reading and writing this path",
  ENOENT: "it is not there; check the path",
  ENOTDIR: "a file stands where a directory should be; check the path",
  EISDIR: "a directory stands where a file should be; check the path",
  ELOOP: "it is a symbolic link, which a ledger never follows; give the real path",
  EMLINK: "it is a symbolic link, which a ledger never follows; give the real path",
  EMFILE: "too many files are open; close some and try again",
  ENFILE: "too many files are open; close some and try again",
  EIO: "the device failed; look at the disk before you go on"
}

/** The operating system's code of a platform error, or the name of Deno's permission error. */
export const codeOf = (error: PlatformError): string | null => {
  const cause = error.reason.cause
  if (Predicate.hasProperty(cause, "code") && typeof cause.code === "string") return cause.code
  if (Predicate.isError(cause) && cause.name === "NotCapable") return cause.name
  switch (error.reason._tag) {
    case "NotFound":
      return "ENOENT"
    case "PermissionDenied":
      return "EACCES"
    case "AlreadyExists":
      return "EEXIST"
    default:
      return null
  }
}

/** A platform error as a `JournalError` of this operation. */
export const journalError =
  (operation: string, path: string) =>
  (error: PlatformError): JournalError => {
    const code = codeOf(error)
    const hint = (code === null ? undefined : hints[code]) ?? "see the cause, then try again"
    return new JournalError({ operation, path, code, cause: error, hint })
  }

/** A SQL error as a `MirrorError` of this operation. */
export const mirrorError =
  (operation: string) =>
  (error: SqlError): MirrorError =>
    new MirrorError({
      operation,
      cause: error.reason,
      hint: hintOf(error)
    })

const damagedHint = "Close the ledger, move mirror.sqlite away and open again: it is rebuilt."

const sqliteHints: { readonly [code: number]: string } = {
  5: "It was busy; try again.",
  6: "It was busy; try again.",
  8: "It is read-only: open the ledger for reading only, or mend the modes.",
  10: "The device failed: look at the disk before you go on.",
  11: damagedHint,
  13: "The disk is full: free some space and try again.",
  14: "It cannot be opened: look whether it is there and may be read.",
  26: damagedHint
}

/** What to do now, by SQLite's primary result code where there is one. */
const hintOf = ({ isRetryable, reason: { cause } }: SqlError): string => {
  const code = Predicate.hasProperty(cause, "errcode") ? cause.errcode : undefined
  const known = typeof code === "number" ? sqliteHints[code & 0xff] : undefined
  return known ?? (isRetryable ? "Look at the cause, then try again." : "Look at the cause.")
}
