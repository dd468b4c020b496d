import assert from "node:assert/strict"
import { execFile } from "node:child_process"
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, it } from "node:test"
import { onTerminal } from "./on-terminal.ts"
import { type Run, runBext, temporaryFolder } from "./run-bext.ts"

const ROOT = join(import.meta.dirname, "../..")

const init = (cwd: string, ...args: string[]) => runBext(["plugin", "init", ...args], { cwd })

function run(file: string, args: readonly string[], cwd: string): Promise<Run> {
  return new Promise((done) => {
    // Not the test runner's own variables: the child would report to it instead of to us.
    const child = execFile(file, args, { cwd, env: { PATH: process.env.PATH }, timeout: 60_000 }, (_error, out, err) =>
      done({ code: child.exitCode ?? -1, out, err }),
    )
  })
}

const test = (folder: string) => run(process.execPath, ["--test"], folder)
const compile = (folder: string, project: string) => run(join(ROOT, "node_modules/.bin/tsc"), ["-p", project], folder)

describe("bext plugin init", { concurrency: 2 }, () => {
  for (const [language, project] of [
    ["ts", "tsconfig.json"],
    ["js", "jsconfig.json"],
  ] as const) {
    it(`writes a plugin in ${language} whose test passes at once, anywhere`, async (t) => {
      const cwd = temporaryFolder(t)
      const { code, out, err } = await init(cwd, "hello", "--language", language)
      assert.deepEqual([code, err], [0, ""])
      assert.match(out, new RegExp(`^wrote hello/plugin\\.toml\n +hello/src/index\\.${language}\n`))
      assert.match(
        out,
        /--test\n.*add it to a site[\s\S]*\[plugins\.hello\]\n +path = ".*hello"\n.*run it[\s\S]*bext dev\n$/,
      )
      const passed = await test(join(cwd, "hello"))
      assert.equal(passed.code, 0, passed.out)

      const source = join(cwd, "hello/src", `index.${language}`)
      writeFileSync(source, readFileSync(source, "utf8").replace("Hello, ", "Goodbye, "))
      const failed = await test(join(cwd, "hello"))
      assert.equal(failed.code, 1, "the test must be able to fail")
      assert.match(failed.out, /Goodbye, Ada!/)
    })

    it(`has types for ${language} that the compiler finds, and that find mistakes`, async (t) => {
      const cwd = temporaryFolder(t)
      await init(cwd, "hello", "--language", language)
      const folder = join(cwd, "hello")
      assert.deepEqual(await compile(folder, project), { code: 0, out: "", err: "" })
      const file = join(folder, "src", `index.${language}`)
      writeFileSync(file, readFileSync(file, "utf8").replace("ctx.path", "ctx.paht"))
      const mistaken = await compile(folder, project)
      assert.notEqual(mistaken.code, 0)
      assert.match(mistaken.out, /Property 'paht' does not exist on type 'RequestContext'/)
    })
  }

  it("puts the plugin where the site finds it by name, and uses the site's bext", async (t) => {
    const cwd = temporaryFolder(t)
    assert.equal((await runBext(["init"], { cwd })).code, 0)
    mkdirSync(join(cwd, "node_modules"))
    symlinkSync(ROOT, join(cwd, "node_modules/bext"))
    const { code, out } = await init(cwd, "hello")
    assert.equal(code, 0)
    assert.match(out, /bext\.config\.toml\n +\[plugins\.hello\]\n +run it/)
    const folder = join(cwd, "plugins/hello")
    assert.ok(!existsSync(join(folder, "node_modules")))
    const passed = await test(folder)
    assert.equal(passed.code, 0, passed.out)
    writeFileSync(join(cwd, "bext.config.toml"), "[plugins.hello]\n")
    const check = await runBext(["check"], { cwd })
    assert.match(check.out, /^ok +hello 0\.1\.0 /m)
  })

  it("never overwrites a file", async (t) => {
    const cwd = temporaryFolder(t)
    mkdirSync(join(cwd, "hello/src"), { recursive: true })
    writeFileSync(join(cwd, "hello/src/index.ts"), "// mine")
    symlinkSync("nowhere", join(cwd, "hello/README.md"))
    const { code, err } = await init(cwd, "hello")
    assert.equal(code, 2)
    assert.match(
      err,
      /hello has a src\/index\.ts, README\.md already; nothing was changed\n {2}name another folder with --dir/,
    )
    assert.deepEqual(readdirSync(join(cwd, "hello")).sort(), ["README.md", "src"])
    assert.equal(readFileSync(join(cwd, "hello/src/index.ts"), "utf8"), "// mine")
  })

  it("says that it may not write", async (t) => {
    const cwd = temporaryFolder(t)
    writeFileSync(join(cwd, "file"), "")
    const { code, err } = await init(cwd, "hello", "--dir", "file/inside")
    assert.equal(code, 1)
    assert.match(err, /E_FILE_UNREADABLE: cannot write file\/inside\S*: not a directory/)
    assert.doesNotMatch(err, /^\s+at /m)
  })

  const mistakes: [args: string[], expected: RegExp][] = [
    [[], /the name of the plugin is missing\n {2}bext plugin init my-plugin/],
    [["My_Plugin"], /"My_Plugin": expected a name of lower-case letters.*\n {2}write my-plugin/],
    [["../x"], /"\.\.\/x": expected a name/],
    [["cors"], /"cors" is the name of a built-in/],
    [["security-headers"], /a plugin security-headers comes with bext/],
    [["hello", "--language", "typescrpt"], /did you mean typescript\?/],
    [["hello", "--language", "constructor"], /there are: ts, js/],
    [["hello", "again"], /takes one word, not "again"/],
  ]
  for (const [args, expected] of mistakes) {
    it(`says what is wrong with: bext plugin init ${args.join(" ")}`, async (t) => {
      const cwd = temporaryFolder(t)
      const { code, err } = await init(cwd, ...args)
      assert.equal(code, 2)
      assert.match(err, expected)
      assert.deepEqual(readdirSync(cwd), [])
    })
  }

  describe("on a terminal", { skip: process.platform !== "linux" && "needs script(1) of util-linux" }, () => {
    it("asks for what was not said", async (t) => {
      const cwd = temporaryFolder(t)
      const { code, out } = await onTerminal(t, ["plugin", "init"], cwd, [
        [/Name/, "asked\n"],
        [/Language/, "js\n"],
        [/Folder \[asked\]/, "\n"],
      ])
      assert.equal(code, 0, out)
      assert.ok(existsSync(join(cwd, "asked/src/index.js")))
    })

    it("leaves nothing behind after Ctrl-C", async (t) => {
      const cwd = temporaryFolder(t)
      const { code, out } = await onTerminal(t, ["plugin", "init", "asked"], cwd, [
        [/Language/, "ts\n"],
        [/Folder/, "\u0003"],
      ])
      assert.equal(code, 130)
      assert.match(out, /cancelled; nothing was changed/)
      assert.deepEqual(readdirSync(cwd), [])
    })
  })
})
