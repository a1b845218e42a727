/**
 * The laws of the two planes: what a power cut may leave of bytes and of names, that nothing else is
 * ever left, and that each way to lose something really happens.
 */
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import type { DirectoryNode, FileNode, Node } from "../../src/testing/planes.ts"
import { Planes } from "../../src/testing/planes.ts"

/** Numbers from 0 up to 1 from a seed (mulberry32). */
const randomOf = (seed: number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

const below = (end: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: end - 1 }))
const anySeed = below(1_000_000)

const filled = (length: number, value: number) => new Uint8Array(length).fill(value)

/** A file of these bytes, durable with its name. */
const durableFile = (planes: Planes, bytes: Uint8Array): FileNode => {
  const file = planes.makeFile(planes.root, "file", 0o600)
  planes.write(file, 0, bytes)
  planes.sync(file)
  planes.sync(planes.root)
  return file
}

const ByteStep = Schema.Union([
  Schema.TaggedStruct("Write", { offset: below(24), length: below(12) }),
  Schema.TaggedStruct("Write", { offset: below(24), length: below(12) }),
  Schema.TaggedStruct("Resize", { length: below(30) }),
  Schema.TaggedStruct("Sync", {}),
  Schema.TaggedStruct("FailedSync", {})
])

/** What of a file is durable, and each change since, without the planes. */
interface Paper {
  durable: ReadonlyArray<number>
  pending: Array<{ readonly offset: number; readonly bytes: Uint8Array } | number>
}

const resized = (bytes: ReadonlyArray<number>, length: number): ReadonlyArray<number> =>
  Array.from({ length }, (_, i) => bytes[i] ?? 0)

const settled = ({ durable, pending }: Paper): ReadonlyArray<number> =>
  pending.reduce((bytes: ReadonlyArray<number>, change) => {
    if (typeof change === "number") return resized(bytes, change)
    const { length } = change.bytes
    if (length === 0) return bytes
    const all = [...resized(bytes, Math.max(bytes.length, change.offset + length))]
    all.splice(change.offset, length, ...change.bytes)
    return all
  }, durable)

/** What each byte may be: as it was, as a write since made it, zero where the file had grown. */
const assertMayBe = ({ durable, pending }: Paper, left: ReadonlyArray<number>) => {
  const lengths = pending.map((change) =>
    typeof change === "number"
      ? change
      : change.bytes.length === 0
        ? durable.length
        : change.offset + change.bytes.length
  )
  const resizes = pending.filter((change) => typeof change === "number")
  const floor = Math.min(durable.length, ...resizes)
  assert.isAtLeast(left.length, floor)
  assert.isAtMost(left.length, Math.max(durable.length, ...lengths))
  for (const [at, byte] of left.entries()) {
    const may = pending.flatMap((change) =>
      typeof change === "number" ? [] : [change.bytes[at - change.offset]]
    )
    if (at >= floor) may.push(0)
    assert.include([durable[at], ...may], byte, `byte ${at}`)
  }
}

