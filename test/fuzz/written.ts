/** Events that were read, written again: as a segment holds them, or as the original writes them. */
import { Result } from "effect"
import * as Json from "../../src/core/CanonicalJson.ts"
import { Event } from "../../src/core/Event.ts"
import * as Row from "../../src/core/Row.ts"
import type * as Seal from "../../src/core/Seal.ts"
import * as Timestamp from "../../src/core/Timestamp.ts"

// A line is written from these very members, whatever brand their texts have.
const encoded = (event: Event, extensions: Row.Extensions): Uint8Array =>
  Row.encodeLine(event as unknown as Seal.Sealed, extensions).subarray(0, -1)

/** The line of a segment that an event was read from. */
export const ownLine = (event: Event): Uint8Array => {
  const { batch, prevLineHash, signature } = event
  return encoded(event, { batch, crc32c: true, prevLineHash, signature })
}

const time = (text: string): string => Result.getOrThrow(Timestamp.parse(text))

/** The event with its times and its payload as the original writes them. */
const respelled = (event: Event): Event =>
  new Event({
    ...event,
    payloadText: Result.getOrThrow(Json.ofCortex(event.payloadText)),
    observedAt: time(event.observedAt),
    recordedAt: time(event.recordedAt),
    signature: event.signature && { ...event.signature, signedAt: time(event.signature.signedAt) }
  })

/** A line of the original as it would write it, with the members that are ours. */
export const originalLine = (event: Event): Uint8Array => {
  const { batch, prevLineHash, signature } = respelled(event)
  // Any text is read there, and compared with a hash later; only a hash is ever written.
  const isHash = /^[0-9a-f]*$/.test(prevLineHash ?? "")
  return encoded(respelled(event), {
    batch,
    prevLineHash: isHash ? prevLineHash : undefined,
    signature
  })
}

/** The same without what the original does not know. */
export const originalRow = (event: Event): Uint8Array => {
  const { signature, ...known } = respelled(event)
  return encoded(new Event({ ...known, keys: undefined, parentId: undefined, signature }), {
    signature
  })
}
