import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Result } from "effect"
import * as Chain from "../../src/core/Chain.ts"
import * as Row from "../../src/core/Row.ts"
import * as Segment from "../../src/core/Segment.ts"
import type { Damaged, Failure, Reason, VerifyReport } from "../../src/core/VerifyReport.ts"
import * as Arbitraries from "../../src/testing/Arbitraries.ts"
import { concat, errorOf, headAfter, ledgerOf, linesOf, natural, splice } from "./history.ts"
import { text, utf8, vector } from "./history.ts"

const verify = (
  bytes: Uint8Array,
  format: Row.Format = "segments",
  failuresMax?: number
): VerifyReport => Chain.verify(linesOf(bytes), { path: "a", format, failuresMax })

const failuresOf = (report: VerifyReport): ReadonlyArray<Failure> =>
  report._tag === "Damaged" ? report.failures : []

/** `[seq, kind]` of every failure, or the link after it. */
const kinds = (report: VerifyReport): ReadonlyArray<readonly [seq: number, kind: string]> =>
  failuresOf(report).map(({ seq, reason }) => [seq, reason.which ?? reason.kind])

/** Stops at the first failure: most of what is verified here is wrong, and verified often. */
class Probe extends Chain.Verifier {
  isFound = false
  override fail(): void {
    this.isFound = true
  }
}

const isFound = (bytes: Uint8Array): boolean => {
  const probe = new Probe({ path: "a", format: "segments" })
  for (const line of linesOf(bytes)) {
    probe.push(line)
    if (probe.isFound) return true
  }
  probe.end()
  return probe.isFound
}

interface Case {
  readonly file: string
  readonly kind: "signed" | "unsigned" | "missing"
  readonly expect: {
    readonly verify_chain: "ok" | { readonly error: string } | null
    readonly audit:
      | { readonly error: string }
      | {
          readonly error?: undefined
          readonly rows_scanned: number
          readonly failures: ReadonlyArray<{
            readonly line: number
            readonly event_id: string
            readonly reason: { readonly [side: string]: string | number | null }
          }>
        }
  }
}

const cases: ReadonlyArray<Case> = JSON.parse(text(vector("corrupt/expected.json"))).files.filter(
  ({ kind }: Case) => kind !== "missing"
)

/** The original's words for the two sides of a failure. */
const reasonOf = (reason: { readonly [side: string]: string | number | null }): Reason => ({
  kind: String(reason["kind"]),
  ...(reason["which"] === undefined ? {} : { which: String(reason["which"]) }),
  expected: reason["expected"] ?? reason["expected_prev"] ?? null,
  actual: reason["observed"] ?? reason["observed_prev"] ?? null
})

/**
 * Where the original gives up on the whole file because of a line that it cannot read: the rows
 * that are named here instead, `[seq, line, kind]`. All other rows are looked at.
 */
