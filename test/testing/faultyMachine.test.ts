/** Faults of files strike exactly what they name, and do what they say. */
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, FileSystem, Result, Schema } from "effect"
import type { Scope } from "effect"
import type { PlatformError } from "effect/PlatformError"
import { codeOf } from "../../src/store/errors.ts"
import * as FaultyDisk from "../../src/testing/FaultyDisk.ts"

const utf8 = new TextEncoder()
const text = new TextDecoder()

type Files = FileSystem.FileSystem

/** A program on a disk that has, durable, `/d/f` of ten bytes and `/d/g`. */
const onDisk = <A, E>(
  seed: number,
  program: (
    disk: FaultyDisk.FaultyDisk,
    fs: Files,
    file: FileSystem.File
  ) => Effect.Effect<A, E, Scope.Scope>
) =>
  Effect.gen(function* () {
    const disk = yield* FaultyDisk.make({ seed })
    return yield* Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      yield* fs.makeDirectory("/d")
      for (const path of ["/d/f", "/d/g"]) {
        yield* fs.writeFile(path, utf8.encode("0123456789"))
        yield* syncOf(fs, path)
      }
      yield* syncOf(fs, "/d")
      yield* syncOf(fs, "/")
      const file = yield* fs.open("/d/f", { flag: "r+" })
      return yield* program(disk, fs, file)
    }).pipe(Effect.provide(disk.layer))
  }).pipe(Effect.scoped)

const syncOf = (fs: Files, path: string) =>
  Effect.scoped(Effect.flatMap(fs.open(path), (file) => file.sync))

/** Names, modes and contents as whoever only looks on sees them. */
const treeOf = ({ fileSystem: fs }: FaultyDisk.FaultyDisk) =>
  Effect.gen(function* () {
    const names = yield* fs.readDirectory("/", { recursive: true })
    return yield* Effect.forEach(names, (name) =>
      Effect.gen(function* () {
        const { mode, type } = yield* fs.stat(name)
        return [name, mode, type === "File" ? text.decode(yield* fs.readFile(name)) : ""] as const
      })
    )
  })

const contents = ({ fileSystem }: FaultyDisk.FaultyDisk, path = "/d/f") =>
  Effect.map(fileSystem.readFile(path), (bytes) => text.decode(bytes))

type Call = (fs: Files, file: FileSystem.File) => Effect.Effect<unknown, PlatformError, Scope.Scope>

/** One call for each operation that a fault can name, of the files' ones. */
const calls: {
  readonly [name in Exclude<FaultyDisk.OperationName, "statement" | "commit">]: Call
} = {
  open: (fs) => fs.open("/d/new", { flag: "wx" }),
  read: (_, file) => file.read(new Uint8Array(4)),
  write: (_, file) => file.write(utf8.encode("abc")),
  truncate: (_, file) => file.truncate(3),
  sync: (_, file) => file.sync,
  stat: (_, file) => file.stat,
  list: (fs) => fs.readDirectory("/d"),
  mkdir: (fs) => fs.makeDirectory("/d/made"),
  rename: (fs) => fs.rename("/d/f", "/d/h"),
  remove: (fs) => fs.remove("/d/g"),
  chmod: (fs) => fs.chmod("/d/f", 0o600)
}
const names = Object.keys(calls) as Array<keyof typeof calls>

const path = Schema.Literals(["/a", "/ab", "/c"])
const on = Schema.Literals(["write", "sync", "stat", "chmod"])

