/**
 * Rows of a small ledger written anew by a hand that knows the format: one member changed, the
 * checksum of the line made right again.
 *
 * Nothing in the row itself tells of that. The next row does, as it holds a hash of every byte of
 * the line; for the newest row the mirror does, and without it the report says that nobody can know.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Crc32c from "../../src/core/Crc32c.ts"
import * as Event from "../../src/core/Event.ts"
import { splice, utf8 } from "../core/history.ts"
import type { Files, Line } from "./fixture.ts"
import { directoryLedger as made, withFile } from "./fixture.ts"
import { departure, Findings, makeLab, provideLab } from "./lab.ts"
import { knownLines, openingOf } from "./rules.ts"

const rows = made.lines.length

/** One member of a row said otherwise, as text in place of text. */
const rewrites: ReadonlyArray<readonly [string, RegExp, string]> = [
  ["id", /"id":"evt_\w+"/, `"id":"${Event.idFrom("another")}"`],
  ["schema_version", /"schema_version":[12]/, '"schema_version":3'],
  ["observed_at", /"observed_at":"[^"]*"/, '"observed_at":"2001-01-01T00:00:00Z"'],
  ["recorded_at", /"recorded_at":"[^"]*"/, '"recorded_at":"2001-01-01T00:00:00Z"'],
  ["source", /"source":\{[^}]*\}/, '"source":{"type":"manual_correction"}'],
  ["event_type", /"event_type":"[^"]*"/, '"event_type":"other.v9"'],
  ["trace_id", /"trace_id":(?:null|"[^"]*")/, `"trace_id":"trc_${"1".repeat(26)}"`],
  ["session_id", /"session_id":(?:null|"[^"]*")/, '"session_id":"other"'],
  ["domain_tags", /"domain_tags":\[[^\]]*\]/, '"domain_tags":["other"]'],
  ["parent_id", /(?:,"parent_id":"\w+")?((?:,"keys".*)?,"prev_line_hash")/, ',"parent_id":"ID"$1'],
  ["keys", /(?:,"keys":\{.*?\})?,"prev_line_hash"/, ',"keys":{"other":"1"},"prev_line_hash"'],
  ["no keys", /,"keys":\{.*?\},"prev_line_hash"/, ',"prev_line_hash"'],
  ["batch", /,"batch":\[\d,\d\]|(?=,"crc32c")/, ',"batch":[0,9]'],
  ["no batch", /,"batch":\[\d,\d\]/, ""],
  ["a later batch", /,"batch":\[\d,\d\]|(?=,"crc32c")/, ',"batch":[8,9]']
]

/** The line with its checksum made right. */
const summed = (text: string): Uint8Array => {
  const bytes = utf8.encode(text)
  const covered = bytes.byteLength - ',"crc32c":"00000000"}'.length
  const hex = Crc32c.hex8(Crc32c.of(bytes, 0, covered))
  return splice(bytes, covered + 11, covered + 19, ...utf8.encode(hex))
}

/** The files with one line written anew; undefined where that changes nothing. */
const rewritten = (line: Line, [, from, to]: (typeof rewrites)[number]): Files | undefined => {
  const text = new TextDecoder().decode(line.bytes)
  const parent = made.lines[line.seq === 1 ? 1 : 0]
  const other = parent === undefined ? "" : Event.idFrom(`row ${parent.seq}`)
  const anew = summed(text.replace(from, to).replace('"ID"', `"${other}"`))
  if (Buffer.compare(anew, line.bytes) === 0) return undefined
  const bytes = made.files.get(line.file) ?? Uint8Array.of()
  const end = line.offset + line.bytes.byteLength
  return withFile(made.files, line.file, splice(bytes, line.offset, end, ...anew))
}

/** Where the files place a row now. */
const faultAt = (files: Files, line: Line, changed: Line) => {
  const grown =
    (files.get(changed.file)?.byteLength ?? 0) - (made.files.get(changed.file)?.byteLength ?? 0)
  const isMoved = line.file === changed.file && line.seq > changed.seq
  const first = made.lines.find(({ file }) => file === line.file)?.seq ?? 0
  const offset = line.offset + (isMoved ? grown : 0)
  return { file: line.file, line: line.seq - first + 1, offset, seq: line.seq }
}

/** Whether the row itself shows that it was changed, by what no row may say. */
const showsItself = (what: string) => what === "schema_version" || what.includes("batch")

describe("a row written anew with a right checksum", () => {
  for (const mirror of ["with mirror", "without mirror"] as const) {
    it.effect(`is found by the next one or the mirror, or the report says so (${mirror})`, () =>
      Effect.gen(function* () {
        const lab = yield* makeLab(made)
        const findings = new Findings()
        let unseen = 0
        for (const line of made.lines) {
          for (const rewrite of rewrites) {
            const files = rewritten(line, rewrite)
            if (files === undefined) continue
            const [member] = rewrite
            const what = `row ${line.seq} with another ${member}`
            yield* lab.put(files)
            const { message, value } = yield* lab.verify(mirror)
            const next = made.lines[line.seq]
            // A group that is broken is told of at the row, or at the first one that does not fit.
            if (member.includes("batch")) {
              const isFound = value?._tag === "Damaged"
              findings.note(what, isFound ? undefined : `${message} ${value?._tag}`)
              continue
            }
            const isOwn = showsItself(member) || mirror === "with mirror"
            const found = isOwn ? line : next
            if (found === undefined) {
              unseen++
              assert.match(value?.notProven.join() ?? "", /can write an unsigned history anew/)
              findings.note(what, departure(value, { rows, fault: undefined }))
              continue
            }
            const fault = faultAt(files, found, line)
            findings.note(what, message || departure(value, { rows, fault }))
          }
        }
        assert.strictEqual(unseen > 0, mirror === "without mirror")
        findings.assertNone(80)
      }).pipe(provideLab)
    )
  }

  it.effect("is refused at opening wherever opening looks at it and the next one", () =>
    Effect.gen(function* () {
      const lab = yield* makeLab(made)
      const findings = new Findings()
      const known = knownLines(made)
      for (const line of made.lines) {
        for (const rewrite of rewrites) {
          const files = rewritten(line, rewrite)
          const [member] = rewrite
          // The newest row may say anything that a row may say: nobody knows better.
          if (files === undefined || (line.seq === rows && !showsItself(member))) continue
          for (const mirrored of [0, 1, 3, 4, 7]) {
            const want = openingOf(files, known, { made, rows: mirrored })
            yield* lab.put(files, mirrored)
            const { message, tag } = yield* lab.open
            const wanted = want._tag === "Opens" ? "Success" : want._tag
            const what = `row ${line.seq} with another ${member}, ${mirrored} rows mirrored`
            findings.note(
              what,
              tag === wanted ? undefined : `${wanted} expected: ${tag} ${message}`
            )
          }
        }
      }
      findings.assertNone(300)
    }).pipe(provideLab)
  )
})
