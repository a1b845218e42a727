/**
 * `sealog append DIR`: lines of JSON from standard input become rows.
 *
 * What arrives together becomes one group, so a file is written at the speed of groups, and a line
 * that arrives alone is answered at once. Groups are appended one after another and each is all or
 * nothing: a line that is refused ends its group before it, so nothing behind it was ever written
 * and `--skip` goes on exactly where it stopped. An interruption lets the group under way finish.
 */
import { Effect, Layer, Option, Result, Stdio, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { lineBytesMaxDefault } from "../core/Segment.ts"
import * as Segment from "../core/Segment.ts"
import * as Ed25519Keys from "../platform/Ed25519Keys.ts"
import * as SealogNode from "../platform/SealogNode.ts"
import * as Ledger from "../store/Ledger.ts"
import type { AppendError, Receipt } from "../store/writing/Receipt.ts"
import * as Drafts from "./drafts.ts"
import type { Numbered, Stop } from "./drafts.ts"
import { codeOf, Ending } from "./Ending.ts"
import * as Flags from "./flags.ts"
import * as json from "./json.ts"
import * as Opening from "./opening.ts"
import { Output } from "./Output.ts"
import * as Progress from "./Progress.ts"

const groupLinesMax = 256
const groupBytesMax = 4 * 1024 * 1024

interface Input {
  readonly type: string | undefined
  readonly skip: number
  readonly json: boolean
}

/** How far it came. */
interface State {
  /** The last line that is durable, or was skipped. */
  line: number
  appended: number
  already: number
}

interface Stopped extends Stop {
  readonly code: 1 | 2
}

/** Lines in groups of bounded size. */
const groups = (lines: ReadonlyArray<Segment.Line>): ReadonlyArray<ReadonlyArray<Segment.Line>> => {
  const made: Array<Array<Segment.Line>> = []
  let bytes = 0
  for (const line of lines) {
    const last = made.at(-1)
    bytes += line.length
    if (last === undefined || last.length >= groupLinesMax || bytes > groupBytesMax) {
      made.push([line])
      bytes = line.length
    } else last.push(line)
  }
  return made
}

/** Append as many of the drafts as come before the first that is refused. */
const appendGroup = Effect.fnUntraced(function* (
  ledger: Ledger.Ledger["Service"],
  all: ReadonlyArray<Numbered>
) {
  let drafts = all
  let stop: Stopped | undefined
  while (drafts.length > 0) {
    const answer = yield* Effect.result(ledger.appendAll(drafts.map(({ draft }) => draft)))
    if (Result.isSuccess(answer)) return { receipts: answer.success, stop }
    const error: AppendError = answer.failure
    // Durable, and never to be appended again: as good as an answer.
    if (error._tag === "MirrorBehind") return { receipts: error.receipts, stop }
    const index = Drafts.indexOf(error) ?? 0
    const line = drafts[index]?.line ?? 0
    stop = { line, reason: Drafts.refusal(error, line), code: codeOf(error) }
    drafts = Drafts.indexOf(error) === undefined ? [] : drafts.slice(0, index)
  }
  const receipts: ReadonlyArray<Receipt> = []
  return { receipts, stop }
})

const count = (state: State, receipts: ReadonlyArray<Receipt>, line: number | undefined) => {
  for (const { _tag } of receipts) {
    if (_tag === "Appended") state.appended++
    else state.already++
  }
  state.line = line ?? state.line
}

/** Append one group and print its answers; what stops the reading, if anything does. */
const takeGroup = Effect.fnUntraced(function* (
  ledger: Ledger.Ledger["Service"],
  lines: ReadonlyArray<Segment.Line>,
  input: Input,
  state: State
) {
  const output = yield* Output
  const drafts: Array<Numbered> = []
  let bad: Stopped | undefined
  for (const line of lines) {
    const draft = Drafts.read(line, input.type)
    if (Result.isFailure(draft)) {
      bad = { ...draft.failure, code: 1 }
      break
    }
    drafts.push(draft.success)
  }
  const { receipts, stop } = yield* appendGroup(ledger, drafts).pipe(
    Effect.tap(({ receipts }) =>
      Effect.sync(() => count(state, receipts, drafts[receipts.length - 1]?.line))
    ),
    Effect.uninterruptible
  )
  if (input.json) {
    yield* Effect.forEach(receipts, (answer) => output.json(json.receipt(answer)), {
      discard: true
    })
  }
  return stop ?? bad
})

const unreadable = (state: State, why: string): Stopped => ({
  line: state.line + 1,
  reason: `standard input cannot be read: ${why}`,
  code: 2
})

/** Read standard input to its end or to the first line that is refused. */
const readAll = Effect.fnUntraced(function* (
  ledger: Ledger.Ledger["Service"],
  input: Input,
  state: State
) {
  const stdio = yield* Stdio.Stdio
  // Runtimes take a directory for an empty input.
  if ((yield* Progress.stdinInfo)?.type === "Directory")
    return unreadable(state, "it is a directory")
  const tick = yield* Progress.make({ resultsOnStdout: input.json })
  const splitter = new Segment.LineSplitter("standard input", lineBytesMaxDefault)
  let bytes = 0
  let stopped: Stopped | undefined
  const take = Effect.fnUntraced(function* (lines: ReadonlyArray<Segment.Line>) {
    const wanted = lines.filter(({ number }) => number > input.skip)
    for (const group of groups(wanted)) {
      stopped ??= yield* takeGroup(ledger, group, input, state)
      yield* tick(bytes, state.line)
    }
  })
  yield* stdio.stdin.pipe(
    Stream.takeUntilEffect((chunk) => {
      bytes += chunk.byteLength
      return Effect.map(take(splitter.push(chunk)), () => stopped !== undefined)
    }),
    Stream.runDrain,
    Effect.catchTag("PlatformError", (error) =>
      Effect.sync(() => {
        stopped = unreadable(state, error.reason.message)
      })
    )
  )
  const rest = stopped === undefined ? splitter.end() : undefined
  if (rest !== undefined) yield* take([rest])
  return stopped
}, Effect.scoped)

const rows = (count: number): string => `${count} row${count === 1 ? "" : "s"}`

const summary = ({ appended, already }: State): string =>
  `appended ${rows(appended)}` + (already === 0 ? "" : `, ${already} were there already`)

/** Says what is durable, and how to go on from where it stopped. */
const goOn = (state: State, stop: Stopped): string => {
  const none = state.appended + state.already === 0
  const durable = none ? "Nothing was appended." : "The lines before it are durable."
  return stop.code === 1
    ? `${durable} Mend line ${stop.line} and go on with --skip ${state.line}, ` +
        `or leave it out with --skip ${stop.line}.`
    : `${durable} Go on with --skip ${state.line}.`
}

const run = Effect.fnUntraced(function* (input: Input) {
  const ledger = yield* Ledger.Ledger
  const output = yield* Output
  const state: State = { line: input.skip, appended: 0, already: 0 }
  yield* Effect.forEach(Opening.notes(ledger.opened), output.note, { discard: true })
  const say = (stop: Stop | undefined) =>
    input.json
      ? output.json({
          appended: state.appended,
          stopped_at: stop === undefined ? null : { line: stop.line, reason: stop.reason }
        })
      : output.line(summary(state))
  const stopped = yield* readAll(ledger, input, state).pipe(
    Effect.onInterrupt(() => {
      const stop = { line: state.line + 1, reason: "interrupted" }
      const text = `sealog: interrupted, ${summary(state)}. Go on with --skip ${state.line}.`
      // Whoever interrupts does not wait for a reader that may never read on.
      const last = Effect.ignore(Effect.timeout(say(stop), "1 second"))
      return Effect.andThen(output.note(text), last)
    }),
    Effect.tapError(() =>
      output.note(`sealog: ${summary(state)}. Go on with --skip ${state.line}.`)
    )
  )
  yield* say(stopped)
  if (stopped === undefined) return
  const text = `${stopped.reason.replace(/\.?$/, ".")} ${goOn(state, stopped)}`
  return yield* new Ending({ code: stopped.code, text })
})

const config = {
  directory: Argument.String("DIR").pipe(
    Argument.withDescription("The ledger; made where nothing is")
  ),
  type: Flag.String("type").pipe(
    Flag.withDescription("With --payload: the event type of every line, like door.opened.v1"),
    Flag.optional
  ),
  payload: Flags.on("payload", "With --type: each line is a payload, any JSON value"),
  skip: Flags.count("skip", "lines", "Leave out the first N lines, which are there already").pipe(
    Flag.withDefault(0)
  ),
  key: Flag.String("key").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("Sign each row with the key in this file, as keygen makes it"),
    Flag.optional
  ),
  json: Flags.on("json", "Print one line of JSON for each answer")
}

