/** Accounts, and three views of them: one of each form. */
import { Clock, Effect, Schema } from "effect"
import * as Event from "../../src/core/Event.ts"
import * as View from "../../src/core/View.ts"
import * as Views from "../../src/store/views/Views.ts"

const Posting = Schema.Struct({ account: Schema.String, cents: Schema.Int })
const keys = ({ account }: { readonly account: string }) => ({ account })

export const Deposited = Event.define("account.deposited.v1", Posting, { keys })
export const Withdrawn = Event.define("account.withdrawn.v1", Posting, { keys })
export const kinds = [Deposited, Withdrawn]

type Fact = View.Fact<(typeof kinds)[number]>

/** What an event adds to its account. */
export const signed = ({ payload, type }: Pick<Fact, "type" | "payload">): number =>
  type === Deposited.type ? payload.cents : -payload.cents

export const Balance = Schema.Struct({ account: Schema.String, cents: Schema.Int })

/** The balance of each account, in any unit; one that stands at zero has no row. */
export const balancesOf = (
  version = 1,
  more: { readonly unit?: number; readonly check?: string; readonly meet?: (e: Fact) => void } = {}
) =>
  View.make({
    name: "balances",
    version,
    kinds,
    row: Balance,
    columns: { account: "TEXT NOT NULL", cents: `INTEGER NOT NULL ${more.check ?? ""}` },
    key: ["account"],
    indexes: [["cents"]],
    keysOf: ({ payload: { account } }) => [{ account }],
    fold: (row, e, key) => {
      more.meet?.(e)
      const cents = (row?.cents ?? 0) + (more.unit ?? 1) * signed(e)
      return cents === 0 ? undefined : { ...key, cents }
    }
  })

export const balances = balancesOf()

/** A row for each posting, two for a withdrawal. */
export const postings = View.perEvent({
  name: "postings",
  version: 1,
  kinds,
  row: Schema.Struct({ account: Schema.String, at: Schema.NullOr(Schema.String) }),
  columns: { account: "TEXT NOT NULL", at: "TEXT NULL" },
  indexes: [["account"]],
  rowsOf: ({ event: { recordedAt: at }, payload: { account }, type }) =>
    type === Deposited.type
      ? [{ account, at }]
      : [
          { account, at: null },
          { account, at }
        ]
})

/** When each account was last posted to. */
export const visits = Views.effect({
  name: "visits",
  version: 1,
  kinds,
  tables: {
    last_visit: {
      columns: { account: "TEXT NOT NULL", millis: "INTEGER NOT NULL" },
      key: ["account"]
    }
  },
  apply: ({ event, payload: { account }, seq }, sql, { last_visit }) =>
    Effect.gen(function* () {
      const millis = yield* Clock.currentTimeMillis
      yield* sql`DELETE FROM ${last_visit} WHERE account = ${account}`
      const row = { seq, event_id: event.id, account, millis }
      yield* sql`INSERT INTO ${last_visit} ${sql.insert(row)}`
    })
})

export const views = [balances, postings, visits] as const

export const deposit = (account: string, cents: number) => Deposited.make({ account, cents })
export const withdraw = (account: string, cents: number) => Withdrawn.make({ account, cents })
