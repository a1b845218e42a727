/**
 * What the tests of opening share: a file system that is watched or dies, ledgers in every state
 * of disrepair, and processes of their own.
 */
import { execFileSync, spawn } from "node:child_process"
import type { SpawnOptions } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { assert } from "@effect/vitest"
import { Effect, FileSystem, Layer } from "effect"
import type { Path, Scope } from "effect"
import type { SecureRandom } from "effect/crypto"
import * as PlatformError from "effect/PlatformError"
import type { Draft } from "../../src/core/Draft.ts"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import type { Guard } from "../../src/store/locking/Guard.ts"
import type { Process } from "../../src/store/locking/Marker.ts"
import type { OpenReport } from "../../src/store/opening/Opening.ts"
import { Ledger } from "../../src/store/Ledger.ts"
import type { OpenError } from "../../src/store/Ledger.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { named } from "./ledgerFixtures.ts"

export const isDeno = "deno" in process.versions
export const isRoot = process.getuid?.() === 0

/** Told every call of the file system, in words; decides whether it happens and what it answers. */
export type Watch = <A, R>(
  call: string,
  effect: Effect.Effect<A, PlatformError.PlatformError, R>
) => Effect.Effect<A, PlatformError.PlatformError, R>

const isEffect = (value: unknown): value is Effect.Effect<unknown, PlatformError.PlatformError> =>
  Effect.isEffect(value)

/** The file system of the running system, every call of it told to `watch`; paths below `root`. */
export const watchedFiles = (root: string, watch: Watch): Layer.Layer<FileSystem.FileSystem> =>
  Layer.effect(
    FileSystem.FileSystem,
    Effect.map(FileSystem.FileSystem, (real) => {
      const short = (at: unknown) => path.relative(root, String(at)) || "."
      const file = (name: string, inner: FileSystem.File): FileSystem.File =>
        new Proxy(inner, {
          get: (target, key) => {
            const value: unknown = Reflect.get(target, key)
            if (isEffect(value)) return watch(`${String(key)} ${name}`, value)
            if (typeof value !== "function" || key === "seek") {
              return typeof value === "function" ? value.bind(target) : value
            }
            return (...args: ReadonlyArray<unknown>) => {
              const size = args[0] instanceof Uint8Array ? args[0].byteLength : args[0]
              const made: unknown = Reflect.apply(value, target, [...args])
              return isEffect(made) ? watch(`${String(key)} ${name} ${String(size)}`, made) : made
            }
          }
        })
      return new Proxy(real, {
        get: (target, key) => {
          const value: unknown = Reflect.get(target, key)
          if (typeof value !== "function") return value
          return (...args: ReadonlyArray<unknown>) => {
            const made: unknown = Reflect.apply(value, target, [...args])
            if (!isEffect(made)) return made
            const [first, second] = args
            if (key === "open") {
              const flag = String(Reflect.get(Object(second), "flag") ?? "r")
              const opened = real.open(String(first), Object(second))
              return Effect.map(watch(`open ${short(first)} ${flag}`, opened), (inner) =>
                file(short(first), inner)
              )
            }
            const to = key === "rename" ? ` ${short(second)}` : ""
            return watch(`${String(key)} ${short(first)}${to}`, made)
          }
        }
      })
    })
  ).pipe(Layer.provide(SealogNode.layerPlatform))

/** The file system of the running system but for its fsyncs: for many recoveries, none cut short. */
export const unsyncedFiles: Layer.Layer<FileSystem.FileSystem> = Layer.effect(
  FileSystem.FileSystem,
  Effect.map(FileSystem.FileSystem, (real) => ({
    ...real,
    open: (...args: Parameters<typeof real.open>) =>
      Effect.map(
        real.open(...args),
        (file) =>
          new Proxy(file, {
            get: (target, key) => {
              if (key === "sync") return Effect.void
              const value: unknown = Reflect.get(target, key)
              return typeof value === "function" ? value.bind(target) : value
            }
          })
      )
  }))
).pipe(Layer.provide(SealogNode.layerPlatform))

/** What ends a process in the middle: every call from now on fails, as for one that is dead. */
export const dead = (call: string): PlatformError.PlatformError =>
  PlatformError.systemError({
    _tag: "Unknown",
    module: "FileSystem",
    method: call.split(" ")[0] ?? call,
    pathOrDescriptor: call,
    cause: Object.assign(new Error("the power was cut"), { code: "EIO" })
  })

type Options = Parameters<typeof TestLedger.layer<never>>[0]

