/**
 * A ledger that somebody else hands over may hold anything. Whatever stands in its places, opening
 * and reading it ends, by name, in bounded memory, and touches nothing else.
 */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { isRoot } from "../store/crashKit.ts"
import { sealog } from "../cli/sealog.ts"
import { ledgerOfTwo, pathsIn, segmentOf, untouched, withChecksum } from "./kit.ts"
import type { Case } from "./answers.ts"
import { answered } from "./answers.ts"
import { appending, ending, readers, verifying } from "./ways.ts"

const socketAt = (at: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      // The path of a socket is short, so it is bound from beside.
      const beside = path.join("/tmp", `s${process.pid}-${Math.abs(hash(at))}`)
      const server = net.createServer()
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject)
        server.listen(beside, resolve)
      })
      fs.renameSync(beside, at)
      return server
    }),
    (server) => Effect.promise(() => new Promise<void>((resolve) => server.close(() => resolve())))
  )

const hash = (text: string): number => {
  let sum = 0
  for (const unit of text) sum = (Math.imul(sum, 31) + unit.charCodeAt(0)) | 0
  return sum
}

type Kind = "fifo" | "socket" | "device" | "directory"

const kinds: ReadonlyArray<Kind> = isRoot
  ? ["fifo", "socket", "directory", "device"]
  : ["fifo", "socket", "directory"]

const put = (kind: Kind, at: string) => {
  switch (kind) {
    case "fifo":
      return Effect.sync(() => void execFileSync("mkfifo", [at]))
    case "socket":
      return socketAt(at)
    case "device":
      // The null device: one that never ends would only make a failure worse.
      return Effect.sync(() => void execFileSync("mknod", [at, "c", "1", "3"]))
    case "directory":
      return Effect.sync(() => fs.mkdirSync(at))
  }
}

const operation = "operations/op_01JZZZZZZZZZZZZZZZZZZZZZZZ"

/** Each place, and the ways to use a ledger that must refuse whatever is none of its kind there. */
const places: ReadonlyArray<readonly [place: string, refused: ReadonlyArray<string>]> = [
  ["ledger.json", ["append", "verify", "head", "get", "backup"]],
  ["segments", ["append", "verify", "get", "parity", "backup"]],
  ["segments/0000000000000001.jsonl", ["append", "verify", "get", "parity", "backup"]],
  ["segments/0000000000000003.jsonl", ["append", "verify", "parity", "backup"]],
  ["mirror.sqlite", ["append", "head", "get"]],
  ["mirror.sqlite-wal", ["append", "head", "get"]],
  ["mirror.sqlite-shm", ["append", "head", "get"]],
  ["mirror.sqlite-journal", ["append", "head", "get"]],
  ["guard", ["append"]],
  [`${operation}/plan.json`, ["append"]]
]

const ways = ["append", "verify", "head", "get", "parity", "backup"]

interface Placed extends Case {
  readonly refused: boolean
}

/** A ledger with something of this kind in a place, and whether it must be refused there. */
const placed = Effect.fnUntraced(function* (
  kind: Kind,
  place: string,
  how: string,
  refused: boolean
) {
  const { directory } = yield* ledgerOfTwo
  const at = path.join(directory, place)
  fs.mkdirSync(path.dirname(at), { recursive: true })
  fs.rmSync(at, { recursive: true, force: true })
  yield* put(kind, at)
  const what = `${how} where ${place} is a ${kind}`
  return { how, directory, what, refused } satisfies Placed
})

/** As a crash leaves it, with a pipe in place of what would be written next. */
const halfMade = Effect.fnUntraced(function* (name: string) {
  const { directory } = yield* ledgerOfTwo
  if (name === "ledger.json.tmp") {
    for (const entry of fs.readdirSync(directory)) {
      fs.rmSync(path.join(directory, entry), { recursive: true })
    }
    yield* put("fifo", path.join(directory, name))
  } else {
    const [id = ""] = fs.readdirSync(path.join(directory, "operations"))
    const folder = path.join(directory, "operations", id)
    const kept = fs.readdirSync(folder).find((file) => file.endsWith(".cut")) ?? ""
    fs.appendFileSync(segmentOf(directory, 2), fs.readFileSync(path.join(folder, kept)))
    for (const file of [kept, "outcome.json"]) fs.rmSync(path.join(folder, file))
    yield* put("fifo", path.join(folder, name.replace("CUT", kept)))
  }
  return { how: "append", directory, what: `a pipe at ${name}`, refused: false } satisfies Placed
})

