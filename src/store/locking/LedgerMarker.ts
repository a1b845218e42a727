/**
 * Internal: the marker of a ledger, which stands while a rollback or repair is carried out.
 *
 * The operation's id stands in its intent, so that the next open knows its own: the operation is
 * finished by its plan, or did nothing, and the marker is removed. One that a crash cut short was
 * never durable, so its operation was never begun: it is set aside. Any other marker is somebody
 * else's, and stops writing until it was taken over. The ledger's guard is held throughout.
 */
import { Clock, Effect, Path, Result, Schema } from "effect"
import type { FileSystem } from "effect"
import * as LockMarker from "../../core/LockMarker.ts"
import * as Timestamp from "../../core/Timestamp.ts"
import * as durable from "../journal/durable.ts"
import { LockError } from "./Guard.ts"
import type { Layout } from "../journal/Layout.ts"
import * as Marker from "./Marker.ts"

/** What a marker calls the deployment where no name was given. */
export const deploymentDefault = "local"

const hint =
  "Reading works. Find out what was under way, then take over with a signed statement " +
  "(`sealog lock takeover`)."

const isDeployment = Schema.is(LockMarker.LockMarker.fields.deployment)

export interface LedgerMarker {
  /** Look at the marker that was left; the path of one that was torn, and was set aside. */
  readonly examine: Effect.Effect<string | undefined, Marker.MarkerStale | LockError>
  /** Announce an operation, in place of one of ours that was left. Durable when it answers. */
  readonly place: (
    operation: string,
    purpose: string,
    operator: string
  ) => Effect.Effect<void, Marker.MarkerStale | LockError>
  /** Remove the marker that is ours, if there is one. */
  readonly clear: Effect.Effect<void, LockError>
}

type Files = FileSystem.FileSystem | Path.Path

/** Whether a marker names an operation of this ledger: its folder was durable before. */
const isOwn = Effect.fnUntraced(function* (layout: Layout, { parsed }: Marker.Found) {
  const paths = yield* Path.Path
  const id = Result.isSuccess(parsed) ? LockMarker.operationOf(parsed.success.intent) : undefined
  if (id === undefined) return false
  const folder = paths.join(layout.operations, id)
  const failed = Marker.lockError("reading the marker's operation", folder)
  return (yield* Effect.mapError(durable.kindAt(folder), failed)) === "Directory"
})

/**
 * The text of a marker that stops writing, for whoever looks on: null where none does. One that
 * cannot be read is told by a sentence.
 */
export const foreign = Effect.fnUntraced(function* (
  layout: Layout
): Effect.fn.Return<
  { readonly text: string | null; readonly remarks: ReadonlyArray<string> },
  never,
  Files
> {
  const look = Effect.gen(function* () {
    const found = yield* Marker.read(layout.marker)
    const stops = found !== undefined && !found.isTorn && !(yield* isOwn(layout, found))
    return { text: stops ? found.text : null, remarks: [] }
  })
  return yield* Effect.catch(look, ({ path, reason }) =>
    Effect.succeed({ text: null, remarks: [`The marker ${path} ${reason}`] })
  )
})

/** The marker of the ledger at a place; nothing is looked at yet. */
export const make = Effect.fnUntraced(function* (
  layout: Layout,
  deployment: string = deploymentDefault
): Effect.fn.Return<LedgerMarker, never, Files | Marker.Process> {
  if (!isDeployment(deployment)) throw new RangeError("deployment must be one line of text")
  const { marker: path } = layout
  const process = yield* Marker.Process
  const withFiles = yield* durable.withFiles
  /** The text of ours that is there. */
  let ours: string | undefined

  const examine = Effect.gen(function* () {
    const found = yield* Marker.read(path)
    if (found === undefined) return undefined
    if (found.isTorn) return yield* Marker.setAside(path)
    if (!(yield* isOwn(layout, found))) return yield* Marker.stale(found, hint)
    ours = found.text
    return undefined
  })

  const clear = Effect.gen(function* () {
    if (ours === undefined) return
    yield* Marker.clear(path, ours)
    ours = undefined
  })

  const place = Effect.fnUntraced(function* (operation: string, purpose: string, operator: string) {
    const { host, pid } = process
    const acquiredAt = Timestamp.fromMillis(yield* Clock.currentTimeMillis)
    const intent = LockMarker.intentOf(operation, purpose)
    const text = LockMarker.render({ pid, host, deployment, operator, acquiredAt, intent })
    if (Result.isFailure(text)) {
      return yield* new LockError({
        path,
        operation: "placing the marker",
        reason: `cannot say this (${text.failure.message})`,
        cause: undefined,
        hint: "Nothing was changed. Mend what it names, and try again."
      })
    }
    yield* clear
    yield* Marker.place(path, text.success, hint)
    ours = text.success
  })

  return {
    examine: withFiles(examine),
    place: (...said) => withFiles(place(...said)),
    clear: withFiles(clear)
  }
})
