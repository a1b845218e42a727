/**
 * The file system of the running system, each change to a file counted as a step: told before it
 * is made, or met by death.
 *
 * Steps are what a crash can fall between: making, opening for writing, writing, cutting, renaming,
 * fsyncs. The death is a real one: the process sends itself SIGKILL, which the kernel carries out
 * before the call returns.
 */
import { Effect, FileSystem, Layer } from "effect"
import type { PlatformError } from "effect/PlatformError"
import * as path from "node:path"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import type { Death } from "./talk.ts"

type Change<A, R> = Effect.Effect<A, PlatformError, R>

/** Does as much of a change as it is told: so many bytes of those to be written. */
type Part<A, R> = (bytesOf: (bytes: number) => number) => Change<A, R>

/** Told each step; decides what becomes of it. */
export type OnStep = <A, R>(call: string, change: Change<A, R>, part: Part<A, R>) => Change<A, R>

/** Die here and now. */
const die = Effect.andThen(
  Effect.sync(() => process.kill(process.pid, "SIGKILL")),
  Effect.never
)

/** A step at which the process dies. */
export const dying = <A, R>(
  how: Death["how"],
  change: Change<A, R>,
  part: Part<A, R>
): Change<A, R> => {
  switch (how) {
    case "before":
      return die
    case "during":
      return Effect.andThen(Effect.forkDetach(change, { startImmediately: true }), die)
    case "after":
      return Effect.andThen(change, die)
    case "torn":
      return Effect.andThen(
        part((bytes) => Math.floor(bytes / 2)),
        die
      )
    case "unended":
      return Effect.andThen(
        part((bytes) => bytes - 1),
        die
      )
  }
}

const steppedFile = (inner: FileSystem.File, name: string, onStep: OnStep): FileSystem.File =>
  new Proxy(inner, {
    get: (target, key) => {
      if (key === "sync") return onStep(`sync ${name}`, target.sync, () => target.sync)
      if (key === "writeAll") {
        return (bytes: Uint8Array) =>
          onStep(`write ${name} ${bytes.byteLength}`, target.writeAll(bytes), (bytesOf) =>
            target.writeAll(bytes.subarray(0, bytesOf(bytes.byteLength)))
          )
      }
      if (key === "truncate") {
        return (length?: number) => {
          const cut = target.truncate(length)
          return onStep(`truncate ${name} ${length}`, cut, () => cut)
        }
      }
      const value: unknown = Reflect.get(target, key)
      return typeof value === "function" ? value.bind(target) : value
    }
  })

/** The file system, every change of it told to `onStep`, by paths below `root`. */
export const steppedFiles = (root: string, onStep: OnStep): Layer.Layer<FileSystem.FileSystem> =>
  Layer.effect(
    FileSystem.FileSystem,
    Effect.map(FileSystem.FileSystem, (real): FileSystem.FileSystem => {
      const short = (at: string) => path.relative(root, at) || "."
      const whole = <A, R>(call: string, change: Change<A, R>) => onStep(call, change, () => change)
      return {
        ...real,
        makeDirectory: (at, options) =>
          whole(`makeDirectory ${short(at)}`, real.makeDirectory(at, options)),
        chmod: (at, mode) => whole(`chmod ${short(at)}`, real.chmod(at, mode)),
        rename: (from, to) => whole(`rename ${short(from)} ${short(to)}`, real.rename(from, to)),
        open: (at, options) => {
          const flag = options?.flag ?? "r"
          const opened = real.open(at, options)
          // Opened for reading, nothing changes but, for a directory, by its fsync.
          const counted = flag === "r" ? opened : whole(`open ${short(at)} ${flag}`, opened)
          return Effect.map(counted, (file) => steppedFile(file, short(at), onStep))
        }
      }
    })
  ).pipe(Layer.provide(SealogNode.layerPlatform))
