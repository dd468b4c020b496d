import assert from "node:assert/strict"
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, it } from "node:test"
import { parseConfig } from "../../src/config/parse-config.ts"
import { readCatalogue } from "../../src/registry/catalogue.ts"
import { onTerminal } from "./on-terminal.ts"
import { runBext, temporaryFolder } from "./run-bext.ts"

const SITE = "# my site\r\n[server]\r\nlisten = '127.0.0.1:0'   # any port"

function site(folder: string, text: string): string {
  const file = join(folder, "bext.config.toml")
  writeFileSync(file, text)
  return file
}

const install = (cwd: string, ...args: string[]) => runBext(["plugin", "install", ...args], { cwd })

describe("bext plugin install", { concurrency: 2 }, () => {
  it("adds the plugin with its defaults below the file, which is kept to the byte", async (t) => {
    const cwd = temporaryFolder(t)
    const file = site(cwd, SITE)
    const { code, out, err } = await install(cwd, "security-headers")
    assert.deepEqual([code, err], [0, ""])
    assert.match(out, /^installed security-headers 1\.0\.0: see \[plugins\.security-headers\] in bext\.config\.toml\n/)
    assert.match(out, /bext reload/)
    const text = readFileSync(file, "utf8")
    assert.ok(text.startsWith(`${SITE}\r\n\r\n[plugins.security-headers]\r\nsandbox = "quickjs"\r\n`))
    assert.doesNotMatch(text, /grant|[^\r]\n/)
    const { config, grant } = parseConfig(text, { file, env: {} }).plugins["security-headers"]!
    assert.equal(config.hsts_max_age, 31_536_000)
    assert.equal(config.x_frame_options, "DENY")
    assert.equal(grant, undefined)
    assert.deepEqual(readdirSync(cwd), ["bext.config.toml"])
  })

  for (const { name } of readCatalogue().values()) {
    it(`installs ${name} so that bext check finds it right`, async (t) => {
      const cwd = temporaryFolder(t)
      site(cwd, SITE)
      const { code, err } = await install(cwd, name, "--yes")
      assert.deepEqual([code, err], [0, ""])
      const check = await runBext(["check"], { cwd })
      assert.equal(check.code, 0, check.err)
      assert.match(check.out, new RegExp(`^ok +${name} `, "m"))
    })
  }

  it("grants nothing unless somebody says so, and says how", async (t) => {
    const cwd = temporaryFolder(t)
    const file = site(cwd, SITE)
    const refused = await install(cwd, "webhook-verify")
    assert.equal(refused.code, 2)
    assert.match(refused.out, /asks for permission to\n {2}- read the secrets WEBHOOK_SECRET/)
    assert.match(refused.err, /nobody to ask, and nothing was changed\n {2}--yes grants/)
    assert.equal(readFileSync(file, "utf8"), SITE)

    const allowed = await install(cwd, "webhook-verify", "--yes")
    assert.equal(allowed.code, 0)
    assert.match(allowed.out, /\[plugins\.webhook-verify\.secrets\]\nWEBHOOK_SECRET = "env:WEBHOOK_SECRET"/)
    const text = readFileSync(file, "utf8")
    assert.match(text, /\r\n\r\n\[plugins\.webhook-verify\.grant\]\r\nsecrets = \["WEBHOOK_SECRET"\]\r\n$/)
  })

  it("prints what it would add as a patch, and changes nothing", async (t) => {
    const cwd = temporaryFolder(t)
    const file = site(cwd, "[app]\nstatic = '.'\n")
    const { code, out } = await install(cwd, "rate-limiter", "--dry-run")
    assert.equal(code, 0)
    assert.match(out, /^--- bext\.config\.toml\n\+\+\+ bext\.config\.toml\n@@ -2,0 \+3,\d+ @@\n(\+.*\n)+$/)
    assert.match(out, /^\+\[plugins\.rate-limiter\]$/m)
    assert.equal(readFileSync(file, "utf8"), "[app]\nstatic = '.'\n")
  })

  const refusals: [what: string, args: string[], text: string, expected: RegExp][] = [
    ["without a name", [], SITE, /which plugin\?\n {2}there are: .*security-headers/],
    ["with a typo", ["security-header"], SITE, /did you mean bext plugin install security-headers\?/],
    ["with a name that is none", ["../../etc"], SITE, /no plugin "\.\.\/\.\.\/etc" comes with bext/],
    ["with a name of the host's objects", ["__proto__"], SITE, /no plugin "__proto__" comes with bext/],
    [
      "when it is there",
      ["rate-limiter"],
      "[plugins.rate-limiter]\n",
      /rate-limiter is in bext\.config\.toml already, enabled/,
    ],
    ["when it is switched off", ["rate-limiter"], "[plugins.rate-limiter]\nenabled = false\n", /not enabled: remove/],
    [
      "into braces",
      ["rate-limiter"],
      "plugins = {}\n",
      /plugins is written as one value in line 1[\s\S]*\[plugins\.rate-limiter\]/,
    ],
    ["into nonsense", ["rate-limiter"], "[server\n", /bext\.config\.toml:1:\d+ +not valid TOML/],
    ["into a configuration with mistakes", ["rate-limiter"], "[serve]\n", /serve: unknown key/],
  ]
  for (const [what, args, text, expected] of refusals) {
    it(`changes nothing ${what}`, async (t) => {
      const cwd = temporaryFolder(t)
      const file = site(cwd, text)
      const { code, err } = await install(cwd, ...args)
      assert.notEqual(code, 0)
      assert.match(err, expected)
      assert.doesNotMatch(err, /^\s+at /m)
      assert.equal(readFileSync(file, "utf8"), text)
    })
  }

  it("does not let a folder of the project pass for the plugin of bext", async (t) => {
    const cwd = temporaryFolder(t)
    site(cwd, SITE)
    mkdirSync(join(cwd, "plugins/rate-limiter"), { recursive: true })
    const { code, err } = await install(cwd, "rate-limiter")
    assert.equal(code, 2)
    assert.match(err, /the folder .*plugins\/rate-limiter of this project has the same name and would be used instead/)
  })

  it("needs no variable that only the server has", async (t) => {
    const cwd = temporaryFolder(t)
    site(cwd, '[middleware.auth]\nalgorithms = ["HS256"]\nsecret = "env:ONLY_THE_SERVER_HAS_IT"\n')
    assert.equal((await install(cwd, "rate-limiter")).code, 0)
  })

  it("without a configuration says how to get one, and with --yes writes it", async (t) => {
    const cwd = temporaryFolder(t)
    const refused = await install(cwd, "rate-limiter")
    assert.equal(refused.code, 1)
    assert.match(refused.err, /error E_CONFIG_NOT_FOUND: .*bext init writes one, --yes does it here/)
    assert.deepEqual(readdirSync(cwd), [])
    const { code, out } = await install(cwd, "rate-limiter", "--yes")
    assert.equal(code, 0)
    assert.match(out, /^wrote bext\.config\.toml: /)
    const other = await install(cwd, "rate-limiter", "--yes", "--config", "other.toml")
    assert.equal(other.code, 1)
    assert.ok(!existsSync(join(cwd, "other.toml")))
  })

  it("says that it may not write", { skip: process.getuid?.() === 0 && "root may" }, async (t) => {
    const cwd = temporaryFolder(t)
    const file = site(cwd, SITE)
    chmodSync(cwd, 0o500)
    t.after(() => chmodSync(cwd, 0o700))
    const { code, err } = await install(cwd, "rate-limiter")
    assert.equal(code, 1)
    assert.match(err, /error E_FILE_UNREADABLE: cannot write .*permission denied/)
    assert.equal(readFileSync(file, "utf8"), SITE)
  })

  describe("on a terminal", { skip: process.platform !== "linux" && "needs script(1) of util-linux" }, () => {
    const answers: [what: string, keys: string, code: number, installed: boolean][] = [
      ["installs after yes", "y\n", 0, true],
      ["changes nothing after no", "n\n", 1, false],
      ["takes a mere return for no", "\n", 1, false],
      ["changes nothing after Ctrl-C", "\u0003", 130, false],
      ["changes nothing when the input ends", "\u0004", 130, false],
    ]
    for (const [what, keys, code, installed] of answers) {
      it(what, async (t) => {
        const cwd = temporaryFolder(t)
        const file = site(cwd, SITE)
        const run = await onTerminal(t, ["plugin", "install", "webhook-verify"], cwd, [[/Allow this\?/, keys]])
        assert.equal(run.code, code, run.out)
        assert.equal(readFileSync(file, "utf8") !== SITE, installed)
        assert.deepEqual(readdirSync(cwd), ["bext.config.toml"])
      })
    }

    it("offers to write a configuration where there is none", async (t) => {
      const cwd = temporaryFolder(t)
      const { code } = await onTerminal(t, ["plugin", "install", "rate-limiter"], cwd, [[/Write one/, "y\n"]])
      assert.equal(code, 0)
      assert.match(readFileSync(join(cwd, "bext.config.toml"), "utf8"), /\[plugins\.rate-limiter\]/)
    })
  })
})
