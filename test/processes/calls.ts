/**
 * What an appender asks a ledger for, call by call: pure, so that parent and child know the same.
 *
 * A call is one `append`, or an `appendAll` of 2 to 5 drafts. Each draft is named
 * `<ledger>.<appender>.<call>.<index>`, its id comes from its name, and its payload holds the name:
 * whoever finds a row can tell which call it belongs to, and whether that was ever made.
 */
import type { Draft } from "../../src/core/Draft.ts"
import * as Event from "../../src/core/Event.ts"
import { dice } from "./dice.ts"

export interface Call {
  readonly drafts: ReadonlyArray<Draft>
  /** Whether it is an `appendAll`. */
  readonly isGroup: boolean
}

export const rowType = "test.row.v1"

/** The name of a draft. */
export const nameOf = (ledger: string, appender: number, nth: number, index: number): string =>
  `${ledger}.${appender}.${nth}.${index}`

/** The id of the draft with this name. */
export const idOf = (name: string): string => Event.idFrom(name)

/** Most rows are small; some fill pages, so that a kill in the middle of a write can tear them. */
const fillCharsOf = (below: (size: number) => number): number => {
  const kind = below(20)
  if (kind === 0) return 20_000 + below(60_000)
  return kind < 5 ? 500 + below(4_000) : below(40)
}

/** The nth call of an appender, from 0. */
export const callOf = (ledger: string, appender: number, nth: number): Call => {
  const { below, once } = dice(`call ${ledger} ${appender} ${nth}`)
  const isGroup = !once(2)
  const size = isGroup ? 2 + below(4) : 1
  const drafts: Array<Draft> = []
  for (let index = 0; index < size; index++) {
    const name = nameOf(ledger, appender, nth, index)
    const before = drafts.at(-1)
    drafts.push({
      type: rowType,
      id: idOf(name),
      payload: { name, fill: "x".repeat(fillCharsOf(below)) },
      keys: { appender: String(appender) },
      ...(before === undefined || once(2) ? {} : { parentId: before.id })
    })
  }
  return { drafts, isGroup }
}
