/**
 * The contract of an open ledger: what it does, what it is told, and how opening may fail.
 *
 * `Ledger` writes and reads, one to a ledger; its methods say what is durable when they answer.
 */
import type { Effect } from "effect"
import { Context } from "effect"
import type { ChainBroken } from "../core/Chain.ts"
import type { Checkpoint } from "../core/Checkpoint.ts"
import type { Draft } from "../core/Draft.ts"
import type { AnyKind } from "../core/Kind.ts"
import type { Operation, Request } from "../core/Operation.ts"
import type { Attestor, AttestorRefused } from "./signing/Attestor.ts"
import type { Expectation } from "./writing/Expectation.ts"
import type { HomeError } from "./journal/Home.ts"
import type * as Import from "./writing/Import.ts"
import type * as Maintenance from "./upkeep/Maintenance.ts"
import type * as Mirror from "./mirror/Mirror.ts"
import type * as Opening from "./opening/Opening.ts"
import type { OpenReport } from "./opening/Opening.ts"
import type { ReadError, Reader } from "./reading/Reader.ts"
import type { AppendError, AppendOptions, ExpectationRefusal, Receipt } from "./writing/Receipt.ts"
import type * as Replay from "./mirror/Replay.ts"
import type * as Upkeep from "./upkeep/Upkeep.ts"
import type { ViewOutdated } from "./views/Views.ts"

/** Reads and writes one ledger. */
export class Ledger extends Context.Service<
  Ledger,
  Reader["Service"] & {
    /**
     * How it opened, and what was recovered; `Recovered` too where a view was made anew: `rows` of
     * `ViewRebuilt` is the last seq that it has taken in.
     */
    readonly opened: OpenReport
    /**
     * Append one event. When this answers, it survives a crash in both legs. Interrupted or timed out
     * before, it may be written all the same: append it again with the same id.
     */
    readonly append: <X extends Expectation | undefined = undefined>(
      draft: Draft,
      options?: AppendOptions<X>
    ) => Effect.Effect<Receipt, AppendError | ExpectationRefusal<X>>
    /** Append several as one group: after a crash all of them are there, or none is. As `append`. */
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
  /**
   * How long one gate, or an effect view one event, may take: a gate that takes longer has voted
   * reject, a view has failed at that event. Code that never yields cannot be limited. Default 5,000.
   */
  readonly askMillisMax?: number | undefined
  /** The key of the first signed row; a ledger that another one signed first is not opened. */
  readonly publicKey?: string | undefined
  /** Cortex mode: whether rows carry `prev_line_hash`. Default false. */
  readonly lineHashes?: boolean | undefined
  /** Cortex mode: whether rows carry `crc32c`. Default false. */
  readonly crc?: boolean | undefined
  /** Where they are given: an event of no kind, or that its kind does not read, is refused. */
  readonly kinds?: ReadonlyArray<AnyKind> | undefined
  /**
   * What becomes of a view of another version or with other tables. Default `rebuild`: it is built
   * from the first row on before the ledger opens, while readers have the old one.
   */
  readonly onViewChange?: "rebuild" | "refuse" | undefined
}

/** Every way in which opening refuses or fails. */
export type OpenError = HomeError | Opening.OpenError | AttestorRefused | ViewOutdated
