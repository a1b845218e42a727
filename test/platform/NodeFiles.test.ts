import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Option, Schema } from "effect"
import type * as PlatformError from "effect/PlatformError"
import * as NodeFiles from "../../src/platform/NodeFiles.ts"
import { codeOf } from "../../src/store/errors.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"

const fileBytes = 200_000
const flag = "r"
const At = Schema.Int.check(Schema.isBetween({ minimum: -2, maximum: fileBytes + 10 }))
// From nothing to more than is read in place.
const Size = Schema.Literals([0, 1, 700, 65_536, 65_537, 150_000])
const Step = Schema.Union([
  Schema.Struct({ do: Schema.Literal("read"), size: Size, at: Schema.NullOr(At) }),
  Schema.Struct({ do: Schema.Literal("readAlloc"), size: Size, at: Schema.NullOr(At) }),
  Schema.Struct({
    do: Schema.Literal("seek"),
    at: At,
    from: Schema.Literals(["start", "current"])
  }),
  Schema.Struct({ do: Schema.Literal("stat") }),
  Schema.Struct({ do: Schema.Literal("write"), all: Schema.Boolean })
])

const position = (at: number | null) => (at === null ? {} : { position: BigInt(at) })

/** What one step answers, as text; of errors what code can go by. */
const answer = (file: FileSystem.File, step: typeof Step.Type) =>
  Effect.suspend((): Effect.Effect<unknown, PlatformError.PlatformError> => {
    switch (step.do) {
      case "read": {
        const buffer = new Uint8Array(step.size)
        return Effect.map(file.read(buffer, position(step.at)), (size) => [
          size,
          Buffer.from(buffer).toString("base64")
        ])
      }
      case "readAlloc":
        return Effect.map(file.readAlloc(step.size, position(step.at)), (found) =>
          Option.match(found, {
            onNone: () => null,
            onSome: (bytes) => Buffer.from(bytes).toString("base64")
          })
        )
      case "seek":
        return Effect.map(file.seek(BigInt(step.at), step.from), String)
      case "stat":
        return Effect.map(file.stat, ({ mode, size, type }) => [mode, String(size), type])
      case "write":
        return step.all ? file.writeAll(new Uint8Array(3)) : file.write(new Uint8Array(3))
    }
  }).pipe(
    Effect.map((value) => JSON.stringify(value)),
    Effect.catch((error) => Effect.succeed(`${error.reason._tag} ${codeOf(error)}`))
  )

const answers = (at: string, steps: ReadonlyArray<typeof Step.Type>) =>
  Effect.gen(function* () {
    const files = yield* FileSystem.FileSystem
    const file = yield* files.open(at, { flag, noFollow: true })
    return yield* Effect.forEach(steps, (step) => answer(file, step))
  }).pipe(Effect.scoped)

const refusal = (at: string) => Effect.flip(answers(at, []))

describe("NodeFiles", () => {
  it.effect.prop(
    "a file for reading answers as the platform's own",
    [Schema.Array(Step)],
    ([steps]) =>
      Effect.gen(function* () {
        const at = path.join(yield* TestLedger.directory, "file")
        fs.writeFileSync(
          at,
          Uint8Array.from({ length: fileBytes }, (_, nth) => nth % 251)
        )
        const ours = yield* Effect.provide(answers(at, steps), NodeFiles.layer)
        assert.deepStrictEqual(
          ours,
          yield* Effect.provide(answers(at, steps), NodeFileSystem.layer)
        )
      }).pipe(Effect.scoped),
    { arbitrary: { runs: 60 } }
  )

  it.effect("refuses a link, and what is not there, as the platform does", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      fs.writeFileSync(path.join(directory, "file"), "text")
      fs.symlinkSync(path.join(directory, "file"), path.join(directory, "link"))
      for (const [name, code] of [
        ["link", "ELOOP"],
        ["nothing", "ENOENT"],
        ["file/under", "ENOTDIR"]
      ] as const) {
        const at = path.join(directory, name)
        const ours = yield* Effect.provide(refusal(at), NodeFiles.layer)
        const theirs = yield* Effect.provide(refusal(at), NodeFileSystem.layer)
        assert.strictEqual(codeOf(ours), code)
        assert.deepStrictEqual(
          [ours.reason._tag, ours.message],
          [theirs.reason._tag, theirs.message]
        )
      }
    }).pipe(Effect.scoped)
  )

  it.effect("does not wait for whoever writes to a pipe", () =>
    Effect.gen(function* () {
      const pipe = path.join(yield* TestLedger.directory, "pipe")
      execFileSync("mkfifo", [pipe])
      const told = yield* Effect.provide(
        answers(pipe, [{ do: "stat" }, { do: "read", size: 1, at: 0 }]),
        NodeFiles.layer
      )
      assert.match(told[0] ?? "", /"Unknown"/)
      assert.match(told[1] ?? "", /ESPIPE|null/)
    }).pipe(Effect.scoped)
  )

  it.effect("closes a file with its scope", () =>
    Effect.gen(function* () {
      const at = path.join(yield* TestLedger.directory, "file")
      fs.writeFileSync(at, "text")
      const files = yield* FileSystem.FileSystem
      const file = yield* Effect.scoped(files.open(at, { flag, noFollow: true }))
      const closed = yield* Effect.flip(file.stat)
      assert.strictEqual(codeOf(closed), "EBADF")
    }).pipe(Effect.scoped, Effect.provide(NodeFiles.layer))
  )
})
