/**
 * Internal: a view as it is declared here, held against the one of that name that was declared
 * elsewhere, or that the mirror has.
 */
import { Option, Schema } from "effect"
import type * as ViewParts from "../../core/viewParts.ts"
import type { ViewPart } from "./Views.ts"
import { ViewOutdated } from "./Views.ts"
import * as ViewTables from "./viewTables.ts"

const Texts = Schema.Array(Schema.String)

/** What `ViewTables.definitionOf` says. */
const Definition = Schema.Tuple([
  Schema.String,
  Schema.Boolean,
  Schema.NullOr(Texts),
  Schema.Array(
    Schema.Tuple([
      Schema.String,
      Texts,
      Schema.Record(Schema.String, Schema.String),
      Texts,
      Schema.Array(Texts)
    ])
  )
])

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(Definition))

/** The parts of a definition, each as text: a column's place counts too. */
const partsOf = (definition: string): ReadonlyMap<ViewPart, string> =>
  Option.match(decode(definition), {
    onNone: () => new Map(),
    onSome: ([form, insertOnly, types, tables]) => {
      const parts: ReadonlyArray<readonly [ViewPart, unknown]> = [
        ["form", form],
        ["insertOnly", insertOnly],
        ["types", types],
        ["tables", tables.map(([name]) => name)],
        ["columns", tables.map(([, , columns]) => columns)],
        ["key", tables.map(([, , , key]) => key)],
        ["indexes", tables.map(([, , , , indexes]) => indexes)]
      ]
      return new Map(parts.map(([part, said]) => [part, JSON.stringify(said)]))
    }
  })

/** What is known of a view besides its name. */
export interface Known {
  readonly version: unknown
  readonly definition: unknown
}

/** What a view says of itself. */
export const knownOf = (view: ViewParts.Declared): Known => ({
  version: view.version,
  definition: ViewTables.definitionOf(view)
})

/** Why a view is not the one that is known by its name; undefined where it is. */
export const outdated = (
  view: ViewParts.Declared,
  { definition, version }: Known
): ViewOutdated | undefined => {
  const own = ViewTables.definitionOf(view)
  if (version === view.version && definition === own) return undefined
  const stored = typeof version === "number" && Number.isSafeInteger(version) ? version : 0
  const parts = partsOf(typeof definition === "string" ? definition : "")
  const differs = [...partsOf(own)].flatMap(([part, said]) =>
    (parts.get(part) ?? said) === said ? [] : [part]
  )
  return new ViewOutdated({ view: view.name, stored, declared: view.version, differs })
}
