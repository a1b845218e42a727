/**
 * Whether a figure that was taken again and again stays flat, or grows: pure.
 *
 * A run warms up first: code is compiled, caches fill. So its first quarter counts for nothing, and
 * the median of the last quarter is held against that of the second. Between their middles lies
 * half of the run: what leaks steadily shows half of what it leaks in all.
 */
import { median } from "../../bench/measure.ts"

/** One figure over time, and how much it may grow: the larger of a share and an amount. */
export interface Series {
  readonly name: string
  readonly values: ReadonlyArray<number>
  readonly growthMax: { readonly share: number; readonly amount: number }
}

export interface Verdict {
  readonly name: string
  readonly start: number
  /** The medians of the second and of the last quarter. */
  readonly early: number
  readonly late: number
  readonly grown: number
  readonly allowed: number
  /** What the least-squares line through the last three quarters rises by from sample to sample. */
  readonly slope: number
  /** Undefined where there are too few samples to say. */
  readonly isFlat: boolean | undefined
}

/** With fewer samples nothing can be said: the first quarter would not be all of the warming up. */
export const samplesMin = 120

/** The slope of the line that lies closest to the values, one step apart each. */
export const slopeOf = (values: ReadonlyArray<number>): number => {
  const middle = (values.length - 1) / 2
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  let [rise, run] = [0, 0]
  for (const [at, value] of values.entries()) {
    rise += (at - middle) * (value - mean)
    run += (at - middle) ** 2
  }
  return run === 0 ? 0 : rise / run
}

export const judge = ({ growthMax, name, values }: Series): Verdict => {
  const quarter = Math.floor(values.length / 4)
  const early = median(values.slice(quarter, 2 * quarter))
  const late = median(values.slice(values.length - quarter))
  const grown = late - early
  const allowed = Math.max(growthMax.amount, growthMax.share * early)
  return {
    name,
    start: values[0] ?? Number.NaN,
    early,
    late,
    grown,
    allowed,
    slope: slopeOf(values.slice(quarter)),
    isFlat: values.length < samplesMin ? undefined : grown <= allowed
  }
}
