/**
 * Ed25519 in plain code: whether a signature is right, as RFC 8032 says it, with nothing but SHA-512.
 *
 *   S·B = R + h·A   where h = SHA-512(R | A | message) mod L, checked as bytes(S·B - h·A) = R
 *
 * Refused are S of L or more, and an R or A that is no point in its one spelling. Milliseconds for
 * each: it is for a browser and for auditors; `platform/Ed25519Keys` has the runtime's own, a
 * hundred times as fast. Nothing secret comes here, so nothing need take the same time always.
 */
import { sha512 } from "@noble/hashes/sha2.js"
import type { Verify } from "./Attestation.ts"

const P = 2n ** 255n - 19n
const L = 2n ** 252n + 27742317777372353535851937790883648493n
const SIGN = 2n ** 255n

const mod = (value: bigint, by: bigint = P): bigint => {
  const rest = value % by
  return rest < 0n ? rest + by : rest
}

const power = (base: bigint, exponent: bigint): bigint => {
  let result = 1n
  let square = base % P
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if ((rest & 1n) === 1n) result = (result * square) % P
    square = (square * square) % P
  }
  return result
}

const D = mod(-121665n * power(121666n, P - 2n))
const ROOT_OF_MINUS_1 = power(2n, (P - 1n) / 4n)

/** x/z and y/z, with t = x·y/z. */
interface Point {
  readonly x: bigint
  readonly y: bigint
  readonly z: bigint
  readonly t: bigint
}

const zero: Point = { x: 0n, y: 1n, z: 1n, t: 0n }

const add = (p: Point, q: Point): Point => {
  const a = mod((p.y - p.x) * (q.y - q.x))
  const b = mod((p.y + p.x) * (q.y + q.x))
  const c = mod(2n * D * p.t * q.t)
  const d = mod(2n * p.z * q.z)
  return completed(b - a, d - c, d + c, b + a)
}

const double = (p: Point): Point => {
  const a = mod(p.x * p.x)
  const b = mod(p.y * p.y)
  const h = a + b
  const g = a - b
  return completed(h - mod((p.x + p.y) ** 2n), mod(2n * p.z * p.z) + g, g, h)
}

const completed = (e: bigint, f: bigint, g: bigint, h: bigint): Point => ({
  x: mod(e * f),
  y: mod(g * h),
  z: mod(f * g),
  t: mod(e * h)
})

const negative = ({ x, y, z, t }: Point): Point => ({ x: mod(-x), y, z, t: mod(-t) })

const numberOf = (bytes: Uint8Array): bigint => {
  let value = 0n
  for (const byte of bytes.toReversed()) value = (value << 8n) | BigInt(byte)
  return value
}

/** The point that 32 bytes say; undefined where they say none, or say it in another spelling. */
const pointOf = (bytes: Uint8Array): Point | undefined => {
  const value = numberOf(bytes)
  const isOdd = value >= SIGN
  const y = value % SIGN
  if (y >= P) return undefined
  const u = mod(y * y - 1n)
  const v = mod(D * y * y + 1n)
  let x = mod(u * v ** 3n * power(mod(u * v ** 7n), (P - 5n) / 8n))
  const found = mod(v * x * x)
  if (found === mod(-u)) x = mod(x * ROOT_OF_MINUS_1)
  else if (found !== u) return undefined
  if (x === 0n && isOdd) return undefined
  if (((x & 1n) === 1n) !== isOdd) x = mod(-x)
  return { x, y, z: 1n, t: mod(x * y) }
}

const encoded = ({ x, y, z }: Point): bigint => {
  const inverse = power(z, P - 2n)
  const isOdd = (mod(x * inverse) & 1n) === 1n
  return mod(y * inverse) + (isOdd ? SIGN : 0n)
}

/** a·p + b·q, both at once from the highest bit on. */
const combined = (a: bigint, p: Point, b: bigint, q: Point): Point => {
  const both = add(p, q)
  let sum = zero
  for (let bit = 252n; bit >= 0n; bit--) {
    sum = double(sum)
    const [inA, inB] = [(a >> bit) & 1n, (b >> bit) & 1n]
    if (inA === 1n) sum = add(sum, inB === 1n ? both : p)
    else if (inB === 1n) sum = add(sum, q)
  }
  return sum
}

const baseY = mod(4n * power(5n, P - 2n))
const BASE = pointOf(
  Uint8Array.from({ length: 32 }, (_, i) => Number((baseY >> BigInt(8 * i)) & 255n))
)

/** Whether `signature` is the key's of this message; false for whatever is not, and never throws. */
export const verify: Verify = (publicKey, message, signature) => {
  if (publicKey.byteLength !== 32 || signature.byteLength !== 64 || BASE === undefined) return false
  const r = signature.subarray(0, 32)
  const s = numberOf(signature.subarray(32))
  const key = pointOf(publicKey)
  if (s >= L || key === undefined) return false
  const hash = sha512.create().update(r).update(publicKey).update(message).digest()
  const h = mod(numberOf(hash), L)
  return encoded(combined(s, BASE, h, negative(key))) === numberOf(r)
}
