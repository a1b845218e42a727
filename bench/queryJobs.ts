/**
 * Pages of a filter, each against the same question as SQL on the mirror's own tables and one bare
 * read of each line; and against that with each line hashed, checked and decoded, as a reader owes it.
 *
 * Each turn asks the same question of several values all over the ledger, of `rows.asked`.
 */
import { Effect, Result, Stream } from "effect"
import * as Row from "../src/core/Row.ts"
import type { Reader } from "../src/index.ts"
import { FastHashes } from "../src/platform/index.ts"
import type { BareReader } from "./bare.ts"
import * as rows from "./rows.ts"
import type { Asked } from "./turns.ts"
import { inTurns } from "./turns.ts"

/** Queries of a turn. */
const asks = 50

/** Rows of a page. */
export const pageRows = 100

/** The nth question about a ledger of so many rows, in both languages. */
interface Question {
  readonly query: (nth: number, size: number) => Reader.Query
  readonly sql: string
  readonly params: (nth: number, size: number) => ReadonlyArray<string | number>
}

const columns =
  "i.seq, i.parent_seq AS parent, i.segment, i.byte_offset AS offset, " +
  "i.byte_length AS length, i.leaf_hash AS leafHash"
const index = `SELECT ${columns} FROM sealog_index i`
const keys = `SELECT ${columns} FROM sealog_keys k JOIN sealog_index i ON i.seq = k.seq
  WHERE k.name = '${rows.keyName}' AND k.value = ?`
const page = `ORDER BY i.seq LIMIT ${pageRows}`
const keyPage = `ORDER BY k.seq LIMIT ${pageRows}`
const limit = pageRows

/** Rows from 0 all over a ledger. */
const scattered = (nth: number, size: number): number => (nth * 7_919_993) % size

const questions = {
  type: {
    query: (nth) => ({ types: [rows.typeOf(nth)], limit }),
    sql: `${index} WHERE i.event_type = ? ${page}`,
    params: (nth) => [rows.typeOf(nth)]
  },
  key: {
    query: (nth) => ({ keys: { [rows.keyName]: rows.keyOf(nth) }, limit }),
    sql: `${keys} ${keyPage}`,
    params: (nth) => [rows.keyOf(nth)]
  },
  session: {
    query: (nth, size) => ({ sessionId: rows.sessionOf(scattered(nth, size)), limit }),
    sql: `${index} WHERE i.session_id = ? ${page}`,
    params: (nth, size) => [rows.sessionOf(scattered(nth, size))]
  },
  trace: {
    query: (nth, size) => ({ traceId: rows.traceOf(scattered(nth, size)), limit }),
    sql: `${index} WHERE i.trace_id = ? ${page}`,
    params: (nth, size) => [rows.traceOf(scattered(nth, size))]
  },
  time: {
    query: (nth, size) => {
      const from = scattered(nth, size)
      const to = from + 10 * pageRows
      return { observedFrom: rows.timeOf(from), observedBefore: rows.timeOf(to), limit }
    },
    sql: `${index} WHERE i.seq > (SELECT min(block) * 1024 FROM sealog_times WHERE last >= ?1)
      AND i.observed_at >= ?1 AND i.observed_at < ?2 ${page}`,
    params: (nth, size) => {
      const from = scattered(nth, size)
      return [from, from + 10 * pageRows].map((n) => rows.timeOf(n).slice(0, -1))
    }
  },
  typeAndKey: {
    query: (nth) => ({
      types: [rows.typeOf(nth)],
      keys: { [rows.keyName]: rows.keyOf(nth) },
      limit
    }),
    sql: `${keys} AND i.event_type = ? ${keyPage}`,
    params: (nth) => [rows.keyOf(nth), rows.typeOf(nth)]
  },
  newest: {
    query: () => ({ last: limit }),
    sql: `${index} ORDER BY i.seq DESC LIMIT ${pageRows}`,
    params: () => []
  },
  newestOfKey: {
    query: (nth) => ({ keys: { [rows.keyName]: rows.keyOf(nth) }, last: limit }),
    sql: `${keys} ORDER BY k.seq DESC LIMIT ${pageRows}`,
    params: (nth) => [rows.keyOf(nth)]
  }
} as const satisfies Record<string, Question>

const everyAsk = Array.from({ length: asks }, (_, nth) => nth)

const job = (question: Question) => (directory: string) =>
  Effect.flatMap(FastHashes.make, (hashes) => {
    const byHand = ({ byHand: hand, rows: size }: Asked, nth: number) =>
      hand.page(question.sql, question.params(nth, size))
    const check = ({ line, row }: ReturnType<BareReader["page"]>[number]): number => {
      if (Row.leafHash(line, hashes) !== row.leafHash) throw new Error(`row ${row.seq} is damaged`)
      return Result.getOrThrow(Row.decode(line, row.seq, "segments", hashes)).event.id.length
    }
    return inTurns(
      directory,
      ({ reader, rows: size }) =>
        Effect.map(
          Effect.forEach(everyAsk, (nth) =>
            Stream.runCollect(reader.events(question.query(nth, size)))
          ),
          (pages) => pages.flat().length
        ),
      (asked) => everyAsk.flatMap((nth) => byHand(asked, nth)).length,
      (asked) => everyAsk.flatMap((nth) => byHand(asked, nth).map(check)).length
    )
  })

const head = (directory: string) =>
  inTurns(
    directory,
    ({ reader }) =>
      Effect.map(
        Effect.forEach(everyAsk, () => reader.head),
        (heads) => heads.length
      ),
    ({ byHand }) => everyAsk.map(() => byHand.head()).length
  )

/** By name, as `readingJobs` runs them. */
export const jobs = {
  byType: job(questions.type),
  byKey: job(questions.key),
  bySession: job(questions.session),
  byTrace: job(questions.trace),
  byTime: job(questions.time),
  byTypeAndKey: job(questions.typeAndKey),
  newest: job(questions.newest),
  newestOfKey: job(questions.newestOfKey),
  head
}
