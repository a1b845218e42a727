import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Logger, Schema, Stream } from "effect"
import * as Manifest from "../../../src/core/Manifest.ts"
import * as Merkle from "../../../src/core/Merkle.ts"
import type { Draft } from "../../../src/core/Draft.ts"
import type { Ledger } from "../../../src/store/Ledger.ts"
import { Reader } from "../../../src/store/reading/Reader.ts"
import * as SealogNode from "../../../src/platform/SealogNode.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { meddle, named, using } from "../ledgerFixtures.ts"

type Service = Ledger["Service"]

const by = { operator: "ada", reason: "a wrong turn" }

const file = (directory: string) => path.join(directory, "manifest.json")

/** The files of a journal, line by line. */
const filesOf = (directory: string) =>
  fs
    .readdirSync(path.join(directory, "segments"))
    .toSorted()
    .map((name) => {
      const text = fs.readFileSync(path.join(directory, "segments", name))
      const rows = text.toString().split("\n").length - 1
      return { name, firstSeq: Number(name.slice(0, 16)), bytes: text.byteLength, rows }
    })
    .filter(({ rows }) => rows > 0)

/** What a manifest must say, from the rows themselves. */
const modelOf = Effect.fnUntraced(function* (ledger: Service, directory: string) {
  const rows = yield* Stream.runCollect(ledger.events())
  const byType: { [type: string]: number } = {}
  for (const { type } of rows) byType[type] = (byType[type] ?? 0) + 1
  const parents = new Set(rows.map(({ parentId }) => parentId))
  const files = filesOf(directory)
  const { eventHash, id, leafHash, seq } = yield* ledger.head
  return {
    head: { seq, leafHash, id, eventHash },
    counters: {
      rows: rows.length,
      byType,
      branches: rows.filter((row) => row.parentId !== undefined && !parents.has(row.id)).length,
      bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
      segments: files.length,
      checkpoints: (yield* ledger.checkpoints).length,
      operations: (yield* ledger.operations).length
    },
    files,
    root: Merkle.root(
      Merkle.appendAll(
        Merkle.empty,
        rows.map((row) => row.leafHash)
      )
    )
  }
})

const saidBy = ({ counters, files, head, integrity: { root } }: Manifest.Manifest) => ({
  head,
  counters,
  files,
  root
})

const Step = Schema.Union([
  Schema.Struct({
    do: Schema.Literal("append"),
    parents: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 30 }))).check(
      Schema.isMaxLength(5)
    )
  }),
  Schema.Struct({ do: Schema.Literals(["checkpoint", "manifest"]) }),
  Schema.Struct({ do: Schema.Literal("rollback"), to: Schema.Natural })
])

const history = Arbitrary.array(Arbitrary.schema(Step), { minLength: 1, maxLength: 12 })

/** Makes ids that no other row has; `parents` are seqs, those that are not there are left out. */
const append = Effect.fnUntraced(function* (
  ledger: Service,
  parents: ReadonlyArray<number>,
  serial: { n: number }
) {
  const { seq } = yield* ledger.head
  const drafts: Array<Draft> = []
  for (const parent of parents) {
    const draft = named(`row ${serial.n++}`, { type: `t.v${(parent % 3) + 1}` })
    const parentId = parent > 0 && parent <= seq ? (yield* ledger.get(parent)).id : undefined
    drafts.push(parentId === undefined ? draft : { ...draft, parentId })
  }
  yield* ledger.appendAll(drafts)
})

const run = Effect.fnUntraced(function* (
  ledger: Service,
  steps: ReadonlyArray<typeof Step.Type>,
  serial: { n: number }
) {
  for (const step of steps) {
    switch (step.do) {
      case "append":
        yield* append(ledger, step.parents, serial)
        break
      case "checkpoint":
        yield* ledger.checkpoint("as asked")
        break
      case "manifest":
        yield* ledger.manifest
        break
      case "rollback": {
        const all = yield* ledger.checkpoints
        const to = all[step.to % Math.max(1, all.length)]
        if (to !== undefined) yield* ledger.rollback(to, by)
      }
    }
  }
})

/** A ledger of a tree of rows in several segments, with two checkpoints; closed again. */
const makeLedger = Effect.fnUntraced(function* (directory: string) {
  yield* using({ directory, segmentBytesMax: 1200 }, (ledger) =>
    Effect.gen(function* () {
      const serial = { n: 0 }
      yield* append(ledger, [0], serial)
      yield* append(ledger, [1], serial)
      yield* ledger.checkpoint("one")
      yield* append(ledger, [1, 2], serial)
      yield* ledger.checkpoint("two")
      yield* append(ledger, [0, 4], serial)
    })
  )
})