type Platform = FileSystem.FileSystem | Path.Path | Guard | Process | SecureRandom.SecureRandom

/** A platform with this file system in place of the real one. */
export const platformOver = (
  files: Layer.Layer<FileSystem.FileSystem>,
  seed?: number
): Layer.Layer<Platform> => Layer.merge(Layer.fresh(TestLedger.layerPlatform(seed)), files)

/** As `using`, with every call of the file system told to `watch`. */
export const usingWatched = <A, E>(
  options: Options & { readonly directory: string },
  watch: Watch,
  body: (ledger: Ledger["Service"]) => Effect.Effect<A, E>
): Effect.Effect<A, E | OpenError> =>
  Effect.flatMap(Ledger, body).pipe(
    Effect.provide(
      Layer.provide(
        SealogNode.layerOver(options),
        platformOver(watchedFiles(options.directory, watch), options.seed)
      )
    )
  )

/** Open a ledger, say how that went, close it. */
export const opening = (options: Options): Effect.Effect<OpenReport, OpenError> =>
  Effect.map(Ledger, (ledger) => ledger.opened).pipe(Effect.provide(TestLedger.layer(options)))

/** What opening is refused with. */
export const refusal = (options: Options): Effect.Effect<OpenError> =>
  Effect.orDie(Effect.flip(opening(options)))

/** Small drafts, whose rows are as short as rows can be. */
export const small = (name: string): Draft => named(name, { type: "a.v1", payload: name })

/** Groups of drafts with these sizes, named a0, b0, b1, c0, … */
export const groups = (...sizes: ReadonlyArray<number>): ReadonlyArray<ReadonlyArray<Draft>> =>
  sizes.map((size, nth) =>
    Array.from({ length: size }, (_, index) => small(`${String.fromCharCode(97 + nth)}${index}`))
  )

/** The path of a segment. */
export const segmentOf = (directory: string, firstSeq: number): string =>
  path.join(directory, "segments", `${String(firstSeq).padStart(16, "0")}.jsonl`)

/** The ends of the lines of a file, LF counted. */
export const lineEnds = (bytes: Uint8Array): ReadonlyArray<number> => {
  const ends: Array<number> = []
  for (let at = bytes.indexOf(0x0a); at !== -1; at = bytes.indexOf(0x0a, at + 1)) ends.push(at + 1)
  return ends
}

/** The folders of operations, with what lies in each. */
export const operations = (
  root: string
): ReadonlyArray<{ readonly id: string; readonly files: { readonly [name: string]: Buffer } }> => {
  const folder = path.join(root, "operations")
  if (!fs.existsSync(folder)) return []
  return fs
    .readdirSync(folder)
    .toSorted()
    .map((id) => ({
      id,
      files: Object.fromEntries(
        fs
          .readdirSync(path.join(folder, id))
          .map((name) => [name, fs.readFileSync(path.join(folder, id, name))])
      )
    }))
}

/** Every byte that operations have cut, in the order of the operations. */
export const keptBytes = (root: string): Buffer =>
  Buffer.concat(
    operations(root).flatMap(({ files }) =>
      Object.entries(files).flatMap(([name, bytes]) => (name.endsWith(".cut") ? [bytes] : []))
    )
  )

/** Every path under a directory with its kind, mode and bytes: a change of anything shows. */
export const image = (directory: string): ReadonlyArray<string> =>
  fs
    .readdirSync(directory, { recursive: true, encoding: "utf8" })
    .toSorted()
    .map((name) => {
      const at = path.join(directory, name)
      const info = fs.lstatSync(at)
      const content = info.isFile() ? fs.readFileSync(at).toString("latin1") : ""
      const target = info.isSymbolicLink() ? fs.readlinkSync(at) : ""
      return `${name} ${info.mode.toString(8)} ${target}${content}`
    })

/** Mount something at a directory until the scope closes; each list is one call of `mount`. */
export const mounted = (
  at: string,
  ...calls: ReadonlyArray<ReadonlyArray<string>>
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      for (const call of calls) execFileSync("mount", [...call, at], { stdio: "ignore" })
    }),
    () =>
      Effect.sync(() => {
        execFileSync("umount", ["-l", at], { stdio: "ignore" })
      })
  )

/** Whether this user may mount; where not, the tests of full and read-only disks are skipped. */
export const canMount: boolean = (() => {
  if (process.platform !== "linux" || !isRoot) return false
  const at = fs.mkdtempSync(path.join(fs.realpathSync("/tmp"), "sealog-mount-"))
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", at], { stdio: "ignore" })
    execFileSync("umount", [at], { stdio: "ignore" })
    return true
  } catch {
    return false
  } finally {
    fs.rmdirSync(at)
  }
})()

