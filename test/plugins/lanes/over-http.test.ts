import assert from "node:assert/strict"
import { writeFileSync } from "node:fs"
import { createServer as createHttpServer, get } from "node:http"
import type { AddressInfo } from "node:net"
import { describe, it, type TestContext } from "node:test"
import type { PluginStatus } from "../../../src/admin/control.ts"
import { loadConfig } from "../../../src/config/load-config.ts"
import { createServer } from "../../../src/create-server.ts"
import { createProject, serveInChild } from "../../support/serve.ts"
import { recordingLogger } from "../recording-logger.ts"
import { until } from "./lane-fixtures.ts"

/** Most of a budget of 50 ms, on every request below /burn. */
const BURN = `for (const end = Date.now() + 30; Date.now() < end; );`

interface Served {
  readonly url: string
  readonly logged: () => string
  /** Writes the plugin's source anew, and reloads. */
  reload(name: string, source: string): Promise<void>
  plugin(name: string): PluginStatus
  text(path: string, headers?: Readonly<Record<string, string>>): Promise<string>
}

/** @param plugins - Name → its source, and more lines of its section and its manifest. */
async function serve(
  t: TestContext,
  plugins: Readonly<Record<string, { source: string; section?: string; manifest?: string }>>,
  more = "",
): Promise<Served> {
  const files: Record<string, string> = { "public/index.html": "home", "public/after/index.html": "home" }
  let config = `
[server]
listen = "127.0.0.1:0"
grace = "1s"
[app]
static = "public"
${more}`
  for (const [name, { source, section = "", manifest = "" }] of Object.entries(plugins)) {
    files[`plugins/${name}/index.js`] = source
    const head = `[manifest]\nname = "${name}"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n`
    files[`plugins/${name}/plugin.toml`] = head + manifest
    config += `\n[plugins.${name}]\nmatch = [{ path = "/${name}/**" }]\n${section}\n`
  }
  const project = createProject({ ...files, "bext.config.toml": config })
  t.after(() => project[Symbol.dispose]())
  const { logger, lines } = recordingLogger()
  const readConfig = () => loadConfig(project.path("bext.config.toml"))
  const server = await createServer(readConfig(), { folder: project.folder, logger })
  t.after(() => server.close())
  const { url } = await server.listen()
  return {
    url,
    logged: () => JSON.stringify(lines),
    async reload(name, source) {
      writeFileSync(project.path(`plugins/${name}/index.js`), source)
      const prepared = await server.prepare(readConfig())
      prepared.commit()
    },
    plugin: (name) => server.status().plugins.find((plugin) => plugin.name === name)!,
    text: async (path, headers = {}) => (await fetch(url + path, { headers })).text(),
  }
}

/** Has the plugin use too much, until it has moved. @returns how many requests that took. */
async function untilMoved(site: Served, name: string): Promise<number> {
  let requests = 0
  while (site.plugin(name).lane.now !== "worker") {
    await site.text(`/${name}/burn`)
    if (++requests > 500) throw new Error("it never moved")
  }
  return requests
}

const COUNTER = `
let calls = 0
export function onRequest(ctx) {
  calls++
  if (ctx.path.endsWith("/burn")) ${BURN}
  return new Response(String(calls))
}`