const unreadable: { readonly [file: string]: ReadonlyArray<readonly [number, number, string]> } = {
  "torn-last-row": [[10, 10, "torn_tail"]],
  "torn-last-row-brace": [[10, 10, "torn_tail"]],
  "torn-last-row-newline": [[10, 10, "row_unreadable"]],
  "torn-in-character": [[11, 11, "torn_tail"]],
  "zero-filled-tail": [[11, 11, "torn_tail"]],
  "zero-filled-tail-newline": [[11, 11, "row_unreadable"]],
  "garbage-tail": [[11, 11, "row_unreadable"]],
  "blank-lines-and-bad-row": [[5, 7, "row_unreadable"]],
  "bom-line": [[4, 4, "row_unreadable"]],
  "bom-at-start": [[1, 1, "row_unreadable"]],
  "zero-width-space-line": [[4, 4, "row_unreadable"]],
  "unit-separator-line": [[4, 4, "row_unreadable"]],
  "nbsp-before-row": [[4, 4, "row_unreadable"]],
  "form-feed-before-row": [[4, 4, "row_unreadable"]],
  // The file is one line, and that one has no LF.
  "cr-only": [[1, 1, "torn_tail"]],
  "rows-joined": [[7, 7, "row_unreadable"]],
  "trailing-garbage": [[4, 4, "row_unreadable"]],
  "row-over-two-lines": [
    [4, 4, "row_unreadable"],
    [5, 5, "row_unreadable"]
  ],
  "invalid-utf8": [[4, 4, "row_unreadable"]],
  "utf16-surrogate-bytes": [[4, 4, "row_unreadable"]],
  "event-type-unknown": [[4, 4, "row_unreadable"]],
  "source-unknown": [[4, 4, "row_unreadable"]],
  "missing-payload-hash": [[4, 4, "row_unreadable"]],
  "field-twice": [[4, 4, "payload_ambiguous"]],
  "schema-version-65536": [[4, 4, "row_unreadable"]],
  "row-null": [[4, 4, "row_unreadable"]],
  "row-array": [[4, 4, "row_unreadable"]],
  "signature-garbage": [[4, 4, "row_unreadable"]],
  "self-written-too-deep": [[2, 2, "row_unreadable"]]
}

/** Where the original reads all rows and our verdict is another than its audit's, and why. */
const ours: { readonly [file: string]: ReadonlyArray<readonly [number, number, string]> } = {
  // It reads decimals inexactly, and so accuses rows that nobody touched; the stored text is right.
  "self-written-float-drift": [],
  // Of a member that is there twice it sees the last only: a reader that takes the first is told
  // something else by the same hash.
  "payload-duplicate-member": [[4, 4, "payload_ambiguous"]]
}

/** Where stored text and hashed text differ, and only the original's canonical form is right. */
const respelled: { readonly [file: string]: number } = {
  "payload-members-reordered": 2,
  "payload-float-other-spelling": 4,
  "payload-escaped": 4
}

const seenAs = (file: string) => file.replace(/^corrupt\/|\.jsonl$/g, "")

/** Four rows, the middle two one group. */
const small = ledgerOf([
  [{ type: "a.v1" }],
  [
    { type: "b.v1", keys: { k: "v" } },
    { type: "b.v1", payload: { é: 1 } }
  ],
  [{ type: "a.v1" }]
])

const lineBytes = (bytes: Uint8Array): ReadonlyArray<Uint8Array> =>
  linesOf(bytes).map(({ offset, length }) => bytes.subarray(offset, offset + length + 1))

const rowsOf = (bytes: Uint8Array, ...nth: ReadonlyArray<number>): Uint8Array => {
  const lines = lineBytes(bytes)
  return concat(nth.map((row) => lines[row - 1] ?? new Uint8Array()))
}

const ones = (count: number): ReadonlyArray<ReadonlyArray<{ readonly type: string }>> =>
  Array.from({ length: count }, () => [{ type: "a.v1" }])

const cortexLog = (count: number, options?: Omit<Row.EncodeOptions, "format">) =>
  ledgerOf(
    Array.from({ length: count }, () => [{ type: "cortex.event.outcome.v1" }]),
    { format: "cortex", ...options }
  )

