import { assert, describe, it } from "@effect/vitest"
import { Arbitrary } from "effect"
import * as Chain from "../../src/core/Chain.ts"
import * as Hashes from "../../src/core/Hashes.ts"
import * as Recovery from "../../src/core/Recovery.ts"
import * as Row from "../../src/core/Row.ts"
import * as Segment from "../../src/core/Segment.ts"
import type { Ledger } from "./history.ts"
import { concat, headAfter, ledgerOf, lineBytesMax, natural, splice, utf8 } from "./history.ts"

interface Part {
  readonly bytes: Uint8Array
  readonly path?: string
  readonly offset?: number
}

/** The decision about these files, each from `offset` on. */
const plan = (
  parts: ReadonlyArray<Part>,
  head = Chain.start,
  format: Row.Format = "segments",
  bytesMax = lineBytesMax
): Recovery.Plan | Recovery.Damage => {
  const scan = new Recovery.TailScan(head, format)
  for (const { bytes, path = "a", offset = 0 } of parts) {
    const splitter = new Segment.LineSplitter(path, bytesMax, offset)
    for (const line of splitter.push(bytes.subarray(offset))) scan.push(line)
    const rest = splitter.end()
    if (rest !== undefined) scan.push(rest)
  }
  return scan.plan()
}

const one = (type: string) => ({ type, payload: { door: "north" } })

/** Groups of these sizes, of rows that differ. */
const groupsOf = (sizes: ReadonlyArray<number>, type = "a.v1") =>
  sizes.map((size, nth) => Array.from({ length: size }, (_, i) => one(nth + i > 9 ? "b.v1" : type)))

const cortexOf = (sizes: ReadonlyArray<number>): Ledger =>
  ledgerOf(groupsOf(sizes, "cortex.event.outcome.v1"), { format: "cortex" })

/** The last group's range, the one before it, and the heads around them. */
const ends = (ledger: Ledger) => {
  const last = ledger.groups.at(-1)
  const before = ledger.groups.at(-2)
  if (last === undefined || before === undefined) throw new Error("fewer than two groups")
  const { byteLength } = ledger.bytes
  return { start: last.offset, end: byteLength, head: last.before, previous: before.offset }
}

const range = (offset: number, length: number, path = "a") => ({ path, offset, length })

const kept = (head: Chain.Head, rewrite: Recovery.Range | undefined): Recovery.Plan => ({
  _tag: "Plan",
  head,
  rewrite,
  lineIncomplete: false,
  cut: undefined
})

const assertDamage = (
  decision: Recovery.Plan | Recovery.Damage,
  wanted: Partial<Recovery.Damage>,
  why?: string
): void => {
  assert.deepInclude(decision, { _tag: "Damage", ...wanted }, why)
}

/** A row that begins a group of its own on top of `head`. */
const rowOn = (head: Chain.Head, batch?: readonly [number, number]): Uint8Array => {
  const [row] = ledgerOf([[one("later.v1")]]).rows
  if (row === undefined) throw new Error("no row")
  const sealed = { ...row.event, ...sealOn(head, row.event.payloadHash) }
  return Row.encodeLine(sealed, { prevLineHash: head.leafHash, batch, crc32c: true })
}

const sealOn = (head: Chain.Head, payloadHash: string) => ({
  payloadHash,
  prevEventHash: head.eventHash,
  eventHash: Hashes.eventHash(Hashes.noble, head.eventHash, payloadHash)
})

const sizes = Arbitrary.map(Arbitrary.array(natural(3), { minLength: 2, maxLength: 4 }), (sizes) =>
  sizes.map((size) => size + 1)
)

