/**
 * No text of SQL is ever made out of a value: every call that hands one over is listed here and
 * judged, so that a new one is looked at before it is believed.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"

const source = fileURLToPath(new URL("../../src/", import.meta.url))

const codeOf = (file: string): string =>
  fs
    .readFileSync(file, "utf8")
    .replace(/\/\*[\s\S]*?\*\//g, "")
    .replace(/(^|\s)\/\/.*$/gm, "$1")

/** The text from an opening parenthesis to the one that closes it, spaces made one. */
const upToClosing = (code: string, open: number): string => {
  let depth = 0
  for (let at = open; at < code.length; at++) {
    if (code[at] === "(") depth++
    else if (code[at] === ")" && --depth === 0) return code.slice(open + 1, at)
  }
  return code.slice(open)
}

const spaced = (text: string): string => text.replace(/\s+/g, " ").trim()

/** One text in quotes: nothing can be put into it. */
const isConstant = /^"[^"\\]*"$/

/** Every call that hands over a text as SQL, but for constants, as `file: call(argument, …)`. */
const calls = (folders: ReadonlyArray<string>): ReadonlyArray<string> =>
  folders.flatMap((folder) =>
    fs
      .readdirSync(path.join(source, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .toSorted()
      .flatMap((name) => {
        const code = codeOf(path.join(source, folder, name))
        const found = code.matchAll(/\b(unsafe|literal|prepare|exec|onDialect)(?:<[^()]*?>)?\(/g)
        return [...found].flatMap((match) => {
          const argument = spaced(upToClosing(code, match.index + match[0].length - 1))
          return isConstant.test(argument)
            ? []
            : [`${folder}/${path.basename(name)}: ${match[1]}(${argument})`]
        })
      })
  )

/**
 * Each of them, judged. What stands in braces is a constant of this code, a literal of its type, or
 * a number that is checked or made here; none is, or holds, a value of a draft or of a row.
 */
const judged: ReadonlyArray<readonly [call: RegExp, why: string]> = [
  [/^store\/FilePair\.ts: unsafe\(scratchTable\)$/, "constant of the module"],
  [/^store\/FilePair\.ts: unsafe\(`PRAGMA query_only\$\{value\}`\)$/, '"", "=OFF" or a Number()'],

  [
    /^store\/openLedger\.ts: unsafe\(`PRAGMA wal_checkpoint\(\$\{mode\}\)`\)$/,
    "one of two literals"
  ],
  [/^store\/mirrorTables\.ts: unsafe\((?:events|index|keys)Table\)$/, "constant of the module"],
  [/^store\/mirrorTables\.ts: unsafe\((?:stateTable|parentIndex)\)$/, "constant of the module"],
  [/^store\/mirrorTables\.ts: unsafe\(text\)$/, "constants of the module"],
  [/^store\/TimeBlocks\.ts: unsafe\((?:table|fill)\)$/, "constant of the module"],
  [/^store\/Leads\.ts: literal\(column\)$/, "one of three literals"],
  [/^store\/IndexScan\.ts: literal\(columns\)$/, "one of two literals"],
  [/^store\/MirrorCut\.ts: unsafe\(`PRAGMA synchronous = \$\{mode\}`\)$/, "one of two literals"],
  [
    /^store\/MirrorCut\.ts: unsafe\(`PRAGMA foreign_keys = \$\{isOn \? "ON" : "OFF"\}`\)$/,
    "two constants"
  ],
  // Names of a view's tables and columns have letters, digits and `_` alone, and are quoted; the types
  // of its columns are the application's own, as its code is.
  [/^store\/viewState\.ts: unsafe\(table\)$/, "constant of the module"],
  [/^store\/viewTables\.ts: unsafe\(creation\(sql, table, naming\)\)$/, "names and types"],
  [/^store\/viewTables\.ts: unsafe\(`(?:DROP|CREATE) INDEX (?:IF EXISTS )?\$\{called\}/, "names"],
  [/^store\/viewTables\.ts: unsafe\(`(?:DROP|ALTER) TABLE .*\$\{quoted\(/, "names"],
  [/^store\/Replay\.ts: literal\(table\)$/, "one of two literals, IndexTable"],
  [/^store\/statements\.ts: unsafe\(text, params\)$/, "texts of `remembered`, values bound"],
  [
    /^store\/VerifyMirror\.ts: unsafe\(`PRAGMA main\.integrity_check\(\$\{damageMax\}\)`\)$/,
    "a constant"
  ],
  [/^store\/VerifyMirror\.ts: unsafe\(text\)$/, "texts of `withNul`, constants of the module"],
  [/^platform\/OsLock\.ts: prepare\(sql\)$/, "constants of the module"],
  [/^platform\/SqliteClient\.ts: prepare\(sql\)$/, "pragmas of the module, see below"],
  [/^platform\/sqliteConnection\.ts: prepare\(sql(?:: string)?\)$/, "what a client was given"],
  // Regular expressions.
  [/^(?:store|platform|cli|core)\/\S+: exec\((?:text|body|fileName|code|intent|sql)\)$/, "no SQL"]
]

/** Texts that begin as SQL does and have something put into them, outside a client's template. */
const templates = (folders: ReadonlyArray<string>): ReadonlyArray<string> =>
  folders.flatMap((folder) =>
    fs
      .readdirSync(path.join(source, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .toSorted()
      .flatMap((name) =>
        [...codeOf(path.join(source, folder, name)).matchAll(sqlTemplate)].map(
          ([text]) => `${folder}/${path.basename(name)}: ${spaced(text)}`
        )
      )
  )

const verbs =
  "SELECT|INSERT|UPDATE|DELETE|CREATE|DROP|ALTER|PRAGMA|SAVEPOINT|RELEASE|ATTACH|BEGIN|VACUUM"

const sqlTemplate = new RegExp(`(?<![\\w>])\`\\s*(?:${verbs})\\b[^\`]*\\$\\{[^\`]*\``, "g")

const judgedTemplates: ReadonlyArray<string> = [
  // "", "=OFF" or a Number(); two constants; one of two literals.
  "store/FilePair.ts: `PRAGMA query_only${value}`",
  "store/openLedger.ts: `PRAGMA wal_checkpoint(${mode})`",
  "store/MirrorCut.ts: `PRAGMA synchronous = ${mode}`",
  // `all`, `ids`, `seqs` and `place(n)` are placeholders, made from a count.
  "store/IndexScan.ts: `SELECT * FROM sealog_index WHERE seq IN (${seqs})`",
  "store/MirrorSigning.ts: `INSERT INTO sealog_state (name, seq, value) VALUES ('lineage', ${place(1)}, ${place(2)}) ON CONFLICT (name) DO UPDATE SET seq = excluded.seq, value = excluded.value`",
  "store/MirrorTree.ts: `INSERT INTO sealog_state (name, seq, value) VALUES ('tree', ${place(1)}, ${place(2)}) ON CONFLICT (name) DO UPDATE SET seq = excluded.seq, value = excluded.value`",
  'store/Mirror.ts: `SELECT name, value, seq FROM sealog_keys WHERE ${all || "1 = 0"}`',
  "store/Mirror.ts: `SELECT * FROM sealog_index WHERE event_id IN (${ids})`",
  "store/Mirror.ts: `SELECT * FROM events WHERE id IN (${ids})`",
  // Columns are constants of the module and of Parity.
  "store/VerifyMirror.ts: `PRAGMA main.integrity_check(${damageMax})`",
  "store/VerifyMirror.ts: `SELECT coalesce(i.seq, 0) AS seq FROM events e LEFT JOIN sealog_index i ON i.event_id = e.id WHERE ${hasNul(Parity.columns.map((column) => `",
  'store/VerifyMirror.ts: `SELECT seq FROM sealog_index WHERE ${hasNul(["event_id", "event_type", "session_id", "trace_id", "leaf_hash", "observed_at"])}`',
  'store/VerifyMirror.ts: `SELECT seq FROM sealog_keys WHERE ${hasNul(["name", "value"])}`',
  // The number of rows in a block.
  "store/TimeBlocks.ts: `INSERT INTO sealog_times (block, first, last) SELECT (seq - 1) / ${blockRows}, min(observed_at), max(observed_at) FROM sealog_index WHERE seq > 0 GROUP BY (seq - 1) / ${blockRows}`",
  // Table, columns and what follows are constants of Mirror.
  'store/statements.ts: `INSERT INTO ${table} (${columns.join(", ")}) VALUES ${values.join(", ")}${onConflict}`',
  'store/MirrorCut.ts: `PRAGMA foreign_keys = ${isOn ? "ON" : "OFF"}`',
  // Quoted names of a view's tables and columns, types of its columns, and placeholders.
  "store/viewState.ts: `UPDATE sealog_views SET seq = ${place(1)} WHERE name IN (${places})`",
  "store/viewPages.ts: `SELECT * FROM (SELECT ${keys} FROM ${name} ${where} ORDER BY ${keys} LIMIT ${pageRows})`",
  "store/viewPages.ts: `SELECT ${columns} FROM ${name} WHERE ${from} (${keys}) <= (${placesFrom(1)})`",
  'store/viewTables.ts: `CREATE TABLE ${quoted(naming(name))} (${parts.join(", ")})${strict}`',
  "store/viewTables.ts: `DROP INDEX IF EXISTS ${called}`",
  "store/viewTables.ts: `CREATE INDEX ${called} ON ${quoted(naming(name))} (${list(index)})`",
  "store/viewTables.ts: `DROP TABLE IF EXISTS ${quoted(naming(name))}`",
  "store/viewTables.ts: `ALTER TABLE ${quoted(aside(name))} RENAME TO ${quoted(name)}`",
  "store/viewTables.ts: `SELECT ${list(own)} FROM ${name} WHERE ${keysAre(sql, some.length)}`",
  "store/viewTables.ts: `DELETE FROM ${name} WHERE ${keysAre(sql, some.length)}`",
  // Effect's own savepoint names; numbers of the options.
  "platform/SqliteClient.ts: `RELEASE SAVEPOINT ${name}`",
  "platform/SqliteClient.ts: `PRAGMA wal_autocheckpoint=${options.autocheckpointPages ?? AUTOCHECKPOINT_PAGES}`",
  "platform/SqliteClient.ts: `PRAGMA busy_timeout=${options.busyMillis ?? 0}`"
]

describe("SQL text", () => {
  const folders = ["store", "platform", "cli", "core"]

  it("is handed over nowhere but where it was judged", () => {
    const all = calls(folders)
    assert.isAtLeast(all.length, 10)
    assert.deepStrictEqual(
      all.filter((call) => !judged.some(([known]) => known.test(call))),
      [],
      "these calls are new: judge them, then list them"
    )
    for (const [known, why] of judged) {
      assert.isTrue(
        all.some((call) => known.test(call)),
        `${known} (${why}) is gone`
      )
    }
  })

  it("has nothing put into it but constants and placeholders", () => {
    assert.sameMembers([...templates(folders)], [...judgedTemplates])
  })
})
