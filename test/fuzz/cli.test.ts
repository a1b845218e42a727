/** The command line with any arguments and any input: an exit code, and one paragraph at most. */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { afterAll, assert, beforeAll, describe } from "@effect/vitest"
import { Cause, Console, Effect, Exit, Layer, Sink, Stdio, Stream } from "effect"
import { Ending } from "../../src/cli/Ending.ts"
import { program } from "../../src/cli/program.ts"
import { concat, utf8, vector } from "../core/history.ts"
import { named, segmentBytes, using } from "../store/ledgerFixtures.ts"
import { fuzzEffect, showBytes, timeoutMillis } from "./choices.ts"
import type { Choices } from "./choices.ts"
import * as Texts from "./jsonTexts.ts"
import { mutated, rawBytes } from "./mutations.ts"

// Names are relative to the working directory, where a program with odd arguments may write.
const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "sealog-fuzz-")))
const before = process.cwd()
const directory = path.join(root, "ledger")

beforeAll(async () => {
  process.chdir(root)
  fs.writeFileSync("text.txt", "text\n")
  fs.writeFileSync("log.jsonl", vector("log-unsigned.jsonl"))
  fs.writeFileSync("mirror.sqlite", vector("mirror.sqlite"))
  const drafts = [named("row 1"), named("row 2", { keys: { k: "v" } })]
  await Effect.runPromise(using({ directory }, (ledger) => ledger.appendAll(drafts)))
}, timeoutMillis)

afterAll(() => {
  process.chdir(before)
  fs.rmSync(root, { recursive: true })
})

const commands = ["append", "verify", "replay", "parity", "tail", "show", "backup", "", "verifi"]

// The system hands over no NUL, and what is no UTF-8 comes as U+FFFD.
const operands = [
  "ledger",
  "log.jsonl",
  "mirror.sqlite",
  "missing",
  "text.txt",
  "",
  ".",
  "-"
].concat(
  ["\u0001", "\ufffd", "x".repeat(5_000), "ledger/segments", "ledger/ledger.json", "é", "~"],
  ["evt_01KGE3HMFCHXRN13T2E6QT0G4N", "1", "2", "0", "-1", "9".repeat(30), "1e3", "--", "*", "\n"],
  ["\u202e"]
)

const flags = [
  "--json",
  "--help",
  "--version",
  "--payload",
  "--unknown",
  "-h",
  "-x",
  "--json=maybe"
].concat(
  ["--type", "--type=a.v1", "--type=", "--type=A", "--skip", "--skip=1", "--skip=-1", "--skip=1.5"],
  ["--skip=9007199254740993", "--skip=NaN", "-n", "-n=3", "--lines=0", "--lines=1e99", "--jsonl"],
  [
    "--jsonl=log.jsonl",
    "--sqlite=mirror.sqlite",
    "--sqlite",
    "--jsonl=missing",
    "--=",
    "---",
    "--no-json"
  ],
  ["--log-level=none", "--log-level=loud", "--json=true", "--json=false", "--\u001b[2J", "-é"]
)

const valued = ["--type", "--skip", "-n", "--lines", "--jsonl", "--sqlite"]

interface Call {
  readonly args: ReadonlyArray<string>
  readonly stdin: Uint8Array
}

const draftLine = (c: Choices): Uint8Array => {
  const text = `{"type":"a.v1","payload":${Texts.tidyText(c)},"keys":{"k":${Texts.spelled(c, "v")}}}`
  const kind = c.below(6)
  if (kind === 4) return mutated(c, utf8.encode(text), [utf8.encode(text)])
  return kind === 5 ? rawBytes(c) : utf8.encode(text)
}

const call = (c: Choices): Call => {
  const args = [c.once(10) ? c.pick(operands) : c.pick(commands)]
  if (c.below(4) > 0) args.push("ledger")
  for (const argument of c.list(5, () => c.pick(c.below(2) === 0 ? flags : operands))) {
    args.push(argument)
    if (valued.includes(argument) && c.below(4) > 0) args.push(c.pick(operands))
  }
  const lines = c.list(6, () => draftLine(c))
  const ends = c.once(6) ? "\r\n" : "\n"
  const stdin = concat(lines.flatMap((line) => [line, utf8.encode(ends)]))
  return { args: args.filter((argument) => argument !== "--wizard"), stdin }
}

const show = ({ args, stdin }: Call): string => `${JSON.stringify(args)} < ${showBytes(stdin)}`

interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: ReadonlyArray<string>
}

const run = Effect.fnUntraced(function* ({ args, stdin }: Call) {
  const out: Array<string> = []
  const errors: Array<string> = []
  const decoder = new TextDecoder()
  const cut = Math.floor(stdin.byteLength / 2)
  const stdio = Stdio.layerTest({
    args: Effect.succeed(args),
    stdin: Stream.fromIterable([stdin.subarray(0, cut), stdin.subarray(cut)]),
    stdout: () =>
      Sink.forEach((part: string | Uint8Array) =>
        Effect.sync(() => out.push(typeof part === "string" ? part : decoder.decode(part)))
      )
  })
  const console: Console.Console = Object.assign(Object.create(globalThis.console), {
    error: (...parts: ReadonlyArray<unknown>) => void errors.push(parts.map(String).join(" "))
  })
  const exit = yield* program.pipe(
    Effect.provide(Layer.merge(NodeServices.layer, stdio)),
    Effect.provideService(Console.Console, console),
    Effect.exit
  )
  const ended = (code: number): Ended => ({ code, stdout: out.join(""), stderr: errors })
  if (Exit.isSuccess(exit)) return ended(0)
  const error = Cause.squash(exit.cause)
  assert.instanceOf(error, Ending, Cause.pretty(exit.cause))
  return ended(error instanceof Ending ? error.code : -1)
})

const codes: { [code: number]: number } = { 0: 0, 1: 0, 2: 0 }

describe("The command line, fuzzed", () => {
  fuzzEffect(
    "ends with a code and at most one paragraph, never with a defect",
    { cases: 250, generate: call, show },
    (given) =>
      Effect.gen(function* () {
        const rows = segmentBytes(directory)
        const { code, stderr } = yield* run(given)
        codes[code] = (codes[code] ?? 0) + 1
        assert.include([0, 1, 2], code)
        const said = stderr.join("\n")
        assert.notMatch(said, /met a defect|\bat .*(?:\.ts|node:)/)
        assert.isTrue(said.isWellFormed(), said)
        const paragraphs = stderr.filter((text) => text.startsWith("sealog: "))
        assert.isAtMost(paragraphs.length, 1, said)
        for (const text of paragraphs) assert.isAtMost(text.split("\n").length, 1, text)
        if (code === 2) assert.isNotEmpty(said)
        // What was appended stays, whatever was asked.
        assert.isTrue(segmentBytes(directory).subarray(0, rows.byteLength).equals(rows))
      }),
    () => Object.entries(codes).forEach(([code, count]) => assert.isAbove(count, 0, `code ${code}`))
  )
})
