import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, FileSystem, Layer, Result, Schema } from "effect"
import * as PlatformError from "effect/PlatformError"
import { vi } from "vitest"
import * as Doctor from "../../src/platform/Doctor.ts"
import * as Points from "../../src/platform/doctorPoints.ts"
import type { FileSystemKind } from "../../src/platform/fileSystems.ts"
import * as fileSystems from "../../src/platform/fileSystems.ts"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import { Guard, LockError, StoreBusy } from "../../src/store/locking/Guard.ts"
import * as TestLedger from "../../src/testing/TestLedger.ts"
import { canMount, child, image, isRoot, makeFixture, mounted } from "../store/crashKit.ts"
import * as faults from "../store/faults.ts"

// What the kernel says of a place's file system, where a test says so.
const told = vi.hoisted(() => ({ magic: undefined as bigint | undefined }))
vi.mock(import("node:fs"), async (original) => {
  const real = await original()
  const statfsSync = new Proxy(real.statfsSync, {
    apply: (target, self, args: Parameters<typeof real.statfsSync>) => {
      const info: object = Reflect.apply(target, self, args)
      return told.magic === undefined ? info : Object.assign(info, { type: told.magic })
    }
  })
  return { ...real, statfsSync, default: { ...real.default, statfsSync } }
})

type Points = Doctor.DurabilityReport["points"]

const examine = (directory: string) =>
  Effect.provide(Doctor.examine(directory), SealogNode.layerPlatform)

/** The directory examined over a file system, or a guard, that is changed. */
const over = (
  directory: string,
  change: (real: FileSystem.FileSystem) => Partial<FileSystem.FileSystem>,
  guard?: Layer.Layer<Guard>
) =>
  Effect.gen(function* () {
    const real = yield* FileSystem.FileSystem
    const files = Layer.succeed(FileSystem.FileSystem, { ...real, ...change(real) })
    return yield* Effect.provide(
      Doctor.examine(directory),
      guard === undefined ? files : Layer.merge(files, guard)
    )
  }).pipe(Effect.provide(SealogNode.layerPlatform))

const nothing = () => ({})

const unmetOf = (report: Doctor.DurabilityReport) =>
  Object.fromEntries(report.unmet.map((name) => [name, report.points[name].found]))

/**
 * Every path below with what a change of it would change. No file is opened: closing the guard in
 * the process that holds it would let it go.
 */
const witness = (directory: string) =>
  fs
    .readdirSync(directory, { recursive: true, encoding: "utf8" })
    .toSorted()
    .concat(".")
    .map((name) => {
      const info = fs.lstatSync(path.join(directory, name), { bigint: true })
      return [name, info.ino, info.mode, info.size, info.mtimeNs, info.ctimeNs].join(" ")
    })

