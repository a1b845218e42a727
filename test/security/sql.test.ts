/**
 * Whatever stands in a key, an id, a session or a type is stored as it is and found by exactly
 * itself; what SQL could not give back is refused by name.
 */
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Cause, Effect, Exit, Schema } from "effect"
import type { Draft } from "../../src/core/Draft.ts"
import * as Event from "../../src/core/Event.ts"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import { ReadSql } from "../../src/store/mirror/ReadSql.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { sealog } from "../cli/sealog.ts"
import { assertSound, query, using } from "../store/ledgerFixtures.ts"
import { tagOf } from "./ways.ts"

const hostile: ReadonlyArray<string> = [
  "' OR '1'='1",
  "'; DROP TABLE events; --",
  '" OR ""="',
  "x'; DELETE FROM sealog_index WHERE 'x'='x",
  "/* */ --",
  "-- comment\nSELECT 1",
  "%",
  "_",
  "%%' ESCAPE '\\",
  "*",
  "?",
  "?1",
  ":name",
  "@name",
  "$1",
  "${1}",
  "`id`",
  "[id]",
  "NULL",
  "null",
  "0",
  "1",
  "1e3",
  "-1",
  "0x10",
  "x'00'",
  "\\",
  "\\'",
  "\\u0000",
  "e",
  "E",
  "é",
  "e\u0301",
  "\u{1f600}",
  "\u2028",
  "\ufeff",
  " ",
  "",
  "a".repeat(100_000)
]

const draftOf = (text: string): Draft => ({
  type: "a.v1",
  id: Event.idFrom(text),
  sessionId: text,
  keys: { [text]: "value", name: text },
  domainTags: [text],
  payload: { [text]: text }
})

interface Found {
  readonly seq: number
}

const seqs = (rows: ReadonlyArray<Found>) => rows.map(({ seq }) => seq)

/** What each text is found by, each in the way that an application asks. */
const finds = Effect.fnUntraced(function* (mirror: string, text: string) {
  return yield* Effect.flatMap(ReadSql, (sql) =>
    Effect.all({
      byName: sql<Found>`SELECT seq FROM sealog_keys WHERE name = ${text} AND value = 'value'`,
      byValue: sql<Found>`SELECT seq FROM sealog_keys WHERE name = 'name' AND value = ${text}`,
      bySession: sql<Found>`SELECT seq FROM sealog_index WHERE session_id = ${text}`,
      byId: sql<Found>`SELECT seq FROM sealog_index WHERE event_id = ${Event.idFrom(text)}`,
      among: sql<Found>`SELECT seq FROM sealog_keys WHERE name = 'name'
        AND ${sql.in("value", [text])}`
    })
  ).pipe(Effect.provide(SealogNode.layerMirrorReadOnly(mirror)))
})

const schemaOf = (mirror: string) =>
  JSON.stringify(query(mirror, "SELECT type, name, sql FROM sqlite_schema ORDER BY name"))

