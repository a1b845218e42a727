import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Sink, Stdio, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Progress from "../../src/cli/Progress.ts"
import * as SealogNode from "../../src/platform/SealogNode.ts"

/** What is drawn on a standard error that is a terminal, or is none. */
const drawn = (isTerminal: boolean, options: { readonly resultsOnStdout: boolean }) =>
  Effect.gen(function* () {
    const parts: Array<string> = []
    const stdio = Stdio.make({
      args: Effect.succeed([]),
      stdin: Stream.empty,
      stdout: () => Sink.drain,
      stderr: () => Sink.forEach((part) => Effect.sync(() => void parts.push(String(part)))),
      stderrIsTerminal: Effect.succeed(isTerminal),
      stdoutIsTerminal: Effect.succeed(true)
    })
    yield* Effect.gen(function* () {
      const tick = yield* Progress.make(options)
      yield* tick(100, 1)
      yield* tick(200, 2)
      yield* TestClock.adjust("100 millis")
      yield* tick(300, 3)
    }).pipe(Effect.scoped, Effect.provideService(Stdio.Stdio, stdio))
    return parts
  }).pipe(Effect.provide(SealogNode.layerPlatform))

describe("Progress", () => {
  it("render draws the share where the end is known, and only the count where it is not", () => {
    assert.strictEqual(
      Progress.render(50, 100, 12_800),
      `[${"#".repeat(15)}${".".repeat(15)}]  50%  12,800 lines`
    )
    assert.strictEqual(Progress.render(200, 100, 1), `[${"#".repeat(30)}] 100%  1 line`)
    assert.strictEqual(Progress.render(50, undefined, 7), "7 lines")
  })

  it("renderStep draws what a ledger tells of its long work", () => {
    const step = { task: "export", done: 1, total: 4, unit: "rows" } as const
    assert.strictEqual(Progress.renderStep(step), `[${"#".repeat(7)}${".".repeat(23)}]  25%  1 row`)
    const endless = { ...step, done: 2_048, total: undefined, unit: "bytes" } as const
    assert.strictEqual(Progress.renderStep(endless), "2,048 bytes")
  })

  it.effect("make draws at most ten times a second and wipes its line at the end", () =>
    Effect.gen(function* () {
      const parts = yield* drawn(true, { resultsOnStdout: false })
      assert.lengthOf(parts, 3)
      assert.match(parts[0] ?? "", /^\r.*1 line/)
      assert.match(parts[1] ?? "", /^\r.*3 lines/)
      assert.strictEqual(parts[2], "\r\u001b[K")
    })
  )

  it.effect("make draws nothing where standard error is no terminal, or results scroll by", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* drawn(false, { resultsOnStdout: false }), [])
      assert.deepStrictEqual(yield* drawn(true, { resultsOnStdout: true }), [])
    })
  )

  const under = (provider: ConfigProvider.ConfigProvider) =>
    Effect.provideService(
      drawn(true, { resultsOnStdout: false }),
      ConfigProvider.ConfigProvider,
      provider
    )

  it.effect("make draws on a terminal whose name may not be read, and nothing on a dumb one", () =>
    Effect.gen(function* () {
      const withheld = ConfigProvider.make(() => Effect.die(new Error("requires env access")))
      assert.lengthOf(yield* under(withheld), 3)
      const dumb = ConfigProvider.fromEnv({ env: { TERM: "dumb" } })
      assert.deepStrictEqual(yield* under(dumb), [])
    })
  )
})
