/**
 * Asks a process of its own to use hostile ledgers, and notices where it falls silent: a call that
 * waits for a pipe without a writer can be ended from outside only.
 */
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { isDeno } from "../store/crashKit.ts"

const script = fileURLToPath(new URL("./hostile.ts", import.meta.url))

export interface Case {
  readonly how: string
  readonly directory: string
  readonly what: string
}

export interface Answer {
  readonly tag: string
  readonly message: string
  readonly grownBytes: number
}

// A watch, not a measure: what answers at all answers in a hundredth of it.
const silenceMillisMax = 5_000
const startMillisMax = 20_000

/** The answers of a child to these cases, as far as it came before it fell silent. */
const answersOf = (cases: ReadonlyArray<Case>): Promise<ReadonlyArray<Answer>> =>
  new Promise((resolve, reject) => {
    const run = isDeno ? ["run", "-A", script] : ["--disable-warning=ExperimentalWarning", script]
    const child = spawn(process.execPath, run, { stdio: ["pipe", "pipe", "inherit"] })
    const answers: Array<Answer> = []
    let isKilled = false
    const kill = () => {
      isKilled = child.kill("SIGKILL")
    }
    let watch = setTimeout(kill, startMillisMax)
    createInterface({ input: child.stdout }).on("line", (line) => {
      answers.push(JSON.parse(line))
      clearTimeout(watch)
      watch = setTimeout(kill, silenceMillisMax)
    })
    child.once("error", reject)
    child.once("close", (code) => {
      clearTimeout(watch)
      if (isKilled || code === 0) resolve(answers)
      else reject(new Error(`the child ended by itself with ${code}`))
    })
    child.stdin.end(JSON.stringify(cases))
  })

/** Every case with its answer; one that never answers is told as such, and the rest goes on. */
export const answered = <C extends Case>(cases: ReadonlyArray<C>) =>
  Effect.promise(async () => {
    const told: Array<readonly [C, Answer]> = []
    for (let rest = cases; rest.length > 0; rest = cases.slice(told.length)) {
      const answers = await answersOf(rest)
      for (const [nth, answer] of answers.entries()) {
        const one = rest[nth]
        if (one !== undefined) told.push([one, answer])
      }
      const silent = rest[answers.length]
      if (silent !== undefined) told.push([silent, { tag: "silent", message: "", grownBytes: 0 }])
    }
    return told
  })
