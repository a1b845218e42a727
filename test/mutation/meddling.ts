/**
 * Every change of the mirror that one SQL statement makes: each column of each row, each row gone,
 * rows that nobody wrote.
 */
import { isExhaustive } from "./turns.ts"

export interface Meddling {
  readonly statement: string
  readonly table: string
  /** Undefined where a row was deleted or added. */
  readonly column: string | undefined
  /** The row of the journal that it is about; undefined where there is none. */
  readonly seq: number | undefined
  /** Whether verification may leave it unseen: the same fact, spelled otherwise, or none of ours. */
  readonly isRespelling: boolean
}

/** A row of the mirror: how SQL finds it, and which row of the journal it is about. */
export interface MirrorRow {
  readonly table: string
  readonly where: string
  readonly seq: number
}

export const columns: { readonly [table: string]: ReadonlyArray<string> } = {
  events: [
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
    "event_hash",
    "source_attestation_json"
  ],
  sealog_index: [
    "seq",
    "event_id",
    "parent_seq",
    "event_type",
    "session_id",
    "trace_id",
    "segment",
    "byte_offset",
    "byte_length",
    "leaf_hash",
    "observed_at"
  ],
  sealog_keys: ["name", "value", "seq"],
  sealog_times: ["block", "first", "last"]
}

/** Other values for a column; `self` is what it holds. */
const values: ReadonlyArray<string> = [
  "'x'",
  "''",
  "NULL",
  "x'00'",
  "0",
  "-1",
  "2.5",
  "9007199254740993",
  "-9223372036854775808",
  "1e308",
  "self || ' '",
  "CAST(self AS BLOB)",
  "upper(self)",
  "lower(self)",
  "self || char(0)",
  "self + 1",
  "replace(self, '+00:00', 'Z')"
]

/** Those of them that no reader expects. */
export const oddValues: ReadonlyArray<string> = [
  "'x'",
  "NULL",
  "x'00'",
  "-1",
  "9007199254740993",
  "-9223372036854775808",
  "1e308",
  "CAST(self AS BLOB)"
]

const respellings: { readonly [value: string]: ReadonlyArray<string> } = {
  "self || ' '": ["source_json", "domain_tags_json", "payload_json"],
  "lower(self)": ["observed_at", "recorded_at", "trace_id"],
  "replace(self, '+00:00', 'Z')": ["observed_at", "recorded_at"]
}

const isRespelled = (table: string, column: string, value: string): boolean =>
  table === "events" &&
  (column === "source_attestation_json" || (respellings[value]?.includes(column) ?? false))

/** The row gone; every column changed to these values, by default to every second of all. */
export function* rowMeddlings(
  { seq, table, where }: MirrorRow,
  some?: ReadonlyArray<string>
): Generator<Meddling> {
  const about = { table, seq, isRespelling: false }
  yield { ...about, statement: `DELETE FROM ${table} WHERE ${where}`, column: undefined }
  for (const [nth, column] of (columns[table] ?? []).entries()) {
    const isEach = isExhaustive || some !== undefined || column === "seq"
    for (const [at, value] of (some ?? values).entries()) {
      if (!isEach && (at + nth + seq) % 2 === 0) continue
      const to = value.replaceAll("self", column)
      const statement = `UPDATE ${table} SET ${column} = ${to} WHERE ${where}`
      yield { ...about, statement, column, isRespelling: isRespelled(table, column, value) }
    }
  }
}

/** Rows that no journal has, in each table. */
export function* strays(newest: number): Generator<Meddling> {
  const about = { column: undefined, seq: undefined, isRespelling: false }
  for (const id of ["'x'", "''", "NULL", "x'00'", "x''", "5"]) {
    for (const hash of ["'h'", "x'00'"]) {
      const statement = `INSERT INTO events SELECT ${id}, schema_version, observed_at, recorded_at,
        source_json, event_type, trace_id, session_id, domain_tags_json, payload_json,
        payload_hash, prev_event_hash, ${hash}, NULL FROM events LIMIT 1`
      yield { ...about, table: "events", statement }
    }
  }
  const seqs = [-9223372036854775808n, -1, 0, newest + 1, newest + 2, 9007199254740991]
  for (const seq of [...seqs, 9223372036854775807n]) {
    for (const place of ["1, 0, 5", "4, 0, 5", "0, 0, 0", "-1, -1, -1", "'x', 'x', 'x'"]) {
      const row = `${seq}, 'evt_x', NULL, 'a.v1', NULL, NULL, ${place}, 'x', ''`
      const statement = `INSERT INTO sealog_index VALUES (${row})`
      yield { ...about, table: "sealog_index", statement }
    }
  }
  for (const block of [-1, 1, 2, 9007199254740991, 9223372036854775807n]) {
    const statement = `INSERT INTO sealog_times VALUES (${block}, '2026', '2027')`
    yield { ...about, table: "sealog_times", statement }
  }
  const odd = ["'x'", "x'00'", "2.5", "9223372036854775807"]
  for (const seq of [0, -1, 1, newest, newest + 1, newest + 99, ...odd]) {
    for (const key of ["'n', 'v'", "'', ''", "x'00', 5"]) {
      const statement = `INSERT INTO sealog_keys VALUES (${key}, ${seq})`
      yield { ...about, table: "sealog_keys", statement }
    }
  }
}
