import assert from "node:assert/strict"
import { execFile } from "node:child_process"
import { readFileSync } from "node:fs"
import { describe, it, type TestContext } from "node:test"
import { promisify } from "node:util"
import { Worker } from "node:worker_threads"
import { BextError } from "../../src/errors.ts"
import { runBext, temporaryFolder } from "../cli/run-bext.ts"
import { writeFiles } from "../plugins/write-files.ts"
import { moduleOfBodies, repeat } from "../sandbox/wasm/compile-modules.ts"
import { plugin, serveSite, until } from "../snapshot/site.ts"
import { createProject, serve, serveChild } from "../support/serve.ts"
import { wasmPlugin, watPlugin } from "../support/wat-plugin.ts"

/** Logs what it is given, and fails when the answer says so. */
const LIFECYCLE = (result: number) => `
  (func $event (param $json i32) (param $length i32) (result i32)
    (call $log (i32.const 16) (i32.const 4) (local.get $json) (local.get $length))
    (i32.const ${result}))
  (export "on_server_start" (func $event))
  (export "on_request_complete" (func $event))`

const fails = (code: string, message: RegExp) => (error: unknown) => {
  assert(error instanceof BextError, String(error))
  assert.equal(error.code, code)
  assert.match(error.message, message)
  return true
}

describe("a plugin that is a WebAssembly module", () => {
  it("answers requests, or leaves them to the app", async () => {
    await using site = await serveSite("[plugins.hi]", wasmPlugin("hi", watPlugin()))
    const { status, text } = await site.get("/")
    assert.deepEqual([status, text], [200, "hello from wasm"])
    assert.equal((await site.get("/?c")).status, 404)
  })

  it("may be a file alone: it then does what its exports say, and asks for nothing", async () => {
    await using site = await serveSite('[plugins.hi]\npath = "build/hi.wasm"', { "build/hi.wasm": watPlugin() })
    assert.equal((await site.get("/")).text, "hello from wasm")
    const [status] = site.server.status().plugins
    assert.deepEqual([status!.tier, status!.hooks, status!.version], ["wasm", ["on_request"], "0.0.0"])
    assert.deepEqual((await site.reload()).kept, ["hi"])
  })

  it("hears of events: its configuration at the start, and every request afterwards", async () => {
    const files = wasmPlugin("hi", watPlugin({ more: LIFECYCLE(0) }), '"middleware", "lifecycle"')
    await using site = await serveSite('[plugins.hi]\n[plugins.hi.config]\nword = "from the operator"', files)
    const said = () => site.lines.filter(({ plugin: name }) => name === "hi").map(({ msg }) => msg)
    assert(
      said().some((line) => line.includes('{"word":"from the operator"}')),
      said().join("\n"),
    )
    await site.get("/seen")
    await until(() => said().some((line) => line.includes('"path":"/seen"')), "the event")
  })

  it("stops a server that needs it when its start hook fails, and is left out of one that does not", async () => {
    const files = wasmPlugin("hi", watPlugin({ more: LIFECYCLE(-1) }), '"middleware", "lifecycle"')
    await assert.rejects(serveSite("[plugins.hi]", files), fails("E_GUEST_THREW", /^hi: on_server_start/))
    await using site = await serveSite("[plugins.hi]\nrequired = false", files)
    assert.equal((await site.get("/")).status, 404)
    assert(site.lines.some(({ level, msg }) => level === "error" && /hi/.test(msg) && /on_server_start/.test(msg)))
  })

  it("that traps fails its request and no other", async () => {
    await using site = await serveSite("[plugins.hi]", wasmPlugin("hi", watPlugin()))
    const failed = await site.get("/?trap", { accept: "application/json" })
    assert.equal(failed.status, 502)
    assert.equal(JSON.parse(failed.text).code, "E_GUEST_TRAPPED")
    const { stack } = site.server.status().plugins[0]!.stats.lastError!
    assert.match(stack!, /^RuntimeError: unreachable\n +at wasm:\/\/wasm\/[^\n]*$/)
    assert.equal((await site.get("/")).text, "hello from wasm")
  })

  it("that fails for many clients is taken out of service", async () => {
    await using server = await serve(
      '[plugins.hi]\n[app]\nstatic = "public"\n',
      wasmPlugin("hi", watPlugin()),
      'trusted_proxies = ["127.0.0.1"]',
    )
    const get = (query: string, client: string) =>
      fetch(`${server.url}/${query}`, { headers: { "x-forwarded-for": client, accept: "application/json" } })
    for (let i = 0; i < 60; i++) await (await get("?trap", `192.0.2.${i % 6}`)).text()
    const refused = await get("", "198.51.100.1")
    assert.equal(refused.status, 503)
    assert.equal(((await refused.json()) as { code: string }).code, "E_PLUGIN_QUARANTINED")
  })

  it("moves to a lane that began without modules, and its fuel is counted there too", async () => {
    const files = {
      ...plugin("js", "export function onRequest(ctx) { if (ctx.path === '/js') return new Response('js') }"),
      ...wasmPlugin("hi", watPlugin()),
    }
    await using site = await serveSite('[plugins.js]\nlane = "worker"', files)
    assert.equal((await site.get("/js")).text, "js")
    await site.reload('[plugins.js]\nlane = "worker"\n[plugins.hi]\nlane = "worker"')
    assert.equal((await site.get("/")).text, "hello from wasm")
    assert.equal((await site.get("/?trap")).status, 502)
    assert.equal((await site.get("/js")).text, "js")
    const hi = site.server.status().plugins.find(({ name }) => name === "hi")!
    assert.equal(hi.lane.now, "worker")
    const inline = await serveSite("[plugins.hi]", files)
    await inline.get("/")
    await inline.get("/?trap")
    const { fuel } = inline.server.status().plugins[0]!.stats.hooks.on_request!
    await inline[Symbol.asyncDispose]()
    assert.equal(hi.stats.hooks.on_request!.fuel, fuel)
  })

  it("stays in the serving thread, and says so, when the module cannot be moved", async () => {
    const more = "(table $t 1 funcref) (func (drop (table.grow $t (ref.null func) (i32.const 1))))"
    const files = wasmPlugin("hi", watPlugin({ more }))
    await using site = await serveSite('[plugins.hi]\nlane = "worker"', files)
    assert.equal((await site.get("/")).text, "hello from wasm")
    const { lane } = site.server.status().plugins[0]!
    assert.deepEqual([lane.now, lane.wanted], ["inline", "worker"])
    const why =
      /lane = "worker"; but this sandbox cannot change threads: its instances cannot be copied \(table.grow at byte \d+\)/
    assert.match(lane.reason ?? "", why)
    assert(site.lines.some(({ level, msg }) => level === "warn" && msg.startsWith("hi stays in the serving thread")))
  })
})

