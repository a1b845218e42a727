/**
 * Round after round of everything a ledger is for, with an eye on what the process holds.
 *
 * A round works on one ledger in this process (`ledgerAtWork.ts`) and on one that stays open
 * (`keptLedger.ts`), while in some of the rounds a child that writes another ledger is killed.
 * Ledgers are checked and given up when they have grown large, so that the disk does not fill up and
 * late rounds do what early ones did.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { Cause, Effect, Exit, Scope } from "effect"
import { Book } from "../processes/book.ts"
import { dice } from "../processes/dice.ts"
import type { Herd } from "../processes/herd.ts"
import { herd } from "../processes/herd.ts"
import { live, momentOf, reopen } from "../processes/lives.ts"
import { KeptLedger } from "./keptLedger.ts"
import type { Work } from "./ledgerAtWork.ts"
import { LedgerAtWork, noWork } from "./ledgerAtWork.ts"
import type { Sample } from "./samples.ts"
import { makeSamples, take } from "./samples.ts"

/** A child is killed in every so many rounds. */
const killRounds = 4
/** A ledger of this many rows is checked and given up. */
const rowsMax = 6_000
/** A killed ledger has so many lives. */
const livesMax = 8

export interface Progress extends Work {
  readonly rounds: number
  readonly kills: number
  readonly ledgers: number
  readonly sample: Sample
}

export interface Result {
  readonly progress: Progress
  readonly samples: ReadonlyArray<Sample>
  /** What was wrong with a ledger; empty where nothing was. */
  readonly trouble: ReadonlyArray<string>
}

export interface Plan {
  readonly seed: string
  /** Where ledgers are made. */
  readonly parent: string
  /** Asked before each round, told the milliseconds since the first one and the rounds so far. */
  readonly isOver: (millis: number, rounds: number) => boolean
  readonly onProgress: (progress: Progress) => void
}

/** Kill a child while it writes a ledger of its own; what was wrong, if anything. */
const makeKilling = (plan: Plan, children: Herd) => {
  let book: Book | undefined
  let lives = 0
  return Effect.gen(function* () {
    const nth = lives++
    if (nth % livesMax === 0) {
      if (book !== undefined) fs.rmSync(book.directory, { recursive: true, force: true })
      const label = `killed-${plan.seed}-${nth}`
      book = new Book(label, path.join(plan.parent, label), 6_000, 3)
    }
    if (book === undefined) return []
    const chance = dice(`killing ${plan.seed} ${nth}`)
    yield* live(yield* children.take, [book], momentOf(chance, 1), { passOn: chance.once(3) })
    yield* reopen(book)
    return []
  }).pipe(
    // The checks of the book throw where they find something.
    Effect.catchCause((cause) => Effect.succeed([`life ${lives}: ${Cause.pretty(cause)}`]))
  )
}

/** The state of a soak. */
class Soak {
  readonly trouble: Array<string> = []
  readonly samples = makeSamples()
  private readonly plan: Plan
  private readonly killing: Effect.Effect<ReadonlyArray<string>>
  private readonly kept: KeptLedger
  private readonly work = noWork()
  private readonly begun = performance.now()
  private ledger: LedgerAtWork | undefined
  private rounds = 0
  private kills = 0
  private ledgers = 0

  constructor(plan: Plan, children: Herd) {
    this.plan = plan
    this.killing = makeKilling(plan, children)
    this.kept = new KeptLedger(plan.parent)
  }

  /** What was done so far, and what is held now. */
  look(): Progress {
    const sample = take(performance.now() - this.begun)
    this.samples.add(sample)
    const { kills, ledgers, rounds, work } = this
    return { ...work, rounds, kills, ledgers, sample }
  }

  async round(): Promise<void> {
    const { plan, rounds, trouble, work } = this
    this.ledger ??= new LedgerAtWork(plan.parent, `worked-${plan.seed}-${this.ledgers++}`, work)
    const isKill = rounds % killRounds === 0
    const round = this.ledger.round(dice(`round ${plan.seed} ${rounds}`))
    const killing = isKill ? this.killing : Effect.succeed([])
    const found = await Effect.runPromise(Effect.all([round, killing], { concurrency: 2 }))
    trouble.push(...found.flat(), ...(await this.kept.round()))
    this.rounds++
    if (isKill) this.kills++
    if (this.ledger.rows >= rowsMax) await this.giveUp()
  }

  /** Check what is left, and close it. */
  async end(): Promise<void> {
    await this.giveUp()
    this.trouble.push(...(await this.kept.end()))
  }

  private async giveUp(): Promise<void> {
    if (this.ledger === undefined) return
    this.trouble.push(...(await Effect.runPromise(this.ledger.check())))
    this.ledger = undefined
    if (this.trouble.length > 0) return
    for (const name of fs.readdirSync(this.plan.parent)) {
      if (!name.startsWith("worked-")) continue
      fs.rmSync(path.join(this.plan.parent, name), { recursive: true, force: true })
    }
  }
}

/**
 * Run rounds until the plan says that it is over, then check what is left. No fiber lives from round
 * to round but those of the kept ledger: Deno holds on to something of each suspension of a fiber as
 * long as that lives, and it is the ledgers that are looked at.
 */
export const soak = async (plan: Plan): Promise<Result> => {
  const scope = Scope.makeUnsafe()
  try {
    const children = await Effect.runPromise(Scope.provide(herd(process.execPath, 1), scope))
    const soaking = new Soak(plan, children)
    let progress = soaking.look()
    while (
      soaking.trouble.length === 0 &&
      !plan.isOver(progress.sample.atMillis, progress.rounds)
    ) {
      await soaking.round()
      progress = soaking.look()
      plan.onProgress(progress)
    }
    await soaking.end()
    return { progress, samples: soaking.samples.all(), trouble: soaking.trouble }
  } finally {
    await Effect.runPromise(Scope.close(scope, Exit.void))
  }
}
