import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Stream } from "effect"
import * as SealogNode from "../../../src/platform/SealogNode.ts"
import { Ledger } from "../../../src/store/Ledger.ts"
import { Reader } from "../../../src/store/reading/Reader.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import * as faults from "../faults.ts"
import {
  assertLike,
  meddle,
  named,
  query,
  segmentLines,
  tables,
  using,
  vector
} from "../ledgerFixtures.ts"

const reading = <A, E>(
  directory: string,
  body: (reader: Reader["Service"]) => Effect.Effect<A, E>
) => Effect.flatMap(Reader, body).pipe(Effect.provide(SealogNode.layerReader({ directory })))

const segment = (directory: string) => path.join(directory, "segments", "0000000000000001.jsonl")
const mirrorOf = (directory: string) => path.join(directory, "mirror.sqlite")

const seqs = (reader: Reader["Service"]) =>
  Effect.map(Stream.runCollect(reader.events()), (events) => events.map((event) => event.seq))

/** A ledger of ten rows, closed. */
const tenRows = Effect.gen(function* () {
  const directory = yield* TestLedger.directory
  const drafts = Array.from({ length: 10 }, (_, n) => named(`row ${n + 1}`))
  yield* using({ directory }, (ledger) => ledger.appendAll(drafts))
  return directory
})

describe("a row that does not match its index row", () => {
  const index = (set: string) => (directory: string) =>
    meddle(mirrorOf(directory), `UPDATE sealog_index SET ${set} WHERE seq = 5`)
  const flip = (at: number) => (directory: string) => {
    const bytes = fs.readFileSync(segment(directory))
    const offset = Number(
      query(mirrorOf(directory), "SELECT byte_offset FROM sealog_index WHERE seq = 5")[0]?.[
        "byte_offset"
      ]
    )
    bytes[offset + at] = (bytes[offset + at] ?? 0) ^ 1
    fs.writeFileSync(segment(directory), bytes)
  }

  const cases: ReadonlyArray<readonly [string, "index" | "journal", (directory: string) => void]> =
    [
      ["whose leaf hash was changed in SQL", "index", index(`leaf_hash = '${"0".repeat(64)}'`)],
      [
        "whose place is another row's",
        "index",
        index(
          "(byte_offset, byte_length) = (SELECT byte_offset, byte_length FROM sealog_index WHERE seq = 8)"
        )
      ],
      [
        "whose place and leaf hash are another row's",
        "index",
        index(
          "(byte_offset, byte_length, leaf_hash) = " +
            "(SELECT byte_offset, byte_length, leaf_hash FROM sealog_index WHERE seq = 8)"
        )
      ],
      ["that has another id in SQL", "index", index(`event_id = 'evt_other'`)],
      [
        "that SQL has lost",
        "index",
        (at) => meddle(mirrorOf(at), "DELETE FROM sealog_index WHERE seq = 5")
      ],
      ["whose first byte was changed in the journal", "journal", flip(0)],
      ["whose middle byte was changed in the journal", "journal", flip(200)],
      ["that was cut off", "journal", (at) => fs.truncateSync(segment(at), 2_500)]
    ]

  for (const [name, leg, damage] of cases) {
    it.effect(`is reported, never believed: one ${name}`, () =>
      Effect.gen(function* () {
        const directory = yield* tenRows
        damage(directory)
        yield* reading(directory, (reader) =>
          Effect.gen(function* () {
            const error = yield* Effect.flip(reader.get(5))
            assertLike(error, { _tag: "RowDamaged", seq: 5, leg }, String(error))
            assertLike(yield* Effect.flip(reader.line(5)), { _tag: "RowDamaged", seq: 5 })
            assertLike(yield* Effect.flip(seqs(reader)), { _tag: "RowDamaged", seq: 5, leg })
            assert.strictEqual((yield* reader.get(4)).seq, 4)
            const report = yield* reader.verify()
            assert.strictEqual(report._tag, "Damaged")
          })
        )
      })
    )
  }

  const absurd = [
    "byte_length = 4611686018427387904",
    "byte_offset = -1",
    "segment = -7",
    "byte_length = 0.5"
  ]
  for (const set of absurd) {
    it.effect(`is damage, whatever the index says: ${set}`, () =>
      Effect.gen(function* () {
        const directory = yield* tenRows
        index(set)(directory)
        yield* reading(directory, (reader) =>
          Effect.gen(function* () {
            const error = yield* Effect.flip(reader.get(5))
            assert.include(["RowDamaged", "MirrorError"], error._tag)
          })
        )
      })
    )
  }

  it.effect("is told apart in a file of the original, too", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const file = path.join(directory, "log.jsonl")
      fs.writeFileSync(file, vector("log-unsigned.jsonl"))
      yield* using({ file }, (ledger) =>
        Effect.gen(function* () {
          const mirror = path.join(`${file}.sealog`, "mirror.sqlite")
          meddle(mirror, `UPDATE sealog_index SET leaf_hash = 'x' WHERE seq = 7`)
          assertLike(yield* Effect.flip(ledger.get(7)), {
            _tag: "RowDamaged",
            seq: 7,
            leg: "index"
          })
          const text = vector("log-unsigned.jsonl").toString()
          const [before = "", after = ""] = text.split(/(?<=^(?:.*\n){10})/)
          fs.writeFileSync(file, before + after.replace('"observed_at":"20', '"observed_at":"19'))
          assertLike(yield* Effect.flip(ledger.get(11)), { _tag: "RowDamaged", leg: "journal" })
        })
      )
    })
  )
})

