/**
 * A mirror's file and its log damaged at random, below SQL, beside a sound journal; on real files.
 *
 * Verification reports or fails by name. Opening recovers or refuses by name; it never changes the
 * journal, and what it opens holds every row. Seeds are fixed, and a finding tells the damage.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Event from "../../src/core/Event.ts"
import { Ledger } from "../../src/store/Ledger.ts"
import { Reader } from "../../src/store/reading/Reader.ts"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { query, using } from "../store/ledgerFixtures.ts"
import { identity, manyRows } from "./fixture.ts"
import { Findings, outcomeOf } from "./lab.ts"
import { columns } from "./meddling.ts"

import { damaged, dice } from "./random.ts"
import { isExhaustive, isOurs, share, sweepMillisMax } from "./turns.ts"

const made = manyRows(60, 5)
const rows = made.lines.length
const ids = made.lines.map((_, nth) => Event.idFrom(`row ${nth + 1}`))

/** All that a mirror holds of the journal, as a scan reads it; undefined where none can. */
const tablesOf = (mirror: string): string | undefined => {
  try {
    const all = Object.entries(columns).map(([table, names]) => {
      const ours = names.filter((name) => name !== "source_attestation_json").join()
      return query(mirror, `SELECT ${ours} FROM ${table} NOT INDEXED ORDER BY 1, 2, 3`)
    })
    return JSON.stringify(all)
  } catch {
    return undefined
  }
}

/** A ledger on real files; its mirror when it was closed, and as a process that died left it. */
const realLedger = Effect.gen(function* () {
  const directory = path.join(yield* TestLedger.directory, "ledger")
  const mirror = path.join(directory, "mirror.sqlite")
  const segments = path.join(directory, "segments")
  fs.mkdirSync(segments, { recursive: true })
  fs.writeFileSync(path.join(directory, "ledger.json"), identity)
  for (const [name, bytes] of made.files) fs.writeFileSync(path.join(segments, name), bytes)
  const died = yield* using({ directory }, () =>
    Effect.sync(() => ({ mirror: fs.readFileSync(mirror), log: fs.readFileSync(`${mirror}-wal`) }))
  )
  const closed = { mirror: fs.readFileSync(mirror), log: undefined }
  const put = (file: Uint8Array, log: Uint8Array | undefined) => {
    for (const name of fs.readdirSync(directory)) {
      if (name.startsWith("mirror.sqlite")) fs.rmSync(path.join(directory, name))
    }
    fs.writeFileSync(mirror, file)
    if (log !== undefined) fs.writeFileSync(`${mirror}-wal`, log)
  }
  const isJournalWhole = () =>
    !fs.existsSync(path.join(directory, "operations")) &&
    fs.readdirSync(segments).length === made.files.size &&
    [...made.files].every(([name, bytes]) =>
      fs.readFileSync(path.join(segments, name)).equals(bytes)
    )
  return { closed, died, directory, isJournalWhole, mirror, put, whole: tablesOf(mirror) }
})

type Real = Effect.Success<typeof realLedger>

/** What is wrong with how a damaged mirror is verified and opened; undefined if nothing is. */
const problemOf = Effect.fnUntraced(function* (real: Real) {
  const { directory, isJournalWhole, mirror, whole } = real
  const read = SealogNode.layerReader({ directory })
  const verified = yield* outcomeOf(
    Effect.provide(
      Effect.flatMap(Reader, (reader) => reader.verify()),
      read
    )
  )
  if (!["Success", "MirrorError"].includes(verified.tag)) return `verify: ${verified.message}`
  const opened = yield* outcomeOf(
    Effect.flatMap(Ledger, (ledger) =>
      Effect.gen(function* () {
        const after = yield* outcomeOf(ledger.verify())
        const lost = yield* Effect.forEach(ids, (id, nth) =>
          Effect.map(outcomeOf(ledger.get(id)), ({ tag, value }) =>
            value?.seq === nth + 1 ? [] : [`${tag} for row ${nth + 1}`]
          )
        )
        return { head: ledger.opened.head.seq, after, lost: lost.flat() }
      })
    ).pipe(Effect.provide(TestLedger.layer({ directory })))
  )
  if (!isJournalWhole()) return `${opened.tag}, and the journal is another one now`
  if (opened.value === undefined) {
    const isNamed = ["MirrorError", "LedgerDiverged"].includes(opened.tag)
    return isNamed ? undefined : opened.message
  }
  const { after, head, lost } = opened.value
  if (head !== rows) return `opened at row ${head}`
  if (!["Success", "MirrorError"].includes(after.tag)) return `opened, then ${after.message}`
  if (after.value?._tag !== "Intact") return undefined
  if (lost.length > 0) return `opened, then intact, but ${lost.join()}`
  return tablesOf(mirror) === whole ? undefined : "opened, then intact, but SQL reads other rows"
})

describe("a mirror whose file was damaged", () => {
  for (const seed of [1, 2, 3]) {
    it.effect(
      `is reported or refused by its name, or recovered with every row (seed ${seed})`,
      () =>
        Effect.gen(function* () {
          const real = yield* realLedger
          const below = dice(seed)
          const findings = new Findings()
          const times = isExhaustive ? 2000 : 40
          for (let nth = 0; nth < times; nth++) {
            const { log, mirror } = nth % 3 === 0 ? real.died : real.closed
            const isLog = log !== undefined && below(3) > 0
            const { bytes, what } = damaged(isLog ? log : mirror, below)
            if (!isOurs(nth)) continue
            real.put(isLog ? mirror : bytes, isLog ? bytes : log)
            findings.note(`${what} of the ${isLog ? "log" : "mirror"}`, yield* problemOf(real))
          }
          findings.assertNone(share(40))
        }),
      sweepMillisMax
    )
  }
})
