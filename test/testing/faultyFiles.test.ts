/**
 * A faulty disk without faults beside a real directory: the same calls, the same answers, the same
 * tree at the end.
 */
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, FileSystem, Option, Predicate, Schema, Stream } from "effect"
import type { PlatformError } from "effect/PlatformError"
import type { Scope } from "effect"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import * as FaultyDisk from "../../src/testing/FaultyDisk.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"

const Path = Schema.Literals(["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "d/e/f", "x/a"])
const Flag = Schema.Literals(["r", "r+", "w", "wx", "w+", "wx+", "a", "ax", "a+", "ax+"])
const below = (end: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: end - 1 }))

/** `file` counts the files that are open, and goes round; a call of none is passed over. */
const file = below(4)

/** Never none: Deno does not ask the system then whether it may be written. */
const some = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 }))

const Step = Schema.Union([
  Schema.TaggedStruct("Open", { path: Path, flag: Flag, noFollow: Schema.Boolean }),
  Schema.TaggedStruct("Open", { path: Path, flag: Schema.Literals(["w+", "a+", "r+"]) }),
  Schema.TaggedStruct("Write", { file, bytes: some, all: Schema.Boolean }),
  Schema.TaggedStruct("Read", { file, size: below(9), position: Schema.NullOr(below(12)) }),
  Schema.TaggedStruct("ReadAlloc", { file, size: below(9) }),
  Schema.TaggedStruct("Seek", {
    file,
    by: Schema.Int.check(Schema.isBetween({ minimum: -6, maximum: 12 })),
    from: Schema.Literals(["start", "current"])
  }),
  Schema.TaggedStruct("Truncate", { file, length: Schema.NullOr(below(14)) }),
  Schema.TaggedStruct("Stat", { file }),
  Schema.TaggedStruct("Sync", { file }),
  Schema.TaggedStruct("MakeDirectory", { path: Path, recursive: Schema.Boolean }),
  Schema.TaggedStruct("MakeDirectory", { path: Schema.Literals(["d", "d/e"]) }),
  Schema.TaggedStruct("Rename", { path: Path, to: Path }),
  Schema.TaggedStruct("Remove", { path: Path, recursive: Schema.Boolean, force: Schema.Boolean }),
  Schema.TaggedStruct("List", { path: Path, recursive: Schema.Boolean }),
  Schema.TaggedStruct("Chmod", { path: Path, mode: Schema.Literals([0o700, 0o750, 0o755]) }),
  Schema.TaggedStruct("Look", { path: Path, links: Schema.Boolean }),
  Schema.TaggedStruct("ReadFile", { path: Path }),
  Schema.TaggedStruct("TruncatePath", { path: Path, length: Schema.NullOr(below(14)) }),
  Schema.TaggedStruct("Exists", { path: Path }),
  Schema.TaggedStruct("RealPath", { path: Path })
])
type Step = typeof Step.Type

/** What is comparable of an answer: links of directories and times are the system's own. */
const seen = (info: FileSystem.File.Info) => ({
  type: info.type,
  mode: info.mode,
  size: info.type === "File" ? Number(info.size) : undefined,
  links: info.type === "File" ? Option.getOrUndefined(info.nlink) : undefined
})

const codeOf = ({ reason }: PlatformError): string => {
  const code = Predicate.hasProperty(reason.cause, "code") ? ` ${String(reason.cause.code)}` : ""
  return `${reason._tag}${reason._tag === "BadArgument" ? "" : code}`
}

/** The bytes of the nth write, none of them zero and each write's its own. */
const bytesOf = (nth: number, length: number) =>
  Uint8Array.from({ length }, (_, i) => 1 + ((nth * 16 + i) % 255))

type Answer = Effect.Effect<unknown, PlatformError, Scope.Scope>

const parentOf = (path: string) => path.slice(0, Math.max(0, path.lastIndexOf("/")))

/** What a faulty disk refuses, and a real one may do: a directory moved into another one. */
const movesDirectory = (fs: FileSystem.FileSystem, root: string, from: string, to: string) =>
  parentOf(from) === parentOf(to) || to.startsWith(`${from}/`) || from.startsWith(`${to}/`)
    ? Effect.succeed(false)
    : Effect.match(fs.stat(`${root}/${from}`), {
        onFailure: () => false,
        onSuccess: ({ type }) => type === "Directory"
      })

const onPath = (fs: FileSystem.FileSystem, root: string, step: Step): Answer => {
  if (!("path" in step)) return Effect.void
  const path = `${root}/${step.path}`
  switch (step._tag) {
    case "MakeDirectory": {
      const recursive = "recursive" in step ? step.recursive : false
      return Effect.asVoid(fs.makeDirectory(path, { mode: 0o700, recursive }))
    }
    case "Rename":
      return Effect.flatMap(movesDirectory(fs, root, step.path, step.to), (moves) =>
        moves ? Effect.void : fs.rename(path, `${root}/${step.to}`)
      )
    case "Remove":
      return fs.remove(path, step)
    case "List":
      return Effect.map(fs.readDirectory(path, step), (names) => names.toSorted())
    case "Chmod":
      return fs.chmod(path, step.mode)
    case "Look":
      return Effect.map(step.links ? fs.lstat(path) : fs.stat(path), seen)
    case "ReadFile":
      return Effect.map(fs.readFile(path), (bytes) => [...bytes])
    case "TruncatePath":
      return fs.truncate(path, step.length ?? undefined)
    case "Exists":
      return fs.exists(path)
    case "RealPath":
      return Effect.map(fs.realPath(path), (real) => real.slice(root.length))
    default:
      return Effect.void
  }
}

