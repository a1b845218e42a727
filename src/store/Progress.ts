/**
 * Progress: told how far long work has come, by whoever does it; silent by default.
 *
 * `done` never falls within one task. `total` is known only where the end is. Whoever is told must
 * be quick, as the work waits: a bar, a metric, a log line.
 */
import { Context, Effect } from "effect"

/** How far one piece of work is; `done` and `total` count in `unit`. */
export interface Step {
  readonly task: string
  readonly done: number
  readonly total: number | undefined
  readonly unit: "rows" | "bytes" | "lines"
}

/** What is told of long work. */
export const Progress: Context.Reference<(progress: Step) => Effect.Effect<void>> =
  Context.Reference("sealog/Progress", {
    defaultValue: () => (_progress: Step) => Effect.void
  })
