/**
 * Internal: `node:fs` called in place, for what would cost more to hand to a thread and back.
 *
 * What it throws is told as `@effect/platform-node` tells what its asynchronous calls answer.
 */
import type { FileSystem } from "effect"
import { ByteSize, Effect, Option, Predicate } from "effect"
import * as PlatformError from "effect/PlatformError"
import type * as fs from "node:fs"

/** More bytes are handed to a thread. */
export const inPlaceBytesMax = 64 * 1024

/** Turns what a `node:fs` call throws into the error that its asynchronous twin would give. */
export const systemError = (
  method: string,
  pathOrDescriptor: string | number,
  cause: unknown
): PlatformError.PlatformError =>
  PlatformError.systemError({
    _tag: tagOf(Predicate.hasProperty(cause, "code") ? cause.code : undefined),
    module: "FileSystem",
    method,
    pathOrDescriptor,
    cause
  })

const tagOf = (code: unknown): PlatformError.SystemErrorTag => {
  switch (code) {
    case "ENOENT":
      return "NotFound"
    case "EACCES":
    case "EPERM":
      return "PermissionDenied"
    case "EISDIR":
    case "ENOTDIR":
    case "ELOOP":
      return "BadResource"
    case "EBUSY":
      return "Busy"
    default:
      return "Unknown"
  }
}

/** Do something now; what it throws becomes a `PlatformError`. */
export const attempt = <A>(
  method: string,
  place: string | number,
  run: () => A
): Effect.Effect<A, PlatformError.PlatformError> =>
  Effect.try({ try: run, catch: (cause) => systemError(method, place, cause) })

const typeOf = (stats: fs.BigIntStats): FileSystem.File.Type =>
  stats.isFile()
    ? "File"
    : stats.isDirectory()
      ? "Directory"
      : stats.isSymbolicLink()
        ? "SymbolicLink"
        : "Unknown"

/** What `fstat` says, as Effect has it. */
export const infoOf = (stats: fs.BigIntStats): FileSystem.File.Info => ({
  type: typeOf(stats),
  mtime: Option.some(stats.mtime),
  atime: Option.some(stats.atime),
  birthtime: Option.fromNullishOr(stats.birthtime),
  dev: BigInt.asUintN(64, stats.dev),
  ino: Option.some(BigInt.asUintN(64, stats.ino)),
  mode: Number(stats.mode),
  nlink: Option.some(stats.nlink),
  uid: Option.some(Number(stats.uid)),
  gid: Option.some(Number(stats.gid)),
  rdev: Option.some(BigInt.asUintN(64, stats.rdev)),
  size: ByteSize.bytes(stats.size),
  blksize: Option.fromNullishOr(stats.blksize).pipe(Option.map((size) => ByteSize.bytes(size))),
  blocks: Option.fromNullishOr(stats.blocks)
})
