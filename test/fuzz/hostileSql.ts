/**
 * What another hand may do to a database: values of any type in any column, tables without their
 * constraints or of another shape, rows too many or too few. SQLite keeps to no column's type, so
 * whoever reads a row must not either.
 */
import type { Choices } from "./choices.ts"

/** Values as SQL spells them, those that a column's type would not turn into others among them. */
const values = [
  "NULL",
  "0",
  "1",
  "2",
  "3",
  "-1",
  "1.5",
  "9e999",
  "-9e999",
  "''",
  "'1'",
  "'abc'"
].concat(
  ["x''", "x'00ff'", "x'31'", "9007199254740991", "9007199254740992", "9223372036854775807"],
  ["-9223372036854775808", "char(0)", "'a' || char(0) || 'b'", "' 5'", "'5.0'", "'\u00e9'"],
  ["CAST(x'ff' AS TEXT)", "CAST(x'eda080' AS TEXT)", "printf('%.*c', 100000, 'x')"],
  ["'[]'", "'{}'", "'null'", '\'{"type":"user","type":"user"}\'', '\'{"a":1,"a":1}\''],
  ["'\"\\ud800\"'", "'1e400'", "replace(hex(zeroblob(200)), '00', '[')", "'2026-04-01T10:00:00Z'"],
  ["'+10000-01-01T00:00:00+00:00'", "'evt_00000000000000000000000000'", "printf('%064d', 0)"]
)

/** The columns of `events`, in their order. */
export const eventColumns: ReadonlyArray<string> = ["id", "schema_version", "observed_at"].concat(
  ["recorded_at", "source_json", "event_type", "trace_id", "session_id", "domain_tags_json"],
  ["payload_json", "payload_hash", "prev_event_hash", "event_hash", "source_attestation_json"]
)

const columns: { readonly [table: string]: ReadonlyArray<string> } = {
  events: eventColumns,
  sealog_index: ["seq", "event_id", "parent_seq", "event_type", "session_id", "trace_id"].concat([
    "segment",
    "byte_offset",
    "byte_length",
    "leaf_hash",
    "observed_at"
  ]),
  sealog_keys: ["name", "value", "seq"],
  sealog_times: ["block", "first", "last"],
  sealog_migrations: ["migration_id", "created_at", "name"]
}

/** The table with the same rows and neither types nor constraints. */
export const loosened = (table: string): ReadonlyArray<string> => {
  const names = (columns[table] ?? []).join(", ")
  return [
    `CREATE TABLE loose (${names})`,
    `INSERT INTO loose SELECT ${names} FROM ${table}`,
    `DROP TABLE ${table}`,
    `ALTER TABLE loose RENAME TO ${table}`
  ]
}

const someTable = (c: Choices): string =>
  c.pick(
    ["sealog_index", "events", "sealog_index", "events"].concat([
      "sealog_keys",
      "sealog_times",
      "sealog_migrations"
    ])
  )

/** One or more rows of a table that the fixture has so many rows in. */
const where = (c: Choices): string =>
  c.pick(["", " ORDER BY rowid DESC LIMIT 1", " ORDER BY rowid LIMIT 1", " LIMIT 3"])

const update = (c: Choices, table: string): string => {
  const column = c.pick(columns[table] ?? [])
  const rows = `SELECT rowid FROM ${table}${where(c)}`
  return `UPDATE OR IGNORE ${table} SET ${column} = ${c.pick(values)} WHERE rowid IN (${rows})`
}

const insert = (c: Choices, table: string): string => {
  const names = columns[table] ?? []
  const changed = c.pick(names)
  const selected = names.map((name) => (name === changed ? c.pick(values) : name)).join(", ")
  return `INSERT OR IGNORE INTO ${table} (${names.join(", ")}) SELECT ${selected} FROM ${table} LIMIT 2`
}

const other = (c: Choices, table: string): string =>
  c.pick([
    `DROP TABLE ${table}`,
    `DELETE FROM ${table}`,
    `DELETE FROM ${table} WHERE rowid IN (SELECT rowid FROM ${table}${where(c)})`,
    `ALTER TABLE ${table} ADD COLUMN extra DEFAULT x'00'`,
    `ALTER TABLE ${table} RENAME COLUMN ${c.pick(columns[table] ?? [])} TO renamed`,
    `CREATE TRIGGER t BEFORE INSERT ON ${table} BEGIN SELECT RAISE(ABORT, 'no'); END`,
    `CREATE TRIGGER t BEFORE INSERT ON ${table} BEGIN SELECT RAISE(ROLLBACK, 'no'); END`,
    `CREATE TRIGGER t BEFORE INSERT ON ${table} BEGIN SELECT RAISE(IGNORE); END`,
    `CREATE TABLE kept AS SELECT * FROM ${table}; DROP TABLE ${table}; CREATE VIEW ${table} AS SELECT * FROM kept`,
    "PRAGMA user_version = 77",
    "PRAGMA application_id = 77"
  ])

/** A few statements that leave a mirror, or a table like Cortex's, as no program would. */
export const hostileStatements = (
  c: Choices,
  tables: (c: Choices) => string = someTable
): ReadonlyArray<string> => {
  const statements: Array<string> = ["PRAGMA ignore_check_constraints = ON"]
  for (let times = 1 + c.below(2); times > 0; times--) {
    const table = tables(c)
    if (c.below(2) === 1) statements.push(...loosened(table))
    const kind = c.below(8)
    statements.push(kind < 5 ? update(c, table) : kind < 7 ? insert(c, table) : other(c, table))
  }
  return statements
}
