import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import { Ledger } from "../../src/index.ts"
import { SealogNode } from "../../src/platform/index.ts"
import { TestLedger } from "../../src/testing/index.ts"

const main = fileURLToPath(new URL("../../examples/git-history/main.ts", import.meta.url))
// Node 22 says on standard error that its SQLite is an experiment.
const quiet = "--disable-warning=ExperimentalWarning"
const runtime = "Deno" in globalThis ? ["run", "-A", main] : [quiet, main]
const isolated = { GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_NOSYSTEM: "1" }

/** Run the example as a process whose temporary files go to `directory`. */
const example = (directory: string, args: ReadonlyArray<string>, env = {}) =>
  spawnSync(process.execPath, [...runtime, ...args], {
    cwd: directory,
    encoding: "utf8",
    env: { ...process.env, ...isolated, TMPDIR: directory, FORCE_COLOR: undefined, ...env }
  })

const latin1 = (text: string) => Buffer.from(text, "latin1")
const utf8 = (text: string) => Buffer.from(text)

interface Made {
  readonly author?: Buffer
  readonly date?: string
  readonly message: Buffer
  readonly parents?: ReadonlyArray<number>
  readonly changes?: string
}

/** A repository whose nth commit, from 1, is the nth of `made`, byte for byte. */
const repository = (directory: string, made: ReadonlyArray<Made>) => {
  const at = path.join(directory, "repository")
  const git = (args: ReadonlyArray<string>, input?: Buffer) => {
    const done = spawnSync("git", args, { input, env: { ...process.env, ...isolated } })
    assert.strictEqual(done.status, 0, done.stderr?.toString())
  }
  git(["init", "--quiet", "--initial-branch=main", at])
  const stream = made.flatMap(({ author, date, message, parents = [], changes = "" }, nth) => [
    utf8(`commit refs/heads/main\nmark :${nth + 1}\nauthor `),
    author ?? utf8("Ada <ada@example.org>"),
    utf8(` ${date ?? "1500000000 +0530"}\ncommitter Con <con@example.org> 1500000001 -0800\n`),
    utf8(`data ${message.length}\n`),
    message,
    utf8(parents.map((mark, i) => `\n${i === 0 ? "from" : "merge"} :${mark}`).join("")),
    utf8(`\n${changes}\n`)
  ])
  const options = ["--quiet", "--date-format=raw-permissive"]
  git(["-C", at, "fast-import", ...options], Buffer.concat(stream))
  return at
}

const file = (name: string, content: string) =>
  `M 100644 inline ${name}\ndata ${Buffer.byteLength(content)}\n${content}\n`

const awkward: ReadonlyArray<Made> = [
  { message: utf8("root\n"), changes: file("a", "1\n2\n") + file('"caf\\351"', "x\n") },
  {
    message: utf8("renamed\n\nand a body\n"),
    author: utf8("Ø 😀 <>"),
    parents: [1],
    changes: "R a b\n"
  },
  {
    message: latin1("caf\xe9"),
    author: latin1("Andr\xe9 <a@b>"),
    parents: [2],
    changes: file("bin", "\0")
  },
  { message: utf8("side"), date: "300000000000 +0000", parents: [1] },
  { message: utf8("merge\n"), parents: [3, 4] },
  { message: utf8(""), parents: [5], changes: 'R b "commit\\nabc\\n"\n' }
]

const Payload = Schema.Struct({
  parents: Schema.Array(Schema.String),
  author: Schema.Struct({ name: Schema.String, email: Schema.String, date: Schema.String }),
  subject: Schema.String,
  files: Schema.Array(Schema.Unknown)
})

/** Every event of the ledger at `directory`, in its order. */
const eventsOf = (directory: string) =>
  Ledger.Ledger.use((ledger) => Stream.runCollect(ledger.events())).pipe(
    Effect.provide(SealogNode.layer({ directory }))
  )

const hasGit = spawnSync("git", ["--version"]).status === 0

