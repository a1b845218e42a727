/**
 * Flags that several commands take.
 */
import { Flag } from "effect/cli"

/** A flag that is off unless it is given. */
export const on = (name: string, description: string): Flag.Flag<boolean> =>
  Flag.Boolean(name).pipe(
    Flag.withDescription(description),
    Flag.withoutNegation,
    Flag.withDefault(false)
  )

/** A whole number from 0. */
export const count = (name: string, of: string, description: string): Flag.Flag<number> =>
  Flag.Int(name).pipe(
    Flag.withMetavar("N"),
    Flag.withDescription(description),
    Flag.filter(
      (count) => count >= 0,
      () => `a number of ${of}, 0 or more`
    )
  )

export const json: Flag.Flag<boolean> = on("json", "Print the report as JSON")
