/** What one draft may cost: each limit refuses by name, and what is accepted can be read again. */
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as Crc32c from "../../src/core/Crc32c.ts"
import * as Row from "../../src/core/Row.ts"
import { DraftInvalid, PayloadTooLarge } from "../../src/core/Draft.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { assertLike, assertSound, named, segmentLines, using } from "../store/ledgerFixtures.ts"

const deep = (levels: number) => "[".repeat(levels) + "]".repeat(levels)

const hash = "0".repeat(64)

const utf8 = new TextEncoder()

/** A line as an append writes it, with as many tags and keys; its hashes are those of nothing. */
const lineWith = (tags: string, keys: string): Uint8Array => {
  const body =
    `{"id":"evt_01JZZZZZZZZZZZZZZZZZZZZZZZ","schema_version":2,` +
    `"observed_at":"2030-01-01T00:00:00Z","recorded_at":"2030-01-01T00:00:00Z",` +
    `"source":{"type":"runtime"},"event_type":"a.v1","trace_id":null,"session_id":null,` +
    `"domain_tags":[${tags}],"payload":null,"payload_hash":"${hash}","prev_event_hash":null,` +
    `"event_hash":"${hash}"${keys},"prev_line_hash":"${hash}"`
  const bytes = utf8.encode(body)
  const crc = Crc32c.hex8(Crc32c.of(bytes, 0, bytes.byteLength) >>> 0)
  return utf8.encode(`${body},"crc32c":"${crc}"}`)
}

describe("A draft costs no more than it may", () => {
  it.effect("a line as long as may be is taken, one longer is refused and writes nothing", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "ledger")
      yield* using({ directory, lineBytesMax: 10_000 }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(named("fits", { payload: "x".repeat(8_000) }))
          const places = [
            { payload: "x".repeat(10_000) },
            { sessionId: "x".repeat(10_000) },
            { domainTags: ["x".repeat(10_000)] },
            { keys: { k: "x".repeat(10_000) } },
            { keys: { ["x".repeat(10_000)]: "v" } },
            { source: { type: "tool", name: "x".repeat(10_000) } },
            // Each takes six bytes where it is written.
            { sessionId: "\u0001".repeat(1_800) }
          ] as const
          for (const place of places) {
            const error = yield* Effect.flip(ledger.append(named("too long", place)))
            assert.instanceOf(error, PayloadTooLarge, Object.keys(place)[0])
            assert.isAbove(error.bytes, error.bytesMax)
          }
          assert.strictEqual(segmentLines(directory).length, 1)
          yield* assertSound(ledger)
        })
      )
    })
  )

  it.effect("126 levels of nesting are taken, one more is refused", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "ledger")
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append({ type: "a.v1", payloadText: deep(126) })
          for (const levels of [127, 100_000]) {
            const draft = { type: "a.v1", payloadText: deep(levels) }
            assert.instanceOf(yield* Effect.flip(ledger.append(draft)), DraftInvalid)
          }
          yield* assertSound(ledger)
        })
      )
    })
  )

  it.effect("however many are handed in at once, a group holds no more than may be", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "ledger")
      yield* using({ directory, groupRowsMax: 16 }, (ledger) =>
        Effect.gen(function* () {
          const drafts = Array.from({ length: 100 }, (_, n) => named(`alone ${n}`))
          yield* Effect.forEach(drafts, (draft) => ledger.append(draft), {
            concurrency: "unbounded",
            discard: true
          })
          const sizes = segmentLines(directory).map(
            (line) => /"batch":\[\d+,(\d+)\]/.exec(line)?.[1]
          )
          assert.isTrue(sizes.every((size) => size === undefined || Number(size) <= 16))
          assert.strictEqual(sizes.length, 100)
          yield* assertSound(ledger)
        })
      )
    })
  )

  it.effect("64 keys and 1,024 tags are taken, one more of either is refused", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "ledger")
      const keys = (count: number) =>
        Object.fromEntries(Array.from({ length: count }, (_, n) => [`key ${n}`, "value"]))
      const domainTags = (count: number) => Array.from({ length: count }, (_, n) => `tag ${n}`)
      yield* using({ directory }, (ledger) =>
        Effect.gen(function* () {
          yield* ledger.append(named("fits", { keys: keys(64), domainTags: domainTags(1_024) }))
          const refused = [
            [{ keys: keys(65) }, "/keys", "at most 64 keys", "65 keys"],
            [{ domainTags: domainTags(1_025) }, "/domainTags", "at most 1024 tags", "1025 tags"],
            [{ keys: keys(100_000) }, "/keys", "at most 64 keys", "100000 keys"]
          ] as const
          for (const [more, path, expected, actual] of refused) {
            const error = yield* Effect.flip(ledger.append(named("too many", more)))
            assertLike(error, { _tag: "DraftInvalid", path, expected, actual })
          }
          assert.strictEqual(segmentLines(directory).length, 1)
          yield* assertSound(ledger)
        })
      )
    })
  )

  it("rows with more keys and tags than a draft may have are read all the same", () => {
    const tags = `"a"${',"a"'.repeat(1_000_000)}`
    const names = Array.from({ length: 10_000 }, (_, n) => `"k${String(n).padStart(5, "0")}":"v"`)
    const decoded = Row.decode(lineWith(tags, `,"keys":{${names.join(",")}}`), 1, "segments")
    const event = Result.isSuccess(decoded) ? decoded.success.event : undefined
    assert.strictEqual(event?.domainTags.length, 1_000_001)
    assert.strictEqual(Object.keys(event?.keys ?? {}).length, 10_000)
  })
})
