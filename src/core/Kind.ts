/**
 * Kinds: typed events, by a Schema for the payload of each type.
 *
 * `define` gives a kind, which makes drafts and reads events; `decode` reads an event by the first of
 * some kinds that knows its type. Rows never change: an old version is brought up to date on reading,
 * by a chain of upcasts, each from the payload of the kind before. Users meet all this as members of
 * `Event`.
 */
import { Result, Schema } from "effect"
import type { Draft } from "./Draft.ts"
import type { Event, Keys, Position } from "./Event.ts"
import * as EventId from "./EventId.ts"
import { isType } from "./eventType.ts"
import { clip } from "./jsonError.ts"
import type { Misfit } from "./payloadCodec.ts"
import * as PayloadCodec from "./payloadCodec.ts"

/** An event that none of the kinds reads, or whose id or payload is not what its kind says. */
export class EventUndecodable extends Schema.TaggedError<EventUndecodable>()("EventUndecodable", {
  seq: Schema.Int,
  id: Schema.String,
  type: Schema.String,
  path: Schema.String,
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    return (
      `row ${this.seq} (${this.id}, ${this.type}) is not what its kind says: at ${this.path} ` +
      `expected ${this.expected}, found ${this.actual}. Declare the kind that wrote it, or an ` +
      `upcast from it.`
    )
  }
}

/** What a draft says besides its type and its payload. */
export type Envelope = Omit<Draft, "type" | "payload" | "payloadText">

/** What is read of an event. */
export type Readable = Pick<Event, "seq" | "id" | "type" | "payload">

/** Any kind, whatever its payload. */
export interface AnyKind {
  /** What it writes. */
  readonly type: string
  /** All that it reads: its own type, and those that it is upcast from. */
  readonly types: ReadonlyArray<string>
  /**
   * A draft with this payload, encoded. A payload that the Schema refuses is a `DraftInvalid` with
   * its path when the draft is appended.
   */
  readonly make: (payload: never, envelope?: Envelope) => Draft
  /** The payload of an event of one of `types`, brought up to date. */
  readonly read: (event: Readable) => Result.Result<unknown, EventUndecodable>
  /** The keys of an event of one of `types` that holds what its own kind would write, and no more. */
  readonly fit: (event: Readable) => Result.Result<Keys, EventUndecodable>
}

/** A type of event and the payload that goes with it. */
export interface Kind<T extends string, P> extends AnyKind {
  readonly type: T
  readonly make: (payload: P, envelope?: Envelope) => Draft
  readonly read: (event: Readable) => Result.Result<P, EventUndecodable>
}

/** An event as one of the kinds `K` reads it; told apart by `type`. */
export type Typed<K> =
  K extends Kind<infer T, infer P>
    ? {
        /** The type of the kind that read it. The stored one is `event.type`. */
        readonly type: T
        /** The payload, brought up to date. */
        readonly payload: P
        readonly seq: number
        /** The event as it is stored. */
        readonly event: Event
        readonly position: Position
      }
    : never

/** Keys of which some may be absent. */
export interface MaybeKeys {
  readonly [name: string]: string | null | undefined
}

/** What a kind may say besides its type and its Schema. */
export interface KindOptions<P, P0> {
  /** What an application queries by; none where there is no text. An envelope's are added to them. */
  readonly keys?: ((payload: P) => MaybeKeys) | undefined
  /** The payload's own id, which is the id of its row too: an event id, as `Event.idFrom` makes. */
  readonly id?: ((payload: P) => string) | undefined
  /** The kind of an older version, and how its payload becomes one of this kind. */
  readonly upcast?: readonly [from: Kind<string, P0>, up: (old: P0) => P] | undefined
}

/**
 * A kind: events of `type` whose payload `schema` encodes and decodes.
 *
 * Throws a RangeError for a `type` that no event can have, or that the upcasts read already.
 */
