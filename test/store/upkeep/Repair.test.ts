import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { Checkpoint, Maintenance, Repair } from "../../../src/index.ts"
import * as SealogNode from "../../../src/platform/SealogNode.ts"
import type { Ledger } from "../../../src/store/Ledger.ts"
import { RolledBack } from "../../../src/store/reading/Reader.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { refusal } from "../crashKit.ts"
import { snapshot, using } from "../ledgerFixtures.ts"
import { planText } from "../plans.ts"

const by = { operator: "ada", reason: "bad sector, disk replaced" }

type Service = Ledger["Service"]

const append = Effect.fnUntraced(function* (ledger: Service, count: number) {
  for (let nth = 0; nth < count; nth++) {
    yield* ledger.append({ type: "row.added.v1", payload: nth, keys: { nth: `${nth}` } })
  }
})

/** Nine rows in three segments, a checkpoint at the third and one at the sixth. */
const made = Effect.gen(function* () {
  const directory = path.join(yield* TestLedger.directory, "l")
  const positions = yield* using({ directory, segmentBytesMax: 2_200 }, (ledger) =>
    Effect.gen(function* () {
      yield* append(ledger, 3)
      yield* ledger.checkpoint("three")
      yield* append(ledger, 3)
      yield* ledger.checkpoint("six")
      yield* append(ledger, 3)
      return yield* ledger.events().pipe(
        Stream.map(({ position }) => position),
        Stream.runCollect
      )
    })
  )
  const segments = fs.readdirSync(path.join(directory, "segments")).toSorted()
  assert.strictEqual(segments.length, 3)
  return {
    directory,
    positions,
    at: (nth: number) => path.join(directory, "segments", segments[nth] ?? "")
  }
})

type Made = Effect.Success<typeof made>

const flip = (file: string, offset: number) => {
  const bytes = fs.readFileSync(file)
  bytes[offset] = (bytes[offset] ?? 0) ^ 1
  fs.writeFileSync(file, bytes)
}

const sql = ({ directory }: Made, text: string) => {
  const db = new DatabaseSync(path.join(directory, "mirror.sqlite"))
  db.exec(text)
  db.close()
}

interface Case {
  readonly damage: (made: Made) => void
  /** How opening refuses it; undefined where it opens, as it reads no old rows. */
  readonly tag: string | undefined
  readonly finding: RegExp
  readonly kept: number
}

const cases: { readonly [name: string]: Case } = {
  "a changed byte in the first segment": {
    damage: (made) => flip(made.at(0), 700),
    tag: undefined,
    finding: /row 2/,
    kept: 1
  },
  "a changed byte in the first row": {
    damage: (made) => flip(made.at(0), 40),
    tag: undefined,
    finding: /row 1/,
    kept: 0
  },
  "a changed byte in the last segment": {
    damage: (made) => {
      flip(made.at(2), 40)
      sql(
        made,
        "DELETE FROM sealog_index WHERE seq > 6; DELETE FROM events WHERE id NOT IN (SELECT event_id FROM sealog_index); DELETE FROM sealog_keys WHERE seq > 6"
      )
    },
    tag: "LedgerDamaged",
    finding: /row 7/,
    kept: 6
  },
  "a segment that is gone": {
    damage: (made) => fs.rmSync(made.at(1)),
    // Opening does not look behind the mirror's newest row; verification does.
    tag: undefined,
    finding: /where row 4 follows/,
    kept: 3
  },
  "a foreign file among the segments": {
    damage: (made) => fs.writeFileSync(path.join(path.dirname(made.at(0)), "notes"), "mine"),
    tag: "LedgerDamaged",
    finding: /foreign file/,
    kept: 9
  },
  "a journal that lost acknowledged rows": {
    damage: (made) => fs.rmSync(made.at(2)),
    tag: "LedgerDiverged",
    finding: /the mirror holds rows up to 9, what is kept ends at 6/,
    kept: 6
  },
  "a mirror of another history": {
    damage: (made) =>
      sql(made, `UPDATE sealog_index SET leaf_hash = '${"0".repeat(64)}' WHERE seq = 9`),
    tag: "LedgerDiverged",
    finding: /newest row is not what the journal holds/,
    kept: 9
  },
  "an event in SQL with another content": {
    damage: (made) =>
      sql(
        made,
        "DELETE FROM sealog_index WHERE seq > 6; UPDATE events SET payload_json = '77' WHERE payload_json = '1'"
      ),
    tag: "LedgerDiverged",
    finding: /events and journal differ/,
    kept: 9
  },
  "a mirror that is no database": {
    damage: (made) =>
      fs.writeFileSync(path.join(made.directory, "mirror.sqlite"), "x".repeat(5_000)),
    tag: "MirrorError",
    finding: /the mirror cannot be read/,
    kept: 9
  },
  "a checkpoint of another history": {
    damage: ({ directory }) => {
      const file = path.join(directory, "checkpoints", Checkpoint.name(2))
      const decoded = Checkpoint.decode(fs.readFileSync(file, "utf8"))
      if (decoded._tag === "Failure") throw decoded.failure
      const { head, tree } = decoded.success
      const other = { ...decoded.success, head: { ...head, leafHash: "1".repeat(64) }, tree }
      fs.writeFileSync(file, Checkpoint.encode(Checkpoint.make(other)))
    },
    tag: "LedgerDiverged",
    finding: /checkpoint 2 states another history/,
    kept: 9
  },
  "an operation that can never be finished": {
    damage: ({ directory }) => {
      const folder = path.join(directory, "operations", "op_1")
      fs.mkdirSync(folder, { recursive: true })
      const cut = {
        file: "0000000000000001.jsonl",
        offset: 10,
        bytes: 5,
        sha256: "x",
        rows: null,
        kept: "x"
      }
      fs.writeFileSync(path.join(folder, "plan.json"), planText({ cut: [cut] }))
    },
    tag: "OperationUnfinished",
    finding: /op_1 can never be finished/,
    kept: 9
  },
  "a plan that cannot be read": {
    damage: ({ directory }) => {
      fs.mkdirSync(path.join(directory, "operations", "op_1"), { recursive: true })
      fs.writeFileSync(path.join(directory, "operations", "op_1", "plan.json"), "{}")
    },
    tag: "OperationUnfinished",
    finding: /op_1 can never be finished/,
    kept: 9
  }
}

