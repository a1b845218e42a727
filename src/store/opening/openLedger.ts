/**
 * Internal: opening a ledger at its home, for writing, or for reading where nothing can be written.
 *
 *   recover (`Opening`) -> writer -> maintenance -> upkeep -> views -> the services
 *
 * What was made is closed in the opposite order: the queue fails, the group under way settles, a
 * checkpoint is made where one is due, SQLite's log is emptied.
 */
import { Clock, Effect, Path } from "effect"
import { SqlClient } from "effect/sql"
import type { Head } from "../../core/Chain.ts"
import type { Draft } from "../../core/Draft.ts"
import type * as Hashes from "../../core/Hashes.ts"
import * as Segment from "../../core/Segment.ts"
import * as Timestamp from "../../core/Timestamp.ts"
import type { Attestor } from "../signing/Attestor.ts"
import { checked } from "../signing/Attestor.ts"
import * as Changes from "../reading/Changes.ts"
import { CurrentHashes } from "../CurrentHashes.ts"
import { MirrorError } from "../errors.ts"
import type { Expectation } from "../writing/Expectation.ts"
import * as HomeModule from "../journal/Home.ts"
import { Home } from "../journal/Home.ts"
import * as Import from "../writing/Import.ts"
import * as Journal from "../journal/Journal.ts"
import * as JournalWriter from "../journal/JournalWriter.ts"
import type { Settings } from "../LedgerService.ts"
import { Ledger } from "../LedgerService.ts"
import * as Maintenance from "../upkeep/Maintenance.ts"
import * as Mirror from "../mirror/Mirror.ts"
import * as OlderMirror from "../mirror/OlderMirror.ts"
import type { OpenReport } from "./Opening.ts"
import * as CatchingUp from "./catchingUp.ts"
import * as Opening from "./Opening.ts"
import * as PolicyGate from "../writing/PolicyGate.ts"
import type { Reader } from "../reading/Reader.ts"
import * as Refusal from "./Refusal.ts"
import * as Reading from "../reading/Reading.ts"
import { ReadSql } from "../mirror/ReadSql.ts"
import type { AppendOptions } from "../writing/Receipt.ts"
import * as Replay from "../mirror/Replay.ts"
import * as Signer from "../signing/Signer.ts"
import * as Upkeep from "../upkeep/Upkeep.ts"
import * as DeclaredViews from "../views/DeclaredViews.ts"
import * as ViewKeeper from "../views/ViewKeeper.ts"
import * as ViewRebuild from "../views/ViewRebuild.ts"
import { Views } from "../views/Views.ts"
import * as Writer from "../writing/Writer.ts"

const groupBytesMax = 8 * 1024 * 1024
const segmentBytesMaxDefault = 64 * 1024 * 1024
const groupRowsMaxDefault = 512
const checkpointRows = 1_000

/** Give `ledger.json` to a new ledger, now that everything else of it is durable. */
const settleHome = Effect.fnUntraced(function* (settings: Settings) {
  const home = yield* Home
  const paths = yield* Path.Path
  if (home.identity !== undefined) return
  const created = Timestamp.fromMillis(yield* Clock.currentTimeMillis)
  const id = settings.ledgerId ?? paths.parse(home.layout.name).name
  yield* home.settle({ id, format: HomeModule.format, created })
})

/** Move what SQLite's log holds into its file; `TRUNCATE` waits for readers, `PASSIVE` does not. */
const walCheckpoint = (sql: SqlClient.SqlClient, mode: "PASSIVE" | "TRUNCATE") =>
  sql.onDialectOrElse({
    // Held up by a reader it is tried again later: the log grows, nothing is lost.
    sqlite: () => Effect.ignore(sql.unsafe(`PRAGMA wal_checkpoint(${mode})`)),
    orElse: () => Effect.void
  })

const rolledBackMeanwhile = Effect.fail(
  new MirrorError({
    operation: "replay",
    cause: new Error("the ledger was rolled back meanwhile"),
    hint: "Nothing of what was cut was taken in; replay again."
  })
)

