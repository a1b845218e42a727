/**
 * `sealog manifest DIR`: counters, files, hashes and invariants of a ledger, counted from its rows.
 *
 * Takes no guard and writes nothing, so it runs beside a writer; the ledger's own `manifest.json` is
 * neither read nor changed. An invariant that does not hold is a finding.
 */
import { Effect } from "effect"
import { Argument, Command } from "effect/cli"
import * as Manifest from "../core/Manifest.ts"
import { Reader } from "../store/reading/Reader.ts"
import { found } from "./Ending.ts"
import * as Flags from "./flags.ts"
import * as json from "./json.ts"
import { Output } from "./Output.ts"
import { reading } from "./read.ts"
import * as Table from "./table.ts"

const said = (manifest: Manifest.Manifest): ReadonlyArray<ReadonlyArray<string>> => {
  const { at, counters, head, integrity, ledgerId } = manifest
  const { branches, bytes, byType, checkpoints, operations, rows, segments } = counters
  const invariants = Object.entries(json.manifest(manifest).invariants)
  const holds = (is: boolean) =>
    invariants.flatMap(([name, isHeld]) => (isHeld === is ? [name] : [])).join(", ")
  return [
    ["ledger", `${ledgerId ?? "of one file"}, at ${at}`],
    ["head", head.seq === 0 ? "none, there is no row" : `${head.seq}:${head.leafHash}`],
    ["root", integrity.root ?? "none, the index lacks rows"],
    ["rows", `${rows}, ${bytes} bytes in ${segments} files`],
    ...Object.entries(byType).map(([type, count]) => ["", `${count} ${type}`]),
    ["branches", `${branches}`],
    ["checkpoints", `${checkpoints}`],
    ["operations", `${operations}`],
    ["holds", holds(true)],
    ...(Manifest.isSound(manifest) ? [] : [["BROKEN", holds(false)]])
  ]
}

export const command = Command.make(
  "manifest",
  {
    directory: Argument.String("DIR").pipe(Argument.withDescription("The ledger")),
    json: Flags.json
  },
  Effect.fnUntraced(function* (input) {
    const output = yield* Output
    const manifest = yield* reading(
      input.directory,
      Effect.flatMap(Reader, (reader) => reader.manifest)
    )
    if (input.json) yield* output.json(json.manifest(manifest))
    else yield* Effect.forEach(Table.lines(said(manifest)), output.line, { discard: true })
    if (!Manifest.isSound(manifest)) return yield* found
  })
).pipe(
  Command.withDescription(
    "Count the rows of a ledger and look at what must hold of them; changes nothing, and reads no " +
      "row's content: `sealog verify` does. Exit code 1: something does not hold."
  ),
  Command.withShortDescription("Counters, files and invariants of a ledger")
)
