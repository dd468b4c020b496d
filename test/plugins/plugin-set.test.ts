import assert from "node:assert/strict"
import { describe, it } from "node:test"
import type { RequestCompleteEvent } from "../../src/plugins/request-complete.ts"
import { loadProject, middleware, type ProjectOptions } from "./plugin-project.ts"
import { textOf } from "./request-context.ts"

type Test = Parameters<typeof loadProject>[0]

function lifecycle(t: Test, source: string, config = "[plugins.probe]", options: ProjectOptions = {}) {
  const files = middleware("probe", source, "", '"lifecycle"')
  return loadProject(t, { ...files, "bext.config.toml": config }, options)
}

const event = (more: Partial<RequestCompleteEvent> = {}): RequestCompleteEvent => ({
  request_id: "id",
  method: "GET",
  path: "/",
  status: 200,
  cache_status: null,
  render_time_us: 10,
  duration_ms: 1,
  tenant_id: null,
  site_id: null,
  encoding: null,
  is_bot: false,
  ...more,
})

describe("the start of plugins", () => {
  it("gives onServerStart the configuration and keeps what it left in memory", async (t) => {
    const { request } = await loadProject(t, {
      ...middleware(
        "probe",
        `let greeting
        export async function onServerStart(config, ctx) { greeting = config.greeting + ctx.leader }
        export function onRequest() { return new Response(greeting) }`,
        "",
        '"middleware", "lifecycle"',
      ),
      "bext.config.toml": '[plugins.probe.config]\ngreeting = "hej "',
    })
    assert.equal(await textOf((await request()).response.body), "hej true")
  })

  it("fails the server for a required plugin, and names it", async (t) => {
    const files = middleware(
      "probe",
      'export function onServerStart() { throw new Error("no database") }\nexport function onRequest() {}',
      "",
      '"middleware", "lifecycle"',
    )
    await assert.rejects(loadProject(t, { ...files, "bext.config.toml": "[plugins.probe]" }), {
      code: "E_GUEST_THREW",
      message: /probe: .*no database/,
    })
  })

  it("leaves out a plugin that is not required", async (t) => {
    const { set, lines } = await lifecycle(t, 'export function onServerStart() { throw new Error("no database") }')
    assert.deepEqual(set.plugins, [])
    assert.ok(lines.some(({ level, msg }) => level === "error" && /left out.*no database/.test(msg)))
  })

  it("has not happened when plugins are only loaded, as bext check does", async (t) => {
    const { set, lines } = await lifecycle(
      t,
      'export function onServerStart() { console.log("started") }\nexport function onServerStop() { console.log("stopped") }',
      undefined,
      { start: false },
    )
    await set.stop()
    assert.deepEqual(
      lines.filter(({ msg }) => /started|stopped/.test(msg)),
      [],
    )
  })
})

describe("finished requests", () => {
  it("reach onRequestComplete later, in order, and before the server has stopped", async (t) => {
    const { set, lines } = await lifecycle(
      t,
      "export async function onRequestComplete(event) { console.log('done', event.path, event.status) }",
    )
    assert.equal(set.wantsRequestComplete, true)
    set.requestComplete(event({ path: "/1" }), "example.com")
    set.requestComplete(event({ path: "/2", status: 404 }), "example.com")
    const done = () => lines.map(({ msg }) => /done.*/.exec(msg)?.[0]).filter(Boolean)
    assert.deepEqual(done(), [])
    await set.stop()
    assert.deepEqual(done(), ["done /1 200", "done /2 404"])
  })

  it("are kept from plugins they are not for", async (t) => {
    const { set, lines } = await lifecycle(
      t,
      "export function onRequestComplete(event) { console.log('done', event.tenant_id) }",
      '[plugins.probe]\nmatch = [{ tenants = ["a"] }]\n[middleware.tenant]\nby = ["header:x-tenant"]\n[[tenants]]\nid = "a"\n[[tenants]]\nid = "b"',
    )
    for (const tenant of ["a", "b", null]) set.requestComplete(event({ tenant_id: tenant }), "example.com")
    await set.stop()
    assert.equal(lines.filter(({ msg }) => /done a/.test(msg)).length, 1)
    assert.equal(lines.filter(({ msg }) => /done (b|null)/.test(msg)).length, 0)
  })

  it("are dropped and counted beyond the bound, and said so once", async (t) => {
    const { set, plugin, lines } = await lifecycle(t, "export function onRequestComplete() {}")
    for (let i = 0; i < 3000; i++) set.requestComplete(event(), "example.com")
    const dropped = plugin("probe").stats.droppedEvents
    assert.ok(dropped >= 3000 - 1026 && dropped <= 3000 - 1024, `${dropped}`)
    assert.equal(lines.filter(({ level }) => level === "warn").length, 1)
    await set.stop()
    assert.equal(plugin("probe").stats.snapshot().hooks.on_request_complete!.calls, 3000 - dropped)
  })

  it("do not interest a server without such plugins", async (t) => {
    const { set } = await lifecycle(t, "export function cleanup() {}")
    assert.equal(set.wantsRequestComplete, false)
    set.requestComplete(event(), "example.com")
  })

  it("that a plugin fails on are counted and logged", async (t) => {
    const { set, plugin, lines } = await lifecycle(t, 'export function onRequestComplete() { throw new Error("boom") }')
    for (let i = 0; i < 3; i++) set.requestComplete(event(), "example.com")
    const { stats } = plugin("probe")
    await set.stop()
    assert.deepEqual(stats.snapshot().hooks.on_request_complete!.failures, { E_GUEST_THREW: 3 })
    const errors = lines.filter(({ level }) => level === "error").map(({ msg }) => msg)
    assert.equal(errors.length, 2)
    assert.match(errors[1]!, /repeated 2 times/)
  })
})

describe("the stop of plugins", () => {
  const talk = `
    export async function onServerStop() {
      await new Promise((done) => setTimeout(done, 1))
      console.log("stop")
    }
    export function cleanup() { console.log("cleanup") }`

  it("runs onServerStop and then cleanup, once", async (t) => {
    const { set, lines } = await lifecycle(t, talk)
    await Promise.all([set.stop(), set.stop()])
    await set.stop()
    const said = lines.map(({ msg }) => /stop|cleanup/.exec(msg)?.[0]).filter(Boolean)
    assert.deepEqual(said, ["stop", "cleanup"])
  })

  it("is told to those that started when another plugin keeps the server from starting", async (t) => {
    const { set, lines } = await loadProject(
      t,
      {
        ...middleware("good", talk, "", '"lifecycle"'),
        ...middleware("bad", 'export function onServerStart() { throw new Error("no") }', "", '"lifecycle"'),
        "bext.config.toml": "[plugins.good]\n[plugins.bad]\nrequired = true",
      },
      { start: false },
    )
    await assert.rejects(set.start(), { plugin: "bad" })
    await set.stop()
    const said = lines.map(({ plugin, msg }) => plugin === "good" && /stop|cleanup/.exec(msg)?.[0]).filter(Boolean)
    assert.deepEqual(said, ["stop", "cleanup"])
  })

  it("goes on when a plugin fails to stop", async (t) => {
    const { set, lines } = await loadProject(t, {
      ...middleware("bad", 'export function onServerStop() { throw new Error("never") }', "", '"lifecycle"'),
      ...middleware("good", talk, "", '"lifecycle"'),
      "bext.config.toml": "[plugins.bad]\n[plugins.good]",
    })
    await set.stop()
    assert.ok(lines.some(({ level, msg }) => level === "error" && /never/.test(msg)))
    assert.ok(lines.some(({ msg }) => /cleanup/.test(msg)))
  })
})
