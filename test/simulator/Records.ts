/**
 * What must be true of a ledger's checkpoints and operations: the other half of the model.
 *
 * A checkpoint that was answered is there until an operation goes behind it, and says the same; its
 * number is never used again. One that nobody heard of may be there; the next opening decides. Of an
 * operation that nobody heard of nothing has happened by then, or all of it.
 */
import type { Checkpoint } from "../../src/core/Checkpoint.ts"
import { name as nameOf } from "../../src/core/Checkpoint.ts"
import type { Operation } from "../../src/core/Operation.ts"
import { contradiction } from "./Model.ts"
import type { Model } from "./Model.ts"

/** An operation whose answer is not known as yet. */
export interface Pending {
  readonly kind: "rollback" | "repair"
  /** The rows that are left when it is done. */
  readonly to: number
  /** The checkpoint it goes back to. */
  readonly target: Checkpoint | undefined
}

export class Records {
  readonly #model: Model
  #present: ReadonlyArray<Checkpoint> = []
  #gone: ReadonlyArray<Checkpoint> = []
  /** Checkpoints that were asked for, and not answered. */
  #unheard = 0
  /** The largest number that was ever answered, or seen after an opening. */
  #numberMax = 0
  /** The largest that is to be seen, and may be lost with the power. */
  #numberSeen = 0
  /** Rebuilds and imports whose record nobody saw. */
  #others = 0
  /** Refusals that nobody heard of. */
  #refused = 0
  readonly #operations = new Map<string, Operation>()
  pending: Pending | undefined

  constructor(model: Model) {
    this.#model = model
  }

  /** Checkpoints that a rollback or repair has moved away. */
  get gone(): ReadonlyArray<Checkpoint> {
    return this.#gone
  }

  /** Whether a checkpoint of this file name was answered, or seen after an opening. */
  isSure(name: string): boolean {
    return this.#present.some(({ number }) => nameOf(number) === name)
  }

