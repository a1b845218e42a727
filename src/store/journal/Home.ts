/**
 * The place of one ledger: its directories made or checked, its guard held, its identity read.
 *
 * A directory is a ledger when it has `ledger.json`, which is written last. Without it, a directory
 * that holds nothing but what an unfinished beginning leaves is made anew; one with rows, or with
 * anything foreign, is refused. Where nothing can be written, an existing ledger is opened for
 * reading, without the guard.
 */
import { Context, Effect, FileSystem, Layer, Path, Schema } from "effect"
import type { Scope } from "effect"
import * as Segment from "../../core/Segment.ts"
import * as durable from "./durable.ts"
import type { JournalError } from "../errors.ts"
import { journalError, unwritableBecause } from "../errors.ts"
import type { LockError, StoreBusy } from "../locking/Guard.ts"
import { Guard } from "../locking/Guard.ts"
import type { Layout, Location } from "./Layout.ts"
import * as LayoutOf from "./Layout.ts"
import * as LedgerMarker from "../locking/LedgerMarker.ts"
import type { MarkerStale, Process } from "../locking/Marker.ts"
import * as Marker from "../locking/Marker.ts"

/** The format that this version writes and reads. */
export const format = "sealog/1"

/** `ledger.json`: who the ledger is. Written once, last. */
export const Identity = Schema.Struct({
  id: Schema.String,
  format: Schema.Literal(format),
  created: Schema.String
})
export type Identity = typeof Identity.Type

/** A path that is not a ledger and cannot become one. Nothing was written there. */
export class NotALedger extends Schema.TaggedError<NotALedger>()("NotALedger", {
  path: Schema.String,
  reason: Schema.String,
  hint: Schema.String
}) {
  override get message(): string {
    return `${this.path} is not a ledger: ${this.reason}. ${this.hint}`
  }
}

/** A ledger of a format that this version does not know. Nothing was changed. */
export class FormatUnknown extends Schema.TaggedError<FormatUnknown>()("FormatUnknown", {
  path: Schema.String,
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    return (
      `${this.path} has the format ${this.actual}, this version reads ${this.expected}. ` +
      `Use the version that wrote it.`
    )
  }
}

/** How the ledger may be used. */
export type Mode =
  | { readonly _tag: "Write" }
  | { readonly _tag: "ReadOnly"; readonly reason: string }

/** A ledger's place, ready to be opened; its guard is held as long as this service lives. */
export class Home extends Context.Service<
  Home,
  {
    readonly layout: Layout
    readonly mode: Mode
    /** For the holder of the guard: the marker of what is done to the ledger besides appending. */
    readonly marker: LedgerMarker.LedgerMarker
    /** Where a marker is kept that was cut short by a crash; undefined where none was. */
    readonly markerSetAside: string | undefined
    /** Undefined until `settle` has written it. */
    readonly identity: Identity | undefined
    /** Write `ledger.json`, durable; the last step of making a ledger. */
    readonly settle: (identity: Identity) => Effect.Effect<void, JournalError>
  }
>()("sealog/Home") {}

/**
 * What signatures call the ledger: its id, for a new one `ledgerId` or its directory's name; in
 * Cortex mode the file's name without its last extension, as in the original, and nothing else.
 */
export const signedName = (
  paths: Path.Path,
  layout: Layout,
  identity: Identity | undefined,
  ledgerId?: string
): string => {
  const name = paths.parse(layout.name).name
  return layout.format === "cortex" ? name : (identity?.id ?? ledgerId ?? name)
}

/** Every way in which a place is refused. */
export type HomeError =
  | NotALedger
  | FormatUnknown
  | StoreBusy
  | MarkerStale
  | LockError
  | JournalError

const giveRealPath = "Give the real path: links are not followed."

const ownName =
  /^(?:segments|operations|checkpoints|guard|marker(?:\.flock|\.stale-.*)?|(?:ledger|manifest)\.json(?:\.tmp)?|mirror\.sqlite.*)$/

const refuseLink = Effect.fnUntraced(function* (path: string) {
  const kind = yield* durable.kindAt(path)
  if (kind !== "SymbolicLink") return kind
  const reason = "it is a symbolic link"
  return yield* new NotALedger({ path, reason, hint: giveRealPath })
})

