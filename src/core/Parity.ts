/**
 * Parity: both legs hold the same events.
 *
 * The mirror's row has the thirteen columns of Cortex's `events` table: JSON in text columns, times
 * with `+00:00` in place of `Z`. Two rows are the same when the original decodes them to the same
 * event, so spacing, member order and spelling of times do not count; the payload does count as
 * text first, and only then as the original reads it. A member that is there twice, and one that
 * no source has, do count: SQL may read them otherwise.
 */
import { Result, Schema } from "effect"
import * as Json from "./CanonicalJson.ts"
import type { Event } from "./Event.ts"
import { sourceText } from "./Event.ts"
import * as EventId from "./EventId.ts"
import * as jsonText from "./jsonText.ts"
import * as Timestamp from "./Timestamp.ts"

/** A row of `events`, column by column. */
export interface MirrorRow {
  readonly id: string
  readonly schema_version: number
  readonly observed_at: string
  readonly recorded_at: string
  readonly source_json: string
  readonly event_type: string
  readonly trace_id: string | null
  readonly session_id: string | null
  readonly domain_tags_json: string
  readonly payload_json: string
  readonly payload_hash: string
  readonly prev_event_hash: string | null
  readonly event_hash: string
}

/** The columns of `MirrorRow`, in the order of the table. */
export const columns = [
  "id",
  "schema_version",
  "observed_at",
  "recorded_at",
  "source_json",
  "event_type",
  "trace_id",
  "session_id",
  "domain_tags_json",
  "payload_json",
  "payload_hash",
  "prev_event_hash",
  "event_hash"
] as const satisfies ReadonlyArray<keyof MirrorRow>

/** What of an event the mirror's `events` table holds. */
export type Mirrored = Pick<
  Event,
  | "id"
  | "schemaVersion"
  | "observedAt"
  | "recordedAt"
  | "source"
  | "type"
  | "traceId"
  | "sessionId"
  | "domainTags"
  | "payloadText"
  | "payloadHash"
  | "prevEventHash"
  | "eventHash"
>

const sqlTime = (text: string): string => {
  const parsed = Timestamp.parse(text)
  return Result.isSuccess(parsed) ? Timestamp.toSql(parsed.success) : text
}

/** The columns of an event, as Cortex writes them. */
export const rowOf = (event: Mirrored): MirrorRow => ({
  id: event.id,
  schema_version: event.schemaVersion,
  observed_at: sqlTime(event.observedAt),
  recorded_at: sqlTime(event.recordedAt),
  source_json: sourceText(event.source),
  event_type: event.type,
  trace_id: event.traceId,
  session_id: event.sessionId,
  domain_tags_json: `[${event.domainTags.map(Json.quote).join(",")}]`,
  payload_json: event.payloadText,
  payload_hash: event.payloadHash,
  prev_event_hash: event.prevEventHash,
  event_hash: event.eventHash
})

const jsonColumns: ReadonlySet<string> = new Set([
  "source_json",
  "domain_tags_json",
  "payload_json"
])
const timeColumns: ReadonlySet<string> = new Set(["observed_at", "recorded_at"])

/** Undefined for a text that two readers may understand in two ways, or not at all. */
const asCortexReads = (text: string): string | undefined => {
  if (Result.isFailure(jsonText.check(text, jsonText.strict))) return undefined
  const read = Json.ofCortex(text)
  return Result.isSuccess(read) ? read.success : undefined
}

const sameColumn = (name: keyof MirrorRow, journal: MirrorRow, mirror: MirrorRow): boolean => {
  const a = journal[name]
  const b = mirror[name]
  if (a === b) return true
  if (typeof a !== "string" || typeof b !== "string") return false
  if (timeColumns.has(name)) {
    const [x, y] = [Timestamp.fromSql(a), Timestamp.fromSql(b)]
    return Result.isSuccess(x) && Result.isSuccess(y) && x.success === y.success
  }
  if (jsonColumns.has(name)) {
    const [x, y] = [asCortexReads(a), asCortexReads(b)]
    return x !== undefined && x === y
  }
  if (name === "trace_id") {
    const parsed = EventId.parseTraceId(b)
    return Result.isSuccess(parsed) && parsed.success === a
  }
  return false
}

