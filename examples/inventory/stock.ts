/**
 * What happens to stock, what an item's stock is after it, and two tables of that.
 *
 * `step` is the only place that knows what an event does to an item. Whoever decides folds it over the
 * events of one item, the view folds it over all.
 */
import { Schema } from "effect"
import { Event, View, Views } from "../../src/index.ts"

const Pieces = Schema.Int.check(Schema.isGreaterThan(0))
const keys = ({ sku }: { readonly sku: string }) => ({ sku })

export const Received = Event.define(
  "stock.received.v1",
  Schema.Struct({ sku: Schema.String, pieces: Pieces }),
  { keys }
)
const Ordered = Schema.Struct({ sku: Schema.String, pieces: Pieces, order: Schema.String })
/** Set aside for an order; it is still in the house. */
export const Reserved = Event.define("stock.reserved.v1", Ordered, { keys })
/** Gone, with its order. */
export const Shipped = Event.define("stock.shipped.v1", Ordered, { keys })
/** One of the two is done for the day: no more orders, or nothing left to pack. */
export const Closed = Event.define(
  "shop.closed.v1",
  Schema.Struct({ by: Schema.Literals(["orders", "packing"]) })
)

export const movements = [Received, Reserved, Shipped]
export type Movement = View.Fact<(typeof movements)[number]>

export interface Stock {
  readonly on_hand: number
  readonly reserved: number
}

export const nothing: Stock = { on_hand: 0, reserved: 0 }

/** What can be promised to somebody else. */
export const free = ({ on_hand, reserved }: Stock): number => on_hand - reserved

/** An item's stock after one more event; every kind is known here, or this does not compile. */
export const step = (
  { on_hand, reserved }: Stock,
  { payload: { pieces }, type }: Pick<Movement, "type" | "payload">
): Stock => {
  switch (type) {
    case Received.type:
      return { on_hand: on_hand + pieces, reserved }
    case Reserved.type:
      return { on_hand, reserved: reserved + pieces }
    case Shipped.type:
      return { on_hand: on_hand - pieces, reserved: reserved - pieces }
  }
}

/** The stock of each item, as of the last commit. */
export const stock = View.make({
  name: "stock",
  version: 1,
  kinds: movements,
  row: Schema.Struct({ sku: Schema.String, on_hand: Schema.Int, reserved: Schema.Int }),
  columns: { sku: "TEXT NOT NULL", on_hand: "INTEGER NOT NULL", reserved: "INTEGER NOT NULL" },
  key: ["sku"],
  keysOf: ({ payload: { sku } }) => [{ sku }],
  fold: (before, fact, key) => ({ ...key, ...step(before ?? nothing, fact) })
})

/** Pieces moved per day. SQL adds them up by itself, so this view is an effect. */
export const days = Views.effect({
  name: "days",
  version: 1,
  kinds: movements,
  tables: {
    days: {
      columns: {
        day: "TEXT NOT NULL",
        received: "INTEGER NOT NULL",
        reserved: "INTEGER NOT NULL",
        shipped: "INTEGER NOT NULL"
      },
      key: ["day"]
    }
  },
  apply: ({ event, payload: { pieces }, seq, type }, sql, { days }) =>
    sql`INSERT INTO ${days} ${sql.insert({
      // Each row names the event that changed it last.
      seq,
      event_id: event.id,
      day: event.observedAt.slice(0, 10),
      received: type === Received.type ? pieces : 0,
      reserved: type === Reserved.type ? pieces : 0,
      shipped: type === Shipped.type ? pieces : 0
    })} ON CONFLICT (day) DO UPDATE SET
      seq = excluded.seq,
      event_id = excluded.event_id,
      received = received + excluded.received,
      reserved = reserved + excluded.reserved,
      shipped = shipped + excluded.shipped`
})