export const command = Command.make(
  "append",
  config,
  Effect.fnUntraced(function* ({ directory, key, type, payload, skip, json }) {
    if (Option.isSome(type) !== payload) {
      const text = "--type and --payload go together: every line is then a payload of that type"
      return yield* new Ending({ code: 2, text })
    }
    const input: Input = { type: Option.getOrUndefined(type), skip, json }
    const layer = Option.match(key, {
      onNone: () => SealogNode.layer({ directory }),
      onSome: (file) =>
        Layer.provide(SealogNode.layerSigned({ directory }), Ed25519Keys.layerFile(file))
    })
    yield* Effect.provide(run(input), layer)
  })
).pipe(
  Command.withDescription(
    "Append lines of JSON from standard input. A line is a draft, like " +
      '{"type":"door.opened.v1","payload":{"door":"north"}}; its members are type, payload, id, ' +
      "observed_at, recorded_at, source, trace_id, session_id, domain_tags, parent_id, keys and " +
      "schema_version. The first line that is refused, a blank one too, stops it with its number: " +
      "the lines before it are durable, nothing after it was written, and --skip goes on."
  ),
  Command.withShortDescription("Append lines of JSON from standard input"),
  Command.withExamples([
    { command: "sealog append doors < drafts.jsonl", description: "Append drafts" },
    {
      command: "sealog append doors --type door.opened.v1 --payload < payloads.jsonl",
      description: "Append payloads of one type"
    },
    {
      command: "sealog append doors --key ada.key < drafts.jsonl",
      description: "Append drafts, each row signed"
    },
    {
      command: "sealog append doors --skip 6 < drafts.jsonl",
      description: "Go on behind line 6"
    }
  ])
)
