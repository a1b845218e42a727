/**
 * `sealog backup DIR TO`: a copy of a ledger's rows and identity, taken beside a writer.
 *
 * Holds what was acknowledged when it began. The copy has no mirror; opening it, or
 * `sealog replay TO`, makes one from its journal.
 */
import { Effect } from "effect"
import { Argument, Command } from "effect/cli"
import * as SealogNode from "../platform/SealogNode.ts"
import { Reader } from "../store/reading/Reader.ts"
import { plain } from "./Ending.ts"
import * as Flags from "./flags.ts"
import * as json from "./json.ts"
import { Output } from "./Output.ts"
import * as Target from "./Target.ts"

export const command = Command.make(
  "backup",
  {
    directory: Argument.String("DIR").pipe(Argument.withDescription("The ledger")),
    to: Argument.String("TO").pipe(
      Argument.withDescription("A directory that is empty or does not exist")
    ),
    json: Flags.json
  },
  Effect.fnUntraced(function* (input) {
    const output = yield* Output
    yield* Target.mirrored(input.directory)
    const report = yield* Effect.provide(
      Effect.flatMap(Reader, (reader) => reader.backup(input.to)),
      SealogNode.layerReader({ directory: input.directory })
    )
    const { rows, bytes, path, head } = report
    yield* input.json
      ? output.json(json.backup(report))
      : output.line(
          plain(
            `copied ${rows} rows, ${bytes} bytes, to ${path}; its head is ${head.seq}:${head.leafHash}`
          )
        )
  })
).pipe(
  Command.withDescription(
    "Copy the rows of a ledger to another directory, while it is in use if need be. The copy is " +
      "durable when this ends; keep the head that it prints elsewhere, to tell a tail that was cut."
  ),
  Command.withShortDescription("Copy a ledger's rows to another directory")
)