describe("Doctor", () => {
  it.live("finds here all that a ledger relies on, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const report = yield* examine(directory)
      assert.deepStrictEqual(unmetOf(report), {})
      assert.deepStrictEqual([report.directory, report.triedIn], [directory, directory])
      for (const name of ["modes", "links", "rename", "fsync", "directoryFsync", "wal"] as const) {
        assert.strictEqual(report.points[name].verdict, "ok", name)
      }
      assert.deepInclude(report.points.guard, {
        verdict: "ok",
        found: "this process and another one were refused"
      })
      assert.isAbove(report.freeBytes ?? 0, 0)
      assert.isAtLeast(report.fsyncMedianMillis ?? -1, 0)
      assert.match(report.versions.sqlite, /^3\.\d+\.\d+$/)
      assert.match(report.versions.effect, /^4\./)
      assert.deepStrictEqual(fs.readdirSync(directory), [])
      const encoded = Schema.encodeSync(Doctor.DurabilityReport)(report)
      assert.deepStrictEqual(Schema.decodeSync(Doctor.DurabilityReport)(encoded), report)
    })
  )

  it.live("tries nothing inside a ledger, wherever in it is named, and lets its guard be", () =>
    Effect.gen(function* () {
      const parent = fs.realpathSync(yield* TestLedger.directory)
      const directory = path.join(parent, "ledger")
      yield* makeFixture(directory, 1, 2)
      const beside = path.join(parent, "log.jsonl.sealog")
      fs.mkdirSync(beside)
      fs.writeFileSync(path.join(beside, "guard"), "")
      yield* Effect.gen(function* () {
        const before = [witness(directory), witness(beside)]
        for (const named of [directory, path.join(directory, "segments"), beside]) {
          const report = yield* examine(named)
          assert.deepStrictEqual([report.triedIn, unmetOf(report)], [parent, {}], named)
        }
        assert.deepStrictEqual([witness(directory), witness(beside)], before)
        const { first } = yield* child(["hold", directory])
        assert.match(first, /"tag":"StoreBusy"/)
      }).pipe(Effect.provide(TestLedger.layer({ directory })))
      assert.deepStrictEqual(fs.readdirSync(parent).toSorted(), ["ledger", "log.jsonl.sealog"])
    })
  )

  it.effect("is gone without a trace when it is interrupted", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      const disk = yield* faults.make
      const [reached, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const until = Effect.andThen(Deferred.succeed(reached, undefined), Deferred.await(go))
      disk.fail({ operation: "sync", path: "synced", until, times: 1 })
      const running = yield* Effect.forkChild(over(directory, () => disk.fileSystem))
      yield* Deferred.await(reached)
      assert.match(fs.readdirSync(directory)[0] ?? "", /^\.sealog-doctor-/)
      yield* Fiber.interrupt(running)
      assert.deepStrictEqual(fs.readdirSync(directory), [])
    })
  )

  it.effect("refuses what it cannot examine, by name", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      fs.writeFileSync(path.join(directory, "file"), "")
      fs.symlinkSync(directory, path.join(directory, "link"))
      const cases = [
        ["missing", /nothing is there/],
        ["file", /it is no directory/],
        ["link", /it is a symbolic link/],
        ["file/below", /cannot be looked at \(ENOTDIR\)/]
      ] as const
      for (const [name, reason] of cases) {
        const error = yield* Effect.flip(examine(path.join(directory, name)))
        assert.instanceOf(error, Doctor.NotExaminable)
        assert.match(error.message, reason)
      }
      assert.deepStrictEqual(fs.readdirSync(directory).toSorted(), ["file", "link"])
    })
  )

  it.effect("says what could not be tried where nothing can be written", ({ skip }) =>
    Effect.gen(function* () {
      if (isRoot && !fs.existsSync("/sys/kernel")) return skip("root may write everywhere here")
      const directory = isRoot ? "/sys" : yield* TestLedger.directory
      if (!isRoot) fs.chmodSync(directory, 0o500)
      const report = yield* examine(directory)
      assert.match(report.points.writable.found, /\((?:EACCES|EPERM|EROFS)\)/)
      assert.strictEqual(report.points.writable.verdict, "missing")
      const untried = report.unmet.filter((name) => report.points[name].verdict === "untried")
      assert.deepStrictEqual(untried, [
        "modes",
        "links",
        "rename",
        "fsync",
        "directoryFsync",
        "wal",
        "guard"
      ])
      assert.isNull(report.fsyncMedianMillis)
    })
  )

  it.effect.skipIf(!canMount)("claims nothing for a ledger that is a mount of its own", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* TestLedger.directory, "ledger")
      fs.mkdirSync(directory)
      yield* mounted(directory, ["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
      yield* makeFixture(directory, 1)
      const before = image(directory)
      const report = yield* examine(directory)
      assert.match(report.points.writable.found, /a file system of its own/)
      assert.strictEqual(report.points.guard.verdict, "untried")
      assert.deepInclude(report.points.fileSystem, { verdict: "warning", found: "tmpfs" })
      assert.strictEqual(report.points.freeSpace.verdict, "warning")
      assert.deepStrictEqual(image(directory), before)
    })
  )

  it.effect.skipIf(process.platform !== "linux")("refuses a file system over a network", () =>
    Effect.gen(function* () {
      const directory = yield* TestLedger.directory
      for (const [magic, name] of [
        [0x6969n, "NFS"],
        [-11317950n, "CIFS"]
      ] as const) {
        told.magic = magic
        const report = yield* examine(directory).pipe(
          Effect.ensuring(Effect.sync(() => (told.magic = undefined)))
        )
        assert.deepStrictEqual(unmetOf(report), { fileSystem: `${name}, over a network` })
        assert.strictEqual(report.points.fileSystem.verdict, "refused")
      }
    })
  )
})

const errorOf = (method: string, code: string) =>
  PlatformError.systemError({
    _tag: "Unknown",
    module: "FileSystem",
    method,
    cause: Object.assign(new Error(code), { code })
  })

/** File systems that do not do what is asked of them, and what must be said of each. */
const broken: ReadonlyArray<
  readonly [
    what: string,
    unmet: keyof Points,
    found: RegExp,
    change: (real: FileSystem.FileSystem) => Partial<FileSystem.FileSystem>
  ]