describe("Repair", () => {
  for (const [name, { damage, finding, kept, tag }] of Object.entries(cases)) {
    it.effect(`goes past ${name}, keeps what it sets aside, and says what it did`, () =>
      Effect.gen(function* () {
        const place = yield* made
        const { directory, positions } = place
        damage(place)
        if (tag !== undefined) assert.strictEqual((yield* refusal({ directory }))._tag, tag)
        const before = snapshot(directory)
        const lines = fs
          .readdirSync(path.join(directory, "segments"))
          .flatMap((name) =>
            fs.readFileSync(path.join(directory, "segments", name), "latin1").split("\n")
          )
        const plan = yield* SealogNode.diagnose({ directory })
        assert.match(plan.message, finding)
        assert.deepStrictEqual([plan.isNeeded, plan.to.seq], [true, kept])
        assert.deepStrictEqual(snapshot(directory), before, "a diagnosis changes nothing")
        const done = yield* SealogNode.repair(plan, by)
        assert.deepStrictEqual(
          [done.kind, done.state, done.outcome, done.operator, done.head?.seq],
          ["repair", "finished", "ok", "ada", kept]
        )
        const everywhere = fs
          .readdirSync(directory, { recursive: true, withFileTypes: true })
          .filter((entry) => entry.isFile() && !/^(?:mirror\.sqlite|guard)/.test(entry.name))
          .map((entry) => fs.readFileSync(path.join(entry.parentPath, entry.name), "latin1"))
          .join("\n")
        for (const line of lines) assert.include(everywhere, line)
        yield* using({ directory, segmentBytesMax: 2_200 }, (ledger) =>
          Effect.gen(function* () {
            assert.strictEqual((yield* ledger.head).seq, kept)
            yield* append(ledger, 2)
            const report = yield* ledger.verify()
            assert.strictEqual(report._tag, "Intact", JSON.stringify(report))
            const last = positions[8]
            if (
              kept < 9 &&
              kept > 0 &&
              last !== undefined &&
              plan.from?.seq === 9 &&
              fs.existsSync(place.at(2)) === false
            ) {
              const gone = yield* Effect.flip(Stream.runDrain(ledger.events({ after: last })))
              if (done.cut.some(({ rows }) => rows !== null)) assert.instanceOf(gone, RolledBack)
            }
          })
        )
        assert.isFalse((yield* SealogNode.diagnose({ directory })).isNeeded)
      })
    )
  }

  it.effect("refuses a plan that is not what is there any more, and one that does nothing", () =>
    Effect.gen(function* () {
      const place = yield* made
      const { directory } = place
      const nothing = yield* SealogNode.diagnose({ directory })
      assert.isFalse(nothing.isNeeded)
      const none = yield* Effect.flip(SealogNode.repair(nothing, by))
      assert.instanceOf(none, Maintenance.OperationFailed)
      assert.strictEqual(none.errorClass, "nothing_to_repair")
      flip(place.at(2), 40)
      const plan = yield* SealogNode.diagnose({ directory })
      flip(place.at(1), 40)
      const before = snapshot(directory)
      assert.instanceOf(yield* Effect.flip(SealogNode.repair(plan, by)), Repair.PlanOutdated)
      const said = yield* Effect.flip(SealogNode.repair(plan, { ...by, operator: " " }))
      assert.instanceOf(said, Maintenance.RequestInvalid)
      assert.deepStrictEqual(snapshot(directory), before)
    })
  )

  for (const [what, name] of [
    ["with a backslash", "back\\\\slash"],
    ["that is no UTF-8", "a\\377"]
  ] as const) {
    it.effect.skipIf(process.platform !== "linux")(
      `refuses a foreign file of a name ${what}, as no plan can say it, and changes nothing`,
      () =>
        Effect.gen(function* () {
          const { directory } = yield* made
          const stuck = path.join(directory, "operations", "op_1")
          fs.mkdirSync(stuck, { recursive: true })
          fs.writeFileSync(path.join(stuck, "plan.json"), "{}")
          // A shell's: not every runtime can write such a name, but each must live with it.
          const shell = (command: string) =>
            execFileSync("sh", ["-c", `${command} "$(printf '${name}')"`], {
              cwd: path.join(directory, "segments")
            })
          shell("touch")
          const plan = yield* SealogNode.diagnose({ directory })
          assert.deepStrictEqual([plan.isNeeded, plan.foreign.length], [true, 1])
          const error = yield* Effect.flip(SealogNode.repair(plan, by))
          assert.strictEqual(error._tag, "JournalError")
          assert.match(error.message, /move it away/)
          assert.deepStrictEqual(fs.readdirSync(stuck), ["plan.json"])
          assert.isFalse(fs.existsSync(path.join(directory, "marker")))
          shell("rm")
          const again = yield* SealogNode.diagnose({ directory })
          yield* SealogNode.repair(again, by)
          yield* using({ directory }, (ledger) => append(ledger, 1))
        })
    )
  }

  it.effect("tells of a checkpoint that does not hold together, and needs none to open", () =>
    Effect.gen(function* () {
      const { directory } = yield* made
      const junk = path.join(directory, "checkpoints", Checkpoint.name(7))
      fs.writeFileSync(junk, "junk")
      const notes = path.join(directory, "checkpoints", "notes")
      fs.writeFileSync(notes, "mine")
      assert.include(
        (yield* SealogNode.diagnose({ directory })).message,
        `${notes} is no checkpoint`
      )
      fs.rmSync(notes)
      const plan = yield* SealogNode.diagnose({ directory })
      assert.deepStrictEqual([plan.isNeeded, plan.hasSteps], [false, true])
      assert.deepStrictEqual(plan.checkpoints, [7])
      assert.match(plan.message, /nothing to repair.*Checkpoint 7 does not hold together/)
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          assert.strictEqual(ledger.opened._tag, "Clean")
          assert.strictEqual((yield* ledger.verify())._tag, "Damaged")
        })
      )
      const done = yield* SealogNode.repair(plan, by)
      assert.strictEqual(done.outcome, "ok")
      assert.isFalse(fs.existsSync(junk))
      const kept = path.join(directory, "operations", done.id, "checkpoints", Checkpoint.name(7))
      assert.strictEqual(fs.readFileSync(kept, "utf8"), "junk")
      const after = yield* SealogNode.diagnose({ directory })
      assert.deepStrictEqual([after.isNeeded, after.hasSteps], [false, false])
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          assert.strictEqual((yield* ledger.verify())._tag, "Intact")
          assert.strictEqual((yield* ledger.checkpoint("next")).number, 8)
        })
      )
    })
  )

  it.effect("is told how long lines may be, as opening is", () =>
    Effect.gen(function* () {
      const { directory } = yield* made
      const lineBytesMax = 300
      assert.strictEqual((yield* SealogNode.diagnose({ directory })).isNeeded, false)
      const plan = yield* SealogNode.diagnose({ directory, lineBytesMax })
      assert.match(plan.message, /a line of \d+ bytes, the limit is 300/)
      assert.instanceOf(yield* Effect.flip(SealogNode.repair(plan, by)), Repair.PlanOutdated)
      const done = yield* SealogNode.repair(plan, by, { lineBytesMax })
      assert.strictEqual(done.head?.seq, 0)
      const wrong = yield* Effect.exit(SealogNode.diagnose({ directory, lineBytesMax: 0 }))
      assert.include(String(wrong), "lineBytesMax must be a whole number above 0")
    })
  )

  it.effect("refuses while somebody has the ledger open", () =>
    Effect.gen(function* () {
      const place = yield* made
      const { directory } = place
      const plan = yield* SealogNode.diagnose({ directory })
      yield* using({ directory }, () =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(SealogNode.repair(plan, by))
          assert.strictEqual(error._tag, "StoreBusy")
        })
      )
    })
  )
})
