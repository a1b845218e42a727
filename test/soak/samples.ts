/**
 * What a process holds, taken again and again: memory after a collection, and open files.
 *
 * However long it runs, no more than `samplesMax` samples are kept: when there are too many, every
 * other one is dropped, and from then on only every other one is taken.
 */
import * as fs from "node:fs"
import * as v8 from "node:v8"
import * as vm from "node:vm"
import type { Series } from "./judge.ts"

export interface Sample {
  readonly atMillis: number
  /** Resident set size: all of the process that lies in memory, as the system counts it. */
  readonly rssBytes: number
  /** What JavaScript holds, after a collection. */
  readonly heapBytes: number
  /** What JavaScript holds outside of its heap: buffers. */
  readonly externalBytes: number
  /** Undefined where the system does not say. */
  readonly openFiles: number | undefined
}

// The flag of the command line is taken where it was given; both runtimes take it later, too.
const collect: () => void = (() => {
  if (typeof globalThis.gc === "function") return () => void globalThis.gc?.()
  v8.setFlagsFromString("--expose-gc")
  const found: unknown = vm.runInNewContext("gc")
  if (typeof found !== "function") throw new Error("memory cannot be collected on demand here")
  return () => void found()
})()

const descriptors = "/proc/self/fd"

/** Take a sample, now. */
export const take = (atMillis: number): Sample => {
  // What finalizers let go in the first collection, the second one takes.
  collect()
  collect()
  const { external, heapUsed, rss } = process.memoryUsage()
  return {
    atMillis,
    rssBytes: rss,
    heapBytes: heapUsed,
    externalBytes: external,
    openFiles: fs.existsSync(descriptors) ? fs.readdirSync(descriptors).length : undefined
  }
}

const samplesMax = 1_000

/** Samples in their order, thinned out as they grow many. */
export const makeSamples = () => {
  let samples: Array<Sample> = []
  let stride = 1
  let count = 0
  return {
    add: (sample: Sample): void => {
      if (count++ % stride !== 0) return
      samples.push(sample)
      if (samples.length < samplesMax) return
      samples = samples.filter((_, nth) => nth % 2 === 0)
      stride *= 2
    },
    all: (): ReadonlyArray<Sample> => samples
  }
}

const mebibyte = 2 ** 20

/** The figures that must stay flat, and how flat. */
export const seriesOf = (samples: ReadonlyArray<Sample>): ReadonlyArray<Series> => {
  const memory = (name: string, amount: number, of: (sample: Sample) => number): Series => ({
    name,
    values: samples.map(of),
    growthMax: { share: 0.1, amount: amount * mebibyte }
  })
  const files = samples.flatMap(({ openFiles }) => (openFiles === undefined ? [] : [openFiles]))
  return [
    // Allocators give back what was freed when they please.
    memory("resident memory", 24, ({ rssBytes }) => rssBytes),
    memory("heap after collection", 3, ({ heapBytes }) => heapBytes),
    memory("external memory", 3, ({ externalBytes }) => externalBytes),
    ...(files.length === 0
      ? []
      : [{ name: "open files", values: files, growthMax: { share: 0, amount: 0 } }])
  ]
}
