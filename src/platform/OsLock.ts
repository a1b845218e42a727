/**
 * The guard over SQLite: a file of zero bytes, held by an open exclusive transaction. SQLite's
 * locks are the one kernel-released lock that Node and Deno both reach without a native addon. The
 * transaction writes nothing and keeps its journal in memory, so a crash leaves no file beside the
 * guard; `timeout` is 0, so nobody waits inside SQLite with the event loop stopped.
 *
 * What may never change: POSIX drops ALL locks a process has on a file as soon as that process
 * closes ANY descriptor of it. So nothing opens the file but SQLite, which knows of the trap, and
 * the one call that makes it, whose descriptor stays open as long as the lock. For the same reason
 * no process that may hold it reads, copies or backs it up; and it is never unlinked.
 */
import * as fs from "node:fs"
import * as Path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { Effect, Layer } from "effect"
import { hasProperty } from "effect/Predicate"
import { Guard, LockError, StoreBusy, unwritable } from "../store/locking/Guard.ts"
import { create, errorCode, look, unfit } from "./privateFile.ts"

const SQLITE_BUSY = 5
const SQLITE_READONLY = 8

// On a file this user may only read, SQLite takes BEGIN EXCLUSIVE for a read transaction and lets
// any number of holders in. The last statement asks for the right to write, and writes nothing.
const statements = [
  "PRAGMA locking_mode=EXCLUSIVE",
  "PRAGMA journal_mode=MEMORY",
  "BEGIN EXCLUSIVE",
  "PRAGMA incremental_vacuum(1)"
]

/** `Guard` over SQLite lock files. Layers in one process exclude each other like processes do. */
export const layer: Layer.Layer<Guard> = Layer.succeed(Guard, {
  hold: Effect.fn("Guard.hold")((path) =>
    Effect.acquireRelease(acquire(Path.resolve(path)), (held) =>
      Effect.sync(() => release(held))
    ).pipe(Effect.asVoid)
  )
})

interface Held {
  readonly db: DatabaseSync
  readonly created: number | undefined
}

const acquire = (path: string): Effect.Effect<Held, StoreBusy | LockError> =>
  Effect.try({
    try: () => take(path),
    catch: (cause) =>
      cause instanceof StoreBusy || cause instanceof LockError ? cause : lockError(path, cause)
  })

// The descriptor goes first: it drops the kernel's lock while SQLite still refuses everyone else
// in this process, so that no lock taken after ours can be the one that is dropped.
const release = ({ created, db }: Held): void => {
  if (created !== undefined) fs.closeSync(created)
  db.close()
}

const take = (path: string): Held => {
  const created = create(path)
  const before = checked(path)
  const db = new DatabaseSync(path, { timeout: 0 })
  try {
    for (const sql of statements) db.prepare(sql).all()
    const after = checked(path)
    if (after.ino !== before.ino || after.dev !== before.dev) {
      throw refused(path, "was replaced by another file while it was being locked", undefined)
    }
    return { db, created }
  } catch (cause) {
    // `created` stays open: who was faster may be another thread of this process, and closing it
    // would drop that thread's lock. It happens once in the life of a guard's file, at most.
    db.close()
    throw isSqlite(cause, SQLITE_BUSY) ? busy(path) : cause
  }
}

// What stands at the path, refused unless it is the empty regular file that a guard is. The path
// is looked at on both sides of SQLite's own open, which follows links and tells no inode.
const checked = (path: string): fs.BigIntStats => {
  const found = look(path)
  if (found === undefined) throw refused(path, "was removed while it was being locked", undefined)
  const reason = unfit(found)
  if (reason !== undefined) throw refused(path, reason, undefined)
  if (found.size !== 0n) throw refused(path, "has content, which a guard never has", undefined)
  return found
}

const isSqlite = (cause: unknown, errcode: number): boolean =>
  hasProperty(cause, "errcode") &&
  typeof cause.errcode === "number" &&
  (cause.errcode & 0xff) === errcode

const busy = (path: string): StoreBusy =>
  new StoreBusy({
    path,
    marker: null,
    ageMillis: null,
    hint: "Wait until its holder is done or has ended, or open the store for reading only."
  })

const refused = (path: string, reason: string, cause: unknown): LockError =>
  new LockError({
    path,
    operation: "taking the guard",
    reason,
    cause,
    hint:
      hints[reason] ?? "Find out who put it there; move it aside while no process uses the store."
  })

const missing = "lies in no directory that exists"

const hints: { readonly [reason: string]: string } = {
  [unwritable]: "Give this user the directory, or open the store for reading only.",
  [missing]: "Make the directory first, or mend the path."
}

const lockError = (path: string, cause: unknown): LockError => {
  const code = errorCode(cause)
  const denied = ["EACCES", "EPERM", "EROFS"].some((one) => one === code)
  if (denied || isSqlite(cause, SQLITE_READONLY)) return refused(path, unwritable, cause)
  if (code === "ENOENT" || code === "ENOTDIR") return refused(path, missing, cause)
  return refused(path, "cannot be locked", cause)
}
