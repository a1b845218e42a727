/**
 * Internal: the points of the durability contract that the doctor tries on the disk.
 *
 * Each trial does what a ledger does, with the ledger's own code, in a directory that is nobody
 * else's. A trial that fails says why and stops no other one.
 */
import { execFile } from "node:child_process"
import * as nodePath from "node:path"
import { Effect, FileSystem, Path } from "effect"
import { SqlClient } from "effect/sql"
import * as durable from "../store/journal/durable.ts"
import { codeOf } from "../store/errors.ts"
import { Guard } from "../store/locking/Guard.ts"
import { ReadSql } from "../store/mirror/ReadSql.ts"
import * as Points from "./doctorPoints.ts"
import type { Point } from "./doctorPoints.ts"
import * as SqliteClient from "./SqliteClient.ts"

type Files = FileSystem.FileSystem | Path.Path

/** What a trial found not to be as asked. */
class Found extends Error {}

const asked = {
  modes: "files of mode 0600 and directories of mode 0700, whatever the umask",
  links: "no symbolic link followed when a file is opened",
  rename: "a rename that replaces a file",
  fsync: "an fsync of a file that succeeds",
  directoryFsync: "an fsync of a directory that succeeds",
  wal: "SQLite in WAL mode, its shared memory in use",
  guard: "a lock that keeps everybody else out"
}

type Name = keyof typeof asked

const hints: { readonly [name in Name]: string } = {
  modes: "Others may read the ledger here. Take a file system that has modes.",
  links: "Whoever may write here could lead a ledger elsewhere. Take another place.",
  rename: "A ledger cannot be made here. Take another file system.",
  fsync: "Nothing is durable here. Look at the disk, or take another one.",
  directoryFsync: "A new file may be lost with its name. Take another file system or system.",
  wal: "The mirror cannot be used here. Take a local file system.",
  guard: "Two writers could share a ledger here. Take a local file system."
}

const fileBytes = new TextEncoder().encode(`${"-".repeat(4095)}\n`)

const octal = (mode: number): string => (mode & 0o777).toString(8).padStart(4, "0")

const modes = Effect.fnUntraced(function* (scratch: string) {
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const directory = paths.join(scratch, "directory")
  const file = paths.join(directory, "file")
  yield* durable.makeDirectory(directory)
  yield* durable.writeFile(file, fileBytes)
  const found = [(yield* fs.stat(file)).mode, (yield* fs.stat(directory)).mode].map(octal)
  const text = `${found[0]} and ${found[1]}`
  if (text !== "0600 and 0700") return yield* Effect.fail(new Found(text))
  return text
})

const links = Effect.fnUntraced(function* (scratch: string) {
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const [target, link] = [paths.join(scratch, "target"), paths.join(scratch, "link")]
  yield* durable.writeFile(target, fileBytes)
  const made = yield* Effect.result(fs.symlink(target, link))
  if (made._tag === "Failure") {
    const hint = "Others may be able to make some; they were not seen to be refused."
    return Points.warning("none could be made here", asked.links, hint)
  }
  const opened = yield* Effect.result(Effect.scoped(durable.open(link, "r")))
  if (opened._tag === "Success") return yield* Effect.fail(new Found("a link was followed"))
  const code = codeOf(opened.failure)
  if (code === "ELOOP" || code === "EMLINK") return "a link was refused"
  return yield* opened.failure
})

const rename = Effect.fnUntraced(function* (scratch: string) {
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const file = paths.join(scratch, "renamed")
  const texts = ["before", "after"]
  for (const text of texts) yield* durable.writeFile(file, new TextEncoder().encode(text))
  const now = yield* fs.readFileString(file)
  if (now !== "after") return yield* Effect.fail(new Found("the file before is still there"))
  return "a file was replaced"
})

const directoryFsync = Effect.fnUntraced(function* (scratch: string) {
  yield* durable.syncDirectory(scratch)
  return "it answered"
})

const syncs = 9

const median = (numbers: ReadonlyArray<number>): number =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0

/** Milliseconds of a few fsyncs; each has something to write. */
const timeSyncs = Effect.fnUntraced(function* (scratch: string) {
  const paths = yield* Path.Path
  const file = yield* durable.open(paths.join(scratch, "synced"), "wx")
  const millis: Array<number> = []
  for (let nth = 0; nth < syncs; nth++) {
    yield* file.writeAll(fileBytes)
    const begun = performance.now()
    yield* file.sync
    millis.push(performance.now() - begun)
  }
  return median(millis)
}, Effect.scoped)

