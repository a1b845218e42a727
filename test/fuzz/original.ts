/**
 * The original, asked about very many things at once: a program around its crates, named by the
 * variable `CORTEX_ORACLE`. It takes lines and answers each with a line of JSON.
 */
import { spawnSync } from "node:child_process"
import { casesOf, rounds } from "./choices.ts"
import type { Choices } from "./choices.ts"

/** The program's path, where there is one. */
export const program = process.env["CORTEX_ORACLE"]

export type Answer = { readonly [member: string]: unknown }

/** What it prints, of whatever it was asked. */
const said = (args: ReadonlyArray<string>, input: string): string => {
  if (program === undefined) throw new Error("CORTEX_ORACLE names no program")
  const run = spawnSync(program, args, { encoding: "utf8", input, maxBuffer: 2 ** 30 })
  if (run.error !== undefined) throw run.error
  if (run.signal !== null || run.stdout === "") throw new Error(`it failed: ${run.stderr}`)
  return run.stdout
}

const answerOf = (json: string): Answer => {
  const value: unknown = JSON.parse(json)
  if (typeof value !== "object" || value === null) throw new Error(`no answer: ${json}`)
  return { ...value }
}

/** Its answers to these questions, one for each. */
const ask = (
  args: ReadonlyArray<string>,
  questions: ReadonlyArray<string>
): ReadonlyArray<Answer> => {
  const answers = said(args, questions.map((question) => `${question}\n`).join(""))
    .trimEnd()
    .split("\n")
    .map(answerOf)
  if (answers.length !== questions.length) throw new Error("it did not answer every question")
  return answers
}

/** What it says of a whole file of rows. */
export const audit = (file: string): Answer => {
  const whole = answerOf(said(["verify-jsonl", file], ""))
  const value: unknown = whole["audit"]
  if (typeof value !== "object" || value === null) throw new Error("no audit")
  return { ...value }
}

export const isRefused = (answer: Answer): boolean => answer["error"] !== undefined

const counts = new Map<string, number>()

export const count = (what: string): void => void counts.set(what, (counts.get(what) ?? 0) + 1)

/** Say in a long run how often what was seen. */
export const show = (): void => {
  if (rounds > 1) for (const [what, times] of counts) console.log(`${times} ${what}`)
  counts.clear()
}

const atOnce = 20_000

/** Ask both about generated questions, many at a time, and compare what they say. */
export const compare = <A>(
  name: string,
  cases: number,
  generate: (c: Choices) => A,
  asked: { readonly args: ReadonlyArray<string>; readonly question: (input: A) => string },
  judge: (input: A, answer: Answer) => void
): void => {
  const compareSome = (some: ReadonlyArray<{ readonly input: A; readonly seed: number }>) => {
    const questions = some.map(({ input }) => asked.question(input))
    const answers = ask(asked.args, questions)
    for (const [nth, { input, seed }] of some.entries()) {
      try {
        judge(input, answers[nth] ?? {})
      } catch (cause) {
        const said = `which the original answers with ${JSON.stringify(answers[nth])}`
        throw new Error(`${String(cause)}\nFUZZ_SEED=${seed}, ${questions[nth]}\n${said}`, {
          cause
        })
      }
    }
  }
  let some: Array<{ readonly input: A; readonly seed: number }> = []
  for (const one of casesOf(name, cases, generate)) {
    some.push(one)
    if (some.length < atOnce) continue
    compareSome(some)
    some = []
  }
  if (some.length > 0) compareSome(some)
}
