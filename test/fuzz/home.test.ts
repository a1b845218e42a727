/** ledger.json written by any hand. */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit } from "effect"
import * as durable from "../../src/store/journal/durable.ts"
import * as Home from "../../src/store/journal/Home.ts"
import type { Layout } from "../../src/store/journal/Layout.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { text, utf8 } from "../core/history.ts"
import { layoutOf, odd, someShapes } from "./beside.ts"
import { fuzzEffect, showBytes } from "./choices.ts"
import type { Choices } from "./choices.ts"
import * as Texts from "./jsonTexts.ts"
import { mutated, rawBytes } from "./mutations.ts"
import * as Textbook from "./textbook.ts"

const root = fs.mkdtempSync(path.join(os.tmpdir(), "sealog-fuzz-"))
afterAll(() => fs.rmSync(root, { recursive: true }))

const identityText = (c: Choices): string => {
  const members = [
    ["id", odd(c, '"doors"')],
    ["format", odd(c, '"sealog/1"')],
    ["created", odd(c, '"2026-01-01T00:00:00Z"')]
  ]
  if (c.once(6)) members.push([c.pick(["id", "format", "more", "__proto__"]), Texts.jsonText(c)])
  if (c.once(6)) members.splice(c.below(members.length), 1)
  return `{${members.map(([name, value]) => `"${name}":${value}`).join(",")}}\n`
}

const identityBytes = (c: Choices): Uint8Array => {
  const bytes = utf8.encode(identityText(c))
  const kind = c.below(8)
  if (kind === 6) return mutated(c, bytes, [bytes])
  return kind === 7 ? rawBytes(c) : bytes
}

/** What the file says by the grammar, where it says it with no escape in a name. */
const identityByBook = (bytes: Uint8Array): string | undefined => {
  const book = Textbook.parse(text(bytes))
  if (book === undefined) return "NotALedger"
  if (book.hasEscapedName) return undefined
  const { json } = book
  const members = json.kind === "object" ? new Map(json.members) : new Map<string, Textbook.Json>()
  const said = (name: string) => {
    const value = members.get(name)
    return value?.kind === "string" ? value.text : undefined
  }
  const format = said("format")
  if (format !== undefined && format !== Home.format) return "FormatUnknown"
  const [id, created] = [said("id"), said("created")]
  const isWhole = [id, created, format].every((one) => one !== undefined)
  return isWhole ? JSON.stringify({ id, format, created }) : "NotALedger"
}

const said = { NotALedger: 0, FormatUnknown: 0, identity: 0 }

const readIdentity = Effect.fnUntraced(function* (layout: Layout, bytes: Uint8Array) {
  fs.writeFileSync(layout.ledgerJson, bytes)
  const exit = yield* Effect.exit(Home.readIdentity(layout))
  if (Exit.isSuccess(exit)) return JSON.stringify(exit.value)
  assert.isFalse(Cause.hasDies(exit.cause), Cause.pretty(exit.cause))
  const error = Cause.squash(exit.cause)
  assert.instanceOf(error, Error)
  if (error instanceof Error) assert.isBelow(error.message.length, 1_000)
  return String(Reflect.get(Object(error), "_tag"))
})

describe("ledger.json, fuzzed", () => {
  const layout = layoutOf(root)

  fuzzEffect(
    "is read as the grammar does, or the ledger is refused by name",
    { cases: 1_000, generate: identityBytes, show: showBytes },
    (bytes) =>
      Effect.gen(function* () {
        const found = yield* readIdentity(layout, bytes)
        if (found === "NotALedger" || found === "FormatUnknown") said[found]++
        else said.identity++
        assert.strictEqual(found, identityByBook(bytes) ?? found)
      }).pipe(Effect.provide(TestLedger.layerPlatform())),
    () => Object.entries(said).forEach(([name, count]) => assert.isAbove(count, 10, name))
  )

  it.effect("of any bad shape, as long as is read, is refused", () =>
    Effect.gen(function* () {
      const longest = durable.wholeFileBytesMax
      for (const json of someShapes.map((make) => make().slice(0, longest - 100))) {
        for (const whole of [
          json,
          `{"format":${json},"id":${json}`,
          `{"id":"","format":"${json}"}`
        ]) {
          const bytes = utf8.encode(whole).subarray(0, longest)
          assert.include(["NotALedger", "FormatUnknown"], yield* readIdentity(layout, bytes))
        }
      }
      const other = (length: number) => utf8.encode(`{"format":"${"x".repeat(length - 13)}"}`)
      assert.strictEqual(yield* readIdentity(layout, other(longest)), "FormatUnknown")
      assert.strictEqual(yield* readIdentity(layout, other(longest + 1)), "NotALedger")
    }).pipe(Effect.provide(TestLedger.layerPlatform()))
  )
})
