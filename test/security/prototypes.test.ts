/**
 * Names that mean something to JavaScript are names like any other: they come back as they were
 * given, through every leg and every way to read, and no prototype is changed on the way.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import type { Draft } from "../../src/core/Draft.ts"
import * as Event from "../../src/core/Event.ts"
import * as Policy from "../../src/core/Policy.ts"
import * as PolicyGate from "../../src/store/writing/PolicyGate.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { Ledger } from "../../src/store/Ledger.ts"
import { jsonLines, sealog } from "../cli/sealog.ts"
import { assertSound, query, segmentLines, using } from "../store/ledgerFixtures.ts"

const names: ReadonlyArray<string> = [
  "__proto__",
  "constructor",
  "toString",
  "hasOwnProperty",
  "valueOf",
  "prototype",
  "__defineGetter__",
  "__lookupSetter__",
  "isPrototypeOf",
  "then",
  "toJSON",
  "length",
  "0",
  "-1"
]

/** What an attacker would hand in as JSON: own members, whatever they are called. */
const payloadText = (name: string): string => {
  const quoted = JSON.stringify(name)
  const inner = `{"polluted":true,"prototype":{"polluted":true}}`
  return `{${quoted}:${inner},"deep":[{${quoted}:{${quoted}:"value"}}]}`
}

const own = (name: string, value: string): { readonly [name: string]: string } =>
  JSON.parse(`{${JSON.stringify(name)}:${JSON.stringify(value)}}`)

const draftOf = (name: string): Draft => ({
  type: "a.v1",
  id: Event.idFrom(name),
  payloadText: payloadText(name),
  keys: own(name, `of ${name}`),
  sessionId: name,
  domainTags: [name],
  source: { type: "tool", name }
})

/** The names and values of every prototype that data could reach. */
const prototypes = () =>
  [Object.prototype, Array.prototype, Function.prototype, String.prototype].map((prototype) =>
    Reflect.ownKeys(prototype).map((key) => [
      String(key),
      typeof Object.getOwnPropertyDescriptor(prototype, key)?.value
    ])
  )

const unpolluted = (before: ReturnType<typeof prototypes>): void => {
  assert.deepStrictEqual(prototypes(), before)
  assert.isUndefined(Reflect.get({}, "polluted"))
  assert.isUndefined(Reflect.get([], "polluted"))
}

/** Fails unless an event says exactly what the draft of this name said. */
const says = (event: Event.Event, name: string): void => {
  assert.deepStrictEqual(event.sessionId, name)
  assert.deepStrictEqual(event.domainTags, [name])
  assert.deepStrictEqual(event.source, { type: "tool", name })
  assert.deepStrictEqual(Object.entries(event.keys ?? {}), [[name, `of ${name}`]])
  const payload = event.payload
  assert.isTrue(typeof payload === "object" && payload !== null)
  assert.isTrue(Object.hasOwn(Object(payload), name), `${name} is no member of its own`)
  assert.deepStrictEqual(
    JSON.parse(event.payloadText),
    JSON.parse(payloadText(name)),
    event.payloadText
  )
  const inner: unknown = Object.getOwnPropertyDescriptor(payload, name)?.value
  assert.strictEqual(JSON.stringify(inner), '{"polluted":true,"prototype":{"polluted":true}}')
}

