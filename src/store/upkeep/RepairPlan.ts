/**
 * Internal: the plan of a repair, as a diagnosis shows it (`Diagnosis`) and a repair carries it out.
 *
 * Plain data that can be shown, kept and handed back. Findings are what opening refuses; remarks and
 * a marker are told beside them. Two plans are the same where both would do the same for the same
 * reasons, whatever marker stands there: it is gone before a repair begins.
 */
import { Schema } from "effect"
import * as Chain from "../../core/Chain.ts"
import { markerSaid } from "../locking/Guard.ts"
import type { Layout } from "../journal/Layout.ts"

const Place = Schema.Struct({ seq: Schema.Int, leafHash: Schema.String })

/** What a repair would do. Nothing of it was done. */
export class RepairPlan extends Schema.Class<RepairPlan>("sealog/RepairPlan")({
  /** The directory, or in Cortex mode the file. */
  ledger: Schema.String,
  isFile: Schema.Boolean,
  /** Why opening refuses, one sentence each; empty where nothing is to be repaired. */
  findings: Schema.Array(Schema.String),
  /** What is wrong and keeps no ledger from opening. */
  remarks: Schema.Array(Schema.String),
  /** The text of a marker that stops opening, and a repair too, until it was taken over. */
  marker: Schema.NullOr(Schema.String),
  /** The newest row that is kept. */
  to: Place,
  /** The newest row that the mirror has; null where it cannot be read, or is empty. */
  from: Schema.NullOr(Place),
  /** Where the journal is cut: a file and a byte of it, with all files behind; null where not. */
  cut: Schema.NullOr(Schema.Struct({ path: Schema.String, offset: Schema.Int })),
  /** Files that are set aside, that of the mirror among them. */
  foreign: Schema.Array(Schema.String),
  checkpoints: Schema.Array(Schema.Int),
  /** Rows of the mirror beyond this are taken out; null where it is left alone. */
  mirrorUntil: Schema.NullOr(Schema.Int),
  isMirrorUnreadable: Schema.Boolean,
  /** Operations that were begun and can never be finished: they are closed as they stand. */
  closes: Schema.Array(Schema.String),
  /** An operation that the next open finishes; nothing else is judged before. */
  pending: Schema.NullOr(Schema.String)
}) {
  /** Whether opening needs a repair. */
  get isNeeded(): boolean {
    return this.findings.length > 0
  }

  /** Whether a repair has anything to do, needed or not. */
  get hasSteps(): boolean {
    return this.isNeeded || this.checkpoints.length > 0
  }

  get message(): string {
    const { findings, ledger, pending, to } = this
    const beside = [...this.remarks, ...this.#marked].map((said) => ` ${said}.`).join("")
    if (pending !== null)
      return `${ledger}: open it, which finishes the operation ${pending}${beside}`
    const steps = this.#steps.join("; ")
    if (!this.isNeeded) {
      const can = steps === "" ? "" : ` A repair that is asked for all the same would ${steps}.`
      const said = `${ledger}: nothing to repair; opening it mends what may be mended`
      return beside === "" && can === "" ? said : `${said}.${beside}${can}`
    }
    return `${ledger}: ${findings.join("; ")}. A repair would keep rows 1 to ${to.seq}, and ${steps}.${beside}`
  }

  get #steps(): ReadonlyArray<string> {
    const { checkpoints, closes, cut, foreign, mirrorUntil } = this
    return [
      ...(cut === null ? [] : [`set aside ${cut.path} from byte ${cut.offset} on, and all behind`]),
      ...foreign.map((path) => `set aside ${path}`),
      ...checkpoints.map((number) => `set aside checkpoint ${number}`),
      ...(mirrorUntil === null ? [] : [`take the mirror back to row ${mirrorUntil}`]),
      ...(this.isMirrorUnreadable ? ["set the mirror aside; opening makes it anew"] : []),
      ...closes.map((id) => `close the operation ${id} as it stands`)
    ]
  }

  get #marked(): ReadonlyArray<string> {
    if (this.marker === null) return []
    const said = markerSaid({ marker: this.marker, ageMillis: null }).trim()
    return [
      `A marker stops opening and repairing. ${said} Where nobody is at it any more, take over first, ` +
        "with a signed statement (`sealog lock takeover`)"
    ]
  }
}

/** Nothing to repair as yet: opening finishes this operation first. */
export const pending = ({ format, name }: Layout, id: string): RepairPlan =>
  new RepairPlan({
    ledger: name,
    isFile: format === "cortex",
    findings: [],
    remarks: [],
    marker: null,
    to: { seq: 0, leafHash: Chain.start.leafHash },
    from: null,
    cut: null,
    foreign: [],
    checkpoints: [],
    mirrorUntil: null,
    isMirrorUnreadable: false,
    closes: [],
    pending: id
  })

/** Whether two plans would do the same, for the same reasons. */
export const isSame = (a: RepairPlan, b: RepairPlan): boolean =>
  JSON.stringify({ ...a, marker: null }) === JSON.stringify({ ...b, marker: null })