describe("a reader beside the writer", () => {
  it.effect("sees what was committed, while the next group is on its way", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const disk = yield* faults.make
      const [reached, gone] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      yield* faults.using({ directory, disk }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(named("a"))
          yield* reading(directory, (reader) =>
            Effect.gen(function* () {
              assert.deepStrictEqual(yield* seqs(reader), [1])
              const until = Effect.andThen(
                Deferred.succeed(reached, undefined),
                Deferred.await(gone)
              )
              disk.fail({ operation: "sync", path: ".jsonl", until, times: 1 })
              const appending = yield* Effect.forkChild(ledger.appendAll([named("b"), named("c")]))
              yield* Deferred.await(reached)
              assert.strictEqual(segmentLines(directory).length, 3)
              for (const each of [reader, ledger]) {
                assert.strictEqual((yield* each.head).seq, 1)
                assert.deepStrictEqual(yield* seqs(each), [1])
                assertLike(yield* Effect.flip(each.get(2)), { _tag: "EventNotFound" })
                assertLike(yield* Effect.flip(each.get(named("b").id ?? "")), {
                  _tag: "EventNotFound"
                })
                assertLike(yield* each.parity, { jsonlEventCount: 1, sqliteEventCount: 1 })
                const report = yield* each.verify()
                assert.strictEqual(report._tag, "Intact", JSON.stringify(report))
              }
              yield* Deferred.succeed(gone, undefined)
              yield* Fiber.join(appending)
              assert.deepStrictEqual(yield* seqs(reader), [1, 2, 3])
              assert.strictEqual((yield* reader.get(3)).id, named("c").id)
            })
          )
        })
      )
    })
  )

  it.effect("keeps up with many appends", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      yield* using({ directory, segmentBytesMax: 5_000 }, (ledger) =>
        reading(directory, (reader) =>
          Effect.gen(function* () {
            const appending = yield* Effect.forkChild(
              Effect.forEach(
                Array.from({ length: 60 }, (_, n) => named(`${n}`)),
                (draft) => ledger.append(draft)
              )
            )
            let seen = 0
            while (seen < 60) {
              const rows = yield* seqs(reader)
              assert.isAtLeast(rows.length, seen)
              assert.deepStrictEqual(
                rows,
                rows.map((_, n) => n + 1)
              )
              assert.strictEqual((yield* reader.verify())._tag, "Intact")
              seen = rows.length
              yield* Effect.yieldNow
            }
            yield* Fiber.join(appending)
          })
        )
      )
    })
  )

  it.effect("changes no byte of the ledger", () =>
    Effect.gen(function* () {
      const directory = yield* tenRows
      const look = () =>
        fs
          .readdirSync(directory, { recursive: true, encoding: "utf8" })
          .filter(
            (name) =>
              !/-(?:shm|wal)$/.test(name) && fs.statSync(path.join(directory, name)).isFile()
          )
          .toSorted()
          .map((name) => [name, fs.readFileSync(path.join(directory, name)).toString("base64")])
      const before = [look(), tables(mirrorOf(directory))]
      yield* reading(directory, (reader) =>
        Effect.gen(function* () {
          assert.deepStrictEqual(yield* seqs(reader), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
          yield* reader.parity
          yield* reader.verify()
          yield* reader.line(3)
        })
      )
      assert.deepStrictEqual([look(), tables(mirrorOf(directory))], before)
    })
  )

  it.effect("needs no guard: any number of them, and the writer, have one ledger open", () =>
    Effect.gen(function* () {
      const directory = yield* tenRows
      const heads = Effect.all([1, 2, 3].map(() => reading(directory, (reader) => reader.head)))
      yield* using({ directory }, () =>
        Effect.map(heads, (all) =>
          assert.deepStrictEqual(
            all.map(({ seq }) => seq),
            [10, 10, 10]
          )
        )
      )
    })
  )

  it.effect("of a place without a ledger fails, and makes nothing there", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const at = path.join(directory, "nothing")
      const error = yield* Effect.flip(reading(at, (reader) => reader.head))
      assert.strictEqual(error._tag, "NotALedger")
      assert.isFalse(fs.existsSync(at))
    })
  )

  it.effect("comes with the layer of the ledger, and cannot write", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const layer = TestLedger.layer({ directory })
      yield* Effect.gen(function* () {
        yield* (yield* Ledger).append(named("a"))
        assert.strictEqual((yield* (yield* Reader).head).seq, 1)
      }).pipe(Effect.provide(Layer.fresh(layer)))
    })
  )
})

