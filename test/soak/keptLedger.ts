/**
 * A ledger that stays open from round to round, as that of a server does, while whoever appends comes
 * and goes: each append in a fiber of its own. What an open ledger holds on to would pile up here.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { Effect, Exit, Layer, Scope } from "effect"
import type { Context } from "effect"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import { Ledger } from "../../src/store/Ledger.ts"
import type { Reader } from "../../src/store/reading/Reader.ts"

const appendsPerRound = 100
/** A ledger of this many rows is checked and given up for a new one. */
const rowsMax = 100_000

interface Open {
  readonly scope: Scope.Closeable
  readonly services: Context.Context<Ledger | Reader>
}

export class KeptLedger {
  private readonly parent: string
  private open: Open | undefined
  private rows = 0
  private ledgers = 0

  constructor(parent: string) {
    this.parent = parent
  }

  /** Append a little; what was wrong, if anything. */
  async round(): Promise<ReadonlyArray<string>> {
    const { services } = (this.open ??= await this.begin())
    for (let nth = 0; nth < appendsPerRound; nth++) {
      const append = Ledger.use((ledger) =>
        ledger.append({ type: "test.kept.v1", payload: { row: this.rows + 1 } })
      )
      const { seq } = await Effect.runPromise(Effect.provideContext(append, services))
      this.rows++
      if (seq !== this.rows) return [`row ${this.rows} was acknowledged as row ${seq}`]
    }
    return this.rows < rowsMax ? [] : this.end()
  }

  /** Check it, close it and remove it; what was wrong, if anything. */
  async end(): Promise<ReadonlyArray<string>> {
    if (this.open === undefined) return []
    const { scope, services } = this.open
    this.open = undefined
    const trouble = await Effect.runPromise(Effect.provideContext(this.check(), services))
    await Effect.runPromise(Scope.close(scope, Exit.void))
    if (trouble.length === 0) fs.rmSync(this.directory(), { recursive: true })
    this.rows = 0
    this.ledgers++
    return trouble
  }

  private check() {
    return Effect.gen({ self: this }, function* () {
      const ledger = yield* Ledger
      const { seq } = yield* ledger.head
      const report = yield* ledger.verify()
      const parity = yield* ledger.parity
      return [
        ...(seq === this.rows ? [] : [`${this.rows} rows were acknowledged, ${seq} are there`]),
        ...(report._tag === "Intact" ? [] : [`verify: ${report.failures[0]?.message}`]),
        ...(parity.isConsistent ? [] : [`parity: ${JSON.stringify(parity).slice(0, 300)}`])
      ]
    })
  }

  private directory(): string {
    return path.join(this.parent, `kept-${this.ledgers}`)
  }

  private async begin(): Promise<Open> {
    const scope = Scope.makeUnsafe()
    const layer = SealogNode.layer({ directory: this.directory(), segmentBytesMax: 256 * 1024 })
    const services = await Effect.runPromise(Layer.buildWithScope(layer, scope))
    return { scope, services }
  }
}
