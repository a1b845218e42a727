/** Ends of journals in any state: opening keeps, cuts or refuses, and verification agrees with it. */
import { assert, describe } from "@effect/vitest"
import { Result } from "effect"
import * as Json from "../../src/cli/json.ts"
import * as Chain from "../../src/core/Chain.ts"
import * as Draft from "../../src/core/Draft.ts"
import { idFrom } from "../../src/core/Event.ts"
import * as Recovery from "../../src/core/Recovery.ts"
import type { Format } from "../../src/core/Row.ts"
import * as Row from "../../src/core/Row.ts"
import * as Seal from "../../src/core/Seal.ts"
import * as Segment from "../../src/core/Segment.ts"
import type { Ledger } from "../core/history.ts"
import { concat, ledgerOf, now, utf8 } from "../core/history.ts"
import { fuzz, showBytes } from "./choices.ts"
import type { Choices } from "./choices.ts"
import { goldenFiles, mutated } from "./mutations.ts"

const drafts = (size: number, name: string): ReadonlyArray<Draft.Draft> =>
  Array.from({ length: size }, (_, nth) => ({
    type: "cortex.event.outcome.v1",
    payload: `${name} ${nth}`
  }))

const groups = [1, 3, 2, 1, 4, 1].map((size, nth) => drafts(size, `group ${nth}`))
const others = [2, 1, 3].map((size, nth) => drafts(size, `other ${nth}`))

const ledgers: { readonly [F in Format]: ReadonlyArray<Ledger> } = {
  segments: [ledgerOf(groups), ledgerOf(others)],
  cortex: [ledgerOf(groups, { format: "cortex" }), ledgerOf(others, { format: "cortex" })]
}

interface File {
  readonly path: string
  readonly offset: number
  readonly bytes: Uint8Array
}

interface Tail {
  readonly format: Format
  readonly head: Chain.Head
  readonly files: ReadonlyArray<File>
  readonly bytesMax: number
}

/** Lines in another order, doubled or left out. */
const shuffled = (c: Choices, bytes: Uint8Array): Uint8Array => {
  const lines = Segment.lines("a", bytes, Infinity).map(({ length, offset, terminated }) =>
    bytes.subarray(offset, offset + length + (terminated ? 1 : 0))
  )
  const [from, to] = [c.below(lines.length + 1), c.below(lines.length + 1)]
  const moved = lines.slice(from, from + 1 + c.below(2))
  return concat(lines.toSpliced(c.below(2) === 0 ? to : from, c.below(3), ...moved))
}

/** What a crash, or another hand, leaves of the end of a journal. */
const harmed = (c: Choices, bytes: Uint8Array, foreign: ReadonlyArray<Uint8Array>): Uint8Array => {
  const at = c.below(bytes.byteLength + 1)
  const before = bytes.subarray(0, at)
  switch (c.below(8)) {
    case 0:
      return bytes
    case 1:
      return before
    case 2:
      return concat([before, new Uint8Array(c.below(300))])
    case 3: {
      const zeros = new Uint8Array(Math.min(bytes.byteLength - at, c.below(300)))
      return concat([before, zeros, bytes.subarray(at + zeros.byteLength)])
    }
    case 4:
      return shuffled(c, bytes)
    case 5:
      return concat([
        bytes,
        utf8.encode(c.pick(["\n", " \n", "\t", "{", "\u00a0\n", "\r\n", "\0"]))
      ])
    default:
      return mutated(c, bytes, foreign)
  }
}

const batches = [undefined, undefined, [0, 2], [1, 2], [0, 3], [1, 3], [2, 3]] as const

/** Rows whose every hash is right, in groups that need not be any. */
const forged = (c: Choices): Uint8Array => {
  const parts: Array<Uint8Array> = []
  let head = Chain.start
  for (let rows = 1 + c.below(5); rows > 0; rows--) {
    const draft = { type: "a.v1", payload: rows, id: idFrom(`forged ${rows}`) }
    const complete = Result.getOrThrow(Draft.complete(draft, { id: draft.id, now }))
    const sealed = Seal.seal(complete, head.eventHash)
    const batch = batches[c.below(batches.length)]
    const line = Row.encodeLine(sealed, { prevLineHash: head.leafHash, batch, crc32c: true })
    parts.push(line)
    const { eventHash, id } = sealed
    head = { seq: head.seq + 1, leafHash: Row.leafHash(line.subarray(0, -1)), id, eventHash }
  }
  return concat(parts)
}