const onFile = (file: FileSystem.File, step: Step, nth: number): Answer => {
  switch (step._tag) {
    case "Write": {
      const bytes = bytesOf(nth, step.bytes)
      return step.all ? file.writeAll(bytes) : file.write(bytes)
    }
    case "Read": {
      const buffer = new Uint8Array(step.size)
      const options = step.position === null ? {} : { position: BigInt(step.position) }
      return Effect.map(file.read(buffer, options), (size) => [size, ...buffer])
    }
    case "ReadAlloc":
      return Effect.map(
        file.readAlloc(step.size),
        Option.match({
          onNone: () => undefined,
          onSome: (bytes) => [...bytes]
        })
      )
    case "Seek":
      return file.seek(BigInt(step.by), step.from)
    case "Truncate":
      return file.truncate(step.length ?? undefined)
    case "Stat":
      return Effect.map(file.stat, seen)
    case "Sync":
      return file.sync
    default:
      return Effect.void
  }
}

/** Everything under the root, with modes and contents. */
const treeOf = Effect.fnUntraced(function* (fs: FileSystem.FileSystem, root: string) {
  const names = yield* fs.readDirectory(root, { recursive: true })
  return yield* Effect.forEach(names.toSorted(), (name) =>
    Effect.gen(function* () {
      const { type, mode } = yield* fs.stat(`${root}/${name}`)
      const bytes = type === "File" ? [...(yield* fs.readFile(`${root}/${name}`))] : undefined
      return { name, mode, bytes }
    })
  )
})

/** What each step answers, and the tree that is left. */
const runOn = (fs: FileSystem.FileSystem, root: string, steps: ReadonlyArray<Step>) =>
  Effect.gen(function* () {
    const open: Array<FileSystem.File> = []
    const answers: Array<{ readonly step: Step; readonly said: unknown }> = []
    for (const [nth, step] of steps.entries()) {
      const answer = Effect.gen(function* () {
        if (step._tag === "Open") {
          open.push(yield* fs.open(`${root}/${step.path}`, { ...step, mode: 0o600 }))
          return undefined
        }
        if (!("file" in step)) return yield* onPath(fs, root, step)
        const file = open.length === 0 ? undefined : open[step.file % open.length]
        return file === undefined ? undefined : yield* onFile(file, step, nth)
      })
      const said = yield* Effect.match(answer, {
        onFailure: codeOf,
        onSuccess: (value) => ({ value })
      })
      answers.push({ step, said })
    }
    return { answers, tree: yield* treeOf(fs, root) }
  }).pipe(Effect.scoped)

describe("faultyFiles", () => {
  it.effect.prop(
    "answers as a real directory does, and leaves the same tree",
    [Arbitrary.array(Arbitrary.schema(Step), { maxLength: 60 })],
    ([steps]) =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const root = yield* fs.realPath(yield* TestLedger.directory)
        const real = yield* runOn(fs, root, steps)
        const disk = yield* FaultyDisk.make({ seed: steps.length })
        const faulty = yield* Effect.gen(function* () {
          const files = yield* FileSystem.FileSystem
          yield* files.makeDirectory("/root")
          return yield* runOn(files, "/root", steps)
        }).pipe(Effect.provide(disk.layer))
        for (const [nth, { step, said }] of real.answers.entries()) {
          const what = JSON.stringify(step)
          assert.deepStrictEqual(faulty.answers[nth]?.said, said, `call ${nth + 1}, ${what}`)
        }
        assert.deepStrictEqual(faulty.tree, real.tree)
      }).pipe(Effect.provide(SealogNode.layerPlatform)),
    { arbitrary: { runs: 250 } }
  )

  it.effect("has no links and watches nothing, and says so; directories stay where they are", () =>
    Effect.gen(function* () {
      const { fileSystem: fs } = yield* FaultyDisk.make()
      yield* fs.makeDirectory("/d/e", { recursive: true })
      const refused = [
        fs.symlink("/d", "/l"),
        fs.link("/d", "/l"),
        fs.readLink("/d"),
        Stream.runDrain(fs.watch("/d"))
      ]
      for (const call of refused)
        assert.strictEqual(codeOf(yield* Effect.flip(call)), "BadArgument")
      assert.strictEqual(codeOf(yield* Effect.flip(fs.rename("/d/e", "/e"))), "Unknown EXDEV")
      yield* fs.rename("/d/e", "/d/f")
      assert.deepStrictEqual(yield* fs.readDirectory("/", { recursive: true }), ["d", "d/f", "tmp"])
    })
  )
})
