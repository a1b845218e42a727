/**
 * No name leaves the ledger: not one in a plan, not one among the segments, not one that the index
 * of a mirror makes up.
 */
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema, Stream } from "effect"
import * as Segment from "../../src/core/Segment.ts"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import { Reader } from "../../src/store/reading/Reader.ts"
import { sealog } from "../cli/sealog.ts"
import { meddle, using } from "../store/ledgerFixtures.ts"
import { ledgerOfTwo, segmentOf, untouched, victim } from "./kit.ts"
import { ending, readers, verifying } from "./ways.ts"

const opening = (directory: string) => using({ directory }, () => Effect.void)

const sha256 = (bytes: Uint8Array): string =>
  crypto.createHash("sha256").update(bytes).digest("hex")

interface Cut {
  readonly file: string
  readonly offset: number
  readonly bytes: number
  readonly sha256: string
}

const id = "op_01JZZZZZZZZZZZZZZZZZZZZZZZ"

/** Leave a plan in a ledger, as an operation would that was begun and not finished. */
const leavePlan = (directory: string, cut: Cut): void => {
  const folder = path.join(directory, "operations", id)
  fs.mkdirSync(folder, { recursive: true })
  const plan = { id, kind: "recovery", at: "2030-01-01T00:00:00Z", reason: "r", cut: [cut] }
  fs.writeFileSync(path.join(folder, "plan.json"), JSON.stringify(plan))
}

const outside = Buffer.from("somebody else's bytes\n")

/** Names that would reach somebody else's file, or an own one by a detour. */
const hostileNames: ReadonlyArray<string> = [
  "../../victim",
  "../victim",
  "../ledger.json",
  "../guard",
  "../mirror.sqlite",
  "/etc/passwd",
  "a/b",
  "..",
  ".",
  "",
  "./0000000000000002.jsonl",
  "../segments/0000000000000002.jsonl",
  "0000000000000002.jsonl/",
  "0000000000000002.jsonl/../../../victim",
  "0000000000000002.jsonl\0",
  "\u00000000000000000002.jsonl",
  "..\\victim",
  "0000000000000000.jsonl",
  "9999999999999999.jsonl",
  "00000000000000002.jsonl",
  "٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٢.jsonl",
  "0000000000000002.jsonl\n",
  "0000000000000002.JSONL",
  "0000000000000001.jsonl",
  "0000000000000003.jsonl",
  "x".repeat(10_000)
]

describe("A plan cuts nothing but the end of its own ledger", () => {
  it.effect("whatever file it names", () =>
    Effect.gen(function* () {
      const { directory, parent } = yield* ledgerOfTwo
      fs.writeFileSync(path.join(parent, "victim"), outside)
      fs.writeFileSync(path.join(directory, "victim"), outside)
      // The digest is right for the victims, so nothing but the name can stop it.
      const cut = { offset: 0, bytes: outside.byteLength, sha256: sha256(outside) }
      for (const file of [...hostileNames, path.join(parent, "victim")]) {
        leavePlan(directory, { ...cut, file })
        const before = untouched(parent)
        const { message, tag } = yield* ending(opening(directory))
        assert.strictEqual(tag, "OperationUnfinished", file)
        assert.isBelow(message.length, 1000)
        assert.deepStrictEqual(untouched(parent), before, file)
      }
    })
  )

  it.effect.prop(
    "whatever text a generator names",
    [Arbitrary.schema(Schema.String)],
    ([file]) =>
      Effect.gen(function* () {
        assert.isTrue(Segment.firstSeq(file) === undefined || /^\d{16}\.jsonl$/.test(file))
        const { directory } = yield* ledgerOfTwo
        leavePlan(directory, { file, offset: 0, bytes: 1, sha256: sha256(Buffer.from("{")) })
        const before = untouched(directory)
        assert.strictEqual((yield* ending(opening(directory))).tag, "OperationUnfinished")
        assert.deepStrictEqual(untouched(directory), before)
      }),
    { arbitrary: { runs: 10, seed: 20260501 } }
  )

  it.effect("nor any row that the mirror holds, wherever it begins and however long it is", () =>
    Effect.gen(function* () {
      const sound = yield* ledgerOfTwo
      const file = path.basename(segmentOf(sound.directory, 2))
      const bytes = fs.readFileSync(segmentOf(sound.directory, 2))
      const ranges: ReadonlyArray<readonly [offset: number, bytes: number]> = [
        [0, bytes.byteLength],
        [bytes.byteLength - 1, 1],
        [bytes.byteLength + 1, 1],
        [-1, 1],
        [0.5, 1],
        [0, -1],
        [Number.MAX_SAFE_INTEGER, 1],
        [1e300, 1]
      ]
      for (const [offset, length] of ranges) {
        const { directory } = yield* ledgerOfTwo
        const part = bytes.subarray(Math.max(0, offset), Math.max(0, offset + length))
        leavePlan(directory, { file, offset, bytes: length, sha256: sha256(part) })
        const before = untouched(directory)
        const { tag } = yield* ending(opening(directory))
        assert.strictEqual(tag, "OperationUnfinished", `${offset} ${length}`)
        // Bytes may have been kept before the length was found wrong; no row was touched.
        const rows = (states: ReadonlyArray<string>) =>
          states.filter((state) => !/operations\/op_|^operations /.test(state))
        assert.deepStrictEqual(rows(untouched(directory)), rows(before))
      }
    })
  )
})

