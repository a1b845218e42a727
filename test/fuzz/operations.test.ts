/** Plans and outcomes of operations, written by any hand. */
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Path } from "effect"
import { Reactivity } from "effect/reactivity"
import * as Hashes from "../../src/core/Hashes.ts"
import * as SqliteClient from "../../src/platform/SqliteClient.ts"
import type { Layout } from "../../src/store/journal/Layout.ts"
import * as durable from "../../src/store/journal/durable.ts"
import * as Finishing from "../../src/store/upkeep/finishing.ts"
import { utf8 } from "../core/history.ts"
import type { Watch } from "../store/crashKit.ts"
import { dead, watchedFiles } from "../store/crashKit.ts"
import { planText as hashedText } from "../store/plans.ts"
import { layoutOf, odd, someShapes } from "./beside.ts"
import { fuzzEffect, showBytes } from "./choices.ts"
import type { Choices } from "./choices.ts"
import * as Texts from "./jsonTexts.ts"
import { mutated, rawBytes } from "./mutations.ts"

const root = fs.mkdtempSync(path.join(os.tmpdir(), "sealog-fuzz-"))
afterAll(() => fs.rmSync(root, { recursive: true }))

const segment = "0000000000000001.jsonl"
const journal = utf8.encode(
  Array.from({ length: 40 }, (_, nth) => `line ${nth} ${"x".repeat(50)}\n`).join("")
)
const floor = 1_000

const sha256 = (bytes: Uint8Array): string =>
  crypto.createHash("sha256").update(bytes).digest("hex")

const sizes = [floor, journal.byteLength, 1_500, 0, 999, journal.byteLength + 1]
  .map(String)
  .concat([
    "9007199254740991",
    "9007199254740992",
    "1e308",
    "-1",
    "1.5",
    "-0",
    '"1000"',
    "null",
    "1099511627776"
  ])

const files = [
  `segments/../${segment}`,
  `./${segment}`,
  `../segments/${segment}`,
  "../ledger.json"
].concat(
  [
    "0000000000000002.jsonl",
    "/etc/hostname",
    "",
    ".",
    "..",
    `${segment}\0`,
    "0000000000000000.jsonl"
  ],
  ["a".repeat(5_000), "\ud800"]
)

const cutText = (c: Choices): string => {
  const offset = c.once(3) ? c.pick(sizes) : String(floor + c.below(journal.byteLength - floor))
  const rest = String(Math.max(0, journal.byteLength - Number(offset)))
  const bytes = c.once(3) ? c.pick(sizes) : rest
  const range = journal.subarray(Number(offset), Number(offset) + Number(bytes))
  const hash = c.once(6)
    ? c.pick(["", "x", sha256(utf8.encode("")), "0".repeat(64)])
    : sha256(range)
  const file = c.once(6) ? c.pick(files) : segment
  const members = [
    ["file", JSON.stringify(file)],
    ["offset", offset],
    ["bytes", bytes],
    ["sha256", JSON.stringify(hash)],
    ["rows", odd(c, "null")],
    ["kept", c.once(10) ? JSON.stringify(c.pick(files)) : `"${segment}.cut"`]
  ]
  if (c.once(15)) members.push([c.pick(["file", "offset", "more"]), Texts.jsonText(c)])
  return `{${members.map(([name, value]) => `"${name}":${value}`).join(",")}}`
}

/** With the hash that it must have, where it is a text that could be hashed. */
const planText = (c: Choices): string => {
  const text = membersText(c)
  try {
    return hashedText(JSON.parse(text.toWellFormed()))
  } catch {
    return text
  }
}

const membersText = (c: Choices): string => {
  const cuts = c.once(8) ? c.list(3, () => cutText(c)) : [cutText(c)]
  const members = [
    ["id", odd(c, '"op_01"')],
    ["kind", odd(c, '"recovery"')],
    ["at", odd(c, '"2026-01-01T00:00:00Z"')],
    ["reason", odd(c, '"torn"')],
    ["cut", odd(c, `[${cuts.join(",")}]`)]
  ]
  return `{${members.map(([name, value]) => `"${name}":${value}`).join(",")}}\n`
}

interface Begun {
  readonly plan: Uint8Array
  readonly outcome: "none" | "empty" | "odd" | "folder"
}

