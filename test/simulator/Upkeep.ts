/**
 * Checkpoint, rollback and repair of a run, each asked for and held against the model.
 *
 * A rollback that was not heard of stays pending: readers may see what is before or after it, and the
 * next opening decides. A repair comes to its end whatever strikes it, as whoever repairs looks again
 * until nothing is left to repair, or opening finishes it.
 */
import { Cause, Effect, Exit, Layer, Stream } from "effect"
import type { Checkpoint } from "../../src/core/Checkpoint.ts"
import type { Operation } from "../../src/core/Operation.ts"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import type * as Ledger from "../../src/store/Ledger.ts"
import type { OperationError } from "../../src/store/upkeep/Maintenance.ts"
import type { FaultyDisk } from "../../src/testing/index.ts"
import { damageAt } from "./damage.ts"
import type { Config, Damage } from "./history.ts"
import { contradiction } from "./Model.ts"
import type { Model, Seen } from "./Model.ts"
import type { Paper } from "./Paper.ts"
import { Records } from "./Records.ts"

type Service = Ledger.Ledger["Service"]

const by = { operator: "simulator", reason: "as asked" }

/** How often a repair is tried on a disk in trouble, and then on one that is mended. */
const triesInTrouble = 12
const triesMax = 16

/** What became of an effect: nothing is heard of one whose machine died. */
interface Heard<A, E> {
  readonly exit: Exit.Exit<A, E> | undefined
  readonly wasStruck: boolean
}

/** All rows, as a reader sees them. */
export const rowsOf = (ledger: Service) =>
  ledger.events().pipe(
    Stream.runCollect,
    Effect.map((events) =>
      [...events].map(({ id, position: { leafHash, seq } }): Seen => ({ seq, id, leafHash }))
    )
  )

export class Upkeep {
  readonly #disk: FaultyDisk.FaultyDisk
  readonly #config: Config
  readonly #model: Model
  readonly #paper: Paper
  readonly records: Records
  /** Whether an operation failed behind its plan: no more appends until it is opened again. */
  isFatal = false
  /** Whether a group may be under way that nobody waits for. */
  isWriting = false
  /** How often the machine had died when this life began. */
  #deaths = 0
  #looks = 0

  constructor(disk: FaultyDisk.FaultyDisk, config: Config, model: Model, paper: Paper) {
    this.#disk = disk
    this.#config = config
    this.#model = model
    this.#paper = paper
    this.records = new Records(model)
  }

