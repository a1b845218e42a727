/**
 * Where a damaged row is told of, its content is not; and the few places where something of an
 * event is told on purpose, each with what it tells.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import type { Scope } from "effect"
import { Effect } from "effect"
import * as LedgerModule from "../../src/store/Ledger.ts"
import * as Policy from "../../src/core/Policy.ts"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import { Ledger } from "../../src/store/Ledger.ts"
import * as PolicyGate from "../../src/store/writing/PolicyGate.ts"
import { Reader } from "../../src/store/reading/Reader.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { meddle, using } from "../store/ledgerFixtures.ts"
import { failureOf, heard, said, secret } from "./canary.ts"
import { withChecksum } from "./kit.ts"
import { reading } from "./ways.ts"

const segmentOf = (directory: string) => path.join(directory, "segments/0000000000000001.jsonl")

const mirrorOf = (directory: string) => path.join(directory, "mirror.sqlite")

/** A closed ledger of two secret rows. */
const secretLedger = Effect.gen(function* () {
  const directory = path.join(yield* TestLedger.directory, "ledger")
  yield* using({ directory }, (ledger) => ledger.appendAll([secret("a"), secret("b")]))
  return directory
})

const verifyAll = (directory: string) =>
  Effect.provide(LedgerModule.verify({ directory }), SealogNode.layerPlatform)

/** Every finding of a report, as it is printed and as JSON. */
const findings = (report: Effect.Success<ReturnType<typeof verifyAll>>): string =>
  report._tag === "Intact"
    ? ""
    : report.failures.map((each) => `${each.message} ${JSON.stringify(each)}`).join("\n")

const stepBytes = 13

describe("A damaged row", () => {
  it.effect("is told by its place and its hashes, whichever byte of it was changed", () =>
    Effect.gen(function* () {
      const directory = yield* secretLedger
      const sound = fs.readFileSync(segmentOf(directory))
      // The second row: the first stays to be linked to.
      const from = sound.indexOf("\n") + 1
      let found = 0
      for (let at = from; at < sound.byteLength; at += stepBytes) {
        for (const byte of [0x22, 0x00, 0x31, (sound[at] ?? 0) ^ 1]) {
          const bytes = Buffer.from(sound)
          bytes[at] = byte
          fs.writeFileSync(segmentOf(directory), bytes)
          const text = findings(yield* verifyAll(directory))
          if (text !== "") found++
          assert.deepStrictEqual(heard(text), [], `byte ${at} as ${byte}: ${text}`)
        }
      }
      assert.isAbove(found, 100)
    })
  )

  it.effect("nor is one that was written anew, its checksum right and a member of it wrong", () =>
    Effect.gen(function* () {
      const forgeries: ReadonlyArray<readonly [RegExp, string]> = [
        [/"id":"[^"]*"/, '"id":"CANARYid"'],
        [/"observed_at":"[^"]*"/, '"observed_at":"CANARYtime"'],
        [/"source":\{[^}]*\}/, '"source":{"type":"CANARYsource"}'],
        [/"event_type":"[^"]*"/, '"event_type":"CANARYtype"'],
        [/"trace_id":"[^"]*"/, '"trace_id":"CANARYtrace"'],
        [/"session_id":"[^"]*"/, '"session_id":"\\u0000CANARYsession"'],
        [/"domain_tags":\[[^\]]*\]/, '"domain_tags":"CANARYtag"'],
        [/"keys":\{[^}]*\}/, '"keys":"CANARYkeys"'],
        [/"batch":\[[^\]]*\]/, '"batch":"CANARYbatch"']
      ]
      const directory = yield* secretLedger
      const [first = "", second = ""] = fs.readFileSync(segmentOf(directory), "utf8").split("\n")
      for (const [member, forged] of forgeries) {
        const line = second.replace(member, forged)
        assert.notStrictEqual(line, second, forged)
        fs.writeFileSync(segmentOf(directory), `${first}\n${withChecksum(line)}`)
        const text = findings(yield* verifyAll(directory))
        assert.include(text, "row_unreadable", forged)
        assert.deepStrictEqual(heard(text), [])
      }
    })
  )

  it.effect("is refused on opening and on reading in the same words", () =>
    Effect.gen(function* () {
      for (const needle of [
        "CANARYpayload",
        '"CANARYvalue"',
        '"session_id":"',
        '"domain_tags":['
      ]) {
        const directory = yield* secretLedger
        const bytes = fs.readFileSync(segmentOf(directory))
        const at = bytes.indexOf(needle) + needle.length - 1
        bytes[at] = (bytes[at] ?? 0) ^ 1
        fs.writeFileSync(segmentOf(directory), bytes)
        const got = yield* failureOf(reading({ directory }, (reader) => reader.get(1)))
        assert.deepStrictEqual(heard(said(got)), [], needle)
        fs.rmSync(mirrorOf(directory))
        const opened = yield* failureOf(using({ directory }, () => Effect.void))
        assert.deepStrictEqual(heard(said(opened)), [], needle)
      }
    })
  )
})

