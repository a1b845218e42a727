/**
 * A process of its own, started ahead: it loads sealog, says `Ready`, and waits for its orders in
 * one line of JSON (`talk.ts`). It ends when its input ends, unless it is killed before.
 */
import { Effect } from "effect"
import { append } from "./appenders.ts"
import { contend } from "./contender.ts"
import type { Ear } from "./mouth.ts"
import { listen, say } from "./mouth.ts"
import { watch } from "./onlooker.ts"
import { ordersFrom } from "./talk.ts"

const obey = Effect.fnUntraced(function* (ear: Ear) {
  yield* say({ _tag: "Ready" })
  const orders = ordersFrom(yield* ear.next)
  switch (orders._tag) {
    case "Append":
      return yield* append(orders)
    case "Contend":
      return yield* contend(orders, ear)
    case "Watch":
      return yield* watch(orders.directory)
  }
})

// The end of the input closes what is open, in order; nobody is left behind if the parent is gone.
await Effect.runPromise(Effect.flatMap(listen, (ear) => Effect.raceFirst(obey(ear), ear.ended)))
