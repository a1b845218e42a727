/**
 * Whether opening a mutated journal does what the rules say, to the byte.
 */
import { Effect } from "effect"
import { concat } from "../core/history.ts"
import type { Files, Made } from "./fixture.ts"
import type { Lab } from "./lab.ts"
import { summaryOf } from "./lab.ts"
import type { KnownLines, Opening } from "./rules.ts"
import { openingOf, verdictOf } from "./rules.ts"

/** What the journal must be after opening: as it was, but for the cut and the LF. */
export const filesAfter = (files: Files, want: Opening): Files => {
  if (want._tag !== "Opens" || (want.cut === undefined && !want.completes)) return files
  const [last = ""] = [...files.keys()].toSorted().toReversed()
  const bytes = files.get(last) ?? new Uint8Array()
  if (want.cut === undefined) {
    // Nothing but an empty segment may stand behind the row that gets its LF.
    const [name = ""] = [...files.keys()]
      .toSorted()
      .filter((one) => files.get(one)?.byteLength)
      .toReversed()
    return new Map([...files, [name, concat([files.get(name) ?? bytes, Uint8Array.of(0x0a)])]])
  }
  return new Map([...files, [last, bytes.subarray(0, want.cut.offset)]])
}

export const isSame = (a: Files, b: Files): boolean =>
  a.size === b.size &&
  [...a].every(([name, bytes]) => Buffer.compare(bytes, b.get(name) ?? Uint8Array.of()) === 0)

/** What is opened: a journal, and a mirror that holds the first rows of a ledger. */
export interface Opened {
  readonly made: Made
  readonly known: KnownLines
  readonly files: Files
  readonly mirrored: number
}

/** How opening departs from the rules; undefined if it does not. */
export const departs = Effect.fnUntraced(function* (
  lab: Lab,
  { files, known, made, mirrored }: Opened,
  isVerified = true
) {
  const want = openingOf(files, known, { made, rows: mirrored })
  yield* lab.put(files, mirrored)
  const { changes, message, tag, value } = yield* lab.open
  const now = lab.journal()
  if (value === undefined) {
    if (tag !== want._tag) return `${JSON.stringify(want)} expected, found ${tag}: ${message}`
    if (changes > 0 || !isSame(now, files)) return `refused as ${tag}, but the disk was changed`
    if (want._tag !== "LedgerDamaged" || want.at === undefined) return undefined
    const isThere = message.includes(`${want.at.file} byte ${want.at.offset}:`)
    return isThere ? undefined : `at ${JSON.stringify(want.at)} expected, found ${message}`
  }
  if (want._tag !== "Opens" || value.head.seq !== want.rows) {
    return `${JSON.stringify(want)} expected, opened with ${value.head.seq} rows`
  }
  if (!isSame(now, filesAfter(files, want))) return "opened, but the journal is another one now"
  const { cut } = want
  const gone = cut === undefined ? [] : [files.get(cut.file)?.subarray(cut.offset)]
  const [kept] = lab.kept()
  if (Buffer.compare(concat(lab.kept()), concat(gone.flatMap((one) => one ?? []))) !== 0) {
    return `opened, and kept ${kept?.byteLength} bytes of what it cut`
  }
  if (!isVerified) return undefined
  // Opening looks at the end alone, so damage before it is verification's to find.
  const verdict = verdictOf(now, known, { made, rows: mirrored })
  const after = yield* lab.verify("with mirror")
  const isRight = (after.value?._tag === "Intact") === (verdict.fault === undefined)
  return isRight ? undefined : `opened, then ${after.message || summaryOf(after.value)}`
})
