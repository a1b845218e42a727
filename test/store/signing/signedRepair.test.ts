import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import * as SealogNode from "../../../src/platform/SealogNode.ts"
import type { Ledger } from "../../../src/store/Ledger.ts"
import type { Location } from "../../../src/store/journal/Layout.ts"
import * as TestLedger from "../../../src/testing/TestLedger.ts"
import { refusal } from "../crashKit.ts"
import { named, snapshot } from "../ledgerFixtures.ts"
import { assertSigned, next, own, place, using } from "../signedKit.ts"

const by = { operator: "ada", reason: "a row that nobody signed" }

const type = "cortex.event.decision.v1"

/** As `own`, but it signs whatever it is told to sign wrongly. */
const liar = () => {
  const state = { lies: false }
  const sign: (typeof own)["sign"] = (bytes) =>
    Effect.map(own.sign(bytes), (right) => (state.lies ? right.map((byte) => byte ^ 1) : right))
  return { attestor: { ...own, isTrusted: true, sign }, state }
}

interface Forged {
  readonly at: Location
  readonly mirror: string
  /** The mirror as it was before the forged row came. */
  readonly before: string
}

/** Two signed rows, then a group whose second row is forged, then a signed one: six rows at most. */
const forged = Effect.fnUntraced(function* (
  at: Location,
  body: (ledger: Ledger["Service"]) => Effect.Effect<unknown, unknown> = () => Effect.void
) {
  const name = "file" in at ? at.file : at.directory
  const mirror = path.join("file" in at ? `${name}.sealog` : name, "mirror.sqlite")
  const before = `${name}.before`
  const { attestor, state } = liar()
  yield* using({ ...at, attestor }, (ledger) =>
    Effect.gen(function* () {
      yield* ledger.append(named("a", { type }))
      yield* ledger.append(named("b", { type }))
      yield* body(ledger)
    })
  )
  fs.copyFileSync(mirror, before)
  yield* using({ ...at, attestor }, (ledger) =>
    Effect.gen(function* () {
      yield* ledger.append(named("c", { type }))
      state.lies = true
      yield* ledger.append(named("d", { type }))
      state.lies = false
      yield* ledger.append(named("e", { type }))
    })
  )
  return { at, mirror, before } satisfies Forged
})

const removeMirror = ({ mirror }: Forged) => {
  for (const suffix of ["", "-wal", "-shm"]) fs.rmSync(`${mirror}${suffix}`, { force: true })
}

/** Repair what a diagnosis shows, then go on with the ledger, and keep what was cut. */
const mend = Effect.fnUntraced(function* (
  { at }: Forged,
  kept: number,
  settings: { readonly publicKey?: string } = {}
) {
  const root = "file" in at ? path.dirname(at.file) : at.directory
  const before = snapshot(root)
  const plan = yield* SealogNode.diagnose({ ...at, ...settings })
  assert.match(plan.message, /row 4.*bad_signature/)
  assert.deepStrictEqual([plan.isNeeded, plan.to.seq], [true, kept])
  assert.deepStrictEqual(snapshot(root), before, "a diagnosis changes nothing")
  const done = yield* SealogNode.repair(plan, by, settings)
  assert.deepStrictEqual([done.outcome, done.head?.seq], ["ok", kept])
  const rows = done.cut.reduce((sum, one) => sum + (one.rows ?? 0), 0)
  assert.strictEqual(rows, 5 - kept, "what was cut is kept")
  const cut = done.cut.map(({ path }) => fs.readFileSync(path, "utf8")).join("")
  assert.include(cut, '"name":"d"')
  yield* using({ ...at, attestor: own }, (ledger) =>
    Effect.gen(function* () {
      assert.strictEqual((yield* ledger.head).seq, kept)
      yield* ledger.append(named("after", { type }))
      yield* assertSigned(ledger)
    })
  )
  const again = yield* SealogNode.diagnose({ ...at, ...settings })
  assert.isFalse(again.isNeeded, again.message)
})