describe("the fuel of a plugin", () => {
  const files = wasmPlugin("hi", watPlugin())
  const code = (text: string) => (JSON.parse(text) as { code: string }).code
  const json = { accept: "application/json" }

  it("ends a call that goes on for ever, and the next one works", async () => {
    await using site = await serveSite("[plugins.hi]", files)
    const { status, text } = await site.get("/?spin", json)
    assert.deepEqual([status, code(text)], [504, "E_LIMIT_FUEL"])
    // Of the guest's own functions only: what asked for more fuel, and trapped, is none of them.
    const { stack } = site.server.status().plugins[0]!.stats.lastError!
    assert.match(stack!, /^RuntimeError: unreachable\n +at wasm:\/\/wasm\/[^\n]*$/)
    assert.equal((await site.get("/")).text, "hello from wasm")
  })

  it("is what the operator gives to a hook", async () => {
    const budget = (fuel: number) => `[plugins.hi]\n[plugins.hi.fuel]\non_request = ${fuel}`
    await using site = await serveSite(budget(1_000_000), files)
    assert.equal((await site.get("/?burn")).status, 200)
    await site.reload(budget(100_000))
    const { status, text } = await site.get("/?burn", json)
    assert.deepEqual([status, code(text)], [504, "E_LIMIT_FUEL"])
    assert.equal((await site.get("/")).status, 200)
  })

  it("is never more than the ceiling for all plugins", async () => {
    const config = "[plugins.hi]\n[plugins.hi.fuel]\non_request = 9_000_000\n[sandbox.ceilings]\nmax_fuel = 100_000"
    await using site = await serveSite(config, files)
    assert.equal(code((await site.get("/?burn", json)).text), "E_LIMIT_FUEL")
    const said = "[plugins.hi.fuel] on_request is over [sandbox.ceilings] max_fuel: the plugin has 100000"
    assert(site.lines.some(({ level, msg }) => level === "warn" && msg === said))
  })

  it("is counted for each hook, the same for the same call, failed calls too", async () => {
    await using site = await serveSite('[middleware.tracing]\nserver_timing = "on"\n[plugins.hi]', files)
    const used = () => site.server.status().plugins[0]!.stats.hooks.on_request?.fuel ?? 0
    const after = async (path: string) => {
      const before = used()
      await site.get(path)
      return used() - before
    }
    const [first, second] = [await after("/"), await after("/")]
    assert(first > 0)
    assert.equal(first, second)
    assert((await after("/?burn")) > 100_000)
    assert((await after("/?spin")) >= 20_000_000)
    const families = site.server.metrics()
    const { values, type } = families.find(({ name }) => name === "bext_plugin_fuel_total")!
    assert.equal(type, "counter")
    assert.deepEqual(values[0]!.labels, { plugin: "hi", hook: "on_request" })
    assert.equal(values[0]!.value, used())
    const timed = await site.get("/", { "server-timing": "1" })
    assert.match(String(timed.headers["server-timing"]), new RegExp(`hi;dur=[\\d.]+;desc="${first} fuel"`))
  })
})