const ends = (bytes: Uint8Array): ReadonlyArray<number> =>
  Segment.lines("a", bytes, Infinity).map(({ length, offset }) => offset + length + 1)

/** Cut at lines into as many files as a journal of segments may have. */
const inFiles = (c: Choices, format: Format, offset: number, bytes: Uint8Array) => {
  const cuts = format === "cortex" ? [] : c.list(2, () => c.pick([0, ...ends(bytes)]))
  const sorted = cuts.filter((cut) => cut < bytes.byteLength).toSorted((a, b) => a - b)
  return [0, ...sorted].map((from, nth): File => ({
    path: `file ${nth}`,
    offset: nth === 0 ? offset : 0,
    bytes: bytes.subarray(from, sorted[nth] ?? bytes.byteLength)
  }))
}

const tail = (c: Choices): Tail => {
  const format: Format = c.below(3) === 2 ? "cortex" : "segments"
  const [own, other] = ledgers[format]
  if (own === undefined || other === undefined) throw new Error("no ledgers")
  const group = c.pick(own.groups)
  const rest = own.bytes.subarray(group.offset)
  const bytes = harmed(c, rest, [other.bytes, own.bytes])
  const files = inFiles(c, format, group.offset, bytes)
  return { format, head: group.before, files, bytesMax: c.pick([100_000, 100_000, 520]) }
}

const show = ({ bytesMax, files, format, head }: Tail): string =>
  `${format} after row ${head.seq}, lines of ${bytesMax} bytes:\n${files
    .map(({ bytes, offset, path }) => `${path} from ${offset}: ${showBytes(bytes)}`)
    .join("\n")}`

const linesOf = ({ bytes, offset, path }: File, bytesMax: number): ReadonlyArray<Segment.Line> => {
  const splitter = new Segment.LineSplitter(path, bytesMax, offset, 1)
  const lines = splitter.push(bytes)
  const rest = splitter.end()
  return rest === undefined ? lines : [...lines, rest]
}

const scan = ({ bytesMax, files, format, head }: Tail) => {
  const scanner = new Recovery.TailScan(head, format)
  const seqs: Array<number> = []
  for (const line of files.flatMap((file) => linesOf(file, bytesMax))) {
    const event = scanner.push(line)
    if (event !== undefined) seqs.push(event.seq)
  }
  const plan = scanner.plan()
  assert.deepStrictEqual(scanner.plan(), plan)
  return { seqs, plan }
}

const seen = { Damage: 0, cut: 0, kept: 0, incomplete: 0 }

const assertInside = ({ files }: Tail, range: Recovery.Range): void => {
  const file = files.find(({ path }) => path === range.path)
  assert.isDefined(file)
  assert.isAtLeast(range.offset, file?.offset ?? Infinity, "below what is known to be sound")
  assert.isAtLeast(range.length, 0)
  const end = (file?.offset ?? 0) + (file?.bytes.byteLength ?? 0)
  assert.isAtMost(range.offset + range.length, end)
}

/** What recovery makes of the files. */
const recovered = (given: Tail, { cut, lineIncomplete }: Recovery.Plan): Tail => {
  const files = given.files.map((file) => {
    if (file.path === cut?.path) {
      return { ...file, bytes: file.bytes.subarray(0, cut.offset - file.offset) }
    }
    return file
  })
  const last = files.findLast(({ bytes }) => bytes.byteLength > 0)
  if (!lineIncomplete || last === undefined) return { ...given, files }
  const mended = { ...last, bytes: concat([last.bytes, Uint8Array.of(0x0a)]) }
  return { ...given, files: files.map((file) => (file === last ? mended : file)) }
}

