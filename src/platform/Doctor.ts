/**
 * What the running system really gives a ledger: nothing is believed, everything is tried.
 *
 * The trials use the ledger's own code (files, guard, mirror) in a directory of their own, which is
 * removed with the scope: inside the directory that was named, or above it where that is a ledger.
 * No file of a ledger is opened, as closing a guard that this process holds would let it go.
 *
 * What cannot be tried from here is said to be so: that an fsync reaches the platter is the
 * system's word. Verdicts are relied on by scripts: they may be added, never renamed.
 */
import type { Scope } from "effect"
import { Effect, FileSystem, Path, Schema } from "effect"
import * as durable from "../store/journal/durable.ts"
import { journalError } from "../store/errors.ts"
import type { JournalError } from "../store/errors.ts"
import type { Guard } from "../store/locking/Guard.ts"
import * as fileSystems from "./fileSystems.ts"
import * as Points from "./doctorPoints.ts"
import { Point } from "./doctorPoints.ts"
import * as Trials from "./doctorTrials.ts"

/** Each point of the durability contract, as it was found where it was tried. */
export class DurabilityReport extends Schema.Class<DurabilityReport>("sealog/DurabilityReport")({
  directory: Schema.String,
  /** Where it was tried: the directory, or the one above the ledger that it is. */
  triedIn: Schema.String,
  versions: Schema.Struct({
    runtime: Schema.String,
    effect: Schema.String,
    sqlite: Schema.String
  }),
  points: Schema.Struct({
    runtime: Point,
    platform: Point,
    fileSystem: Point,
    writable: Point,
    freeSpace: Point,
    modes: Point,
    links: Point,
    rename: Point,
    fsync: Point,
    directoryFsync: Point,
    fullFsync: Point,
    wal: Point,
    guard: Point
  }),
  /** Null where this could not be found out. */
  freeBytes: Schema.NullOr(Schema.Int),
  /** The median of a few fsyncs, each of a file of its own; says nothing but how long one waits. */
  fsyncMedianMillis: Schema.NullOr(Schema.Number)
}) {
  /** The points that are not what the contract asks, or could not be tried. */
  get unmet(): ReadonlyArray<keyof DurabilityReport["points"]> {
    return Points.names(this.points).filter((name) => !Points.isMet(this.points[name]))
  }
}

/** A place that cannot be examined. Nothing was written. */
export class NotExaminable extends Schema.TaggedError<NotExaminable>()("NotExaminable", {
  path: Schema.String,
  reason: Schema.String,
  hint: Schema.String
}) {
  override get message(): string {
    return `${this.path} cannot be examined: ${this.reason}. ${this.hint}`
  }
}

type Files = FileSystem.FileSystem | Path.Path

const refuse = (path: string, reason: string, hint: string) =>
  new NotExaminable({ path, reason, hint })

const looking = <A, R>(effect: Effect.Effect<A, JournalError, R>) =>
  Effect.mapError(effect, ({ code, hint, path }) =>
    refuse(path, `it cannot be looked at (${code ?? "no code"})`, `The system says: ${hint}.`)
  )

const checkDirectory = Effect.fnUntraced(function* (directory: string) {
  const kind = yield* looking(durable.kindAt(directory))
  if (kind === "Directory") return
  if (kind === undefined) {
    return yield* refuse(directory, "nothing is there", "Make the directory, or check the path.")
  }
  if (kind === "SymbolicLink") {
    return yield* refuse(directory, "it is a symbolic link", "Give the real path.")
  }
  return yield* refuse(directory, "it is no directory", "Name the directory of a ledger to be.")
})

/** Whether a directory is a ledger, or what an unfinished beginning of one leaves. */
const isLedger = Effect.fnUntraced(function* (directory: string, names: ReadonlyArray<string>) {
  const paths = yield* Path.Path
  const kinds = yield* Effect.forEach(names, (name) =>
    looking(durable.kindAt(paths.join(directory, name)))
  )
  return kinds.some((kind) => kind !== undefined)
})