describe("a reload of a server with a module", () => {
  it("takes the new module over", async () => {
    await using site = await serveSite("[plugins.hi]", wasmPlugin("hi", watPlugin({ answer: "one" })))
    assert.equal((await site.get("/")).text, "one")
    site.write({ "plugins/hi/plugin.wasm": watPlugin({ answer: "two" }) })
    assert.deepEqual((await site.reload()).loaded, ["hi"])
    assert.equal((await site.get("/")).text, "two")
  })

  it("goes on with the old module when the new one is damaged, and says what is wrong with it", async () => {
    await using site = await serveSite("[plugins.hi]", wasmPlugin("hi", watPlugin()))
    site.write({ "plugins/hi/plugin.wasm": watPlugin().subarray(0, 200) })
    await assert.rejects(site.reload(), fails("E_WASM_INVALID", /^hi: plugin\.wasm: unexpected end.* at byte \d+ /))
    site.write({ "plugins/hi/plugin.wasm": "(module)" })
    await assert.rejects(site.reload(), fails("E_WASM_INVALID", /^hi: plugin\.wasm: .*WebAssembly text: convert it/))
    assert.equal((await site.get("/")).text, "hello from wasm")
  })

  it("answers requests while a module is compiled for long that then is of no use", async () => {
    await using site = await serveSite("[plugins.hi]", wasmPlugin("hi", watPlugin()))
    const body = [1, 1, 0x7e, 0x20, 0, ...repeat(80_000, [0x20, 0, 0x7f]), 0x1a, 0x0b]
    site.write({ "plugins/hi/plugin.wasm": moduleOfBodies(...Array.from({ length: 40 }, () => body)) })
    let over = false
    const reload = site.reload().finally(() => {
      over = true
    })
    reload.catch(() => {})
    let answered = 0
    for (; !over; answered++) assert.equal((await site.get("/")).text, "hello from wasm")
    assert(answered > 3, String(answered))
    await assert.rejects(reload, fails("E_PLUGIN_LOAD_FAILED", /^hi: /))
    assert.equal((await site.get("/")).text, "hello from wasm")
  })

  it("compiles nothing again that has not changed, whatever else of the plugin has", async (t) => {
    const compiled = watchCompiler(t)
    await using site = await serveSite("[plugins.hi]", wasmPlugin("hi", watPlugin()))
    assert.equal(compiled.modules, 1)
    for (const n of [1, 2, 3]) {
      const { loaded } = await site.reload(`[plugins.hi]\n[plugins.hi.config]\nn = ${n}`)
      assert.deepEqual(loaded, ["hi"])
    }
    assert.deepEqual((await site.reload()).kept, ["hi"])
    site.write(wasmPlugin("other", watPlugin()))
    await site.reload("[plugins.hi]\n[plugins.other]")
    assert.equal(compiled.modules, 1)
    site.write({ "plugins/other/plugin.wasm": watPlugin({ answer: "other" }) })
    await site.reload()
    assert.equal(compiled.modules, 2)
  })

  it("comes by itself with --watch when a module is built again", async () => {
    using project = createProject({
      "bext.config.toml": '[server]\nlisten = "127.0.0.1:0"\n[log]\nformat = "json"\naccess = false\n[plugins.hi]\n',
      ...wasmPlugin("hi", watPlugin({ answer: "one" })),
    })
    await using site = await serveChild(["--watch"], { folder: project.folder })
    const answer = async () => (await fetch(site.url)).text()
    assert.equal(await answer(), "one")
    writeFiles(project.folder, { "plugins/hi/plugin.wasm": watPlugin({ answer: "two" }) })
    while ((await answer()) !== "two") await new Promise((done) => setTimeout(done, 20))
    assert.equal(await site.end("SIGTERM"), 0)
  })
})

