/**
 * The ledger: one open history, written by one writer, read by any number of readers.
 *
 * `append` takes a draft through the whole pipeline: policy, then as part of a group ask, seal,
 * mirror, settle, journal, commit, answer. What it answers is durable in both legs. Opening
 * recovers what may be recovered and refuses the rest by name; closing lets the group under way
 * settle. The guard is held as long as the ledger is open: two writers never share one.
 */
import type { FileSystem } from "effect"
import { Clock, Context, Effect, Layer, Path, Result, Stream } from "effect"
import type { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import type { Head } from "../core/Chain.ts"
import type { Checkpoint } from "../core/Checkpoint.ts"
import type { Draft } from "../core/Draft.ts"
import * as Manifest from "../core/Manifest.ts"
import * as Segment from "../core/Segment.ts"
import * as Hashes from "../core/Hashes.ts"
import type { Operation, Request } from "../core/Operation.ts"
import type { VerifyReport } from "../core/VerifyReport.ts"
import type { ChainBroken } from "../core/Chain.ts"
import * as Timestamp from "../core/Timestamp.ts"
import * as Attestation from "../core/Attestation.ts"
import { Attestor, checked, CurrentVerify } from "./Attestor.ts"
import type { AttestorRefused } from "./Attestor.ts"
import * as Backup from "./Backup.ts"
import * as Changes from "./Changes.ts"
import * as Checkpoints from "./Checkpoints.ts"
import * as durable from "./durable.ts"
import type { JournalError } from "./errors.ts"
import { MirrorError, mirrorError, RowDamaged, unwritableBecause } from "./errors.ts"
import type { Expectation } from "./Expectation.ts"
import * as Export from "./Export.ts"
import type { Guard } from "./Guard.ts"
import * as HomeModule from "./Home.ts"
import { Home } from "./Home.ts"
import * as Journal from "./Journal.ts"
import * as Import from "./Import.ts"
import * as JournalWriter from "./JournalWriter.ts"
import type { Location } from "./Layout.ts"
import * as Layout from "./Layout.ts"
import * as Maintenance from "./Maintenance.ts"
import type { Process } from "./Marker.ts"
import type { Source } from "./manifestChecks.ts"
import * as Manifests from "./Manifests.ts"
import * as Mirror from "./Mirror.ts"
import * as OlderMirror from "./OlderMirror.ts"
import * as Opening from "./Opening.ts"
import type { OpenReport } from "./Opening.ts"
import * as Operations from "./Operations.ts"
import * as PolicyGate from "./PolicyGate.ts"
import type { ReadError } from "./Reader.ts"
import { Reader } from "./Reader.ts"
import { ReadSql } from "./ReadSql.ts"
import * as Replay from "./Replay.ts"
import * as Rows from "./Rows.ts"
import { steady } from "./steady.ts"
import * as Upkeep from "./Upkeep.ts"
import * as Verify from "./Verify.ts"
import * as VerifyPart from "./VerifyPart.ts"
import type { AppendError, AppendOptions, ExpectationRefusal, Receipt } from "./Receipt.ts"
import * as Signer from "./Signer.ts"
import * as Writer from "./Writer.ts"

export type { Expectation } from "./Expectation.ts"
export { headAt, noneSince } from "./Expectation.ts"
export { hasSidecar, sidecarPath } from "./Home.ts"

/** The hash functions that are used; plain code where nothing faster is given. */
export const CurrentHashes: Context.Reference<Hashes.Hashes> = Context.Reference("sealog/Hashes", {
  defaultValue: () => Hashes.noble
})

/** Reads and writes one ledger. */
export class Ledger extends Context.Service<
  Ledger,
  Reader["Service"] & {
    /** How it opened, and what was recovered. */
    readonly opened: OpenReport
    /** Append one event. When this answers, it survives a crash in both legs. */
    readonly append: <X extends Expectation | undefined = undefined>(
      draft: Draft,
      options?: AppendOptions<X>
    ) => Effect.Effect<Receipt, AppendError | ExpectationRefusal<X>>
    /** Append several as one group: after a crash all of them are there, or none is. */
    readonly appendAll: <X extends Expectation | undefined = undefined>(
      drafts: ReadonlyArray<Draft>,
      options?: AppendOptions<X>
    ) => Effect.Effect<ReadonlyArray<Receipt>, AppendError | ExpectationRefusal<X>>
    /**
     * Make rows of lines of elsewhere, as an operation; run again, it adds nothing that is there.
     * Lines that are refused are reported. When this answers, what it appended survives a crash.
     */
    readonly import: <E = never, R = never, E2 = never, R2 = never>(
      lines: Import.Lines<E, R>,
      toDraft: Import.ToDraft<E2, R2>,
      options?: Import.Options
    ) => Effect.Effect<
      Import.ImportReport,
      E | Exclude<E2, Import.LineRefused> | Import.ImportError,
      R | R2
    >
    /**
     * Hand the ledger over to another signer, in a row that the one until now signs. When this
     * answers, the next rows are signed by `next`; before, by the other: a crash decides for either.
     * `draft` is what the row shall say besides; its payload an envelope that was signed elsewhere.
     */
    readonly rotateKey: (
      next: Attestor["Service"],
      options?: AppendOptions & { readonly draft?: Omit<Draft, "type"> | undefined }
    ) => Effect.Effect<Receipt, AppendError | AttestorRefused>
    /** State the head, durable when it answers; `reason` is kept. */
    readonly checkpoint: (reason: string) => Effect.Effect<Checkpoint, Maintenance.CheckpointError>
    /**
     * Go back to a checkpoint of this ledger, given as it was answered or by its number. What is cut
     * is kept and can be read. When this answers, the ledger is there and stays there in a crash.
     */
    readonly rollback: (
      to: Checkpoint | number,
      request: Request
    ) => Effect.Effect<Operation, Maintenance.OperationError>
    /**
     * Make index and mirror anew from the journal alone. Readers see the old rows until it is done;
     * appends wait. Where it fails nothing is changed. Recorded, with who asked for it and why.
     */
    readonly rebuild: (request: Request) => Effect.Effect<Operation, Maintenance.RebuildError>
    /** Bring the mirror up to the journal, row by row; asks no policy. May be run again. */
    readonly replay: Effect.Effect<
      Replay.ReplayReport,
      Mirror.RowDiffers | Mirror.IdConflict | ChainBroken | ReadError
    >
  }
>()("sealog/Ledger") {}

/** How a ledger is written and read; every size is bytes or rows as its name says. */
export interface Settings extends Upkeep.Settings {
  /** What `ledger.json` will call a new ledger; by default its directory's name. */
  readonly ledgerId?: string | undefined
  /** Numbers that Cortex would read back differently: kept as text, or refused with their path. */
  readonly numbers?: "lossless" | "cortex" | undefined
  /** A segment that is longer is not written any more. Default 64 MiB. */
  readonly segmentBytesMax?: number | undefined
  /** A longer line is neither written nor read. Default 100 MiB. */
  readonly lineBytesMax?: number | undefined
  /** The most rows that are taken into one group. Default 512. */
  readonly groupRowsMax?: number | undefined
  /** What the marker of a rollback or repair calls this deployment. Default `local`. */
  readonly deployment?: string | undefined
  /**
   * Signed ledgers: how long a group is signed, and a signer that is not trusted is awaited. What is
   * not signed by then goes into the next group; an append is never torn. Default 1,000.
   */
  readonly signMillisMax?: number | undefined
  /** The key of the first signed row; a ledger that another one signed first is not opened. */
  readonly publicKey?: string | undefined
  /** Cortex mode: whether rows carry `prev_line_hash`. Default false. */
  readonly lineHashes?: boolean | undefined
  /** Cortex mode: whether rows carry `crc32c`. Default false. */
  readonly crc?: boolean | undefined
}

/** Every way in which opening refuses or fails. */
export type OpenError = HomeModule.HomeError | Opening.OpenError | AttestorRefused

type Files = FileSystem.FileSystem | Path.Path

const groupBytesMax = 8 * 1024 * 1024
const segmentBytesMaxDefault = 64 * 1024 * 1024
const groupRowsMaxDefault = 512
const checkpointRows = 1_000

const isIntact = ({ _tag }: VerifyReport): boolean => _tag === "Intact"

/** The read methods that both services share. */
const makeReading = Effect.fnUntraced(function* (
  journal: Journal.JournalReader,
  sql: SqlClient.SqlClient,
  hashes: Hashes.Hashes,
  ledgerId: string,
  pulse?: Changes.Pulse
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
    path: (leaf, query) =>
      Rows.typed(query?.kinds, rows.path(leaf, query)).pipe(Stream.withSpan("Ledger.path")),
    changes: (which = {}) => Rows.typed(which.kinds, Changes.make(rows, which, pulse)),
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
        const taken = Operations.taken(journal.layout, hashes)
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
  writer: Effect.Success<ReturnType<typeof Writer.make>>,
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
        const inserted = yield* writer.between(Effect.andThen(writer.unlocked, take(rows)))
        replayed += inserted
        skippedExisting += rows.length - inserted
      })
    )
    return new Replay.ReplayReport({ replayed, skippedExisting, parity: yield* parity })
  }).pipe(Effect.withSpan("Ledger.replay"))

