/**
 * Internal: files that belong to their owner alone, made and looked at without following links.
 *
 * A file made here has mode 0600 whatever the umask: `open` may take bits away, so the mode is set
 * again on the descriptor before anyone else can know the name's content.
 */
import * as fs from "node:fs"
import { hasProperty } from "effect/Predicate"

/** The `code` of a system error (`"ENOENT"`), undefined for anything else. */
export const errorCode = (cause: unknown): unknown =>
  hasProperty(cause, "code") ? cause.code : undefined

/** What stands at `path` itself, links not followed; undefined where nothing does. */
export const look = (path: string): fs.BigIntStats | undefined =>
  fs.lstatSync(path, { bigint: true, throwIfNoEntry: false })

/** Why `found` cannot be used as a file, in words that follow its path; undefined where it can. */
export const unfit = (found: fs.BigIntStats): string | undefined => {
  if (found.isSymbolicLink()) return "is a symbolic link"
  if (found.isDirectory()) return "is a directory"
  return found.isFile() ? undefined : "is not a regular file"
}

/**
 * Makes an empty file of mode 0600 and returns its descriptor, which the caller closes; undefined
 * where the name is taken, by whatever it may be. Throws the system's error.
 */
export const create = (path: string): number | undefined => {
  const { O_CREAT, O_EXCL, O_RDWR } = fs.constants
  let fd: number
  try {
    fd = fs.openSync(path, O_CREAT | O_EXCL | O_RDWR, 0o600)
  } catch (cause) {
    if (errorCode(cause) === "EEXIST") return undefined
    throw cause
  }
  try {
    fs.fchmodSync(fd, 0o600)
    return fd
  } catch (cause) {
    fs.closeSync(fd)
    throw cause
  }
}