describe("a reader of what is no ledger", () => {
  it.effect("says so, for a path where nothing is and for an empty directory", () =>
    Effect.gen(function* () {
      const place = yield* TestLedger.directory
      const nothing = path.join(place, "nothing")
      const log = path.join(place, "log.jsonl")
      fs.mkdirSync(path.join(place, "empty"))
      fs.writeFileSync(log, "")
      const refusals = [
        [{ directory: nothing }, nothing, "nothing is there"],
        [{ file: `${nothing}.jsonl` }, `${nothing}.jsonl.sealog`, "nothing is there"],
        [{ file: log }, `${log}.sealog`, "nothing is there"],
        [{ directory: log }, log, "it is a file"],
        [
          { directory: path.join(place, "empty") },
          path.join(place, "empty"),
          "it has neither ledger.json nor a mirror"
        ]
      ] as const
      for (const [location, at, reason] of refusals) {
        const opened = Layer.build(SealogNode.layerReader(location))
        assertLike(yield* Effect.flip(opened), { _tag: "NotALedger", path: at, reason })
      }
      assert.deepStrictEqual(fs.readdirSync(place).toSorted(), ["empty", "log.jsonl"])
    })
  )

  it.effect("is none where the ledger has lost its mirror", () =>
    Effect.gen(function* () {
      const directory = yield* tenRows
      fs.rmSync(mirrorOf(directory))
      const failed = yield* Effect.flip(Layer.build(SealogNode.layerReader({ directory })))
      assertLike(failed, { _tag: "MirrorError", operation: "open" })
    })
  )
})
