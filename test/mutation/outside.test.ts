/**
 * Plans and index rows that point out of a ledger: nothing outside it is read or written.
 *
 * Each case is opened, verified and read on real files with every call of the file system told.
 * Links, and the plans of a directory, are the matter of `test/security`.
 */
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import * as LedgerModule from "../../src/store/Ledger.ts"
import type { Location } from "../../src/store/journal/Layout.ts"
import { Reader } from "../../src/store/reading/Reader.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { image, opening, platformOver, watchedFiles } from "../store/crashKit.ts"
import type { Watch } from "../store/crashKit.ts"
import { meddle } from "../store/ledgerFixtures.ts"
import { planText } from "../store/plans.ts"
import type { Made } from "./fixture.ts"
import { alien, cortexLedger, directoryLedger, identity } from "./fixture.ts"
import { outcomeOf } from "./lab.ts"

/** The paths of one case; `outside` holds what must be left alone. */
interface Places {
  readonly home: string
  readonly journal: string
  readonly mirror: string
  readonly outside: string
}

interface Case {
  readonly what: string
  readonly arrange: (places: Places) => void
}

/** A file outside that would be a fine part of the ledger. */
const tempting = [...alien.files.values()][0] ?? Uint8Array.of()

const sha256 = (bytes: Uint8Array) => crypto.createHash("sha256").update(bytes).digest("hex")

/** An unfinished operation that means to cut a file. */
const plan = (home: string, file: string): void => {
  const folder = path.join(home, "operations", "op_0")
  fs.mkdirSync(folder, { recursive: true })
  const range = { file, offset: 0, bytes: tempting.byteLength, sha256: sha256(tempting) }
  const cut = [{ ...range, rows: null, kept: "rows.cut" }]
  fs.writeFileSync(path.join(folder, "plan.json"), planText({ id: "op_0", cut }))
}

const plans: ReadonlyArray<Case> = [
  ...["../outside/file", "../../outside/file", "/outside/file", "..", ".", "", "a/../../file"].map(
    (file) => ({
      what: `a plan cuts ${JSON.stringify(file)}`,
      arrange: ({ home }: Places) => plan(home, file)
    })
  ),
  {
    what: "a plan cuts by the way that leads out",
    arrange: ({ home, journal, outside }) =>
      plan(home, path.relative(journal, path.join(outside, "file")))
  },
  {
    what: "a plan cuts by an absolute path",
    arrange: ({ home, outside }) => plan(home, path.join(outside, "file"))
  }
]

const places: ReadonlyArray<Case> = [
  ...[-1, 0, 1, 8, "'../../outside/file'", "x'00'", 9007199254740991, 2.5].map((segment) => ({
    what: `the newest index row lies in segment ${segment}`,
    arrange: ({ mirror }: Places) =>
      meddle(
        mirror,
        `UPDATE sealog_index SET segment = ${segment}, byte_offset = 0
         WHERE seq = (SELECT max(seq) FROM sealog_index)`
      )
  })),
  ...["'../outside'", "-1", "x'00'"].map((segment) => ({
    what: `an index row lies in segment ${segment}`,
    arrange: ({ mirror }: Places) =>
      meddle(mirror, `UPDATE sealog_index SET segment = ${segment} WHERE seq = 2`)
  }))
]

/** A ledger with a mirror on real files, and a directory beside its own that it must not touch. */
const arranged = Effect.fnUntraced(function* (made: Made, { arrange }: Case) {
  const root = path.join(yield* TestLedger.directory, "root")
  const isFile = made.format === "cortex"
  const at = path.join(root, "own", isFile ? "log.jsonl" : "ledger")
  const home = isFile ? `${at}.sealog` : at
  const journal = isFile ? at : path.join(home, "segments")
  const location: Location = isFile ? { file: at } : { directory: at }
  fs.mkdirSync(isFile ? home : journal, { recursive: true })
  for (const [name, bytes] of made.files) {
    fs.writeFileSync(isFile ? journal : path.join(journal, name), bytes)
  }
  fs.writeFileSync(path.join(home, "ledger.json"), identity)
  yield* opening(location)
  const outside = path.join(root, "outside")
  fs.mkdirSync(outside)
  fs.writeFileSync(path.join(outside, "file"), tempting)
  arrange({ home, journal, mirror: path.join(home, "mirror.sqlite"), outside })
  return { location, outside, root }
})

/** Everything that reads a ledger without opening it. */
const readAll = Effect.gen(function* () {
  const { events, get, head, parity, verify } = yield* Reader
  const reads = [head, verify(), parity, get(1), get(2), get(4), Stream.runDrain(events())]
  return yield* Effect.forEach(reads, (read: Effect.Effect<unknown, { readonly _tag: string }>) =>
    outcomeOf(read)
  )
})

describe("a ledger that points out of itself", () => {
  const cortex = cortexLedger("both")
  const cases = [
    ...places.map((one) => [one, directoryLedger] as const),
    ...[...plans, ...places].map((one) => [one, cortex] as const)
  ]
  for (const [one, made] of cases) {
    it.effect(`touches nothing outside where ${one.what} (${made.format})`, () =>
      Effect.gen(function* () {
        const { location, outside, root } = yield* arranged(made, one)
        const before = image(outside)
        const calls: Array<string> = []
        const watch: Watch = (call, effect) => {
          calls.push(call)
          return effect
        }
        const files = platformOver(watchedFiles(path.join(root, "own"), watch))
        const verified = yield* outcomeOf(
          Effect.provide(LedgerModule.verify(location), Layer.fresh(files))
        )
        const read = yield* outcomeOf(Effect.provide(readAll, SealogNode.layerReader(location)))
        // A writer that closes would take away what a reader has left.
        assert.deepStrictEqual(image(outside), before)
        const opened = yield* outcomeOf(
          Effect.map(LedgerModule.Ledger, (ledger) => ledger.opened).pipe(
            Effect.provide(Layer.provide(SealogNode.layerOver(location), Layer.fresh(files)))
          )
        )
        const all = [verified, read, opened, ...(read.value ?? [])]
        for (const { message, tag } of all) assert.notStrictEqual(tag, "Defect", message)
        assert.deepStrictEqual(image(outside), before)
        const escapes = calls.filter((call) => /(?:^| )(?:\/|\.\.(?:\/|$| ))/.test(call))
        assert.isNotEmpty(calls)
        assert.deepStrictEqual(escapes, [])
      })
    )
  }
})
