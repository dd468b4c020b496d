import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { ENV, plugin, serveSite, until } from "./site.ts"

/** Answers with how often it was asked: module state, which lives as long as the plugin's memory. */
const COUNTER = "let calls = 0\nexport function onRequest() { return new Response(String(++calls)) }"

describe("a plugin over a reload", () => {
  for (const lane of ["inline", "worker"]) {
    it(`goes on with its module state when nothing of it changed, lane ${lane}`, async () => {
      await using site = await serveSite(`[plugins.probe]\nlane = "${lane}"`, plugin("probe", COUNTER))
      assert.equal((await site.get()).text, "1")
      const { loaded, kept, removed, snapshot } = await site.reload()
      assert.deepEqual({ loaded, kept, removed, snapshot }, { loaded: [], kept: ["probe"], removed: [], snapshot: 2 })
      assert.equal((await site.get()).text, "2")
      site.write(plugin("probe", `${COUNTER} // changed`))
      assert.deepEqual((await site.reload()).loaded, ["probe"])
      assert.equal((await site.get()).text, "1")
    })
  }

  const changes: { what: string; files?: () => object; config?: string }[] = [
    { what: "its code", files: () => plugin("probe", COUNTER.replace("++calls", "++calls + 100")) },
    { what: "a module that its code imports", files: () => ({ "plugins/probe/lib.js": "export const start = 100" }) },
    { what: "plugin.toml", files: () => plugin("probe", IMPORTING, "[sandbox]\nmax_cpu_ms = 40") },
    { what: "its settings", config: "[plugins.probe.config]\na = 1" },
    { what: "its priority", config: "[plugins.probe]\npriority = 700" },
    { what: "its limits", config: "[plugins.probe.limits]\nmax_cpu_ms = 33" },
    { what: "the requests it is for", config: '[plugins.probe]\nmatch = [{ path = "/**" }]' },
    { what: "the ceiling of all plugins", config: "[plugins.probe]\n[sandbox.ceilings]\nmax_cpu_ms = 20" },
    {
      what: "that requests now have tenants",
      config: '[plugins.probe]\n[middleware.tenant]\nby = ["header:x"]\nunknown = "pass"',
    },
  ]
  const IMPORTING = `import { start } from "./lib.js"
    let calls = start
    export function onRequest() { return new Response(String(++calls)) }`

  for (const { what, files, config } of changes) {
    it(`is loaded anew when this changed: ${what}`, async () => {
      const before = { ...plugin("probe", IMPORTING), "plugins/probe/lib.js": "export const start = 0" }
      await using site = await serveSite("[plugins.probe]", before)
      assert.equal((await site.get()).text, "1")
      assert.equal((await site.get()).text, "2")
      if (files !== undefined) site.write(files() as never)
      assert.deepEqual((await site.reload(config)).loaded, ["probe"])
      assert.match((await site.get()).text, /^(10)?1$/)
    })
  }

  it("is loaded anew when the value of its secret changed", async () => {
    ENV.PROBE_KEY = "old"
    const source = 'export function onRequest() { return new Response(bext.secret("KEY")) }'
    const config = '[plugins.probe]\n[plugins.probe.secrets]\nKEY = "env:PROBE_KEY"'
    await using site = await serveSite(config, plugin("probe", source, '[permissions]\nsecrets = ["KEY"]'))
    assert.equal((await site.get()).text, "old")
    assert.deepEqual((await site.reload()).kept, ["probe"])
    ENV.PROBE_KEY = "new"
    assert.deepEqual((await site.reload()).loaded, ["probe"])
    assert.equal((await site.get()).text, "new")
  })

  it("is loaded anew when the schema of its settings changed", async () => {
    const schema = (greeting: string) => ({
      "plugins/probe/schema.json": JSON.stringify({ properties: { greeting: { type: "string", default: greeting } } }),
    })
    const files = plugin("probe", "export function onRequest() { return new Response(bext.config.greeting) }")
    const manifest = `${files["plugins/probe/plugin.toml"]}`.replace(
      "[manifest]",
      '[manifest]\nconfig_schema = "schema.json"',
    )
    await using site = await serveSite("[plugins.probe]", {
      ...files,
      "plugins/probe/plugin.toml": manifest,
      ...schema("hello"),
    })
    assert.equal((await site.get()).text, "hello")
    site.write(schema("hej"))
    await site.reload()
    assert.equal((await site.get()).text, "hej")
  })

  it("is loaded anew when a file appeared that its imports now lead to", async () => {
    const source = 'import { answer } from "./lib"\nexport function onRequest() { return new Response(answer) }'
    await using site = await serveSite("[plugins.probe]", {
      ...plugin("probe", source),
      "plugins/probe/lib.js": 'export const answer = "js"',
    })
    assert.equal((await site.get()).text, "js")
    site.write({ "plugins/probe/unrelated.js": "export {}" })
    assert.deepEqual((await site.reload()).kept, ["probe"])
    site.write({ "plugins/probe/lib.ts": 'export const answer: string = "ts"' })
    assert.deepEqual((await site.reload()).loaded, ["probe"])
    assert.equal((await site.get()).text, "ts")
  })

  it("is loaded anew from the project when it was the one that comes with bext before", async () => {
    await using site = await serveSite("[plugins.security-headers]")
    assert.notEqual((await site.get("/nothing")).headers["x-content-type-options"], undefined)
    site.write(plugin("security-headers", 'export function onRequest() { return new Response("mine") }'))
    assert.deepEqual((await site.reload()).loaded, ["security-headers"])
    assert.equal((await site.get()).text, "mine")
  })

  it("can come, go, and change its place in the order", async () => {
    const append = (name: string) =>
      plugin(name, `export function onResponse(ctx) { ctx.response.appendHeader("x-order", "${name}") }`)
    const files = { ...append("one"), ...append("two"), "public/index.html": "home" }
    const app = '[app]\nstatic = "public"\n'
    await using site = await serveSite(`${app}[plugins.one]`, files)
    assert.equal((await site.get()).headers["x-order"], "one")
    assert.deepEqual((await site.reload(`${app}[plugins.one]\n[plugins.two]`)).loaded, ["two"])
    assert.equal((await site.get()).headers["x-order"], "two, one")
    await site.reload(`${app}[plugins.one]\npriority = 900\n[plugins.two]`)
    assert.equal((await site.get()).headers["x-order"], "one, two")
    assert.deepEqual((await site.reload(`${app}[plugins.two]`)).removed, ["one"])
    assert.equal((await site.get()).headers["x-order"], "two")
    assert.deepEqual(
      site.server
        .stack()
        .filter(({ kind }) => kind === "plugin")
        .map(({ name }) => name),
      ["two"],
    )
  })

  it("keeps its counters, metrics and storage when it is loaded anew", async () => {
    const source = (version: number) => `export async function onRequest() {
      bext.metric("asked", 1)
      return new Response(\`${version}: \${await bext.storage.incr("calls")}\`)
    }`
    await using site = await serveSite("[plugins.probe]", plugin("probe", source(1)))
    assert.equal((await site.get()).text, "1: 1")
    site.write(plugin("probe", source(2)))
    await site.reload()
    assert.equal((await site.get()).text, "2: 2")
    const [status] = site.server.status().plugins
    assert.equal(status!.stats.hooks.on_request!.calls, 2)
  })

  it("hears onReload after it serves, whether it is new, changed or as it was", async () => {
    const says = (name: string) =>
      plugin(name, `export function onReload() { console.log("said", "${name}") }`, "", '"lifecycle"')
    await using site = await serveSite("[plugins.one]\n[plugins.two]", {
      ...says("one"),
      ...says("two"),
      ...says("three"),
    })
    const prepared = await site.prepare("[plugins.one]\n[plugins.two.config]\na = 1\n[plugins.three]")
    assert.deepEqual(site.said(), [])
    prepared.commit()
    await until(() => site.said().length === 3, "everybody heard it")
    assert.deepEqual(site.said(), ["one", "two", "three"])
  })

  it("learns that its process leads, without being loaded anew", async () => {
    const source = "export function onRequest(ctx) { return new Response(String(ctx.leader)) }"
    await using site = await serveSite("[plugins.probe]", plugin("probe", source))
    assert.equal((await site.get()).text, "true")
    site.server.setLeader(false)
    assert.equal((await site.get()).text, "false")
    assert.equal(site.server.status().leader, false)
  })
})
