/**
 * A file system that fails where a test says so, and a ledger over it.
 *
 * A fault strikes the n-th call of one operation on files whose path holds a text, counted from the
 * moment it is set. What is not struck reaches the real files.
 */
import { Effect, FileSystem, Layer } from "effect"
import * as PlatformError from "effect/PlatformError"
import type { Hashes } from "../../src/core/Hashes.ts"
import type { OpenError } from "../../src/store/Ledger.ts"
import { CurrentHashes, Ledger } from "../../src/store/Ledger.ts"
import type { LedgerOptions } from "./ledgerFixtures.ts"
import type { Reader } from "../../src/store/reading/Reader.ts"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"

export interface Fault {
  readonly operation: "open" | "write" | "sync" | "truncate" | "stat" | "read"
  /** A text that the file's path holds; any file where left out. */
  readonly path?: string | undefined
  /** The first call that is struck, from 1; all later ones are, too, up to `times`. */
  readonly nth?: number | undefined
  readonly times?: number | undefined
  readonly code?: string | undefined
  /** A write puts this many bytes down before it fails. */
  readonly bytes?: number | undefined
  /** The call waits for this and then goes on as ever, instead of failing. */
  readonly until?: Effect.Effect<unknown> | undefined
}

interface Armed extends Fault {
  calls: number
}

const errorOf = (fault: Fault, path: string) => {
  const code = fault.code ?? "EIO"
  return PlatformError.systemError({
    _tag: "Unknown",
    module: "FileSystem",
    method: fault.operation,
    pathOrDescriptor: path,
    cause: Object.assign(new Error(`${code}: on demand`), { code })
  })
}

/** The real files, and a way to make them fail. */
export const make = Effect.gen(function* () {
  const real = yield* FileSystem.FileSystem
  const armed: Array<Armed> = []
  let struck = 0

  const strike = (operation: Fault["operation"], path: string): Fault | undefined => {
    for (const fault of armed) {
      if (fault.operation !== operation || !path.includes(fault.path ?? "")) continue
      const first = fault.nth ?? 1
      const call = ++fault.calls
      if (call < first || call >= first + (fault.times ?? Number.POSITIVE_INFINITY)) continue
      struck++
      return fault
    }
    return undefined
  }

  const over = <A, R>(
    operation: Fault["operation"],
    path: string,
    effect: Effect.Effect<A, PlatformError.PlatformError, R>
  ) =>
    Effect.suspend(() => {
      const fault = strike(operation, path)
      if (fault === undefined) return effect
      if (fault.until !== undefined) return Effect.andThen(fault.until, effect)
      return Effect.fail(errorOf(fault, path))
    })

  const writing =
    <A>(
      path: string,
      file: FileSystem.File,
      write: (bytes: Uint8Array) => Effect.Effect<A, PlatformError.PlatformError>
    ) =>
    (bytes: Uint8Array) =>
      Effect.suspend(() => {
        const fault = strike("write", path)
        if (fault === undefined) return write(bytes)
        if (fault.until !== undefined) return Effect.andThen(fault.until, write(bytes))
        return Effect.andThen(
          file.writeAll(bytes.subarray(0, fault.bytes ?? 0)),
          Effect.fail(errorOf(fault, path))
        )
      })

  const wrap = (path: string, file: FileSystem.File): FileSystem.File => ({
    [FileSystem.FileTypeId]: FileSystem.FileTypeId,
    stat: over("stat", path, file.stat),
    seek: (offset, from) => file.seek(offset, from),
    sync: over("sync", path, file.sync),
    read: (buffer, options) => over("read", path, file.read(buffer, options)),
    readAlloc: (size, options) => over("read", path, file.readAlloc(size, options)),
    truncate: (length) => over("truncate", path, file.truncate(length)),
    write: writing(path, file, (bytes) => file.write(bytes)),
    writeAll: writing(path, file, (bytes) => file.writeAll(bytes))
  })

  const fileSystem: FileSystem.FileSystem = {
    ...real,
    open: (path, options) =>
      over(
        "open",
        path,
        Effect.map(real.open(path, options), (file) => wrap(path, file))
      )
  }

  return {
    fileSystem,
    /** Set a fault, beside those that are set. */
    fail: (fault: Fault): void => void armed.push({ ...fault, calls: 0 }),
    /** Forget all faults. */
    mend: (): void => void armed.splice(0),
    /** How many calls were struck so far. */
    struck: (): number => struck
  }
}).pipe(Effect.provide(SealogNode.layerPlatform))

export type Disk = Effect.Success<typeof make>

type Options = LedgerOptions & {
  readonly disk?: Disk | undefined
  readonly hashes?: Hashes | undefined
}

/** A ledger as `TestLedger.layer`, over a disk that fails or hashes that are the test's. */
export const layer = (options: Options): Layer.Layer<Ledger | Reader, OpenError> => {
  const { disk, hashes, seed } = options
  const files =
    disk === undefined ? Layer.empty : Layer.succeed(FileSystem.FileSystem, disk.fileSystem)
  const own = hashes === undefined ? Layer.empty : Layer.succeed(CurrentHashes, hashes)
  const system = Layer.mergeAll(TestLedger.layerPlatform(seed), files, own)
  return Layer.provide(SealogNode.layerOver(options), Layer.fresh(system))
}

/** Run a body on such a ledger, closed when it returns. */
export const using = <A, E, R>(
  options: Options,
  body: (ledger: Ledger["Service"]) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | OpenError, Exclude<R, Ledger | Reader>> =>
  Effect.flatMap(Ledger, body).pipe(Effect.provide(layer(options)))
