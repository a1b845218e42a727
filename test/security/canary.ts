/**
 * A draft whose every field holds a word that nobody else says, and everything an error or a span
 * tells, as one text to look for that word in.
 */
import { Cause, Effect, Exit, Result, Tracer } from "effect"
import type { Draft } from "../../src/core/Draft.ts"
import * as Event from "../../src/core/Event.ts"

/** A draft of this name; the fields say which of them is heard. */
export const secret = (name: string, more: Partial<Draft> = {}): Draft => ({
  type: "a.v1",
  id: Event.idFrom(name),
  payload: { CANARYmember: ["CANARYpayload"] },
  keys: { CANARYname: "CANARYvalue" },
  sessionId: "CANARYsession",
  traceId: "trc_01CANARYTRACE0000000000000",
  domainTags: ["CANARYtag"],
  source: { type: "tool", name: "CANARYsource" },
  ...more
})

/** The words of a text, each once, sorted. */
export const heard = (text: string): ReadonlyArray<string> => [
  ...new Set(Array.from(text.matchAll(/CANARY[A-Za-z]*/g), ([word]) => word).toSorted())
]

const depthMax = 12

/** Every text that can be reached from a value: members, inherited messages, causes, stacks. */
const texts = (value: unknown, seen = new Set<unknown>(), depth = 0): ReadonlyArray<string> => {
  if (typeof value === "string") return [value]
  if (typeof value !== "object" || value === null) return []
  if (seen.has(value) || depth > depthMax || ArrayBuffer.isView(value)) return []
  seen.add(value)
  const found: Array<string> = []
  if (value instanceof Error) found.push(value.message, String(value), value.stack ?? "")
  for (const key of Reflect.ownKeys(value)) {
    const member = Object.getOwnPropertyDescriptor(value, key)
    found.push(String(key), ...texts(member?.value, seen, depth + 1))
  }
  return found
}

/** All that an error says, to whomever it is shown and however. */
export const said = (error: unknown): string =>
  [
    ...texts(error),
    String(error),
    Cause.pretty(Cause.fail(error)),
    Result.getOrElse(
      Result.try(() => JSON.stringify(error) ?? ""),
      () => ""
    )
  ].join("\n")

interface Recorded {
  readonly spans: ReadonlyArray<Tracer.NativeSpan>
  /** What all spans say: names, attributes, events, how they ended. */
  readonly text: () => string
}

/** A tracer that forgets nothing. */
export const recorder = (): Recorded & { readonly tracer: Tracer.Tracer } => {
  const spans: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  const text = () =>
    spans
      .map(({ attributes, events, name, status }) => {
        const how =
          status._tag === "Ended" && Exit.isFailure(status.exit)
            ? said(Cause.squash(status.exit.cause))
            : ""
        return [name, ...texts([...attributes]), ...texts(events), how].join("\n")
      })
      .join("\n")
  return { spans, text, tracer }
}

/** Run an effect whose spans are recorded, and give back the error that it must end with. */
export const failureOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Effect.exit(effect), (exit) =>
    Exit.isFailure(exit)
      ? Effect.succeed(Cause.squash(exit.cause))
      : Effect.die(new Error("this should have failed"))
  )
