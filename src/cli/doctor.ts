/**
 * `sealog doctor [DIR]`: what the running system really gives a ledger in a directory.
 *
 * Everything that can be tried is tried, in a directory of its own that is gone afterwards; of a
 * ledger no file is opened. The words of a verdict and the names of points are relied on by
 * scripts: they may be added, never renamed.
 */
import { Effect, Option } from "effect"
import { Argument, Command } from "effect/cli"
import * as Doctor from "../platform/Doctor.ts"
import { found, plain } from "./Ending.ts"
import * as Flags from "./flags.ts"
import { Output } from "./Output.ts"

type Report = Doctor.DurabilityReport

const points = ({ points }: Report) => ({
  runtime: points.runtime,
  platform: points.platform,
  file_system: points.fileSystem,
  writable: points.writable,
  free_space: points.freeSpace,
  modes: points.modes,
  links: points.links,
  rename: points.rename,
  fsync: points.fsync,
  directory_fsync: points.directoryFsync,
  full_fsync: points.fullFsync,
  wal: points.wal,
  guard: points.guard
})

const snake = (name: string): string => name.replace(/[A-Z]/g, (unit) => `_${unit.toLowerCase()}`)

const json = (report: Report) => ({
  directory: report.directory,
  tried_in: report.triedIn,
  versions: report.versions,
  ...points(report),
  free_bytes: report.freeBytes,
  fsync_median_ms: report.fsyncMedianMillis,
  unmet: report.unmet.map(snake)
})

const nameWidth = 17
const verdictWidth = 9

const human = (report: Report): ReadonlyArray<string> => {
  const { effect, runtime, sqlite } = report.versions
  const { directory, triedIn, unmet } = report
  const tried = directory === triedIn ? "" : `, tried in ${triedIn}`
  const lines = Object.entries(points(report)).flatMap(([name, point]) => {
    const first = `${point.verdict.padEnd(verdictWidth)}${name.padEnd(nameWidth)}${point.found}`
    if (point.verdict === "ok" || point.verdict === "untried") return [first]
    const indent = " ".repeat(verdictWidth)
    return [first, `${indent}asked: ${point.asked}. ${point.hint ?? ""}`.trimEnd()]
  })
  const warnings = Object.values(report.points).filter(({ verdict }) => verdict === "warning")
  const but = warnings.length === 0 ? "" : "; read the warnings"
  return [
    `${directory}${tried}`,
    `${runtime}, effect ${effect}, SQLite ${sqlite}`,
    ...lines,
    unmet.length === 0
      ? `all that the contract asks is there${but}`
      : `NOT what the contract asks: ${unmet.map(snake).join(", ")}`
  ]
}

export const command = Command.make(
  "doctor",
  {
    directory: Argument.String("DIR").pipe(
      Argument.withDescription("A directory, or a ledger; the current directory if left out"),
      Argument.optional
    ),
    json: Flags.json
  },
  Effect.fnUntraced(function* (input) {
    const output = yield* Output
    const report = yield* Doctor.examine(Option.getOrElse(input.directory, () => "."))
    if (input.json) yield* output.json(json(report))
    else yield* Effect.forEach(human(report), (text) => output.line(plain(text)))
    if (report.unmet.length > 0) return yield* found
  })
).pipe(
  Command.withDescription(
    "Try what a ledger relies on: fsync of files and directories, the lock, WAL mode, modes, " +
      "links, a local file system. Writes nothing but a directory of its own, then removed. " +
      "Exit code 0: all of it is there; 1: something is missing, refused or could not be tried; " +
      "2: it could not run."
  ),
  Command.withShortDescription("Try what this system gives a ledger")
)
