/**
 * Mirrors of sound journals, changed by SQL: each column of each row, rows gone, rows added.
 *
 * Verification finds each change and names the row, or it is the same fact spelled otherwise.
 * Opening recovers or refuses by name, blames the mirror and not the journal, and loses no row.
 */
import * as fs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer, Stream } from "effect"
import * as LedgerModule from "../../src/store/Ledger.ts"
import { Reader } from "../../src/store/reading/Reader.ts"
import { ReadSql } from "../../src/store/mirror/ReadSql.ts"
import type { Made } from "./fixture.ts"
import { cortexLedger, directoryLedger } from "./fixture.ts"
import type { Lab, Outcome } from "./lab.ts"
import { Findings, makeLab, outcomeOf, provideLab, summaryOf } from "./lab.ts"
import type { Meddling, MirrorRow } from "./meddling.ts"
import { columns, oddValues, rowMeddlings, strays } from "./meddling.ts"
import { ours, share, sweepMillisMax } from "./turns.ts"
import type { VerifyReport } from "../../src/core/VerifyReport.ts"

const ledgers: ReadonlyArray<readonly [string, Made]> = [
  ["a directory", directoryLedger],
  ["a file in Cortex mode", cortexLedger("bare")]
]

const rowsOf = Effect.fnUntraced(function* ({ sql }: Lab, { lines }: Made) {
  const rows: Array<MirrorRow> = lines.flatMap(({ seq }) =>
    ["events", "sealog_index"].map((table) => ({ table, where: `rowid = ${seq}`, seq }))
  )
  const keys = yield* sql<{ name: string; value: string; seq: number }>`
    SELECT quote(name) AS name, quote(value) AS value, seq FROM sealog_keys`
  for (const { name, seq, value } of keys) {
    const where = `name = ${name} AND value = ${value} AND seq = ${seq}`
    rows.push({ table: "sealog_keys", where, seq })
  }
  // A block is named by its first row.
  rows.push({ table: "sealog_times", where: "block = 0", seq: 1 })
  return rows
})

/** How many rows of a table, value and type, are not as they were, in either direction. */
const changed = Effect.fnUntraced(function* ({ sql }: Lab, table: string) {
  const all = (columns[table] ?? []).map((name) => `${name}, typeof(${name})`).join()
  const [now, was] = [`SELECT ${all} FROM ${table}`, `SELECT ${all} FROM was_${table}`]
  const [row] = yield* sql.unsafe<{ n: number }>(
    `SELECT count(*) AS n FROM (SELECT * FROM (${now} EXCEPT ${was})
     UNION ALL SELECT * FROM (${was} EXCEPT ${now}))`
  )
  return row?.n ?? 0
})

/** How a verification departs from what it must say of a change; undefined if it does not. */
const overlooks = (
  { value: report, tag, message }: Outcome<VerifyReport>,
  { column, isRespelling, seq }: Meddling
): string | undefined => {
  // A value that no number can hold is refused by the client before anything can be compared.
  if (report === undefined) return tag === "MirrorError" ? undefined : message
  if (isRespelling) return report._tag === "Intact" ? undefined : summaryOf(report)
  if (report._tag === "Intact") return "intact"
  const { checks, failures } = report
  if (["rows", "seal", "lines"].some((level) => checks[level] === "Failed")) {
    return `the journal is blamed: ${summaryOf(report)}`
  }
  const isNamed = seq === undefined || column === "seq" || failures.some((one) => one.seq === seq)
  return isNamed ? undefined : `row ${seq} is not named: ${summaryOf(report)}`
}

/** How opening departs from what it may do with a changed mirror; undefined if it does not. */
const mishandles = Effect.fnUntraced(function* (
  lab: Lab,
  made: Made,
  verified: string | undefined
) {
  const opened = yield* lab.open
  for (const [name, bytes] of made.files) {
    if (Buffer.compare(lab.journal().get(name) ?? Uint8Array.of(), bytes) !== 0) {
      return `${opened.tag}, and the journal is another one now`
    }
  }
  if (opened.value === undefined) {
    if (verified === "Intact") return `verified as intact, but refused: ${opened.message}`
    const isNamed = opened.tag === "LedgerDiverged" || opened.tag === "MirrorError"
    return isNamed ? undefined : `refused as ${opened.tag}: ${opened.message}`
  }
  if (opened.value.head.seq !== made.lines.length) return `opened at row ${opened.value.head.seq}`
  const after = yield* lab.verify("with mirror")
  if (after.tag === "Defect") return after.message
  // What a verification now calls intact must be what it was, value by value.
  if (after.value?._tag !== "Intact" || verified === "Intact") return undefined
  for (const table of Object.keys(columns)) {
    const rows = yield* changed(lab, table)
    if (rows > 0) return `opened, then intact, but ${rows} rows of ${table} are others`
  }
  return undefined
})