describe.skipIf(!hasGit)("git-history", () => {
  it.effect("seals every commit once, finds the changed bit, rebuilds the mirror", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const from = repository(directory, awkward)
      const to = path.join(directory, "ledger")
      const first = example(directory, [from, "--ledger", to])
      assert.strictEqual(first.status, 0, first.stdout + first.stderr)
      assert.include(first.stdout, "6 commits: 6 appended, 0 there before")
      assert.include(first.stdout, "In 2 of them \ufffd stands for text that is not UTF-8")
      assert.match(
        first.stdout,
        /✗ row \d is damaged: [a-z_]+, evt_\w{26}\n {5}it holds commit \w{10}, /
      )
      assert.include(first.stdout, "opening replayed 6 rows")
      assert.include(first.stdout, "6 rows in segments, 6 in SQL, none differs")

      const events = yield* eventsOf(to)
      const hashes = events.map(({ keys }) => keys?.["commit"] ?? "")
      const payloads = yield* Effect.forEach(events, ({ payload }) =>
        Schema.decodeUnknownEffect(Payload)(payload)
      )
      const at = (subject: string) => payloads.findIndex((payload) => payload.subject === subject)
      const of = (subject: string) => payloads[at(subject)]
      assert.deepStrictEqual(of("root")?.files, [
        { path: "a", additions: 2, deletions: 0 },
        { path: "caf\ufffd", additions: 1, deletions: 0 }
      ])
      assert.deepStrictEqual(of("renamed")?.files, [
        { from: "a", path: "b", additions: 0, deletions: 0 }
      ])
      assert.deepStrictEqual(of("renamed")?.author, {
        name: "Ø 😀",
        email: "",
        date: "2017-07-14T08:10:00+05:30"
      })
      assert.strictEqual(events[at("root")]?.observedAt, "2017-07-14T02:40:00Z")
      assert.deepStrictEqual(of("caf\ufffd")?.files, [
        { path: "bin", additions: null, deletions: null }
      ])
      assert.deepStrictEqual(of("side")?.files, [])
      const merged = [hashes[at("caf\ufffd")] ?? "", hashes[at("side")] ?? ""]
      assert.deepStrictEqual(of("merge")?.parents, merged)
      assert.deepStrictEqual(of("")?.files, [
        { from: "b", path: "commit\nabc\n", additions: 0, deletions: 0 }
      ])
      const early = payloads.flatMap(({ parents }, i) =>
        parents.filter((p) => hashes.indexOf(p) >= i)
      )
      assert.deepStrictEqual(early, [])

      const again = example(directory, [from, "--ledger", to])
      assert.strictEqual(again.status, 0, again.stdout + again.stderr)
      assert.include(again.stdout, "6 commits: 0 appended, 6 there before")
      assert.deepStrictEqual(yield* eventsOf(to), events)
    }).pipe(Effect.scoped)
  )

  it.effect("keeps what a subject says from steering a terminal, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const from = repository(directory, [
        { message: utf8("\u001b[31mred\u202e"), changes: file("a", "1") }
      ])
      const done = example(directory, [from])
      assert.strictEqual(done.status, 0, done.stdout + done.stderr)
      assert.match(done.stdout, /it holds commit \w{10}, \ufffd\[31mred\ufffd\n/)
      assert.notInclude(done.stdout, "\u001b")
      assert.deepStrictEqual(fs.readdirSync(directory), ["repository"])
    }).pipe(Effect.scoped)
  )

  it.effect("says that a clone is shallow, from a subdirectory, whatever GIT_DIR says", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const from = repository(directory, awkward)
      const clone = [
        "clone",
        "--quiet",
        "--depth=1",
        `file://${from}`,
        path.join(directory, "clone")
      ]
      assert.strictEqual(spawnSync("git", clone).status, 0)
      fs.mkdirSync(path.join(directory, "clone", "sub"))
      const done = example(directory, ["clone/sub", "--keep"], { GIT_DIR: path.join(from, ".git") })
      assert.strictEqual(done.status, 0, done.stdout + done.stderr)
      assert.include(done.stdout, "1 commits: 1 appended")
      assert.include(done.stdout, "The clone is shallow")
      const [kept = ""] = fs
        .readdirSync(directory)
        .filter((name) => name.startsWith("sealog-git-history-"))
      assert.strictEqual((yield* eventsOf(path.join(directory, kept))).length, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("stops with 1 at a ledger that was damaged before", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const from = repository(directory, awkward)
      const to = path.join(directory, "ledger")
      yield* Ledger.Ledger.use((ledger) =>
        ledger.append({ type: "note.taken.v1", payload: "first" })
      ).pipe(Effect.provide(SealogNode.layer({ directory: to })))
      assert.strictEqual(example(directory, [from, "--ledger", to]).status, 0)
      const segment = path.join(to, "segments", "0000000000000001.jsonl")
      fs.writeFileSync(segment, fs.readFileSync(segment, "utf8").replace('"first"', '"other"'))
      const done = example(directory, [from, "--ledger", to])
      assert.strictEqual(done.status, 1, done.stderr)
      assert.match(done.stderr, /^\nThe ledger is damaged: row 1, .*\n$/)
    }).pipe(Effect.scoped)
  )

  it.effect("stops with 2 and a reason where there is no history", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const empty = repository(directory, [])
      const cases = [
        { args: [empty], env: {}, reason: /does not have any commits yet/ },
        { args: ["nowhere"], env: {}, reason: /cannot change to '.*nowhere'/ },
        {
          args: [directory],
          env: { GIT_CEILING_DIRECTORIES: path.dirname(directory) },
          reason: /not a git/
        },
        { args: [empty], env: { PATH: directory }, reason: /git could not be run, is it installed/ }
      ]
      for (const { args, env, reason } of cases) {
        const done = example(directory, args, env)
        assert.strictEqual(done.status, 2)
        assert.match(done.stderr, reason)
        assert.match(
          done.stderr,
          /^\nNo git history can be read at .*: node examples\/git-history\/main.ts PATH\n$/
        )
      }
      assert.deepStrictEqual(fs.readdirSync(directory), ["repository"])
    }).pipe(Effect.scoped)
  )
})
