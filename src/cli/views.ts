/**
 * `sealog views DIR`: how far each view of a ledger is, and which of them were set aside.
 *
 * Takes no guard and changes nothing. What views mean only their application knows: it makes them
 * anew and checks them (`Views`). One that was set aside is a finding: exit code 1.
 */
import { Effect } from "effect"
import { Argument, Command } from "effect/cli"
import { Reader } from "../store/reading/Reader.ts"
import type { ViewStatus } from "../store/views/Views.ts"
import { found, plain } from "./Ending.ts"
import * as Flags from "./flags.ts"
import { Output } from "./Output.ts"
import { reading } from "./read.ts"
import * as Table from "./table.ts"

const said = ({ name, seq, stale, version }: ViewStatus): ReadonlyArray<string> => [
  name,
  `version ${version}`,
  `row ${seq}`,
  stale === null ? "" : plain(`set aside at row ${stale.since}: ${stale.reason}`)
]

export const command = Command.make(
  "views",
  {
    directory: Argument.String("DIR").pipe(Argument.withDescription("The ledger")),
    json: Flags.json
  },
  Effect.fnUntraced(function* ({ directory, json }) {
    const output = yield* Output
    const views = yield* reading(
      directory,
      Effect.flatMap(Reader, (reader) => reader.views)
    )
    yield* json
      ? output.json(views)
      : Effect.forEach(Table.lines(views.map(said)), output.line, { discard: true })
    if (views.some(({ stale }) => stale !== null)) return yield* found
  })
).pipe(
  Command.withDescription(
    "List the views that a ledger's mirror holds, how far each is, and which were set aside as they " +
      "could not take an event; those end it with exit code 1"
  ),
  Command.withShortDescription("List a ledger's views, and how far they are")
)
