/**
 * A child that appends: opens the ledgers it is given side by side, and lets the appenders of each
 * make their calls one after another, all at once. It says each answer as soon as it has it.
 */
import { Effect, Layer } from "effect"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import type { OpenError } from "../../src/store/Ledger.ts"
import { Ledger } from "../../src/store/Ledger.ts"
import type { AppendError, Receipt } from "../../src/store/writing/Receipt.ts"
import type { OpenReport } from "../../src/store/opening/Opening.ts"
import type { Reader } from "../../src/store/reading/Reader.ts"
import { callOf } from "./calls.ts"
import { say, sayNow } from "./mouth.ts"
import type { OnStep } from "./steps.ts"
import { dying, steppedFiles } from "./steps.ts"
import type { Assignment, Orders, Said } from "./talk.ts"

export type AppendOrders = Extract<Orders, { readonly _tag: "Append" }>

const openedOf = (ledger: number, report: OpenReport): Said => ({
  _tag: "Opened",
  ledger,
  how: report._tag,
  seq: report.head.seq,
  leafHash: report.head.leafHash,
  actions:
    report._tag === "Recovered"
      ? report.actions.map((action) => ({
          _tag: action._tag,
          ...("rows" in action ? { rows: action.rows } : {}),
          ...("bytes" in action ? { bytes: action.bytes } : {}),
          ...("id" in action ? { id: action.id } : {})
        }))
      : []
})

const failed = (ledger: number, error: AppendError | OpenError): Said => {
  const reason = "reason" in error && typeof error.reason === "string" ? ` ${error.reason}` : ""
  return { _tag: "Failed", ledger, tag: `${error._tag}${reason}`, message: error.message }
}

const lineOf = ({ _tag, id, leafHash, seq }: Receipt) => [_tag, id, seq, leafHash] as const

/** One appender: call after call, until it has made them all or one failed. */
const appender = Effect.fnUntraced(function* (
  ledger: Ledger["Service"],
  at: number,
  { calls, label }: Assignment,
  who: number,
  from: number
) {
  for (let nth = from; nth < from + calls; nth++) {
    const { drafts, isGroup } = callOf(label, who, nth)
    const [first] = drafts
    const receipts: ReadonlyArray<Receipt> =
      isGroup || first === undefined
        ? yield* ledger.appendAll(drafts)
        : [yield* ledger.append(first)]
    sayNow({ _tag: "Acked", ledger: at, appender: who, nth, receipts: receipts.map(lineOf) })
  }
})

const layerOf = (
  orders: AppendOrders,
  at: number,
  { directory, segmentBytesMax }: Assignment
): Layer.Layer<Ledger | Reader, OpenError> => {
  const options = { directory, segmentBytesMax }
  const { death, isTelling } = orders
  const isDoomed = death?.ledger === at
  if (!isTelling && !isDoomed) return SealogNode.layer(options)
  let met = 0
  const onStep: OnStep = (call, change, part) =>
    Effect.suspend(() => {
      if (isTelling) sayNow({ _tag: "Step", ledger: at, call })
      if (!isDoomed || !call.startsWith(death.call)) return change
      met++
      return met === death.nth ? dying(death.how, change, part) : change
    })
  const platform = Layer.merge(SealogNode.layerPlatform, steppedFiles(directory, onStep))
  return Layer.provide(SealogNode.layerOver(options), platform)
}

/** Open one ledger, append, and hold it. */
const tend = Effect.fnUntraced(function* (orders: AppendOrders, at: number, given: Assignment) {
  yield* say({ _tag: "Opening", ledger: at })
  yield* Effect.gen(function* () {
    const ledger = yield* Ledger
    sayNow(openedOf(at, ledger.opened))
    yield* Effect.forEach(
      given.from,
      (from, who) =>
        Effect.catch(appender(ledger, at, given, who, from), (error) => say(failed(at, error))),
      { concurrency: "unbounded", discard: true }
    )
  }).pipe(
    Effect.andThen(say({ _tag: "Rested", ledger: at })),
    Effect.andThen(Effect.never),
    Effect.provide(layerOf(orders, at, given)),
    Effect.catch((error) => say(failed(at, error)))
  )
})

/** Append to every ledger of the orders, then hold them all. */
export const append = (orders: AppendOrders): Effect.Effect<void> =>
  Effect.forEach(orders.ledgers, (given, at) => tend(orders, at, given), {
    concurrency: "unbounded",
    discard: true
  })
