/** Texts that are points in time, nearly so, or not at all. */
import type { Choices } from "./choices.ts"

const spaces = [" ", "  ", "\t", "\n", "\u0085", "\u00a0", "\u2028", "\u3000", "\ufeff", "\u200b"]

const two = (c: Choices, max: number): string => {
  const value = String(c.below(max + 3))
  return c.once(12) ? value : value.padStart(2, "0")
}

const years = ["2026", "0000", "9999", "1", "02026", "+2026", "+10000", "-0001", "-0000"].concat([
  "+262142",
  "+262143",
  "-262143",
  "-262144",
  "+99999999999999999999",
  "-",
  "+",
  "1e3",
  "٢٠٢٦"
])

const zones = ["Z", "z", "+00:00", "-00:00", "+02:00", "-23:59", "+24:00", "+0200", "+02"].concat([
  "\u221202:00",
  " UTC",
  "UTC",
  "utc",
  "GMT",
  "",
  "+2:00",
  "+02 : 00",
  "+02::00",
  "+00:60"
])

const fraction = (c: Choices): string => {
  const digits = c.pick([0, 3, 6, 9, 1, 2, 10, 12, 30])
  if (digits === 0) return c.once(20) ? c.pick([".", ",5"]) : ""
  const some = Array.from({ length: digits }, () => c.pick("0123456789".split(""))).join("")
  return `.${some.slice(0, digits - 3)}${c.once(3) ? "000".slice(0, digits) : some.slice(-3)}`
}

/** A time, most parts as they should be. */
export const timeText = (c: Choices): string => {
  const gap = () => (c.once(40) ? c.pick(spaces) : "")
  const odd = <A>(usual: () => A, other: () => A): A => (c.once(10) ? other() : usual())
  const year = odd(
    () => String(1990 + c.below(50)),
    () => c.pick(years)
  )
  const day = odd(
    () => [two(c, 12), two(c, 31)],
    () => ["02", "29"]
  )
  const date = [year, ...day].join(`${gap()}-${gap()}`)
  const time = [two(c, 23), two(c, 59), two(c, 60)].join(`${gap()}:${gap()}`)
  const middle = odd(
    () => "T",
    () => c.pick(["t", " ", "  ", "", "\u00a0", "TT"])
  )
  const zone = odd(
    () => "Z",
    () => c.pick(zones)
  )
  return `${gap()}${date}${middle}${gap()}${time}${fraction(c)}${gap()}${zone}${gap()}`
}

const foreign = ["0", "9", "-", "+", ":", ".", "T", "Z", " ", "\u00a0", "\0", "é", "😀", "\ud800"]

/** A time with one place changed. */
export const brokenTime = (c: Choices): string => {
  const text = timeText(c)
  const at = c.below(text.length + 1)
  return text.slice(0, at) + c.pick(foreign) + text.slice(at + c.below(3))
}
