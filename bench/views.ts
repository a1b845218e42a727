/**
 * What views and gates cost an append, beside the same statements by hand, and what it costs to make
 * a view anew and to check it, beside verification and replay of the same rows.
 *
 * What a view adds is the difference to a ledger without, in processor time; by hand, the difference
 * between two databases that take the same groups in transactions.
 */
import type { Layer as LayerType } from "effect"
import { Console, Context, Effect, Layer, Schema } from "effect"
import * as path from "node:path"
import { Event, Ledger, Policy, PolicyGate, View, Views } from "../src/index.ts"
import { SealogNode } from "../src/platform/index.ts"
import type { Contest, Contestant, Rounds, Taken } from "./contest.ts"
import * as contest from "./contest.ts"
import { median, micros, perSecond, table, times } from "./measure.ts"
import * as rows from "./rows.ts"
import { sure } from "./turns.ts"
import type { Manner } from "./viewsByHand.ts"
import * as byHand from "./viewsByHand.ts"

const waitingMany = 64
const groupRows = 500
const accounts = 1_000

const Posting = Schema.Struct({ account: Schema.String, cents: Schema.Int, text: Schema.String })
const Posted = Event.define("bench.posted.v1", Posting)
const kinds = [Posted]

// Accounts of one group lie apart, and differ.
const accountOf = (n: number): string => `account-${(n * 389) % accounts}`
const centsOf = (n: number): number => 1 + (n % 100)
const text = "x".repeat(rows.payloadBytes - 45)

const drafts = (first: number, count: number) =>
  rows.drafts(first, count).map((draft, nth) => ({
    ...draft,
    type: Posted.type,
    payload: { account: accountOf(first + nth), cents: centsOf(first + nth), text }
  }))

const Balance = Schema.Struct({ account: Schema.String, cents: Schema.Int })
const columns = { account: "TEXT NOT NULL", cents: "INTEGER NOT NULL" }

/** The balance of each account. */
const keyed = (name: string) =>
  View.make({
    name,
    version: 1,
    kinds,
    row: Balance,
    columns,
    key: ["account"],
    keysOf: ({ payload: { account } }) => [{ account }],
    fold: (row, { payload: { cents } }, { account }) => ({
      account,
      cents: (row?.cents ?? 0) + cents
    })
  })

const balances = keyed("balances")
const five = ["one", "two", "three", "four", "five"].map(keyed)

const postings = View.perEvent({
  name: "postings",
  version: 1,
  kinds,
  row: Balance,
  columns,
  rowsOf: ({ payload: { account, cents } }) => [{ account, cents }]
})

const applied = Views.effect({
  name: "applied",
  version: 1,
  kinds,
  tables: { sums: { columns, key: ["account"] } },
  apply: ({ event, payload: { account, cents }, seq }, sql, { sums }) =>
    sql`INSERT INTO ${sums} AS s (seq, event_id, account, cents)
      VALUES (${seq}, ${event.id}, ${account}, ${cents})
      ON CONFLICT (account) DO UPDATE SET seq = excluded.seq, event_id = excluded.event_id,
        cents = s.cents + excluded.cents`
})

const positive = PolicyGate.gate(
  { id: "bench.positive", kinds, views: [balances] },
  ({ payload: { account } }, sql) =>
    Effect.map(
      sql<{ cents: number }>`SELECT cents FROM balances WHERE account = ${account}`,
      ([row]) => ((row?.cents ?? 0) < 0 ? Policy.reject("below zero") : Policy.allow("above zero"))
    )
)

type Opened = Ledger.Ledger["Service"]

const open = <E>(layer: LayerType.Layer<Ledger.Ledger, E>) =>
  Effect.map(Layer.build(layer), (context) => Context.get(context, Ledger.Ledger))

/** Appenders that wait each for its own rows, all at the same time. */
const appending = (name: string, ledger: Opened, waiting: number, count: number): Contestant => {
  let first = 0
  const turn: Contestant["turn"] = (watch) =>
    Effect.suspend(() => {
      const left = drafts(first, count)[Symbol.iterator]()
      first += count
      const appender = Effect.gen(function* () {
        for (const draft of left) yield* ledger.append(draft)
      })
      const all = Array.from({ length: waiting }, () => appender)
      return watch.turn(Effect.all(all, { concurrency: "unbounded", discard: true }))
    }).pipe(Effect.orDie)
  return { name, count, turn }
}

const plain = "no view"

/** What is measured, and how the same is done by hand. */
const ways = (directory: string) => {
  const at = (name: string) => ({ directory: path.join(directory, name) })
  return [
    [plain, "nothing", SealogNode.layer(at("plain"))],
    ["View.make", "keyed", SealogNode.layer({ ...at("keyed"), views: [balances] })],
    ["View.perEvent", "per event", SealogNode.layer({ ...at("per-event"), views: [postings] })],
    ["Views.effect", "effect", SealogNode.layer({ ...at("effect"), views: [applied] })],
    ["5 of View.make", "five keyed", SealogNode.layer({ ...at("five"), views: five })],
    [
      "View.make, a gate on it",
      "gate",
      SealogNode.layer({ ...at("gate"), views: [balances], rules: [positive] })
    ]
  ] satisfies ReadonlyArray<readonly [string, Manner, unknown]>
}

