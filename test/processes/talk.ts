/**
 * What the parent orders a child to do, and what a child says: one JSON object a line.
 *
 * A child says `Ready` once its modules are loaded, and waits for its orders; so it can be started
 * ahead. Each line is written synchronously, an `Acked` after the append has answered: what the
 * parent has read was acknowledged. `ledger` counts the assignments of the orders from 0.
 */
import { Schema } from "effect"

/** One ledger, and for each of its appenders the call from which it goes on. */
export const Assignment = Schema.Struct({
  label: Schema.String,
  directory: Schema.String,
  segmentBytesMax: Schema.Int,
  from: Schema.Array(Schema.Int),
  /** How many calls each appender makes before it rests. */
  calls: Schema.Int
})
export type Assignment = typeof Assignment.Type

/**
 * Where a child kills itself: at the nth change, counted from 1, that it makes to the files of a
 * ledger since it began to open it, of those whose `call` begins so ("" for any; see `steps.ts`).
 * `torn` writes half of what was to be written, `unended` all but the last byte; then it dies.
 */
export const Death = Schema.Struct({
  ledger: Schema.Int,
  call: Schema.String,
  nth: Schema.Int,
  how: Schema.Literals(["before", "during", "after", "torn", "unended"])
})
export type Death = typeof Death.Type

export const Orders = Schema.TaggedUnion({
  /** Open these ledgers and append to them. */
  Append: {
    ledgers: Schema.Array(Assignment),
    /** Whether each change to a file is said before it is made. */
    isTelling: Schema.Boolean,
    death: Schema.NullOr(Death)
  },
  /** Open one ledger again and again, against others; see `contender.ts`. */
  Contend: {
    label: Schema.String,
    appender: Schema.Int,
    directory: Schema.String,
    log: Schema.String,
    from: Schema.Int,
    tenures: Schema.Int,
    /** The name of this life, and the seed of its dice. */
    life: Schema.String
  },
  /** Read one ledger again and again while others write it; see `onlooker.ts`. */
  Watch: { directory: Schema.String }
})
export type Orders = typeof Orders.Type
export type Contention = Extract<Orders, { readonly _tag: "Contend" }>

/** What opening did besides opening. */
const Action = Schema.Struct({
  _tag: Schema.String,
  rows: Schema.optionalKey(Schema.Int),
  bytes: Schema.optionalKey(Schema.Int),
  id: Schema.optionalKey(Schema.String)
})

/** A receipt: tag, id, seq, leaf hash. */
export const Receipt = Schema.Tuple([Schema.String, Schema.String, Schema.Int, Schema.String])

/** A row that a reader saw: seq, id, leaf hash, its place in its group, the size of that. */
export const Seen = Schema.Tuple([Schema.Int, Schema.String, Schema.String, Schema.Int, Schema.Int])
export type Seen = typeof Seen.Type

export const Said = Schema.TaggedUnion({
  Ready: {},
  Opening: { ledger: Schema.Int },
  Opened: {
    ledger: Schema.Int,
    how: Schema.String,
    seq: Schema.Int,
    leafHash: Schema.String,
    actions: Schema.Array(Action)
  },
  Acked: {
    ledger: Schema.Int,
    appender: Schema.Int,
    nth: Schema.Int,
    receipts: Schema.Array(Receipt)
  },
  /** A change to a file that is about to be made. */
  Step: { ledger: Schema.Int, call: Schema.String },
  /** An append or an open that failed. */
  Failed: { ledger: Schema.Int, tag: Schema.String, message: Schema.String },
  /** Every appender of a ledger has made its calls; it stays open until the input ends. */
  Rested: { ledger: Schema.Int },
  /** A contender was refused by the guard; is in; holds on until it is told to go on. */
  Busy: {},
  Entered: {},
  Holding: {},
  Saw: { rows: Schema.Array(Seen) },
  /** A reader met SQLite's short locks of others, and looks again. */
  Held: { message: Schema.String }
})
export type Said = typeof Said.Type

const decodeOrders = Schema.decodeUnknownSync(Schema.fromJsonString(Orders))
const decodeSaid = Schema.decodeUnknownSync(Schema.fromJsonString(Said))

export const ordersFrom = (line: string): Orders => decodeOrders(line)
export const saidFrom = (line: string): Said => decodeSaid(line)
export const lineOf = (value: Orders | Said): string => `${JSON.stringify(value)}\n`
