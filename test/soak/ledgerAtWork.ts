/**
 * A ledger that is worked on in this process, round by round: opened, appended to by several fibers
 * while others read, now and then verified and backed up, closed.
 *
 * Each acknowledged row is written down in a file beside the ledger, so that at the end all can be
 * looked for without having been held in memory: line n of it is row n.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { Effect, Stream } from "effect"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import * as LedgerModule from "../../src/store/Ledger.ts"
import { Ledger } from "../../src/store/Ledger.ts"
import { Reader } from "../../src/store/reading/Reader.ts"
import type { Receipt } from "../../src/store/writing/Receipt.ts"
import { callOf } from "../processes/calls.ts"
import type { Dice } from "../processes/dice.ts"

const appenders = 4
const callsPerRound = 20
const segmentBytesMax = 256 * 1024
/** Every so many rounds. */
const verifyRounds = 8
const backupRounds = 5

export interface Work {
  rows: number
  rowsRead: number
  opens: number
  rotations: number
  verifications: number
  backups: number
}

export const noWork = (): Work => ({
  rows: 0,
  rowsRead: 0,
  opens: 0,
  rotations: 0,
  verifications: 0,
  backups: 0
})

const asTrouble = <R>(
  what: string,
  effect: Effect.Effect<ReadonlyArray<string>, { readonly message: string }, R>
): Effect.Effect<ReadonlyArray<string>, never, R> =>
  Effect.catch(effect, ({ message }) => Effect.succeed([`${what}: ${message}`]))

/** Rows by seq, here and there, a few at once, and that they are what was acknowledged. */
const readAround = Effect.fnUntraced(function* (
  chance: Dice,
  known: ReadonlyMap<number, { readonly leafHash: string }>
) {
  const reader = yield* Reader
  const { seq } = yield* reader.head
  const trouble: Array<string> = []
  if (seq === 0) return { rows: 0, trouble }
  const from = yield* reader.get(1 + chance.below(seq))
  const some = yield* Stream.runCollect(reader.events({ after: from.position, limit: 40 }))
  const last = yield* Stream.runCollect(reader.events({ last: 10 }))
  for (const row of [from, ...some, ...last]) {
    const acknowledged = known.get(row.seq) ?? row
    if (acknowledged.leafHash !== row.leafHash)
      trouble.push(`row ${row.seq} is not the one acknowledged`)
  }
  return { rows: 1 + some.length + last.length, trouble }
})

/** Make the calls of one appender; their receipts, in order. */
const appendCalls = Effect.fnUntraced(function* (
  label: string,
  who: number,
  from: number,
  onReceipt: (receipt: Receipt) => unknown
) {
  const ledger = yield* Ledger
  for (let nth = from; nth < from + callsPerRound; nth++) {
    const receipts = yield* ledger.appendAll(callOf(label, who, nth).drafts)
    receipts.forEach(onReceipt)
  }
})

const verifyTrouble = Effect.fnUntraced(function* () {
  const reader = yield* Reader
  const report = yield* reader.verify({ failuresMax: 3 })
  const parity = yield* reader.parity
  return [
    ...(report._tag === "Intact" ? [] : [`verify: ${report.failures[0]?.message}`]),
    ...(parity.isConsistent ? [] : [`parity: ${JSON.stringify(parity).slice(0, 300)}`])
  ]
})

/** A backup is a ledger as sound as its origin; it is looked at, and removed. */
const backUp = Effect.fnUntraced(function* (to: string) {
  const reader = yield* Reader
  const { rows } = yield* reader.backup(to)
  const report = yield* LedgerModule.verify({ directory: to }).pipe(
    Effect.provide(SealogNode.layerPlatform)
  )
  fs.rmSync(to, { recursive: true })
  return report._tag === "Intact" && report.rows === rows ? [] : [`backup: ${report._tag}`]
})

/** The lines of a file, a piece at a time. Deno's readline keeps a bit of each line it gives. */
const linesIn = function* (file: string): Generator<string, undefined> {
  const buffer = Buffer.alloc(64 * 1024)
  const fd = fs.openSync(file, "r")
  let rest = ""
  try {
    for (let size = fs.readSync(fd, buffer); size > 0; size = fs.readSync(fd, buffer)) {
      const lines = `${rest}${buffer.toString("latin1", 0, size)}`.split("\n")
      rest = lines.pop() ?? ""
      yield* lines
    }
  } finally {
    fs.closeSync(fd)
  }
  return undefined
}