describe("a server without such a plugin", () => {
  it("loads nothing of that sandbox, as one with such a plugin alone loads nothing of the other", async () => {
    using project = createProject({
      "bext.config.toml": '[server]\nlisten = "127.0.0.1:0"\n[log]\nlevel = "error"\n',
      "plugins/js/plugin.toml": '[manifest]\nname = "js"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n',
      "plugins/js/index.js": "export function onRequest() {}",
      ...wasmPlugin("hi", watPlugin()),
    })
    const tiersOf = async (name: string) => {
      const config = readFileSync(project.path("bext.config.toml"), "utf8")
      const url = (path: string) => JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href)
      const script = `
        import { registerHooks } from "node:module"
        const loaded = new Set()
        registerHooks({ load(url, context, next) { loaded.add(/sandbox.(quickjs|wasm).tier.ts$/.exec(url)?.[1]); return next(url, context) } })
        const { parseConfig } = await import(${url("config/parse-config.ts")})
        const { createServer } = await import(${url("create-server.ts")})
        const folder = ${JSON.stringify(project.folder)}
        const config = parseConfig(${JSON.stringify(`${config}[plugins.${name}]\n`)}, { file: folder + "/bext.config.toml", env: {} })
        await using server = await createServer(config, { folder })
        console.log([...loaded].filter(Boolean).join())`
      const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", script], {
        timeout: 60_000,
      })
      return stdout.trim()
    }
    assert.equal(await tiersOf("js"), "quickjs")
    assert.equal(await tiersOf("hi"), "wasm")
  })
})

describe("bext check", () => {
  it("loads modules, and says of each that cannot be used what to do", async (t) => {
    const folder = temporaryFolder(t)
    writeFiles(folder, {
      "bext.config.toml":
        "[plugins.hi]\n[plugins.hi.fuel]\non_request = 2_000_000\n[sandbox.ceilings]\nmax_fuel = 1_000_000\n[plugins.cut]\n[plugins.text]\n[plugins.threads]\n[plugins.js]\n",
      ...wasmPlugin("hi", watPlugin()),
      ...wasmPlugin("cut", watPlugin().subarray(0, 100)),
      ...wasmPlugin("text", Buffer.from("(module)")),
      ...wasmPlugin("threads", Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 5, 4, 1, 3, 1, 1)),
      ...plugin("js", "export function onRequest() {}", 'entry = "plugin.wasm"'),
    })
    const { code, out, err } = await runBext(["check"], { cwd: folder })
    assert.equal(code, 1)
    assert.match(out, /ok {4}hi 1\.0\.0 {2}wasm, priority 600: on_request\n/)
    assert.match(err, /error E_WASM_INVALID: cut: plugin\.wasm: unexpected end at byte \d+/)
    assert.match(err, /error E_WASM_INVALID: text: plugin\.wasm: .*convert it, for example with wat2wasm/)
    assert.match(
      err,
      /error E_WASM_UNSUPPORTED: threads: plugin\.wasm: shared memory \(threads\) is not supported at byte 11/,
    )
    assert.match(err, /add to \[sandbox\]: type = "wasm"/)
    assert.match(err, /more: bext explain E_WASM_UNSUPPORTED/)
    assert.match(
      err,
      /warning: \[plugins\.hi\.fuel\] on_request is over \[sandbox\.ceilings\] max_fuel: the plugin has 1000000\n/,
    )
    assert.match(err, /4 of 5 plugins cannot be used/)
  })
})

/** Counts the modules that this process's compilers are given. */
function watchCompiler(t: TestContext): { readonly modules: number } {
  const { mock } = t.mock.method(Worker.prototype, "postMessage")
  const isModule = (message: unknown) => typeof message === "object" && message !== null && "pages" in message
  return {
    get modules() {
      return mock.calls.filter((call) => isModule(call.arguments[0])).length
    },
  }
}
