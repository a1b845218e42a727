/**
 * A progress bar on standard error, where that is a terminal; nothing anywhere else.
 *
 *   [##########....................]  33%  12,800 lines
 *
 * It redraws its own line at most ten times a second and wipes it when it ends. The share is known
 * only where standard input is a file; else only the count is shown.
 */
import { Clock, Config, Effect, FileSystem, Option, Stdio, Stream } from "effect"

/** Told how far the work is; `bytes` of standard input were taken, in `count` lines. */
export type Tick = (bytes: number, count: number) => Effect.Effect<void>

const width = 30
const everyMillis = 100

/** The text of a bar. `bytesTotal` is undefined where the end is not known. */
export const render = (bytes: number, bytesTotal: number | undefined, count: number): string => {
  const lines = `${count.toLocaleString("en-US")} line${count === 1 ? "" : "s"}`
  if (bytesTotal === undefined || bytesTotal === 0) return lines
  const share = Math.min(1, bytes / bytesTotal)
  const full = Math.floor(share * width)
  const percent = String(Math.floor(share * 100)).padStart(3)
  return `[${"#".repeat(full)}${".".repeat(width - full)}] ${percent}%  ${lines}`
}

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

/** A bar for reading standard input; wiped when the scope closes. */
export const make = Effect.fnUntraced(function* (options: { readonly resultsOnStdout: boolean }) {
  if (!(yield* isShown(options.resultsOnStdout))) return (() => Effect.void) satisfies Tick
  const stdio = yield* Stdio.Stdio
  const stdin = yield* stdinInfo
  const total = stdin?.type === "File" ? Number(stdin.size) : undefined
  const draw = (text: string) =>
    Effect.ignore(Stream.run(Stream.make(`\r${text}\u001b[K`), stdio.stderr({ endOnDone: false })))
  yield* Effect.addFinalizer(() => draw(""))
  let next = 0
  return ((bytes, count) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (now < next) return Effect.void
      next = now + everyMillis
      return draw(render(bytes, total, count))
    })) satisfies Tick
})
