/** What somebody put into `events` does not keep a repair from its end, nor appends from going on. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { assertSound, meddle, named, using } from "../store/ledgerFixtures.ts"

const put = (id: string, nth: number) =>
  `INSERT INTO events (id, schema_version, observed_at, recorded_at, source_json, event_type,
     domain_tags_json, payload_json, payload_hash, event_hash)
   VALUES (${id}, 1, 'a', 'b', '{}', 'x', '[]', '{}', 'h', 'e${nth}')`

const hostile = {
  "an id with a NUL": [put("'zz' || char(0) || 'b'", 1), put("'zz' || char(0) || 'c'", 2)],
  "no id": [put("NULL", 1), put("NULL", 2)],
  "bytes for an id": [put("x'00ff'", 1), put("x'01'", 2)],
  "an integer that no number holds": [
    "UPDATE events SET schema_version = 9007199254740993 WHERE rowid > 2"
  ]
}

describe("A repair of a mirror that has", () => {
  for (const [name, statements] of Object.entries(hostile)) {
    it.live(`${name} keeps it as text and takes it out`, () =>
      Effect.gen(function* () {
        const directory = path.join(yield* TestLedger.directory, "l")
        const drafts = ["a", "b", "c", "d"].map((one) => named(one))
        yield* using({ directory }, (ledger) =>
          Effect.forEach(drafts, (draft) => ledger.append(draft), { discard: true })
        )
        meddle(path.join(directory, "mirror.sqlite"), ...statements)
        const segment = path.join(directory, "segments", "0000000000000001.jsonl")
        const lines = fs.readFileSync(segment, "utf8").split("\n")
        fs.writeFileSync(segment, `${lines.slice(0, 2).join("\n")}\n`)
        const plan = yield* SealogNode.diagnose({ directory })
        const { id } = yield* SealogNode.repair(plan, { operator: "ada", reason: "meddled with" })
        const kept = path.join(directory, "operations", id, "mirror.jsonl")
        const inserted = statements.filter((text) => text.startsWith("INSERT")).length
        assert.strictEqual(fs.readFileSync(kept, "utf8").split("\n").length - 1, 2 + inserted)
        yield* using({ directory }, (ledger) =>
          Effect.andThen(ledger.append(named("e")), assertSound(ledger))
        )
      })
    )
  }
})
