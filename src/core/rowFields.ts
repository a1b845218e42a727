/**
 * Internal: reads the members of a row one by one, each by its own rule.
 *
 * A row was scanned before, so every span is JSON and strict; what a member must hold is judged
 * here, for segments in sealog's one spelling, for Cortex's files as the original reads them.
 */
import { Result } from "effect"
import * as Json from "./CanonicalJson.ts"
import type { Batch, Keys, Signature, Source } from "./Event.ts"
import { cortexTypes, isType } from "./Event.ts"
import * as EventId from "./EventId.ts"
import * as jsonText from "./jsonText.ts"
import type { Format } from "./Row.ts"
import * as Timestamp from "./Timestamp.ts"

/** Reads members one by one and keeps the first that does not fit. */
export class Fields {
  failure: { name: string; expected: string; actual: string } | undefined
  readonly found: ReadonlyMap<string, string>
  readonly format: Format

  constructor(found: ReadonlyMap<string, string>, format: Format) {
    this.found = found
    this.format = format
  }

  bad<A>(name: string, expected: string, instead: A): A {
    this.failure ??= { name, expected, actual: kindOf(this.found.get(name) ?? "") }
    return instead
  }

  /** The spans were checked by the scanner, so parsing one cannot fail. */
  parse(name: string): unknown {
    const text = this.found.get(name)
    return text === undefined ? null : Json.valueOf(text)
  }

  optional<A>(name: string, read: (name: string) => A): A | undefined {
    const text = this.found.get(name)
    // The original writes an absent option as null; segments leave it out.
    return text === undefined || (text === "null" && this.format === "cortex")
      ? undefined
      : read(name)
  }

  string(name: string): string {
    const text = this.found.get(name) ?? ""
    if (text.charCodeAt(0) !== 0x22) return this.bad(name, "a string", "")
    return text.includes("\\") ? String(JSON.parse(text)) : text.slice(1, -1)
  }

  /** Segments hold hashes as we write them; the original's reader takes any text. */
  hash(name: string): string {
    const text = this.string(name)
    return this.format === "cortex" || /^[0-9a-f]{64}$/.test(text)
      ? text
      : this.bad(name, "64 hex digits", "")
  }

  hashOrNull(name: string): string | null {
    const text = this.found.get(name)
    return text === undefined || text === "null" ? null : this.hash(name)
  }

  stringOrNull(name: string): string | null {
    const text = this.found.get(name)
    return text === undefined || text === "null" ? null : this.string(name)
  }

  /** Drafts with a NUL are refused; the original's rows may have one. */
  session(name: string): string | null {
    const text = this.stringOrNull(name)
    return this.format === "segments" && text !== null && text.includes("\0")
      ? this.bad(name, "text without NUL", null)
      : text
  }

  id(name: string): string {
    const text = this.string(name)
    if (EventId.isCanonical(text)) return text
    const parsed = EventId.parse(text)
    return Result.isSuccess(parsed) ? parsed.success : this.bad(name, parsed.failure.expected, "")
  }

  traceId(name: string): string | null {
    const text = this.stringOrNull(name)
    if (text === null) return null
    const parsed = EventId.parseTraceId(text)
    return Result.isSuccess(parsed) ? parsed.success : this.bad(name, parsed.failure.expected, null)
  }

  u16(name: string): number {
    const text = this.found.get(name) ?? ""
    const value = Number(text)
    return /^(0|[1-9]\d{0,4})$/.test(text) && value <= 65535
      ? value
      : this.bad(name, "an integer from 0 to 65535", 0)
  }

  /** Any instant the original reads; the text stays as it was written. */
  time(name: string): string {
    const text = this.string(name)
    if (Timestamp.isCanonical(text)) return text
    if (this.format === "segments")
      return this.bad(name, "RFC 3339 UTC, as few digits as needed", "")
    return Result.isSuccess(Timestamp.parse(text)) ? text : this.bad(name, "an RFC 3339 time", "")
  }

  type(name: string): string {
    const type = this.string(name)
    if (this.format === "cortex" && !cortexTypes.has(type)) {
      return this.bad(name, "one of Cortex's ten types", "")
    }
    return isType(type) ? type : this.bad(name, "a type like lower.case.name.v1", "")
  }

  source(name: string): Source {
    const value = this.parse(name)
    const source = isRecord(value) ? readSource(value) : undefined
    return source ?? this.bad(name, "one of the six sources", { type: "runtime" })
  }

  strings(name: string): ReadonlyArray<string> {
    const value = this.parse(name)
    return Array.isArray(value) && value.every((tag): tag is string => typeof tag === "string")
      ? value
      : this.bad(name, "an array of strings", [])
  }

  keys(name: string): Keys {
    const value = this.parse(name)
    if (!isRecord(value) || !Object.values(value).every((v) => typeof v === "string")) {
      return this.bad(name, "a flat object of strings", {})
    }
    const keys = value as Keys
    if (this.format === "cortex") return keys
    const entries = Object.entries(keys)
    if (entries.length === 0) return this.bad(name, "at least one key, or no member", {})
    return entries.some(([key, v]) => key.includes("\0") || v.includes("\0"))
      ? this.bad(name, "text without NUL", {})
      : keys
  }

  batch(name: string): Batch {
    const value = this.parse(name)
    const [index, size]: ReadonlyArray<unknown> = Array.isArray(value) ? value : []
    return Number.isSafeInteger(index) &&
      Number.isSafeInteger(size) &&
      Number(index) >= 0 &&
      Number(index) < Number(size) &&
      Number(size) > 1
      ? [Number(index), Number(size)]
      : this.bad(name, "[index, size] of a group of two or more", [0, 2] as const)
  }

  signature(name: string): Signature {
    const text = this.found.get(name) ?? ""
    const members = jsonText.members(text)
    const spans = Result.isSuccess(members) ? members.success : []
    const read = new Fields(
      new Map(spans.map(({ name, start, end }) => [name, text.slice(start, end)])),
      this.format
    )
    const signature = {
      schemaVersion: read.u16("schema_version"),
      keyId: read.string("key_id"),
      signedAt: read.time("signed_at"),
      bytes: read.string("bytes")
    }
    if (read.failure === undefined) return signature
    return this.bad(name, `${read.failure.name}: ${read.failure.expected}`, signature)
  }
}

const isRecord = (value: unknown): value is { readonly [name: string]: unknown } =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const readSource = (value: { readonly [name: string]: unknown }): Source | undefined => {
  const { type, model, name } = value
  switch (type) {
    case "child_agent":
      return typeof model === "string" ? { type, model } : undefined
    case "tool":
      return typeof name === "string" ? { type, name } : undefined
    case "user":
    case "runtime":
    case "external_outcome":
    case "manual_correction":
      return { type }
    default:
      return undefined
  }
}

const kindOf = (text: string): string => {
  const first = text.charAt(0)
  if (first === "{") return "an object"
  if (first === "[") return "an array"
  if (first === '"') return "another string"
  return text === "" ? "nothing" : text.slice(0, 40)
}
