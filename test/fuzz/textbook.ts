/**
 * JSON by the book: a reader from the grammar of RFC 8259 alone, and what may be wrong with a text
 * that follows it. Slow, recursive, and with no code of the library in it: fast code is compared
 * with this. Names and strings are decoded, numbers stay text.
 */

export type Json =
  | { readonly kind: "object"; readonly members: ReadonlyArray<readonly [string, Json]> }
  | { readonly kind: "array"; readonly items: ReadonlyArray<Json> }
  | { readonly kind: "string"; readonly text: string }
  | { readonly kind: "number"; readonly text: string }
  | { readonly kind: "word"; readonly text: string }

class NotJson extends Error {}

const escapes: ReadonlyMap<string, string> = new Map([
  ['"', '"'],
  ["\\", "\\"],
  ["/", "/"],
  ["b", "\b"],
  ["f", "\f"],
  ["n", "\n"],
  ["r", "\r"],
  ["t", "\t"]
])

const numeral = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y

class Reader {
  private at = 0
  readonly text: string
  /** Whether a member's name was written with an escape, which V8 13 may misread. */
  hasEscapedName = false

  constructor(text: string) {
    this.text = text
  }

  whole(): Json {
    const value = this.value()
    if (this.at < this.text.length) throw new NotJson()
    return value
  }

  private space(): void {
    while (" \t\r\n".includes(this.text.charAt(this.at)) && this.at < this.text.length) this.at++
  }

  private take(text: string): boolean {
    if (!this.text.startsWith(text, this.at)) return false
    this.at += text.length
    return true
  }

  private need(text: string): void {
    if (!this.take(text)) throw new NotJson()
  }

  private value(): Json {
    this.space()
    const value = this.bare()
    this.space()
    return value
  }

  private bare(): Json {
    if (this.take("{")) return { kind: "object", members: this.members() }
    if (this.take("[")) return { kind: "array", items: this.items() }
    if (this.text.charAt(this.at) === '"') return { kind: "string", text: this.string() }
    for (const word of ["true", "false", "null"]) {
      if (this.take(word)) return { kind: "word", text: word }
    }
    numeral.lastIndex = this.at
    const [text] = numeral.exec(this.text) ?? []
    if (text === undefined) throw new NotJson()
    this.at += text.length
    return { kind: "number", text }
  }

  private items(): ReadonlyArray<Json> {
    const items: Array<Json> = []
    this.space()
    if (this.take("]")) return items
    for (;;) {
      items.push(this.value())
      if (this.take("]")) return items
      this.need(",")
    }
  }

  private members(): ReadonlyArray<readonly [string, Json]> {
    const members: Array<readonly [string, Json]> = []
    this.space()
    if (this.take("}")) return members
    for (;;) {
      this.space()
      const start = this.at
      const name = this.string()
      if (this.text.slice(start, this.at).includes("\\")) this.hasEscapedName = true
      this.space()
      this.need(":")
      members.push([name, this.value()])
      if (this.take("}")) return members
      this.need(",")
    }
  }

  private string(): string {
    this.need('"')
    let read = ""
    while (!this.take('"')) {
      if (this.at >= this.text.length || this.text.charCodeAt(this.at) < 0x20) throw new NotJson()
      read += this.take("\\") ? this.escaped() : this.text.charAt(this.at++)
    }
    return read
  }

  private escaped(): string {
    const kind = this.text.charAt(this.at++)
    const short = escapes.get(kind)
    if (short !== undefined) return short
    const hex = this.text.slice(this.at, this.at + 4)
    if (kind !== "u" || !/^[0-9a-fA-F]{4}$/.test(hex)) throw new NotJson()
    this.at += 4
    return String.fromCharCode(Number.parseInt(hex, 16))
  }
}

export interface Parsed {
  readonly json: Json
  readonly hasEscapedName: boolean
  readonly faults: ReadonlySet<Fault>
}

/** What a text says by the grammar alone; undefined where it does not follow it. */
export const parse = (text: string): Parsed | undefined => {
  const reader = new Reader(text)
  try {
    const json = reader.whole()
    const faults = faultsIn(json, 0, new Set())
    // Half a pair raw and half of it escaped: such a text has no bytes.
    if (!text.isWellFormed()) faults.add("lone_surrogate")
    return { json, hasEscapedName: reader.hasEscapedName, faults }
  } catch (error) {
    if (error instanceof NotJson) return undefined
    throw error
  }
}

