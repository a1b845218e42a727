/**
 * The parent's side: child processes that are started ahead, so that their start-up overlaps with
 * the lives of others, and what they say, heard line by line.
 */
import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import type { Scope } from "effect"
import type { Orders, Said } from "./talk.ts"
import { lineOf, saidFrom } from "./talk.ts"

export interface Ended {
  readonly code: number | null
  readonly signal: string | null
  /** What it said on standard error. */
  readonly errors: string
}

/** A running process. */
export interface Child {
  readonly pid: number
  /** Bytes that have arrived since its orders were sent. */
  readonly bytes: () => number
  /** Told what arrives, at once: each line, then how many bytes there are. One at a time. */
  readonly onSaid: (listener: (said: Said) => void, onBytes?: (bytes: number) => void) => void
  readonly order: (orders: Orders) => void
  /** One line that lets a contender which holds on go on. */
  readonly goOn: () => void
  /** Ends its input: it closes what it has open, and ends. */
  readonly dismiss: () => void
  readonly signal: (name: "SIGKILL" | "SIGSTOP" | "SIGCONT") => void
  /** When it has ended and everything it said was heard. */
  readonly ended: Promise<Ended>
}

const script = fileURLToPath(new URL("./child.ts", import.meta.url))

const argumentsOf = (executable: string) =>
  /deno(\.exe)?$/.test(executable)
    ? ["run", "-A", script]
    : ["--disable-warning=ExperimentalWarning", script]

/** Hands on whole lines. What is no whole line when the pipe ends was cut by the kill. */
const splitLines = (onLine: (line: string) => void) => {
  let rest: Buffer = Buffer.alloc(0)
  return (chunk: Buffer) => {
    let from = 0
    for (let at = chunk.indexOf(0x0a); at !== -1; at = chunk.indexOf(0x0a, from)) {
      onLine(Buffer.concat([rest, chunk.subarray(from, at)]).toString("utf8"))
      rest = Buffer.alloc(0)
      from = at + 1
    }
    rest = Buffer.concat([rest, chunk.subarray(from)])
  }
}

const childOf = (process_: ChildProcess): { child: Child; ready: Promise<Child> } => {
  const { pid = -1, stderr, stdin, stdout } = process_
  if (stdin === null || stdout === null || stderr === null) throw new Error("no pipes")
  // Whoever was killed reads no more.
  stdin.on("error", () => undefined)
  let errors = ""
  stderr.on("data", (text: Buffer) => {
    errors += text.toString("utf8")
  })
  let bytes = 0
  let hear: (said: Said) => void = () => undefined
  let weigh: (bytes: number) => void = () => undefined
  let isRunning = true
  process_.once("exit", () => {
    isRunning = false
  })
  const ended = new Promise<Ended>((resolve) => {
    process_.once("close", (code, signal) => resolve({ code, signal, errors }))
  })
  const ready = new Promise<Child>((resolve, reject) => {
    hear = () => resolve(child)
    process_.once("error", reject)
    void ended.then(() => reject(new Error(`a child ended before it was ready: ${errors}`)))
  })
  const take = splitLines((line) => hear(saidFrom(line)))
  stdout.on("data", (chunk: Buffer) => {
    bytes += chunk.byteLength
    take(chunk)
    weigh(bytes)
  })
  const child: Child = {
    pid,
    bytes: () => bytes,
    onSaid: (listener, onBytes = () => undefined) => {
      hear = listener
      weigh = onBytes
    },
    order: (orders) => {
      bytes = 0
      stdin.write(lineOf(orders))
    },
    goOn: () => void stdin.write("go\n"),
    dismiss: () => void stdin.end(),
    signal: (name) => {
      // By number: Deno's handle takes any signal for the end, and sends no other after it.
      if (isRunning) process.kill(pid, name)
    },
    ended
  }
  return { child, ready }
}

/** Children of one runtime. */
export interface Herd {
  /** A child that is ready; another one is started in its place. */
  readonly take: Effect.Effect<Child>
}

/**
 * Keeps `ahead` children of this runtime ready; kills all there are when the scope closes. Node
 * keeps what it has compiled in a directory that lives as long.
 */
export const herd = (executable: string, ahead: number): Effect.Effect<Herd, never, Scope.Scope> =>
  Effect.gen(function* () {
    const compiled = yield* Effect.acquireRelease(
      Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "sealog-compiled-"))),
      (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
    )
    const running = new Set<Child>()
    const waiting: Array<Promise<Child>> = []
    const start = () => {
      const { child, ready } = childOf(
        spawn(executable, argumentsOf(executable), {
          env: { ...process.env, NODE_COMPILE_CACHE: compiled, NO_COLOR: "1" },
          // Ctrl-C is the parent's alone; it ends its children itself.
          detached: true,
          stdio: ["pipe", "pipe", "pipe"]
        })
      )
      running.add(child)
      void child.ended.then(() => running.delete(child))
      // Whether it became ready is asked when it is taken.
      ready.catch(() => undefined)
      return ready
    }
    yield* Effect.addFinalizer(() =>
      Effect.promise(() =>
        Promise.all(
          [...running].map((child) => {
            child.signal("SIGKILL")
            return child.ended
          })
        )
      )
    )
    // The first one ends by itself, which is when Node writes down what it has compiled.
    const first = yield* Effect.promise(start)
    first.dismiss()
    yield* Effect.promise(() => first.ended)
    for (let nth = 0; nth < ahead; nth++) waiting.push(start())
    return {
      take: Effect.promise(() => {
        const next = waiting.shift() ?? start()
        waiting.push(start())
        return next
      })
    }
  })

/** Whether the kernel says how a process stands, so that a stop can be waited for. */
export const canSeeStops: boolean = fs.existsSync("/proc/self/stat")

/** How a thread stands: `T` where it has stopped; undefined where it has ended meanwhile. */
const stateOf = (thread: string): string | undefined => {
  try {
    const stat = fs.readFileSync(`${thread}/stat`, "utf8")
    return stat.slice(stat.lastIndexOf(")") + 2).at(0)
  } catch {
    return undefined
  }
}

/** When every thread of a process has stopped: a signal is sent at once, but not obeyed at once. */
export const stopped = (pid: number): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const threads = `/proc/${pid}/task`
    const look = () => {
      const states = fs.readdirSync(threads).map((thread) => stateOf(`${threads}/${thread}`))
      if (states.every((state) => state === "T" || state === undefined)) resume(Effect.void)
      else setImmediate(look)
    }
    look()
  })
