/**
 * Internal: what states rows, held against them as they go by.
 *
 * The root is computed at every size that something states; nothing stated, nothing hashed.
 */
import type * as Chain from "../../core/Chain.ts"
import * as Checkpoint from "../../core/Checkpoint.ts"
import type * as Hashes from "../../core/Hashes.ts"
import * as Merkle from "../../core/Merkle.ts"
import * as Row from "../../core/Row.ts"
import type { Line } from "../../core/Segment.ts"
import * as Signing from "../../core/Signing.ts"
import type { Level, Reason } from "../../core/VerifyReport.ts"

/** Why something is not as it is stated. */
export const reason = (
  kind: string,
  expected: string | number,
  actual: string | number
): Reason => ({
  kind,
  expected,
  actual
})

/** What states a size: the row there, its end, and what to call it. */
export interface Stated {
  readonly level: Level
  readonly name: string
  readonly path: string
  readonly size: number
  readonly root: string
  /** Undefined where only the root is stated. */
  readonly checkpoint: Checkpoint.Checkpoint | undefined
}

/** A checkpoint as it is stated. */
export const stated = (checkpoint: Checkpoint.Checkpoint, path: string, name: string): Stated => ({
  level: "checkpoints",
  name,
  path,
  size: checkpoint.size,
  root: checkpoint.root,
  checkpoint
})

/** What the rows' signatures say when a stated size is met. */
interface Judged {
  readonly signatures: Chain.Signatures
  /** The lineage behind the last row. */
  readonly signing: () => Signing.Signing | undefined
}

/** Checks what is stated against rows as they go by. */
export class StatedRows {
  readonly #judged: Judged | undefined
  /** The newest row that a signed checkpoint states. */
  signedSeq = 0
  readonly #hashes: Hashes.Hashes
  readonly #bySize = new Map<number, Array<Stated>>()
  readonly #report: (stated: Stated, reason: Reason, seq: number) => void
  #last: number
  #tree: Merkle.Tree
  #leaves: Array<string> = []

  constructor(
    from: Merkle.Tree,
    all: ReadonlyArray<Stated>,
    hashes: Hashes.Hashes,
    report: (stated: Stated, reason: Reason, seq: number) => void,
    judged: Judged | undefined
  ) {
    this.#judged = judged
    this.#hashes = hashes
    this.#tree = from
    this.#last = Math.max(from.size, ...all.map(({ size }) => size))
    this.#report = report
    for (const one of all) {
      const others = this.#bySize.get(one.size) ?? []
      this.#bySize.set(one.size, [...others, one])
    }
    this.#check(from.size, undefined, undefined)
  }

  /** A row's line, its event where it could be read, and its segment where it still lies in one. */
  take(line: Line, event: Row.Row["event"] | undefined, segment: number | undefined): void {
    const size = this.#tree.size + this.#leaves.length + 1
    if (size > this.#last) return
    this.#leaves.push(event?.leafHash ?? Row.leafHash(line.bytes, this.#hashes))
    if (!this.#bySize.has(size)) {
      // Hashed in runs, and never more of them held than a run.
      if (this.#leaves.length >= 4_096) this.#settle()
      return
    }
    const offset = line.offset + line.length + 1
    this.#check(size, event, segment === undefined ? undefined : { segment, offset })
  }

  #settle(): Merkle.Tree {
    this.#tree = Merkle.appendAll(this.#tree, this.#leaves, this.#hashes)
    this.#leaves = []
    return this.#tree
  }

  #check(
    size: number,
    event: Row.Row["event"] | undefined,
    end: { readonly segment: number; readonly offset: number } | undefined
  ): void {
    const all = this.#bySize.get(size)
    if (all === undefined) return
    this.#bySize.delete(size)
    const root = Merkle.root(this.#settle(), this.#hashes)
    for (const one of all) {
      const { checkpoint } = one
      const fail = (kind: string, expected: string, actual: string) =>
        this.#report(one, reason(`${one.name}_${kind}`, expected, actual), size)
      if (root !== one.root) fail("root", one.root, root)
      else if (checkpoint !== undefined) this.#checkSigned(one, checkpoint, size)
      if (checkpoint === undefined || event === undefined) continue
      const { head } = checkpoint
      const [expected, actual] = [
        [head.leafHash, head.id, head.eventHash],
        [event.leafHash, event.id, event.eventHash]
      ].map((sides) => sides.join(" "))
      if (expected !== actual) fail("head", `${expected}`, `${actual}`)
      const [from, to] = [checkpoint, end ?? checkpoint].map(
        ({ offset, segment }) => `segment ${segment} byte ${offset}`
      )
      if (from !== to) fail("place", `${from}`, `${to}`)
    }
  }

  #checkSigned(one: Stated, checkpoint: Checkpoint.Checkpoint, size: number): void {
    const [signatures, rows] = [this.#judged?.signatures, this.#judged?.signing()]
    if (signatures === undefined || rows === undefined) return
    const { ledgerId, signing, verify } = signatures
    const { lineage, signature } = checkpoint
    if (lineage === null && signature === null && size < signing.firstSeq) return
    const [expected, actual] = [lineage ?? undefined, rows].map(Signing.describeLineage)
    if (expected !== actual) {
      return this.#report(one, reason(`${one.name}_lineage`, `${actual}`, `${expected}`), size)
    }
    const wrong = Checkpoint.checkSignature(checkpoint, ledgerId, verify)
    if (wrong !== undefined) this.#report(one, wrong, size)
    else this.signedSeq = Math.max(this.signedSeq, size)
  }

  /** What is stated of rows that never came; what the mirror holds of them is told by parity. */
  end(rows: number): void {
    for (const all of this.#bySize.values()) {
      for (const one of all) {
        if (one.level === "index") continue
        this.#report(one, reason(`${one.name}_beyond`, `${one.size} rows`, `${rows} rows`), rows)
      }
    }
  }
}