const script = fileURLToPath(new URL("./child.ts", import.meta.url))

/** The other runtime, where it is there. */
export const otherRuntime: string = fileURLToPath(
  new URL(`../../node_modules/.bin/${isDeno ? "node" : "deno"}`, import.meta.url)
)

/** A process that runs `child.ts` with these arguments; killed with the scope. */
export const child = (
  arguments_: ReadonlyArray<string>,
  executable: string = process.execPath,
  options: SpawnOptions & { readonly flags?: ReadonlyArray<string> } = {}
) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const { flags = [], ...rest } = options
      const run = /deno(\.exe)?$/.test(executable)
        ? ["run", "-A", ...flags.map((flag) => `--v8-flags=${flag}`), script]
        : [...flags, script]
      const process_ = spawn(executable, [...run, ...arguments_], {
        ...rest,
        stdio: ["pipe", "pipe", "pipe"]
      })
      const died = new Promise<void>((resolve) => process_.once("close", () => resolve()))
      const { stderr, stdin, stdout } = process_
      if (stdin === null || stdout === null || stderr === null) throw new Error("no pipes")
      let errors = ""
      stderr.on("data", (text) => {
        errors += String(text)
      })
      const lines = createInterface({ input: stdout })
      const first = await new Promise<string>((resolve) => {
        lines.once("line", resolve)
        lines.once("close", () => resolve(errors))
      })
      return { died, first, kill: () => process_.kill("SIGKILL"), stdin }
    }),
    ({ died, kill }) =>
      Effect.promise(() => {
        kill()
        return died
      })
  )

/** What a child says in its one line of JSON. */
export const said = Effect.fnUntraced(function* (...arguments_: Parameters<typeof child>) {
  const { first } = yield* Effect.scoped(child(...arguments_))
  assert.match(first, /^[{["]/, first)
  const value: unknown = JSON.parse(first)
  return value
})

/** A ledger that was closed, and everything needed to put it into any state. */
export interface Fixture {
  readonly directory: string
  /** What the one segment holds. */
  readonly bytes: Buffer
  /** The ends of its lines, LF counted. */
  readonly ends: ReadonlyArray<number>
  /** The mirror after the nth group; the first is empty. */
  readonly mirrors: ReadonlyArray<Buffer>
}

/** Make a ledger of groups of these sizes, closed after each. */
export const makeFixture = Effect.fnUntraced(function* (
  directory: string,
  ...sizes: ReadonlyArray<number>
) {
  const mirror = path.join(directory, "mirror.sqlite")
  yield* opening({ directory })
  const mirrors = [fs.readFileSync(mirror)]
  for (const group of groups(...sizes)) {
    yield* Effect.flatMap(Ledger, (ledger) => ledger.appendAll(group)).pipe(
      Effect.provide(TestLedger.layer({ directory }))
    )
    mirrors.push(fs.readFileSync(mirror))
  }
  const bytes = fs.readFileSync(segmentOf(directory, 1))
  return { directory, bytes, ends: lineEnds(bytes), mirrors } satisfies Fixture
})

/** Put a ledger into a state: its segments, and its mirror or none. Operations are forgotten. */
export const putState = (
  { directory }: Fixture,
  segments: { readonly [firstSeq: number]: Uint8Array },
  mirror: Uint8Array | undefined
): void => {
  for (const name of ["segments", "operations"]) {
    fs.rmSync(path.join(directory, name), { recursive: true, force: true })
  }
  fs.mkdirSync(path.join(directory, "segments"))
  for (const [firstSeq, bytes] of Object.entries(segments)) {
    fs.writeFileSync(segmentOf(directory, Number(firstSeq)), bytes)
  }
  for (const name of fs.readdirSync(directory)) {
    if (name.startsWith("mirror.sqlite")) fs.rmSync(path.join(directory, name))
  }
  if (mirror !== undefined) fs.writeFileSync(path.join(directory, "mirror.sqlite"), mirror)
}

/** The line with this number, from 0, LF counted. */
export const lineOf = ({ bytes, ends }: Fixture, nth: number): Buffer =>
  bytes.subarray(ends[nth - 1] ?? 0, ends[nth])

/** A copy with other bytes from an offset on. */
export const overwritten = (bytes: Uint8Array, offset: number, by: Uint8Array): Buffer => {
  const copy = Buffer.from(bytes)
  copy.set(by, offset)
  return copy
}