describe("Chain", () => {
  for (const { file, kind, expect } of cases) {
    const name = seenAs(file)
    it(`verify judges ${kind} ${name} as the original, or says why not`, () => {
      const report = Chain.verify(linesOf(vector(file), file), { path: file, format: "cortex" })
      const failures = failuresOf(report)
      assert.strictEqual(report._tag, failures.length > 0 ? "Damaged" : "Intact")
      assert.deepStrictEqual(
        report.remarks.map(({ seq, reason }) => [seq, reason.kind]),
        respelled[name] === undefined ? [] : [[respelled[name], "payload_respelled"]]
      )
      const audit = expect.audit
      const own = ours[name] ?? unreadable[name]
      if (own !== undefined) {
        assert.strictEqual(audit.error === undefined, ours[name] !== undefined)
        const found = failures.map(({ seq, line, reason }) => [seq, line, reason.kind] as const)
        assert.deepStrictEqual(found, own)
        return
      }
      assert.isUndefined(audit.error)
      if (audit.error !== undefined) return
      assert.deepStrictEqual(
        failures.map(({ seq: line, eventId: event_id, reason }) => ({ line, event_id, reason })),
        audit.failures.map(({ reason, ...place }) => ({ ...place, reason: reasonOf(reason) }))
      )
      assert.strictEqual(report.rows, audit.rows_scanned)
      const isChained = failures.every(({ reason }) => !/^hash_break|^orphan/.test(reason.kind))
      const skips = failures.some(({ reason }) => reason.kind === "unknown_event_schema_version")
      if (!skips) assert.strictEqual(isChained, expect.verify_chain === "ok")
    })
  }

  it("those exceptions name files that exist", () => {
    const names = new Set(cases.map(({ file }) => seenAs(file)))
    for (const name of Object.keys({ ...unreadable, ...ours, ...respelled })) {
      assert.isTrue(names.has(name), name)
    }
  })

  it("a ledger verifies, and its report says what is at its head", () => {
    const report = verify(small.bytes)
    assert.strictEqual(report._tag, "Intact")
    assert.deepStrictEqual(report.head, small.head)
    assert.strictEqual(report.rows, 4)
    const { rows, seal, lines, signatures, parity } = report.checks
    assert.deepStrictEqual([rows, seal, lines], ["Passed", "Passed", "Passed"])
    assert.deepStrictEqual([signatures, parity], ["Skipped", "Skipped"])
    assert.deepStrictEqual(verify(new Uint8Array()).head, Chain.start)
  })

  it("any single changed bit of a small ledger is found", () => {
    for (let at = 0; at < small.bytes.byteLength; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const changed = splice(small.bytes, at, at + 1, (small.bytes[at] ?? 0) ^ (1 << bit))
        if (!isFound(changed)) assert.fail(`byte ${at}, bit ${bit}`)
      }
    }
  })

  it("any single byte taken from or added to a small ledger is found", () => {
    const { bytes } = small
    for (let at = 0; at <= bytes.byteLength; at++) {
      const isLess = at < bytes.byteLength
      if (isLess && !isFound(splice(bytes, at, at + 1))) assert.fail(`byte ${at} taken away`)
      for (const byte of [0x0a, 0x00, 0x20, bytes[at] ?? 0x7d]) {
        if (!isFound(splice(bytes, at, at, byte))) assert.fail(`byte ${byte} added at ${at}`)
      }
    }
  })

  it.prop(
    "any single changed byte of a larger ledger is found",
    [
      Arbitrary.array(Arbitraries.history, { minLength: 1, maxLength: 4 }),
      natural(1e6),
      natural(254)
    ],
    ([groups, place, more]) => {
      const { bytes } = ledgerOf(groups)
      assert.isFalse(isFound(bytes))
      const at = place % bytes.byteLength
      const changed = splice(bytes, at, at + 1, ((bytes[at] ?? 0) + 1 + more) % 256)
      assert.strictEqual(verify(changed)._tag, "Damaged")
    }
  )

  const torn: ReadonlyArray<
    readonly [what: string, bytes: Uint8Array, found: ReturnType<typeof kinds>]
  > = [
    [
      "its first row missing",
      rowsOf(small.bytes, 2, 3, 4),
      [
        [1, "orphan"],
        [1, "line_hash_break"]
      ]
    ],
    [
      "a row in the middle missing",
      rowsOf(ledgerOf(ones(4)).bytes, 1, 2, 4),
      [
        [3, "orphan"],
        [3, "line_hash_break"]
      ]
    ],
    [
      "two rows swapped",
      rowsOf(ledgerOf(ones(4)).bytes, 1, 3, 2, 4),
      [2, 3, 4].flatMap((seq) => [[seq, "orphan"] as const, [seq, "line_hash_break"] as const])
    ],
    [
      "a row repeated",
      rowsOf(ledgerOf(ones(3)).bytes, 1, 2, 2, 3),
      [
        [3, "orphan"],
        [3, "line_hash_break"]
      ]
    ],
    [
      "the first row of a group missing",
      rowsOf(small.bytes, 1, 3, 4),
      [
        [2, "orphan"],
        [2, "line_hash_break"],
        [2, "group_broken"]
      ]
    ],
    [
      "the last row of a group missing, and rows after it",
      rowsOf(small.bytes, 1, 2, 4),
      [
        [3, "orphan"],
        [3, "line_hash_break"],
        [3, "group_broken"]
      ]
    ],
    ["the last row of a group cut off", rowsOf(small.bytes, 1, 2), [[2, "group_incomplete"]]],
    [
      "a blank line",
      splice(small.bytes, small.rows[1]?.offset ?? 0, small.rows[1]?.offset ?? 0, 0x0a),
      [[1, "blank_line"]]
    ],
    ["no LF at its end", small.bytes.subarray(0, -1), [[4, "line_unterminated"]]],
    ["its last row torn", small.bytes.subarray(0, -9), [[4, "torn_tail"]]]
  ]

  for (const [what, bytes, found] of torn) {
    it(`verify names what is wrong with ${what}`, () => {
      assert.deepStrictEqual(kinds(verify(bytes)), found)
    })
  }

  it("rows cut off behind a group are not found, and the report says so", () => {
    const report = verify(rowsOf(small.bytes, 1, 2, 3))
    assert.strictEqual(report._tag, "Intact")
    assert.include(report.notProven.join(), "cut off the end")
  })

  it("a group of one size does not go on as a group of another", () => {
    const three = ledgerOf([[1, 2, 3].map(() => ({ type: "a.v1" }))])
    const [first, ...rest] = three.rows
    assert.isDefined(first)
    // The second row as the end of a group of two: everything else about it is right.
    const [second] = rest
    assert.isDefined(second)
    const forged = Row.encodeLine(second.event, {
      prevLineHash: first.leafHash,
      batch: [1, 2],
      crc32c: true
    })
    const report = verify(concat([rowsOf(three.bytes, 1), forged]))
    assert.deepStrictEqual(kinds(report), [[2, "group_broken"]])
    assert.deepInclude(failuresOf(report)[0]?.reason, {
      expected: "row 1 of 3",
      actual: "row 1 of 2"
    })
  })

  it("a row that cannot be read does not hide what is wrong after it", () => {
    const { bytes, rows } = ledgerOf(ones(6))
    const at = (nth: number, within: number) => (rows[nth - 1]?.offset ?? 0) + within
    const broken = bytes.slice()
    broken[at(2, 0)] = 0x58
    broken[at(5, 300)] = 0x58
    const cut = rowsOf(broken, 1, 2, 3, 5, 6)
    assert.deepStrictEqual(kinds(verify(cut)), [
      [2, "crc_mismatch"],
      [4, "crc_mismatch"]
    ])
    assert.deepStrictEqual(kinds(verify(rowsOf(broken, 1, 2, 3, 6))), [
      [2, "crc_mismatch"],
      [4, "orphan"],
      [4, "line_hash_break"]
    ])
  })

  it("a failure says where: file, line, byte, row, id, both sides", () => {
    const broken = small.bytes.slice()
    const row = small.rows[2]
    assert.isDefined(row)
    const at = row.offset + row.length - 3
    broken[at] = broken[at] === 0x30 ? 0x31 : 0x30
    const [failure] = failuresOf(verify(broken))
    assert.deepInclude(failure, { level: "rows", seq: 3, line: 3, path: "a", offset: row.offset })
    const orphan = failuresOf(verify(rowsOf(small.bytes, 4)))
    assert.strictEqual(orphan[0]?.eventId, small.rows[3]?.event.id)
    assert.deepStrictEqual(orphan[0]?.reason, {
      kind: "orphan",
      expected: null,
      actual: small.rows[2]?.event.eventHash ?? ""
    })
    assert.strictEqual(orphan[1]?.reason.expected, Row.zeroHash)
  })

  it("failuresMax bounds the list, the count goes on, and every level is judged", () => {
    const { bytes } = ledgerOf(ones(30))
    const every = [...Array(15).keys()].map((nth) => 2 * nth + 1)
    const all = verify(rowsOf(bytes, ...every)) as Damaged
    assert.strictEqual(all.failureCount, 28)
    for (const max of [0, 1, 7, 28, 100]) {
      const some = verify(rowsOf(bytes, ...every), "segments", max) as Damaged
      assert.deepStrictEqual(some.failures, all.failures.slice(0, max))
      assert.strictEqual(some.failureCount, 28)
      assert.deepStrictEqual(some.checks, all.checks)
    }
  })

  it("an over-long line is named in both formats, never taken for a blank one", () => {
    for (const format of ["segments", "cortex"] as const) {
      for (const line of ["x".repeat(100), " ".repeat(100), "\0".repeat(100)]) {
        const { bytes } = format === "cortex" ? cortexLog(2) : ledgerOf(ones(2))
        const [first, second] = lineBytes(bytes)
        const whole = concat([first ?? bytes, utf8.encode(`${line}\n`), second ?? bytes])
        for (const bytesMax of [0, 99]) {
          const lines = Segment.lines("a", whole, bytesMax)
          const report = Chain.verify(lines, { path: "a", format })
          const found = kinds(report)
          assert.deepInclude(found, [2, "line_too_long"])
          assert.strictEqual(report.rows, 3)
        }
      }
    }
  })

  it("in the original's files seq counts rows, and line what an editor shows", () => {
    const { bytes } = cortexLog(3)
    const [first, , third] = lineBytes(bytes)
    const blank = utf8.encode(`\r\n \t\n${" ".repeat(10_000)}\n\u2028\u00a0\n`)
    const report = verify(concat([first ?? bytes, blank, third ?? bytes]), "cortex")
    assert.strictEqual(report.rows, 2)
    assert.deepInclude(failuresOf(report)[0], { seq: 2, line: 6 })
    assert.deepStrictEqual(kinds(report), [[2, "orphan"]])
  })

  it("isBlank is what Rust trims to nothing", () => {
    const blank = [..."\t\n\v\f\r \u0085\u00a0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000"]
    for (const text of ["", ...blank, blank.join("").repeat(2_000)]) {
      assert.isTrue(Chain.isBlank(utf8.encode(text)), JSON.stringify(text.slice(0, 4)))
    }
    for (const text of [
      "\ufeff",
      "\u200b",
      "\u001f",
      "\u180e",
      "\0",
      "x",
      " {",
      "\u0084",
      "\u2060"
    ]) {
      assert.isFalse(Chain.isBlank(utf8.encode(text)), JSON.stringify(text))
      assert.isFalse(Chain.isBlank(utf8.encode(`  ${text}`)), JSON.stringify(text))
    }
    assert.isFalse(Chain.isBlank(Uint8Array.of(0x20, 0xff)))
    assert.isFalse(Chain.isBlank(Uint8Array.of(0xc2)))
  })

  it("in Cortex mode line hashes and checksums count where they are", () => {
    const plain = verify(cortexLog(3).bytes, "cortex")
    assert.deepStrictEqual([plain._tag, plain.checks["lines"]], ["Intact", "Skipped"])
    assert.include(plain.notProven.join(), "without a line hash")
    const { bytes, rows } = cortexLog(3, { lineHashes: true, crc: true })
    const sealed = verify(bytes, "cortex")
    assert.deepStrictEqual([sealed._tag, sealed.checks["lines"]], ["Intact", "Passed"])
    assert.notInclude(sealed.notProven.join(), "without a line hash")
    // What the seal does not cover: the type of the first row, its checksum made to fit or not.
    const changed = splice(bytes, 0, rows[0]?.length ?? 0)
    const line = text(bytes.subarray(0, rows[0]?.length)).replace("outcome", "correction")
    const misfit = concat([utf8.encode(line), changed])
    assert.deepStrictEqual(kinds(verify(misfit, "cortex")), [[1, "crc_mismatch"]])
    const noCrc = concat([utf8.encode(line.replace(/,"crc32c":"\w+"/, "")), changed])
    assert.deepStrictEqual(kinds(verify(noCrc, "cortex")), [[2, "line_hash_break"]])
  })

  it("a row of an unknown version is named, and in segments nothing else is accused for it", () => {
    const { rows } = ledgerOf(ones(3))
    const lines: Array<Uint8Array> = []
    let prevLineHash = Row.zeroHash
    for (const { event, seq } of rows) {
      const schemaVersion = seq === 2 ? 9 : 2
      const line = Row.encodeLine({ ...event, schemaVersion }, { prevLineHash, crc32c: true })
      prevLineHash = Row.leafHash(line.subarray(0, -1))
      lines.push(line)
    }
    const report = verify(concat(lines))
    assert.deepStrictEqual(kinds(report), [[2, "unknown_event_schema_version"]])
  })

  it("Verifier takes findings of other levels, and its report says so", () => {
    const verifier = new Chain.Verifier({ path: "a", format: "segments" })
    const [line] = linesOf(small.bytes)
    assert.isDefined(line)
    assert.strictEqual(verifier.push(line)?.id, small.rows[0]?.event.id)
    assert.strictEqual(verifier.last.seq, 1)
    verifier.remark("index", line, "x", { kind: "k", expected: 1, actual: 2 })
    assert.strictEqual(verifier.report([])._tag, "Intact")
    verifier.fail("parity", line, "x", { kind: "k", expected: null, actual: "b" })
    const report = verifier.report(["parity", "index"])
    assert.strictEqual(report._tag, "Damaged")
    assert.deepInclude(report.checks, { parity: "Failed", index: "Skipped", rows: "Passed" })
    assert.strictEqual(report.remarks.length, 1)
  })

  const events = linesOf(small.bytes).map(
    (line, nth) => Result.getOrThrow(Row.decode(line.bytes, nth + 1, "segments")).event
  )

  it("extend goes on from head to head", () => {
    let head = Chain.start
    for (const [nth, event] of events.entries()) {
      head = Result.getOrThrow(Chain.extend(head, event))
      const row = small.rows[nth]
      assert.isDefined(row)
      assert.deepStrictEqual(head, headAfter(row))
      assert.deepStrictEqual(event.position, { seq: head.seq, leafHash: head.leafHash })
    }
  })

  it("extend names the first break, payload before event hash before links, and both sides", () => {
    const [first, second] = events
    assert.isDefined(first)
    assert.isDefined(second)
    const head = Result.getOrThrow(Chain.extend(Chain.start, first))
    const broken = (changes: object) =>
      errorOf(Chain.extend(head, Object.assign(Object.create(second), second, changes)))
    assert.strictEqual(broken({ payloadHash: "00", eventHash: "00" }).link, "payload_hash")
    assert.strictEqual(broken({ eventHash: "00", prevLineHash: "00" }).link, "event_hash")
    const line = broken({ prevLineHash: Row.zeroHash })
    assert.deepInclude(line, {
      seq: 2,
      id: second.id,
      link: "prev_line_hash",
      expected: first.leafHash,
      actual: Row.zeroHash
    })
    assert.include(line.message, first.leafHash)
    const orphan = errorOf(Chain.extend(Chain.start, second))
    assert.deepInclude(orphan, { link: "prev_event_hash", expected: null, actual: first.eventHash })
  })
})
