/**
 * What the security tests share: a ledger to begin with, what a change of a file would change, and
 * files that are none of a ledger's business.
 */
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { afterAll } from "@effect/vitest"
import { Effect } from "effect"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { named, using } from "../store/ledgerFixtures.ts"

/** Every path under `directory`, sorted, as a path relative to it; links are not followed. */
export const pathsIn = (directory: string): ReadonlyArray<string> =>
  fs.readdirSync(directory, { recursive: true, encoding: "utf8" }).toSorted()

const contentOf = (at: string, info: fs.BigIntStats): string => {
  if (info.isSymbolicLink()) return fs.readlinkSync(at)
  if (!info.isFile()) return ""
  return crypto.createHash("sha256").update(fs.readFileSync(at)).digest("hex")
}

/** A file, directory or link as it is: kind, mode, size, time of its last change, content. */
export const stateOf = (at: string): string => {
  const info = fs.lstatSync(at, { bigint: true })
  return [info.mode.toString(8), info.size, info.mtimeNs, contentOf(at, info)].join(" ")
}

/** SQLite's own notes beside a database, which a reader of it makes and uses. */
const notes = /^mirror\.sqlite-(?:wal|shm)$/

/**
 * Everything under a directory as it is, SQLite's notes aside. The time of the directory that holds
 * those changes with them, so its own is left out. Of a closed ledger only: it reads the guard.
 */
export const untouched = (directory: string): ReadonlyArray<string> =>
  pathsIn(directory)
    .filter((name) => !notes.test(path.basename(name)))
    .map((name) => {
      const at = path.join(directory, name)
      const holdsNotes = fs.lstatSync(at).isDirectory() && fs.existsSync(`${at}/mirror.sqlite`)
      return holdsNotes ? name : `${name} ${stateOf(at)}`
    })

const templates = fs.mkdtempSync(path.join(os.tmpdir(), "sealog-template-"))
afterAll(() => fs.rmSync(templates, { recursive: true, force: true }))

const template = Effect.runSync(
  Effect.cached(
    Effect.gen(function* () {
      const directory = path.join(templates, "ledger")
      const options = { directory, segmentBytesMax: 600 }
      yield* using(options, (ledger) => ledger.append(named("one")))
      yield* using(options, (ledger) => ledger.append(named("two")))
      fs.appendFileSync(segmentOf(directory, 2), tornTail)
      yield* using(options, () => Effect.void)
      return directory
    })
  )
)

/** A copy of a directory, its modes included. */
export const copyLedger = (from: string, to: string): void => {
  fs.cpSync(from, to, { recursive: true })
  for (const name of ["", ...pathsIn(from)]) {
    fs.chmodSync(path.join(to, name), fs.statSync(path.join(from, name)).mode)
  }
}

/** What a crash left behind the second row of `ledgerOfTwo`, before its torn tail was cut. */
export const tornTail = '{"id":"evt_torn'

/** A closed ledger of two rows in two segments, `one` and `two`, that has cut a torn tail once. */
export const ledgerOfTwo = Effect.gen(function* () {
  const parent = fs.realpathSync(yield* TestLedger.directory)
  const directory = path.join(parent, "ledger")
  copyLedger(yield* template, directory)
  return { parent, directory }
})

/** The path of the nth segment of `ledgerOfTwo`. */
export const segmentOf = (directory: string, nth: number): string =>
  path.join(directory, "segments", `${String(nth).padStart(16, "0")}.jsonl`)

/** A file that is somebody else's, and whether it still is as it was. */
export const victim = (at: string, content = "mine\n") => {
  fs.writeFileSync(at, content)
  fs.chmodSync(at, 0o640)
  const before = stateOf(at)
  return { at, isUnchanged: () => stateOf(at) === before }
}

/** A line with the checksum that belongs to it, as somebody would write it who knows the format. */
export const withChecksum = (line: string): string => {
  const covered = line.slice(0, line.lastIndexOf(`,"crc32c"`))
  let crc = 0xffffffff
  for (const byte of Buffer.from(covered)) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (0x82f63b78 & -(crc & 1))
  }
  const hex = ((crc ^ 0xffffffff) >>> 0).toString(16).toUpperCase().padStart(8, "0")
  return `${covered},"crc32c":"${hex}"}\n`
}