const foreignNames: ReadonlyArray<string> = [
  ".hidden",
  "0000000000000002.jsonl.bak",
  "0000000000000003.JSONL",
  "000000000000003.jsonl",
  "0000000000000000.jsonl",
  "9999999999999999.jsonl",
  "٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٣.jsonl",
  "0000000000000003.jsonl\n",
  "\u001b]0;owned\u0007\u001b[2J",
  "..\\..\\victim",
  "x".repeat(255)
]

describe("A foreign name among the segments", () => {
  it.effect("is refused by opening and told by verify, and nothing else is looked at", () =>
    Effect.gen(function* () {
      for (const name of foreignNames) {
        const { directory } = yield* ledgerOfTwo
        const foreign = victim(path.join(directory, "segments", name))
        const before = untouched(directory)
        const opened = yield* ending(opening(directory))
        assert.strictEqual(opened.tag, "LedgerDamaged", name)
        const verified = yield* ending(verifying({ directory }))
        assert.deepStrictEqual(
          [verified.tag, /foreign_file/.test(verified.message)],
          ["Damaged", true]
        )
        assert.deepStrictEqual(untouched(directory), before)
        assert.isTrue(foreign.isUnchanged())
      }
    })
  )

  it.live("cannot steer the terminal of whoever verifies", () =>
    Effect.gen(function* () {
      const { directory } = yield* ledgerOfTwo
      const names = ["\u001b]0;owned\u0007\u001b[2J\r\n", "\u202ejsonl.\u2028", "\u009b31m"]
      for (const name of names) victim(path.join(directory, "segments", name))
      const [verified, appended] = yield* Effect.all(
        [sealog(["verify", directory]), sealog(["append", directory])],
        { concurrency: 2 }
      )
      assert.strictEqual(verified.code, 1)
      assert.strictEqual(appended.code, 1)
      for (const text of [verified.stdout, appended.stderr]) {
        // oxlint-disable-next-line no-control-regex
        assert.notMatch(text, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u202a-\u202e]/)
        assert.match(text, /\\u001b/)
      }
    })
  )
})

/** What somebody could put where the index says a row lies. */
const hostileColumns: ReadonlyArray<string> = [
  "segment = -1",
  "segment = 0",
  "segment = 9007199254740991",
  "segment = 9007199254740993",
  "segment = 9223372036854775807",
  "segment = 1.5",
  "segment = '../../victim'",
  "segment = x'2e2e2f'",
  "byte_offset = -5",
  "byte_offset = 9007199254740991",
  "byte_offset = '1'||char(0)",
  "byte_length = -1",
  "byte_length = 9007199254740991",
  "byte_length = 2147483647",
  "byte_length = x'00'",
  "seq = -7",
  "seq = 9223372036854775807",
  "event_id = '../../victim'||char(0)",
  "leaf_hash = '../../victim'"
]

const named =
  /^(?:ok|RowDamaged|MirrorError|JournalError|EventNotFound|LedgerDiverged|LedgerDamaged|Damaged)$/

describe("An index that lies", () => {
  it.effect("makes nobody read or write anything but the ledger", () =>
    Effect.gen(function* () {
      for (const [nth, columns] of hostileColumns.entries()) {
        const { directory, parent } = yield* ledgerOfTwo
        const outside = victim(path.join(parent, "victim"), "VICTIM ".repeat(200))
        meddle(
          path.join(directory, "mirror.sqlite"),
          `UPDATE sealog_index SET ${columns} WHERE seq = ${(nth % 2) + 1}`
        )
        const before = untouched(directory)
        const all = readers({ directory }, path.join(parent, "copy"))
        for (const [how, reader] of Object.entries(all)) {
          // Those that look at no index, and the one that takes long, need not meet every lie.
          if (/^(?:verify|head)$/.test(how) || (how === "backup" && nth % 4 !== 0)) continue
          const { message, tag } = yield* ending(reader)
          assert.match(tag, named, `${columns}, ${how}: ${message}`)
          assert.notInclude(message, "VICTIM")
        }
        assert.deepStrictEqual(untouched(directory), before, columns)
        const { message, tag } = yield* ending(opening(directory))
        assert.match(tag, named, `${columns}: ${message}`)
        assert.strictEqual(fs.readdirSync(path.join(directory, "segments")).length, 2)
        assert.isTrue(outside.isUnchanged())
      }
    })
  )

  it.effect("is told by verify, whichever column it lies in", () =>
    Effect.gen(function* () {
      for (const columns of hostileColumns) {
        const { directory } = yield* ledgerOfTwo
        meddle(
          path.join(directory, "mirror.sqlite"),
          `UPDATE sealog_index SET ${columns} WHERE seq = 1`
        )
        const report = yield* ending(
          Effect.flatMap(Reader, (reader) =>
            Effect.flatMap(reader.verify(), (report) =>
              report._tag === "Intact" ? Effect.void : Effect.fail(report)
            )
          ).pipe(Effect.provide(SealogNode.layerReader({ directory })))
        )
        assert.match(report.tag, /^(?:Damaged|MirrorError)$/, columns)
      }
    })
  )

  it.effect("answers no stream with a row twice, or with one too few", () =>
    Effect.gen(function* () {
      const { directory } = yield* ledgerOfTwo
      const copy = "INSERT INTO sealog_index SELECT 3, 'evt_x', parent_seq, event_type, session_id,"
      meddle(
        path.join(directory, "mirror.sqlite"),
        `${copy} trace_id, segment, byte_offset, byte_length, leaf_hash, observed_at
          FROM sealog_index WHERE seq = 2`
      )
      const read = Effect.flatMap(Reader, (reader) => Stream.runCount(reader.events()))
      const { tag } = yield* ending(Effect.provide(read, SealogNode.layerReader({ directory })))
      assert.strictEqual(tag, "RowDamaged")
    })
  )
})
