/**
 * Medians, ratios and tables.
 *
 * A ratio is taken between two measurements of the same round, one right after the other, and the
 * median over the rounds is what is printed: what slows the whole machine down slows down both.
 */

/** The middle of the values, or the mean of the two in the middle. */
export const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  const low = sorted[Math.ceil(middle) - 1] ?? Number.NaN
  const high = sorted[Math.floor(middle)] ?? Number.NaN
  return (low + high) / 2
}

/** The median over rounds of how many times `a` goes into `b`: above 1, `a` is the smaller. */
export const ratio = (a: ReadonlyArray<number>, b: ReadonlyArray<number>): number =>
  median(a.map((own, round) => (b[round] ?? Number.NaN) / own))

/** `1.7x`, or `-` where there is nothing to compare with. */
export const times = (value: number): string =>
  Number.isNaN(value) ? "-" : `${value >= 10 ? value.toFixed(0) : value.toFixed(2)}x`

/** Whole numbers with separators. */
export const whole = (value: number): string => Math.round(value).toLocaleString("en")

/** Rows per second, from microseconds per row. */
export const perSecond = (microsPerRow: number): string => whole(1_000_000 / microsPerRow)

export const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`

/** One decimal below 100. */
export const micros = (value: number): string => (value < 100 ? value.toFixed(1) : whole(value))

/**
 * Columns as wide as their widest cell; the first and those from `leftFrom` on to the left, the
 * others to the right.
 */
export const table = (
  rows: ReadonlyArray<ReadonlyArray<string>>,
  leftFrom = Number.POSITIVE_INFINITY
): string => {
  const widths: Array<number> = []
  for (const row of rows) {
    for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, cell.length)
  }
  const fit = (cell: string, at: number) =>
    at === 0 || at >= leftFrom ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)
  const line = (row: ReadonlyArray<string>) => row.map(fit).join("  ").trimEnd()
  return rows.map((row) => `  ${line(row)}`).join("\n")
}
