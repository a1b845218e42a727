/**
 * Internal: what can be read of a ledger, through the mirror's committed rows and the journal.
 *
 * Looks at the whole ledger (`verify`, `parity`, `manifest`) are taken again where a rollback went
 * through them, so that what it moves is not taken for damage; copies say that they were crossed.
 */
import type { FileSystem, Path } from "effect"
import { Effect, Stream } from "effect"
import type { SqlClient } from "effect/sql"
import type { Head } from "../../core/Chain.ts"
import * as Chain from "../../core/Chain.ts"
import type * as Hashes from "../../core/Hashes.ts"
import * as Manifest from "../../core/Manifest.ts"
import type { AnyKind } from "../../core/Kind.ts"
import type { View } from "../../core/View.ts"
import type { VerifyReport } from "../../core/VerifyReport.ts"
import { CurrentVerify } from "../signing/Attestor.ts"
import * as Backup from "../upkeep/Backup.ts"
import * as Changes from "./Changes.ts"
import * as Checkpoints from "../upkeep/Checkpoints.ts"
import * as durable from "../journal/durable.ts"
import { mirrorError, RowDamaged } from "../errors.ts"
import * as Export from "../upkeep/Export.ts"
import type * as Journal from "../journal/Journal.ts"
import type { Source } from "../upkeep/manifestChecks.ts"
import * as Manifests from "../upkeep/Manifests.ts"
import * as Mirror from "../mirror/Mirror.ts"
import * as OperationFolders from "../upkeep/OperationFolders.ts"
import * as Operations from "../upkeep/Operations.ts"
import type { Query, Reader } from "./Reader.ts"
import * as Replay from "../mirror/Replay.ts"
import * as Rows from "./Rows.ts"
import * as Selection from "./Selection.ts"
import { steady } from "../verifying/steady.ts"
import * as Verify from "../verifying/Verify.ts"
import * as ViewKeeper from "../views/ViewKeeper.ts"
import * as ViewRows from "../views/viewRows.ts"

type Files = FileSystem.FileSystem | Path.Path

/** Whether a look at the whole ledger found it whole. */
export const isIntact = ({ _tag }: VerifyReport): boolean => _tag === "Intact"

const pageRows = 100

/** One more is asked for, to know whether there is more. */
const page = Effect.fnUntraced(function* <K extends AnyKind = never>(
  rows: Rows.Rows,
  query: Query<K> = {}
) {
  Selection.checkPage(query)
  const { after = Chain.start, last, limit = pageRows } = query
  const more = last === undefined ? Math.min(limit + 1, Number.MAX_SAFE_INTEGER) : query.limit
  const found = yield* rows.events({ ...query, limit: more }).pipe(Stream.runCollect)
  const events = last === undefined ? found.slice(0, limit) : found
  const next = found.length > events.length ? (events.at(-1)?.position ?? after) : undefined
  const read = yield* Rows.typed(query.kinds, Stream.fromIterable(events)).pipe(Stream.runCollect)
  return { events: read, next }
})

/** The read methods that readers and the writer's holder share. */
export const make = Effect.fnUntraced(function* (
  journal: Journal.JournalReader,
  sql: SqlClient.SqlClient,
  hashes: Hashes.Hashes,
  ledgerId: string,
  pulse?: Changes.Pulse,
  isKept: (view: View) => boolean = () => false
) {
  const verify = yield* CurrentVerify
  const files = yield* Effect.context<Files>()
  const provided = yield* durable.withFiles
  const rows = yield* Rows.make(journal, sql, hashes)
  const source: Source = { journal, sql, rows, hashes, ledgerId }
  const settled = Effect.mapError(Mirror.settled(sql), mirrorError("read its head"))
  const isThere = (head: Head) =>
    Effect.map(
      Effect.mapError(Mirror.at(sql, head.seq), mirrorError("find its head")),
      (row) => head.seq === 0 || row?.leaf_hash === head.leafHash
    )
  /** A file that a rollback has cut meanwhile is shorter than it was, and not damaged. */
  const notRolledBack = <A, E, R>(
    copy: Effect.Effect<A, E | RowDamaged, R>,
    head: Head,
    operation: string,
    to: string
  ) =>
    Effect.catchIf(
      copy,
      (error): error is RowDamaged => error instanceof RowDamaged,
      (error) =>
        Effect.flatMap(isThere(head), (there) =>
          Effect.fail(there ? error : Backup.rolledBack(operation, to))
        )
    )
  const reading: Reader["Service"] = {
    head: rows.head,
    get: Effect.fn("Ledger.get")((ref: string | number) =>
      Effect.map(rows.get(ref), ({ event }) => event)
    ),
    line: (ref) => Effect.map(rows.get(ref), ({ bytes }) => bytes),
    events: (query) =>
      Rows.typed(query?.kinds, rows.events(query)).pipe(Stream.withSpan("Ledger.events")),
    page: (query) => Effect.withSpan(page(rows, query), "Ledger.page"),
    path: (leaf, query) =>
      Rows.typed(query?.kinds, rows.path(leaf, query)).pipe(Stream.withSpan("Ledger.path")),
    changes: (which = {}) => Rows.typed(which.kinds, Changes.make(rows, which, pulse)),
    query: (ask) => ask(sql),
    rows: ViewRows.reader(sql, isKept),
    views: ViewKeeper.statuses(sql),
    summary: rows.summary.pipe(Effect.withSpan("Ledger.summary")),
    checkpoints: Effect.map(Checkpoints.list(journal.layout, hashes), (found) =>
      found.flatMap((one) => (one._tag === "Sound" ? [one.checkpoint] : []))
    ).pipe(Effect.withSpan("Ledger.checkpoints"), Effect.provideContext(files)),
    operations: Effect.provideContext(Operations.all(journal.layout, hashes), files),
    manifest: provided(steady(journal.layout, Manifests.compute(source), Manifest.isSound)),
    verify: (options) => {
      const look = Verify.journal(journal, hashes, { ...options, sql, ledgerId, verify })
      return provided(steady(journal.layout, look, isIntact))
    },
    parity: Effect.flatMap(settled, ({ head }) =>
      Replay.parity(sql, journal, hashes, "sealog_index", head.seq)
    ).pipe(
      (look) => provided(steady(journal.layout, look, ({ isConsistent }) => isConsistent)),
      Effect.withSpan("Ledger.parity")
    ),
    backup: (directory) =>
      Effect.gen(function* () {
        const taken = OperationFolders.taken(journal.layout, hashes)
        const before = yield* taken
        const { head, place } = yield* settled
        // What the index says of the newest row decides how much is copied.
        if (place !== undefined) yield* rows.get(head.seq)
        // One of rows that came since leaves the head, but is none of what is copied.
        const isSame = Effect.map(provided(taken), (now) => now === before)
        const isStill = Effect.flatMap(isThere(head), (there) =>
          there ? isSame : Effect.succeed(false)
        )
        const copy = Backup.make(journal, hashes, head, place, directory, isStill)
        return yield* notRolledBack(copy, head, "back up", directory)
      }).pipe(Effect.catchTag("EventNotFound", Effect.die), Effect.provideContext(files)),
    export: (file) =>
      Effect.flatMap(settled, ({ head }) => {
        const job = { journal, hashes, head, ledgerId, isThere: isThere(head) }
        return notRolledBack(provided(Export.make(job, file)), head, "export", file)
      })
  }
  return { reading, rows, source }
})
