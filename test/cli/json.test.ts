import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as json from "../../src/cli/json.ts"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import * as Ledger from "../../src/store/Ledger.ts"

const vectors = fileURLToPath(new URL("../vectors/cortex/", import.meta.url))

interface Audit {
  readonly rows_scanned: number
  readonly failures: ReadonlyArray<{ readonly line: number; readonly event_id: string }>
}

const files: ReadonlyArray<{
  readonly file: string
  readonly kind: string
  readonly expect: { readonly audit?: Audit | { readonly error: string } }
}> = JSON.parse(fs.readFileSync(path.join(vectors, "corrupt/expected.json"), "utf8")).files

// Untouched rows that the original itself calls broken, as it reads decimals inexactly.
const falseAlarms = new Set(["corrupt/self-written-float-drift.jsonl"])
// Payloads with two readings, which the original passes.
const ambiguous = new Set(["corrupt/payload-duplicate-member.jsonl"])

describe("json", () => {
  it.effect("audit says of every damaged file what the original's audit says", () =>
    Effect.gen(function* () {
      let compared = 0
      for (const { file, kind, expect } of files) {
        if (expect.audit === undefined || kind === "missing") continue
        const report = yield* Ledger.verify({ file: path.join(vectors, file) })
        const ours = json.audit(report, file)
        if ("error" in expect.audit || ambiguous.has(file)) {
          // What it cannot open is listed here, row by row, under kinds of our own.
          assert.isNotEmpty(ours.failures, file)
          continue
        }
        if (falseAlarms.has(file)) {
          assert.isNotEmpty(expect.audit.failures)
          assert.deepStrictEqual(ours.failures, [])
          continue
        }
        assert.deepStrictEqual<unknown>(ours, expect.audit, file)
        compared++
      }
      assert.isAbove(compared, 50)
    }).pipe(Effect.provide(SealogNode.layerPlatform))
  )
})
