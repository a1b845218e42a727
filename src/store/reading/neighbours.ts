/**
 * Internal: index rows as they are read from the journal, in parts that lie close together.
 */
import type { Place } from "../journal/Journal.ts"
import type { IndexRow } from "../mirror/Mirror.ts"

/** At most so many bytes are read at once, one line excepted. */
const pageBytes = 4 * 1024 * 1024

/** As many rows from the first as `pageBytes` hold, one at least: a page is bounded in memory too. */
export const upToBytes = (rows: ReadonlyArray<IndexRow>): ReadonlyArray<IndexRow> => {
  let bytes = 0
  const over = rows.findIndex((row) => (bytes += row.byte_length) > pageBytes)
  return over === -1 ? rows : rows.slice(0, Math.max(1, over))
}

/** Rows that are read together, and the bytes they lie in. */
export interface Part {
  readonly place: Place
  readonly rows: ReadonlyArray<IndexRow>
}

/** Foreign rows between two are read with them up to so many bytes: a read costs more than they. */
const foreignBytesMax = 16 * 1024

/** Index rows whose lines follow each other in one file, in parts of at most `pageBytes`. */
export const neighbours = (rows: ReadonlyArray<IndexRow>): ReadonlyArray<Part> => {
  const parts: Array<Part> = []
  let rest = rows
  while (rest.length > 0) {
    const [first] = rest
    if (first === undefined) break
    let length = first.byte_length
    let count = 1
    for (let next = rest[1]; next !== undefined; next = rest[count]) {
      const end = next.byte_offset + next.byte_length - first.byte_offset
      // Blank lines of a Cortex file may lie between; anything else is told by the leaf hash.
      if (next.segment !== first.segment || end <= length || end > pageBytes) break
      if (end - next.byte_length - length > foreignBytesMax) break
      length = end
      count++
    }
    const place = { segment: first.segment, offset: first.byte_offset, length }
    parts.push({ place, rows: rest.slice(0, count) })
    rest = rest.slice(count)
  }
  return parts
}
