import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { describe, it, type TestContext } from "node:test"
import { parse } from "smol-toml"
import { loadPlugin } from "../src/testing.ts"
import { runBext, temporaryFolder } from "./cli/run-bext.ts"
import { missingForJail, missingForPython } from "./sdk/missing-for-jail.ts"
import { findProgram, PYTHON, RUBY } from "./support/programs.ts"

const text = readFileSync(new URL("../docs/nsjail.md", import.meta.url), "utf8")

describe("docs/nsjail.md", () => {
  it("has the plugin that init writes", { skip: missingForPython() }, async (t) => {
    const cwd = projectFolder(t)
    writeFileSync(join(cwd, "bext.config.toml"), "")
    await runBext(["plugin", "init", "hello", "--language", "python"], { cwd })
    const folder = join(cwd, "plugins/hello")
    assert.equal(readFileSync(join(folder, "main.py"), "utf8"), code("plugins/hello/main.py"))
    const manifest = (toml: string) => {
      const { manifest, ...rest } = parse(toml) as { manifest: object }
      return { ...rest, manifest: { ...manifest, description: undefined } }
    }
    const written = readFileSync(join(folder, "plugin.toml"), "utf8")
    assert.deepEqual(manifest(written), manifest(code("plugins/hello/plugin.toml")))
  })

  it("has a command that calls it by hand and prints what it says", { skip: missingForPython() }, async (t) => {
    const cwd = projectFolder(t)
    writeFileSync(join(cwd, "bext.config.toml"), "")
    await runBext(["plugin", "init", "hello", "--language", "python"], { cwd })
    const [, command, answer] = /```sh\n(cd plugins\/hello\n.*?main\.py)\n# (.*?)\n```/s.exec(text)!
    const env = { ...process.env, PATH: `${dirname(findProgram(PYTHON)!)}:${process.env.PATH}` }
    assert.equal(execFileSync("sh", ["-c", command!], { cwd, env, encoding: "utf8", timeout: 30_000 }), `${answer}\n`)
  })

  it("has a plugin in Python that counts, awaiting", { skip: missingForPython() }, async (t) => {
    const { plugins } = parse(block("toml", "# bext.config.toml")) as { plugins: { limit: { config: object } } }
    const folder = writePlugin(t, "limit", "main.py", "python3")
    await using plugin = await loadPlugin(folder, { config: { ...plugins.limit.config } })
    const statuses: number[] = []
    for (let i = 0; i < 3; i++) statuses.push((await plugin.request("/")).status)
    assert.deepEqual(statuses, [200, 200, 429])
    assert.ok(plugin.log.some(({ level, message }) => level === "warn" && message.includes("too many requests")))
  })

  it("has a plugin in Ruby that speaks the protocol by itself", { skip: missingForJail(RUBY) }, async (t) => {
    await using plugin = await loadPlugin(writePlugin(t, "teapot", "main.rb", "ruby"))
    const answers = await Promise.all(["/teapot", "/", "/teapot"].map((path) => plugin.request(path)))
    assert.deepEqual(
      answers.map(({ status }) => status),
      [418, 200, 418],
    )
    assert.equal(await answers[0]!.text(), "short and stout")
  })

  it("has a plugin in shell that knows no JSON", { skip: missingForJail() }, async (t) => {
    await using plugin = await loadPlugin(writePlugin(t, "closed", "main.sh", "sh"))
    for (let i = 0; i < 2; i++) assert.equal((await plugin.request("/")).status, 503)
  })

  it("is right about virtual environments", { skip: missingForPython() }, async (t) => {
    const folder = writePlugin(t, "hello", "main.py", "venv/bin/python3")
    // Without pip: Debian has it in another package.
    execFileSync("/usr/bin/python3", ["-m", "venv", "--without-pip", "venv"], { cwd: folder, timeout: 60_000 })
    const packages = execFileSync(
      "venv/bin/python3",
      ["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
      {
        ...{ cwd: folder, encoding: "utf8", timeout: 30_000 },
      },
    )
    writeFileSync(join(packages.trim(), "greetings.py"), 'GREETING = "Good day"\n')
    const main = join(folder, "main.py")
    const imported = readFileSync(main, "utf8").replace("import bext\n", "import bext\nimport greetings\n")
    writeFileSync(main, imported.replace("Hello, {name}", "{greetings.GREETING}, {name}"))
    await using plugin = await loadPlugin(folder)
    assert.equal(await (await plugin.request("/hello")).text(), "Good day, world!")
  })

  it("is right about folders of gems", { skip: missingForJail(RUBY) }, async (t) => {
    const folder = writePlugin(t, "teapot", "main.rb", "ruby")
    const gem = join(folder, "gem")
    mkdirSync(join(gem, "lib"), { recursive: true })
    writeFileSync(join(gem, "lib/brew.rb"), 'BREW = "oolong"\n')
    writeFileSync(join(gem, "brew.gemspec"), GEMSPEC)
    const run = (...args: string[]) => execFileSync("/usr/bin/gem", args, { cwd: gem, stdio: "pipe", timeout: 60_000 })
    run("build", "brew.gemspec")
    run("install", "--local", "--install-dir", join(folder, "gems"), "--no-document", "brew-1.0.0.gem")
    const line = /`(Gem\.use_paths\(.*?\))`/.exec(text)![1]!
    const main = join(folder, "main.rb")
    const served = readFileSync(main, "utf8").replace('body: "short and stout"', "body: BREW")
    writeFileSync(main, `${line}\nrequire "brew"\n${served}`)
    await using plugin = await loadPlugin(folder)
    assert.equal(await (await plugin.request("/teapot")).text(), "oolong")
  })

  it("names every decorator of the Python module", { skip: missingForPython() }, () => {
    const list = "import bext; print(*[n for n in bext.__all__ if type(getattr(bext, n)).__name__ == 'Hook'])"
    const env = { PYTHONPATH: join(import.meta.dirname, "../sdk/python"), PYTHONDONTWRITEBYTECODE: "1" }
    const names = execFileSync(findProgram(PYTHON)!, ["-c", list], { env, encoding: "utf8" }).trim().split(" ")
    assert.equal(names.length, 17)
    assert.deepEqual(
      names.filter((name) => !text.includes(`\`${name}\``)),
      [],
    )
  })
})

const GEMSPEC = `Gem::Specification.new do |spec|
  spec.name = "brew"
  spec.version = "1.0.0"
  spec.summary = "Tea"
  spec.authors = ["bext"]
  spec.files = ["lib/brew.rb"]
end
`

/** Started as root, programs run as another user, who has to be able to read their folder. */
function projectFolder(t: TestContext): string {
  const folder = temporaryFolder(t)
  chmodSync(folder, 0o755)
  return folder
}

function writePlugin(t: TestContext, name: string, entry: string, interpreter: string): string {
  const folder = projectFolder(t)
  writeFileSync(join(folder, entry), code(`plugins/${name}/${entry}`))
  const manifest = `[manifest]\nname = "${name}"\nversion = "1.0.0"\ncapabilities = ["middleware"]\nentry = "${entry}"\n`
  writeFileSync(join(folder, "plugin.toml"), `${manifest}[sandbox]\ntype = "nsjail"\ninterpreter = "${interpreter}"\n`)
  return folder
}

/** The block that begins with a comment with its path, without that. */
function code(path: string): string {
  return block("\\w+", `# ${path}\n`).replace(`# ${path}\n`, "")
}

function block(language: string, beginning: string): string {
  const found = Array.from(text.matchAll(new RegExp(`^\`\`\`${language}\n(.*?\n)\`\`\`$`, "gms")), ([, body]) => body!)
  return found.find((body) => body.startsWith(beginning)) ?? assert.fail(`no block that begins with ${beginning}`)
}