/** The columns in which a journal's event and a mirror's row differ; empty when they agree. */
export const differences = (event: Mirrored, mirror: MirrorRow): ReadonlyArray<string> => {
  const journal = rowOf(event)
  return columns.filter((name) => !sameColumn(name, journal, mirror))
}

/** An id that both legs hold with different content. */
export const Mismatch = Schema.Struct({
  id: Schema.String,
  jsonlEventHash: Schema.String,
  sqliteEventHash: Schema.String
})
export type Mismatch = typeof Mismatch.Type

/** The most ids that each list of a report holds where nothing else is said; all are counted. */
export const listMaxDefault = 1_000

/** Counts of both legs and what they do not share. Lists hold the first `listMax`, counts all. */
export class ParityReport extends Schema.Class<ParityReport>("sealog/ParityReport")({
  jsonlEventCount: Schema.Int,
  sqliteEventCount: Schema.Int,
  missingInSqlite: Schema.Array(Schema.String),
  missingInJsonl: Schema.Array(Schema.String),
  mismatched: Schema.Array(Mismatch),
  missingInSqliteCount: Schema.Int,
  missingInJsonlCount: Schema.Int,
  mismatchedCount: Schema.Int
}) {
  /** Whether both legs hold the same rows. */
  get isConsistent(): boolean {
    return this.missingInSqliteCount + this.missingInJsonlCount + this.mismatchedCount === 0
  }
}

/** Gathers a report as rows come; lists end up in the order of their ids, as the original's. */
export class Tally {
  private readonly listMax: number
  private readonly missingInSqlite: Array<string> = []
  private readonly missingInJsonl: Array<string> = []
  private readonly mismatched: Array<Mismatch> = []
  private counts = { missingInSqlite: 0, missingInJsonl: 0, mismatched: 0 }
  private journal = 0
  private mirror = 0

  constructor(listMax: number = listMaxDefault) {
    this.listMax = listMax
  }

  /** An event of the journal and the mirror's row of the same id, where there is one. */
  journalEvent(event: Mirrored, row: MirrorRow | undefined): void {
    this.journal++
    if (row === undefined) {
      this.counts.missingInSqlite++
      if (this.missingInSqlite.length < this.listMax) this.missingInSqlite.push(event.id)
      return
    }
    this.mirror++
    if (differences(event, row).length === 0) return
    this.counts.mismatched++
    if (this.mismatched.length < this.listMax) {
      const { id, eventHash: jsonlEventHash } = event
      this.mismatched.push({ id, jsonlEventHash, sqliteEventHash: String(row.event_hash) })
    }
  }

  /** A row of the mirror whose id the journal does not hold. */
  mirrorOnly(id: string): void {
    this.mirror++
    this.counts.missingInJsonl++
    if (this.missingInJsonl.length < this.listMax) this.missingInJsonl.push(String(id))
  }

  report(): ParityReport {
    const byId = (a: { readonly id: string }, b: { readonly id: string }) => (a.id < b.id ? -1 : 1)
    return new ParityReport({
      jsonlEventCount: this.journal,
      sqliteEventCount: this.mirror,
      missingInSqlite: this.missingInSqlite.toSorted(),
      missingInJsonl: this.missingInJsonl.toSorted(),
      mismatched: this.mismatched.toSorted(byId),
      missingInSqliteCount: this.counts.missingInSqlite,
      missingInJsonlCount: this.counts.missingInJsonl,
      mismatchedCount: this.counts.mismatched
    })
  }
}

/** Compare two sets at hand, in both directions. Ids must be unique in each. */
export const diff = (
  journal: Iterable<Mirrored>,
  mirror: Iterable<MirrorRow>,
  listMax: number = Number.POSITIVE_INFINITY
): ParityReport => {
  const rows = new Map<string, MirrorRow>()
  for (const row of mirror) rows.set(row.id, row)
  const tally = new Tally(listMax)
  for (const event of journal) {
    tally.journalEvent(event, rows.get(event.id))
    rows.delete(event.id)
  }
  for (const id of rows.keys()) tally.mirrorOnly(id)
  return tally.report()
}