  /** The fewest rows that a reader sees while an operation is under way. */
  visible(): number {
    return Math.min(this.#model.visible, this.pending?.to ?? Number.POSITIVE_INFINITY)
  }

  // ---- checkpoints ------------------------------------------------------------------------------

  askCheckpoint(): void {
    this.#unheard++
  }

  /** It was not made, and nothing of it is there. */
  withdraw(): void {
    this.#unheard--
  }

  answerCheckpoint(checkpoint: Checkpoint): void {
    this.#unheard--
    const { head, number, rollbacks, size } = checkpoint
    const used = Math.max(this.#numberMax, this.#numberSeen)
    if (number <= used) contradiction(`checkpoint ${number} where ${used} was used`)
    if (size < this.#model.known.length) {
      contradiction(`checkpoint ${number} of ${size} rows of ${this.#model.known.length}`)
    }
    if (head.id !== null) this.#model.know({ seq: head.seq, id: head.id, leafHash: head.leafHash })
    const named = rollbacks.map(({ operation }) => operation).join()
    const done = [...this.#operations.values()]
      .filter(({ kind, outcome }) => kind === "rollback" && outcome === "ok")
      .map(({ id }) => id)
    if (named !== done.join()) contradiction(`checkpoint ${number} names ${named}, not ${done}`)
    this.#numberMax = number
    this.#present = [...this.#present, checkpoint]
  }

  /** All that is there now. */
  see(list: ReadonlyArray<Checkpoint>): void {
    const byNumber = new Map(list.map((checkpoint) => [checkpoint.number, checkpoint]))
    for (const { hash, number } of this.#present) {
      const there = byNumber.get(number)
      if (there?.hash !== hash) contradiction(`checkpoint ${number} is ${there?.hash ?? "gone"}`)
    }
    const known = new Set(this.#present.map(({ number }) => number))
    const others = list.filter(({ number }) => !known.has(number))
    if (others.length > this.#unheard) contradiction(`${others.length} checkpoints nobody made`)
    for (const { head, number } of others) {
      const isGone = this.#gone.some((one) => one.number === number)
      if (isGone) contradiction(`checkpoint ${number} is there again`)
      const there = this.#model.known[head.seq - 1]
      if (there !== undefined && there.leafHash !== head.leafHash) {
        contradiction(`checkpoint ${number} is of another history`)
      }
    }
    this.#numberSeen = Math.max(0, ...list.map(({ number }) => number))
  }

  /** All that is there after an opening: from here on it is there like one that was answered. */
  #seeOpened(list: ReadonlyArray<Checkpoint>): void {
    this.see(list)
    this.#unheard = 0
    this.#present = list
    this.#numberMax = Math.max(this.#numberMax, this.#numberSeen)
  }

  /** It was gone back to: it is there for ever, whoever heard of it being made. */
  #stands(checkpoint: Checkpoint): void {
    if (this.#present.some(({ number }) => number === checkpoint.number)) return
    this.#unheard--
    this.#present = [...this.#present, checkpoint]
    this.#numberMax = Math.max(this.#numberMax, checkpoint.number)
  }

  #move(isMoved: (checkpoint: Checkpoint) => boolean): void {
    this.#gone = [...this.#gone, ...this.#present.filter(isMoved)]
    this.#present = this.#present.filter((checkpoint) => !isMoved(checkpoint))
  }

  /** Damage was done to this one. */
  lose(number: number): void {
    this.#move((checkpoint) => checkpoint.number === number)
  }

  // ---- operations -------------------------------------------------------------------------------

  /** An operation is about to be asked for; `undefined` where it must be refused. */
  askOperation(pending: Pending | undefined): void {
    if (pending === undefined) this.#refused++
    else this.pending = pending
  }

  /** A rebuild or import is about to be asked for. */
  askOther(): void {
    this.#others++
  }

  answerOther(operation: Operation): void {
    this.#others--
    this.#operations.set(operation.id, operation)
  }

  /** It was refused, or failed before it was begun. */
  notBegun(): void {
    this.pending = undefined
  }

  answerRefusal(operation: Operation): void {
    this.#refused--
    this.#operations.set(operation.id, operation)
  }

  /** It was answered. */
  answerOperation(operation: Operation): void {
    this.#operations.set(operation.id, operation)
    this.#happened()
  }

  /** All of it has happened. */
  #happened(): void {
    const { pending } = this
    if (pending === undefined) return
    this.pending = undefined
    const { kind, target, to } = pending
    if (target !== undefined) this.#stands(target)
    this.#model.back(to, kind === "rollback")
    this.#move(({ number, size }) => (target === undefined ? size > to : number > target.number))
  }

  /** What was finished stays as it was told. */
  check(list: ReadonlyArray<Operation>): void {
    const byId = new Map(list.map((operation) => [operation.id, operation]))
    for (const [id, before] of this.#operations) {
      const now = byId.get(id)
      if (JSON.stringify(now) !== JSON.stringify(before)) {
        contradiction(`operation ${JSON.stringify(before)} is now ${JSON.stringify(now)}`)
      }
    }
  }

  /** A ledger was opened: each operation is over, and those that are new are accounted for. */
  opened(operations: ReadonlyArray<Operation>, isRecovery: (id: string) => boolean): void {
    this.check(operations)
    let happened = this.pending?.kind === "repair"
    for (const operation of operations) {
      const { id, kind, outcome, state } = operation
      if (this.#operations.has(id)) continue
      const text = JSON.stringify(operation)
      if (state === "abandoned") continue
      if (state === "unfinished") contradiction(`opened, with ${text}`)
      this.#operations.set(id, operation)
      if (kind === "rebuild" || kind === "import") {
        if (this.#others-- <= 0) contradiction(`nobody asked for ${text}`)
        continue
      }
      const isRefused = outcome === "recoverable_error"
      if (isRefused && kind === "rollback" && this.#refused-- > 0) continue
      if (isRefused || outcome !== "ok") contradiction(`nobody asked for ${text}`)
      if (kind === "recovery" && isRecovery(id)) continue
      if (kind !== this.pending?.kind) contradiction(`nobody asked for ${text}`)
      if (operation.head?.seq !== this.pending?.to) contradiction(`it went elsewhere: ${text}`)
      if (kind === "rollback" && happened) contradiction(`it was done twice: ${text}`)
      happened = true
    }
    this.#refused = 0
    this.#others = 0
    if (happened) this.#happened()
    this.pending = undefined
  }

  /** The checkpoints that an opened ledger has. */
  openedWith(list: ReadonlyArray<Checkpoint>): void {
    this.#seeOpened(list)
  }
}