describe("planes, of bytes", () => {
  it.prop(
    "a power cut leaves each byte old or new, zeros only where the file had grown",
    [Arbitrary.array(Arbitrary.schema(ByteStep), { maxLength: 12 }), anySeed],
    ([steps, seed]) => {
      const planes = new Planes()
      const file = durableFile(planes, filled(16, 255))
      const paper: Paper = { durable: [...filled(16, 255)], pending: [] }
      let live = paper.durable
      for (const [nth, step] of steps.entries()) {
        if (step._tag === "Write") {
          const bytes = filled(step.length, nth + 1)
          planes.write(file, step.offset, bytes)
          paper.pending.push({ offset: step.offset, bytes })
          live = settled({ durable: live, pending: paper.pending.slice(-1) })
        } else if (step._tag === "Resize") {
          planes.resize(file, step.length)
          paper.pending.push(step.length)
          live = resized(live, step.length)
        } else if (step._tag === "Sync") {
          planes.sync(file)
          paper.durable = settled(paper)
          paper.pending = []
        } else {
          planes.forget(file)
          paper.pending = []
        }
        assert.deepStrictEqual([...file.live.view()], live)
      }
      planes.cut(randomOf(seed))
      const left = [...file.durable.view()]
      assertMayBe(paper, left)
      assert.deepStrictEqual([...file.live.view()], left)
      planes.cut(randomOf(seed + 1))
      assert.deepStrictEqual([...file.live.view()], left, "what was left is durable")
    },
    { arbitrary: { runs: 1_000 } }
  )

  it("an append is lost, kept, torn at either end, in blocks, or grown by zeros", () => {
    const seen = new Set<string>()
    for (let seed = 0; seed < 400; seed++) {
      const planes = new Planes()
      const file = durableFile(planes, filled(10, 1))
      // So long that blocks of at most 64 bytes never look like one end of it.
      planes.write(file, 10, filled(2_000, 2))
      planes.cut(randomOf(seed))
      const text = String.fromCharCode(...file.live.view(10).map((byte) => 48 + byte))
      if (text === "") seen.add("none")
      else if (/^2{2000}$/.test(text)) seen.add("all")
      else if (/^2+$/.test(text)) seen.add("the start")
      else if (/^0+$/.test(text)) seen.add("zeros")
      else if (/^0+2+$/.test(text)) seen.add("the end")
      else if (/^2+0+$/.test(text)) seen.add("the start, then zeros")
      else seen.add("blocks")
    }
    assert.strictEqual(seen.size, 7, [...seen].join(", "))
  })

  it("of several writes any subset is lost, out of order too", () => {
    const seen = new Set<string>()
    for (let seed = 0; seed < 600; seed++) {
      const planes = new Planes()
      const file = durableFile(planes, filled(3, 0))
      for (const at of [0, 1, 2]) planes.write(file, at, filled(1, 1))
      planes.cut(randomOf(seed))
      seen.add([...file.live.view()].join(""))
    }
    assert.strictEqual(seen.size, 8, [...seen].join(", "))
  })

  it("a truncation survives or does not, by itself", () => {
    const seen = new Set<string>()
    for (let seed = 0; seed < 200; seed++) {
      const planes = new Planes()
      const file = durableFile(planes, filled(4, 1))
      planes.resize(file, 1)
      planes.write(file, 1, filled(1, 2))
      planes.cut(randomOf(seed))
      seen.add([...file.live.view()].join(""))
    }
    assert.includeMembers([...seen], ["1111", "1211", "1", "12", "10"])
  })

  it("a failed fsync leaves pages clean: read back they are there, a power cut loses them", () => {
    for (let seed = 0; seed < 100; seed++) {
      const planes = new Planes()
      const file = durableFile(planes, filled(4, 1))
      planes.write(file, 2, filled(6, 2))
      planes.forget(file)
      planes.write(file, 0, filled(1, 3))
      planes.sync(file)
      assert.deepStrictEqual([...file.live.view()], [3, 1, 2, 2, 2, 2, 2, 2])
      planes.cut(randomOf(seed))
      assert.deepStrictEqual([...file.live.view()], [3, 1, 1, 1])
    }
  })
})

const name = Schema.Literals(["a", "b"])
const place = { at: below(2), name }

/** `at` is one of two directories, which are durable. */
const NameStep = Schema.Union([
  Schema.TaggedStruct("Create", place),
  Schema.TaggedStruct("Remove", place),
  Schema.TaggedStruct("Rename", { ...place, to: name, toAt: below(2) }),
  Schema.TaggedStruct("Rename", { ...place, to: name, toAt: below(2) }),
  Schema.TaggedStruct("Sync", { at: below(2) })
])

type Names = ReadonlyMap<string, Node>