/** A read of `ledger.json`; undefined where there is none. */
export const readIdentity = Effect.fnUntraced(function* (layout: Layout) {
  const path = layout.ledgerJson
  yield* refuseLink(layout.root)
  const kind = yield* refuseLink(path)
  if (kind === undefined) return undefined
  const hint = "Restore it from a backup of this ledger; the segments were not touched."
  const text = kind === "File" ? yield* durable.readSmall(path) : undefined
  if (text === undefined) {
    const reason = kind === "File" ? "its ledger.json is too long" : "it is no regular file"
    return yield* new NotALedger({ path, reason, hint })
  }
  // Another format may have other members, so its name is looked at alone.
  const any = decodeFormat(text)
  if (any._tag === "Some" && any.value.format !== format) {
    const actual = any.value.format.slice(0, 80)
    return yield* new FormatUnknown({ path, expected: format, actual })
  }
  const identity = decodeIdentity(text)
  if (identity._tag === "Some") return identity.value
  return yield* new NotALedger({ path, reason: "its ledger.json cannot be read", hint })
})

const decodeIdentity = Schema.decodeUnknownOption(Schema.fromJsonString(Identity))

const decodeFormat = Schema.decodeUnknownOption(
  Schema.fromJsonString(Schema.Struct({ format: Schema.String }))
)

/** Refuses a directory that has no `ledger.json` but has rows or anything that is not ours. */
const checkUnfinished = Effect.fnUntraced(function* (layout: Layout) {
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const list = (path: string) => Effect.mapError(fs.readDirectory(path), journalError("list", path))
  const foreign = (yield* list(layout.root)).find((name) => !ownName.test(name))
  if (foreign !== undefined) {
    const reason = `it has no ledger.json, and holds ${JSON.stringify(foreign)}`
    const hint = "Name a directory that is empty or does not exist."
    return yield* new NotALedger({ path: layout.root, reason, hint })
  }
  // In Cortex mode the file's rows are there before the ledger is, and no segments ever are.
  if (layout.format === "cortex") return
  if ((yield* refuseLink(layout.journal)) === undefined) return
  for (const name of yield* list(layout.journal)) {
    const path = paths.join(layout.journal, name)
    const info = yield* Effect.mapError(fs.stat(path), journalError("look", path))
    if (Segment.firstSeq(name) === undefined || Number(info.size) > 0) {
      const reason = `it has no ledger.json, but ${JSON.stringify(name)} among its segments`
      const hint = "Restore ledger.json from a backup; the segments were not touched."
      return yield* new NotALedger({ path: layout.root, reason, hint })
    }
  }
})

const isDirectory = Effect.fnUntraced(function* (path: string) {
  const kind = yield* refuseLink(path)
  if (kind === undefined) return false
  if (kind === "Directory") return true
  const hint = "A ledger is a directory. For one file that Cortex reads, say `file` instead."
  return yield* new NotALedger({ path, reason: "it is a file", hint })
})

const checkFile = Effect.fnUntraced(function* (layout: Layout) {
  const kind = yield* refuseLink(layout.journal)
  if (kind === undefined || kind === "File") return
  const hint = "A ledger in Cortex mode is one file. For a directory, say `directory` instead."
  return yield* new NotALedger({ path: layout.journal, reason: "it is not a file", hint })
})

/**
 * As `readIdentity`, for who only reads: where there is neither a ledger nor a mirror of one, nothing
 * can be read.
 */
export const readExisting = Effect.fnUntraced(function* (layout: Layout) {
  const isThere = yield* isDirectory(layout.root)
  const identity = isThere ? yield* readIdentity(layout) : undefined
  if (identity !== undefined) return identity
  if (isThere && (yield* durable.kindAt(layout.mirror)) !== undefined) return undefined
  const reason = isThere ? "it has neither ledger.json nor a mirror" : "nothing is there"
  const hint = "Check the path; a ledger is made where it is opened for writing."
  return yield* new NotALedger({ path: layout.root, reason, hint })
})

