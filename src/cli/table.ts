/**
 * Rows of text under each other, aligned, for a person at a terminal.
 */
import { plain } from "./Ending.ts"

/** One line for each row; every column but the last is as wide as its widest text. */
export const lines = (rows: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> => {
  const texts = rows.map((row) => row.map(plain))
  const widths: Array<number> = []
  for (const row of texts) {
    for (const [column, text] of row.entries()) {
      widths[column] = Math.max(widths[column] ?? 0, text.length)
    }
  }
  return texts.map((row) =>
    row
      .map((text, column) => text.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd()
  )
}
