/**
 * The only encoder of JSON whose bytes are hashed.
 *
 * Form: no whitespace; members sorted by the UTF-8 bytes of their names at every depth; in strings
 * only `"`, `\` and controls below U+0020 escaped (`\b \f \n \r \t`, else `\u00xx` in lower case);
 * integers from -2^63 to 2^64-1 as they are; any other number as Cortex prints it (`1.0`, `1e-6`,
 * `1.5e+16`, `-0.0`) where that is exactly the same decimal value, else as it was written. Refused:
 * a member named twice, a lone surrogate, a number beyond a double, nesting above 126. Where Cortex
 * accepts the text and keeps its numbers, this is Cortex's canonical form, byte for byte.
 *
 * Never to change: every payload hash rests on it.
 */
import * as Brand from "effect/Brand"
import * as Result from "effect/Result"
import { decodeUtf8, errorAt, type JsonError } from "./jsonError.ts"
import { cortexNumber, type Numbers } from "./jsonNumber.ts"
import { cortex, Scanner, strict } from "./jsonText.ts"
import { Encoder, Refused, spell, Writer } from "./jsonWrite.ts"

export { JsonError } from "./jsonError.ts"
export type { Reason } from "./jsonError.ts"
export type { Numbers } from "./jsonNumber.ts"
export { compareUtf8 } from "./jsonNames.ts"
export { valueOf } from "./jsonValue.ts"

/** JSON text in the form this module owns. */
export type CanonicalJson = string & Brand.Brand<"CanonicalJson">

/** How many arrays and objects may be open at once: in a row, one more is around them. */
export const nestingMax = strict.nestingMax

const brand = Brand.nominal<CanonicalJson>()

/** How to write numbers that Cortex would change; `lossless` if left out. */
export interface Options {
  readonly numbers?: Numbers
}

/**
 * The canonical form of a JSON text. Text that has it already comes back as the same string, and
 * the form of a form is itself under the same options. Fails with `JsonError`: with the `cortex`
 * numbers also for a number that Cortex would print or read back as another value
 * (`number_respelled`). `-0` is written `-0.0`, the same value.
 */
export const fromText = (
  text: string | Uint8Array,
  options: Options = {}
): Result.Result<CanonicalJson, JsonError> => {
  const source = typeof text === "string" ? text : decodeUtf8(text)
  if (typeof source !== "string") return Result.fail(source)
  const numbers = options.numbers ?? "lossless"
  const scanner = new Scanner(source, { ...strict, numbers })
  const end = scanner.endOfValue(0)
  if (end === -1 || scanner.endOfText(end) === -1) return Result.fail(scanner.error())
  if (scanner.isCanonical) return Result.succeed(brand(source))
  const writer = new Writer(source, (number) => spell(number, numbers))
  try {
    return Result.succeed(brand(writer.write()))
  } catch (cause) {
    if (!(cause instanceof Refused)) throw cause
    const { reason, expected, actual } = cause
    return Result.fail(errorAt(source, writer.at, reason, expected, actual))
  }
}

/**
 * What Cortex prints after reading `text`: the last of several members of one name counts, decimals
 * are read inexactly, nesting may reach `nestingMax` (127). For checks only; what is written comes
 * from `fromText` and `fromValue`.
 */
export const ofCortex = (
  text: string,
  nestingMax = cortex.nestingMax
): Result.Result<string, JsonError> => {
  const scanner = new Scanner(text, { ...cortex, nestingMax })
  const end = scanner.endOfValue(0)
  if (end === -1 || scanner.endOfText(end) === -1) return Result.fail(scanner.error())
  return Result.succeed(new Writer(text, (number) => cortexNumber(number) ?? number).write())
}

/**
 * The canonical form of what `JSON.stringify` gives for `value` (with `toJSON`, boxed primitives,
 * raw JSON). Refused with its path, never dropped or changed: `undefined`, functions, symbols, NaN,
 * infinities, bigints, lone surrogates, cycles, nesting above 126, and what throws while it is
 * read. Members named by symbols or not enumerable are no part of it.
 */
export const fromValue = (
  value: unknown,
  options: Options = {}
): Result.Result<CanonicalJson, JsonError> => {
  const encoder = new Encoder(options.numbers ?? "lossless")
  try {
    return Result.succeed(brand(encoder.write(value)))
  } catch (cause) {
    return Result.fail(encoder.errorOf(cause))
  }
}

/**
 * The JSON string for `text`, escapes as in the form. `text` must be well formed: for a lone
 * surrogate there is no string that Cortex reads, so it throws.
 */
export const quote = (text: string): string => {
  if (!text.isWellFormed()) throw new RangeError("a lone surrogate cannot be written as JSON")
  return JSON.stringify(text)
}