describe("What is no file, in the place of one", () => {
  const sentence = "is refused without waiting for it"
  // Only where many are waited for does it take long.
  const timeoutMillis = 300_000

  it.live.skipIf(process.platform === "win32")(
    sentence,
    () =>
      Effect.gen(function* () {
        const cases: Array<Placed> = []
        for (const kind of kinds) {
          for (const [place, refused] of places) {
            // An empty directory is as good as none for segments: the mirror then tells.
            if (kind === "directory" && place === "segments") continue
            // All ways meet the pipe, which waits; of the others two ways tell enough.
            for (const how of kind === "fifo" ? ways : refused.slice(0, 2)) {
              cases.push(yield* placed(kind, place, how, refused.includes(how)))
            }
          }
        }
        // What is half made is taken up or refused: both end.
        for (const name of [
          "outcome.json",
          "outcome.json.tmp",
          "CUT",
          "CUT.tmp",
          "ledger.json.tmp"
        ]) {
          cases.push(yield* halfMade(name))
        }
        const wrong: Array<string> = []
        for (const [one, { message, tag }] of yield* answered(cases)) {
          const isRefused = tag !== "ok" && message.includes(one.directory)
          const isWrong = tag === "silent" || (one.refused && !isRefused)
          if (isWrong) wrong.push(`${one.what}: ${tag} ${message}`)
        }
        assert.deepStrictEqual(wrong, [])
      }),
    timeoutMillis
  )
})

/** A file that says it has so many bytes, all of them zero, and takes no room. */
const hollow = (at: string, bytes: number): void => {
  fs.mkdirSync(path.dirname(at), { recursive: true })
  fs.writeFileSync(at, "")
  fs.truncateSync(at, bytes)
}

const grownBytesMax = 200 * 1024 * 1024

describe("What is far too large", () => {
  it.live("is refused in bounded memory", () =>
    Effect.gen(function* () {
      const cases: Array<Case> = []
      for (const [place, bytes, hows] of [
        ["ledger.json", 1_000_000_000, ["verify", "append", "head"]],
        ["ledger.json", 5_000_000_000, ["verify"]],
        [`${operation}/plan.json`, 1_000_000_000, ["append"]]
      ] as const) {
        for (const how of hows) {
          const { directory } = yield* ledgerOfTwo
          hollow(path.join(directory, place), bytes)
          cases.push({ how, directory, what: `${how} where ${place} has ${bytes} bytes` })
        }
      }
      const wrong = (yield* answered(cases)).filter(
        ([, { grownBytes, tag }]) => tag === "ok" || tag === "silent" || grownBytes > grownBytesMax
      )
      assert.deepStrictEqual(
        wrong.map(([{ what }, { grownBytes, tag }]) => [what, tag, grownBytes]),
        []
      )
    })
  )

  it.live("a plan for more bytes than there are is refused, not carried out byte by byte", () =>
    Effect.gen(function* () {
      const { directory } = yield* ledgerOfTwo
      const folder = path.join(directory, operation)
      fs.mkdirSync(folder)
      const { size } = fs.statSync(segmentOf(directory, 2))
      const file = path.basename(segmentOf(directory, 2))
      // The digest of nothing, which is what lies behind the end.
      const sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
      const cut = [{ file, offset: size, bytes: Number.MAX_SAFE_INTEGER, sha256 }]
      const plan = { id: path.basename(operation), kind: "recovery", at: "", reason: "", cut }
      fs.writeFileSync(path.join(folder, "plan.json"), JSON.stringify(plan))
      const [first] = yield* answered([{ how: "append", directory, what: "a plan" }])
      assert.strictEqual(first?.[1].tag, "OperationUnfinished")
    })
  )

  it.live("a row may say anything of any length: what is told of it stays short", () =>
    Effect.gen(function* () {
      const long = "x".repeat(1_000_000)
      const cases: Array<Case> = []
      for (const member of ["payload_hash", "prev_event_hash", "event_hash", "prev_line_hash"]) {
        const { directory, parent } = yield* ledgerOfTwo
        const at = segmentOf(directory, 2)
        const text = fs.readFileSync(at, "utf8")
        fs.writeFileSync(at, withChecksum(text.replace(fieldOf(member), `"${member}":"${long}"`)))
        const all = [verifying({ directory }), readers({ directory }, parent)["line"]]
        for (const reader of all) {
          if (reader === undefined) continue
          const { message, tag } = yield* ending(reader)
          assert.notStrictEqual(tag, "ok")
          assert.isBelow(message.length, 10_000, `${member}: ${tag}`)
        }
        fs.rmSync(path.join(directory, "mirror.sqlite"))
        cases.push({ how: "append", directory, what: member })
      }
      for (const [{ what }, { message, tag }] of yield* answered(cases)) {
        assert.strictEqual(tag, "LedgerDamaged", what)
        assert.isBelow(message.length, 4000, what)
      }
    })
  )

  it.effect("many foreign names are counted, and as many listed as may be", () =>
    Effect.gen(function* () {
      const { directory } = yield* ledgerOfTwo
      for (let nth = 0; nth < 5_000; nth++) {
        fs.writeFileSync(path.join(directory, "segments", `foreign ${nth}`), "")
      }
      const before = pathsIn(directory)
      const { message, tag } = yield* ending(verifying({ directory }))
      assert.deepStrictEqual([tag, message.split("; ").length], ["Damaged", 1_000])
      assert.strictEqual((yield* ending(appending({ directory }))).tag, "LedgerDamaged")
      assert.deepStrictEqual(pathsIn(directory), before)
    })
  )
})