const wal = Effect.fnUntraced(function* (scratch: string) {
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const filename = paths.join(scratch, "mirror.sqlite")
  return yield* Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const read = yield* ReadSql
    yield* sql`CREATE TABLE t (n INTEGER)`
    yield* sql.withTransaction(sql`INSERT INTO t VALUES (1)`)
    const rows = yield* read`SELECT n FROM t`
    if (rows.length !== 1) {
      return yield* Effect.fail(new Found("a reader does not see what was committed"))
    }
    if (!(yield* fs.exists(`${filename}-shm`))) {
      return yield* Effect.fail(new Found("no shared memory is in use"))
    }
    return "WAL mode, and a reader sees what a writer commits"
  }).pipe(Effect.provide(SqliteClient.layer({ filename })))
})

// Asks whether SQLite gives another process what a holder of the guard has.
const contender =
  `const { DatabaseSync } = process.getBuiltinModule("node:sqlite");` +
  `const db = new DatabaseSync(process.env.SEALOG_DOCTOR_GUARD, { timeout: 0 });` +
  `try { db.prepare("BEGIN EXCLUSIVE").run(); console.log("taken") }` +
  `catch (error) { console.log(error.errcode === 5 ? "refused" : String(error)) }`

const contenderMillisMax = 20_000

/** What another process answers that tries for the guard, or why none can be asked. */
const askOther = (guard: string): Effect.Effect<string> =>
  Effect.callback((resume) => {
    const runtime = nodePath.basename(process.execPath).replace(/\.exe$/, "")
    // A program that carries its runtime would be started anew.
    if (runtime !== "node" && runtime !== "deno") {
      return resume(Effect.succeed(`this program is ${runtime}`))
    }
    try {
      const args = runtime === "deno" ? ["eval", contender] : ["-e", contender]
      const env = { ...process.env, SEALOG_DOCTOR_GUARD: guard }
      const options = { env, timeout: contenderMillisMax }
      const child = execFile(process.execPath, args, options, (error, stdout) => {
        resume(Effect.succeed(error === null ? stdout.trim() : Points.reasonOf(error)))
      })
      return Effect.sync(() => child.kill("SIGKILL"))
    } catch (cause) {
      // Deno throws at once where it may not start programs.
      return resume(Effect.succeed(Points.reasonOf(cause)))
    }
  })

const guard = Effect.fnUntraced(function* (scratch: string) {
  const paths = yield* Path.Path
  const { hold } = yield* Guard
  const path = paths.join(scratch, "guard")
  yield* hold(path)
  const second = yield* Effect.result(Effect.scoped(hold(path)))
  if (second._tag === "Success") return Points.missing("a second holder", asked.guard, hints.guard)
  if (second.failure._tag !== "StoreBusy") return yield* second.failure
  const answer = yield* askOther(path)
  if (answer === "taken") {
    return Points.missing("another process held it too", asked.guard, hints.guard)
  }
  if (answer === "refused") {
    return Points.ok("this process and another one were refused", asked.guard)
  }
  const found = `this process was refused; no other could be asked: ${answer.slice(0, 200)}`
  return Points.warning(found, asked.guard, "Try it from a terminal: sealog doctor.")
}, Effect.scoped)

/** A trial as a point: what it found, or why it is not as asked. */
const judged = <R>(name: Name, trial: Effect.Effect<string | Point, unknown, R>) =>
  Effect.match(trial, {
    onSuccess: (found) => (typeof found === "string" ? Points.ok(found, asked[name]) : found),
    onFailure: (error) => Points.missing(Points.reasonOf(error), asked[name], hints[name])
  })

/** Every trial, in a directory of its own; none of them where there is no such directory. */
export const all = Effect.fnUntraced(function* (scratch: string | undefined): Effect.fn.Return<
  {
    readonly points: { readonly [name in Name]: Point }
    readonly fsyncMedianMillis: number | null
  },
  never,
  Files | Guard
> {
  const trial = <R>(
    name: Name,
    run: (scratch: string) => Effect.Effect<string | Point, unknown, R>
  ) =>
    scratch === undefined
      ? Effect.succeed(
          Points.untried("not tried", asked[name], "Mend what `writable` says, then try again.")
        )
      : judged(name, run(scratch))
  let fsyncMedianMillis: number | null = null
  const fsync = Effect.fnUntraced(function* (scratch: string) {
    fsyncMedianMillis = yield* timeSyncs(scratch)
    return `${fsyncMedianMillis.toFixed(2)} ms, the median of ${syncs}`
  })
  const points = {
    modes: yield* trial("modes", modes),
    links: yield* trial("links", links),
    rename: yield* trial("rename", rename),
    fsync: yield* trial("fsync", fsync),
    directoryFsync: yield* trial("directoryFsync", directoryFsync),
    wal: yield* trial("wal", wal),
    guard: yield* trial("guard", guard)
  }
  return { points, fsyncMedianMillis }
})