/** Open the ledger at home for writing; closes with the scope. */
const open = Effect.fnUntraced(function* (
  settings: Settings,
  attestor: Attestor["Service"] | undefined
) {
  const home = yield* Home
  const sql = yield* SqlClient.SqlClient
  const readSql = yield* ReadSql
  const hashes = yield* CurrentHashes
  const policy = yield* PolicyGate.PolicyGate
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
  const pulse = Changes.pulse()
  const made = yield* makeReading(journal, readSql, hashes, ledgerId, pulse)
  const { reading, rows, source } = made
  let upkeep: Effect.Success<ReturnType<typeof Upkeep.make>> | undefined
  const writer = yield* Writer.make({
    sql,
    journal: journalWriter,
    rows,
    policy,
    hashes,
    head,
    tree,
    standing,
    takeStock: (until) => Opening.takeStock(sql, journal, hashes, until.seq),
    catchUp: (until) => Opening.catchUpOpen(sql, journal, hashes, until.seq),
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
  const actions: ReadonlyArray<Opening.Action> =
    path === undefined
      ? recovered.actions
      : [{ _tag: "MarkerSetAside", path }, ...recovered.actions]
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
  return Ledger.of({
    ...reading,
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
})

/** Open the ledger at home for reading, where nothing can be written. */
const openReadOnly = Effect.fnUntraced(function* (settings: Settings, reason: string) {
  const home = yield* Home
  const paths = yield* Path.Path
  const sql = yield* ReadSql
  const hashes = yield* CurrentHashes
  const lineBytesMax = settings.lineBytesMax ?? Segment.lineBytesMaxDefault
  const journal = yield* Journal.makeReader(home.layout, { lineBytesMax })
  const ledgerId = HomeModule.signedName(paths, home.layout, home.identity)
  const made = yield* makeReading(journal, sql, hashes, ledgerId)
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
  return Ledger.of({
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
})

/**
 * Open the ledger of the `Home` in scope, for writing or, where it says so, for reading only. With an
 * Attestor its rows are signed.
 */
export const make = Effect.fnUntraced(function* (
  settings: Settings,
  attestor?: Attestor["Service"]
) {
  checkSizes(settings)
  const { identity, mode } = yield* Home
  if (mode._tag === "ReadOnly") return yield* openReadOnly(settings, mode.reason)
  return yield* open(settings, attestor).pipe(
    Effect.catchTag(["JournalError", "MirrorError", "LockError"], (error) => {
      const reason = identity === undefined ? undefined : unwritableBecause(error)
      return reason === undefined ? Effect.fail(error) : openReadOnly(settings, reason)
    })
  )
})

/** Both services over a `Home` that was prepared already; with an Attestor, of a signed ledger. */
export const layerHome = (
  settings: Settings,
  attestor?: Attestor["Service"]
): Layer.Layer<
  Ledger | Reader,
  OpenError,
  Home | Files | SecureRandom.SecureRandom | SqlClient.SqlClient | ReadSql | PolicyGate.PolicyGate
> =>
  Layer.effectContext(
    Effect.map(make(settings, attestor), (ledger) =>
      Context.make(Ledger, ledger).pipe(Context.add(Reader, Reader.of(ledger)))
    )
  )

/** A reader of the ledger at a location, over the committed rows that `ReadSql` sees. */
export const layerReader = (
  options: Settings & Location
): Layer.Layer<
  Reader,
  JournalError | HomeModule.FormatUnknown | HomeModule.NotALedger,
  Files | ReadSql
> =>
  Layer.effect(
    Reader,
    Effect.gen(function* () {
      const paths = yield* Path.Path
      const sql = yield* ReadSql
      const hashes = yield* CurrentHashes
      const lineBytesMax = options.lineBytesMax ?? Segment.lineBytesMaxDefault
      const layout = Layout.of(paths, options)
      const identity = yield* HomeModule.readIdentity(layout)
      const journal = yield* Journal.makeReader(layout, { lineBytesMax })
      const ledgerId = HomeModule.signedName(paths, layout, identity)
      const { reading } = yield* makeReading(journal, sql, hashes, ledgerId)
      return Reader.of(OlderMirror.reader(reading, sql))
    })
  )

/** A size that is none is a broken precondition: found when the ledger opens, not when it fills. */
export const checkSizes = (settings: Settings): void => {
  const { checkpointEveryRows, groupRowsMax, lineBytesMax, segmentBytesMax, signMillisMax } =
    settings
  const sizes = {
    checkpointEveryRows,
    groupRowsMax,
    lineBytesMax,
    segmentBytesMax,
    signMillisMax
  }
  for (const [name, size] of Object.entries(sizes)) {
    if (size !== undefined && !(Number.isSafeInteger(size) && size > 0)) {
      throw new RangeError(`${name} must be a whole number above 0, not ${size}`)
    }
  }
  if (settings.publicKey !== undefined) {
    Result.getOrThrow(Attestation.genesis(settings.publicKey))
  }
}

/** Settings, the place, and the rules that vote. */
export interface Options<Rs extends ReadonlyArray<unknown> = readonly []> extends Settings {
  readonly rules?: PolicyGate.Rules<Rs> | undefined
}

/**
 * The ledger at a location, over whatever SQL client is in scope: `SqlClient` for the writer,
 * `ReadSql` for everyone else. `SealogNode.layer` brings both, and the rest.
 */
export const layer = <Rs extends ReadonlyArray<unknown> = readonly []>(
  options: Options<Rs> & Location
): Layer.Layer<
  Ledger | Reader,
  OpenError,
  Files | Guard | Process | SecureRandom.SecureRandom | SqlClient.SqlClient | ReadSql | Rs[number]
> =>
  layerHome(options).pipe(
    Layer.provide(HomeModule.layer(options)),
    Layer.provide(PolicyGate.layer<Rs[number]>(options.rules ?? []))
  )

/**
 * Verify the rows of a file that an operation has cut, by itself. Damage is an answer. Signatures are
 * checked where `signatures` says whose they have to be.
 */
export const verifyPart = Effect.fnUntraced(function* (
  file: string,
  options: Pick<Verify.VerifyOptions, "failuresMax"> & {
    readonly lineBytesMax?: number
    readonly signatures?: VerifyPart.Signed | undefined
  } = {}
) {
  const hashes = yield* CurrentHashes
  const lineBytesMax = options.lineBytesMax ?? Segment.lineBytesMaxDefault
  const verify = yield* CurrentVerify
  return yield* VerifyPart.part(file, hashes, { ...options, lineBytesMax, verify })
})

/**
 * As `layer`, of a ledger whose rows are signed by the Attestor in scope. From its first signed row
 * on every row must be; rows that were there before stay unsigned.
 */
export const layerSigned = <Rs extends ReadonlyArray<unknown> = readonly []>(
  options: Options<Rs> & Location
) =>
  Layer.unwrap(Effect.map(Attestor, (attestor) => layerHome(options, attestor))).pipe(
    Layer.provide(HomeModule.layer(options)),
    Layer.provide(PolicyGate.layer<Rs[number]>(options.rules ?? []))
  )

/** Why files could not be verified at all; damage is an answer instead. */
export type VerifyError =
  | JournalError
  | MirrorError
  | HomeModule.FormatUnknown
  | HomeModule.NotALedger
  | Attestation.PublicKeyInvalid

/** Verify a ledger's files, or one JSONL file, without opening: no guard, no mirror, no change. */
export const verify = Effect.fnUntraced(function* (
  location: Location,
  options: Omit<Verify.VerifyOptions, "ledgerId" | "verify"> & {
    readonly lineBytesMax?: number | undefined
  } = {}
): Effect.fn.Return<VerifyReport, VerifyError, Files> {
  const paths = yield* Path.Path
  const hashes = yield* CurrentHashes
  const lineBytesMax = options.lineBytesMax ?? Segment.lineBytesMaxDefault
  // A file that is not there has no rows, and would be found intact.
  if ("file" in location) yield* durable.existing(location.file)
  const layout = Layout.of(paths, location)
  const identity = yield* HomeModule.readIdentity(layout)
  const journal = yield* Journal.makeReader(layout, { lineBytesMax })
  const ledgerId = HomeModule.signedName(paths, layout, identity)
  const verify = yield* CurrentVerify
  const look = Verify.journal(journal, hashes, { ...options, ledgerId, verify })
  const verified = steady(layout, look, isIntact)
  return yield* options.sql === undefined ? verified : OlderMirror.explained(options.sql)(verified)
})
