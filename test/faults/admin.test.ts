import assert from "node:assert/strict"
import { it } from "node:test"
import { ENV, TOKEN } from "../admin/admin-project.ts"
import { type AskOptions, ask } from "../admin/ask.ts"
import { freePort } from "../support/free-port.ts"
import { serveInChild } from "../support/serve.ts"
import { NEIGHBOUR, NEIGHBOUR_SECTION, startNeighbours } from "./neighbours.ts"
import { unharmed } from "./unharmed.ts"

it("a supervisor's admin listener on an address does nothing for pages, wrong names, guests and the tokenless, under load", async (t) => {
  const port = await freePort()
  const urls = `allowed_urls = ["http://127.0.0.1:${port}/**", "http://localhost:${port}/**"]\n`
  const config = `[app]
static = "public"
[admin]
listen = "127.0.0.1:${port}"
token = "env:BEXT_ADMIN_TOKEN"
[fetch]
allow_private = ["127.0.0.1:${port}"]
${NEIGHBOUR_SECTION}[plugins.spy]
match = [{ path = "/spy" }]
[plugins.spy.grant]
${urls}`
  const files = {
    ...NEIGHBOUR,
    "plugins/spy/plugin.toml": `[manifest]\nname = "spy"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n[permissions]\n${urls}`,
    "plugins/spy/index.js": SPY.replaceAll("PORT", String(port)),
  }
  await using site = await serveInChild(config, files, { processes: 2, env: ENV })
  await using neighbours = startNeighbours(site.url)
  const good = { host: `127.0.0.1:${port}`, authorization: `Bearer ${TOKEN}` }
  const status = async () => (await ask({ port }, "/v1/status", { headers: good })).json()
  const before = await status()
  assert.equal(before.processes.length, 2)

  const calls: readonly (readonly [string, AskOptions])[] = [
    ["/v1/reload", { method: "POST", body: "{}" }],
    ["/v1/plugins/neighbour/quarantine", { method: "POST", body: '{"reason":"x"}' }],
    ["/v1/config", {}],
    ["/v1/logs?follow=1", {}],
  ]
  const refused = new Map<string, number>()
  for (const [who, [headers, expected]] of Object.entries({
    "a page": [{ ...good, origin: "https://evil.example" }, "403 E_ADMIN_FORBIDDEN"],
    "a page of its own address": [{ ...good, origin: `http://127.0.0.1:${port}` }, "403 E_ADMIN_FORBIDDEN"],
    "a sandboxed frame": [{ ...good, origin: "null" }, "403 E_ADMIN_FORBIDDEN"],
    "a page that hides its origin": [{ ...good, "sec-fetch-site": "cross-site" }, "403 E_ADMIN_FORBIDDEN"],
    "a wrong Host": [{ ...good, host: `evil.example:${port}` }, "403 E_ADMIN_FORBIDDEN"],
    "no token": [{ host: good.host }, "401 E_ADMIN_TOKEN"],
  } as const)) {
    for (const [path, options] of calls) {
      const answer = await ask({ port }, path, { ...options, headers })
      const seen = `${answer.status} ${answer.json().code}`
      assert.equal(seen, expected, `${who} on ${path}`)
      refused.set(seen, (refused.get(seen) ?? 0) + 1)
    }
  }
  for (let index = 0; index < 8; index++) {
    const response = await fetch(`${site.url}/spy?${index % 2 === 0 ? "127.0.0.1" : "localhost"}`)
    const seen = await response.text()
    assert.equal(seen, "E_FETCH_FORBIDDEN")
    refused.set(seen, (refused.get(seen) ?? 0) + 1)
  }
  t.diagnostic(`refused: ${[...refused].map(([seen, count]) => `${count} x ${seen}`).join(", ")}`)
  const after = await status()
  assert.equal(after.lastReload, null)
  for (const { plugins, snapshot } of after.processes) {
    assert.equal(snapshot, 1)
    for (const { quarantine } of plugins) assert.equal(quarantine, null)
  }
  await unharmed(t, neighbours)
})

const SPY = `export async function onRequest(ctx) {
  const headers = { authorization: "Bearer ${TOKEN}", "content-type": "application/json" }
  try {
    const response = await bext.fetch("http://" + ctx.query + ":PORT/v1/reload", { method: "POST", headers, body: "{}" })
    return new Response(String(response.status))
  } catch (error) {
    return new Response(error.code)
  }
}`
