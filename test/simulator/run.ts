/**
 * One run of a history against a real ledger on a faulty disk, held against the model.
 *
 * Each life of the ledger is opened, compared with the model, taken through its steps, and ends by a
 * step that closes it or by the machine's death. What a ledger says after its machine died is not
 * heard. At the end all faults are mended, and the ledger must open, hold exactly what it must, and
 * open a second time without a byte changed.
 */
import { Cause, Effect, Exit, Fiber, Layer, Logger, Path, Result } from "effect"
import { TestClock } from "effect/testing"
import type { Draft } from "../../src/core/Draft.ts"
import { idFrom } from "../../src/core/EventId.ts"
import * as Policy from "../../src/core/Policy.ts"
import * as Ledger from "../../src/store/Ledger.ts"
import type { AppendError } from "../../src/store/writing/Receipt.ts"
import * as PolicyGate from "../../src/store/writing/PolicyGate.ts"
import { FaultyDisk, TestLedger } from "../../src/testing/index.ts"
import type { Damage, History, Request, Step } from "./history.ts"
import { show } from "./history.ts"
import { Contradiction, contradiction, Model } from "./Model.ts"
import type { Seen } from "./Model.ts"
import { Paper } from "./Paper.ts"
import { shrink } from "./shrink.ts"
import { rowsOf, Upkeep } from "./Upkeep.ts"
import { checkViews, viewsOf } from "./views.ts"

type Service = Ledger.Ledger["Service"]
type Named = Draft & { readonly id: string }

const type = "cortex.event.tool_call.v1"

const draftOf = (
  name: string,
  more: Omit<Partial<Draft>, "id"> & { readonly id?: string } = {}
): Named => ({
  type,
  payload: { name },
  ...more,
  id: more.id ?? idFrom(name)
})

const rule = PolicyGate.rule({ id: "simulator.rule" }, (draft) =>
  Effect.succeed(
    draft.payloadText.includes('"rule"') ? Policy.reject("as asked") : Policy.allow("ok")
  )
)

const gate = PolicyGate.gate({ id: "simulator.gate" }, (draft, sql) =>
  Effect.map(sql`SELECT count(*) FROM events`, () =>
    draft.payloadText.includes('"gate"') ? Policy.reject("as asked") : Policy.allow("ok")
  )
)

/** What a request asks for, and the tag of the error that it must be answered with. */
interface Ask {
  readonly drafts: ReadonlyArray<Named>
  readonly refusal: string | undefined
}

/** Errors that a disk or a database that fails may bring. */
const troubles: ReadonlySet<string> = new Set([
  "JournalError",
  "LockError",
  "MirrorError",
  "JournalFinal",
  "OutcomeUnknown",
  "MirrorBehind"
])

/** Whether it is done to a ledger that is closed. */
const isEnd = ({ _tag }: Step): boolean =>
  _tag === "Reopen" || _tag === "Redeclare" || _tag === "Repair"

const toldTags: { readonly [tag: string]: "unknown" | "nothing" } = { OutcomeUnknown: "unknown" }

/**
 * How many operations of the disk were before each step and each repair, and when the ledger was
 * open each time.
 */
export interface Marks {
  readonly steps: Array<number>
  readonly opened: Array<number>
}

/** A run under way. */
class Run {
  readonly #disk: FaultyDisk.FaultyDisk
  readonly #history: History
  readonly #model: Model
  readonly #paper: Paper
  readonly #upkeep: Upkeep
  /** The version of the views that it is opened with. */
  #version = 1
  /** Whether it was opened with another one before. */
  #redeclared = false
  #cursor = 0
  #deathsBefore = 0
  #backups: Array<{ readonly at: string; readonly rows: ReadonlyArray<Seen> }> = []
  /** Whether the ledger was closed as it should be since it was opened last. */
  #closedWell = false
  /** Whether what was opened last is known to be what the model says. */
  #compared = false
  /** What is done to the ledger before it is opened again. */
  #damage: Damage | undefined
  readonly #marks: Marks