const makeReplay = (
  journal: Journal.JournalReader,
  sql: SqlClient.SqlClient,
  hashes: Hashes.Hashes,
  writer: Writer.Writer,
  parity: Reader["Service"]["parity"]
): Ledger["Service"]["replay"] =>
  Effect.gen(function* () {
    let replayed = 0
    let skippedExisting = 0
    const until = writer.head().seq
    const rollbacks = writer.rollbacks()
    const take = Effect.fnUntraced(function* (rows: ReadonlyArray<Replay.Placed>) {
      // Rows that were read before a rollback are not the ledger's any more.
      if (writer.rollbacks() !== rollbacks) return yield* rolledBackMeanwhile
      return yield* Replay.replayBatch(sql, journal, hashes, rows)
    })
    yield* Replay.walk(
      journal,
      hashes,
      Replay.beginning,
      until,
      Effect.fnUntraced(function* (rows: ReadonlyArray<Replay.Placed>) {
        const inserted = yield* writer.between(take(rows))
        replayed += inserted
        skippedExisting += rows.length - inserted
      })
    )
    return new Replay.ReplayReport({ replayed, skippedExisting, parity: yield* parity })
  }).pipe(Effect.withSpan("Ledger.replay"))

/** Open the ledger at home for writing; closes with the scope. */
export const open = Effect.fnUntraced(function* (
  settings: Settings,
  attestor: Attestor["Service"] | undefined
) {
  const home = yield* Home
  const sql = yield* SqlClient.SqlClient
  const readSql = yield* ReadSql
  const hashes = yield* CurrentHashes
  const policy = yield* PolicyGate.PolicyGate
  const views = yield* DeclaredViews.DeclaredViews
  checkNamed(policy, views)
  const { format } = home.layout
  const lineBytesMax = settings.lineBytesMax ?? Segment.lineBytesMaxDefault
  const segmentBytesMax = settings.segmentBytesMax ?? segmentBytesMaxDefault
  const journal = yield* Journal.makeReader(home.layout, { lineBytesMax })
  yield* Mirror.migrate
  const paths = yield* Path.Path
  const ledgerId = HomeModule.signedName(paths, home.layout, home.identity, settings.ledgerId)
  const signing = yield* Signer.make({ ...settings, ledgerId, name: home.layout.name }, attestor)
  const { following, signer } = signing
  const { head, last, tree, state, ...recovered } = yield* Opening.recover(
    journal,
    sql,
    hashes,
    home.identity === undefined,
    following
  )
  // Whatever it announced has an outcome now, or was never begun.
  yield* home.marker.clear
  const standing = yield* Effect.fromResult(signing.standingOf(state))
  yield* settleHome(settings)
  const journalWriter = yield* JournalWriter.makeWriter(journal, { lineBytesMax, segmentBytesMax })
  yield* journalWriter.resume(last, head)
  const refusals = Refusal.refusals(journal)
  const keeper = ViewKeeper.make({ sql, journal, hashes, views })
  const viewActions = yield* keeper.open(head.seq, settings.onViewChange ?? "rebuild").pipe(
    Effect.catchTags({
      RowDamaged: (error) => Effect.fail(refusals.RowDamaged(error)),
      ChainBroken: (error) => Effect.fail(refusals.ChainBroken(error))
    })
  )
  const pulse = Changes.pulse()
  const made = yield* Reading.make(journal, readSql, hashes, ledgerId, pulse, keeper.isKept)
  const { reading, rows, source } = made
  let upkeep: Effect.Success<ReturnType<typeof Upkeep.make>> | undefined
  const writer = yield* Writer.make({
    sql,
    journal: journalWriter,
    rows,
    policy,
    views: keeper,
    hashes,
    head,
    tree,
    standing,
    takeStock: (until) => CatchingUp.takeStock(sql, journal, hashes, until.seq),
    catchUp: (until) => CatchingUp.catchUpOpen(sql, journal, hashes, until.seq),
    afterGroup: Effect.fnUntraced(function* (written) {
      pulse.beat()
      if (upkeep !== undefined) yield* upkeep.afterGroup
      if (written < checkpointRows) return written
      yield* walCheckpoint(sql, "PASSIVE")
      return 0
    }),
    settings: {
      groupRowsMax: settings.groupRowsMax ?? groupRowsMaxDefault,
      groupBytesMax,
      lineBytesMax,
      numbers: settings.numbers ?? "lossless",
      kinds: settings.kinds,
      encode: { format, lineHashes: settings.lineHashes, crc: settings.crc },
      signing: signer
    }
  })
  const { marker } = home
  const maintenance = yield* Maintenance.make({
    journal,
    journalWriter,
    writer,
    sql,
    hashes,
    marker,
    views: keeper,
    following,
    signer
  })
  const keeping = { ...source, between: writer.between, mayWrite: writer.isSettled }
  const kept = yield* Upkeep.make({ keeping, writer, maintenance, settings })
  upkeep = kept
  yield* Effect.addFinalizer(() => walCheckpoint(sql, "TRUNCATE"))
  yield* Effect.addFinalizer(() => kept.atClose)
  yield* Effect.forkScoped(writer.run)
  yield* Effect.addFinalizer(() => writer.close)
  const path = home.markerSetAside
  const setAside: ReadonlyArray<Opening.Action> =
    path === undefined ? [] : [{ _tag: "MarkerSetAside", path }]
  const actions = [...setAside, ...recovered.actions, ...viewActions]
  const opened: OpenReport =
    actions.length === 0 ? { _tag: "Clean", head } : { _tag: "Recovered", head, actions }
  const append = <X extends Expectation | undefined = undefined>(
    draft: Draft,
    options: AppendOptions<X> = {}
  ) =>
    Effect.map(writer.submit([draft], options), ([receipt]) => {
      if (receipt === undefined) throw new Error("an append without an answer")
      return receipt
    }).pipe(Effect.withSpan("Ledger.append"))
  const numbers = settings.numbers ?? "lossless"
  const rotateKey = Effect.fn("Ledger.rotateKey")(function* (
    next: Attestor["Service"],
    { draft = {}, ...options }: AppendOptions & { readonly draft?: Omit<Draft, "type"> | undefined }
  ) {
    const to = yield* Effect.fromResult(checked(next, home.layout.name))
    const [receipt] = yield* writer.rotate(to, draft, options)
    if (receipt === undefined) return yield* Effect.die(new Error("an append without an answer"))
    return receipt
  })
  const ledger = Ledger.of({
    ...reading,
    views: Effect.map(reading.views, keeper.told),
    checkpoint: (reason) => Effect.tap(maintenance.checkpoint(reason), () => kept.renew),
    rollback: maintenance.rollback,
    rebuild: maintenance.rebuild,
    manifest: kept.manifest,
    opened,
    import: yield* Import.make({ journal, rows, writer, numbers, hashes }),
    append,
    appendAll: (drafts, options = {}) =>
      Effect.withSpan(writer.submit(drafts, options), "Ledger.appendAll"),
    rotateKey: (next, options = {}) => rotateKey(next, options),
    replay: makeReplay(journal, sql, hashes, writer, reading.parity)
  })
  return { ledger, views: ViewRebuild.make({ sql, journal, hashes, keeper, writer }) }
})