/** What is wrong with a value. `perhaps_out_of_range`: too near the end of doubles to say. */
export type Fault =
  | "duplicate_member"
  | "lone_surrogate"
  | "number_out_of_range"
  | "perhaps_out_of_range"
  | `deeper_than_${126 | 127}`

const numberFault = (text: string): Fault | undefined => {
  if (Math.abs(Number(text)) < 1.7e308) return undefined
  // The original reads decimals inexactly, so what is near the end may fall on either side of it.
  const [mantissa = "", exponent = "0"] = text.split(/[eE]/)
  const scaled = Math.abs(Number(`${mantissa}e${Number(exponent) - 10}`))
  return scaled < 1.9e298 ? "perhaps_out_of_range" : "number_out_of_range"
}

/** All that is wrong with a value that follows the grammar. */
const faultsIn = (json: Json, open: number, found: Set<Fault>): Set<Fault> => {
  const depth = json.kind === "object" || json.kind === "array" ? open + 1 : open
  if (depth > 126) found.add("deeper_than_126")
  if (depth > 127) found.add("deeper_than_127")
  if (json.kind === "string" && !json.text.isWellFormed()) found.add("lone_surrogate")
  if (json.kind === "number") {
    const fault = numberFault(json.text)
    if (fault !== undefined) found.add(fault)
  }
  if (json.kind === "array") for (const item of json.items) faultsIn(item, depth, found)
  if (json.kind === "object") {
    const names = json.members.map(([name]) => name)
    if (new Set(names).size < names.length) found.add("duplicate_member")
    if (!names.every((name) => name.isWellFormed())) found.add("lone_surrogate")
    for (const [, value] of json.members) faultsIn(value, depth, found)
  }
  return found
}

/** The canonical form, given the spelling of numbers; of members of one name the last counts. */
export const formOf = (json: Json, number: (text: string) => string): string => {
  switch (json.kind) {
    case "object": {
      const members = [...new Map(json.members)].toSorted(([a], [b]) =>
        Buffer.compare(Buffer.from(a), Buffer.from(b))
      )
      const texts = members.map(([name, value]) => `${quoted(name)}:${formOf(value, number)}`)
      return `{${texts.join(",")}}`
    }
    case "array":
      return `[${json.items.map((item) => formOf(item, number)).join(",")}]`
    case "string":
      return quoted(json.text)
    case "number":
      return number(json.text)
    case "word":
      return json.text
  }
}

const shortEscapes: ReadonlyMap<string, string> = new Map(
  [...escapes].filter(([kind]) => kind !== "/").map(([kind, unit]) => [unit, `\\${kind}`])
)

const quoted = (text: string): string => {
  const units = Array.from({ length: text.length }, (_, at) => {
    const code = text.charCodeAt(at)
    const short = shortEscapes.get(text.charAt(at))
    const long = `\\u${code.toString(16).padStart(4, "0")}`
    return short ?? (code < 0x20 ? long : text.charAt(at))
  })
  return `"${units.join("")}"`
}

/** What a value is as JavaScript sees it, made comparable: member order, `__proto__` and -0 count. */
export const shapeOf = (json: Json): unknown => {
  switch (json.kind) {
    case "object": {
      // An object's own order puts integer-like names first, so names are compared sorted.
      const members = [...new Map(json.members)].map(([name, value]) => [name, shapeOf(value)])
      return ["object", ...members.toSorted(byName)]
    }
    case "array":
      return ["array", ...json.items.map(shapeOf)]
    case "string":
      return json.text
    case "number":
      return Object.is(Number(json.text), -0) ? "-0" : ["number", Number(json.text)]
    case "word":
      return ["word", json.text]
  }
}

const byName = ([a]: ReadonlyArray<unknown>, [b]: ReadonlyArray<unknown>): number =>
  String(a) < String(b) ? -1 : 1

/** The same of a JavaScript value. */
export const shapeOfValue = (value: unknown): unknown => {
  if (Array.isArray(value)) return ["array", ...value.map(shapeOfValue)]
  if (typeof value === "object" && value !== null) {
    const members = Object.entries(value).map(([name, member]) => [name, shapeOfValue(member)])
    return ["object", ...members.toSorted(byName)]
  }
  if (typeof value === "number") return Object.is(value, -0) ? "-0" : ["number", value]
  return typeof value === "string" ? value : ["word", String(value)]
}
