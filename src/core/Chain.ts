/**
 * The chain: how a row links to the one before, and the verification of a run of rows.
 *
 * A row links twice: `prev_event_hash` is the event hash of the row before (null in the first), and
 * `prev_line_hash`, where present, is its leaf hash (64 zeros in the first). `Head` is what the
 * next row must link to. `Verifier` takes lines one by one, in constant memory, and names every
 * failure; its verdicts on Cortex's files are those of the original's audits, and it sees more:
 * lines that cannot be read, payloads with two readings, line hashes, checksums, broken groups,
 * torn tails. Given a key it judges the rows' signatures too.
 */
import { Result, Schema } from "effect"
import type { Position, Event } from "./Event.ts"
import * as Hashes from "./Hashes.ts"
import * as Row from "./Row.ts"
import * as Seal from "./Seal.ts"
import type { Line } from "./Segment.ts"
import { Follower } from "./Signing.ts"
import type * as Signing from "./Signing.ts"
import { Damaged, Failure, Intact, notProven } from "./VerifyReport.ts"
import type { Level, Proven, Reason, VerifyReport } from "./VerifyReport.ts"

/** The newest row of a history: a position, and what the next row links to. */
export interface Head extends Position {
  readonly id: string | null
  readonly eventHash: string | null
}

/** Before the first row. */
export const start: Head = { seq: 0, leafHash: Row.zeroHash, id: null, eventHash: null }

/** A row that does not continue the rows before it, or whose hashes are not its content's. */
export class ChainBroken extends Schema.TaggedError<ChainBroken>()("ChainBroken", {
  seq: Schema.Int,
  id: Schema.String,
  link: Schema.Literals(["payload_hash", "event_hash", "prev_event_hash", "prev_line_hash"]),
  expected: Schema.NullOr(Schema.String),
  actual: Schema.NullOr(Schema.String)
}) {
  override get message(): string {
    return (
      `row ${this.seq} (${this.id}) breaks the chain at ${this.link}: expected ${this.expected}, ` +
      `found ${this.actual}. Treat it as tampering until it is explained; verify names every row.`
    )
  }
}

/** The head after this event, whatever it links to. */
export const headOf = (event: Event): Head => ({
  seq: event.seq,
  leafHash: event.leafHash,
  id: event.id,
  eventHash: event.eventHash
})

/** The links of an event that do not point at `head`. */
const brokenLinks = (head: Head, event: Event): ReadonlyArray<ChainBroken> => {
  const { seq, id, prevEventHash, prevLineHash } = event
  const broken: Array<ChainBroken> = []
  if (prevEventHash !== head.eventHash) {
    const sides = { expected: head.eventHash, actual: prevEventHash }
    broken.push(new ChainBroken({ seq, id, link: "prev_event_hash", ...sides }))
  }
  if (prevLineHash !== undefined && prevLineHash !== head.leafHash) {
    const sides = { expected: head.leafHash, actual: prevLineHash }
    broken.push(new ChainBroken({ seq, id, link: "prev_line_hash", ...sides }))
  }
  return broken
}

/** Check an event's own hashes and its links to `head`; the head after it, or the first break. */
export const extend = (
  head: Head,
  event: Event,
  hashes: Hashes.Hashes = Hashes.noble
): Result.Result<Head, ChainBroken> => {
  const seal = Seal.check(event, hashes)
  if (Result.isFailure(seal)) {
    const { seq, id, which: link, expected, actual } = seal.failure
    return Result.fail(new ChainBroken({ seq, id, link, expected, actual }))
  }
  const [broken] = brokenLinks(head, event)
  return broken === undefined ? Result.succeed(headOf(event)) : Result.fail(broken)
}

/** What a verifier is told about the rows that come. */
export interface VerifierOptions {
  readonly path: string
  readonly format: Row.Format
  /**
   * Where the run begins: behind this head, or `itself` where nothing is known of the row before it,
   * so that its first row is believed. Default the first row of a ledger.
   */
  readonly from?: Head | { readonly itself: number } | undefined
  /** The most failures and remarks that are listed; all are counted. Default 1,000. */
  readonly failuresMax?: number | undefined
  readonly hashes?: Hashes.Hashes | undefined
  /** Whose signatures the rows must have; without it none is looked at. */
  readonly signatures?: Signatures | undefined
}

/** The lineage before the rows that come, and how it is followed. */
export interface Signatures extends Omit<Signing.Following, "genesis"> {
  readonly signing: Signing.Signing
  /** Whether the key was given by whoever asks, rather than stated by the ledger itself. */
  readonly isGiven: boolean
  /** Whether nobody knows what the first signature rests on, so that `verify` takes it for right. */
  readonly isFirstBelieved?: boolean | undefined
}

const failuresMaxDefault = 1_000

