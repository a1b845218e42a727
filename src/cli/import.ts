/**
 * `sealog import FILE DIR`: a file of JSON lines from elsewhere becomes rows of a ledger.
 *
 * Type, id, parent and time are fields of each line, named by JSON pointers or names between dots;
 * the whole line is the payload. Lines that are refused are reported and the rest goes in. The same
 * file, or one that has grown, can be imported again and adds what is new only.
 */
import { Effect, FileSystem, Option, Path, Result, Stdio, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import * as LineDraft from "../core/LineDraft.ts"
import * as SealogNode from "../platform/SealogNode.ts"
import * as durable from "../store/journal/durable.ts"
import { journalError } from "../store/errors.ts"
import * as Import from "../store/writing/Import.ts"
import * as Ledger from "../store/Ledger.ts"
import { Progress } from "../store/Progress.ts"
import { Ending, found, plain } from "./Ending.ts"
import * as Flags from "./flags.ts"
import * as json from "./json.ts"
import * as Opening from "./opening.ts"
import { Output } from "./Output.ts"
import * as Bar from "./Progress.ts"

const place = (name: string, what: string) =>
  Flag.String(name).pipe(
    Flag.withMetavar("P"),
    Flag.withDescription(
      `The field of each line that is its ${what}, like /message/id or message.id`
    ),
    Flag.optional
  )

const said = (name: string, metavar: string, description: string) =>
  Flag.String(name).pipe(
    Flag.withMetavar(metavar),
    Flag.withDescription(description),
    Flag.optional
  )

const config = {
  file: Argument.String("FILE").pipe(Argument.withDescription("The lines; - is standard input")),
  directory: Argument.String("DIR").pipe(
    Argument.withDescription("The ledger; made where nothing is")
  ),
  type: place("type", "type"),
  id: place("id", "id"),
  parent: place("parent", "parent's id"),
  time: place("time", "time, RFC 3339"),
  source: said("source", "NAME", "What ids are made of besides the lines; by default FILE's name"),
  operator: said("operator", "O", "Who asks for it, for the record"),
  reason: said("reason", "R", "Why, for the record"),
  json: Flags.json
}

type Input = Command.Command.Config.Infer<typeof config>

const placeNames = ["type", "id", "parent", "time"] as const

/** The places that were named, or how the first one that is none ends the program. */
const placesOf = Effect.fnUntraced(function* (input: Input) {
  const places: { [name in (typeof placeNames)[number]]?: LineDraft.Place } = {}
  for (const name of placeNames) {
    const text = input[name]
    if (Option.isNone(text)) continue
    const read = LineDraft.place(text.value)
    if (Result.isFailure(read)) {
      const { actual, expected } = read.failure
      const why = `--${name} ${text.value}: expected ${expected}, found ${actual}`
      return yield* new Ending({ code: 2, text: why })
    }
    places[name] = read.success
  }
  return places
})

const chunkSize = 1024 * 1024

/** The bytes of the file, and how many there are where that is known. */
const bytesOf = Effect.fnUntraced(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const stdio = yield* Stdio.Stdio
  if (file !== "-") {
    yield* durable.existing(file)
    const failed = journalError("read", file)
    const { size } = yield* Effect.mapError(fs.stat(file), failed)
    const bytes = Stream.mapError(fs.stream(file, { chunkSize }), failed)
    return { bytes, bytesTotal: Number(size) }
  }
  const info = yield* Bar.stdinInfo
  // Runtimes take a directory for an empty input.
  if (info?.type === "Directory") {
    return yield* new Ending({ code: 2, text: "standard input is a directory" })
  }
  const bytes = Stream.mapError(stdio.stdin, journalError("read", "standard input"))
  return { bytes, bytesTotal: info?.type === "File" ? Number(info.size) : undefined }
})

const shownMax = 20