describe("a fault", () => {
  it.effect.prop(
    "strikes what it names, from the nth on and so often, and nothing else",
    [
      Arbitrary.array(
        Arbitrary.schema(
          Schema.Union([
            Schema.TaggedStruct("Call", { on, path }),
            Schema.TaggedStruct("Call", { on, path }),
            Schema.TaggedStruct("Fail", {
              on: Schema.NullOr(Schema.Array(on)),
              path: Schema.NullOr(Schema.Literals(["a", "b", "/c"])),
              nth: Schema.NullOr(Schema.Literals([1, 2, 3])),
              times: Schema.NullOr(Schema.Literals([1, 2, 3])),
              code: Schema.Literals(["EIO", "ENOSPC"])
            }),
            Schema.TaggedStruct("Mend", {})
          ])
        ),
        { maxLength: 30 }
      )
    ],
    ([steps]) =>
      Effect.gen(function* () {
        const disk = yield* FaultyDisk.make()
        const fs = yield* Effect.provide(FileSystem.FileSystem, disk.layer)
        const files = new Map<string, FileSystem.File>()
        for (const path of ["/a", "/ab", "/c"])
          files.set(path, yield* fs.open(path, { flag: "w+" }))
        let faults: Array<{ fault: (typeof steps)[number] & { _tag: "Fail" }; seen: number }> = []
        let struck = 0
        for (const step of steps) {
          if (step._tag === "Mend") {
            faults = []
            yield* disk.mend
            continue
          }
          if (step._tag === "Fail") {
            faults.push({ fault: step, seen: 0 })
            yield* disk.fail({
              on: step.on ?? undefined,
              path: step.path ?? undefined,
              nth: step.nth ?? undefined,
              times: step.times ?? undefined,
              code: step.code
            })
            continue
          }
          const due = faults
            .filter(({ fault }) => fault.on?.includes(step.on) ?? true)
            .filter(({ fault }) => step.path.includes(fault.path ?? ""))
            .filter((armed) => {
              const first = armed.fault.nth ?? 1
              armed.seen++
              return armed.seen >= first && armed.seen < first + (armed.fault.times ?? 1)
            })
          if (due.length > 0) struck++
          const file = files.get(step.path)
          assert.isDefined(file)
          const call = {
            write: file.write(utf8.encode("x")),
            sync: file.sync,
            stat: file.stat,
            chmod: fs.chmod(step.path, 0o600)
          }[step.on]
          const said = yield* Effect.result(call)
          const code = Result.isFailure(said) ? codeOf(said.failure) : undefined
          assert.strictEqual(code, due[0]?.fault.code)
          assert.strictEqual(yield* disk.struck, struck)
        }
      }),
    { arbitrary: { runs: 200 } }
  )

  for (const name of names) {
    it.effect(`of ${name} fails with its code and does nothing; where it persists, all of it`, () =>
      Effect.gen(function* () {
        const tried = (persists: boolean | undefined) =>
          onDisk(1, (disk, fs, file) =>
            Effect.gen(function* () {
              const before = yield* treeOf(disk)
              if (persists !== undefined) yield* disk.fail({ on: name, code: "EMFILE", persists })
              const call = Effect.scoped(calls[name](fs, file))
              const code = persists === undefined ? yield* call : codeOf(yield* Effect.flip(call))
              if (persists !== undefined) assert.strictEqual(code, "EMFILE")
              return { before, after: yield* treeOf(disk), struck: yield* disk.struck }
            })
          )
        const [done, failed, persisted] = [
          yield* tried(undefined),
          yield* tried(false),
          yield* tried(true)
        ]
        assert.deepStrictEqual([done.struck, failed.struck, persisted.struck], [0, 1, 1])
        assert.deepStrictEqual(failed.after, failed.before)
        assert.deepStrictEqual(persisted.after, done.after)
        const changes = ["read", "sync", "stat", "list"].includes(name)
        assert.strictEqual(JSON.stringify(done.after) === JSON.stringify(done.before), changes)
      })
    )
  }

  it.effect("has the tag that a real disk's error has", () =>
    onDisk(1, (disk, fs) =>
      Effect.gen(function* () {
        const tags = {
          EIO: "Unknown",
          ENOSPC: "Unknown",
          EMFILE: "Unknown",
          EROFS: "Unknown",
          EACCES: "PermissionDenied",
          ENOENT: "NotFound",
          EBUSY: "Busy"
        }
        for (const [code, tag] of Object.entries(tags)) {
          yield* disk.fail({ on: "open", code })
          const error = yield* Effect.flip(Effect.scoped(fs.open("/d/f")))
          assert.strictEqual(error.reason._tag, tag, code)
        }
      })
    )
  )

  it.effect("of a full disk puts so many bytes down first", () =>
    onDisk(1, (disk, _, file) =>
      Effect.gen(function* () {
        yield* file.seek(BigInt(8), "start")
        yield* disk.fail({ on: "write", code: "ENOSPC", bytes: 3 })
        assert.strictEqual(
          codeOf(yield* Effect.flip(file.writeAll(utf8.encode("abcdef")))),
          "ENOSPC"
        )
        assert.strictEqual(yield* contents(disk), "01234567abc")
      })
    )
  )

  it.effect("of a short write takes so many bytes and says so; writeAll writes on", () =>
    onDisk(1, (disk, _, file) =>
      Effect.gen(function* () {
        yield* disk.fail({ on: "write", short: 2 })
        assert.strictEqual(yield* file.write(utf8.encode("abcd")), 2)
        assert.strictEqual(yield* contents(disk), "ab23456789")
        yield* disk.fail({ on: "write", short: 1 })
        yield* file.writeAll(utf8.encode("xyz"))
        assert.strictEqual(yield* contents(disk), "abxyz56789")
        yield* disk.fail({ on: "write", short: 0 })
        const { reason } = yield* Effect.flip(file.writeAll(utf8.encode("!")))
        assert.strictEqual(reason._tag, "WriteZero")
      })
    )
  )

  it.effect("of fsync loses what it left clean; one that persists has written it", () =>
    Effect.gen(function* () {
      for (const persists of [false, true]) {
        for (let seed = 1; seed <= 20; seed++) {
          const left = yield* onDisk(seed, (disk, fs, file) =>
            Effect.gen(function* () {
              yield* file.write(utf8.encode("abc"))
              yield* disk.fail({ on: "sync", code: "EIO", persists })
              assert.strictEqual(codeOf(yield* Effect.flip(file.sync)), "EIO")
              assert.strictEqual(text.decode(yield* fs.readFile("/d/f")), "abc3456789")
              yield* file.sync
              yield* disk.powerCut
              return yield* contents(disk)
            })
          )
          assert.strictEqual(left, persists ? "abc3456789" : "0123456789")
        }
      }
    })
  )

  for (const name of names) {
    it.effect(`of ${name} kills instead of it, or with it done in part or whole`, () =>
      Effect.gen(function* () {
        const whole = yield* onDisk(1, (disk, fs, file) =>
          Effect.andThen(Effect.scoped(calls[name](fs, file)), treeOf(disk))
        )
        const seen = new Set<string>()
        for (const during of [false, true]) {
          for (let seed = 1; seed <= (name === "write" ? 40 : 2); seed++) {
            yield* onDisk(seed, (disk, fs, file) =>
              Effect.gen(function* () {
                const before = yield* treeOf(disk)
                yield* disk.fail({ on: name, crash: "kill", during })
                const call = Effect.scoped(calls[name](fs, file))
                assert.strictEqual(codeOf(yield* Effect.flip(call)), "EIO")
                assert.deepStrictEqual(yield* disk.deaths, ["kill"])
                if (!during) assert.deepStrictEqual(yield* treeOf(disk), before)
                else if (name === "write") seen.add(yield* contents(disk))
                else assert.deepStrictEqual(yield* treeOf(disk), whole)
              })
            )
          }
        }
        const written = ["0123456789", "a123456789", "ab23456789", "abc3456789"]
        assert.deepStrictEqual([...seen].toSorted(), name === "write" ? written : [])
      })
    )
  }
})
