/**
 * The seal: Cortex's two hashes over a payload and its link, and the check of one event.
 *
 *   payload_hash = BLAKE3(payload text, UTF-8), hex
 *   event_hash   = BLAKE3(01 | len(prev) u64 LE | prev | len(payload_hash) u64 LE | payload_hash)
 *
 * where `prev` and `payload_hash` are the hex text itself, and a missing `prev` is the empty text.
 * Not covered: id, times, source, type, trace, session, tags; the line chain covers those.
 */
import { Result, Schema } from "effect"
import * as Json from "./CanonicalJson.ts"
import type { CompleteDraft } from "./Draft.ts"
import type { Event } from "./Event.ts"
import * as Hashes from "./Hashes.ts"

/** A complete draft with its seal. */
export interface Sealed extends CompleteDraft {
  readonly payloadHash: string
  readonly prevEventHash: string | null
  readonly eventHash: string
}

/** Seal a draft on top of the event hash of the row before it (null before the first). */
export const seal = (
  draft: CompleteDraft,
  prevEventHash: string | null,
  hashes: Hashes.Hashes = Hashes.noble
): Sealed => {
  const payloadHash = Hashes.payloadHash(hashes, draft.payloadText)
  const eventHash = Hashes.eventHash(hashes, prevEventHash, payloadHash)
  return { ...draft, payloadHash, prevEventHash, eventHash }
}

/** A stored hash that is not the hash of what it covers. Both sides are hex. */
export class SealMismatch extends Schema.TaggedError<SealMismatch>()("SealMismatch", {
  seq: Schema.Int,
  id: Schema.String,
  which: Schema.Literals(["payload_hash", "event_hash"]),
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    return (
      `row ${this.seq} (${this.id}): ${this.which} says ${this.actual}, its content gives ` +
      `${this.expected}. The row was changed after it was sealed.`
    )
  }
}

/** How a payload agrees with its hash: as stored, or only in the original's own spelling. */
export type PayloadSpelling = "exact" | "respelled"

/**
 * Compare a payload with its hash. The stored text counts; only in rows without `prevLineHash`,
 * which are Cortex's, the original's canonical form is tried second.
 */
export const checkPayload = (
  event: Event,
  hashes: Hashes.Hashes = Hashes.noble
): Result.Result<PayloadSpelling, SealMismatch> => {
  const stored = Hashes.payloadHash(hashes, event.payloadText)
  if (stored === event.payloadHash) return Result.succeed("exact")
  let expected = stored
  if (event.prevLineHash === undefined) {
    const canonical = Json.ofCortex(event.payloadText, Json.nestingMax)
    if (Result.isSuccess(canonical)) {
      expected = Hashes.payloadHash(hashes, canonical.success)
      if (expected === event.payloadHash) return Result.succeed("respelled")
    }
  }
  const { seq, id, payloadHash: actual } = event
  return Result.fail(new SealMismatch({ seq, id, which: "payload_hash", expected, actual }))
}

/** Compare an event hash with the link and payload hash that the event itself states. */
export const checkEventHash = (
  event: Event,
  hashes: Hashes.Hashes = Hashes.noble
): Result.Result<void, SealMismatch> => {
  const expected = Hashes.eventHash(hashes, event.prevEventHash, event.payloadHash)
  const { seq, id, eventHash: actual } = event
  return expected === actual
    ? Result.succeed(undefined)
    : Result.fail(new SealMismatch({ seq, id, which: "event_hash", expected, actual }))
}

/** Both checks; the payload first, as the original does. */
export const check = (
  event: Event,
  hashes: Hashes.Hashes = Hashes.noble
): Result.Result<PayloadSpelling, SealMismatch> =>
  Result.flatMap(checkPayload(event, hashes), (spelling) =>
    Result.map(checkEventHash(event, hashes), () => spelling)
  )
