/**
 * The takeover statement: an operator's signed word that the holder a stale marker names is gone.
 *
 * As text it is one JSON object with exactly these members:
 *
 *     kind, schema_version       "sealog.store-lock.takeover", 1
 *     deployment                 the application's and the marker's
 *     pid, acquired_at           the marker's; times are Timestamps (…Z)
 *     marker_sha256              SHA-256 of the marker's text: this marker, and no other
 *     operator, public_key       `operator:` and the BLAKE3 of the key; the key, 64 hex digits
 *     not_before, not_after      when it may be used, both ends included
 *     unknown_holder_accepted    whether to go on where a `.flock` of Cortex may still be held
 *     signature                  Ed25519, 128 hex digits
 *
 * Signed are the kind, a NUL byte, and the canonical JSON of all members but the signature: no
 * other signature of ours begins like this. Never to change: another form is another version.
 */
import { Predicate, Result, Schema } from "effect"
import { bytesToHex, hexToBytes } from "@noble/hashes/utils.js"
import * as Hashes from "./Hashes.ts"
import { decodeUtf8, printable, quoted, utf8Length } from "./jsonError.ts"
import { members } from "./jsonText.ts"
import { valueOf } from "./jsonValue.ts"
import type { LockMarker } from "./LockMarker.ts"
import { render } from "./LockMarker.ts"
import { operatorId } from "./publicKey.ts"
import * as Timestamp from "./Timestamp.ts"

export { operatorId } from "./publicKey.ts"

/** What this version writes and takes. */
export const kind = "sealog.store-lock.takeover"
export const schemaVersion = 1

/** The longest text of a statement, in bytes. */
export const bytesMax = 65_536

const Text = Schema.String.check(
  Schema.makeFilter((text) => text.isWellFormed(), { expected: "well-formed text" })
)

/** What a statement says. Kind and version are judged by `checkTakeover`, not by the shape. */
const Claims = Schema.Struct({
  kind: Text,
  schemaVersion: Schema.Natural,
  deployment: Text,
  pid: Schema.Natural,
  acquiredAt: Timestamp.Timestamp,
  markerSha256: Schema.String.check(Schema.isPattern(/^[0-9a-f]{64}$/)),
  operator: Text,
  publicKey: Schema.String.check(Schema.isPattern(/^[0-9a-f]{64}$/)),
  notBefore: Timestamp.Timestamp,
  notAfter: Timestamp.Timestamp,
  unknownHolderAccepted: Schema.Boolean
})
export type Claims = typeof Claims.Type

/** Claims and the signature over them. */
export const Statement = Schema.Struct({
  ...Claims.fields,
  signature: Schema.String.check(Schema.isPattern(/^[0-9a-f]{128}$/))
})
export type Statement = typeof Statement.Type

/** No statement, whatever it claims. `path`: JSON pointer; `offset`: bytes, null without a text. */
export class StatementInvalid extends Schema.TaggedError<StatementInvalid>()("StatementInvalid", {
  path: Schema.String,
  offset: Schema.NullOr(Schema.Natural),
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    const at = this.offset === null ? "" : `, byte ${this.offset}`
    return (
      `not a takeover statement: at ${this.path || "its root"}${at} expected ${this.expected}, ` +
      `found ${this.actual}`
    )
  }
}

/** What may be wrong with a statement, in the order in which `checkTakeover` looks. */
export const Claim = Schema.Literals([
  "form",
  "kind",
  "version",
  "window",
  "deployment",
  "operator",
  "public_key",
  "pid",
  "acquired_at",
  "marker_sha256",
  "flock",
  "signature"
])
export type Claim = typeof Claim.Type

/** The first claim of a statement that does not hold. The marker stays. */
export class TakeoverRefused extends Schema.TaggedError<TakeoverRefused>()("TakeoverRefused", {
  claim: Claim,
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    return (
      `takeover refused (${this.claim}): expected ${this.expected}, found ${this.actual}. The ` +
      "marker stays; bring another statement."
    )
  }
}

/** What a statement is held against. */
export interface Circumstances {
  /** The stale marker, found with the guard in hand. */
  readonly marker: LockMarker
  readonly deployment: string
  /** Ids of those who may take over; nobody, where it is empty. */
  readonly operators: ReadonlyArray<string>
  readonly now: Timestamp.Timestamp
  /** Whether a `.flock` lies beside the marker: Cortex's lock, which cannot be asked. */
  readonly flockPresent: boolean
  /** Ed25519. Must answer false, and not throw, for bytes that are no key or no signature. */
  readonly verify: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean
  readonly hashes?: Hashes.Hashes | undefined
}

/** SHA-256 of the text that a marker has. */
const hashOf = (marker: LockMarker, hashes: Hashes.Hashes) =>
  Result.map(render(marker), (text) => hashes.sha256Hex(utf8.encode(text)))

