/**
 * The event: the sealed, immutable fact, and what is said of where it came from.
 *
 * An `Event` holds Cortex's thirteen fields in camelCase (`event_type` is `type`) and the members
 * that sealog adds. Times are RFC 3339 UTC text, never a `Date`, so nine digits survive; the
 * payload is carried as text, so what is hashed is what is stored. Kinds give payloads their types.
 *
 * The names of the six sources and of the types are on disk and may never change.
 */
import { Schema } from "effect"
import * as Json from "./CanonicalJson.ts"
import * as EventId from "./EventId.ts"

export { cortexTypes, isType } from "./eventType.ts"
export { decode, define, EventUndecodable } from "./Kind.ts"
export type { AnyKind, Envelope, Kind, Typed } from "./Kind.ts"

/** Where an event came from. On disk: `{"type":"child_agent","model":"…"}`, in this order. */
export const Source = Schema.Union([
  Schema.Struct({ type: Schema.Literal("user") }),
  Schema.Struct({ type: Schema.Literal("child_agent"), model: Schema.String }),
  Schema.Struct({ type: Schema.Literal("tool"), name: Schema.String }),
  Schema.Struct({ type: Schema.Literal("runtime") }),
  Schema.Struct({ type: Schema.Literal("external_outcome") }),
  Schema.Struct({ type: Schema.Literal("manual_correction") })
])
export type Source = typeof Source.Type

/** Flat strings by which an application queries; members sorted by UTF-8 bytes on disk. */
export type Keys = { readonly [name: string]: string }

/** The index from 0 and the size of the group that one fsync made durable. */
export type Batch = readonly [index: number, size: number]

/** Cortex's row signature, carried as it stands; its verification is not part of this module. */
export const Signature = Schema.Struct({
  schemaVersion: Schema.Int,
  keyId: Schema.String,
  signedAt: Schema.String,
  bytes: Schema.String
})
export type Signature = typeof Signature.Type

/** Where a history stands: `seq` counts from 1, `leafHash` is the leaf hash of that row, hex. */
export interface Position {
  readonly seq: number
  readonly leafHash: string
}

/** Everything that a row says, and the leaf hash of its line. */
export interface EventFields {
  readonly seq: number
  readonly id: string
  readonly schemaVersion: number
  readonly observedAt: string
  readonly recordedAt: string
  readonly source: Source
  readonly type: string
  readonly traceId: string | null
  readonly sessionId: string | null
  readonly domainTags: ReadonlyArray<string>
  readonly payloadText: string
  readonly payloadHash: string
  readonly prevEventHash: string | null
  readonly eventHash: string
  readonly parentId: string | undefined
  readonly keys: Keys | undefined
  readonly prevLineHash: string | undefined
  readonly batch: Batch | undefined
  readonly signature: Signature | undefined
  readonly leafHash: string
}

/**
 * An event as it was read. A plain class: `Row.decode` has checked every field by then, and a
 * Schema's constructor would cost more than reading the row.
 */
export class Event implements EventFields {
  readonly seq: number
  readonly id: string
  readonly schemaVersion: number
  readonly observedAt: string
  readonly recordedAt: string
  readonly source: Source
  readonly type: string
  readonly traceId: string | null
  readonly sessionId: string | null
  readonly domainTags: ReadonlyArray<string>
  readonly payloadText: string
  readonly payloadHash: string
  readonly prevEventHash: string | null
  readonly eventHash: string
  readonly parentId: string | undefined
  readonly keys: Keys | undefined
  readonly prevLineHash: string | undefined
  readonly batch: Batch | undefined
  readonly signature: Signature | undefined
  readonly leafHash: string

  constructor(fields: EventFields) {
    this.seq = fields.seq
    this.id = fields.id
    this.schemaVersion = fields.schemaVersion
    this.observedAt = fields.observedAt
    this.recordedAt = fields.recordedAt
    this.source = fields.source
    this.type = fields.type
    this.traceId = fields.traceId
    this.sessionId = fields.sessionId
    this.domainTags = fields.domainTags
    this.payloadText = fields.payloadText
    this.payloadHash = fields.payloadHash
    this.prevEventHash = fields.prevEventHash
    this.eventHash = fields.eventHash
    this.parentId = fields.parentId
    this.keys = fields.keys
    this.prevLineHash = fields.prevLineHash
    this.batch = fields.batch
    this.signature = fields.signature
    this.leafHash = fields.leafHash
  }

  /** The payload as JavaScript sees it, read anew on each access; its text keeps every digit. */
  get payload(): unknown {
    return Json.valueOf(this.payloadText)
  }

  /** Where this row stands in its history. */
  get position(): Position {
    return { seq: this.seq, leafHash: this.leafHash }
  }
}

/** What one id stands for: all that an application said, times aside. */
export type Content = Pick<
  EventFields,
  | "type"
  | "schemaVersion"
  | "source"
  | "traceId"
  | "sessionId"
  | "domainTags"
  | "payloadText"
  | "parentId"
  | "keys"
>

/** The fields in which two contents of the same id differ. */
export const differences = (draft: Content, event: Content): ReadonlyArray<string> => {
  const pairs: ReadonlyArray<readonly [string, unknown, unknown]> = [
    ["type", draft.type, event.type],
    ["schemaVersion", draft.schemaVersion, event.schemaVersion],
    ["source", sourceText(draft.source), sourceText(event.source)],
    ["traceId", draft.traceId, event.traceId],
    ["sessionId", draft.sessionId, event.sessionId],
    ["domainTags", JSON.stringify(draft.domainTags), JSON.stringify(event.domainTags)],
    ["payload", draft.payloadText, event.payloadText],
    ["parentId", draft.parentId, event.parentId],
    ["keys", JSON.stringify(draft.keys ?? {}), JSON.stringify(event.keys ?? {})]
  ]
  return pairs.filter(([, a, b]) => a !== b).map(([name]) => name)
}

/** A source in its wire spelling. */
export const sourceText = (source: Source): string => {
  switch (source.type) {
    case "child_agent":
      return `{"type":"child_agent","model":${Json.quote(source.model)}}`
    case "tool":
      return `{"type":"tool","name":${Json.quote(source.name)}}`
    default:
      return `{"type":"${source.type}"}`
  }
}

/** `evt_` and the ULID of the first 128 bits of BLAKE3 of `text`: same text, same id. */
export const idFrom: (text: string) => EventId.EventId = EventId.idFrom
