import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { readCatalogue } from "../../src/registry/catalogue.ts"
import { createProject } from "../support/serve.ts"
import { runBext, temporaryFolder } from "./run-bext.ts"

describe("bext plugin list", { concurrency: 2 }, () => {
  it("shows what comes with bext where there is no configuration", async (t) => {
    const { code, out } = await runBext(["plugin", "list"], { cwd: temporaryFolder(t) })
    assert.equal(code, 0)
    assert.match(out, /there is no bext\.config\.toml here\n {2}none/)
    for (const { name, manifest } of readCatalogue().values()) {
      assert.match(out, new RegExp(`^  ${name} +1\\.0\\.0 +${manifest.manifest.description}$`, "m"))
    }
  })

  it("shows where installed plugins come from, and what is wrong with those that cannot be found", async () => {
    using project = createProject({
      "bext.config.toml":
        '[plugins.rate-limiter]\nenabled = false\n[plugins.own]\npriority = 700\n[plugins.file]\npath = "one.js"\n[plugins.lost]\n',
      "one.js": "",
      "plugins/own/plugin.toml":
        '[manifest]\nname = "own"\nversion = "2.1.0"\ndescription = "Mine\\u001b[31m\\u009b31m"\ncapabilities = ["middleware"]\n',
      "plugins/own/index.js": "",
    })
    const { code, out } = await runBext(["plugin", "list"], { cwd: project.folder })
    assert.equal(code, 0)
    assert.match(out, /^ {2}rate-limiter +1\.0\.0 +quickjs +priority 600 +comes with bext +not enabled$/m)
    assert.match(out, /^ {2}own +2\.1\.0 +quickjs +priority 700 +plugins\/own$/m)
    assert.match(out, /^ {2}file +0\.0\.0 +quickjs +priority 600 +one\.js$/m)
    assert.match(out, /^ {2}lost +cannot be used +lost: there is no /m)
    assert.doesNotMatch(out.split("not installed")[1]!, /rate-limiter/)

    const json = await runBext(["plugin", "list", "--json"], { cwd: project.folder })
    assert.doesNotMatch(json.out, /\u009b/)
    const { installed, available } = JSON.parse(json.out) as Record<string, { name: string }[]>
    assert.deepEqual(
      installed!.map(({ name }) => name),
      ["rate-limiter", "own", "file", "lost"],
    )
    assert.ok(available!.some(({ name }) => name === "security-headers"))
  })

  it("says when the file it was given is not there", async (t) => {
    const { code, err } = await runBext(["plugin", "list", "--config", "x.toml"], { cwd: temporaryFolder(t) })
    assert.equal(code, 1)
    assert.match(err, /E_CONFIG_NOT_FOUND/)
  })
})