/**
 * The claims by which the owner of `publicKey` (32 bytes) may take over from this marker, which was
 * read: one that has no text throws.
 */
export const claimsFor = (
  marker: LockMarker,
  by: Pick<Claims, "notBefore" | "notAfter" | "unknownHolderAccepted"> & {
    readonly publicKey: Uint8Array
  },
  hashes: Hashes.Hashes = Hashes.noble
): Claims => ({
  kind,
  schemaVersion,
  deployment: marker.deployment,
  pid: marker.pid,
  acquiredAt: marker.acquiredAt,
  markerSha256: Result.getOrThrow(hashOf(marker, hashes)),
  operator: operatorId(by.publicKey, hashes),
  publicKey: bytesToHex(by.publicKey),
  notBefore: by.notBefore,
  notAfter: by.notAfter,
  unknownHolderAccepted: by.unknownHolderAccepted
})

/** The bytes that are signed: of claims, or of a statement without its signature. */
export const signingInput = (claims: Claims): Result.Result<Uint8Array, StatementInvalid> =>
  isClaims(claims) ? Result.succeed(bytesToSign(claims)) : Result.fail(faultIn(claims, signed))

/** What an Ed25519 verifier is asked about a statement; whether its claims hold is another matter. */
export const toVerify = (
  statement: Statement
): Result.Result<
  Readonly<Record<"publicKey" | "message" | "signature", Uint8Array>>,
  StatementInvalid
> =>
  isStatement(statement)
    ? Result.succeed({
        publicKey: hexToBytes(statement.publicKey),
        message: bytesToSign(statement),
        signature: hexToBytes(statement.signature)
      })
    : Result.fail(faultIn(statement, all))

/** The statement as canonical JSON: one text for one statement. */
export const encode = (statement: Statement): Result.Result<string, StatementInvalid> =>
  isStatement(statement)
    ? Result.succeed(jsonOf(statement, all))
    : Result.fail(faultIn(statement, all))

/**
 * Reads a statement strictly: strict JSON, each member once, in any order and spacing, none left
 * out, none unknown, numbers as plain integers. It says nothing about whether the claims hold.
 */
export const decode = (source: string | Uint8Array): Result.Result<Statement, StatementInvalid> => {
  const size = typeof source === "string" ? source.length : source.byteLength
  if (size > bytesMax) return invalid("", 0, `at most ${bytesMax} bytes`, `${size} or more`)
  const text = typeof source === "string" ? source : decodeUtf8(source)
  if (typeof text !== "string") return invalid("", text.offset, text.expected, text.actual)
  const found = members(text)
  if (Result.isFailure(found)) {
    const { path, offset, expected, actual } = found.failure
    return invalid(path, offset, expected, printable(actual))
  }
  const read = new Map<string, unknown>()
  let other: { readonly name: string; readonly start: number } | undefined
  for (const { name, start, end } of found.success) {
    const known = nameOf.get(name)
    if (known === undefined) other ??= { name, start }
    else if (!read.has(known)) read.set(known, scalarOf(text.slice(start, end)))
    else return invalid(`/${name}`, utf8Length(text, start), "each member once", "it again")
  }
  const statement: unknown = Object.fromEntries(read)
  if (other === undefined && isStatement(statement)) return Result.succeed(statement)
  // Another kind or version may well have other members: then that is what there is to say.
  const theirKind = read.get("kind") ?? kind
  if (theirKind !== kind) return invalid("/kind", null, told(kind), told(theirKind))
  const version = read.get("schemaVersion") ?? schemaVersion
  if (version !== schemaVersion) {
    return invalid("/schema_version", null, `${schemaVersion}`, told(version))
  }
  return other === undefined
    ? Result.fail(faultIn(statement, all))
    : invalid("", utf8Length(text, other.start), "no other member", quoted(other.name))
}

/**
 * Whether this statement lets its operator take over from the marker; answers the marker if so.
 * Looks in the order of `Claim`, the signature last, and names the first claim that fails. It takes
 * whatever a caller without types hands in for a statement, too.
 */
