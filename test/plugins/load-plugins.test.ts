import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { createTiers } from "../../src/create-tiers.ts"
import { loadProject, middleware, type ProjectOptions } from "./plugin-project.ts"
import { textOf } from "./request-context.ts"

type Test = Parameters<typeof loadProject>[0]

const idle = "export function onRequest() {}"

function probe(t: Test, source: string, config: string, manifest = "", options: ProjectOptions = {}) {
  return loadProject(t, { ...middleware("probe", source, manifest), "bext.config.toml": config }, options)
}

describe("loadPlugins", () => {
  it("loads enabled plugins in the order of the configuration, at 600 unless told otherwise", async (t) => {
    const { set } = await loadProject(t, {
      ...middleware("b", idle),
      ...middleware("a", idle, "priority = 700"),
      ...middleware("off", "this is not JavaScript"),
      ...middleware("c", idle, "priority = { middleware = 800 }"),
      "bext.config.toml": "[plugins.b]\n[plugins.a]\n[plugins.off]\nenabled = false\n[plugins.c]\npriority = 50",
    })
    assert.deepEqual(
      set.plugins.map(({ name, priority, kind }) => [name, priority, kind]),
      [
        ["b", 600, "plugin"],
        ["a", 700, "plugin"],
        ["c", 50, "plugin"],
      ],
    )
  })

  it("loads a single file with the capabilities of what it exports", async (t) => {
    const { plugin, request } = await loadProject(t, {
      "hello.js": 'export function onRequest() { return new Response("hi") }\nexport function cleanup() {}',
      "bext.config.toml": '[plugins.hello]\npath = "hello.js"',
    })
    assert.deepEqual(plugin("hello").manifest.manifest.capabilities, ["middleware", "lifecycle"])
    assert.equal(await textOf((await request()).response.body), "hi")
  })

  it("refuses a single file whose hook is misspelt, instead of leaving it without any", async (t) => {
    for (const source of ["export function onRequset() {}", "export default function (ctx) {}", ""]) {
      const files = { "guard.js": source, "bext.config.toml": '[plugins.guard]\npath = "guard.js"' }
      await assert.rejects(loadProject(t, files), { code: "E_PLUGIN_HOOK_MISMATCH", message: /exports no hook/ })
    }
  })

  it("loads the overview's plugin.toml and section as they are written there", async (t) => {
    const { plugin } = await loadProject(t, {
      "plugins/rate-limiter/plugin.toml":
        '[manifest]\nname = "rate-limiter"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n',
      "plugins/rate-limiter/src/index.js": idle,
      "bext.config.toml": `
        [plugins.rate-limiter]
        [plugins.security-headers]
        sandbox = "quickjs"
        [plugins.security-headers.config]
        hsts_max_age = 31536000
        x_frame_options = "DENY"`,
    })
    assert.equal(plugin("rate-limiter").tier, "quickjs")
    assert.equal(plugin("security-headers").manifest.manifest.version, "1.0.0")
  })

  it("refuses to start without a required plugin, and names all that failed", async (t) => {
    const files = {
      ...middleware("broken", "export function onRequest( {"),
      ...middleware("mute", "export const x = 1"),
      ...middleware("good", idle),
      "bext.config.toml": '[plugins.broken]\n[plugins.good]\n[plugins.mute]\n[plugins.gone]\non_error = "open"',
    }
    await assert.rejects(loadProject(t, files), (error: Error) => {
      assert.match(error.message, /3 plugins failed/)
      assert.match(error.message, /broken: .*index\.js:1/)
      assert.match(error.message, /mute: .*E_PLUGIN_HOOK_MISMATCH/)
      assert.match(error.message, /gone: .*E_PLUGIN_NOT_FOUND\] \(not required\)/)
      return true
    })
  })

  it("leaves out a plugin that is not required, loudly", async (t) => {
    const { set, lines } = await loadProject(t, {
      ...middleware("open", "export function onRequest( {"),
      ...middleware("told", "export function onRequest( {"),
      ...middleware("events", "export function cleanup( {", "", '"lifecycle"'),
      ...middleware("good", idle),
      "bext.config.toml":
        '[plugins.open]\non_error = "open"\n[plugins.told]\nrequired = false\n[plugins.events]\n[plugins.good]',
    })
    assert.deepEqual(
      set.plugins.map(({ name }) => name),
      ["good"],
    )
    const errors = lines.filter((line) => line.level === "error")
    assert.deepEqual(
      errors.map(({ plugin, code }) => [plugin, code]),
      ["open", "told", "events"].map((name) => [name, "E_PLUGIN_LOAD_FAILED"]),
    )
  })

  it("refuses to start without a plugin whose manifest forgot what it exports, unless told otherwise", async (t) => {
    const forgetful = middleware("probe", idle, "", "")
    const config = "[plugins.probe]"
    await assert.rejects(loadProject(t, { ...forgetful, "bext.config.toml": config }), {
      code: "E_PLUGIN_HOOK_MISMATCH",
      message: /add "middleware" to manifest\.capabilities/,
    })
    const { set, lines } = await loadProject(t, { ...forgetful, "bext.config.toml": `${config}\nrequired = false` })
    assert.deepEqual(set.plugins, [])
    const [logged] = lines.filter(({ level }) => level === "error")
    assert.deepEqual([logged!.code, logged!.stack], ["E_PLUGIN_HOOK_MISMATCH", undefined])
  })

  it("does not start over a mistake in the configuration, required or not", async (t) => {
    const asks = "[permissions]\nrewrite_path = true"
    for (const [config, code] of [
      ["[plugins.probe]\nrequired = false", "E_GRANT_MISSING"],
      [
        '[plugins.probe]\nrequired = false\nversion = "2.0.0"\n[plugins.probe.grant]\nrewrite_path = true',
        "E_CONFIG_INVALID",
      ],
    ] as const) {
      await assert.rejects(probe(t, idle, config, asks), { code })
    }
  })

  it("passes a single failure on as it is", async (t) => {
    const files = { ...middleware("bad", "export function onStart() {}"), "bext.config.toml": "[plugins.bad]" }
    await assert.rejects(loadProject(t, files), { code: "E_PLUGIN_HOOK_MISMATCH", plugin: "bad" })
  })

  it("names the sandboxes there are when the plugin's is missing", async (t) => {
    const files = {
      "plugins/native/plugin.toml":
        '[manifest]\nname = "native"\nversion = "1.0.0"\ncapabilities = ["middleware"]\nentry = "main.py"\n[sandbox]\ntype = "nsjail"',
      "plugins/native/main.py": "",
      "bext.config.toml": "[plugins.native]",
    }
    const tiers = new Map([...createTiers()].filter(([tier]) => tier !== "nsjail"))
    await assert.rejects(loadProject(t, files, { tiers }), {
      code: "E_PLUGIN_TIER_UNAVAILABLE",
      message: /nsjail; there is: quickjs, wasm/,
    })
  })

  it("refuses a sandbox or version other than the manifest's, and an open policy for security plugins", async (t) => {
    const wrong = '[plugins.probe]\nsandbox = "wasm"\nversion = "^2.0.0"\non_error = "open"'
    await assert.rejects(probe(t, idle, wrong, "security = true"), (error: Error & { code?: string }) => {
      assert.equal(error.code, "E_CONFIG_INVALID")
      for (const what of [/made for quickjs, not wasm/, /version is 1\.0\.0/, /cannot be skipped/]) {
        assert.match(error.message, what)
      }
      return true
    })
    await probe(t, idle, '[plugins.probe]\nversion = "^1.0.0"', "security = true")
  })

  it("runs a plugin of several tenants fresh, so that they do not meet in its memory", async (t) => {
    const counter = "let seen = 0\nexport function onRequest() { return new Response(String(++seen)) }"
    const two =
      '[plugins.probe]\nmatch = [{ tenants = ["a", "b"] }]\n[middleware.tenant]\nby = ["header:x-tenant"]\n[[tenants]]\nid = "a"\n[[tenants]]\nid = "b"'
    const shared = await probe(t, counter, "[plugins.probe]")
    const fresh = await probe(t, counter, two)
    const told = await probe(t, counter, two, '[sandbox]\ninstance = "shared"')
    for (const [project, second] of [
      [shared, "2"],
      [fresh, "1"],
      [told, "2"],
    ] as const) {
      await project.request({ tenantId: "a" })
      assert.equal(await textOf((await project.request({ tenantId: "b" })).response.body), second)
    }
    assert.deepEqual([...fresh.plugin("probe").tenants!], ["a", "b"])
    assert.equal((await fresh.request()).response.body, "page")
  })
})

