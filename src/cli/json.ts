/**
 * Reports as `--json` prints them: members in snake_case, in the shapes of the original.
 *
 * `line` of a failure counts rows, blank lines left out, as the original's audit does. Kinds that
 * the original has carry its member names; ours are `{kind, expected, actual}`. Scripts rely on
 * these shapes: members may be added, never renamed or left out.
 */
import { Schema } from "effect"
import type { Head } from "../core/Chain.ts"
import { Checkpoint } from "../core/Checkpoint.ts"
import type { Position } from "../core/Event.ts"
import { Manifest } from "../core/Manifest.ts"
import type { Operation } from "../core/Operation.ts"
import type { ParityReport } from "../core/Parity.ts"
import type { Failure, Reason, VerifyReport } from "../core/VerifyReport.ts"
import type { RepairPlan } from "../store/upkeep/Diagnosis.ts"
import type { BackupReport } from "../store/upkeep/Backup.ts"
import type { ImportReport } from "../store/writing/Import.ts"
import type { ReplayReport } from "../store/mirror/Replay.ts"
import type { Receipt } from "../store/writing/Receipt.ts"

const head = ({ seq, leafHash, id, eventHash }: Head) => ({
  seq,
  leaf_hash: leafHash,
  id,
  event_hash: eventHash
})

const reason = ({ kind, which, expected, actual }: Reason) => {
  switch (kind) {
    case "hash_break":
      return { kind, which, expected, observed: actual }
    case "orphan":
      return { kind, expected_prev: expected, observed_prev: actual }
    case "unknown_event_schema_version":
      return { kind, observed: actual, expected }
    default:
      return { kind, expected, actual }
  }
}

const failure = (found: Failure) => ({
  line: found.seq,
  event_id: found.eventId,
  reason: reason(found.reason)
})

/** Of one JSONL file: `{path, rows_scanned, failures}` and nothing else, as the original's audit. */
export const audit = (report: VerifyReport, path: string) => ({
  path,
  rows_scanned: report.rows,
  failures: report._tag === "Intact" ? [] : report.failures.map(failure)
})

const placed = (found: Failure) => ({
  ...failure(found),
  seq: found.seq,
  level: found.level,
  path: found.path,
  offset: found.offset
})

/** Of a ledger: what `audit` says, where each failure lies, and what was checked and proven. */
export const verification = (report: VerifyReport, path: string) => ({
  path,
  rows_scanned: report.rows,
  failures: report._tag === "Intact" ? [] : report.failures.map(placed),
  head: head(report.head),
  checks: report.checks,
  remarks: report.remarks.map(placed),
  not_proven: report.notProven
})

/** The original's parity report. */
export const parity = (report: ParityReport) => ({
  consistent: report.isConsistent,
  jsonl_event_count: report.jsonlEventCount,
  sqlite_event_count: report.sqliteEventCount,
  missing_in_sqlite: report.missingInSqlite,
  missing_in_jsonl: report.missingInJsonl,
  mismatched: report.mismatched.map(({ id, jsonlEventHash, sqliteEventHash }) => ({
    id,
    jsonl_event_hash: jsonlEventHash,
    sqlite_event_hash: sqliteEventHash
  }))
})

/** The original's replay report. */
export const replay = (report: ReplayReport) => ({
  replayed: report.replayed,
  skipped_existing: report.skippedExisting,
  parity: parity(report.parity)
})

/** The answer to one append. */
export const receipt = ({ _tag, seq, id, eventHash, leafHash }: Receipt) => ({
  tag: _tag,
  seq,
  id,
  event_hash: eventHash,
  leaf_hash: leafHash
})

/** What a backup holds. */
export const backup = ({ path, rows, bytes, head }: BackupReport) => ({
  path,
  rows,
  bytes,
  head: { seq: head.seq, leaf_hash: head.leafHash }
})

/** What an import did; `backup` says what an export holds. */
export const imported = (report: ImportReport) => ({
  operation: report.operation,
  lines: report.lines,
  appended: report.appended,
  existing: report.existing,
  refused: report.refused,
  problems: report.problems.map(({ line, reason }) => ({ line, reason })),
  bytes: report.bytes,
  sha256: report.sha256,
  head: { seq: report.head.seq, leaf_hash: report.head.leafHash }
})

/** A checkpoint, as on disk. */
export const checkpoint = Schema.encodeSync(Checkpoint)

/** A manifest, as on disk. */
export const manifest = Schema.encodeSync(Manifest)

const position = (at: Position | null) =>
  at === null ? null : { seq: at.seq, leaf_hash: at.leafHash }

/** Why a ledger does not open, and what a repair would do. */
export const repairPlan = (plan: RepairPlan) => ({
  ledger: plan.ledger,
  needed: plan.isNeeded,
  findings: plan.findings,
  remarks: plan.remarks,
  marker: plan.marker,
  to: position(plan.to),
  from: position(plan.from),
  cut: plan.cut,
  foreign: plan.foreign,
  checkpoints: plan.checkpoints,
  mirror_until: plan.mirrorUntil,
  mirror_unreadable: plan.isMirrorUnreadable,
  closes: plan.closes,
  pending: plan.pending
})

/** What was done to a ledger. */
export const operation = (done: Operation) => ({
  id: done.id,
  kind: done.kind,
  at: done.at,
  operator: done.operator,
  reason: done.reason,
  correlation_id: done.correlationId,
  state: done.state,
  outcome: done.outcome,
  error_class: done.errorClass,
  from: position(done.from),
  head: position(done.head),
  cut: done.cut,
  counts: done.counts
})
