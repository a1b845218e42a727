/** Two ledgers in one program, each with a mirror of its own. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer } from "effect"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import { Ledger } from "../../src/store/Ledger.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { named, query, assertSound } from "../store/ledgerFixtures.ts"

const events = (directory: string) =>
  query(path.join(directory, "mirror.sqlite"), "SELECT id FROM events ORDER BY rowid").map(
    ({ id }) => id
  )

const both = (a: string, b: string) =>
  Effect.gen(function* () {
    const first = yield* Ledger
    yield* first.append(named("a"))
    yield* Effect.gen(function* () {
      const second = yield* Ledger
      yield* second.append(named("b"))
      assert.strictEqual((yield* second.head).seq, 1)
      yield* assertSound(second)
    }).pipe(Effect.provide(SealogNode.layer({ directory: b })))
    yield* first.append(named("c"))
    yield* assertSound(first)
  }).pipe(Effect.provide(SealogNode.layer({ directory: a })))

class Left extends Context.Service<Left, Ledger["Service"]>()("Left") {}
class Right extends Context.Service<Right, Ledger["Service"]>()("Right") {}

describe("a second ledger in the same program", () => {
  it.live("has a mirror of its own where it is opened inside the first", () =>
    Effect.gen(function* () {
      const [a, b] = [yield* TestLedger.directory, yield* TestLedger.directory]
      const exit = yield* Effect.exit(both(a, b))
      assert.isTrue(Exit.isSuccess(exit), String(exit))
      assert.deepStrictEqual(events(a), [named("a").id, named("c").id])
      assert.deepStrictEqual(events(b), [named("b").id])
    })
  )

  it.live("has a mirror of its own where both are layers of one program", () =>
    Effect.gen(function* () {
      const [a, b] = [yield* TestLedger.directory, yield* TestLedger.directory]
      const left = Layer.effect(Left, Ledger).pipe(
        Layer.provide(SealogNode.layer({ directory: a }))
      )
      const right = Layer.effect(Right, Ledger).pipe(
        Layer.provide(SealogNode.layer({ directory: b }))
      )
      const exit = yield* Effect.gen(function* () {
        const [one, two] = [yield* Left, yield* Right]
        yield* one.append(named("a"))
        yield* two.append(named("b"))
        yield* one.append(named("c"))
        yield* assertSound(one)
        yield* assertSound(two)
      }).pipe(Effect.provide(Layer.merge(left, right)), Effect.exit)
      assert.isTrue(Exit.isSuccess(exit), String(exit))
      assert.deepStrictEqual(fs.existsSync(path.join(b, "mirror.sqlite")), true, "b has no mirror")
      assert.deepStrictEqual(events(a), [named("a").id, named("c").id])
      assert.deepStrictEqual(events(b), [named("b").id])
    })
  )
})