describe("Recovery, fuzzed", () => {
  fuzz(
    "the end of a journal gives a plan that never cuts below the head, or damage",
    { cases: 2_000, generate: tail, show },
    (given) => {
      const { plan, seqs } = scan(given)
      assert.deepStrictEqual(
        seqs,
        seqs.map((_, nth) => given.head.seq + nth + 1)
      )
      if (plan._tag === "Damage") {
        seen.Damage++
        assertInside(given, { ...plan, length: 0 })
        assert.isBelow(plan.reason.length, 10_000)
        return
      }
      assert.isAtLeast(plan.head.seq, given.head.seq)
      assert.isAtMost(plan.head.seq, given.head.seq + seqs.length)
      if (plan.rewrite !== undefined) assertInside(given, plan.rewrite)
      if (plan.cut !== undefined) {
        seen.cut++
        assertInside(given, plan.cut)
        const last = given.files.findLast(({ bytes }) => bytes.byteLength > 0)
        assert.strictEqual(plan.cut.path, last?.path)
        const end = (last?.offset ?? 0) + (last?.bytes.byteLength ?? 0)
        assert.strictEqual(plan.cut.offset + plan.cut.length, end)
        const { rewrite } = plan
        if (rewrite?.path === plan.cut.path) {
          assert.isAtMost(rewrite.offset + rewrite.length, plan.cut.offset)
        }
      } else seen.kept++
      if (plan.lineIncomplete) seen.incomplete++
      const ending = given.files.findLast(({ bytes }) => bytes.byteLength > 0)?.bytes.at(-1)
      const lacksLf = plan.cut === undefined && ending !== undefined && ending !== 0x0a
      assert.strictEqual(plan.lineIncomplete, lacksLf)
      // Once recovered, there is nothing more to recover.
      const { plan: again } = scan(recovered(given, plan))
      assert.deepInclude(again, { _tag: "Plan", head: plan.head, cut: undefined })
      assert.deepInclude(again, { lineIncomplete: false })
    },
    () => Object.entries(seen).forEach(([name, count]) => assert.isAbove(count, 5, name))
  )
})

const verified = ({ bytesMax, files, format }: Tail) => {
  const lines = files.flatMap((file) => linesOf(file, bytesMax))
  return { lines, report: Chain.verify(lines, { path: "a", format, failuresMax: 5 }) }
}

const whole = (c: Choices): Tail => {
  const format: Format = c.below(2) === 0 ? "cortex" : "segments"
  const [own, other] = ledgers[format]
  if (own === undefined || other === undefined) throw new Error("no ledgers")
  const isGolden = format === "cortex" && c.below(3) > 0
  const foreign = isGolden ? goldenFiles : [other.bytes, own.bytes]
  const isForged = format === "segments" && c.below(3) === 2
  const sound = isGolden ? c.pick(goldenFiles) : own.bytes
  const bytes = isForged ? forged(c) : harmed(c, sound, foreign)
  const bytesMax = c.pick([100_000, 100_000, 520])
  return { format, head: Chain.start, files: [{ path: "a", offset: 0, bytes }], bytesMax }
}

const found = { Intact: 0, Damaged: 0 }

describe("Chain.Verifier, fuzzed", () => {
  fuzz(
    "any lines give a report that can be printed, and opening agrees with it",
    { cases: 1_200, generate: whole, show },
    (given) => {
      const { lines, report } = verified(given)
      found[report._tag]++
      assert.isAtMost(report.rows, lines.length)
      assert.isString(JSON.stringify(Json.verification(report, "a")))
      assert.isString(JSON.stringify(Json.audit(report, "a")))
      const failures = report._tag === "Damaged" ? report.failures : []
      for (const failure of [...failures, ...report.remarks]) {
        assert.isBelow(failure.message.length, 20_000)
        assert.isTrue(failure.message.isWellFormed())
        assert.isAtMost(failure.seq, report.rows)
      }
      if (report._tag === "Damaged") {
        assert.isAbove(report.failureCount, 0)
        assert.strictEqual(failures.length, Math.min(5, report.failureCount))
      }
      const { plan } = scan(given)
      const isKept = plan._tag === "Plan" && plan.cut === undefined
      if (report._tag === "Intact") {
        assert.isTrue(isKept, JSON.stringify(plan))
        if (plan._tag === "Plan") assert.deepStrictEqual(plan.head, report.head)
      } else if (given.format === "segments") {
        const lacksLf = plan._tag === "Plan" && plan.lineIncomplete
        assert.isTrue(!isKept || lacksLf, failures.map((failure) => failure.message).join())
      }
    },
    () => Object.entries(found).forEach(([name, count]) => assert.isAbove(count, 5, name))
  )
})