> = [
  [
    "modes cannot be set",
    "modes",
    /^0644 and 0755$/,
    (real) => ({
      chmod: () => Effect.void,
      stat: (at) =>
        Effect.map(real.stat(at), (info) => ({
          ...info,
          mode: info.type === "Directory" ? 0o40755 : 0o100644
        }))
    })
  ],
  [
    "links are followed",
    "links",
    /^a link was followed$/,
    (real) => ({ open: (at, options) => real.open(at, { ...options, noFollow: false }) })
  ],
  [
    "a rename does nothing",
    "rename",
    /NotFound|still there/,
    (real) => ({
      rename: (from, to) => (to.endsWith("renamed") ? Effect.void : real.rename(from, to))
    })
  ],
  [
    "a rename leaves what was there",
    "rename",
    /still there/,
    (real) => ({
      rename: (from, to) =>
        to.endsWith("renamed") && fs.existsSync(to) ? Effect.void : real.rename(from, to)
    })
  ],
  [
    "an fsync of a file fails",
    "fsync",
    /EIO|sync/,
    (real) => ({
      open: (at, options) =>
        Effect.map(real.open(at, options), (file) => (at.endsWith("synced") ? failing(file) : file))
    })
  ],
  [
    "an fsync of a directory fails",
    "directoryFsync",
    /EISDIR/,
    (real) => ({
      open: (at, options) =>
        /\.sealog-doctor-[^/]*$/.test(at)
          ? Effect.fail(errorOf("open", "EISDIR"))
          : real.open(at, options)
    })
  ],
  [
    "SQLite finds no file of its own",
    "wal",
    /mirror\.sqlite is a directory/,
    (real) => ({
      makeTempDirectoryScoped: (options) =>
        Effect.tap(real.makeTempDirectoryScoped(options), (at) =>
          Effect.sync(() => fs.mkdirSync(path.join(at, "mirror.sqlite")))
        )
    })
  ],
  [
    "no shared memory is in use",
    "wal",
    /no shared memory/,
    (real) => ({
      exists: (at) => (at.endsWith("-shm") ? Effect.succeed(false) : real.exists(at))
    })
  ]
]

const failing = (file: FileSystem.File): FileSystem.File =>
  new Proxy(file, {
    get: (target, key) => {
      if (key === "sync") return Effect.fail(errorOf("sync", "EIO"))
      const value: unknown = Reflect.get(target, key)
      return typeof value === "function" ? value.bind(target) : value
    }
  })

const guarded = (hold: Guard["Service"]["hold"]) => Layer.succeed(Guard, { hold })

const busy = (at: string) =>
  new StoreBusy({ path: at, marker: null, ageMillis: null, hint: "Wait." })

/** Keeps others of this process out, and nobody else. */
const localOnly = () => {
  const held = new Set<string>()
  return guarded((at) =>
    Effect.acquireRelease(
      Effect.suspend(() => {
        if (held.has(at)) return Effect.fail(busy(at))
        held.add(at)
        fs.writeFileSync(at, "")
        return Effect.void
      }),
      () => Effect.sync(() => held.delete(at))
    )
  )
}

const lockError = (at: string) =>
  new LockError({ path: at, operation: "taking", reason: "has none", cause: null, hint: "Go." })

describe("Doctor, where something is missing", () => {
  for (const [what, name, found, change] of broken) {
    it.live(`names ${name} where ${what}, and tries the rest`, () =>
      Effect.gen(function* () {
        const directory = yield* TestLedger.directory
        // What is broken for all files breaks several points; each is looked at by itself.
        const report = yield* over(directory, change)
        const { hint, verdict, found: said } = report.points[name]
        assert.strictEqual(verdict, "missing", JSON.stringify(report.points))
        assert.match(said, found)
        assert.match(hint ?? "", /Take another|Take a|Look at/)
        assert.strictEqual(report.points.guard.verdict, "ok")
        assert.deepStrictEqual(fs.readdirSync(directory), [])
      })
    )
  }

  const guards: ReadonlyArray<readonly [string, () => Layer.Layer<Guard>, RegExp]> = [
    ["lets everybody in", () => guarded(() => Effect.void), /^a second holder$/],
    ["keeps no other process out", localOnly, /^another process held it too$/],
    ["cannot be taken", () => guarded((at) => Effect.fail(lockError(at))), /guard has none/]
  ]

  for (const [what, layer, found] of guards) {
    it.live(`names the guard where it ${what}`, () =>
      Effect.gen(function* () {
        const report = yield* over(yield* TestLedger.directory, nothing, layer())
        assert.deepStrictEqual(report.unmet, ["guard"])
        assert.match(report.points.guard.found, found)
      })
    )
  }
})

const local = (more: Partial<FileSystemKind> = {}) =>
  Result.succeed<FileSystemKind>({ name: "XFS", nature: "local", flushes: true, ...more })

