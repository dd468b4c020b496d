import assert from "node:assert/strict"
import { execFile, execFileSync } from "node:child_process"
import { cpSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, it, type TestContext } from "node:test"
import { fileURLToPath } from "node:url"
import { freePort } from "../../../support/free-port.ts"
import { findProgram, GO, missing } from "../../../support/programs.ts"
import { createProject, serve } from "../../../support/serve.ts"

const FIXTURE = fileURLToPath(new URL("../../../fixtures/http-wasm-tck", import.meta.url))

/** What bext does in another way: every path has one form. See docs/wasm-http.md. */
const DIFFERENT = ["set_uri/simple/escaping"]

const MANIFEST = `
[manifest]
name = "tck"
version = "1.0.0"
capabilities = ["middleware"]
[sandbox]
type = "wasm"
body = "both"
[permissions]
rewrite_path = true
rewrite_method = true
`

describe("the TCK of the http-wasm ABI", { skip: missing(GO) }, () => {
  it("passes, unmodified, up to what is documented", { timeout: 300_000 }, async (t) => {
    using project = createProject({})
    cpSync(FIXTURE, project.folder, { recursive: true })
    const module = fetchModule(t, project.folder)
    if (module === undefined) return
    const port = await freePort()
    const config = `
[app]
upstream = "http://127.0.0.1:${port}"
[plugins.tck.grant]
rewrite_path = true
rewrite_method = true
`
    await using server = await serve(config, {
      "plugins/tck/plugin.toml": MANIFEST,
      "plugins/tck/plugin.wasm": readFileSync(join(module, "tck/tck.wasm")),
    })
    const output = await runTests(project.folder, { URL: server.url, APP: `127.0.0.1:${port}` })
    const results = (word: string) =>
      Array.from(output.matchAll(new RegExp(`^ +--- ${word}: Test/(\\S+)`, "gm")), ([, name]) => name!)
    assert.deepEqual(results("FAIL"), DIFFERENT, output)
    assert.equal(results("PASS").length, 34, output)
  })
})

/** @returns the folder of the module that the TCK is a part of, with the sum that is pinned; undefined, and a skip, without a network. */
function fetchModule(t: TestContext, cwd: string): string | undefined {
  try {
    execFileSync(findProgram(GO)!, ["mod", "download"], { cwd, stdio: "pipe", timeout: 120_000 })
  } catch (error) {
    if (process.env.CI === "true") throw error
    t.skip(`the module cannot be fetched: ${String((error as { stderr?: Buffer }).stderr)}`)
    return undefined
  }
  const args = ["list", "-m", "-f", "{{.Dir}}", "github.com/http-wasm/http-wasm-host-go"]
  return execFileSync(findProgram(GO)!, args, { cwd, encoding: "utf8" }).trim()
}

function runTests(cwd: string, env: Readonly<Record<string, string>>): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  const args = ["test", "-count=1", "-v", "-timeout=120s", "./..."]
  execFile(findProgram(GO)!, args, { cwd, env: { ...process.env, ...env } }, (_error, stdout, stderr) => {
    resolve(`${stdout}${stderr}`)
  })
  return promise
}
