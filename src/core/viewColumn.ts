/**
 * Internal: what a column of a view holds, by what it is declared as in SQL.
 *
 * SQL turns a text into a number, or a number into a text, where a column asks for it, and a row would
 * come back as another than was put in. So each value must be what its column is declared for.
 */

/** What a column can hold. */
export type Value = string | number | null

/** A column, as far as its declaration tells without SQL. */
export interface Column {
  /** Whether its type, and whether it may be null, is all that there is to it. */
  readonly isPlain: boolean
  /** Whether it compares texts by other rules than that they are the same. */
  readonly isCollated: boolean
  /** What it must hold, where it does not hold this. */
  readonly expected: (value: unknown) => string | undefined
}

const plain = /^\s*\w+(?:\s+(not\s+)?null)?\s*$/i

// SQL ends a text at a NUL, and has no lone surrogates.
const isText = (value: unknown): value is string =>
  typeof value === "string" && !value.includes("\0") && value.isWellFormed()

interface Type {
  readonly holds: (value: unknown) => boolean
  readonly expected: string
}

const integer: Type = {
  // Others than these no number reads back.
  holds: Number.isSafeInteger,
  expected: "a whole number within ±(2^53 - 1)"
}
const any: Type = {
  holds: (value) => isText(value) || Number.isFinite(value),
  expected: "a well-formed text without NUL or a finite number"
}
const types: { readonly [name: string]: Type | undefined } = {
  int: integer,
  integer,
  real: { holds: Number.isFinite, expected: "a finite number" },
  text: { holds: isText, expected: "a well-formed text without NUL" },
  blob: { holds: () => false, expected: "a column of another type" }
}

/** What a declaration such as `INTEGER NOT NULL` says. */
export const columnOf = (sql: string): Column => {
  const simple = plain.exec(sql)
  const { expected, holds } = types[/\w+/.exec(sql)?.[0].toLowerCase() ?? ""] ?? any
  const isNullable = simple?.[1] === undefined
  return {
    isPlain: simple !== null,
    isCollated: /\bcollate\b/i.test(sql),
    expected: (value) =>
      holds(value) || (value === null && isNullable)
        ? undefined
        : isNullable
          ? `${expected}, or null`
          : expected
  }
}