describe("a plugin that uses too much of the serving thread", () => {
  it("moves, and its neighbours are answered while it is at work", async (t) => {
    const site = await serve(t, {
      burner: { source: COUNTER.replace("30", "400"), section: "limits = { max_cpu_ms = 2000 }" },
      calm: { source: `export function onRequest() { return new Response("calm") }` },
    })
    const requests = await untilMoved(site, "burner")
    assert.match(site.plugin("burner").lane.reason ?? "", /^used \d+ % of the thread, 10 % allowed$/)
    assert.equal(site.plugin("calm").lane.now, "inline")
    let burning = true
    const burn = site.text("/burner/burn").finally(() => {
      burning = false
    })
    for (let i = 0; i < 10; i++) {
      assert.equal(await site.text("/calm/"), "calm")
      assert.equal(await site.text("/"), "home")
    }
    assert.ok(burning, "twenty neighbours were answered during one call")
    assert.equal(await burn, String(requests + 1), "the state of its module went along")
  })

  it("gets its failure policy for what its lane does not take", async (t) => {
    for (const [policy, status] of [
      ["closed", 503],
      ["open", 404],
    ] as const) {
      const site = await serve(t, {
        burner: { source: COUNTER, section: `lane = "worker"\non_error = "${policy}"` },
      })
      const responses = await Promise.all(Array.from({ length: 90 }, () => fetch(`${site.url}/burner/burn`)))
      const refused = responses.filter((response) => response.status === status)
      const problems = (await Promise.all(refused.map((response) => response.json()))) as { code: string }[]
      const code = policy === "closed" ? "E_LANE_FULL" : "E_NOT_FOUND"
      assert.ok(problems.some((problem) => problem.code === code))
      const overflow = site.plugin("burner").stats.hooks.on_request?.failures.E_LANE_FULL ?? 0
      assert.ok(overflow >= 1 && overflow <= 26 && refused.length >= overflow, `${overflow} of ${refused.length}`)
      assert.ok(responses.some((response) => response.status === 200))
    }
  })

  it("finds all its storage in the lane", async (t) => {
    const source = `
export async function onRequest(ctx) {
  if (ctx.path.endsWith("/burn")) ${BURN}
  const before = Number(bext.storage.get("n") ?? 0)
  bext.storage.set("n", String(before + 1))
  return new Response(String(before) + " " + (await bext.storage.incr("m", 1)))
}`
    const site = await serve(t, { keeper: { source } })
    let requests = 0
    while (site.plugin("keeper").lane.now !== "worker") {
      assert.equal(await site.text("/keeper/burn"), `${requests} ${requests + 1}`)
      requests++
    }
    for (let i = 0; i < 5; i++) {
      assert.equal(await site.text("/keeper/"), `${requests} ${requests + 1}`)
      requests++
    }
  })

  it("has its bodies and headers there, and no right more or less", async (t) => {
    const source = `
export function onRequest(ctx) {
  const tried = []
  const attempt = (what, act) => { try { act(); tried.push(what) } catch (error) { tried.push(error.code) } }
  attempt("host", () => ctx.request.setHeader("Host", "evil"))
  attempt("length", () => ctx.request.setHeader("Content-Length", "0"))
  attempt("split", () => ctx.request.setHeader("x-a", "1\\r\\nx-b: 2"))
  attempt("path", () => ctx.request.setPath("/other"))
  attempt("own", () => ctx.request.setHeader("x-own", "yes"))
  attempt("extension", () => ctx.extensions.set("k", "v"))
  const seen = [ctx.headers.get("cookie") ?? "hidden", ctx.headers.get("x-seen"), ctx.query, ctx.body.text()]
  if (ctx.path.endsWith("/answer")) return new Response([...tried, ...seen].join("|"), { headers: { "x-answer": "yes" } })
}
export function onResponse(ctx) {
  ctx.response.setHeader("x-after", ctx.extensions.get("away.k") + " " + ctx.response.status)
}`
    const manifest = `[sandbox]\nbody = "request"\n`
    const site = await serve(t, { away: { source, section: 'lane = "worker"', manifest } })
    const response = await fetch(`${site.url}/away/answer?q=1`, {
      method: "POST",
      headers: { cookie: "secret=1", "x-seen": "seen" },
      body: "bödy",
    })
    const refusals = "E_HEADER_FORBIDDEN|E_HEADER_FORBIDDEN|E_HEADER_INVALID|E_PERMISSION"
    assert.equal(await response.text(), `${refusals}|own|extension|hidden|seen|q=1|bödy`)
    assert.equal(response.headers.get("x-answer"), "yes")
    assert.equal(response.headers.get("x-after"), "v 200")
    assert.ok(site.logged().includes("away read cookie, which is hidden from it"))
  })

  it("reads and changes responses there as in the serving thread", async (t) => {
    const source = `
export function onResponse(ctx) {
  if (ctx.response.status !== 200) return
  ctx.response.setHeader("x-length", String(ctx.response.body.text().length))
  ctx.response.appendHeader("set-cookie", "ab_group=b")
  ctx.response.setBody(ctx.response.body.text() + "!")
}`
    const manifest = `[sandbox]\nbody = "response"\n[permissions]\nset_cookies = ["ab_*"]\n`
    const site = await serve(t, {
      after: {
        source,
        manifest,
        section: 'lane = "worker"\npriority = 700\n[plugins.after.grant]\nset_cookies = ["ab_*"]',
      },
    })
    const here = await serve(t, {
      after: {
        source,
        manifest,
        section: 'lane = "inline"\npriority = 700\n[plugins.after.grant]\nset_cookies = ["ab_*"]',
      },
    })
    for (const { url } of [site, here]) {
      const missing = await fetch(`${url}/after/none`)
      assert.deepEqual([missing.status, missing.headers.get("x-length")], [404, null])
      const page = await fetch(`${url}/after/`)
      assert.deepEqual(
        [await page.text(), page.headers.get("x-length"), page.headers.get("set-cookie"), page.headers.get("etag")],
        ["home!", "4", "ab_group=b", null],
      )
      const head = await fetch(`${url}/after/`, { method: "HEAD" })
      assert.deepEqual([head.status, await head.text()], [200, ""])
    }
  })

  it("is measured against cpu_share, and may have up to all of the thread", async (t) => {
    const site = await serve(t, { burner: { source: COUNTER, section: "cpu_share = 1" } })
    for (let i = 0; i < 12; i++) await site.text("/burner/burn")
    const { lane } = site.plugin("burner")
    assert.deepEqual([lane.now, lane.share, lane.reason], ["inline", 1, null])
  })

  it("shares sandbox.max_instances and max_guest_memory_mb with all others", async (t) => {
    const source = COUNTER
    const site = await serve(t, { one: { source }, two: { source } }, "[sandbox]\nmax_instances = 1")
    for (const name of ["one", "two", "one", "two"]) assert.equal(await site.text(`/${name}/`), "1")
    assert.deepEqual([site.plugin("one").evictions, site.plugin("one").instances], [2, 0])
    assert.deepEqual([site.plugin("two").evictions, site.plugin("two").instances], [1, 1])
    const grower = `export function onRequest() { return new Response(String(new Uint8Array(30e6).fill(1).length)) }`
    const small = await serve(t, { grower: { source: grower } }, "[sandbox]\nmax_guest_memory_mb = 16")
    const { code } = JSON.parse(await small.text("/grower/")) as { code: string }
    assert.equal(code, "E_LIMIT_MEMORY")
    assert.ok(small.logged().includes("sandbox.max_guest_memory_mb"))
  })

  it("holds hostile guests as in the serving thread, and serves others beside them", async (t) => {
    const source = `
export function onRequest(ctx) {
  const path = ctx.path.split("/").at(-1)
  if (path === "spin") for (;;);
  if (path === "grow") { const kept = []; for (;;) kept.push(new Uint8Array(1024 * 1024).fill(1)) }
  if (path === "recurse") (function deeper() { deeper() })()
  if (path === "answer") return new Response("x".repeat(4 * 1024 * 1024))
  if (path === "flood") for (let i = 0; i < 3000; i++) console.log("\\u001b[31mflood " + i)
  return new Response("calm")
}`
    const site = await serve(t, {
      hostile: { source, section: 'lane = "worker"\nlimits = { max_cpu_ms = 500, max_memory_mb = 8 }' },
      calm: { source: `export function onRequest() { return new Response("calm") }`, section: 'lane = "worker"' },
    })
    for (const [path, codes] of [
      ["spin", ["E_LIMIT_CPU"]],
      ["grow", ["E_LIMIT_MEMORY"]],
      ["recurse", ["E_LIMIT_STACK"]],
      ["answer", ["E_LIMIT_MESSAGE", "E_LIMIT_MEMORY"]],
    ] as const) {
      const [response, calm] = await Promise.all([fetch(`${site.url}/hostile/${path}`), site.text("/calm/")])
      const { code } = (await response.json()) as { code: (typeof codes)[number] }
      assert.ok((codes as readonly string[]).includes(code), `${path}: ${code}`)
      assert.equal(calm, "calm")
      assert.equal(await site.text("/hostile/"), "calm")
    }
    assert.equal(await site.text("/hostile/flood"), "calm")
    const lines = site.logged().match(/flood \d+/g) ?? []
    assert.ok(lines.length > 0 && lines.length <= 620, String(lines.length))
    assert.ok(!site.logged().includes("\u001b"))
  })

  it("keeps the count of its fetches and the mask of its secrets", async (t) => {
    const backend = createHttpServer((_, response) => response.end("fetched")).listen(0, "127.0.0.1")
    await new Promise((resolve) => backend.once("listening", resolve))
    t.after(() => backend.close())
    const { port } = backend.address() as AddressInfo
    const source = `
export async function onRequest(ctx) {
  if (ctx.path.endsWith("/burn")) { ${BURN} return new Response("") }
  console.log("the key is " + bext.secret("KEY"))
  if (ctx.path.endsWith("/throw")) throw new Error(bext.secret("KEY"))
  try { return new Response(await (await bext.fetch("http://127.0.0.1:${port}/")).text()) }
  catch (error) { return new Response(error.code) }
}`
    process.env.LANE_TEST_KEY = "swordfish"
    const rights = `allowed_urls = ["http://127.0.0.1:${port}/**"]\nmax_fetch_per_minute = 3\nsecrets = ["KEY"]\n`
    const site = await serve(
      t,
      {
        fetcher: {
          source,
          section: `secrets = { KEY = "env:LANE_TEST_KEY" }\n[plugins.fetcher.grant]\n${rights}`,
          manifest: `[permissions]\n${rights}`,
        },
      },
      `[fetch]\nallow_private = ["127.0.0.1:${port}"]`,
    )
    assert.equal(await site.text("/fetcher/"), "fetched")
    assert.equal(await site.text("/fetcher/"), "fetched")
    await untilMoved(site, "fetcher")
    assert.equal(await site.text("/fetcher/"), "fetched")
    assert.equal(await site.text("/fetcher/"), "E_LIMIT_FETCH")
    assert.equal((await fetch(`${site.url}/fetcher/throw`)).status, 502)
    await until(() => site.logged().includes("the key is ***"))
    assert.ok(!site.logged().includes("swordfish"))
  })

  it("goes on in its lane over a reload that does not change it, and is replaced by one that does", async (t) => {
    const counter = (version: string) => `
let calls = 0
export function onRequest() {
  const kept = bext.storage.get("kept") ?? "nothing"
  bext.storage.set("kept", "${version}")
  return new Response("${version} " + ++calls + " " + kept)
}`
    const section = 'lane = "worker"'
    const site = await serve(t, {
      stays: { source: counter("first"), section },
      changes: { source: counter("first"), section },
    })
    for (const name of ["stays", "changes"]) {
      assert.equal(await site.text(`/${name}/`), "first 1 nothing")
      assert.equal(await site.text(`/${name}/`), "first 2 first")
    }
    await site.reload("changes", counter("second"))
    assert.equal(await site.text("/stays/"), "first 3 first")
    assert.match(await site.text("/changes/"), /^second 1 /)
    assert.equal(await site.text("/changes/"), "second 2 second")
    assert.equal(site.plugin("changes").lane.now, "worker")
  })

  it("lets the server end while its lane is at work", async () => {
    const source = `export function onRequest(ctx) { if (ctx.path.endsWith("/spin")) for (;;); return new Response("calm") }`
    const config = `
[plugins.spinner]
path = "spinner.js"
lane = "worker"
match = [{ path = "/spinner/**" }]
limits = { max_cpu_ms = 3000 }
`
    await using site = await serveInChild(config, { "spinner.js": source })
    assert.equal(await (await fetch(`${site.url}/spinner/`)).text(), "calm")
    const spinning = fetch(`${site.url}/spinner/spin`).then(
      (response) => response.status,
      () => 0,
    )
    await new Promise((resolve) => setTimeout(resolve, 100))
    assert.equal(await site.end("SIGTERM"), 0)
    assert.ok([0, 502, 504].includes(await spinning))
  })

  it("cannot send the serving thread what it cannot receive, and have the lane ended with its neighbours in it", async (t) => {
    const source = `
export function onRequest(ctx) {
  let deep = 1
  for (let i = 0; i < 3000; i++) deep = { a: deep }
  ctx.setIdentity({ user: { id: "ada", claims: { deep } } })
}`
    const calm = `let calls = 0\nexport function onRequest() { return new Response(String(++calls)) }`
    const site = await serve(t, {
      deep: {
        source,
        manifest: "[permissions]\nidentity = true\n",
        section: 'lane = "worker"\nlimits = { max_cpu_ms = 1000 }\n[plugins.deep.grant]\nidentity = true',
      },
      calm: { source: calm, section: 'lane = "worker"' },
    })
    assert.equal(await site.text("/calm/"), "1")
    const response = await fetch(`${site.url}/deep/`)
    assert.deepEqual(((await response.json()) as { code: string }).code, "E_GUEST_RESULT_INVALID")
    assert.equal(site.plugin("deep").lane.waiting, 0)
    assert.equal(await site.text("/calm/"), "2")
  })

  it("is not kept at work by clients that go away", async (t) => {
    const source = `
let started = 0
let ended = 0
export async function onRequest(ctx) {
  if (ctx.path.endsWith("/count")) return new Response(started + " " + ended)
  started++
  await new Promise((resolve) => setTimeout(resolve, 60_000))
  ended++
}`
    const site = await serve(t, { waiter: { source, section: 'lane = "worker"' } })
    const requests = Array.from({ length: 10 }, () => {
      const request = get(`${site.url}/waiter/`)
      return request.on("error", () => {})
    })
    while ((await site.text("/waiter/count")) !== "10 0") await new Promise((resolve) => setTimeout(resolve, 5))
    const gone = requests.map((request) => new Promise((resolve) => request.on("close", resolve)))
    for (const request of requests) request.destroy()
    await Promise.all(gone)
    assert.ok(site.plugin("waiter").memoryBytes > 0)
    await until(() => site.plugin("waiter").lane.waiting === 0)
    assert.equal(await site.text("/waiter/count"), "10 0")
  })

  it("loses nothing when the configuration says worker for a fresh plugin, a shared one and one with a start hook", async (t) => {
    const counter = `let calls = 0\nexport function onRequest() { return new Response(String(++calls)) }`
    const site = await serve(t, {
      fresh: { source: counter, section: 'lane = "worker"', manifest: '[sandbox]\ninstance = "fresh"\n' },
      shared: { source: counter, section: 'lane = "worker"' },
    })
    for (const expected of ["1", "2", "3"]) {
      assert.equal(await site.text("/fresh/"), "1")
      assert.equal(await site.text("/shared/"), expected)
    }
  })
})
