import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { mkdtempSync, realpathSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, it, type TestContext } from "node:test"
import { createConfig } from "../../src/config/parse-config.ts"
import { type ResolvedPlugin, resolvePlugin } from "../../src/plugins/resolve-plugin.ts"
import { type Files, writeFiles } from "./write-files.ts"

function project(t: TestContext, files: Files): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "bext-resolve-")))
  t.after(() => rmSync(folder, { recursive: true }))
  writeFiles(folder, files)
  return folder
}

function resolve(folder: string, name: string, plugin: object = {}): ResolvedPlugin {
  const config = createConfig({ plugins: { [name]: plugin } }, { folder, env: {} })
  return resolvePlugin(name, config.plugins[name]!, folder)
}

const manifest = (name: string, more = "") =>
  `[manifest]\nname = "${name}"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n${more}`

describe("resolvePlugin", () => {
  it("takes the folder the configuration names, relative to the configuration", (t) => {
    const folder = project(t, { "ext/geo/plugin.toml": manifest("geo"), "ext/geo/index.js": "" })
    const found = resolve(folder, "geo", { path: "ext/geo" })
    assert.equal(found.folder, join(folder, "ext/geo"))
    assert.equal(found.entry, join(folder, "ext/geo/index.js"))
    assert.deepEqual([found.local, found.synthesised, found.owner], [true, false, found.folder])
  })

  it("without a path looks into plugins/NAME of the project", (t) => {
    const folder = project(t, { "plugins/geo/plugin.toml": manifest("geo"), "plugins/geo/src/index.ts": "" })
    assert.equal(resolve(folder, "geo").entry, join(folder, "plugins/geo/src/index.ts"))
  })

  it("then takes the plugin of that name that comes with bext, which is not local", (t) => {
    const found = resolve(project(t, {}), "security-headers")
    assert.equal(found.manifest.manifest.name, "security-headers")
    assert.deepEqual([found.local, found.owner], [false, "bext"])
  })

  it("prefers the project's own to one that comes with bext", (t) => {
    const folder = project(t, {
      "plugins/security-headers/plugin.toml": manifest("security-headers"),
      "plugins/security-headers/index.js": "",
    })
    assert.equal(resolve(folder, "security-headers").local, true)
  })

  it("says where it looked", (t) => {
    assert.throws(() => resolve(project(t, {}), "nowhere"), {
      code: "E_PLUGIN_NOT_FOUND",
      message: /plugins\/nowhere, and no plugin of that name comes with bext/,
    })
  })

  it("sees through a misspelt name", (t) => {
    const folder = project(t, { "plugins/geography/plugin.toml": manifest("geography") })
    assert.throws(() => resolve(folder, "security-heders"), { message: /did you mean security-headers\?/ })
    assert.throws(() => resolve(folder, "geografy"), { message: /did you mean geography\?/ })
  })

  it("prefers src/index.ts to the other default entries", (t) => {
    const folder = project(t, {
      "plugins/geo/plugin.toml": manifest("geo"),
      "plugins/geo/src/index.ts": "",
      "plugins/geo/src/index.js": "",
      "plugins/geo/index.js": "",
    })
    assert.equal(resolve(folder, "geo").entry, join(folder, "plugins/geo/src/index.ts"))
  })

  it("takes the entry of the manifest, and plugin.wasm for wasm", (t) => {
    const folder = project(t, {
      "plugins/geo/plugin.toml": manifest("geo", 'entry = "lib/main.js"'),
      "plugins/geo/lib/main.js": "",
      "plugins/w/plugin.toml": `${manifest("w")}[sandbox]\ntype = "wasm"`,
      "plugins/w/plugin.wasm": "",
    })
    assert.equal(resolve(folder, "geo").entry, join(folder, "plugins/geo/lib/main.js"))
    assert.equal(resolve(folder, "w").entry, join(folder, "plugins/w/plugin.wasm"))
  })

  it("names the entries it looked for", (t) => {
    const folder = project(t, { "plugins/geo/plugin.toml": manifest("geo"), "plugins/geo/main.js": "" })
    assert.throws(() => resolve(folder, "geo"), { code: "E_PLUGIN_NOT_FOUND", message: /src\/index\.ts.*index\.js/ })
  })

  it("tells the author of a module what plugin.toml lacks", (t) => {
    const folder = project(t, {
      "plugins/geo/plugin.toml": manifest("geo"),
      "plugins/geo/plugin.wasm": "",
      "geo/plugin.toml": manifest("geo"),
      "geo/target/geo.wasm": "",
    })
    const message = /plugin\.wasm: add \[sandbox\] type = "wasm" to plugin\.toml/
    assert.throws(() => resolve(folder, "geo"), { code: "E_PLUGIN_NOT_FOUND", message })
    assert.throws(() => resolve(folder, "geo", { path: "geo/target/geo.wasm" }), {
      code: "E_PLUGIN_MANIFEST_INVALID",
      message: /geo\.wasm is a WebAssembly module; add \[sandbox\] type = "wasm" to .*geo\/plugin\.toml/,
    })
  })

  it("refuses an entry that leads out of the folder, also by a symbolic link", (t) => {
    const folder = project(t, {
      "secret.js": "",
      "plugins/geo/plugin.toml": manifest("geo"),
      "plugins/geo/index.js": { link: "../../secret.js" },
    })
    assert.throws(() => resolve(folder, "geo"), { code: "E_PLUGIN_MANIFEST_INVALID", message: /leads out/ })
  })

  it("refuses a manifest with another name", (t) => {
    const folder = project(t, { "plugins/geo/plugin.toml": manifest("other"), "plugins/geo/index.js": "" })
    assert.throws(() => resolve(folder, "geo"), { code: "E_PLUGIN_MANIFEST_INVALID", message: /\[plugins\.other\]/ })
  })

  it("passes on what is wrong with the manifest, with its place", (t) => {
    const folder = project(t, {
      "plugins/geo/plugin.toml": manifest("geo", "surprise = 1"),
      "plugins/geo/index.js": "",
    })
    assert.throws(() => resolve(folder, "geo"), {
      code: "E_PLUGIN_MANIFEST_INVALID",
      message: /plugin\.toml:5:1\s+manifest\.surprise/,
    })
  })

  it("makes up a manifest for a single file: nothing asked for, tier by its ending", (t) => {
    const folder = project(t, { "hello.js": "", "hello.wasm": "" })
    const script = resolve(folder, "hello", { path: "hello.js" })
    assert.deepEqual([script.synthesised, script.manifest.sandbox.type], [true, "quickjs"])
    assert.deepEqual([script.entry, script.owner], [join(folder, "hello.js"), join(folder, "hello.js")])
    assert.equal(script.manifest.permissions.allowed_urls.length, 0)
    assert.equal(resolve(folder, "hello", { path: "hello.wasm" }).manifest.sandbox.type, "wasm")
    assert.equal(resolve(folder, "hello", { path: "hello.js", sandbox: "nsjail" }).manifest.sandbox.type, "nsjail")
  })

  it("takes no FIFO for a file, which nobody may ever write to", (t) => {
    const folder = project(t, {})
    execFileSync("mkfifo", [join(folder, "hello.wasm")])
    const message = /neither a folder nor a file/
    assert.throws(() => resolve(folder, "hello", { path: "hello.wasm" }), { code: "E_PLUGIN_NOT_FOUND", message })
  })

  it("uses the nearest plugin.toml above a single file, inside the project", (t) => {
    const folder = project(t, { "ext/plugin.toml": manifest("geo"), "ext/deep/er/main.js": "" })
    const found = resolve(folder, "geo", { path: "ext/deep/er/main.js" })
    assert.deepEqual([found.synthesised, found.folder], [false, join(folder, "ext")])
    assert.equal(found.entry, join(folder, "ext/deep/er/main.js"))
  })

  it("does not look for plugin.toml above the project, nor above files outside of it", (t) => {
    const folder = project(t, { "plugin.toml": manifest("geo"), "site/a.js": "", "else/deep/b.js": "" })
    assert.equal(resolve(join(folder, "site"), "geo", { path: "a.js" }).synthesised, true)
    const outside = resolve(join(folder, "site"), "geo", { path: "../else/deep/b.js" })
    assert.deepEqual([outside.synthesised, outside.local], [true, false])
  })

  it("sees through a link that only looks as if it were inside the project", (t) => {
    const folder = project(t, {
      "outside/plugin.toml": manifest("geo"),
      "outside/index.js": "",
      "site/plugins/geo": { link: "../../outside" },
    })
    const found = resolve(join(folder, "site"), "geo", { path: "plugins/geo" })
    assert.equal(found.local, false)
    assert.equal(resolve(join(folder, "site"), "geo").local, false)
  })

  it("says what cannot be read, and takes nothing else in its place", (t) => {
    const folder = project(t, {
      "plugins/security-headers": { link: "nowhere" },
      "plugins/geo/plugin.toml": manifest("geo"),
      "plugins/geo/index.js": { link: "index.js" },
      "single/main.js": "",
      "single/plugin.toml": { link: "gone.toml" },
    })
    const unreadable = (path: string) => ({ code: "E_FILE_UNREADABLE", message: new RegExp(`cannot read .*${path}: `) })
    assert.throws(() => resolve(folder, "security-headers"), unreadable("plugins/security-headers"))
    assert.throws(() => resolve(folder, "geo"), unreadable("plugins/geo/index.js"))
    assert.throws(() => resolve(folder, "main", { path: "single/main.js" }), { code: "E_PLUGIN_NOT_FOUND" })
  })
})