describe("Names of JavaScript", () => {
  it.effect("come back from every leg as they were given", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "ledger")
      const before = prototypes()
      yield* using({ directory }, (ledger) => ledger.appendAll(names.map(draftOf)))
      const lines = segmentLines(directory)
      // The mirror is made again from the journal alone.
      for (const file of fs.readdirSync(directory)) {
        if (file.startsWith("mirror")) fs.rmSync(path.join(directory, file))
      }
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          assert.strictEqual(ledger.opened._tag, "Recovered")
          const events = yield* Stream.runCollect(ledger.events())
          for (const [nth, name] of names.entries()) {
            const event = events[nth]
            assert.isDefined(event)
            if (event !== undefined) says(event, name)
            says(yield* ledger.get(Event.idFrom(name)), name)
            const again = yield* ledger.append(draftOf(name))
            assert.strictEqual(again._tag, "AlreadyAppended", name)
          }
          yield* assertSound(ledger)
        })
      )
      assert.deepStrictEqual(segmentLines(directory), lines)
      const mirror = path.join(directory, "mirror.sqlite")
      const rows = query(mirror, "SELECT name, value, seq FROM sealog_keys ORDER BY seq")
      assert.deepStrictEqual(
        rows.map(({ name, value, seq }) => [name, value, seq]),
        names.map((name, nth) => [name, `of ${name}`, nth + 1])
      )
      for (const [nth, { payload_json }] of query(mirror, "SELECT * FROM events").entries()) {
        const text = String(payload_json)
        assert.deepStrictEqual(JSON.parse(text), JSON.parse(payloadText(names[nth] ?? "")))
      }
      unpolluted(before)
    })
  )

  it.effect("are told apart as contents: another value under such a name is a conflict", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "ledger")
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          for (const name of names) {
            yield* ledger.append(draftOf(name))
            const keys = own(name, "another")
            const error = yield* Effect.flip(ledger.append({ ...draftOf(name), keys }))
            assert.deepStrictEqual(
              [error._tag, Reflect.get(error, "differs")],
              ["IdConflict", ["keys"]],
              name
            )
            const payload = `{${JSON.stringify(name)}:1}`
            const other = { ...draftOf(name), payloadText: payload }
            assert.strictEqual((yield* Effect.flip(ledger.append(other)))._tag, "IdConflict", name)
          }
        })
      )
    })
  )

  it.effect("mean nothing as members of a draft, of its source or as parts of a type", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "ledger")
      const before = prototypes()
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          for (const name of names) {
            const strange: Draft = { ...draftOf("x"), ...JSON.parse(`{"${name}":{"type":"b.v1"}}`) }
            const error = yield* Effect.flip(ledger.append(strange))
            assert.deepStrictEqual(
              [error._tag, Reflect.get(error, "path")],
              ["DraftInvalid", `/${name}`]
            )
          }
          for (const type of ["constructor.v1", "prototype.to_string.v1", "then.v1"]) {
            const { seq } = yield* ledger.append({ type })
            assert.strictEqual((yield* ledger.get(seq)).type, type)
          }
          const upper = yield* Effect.flip(ledger.append({ type: "hasOwnProperty.v1" }))
          assert.strictEqual(upper._tag, "DraftInvalid")
        })
      )
      unpolluted(before)
    })
  )

  it.effect("are shown to rules as members, and rules may be called so themselves", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "ledger")
      const seen: Array<boolean> = []
      const rules = names
        .filter((name) => name !== "")
        .map((name) =>
          PolicyGate.rule({ id: name }, (draft) => {
            const payload: unknown = draft.payload
            if (Object.hasOwn(Object(payload), name)) seen.push(true)
            return Effect.succeed(
              Object.hasOwn(draft.keys ?? {}, name) ? Policy.reject("its own") : Policy.allow("ok")
            )
          })
        )
      const layer = TestLedger.layer<ReadonlyArray<never>>({ directory, rules })
      yield* Effect.gen(function* () {
        const ledger = yield* Ledger
        for (const name of names) {
          const error = yield* Effect.flip(ledger.append(draftOf(name)))
          assert.deepStrictEqual(
            [error._tag, Reflect.get(error, "ruleId")],
            ["PolicyRefused", name]
          )
        }
      }).pipe(Effect.provide(layer))
      assert.strictEqual(seen.length, names.length)
    })
  )

  it.live("pass through the command line, which prints them byte for byte", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "ledger")
      const lines = names.map((name) =>
        [
          `{"type":"a.v1","payload":${payloadText(name)}`,
          `"keys":{${JSON.stringify(name)}:"v"},"session_id":${JSON.stringify(name)}}`
        ].join(",")
      )
      const appended = yield* sealog(["append", directory], { stdin: `${lines.join("\n")}\n` })
      assert.deepInclude(appended, { code: 0, stdout: `appended ${names.length} rows\n` })
      const all = [
        sealog(["tail", directory, "-n", "100"]),
        sealog(["append", directory], { stdin: '{"type":"a.v1","__proto__":{"type":"b.v1"}}\n' })
      ]
      const [tail, ...refused] = yield* Effect.all(all, { concurrency: 2 })
      assert.strictEqual(tail?.stdout, `${segmentLines(directory).join("\n")}\n`)
      for (const [nth, row] of (tail === undefined ? [] : jsonLines(tail)).entries()) {
        const payload: unknown = Reflect.get(Object(row), "payload")
        assert.deepStrictEqual(payload, JSON.parse(payloadText(names[nth] ?? "")))
      }
      for (const { code, stderr } of refused) {
        assert.strictEqual(code, 1)
        assert.match(stderr, /at \/__proto__ expected no such member/)
      }
    })
  )
})
