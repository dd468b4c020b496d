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
