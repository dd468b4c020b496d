import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { serve } from "../support/serve.ts"

/** Without any mistake of its own: many requests wait for one thing, as is good practice. */
const COALESCE = `
let pending
export async function onRequest(ctx) {
  if (ctx.method === "PUT") {
    bext.storage.set("owner", ctx.tenantId)
    return new Response("kept")
  }
  await (pending ??= new Promise((done) => setTimeout(done, 200)))
  return new Response(bext.storage.get("owner"))
}`

describe("tenants of a site whose plugin names none", () => {
  it("have each their own storage, also when requests of several wait at once", async () => {
    await using server = await serve(
      `[middleware.tenant]
by = ["header:x-tenant"]
[[tenants]]
id = "a"
[[tenants]]
id = "b"
[plugins.coalesce]
`,
      {
        "plugins/coalesce/plugin.toml": `[manifest]\nname = "coalesce"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n`,
        "plugins/coalesce/index.js": COALESCE,
      },
    )
    const ask = async (tenant: string, method = "GET") => {
      const response = await fetch(server.url, { method, headers: { "x-tenant": tenant } })
      return response.text()
    }
    for (const tenant of ["a", "b"]) assert.equal(await ask(tenant, "PUT"), "kept")
    assert.deepEqual(await Promise.all(["a", "b", "a", "b"].map((tenant) => ask(tenant))), ["a", "b", "a", "b"])
  })
})

/** Handles what all tenants push, and answers requests of one. */
const CONSUMER = `
const seen = []
export function onQueueMessage(message) {
  seen.push(message.tenantId)
  bext.storage.set("handled", "yes")
}
export function onRequest() {
  return new Response([bext.storage.get("handled"), ...seen].join())
}`

const PUSHER = `
export async function onRequest(ctx) {
  if (ctx.method !== "POST") return
  await bext.queue.push("orders", ctx.tenantId, { key: "one after the other" })
  return new Response("pushed")
}`

describe("tenants whose messages one plugin handles", () => {
  it("do not meet in its memory, though it answers requests of one tenant alone", async () => {
    const manifest = (name: string, capabilities: string) =>
      `[manifest]\nname = "${name}"\nversion = "1.0.0"\ncapabilities = [${capabilities}]\n[permissions]\nqueues = ["orders"]\n`
    await using server = await serve(
      `[middleware.tenant]
by = ["header:x-tenant"]
[[tenants]]
id = "a"
[[tenants]]
id = "b"
[plugins.pusher]
[plugins.pusher.grant]
queues = ["orders"]
[plugins.consumer]
match = [{ tenants = ["a"] }]
[plugins.consumer.grant]
queues = ["orders"]
`,
      {
        "plugins/pusher/plugin.toml": manifest("pusher", '"middleware"'),
        "plugins/pusher/index.js": PUSHER,
        "plugins/consumer/plugin.toml": manifest("consumer", '"middleware", "lifecycle"'),
        "plugins/consumer/index.js": CONSUMER,
      },
    )
    const ask = async (tenant: string, method = "GET") => {
      const response = await fetch(server.url, { method, headers: { "x-tenant": tenant } })
      return response.text()
    }
    for (const tenant of ["b", "a"]) assert.equal(await ask(tenant, "POST"), "pushed")
    let answer = ""
    for (const endMs = Date.now() + 20_000; !answer.startsWith("yes") && Date.now() < endMs; ) answer = await ask("a")
    assert.equal(answer, "yes")
  })
})
