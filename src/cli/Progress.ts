/**
 * A progress bar on standard error, where that is a terminal; nothing anywhere else.
 *
 *   [##########....................]  33%  12,800 lines
 *
 * It redraws its own line at most ten times a second and wipes it when it ends. The share is known
 * only where the end is, as that of a file on standard input; else only the count is shown.
 */
import { Clock, Config, Effect, FileSystem, Option, Stdio, Stream } from "effect"
import type { Step } from "../store/Progress.ts"

/** Told how far the work is; `bytes` of standard input were taken, in `count` lines. */
export type Tick = (bytes: number, count: number) => Effect.Effect<void>

const width = 30
const everyMillis = 100

const counted = (count: number, unit: string): string =>
  `${count.toLocaleString("en-US")} ${count === 1 ? unit : `${unit}s`}`

const bar = (done: number, total: number | undefined, text: string): string => {
  if (total === undefined || total === 0) return text
  const share = Math.min(1, done / total)
  const full = Math.floor(share * width)
  const percent = String(Math.floor(share * 100)).padStart(3)
  return `[${"#".repeat(full)}${".".repeat(width - full)}] ${percent}%  ${text}`
}

/** The text of a bar. `bytesTotal` is undefined where the end is not known. */
export const render = (bytes: number, bytesTotal: number | undefined, count: number): string =>
  bar(bytes, bytesTotal, counted(count, "line"))

/** The text of the bar of a ledger's long work. */
export const renderStep = ({ done, total, unit }: Step): string =>
  bar(done, total, counted(done, unit.slice(0, -1)))

/** Deno may withhold the environment; reading it is a defect then, and the terminal any terminal. */
const isDumb = Config.option(Config.String("TERM")).pipe(
  Effect.map(Option.contains("dumb")),
  Effect.orElseSucceed(() => false),
  Effect.catchDefect(() => Effect.succeed(false))
)

const isShown = Effect.fnUntraced(function* (resultsOnStdout: boolean) {
  const stdio = yield* Stdio.Stdio
  if (!(yield* stdio.stderrIsTerminal) || (yield* isDumb)) return false
  // Results that scroll by on the same terminal are progress enough.
  return !(resultsOnStdout && (yield* stdio.stdoutIsTerminal))
})

/** What standard input is, where the system says it. */
export const stdinInfo = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  return Option.getOrUndefined(yield* Effect.option(fs.stat("/dev/stdin")))
})

/** Draws a text, not more often than it can be read; wiped when the scope closes. */
const makeDraw = Effect.fnUntraced(function* (options: { readonly resultsOnStdout: boolean }) {
  if (!(yield* isShown(options.resultsOnStdout))) return undefined
  const stdio = yield* Stdio.Stdio
  const draw = (text: string) =>
    Effect.ignore(Stream.run(Stream.make(`\r${text}\u001b[K`), stdio.stderr({ endOnDone: false })))
  yield* Effect.addFinalizer(() => draw(""))
  let next = 0
  return (text: () => string) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (now < next) return Effect.void
      next = now + everyMillis
      return draw(text())
    })
})

/** A bar for reading standard input; wiped when the scope closes. */
export const make = Effect.fnUntraced(function* (options: { readonly resultsOnStdout: boolean }) {
  const draw = yield* makeDraw(options)
  if (draw === undefined) return (() => Effect.void) satisfies Tick
  const stdin = yield* stdinInfo
  const total = stdin?.type === "File" ? Number(stdin.size) : undefined
  return ((bytes, count) => draw(() => render(bytes, total, count))) satisfies Tick
})

/** A bar for what a ledger tells of its long work; wiped when the scope closes. */
export const told = Effect.gen(function* () {
  const draw = yield* makeDraw({ resultsOnStdout: false })
  return (step: Step): Effect.Effect<void> =>
    draw === undefined ? Effect.void : draw(() => renderStep(step))
})
