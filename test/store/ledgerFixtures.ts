/** What the tests of a whole ledger share: golden data, ready decisions, and looks from outside. */
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import * as Json from "../../src/core/CanonicalJson.ts"
import * as Event from "../../src/core/Event.ts"
import * as Draft from "../../src/core/Draft.ts"
import * as jsonText from "../../src/core/jsonText.ts"
import * as Policy from "../../src/core/Policy.ts"
import type { Decisions } from "../../src/store/writing/PolicyGate.ts"
import type { Location } from "../../src/store/journal/Layout.ts"
import type { OpenError, Options } from "../../src/store/Ledger.ts"
import { Ledger } from "../../src/store/Ledger.ts"
import type { Reader } from "../../src/store/reading/Reader.ts"
import type { Views } from "../../src/store/views/Views.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"

/** The bytes of a golden file. */
export const vector = (name: string): Buffer =>
  fs.readFileSync(new URL(`../vectors/cortex/${name}`, import.meta.url))

/** The lines of a golden file, blank ones left out. */
export const vectorLines = (name: string): ReadonlyArray<string> =>
  vector(name)
    .toString()
    .split("\n")
    .filter((line) => line !== "")

const hashMembers = new Set(["payload_hash", "prev_event_hash", "event_hash"])

/** The draft of an event as the original understands it when it is handed in. */
export const cortexDraft = (text: string): Draft.Draft => {
  const members = Result.getOrThrow(jsonText.members(text, jsonText.cortex))
  const body = members
    .filter(({ name }) => !hashMembers.has(name))
    .map(({ name, start, end }) => {
      const value = text.slice(start, end)
      if (name === "payload") return `"payload":${Result.getOrThrow(Json.ofCortex(value))}`
      return `${JSON.stringify(name === "event_type" ? "type" : name)}:${value}`
    })
  return Result.getOrThrow(Draft.fromJson(`{${body.join(",")}}`))
}

/** The text of one member of a JSON object. */
export const memberText = (text: string, name: string): string | undefined => {
  const member = Result.getOrThrow(jsonText.members(text)).find((each) => each.name === name)
  return member === undefined ? undefined : text.slice(member.start, member.end)
}

export const decisionOf = (json: string): Policy.Decision =>
  Schema.decodeUnknownSync(Schema.fromJsonString(Policy.Decision))(json)

const allowed = (surface: Policy.Surface): Policy.Decision =>
  Result.getOrThrow(
    Policy.compose(
      Policy.requiredRules[surface].map((ruleId) => ({
        ruleId,
        outcome: "allow",
        reason: "because",
        breakGlassOverrideAllowed: false
      }))
    )
  )

/** What the original's callers hand in where everything is allowed. */
export const allowAll: Decisions = {
  ledger: allowed("ledger.append"),
  mirror: allowed("mirror.append")
}

/** Every file under a directory, as its path and a digest; the mirror's own files left out. */
export const snapshot = (directory: string): ReadonlyArray<string> =>
  fs
    .readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/^(?:mirror\.sqlite|guard)/.test(entry.name))
    .map((entry) => {
      const at = path.join(entry.parentPath, entry.name)
      const digest = crypto.createHash("sha256").update(fs.readFileSync(at)).digest("hex")
      return `${path.relative(directory, at)} ${fs.statSync(at).size} ${digest}`
    })
    .toSorted()

/** Run SQL on a database from outside, as another hand would. */
export const meddle = (database: string, ...statements: ReadonlyArray<string>): void => {
  const db = new DatabaseSync(database)
  try {
    for (const statement of statements) db.exec(statement)
  } finally {
    db.close()
  }
}

/** The rows of a query on a database, seen from outside. */
export const query = (
  database: string,
  sql: string
): ReadonlyArray<{ readonly [column: string]: unknown }> => {
  const db = new DatabaseSync(database, { readOnly: true })
  try {
    return db.prepare(sql).all()
  } finally {
    db.close()
  }
}

/** All that a mirror holds. */
export const tables = (database: string): string =>
  JSON.stringify([
    query(database, "SELECT * FROM events ORDER BY rowid"),
    query(database, "SELECT * FROM sealog_index ORDER BY seq"),
    query(database, "SELECT * FROM sealog_keys ORDER BY seq, name"),
    query(database, "SELECT * FROM sealog_times ORDER BY block")
  ])

/** The bytes of all segments, in order. */
export const segmentBytes = (directory: string): Buffer =>
  Buffer.concat(
    fs
      .readdirSync(path.join(directory, "segments"))
      .toSorted()
      .map((name) => fs.readFileSync(path.join(directory, "segments", name)))
  )

/** The lines of all segments. */
export const segmentLines = (directory: string): ReadonlyArray<string> =>
  segmentBytes(directory)
    .toString()
    .split("\n")
    .filter((line) => line !== "")

/** A draft whose id and payload come from a name. */
export const named = (name: string, more: Partial<Draft.Draft> = {}): Draft.Draft => ({
  type: "test.named.v1",
  id: Event.idFrom(name),
  payload: { name },
  ...more
})

export type LedgerOptions = Options<ReadonlyArray<never>> &
  Location & { readonly seed?: number | undefined }

/** Run a body on an open ledger, closed when it returns. */
export const using = <A, E, R>(
  options: LedgerOptions,
  body: (ledger: Ledger["Service"]) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | OpenError, Exclude<R, Ledger | Reader | Views>> =>
  Effect.flatMap(Ledger, body).pipe(Effect.provide(TestLedger.layer(options)))

/** Fails unless both legs of an open ledger are sound and hold the same rows. */
export const assertSound = Effect.fnUntraced(function* (ledger: Ledger["Service"]) {
  const report = yield* ledger.verify()
  assert.strictEqual(report._tag, "Intact", JSON.stringify(report))
  const parity = yield* ledger.parity
  assert.isTrue(parity.isConsistent, JSON.stringify(parity))
})

/** Fails unless a value has these members, whatever others it has. */
export const assertLike = (
  actual: object | undefined,
  expected: { readonly [name: string]: unknown },
  message?: string
): void => {
  const found: { readonly [name: string]: unknown } = { ...actual }
  assert.deepInclude(found, expected, message ?? String(actual))
}