/** Whether a copy holds the first rows of a ledger, byte for byte, and no others. */
const isBackup = ({ disk }: Lab, { files, lines }: Made, rows: number): boolean => {
  const bytes = lines.slice(0, rows).reduce((sum, line) => sum + line.bytes.byteLength + 1, 0)
  const whole = Buffer.concat([...files.values()]).subarray(0, bytes)
  const copies = [...disk.below("/backup")].filter(([name]) => !name.endsWith("ledger.json"))
  const sorted = copies.toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, copy]) => copy)
  return Buffer.concat(sorted).equals(whole)
}

describe("a mirror that someone changed by SQL", () => {
  for (const [name, made] of ledgers) {
    it.effect(
      `is found out, and opens or is refused by its name (${name})`,
      () =>
        Effect.gen(function* () {
          const lab = yield* makeLab(made)
          yield* lab.sql`PRAGMA ignore_check_constraints = ON`
          const findings = new Findings()
          const all: Array<Meddling> = [...strays(made.lines.length)]
          for (const row of yield* rowsOf(lab, made)) all.push(...rowMeddlings(row))
          let respelled = 0
          for (const meddling of ours(all)) {
            const { statement, table } = meddling
            yield* lab.put(made.files)
            if (!(yield* lab.meddle(statement)) || (yield* changed(lab, table)) === 0) continue
            const verified = yield* lab.verify("with mirror")
            if (verified.value?._tag === "Intact" && meddling.isRespelling) respelled++
            findings.note(`${statement}, verified`, overlooks(verified, meddling))
            const problem = yield* mishandles(lab, made, verified.value?._tag)
            findings.note(`${statement}, opened`, problem)
          }
          assert.isAbove(respelled, share(20))
          findings.assertNone(share(1000))
        }).pipe(provideLab),
      sweepMillisMax
    )
  }

  it("is told of in words where it cannot be found out", () => {
    const readme = fs.readFileSync(new URL("../../README.md", import.meta.url), "utf8")
    assert.match(readme, /source_attestation_json/)
    assert.match(readme, /mirror[^.]*spell/)
  })

  for (const [name, made] of ledgers) {
    it.effect(
      `is read, compared and backed up without a defect (${name})`,
      () =>
        Effect.gen(function* () {
          const lab = yield* makeLab(made)
          yield* lab.sql`PRAGMA ignore_check_constraints = ON`
          const onDisk = Layer.succeed(FileSystem.FileSystem, lab.disk.fileSystem)
          const context = yield* Layer.build(
            LedgerModule.layerReader(made.location).pipe(
              Layer.provide([Layer.succeed(ReadSql, lab.sql), onDisk])
            )
          )
          const { backup, events, get, head, line, parity } = yield* Effect.provide(Reader, context)
          const newest = made.lines.length
          const reads = {
            head,
            parity,
            first: get(1),
            newest: get(newest),
            line: line(newest),
            all: Stream.runDrain(events()),
            last: Stream.runDrain(events({ last: 2 })),
            after: Stream.runDrain(events({ after: { seq: 1, leafHash: "x" } })),
            backup: backup("/backup/copy")
          }
          const findings = new Findings()
          const all: Array<Meddling> = [...strays(newest)]
          for (const row of yield* rowsOf(lab, made)) {
            if (row.seq === 1 || row.seq === newest) all.push(...rowMeddlings(row, oddValues))
          }
          for (const { statement, table } of ours(all)) {
            yield* lab.put(made.files)
            if (!(yield* lab.meddle(statement)) || (yield* changed(lab, table)) === 0) continue
            lab.disk.remove("/backup")
            for (const [what, read] of Object.entries(reads)) {
              const { message, tag } = yield* outcomeOf<unknown, { readonly _tag: string }, never>(
                read
              )
              findings.note(`${statement}, ${what}`, tag === "Defect" ? message : undefined)
              if (what !== "backup" || tag !== "Success") continue
              const isWhole = isBackup(lab, made, (yield* outcomeOf(head)).value?.seq ?? 0)
              findings.note(statement, isWhole ? undefined : "backed up, but the copy lacks rows")
            }
          }
          findings.assertNone(share(2000))
        }).pipe(provideLab),
      sweepMillisMax
    )
  }
})
