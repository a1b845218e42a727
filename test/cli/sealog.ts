// Runs the program as a process of its own, on the runtime that runs the tests.
import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import type { Readable, Writable } from "node:stream"
import { fileURLToPath } from "node:url"
import { afterAll } from "@effect/vitest"
import { Effect } from "effect"

// Node 22 says on standard error that its SQLite is an experiment.
const quiet = "--disable-warning=ExperimentalWarning"
const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url))
const before = "deno" in process.versions ? ["run", "-A", main] : [quiet, main]

// Node compiles everything anew at each start otherwise, which takes most of the time.
const compiled = fs.mkdtempSync(path.join(os.tmpdir(), "sealog-compiled-"))
afterAll(() => fs.rmSync(compiled, { recursive: true, force: true }))

/** How it ended. */
export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A running program, its pipes in hand. */
export interface Running {
  readonly pid: number
  readonly stdin: Writable
  readonly stdout: Readable
}

export interface Options {
  readonly stdin?: string | Uint8Array | undefined
  /** What stands behind standard input, in place of a pipe. */
  readonly stdinPath?: string | undefined
  /** What stands behind standard output, in place of a pipe. */
  readonly stdout?: string | undefined
  /** Given the running process, in place of writing `stdin`. */
  readonly drive?: ((running: Running) => void) | undefined
}

const gather = (from: Readable | null): (() => string) => {
  const parts: Array<Buffer> = []
  from?.on("data", (part: Buffer) => parts.push(part))
  return () => Buffer.concat(parts).toString("utf8")
}

const feed = ({ pid, stdin, stdout }: ChildProcess, options: Options): void => {
  // Whoever stops reading its input is right to do so.
  stdin?.on("error", () => undefined)
  if (options.drive === undefined) stdin?.end(options.stdin ?? "")
  else if (pid !== undefined && stdin !== null && stdout !== null) {
    options.drive({ pid, stdin, stdout })
  }
}

/** Run `sealog` with these arguments to its end. */
export const sealog = (args: ReadonlyArray<string>, options: Options = {}): Effect.Effect<Ended> =>
  Effect.promise(async () => {
    const { stdinPath, stdout } = options
    const input = stdinPath === undefined ? "pipe" : fs.openSync(stdinPath, "r")
    const output = stdout === undefined ? "pipe" : fs.openSync(stdout, "w")
    const child = spawn(process.execPath, [...before, ...args], {
      env: { ...process.env, NO_COLOR: "1", NODE_COMPILE_CACHE: compiled },
      stdio: [input, output, "pipe"]
    })
    for (const opened of [input, output]) if (typeof opened === "number") fs.closeSync(opened)
    const [out, err] = [gather(child.stdout), gather(child.stderr)]
    feed(child, options)
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once("error", reject)
      child.once("close", resolve)
    })
    return { code, stdout: out(), stderr: err() }
  })

/** The lines of JSON that it printed. */
export const jsonLines = ({ stdout }: Ended): ReadonlyArray<unknown> =>
  stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line): unknown => JSON.parse(line))

/** Standard error must be one readable paragraph: what, where, what to do. */
export const isParagraph = ({ stderr }: Ended): boolean =>
  /^sealog: [^\n]{20,}\n$/.test(stderr) && !/\bat .*(\.ts|node:)/.test(stderr)
