/**
 * The small ledgers that are mutated: seven rows in three segments, three rows in one Cortex file.
 *
 * They are made by the public functions of core, with ids and times that depend on nothing but the
 * place of a row, so each run mutates the same bytes. A fork is a ledger that shares its first rows
 * with another one, up to a head, and goes on differently; an alien shares nothing.
 */
import * as path from "node:path"
import { Result } from "effect"
import * as Chain from "../../src/core/Chain.ts"
import * as Draft from "../../src/core/Draft.ts"
import * as Event from "../../src/core/Event.ts"
import * as Row from "../../src/core/Row.ts"
import type { Sealed } from "../../src/core/Seal.ts"
import * as Seal from "../../src/core/Seal.ts"
import * as Segment from "../../src/core/Segment.ts"
import type { Location } from "../../src/store/journal/Layout.ts"
import { concat, headAfter, now, utf8 } from "../core/history.ts"

/** The files of a journal by name, in the order of their names. */
export type Files = ReadonlyMap<string, Uint8Array>

/** One line of a fixture, LF not counted. */
export interface Line {
  readonly seq: number
  readonly file: string
  readonly offset: number
  readonly bytes: Uint8Array
  /** Which row of its group it is, from 0, and how many rows the group has. */
  readonly index: number
  readonly size: number
}

export interface Made {
  readonly format: Row.Format
  readonly location: Location
  /** The directory that holds the journal's files. */
  readonly root: string
  /** The ledger's own directory. */
  readonly home: string
  readonly files: Files
  readonly lines: ReadonlyArray<Line>
}

/** Rows that one fsync made durable, and how they are encoded. */
interface Group {
  readonly drafts: ReadonlyArray<Draft.Draft>
  readonly encode: Row.EncodeOptions
  /** Whether a new file begins with this group. */
  readonly isFirstOfFile?: boolean | undefined
}

const make = (format: Row.Format, location: Location, groups: ReadonlyArray<Group>): Made => {
  const isFile = "file" in location
  const root = isFile ? path.dirname(location.file) : path.join(location.directory, "segments")
  const files = new Map<string, Uint8Array>()
  const lines: Array<Line> = []
  let head = Chain.start
  let file = ""
  for (const { drafts, encode, isFirstOfFile } of groups) {
    const sealed: Array<Sealed> = []
    for (const draft of drafts) {
      const id = Event.idFrom(`row ${head.seq + sealed.length + 1}`)
      const complete = Result.getOrThrow(Draft.complete(draft, { id, now, mode: format }))
      sealed.push(Seal.seal(complete, sealed.at(-1)?.eventHash ?? head.eventHash))
    }
    if (isFile) file = path.basename(location.file)
    else if (isFirstOfFile === true || file === "") file = Segment.name(head.seq + 1)
    const group = Row.encode(sealed, head, encode)
    const before = files.get(file) ?? new Uint8Array()
    for (const [index, row] of group.rows.entries()) {
      const bytes = group.bytes.subarray(row.offset, row.offset + row.length)
      const offset = before.byteLength + row.offset
      lines.push({ seq: row.seq, file, offset, bytes, index, size: group.rows.length })
      head = headAfter(row)
    }
    files.set(file, concat([before, group.bytes]))
  }
  const home = isFile ? `${location.file}.sealog` : location.directory
  return { format, location, root, home, files, lines }
}

const segments: Row.EncodeOptions = { format: "segments" }

const awkward = { 'a"\\': "\u2028\u0000\n", é: "😀", "": [-0.5, 1e30, null], "10": { "9": true } }

const first: Draft.Draft = {
  type: "door.opened.v1",
  payload: awkward,
  keys: { door: "1", "": '"' },
  source: { type: "tool", name: "knock \u2029" },
  domainTags: ["a", "é\\"],
  sessionId: "s\n"
}

const idOf = (seq: number) => Event.idFrom(`row ${seq}`)

