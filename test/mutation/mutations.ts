/**
 * Mutations: every small change of a journal's files, as new files beside the old ones.
 *
 * Generators, so that a sweep holds one mutation at a time. `what` says in words how to make the
 * change again. A change that gives the same bytes is left out.
 */
import * as Segment from "../../src/core/Segment.ts"
import { concat, splice, utf8 } from "../core/history.ts"
import type { Files, Line, Made } from "./fixture.ts"
import { withFile } from "./fixture.ts"
import { isExhaustive } from "./turns.ts"

export interface Mutation {
  readonly what: string
  readonly files: Files
}

/** The kinds of change of one byte, or at one place between two. */
const byteKinds = [
  "flip 0",
  "flip 1",
  "flip 2",
  "flip 3",
  "flip 4",
  "flip 5",
  "flip 6",
  "flip 7",
  "set 0",
  "set 10",
  "drop",
  "insert 10",
  "insert 0",
  "insert 48",
  "insert 125"
] as const
export type ByteKind = (typeof byteKinds)[number]

/** Which kinds of change to make at a place. */
export type KindsAt = (at: number) => ReadonlyArray<ByteKind>

export const everyKind: KindsAt = () => byteKinds

/** So many kinds at each place, in turn. */
export const someKinds =
  (count: number): KindsAt =>
  (at) => {
    const first = (at * count) % byteKinds.length
    const twice = [...byteKinds, ...byteKinds]
    return isExhaustive ? byteKinds : twice.slice(first, first + count)
  }

/** Every bit at each place, and one of the other kinds, in turn. */
export const eachBit: KindsAt = (at) => {
  const [bits, others] = [byteKinds.slice(0, 8), byteKinds.slice(8)]
  return isExhaustive ? byteKinds : [...bits, ...others.slice(at % 7, (at % 7) + 1)]
}

/** One kind at each place, in turn. */
export const oneKind: KindsAt = someKinds(1)

/** The bytes after a change at a place; undefined where nothing would change. */
const changedAt = (bytes: Uint8Array, at: number, kind: ByteKind): Uint8Array | undefined => {
  const [verb = "", by = ""] = kind.split(" ")
  if (verb === "insert") return splice(bytes, at, at, Number(by))
  const old = bytes[at]
  if (old === undefined) return undefined
  if (verb === "drop") return splice(bytes, at, at + 1)
  const value = verb === "flip" ? old ^ (1 << Number(by)) : Number(by)
  return value === old ? undefined : splice(bytes, at, at + 1, value)
}

/** Every change of one byte that `kindsAt` asks for at each place, the end of the file included. */
export function* byteMutations(files: Files, kindsAt: KindsAt): Generator<Mutation> {
  for (const [name, bytes] of files) {
    for (let at = 0; at <= bytes.byteLength; at++) {
      for (const kind of kindsAt(at)) {
        const changed = changedAt(bytes, at, kind)
        if (changed === undefined) continue
        yield { what: `${kind} at byte ${at} of ${name}`, files: withFile(files, name, changed) }
      }
    }
  }
}

/** Every cut of each file, alone and with all files behind it gone. */
export function* cuts(files: Files): Generator<Mutation> {
  const names = [...files.keys()]
  for (const [nth, name] of names.entries()) {
    const bytes = files.get(name) ?? new Uint8Array()
    for (let at = 0; at < bytes.byteLength; at++) {
      const what = `${name} cut to ${at} bytes`
      const alone = withFile(files, name, bytes.subarray(0, at))
      yield { what, files: alone }
      if (nth === names.length - 1) continue
      const behind = names.slice(nth + 1)
      yield {
        what: `${what}, all behind it gone`,
        files: new Map([...alone].filter(([other]) => !behind.includes(other)))
      }
    }
  }
}

/** Every cut of the last file, where opening may cut too, and every third of the others. */
export function* someCuts(files: Files): Generator<Mutation> {
  const last = [...files.keys()].at(-1) ?? ""
  let nth = 0
  for (const mutation of cuts(files)) {
    const isOfLast = mutation.what.startsWith(last)
    if (isExhaustive || isOfLast || nth++ % 3 === 0) yield mutation
  }
}

const lf = utf8.encode("\n")

const textOf = (lines: ReadonlyArray<Uint8Array>): Uint8Array =>
  concat(lines.flatMap((line) => [line, lf]))

/** A journal whose lines lie in the files in which the fixture's lines lie, by an edit of each. */
const ofLines = (lines: ReadonlyArray<Pick<Line, "file" | "bytes">>, names: Iterable<string>) =>
  new Map(
    [...names].map((name) => [
      name,
      textOf(lines.filter(({ file }) => file === name).map(({ bytes }) => bytes))
    ])
  )