  constructor(disk: FaultyDisk.FaultyDisk, history: History, marks: Marks) {
    const { cortex } = history.config
    this.#marks = marks
    this.#disk = disk
    this.#history = history
    this.#model = new Model(cortex)
    this.#paper = new Paper(disk.fileSystem, cortex)
    this.#upkeep = new Upkeep(disk, history.config, this.#model, this.#paper)
  }

  get #layer(): Layer.Layer<Ledger.Ledger, Ledger.OpenError> {
    const { cortex, gated, groupRowsMax, segmentBytesMax } = this.#history.config
    const views = gated ? viewsOf(this.#version) : []
    const rules = gated ? [rule, gate] : [rule]
    const settings = { groupRowsMax, segmentBytesMax, disk: this.#disk, views, rules }
    return TestLedger.layer(cortex ? { ...settings, file: "/ledger.jsonl" } : settings)
  }

  /** Whether the machine died since this life began. */
  get #died(): Effect.Effect<boolean> {
    return Effect.map(this.#disk.deaths, ({ length }) => length !== this.#deathsBefore)
  }

  /** The whole history, and the two openings at its end. */
  get all(): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const { faults, steps } = this.#history
      for (const fault of faults) yield* this.#disk.fail(fault)
      for (let tries = 0; this.#cursor < steps.length; tries++) {
        if (tries > 2 * steps.length + 20) yield* this.#disk.mend
        yield* this.#life((ledger) => this.#steps(ledger))
        yield* this.#repair
      }
      yield* this.#disk.mend
      yield* this.#life(() => Effect.void)
      const before = yield* this.#paper.image
      let opened = "not"
      yield* this.#life((ledger) => Effect.sync(() => (opened = ledger.opened._tag)))
      if (opened !== "Clean") contradiction(`opened again it says ${opened}`)
      if ((yield* this.#paper.image) !== before) contradiction("opening again changed bytes")
      yield* this.#checkBackups
    })
  }

