/**
 * What the program says: results on standard output, everything else on standard error.
 *
 * Bytes go out as they are given, in order, and all of them before the program ends with any exit
 * code. A reader that goes away (`sealog tail DIR | head -1`) is no fault of anyone: writing fails
 * with `OutputClosed`, which ends the program without a word. Writing waits for a slow reader, so
 * that nothing piles up in memory.
 */
import {
  Cause,
  Console,
  Context,
  Data,
  Effect,
  Exit,
  Fiber,
  Layer,
  Predicate,
  Queue,
  Stdio,
  Stream
} from "effect"
import { isPlatformError } from "effect/PlatformError"
import * as Errors from "../store/errors.ts"

/** Standard output takes no more. `code` is the system's, `EPIPE` where its reader went away. */
export class OutputClosed extends Data.TaggedError("OutputClosed")<{
  readonly code: string | null
}> {
  override get message(): string {
    return `standard output cannot be written (${this.code ?? "unknown"}); look at where it goes`
  }
}

/** Standard output and standard error. */
export class Output extends Context.Service<
  Output,
  {
    readonly write: (part: string | Uint8Array) => Effect.Effect<void, OutputClosed>
    /** A value as one line of JSON. */
    readonly json: (value: unknown) => Effect.Effect<void, OutputClosed>
    readonly line: (text: string) => Effect.Effect<void, OutputClosed>
    /** A line for the person at the terminal. */
    readonly note: (text: string) => Effect.Effect<void>
    /** Wait until everything is written. Nothing can be written afterwards. */
    readonly finish: Effect.Effect<void, OutputClosed>
  }
>()("sealog/cli/Output") {}

const utf8 = new TextEncoder()

const joined = (parts: ReadonlyArray<string | Uint8Array>): Uint8Array => {
  const bytes = parts.map((part) => (typeof part === "string" ? utf8.encode(part) : part))
  const whole = new Uint8Array(bytes.reduce((sum, part) => sum + part.byteLength, 0))
  let at = 0
  for (const part of bytes) {
    whole.set(part, at)
    at += part.byteLength
  }
  return whole
}

const partsMax = 256

/** The system's code, also of an error that Deno throws where Node reports it. */
const codeOf = (error: unknown): string | null => {
  if (isPlatformError(error)) return Errors.codeOf(error)
  return Predicate.hasProperty(error, "code") ? String(error.code) : null
}

const make = Effect.gen(function* () {
  const stdio = yield* Stdio.Stdio
  const queue = yield* Queue.bounded<string | Uint8Array, Cause.Done>(partsMax)
  let writing: Fiber.Fiber<unknown> | undefined
  let closed: OutputClosed | undefined
  // Begun by the first write: standard output is left alone where there is none.
  const begin = Effect.gen(function* () {
    writing ??= yield* Stream.fromQueue(queue).pipe(
      Stream.mapArray((parts) => [joined(parts)]),
      Stream.run(stdio.stdout({ endOnDone: true })),
      Effect.catchCause((cause) => {
        closed = new OutputClosed({ code: codeOf(Cause.squash(cause)) })
        // Whoever waits to write is told, by an offer that is not taken.
        return Queue.shutdown(queue)
      }),
      // Not in the scope, which would interrupt it before the rest is written.
      Effect.forkDetach
    )
  })
  const write = Effect.fnUntraced(function* (part: string | Uint8Array) {
    if (writing === undefined) yield* begin
    const taken = yield* Queue.offer(queue, part)
    if (!taken) return yield* closed ?? new OutputClosed({ code: null })
  })
  const finish = Effect.gen(function* () {
    if (writing === undefined) return
    yield* Queue.end(queue)
    yield* Fiber.await(writing)
    if (closed !== undefined) return yield* closed
  })
  yield* Effect.addFinalizer((exit) => {
    const rest = Effect.ignore(finish)
    // Somebody who interrupts does not wait for a reader that may never read on.
    return Exit.hasInterrupts(exit) ? Effect.ignore(Effect.timeout(rest, "1 second")) : rest
  })
  return Output.of({
    write,
    json: (value) => write(`${JSON.stringify(value)}\n`),
    line: (text) => write(`${text}\n`),
    note: (text) => Console.error(text),
    finish
  })
})

/** Over the standard output of this process. */
export const layer: Layer.Layer<Output, never, Stdio.Stdio> = Layer.effect(Output, make)
