/**
 * The program: its commands, and how it ends whatever happens.
 *
 * Help goes to standard output when it was asked for. Everything that went wrong is one paragraph
 * on standard error; see `Ending` for the exit codes.
 */
import { Cause, Console, Effect, Logger } from "effect"
import { CliOutput, Command } from "effect/cli"
import * as SealogNode from "../platform/SealogNode.ts"
import * as Append from "./append.ts"
import * as Backup from "./backup.ts"
import * as Checkpoints from "./checkpoints.ts"
import * as Doctor from "./doctor.ts"
import * as Export from "./export.ts"
import * as Import from "./import.ts"
import { Ending, of as endingOf, plain } from "./Ending.ts"
import * as Manifest from "./manifest.ts"
import * as Operations from "./operations.ts"
import { layer as layerOutput, Output } from "./Output.ts"
import * as Keygen from "./keygen.ts"
import * as Lock from "./lock.ts"
import * as Parity from "./parity.ts"
import * as Read from "./read.ts"
import * as Repair from "./repair.ts"
import * as Replay from "./replay.ts"
import * as Verify from "./verify.ts"
import * as Views from "./views.ts"

/** As in package.json. */
export const version = "0.1.0"

const sealog = Command.make("sealog").pipe(
  Command.withDescription("Append-only, tamper-evident ledgers"),
  Command.withSubcommands([
    Append.command,
    Verify.command,
    Replay.command,
    Parity.command,
    Read.tail,
    Read.show,
    Read.path,
    Backup.command,
    Import.command,
    Export.command,
    Checkpoints.make,
    Checkpoints.list,
    Operations.rollback,
    Operations.list,
    Repair.rebuild,
    Repair.command,
    Views.command,
    Manifest.command,
    Keygen.command,
    Lock.command,
    Doctor.command
  ])
)

/** Help that nobody asked for, and errors, keep standard output free for results. */
const presenter = Effect.map(Output, (output): CliOutput.Presenter => ({
  present: (event) => {
    const formatter = CliOutput.defaultFormatter({ globalFlags: "summary" })
    // A failure to write is told by `finish`.
    const line = (text: string) => Effect.ignore(output.line(text))
    switch (event._tag) {
      case "Version":
        return line(event.version)
      case "Help":
        return event.reason === "Requested"
          ? line(formatter.formatHelpDoc(event.helpDoc))
          : output.note(formatter.formatHelpDoc(event.helpDoc))
      case "InvalidInvocation": {
        const errors = event.errors.map((error) => plain(error.message)).join("; ")
        return output.note(`sealog: ${errors}. See ${event.commandPath.join(" ")} --help`)
      }
    }
  }
}))

const isUsage = (error: unknown): boolean =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "ShowHelp"

const end = Effect.fnUntraced(function* (cause: Cause.Cause<unknown>) {
  if (Cause.hasInterruptsOnly(cause)) return yield* Effect.interrupt
  if (isUsage(Cause.squash(cause))) return yield* new Ending({ code: 2 })
  const ending = endingOf(cause)
  if (ending.text !== undefined) yield* Console.error(`sealog: ${plain(ending.text)}`)
  return yield* ending
})

/** Run the command line of this process; fails with an `Ending` that carries the exit code. */
export const program = Command.run(sealog, { version }).pipe(
  Effect.andThen(Effect.flatMap(Output, (output) => output.finish)),
  Effect.catchCause(end),
  // Warnings are for whoever is at the terminal.
  Effect.provideService(Logger.LogToStderr, true),
  Effect.provideServiceEffect(CliOutput.Presenter, presenter),
  Effect.provide(layerOutput),
  Effect.provide(SealogNode.layerPlatform)
)
