/**
 * Drafts out of lines of JSON.
 *
 * A line is a draft, an object whose members are spelled as on disk, or with `--type` and
 * `--payload` any JSON value, which becomes the payload. Payloads stay text, so no digit is lost.
 * Nothing is forgiven: a blank line, a byte order mark, bytes that are not UTF-8 and an over-long
 * line are refused. A CR before the LF is white space to JSON, and so is taken.
 */
import { Result } from "effect"
import * as Draft from "../core/Draft.ts"
import { decodeUtf8 } from "../core/jsonError.ts"
import type { Line } from "../core/Segment.ts"
import type { AppendError } from "../store/writing/Receipt.ts"

/** A draft and the line that it came from. */
export interface Numbered {
  readonly line: number
  readonly draft: Draft.Draft
}

/** A line that stops the reading, and why, in words that begin with the line. */
export interface Stop {
  readonly line: number
  readonly reason: string
}

/** The draft of one line; with a `type`, the line is its payload. */
export const read = (line: Line, type: string | undefined): Result.Result<Numbered, Stop> => {
  const { number } = line
  const bad = (reason: string) =>
    Result.fail({ line: number, reason: `line ${number} cannot be appended: ${reason}` })
  if (line.tooLong) return bad(`it has ${line.length} bytes, the limit is ${line.bytesMax}`)
  if (line.bytes.byteLength === 0) return bad("it is blank; every line must hold a draft")
  const text = decodeUtf8(line.bytes)
  if (typeof text !== "string") {
    return bad(`at byte ${text.offset} expected UTF-8, found ${text.actual}`)
  }
  if (type !== undefined) {
    return Result.succeed({ line: number, draft: { type, payloadText: text } })
  }
  return Result.match(Draft.fromJson(text), {
    onFailure: (error) => bad(misfit(error)),
    onSuccess: (draft) => Result.succeed({ line: number, draft })
  })
}

const ownNames =
  /^\/(?:observedAt|recordedAt|traceId|sessionId|domainTags|parentId|schemaVersion)\b/

/** A path whose first member, if it is a draft's, is named as on the line, in snake_case. */
const onLine = (path: string): string =>
  path.replace(ownNames, (name) => name.replace(/[A-Z]/g, (unit) => `_${unit.toLowerCase()}`))

/** What did not fit, and where; of a payload, only where. */
const misfit = ({ path, expected, actual }: Draft.DraftInvalid): string =>
  path.startsWith("/payload")
    ? `at ${path} expected ${expected}`
    : `at ${path === "" ? "its root" : onLine(path)} expected ${expected}, found ${actual}`

/** The draft's index in its append, where the error is about one draft. */
export const indexOf = (error: AppendError): number | undefined =>
  "index" in error ? (error.index ?? undefined) : undefined

/** Why the draft of this line was refused. */
export const refusal = (error: AppendError, line: number): string => {
  switch (error._tag) {
    case "DraftInvalid":
      return `line ${line} cannot be appended: ${misfit(error)}`
    case "IdConflict":
      return `line ${line} cannot be appended: ${error.message}`
    case "PayloadTooLarge":
    case "PolicyRefused":
    case "UnknownParent":
      // The message knows the draft by its index in the group.
      return error.message.replace(`draft ${error.index}`, `line ${line}`)
    case "OutcomeUnknown":
      return (
        `${error.message} They are the lines from ${line} on; look with sealog tail which of ` +
        `them are there, as drafts without an id would be appended a second time.`
      )
    default:
      return error.message
  }
}
