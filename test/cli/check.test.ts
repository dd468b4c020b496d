import assert from "node:assert/strict"
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, it } from "node:test"
import { runBext, temporaryFolder } from "./run-bext.ts"

function write(folder: string, files: Record<string, string>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(folder, name, ".."), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
}

const manifest = (name: string, more = 'capabilities = ["middleware"]\n') =>
  `[manifest]\nname = "${name}"\nversion = "1.0.0"\n${more}`

describe("bext check", { concurrency: 2 }, () => {
  it("reports every mistake of the configuration with its place", async (t) => {
    const folder = temporaryFolder(t)
    write(folder, { "bext.config.toml": '[server]\nlisen = ":1"\n[log]\nlevel = "loud"\n' })
    const { code, out, err } = await runBext(["check"], { cwd: folder })
    assert.equal(code, 1)
    assert.equal(out, "")
    assert.match(err, /^error E_CONFIG_INVALID: 2 problems in bext\.config\.toml\n/)
    assert.match(
      err,
      / {2}bext\.config\.toml:2:1 {2}server\.lisen: unknown key\n {6}2 \| lisen = ":1"\n {8}\| \^{5}\n {6}did you mean listen\?/,
    )
    assert.match(err, / {2}bext\.config\.toml:4:9 {2}log\.level: /)
    assert.match(err, /more: bext explain E_CONFIG_INVALID/)
    assert.doesNotMatch(err, /^\s+at /m)
  })

  it("shows the first 30 mistakes of a file full of them", async (t) => {
    const folder = temporaryFolder(t)
    const text = Array.from({ length: 50 }, (_, index) => `[plugins.p${index}]\nx = 1\n`).join("")
    write(folder, { "bext.config.toml": text })
    const { err } = await runBext(["check"], { cwd: folder })
    assert.match(err, /50 problems/)
    assert.equal(err.match(/unknown key/g)?.length, 30)
    assert.match(err, /… and 20 more/)
  })

  it("shows the stack when BEXT_DEBUG=1", async (t) => {
    const { err } = await runBext(["check"], { cwd: temporaryFolder(t), env: { BEXT_DEBUG: "1" } })
    assert.match(err, /^\s+at /m)
  })

  it("says what to do without a configuration", async (t) => {
    const { code, err } = await runBext(["check"], { cwd: temporaryFolder(t) })
    assert.equal(code, 1)
    assert.match(err, /^error E_CONFIG_NOT_FOUND: there is no file .*bext\.config\.toml\n/)
    assert.match(err, /what to do: .*run bext init/)
  })

  it("is content with a right configuration and its plugins, and leaves nothing behind", async (t) => {
    const folder = temporaryFolder(t)
    write(folder, {
      "bext.config.toml": "[plugins.hello]\n[plugins.security-headers]\n[plugins.off]\nenabled = false\n",
      "plugins/hello/plugin.toml": manifest("hello"),
      "plugins/hello/index.ts": "export function onRequest(ctx: object) {}\n",
    })
    const { code, out, err } = await runBext(["check"], { cwd: folder })
    assert.equal(err, "")
    assert.equal(code, 0)
    assert.match(out, /ok +hello 1\.0\.0 {2}quickjs, priority 600: on_request\n/)
    assert.match(out, /ok +security-headers /)
    assert.match(out, /bext\.config\.toml is right, and so are its 2 plugins\n$/)
    assert.equal(existsSync(join(folder, ".bext")), false)
  })

  it("makes the built-in middleware: a key that is none is an error", async (t) => {
    const folder = temporaryFolder(t)
    write(folder, {
      "key.pem": "not a key",
      "bext.config.toml": '[middleware.auth]\nalgorithms = ["ES256"]\nkey_file = "key.pem"\n',
    })
    const { code, err } = await runBext(["check"], { cwd: folder })
    assert.equal(code, 1)
    assert.match(err, /^error E_[A-Z_]+: .*key\.pem/)
  })

  it("does not run start hooks", async (t) => {
    const folder = temporaryFolder(t)
    write(folder, {
      "bext.config.toml": "[plugins.hello]\n",
      "plugins/hello/plugin.toml": manifest("hello", 'capabilities = ["lifecycle"]\n'),
      "plugins/hello/index.js": 'export function onServerStart() { throw new Error("started") }\n',
    })
    const { code, err } = await runBext(["check"], { cwd: folder })
    assert.equal(err, "")
    assert.equal(code, 0)
  })

  it("shows with each of several failures at a start its own code, and no code left over", async (t) => {
    const folder = temporaryFolder(t)
    write(folder, { "bext.config.toml": "[plugins.gone]\n[plugins.lost]\n" })
    const { code, err } = await runBext(["serve"], { cwd: folder })
    assert.equal(code, 1)
    assert.match(err, /^error E_PLUGIN_NOT_FOUND: 2 plugins failed:\n/)
    assert.match(err, /^ +gone: .* \[E_PLUGIN_NOT_FOUND\]\n +lost: .* \[E_PLUGIN_NOT_FOUND\]\n\n {2}what to do/m)
  })

  it("checks every plugin and reports all that fail", async (t) => {
    const folder = temporaryFolder(t)
    write(folder, {
      "bext.config.toml":
        '[plugins.syntax]\n[plugins.hooks]\n[plugins.typo]\n[plugins.gone]\non_error = "open"\n[plugins.wrong]\nsandbox = "wasm"\n[plugins.good]\n',
      "plugins/syntax/plugin.toml": manifest("syntax"),
      "plugins/syntax/index.js": "export function onRequest( {\n",
      "plugins/hooks/plugin.toml": manifest("hooks"),
      "plugins/hooks/index.js": "export function onServerStart() {}\n",
      "plugins/typo/plugin.toml": manifest("typo", 'capabilities = ["midleware"]\n'),
      "plugins/wrong/plugin.toml": manifest("wrong"),
      "plugins/wrong/index.js": "export function onRequest() {}\n",
      "plugins/good/plugin.toml": manifest("good"),
      "plugins/good/index.js": "export function onRequest() {}\n",
    })
    const { code, out, err } = await runBext(["check"], { cwd: folder })
    assert.equal(code, 1)
    assert.match(err, /E_PLUGIN_LOAD_FAILED: syntax: .*index\.js:\d+:\d+/)
    assert.match(err, /E_PLUGIN_HOOK_MISMATCH: hooks: /)
    assert.match(err, /E_PLUGIN_MANIFEST_INVALID: 1 problem in .*typo\/plugin\.toml[\s\S]*did you mean "middleware"\?/)
    assert.match(err, /E_PLUGIN_NOT_FOUND: gone: /)
    assert.match(err, /bext\.config\.toml:7:11 {2}plugins\.wrong\.sandbox: the plugin is made for quickjs, not wasm/)
    assert.match(out, /^ok +good /m)
    assert.match(err, /5 of 6 plugins cannot be used\n$/)
  })
})