  /** Damage and repair a ledger that was closed well, all its rows known and durable. */
  get #repair(): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const damage = this.#damage
      this.#damage = undefined
      if (damage === undefined) return
      yield* this.#life(() => Effect.void)
      if (!this.#closedWell || !this.#compared) return
      this.#marks.steps.push((yield* this.#disk.operations).length)
      yield* this.#upkeep.repair(damage)
      this.#closedWell = false
    })
  }

  /** Open, compare, run, close. Whatever dies or fails on the way must have a reason. */
  #life(body: (ledger: Service) => Effect.Effect<void>): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      this.#deathsBefore = (yield* this.#disk.deaths).length
      const struck = yield* this.#disk.struck
      const mustBeClean = this.#closedWell
      this.#closedWell = false
      this.#compared = false
      yield* this.#upkeep.begin
      yield* this.#paper.note((yield* this.#disk.deaths).filter((by) => by === "powerCut").length)
      const use = Ledger.Ledger.use((ledger) =>
        Effect.andThen(
          this.#compare(ledger, struck, mustBeClean),
          // What an operation has done must be known before anything rests on it.
          Effect.suspend(() =>
            this.#upkeep.records.pending === undefined ? body(ledger) : Effect.void
          )
        )
      )
      const exit = yield* Effect.exit(Effect.provide(use, this.#layer))
      const died = yield* this.#died
      const wasStruck = (yield* this.#disk.struck) !== struck
      this.#closedWell = Exit.isSuccess(exit) && !died && !wasStruck
      if (Exit.isSuccess(exit)) return
      const error = Cause.squash(exit.cause)
      if (error instanceof Contradiction) throw error
      if (died) return
      const isDefect = Cause.hasDies(exit.cause)
      if (isDefect || !wasStruck) contradiction(`not opened: ${Cause.pretty(exit.cause)}`)
    })
  }

  /** The ledger as it was opened, against the model. */
  #compare(ledger: Service, struck: number, mustBeClean: boolean): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      this.#marks.opened.push((yield* this.#disk.operations).length)
      const check = Effect.gen({ self: this }, function* () {
        const rows = yield* rowsOf(ledger)
        const report = yield* ledger.verify()
        const parity = yield* ledger.parity
        const operations = yield* ledger.operations
        const checkpoints = yield* ledger.checkpoints
        const isViewed = this.#history.config.gated && ledger.opened._tag !== "ReadOnly"
        if (isViewed) yield* checkViews(ledger, viewsOf(this.#version))
        return { rows, report, parity, operations, checkpoints }
      })
      const exit = yield* Effect.exit(check)
      if (yield* this.#died) return
      if (Exit.isFailure(exit)) {
        const { pending } = this.#upkeep.records
        if (pending === undefined) this.#paper.forget()
        if ((yield* this.#disk.struck) !== struck && !Cause.hasDies(exit.cause)) return
        if (pending?.kind === "repair" && ledger.opened._tag === "ReadOnly") return
        return contradiction(`not readable: ${Cause.pretty(exit.cause)}`)
      }
      const { checkpoints, operations, parity, report, rows } = exit.value
      const isReadOnly = ledger.opened._tag === "ReadOnly"
      // Opened for reading only, the mirror may lag behind what is in the journal.
      if (isReadOnly) return
      const { records } = this.#upkeep
      records.opened(operations, () => !mustBeClean)
      this.#model.opened(rows)
      records.openedWith(checkpoints)
      if (report._tag !== "Intact") contradiction(`not intact: ${JSON.stringify(report)}`)
      if (!parity.isConsistent) contradiction(`not consistent: ${JSON.stringify(parity)}`)
      // What takes rows out of the mirror is durable there before the journal loses them.
      if (JSON.stringify(ledger.opened).includes("MirrorTakenBack")) {
        contradiction(`the mirror was ahead: ${JSON.stringify(ledger.opened)}`)
      }
      const isClean = ledger.opened._tag === "Clean"
      const isMadeAnew = this.#redeclared && this.#history.config.gated
      if (mustBeClean && !isClean && !isMadeAnew)
        contradiction(`not clean: ${JSON.stringify(ledger.opened)}`)
      yield* this.#paper.checkCut(ledger.opened)
      yield* this.#upkeep.look(ledger)
      this.#compared = true
      this.#redeclared = false
    })
  }

  #steps(ledger: Service): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      while (!(yield* this.#died)) {
        const step = this.#history.steps[this.#cursor]
        if (step === undefined) return
        this.#cursor++
        this.#marks.steps.push((yield* this.#disk.operations).length)
        if (step._tag === "Repair") this.#damage = step.damage
        if (step._tag === "Redeclare") {
          this.#version++
          this.#redeclared = true
        }
        if (isEnd(step)) return
        yield* this.#step(ledger, step)
      }
    })
  }

  #step(ledger: Service, step: Step): Effect.Effect<void> {
    switch (step._tag) {
      case "Append":
        return this.#append(ledger, step.requests, step.reading)
      case "Interrupt":
        return this.#interrupt(ledger, step.request, step.turns)
      case "Read":
        return this.#read(ledger)
      case "Verify":
        return this.#untroubled(ledger.verify(), (report) => {
          // What could not be cut, as nothing can be written, is still there to be seen.
          if (ledger.opened._tag === "ReadOnly" || this.#upkeep.isFatal) return
          if (report._tag === "Damaged") contradiction(`verify: ${JSON.stringify(report)}`)
        })
      case "Replay":
        return this.#untroubled(ledger.replay, ({ parity }) => {
          if (this.#upkeep.isFatal) return
          if (!parity.isConsistent) contradiction(`replay: ${JSON.stringify(parity)}`)
        })
      case "Backup":
        return this.#backup(ledger, step.name)
      case "Checkpoint":
        return this.#upkeep.checkpoint(ledger)
      case "Rebuild":
        return this.#upkeep.rebuild(ledger)
      case "Import":
        return this.#import(ledger, step.names)
      case "Rollback":
        return this.#upkeep.rollback(ledger, step.nth, step.reading)
      case "Fault":
        return this.#disk.fail(step.fault)
      case "Mend":
        return this.#disk.mend
      case "Die":
        return step.by === "kill" ? this.#disk.kill : this.#disk.powerCut
      case "Reopen":
      case "Redeclare":
      case "Repair":
        return Effect.void
    }
  }

  /** Run an effect that may fail for no reason but the disk's. */
  #untroubled<A, E>(effect: Effect.Effect<A, E>, use: (value: A) => void): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const struck = yield* this.#disk.struck
      const exit = yield* Effect.exit(effect)
      if (yield* this.#died) return
      if (Exit.isSuccess(exit)) return use(exit.value)
      if ((yield* this.#disk.struck) !== struck && !Cause.hasDies(exit.cause)) return
      if (this.#isFinal(exit.cause) || this.#upkeep.isFatal) return
      contradiction(`failed: ${Cause.pretty(exit.cause)}`)
    })
  }

  #isFinal(cause: Cause.Cause<unknown>): boolean {
    const error = Cause.squash(cause)
    return error instanceof Error && error.message.includes("opened for reading only")
  }

  #read(ledger: Service): Effect.Effect<void> {
    return Effect.suspend(() => {
      const visible = this.#upkeep.records.visible()
      return this.#untroubled(rowsOf(ledger), (rows) => {
        if (ledger.opened._tag !== "ReadOnly") this.#model.read(rows, visible)
      })
    })
  }

  #backup(ledger: Service, name: string): Effect.Effect<void> {
    const at = `/backups/${name}${this.#history.config.cortex ? ".jsonl" : ""}`
    return Effect.suspend(() => {
      const rows = this.#model.known.slice(0, this.#upkeep.records.visible())
      return this.#untroubled(ledger.backup(at), (report) => {
        if (ledger.opened._tag === "ReadOnly") return
        if (report.rows < rows.length)
          contradiction(`${report.rows} rows backed up of ${rows.length}`)
        this.#backups.push({ at, rows })
      })
    })
  }

  /** What a backup that was answered holds, whatever came later. */
  get #checkBackups(): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const { cortex } = this.#history.config
      for (const { at, rows } of this.#backups) {
        const location = cortex ? { file: at } : { directory: at }
        const report = yield* Effect.orDie(Ledger.verify(location))
        if (report._tag === "Damaged" || report.rows < rows.length) {
          contradiction(`backup ${at}: ${JSON.stringify(report)}`)
        }
      }
    }).pipe(Effect.provide(Layer.merge(this.#disk.layer, Path.layer)))
  }

  /** The drafts of a request, in the light of what is known; none where it has no meaning yet. */
  #ask(request: Request): Ask | undefined {
    const known = this.#model.known.filter((seen) => seen !== undefined)
    const nth = (index: number) => known[index % Math.max(1, known.length)]?.id
    switch (request._tag) {
      case "Rows": {
        const parentId = request.child === undefined ? undefined : nth(request.child)
        const more = parentId === undefined || this.#history.config.cortex ? {} : { parentId }
        const drafts = request.names.map((name, at) => draftOf(name, at === 0 ? more : {}))
        return { drafts, refusal: undefined }
      }
      case "Again": {
        const id = nth(request.nth)
        const draft = id === undefined ? undefined : this.#model.draftOf(id)
        if (id === undefined || draft === undefined) return undefined
        const others = request.name === undefined ? [] : [draftOf(request.name)]
        return { drafts: [{ ...draft, id }, ...others], refusal: undefined }
      }
      case "Forgotten": {
        const { forgotten } = this.#model
        const [id, draft] = forgotten[request.nth % Math.max(1, forgotten.length)] ?? []
        // Its parent may be gone, or come back at the same moment.
        if (id === undefined || draft === undefined || typeof draft.parentId === "string") {
          return undefined
        }
        return { drafts: [{ ...draft, id }], refusal: undefined }
      }
      case "Rule":
        return { drafts: [draftOf(request.name, { payload: "rule" })], refusal: "PolicyRefused" }
      case "Gate":
        return this.#history.config.gated
          ? { drafts: [draftOf(request.name, { payload: "gate" })], refusal: "PolicyRefused" }
          : undefined
      case "Invalid":
        return { drafts: [draftOf(request.name, { traceId: "\ud800" })], refusal: "DraftInvalid" }
      case "Conflict": {
        const id = nth(request.nth)
        if (id === undefined) return undefined
        const other = draftOf(request.name, { id })
        return { drafts: [draftOf(request.name), { ...other, id }], refusal: "IdConflict" }
      }
      case "Orphan": {
        if (this.#history.config.cortex) return undefined
        const parentId = idFrom("nobody")
        const last = request.names.length - 1
        const drafts = request.names.map((name, at) =>
          draftOf(name, at === last ? { parentId } : {})
        )
        return { drafts, refusal: "UnknownParent" }
      }
    }
  }

  #append(
    ledger: Service,
    requests: ReadonlyArray<Request>,
    reading: boolean
  ): Effect.Effect<void> {
    const appends = requests.map((request) => Effect.suspend(() => this.#request(ledger, request)))
    const readers = reading ? [this.#read(ledger), this.#read(ledger)] : []
    return Effect.all([...appends, ...readers], { concurrency: "unbounded", discard: true })
  }

  /** Lines become rows as one append would; what became of each is asked of the ledger. */
  #import(ledger: Service, names: ReadonlyArray<string>): Effect.Effect<void> {
    const drafts = names.map((name) => draftOf(name))
    const ids = drafts.map(({ id }) => id)
    return Effect.gen({ self: this }, function* () {
      const struck = yield* this.#disk.struck
      this.#model.ask(drafts)
      this.#upkeep.records.askOther()
      const toDraft = ({ text }: { readonly text: string }) => Result.succeed(draftOf(text))
      const exit = yield* Effect.exit(ledger.import(names, toDraft, { source: "lines" }))
      if (yield* this.#died) return
      const wasStruck = (yield* this.#disk.struck) !== struck
      if (Exit.isSuccess(exit)) {
        const { appended, existing } = exit.value
        if (appended + existing !== ids.length || this.#upkeep.isFatal) {
          contradiction(`imported ${JSON.stringify(exit.value)}`)
        }
        this.#upkeep.isWriting = false
      } else {
        if (Cause.hasDies(exit.cause)) contradiction(`a defect: ${Cause.pretty(exit.cause)}`)
        const error = Cause.findErrorOption(exit.cause)
        const tag = error._tag === "Some" ? error.value._tag : ""
        if (!wasStruck && tag !== "JournalFinal") {
          contradiction(`not imported: ${Cause.pretty(exit.cause)}`)
        }
      }
      for (const id of ids) {
        const got = yield* Effect.exit(ledger.get(id))
        if (yield* this.#died) return
        if (Exit.isFailure(got)) continue
        const { leafHash, seq } = got.value.position
        this.#model.know({ id, seq, leafHash })
      }
      this.#model.answer(ids, "unknown")
    })
  }

  #request(ledger: Service, request: Request): Effect.Effect<void> {
    const ask = this.#ask(request)
    if (ask === undefined) return Effect.void
    return Effect.gen({ self: this }, function* () {
      const struck = yield* this.#disk.struck
      const ids = [...new Set(ask.drafts.map(({ id }) => id))].filter(
        (id) => ask.refusal === undefined || !this.#model.isKnown(id)
      )
      this.#model.ask(ask.drafts.filter(({ id }) => ids.includes(id)))
      const exit = yield* Effect.exit(ledger.appendAll(ask.drafts))
      if (yield* this.#died) return
      if (Exit.isSuccess(exit)) {
        const mustFail = ask.refusal !== undefined || this.#upkeep.isFatal
        if (mustFail) contradiction(`not refused: ${JSON.stringify(request)}`)
        this.#upkeep.isWriting = false
        for (const { id, leafHash, seq } of exit.value) this.#model.know({ id, seq, leafHash })
        return this.#model.answer(ids, "there")
      }
      const wasStruck = (yield* this.#disk.struck) !== struck
      this.#refused(ask, ids, exit.cause, wasStruck)
    })
  }

  #refused(
    ask: Ask,
    ids: ReadonlyArray<string>,
    cause: Cause.Cause<AppendError>,
    wasStruck: boolean
  ) {
    const failure = Cause.findErrorOption(cause)
    if (failure._tag === "None" || Cause.hasDies(cause)) {
      return contradiction(`a defect: ${Cause.pretty(cause)}`)
    }
    const error = failure.value
    if (error._tag === "MirrorBehind") {
      for (const { id, leafHash, seq } of error.receipts)
        this.#model.know({ id, seq, leafHash }, false)
      return this.#model.answer(ids, "there")
    }
    this.#model.answer(ids, toldTags[error._tag] ?? "nothing")
    if (error._tag === ask.refusal) return
    if (error._tag === "JournalFinal") return
    if (wasStruck && troubles.has(error._tag)) return
    contradiction(`refused for no reason: ${Cause.pretty(cause)}`)
  }

  #interrupt(ledger: Service, request: Request, turns: number): Effect.Effect<void> {
    const ask = this.#ask(request)
    if (ask === undefined || ask.refusal !== undefined) return Effect.void
    return Effect.gen({ self: this }, function* () {
      const ids = ask.drafts.map(({ id }) => id)
      this.#model.ask(ask.drafts)
      const fiber = yield* Effect.forkChild(ledger.appendAll(ask.drafts))
      for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      this.#upkeep.isWriting = true
      // Withdrawn or written: nobody heard which.
      this.#model.answer(ids, "unknown")
    })
  }
}

/** What went wrong with a history on this disk; undefined where nothing did. */
export const runOn = (
  disk: FaultyDisk.FaultyDisk,
  history: History,
  marks: Marks = { steps: [], opened: [] }
): Effect.Effect<string | undefined> =>
  Effect.suspend(() => new Run(disk, history, marks).all).pipe(
    Effect.provide(TestClock.layer()),
    // Faults make warnings, by the thousand.
    Effect.provide(Logger.layer([])),
    Effect.exit,
    Effect.map((exit) => {
      if (Exit.isSuccess(exit)) return undefined
      const error = Cause.squash(exit.cause)
      return error instanceof Contradiction ? error.message : Cause.pretty(exit.cause)
    })
  )

/** The same on a disk of its own, whose losses come from this seed. */
export const run = (seed: number, history: History): Effect.Effect<string | undefined> =>
  Effect.scoped(Effect.flatMap(FaultyDisk.make({ seed }), (disk) => runOn(disk, history)))

/** The smallest history that fails as this one does, in words, with how to see it again. */
export const explain = Effect.fnUntraced(function* (
  seed: number,
  history: History,
  failure: string
): Effect.fn.Return<string> {
  // A shorter history draws other losses from the same seed, so some more are tried.
  const judge = Effect.fnUntraced(function* (candidate: History) {
    for (let other = seed; other < seed + 8; other++) {
      const found = yield* run(other, candidate)
      if (found !== undefined) return `disk seed ${other}: ${found}`
    }
    return undefined
  })
  const small = yield* shrink(history, `disk seed ${seed}: ${failure}`, judge)
  return [
    `seed ${seed} fails: npm run simulate -- --seeds 1 --from ${seed}`,
    failure,
    "",
    "shrunk:",
    show(small.history),
    small.failure
  ].join("\n")
})
