/**
 * A child that wants a ledger for itself, again and again: open, append a little, close, against
 * others who want the same.
 *
 * Beside its lines to the parent it writes what it does into one log that all contenders append to
 * with single writes: the kernel puts them in one order, in which two tenures that overlap would
 * show. `enter` is written once the ledger is open, `leave` before it is closed.
 */
import * as fs from "node:fs"
import { Effect, Schema } from "effect"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import { Ledger } from "../../src/store/Ledger.ts"
import type { Receipt } from "../../src/store/writing/Receipt.ts"
import { callOf } from "./calls.ts"
import { dice } from "./dice.ts"
import type { Ear } from "./mouth.ts"
import { say, sayNow } from "./mouth.ts"
import type { Contention } from "./talk.ts"
import { Receipt as ReceiptLine } from "./talk.ts"

/** A line of the log: which life did what. */
export const LogLine = Schema.Struct({
  life: Schema.String,
  did: Schema.Literals(["enter", "append", "leave"]),
  receipts: Schema.Array(ReceiptLine)
})

/** Let events of other origin in, such as the end of the input. */
const turn = Effect.callback<void>((resume) => {
  setImmediate(() => resume(Effect.void))
})

/** So many tenures of the ledger, each as soon as it can be had; the first one is a long one. */
export const contend = Effect.fnUntraced(function* (orders: Contention, ear: Ear) {
  const { appender, directory, from, label, life, log, tenures } = orders
  const { below, once } = dice(life)
  let nth = from

  const note = (
    did: (typeof LogLine.Type)["did"],
    ...receipts: (typeof LogLine.Type)["receipts"]
  ) => fs.appendFileSync(log, `${JSON.stringify({ life, did, receipts })}\n`)

  const append = Effect.fnUntraced(function* (ledger: Ledger["Service"]) {
    const answers: ReadonlyArray<Receipt> = yield* ledger.appendAll(
      callOf(label, appender, nth).drafts
    )
    const receipts = answers.map(
      ({ _tag, id, leafHash, seq }) => [_tag, id, seq, leafHash] as const
    )
    note("append", ...receipts)
    sayNow({ _tag: "Acked", ledger: 0, appender, nth, receipts })
    nth++
  })

  /** Whether it came in. */
  const tenure = Effect.fnUntraced(
    function* (isFirst: boolean) {
      const ledger = yield* Ledger
      note("enter")
      sayNow({ _tag: "Entered" })
      if (isFirst || once(3)) {
        sayNow({ _tag: "Holding" })
        yield* ear.next
      }
      const calls = below(6)
      for (let call = 0; call < calls; call++) yield* append(ledger)
      note("leave")
      return true
    },
    Effect.provide(SealogNode.layer({ directory, segmentBytesMax: 3_000 }))
  )

  for (let done = 0; done < tenures;) {
    const isIn = yield* tenure(done === 0).pipe(
      Effect.catchTag("StoreBusy", () => Effect.as(say({ _tag: "Busy" }), false)),
      Effect.catch(({ _tag: tag, message }) =>
        Effect.andThen(say({ _tag: "Failed", ledger: 0, tag, message }), Effect.never)
      )
    )
    if (isIn) done++
    yield* turn
  }
  yield* say({ _tag: "Rested", ledger: 0 })
  yield* Effect.never
})