type Told = readonly [
  what: string,
  /** Why this is right, or the least that must be told. */
  why: string,
  tells: ReadonlyArray<string>,
  by: Effect.Effect<string, unknown, Scope.Scope>
]

const append = (...args: Parameters<Ledger["Service"]["append"]>) =>
  Effect.gen(function* () {
    const directory = path.join(yield* TestLedger.directory, "ledger")
    return said(yield* failureOf(using({ directory }, (ledger) => ledger.append(...args))))
  })

const withRule = (rule: PolicyGate.Rule) =>
  Effect.gen(function* () {
    const directory = path.join(yield* TestLedger.directory, "ledger")
    const layer = TestLedger.layer<ReadonlyArray<never>>({ directory, rules: [rule] })
    const ledger = Effect.flatMap(Ledger, (ledger) => ledger.append(secret("a")))
    return said(yield* failureOf(Effect.provide(ledger, layer)))
  })

const verifiedAfter = (statement: string) =>
  Effect.gen(function* () {
    const directory = yield* secretLedger
    meddle(mirrorOf(directory), statement)
    const report = yield* Effect.flatMap(Reader, (reader) => reader.verify()).pipe(
      Effect.provide(SealogNode.layerReader({ directory }))
    )
    return findings(report)
  })

const told: ReadonlyArray<Told> = [
  [
    "the path of a draft's member that does not fit",
    "names of members lead to the place that must be mended; values do not stand there",
    ["CANARYmember"],
    append(secret("a", { payload: { CANARYmember: [undefined] } }))
  ],
  [
    "the path of a key that does not fit",
    "as above",
    ["CANARYname"],
    append(secret("a", { keys: JSON.parse('{"CANARYname":1}') }))
  ],
  [
    "a name that stands twice in a payload",
    "as above",
    ["CANARYmember"],
    append(
      secret("a", {
        payload: undefined,
        payloadText: '{"CANARYmember":1,"CANARYmember":"CANARYx"}'
      })
    )
  ],
  [
    "a member that no draft has",
    "a slip of the pen is found by its name",
    ["CANARYmember"],
    append({ ...secret("a"), ...JSON.parse('{"CANARYmember":"CANARYvalue"}') })
  ],
  [
    "a type, id, trace, parent or time that is none",
    "what is none of these is told, its first 64 characters, as it names no event",
    ["CANARYtype"],
    append(secret("a", { type: "CANARYtype" }))
  ],
  [
    "a number of the payload that cannot be kept",
    "its first 64 characters: which spelling it is decides whether it can",
    ["CANARYnumber"],
    Effect.map(append(secret("a", { payload: undefined, payloadText: "[1e4242]" })), (text) =>
      text.replaceAll("1e4242", "CANARYnumber")
    )
  ],
  [
    "what a getter or toJSON of the payload throws",
    "it is that code's own message, its first 64 characters",
    ["CANARYthrown"],
    append(
      secret("a", {
        payload: {
          toJSON: () => {
            throw new Error("CANARYthrown")
          }
        }
      })
    )
  ],
  [
    "the reason that a rule gives",
    "a rule decides what it says; it was written to be read",
    ["CANARYreason"],
    withRule(PolicyGate.rule({ id: "r" }, () => Effect.succeed(Policy.reject("CANARYreason"))))
  ],
  [
    "the first line of what a rule dies of",
    "without it nobody could mend the rule",
    ["CANARYdefect"],
    withRule(PolicyGate.rule({ id: "r" }, () => Effect.die(new Error("CANARYdefect\nCANARYmore"))))
  ],
  [
    "verify: an index row that differs",
    "both rows as they are, which hold session and trace: whoever verifies may read the ledger",
    ["CANARYTRACE", "CANARYforged", "CANARYsession"],
    verifiedAfter("UPDATE sealog_index SET session_id = 'CANARYforged' WHERE seq = 1")
  ],
  [
    "verify: a key that is missing in the index",
    "the name of the key, not its value",
    ["CANARYname"],
    verifiedAfter("DELETE FROM sealog_keys WHERE seq = 2")
  ],
  [
    "verify: a row of events that differs",
    "the columns by name and both hashes",
    [],
    verifiedAfter("UPDATE events SET payload_json = '\"CANARYforged\"', trace_id = 'CANARYx'")
  ]
]

describe("What is told on purpose", () => {
  for (const [what, why, tells, by] of told) {
    it.effect(`${what}: ${why}`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(heard(yield* by), tells)
      })
    )
  }
})
