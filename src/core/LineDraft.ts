/**
 * The draft of a foreign line of JSON: its type, id, parent and time are fields of the line.
 *
 *   place    `/message/id`, a JSON pointer (RFC 6901), or `message.id`, names between dots
 *   type     as it stands where it is `lower.case.name.vN`; else `imported.` in front, `.v1` behind,
 *            A-Z in lower case and each space, `-`, `:` and `/` as `_`; refused if that is no type
 *   id       an event id as it stands; any other text or whole number as `EventId.idFrom` of it
 *   payload  the whole line, its numbers as exact as they were written
 *
 * A parent is read like an id, so that it finds the line that has it. A field that is absent or
 * null gives no id, parent or time; a type that was asked for must be there. Only a line's own
 * members are fields, `__proto__` among them. The rules for type and id may never change: importing
 * a file again adds nothing because of them.
 */
import { Result, Schema } from "effect"
import * as Json from "./CanonicalJson.ts"
import type { Draft } from "./Draft.ts"
import { isType } from "./Event.ts"
import * as EventId from "./EventId.ts"
import { clip, pointer } from "./jsonError.ts"

/** The type of a line whose type is no field of it. */
export const lineType = "imported.line.v1"

/** A place in a line: member names and array indexes, one at least. */
export type Place = ReadonlyArray<string>

/** Where a line has what. */
export interface Places {
  readonly type?: Place | undefined
  readonly id?: Place | undefined
  readonly parent?: Place | undefined
  readonly time?: Place | undefined
}

/** A text that names no place, or a line whose field cannot be used. `path` is a JSON pointer. */
export class FieldInvalid extends Schema.TaggedError<FieldInvalid>()("FieldInvalid", {
  path: Schema.String,
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    return `at ${this.path || "its root"} expected ${this.expected}, found ${this.actual}`
  }
}

const bad = (path: string, expected: string, actual: string) =>
  Result.fail(new FieldInvalid({ path, expected, actual }))

/** The place that a text names: a JSON pointer, or names between dots. */
export const place = (text: string): Result.Result<Place, FieldInvalid> => {
  const isPointer = text.startsWith("/")
  if (isPointer && /~(?![01])/.test(text)) {
    return bad(clip(text), "~0 for ~ and ~1 for /", "another ~")
  }
  const steps = isPointer
    ? text
        .slice(1)
        .split("/")
        .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"))
    : text.split(".")
  if (!isPointer && steps.includes("")) {
    return bad(clip(text), "a JSON pointer like /message/id, or names like message.id", "no name")
  }
  return Result.succeed(steps)
}

/** What a value has at a place; undefined where it has nothing of its own there. */
const find = (value: unknown, steps: Place): unknown => {
  let at = value
  for (const step of steps) {
    if (typeof at !== "object" || at === null) return undefined
    if (Array.isArray(at) && !/^(?:0|[1-9]\d*)$/.test(step)) return undefined
    at = Object.getOwnPropertyDescriptor(at, step)?.value
  }
  return at
}

const kindOf = (value: unknown): string =>
  value === undefined
    ? "nothing"
    : value === null
      ? "null"
      : Array.isArray(value)
        ? "an array"
        : typeof value === "object"
          ? "an object"
          : `a ${typeof value}`

/** The event type that a name stands for; undefined where it can be none. */
export const typeOf = (name: string): string | undefined => {
  if (isType(name)) return name
  const lower = name.replace(/[A-Z]/g, (unit) => unit.toLowerCase())
  const mapped = `imported.${lower.replace(/[ \-:/]/g, "_")}.v1`
  return isType(mapped) ? mapped : undefined
}

/** The event id that a text or a whole number stands for. */
export const idOf = (value: string | number): EventId.EventId => {
  const text = String(value)
  return Result.getOrElse(EventId.parse(text), () => EventId.idFrom(text))
}

type Field<A> = Result.Result<A | undefined, FieldInvalid>

const typeAt = (line: unknown, at: Place | undefined): Result.Result<string, FieldInvalid> => {
  if (at === undefined) return Result.succeed(lineType)
  const name = find(line, at)
  if (typeof name !== "string") return bad(pointer(at), "a string", kindOf(name))
  const type = typeOf(name)
  const expected = "a type, or letters, digits, dots and - _ : / in names that begin with a letter"
  return type === undefined ? bad(pointer(at), expected, clip(name)) : Result.succeed(type)
}

const idAt = (line: unknown, at: Place | undefined): Field<string> => {
  const value = at === undefined ? undefined : find(line, at)
  if (at === undefined || value === undefined || value === null) return Result.succeed(undefined)
  const isId = typeof value === "string" ? value !== "" : Number.isSafeInteger(value)
  if (isId && (typeof value === "string" || typeof value === "number")) {
    return Result.succeed(idOf(value))
  }
  const actual = value === "" ? "an empty one" : kindOf(value)
  return bad(pointer(at), "a text or a whole number", actual)
}

const timeAt = (line: unknown, at: Place | undefined): Field<string> => {
  const value = at === undefined ? undefined : find(line, at)
  if (at === undefined || value === undefined || value === null) return Result.succeed(undefined)
  return typeof value === "string"
    ? Result.succeed(value)
    : bad(pointer(at), "an RFC 3339 time", kindOf(value))
}

/** The draft that a line of JSON gives. What it holds is checked further when it is appended. */
export const read = (text: string, places: Places = {}): Result.Result<Draft, FieldInvalid> => {
  const canonical = Json.fromText(text)
  if (Result.isFailure(canonical)) {
    const { expected, offset, path, reason } = canonical.failure
    return bad(path, expected, `${reason} at byte ${offset}`)
  }
  const payloadText = canonical.success
  const line = Object.keys(places).length === 0 ? null : Json.valueOf(payloadText)
  return Result.gen(function* () {
    const type = yield* typeAt(line, places.type)
    const id = yield* idAt(line, places.id)
    const parentId = yield* idAt(line, places.parent)
    const observedAt = yield* timeAt(line, places.time)
    return { type, payloadText, id, parentId, observedAt }
  })
}
