/**
 * Views as one would write them by hand: prepared statements on one connection, in the transaction of
 * the group, on tables like those that sealog makes. The facts are there as values: nothing is parsed
 * or checked. What a view costs is the difference to a database that takes the same groups without.
 */
import { Effect } from "effect"
import { DatabaseSync } from "node:sqlite"
import type { Contestant } from "./contest.ts"

/** What a row of the log says, as a view needs it. */
export interface Fact {
  readonly seq: number
  readonly id: string
  readonly account: string
  readonly cents: number
}

/** What a database does besides taking in the rows. */
export type Manner = "nothing" | "keyed" | "five keyed" | "per event" | "effect" | "gate"

const places = (rows: number, one: string) => Array.from({ length: rows }, () => one).join(", ")

const upsert =
  "ON CONFLICT (account) DO UPDATE SET seq = excluded.seq, event_id = excluded.event_id, cents = "

class ByHand {
  readonly #db: DatabaseSync
  readonly #statements = new Map<string, ReturnType<DatabaseSync["prepare"]>>()

  constructor(filename: string) {
    this.#db = new DatabaseSync(filename)
    this.#db.exec(
      "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;" +
        "CREATE TABLE events (id TEXT PRIMARY KEY);" +
        "CREATE TABLE postings (seq INTEGER NOT NULL, event_id TEXT NOT NULL REFERENCES events (id)," +
        " nth INTEGER NOT NULL, account TEXT NOT NULL, cents INTEGER NOT NULL," +
        " PRIMARY KEY (seq, nth)) STRICT;"
    )
    for (let nth = 0; nth < 5; nth++) {
      this.#db.exec(
        `CREATE TABLE balances_${nth} (seq INTEGER NOT NULL, event_id TEXT NOT NULL` +
          " REFERENCES events (id), account TEXT NOT NULL, cents INTEGER NOT NULL," +
          " PRIMARY KEY (account)) STRICT"
      )
    }
  }

  close(): void {
    this.#db.close()
  }

  #prepared(text: string) {
    const found = this.#statements.get(text)
    if (found !== undefined) return found
    const made = this.#db.prepare(text)
    this.#statements.set(text, made)
    return made
  }

  #events(facts: ReadonlyArray<Fact>): void {
    const text = `INSERT INTO events (id) VALUES ${places(facts.length, "(?)")}`
    this.#prepared(text).run(...facts.map(({ id }) => id))
  }

  /** Load the rows of all keys, fold, write each row once. */
  #keyed(table: string, facts: ReadonlyArray<Fact>): void {
    const rows = new Map<string, Fact>()
    const accounts = [...new Set(facts.map(({ account }) => account))]
    const load = `SELECT account, cents FROM ${table} WHERE account IN (${places(accounts.length, "?")})`
    const before = new Map<unknown, number>()
    for (const row of this.#prepared(load).all(...accounts)) {
      before.set(row["account"], Number(row["cents"]))
    }
    for (const fact of facts) {
      const cents = rows.get(fact.account)?.cents ?? before.get(fact.account) ?? 0
      rows.set(fact.account, { ...fact, cents: cents + fact.cents })
    }
    const write =
      `INSERT INTO ${table} (seq, event_id, account, cents) VALUES ` +
      `${places(rows.size, "(?, ?, ?, ?)")} ${upsert} excluded.cents`
    const values = Array.from(rows.values(), ({ account, cents, id, seq }) => [
      seq,
      id,
      account,
      cents
    ])
    this.#prepared(write).run(...values.flat())
  }

  #perEvent(facts: ReadonlyArray<Fact>): void {
    const write =
      "INSERT INTO postings (seq, event_id, nth, account, cents) VALUES " +
      places(facts.length, "(?, ?, ?, ?, ?)")
    this.#prepared(write).run(
      ...facts.flatMap(({ account, cents, id, seq }) => [seq, id, 0, account, cents])
    )
  }

  #effect(facts: ReadonlyArray<Fact>): void {
    const write =
      "INSERT INTO balances_0 AS b (seq, event_id, account, cents) VALUES (?, ?, ?, ?) " +
      `${upsert} b.cents + excluded.cents`
    for (const { account, cents, id, seq } of facts) {
      this.#prepared(write).run(seq, id, account, cents)
    }
  }

  #gate(facts: ReadonlyArray<Fact>): void {
    for (const fact of facts) {
      this.#prepared("SELECT cents FROM balances_0 WHERE account = ?").all(fact.account)
      this.#events([fact])
      this.#keyed("balances_0", [fact])
    }
  }

  /** Take in a group, in one transaction. */
  take(manner: Manner, facts: ReadonlyArray<Fact>): void {
    this.#db.exec("BEGIN IMMEDIATE")
    if (manner === "gate") this.#gate(facts)
    else this.#events(facts)
    if (manner === "keyed") this.#keyed("balances_0", facts)
    if (manner === "five keyed") {
      for (let nth = 0; nth < 5; nth++) this.#keyed(`balances_${nth}`, facts)
    }
    if (manner === "per event") this.#perEvent(facts)
    if (manner === "effect") this.#effect(facts)
    this.#db.exec("COMMIT")
  }
}

/** Takes in facts, so many in each transaction. */
export const contestant = Effect.fnUntraced(function* (
  filename: string,
  manner: Manner,
  together: number,
  count: number,
  factOf: (n: number) => Fact
) {
  const hand = yield* Effect.acquireRelease(
    Effect.sync(() => new ByHand(filename)),
    (one) => Effect.sync(() => one.close())
  )
  let first = 0
  const turn: Contestant["turn"] = (watch) =>
    Effect.suspend(() => {
      const groups = Array.from({ length: count / together }, (_, group) =>
        Array.from({ length: together }, (_, nth) => factOf(first + group * together + nth))
      )
      first += count
      return watch.turn(
        Effect.sync(() => {
          for (const facts of groups) hand.take(manner, facts)
        })
      )
    })
  return { name: manner, count, turn } satisfies Contestant
})
