/**
 * JavaScript values that somebody may hand in where a JSON value or a text is expected. What they
 * answer does not change from one look to the next; some throw when they are looked at.
 */
import type { Choices } from "./choices.ts"
import { someText } from "./jsonTexts.ts"

class Named {
  readonly own = 1
  readonly type: string = "runtime"
  get inherited(): number {
    return 2
  }
}

class Shouting extends Array<unknown> {
  toJSON(): unknown {
    return "an array no more"
  }
}

const throws = (): never => {
  throw new RangeError("not to be looked at")
}

const numbers = [
  0,
  1,
  -1,
  1.5,
  -0,
  Number.NaN,
  Infinity,
  -Infinity,
  1e21,
  5e-324,
  2 ** 53,
  0.1,
  1e-7,
  1e20
]

const leaves: ReadonlyArray<(c: Choices) => unknown> = [
  () => null,
  (c) => c.below(2) === 0,
  (c) => c.pick(numbers),
  someText,
  (c) => c.below(1_000),
  () => undefined,
  () => 12n,
  () => Symbol("s"),
  () => Symbol.iterator,
  () => () => 1,
  () => throws,
  () => new Date(86_400_000),
  () => new Date(Number.NaN),
  () => /a/g,
  () => new Map([["a", 1]]),
  () => new Set(["a"]),
  () => Uint8Array.of(1, 2),
  () => new ArrayBuffer(2),
  () => Object(1),
  () => Object("text"),
  () => Object(false),
  () => Object(1n),
  () => Object(Symbol("s")),
  () => Object.create(null),
  () => new Named(),
  () => Named,
  () => new Error("an error"),
  () => Promise.resolve(1),
  () => new WeakMap(),
  () => [undefined],
  () => Array(2),
  () => Object.create({ inherited: 1 }),
  () => Object.defineProperty({}, "hidden", { value: 1 }),
  () => Object.create(null, { toString: { value: 1 }, valueOf: { value: 1 } }),
  () => ({ toString: 1, valueOf: 1 }),
  () => ({ toString: throws, valueOf: throws }),
  () => ({ [Symbol.toPrimitive]: throws }),
  () => ({ [Symbol.toStringTag]: "Number" }),
  () => new Proxy({ a: 1 }, {}),
  () => Shouting.from([1]),
  () => Object.freeze({ frozen: [1] }),
  () => ({ toJSON: () => undefined }),
  () => ({ toJSON: (key: string) => ({ key }) }),
  () => ({ toJSON: 1 }),
  () => ({ length: 1, 0: "a" })
]

/** What throws, whatever is asked of it. */
const traps: ReadonlyArray<() => unknown> = [
  () => ({
    get a() {
      return throws()
    }
  }),
  () => ({ toJSON: throws }),
  () => new Proxy({}, { get: throws }),
  () => new Proxy({}, { ownKeys: throws }),
  () => new Proxy({}, { getPrototypeOf: throws }),
  () => new Proxy([], { get: throws }),
  () => Proxy.revocable({}, {}).proxy,
  () => {
    const { proxy, revoke } = Proxy.revocable<Array<unknown>>([], {})
    revoke()
    return proxy
  }
]

export interface Kinds {
  /** Whether some values throw when they are looked at. */
  readonly traps: boolean
}

/** A value of any kind, with others inside. */
export const anyValue = (c: Choices, kinds: Kinds, depth = 3): unknown => {
  const kind = c.below(depth > 0 ? 8 : 3)
  if (kind < 2) return c.pick(leaves.slice(0, 5))(c)
  if (kind === 2) return c.pick(kinds.traps && c.once(4) ? traps : leaves)(c)
  const inner = () => anyValue(c, kinds, depth - 1)
  if (kind < 5) return c.list(4, inner)
  const value = Object.fromEntries(c.list(4, () => [someText(c), inner()]))
  if (c.once(30)) value["again"] = value
  return c.once(30) ? Object.assign(Object.create(null), value) : value
}

/** In words, for a failure; never throws. */
export const showValue = (value: unknown): string => {
  try {
    return `${JSON.stringify(value) ?? typeof value} (${describe(value)})`
  } catch {
    return describe(value)
  }
}

const describe = (value: unknown): string => {
  try {
    return typeof value === "object" && value !== null
      ? `${Object.prototype.toString.call(value)} with ${Reflect.ownKeys(value).map(String).join()}`
      : String(value)
  } catch {
    return `something of type ${typeof value}`
  }
}