describe("grants", () => {
  const asks =
    '[permissions]\nrewrite_path = true\nsensitive_headers = ["cookie"]\nallowed_urls = ["https://a.test/**"]'

  it("are needed for everything the manifest asks for; the message is the block to paste", async (t) => {
    let block = ""
    await assert.rejects(probe(t, idle, "[plugins.probe]", asks), (error: Error & { code?: string }) => {
      assert.equal(error.code, "E_GRANT_MISSING")
      block = error.message.slice(error.message.indexOf("[plugins.probe.grant]"), error.message.lastIndexOf(" [E_"))
      return true
    })
    assert.match(block, /rewrite_path = true/)
    await probe(t, idle, `[plugins.probe]\n${block}`, asks)
  })

  it("do not give what the manifest did not ask for", async (t) => {
    const { plugin } = await probe(t, idle, "[plugins.probe.grant]\nidentity = true\nrewrite_path = true", "")
    assert.deepEqual([plugin("probe").permissions.identity, plugin("probe").permissions.rewrite_path], [false, false])
  })

  it("are not needed in development for folders of the project; what that allows is logged", async (t) => {
    const { plugin, lines } = await probe(t, idle, "[plugins.probe]", asks, { grantLocalFolders: true })
    assert.equal(plugin("probe").permissions.rewrite_path, true)
    const line = lines.find(({ level, msg }) => level === "info" && /granted what it asks for/.test(msg))
    const { allowed_urls } = line!.permissions as { allowed_urls: string[] }
    assert.deepEqual(allowed_urls, ["https://a.test/**"])
  })

  it("are needed in development for what lies outside of the project", async (t) => {
    const files = { "bext.config.toml": "[plugins.webhook-verify]" }
    await assert.rejects(loadProject(t, files, { grantLocalFolders: true }), { code: "E_GRANT_MISSING" })
  })

  it("name a secret once in that block, although it is granted and mapped", async (t) => {
    const config = '[plugins.probe.secrets]\nKEY = "env:PROBE_KEY"\n[plugins.probe.grant]\nsecrets = ["KEY"]'
    const manifest = '[permissions]\nrewrite_path = true\nsecrets = ["KEY"]'
    await assert.rejects(probe(t, idle, config, manifest, { env: { PROBE_KEY: "hunter2" } }), {
      message: /secrets = \["KEY"\]/,
    })
  })

  it("of secrets follow from mapping them", async (t) => {
    const { request } = await probe(
      t,
      'export function onRequest() { return new Response(bext.secret("KEY")) }',
      '[plugins.probe.secrets]\nKEY = "env:PROBE_KEY"',
      '[permissions]\nsecrets = ["KEY"]',
      { env: { PROBE_KEY: "hunter2" } },
    )
    assert.equal(await textOf((await request()).response.body), "hunter2")
  })
})

