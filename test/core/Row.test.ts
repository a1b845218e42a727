import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Result, Schema } from "effect"
import * as Json from "../../src/core/CanonicalJson.ts"
import * as Chain from "../../src/core/Chain.ts"
import * as Crc32c from "../../src/core/Crc32c.ts"
import * as Event from "../../src/core/Event.ts"
import * as Draft from "../../src/core/Draft.ts"
import * as Hashes from "../../src/core/Hashes.ts"
import * as jsonText from "../../src/core/jsonText.ts"
import * as Row from "../../src/core/Row.ts"
import * as Seal from "../../src/core/Seal.ts"
import * as Arbitraries from "../../src/testing/Arbitraries.ts"
import { errorOf, ledgerOf, linesOf, natural, now, segments, splice, text } from "./history.ts"
import { utf8, vector } from "./history.ts"

const cortex: Row.EncodeOptions = { format: "cortex" }

const decoded = (line: Uint8Array | string, format: Row.Format, seq = 1): Event.Event =>
  Result.getOrThrow(Row.decode(typeof line === "string" ? utf8.encode(line) : line, seq, format))
    .event

const refused = (line: Uint8Array | string, format: Row.Format): Row.RowInvalid =>
  errorOf(Row.decode(typeof line === "string" ? utf8.encode(line) : line, 7, format))

/** The event as `encodeLine` takes it: payload text that was read is text that was written. */
const again = (event: Event.Event): Uint8Array => {
  const { prevLineHash, batch, signature } = event
  const extensions = { prevLineHash, batch, signature, crc32c: prevLineHash !== undefined }
  return Row.encodeLine(event as unknown as Seal.Sealed, extensions)
}

/**
 * The draft that an event says, as the original's `append` takes it: without its hashes, and of a
 * payload's members of one name the last.
 */
const draftOf = (json: string): Draft.Draft => {
  const members = Result.getOrThrow(jsonText.members(json, jsonText.cortex)).flatMap(
    ({ name, start, end }) => {
      if (name.endsWith("_hash")) return []
      const value = json.slice(start, end)
      if (name === "event_type") return [`"type":${value}`]
      const isStrict = Result.isSuccess(jsonText.check(value, jsonText.strict))
      return [`"${name}":${isStrict ? value : Result.getOrThrow(Json.ofCortex(value))}`]
    }
  )
  return Result.getOrThrow(Draft.fromJson(`{${members.join()}}`))
}

/** A segment line whose checksum fits: what a forger, or another program, would write. */
const withCrc = (body: string): Uint8Array => {
  const covered = utf8.encode(body)
  return utf8.encode(
    `${body},"crc32c":"${Crc32c.hex8(Crc32c.of(covered, 0, covered.byteLength))}"}`
  )
}

/** `count` rows of one group with everything that a row may hold, and their texts. */
const full = ledgerOf([
  [
    {
      type: "door.opened.v1",
      payload: { é: [1, 2.5, "x"], n: null, s: "\u2028\u007f\n" },
      source: { type: "child_agent", model: 'm"\\' },
      traceId: "trc_01KGE3HWGSVGR373D9ST0BDJ94",
      sessionId: "s\u001f",
      domainTags: ["a", "\u0085"],
      keys: { "9": "nine", "10": "ten", é: "" },
      observedAt: "2026-04-01T10:00:00.123456789Z"
    },
    { type: "door.closed.v1", parentId: Event.idFrom("row 1"), keys: { a: "b" } }
  ]
])
const lines = linesOf(full.bytes)
const lineOf = (nth: number): Uint8Array => lines[nth]?.bytes ?? new Uint8Array()
const bodyOf = (nth: number): string => text(lineOf(nth)).slice(0, -`,"crc32c":"00000000"}`.length)

const inputs = text(vector("log-unsigned.input.jsonl")).trimEnd().split("\n")
const golden = vector("log-unsigned.jsonl")

const goldenRows: ReadonlyArray<{ name: string; input: string; row?: string }> = text(
  vector("rows.jsonl")
)
  .trimEnd()
  .split("\n")
  .map((line) => JSON.parse(line))

