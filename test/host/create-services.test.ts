import assert from "node:assert/strict"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, it, type TestContext } from "node:test"
import { type Logger, pino } from "pino"
import { permissions } from "../../src/config/manifest-schema.ts"
import { createHost, type HostOptions } from "../../src/host/create-host.ts"
import { createGuestServices, type ServiceOptions } from "../../src/host/create-services.ts"
import { openLmdbStore } from "../../src/state/lmdb-store.ts"

const never = new AbortController().signal

describe("guest services", () => {
  it("freeze a copy of the configuration to the bottom", async (t) => {
    const config = { list: [{ a: 1 }] }
    const { services } = await bind(t, { config })
    const list = (services.config as { list: { a: number }[] }).list
    assert.ok(Object.isFrozen(services.config) && Object.isFrozen(list) && Object.isFrozen(list[0]))
    config.list[0]!.a = 2
    assert.equal(list[0]!.a, 1)
  })

  it("give the same storage for the same tenant and another one for another", async (t) => {
    const { services } = await bind(t, {})
    assert.equal(services.prepare(null), undefined)
    services.storage(null).set("k", "nobody's", 0)
    services.storage("a").set("k", "a's", 0)
    assert.equal(services.storage("a"), services.storage("a"))
    assert.equal(services.storage(null).get("k"), "nobody's")
    assert.equal(services.storage("b").get("k"), undefined)
  })

  it("share storage between the old and the new services of a plugin that is reloaded", async (t) => {
    const { host, options, services } = await bind(t, {})
    services.storage(null).set("k", "before", 0)
    const next = createGuestServices(host, options)
    assert.equal(next.storage(null).get("k"), "before")
    next.storage(null).set("k", "after", 0)
    assert.equal(services.storage(null).get("k"), "after")
  })

  it("keep another plugin under an old name out of its storage", async (t) => {
    const { host, options, services } = await bind(t, {})
    services.storage(null).set("k", "mine", 0)
    const impostor = createGuestServices(host, { ...options, owner: "/elsewhere" })
    assert.equal(impostor.storage(null).get("k"), undefined)
  })

  it("say which bodies the manifest declares", async (t) => {
    const { host, options } = await bind(t, {})
    const bodies = (body: "none" | "request" | "response" | "both") => {
      const services = createGuestServices(host, { ...options, body })
      return [services.granted("request_body"), services.granted("response_body")]
    }
    assert.deepEqual(bodies("none"), [false, false])
    assert.deepEqual(bodies("request"), [true, false])
    assert.deepEqual(bodies("response"), [false, true])
    assert.deepEqual(bodies("both"), [true, true])
  })

  it("tell a secret only when it was granted and mapped", async (t) => {
    const secrets = new Map([
      ["KEY", "s3cret"],
      ["OTHER", "x"],
    ])
    const { services } = await bind(t, { secrets, permissions: permissions().parse({ secrets: ["KEY", "UNMAPPED"] }) })
    assert.equal(services.secret("KEY"), "s3cret")
    for (const name of ["OTHER", "UNMAPPED", "__proto__", "constructor", ""]) {
      assert.throws(() => services.secret(name), { code: "E_PERMISSION", plugin: "demo" }, name)
    }
  })

  it("mask every secret in the log, longest first, wherever it stands", async (t) => {
    const secrets = new Map([
      ["A", "abc"],
      ["B", "abcdef"],
      ["EMPTY", ""],
    ])
    const { services, lines } = await bind(t, { secrets })
    services.log("info", "abcdef, abc and xabcx")
    services.log("info", `${"y".repeat(8185)}abcdef`)
    services.metric("bad name abc", 1, {})
    const text = JSON.stringify(lines)
    assert.equal(lines[0]!.msg, "***, *** and x***x")
    assert.ok(!text.includes("abc"), "half a secret is one too")
    assert.equal(services.mask("abc"), "***")
  })

  it("write one escaped line for each message, at most 8 KiB, with the plugin's name", async (t) => {
    const { services, lines } = await bind(t, {})
    services.log("warn", 'line\nbreak \u001b[31mred\u001b[0m \u202egnp.exe {"level":60}')
    services.log("info", "é".repeat(10_000))
    services.log("info", "\u0007".repeat(9000))
    assert.equal(lines[0]!.msg, 'line\\u{a}break \\u{1b}[31mred\\u{1b}[0m \\u{202e}gnp.exe {"level":60}')
    assert.deepEqual([lines[0]!.plugin, lines[0]!.level], ["demo", 40])
    for (const { msg } of lines) assert.ok(Buffer.byteLength(String(msg)) <= 8192)
    assert.equal(String(lines[1]!.msg).at(-1), "…")
  })

  it("stop logging after 600 lines a minute and say how many were dropped", async (t) => {
    const { services, lines } = await bind(t, {})
    for (let i = 0; i < 5000; i++) services.log("info", "flood")
    const written = lines.length
    assert.ok(written >= 600 && written < 700, `${written} lines`)
    await services[Symbol.asyncDispose]()
    const last = lines.at(-1)!
    assert.equal(lines.length, written + 1)
    assert.match(String(last.msg), /^dropped \d+ log lines/)
    assert.ok(Number(last.dropped) > 4000)
  })

  it("do not count lines below the log's level", async (t) => {
    const { services, lines } = await bind(t, {}, "info")
    for (let i = 0; i < 1000; i++) services.log("debug", "quiet")
    services.log("info", "heard")
    assert.deepEqual(
      lines.map(({ msg }) => msg),
      ["heard"],
    )
  })

  it("record metrics under the plugin's name", async (t) => {
    const { host, services } = await bind(t, {})
    services.metric("hits", 2, { route: "/a" })
    assert.deepEqual(host.metrics.snapshot(), [
      { name: "bext_plugin_demo_hits", tags: { plugin: "demo", route: "/a" }, count: 1, sum: 2, last: 2 },
    ])
  })

  it("fetch nothing without a permission, and what is permitted until they are disposed", async (t) => {
    const server = createServer((_request, response) => response.end("hello")).listen(0, "127.0.0.1")
    t.after(() => {
      server.close()
      server.closeAllConnections()
    })
    await new Promise((resolve) => server.once("listening", resolve))
    const origin = `127.0.0.1:${(server.address() as AddressInfo).port}`
    const request = { url: `http://${origin}/`, method: "GET", headers: [], body: null, redirect: "follow" } as const
    const { services: without } = await bind(t, {}, "debug", { allowPrivate: [origin] })
    await assert.rejects(without.fetch(request, never), { code: "E_FETCH_FORBIDDEN" })
    const allowed = permissions().parse({ allowed_urls: [`http://${origin}/**`] })
    const { services } = await bind(t, { permissions: allowed }, "debug", { allowPrivate: [origin] })
    const { body } = await services.fetch(request, never)
    assert.equal(Buffer.from(body).toString(), "hello")
    await services[Symbol.asyncDispose]()
    await assert.rejects(services.fetch(request, never), { code: "E_FETCH_FAILED" })
  })
})

async function bind(
  t: TestContext,
  some: Partial<ServiceOptions>,
  level = "debug",
  hostOptions: Partial<HostOptions> = {},
) {
  const dir = mkdtempSync(join(tmpdir(), "bext-services-"))
  const lines: Record<string, unknown>[] = []
  const log: Logger = pino({ level }, { write: (line: string) => void lines.push(JSON.parse(line)) })
  const state = openLmdbStore({ dir, log })
  const host = createHost({ state, log, isOwnListener: () => false, allowPrivate: [], ...hostOptions })
  t.after(async () => {
    await host[Symbol.asyncDispose]()
    await state[Symbol.asyncDispose]()
    rmSync(dir, { recursive: true, force: true })
  })
  const options: ServiceOptions = {
    plugin: "demo",
    owner: "/plugins/demo",
    permissions: permissions().parse({}),
    config: {},
    secrets: new Map(),
    quotaBytes: 1 << 20,
    queues: [],
    messageBytes: 1 << 20,
    ...some,
  }
  return { host, options, lines, services: createGuestServices(host, options) }
}