export const define = <const T extends string, P, P0 = never>(
  type: T,
  schema: Schema.Codec<P, unknown>,
  options: KindOptions<NoInfer<P>, P0> = {}
): Kind<T, P> => {
  const older = options.upcast?.[0].types ?? []
  if (!isType(type)) throw new RangeError(`${clip(type)} is no type like lower.case.name.v1`)
  if (older.includes(type)) throw new RangeError(`${type} cannot be upcast from itself`)
  const codec = PayloadCodec.make(schema)

  const keysOf = (payload: P): Keys => {
    const keys: Array<readonly [string, string]> = []
    for (const [name, value] of Object.entries(options.keys?.(payload) ?? {})) {
      if (value !== null && value !== undefined) keys.push([name, value])
    }
    return Object.fromEntries(keys)
  }

  const make = (payload: P, envelope: Envelope = {}): Draft => {
    const refused = (misfit: Misfit): Draft => ({
      ...envelope,
      type,
      payload: new PayloadCodec.RefusedPayload(misfit)
    })
    const encoded = codec.encode(payload)
    if (Result.isFailure(encoded)) {
      const { failure } = encoded
      return refused({ ...failure, path: `/payload${failure.path}` })
    }
    const draft = { ...envelope, type, payload: encoded.success }
    const keys = { ...keysOf(payload), ...envelope.keys }
    const keyed = options.keys === undefined ? draft : { ...draft, keys }
    const id = options.id?.(payload)
    if (id === undefined) return keyed
    const isOther = envelope.id !== undefined && canonical(envelope.id) !== canonical(id)
    return isOther
      ? refused({ path: "/id", expected: "the id of the payload", actual: "another" })
      : { ...keyed, id }
  }

  const readOwn = (
    event: Readable,
    decode: typeof codec.decode = codec.decode
  ): Result.Result<P, EventUndecodable> => {
    const payload = decode(event.payload)
    if (Result.isFailure(payload)) {
      const { failure } = payload
      return undecodable(event, { ...failure, path: `/payload${failure.path}` })
    }
    const id = options.id?.(payload.success)
    return id === undefined || canonical(id) === event.id
      ? Result.succeed(payload.success)
      : undecodable(event, { path: "/id", expected: clip(id), actual: event.id })
  }

  const read = (event: Readable): Result.Result<P, EventUndecodable> => {
    if (event.type === type) return readOwn(event)
    if (options.upcast === undefined || !older.includes(event.type)) {
      const expected = [type, ...older].join(" or ")
      return undecodable(event, { path: "/type", expected, actual: event.type })
    }
    const [from, up] = options.upcast
    return Result.map(from.read(event), up)
  }

  const fit = (event: Readable): Result.Result<Keys, EventUndecodable> => {
    const from = options.upcast?.[0]
    return event.type === type || from === undefined
      ? Result.map(readOwn(event, codec.decodeExact), keysOf)
      : from.fit(event)
  }

  return { type, types: [type, ...older], make, read, fit }
}

/** Read an event by the first of the kinds that knows its type. */
export const decode = <K extends AnyKind>(
  kinds: ReadonlyArray<K>,
  event: Event
): Result.Result<Typed<K>, EventUndecodable> => {
  const { position, seq } = event
  // `type` and `payload` come from one kind, so they are a member of the union that TypeScript cannot
  // tell from here.
  return Result.map(readBy(kinds, event), (read) => ({ ...read, seq, event, position }) as Typed<K>)
}

/** The first of the kinds that reads events of this type. */
const kindOf = <K extends AnyKind>(
  kinds: ReadonlyArray<K>,
  event: Readable
): Result.Result<K, EventUndecodable> => {
  const kind = kinds.find(({ types }) => types.includes(event.type))
  if (kind !== undefined) return Result.succeed(kind)
  const expected = typesOf(kinds).join(" or ") || "no type at all"
  return undecodable(event, { path: "/type", expected, actual: event.type })
}

/** What the first of the kinds that knows an event's type reads, and the type of that kind. */
export const readBy = (
  kinds: ReadonlyArray<AnyKind>,
  event: Readable
): Result.Result<{ readonly type: string; readonly payload: unknown }, EventUndecodable> =>
  Result.flatMap(kindOf(kinds, event), (kind) =>
    Result.map(kind.read(event), (payload) => ({ type: kind.type, payload }))
  )

/** The keys of an event that one of the kinds could have written. */
export const fit = (
  kinds: ReadonlyArray<AnyKind>,
  event: Readable
): Result.Result<Keys, EventUndecodable> =>
  Result.flatMap(kindOf(kinds, event), (kind) => kind.fit(event))

/** Every type that one of the kinds reads. */
export const typesOf = (kinds: ReadonlyArray<AnyKind>): ReadonlyArray<string> => [
  ...new Set(kinds.flatMap(({ types }) => types))
]

/** An id as a row holds it. */
const canonical = (id: string): string => Result.getOrElse(EventId.parse(id), () => id)

const undecodable = ({ id, seq, type }: Readable, misfit: Misfit) =>
  Result.fail(new EventUndecodable({ seq, id, type, ...misfit }))