/** Rows that the original reads and this project refuses. */
const lenience = new Map([
  ["source-15", "an array in place of the object is an accident of its decoder"],
  ["source-16", "an array in place of the object is an accident of its decoder"],
  ["source-20", "a number in place of a variant's name is an accident of its decoder"],
  ["event_type-13", "an object in place of the string is an accident of its decoder"],
  ["signature-array", "an array in place of the object is an accident of its decoder"],
  ["payload-4", "a member named twice in the payload has two readings"]
])

describe("Row", () => {
  it("completed, sealed and encoded, the golden drafts are the golden log byte for byte", () => {
    const log = ledgerOf(
      inputs.map((input) => [draftOf(input)]),
      cortex
    )
    assert.strictEqual(text(log.bytes), text(golden))
    const asOne = ledgerOf([inputs.map(draftOf)], cortex)
    assert.deepStrictEqual(asOne.bytes, golden)
  })

  it("of the golden drafts only the one with two readings is refused", () => {
    const bad = inputs.flatMap((input, nth) => {
      const read = Result.flatMap(jsonText.members(input), (members) => {
        const payload = members.find(({ name }) => name === "payload")
        return Json.fromText(input.slice(payload?.start, payload?.end), { numbers: "cortex" })
      })
      return Result.isFailure(read) ? [[nth + 1, read.failure.reason]] : []
    })
    assert.deepStrictEqual(bad, [[21, "duplicate_member"]])
  })

  it("every golden row decodes, verifies, and is written again as it was", () => {
    let head = Chain.start
    for (const { bytes } of linesOf(golden)) {
      const event = decoded(bytes, "cortex", head.seq + 1)
      assert.strictEqual(text(again(event)), `${text(bytes)}\n`)
      assert.deepStrictEqual(Seal.check(event), Result.succeed("exact"))
      head = Result.getOrThrow(Chain.extend(head, event))
    }
    assert.strictEqual(head.seq, inputs.length)
    const expected = JSON.parse(text(vector("log-unsigned.expected.json")))
    assert.strictEqual(head.eventHash, expected.open.head)
  })

  it("a log of the original is continued with the row that it would have appended", () => {
    const corrupt = JSON.parse(text(vector("corrupt/expected.json")))
    const [clean] = corrupt.files
    assert.strictEqual(clean.file, "corrupt/clean.jsonl")
    const bytes = vector(clean.file)
    let head = Chain.start
    for (const line of linesOf(bytes)) {
      head = Result.getOrThrow(Chain.extend(head, decoded(line.bytes, "cortex", line.number)))
    }
    const draft = draftOf(JSON.stringify(corrupt.appended_event))
    const complete = Draft.complete(draft, { id: Event.idFrom(""), now, mode: "cortex" })
    const sealed = Seal.seal(Result.getOrThrow(complete), head.eventHash)
    const group = Row.encode([sealed], head, cortex)
    assert.strictEqual(sealed.eventHash, clean.expect.append_after.append.head)
    assert.strictEqual(
      bytes.byteLength + group.bytes.byteLength,
      clean.expect.append_after.file_length
    )
  })

  for (const { name, input, row } of goldenRows) {
    const why = lenience.get(name)
    const isRead = row !== undefined && why === undefined
    it(`decode ${isRead ? "reads" : "refuses"} ${name}, as a row of the original`, () => {
      if (row === undefined || why !== undefined) {
        const { seq, kind } = refused(input, "cortex")
        const isAmbiguous = /^twice-|^(source-1[89]|payload-(4|9)|signature-twice)$/.test(name)
        const wanted = isAmbiguous ? "payload_ambiguous" : "row_unreadable"
        assert.deepStrictEqual({ seq, kind }, { seq: 7, kind: wanted })
        return
      }
      const ours = decoded(input, "cortex")
      const theirs = decoded(row, "cortex")
      // What is written in two ways keeps its own here; else the original's own line is the same.
      const spelling = { payloadText: "", observedAt: "", leafHash: "" }
      assert.deepStrictEqual({ ...ours, ...spelling }, { ...theirs, ...spelling })
      assert.include(input.replace("\\u0069", "i"), ours.payloadText)
      assert.include(input, `"${ours.observedAt}"`)
      assert.strictEqual(ours.leafHash, Row.leafHash(utf8.encode(input)))
    })
  }

  it("in segments decode refuses what lacks the line hash or the checksum", () => {
    for (const { input } of goldenRows) refused(input, "segments")
    const body = bodyOf(0)
    const without = body.replace(/,"prev_line_hash":"0+"/, "")
    assert.notStrictEqual(without, body)
    assert.deepInclude(refused(withCrc(without), "segments"), { place: "prev_line_hash" })
    assert.deepInclude(refused(`${body}}`, "segments"), { place: "crc32c", actual: "none" })
    refused("", "segments")
    refused("{}", "segments")
    refused(withCrc(""), "segments")
  })

  const signature = {
    schemaVersion: 1,
    keyId: "k\u00e9",
    signedAt: "2026-04-01T10:00:00.123456Z",
    bytes: "AAAA"
  }

  it.prop(
    "in segments decode gives back every member that encode wrote, and the line again",
    [Arbitraries.history, Schema.Boolean, Schema.Boolean],
    ([drafts, hasParent, isSigned]) => {
      const parentId = hasParent ? Event.idFrom("parent") : undefined
      const sealed: Array<Seal.Sealed> = []
      for (const [nth, draft] of drafts.entries()) {
        const id = Event.idFrom(`${nth}`)
        const complete = Draft.complete({ ...draft, parentId }, { id, now })
        const prev = sealed.at(-1)?.eventHash ?? null
        sealed.push(Seal.seal(Result.getOrThrow(complete), prev))
      }
      const group = Row.encode(sealed, Chain.start, segments)
      assert.strictEqual(group.firstSeq, 1)
      let prevLineHash = Row.zeroHash
      for (const [nth, row] of group.rows.entries()) {
        const line = group.bytes.subarray(row.offset, row.offset + row.length)
        assert.strictEqual(group.bytes[row.offset + row.length], 0x0a)
        const event = decoded(line, "segments", row.seq)
        const batch = drafts.length > 1 ? [nth, drafts.length] : undefined
        assert.deepStrictEqual(
          { ...event },
          {
            ...row.event,
            seq: nth + 1,
            prevLineHash,
            batch,
            leafHash: row.leafHash,
            signature: undefined
          }
        )
        assert.strictEqual(row.leafHash, Row.leafHash(line))
        prevLineHash = row.leafHash
        if (!isSigned) continue
        const signed = Row.encodeLine(row.event, { prevLineHash, signature, crc32c: true })
        const { signature: read } = decoded(signed.subarray(0, -1), "segments")
        assert.deepStrictEqual(read, signature)
      }
      assert.strictEqual(
        group.rows.reduce((bytes, { length }) => bytes + length + 1, 0),
        group.bytes.byteLength
      )
    }
  )

  it.prop(
    "in segments decode refuses a line with any byte changed, added or taken away",
    [Arbitraries.draft, natural(1_000_000), natural(255)],
    ([draft, place, byte]) => {
      const { bytes } = ledgerOf([[draft]])
      const line = bytes.subarray(0, -1)
      const at = place % line.byteLength
      if (line[at] !== byte) refused(splice(line, at, at + 1, byte), "segments")
      refused(splice(line, at, at + 1), "segments")
      const added = splice(line, at, at, byte)
      refused(added, "segments")
      refused(line.subarray(0, at), "segments")
    },
    { arbitrary: { runs: 300 } }
  )

  const [body] = [bodyOf(0)]
  const long = "n".repeat(1_000)
  const respelled: ReadonlyArray<
    readonly [why: string, body: string, kind?: Row.RowInvalid["kind"]]
  > = [
    ["a space", body.replace(",", ", ")],
    ["a space in front", ` ${body}`],
    ["an escaped name", body.replace('"id"', '"\\u0069d"')],
    ["an escaped letter in a tag", body.replace('["a"', '["\\u0061"')],
    ["an escaped letter in a key", body.replace('"nine"', '"\\u006eine"')],
    [
      "an escaped letter in a hash",
      body.replace('"prev_line_hash":"0', '"prev_line_hash":"\\u0030')
    ],
    ["a slash escaped", body.replace('"model":"m', '"model":"\\/m')],
    ["an upper-case escape", body.replace("s\\u001f", "s\\u001F")],
    [
      "members in another order",
      body.replace(/("keys":\{.*?\}),("prev_line_hash":".*?")/, "$2,$1")
    ],
    ["keys in another order", body.replace('"10":"ten","9":"nine"', '"9":"nine","10":"ten"')],
    ["empty keys", body.replace(/"keys":\{.*?\}/, '"keys":{}')],
    ["an absent option as null", body.replace(/"keys":\{.*?\}/, '"parent_id":null')],
    ["an unknown member", body.replace('"payload_hash"', '"more":1,"payload_hash"')],
    [
      "an unknown member of the source",
      body.replace('"type":"child_agent"', '"type":"child_agent","x":1')
    ],
    [
      "the source's members in another order",
      body.replace(/"type":"child_agent",("model":".*?\\"\\\\")/, '$1,"type":"child_agent"')
    ],
    ["a lower-case id", body.replace(/"id":"evt_.*?"/, (id) => id.toLowerCase())],
    ["a lower-case trace", body.replace("trc_01KGE", "trc_01kge")],
    ["an id beyond 128 bits", body.replace(/"id":"evt_./, '"id":"evt_8')],
    ["a time with an offset", body.replace("10:00:00.123456789Z", "10:00:00.123456789+00:00")],
    ["a time with a needless digit", body.replace("10:00:00.123456789Z", "10:00:00.1Z")],
    ["a batch with a space", body.replace('"batch":[0,2]', '"batch":[0, 2]')],
    ["a batch of a double", body.replace('"batch":[0,2]', '"batch":[0.0,2]')],
    ["a batch of minus zero", body.replace('"batch":[0,2]', '"batch":[-0,2]')],
    ["a batch of three", body.replace('"batch":[0,2]', '"batch":[0,2,0]')],
    ["a batch of one", body.replace('"batch":[0,2]', '"batch":[0,1]')],
    ["a batch beyond its size", body.replace('"batch":[0,2]', '"batch":[2,2]')],
    [
      "a schema version with a zero in front",
      body.replace('"schema_version":2', '"schema_version":02')
    ],
    ["a schema version as a double", body.replace('"schema_version":2', '"schema_version":2.0')],
    ["an empty session for null", bodyOf(1).replace('"trace_id":null', '"trace_id":""')],
    ["a missing option", bodyOf(1).replace('"trace_id":null,', "")],
    ["a NUL in a session", body.replace("s\\u001f", "s\\u0000")],
    ["a NUL in a key's name", body.replace('"10":', '"\\u0000":')],
    ["a NUL in a key's value", body.replace('"ten"', '"\\u0000"')],
    ["a key that is no string", body.replace('"ten"', "10")],
    ["a type that no draft has", body.replace("door.opened.v1", "Door.opened.v1")],
    ["a parent that is no id", body.replace(/"keys":\{.*?\}/, '"parent_id":"x"')],
    ["a byte order mark", `\ufeff${body}`],
    [
      "a member twice",
      body.replace('"trace_id"', '"session_id":"s\\u001f","trace_id"'),
      "payload_ambiguous"
    ],
    [
      "a member twice, once escaped",
      body.replace('"trace_id"', '"\\u0069d":"x","trace_id"'),
      "payload_ambiguous"
    ],
    ["a long name twice", body.replace("{", `{"${long}":1,"${long}":1,`), "payload_ambiguous"],
    ["crc32c twice", `${body},"crc32c":"00000000"`, "payload_ambiguous"],
    ["a payload's member twice", body.replace('"n":null', '"n":null,"n":1'), "payload_ambiguous"],
    [
      "a payload's member twice, once escaped",
      body.replace('"n":null', '"n":null,"\\u006e":1'),
      "payload_ambiguous"
    ],
    ["a key twice", body.replace('"10":"ten"', '"10":"ten","10":"TEN"'), "payload_ambiguous"],
    [
      "a key twice, once escaped",
      body.replace('"10":"ten"', '"10":"ten","1\\u0030":"TEN"'),
      "payload_ambiguous"
    ],
    [
      "a source's member twice",
      body.replace('"type":"child_agent"', '"type":"user","type":"child_agent"'),
      "payload_ambiguous"
    ],
    [
      "a lone surrogate in the payload",
      body.replace('"n":null', '"n":"\\ud800"'),
      "payload_ambiguous"
    ],
    ["a number beyond a double", body.replace('"n":null', '"n":1e400')],
    [
      "a payload nested too deep",
      body.replace('"n":null', `"n":${"[".repeat(126)}${"]".repeat(126)}`)
    ]
  ]

  for (const [why, changed, wanted] of respelled) {
    it(`in segments decode refuses ${why}, whatever the checksum says`, () => {
      assert.notInclude([bodyOf(0), bodyOf(1)], changed)
      const { kind, seq, message } = refused(withCrc(changed), "segments")
      assert.strictEqual(seq, 7)
      assert.include(message, "row 7")
      assert.isBelow(message.length, 400)
      if (wanted === undefined) assert.oneOf(kind, ["row_respelled", "row_unreadable"])
      else assert.strictEqual(kind, wanted)
    })
  }

  it("in segments decode reads the rows that those were made of", () => {
    for (const nth of [0, 1]) decoded(withCrc(bodyOf(nth)), "segments")
  })

  it("decode names both checksums where they differ", () => {
    const line = splice(lineOf(0), 20, 21, (lineOf(0)[20] ?? 0) ^ 1)
    const stated = text(line).slice(-10, -2)
    const { kind, expected, actual } = refused(line, "segments")
    assert.deepStrictEqual({ kind, actual }, { kind: "crc_mismatch", actual: stated })
    assert.match(expected, /^[0-9A-F]{8}$/)
    assert.notStrictEqual(expected, actual)
    const lettered = lines.map(({ bytes }) => text(bytes)).find((row) => /[A-F]\d*"\}$/.test(row))
    assert.isDefined(lettered)
    refused(
      lettered.replace(/[0-9A-F]{8}"\}$/, (hex) => hex.toLowerCase()),
      "segments"
    )
  })

  it("the checksum is the last member's and covers all before its comma", () => {
    for (const nth of [0, 1]) {
      const line = lineOf(nth)
      const covered = utf8.encode(bodyOf(nth)).byteLength
      const hex = Crc32c.hex8(Crc32c.of(line, 0, covered))
      assert.strictEqual(text(line.subarray(covered)), `,"crc32c":"${hex}"}`)
    }
  })

  it("a payload keeps its text, and times their digits; segments know one spelling only", () => {
    const payload = '{ "b" : [1.50, 12345678901234567890.1e-3] ,"a":"\\u0041" }'
    const changed = bodyOf(0).replace(
      /"payload":\{[^]*?\},"payload_hash"/,
      `"payload":${payload},"payload_hash"`
    )
    assert.strictEqual(refused(withCrc(changed), "segments").kind, "row_respelled")
    const long = '{"a":"A","b":[1.5,12345678901234567890.1e-3]}'
    const ours = decoded(withCrc(changed.replace(payload, long)), "segments")
    assert.strictEqual(ours.payloadText, long)
    assert.strictEqual(ours.observedAt, "2026-04-01T10:00:00.123456789Z")
    const [plain] = goldenRows
    const time = "2026-04-01 12:00:00.1234567891+02:00"
    const row = plain?.input.replace('{"text":"hi"}', payload).replace("2026-04-01T10:00:00Z", time)
    const theirs = decoded(row ?? "", "cortex")
    assert.strictEqual(theirs.payloadText, payload)
    assert.strictEqual(theirs.observedAt, time)
  })

  it("decode reads a payload of 126 levels, and none deeper", () => {
    const nested = (levels: number) => `${"[".repeat(levels)}${"]".repeat(levels)}`
    const [plain] = goldenRows
    const row = (levels: number) => plain?.input.replace('{"text":"hi"}', nested(levels)) ?? ""
    assert.strictEqual(decoded(row(126), "cortex").payloadText, nested(126))
    assert.strictEqual(refused(row(127), "cortex").kind, "row_unreadable")
  })

  const [plain] = goldenRows
  const more = (members: string) => `${(plain?.input ?? "").slice(0, -1)},${members}}`
  const signed = (member: string) => {
    const own = [
      '"schema_version":1',
      '"key_id":"k"',
      '"signed_at":"2026-04-01T10:00:00Z"',
      '"bytes":""'
    ]
    const name = member.split(":")[0] ?? ""
    return more(`"signature":{${[...own.filter((m) => !m.startsWith(`${name}:`)), member].join()}}`)
  }

  it("decode reads a signature as the original does", () => {
    for (const member of [
      '"schema_version":65535',
      '"key_id":""',
      '"bytes":"!!"',
      '"signed_at":"2026-04-01 10:00:00+02:00"',
      '"extra":1'
    ]) {
      decoded(signed(member), "cortex")
    }
    for (const member of [
      '"schema_version":65536',
      '"schema_version":-1',
      '"schema_version":1.0',
      '"schema_version":"1"',
      '"signed_at":"x"',
      '"signed_at":null',
      '"key_id":1',
      '"bytes":[]'
    ]) {
      assert.strictEqual(refused(signed(member), "cortex").place, "signature", member)
    }
  })

  it("in a row of the original, members of ours hold what ours hold, or it is refused", () => {
    // The original takes no notice of them. Here such a row would have a second reading.
    const id = Event.idFrom("parent")
    const { parentId, keys, batch } = decoded(
      more(`"parent_id":"${id}","keys":{"b":"1","a":"2"},"batch":[0,2]`),
      "cortex"
    )
    assert.deepStrictEqual(
      { parentId, keys, batch },
      { parentId: id, keys: { b: "1", a: "2" }, batch: [0, 2] }
    )
    for (const member of ['"parent_id":5', '"keys":[1]', '"batch":"x"', '"prev_line_hash":7']) {
      refused(more(member), "cortex")
    }
  })

  it("in a row of the original, a checksum counts where there is one", () => {
    const options = { prevLineHash: Row.zeroHash, crc32c: true }
    const [line] = linesOf(golden)
    assert.isDefined(line)
    const event = decoded(line.bytes, "cortex") as unknown as Seal.Sealed
    const row = Row.encodeLine(event, options).subarray(0, -1)
    assert.strictEqual(decoded(row, "cortex").prevLineHash, Row.zeroHash)
    // With another name the member is one that the original takes no notice of, and so do we.
    const named = row.byteLength - `"crc32c":"00000000"}`.length
    for (let at = 0; at < row.byteLength; at++) {
      if (at > named && at <= named + "crc32c".length) continue
      refused(splice(row, at, at + 1, (row[at] ?? 0) ^ 1), "cortex")
    }
    assert.strictEqual(refused(more('"crc32c":"00000000"'), "cortex").kind, "crc_mismatch")
    refused(more('"crc32c":5'), "cortex")
  })

  it("in Cortex mode encode never writes a batch, and the rest only where it is asked to", () => {
    const drafts = [1, 2].map((payload) => ({ type: "cortex.event.outcome.v1", payload }))
    const plainBytes = text(ledgerOf([drafts], cortex).bytes)
    assert.notMatch(plainBytes, /batch|prev_line_hash|crc32c/)
    const options = { ...cortex, lineHashes: true, crc: true }
    const { bytes, rows } = ledgerOf([drafts], options)
    assert.notInclude(text(bytes), "batch")
    const [first, second] = linesOf(bytes)
    assert.isDefined(first)
    assert.isDefined(second)
    assert.strictEqual(decoded(second.bytes, "cortex").prevLineHash, rows[0]?.leafHash)
    assert.match(text(first.bytes), /,"crc32c":"[0-9A-F]{8}"\}$/)
  })

  it.prop("leafHash is SHA-256 of a zero byte and the line", [Arbitraries.text], ([line]) => {
    const bytes = utf8.encode(line)
    const wanted = Hashes.noble.sha256Hex(Uint8Array.of(0, ...bytes))
    assert.strictEqual(Row.leafHash(bytes), wanted)
  })

  const name = Arbitrary.map(Arbitraries.text, (text) => text.replaceAll("\0", ""))

  it.prop(
    "keysText sorts by UTF-8 bytes, whatever the order of the object",
    [Arbitrary.array(name, { maxLength: 8 })],
    ([names]) => {
      const keys = Object.fromEntries(names.map((name) => [name, name]))
      const sorted = [...new Set(names)].toSorted((a, b) =>
        Buffer.compare(utf8.encode(a), utf8.encode(b))
      )
      const wanted = sorted.map((name) => `${JSON.stringify(name)}:${JSON.stringify(name)}`)
      assert.strictEqual(Row.keysText(keys), `{${wanted.join()}}`)
    }
  )
})