const contestOf = Effect.fnUntraced(function* (directory: string, waiting: number, count: number) {
  const within = path.join(directory, `views-${waiting}`)
  const all = ways(within)
  const own = yield* Effect.forEach(all, ([name, , layer]) =>
    Effect.map(open(layer), (ledger) => appending(name, ledger, waiting, count))
  )
  const factOf = (n: number): byHand.Fact => ({
    seq: n + 1,
    id: rows.idOf(n),
    account: accountOf(n),
    cents: centsOf(n)
  })
  const hand = yield* Effect.forEach(all, ([, manner], nth) =>
    byHand.contestant(path.join(within, `hand-${nth}.sqlite`), manner, waiting, count * 8, factOf)
  )
  return { what: `append, ${waiting} waiting`, contestants: [...own, ...hand] } satisfies Contest
})

/** What each adds to the first, in microseconds of processor time. */
const added = (taken: ReadonlyArray<Taken>): ReadonlyArray<number> =>
  taken.map(({ cpu }) => median(cpu.map((one, round) => one - (taken[0]?.cpu[round] ?? 0))))

const linesOf = (what: string, taken: ReadonlyArray<Taken>) => {
  const [first] = taken
  if (first === undefined) return []
  const own = taken.slice(0, taken.length / 2)
  const [adds, hands] = [added(own), added(taken.slice(own.length))]
  return own.map((one, at) => {
    const [add = Number.NaN, hand = Number.NaN] = [adds[at], hands[at]]
    const more = at === 0 ? ["-", "-", "-"] : [micros(add), micros(hand), times(add / hand)]
    const line = [at === 0 ? what : "", one.name, micros(median(one.clock))]
    return [...line, ...contest.against(one, first), ...more]
  })
}

/** A ledger of so many rows with one keyed view, made anew and checked. */
const whole = Effect.fnUntraced(function* (directory: string, count: number) {
  const at = { directory: path.join(directory, "views-whole") }
  const context = yield* Layer.build(SealogNode.layer({ ...at, views: [balances] }))
  const ledger = Context.get(context, Ledger.Ledger)
  const { check, rebuild } = Context.get(context, Views.Views)
  for (let first = 0; first < count; first += groupRows) {
    yield* ledger.appendAll(drafts(first, Math.min(groupRows, count - first)))
  }
  const one = <E>(name: string, work: Effect.Effect<boolean, E>): Contestant => ({
    name,
    count,
    turn: (watch) =>
      Effect.orDie(Effect.flatMap(watch.turn(work), (holds) => sure(holds, `${name} of all rows`)))
  })
  const contestants = [
    one(
      "verify",
      Effect.map(ledger.verify(), ({ _tag }) => _tag === "Intact")
    ),
    one(
      "replay",
      Effect.map(ledger.replay, ({ parity }) => parity.sqliteEventCount === count)
    ),
    one(
      "Views.rebuild",
      Effect.map(rebuild(balances), ({ seq }) => seq === count)
    ),
    one(
      "Views.check",
      Effect.map(check(balances), (found) => found.isDerived)
    )
  ]
  return { what: "", contestants } satisfies Contest
})

const printWhole = (count: number, taken: ReadonlyArray<Taken>) => {
  const [verify, replay] = taken
  if (verify === undefined || replay === undefined) return Effect.void
  const head = [`${count} rows`, "rows/s", "times verify", "of CPU", "times replay", "of CPU"]
  const lines = taken.map((one) => [
    one.name,
    perSecond(median(one.clock)),
    ...contest.against(one, verify),
    ...contest.against(one, replay)
  ])
  return Console.log(table([head, ...lines]))
}

/** Hold the contests and print them. */
export const print = Effect.fnUntraced(function* (
  directory: string,
  { rows: count, rounds, warmUps }: Rounds & { readonly rows: number },
  wholeRows: number
) {
  const head = [
    "",
    "",
    "us each",
    `times ${plain}`,
    "of CPU",
    "adds, us of CPU",
    "by hand",
    "times"
  ]
  const lines: Array<ReadonlyArray<string>> = [head]
  for (const waiting of [1, waitingMany]) {
    const size = waiting === 1 ? count : count * 6
    const held = Effect.scoped(
      Effect.flatMap(contestOf(directory, waiting, size), (one) =>
        // Differences of two are less sure than either.
        Effect.map(contest.hold(one, { rounds: rounds * 2, warmUps }), (taken) =>
          linesOf(one.what, taken)
        )
      )
    )
    lines.push(...(yield* held))
  }
  yield* Console.log(table(lines))
  yield* Console.log("")
  const taken = yield* contest.hold(yield* whole(directory, wholeRows), { rounds: 3, warmUps: 1 })
  yield* printWhole(wholeRows, taken)
}, Effect.scoped)
