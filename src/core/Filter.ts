/**
 * Which events: by type, kind, keys, session, trace and time observed; all must hold.
 *
 * A `Filter` is what an application writes, `Criteria` the same made plain: sorted out lists, no
 * kinds, times in a form that text orders. `matches` is the one definition that SQL, reading and
 * expectations are held against. A list is any-of; an empty one, or a text that no row can hold,
 * matches nothing.
 */
import { Predicate, Result } from "effect"
import type { EventFields } from "./Event.ts"
import * as EventId from "./EventId.ts"
import { clip } from "./jsonError.ts"
import type { AnyKind } from "./Kind.ts"
import * as Kind from "./Kind.ts"
import * as Timestamp from "./Timestamp.ts"

/** One text, or any of several. */
export type AnyOf = string | ReadonlyArray<string>

/** Which events; whatever is left out is not asked for. */
export interface Filter<out K extends AnyKind = never> {
  /** Only rows of the types that these kinds read, decoded by the first one that reads them. */
  readonly kinds?: ReadonlyArray<K> | undefined
  /** Only rows of these types. */
  readonly types?: ReadonlyArray<string> | undefined
  /** Only rows that have all of these keys, each with this value or one of these. */
  readonly keys?: { readonly [name: string]: AnyOf } | undefined
  /** Only rows of this session. */
  readonly sessionId?: AnyOf | undefined
  /** Only rows of this trace. */
  readonly traceId?: AnyOf | undefined
}

/** Bounds on the time observed: RFC 3339, compared as instants, to the nanosecond. */
export interface Times {
  /** Only rows observed then or later. */
  readonly observedFrom?: string | undefined
  /** Only rows observed earlier. */
  readonly observedBefore?: string | undefined
}

type Texts = ReadonlyArray<string>

/** What a filter asks of a row; undefined where it asks nothing. Lists name each text once. */
export interface Criteria {
  readonly types: Texts | undefined
  readonly sessions: Texts | undefined
  readonly traces: Texts | undefined
  readonly keys: ReadonlyArray<readonly [name: string, values: Texts]>
  /** Inclusive; in the form of `Timestamp.toOrdered`. */
  readonly from: string | undefined
  /** Exclusive; likewise. */
  readonly before: string | undefined
}

/** What a row tells a filter. */
export type Subject = Pick<EventFields, "type" | "sessionId" | "traceId" | "keys" | "observedAt">

/** A text that SQL and a row could not both hold is in no row. */
const canBe = (text: string): boolean => text.isWellFormed() && !text.includes("\0")

/** Filters come from JavaScript too: what is no text there is a broken precondition. */
const textsOf = (name: string, given: AnyOf): Texts => {
  const list: ReadonlyArray<unknown> = typeof given === "string" ? [given] : given
  const texts = Array.isArray(list) ? list.filter((one) => typeof one === "string") : []
  if (!Array.isArray(list) || texts.length < list.length) {
    throw new RangeError(`${name} must be a text or a list of texts`)
  }
  return [...new Set(texts)].filter(canBe)
}

const timeOf = (name: string, text: string | undefined): string | undefined => {
  if (text === undefined) return undefined
  const time = Predicate.isString(text) ? Timestamp.parse(text) : undefined
  if (time === undefined || Result.isFailure(time) || !/^\d/.test(time.success)) {
    const found = clip(String(text))
    throw new RangeError(`${name} must be an RFC 3339 time in the years 0000 to 9999, not ${found}`)
  }
  return Timestamp.toOrdered(time.success)
}

const typesOf = ({ kinds, types }: Filter<AnyKind>): Texts | undefined => {
  const named = types === undefined ? undefined : textsOf("types", types)
  if (kinds === undefined) return named
  const read = Kind.typesOf(kinds)
  return named === undefined ? read : read.filter((type) => named.includes(type))
}

/** A trace as a row holds it. */
const traceOf = (text: string): string => Result.getOrElse(EventId.parseTraceId(text), () => text)

/** What a filter asks for. Throws a RangeError for what is no text or no time. */
export const criteriaOf = (filter: Filter<AnyKind> & Times): Criteria => {
  const { keys, sessionId, traceId } = filter
  const traces = traceId === undefined ? undefined : textsOf("traceId", traceId).map(traceOf)
  return {
    types: typesOf(filter),
    sessions: sessionId === undefined ? undefined : textsOf("sessionId", sessionId),
    traces: traces === undefined ? undefined : [...new Set(traces)],
    keys: Object.entries(keys ?? {}).map(([name, values]) => [
      name,
      canBe(name) ? textsOf(`keys.${clip(name)}`, values) : []
    ]),
    from: timeOf("observedFrom", filter.observedFrom),
    before: timeOf("observedBefore", filter.observedBefore)
  }
}

/** Whether every row passes. */
export const isOpen = ({ before, from, keys, sessions, traces, types }: Criteria): boolean =>
  keys.length === 0 && [types, sessions, traces, from, before].every((asked) => asked === undefined)

/** Whether no row can pass. */
export const isEmpty = ({ before, from, keys, sessions, traces, types }: Criteria): boolean =>
  [types, sessions, traces, ...keys.map(([, values]) => values)].some(
    (list) => list?.length === 0
  ) ||
  (from !== undefined && before !== undefined && from >= before)

/** Whether a row passes. */
export const matches = (criteria: Criteria, row: Subject): boolean => {
  const { before, from, keys, sessions, traces, types } = criteria
  const isIn = (list: Texts | undefined, text: string | null) =>
    list === undefined || (text !== null && list.includes(text))
  if (!isIn(types, row.type) || !isIn(sessions, row.sessionId)) return false
  if (!isIn(traces, row.traceId)) return false
  if (!keys.every(([name, values]) => isIn(values, keyOf(row, name)))) return false
  if (from === undefined && before === undefined) return true
  const at = orderedTime(row.observedAt)
  return (from === undefined || at >= from) && (before === undefined || at < before)
}

const keyOf = ({ keys }: Subject, name: string): string | null =>
  keys !== undefined && Object.hasOwn(keys, name) ? (keys[name] ?? null) : null

/** The time of a row, which `Row.decode` or `Draft.complete` has checked, as text that orders. */
export const orderedTime = (observedAt: string): string =>
  Timestamp.isCanonical(observedAt) ? Timestamp.toOrdered(observedAt) : ""
