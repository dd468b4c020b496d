import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { loadPlugin } from "../src/testing.ts"
import { createProject } from "./support/serve.ts"
import { wasmPlugin, watPlugin } from "./support/wat-plugin.ts"

const MANIFEST = '[manifest]\nname = "tested"\nversion = "1.0.0"\ncapabilities = ["middleware", "lifecycle"]\n'

function plugin(source: string, more = ""): ReturnType<typeof createProject> {
  return createProject({ "plugin.toml": MANIFEST + more, "index.js": source })
}

describe("bext/testing", () => {
  it("sends requests through the plugin, and on to an app of the test", async () => {
    using project = plugin(`
      export function onRequest(ctx) {
        if (ctx.path === "/away") return new Response(null, { status: 302, headers: { location: "/x" } })
        ctx.request.setHeader("x-from-plugin", bext.config.word)
      }
      export function onResponse(ctx) { ctx.response.setHeader("x-seen", "yes") }
      export function onServerStart() { console.log("started") }`)
    await using tested = await loadPlugin(project.folder, {
      config: { word: "hello" },
      app: async (request) =>
        new Response(`${request.method} ${request.headers.get("x-from-plugin")} ${await request.text()}`),
    })
    assert.equal((await tested.request("/away")).status, 302)
    const response = await tested.request("/other?q=1", { method: "POST", body: "body" })
    assert.equal(await response.text(), "POST hello body")
    assert.equal(response.headers.get("x-seen"), "yes")
    assert.ok(tested.log.some(({ level, message }) => level === "info" && message === "started"))
  })

  it("grants what the manifest asks for, or what the test says", async () => {
    const source = `export function cleanup() {}
      export function onRequest(ctx) {
        try { ctx.request.setPath("/elsewhere") } catch (error) { return new Response(error.code) }
        return new Response(bext.secret("KEY"))
      }`
    using project = plugin(source, '[permissions]\nrewrite_path = true\nsecrets = ["KEY"]\n')
    await using granted = await loadPlugin(project.folder, { secrets: { KEY: "of the test" } })
    assert.equal(await (await granted.request("/")).text(), "of the test")
    await using refused = await loadPlugin(project.folder, { grant: { rewrite_path: false }, secrets: { KEY: "x" } })
    assert.equal(await (await refused.request("/")).text(), "E_PERMISSION")
  })

  it("tests modules of WebAssembly like any other plugin", async () => {
    using project = createProject(wasmPlugin("tested", watPlugin({ answer: "hello, tester" })))
    await using tested = await loadPlugin(project.path("plugins/tested"), { plugin: { fuel: { on_request: 50_000 } } })
    assert.equal(await (await tested.request("/")).text(), "hello, tester")
    assert.equal(await (await tested.request("/?continue")).text(), "app")
    await tested.request("/?log")
    assert.ok(tested.log.some(({ level, message }) => level === "info" && message === "hello, tester"))
    const stopped = await tested.request("/?burn", { headers: { accept: "application/json" } })
    assert.equal(((await stopped.json()) as { code: string }).code, "E_LIMIT_FUEL")
    assert.ok(tested.log.some(({ message }) => /on_request used \d+ of its 50000 units of fuel/.test(message)))
  })

  it("says what is wrong with a plugin that does not load, and leaves nothing behind", async () => {
    using broken = plugin("export function onRequest( {")
    await assert.rejects(loadPlugin(broken.folder), { code: "E_PLUGIN_LOAD_FAILED" })
    using empty = createProject({})
    await assert.rejects(loadPlugin(empty.folder), { code: "E_PLUGIN_NOT_FOUND" })
  })
})