  /** A ledger is opened anew, or somebody looks at one that is closed. */
  get begin(): Effect.Effect<void> {
    return Effect.map(this.#disk.deaths, ({ length }) => {
      this.#deaths = length
      this.isFatal = false
      this.isWriting = false
    })
  }

  #hear<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<Heard<A, E>, never, R> {
    return Effect.gen({ self: this }, function* () {
      const struck = yield* this.#disk.struck
      const exit = yield* Effect.exit(effect)
      const isDead = (yield* this.#disk.deaths).length !== this.#deaths
      const wasStruck = (yield* this.#disk.struck) !== struck
      if (!isDead && Exit.isFailure(exit) && Cause.hasDies(exit.cause)) {
        contradiction(`a defect: ${Cause.pretty(exit.cause)}`)
      }
      return { exit: isDead ? undefined : exit, wasStruck }
    })
  }

  /** The value of a call that may fail for the disk's reasons only. */
  #read<A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A | undefined> {
    return Effect.map(this.#hear(effect), ({ exit, wasStruck }) => {
      if (exit === undefined) return undefined
      if (Exit.isSuccess(exit)) return exit.value
      return wasStruck ? undefined : contradiction(`not readable: ${Cause.pretty(exit.cause)}`)
    })
  }

  checkpoint(ledger: Service): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      this.records.askCheckpoint()
      const { exit, wasStruck } = yield* this.#hear(ledger.checkpoint("as asked"))
      if (exit === undefined) return
      if (Exit.isSuccess(exit)) {
        if (this.isFatal) contradiction("a checkpoint behind an operation that failed")
        this.isWriting = false
        return this.records.answerCheckpoint(exit.value)
      }
      const error = Cause.findErrorOption(exit.cause)
      const tag = error._tag === "Some" ? error.value._tag : ""
      if (tag === "JournalFinal") return this.records.withdraw()
      const isTrouble = wasStruck && (tag === "JournalError" || tag === "MirrorError")
      if (!isTrouble) contradiction(`no checkpoint: ${Cause.pretty(exit.cause)}`)
    })
  }

  rollback(ledger: Service, nth: number, reading: boolean): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const list = yield* this.#read(ledger.checkpoints)
      if (list === undefined) return
      // Of a rollback that failed behind its plan, checkpoints may be moved or not.
      if (!this.isFatal) this.records.see(list)
      const all = [...list, ...this.records.gone]
      const chosen = all[nth % Math.max(1, all.length)]
      const target = chosen !== undefined && list.includes(chosen) ? chosen : undefined
      const asked = nth % 2 === 1 && chosen !== undefined ? chosen : (chosen?.number ?? 1)
      if (ledger.opened._tag !== "ReadOnly" && !this.isFatal) {
        yield* this.#paper.hold(!this.isWriting, (name) => this.records.isSure(name))
        this.records.askOperation(target && { kind: "rollback", to: target.size, target })
      }
      const readers = reading ? [this.#reader(ledger), this.#reader(ledger)] : []
      const [{ exit, wasStruck }] = yield* Effect.all(
        [this.#hear(ledger.rollback(asked, by)), ...readers],
        { concurrency: "unbounded" }
      )
      if (exit === undefined) return
      if (Exit.isSuccess(exit)) yield* this.#rolledBack(ledger, target, exit.value)
      else yield* this.#notRolledBack(ledger, target, exit.cause, wasStruck)
    })
  }

  /** The mirror is made anew: the same rows, or nothing of it has happened. */
  rebuild(ledger: Service): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      this.records.askOther()
      const { exit, wasStruck } = yield* this.#hear(ledger.rebuild(by))
      if (exit === undefined) return
      if (Exit.isSuccess(exit)) {
        if (this.isFatal) contradiction("a rebuild behind an operation that failed")
        if (exit.value.outcome !== "ok") contradiction(JSON.stringify(exit.value))
        return this.records.answerOther(exit.value)
      }
      const error = Cause.findErrorOption(exit.cause)
      const tag = error._tag === "Some" ? error.value._tag : ""
      const isTrouble = wasStruck && (tag === "JournalError" || tag === "MirrorError")
      if (tag !== "JournalFinal" && !isTrouble) {
        contradiction(`no rebuild: ${Cause.pretty(exit.cause)}`)
      }
    })
  }

  /** A reader beside a rollback sees the rows of before, or fewer, or is told of it. */
  #reader(ledger: Service): Effect.Effect<Heard<never, never>> {
    return Effect.gen({ self: this }, function* () {
      const visible = this.records.visible()
      const known = [...this.#model.known]
      const { exit, wasStruck } = yield* this.#hear(rowsOf(ledger))
      if (exit === undefined || ledger.opened._tag === "ReadOnly")
        return { exit: undefined, wasStruck }
      if (Exit.isFailure(exit)) {
        const error = Cause.findErrorOption(exit.cause)
        const isTold = error._tag === "Some" && error.value._tag === "RolledBack"
        if (!isTold && !wasStruck) contradiction(`not readable: ${Cause.pretty(exit.cause)}`)
        return { exit: undefined, wasStruck }
      }
      const rows = exit.value
      if (rows.length < visible) contradiction(`${rows.length} rows, but ${visible} stay`)
      for (const [at, { leafHash }] of rows.entries()) {
        const there = known[at]
        if (there !== undefined && there.leafHash !== leafHash)
          contradiction(`another row ${at + 1}`)
      }
      return { exit: undefined, wasStruck }
    })
  }

  #rolledBack(
    ledger: Service,
    target: Checkpoint | undefined,
    operation: Operation
  ): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const text = JSON.stringify(operation)
      if (target === undefined || this.isFatal) return contradiction(`not refused: ${text}`)
      const { head, kind, outcome, state } = operation
      if (`${kind} ${state} ${outcome}` !== "rollback finished ok") contradiction(text)
      if (head?.leafHash !== target.head.leafHash) contradiction(`it went elsewhere: ${text}`)
      this.records.answerOperation(operation)
      yield* this.#paper.checkHeld
      const isStill = !this.isWriting
      const rows = yield* this.#read(rowsOf(ledger))
      if (rows !== undefined && isStill) this.#model.settled(rows)
      if (rows !== undefined && rows.length !== target.size) contradiction(`${rows.length} rows`)
      const report = yield* this.#read(ledger.verify())
      if (report?._tag === "Damaged") contradiction(`verify: ${JSON.stringify(report)}`)
      yield* this.look(ledger)
    })
  }

  #notRolledBack(
    ledger: Service,
    target: Checkpoint | undefined,
    cause: Cause.Cause<OperationError>,
    wasStruck: boolean
  ): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const found = Cause.findErrorOption(cause)
      if (found._tag === "None") return contradiction(Cause.pretty(cause))
      const error = found.value
      const isRefused = error._tag === "OperationFailed" && error.outcome === "recoverable_error"
      if (error._tag === "OperationFailed" && !isRefused) {
        if (!wasStruck || target === undefined) contradiction(`for no reason: ${error.message}`)
        this.isFatal = true
        return
      }
      if (error._tag === "JournalFinal") {
        if (!this.isFatal && ledger.opened._tag !== "ReadOnly") this.#notBegun()
        return
      }
      this.#notBegun()
      if (isRefused) {
        if (target !== undefined || error.errorClass !== "checkpoint_not_found") {
          contradiction(`refused for no reason: ${error.message}`)
        }
        const all = yield* this.#read(ledger.operations)
        const told = all?.find(({ id }) => id === error.operation)
        if (all === undefined) return
        if (told?.state !== "finished" || told.outcome !== "recoverable_error") {
          return contradiction(`${error.operation} is told as ${JSON.stringify(told)}`)
        }
        return this.records.answerRefusal(told)
      }
      const isTrouble = ["JournalError", "MirrorError", "LockError"].includes(error._tag)
      if (!wasStruck || !isTrouble) contradiction(`failed for no reason: ${Cause.pretty(cause)}`)
    })
  }

  #notBegun(): void {
    this.records.notBegun()
    this.#paper.forget()
  }

  /** One of the positions that were cut, in turn: whoever goes on from it is told so. */
  look(ledger: Service): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const { gone } = this.#model
      const position = gone[gone.length - 1 - (this.#looks++ % Math.max(1, gone.length))]
      if (position === undefined) return
      const told = this.#model.tellOf(position)
      const reading = Stream.runDrain(ledger.events({ after: position, limit: 1 }))
      const { exit, wasStruck } = yield* this.#hear(reading)
      if (exit === undefined || told._tag === "Either") return
      const show = `${position.seq} ${position.id}`
      if (Exit.isSuccess(exit)) {
        if (told._tag !== "Held") contradiction(`position ${show} was cut, and is read on from`)
        return
      }
      const error = Cause.findErrorOption(exit.cause)
      const cut =
        error._tag === "Some" && error.value._tag === "RolledBack" ? error.value : undefined
      if (told._tag === "RolledBack" && cut?.to.seq === told.to) return
      if (wasStruck && cut === undefined) return
      contradiction(`position ${show}: ${JSON.stringify(told)}, but ${Cause.pretty(exit.cause)}`)
    })
  }

  /** Damage a ledger that lies still, whose rows are all known, and have it repaired. */
  repair(damage: Damage): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      if (this.#config.cortex) return
      const done = yield* damageAt(this.#disk.fileSystem, this.#paper, damage)
      if (done === undefined) return
      if (done.checkpoint !== undefined) this.records.lose(done.checkpoint)
      const to = done.rows ?? this.#model.known.length
      yield* this.#paper.hold(true, () => true)
      this.records.askOperation({ kind: "repair", to, target: undefined })
      for (let tries = 0; ; tries++) {
        if (tries === triesInTrouble) yield* this.#disk.mend
        if (tries > triesMax) contradiction("never repaired")
        if (yield* this.#tryRepair(to)) return
      }
    })
  }

  /** Look, and do what the plan says; whether there is nothing left to do. */
  #tryRepair(to: number): Effect.Effect<boolean> {
    const { openMirror, platform } = this.#disk
    const layer = Layer.fresh(Layer.merge(SealogNode.layerPlatform, platform))
    return Effect.gen({ self: this }, function* () {
      const location = { directory: "/ledger" }
      yield* this.begin
      const looked = yield* this.#hear(
        Effect.provide(SealogNode.diagnoseOver(location, openMirror), layer)
      )
      if (looked.exit === undefined) return false
      if (Exit.isFailure(looked.exit)) {
        if (!looked.wasStruck) contradiction(`no diagnosis: ${Cause.pretty(looked.exit.cause)}`)
        return false
      }
      // What is seen of a disk in trouble is not to be acted on.
      if (looked.wasStruck) return false
      const plan = looked.exit.value
      if (plan.pending !== null || !plan.hasSteps) return true
      if (plan.to.seq !== to) contradiction(`${to} rows are whole, but: ${plan.message}`)
      const { exit, wasStruck } = yield* this.#hear(
        Effect.provide(SealogNode.repairOver(plan, by, openMirror), layer)
      )
      if (exit === undefined) return false
      if (Exit.isFailure(exit)) {
        if (!wasStruck) contradiction(`not repaired: ${Cause.pretty(exit.cause)}`)
        return false
      }
      const { head, kind, outcome, state } = exit.value
      const said = `${kind} ${state} ${outcome} ${head?.seq}`
      if (said !== `repair finished ok ${to}`) contradiction(JSON.stringify(exit.value))
      this.records.answerOperation(exit.value)
      yield* this.#paper.checkHeld
      return false
    })
  }
}