const begun = (c: Choices): Begun => {
  const bytes = utf8.encode(planText(c).toWellFormed())
  const kind = c.below(12)
  const plan = kind === 10 ? mutated(c, bytes, [bytes]) : kind === 11 ? rawBytes(c) : bytes
  return { plan, outcome: c.once(8) ? c.pick(["empty", "odd", "folder"]) : "none" }
}

const place = (directory: string, { outcome, plan }: Begun): void => {
  const folder = path.join(directory, "operations", "op_01")
  fs.mkdirSync(path.join(directory, "segments"), { recursive: true })
  fs.mkdirSync(folder, { recursive: true })
  fs.writeFileSync(path.join(directory, "segments", segment), journal)
  fs.writeFileSync(path.join(folder, "plan.json"), plan)
  const at = path.join(folder, "outcome.json")
  if (outcome === "folder") fs.mkdirSync(at)
  else if (outcome !== "none") fs.writeFileSync(at, outcome === "odd" ? "{[" : "")
}

const names = (directory: string): ReadonlyArray<string> =>
  fs.readdirSync(directory, { recursive: true, encoding: "utf8" }).toSorted()

const callsMax = 300

const ended = { finished: 0, nothing: 0, OperationUnfinished: 0, JournalError: 0 }

const finish = Effect.fnUntraced(
  function* (layout: Layout) {
    let calls = 0
    // A plan may ask for no more work than there are bytes; beyond that every call fails.
    const watch: Watch = (call, effect) => (++calls > callsMax ? Effect.fail(dead(call)) : effect)
    const sql = yield* SqliteClient.make({ filename: ":memory:" })
    const place = { path: path.join(layout.journal, segment), offset: floor }
    const known = { floor: place, sql, hashes: Hashes.noble }
    const exit = yield* Finishing.finishAll(layout, known).pipe(
      Effect.provide(Layer.merge(watchedFiles(layout.root, watch), Path.layer)),
      Effect.exit
    )
    assert.isAtMost(calls, callsMax, "calls of the file system")
    if (Exit.isSuccess(exit)) return exit.value
    assert.isFalse(Cause.hasDies(exit.cause), Cause.pretty(exit.cause))
    const tag: unknown = Reflect.get(Object(Cause.squash(exit.cause)), "_tag")
    if (tag === "OperationUnfinished" || tag === "JournalError") ended[tag]++
    else assert.fail(String(tag))
    return undefined
  },
  Effect.scoped,
  Effect.provide(Reactivity.layer)
)

const carryOut = Effect.fnUntraced(function* (given: Begun) {
  const directory = path.join(root, "begun")
  fs.rmSync(directory, { recursive: true, force: true })
  place(directory, given)
  const before = names(directory)
  const layout = layoutOf(directory)
  const finished = yield* finish(layout)
  const left = new Uint8Array(fs.readFileSync(path.join(layout.journal, segment)))
  assert.isAtLeast(left.byteLength, floor, "cut below the floor")
  assert.deepStrictEqual(left, journal.subarray(0, left.byteLength))
  const made = names(directory).filter((name) => !before.includes(name))
  for (const name of made) assert.match(name, /^operations\/op_01\/(?:segments(?:\/|$))?[^/]*$/)
  if (left.byteLength < journal.byteLength) {
    const kept = made
      .filter((name) => /\.(?:cut|jsonl)$/.test(name))
      .map((name) => new Uint8Array(fs.readFileSync(path.join(directory, name))))
    assert.deepInclude(kept, journal.slice(left.byteLength))
  }
  if (finished === undefined) return
  ended[finished.length > 0 ? "finished" : "nothing"]++
  assert.deepStrictEqual(yield* finish(layout), given.outcome === "folder" ? finished : [])
})

describe("plan.json, fuzzed", () => {
  fuzzEffect(
    "cuts nothing below the floor or elsewhere, keeps what it cuts, or is refused",
    {
      cases: 200,
      generate: begun,
      show: ({ outcome, plan }) => `outcome ${outcome}, plan ${showBytes(plan)}`
    },
    carryOut,
    () => Object.entries(ended).forEach(([name, count]) => assert.isAbove(count, 0, name))
  )

  it.effect("of any bad shape, as long as is read, is refused", () =>
    Effect.gen(function* () {
      const refused = ended.OperationUnfinished
      for (const make of someShapes) {
        const plan = utf8.encode(make()).subarray(0, durable.wholeFileBytesMax)
        yield* carryOut({ plan, outcome: "none" })
      }
      assert.strictEqual(ended.OperationUnfinished, refused + someShapes.length)
    })
  )
})
