/**
 * Internal: a kind's Schema as an encoder and a decoder of payloads.
 *
 * What is written is the canonical JSON form of the Schema (`Schema.toCodecJson`): a `Date` is its
 * text, a `bigint` its digits. A member that the Schema does not know is refused when writing, as it
 * would be dropped in silence, and passed over when reading. Codecs that are not synchronous throw.
 */
import { Predicate, Result, Schema, SchemaIssue } from "effect"
import { pointer } from "./jsonError.ts"

/** Where a value does not fit, as a JSON pointer, and both sides; the value itself is not told. */
export interface Misfit {
  readonly path: string
  readonly expected: string
  readonly actual: string
}

/**
 * Stands in a draft in place of a payload that cannot be encoded: completing the draft refuses it,
 * with the place in the draft. Whoever puts another payload in its place has mended the draft.
 */
export class RefusedPayload implements Misfit {
  readonly path: string
  readonly expected: string
  readonly actual: string

  constructor({ actual, expected, path }: Misfit) {
    this.path = path
    this.expected = expected
    this.actual = actual
  }
}

/** Encodes and decodes the payloads of one kind. */
export interface PayloadCodec<P> {
  readonly encode: (payload: P) => Result.Result<unknown, Misfit>
  readonly decode: (json: unknown) => Result.Result<P, Misfit>
  /** As `decode`, but a member that the Schema does not know is refused. */
  readonly decodeExact: (json: unknown) => Result.Result<P, Misfit>
}

const format = SchemaIssue.makeFormatterStandardSchemaV1()

const describe = (value: unknown): string => {
  if (value === undefined) return "nothing"
  if (value === null) return "null"
  if (Array.isArray(value)) return "an array"
  return typeof value === "object" ? "an object" : `a ${typeof value}`
}

const valueAt = (value: unknown, path: ReadonlyArray<PropertyKey>): unknown =>
  path.reduce<unknown>(
    (at, key) => (Predicate.isObjectKeyword(at) ? Reflect.get(at, key) : undefined),
    value
  )

const misfitOf = (value: unknown, { issue }: Schema.SchemaError): Misfit => {
  const [first] = format(issue).issues
  const path = (first?.path ?? []).map((step) => (typeof step === "object" ? step.key : step))
  return {
    path: pointer(path.map(String)),
    expected: (first?.message ?? "another value")
      .replace(/^Expected /, "")
      .replace(/^Missing key$/, "a value"),
    actual: describe(valueAt(value, path))
  }
}

/** The codec of payloads that a Schema describes. */
export const make = <P>(schema: Schema.Codec<P, unknown>): PayloadCodec<P> =>
  plain(Schema.toCodecJson(schema))

/** A codec whose encoded form is what the Schema itself says. */
export const plain = <P>(json: Schema.Codec<P, unknown>): PayloadCodec<P> => {
  const encode = Schema.encodeUnknownResult(json, { onExcessProperty: "error" })
  const decode = Schema.decodeUnknownResult(json)
  const decodeExact = Schema.decodeUnknownResult(json, { onExcessProperty: "error" })
  return {
    encode: (payload) => Result.mapError(encode(payload), (error) => misfitOf(payload, error)),
    decode: (value) => Result.mapError(decode(value), (error) => misfitOf(value, error)),
    decodeExact: (value) => Result.mapError(decodeExact(value), (error) => misfitOf(value, error))
  }
}
