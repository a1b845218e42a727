/** What is installed with the package is little, pinned, and what the lock says it is. */
import * as fs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"

const read = (name: string): string =>
  fs.readFileSync(new URL(`../../${name}`, import.meta.url), "utf8")

const Versions = Schema.Record(Schema.String, Schema.String)

const Manifest = Schema.Struct({
  dependencies: Versions,
  devDependencies: Versions,
  peerDependencies: Versions,
  allowScripts: Schema.Record(Schema.String, Schema.Boolean),
  scripts: Versions
})

const Locked = Schema.Struct({
  version: Schema.optionalKey(Schema.String),
  integrity: Schema.optionalKey(Schema.String),
  resolved: Schema.optionalKey(Schema.String),
  link: Schema.optionalKey(Schema.Boolean),
  inBundle: Schema.optionalKey(Schema.Boolean),
  hasInstallScript: Schema.optionalKey(Schema.Boolean),
  dev: Schema.optionalKey(Schema.Boolean),
  peer: Schema.optionalKey(Schema.Boolean),
  devOptional: Schema.optionalKey(Schema.Boolean)
})

const Lock = Schema.Struct({
  lockfileVersion: Schema.Int,
  packages: Schema.Record(Schema.String, Locked)
})

const manifest = Schema.decodeUnknownSync(Schema.fromJsonString(Manifest))(read("package.json"))

const lock = Schema.decodeUnknownSync(Schema.fromJsonString(Lock))(read("package-lock.json"))

const packages = Object.entries(lock.packages).filter(([name]) => name !== "")

const nameOf = (place: string): string => place.slice(place.lastIndexOf("node_modules/") + 13)

const exact = /^\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?$/

describe("Dependencies", () => {
  it("of the package are two, of one version each, which the lock has", () => {
    assert.sameMembers(Object.keys(manifest.dependencies), ["@noble/hashes", "hash-wasm"])
    assert.sameMembers(Object.keys(manifest.peerDependencies), ["@effect/platform-node", "effect"])
    for (const [name, version] of Object.entries(manifest.dependencies)) {
      assert.match(version, exact, name)
      assert.strictEqual(lock.packages[`node_modules/${name}`]?.version, version, name)
    }
  })

  it("bring no others along", () => {
    const own = packages.filter(([, { dev, devOptional, peer }]) => !dev && !peer && !devOptional)
    assert.sameMembers(
      own.map(([place]) => nameOf(place)),
      Object.keys(manifest.dependencies)
    )
  })

  it("of development are of one version each too, types of the runtime aside", () => {
    for (const [name, version] of Object.entries(manifest.devDependencies)) {
      if (name === "@types/node") continue
      assert.match(version, exact, name)
      assert.strictEqual(lock.packages[`node_modules/${name}`]?.version, version, name)
    }
  })

  it("are each locked by their digest, and come from no host that the lock would name", () => {
    assert.isAtLeast(packages.length, 50)
    for (const [place, { inBundle, integrity, link, resolved }] of packages) {
      assert.isUndefined(resolved, place)
      assert.isUndefined(link, place)
      if (inBundle !== true)
        assert.match(integrity ?? "none", /^sha512-[A-Za-z0-9+/]{86}==$/, place)
    }
    assert.notMatch(read("package-lock.json"), /"resolved"|registry\./)
    assert.notMatch(read(".npmrc"), /^\s*(?:\S+:)?registry\s*=|_auth|token/im)
    assert.match(read(".npmrc"), /^omit-lockfile-registry-resolved=true$/m)
  })

  it("run nothing when they are installed but what is allowed by name", () => {
    const running = packages.filter(([, { hasInstallScript }]) => hasInstallScript === true)
    const allowed = Object.keys(manifest.allowScripts).filter((name) => manifest.allowScripts[name])
    for (const [place] of running) assert.include(allowed, nameOf(place), place)
    // Nor does this package run anything where it is installed.
    for (const script of ["preinstall", "install", "postinstall", "prepare"]) {
      assert.notProperty(manifest.scripts, script)
    }
  })
})
