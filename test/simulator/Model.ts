/**
 * What must be true of a ledger, whatever happened to its disk: the model that a run is held against.
 *
 * It knows of each id whether it was ever asked for and what was answered. An id that is `known` was
 * acknowledged or seen by a reader: from then on it is there, at that seq, with that leaf hash. One
 * that `may` be there was asked for and nobody heard the answer; the next opening decides. Any other
 * must not be there. A rollback takes all that back: its rows are forgotten, their ids are free, and
 * a position of theirs is one of a history that was cut.
 */
import type { Draft } from "../../src/core/Draft.ts"

/** A row as a reader sees it. */
export interface Seen {
  readonly seq: number
  readonly id: string
  readonly leafHash: string
}

/** What contradicts the model. */
export class Contradiction extends Error {
  override readonly name = "Contradiction"
}

export const contradiction = (message: string): never => {
  throw new Contradiction(message)
}

/** Rows that were cut: what was known then, and back to which row it went. */
interface Cut {
  readonly chain: ReadonlyArray<Seen>
  readonly to: number
  /** Whether a position of it must be told as one that was cut. */
  readonly isTold: boolean
}

/** What a reader must be told who goes on from a position. */
export type Told =
  | { readonly _tag: "Held" }
  | { readonly _tag: "RolledBack"; readonly to: number }
  | { readonly _tag: "Either" }

interface Asked {
  readonly draft: Draft
  /** Appends that were not answered yet. */
  waiting: number
  /** Whether it may be there, as nobody heard an answer. */
  may: boolean
}

export class Model {
  readonly #asked = new Map<string, Asked>()
  readonly #known: Array<Seen> = []
  readonly #byId = new Map<string, Seen>()
  /** Ids that stand or fall together. */
  #groups: Array<ReadonlyArray<string>> = []
  readonly #partial: boolean
  #visible = 0
  readonly #cuts: Array<Cut> = []
  readonly #forgotten = new Map<string, Draft>()

  /** `partial`: of a group its first rows may be there alone, as in Cortex mode. */
  constructor(partial: boolean) {
    this.#partial = partial
  }

  get known(): ReadonlyArray<Seen> {
    return this.#known
  }

  isKnown(id: string): boolean {
    return this.#byId.has(id)
  }

  draftOf(id: string): Draft | undefined {
    return this.#asked.get(id)?.draft
  }