const groups: ReadonlyArray<Group> = [
  { drafts: [first], encode: segments },
  {
    drafts: [
      { type: "a.v1", parentId: idOf(1), keys: { door: "1" }, traceId: "trc_" + "0".repeat(26) },
      { type: "a.v1", payloadText: "[12345678901234567890.10,0]" }
    ],
    encode: segments,
    isFirstOfFile: true
  },
  { drafts: [{ type: "b.v2", payload: "b" }], encode: segments, isFirstOfFile: true },
  {
    drafts: [
      { type: "c.v1", payload: "c0", schemaVersion: 1 },
      { type: "c.v1", payload: "c1", parentId: idOf(5), keys: { "": "", é: "2", z: "" } },
      { type: "c.v1", payload: "c2", observedAt: "2026-01-02T03:04:05.123456789Z" }
    ],
    encode: segments
  }
]

/** Seven rows in three segments: groups of one, two, one and three; keys, parents, awkward text. */
export const directoryLedger: Made = make("segments", { directory: "/m/ledger" }, groups)

/** As `directoryLedger` up to this row, which ends a group; then other rows, each a group. */
export const forkAfter = (rows: number): Made => {
  let seen = 0
  const shared = groups.filter(({ drafts }) => (seen += drafts.length) <= rows)
  const other = ["x", "y"].map((payload) => ({
    drafts: [{ type: "fork.v1", payload }],
    encode: segments
  }))
  const pair = { drafts: [{ type: "fork.v1" }, { type: "fork.v1" }], encode: segments }
  return make("segments", directoryLedger.location, [...shared, ...other, pair])
}

/** A ledger that shares nothing with `directoryLedger`. */
export const alien: Made = make("segments", directoryLedger.location, [
  { drafts: [{ type: "alien.v1", payload: "first" }], encode: segments },
  { drafts: [{ type: "alien.v1" }, { type: "alien.v1", payload: 2 }], encode: segments }
])

const note = "cortex.event.system_note.v1"

const notes: ReadonlyArray<Draft.Draft> = [
  { ...first, type: note, payload: { ...awkward, n: 1.5 } },
  { type: note, payload: ["é"], parentId: idOf(1), keys: { door: "1" }, sessionId: "s" },
  {
    type: note,
    payload: 3,
    traceId: "trc_" + "0".repeat(26),
    schemaVersion: 1,
    source: { type: "child_agent", model: "m" }
  }
]

/** How the rows of one Cortex file are written: line hashes, checksums, both, neither, a mix. */
export const cortexKinds = ["bare", "hashed", "summed", "both", "mixed"] as const
export type CortexKind = (typeof cortexKinds)[number]

/** Three rows in one file that Cortex reads. */
export const cortexLedger = (kind: CortexKind): Made =>
  make(
    "cortex",
    { file: "/m/log.jsonl" },
    notes.map((draft, nth) => {
      const all = kind === "both" || (kind === "mixed" && nth === 2)
      const lineHashes = all || kind === "hashed"
      const encode = { format: "cortex", lineHashes, crc: all || kind === "summed" } as const
      return { drafts: [draft], encode }
    })
  )

/** Text of a length that goes up and down with the row, some of it awkward. */
const filler = (nth: number): string => 'é\\"\u2028x😀'.repeat((nth * 7919) % 60)

/** A ledger of many rows in groups of one to nine, a new segment after every so many of them. */
export const manyRows = (rows: number, groupsPerSegment: number): Made => {
  const many: Array<Group> = []
  for (let seen = 0; seen < rows;) {
    const size = Math.min(rows - seen, 1 + ((many.length * 31) % 9))
    const drafts = Array.from({ length: size }, (_, at) => {
      const nth = seen + at
      return {
        type: `many.v${1 + (nth % 3)}`,
        payload: { nth, text: filler(nth) },
        keys: nth % 4 === 0 ? { nth: String(nth), at: String(at) } : undefined,
        parentId: nth % 5 === 4 ? idOf(nth - 3) : undefined
      }
    })
    many.push({ drafts, encode: segments, isFirstOfFile: many.length % groupsPerSegment === 0 })
    seen += size
  }
  return make("segments", directoryLedger.location, many)
}

/** A ledger's files beside its journal: who it is. */
export const identity: Uint8Array = utf8.encode(
  '{"id":"ledger","format":"sealog/1","created":"2026-04-12T13:20:00Z"}\n'
)

/** A journal with one file changed. */
export const withFile = (files: Files, name: string, bytes: Uint8Array): Files =>
  new Map([...files, [name, bytes]])
