/** What the tests of files beside the rows share: where a ledger's files lie, and odd members. */
import { Effect, Path } from "effect"
import type { Layout } from "../../src/store/journal/Layout.ts"
import * as LayoutOf from "../../src/store/journal/Layout.ts"
import { rounds } from "./choices.ts"
import type { Choices } from "./choices.ts"
import * as Texts from "./jsonTexts.ts"
import { jsonShapes } from "./shapes.ts"

/** The layout of the ledger in a directory. */
export const layoutOf = (directory: string): Layout =>
  Effect.runSync(
    Effect.map(Path.Path, (paths) => LayoutOf.of(paths, { directory })).pipe(
      Effect.provide(Path.layer)
    )
  )

/** What reads them is the runtime's own parser, so a few of the shapes tell enough. */
export const someShapes = Object.values(jsonShapes).filter((_, nth) => rounds > 1 || nth % 5 === 0)

/** A member's usual value, or any other. */
export const odd = (c: Choices, usual: string): string => {
  if (!c.once(8)) return usual
  return c.below(2) === 0 ? Texts.jsonText(c) : c.pick(["null", "1", '""', "[]", '"sealog/2"'])
}