export const checkTakeover = (
  statement: Statement,
  circumstances: Circumstances
): Result.Result<LockMarker, TakeoverRefused> => {
  const { marker, deployment, operators, now, flockPresent, verify, hashes } = circumstances
  if (!isStatement(statement)) {
    const { path, expected, actual } = faultIn(statement, all)
    return refused("form", `${expected} at ${path}`, actual)
  }
  const { notBefore, notAfter, operator, publicKey, signature, unknownHolderAccepted } = statement
  const key = hexToBytes(publicKey)
  const markerSha256 = Result.getOrElse(
    hashOf(marker, hashes ?? Hashes.noble),
    () => "the hash of a marker that has a text"
  )
  const isInWindow = Timestamp.compare(notBefore, now) <= 0 && Timestamp.compare(now, notAfter) <= 0
  const list = operators.length === 0 ? "an operator, of whom none is listed" : "a listed operator"
  const accepted = "unknown_holder_accepted, as a .flock lies beside the marker"
  const checks: ReadonlyArray<readonly [Claim, holds: boolean, expected: string, actual: string]> =
    [
      same("kind", kind, statement.kind),
      same("version", schemaVersion, statement.schemaVersion),
      ["window", isInWindow, `a time from ${notBefore} to ${notAfter}`, now],
      same("deployment", deployment, statement.deployment),
      // The marker of another deployment came here with a copy of its store.
      same("deployment", marker.deployment, statement.deployment),
      ["operator", operators.includes(operator), list, told(operator)],
      same("public_key", operatorId(key, hashes), operator),
      same("pid", marker.pid, statement.pid),
      same("acquired_at", marker.acquiredAt, statement.acquiredAt),
      // One process that takes two locks within a millisecond leaves two of the same pid and time.
      same("marker_sha256", markerSha256, statement.markerSha256),
      ["flock", !flockPresent || unknownHolderAccepted, accepted, `${unknownHolderAccepted}`]
    ]
  const failed = checks.find(([, holds]) => !holds)
  if (failed !== undefined) return refused(failed[0], failed[2], failed[3])
  // Exactly true: a promise, which a verifier of WebCrypto would answer, is no answer.
  return verify(key, bytesToSign(statement), hexToBytes(signature)) === true
    ? Result.succeed(marker)
    : refused("signature", `the Ed25519 signature of ${operator}`, told(signature))
}

type Field = readonly [name: keyof Statement, member: string, expected: string]

const hex64 = "64 hex digits in lower case"
const time = "a time like 2026-03-17T09:41:07.123Z"

// In the order of the members' names, so that what is written in this order is canonical.
const signed = [
  ["acquiredAt", "acquired_at", time],
  ["deployment", "deployment", "text"],
  ["kind", "kind", "text"],
  ["markerSha256", "marker_sha256", hex64],
  ["notAfter", "not_after", time],
  ["notBefore", "not_before", time],
  ["operator", "operator", "text"],
  ["pid", "pid", "a whole number"],
  ["publicKey", "public_key", hex64],
  ["schemaVersion", "schema_version", "a whole number"],
  ["unknownHolderAccepted", "unknown_holder_accepted", "true or false"]
] as const satisfies ReadonlyArray<Field>
const all: ReadonlyArray<Field> = [
  ...signed.slice(0, -1),
  ["signature", "signature", "128 hex digits in lower case"],
  ...signed.slice(-1)
]

const nameOf: ReadonlyMap<string, keyof Statement> = new Map(
  all.map(([name, member]) => [member, name])
)

const isClaims = Schema.is(Claims)
const isStatement = Schema.is(Statement)
const utf8 = new TextEncoder()

const jsonOf = (value: Partial<Statement>, fields: ReadonlyArray<Field>): string =>
  `{${fields.map(([name, member]) => `"${member}":${JSON.stringify(value[name])}`).join(",")}}`

const bytesToSign = (claims: Claims): Uint8Array =>
  utf8.encode(`${kind}\0${jsonOf(claims, signed)}`)

const same = (
  claim: Claim,
  expected: string | number,
  actual: string | number
): readonly [Claim, holds: boolean, expected: string, actual: string] => [
  claim,
  expected === actual,
  told(expected),
  told(actual)
]

const refused = (claim: Claim, expected: string, actual: string) =>
  Result.fail(new TakeoverRefused({ claim, expected, actual }))

const invalid = (path: string, offset: number | null, expected: string, actual: string) =>
  Result.fail(new StatementInvalid({ path: printable(path), offset, expected, actual }))

/** Of something that is no statement, or no claims: the first field that does not fit. */
const faultIn = (value: unknown, fields: ReadonlyArray<Field>): StatementInvalid => {
  const read = (name: string): unknown =>
    Predicate.hasProperty(value, name) ? value[name] : undefined
  const fault = fields.find(([name]) => !Schema.is(Statement.fields[name])(read(name)))
  if (fault === undefined) throw new Error("every field fits")
  const [name, member, expected] = fault
  return new StatementInvalid({
    path: `/${member}`,
    offset: null,
    expected,
    actual: told(read(name))
  })
}

/** The value of a member; of a number that is not written as a plain integer, NaN. */
const scalarOf = (json: string): unknown =>
  /^[-\d]/.test(json) && !/^(?:0|[1-9]\d{0,15})$/.test(json) ? Number.NaN : valueOf(json)

/** A value, for an error. */
const told = (value: unknown): string => {
  if (value === undefined) return "nothing"
  if (typeof value === "string") return quoted(value, 160)
  if (typeof value === "number") return Number.isNaN(value) ? "another number" : String(value)
  if (typeof value === "boolean" || value === null) return String(value)
  return Array.isArray(value) ? "an array" : `an ${typeof value}`
}
