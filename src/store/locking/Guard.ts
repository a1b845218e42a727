/**
 * The guard: the lock of one path that the kernel lets go when its holder's process dies.
 *
 * Whoever changes a store holds its guard, appending and destructive operations alike. A guard is
 * a file of its own. Its content means nothing; who holds it, and why, is said elsewhere (the
 * marker). It is never unlinked and never renamed: two processes could then hold the guards of two
 * files of the same name.
 *
 * What may never change: no wait (a refusal comes at once, retrying is the caller's), no lease (a
 * holder that is slow still holds), and mutual exclusion between processes of every supported
 * runtime, between threads, and between two holders in one process.
 */
import { Context, Schema } from "effect"
import type { Effect, Scope } from "effect"
import { clip, printable } from "../../core/jsonError.ts"

/** What a marker says, for a message: on one line, and not long. */
export const markerSaid = ({
  ageMillis,
  marker
}: {
  readonly ageMillis: number | null
  readonly marker: string | null
}): string => {
  if (marker === null) return ""
  const age = ageMillis === null ? "" : `, ${Math.round(ageMillis / 1000)} s old,`
  const said = printable(clip(marker.trim(), 600).replace(/\s+/g, " "))
  return ` Its marker${age} says: ${said}.`
}

/**
 * Somebody else holds the store: it is in use right now, nothing here is left over from a crash.
 *
 * `path` is the guard's, or the marker's where a marker was read. `marker` is the marker's text,
 * null where there is none or none was looked for; `ageMillis` is its age in milliseconds.
 */
export class StoreBusy extends Schema.TaggedError<StoreBusy>()("StoreBusy", {
  path: Schema.String,
  marker: Schema.NullOr(Schema.String),
  ageMillis: Schema.NullOr(Schema.Number),
  hint: Schema.String
}) {
  override get message(): string {
    return `the store guarded by ${this.path} is in use.${markerSaid(this)} ${this.hint}`
  }
}

/** The `reason` of a `LockError` where the place could hold a lock, but not for this user or now. */
export const unwritable = "cannot be made or written by this user"

/**
 * The place of a lock is not fit for one: no process holds it, and none can.
 *
 * `operation` is what was tried, `reason` why it cannot be, in words that follow the path
 * ("is a symbolic link"); `cause` is the system's error, undefined where there is none.
 */
export class LockError extends Schema.TaggedError<LockError>()("LockError", {
  path: Schema.String,
  operation: Schema.String,
  reason: Schema.String,
  cause: Schema.Defect(),
  hint: Schema.String
}) {
  override get message(): string {
    const system = this.cause instanceof Error ? ` (${this.cause.message})` : ""
    return `${this.operation} failed: ${this.path} ${this.reason}${system}. ${this.hint}`
  }
}

/** The lock of a path. */
export class Guard extends Context.Service<
  Guard,
  {
    /**
     * Takes the lock of `path`, whose directory must exist, and holds it until the scope closes.
     * The file is made where it is missing, readable by its owner alone; making its name durable
     * is left to the caller. Fails at once with `StoreBusy` where anyone holds it, also in this
     * process. When this returns, nobody else holds it, and the kernel frees it with this process.
     */
    readonly hold: (path: string) => Effect.Effect<void, StoreBusy | LockError, Scope.Scope>
  }
>()("sealog/Guard") {}
