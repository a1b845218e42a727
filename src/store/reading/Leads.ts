/**
 * Internal: what a question asks of the index, and what leads it there.
 *
 * A lead is something that a question asks for and an index has in the order of the seqs: a key, a
 * session, a trace, a type, each with a few values. The rarest leads; what is left to ask is asked of
 * the rows it leads to, each looked up once.
 */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import type { Criteria } from "../../core/Filter.ts"
import * as Filter from "../../core/Filter.ts"

/** More values than this are not looked up one by one. */
const valuesMax = 32

/** Which rows, as far as the index can tell. */
export interface Question extends Criteria {
  /** Only rows that no row up to this seq names as its parent. */
  readonly leavesUpTo: number | undefined
}

/** Seqs, or places in a list: `after` is exclusive, `until` inclusive. */
export interface Range {
  readonly after: number
  readonly until: number
}

/** From which end of a range rows are looked for. */
export type End = "first" | "last"

/** Whether a question passes every row. */
export const isOpen = (question: Question): boolean =>
  question.leavesUpTo === undefined && Filter.isOpen(question)

type Fragment = ReturnType<SqlClient.SqlClient["and"]>

/** A child is later than its parent, whatever SQL holds. */
export const isLeaf = (sql: SqlClient.SqlClient, newest: number) =>
  sql`NOT EXISTS (SELECT 1 FROM sealog_index c
    WHERE c.parent_seq = i.seq AND c.seq > i.seq AND c.seq <= ${newest})`

/** What may lead: where its seqs stand, in order, for each of its values. */
export interface Lead {
  readonly of: "types" | "sessions" | "traces" | number
  readonly values: ReadonlyArray<string>
  readonly from: (value: string) => Fragment
}

const leadsOf = (
  sql: SqlClient.SqlClient,
  { keys, sessions, traces, types }: Question
): ReadonlyArray<Lead> => {
  const byColumn = (
    of: "types" | "sessions" | "traces",
    column: string,
    values: ReadonlyArray<string> | undefined
  ): ReadonlyArray<Lead> => {
    const from = (value: string) => sql`sealog_index WHERE ${sql.literal(column)} = ${value}`
    return values === undefined ? [] : [{ of, values, from }]
  }
  return [
    ...keys.map(([name, values], of): Lead => {
      const from = (value: string) => sql`sealog_keys WHERE name = ${name} AND value = ${value}`
      return { of, values, from }
    }),
    ...byColumn("sessions", "session_id", sessions),
    ...byColumn("traces", "trace_id", traces),
    ...byColumn("types", "event_type", types)
  ].filter(({ values }) => values.length <= valuesMax)
}

/** What is left to ask of a row `i` that was led to, or of any row where nothing leads. */
export const rest = (
  sql: SqlClient.SqlClient,
  question: Question,
  lead: Lead | undefined
): ReadonlyArray<Fragment> => {
  const { before, from, keys, leavesUpTo, sessions, traces, types } = question
  const isIn = (of: Lead["of"], column: string, values: ReadonlyArray<string> | undefined) =>
    values === undefined || lead?.of === of ? [] : [sql.in(column, values)]
  return [
    ...isIn("types", "i.event_type", types),
    ...isIn("sessions", "i.session_id", sessions),
    ...isIn("traces", "i.trace_id", traces),
    ...keys.flatMap(([name, values], of) =>
      lead?.of === of
        ? []
        : [
            sql`EXISTS (SELECT 1 FROM sealog_keys k
              WHERE k.name = ${name} AND ${sql.in("k.value", values)} AND k.seq = i.seq)`
          ]
    ),
    ...(from === undefined ? [] : [sql`i.observed_at >= ${from}`]),
    ...(before === undefined ? [] : [sql`i.observed_at < ${before}`]),
    ...(leavesUpTo === undefined ? [] : [isLeaf(sql, leavesUpTo)])
  ]
}

/** The first or last seqs that a lead has in a range, at most `limit`, from that end. */
export const ledTo = (
  sql: SqlClient.SqlClient,
  { from, values }: Lead,
  { after, until }: Range,
  limit: number,
  end: End
): Fragment => {
  const order = end === "first" ? sql`ORDER BY seq` : sql`ORDER BY seq DESC`
  const [first, ...others] = values.map(
    (value) => sql`SELECT seq FROM ${from(value)} AND seq > ${after} AND seq <= ${until}
      ${order} LIMIT ${limit}`
  )
  if (first === undefined) return sql`SELECT seq FROM sealog_index WHERE 1 = 0`
  if (others.length === 0) return first
  const all = others.reduce(
    (before, one) => sql`${before} UNION ALL SELECT seq FROM (${one})`,
    sql`SELECT seq FROM (${first})`
  )
  return sql`SELECT seq FROM (${all}) ${order} LIMIT ${limit}`
}

/** A question and what leads it. */
export interface Plan {
  readonly question: Question
  readonly lead: Lead | undefined
}

/** Rows up to which leads are counted to tell which is the rarest. */
const probeRows = 1_024

/** A range of no more rows is not worth a statement for each lead: any of them is as good. */
const shortRows = 256

/** Find out what leads a question best in a range. */
export const plan = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  question: Question,
  range: Range
): Effect.fn.Return<Plan, SqlError> {
  const leads = leadsOf(sql, question)
  let lead = leads[0]
  if (leads.length < 2 || range.until - range.after <= shortRows) return { question, lead }
  let fewest = Number.POSITIVE_INFINITY
  for (const one of leads) {
    const [row] = yield* sql<{ readonly size: number }>`SELECT count(*) AS size
      FROM (${ledTo(sql, one, range, probeRows, "first")}) AS led`
    const size = row?.size ?? 0
    if (size < fewest) [lead, fewest] = [one, size]
  }
  return { question, lead }
})
