import assert from "node:assert/strict"
import { execFile } from "node:child_process"
import { chmodSync, lstatSync, mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from "node:fs"
import { delimiter, dirname, join } from "node:path"
import { describe, it, type TestContext } from "node:test"
import { missingForJail, missingForPython } from "../sdk/missing-for-jail.ts"
import { RUBY } from "../support/programs.ts"
import { serveChild } from "../support/serve.ts"
import { type Run, runBext, temporaryFolder } from "./run-bext.ts"

const ROOT = join(import.meta.dirname, "../..")

const LANGUAGES = [
  { language: "python", entry: "main.py", skip: missingForPython(), greeting: "Hello, Ada!" },
  { language: "ruby", entry: "main.rb", skip: missingForJail(RUBY), greeting: "Hello, Ada!" },
  { language: "shell", entry: "main.sh", skip: missingForJail(), greeting: "Hello, world!" },
] as const

/** Started as root, programs run as another user, who has to be able to read their folder. */
function projectFolder(t: TestContext): string {
  const folder = temporaryFolder(t)
  chmodSync(folder, 0o755)
  return folder
}

/** Not the test runner's own variables: the child would report to it instead of to us. */
function runInShell(command: string, cwd: string): Promise<Run> {
  const PATH = [dirname(process.execPath), process.env.PATH].join(delimiter)
  return new Promise((done) => {
    const child = execFile("sh", ["-c", command], { cwd, env: { PATH }, timeout: 60_000 }, (_error, out, err) =>
      done({ code: child.exitCode ?? -1, out, err }),
    )
  })
}

describe("bext plugin init in languages of programs", () => {
  for (const { language, entry, skip, greeting } of LANGUAGES) {
    it(`writes a plugin in ${language} that runs by hand, passes its test and serves, anywhere`, {
      skip,
    }, async (t) => {
      const cwd = projectFolder(t)
      const { code, out, err } = await runBext(["plugin", "init", "my-hello", "--language", language], { cwd })
      assert.deepEqual([code, err], [0, ""])
      assert.match(out, new RegExp(`^wrote my-hello/plugin\\.toml\n +my-hello/${entry.replace(".", "\\.")}\n`))
      const folder = join(cwd, "my-hello")
      const [byHand, test] = shellBlocks(readFileSync(join(folder, "README.md"), "utf8"))

      const called = await runInShell(byHand!, folder)
      assert.equal(JSON.parse(called.out).body, greeting, called.err)
      const passed = await runInShell(test!, folder)
      assert.equal(passed.code, 0, passed.out)

      writeFileSync(join(cwd, "bext.config.toml"), CONFIG)
      const check = await runBext(["check"], { cwd })
      assert.match(check.out, /^ok +my-hello 0\.1\.0 /m)
      await using server = await serveChild([], { folder: cwd })
      const response = await fetch(`${server.url}/hello?name=Ada`)
      assert.equal(await response.text(), greeting)
      assert.equal((await fetch(server.url)).headers.get("x-greeted"), "yes")

      const source = join(folder, entry)
      writeFileSync(source, readFileSync(source, "utf8").replace("Hello, ", "Goodbye, "))
      const failed = await runInShell(test!, folder)
      assert.equal(failed.code, 1, "the test must be able to fail")
      assert.match(failed.out, /Goodbye, /)
    })
  }

  it("has the module for Python at one place in the plugin's folder, whichever bext the project has", async (t) => {
    const cwd = projectFolder(t)
    await runBext(["plugin", "init", "alone", "--language", "py"], { cwd })
    mkdirSync(join(cwd, "node_modules"))
    symlinkSync(ROOT, join(cwd, "node_modules/bext"))
    await runBext(["plugin", "init", "together", "--language", "python"], { cwd })
    for (const name of ["alone", "together"]) {
      const link = join(cwd, name, "node_modules/bext")
      assert.ok(lstatSync(link).isSymbolicLink())
      assert.equal(realpathSync(link), realpathSync(ROOT))
      const { extraPaths } = JSON.parse(readFileSync(join(cwd, name, "pyrightconfig.json"), "utf8"))
      assert.ok(lstatSync(join(cwd, name, extraPaths[0], "bext/py.typed")).isFile())
    }
  })

  it("names what to install when there is no such program", async (t) => {
    const cwd = temporaryFolder(t)
    const python = await runBext(["plugin", "init", "one", "--language", "python"], { cwd, env: { PATH: cwd } })
    assert.match(
      python.out,
      /next: install Python 3\.9 or newer .*apt install python3.*not found here: python3\n +test it/,
    )
    const ruby = await runBext(["plugin", "init", "two", "--language", "rb"], { cwd, env: { PATH: cwd } })
    assert.match(ruby.out, /next: install Ruby .*apt install ruby.*not found here: ruby\n/)
  })

  for (const [word, expected] of [
    ["pyton", /did you mean python\?/],
    ["bash", /there are: .*python, ruby, shell/],
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
  return [...markdown.matchAll(/```sh\n(.*?)\n```/gs)].map(([, command]) => command!)
}
