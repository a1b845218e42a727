import { assert, describe, it } from "@effect/vitest"
import * as child from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

const root = path.resolve(import.meta.dirname, "..")
const src = path.join(root, "src")

const filesOf = (directory: string): ReadonlyArray<string> =>
  fs
    .readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => path.join(directory, name))

const read = (file: string): string => fs.readFileSync(file, "utf8")

/** Without comments, so that words in them do not count. */
const codeOf = (file: string): string =>
  read(file)
    .replace(/\/\*[\s\S]*?\*\//g, "")
    .replace(/(^|\s)\/\/.*$/gm, "$1")

const importsOf = (file: string): ReadonlyArray<string> =>
  [...codeOf(file).matchAll(/(?:from|import)\s+"([^"]+)"/g)].map((match) => match[1] ?? "")

const folderOf = (file: string): string => path.relative(src, file).split(path.sep)[0] ?? ""

const targetOf = (file: string, specifier: string): string =>
  specifier.startsWith(".") ? folderOf(path.resolve(path.dirname(file), specifier)) : specifier

/** What each folder may import, besides itself. */
const allowed: { readonly [folder: string]: (target: string) => boolean } = {
  core: (target) =>
    /^@noble\/hashes\/|^effect$|^effect\/(Result|Brand|Predicate|Schema)$/.test(target),
  store: (target) => target === "core" || /^effect(\/|$)/.test(target),
  platform: (target) =>
    ["core", "store", "hash-wasm"].includes(target) ||
    /^effect(\/|$)|^node:|^@effect\/platform-node\//.test(target),
  testing: (target) =>
    ["core", "store", "platform"].includes(target) || /^effect(\/|$)/.test(target),
  cli: (target) =>
    ["core", "store", "platform"].includes(target) ||
    /^effect(\/|$)|^@effect\/platform-node\//.test(target)
}

/** From effect, the core may have its pure parts only. */
const impure =
  /\b(?:Effect|Layer|Stream|Clock|Random|Fiber|Scope|Ref|Queue|Deferred|Schedule|Runtime|FileSystem)\b/

describe("Tidy", () => {
  it("each folder imports what the house allows it to", () => {
    for (const [folder, may] of Object.entries(allowed)) {
      for (const file of filesOf(path.join(src, folder))) {
        for (const specifier of importsOf(file)) {
          const target = targetOf(file, specifier)
          assert.isTrue(target === folder || may(target), `${file} imports ${specifier}`)
        }
      }
    }
  })

  it("the core knows no effect, clock or randomness", () => {
    for (const file of filesOf(path.join(src, "core"))) {
      const code = codeOf(file)
      for (const [line] of code.matchAll(/^import .* from "effect"$/gm)) {
        assert.notMatch(line, impure, file)
      }
      assert.notMatch(code, /Date\.now|new Date\(|Math\.random|\bcrypto\.|performance\.now/, file)
    }
  })

  it("no module imports itself by a detour", () => {
    const graph = new Map(
      filesOf(src).map((file) => [
        file,
        importsOf(file)
          .filter((specifier) => specifier.startsWith("."))
          .map((specifier) => path.resolve(path.dirname(file), specifier))
          // Types are gone when modules load.
          .filter((target) => importsAtRunTime(file, target))
      ])
    )
    const done = new Set<string>()
    const visit = (file: string, above: ReadonlyArray<string>) => {
      assert.notInclude(above, file, [...above, file].join(" -> "))
      if (done.has(file)) return
      for (const target of graph.get(file) ?? []) visit(target, [...above, file])
      done.add(file)
    }
    for (const file of graph.keys()) visit(file, [])
  })

  it("time is Effect's Clock, everywhere but in the platform", () => {
    for (const folder of ["core", "store", "cli", "testing"]) {
      for (const file of filesOf(path.join(src, folder))) {
        assert.notMatch(codeOf(file), /Date\.now|new Date\(|performance\.now/, file)
      }
    }
  })

  it("every module says in a header what it owns", () => {
    for (const file of filesOf(src)) {
      if (path.basename(file) === "index.ts") continue
      assert.match(read(file), /^(?:#!.*\n)?(?:\/\*\*|\/\/)/, file)
    }
  })

  it("the README's map names every folder and every public module", () => {
    const readme = read(path.join(root, "README.md"))
    for (const folder of Object.keys(allowed)) assert.include(readme, `\`src/${folder}\``)
    for (const file of filesOf(src).filter((name) => path.basename(name) === "index.ts")) {
      for (const [, name] of read(file).matchAll(/export \* as (\w+)/g)) {
        assert.match(readme, new RegExp(`\`${name}\``), `${name} is not in the map`)
      }
    }
  })

  it("the tests that README and SECURITY name are there", () => {
    const tests = new Set(
      filesOf(path.join(root, "test")).map((file) => path.relative(root, file).slice(0, -3))
    )
    const isThere = (name: string) =>
      tests.has(`${name}.test`) || fs.existsSync(path.join(root, name))
    const readme = read(path.join(root, "README.md"))
    for (const [, name = ""] of readme.matchAll(/`(test\/[\w/.]+)`/g)) {
      assert.isTrue(isThere(name.replace(/\.test\.ts$/, "")), name)
    }
    for (const [, name = ""] of readme.matchAll(/`(\w+\.test)\.ts`/g)) {
      const named = [...tests].filter((test) => path.basename(test) === name)
      assert.strictEqual(named.length, 1, name)
    }
    // There, `security/x` stands for any of them.
    for (const [, name = ""] of read(path.join(root, "SECURITY.md")).matchAll(
      /`([a-z]+\/\w[\w/]*)`/g
    )) {
      if (name !== "security/x") assert.isTrue(isThere(`test/${name}`), name)
    }
  })

  it("the README's programs print what the README says", () => {
    const programs = [...read(path.join(root, "README.md")).matchAll(/```ts\n([\s\S]*?)```/g)]
    assert.isAtLeast(programs.length, 2)
    for (const [, program = ""] of programs) {
      const expected = [...program.matchAll(/^\/\/ (.*)$/gm)].map((match) => match[1])
      const { status, stderr, stdout } = run(program)
      assert.strictEqual(status, 0, stderr)
      assert.deepStrictEqual(stdout.trimEnd().split("\n"), expected)
    }
  }, 300_000)
})

const importsAtRunTime = (file: string, target: string): boolean =>
  [...codeOf(file).matchAll(/^(import|export)\s+(type\s)?[\s\S]*?from\s+"([^"]+)"/gm)].some(
    ([, , type, specifier = ""]) =>
      type === undefined && path.resolve(path.dirname(file), specifier) === target
  )

/** Runs a program as one who has the package would, in a directory of its own. */
const run = (program: string) => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "sealog-readme-"))
  try {
    fs.symlinkSync(path.join(root, "node_modules"), path.join(directory, "node_modules"))
    fs.writeFileSync(path.join(directory, "package.json"), `{"type":"module"}`)
    const file = path.join(directory, "main.ts")
    const local = program
      .replace('"sealog/platform"', JSON.stringify(path.join(src, "platform/index.ts")))
      .replace('"sealog/testing"', JSON.stringify(path.join(src, "testing/index.ts")))
      .replace('"sealog"', JSON.stringify(path.join(src, "index.ts")))
    fs.writeFileSync(file, local)
    const isDeno = "Deno" in globalThis
    if (!isDeno) {
      const config = {
        extends: path.join(root, "tsconfig.json"),
        compilerOptions: {
          rewriteRelativeImportExtensions: false,
          allowImportingTsExtensions: true
        },
        include: ["main.ts"]
      }
      fs.writeFileSync(path.join(directory, "tsconfig.json"), JSON.stringify(config))
      const tsc = path.join(root, "node_modules/typescript/bin/tsc")
      const checked = child.spawnSync(process.execPath, [tsc, "-p", directory], {
        encoding: "utf8"
      })
      assert.strictEqual(checked.status, 0, checked.stdout)
    }
    const ours = isDeno ? ["run", "-A", file] : [file]
    return child.spawnSync(process.execPath, ours, { cwd: directory, encoding: "utf8" })
  } finally {
    fs.rmSync(directory, { recursive: true })
  }
}