describe("Recovery", () => {
  it("of nothing there is nothing to do", () => {
    assert.deepStrictEqual(plan([]), kept(Chain.start, undefined))
    assert.deepStrictEqual(plan([{ bytes: new Uint8Array() }]), kept(Chain.start, undefined))
  })

  it.prop("whole groups are kept, and the last of them is written again", [sizes], ([sizes]) => {
    const ledger = ledgerOf(groupsOf(sizes))
    const { start, end, head, previous } = ends(ledger)
    const last = range(start, end - start)
    assert.deepStrictEqual(plan([ledger]), kept(ledger.head, last))
    // From any floor: what lies before it is not looked at.
    const floor = { bytes: ledger.bytes, offset: start }
    assert.deepStrictEqual(plan([floor], head), kept(ledger.head, last))
    assert.deepStrictEqual(
      plan([{ ...floor, offset: end }], ledger.head),
      kept(ledger.head, undefined)
    )
    const first = { bytes: ledger.bytes.subarray(0, start) }
    const second = { bytes: ledger.bytes.subarray(start), path: "b" }
    const inSecond = range(0, end - start, "b")
    assert.deepStrictEqual(plan([first, second]), kept(ledger.head, inSecond))
    assert.deepStrictEqual(plan([first]), kept(head, range(previous, start - previous)))
  })

  for (const size of [1, 2, 3, 4]) {
    it(`a last group of ${size} that is cut at any byte is cut off, and nothing else is`, () => {
      const ledger = ledgerOf(groupsOf([2, size]))
      const { start, end, head, previous } = ends(ledger)
      const before = range(previous, start - previous)
      for (let at = start; at <= end; at++) {
        const decision = plan([{ bytes: ledger.bytes.subarray(0, at) }])
        const wanted: Recovery.Plan =
          at === start
            ? kept(head, before)
            : at < end - 1
              ? { ...kept(head, before), cut: range(start, at - start) }
              : {
                  ...kept(ledger.head, range(start, at - start)),
                  lineIncomplete: at === end - 1
                }
        assert.deepStrictEqual(decision, wanted, `at ${at}`)
      }
    })

    it(`a last group of ${size} with blocks never written is cut off`, () => {
      const ledger = ledgerOf(groupsOf([1, size]))
      const { start, end, head, previous } = ends(ledger)
      const wanted = {
        ...kept(head, range(previous, start - previous)),
        cut: range(start, end - start)
      }
      const zeroed = (isWritten: (block: number) => boolean) => {
        const bytes = ledger.bytes.slice()
        for (let at = start; at < end; at++) if (!isWritten(Math.floor(at / 16))) bytes[at] = 0
        return plan([{ bytes }])
      }
      const [from, to] = [Math.floor(start / 16), Math.floor((end - 1) / 16)]
      for (let block = from; block <= to; block++) {
        assert.deepStrictEqual(
          zeroed((b) => b !== block),
          wanted,
          `only ${block}`
        )
        assert.deepStrictEqual(
          zeroed((b) => b < block),
          wanted,
          `from ${block} on`
        )
        assert.deepStrictEqual(
          zeroed((b) => b > block),
          wanted,
          `up to ${block}`
        )
      }
      // Every pattern of the rows' ends, where lines join: the sixteen blocks around each LF.
      for (let pattern = 1; pattern < 64; pattern++) {
        assert.deepStrictEqual(
          zeroed((b) => ((pattern >> ((to - b) % 6)) & 1) === 0),
          wanted
        )
      }
    })
  }

  it.prop(
    "a last group with any of its blocks never written is cut off",
    [sizes, Arbitrary.array(natural(1), { minLength: 60, maxLength: 60 }), natural(200)],
    ([sizes, pattern, sure]) => {
      const ledger = ledgerOf(groupsOf(sizes))
      const { start, end, head, previous } = ends(ledger)
      const bytes = ledger.bytes.slice()
      const blocks = Math.ceil((end - start) / 16)
      for (let block = 0; block < blocks; block++) {
        const isWritten = pattern[block % pattern.length] === 1 && block !== sure % blocks
        if (!isWritten) bytes.fill(0, start + 16 * block, Math.min(end, start + 16 * block + 16))
      }
      assert.deepStrictEqual(plan([{ bytes }]), {
        ...kept(head, range(previous, start - previous)),
        cut: range(start, end - start)
      })
    }
  )

  it("zeros behind the last group are cut off, in both formats", () => {
    for (const [ledger, format] of [
      [ledgerOf(groupsOf([2, 3])), "segments"],
      [cortexOf([2, 3]), "cortex"]
    ] as const) {
      const last = format === "segments" ? ends(ledger).start : (ledger.rows.at(-1)?.offset ?? 0)
      const size = ledger.bytes.byteLength
      for (const zeros of [1, 15, 4096]) {
        const bytes = concat([ledger.bytes, new Uint8Array(zeros)])
        const wanted = { ...kept(ledger.head, range(last, size - last)), cut: range(size, zeros) }
        assert.deepStrictEqual(plan([{ bytes }], Chain.start, format), wanted)
        // With an LF among them, as a line that was begun.
        bytes[size + zeros - 1] = 0x0a
        if (zeros > 1) assert.deepStrictEqual(plan([{ bytes }], Chain.start, format), wanted)
      }
    }
  })

  it.prop(
    "a changed byte in a whole line is damage, at that line; at the very end it is a torn tail",
    [sizes, natural(1e6), natural(253)],
    ([sizes, place, more]) => {
      const ledger = ledgerOf(groupsOf(sizes))
      const { end } = ends(ledger)
      const at = place % end
      const old = ledger.bytes[at] ?? 0
      // Any other value but NUL.
      const byte = 1 + ((old + more) % 255)
      const bytes = splice(ledger.bytes, at, at + 1, byte)
      const row = ledger.rows.findLast(({ offset }) => offset <= at)
      const group = ledger.groups.findLast(({ offset }) => offset <= at)
      assert.isDefined(row)
      assert.isDefined(group)
      const decision = plan([{ bytes }])
      if (at === end - 1) {
        const cut = range(group.offset, end - group.offset)
        assert.deepInclude(decision, { _tag: "Plan", head: group.before, cut })
        return
      }
      const isLast = group === ledger.groups.at(-1)
      const isJoined = at === row.offset + row.length
      const place2 = { path: "a", offset: row.offset, line: row.seq, seq: row.seq }
      // An LF that is gone may swallow the row that would have begun the next group.
      const next = ledger.groups.filter(({ offset }) => offset > row.offset + row.length + 1)
      assertDamage(decision, { ...place2, follows: isJoined ? next.length > 0 : !isLast })
    },
    { arbitrary: { runs: 300 } }
  )

  it("NUL bytes below a later group are damage, in both formats", () => {
    for (const [ledger, format] of [
      [ledgerOf(groupsOf([1, 2, 1])), "segments"],
      [cortexOf([1, 2, 1]), "cortex"]
    ] as const) {
      const row = ledger.rows[1]
      assert.isDefined(row)
      const bytes = ledger.bytes.slice().fill(0, row.offset + 40, row.offset + 56)
      const wanted = { offset: row.offset, line: 2, seq: 2, follows: true }
      assertDamage(plan([{ bytes }], Chain.start, format), wanted)
    }
  })

  it("an incomplete group before a later one is damage, with or without the last LF", () => {
    for (const present of [1, 2]) {
      const ledger = ledgerOf(groupsOf([1, 3]))
      const rows = ledger.rows.slice(0, 1 + present)
      const last = rows.at(-1)
      assert.isDefined(last)
      const end = last.offset + last.length + 1
      const whole = ledger.bytes.subarray(0, end)
      const later = rowOn(headAfter(last))
      const wanted = { offset: end, line: 2 + present, seq: 2 + present }
      assertDamage(plan([{ bytes: concat([whole, later]) }]), wanted)
      assertDamage(plan([{ bytes: concat([whole, later.subarray(0, -1)]) }]), wanted)
      assertDamage(plan([{ bytes: concat([whole, rowOn(headAfter(last), [0, 2])]) }]), wanted)
      // What may be the rest of the group's own next row is a torn tail.
      const torn = plan([{ bytes: concat([whole, later.subarray(0, 100)]) }])
      const { start } = ends(ledger)
      assert.deepInclude(torn, { _tag: "Plan", cut: range(start, end + 100 - start) })
    }
  })

  it("a row of the group that stands at another index, or says another size, is damage", () => {
    const ledger = ledgerOf(groupsOf([1, 3]))
    const [first, second] = ledger.rows
    assert.isDefined(first)
    assert.isDefined(second)
    for (const batch of [
      [0, 3],
      [2, 3],
      [1, 2],
      [1, 4]
    ] as const) {
      const end = second.offset + second.length + 1
      const bytes = concat([ledger.bytes.subarray(0, end), rowOn(headAfter(second), batch)])
      assertDamage(plan([{ bytes }]), { offset: end, seq: 3, follows: false })
    }
    const end = first.offset + first.length + 1
    const bytes = concat([ledger.bytes.subarray(0, end), rowOn(headAfter(first), [1, 2])])
    assertDamage(plan([{ bytes }]), { offset: end, seq: 2 })
  })

  it("a group in two files is damage, and so is an incomplete one before another file", () => {
    const ledger = ledgerOf(groupsOf([1, 3]))
    const split = ledger.rows[2]?.offset ?? 0
    const first = { bytes: ledger.bytes.subarray(0, split) }
    const whole = { bytes: ledger.bytes.subarray(split), path: "b" }
    for (const at of [
      ledger.bytes.byteLength,
      ledger.bytes.byteLength - 1,
      split + 100,
      split + 1
    ]) {
      const second = { ...whole, bytes: ledger.bytes.subarray(split, at) }
      assertDamage(plan([first, second]), { path: "b", offset: 0, line: 1, seq: 3 }, `${at}`)
    }
    const zeros = { path: "b", bytes: new Uint8Array(50) }
    assertDamage(plan([first, zeros]), { path: "b", offset: 0 })
    // Torn in its own file, but another one follows.
    const torn = { bytes: ledger.bytes.subarray(0, split - 5) }
    assertDamage(plan([torn, whole]), { path: "a", follows: true })
    // An empty file has no lines: whoever opens sees that the cut is not in the last one.
    const { start } = ends(ledger)
    const empty = { path: "b", bytes: new Uint8Array() }
    assert.deepInclude(plan([first, empty]), { _tag: "Plan", cut: range(start, split - start) })
  })

  it("a whole row that does not link, or whose hashes are wrong, is damage, LF or not", () => {
    const ledger = ledgerOf(groupsOf([1, 1, 1]))
    const [, second, third] = ledger.rows
    assert.isDefined(second)
    assert.isDefined(third)
    const gone = concat([
      ledger.bytes.subarray(0, second.offset),
      ledger.bytes.subarray(third.offset)
    ])
    const head = ledger.groups[2]?.before ?? Chain.start
    const forged = (changes: object) =>
      concat([
        ledger.bytes.subarray(0, third.offset),
        Row.encodeLine(
          { ...third.event, ...changes },
          { prevLineHash: head.leafHash, crc32c: true }
        )
      ])
    for (const [bytes, seq] of [
      [gone, 2],
      [forged({ eventHash: "0".repeat(64) }), 3],
      [forged({ payloadHash: "0".repeat(64) }), 3],
      [forged({ prevEventHash: "0".repeat(64) }), 3]
    ] as const) {
      assertDamage(plan([{ bytes }]), { seq, follows: false })
      assertDamage(plan([{ bytes: bytes.subarray(0, -1) }]), { seq, follows: false })
    }
    assertDamage(plan([ledger], { ...Chain.start, leafHash: "f".repeat(64) }), {
      seq: 1,
      follows: true
    })
  })

  it("a blank line in a segment is damage", () => {
    const ledger = ledgerOf(groupsOf([1, 2]))
    const size = ledger.bytes.byteLength
    assertDamage(plan([{ bytes: concat([ledger.bytes, utf8.encode("\n")]) }]), {
      offset: size,
      line: 4,
      reason: "a blank line"
    })
    assertDamage(plan([{ bytes: concat([utf8.encode("\n"), ledger.bytes]) }]), {
      offset: 0,
      follows: true
    })
  })

  it("an over-long line is never passed over: whole it is damage, without LF a torn tail", () => {
    for (const format of ["segments", "cortex"] as const) {
      const ledger = format === "segments" ? ledgerOf(groupsOf([1, 1])) : cortexOf([1, 1])
      const size = ledger.bytes.byteLength
      for (const filler of ["x", " ", "{"]) {
        const long = utf8.encode(filler.repeat(5_000))
        const whole = concat([ledger.bytes, long, utf8.encode("\n")])
        const bytesMax = 2_000
        assertDamage(plan([{ bytes: whole }], Chain.start, format, bytesMax), {
          offset: size,
          line: 3
        })
        const bytes = whole.subarray(0, -1)
        const decision = plan([{ bytes }], Chain.start, format, bytesMax)
        assert.deepInclude(decision, { _tag: "Plan", cut: range(size, 5_000) })
      }
    }
  })

  it("in Cortex mode a last row that is cut at any byte is cut off, and no other", () => {
    const ledger = cortexOf([2, 2])
    const last = ledger.rows.at(-1)
    const before = ledger.rows.at(-2)
    assert.isDefined(last)
    assert.isDefined(before)
    const head = headAfter(before)
    const rewrite = range(before.offset, before.length + 1)
    for (let at = last.offset; at <= ledger.bytes.byteLength; at++) {
      const length = at - last.offset
      const wanted: Recovery.Plan =
        length === 0
          ? kept(head, rewrite)
          : length < last.length
            ? { ...kept(head, rewrite), cut: range(last.offset, length) }
            : {
                ...kept(ledger.head, range(last.offset, length)),
                lineIncomplete: length === last.length
              }
      const part = { bytes: ledger.bytes.subarray(0, at) }
      assert.deepStrictEqual(plan([part], Chain.start, "cortex"), wanted, `at ${at}`)
    }
  })

  it("in Cortex mode every whole row counts, also of rows that were written together", () => {
    const ledger = cortexOf([1, 4])
    const [, second, third] = ledger.rows
    assert.isDefined(second)
    assert.isDefined(third)
    const bytes = ledger.bytes.subarray(0, third.offset + 40)
    assert.deepStrictEqual(plan([{ bytes }], Chain.start, "cortex"), {
      ...kept(headAfter(second), range(second.offset, second.length + 1)),
      cut: range(third.offset, 40)
    })
  })

  it("in Cortex mode blocks never written in the last row are cut off", () => {
    const ledger = cortexOf([1, 1])
    const { start, end, head } = ends(ledger)
    for (let block = start; block < end; block += 16) {
      const bytes = ledger.bytes.slice().fill(0, block, Math.min(end, block + 16))
      assert.deepStrictEqual(plan([{ bytes }], Chain.start, "cortex"), {
        ...kept(head, range(0, start)),
        cut: range(start, end - start)
      })
    }
  })

  it("in Cortex mode blank lines are passed over, and damage behind them is none the less", () => {
    const ledger = cortexOf([1, 1])
    const { start } = ends(ledger)
    const blank = utf8.encode(" \r\n\n\u2028\n")
    const [first, second] = [ledger.bytes.subarray(0, start), ledger.bytes.subarray(start)]
    const bytes = concat([blank, first, blank, second, blank])
    const offset = 2 * blank.byteLength + first.byteLength
    const wanted = kept(ledger.head, range(offset, second.byteLength))
    assert.deepStrictEqual(plan([{ bytes }], Chain.start, "cortex"), wanted)
    const swapped = concat([blank, second, blank, first])
    const decision = plan([{ bytes: swapped }], Chain.start, "cortex")
    assertDamage(decision, { offset: blank.byteLength, line: 4, seq: 1, follows: true })
  })

  it("in Cortex mode white space at the end gets its LF, so that no row is glued to it", () => {
    const ledger = cortexOf([1, 1])
    const { start, end } = ends(ledger)
    for (const blank of [" ", "\r", " \t\u3000"]) {
      const bytes = concat([ledger.bytes, utf8.encode(blank)])
      const wanted = kept(ledger.head, range(start, bytes.byteLength - start))
      const decision = plan([{ bytes }], Chain.start, "cortex")
      assert.deepStrictEqual(decision, { ...wanted, lineIncomplete: true })
      const alone = plan([{ bytes, offset: end }], ledger.head, "cortex")
      const rewrite = range(end, bytes.byteLength - end)
      assert.deepStrictEqual(alone, { ...kept(ledger.head, rewrite), lineIncomplete: true })
    }
  })

  it("push answers the events of sound rows, up to the first that is none", () => {
    const ledger = ledgerOf(groupsOf([1, 2]))
    const scan = new Recovery.TailScan(Chain.start, "segments")
    const row = ledger.rows[1]
    assert.isDefined(row)
    const bytes = splice(ledger.bytes, row.offset + 3, row.offset + 4, 0x58)
    const seen = Segment.lines("a", bytes, lineBytesMax).map((line) => scan.push(line)?.id)
    assert.deepStrictEqual(seen, [ledger.rows[0]?.event.id, undefined, undefined])
  })
})