/** The nearest directory at or above `directory` that neither is a ledger nor lies in one. */
const outsideLedgers = Effect.fnUntraced(function* (directory: string) {
  const paths = yield* Path.Path
  const any = ["ledger.json", "guard", "mirror.sqlite", "segments"]
  let place = (yield* isLedger(directory, any)) ? paths.dirname(directory) : directory
  for (let at = paths.dirname(directory); paths.dirname(at) !== at; at = paths.dirname(at)) {
    // What this user may not look into is taken for no ledger.
    const holds = Effect.orElseSucceed(isLedger(at, ["ledger.json"]), () => false)
    if (yield* holds) place = paths.dirname(at)
  }
  return place
})

const kindOf = (directory: string) =>
  Effect.try({ try: () => fileSystems.kindAt(directory), catch: Points.reasonOf })

const freeBytesOf = (directory: string) =>
  Effect.orElseSucceed(
    Effect.try(() => fileSystems.freeBytesAt(directory)),
    () => null
  )

/** A directory of its own for the trials, removed with the scope; or why there is none. */
const scratchIn = Effect.fnUntraced(function* (directory: string, place: string) {
  const fs = yield* FileSystem.FileSystem
  const info = (path: string) => Effect.mapError(fs.stat(path), journalError("look", path))
  // What holds for one device tells nothing of another.
  if ((yield* info(directory)).dev !== (yield* info(place)).dev) {
    const reason = "the ledger is a file system of its own, and nothing is written there"
    return yield* Effect.fail(new Error(reason))
  }
  const made = fs.makeTempDirectoryScoped({ directory: place, prefix: ".sealog-doctor-" })
  return yield* Effect.mapError(made, journalError("making a directory", place))
}, Effect.mapError(Points.reasonOf))

const writability = (place: string, scratch: string | undefined, why: string): Point =>
  scratch === undefined
    ? Points.missing(why, "a directory that may be written", "Give this user the directory.")
    : Points.ok(`a directory was made in ${place}`, "a directory that may be written")

/**
 * Examine what a ledger in this directory could rely on; writes nothing but a directory of its own
 * that is gone when this returns, also when it is interrupted. An answer with unmet points is an
 * answer: it fails only where nothing can be examined at all.
 */
export const examine: (
  directory: string
) => Effect.Effect<DurabilityReport, NotExaminable, Files | Guard> = Effect.fn("Doctor.examine")(
  function* (
    named: string
  ): Effect.fn.Return<DurabilityReport, NotExaminable, Files | Guard | Scope.Scope> {
    const fs = yield* FileSystem.FileSystem
    const paths = yield* Path.Path
    const directory = paths.resolve(named)
    yield* checkDirectory(directory)
    const real = yield* Effect.orElseSucceed(fs.realPath(directory), () => directory)
    const place = yield* outsideLedgers(real)
    const kind = yield* Effect.result(kindOf(real))
    const freeBytes = yield* freeBytesOf(real)
    const made = yield* Effect.result(scratchIn(real, place))
    const scratch = made._tag === "Success" ? made.success : undefined
    const why = made._tag === "Success" ? "" : made.failure
    const { points, fsyncMedianMillis } = yield* Trials.all(scratch)
    return new DurabilityReport({
      directory,
      triedIn: place === real ? directory : place,
      versions: Points.versions(),
      points: {
        runtime: Points.runtime(Points.versions().runtime),
        platform: Points.platform(process.platform),
        fileSystem: Points.fileSystem(kind),
        writable: writability(place, scratch, why),
        freeSpace: Points.freeSpace(freeBytes),
        fullFsync: Points.fullFsync(process.platform, Points.isDeno, kind),
        ...points
      },
      freeBytes,
      fsyncMedianMillis
    })
  },
  Effect.scoped
)
