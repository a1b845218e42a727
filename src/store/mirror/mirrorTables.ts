/**
 * Internal: the tables of the SQL leg, and how older ones become these.
 *
 *   events         exactly Cortex's columns and constraints; times in its SQL form (`+00:00`)
 *   sealog_index   one row per row of the journal: seq, id, parent's seq, type, session, trace,
 *                  segment (its first seq; 0 in Cortex mode), byte_offset, byte_length, leaf_hash,
 *                  observed_at (without its zone, so that text orders it)
 *   sealog_keys    (name, value, seq): what an application queries by
 *   sealog_times   (block, first, last): see `TimeBlocks`
 *   sealog_state   (name, seq, value): what is known up to a row; `tree` is the Merkle frontier
 *   sealog_views   how far each view is: see `viewState`
 *
 * Table and column names are on disk: they change by migration alone.
 */
import { Effect } from "effect"
import { Migrator, SqlClient } from "effect/sql"
import { MirrorError, mirrorError } from "../errors.ts"
import * as ViewState from "../views/viewState.ts"
import * as TimeBlocks from "./TimeBlocks.ts"

const eventsTable = `CREATE TABLE IF NOT EXISTS events (
    id TEXT PRIMARY KEY,
    schema_version INTEGER NOT NULL,
    observed_at TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    source_json TEXT NOT NULL CHECK (json_valid(source_json)),
    event_type TEXT NOT NULL,
    trace_id TEXT NULL,
    session_id TEXT NULL,
    domain_tags_json TEXT NOT NULL CHECK (json_valid(domain_tags_json)),
    payload_json TEXT NOT NULL CHECK (json_valid(payload_json)),
    payload_hash TEXT NOT NULL,
    prev_event_hash TEXT NULL,
    event_hash TEXT NOT NULL UNIQUE,
    source_attestation_json TEXT NULL CHECK (
        source_attestation_json IS NULL OR json_valid(source_attestation_json)
    )
)`

const indexTable = `CREATE TABLE sealog_index (
    seq INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    parent_seq INTEGER NULL,
    event_type TEXT NOT NULL,
    session_id TEXT NULL,
    trace_id TEXT NULL,
    segment INTEGER NOT NULL,
    byte_offset INTEGER NOT NULL,
    byte_length INTEGER NOT NULL,
    leaf_hash TEXT NOT NULL
)`

const keysTable = `CREATE TABLE sealog_keys (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (name, value, seq)
) WITHOUT ROWID`

// Where rows have no parents it costs nothing.
const parentIndex = `CREATE INDEX sealog_index_parent ON sealog_index (parent_seq)
    WHERE parent_seq IS NOT NULL`

const stateTable = `CREATE TABLE sealog_state (
    name TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    value TEXT NOT NULL
)`

// What queries ask for. Each index has the seq at its end, as every index of SQLite has the row's id.
const queryIndexes = [
  "CREATE INDEX sealog_index_type ON sealog_index (event_type)",
  `CREATE INDEX sealog_index_session ON sealog_index (session_id) WHERE session_id IS NOT NULL`,
  `CREATE INDEX sealog_index_trace ON sealog_index (trace_id) WHERE trace_id IS NOT NULL`
]

const timeColumn = `ALTER TABLE sealog_index ADD COLUMN observed_at TEXT NOT NULL DEFAULT ''`

// As `Timestamp.toOrdered` has it: the zone, and the sign of a year beyond 9999, are the same in all.
const fillTimes = `UPDATE sealog_index SET observed_at = coalesce((
    SELECT CASE WHEN substr(e.observed_at, 1, 1) = '+'
      THEN ':' || substr(e.observed_at, 2, length(e.observed_at) - 7)
      ELSE substr(e.observed_at, 1, length(e.observed_at) - 6) END
    FROM events e WHERE e.id = sealog_index.event_id
  ), '')`

const createEvents = Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe(eventsTable))

const createIndex = Effect.flatMap(SqlClient.SqlClient, (sql) =>
  Effect.andThen(sql.unsafe(indexTable), sql.unsafe(keysTable))
)

const createState = Effect.flatMap(SqlClient.SqlClient, (sql) =>
  Effect.andThen(sql.unsafe(parentIndex), sql.unsafe(stateTable))
)

const createQueries = Effect.flatMap(SqlClient.SqlClient, (sql) =>
  Effect.gen(function* () {
    for (const text of [timeColumn, fillTimes, ...queryIndexes]) yield* sql.unsafe(text)
    yield* TimeBlocks.create(sql)
  })
)

const migrations = {
  "0001_events": createEvents,
  "0002_index": createIndex,
  "0003_state": createState,
  "0004_queries": createQueries,
  "0005_views": Effect.flatMap(SqlClient.SqlClient, ViewState.create)
}

/** The number of the newest migration. */
export const version = Object.keys(migrations).length

/** Bring a mirror's tables up to this version. */
export const migrate: Effect.Effect<void, MirrorError, SqlClient.SqlClient> = Migrator.make({})({
  loader: Migrator.fromRecord(migrations),
  table: "sealog_migrations"
}).pipe(
  Effect.mapError(
    (cause) =>
      new MirrorError({
        operation: "prepare its tables",
        cause,
        hint: "If it is no SQLite database: close the ledger, move it away and open again."
      })
  )
)

/** Make `events` where it is missing, and nothing else: for a database that Cortex made. */
export const prepareEvents: Effect.Effect<void, MirrorError, SqlClient.SqlClient> =
  createEvents.pipe(Effect.mapError(mirrorError("make the table events")))
