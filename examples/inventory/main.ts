/**
 * Decide, expect, append, try again: eight workers sell from one stock, and never what is not there.
 *
 *   node examples/inventory/main.ts
 *
 * No worker holds a lock. Each reads, decides, and appends with what it has read as the expectation;
 * where another one came between, nothing is written and it decides again. Meanwhile a packer follows
 * the reservations, and a table of the stock follows everything. `stock.ts` says what the events mean.
 * Every step checks what it shows. Exit code 0: all of it was so. 1: something was not.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Console, Data, Deferred, Effect, FileSystem, Random, Ref, Stdio, Stream } from "effect"
import { Consumer, Event, Ledger, Views } from "../../src/index.ts"
import { SealogNode } from "../../src/platform/index.ts"
import * as Stock from "./stock.ts"

/** What this example shows did not hold. */
class NotSo extends Data.TaggedError("NotSo")<{ message: string }> {}

const claim = (holds: boolean, otherwise: string) =>
  holds ? Effect.void : Effect.fail(new NotSo({ message: otherwise }))

const title = (text: string) => Console.log(`\n${text}`)
const say = (text: string) => Console.log(`   ${text}`)

const items = ["anvil", "bellows", "chisel"]
const days = ["2026-03-02", "2026-03-03", "2026-03-04"]
const received = 20
const workers = 8
const seed = "inventory"

interface Order {
  readonly order: string
  readonly sku: string
  readonly pieces: number
  readonly day: string
}

/** Orders for about twice of what is there. */
const orders: Effect.Effect<ReadonlyArray<Order>> = Effect.forEach(
  Array.from({ length: 60 }, (_, nth) => nth),
  (nth) =>
    Effect.gen(function* () {
      return {
        order: `order-${nth}`,
        sku: items[yield* Random.nextIntBetween(0, items.length - 1)] ?? "",
        pieces: yield* Random.nextIntBetween(1, 3),
        day: days[Math.floor(nth / 20)] ?? ""
      }
    })
).pipe(Random.withSeed(seed))

/** When the customer ordered. When it was recorded is the ledger's own affair. */
const at = (day: string) => ({ observedAt: `${day}T12:00:00Z` })

/**
 * The heart of it: what could make this decision wrong is expected not to have come. Append without the
 * expectation, and step 2 finds that more was sold than there was.
 */
const decide = Effect.fn("decide")(function* ({ day, order, pieces, sku }: Order) {
  const ledger = yield* Ledger.Ledger
  const head = yield* ledger.head
  const stock = yield* ledger
    .events({ kinds: Stock.movements, keys: { sku }, until: head.seq })
    .pipe(Stream.runFold(() => Stock.nothing, Stock.step))
  if (Stock.free(stock) < pieces) return "sold out"
  // A delivery or a parcel that left since takes nothing that is free: only other reservations do.
  const expect = Ledger.noneSince({ kinds: [Stock.Reserved], keys: { sku } }, head)
  yield* ledger.append(Stock.Reserved.make({ order, pieces, sku }, at(day)), { expect })
  return "reserved"
})

/** Eight at a time. Of those that read the same stock one is written, the others decide again. */
const sell = Effect.gen(function* () {
  const ledger = yield* Ledger.Ledger
  const again = yield* Ref.make(0)
  const answers = yield* Effect.forEach(
    yield* orders,
    (order) =>
      decide(order).pipe(
        Effect.tapErrorTag("ExpectationFailed", () => Ref.update(again, (n) => n + 1)),
        Effect.retry({ while: ({ _tag }) => _tag === "ExpectationFailed" })
      ),
    { concurrency: workers }
  )
  yield* ledger.append(Stock.Closed.make({ by: "orders" }))
  const reserved = answers.filter((answer) => answer === "reserved").length
  return { reserved, soldOut: answers.length - reserved, again: yield* Ref.get(again) }
})

/**
 * Ships what was reserved, until there are no more orders. It keeps in a file how far it has come, and
 * after a crash may do some of it once more; an id made from the order turns the second time into
 * nothing. Answers how many it was handed, and how many of them it shipped.
 */
const pack = Effect.fn("pack")(function* (file: string) {
  const ledger = yield* Ledger.Ledger
  const done = yield* Deferred.make<{ readonly handed: number; readonly shipped: number }>()
  let [handed, shipped] = [0, 0]
  const consumer = Consumer.inFile(
    file,
    (e) =>
      Effect.gen(function* () {
        if (e.type === Stock.Reserved.type) {
          const { observedAt } = e.event
          const id = Event.idFrom(`shipped ${e.payload.order}`)
          const receipt = yield* ledger.append(Stock.Shipped.make(e.payload, { id, observedAt }))
          handed += 1
          if (receipt._tag === "Appended") shipped += 1
        } else if (e.payload.by === "orders") {
          const id = Event.idFrom("packing closed")
          yield* ledger.append(Stock.Closed.make({ by: "packing" }, { id }))
          yield* Deferred.succeed(done, { handed, shipped })
        }
      }),
    { kinds: [Stock.Reserved, Stock.Closed] }
  )
  // A consumer never ends by itself.
  return yield* Effect.raceFirst(consumer, Deferred.await(done))
})