/** What the file of acknowledgements says of a row. */
const lineOf = ({ id, leafHash, seq }: { id: string; leafHash: string; seq: number }) =>
  `${seq} ${id} ${leafHash}`

/** The rows of a ledger against a file of acknowledgements, side by side. */
const compare = Effect.fnUntraced(function* (acknowledged: string) {
  const reader = yield* Reader
  const told = linesIn(acknowledged)
  const trouble: Array<string> = []
  yield* Stream.runForEach(reader.events(), (event) =>
    Effect.sync(() => {
      const { value } = told.next()
      if (value === lineOf(event) || trouble.length > 3) return
      trouble.push(`row ${event.seq} was acknowledged as ${value}, is ${lineOf(event)}`)
    })
  )
  const { value } = told.next()
  return value === undefined ? trouble : [...trouble, `acknowledged and lost: ${value}`]
})

export class LedgerAtWork {
  private readonly parent: string
  private readonly label: string
  private readonly work: Work
  private readonly directory: string
  private readonly acknowledged: string
  private rounds = 0
  /** How many rows it has. */
  rows = 0

  constructor(parent: string, label: string, work: Work) {
    this.parent = parent
    this.label = label
    this.work = work
    this.directory = path.join(parent, label)
    this.acknowledged = path.join(parent, `${label}.acknowledged`)
  }

  /** One round of work; what was wrong, if anything. */
  round(chance: Dice): Effect.Effect<ReadonlyArray<string>> {
    const { directory, label, work } = this
    return Effect.gen({ self: this }, function* () {
      const before = fs.existsSync(directory) ? this.segments() : 0
      const trouble = yield* asTrouble(
        `round ${this.rounds} of ${label}`,
        Effect.provide(this.session(chance), SealogNode.layer({ directory, segmentBytesMax }))
      )
      work.rotations += this.segments() - before
      return trouble
    })
  }

  /** Whether it is intact, its legs agree, and every acknowledged row is there; else why not. */
  check(): Effect.Effect<ReadonlyArray<string>> {
    const { acknowledged, directory, label, work } = this
    return asTrouble(
      label,
      Effect.gen(function* () {
        work.opens++
        const ledger = yield* Ledger
        const how = ledger.opened._tag === "Clean" ? [] : [`it opened as ${ledger.opened._tag}`]
        return [...how, ...(yield* verifyTrouble()), ...(yield* compare(acknowledged))]
      }).pipe(Effect.provide(SealogNode.layer({ directory, segmentBytesMax })))
    )
  }

  private segments(): number {
    return fs.readdirSync(path.join(this.directory, "segments")).length
  }

  private session(chance: Dice) {
    return Effect.gen({ self: this }, function* () {
      const { label, parent, work } = this
      this.rounds++
      work.opens++
      const trouble = [...(yield* this.appendAndRead(chance))]
      if (this.rounds % verifyRounds === 0) {
        work.verifications++
        trouble.push(...(yield* verifyTrouble()))
      }
      if (this.rounds % backupRounds === 0) {
        work.backups++
        trouble.push(...(yield* backUp(path.join(parent, `${label}.backup`))))
      }
      return trouble
    })
  }

  private appendAndRead(chance: Dice) {
    return Effect.gen({ self: this }, function* () {
      const { directory, label, work } = this
      const known = new Map<number, Receipt>()
      const trouble: Array<string> = []
      const appending = Effect.forEach(
        Array.from({ length: appenders }, (_, who) => who),
        (who) => {
          const from = (this.rounds - 1) * callsPerRound
          return appendCalls(label, who, from, (receipt) => known.set(receipt.seq, receipt))
        },
        { concurrency: appenders, discard: true }
      )
      const reading = readAround(chance, known).pipe(
        Effect.map((found) => {
          work.rowsRead += found.rows
          trouble.push(...found.trouble)
        }),
        Effect.andThen(Effect.yieldNow),
        Effect.forever
      )
      const fromOutside = Effect.provide(reading, SealogNode.layerReader({ directory }))
      // Readers are interrupted where they are: what they had open must be closed all the same.
      const readers = Effect.all([reading, fromOutside], { concurrency: 2, discard: true })
      yield* Effect.raceFirst(appending, readers)
      const lines = [...known.values()].toSorted((a, b) => a.seq - b.seq).map(lineOf)
      fs.appendFileSync(this.acknowledged, lines.map((line) => `${line}\n`).join(""))
      work.rows += known.size
      this.rows += known.size
      return trouble
    })
  }
}