/** Look at the place, change nothing: whether the ledger's directory is there, and its identity. */
const inspect = Effect.fnUntraced(function* (layout: Layout) {
  if (layout.format === "cortex") yield* checkFile(layout)
  if (!(yield* isDirectory(layout.root))) return undefined
  const journal = yield* refuseLink(layout.journal)
  if (layout.format === "segments" && journal !== undefined && journal !== "Directory") {
    const hint = "Find out who put it there; restore the segments from a backup."
    return yield* new NotALedger({ path: layout.journal, reason: "it is no directory", hint })
  }
  yield* refuseLink(layout.operations)
  yield* refuseLink(layout.checkpoints)
  const identity = yield* readIdentity(layout)
  if (identity === undefined) yield* checkUnfinished(layout)
  return identity
})

/** Take the guard and make what is missing; fails as `JournalError` or `LockError` where it cannot. */
const enter = Effect.fnUntraced(function* (
  layout: Layout,
  seen: Identity | undefined,
  marker: LedgerMarker.LedgerMarker
) {
  const paths = yield* Path.Path
  const guard = yield* Guard
  // Whoever wrote ledger.json had made this directory's own name durable before.
  if (seen === undefined) yield* durable.makeDirectory(layout.root)
  yield* Marker.tellHolder(layout.marker, guard.hold(layout.guard))
  // Somebody else may have made the ledger between the look and the guard.
  const identity = yield* inspect(layout)
  const markerSetAside = yield* marker.examine
  if (layout.format === "segments") yield* durable.makeDirectory(layout.journal)
  yield* durable.syncDirectory(layout.root)
  // A process that was killed may have left a name that is seen, but not durable yet.
  const names = layout.format === "cortex" ? paths.dirname(layout.journal) : layout.journal
  yield* durable.syncDirectory(names)
  return { identity, markerSetAside }
})

/** Which ledger, and what the markers of its operations call the deployment; default `local`. */
export type Place = Location & { readonly deployment?: string | undefined }

/** Prepare the place of a ledger and hold its guard until the scope closes. */
export const make: (
  place: Place
) => Effect.Effect<
  Home["Service"],
  HomeError,
  FileSystem.FileSystem | Path.Path | Guard | Process | Scope.Scope
> = Effect.fnUntraced(function* (location: Place) {
  const paths = yield* Path.Path
  const fs = yield* FileSystem.FileSystem
  const layout = LayoutOf.of(paths, location)
  const seen = yield* inspect(layout)
  const marker = yield* LedgerMarker.make(layout, location.deployment)
  const entered = yield* enter(layout, seen, marker).pipe(
    Effect.map((found) => ({ ...found, mode: { _tag: "Write" } as Mode })),
    Effect.catchTag(["JournalError", "LockError"], (error) => {
      const reason = seen === undefined ? undefined : unwritableBecause(error)
      return reason === undefined
        ? Effect.fail(error)
        : Effect.succeed({
            identity: seen,
            markerSetAside: undefined,
            mode: { _tag: "ReadOnly", reason } as Mode
          })
    })
  )
  const settle = (identity: Identity) =>
    durable
      .writeFile(layout.ledgerJson, new TextEncoder().encode(`${JSON.stringify(identity)}\n`))
      .pipe(
        Effect.provideService(FileSystem.FileSystem, fs),
        Effect.provideService(Path.Path, paths)
      )
  return { layout, marker, settle, ...entered }
})

/** The place as a layer: guard held, directories there, identity known. */
export const layer = (
  place: Place
): Layer.Layer<Home, HomeError, FileSystem.FileSystem | Path.Path | Guard | Process> =>
  Layer.effect(Home, make(place))

/** The directory of the ledger that belongs beside a file, such as an agent's session. */
export const sidecarPath = (file: string): string => `${file}.ledger`

/** Whether a ledger is beside a file; one that was never finished, or a link, is none. */
export const hasSidecar = Effect.fn("Ledger.hasSidecar")(function* (
  file: string
): Effect.fn.Return<boolean, JournalError, FileSystem.FileSystem | Path.Path> {
  const paths = yield* Path.Path
  const layout = LayoutOf.of(paths, { directory: sidecarPath(file) })
  if ((yield* durable.kindAt(layout.root)) !== "Directory") return false
  return (yield* durable.kindAt(layout.ledgerJson)) === "File"
})