describe("Hostile text in SQL", () => {
  it.effect("is stored, and found by exactly its own filter", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "ledger")
      const mirror = path.join(directory, "mirror.sqlite")
      yield* using({ directory }, (ledger) => ledger.append({ type: "first.v1" }))
      const schema = schemaOf(mirror)
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.appendAll(hostile.map(draftOf))
          for (const [nth, text] of hostile.entries()) {
            const found = yield* finds(mirror, text)
            for (const [how, rows] of Object.entries(found)) {
              assert.deepStrictEqual(seqs(rows), [nth + 2], `${how} ${text.slice(0, 40)}`)
            }
            const event = yield* ledger.get(Event.idFrom(text))
            assert.deepStrictEqual([event.seq, event.sessionId], [nth + 2, text])
            assert.deepStrictEqual({ ...event.keys }, { [text]: "value", name: text })
          }
          yield* assertSound(ledger)
        })
      )
      assert.strictEqual(schemaOf(mirror), schema)
      assert.strictEqual(query(mirror, "SELECT id FROM events").length, hostile.length + 1)
    })
  )

  it.effect.prop(
    "is found by itself alone, whatever it is",
    [Arbitrary.array(Arbitrary.schema(Schema.String), { minLength: 1, maxLength: 8 })],
    ([generated]) =>
      Effect.gen(function* () {
        const directory = path.join(yield* TestLedger.directory, "ledger")
        const texts = [
          ...new Set(generated.map((text) => text.toWellFormed().replaceAll("\0", "'")))
        ].filter((text) => text !== "name")
        yield* using({ directory }, (ledger) => ledger.appendAll(texts.map(draftOf)))
        for (const [nth, text] of texts.entries()) {
          const found = yield* finds(path.join(directory, "mirror.sqlite"), text)
          for (const [how, rows] of Object.entries(found)) {
            assert.deepStrictEqual(seqs(rows), [nth + 1], `${how} ${JSON.stringify(text)}`)
          }
        }
      }),
    { arbitrary: { runs: 10, seed: 20260502 } }
  )

  it.effect("finds nothing where it is asked for as an id, and is told so", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "ledger")
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append({ type: "a.v1" })
          for (const text of hostile) {
            const asked = [Effect.asVoid(ledger.get(text)), Effect.asVoid(ledger.line(text))]
            for (const ask of asked) {
              const error = yield* Effect.flip(ask)
              assert.deepStrictEqual(
                [error._tag, Reflect.get(error, "ref")],
                ["EventNotFound", text]
              )
            }
          }
          for (const ref of [-1, 0, 0.5, 2, 2 ** 53, 1e300, Infinity, Number.NaN]) {
            // SQLite has no NaN; every other number is just no row.
            const tag = Number.isNaN(ref) ? "MirrorError" : "EventNotFound"
            const exit = yield* Effect.exit(ledger.get(ref))
            assert.isTrue(Exit.isFailure(exit))
            if (Exit.isFailure(exit)) {
              assert.strictEqual(tagOf(Cause.squash(exit.cause)), tag, `${ref}`)
            }
          }
        })
      )
    })
  )

  it.effect("a NUL, a foreign trace, id or type is refused with its place", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "ledger")
      const cases: ReadonlyArray<readonly [fields: object, path: RegExp]> = [
        [{ sessionId: "a\0" }, /^\/sessionId$/],
        [{ keys: { "a\0": "v" } }, /^\/keys/],
        [{ keys: { a: "v\0" } }, /^\/keys\/a$/],
        ...hostile.flatMap((text): ReadonlyArray<readonly [object, RegExp]> => [
          [{ traceId: text }, /^\/traceId$/],
          [{ id: text }, /^\/id$/],
          [{ parentId: text }, /^\/parentId$/],
          [{ type: text }, /^\/type$/],
          [{ type: `a.${text}.v1` }, /^\/type$/],
          [{ observedAt: text }, /^\/observedAt$/]
        ])
      ]
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          for (const [fields, at] of cases) {
            // As parts of a type, and only there, two of them are no strangers.
            if ("type" in fields && /^a\.(?:e|null)\.v1$/.test(String(fields.type))) continue
            const error = yield* Effect.flip(ledger.append({ type: "a.v1", ...fields }))
            assert.strictEqual(error._tag, "DraftInvalid", JSON.stringify(fields).slice(0, 80))
            assert.match(String(Reflect.get(error, "path")), at)
          }
          assert.strictEqual((yield* ledger.head).seq, 0)
        })
      )
    })
  )

  it.live("is no more on the command line", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "ledger")
      yield* using({ directory }, (ledger) => ledger.append({ type: "a.v1" }))
      const asked = ["1; DROP TABLE events", "' OR 1=1 --"]
      const all = asked.map((text) => sealog(["show", directory, text]))
      for (const { code, stdout } of yield* Effect.all(all, { concurrency: 2 })) {
        assert.deepStrictEqual([code, stdout], [2, ""])
      }
      yield* using({ directory }, assertSound)
    })
  )
})