const human = (report: Import.ImportReport, source: string): ReadonlyArray<string> => {
  const { appended, existing, head, lines, operation, problems, refused } = report
  return [
    `imported ${lines} line${lines === 1 ? "" : "s"} of ${source}: ${appended} appended, ` +
      `${existing} there already, ${refused} refused; operation ${operation}`,
    ...problems.slice(0, shownMax).map(({ line, reason }) => `  line ${line}: ${reason}`),
    ...(refused > shownMax
      ? [`  and ${refused - shownMax} more; --json lists the first 1,000`]
      : []),
    `head: ${head.seq === 0 ? "none, there is no row" : `${head.seq}:${head.leafHash}`}`
  ]
}

/** Counts how often each field was there: one that never was is likely a slip of the pen. */
const watched = (places: LineDraft.Places) => {
  const times = { id: 0, parent: 0, time: 0 }
  const read = Import.fields(places)
  const toDraft: typeof read = (line) => {
    const draft = read(line)
    if (Result.isSuccess(draft)) {
      if (draft.success.id !== undefined) times.id++
      if (draft.success.parentId !== undefined) times.parent++
      if (draft.success.observedAt !== undefined) times.time++
    }
    return draft
  }
  const never = () =>
    (["id", "parent", "time"] as const).filter(
      (name) => places[name] !== undefined && times[name] === 0
    )
  return { toDraft, never }
}

const run = Effect.fnUntraced(function* (
  input: Input,
  places: LineDraft.Places,
  { bytes, bytesTotal }: Effect.Success<ReturnType<typeof bytesOf>>
) {
  const ledger = yield* Ledger.Ledger
  const output = yield* Output
  const paths = yield* Path.Path
  yield* Effect.forEach(Opening.notes(ledger.opened), output.note, { discard: true })
  const source = Option.getOrElse(input.source, () => paths.basename(input.file))
  const { never, toDraft } = watched(places)
  const goOn = output.note("sealog: what was imported stays; run it again, and it goes on.")
  const report = yield* ledger
    .import(bytes, toDraft, {
      source,
      operator: Option.getOrUndefined(input.operator),
      reason: Option.getOrUndefined(input.reason),
      bytesTotal
    })
    .pipe(
      Effect.provideServiceEffect(Progress, Bar.told),
      Effect.scoped,
      Effect.onInterrupt(() => goOn),
      Effect.tapError((error) => (error._tag === "RequestInvalid" ? Effect.void : goOn))
    )
  if (input.json) yield* output.json(json.imported(report))
  else yield* Effect.forEach(human(report, source), (text) => output.line(plain(text)))
  for (const name of report.lines === 0 ? [] : never()) {
    yield* output.note(
      `sealog: no line has the field that --${name} names; look whether it is right`
    )
  }
  if (report.refused > 0) return yield* found
})

export const command = Command.make(
  "import",
  config,
  Effect.fnUntraced(function* (input) {
    const places = yield* placesOf(input)
    const lines = yield* bytesOf(input.file)
    const { directory } = input
    yield* Effect.provide(run(input, places, lines), SealogNode.layer({ directory }))
  })
).pipe(
  Command.withDescription(
    "Make rows of a file of JSON lines: an agent's session, an old audit log. The whole line becomes " +
      `the payload, of type ${LineDraft.lineType} unless --type names a field; a type that is not ` +
      "like door.opened.v1 gets imported. in front, .v1 behind, and is spelled in lower case. An id " +
      "that is no event id becomes one that is made of it; without an id it is made of the source, " +
      "the line's number and its text. So the same file adds nothing when it is imported again. " +
      "Lines that are refused are listed, and the rest goes in. Exit code 1: lines were refused; " +
      "2: it could not run, or not to its end."
  ),
  Command.withShortDescription("Make rows of a file of JSON lines from elsewhere"),
  Command.withExamples([
    {
      command:
        "sealog import session.jsonl session.jsonl.ledger --type type --id uuid " +
        "--parent parentUuid --time timestamp",
      description: "Take in an agent's session"
    },
    { command: "sealog import audit.jsonl ledger", description: "Take in lines as they are" }
  ])
)
