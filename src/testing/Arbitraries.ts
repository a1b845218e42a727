/**
 * Generated drafts, for property tests of applications and of sealog itself.
 *
 * What comes out is valid by construction: every draft is one that a ledger accepts, payloads are
 * JSON values with awkward names, texts and numbers. All of it shrinks.
 */
import { Arbitrary, Schema } from "effect"
import type { Draft } from "../core/Draft.ts"
import type { Keys, Source } from "../core/Event.ts"

type Json =
  | null
  | boolean
  | number
  | string
  | ReadonlyArray<Json>
  | { readonly [name: string]: Json }

const awkward = [
  "__proto__",
  "constructor",
  "",
  "10",
  "9",
  "é",
  "\u{e000}",
  "😀",
  "\u2028",
  '"',
  "\\"
]

/** Well-formed text, sometimes awkward. */
export const text: Arbitrary.Arbitrary<string> = Arbitrary.map(
  Arbitrary.all([
    Arbitrary.schema(Schema.Boolean),
    Arbitrary.schema(Schema.Literals(awkward)),
    Arbitrary.schema(Schema.String)
  ]),
  ([isAwkward, one, other]) => (isAwkward ? one : other.toWellFormed())
)

/** Text without NUL, as SQL columns and keys ask for. */
const plain = Arbitrary.map(text, (value) => value.replaceAll("\0", ""))

const repair = (value: unknown): Json => {
  if (typeof value === "string") return value.toWellFormed()
  if (Array.isArray(value)) return value.map(repair)
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(
      Object.entries(value).map(([name, member]) => [name.toWellFormed(), repair(member)])
    )
  }
  return typeof value === "number" || typeof value === "boolean" ? value : null
}

/** A JSON value. */
export const json: Arbitrary.Arbitrary<unknown> = Arbitrary.map(
  Arbitrary.all([Arbitrary.schema(Schema.Json), text, Arbitrary.schema(Schema.Finite)]),
  ([value, name, number]) => ({
    value: repair(value),
    number,
    [name]: [repair(value)]
  })
)

/** One of the six sources but `user`, whose events an unsigned ledger refuses. */
export const source: Arbitrary.Arbitrary<Source> = Arbitrary.map(
  Arbitrary.all([Arbitrary.schema(Schema.Literals(["runtime", "tool", "child_agent"])), text]),
  ([type, name]): Source =>
    type === "tool" ? { type, name } : type === "runtime" ? { type } : { type, model: name }
)

const keys: Arbitrary.Arbitrary<Keys> = Arbitrary.map(
  Arbitrary.array(Arbitrary.all([plain, plain]), { maxLength: 3 }),
  (entries) => Object.fromEntries(entries)
)

/** A draft that a ledger of segments accepts; without id, times and parent, which it fills in. */
export const draft: Arbitrary.Arbitrary<Draft> = Arbitrary.map(
  Arbitrary.all([
    Arbitrary.schema(Schema.Literals(["door.opened.v1", "door.closed.v1", "a.b_c.d9.v12"])),
    json,
    source,
    Arbitrary.array(text, { maxLength: 3 }),
    keys,
    Arbitrary.schema(Schema.Boolean),
    plain
  ]),
  ([type, payload, source, domainTags, keys, hasSession, session]) => ({
    type,
    payload,
    source,
    domainTags,
    keys,
    sessionId: hasSession ? session : null
  })
)

/** Several drafts, one after another. */
export const history: Arbitrary.Arbitrary<ReadonlyArray<Draft>> = Arbitrary.array(draft, {
  minLength: 1,
  maxLength: 12
})