describe("Doctor's points", () => {
  it("take the oldest runtime that is promised, and none before it", () => {
    const oks = ["Node 22.19.0", "Node 24.0.0", "Deno 2.9.0", "Deno 3.0.0"]
    const others = ["Node 22.18.9", "Node 21.99.0", "Deno 2.8.9", "Deno 1.46.0", "Bun 9.9.9"]
    for (const one of oks) assert.strictEqual(Points.runtime(one).verdict, "ok", one)
    for (const one of others) assert.strictEqual(Points.runtime(one).verdict, "missing", one)
  })

  it("say of an fsync what each runtime asks of each system", () => {
    const said = (...args: Parameters<typeof Points.fullFsync>) => {
      const { found, verdict } = Points.fullFsync(...args)
      return [verdict, found.slice(0, 14)]
    }
    assert.deepStrictEqual(said("linux", false, local()), ["ok", "the kernel's f"])
    assert.deepStrictEqual(said("linux", true, local({ flushes: false })), [
      "missing",
      "the mount keep"
    ])
    assert.strictEqual(said("linux", false, local({ nature: "memory" }))[0], "warning")
    assert.strictEqual(said("linux", false, Result.fail("denied"))[0], "warning")
    assert.deepStrictEqual(said("darwin", false, local()), ["ok", "F_FULLFSYNC, o"])
    assert.deepStrictEqual(said("darwin", true, local()), ["ok", "F_FULLFSYNC; S"])
    assert.strictEqual(said("win32", false, local())[0], "warning")
  })

  it("refuse every network file system, and warn of what survives no power cut", () => {
    const verdict = (magic: bigint, type = "") => {
      const mount = type === "" ? undefined : { at: "/", type, options: [] }
      return Points.fileSystem(Result.succeed(fileSystems.kindOf(magic, mount))).verdict
    }
    const network = [
      0x6969n,
      0x517bn,
      0xff534d42n,
      0xfe534d42n,
      0x5346414fn,
      0x6b414653n,
      0x00c36400n,
      0x01021997n,
      0x0bd00bd0n,
      0x7461636fn,
      0x01161970n,
      0x19830326n,
      0x73757245n,
      0x564cn
    ]
    for (const magic of network) assert.strictEqual(verdict(magic), "refused", magic.toString(16))
    for (const magic of network) assert.strictEqual(verdict(magic - (1n << 32n)), "refused")
    for (const magic of [0xef53n, 0x58465342n, 0x9123683en])
      assert.strictEqual(verdict(magic), "ok")
    for (const magic of [0x01021994n, 0x794c7630n, 0x1234n]) {
      assert.strictEqual(verdict(magic), "warning")
    }
    assert.strictEqual(verdict(0x65735546n, "fuse.sshfs"), "refused")
    assert.strictEqual(verdict(0x65735546n, "fuse.gcsfuse"), "refused")
    for (const type of ["fuseblk", "fuse.mergerfs", "virtiofs", ""]) {
      assert.strictEqual(verdict(0x65735546n, type), "warning", type)
    }
  })

  it("know a share of Windows by its path", () => {
    for (const share of ["\\\\server\\share\\x", "//server/share", "\\\\?\\UNC\\server\\share"]) {
      assert.strictEqual(fileSystems.kindAt(share, "win32").nature, "network", share)
    }
    for (const own of ["C:\\data", "\\\\?\\C:\\data", "\\\\.\\D:"]) {
      assert.strictEqual(fileSystems.kindAt(own, "win32").nature, "unknown", own)
    }
  })

  it("find the mount of a path: the nearest, the later of two, its options", () => {
    const info = [
      "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw,errors=continue",
      "30 22 8:2 / /data rw - xfs /dev/b rw,attr2",
      "31 30 8:3 / /data/my\\040disk rw,noatime - ext4 /dev/c rw,nobarrier",
      "32 22 0:40 / /data rw master:2 - nfs4 server:/x rw,vers=4.2",
      "garbage"
    ].join("\n")
    const at = (real: string) => fileSystems.mountOf(info, real)
    assert.deepStrictEqual([at("/")?.type, at("/home/x")?.type], ["ext4", "ext4"])
    assert.deepStrictEqual([at("/data")?.type, at("/database")?.type], ["nfs4", "ext4"])
    assert.deepStrictEqual(at("/data/my disk/ledger")?.at, "/data/my disk")
    assert.isFalse(fileSystems.kindOf(0xef53n, at("/data/my disk/ledger")).flushes)
    assert.isTrue(fileSystems.kindOf(0xef53n, at("/home")).flushes)
    assert.isUndefined(fileSystems.mountOf("", "/"))
  })
})
