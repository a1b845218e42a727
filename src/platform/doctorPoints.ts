/**
 * Internal: the points of the durability contract that the doctor judges without touching a disk.
 *
 * Each point says what was found, what the contract asks, and what to do where that is not the
 * same. What a runtime's fsync does was read in its source: on macOS libuv (Node) asks for
 * F_FULLFSYNC and, where the file system refuses it, for F_BARRIERFSYNC, then for a plain fsync;
 * Rust's `File::sync_all` (Deno) asks for F_FULLFSYNC and fails where that is refused.
 */
import { createRequire } from "node:module"
import { DatabaseSync } from "node:sqlite"
import type { Result } from "effect"
import { Predicate, Schema } from "effect"
import type { FileSystemKind } from "./fileSystems.ts"

/**
 * `warning`: usable, but read the hint. `untried`: could not be found out here. `refused`: a ledger
 * must not lie here.
 */
export const Point = Schema.Struct({
  verdict: Schema.Literals(["ok", "warning", "missing", "refused", "untried"]),
  found: Schema.String,
  asked: Schema.String,
  hint: Schema.NullOr(Schema.String)
})
export type Point = typeof Point.Type

export const ok = (found: string, asked: string): Point => ({
  verdict: "ok",
  found,
  asked,
  hint: null
})

const other =
  (verdict: Exclude<Point["verdict"], "ok">) =>
  (found: string, asked: string, hint: string): Point => ({ verdict, found, asked, hint })

export const warning = other("warning")
export const missing = other("missing")
export const untried = other("untried")
const refused = other("refused")

/** Whether a point is what the contract asks. */
export const isMet = ({ verdict }: Point): boolean => verdict === "ok" || verdict === "warning"

/** The names of points, in their order. */
export const names = <K extends string>(points: {
  readonly [name in K]: Point
}): ReadonlyArray<K> =>
  // `Object.keys` is typed for objects that may have more members than their type says.
  Object.keys(points) as Array<K>

/** Why something failed, in words. */
export const reasonOf = (cause: unknown): string =>
  Predicate.hasProperty(cause, "message") ? String(cause.message) : String(cause)

export const isDeno: boolean = "deno" in process.versions

const effectVersion = (): string => {
  const read: unknown = createRequire(import.meta.url)("effect/package.json")
  return Predicate.hasProperty(read, "version") ? String(read.version) : "unknown"
}

const sqliteVersion = (): string => {
  const db = new DatabaseSync(":memory:")
  try {
    return String(Object.values(db.prepare("SELECT sqlite_version()").get() ?? {})[0])
  } finally {
    db.close()
  }
}

/** The runtime's name and version, and those of what a ledger is made of. */
export const versions = () => ({
  runtime: isDeno ? `Deno ${process.versions["deno"]}` : `Node ${process.versions.node}`,
  effect: effectVersion(),
  sqlite: sqliteVersion()
})

const least: { readonly [runtime: string]: readonly [major: number, minor: number] } = {
  Node: [22, 19],
  Deno: [2, 9]
}

/** `runtime` is a name and a version, as `versions` tells them. */
export const runtime = (runtime: string): Point => {
  const asked = "Node 22.19 or Deno 2.9, or newer"
  const [name = "", version = ""] = runtime.split(" ")
  const [major = 0, minor = 0] = version.split(".").map(Number)
  const [majorMin, minorMin] = least[name] ?? [Number.POSITIVE_INFINITY, 0]
  return major > majorMin || (major === majorMin && minor >= minorMin)
    ? ok(runtime, asked)
    : missing(runtime, asked, "Use a newer one.")
}

export const platform = (platform: string): Point => {
  const asked = "Linux or macOS"
  if (platform === "linux" || platform === "darwin") return ok(platform, asked)
  const hint = "A ledger was never tried here; believe the other points only."
  return warning(platform, asked, hint)
}

export const fileSystem = (kind: Result.Result<FileSystemKind, string>): Point => {
  const asked = "a local file system"
  if (kind._tag === "Failure") {
    return warning(`not told: ${kind.failure}`, asked, "Make sure that no network lies between.")
  }
  const { name, nature } = kind.success
  switch (nature) {
    case "local":
      return ok(name, asked)
    case "network": {
      const hint = "Another machine answers for its locks and its fsync. Take a local disk."
      return refused(`${name}, over a network`, asked, hint)
    }
    case "memory": {
      const hint = "It lies in memory: a power cut or a restart takes all of it. Take a disk."
      return warning(name, asked, hint)
    }
    case "layered": {
      const hint = "What lies below it decides; of a container, give the ledger a volume."
      return warning(name, asked, hint)
    }
    case "unknown":
      return warning(name, asked, "It is not known here. Make sure that no network lies between.")
  }
}

const roomMin = 64 * 1024 * 1024

export const freeSpace = (bytes: number | null): Point => {
  const asked = "room for a segment, 64 MiB"
  if (bytes === null) return warning("not told", asked, "Look at the disk by other means.")
  const found = `${(bytes / 1e9).toFixed(1)} GB`
  return bytes >= roomMin ? ok(found, asked) : warning(found, asked, "Free some space.")
}

const linux = (kind: Result.Result<FileSystemKind, string>): Point => {
  const asked = "an fsync that asks the drive to write its cache"
  if (kind._tag === "Failure" || kind.success.nature !== "local") {
    const hint = "What the file system makes of it is not known. Look at the point file system."
    return warning("the kernel's fsync", asked, hint)
  }
  if (!kind.success.flushes) {
    const hint = "Mount it without nobarrier or barrier=0, or with a drive that has no such cache."
    return missing("the mount keeps it from the drive", asked, hint)
  }
  return ok("the kernel's fsync, which does; whether the drive obeys is not told", asked)
}

/** What an fsync of this runtime asks of the drive; read in its source, as it cannot be seen. */
export const fullFsync = (
  platform: string,
  isDeno: boolean,
  kind: Result.Result<FileSystemKind, string>
): Point => {
  if (platform === "linux") return linux(kind)
  const asked = "F_FULLFSYNC, or what is the same there"
  if (platform !== "darwin") {
    return warning(
      "an fsync that was not looked into",
      asked,
      "Try a power cut before you rely on it."
    )
  }
  const mirror = "SQLite's own fsync is a plain one: what it loses, the journal has"
  return isDeno
    ? ok(`F_FULLFSYNC; ${mirror}`, asked)
    : ok(`F_FULLFSYNC, or less where the file system has none; ${mirror}`, asked)
}
