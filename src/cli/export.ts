/**
 * `sealog export DIR FILE`: the rows of a ledger as one file that Cortex reads.
 *
 * Holds what was acknowledged when it began, taken beside a writer. A row that Cortex could not read
 * as it is ends it before there is a file.
 */
import { Effect } from "effect"
import { Argument, Command } from "effect/cli"
import * as SealogNode from "../platform/SealogNode.ts"
import { Progress } from "../store/Progress.ts"
import { Reader } from "../store/reading/Reader.ts"
import { plain } from "./Ending.ts"
import * as Flags from "./flags.ts"
import * as json from "./json.ts"
import { Output } from "./Output.ts"
import * as Bar from "./Progress.ts"
import * as Target from "./Target.ts"

export const command = Command.make(
  "export",
  {
    directory: Argument.String("DIR").pipe(Argument.withDescription("The ledger")),
    file: Argument.String("FILE").pipe(Argument.withDescription("A file that does not exist")),
    json: Flags.json
  },
  Effect.fnUntraced(function* (input) {
    const output = yield* Output
    yield* Target.mirrored(input.directory)
    const report = yield* Effect.flatMap(Reader, (reader) => reader.export(input.file)).pipe(
      Effect.provideServiceEffect(Progress, Bar.told),
      Effect.scoped,
      Effect.provide(SealogNode.layerReader({ directory: input.directory }))
    )
    const { rows, bytes, path, head } = report
    yield* input.json
      ? output.json(json.backup(report))
      : output.line(
          plain(
            `exported ${rows} rows, ${bytes} bytes, to ${path}; its head is ${head.seq}:${head.leafHash}`
          )
        )
  })
).pipe(
  Command.withDescription(
    "Write the rows of a ledger to one new file that the original reads, byte for byte as stored. " +
      "Exit code 1: a row could not be read there (its type is not one of the ten, it has a number " +
      "that would be read as another one, or it is signed and the file has another name than the " +
      "ledger), and no file was made."
  ),
  Command.withShortDescription("Write a ledger's rows to one file that the original reads")
)
