/**
 * Append: sealog with 1 and with 64 waiting, unsigned and signed, beside what one would write by hand.
 *
 * Every contestant has files of its own in one directory, so that all meet the same disk, and takes
 * its turns in a fixed order, round after round. Files stay open from turn to turn. The first
 * rounds only warm up. What is timed is a turn from its first append to its last answer: nothing of
 * opening or of making drafts.
 */
import { Console, Context, Effect, Layer } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { Ledger } from "../src/index.ts"
import { Ed25519Keys, SealogNode } from "../src/platform/index.ts"
import { median, micros, perSecond, ratio, table, times } from "./measure.ts"
import * as original from "./original.ts"
import * as rows from "./rows.ts"

/** Appends one turn's rows; microseconds per row. */
type Turn = Effect.Effect<number>

const waitingMany = 64

const microsPerRow = (begun: number, count: number): number =>
  ((performance.now() - begun) * 1000) / count

/** An open ledger, signed or not, and `waiting` fibers that each append one row after the other. */
const sealog = Effect.fnUntraced(function* (
  directory: string,
  waiting: number,
  count: number,
  isSigned = false
) {
  const name = isSigned ? `signed-${waiting}` : `sealog-${waiting}`
  const options = { directory: path.join(directory, name) }
  const seed = new Uint8Array(32).fill(7)
  const layer = isSigned
    ? Layer.provide(SealogNode.layerSigned(options), Ed25519Keys.layerSeed(seed))
    : SealogNode.layer(options)
  const ledger = Context.get(yield* Layer.build(layer), Ledger.Ledger)
  let first = 0
  const turn: Turn = Effect.gen(function* () {
    const left = rows.drafts(first, count)[Symbol.iterator]()
    first += count
    const appender = Effect.gen(function* () {
      for (const draft of left) yield* ledger.append(draft)
    })
    const begun = performance.now()
    yield* Effect.all(
      Array.from({ length: waiting }, () => appender),
      {
        concurrency: "unbounded",
        discard: true
      }
    )
    return microsPerRow(begun, count)
  }).pipe(Effect.orDie)
  return turn
})

/** The same lines, written and fsynced: `together` lines at a time. */
const bare = Effect.fnUntraced(function* (
  directory: string,
  lines: ReadonlyArray<rows.Line>,
  together: number
) {
  const fd = yield* Effect.acquireRelease(
    Effect.sync(() => fs.openSync(path.join(directory, `bare-${together}.jsonl`), "wx")),
    (fd) => Effect.sync(() => fs.closeSync(fd))
  )
  const lf = Buffer.from("\n")
  const groups = Array.from({ length: Math.floor(lines.length / together) }, (_, at) =>
    Buffer.concat(
      lines.slice(at * together, (at + 1) * together).flatMap(({ bytes }) => [bytes, lf])
    )
  )
  const turn: Turn = Effect.sync(() => {
    const begun = performance.now()
    for (const group of groups) {
      fs.writeSync(fd, group)
      fs.fsyncSync(fd)
    }
    return microsPerRow(begun, groups.length * together)
  })
  return turn
})

/** The same lines in a table with a unique id, one commit per row, each fsynced. */
const sqlite = Effect.fnUntraced(function* (directory: string, lines: ReadonlyArray<rows.Line>) {
  const db = yield* Effect.acquireRelease(
    Effect.sync(() => new DatabaseSync(path.join(directory, "rows.sqlite"))),
    (db) => Effect.sync(() => db.close())
  )
  db.exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
  db.exec("CREATE TABLE rows (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, line BLOB)")
  const insert = db.prepare("INSERT INTO rows (id, line) VALUES (?, ?)")
  let round = 0
  const turn: Turn = Effect.sync(() => {
    round++
    const begun = performance.now()
    for (const { event, bytes } of lines) insert.run(`${round} ${event.id}`, bytes)
    return microsPerRow(begun, lines.length)
  })
  return turn
})

const beside = (program: string, directory: string, count: number): Turn =>
  Effect.sync(() =>
    original.append(
      program,
      path.join(directory, "original.jsonl"),
      path.join(directory, "original.sqlite"),
      count
    )
  )

const names = {
  one: "sealog, 1 waiting",
  many: `sealog, ${waitingMany} waiting`,
  signedOne: "signed, 1 waiting",
  signedMany: `signed, ${waitingMany} waiting`,
  bareOne: "write+fsync, 1 row each",
  bareMany: `write+fsync, ${waitingMany} rows each`,
  sqlite: "SQLite, 1 commit each, FULL",
  original: "the original"
}

/** Sizes of the contest. */
export interface Settings {
  readonly rounds: number
  /** Rounds that are not counted. */
  readonly warmUps: number
  /** Rows of a turn where each row waits for its own fsync; where 64 share one, six times as many. */
  readonly rows: number
}

/** What a row took in each counted round, by contestant. */
export type Results = ReadonlyMap<string, ReadonlyArray<number>>

/** Microseconds per row of the contestants that other sections go on with. */
export const microsOf = (results: Results) => ({
  one: median(results.get(names.one) ?? []),
  many: median(results.get(names.many) ?? []),
  fsync: median(results.get(names.bareOne) ?? [])
})

/** Run the contest in a directory. */
export const run = Effect.fnUntraced(function* (
  directory: string,
  lines: ReadonlyArray<rows.Line>,
  settings: Settings
) {
  const manyRows = Math.min(lines.length, settings.rows * 6)
  const few = lines.slice(0, settings.rows)
  const contestants = new Map<string, Turn>([
    [names.one, yield* sealog(directory, 1, settings.rows)],
    [names.signedOne, yield* sealog(directory, 1, settings.rows, true)],
    [names.bareOne, yield* bare(directory, few, 1)],
    [names.sqlite, yield* sqlite(directory, few)]
  ])
  if (original.program !== undefined) {
    contestants.set(names.original, beside(original.program, directory, settings.rows))
  }
  contestants.set(names.many, yield* sealog(directory, waitingMany, manyRows))
  contestants.set(names.signedMany, yield* sealog(directory, waitingMany, manyRows, true))
  contestants.set(names.bareMany, yield* bare(directory, lines.slice(0, manyRows), waitingMany))

  const results = new Map<string, Array<number>>()
  for (let round = -settings.warmUps; round < settings.rounds; round++) {
    for (const [name, turn] of contestants) {
      globalThis.gc?.()
      const taken = yield* turn
      if (round >= 0) results.set(name, [...(results.get(name) ?? []), taken])
    }
  }
  return results
}, Effect.scoped)

const cells = (results: Results, name: string): ReadonlyArray<string> => {
  const own = results.get(name)
  if (own === undefined) return []
  const against = (other: string) => times(ratio(results.get(other) ?? [], own))
  const middle = median(own)
  return [name, micros(middle), perSecond(middle), against(names.one), against(names.many)]
}

/** Print what each took, and how many times as fast sealog was. */
export const print = (results: Results) =>
  Console.log(
    table([
      ["", "us/row", "rows/s", "sealog, 1 waiting, is", `${waitingMany} waiting, is`],
      ...Object.values(names).flatMap((name) => {
        const row = cells(results, name)
        return row.length === 0 ? [] : [row]
      })
    ])
  )