/** Verifies lines one by one; `report` may be asked at any time and says what was seen so far. */
export class Verifier {
  private readonly options: VerifierOptions
  private readonly hashes: Hashes.Hashes
  private readonly failures: Array<Failure> = []
  private readonly remarks: Array<Failure> = []
  private failureCount = 0
  private failedLevels = new Set<Level>()
  /** What the next row must link to; undefined after a line that could not be read. */
  private expected: Head | undefined = start
  private head: Head = start
  private group: { readonly next: number; readonly size: number } | undefined
  private withLineHash = 0
  /** How many rows lie before the run. */
  private readonly first: number
  /** The line that was taken last. */
  private line: Line | undefined
  private readonly follower: Follower | undefined
  /** The first row that carries a signature. */
  private signedSeq: number | undefined
  rows = 0

  constructor(options: VerifierOptions) {
    this.options = options
    this.hashes = options.hashes ?? Hashes.noble
    const { from = start } = options
    if ("itself" in from) {
      this.expected = undefined
      this.rows = from.itself - 1
    } else {
      this.expected = from
      this.head = from
      this.rows = from.seq
    }
    this.first = this.rows
    const { signatures } = options
    if (signatures !== undefined) {
      this.follower = new Follower({ _tag: "Signed", signing: signatures.signing }, signatures)
    }
  }

  /** The lineage behind the last row, where signatures are judged. */
  get signing(): Signing.Signing | undefined {
    return this.follower?.state._tag === "Signed" ? this.follower.state.signing : undefined
  }

  /** The head of the last row that could be read. */
  get last(): Head {
    return this.head
  }

  /** Take the next line of the run. Returns its event where it could be read. */
  push(line: Line): Event | undefined {
    const { format } = this.options
    this.line = line
    if (line.length === 0 || (format === "cortex" && !line.tooLong && isBlank(line.bytes))) {
      if (format === "segments") this.fail("rows", line, "", kind("blank_line", "a row", "nothing"))
      return undefined
    }
    this.rows++
    if (line.tooLong) {
      this.unreadable(line, kind("line_too_long", `at most ${line.bytesMax} bytes`, "more"))
      return undefined
    }
    const row = Row.decode(line.bytes, this.rows, format, this.hashes)
    if (Result.isFailure(row)) {
      const { kind: name, place, expected, actual } = row.failure
      const torn = !line.terminated && name === "row_unreadable"
      this.unreadable(line, kind(torn ? "torn_tail" : name, `${place}: ${expected}`, actual))
      return undefined
    }
    const event = row.success.event
    if (!line.terminated && format === "segments") {
      this.fail("rows", line, event.id, kind("line_unterminated", "LF", "the end of the file"))
    }
    if (event.schemaVersion !== 1 && event.schemaVersion !== 2) {
      const reason = {
        kind: "unknown_event_schema_version",
        expected: 1,
        actual: event.schemaVersion
      }
      this.fail("rows", line, event.id, reason)
      if (format === "cortex") {
        // As the original: such a row is not looked into, and the next one must link past it.
        this.head = headOf(event)
        return event
      }
    }
    this.checkSeal(event, line)
    this.checkLinks(event, line)
    if (format === "segments") this.checkGroup(event, line)
    this.checkSignature(event, line)
    if (event.prevLineHash !== undefined) this.withLineHash++
    this.head = headOf(event)
    this.expected = this.head
    return event
  }

  /** A finding of another level, told by whoever looked there; of the last row, or that of `seq`. */
  fail(
    level: Level,
    line: Line | undefined,
    eventId: string,
    reason: Reason,
    seq: number = this.rows
  ): void {
    this.failureCount++
    this.failedLevels.add(level)
    this.list(this.failures, level, line, eventId, reason, seq)
  }

  /** Whether anything of a level was found so far. */
  hasFailed(level: Level): boolean {
    return this.failedLevels.has(level)
  }

  /** Something a reader should know that is no damage. */
  remark(level: Level, line: Line | undefined, eventId: string, reason: Reason): void {
    this.list(this.remarks, level, line, eventId, reason, this.rows)
  }

  /** Says that the run ends here: a group must not be left open, unless it may be `inFlight`. */
  end(inFlight = false): void {
    if (this.group === undefined) return
    const { next, size } = this.group
    this.group = undefined
    const eventId = this.head.id ?? ""
    if (inFlight) {
      this.remark("rows", this.line, eventId, kind("in_flight", `${size} rows`, `${next} rows`))
    } else {
      this.fail(
        "rows",
        this.line,
        eventId,
        kind("group_incomplete", `${size} rows`, `${next} rows`)
      )
    }
  }

