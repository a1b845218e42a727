/**
 * The parent's book of one ledger: what was asked for, what was acknowledged, what was found, and
 * the checks that hold one against the other.
 *
 * An appender makes its calls one after another, so that of each at most one call, the one behind
 * the last acknowledged, may lie in the journal without an acknowledgement; whether it does is for
 * the next life to find out, which asks for it again with the same ids or passes on.
 */
import { assert } from "@effect/vitest"
import type { Draft } from "../../src/core/Draft.ts"
import type { Call } from "./calls.ts"
import { callOf, idOf, nameOf } from "./calls.ts"
import type { RawRow, Remains } from "./remains.ts"
import type { Assignment, Said } from "./talk.ts"

type Acked = Extract<Said, { readonly _tag: "Acked" }>
type Opened = Extract<Said, { readonly _tag: "Opened" }>

interface Appender {
  /** The call that it makes next. */
  next: number
  /** The last call that it may have made, -1 before the first. */
  askedTo: number
  /** What it asks for, made once. */
  readonly calls: Map<number, Call>
}

/** What the lives of a ledger came to. */
export interface Tally {
  /** Rows that were acknowledged. */
  readonly acked: number
  /** Rows that were found before anybody was told of them. */
  readonly silent: number
  /** How often a torn group was found. */
  readonly torn: number
  /** How often an operation was found that was begun and not finished. */
  readonly unfinished: number
}

const nothing: Remains = {
  rows: [],
  kept: Buffer.alloc(0),
  torn: Buffer.alloc(0),
  bytes: Buffer.alloc(0),
  cuts: [],
  unfinished: []
}

/** What a row says of the call it belongs to. */
const placeOf = (label: string, { payload: { name } }: RawRow) => {
  const [who, nth, index] = name
    .slice(label.length + 1)
    .split(".")
    .map(Number)
  assert.isTrue(name.startsWith(`${label}.`), `${name} is no row of ${label}`)
  return { who: who ?? -1, nth: nth ?? -1, index: index ?? -1 }
}

/** What a row says, as the draft that asks for it. */
const contentOf = ({ event_type, id, keys, parent_id, payload }: RawRow): Draft => ({
  type: event_type,
  id,
  payload,
  keys,
  ...(parent_id === undefined ? {} : { parentId: parent_id })
})

/** The journal goes on from where it was: whole groups stay, byte for byte, what is torn is cut. */
export const assertFollows = (before: Remains, after: Remains, label: string): void => {
  const isKept = after.bytes.subarray(0, before.kept.length).equals(before.kept)
  const isUntouched = after.bytes.equals(before.bytes)
  assert.isTrue(isKept || isUntouched, `${label}: bytes of whole groups changed`)
  if (before.torn.length === 0 || isUntouched) return
  const isCut = after.cuts.some((cut) => cut.equals(before.torn))
  assert.isTrue(isCut, `${label}: ${before.torn.length} torn bytes lie in no operation`)
}

type Place = Pick<RawRow, "seq" | "leafHash">

export class Book {
  readonly label: string
  readonly directory: string
  private readonly segmentBytesMax: number
  private readonly appenders: ReadonlyArray<Appender>
  private readonly ackedAt = new Map<string, Place>()
  private before = nothing
  private idsBefore: ReadonlyMap<string, RawRow> = new Map()
  private isOpened = false
  private readonly counts = { silent: 0, torn: 0, unfinished: 0 }

  constructor(label: string, directory: string, segmentBytesMax: number, appenders: number) {
    this.label = label
    this.directory = directory
    this.segmentBytesMax = segmentBytesMax
    this.appenders = Array.from({ length: appenders }, () => ({
      next: 0,
      askedTo: -1,
      calls: new Map<number, Call>()
    }))
  }

  /** What lay there when it was settled last. */
  get last(): Remains {
    return this.before
  }

  get tally(): Tally {
    return { acked: this.ackedAt.size, ...this.counts }
  }

  /** The orders of the next life; with `passOn`, calls that were not answered are given up. */
  assignment(calls: number, passOn: boolean): Assignment {
    const { appenders, directory, label, segmentBytesMax } = this
    // The call may have been written for all anybody knows: it is never made anew.
    if (passOn) for (const one of appenders) one.next = Math.max(one.next, one.askedTo + 1)
    return { label, directory, segmentBytesMax, from: appenders.map(({ next }) => next), calls }
  }