describe("a secret that a plugin throws", () => {
  const keyed = '[permissions]\nsecrets = ["KEY"]'
  const config = '[plugins.probe]\non_error = "open"\n[plugins.probe.secrets]\nKEY = "env:PROBE_KEY"'
  const env = { PROBE_KEY: "hunter2-hunter2" }

  it("does not reach the log", async (t) => {
    const source = 'export function onRequest() { throw new Error("the key is " + bext.secret("KEY")) }'
    const { request, plugin, lines } = await probe(t, source, config, keyed, { env })
    await request()
    assert.ok(lines.some(({ msg }) => msg.includes("the key is")))
    assert.doesNotMatch(JSON.stringify(lines), /hunter2/)
    assert.doesNotMatch(JSON.stringify(plugin("probe").stats.snapshot()), /hunter2/)
  })

  it("does not reach the message of a failed load", async (t) => {
    const source = 'throw new Error("the key is " + bext.secret("KEY"))\nexport function onRequest() {}'
    const { lines } = await probe(t, source, config, keyed, { env })
    assert.ok(lines.some(({ msg }) => msg.includes("left out")))
    assert.doesNotMatch(JSON.stringify(lines), /hunter2/)
  })
})

describe("settings", () => {
  const schema = JSON.stringify({
    type: "object",
    additionalProperties: false,
    properties: { status: { type: "integer", default: 418 }, text: { type: "string" } },
  })
  const answer = "export function onRequest() { return Response.json(bext.config, { status: bext.config.status }) }"
  const files = (config: string) => ({
    ...middleware("probe", answer, 'config_schema = "s.json"'),
    "plugins/probe/s.json": schema,
    "bext.config.toml": config,
  })

  it("are checked against the plugin's schema and completed from it", async (t) => {
    const { request } = await loadProject(t, files('[plugins.probe.config]\ntext = "x"'))
    const { status, body } = (await request()).response
    assert.equal(status, 418)
    assert.deepEqual(JSON.parse(await textOf(body)), { text: "x", status: 418 })
  })

  it("that are wrong are reported at their place in bext.config.toml", async (t) => {
    const config = "[plugins.probe]\n[plugins.probe.config]\ntext = 7\nother = true"
    await assert.rejects(loadProject(t, files(config)), {
      code: "E_CONFIG_INVALID",
      message: /bext\.config\.toml:3:\d+\s+plugins\.probe\.config\.text/,
    })
  })

  it("may not have a schema outside of the plugin's folder", async (t) => {
    const linked = { ...files("[plugins.probe]"), "plugins/probe/s.json": { link: "../../s.json" }, "s.json": schema }
    await assert.rejects(loadProject(t, linked), { code: "E_PLUGIN_MANIFEST_INVALID", message: /leads out/ })
  })
})

describe("limits set in files", () => {
  it("of CPU time bite: the manifest's, the operator's and the ceiling", async (t) => {
    const spin = "export function onRequest() { for (;;) {} }"
    const manifest = "[sandbox]\nmax_cpu_ms = 30"
    for (const [config, more] of [
      ["[plugins.probe]", manifest],
      ["[plugins.probe.limits]\nmax_cpu_ms = 30", ""],
      ["[plugins.probe]\n[sandbox.ceilings]\nmax_cpu_ms = 30", ""],
    ] as const) {
      const { request, lines } = await probe(t, spin, config, more)
      assert.equal((await request()).response.body, "E_LIMIT_CPU")
      assert.match(lines.find(({ level }) => level === "error")!.msg, /more than 30 ms of CPU time/)
    }
  })

  it("of memory bite", async (t) => {
    const hoard = "export function onRequest() { const all = []; for (;;) all.push(new Uint8Array(65536)) }"
    const { request } = await probe(t, hoard, "[plugins.probe.limits]\nmax_memory_mb = 8\nmax_cpu_ms = 5000")
    assert.equal((await request()).response.body, "E_LIMIT_MEMORY")
  })
})