  report(skipped: ReadonlyArray<Level>, proven: Proven = {}): VerifyReport {
    const checks = new Map<Level, "Passed" | "Failed" | "Skipped">()
    const levels: ReadonlyArray<Level> = [
      "rows",
      "seal",
      "lines",
      "signatures",
      "parents",
      "index",
      "parity",
      "checkpoints"
    ]
    const { signatures } = this.options
    const noSignatures = this.follower === undefined || this.follower.judged === 0
    const noLines = this.options.format === "cortex" && this.withLineHash < this.rows - this.first
    for (const level of levels) {
      const skip =
        skipped.includes(level) ||
        (level === "lines" && noLines) ||
        (level === "signatures" && noSignatures)
      checks.set(level, this.failedLevels.has(level) ? "Failed" : skip ? "Skipped" : "Passed")
    }
    const believedSeq = signatures?.isFirstBelieved === true ? this.signedSeq : undefined
    const common = {
      path: this.options.path,
      rows: this.rows - this.first,
      head: this.head,
      checks: Object.fromEntries(checks),
      remarks: this.remarks,
      notProven: notProven(checks, this.options.format, {
        ...proven,
        isUnchecked: this.signedSeq !== undefined && noSignatures,
        believedSeq,
        signer: signatures && {
          key: signatures.signing.firstPublicKey,
          isGiven: signatures.isGiven,
          firstSeq: signatures.signing.firstSeq
        }
      })
    }
    return this.failureCount === 0
      ? new Intact(common)
      : new Damaged({ ...common, failures: this.failures, failureCount: this.failureCount })
  }

  private list(
    into: Array<Failure>,
    level: Level,
    line: Line | undefined,
    eventId: string,
    reason: Reason,
    seq: number
  ): void {
    if (into.length >= (this.options.failuresMax ?? failuresMaxDefault)) return
    into.push(
      new Failure({
        level,
        seq,
        line: line?.number ?? 0,
        eventId,
        path: line?.path ?? this.options.path,
        offset: line?.offset ?? 0,
        reason
      })
    )
  }

  private unreadable(line: Line, reason: Reason): void {
    this.fail("rows", line, "", reason)
    this.expected = undefined
    this.group = undefined
  }

  private checkSeal(event: Event, line: Line): void {
    const payload = Seal.checkPayload(event, this.hashes)
    if (Result.isFailure(payload)) {
      this.fail("seal", line, event.id, hashBreak(payload.failure))
    } else if (payload.success === "respelled") {
      this.remark(
        "seal",
        line,
        event.id,
        kind("payload_respelled", "the text that was hashed", "another spelling")
      )
    }
    const hash = Seal.checkEventHash(event, this.hashes)
    if (Result.isFailure(hash)) this.fail("seal", line, event.id, hashBreak(hash.failure))
  }

  private checkSignature(event: Event, line: Line): void {
    if (event.signature !== undefined) this.signedSeq ??= event.seq
    const found = this.follower?.take(event)
    if (found === undefined) return
    const { failure, remarks } = found
    if (failure !== undefined) this.fail("signatures", line, event.id, failure.reason)
    for (const reason of remarks) this.remark("signatures", line, event.id, reason)
  }

  private checkLinks(event: Event, line: Line): void {
    if (this.expected === undefined) return
    for (const { link, expected, actual } of brokenLinks(this.expected, event)) {
      const level = link === "prev_line_hash" ? "lines" : "seal"
      const name = link === "prev_line_hash" ? "line_hash_break" : "orphan"
      this.fail(level, line, event.id, { kind: name, expected, actual })
    }
  }

  private checkGroup(event: Event, line: Line): void {
    const [index, size] = event.batch ?? [0, 1]
    const open = this.group
    this.group = index + 1 < size ? { next: index + 1, size } : undefined
    if (this.expected === undefined) return
    const [next, of] = open === undefined ? [0, size] : [open.next, open.size]
    if (index !== next || size !== of) {
      const reason = kind("group_broken", `row ${next} of ${of}`, `row ${index} of ${size}`)
      this.fail("rows", line, event.id, reason)
    }
  }
}

const kind = (name: string, expected: string, actual: string): Reason => ({
  kind: name,
  expected,
  actual
})

const hashBreak = ({ which, expected, actual }: Seal.SealMismatch): Reason => ({
  kind: "hash_break",
  which: `${which}_mismatch`,
  expected,
  actual
})

// Rust's `str::trim` decides in the original which lines are blank: Unicode White_Space, which
// has U+0085 and lacks U+FEFF, where JavaScript's trim has it the other way round.
const blank = /^[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*$/

const lenient = new TextDecoder("utf-8", { ignoreBOM: true })

/** Whether the original leaves this line out: nothing on it but white space. */
export const isBlank = (line: Uint8Array): boolean => {
  const first = line[0] ?? 0x20
  // Only ASCII spaces and the four lead bytes of all others are worth decoding the line for.
  const isSpace = first <= 0x20 || first === 0xc2 || (first >= 0xe1 && first <= 0xe3)
  return isSpace && blank.test(lenient.decode(line))
}

/** Verify lines that are at hand: all an auditor needs. */
export const verify = (lines: Iterable<Line>, options: VerifierOptions): VerifyReport => {
  const verifier = new Verifier(options)
  for (const line of lines) verifier.push(line)
  verifier.end()
  return verifier.report(["parents", "index", "parity", "checkpoints"])
}