  hear(said: Said): void {
    if (said._tag === "Opened") this.opened(said)
    if (said._tag === "Acked") this.acked(said)
    if (said._tag === "Failed") assert.fail(`${this.label}: ${said.tag}: ${said.message}`)
  }

  /** Hold what lies in the directory against all that was heard; the next life begins here. */
  settle(remains: Remains): void {
    const { before, counts, label } = this
    assertFollows(before, remains, label)
    for (const [id, { leafHash, seq }] of this.ackedAt) {
      const row = remains.rows[seq - 1]
      assert.deepStrictEqual([row?.id, row?.leafHash], [id, leafHash], `row ${seq} of ${label}`)
    }
    const byId = new Map(remains.rows.map((row) => [row.id, row]))
    assert.strictEqual(byId.size, remains.rows.length, `${label}: an id is there twice`)
    this.checkRows(remains.rows)
    if (!this.isOpened) assert.strictEqual(remains.rows.length, before.rows.length, label)
    const found = remains.rows.slice(before.rows.length)
    counts.silent += found.filter(({ id }) => !this.ackedAt.has(id)).length
    if (remains.torn.length > 0) counts.torn++
    if (remains.unfinished.length > 0) counts.unfinished++
    this.before = remains
    this.idsBefore = byId
    this.isOpened = false
  }

  private opened({ leafHash, seq }: Opened): void {
    const { before, label } = this
    this.isOpened = true
    assert.strictEqual(seq, before.rows.length, `${label} opened with other rows than lie there`)
    if (seq > 0) assert.strictEqual(leafHash, before.rows.at(-1)?.leafHash, label)
    for (const one of this.appenders) one.askedTo = Math.max(one.askedTo, one.next)
  }

  private acked({ appender, nth, receipts }: Acked): void {
    const one = this.appender(appender)
    assert.isTrue(this.isOpened, `${this.label}: an answer before it was open`)
    assert.strictEqual(nth, one.next, `${this.label}: the call of appender ${appender}`)
    assert.strictEqual(receipts.length, this.call(appender, nth).drafts.length)
    const [[, , first] = ["", "", 0]] = receipts
    for (const [index, [tag, id, seq, leafHash]] of receipts.entries()) {
      const name = nameOf(this.label, appender, nth, index)
      assert.strictEqual(id, idOf(name), name)
      assert.strictEqual(seq, first + index, `${name} lies apart from its group`)
      const there = this.idsBefore.get(id)
      const expected = there === undefined ? "Appended" : "AlreadyAppended"
      assert.strictEqual(tag, expected, `${name}, asked again`)
      if (there !== undefined) assert.strictEqual(seq, there.seq, name)
      this.ackedAt.set(id, { seq, leafHash })
    }
    one.next = nth + 1
    one.askedTo = Math.max(one.askedTo, one.next)
  }

  /** Each row is one that was asked for, with its content; calls are whole, and in their order. */
  private checkRows(rows: ReadonlyArray<RawRow>): void {
    const reached = this.appenders.map(() => -1)
    let at = 0
    for (let first = rows[at]; first !== undefined; first = rows[at]) {
      const { who, nth } = placeOf(this.label, first)
      assert.isAtMost(nth, this.appender(who).askedTo, `${first.payload.name} was never asked for`)
      assert.isAbove(nth, reached[who] ?? -1, `${first.payload.name} comes late, or twice`)
      reached[who] = nth
      const { drafts } = this.call(who, nth)
      for (const [index, draft] of drafts.entries()) {
        const row = rows[at + index]
        const name = nameOf(this.label, who, nth, index)
        assert.isDefined(row, `${name} is missing from its group`)
        assert.strictEqual(row.segment, first.segment, `${name} lies in another segment`)
        assert.deepEqual(contentOf(row), draft, name)
      }
      at += drafts.length
    }
  }

  private appender(who: number): Appender {
    const found = this.appenders[who]
    if (found === undefined) throw new Error(`${this.label} has no appender ${who}`)
    return found
  }

  private call(who: number, nth: number): Call {
    const { calls } = this.appender(who)
    const found = calls.get(nth) ?? callOf(this.label, who, nth)
    calls.set(nth, found)
    return found
  }
}
