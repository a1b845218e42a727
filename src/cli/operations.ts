/**
 * `sealog rollback DIR N` and `sealog operations DIR`: go back to a checkpoint, and what was ever done.
 *
 * A rollback opens the ledger under its guard. What it cuts is kept, and its path is printed. One that
 * is refused changes nothing and is recorded too: exit code 1. One that was begun and failed (2) is
 * finished when the ledger is opened next. Listing takes no guard and changes nothing.
 */
import { Effect } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import type { Operation } from "../core/Operation.ts"
import { Reader } from "../store/reading/Reader.ts"
import { plain } from "./Ending.ts"
import * as Flags from "./flags.ts"
import * as json from "./json.ts"
import * as Opening from "./opening.ts"
import { Output } from "./Output.ts"
import { reading } from "./read.ts"
import * as Table from "./table.ts"

const directory = Argument.String("DIR").pipe(Argument.withDescription("The ledger"))

const cutOf = ({ cut }: Operation): string => {
  const rows = cut.reduce((sum, part) => sum + (part.rows ?? 0), 0)
  const bytes = cut.reduce((sum, part) => sum + part.bytes, 0)
  return bytes === 0 ? "cut nothing" : `cut ${rows} rows, ${bytes} bytes`
}

const said = (operation: Operation): ReadonlyArray<string> => {
  const { at, errorClass, from, head, id, kind, operator, outcome, reason, state } = operation
  const ended = errorClass ?? (state === "finished" ? (outcome ?? "ended") : state)
  const way = head === null ? "" : `${from === null ? "" : `${from.seq} -> `}row ${head.seq}`
  return [id, at ?? "", kind ?? "", ended, way, cutOf(operation), operator ?? "", reason ?? ""]
}

export const rollback = Command.make(
  "rollback",
  {
    directory,
    number: Argument.Int("N").pipe(Argument.withDescription("The number of the checkpoint")),
    operator: Flag.String("operator").pipe(Flag.withDescription("Who asks for it; it is kept")),
    reason: Flag.String("reason").pipe(Flag.withDescription("Why; it is kept")),
    correlationId: Flag.String("correlation-id").pipe(
      Flag.withDescription("What ties it to something elsewhere, a ticket or a trace"),
      Flag.withDefault(undefined)
    ),
    json: Flags.json
  },
  Effect.fnUntraced(function* ({ correlationId, directory, number, operator, reason, ...input }) {
    const output = yield* Output
    const operation = yield* Opening.writing(directory, (ledger) =>
      ledger.rollback(number, { operator, reason, correlationId })
    )
    if (input.json) return yield* output.json(json.operation(operation))
    const { cut, head, id } = operation
    yield* output.line(
      `rolled back to checkpoint ${number} at row ${head?.seq}:${head?.leafHash}; ${cutOf(operation)}`
    )
    const kept = cut.map(({ path }) => `kept ${path}`)
    yield* Effect.forEach([`operation ${id}`, ...kept], (text) => output.line(plain(text)), {
      discard: true
    })
  })
).pipe(
  Command.withDescription(
    "Go back to a checkpoint. Later rows are moved to the ledger's operations/, where they can be " +
      "read and verified. Exit code 1: the checkpoint does not fit, and nothing was changed."
  ),
  Command.withShortDescription("Go back to a checkpoint, keeping what is cut")
)

export const list = Command.make(
  "operations",
  { directory, json: Flags.json },
  Effect.fnUntraced(function* (input) {
    const output = yield* Output
    const found = yield* reading(
      input.directory,
      Effect.flatMap(Reader, (reader) => reader.operations)
    )
    if (input.json) return yield* output.json(found.map(json.operation))
    yield* Effect.forEach(Table.lines(found.map(said)), output.line, { discard: true })
  })
).pipe(
  Command.withDescription(
    "List what was ever done to a ledger besides appending, finished or not, while it is in use if " +
      "need be"
  )
)
