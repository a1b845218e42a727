/** Makes a history that fails smaller, as long as it fails, whatever it then fails with. */
import { Effect } from "effect"
import type { History, Request, Step } from "./history.ts"

/** What is wrong with a history; undefined where nothing is. */
export type Judge = (history: History) => Effect.Effect<string | undefined>

const without = <A>(list: ReadonlyArray<A>, at: number, size: number): ReadonlyArray<A> => [
  ...list.slice(0, at),
  ...list.slice(at + size)
]

const smallerRequests = (request: Request): ReadonlyArray<Request> =>
  (request._tag === "Rows" || request._tag === "Orphan") && request.names.length > 1
    ? [{ ...request, names: request.names.slice(1) }]
    : []

const smallerSteps = (step: Step): ReadonlyArray<Step> => {
  if (step._tag !== "Append") return []
  const { requests } = step
  const fewer = requests.length > 1 ? requests.map((_, at) => without(requests, at, 1)) : []
  const smaller = requests.flatMap((request, at) =>
    smallerRequests(request).map((one) => requests.with(at, one))
  )
  const quiet = step.reading ? [{ ...step, reading: false }] : []
  return [...quiet, ...[...fewer, ...smaller].map((requests) => ({ ...step, requests }))]
}

/** Every history that is one cut smaller, larger cuts first. */
function* smaller(history: History): Generator<History> {
  const { steps } = history
  for (let size = steps.length >> 1; size >= 1; size >>= 1) {
    for (let at = 0; at < steps.length; at += size)
      yield { ...history, steps: without(steps, at, size) }
  }
  for (const [at, step] of steps.entries()) {
    for (const one of smallerSteps(step)) yield { ...history, steps: steps.with(at, one) }
  }
}

/** How many smaller histories are tried at most: what is found by then is small enough. */
const triesMax = 400

/** The smallest history that was found to fail, and with what. */
export const shrink = Effect.fnUntraced(function* (
  history: History,
  failure: string,
  judge: Judge
): Effect.fn.Return<{ readonly history: History; readonly failure: string }> {
  let found = { history, failure }
  let tries = 0
  for (;;) {
    const before = found
    for (const candidate of smaller(found.history)) {
      if (++tries > triesMax) return found
      const failure = yield* judge(candidate)
      if (failure === undefined) continue
      found = { history: candidate, failure }
      break
    }
    if (found === before) return found
  }
})