const fieldOf = (member: string): RegExp => new RegExp(`"${member}":(?:null|"[0-9a-f]*")`)

const reaching = [
  "load_extension('/tmp/sealog-hostile')",
  "readfile('/etc/passwd')",
  "writefile('/tmp/sealog-hostile', 'x')",
  "edit('x', 'touch /tmp/sealog-hostile')",
  "fts3_tokenizer('simple', x'0000000000000000')"
]

describe("A mirror that somebody else has made", () => {
  it.effect("has no function that reaches a file or other code", () =>
    Effect.gen(function* () {
      for (const call of reaching) {
        const { directory, parent } = yield* ledgerOfTwo
        const db = new DatabaseSync(path.join(directory, "mirror.sqlite"))
        db.exec("ALTER TABLE sealog_keys RENAME TO gone")
        db.exec(`CREATE VIEW sealog_keys AS SELECT seq, ${call} AS name, 'v' AS value FROM gone
          UNION ALL SELECT 1, ${call}, 'v'`)
        db.close()
        const way = readers({ directory }, parent)["verify with its mirror"]
        const { message, tag } = yield* ending(way ?? Effect.void)
        assert.strictEqual(tag, "MirrorError", `${call}: ${message}`)
        assert.match(message, /no such function|not authorized|disabled|unsafe/)
        assert.isFalse(fs.existsSync("/tmp/sealog-hostile"))
      }
    })
  )

  it.live("is not even opened by an auditor who verifies the journal alone", () =>
    Effect.gen(function* () {
      const { directory } = yield* ledgerOfTwo
      const mirror = path.join(directory, "mirror.sqlite")
      const db = new DatabaseSync(mirror)
      // A view without an end: whoever reads it never comes back.
      db.exec("ALTER TABLE events RENAME TO gone")
      db.exec(`CREATE VIEW events AS WITH RECURSIVE r(id) AS
        (SELECT 'x' UNION ALL SELECT id || 'x' FROM r) SELECT id, id AS event_hash FROM r`)
      db.close()
      const before = untouched(directory)
      const ended = yield* sealog(["verify", "--journal-only", directory])
      assert.deepInclude(ended, { code: 0, stderr: "" })
      assert.match(ended.stdout, /not checked: .*parity/)
      assert.deepStrictEqual(untouched(directory), before)
      assert.isFalse(fs.existsSync(`${mirror}-shm`))
    })
  )
})