  /** Drafts of rows that were cut, and not asked for again. */
  get forgotten(): ReadonlyArray<readonly [id: string, draft: Draft]> {
    return [...this.#forgotten]
  }

  /** Rows that were cut, the oldest first. */
  get gone(): ReadonlyArray<Seen> {
    return this.#cuts.flatMap(({ chain, to }) => chain.slice(to).filter((seen) => seen))
  }

  /** An append is about to ask for these, as one group. */
  ask(drafts: ReadonlyArray<Draft & { readonly id: string }>): void {
    const fresh = drafts.filter(({ id }) => {
      const asked = this.#asked.get(id)
      return asked === undefined || (asked.waiting === 0 && !asked.may && !this.isKnown(id))
    })
    if (fresh.length > 1) this.#groups.push(fresh.map(({ id }) => id))
    for (const draft of drafts) {
      this.#forgotten.delete(draft.id)
      const asked = this.#asked.get(draft.id)
      if (asked === undefined) this.#asked.set(draft.id, { draft, waiting: 1, may: false })
      else asked.waiting++
    }
  }

  /** The append of these was answered: they are there, they may be, or they are not. */
  answer(ids: ReadonlyArray<string>, outcome: "there" | "unknown" | "nothing"): void {
    for (const id of ids) {
      const asked = this.#asked.get(id)
      if (asked === undefined) continue
      asked.waiting--
      if (outcome === "unknown") asked.may = true
    }
  }

  /** How many rows every reader must see; one that the mirror lacks as yet is not counted. */
  get visible(): number {
    return this.#visible
  }

  /** Somebody saw this row, or holds a receipt of it: it is there for ever. */
  know(seen: Seen, isVisible = true): void {
    if (isVisible) this.#visible = Math.max(this.#visible, seen.seq)
    const before = this.#byId.get(seen.id)
    const place = this.#known[seen.seq - 1]
    if (before !== undefined || place !== undefined) {
      if (before?.seq === seen.seq && before.leafHash === seen.leafHash && place === before) return
      contradiction(`row ${show(seen)} where ${show(before ?? place)} was known`)
    }
    const asked = this.#asked.get(seen.id)
    if (asked === undefined) return contradiction(`row ${show(seen)} was never asked for`)
    if (asked.waiting === 0 && !asked.may) {
      return contradiction(`row ${show(seen)} was refused, or gone before`)
    }
    this.#known[seen.seq - 1] = seen
    this.#byId.set(seen.id, seen)
  }

  /** A reader saw these rows, from the first on; all that is known must be among them. */
  read(rows: ReadonlyArray<Seen>, visibleBefore: number): void {
    rows.forEach((row, nth) => {
      if (row.seq !== nth + 1) contradiction(`row ${show(row)} in place ${nth + 1}`)
      this.know(row)
    })
    if (rows.length < visibleBefore) {
      const first = this.#known[rows.length]
      contradiction(`${rows.length} rows, but ${visibleBefore} were known: ${show(first)} is gone`)
    }
    this.#checkGroups(rows)
  }

  /** A ledger was opened after whatever happened, and holds exactly these rows. */
  opened(rows: ReadonlyArray<Seen>): void {
    for (const asked of this.#asked.values()) {
      if (asked.waiting > 0) asked.may = true
      asked.waiting = 0
    }
    this.settled(rows)
  }

  /** Nobody waits for an answer, and the ledger holds exactly these rows. */
  settled(rows: ReadonlyArray<Seen>): void {
    this.read(rows, this.#known.length)
    for (const [id, asked] of this.#asked) {
      if (asked.waiting === 0 && !this.isKnown(id)) asked.may = false
    }
    if (this.#known.length !== rows.length) {
      contradiction(`${rows.length} rows, but ${this.#known.length} were known`)
    }
  }

  /** The ledger went back to this row: what lies beyond is gone, and must not come back by itself. */
  back(to: number, isTold: boolean): void {
    const gone = this.#known.slice(to).filter((seen) => seen !== undefined)
    this.#cuts.push({ chain: [...this.#known], to, isTold })
    this.#known.length = Math.min(this.#known.length, to)
    this.#visible = Math.min(this.#visible, to)
    const ids = new Set(gone.map(({ id }) => id))
    for (const id of ids) {
      const asked = this.#asked.get(id)
      if (asked !== undefined) this.#forgotten.set(id, asked.draft)
      this.#asked.delete(id)
      this.#byId.delete(id)
    }
    this.#groups = this.#groups.filter((group) => !group.some((id) => ids.has(id)))
  }

  /** What is to be told of a position that was seen once. */
  tellOf(position: Seen): Told {
    let at = position
    let isTold = true
    for (;;) {
      if (at.seq === 0 || this.#known[at.seq - 1]?.leafHash === at.leafHash) break
      const { leafHash, seq } = at
      const cut = this.#cuts.findLast(
        ({ chain, to }) => to < seq && chain[seq - 1]?.leafHash === leafHash
      )
      const before = cut?.to === 0 ? start : cut?.chain[cut.to - 1]
      if (cut === undefined || before === undefined) return { _tag: "Either" }
      isTold &&= cut.isTold
      at = before
    }
    if (at === position) return { _tag: "Held" }
    return isTold ? { _tag: "RolledBack", to: at.seq } : { _tag: "Either" }
  }

  /**
   * Whoever reads from the first row on meets a group whole, or none of it. What is known without that,
   * by a checkpoint's head, may be one of its rows alone.
   */
  #checkGroups(rows: ReadonlyArray<Seen>): void {
    const seqs = new Map(rows.map(({ id, seq }) => [id, seq]))
    for (const ids of this.#groups) {
      const found = ids.map((id) => seqs.get(id))
      const there = found.filter((seq) => seq !== undefined).length
      if (there === 0) continue
      if (there === ids.length) {
        const [first = 0] = found
        const isRun = found.every((seq, nth) => seq === first + nth)
        if (!isRun) contradiction(`a group lies at ${found.join(", ")}`)
      } else if (!this.#partial || found.slice(0, there).includes(undefined)) {
        contradiction(`of the group ${ids.join(", ")} only ${there} of ${ids.length} are there`)
      }
    }
  }
}

const start: Seen = { seq: 0, id: "", leafHash: "" }

const show = (seen: Seen | undefined): string =>
  seen === undefined ? "none" : `${seen.seq} ${seen.id} ${seen.leafHash.slice(0, 8)}`
