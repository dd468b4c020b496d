import assert from "node:assert/strict"
import { execFile } from "node:child_process"
import { chmodSync, chownSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { describe, it, type TestContext } from "node:test"
import { probeIsolation } from "../../src/create-tiers.ts"
import { program } from "../plugins/program-files.ts"
import { writeFiles } from "../plugins/write-files.ts"
import { CLOSED } from "../support/closed-checkout.ts"
import { AS_NOBODY, WITHOUT_BUBBLEWRAP } from "./machines.ts"
import { onTerminal } from "./on-terminal.ts"
import { type Run, temporaryFolder } from "./run-bext.ts"

const ANSWERS = `
HOOKS = ["onRequest"]
def answer(method, params): return {}
`
const ROOT = resolve(import.meta.dirname, "../..")
const SITE = "[log]\nlevel = 'error'\n"

interface Copy {
  /** Starts the command line. */
  readonly start: readonly string[]
  /** A site of nobody's. */
  readonly site: string
  readonly file: string
}

/** This bext, except that a program comes with it. */
function withProgram(t: TestContext): Copy {
  const folder = temporaryFolder(t)
  chmodSync(folder, 0o755)
  for (const name of ["src", "sdk", "node_modules", "package.json"]) symlinkSync(join(ROOT, name), join(folder, name))
  writeFiles(folder, program("hello", ANSWERS))
  const site = join(folder, "site")
  mkdirSync(site)
  const file = join(site, "bext.config.toml")
  writeFileSync(file, SITE)
  for (const path of [site, file]) chownSync(path, 65534, 65534)
  const links = ["--preserve-symlinks", "--preserve-symlinks-main"]
  return { start: [process.execPath, ...links, join(folder, "src/cli/bext.ts")], site, file }
}

function install({ start, site }: Copy, machine: readonly string[], ...args: string[]): Promise<Run> {
  const [command = "", ...words] = [...machine, ...start, "plugin", "install", "hello", ...args]
  return new Promise((done) => {
    const env = { PATH: process.env.PATH, NODE_DISABLE_COMPILE_CACHE: "1" }
    const child = execFile(command, words, { cwd: site, env, timeout: 60_000 }, (_error, out, err) =>
      done({ code: child.exitCode ?? -1, out, err }),
    )
    child.stdin?.end()
  })
}

const { level } = await probeIsolation()
const skip = ((process.geteuid?.() !== 0 || level !== "full") && "needs root, bubblewrap and cgroups") || CLOSED

describe("bext plugin install of a program", { skip, concurrency: 2 }, () => {
  it("says how it is isolated, and writes nothing of that where it is", async (t) => {
    const copy = withProgram(t)
    const { code, out, err } = await install(copy, [])
    assert.equal(code, 0, err)
    assert.match(
      out,
      /^hello is a program \(sandbox nsjail\), which runs here with isolation level full: namespaces, a/,
    )
    assert.equal(readFileSync(copy.file, "utf8"), `${SITE}\n[plugins.hello]\nsandbox = "nsjail"\n`)
  })

  it("without cgroups is isolated well enough", async (t) => {
    const copy = withProgram(t)
    const { code, out, err } = await install(copy, AS_NOBODY)
    assert.equal(code, 0, err)
    assert.match(out, /which runs here with isolation level namespaces/)
    assert.doesNotMatch(readFileSync(copy.file, "utf8"), /min_isolation/)
  })

  it("is refused as root without bubblewrap, whatever is said", async (t) => {
    const copy = withProgram(t)
    const { code, err } = await install(copy, WITHOUT_BUBBLEWRAP, "--yes")
    assert.equal(code, 1)
    assert.match(err, /E_ISOLATION: hello: bubblewrap is not installed: install the package bubblewrap/)
    assert.equal(readFileSync(copy.file, "utf8"), SITE)
  })

  it("where nothing isolates it, takes nobody's silence for consent", async (t) => {
    const copy = withProgram(t)
    const refused = await install(copy, [...WITHOUT_BUBBLEWRAP, ...AS_NOBODY])
    assert.equal(refused.code, 2)
    assert.match(refused.out, /it could read what your user can, and use the network\. .*\n {2}- bubblewrap is not/)
    assert.match(refused.err, /nobody to ask, and nothing was changed\n {2}--yes runs it without isolation/)
    assert.equal(readFileSync(copy.file, "utf8"), SITE)

    const allowed = await install(copy, [...WITHOUT_BUBBLEWRAP, ...AS_NOBODY], "--yes")
    assert.equal(allowed.code, 0, allowed.err)
    assert.equal(
      readFileSync(copy.file, "utf8"),
      `${SITE}\n[plugins.hello]\nsandbox = "nsjail"\nmin_isolation = "process"\n`,
    )
  })

  it("where nothing isolates it, shows as a patch what it would write, and nothing else", async (t) => {
    const copy = withProgram(t)
    const { code, out } = await install(copy, [...WITHOUT_BUBBLEWRAP, ...AS_NOBODY], "--dry-run")
    assert.equal(code, 0)
    assert.match(out, /^--- bext\.config\.toml\n\+\+\+ bext\.config\.toml\n@@ .* @@\n(\+.*\n)+$/)
    assert.match(out, /^\+min_isolation = "process"$/m)
  })

  it("does not ask where the configuration has decided for all programs", async (t) => {
    const copy = withProgram(t)
    const text = `${SITE}[sandbox.nsjail]\nmin_isolation = "full"\n`
    writeFileSync(copy.file, text)
    const { code, err } = await install(copy, AS_NOBODY, "--yes")
    assert.equal(code, 1)
    assert.match(err, /E_ISOLATION: hello: needs the isolation level full, and this machine offers namespaces/)
    assert.equal(readFileSync(copy.file, "utf8"), text)
  })

  const answers: [answer: string, code: number, installed: boolean][] = [
    ["y", 0, true],
    ["n", 1, false],
  ]
  for (const [answer, code, installed] of answers) {
    it(`asks once where nothing isolates it: ${answer}`, async (t) => {
      const copy = withProgram(t)
      const start = [...WITHOUT_BUBBLEWRAP, ...AS_NOBODY, ...copy.start]
      const keys = [[/Run it without isolation\? \[y\/N\]/, `${answer}\n`]] as const
      const run = await onTerminal(t, ["plugin", "install", "hello"], copy.site, keys, start)
      assert.equal(run.code, code, run.out)
      assert.equal(readFileSync(copy.file, "utf8").includes('min_isolation = "process"'), installed)
    })
  }
})
