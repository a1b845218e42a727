/**
 * `sealog tail DIR`, `sealog show DIR ID|SEQ` and `sealog path DIR LEAF`: stored rows, byte for byte.
 *
 * Read through the index and answered from the journal, without the guard: they work beside a
 * writer, and for them the ledger ends at the newest acknowledged row. Rows are JSON already, so
 * `--json` changes nothing.
 */
import { Effect, Result, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import * as EventId from "../core/EventId.ts"
import * as SealogNode from "../platform/SealogNode.ts"
import { Reader } from "../store/reading/Reader.ts"
import { Ending } from "./Ending.ts"
import * as Flags from "./flags.ts"
import { Output } from "./Output.ts"
import * as Target from "./Target.ts"

const directory = Argument.String("DIR").pipe(Argument.withDescription("The ledger"))

const json = Flags.on("json", "Rows are JSON with and without it")

/** Run over a ledger that is there and has a mirror. */
export const reading = Effect.fnUntraced(function* <A, E, R>(
  directory: string,
  use: Effect.Effect<A, E, R>
) {
  yield* Target.mirrored(directory)
  return yield* Effect.provide(use, SealogNode.layerReader({ directory }))
})

const lf = "\n"

const tailOf = Effect.fnUntraced(function* (lines: number) {
  const reader = yield* Reader
  const output = yield* Output
  const { seq: last } = yield* reader.head
  for (let seq = Math.max(1, last - lines + 1); seq <= last; seq++) {
    yield* output.write(yield* reader.line(seq))
    yield* output.write(lf)
  }
})

export const tail = Command.make(
  "tail",
  {
    directory,
    lines: Flags.count("lines", "rows", "How many of the newest rows, 10 if left out").pipe(
      Flag.withAlias("n"),
      Flag.withDefault(10)
    ),
    json
  },
  ({ directory, lines }) => reading(directory, tailOf(lines))
).pipe(Command.withDescription("Print the newest rows of a ledger, byte for byte as stored"))

const seqMaxDigits = 15

/** A seq, or an event id in any case. */
const refOf = (text: string): Result.Result<string | number, string> =>
  /^\d+$/.test(text) && text.length <= seqMaxDigits
    ? Result.succeed(Number(text))
    : Result.mapError(EventId.parse(text), (error) => error.message)

const parsed = (text: string) =>
  Effect.mapError(Effect.fromResult(refOf(text)), (why) => new Ending({ code: 2, text: why }))

export const show = Command.make(
  "show",
  {
    directory,
    ref: Argument.String("ID|SEQ").pipe(
      Argument.withDescription("The id of an event, or the number of its row, from 1")
    ),
    json
  },
  Effect.fnUntraced(function* ({ directory, ref: text }) {
    const ref = yield* parsed(text)
    const output = yield* Output
    const line = yield* reading(
      directory,
      Effect.flatMap(Reader, (reader) => reader.line(ref))
    )
    yield* output.write(line)
    yield* output.write(lf)
  })
).pipe(
  Command.withDescription(
    "Print one row of a ledger, byte for byte as stored. Exit code 1: there is no such row."
  ),
  Command.withShortDescription("Print one row of a ledger")
)

const pathOf = Effect.fnUntraced(function* (leaf: string | number) {
  const reader = yield* Reader
  const output = yield* Output
  yield* reader.path(leaf).pipe(
    Stream.runForEach(
      Effect.fnUntraced(function* ({ id }) {
        yield* output.write(yield* reader.line(id))
        yield* output.write(lf)
      })
    )
  )
})

export const path = Command.make(
  "path",
  {
    directory,
    leaf: Argument.String("LEAF").pipe(
      Argument.withDescription("The id of an event, or the number of its row, from 1")
    ),
    json
  },
  ({ directory, leaf }) => Effect.flatMap(parsed(leaf), (ref) => reading(directory, pathOf(ref)))
).pipe(
  Command.withDescription(
    "Print a row and all its ancestors, the root first, byte for byte as stored. Exit code 1: there " +
      "is no such row."
  ),
  Command.withShortDescription("Print a row and its ancestors, the root first")
)