const read = (directory: string) =>
  Effect.flatMap(Reader, (reader) => reader.manifest).pipe(
    Effect.provide(SealogNode.layerReader({ directory }))
  )

const inDirectory = Effect.map(TestLedger.directory, (directory) => path.join(directory, "l"))

describe("Manifests", () => {
  it.effect.prop(
    "says what the rows say, going on or from the first row, whatever was rolled back",
    [history, history],
    ([before, after]) =>
      Effect.gen(function* () {
        const directory = yield* inDirectory
        const options = { directory, segmentBytesMax: 900 }
        const serial = { n: 0 }
        yield* using(options, (ledger) => run(ledger, before, serial))
        yield* using(options, (ledger) =>
          Effect.gen(function* () {
            yield* run(ledger, after, serial)
            const goneOn = yield* ledger.manifest
            const model = yield* modelOf(ledger, directory)
            assert.deepStrictEqual<unknown>(saidBy(goneOn), model)
            assert.isTrue(Manifest.isSound(goneOn), JSON.stringify(goneOn.invariants))
            assert.strictEqual(fs.readFileSync(file(directory), "utf8"), Manifest.encode(goneOn))
            fs.rmSync(file(directory))
            assert.deepStrictEqual(yield* ledger.manifest, goneOn)
          })
        )
        assert.deepStrictEqual(
          (yield* read(directory)).counters.rows,
          filesOf(directory).reduce((sum, { rows }) => sum + rows, 0)
        )
      }),
    { arbitrary: { runs: 12 } }
  )

  it.effect("a ledger without rows has one too, and so has one file", () =>
    Effect.gen(function* () {
      const directory = yield* inDirectory
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          const { counters, integrity } = yield* ledger.manifest
          assert.deepStrictEqual([counters.rows, counters.bytes, counters.segments], [0, 0, 0])
          assert.strictEqual(integrity.root, Merkle.root(Merkle.empty))
          yield* ledger.append(named("a"))
          assert.strictEqual((yield* ledger.manifest).counters.rows, 1)
        })
      )
      const one = `${directory}.jsonl`
      yield* using({ file: one }, (ledger) =>
        Effect.gen(function* () {
          const type = "cortex.event.system_note.v1"
          yield* ledger.appendAll([{ type }, { type }])
          const { files, invariants } = yield* ledger.manifest
          const bytes = fs.statSync(one).size
          const name = path.basename(one)
          assert.deepStrictEqual<unknown>(files, [{ name, firstSeq: 1, bytes, rows: 2 }])
          assert.isTrue(Manifest.isSound({ invariants }))
        })
      )
      assert.isTrue(fs.existsSync(path.join(`${one}.sealog`, "manifest.json")))
    })
  )

  it.effect("is written at a checkpoint and at close, and not again where nothing came", () =>
    Effect.gen(function* () {
      const directory = yield* inDirectory
      const text = () => fs.readFileSync(file(directory), "utf8")
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(named("a"))
          assert.isFalse(fs.existsSync(file(directory)))
          yield* ledger.checkpoint("one")
          assert.include(text(), '"rows":1')
          yield* ledger.append(named("b"))
          assert.include(text(), '"rows":1')
        })
      )
      assert.include(text(), '"rows":2')
      const { ino } = fs.statSync(file(directory))
      yield* using({ directory }, () => Effect.void)
      assert.strictEqual(fs.statSync(file(directory)).ino, ino)
    })
  )

  it.effect("a reader counts beside a writer and writes nothing", () =>
    Effect.gen(function* () {
      const directory = yield* inDirectory
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* append(ledger, [0, 1, 1], { n: 0 })
          const manifest = yield* read(directory)
          assert.isFalse(fs.existsSync(file(directory)))
          assert.strictEqual(manifest.counters.rows, 3)
          const { at: _at, integrity, ...rest } = yield* ledger.manifest
          assert.deepInclude<unknown>(manifest, rest)
          assert.strictEqual(integrity.root, manifest.integrity.root)
        })
      )
    })
  )

  it.effect("a flipped bit is reported by verify, and the manifest is made anew", () =>
    Effect.gen(function* () {
      const directory = yield* inDirectory
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(named("a"))
          const good = Buffer.from(Manifest.encode(yield* ledger.manifest))
          for (let at = 0; at < good.length; at += 7) {
            const flipped = Buffer.from(good)
            flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8))
            fs.writeFileSync(file(directory), flipped)
            const report = yield* ledger.verify()
            assert.strictEqual(report._tag, "Intact")
            const kinds = report.remarks.map(({ path, reason: { kind } }) => [kind, path])
            assert.deepStrictEqual(kinds, [["manifest_damaged", file(directory)]], `byte ${at}`)
            yield* ledger.manifest
            assert.isTrue(fs.readFileSync(file(directory)).equals(good), `byte ${at}`)
          }
          assert.deepStrictEqual((yield* ledger.verify()).remarks, [])
        })
      )
    })
  )

  it.effect("whatever else stands in its place is reported, and fails nobody", () =>
    Effect.gen(function* () {
      const directory = yield* inDirectory
      const told: Array<unknown> = []
      const logger = Logger.layer([
        Logger.make(({ logLevel, message }) => told.push([logLevel, `${message}`]))
      ])
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(named("a"))
          fs.mkdirSync(file(directory))
          assert.strictEqual((yield* ledger.manifest).counters.rows, 1)
          assert.strictEqual((yield* ledger.checkpoint("one")).number, 1)
          const { remarks } = yield* ledger.verify()
          assert.deepStrictEqual(
            remarks.map(({ reason }) => reason.actual),
            ["Directory"]
          )
        })
      ).pipe(Effect.provide(logger))
      assert.strictEqual(told.length, 3)
      for (const one of told) {
        assert.match(JSON.stringify(one), /^\["Warn","manifest.json was not written: /)
      }
      fs.rmdirSync(file(directory))
      yield* using({ directory }, () => Effect.void)
      assert.isTrue(fs.statSync(file(directory)).isFile())
    })
  )

  it.effect("one of another history or ledger is not gone on from", () =>
    Effect.gen(function* () {
      const directory = yield* inDirectory
      const other = `${directory}-other`
      for (const [at, name] of [
        [directory, "a"],
        [other, "b"]
      ] as const) {
        yield* using({ directory: at, ledgerId: "l" }, (ledger) => ledger.append(named(name)))
      }
      fs.copyFileSync(file(other), file(directory))
      const foreign = { ...(yield* read(directory)), ledgerId: "x" }
      for (const text of [fs.readFileSync(file(other), "utf8"), Manifest.encode(foreign)]) {
        fs.writeFileSync(file(directory), text)
        yield* using({ directory }, (ledger) =>
          Effect.gen(function* () {
            yield* ledger.append(named(text.slice(0, 20) + text.length))
            const goneOn = yield* ledger.manifest
            fs.rmSync(file(directory))
            assert.deepStrictEqual(yield* ledger.manifest, goneOn)
          })
        )
      }
    })
  )

  const sabotage: ReadonlyArray<
    readonly [string, (directory: string) => void, ReadonlyArray<keyof Manifest.Invariants>]
  > = [
    ["nothing", () => undefined, []],
    ...(
      [
        ["UPDATE sealog_index SET parent_seq = 99 WHERE seq = 2", ["parentLinksClosed"]],
        ["UPDATE sealog_index SET parent_seq = 3 WHERE seq = 3", ["parentLinksClosed"]],
        ["UPDATE sealog_index SET byte_offset = 'x' WHERE seq = 2", ["indexWithinBounds"]],
        [
          "UPDATE sealog_index SET byte_length = 0 WHERE seq = 2",
          ["indexWithinBounds", "segmentsInOrder"]
        ],
        [
          "UPDATE sealog_index SET byte_offset = byte_offset + 9 WHERE seq = 5",
          ["indexWithinBounds"]
        ],
        [
          "UPDATE sealog_index SET segment = 'x' WHERE seq = 1",
          ["indexWithinBounds", "segmentsInOrder"]
        ],
        [
          "INSERT INTO sealog_index SELECT -1, 'x', NULL, 't', NULL, NULL, 1, 0, 1, 'l', ''",
          ["seqGapless"]
        ],
        [
          "UPDATE events SET prev_event_hash = event_hash WHERE id IN (SELECT event_id FROM sealog_index WHERE seq = 3)",
          ["chainValid"]
        ],
        [
          "UPDATE events SET prev_event_hash = event_hash WHERE id IN (SELECT event_id FROM sealog_index WHERE seq = 1)",
          ["chainValid"]
        ],
        [
          "UPDATE events SET prev_event_hash = NULL WHERE id IN (SELECT event_id FROM sealog_index WHERE seq = 6)",
          ["chainValid"]
        ],
        [
          "UPDATE events SET event_hash = 'x' WHERE id IN (SELECT event_id FROM sealog_index WHERE seq = 6)",
          ["chainValid"]
        ],
        [
          "DELETE FROM events WHERE id IN (SELECT event_id FROM sealog_index WHERE seq = 5)",
          ["chainValid"]
        ],
        [
          "DELETE FROM events WHERE id IN (SELECT event_id FROM sealog_index WHERE seq = 4)",
          ["branchHeadsIndexed", "chainValid"]
        ],
        ["UPDATE sealog_index SET leaf_hash = 'x' WHERE seq = 2", ["checkpointsInOrder"]]
      ] as const
    ).map(
      ([statement, broken]) =>
        [
          statement,
          (directory: string) => meddle(path.join(directory, "mirror.sqlite"), statement),
          broken
        ] as const
    ),
    [
      "a foreign file among the segments",
      (directory) => fs.writeFileSync(path.join(directory, "segments", "x"), ""),
      ["segmentsInOrder"]
    ],
    [
      "a segment that is gone",
      (directory) => fs.rmSync(path.join(directory, "segments", filesOf(directory)[0]?.name ?? "")),
      ["indexWithinBounds", "segmentsInOrder"]
    ],
    [
      "a last segment that is cut",
      (directory) => {
        const { bytes = 0, name = "" } = filesOf(directory).at(-1) ?? {}
        fs.truncateSync(path.join(directory, "segments", name), bytes - 1)
      },
      ["indexWithinBounds"]
    ],
    [
      "a head whose line is another",
      (directory) => {
        const { name = "" } = filesOf(directory).at(-1) ?? {}
        const at = path.join(directory, "segments", name)
        fs.writeFileSync(at, fs.readFileSync(at, "utf8").replaceAll("row 5", "row 6"))
      },
      ["chainValid"]
    ],
    [
      "a checkpoint that is damaged",
      (directory) =>
        fs.writeFileSync(path.join(directory, "checkpoints", "0000000000000001.json"), "{}"),
      ["checkpointsInOrder"]
    ],
    [
      "checkpoints that changed their places",
      (directory) => {
        const at = (n: number) => path.join(directory, "checkpoints", `000000000000000${n}.json`)
        fs.renameSync(at(1), at(3))
      },
      ["checkpointsInOrder"]
    ]
  ]

  for (const [what, meddled, broken] of sabotage) {
    it.effect(`says what does not hold: ${what}`, () =>
      Effect.gen(function* () {
        const directory = yield* inDirectory
        yield* makeLedger(directory)
        meddled(directory)
        const { invariants } = yield* read(directory)
        const found = Object.entries(invariants).filter(([, isHeld]) => !isHeld)
        assert.sameMembers(
          found.map(([name]) => name),
          [...broken]
        )
      })
    )
  }

  it.effect("an index that lacks a row has no root, and is counted all the same", () =>
    Effect.gen(function* () {
      const directory = yield* inDirectory
      yield* makeLedger(directory)
      const mirror = path.join(directory, "mirror.sqlite")
      meddle(mirror, "DELETE FROM sealog_index WHERE seq = 5", "DELETE FROM sealog_state")
      const { counters, integrity, invariants } = yield* read(directory)
      assert.deepStrictEqual([counters.rows, integrity.root], [5, null])
      assert.isFalse(invariants.seqGapless)
    })
  )

  it.effect("what did not hold is looked at again on demand, and where something was done", () =>
    Effect.gen(function* () {
      const directory = yield* inDirectory
      yield* makeLedger(directory)
      const mirror = path.join(directory, "mirror.sqlite")
      const set = (parent: string) =>
        meddle(mirror, `UPDATE sealog_index SET parent_seq = ${parent} WHERE seq = 5`)
      const isClosed = () =>
        JSON.parse(fs.readFileSync(file(directory), "utf8")).invariants.parent_links_closed
      set("99")
      fs.rmSync(file(directory))
      yield* using({ directory }, () => Effect.void)
      assert.isFalse(isClosed())
      set("NULL")
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.checkpoint("three")
          assert.isFalse(isClosed())
          yield* ledger.manifest
          assert.isTrue(isClosed())
        })
      )
      set("99")
      fs.rmSync(file(directory))
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.manifest
          assert.isFalse(isClosed())
          yield* ledger.rebuild(by)
        })
      )
      assert.isTrue(isClosed())
    })
  )
})
