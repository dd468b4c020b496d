import assert from "node:assert/strict"
import { rmSync, writeFileSync } from "node:fs"
import { get } from "node:http"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { describe, it } from "node:test"
import { parseMetrics } from "../telemetry/parse-metrics.ts"
import type { AdminProject } from "./admin-project.ts"
import { adminProject, HELLO, TCP, TOKEN } from "./admin-project.ts"

const SITE = '[app]\nstatic = "public"\n[plugins.hello]\n'

describe("the admin API", () => {
  it("tells the state of processes, plugins and the stack over the socket, without a token", async () => {
    await using project = await adminProject(SITE, HELLO)
    assert.equal(project.address.kind, "socket")
    await fetch(`${project.url}/plugin`)
    const status = await project.ask("/v1/status")
    assert.equal(status.status, 200)
    assert.equal(status.headers["content-type"], "application/json")
    assert.equal(status.headers["cache-control"], "no-store")
    assert.equal(status.json().processes[0].pid, process.pid)
    assert.equal(status.json().url, project.url)
    const { plugins } = (await project.ask("/v1/plugins")).json()
    assert.deepEqual(
      plugins.map(({ name, version, tier, calls }: Record<string, unknown>) => ({ name, version, tier, calls })),
      [{ name: "hello", version: "1.2.3", tier: "quickjs", calls: 1 }],
    )
    const { stack } = (await project.ask("/v1/stack")).json()
    assert.ok(stack.some(({ name }: { name: string }) => name === "hello"))
  })

  it("tells everything about one plugin, with the guest's own stack of its last failure", async () => {
    await using project = await adminProject(SITE, HELLO)
    await fetch(`${project.url}/plugin/throw`)
    const plugin = (await project.ask("/v1/plugins/hello")).json()
    assert.deepEqual(plugin.failures, { E_GUEST_THREW: 1 })
    assert.match(plugin.lastError.message, /gotcha/)
    assert.match(plugin.lastError.stack, /index\.js/)
    assert.equal(plugin.processes[0].pid, process.pid)
    assert.ok(plugin.processes[0].limits.memoryBytes > 0)
    assert.equal(typeof plugin.isolation, "string")
    const missing = await project.ask("/v1/plugins/nobody")
    assert.equal(missing.status, 404)
    assert.equal(missing.headers["content-type"], "application/problem+json")
    assert.equal(missing.json().code, "E_NOT_FOUND")
  })

  it("shows the configuration without a secret in it", async () => {
    const settings = `${SITE}[plugins.hello.config]\napi_key = "s3cret"\nnested = { password = ["s3cret"], plain = "shown" }\nhook = "https://me:s3cret@example.com/a@b"\n`
    await using project = await adminProject(settings + TCP, HELLO)
    const answer = await project.ask("/v1/config")
    assert.doesNotMatch(answer.text, /s3cret/)
    assert.ok(!answer.text.includes(TOKEN))
    const { config } = answer.json()
    assert.equal(config.admin.token, "env:BEXT_ADMIN_TOKEN")
    const nested = { password: ["***"], plain: "shown" }
    assert.deepEqual(config.plugins.hello.config, { api_key: "***", nested, hook: "https://***@example.com/a@b" })
  })

  it("reloads, and says why not", async () => {
    await using project = await adminProject(SITE, HELLO)
    const post = () => project.ask("/v1/reload", { method: "POST", body: "{}" })
    writeFileSync(join(project.folder, "plugins/hello/index.js"), "export const onRequest = () => ({ status: 204 })")
    const done = await post()
    assert.equal(done.status, 200)
    assert.deepEqual(done.json().loaded, ["hello"])
    writeFileSync(join(project.folder, "bext.config.toml"), "[servr]\n")
    const refused = await post()
    assert.equal(refused.json().code, "E_CONFIG_INVALID")
    assert.match(refused.json().detail, /servr/)
    const { lastReload } = (await project.ask("/v1/status")).json()
    assert.deepEqual([lastReload.ok, lastReload.by], [false, "admin"])
  })

  it("takes a plugin out of service and back", async () => {
    await using project = await adminProject(`${SITE}on_error = "open"\n`, HELLO)
    const write = (path: string, body: object) => project.ask(path, { method: "POST", body: JSON.stringify(body) })
    assert.equal((await write("/v1/plugins/hello/quarantine", { reason: "too \u001b[31mloud" })).status, 200)
    const { quarantine } = (await project.ask("/v1/plugins/hello")).json()
    assert.deepEqual([quarantine.by, quarantine.reason], ["operator", "too \\u{1b}[31mloud"])
    assert.equal(await text(`${project.url}/plugin`), "home is not here")
    assert.equal((await write("/v1/plugins/hello/release", {})).status, 200)
    assert.equal(await text(`${project.url}/plugin`), "plugin")
    assert.equal((await write("/v1/plugins/nobody/release", {})).json().code, "E_NOT_FOUND")

    async function text(url: string) {
      const response = await fetch(url)
      return response.status === 404 ? "home is not here" : response.text()
    }
  })

  it("tells its health in detail: degraded with a plugin out of service, failing without its state", async () => {
    await using project = await adminProject(SITE, HELLO)
    const healthy = await project.ask("/v1/health")
    assert.equal(healthy.status, 200)
    const { status, processes, state } = healthy.json()
    assert.deepEqual(
      { status, processes, writable: state.writable },
      { status: "ok", processes: { serving: 1, all: 1 }, writable: true },
    )
    assert.ok(state.freeBytes > 0)
    await project.control.quarantine("hello", "test")
    const degraded = (await project.ask("/v1/health")).json()
    assert.deepEqual([degraded.status, degraded.quarantined], ["degraded", ["hello"]])
    await using other = await adminProject(`${SITE}[state]\ndir = "data"\n`, HELLO)
    rmSync(join(other.folder, "data"), { recursive: true })
    const failing = await other.ask("/v1/health")
    assert.equal(failing.status, 503)
    assert.match(failing.json().reasons.join(), /state cannot be written/)
  })

  it("gives metrics a scraper can read, in the format it asks for", async () => {
    await using project = await adminProject(SITE, HELLO)
    await fetch(`${project.url}/plugin`)
    await fetch(`${project.url}/`)
    const plain = await project.ask("/metrics")
    assert.equal(plain.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
    const families = parseMetrics(plain.text)
    assert.equal(
      families.get("bext_http_requests_total")!.samples.get('bext_http_requests_total{method="GET",status="200"}'),
      2,
    )
    assert.equal(
      families.get("bext_plugin_calls_total")!.samples.get('bext_plugin_calls_total{hook="on_request",plugin="hello"}'),
      2,
    )
    assert.equal(
      families
        .get("bext_plugin_hello_seen")!
        .samples.get('bext_plugin_hello_seen_sum{plugin="hello",tag_quantile="x"}'),
      1,
    )
    // What Prometheus sends.
    const accept =
      "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    const open = await project.ask("/metrics", { headers: { accept } })
    assert.match(open.headers["content-type"]!, /^application\/openmetrics-text/)
    assert.ok(parseMetrics(open.text, "openmetrics").has("bext_http_requests"))
  })

  it("gives the last lines of the log, and further ones as they come", async () => {
    await using project = await adminProject(SITE, HELLO)
    await fetch(`${project.url}/plugin/1`)
    const last = await project.ask("/v1/logs?lines=1")
    assert.equal(last.headers["content-type"], "application/x-ndjson")
    assert.equal(JSON.parse(last.text).path, "/plugin/1")
    const lines = await follow(project, "/v1/logs?lines=1&follow=1")
    assert.equal((await lines.next()).path, "/plugin/1")
    await fetch(`${project.url}/plugin/2`)
    const seen = [await lines.next(), await lines.next()]
    assert.ok(seen.some(({ path }) => path === "/plugin/2"))
    assert.ok(seen.some(({ msg }) => /hello from/.test(String(msg))))
    await project[Symbol.asyncDispose]()
    assert.equal(await lines.ended, true, "closing ends those who follow")
  })

  it("answers what it does not know in its own form", async () => {
    await using project = await adminProject(SITE, HELLO)
    const code = async (path: string, options = {}) => (await project.ask(path, options)).json().code
    assert.equal(await code("/"), "E_NOT_FOUND")
    assert.equal(await code("/v1/logs?line=3"), "E_ADMIN_REQUEST")
    assert.equal(await code("/v1/logs?lines=3&lines=4"), "E_ADMIN_REQUEST")
    assert.equal(await code("/v1/logs?lines=1001"), "E_ADMIN_REQUEST")
    assert.equal(await code("/v1/reload", { method: "POST", body: '{"force":true}' }), "E_ADMIN_REQUEST")
    assert.equal(await code("/v1/reload", { method: "POST", body: "{" }), "E_ADMIN_REQUEST")
    assert.equal(
      await code("/v1/plugins/hello/quarantine", { method: "POST", body: '{"reason":""}' }),
      "E_ADMIN_REQUEST",
    )
    const wrong = await project.ask("/v1/reload")
    assert.deepEqual([wrong.status, wrong.headers.allow], [405, "POST"])
    assert.equal((await project.ask("/v1/status", { method: "DELETE" })).headers.allow, "GET, HEAD")
    const head = await project.ask("/v1/status", { method: "HEAD" })
    assert.deepEqual([head.status, head.text], [200, ""])
  })
})

/** Reads a log that does not end. */
async function follow(project: AdminProject, path: string) {
  const target = "socketPath" in project.where ? project.where : { host: "127.0.0.1", ...project.where }
  const incoming = await new Promise<import("node:http").IncomingMessage>((resolve, reject) => {
    get({ ...target, path, headers: { host: "bext" }, agent: false }, resolve).on("error", reject)
  })
  const lines = createInterface({ input: incoming })[Symbol.asyncIterator]()
  const { promise: ended, resolve } = Promise.withResolvers<boolean>()
  incoming.once("end", () => resolve(true))
  return {
    ended,
    async next(): Promise<Record<string, unknown>> {
      for (;;) {
        const { value, done } = await lines.next()
        if (done) throw new Error("the log ended")
        if (value !== "") return JSON.parse(value)
      }
    },
  }
}
