/**
 * Where a ledger's files lie.
 *
 *   directory/  ledger.json  segments/<first seq, 16 digits>.jsonl
 *               checkpoints/<number, 16 digits>.json  operations/<id>/  manifest.json
 *               mirror.sqlite (-wal, -shm)  guard  marker
 *
 * In Cortex mode the journal is one file, and everything else lies in `<file>.sealog/` beside it.
 * Names and places are on disk: they may never change.
 */
import type { Path } from "effect"
import type { Format } from "../../core/Row.ts"

/** Which ledger: a directory of segments, or one file that Cortex reads and writes. */
export type Location = { readonly directory: string } | { readonly file: string }

/** The places of one ledger; all paths are absolute. */
export interface Layout {
  readonly format: Format
  /** The ledger's own directory; in Cortex mode the one beside the file. */
  readonly root: string
  /** What a message calls the ledger: the directory or the file. */
  readonly name: string
  /** The directory of segments, or the one journal file. */
  readonly journal: string
  readonly ledgerJson: string
  readonly checkpoints: string
  readonly operations: string
  readonly manifest: string
  readonly mirror: string
  readonly guard: string
  readonly marker: string
}

/** The places of the ledger at a location. */
export const of = (path: Path.Path, location: Location): Layout => {
  const cortex = "file" in location
  const name = path.resolve(cortex ? location.file : location.directory)
  const root = cortex ? `${name}.sealog` : name
  return {
    format: cortex ? "cortex" : "segments",
    root,
    name,
    journal: cortex ? name : path.join(root, "segments"),
    ledgerJson: path.join(root, "ledger.json"),
    checkpoints: path.join(root, "checkpoints"),
    operations: path.join(root, "operations"),
    manifest: path.join(root, "manifest.json"),
    mirror: path.join(root, "mirror.sqlite"),
    guard: path.join(root, "guard"),
    marker: path.join(root, "marker")
  }
}
