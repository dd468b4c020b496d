import assert from "node:assert/strict"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, it } from "node:test"
import { parseConfig } from "../../src/config/parse-config.ts"
import type { Config } from "../../src/config/schema.ts"
import { runBext, temporaryFolder } from "./run-bext.ts"

function written(folder: string): Config {
  const file = join(folder, "bext.config.toml")
  return parseConfig(readFileSync(file, "utf8"), { file, env: {} })
}

describe("bext init", { concurrency: 2 }, () => {
  it("serves a folder of files", async (t) => {
    const folder = temporaryFolder(t)
    mkdirSync(join(folder, "public"))
    const { code, out } = await runBext(["init"], { cwd: folder })
    assert.equal(code, 0)
    assert.match(
      out,
      /wrote bext\.config\.toml: the files in public\/\nnext: bext plugin install security-headers\n {6}bext serve\n/,
    )
    assert.equal(written(folder).app.static, join(folder, "public"))
  })

  const scripts: [script: string, upstream: string, listen: string][] = [
    ["PORT=4321 node server.js", "http://127.0.0.1:4321", "127.0.0.1:3000"],
    ["next start -p 5000", "http://127.0.0.1:5000", "127.0.0.1:3000"],
    ["serve --port=8123", "http://127.0.0.1:8123", "127.0.0.1:3000"],
    ["next start", "http://127.0.0.1:3000", "127.0.0.1:8080"],
    ["node server.js", "http://127.0.0.1:4000", "127.0.0.1:3000"],
  ]
  for (const [start, upstream, listen] of scripts) {
    it(`stands in front of an app started by "${start}"`, async (t) => {
      const folder = temporaryFolder(t)
      writeFileSync(join(folder, "package.json"), JSON.stringify({ scripts: { start } }))
      assert.equal((await runBext(["init"], { cwd: folder })).code, 0)
      assert.equal(written(folder).app.upstream, upstream)
      assert.equal(written(folder).server.listen, listen)
    })
  }

  it("writes a configuration that loads when it recognises nothing", async (t) => {
    const folder = temporaryFolder(t)
    writeFileSync(join(folder, "package.json"), "{ not json")
    const { code, out } = await runBext(["init", folder])
    assert.equal(code, 0)
    assert.match(out, /nothing to serve was recognised/)
    assert.match(out, /^ {6}bext serve --config /m)
    assert.equal(written(folder).app.static, undefined)
  })

  it("never overwrites a file", async (t) => {
    const folder = temporaryFolder(t)
    writeFileSync(join(folder, "bext.config.toml"), "# mine")
    const { code, err } = await runBext(["init"], { cwd: folder })
    assert.equal(code, 2)
    assert.match(err, /bext\.config\.toml is there already; nothing was changed/)
    assert.equal(readFileSync(join(folder, "bext.config.toml"), "utf8"), "# mine")
  })

  it("says when there is no such folder", async () => {
    const { code, err } = await runBext(["init", "no-such-folder"])
    assert.equal(code, 1)
    assert.match(err, /there is no folder no-such-folder/)
  })
})
