/**
 * `sealog checkpoint DIR` and `sealog checkpoints DIR`: state where a ledger stands, and list it.
 *
 * Making one opens the ledger under its guard. Listing takes no guard and changes nothing, so it runs
 * beside a writer; one that does not hold together is left out, and told by `sealog verify`.
 */
import { Effect } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import * as Checkpoint from "../core/Checkpoint.ts"
import { Reader } from "../store/reading/Reader.ts"
import { plain } from "./Ending.ts"
import * as Flags from "./flags.ts"
import * as json from "./json.ts"
import * as Opening from "./opening.ts"
import { Output } from "./Output.ts"
import * as Table from "./table.ts"
import { reading } from "./read.ts"

const directory = Argument.String("DIR").pipe(Argument.withDescription("The ledger"))

const said = ({ at, number, reason, root, size }: Checkpoint.Checkpoint): ReadonlyArray<string> => [
  `${number}`,
  at,
  `${size} rows`,
  `root ${root}`,
  reason
]

export const make = Command.make(
  "checkpoint",
  {
    directory,
    reason: Flag.String("reason").pipe(Flag.withDescription("Why; it is kept")),
    json: Flags.json
  },
  Effect.fnUntraced(function* (input) {
    const output = yield* Output
    const checkpoint = yield* Opening.writing(input.directory, (ledger) =>
      ledger.checkpoint(input.reason)
    )
    const { head, number, root } = checkpoint
    const text = `checkpoint ${number} at row ${head.seq}:${head.leafHash}, root ${root}`
    // As it lies on disk, byte for byte: kept elsewhere it is what `verify --checkpoint` takes.
    yield* output.line(input.json ? Checkpoint.encode(checkpoint).trimEnd() : text)
  })
).pipe(
  Command.withDescription(
    "State the head and Merkle root of a ledger, durable when this ends; `sealog rollback` can go " +
      "back to it. Keep what it prints elsewhere, to tell a tail that was cut."
  ),
  Command.withShortDescription("State where a ledger stands")
)

export const list = Command.make(
  "checkpoints",
  { directory, json: Flags.json },
  Effect.fnUntraced(function* (input) {
    const output = yield* Output
    const found = yield* reading(
      input.directory,
      Effect.flatMap(Reader, (reader) => reader.checkpoints)
    )
    if (input.json) return yield* output.json(found.map((one) => json.checkpoint(one)))
    yield* Effect.forEach(Table.lines(found.map(said)), (text) => output.line(plain(text)), {
      discard: true
    })
  })
).pipe(Command.withDescription("List the checkpoints of a ledger, while it is in use if need be"))
