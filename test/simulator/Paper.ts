/**
 * What lies on the disk on paper: whether a recovery kept every byte that it cut, and whether an
 * opening changed any.
 */
import { Effect } from "effect"
import type { FileSystem } from "effect"
import type { OpenReport } from "../../src/store/Opening.ts"
import { contradiction } from "./Model.ts"

interface Note {
  readonly journal: string
  readonly kept: ReadonlyMap<string, string>
}

const latin1 = new TextDecoder("latin1")

export class Paper {
  readonly #files: FileSystem.FileSystem
  readonly #cortex: boolean
  #noted: Note | undefined
  #powerCuts = -1
  /** What operations have kept that were answered for. */
  #safe: ReadonlyMap<string, string> = new Map()

  constructor(files: FileSystem.FileSystem, cortex: boolean) {
    this.#files = files
    this.#cortex = cortex
  }

  #text(path: string): Effect.Effect<string> {
    return Effect.map(Effect.orDie(this.#files.readFile(path)), (bytes) => latin1.decode(bytes))
  }

  #list(path: string): Effect.Effect<ReadonlyArray<string>> {
    return Effect.orElseSucceed(this.#files.readDirectory(path, { recursive: true }), () => [])
  }

  get #journal(): Effect.Effect<string> {
    return Effect.gen({ self: this }, function* () {
      if (this.#cortex) {
        const there = yield* Effect.orDie(this.#files.exists("/ledger.jsonl"))
        return there ? yield* this.#text("/ledger.jsonl") : ""
      }
      const names = yield* this.#list("/ledger/segments")
      const texts = yield* Effect.forEach(names, (name) => this.#text(`/ledger/segments/${name}`))
      return texts.join("")
    })
  }

  get #kept(): Effect.Effect<ReadonlyMap<string, string>> {
    return Effect.gen({ self: this }, function* () {
      const folder = `${this.#cortex ? "/ledger.jsonl.sealog" : "/ledger"}/operations`
      const cuts = (yield* this.#list(folder)).filter((name) => name.endsWith(".cut"))
      return new Map(
        yield* Effect.forEach(cuts, (name) =>
          Effect.map(this.#text(`${folder}/${name}`), (text) => [name, text] as const)
        )
      )
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

  /** Before an opening: what a kill leaves lies there still, what a power cut leaves is anew. */
  note(powerCuts: number): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      if (this.#powerCuts === powerCuts && this.#noted !== undefined) return
      this.#powerCuts = powerCuts
      this.#noted = { journal: yield* this.#journal, kept: yield* this.#kept }
    })
  }

  /** The ledger goes on without having been compared. */
  forget(): void {
    this.#noted = undefined
  }

  /** After an opening: the journal is what it was, but for what lies in the operations now. */
  checkCut(opened: OpenReport): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const before = this.#noted
      this.#noted = undefined
      const all = yield* this.#kept
      for (const [name, text] of this.#safe) {
        if (all.get(name) !== text) contradiction(`what ${name} kept is gone`)
      }
      this.#safe = all
      if (before === undefined) return
      const journal = yield* this.#journal
      const finished = new Set(
        "actions" in opened
          ? opened.actions.flatMap((one) => (one._tag === "OperationFinished" ? [one.id] : []))
          : []
      )
      const isNew = (name: string) => !before.kept.has(name)
      const isFinished = (name: string) => finished.has(name.split("/")[0] ?? "")
      const texts = (of: (name: string) => boolean) =>
        [...all].flatMap(([name, text]) => (of(name) ? [text] : [])).join("")
      const cuts = [texts(isNew), texts((name) => isNew(name) || isFinished(name))]
      const completed = journal.length === before.journal.length + 1 && journal.endsWith("\n")
      const whole = completed ? `${before.journal}\n` : before.journal
      if (!cuts.some((cut) => journal + cut === whole)) {
        contradiction(
          `the journal had ${before.journal.length} bytes, has ${journal.length}, and ` +
            `${cuts[0]?.length} were kept: ${JSON.stringify(opened)}`
        )
      }
    })
  }
}