/** A gate that asks a view which nobody keeps is a broken precondition. */
const checkNamed = (
  { views: named }: PolicyGate.PolicyGate["Service"],
  views: ReadonlyArray<{ readonly name: string }>
): void => {
  const unknown = named.find((name) => !views.some((view) => view.name === name))
  if (unknown !== undefined) throw new RangeError(`a gate asks the view ${unknown}: declare it`)
}

/** Open the ledger at home for reading, where nothing can be written. */
export const openReadOnly = Effect.fnUntraced(function* (settings: Settings, reason: string) {
  const home = yield* Home
  const paths = yield* Path.Path
  const sql = yield* ReadSql
  const hashes = yield* CurrentHashes
  const lineBytesMax = settings.lineBytesMax ?? Segment.lineBytesMaxDefault
  const journal = yield* Journal.makeReader(home.layout, { lineBytesMax })
  const ledgerId = HomeModule.signedName(paths, home.layout, home.identity)
  const made = yield* Reading.make(journal, sql, hashes, ledgerId)
  const reading = OlderMirror.reader(made.reading, sql)
  const head: Head = yield* reading.head
  const refused = Effect.fail(
    new Journal.JournalFinal({
      path: home.layout.journal,
      durable: { seq: head.seq, leafHash: head.leafHash },
      reason: "read_only",
      cause: new Error(reason),
      hint: "It was opened for reading only, as nothing can be written there."
    })
  )
  const ledger = Ledger.of({
    ...reading,
    opened: { _tag: "ReadOnly", head, reason },
    append: () => refused,
    appendAll: () => refused,
    import: () => refused,
    rotateKey: () => refused,
    checkpoint: () => refused,
    rollback: () => refused,
    rebuild: () => refused,
    replay: Effect.fail(
      new MirrorError({
        operation: "replay",
        cause: new Error(reason),
        hint: "The ledger was opened for reading only."
      })
    )
  })
  const views = Views.of({ status: reading.views, rebuild: () => refused, check: () => refused })
  return { ledger, views }
})
