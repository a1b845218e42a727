/**
 * A disk for tests that fails on demand and loses what no fsync made durable.
 *
 * It has two planes. Programs see the live one; a power cut leaves the durable one and, of what was
 * pending, whatever the seed decides: none, all, any part, torn at any byte, out of order, a length
 * without its data; creates, renames and removals each by itself. A kill ends the programs and loses
 * nothing. Either way what runs on is dead: its calls fail, and nothing of them is done.
 *
 *   const disk = yield* FaultyDisk.make({ seed: 7 })
 *   const bank = TestLedger.layer({ disk })
 *   yield* work.pipe(Effect.tap(() => disk.powerCut), Effect.provide(bank))
 *   yield* check.pipe(Effect.provide(bank))
 *
 * The same seed and the same calls make the same losses. Files lie in memory; a ledger's mirror is
 * real SQLite in a temporary directory, in a state that the same kill or power cut could leave.
 */
import { Effect, FileSystem, Layer, Logger, Random } from "effect"
import type { Scope } from "effect"
import { SecureRandom } from "effect/crypto"
import * as SqliteClient from "../platform/SqliteClient.ts"
import * as SealogNode from "../platform/SealogNode.ts"
import { Guard, StoreBusy } from "../store/locking/Guard.ts"
import type { Fault, Operation, Process } from "./faultyMachine.ts"
import { Machine } from "./faultyMachine.ts"
import * as faultyFiles from "./faultyFiles.ts"
import { Mirrors } from "./faultyMirror.ts"
import { seededRandom } from "./seededRandom.ts"

export type { Fault, Operation, OperationName } from "./faultyMachine.ts"

/** A disk in memory, and the machine it belongs to. */
export interface FaultyDisk {
  /**
   * The file system as the program sees it that the layer is provided to: from the next kill or
   * power cut on, all its calls fail with EIO.
   */
  readonly layer: Layer.Layer<FileSystem.FileSystem>
  /** The file system for whoever only looks on: never struck, never dead, not counted. */
  readonly fileSystem: FileSystem.FileSystem
  /** The programs end, here and now; what they wrote is kept. */
  readonly kill: Effect.Effect<void>
  /** The programs end, and of what no fsync made durable the seed decides what is left. */
  readonly powerCut: Effect.Effect<void>
  /** Set a fault beside those that are set. It counts from now on. */
  readonly fail: (fault: Fault) => Effect.Effect<void>
  /** Forget all faults. */
  readonly mend: Effect.Effect<void>
  /** How many operations faults have struck so far. */
  readonly struck: Effect.Effect<number>
  /** What the machine has died of so far. */
  readonly deaths: Effect.Effect<ReadonlyArray<"kill" | "powerCut">>
  /** Every operation of files and of SQL so far, in order. */
  readonly operations: Effect.Effect<ReadonlyArray<Operation>>
  /** What `SealogNode.layerOver` needs to put a ledger here; `TestLedger.layer` uses it. */
  readonly platform: Layer.Layer<FileSystem.FileSystem | Guard | SecureRandom.SecureRandom>
  /** How a mirror is opened here, for `SealogNode.layerOver`. */
  readonly openMirror: SealogNode.OpenMirror
}

/** One holder for each path; a holder that died holds nothing. */
const makeGuard = (machine: Machine): Guard["Service"] => {
  const held = new Map<string, Process>()
  return {
    hold: Effect.fnUntraced(function* (path: string) {
      const own: Process = { generation: machine.generation }
      const take = Effect.suspend(() => {
        const holder = held.get(path)
        if (holder === undefined || machine.isDead(holder)) {
          return Effect.sync(() => void held.set(path, own))
        }
        const hint = "Wait until its holder is done or has ended."
        return Effect.fail(new StoreBusy({ path, marker: null, ageMillis: null, hint }))
      })
      const release = Effect.sync(() => {
        if (held.get(path) === own) held.delete(path)
      })
      yield* Effect.acquireRelease(take, () => release)
    })
  }
}

/** Memory where the system has a place for it: what becomes durable is this disk's to say. */
const makeScratch = (real: FileSystem.FileSystem) => {
  const options = { prefix: "sealog-disk-" }
  return real.makeTempDirectoryScoped({ ...options, directory: "/dev/shm" }).pipe(
    Effect.catch(() => real.makeTempDirectoryScoped(options)),
    Effect.orDie
  )
}

/** A new disk, empty but for `/tmp`; what it keeps outside of memory goes with the scope. */
export const make = Effect.fnUntraced(function* (
  options: { readonly seed?: number | undefined } = {}
): Effect.fn.Return<FaultyDisk, never, Scope.Scope> {
  const { seed = 1 } = options
  const random = yield* Random.withSeed(Random.Random, `faulty disk ${seed}`)
  const machine = new Machine(() => random.nextDoubleUnsafe())
  const { planes } = machine
  planes.makeDirectory(planes.root, "tmp", 0o777)
  planes.sync(planes.root)
  const real = yield* FileSystem.FileSystem.pipe(Effect.provide(SealogNode.layerPlatform))
  const scratch = yield* makeScratch(real)
  const mirrors = new Mirrors(machine, real, scratch)
  const guard = makeGuard(machine)
  const ids = seededRandom(seed)

  const born = Effect.sync((): Process => ({ generation: machine.generation }))
  // Each use of the layer is a program of its own, begun when the layer is built.
  const layer = Layer.fresh(
    Layer.effect(
      FileSystem.FileSystem,
      Effect.map(born, (process) => faultyFiles.make(machine, process))
    )
  )
  // What a dead program logs is not heard either.
  const loggers = Layer.fresh(
    Layer.effect(
      Logger.CurrentLoggers,
      Effect.gen(function* () {
        const process = yield* born
        const heard = yield* Logger.CurrentLoggers
        const loggers = [...heard].map((logger) =>
          Logger.make((options) => (machine.isDead(process) ? undefined : logger.log(options)))
        )
        return new Set(loggers)
      })
    )
  )
  const mirror =
    (open: typeof SqliteClient.layer): SealogNode.OpenMirror["writing"] =>
    (path) =>
      Layer.unwrap(
        Effect.gen(function* () {
          const process = yield* born
          const place = yield* mirrors.locate(path)
          const options = { filename: place.file, autocheckpointPages: 0 }
          return open(options, mirrors.connectionClass(process, place))
        })
      )
  return {
    layer,
    fileSystem: faultyFiles.make(machine, { generation: undefined }),
    kill: machine.die("kill"),
    powerCut: machine.die("powerCut"),
    fail: (fault) => Effect.sync(() => machine.fail(fault)),
    mend: Effect.sync(() => machine.mend()),
    struck: Effect.sync(() => machine.struck),
    deaths: Effect.sync(() => [...machine.deaths]),
    operations: Effect.sync(() => [...machine.operations]),
    platform: Layer.mergeAll(
      layer,
      loggers,
      Layer.succeed(Guard, guard),
      Layer.succeed(SecureRandom.SecureRandom, ids)
    ),
    openMirror: {
      writing: mirror(SqliteClient.layer),
      reading: mirror(SqliteClient.layerReadOnly)
    }
  }
})
