/**
 * Texts of 200 kB, and of a megabyte in a long run, in the shapes that make readers slow or run out
 * of stack: deep, wide, repeated, torn at the very end.
 */
import { rounds } from "./choices.ts"

const scale = rounds > 1 ? 1 : 0.2

const bytes = 1_000_000 * scale

/** `unit` as often as makes so many bytes. */
export const filled = (unit: string): string => unit.repeat(Math.ceil(bytes / unit.length))

const many = (count: number, make: (nth: number) => string): string => some(count * scale, make)

const some = (count: number, make: (nth: number) => string): string =>
  Array.from({ length: count }, (_, nth) => make(nth)).join(",")

const padded = (nth: number): string => String(nth).padStart(6, "0")

/** A permutation of 0 to 65,535 in which neighbours lie far apart. */
const scattered = (nth: number): number => (nth * 40_503) % 65_536

const longName = "n".repeat(900)

const objects = (count: number, names: number): string =>
  `[${many(count, () => `{${some(names, (nth) => `"${padded(names - nth)}":0`)}}`)}]`

const nestedNames = (levels: number): string => {
  const name = "n".repeat(Math.floor(bytes / levels))
  return `${`{"${name}":`.repeat(levels)}!`
}

/** JSON, and nearly JSON, by what is large about it. */
export const jsonShapes: { readonly [shape: string]: () => string } = {
  "arrays that never close": () => filled("["),
  "objects that never close": () => filled('{"a":'),
  "deep arrays": () => "[".repeat(bytes / 2) + "]".repeat(bytes / 2),
  "deep objects": () => '{"a":'.repeat(bytes / 6) + "0" + "}".repeat(bytes / 6),
  "brackets by turns": () => filled("[{"),
  "very many deep arrays": () => `[${many(4_000, () => "[".repeat(125) + "]".repeat(125))}]`,
  "closing brackets": () => filled("]"),
  "a long whole number": () => filled("9"),
  "a long fraction": () => `0.${filled("9")}`,
  "a long fraction of zeros": () => `0.${filled("0")}1`,
  "a long exponent": () => `1e${filled("9")}`,
  "a long exponent below zero": () => `1e-${filled("9")}`,
  "a long exponent of zeros": () => `1e+${filled("0")}1`,
  "a long number that an exponent makes small": () => `1${filled("0")}e-1000000`,
  "a long fraction that an exponent makes large": () => `0.${filled("0")}1e1000000`,
  "many long numbers": () => `[${many(1_000, (nth) => `${nth + 1}.${"123456789".repeat(110)}`)}]`,
  "many numbers with exponents": () => `[${many(100_000, (nth) => `1.5e${nth % 300}`)}]`,
  "many minus signs": () => filled("-"),
  "many points": () => `1${filled(".")}`,
  "a long string": () => `"${filled("a")}"`,
  "a string of escapes": () => `"${filled("\\u0041")}"`,
  "a string of escaped pairs": () => `"${filled("\\ud83d\\ude00")}"`,
  "a string of pairs": () => `"${filled("😀")}"`,
  "a string of quotes": () => `"${filled('\\"')}"`,
  "a string of backslashes": () => `"${filled("\\\\")}"`,
  "an odd number of backslashes": () => `"${filled("\\\\")}\\"`,
  "a string of controls": () => `"${filled("\\u001F\\n")}"`,
  "a string that never closes": () => `"${filled("a")}`,
  "a string with a fault at its end": () => `"${filled("é")}\u0001"`,
  "a lone surrogate at the end": () => `"${filled("a")}\\ud800"`,
  "many short strings": () => `[${many(200_000, () => '"a"')}]`,
  "many quotes": () => filled('"'),
  "many members in order": () => `{${many(80_000, (nth) => `"${padded(nth)}":0`)}}`,
  "many members backwards": () => `{${many(80_000, (nth) => `"${padded(80_000 - nth)}":0`)}}`,
  "many members in no order": () => `{${many(65_536, (nth) => `"${padded(scattered(nth))}":0`)}}`,
  "many members with escapes": () =>
    `{${many(40_000, (nth) => `"\\u0061${padded(scattered(nth))}":0`)}}`,
  "many members, the first of them again at the end": () =>
    `{${many(80_000, (nth) => `"${padded(nth)}":0`)},"${padded(0)}":1}`,
  "one member again and again": () => `{${many(160_000, () => '"a":0')}}`,
  "one member again and again in objects": () => filled('{"a":{"a":1,"a":2},'),
  "many objects of seventeen members": () => objects(6_000, 17),
  "long names that differ at their ends": () =>
    `{${many(1_000, (nth) => `"${longName}${padded(1_000 - nth)}":0`)}}`,
  "two long names": () => `{"${"n".repeat(bytes / 2)}":0,"${"n".repeat(bytes / 2)}":1}`,
  "long names at every depth, then a fault": () => nestedNames(126),
  "names that an object has by itself": () =>
    `{${many(20_000, (nth) => `"__proto__${nth}":{"__proto__":{"toString":0}}`)}}`,
  "names like numbers": () => `{${many(80_000, (nth) => `"${80_000 - nth}":0`)}}`,
  "spaces before": () => `${filled(" ")}1`,
  "spaces after": () => `1${filled("\n")}`,
  "spaces within": () => `[${filled("\t")}1${filled("\r\n")},2]`,
  "spaces between many things": () => `[${many(60_000, () => ' \n{ "a" : [ ] } ')}]`,
  "spaces that are none": () => `${filled("\u00a0")}1`,
  "byte order marks": () => filled("\ufeff"),
  "NUL characters": () => filled("\0"),
  commas: () => `[${filled(",")}]`,
  colons: () => `{"a"${filled(":")}1}`,
  "many words": () => `[${many(150_000, (nth) => ["null", "true", "false"][nth % 3] ?? "")}]`,
  "many empty containers": () => `[${many(150_000, (nth) => (nth % 2 === 0 ? "{}" : "[]"))}]`,
  "a fault after much that is sound": () => `[${many(100_000, () => '{"a":1}')},]`
}

const replacement = new TextEncoder().encode(filled("\ufffd"))

/** Bytes that are no UTF-8, or look like it. */
export const byteShapes: { readonly [shape: string]: () => Uint8Array } = {
  "continuation bytes": () => new Uint8Array(bytes).fill(0x80),
  "bytes of 0xff": () => new Uint8Array(bytes).fill(0xff),
  "genuine replacement characters, then a fault": () => Uint8Array.from([...replacement, 0xc3]),
  "text cut within a character": () => replacement.slice(0, -1),
  "line feeds": () => new Uint8Array(bytes).fill(0x0a),
  "zero bytes": () => new Uint8Array(bytes)
}
