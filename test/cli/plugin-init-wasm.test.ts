import assert from "node:assert/strict"
import { readFileSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"
import { describe, it } from "node:test"
import { COMPILED_LANGUAGES, runInShell } from "../support/compiled-plugin.ts"
import { missing } from "../support/programs.ts"
import { serveChild } from "../support/serve.ts"
import { runBext, temporaryFolder } from "./run-bext.ts"

describe("bext plugin init in compiled languages", () => {
  for (const compiled of COMPILED_LANGUAGES) {
    const { language, programs, code } = compiled
    it(`writes a plugin in ${language} that the command of its README builds, anywhere`, {
      skip: missing(...programs),
    }, async (t) => {
      const cwd = temporaryFolder(t)
      const { code: status, out, err } = await runBext(["plugin", "init", "my-hello", "--language", language], { cwd })
      assert.deepEqual([status, err], [0, ""])
      const folder = join(cwd, "my-hello")
      const [build, test] = shellBlocks(readFileSync(join(folder, "README.md"), "utf8"))
      assert.ok(out.includes(`\n        cd my-hello\n`) && out.includes(`\n        ${build}\n`), out)
      const shell = (command: string) => runInShell(command, folder, compiled)

      const built = await shell(build!)
      assert.equal(built.code, 0, built.out + built.err)
      const passed = await shell(test!)
      assert.equal(passed.code, 0, passed.out)

      writeFileSync(join(cwd, "bext.config.toml"), CONFIG)
      const check = await runBext(["check"], { cwd })
      assert.match(check.out, /^ok +my-hello 0\.1\.0 /m)
      await using server = await serveChild([], { folder: cwd })
      assert.equal(await (await fetch(`${server.url}/hello`)).text(), "Hello, world!")

      const source = join(folder, code)
      writeFileSync(source, readFileSync(source, "utf8").replace("Hello, ", "Goodbye, "))
      assert.equal((await shell(build!)).code, 0)
      const failed = await shell(test!)
      assert.equal(failed.code, 1, "the test must be able to fail")
      assert.match(failed.out, /Goodbye, Ada!/)
    })
  }

  it("keeps the package of bext where npm install does not remove it", async (t) => {
    const cwd = temporaryFolder(t)
    await runBext(["plugin", "init", "my-hello", "--language", "assemblyscript"], { cwd })
    const folder = join(cwd, "my-hello")
    // Without a network; what the template depends on is of no matter here.
    writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "my-hello", version: "0.1.0", private: true }))
    const installed = await runInShell("npm install --offline", folder, COMPILED_LANGUAGES[3]!)
    assert.equal(installed.code, 0, installed.err)
    assert.ok(createRequire(join(folder, "test/plugin.test.mjs")).resolve("bext/testing"))
  })

  it("has new plugins in AssemblyScript use the compiler that the SDK is tested with", async (t) => {
    const cwd = temporaryFolder(t)
    await runBext(["plugin", "init", "hello", "--language", "as"], { cwd })
    const version = (file: string) => JSON.parse(readFileSync(file, "utf8")).devDependencies.assemblyscript
    assert.equal(version(join(cwd, "hello/package.json")), version(join(import.meta.dirname, "../../package.json")))
  })

  it("names what to install when the toolchain is not there", async (t) => {
    const cwd = temporaryFolder(t)
    const env = { PATH: cwd }
    const go = await runBext(["plugin", "init", "one", "--language", "golang"], { cwd, env })
    assert.match(go.out, /next: install Go 1\.24 or newer \(https:\/\/go\.dev\/dl\); not found here: go\n +build it/)
    const c = await runBext(["plugin", "init", "two", "--language", "c"], { cwd, env })
    assert.match(c.out, /next: install clang and wasm-ld .*apt install clang lld.*not found here: clang, wasm-ld\n/)
    const rust = await runBext(["plugin", "init", "three", "--language", "rust"], { cwd, env })
    assert.match(
      rust.out,
      /next: install Rust .*rustup\.rs.*cargo\n[\s\S]*rustup target add wasm32-unknown-unknown # once\n/,
    )
  })

  it("says that a plugin which is not built yet has to be", async (t) => {
    const cwd = temporaryFolder(t)
    await runBext(["plugin", "init", "my-hello", "--language", "go"], { cwd })
    writeFileSync(join(cwd, "bext.config.toml"), CONFIG)
    const check = await runBext(["check"], { cwd })
    assert.notEqual(check.code, 0)
    assert.match(check.out + check.err, /has no plugin\.wasm; build it, or name the plugin's code with entry/)
  })

  for (const [word, expected] of [
    ["asemblyscript", /did you mean assemblyscript\?/],
    ["Rustt", /did you mean rust\?/],
    ["cobol", /there are: ts, js, rust, go, c, assemblyscript/],
  ] as const) {
    it(`says what is wrong with --language ${word}`, async (t) => {
      const { code, err } = await runBext(["plugin", "init", "hello", "--language", word], { cwd: temporaryFolder(t) })
      assert.equal(code, 2)
      assert.match(err, expected)
    })
  }
})

const CONFIG = `[server]
listen = "127.0.0.1:0"
[app]
static = "."
[admin]
listen = "off"
[plugins.my-hello]
path = "my-hello"
[plugins.my-hello.grant]
`

function shellBlocks(markdown: string): string[] {
  return [...markdown.matchAll(/```sh\n(.*)\n```/g)].map(([, command]) => command!)
}
