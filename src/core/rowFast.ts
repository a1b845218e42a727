/**
 * Internal: reads a line of a segment that is spelled as nearly all are, in one pass.
 *
 * In segments a line has exactly one spelling, so the fixed parts are matched literally and only
 * the payload is scanned. Anything out of the ordinary (an escape in a string, a member
 * that should not be there) answers undefined, and `Row.decode` looks at it member by
 * member: this may never accept what that would refuse, or read it differently.
 */
import { compareUtf8 } from "./CanonicalJson.ts"
import type { Batch, Keys, Signature, Source } from "./Event.ts"
import { Event, isType } from "./Event.ts"
import * as EventId from "./EventId.ts"
import { Scanner, strict } from "./jsonText.ts"
import * as Timestamp from "./Timestamp.ts"

// A string without escapes; raw control characters are no JSON.
const S = '[^"\\\\\\u0000-\\u001f]*'

// A hash; anything else is told by the slow way.
const H = "[0-9a-f]{64}"

const head = new RegExp(
  `\\{"id":"(${S})","schema_version":([1-9]),"observed_at":"(${S})","recorded_at":"(${S})",` +
    `"source":\\{"type":"([a-z_]+)"(?:,"(model|name)":"(${S})")?\\},"event_type":"(${S})",` +
    `"trace_id":(null|"${S}"),"session_id":(null|"${S}"),` +
    `"domain_tags":\\[("${S}"(?:,"${S}"){0,999})?\\],"payload":`,
  "y"
)

const tail = new RegExp(
  `,"payload_hash":"(${H})","prev_event_hash":(null|"${H}"),"event_hash":"(${H})"` +
    `(?:,"parent_id":"(${S})")?(?:,"keys":\\{("${S}":"${S}"(?:,"${S}":"${S}"){0,999})\\})?` +
    `,"prev_line_hash":"(${H})"(?:,"batch":\\[(0|[1-9]\\d{0,8}),([1-9]\\d{0,8})\\])?` +
    `(?:,"signature":\\{"schema_version":(0|[1-9]\\d{0,3}),"key_id":"(${S})",` +
    `"signed_at":"(${S})","bytes":"(${S})"\\})?` +
    `,"crc32c":"[0-9A-F]{8}"\\}$`,
  "y"
)

const pair = new RegExp(`"(${S})":"(${S})"`, "g")

const canonical = { ...strict, numbers: "lossless" } as const

const orNull = (quoted: string): string | null => (quoted === "null" ? null : quoted.slice(1, -1))

const sourceOf = (type: string, member: string | undefined, value = ""): Source | undefined => {
  switch (type) {
    case "runtime":
    case "user":
    case "external_outcome":
    case "manual_correction":
      return member === undefined ? { type } : undefined
    case "child_agent":
      return member === "model" ? { type, model: value } : undefined
    case "tool":
      return member === "name" ? { type, name: value } : undefined
    default:
      return undefined
  }
}

/** The keys between the braces, if their names ascend; null where they do not. */
const keysOf = (text: string | undefined): Keys | undefined | null => {
  if (text === undefined) return undefined
  const entries: Array<[string, string]> = []
  let before: string | undefined
  for (const [, name = "", value = ""] of text.matchAll(pair)) {
    if (before !== undefined && compareUtf8(before, name) >= 0) return null
    before = name
    entries.push([name, value])
  }
  return Object.fromEntries(entries)
}

const batchOf = (index: string | undefined, size: string | undefined): Batch | undefined | null => {
  if (index === undefined || size === undefined) return undefined
  const batch: Batch = [Number(index), Number(size)]
  return batch[0] < batch[1] && batch[1] > 1 ? batch : null
}

/** The signature, if its time is one; null where it is not. */
const signatureOf = (found: ReadonlyArray<string | undefined>): Signature | undefined | null => {
  const [version, keyId = "", signedAt = "", bytes = ""] = found
  if (version === undefined) return undefined
  if (!Timestamp.isCanonical(signedAt)) return null
  return { schemaVersion: Number(version), keyId, signedAt, bytes }
}

/** The event of a line whose crc32c was checked; undefined where the slow way must decide. */
export const read = (text: string, seq: number, leafHash: string): Event | undefined => {
  head.lastIndex = 0
  const begin = head.exec(text)
  if (begin === null) return undefined
  const start = head.lastIndex
  const scanner = new Scanner(text, canonical)
  const end = scanner.endOfValue(start)
  if (end === -1 || !scanner.isCanonical) return undefined
  tail.lastIndex = end
  const finish = tail.exec(text)
  if (finish === null) return undefined
  const [, id = "", version, observedAt = "", recordedAt = "", sourceType = "", member, value] =
    begin
  const [type = "", trace = "", session = "", tags] = begin.slice(8)
  const [, payloadHash = "", prev = "", eventHash = "", parentId, keysText, prevLineHash] = finish
  const source = sourceOf(sourceType, member, value)
  const keys = keysOf(keysText)
  const batch = batchOf(finish[7], finish[8])
  const signature = signatureOf(finish.slice(9))
  const traceId = orNull(trace)
  if (
    source === undefined ||
    keys === null ||
    batch === null ||
    signature === null ||
    !EventId.isCanonical(id) ||
    !Timestamp.isCanonical(observedAt) ||
    !Timestamp.isCanonical(recordedAt) ||
    !isType(type) ||
    (traceId !== null && !EventId.isCanonicalTraceId(traceId)) ||
    (parentId !== undefined && !EventId.isCanonical(parentId))
  ) {
    return undefined
  }
  return new Event({
    seq,
    id,
    schemaVersion: Number(version),
    observedAt,
    recordedAt,
    source,
    type,
    traceId,
    sessionId: orNull(session),
    domainTags: tags === undefined ? [] : tags.slice(1, -1).split('","'),
    payloadText: text.slice(start, end),
    payloadHash,
    prevEventHash: orNull(prev),
    eventHash,
    parentId,
    keys,
    prevLineHash,
    batch,
    signature,
    leafHash
  })
}
