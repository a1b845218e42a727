import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Crc32c from "../../../src/core/Crc32c.ts"
import type { VerifyReport } from "../../../src/core/VerifyReport.ts"
import * as SealogNode from "../../../src/platform/SealogNode.ts"
import * as Ledger from "../../../src/store/Ledger.ts"
import { named, using as plainly } from "../ledgerFixtures.ts"
import { next, other, own, place, using } from "../signedKit.ts"

const by = { operator: "ada", reason: "a test" }

const kinds = (report: VerifyReport) =>
  report._tag === "Intact" ? [] : report.failures.map(({ reason, seq }) => [seq, reason.kind])

const said = ({ notProven }: VerifyReport) => notProven.join("\n")

const verify = (file: string, options: Parameters<typeof Ledger.verifyPart>[1] = {}) =>
  Effect.provide(Ledger.verifyPart(file, options), SealogNode.layerPlatform)

/** Rows 2 to 4 of a signed ledger, cut by a rollback; row 2 hands over where it `rotates`. */
const cut = Effect.fnUntraced(function* (rotates: boolean) {
  const directory = yield* place
  return yield* using({ directory, attestor: own }, (ledger) =>
    Effect.gen(function* () {
      yield* ledger.append(named("a"))
      const checkpoint = yield* ledger.checkpoint("one row")
      yield* rotates ? ledger.rotateKey(next) : ledger.append(named("b"))
      yield* ledger.append(named("c"))
      yield* ledger.append(named("d"))
      const done = yield* ledger.rollback(checkpoint, by)
      const [file] = done.cut
      const { lineage } = checkpoint
      if (file === undefined || lineage === null) throw new Error("nothing was cut")
      return { file: file.path, lineage }
    })
  )
})

/** Change the signature of row 2, and its checksum with it. */
const forge = (file: string) => {
  const [first = "", ...rest] = fs.readFileSync(file, "utf8").split("\n")
  const bytes = /"bytes":"([^"]+)"/.exec(first)?.[1] ?? ""
  // Its second half: what the next signature rests on stays.
  const forged = `${bytes.slice(0, 60)}${bytes.slice(60, 61) === "A" ? "B" : "A"}${bytes.slice(61)}`
  const line = new TextEncoder().encode(first.replace(bytes, forged))
  const covered = line.byteLength - ',"crc32c":"00000000"}'.length
  const crc = Crc32c.hex8(Crc32c.of(line, 0, covered))
  const text = new TextDecoder().decode(line.subarray(0, covered))
  return [`${text},"crc32c":"${crc}"}`, ...rest].join("\n")
}

describe("verifyPart", () => {
  it.effect("says that it checked no signature where it knows no key", () =>
    Effect.gen(function* () {
      const { file } = yield* cut(false)
      const report = yield* verify(file)
      assert.deepStrictEqual([report._tag, report.checks["signatures"]], ["Intact", "Skipped"])
      assert.include(said(report), "their signatures were not checked")
    })
  )

  it.effect("says nothing of signatures where there are none", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* place, "led")
      const file = yield* plainly({ directory }, (ledger) =>
        Effect.gen(function* () {
          const checkpoint = yield* ledger.checkpoint("no row")
          yield* ledger.append(named("a"))
          return (yield* ledger.rollback(checkpoint, by)).cut[0]?.path ?? ""
        })
      )
      assert.notInclude(said(yield* verify(file)), "signatures were")
    })
  )

  for (const rotates of [false, true]) {
    const after = rotates ? "that hands over to another key" : "by the same key"
    it.effect(`holds rows to the key that is given, behind a first one ${after}`, () =>
      Effect.gen(function* () {
        const { file, lineage } = yield* cut(rotates)
        const { publicKey } = own
        const known = yield* verify(file, { signatures: { ledgerId: "led", publicKey } })
        assert.deepStrictEqual([kinds(known), known.checks["signatures"]], [[], "Passed"])
        assert.include(said(known), "that row 2 is signed by that key")
        assert.notInclude(said(known), "not checked")
        const whole = yield* verify(file, { signatures: { ledgerId: "led", lineage } })
        assert.deepStrictEqual([kinds(whole), whole.checks["signatures"]], [[], "Passed"])
        assert.notInclude(said(whole), "row 2")
        for (const signatures of [
          { ledgerId: "led", publicKey: other.publicKey },
          { ledgerId: "another", publicKey }
        ]) {
          const wrong = yield* verify(file, { signatures })
          assert.deepInclude(kinds(wrong), [4, "bad_signature"], JSON.stringify(signatures))
        }
      })
    )
  }

  it.effect("finds a forged first row by the lineage before it", () =>
    Effect.gen(function* () {
      const { file, lineage } = yield* cut(false)
      fs.writeFileSync(file, forge(file))
      const found = kinds(yield* verify(file, { signatures: { ledgerId: "led", lineage } }))
      assert.deepInclude(found, [2, "bad_signature"])
    })
  )

  it.effect("refuses a key that is none", () =>
    Effect.gen(function* () {
      const { file } = yield* cut(false)
      const signatures = { ledgerId: "led", publicKey: "ada" }
      const error = yield* Effect.flip(verify(file, { signatures }))
      assert.strictEqual(error._tag, "PublicKeyInvalid")
    })
  )
})
