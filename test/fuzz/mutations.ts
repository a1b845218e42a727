/**
 * What may become of bytes: flipped, overwritten, put in, taken out, doubled, cut off, and spliced
 * with others; and the golden files as what it is done to.
 */
import * as fs from "node:fs"
import { concat, linesOf, text, utf8, vector } from "../core/history.ts"
import type { Choices } from "./choices.ts"

/** Bytes that mean something to some reader, and sequences that are no UTF-8. */
const texts = [
  '"',
  "\\",
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  "\n",
  "\r",
  "\0",
  " ",
  "0",
  "-",
  "e9"
].concat(
  ["\\u0000", '"id":', "null", "\u2028", "\u0085", "\ufeff", "\u00a0", '"\\ud800"', "00000000"],
  ["😀"]
)

const notUtf8 = [
  [0xff],
  [0x80],
  [0xc0, 0x80],
  [0xc3],
  [0xe2, 0x80],
  [0xed, 0xa0, 0x80],
  [0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80],
  [0xf0, 0x9f, 0x98],
  [0xf4, 0x90, 0x80, 0x80],
  [0xf8, 0x88, 0x80, 0x80, 0x80]
]

/** Bytes that mean something to some reader, and sequences that are no UTF-8. */
const snippets: ReadonlyArray<Uint8Array> = texts
  .map((text) => utf8.encode(text))
  .concat(notUtf8.map((bytes) => Uint8Array.from(bytes)))

const once = (c: Choices, bytes: Uint8Array, others: ReadonlyArray<Uint8Array>): Uint8Array => {
  const at = c.below(bytes.byteLength + 1)
  const end = Math.min(bytes.byteLength, at + c.below(c.once(3) ? 200 : 4))
  const [before, cut, after] = [bytes.subarray(0, at), bytes.subarray(at, end), bytes.subarray(end)]
  switch (c.below(9)) {
    case 0:
      return concat([before, after])
    case 1:
      return concat([before, c.pick(snippets), bytes.subarray(at)])
    case 2:
      return concat([before, c.pick(snippets), after])
    case 3:
    case 4: {
      const flipped = bytes.slice()
      if (at < flipped.byteLength) flipped[at] = (flipped[at] ?? 0) ^ (1 << c.below(8))
      return flipped
    }
    case 5:
      return concat([before, c.bytes(1 + c.below(3)), after])
    case 6:
      return concat([before, cut, cut, after])
    case 7: {
      const other = c.pick(others)
      return concat([before, other.subarray(c.below(other.byteLength + 1))])
    }
    default:
      return c.once(3) ? before : concat([before, new Uint8Array(end - at), after])
  }
}

/** `bytes` with one to four places changed; `others` are what it may be spliced with. */
export const mutated = (
  c: Choices,
  bytes: Uint8Array,
  others: ReadonlyArray<Uint8Array>
): Uint8Array => {
  let changed = bytes
  for (let times = 1 + c.below(4); times > 0; times--) changed = once(c, changed, others)
  return changed
}

/** At most 200 random bytes, more likely of ASCII. */
export const rawBytes = (c: Choices): Uint8Array => {
  const isAscii = c.below(2) === 0
  return Uint8Array.from({ length: c.below(200) }, () => (isAscii ? c.below(128) : c.below(256)))
}

const decoded = (name: string): ReadonlyArray<string> => text(vector(name)).trimEnd().split("\n")

/** The member `input` of each line of a golden file. */
export const inputsOf = (name: string): ReadonlyArray<string> =>
  decoded(name).map((line) => String(JSON.parse(line).input))

const corruptNames = fs
  .readdirSync(new URL("../vectors/cortex/corrupt", import.meta.url))
  .filter((name) => name.endsWith(".jsonl"))
  .toSorted()

/** The golden files of sound and damaged ledgers, whole. */
export const goldenFiles: ReadonlyArray<Uint8Array> = ["log-unsigned.jsonl"]
  .concat(corruptNames.map((name) => `corrupt/${name}`))
  .map(vector)

const different = (lines: ReadonlyArray<Uint8Array>): ReadonlyArray<Uint8Array> => [
  ...new Map(lines.map((line) => [Buffer.from(line).toString("latin1"), line])).values()
]

/** The lines of these files, each once. */
export const goldenLines: ReadonlyArray<Uint8Array> = different(
  goldenFiles.flatMap((bytes) => linesOf(bytes).map((line) => line.bytes))
)

/** The rows that show how the original reads one member or another. */
export const goldenRows: ReadonlyArray<Uint8Array> = inputsOf("rows.jsonl").map((row) =>
  utf8.encode(row)
)

/** The texts that show how the original reads and prints JSON. */
export const goldenTexts: ReadonlyArray<Uint8Array> = inputsOf("canonical.jsonl").map((json) =>
  utf8.encode(json)
)