/** Texts under each other. */
const aligned = (rows: ReadonlyArray<ReadonlyArray<string | number>>) =>
  rows.map((row) => `   ${row.map((cell) => String(cell).padEnd(12)).join("")}`.trimEnd())

const stockTable = Effect.gen(function* () {
  const ledger = yield* Ledger.Ledger
  const rows = yield* ledger.query((sql) => sql`SELECT * FROM stock ORDER BY sku`)
  const stocks = yield* Effect.forEach(rows, (row) => Effect.fromResult(Stock.stock.decode(row)))
  const heading = ["item", "on hand", "reserved", "free"]
  return aligned([
    heading,
    ...stocks.map((row) => [row.sku, row.on_hand, row.reserved, Stock.free(row)])
  ])
})

/** The stock as it is now, over and over, until the packer has closed. A file gets the last one. */
const dashboard = Effect.gen(function* () {
  const ledger = yield* Ledger.Ledger
  const isTerminal = yield* (yield* Stdio.Stdio).stdoutIsTerminal
  let drawn = 0
  const draw = Effect.gen(function* () {
    const lines = yield* stockTable
    const back = drawn === 0 ? "" : `\u001b[${drawn}A\u001b[J`
    drawn = lines.length
    yield* Console.log(back + lines.join("\n"))
  })
  yield* ledger.changes({ kinds: [...Stock.movements, Stock.Closed] }).pipe(
    Stream.takeUntil((e) => e.type === Stock.Closed.type && e.payload.by === "packing"),
    // A page at a time: whoever draws slowly gets fewer pictures, and holds up nobody.
    Stream.runForEachArray(() => (isTerminal ? draw : Effect.void))
  )
  if (!isTerminal) yield* draw
})

/** The log is asked, row by row, whether there ever was less than nothing. */
const neverNegative = Effect.gen(function* () {
  const ledger = yield* Ledger.Ledger
  const views = yield* Views.Views
  const stocks = new Map<string, Stock.Stock>()
  yield* Stream.runForEach(ledger.events({ kinds: Stock.movements }), (e) => {
    const stock = Stock.step(stocks.get(e.payload.sku) ?? Stock.nothing, e)
    stocks.set(e.payload.sku, stock)
    const holds = stock.reserved >= 0 && Stock.free(stock) >= 0
    return claim(holds, `Row ${e.seq} took what was not there.`)
  })
  yield* say(`in none of ${(yield* ledger.head).seq} rows`)
  for (const view of [Stock.stock, Stock.days]) {
    const { isDerived } = yield* views.check(view)
    yield* claim(isDerived, `The table ${view.name} is not what the log says.`)
  }
  yield* say("and the tables are what the log says")
})

const dayTable = Effect.gen(function* () {
  const ledger = yield* Ledger.Ledger
  const rows = yield* ledger.query(
    (sql) =>
      sql<{
        readonly day: string
        readonly received: number
        readonly reserved: number
        readonly shipped: number
      }>`SELECT day, received, reserved, shipped FROM days ORDER BY day`
  )
  return aligned([
    ["day", "received", "reserved", "shipped"],
    ...rows.map(({ day, received, reserved, shipped }) => [day, received, reserved, shipped])
  ])
})

const day = Effect.fn("day")(function* (place: string) {
  const fs = yield* FileSystem.FileSystem
  const ledger = yield* Ledger.Ledger
  yield* ledger.appendAll(
    items.map((sku) => Stock.Received.make({ sku, pieces: received }, at("2026-03-01")))
  )
  yield* title(`1. ${received} pieces of each item, ${workers} workers, one packer`)
  const [sold, packed] = yield* Effect.all([sell, pack(place), dashboard], {
    concurrency: "unbounded"
  })
  const { again, reserved, soldOut } = sold
  yield* say(`${reserved} orders reserved, ${soldOut} sold out`)
  yield* say(`${again} decisions were made again, as another worker came first`)
  yield* claim(packed.shipped === reserved, "Not all that was reserved was shipped.")
  yield* title("2. Was there ever less than nothing?")
  yield* neverNegative
  yield* claim(again > 0, "The workers never met: nothing was shown.")
  yield* title("3. By day")
  yield* Console.log((yield* dayTable).join("\n"))
  yield* title("4. The packer forgets how far it had come")
  yield* fs.remove(place)
  const once = yield* pack(place)
  yield* say(`${once.handed} reservations packed again, ${once.shipped} shipped twice`)
  yield* claim(once.handed === reserved && once.shipped === 0, "Something was shipped twice.")
})

const example = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const root = yield* fs.makeTempDirectoryScoped({ prefix: "sealog-inventory-" })
  yield* Console.log("An inventory with many hands")
  yield* day(`${root}/packer.json`).pipe(
    Effect.provide(
      SealogNode.layer({
        directory: `${root}/stock`,
        kinds: [...Stock.movements, Stock.Closed],
        views: [Stock.stock, Stock.days]
      })
    )
  )
}).pipe(Effect.scoped)

NodeRuntime.runMain(Effect.provide(example, NodeServices.layer))