describe("planes, of names", () => {
  it.prop(
    "a power cut leaves each name as it was at the last fsync of its directory, or as made since",
    [Arbitrary.array(Arbitrary.schema(NameStep), { minLength: 4, maxLength: 20 }), anySeed],
    ([steps, seed]) => {
      const planes = new Planes()
      const one = planes.makeDirectory(planes.root, "one", 0o700)
      const two = planes.makeDirectory(planes.root, "two", 0o700)
      planes.sync(planes.root)
      const directories = [one, two]
      for (const node of directories) {
        for (const name of ["a", "b"]) planes.makeFile(node, name, 0o600)
        planes.sync(node)
      }
      const at = (nth: number): DirectoryNode => directories[nth] ?? one
      const synced = new Map<Node, Names>(directories.map((node) => [node, new Map(node.live)]))
      const since = new Map(
        directories.map((node) => [node, new Array<[string, Node | undefined]>()])
      )
      const note = (node: DirectoryNode, name: string) =>
        since.get(node)?.push([name, node.live.get(name)])
      for (const step of steps) {
        const node = at(step.at)
        if (step._tag === "Sync") {
          planes.sync(node)
          synced.set(node, new Map(node.live))
          since.set(node, [])
        } else if (step._tag === "Create") {
          if (node.live.has(step.name)) continue
          planes.makeFile(node, step.name, 0o600)
          note(node, step.name)
        } else if (step._tag === "Remove") {
          if (!node.live.has(step.name)) continue
          planes.remove(node, step.name)
          note(node, step.name)
        } else {
          const [from, to] = [step.name, step.to]
          const target = at(step.toAt)
          if (!node.live.has(from) || node.live.get(from) === target.live.get(to)) continue
          planes.rename({ at: node, name: from }, { at: target, name: to })
          note(node, from)
          note(target, to)
        }
      }
      planes.cut(randomOf(seed))
      for (const node of directories) {
        assert.deepStrictEqual([...node.live], [...node.durable])
        for (const name of ["a", "b"]) {
          const may = [synced.get(node)?.get(name)]
          for (const [changed, to] of since.get(node) ?? []) if (changed === name) may.push(to)
          assert.include(may, node.live.get(name), `${name} of ${directories.indexOf(node)}`)
        }
      }
    },
    { arbitrary: { runs: 2_000 } }
  )

  it("creates and directories are lost one by one", () => {
    const seen = new Set<string>()
    for (let seed = 0; seed < 300; seed++) {
      const planes = new Planes()
      planes.makeFile(planes.root, "file", 0o600)
      const made = planes.makeDirectory(planes.root, "made", 0o700)
      planes.makeFile(made, "within", 0o600)
      planes.cut(randomOf(seed))
      const within = planes.root.live.has("made") ? [...made.live.keys()] : []
      seen.add([...planes.root.live.keys(), ...within].join(" "))
    }
    const all = ["", "file", "made", "made within", "file made", "file made within"]
    assert.sameMembers([...seen], all)
  })

  it("a new file may keep its name without its bytes, and its bytes without its name", () => {
    const seen = new Set<string>()
    for (let seed = 0; seed < 100; seed++) {
      const planes = new Planes()
      const [named, written] = ["named", "written"].map((name) =>
        planes.makeFile(planes.root, name, 0o600)
      )
      assert.isDefined(named)
      assert.isDefined(written)
      planes.sync(planes.root)
      planes.write(named, 0, filled(4, 1))
      const lost = planes.makeFile(planes.root, "lost", 0o600)
      planes.write(lost, 0, filled(4, 1))
      planes.sync(lost)
      planes.cut(randomOf(seed))
      assert.isTrue(planes.root.live.has("named"))
      if (named.live.length === 0) seen.add("a name without its bytes")
      if (!planes.root.live.has("lost")) seen.add("bytes without their name")
    }
    assert.strictEqual(seen.size, 2)
  })

  it("a rename within a directory survives whole or not at all", () => {
    const seen = new Set<string>()
    for (let seed = 0; seed < 200; seed++) {
      const planes = new Planes()
      const old = planes.makeFile(planes.root, "file", 0o600)
      const next = planes.makeFile(planes.root, "next", 0o600)
      planes.sync(planes.root)
      const at = planes.root
      planes.rename({ at, name: "next" }, { at, name: "file" })
      planes.cut(randomOf(seed))
      const names = [at.live.get("file"), at.live.get("next")]
      seen.add(names.map((node) => (node === old ? "old" : node === next ? "next" : "-")).join(" "))
    }
    assert.sameMembers([...seen], ["old next", "next -"])
  })

  it("a rename between two directories never loses the file, and may leave both names", () => {
    const seen = new Set<string>()
    for (let seed = 0; seed < 300; seed++) {
      const planes = new Planes()
      const from = planes.makeDirectory(planes.root, "from", 0o700)
      const to = planes.makeDirectory(planes.root, "to", 0o700)
      planes.makeFile(from, "file", 0o600)
      planes.sync(planes.root)
      planes.sync(from)
      planes.rename({ at: from, name: "file" }, { at: to, name: "file" })
      if (seed % 3 === 1) planes.sync(from)
      if (seed % 3 === 2) planes.sync(to)
      planes.cut(randomOf(seed))
      const left = `${from.live.has("file") ? "from" : ""} ${to.live.has("file") ? "to" : ""}`
      seen.add(`${["none", "from", "to"][seed % 3]} synced: ${left.trim()}`)
    }
    assert.sameMembers(
      [...seen],
      [
        "none synced: from",
        "none synced: to",
        "none synced: from to",
        "from synced: to",
        "to synced: to",
        "to synced: from to"
      ]
    )
  })

  it("a file that is removed may come back, until its directory is synced", () => {
    const seen = new Set<boolean>()
    for (let seed = 0; seed < 100; seed++) {
      const planes = new Planes()
      const file = durableFile(planes, filled(4, 1))
      planes.remove(planes.root, "file")
      if (seed % 2 === 1) planes.sync(planes.root)
      planes.cut(randomOf(seed))
      if (seed % 2 === 1) assert.isFalse(planes.root.live.has("file"))
      else seen.add(planes.root.live.has("file"))
      assert.strictEqual(file.live.length, 4)
    }
    assert.strictEqual(seen.size, 2)
  })

  it("a directory has one name, whatever of its renames is lost", () => {
    const seen = new Set<string>()
    for (let seed = 0; seed < 100; seed++) {
      const planes = new Planes()
      const at = planes.root
      planes.makeDirectory(at, "a", 0o700)
      planes.sync(at)
      planes.rename({ at, name: "a" }, { at, name: "b" })
      planes.rename({ at, name: "b" }, { at, name: "c" })
      planes.cut(randomOf(seed))
      seen.add([...at.live.keys()].join(" "))
    }
    assert.sameMembers([...seen], ["a", "b", "c"])
  })
})