/** Each line removed, repeated, moved, swapped with each other one; lines taken from others. */
export function* lineMutations(
  { files, lines: all }: Made,
  others: ReadonlyArray<readonly [string, Made]>
): Generator<Mutation> {
  const lines: ReadonlyArray<Pick<Line, "file" | "bytes">> = all
  const with_ = (what: string, changed: ReadonlyArray<Pick<Line, "file" | "bytes">>): Mutation => ({
    what,
    files: ofLines(changed, files.keys())
  })
  for (const [i, line] of lines.entries()) {
    yield with_(`line ${i + 1} removed`, lines.toSpliced(i, 1))
    for (const [j, other] of lines.entries()) {
      const copy = { ...line, file: other.file }
      yield with_(`line ${i + 1} again before line ${j + 1}`, lines.toSpliced(j, 0, copy))
      yield with_(`line ${i + 1} again behind line ${j + 1}`, lines.toSpliced(j + 1, 0, copy))
      if (i === j) continue
      yield with_(`line ${i + 1} in place of line ${j + 1}`, lines.toSpliced(j, 1, copy))
      const moved = lines.toSpliced(i, 1).toSpliced(j, 0, copy)
      yield with_(`line ${i + 1} moved to be line ${j + 1}`, moved)
      if (i > j) continue
      const swapped = lines.with(i, { ...other, file: line.file }).with(j, copy)
      yield with_(`lines ${i + 1} and ${j + 1} swapped`, swapped)
    }
  }
  for (const [name, other] of others) {
    for (const foreign of other.lines) {
      for (const [j, { file }] of lines.entries()) {
        const said = `row ${foreign.seq} of ${name}`
        const one = { file, bytes: foreign.bytes }
        yield with_(`${said} before line ${j + 1}`, lines.toSpliced(j, 0, one))
        yield with_(`${said} in place of line ${j + 1}`, lines.toSpliced(j, 1, one))
      }
      const last = lines.at(-1)
      if (last === undefined) continue
      const end = { file: last.file, bytes: foreign.bytes }
      yield with_(`row ${foreign.seq} of ${name} at the end`, [...lines, end])
    }
  }
}

/** Two lines made one, one line made two, an LF made a CR LF. */
export function* lineEndMutations({ files }: Made): Generator<Mutation> {
  for (const [name, bytes] of files) {
    for (const [at, byte] of bytes.entries()) {
      const is = `at byte ${at} of ${name}`
      if (byte === 0x0a) {
        yield {
          what: `LF dropped ${is}`,
          files: withFile(files, name, splice(bytes, at, at + 1))
        }
        yield {
          what: `CR before the LF ${is}`,
          files: withFile(files, name, splice(bytes, at, at, 0x0d))
        }
        yield {
          what: `a second LF ${is}`,
          files: withFile(files, name, splice(bytes, at, at, 0x0a))
        }
      }
      if (byte === 0x2c) {
        yield {
          what: `the line split ${is}`,
          files: withFile(files, name, splice(bytes, at, at, 0x0a))
        }
      }
    }
  }
}

/** The same lines in other files: two files made one, one made two, each with its right name. */
function* boundaryMutations(files: Files, lines: ReadonlyArray<Line>): Generator<Mutation> {
  for (const { bytes, file, offset, seq } of lines) {
    const whole = files.get(file) ?? new Uint8Array()
    const [head, tail] = [whole.subarray(0, offset), whole.subarray(offset)]
    const name = Segment.name(seq)
    if (offset > 0) {
      const what = `${file} made two, ${name} the second`
      yield { what, files: withFile(withFile(files, file, head), name, tail) }
      continue
    }
    const before = lines[seq - 2]
    if (before === undefined) continue
    const without = new Map([...files].filter(([other]) => other !== file))
    const joined = concat([files.get(before.file) ?? bytes, whole])
    yield {
      what: `${before.file} and ${file} made one`,
      files: withFile(without, before.file, joined)
    }
  }
}

/** Files removed, added, renamed, with each other's content; a fork's files in their places. */
export function* fileMutations(
  { files, lines }: Made,
  others: ReadonlyArray<readonly [string, Made]>
): Generator<Mutation> {
  const names = [...files.keys()]
  const rows = lines.length
  for (const name of names) {
    const without = new Map([...files].filter(([other]) => other !== name))
    const bytes = files.get(name) ?? new Uint8Array()
    yield { what: `${name} removed`, files: without }
    yield { what: `${name} emptied`, files: withFile(files, name, new Uint8Array()) }
    for (let seq = 1; seq <= rows + 2; seq++) {
      const to = Segment.name(seq)
      if (to === name) continue
      yield { what: `${name} renamed to ${to}`, files: withFile(without, to, bytes) }
      yield { what: `${name} copied to ${to}`, files: withFile(files, to, bytes) }
    }
    for (const other of names) {
      if (other <= name) continue
      const swapped = withFile(files, name, files.get(other) ?? bytes)
      yield { what: `${name} and ${other} swapped`, files: withFile(swapped, other, bytes) }
    }
    for (const [what, made] of others) {
      for (const [theirs, content] of made.files) {
        yield {
          what: `${name} with the content of ${theirs} of ${what}`,
          files: withFile(files, name, content)
        }
      }
    }
  }
  yield* boundaryMutations(files, lines)
  for (let seq = 1; seq <= rows + 2; seq++) {
    const name = Segment.name(seq)
    if (files.has(name)) continue
    for (const [what, content] of [
      ["empty", ""],
      ["of one LF", "\n"],
      ["of garbage", "{"],
      ["of NUL", "\0\0"]
    ] as const) {
      yield { what: `${name} ${what} added`, files: withFile(files, name, utf8.encode(content)) }
    }
  }
  for (const [what, made] of others) yield { what: `all of ${what}`, files: made.files }
  for (const name of [
    "notes.txt",
    ".jsonl",
    "0000000000000000.jsonl",
    "0000000000000001.jsonl.bak",
    "1.jsonl",
    "9999999999999999.jsonl"
  ]) {
    for (const content of ["", "x"]) {
      const what = `${name} of ${content.length} bytes added`
      yield { what, files: withFile(files, name, utf8.encode(content)) }
    }
  }
}
