/**
 * What lies on the disk on paper: whether recovery, rollback and repair kept every byte that they
 * cut, and whether an opening changed any.
 */
import { Effect } from "effect"
import type { FileSystem } from "effect"
import type { OpenReport } from "../../src/store/opening/Opening.ts"
import { contradiction } from "./Model.ts"

type Texts = ReadonlyMap<string, string>

interface Note {
  readonly journal: string
  readonly checkpoints: Texts
  readonly kept: Texts
}

/** A file of the journal. */
export interface JournalText {
  readonly path: string
  readonly text: string
}

const latin1 = new TextDecoder("latin1")

/** The name of a file in an operation's folder. */
const within = (name: string): string => name.slice(name.indexOf("/") + 1)

const isCheckpoint = (name: string): boolean => within(name).startsWith("checkpoints/")

/** Whether a kept file holds bytes of the journal. */
const isCut = (name: string): boolean => name.endsWith(".cut") || name.includes("/segments/")

export class Paper {
  readonly #files: FileSystem.FileSystem
  readonly #cortex: boolean
  #noted: Note | undefined
  #powerCuts = -1
  /** Whether an operation was begun that may have cut what is noted. */
  #isHeld = false
  /** What operations have kept that were answered for. */
  #safe: Texts = new Map()

  constructor(files: FileSystem.FileSystem, cortex: boolean) {
    this.#files = files
    this.#cortex = cortex
  }

  get #root(): string {
    return this.#cortex ? "/ledger.jsonl.sealog" : "/ledger"
  }

  #text(path: string): Effect.Effect<string> {
    return Effect.map(Effect.orDie(this.#files.readFile(path)), (bytes) => latin1.decode(bytes))
  }

  #list(path: string): Effect.Effect<ReadonlyArray<string>> {
    return Effect.orElseSucceed(this.#files.readDirectory(path, { recursive: true }), () => [])
  }

  /** The files of the journal, in the order of their rows. */
  get segments(): Effect.Effect<ReadonlyArray<JournalText>> {
    return Effect.gen({ self: this }, function* () {
      if (this.#cortex) {
        const path = "/ledger.jsonl"
        const there = yield* Effect.orDie(this.#files.exists(path))
        return there ? [{ path, text: yield* this.#text(path) }] : []
      }
      return yield* Effect.forEach(yield* this.#list("/ledger/segments"), (name) => {
        const path = `/ledger/segments/${name}`
        return Effect.map(this.#text(path), (text) => ({ path, text }))
      })
    })
  }

  get #journal(): Effect.Effect<string> {
    return Effect.map(this.segments, (files) => files.map(({ text }) => text).join(""))
  }

  /** The files of checkpoints, by name. */
  get checkpoints(): Effect.Effect<Texts> {
    return this.#texts(`${this.#root}/checkpoints`, (name) => name.endsWith(".json"))
  }

  get #kept(): Effect.Effect<Texts> {
    const isKept = (name: string) => isCut(name) || isCheckpoint(name)
    return this.#texts(
      `${this.#root}/operations`,
      (name) => isKept(name) && /\.(?:cut|jsonl?)$/.test(name)
    )
  }

  #texts(folder: string, isOf: (name: string) => boolean): Effect.Effect<Texts> {
    return Effect.gen({ self: this }, function* () {
      const names = (yield* this.#list(folder)).filter(isOf)
      const texts = yield* Effect.forEach(names, (name) => this.#text(`${folder}/${name}`))
      return new Map(names.map((name, nth) => [name, texts[nth] ?? ""]))
    })
  }

  /** Every file but the mirror's, and what it holds. */
  get image(): Effect.Effect<string> {
    return Effect.gen({ self: this }, function* () {
      const parts: Array<string> = []
      for (const name of yield* this.#list("/")) {
        const { type } = yield* Effect.orDie(this.#files.stat(`/${name}`))
        parts.push(type === "File" ? `${name}: ${yield* this.#text(`/${name}`)}` : name)
      }
      return parts.join("\n")
    })
  }

  get #now(): Effect.Effect<Note> {
    return Effect.all({ journal: this.#journal, checkpoints: this.checkpoints, kept: this.#kept })
  }

  /** Before an opening: what a kill leaves lies there still, what a power cut leaves is anew. */
  note(powerCuts: number): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      if (this.#isHeld) return
      if (this.#powerCuts === powerCuts && this.#noted !== undefined) return
      this.#powerCuts = powerCuts
      this.#noted = yield* this.#now
    })
  }

  /**
   * Before an operation: all that is there is durable, and what it cuts it must keep; of checkpoints
   * those that `isSure` names. While somebody writes, `isStill` false, nothing can be compared.
   */
  hold(isStill: boolean, isSure: (checkpoint: string) => boolean): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const now = yield* this.#now
      const checkpoints = new Map([...now.checkpoints].filter(([name]) => isSure(name)))
      this.#noted = isStill ? { ...now, checkpoints } : undefined
      this.#isHeld = true
    })
  }

  /** The ledger goes on without having been compared. */
  forget(): void {
    this.#noted = undefined
    this.#isHeld = false
  }

  /** After an operation that was answered: what was held is there, or kept. */
  get checkHeld(): Effect.Effect<void> {
    return Effect.suspend(() => (this.#isHeld ? this.#check(new Set(), "operation") : Effect.void))
  }

  /** After an opening: the journal is what it was, but for what lies in the operations now. */
  checkCut(opened: OpenReport): Effect.Effect<void> {
    const finished = new Set(
      "actions" in opened
        ? opened.actions.flatMap((one) => (one._tag === "OperationFinished" ? [one.id] : []))
        : []
    )
    return this.#check(finished, JSON.stringify(opened))
  }

  #check(finished: ReadonlySet<string>, by: string): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const before = this.#noted
      const isHeld = this.#isHeld
      this.forget()
      const now = yield* this.#now
      for (const [name, text] of this.#safe) {
        if (now.kept.get(name) !== text) contradiction(`what ${name} kept is gone`)
      }
      this.#safe = now.kept
      if (before === undefined) return
      const isNew = (name: string) => !before.kept.has(name)
      const isFinished = (name: string) => finished.has(name.split("/")[0] ?? "")
      const texts = (of: (name: string) => boolean) =>
        [...now.kept].flatMap(([name, text]) => (of(name) && isCut(name) ? [text] : [])).join("")
      const cuts = [texts(isNew), texts((name) => isNew(name) || isFinished(name))]
      const { journal } = now
      const completed = journal.length === before.journal.length + 1 && journal.endsWith("\n")
      const whole = completed ? `${before.journal}\n` : before.journal
      if (!cuts.some((cut) => journal + cut === whole)) {
        contradiction(
          `the journal had ${before.journal.length} bytes, has ${journal.length}, and ` +
            `${cuts[0]?.length} were kept: ${by}`
        )
      }
      if (isHeld) checkMoved(before, now, by)
    })
  }
}

/** Every checkpoint is where it was, or kept. */
const checkMoved = (before: Note, now: Note, by: string): void => {
  for (const [name, text] of before.checkpoints) {
    if (now.checkpoints.get(name) === text) continue
    const isKept = [...now.kept].some(
      ([path, kept]) => within(path) === `checkpoints/${name}` && kept === text
    )
    if (!isKept) contradiction(`checkpoint ${name} is neither there nor kept: ${by}`)
  }
}