describe("Repair of a signed ledger", () => {
  it.effect("goes past a row that is not signed by its key, and its signer goes on", () =>
    Effect.gen(function* () {
      const found = yield* forged({ directory: yield* place })
      removeMirror(found)
      fs.copyFileSync(found.before, found.mirror)
      assert.strictEqual((yield* refusal(found.at))._tag, "LedgerDamaged")
      yield* mend(found, 3)
    })
  )

  it.effect("takes the mirror back where it took such a row in", () =>
    Effect.gen(function* () {
      const found = yield* forged({ directory: yield* place })
      yield* mend(found, 3)
    })
  )

  it.effect("knows the key by a checkpoint where the mirror is gone", () =>
    Effect.gen(function* () {
      const found = yield* forged({ directory: yield* place }, (ledger) =>
        ledger.checkpoint("two rows")
      )
      removeMirror(found)
      assert.strictEqual((yield* refusal(found.at))._tag, "LedgerDamaged")
      yield* mend(found, 3)
    })
  )

  it.effect("knows the key that it is given where nothing states one", () =>
    Effect.gen(function* () {
      const found = yield* forged({ directory: yield* place })
      removeMirror(found)
      fs.rmSync(path.join(path.dirname(found.mirror), "checkpoints"), {
        recursive: true,
        force: true
      })
      const { publicKey } = own
      const blind = yield* SealogNode.diagnose(found.at)
      assert.isFalse(blind.isNeeded, "nobody has told whose the rows are")
      const error = yield* Effect.flip(using({ ...found.at, attestor: own }, () => Effect.void))
      assert.strictEqual(error._tag, "LedgerDamaged")
      yield* mend(found, 3, { publicKey })
    })
  )

  it.effect("goes past one in a file that Cortex reads", () =>
    Effect.gen(function* () {
      const file = path.join(yield* TestLedger.directory, "log.jsonl")
      const found = yield* forged({ file })
      removeMirror(found)
      fs.copyFileSync(found.before, found.mirror)
      assert.strictEqual((yield* refusal(found.at))._tag, "LedgerDamaged")
      yield* mend(found, 3)
    })
  )

  it.effect("cuts a group as a whole where one row of it is forged", () =>
    Effect.gen(function* () {
      const directory = yield* place
      let count = 0
      const sign: (typeof own)["sign"] = (bytes) =>
        Effect.map(own.sign(bytes), (right) =>
          // The first is the trial of the key; then rows 1 to 5.
          count++ === 4 ? right.map((byte) => byte ^ 1) : right
        )
      yield* using({ directory, attestor: { ...own, isTrusted: true, sign } }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(named("a", { type }))
          yield* ledger.appendAll([
            named("b", { type }),
            named("c", { type }),
            named("d", { type }),
            named("e", { type })
          ])
        })
      )
      const mirror = path.join(directory, "mirror.sqlite")
      yield* mend({ at: { directory }, mirror, before: mirror }, 1)
    })
  )

  for (const what of ["mirror", "checkpoint"] as const) {
    it.effect(`believes no ${what} of another ledger about whose the rows are`, () =>
      Effect.gen(function* () {
        const parent = yield* TestLedger.directory
        const [directory, foreign] = [path.join(parent, "led"), path.join(parent, "other")]
        for (const [at, attestor] of [
          [directory, own],
          [foreign, next]
        ] as const) {
          yield* using({ directory: at, attestor, seed: at.length }, (ledger) =>
            Effect.gen(function* () {
              yield* ledger.append(named("a", { payload: at }))
              if (at === foreign) yield* ledger.checkpoint("one row")
            })
          )
          fs.rmSync(path.join(directory, "checkpoints"), { recursive: true, force: true })
        }
        if (what === "mirror") {
          fs.copyFileSync(
            path.join(foreign, "mirror.sqlite"),
            path.join(directory, "mirror.sqlite")
          )
        } else {
          fs.cpSync(path.join(foreign, "checkpoints"), path.join(directory, "checkpoints"), {
            recursive: true
          })
        }
        const plan = yield* SealogNode.diagnose({ directory })
        assert.deepStrictEqual([plan.isNeeded, plan.to.seq, plan.cut], [true, 1, null])
        yield* SealogNode.repair(plan, by)
        yield* using({ directory, attestor: own }, (ledger) =>
          Effect.andThen(ledger.append(named("b")), assertSigned(ledger))
        )
      })
    )
  }
})
