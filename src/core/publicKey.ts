/**
 * Internal: which 32 bytes may be an Ed25519 public key of a ledger, or the R of a signature.
 *
 * A key is written as 64 lower-case hex digits. Its bytes are the y of a point of the curve
 * -x² + y² = 1 + d·x²·y² over p = 2^255 - 19, little-endian, the highest bit being the sign of x.
 * Refused: a y of p or more, a y that no point has, and the points of small order. Under a key of
 * small order one signature fits every row, so it proves nothing about who wrote them; and
 * libraries disagree about such points, so that a verdict would depend on where it was found.
 */
import { bytesToHex, hexToBytes } from "@noble/hashes/utils.js"
import { Result, Schema } from "effect"
import * as Hashes from "./Hashes.ts"
import { clip } from "./jsonError.ts"

/** A text that is no public key to sign under. */
export class PublicKeyInvalid extends Schema.TaggedError<PublicKeyInvalid>()("PublicKeyInvalid", {
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    return `not a public key: expected ${this.expected}, found ${this.actual}`
  }
}

/** The key that `text` says, in lower case. */
export const parse = (text: string): Result.Result<string, PublicKeyInvalid> => {
  const invalid = (expected: string, actual: string) =>
    Result.fail(new PublicKeyInvalid({ expected, actual }))
  if (!isHex(text)) return invalid("64 hex digits", clip(text))
  const hex = text.toLowerCase()
  if (isSmallOrder(hex)) return invalid("a point of full order", hex)
  let y = 0n
  for (const byte of bytesOf(hex).toReversed()) y = (y << 8n) | BigInt(byte)
  return isOnCurve(y % SIGN) ? Result.succeed(hex) : invalid("a point of the curve", hex)
}

/** The 32 bytes of a key in hex. Throws for any other text: a key is parsed before it is used. */
export const bytesOf = (hex: string): Uint8Array => {
  if (!isHex(hex)) throw new RangeError("not 64 hex digits")
  return hexToBytes(hex)
}

export const hexOf: (bytes: Uint8Array) => string = bytesToHex

/**
 * The name of whoever holds a key: `operator:` and the BLAKE3 of its 32 bytes in hex. Nobody can
 * claim another's: it is made of the key that signs. Throws for any other number of bytes.
 */
export const operatorId = (key: Uint8Array, hashes: Hashes.Hashes = Hashes.noble): string => {
  if (key.byteLength !== 32) throw new RangeError(`not 32 bytes: ${key.byteLength}`)
  return `operator:${hashes.blake3Hex(key)}`
}

/** Whether these bytes, in lower-case hex, are read as a point of order 1, 2, 4 or 8. */
export const isSmallOrder = (hex: string): boolean => smallOrder.has(hex)

const isHex = (text: string): boolean => /^[0-9a-fA-F]{64}$/.test(text)

const P = 2n ** 255n - 19n
const SIGN = 2n ** 255n

const power = (base: bigint, exponent: bigint): bigint => {
  let result = 1n
  let square = base % P
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if ((rest & 1n) === 1n) result = (result * square) % P
    square = (square * square) % P
  }
  return result
}

const D = ((P - 121665n) * power(121666n, P - 2n)) % P

/** Whether some point has this y: x² = (y² - 1) / (d·y² + 1) must be a square. */
const isOnCurve = (y: bigint): boolean => {
  if (y >= P) return false
  const square = (y * y) % P
  // u/v is a square exactly if u·v is; v is never 0, and where u is, the order is small.
  const product = (((square + P - 1n) % P) * (D * square + 1n)) % P
  return power(product, (P - 1n) / 2n) === 1n
}

/** The y of two of the points of order 8; the other two have its negative. */
const Y_OF_ORDER_8 = 0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n

// Of order 1, 2, 4 and 8; then 0 and 1 again as some libraries read them, p too large.
const smallOrder: ReadonlySet<string> = new Set(
  [1n, P - 1n, 0n, Y_OF_ORDER_8, P - Y_OF_ORDER_8, P, P + 1n].flatMap((y) =>
    [y, y + SIGN].map((value) =>
      hexOf(Uint8Array.from({ length: 32 }, (_, i) => Number((value >> BigInt(8 * i)) & 255n)))
    )
  )
)
